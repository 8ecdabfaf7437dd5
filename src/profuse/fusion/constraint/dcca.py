"""Deep canonical correlation analysis: modalities are mapped to where they correlate most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion._base import MemberRows
from profuse.fusion._coordinated import CoordinatedFusion, over_pairs, unit
from profuse.layers.correlation import canonical, centred, double, whitened
from profuse.tokens import Tokens

__all__ = ["DCCA", "correlation"]

Norm = Literal["nuclear", "fro2"]


def correlation(x: Tensor, y: Tensor, rows: Tensor, *, norm: Norm = "nuclear", ridge: float = 1e-3) -> Tensor:
    """Returns the sum of the canonical correlations of `x` and `y` (nuclear), or of their squares (fro2).

    Both are norms of T = L_x^-1 S_xy L_y^-T, L L^T = S + ridge (1 + tr S / k) I. A Cholesky factor does what the
    inverse square root of Andrew et al. does (T is the same up to rotations) and has a gradient where eigenvalues
    repeat.

    Args:
        x: `[batch, channel]`.
        y: `[batch, channel]`, of any width.
        rows: Bool `[batch]`: the rows that count.
        norm: "nuclear" or "fro2".
        ridge: At least 0; with 0 the covariances must be of full rank.
    """
    n_rows = (rows.sum() - 1).clamp(min=1)
    given = x
    # single precision loses what a small ridge lets through
    x, y, n_rows = centred(double(x), double(rows)), centred(double(y), double(rows)), double(n_rows)
    left, right = whitened(x.T @ x / n_rows, ridge), whitened(y.T @ y / n_rows, ridge)
    t = torch.linalg.solve_triangular(left, x.T @ y / n_rows, upper=False)
    t = torch.linalg.solve_triangular(right, t.T, upper=False)
    total: Tensor = t.square().sum() if norm == "fro2" else torch.linalg.svdvals(t).sum()
    return total.to(given)


class DCCA(CoordinatedFusion):
    """h = MLP([z_1 or a_1; ...; z_M or a_M]); penalty = 1 - (sum of the canonical correlations of z_i, z_j) / d.

    z_m is a linear map of the normalised mean of the tokens of m, a_m a learned vector where m is absent. The penalty
    is the mean over pairs of modalities, on rows that have both; d is the number of correlations that so many rows can
    show, min(space_dim, rows - 1). It lies between 0 and 1, whatever the size of the batch and of the space, and is 0
    where one modality's coordinates are a linear map of the other's; of a modality of fewer channels than that a part
    that no training changes is left. It needs batches of many more rows than
    `space_dim`: in fewer, everything correlates.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        space_dim: Dimensions of the coordinated space, which bound what the joint vector is told of a modality.
        weight: Factor of the penalty, at least 0.
        norm: "nuclear" (the sum of the correlations, as published) or "fro2" (the sum of their squares, cheaper and
            smooth everywhere).
        ridge: What is added to the covariances' diagonals, relative to 1 plus their mean diagonal; above 0.
        dropout: Probability of dropping a channel between the two layers of the MLP, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Andrew, Arora, Bilmes, Livescu, Deep Canonical Correlation Analysis, ICML 2013, section 3. *Differs from the
        paper*: beside a supervised loss, not before it; the mean over pairs where there are more than two modalities;
        Cholesky factors in place of inverse square roots (the same correlations); a ridge that grows with the
        covariance; divided by the number of dimensions.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(9, 5, 4), torch.ones(9, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(9, 3))}
        >>> fused = DCCA({"text": 4, "vector": 3}, 8, space_dim=2)(tokens)
        >>> fused.vector.shape, list(fused.penalties)
        (torch.Size([9, 8]), ['correlation'])
    """

    formula: ClassVar[str] = "MLP([z_1; ...; z_M]), penalty 1 - mean canonical correlation of z_i, z_j"
    cost: ClassVar[str] = "O(T d + M k (d + width)); training adds O(M^2 (k^2 + k^3 / batch)), k = space_dim"
    missing: ClassVar[str] = "a learned vector stands for it; its rows are left out of the penalty"
    reference: ClassVar[str] = "Andrew et al. 2013, section 3"
    penalty_name: ClassVar[str] = "correlation"
    members: ClassVar[MemberRows] = "one"
    n_remembered = 2000

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        space_dim: int = 16,
        weight: float = 0.3,
        norm: Norm = "nuclear",
        ridge: float = 1e-3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width, space_dim=space_dim, weight=weight, dropout=dropout)
        if norm not in ("nuclear", "fro2") or not 0 < ridge < float("inf"):
            raise ConfigError(
                f"DCCA: norm must be 'nuclear' or 'fro2' and ridge above 0; got norm={norm!r}, ridge={ridge}."
            )
        self.norm: Norm = norm
        self.ridge = ridge
        n = len(self.names)
        self.register_buffer("means", torch.zeros(n, space_dim))
        self.register_buffer("maps", torch.eye(space_dim).expand(n, -1, -1).clone())
        self.means: Tensor
        self.maps: Tensor

    def disagreement(self, z: Tensor, present: Tensor) -> Tensor:
        def one_pair(x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
            shown = (rows.sum() - 1).clamp(min=1, max=self.space_dim)
            return 1 - correlation(x, y, rows, norm=self.norm, ridge=self.ridge) / shown

        return over_pairs(one_pair, z, present)

    def remember(self, tokens: Mapping[str, Tokens]) -> None:
        """Fits linear canonical maps to training rows: the penalty does not see rotations, comparing rows does."""
        z, present = self.space(tokens), self.present(tokens)
        if len(self.names) == 1 or len(z) < 2:
            return
        result = canonical(double(z).unbind(1), double(present), self.space_dim, ridge=self.ridge)
        self.means.copy_(torch.stack(result.means))
        self.maps.copy_(torch.stack(result.maps) * result.correlations)

    def placed(self, z: Tensor) -> Tensor:
        """Returns the canonical variates, each by its correlation, scaled to length 1; see `remember`."""
        return unit(torch.einsum("bmk,mkj->bmj", z - self.means, self.maps))
