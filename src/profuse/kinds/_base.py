"""What a kind of modality is: all that the library must know of it, in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import pandas as pd

from profuse._lookup import resolve
from profuse._members import as_file
from profuse.errors import ConfigError, DataError
from profuse.kinds._rows import ModalityData, content, object_array
from profuse.kinds._spec import LevelRange, Spec
from profuse.kinds._units import Drawing, Unit
from profuse.kinds.noise.corruption import Corruption
from profuse.kinds.noise.numbers import ARRAYS

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["CellReader", "Given", "Kind"]


class CellReader(Protocol):
    """What a kind reads the columns of a table with: `profuse.data.table.cells.Cells`.

    Attributes:
        frame: The table, rows numbered from 0.
        rates: Samples a second by modality, where they are fixed already.
        ranges: Levels of black and white by column, or of each channel, where they are fixed already.
        notes: What was counted; add sentences.
    """

    frame: pd.DataFrame
    rates: dict[str, int]
    ranges: dict[str, LevelRange]
    notes: list[str]

    def each(self, name: str, read: Callable[[Any], Any], what: str) -> list[Any]:
        """Returns `read(cell)` for each cell of a column, None where it is empty.

        A `DataError` that `read` raises gets row and column, or is counted where bad files are skipped.
        """

    def held(self, cell: Any) -> Path | np.ndarray | None:
        """Returns the path that a cell names, or the numbers that it holds; None for an empty list."""

    def path(self, cell: str) -> Path:
        """Returns the path that a cell names."""

    def tell(self, remark: str) -> None:
        """Counts a remark on the cell that `each` reads."""

    def column(self, name: str, kind: str) -> pd.Series:
        """Returns a column as numbers ("numeric"), times ("timestamp") or words ("category")."""

    def check_finite(self, name: str, infinite: np.ndarray) -> None:
        """Raises a `DataError` where a row of the column `name` holds an infinite number."""


@dataclass(frozen=True)
class Given:
    """One modality as it is given in Python, in `from_tensors` and by the estimators.

    Attributes:
        name: Of the modality; messages begin with it.
        values: An array with rows first, a data frame, or a list with None where the modality is missing.
        present: Bool `[row]`: False where it is missing.
        rate: Samples a second, if they were given.
        range: Levels of black and white, if they were given.
        notes: What is counted; add sentences.
    """

    name: str
    values: Any
    present: np.ndarray
    rate: int | None
    range: LevelRange | None
    notes: list[str]

    @property
    def rows(self) -> Iterator[tuple[int, Any]]:
        """The number and the value of each row that is there."""
        return ((int(i), self.values[int(i)]) for i in np.flatnonzero(self.present))


class Kind(ABC):
    """One kind of modality.

    A kind of your own **must** say its `name` and write `check`: what one row is, as an array. With `read_file` its
    rows can be files that the cells of a table name; with `features` it needs neither a preprocessor nor an encoder of
    its own. All else has a default. Name one object of the class: `register("kind", "clouds", Clouds())`.

    Example:
        >>> import numpy as np
        >>> from profuse.kinds import Kind
        >>> class Clouds(Kind):
        ...     name = "clouds"
        ...     noun = "clouds of points"
        ...     def check(self, value):
        ...         return np.asarray(value, dtype=np.float32).reshape(-1, 3)
        ...     def features(self, value):
        ...         return np.concatenate([value.mean(0), np.ptp(value, axis=0)])
        >>> Clouds().features(np.eye(3)).shape
        (6,)
    """

    name: ClassVar[str]
    """What it is called in schemas, on the command line and in results."""

    noun: ClassVar[str]
    """The plural that messages say: "pictures"."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of its files, in small letters. A column of such names is of this kind by itself."""

    preprocessor: ClassVar[str] = "features"
    """Name of the preprocessor if none is asked for. "features" standardises what `features` returns."""

    feature_sets: ClassVar[tuple[str, ...]] = ("described",)
    """Names of its hand-made features: first those of classical models on all modalities, then what a model on this
    modality alone is tried with (but for those that are not `alone`). "described" is what `features` returns."""

    encoder: ClassVar[str] = "mlp"
    """Name of the encoder, if none is asked for, of a fitted `Spec` of this kind."""

    columns: ClassVar[Literal["one", "numbered", "any"]] = "one"
    """The columns of a table that make a modality of it: one; one, or numbered ones of numbers; or any."""

    is_words: ClassVar[bool] = False
    """Whether a row is a text, which can be typed, printed and searched as it is."""

    is_numbers: ClassVar[bool] = False
    """Whether its cells are numbers and categories, so that a missing one can be made and need not be copied."""

    has_rate: ClassVar[bool] = False
    """Whether its rows are samples of which a second holds `rate`: what `rates` names is of this kind."""

    has_range: ClassVar[bool] = False
    """Whether it has levels of black and white, `range`, that are decided once and kept."""

    corruptions: ClassVar[Mapping[str, Corruption]] = ARRAYS
    """Kinds of noise in its rows, by name. By default white noise is added to arrays of numbers."""

    usual: ClassVar[tuple[str, ...]] = ("white",)
    """Those that its rows get, one after the other, where no noise is named."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls) and "noun" not in vars(cls):
            cls.noun = f"rows of kind {cls.name}"

    @property
    def reads_files(self) -> bool:
        """Whether a cell, or a query, can be the name of a file."""
        return bool(self.suffixes) or type(self).read_file is not Kind.read_file

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # Reading

    @abstractmethod
    def check(self, value: Any) -> np.ndarray:
        """Returns one row as an array, whatever it is given as.

        Raises:
            DataError: It is none; who calls tells where it stands.
        """

    def read_file(self, path: Path, tell: Callable[[str], None]) -> Any:
        """Returns what the file of one row holds, to be given to `check`; `tell` counts what can be doubted.

        Raises:
            DataError: It cannot be read.
        """
        raise DataError(f"{self.noun} are not read from files; got {path.name}")

    def names_file(self, cell: Any) -> bool:
        """Whether a cell of a column of this kind is the path of a file, not what could stand in one."""
        return self.reads_files and isinstance(cell, str) and cell.lstrip()[:1] != "["

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        """Returns the modality `name` of all rows of a table.

        Args:
            cells: The table.
            name: Of the modality.
            columns: Its columns.
            kinds: The kinds of the columns.

        Raises:
            DataError: A cell cannot be read; row and column are told.
        """

        def one(cell: Any) -> np.ndarray | None:
            held = cells.held(cell)
            if isinstance(held, Path):
                with as_file(held) as path:
                    return self.check(self.read_file(path, cells.tell))
            return None if held is None else self.check(held)

        values = cells.each(columns[0], one, self.noun)
        return ModalityData(self.name, object_array(values), np.array([v is not None for v in values], dtype=bool))

    def read_range(self, cells: CellReader, column: str) -> LevelRange | None:
        """Returns the range that `read_cells` would decide on; None for kinds that have none."""
        return None

    def read_arrays(self, given: Given) -> ModalityData:
        """Returns the rows of a modality that is given in Python.

        Raises:
            DataError: A row is none of this kind; modality and row are told.
        """
        if isinstance(given.values, pd.DataFrame):
            raise DataError(
                f"modality {given.name!r}: {self.noun} must be an array or a list, rows first; got a DataFrame."
            )
        values: list[np.ndarray | None] = [None] * len(given.values)
        for row, value in given.rows:
            try:
                values[row] = self.check(value)
            except (DataError, TypeError, ValueError) as error:
                raise DataError(
                    f"modality {given.name!r}, row {row} (counted from 0): {str(error).rstrip('.')}. Correct it."
                ) from error
        return ModalityData(self.name, object_array(values), given.present)

    def concatenate(self, name: str, first: ModalityData, second: ModalityData) -> ModalityData:
        """Returns the rows of `first`, then those of `second`.

        Raises:
            DataError: They do not fit together; `name`, that of the modality, is told.
        """
        values = np.concatenate([first.values, second.values])
        return replace(first, values=values, present=np.concatenate([first.present, second.present]))

    # Describing

    def features(self, value: np.ndarray) -> np.ndarray:
        """Returns `[channel]` numbers that describe one row, always as many; NaN = missing.

        Raises:
            ConfigError: The kind has none, and so must name a preprocessor, and feature sets for classical models.
        """
        raise ConfigError(
            f"{type(self).__name__}: a kind must have features, or a preprocessor and feature sets of its own; got "
            f"preprocessor={self.preprocessor!r}, feature_sets={self.feature_sets!r}. Write "
            "features(value), or name them."
        )

    def describe(self, spec: Spec) -> str:
        """Returns the sizes of a fitted modality in words, for reports."""
        return f"{spec.n_channels} channels"

    def cells(self, data: ModalityData) -> pd.DataFrame | None:
        """Returns the rows as cells of columns, one for each number or category; None of kinds that have none."""
        return data.frame

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        """Returns how large rows are: by what is counted, "seconds" say, a number for each of them.

        Args:
            data: All rows.
            rows: The numbers of present ones.
        """
        return {} if self.is_numbers else {"values": np.array([np.size(data.values[i]) for i in rows], dtype=np.int64)}

    # Corrupting

    def corrupt(self, data: ModalityData, noise: str, level: float, draw: Generator) -> ModalityData:
        """Returns rows with the corruption called `noise`; see `profuse.inspect.corrupt`.

        Args:
            data: They are left as they are. What is absent stays absent, and no row becomes so.
            noise: A name in `corruptions`.
            level: p, 0 to 1; at 0 the rows are returned as they are.
            draw: What it gives must be used alike at all levels.
        """
        made = resolve(noise, self.corruptions, where=f"kind {self.name!r}", what="noise")
        if level == 0 or not data.present.any():
            return data
        return replace(data, values=made.change(data, level, draw))

    # Explaining

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Returns the pieces of a present row that an explanation speaks of, at most `most`: by default the row.

        Args:
            data: All rows.
            row: Which one.
            most: At least 1.
        """
        return [Unit(self.noun)]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Returns copies of a row in which some of its units are left: the row itself with all, missing with none.

        Args:
            data: All rows.
            row: Which one.
            units: What `units` has returned of it.
            kept: Bool `[copy, unit]`.
        """
        copies = data.rows(np.full(len(kept), row))
        return replace(copies, present=np.asarray(kept.any(axis=1)))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """Returns how a row is shown; by default its units are listed only.

        Args:
            data: All rows.
            row: Which one.
            units: What `units` has returned of it.
        """
        return Drawing()

    # What may give a target away, or stand in two tables

    def number_columns(self, name: str, data: ModalityData) -> Iterator[tuple[str, np.ndarray, bool]]:
        """Yields what the target is held against, column by column: how it is told, numbers, whether they are codes."""
        yield from ()

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        """Returns columns of what must be equal in two rows that nearly repeat each other; None = missing.

        Args:
            data: The rows.
            like: Other rows; both are read as these are.
        """
        return [[content(v) if p else None for v, p in zip(data.values, data.present, strict=True)]]

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        """Returns `[row, number]` of what must be near in two rows that nearly repeat each other."""
        return np.zeros((len(data), 0))
