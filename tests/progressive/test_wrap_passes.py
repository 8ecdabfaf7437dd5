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
from torch.utils.checkpoint import checkpoint

from profuse.errors import ConfigError, ShapeError
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
    @pytest.mark.slow
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
    @pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
    def test_feedback_into_what_a_recurrent_layer_gives_is_refused_where_it_is_not_used(self, cell: Any) -> None:
        inputs, options = (torch.randn(N, 6, 3), torch.randn(N, 4)), {"into": {"x": "series"}, "state": "fusion"}
        message = "to the output of 'series' for branch 'x' none comes back.*it may use h_n: at='input'"
        with pytest.raises(ConfigError, match=message):
            ProgressiveFusion.wrap(Recurrent(cell), at="output", example=inputs, **options)  # type: ignore[arg-type]
        ProgressiveFusion.wrap(Recurrent(cell), example=inputs, **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize("module", [Drops(), Detached(), Drops(lambda x: x + torch.randn_like(x))])
    def test_each_entry_must_have_a_gradient_of_its_own(self, module: nn.Module) -> None:
        message = "to the input of 'b' for branch 'b' none comes back. The module does not use it"
        with pytest.raises(ConfigError, match=message):
            two(module)
        two(module, into={"a": "a"})

    def test_what_is_zero_at_first_or_reaches_the_outputs_alone_is_fine(self) -> None:
        for module in (Gated(), Beside()):
            with torch.no_grad():
                assert len(two(module)[1].entries) == 2


def checkpointed(reentrant: bool, around: str, only_in_training: bool) -> nn.Module:
    """Saves memory around the branch where feedback enters, around the stem below it, or around the fusion."""

    class Saves(Two):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            def kept(name: str, layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
                saves = name == around and (self.training or not only_in_training)
                return checkpoint(layer, x, use_reentrant=reentrant) if saves else layer(x)

            z = kept("a", self.a, kept("stem", self.stem, a))
            fused = kept("fusion", self.fusion, torch.cat([z, self.b(b)], 1))
            outputs: Tensor = self.head(fused.tanh())
            return outputs

    return Saves()


class TestCheckpoints:
    @pytest.mark.parametrize("around", ["a", "fusion"])
    @pytest.mark.parametrize("reentrant", [True, False])
    @pytest.mark.parametrize("only_in_training", [True, False])
    def test_one_around_an_entry_or_the_state_is_refused(
        self, reentrant: bool, around: str, only_in_training: bool
    ) -> None:
        module = checkpointed(reentrant, around, only_in_training)
        with pytest.raises(ConfigError, match="gradient"):  # noqa: PT012
            _, wrapped, (a, b) = two(module)
            wrapped(a.requires_grad_(), b)

    @pytest.mark.parametrize("reentrant", [True, False])
    def test_one_elsewhere_or_around_the_whole_gives_the_same_gradients(self, reentrant: bool) -> None:
        _, wrapped, inputs = two(Two())
        _, saves, _ = two(checkpointed(reentrant, "stem", False))
        saves.load_state_dict(wrapped.state_dict())
        expected = gradients(wrapped, inputs)
        torch.testing.assert_close(gradients(saves, inputs), expected)
        wrapped.zero_grad()
        checkpoint(wrapped, *inputs, use_reentrant=False).square().sum().backward()
        torch.testing.assert_close([p.grad for p in wrapped.parameters()], expected)

    def test_one_around_a_part_that_is_reused_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="no gradient checkpoint may be around the part 'stem' of reuse"):
            two(checkpointed(False, "stem", False), reuse=["stem"])

    def test_gradients_may_be_off_where_no_feedback_is_trained(self) -> None:
        class Thrifty(Two):
            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                with torch.set_grad_enabled(not self.training):
                    return super().forward(a, b)

        _, wrapped, inputs = two(Thrifty())
        with pytest.raises(ConfigError, match="gradients must be on at the input of 'a', else feedback does not learn"):
            wrapped(*inputs)
        wrapped.feedbacks.requires_grad_(False)
        assert wrapped(*inputs).isfinite().all()


def gradients(wrapped: WrappedProgressive, inputs: tuple[Tensor, Tensor]) -> list[Tensor | None]:
    wrapped.zero_grad()
    a, b = inputs
    wrapped(a.clone().requires_grad_(), b).square().sum().backward()
    return [p.grad for p in wrapped.parameters()]


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
    @pytest.mark.parametrize("batch_first", [True, False])
    @pytest.mark.parametrize(
        ("cell", "state_of", "read"),
        [
            (nn.GRU, 1, lambda out, _: out[1].mean(0)),
            (nn.LSTM, hidden, lambda out, _: out[1][0].mean(0)),
            (nn.GRU, None, lambda out, time: out[0].mean(time)),
        ],
    )
    def test_the_batch_of_a_hidden_state_is_on_its_second_axis(
        self, cell: Any, state_of: Any, read: Any, batch_first: bool
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
            example=x,
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
            Bridge(), into={"x": "bridge"}, batch_axis=1, state="fusion", example=torch.randn(N, 7, 3), feedback="add"
        )
        nn.init.normal_(next(iter(wrapped.feedbacks.values())).linear.weight)  # type: ignore[arg-type, union-attr]
        x = torch.randn(3, 7, 3)
        torch.testing.assert_close(wrapped(x)[1:2], wrapped(x[1:2]))

    def test_rows_that_do_not_fit_are_refused_with_what_may_be_meant(self) -> None:
        options: dict[str, Any] = {"into": {"x": "frame"}, "state": "fusion"}
        message = (
            "got 12 rows in a tensor of shape (12, 3), torch.float32, and a state of shape=(4, 6) from 'fusion'. Give "
            "batch_axis={'x': ...}; or state_of, a function that returns the state as [batch, channel]; or "
            "folded=['x'] if rows are the batch times something."
        )
        with pytest.raises(ShapeError, match=re.escape(message)):
            ProgressiveFusion.wrap(Video(), example=torch.randn(4, 3, 3), **options)
        for fuses, rows in ((lambda z, n: z[:5], 5), (lambda z, n: torch.cat([z, z]), 24)):
            with pytest.raises(ShapeError, match=rf"got 12 rows in .*, and a state of shape=\({rows}, 6\)") as raised:
                ProgressiveFusion.wrap(Video(fuses), example=torch.randn(4, 3, 3), **options)
            assert "folded" not in str(raised.value)
            assert "batch_axis={'x': ...}; or state_of, a function" in str(raised.value)

    @pytest.mark.parametrize("n", [4, 1, 0])
    def test_folded_goes_with_a_batch_of_any_size(self, n: int) -> None:
        torch.manual_seed(0)
        module = Video()
        for example in (torch.randn(2, 3, 3), torch.randn(1, 3, 3)):
            wrapped = ProgressiveFusion.wrap(
                module, into={"x": "frame"}, state="fusion", folded=["x"], feedback="add", example=example
            )
            nn.init.normal_(next(iter(wrapped.feedbacks.values())).linear.weight)  # type: ignore[arg-type, union-attr]
            x = torch.randn(n, 3, 3)
            state = module.fusion(module.frame(x).mean(1))
            back = state @ next(iter(wrapped.feedbacks.values())).linear.weight.T  # type: ignore[union-attr]
            torch.testing.assert_close(wrapped(x), module(x + back[:, None]))


@pytest.mark.slow
class TestThreads:
    def outputs(self, model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        with torch.no_grad():
            return [model(*inputs) for inputs in data]

    @pytest.mark.parametrize("rounds", [3, "equilibrium"])
    @pytest.mark.parametrize("plain", [True, False])
    def test_models_that_share_layers_give_what_each_gives_alone(self, rounds: Any, plain: bool) -> None:
        module, wrapped, _ = two(Two(), rounds=rounds, tolerance=1e-3)
        module.register_buffer("unused", torch.zeros(3))
        wrapped.eval()
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


class InPlace(nn.Module):
    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(4, 5)
        self.fuse, self.head = nn.Sequential(nn.Linear(10, 7), nn.ReLU(inplace=inplace)), nn.Linear(7, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.fuse(torch.cat([self.a(a), self.b(b)], 1)))
        return outputs


class TestChangedInPlace:
    @pytest.mark.parametrize("rounds", [3, "equilibrium"])
    @pytest.mark.parametrize("state", ["fuse.0", "fuse.1"])
    def test_a_state_is_what_its_layer_gave_whatever_is_made_of_it_later(self, state: str, rounds: Any) -> None:
        outputs: list[WrappedProgressive] = []
        for inplace in (True, False):
            _, wrapped, inputs = two(InPlace(inplace), state=state, rounds=rounds, tolerance=1e-3)
            if outputs:
                wrapped.load_state_dict(outputs[0].state_dict())
            outputs.append(wrapped)
        assert torch.equal(outputs[0](*inputs), outputs[1](*inputs))
        grads = [gradients(wrapped, inputs) for wrapped in outputs]
        torch.testing.assert_close(*grads)
