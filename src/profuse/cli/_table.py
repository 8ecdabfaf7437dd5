"""A table in a file, read for a saved model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from profuse.errors import CheckpointError

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.schema import Schema
    from profuse.training.fitting import TrainedModel

__all__ = ["read_for"]


def read_for(
    trained: TrainedModel,
    path: Path,
    *,
    on_bad_file: Literal["raise", "skip"],
    target: list[str] | None = None,
    need_target: bool = False,
    new_categories: Collection[str] = (),
) -> Dataset:
    """Reads the file `path` by the schema that the model was trained with.

    Args:
        trained: The model.
        path: The table.
        on_bad_file: "raise" or "skip".
        target: Its target columns, where the model does not know their names or they have others here.
        need_target: Whether the target is read.
        new_categories: Columns of which nearly all categories may be new, besides those of the schema.

    Raises:
        CheckpointError: The model was not trained on a table.
        DataError: The file cannot be read, lacks columns, or has one of nearly nothing but new categories.
    """
    from profuse._folder import applied
    from profuse.data.table.assemble import load_new_rows

    if trained.schema is None:
        raise CheckpointError(
            "The model must have been trained on a table to read one; it was trained on other data, and has no schema. "
            "Use profuse.load_model and its predict(dataset) in Python."
        )
    schema = _with_target(trained, target)
    codec = trained.codec
    with applied(trained.source):
        dataset = load_new_rows(
            path,
            schema,
            on_bad_file=on_bad_file,
            rates=trained.pipeline.rates,
            need_target=need_target,
            # labels that were text are text here too, whatever this file's look like
            words=schema.target.columns if schema.target and codec.classes.dtype.kind in "UO" else (),
            labels=codec.names if trained.task == "multilabel" else None,
        )
        accepted = (*schema.new_categories, *new_categories)
        return replace(dataset, notes=(*dataset.notes, *trained.pipeline.unseen_notes(dataset, accepted)))


def _with_target(trained: TrainedModel, target: list[str] | None) -> Schema:
    from profuse.schema import Target

    assert trained.schema is not None
    if target is None:
        return trained.schema
    return trained.schema.model_copy(update={"target": Target(columns=tuple(target), task=trained.task)})
