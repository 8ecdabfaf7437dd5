"""Ranking coordination: a row's modalities are closer to each other, by a margin, than to other rows'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion._coordinated import CoordinatedFusion, over_pairs, unit

__all__ = ["Ranking", "hinge"]

Negatives = Literal["hardest", "mean"]


def hinge(x: Tensor, y: Tensor, rows: Tensor, *, margin: float, negatives: Negatives) -> Tensor:
    """Returns the mean over rows of max(0, margin - cos(x_i, y_i) + cos(x_i, y_j)) and the same from y to x, added.

    Args:
        x: `[batch, channel]`, of length 1.
        y: `[batch, channel]`, of length 1.
        rows: Bool `[batch]`: the rows that count, as positives and as negatives; 0 is returned where they are fewer
            than two.
        margin: By how much a row's own is to be closer.
        negatives: j is the "hardest" other row, or all other rows, whose "mean" is taken.
    """
    similarity, n_rows = x @ y.T, rows.sum()
    same = torch.eye(x.shape[0], dtype=torch.bool, device=x.device)
    other = rows[:, None] & rows & ~same
    own = similarity.diagonal()
    losses = []
    for axis, mine in ((1, own[:, None]), (0, own)):
        short = (margin - mine + similarity).clamp(min=0).masked_fill(~other, 0.0)
        losses.append(short.amax(axis) if negatives == "hardest" else short.sum(axis) / (n_rows - 1).clamp(min=1))
    return (losses[0] + losses[1]).sum() / n_rows.clamp(min=1)


class Ranking(CoordinatedFusion):
    """h = MLP([z_1 or a_1; ...; z_M or a_M]); penalty = max(0, margin - cos(z_ai, z_bi) + cos(z_ai, z_bj)).

    z_m is a linear map of the normalised mean of the tokens of m, a_m a learned vector where m is absent. The penalty
    is the mean over rows that have both modalities and over pairs of modalities, both directions added; j is another
    row of the batch: the one that comes nearest without being right, or each in turn. Where nothing is told apart it is
    twice the margin.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        space_dim: Dimensions of the coordinated space, which bound what the joint vector is told of a modality.
        weight: Factor of the penalty, at least 0.
        margin: By how much the cosine of a row's own is to be larger, above 0 and at most 2.
        negatives: "hardest" (VSE++) or "mean" (over all other rows).
        warmup_fraction: Fraction of training, 0 to 1, in which the hardest gradually take over from the
            mean; from the first step on they would draw all rows to one place.
        dropout: Probability of dropping a channel between the two layers of the MLP, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Faghri, Fleet, Kiros, Fidler, VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, BMVC 2018,
        equations 5 (all negatives, as in Frome et al., DeViSE, 2013) and 6 (hardest). *Differs from the paper*: the
        mean over negatives, not their sum, so that the batch size does not change the penalty; a warm-up; the mean over
        pairs where there are more than two modalities; beside a supervised loss.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(9, 5, 4), torch.ones(9, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(9, 3))}
        >>> fused = Ranking({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, list(fused.penalties)
        (torch.Size([9, 8]), ['ranking'])
    """

    formula: ClassVar[str] = "MLP([z_1; ...; z_M]), penalty max(0, margin - cos(z_ai, z_bi) + cos(z_ai, z_bj))"
    cost: ClassVar[str] = "O(T d + M k (d + width)); training adds O(M^2 batch k), k = space_dim"
    missing: ClassVar[str] = "a learned vector stands for it; its rows are left out of the penalty"
    reference: ClassVar[str] = "Faghri et al. 2018 (VSE++), equations 5 and 6"
    penalty_name: ClassVar[str] = "ranking"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        space_dim: int = 64,
        weight: float = 0.3,
        margin: float = 0.2,
        negatives: Negatives = "hardest",
        warmup_fraction: float = 0.5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width, space_dim=space_dim, weight=weight, dropout=dropout)
        if not 0 < margin <= 2 or negatives not in ("hardest", "mean") or not 0 <= warmup_fraction <= 1:
            raise ConfigError(
                "Ranking: margin must be above 0 and at most 2, negatives 'hardest' or 'mean', warmup_fraction 0 to 1; "
                f"got margin={margin}, negatives={negatives!r}, warmup_fraction={warmup_fraction}."
            )
        self.margin, self.warmup_fraction = margin, warmup_fraction
        self.negatives: Negatives = negatives

    def disagreement(self, z: Tensor, present: Tensor) -> Tensor:
        share = (
            0.0
            if self.negatives == "mean"
            else min(1.0, self.progress / self.warmup_fraction)
            if self.warmup_fraction
            else 1.0
        )

        def one_pair(x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
            if share in (0.0, 1.0):
                return hinge(x, y, rows, margin=self.margin, negatives="hardest" if share else "mean")
            hardest, mean = (hinge(x, y, rows, margin=self.margin, negatives=n) for n in get_args(Negatives))
            return share * hardest + (1 - share) * mean

        return over_pairs(one_pair, unit(z), present)
