"""Rows in batches: for training, and to run a model over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from profuse.fusion import Fused
from profuse.models.fusion_model import Output
from profuse.models.trainable import Trainable
from profuse.tokens import Raw
from profuse.training.balance import ModalityDropout
from profuse.training.groups import shuffled
from profuse.training.world import world

__all__ = ["batches", "learned_from", "predict", "predict_in_shares", "shares"]

O = TypeVar("O")  # noqa: E741  # an output


def batches(
    inputs: Mapping[str, Raw],
    rows: Tensor,
    size: int,
    *,
    generator: Generator | None = None,
    codes: Tensor | None = None,
) -> Iterator[tuple[dict[str, Raw], Tensor]]:
    """Yields batches of the rows `rows`, and their indices; shuffled if a generator is given: see `shares`."""
    for part in shares(rows, size, generator=generator, codes=codes):
        yield {name: raw.rows(part).trim() for name, raw in inputs.items()}, part


def shares(rows: Tensor, size: int, *, generator: Generator | None = None, codes: Tensor | None = None) -> list[Tensor]:
    """Returns the rows of each batch; shuffled if a generator is given.

    Shuffled batches that would hold a single row are joined to the one before: one row teaches nothing about a
    batch's spread. With `codes`, the groups of all rows, shuffled batches hold all groups equally often.
    """
    if generator is not None:
        rows = rows[shuffled(len(rows), generator, None if codes is None else codes[rows])]
    parts = list(torch.split(rows, size))
    if generator is not None and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def learned_from(
    inputs: Mapping[str, Raw], parts: Iterable[Tensor], drop: ModalityDropout | None, generator: Generator
) -> Iterator[tuple[dict[str, Raw], Tensor]]:
    """Yields batches to learn from, with modalities dropped if `drop` says so, and their indices.

    Of several processes each gets its share of the rows of a batch, and reads no others; with the indices of all. What
    is dropped is drawn for the whole batch, by the same `generator` in each, so that it is what one process drops.
    """
    for part in parts:
        mine = slice(0, len(part)) if world().n_processes == 1 else world().at_least_one(len(part))
        batch = {name: raw.rows(part[mine]).trim() for name, raw in inputs.items()}
        if drop is not None:
            gone = drop.gone({name: raw.mask[part] for name, raw in inputs.items()}, generator)
            batch = {name: raw.without(gone[name][mine]) for name, raw in batch.items()}
        yield batch, part


def predict(
    model: Trainable[O], inputs: Mapping[str, Raw], rows: Tensor | None = None, *, batch_size: int = 512
) -> list[O]:
    """Runs the model over rows (all if None) in evaluation mode and returns the batches' outputs.

    A batch is of `batch_size` rows, of all members together.
    """
    was_training = model.training
    device = next(model.parameters()).device
    if rows is None:
        rows = torch.arange(len(next(iter(inputs.values()))))
    model.eval()
    try:
        with torch.inference_mode():
            return [
                model({name: raw.to(device) for name, raw in batch.items()})
                for batch, _ in batches(inputs, rows, max(1, batch_size // model.n_members))
            ]
    finally:
        model.train(was_training)


def predict_in_shares(model: Trainable[Any], inputs: Mapping[str, Raw], rows: Tensor) -> list[Any]:
    """Returns the same of `rows`; of several processes each runs the model over its share, and all get the outputs.

    Then it is one output, and `outputs` is all that it holds.
    """
    if world().n_processes == 1:
        return predict(model, inputs, rows)
    n, mine = len(rows), world().share(len(rows))
    own = torch.cat([output.outputs for output in predict(model, inputs, rows[world().at_least_one(n)])])
    outputs = world().gathered(own[: mine.stop - mine.start], n)
    return [Output(outputs, Fused(outputs))]
