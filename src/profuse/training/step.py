"""One forward call of training: inputs and target -> losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from profuse.models.trainable import Trainable
from profuse.tokens import Raw
from profuse.training.balance import Balance, unimodal_confidence
from profuse.training.groups import GroupDRO
from profuse.training.sharding import touched

__all__ = ["Step", "flat"]


class Step(nn.Module):
    """Inputs and target -> losses in one forward call, as wrappers (DDP, precision) need it.

    Returns the whole loss; for a balancing method what its `backward` takes.

    Args:
        model: What is trained.
        balancing: The balancing method, if any.
        dro: The weights of groups, if any.
        whole: Brings the outputs of all processes together, where there are several: inputs are then those of one, and
            target, weights and codes of the whole batch. `(output, rows of the batch) -> output`.
        shards: Whether each process holds a part of the weights: all parameters must then have a gradient.
    """

    def __init__(
        self,
        model: Trainable[Any],
        balancing: Balance | None,
        dro: GroupDRO | None = None,
        whole: Callable[[Any, int], Any] | None = None,
        shards: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.dro, self.whole, self.shards = model, dro, whole, shards
        self._balancing = [balancing]  # no module of this one

    def forward(
        self,
        values: dict[str, Tensor],
        masks: dict[str, Tensor],
        known: dict[str, Tensor],
        target: Tensor,
        weights: Tensor | None = None,
        codes: Tensor | None = None,
    ) -> tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]:
        output = self.model({name: Raw(values[name], masks[name], known.get(name)) for name in values})
        if self.whole is not None:
            output = self.whole(output, len(target))
        (balancing,) = self._balancing

        def loss(counted: Tensor) -> Tensor:
            with self.model.weighted(counted):
                return self.model.loss(output, target)

        if self.dro is not None and codes is not None:
            weights = self.dro.weigh(loss, codes, weights)
        with self.model.weighted(weights):
            if balancing is None:
                made = self.model.loss(output, target)
                return touched(made, self.model) if self.shards else made, {}, {}
            return *balancing.losses(output, target), unimodal_confidence(balancing.whole, output, target)


def flat(batch: Mapping[str, Raw]) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Returns values, masks and contributions, as far as they are known, by modality."""
    known = {n: raw.contributions for n, raw in batch.items() if raw.contributions is not None}
    return {n: raw.values for n, raw in batch.items()}, {n: raw.mask for n, raw in batch.items()}, known
