"""What wrapped modules run once a batch: not what hooks collect, and in training too what operations lie between."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.utils.checkpoint import checkpoint

from profuse.progressive import ProgressiveFusion, WrappedProgressive

N = 4


class Counted(nn.Linear):
    """Counts its calls in its forward."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Between(nn.Module):
    """A branch in which an operation stands between two layers, both below the feedback."""

    def __init__(self, operation: Callable[[Between, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.late = nn.Linear(5, 6), Counted(6, 6), nn.Linear(6, 5)
        self.other, self.fusion, self.head = nn.Linear(3, 5), nn.Linear(10, 4), nn.Linear(4, 2)
        self.pos = nn.Parameter(torch.randn(N, 6))
        self.operation = operation

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        z = self.second(self.operation(self, self.first(x)))
        fused = self.fusion(torch.cat([self.late(z).tanh(), self.other(other)], 1))
        outputs: Tensor = self.head(fused.sin())
        return outputs


def between(
    operation: Callable[[Between, Tensor], Tensor], **options: Any
) -> tuple[Between, WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    module = Between(operation).double()
    inputs = (torch.randn(N, 5, dtype=torch.float64), torch.randn(N, 3, dtype=torch.float64))
    given = {"into": {"x": "late", "other": "other"}, "rounds": 4, "example": inputs, **options}
    wrapped = ProgressiveFusion.wrap(module, state="fusion", **given)
    for weight in wrapped.feedbacks.parameters():
        nn.init.normal_(weight, std=0.2)
    module.second.calls = 0
    return module, wrapped, inputs


def learnt(wrapped: WrappedProgressive, inputs: Any) -> tuple[Tensor, list[Tensor | None]]:
    """The outputs, and the gradient of every parameter."""
    torch.manual_seed(3)
    outputs = wrapped(*inputs)
    loss = (outputs * torch.linspace(-1, 2, outputs.numel(), dtype=outputs.dtype).view_as(outputs)).sum()
    return outputs, list(torch.autograd.grad(loss, list(wrapped.parameters()), allow_unused=True))


class Doubles(torch.autograd.Function):
    """Of which autograd shows nothing but the name."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def in_halves(_: Between, x: Tensor) -> Tensor:
    a, b = x.split(3, 1)
    return torch.cat([b.exp(), a[:, [2, 0, 1]]], 1)


def long(_: Between, x: Tensor) -> Tensor:
    for _ in range(60):
        x = x * 1.01
    return x


ALIKE: dict[str, Callable[[Between, Tensor], Tensor]] = {
    "add a parameter": lambda m, x: x + m.pos,
    "relu": lambda _, x: F.relu(x),
    "scale": lambda _, x: x * 6**0.5,
    "where": lambda _, x: torch.where(x > 0, x, 0.1 * x),
    "masked": lambda _, x: x.masked_fill(torch.arange(6) > 4, 0.0),
    "norm": lambda m, x: F.layer_norm(x, (6,), m.pos[0]) + m.pos.mean(),
    "halves": in_halves,
    "in place": lambda m, x: x.add_(m.pos),  # so the layer before it runs again
    "linear": lambda m, x: F.linear(x, m.pos.T @ m.pos),
}
OTHERWISE: dict[str, Callable[[Between, Tensor], Tensor]] = {
    "dropout": lambda _, x: F.dropout(x, 0.5),
    "random gate": lambda _, x: torch.where(torch.rand(x.shape) > 0.5, x, -x),
    "custom function": lambda _, x: Doubles.apply(x),  # type: ignore[no-any-return, no-untyped-call]
    "checkpoint": lambda m, x: checkpoint(lambda x: (x + m.pos).relu(), x, use_reentrant=False),  # type: ignore[return-value]
    "long": long,
}


class TestOperationsBetweenLayers:
    @pytest.mark.parametrize("rounds", [4, "equilibrium"])
    @pytest.mark.parametrize("name", ALIKE)
    def test_a_layer_after_an_operation_that_is_repeated_runs_once_in_training(self, name: str, rounds: Any) -> None:
        options = {"rounds": rounds, "tolerance": 1e-12, "max_rounds": 200}
        module, wrapped, inputs = between(ALIKE[name], **options)
        assert "second" in wrapped.reused
        outputs, gradients = learnt(wrapped, inputs)
        assert module.second.calls == 1
        module, wrapped, inputs = between(ALIKE[name], reuse=False, **options)
        expected, slopes = learnt(wrapped, inputs)
        assert module.second.calls >= 4
        assert torch.equal(outputs, expected)
        torch.testing.assert_close(gradients, slopes, atol=1e-9, rtol=1e-9)
        assert gradients[0] is None or gradients[0].abs().sum() > 0

    @pytest.mark.parametrize("name", OTHERWISE)
    def test_where_it_cannot_be_told_or_differs_the_layer_runs_again(self, name: str) -> None:
        module, wrapped, inputs = between(OTHERWISE[name], reuse=["first", "second"])
        outputs, gradients = learnt(wrapped, inputs)
        assert module.second.calls == 4
        _, wrapped, inputs = between(OTHERWISE[name], reuse=False)
        expected, slopes = learnt(wrapped, inputs)
        torch.testing.assert_close(outputs, expected)
        torch.testing.assert_close(gradients, slopes, atol=1e-9, rtol=1e-9)

    @pytest.mark.parametrize("name", OTHERWISE)
    def test_what_is_told_to_run_once_does_so_in_training(self, name: str) -> None:
        _, wrapped, _ = between(OTHERWISE[name])
        assert "second" not in wrapped.reused

    def test_equal_numbers_by_another_way_are_another_tensor(self) -> None:
        # zeros masked by a mask that changes: equal outputs, unequal gradients
        masks = [torch.arange(6) % 2 == n for n in (0, 1)]

        def masked(m: Between, x: Tensor) -> Tensor:
            masks.append(masks.pop(0))
            return (x * 0 + m.pos * 0) * masks[0]

        gradients = []
        for reuse in (["first", "second"], False):
            module, wrapped, inputs = between(masked, reuse=reuse, rounds=2)
            gradients.append(learnt(wrapped, inputs)[1])
            assert module.second.calls == 2
        torch.testing.assert_close(*gradients)

    def test_another_leaf_of_equal_numbers_is_another_tensor(self) -> None:
        leaves: list[Tensor] = []

        def leaf(_: Between, x: Tensor) -> Tensor:
            leaves.append(x.detach().requires_grad_())
            return leaves[-1]

        module, wrapped, inputs = between(leaf, reuse=["first", "second"], rounds=2)
        leaves.clear()
        wrapped(*inputs).sum().backward()
        assert module.second.calls == 2
        assert all(x.grad is not None for x in leaves)

    @pytest.mark.parametrize("mode", ["train", "no_grad", "checkpoint", "saved elsewhere"])
    def test_it_holds_in_every_mode(self, mode: str) -> None:
        results = []
        for reuse in (True, False):
            _, wrapped, inputs = between(ALIKE["relu"], reuse=reuse)
            saved = torch.autograd.graph.save_on_cpu() if mode == "saved elsewhere" else nullcontext()
            with saved, torch.set_grad_enabled(mode != "no_grad"):
                call = (
                    (lambda *x, w=wrapped: checkpoint(w, *x, use_reentrant=False)) if mode == "checkpoint" else wrapped
                )
                outputs = call(*inputs)
                if outputs.requires_grad:
                    outputs.square().sum().backward()
            results.append([outputs.detach(), *(p.grad for p in wrapped.parameters())])
        torch.testing.assert_close(*results)

    def test_gradients_of_each_row_alone_are_those_of_running_all_again(self) -> None:
        from torch.func import functional_call, grad, vmap

        results = []
        for reuse in (True, False):
            _, wrapped, (a, b) = between(lambda _, x: F.relu(x), reuse=reuse)
            parameters = {name: p.detach() for name, p in wrapped.named_parameters()}

            def loss(given: Any, a: Tensor, b: Tensor, wrapped: Any = wrapped) -> Tensor:
                return functional_call(wrapped, given, (a[None], b[None])).square().sum()  # type: ignore[no-any-return]

            results.append(vmap(grad(loss), (None, 0, 0))(parameters, a, b))
        torch.testing.assert_close(*results)


class Deep(nn.Module):
    """A stack below the feedback, from which the tests collect by hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(nn.Sequential(Counted(5, 6), nn.Tanh()), nn.Linear(6, 6))
        self.late, self.fusion = nn.Linear(6, 5), nn.Linear(5, 4)
        self.collected: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.collected.clear()
        fused: Tensor = self.fusion(self.late(self.stack(x)).tanh())
        return fused + sum(t.mean(1, keepdim=True) for t in self.collected)


def deep(**options: Any) -> tuple[Deep, WrappedProgressive, Tensor]:
    torch.manual_seed(0)
    module, x = Deep(), torch.randn(N, 5)
    wrapped = ProgressiveFusion.wrap(module, into={"x": "late"}, state="fusion", rounds=3, example=x, **options)
    return module, wrapped, x


class TestHooks:
    @pytest.mark.parametrize("layer", ["stack", "stack.0.0", "stack.1"])
    @pytest.mark.parametrize("pre", [True, False])
    def test_what_they_collect_is_collected_in_every_round(self, layer: str, pre: bool) -> None:
        module, wrapped, x = deep()
        assert wrapped.reused == ("stack",)
        hooked = module.get_submodule(layer)
        if pre:
            handle = hooked.register_forward_pre_hook(lambda _, args: module.collected.append(args[0]))
        else:
            handle = hooked.register_forward_hook(lambda _, __, out: module.collected.append(out))
        expected = module(x)
        assert all(torch.equal(found, expected) for found in wrapped.all_rounds(x))
        handle.remove()
        module.stack[0][0].calls = 0  # type: ignore[index]
        wrapped(x)
        assert module.stack[0][0].calls == 1  # type: ignore[index]

    def test_also_those_that_the_module_attaches_while_it_runs(self) -> None:
        class Attaches(Deep):
            handles: Any = ()

            def forward(self, x: Tensor) -> Tensor:
                self.handles = self.handles or [
                    self.get_submodule(name).register_forward_hook(lambda _, __, out: self.collected.append(out))
                    for name in ("stack.0", "stack.0.0")
                ]
                return super().forward(x)

        class Lends(Deep):
            def forward(self, x: Tensor) -> Tensor:
                handle = self.stack[0].register_forward_hook(lambda _, __, out: self.collected.append(out))
                fused = super().forward(x)
                handle.remove()
                return fused

        for kind, n in ((Attaches, 2), (Lends, 1)):
            for example in (True, False):
                torch.manual_seed(0)
                module, x = kind(), torch.randn(N, 5)
                wrapped = ProgressiveFusion.wrap(
                    module, into={"x": "late"}, state="fusion", rounds=3, example=x if example else None
                )
                for output in wrapped.all_rounds(x):
                    assert len(module.collected) == n
                    assert torch.equal(output, module(x))
                assert not {"stack", "stack.0"} & set(wrapped.reused)

    @pytest.mark.parametrize("late", [True, False])
    def test_in_equilibrium_a_batch_norm_with_hooks_sees_one_batch_a_call(self, late: bool) -> None:
        module, x = Deep(), torch.randn(N, 5)
        norm = module.stack[1] = nn.BatchNorm1d(6)
        options: dict[str, Any] = {"into": {"x": "late"}, "state": "fusion", "rounds": "equilibrium", "example": x}
        wrapped = ProgressiveFusion.wrap(module, **options) if late else None
        calls: list[int] = []
        norm.register_forward_hook(lambda *_: calls.append(1))
        wrapped = wrapped or ProgressiveFusion.wrap(module, **options)
        calls.clear()
        expected = 0.1 * module.stack[0](x).mean(0)
        wrapped.train()(x)
        assert len(calls) > 2
        assert norm.num_batches_tracked == 1
        torch.testing.assert_close(norm.running_mean, expected)

    def test_also_those_of_all_modules(self) -> None:
        module, wrapped, x = deep()
        called: list[nn.Module] = []
        handle = global_hooks.register_module_forward_hook(lambda layer, *_: called.append(layer))
        wrapped(x)
        handle.remove()
        assert called.count(module.stack[0]) == 3  # type: ignore[index]

    @pytest.mark.parametrize("at", ["input", "output"])
    def test_those_of_named_layers_run_once_a_round_and_are_as_they_were(self, at: Any) -> None:
        module, _, x = deep()
        wrapped = ProgressiveFusion.wrap(
            module, into={"x": "late"}, state="fusion", rounds=3, at=at, feedback="add", reuse=False, example=x
        )
        for weight in wrapped.feedbacks.parameters():
            nn.init.normal_(weight, std=0.2)
        seen: list[str] = []
        for name in ("late", "fusion"):
            layer = module.get_submodule(name)
            layer.register_forward_pre_hook(lambda _, args, n=name: (seen.append(f"{n} takes"), (args[0] * 2,))[1])
            layer.register_forward_hook(lambda _, __, out, n=name: (seen.append(f"{n} gives"), out * 3)[1])
        before = {name: [dict(held) for held in _hooks(layer)] for name, layer in module.named_modules()}
        found = wrapped.all_rounds(x)
        assert seen == ["late takes", "late gives", "fusion takes", "fusion gives"] * 3
        assert before == {name: [dict(held) for held in _hooks(layer)] for name, layer in module.named_modules()}
        # feedback comes before what the entry's own hooks do to its input, and after what they do to its output
        state, z = torch.zeros(N, 4), module.stack(x)
        for output in found:
            back = state @ next(iter(wrapped.feedbacks.values())).linear.weight.T  # type: ignore[operator, union-attr]
            late = module.late(z + back) if at == "input" else module.late(z) + back
            state = module.fusion(late.tanh())
            torch.testing.assert_close(output, state)


def _hooks(layer: nn.Module) -> list[Any]:
    return [layer._forward_pre_hooks, layer._forward_hooks, layer._forward_pre_hooks_with_kwargs]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed: pip install profuse[hf]"
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("rounds", [3, "equilibrium"])
def test_hidden_states_of_a_hugging_face_model_are_complete_in_every_round(rounds: Any) -> None:
    from transformers import BertConfig, BertModel

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
            config = BertConfig(vocab_size=30, attn_implementation="eager", **sizes)
            self.bert = BertModel(config, add_pooling_layer=False)
            self.fusion, self.head = nn.Linear(16, 8), nn.Linear(8, 2)

        def forward(self, ids: Tensor) -> Tensor:
            read = self.bert(ids, output_hidden_states=True, output_attentions=True)
            seen.append((len(read.hidden_states), len(read.attentions)))
            mixed = torch.stack(read.hidden_states).mean(0)[:, 0] * torch.stack(read.attentions).std()
            outputs: Tensor = self.head(self.fusion(mixed).tanh())
            return outputs

    seen: list[tuple[int, int]] = []
    torch.manual_seed(0)
    module, ids = Reads().eval(), torch.randint(0, 30, (N, 7))
    layer = next(name for name, _ in module.named_modules() if name.endswith("layer.2"))
    wrapped = ProgressiveFusion.wrap(module, into={"t": layer}, state="fusion", rounds=rounds, example=ids).eval()
    assert torch.equal(wrapped(ids), module(ids))
    assert set(seen) == {(4, 3)}
