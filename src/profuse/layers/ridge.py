"""Ridge regression in closed form: what it predicts of rows that it has not seen, and what each part adds to that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Ridge"]

_MOST_LEVERAGE = 1 - 1e-8
_JITTER = 1e-12  # a block may hold all that tells a direction, without which nothing is known of it


@dataclass(frozen=True, eq=False)
class Ridge:
    """y = mean + sum_m (f_m - middle_m) W_m over parts m, with the smallest |y - ...|^2 + n penalty sum_m |W_m|^2.

    With z = f - middle, residuals e and H = [z, 1] (z^T z + n penalty)^-1 [z, 1]^T, a ridge without the rows B has

        W_(-B) = W - (z^T z + n penalty)^-1 z_B^T r_B,    mean_(-B) = mean - 1^T r_B / n,    r_B = (1 - H_BB)^-1 e_B,

    so it predicts y_B - r_B of them, and part m's share of that is z_B^m W^m_(-B): shares add up, whichever parts a row
    keeps.

    Attributes:
        penalty: Per row.
        error: Mean squared error by which it was chosen: of each row left out, or of held rows.
        mean: Of y, `[output]`.
        weights: W of each part, `[number, output]`.
        middles: Of each part, `[number]`.
        scores: Predictions less `mean`, by which it was chosen, `[row, output]`.

    Reference:
        Allen, "The relationship between variable selection and data augmentation and a method for prediction" (1974),
        PRESS; for blocks, Cook and Weisberg, "Residuals and Influence in Regression" (1982), section 3.6.
    """

    penalty: float
    error: float
    mean: Tensor
    weights: tuple[Tensor, ...]
    middles: tuple[Tensor, ...]
    scores: Tensor
    _z: tuple[Tensor, ...]
    _residuals: Tensor
    _u: Tensor
    _shrunk: Tensor
    _per_energy: Tensor

    @classmethod
    def solve(
        cls,
        features: Sequence[Tensor],
        y: Tensor,
        penalties: Tensor,
        held: tuple[Sequence[Tensor], Tensor] | None = None,
    ) -> Ridge:
        """Returns the one whose penalty has the smallest error: of held rows, or else of each row left out.

        Args:
            features: f of each part, `[row, number]`, in double precision.
            y: `[row, output]`.
            penalties: Per row.
            held: Other rows: their features and y.
        """
        middles = tuple(f.mean(0) for f in features)
        z = tuple(f - middle for f, middle in zip(features, middles, strict=True))
        mean = y.mean(0)
        goal = y - mean
        u, energy = _left_vectors(torch.cat(z, dim=1))
        along = u.T @ goal
        per_energy = 1 / (energy + len(y) * penalties[:, None])  # [penalty, direction]
        if held is None:
            leverage = (u.square() @ (energy * per_energy).T + 1 / len(y)).clamp(max=_MOST_LEVERAGE)
            scores = (
                goal - (goal - u @ ((energy * k)[:, None] * along)) / (1 - leverage[:, i, None])
                for i, k in enumerate(per_energy)
            )
        else:
            new = sum((f - c) @ (part.T @ u) for f, c, part in zip(held[0], middles, z, strict=True))
            assert isinstance(new, Tensor)
            goal = held[1] - mean
            scores = (new @ (k[:, None] * along) for k in per_energy)
        best, error, kept = 0, torch.inf, goal
        for i, score in enumerate(scores):
            this = float((goal - score).square().mean())
            if this < error:
                best, error, kept = i, this, score
        k = per_energy[best]
        dual = u @ (k[:, None] * along)
        residuals = y - mean - u @ ((energy * k)[:, None] * along)
        weights = tuple(part.T @ dual for part in z)
        return cls(float(penalties[best]), error, mean, weights, middles, kept, z, residuals, u, energy * k, k)

    def left_out(self, blocks: Sequence[Tensor] | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns what each part adds to a row, `[row, output]`, and by how much the mean moves, without the row.

        Args:
            blocks: Rows that are left out together; each row alone if None.
        """
        n = len(self._residuals)
        reach = tuple((self._u * self._per_energy) @ (self._u.T @ z) for z in self._z)  # H^-1 z_i
        if blocks is None:
            own = [(g * z).sum(1) for g, z in zip(reach, self._z, strict=True)]
            leverage = torch.stack([*own, torch.full_like(self._residuals[:, 0], 1 / n)]).sum(0)
            missing = self._residuals / (1 - leverage.clamp(max=_MOST_LEVERAGE))[:, None]
            shares = [z @ w - h[:, None] * missing for z, w, h in zip(self._z, self.weights, own, strict=True)]
            return tuple(shares), -missing / n
        shares = [z @ w for z, w in zip(self._z, self.weights, strict=True)]
        moved = torch.zeros_like(self._residuals)
        for block in blocks:
            hats = [z[block] @ g[block].T for g, z in zip(reach, self._z, strict=True)]
            hat = torch.stack([*hats, torch.full((len(block), len(block)), 1 / n, dtype=moved.dtype)]).sum(0)
            rest = torch.eye(len(block), dtype=moved.dtype) * (1 + _JITTER) - hat
            missing = torch.linalg.solve(rest, self._residuals[block])
            for share, h in zip(shares, hats, strict=True):
                share[block] -= h @ missing
            moved[block] = -missing.sum(0) / n
        return tuple(shares), moved


def _left_vectors(z: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the left singular vectors of `z` and the squares of its singular values, of those above 0."""
    if z.shape[0] <= z.shape[1]:
        energy, u = torch.linalg.eigh(z @ z.T)
        kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
        return u[:, kept], energy[kept]
    energy, v = torch.linalg.eigh(z.T @ z)
    kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
    return z @ v[:, kept] / energy[kept].sqrt(), energy[kept]
