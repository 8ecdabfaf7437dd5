"""All preprocessing of a data set: fitted on training rows, applied to any rows, saved without pickle."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from profuse._cores import limit_threads
from profuse._lookup import nearest
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.kept import unlike
from profuse.data.kind_part import fit_part
from profuse.data.preprocess import Preprocessor, preprocessor, unfitted
from profuse.data.table.reader import TableReader
from profuse.data.table.unseen import Unseen, unseen_notes
from profuse.data.target import TargetCodec
from profuse.errors import DataError
from profuse.kinds import LevelRange, kind_named
from profuse.schema import OnBadFile, Schema, Spec, Target
from profuse.tokens import Raw

__all__ = ["Pipeline"]


class Pipeline:
    """A preprocessor for each modality; the target has a codec of its own.

    All is computed in one thread: last digits do not depend on how many cores there are.

    Args:
        preprocessors: Fitted, by modality.
        names: The name of each one's class in the table of preprocessors.
    """

    def __init__(self, preprocessors: Mapping[str, Preprocessor], names: Mapping[str, str]) -> None:
        self.preprocessors = dict(preprocessors)
        self.names = dict(names)

    @classmethod
    def fit(cls, dataset: Dataset, rows: np.ndarray) -> Pipeline:
        """Learns everything from the rows `rows` of `dataset`.

        Raises:
            DataError: A modality is absent in all of these rows.
        """
        fitted, names = {}, {}
        train = dataset.rows(rows)
        for name, data in train.modalities.items():
            names[name] = data.preprocess or kind_named(data.kind).preprocessor
            fitted[name] = unfitted(names[name], data)
            fit_part(fitted[name], data, where="Pipeline", what="preprocessor", modality=name, name=names[name])
        return cls(fitted, names)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from others that are fitted to the same rows: which preprocessor each modality has."""
        return "pipeline", *sorted(self.names.items())

    @property
    def specs(self) -> dict[str, Spec]:
        """What each modality's encoder is told."""
        return {name: p.spec for name, p in self.preprocessors.items()}

    @property
    def rates(self) -> dict[str, int]:
        """Samples a second of each audio modality, as in training."""
        rates = {name: getattr(p, "rate", None) for name, p in self.preprocessors.items()}
        return {name: int(rate) for name, rate in rates.items() if rate is not None}

    @property
    def ranges(self) -> dict[str, LevelRange]:
        """Levels of black and white of each image modality, as in training."""
        ranges = {name: getattr(p, "range", None) for name, p in self.preprocessors.items()}
        return {name: levels for name, levels in ranges.items() if levels is not None}

    @property
    def notes(self) -> tuple[str, ...]:
        """What preprocessors have counted, each with its modality."""
        return tuple(f"{name}: {note}" for name, p in self.preprocessors.items() for note in p.notes)

    def _data(self, dataset: Dataset) -> dict[str, ModalityData]:
        lacking = sorted(set(self.preprocessors) - set(dataset.modalities))
        if lacking:
            near = {name: nearest(name, dataset.modalities, n=1) for name in lacking}
            raise DataError(
                f"Pipeline: the data must have the modalities {sorted(self.preprocessors)}; lacking {lacking}"
                + "".join(f" ({name!r}: nearest is {n[0]!r})" for name, n in near.items() if n)
                + ". Give an absent modality with present all False."
            )
        return {name: dataset.modalities[name] for name in self.preprocessors}

    def transform(self, dataset: Dataset) -> dict[str, Raw]:
        """Returns all rows of every fitted modality, on the CPU."""
        with limit_threads(1):
            return {name: self.preprocessors[name].transform(data) for name, data in self._data(dataset).items()}

    def transform_one(self, dataset: Dataset, name: str) -> Raw:
        """Returns all rows of the modality `name` alone."""
        with limit_threads(1):
            return self.preprocessors[name].transform(dataset.modalities[name])

    def select(self, names: Collection[str]) -> Pipeline:
        """Returns the preprocessing of the modalities `names` alone."""
        return Pipeline({n: self.preprocessors[n] for n in names}, {n: self.names[n] for n in names})

    def reader(
        self,
        schema: Schema,
        codec: TargetCodec | None = None,
        *,
        target: Sequence[str] | None = None,
        base_dir: str | Path | None = None,
        on_bad_file: OnBadFile = "raise",
    ) -> TableReader:
        """Returns what reads tables as the one was read on which this pipeline was fitted.

        Args:
            schema: That table's, resolved.
            codec: Of the target, where it is read.
            target: The target columns, where the schema does not know their names or they have others here.
            base_dir: See `TableReader`.
            on_bad_file: See `TableReader`.
        """
        labels: Sequence[str] | None = None
        words: Sequence[str] = ()
        if codec is not None:
            if target is not None:
                schema = schema.model_copy(update={"target": Target(columns=tuple(target), task=codec.task)})
            if schema.target is not None and codec.classes.dtype.kind in "UO":
                words = schema.target.columns  # labels that were text are text in every file, whatever they look like
            labels = codec.names if codec.task == "multilabel" else None
        return TableReader(schema, self.rates, labels, words, base_dir, on_bad_file)

    def unseen_notes(self, dataset: Dataset, accepted: Collection[str] = ()) -> list[str]:
        """Returns a note for each column that holds categories of which training has none.

        Raises:
            DataError: Nearly all cells of a column are so, and it is not in `accepted`.
        """
        return unseen_notes(self.unseen(dataset), accepted)

    def unseen(self, dataset: Dataset) -> list[Unseen]:
        """Returns what each column of categories holds of those that training has not seen."""
        result = (self.preprocessors[name].unseen(data) for name, data in self._data(dataset).items())
        return list(chain.from_iterable(result))

    def state(self) -> dict[str, Any]:
        """Returns what was learned: JSON values and NumPy arrays, at any depth of dicts."""
        return {n: {"name": self.names[n], "state": p.state()} for n, p in self.preprocessors.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Pipeline:
        """Returns a pipeline equal to the one whose `state` this is.

        Raises:
            ValueError: It would not keep that state: a part was changed, or is of another version.
        """
        made = cls(
            {n: preprocessor(part["name"]).from_state(part["state"]) for n, part in state.items()},
            {n: part["name"] for n, part in state.items()},
        )
        if (odd := unlike(state, made.state(), "pipeline")) is not None:
            raise ValueError(f"{odd} is not what a pipeline keeps")
        return made
