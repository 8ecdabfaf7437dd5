"""Progressive Fusion around any module: nothing at zero feedback, the written loop otherwise, no trace left."""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from profuse.errors import ConfigError, ShapeError
from profuse.progressive import FEEDBACKS, ProgressiveFusion, WrappedProgressive
from profuse.progressive.wrap._entry import Entry
from profuse.progressive.wrap._state import State

N_ROWS = 4


class Two(nn.Module):
    """A late fusion of two vectors as anybody would write it."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, 5))
        self.b = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
        self.fusion = nn.Linear(10, 7)
        self.head = nn.Linear(7, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        joint: Tensor = self.head(self.fusion(torch.cat([self.a(a), self.b(b)], 1)).tanh())
        return joint


class Late(nn.Module):
    """`branch` beside a vector; how the branch is called is up to a function."""

    def __init__(self, branch: nn.Module, width: int, call: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.branch = branch
        self.other = nn.Linear(3, 4)
        self.fusion = nn.Linear(width + 4, 6)
        self.head = nn.Linear(6, 2)
        self.call = call

    def forward(self, x: Any, other: Tensor) -> Tensor:
        joint = torch.cat([self.call(self.branch, x), self.other(other)], 1)
        outputs: Tensor = self.head(self.fusion(joint).relu())
        return outputs


def random_streams() -> tuple[int, object]:
    """Where the global streams of NumPy and of Python stand."""
    return np.random.get_state(legacy=False)["state"]["pos"], random.getstate()  # noqa: NPY002


class Frames(nn.Module):
    """Pictures of a video, folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        each = self.cnn(x.flatten(0, 1)).mean((2, 3))
        means: Tensor = each.unflatten(0, x.shape[:2]).mean(1)
        return means


