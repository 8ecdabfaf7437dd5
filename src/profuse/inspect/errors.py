"""`errors`: where a predictor is wrong: single rows, slices of rows, targets that look wrong, rows that disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer, Estimate

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor

__all__ = ["Errors"]

_NEAREST = 2  # slices that are estimates though they are not shown to be worse
_MOST = 10  # slices that are
_SUSPECTED = 100  # rows in details


class Errors(Question):
    """`mean loss in a slice, less that outside`, for slices in which the error is shown to be higher.

    The loss of a row is 0 or 1 for a class, the share of its labels that are wrong, or the absolute error of a number
    (of several: their mean, in standard deviations of the target), unless `metric` names another mean over rows.

    Slices are levels and quartiles of columns, gaps, numbers of words, true and predicted classes, clusters of what the
    predictor makes of rows (`representation`), and pairs of the best. Of the modalities that it uses. The p-value is
    corrected for all of them (`profuse.inspect.slice_tests`); at most ten slices with `p <= level` are estimates, and
    the two that come next. The last estimate is the share of targets that look wrong (`profuse.inspect.wrong_labels`).

    `details` hold the rows with the surest errors, the slices, the suspected targets and equal rows that disagree.
    **Rows must not be those that the model has learned from.**

    The residual is the mean loss of the rows that lie in no slice that is shown, but for slices of the truth, which
    nobody knows when it predicts.

    Args:
        metric: A mean over rows; None: see above.
        surest: Rows with the surest errors in `details`.
        least: Rows in a slice, and outside, at least.
        level: p up to which a slice is shown, corrected.
        seed: Of shuffles, clusters and samples.
        n_resamples: Bootstrap samples behind the interval of wrong targets.

    Raises:
        ConfigError: A value out of range.
    """

    name = "errors"
    description = "Where it is wrong: surest errors, slices with a higher error, labels that look wrong, leaks."

    def __init__(
        self,
        *,
        metric: str | None = None,
        surest: int = 12,
        least: int = 30,
        level: float = 0.05,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        if surest < 1 or least < 2 or not 0 < level < 1:
            raise ConfigError(
                "errors: surest must be at least 1, least at least 2 and level between 0 and 1; got "
                f"surest={surest}, least={least}, level={level}. The defaults are 12, 30 and 0.05."
            )
        self.surest, self.least, self.level = surest, least, level

    def ask(self, predictor: Predictor, rows: Any, *, target: Any = None) -> Answer:
        """See `Question.ask`; rows keep their order, by which they are numbered."""
        from profuse.inspect.asked import read_asked

        return self.answer(predictor, read_asked(predictor, rows, target, who="ask"))

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        from profuse.inspect._words import ends_of

        shown = [e for e in answer.estimates if not e.name.startswith("(")]
        if not shown:
            return "No slice of the rows is shown to be predicted worse than the others."
        by = f"{shown[0].name}: by {ends_of(shown[0])} of {answer.label}."
        if len(shown) == 1:
            return f"One slice is predicted worse than other rows, {by}"
        return f"{len(shown)} slices are predicted worse than other rows, first {by}"

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            ConfigError: The metric is no mean over rows.
        """
        import numpy as np

        from profuse.inspect import _error_notes as notes
        from profuse.inspect.asked import check_target, order_by_content
        from profuse.inspect.intervals import Scores
        from profuse.inspect.leaking import Leaks
        from profuse.inspect.mistakes import Mistakes
        from profuse.inspect.slice_tests import compare_slices
        from profuse.inspect.slices import MOST_SLICES, Clusters, slices_of
        from profuse.inspect.wrong_labels import WrongLabels, WrongNumbers

        check_target(dataset)
        order = order_by_content(dataset, predictor.modalities)
        rows = dataset.rows(order)
        asked = self.asked(predictor, rows)
        made = Mistakes.of(asked, rows, order, None if self.metric is None else asked.metric)
        clusters = Clusters.of(predictor.representation(asked.inputs), least=self.least, seed=self.seed)
        single = slices_of(predictor, rows, made.outputs, asked.true, clusters, least=self.least)
        looked = single[:MOST_SLICES]
        tested, n_pairs = compare_slices(made.loss, asked.clusters, looked, least=self.least, seed=self.seed)
        shown = [t for t in tested if t.p <= self.level]
        nearest = [t for t in tested if t.p > self.level][:_NEAREST]
        wrong = WrongNumbers() if predictor.task == "regression" else WrongLabels()
        scores = Scores(
            wrong, asked.true, {(): made.outputs}, asked.clusters, seed=self.seed, n_resamples=self.n_resamples
        )
        share = scores.score(())
        suspects = wrong.suspects(asked.true, made.outputs)
        n_targets = asked.true.size if predictor.task == "multilabel" else len(rows)
        leaks = Leaks.of(predictor, dataset)
        outside = np.ones(len(rows), dtype=bool)
        explaining = [t for t in shown if t.slice.paired]
        for t in explaining:
            outside &= ~t.slice.rows
        residual = float(made.loss[outside].mean()) if outside.any() else None
        details: dict[str, Any] = {
            "loss": made.what,
            "mean": float(made.loss.mean()),
            "surest": made.surest(self.surest),
            "slices": [t.told(shown=t.p <= self.level) for t in [*shown, *nearest]],
            "looked_at": len(looked) + n_pairs,
            "left_out": len(single) - len(looked),
            "labels": {
                "number": dict(zip(("value", "low", "high"), (x * n_targets for x in share), strict=True)),
                "n": len(suspects.rows),
                "expected": suspects.expected,
                "suspected": made.suspected(suspects, _SUSPECTED),
            },
            "equal": {"n": leaks.n_equal, "n_contradictions": leaks.n_contradictions, "sets": leaks.told(dataset)},
        }
        estimates = [
            Estimate(t.slice.name, t.value, t.low, t.high, int(t.slice.rows.sum()), t.inside, t.slice.modalities)
            for t in [*shown[:_MOST], *nearest]
        ]
        return Answer(
            question=self.name,
            metric=made.what,
            n_rows=len(rows),
            estimates=(*estimates, Estimate("(share of targets that look wrong)", *share, len(rows))),
            residual=residual,
            notes=(
                *notes.of_rows(details["surest"]),
                *notes.of_slices(details, shown, _MOST, clusters, made),
                *notes.of_labels(details["labels"], made),
                *notes.of_leaks(leaks, made),
                notes.of_residual(residual, len(explaining)),
                *scores.notes,
            ),
            measures="excess error",
            score=float(made.loss.mean()),
            details=details,
        )
