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
    check_left_out(made, features, y, None if n_blocks is None else blocks, blocks[:8])


@pytest.mark.parametrize("sizes", [(3, 5), (20, 40)], ids=["few numbers", "many numbers"])
def test_rows_left_out_alone_and_rows_left_out_together_may_be_mixed(sizes: tuple[int, int]) -> None:
    features, y = data(30, sizes)
    blocks = [
        torch.tensor([3, 17, 4]),
        torch.tensor([0]),
        torch.arange(5, 16),
        torch.tensor([29]),
        torch.tensor([1, 2]),
    ]
    blocks += [i[None] for i in range_without(30, torch.cat(blocks))]
    check_left_out(Ridge.solve(features, y, PENALTIES), features, y, blocks, blocks)


def range_without(n: int, rows: Tensor) -> Tensor:
    return torch.arange(n)[~torch.isin(torch.arange(n), rows)]


def check_left_out(
    made: Ridge, features: list[Tensor], y: Tensor, asked: list[Tensor] | None, blocks: list[Tensor]
) -> None:
    shares, moved = made.left_out(asked)
    for block in blocks:
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


@pytest.mark.parametrize("sizes", [(3, 15), (20, 40)], ids=["few numbers", "many numbers"])
@pytest.mark.parametrize("held", [False, True], ids=["left out", "held"])
def test_single_precision_chooses_as_double_precision_does(
    sizes: tuple[int, int], held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, y = data(50, sizes)
    given = (features, y, PENALTIES, data(60, sizes, seed=1) if held else None)
    wanted = Ridge.solve(*given)
    monkeypatch.setattr("profuse.layers.ridge._MOST_DOUBLE", 8)
    made = Ridge.solve(*given)
    assert made.penalty == wanted.penalty
    torch.testing.assert_close(made.scores, wanted.scores)
    for one, other in zip(made.left_out()[0], wanted.left_out()[0], strict=True):
        torch.testing.assert_close(one, other)


def test_where_rounding_would_decide_double_precision_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    penalties = torch.logspace(-9, 1, 41, dtype=torch.float64)
    features, _ = data(50, (3, 15))
    y = sum(f[:, :2] for f in features)  # without noise
    assert isinstance(y, Tensor)
    monkeypatch.setattr("profuse.layers.ridge._MOST_DOUBLE", 8)
    assert Ridge.solve(features, y, penalties).penalty == penalties[0]
    monkeypatch.setattr("profuse.layers.ridge._LEAST_SINGLE", 0.0)
    assert Ridge.solve(features, y, penalties).penalty > penalties[0]


@pytest.mark.parametrize("sizes", [(3, 5), (20, 40)])
def test_a_penalty_of_nothing_is_the_limit_of_small_ones(sizes: tuple[int, int]) -> None:
    features, y = data(30, sizes)
    nothing, small = (Ridge.solve(features, y, torch.tensor([p], dtype=torch.float64)) for p in (0.0, 1e-8))
    for one, other in zip(nothing.weights, small.weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("most", [8, 600], ids=["single precision", "double precision"])
@pytest.mark.parametrize("sizes", [(3, 15), (20, 40)])
@pytest.mark.parametrize("held", [False, True], ids=["left out", "held"])
def test_another_loss_of_the_same_scores_may_choose(
    held: bool, sizes: tuple[int, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profuse.layers.ridge._MOST_DOUBLE", most)
    features, y = data(50, sizes)
    other = data(60, sizes, seed=1) if held else None
    goal = (y if other is None else other[1]) - y.mean(0)

    def loss(scores: Tensor) -> Tensor:
        return (scores - 0.3 * goal).square().mean((1, 2))  # which asks for a larger penalty

    made = Ridge.solve(features, y, PENALTIES, other, loss)
    assert made.penalty > Ridge.solve(features, y, PENALTIES, other).penalty
    each = [Ridge.solve(features, y, penalty[None], other, loss) for penalty in PENALTIES]
    best = min(each, key=lambda ridge: ridge.error)
    assert made.penalty == best.penalty
    assert made.error == pytest.approx(best.error) == pytest.approx(float(loss(best.scores[None])))
