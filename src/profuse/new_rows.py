"""New rows, however they are given -> a `Dataset` as that of training was read; what is new in them is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from profuse._folder import applied
from profuse.data.dataset import Dataset
from profuse.data.table.assemble import assemble
from profuse.data.tensors import from_tensors, same_order
from profuse.errors import DataError
from profuse.inputs import as_table, columns_of, tell
from profuse.training.fitting import TrainedModel

__all__ = ["new_data"]


def new_data(
    X: Any,
    trained: TrainedModel,
    presence: Mapping[str, Any] | None,
    *,
    who: str,
    base_dir: str | Path,
    on_bad_file: Literal["raise", "skip"],
) -> Dataset:
    """Returns rows to predict for, read as those of training were; see `training_data` for the arguments.

    What was counted in a table is told as a `ProfuseWarning`.

    Raises:
        DataError: X is no input of the kind in training.
    """
    dataset = _new_rows(X, trained, presence, who=who, base_dir=base_dir, on_bad_file=on_bad_file)
    accepted = () if trained.schema is None else trained.schema.new_categories
    notes = () if isinstance(X, Dataset) else dataset.notes  # a Dataset's own are with its maker
    tell((*notes, *trained.pipeline.unseen_notes(dataset, accepted)), who)
    return dataset


def _new_rows(
    X: Any,
    trained: TrainedModel,
    presence: Mapping[str, Any] | None,
    *,
    who: str,
    base_dir: str | Path,
    on_bad_file: Literal["raise", "skip"],
) -> Dataset:
    if isinstance(X, Dataset):
        return X
    rates = trained.pipeline.rates
    if isinstance(X, Mapping):
        same_order({"X": X, "presence": presence}, where=who)
        kinds = {name: p.takes for name, p in trained.pipeline.preprocessors.items()}
        known = {name: values for name, values in X.items() if name in kinds}
        kinds = {name: kind for name, kind in kinds.items() if name in known}
        rates = {name: rate for name, rate in rates.items() if name in known}
        presence = {name: given for name, given in (presence or {}).items() if name in known or name not in X}
        ranges = {name: levels for name, levels in trained.pipeline.ranges.items() if name in known}
        return from_tensors(known, presence=presence, kinds=kinds, rates=rates, ranges=ranges, name=who)
    if trained.schema is None:
        raise DataError(
            f"{who}: X must be what it was in fit, a dict of modalities {sorted(trained.modalities)}; "
            f"got {type(X).__name__}."
        )
    table, columns = as_table(X, who), columns_of(trained.schema)
    target = trained.schema.target.columns if trained.schema.target else ()
    if isinstance(X, np.ndarray) and len([c for c in table if c in columns or c not in target]) != len(columns):
        raise DataError(
            f"{who}: X must have the {len(columns)} columns of fit, in their order; got {X.shape[1]}. Give a DataFrame "
            "if columns are to be found by their names."
        )
    with applied(trained.source):
        return assemble(
            table, trained.schema, name=who, base_dir=base_dir, on_bad_file=on_bad_file,
            need_target=False, fitting=False, rates=rates,
        )  # fmt: skip
