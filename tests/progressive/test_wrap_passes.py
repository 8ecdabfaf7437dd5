"""Passes through wrapped modules: what they leave behind, whose rows and axes they read, and what has no effect."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError, ProfuseWarning, ShapeError
from profuse.progressive import ProgressiveFusion, WrappedProgressive

N = 4


class Two(nn.Module):
    """A late fusion of two vectors; `stem` lies below the feedback."""

    def __init__(self, after: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(4, 5)
        self.fusion, self.head = nn.Linear(10, 7), nn.Linear(7, 2)
        self.after = after

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        z = torch.cat([self.a(self.stem(a)), self.b(b)], 1)
        outputs: Tensor = self.head(self.after(self.fusion(z)))
        return outputs


def two(module: nn.Module | None = None, **options: Any) -> tuple[nn.Module, WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    module = module or Two()
    inputs = (torch.randn(N, 3), torch.randn(N, 4))
    given = {"into": {"a": "a", "b": "b"}, "state": "fusion", "rounds": 3, "example": inputs, **options}
    wrapped = ProgressiveFusion.wrap(module, **given)
    for weight in wrapped.feedbacks.parameters():
        nn.init.normal_(weight, std=0.1)
    return module, wrapped, inputs


class TestMemory:
    @pytest.mark.parametrize("grad", [True, False])
    @pytest.mark.parametrize("rounds", [2, "equilibrium"])
    def test_a_call_leaves_no_tensor_behind(self, rounds: Any, grad: bool) -> None:
        _, wrapped, inputs = two(rounds=rounds, tolerance=1e-3)

        def step() -> None:
            with torch.set_grad_enabled(grad):
                outputs = wrapped(*inputs)
            if grad:
                outputs.sum().backward()
                wrapped.zero_grad()

        def n_tensors() -> int:
            return sum(issubclass(type(found), Tensor) for found in gc.get_objects())

        step()
        gc.collect()
        gc.disable()
        try:
            before = n_tensors()
            for _ in range(5):
                step()
            assert n_tensors() == before
        finally:
            gc.enable()

    def test_a_trial_run_leaves_nothing_behind(self) -> None:
        held: list[weakref.ref[Tensor]] = []

        def noted(x: Tensor) -> Tensor:
            held.append(weakref.ref(x))
            return x.tanh()

        gc.collect()
        gc.disable()
        try:
            two(Two(noted))
            assert len(held) == 2
            assert all(found() is None for found in held)
        finally:
            gc.enable()

    @pytest.mark.parametrize("gradient_rounds", [None, 1])
    def test_what_a_round_returned_is_gone_when_the_next_one_begins(self, gradient_rounds: int | None) -> None:
        held: list[list[weakref.ref[Any]]] = []
        alive: list[list[bool]] = []

        class Notes(Two):
            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                alive.append([any(ref() is not None for ref in refs) for refs in held])
                z = torch.cat([self.a(self.stem(a)), self.b(b)], 1)
                fused = self.fusion(z).tanh()
                outputs: Tensor = self.head(fused)
                # the graph of the head holds `fused`; that of the state, where gradients go through it, `z`
                held.append([weakref.ref(outputs), weakref.ref(fused)])
                held[-1] += [weakref.ref(z)] if gradient_rounds else []
                return outputs

        _, wrapped, inputs = two(Notes(), rounds=4, gradient_rounds=gradient_rounds)
        alive.clear()
        held.clear()
        outputs = wrapped(*inputs)
        assert outputs.requires_grad
        assert alive == [[], [False], [False] * 2, [False] * 3]

    @pytest.mark.parametrize("start", ["zero", "learned"])
    @pytest.mark.parametrize("gradient_rounds", [None, 1, 2, 9])
    def test_what_is_let_go_changes_no_gradient_of_the_last_round(self, gradient_rounds: Any, start: Any) -> None:
        _, wrapped, inputs = two(rounds=4, gradient_rounds=gradient_rounds, start=start, returns="all")
        parameters, gradients = list(wrapped.parameters()), []
        for returns in ("all", "last"):
            wrapped.returns = returns  # type: ignore[assignment]
            outputs = wrapped(*inputs)
            outputs = outputs[-1] if returns == "all" else outputs
            gradients.append(torch.autograd.grad(outputs.square().sum(), parameters, allow_unused=True))
        torch.testing.assert_close(*gradients, rtol=0, atol=0)


class TestTrial:
    def test_an_example_may_come_of_inference_mode_and_the_trial_be_in_it(self) -> None:
        options: dict[str, Any] = {"into": {"a": "a", "b": "b"}, "state": "fusion"}
        with torch.inference_mode():
            example = (torch.randn(N, 3), torch.randn(N, 4))
            inside = ProgressiveFusion.wrap(Two(), example=example, **options)
            assert inside(*example).shape == (N, 2)
        wrapped = ProgressiveFusion.wrap(Two(), example=example, **options)
        assert wrapped.reused == ("stem",)
        assert all(x.is_inference() for x in example)


class Recurrent(nn.Module):
    """A recurrent layer of which the last hidden state is used, not the outputs."""

    def __init__(self, cell: type[nn.Module]) -> None:
        super().__init__()
        self.series, self.b = cell(3, 5, batch_first=True), nn.Linear(4, 5)
        self.fusion, self.head = nn.Linear(10, 7), nn.Linear(7, 2)

    def forward(self, x: Tensor, b: Tensor) -> Tensor:
        h = self.series(x)[1]
        h = h[0] if isinstance(h, tuple) else h
        outputs: Tensor = self.head(self.fusion(torch.cat([h[-1], self.b(b)], 1)).tanh())
        return outputs


class Gated(Two):
    """Lets b in through a gate that is closed when training begins."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        z = torch.cat([self.a(self.stem(a)), self.gate.tanh() * self.b(b)], 1)
        outputs: Tensor = self.head(self.fusion(z).tanh())
        return outputs


