"""A training by two processes that was killed goes on to the same end, bit for bit, with the steps it lacks alone."""

from __future__ import annotations

import json
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from forks import Forks, together_at_the_end
from kept_by_two import STEPS
from streamed_by_two import table
from torch.distributed import HashStore, TCPStore  # type: ignore[attr-defined]

import profuse
from profuse.training.keeper import Keeper, random_state, set_random_state
from profuse.training.keeping import Kept, Moment
from profuse.training.messages import Messages

KILLED = -signal.SIGKILL


def run(forks: Forks, call: str, n: int = 2) -> list[int | None]:
    """Runs a call of `kept_by_two` in processes, and returns how they ended."""
    code = f"from kept_by_two import *\n{call}\nraise SystemExit"
    started = forks.start_two(before=code) if n == 2 else [forks.start(before=code, few_trees=False)]
    together_at_the_end(started)
    assert [each.stderr for each in started if "Traceback" in each.stderr] == []
    return [each.returncode for each in started]


def left(folder: Path, name: str, n: int = 2) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{name} {rank}.json").read_text()) for rank in range(n)]


def check_same(got: dict[str, Any], whole: dict[str, Any]) -> None:
    assert json.dumps(got["curve"]) == json.dumps(whole["curve"])
    assert got["weights"] == whole["weights"]


