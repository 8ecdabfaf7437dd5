"""Parts of a wrapped module that the user says run once per batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.progressive import ProgressiveFusion, WrappedProgressive

N = 4


class Deep(nn.Module):
    """A branch with a stem below the feedback, whose parts the tests exchange."""

    def __init__(self, stem: nn.Module, between: Callable[[Tensor], Tensor] = torch.sin) -> None:
        super().__init__()
        self.stem, self.late, self.other = stem, nn.Linear(6, 5), nn.Linear(3, 5)
        self.fusion, self.head = nn.Linear(10, 4), nn.Linear(4, 2)
        self.between = between

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        z = self.late(self.between(self.stem(x)))
        fused = self.fusion(torch.cat([z, self.other(other)], 1).tanh())
        outputs: Tensor = self.head(fused.sin())
        return outputs


def deep(
    stem: nn.Module | None = None, between: Callable[[Tensor], Tensor] = torch.sin, **options: Any
) -> tuple[Any, WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    module: Any = Deep(stem or nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6)), between)
    for layer in module.modules():  # made before the seed was set
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    inputs = (torch.randn(N, 5), torch.randn(N, 3))
    options = {"into": {"x": "late", "other": "other"}, "state": "fusion", "rounds": 4, "example": inputs, **options}
    wrapped = ProgressiveFusion.wrap(module, **options)
    for weight in wrapped.feedbacks.parameters():
        nn.init.normal_(weight, std=0.2)
    return module, wrapped, inputs


def n_calls(module: nn.Module, names: list[str]) -> dict[str, int]:
    """Counts calls from now on."""
    calls = dict.fromkeys(names, 0)
    for name in names:

        def count(*_: Any, name: str = name) -> None:
            calls[name] += 1

        module.get_submodule(name).register_forward_hook(count)
    return calls


@pytest.mark.parametrize("how", ["call", "all_rounds", "anytime", "no_grad", "inference_mode"])
def test_a_part_of_reuse_runs_once_per_batch(how: str) -> None:
    module, wrapped, inputs = deep(reuse=["stem"])
    calls = n_calls(module, ["stem.0", "stem.2", "late", "other"])
    ways: dict[str, Callable[..., Any]] = {"all_rounds": wrapped.all_rounds, "anytime": wrapped.anytime}
    run = ways.get(how, wrapped)
    with {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}.get(how, torch.enable_grad)():
        for batch in (1, 2):
            run(*inputs)
            assert calls == {"stem.0": batch, "stem.2": batch, "late": 4 * batch, "other": 4 * batch}


def inplace(x: Tensor) -> Tensor:
    x += 1.0
    return x.sin_()


@pytest.mark.parametrize("between", [torch.sin, inplace])
@pytest.mark.parametrize("reuse", [["stem"], ["stem.0"], ["stem.1", "stem.0"], ["stem", "stem.2"]])
def test_outputs_and_gradients_are_those_of_running_all_in_each_round(
    reuse: list[str], between: Callable[[Tensor], Tensor]
) -> None:
    results = []
    for parts in (reuse, []):
        _, wrapped, inputs = deep(between=between, reuse=parts)
        outputs = wrapped.all_rounds(*inputs)
        outputs[-1].square().sum().backward()
        results.append((outputs, [p.grad for p in wrapped.parameters()]))
    assert all(map(torch.equal, results[0][0], results[1][0]))
    torch.testing.assert_close(results[0][1], results[1][1])


def test_each_batch_has_results_of_its_own() -> None:
    _, wrapped, inputs = deep(reuse=["stem"])
    _, plain, _ = deep()
    wrapped(*inputs)
    others = [torch.randn(2, x.shape[1]) for x in inputs]
    assert torch.equal(wrapped(*others), plain(*others))


def test_normalisation_and_dropout_in_it_happen_once_per_batch() -> None:
    module, wrapped, inputs = deep(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)), reuse=["stem"])
    seen: list[Tensor] = []
    module.late.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    wrapped.train()(*inputs)
    assert int(module.stem[1].num_batches_tracked) == 1
    assert len(seen) == 4
    assert all(torch.equal(x, seen[0]) for x in seen)


def test_two_calls_in_a_round_stay_two() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.linear, self.fusion = nn.Dropout(0.5), nn.Linear(10, 6), nn.Linear(6, 4)
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            views = torch.cat([self.drop(x), self.drop(x)], 1)
            self.seen.append(views)
            fused: Tensor = self.fusion(self.linear(views))
            return fused

    module, x = Views(), torch.randn(4, 5)
    wrapped = ProgressiveFusion.wrap(module, into={"x": "linear"}, state="fusion", example=x, reuse=["drop"])
    module.seen.clear()
    wrapped(x)
    first, second = module.seen
    assert torch.equal(first, second)
    assert not torch.equal(first[:, :5], first[:, 5:])


class Words(nn.Module):
    """Gives its words in a data class of its own, packed, or beside a mask, as `form` says."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.embed, self.gru, self.form = nn.Linear(5, 6), nn.GRU(6, 6, batch_first=True), form

    def forward(self, x: Tensor) -> Any:
        series = self.embed(x)[:, None].expand(-1, 3, -1)
        if self.form == "packed":
            return nn.utils.rnn.pack_padded_sequence(series, torch.tensor([3, 2, 2, 1]), batch_first=True)
        return {"tuple": (series, None), "dict": {"series": series, "real": series > 0}}[self.form]


