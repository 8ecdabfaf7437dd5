"""Operators that decide by outputs for rows which the model behind them has not learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from profuse.data.dataset import Dataset
from profuse.data.split import folds
from profuse.fusion import DecisionFusion
from profuse.models.build import Model
from profuse.tokens import Raw
from profuse.training.batches import predict
from profuse.training.history import History

__all__ = ["fit_out_of_fold"]


def fit_out_of_fold(
    operator: DecisionFusion,
    build: Callable[[np.ndarray], Model],
    fit: Callable[[Model, np.ndarray], tuple[History, Mapping[str, Raw]]],
    dataset: Dataset,
    rows: np.ndarray,
    encoded: Tensor,
) -> float:
    """Fits an operator on outputs for rows that the model behind them has not learned from; returns seconds.

    Of several members it fuses the outputs of each, and so it is fitted on those.
    """
    outputs, present, seen, seconds = [], [], [], 0.0
    for learned, held_out in folds(dataset, rows, k=3, seed=0):
        model = build(learned)
        history, inputs = fit(model, learned)
        seconds += history.fit_seconds
        for pooled in predict(model, inputs, torch.as_tensor(held_out)):
            output = pooled.members or pooled
            outputs.append(torch.stack([output.parts[name] for name in operator.names], dim=1))
            present.append(torch.stack([output.present[name] for name in operator.names], dim=1))
        seen.append(torch.as_tensor(held_out))
    target = model.plain.repeated(encoded[torch.cat(seen)])
    operator.fit_out_of_fold(torch.cat(outputs), torch.cat(present), target)
    return seconds
