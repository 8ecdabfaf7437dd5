"""`Results`: everything a comparison found, as plain data. No code is stored and none is run on reading.

A folder holds `results.json` (all but the rows), `rows.npz` (each test row's contribution to the metric
that counts), `results.csv` (the scores alone, tidy) and `config.yaml` (what was asked for, resolved).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field, PrivateAttr, ValidationError, field_validator

from profuse._files import read_source
from profuse._json import parse_json
from profuse._machine import Machine, Plain
from profuse._saving import write_file
from profuse.comparison.learning import Learning
from profuse.comparison.seed_rows import SeedRows, arrays_of, rows_of, storable
from profuse.errors import DataError
from profuse.inspect.contents import Part
from profuse.inspect.profile import Profile
from profuse.schema import Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Ablation",
    "Confusion",
    "CurvePoint",
    "DatasetFacts",
    "Machine",
    "MemberWeight",
    "MethodInfo",
    "ModalityFacts",
    "Residuals",
    "Results",
    "Role",
    "Score",
    "SeedRows",
    "Skipped",
    "Surest",
    "SurestRow",
    "Timing",
    "each_once",
]

FORMAT = 1
"""2: rows of a regression hold squared errors; 1 had influence values of R2, which no test must use."""
Role = Literal["trivial", "single", "classical", "baseline", "fusion", "portfolio", "ablation"]
"""An "ablation" is the best fusion fitted without one modality: it is not ranked, and no verdict counts it."""
Rounds = Annotated[int, Field(ge=1)] | Literal["equilibrium"]


class ModalityFacts(Plain):
    """One modality of the data."""

    kind: str
    present_fraction: float = Field(1.0, ge=0, le=1)
    test_fraction: float | None = Field(None, ge=0, le=1, description="Of test rows; None where it was not noted.")
    shape: str = Field("", description='In words: "32 x 32 pixels, 1 channel", "12 columns".')
    encoder: str = ""


class DatasetFacts(Plain):
    """What was compared on."""

    name: str
    variant: str = Field("", description="Of a named data set that has several.")
    task: Task
    target_names: list[str] = ["target"]
    classes: list[str] = Field([], description="Class names in code order; labels of a multilabel task.")
    n_rows: int
    n_train: int
    n_valid: int
    n_test: int
    modalities: dict[str, ModalityFacts]
    split: str = Field("", description='How rows were divided, in words: "official", "stratified, 60/20/20".')
    group: str = Field("", description="What ties rows together, in words; empty if rows stand alone.")
    caution: str = Field("", description="Why the primary score's own interval is not to be relied on, in words.")
    notes: list[str] = []


class MethodInfo(Plain):
    """One row of the table. A progressive method has the `fusion` of the plain method and other `rounds`."""

    name: str
    label: str = Field("", description="As the report says it; the name when empty.")
    family: str = ""
    level: str = ""
    rounds: Rounds = 1
    fusion: str = ""
    modalities: list[str] = []
    role: Role
    default: bool = Field(False, description="Whether `fit` makes this model where no operator is named.")


class Score(Plain):
    """One row of `results.csv`."""

    dataset: str
    variant: str = ""
    method: str
    family: str = ""
    level: str = ""
    rounds: Rounds = 1
    seed: int
    split: Literal["train", "valid", "test"]
    metric: str
    value: float
    n_rows: int
    n_parameters: int = 0
    fit_seconds: float = 0.0
    predict_rows_per_second: float = 0.0


COLUMNS: tuple[str, ...] = tuple(Score.model_fields)


class CurvePoint(Plain):
    """One epoch of one fit; `valid_score` is accuracy, macro F1 or R2; epoch 0 is the untrained model.

    `train_loss` is of the steps; `train_eval_loss` is measured on training rows as `valid_loss` is, in some epochs.
    """

    method: str
    seed: int
    epoch: int
    train_loss: float | None = None
    train_eval_loss: float | None = None
    valid_loss: float | None = None
    valid_score: float | None = None


class Confusion(Plain):
    """`counts[true class][predicted class]` of the test rows, summed over seeds."""

    method: str
    counts: list[list[int]]


class Residuals(Plain):
    """A sample of test rows of one target: what was true and what was predicted."""

    method: str
    target: str = "target"
    true: list[float]
    predicted: list[float]


class Ablation(Plain):
    """The score of one fitted method on the test rows, and the same with one modality masked."""

    method: str
    modality: str
    seed: int
    metric: str
    full: float
    without: float


class HiddenScore(Plain):
    """What a method scores on test rows, by the metric that counts, where some of their modalities are hidden."""

    method: str
    shown: list[str] = Field(description="Modalities that are not hidden in every row.")
    rate: float | None = Field(None, ge=0, lt=1, description="Share hidden at random, as asked; None: no random gaps.")
    reached: float | None = Field(None, ge=0, le=1, description="The share that is missing then, of all.")
    value: float
    low: float | None = None
    high: float | None = None
    n_seeds: int
    n_rows: int


class Asked(Plain):
    """What a model answers to a question, of test rows of one seed."""

    method: str
    seed: int
    answer: dict[str, Any] = Field(description="The fields of `profuse.inspect.Answer`.")


class SurestRow(Plain):
    """A test row about which a model is wrong, and sure."""

    id: str
    predicted: list[str | float] = Field(description="A class, the labels, or a number for each target.")
    truth: list[str | float]
    sure: float = Field(description="The probability of what is wrong; of numbers, standard deviations of all errors.")
    parts: list[Part]


class Surest(Plain):
    """The surest errors of one fit, and what the rows hold."""

    method: str
    seed: int
    n_wrong: int | None = Field(None, description="Of all its test rows; None of numbers.")
    n_rows: int
    rows: list[SurestRow]


class Timing(Plain):
    """In which run a fit was timed: seconds of two runs had different loads, and are not compared."""

    method: str
    seed: int
    run: str
    jobs: int = Field(description="Fits at a time in that run.")
    threads: int


class MemberWeight(Plain):
    """A model of a portfolio: its weight, and its score on rows that it has not learned from."""

    method: str
    seed: int
    member: str
    weight: float = Field(ge=0, le=1)
    score: float | None = None


class Skipped(Plain):
    """A method that was asked for and did not run."""

    method: str
    reason: str


def each_once(skipped: Sequence[Skipped]) -> str:
    """Tells why methods did not run, each reason once: "trivial, linear: failed at seed 0: ...; concat: ..."."""
    names = dict[str, list[str]]()
    for one in skipped:
        names.setdefault(one.reason.strip(), []).append(one.method)
    return "; ".join(f"{', '.join(of)}: {reason}" for reason, of in names.items())


class Results(Plain):
    """What a comparison found; see the module. `rows` (by seed) is kept beside the JSON, in `rows.npz`."""

    format: int = FORMAT
    dataset: DatasetFacts
    config: dict[str, Any] = {}
    machine: Machine = Field(default_factory=Machine.here)
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    methods: list[MethodInfo] = []
    scores: list[Score] = []
    curves: list[CurvePoint] = []
    confusion: list[Confusion] = []
    residuals: list[Residuals] = []
    ablation: list[Ablation] = []
    skipped: list[Skipped] = []
    members: list[MemberWeight] = Field([], description="Of portfolios.")
    timings: list[Timing] = []
    hidden: list[HiddenScore] = Field([], description="Of the best fusion and classical model, and the portfolio.")
    answers: list[Asked] = Field([], description="Of questions to the model that does best.")
    surest: Surest | None = Field(None, description="Errors of the method that a report shows.")
    learning: Learning | None = Field(None, description="Scores over rows, where they were asked for.")
    profile: Profile | None = Field(None, description="Of the data.")
    _rows: dict[int, SeedRows] = PrivateAttr(default_factory=dict)

    @field_validator("config")
    @classmethod
    def _json_only(cls, config: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict(json.loads(json.dumps(config, allow_nan=False)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"config must hold JSON values only; got {error}. Convert paths and arrays first."
            ) from error

    @property
    def rows(self) -> dict[int, SeedRows]:
        """Seed to its test rows."""
        return self._rows

    def method(self, name: str) -> MethodInfo:
        """Returns the method called `name`."""
        results = [m for m in self.methods if m.name == name]
        if not results:
            raise DataError(f"Results: method must be one that ran; got method={name!r}.")
        return results[0]

    def add_rows(
        self,
        method: str,
        seed: int,
        scores: np.ndarray,
        *,
        ids: np.ndarray | Sequence[object],
        groups: np.ndarray | Sequence[object] | None = None,
        log_errors: np.ndarray | None = None,
    ) -> None:
        """Keeps one method's row contributions of one seed; every method of a seed has the same rows in order.

        `log_errors`, of a regression, are left out where they are not all finite.

        Raises:
            DataError: A score is not finite, lengths disagree, or another method had other rows at this seed.
        """
        where, values = f"Results.add_rows ({method!r}, seed {seed})", np.asarray(scores, dtype=np.float32)
        names, grouped = storable(ids), None if groups is None else storable(groups)
        lengths = {len(values), len(names), len(names if grouped is None else grouped)}
        if values.ndim != 1 or len(lengths) != 1 or len(values) == 0:
            raise DataError(
                f"{where}: scores, ids and groups must have one entry a row; got lengths {sorted(lengths)}."
            )
        if not np.isfinite(values).all():
            raise DataError(f"{where}: scores must be finite; got {int((~np.isfinite(values)).sum())} that are not.")
        rows = self._rows.setdefault(seed, SeedRows(names, grouped))
        if not np.array_equal(rows.ids, names):
            raise DataError(f"{where}: rows must be those of the other methods, in their order; got others.")
        rows.scores[method] = values
        if log_errors is not None and np.isfinite(log_errors).all():
            rows.log_errors[method] = np.asarray(log_errors, dtype=np.float32)

    def frame(self) -> pd.DataFrame:
        """Returns the scores as a tidy table with the columns of `results.csv`."""
        import pandas as pd

        return pd.DataFrame([s.model_dump() for s in self.scores], columns=list(COLUMNS))

    def write_csv(self, path: str | Path) -> None:
        """Writes `frame()` as CSV, whole or not at all."""
        text = self.frame().to_csv(index=False, lineterminator="\n")
        write_file(path, text)

    def write(self, folder: str | Path) -> None:
        """Writes the four files, each whole or not at all; `results.json` comes last."""
        folder = Path(folder)
        arrays = {k: v for seed, rows in self._rows.items() for k, v in arrays_of(seed, rows).items()}
        save: Any = np.savez_compressed  # its stubs take the arrays for its flag
        save(packed := BytesIO(), **arrays)
        write_file(folder / "rows.npz", packed.getvalue())
        self.write_csv(folder / "results.csv")
        config = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        write_file(folder / "config.yaml", config)
        text = json.dumps(self.model_dump(mode="json"), allow_nan=False, ensure_ascii=False, indent=1)
        write_file(folder / "results.json", text)

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """Reads what `write` wrote; without `rows.npz`, `rows` is empty.

        Raises:
            DataError: No such file, a damaged one, or one of a newer profuse.
        """
        path = Path(folder) / "results.json"
        if not path.is_file():
            raise DataError(f"Results.read: the folder must hold results.json; got {str(folder)!r}. Run compare first.")
        try:
            raw = parse_json(read_source(path))
            number = raw["format"]
            if type(number) is not int:
                raise TypeError(f"format={number!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"Results.read: {path} must be JSON that profuse wrote; got {error}. Run it again."
            ) from error
        if number != FORMAT:
            raise DataError(
                f"Results.read: {path} must be of format {FORMAT}; got format={number}. "
                "It was written by a newer profuse: upgrade with pip install -U profuse."
            )
        try:
            results = cls.model_validate(raw)
        except ValidationError as error:
            fault = error.errors()[0]
            message = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            raise DataError(f"Results.read: {path} must be what profuse wrote; got {message}. Run it again.") from error
        side = path.with_name("rows.npz")
        if side.is_file():
            results._rows = rows_of(side)
        return results
