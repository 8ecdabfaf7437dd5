"""A training by two processes that was killed goes on to the same end, bit for bit, with the steps it lacks alone."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forks import Forks
from kept_by_two import STEPS
from streamed_by_two import table

from profuse.training.keeper import random_state, set_random_state

KILLED = -signal.SIGKILL


def run(forks: Forks, call: str, n: int = 2) -> list[int | None]:
    """Runs a call of `kept_by_two` in processes, and returns how they ended."""
    code = f"from kept_by_two import *\n{call}\nraise SystemExit"
    started = forks.start_two(before=code) if n == 2 else [forks.start(before=code, few_trees=False)]
    ended = [each.wait(60) for each in started]
    for each in started:
        if each.returncode is None:
            each.kill()
    assert None not in ended, "a process waits for ever"
    assert not [each.stderr for each in started if "Traceback" in each.stderr]
    return ended


def left(folder: Path, name: str, n: int = 2) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{name} {rank}.json").read_text()) for rank in range(n)]


def check_same(got: dict[str, Any], whole: dict[str, Any]) -> None:
    assert json.dumps(got["curve"]) == json.dumps(whole["curve"])
    assert got["weights"] == whole["weights"]


def test_where_one_of_two_processes_is_killed_both_go_on_to_the_same_end(forks: Forks, tmp_path: Path) -> None:
    where = f"Path({str(tmp_path)!r}), 'vectors'"
    assert run(forks, f"fit_killed({where}, (2, 6), {{1: 7}})") == [0, KILLED]
    assert run(forks, f"fit_again({where})") == [0, 0]
    for each in left(tmp_path, "again"):
        check_same(each["again"], each["whole"])
        assert (each["again"]["n_steps"], each["whole"]["n_steps"]) == (STEPS - 6, STEPS)
        assert each["again"]["notes"] == []
    assert not (tmp_path / "training").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vectors", "series"])
def test_it_goes_on_from_any_step(name: str, forks: Forks, tmp_path: Path) -> None:
    assert run(forks, f"stop_and_go_on(Path({str(tmp_path)!r}), {name!r}, 1, 4, 6, 11)") == [0, 0]
    for each in left(tmp_path, name):
        for at in (1, 4, 6, 11):  # 4 ends an epoch
            check_same(each[str(at)], each["whole"])
            assert (each[str(at)]["n_steps"], each[str(at)]["left"]) == (STEPS - at, False)
    assert [p.suffix for p in tmp_path.iterdir()] == [".json"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "ended", "kept"),
    [
        ("{0: 7, 1: 7}", [KILLED, KILLED], 6),
        ("{0: 7}", [KILLED, 0], 6),
        ("{0: 1}", [KILLED, 0], 0),
        ("{0: 5}, writing=True", [KILLED, 0], 2),
    ],
)
def test_killed_at_any_moment_it_goes_on_from_what_was_written_whole(
    kills: str, ended: list[int], kept: int, forks: Forks, tmp_path: Path
) -> None:
    where = f"Path({str(tmp_path)!r}), 'vectors'"
    assert run(forks, f"fit_killed({where}, (2, 6), {kills})") == ended
    assert (tmp_path / ".training.save").exists() == ("writing" in kills)
    assert (tmp_path / "training").exists() == (kept > 0)
    assert run(forks, f"fit_again({where})") == [0, 0]
    for each in left(tmp_path, "again"):
        check_same(each["again"], each["whole"])
        assert each["again"]["n_steps"] == STEPS - kept
        assert each["again"]["notes"] == []
    assert not (tmp_path / "training").exists()


@pytest.mark.slow
def test_rows_that_are_streamed_go_on_in_the_middle_of_an_epoch(forks: Forks, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "rows.csv", index=False)
    where = f"Path({str(tmp_path)!r}), 'streamed'"
    assert run(forks, f"fit_killed({where}, (2, 9), {{1: 10}})") == [0, KILLED]  # of six steps in each of three epochs
    assert run(forks, f"fit_again({where})") == [0, 0]
    for each in left(tmp_path, "again"):
        check_same(each["again"], each["whole"])
        assert (each["again"]["n_steps"], each["whole"]["n_steps"]) == (18 - 9, 18)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again 0.json", "again 1.json", "rows.csv"]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "now"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_and_says_so(before: int, now: int, forks: Forks, tmp_path: Path) -> None:
    where = f"Path({str(tmp_path)!r}), 'without dropout'"
    assert run(forks, f"fit_killed({where}, (6,), {{0: 7}})", n=before) == [KILLED, 0][:before]
    assert run(forks, f"fit_again({where})", n=now) == [0] * now
    each = left(tmp_path, "again", n=now)[0]
    np.testing.assert_allclose(each["again"]["curve"], each["whole"]["curve"], rtol=0, atol=1e-5)
    assert each["again"]["n_steps"] == STEPS - 6
    assert each["again"]["notes"] == [
        f"The training was by another number of processes until it was stopped ({before}, and now {now}): it goes on, "
        "and dropout and noise are drawn otherwise from here."
    ]


@pytest.fixture(scope="module")
def rules(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("rules")
    assert run(forks, f"follow_rules(Path({str(folder)!r}))") == [0, 0]
    return left(folder, "rules")


@pytest.mark.slow
def test_the_first_process_alone_writes(rules: list[dict[str, Any]]) -> None:
    assert [each["files after a stop"] for each in rules] == [["training"], []]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_steps"),
    [
        ("the first alone has a file", STEPS - 6),
        ("the second alone has a file", STEPS),
        ("the first is given none", STEPS),
        ("a full disk", STEPS),
    ],
)
def test_the_file_of_the_first_process_decides_and_the_end_is_the_same(
    name: str, n_steps: int, rules: list[dict[str, Any]]
) -> None:
    for each in rules:
        check_same(each[name], each["whole"])
        assert each[name]["n_steps"] == n_steps


@pytest.mark.slow
def test_what_is_other_than_it_was_begins_anew_and_a_full_disk_is_told_by_the_first(
    rules: list[dict[str, Any]],
) -> None:
    first, second = rules
    assert [first["other options"]["n_steps"], second["other options"]["n_steps"]] == [STEPS, STEPS]
    assert [note.rpartition(", ")[2] for note in first["other options"]["notes"]] == ["or damaged: it begins anew."]
    assert first["other options"]["weights"] == second["other options"]["weights"] != first["whole"]["weights"]
    assert len(first["a full disk"]["notes"]) == 2
    assert "(No space left on device); it goes on, and is tried again" in first["a full disk"]["notes"][0]
    assert [note for each in second.values() if isinstance(each, dict) for note in each["notes"]] == []


def test_the_state_of_a_gpu_is_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGPU(torch.nn.Linear):
        weight = type("Weight", (), {"is_cuda": True})()  # type: ignore[assignment]

        def parameters(self, recurse: bool = True) -> Any:
            return iter([self.weight])

    gpu = torch.arange(16, dtype=torch.uint8)
    got: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "set_rng_state", got.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with torch.random.fork_rng(devices=[]):
        state = random_state(OnGPU.__new__(OnGPU))
        drawn = torch.rand(3)
        set_random_state(torch.stack([state, state])[1])
        assert torch.equal(torch.rand(3), drawn)
    assert torch.equal(got[0], gpu)
