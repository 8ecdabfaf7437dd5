"""A predictor that adds up what it is given, and worlds of groups that it serves alike, or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.predictor import Predictor
from profuse.predictor.saving import PartStore
from profuse.schema import Task
from profuse.tokens import Raw


class Sum(Predictor):
    """The sum of what `a` and `b` hold, where they are present: logits, or the number; it does not look at `cells`."""

    def __init__(self, data: Dataset) -> None:
        self.pipeline = Pipeline.fit(data, np.arange(len(data)))
        self.codec = TargetCodec.fit(np.asarray(data.target), data.task)
        self.modalities, self.schema, self.source = ("a", "b"), None, ""

    n_parameters = 0

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        return {
            name: Raw(Tensor(np.asarray(data.values, dtype=np.float32)), Tensor(data.present) > 0)
            for name, data in dataset.modalities.items()
            if data.frame is None
        }

    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        total = sum(
            inputs[name].values.double().numpy() * inputs[name].present.numpy()[:, None] for name in self.modalities
        )
        made = np.asarray(total)
        if self.task == "multilabel":
            made = 1 / (1 + np.exp(-made))
        elif self.task != "regression":
            if made.shape[1] == 1:
                made = np.concatenate([np.zeros_like(made), made], axis=1)
            made = np.exp(made - made.max(1, keepdims=True))
            made = made / made.sum(1, keepdims=True)
        return made if rows is None else made[rows]

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        raise NotImplementedError


def world(
    n: int = 600,
    seed: int = 0,
    *,
    noisy: float = 0.0,
    lacks_b: float = 0.0,
    classes: int = 2,
    task: Task = "binary",
    values: tuple[str, ...] = ("f", "m"),
) -> Dataset:
    """Rows of which `a` and `b` tell the target alike, but for group f: labels are `noisy`, b is gone."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(np.array(values, dtype=object), n)
    region = rng.choice(np.array(["north", "south"], dtype=object), n)
    is_f = sex == "f"
    if task == "regression":
        a, b = rng.normal(size=(n, 1)), rng.normal(size=(n, 1))
        target = (a + b)[:, 0] + 0.3 * rng.normal(size=n) + noisy * is_f
    elif classes == 2:
        y = rng.integers(0, 2, n)
        a, b = (((2 * y - 1) + rng.normal(size=n))[:, None] * 1.5 for _ in range(2))
        target = np.where(is_f & (rng.random(n) < noisy), rng.integers(0, 2, n), y)
    else:
        y = rng.integers(0, classes, n)
        a, b = (np.eye(classes)[y] * 1.5 + rng.normal(size=(n, classes)) for _ in range(2))
        target = np.where(is_f & (rng.random(n) < noisy), rng.integers(0, classes, n), y)
    has_b = ~(is_f & (rng.random(n) < lacks_b))
    cells = pd.DataFrame({"sex": sex, "region": region, "age": rng.integers(18, 90, n).astype(float)})
    everywhere = np.ones(n, dtype=bool)
    modalities = {
        "a": ModalityData("vector", a, everywhere),
        "b": ModalityData("vector", b, has_b),
        "cells": ModalityData("table", cells, everywhere),
    }
    return Dataset("world", modalities, target, task)
