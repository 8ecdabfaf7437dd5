"""The rows that a question is asked about: encoded, with modalities hidden, and scored with intervals."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.data.dataset import Dataset, ModalityData, clusters_of
from profuse.data.new_rows import tell
from profuse.errors import ConfigError, DataError
from profuse.inspect.answer import Estimate
from profuse.inspect.intervals import Scores
from profuse.metrics import Metric

if TYPE_CHECKING:
    from profuse.predictor import Part, Predictor

__all__ = [
    "Asked",
    "check_target",
    "encoded_target",
    "hide",
    "n_shared",
    "order_by_content",
    "predict_without",
    "read_asked",
    "same_rows",
]


def hide(inputs: Mapping[str, Part], names: Collection[str]) -> dict[str, Any]:
    """Returns encoded rows in which the modalities `names` are missing from every row."""
    import torch

    return {
        name: part.without(torch.ones(len(part), dtype=torch.bool)) if name in names else part
        for name, part in inputs.items()
    }


def predict_without(
    predictor: Predictor, inputs: Mapping[str, Part], hidden: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], np.ndarray]:
    """Returns what is predicted with the modalities of a tuple missing from every row, for each of `hidden`."""
    wanted = list(hidden)
    gone = {name for names in wanted for name in names}
    others = {name: part for name, part in hide(inputs, gone).items() if name in gone}
    return predictor.predict_exchanged(inputs, others, wanted)


def check_target(dataset: Dataset, *, who: str = "ask") -> None:
    """Checks that rows have a target.

    Raises:
        DataError: They have none.
    """
    if dataset.target is None:
        raise DataError(f"{who}: rows must have a target; {dataset.name!r} has none. Give rows with a known target.")


def encoded_target(predictor: Predictor, dataset: Dataset) -> np.ndarray:
    """Returns the targets as metrics take them: class numbers, labels 0 and 1, or values `[row, target]`."""
    target = np.asarray(dataset.target)
    true = predictor.codec.encode(target)  # tells classes that training had not
    return target.astype(np.float64).reshape(len(true), -1) if predictor.task == "regression" else true


def read_asked(
    predictor: Predictor,
    rows: Any,
    target: Any,
    *,
    who: str,
    stacklevel: int = 5,
    need_target: bool = True,
    to_learn: bool = False,
) -> Dataset:
    """Returns rows, with a target where it is needed, as `Predictor.read` takes them; their notes are warnings.

    Raises:
        DataError: They cannot be read, or have no target although one is needed.
    """
    if isinstance(rows, Dataset) and target is None:
        dataset = rows  # as it is: whoever has read it may have accepted new categories
    else:
        dataset = predictor.read(rows, need_target=need_target or None, target=target, to_learn=to_learn, who=who)
        tell(() if isinstance(rows, Dataset) else dataset.notes, who, stacklevel=stacklevel)
    if need_target:
        check_target(dataset, who=who)
    return dataset


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows with a target, as a predictor takes them.

    Attributes:
        predictor: What is asked.
        inputs: Every modality of the pipeline, encoded, also those that the predictor does not use.
        true: The targets as metrics take them.
        clusters: `[row]`: rows with one number are not independent; see `clusters_of`.
        metric: In which is measured.
        seed: Of the bootstrap.
        n_resamples: Bootstrap samples.
    """

    predictor: Predictor
    inputs: Mapping[str, Part]
    true: np.ndarray
    clusters: np.ndarray
    metric: Metric
    seed: int
    n_resamples: int

    @classmethod
    def of(cls, predictor: Predictor, dataset: Dataset, metric: Metric, *, seed: int, n_resamples: int) -> Asked:
        """Encodes the rows of `dataset`, which has a target."""
        true = encoded_target(predictor, dataset)
        return cls(predictor, predictor.encode(dataset), true, clusters_of(dataset), metric, seed, n_resamples)

    @property
    def present(self) -> list[str]:
        """The modalities that at least one row has, by name."""
        return [name for name in sorted(self.inputs) if bool(self.inputs[name].present.any())]

    @property
    def used(self) -> list[str]:
        """Those of them that the predictor uses.

        Raises:
            ConfigError: There is none.
        """
        names = [name for name in self.present if name in self.predictor.modalities]
        if not names:
            raise ConfigError(
                f"ask: the predictor must use a modality that some row has; it uses {list(self.predictor.modalities)} "
                f"and the rows have {self.present}. Ask another one, or with other rows."
            )
        return names

    @property
    def absent(self) -> list[str]:
        """The modalities that no row has."""
        return sorted(set(self.inputs) - set(self.present))

    def scores_without(self, hidden: Iterable[tuple[str, ...]]) -> Scores:
        """Returns the scores with the modalities of each tuple hidden; the tuple is the condition."""
        return self.scores(predict_without(self.predictor, self.inputs, hidden))

    def scores(self, predictions: Mapping[Any, np.ndarray]) -> Scores:
        """Returns the scores of predictions for the rows, by condition, resampled together."""
        decision = self.predictor.decision
        seen = {condition: decision.seen_by(self.metric, p) for condition, p in predictions.items()}
        return Scores(self.metric, self.true, seen, self.clusters, seed=self.seed, n_resamples=self.n_resamples)

    def loss(
        self,
        scores: Scores,
        name: str,
        worse: Hashable,
        *,
        better: Hashable = (),
        of: Hashable = None,
        at: float | None = None,
        modalities: tuple[str, ...] = (),
    ) -> Estimate:
        """Returns the estimate of how much better one condition scores than another.

        Args:
            scores: What `scores` or `scores_without` returned.
            name: Of the estimate.
            worse: The condition that should score worse.
            better: The one that should score better; nothing hidden if not given.
            of: The condition whose score is told beside the difference; `worse` if None.
            at: See `Estimate`.
            modalities: The modalities that the estimate speaks of.
        """
        value, low, high = scores.gain(better, worse)
        score = scores[worse if of is None else of]
        return Estimate(name, value, low, high, len(self.true), score, modalities, at)

    def notes(self, scores: Scores) -> tuple[str, ...]:
        """Returns what a reader of any answer must know."""
        absent = [f"No row has {name!r}: what it is worth cannot be said of these rows." for name in self.absent]
        return (*absent, *scores.notes)


