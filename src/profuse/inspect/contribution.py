"""`contribution`: how the score of a finished predictor is shared out among its modalities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer, Estimate
from profuse.inspect.shapley import MOST_EXACT, Weights, evenness, permutation_weights, shapley_weights

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.inspect.intervals import Scores
    from profuse.predictor import Predictor

__all__ = ["Contribution"]

_HOW = {
    "masked": "A modality that is not shown is missing from every row.",
    "permuted": "Modalities that are not shown come from another row, all from the same one.",
}

_EVENNESS = "Evenness {:.2f} ({:.2f} to {:.2f}): 1 if all modalities contribute the same, 0 if one alone contributes."


class Contribution(Question):
    """`phi_m = sum_S |S|! (M - |S| - 1)! / M! (v(S + m) - v(S))`, the Shapley value of m; `v(S) = score(only S)`.

    S runs over the subsets of the M modalities that the predictor uses, without m. It is what m adds to the score,
    averaged over all orders in which modalities may come: what several say alike is shared among them, and so is what
    they say only together. The values sum to `score(all) - score(none)`, and one that changes nothing has 0. Above 0,
    the predictor is better with it. The predictor is the one that was fitted.

    Of more than 8 modalities, orders are drawn at random, each with its reverse.

    The residual is `score(all) - score(none) - sum phi_m`: 0 but for rounding.

    The evenness of the contributions (in a note, and in `details`) is their normalised entropy,
    `-sum_m p_m log p_m / log M` with `p_m = max(phi_m, 0) / sum_m max(phi_m, 0)`: 1 where all contribute the same, 0
    where one has all. It describes a model on rows; it is no aim, as some modalities say more than others.

    With `within`, the same is asked of the columns of a table, one at a time: `score(all) - score(column exchanged)`,
    its permutation importance. The residual is then what exchanging the whole table costs, less the sum.

    Args:
        how: "masked": the modalities that are not in S are missing. "permuted": all rows exchange them, together, by a
            random permutation; what is lost is what they say of their own row, as no row looks incomplete.
        within: A modality that is a table.
        repeats: Random permutations, where there are any; scores are their mean.
        n_orders: Pairs of random orders where there are more than 8 modalities, at least 2.
        metric: See `Question`.
        seed: Of all that is drawn at random.
        n_resamples: See `Question`.

    Raises:
        ConfigError: A value out of range.

    Reference:
        Shapley, "A Value for n-Person Games" (1953). Covert, Lundberg, Lee, "Understanding Global Feature Contributions
        With Additive Importance Measures" (2020). *Differs from the latter* in that "permuted" averages scores over
        exchanges, not predictions. Breiman, "Random Forests" (2001): permutation importance. The evenness is after the
        Modality Equity Index of Pham, Nguyen, Le, Nguyen, "MissBench" (2026): how evenly modalities contribute over all
        configurations of what is missing. *Its formula was not to be had; this one is ours.*
    """

    name = "contribution"
    description = "How the score is shared out among the modalities, by Shapley values; or lost by exchanged columns."

    def __init__(
        self,
        *,
        how: Literal["masked", "permuted"] = "masked",
        within: str | None = None,
        repeats: int = 5,
        n_orders: int = 16,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        if how not in ("masked", "permuted") or repeats < 2 or n_orders < 2:
            raise ConfigError(
                "contribution: how must be 'masked' or 'permuted', and repeats and n_orders at least 2; got "
                f"how={how!r}, repeats={repeats}, n_orders={n_orders}. The defaults are 'masked', 5 and 16."
            )
        self.how, self.within, self.repeats, self.n_orders = how, within, repeats, n_orders

    @property
    def plans_all(self) -> bool:
        """See `Question.plans_all`."""
        return self.how == "masked" and self.within is None

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        from profuse.inspect._words import ends_of

        whole = [e for e in answer.estimates if e.modalities == (e.name,)] or list(answer.estimates)
        e = max(whole, key=lambda e: e.value)
        return f"{e.name} contributes most to {answer.label}: {ends_of(e)}."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            UnknownNameError: `within` is no modality that the predictor uses.
            ConfigError: It is no table.
        """
        asked = self.asked(predictor, dataset)
        if self.within is not None:
            from profuse.inspect.columns import columns_answer

            return columns_answer(asked, dataset, self.within, repeats=self.repeats, who=self.name)
        from profuse.inspect.intervals import half_of

        names = sorted(asked.used)
        exact = len(names) <= MOST_EXACT
        draws = [shapley_weights(names)] if exact else permutation_weights(names, self.n_orders, seed=self.seed)
        shown = {s for draw in draws for weights in draw.values() for s in weights}
        scores = self._scores(asked, names, sorted(shown))
        rounds = range(1 if self.how == "masked" else self.repeats)
        values, errors, sums = [], [], []
        for name in asked.present:
            own = [draw.get(name, {}) for draw in draws]
            by_order = [scores.combined(_repeated(w, rounds))[0] for w in own]
            by_repeat = [scores.combined(_repeated(_mean(own), [r]))[0] for r in rounds]
            more = math.hypot(half_of(by_order), half_of(by_repeat))
            sums.append(_repeated(_mean(own), rounds))
            found = scores.combined(sums[-1], more=more)
            values.append(Estimate(name, *found, n=len(asked.true), modalities=(name,)))
            errors.append(more)
        even = scores.of_sums(evenness, sums, (0.0, 1.0)) if len(sums) > 1 else None
        every = tuple(names)
        whole, _, _ = scores.combined(_repeated({every: 1.0, (): -1.0}, rounds))
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(asked.true),
            estimates=tuple(values),
            residual=round(whole - sum(e.value for e in values), 12) + 0.0,  # no -0.0
            notes=(
                f"{_HOW[self.how]} All modalities together gain {whole:.4f} over none, which is shared out. The "
                "residual is what the values leave of it: 0 but for rounding.",
                *([] if even is None else [_EVENNESS.format(*even)]),
                *self._drawn(len(names), exact=exact, error=max(errors)),
                *asked.notes(scores),
            ),
            measures="what a modality contributes to the score",
            details={} if even is None else {"evenness": list(even)},
            score=scores[every, 0],
        )

    def _scores(self, asked: Asked, names: Sequence[str], shown: Sequence[tuple[str, ...]]) -> Scores:
        """Returns the scores by which modalities are shown, and by repeat."""
        import torch

        from profuse.inspect.columns import exchange

        predictor, inputs = asked.predictor, asked.inputs
        gone = {s: tuple(n for n in names if n not in s) for s in shown}
        predictions: dict[Any, np.ndarray] = {}
        for r in range(1 if self.how == "masked" else self.repeats):
            if self.how == "masked":
                others = {n: inputs[n].without(torch.ones(len(asked.true), dtype=torch.bool)) for n in names}
            else:
                order = torch.as_tensor(exchange(len(asked.true), self.seed, r))
                others = {n: inputs[n].rows(order) for n in names}
            made = predictor.predict_exchanged(inputs, others, gone.values())
            predictions |= {(s, r): made[names] for s, names in gone.items()}
        return asked.scores(predictions)

    def _drawn(self, n: int, *, exact: bool, error: float) -> tuple[str, ...]:
        """Returns the note on what was drawn at random."""
        drawn = [] if exact else [f"{self.n_orders} random orders of the {n} modalities and their reverses, not all"]
        drawn += [f"{self.repeats} random exchanges"] if self.how == "permuted" else []
        if not drawn:
            return ()
        told = " and ".join(drawn)
        return (f"Drawn at random: {told}. Intervals hold the error of this too, up to {error:.4f} to either side.",)


def _repeated(weights: Weights, rounds: Sequence[int]) -> dict[Any, float]:
    """Returns the weights of conditions (shown, repeat) whose mean over the repeats is meant."""
    return {(shown, r): weight / len(rounds) for shown, weight in weights.items() for r in rounds}


def _mean(each: Sequence[Weights]) -> Weights:
    result: dict[tuple[str, ...], float] = {}
    for weights in each:
        for shown, weight in weights.items():
            result[shown] = result.get(shown, 0.0) + weight / len(each)
    return result
