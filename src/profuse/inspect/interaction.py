"""`interaction`: what a finished predictor has from modalities only together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect._words import resampled
from profuse.inspect.answer import Answer, Estimate
from profuse.inspect.shapley import MOST_EXACT, coalitions, interaction_weights

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.predictor import Predictor

__all__ = ["Interaction"]

_STREAM = 8_314_462  # data, a split or noise drawn with the same seed must have nothing to do with the rows drawn
_MOST_SYMBOLS = 6
_SAID = {
    "redundancy": "either says",
    "unique_1": "only {0} says",
    "unique_2": "only {1} says",
    "synergy": "only both say",
}


class Interaction(Question):
    """Score: `I_ab = sum_S w_S (v(S + a + b) - v(S + a) - v(S + b) + v(S))`, and `score(f) - score(f^)`.

    The first is the Shapley interaction index of each pair of modalities, with `v(S) = score(only S)` and
    `w_S = |S|! (M - |S| - 2)! / (M - 1)!`: above 0 two are worth more together than each alone adds up to, below 0 one
    stands in for the other. The second is EMAP: how much better the predictor is than its additive projection f^, the
    nearest sum of what it makes of each modality (`profuse.inspect.additive`), on a sample of rows. It needs no missing
    modality. The predictor is the one that was fitted.

    The residual is what all modalities gain over none, less what each gains alone and less the indices: of three or
    more together; 0 for two.

    Bits: `I(X_a X_b; Y)` of each pair, where X_m is what is predicted when only m is shown, split into what either
    says, what only a or only b says, and what only both together say (`profuse.inspect.pid`). X_m is the predicted
    class, or the quantile bin of a number or of the probability of two classes; what shuffled targets would give is
    subtracted. It is about what the predictor reads from each modality alone, not about the raw data. The residual of
    two modalities is what its prediction from both says, less the sum of the parts.

    Args:
        unit: "score" or "bits".
        modalities: Two to eight; the others stay as they are. All that the predictor uses if None.
        n_rows: Rows that EMAP pairs with each other; as many as 30,000 predictions allow if None.
        n_bins: Bins of numbers and probabilities, where the unit is bits, 2 to 6.
        metric: See `Question`; for the unit score only.
        seed: Of all that is drawn at random.
        n_resamples: See `Question`.

    Raises:
        ConfigError: A value out of range.

    Reference:
        Grabisch, Roubens, "An axiomatic approach to the concept of interaction among players" (1999). Hessel, Lee
        (EMNLP 2020): EMAP. Bertschinger et al., "Quantifying Unique Information" (2014); Liang et al., "Quantifying &
        Modeling Multimodal Interactions" (NeurIPS 2023), which decomposes clusters of the data instead.
    """

    name = "interaction"
    description = "What modalities are worth only together: by pairs, beyond a sum (EMAP), or in bits (PID)."

    def __init__(
        self,
        *,
        unit: Literal["score", "bits"] = "score",
        modalities: Sequence[str] | None = None,
        n_rows: int | None = None,
        n_bins: int = 3,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        if unit not in ("score", "bits") or (n_rows is not None and n_rows < 2) or not 2 <= n_bins <= _MOST_SYMBOLS:
            raise ConfigError(
                f"interaction: unit must be 'score' or 'bits', n_rows at least 2 and n_bins 2 to {_MOST_SYMBOLS}; got "
                f"unit={unit!r}, n_rows={n_rows}, n_bins={n_bins}. The defaults are 'score', None and 3."
            )
        if unit == "bits" and metric is not None:
            raise ConfigError(f"interaction: bits must have no metric; got metric={metric!r}. Leave it out.")
        self.unit, self.modalities, self.n_rows, self.n_bins = unit, modalities, n_rows, n_bins

    @property
    def plans_all(self) -> bool:
        """See `Question.plans_all`."""
        return self.unit == "bits"

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        from profuse.inspect._words import ends_of

        pairs = [e for e in answer.estimates if len(e.modalities) == 2 and e.name == " + ".join(e.modalities)]
        if not pairs:
            return super().headline(answer)
        e = max(pairs, key=lambda e: abs(e.value))
        if e.low <= 0 <= e.high:
            return f"No pair is shown to gain or lose by being together: {e.name} most, {ends_of(e)} {answer.label}."
        if e.value > 0:
            return (
                f"{e.name} need each other most: together they gain {ends_of(e)} {answer.label} more than each alone."
            )
        return f"{e.name} say most alike: together they gain {ends_of(e, sign=-1)} {answer.label} less than each alone."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            ConfigError: Fewer than two modalities, more than eight, or a target that has no bits.
        """
        asked = self.asked(predictor, dataset)
        names = sorted(asked.used if self.modalities is None else self.modalities)
        for name in names:
            resolve(name, dict.fromkeys(asked.used), where="interaction", what="modality")
        if not 2 <= len(set(names)) == len(names) <= MOST_EXACT:
            raise ConfigError(
                f"interaction: there must be 2 to {MOST_EXACT} modalities; got {names}. Name some with modalities=; "
                "the others stay as they are."
            )
        return self._in_score(asked, names) if self.unit == "score" else self._in_bits(asked, names)

    def _in_score(self, asked: Asked, names: list[str]) -> Answer:
        hidden = {s: tuple(n for n in names if n not in s) for s in coalitions(names)}
        scores = asked.scores_without(hidden.values())

        def measured(weights: dict[tuple[str, ...], float]) -> tuple[float, float, float]:
            return scores.combined({hidden[s]: weight for s, weight in weights.items()})

        n = len(asked.true)
        pairs = [
            Estimate(" + ".join(pair), *measured(w), n, modalities=pair)
            for pair, w in interaction_weights(names).items()
        ]
        alone = {name: measured({(name,): 1.0, (): -1.0})[0] for name in names}
        whole = measured({tuple(names): 1.0, (): -1.0})[0]
        emap = self._beyond_sum(asked, names)
        left = round(whole - sum(alone.values()) - sum(e.value for e in pairs), 12) + 0.0  # no -0.0
        told = ", ".join(f"{name} {value:.4f}" for name, value in alone.items())
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=n,
            estimates=(*pairs, emap),
            residual=left,
            notes=(
                "Of a pair: above 0 the two are worth more together than each by itself; below 0 they say alike. "
                f"'{emap.name}' is what the predictor gains over the nearest sum of what it makes of each modality, on "
                f"{emap.n} rows that were paired with each other; its interval takes that sum as given.",
                f"All together gain {whole:.4f} over none, each alone: {told}. The residual is the gain of all, less "
                "these and less the pairs: what three or more are worth only together.",
                *asked.notes(scores),
            ),
            measures="what is gained only together",
            score=scores[()],
        )

    def _beyond_sum(self, asked: Asked, names: list[str]) -> Estimate:
        """Returns how much better the predictor scores than its additive projection, on some of the rows."""
        import numpy as np
        import torch

        from profuse.inspect.additive import additive_prediction, affordable_rows

        rest = tuple(n for n in asked.used if n not in names)
        blocks = [*((name,) for name in names), *([rest] if rest else [])]
        n = min(len(asked.true), self.n_rows or affordable_rows(len(blocks)))
        rows = np.sort(np.random.default_rng([_STREAM, self.seed]).permutation(len(asked.true))[:n])
        inputs = {name: part.rows(torch.as_tensor(rows)) for name, part in asked.inputs.items()}
        some = replace(asked, inputs=inputs, true=asked.true[rows], clusters=asked.clusters[rows])
        predictor = asked.predictor
        scores = some.scores(
            {"whole": predictor.predict_encoded(inputs), "sum": additive_prediction(predictor, inputs, blocks)}
        )
        return some.loss(scores, "beyond a sum", "sum", better="whole", modalities=tuple(names))

    def _in_bits(self, asked: Asked, names: list[str]) -> Answer:
        from profuse.inspect.readings import PARTS, bits_of, parts_of, symbols, target_symbols

        predictor, task = asked.predictor, asked.predictor.task
        n_outputs = predictor.codec.n_outputs
        if task == "multilabel" or n_outputs > (1 if task == "regression" else _MOST_SYMBOLS):
            raise ConfigError(
                f"interaction: bits must be of a single number, or of at most {_MOST_SYMBOLS} classes; got a {task} "
                f"task with {n_outputs} outputs. Ask with unit='score'."
            )
        alone = {name: tuple(n for n in asked.used if n != name) for name in names}
        made: dict[Any, Any] = _predicted(asked, [(), *alone.values()])
        y = target_symbols(asked.true, task, self.n_bins)
        x = {name: symbols(made[gone], task, self.n_bins) for name, gone in alone.items()}
        estimates, chance, total = [], [], 0.0
        for a, b in combinations(names, 2):
            parts = parts_of(x[a], x[b], y, asked.clusters, seed=self.seed, n_resamples=self.n_resamples)
            for part in PARTS:
                name = f"{a} + {b}: {_SAID[part].format(a, b)}"
                estimates.append(Estimate(name, *parts.found[part], len(y), modalities=(a, b)))
            chance.append(parts.chance)
            total = parts.total
        two = len(names) == 2 == len(asked.used)
        joint = bits_of(symbols(made[()], task, self.n_bins), y, seed=self.seed)
        told = f"What is predicted from all modalities says {joint:.4f} bits of the target. "
        left = (
            "The residual is what this has beyond the sum of the parts."
            if two
            else "A residual is not defined: the parts of several pairs overlap."
        )
        return Answer(
            question=self.name,
            metric="bits",
            n_rows=len(y),
            estimates=tuple(estimates),
            residual=joint - total if two else None,
            notes=(
                "What the predictor reads from each modality alone, "
                f"{'as the predicted class' if task == 'multiclass' else f'in {self.n_bins} bins'}; not what the raw "
                f"data hold. Up to {max(chance):.4f} bits that shuffled targets would give are subtracted.",
                told + left,
                *(f"No row has {name!r}: what it is worth cannot be said of these rows." for name in asked.absent),
                f"Intervals (95 %): {self.n_resamples} bootstrap samples of {resampled(asked.clusters)}.",
            ),
            measures="bits said of the target",
        )


def _predicted(asked: Asked, hidden: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Any]:
    from profuse.inspect.asked import predict_without

    return predict_without(asked.predictor, asked.inputs, hidden)