class Beside(Two):
    """Returns what b gives beside the outputs, and does not fuse it."""

    def forward(self, a: Tensor, b: Tensor) -> Any:
        z, beside = self.a(self.stem(a)), self.b(b)
        return self.head(self.fusion(torch.cat([z, z], 1)).tanh()), beside


class Detached(Two):
    """Fuses b without its gradient."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        z = torch.cat([self.a(self.stem(a)), self.b(b).detach()], 1)
        outputs: Tensor = self.head(self.fusion(z).tanh())
        return outputs


class Drops(Two):
    """Computes b, and forgets it."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        z = self.a(self.stem(a))
        outputs: Tensor = self.head(self.after(self.fusion(torch.cat([z, torch.zeros_like(self.b(b))], 1))))
        return outputs


class TestEffect:
    @pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
    def test_feedback_into_what_a_recurrent_layer_gives_is_refused_where_it_is_not_used(self, cell: Any) -> None:
        inputs, options = (torch.randn(N, 6, 3), torch.randn(N, 4)), {"into": {"x": "series"}, "state": "fusion"}
        message = (
            "must change the state, or what the module returns; the output of 'series' for branch 'x' changes neith"
        )
        with pytest.raises(ConfigError, match=f"{message}.*the module may use h_n: use at='input'"):
            ProgressiveFusion.wrap(Recurrent(cell), at="output", example=inputs, **options)  # type: ignore[arg-type]
        ProgressiveFusion.wrap(Recurrent(cell), example=inputs, **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize("reuse", [True, False])
    def test_each_entry_is_looked_at_by_itself(self, reuse: bool) -> None:
        message = "the input of 'b' for branch 'b' changes neither. Name a layer whose output the module uses"
        with pytest.raises(ConfigError, match=message):
            two(Drops(), into={"a": "a", "b": "b"}, reuse=reuse)
        two(Drops(), into={"a": "a"}, reuse=reuse)

    def test_a_module_that_draws_random_numbers_is_looked_at_too(self) -> None:
        with pytest.raises(ConfigError, match="the input of 'b' for branch 'b' changes neither"):
            two(Drops(lambda x: x + torch.randn_like(x)))

    def test_what_is_zero_at_first_or_reaches_the_outputs_alone_is_fine(self) -> None:
        for module in (Gated(), Beside()):
            with torch.no_grad():
                assert len(two(module)[1].entries) == 2

    def test_a_layer_that_is_called_twice_is_changed_otherwise_each_time(self) -> None:
        class Compares(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.reads, self.fusion = nn.Linear(3, 5), nn.Linear(5, 6)

            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                larger = self.reads(a) > self.reads(b)
                fused: Tensor = self.fusion(larger.float())
                return fused

        inputs = (torch.randn(N, 3), torch.randn(N, 3))
        with pytest.warns(ProfuseWarning, match="must have a gradient"):
            ProgressiveFusion.wrap(Compares(), into={"both": "reads"}, at="output", state="fusion", example=inputs)

    def test_a_branch_that_gives_no_gradient_is_told(self) -> None:
        message = "feedback must have a gradient to learn; got the input of 'b' for branch 'b', which changes"
        with pytest.warns(ProfuseWarning, match=message):
            two(Detached())


class Series(nn.Module):
    """Fused by a recurrent layer."""

    def __init__(self, cell: type[nn.Module], batch_first: bool, n_layers: int = 1) -> None:
        super().__init__()
        self.a, self.fusion = nn.Linear(3, 8), cell(8, 6, num_layers=n_layers, batch_first=batch_first)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fusion(self.a(x))[1]
        outputs: Tensor = self.head((h[0] if isinstance(h, tuple) else h)[-1])
        return outputs


def hidden(output: Any) -> Tensor:
    return output[1][0]  # type: ignore[no-any-return]


class Video(nn.Module):
    """Frames folded into the batch; `fuses` makes the state of them."""

    def __init__(self, fuses: Callable[[Tensor, int], Tensor] = lambda z, n: z.view(n, 3, 5).mean(1)) -> None:
        super().__init__()
        self.frame, self.fusion, self.head = nn.Linear(3, 5), nn.Linear(5, 6), nn.Linear(6, 2)
        self.fuses = fuses

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.fusion(self.fuses(self.frame(x.flatten(0, 1)), len(x))))
        return outputs


class TestAxes:
    @pytest.mark.parametrize("example", [True, False])
    @pytest.mark.parametrize("batch_first", [True, False])
    @pytest.mark.parametrize(
        ("cell", "state_of", "read"),
        [
            (nn.GRU, 1, lambda out, _: out[1].mean(0)),
            (nn.RNN, 1, lambda out, _: out[1].mean(0)),
            (nn.LSTM, hidden, lambda out, _: out[1][0].mean(0)),
            (nn.GRU, None, lambda out, time: out[0].mean(time)),
        ],
    )
    def test_the_batch_of_a_hidden_state_is_on_its_second_axis(
        self, cell: Any, state_of: Any, read: Any, batch_first: bool, example: bool
    ) -> None:
        torch.manual_seed(0)
        module = Series(cell, batch_first, n_layers=2)
        x = torch.randn(N, 7, 3) if batch_first else torch.randn(7, N, 3)
        wrapped = ProgressiveFusion.wrap(
            module,
            into={"x": "a"},
            batch_axis=int(not batch_first),
            state="fusion",
            state_of=state_of,
            feedback="add",
            example=x if example else None,
        )
        (weight,) = wrapped.feedbacks.parameters()
        nn.init.normal_(weight)
        back = read(module.fusion(module.a(x)), int(batch_first)) @ weight.T
        torch.testing.assert_close(wrapped(x), module(x + back[:, None] if batch_first else x + back))

    def test_feedback_into_a_hidden_state_enters_by_row(self) -> None:
        class Bridge(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.reads, self.bridge = nn.GRU(3, 5, num_layers=2, batch_first=True), nn.Tanh()
                self.writes, self.fusion = nn.GRU(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 6)

            def forward(self, x: Tensor) -> Tensor:
                fused: Tensor = self.fusion(self.writes(x, self.bridge(self.reads(x)[1]))[0][:, -1])
                return fused

        wrapped = ProgressiveFusion.wrap(
            Bridge(), into={"x": "bridge"}, state="fusion", example=torch.randn(N, 7, 3), feedback="add"
        )
        nn.init.normal_(next(iter(wrapped.feedbacks.values())).linear.weight)  # type: ignore[arg-type, union-attr]
        x = torch.randn(3, 7, 3)
        torch.testing.assert_close(wrapped(x)[1:2], wrapped(x[1:2]))

    def test_rows_that_do_not_fit_are_told_with_what_may_be_meant(self) -> None:
        options: dict[str, Any] = {"into": {"x": "frame"}, "state": "fusion"}
        told = (
            "got 12 rows, and a state of shape=(4, 6) from 'fusion'. Give batch_axis={'x': ...}; or state_of, a "
            "function that returns the state as [batch, channel]; or folded=['x'] if they are the batch times "
            "something."
        )
        with pytest.raises(ShapeError, match=re.escape(told)):
            ProgressiveFusion.wrap(Video(), example=torch.randn(4, 3, 3), **options)
        for fuses, rows in ((lambda z, n: z[:5], 5), (lambda z, n: torch.cat([z, z]), 24)):
            with pytest.raises(ShapeError, match=rf"got 12 rows, and a state of shape=\({rows}, 6\)") as raised:
                ProgressiveFusion.wrap(Video(fuses), example=torch.randn(4, 3, 3), **options)
            assert "folded" not in str(raised.value)
            assert "batch_axis={'x': ...}; or state_of, a function" in str(raised.value)

    @pytest.mark.parametrize("n", [1, 2, 4])
    def test_folded_is_refused_where_the_rows_of_the_state_are_not_the_batch(self, n: int) -> None:
        def layers_first(z: Tensor, _: int) -> Tensor:  # [layer, batch, channel], by an operation that tells no axes
            return torch.stack([z] * n)

        options: dict[str, Any] = {"into": {"x": "frame"}, "state": "fusion", "folded": ["x"]}
        message = "with folded, a row of the state must be one of the batch" if n > 1 else "with folded, .* got one row"
        with pytest.raises(ShapeError, match=f"{message}.*state_of, a function that returns the state as"):
            ProgressiveFusion.wrap(Video(layers_first), example=torch.randn(4, 3, 3), **options)

    @pytest.mark.parametrize("n", [4, 1, 0])
    def test_folded_goes_with_a_batch_of_any_size(self, n: int) -> None:
        torch.manual_seed(0)
        module = Video()
        for example in (torch.randn(2, 3, 3), torch.randn(1, 3, 3), None):
            wrapped = ProgressiveFusion.wrap(
                module, into={"x": "frame"}, state="fusion", folded=["x"], feedback="add", example=example
            )
            nn.init.normal_(next(iter(wrapped.feedbacks.values())).linear.weight)  # type: ignore[arg-type, union-attr]
            x = torch.randn(n, 3, 3)
            state = module.fusion(module.frame(x).mean(1))
            back = state @ next(iter(wrapped.feedbacks.values())).linear.weight.T  # type: ignore[operator, union-attr]
            torch.testing.assert_close(wrapped(x), module(x + back[:, None]))


class TestThreads:
    def outputs(self, model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        with torch.no_grad():
            return [model(*inputs) for inputs in data]

    @pytest.mark.parametrize("rounds", [3, "equilibrium"])
    @pytest.mark.parametrize("hooked", [True, False])
    @pytest.mark.parametrize("plain", [True, False])
    def test_models_that_share_layers_give_what_each_gives_alone(self, rounds: Any, hooked: bool, plain: bool) -> None:
        module, wrapped, _ = two(Two(), rounds=rounds, tolerance=1e-3)
        module.register_buffer("unused", torch.zeros(3))
        wrapped.eval()
        if hooked:
            module.a.register_forward_hook(lambda _, __, out: out * 2)  # type: ignore[union-attr]
            module.fusion.register_forward_pre_hook(lambda _, args: (args[0] + 1,))  # type: ignore[union-attr]
        models = [wrapped, module if plain else wrapped]
        data = [(torch.randn(N + i % 3, 3), torch.randn(N + i % 3, 4)) for i in range(80)]
        expected = [self.outputs(model, data) for model in models]
        before = [dict(vars(layer)) for layer in module.modules()]
        found: list[Any] = [None, None]

        def work(index: int) -> None:
            try:
                found[index] = self.outputs(models[index], data)
            except Exception as error:
                found[index] = error

        threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one, other in zip(found, expected, strict=True):
            assert not isinstance(one, Exception), one
            assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
        after = [dict(vars(layer)) for layer in module.modules()]
        assert all(x.keys() == y.keys() and all(x[k] is y[k] for k in x) for x, y in zip(before, after, strict=True))

    def test_a_module_may_call_its_layers_in_threads_of_its_own(self) -> None:
        class Works(Two):
            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                results: list[Tensor] = []
                thread = threading.Thread(target=lambda: results.append(self.stem(a)))
                thread.start()
                thread.join(20)
                z = torch.cat([self.a(results[0]), self.b(b)], 1)
                outputs: Tensor = self.head(self.fusion(z).tanh())
                return outputs

        found = []
        for module in (Two(), Works()):
            module.load_state_dict(two()[0].state_dict())
            found.append(two(module)[1])
        for weights in zip(*(wrapped.parameters() for wrapped in found), strict=True):
            weights[1].data.copy_(weights[0])
        inputs = two()[2]
        assert torch.equal(found[0](*inputs), found[1](*inputs))


class InPlace(nn.Module):
    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(4, 5)
        self.fuse, self.head = nn.Sequential(nn.Linear(10, 7), nn.ReLU(inplace=inplace)), nn.Linear(7, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.fuse(torch.cat([self.a(a), self.b(b)], 1)))
        return outputs


class TestChangedInPlace:
    @pytest.mark.parametrize("rounds", [2, "equilibrium"])
    def test_a_state_that_is_changed_after_it_was_made_is_refused(self, rounds: Any) -> None:
        message = "the state must stay as its layer gave it; what 'fuse.0' gave was changed in place.*set inplace=False"
        with pytest.raises(ConfigError, match=message):
            two(InPlace(True), state="fuse.0", rounds=rounds)
        _, wrapped, inputs = two(InPlace(True), state="fuse.0", rounds=rounds, example=None, reuse=False)
        for grad in (True, False):
            with torch.set_grad_enabled(grad), pytest.raises(ConfigError, match=message):
                wrapped(*inputs)

    def test_the_layer_that_changes_it_may_be_the_state(self) -> None:
        outputs = []
        for inplace in (True, False):
            torch.manual_seed(0)
            _, wrapped, inputs = two(InPlace(inplace), state="fuse.1")
            outputs.append(wrapped)
        outputs[1].load_state_dict(outputs[0].state_dict())
        assert torch.equal(outputs[0](*inputs), outputs[1](*inputs))
