"""Wrapped modules that converge, and predict at any time: against equations, long loops, and the module itself."""

from __future__ import annotations

import copy
import importlib.util
import random
import re
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forks import Forks
from scipy.optimize import root
from torch import Tensor, nn

from profuse.errors import ConfigError, ProfuseWarning, ShapeError
from profuse.progressive import FEEDBACKS, ProgressiveFusion, WrappedProgressive

N = 5


class Two(nn.Module):
    """A late fusion of two vectors; `stem` lies below the feedback, `late` above it."""

    def __init__(self, stem: nn.Module | None = None, late: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = stem or nn.Identity()
        self.a = nn.Linear(6, 5)
        self.b = nn.Linear(4, 5)
        self.late = late or nn.Identity()
        self.fusion = nn.Linear(10, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        z = torch.cat([self.a(self.stem(a)), self.b(b)], 1).sin()
        outputs: Tensor = self.head(self.fusion(self.late(z)).tanh())
        return outputs


class Pictures(nn.Module):
    """Pictures beside a series, whose fused state has tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3))
        self.series = nn.GRU(2, 6, batch_first=True)
        self.fusion = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, image: Tensor, series: Tensor) -> Tensor:
        tokens = torch.cat([self.image(image).flatten(2).transpose(1, 2), self.series(series)[0]], 1)
        outputs: Tensor = self.head(self.fusion(tokens).tanh().mean(1))
        return outputs


def weakly(wrapped: WrappedProgressive, strength: float) -> None:
    """Random feedback, weak enough at the strengths used here for the rounds to contract."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in wrapped.feedbacks.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * strength)


def two(
    stem: nn.Module | None = None, late: nn.Module | None = None, *, strength: float = 0.1, **options: Any
) -> tuple[Two, WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    module = Two(stem, late).double()
    layer: Any
    for layer in module.modules():  # made before the seed was set
        if layer is not module and hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    inputs = (torch.randn(N, 6, dtype=torch.float64), torch.randn(N, 4, dtype=torch.float64))
    given = {"rounds": "equilibrium", "tolerance": 1e-12, "max_rounds": 200, "example": inputs, **options}
    wrapped = ProgressiveFusion.wrap(module, into={"a": "a", "b": "b"}, state="fusion", **given)
    weakly(wrapped, strength)
    return module, wrapped, inputs


def pictures(feedback: str = "scale_shift", **options: Any) -> tuple[WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    module = Pictures().double()
    inputs = (torch.randn(N, 3, 7, 7, dtype=torch.float64), torch.randn(N, 4, 2, dtype=torch.float64))
    given = {"rounds": "equilibrium", "tolerance": 1e-12, "max_rounds": 200, "example": inputs, **options}
    wrapped = ProgressiveFusion.wrap(
        module, into={"i": "image.2", "s": "series"}, state="fusion", feedback=feedback, **given
    )
    weakly(wrapped, 0.1)
    return wrapped, inputs


def written(module: Two, wrapped: WrappedProgressive, a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One round as anybody would write it: the state that follows, and the outputs."""

    def scale_shift(feedback: Any, x: Tensor) -> Tensor:
        both: tuple[Tensor, Tensor] = (state @ feedback.linear.weight.T).split(x.shape[1], 1)
        scale, shift = both
        return x * (1 + scale) + shift

    z_a = module.a(scale_shift(next(iter(wrapped.feedbacks.values())), module.stem(a)))
    z_b = module.b(scale_shift([*wrapped.feedbacks.values()][1], b))
    following = module.fusion(module.late(torch.cat([z_a, z_b], 1).sin()))
    return following, module.head(following.tanh())


def gradients(wrapped: WrappedProgressive, outputs: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 2, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    return list(torch.autograd.grad((outputs * weights).sum(), [p for p in wrapped.parameters() if p.requires_grad]))


class TestConverged:
    def test_the_outputs_are_those_of_the_state_that_scipy_finds(self) -> None:
        module, wrapped, inputs = two()
        with torch.no_grad():
            first = module.fusion(torch.cat([module.a(inputs[0]), module.b(inputs[1])], 1).sin())

            def gap(x: np.ndarray) -> np.ndarray:
                state = torch.from_numpy(x).view(N, 7)
                return (written(module, wrapped, *inputs, state)[0] - state).numpy().ravel()

            solved = root(gap, first.numpy().ravel(), method="krylov", options={"fatol": 1e-11})
            assert solved.success
            solution = torch.from_numpy(solved.x).view(N, 7)
            torch.testing.assert_close(
                wrapped(*inputs), written(module, wrapped, *inputs, solution)[1], atol=1e-9, rtol=1e-9
            )
            assert (solution - first).abs().max() > 0.01

    def test_the_gradient_is_that_of_the_implicit_function_theorem_written_out(self) -> None:
        module, wrapped, inputs = two()
        a = inputs[0].clone().requires_grad_()
        (found,) = torch.autograd.grad(wrapped(a, inputs[1]).square().sum(), a)
        with torch.no_grad():
            state = torch.zeros(N, 7, dtype=torch.float64)
            for _ in range(200):
                state = written(module, wrapped, *inputs, state)[0]

        def following(s: Tensor, a: Tensor) -> Tensor:
            return written(module, wrapped, a, inputs[1], s)[0]

        by_state, by_input = torch.autograd.functional.jacobian(following, (state, inputs[0]))
        slope = by_state.reshape(N * 7, N * 7)
        eye = torch.eye(N * 7, dtype=torch.float64)
        whole = torch.linalg.solve(eye - slope, by_input.reshape(N * 7, N * 6))
        (outer,) = torch.autograd.functional.jacobian(
            lambda s: module.head(s.tanh()).square().sum(), (state,), create_graph=False
        )
        torch.testing.assert_close(found, (outer.reshape(1, -1) @ whole).view(N, 6), atol=1e-9, rtol=1e-9)

    @pytest.mark.parametrize("feedback", FEEDBACKS)
    def test_outputs_and_gradients_are_those_of_a_long_loop(self, feedback: str) -> None:
        for wrapped, inputs in (
            two(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), feedback=feedback)[1:],
            pictures(feedback),
        ):
            found = wrapped(*inputs)
            slopes = gradients(wrapped, found)
            wrapped.rounds = 60
            expected = wrapped(*inputs)
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
            torch.testing.assert_close(slopes, gradients(wrapped, expected), atol=1e-7, rtol=1e-6)
            wrapped.rounds = 2
            short = gradients(wrapped, wrapped(*inputs))
            assert any(not torch.allclose(x, y, atol=1e-5, rtol=1e-4) for x, y in zip(short, slopes, strict=True))

    def test_attention_looks_at_tokens_that_have_converged(self) -> None:
        wrapped, inputs = pictures("attend")
        seen: list[Tensor] = []
        feedback, _ = wrapped.feedbacks.values()
        feedback.register_forward_pre_hook(lambda _, args: seen.append(args[2].values.detach()))
        wrapped(*inputs)
        assert seen[-1].shape == (N, 13, 6)
        torch.testing.assert_close(seen[-1], seen[-2], atol=1e-10, rtol=1e-10)
        assert not torch.allclose(seen[-1], seen[0], atol=1e-3)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_without_gradients_it_gives_the_same(self, mode: Callable[[], Any]) -> None:
        _, wrapped, inputs = two(nn.Linear(6, 6))
        expected = wrapped(*inputs)
        with mode():
            torch.testing.assert_close(wrapped(*inputs), expected, atol=1e-10, rtol=1e-10)

    def test_memory_does_not_grow_with_the_number_of_iterations(self) -> None:
        def bytes_kept(**options: Any) -> int:
            _, wrapped, inputs = two(nn.Linear(6, 6), strength=0.3, **options)
            seen: dict[int, int] = {}

            def pack(tensor: Tensor) -> Tensor:
                seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                held.append(tensor)
                return tensor

            held: list[Tensor] = []  # else an address may be given twice
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x), warnings.catch_warnings():
                warnings.simplefilter("ignore", ProfuseWarning)
                assert wrapped(*inputs).requires_grad
            return sum(seen.values())

        few, many = bytes_kept(max_rounds=2), bytes_kept(max_rounds=100)
        assert many <= few * 1.01
        assert bytes_kept(rounds=40) > 4 * many

    @pytest.mark.parametrize("grad", [True, False])
    def test_a_part_that_is_reused_runs_once(self, grad: bool) -> None:
        stem = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
        module, wrapped, inputs = two(stem, reuse=["stem"])
        calls: list[str] = []
        for name in ("stem.0", "a"):
            module.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.append(name))
        with torch.set_grad_enabled(grad):
            wrapped(*inputs)
        assert calls.count("stem.0") == 1
        assert calls.count("a") > 4

    def test_in_bfloat16_and_under_autocast_all_weights_learn(self) -> None:
        for dtype in (torch.float32, torch.bfloat16):
            _, wrapped, inputs = two(nn.Linear(6, 6), tolerance=0.02, reuse=["stem"])
            wrapped.to(dtype)
            given = [x.to(dtype) for x in inputs]
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
                outputs = wrapped(*given)
            assert outputs.dtype == torch.bfloat16
            outputs.float().square().sum().backward()
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in wrapped.parameters())


class Noise(nn.Module):
    """Adds numbers of the three global streams to what it gets."""

    def forward(self, x: Tensor) -> Tensor:
        drawn = random.random() + np.random.rand()  # noqa: NPY002
        return x + drawn + torch.randn_like(x)


class TestChance:
    @pytest.mark.parametrize("reuse", [["stem"], []])
    @pytest.mark.parametrize("noise", [lambda: nn.Dropout(0.5), Noise])
    def test_at_zero_feedback_it_equals_the_module_bit_for_bit_and_draws_as_it_does(
        self, noise: Any, reuse: list[str]
    ) -> None:
        stem = nn.Sequential(nn.Linear(6, 6), noise())
        module, wrapped, inputs = two(stem, noise(), strength=0.0, reuse=reuse)
        random.seed(3)
        torch.manual_seed(3)
        state = np.random.get_state()  # noqa: NPY002
        expected, after = module(*inputs), (torch.rand(2), random.random(), np.random.rand())  # noqa: NPY002
        random.seed(3)
        torch.manual_seed(3)
        np.random.set_state(state)  # noqa: NPY002
        assert torch.equal(wrapped(*inputs), expected)
        assert torch.equal(torch.rand(2), after[0])
        assert (random.random(), np.random.rand()) == after[1:]  # noqa: NPY002

    @pytest.mark.parametrize("reuse", [["stem"], []])
    @pytest.mark.parametrize("noise", [lambda: nn.Dropout(0.5), Noise])
    def test_it_is_that_of_a_loop_whose_rounds_all_draw_the_same(self, noise: Any, reuse: list[str]) -> None:
        stem, late = nn.Sequential(nn.Linear(6, 6), noise()), noise()
        module, wrapped, inputs = two(stem, late, strength=0.05, reuse=reuse)
        state = torch.zeros(N, 7, dtype=torch.float64)
        for _ in range(60):
            for seed in (random.seed, torch.manual_seed, np.random.seed):
                seed(3)
            state, expected = written(module, wrapped, *inputs, state)
        slopes = gradients(wrapped, expected)
        for seed in (random.seed, torch.manual_seed, np.random.seed):
            seed(3)
        found = wrapped(*inputs)
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(gradients(wrapped, found), slopes, atol=1e-7, rtol=1e-7)


class Resnetlike(nn.Module):
    """A stem whose batch norm is followed by a change in place."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.relu = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.norm(self.linear(x)))
        return y


class TestBuffers:
    @pytest.mark.parametrize("reuse", [["stem"], ["stem.linear", "stem.norm"], []])
    def test_batch_norms_see_one_batch_a_call_and_that_of_the_last_round(self, reuse: list[str]) -> None:
        module, wrapped, inputs = two(Resnetlike(), nn.BatchNorm1d(10), strength=0.05, reuse=reuse)
        before = copy.deepcopy(module)
        wrapped(*inputs)
        state = torch.zeros(N, 7, dtype=torch.float64)
        for _ in range(60):
            last = copy.deepcopy(before)
            state = written(last, wrapped, *inputs, state)[0]
        found, expected = dict(module.named_buffers()), dict(last.named_buffers())
        assert {name: int(b) for name, b in found.items() if "tracked" in name} == {
            name: 1 for name in found if "tracked" in name
        }
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)

    def test_outputs_and_gradients_are_those_of_a_long_loop_though_rows_depend_on_each_other(self) -> None:
        for late in (nn.BatchNorm1d(10), nn.BatchNorm1d(10, track_running_stats=False)):
            _, wrapped, inputs = two(Resnetlike(), late, strength=0.05)
            found = wrapped(*inputs)
            slopes = gradients(wrapped, found)
            wrapped.rounds = 60
            expected = wrapped(*inputs)
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
            torch.testing.assert_close(slopes, gradients(wrapped, expected), atol=1e-7, rtol=1e-6)

    def test_a_buffer_that_changes_the_outputs_is_the_same_in_all_rounds(self) -> None:
        class Steps(nn.Module):
            n: Tensor
            mean: Tensor

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("n", torch.zeros(1))
                self.register_buffer("mean", torch.zeros(10))

            def forward(self, x: Tensor) -> Tensor:
                self.n += self.training
                self.mean = x.detach().mean(0)
                return x * self.n

        module, wrapped, inputs = two(late=Steps(), strength=0.0)
        expected = copy.deepcopy(module)(*inputs)
        assert torch.equal(wrapped(*inputs), expected)
        assert isinstance(module.late, Steps)
        assert module.late.n == 1
        assert module.late.mean.abs().sum() > 0

    def test_layers_and_weights_that_branches_share_stay_shared(self) -> None:
        class Shares(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
                self.norm_a = self.norm_b = nn.BatchNorm1d(5)
                self.b.weight = self.a.weight
                self.fusion, self.head = nn.Linear(10, 7), nn.Linear(7, 3)

            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                z = torch.cat([self.norm_a(self.a(a)), self.norm_b(self.b(b))], 1)
                outputs: Tensor = self.head(self.fusion(z).tanh())
                return outputs

        torch.manual_seed(0)
        module = Shares().double()
        plain = copy.deepcopy(module)
        inputs = (torch.randn(N, 5, dtype=torch.float64), torch.randn(N, 5, dtype=torch.float64))
        wrapped = ProgressiveFusion.wrap(
            module, into={"a": "a", "b": "b"}, state="fusion", rounds="equilibrium", example=inputs
        )
        assert torch.equal(wrapped(*inputs), plain(*inputs))
        torch.testing.assert_close(dict(module.named_buffers()), dict(plain.named_buffers()), atol=0, rtol=0)
        assert int(module.norm_a.num_batches_tracked) == 2  # type: ignore[arg-type]
        weakly(wrapped, 0.05)
        wrapped(*inputs).square().sum().backward()
        torch.optim.SGD(wrapped.parameters(), lr=0.1).step()
        assert module.a.weight is module.b.weight
        assert module.norm_a is module.norm_b
        other = ProgressiveFusion.wrap(
            Shares().double(), into={"a": "a", "b": "b"}, state="fusion", rounds="equilibrium", example=inputs
        )
        other.load_state_dict(wrapped.state_dict())
        assert torch.equal(other.eval()(*inputs), wrapped.eval()(*inputs))

    def test_batch_norms_of_several_processes_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, wrapped, inputs = two(late=nn.SyncBatchNorm(10), rounds=2)
        wrapped.rounds = "equilibrium"
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        with pytest.raises(ConfigError, match="must not be synchronised in equilibrium.*SyncBatchNorm 'late'"):
            wrapped(*inputs)
        assert wrapped.eval()(*inputs).isfinite().all()


class TestWarnings:
    def test_where_the_state_or_its_gradient_does_not_come_to_rest(self) -> None:
        _, wrapped, inputs = two(strength=0.6, max_rounds=3)
        with (
            torch.no_grad(),
            pytest.warns(
                ProfuseWarning, match=r"wrap: the fused state must converge .*; got up to \d+% of a batch's rows"
            ),
        ):
            assert bool(wrapped(*inputs).isfinite().all())
        with pytest.warns(ProfuseWarning) as caught:
            wrapped(*inputs).sum().backward()
        assert [str(w.message).split(" must")[0] for w in caught] == [
            "ProgressiveFusion.wrap: the fused state",
            "ProgressiveFusion.wrap: its gradient",
        ]

    def test_where_a_batch_as_a_whole_does_not(self) -> None:
        _, wrapped, inputs = two(late=nn.BatchNorm1d(10), strength=0.6, max_rounds=3)
        with torch.no_grad(), pytest.warns(ProfuseWarning, match="got a batch whose rows are one system, by up to"):
            wrapped(*inputs)

    def test_where_a_round_depends_on_those_before_it(self) -> None:
        class Remembers(nn.Module):
            n_calls = 0

            def forward(self, x: Tensor) -> Tensor:
                self.n_calls += 1
                return x + (self.n_calls > 3)

        module, wrapped, inputs = two(late=Remembers(), strength=0.0)
        assert isinstance(module.late, Remembers)
        module.late.n_calls = 0
        with pytest.warns(
            ProfuseWarning, match=r"a round on nothing but the state; got up to 100% of a batch's rows that move again"
        ):
            wrapped(*inputs)

    def test_what_cannot_be_is_refused(self) -> None:
        for options in ({"start": "learned"}, {"gradient_rounds": 1}):
            with pytest.raises(ConfigError, match="wrap: rounds='equilibrium' must go with "):
                two(**options)
            _, wrapped, _ = two(rounds=2, **options)
            with pytest.raises(ConfigError, match="wrap: rounds='equilibrium' must go with "):
                wrapped.rounds = "equilibrium"
        with pytest.raises(ConfigError, match="rounds must be at least 1, or 'equilibrium'; got rounds='rest'"):
            two(rounds="rest")
        for wrong in ({"max_rounds": 0}, {"tolerance": 0.0}, {"damping": 0.0}, {"damping": 1.5}):
            with pytest.raises(ConfigError, match="wrap: max_rounds must be .*damping over 0 and at most 1; got"):
                two(**wrong)

    @pytest.mark.slow
    def test_it_has_to_be_given_a_number_of_rounds_before_it_is_exported(self) -> None:
        _, wrapped, inputs = two()
        wrapped.eval()
        with pytest.raises(
            ConfigError, match="wrap: rounds must be a number in a model that is exported; got rounds='eq"
        ):
            torch.export.export(wrapped, inputs)
        wrapped.rounds = 2
        program = torch.export.export(wrapped, inputs)
        torch.testing.assert_close(program.module()(*inputs), wrapped(*inputs))


class Forms(Two):
    """Gives its outputs in the form that is asked for."""

    form: Any = staticmethod(lambda outputs: outputs)

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.form(super().forward(a, b))


def forms(form: Callable[[Tensor], Any]) -> tuple[WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    module = Forms()
    module.form = form
    inputs = (torch.randn(N, 6), torch.randn(N, 4))
    wrapped = ProgressiveFusion.wrap(module, into={"a": "a"}, state="fusion", rounds=3, example=inputs)
    weakly(wrapped, 0.3)
    return wrapped, inputs


class TestAnytime:
    def test_every_round_predicts_what_so_many_rounds_give(self) -> None:
        _, wrapped, inputs = two(late=nn.Dropout(0.5), rounds=4, strength=0.3)
        stream = torch.get_rng_state()
        found = wrapped.anytime(*inputs)
        assert torch.equal(torch.get_rng_state(), stream)
        assert torch.equal(found.rounds, torch.full((N,), 4))
        assert not found.predictions.requires_grad
        for n in (1, 2, 3, 4):
            wrapped.eval().rounds = n
            assert torch.equal(found.predictions[n - 1], wrapped(*inputs))

    def test_a_row_that_has_settled_keeps_its_prediction(self) -> None:
        _, wrapped, _ = two(rounds=2, strength=0.2)
        inputs = (torch.randn(40, 6, dtype=torch.float64), torch.randn(40, 4, dtype=torch.float64))
        free = wrapped.anytime(*inputs, rounds=8).predictions
        moves = (free[1:] - free[:-1]).abs().amax(2)
        tolerance = moves[1].quantile(0.5).item()
        settled = moves <= tolerance
        expected = torch.where(settled.any(0), settled.int().argmax(0) + 2, 8)
        assert len(expected.unique()) > 1
        found = wrapped.anytime(*inputs, rounds=8, tolerance=tolerance)
        assert torch.equal(found.rounds, expected)
        for n, predictions in enumerate(found.predictions):
            assert torch.equal(predictions, free[expected.clamp(max=n + 1) - 1, torch.arange(40)])

    def test_in_equilibrium_it_goes_on_for_as_many_rounds_as_the_search_may_take(self) -> None:
        _, wrapped, inputs = two(max_rounds=60)
        assert len(wrapped.anytime(*inputs).predictions) == 60
        found = wrapped.anytime(*inputs, tolerance=1e-11)
        assert found.rounds.max() < 60
        torch.testing.assert_close(found.predictions[-1], wrapped.eval()(*inputs), atol=1e-8, rtol=1e-8)

    @pytest.mark.parametrize(
        ("form", "outputs"),
        [
            (lambda y: {"logits": y, "labels": y.argmax(1)}, None),
            (lambda y: (y,), None),
            (lambda y: {"logits": y, "hidden": 2 * y}, "logits"),
            (lambda y: (2 * y, y), 1),
            (lambda y: {"logits": 2 * y, "hidden": y}, lambda out: out["logits"] / 2),
        ],
    )
    def test_predictions_are_where_they_are_said_to_be(self, form: Any, outputs: Any) -> None:
        wrapped, inputs = forms(form)
        plain, _ = forms(lambda y: y)
        expected = plain.anytime(*inputs, rounds=6, tolerance=1e-3)
        found = wrapped.anytime(*inputs, rounds=6, tolerance=1e-3, outputs=outputs)
        assert len(expected.rounds.unique()) > 1
        torch.testing.assert_close(found.predictions, expected.predictions)
        assert torch.equal(found.rounds, expected.rounds)

    def test_what_cannot_be_is_refused(self) -> None:
        wrapped, inputs = forms(lambda y: {"logits": y, "hidden": 2 * y})
        with pytest.raises(
            ConfigError, match=r"outputs must say which tensor is the prediction; Forms gives dict\(logi"
        ):
            wrapped.anytime(*inputs)
        with pytest.raises(
            ConfigError, match=r"outputs must be in the output of Forms; got outputs='logit', .*logits: a"
        ):
            wrapped.anytime(*inputs, outputs="logit")
        with pytest.raises(
            ShapeError, match=r"must be a floating tensor \[batch, ...\] of 5 rows, .*int64. Give outputs"
        ):
            wrapped.anytime(*inputs, outputs=lambda out: out["logits"].argmax(1))
        with pytest.raises(ShapeError, match=r"of 5 rows, as the state has; got a tensor of shape \(3, 5\)"):
            wrapped.anytime(*inputs, outputs=lambda out: out["logits"].T)
        with pytest.raises(ConfigError, match="wrap: rounds must be at least 1 and tolerance at least 0; got rounds=0"):
            wrapped.anytime(*inputs, rounds=0)
        with pytest.raises(ConfigError, match="tolerance at least 0.*tolerance=-1"):
            wrapped.anytime(*inputs, tolerance=-1)


DISTRIBUTED = """
import sys
import torch
from torch import nn
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, {folder!r})
from test_wrap_equilibrium import two

def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (sum(model(*batch).square().mean() for batch in batches) / len(batches)).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])

def run(rank, world, port):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{{port}}", rank=rank, world_size=world)
    _, wrapped, (a, b) = two(nn.Linear(6, 6))
    a[2:] *= 3  # the halves need different numbers of rounds
    batches = [(a[rows], b[rows]) for rows in (slice(0, 2), slice(2, 4))]
    calls = []
    wrapped.module.head.register_forward_hook(lambda *_: calls.append(1))
    flat = train(DistributedDataParallel(wrapped), [batches[rank]])
    both = [torch.empty_like(flat) for _ in range(world)]
    dist.all_gather(both, flat)
    assert torch.equal(both[0], both[1])
    n_calls = [torch.zeros(1) for _ in range(world)]
    dist.all_gather(n_calls, torch.tensor([float(len(calls))]))
    assert n_calls[0] != n_calls[1], n_calls
    torch.testing.assert_close(flat, train(two(nn.Linear(6, 6))[1], batches), atol=1e-8, rtol=1e-8)
    dist.destroy_process_group()

if __name__ == "__main__":
    torch.multiprocessing.start_processes(run, (2, {port}), nprocs=2, start_method="fork")
    sys.stdout.write("both agree")
"""


@pytest.mark.slow
def test_it_trains_in_several_processes_as_in_one_though_each_has_its_own_number_of_rounds(
    tmp_path: Path, forks: Forks
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = tmp_path / "train.py"
    script.write_text(DISTRIBUTED.format(folder=str(Path(__file__).parent), port=port), encoding="utf-8")
    done = forks.run_script(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "both agree"


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed: pip install profuse[hf]"
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("saves", [True, False])
def test_a_hugging_face_model_rests_in_training_with_its_dropout(saves: bool) -> None:
    from transformers import BertConfig, BertModel

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes: Any = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
            self.bert = BertModel(BertConfig(vocab_size=30, **sizes), add_pooling_layer=False)
            self.other, self.fusion, self.head = nn.Linear(3, 16), nn.Linear(32, 8), nn.Linear(8, 2)

        def forward(self, *, input_ids: Tensor, other: Tensor) -> dict[str, Tensor]:
            read = self.bert(input_ids=input_ids, use_cache=False).last_hidden_state[:, 0]
            return {"logits": self.head(self.fusion(torch.cat([read, self.other(other)], 1)).tanh())}

    torch.manual_seed(0)
    module, batch = Reads(), {"input_ids": torch.randint(0, 30, (N, 7)), "other": torch.randn(N, 3)}
    layer = next(name for name, _ in module.named_modules() if re.fullmatch(r"bert\..*layers?\.1", name))
    wrapped = ProgressiveFusion.wrap(
        module,
        into={"text": layer, "other": "other"},
        state="fusion",
        rounds="equilibrium",
        example_kwargs=batch,
        tolerance=1e-6,
    )
    torch.manual_seed(1)
    expected = module(**batch)["logits"]
    torch.manual_seed(1)
    assert torch.equal(wrapped(**batch)["logits"], expected)
    weakly(wrapped, 0.03)
    torch.manual_seed(1)
    slopes = gradients(wrapped, wrapped(**batch)["logits"])
    assert all(slope.isfinite().all() for slope in slopes)
    if saves:  # gradient checkpoints inside: what they repeat is what ran
        module.bert.gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(1)
        torch.testing.assert_close(gradients(wrapped, wrapped(**batch)["logits"]), slopes)
    found = wrapped.anytime(**batch, rounds=40, tolerance=1e-6, outputs="logits")
    assert found.rounds.max() < 40
    with torch.no_grad():
        torch.testing.assert_close(found.predictions[-1], wrapped.eval()(**batch)["logits"], atol=1e-4, rtol=1e-4)
