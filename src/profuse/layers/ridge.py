"""Ridge regression in closed form: what it predicts of rows that it has not seen, and what each part adds to that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
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
    _grams: tuple[Tensor, ...]
    _residuals: Tensor
    _u: Tensor
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
        # z z^T of each part where there are fewer rows than numbers, else none
        grams = tuple(part @ part.T for part in z) if len(y) <= sum(part.shape[1] for part in z) else ()
        u, energy = _left_vectors(z, grams)
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
        return cls(float(penalties[best]), error, mean, weights, middles, kept, z, grams, residuals, u, k)

    def left_out(self, blocks: Sequence[Tensor] | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns what each part adds to a row, `[row, output]`, and by how much the mean moves, without the row.

        Args:
            blocks: Rows that are left out together; each row alone if None.
        """
        n = len(self._residuals)
        if self._grams:
            dual = (self._u * self._per_energy) @ self._u.T  # (z z^T + n penalty)^-1, as far as z^T reaches
            hats = [partial(_dual_hat, gram, dual) for gram in self._grams]
        else:
            reach = ((self._u * self._per_energy) @ (self._u.T @ z) for z in self._z)  # H^-1 z_i
            hats = [partial(_primal_hat, z, g) for z, g in zip(self._z, reach, strict=True)]
        shares = [z @ w for z, w in zip(self._z, self.weights, strict=True)]
        if blocks is None:
            own = [hat(None) for hat in hats]
            leverage = torch.stack([*own, torch.full_like(own[0], 1 / n)]).sum(0)
            missing = self._residuals / (1 - leverage.clamp(max=_MOST_LEVERAGE))[:, None]
            return tuple(share - h[:, None] * missing for share, h in zip(shares, own, strict=True)), -missing / n
        moved = torch.zeros_like(self._residuals)
        for block in blocks:
            inside = [hat(block) for hat in hats]
            rest = torch.eye(len(block), dtype=moved.dtype) * (1 + _JITTER) - torch.stack(inside).sum(0) - 1 / n
            missing = torch.linalg.solve(rest, self._residuals[block])
            for share, h in zip(shares, inside, strict=True):
                share[block] -= h @ missing
            moved[block] = -missing.sum(0) / n
        return tuple(shares), moved


def _dual_hat(gram: Tensor, dual: Tensor, block: Tensor | None) -> Tensor:
    """Returns a part's share of H among the rows of a block, `[row, row]`; its diagonal if None, `[row]`."""
    return (gram * dual).sum(1) if block is None else gram[block] @ dual[:, block]


def _primal_hat(z: Tensor, reach: Tensor, block: Tensor | None) -> Tensor:
    """Returns the same."""
    return (z * reach).sum(1) if block is None else z[block] @ reach[block].T


def _left_vectors(parts: Sequence[Tensor], grams: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the left singular vectors of all parts and the squares of their singular values, of those above 0."""
    if grams:
        energy, u = _eigh(torch.stack([*grams]).sum(0))
        kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
        return u[:, kept], energy[kept]
    z = torch.cat([*parts], dim=1)
    energy, v = _eigh(z.T @ z)
    kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
    return z @ v[:, kept] / energy[kept].sqrt(), energy[kept]


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh` by NumPy, which takes two thirds of the time."""
    energy, vectors = np.linalg.eigh(matrix.numpy())
    return torch.from_numpy(energy), torch.from_numpy(vectors)
