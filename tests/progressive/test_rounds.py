"""Progressive Fusion: nothing at zero feedback, the loop that is written down otherwise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from not_none import not_none

from profuse.encoders import segments
from profuse.errors import ConfigError
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.progressive import FEEDBACKS, ProgressiveFusion
from profuse.progressive._entry import Entry, below
from profuse.progressive._model import Start
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
    made = build_model(
        SPECS, "multiclass", 3, ModelOptions(**{"width": 16, "members": 1, **options}), n_rows=100, seed=0
    )
    assert isinstance(made, FusionModel)
    return made.eval()


def randomise(model: ProgressiveFusion) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        starts = [] if model.start is None else [model.start]
        linear = [b for name, b in model.plain.linear_paths.named_buffers() if name.endswith((".weight", ".bias"))]
        for weight in [*model.feedbacks.parameters(), *linear, *starts]:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)


def linear(model: FusionModel, batch: dict[str, Raw]) -> torch.Tensor:
    """What the joint linear path adds, written otherwise."""
    parts = {n: (e.linear(batch[n]), batch[n].present) for n, e in model.encoder_of.items()}
    added: torch.Tensor = model.linear_paths.paths[0](parts)
    assert added.any()
    return added


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
            embedded = encoder.embed(batch[name])  # type: ignore[operator]
            scale, shift = (feedback.linear.weight @ state.T).T[:, None].chunk(2, -1)  # type: ignore[operator, union-attr]
            tokens[name] = encoder.mix(Tokens(embedded.values * (1 + scale) + shift, embedded.mask))  # type: ignore[operator]
        state = model.fusion(tokens).vector
        expected.append(model.head(state) + linear(model, batch))
    for found, wanted in zip(around(batch).rounds, expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_one_round_is_the_plain_model_and_rounds_may_change_after_training() -> None:
    model = plain(fusion="concat")
    around = ProgressiveFusion(model, rounds=1).eval()
    randomise(around)
    assert torch.equal(around(inputs()).outputs, model(inputs()).outputs)
    around.rounds = 3
    assert not torch.equal(around(inputs()).outputs, model(inputs()).outputs)


@pytest.mark.parametrize("rounds", [0, -1, 2.5, "2", "equilibrum", None])
def test_rounds_that_cannot_be_are_refused_when_they_are_set(rounds: Any) -> None:
    told = re.escape(f"ProgressiveFusion: rounds must be at least 1, or 'equilibrium'; got rounds={rounds!r}")
    model = ProgressiveFusion(plain(), rounds=3)
    with pytest.raises(ConfigError, match=told):
        model.rounds = rounds
    assert model.rounds == 3
    with pytest.raises(ConfigError, match=told):
        ProgressiveFusion(plain(), rounds=rounds)


@pytest.mark.parametrize("options", [{"start": "learned"}, {"supervise": "all"}, {"gradient_rounds": 1}])
def test_an_equilibrium_is_refused_after_options_that_contradict_it(options: dict[str, Any]) -> None:
    model = ProgressiveFusion(plain(), **options)
    with pytest.raises(ConfigError, match=f"rounds='equilibrium' must go with .* got {next(iter(options))}="):
        model.rounds = "equilibrium"
    assert len(model(inputs()).rounds) == 2


def test_a_learned_start_is_refused_where_round_one_has_no_gradient() -> None:
    told = (
        "start='learned' must go with a gradient in all rounds.*got rounds=3, gradient_rounds=2. Use gradient_rounds="
    )
    with pytest.raises(ConfigError, match=f"ProgressiveFusion: {told}"):
        ProgressiveFusion(plain(), rounds=3, start="learned", gradient_rounds=2)
    model = ProgressiveFusion(plain(fusion="concat"), rounds=2, start="learned", gradient_rounds=2)
    with pytest.raises(ConfigError, match=told):
        model.rounds = 3
    assert model.rounds == 2
    randomise(model)
    model.loss(model(inputs()), torch.tensor([0, 1, 2, 0, 1])).backward()
    assert getattr(model.start, "grad", None) is not None


def test_the_plain_model_is_at_hand() -> None:
    model = plain()
    assert ProgressiveFusion(model).plain is model


def test_feedback_goes_only_into_the_named_branches() -> None:
    around = ProgressiveFusion(plain(fusion="concat"), rounds=2, into=["b"]).eval()
    assert around.into == ("b",)
    assert len(around.feedbacks) == 1


@pytest.mark.parametrize("entry", ["early", "later"])
@pytest.mark.parametrize("branch", ["a", "b", "c"])
def test_each_branch_gets_the_feedback_of_its_own_map_alone(branch: str, entry: Entry) -> None:
    """Two rounds: what is fused in the second one differs from the first in that branch, and in no other."""
    model = ProgressiveFusion(plain(fusion="concat"), rounds=2, entry=entry).eval()
    place = model.into.index(branch)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.feedbacks[place].parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    fused: list[dict[str, Tokens]] = []
    model.model.fusion.register_forward_pre_hook(lambda _, given: fused.append(dict(given[0])))
    model(inputs())
    first, second = fused
    moved = {name for name in first if not torch.equal(first[name].values, second[name].values)}
    assert moved == {branch}


def test_every_branch_has_its_own_map_and_state_of_its_own_row() -> None:
    model = ProgressiveFusion(plain(fusion="concat"), rounds=2).eval()
    randomise(model)
    rows, order = inputs(5), torch.tensor([3, 0, 4, 1, 2])
    whole = model(rows).outputs
    turned = model({name: raw.rows(order) for name, raw in rows.items()}).outputs
    torch.testing.assert_close(whole[order], turned)


def test_feedback_lets_one_modality_reach_another_ones_branch() -> None:
    model = plain(fusion="concat")
    around = ProgressiveFusion(model, rounds=2).eval()
    randomise(around)
    batch = inputs()
    changed = {**batch, "a": Raw(torch.randn(5, 4, generator=torch.Generator().manual_seed(9)), batch["a"].mask)}
    mixed = []
    original = model.encoders[1].mix
    model.encoders[1].mix = lambda tokens: mixed.append(tokens.values.clone()) or original(tokens)  # type: ignore[assignment, operator, func-returns-value]
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


@pytest.mark.parametrize("entry", ["input", "early", "later"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("name", ["concat", "token_transformer"])
def test_the_gradient_reaches_every_feedback_parameter(name: str, feedback: str, entry: Entry) -> None:
    around = ProgressiveFusion(plain(fusion=name), feedback=feedback, entry=entry, start="learned")
    target = torch.tensor([0, 1, 2, 0, 1])
    around.loss(around(inputs()), target).backward()
    first = [f.linear.weight if feedback != "attend" else f.out.weight for f in around.feedbacks]  # type: ignore[union-attr]
    assert all(w.grad.abs().sum() > 0 for w in first)  # type: ignore[union-attr, operator]
    randomise(around)
    around.zero_grad()
    around.loss(around(inputs()), target).backward()
    everything = [*around.feedbacks.parameters(), not_none(around.start)]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in everything)


@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("entry", ["input", "early", "later"])
def test_with_untrained_feedback_it_equals_the_plain_model_wherever_it_enters(entry: Entry, feedback: str) -> None:
    model = plain(fusion="token_transformer")
    around = ProgressiveFusion(model, rounds=3, feedback=feedback, entry=entry, start="learned").eval()
    with torch.no_grad():
        around.start.normal_()  # type: ignore[union-attr]
    expected = model(inputs()).outputs
    assert all(torch.equal(r, expected) for r in around(inputs()).rounds)


def written(around: ProgressiveFusion, batch: dict[str, Raw], entry: str) -> list[torch.Tensor]:
    """The rounds of two vectors and a series, without `below`, entries or `finish`."""
    model, rounds = around.model, []
    state = None if around.start is None else (around.start.expand(5, -1), None)
    for _ in range(3):
        tokens = {}
        for name, encoder, feedback in zip(model.names, model.encoders, around.feedbacks, strict=True):
            raw, (first, last) = batch[name], segments(encoder, 2)  # type: ignore[arg-type]
            if entry == "input" and state is not None:
                flat = raw.values.ndim == 2
                values = feedback(Tokens.vector(raw.values, raw.mask) if flat else Tokens(raw.values, raw.mask), *state)
                raw = Raw(values.values[:, 0] if flat else values.values, raw.mask)
            embedded = encoder.embed(raw)  # type: ignore[operator]
            if entry == "early" and state is not None:
                embedded = feedback(embedded, *state)
            halfway = first(embedded.zeroed()).zeroed()
            if entry == "later" and state is not None:
                halfway = feedback(halfway, *state)
            tokens[name] = last(halfway.zeroed())
        fused = model.fusion(tokens)
        state = fused.vector, fused.tokens
        rounds.append(model.head(fused.vector) + linear(model, batch))
    return rounds


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("entry", ["input", "early", "later"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_outputs_and_gradients_are_those_of_the_written_loop(feedback: str, entry: Entry, start: Start) -> None:
    around = ProgressiveFusion(
        plain(fusion="token_transformer"), rounds=3, feedback=feedback, entry=entry, start=start
    ).eval()
    randomise(around)
    around, batch = around.double(), {n: Raw(r.values.double(), r.mask) for n, r in inputs().items()}
    found, expected = around(batch).rounds, written(around, batch, entry)
    weights = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    parameters = [p for name, p in around.named_parameters() if "own_heads" not in name]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)
    gradients = [
        torch.autograd.grad((torch.stack([*rounds]) * weights).sum(), parameters) for rounds in (found, expected)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("entry", ["input", "early", "later"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_masked_content_stays_without_effect_and_nothing_at_all_is_finite(feedback: str, entry: Entry) -> None:
    around = ProgressiveFusion(
        plain(fusion="token_transformer"), rounds=3, feedback=feedback, entry=entry, start="learned"
    ).eval()
    randomise(around)
    batch = inputs()
    mask = torch.ones(5, 12, dtype=torch.bool)
    mask[:, 7:], mask[2, 3:] = False, False
    gone = torch.tensor([False, True, False, False, True])
    given = {"a": batch["a"].without(gone), "b": batch["b"], "c": Raw(batch["c"].values, mask)}
    other = {
        "a": Raw(given["a"].values.masked_fill(gone[:, None], torch.nan), given["a"].mask),
        "b": given["b"],
        "c": Raw(given["c"].values.masked_fill(~mask[..., None], torch.nan), mask),
    }
    outputs = around(given).outputs
    torch.testing.assert_close(around(other).outputs, outputs, rtol=0, atol=0)
    torch.testing.assert_close(around({**other, "c": other["c"].trim()}).outputs, outputs, rtol=1e-5, atol=1e-5)
    around.train()
    around.loss(around(other), torch.tensor([0, 1, 2, 0, 1])).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in around.parameters())
    everything = torch.ones(5, dtype=torch.bool)
    assert bool(around.eval()({n: r.without(everything) for n, r in other.items()}).outputs.isfinite().all())


def test_embed_runs_once_a_batch_whatever_the_rounds_and_a_branch_without_feedback_does_as_a_whole() -> None:
    calls: Counter[str] = Counter()
    model = plain(fusion="concat")

    def counted(run: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
        return lambda x: calls.update([what]) or run(x)

    for name, encoder in zip(model.names, model.encoders, strict=True):
        for step in ("embed", "mix"):
            setattr(encoder, step, counted(getattr(encoder, step), f"{step} {name}"))
    for rounds in (1, 2, 7):
        calls.clear()
        ProgressiveFusion(model, rounds=rounds, into=["a", "c"]).eval()(inputs())
        once = dict.fromkeys(["embed a", "embed b", "embed c", "mix b"], 1)
        assert calls == {**once, "mix a": rounds, "mix c": rounds}


def test_what_lies_below_a_later_entry_runs_once() -> None:
    model = plain(fusion="concat")
    calls: Counter[int] = Counter()
    stage = model.encoders[0]._stage
    model.encoders[0]._stage = lambda i, tokens: calls.update([i]) or stage(i, tokens)  # type: ignore[assignment, operator]
    n_stages = len(model.encoders[0].stage_widths)  # type: ignore[arg-type]
    ProgressiveFusion(model, rounds=4, entry="later").eval()(inputs())
    assert n_stages > 1
    assert calls == {i: 1 if i < n_stages // 2 else 4 for i in range(n_stages)}


def test_truncated_gradients_are_those_of_a_detached_state() -> None:
    around = ProgressiveFusion(plain(fusion="concat"), rounds=4, gradient_rounds=2).eval()
    randomise(around)
    target, parameters = torch.tensor([0, 1, 2, 0, 1]), [*around.parameters()]
    found = torch.autograd.grad(around.loss(around(inputs()), target), parameters)
    under = below(around.model, inputs(), around.entries)
    state: Any = None
    for n in range(4):
        if n == 2:
            state = (state[0].detach(), None)
        output = around._round(under, state)
        state = around._state(output)
    wanted = torch.autograd.grad(around.loss(output, target), parameters)
    full = ProgressiveFusion(around.model, rounds=4).eval()
    full.load_state_dict(around.state_dict())
    different = torch.autograd.grad(full.loss(full(inputs()), target), [*full.parameters()])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(found, different, strict=True))


def test_rounds_without_gradient_have_no_loss_of_their_own() -> None:
    around = ProgressiveFusion(
        plain(fusion="concat", unimodal_loss_weight=0.0), rounds=3, gradient_rounds=2, supervise="all"
    )
    randomise(around.eval())
    target = torch.tensor([0, 1, 2, 0, 1])
    output = around(inputs())
    assert [o.requires_grad for o in output.rounds] == [False, True, True]
    losses = [around.head.loss(o, target) for o in output.rounds[1:]]
    torch.testing.assert_close(around.loss(output, target), sum(losses) / 2)


def test_a_learned_start_begins_at_zero_and_gives_round_one_feedback_once_trained() -> None:
    around = ProgressiveFusion(plain(fusion="concat"), rounds=2, start="learned").eval()
    assert around.start is not None
    assert torch.equal(around.start, torch.zeros(16))
    randomise(around)
    rounds = around(inputs()).rounds
    assert not torch.allclose(rounds[0], around.model(inputs()).outputs, atol=1e-3)


def test_supervising_all_rounds_averages_their_losses() -> None:
    last = ProgressiveFusion(plain(fusion="concat", unimodal_loss_weight=0.0), rounds=3).eval()
    randomise(last)
    target = torch.tensor([0, 1, 2, 0, 1])
    output = last(inputs())
    losses = [last.model.head.loss(o, target) for o in output.rounds]
    torch.testing.assert_close(last.loss(output, target), losses[-1])
    last.supervise = "all"
    torch.testing.assert_close(last.loss(output, target), sum(losses) / 3)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="rounds must be at least 1, or 'equilibrium'; got rounds=0"):
        ProgressiveFusion(plain(), rounds=0)
    with pytest.raises(ConfigError, match="must have a fused state"):
        ProgressiveFusion(plain(fusion="mean_logits"))
    with pytest.raises(KeyError, match="scale_shift"):
        ProgressiveFusion(plain(), feedback="scale_shif")
    with pytest.raises(KeyError, match="modality"):
        ProgressiveFusion(plain(), into=["aa"])
    with pytest.raises(KeyError, match="modality='aa'"):
        ProgressiveFusion(plain(), into="aa")
    with pytest.raises(ConfigError, match="supervise must be last or all; got supervise='some'"):
        ProgressiveFusion(plain(), supervise="some")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="start must be zero or learned; got start='one'"):
        ProgressiveFusion(plain(), start="one")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="gradient_rounds must be at least 1; got gradient_rounds=0"):
        ProgressiveFusion(plain(), gradient_rounds=0)
    with pytest.raises(ConfigError, match="entry must be one of input, early, later; got entry='top'"):
        ProgressiveFusion(plain(), entry="top")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="entry='later' must have an encoder's mix.*got level='raw'"):
        ProgressiveFusion(plain(fusion="concat", level="raw"), entry="later")


@pytest.mark.parametrize("decision", ["vote", "trusted"])
def test_a_hybrid_whose_outputs_have_no_loss_cannot_be_supervised_in_all_rounds(decision: str) -> None:
    model = plain(fusion="concat", level="hybrid", decision=decision)
    with pytest.raises(ConfigError, match="supervise='all' must go with a model that learns by the loss"):
        ProgressiveFusion(model, rounds=2, supervise="all")
    assert ProgressiveFusion(model, rounds=2).supervise == "last"


def test_what_the_operator_remembers_is_what_it_sees_in_the_last_round() -> None:
    model = plain(fusion="mogonet", operator_options={"mogonet": {"n_remembered": 20, "n_neighbours": 2}})
    around = ProgressiveFusion(model, rounds=3).eval()
    batch = inputs(20)
    memory: Any = model.fusion.memory
    with torch.no_grad():
        model.remember(batch)
        first = memory.values.clone()
        around.remember(batch)  # feedback that is not trained changes nothing
        torch.testing.assert_close(memory.values, first)
        randomise(around)
        seen: list[Tokens] = []
        handle = model.fusion.register_forward_pre_hook(lambda _, given: seen.append(given[0]["a"]))
        around(batch)
        handle.remove()
        around.remember(batch)
    kept = memory.features()[0]
    torch.testing.assert_close(kept[:20], seen[-1].mean())
    assert not torch.allclose(kept[:20], seen[0].mean())
