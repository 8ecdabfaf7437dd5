"""Linear paths of the same rows are solved once, and never taken for those of others."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from not_none import not_none
from torch import Tensor

from profuse.layers.ridge import Ridge
from profuse.models.build import build_model
from profuse.models.fit_linear import fit_linear
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.models.solved import Solution, Solved
from profuse.schema import Spec
from profuse.tokens import Raw

Given = dict[str, Any]


def model(seed: int = 0, fusion: str = "concat") -> FusionModel:
    specs = {n: Spec(kind="vector", n_channels=k) for n, k in (("a", 4), ("b", 3))}
    options = ModelOptions(fusion=fusion, width=8, members=1)
    return build_model(specs, "multiclass", 3, options, n_rows=40, seed=seed).plain


def given() -> Given:
    generator = torch.Generator().manual_seed(0)
    x = {n: torch.randn(60, k, generator=generator) for n, k in (("a", 4), ("b", 3))}
    inputs = {n: Raw(v, torch.rand(60, generator=generator) > 0.1) for n, v in x.items()}
    return {"inputs": inputs, "target": (x["a"][:, 0] > 0).long() + (x["b"][:, 0] > 0), "rows": torch.arange(40)}


@pytest.fixture
def n_solved(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts how often a ridge regression is solved."""
    calls: list[int] = []
    solve = Ridge.solve

    def counted(*args: Any, **options: Any) -> Ridge:
        calls.append(1)
        return solve(*args, **options)

    monkeypatch.setattr(Ridge, "solve", counted)
    return lambda: len(calls)


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_another_model_of_the_same_rows_gets_the_same_without_solving(fusion: str, n_solved: Callable[[], int]) -> None:
    solved = Solved()
    one, other, alone = model(), model(1, fusion), model(1, fusion)
    known = fit_linear(one, **given(), solved=solved)
    n = n_solved()
    again = fit_linear(other, **given(), solved=solved)
    assert n_solved() == n
    wanted = fit_linear(alone, **given())
    assert n_solved() > n
    for name, raw in again.items():
        assert torch.equal(not_none(raw.contributions), not_none(wanted[name].contributions))
        assert torch.equal(not_none(raw.contributions), not_none(known[name].contributions))
    for name, values in alone.state_dict().items():
        assert torch.equal(values, other.state_dict()[name])


def changed_target(arguments: Given) -> None:
    arguments["target"] = arguments["target"].clone()
    arguments["target"][3] = (arguments["target"][3] + 1) % 3


def changed_value(arguments: Given) -> None:
    values = arguments["inputs"]["b"].values.clone()
    values[50, 0] += 1e-3
    arguments["inputs"] = {**arguments["inputs"], "b": Raw(values, arguments["inputs"]["b"].mask)}


def changed_presence(arguments: Given) -> None:
    arguments["inputs"] = {**arguments["inputs"], "b": arguments["inputs"]["b"].without(torch.arange(60) == 7)}


CHANGES: dict[str, Callable[[Given], None]] = {
    "target": changed_target,
    "value of a row that is not learned from": changed_value,
    "presence": changed_presence,
    "rows": lambda g: g.update(rows=torch.arange(39)),
    "rows that choose": lambda g: g.update(held=torch.arange(40, 60)),
    "rows that belong together": lambda g: g.update(together=torch.arange(60) // 5),
    "a model whose choices are taken": lambda g: g.update(like=fitted()),
}


def fitted() -> FusionModel:
    made = model()
    fit_linear(made, **given())
    for path in made.linear_paths.paths:
        path.chosen.mul_(2.0)  # type: ignore[operator]
    return made


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_it_depends_on_is_solved_anew(change: str) -> None:
    solved, arguments = Solved(), given()
    fit_linear(model(), **arguments, solved=solved)
    CHANGES[change](arguments)
    got, wanted = (fit_linear(model(), **arguments, **kept) for kept in ({"solved": solved}, {}))  # type: ignore[arg-type]
    assert len(solved) == 2
    for name, raw in got.items():
        assert torch.equal(not_none(raw.contributions), not_none(wanted[name].contributions))


def test_what_is_done_to_a_model_does_not_change_what_is_kept() -> None:
    solved, one, other = Solved(), model(), model()
    fit_linear(one, **given(), solved=solved)
    before = copy.deepcopy(one.linear_paths.state_dict())
    for values in one.linear_paths.state_dict().values():
        values.zero_()
    fit_linear(other, **given(), solved=solved)
    assert all(torch.equal(values, before[name]) for name, values in other.linear_paths.state_dict().items())


def test_what_was_used_longest_ago_is_dropped_and_nothing_goes_to_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("profuse.models.solved._MOST_BYTES", 100)
    empty: dict[str, Tensor] = {}
    some = Solution({"x": torch.zeros(10)}, empty, ())  # 40 bytes
    solved = Solved()
    for key in "ab":
        solved.keep(key, some)
    assert solved.get("a") is some
    solved.keep("c", dataclasses.replace(some))
    assert [solved.get(key) is not None for key in "abc"] == [True, False, True]
    assert len(pickle.loads(pickle.dumps(solved))) == 0
