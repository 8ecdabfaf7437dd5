"""Forms of feedback, each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.progressive import (
    FEEDBACKS,
    AttendFeedback,
    ConcatFeedback,
    Feedback,
    GateFeedback,
    ProgressiveFusion,
)
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens


def tokens(n_tokens: int = 3, width: int = 6, *, seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, n_tokens, width, generator=generator, dtype=torch.float64)
    return Tokens(values, torch.rand(4, n_tokens, generator=generator) > 0.3)


def state(width: int = 8) -> torch.Tensor:
    return torch.randn(4, width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def trained(kind: type[Feedback]) -> Feedback:
    feedback = kind(6, 8).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in feedback.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return feedback


def array(x: torch.Tensor) -> NDArray[np.float64]:
    return x.detach().numpy()


@pytest.mark.parametrize("name", FEEDBACKS)
def test_before_training_it_is_the_identity_at_any_state(name: str) -> None:
    feedback = FEEDBACKS[name](6, 8).double()
    changed = feedback(tokens(), state(), tokens(5, 8, seed=2))
    assert torch.equal(changed.values, tokens().values)
    assert torch.equal(changed.mask, tokens().mask)


@pytest.mark.parametrize("name", [name for name in FEEDBACKS if name != "concat"])
def test_a_zero_state_is_the_identity_whatever_the_weights(name: str) -> None:
    feedback = trained(FEEDBACKS[name])
    assert torch.equal(feedback(tokens(), torch.zeros(4, 8, dtype=torch.float64)).values, tokens().values)


@pytest.mark.parametrize("name", FEEDBACKS)
def test_once_trained_the_state_changes_the_tokens_of_its_own_row_only(name: str) -> None:
    feedback, other = trained(FEEDBACKS[name]), state()
    other[1] = -other[1]
    before, after = feedback(tokens(), state()).values, feedback(tokens(), other).values
    assert not torch.allclose(before[1], after[1])
    assert torch.equal(before[[0, 2, 3]], after[[0, 2, 3]])


def test_a_gate_multiplies_by_twice_the_sigmoid() -> None:
    feedback = trained(GateFeedback)
    gate = 2 / (1 + np.exp(-array(state()) @ array(feedback.linear.weight).T))
    np.testing.assert_allclose(array(feedback(tokens(), state()).values), array(tokens().values) * gate[:, None])


def test_concatenation_is_one_linear_map_of_tokens_and_state() -> None:
    feedback = trained(ConcatFeedback)
    assert isinstance(feedback.own, nn.Linear)
    whole = np.concatenate([np.eye(6) + array(feedback.own.weight), array(feedback.linear.weight)], axis=1)
    x = array(tokens().values)
    both = np.concatenate([x, np.broadcast_to(array(state())[:, None], (4, 3, 8))], axis=2)
    np.testing.assert_allclose(array(feedback(tokens(), state()).values), both @ whole.T)


def test_attention_is_that_of_torch_with_a_zero_to_attend_to() -> None:
    feedback = trained(AttendFeedback)
    assert isinstance(feedback, AttendFeedback)
    oracle = nn.MultiheadAttention(8, 4, bias=False, add_zero_attn=True, batch_first=True).double()
    fused = tokens(5, 8, seed=2)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([torch.eye(8).double(), feedback.linear.weight]))
        oracle.out_proj.weight.copy_(torch.eye(8))
        x = feedback.query(tokens().values)
        found, _ = oracle(x, fused.values, fused.values, key_padding_mask=~fused.mask)
        expected = tokens().values + feedback.out(found)
    torch.testing.assert_close(feedback(tokens(), state(), fused).values, expected)


def test_fused_tokens_that_are_masked_are_not_attended_to() -> None:
    feedback, fused = trained(AttendFeedback), tokens(5, 8, seed=2)
    other = Tokens(fused.values.masked_fill(~fused.mask[..., None], torch.nan), fused.mask)
    assert torch.equal(feedback(tokens(), state(), other).values, feedback(tokens(), state(), fused).values)
    longer = Tokens(nn.functional.pad(fused.values, (0, 0, 0, 2), value=7.0), nn.functional.pad(fused.mask, (0, 2)))
    torch.testing.assert_close(feedback(tokens(), state(), longer).values, feedback(tokens(), state(), fused).values)
    nothing = Tokens(fused.values, torch.zeros_like(fused.mask))
    assert torch.equal(feedback(tokens(), state(), nothing).values, tokens().values)


def test_one_state_vector_is_one_fused_token() -> None:
    feedback = trained(AttendFeedback)
    torch.testing.assert_close(
        feedback(tokens(), state()).values, feedback(tokens(), state(), Tokens.vector(state())).values
    )


@pytest.mark.parametrize("rounds", [3, "equilibrium"])
@pytest.mark.parametrize("fusion", ["concat", "token_transformer"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_a_batch_may_be_empty(feedback: str, fusion: str, rounds: Any) -> None:
    specs = {"a": Spec(kind="vector", n_channels=4), "b": Spec(kind="vector", n_channels=3)}
    options = ModelOptions(members=1, width=16, fusion=fusion, rounds=rounds, feedback=feedback)
    around = build_model(specs, "multiclass", 3, options, n_rows=100, seed=0)
    assert isinstance(around, ProgressiveFusion)
    nothing = {name: Raw(torch.zeros(0, s.n_channels), torch.zeros(0, dtype=torch.bool)) for name, s in specs.items()}
    outputs = around(nothing).outputs
    outputs.sum().backward()
    assert outputs.shape == (0, 3)
    assert around.anytime(nothing, rounds=3, tolerance=0.1).rounds.shape == (0,)
