"""Coordinated spaces: a vector a modality, a penalty on how they disagree, a joint vector of all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion, MemberRows
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["CoordinatedFusion", "mean_over", "over_pairs", "unit"]

PairLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


class CoordinatedFusion(Fusion):
    """z_m = W_m LayerNorm(mean_t x_mt) + b_m; h = MLP([z_1 or a_1; ...; z_M or a_M]), a_m learned where m is absent.

    A subclass says how much coordinates disagree; that is a penalty, by `weight`. It is left out where gradients are
    off, so that prediction does not pay for it.

    MLP(v) = W_2 dropout(gelu(W_1 v + b_1)) + b_2.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        space_dim: Dimensions of the coordinated space.
        weight: Factor of the penalty, at least 0.
        dropout: Probability of dropping a channel between the two layers of the MLP.

    Raises:
        ConfigError: An option is out of range.
    """

    members: ClassVar[MemberRows] = "apart"
    compares_rows: ClassVar[bool] = True
    penalty_name: ClassVar[str]
    """The name of the penalty among `Fused.penalties`."""

    def __init__(
        self, channels: Mapping[str, int], width: int, *, space_dim: int, weight: float, dropout: float
    ) -> None:
        super().__init__(channels, width)
        who = type(self).__name__
        if space_dim < 1 or not 0 <= weight < float("inf"):
            raise ConfigError(
                f"{who}: space_dim must be at least 1 and weight at least 0; got space_dim={space_dim}, "
                f"weight={weight}."
            )
        self.space_dim, self.weight, self.dropout = space_dim, weight, checked_dropout(who, dropout)
        self.space = Projection(self.channels, space_dim)
        self.absent = nn.Parameter(0.02 * torch.randn(len(self.names), space_dim))
        self.mlp = nn.Sequential(
            nn.Linear(len(self.names) * space_dim, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    @abstractmethod
    def disagreement(self, z: Tensor, present: Tensor) -> Tensor:
        """Returns the penalty, before its weight, of `z[batch, modality, space_dim]`; `present[batch, modality]`."""

    def placed(self, z: Tensor) -> Tensor:
        """Returns where `z[batch, modality, space_dim]` stand in the space in which modalities are compared."""
        return unit(z)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        z, present = self.space(tokens), self.present(tokens)
        vector = self.mlp(torch.where(present[..., None], z, self.absent).flatten(1))
        if not torch.is_grad_enabled() or len(self.names) == 1:
            return Fused(vector)
        # decompositions and a soft-maximum over a batch need float32 whatever the precision around them
        mixed = torch.is_autocast_enabled(z.device.type)
        with torch.autocast(z.device.type, enabled=False) if mixed else nullcontext():
            wide = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
            penalty = self.weight * self.disagreement(wide, present)
        return Fused(vector, penalties={self.penalty_name: penalty.to(z.dtype)})

    def coordinates(self, tokens: Mapping[str, Tokens]) -> dict[str, Tensor]:
        """Returns each modality's place in the common space, `[batch, space_dim]` of length 1; 0 where it is absent.

        Args:
            tokens: All modalities, as for a call.
        """
        given = {name: tokens[name].zeroed() for name in self.names}
        placed = self.placed(self.space(given)).masked_fill(~self.present(given)[..., None], 0.0)
        return dict(zip(self.names, placed.unbind(1), strict=True))


def over_pairs(loss: PairLoss, z: Tensor, present: Tensor) -> Tensor:
    """Returns the mean of `loss(z_i, z_j, rows)` over the pairs of modalities that share at least two rows, else 0.

    Args:
        loss: Takes two modalities' vectors `[batch, channel]` and the rows that count, bool `[batch]`; finite, as are
            its gradients, whatever the rows.
        z: `[batch, modality, channel]`.
        present: Bool `[batch, modality]`.
    """
    pairs = combinations(range(z.shape[1]), 2)
    return mean_over(loss, [(z[:, i], z[:, j], present[:, i] & present[:, j]) for i, j in pairs], z)


def mean_over(loss: PairLoss, given: Sequence[tuple[Tensor, Tensor, Tensor]], like: Tensor) -> Tensor:
    """Returns the mean of `loss(x, y, rows)` over those of `given` that have at least two rows, else 0 as `like` is."""
    total, n_pairs = like.new_zeros(()), like.new_zeros(())
    for x, y, rows in given:
        enough = (rows.sum() >= 2).to(like.dtype)
        total = total + enough * loss(x, y, rows)
        n_pairs = n_pairs + enough
    return total / n_pairs.clamp(min=1)


def unit(x: Tensor) -> Tensor:
    """Returns vectors of length 1; one shorter than a millionth keeps its direction and stays shorter."""
    return functional.normalize(x, dim=-1, eps=1e-6)
