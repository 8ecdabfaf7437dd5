"""Branches that run on the present rows only, or are left out of a pass: each row is what it is alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from branches_run_in_part import MODULES, N, given
from torch import Tensor, nn

from profuse.progressive import FEEDBACKS, ProgressiveFusion, WrappedProgressive

ROUNDS = (1, 2, 4, "equilibrium")


def some(name: str, share: float = 0.5) -> Tensor:
    """Who has what, at random, and in the first row everybody's."""
    there = torch.rand(N, len(MODULES[name].branches)) < share
    there[0] = True
    return there


def wrapped(name: str, scale: float = 0.2, **options: Any) -> WrappedProgressive:
    torch.manual_seed(0)
    case = MODULES[name]
    options = {"rounds": 4, "tolerance": 1e-6, **case.options, **options}
    model = ProgressiveFusion.wrap(case.module(), example=given(name, some(name)), **options).eval()
    for parameter in [*model.feedbacks.parameters(), *([] if model.start is None else [model.start])]:
        nn.init.normal_(parameter, std=scale)
    return model


def results(model: WrappedProgressive, inputs: tuple[Tensor, ...]) -> Tensor:
    """What the module returns in each round, and its last state, a row for each of the batch."""
    states: list[Tensor] = []
    hook = model.module.get_submodule(model.state_layer).register_forward_hook(lambda *call: states.append(call[2]))
    try:
        outputs = [x["logits"] if isinstance(x, dict) else x for x in model.all_rounds(*inputs)]
    finally:
        hook.remove()
    return torch.cat([*outputs, states[-1].flatten(1)], 1)


