"""What gives the answer away: copies of the target, the order of rows, rows on both sides of a split.

Told before anyone believes the scores. It may be as it should be: nothing is refused.
"""

from __future__ import annotations

import numpy as np

from profuse.data.copies import copies_of_target, follows_row_order
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.data.table.near_repeats import near_repeats
from profuse.data.table.repeats import repeated_rows
from profuse.data.wording import tell_rows
from profuse.schema import SplitOptions

__all__ = ["copy_notes", "tell_leaks"]


def tell_leaks(dataset: Dataset, options: SplitOptions) -> list[str]:
    """Returns notes on inputs that give the target away, on the order of rows, and on test rows that repeat others.

    What is looked at is seed 0's split. Whether rows follow each other or stand on both sides is told of random splits
    only: an official split is not ours to judge (a test file's rows were looked at when it was read), and a split by
    time or groups minds their order.
    """
    split = make_split(dataset, options, seed=0)
    notes = copy_notes(dataset, split.train)
    if dataset.split is not None and options.method == "auto":
        return notes
    if dataset.groups is None and (dataset.times is None or options.method not in ("auto", "time")):
        how = follows_row_order(dataset)
        if how:
            notes.append(
                f"The target follows the order of the rows: {how}. If rows that follow each other belong together (in "
                "time, of one person or recording), a random split tests on what is nearly known: name the column "
                "(--split time or group). If the table is only sorted, see that no file name, number or date tells the "
                "order."
            )
    return notes + _repeats(dataset, split.test)


def copy_notes(dataset: Dataset, rows: np.ndarray | None = None) -> list[str]:
    """Returns a note on the inputs that give the target away by themselves on `rows` (None: all), if there are any."""
    rows = np.arange(len(dataset)) if rows is None else rows
    copies = copies_of_target(dataset, rows)
    if not copies:
        return []
    several = len(dataset.target_names) > 1 and dataset.task != "multiclass"
    listed = "; ".join(f"{c.column}{f' gives {c.target!r}' if several else ''} ({c.evidence})" for c in copies[:4])
    more = f"; and {len(copies) - 4} more" if len(copies) > 4 else ""
    return [
        f"Inputs that give the target away by themselves: {listed}{more}. If one is made from the target, or known "
        "only after it, scores will not hold: leave it out (ignore in the schema)."
    ]


def _repeats(dataset: Dataset, test: np.ndarray) -> list[str]:
    rest = np.setdiff1d(np.arange(len(dataset)), test)
    known, new = dataset.rows(rest), dataset.rows(test)
    repeated = repeated_rows(known, new)
    near = np.setdiff1d(near_repeats(known, new), repeated)
    notes = []
    if len(repeated):
        notes.append(
            f"Of the {len(test):,} test rows of seed 0 these equal a training or validation row in every modality: "
            f"{tell_rows(test[repeated])}. A model may know them by heart: keep equal rows in one group "
            "(--split group) or drop them (drop_duplicates), unless they are cases of their own."
        )
    if len(near):
        notes.append(
            f"Of the {len(test):,} test rows of seed 0 these nearly repeat a training or validation row (words but "
            f"for case, blanks and signs, numbers within a twentieth of their spread): {tell_rows(test[near])}. A "
            "model may know them by heart: keep them in one group with what they repeat (--split group), or drop them."
        )
    return notes