def order_by_content(dataset: Dataset, used: Collection[str]) -> np.ndarray:
    """Returns the rows in an order that depends on what they hold, not on how they came; equal rows as they came.

    Args:
        dataset: The rows.
        used: Modalities that a predictor uses. The others decide where these, target and groups are equal, so that
            what is drawn at random for a row does not depend on what is not used.
    """
    names = sorted(dataset.modalities, key=lambda name: (name in used, name))  # the last key counts most
    keys = [_digests(dataset.modalities[n].values, dataset.modalities[n].present) for n in names]
    keys += [_digests(_plain(values)) for values in (dataset.groups, dataset.target) if values is not None]
    return np.asarray(np.lexsort(keys))


def same_rows(one: ModalityData, other: ModalityData) -> bool:
    """Returns whether the rows that are there hold the same."""
    return bool(np.array_equal(_digests(one.values, one.present), _digests(other.values, other.present)))


def n_shared(rows: Dataset, others: Dataset, names: Collection[str]) -> int:
    """Returns how many of the rows hold, in the modalities `names` and the target, what one of `others` holds."""
    seen, known = ({*zip(*_row_keys(d, names), strict=True)} for d in (rows, others))
    shared = seen & known
    return sum(key in shared for key in zip(*_row_keys(rows, names), strict=True))


def _row_keys(dataset: Dataset, names: Collection[str]) -> list[np.ndarray]:
    keys = [_digests(dataset.modalities[n].values, dataset.modalities[n].present) for n in sorted(names)]
    return [*keys, _digests(_plain(np.asarray(dataset.target)))]


def _plain(values: Any) -> Any:
    """Returns numbers as floats: equal targets may be integers by one door and floats by another."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) and values.dtype.kind in "biuf" else values


def _digests(values: Any, present: np.ndarray | None = None) -> np.ndarray:
    """Returns a number of 64 bits for each row: equal rows have equal ones; 0 for a row that is not present."""
    if hasattr(values, "iloc"):
        import pandas as pd

        digests = pd.util.hash_pandas_object(values, index=False).to_numpy()
    else:
        if values.dtype == object:
            contents: Iterable[bytes] = map(_content, values)
        else:  # all rows have one type and one shape
            rows = np.ascontiguousarray(values)
            alike = f"{rows.dtype}{rows.shape[1:]}".encode()
            contents = (alike + row.tobytes() for row in rows)
        digests = np.array([_digest(content) for content in contents], dtype=np.uint64)
    return digests if present is None else np.where(present, digests, np.uint64(0))


def _content(row: Any) -> bytes:
    array = np.asarray(row)
    return repr(row).encode() if array.dtype == object else f"{array.dtype}{array.shape}".encode() + array.tobytes()


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
