"""`misaligned`: the score when modalities belong to other rows, or are shifted in time, by level."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect._conditions import LEVELS, Condition, answered, check_levels, sets_of, worst_headline
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.predictor import Predictor

__all__ = ["Misaligned"]

What = Literal["rows", "time"]
_STREAM = 2_236_067  # noise and gaps drawn with the same seed must have nothing to do with what is exchanged
_LATE = "late"


class Misaligned(Question):
    """`L(m, p) = score(all) - score(m misaligned by p)`, in the metric's direction.

    Rows: of those that have the modality, each takes part with probability p, and they exchange it in a circle of
    random order, so that none keeps its own (two rows may be equal). Time: series and sounds begin p/2 of their length
    too early or too late, what leaves at one end enters at the other: the corruption `late` of their kinds.

    Each modality is misaligned by itself, and all together, each in its own way. What is drawn depends on the rows, the
    names and the seed, not on the predictor and not on the level: rows that are exchanged at a low level are exchanged
    at all higher ones.

    The residual is the loss with all misaligned by the last level, less the sum of the losses with each.

    Args:
        levels: p, 0 to 1 each, ascending.
        what: "rows" or "time".
        modalities: The ones that are misaligned; all that the predictor uses (time: and that have one) if None.
        metric: See `Question`.
        seed: Of what is exchanged, and of the bootstrap.
        n_resamples: See `Question`.
    """

    name = "misaligned"
    description = "What is lost when a modality is that of another row, or shifted in time, by level."

    def __init__(
        self,
        *,
        levels: float | Sequence[float] = LEVELS,
        what: What = "rows",
        modalities: str | Sequence[str] | None = None,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        self.levels = check_levels(levels, "misaligned")
        if what not in get_args(What):
            raise ConfigError(f"misaligned: what must be 'rows' or 'time'; got what={what!r}.")
        self.what = what
        self.modalities = (modalities,) if isinstance(modalities, str) else modalities

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        return worst_headline(answer)

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            ConfigError: Time is asked for and no modality has one.
        """
        asked = self.asked(predictor, dataset)
        for name in self.modalities or ():
            resolve(name, asked.inputs, where="misaligned", what="modality")
        names = [n for n in asked.present if n in (self.modalities or asked.used)]
        notes = ["One draw was made; another seed makes another."]
        if self.what == "time":
            names = self._with_time(dataset, names, notes)
        predictions: dict[Any, np.ndarray] = {**predictor.predict_exchanged(asked.inputs, {}, [()])}
        for level, made in self._made(asked, dataset, names):
            said = predictor.predict_exchanged(asked.inputs, made, sets_of(names))
            predictions |= {Condition(some, level): p for some, p in said.items()}
        measures = "what is lost when misaligned"
        return answered(self.name, measures, asked, predictions, what="misaligned", notes=notes)

    def _with_time(self, dataset: Dataset, names: list[str], notes: list[str]) -> list[str]:
        from profuse.inspect.corrupt import noise_of

        timed = [n for n in names if _LATE in noise_of(dataset.modalities[n])]
        if not timed:
            kinds = ", ".join(f"{n!r} ({dataset.modalities[n].kind})" for n in names)
            raise ConfigError(
                f"misaligned: a modality must have a time, as series and sounds do; got what='time' and {kinds}. "
                "Ask with what=rows."
            )
        if lacking := [f"{n!r} ({dataset.modalities[n].kind})" for n in names if n not in timed]:
            notes.append(f"{' and '.join(lacking)} has no time: left out.")
        return timed

    def _made(self, asked: Asked, dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yields each level, and each of the modalities misaligned by it."""
        import numpy as np
        import torch

        from profuse.inspect.noise import noisy_parts
        from profuse.kinds.noise.corruption import exchanged

        for level in self.levels:
            if self.what == "time":
                yield level, noisy_parts(asked.predictor, dataset, names, level, seed=self.seed, noise=_LATE)
                continue
            made = {}
            for name in names:
                draw = np.random.default_rng([_STREAM, self.seed, zlib.crc32(name.encode())])
                hit = (draw.random(len(dataset)) < level) & asked.inputs[name].present.numpy()
                made[name] = asked.inputs[name].rows(torch.from_numpy(exchanged(hit[:, None], draw)[:, 0]))
            yield level, made
