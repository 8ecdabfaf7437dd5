"""Progressive Fusion: nothing at zero feedback, the loop that is written down otherwise."""

from __future__ import annotations

import pytest
import torch

from profuse.build import ModelOptions, build_model
from profuse.errors import ConfigError
from profuse.model import FusionModel
from profuse.progressive import FEEDBACKS, AddFeedback, Feedback, ProgressiveFusion, ScaleShiftFeedback
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

SPECS = {
    "a": Spec(kind="vector", n_channels=4),
    "b": Spec(kind="vector", n_channels=3),
    "c": Spec(kind="series", n_channels=2, max_length=12),
}


def inputs(n_rows: int = 5) -> dict[str, Raw]:
    generator = torch.Generator().manual_seed(0)
    there = torch.ones(n_rows, dtype=torch.bool)
    return {
        "a": Raw(torch.randn(n_rows, 4, generator=generator), there),
        "b": Raw(torch.randn(n_rows, 3, generator=generator), there),
        "c": Raw(torch.randn(n_rows, 12, 2, generator=generator), torch.ones(n_rows, 12, dtype=torch.bool)),
    }


def plain(**options: object) -> FusionModel:
    made = build_model(SPECS, "multiclass", 3, ModelOptions(width=16, **options), n_rows=100, seed=0)  # type: ignore[arg-type]
    assert isinstance(made, FusionModel)
    return made.eval()


def randomise(model: ProgressiveFusion) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for feedback in model.feedbacks:
            weight = feedback.linear.weight  # type: ignore[union-attr]
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)  # type: ignore[operator, arg-type, union-attr]


FUSED = ["concat", "sum", "mean", "product", "max", "gated", "attention_pooling", "token_transformer"]


@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("name", FUSED)
def test_at_zero_feedback_it_equals_the_plain_model_bit_for_bit(name: str, feedback: str) -> None:
    model = plain(fusion=name)
    around = ProgressiveFusion(model, rounds=4, feedback=feedback)
    batch = inputs()
    expected = model(batch).outputs
    found = around.eval()(batch)
    assert len(found.rounds) == 4
    assert all(torch.equal(r, expected) for r in found.rounds)


@pytest.mark.parametrize("level", ["raw", "feature", "hybrid"])
def test_every_level_with_a_fused_state_can_be_progressive(level: str) -> None:
    around = ProgressiveFusion(plain(fusion="concat", level=level), rounds=2).eval()
    randomise(around)
    rounds = around(inputs()).rounds
    assert not torch.allclose(rounds[0], rounds[1])


def test_the_rounds_are_the_written_loop() -> None:
    model = plain(fusion="concat")
    around = ProgressiveFusion(model, rounds=3).eval()
    randomise(around)
    batch = inputs()
    state = torch.zeros(5, 16)
    expected = []
    for _ in range(3):
        tokens = {}
        for name, encoder, feedback in zip(model.names, model.encoders, around.feedbacks, strict=True):
            embedded = encoder.embed(batch[name])  # type: ignore[operator, union-attr]
            scale, shift = (feedback.linear.weight @ state.T).T[:, None].chunk(2, -1)  # type: ignore[operator, union-attr]
            tokens[name] = encoder.mix(Tokens(embedded.values * (1 + scale) + shift, embedded.mask))  # type: ignore[operator, union-attr]
        state = model.fusion(tokens).vector
        expected.append(model.head(state))
    for found, wanted in zip(around(batch).rounds, expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_one_round_is_the_plain_model_and_rounds_may_change_after_training() -> None:
    model = plain(fusion="concat")
    around = ProgressiveFusion(model, rounds=1).eval()
    randomise(around)
    assert torch.equal(around(inputs()).outputs, model(inputs()).outputs)
    around.rounds = 3
    assert not torch.equal(around(inputs()).outputs, model(inputs()).outputs)


def test_feedback_goes_only_into_the_named_branches() -> None:
    around = ProgressiveFusion(plain(fusion="concat"), rounds=2, into=["b"]).eval()
    assert around.into == ("b",)
    assert len(around.feedbacks) == 1


def test_feedback_lets_one_modality_reach_another_ones_branch() -> None:
    model = plain(fusion="concat")
    around = ProgressiveFusion(model, rounds=2).eval()
    randomise(around)
    batch = inputs()
    changed = {**batch, "a": Raw(torch.randn(5, 4, generator=torch.Generator().manual_seed(9)), batch["a"].mask)}
    mixed = []
    hook = model.encoders[1].register_forward_hook(lambda *_: None)
    hook.remove()
    original = model.encoders[1].mix
    model.encoders[1].mix = lambda tokens: mixed.append(tokens.values.clone()) or original(tokens)  # type: ignore[assignment, operator, func-returns-value, union-attr]
    around(batch), around(changed)
    first, second, first_changed, second_changed = mixed
    assert torch.equal(first, first_changed)
    assert not torch.allclose(second, second_changed)


def test_an_absent_modality_stays_absent_through_the_rounds() -> None:
    around = ProgressiveFusion(plain(fusion="concat"), rounds=3, feedback="add").eval()
    randomise(around)
    batch = inputs()
    everything = torch.ones(5, dtype=torch.bool)
    gone = {**batch, "a": batch["a"].without(everything)}
    other = {**gone, "a": Raw(torch.randn(5, 4), gone["a"].mask)}
    assert torch.equal(around(gone).outputs, around(other).outputs)


def test_the_gradient_reaches_every_feedback_weight_from_the_zero_start() -> None:
    around = ProgressiveFusion(plain(fusion="token_transformer"), rounds=2)
    target = torch.tensor([0, 1, 2, 0, 1])
    around.loss(around(inputs()), target).backward()
    for feedback in around.feedbacks:
        assert feedback.linear.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_supervising_all_rounds_averages_their_losses() -> None:
    last = ProgressiveFusion(plain(fusion="concat", own_weight=0.0), rounds=3).eval()
    randomise(last)
    target = torch.tensor([0, 1, 2, 0, 1])
    output = last(inputs())
    losses = [last.model.head.loss(o, target) for o in output.rounds]
    torch.testing.assert_close(last.loss(output, target), losses[-1])
    last.supervise = "all"
    torch.testing.assert_close(last.loss(output, target), sum(losses) / 3)


@pytest.mark.parametrize("kind", [AddFeedback, ScaleShiftFeedback])
def test_a_zero_state_is_the_identity_whatever_the_weights(kind: type[Feedback]) -> None:
    feedback = kind(6, 4)
    torch.nn.init.normal_(feedback.linear.weight)
    tokens = Tokens(torch.randn(3, 2, 6), torch.ones(3, 2, dtype=torch.bool))
    assert torch.equal(feedback(tokens, torch.zeros(3, 4)).values, tokens.values)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="rounds must be at least 1; got rounds=0"):
        ProgressiveFusion(plain(), rounds=0)
    with pytest.raises(ConfigError, match="must have a fused state"):
        ProgressiveFusion(plain(fusion="mean_logits"))
    with pytest.raises(KeyError, match="scale_shift"):
        ProgressiveFusion(plain(), feedback="scale_shif")
    with pytest.raises(KeyError, match="modality"):
        ProgressiveFusion(plain(), into=["aa"])
    with pytest.raises(ConfigError, match="supervise"):
        ProgressiveFusion(plain(), supervise="some")  # type: ignore[arg-type]