class Stepwise(nn.Module):
    """A recurrent cell, called once a step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return h


def transformer(batch_first: bool = True) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first)


LENGTHS = (6, 5, 3, 3)
PADDED = torch.arange(6) >= torch.tensor(LENGTHS)[:, None]


def steps(*shape: int) -> Tensor:
    return torch.randn(*shape)


# name -> branch, its width, how it is called, an input, and options of wrap beside `into`
KINDS: dict[str, Callable[[], tuple[nn.Module, int, Callable[[Any, Any], Tensor], Any, str, dict[str, Any]]]] = {
    "vector": lambda: (nn.Sequential(nn.Linear(5, 6), nn.ReLU()), 6, lambda f, x: f(x), steps(4, 5), "0", {}),
    "conv1d": lambda: (
        nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.Conv1d(5, 5, 3)),
        5,
        lambda f, x: f(x).mean(2),
        steps(4, 3, 9),
        "2",
        {},
    ),
    "conv2d": lambda: (
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 5, 3)),
        5,
        lambda f, x: f(x).mean((2, 3)),
        steps(4, 3, 9, 9),
        "2",
        {"channel_axis": {"x": 1}},
    ),
    "conv2d, channels last": lambda: (
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()),
        5,
        lambda f, x: f(x).mean((2, 3)),
        steps(4, 3, 9, 9).to(memory_format=torch.channels_last),
        "0",
        {},
    ),
    "gru": lambda: (nn.GRU(3, 5), 5, lambda f, x: f(x)[0][-1], steps(7, 4, 3), "", {}),
    "lstm, batch first": lambda: (
        nn.LSTM(3, 5, batch_first=True),
        5,
        lambda f, x: f(x)[1][0][-1],
        steps(4, 7, 3),
        "",
        {},
    ),
    "lstm, its output": lambda: (
        nn.LSTM(3, 5, batch_first=True),
        5,
        lambda f, x: f(x)[0][:, -1],
        steps(4, 7, 3),
        "",
        {"at": "output"},
    ),
    "gru, packed": lambda: (
        nn.GRU(3, 5),
        5,
        lambda f, x: f(pack_sequence([row[:n] for row, n in zip(x, (3, 7, 2, 5), strict=True)], False))[1][-1],
        steps(4, 7, 3),
        "",
        {},
    ),
    "cell": lambda: (Stepwise(), 5, lambda f, x: f(x), steps(4, 5, 3), "cell", {}),
    "transformer": lambda: (transformer(), 8, lambda f, x: f(x).mean(1), steps(4, 6, 8), "layers.1", {}),
    "transformer, time first": lambda: (
        transformer(False),
        8,
        lambda f, x: f(x).mean(0),
        steps(6, 4, 8),
        "layers.0",
        {},
    ),
    "transformer, padded": lambda: (
        transformer(),
        8,
        lambda f, x: f(x, src_key_padding_mask=PADDED).masked_fill(PADDED[..., None], 0).sum(1),
        steps(4, 6, 8),
        "layers.0",
        {},
    ),
    "words": lambda: (
        nn.Sequential(nn.Embedding(11, 5), nn.LayerNorm(5)),
        5,
        lambda f, x: f(x).mean(1),
        torch.randint(0, 11, (4, 6)),
        "0",
        {"at": "output"},
    ),
    "frames": lambda: (Frames(), 5, lambda f, x: f(x), steps(4, 3, 3, 7, 7), "cnn", {"folded": ["x"]}),
}


def kind(name: str, **options: Any) -> tuple[Late, WrappedProgressive, tuple[Any, Tensor]]:
    torch.manual_seed(0)
    branch, width, call, x, layer, extra = KINDS[name]()
    module = Late(branch, width, call)
    inputs = (x, torch.randn(N_ROWS, 3))
    into = {"x": f"branch.{layer}".rstrip("."), "other": "other"}
    return module, ProgressiveFusion.wrap(module, into=into, state="fusion", example=inputs, **extra, **options), inputs


def two(dropout: float = 0.0, seed: int = 0, **options: Any) -> tuple[Two, WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    module = Two(dropout)
    inputs = (torch.randn(N_ROWS, 3), torch.randn(N_ROWS, 4))
    options = {"into": {"a": "a.0", "b": "b.0"}, "state": "fusion", "rounds": 3, "example": inputs, **options}
    return module, ProgressiveFusion.wrap(module, **options), inputs


def randomise(wrapped: WrappedProgressive, scale: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in wrapped.feedbacks.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


@pytest.fixture(autouse=True)
def _quiet_torch() -> None:
    """A stack of Transformer layers warns that nested tensors are a prototype; that is not ours."""
    import warnings

    warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors", category=UserWarning)


class TestZeroFeedback:
    @pytest.mark.parametrize("grad", [True, False])
    @pytest.mark.parametrize("name", KINDS)
    def test_it_equals_the_module_bit_for_bit_in_every_round(self, name: str, grad: bool) -> None:
        module, wrapped, inputs = kind(name, rounds=3)
        wrapped.eval()
        with torch.set_grad_enabled(grad):
            expected = module(*inputs)
            assert all(torch.equal(found, expected) for found in wrapped.all_rounds(*inputs))
            assert torch.equal(wrapped(*inputs), expected)

    @pytest.mark.parametrize("feedback", FEEDBACKS)
    def test_whatever_the_form_of_feedback_and_not_with_weights(self, feedback: str) -> None:
        for name in ("conv2d", "gru", "transformer"):
            module, wrapped, inputs = kind(name, feedback=feedback)
            wrapped.eval()
            assert torch.equal(wrapped(*inputs), module(*inputs))
            randomise(wrapped)
            assert not torch.allclose(wrapped(*inputs), module(*inputs))

    def test_round_one_draws_from_the_random_stream_as_the_module_does(self) -> None:
        module, wrapped, inputs = two(dropout=0.5)
        torch.manual_seed(3)
        expected, after = module(*inputs), torch.get_rng_state()
        torch.manual_seed(3)
        assert torch.equal(wrapped.all_rounds(*inputs)[0], expected)
        torch.manual_seed(3)
        wrapped.rounds = 1
        assert torch.equal(wrapped(*inputs), expected)
        assert torch.equal(torch.get_rng_state(), after)

    def test_tensors_keep_their_strides(self) -> None:
        # else a layer might take another kernel, and differ in the last bits on another machine
        for shape, order, layout in (
            ((4, 2, 5, 3, 3), (0, 1, 2, 3, 4), (0, 2)),  # channels between frames and pixels
            ((4, 5, 3, 6), (0, 1, 2, 3), (0, 1)),
            ((4, 5, 3, 6), (0, 2, 3, 1), (0, 1)),
            ((6, 4, 5), (0, 1, 2), (1, -1)),
        ):
            x = torch.randn([shape[i] for i in order]).permute([order.index(i) for i in range(len(shape))])
            entry = Entry("x", "layer", "input", layout, n_channels=5)
            changed = entry.change(FEEDBACKS["scale_shift"](5, 7), x, State(torch.randn(4, 7)), "fusion")
            assert torch.equal(changed, x)
            assert changed.stride() == x.stride()

    def test_in_bfloat16(self) -> None:
        for name in ("vector", "conv2d", "gru", "transformer"):
            torch.manual_seed(0)
            branch, width, call, x, layer, extra = KINDS[name]()
            module = Late(branch, width, call).to(torch.bfloat16).eval()
            inputs = (x.to(torch.bfloat16), torch.randn(4, 3, dtype=torch.bfloat16))
            into = {"x": f"branch.{layer}".rstrip(".")}
            wrapped = ProgressiveFusion.wrap(module, into=into, state="fusion", example=inputs, **extra)
            assert {p.dtype for p in wrapped.parameters()} == {torch.bfloat16}
            assert torch.equal(wrapped(*inputs), module(*inputs))
            randomise(wrapped)
            changed = wrapped(*inputs)
            assert changed.dtype == torch.bfloat16
            assert not torch.equal(changed, module(*inputs))

    def test_under_autocast(self) -> None:
        module, wrapped, inputs = two()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(wrapped(*inputs), module(*inputs))
            randomise(wrapped)
            assert wrapped(*inputs).dtype == torch.bfloat16


class TestLoop:
    """With feedback it is the loop that anybody would write into the module."""

    def written(self, module: Two, wrapped: WrappedProgressive, a: Tensor, b: Tensor, rounds: int) -> list[Tensor]:
        def scale_shift(feedback: Any, x: Tensor, state: Tensor) -> Tensor:
            both: tuple[Tensor, Tensor] = (state @ feedback.linear.weight.T).split(x.shape[1], 1)
            scale, shift = both
            return x * (1 + scale) + shift

        state, outputs = torch.zeros(N_ROWS, 7), []
        for _ in range(rounds):
            z_a = module.a(scale_shift(next(iter(wrapped.feedbacks.values())), a, state))
            z_b = module.b(scale_shift([*wrapped.feedbacks.values()][1], b, state))
            state = module.fusion(torch.cat([z_a, z_b], 1))
            outputs.append(module.head(state.tanh()))
        return outputs

    def test_outputs_and_gradients_are_those_of_the_written_loop(self) -> None:
        module, wrapped, inputs = two()
        randomise(wrapped)
        expected = self.written(module, wrapped, *inputs, rounds=3)
        expected[-1].square().sum().backward()
        gradients = {name: p.grad for name, p in wrapped.named_parameters()}
        wrapped.zero_grad()
        found = wrapped.all_rounds(*inputs)
        torch.testing.assert_close(found, tuple(expected))
        found[-1].square().sum().backward()
        for name, parameter in wrapped.named_parameters():
            torch.testing.assert_close(parameter.grad, gradients[name])
            assert parameter.grad.abs().sum() > 0  # type: ignore[union-attr]

    def test_pictures_and_series_get_one_map_a_channel(self) -> None:
        for name, axis in (("conv2d", 1), ("conv1d", 1), ("gru", 2), ("transformer", 2)):
            module, wrapped, inputs = kind(name, rounds=2)
            randomise(wrapped)
            wrapped.eval()
            state: list[Tensor] = []
            handle = module.fusion.register_forward_hook(lambda _, __, out, state=state: state.append(out))
            module(*inputs)
            handle.remove()
            layer = module.get_submodule(wrapped.entries[0].layer)

            def feed(_: nn.Module, args: Any, which: int, axis: int, wrapped: Any = wrapped, state: Any = state) -> Any:
                x = args[0]
                maps = state[0] @ [*wrapped.feedbacks.values()][which].linear.weight.T
                rows_first = x.ndim != 3 or not isinstance(_, nn.GRU)
                shape = [1] * x.ndim
                shape[0 if rows_first else 1], shape[axis] = N_ROWS, -1
                scale, shift = (part.reshape(shape) for part in maps.chunk(2, 1))
                return (x * (1 + scale) + shift, *args[1:])

            handles = [
                layer.register_forward_pre_hook(lambda m, args, feed=feed, axis=axis: feed(m, args, 0, axis)),
                module.other.register_forward_pre_hook(lambda m, args, feed=feed: feed(m, args, 1, 1)),
            ]
            expected = module(*inputs)
            for handle in handles:
                handle.remove()
            torch.testing.assert_close(wrapped(*inputs), expected)

    def test_each_frame_of_a_row_gets_the_state_of_that_row(self) -> None:
        module, wrapped, (x, other) = kind("frames", feedback="add")
        randomise(wrapped)
        states: list[Tensor] = []
        module.fusion.register_forward_hook(lambda _, __, out: states.append(out))
        found = wrapped(x, other)
        into_frames, into_other = (states[0] @ f.linear.weight.T for f in wrapped.feedbacks.values())  # type: ignore[union-attr, operator]
        torch.testing.assert_close(found, module(x + into_frames[:, None, :, None, None], other + into_other))

    def test_one_round_is_the_module_and_rounds_may_change(self) -> None:
        module, wrapped, inputs = two(rounds=1)
        randomise(wrapped)
        assert torch.equal(wrapped(*inputs), module(*inputs))
        wrapped.rounds = 4
        assert len(wrapped.all_rounds(*inputs)) == 4
        assert not torch.allclose(wrapped(*inputs), module(*inputs))

    def test_a_learned_start_enters_round_one(self) -> None:
        module, wrapped, inputs = two(rounds=1, start="learned")
        assert torch.equal(wrapped(*inputs), module(*inputs))
        randomise(wrapped)
        assert torch.equal(wrapped(*inputs), module(*inputs))
        wrapped(*inputs).sum().backward()
        assert wrapped.start is not None
        assert wrapped.start.grad.abs().sum() > 0  # type: ignore[union-attr]
        torch.nn.init.normal_(wrapped.start)
        assert not torch.allclose(wrapped(*inputs), module(*inputs))

    def test_the_gradient_goes_through_the_last_rounds_only_if_so_asked(self) -> None:
        # for the sum over rounds of paths: with one round, the gradient is that at a constant state
        _, wrapped, inputs = two(rounds=2, gradient_rounds=1)
        randomise(wrapped)
        wrapped(*inputs).sum().backward()
        found = {name: p.grad for name, p in wrapped.named_parameters()}
        wrapped.zero_grad(set_to_none=True)
        wrapped.gradient_rounds = None
        wrapped(*inputs).sum().backward()
        whole = {name: p.grad for name, p in wrapped.named_parameters()}
        assert not torch.allclose(found["module.a.3.weight"], whole["module.a.3.weight"])  # type: ignore[arg-type]
        # W of a branch is met first in round two, so both agree there
        name = "feedbacks.a:input:a/0:ScaleShiftFeedback.linear.weight"
        torch.testing.assert_close(found[name], whole[name])


@dataclass
class Result:
    joint: Tensor
    note: str = ""


class Gives(nn.Module):
    """A fusion whose output takes the form that is asked for."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.linear = nn.Linear(10, 6)
        self.conv = nn.Conv2d(10, 6, 1)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        y = self.linear(x)
        grid = self.conv(x[:, :, None, None].expand(-1, -1, 2, 3))
        return {
            "tensor": y,
            "tokens": self.linear(torch.stack([x, 2 * x], 1)),
            "picture": grid,
            "tuple": (y, 2 * y),
            "list": [y],
            "dict": {"joint": y, "ids": torch.ones(4, dtype=torch.long)},
            "two": {"joint": y, "other": grid},
            "object": Result(y),
        }[self.form]


