"""`Imputer`: learns a modality from the others on the rows that have it, and fills it in where it is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from profuse._fields import documented
from profuse._folder import applied, check_place, read_folder, write_folder
from profuse._lookup import resolve
from profuse.data.dataset import Dataset
from profuse.data.new_rows import tell
from profuse.data.split import split_off
from profuse.data.table.infer import infer
from profuse.data.table.named_target import leave_out_target
from profuse.data.table.reader import TableReader
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import ConfigError, DataError
from profuse.imputation.blocks import Block, Inputs, blocks_of, inputs_of
from profuse.imputation.choice import Choice, choose
from profuse.imputation.coding import Coding, Target, kinds_to_fill, known_cells, parts_of
from profuse.imputation.earlier import added_before, named_in, perhaps_added
from profuse.imputation.filling import Filled, Gaps, check_names
from profuse.imputation.making import BASELINES, LEARNED_AGAIN, make_method, resampled
from profuse.imputation.methods import Method
from profuse.imputation.options import AUTO, ImputeOptions, ImputeTraining
from profuse.imputation.quality import hidden_like, quality_of, score
from profuse.imputation.saving import IMPUTER, facts_of, learned_of
from profuse.imputation.settings import TRAINING, schema_asked, settings_of, table_of
from profuse.imputation.streams import Streams, streams_of
from profuse.schema import OnBadFile, Schema
from profuse.training.callbacks import Callers, as_callbacks
from profuse.training.options import Precision, TrainOptions

__all__ = ["Imputer"]

LEAST_ROWS = 20
_VALID = 0.15  # of the rows learned from; they choose the epoch


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows that are learned from, or judged."""

    inputs: Inputs
    target: Target
    streams: Streams
    groups: np.ndarray | None


