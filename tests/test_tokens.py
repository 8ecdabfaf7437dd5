"""The currency: what `Raw` and `Tokens` accept, and what their sums and cuts give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from profuse.errors import ShapeError
from profuse.tokens import Raw, Tokens


def random_tokens(seed: int, n_rows: int = 4, n_tokens: int = 5, n_channels: int = 3) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n_rows, n_tokens, n_channels, generator=generator)
    return Tokens(values, torch.rand(n_rows, n_tokens, generator=generator) > 0.4)


@given(st.integers(0, 10_000))
def test_mean_and_max_are_numpys_over_the_real_tokens(seed: int) -> None:
    tokens = random_tokens(seed)
    for i in range(len(tokens)):
        real = tokens.values[i].numpy()[tokens.mask[i].numpy()]
        mean = real.mean(0) if len(real) else np.zeros(3)
        top = real.max(0) if len(real) else np.zeros(3)
        np.testing.assert_allclose(tokens.mean()[i].numpy(), mean, atol=1e-6)
        np.testing.assert_allclose(tokens.max()[i].numpy(), top, atol=1e-6)
    np.testing.assert_array_equal(tokens.present.numpy(), tokens.mask.numpy().any(1))


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 7.0])
def test_what_stands_at_masked_tokens_never_shows(junk: float) -> None:
    clean = random_tokens(0)
    spoilt = Tokens(torch.where(clean.mask[..., None], clean.values, torch.tensor(junk)), clean.mask)
    assert torch.equal(spoilt.mean(), clean.mean())
    assert torch.equal(spoilt.max(), clean.max())
    assert torch.equal(spoilt.zeroed().values, clean.zeroed().values)
    assert not spoilt.zeroed().values[~clean.mask].any()


def test_a_gradient_through_mean_and_max_skips_masked_tokens() -> None:
    tokens = random_tokens(1)
    values = tokens.values.clone().requires_grad_()
    moved = Tokens(values, tokens.mask)
    (moved.mean().sum() + moved.max().sum()).backward()
    assert values.grad is not None
    assert not values.grad[~tokens.mask].any()
    assert values.grad.isfinite().all()


def test_a_vector_is_one_token() -> None:
    tokens = Tokens.vector(torch.ones(2, 3), torch.tensor([True, False]))
    assert tokens.values.shape == (2, 1, 3)
    assert tokens.mask.tolist() == [[True], [False]]
    assert tokens.n_channels == 3
    assert len(tokens) == 2
    assert Tokens.vector(torch.ones(2, 3)).mask.all()


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 3).bool(), r"values must be \[batch, token, channel\]"),
        (torch.ones(2, 3, 4), torch.ones(2).bool(), r"got values=\(2, 3, 4\), mask=\(2,\)"),
        (torch.ones(2, 3, 4), torch.ones(2, 4).bool(), "A vector is one token: use Tokens.vector"),
        (torch.ones(2, 3, 4), torch.ones(2, 3), "mask must be bool; got dtype=torch.float32"),
        (torch.ones(2, 0, 4), torch.ones(2, 0).bool(), "at least one token"),
    ],
)
def test_tokens_of_a_wrong_form_are_refused(values: Tensor, mask: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Tokens(values, mask)


def test_a_vector_of_a_wrong_form_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"Tokens.vector: values must be \[batch, channel\]; got \(2,\)"):
        Tokens.vector(torch.ones(2))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(4), "mask must be bool"),
        (torch.ones(3).bool(), r"got mask=\(3,\), values=\(4, 6, 2\)"),
        (torch.ones(4, 5).bool(), r"Give one bool for each row, or for each row and position"),
        (torch.ones(4, 6, 2).bool(), r"mask must be \[batch\] or \[batch, position\]"),
    ],
)
def test_raw_of_a_wrong_form_is_refused(mask: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Raw(torch.ones(4, 6, 2), mask)


def test_trim_drops_only_padding_at_the_end() -> None:
    mask = torch.tensor([[True, False, True, False, False], [False, False, True, False, False]])
    trimmed = Raw(torch.arange(10.0).view(2, 5, 1), mask).trim()
    assert trimmed.values.flatten(1).tolist() == [[0, 1, 2], [5, 6, 7]]
    assert trimmed.mask.tolist() == [[True, False, True], [False, False, True]]


def test_trim_keeps_one_position_when_all_is_missing() -> None:
    assert Raw(torch.ones(2, 5, 3), torch.zeros(2, 5).bool()).trim().values.shape == (2, 1, 3)


def test_trim_keeps_the_columns_of_a_table_that_are_missing_in_every_row() -> None:
    assert Raw(torch.ones(2, 5), torch.zeros(2, 5).bool()).trim().values.shape == (2, 5)


def test_trim_leaves_what_has_no_positions_alone() -> None:
    raw = Raw(torch.ones(2, 5), torch.ones(2).bool())
    assert raw.trim() is raw


@pytest.mark.parametrize("mask", [torch.ones(3).bool(), torch.ones(3, 4).bool()])
def test_without_makes_a_modality_absent_in_the_rows_named(mask: Tensor) -> None:
    raw = Raw(torch.ones(3, 4, 2), mask).without(torch.tensor([True, False, True]))
    assert raw.present.tolist() == [False, True, False]


def test_rows_are_cut_with_their_mask() -> None:
    raw = Raw(torch.arange(6.0).view(3, 2), torch.tensor([True, False, True])).rows(torch.tensor([2, 1]))
    assert raw.values.tolist() == [[4, 5], [2, 3]]
    assert raw.mask.tolist() == [True, False]
    assert len(raw) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_mean_of_many_tokens_is_right_in_every_precision(dtype: torch.dtype) -> None:
    """In half precision their sum is beyond the largest number, and small parts of it would be lost."""
    values = torch.full((1, 9_000, 1), 20.0, dtype=dtype)
    mean = Tokens(values, torch.ones(1, 9_000).bool()).mean()
    assert mean.dtype == dtype
    assert mean.item() == 20.0


def with_contributions() -> Raw:
    return Raw(torch.randn(5, 4, 2), torch.ones(5, 4, dtype=torch.bool), torch.arange(30.0).reshape(5, 2, 3))


def test_contributions_go_with_their_rows_and_stay_where_values_do() -> None:
    raw = with_contributions()
    known = raw.contributions
    assert known is not None
    kept = raw.rows(torch.tensor([3, 1])).contributions
    assert kept is not None
    assert torch.equal(kept, known[[3, 1]])
    for same in (raw.trim(), raw.to("cpu"), raw.without(torch.arange(5) == 2)):
        assert same.contributions is not None
        assert torch.equal(same.contributions, known)
    assert Raw(raw.values + 1, raw.mask).contributions is None


@pytest.mark.parametrize("shape", [(4, 2, 3), (5, 3)])
def test_contributions_must_be_of_the_rows(shape: tuple[int, ...]) -> None:
    raw = with_contributions()
    with pytest.raises(ShapeError, match=r"Raw: contributions must be .* of the 5 rows; got \(" + str(shape[0])):
        Raw(raw.values, raw.mask, torch.zeros(shape))
