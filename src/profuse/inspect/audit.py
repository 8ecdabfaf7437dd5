"""`audit`: whether a group of rows is served worse, by which modality, and which one gives the group away."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Self

from profuse.errors import ConfigError, DataError
from profuse.inspect._base import Question
from profuse.inspect._words import resampled
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from profuse.data.dataset import Dataset
    from profuse.inspect._group_lines import Lines
    from profuse.inspect._groups import Grouping
    from profuse.predictor import Predictor

__all__ = ["Audit", "balancing_weights"]

_EXPLAINED = (
    "A group's line is its score less that of all other rows, in the metric's direction: below 0 it is served worse.",
    "Selection rates and equalised odds: the largest gap between groups of how often a class is answered, of all rows "
    "and of those that are of the class or not. A gap is above 0 by chance too.",
    "Calibration: the calibration error less that of right probabilities for as many rows.",
)
_ERRORS = (
    "Mean error (predicted less true) and RMSE are those of the group; what is tested is how they differ from others'."
)
_HIDDEN = (
    "Without a modality: how much more hiding it costs the group than the others. A gap that it adds: best less worst "
    "with it, less the same without it; below 0, it narrows the gap."
)
_TELLS = (
    "A modality tells a group: balanced accuracy of a logistic regression on its features, out of fold, less chance; "
    "its interval is wider than that of samples of rows, as rows share fits and fits share rows."
)


_NAMED = 3  # of what is shown, in the head of a page


class Audit(Question):
    """`score(group) - score(all other rows)` for each group, in the metric's direction; below 0 it is served worse.

    Besides: the best group less the worst; the demographic parity difference (the largest gap between groups of how
    often a class is answered) and the equalised odds difference (the same of rows that are of the class, and of those
    that are not); the calibration error of each group; of numbers mean error and RMSE. Then, for each modality: how
    much more hiding it costs a group than other rows, what it adds to the gap between best and worst, and how well its
    features tell the group.

    `Answer.shown` names the estimates that are shown after Holm's correction for all comparisons of groups. It rests on
    t tests with the bootstrap's standard errors (of shares on Fisher's exact test too, the larger p), and of a gap on
    those of each group and class, times how many.

    Missing values are a group. Numbers of more than 10 values are cut at quartiles. Of several columns each is looked
    at, every two of them together, and all.

    Args:
        group: A column of the rows, or several: features, or columns that the model does not see. Or an array with a
            value for each row, or several by name. None: categories that the model reads, else which modalities
            rows have.
        least: Groups of fewer rows are pooled; at least 2.
        metric: See `Question`.
        seed: Of all that is drawn at random.
        n_resamples: See `Question`.

    Raises:
        ConfigError: A value out of range.

    Reference:
        Hardt, Price, Srebro, "Equality of Opportunity in Supervised Learning" (2016): equalised odds; as a difference,
        and for more than two classes as the largest, as in fairlearn.
    """

    name = "audit"
    description = "Whether a group of rows is served worse, by which modality, and which one gives the group away."

    def __init__(
        self,
        *,
        group: Any = None,
        least: int = 20,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        if least < 2:
            raise ConfigError(f"audit: least must be at least 2 rows; got least={least}. The default is 20.")
        if group is not None:
            from profuse.inspect._groups import named

            named(group)
        self.group, self.least = group, least
        self.source: Any = None

    def reading(self, source: Any) -> Self:
        """See `Question.reading`."""
        made = copy(self)
        made.source = source
        return made

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        shown = answer.shown or ()
        if not shown:
            return "No difference between groups is shown."
        more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
        return f"Groups are shown to differ: {', '.join(shown[:_NAMED])}{more}."

    def ask(self, predictor: Predictor, rows: Any, *, target: Any = None) -> Answer:
        """See `Question.ask`; columns of the table that are no features may be groups."""
        import numpy as np

        from profuse.inspect._groups import columns_of
        from profuse.inspect.asked import order_by_content, read_asked

        dataset = read_asked(predictor, rows, target, who="ask")
        cells = columns_of(self.group, predictor, dataset, rows if self.source is None else self.source)
        words = [np.array([str(cell) for cell in cells[c]]) for c in cells]
        first = np.lexsort(words) if words else np.arange(len(dataset))  # equal rows may be of different groups
        order = first[order_by_content(dataset.rows(first), predictor.modalities)]
        return self._answer(predictor, dataset.rows(order), cells.iloc[order].reset_index(drop=True))

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`; groups are columns of the tables, or values in the order of the rows.

        Raises:
            ConfigError: There are no two groups of enough rows.
        """
        from profuse.inspect._groups import columns_of

        return self._answer(predictor, dataset, columns_of(self.group, predictor, dataset, None))

    def _answer(self, predictor: Predictor, dataset: Dataset, cells: pd.DataFrame) -> Answer:
        import numpy as np

        from profuse.inspect._group_lines import Lines
        from profuse.inspect.asked import predict_without
        from profuse.inspect.holm import holm

        asked = self.asked(predictor, dataset)
        used = [n for n in asked.present if n in predictor.modalities]
        found = self._groupings(dataset, cells, asked.present)
        hidden = [(name,) for name in used] if len(used) > 1 else []  # without its only one, nothing is known
        lines = Lines(asked, predict_without(predictor, asked.inputs, [(), *hidden]))
        notes = list[str]()
        for grouping in found:
            notes += grouping.notes
            alone = len(grouping.columns) == 1
            single = [k for k, rows in grouping.groups.items() if len(np.unique(lines.samples.clusters[rows])) == 1]
            notes += [f"{k} is a single group of rows: nothing can be said of others like it." for k in single]
            lines.add(grouping, whole=alone)
            if alone:
                self._probes(dataset, grouping, used, lines)
        if not lines.estimates:
            raise DataError(f"audit: something must be defined in a group; nothing is. {' '.join(lines.notes)}")
        adjusted = holm([p for p, _ in lines.tests])
        shown = tuple(name for p, (_, names) in zip(adjusted, lines.tests, strict=True) if p < 0.05 for name in names)
        numbers = predictor.task == "regression"
        explained = (_EXPLAINED[0], _ERRORS) if numbers else _EXPLAINED
        drawn = resampled(lines.samples.clusters)
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=tuple(lines.estimates),
            residual=None,
            notes=(
                _told(shown, adjusted, lines.tests),
                *notes,
                *lines.notes,
                *explained,
                *((_HIDDEN,) if hidden else ()),
                *((_TELLS,) if used else ()),
                "A residual is not defined: groups are compared, not added up.",
                f"Intervals (95 %): {self.n_resamples} bootstrap samples of {drawn}, not corrected.",
            ),
            measures="difference",
            score=asked.metric(asked.true, predictor.decision.seen_by(asked.metric, lines.predictions[()])),
            shown=shown,
        )

    def _groupings(self, dataset: Dataset, cells: pd.DataFrame, names: list[str]) -> list[Grouping]:
        from profuse.inspect._groups import groupings, usual_groupings

        if self.group is None:
            presence = {name: dataset.modalities[name].present for name in names}
            made = usual_groupings(cells, presence, least=self.least)
        else:
            made = groupings(cells, least=self.least, crossed=True)
        found = [g for g in made if len(g.groups) > 1]
        if not found:
            columns = [str(c) for data in dataset.modalities.values() if data.frame is not None for c in data.frame]
            told = [f"{g.name}: {', '.join(f'{k} ({int(v.sum())} rows)' for k, v in g.groups.items())}" for g in made]
            raise ConfigError(
                f"audit: a column must have two groups of at least {self.least} rows; got "
                f"{'; '.join(told) or 'none'}. Ask with more rows, a smaller least, or another column: "
                f"{', '.join(columns[:20]) or 'group= takes an array with a value for each row'}."
            )
        return found

    def _probes(self, dataset: Dataset, grouping: Grouping, used: list[str], lines: Lines) -> None:
        from profuse.inspect._groups import PATTERN
        from profuse.inspect._probe import probe

        if grouping.columns == (PATTERN,):
            return
        for name in used:
            found = probe(dataset, name, grouping, lines.samples, seed=self.seed)
            if found is None:
                lines.notes.append(
                    f"Whether {name} tells {grouping.name} cannot be said: there is nothing but the column "
                    "itself, or a group is of one group of rows."
                )
                continue
            measure, n = found
            lines.told(f"{name} tells {grouping.name}", measure, n, least=-1.0, most=1.0, modalities=(name,))


