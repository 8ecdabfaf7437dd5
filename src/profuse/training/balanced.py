"""The balancing method of one training, and the losses that some of them ask for after an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

from profuse.models.trainable import Trainable
from profuse.tokens import Raw
from profuse.training.balance import Balance, Losses, balance
from profuse.training.batches import predict
from profuse.training.options import TrainOptions

__all__ = ["balanced", "mean_losses"]


@contextmanager
def balanced(model: Trainable[Any], inputs: Mapping[str, Raw], options: TrainOptions) -> Iterator[Balance | None]:
    """Gives the balancing method asked for; none for a single modality, where there is nothing to balance."""
    if options.balance is None or len(inputs) == 1:
        yield None
        return
    made = balance(options.balance)(model, **options.balance_options)
    try:
        yield made
    finally:
        made.close()


def mean_losses(
    model: Trainable[Any],
    inputs: Mapping[str, Raw],
    target: Tensor,
    rows: Tensor,
    balancing: Balance,
    weights: Tensor | None = None,
) -> Losses:
    """Returns the mean losses of at most 2,000 of the rows, the same ones each time, without dropout."""
    if len(rows) > 2000:
        rows = rows[torch.randperm(len(rows), generator=Generator().manual_seed(0))[:2000]]
    joint, own = torch.zeros(()), {name: torch.zeros(()) for name in inputs}
    outputs = predict(model, inputs, rows)
    for output, part in zip(outputs, torch.split(rows, [len(o.outputs) for o in outputs]), strict=True):
        with model.weighted(None if weights is None else weights[part]):
            loss, losses = balancing.losses(output, target[part].to(output.outputs.device))
        share = len(part) / len(rows)
        joint = joint + share * loss.cpu()
        own = {name: total + share * losses[name].cpu() for name, total in own.items()}
    return joint, own
