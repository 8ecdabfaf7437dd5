"""`missing`: the score when modalities are missing at random, by rate."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from profuse.errors import ConfigError, ShapeError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor

__all__ = ["RATES", "Missing", "drop_modalities"]

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_STREAM = 1_897_621  # data, or a split, drawn with the same seed must have nothing to do with what is removed


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
    import numpy as np
    from scipy.optimize import brentq

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


class Missing(Question):
    """`L(r) = score(all) - score(a share r of the modalities removed)`, in the metric's direction.

    The share is that of all modalities of all rows, `1 - sum_i a_i / (N M)`, with `a_i >= 1` of the `M` modalities
    left in row i of `N`; see `drop_modalities`. What is removed depends on the data, the rate and the seed, not on the
    predictor: all that are compared meet the same rows, and one that uses some of the modalities only meets rows with
    none of them.

    Args:
        rates: r, 0 to 1 each, 1 excluded.
        metric: See `Question`.
        seed: Of what is removed and of the bootstrap.
        n_resamples: See `Question`.
    """

    name = "missing"
    description = "What is lost when modalities are missing at random, by rate."

    def __init__(
        self,
        *,
        rates: Sequence[float] = RATES,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        if not rates or not all(0.0 <= r < 1.0 for r in rates) or len(set(rates)) < len(rates):
            raise ConfigError(
                f"missing: rates must be from 0 to below 1, each once; got rates={list(rates)}. One modality of a row "
                "always remains."
            )
        self.rates = tuple(rates)

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`."""
        import torch

        asked = self.asked(predictor, dataset)
        names = sorted(asked.inputs)
        present = torch.stack([asked.inputs[name].present for name in names], dim=1).numpy()
        predictions: dict[Hashable, np.ndarray] = {(): predictor.predict_encoded(asked.inputs)}
        reached = {}
        for rate in self.rates:
            kept = drop_modalities(present, rate, seed=self.seed)
            left = {n: asked.inputs[n].without(torch.from_numpy(~kept[:, i])) for i, n in enumerate(names)}
            predictions[rate] = predictor.predict_encoded(left)
            reached[rate] = float(1 - kept.mean())
        scores = asked.scores(predictions)
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=tuple(asked.loss(scores, f"rate {r:g}", r, at=reached[r]) for r in self.rates),
            residual=None,
            notes=(
                f"Reached rates: {', '.join(f'{r:.3f}' for r in reached.values())}. "
                f"{100 * (1 - present.mean()):.1f} % is missing already, and one modality of a row remains.",
                "A residual is not defined: the rates are points of one curve, not parts of a whole. One draw of what "
                "is missing was made; another seed makes another.",
                *asked.notes(scores),
            ),
            measures="what is lost when a share of the modalities is missing",
            score=scores[()],
        )