@documented(
    (TrainOptions, ImputeTraining, ImputeOptions),
    {
        "n_tables": "See `pool`.",
        "schema": "What is in the table, where it is not to be inferred: a `Schema`, a dict, or a YAML file.",
        "device": "Of networks; and so `precision` and `threads`.",
    },
)
@dataclass(eq=False, repr=False)
class Imputer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Draws the missing cells of a modality from what else a row has, as learned from the rows that have them.

    A row's answer and draws hang on the seed and on what the row holds, and on nothing else: not on the rows beside it.

    Args:
        {parameters}

    Attributes:
        method_: The method in use.
        choice_: What auto decided and why; None for another method.
        quality_: Figures on the hidden rows: of the method, then of ridge, nearest and mean.
        schema_: What the table's columns are taken as.
        notes_: What was counted while reading and fitting.
        n_learned_: Rows that what is measured learned from (some of them chose the epoch of a network).
    """

    modality: str
    _: KW_ONLY
    method: str = AUTO
    n_samples: int = 20
    n_tables: int = 0
    schema: Any = None
    target: str | Sequence[str] | None = None
    ignore: Sequence[str] = ()
    held_out: float = 0.2
    epochs: int | None = None
    width: int = 64
    device: str = "auto"
    precision: Precision = "32-true"
    threads: int = 1
    base_dir: str | Path | None = None
    on_bad_file: OnBadFile = "raise"
    random_state: int = 0

    def settings(self) -> tuple[ImputeOptions, TrainOptions]:
        """Returns what is filled and how, and how networks are trained.

        Raises:
            ConfigError: Parameters out of range: all are told together.
            UnknownNameError: There is no such method.
        """
        return settings_of(self.get_params(deep=False))

    def fit(self, X: Any, y: Any = None, *, callbacks: Callers = ()) -> Self:
        """Learns from the rows that have cells of the modality and any other one; measures on some, hidden before.

        What was counted, and a method that does no better than the mean, is told as a `ProfuseWarning`.

        Args:
            X: A table.
            y: Not used.
            callbacks: `Callback` objects, and functions of an `Epoch`; called in each training of a network.

        Raises:
            ConfigError: Options out of range, or a method that the modality's kind does not take.
            UnknownNameError: There is no such modality or method.
            DataError: The table cannot be read, has no other modality, or too few rows hold both.
        """
        called = as_callbacks(callbacks, who="Imputer")
        self._fit(*self._open(X), called)
        return self

    def fit_fill(self, X: Any, *, callbacks: Callers = ()) -> Filled:
        """Fits to the table and fills it; the same as `fit` and `fill`, but reads it once.

        Raises:
            DataError: As `fit` does; or no row lacks a cell of it (told before anything is learned).
        """
        called = as_callbacks(callbacks, who="Imputer")
        frame, dataset = self._open(X)
        data = dataset.modalities[self.modality]
        parts = parts_of(self.schema_.modalities[self.modality], self._kinds, data)
        if known_cells(parts, data).all():
            raise DataError(
                f"Imputer: modality {self.modality!r} must be missing in at least one row to be filled; it is there in "
                f"all {len(frame)}. Name another one of {', '.join(dataset.modalities)}."
            )
        self._fit(frame, dataset, called)
        filled = self._filled(frame, dataset)
        tell(filled.notes, "Imputer", stacklevel=3)
        return filled

    def fill(self, X: Any) -> Filled:
        """Returns the table with the missing cells of the modality filled, and all samples.

        What was counted is told as a `ProfuseWarning`.

        Raises:
            DataError: The table lacks columns of the one that was fitted, or cannot be read.
        """
        check_is_fitted(self, "quality_")
        frame = table_of(X)
        check_names(frame, self.modality, self._coding.parts)
        reader = TableReader(self.schema_, self._rates, base_dir=self.base_dir, on_bad_file=self.on_bad_file)
        dataset = reader.read(frame)
        with applied(getattr(self, "_source", "")):
            filled = self._filled(frame, dataset)
        filled = replace(filled, notes=(*dataset.notes, *filled.notes))
        tell(filled.notes, "Imputer", stacklevel=3)
        return filled

    def transform(self, X: Any) -> pd.DataFrame:
        """Returns `fill(X).table`."""
        return self.fill(X).table

    def save(self, folder: str | Path) -> None:
        """Writes the fitted imputer into `folder` (new, empty, or a saved one): safetensors and JSON, no pickle.

        What was learned holds numbers, and where cells are copied the cells, of the rows that were learned from.

        Raises:
            CheckpointError: The folder holds something else, or cells are of a type that cannot be saved.
        """
        check_is_fitted(self, "quality_")
        facts, weights = facts_of(self)
        check_place(folder, IMPUTER)
        write_folder(folder, facts, weights, IMPUTER)

    @classmethod
    def load(cls, folder: str | Path, *, base_dir: str | Path | None = None) -> Self:
        """Returns the imputer that `save` or `profuse impute --out-model` left in `folder`, ready to fill.

        Its `schema` is the resolved one, and its `base_dir`, a place on a machine, the one given here.

        Raises:
            CheckpointError: No saved imputer, or a damaged or newer one.
        """
        made = read_folder(folder, lambda facts, weights: cls._of(facts, weights), IMPUTER)
        made.base_dir, made._source = base_dir, str(folder)
        return made

    @classmethod
    def _of(cls, facts: dict[str, Any], weights: Mapping[str, Tensor]) -> Self:
        schema = Schema.model_validate(facts["schema"])
        made = cls(**facts["parameters"], schema=schema)
        own = dict(facts["parameters"])
        training = {name: own.pop(name) for name in TRAINING}
        made._options, made.schema_ = ImputeOptions.model_validate(own), schema
        made._training = ImputeTraining(**training, seed=made.random_state, refit=False)
        for name, value in learned_of(facts, weights).items():
            setattr(made, name, value)
        return made

    def _open(self, X: Any) -> tuple[pd.DataFrame, Dataset]:
        self._options, self._training = self.settings()
        frame = table_of(X)
        asked = leave_out_target(frame.columns, schema_asked(self.schema, self._options))
        earlier: tuple[str, ...] = ()
        if perhaps := perhaps_added(frame, named_in(asked)):
            rest = infer(frame, asked.model_copy(update={"ignore": (*asked.ignore, *perhaps)}))
            earlier = added_before(frame, perhaps, rest.schema.columns)
            asked = asked.model_copy(update={"ignore": (*asked.ignore, *earlier)})
        reader, dataset = TableReader.fit(
            frame, asked, with_target=False, base_dir=self.base_dir, on_bad_file=self.on_bad_file
        )
        self.schema_, self._rates = reader.schema, reader.rates
        resolve(self.modality, self.schema_.modalities, where="Imputer", what="modality")
        self._kinds = kinds_to_fill(frame, self.schema_)
        self.notes_ = tuple(dataset.notes)
        if earlier:
            self.notes_ += (
                f"Columns {tell_values(earlier)} are what an imputation before this one added, and are not used. If "
                "they are not, name their kinds in a schema (columns).",
            )
        return frame, dataset

    def _fit(self, frame: pd.DataFrame, dataset: Dataset, callbacks: Callers) -> None:
        modality = self.schema_.modalities[self.modality]
        data, others = dataset.modalities[self.modality], [n for n in dataset.modalities if n != self.modality]
        if not others:
            raise DataError(
                f"Imputer: another modality must be there to tell {self.modality!r} from; the table has none. "
                "Divide its columns into modalities in a schema."
            )
        parts = parts_of(modality, self._kinds, data)
        check_names(frame, self.modality, parts)
        self._check_kind([part.column for part in parts if part.kind == "cell"])
        told = np.stack([dataset.modalities[n].present for n in others]).any(0)
        usable = np.flatnonzero(data.present & told)
        self._check_rows([p.column for p in parts], known_cells(parts, data)[usable].sum(0), LEAST_ROWS)
        self._learn(frame, dataset, usable, others, callbacks)
        if self.method_ != "mean" or self.choice_ is not None:
            self._compare_with_mean()
        tell([note for note in self.notes_ if self.choice_ is None or note != self.choice_.note], "Imputer")

    def _learn(
        self,
        frame: pd.DataFrame,
        dataset: Dataset,
        usable: np.ndarray,
        others: list[str],
        callbacks: Callers,
    ) -> None:
        seed, split = self._options.random_state, self.schema_.split
        learn, hidden = split_off(dataset.rows(usable), self._options.held_out, seed=seed, options=split)
        learned_from, hidden_from = dataset.rows(usable[learn]), dataset.rows(usable[hidden])
        self._blocks: dict[str, Block] = blocks_of(learned_from, others)
        modality, data = self.schema_.modalities[self.modality], dataset.modalities[self.modality]
        parts = parts_of(modality, self._kinds, data)
        self._check_rows([p.column for p in parts], known_cells(parts, data.rows(usable[learn])).sum(0), 2)
        self._coding = Coding(modality, self._kinds, data.rows(usable[learn]))
        self._donors = frame.rename(columns=str)[list(modality.columns)].iloc[usable[learn]].reset_index(drop=True)
        rows, judged = self._as_rows(learned_from), self._as_rows(hidden_from)
        gaps = np.zeros((0, rows.target.numbers.shape[1]), dtype=bool)
        if not self._coding.copies:
            gaps = np.isnan(self._coding.held(data))
            gaps = gaps[gaps.any(1)]
        every = self._as_rows(dataset.rows(usable[np.r_[learn, hidden]]))
        valid = np.zeros(len(usable), dtype=bool)
        valid[split_off(learned_from, _VALID, seed=seed, options=split)[1]] = True

        def make(name: str, index: np.ndarray, groups: np.ndarray | None = every.groups) -> Method:
            of_index = valid[index]
            if not 0 < of_index.sum() < len(index):  # of few groups none, or all, may be there
                of_index = np.arange(len(index)) % 7 == 0
            return make_method(
                name,
                every.inputs.rows(index),
                every.target.rows(index),
                self._coding,
                valid=of_index,
                n_neighbours=self._options.n_samples,
                width=self._options.width,
                training=self._training,
                groups=None if groups is None else groups[index],
                callbacks=callbacks,
            )

        self.choice_: Choice | None = None
        self.method_ = self._options.method
        copied = any(part.kind == "cell" for part in parts)
        if self.method_ == AUTO and copied:
            self.method_ = "nearest"
        elif self.method_ == AUTO:
            self.choice_ = choose(
                rows.inputs,
                rows.target,
                rows.streams,
                self._coding,
                make=make,
                gaps=gaps,
                groups=rows.groups,
                seed=seed,
            )
            self.method_ = self.choice_.method
            self.notes_ += (self.choice_.note,)
        learned = np.arange(len(rows.target))
        names = [n for n in dict.fromkeys([self.method_, *BASELINES]) if not (copied and n == "ridge")]
        fitted = {name: make(name, learned) for name in names}
        self._method = fitted[self.method_]
        filled_from = rows
        if self.method_ in LEARNED_AGAIN:
            self._method, filled_from = make(self.method_, np.arange(len(usable))), every
        whole = np.arange(len(filled_from.target)) if filled_from.groups is None else filled_from.groups
        self._of_tables = [
            make(self.method_, resampled(filled_from.target.known, whole, (seed, i)), whole)
            for i in range(1, self._options.n_tables + 1)
        ]
        self.n_learned_ = len(rows.target)
        units = np.arange(len(judged.target)) if judged.groups is None else judged.groups
        asked = hidden_like(judged.target, gaps, seed)
        scores = {
            name: score(method, judged.inputs, judged.target, asked, judged.streams, self._coding)
            for name, method in fitted.items()
        }
        self.quality_ = tuple(quality_of(name, s, units, seed) for name, s in scores.items())

    def _as_rows(self, dataset: Dataset) -> _Rows:
        return _Rows(
            inputs_of(dataset, self._blocks),
            self._coding.encode(dataset.modalities[self.modality]),
            streams_of(dataset, seed=self._options.random_state, whose=self.modality),
            None if dataset.groups is None else dataset.groups.astype(str),
        )

    def _compare_with_mean(self) -> None:
        """Notes where nothing does better than the mean."""
        first, mean = self.quality_[0], next(q for q in self.quality_ if q.method == "mean")
        pairs = [(first.error, mean.error), (first.wrong, mean.wrong)]
        worse = [a is not None and b is not None and a >= b > 0 for a, b in pairs]
        if self.choice_ is not None and self.method_ == "mean":
            what = "no method does better than the mean on rows held back, and the mean fills"
        elif any(worse):
            what = f"{self.method_} does no better than the mean on the hidden rows"
        else:
            return
        self.notes_ += (
            f"Modality {self.modality!r}: {what}. The other modalities may tell too little of it, or the rows may be "
            "too few.",
        )

    def _filled(self, frame: pd.DataFrame, dataset: Dataset) -> Filled:
        self._coding.check(dataset.modalities[self.modality])
        lost = ~known_cells(self._coding.parts, dataset.modalities[self.modality])
        rows = np.flatnonzero(lost.any(1))
        of_rows = dataset.rows(rows)
        given = self._as_rows(of_rows)
        answer = self._method.answer(given.inputs, given.target, given.streams.alone())
        drawn = self._method.draw(given.inputs, given.target, given.streams, self._options.n_samples)
        alone = rows[~given.inputs.anything]
        notes = (
            ()
            if not len(alone)
            else (f"{tell_rows(alone)} hold no other modality either: they get samples of all training rows.",)
        )
        names: np.ndarray = np.arange(len(frame)) if dataset.ids is None else dataset.ids
        gaps = Gaps(frame, rows, of_rows.modalities[self.modality], self._coding, self._donors)
        tables = tuple(
            gaps.completed(method.complete(given.inputs, given.target, given.streams, purpose=i))
            for i, method in enumerate(self._of_tables, start=1)
        )
        return Filled(gaps.filled(self.modality, answer), gaps.long_form(names, drawn), tables, gaps.cells, notes)

    def _check_rows(self, columns: list[str], counts: np.ndarray, least: int) -> None:
        if (counts < least).any():
            raise DataError(
                f"Imputer: at least {LEAST_ROWS} rows must hold each column of {self.modality!r} and another modality; "
                f"got {counts.min()} that hold {columns[int(counts.argmin())]!r}. Give more rows, or leave sparse "
                "columns out (ignore)."
            )

    def _check_kind(self, copied: list[str]) -> None:
        if copied and self._options.method not in (AUTO, "nearest"):
            kinds = {self.schema_.columns[c] for c in copied}
            raise ConfigError(
                f"Imputer: method {self.method!r} must be given numbers, categories or vectors; column "
                f"{tell_values(copied)} of modality {self.modality!r} is of kind {', '.join(sorted(kinds))}. Use "
                "method 'nearest', which copies cells of the rows that are nearest."
            )
