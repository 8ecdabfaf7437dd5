"""`part_scales`: a penalty for each part, against a search by brute force with scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as FittedRidge
from sklearn.linear_model import RidgeCV
from torch import Tensor

from profuse.layers.part_scales import part_scales
from profuse.layers.ridge import Ridge

PENALTIES = torch.logspace(-6, 2, 33, dtype=torch.float64)


def parts(
    n: int, sizes: tuple[int, ...], strengths: tuple[float, ...], *, seed: int = 0
) -> tuple[list[Tensor], Tensor]:
    """Returns parts whose rows are of length 1 or so, as `Landmarks` makes them, and what they tell."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features = [draw(n, p) / math.sqrt(p) for p in sizes]
    told = sum(s * f @ draw(f.shape[1], 1) for s, f in zip(strengths, features, strict=True))
    return features, told + 0.5 * draw(n, 1)


def left_out_error(features: list[Tensor], y: Tensor, scales: Tensor) -> float:
    """By scikit-learn, at the best common penalty of the grid."""
    x = torch.cat([s * f for s, f in zip(scales, features, strict=True)], dim=1).numpy()
    judge = RidgeCV(alphas=len(y) * PENALTIES.numpy(), scoring=None).fit(x, y[:, 0].numpy())
    return float(-judge.best_score_)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_scales_have_a_smaller_error_of_rows_left_out(seed: int) -> None:
    features, y = parts(30, (4, 40), (3.0, 0.7), seed=seed)
    chosen = left_out_error(features, y, part_scales(features, y, PENALTIES))
    for other in (1.0, 0.3, 0.1, 0.03, 0.0):
        for scales in ((1.0, other), (other, 1.0)):
            assert chosen <= 1.01 * left_out_error(features, y, torch.tensor(scales, dtype=torch.float64))


@pytest.mark.parametrize("held", [False, True])
def test_a_part_that_tells_nothing_is_left_out_and_parts_that_tell_as_much_are_read_alike(held: bool) -> None:
    sizes = (8, 400)
    features, y = parts(240, sizes, (3.0, 0.0))
    new = None
    if held:
        features, y, new = [f[:140] for f in features], y[:140], ([f[140:] for f in features], y[140:])
    scales = part_scales(features, y, PENALTIES, new)
    assert scales[0] == 1
    assert scales[1] < 0.1
    known, goal = parts(240, (8, 8), (3.0, 3.0))
    alike = part_scales(known, goal, PENALTIES)
    assert alike.max() == 1
    assert alike.min() > 0.4


def test_new_rows_are_predicted_as_well_as_without_the_part_that_tells_nothing() -> None:
    features, y = parts(1200, (8, 1000), (3.0, 0.0))
    seen = [f[:200] for f in features]

    def error(used: list[int], scales: Tensor) -> float:
        made = Ridge.solve([scales[m] * seen[m] for m in used], y[:200], PENALTIES)
        said = made.mean + sum(
            (scales[m] * features[m][200:] - c) @ w for m, c, w in zip(used, made.middles, made.weights, strict=True)
        )
        return float((said - y[200:]).square().mean())

    ones, alone = torch.ones(2, dtype=torch.float64), error([0], torch.ones(2, dtype=torch.float64))
    assert error([0, 1], part_scales(seen, y[:200], PENALTIES)) < 1.01 * alone
    assert error([0, 1], ones) > 1.1 * alone  # else the task would not tell


def test_the_order_of_parts_and_of_rows_does_not_matter() -> None:
    features, y = parts(60, (3, 30, 5), (2.0, 0.5, 1.0))
    scales = part_scales(features, y, PENALTIES)
    for order in ([2, 0, 1], [1, 0, 2]):
        torch.testing.assert_close(
            part_scales([features[m] for m in order], y, PENALTIES), scales[order], rtol=0.05, atol=1e-3
        )
    mixed = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        part_scales([f[mixed] for f in features], y[mixed], PENALTIES), scales, rtol=0.05, atol=1e-3
    )


def test_one_part_a_constant_target_and_parts_without_numbers_that_vary_are_borne() -> None:
    features, y = parts(20, (3, 5), (1.0, 1.0))
    assert part_scales(features[:1], y, PENALTIES).tolist() == [1]
    for x, goal in ((features, torch.ones_like(y)), ([torch.zeros_like(f) for f in features], y)):
        scales = part_scales(x, goal, PENALTIES)
        assert scales.isfinite().all()
        assert scales.max() == 1


def test_rows_that_belong_together_are_left_out_together() -> None:
    """Where every row is there twice, one left out alone is still known: a part learned by heart would seem to tell."""
    features, y = parts(100, (4, 300), (3.0, 0.0))
    twice, goal = [f.repeat(2, 1) for f in features], y.repeat(2, 1)
    blocks = [torch.tensor([i, i + 100]) for i in range(100)]
    careful = part_scales(twice, goal, PENALTIES, blocks=blocks)
    torch.testing.assert_close(careful, part_scales(features, y, PENALTIES), rtol=0.1, atol=0.02)
    assert careful[1] < 0.1 < part_scales(twice, goal, PENALTIES)[1]


def test_blocks_of_unlike_sizes_are_predicted_by_fits_without_them() -> None:
    features, y = parts(24, (3, 40), (3.0, 1.0))
    rows = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    blocks, penalty, judged = list(torch.split(rows, [1, 3, 2, 7, 1, 6, 4])), 0.02, []

    def loss(scores: Tensor, true: Tensor) -> Tensor:
        torch.testing.assert_close(true, y)
        judged.append(scores.detach())
        return (true - scores).square().mean()

    part_scales(features, y, torch.tensor([penalty], dtype=torch.float64), blocks=blocks, loss=loss)
    x = torch.cat(features, dim=1).numpy()
    without = torch.empty_like(y)
    for block in blocks:
        rest = np.setdiff1d(np.arange(24), block)
        # the penalty is per row of all
        fitted = FittedRidge(alpha=24 * penalty).fit(x[rest], y[rest])
        without[block] = torch.from_numpy(fitted.predict(x[block.numpy()]).reshape(-1, 1))
    torch.testing.assert_close(judged[2], without - y.mean(0), rtol=1e-5, atol=1e-6)  # of e^-2, e^-1, 1, ...
