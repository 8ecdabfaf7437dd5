"""A predictor whose formula a test says, on modalities of plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.predictor import Predictor
from profuse.predictor.saving import PartStore
from profuse.schema import Task
from profuse.tokens import Raw


class By(Predictor):
    """Predicts `formula(numbers)`, where `numbers[modality]` is `[row, channel]` and 0 for a row that lacks it.

    Args:
        data: Of which target and modalities are.
        formula: Returns probabilities `[row, class]`, or values `[row, 1]`.
        modalities: That it uses; all if None.
    """

    n_parameters = 0

    def __init__(
        self, data: Dataset, formula: Callable[[dict[str, Any]], np.ndarray], modalities: tuple[str, ...] | None = None
    ) -> None:
        self.pipeline = Pipeline.fit(data, np.arange(len(data)))
        self.codec = TargetCodec.fit(np.asarray(data.target), data.task)
        self.modalities = tuple(data.modalities) if modalities is None else modalities
        self.schema, self.source = None, ""
        self.formula = formula
        self.n_calls = 0

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        return {
            name: Raw(Tensor(np.asarray(data.values, dtype=np.float32)), Tensor(data.present) > 0)
            for name, data in dataset.modalities.items()
        }

    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        self.n_calls += 1
        numbers = {n: raw.values.double().numpy() * raw.present.numpy()[:, None] for n, raw in inputs.items()}
        made = self.formula(numbers)
        return made if rows is None else made[rows]

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        raise NotImplementedError


def dataset(values: Mapping[str, np.ndarray], target: np.ndarray, task: Task = "regression", **more: Any) -> Dataset:
    """Returns complete rows; a modality is `[row]` or `[row, channel]`."""
    modalities = {
        name: ModalityData("vector", v.reshape(len(v), -1), np.ones(len(v), dtype=bool)) for name, v in values.items()
    }
    return Dataset("made", modalities, target, task, **more)


def logistic(logit: np.ndarray) -> np.ndarray:
    """Returns probabilities of two classes."""
    second = 1 / (1 + np.exp(-logit))
    return np.stack([1 - second, second], axis=1)
