"""Stacking: fitted out of fold, against scikit-learn and the closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from profuse.errors import ConfigError, DataError
from profuse.fusion._base import Link
from profuse.fusion.encoder_decoder.mean_logits import MeanLogits
from profuse.fusion.encoder_decoder.stacking import Stacking
from profuse.tokens import Tokens

CHANNELS = {"a": 3, "b": 3}


def experts(n_rows: int = 300, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Two experts on three classes, one better than the other, sometimes missing."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 3, (n_rows,), generator=generator)
    skill = torch.tensor([1.0, 0.3])[:, None]
    noise = torch.randn(n_rows, 2, 3, generator=generator)
    outputs = skill * torch.eye(3)[classes][:, None] + noise
    present = torch.rand(n_rows, 2, generator=generator) > 0.25
    return outputs.double(), present, classes


def as_tokens(outputs: Tensor, present: Tensor) -> dict[str, Tokens]:
    return {name: Tokens.vector(outputs[:, i], present[:, i]) for i, name in enumerate(CHANNELS)}


def features(outputs: Tensor, present: Tensor) -> np.ndarray:
    """Log-probabilities, 0 where missing, and presence indicators."""
    there = present.numpy()[..., None]
    return np.concatenate([(log_softmax(outputs.numpy(), 2) * there).reshape(len(there), -1), there[..., 0]], 1)


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_before_it_is_fitted_it_is_the_mean_of_logits(link: Link) -> None:
    outputs, present, _ = experts()
    stacked = Stacking(CHANNELS, 3, link=link).double()(as_tokens(outputs, present)).vector
    torch.testing.assert_close(stacked, MeanLogits(CHANNELS, 3, link=link)(as_tokens(outputs, present)).vector)


def test_without_a_penalty_it_is_scikit_learns_logistic_regression() -> None:
    outputs, _, classes = experts()
    present = torch.ones(len(outputs), 2, dtype=torch.bool)
    operator = Stacking(CHANNELS, 3, l2=1e-7).double()
    operator.fit_out_of_fold(outputs, present, classes)
    oracle = LogisticRegression(C=1e7, tol=1e-10, max_iter=10_000)
    oracle.fit(features(outputs, present), classes.numpy())
    got = operator(as_tokens(outputs, present)).vector.exp().detach().numpy()
    np.testing.assert_allclose(got, oracle.predict_proba(features(outputs, present)), atol=2e-4)


def test_it_is_the_minimum_that_scipy_finds_from_elsewhere() -> None:
    outputs, present, classes = experts()
    keep = present.any(1)
    outputs, present, classes = outputs[keep], present[keep], classes[keep]
    x, there = features(outputs, present), present.numpy()[..., None]
    mean = (log_softmax(outputs.numpy(), 2) * there).sum(1) / there.sum(1)
    rows = np.arange(len(x))

    def objective(flat: np.ndarray) -> float:
        weight, bias = flat[:24].reshape(8, 3), flat[24:]
        fused = log_softmax(mean + x @ weight + bias, 1)
        return float(-fused[rows, classes.numpy()].sum() + 0.5 * (weight**2).sum())

    found = minimize(objective, np.random.default_rng(0).normal(size=27), options={"gtol": 1e-4})
    operator = Stacking(CHANNELS, 3, l2=1.0).double()
    operator.fit_out_of_fold(outputs, present, classes)
    maps = operator.maps.detach().numpy().transpose(0, 2, 1).reshape(6, 3)
    ours = np.concatenate([maps, operator.offsets.detach().numpy()])
    np.testing.assert_allclose(ours, found.x[:24].reshape(8, 3), atol=1e-4)


def test_on_values_it_is_ridge_regression_of_what_the_mean_leaves() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    outputs = target[:, None] * torch.tensor([0.9, 0.4])[:, None] + torch.randn(
        200, 2, 3, generator=generator, dtype=torch.float64
    )
    present = torch.rand(200, 2, generator=generator) > 0.2
    present[~present.any(1)] = True
    operator = Stacking(CHANNELS, 3, link="identity", l2=2.0).double()
    operator.fit_out_of_fold(outputs, present, target)
    there = present.numpy()[..., None]
    x = np.concatenate([(outputs.numpy() * there).reshape(200, -1), there[..., 0]], 1)
    mean = (outputs.numpy() * there).sum(1) / there.sum(1)
    oracle = Ridge(alpha=2.0).fit(x, target.numpy() - mean)
    got = operator(as_tokens(outputs, present)).vector.detach().numpy()
    np.testing.assert_allclose(got, mean + oracle.predict(x), atol=1e-6)


def test_a_large_penalty_leaves_the_mean_of_logits_but_for_the_free_bias() -> None:
    outputs, present, classes = experts()
    operator = Stacking(CHANNELS, 3, l2=1e9).double()
    operator.fit_out_of_fold(outputs, present, classes)
    assert operator.maps.abs().max() < 1e-5
    assert operator.offsets.abs().max() < 1e-5


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_fitting_lowers_the_loss_and_does_so_the_same_way_twice(link: Link) -> None:
    outputs, present, classes = experts()
    target = classes if link == "softmax" else torch.eye(3, dtype=torch.float64)[classes]
    first, second = Stacking(CHANNELS, 3, link=link), Stacking(CHANNELS, 3, link=link)
    some = present.any(1)

    def loss(operator: Stacking) -> float:
        fused = operator(as_tokens(outputs.float(), present)).vector
        return operator._loss(fused[some].double(), target[some]).item()

    before = loss(first)
    first.fit_out_of_fold(outputs, present, target)
    second.fit_out_of_fold(outputs, present, target)
    assert loss(first) < before - 1
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_stands_at_a_missing_expert_is_not_read() -> None:
    outputs, present, classes = experts()
    spoilt = torch.where(present[..., None], outputs, torch.tensor(float("nan"), dtype=torch.float64))
    first, second = Stacking(CHANNELS, 3), Stacking(CHANNELS, 3)
    first.fit_out_of_fold(outputs, present, classes)
    second.fit_out_of_fold(spoilt, present, classes)
    assert torch.equal(first.maps, second.maps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o, p, y: (o[:, :1], p, y), r"outputs must be \[row, 2, 3\]"),
        (lambda o, p, y: (o, p[:5], y), r"present=\(5, 2\)"),
        (lambda o, p, y: (o, p, y[:, None]), r"targets \[row\]; got"),
        (lambda o, p, y: (o, p, y + 1), "class numbers from 0 to 2; got 1 to 3"),
        (lambda o, p, y: (o * float("nan"), p, y), "must be finite; got NaN or infinity"),
        (lambda o, p, y: (o, p & False, y), "at least one row must have a modality; got none"),
    ],
)
def test_what_cannot_be_fitted_is_told(change: object, message: str) -> None:
    outputs, present, classes = experts()
    with pytest.raises(DataError, match=f"^Stacking: .*{message}"):
        Stacking(CHANNELS, 3).fit_out_of_fold(*change(outputs, present, classes))  # type: ignore[operator]


@pytest.mark.parametrize("l2", [-1.0, float("nan")])
def test_a_penalty_below_zero_is_refused(l2: float) -> None:
    with pytest.raises(ConfigError, match=f"l2 must be at least 0; got l2={l2}"):
        Stacking(CHANNELS, 3, l2=l2)
