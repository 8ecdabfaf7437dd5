"""Answers and draws -> cells: the filled table, its spread, tables without gaps, and all samples in long form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import ModalityData
from profuse.data.table.cells import object_array
from profuse.data.wording import tell_values
from profuse.errors import DataError
from profuse.imputation.coding import Coding, Part, known_cells
from profuse.imputation.methods import Answer, Drawn

__all__ = ["SPREAD", "Filled", "Gaps", "check_names", "flag_of"]

SPREAD = "_spread"


@dataclass(frozen=True, eq=False)
class Filled:
    """What `Imputer.fill` returns.

    Attributes:
        table: The table with the cells filled; for each filled column that is not copied, `<column>_spread`; and
            `<modality>_filled`, which rows these are.
        samples: Long form: `row` (its id, or number from 0), `sample` (from 0), and the columns of the modality.
        tables: `n_tables` tables with the columns of the one that was given, each with one draw in every gap.
        cells: Numbers of the rows that are filled, from 0, by column, whatever stood there.
        notes: What was counted.
    """

    table: pd.DataFrame
    samples: pd.DataFrame
    tables: tuple[pd.DataFrame, ...]
    cells: Mapping[str, np.ndarray]
    notes: tuple[str, ...]

    @property
    def rows(self) -> np.ndarray:
        """Numbers of the rows in which a cell is filled, from 0."""
        return np.unique(np.concatenate([*self.cells.values()]))


def flag_of(modality: str) -> str:
    """Returns the name of the column that tells which rows were filled."""
    return f"{modality}_filled"


def check_names(frame: pd.DataFrame, modality: str, parts: Sequence[Part]) -> None:
    """Checks that the columns that are added are not there yet.

    Raises:
        DataError: One is.
    """
    added = [flag_of(modality), *(f"{part.column}{SPREAD}" for part in parts if part.kind != "cell")]
    there = [name for name in added if name in {str(c) for c in frame.columns}]
    if there:
        raise DataError(
            f"impute: the columns that it adds must not be there yet; got {tell_values(there)}. Rename or drop them."
        )


class Gaps:
    """The cells of a table that are filled.

    Args:
        frame: The table, as it came.
        rows: Row numbers in which a cell is missing, from 0.
        data: What these rows hold of the modality.
        coding: Of its cells.
        donors: The cells of the training rows, which are copied.
    """

    def __init__(
        self, frame: pd.DataFrame, rows: np.ndarray, data: ModalityData, coding: Coding, donors: pd.DataFrame
    ) -> None:
        self._frame, self.rows, self._coding, self._donors = frame, rows, coding, donors
        self._lost = ~known_cells(coding.parts, data)
        self._place = {str(c): i for i, c in enumerate(frame.columns)}
        self._held = np.empty((len(rows), 0)) if coding.copies else coding.held(data)

    @property
    def cells(self) -> dict[str, np.ndarray]:
        """Numbers of the rows that are filled, by column."""
        return {p.column: self.rows[self._lost[:, i]] for i, p in enumerate(self._coding.parts)}

    def filled(self, modality: str, answer: Answer) -> pd.DataFrame:
        """Returns the table with the answers in its gaps, their spread, and which rows have any."""
        values = {p.column: self._values(p, answer.point, answer.donors) for p in self._coding.parts}
        out, added = self._with(values), {}
        for i, part in enumerate(self._coding.parts):
            if part.kind != "cell":
                added[f"{part.column}{SPREAD}"] = self._spread(part, answer, self._lost[:, i])
        flag = np.zeros(len(out), dtype=bool)
        flag[self.rows] = True
        added[flag_of(modality)] = flag
        return pd.concat([out, pd.DataFrame(added, index=out.index)], axis=1)

    def completed(self, drawn: Drawn) -> pd.DataFrame:
        """Returns the table with the only draw in its gaps, and no other column."""
        donors = {name: rows[0] for name, rows in drawn.donors.items()}
        return self._with({p.column: self._values(p, drawn.samples[0], donors) for p in self._coding.parts})

    def long_form(self, names: np.ndarray, drawn: Drawn) -> pd.DataFrame:
        """Returns one line for each row and sample: its name in `names`, the sample's number from 0, the cells.

        A column of the modality that is called row or sample itself becomes row_value or sample_value, which
        goes on where that is another column's name.
        """
        n_samples, n_rows = len(drawn.samples), len(self.rows)
        given = {part.column for part in self._coding.parts}
        columns: dict[str, Any] = {
            "row": np.repeat(names[self.rows], n_samples),
            "sample": np.tile(np.arange(n_samples), n_rows),
        }
        for part in self._coding.parts:
            name = part.column
            while name in ("row", "sample") or (name != part.column and name in given):
                name += "_value"
            of_samples = [
                self._values(part, drawn.samples[i], {k: rows[i] for k, rows in drawn.donors.items()})
                for i in range(n_samples)
            ]
            by_row = np.stack(of_samples, axis=1) if of_samples[0].dtype != object else None
            listed = [values[row] for row in range(n_rows) for values in of_samples] if by_row is None else []
            columns[name] = object_array(listed) if by_row is None else by_row.ravel()
        return pd.DataFrame(columns).infer_objects()

    def _with(self, values: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """Returns the table with values, one for each row with a gap, where a cell is missing."""
        frame, out = self._frame, self._frame.copy()
        for i, part in enumerate(self._coding.parts):
            place, lost = self._place[part.column], self._lost[:, i]
            if not lost.any():
                continue
            rows, new = self.rows[lost], values[part.column][lost]
            if frame.dtypes.iloc[place] == np.float64:
                cells: Any = frame.iloc[:, place].to_numpy(copy=True)
                cells[rows] = new.astype(np.float64)
            else:
                cells = frame.iloc[:, place].to_numpy(dtype=object, copy=True)
                for row, value in zip(rows, new, strict=True):
                    cells[row] = value
                cells = pd.Series(cells, index=frame.index).infer_objects()
            out.isetitem(place, cells)
        return out

    def _values(self, part: Part, numbers: np.ndarray, donors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns a cell for each row with a gap; those that are known as they are. `numbers[row, number]`."""
        lost = self._lost[:, self._coding.parts.index(part)]
        own = self._frame.iloc[self.rows, self._place[part.column]]
        if part.kind == "cell":
            new = self._donors[part.column].to_numpy(dtype=object)[donors[part.column]]
        else:
            new = self._coding.values(part, numbers)
        if part.kind == "number":
            new = np.where(lost, new, self._held[:, part.start])
            if not pd.api.types.is_timedelta64_dtype(own.dtype):
                return np.asarray(new)
            new = pd.to_timedelta(new, unit="s").to_numpy(dtype=object)
        elif part.kind == "list":  # some of its numbers may be known
            held = self._held[:, part.numbers]
            new = object_array([row.tolist() for row in np.where(np.isnan(held), new, held)])
        elif part.kind == "category":
            given = {_key(cell): cell for cell in self._donors[part.column].dropna()}
            new = object_array([given.get(word, word) for word in new])
        cells = own.to_numpy(dtype=object)
        return object_array([made if gap else cell for made, cell, gap in zip(new, cells, lost, strict=True)])

    def _spread(self, part: Part, answer: Answer, lost: np.ndarray) -> np.ndarray:
        """Returns the column of the standard deviations; of a category, how probable all other words are."""
        if part.kind == "list":
            spread = self._coding.spread(part, answer.deviation)
            spread = np.where(np.isnan(self._held[:, part.numbers]), spread, 0.0)
            column = np.full(len(self._frame), None, dtype=object)
            for row, value in zip(self.rows[lost], spread[lost], strict=True):
                column[row] = value.tolist()
            return column
        if part.kind == "category":
            values = 1 - np.clip(self._coding.shares(part, answer.point).max(1), 0.0, 1.0)
        else:
            values = self._coding.spread(part, answer.deviation)[:, 0]
        numbers = np.full(len(self._frame), np.nan)
        numbers[self.rows[lost]] = values[lost]
        return numbers


def _key(cell: Any) -> str:
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell)) if whole else str(cell)