@pytest.mark.slow
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
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("name", ["vectors", "series"])
def test_it_goes_on_from_any_step(name: str, strategy: str, forks: Forks, tmp_path: Path) -> None:
    what = f"Path({str(tmp_path)!r}), {name!r}, (1,), (4,), (2, 5), (11,), strategy={strategy!r}"
    assert run(forks, f"stop_and_go_on({what})") == [0, 0]
    for each in left(tmp_path, name):
        for at in (1, 4, 7, 11):  # 4 ends an epoch; 7 is stopped twice
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
def test_what_processes_have_seen_is_the_first_ones_also_where_weights_are_split(forks: Forks, tmp_path: Path) -> None:
    curves = []
    for strategy in ("ddp", "fsdp"):
        folder = tmp_path / strategy
        folder.mkdir()
        assert run(forks, f"stop_and_go_on(Path({str(folder)!r}), 'series', strategy={strategy!r})") == [0, 0]
        curves.append(left(folder, "series")[0]["whole"]["curve"])
    np.testing.assert_allclose(curves[0], curves[1], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_what_is_kept_is_whole_and_goes_on_where_weights_are_split(forks: Forks, tmp_path: Path) -> None:
    where = f"Path({str(tmp_path)!r}), 'without dropout'"
    assert run(forks, f"fit_killed({where}, (6,), {{0: 7}})") == [KILLED, 0]
    assert run(forks, f"fit_again({where}, 'fsdp')") == [0, 0]
    each = left(tmp_path, "again")[0]
    np.testing.assert_allclose(each["again"]["curve"], each["whole"]["curve"], rtol=0, atol=1e-5)
    assert (each["again"]["n_steps"], each["again"]["notes"]) == (STEPS - 6, [])


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


@pytest.mark.slow
def test_the_command_in_two_processes_that_are_killed_goes_on_to_the_model_of_one_that_was_not(
    forks: Forks, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
    frame["ill"] = np.where(frame["a"] * frame["b"] + 0.3 * rng.normal(size=400) > 0, "yes", "no")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    asked = ("fit", "rows.csv", "--target", "ill", "--network", "--epochs", 5, "--width", 8, "--members", 1)
    often = "from profuse.training.keeping import Kept\nKept.__init__.__kwdefaults__['every'] = 0.05"

    kept = tmp_path / ".killed.training"
    first, second = forks.start_two(*asked, "--device", "cpu", "--out", "killed", cwd=tmp_path, before=often)
    while not kept.exists() and first.wait(0.02) is None:
        pass
    second.kill()
    assert first.wait(120) == 2
    assert f"The training is kept in {kept}: the same command goes on from there" in first.stderr
    for out in ("killed", "whole"):
        first, second = forks.run_two(*asked, "--device", "cpu", "--out", out, cwd=tmp_path, before=often, ended=[0, 0])
        assert ("Goes on in epoch" in first.stderr) == (out == "killed")
        assert "Goes on" not in second.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "rows.csv", "whole"]
    killed, whole = (profuse.load_model(tmp_path / out).predict_proba(frame) for out in ("killed", "whole"))
    assert np.array_equal(killed, whole)


@pytest.mark.slow
def test_processes_that_torchrun_starts_anew_do_not_hear_what_the_killed_ones_have_said(
    forks: Forks, tmp_path: Path
) -> None:
    kept_by_torchrun = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for n, ended in ((0, KILLED), (1, 0)):
        where = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": str(n)}
        where |= {"MASTER_PORT": str(kept_by_torchrun.port)}
        call = f"os.environ.update({where})\nbe_restarted(Path({str(tmp_path)!r}))"
        assert run(forks, call) == [ended, ended]
    assert [json.loads(path.read_text()) for path in tmp_path.iterdir()] == ["1", "1"]


class Thread:
    """In place of a `World`: its processes are threads of this one, and meet at a barrier."""

    given: ClassVar[dict[int, torch.Tensor]] = {}

    def __init__(self, rank: int, store: Any, barrier: Barrier) -> None:
        self.rank, self.first, self.n_processes, self._barrier = rank, rank == 0, 2, barrier
        self.messages = Messages(store, rank, 2)

    def gathered(self, rows: torch.Tensor, n_rows: int) -> torch.Tensor:
        self.given[self.rank] = rows
        self._barrier.wait()
        made = torch.cat([self.given[0], self.given[1]])
        self._barrier.wait()
        return made

    def spread(self, tensor: torch.Tensor) -> None:
        tensor.copy_(self.gathered(tensor[None], 2)[0])


class Seen(torch.nn.Module):
    """A weight that all processes have alike, a buffer that they do not, and one that is none of the state."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.register_buffer("seen", torch.tensor(3.0 + rank))
        self.register_buffer("known", torch.tensor([True, False]))
        self.register_buffer("aside", torch.tensor(7.0 + rank), persistent=False)


def test_each_process_gets_its_own_of_what_differs_and_the_first_ones_of_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profuse.training.keeper.random_state", lambda model: 2 * model.seen[None])
    store, barrier, path = HashStore(), Barrier(2, timeout=20), tmp_path / "training"

    def in_process(rank: int) -> dict[str, Any]:
        these: Any = Thread(rank, store, barrier)
        model, kept = Seen(rank), Kept(path, every=0.0) if rank == 0 else None
        keeper = Keeper.of(kept, these)
        assert keeper is not None
        assert keeper.open("key") is None
        assert keeper.due()
        moment = Moment(2, 3, 7, 0.5, 64, judged={"worths": [0.25]})
        moment.tensors |= {f"model.{name}": value for name, value in model.state_dict().items()}
        moment.tensors |= {"best.seen": torch.tensor(5.0 - rank), "optimizer.0.step": torch.tensor(9.0 + rank)}
        barrier.wait()
        keeper.write(moment, model)
        again = keeper.open("key")
        assert again is not None
        assert (again.epoch, again.n_steps, again.n_done, again.judged) == (2, 3, 7, {"worths": [0.25]})
        assert keeper.open("another key") is None
        barrier.wait()
        keeper.end()
        assert set(again.tensors) == {
            "model.weight", "model.seen", "model.known", "best.seen", "optimizer.0.step", "random",
        }  # fmt: skip
        return {name: value.tolist() for name, value in again.tensors.items()}

    with warnings.catch_warnings(), ThreadPoolExecutor(2) as threads:
        warnings.simplefilter("ignore")  # that of another key begins anew
        first, second = threads.map(in_process, (0, 1))
    for name, own in {"model.seen": (3.0, 4.0), "best.seen": (5.0, 4.0), "random": ([6.0], [8.0])}.items():
        assert (first[name], second[name]) == own
    assert first["optimizer.0.step"] == second["optimizer.0.step"] == 9.0
    assert second["model.known"] == [True, False]
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_a_gpu_is_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGPU(torch.nn.Linear):
        weight = type("Weight", (), {"is_cuda": True})()

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
