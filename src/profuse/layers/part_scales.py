"""How strongly a ridge regression of several parts holds back each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

__all__ = ["part_scales"]

_FARTHEST = math.log(1e3)  # from where the search begins
_STEPS = 30
_GAIN = 1e-4  # of the loss, which is worth another step
_EACH = 4  # penalty is tried at first
_FACTORS = torch.linspace(-2.0, 5.0, 8, dtype=torch.float64, device="cpu")  # logarithms
_LEAST = 1e-8  # of what is not explained: a row may hold all that tells a direction


def part_scales(
    features: Sequence[Tensor],
    y: Tensor,
    penalties: Tensor,
    held: tuple[Sequence[Tensor], Tensor] | None = None,
    blocks: Sequence[Tensor] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Returns scales s_m, `[part]`, the largest 1: a ridge regression of s_m f_m penalises part m by p / s_m^2.

    With one penalty for all, a part of thousands of numbers that tell nothing drowns one of few that tell much. So each
    has its own: those with the smallest loss of rows left out one by one, or by blocks, or of held rows, sought by
    L-BFGS from the best common one.

    Args:
        features: f of each part, `[row, number]`, in double precision.
        y: `[row, output]`.
        penalties: Per row, among which the common one is chosen.
        held: Other rows: their features and y; without blocks they choose the scales too.
        blocks: Rows that are left out together; each row is in one.
        loss: Of predictions less y's mean, times the factor that suits them best, and y; the squared error if None.

    Reference:
        Multi-kernel ridge regression with a penalty of each feature space, chosen by validation: Dupre la Tour,
        Eickenberg, Nunez-Elizalde, Gallant, "Feature-space selection with banded ridge regression" (2022). *Differs
        from the paper*: leave-one-out in closed form, no folds.
    """
    n = len(y)
    if len(features) == 1:
        return torch.ones(1, dtype=torch.float64)
    middles = [f.mean(0) for f in features]
    z = [f - middle for f, middle in zip(features, middles, strict=True)]
    grams = torch.stack([part @ part.T for part in z]) / n
    middle = y.mean(0)
    y0, eye, across = y - middle, torch.eye(n, dtype=torch.float64), None
    sizes = None if blocks is None else _by_size(blocks)
    if held is not None and blocks is None:
        new, goal = held[0], held[1] - middle
        across = torch.stack([(f - c) @ part.T for f, c, part in zip(new, middles, z, strict=True)]) / n

    true = y0 if across is None else goal

    def missed(inverse: Tensor) -> Tensor:
        """Returns by how much predictions at these inverse penalties miss y."""
        root = torch.linalg.cholesky(torch.tensordot(inverse, grams, 1) + eye)
        if across is None:
            b = torch.cholesky_inverse(root)
            return _left_out(b, b @ y0, sizes)
        off: Tensor = goal - torch.tensordot(inverse, across, 1) @ torch.cholesky_solve(y0, root)
        return off

    def judged(off: Tensor, factor: Tensor) -> Tensor:
        return off.square().mean() if loss is None else loss(factor * (true - off), true + middle)

    def error(at: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the loss at inverse penalties, and a last factor of predictions, whose logarithms these are."""
        logs = torch.from_numpy(at).requires_grad_()
        value = judged(missed(logs[:-1].exp()), logs[-1].exp())
        (slope,) = torch.autograd.grad(value, logs, materialize_grads=True)
        return value.item(), slope.numpy()

    ones = torch.ones(len(features), dtype=torch.float64)
    with torch.no_grad():
        common = ((-p.log(), missed(ones / p)) for p in penalties[::_EACH])
        begins = [(float(judged(off, f.exp())), float(at), float(f)) for at, off in common for f in _FACTORS]
    _, begin, factor = min(begins)
    most = -math.log(float(penalties.min()))  # beyond which no penalty could undo the division by the largest scale
    bounds = [(begin - _FARTHEST, min(begin + _FARTHEST, most))] * len(features)
    with torch.enable_grad():
        result = minimize(
            error,
            np.array([begin] * len(features) + [factor]),
            jac=True,
            method="L-BFGS-B",
            bounds=[*bounds, (float(_FACTORS[0]), float(_FACTORS[-1]))],
            options={"maxiter": _STEPS, "ftol": _GAIN},
        )
    best = torch.from_numpy(result.x[:-1])
    return ((best - best.max()) / 2).exp()


def _by_size(blocks: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Returns the rows of blocks of much the same size, `[block, row]`, the last one repeated, and which are real."""
    alike: dict[int, list[Tensor]] = {}
    for block in blocks:
        alike.setdefault(len(block).bit_length(), []).append(block)
    made = []
    for some in alike.values():
        longest = max(len(block) for block in some)
        index = torch.stack([torch.cat([block, block[-1:].expand(longest - len(block))]) for block in some])
        sizes = torch.tensor([len(block) for block in some])
        made.append((index, torch.arange(longest) < sizes[:, None]))
    return made


def _left_out(b: Tensor, residuals: Tensor, blocks: Sequence[tuple[Tensor, Tensor]] | None) -> Tensor:
    """Returns by how much rows are missed without them, of b = 1 - H + 1/n and the residuals; see `Ridge`.

    Args:
        b: `[row, row]`.
        residuals: `[row, output]`.
        blocks: Of `_by_size`; each row alone if None.
    """
    n = len(b)
    if blocks is None:
        return residuals / (b.diagonal() - 1 / n)[:, None].clamp(min=_LEAST)
    rows, missed = [], []
    for index, real in blocks:
        # a row that fills up stands alone
        inside = (b[index[:, :, None], index[:, None]] - 1 / n) * (real[:, :, None] & real[:, None])
        rest = inside + torch.diag_embed(torch.where(real, _LEAST, 1.0).to(b.dtype))
        missed.append(torch.linalg.solve(rest, residuals[index])[real])
        rows.append(index[real])
    return torch.zeros_like(residuals).index_put((torch.cat(rows),), torch.cat(missed))
