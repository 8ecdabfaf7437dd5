"""What is in the data and what is predicted: kinds, tasks, the user's schema, and what an encoder is told.

| kind | `Dataset` holds | its encoder takes `Raw.values` | `Raw.mask` |
|---|---|---|---|
| table | DataFrame: numbers, categories, times | float `[batch, column]`, categories as codes | `[batch, column]` |
| text | array of str | long `[batch, word, subword]`, 0 = no subword | `[batch, word]` |
| image | arrays `[height, width, channel]` | float `[batch, channel, height, width]` | `[batch]` |
| audio | waveforms `[sample]` and their rate in Hz | float log-mel `[batch, frame, mel]` | `[batch, frame]` |
| series | arrays `[time, channel]` | float `[batch, time, channel]` | `[batch, time]` |
| points | arrays `[point, channel]`, x, y, z first | float `[batch, point, channel + 3]` | `[batch, point]` |
| document | array of str | as text | as text |
| video | arrays `[frame, height, width, channel]` | float `[batch, frame, channel, height, width]` | `[batch, frame]` |
| volume | arrays `[depth, height, width, channel]` | float `[batch, channel, depth, height, width]` | `[batch]` |
| graph | array of str, JSON of nodes and edges | float `[batch, node, attribute + edges]` | `[batch, node]` |
| vector | array `[row, channel]` | float `[batch, channel]` | `[batch]` |
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from profuse._fields import Shown
from profuse._lookup import nearest
from profuse.kinds import KINDS, KindName, LevelRange, Spec, kind_named, pairs_of

__all__ = [
    "NUMBER_FORMAT",
    "TABLE_COLUMNS",
    "ColumnKind",
    "DateOrder",
    "DurationReading",
    "EpochUnit",
    "Modality",
    "OnBadFile",
    "Schema",
    "Spec",
    "SplitOptions",
    "Target",
    "Task",
    "TimeReading",
]

TABLE_COLUMNS = ("numeric", "category", "timestamp")
"""Kinds of columns that stand together in a table; a column of any other kind is a modality by itself."""
DateOrder = Literal["year-month-day", "month/day/year", "day/month/year"]
EpochUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
DurationReading = Literal["duration", "hours:minutes", "minutes:seconds"]
TimeReading = Literal[DateOrder, EpochUnit, DurationReading]
Task = Literal["binary", "multiclass", "multilabel", "regression"]
OnBadFile = Literal["raise", "skip"]
"""What is done where a file that a cell names cannot be read: "skip" counts it as missing."""
NUMBER_FORMAT = r"(?P<before>\D*?)1(?P<thousands>[., '\u00a0\u2009\u202f\u2019_]?)234(?P<decimal>[.,])5(?P<after>\D*)"
"""How a column writes 1234.5: the marks of thousands and decimals, and a unit before or behind."""


def _column_kind(name: str) -> str:
    if name in TABLE_COLUMNS or (name in KINDS and kind_named(name).columns != "any"):
        return name
    known = [*TABLE_COLUMNS, *(k for k in KINDS if kind_named(k).columns != "any")]
    close = nearest(name, known)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
    raise ValueError(f"a column must be of a known kind; {hint}")


ColumnKind = Annotated[str, AfterValidator(_column_kind)]
"""What one column holds: one of `TABLE_COLUMNS`, or the name of a kind that can stand in one column."""


def _number_format(text: str) -> str:
    match = re.fullmatch(NUMBER_FORMAT, text.strip())
    if match is None or match["thousands"] == match["decimal"] or (match["before"].strip() and match["after"].strip()):
        raise ValueError(
            'a format must be 1234.5 as the column writes it: "1.234,5", "1 234.5", "1234,5 %", "CHF 1\'234.5"'
        )
    return text


def _unquoted(value: Any) -> Any:
    return str(value) if isinstance(value, float) else value  # 1234.5 without quotes is a number in YAML


NumberFormat = Annotated[str, BeforeValidator(_unquoted), AfterValidator(_number_format)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Modality(_Strict):
    """One modality of a table: which columns it is made of, and how it is read and encoded."""

    kind: KindName | None = Field(None, description="Inferred from the columns when absent.")
    columns: tuple[str, ...] = Field(description="Its columns; several for table and vector, one otherwise.")
    preprocess: str | None = Field(None, description="Name of a preprocessor; the kind's default when absent.")
    encoder: str | None = Field(
        None,
        description="Name of an encoder (hf:FOLDER is a frozen pretrained model, hf-lora:FOLDER a tuned one); the "
        "kind's default when absent.",
    )
    max_length: int | None = Field(
        None,
        ge=1,
        strict=True,
        description="The most words, steps, frames, points or nodes of a row that a network reads; the preprocessor's "
        "own bound when absent.",
    )


class Target(_Strict):
    """What is predicted."""

    columns: tuple[str, ...] = Field(
        (),
        description="One column, or several (multilabel, many-target regression); may be named elsewhere.",
    )
    task: Task | None = Field(None, description="Inferred from the values when absent.")


class SplitOptions(_Strict):
    """How rows are divided into train, valid and test."""

    method: Annotated[Literal["auto", "random", "stratified", "group", "time"], Shown(common=True, flag="--split")] = (
        Field(
            "auto",
            description="How rows are divided: random, stratified, group, time; auto: the official split, else time or "
            "group if such a column is named, else stratified or random.",
        )
    )
    column: Annotated[str | None, Shown(common=True, flag="--split-column", metavar="COLUMN")] = Field(
        None, description="The group or time column: groups stay whole, times in order."
    )
    test_size: Annotated[float, Shown(common=True)] = Field(
        0.2, gt=0, lt=1, description="Fraction of the rows (of the groups) for test."
    )
    valid_size: Annotated[float, Shown(common=True)] = Field(
        0.2, gt=0, lt=1, description="Fraction of what is not test for validation."
    )

    def over(self, told: SplitOptions) -> SplitOptions:
        """Returns a schema's split, `told`, with what is set here in its place.

        Method and column go together: a column that is asked for says nothing about the schema's method, nor does a
        method about the schema's column, if that was named for times and this is not about times, or the reverse.
        """
        kept, ours = told.model_dump(exclude_unset=True), self.model_dump(exclude_unset=True)
        if "column" in ours and ours["column"] != told.column:
            kept.pop("method", None)
        if (ours.get("method", told.method) == "time") != (told.method == "time"):
            kept.pop("column", None)
        return SplitOptions.model_validate({**kept, **ours})


class Schema(_Strict):
    """A table's schema; what is left out is inferred. The same names in YAML, Python and results."""

    target: Target | None = None
    modalities: dict[str, Modality] = Field(default_factory=dict)
    columns: dict[str, ColumnKind] = Field(default_factory=dict, description="Overrides of inferred column kinds.")
    words: tuple[str, ...] = Field(
        (), description="Columns that are text in CSV and TSV files, even where all their cells look like numbers."
    )
    dates: dict[str, TimeReading] = Field(
        default_factory=dict,
        description="How times are written, by column: the order of dates, the unit since 1970, or durations.",
    )
    ranges: dict[str, LevelRange] = Field(
        default_factory=dict,
        description="Levels of black and white in pictures of more than 8 bits, by column: one pair, or one a channel.",
    )
    merge_spellings: tuple[str, ...] = Field(
        (), description="Columns of words, the target too, in which blanks and case do not count: 'Yes ' is 'yes'."
    )
    new_categories: tuple[str, ...] = Field(
        (), description="Columns in which new rows may hold hardly any category of training; else that is an error."
    )
    numbers: dict[str, NumberFormat] = Field(
        default_factory=dict,
        description="How a column writes 1234.5, where it is not plain: 1.234,5 or 1 234.5 or $1,234.5.",
    )
    missing: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Words that mean missing, by column, besides empty cells, NaN and #N/A."
    )
    ignore: tuple[str, ...] = Field((), description="Columns that are not used.")
    weight: str | None = Field(
        None, description="Column that says how much a row counts in learning: no input, and new rows need none."
    )
    subgroup: str | None = Field(
        None,
        description="Column of groups none of which may be served worse (see subgroup_method): no input unless a "
        "modality names it, and new rows need none.",
    )
    id: str | None = Field(None, description="Column that names a row; tables are joined by it.")
    id_inferred: bool = Field(False, description="Whether id was inferred: new rows then may lack it, or repeat it.")
    split: SplitOptions = SplitOptions()

    @field_validator("ranges")
    @classmethod
    def _are_ranges(cls, given: dict[str, LevelRange]) -> dict[str, LevelRange]:
        for name, black, white in ((name, *pair) for name, levels in given.items() for pair in pairs_of(levels)):
            if not (math.isfinite(black) and math.isfinite(white) and black < white):
                raise ValueError(f"black must be below white, and both finite; got {name}: [{black:g}, {white:g}]")
        return given

    @field_validator("missing", mode="before")
    @classmethod
    def _are_words(cls, given: Any) -> Any:
        """YAML reads null as None and -999 as a number."""
        if not isinstance(given, dict):
            return given
        return {k: [_word(v) for v in words] if isinstance(words, list) else words for k, words in given.items()}

    @model_validator(mode="after")
    def _numbers_are_numeric(self) -> Schema:
        wrong = [c for c, kind in self.columns.items() if c in self.numbers and kind != "numeric"]
        if wrong:
            raise ValueError(f"columns that numbers names must be numeric; got {wrong[0]}: {self.columns[wrong[0]]}")
        return self

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns to predict; none where they are not named here."""
        return () if self.target is None else self.target.columns

    @property
    def known_columns(self) -> list[str]:
        """The columns that a resolved schema knows, but the target's: inputs first."""
        inputs = [c for m in self.modalities.values() for c in m.columns]
        others = [c for c in (self.id, self.split.column, self.weight, self.subgroup, *self.ignore) if c is not None]
        return list(dict.fromkeys([*inputs, *others]))

    def with_task(self, task: Task | None) -> Schema:
        """Returns the schema with `task` as what kind of target it has; None leaves it as it is."""
        if task is None:
            return self
        return self.model_copy(update={"target": (self.target or Target()).model_copy(update={"task": task})})

    def only(self, names: Iterable[str]) -> Schema:
        """Returns the schema of the modalities `names` alone, without a target."""
        return self.model_copy(update={"modalities": {n: self.modalities[n] for n in names}, "target": None})

    def unlike(self, kinds: Mapping[str, str]) -> str | None:
        """Returns the first modality of `kinds` that it has not, or has as another kind; None if there is none."""
        return next((n for n, k in kinds.items() if n not in self.modalities or self.modalities[n].kind != k), None)


def _word(value: Any) -> Any:
    if value is None:
        return "null"
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