class Asks(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(4, 5)
        self.fusion = Gives(form)

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.fusion(torch.cat([self.a(a), self.b(b)], 1))


def last(output: Any) -> Tensor:
    return output[-1]  # type: ignore[no-any-return]


class TestState:
    @pytest.mark.parametrize(
        ("form", "state_of", "expected"),
        [
            ("tensor", None, lambda y: y),
            ("tokens", None, lambda y: y.mean(1)),
            ("picture", None, lambda y: y.mean((2, 3))),
            ("tuple", None, lambda y: y[0]),
            ("tuple", 1, lambda y: y[1]),
            ("tuple", last, lambda y: y[1]),
            ("list", None, lambda y: y[0]),
            ("dict", None, lambda y: y["joint"]),
            ("two", "other", lambda y: y["other"].mean((2, 3))),
            ("object", None, lambda y: y.joint),
            ("object", "joint", lambda y: y.joint),
        ],
    )
    def test_it_is_one_vector_a_row_of_what_the_layer_gives(self, form: str, state_of: Any, expected: Any) -> None:
        torch.manual_seed(0)
        module = Asks(form)
        inputs = (torch.randn(N_ROWS, 3), torch.randn(N_ROWS, 4))
        axis = 1 if form in ("picture", "two") else None
        wrapped = ProgressiveFusion.wrap(
            module,
            into={"a": "a"},
            state="fusion",
            example=inputs,
            state_of=state_of,
            state_axis=axis,
            feedback="add",
        )
        assert wrapped.state_width == 6
        randomise(wrapped)
        state = expected(module(*inputs))
        feedback: Any = next(iter(wrapped.feedbacks.values()))
        wanted = module(inputs[0] + state @ feedback.linear.weight.T, inputs[1])
        torch.testing.assert_close(expected(wrapped(*inputs)), expected(wanted))

    def test_the_axes_of_a_recurrent_state_are_those_of_its_layer(self) -> None:
        class Fuses(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.fusion = nn.Linear(3, 5), nn.GRU(5, 6)

            def forward(self, x: Tensor) -> Tensor:
                return self.fusion(self.inner(x))[0][-1]  # type: ignore[no-any-return]

        torch.manual_seed(0)
        module, x = Fuses(), torch.randn(7, 4, 3)
        wrapped = ProgressiveFusion.wrap(
            module, into={"x": "inner"}, state="fusion", example=x, feedback="add", batch_axis=1
        )
        randomise(wrapped)
        feedback: Any = next(iter(wrapped.feedbacks.values()))
        state = module.fusion(module.inner(x))[0].mean(0)
        torch.testing.assert_close(wrapped(x), module(x + state @ feedback.linear.weight.T))


class Takes(nn.Module):
    """Takes its inputs in a dict (and empties it), a list, or by keyword."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.two, self.form = Two(), form

    def forward(self, batch: Any = None, *, a: Any = None, b: Any = None) -> dict[str, Tensor]:
        if self.form == "dict":
            a, b = batch.pop("a"), batch.pop("b")
        elif self.form == "list":
            a, b = batch
        return {"logits": self.two(a, b)}


class TestInputs:
    @pytest.mark.parametrize("form", ["dict", "list", "keyword"])
    def test_it_is_called_as_the_module_is_and_returns_what_it_returns(self, form: str) -> None:
        torch.manual_seed(0)
        module, a, b = Takes(form), torch.randn(N_ROWS, 3), torch.randn(N_ROWS, 4)
        args: tuple[Any, ...] = {"dict": ({"a": a, "b": b},), "list": ([a, b],), "keyword": ()}[form]
        kwargs = {"a": a, "b": b} if form == "keyword" else {}
        wrapped = ProgressiveFusion.wrap(
            module, into={"a": "two.a.0"}, state="two.fusion", example=args, example_kwargs=kwargs, rounds=3
        )
        randomise(wrapped)
        found = wrapped(*args, **kwargs)["logits"]
        _, positional, _ = two(into={"a": "a.0"})
        positional.module.load_state_dict(module.two.state_dict())
        for own, its in zip(positional.feedbacks.parameters(), wrapped.feedbacks.parameters(), strict=True):
            own.data.copy_(its)
        torch.testing.assert_close(found, positional(a, b))

    @pytest.mark.parametrize("form", ["tensor", "packed"])
    def test_a_module_may_change_its_inputs_in_place(self, form: str) -> None:
        class Changes(Two):
            def forward(self, a: Any, b: Tensor) -> Tensor:
                x = a.data if form == "packed" else a
                x -= 1.0
                return super().forward(x, b)

        class Copies(Two):
            def forward(self, a: Any, b: Tensor) -> Tensor:
                return super().forward((a.data if form == "packed" else a) - 1.0, b)

        a, b = torch.randn(4, 3), torch.randn(4, 4)
        given: Any = pack_sequence([a[i : i + 1] for i in range(4)]) if form == "packed" else a
        changes, copies = (
            ProgressiveFusion.wrap(module, into={"b": "b.0"}, state="fusion", example=(given, b), rounds=3)
            for module in (Changes(), Copies())
        )
        randomise(changes)
        copies.load_state_dict(changes.state_dict())
        before = a.clone()
        assert torch.equal(changes(given, b), copies(given, b))
        assert torch.equal(given.data, before)

    def test_axes_that_nothing_tells_are_given(self) -> None:
        class Plain(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x * 2

        class Odd(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.plain, self.fusion = Plain(), nn.Linear(3, 6)

            def forward(self, x: Tensor) -> Tensor:  # [channel, time, batch]
                return self.fusion(self.plain(x).mean(1).T)  # type: ignore[no-any-return]

        torch.manual_seed(0)
        module, x = Odd(), torch.randn(3, 7, 4)
        options: dict[str, Any] = {"into": {"x": "plain"}, "state": "fusion", "example": x, "feedback": "add"}
        with pytest.raises(ShapeError, match="must have as many rows as the state; got 3 rows"):
            ProgressiveFusion.wrap(module, **options)
        wrapped = ProgressiveFusion.wrap(module, batch_axis=-1, channel_axis={"x": 0}, **options)
        randomise(wrapped)
        feedback: Any = next(iter(wrapped.feedbacks.values()))
        torch.testing.assert_close(wrapped(x), module(x + (module(x) @ feedback.linear.weight.T).T[:, None]))

    def test_a_shared_layer_receives_feedback_at_each_call(self) -> None:
        class Shared(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.enc, self.fusion = nn.Linear(3, 5), nn.Linear(10, 6)

            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                return self.fusion(torch.cat([self.enc(a), self.enc(b)], 1))  # type: ignore[no-any-return]

        torch.manual_seed(0)
        module, a, b = Shared(), torch.randn(4, 3), torch.randn(4, 3)
        wrapped = ProgressiveFusion.wrap(module, into={"both": "enc"}, state="fusion", feedback="add", example=(a, b))
        randomise(wrapped)
        feedback: Any = next(iter(wrapped.feedbacks.values()))
        shift = module(a, b) @ feedback.linear.weight.T
        torch.testing.assert_close(wrapped(a, b), module(a + shift, b + shift))

    def test_parts_of_a_transformer_layer_receive_it_though_torch_would_bypass_them(self) -> None:
        torch.manual_seed(0)
        module = Late(transformer(), 8, lambda f, x: f(x).mean(1)).eval()
        inputs = (torch.randn(4, 6, 8), torch.randn(4, 3))
        with torch.no_grad():
            wrapped = ProgressiveFusion.wrap(
                module, into={"x": "branch.layers.0.linear1"}, state="fusion", example=inputs
            ).eval()
            torch.testing.assert_close(wrapped(*inputs), module(*inputs))
            randomise(wrapped)
            assert not torch.allclose(wrapped(*inputs), module(*inputs), atol=1e-3)


def attributes(module: nn.Module) -> dict[str, dict[str, Any]]:
    return {name: dict(vars(layer)) for name, layer in module.named_modules()}


class TestNoTrace:
    def same(self, before: dict[str, dict[str, Any]], module: nn.Module) -> bool:
        after = attributes(module)
        return before.keys() == after.keys() and all(
            before[name].keys() == after[name].keys() and all(before[name][k] is after[name][k] for k in before[name])
            for name in before
        )

    def test_the_module_is_as_it_was(self) -> None:
        module = Two()
        before = attributes(module)
        inputs = (torch.randn(4, 3), torch.randn(4, 4))
        wrapped = ProgressiveFusion.wrap(
            module, into={"a": "a.0", "b": "b.0"}, state="fusion", example=inputs, rounds=3
        )
        randomise(wrapped)
        wrapped(*inputs)
        assert self.same(before, module)
        assert wrapped.module is module

    def test_also_when_it_fails_within(self) -> None:
        module, wrapped, (a, b) = two()
        wrapped(a, b)
        before = attributes(module)
        with pytest.raises(RuntimeError):
            wrapped(a, b[:, :2])
        assert self.same(before, module)

    def test_the_trial_on_the_example_moves_no_buffer_and_no_random_stream(self) -> None:
        class Remembers(Two):
            n: Tensor
            mean: Tensor

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("n", torch.zeros(()))
                self.register_buffer("mean", torch.zeros(7))
                self.fusion.register_forward_hook(self.count)

            def count(self, _: nn.Module, __: Any, out: Tensor) -> Tensor:
                self.n += 1  # in place, and in evaluation mode too
                self.mean = 0.5 * self.mean + 0.5 * out.detach().mean(0)  # in its place
                return out + float(np.random.rand()) + random.random()  # noqa: NPY002

        module = Remembers()
        inputs = (torch.randn(4, 3), torch.randn(4, 4))
        buffers, streams = list(module.buffers()), random_streams()
        wrapped = ProgressiveFusion.wrap(module, into={"a": "a.0"}, state="fusion", rounds=3, example=inputs)
        assert all(x is y for x, y in zip(buffers, module.buffers(), strict=True))
        assert module.n == 0
        assert torch.equal(module.mean, torch.zeros(7))
        assert random_streams() == streams
        wrapped(*inputs)
        assert module.n == 3

    def test_the_trial_is_in_evaluation_mode_and_with_gradients_whatever_is_on(self) -> None:
        class Notes(Two):
            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                modes.append((self.training, self.a[2].training, torch.is_grad_enabled()))
                return super().forward(a, b)

        modes: list[tuple[bool, bool, bool]] = []
        module = Notes()
        module.b.eval()
        with torch.no_grad():
            ProgressiveFusion.wrap(
                module, into={"a": "a.0"}, state="fusion", example=(torch.randn(4, 3), torch.randn(4, 4))
            )
        assert modes == [(False, False, True)] * 2
        assert module.training
        assert module.a.training
        assert not module.b.training

    def test_its_own_hooks_run_around_the_layers(self) -> None:
        module, wrapped, inputs = two(rounds=2, feedback="add")
        calls: list[str] = []

        def double(_: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            calls.append("pre")
            return (args[0] * 2,)

        def triple(_: nn.Module, __: tuple[Tensor], out: Tensor) -> Tensor:
            calls.append("post")
            return out * 3

        module.a[0].register_forward_pre_hook(double)
        module.fusion.register_forward_hook(triple)
        randomise(wrapped)
        found = wrapped(*inputs)
        assert calls == ["pre", "post"] * 2
        a, b = inputs
        first = module.fusion.forward(torch.cat([module.a[3](module.a[:3](a)), module.b(b)], 1))  # before its hook
        back = [first @ f.linear.weight.T for f in wrapped.feedbacks.values()]  # type: ignore[union-attr, operator]
        torch.testing.assert_close(found, module(a + back[0] / 2, b + back[1]))  # the pre-hook doubles what it gets

    def test_it_is_saved_and_loaded(self) -> None:
        _, wrapped, inputs = two()
        randomise(wrapped)
        expected = wrapped(*inputs)
        assert {"feedbacks.b:input:b/0:ScaleShiftFeedback.linear.weight", "module.a.0.weight"} <= set(
            wrapped.state_dict()
        )
        file = io.BytesIO()
        torch.save(wrapped.state_dict(), file)
        file.seek(0)
        _, other, _ = two(seed=9)
        assert not torch.allclose(other(*inputs), expected)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(*inputs), expected)

    @pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_copies_are_equal_and_independent(self, way: Callable[[Any], Any]) -> None:
        _, wrapped, inputs = two()
        randomise(wrapped)
        expected = wrapped(*inputs)
        other = way(wrapped)
        assert torch.equal(other(*inputs), expected)
        nn.init.zeros_(next(iter(other.feedbacks.values())).linear.weight)
        assert torch.equal(wrapped(*inputs), expected)
        assert not torch.equal(other(*inputs), expected)

    def test_a_wrapped_module_may_be_part_of_another(self) -> None:
        class Outer(nn.Module):
            def __init__(self, inner: nn.Module) -> None:
                super().__init__()
                self.inner, self.c, self.fusion = inner, nn.Linear(5, 2), nn.Linear(4, 3)

            def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
                return self.fusion(torch.cat([self.inner(a, b), self.c(c)], 1))  # type: ignore[no-any-return]

        _, inner, inputs = two(rounds=2)
        randomise(inner)
        module, c = Outer(inner), torch.randn(N_ROWS, 5)
        into = {"a": "inner.module.a.0", "c": "c"}
        wrapped = ProgressiveFusion.wrap(module, into=into, state="fusion", example=(*inputs, c), rounds=2)
        assert torch.equal(wrapped(*inputs, c), module(*inputs, c))
        randomise(wrapped)
        assert not torch.allclose(wrapped(*inputs, c), module(*inputs, c))
        with pytest.raises(ConfigError, match=r"must be called once in a pass; 'inner.module.fusion' is called"):
            ProgressiveFusion.wrap(module, into=into, state="inner.module.fusion", example=(*inputs, c))


class Unused(Two):
    def __init__(self) -> None:
        super().__init__()
        self.a_spare = nn.Linear(3, 5)


class TestRefused:
    A, B = torch.zeros(4, 3), torch.zeros(4, 4)

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"into": {"a": "a.0", "b": "a.0"}}, ConfigError, "must enter a place once; got the input of 'a.0' for"),
            ({"into": {"a": "head"}}, ConfigError, "the input of 'head' is called after 'fusion'"),
            ({"into": {"a": "a_spare"}}, ConfigError, "must be called in a pass; got ['a_spare']"),
            ({"state": "a_spare"}, ConfigError, "must be called in a pass; got ['a_spare']"),
            ({"state_of": "joint"}, ConfigError, "state_of must be in the output of 'fusion'; got state_of='joint'"),
            ({"channel_axis": {"a": 0}}, ShapeError, "got shape=(4, 3), the batch on axis 0, channels on axis 0"),
        ],
    )
    def test_what_cannot_be_is_refused(self, options: dict[str, Any], error: type[Exception], message: str) -> None:
        import re

        given = {"into": {"a": "a.0"}, "state": "fusion", "example": (self.A, self.B), **options}
        with pytest.raises(error, match=re.escape(message)):
            ProgressiveFusion.wrap(Unused(), **given)

    def test_words_have_no_numbers_to_change(self) -> None:
        module = Late(nn.Embedding(11, 5), 5, lambda f, x: f(x).mean(1))
        example = (torch.zeros(4, 6, dtype=torch.long), torch.zeros(4, 3))
        with pytest.raises(ConfigError, match="the input of 'branch' has none. Name a later layer, or use at='output'"):
            ProgressiveFusion.wrap(module, into={"x": "branch"}, state="fusion", example=example)

    def test_rows_that_do_not_fit_name_layers_and_shapes(self) -> None:
        module = Late(Frames(), 5, lambda f, x: f(x))
        example = (torch.randn(4, 3, 3, 7, 7), torch.randn(4, 3))
        with pytest.raises(
            ShapeError,
            match=r"got 12 rows in a tensor of shape \(12, 3, 7, 7\), .* shape=\(4, 6\) from 'fusion'. Give batch_",
        ):
            ProgressiveFusion.wrap(module, into={"x": "branch.cnn"}, state="fusion", example=example)

    def test_channels_that_change_name_layers_and_shapes(self) -> None:
        module = Late(nn.AdaptiveAvgPool1d(1), 3, lambda f, x: f(x)[:, :3, 0])
        other = torch.randn(4, 3)
        wrapped = ProgressiveFusion.wrap(
            module, into={"x": "branch"}, state="fusion", example=(torch.randn(4, 5, 6), other)
        )
        with pytest.raises(ShapeError, match=r"must have 5 channels, as feedback was made for; got 6 in a tensor of"):
            wrapped(torch.randn(4, 6, 6), other)

    def test_several_tensors_that_could_be_the_state(self) -> None:
        with pytest.raises(ConfigError, match=r"'fusion' gives dict\(joint: a tensor of shape \(4, 6\)"):
            ProgressiveFusion.wrap(Asks("two"), into={"a": "a"}, state="fusion", example=(self.A, self.B))
