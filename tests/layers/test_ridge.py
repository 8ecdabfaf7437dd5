"""`Ridge`: what it says of rows left out is what a ridge regression solved without them says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from sklearn.linear_model import Ridge as Judge
from torch import Tensor

from profuse.layers.ridge import Ridge

PENALTIES = torch.logspace(-4, 1, 11, dtype=torch.float64)


def data(n: int, sizes: Sequence[int], *, seed: int = 0) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(n, p, generator=generator, dtype=torch.float64) for p in sizes]
    features[0][::4] = 0.0  # absent there
    y = sum(f[:, :2] for f in features) + torch.randn(n, 2, generator=generator, dtype=torch.float64)
    assert isinstance(y, Tensor)
    return features, y


def without(features: list[Tensor], y: Tensor, block: Tensor, penalty: float) -> tuple[list[Tensor], Tensor]:
    """Returns each part's share and the constant, of a ridge solved without these rows; n is that of all rows."""
    x = torch.cat([f - f.mean(0) for f in features], dim=1)
    kept = torch.ones(len(y), dtype=torch.bool)
    kept[block] = False
    judge = Judge(alpha=len(y) * penalty, solver="svd").fit(x[kept].numpy(), y[kept].numpy())
    weights = torch.from_numpy(judge.coef_.T).split([f.shape[1] for f in features])
    shares = [(f - f.mean(0))[block] @ w for f, w in zip(features, weights, strict=True)]
    return shares, torch.from_numpy(judge.intercept_)


@pytest.mark.parametrize("sizes", [(3, 5), (20, 40)], ids=["few numbers", "many numbers"])
@pytest.mark.parametrize("n_blocks", [None, 7, 2])
def test_shares_of_rows_left_out_are_those_of_a_ridge_without_them_part_by_part(
    sizes: tuple[int, int], n_blocks: int | None
) -> None:
    features, y = data(30, sizes)
    made = Ridge.solve(features, y, PENALTIES)
    blocks = [torch.arange(30)[i :: n_blocks or 30] for i in range(n_blocks or 30)]
    shares, moved = made.left_out(None if n_blocks is None else blocks)
    for block in blocks[:8]:
        wanted, constant = without(features, y, block, made.penalty)
        for share, want in zip(shares, wanted, strict=True):
            torch.testing.assert_close(share[block], want, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(made.mean + moved[block], constant.expand(len(block), 2), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(3, 5), (20, 40)])
def test_the_penalty_with_the_smallest_error_of_held_rows_is_chosen(sizes: tuple[int, int]) -> None:
    features, y = data(30, sizes)
    new, goal = data(40, sizes, seed=1)
    made = Ridge.solve(features, y, PENALTIES, (new, goal))
    x, held = torch.cat(features, dim=1).numpy(), torch.cat(new, dim=1).numpy()
    errors = [
        (Judge(alpha=30 * float(p), solver="svd").fit(x, y.numpy()).predict(held) - goal.numpy()) ** 2
        for p in PENALTIES
    ]
    means = [float(e.mean()) for e in errors]
    assert made.penalty == float(PENALTIES[means.index(min(means))])
    assert made.error == pytest.approx(min(means))


def test_without_blocks_the_sum_of_the_shares_is_what_the_penalty_was_chosen_by() -> None:
    features, y = data(25, (4, 9))
    made = Ridge.solve(features, y, PENALTIES)
    shares, moved = made.left_out()
    torch.testing.assert_close(shares[0] + shares[1] + moved, made.scores)
    assert made.error == pytest.approx(float((y - y.mean(0) - made.scores).square().mean()))
