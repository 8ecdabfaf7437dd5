"""A predictor whose mistakes depend on which modalities a row has, and rows drawn for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.target import TargetCodec
from profuse.inspect.pattern_scores import PatternScores
from profuse.predictor import Predictor
from profuse.schema import Task
from profuse.tokens import Raw

CLASSES = 4


class Drawn(Predictor):
    """Reads its answer off `a`, or, where that is missing, off `b`, which it trusts too much."""

    def __init__(self, task: Task = "multiclass", n_classes: int = CLASSES) -> None:
        target = np.array([0.0, 2.0]) if task == "regression" else np.arange(n_classes)
        self.codec = TargetCodec.fit(target, task)
        self.pipeline: Any = SimpleNamespace(preprocessors={}, specs={})
        self.modalities = ("a", "b")
        self.schema, self.source = None, ""

    @property
    def n_parameters(self) -> int:
        return 0

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        return {n: Raw(torch.as_tensor(m.values), torch.as_tensor(m.present)) for n, m in dataset.modalities.items()}

    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        has = {n: inputs[n].present.numpy()[:, None] for n in "ab"}
        seen = {n: np.where(has[n], inputs[n].values.numpy(), 0.0) for n in "ab"}
        values = np.where(has["a"], seen["a"], seen["b"])
        if self.task == "regression":
            return np.asarray(values[:, :1])
        e = np.exp(values - values.max(1, keepdims=True))
        return np.asarray(e / e.sum(1, keepdims=True))

    def packed(self, parts: Any = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        raise NotImplementedError


def rows(n: int, seed: int, task: Task = "multiclass", *, lacks_a: float = 0.3, lacks_b: float = 0.0) -> Dataset:
    """Draws rows: `a` tells the target well, `b` badly."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        y: Any = rng.normal(size=n)
        a, b = y + 0.2 * rng.normal(size=n), y + rng.normal(size=n)
        values = {"a": np.repeat(a[:, None], CLASSES, 1), "b": np.repeat(b[:, None], CLASSES, 1)}
    else:
        y = rng.integers(CLASSES, size=n)
        values = {m: k * np.eye(CLASSES)[y] + rng.normal(size=(n, CLASSES)) for m, k in (("a", 3.0), ("b", 0.8))}
        values["b"] *= 2.0  # as if it were sure
    present = {"a": rng.random(n) >= lacks_a, "b": rng.random(n) >= lacks_b}
    modalities = {m: ModalityData("vector", values[m], present[m]) for m in "ab"}
    return Dataset("drawn", modalities, y, task)


def scored(data: Dataset, *, coverage: float = 0.9, by_pattern: bool = True, predictor: Any = None) -> PatternScores:
    """Returns the rows with their scores."""
    predictor = predictor or Drawn(data.task)
    true = np.asarray(data.target)
    true = true[:, None] if data.task == "regression" else true
    return PatternScores.of(predictor, predictor.encode(data), true, coverage=coverage, by_pattern=by_pattern)
