"""The additive projection of a predictor (EMAP): the sum of what each modality says, whatever the others are.

With f the log-probabilities, log-odds or values that are predicted, and rows i, j of N,

    f^(x_i) = sum_m g_m(x_i) - (M - 1) mean,    g_m(x_i) = mean_j f(m of row i, all others of row j).

An f that is a sum over modalities is its own projection, and projecting twice changes nothing.

Reference:
    Hessel, Lee, "Does my multimodal model learn cross-modal interactions? It's harder to tell than you might think!",
    EMNLP 2020. *Differs from the paper* in that there may be more than two modalities: then the mean of f is that
    of all g_m.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from profuse.predictor import Part, Predictor
from profuse.schema import Task

__all__ = ["additive_prediction", "affordable_rows"]

_MOST_PAIRS = 30_000
_AT_ONCE = 4_096


def affordable_rows(n_blocks: int) -> int:
    """Returns how many rows can be paired with each other in 30,000 predictions."""
    return int((_MOST_PAIRS / (1 if n_blocks == 2 else n_blocks)) ** 0.5)


def additive_prediction(
    predictor: Predictor, inputs: Mapping[str, Part], blocks: Sequence[tuple[str, ...]]
) -> np.ndarray:
    """Returns what the additive projection predicts for each row, `[row, output]`.

    N^2 predictions are made for two blocks, M N^2 for M.

    Args:
        predictor: What is projected.
        inputs: N encoded rows.
        blocks: Modalities that count as one; together all that the predictor uses.
    """
    n = len(next(iter(inputs.values())))
    both = len(blocks) == 2  # the mean over i and the one over j are those of the same pairs
    asked = blocks[:1] if both else blocks
    says = {block: np.zeros((n, predictor.codec.n_outputs)) for block in blocks}
    for rows in np.array_split(np.arange(n), max(1, n * n // _AT_ONCE)):
        first, second = (torch.as_tensor(x) for x in (np.repeat(rows, n), np.tile(np.arange(n), len(rows))))
        here = {name: part.rows(first) for name, part in inputs.items()}
        there = {name: part.rows(second) for name, part in inputs.items()}
        for block, said in predictor.predict_exchanged(there, here, asked).items():
            f = _free(said, predictor.task).reshape(len(rows), n, -1)
            says[block][rows] = f.mean(1)
            if both:
                says[blocks[1]] += f.sum(0) / n
    mean = np.mean([g.mean(0) for g in says.values()], axis=0)
    return _bound(sum(says.values()) - (len(blocks) - 1) * mean, predictor.task)


def _free(p: np.ndarray, task: Task) -> np.ndarray:
    """Returns what may be added: log-probabilities, log-odds, or values as they are."""
    if task == "regression":
        return np.asarray(p)
    log = np.log(np.clip(p, 1e-12, 1.0))
    return np.asarray(log - np.log(np.clip(1 - p, 1e-12, 1.0)) if task == "multilabel" else log)


def _bound(f: np.ndarray, task: Task) -> np.ndarray:
    from scipy.special import expit, softmax

    if task == "regression":
        return f
    return np.asarray(expit(f) if task == "multilabel" else softmax(f, axis=1))
