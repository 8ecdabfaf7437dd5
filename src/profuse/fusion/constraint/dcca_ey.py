"""Canonical correlation without any constraint or decomposition: the Eckart-Young loss."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from profuse.fusion._base import MemberRows
from profuse.fusion._coordinated import CoordinatedFusion, unit
from profuse.layers.correlation import centred
from profuse.tokens import Tokens

__all__ = ["DCCAEY", "eckart_young"]


def eckart_young(z: Tensor, present: Tensor, *, halves: bool = True) -> Tensor:
    """Returns -2 tr C + tr V V': C the sum over i != j of cov(z_i, z_j), V that of the var(z_i).

    With `halves`, V is of the rows of even number and V' of those of odd number: then its mean over batches is the
    loss of all rows, whatever the size of the batch. Else V' = V, of all rows. Its smallest value, over all linear
    maps of the views, is minus the sum of the squares of the largest generalised eigenvalues: of the canonical
    correlations with two views, of up to M - 1 each with M.

    Args:
        z: `[batch, modality, channel]`.
        present: Bool `[batch, modality]`. A covariance is of the rows that have both; a variance, of the rows that
            have that modality and another one. 0 where fewer than 4 rows have two modalities. A modality with fewer
            than two such rows in a half has no variance there, and takes no part: see `taking_part`.
        halves: See above.
    """
    present = present & taking_part(present, halves=halves)
    shared = present.sum(1) >= 2
    parts = _parts(shared, halves)
    trace, views = z.new_zeros(()), range(z.shape[1])
    for i, j in combinations(views, 2):
        rows = present[:, i] & present[:, j]
        trace = trace + 2 * (centred(z[:, i], rows) * centred(z[:, j], rows)).sum() / (rows.sum() - 1).clamp(min=1)
    spread = []
    for part in parts:
        total = z.new_zeros(z.shape[2], z.shape[2])
        for i in views:
            rows = present[:, i] & shared & part
            x = centred(z[:, i], rows)
            total = total + x.T @ x / (rows.sum() - 1).clamp(min=1)
        spread.append(total)
    loss = -2 * trace + (spread[0] * spread[1]).sum()
    return loss * (shared.sum() >= 4).to(z.dtype)


def taking_part(present: Tensor, *, halves: bool = True) -> Tensor:
    """Returns which modalities, bool `[modality]`, have two rows beside another modality in each half of the batch."""
    shared = present.sum(1) >= 2
    counted = present & shared[:, None]
    enough = torch.stack([(counted & part[:, None]).sum(0) >= 2 for part in _parts(shared, halves)])
    return enough.all(0)


def _parts(shared: Tensor, halves: bool) -> list[Tensor]:
    """The two halves of the rows that have two modalities, by turns; or all rows, twice."""
    number = shared.long().cumsum(0)
    return [number % 2 == 0, number % 2 == 1] if halves else [torch.ones_like(shared)] * 2


class DCCAEY(CoordinatedFusion):
    """h = MLP([z_1 or a_1; ...; z_M or a_M]); penalty = 1 + (-2 tr C + tr V V') / (k (M - 1)^2).

    z_m is a linear map of the normalised mean of the tokens of m, a_m a learned vector where m is absent; C is the sum
    of the covariances of different modalities, V and V' the sums of the modalities' covariances with themselves on two
    halves of the batch, k = space_dim. The penalty's mean over batches is its value on all rows, so that small batches
    do not mislead it, and nothing is inverted. It is about 0 where k directions correlate perfectly, 1 where none
    does, and 0 where fewer than 4 rows have two modalities. A modality of which a batch has too few rows (fewer than
    two in a half, beside another one) takes no part in that batch, and M is the number of the others.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        space_dim: Dimensions of the coordinated space, which bound what the joint vector is told of a modality.
        weight: Factor of the penalty, at least 0.
        halves: Whether V and V' come from two halves of the batch (unbiased); else both from all of it (biased, less
            noisy).
        dropout: Probability of dropping a channel between the two layers of the MLP, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Chapman, Wells, Lawry Aguila, Unconstrained Stochastic CCA: Unifying Multiview and Self-Supervised Learning,
        ICLR 2024, proposition 3.2. *Differs from the paper*: beside a supervised loss; the two batches that make it
        unbiased are halves of one; shifted and divided so that it lies near 0 to 1.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(9, 5, 4), torch.ones(9, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(9, 3))}
        >>> fused = DCCAEY({"text": 4, "vector": 3}, 8, space_dim=2)(tokens)
        >>> fused.vector.shape, list(fused.penalties)
        (torch.Size([9, 8]), ['correlation'])
    """

    formula: ClassVar[str] = "MLP([z_1; ...; z_M]), penalty 1 + (-2 tr C + tr V V') / (k (M - 1)^2)"
    cost: ClassVar[str] = "O(T d + M k (d + width)); training adds O(M k (M + k)), k = space_dim"
    missing: ClassVar[str] = "a learned vector stands for it; its rows are left out of the penalty"
    reference: ClassVar[str] = "Chapman et al. 2024, proposition 3.2"
    penalty_name: ClassVar[str] = "correlation"
    members: ClassVar[MemberRows] = "one"
    n_remembered = 2000

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        space_dim: int = 32,
        weight: float = 0.3,
        halves: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width, space_dim=space_dim, weight=weight, dropout=dropout)
        self.halves = halves
        self.register_buffer("means", torch.zeros(len(self.names), space_dim))
        self.means: Tensor

    def disagreement(self, z: Tensor, present: Tensor) -> Tensor:
        takes_part = taking_part(present, halves=self.halves)
        scale = self.space_dim * (takes_part.sum() - 1).clamp(min=1) ** 2
        enough = (((present & takes_part).sum(1) >= 2).sum() >= 4).to(z.dtype)
        return enough + eckart_young(z, present, halves=self.halves) / scale

    def remember(self, tokens: Mapping[str, Tokens]) -> None:
        """Takes the means of training rows: covariances do not see them, comparing rows does."""
        z, present = self.space(tokens), self.present(tokens)[..., None]
        self.means.copy_(z.masked_fill(~present, 0.0).sum(0) / present.sum(0).clamp(min=1))

    def placed(self, z: Tensor) -> Tensor:
        """Returns the coordinates less their means, scaled to length 1; the loss itself has aligned them."""
        return unit(z - self.means)