@pytest.mark.parametrize("form", ["packed", "tuple", "dict"])
def test_its_result_may_have_any_form(form: str) -> None:
    def between(given: Any) -> Tensor:
        if form == "packed":
            return nn.utils.rnn.pad_packed_sequence(given, batch_first=True)[0].sum(1)
        total: Tensor = (given[0] if form == "tuple" else given["series"] * given["real"]).sum(1)
        return total

    outputs = [deep(Words(form), between, reuse=reuse)[1](*deep()[2]) for reuse in (["stem"], [])]
    assert torch.equal(*outputs)


class TestRefused:
    @pytest.mark.parametrize(
        ("reuse", "message"),
        [
            (
                ["head"],
                r"reuse must name parts that feedback does not change; 'head' takes a tensor of shape \(4, 4\)",
            ),
            (["stem", "fusion"], r"parts that feedback does not change; 'fusion' takes a tensor of shape \(4, 10\)"),
            (["late"], r"to the input of 'late' for branch 'x' none comes back.* or reuses it \(reuse=\['late'\]\)"),
            (["stem"], r"must be called in a pass; got \['stem.0'\].*or be in reuse=\['stem'\]"),
            (["spare"], r"every layer that is named must be called in a pass; got \['spare'\]"),
        ],
    )
    def test_a_part_that_feedback_changes_or_enters_or_that_does_not_run(self, reuse: list[str], message: str) -> None:
        module = Deep(nn.Linear(5, 6))
        module.spare = nn.Linear(2, 2)
        options: dict[str, Any] = {"into": {"x": "late"}, "state": "fusion"}
        if reuse == ["stem", "fusion"]:
            options["state"] = "head"
        if reuse == ["stem"]:
            module.stem, options["into"] = nn.Sequential(nn.Linear(5, 6), nn.Tanh()), {"x": "stem.0"}
        with pytest.raises(ConfigError, match=message):
            ProgressiveFusion.wrap(module, example=(torch.randn(4, 5), torch.randn(4, 3)), reuse=reuse, **options)

    def test_feedback_may_enter_what_it_gives(self) -> None:
        module, wrapped, inputs = deep(into={"x": "stem"}, at="output", reuse=["stem"])
        _, plain, _ = deep(into={"x": "stem"}, at="output")
        assert torch.equal(wrapped(*inputs), plain(*inputs))
        assert not torch.allclose(wrapped(*inputs), module(*inputs))

    def test_a_part_that_is_called_more_often_in_a_later_round(self) -> None:
        class Again(Deep):
            n = 0

            def forward(self, x: Tensor, other: Tensor) -> Tensor:
                self.n += 1
                if self.n % 3 == 0 and self.n > 3:
                    self.stem(x)
                return super().forward(x, other)

        torch.manual_seed(0)
        inputs = (torch.randn(N, 5), torch.randn(N, 3))
        wrapped = ProgressiveFusion.wrap(
            Again(nn.Linear(5, 6)), into={"x": "late"}, state="fusion", example=inputs, rounds=4, reuse=["stem"]
        )
        with pytest.raises(ConfigError, match="got 'stem', called 1 times in the first round, and more often in a"):
            wrapped(*inputs)


def test_what_it_is_is_in_the_wrapper() -> None:
    assert deep(reuse=["stem"])[1].reuse == ("stem",)
    assert deep()[1].reuse == ()
