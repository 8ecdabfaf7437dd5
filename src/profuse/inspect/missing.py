"""`missing`: the score when modalities are missing at random, by rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from profuse._lookup import resolve
from profuse.errors import ConfigError, ShapeError
from profuse.inspect._base import Question
from profuse.inspect._conditions import worst, worst_headline
from profuse.inspect._retrained import needed_told, refits, retrained
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor

__all__ = ["RATES", "Missing", "drop_modalities"]

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
Protocol = Literal["random", "fixed", "imbalanced"]
_STREAM = 1_897_621  # data, or a split, drawn with the same seed must have nothing to do with what is removed
_ODDS = 8.0  # of the modality that is mostly missing: as many times as likely to be removed as each other one


def drop_modalities(
    present: np.ndarray, rate: float | Sequence[float], *, seed: int, odds: Sequence[float] | None = None
) -> np.ndarray:
    """Returns which modalities remain, bool `[row, modality]`, so that `1 - mean` is `rate` in expectation.

    Each modality of a row is removed independently with one probability q; a row that would lose all keeps one of
    those it had, each as likely as the others. With m modalities in a row, m (1 - q) + q^m remain on average, and q
    solves `sum over rows = (1 - rate) rows x modalities`. What is absent already counts as missing: where that is more
    than the rate, nothing is removed. Where every row is down to one modality, at most `1 - 1 / modalities` for
    complete rows, no more is removed. What is missing at a low rate is missing at all higher ones.

    With `odds` w modality m is removed with probability min(1, w_m q), and q solves the same; of a row that would lose
    all, the one remains whose turn comes last as q grows. With a rate for each modality it is removed so often that
    this share of its rows is missing, less where a row would lose all.

    Args:
        present: Bool `[row, modality]`.
        rate: 0 to 1, 1 excluded; or one for each modality, 0 to 1.
        seed: At least 0; with the same `present`, the same draw.
        odds: Above 0, one for each modality; all alike if None. Not with a rate for each.

    Raises:
        ConfigError: A rate, odds or a seed out of range.
        ShapeError: `present` is no bool `[row, modality]`, or empty, or there are not as many rates or odds.
    """
    import numpy as np

    if present.ndim != 2 or present.dtype != bool or present.size == 0:
        raise ShapeError(
            f"drop_modalities: present must be bool [row, modality]; got {present.dtype}{list(present.shape)}. "
            "Stack Raw.present of the modalities."
        )
    each = isinstance(rate, Sequence)
    rates, weights = np.atleast_1d(np.asarray(rate, dtype=float)), np.ones(present.shape[1])
    if not ((rates >= 0) & ((rates <= 1) if each else (rates < 1))).all() or seed < 0:
        raise ConfigError(
            f"drop_modalities: rate must be from 0 to below 1 and seed at least 0; got rate={rate}, seed={seed}. "
            "One modality of a row always remains."
        )
    if odds is not None:
        weights = np.asarray(odds, dtype=float)
    if weights.shape != present.shape[1:] or (each and rates.shape != present.shape[1:]):
        raise ShapeError(
            f"drop_modalities: rate and odds must be one for each of {present.shape[1]} modalities; got rate={rate}, "
            f"odds={odds}."
        )
    if not (weights > 0).all() or (each and odds is not None):
        raise ConfigError(f"drop_modalities: odds must be above 0, and not with a rate for each; got odds={odds}.")
    if each:
        left = np.where(present.any(0), (1 - rates) / np.maximum(present.mean(0), 1e-12), 1.0)
        q = np.clip(1 - left, 0.0, 1.0)
    else:
        q = np.minimum(1.0, weights * _removal(present, float(rates[0]), weights))
    u = np.random.default_rng([_STREAM, seed]).random(present.shape)
    scale = np.where(q > 0, q, 1.0) if each else weights
    turn = np.where(present, np.where((q > 0) | ~np.array(each), u / scale, np.inf), -1.0)
    kept: np.ndarray = present & ((u >= q) | (turn == turn.max(1, keepdims=True)))  # the one kept is the last to go
    return kept


def _removal(present: np.ndarray, rate: float, weights: np.ndarray) -> float:
    """Returns q of which min(1, w q) removes so much that `rate` is missing, as far as one of a row remains."""
    import numpy as np
    from scipy.optimize import brentq

    patterns, counts = np.unique(present, axis=0, return_counts=True)
    patterns, counts = patterns[patterns.any(1)], counts[patterns.any(1)]

    def too_many(q: float) -> float:
        gone = np.minimum(1.0, weights * q)
        left = (patterns * (1 - gone)).sum(1) + np.where(patterns, gone, 1.0).prod(1)
        return float((counts * left).sum() / present.size - (1 - rate))

    most = float(1 / weights.min())
    return 0.0 if too_many(0.0) <= 0 else most if too_many(most) >= 0 else float(brentq(too_many, 0.0, most))


class Missing(Question):
    """`L(r) = score(all) - score(a share r of the modalities removed)`, in the metric's direction.

    The share is that of all modalities of all rows, `1 - sum_i a_i / (N M)`, with `a_i >= 1` of the `M` modalities
    left in row i of `N`; see `drop_modalities`. What is removed depends on the data, the rate and the seed, not on the
    predictor: all that are compared meet the same rows, and one that uses some of the modalities only meets rows with
    none of them.

    Protocols: "random", all modalities alike; "imbalanced", each modality in turn is removed eight times as often as
    any other, at the same total rate; "fixed", the same modalities in all rows, is what the question `subsets` asks.

    Args:
        rates: r, 0 to 1 each, 1 excluded.
        protocol: Which modalities are removed.
        rates_by_modality: By name, 0 to 1, in place of `rates` and `protocol`; 0 for those that are not named.
        retrain: Training rows, as `Predictor.read` takes them, to which the model's own options are fitted anew
            without each modality; see `retrained`. Only networks and classical models can be. None: nothing is fitted.
        metric: See `Question`.
        seed: Of what is removed and of the bootstrap.
        n_resamples: See `Question`.
    """

    name = "missing"
    description = "What is lost when modalities are missing at random, by rate."

    def __init__(
        self,
        *,
        rates: float | Sequence[float] = RATES,
        protocol: Protocol = "random",
        rates_by_modality: Mapping[str, float] | None = None,
        retrain: Any = None,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        given = tuple(rates) if isinstance(rates, Sequence) else (rates,)
        if not given or not all(0.0 <= r < 1.0 for r in given) or len(set(given)) < len(given):
            raise ConfigError(
                f"missing: rates must be from 0 to below 1, each once; got rates={list(given)}. One modality of a row "
                "always remains."
            )
        if protocol not in get_args(Protocol):
            raise ConfigError(f"missing: protocol must be 'random' or 'imbalanced'; got protocol={protocol!r}.")
        if protocol == "fixed":
            raise ConfigError(
                "missing: protocol must be 'random' or 'imbalanced'; got protocol='fixed'. Ask 'subsets': it shows the "
                "same modalities of all rows, each subset of them."
            )
        by = rates_by_modality
        if by is not None and (not by or not all(0.0 <= r <= 1.0 for r in by.values())):
            raise ConfigError(
                f"missing: rates_by_modality must name modalities, with rates from 0 to 1; got {dict(by)}."
            )
        if by is not None and (given != RATES or protocol != "random"):
            raise ConfigError(
                "missing: rates_by_modality must be given without rates and protocol, as it says which modalities are "
                "removed, and how often. Leave them out."
            )
        self.rates = given
        self.protocol = protocol
        self.rates_by_modality = by
        self.retrain = retrain

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        curve = replace(answer, estimates=tuple(e for e in answer.estimates if e.at is not None))
        return f"{worst_headline(curve)}{needed_told(answer)}"

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            UnknownNameError: A modality in `rates_by_modality` that the rows have not.
            ConfigError: Of `retrain`: the model cannot be fitted anew, or uses one modality.
            DataError: Of `retrain`: the rows cannot be read, have no target, or cannot be learned from.
        """
        import numpy as np
        import torch

        asked = self.asked(predictor, dataset)
        again, told_of_rows = ({}, ()) if self.retrain is None else refits(asked, dataset, self.retrain)
        names = sorted(asked.inputs)
        present = torch.stack([asked.inputs[name].present for name in names], dim=1).numpy()
        predictions: dict[Any, np.ndarray] = {(): predictor.predict_encoded(asked.inputs)}
        reached: dict[str, np.ndarray] = {}
        for condition, kept in self._kept(present, names):
            left = {n: asked.inputs[n].without(torch.from_numpy(~kept[:, i])) for i, n in enumerate(names)}
            predictions[condition] = predictor.predict_encoded(left)
            reached[condition] = 1 - kept.mean(0)
        predictions |= again
        scores = asked.scores(predictions)
        losses = tuple(asked.loss(scores, c, c, at=float(np.mean(r))) for c, r in reached.items())
        if self.protocol == "random" and self.rates_by_modality is None:
            told = ", ".join(f"{np.mean(r):.3f}" for r in reached.values())
        else:
            told = "; ".join(
                f"{c}: {', '.join(f'{n} {share:.3f}' for n, share in zip(names, r, strict=True))}"
                for c, r in reached.items()
            )
        lines, verdicts = retrained(asked, scores) if again else ((), ())
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=(*losses, *lines),
            residual=None,
            notes=(
                worst(losses, asked.metric.name),
                *verdicts,
                *told_of_rows,
                f"Reached rates: {told}. "
                f"{100 * (1 - present.mean()):.1f} % is missing already, and one modality of a row remains.",
                "A residual is not defined: the rates are points of one curve, not parts of a whole. One draw of what "
                "is missing was made; another seed makes another.",
                *asked.notes(scores),
            ),
            measures="what is lost when a share of the modalities is missing",
            score=scores[()],
        )

    def _kept(self, present: np.ndarray, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yields each condition and which modalities remain in it."""
        if self.rates_by_modality is not None:
            for name in self.rates_by_modality:
                resolve(name, dict.fromkeys(names), where="missing", what="modality")
            rates = [self.rates_by_modality.get(name, 0.0) for name in names]
            told = ", ".join(f"{name} {rate:g}" for name, rate in self.rates_by_modality.items())
            yield told, drop_modalities(present, rates, seed=self.seed)
            return
        if self.protocol == "random":
            for rate in self.rates:
                yield f"rate {rate:g}", drop_modalities(present, rate, seed=self.seed)
            return
        for name in names:
            odds = [_ODDS if name == other else 1.0 for other in names]
            for rate in self.rates:
                yield f"mostly {name}, rate {rate:g}", drop_modalities(present, rate, seed=self.seed, odds=odds)
