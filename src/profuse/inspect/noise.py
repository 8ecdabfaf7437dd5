"""`noise`: the score when modalities are noisy, by level."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor
    from profuse.tokens import Raw

__all__ = ["LEVELS", "Noise"]

LEVELS = (0.25, 0.5, 0.75, 1.0)


class Noise(Question):
    """`L(m, p) = score(all) - score(noise of level p in m)`, in the metric's direction; see `corrupt` for the noise.

    Each modality gets noise by itself, and all together. The draws depend on the rows, the level and the seed, not on
    the predictor: all that are compared meet the same noise. Noise in a modality that is not used changes nothing.

    The residual is the loss with noise of the last level in all, less the sum of the losses with it in each.

    Args:
        levels: p, above 0 to 1 each, ascending.
        modalities: The ones that get noise, by themselves and together; all that the predictor uses if None.
        metric: See `Question`.
        seed: Of the noise and of the bootstrap.
        n_resamples: See `Question`.
    """

    name = "noise"
    description = "What is lost when modalities are noisy, by level of noise."

    def __init__(
        self,
        *,
        levels: Sequence[float] = LEVELS,
        modalities: Sequence[str] | None = None,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        ascending = all(a < b for a, b in pairwise(levels))
        if not levels or not ascending or not all(0.0 <= p <= 1.0 for p in levels):
            raise ConfigError(
                f"noise: levels must be from 0 to 1, ascending; got levels={list(levels)}. 1 is the most."
            )
        self.levels = tuple(levels)
        self.modalities = (modalities,) if isinstance(modalities, str) else modalities

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            ConfigError: The predictor does not take preprocessed inputs, which noise is defined for.
        """
        from profuse.inspect.corrupt import corrupt

        asked = self.asked(predictor, dataset)
        for name in self.modalities or ():
            resolve(name, asked.inputs, where="noise", what="modality")
        names = [n for n in asked.present if n in (self.modalities or asked.used)]
        inputs = self._preprocessed(predictor, asked.inputs)
        targets = [(n,) for n in names] + ([tuple(names)] if len(names) > 1 else [])
        predictions: dict[Hashable, np.ndarray] = {(): predictor.predict_encoded(asked.inputs)}
        for noisy in targets:
            for level in self.levels:
                corrupted = corrupt(inputs, predictor.pipeline.specs, noisy, level, seed=self.seed)
                predictions[noisy, level] = predictor.predict_encoded(corrupted)
        scores = asked.scores(predictions)
        losses = {
            (noisy, p): asked.loss(scores, f"{' + '.join(noisy)}, level {p:g}", (noisy, p), at=p, modalities=noisy)
            for noisy in targets
            for p in self.levels
        }
        residual = None
        why = "A residual is not defined: a single modality was noisy. "
        if len(names) > 1:
            last = self.levels[-1]
            residual = losses[tuple(names), last].value - sum(losses[(n,), last].value for n in names)
            why = f"The residual is the loss at level {last:g} in all together, less the sum of the single losses. "
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=tuple(losses.values()),
            residual=residual,
            notes=(
                why + "One draw of the noise was made; another seed makes another. Its unit is that of the "
                "preprocessor: standard deviations, or interquartile ranges, of the training rows.",
                *asked.notes(scores),
            ),
            measures="what is lost to noise",
            score=scores[()],
        )

    @staticmethod
    def _preprocessed(predictor: Predictor, inputs: Mapping[str, object]) -> dict[str, Raw]:
        from profuse.tokens import Raw

        preprocessed = {name: part for name, part in inputs.items() if isinstance(part, Raw)}
        if len(preprocessed) < len(inputs):
            raise ConfigError(
                f"noise: the predictor must be a network, whose inputs are preprocessed; got a "
                f"{type(predictor).__name__}, whose features are in units of their own. Ask it for 'missing'."
            )
        return preprocessed
