"""Weights of feedback in wrapped modules: where they load, of which dtype they are, and that all of them learn."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse.progressive import FEEDBACKS, ProgressiveFusion, WrappedProgressive
from profuse.progressive.wrap._entry import Entry
from profuse.progressive.wrap._state import State
from profuse.tokens import Tokens

N = 4


class Two(nn.Module):
    """Two vectors of one width, fused late; with `casts` it casts by itself."""

    def __init__(self, casts: bool = False) -> None:
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5)) for _ in range(2))
        self.fusion, self.head = nn.Linear(10, 5), nn.Linear(5, 2)
        self.casts = casts

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.casts or torch.is_autocast_enabled("cpu")):
            fused = self.fusion(torch.cat([self.a(a), self.b(b)], 1))
            outputs: Tensor = self.head(fused.tanh())
        return outputs


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(N, 5, dtype=dtype), torch.randn(N, 5, dtype=dtype)


def two(module: nn.Module | None = None, *, random: bool = True, **options: Any) -> WrappedProgressive:
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "into": {"a": "a.2", "b": "b.2"},
        "state": "fusion",
        "rounds": 3,
        "example": inputs(),
        **options,
    }
    wrapped = ProgressiveFusion.wrap(Two() if module is None else module, **given)
    for weight in wrapped.feedbacks.parameters():
        if random:
            nn.init.normal_(weight, std=0.1)
    return wrapped


class TestWhereTheyLoad:
    def test_each_goes_to_its_layer_whatever_the_order_of_into(self) -> None:
        into = {"a": ["a.0", "a.2"], "b": "b.2"}
        wrapped = two(into=into)
        file = io.BytesIO()
        torch.save(wrapped.state_dict(), file)
        file.seek(0)
        other = two(into={"b": "b.2", "a": ["a.2", "a.0"]})
        other.load_state_dict(torch.load(file, weights_only=True))
        torch.testing.assert_close(other(*inputs()), wrapped(*inputs()))
        assert other.entries[0] == wrapped.entries[2]

    @pytest.mark.parametrize(
        ("options", "missing"),
        [
            ({"feedback": "gate"}, "feedbacks.a:input:a/2:GateFeedback.linear.weight"),
            ({"at": "output"}, "feedbacks.a:output:a/2:AddFeedback.linear.weight"),
            ({"into": {"a": "b.2", "b": "a.2"}}, "feedbacks.a:input:b/2:AddFeedback.linear.weight"),
            ({"into": {"a": "a.0", "b": "b.2"}}, "feedbacks.a:input:a/0:AddFeedback.linear.weight"),
            ({"into": {"x": "a.2", "b": "b.2"}}, "feedbacks.x:input:a/2:AddFeedback.linear.weight"),
        ],
    )
    def test_those_of_another_branch_layer_place_or_form_are_refused(self, options: Any, missing: str) -> None:
        state = two(feedback="add").state_dict()
        with pytest.raises(RuntimeError, match=re.escape(f'Missing key(s) in state_dict: "{missing}"')):
            two(**{"feedback": "add", **options}).load_state_dict(state)

    def test_they_are_exported(self) -> None:
        wrapped = two(example=inputs())
        program = torch.export.export(wrapped, inputs())
        torch.testing.assert_close(program.module()(*inputs()), wrapped(*inputs()))
        assert set(program.state_dict) == set(wrapped.state_dict())


class TestOfWhichDtype:
    @pytest.mark.parametrize("how", ["within", "around"])
    @pytest.mark.parametrize("feedback", ["scale_shift", "attend"])
    def test_autocast_does_not_make_them_less_exact(self, feedback: str, how: str) -> None:
        def casts() -> torch.autocast:
            return torch.autocast("cpu", torch.bfloat16, enabled=how == "around")

        module = Two(casts=how == "within")
        with casts():
            wrapped = two(module, example=inputs(), feedback=feedback, start="learned", random=False)
            assert {p.dtype for p in wrapped.parameters()} == {torch.float32}
            found = wrapped(*inputs())
            assert found.dtype == torch.bfloat16
            assert torch.equal(found, module(*inputs()))
        for weight in wrapped.feedbacks.parameters():
            nn.init.normal_(weight, std=0.3)
        with casts():
            assert not torch.allclose(wrapped(*inputs()), found)

    @pytest.mark.parametrize("feedback", ["scale_shift", "attend"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_they_are_as_those_of_the_module(self, dtype: torch.dtype, feedback: str) -> None:
        wrapped = two(Two().to(dtype), example=inputs(dtype), feedback=feedback, start="learned")
        assert {p.dtype for p in wrapped.parameters()} == {dtype}
        assert wrapped(*inputs(dtype)).dtype == dtype

    @pytest.mark.parametrize("feedback", ["scale_shift", "attend"])
    def test_numbers_that_the_module_takes_are_not_made_less_exact(self, feedback: str) -> None:
        class Casts(Two):
            def __init__(self) -> None:
                super().__init__()
                self.cast = nn.Identity()

            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                return super().forward(self.cast(a).bfloat16(), b.bfloat16())

        module = Casts().bfloat16()
        wrapped = two(module, into={"a": "cast", "b": "b.2"}, example=inputs(), feedback=feedback, random=False)
        assert [next(f.parameters()).dtype for f in wrapped.feedbacks.values()] == [torch.float32, torch.bfloat16]
        assert torch.equal(wrapped(*inputs()), module(*inputs()))


def test_the_state_comes_to_the_device_of_the_branch() -> None:
    # torch's device without numbers stands for another one
    state = State(torch.randn(N, 7), Tokens(torch.randn(N, 3, 7), torch.ones(N, 3, dtype=torch.bool)))
    x = torch.empty(N, 6, 5, device="meta")
    for form in FEEDBACKS.values():
        entry = Entry("x", "layer", "input", (0, -1), n_channels=5)
        assert entry.change(form(5, 7).to("meta"), x, state, "fusion").device.type == "meta"


class TestThatTheyLearn:
    @pytest.mark.parametrize("returns", ["last", "all"])
    @pytest.mark.parametrize("options", [{"gradient_rounds": 1}, {"rounds": "equilibrium", "tolerance": 0.02}])
    def test_all_of_them_under_autocast(self, options: Any, returns: Any) -> None:
        wrapped = two(example=inputs(), returns=returns, **options)
        with torch.autocast("cpu", torch.bfloat16):
            found = wrapped(*inputs())
        sum(outputs.float().square().sum() for outputs in (found if returns == "all" else [found])).backward()
        for name, weight in wrapped.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name


class TestWhatACallReturns:
    @pytest.mark.parametrize("start", ["zero", "learned"])
    @pytest.mark.parametrize("rounds", [1, 3])
    def test_what_every_round_returns(self, rounds: int, start: Any) -> None:
        wrapped = two(rounds=rounds, start=start, returns="all")
        found = wrapped(*inputs())
        assert isinstance(found, tuple)
        assert len(found) == rounds
        wrapped.returns = "last"
        for n, outputs in enumerate(found, 1):
            wrapped.rounds = n
            assert torch.equal(wrapped(*inputs()), outputs)
        assert all(map(torch.equal, wrapped.all_rounds(*inputs()), found))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, that it does not trace what is ours
class TestCompiled:
    @pytest.mark.parametrize("rounds", [3, "equilibrium"])
    def test_layers_of_the_module_stay_compiled(self, rounds: Any) -> None:
        class Own(nn.Linear):  # torch compiles no forward of its own layers
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x)

        expected = two(example=inputs(), rounds=rounds)(*inputs())
        graphs: list[Any] = []

        def seen(graph: Any, _: Any) -> Any:
            graphs.append(graph)
            return graph.forward

        module = Two()
        module.head = Own(5, 2)
        module.head.compile(backend=seen)
        wrapped = two(module, example=inputs(), rounds=rounds)
        wrapped.load_state_dict(two(example=inputs()).state_dict())
        torch.testing.assert_close(wrapped(*inputs()), expected)
        n = len(graphs)
        assert n
        wrapped(*inputs())
        assert len(graphs) == n

    @pytest.mark.slow
    @pytest.mark.parametrize("inside", [True, False])
    def test_as_a_whole_it_gives_the_same(self, inside: bool) -> None:
        expected = two(example=inputs())
        module = torch.compile(Two(), backend="eager") if inside else Two()
        wrapped = two(module, example=inputs())  # type: ignore[arg-type]
        for own, its in zip(wrapped.parameters(), expected.parameters(), strict=True):
            own.data.copy_(its)
        model = wrapped if inside else torch.compile(wrapped, backend="eager")
        torch.testing.assert_close(model(*inputs()), expected(*inputs()))
