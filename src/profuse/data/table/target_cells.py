"""The columns of a table's target: spellings merged and numbers that people wrote read, as the schema says."""

from __future__ import annotations

import pandas as pd

from profuse.data.table.cells import as_truth
from profuse.data.table.number_format import is_number_target, written_numbers
from profuse.data.table.spellings import merged
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.schema import Schema

__all__ = ["target_cells"]


def target_cells(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Returns the columns of the target; several of true and false, which a CSV file holds as words, are labels.

    Raises:
        DataError: A cell of a column of numbers is none.
    """
    assert schema.target is not None
    cells = frame[list(schema.target.columns)]
    cells = cells.assign(**{c: merged(cells[c]) for c in cells if c in schema.merge_spellings})
    for name in schema.target.columns:
        if name in schema.numbers or is_number_target(name, cells[name], schema.target.task):
            values, lost = written_numbers(name, cells[name], schema.numbers.get(name))
            if len(lost):
                raise DataError(
                    f"target {name!r}: it must be numbers; got {tell_values(cells[name].iloc[lost].unique(), n=3)} in "
                    f"{tell_rows(lost)}. Correct them, or use task='multiclass' (--task multiclass)."
                )
            cells = cells.assign(**{name: values})
    return cells.apply(as_truth) if cells.shape[1] > 1 else cells
