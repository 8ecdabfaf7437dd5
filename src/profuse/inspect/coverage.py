"""`conformal`: whether sets and intervals hold, for rows with each pattern of modalities, hidden ones and noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer
from profuse.schema import Task

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.inspect.pattern_scores import PatternScores
    from profuse.metrics import Metric
    from profuse.predictor import Predictor

__all__ = ["Coverage"]


class Coverage(Question):
    """How often conformal sets of classes, or intervals of numbers, hold the truth, and how large they are.

    Quantiles are those of `conformal_scores`. Each row's comes from other rows: of five random parts the other four,
    with whole groups; where rows have times, from earlier rows. With `by_pattern`, a pattern of modalities that a row
    may have has a quantile of its own (see `PatternScores.chosen`).

    Then a modality at a time is hidden in every row: once with the quantiles of rows with it hidden, once
    ("unaware") with those of the rows as they were. Noise is put into the rows, with quantiles of rows without noise.

    The residual is the coverage of all rows less the one asked for.

    Args:
        coverage: Asked for, above 0 and below 1.
        by_pattern: Whether patterns of modalities have quantiles of their own.
        noise: The level of noise, see `corrupt`; 0: none.
        metric: Must be left out.
        seed: Of the parts, the noise and the bootstrap.
        n_resamples: See `Question`.
    """

    name = "conformal"
    description = "How often sets and intervals of a given coverage hold, by which modalities rows have."

    def __init__(
        self,
        *,
        coverage: float = 0.9,
        by_pattern: bool = True,
        noise: float = 0.5,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        check_coverage(coverage)
        if not 0.0 <= noise <= 1.0:
            raise ConfigError(f"conformal: noise must be from 0 to 1; got noise={noise}. 1 is the most, 0 is none.")
        self.coverage = coverage
        self.by_pattern = by_pattern
        self.noise = noise

    def metric_for(self, task: Task) -> Metric:
        """See `Question.metric_for`.

        Raises:
            ConfigError: The target is labels, or a metric was asked for.
        """
        from profuse.inspect.held import Held

        check_task(task)
        if self.metric is not None:
            raise ConfigError(f"conformal: metric must be left out; got metric={self.metric!r}. It measures coverage.")
        return Held()

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        whole, asked = answer.estimates[0], answer.estimates[0].value - (answer.residual or 0.0)
        worst = min(answer.estimates, key=lambda e: e.value)
        held = "Intervals hold" if answer.metric == "width" else "Sets hold"
        value, low, high, least = (f"{100 * x:.1f}" for x in (whole.value, whole.low, whole.high, worst.value))
        whole_said = (
            f"{held} the truth in {value} % of the rows ({low} to {high} %), {round(100 * asked, 1):g} % were asked for"
        )
        return f"{whole_said}." if worst is whole else f"{whole_said}; at worst, {worst.name}, in {least} %."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`."""
        import numpy as np

        from profuse.inspect.held import Measured
        from profuse.inspect.pattern_scores import PatternScores, parts_of, presence, said

        asked = self.asked(predictor, dataset)
        rows = PatternScores.of(predictor, asked.inputs, asked.true, coverage=self.coverage, by_pattern=self.by_pattern)
        parts = parts_of(dataset, seed=self.seed)
        quantiles = rows.crossed(rows.present, parts)
        measured = Measured(asked, np.flatnonzero(~np.isnan(quantiles)))
        whole = measured.estimate("all rows", rows.said, quantiles)
        estimates = [whole]
        used = tuple(n for n in asked.present if n in predictor.modalities)
        have = presence(asked.inputs, used)
        for name, some in _patterns(have[measured.rows], used):
            estimates.append(measured.estimate(name, rows.said, quantiles, measured.rows[some]))
        for name, inputs in self._hidden(asked, used):
            then = said(predictor, inputs)
            if self.by_pattern:
                aware = rows.crossed(presence(inputs, rows.names), parts)
                estimates.append(measured.estimate(f"{name} hidden", then, aware, modalities=(name,)))
            estimates.append(measured.estimate(f"{name} hidden, unaware", then, quantiles, modalities=(name,)))
        for names, inputs in self._noisy(asked, dataset, used):
            name = f"{' + '.join(names)}, noise {self.noise:g}"
            then = said(predictor, inputs)
            estimates.append(measured.estimate(name, then, quantiles, modalities=names, at=self.noise))
        return Answer(
            question=self.name,
            metric="set size" if predictor.task != "regression" else "width",
            n_rows=len(dataset),
            estimates=tuple(estimates),
            residual=whole.value - self.coverage,
            notes=(*self._notes(rows, dataset, quantiles, measured.rows), *measured.notes),
            measures="coverage",
            score=whole.score,
        )

    def _hidden(self, asked: Asked, used: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        from profuse.inspect.asked import hide

        for name in used:
            yield name, hide(asked.inputs, (name,))

    def _noisy(
        self, asked: Asked, dataset: Dataset, used: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
        from profuse.inspect._conditions import sets_of
        from profuse.inspect.noise import noisy_parts

        if not self.noise:
            return
        made = noisy_parts(asked.predictor, dataset, used, self.noise, seed=self.seed)
        for names in sets_of(used) if used else ():
            yield names, {**asked.inputs, **{n: made[n] for n in names}}

    def _notes(
        self, rows: PatternScores, dataset: Dataset, quantiles: np.ndarray, measured: np.ndarray
    ) -> Iterator[str]:
        import numpy as np

        from profuse.inspect.pattern_scores import choices_told, infinite_told

        yield f"The residual is the coverage of all rows less the one asked for, {self.coverage:g}."
        if dataset.times is not None:
            yield (
                f"Earlier rows calibrate later ones: the first {len(dataset) - len(measured)} rows are not measured. "
                "Coverage is promised where rows are exchangeable; those of other times may not be, and this tells."
            )
        elif dataset.groups is not None:
            yield (
                "Rows of other groups calibrate. Coverage is promised where rows are exchangeable; rows of one group "
                "are not, so that coverage varies more from group to group than the rows tell."
            )
        else:
            yield (
                "Rows that calibrate are rows of the same kind: coverage of rows as they are is near the one asked for "
                "whatever the model. What is hidden, unaware, or noisy shows what breaks it."
            )
        yield from choices_told(rows)
        yield from infinite_told(rows, quantiles[measured])
        if rows.predictor.task == "regression":
            return
        sizes, n_classes = rows.said.sizes(quantiles)[measured], len(rows.predictor.classes)
        shares = [float((sizes == n).mean()) for n in (0, 1, n_classes)]
        yield "Sets: {:.1%} are empty, {:.1%} hold one class, {:.1%} all {n}.".format(*shares, n=n_classes)
        true, held = rows.true[measured], (rows.scores <= quantiles)[measured]
        known = np.unique(true)
        least, code = min((float(held[true == c].mean()), int(c)) for c in known)
        yield (
            f"Coverage is not promised for each class: least for {str(rows.predictor.classes[code])!r}, {least:.4f} of "
            f"{int((true == code).sum())} rows."
        )


def _patterns(have: np.ndarray, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields patterns, the most complete first, and which rows have each, bool `[row]`; rare ones together."""
    import numpy as np

    from profuse.inspect.pattern_scores import MOST_TOLD, pattern_name

    kinds, which, counts = np.unique(have, axis=0, return_inverse=True, return_counts=True)
    if len(kinds) < 2:
        return
    frequent = sorted(range(len(kinds)), key=lambda i: -counts[i])[:MOST_TOLD]
    for i in sorted(frequent, key=lambda i: (-kinds[i].sum(), *(~kinds[i]))):
        yield pattern_name(kinds[i], names), which.reshape(-1) == i
    if len(kinds) > MOST_TOLD:
        yield f"{len(kinds) - MOST_TOLD} other patterns", ~np.isin(which.reshape(-1), frequent)


def check_coverage(coverage: float) -> None:
    """Checks that a coverage is above 0 and below 1.

    Raises:
        ConfigError: It is not.
    """
    if not 0.0 < coverage < 1.0:
        raise ConfigError(
            f"conformal: coverage must be above 0 and below 1; got coverage={coverage}. 0.9 leaves a tenth of the "
            "targets out."
        )


def check_task(task: Task) -> None:
    """Checks that a target has sets or intervals.

    Raises:
        ConfigError: It has not.
    """
    if task == "multilabel":
        raise ConfigError(
            "conformal: the target must be classes or numbers; got task='multilabel'. Fit a model for each label and "
            "ask it."
        )
