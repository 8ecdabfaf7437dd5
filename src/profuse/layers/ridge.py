"""Ridge regression in closed form: what it predicts of rows that it has not seen, and what each part adds to that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.linalg.blas import dsyrk
from torch import Tensor

__all__ = ["Ridge"]

_MOST_LEVERAGE = 1 - 1e-8
_MOST_DOUBLE = 600  # rows or numbers whose eigenvectors are found in double precision
_LEAST_SINGLE = 1e-4  # of the largest eigenvalue: a smaller n penalty is chosen in double precision
_LEAST_PENALTY = 1e-9  # that is solved with: a matrix may be singular
_MOST_SCORES = 100_000  # judged at once, which fit a cache
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
        error: Mean squared error, or other loss, by which it was chosen: of each row left out, or of held rows.
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
    _inverse: Tensor
    _alone: tuple[tuple[Tensor, ...], Tensor] | None = None  # what `left_out` returns of each row alone

    @classmethod
    def solve(
        cls,
        features: Sequence[Tensor],
        y: Tensor,
        penalties: Tensor,
        held: tuple[Sequence[Tensor], Tensor] | None = None,
        loss: Callable[[Tensor], Tensor] | None = None,
    ) -> Ridge:
        """Returns the one whose penalty has the smallest error: of held rows, or else of each row left out.

        Where there are several penalties, rows and numbers, all errors come from one eigendecomposition: in single
        precision where it is large, unless the penalty is so small that rounding could decide. What is returned is
        solved in double precision.

        Args:
            features: f of each part, `[row, number]`, in double precision.
            y: `[row, output]`.
            penalties: Per row.
            held: Other rows: their features and y.
            loss: Of each case of `scores`, `[case, row, output]` to `[case]`; the mean squared error if None.
        """
        n = len(y)
        middles = tuple(f.mean(0) for f in features)
        z = tuple(f - middle for f, middle in zip(features, middles, strict=True))
        mean = y.mean(0)
        goal = y - mean
        # z z^T of each part where there are fewer rows than numbers, else none
        grams = tuple(_gram(part) for part in z) if n <= sum(part.shape[1] for part in z) else ()
        joined = z[0] if len(z) == 1 else torch.cat([*z], dim=1)
        matrix = torch.stack([*grams]).sum(0) if grams else _gram(joined.T)
        new = None
        if held is not None:
            new = torch.cat([f - middle for f, middle in zip(held[0], middles, strict=True)], dim=1), held[1] - mean
        penalty = float(penalties[0])
        if len(penalties) > 1:
            seen = (new[0] @ joined.T, new[1]) if new is not None and grams else new
            best = _choose(matrix, None if grams else joined, goal, penalties, seen, loss)
            penalty = float(penalties[best])
        shift = n * max(penalty, _LEAST_PENALTY)
        inverse = _inverse(matrix, shift)
        if grams:
            dual = inverse @ goal
            residuals, weight = shift * dual, joined.T @ dual
        else:
            weight = inverse @ (joined.T @ goal)
            residuals = goal - joined @ weight
        weights = torch.split(weight, [part.shape[1] for part in z])
        made = cls(penalty, 0.0, mean, weights, middles, goal, z, grams, residuals, inverse)
        alone = None
        if new is None:
            alone = made.left_out()
            scores, wanted = torch.stack([*alone[0]]).sum(0) + alone[1], goal
        else:
            scores, wanted = new[0] @ weight, new[1]
        error = float(_errors(scores[None], wanted, loss))
        return replace(made, error=error, scores=scores, _alone=alone)

    def left_out(self, blocks: Sequence[Tensor] | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns what each part adds to a row, `[row, output]`, and by how much the mean moves, without the row.

        Args:
            blocks: Rows that are left out together; each row alone if None.
        """
        if blocks is None and self._alone is not None:
            return self._alone
        n, hats = len(self._residuals), self._hats()
        shares = [z @ w for z, w in zip(self._z, self.weights, strict=True)]
        moved = torch.zeros_like(self._residuals)
        alone = torch.arange(n)
        if blocks is not None:
            single = [block for block in blocks if len(block) == 1]
            alone = torch.cat(single) if single else alone[:0]
        if len(alone):
            own = [hat(None)[alone] for hat in hats]
            leverage = torch.stack([*own, torch.full_like(own[0], 1 / n)]).sum(0)
            missing = self._residuals[alone] / (1 - leverage.clamp(max=_MOST_LEVERAGE))[:, None]
            for share, h in zip(shares, own, strict=True):
                share[alone] -= h[:, None] * missing
            moved[alone] = -missing / n
        for block in blocks or ():
            if len(block) == 1:
                continue
            inside = [hat(block) for hat in hats]
            missing = self._missing(block, inside)
            for share, h in zip(shares, inside, strict=True):
                share[block] -= h @ missing
            moved[block] = -missing.sum(0) / n
        return tuple(shares), moved

    def changes(
        self, features: Sequence[Tensor], beside: Sequence[tuple[Tensor, Tensor]]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns by how much parts' shares of other rows, and the mean, change without rows that they belong to.

        Args:
            features: f of each part, `[other row, number]`; shares are those of f less `middle`.
            beside: Other rows, and the rows learned from that are left out for them.

        Returns:
            By part, and of the mean: `[other row, output]`; 0 of rows that stand nowhere in `beside`.
        """
        (n, n_outputs), hats, z = self._residuals.shape, self._hats(), torch.cat([*self._z], dim=1)
        new = [f - middle for f, middle in zip(features, self.middles, strict=True)]
        if self._grams:
            along = [x @ part.T @ self._inverse for x, part in zip(new, self._z, strict=True)]
        else:
            inverses = torch.split(self._inverse, [part.shape[1] for part in self._z])
            along = [x @ inverse for x, inverse in zip(new, inverses, strict=True)]
        shares = [f.new_zeros(len(f), n_outputs) for f in features]
        moved = torch.zeros_like(shares[0])
        for others, block in beside:
            missing = self._missing(block, [hat(block) for hat in hats])
            for share, a in zip(shares, along, strict=True):
                share[others] = -(a[others][:, block] @ missing if self._grams else a[others] @ (z[block].T @ missing))
            moved[others] = -missing.sum(0) / n
        return tuple(shares), moved

    def _hats(self) -> list[partial[Tensor]]:
        """Returns each part's share of H, of the rows of a block or its diagonal."""
        if self._grams:
            return [partial(_dual_hat, gram, self._inverse) for gram in self._grams]
        sizes = [part.shape[1] for part in self._z]
        reach = torch.split(torch.cat([*self._z], dim=1) @ self._inverse, sizes, dim=1)  # H^-1 z_i
        return [partial(_primal_hat, z, g) for z, g in zip(self._z, reach, strict=True)]

    def _missing(self, block: Tensor, inside: Sequence[Tensor]) -> Tensor:
        """Returns r of the rows of a block, by each part's share of H among them."""
        n, eye = len(self._residuals), torch.eye(len(block), dtype=self._residuals.dtype)
        rest = eye * (1 + _JITTER) - torch.stack([*inside]).sum(0) - 1 / n
        made: Tensor = torch.linalg.solve(rest, self._residuals[block])
        return made


def _dual_hat(gram: Tensor, dual: Tensor, block: Tensor | None) -> Tensor:
    """Returns a part's share of H among the rows of a block, `[row, row]`; its diagonal if None, `[row]`."""
    return (gram * dual).sum(1) if block is None else gram[block] @ dual[:, block]


def _primal_hat(z: Tensor, reach: Tensor, block: Tensor | None) -> Tensor:
    """Returns the same."""
    return (z * reach).sum(1) if block is None else z[block] @ reach[block].T


def _choose(
    matrix: Tensor,
    z: Tensor | None,
    goal: Tensor,
    penalties: Tensor,
    new: tuple[Tensor, Tensor] | None,
    loss: Callable[[Tensor], Tensor] | None,
) -> int:
    """Returns the number of the penalty with the smallest error.

    Args:
        matrix: z z^T, or z^T z where `z` is given.
        z: Of all parts.
        goal: y less its mean.
        penalties: Per row.
        new: Of held rows: z_new z^T, or z_new where `z` is given; and their goal.
        loss: See `Ridge.solve`.
    """
    if len(matrix) > _MOST_DOUBLE:
        coarse = None if new is None else (new[0].float(), new[1].float())
        single = matrix.float(), None if z is None else z.float(), goal.float(), penalties.float(), coarse
        best, most = _smallest(*single, loss)
        if len(goal) * float(penalties[best]) >= _LEAST_SINGLE * most:
            return best
    return _smallest(matrix, z, goal, penalties, new, loss)[0]


def _smallest(
    matrix: Tensor,
    z: Tensor | None,
    goal: Tensor,
    penalties: Tensor,
    new: tuple[Tensor, Tensor] | None,
    loss: Callable[[Tensor], Tensor] | None,
) -> tuple[int, float]:
    """Returns the number of the penalty with the smallest error, and the largest eigenvalue; see `_choose`."""
    n = len(goal)
    energy, v = _eigh(matrix)
    most = float(energy[-1])
    kept = energy > (1e-10 if matrix.dtype == torch.float64 else 1e-6) * max(most, 1e-30)
    energy, v = energy[kept], v[:, kept]
    w = v * energy.sqrt() if z is None else z @ v  # of z = w v^T, or w the same with v of the other side
    per_energy = 1 / (energy + n * penalties[:, None])  # [penalty, direction]
    along = w.T @ goal
    if new is None:
        leverage = (w.square() @ per_energy.T + 1 / n).clamp(max=_MOST_LEVERAGE)
        basis, wanted = w, goal
    else:
        basis, wanted = new[0] @ (v / energy.sqrt() if z is None else v), new[1]
    errors, size = [], max(1, _MOST_SCORES // max(1, basis.shape[0] * goal.shape[1]))
    for some in torch.split(torch.arange(len(per_energy)), size):
        scores = basis @ (per_energy[some][:, :, None] * along)
        if new is None:
            scores = goal - (goal - scores) / (1 - leverage.T[some][:, :, None])
        errors.append(_errors(scores, wanted, loss))
    return int(np.argmin(np.nan_to_num(torch.cat(errors).numpy(), nan=np.inf))), most


def _errors(scores: Tensor, wanted: Tensor, loss: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Returns the loss of each case of scores, `[case, row, output]`."""
    return (wanted - scores).square().mean((1, 2)) if loss is None else loss(scores.double())


def _gram(x: Tensor) -> Tensor:
    """Returns x x^T in double precision: half of a product of matrices, mirrored."""
    if len(x) < _MOST_DOUBLE:
        return x @ x.T
    upper = torch.from_numpy(np.ascontiguousarray(dsyrk(1.0, x.numpy().T, trans=1)))
    return upper + upper.triu(1).T


def _inverse(matrix: Tensor, shift: float) -> Tensor:
    """Returns (matrix + shift)^-1, of a matrix that is positive semidefinite and a shift above 0."""
    shifted = matrix.clone()
    shifted.diagonal().add_(shift)
    made: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(shifted))
    return made


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh`; in double precision by NumPy, which takes two thirds of the time."""
    if matrix.dtype == torch.float32:
        return torch.linalg.eigh(matrix)  # type: ignore[no-any-return]
    energy, vectors = np.linalg.eigh(matrix.numpy())
    return torch.from_numpy(energy), torch.from_numpy(vectors)
