"""`Imputer`: learns a modality from the others on the rows that have it, and fills it in where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from profuse._lookup import resolve
from profuse._options import checked
from profuse.data._wording import tell_rows, tell_values
from profuse.data.assemble import assemble, with_ranges
from profuse.data.dataset import Dataset
from profuse.data.infer import infer
from profuse.data.leave_out import leave_out_target
from profuse.data.split import split_off
from profuse.errors import ConfigError, DataError
from profuse.imputation.blocks import Block, Told, blocks_of, told_of
from profuse.imputation.coding import Coding, complete, parts_of
from profuse.imputation.filling import check_names, filled_table, long_form
from profuse.imputation.methods import DONORS, METHODS, Drawn, Method, NearestMethod, make_method
from profuse.imputation.quality import N_MEASURED, Quality, measure
from profuse.imputation.training import Progress
from profuse.inputs import as_schema, as_table
from profuse.schema import Schema, Target

__all__ = ["Filled", "Imputer"]

LEAST_ROWS = 20
_VALID = 0.15  # of the rows learned from; they choose the epoch


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    n_samples: int = Field(ge=2, le=10_000)
    held_out: float = Field(gt=0, lt=1)
    epochs: int | None = Field(ge=1)
    width: int = Field(ge=4)
    on_bad_file: Literal["raise", "skip"]
    random_state: int = Field(ge=0)


@dataclass(frozen=True, eq=False)
class Filled:
    """What `Imputer.fill` returns.

    Attributes:
        table: The table with the cells filled; for each filled column that is not copied, `<column>_spread`; and
            `<modality>_filled`, which rows these are.
        samples: Long form: `row` (its id, or number from 0), `sample` (from 0), and the columns of the modality.
        rows: Numbers of the filled rows, from 0.
        notes: What was counted.
        columns: Names of the columns that are filled in these rows, whatever stood there.
    """

    table: pd.DataFrame
    samples: pd.DataFrame
    rows: np.ndarray
    notes: tuple[str, ...]
    columns: tuple[str, ...]


class Imputer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Draws the missing modality of a row from what the row has, as learned from the rows that have both.

    Args:
        modality: The modality that is filled in rows where it is missing as a whole.
        method: regression, flow, diffusion, gan (networks), nearest (cells of the rows that are nearest in the other
            modalities), mean (of all rows).
        n_samples: Draws for each row, at least 2; for nearest the number of neighbours.
        schema: What is in the table, where it is not to be inferred: a `Schema`, a dict, or a YAML file.
        target: Columns that are not told to the imputer, so that what is filled knows nothing of the answer.
        ignore: Further columns that are not told.
        held_out: Fraction of the complete rows that are hidden to measure, never learned from.
        epochs: Passes over the rows of a network, at most; about 3,000 steps if None.
        width: Channels of a network's hidden layers, at least 4.
        base_dir: Where relative paths in cells start.
        on_bad_file: "raise", or "skip": a broken file counts as missing.
        random_state: Seed of everything random.

    Attributes:
        quality_: Figures on the hidden rows: of the method, then of nearest and mean.
        schema_: What the table's columns are taken as.
        notes_: What was counted while reading and fitting.
        n_learned_: Rows that were learned from (some of them chose the epoch of a network).
    """

    def __init__(
        self,
        modality: str,
        *,
        method: str = "flow",
        n_samples: int = 20,
        schema: Any = None,
        target: str | Sequence[str] | None = None,
        ignore: Sequence[str] = (),
        held_out: float = 0.2,
        epochs: int | None = None,
        width: int = 64,
        base_dir: str | Path | None = None,
        on_bad_file: Literal["raise", "skip"] = "raise",
        random_state: int = 0,
    ) -> None:
        self.modality = modality
        self.method = method
        self.n_samples = n_samples
        self.schema = schema
        self.target = target
        self.ignore = ignore
        self.held_out = held_out
        self.epochs = epochs
        self.width = width
        self.base_dir = base_dir
        self.on_bad_file = on_bad_file
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, on_epoch: Callable[[Progress], None] | None = None) -> Self:
        """Learns from the rows that have the modality and any other one; measures on a part of them, hidden before.

        Args:
            X: A table.
            y: Not used.
            on_epoch: Called after each epoch of a network.

        Raises:
            ConfigError: Options out of range, or a method that the modality's kind does not take.
            UnknownNameError: There is no such modality or method.
            DataError: The table cannot be read, has no other modality, or too few rows hold both.
        """
        self._fit(*self._open(X), on_epoch)
        return self

    def fit_fill(self, X: Any, *, on_epoch: Callable[[Progress], None] | None = None) -> Filled:
        """Fits to the table and fills it; the same as `fit` and `fill`, but reads it once.

        Raises:
            DataError: As `fit` does; or no row lacks the modality (told before anything is learned).
        """
        frame, dataset = self._open(X)
        if dataset.modalities[self.modality].present.all():
            raise DataError(
                f"Imputer: modality {self.modality!r} must be missing in at least one row to be filled; it is there in "
                f"all {len(frame)}. Name another one of {', '.join(dataset.modalities)}."
            )
        self._fit(frame, dataset, on_epoch)
        return self._filled(frame, dataset)

    def _open(self, X: Any) -> tuple[pd.DataFrame, Dataset]:
        self._check()
        frame = as_table(X, "Imputer")
        inference = infer(frame, leave_out_target(frame, self._asked()))
        self.schema_ = inference.schema
        resolve(self.modality, self.schema_.modalities, where="Imputer", what="modality")
        dataset = self._read(frame)
        self.schema_ = with_ranges(self.schema_, dataset)
        self.notes_ = (*inference.notes, *dataset.notes)
        return frame, dataset

    def _fit(self, frame: pd.DataFrame, dataset: Dataset, on_epoch: Callable[[Progress], None] | None) -> None:
        modality = self.schema_.modalities[self.modality]
        data, others = dataset.modalities[self.modality], [n for n in dataset.modalities if n != self.modality]
        if not others:
            raise DataError(
                f"Imputer: another modality must be there to tell {self.modality!r} from; the table has none. "
                "Divide its columns into modalities in a schema."
            )
        parts = parts_of(modality, self.schema_.columns, data)
        check_names(frame, self.modality, parts)
        self._check_kind([part.column for part in parts if part.kind == "cell"])
        known = complete(data)
        told = np.stack([dataset.modalities[n].present for n in others]).any(0)
        usable = np.flatnonzero(known & told)
        if len(usable) < LEAST_ROWS:
            raise DataError(
                f"Imputer: at least {LEAST_ROWS} rows must hold all of {self.modality!r} and another modality; got "
                f"{len(usable)} of {len(frame)}. Give more rows, or leave sparse columns out (ignore)."
            )
        partly = np.flatnonzero(data.present & ~known)
        if len(partly):
            self.notes_ += (
                f"Modality {self.modality!r}: {tell_rows(partly)} hold only some of its cells: they are not learned "
                "from, and not filled.",
            )
        self._learn(frame, dataset, usable, others, on_epoch)

    def _learn(
        self,
        frame: pd.DataFrame,
        dataset: Dataset,
        usable: np.ndarray,
        others: list[str],
        on_epoch: Callable[[Progress], None] | None,
    ) -> None:
        seed, split = self.random_state, self.schema_.split
        learn, hidden = split_off(dataset.rows(usable), self.held_out, seed=seed, options=split)
        rows, hidden_rows = dataset.rows(usable[learn]), dataset.rows(usable[hidden])
        self._blocks: dict[str, Block] = blocks_of(rows, others)
        modality = self.schema_.modalities[self.modality]
        self._coding = Coding(modality, self.schema_.columns, rows.modalities[self.modality])
        self._donors = frame.rename(columns=str)[list(modality.columns)].iloc[usable[learn]].reset_index(drop=True)
        told, true = told_of(rows, self._blocks), told_of(hidden_rows, self._blocks)
        numbers = self._coding.encode(rows.modalities[self.modality])
        _, choose = split_off(rows, _VALID, seed=seed, options=split)
        valid = np.zeros(len(rows), dtype=bool)
        valid[choose] = True
        fitted: dict[str, Method] = {}
        for name in dict.fromkeys([self.method, *DONORS]):
            fitted[name] = make_method(
                name,
                told,
                numbers,
                valid=valid,
                width=self.width,
                epochs=self.epochs,
                seed=seed,
                groups=None if rows.groups is None else rows.groups.astype(str),
                on_epoch=on_epoch,
            )
        self._method = fitted[self.method]
        self.n_learned_ = len(rows)
        self.quality_ = tuple(self._measured(n, m, true, hidden_rows) for n, m in fitted.items())

    def _measured(self, name: str, method: Method, told: Told, hidden: Dataset) -> Quality:
        n = self.n_samples if isinstance(method, NearestMethod) else N_MEASURED
        drawn = method.draw(told, n, seed=self.random_state + 1)
        if name not in DONORS:  # the answer is the mean of as many draws as in use
            drawn = Drawn(drawn.samples, drawn.samples[: self.n_samples].mean(0))
        data = hidden.modalities[self.modality]
        true = self._coding.encode(data)
        words = {
            p.column: (self._coding.values(p, drawn.point), data.values[p.column].map(str).to_numpy(dtype=object))
            for p in self._coding.parts
            if p.kind == "category"
        }
        units = np.arange(len(hidden)) if hidden.groups is None else hidden.groups.astype(str)
        return measure(
            name,
            drawn,
            true,
            is_category=self._coding.is_category,
            categories=words,
            units=units,
            seed=self.random_state,
        )

    def fill(self, X: Any) -> Filled:
        """Returns the table with the missing rows of the modality filled, and all samples.

        Raises:
            DataError: The table lacks columns of the one that was fitted, or cannot be read.
        """
        check_is_fitted(self, "quality_")
        frame = as_table(X, "Imputer")
        check_names(frame, self.modality, self._coding.parts)
        return self._filled(frame, self._read(frame))

    def _filled(self, frame: pd.DataFrame, dataset: Dataset) -> Filled:
        rows = np.flatnonzero(~dataset.modalities[self.modality].present)
        told = told_of(dataset.rows(rows), self._blocks)
        drawn = self._method.draw(told, self.n_samples, seed=self.random_state)
        alone = rows[~told.anything]
        notes = (
            ()
            if not len(alone)
            else (f"{tell_rows(alone)} hold no other modality either: they get samples of all training rows.",)
        )
        names: np.ndarray = np.arange(len(frame)) if dataset.ids is None else dataset.ids
        table = filled_table(frame, rows, self.modality, self._coding, drawn, self._donors)
        samples = long_form(rows, names, self._coding, drawn, self._donors)
        return Filled(table, samples, rows, notes, tuple(part.column for part in self._coding.parts))

    def transform(self, X: Any) -> pd.DataFrame:
        """Returns `fill(X).table`."""
        return self.fill(X).table

    def _read(self, frame: pd.DataFrame) -> Dataset:
        return assemble(
            frame,
            self.schema_,
            name="table",
            base_dir=self.base_dir or ".",
            on_bad_file=self.on_bad_file,
            need_target=False,
            fitting=False,
        )

    def _asked(self) -> Schema:
        asked = as_schema(self.schema) or Schema()
        target = (self.target,) if isinstance(self.target, str) else tuple(map(str, self.target or ()))
        if asked.target is not None:
            if target and target != asked.target.columns:
                raise ConfigError(
                    f"target: it must be named once; got {list(target)} and, in the schema, "
                    f"{list(asked.target.columns)}. Leave one of them out."
                )
            target = asked.target.columns
        ignore = tuple(dict.fromkeys([*asked.ignore, *self.ignore]))
        return asked.model_copy(update={"target": Target(columns=target) if target else None, "ignore": ignore})

    def _check(self) -> None:
        resolve(self.method, dict.fromkeys(METHODS), where="Imputer", what="method")
        checked(_Options, {name: getattr(self, name) for name in _Options.model_fields}, where="Imputer")

    def _check_kind(self, copied: list[str]) -> None:
        if copied and self.method != "nearest":
            kinds = {self.schema_.columns[c] for c in copied}
            raise ConfigError(
                f"Imputer: method {self.method!r} must be given numbers, categories or vectors; column "
                f"{tell_values(copied)} of modality {self.modality!r} is of kind {', '.join(sorted(kinds))}. Use "
                "method 'nearest', which copies cells of the rows that are nearest."
            )