def _told(shown: tuple[str, ...], adjusted: list[float], tests: list[tuple[float, tuple[str, ...]]]) -> str:
    """Returns what is shown, with the corrected p of each."""
    n = len(tests)
    family = f"after Holm's correction for {n} comparison{'' if n == 1 else 's'}"
    if not shown:
        least = f" (least p {min(adjusted):.2g})" if adjusted else ""
        return f"No difference between groups is shown {family}{least}; that does not show that there is none."
    said = [f"{' and '.join(names)} (p {p:.2g})" for p, (_, names) in zip(adjusted, tests, strict=True) if p < 0.05]
    return f"Shown {family}: {', '.join(said)}."


def balancing_weights(groups: Any, target: Any) -> np.ndarray:
    """Returns `w = P(g) P(y) / P(g, y)` for each row: with them, group and target are independent.

    The weights of all rows sum to how many they are, and so do those of each group and of each class. Learn with them:
    `profuse.fit(..., weight=weights)`.

    Args:
        groups: `[row]`: of which group a row is; a missing value is a group.
        target: `[row]`: its class.

    Raises:
        DataError: There are no rows, or not as many of both.

    Reference:
        Kamiran, Calders, "Data preprocessing techniques for classification without discrimination" (2012): reweighing.

    Example:
        >>> from profuse.inspect.audit import balancing_weights
        >>> balancing_weights(["f", "f", "f", "m"], [0, 0, 1, 1]).round(3).tolist()
        [0.75, 0.75, 1.5, 0.5]
    """
    import numpy as np
    import pandas as pd

    g, y = (
        pd.factorize(pd.Series(list(values), dtype=object), use_na_sentinel=False)[0] for values in (groups, target)
    )
    if len(g) != len(y) or not len(g):
        raise DataError(
            f"balancing_weights: groups and target must have one value for each row; got {len(g)} and {len(y)}."
        )
    counts = np.zeros((g.max() + 1, y.max() + 1))
    np.add.at(counts, (g, y), 1.0)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / len(g)
    return np.asarray(expected[g, y] / counts[g, y])
