"""Linear paths of the same rows are solved once, and never taken for those of others."""

from __future__ import annotations

import copy
import dataclasses
import errno
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from not_none import not_none
from torch import Tensor

from profuse.encoders.vector import VectorEncoder
from profuse.errors import DataError
from profuse.layers.landmarks import Reading
from profuse.layers.linear_path import LinearPath
from profuse.layers.ridge import Ridge
from profuse.models.build import build_model
from profuse.models.fit_linear import fit_linear
from profuse.models.fusion_model import FusionModel
from profuse.models.linear_paths import JOINT
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


@pytest.mark.parametrize("frequencies", [(0.0,), (0.77,), (0.0, 0.45, 0.77)])
def test_a_model_of_other_modalities_solves_its_joint_path_only(
    frequencies: tuple[float, ...], n_solved: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", frequencies)
    whole = given()
    n_outputs, solved = 3, Solved()
    whole["inputs"] |= {"c": Raw(torch.randn(60, 2), torch.ones(60, dtype=torch.bool))}

    def solve(names: str, **kept: Any) -> tuple[FusionModel, dict[str, Raw], int]:
        inputs = {n: whole["inputs"][n] for n in names}
        specs = {n: Spec(kind="vector", n_channels=raw.values.shape[1]) for n, raw in inputs.items()}
        made = build_model(specs, "multiclass", n_outputs, ModelOptions(width=8, members=1), n_rows=40, seed=0).plain
        before = n_solved()
        known = fit_linear(made, **whole | {"inputs": inputs}, **kept)
        return made, known, n_solved() - before

    for names in ("ab", "bc", "ca"):
        solve(names, solved=solved)
    for names in ("ac", "abc", "c"):
        made, known, n = solve(names, solved=solved)
        assert n == (names == "abc")
        alone, wanted, _ = solve(names)
        for name, raw in known.items():
            assert torch.equal(not_none(raw.contributions), not_none(wanted[name].contributions))
        for name, values in alone.linear_paths.state_dict().items():
            assert torch.equal(values, made.linear_paths.state_dict()[name])


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
    assert len(solved) > 3  # paths of the model
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


def never() -> Solution:
    raise AssertionError("it must not be solved again")


def test_what_was_used_longest_ago_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.models.solved._MOST_BYTES", 100)
    solved = Solved()
    some = {key: Solution({"x": torch.zeros(10)}, {}) for key in "abc"}  # 40 bytes
    for key in "ab":
        assert solved.solution(key, partial(some.__getitem__, key)) is some[key]
    assert solved.solution("a", never) is some["a"]
    solved.solution("c", lambda: some["c"])
    assert all(solved.solution(key, never) is some[key] for key in "ac")
    again = dataclasses.replace(some["b"])
    assert solved.solution("b", lambda: again) is again


def test_another_process_begins_with_none_but_for_those_in_a_folder(tmp_path: Path) -> None:
    some = Solution({"x": torch.arange(3.0)}, {"a": torch.ones(2, 1)})
    for folder in (None, tmp_path / "new"):
        solved = Solved(folder)
        solved.solution("key", lambda: some)
        other: Solved = pickle.loads(pickle.dumps(solved))
        assert len(other) == 0
        if folder is None:
            with pytest.raises(AssertionError, match="solved again"):
                other.solution("key", never)
            continue
        found = other.solution("key", never)
        assert torch.equal(found.state["x"], some.state["x"])
        assert torch.equal(found.contributions["a"], some.contributions["a"])


def test_of_processes_that_need_the_same_at_once_one_solves_and_the_others_wait(tmp_path: Path) -> None:
    # threads, which wait for each other as processes do
    calls, some = [], Solution({"x": torch.zeros(3)}, {})

    def solve() -> Solution:
        calls.append(1)
        time.sleep(0.1)
        return some

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Solved(tmp_path).solution("key", solve), range(4)))
    assert len(calls) == 1
    assert all(torch.equal(f.state["x"], some.state["x"]) for f in found)
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_solution_that_finds_no_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("profuse.models.solved.write_file", full)
    with pytest.raises(DataError, match=r"must find room in .*No space left on device\. Set TMPDIR"):
        Solved(tmp_path).solution("key", lambda: Solution({}, {}))


def test_rows_that_were_learned_from_are_not_evaluated_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    of = LinearPath.contribution

    def counted(path: LinearPath, name: str, features: Tensor) -> Tensor:
        seen.append(len(features))
        return of(path, name, features)

    monkeypatch.setattr(LinearPath, "contribution", counted)
    made, arguments = model(), given()
    known = fit_linear(made, **arguments)
    assert max(seen) == 20  # of each modality those that are not learned from
    monkeypatch.undo()
    for name, raw in arguments["inputs"].items():
        wanted = made.linear_paths.contributions(name, made.encoder_of[name].linear(raw), raw.present)
        torch.testing.assert_close(not_none(known[name].contributions)[40:], wanted[40:])


def test_the_joint_path_and_a_modality_s_own_read_the_same_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", (0.77,))
    shapes: list[tuple[int, ...]] = []
    read = Reading._read

    def counted(reading: Reading, x: Tensor, present: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return read(reading, x, present)

    monkeypatch.setattr(Reading, "_read", counted)
    arguments = given() | {"held": torch.arange(40, 60)}
    x = arguments["inputs"]["a"]
    arguments["inputs"]["a"] = Raw(x.values, torch.ones_like(x.mask))
    made = model()
    assert made.linear_paths.names == (JOINT, "a", "b")
    fit_linear(made, **arguments)
    n_b = int(arguments["inputs"]["b"].mask[:40].sum())
    assert sorted(s for s in shapes if s[1] == made.encoder_of["a"].n_linear) == [(20, 4), (40, 4)]
    assert [s for s in shapes if s[0] == n_b]  # rows without "b" are not read by its own


def test_what_an_encoder_reads_of_the_same_rows_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    linear = VectorEncoder.linear

    def counted(encoder: VectorEncoder, raw: Raw) -> Tensor:
        seen.append(len(raw))
        return linear(encoder, raw)

    monkeypatch.setattr(VectorEncoder, "linear", counted)
    solved, arguments = Solved(), given()
    fit_linear(model(), **arguments, solved=solved)
    fit_linear(model(1, "sum"), **arguments, solved=solved)
    assert seen == [60, 60]
    changed_value(arguments)
    fit_linear(model(), **arguments, solved=solved)
    assert seen == [60] * 3
    fit_linear(model(), **arguments)
    assert seen == [60] * 5


def test_encoders_whose_buffers_differ_read_rows_for_themselves() -> None:
    solved, raw = Solved(), given()["inputs"]["a"]
    one, other = (model().encoder_of["a"] for _ in range(2))
    for encoder, scale in ((one, 1.0), (other, 2.0)):
        encoder.register_buffer("scale", torch.tensor(scale))
        assert torch.equal(solved.read(encoder, raw, lambda s=scale: s * raw.values), scale * raw.values)  # type: ignore[misc]
    assert torch.equal(solved.read(one, raw, lambda: -raw.values), raw.values)


def test_of_what_was_read_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.models.solved._MOST_BYTES", 500)
    solved, encoder = Solved(), model().encoder_of["a"]
    raws = [Raw(torch.zeros(10, 4), torch.ones(10, dtype=torch.bool)) for _ in range(4)]  # 160 bytes
    for raw in raws:
        solved.read(encoder, raw, raw.values.clone)
    assert torch.equal(solved.read(encoder, raws[3], torch.Tensor), raws[3].values)
    assert not solved.read(encoder, raws[0], torch.Tensor).numel()