def alone(model: WrappedProgressive, inputs: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([results(model, tuple(x[row : row + 1] for x in inputs)) for row in range(len(inputs[0]))])


@pytest.mark.slow
@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("name", MODULES)
def test_a_row_is_what_it_is_alone_whoever_else_is_there(name: str, rounds: Any) -> None:
    model = wrapped(name, scale=0.1, rounds=rounds)
    for share in (0.0, 0.3, 0.6, 1.0):
        torch.manual_seed(int(10 * share))
        there = torch.rand(N, len(MODULES[name].branches)) < share
        inputs = given(name, there)
        together = results(model, inputs)
        torch.testing.assert_close(together, alone(model, inputs), atol=2e-5, rtol=1e-5)
        # and in another order
        order = torch.randperm(N)
        torch.testing.assert_close(results(model, tuple(x[order] for x in inputs)), together[order], atol=2e-5, rtol=0)


@pytest.mark.parametrize(("feedback", "start"), [*((name, "zero") for name in FEEDBACKS), ("add", "learned")])
@pytest.mark.parametrize("name", MODULES)
def test_so_with_every_form_of_feedback_and_a_learned_start(name: str, feedback: str, start: Any) -> None:
    model = wrapped(name, feedback=feedback, start=start, rounds=3)
    inputs = given(name, some(name))
    torch.testing.assert_close(results(model, inputs), alone(model, inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_what_a_row_lacks_does_not_matter_and_what_it_has_does(name: str) -> None:
    model = wrapped(name)
    there = some(name)
    torch.manual_seed(1)
    inputs = given(name, there)
    before = results(model, inputs)
    for parameter in model.feedbacks.parameters():
        nn.init.normal_(parameter)
    changed = (results(model, inputs) - before).abs().amax(1)
    # rows of "three late" that have nothing have a state that no feedback reaches
    has_some = there.any(1) if name == "three late" else torch.ones(N).bool()
    assert ((changed > 1e-4) == has_some).all()


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("name", MODULES)
def test_with_zero_feedback_it_is_the_module_bit_for_bit(name: str, rounds: Any) -> None:
    model = wrapped(name, scale=0, rounds=rounds)
    for share in (0.0, 0.5, 1.0):
        inputs = given(name, torch.rand(N, len(MODULES[name].branches)) < share)
        assert torch.equal(output_of(model, inputs), output_of(model.module, inputs))


def taken_by(layer: Any) -> list[Tensor]:
    """What the layer computes with; hooks on it see what it is called with, before feedback."""
    met, own = [], layer.forward

    def forward(x: Tensor) -> Any:
        met.append(x)
        return own(x)

    layer.forward = forward
    return met


def output_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    found = model(*inputs)
    output: Tensor = found["logits"] if isinstance(found, dict) else found
    return output


def gradients(model: WrappedProgressive, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Of the feedback maps, by branch; zero where there is none."""
    model.zero_grad()
    output_of(model, inputs).square().sum().backward()
    feedbacks: Any = model.feedbacks
    weights = {key.split(":")[0]: feedback.linear.weight for key, feedback in feedbacks.items()}
    return {b: torch.zeros_like(w) if w.grad is None else w.grad.clone() for b, w in weights.items()}


@pytest.mark.parametrize("rounds", [2, "equilibrium"])
@pytest.mark.parametrize("name", MODULES)
def test_the_gradient_of_a_branch_comes_from_its_present_rows_alone(name: str, rounds: Any) -> None:
    model = wrapped(name, scale=0.1, rounds=rounds)

    there = some(name)
    inputs = given(name, there)
    whole = gradients(model, inputs)
    for index, branch in enumerate(MODULES[name].branches):
        present = there[:, index]
        own = gradients(model, tuple(x[present] for x in inputs))[branch]
        torch.testing.assert_close(whole[branch], own, atol=1e-4, rtol=1e-3)
        assert own.abs().max() > 1e-4
        lacks = gradients(model, tuple(x[~present] for x in inputs))[branch]
        assert not lacks.any()


@pytest.mark.parametrize("name", MODULES)
def test_the_converged_gradient_is_that_of_many_rounds(name: str) -> None:
    model = wrapped(name, scale=0.05, rounds="equilibrium").double()
    inputs = tuple(x.double() if x.is_floating_point() else x for x in given(name, some(name)))
    found = gradients(model, inputs)
    model.rounds = 40
    torch.testing.assert_close(found, gradients(model, inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rounds", [3, "equilibrium"])
@pytest.mark.parametrize("name", MODULES)
def test_a_batch_that_has_nothing_and_one_row_that_has_nothing(name: str, rounds: Any) -> None:
    model = wrapped(name, scale=0.1, rounds=rounds).train()
    for n in (N, 1):
        inputs = given(name, torch.zeros(n, len(MODULES[name].branches)).bool())
        grads = gradients(model, inputs)
        assert not any(grads[branch].any() for branch in MODULES[name].branches)
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert results(model.eval(), inputs).isfinite().all()


@pytest.mark.parametrize("rounds", [3, "equilibrium"])
@pytest.mark.parametrize("name", MODULES)
def test_it_learns_in_batches_of_any_presence(name: str, rounds: Any) -> None:
    model = wrapped(name, scale=0, rounds=rounds).train()
    optimizer = torch.optim.SGD(model.feedbacks.parameters(), lr=0.1)
    for share in (0.0, 0.5, 0.2, 1.0):
        optimizer.zero_grad()
        gradients(model, given(name, torch.rand(N, len(MODULES[name].branches)) < share))
        optimizer.step()
    assert all(f.linear.weight.any() for f in model.feedbacks.values())  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("name", MODULES)
def test_copies_and_loaded_weights_give_the_same(name: str) -> None:
    model, other = wrapped(name), wrapped(name, scale=0)
    inputs = given(name, some(name))
    expected = results(model, inputs)
    assert not torch.equal(results(other, inputs), expected)
    other.load_state_dict(model.state_dict())
    assert torch.equal(results(other, inputs), expected)
    assert torch.equal(results(copy.deepcopy(model), inputs), expected)


@pytest.mark.parametrize("name", MODULES)
def test_anytime_predicts_what_every_round_does(name: str) -> None:
    model = wrapped(name, rounds=3)
    for share in (0.0, 0.5):
        inputs = given(name, torch.rand(N, len(MODULES[name].branches)) < share)
        torch.testing.assert_close(model.anytime(*inputs).predictions[-1], output_of(model, inputs))


@pytest.mark.parametrize("rounds", [4, "equilibrium"])
def test_parts_of_reuse_within_such_a_branch_run_once_or_not_at_all(rounds: Any) -> None:
    layers = {"reuse": ["image.0", "image.1"]}
    model, plain = (wrapped("three late", scale=0.1, rounds=rounds, **more) for more in (layers, {}))
    calls = taken_by(model.module.image[0])  # type: ignore[index]
    for share, n_calls in ((0.5, 1), (0.0, 0)):
        inputs = given("three late", torch.rand(N, 3) < share)
        calls.clear()
        found = model(*inputs)
        assert len(calls) == n_calls
        assert torch.equal(found, plain(*inputs))


def test_a_bool_stands_for_all_rows_as_where_an_argument_is_none() -> None:
    model = wrapped("where", present={"b": lambda a, b=None, there=None: there if b is not None else False})
    a, b, there = given("where", some("where"))
    none = torch.zeros(N).bool()
    assert torch.equal(model(a)["logits"], model(a, b, none)["logits"])
    assert torch.equal(model(a, b)["logits"], model(a, b, ~none)["logits"])
    assert torch.equal(model(a, b, there)["logits"], wrapped("where")(a, b, there)["logits"])


class Padded(nn.Module):
    """Padded steps of the rows that have any."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.step, self.fusion = nn.Linear(3, 5), nn.Linear(4, 5), nn.Linear(10, 7)

    def forward(self, a: Tensor, x: Tensor, real: Tensor) -> Tensor:
        there = real.any(1)
        z = a.new_zeros(len(a), 5)
        steps = self.step(x[there])
        z[there] = steps.sum(1)  # padding is zero, and stays so: mask says where feedback must not enter
        fused: Tensor = self.fusion(torch.cat([self.a(a), z], 1))
        return fused


@pytest.mark.parametrize("mask", ["real", lambda a, x, real: real[real.any(1)]])
def test_a_mask_may_have_the_rows_of_the_batch_or_those_present(mask: Any) -> None:
    torch.manual_seed(0)
    real = torch.arange(6) < torch.tensor([3, 0, 6, 1, 0, 2])[:, None]
    inputs = torch.randn(6, 3), torch.randn(6, 6, 4) * real[..., None], real
    options: dict[str, Any] = {"present": {"x": lambda a, x, real: real.any(1)}, "mask": {"x": mask}, "rounds": 3}
    model = ProgressiveFusion.wrap(Padded(), into={"x": "step"}, state="fusion", example=inputs, **options)
    nn.init.normal_(next(model.feedbacks.parameters()))
    met = taken_by(model.module.step)
    model(*inputs)
    shown = real[real.any(1)]
    assert not met[-1][~shown].any()
    assert (met[-1] - met[0]).abs().amax(2)[shown].min() > 1e-3


def test_where_a_branch_runs_on_all_rows_feedback_enters_those_present_alone() -> None:
    model = wrapped("where", rounds=2)
    a, b, there = given("where", some("where"))
    met = taken_by(model.module.b)
    model(a, b, there)
    assert ((met[-1] != b).any(1) == there).all()


def test_where_it_runs_on_all_rows_it_survives_export_with_any_batch() -> None:
    class Always(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.fusion, self.head = nn.Linear(3, 5), nn.Linear(4, 5), nn.Linear(10, 7), nn.Linear(7, 2)

        def forward(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
            z = torch.where(there[:, None], self.b(b), 0)
            outputs: Tensor = self.head(self.fusion(torch.cat([self.a(a), z], 1)).tanh())
            return outputs

    torch.manual_seed(0)
    inputs = given("where", some("where"))
    options: dict[str, Any] = {"into": {"a": "a", "b": "b"}, "state": "fusion", "present": {"b": "there"}, "rounds": 3}
    model = ProgressiveFusion.wrap(Always(), example=inputs, **options).eval()
    for parameter in model.feedbacks.parameters():
        nn.init.normal_(parameter)
    rows = torch.export.Dim("rows", min=2, max=64)
    with torch.no_grad():
        program = torch.export.export(model, inputs, dynamic_shapes=({0: rows}, {0: rows}, {0: rows}))
        more = given("where", torch.rand(3 * N, 1) < 0.5)
        torch.testing.assert_close(program.module()(*more), model(*more), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rounds", [3, "equilibrium"])
def test_a_batch_norm_sees_the_present_rows_once_a_call_in_equilibrium_and_once_a_round_else(rounds: Any) -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.norm = nn.Linear(3, 5), nn.Linear(4, 5), nn.BatchNorm1d(5)
            self.fusion, self.head = nn.Linear(10, 7), nn.Linear(7, 2)

        def forward(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
            z = a.new_zeros(len(a), 5)
            if there.any():
                z[there] = self.norm(self.b(b[there]))
            outputs: Tensor = self.head(self.fusion(torch.cat([self.a(a), z], 1)).tanh())
            return outputs

    torch.manual_seed(0)
    example = given("where", some("where"))
    options: dict[str, Any] = {"into": {"a": "a", "b": "b"}, "state": "fusion", "present": {"b": "there"}}
    model = ProgressiveFusion.wrap(Normed(), example=example, rounds=rounds, **options).train()
    nn.init.normal_(model.feedbacks["b:input:b:ScaleShiftFeedback"].linear.weight, std=0.05)  # type: ignore[union-attr, arg-type]
    counted: Any = model.module.norm
    for there, n_calls in ((example[2], 1), (example[2] & False, 0)):
        before = int(counted.num_batches_tracked)
        gradients(model, (*example[:2], there))
        assert int(counted.num_batches_tracked) - before == n_calls * (1 if rounds == "equilibrium" else 3)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", MODULES)
def test_without_gradients_it_is_the_same(name: str, context: Any) -> None:
    model = wrapped(name)
    inputs = given(name, some(name))
    expected = output_of(model, inputs)
    with context():
        torch.testing.assert_close(output_of(model, inputs), expected)


def test_in_half_precision() -> None:
    model = wrapped("frames", scale=0.1)
    inputs = given("frames", some("frames"))
    expected = output_of(model, inputs)
    halved = tuple(x.bfloat16() if x.is_floating_point() else x for x in inputs)
    torch.testing.assert_close(model.bfloat16()(*halved).float(), expected, atol=0.05, rtol=0.05)
