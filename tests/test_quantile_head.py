"""The quantile head: its loss against scikit-learn's, its order, and what linear paths and members do to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import mean_pinball_loss

from profuse.errors import ConfigError
from profuse.heads import QUANTILES, QuantileHead, ValuesHead, head_for

RNG = np.random.default_rng(0)


def made(n_targets: int = 2, n_members: int = 1) -> QuantileHead:
    torch.manual_seed(0)
    return QuantileHead(4, 3 * n_targets, n_members=n_members).eval()


def test_the_quantiles_are_a_tenth_apart_of_all_and_the_median() -> None:
    assert QUANTILES == (0.05, 0.5, 0.95)
    assert head_for("regression", "quantile") is QuantileHead
    assert head_for("regression", "mean") is head_for("regression") is ValuesHead


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_classes_have_no_quantiles(task: str) -> None:
    with pytest.raises(ConfigError, match=f"head must be 'mean' for a {task} target; got head='quantile'"):
        head_for(task, "quantile")  # type: ignore[arg-type]


def test_the_loss_is_the_mean_of_scikit_learns_pinball_losses() -> None:
    head, outputs, target = made(2), torch.randn(50, 6).sort(1).values, torch.randn(50, 2)
    wanted = [
        mean_pinball_loss(target[:, j], outputs[:, 3 * j + k], alpha=q) for j in (0, 1) for k, q in enumerate(QUANTILES)
    ]
    assert head.loss(outputs, target).item() == pytest.approx(np.mean(wanted), rel=1e-5)
    assert head.row_losses(outputs, target).shape == (50,)
    assert head.error(outputs, target) == pytest.approx(np.mean(wanted), rel=1e-5)
    with head.weighted(torch.linspace(0, 2, 50)):
        rows = head.row_losses(outputs, target) * torch.linspace(0, 2, 50)
        assert head.error(outputs, target) == pytest.approx(rows.mean().item(), rel=1e-5)


def test_the_constant_with_the_least_loss_is_the_quantiles_of_the_target() -> None:
    y, head = torch.as_tensor(RNG.exponential(size=(400, 1))), made(1).double()

    def loss(x: np.ndarray) -> float:
        return head.loss(torch.as_tensor(np.sort(x)).expand(400, 3), y).item()

    best = minimize(loss, np.array([0.5, 1.0, 1.5]), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-7}).x
    assert best == pytest.approx(np.quantile(y.numpy(), QUANTILES), abs=0.05)


@pytest.mark.parametrize("n_members", [1, 3])
def test_quantiles_are_in_order_whatever_the_weights(n_members: int) -> None:
    head = made(2, n_members)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=20.0)
    vector, linear = 100 * torch.randn(60, 4), 50 * torch.randn(60, 2)
    outputs = head.add_linear(head(vector), linear)
    three = outputs.reshape(60, 2, 3)
    assert bool((three.diff(dim=-1) >= 0).all())
    assert torch.equal(head.predict(outputs), three[..., 1])
    assert torch.equal(head.quantiles(outputs), three)
    crossed = outputs.flip(1)
    assert bool((head.quantiles(crossed).diff(dim=-1) >= 0).all())


def test_a_linear_path_moves_all_quantiles_of_its_target_alike() -> None:
    head, outputs = made(2), torch.randn(5, 6)
    linear = torch.tensor([[1.0, -2.0]]).expand(5, 2)
    moved = head.add_linear(outputs, linear) - outputs
    assert torch.allclose(moved, torch.tensor([1.0, 1, 1, -2, -2, -2]).expand(5, 6), atol=1e-6)
    assert (head.n_values, ValuesHead(4, 2).n_values) == (2, 2)


def test_members_are_pooled_by_the_mean_of_their_quantiles() -> None:
    head, outputs = made(1, 3), torch.randn(7, 3, 3)
    assert torch.allclose(head.pool(outputs), outputs.mean(1))


@pytest.mark.parametrize("n_members", [1, 2])
def test_it_begins_as_wide_as_what_linear_paths_leave(n_members: int) -> None:
    head, left = made(2, n_members), torch.as_tensor(RNG.standard_t(4, size=(4000, 2)) * (1.0, 3.0)).float()
    head.begin(left)
    outputs = head(torch.randn(10, 4)).reshape(10, 2, 3)
    assert torch.allclose(outputs, outputs[:1].expand(10, 2, 3))
    wanted = np.quantile(left.numpy(), QUANTILES, axis=0).T
    assert outputs[0].detach().numpy() == pytest.approx(wanted, abs=1e-4)
    plain = ValuesHead(4, 2)
    plain.begin(left)
    assert not any(parameter.any() for parameter in plain.linear.parameters())


def test_the_score_is_that_of_the_median() -> None:
    head, plain, target = made(1), ValuesHead(4, 1), torch.randn(40, 1)
    outputs = torch.randn(40, 3).sort(1).values
    assert head.score(outputs, target) == plain.score(outputs[:, 1:2], target)
    head.calibrate(outputs, target)
    assert head.temperature == 1
    with pytest.raises(ConfigError, match="n_outputs must be 3 for each value; got n_outputs=4"):
        QuantileHead(4, 4)
