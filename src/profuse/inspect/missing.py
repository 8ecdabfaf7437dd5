"""The test score when modalities are missing: of every subset, and at random by rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import brentq

from profuse.errors import ConfigError, ShapeError
from profuse.inspect._score import Scorer, score, test_rows
from profuse.predictor import Predictor
from profuse.training.fitting import Prepared

__all__ = ["RATES", "MissingCurve", "drop_modalities", "missing_curve", "subsets", "subsets_scores"]

RATES = tuple(i / 10 for i in range(8))
"""0, .1, ..., .7."""
_MAX_FOR_ALL = 6  # modalities of which all subsets are looked at: 63
_STREAM = 1_897_621  # data, or a split, drawn with the same seed must have nothing to do with what is removed


@dataclass(frozen=True, eq=False)
class MissingCurve:
    """The test score by missing rate.

    Attributes:
        asked: The rates asked for, `[rate]`.
        achieved: 1 - (modalities present) / (rows x modalities) of the test rows that were scored, `[rate]`.
        scores: `[rate]`.
    """

    asked: np.ndarray
    achieved: np.ndarray
    scores: np.ndarray


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the non-empty subsets of `names`, small ones first; of more than 6: each alone, each left out, all."""
    n = len(names)
    sizes = range(1, n + 1) if n <= _MAX_FOR_ALL else (1, n - 1, n)
    return [subset for size in sizes for subset in combinations(names, size)]


def subsets_scores(model: Predictor, prepared: Prepared, metric: Scorer) -> dict[tuple[str, ...], float]:
    """Returns the test score with only the modalities of a subset present, for `subsets(model.modalities)`.

    The model is the one that was fitted: it is not trained anew for a subset. All test rows are scored, also those
    that have none of the subset's modalities.

    Args:
        model: Fitted on `prepared`.
        prepared: Its test rows are scored.
        metric: Of targets and predictions.
    """
    inputs = test_rows(prepared)
    nothing = {name: raw.without(torch.ones(len(raw), dtype=torch.bool)) for name, raw in inputs.items()}
    return {
        subset: score(model, prepared, nothing | {name: inputs[name] for name in subset}, metric)
        for subset in subsets(model.modalities)
    }


def drop_modalities(present: np.ndarray, rate: float, *, seed: int) -> np.ndarray:
    """Returns which modalities remain, bool `[row, modality]`, so that `1 - mean` is `rate` in expectation.

    Each modality of a row is removed independently with one probability q; a row that would lose all keeps one of
    those it had, each as likely as the others. With m modalities in a row, m (1 - q) + q^m remain on average, and q
    solves `sum over rows = (1 - rate) rows x modalities`. What is absent already counts as missing: where that is more
    than the rate, nothing is removed. Where every row is down to one modality, at most `1 - 1 / modalities` for
    complete rows, no more is removed. What is missing at a low rate is missing at all higher ones.

    Args:
        present: Bool `[row, modality]`.
        rate: 0 to 1, 1 excluded.
        seed: At least 0; with the same `present`, the same draw.

    Raises:
        ConfigError: A rate or a seed out of range.
        ShapeError: `present` is no bool `[row, modality]`, or empty.
    """
    if not 0.0 <= rate < 1.0 or seed < 0:
        raise ConfigError(
            f"drop_modalities: rate must be from 0 to below 1 and seed at least 0; got rate={rate}, seed={seed}. "
            "One modality of a row always remains."
        )
    if present.ndim != 2 or present.dtype != bool or present.size == 0:
        raise ShapeError(
            f"drop_modalities: present must be bool [row, modality]; got {present.dtype}{list(present.shape)}. "
            "Stack Raw.present of the modalities."
        )
    counts = np.bincount(present.sum(1), minlength=present.shape[1] + 1)[1:]  # rows by number of modalities
    m = np.arange(1, len(counts) + 1)

    def too_many(q: float) -> float:
        return float((counts * (m * (1 - q) + q**m)).sum() / present.size - (1 - rate))

    q = 0.0 if too_many(0.0) <= 0 else 1.0 if too_many(1.0) >= 0 else float(brentq(too_many, 0.0, 1.0))
    u = np.where(present, np.random.default_rng([_STREAM, seed]).random(present.shape), -1.0)
    kept: np.ndarray = present & ((u >= q) | (u == u.max(1, keepdims=True)))  # the one kept is the last to go
    return kept


def missing_curve(
    model: Predictor, prepared: Prepared, rates: Sequence[float] = RATES, *, seed: int, metric: Scorer
) -> MissingCurve:
    """Returns the test score with modalities removed at random, `MR = 1 - sum_i a_i / (N M)`; see `drop_modalities`.

    `a_i >= 1` of the `M` modalities of the data remain in row i of `N`. What is removed depends on the data, the rate
    and the seed, not on the model: all models that are compared see the same rows, and one that uses some of the
    modalities only sees rows with none of them.

    Args:
        model: Fitted on `prepared`.
        prepared: Its test rows are scored.
        rates: MR, 0 to 1 each, 1 excluded.
        seed: Of the draw.
        metric: Of targets and predictions.

    Raises:
        ConfigError: A rate or a seed out of range.
    """
    inputs = test_rows(prepared)
    names = sorted(inputs)
    present = torch.stack([inputs[name].present for name in names], dim=1).numpy()
    achieved, scores = [], []
    for rate in rates:
        kept = drop_modalities(present, rate, seed=seed)
        left = {name: inputs[name].without(torch.from_numpy(~kept[:, i])) for i, name in enumerate(names)}
        achieved.append(1 - kept.mean())
        scores.append(score(model, prepared, left, metric))
    return MissingCurve(np.asarray(rates, dtype=np.float64), np.asarray(achieved), np.asarray(scores))
