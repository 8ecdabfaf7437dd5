"""`noise`: the score when modalities are noisy, by level and by kind of noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from profuse._lookup import nearest, resolve
from profuse.errors import ConfigError, UnknownNameError
from profuse.inspect._base import Question
from profuse.inspect._conditions import LEVELS, Condition, answered, check_levels, sets_of, worst_headline
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor

__all__ = ["LEVELS", "Noise"]


class Noise(Question):
    """`L(m, p) = score(all) - score(noise of level p in m)`, in the metric's direction; see `corrupt` for the noise.

    Each modality gets noise by itself, and all together. Noise is put into the rows as they were read, so that every
    predictor can be asked. The draws depend on the rows and the seed, not on the predictor: all that are compared meet
    the same noise. Noise in a modality that is not used changes nothing.

    The residual is the loss with noise of the last level in all, less the sum of the losses with it in each; the mean
    of these where there are several kinds of noise.

    Args:
        levels: p, above 0 to 1 each, ascending.
        kinds: Names of noise, each asked for by itself: "usual", or what the kinds of the modalities have: see
            `noise_of`. A modality that has no noise of this name is left out, and told.
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
        levels: float | Sequence[float] = LEVELS,
        kinds: str | Sequence[str] = ("usual",),
        modalities: str | Sequence[str] | None = None,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        self.levels = check_levels(levels, "noise")
        self.kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        self.modalities = (modalities,) if isinstance(modalities, str) else modalities
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(f"noise: kinds must be names of noise, each once; got kinds={list(self.kinds)}.")

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        return worst_headline(answer)

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            UnknownNameError: No kind of modality has noise of this name.
            ConfigError: None of the modalities has it.
        """
        from profuse.inspect.corrupt import USUAL, corrupt

        _check_kinds(self.kinds)
        asked = self.asked(predictor, dataset)
        for name in self.modalities or ():
            resolve(name, asked.inputs, where="noise", what="modality")
        names = [n for n in asked.present if n in (self.modalities or asked.used)]
        predictions: dict[Any, np.ndarray] = {**predictor.predict_exchanged(asked.inputs, {}, [()])}
        notes = [
            "One draw of the noise was made; another seed makes another. The unit of numbers is the spread of a column "
            "over the rows asked about (interquartile range / 1.349).",
        ]
        lacking: dict[str, list[str]] = {}
        for kind, some in self._noisy(dataset, names):
            how = "" if kind == USUAL else kind
            for name in [n for n in names if n not in some]:
                lacking.setdefault(name, []).append(kind)
            for level in self.levels:
                noisy_rows = corrupt(dataset, some, level, seed=self.seed, noise=kind)
                made = {name: predictor.encode_one(noisy_rows, name) for name in some}
                said = predictor.predict_exchanged(asked.inputs, made, sets_of(some))
                predictions |= {Condition(noisy, level, how): p for noisy, p in said.items()}
            notes += self._untouched(dataset, noisy_rows, some, kind)
        notes += [
            f"{n!r} ({dataset.modalities[n].kind}) has no noise called {', '.join(kinds)}: left out there."
            for n, kinds in lacking.items()
        ]
        return answered(self.name, "what is lost to noise", asked, predictions, what="noisy", notes=notes)

    def _untouched(self, dataset: Dataset, noisy: Dataset, names: Sequence[str], kind: str) -> Iterator[str]:
        """Yields a note on each modality in which noise of the last level changes nothing."""
        from profuse.inspect.asked import same_rows

        for name in names:
            if self.levels[-1] > 0 and same_rows(noisy.modalities[name], dataset.modalities[name]):
                yield (
                    f"{kind!r} changes nothing in {name!r}: there are too few rows, or all are alike. That it costs "
                    "nothing there says nothing."
                )

    def _noisy(self, dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yields each kind of noise and the modalities that have it."""
        from profuse.inspect.corrupt import noise_of

        for kind in self.kinds:
            some = [n for n in names if kind in noise_of(dataset.modalities[n])]
            if not some:
                have = "; ".join(f"{n!r} has {', '.join(noise_of(dataset.modalities[n]))}" for n in names)
                raise ConfigError(f"noise: a modality must have the noise asked for; got kinds={kind!r}. {have}.")
            yield kind, some


def noisy_parts(
    predictor: Predictor, dataset: Dataset, names: Sequence[str], level: float, *, seed: int, noise: str = "usual"
) -> dict[str, Any]:
    """Returns each of the modalities `names` with noise, as the predictor takes it."""
    from profuse.inspect.corrupt import corrupt

    changed = corrupt(dataset, names, level, seed=seed, noise=noise)
    return {name: predictor.encode_one(changed, name) for name in names}


def _check_kinds(names: Sequence[str]) -> None:
    """Checks that some kind of modality has each noise.

    Raises:
        UnknownNameError: None has; the nearest names are told, and which kinds have them.
    """
    from profuse.inspect.corrupt import USUAL
    from profuse.kinds import KINDS, kind_named

    known: dict[str, list[str]] = {USUAL: ["every kind"]}
    for kind in KINDS:
        for noise in kind_named(kind).corruptions:
            known.setdefault(noise, []).append(kind)
    for name in names:
        if name not in known:
            told = " or ".join(f"{noise!r} (of {', '.join(known[noise])})" for noise in nearest(name, known))
            raise UnknownNameError(
                f"noise: kinds must be names of noise; got kinds={name!r}. {told and f'Did you mean {told}? '}"
                f"Known: {', '.join(known)}."
            )
