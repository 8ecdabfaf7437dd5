"""A threshold for each group, so that groups are answered alike, and what that costs: measured on held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from profuse.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from profuse.predictor import Predictor

__all__ = ["GroupThresholds", "group_thresholds"]


@dataclass(frozen=True, eq=False)
class GroupThresholds:
    """Thresholds of the second of two classes, by group.

    Attributes:
        thresholds: By the group's value; "missing" where there is none.
        costs: A line for each group and for all rows: `n`; `rate`, the one that is made equal, and `accuracy`, as the
            model answers and with the thresholds ("then"), which other rows have chosen.
    """

    thresholds: Mapping[str, float]
    costs: pd.DataFrame

    def answers(self, probabilities: np.ndarray, group: Any) -> np.ndarray:
        """Returns whether the second class is answered, `[row]`.

        Args:
            probabilities: `[row, class]`, as `Predictor.predict_proba` returns them.
            group: `[row]`.

        Raises:
            DataError: There are not as many groups as rows, or one has no threshold.
        """
        words = _words(group)
        unknown = sorted(set(words) - set(self.thresholds))
        if len(words) != len(probabilities) or unknown:
            raise DataError(
                f"answers: group must hold one of {sorted(self.thresholds)} for each of the {len(probabilities)} rows; "
                f"got {unknown[:3] or len(words)}. Choose thresholds with rows of all groups."
            )
        return _answered(probabilities[:, 1], words, self.thresholds)


def group_thresholds(
    predictor: Predictor,
    rows: Any,
    group: Any,
    *,
    equal: Literal["selection", "recall"] = "selection",
    target: Any = None,
    least: int = 20,
    seed: int = 0,
) -> GroupThresholds:
    """Returns the thresholds with which each group has the rate that all rows have now.

    What they cost is measured out of fold: of five parts of the rows, with whole groups of rows, four choose and the
    fifth is answered; where rows have times, earlier ones choose. Whether it is lawful, or right, to answer people by
    their group is not for a library to say.

    Args:
        predictor: Of two classes.
        rows: As `ask` takes them; with a target, and not learned from.
        group: A column of the rows, or `[row]`.
        equal: "selection": how often the second class is answered (demographic parity). "recall": how often it is
            answered of rows that are of it (equality of opportunity).
        target: See `Predictor.read`.
        least: Rows that each group must have (of the second class, for "recall").
        seed: Of the parts.

    Raises:
        ConfigError: There are other than two classes, a group is too small, or its rows all belong together.

    Reference:
        Hardt, Price, Srebro, "Equality of Opportunity in Supervised Learning" (2016). *Differs from the paper* in that
        a group has one threshold, without chance, so that of equalised odds only one side can be had.

    Example:
        >>> from profuse.inspect.group_thresholds import group_thresholds
        >>> group_thresholds(profuse.load_model("model"), "held.csv", "sex").costs  # doctest: +SKIP
    """
    import numpy as np
    import pandas as pd

    from profuse.inspect._groups import columns_of
    from profuse.inspect.asked import encoded_target, read_asked
    from profuse.inspect.pattern_scores import parts_of

    if predictor.task != "binary" or equal not in ("selection", "recall"):
        raise ConfigError(
            "group_thresholds: the target must be two classes, and equal 'selection' or 'recall'; got "
            f"task={predictor.task!r}, equal={equal!r}. Ask audit for what can be said of others."
        )
    dataset = read_asked(predictor, rows, target, who="group_thresholds")
    cells = columns_of(group, predictor, dataset, rows)
    if cells.shape[1] != 1:
        raise ConfigError(
            f"group_thresholds: group must be one column; got {[str(c) for c in cells]}. Join them into one."
        )
    words = _words(cells.iloc[:, 0])
    true = encoded_target(predictor, dataset) == 1
    probabilities = predictor.predict_encoded(predictor.encode(dataset))
    now = predictor.decision.codes(probabilities) == 1
    counted = true if equal == "recall" else np.ones(len(true), dtype=bool)
    names, counts = np.unique(words[counted], return_counts=True)
    small = sorted({*set(words) - set(names), *names[counts < least]})
    if small:
        raise ConfigError(
            f"group_thresholds: each group must have {least} rows{' of the second class' if equal == 'recall' else ''};"
            f" fewer are of {small[:5]}. Give more rows, or a smaller least."
        )
    then, held = np.zeros(len(true), dtype=bool), np.zeros(len(true), dtype=bool)
    for chosen_by, measured in parts_of(dataset, seed=seed):
        known = _chosen(probabilities[chosen_by, 1], words[chosen_by], counted[chosen_by], now[chosen_by])
        lost = sorted(set(words[measured]) - set(known))
        if lost:
            raise ConfigError(
                f"group_thresholds: rows of each group must be in several parts, to choose and be answered; those of "
                f"{lost[:5]} are together. Give rows of more persons, or of more times, of it."
            )
        then[measured], held[measured] = _answered(probabilities[measured, 1], words[measured], known), True
    lines = [("all", held), *((str(n), held & (words == n)) for n in names)]
    final = _chosen(probabilities[:, 1], words, counted, now)
    costs = pd.DataFrame(
        {
            "group": name,
            "n": int(some.sum()),
            "threshold": final.get(name, np.nan),
            "rate": now[some & counted].mean(),
            "rate then": then[some & counted].mean(),
            "accuracy": (now == true)[some].mean(),
            "accuracy then": (then == true)[some].mean(),
        }
        for name, some in lines
    )
    return GroupThresholds(final, costs)


def _words(group: Any) -> np.ndarray:
    import pandas as pd

    from profuse.inspect._groups import words_of

    words, cut = words_of(pd.Series(group).reset_index(drop=True))
    if cut:
        raise ConfigError("group_thresholds: group must be categories; got numbers of more than 10 values. Cut them.")
    return words


def _chosen(second: np.ndarray, words: np.ndarray, counted: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Returns the threshold of each group at which as large a share of its counted rows is answered as of all now."""
    import numpy as np

    share, result = float(now[counted].mean()), {}
    for name in np.unique(words[counted]):
        scores = np.sort(second[counted & (words == name)])[::-1]
        k = round(share * len(scores))
        ends = np.concatenate([[1.0], scores, [0.0]])
        result[str(name)] = float((ends[k] + ends[k + 1]) / 2)
    return result


def _answered(second: np.ndarray, words: np.ndarray, thresholds: Mapping[str, float]) -> np.ndarray:
    import numpy as np

    return np.asarray(second >= np.array([thresholds[w] for w in words]))
