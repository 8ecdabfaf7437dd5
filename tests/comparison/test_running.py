"""Fits that go on after kills, damage and other runs: nothing is lost, nothing wrong is kept, and it is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forks import Forks
from known_answers import make_product

from profuse._saving import claimed
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.jobs import slug
from profuse.comparison.methods import methods_for
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Machine, Results
from profuse.comparison.running import Run, _in_turn, _jobs, _key
from profuse.data.tensors import from_tensors
from profuse.errors import DataError, ProfuseError
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("few_classical")

OPTIONS = CompareOptions(
    fusions=(),
    rounds=(),
    seeds=1,
    retrain_without=False,
    model=ModelOptions(width=8, members=1),
    train=TrainOptions(epochs=1, batch_size=64, refit=False),
)
TIMES = ["fit_seconds", "predict_rows_per_second"]


def run(out: Path, options: CompareOptions = OPTIONS, n_jobs: int = 1, fitted: list[str] | None = None) -> Results:
    def tell(event: object) -> None:
        if fitted is not None and event.finished is not None:  # type: ignore[attr-defined]
            fitted.append(event.finished["method"])  # type: ignore[attr-defined]

    return compare_dataset(make_product(100), options, out, n_jobs=n_jobs, on_event=tell)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "o"
    run(out)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "o"))


def test_a_second_run_tells_first_of_the_fits_that_are_kept(out: Path) -> None:
    events: list[Event] = []
    more = OPTIONS.model_copy(update={"fusions": ("max",)})
    compare_dataset(make_product(100), more, out, n_jobs=1, on_event=events.append)
    event = next(e for e in events if e.stage == "prepare")
    assert len(event.kept) == event.n_done > 5
    assert {"concat", "trivial"} <= {facts["method"] for facts in event.kept}
    assert [e.finished["method"] for e in events if e.finished is not None] == ["max"]


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def made_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def brackets(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "half of it": half,
    "a bit flipped": flip,
    "nothing in it": empty,
    "gone": lambda path: path.unlink(),
    "a folder": made_a_folder,
    "a pipe": made_a_pipe,
    "brackets": brackets,
}
FILES = ("result.json", "arrays.npz", "digests.json", "model/model.json", "model/weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_fit_is_done_again_and_told(how: str, out: Path) -> None:
    """Each of the files, each in the folder of another fit."""
    before = Results.read(out)
    folders = {m.name: next((out / "work").glob(f"{slug(m.name)}-seed0-*")) for m in before.methods}
    networks = [name for name, folder in folders.items() if (folder / FILES[-1]).exists()][: len(FILES)]
    for method, name in zip(networks, FILES, strict=True):
        DAMAGE[how](folders[method] / name)
    fitted: list[str] = []
    after = run(out, fitted=fitted)
    assert sorted(fitted) == sorted(networks)
    for method in networks:
        told = f"The fit of {method}, seed 0, in work/ was damaged and is done again"
        assert any(told in n for n in after.dataset.notes)
    pd.testing.assert_frame_equal(before.frame().drop(columns=TIMES), after.frame().drop(columns=TIMES))
    assert run(out, fitted=[]).dataset.notes == before.dataset.notes


@pytest.mark.parametrize("how", ["half of it", "nothing in it", "brackets"])
def test_damaged_results_are_written_anew_from_the_fits(how: str, out: Path) -> None:
    before = Results.read(out)
    DAMAGE[how](out / "results.json")
    half(out / "rows.npz")
    assert run(out).frame().equals(before.frame())
    assert Results.read(out).rows.keys() == before.rows.keys()


def test_a_fit_that_is_put_in_anothers_place_is_not_taken_for_it(out: Path) -> None:
    one, other = (next((out / "work").glob(f"{name}-seed0-*")) for name in ("concat", "mean_logits"))
    shutil.rmtree(one)
    shutil.copytree(other, one)
    fitted: list[str] = []
    run(out, fitted=fitted)
    assert fitted == ["concat"]


def test_what_stopped_runs_left_is_cleared_away(out: Path) -> None:
    fit = next((out / "work").glob("concat-seed0-*")).name
    for name in (f".{fit}.save/new", ".fit-abcd1234", f".{fit}.save/old"):
        (out / "work" / name).mkdir(parents=True)
    for name in (f".{fit}.lock", ".nfs000123"):
        (out / "work" / name).write_text("x")
    (out / ".models.save" / "new").mkdir(parents=True)
    (out / ".results.json.save").write_text("half")
    run(out)
    left = {p.relative_to(out).as_posix() for p in out.rglob(".*")}
    assert left == {"work/.nfs000123"}  # a file that is open elsewhere, which the network drive removes itself


@pytest.mark.slow
def test_another_number_of_threads_is_another_fit_and_told(out: Path) -> None:
    fitted: list[str] = []
    options = OPTIONS.model_copy(update={"train": OPTIONS.train.model_copy(update={"threads": 2})})
    results = run(out, options, fitted=fitted)
    assert len(fitted) == len(results.methods)
    told = f"{len(fitted)} fits in work/ used threads=1, not 2, which changes last digits: done anew."
    assert told in results.dataset.notes
    fitted.clear()
    assert told not in run(out, fitted=fitted).dataset.notes
    assert fitted == []


def test_a_folder_in_which_another_run_works_is_refused_at_once(out: Path) -> None:
    code = (
        "import sys\nfrom profuse._saving import claimed\nwith claimed(sys.argv[1]):\n    print('holds', flush=True)\n"
    )
    code += "    sys.stdin.read()"
    command = [sys.executable, "-c", code, str(out / "work")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"holds\n"
    before = sorted(out.rglob("*"))
    with pytest.raises(DataError, match=f"only one process at a time may write there; process {other.pid} on"):
        run(out)
    assert sorted(out.rglob("*")) == before
    other.kill()
    other.communicate()
    run(out)
    with claimed(out / "work"):
        pass


TABLE = "b,a,y\n" + "".join(f"{i * i % 11},{i * i % 7},{'pq'[i % 2]}\n" for i in range(40))
ARGS = ["compare", "t.csv", "-t", "y", "--seeds", "3", "--epochs", "400", "--width", "8", "--jobs", "2", "--out", "o"]


def alive(session: int) -> list[str]:
    told = subprocess.run(["ps", "-s", str(session), "-o", "pid=,stat=,args="], capture_output=True, text=True)
    return [line for line in told.stdout.splitlines() if line.strip() and line.split()[1][0] != "Z"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])  # SIGINT: tests/cli/test_compare.py
def test_a_signal_ends_the_workers_and_what_it_leaves_goes(
    number: signal.Signals, tmp_path: Path, forks: Forks
) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "tmp").mkdir()
    environment = {"TMPDIR": str(tmp_path / "tmp")}
    process = forks.start(*ARGS, cwd=tmp_path, environment=environment)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("o/work/*-seed*-*")) and time.monotonic() < until:
        time.sleep(0.2)
    os.kill(process.pid, number)
    process.wait(60)
    told = process.stderr
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    until = time.monotonic() + 30
    while alive(process.pid) and time.monotonic() < until:
        time.sleep(0.2)
    assert alive(process.pid) == []
    left = list((tmp_path / "tmp").glob("*profuse-*"))
    if number == signal.SIGKILL:
        assert left
    else:
        assert left == []
        assert "fits are kept in o/work" in told
        assert "Traceback" not in told
    again = [*ARGS[:4], "--seeds", "1", "--epochs", "1", "--width", "8", "--jobs", "1", "--out", "o"]
    again += ["--portfolio", "none", "--questions", "none", "--no-retrain-without"]
    done = forks.run(*again, cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "tmp").glob("*profuse-*")) == []
    assert list((tmp_path / "o").rglob(".*")) == []


KILLED = """
import os, signal
left = [{}]
def hook(event, args):
    if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return
    if event in ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "shutil.rmtree"):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
import sys
sys.addaudithook(hook)
"""


@pytest.mark.slow
def test_a_kill_at_any_file_event_of_a_comparison_changes_nothing_in_the_end(tmp_path: Path, forks: Forks) -> None:
    """A sample of the events; each run goes on from what the killed one left."""
    (tmp_path / "t.csv").write_text(TABLE)
    args = [*ARGS[:4], "--seeds", "1", "--epochs", "1", "--width", "4", "--rounds", "none", "--jobs", "1"]
    args += ["--portfolio", "none", "--questions", "none", "--no-retrain-without", "--out"]
    assert forks.run(*args, "whole", cwd=tmp_path).returncode == 0
    whole = {p.relative_to(tmp_path / "whole").as_posix() for p in (tmp_path / "whole").rglob("*")}
    n_killed = 0
    for k in np.random.default_rng(0).choice(np.arange(1, 100), 5, replace=False):
        shutil.rmtree(tmp_path / "o", ignore_errors=True)
        n_killed += forks.run(*args, "o", cwd=tmp_path, before=KILLED.format(k)).returncode == -9
        done = forks.run(*args, "o", cwd=tmp_path)
        assert done.returncode == 0, (k, done.stderr)
        assert {p.relative_to(tmp_path / "o").as_posix() for p in (tmp_path / "o").rglob("*")} == whole, k
        one, other = (pd.read_csv(tmp_path / name / "results.csv").drop(columns=TIMES) for name in ("whole", "o"))
        pd.testing.assert_frame_equal(one, other)
    assert n_killed > 1


CHANGES: dict[str, dict[str, Any]] = {
    "epochs": {"train": {"epochs": 2}},
    "learning rate": {"train": {"learning_rate": 0.01}},
    "refit": {"train": {"refit": True}},
    "balance": {"train": {"balance": "ogm_ge"}},
    "width": {"model": {"width": 12}},
    "dropout": {"model": {"dropout": 0.3}},
    "size of the test part": {"split": {"test_size": 0.3}},
    "method of the split": {"split": {"method": "random"}},
    "trials": {"trials": 2},
}


def folders(digest: str = "d", print_: str = "p", **changes: Any) -> list[str]:
    """The folders of the fits of a fusion at two seeds."""
    options = OPTIONS.model_dump() | {"seeds": 2}
    for name, change in changes.items():
        options[name] = {**options[name], **change} if isinstance(change, dict) else change
    asked = CompareOptions.model_validate(options)
    methods, _ = methods_for(["a", "b"], (), rounds=(), base=asked.model, task="multiclass")
    method = next(m for m in methods if m.name == "concat")
    made = Run([method], [], Path("work"), Path("scratch"), prints={"concat": [print_]})
    jobs = list(_jobs(made, [method], asked, digest, None))
    assert [job.seed for job in jobs] == [0, 1]
    assert {job.prepared.name for job in jobs} == {"seed0.pickle", "seed1.pickle"}
    return [job.folder.name for job in jobs]


@pytest.mark.parametrize("change", CHANGES)
def test_a_fit_of_other_options_is_another_fit(change: str) -> None:
    assert folders() == folders()
    assert len(set(folders() + folders(**CHANGES[change]))) == 4


def test_a_fit_of_other_data_code_or_versions_is_another_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    before = folders()
    assert len({*before, *folders(digest="e"), *folders(print_="q")}) == 6
    here = Machine.here()
    monkeypatch.setattr(Machine, "here", lambda: here.model_copy(update={"versions": {"torch": "0.1"}}))
    assert not set(before) & set(folders())


def test_what_does_not_change_a_fit_leaves_it_as_it_is() -> None:
    assert folders(retrain_without=True) == folders(fusions=("gated",)) == folders()
    assert folders(seeds=2) == folders()


def test_where_all_methods_fail_for_one_reason_it_is_told_once(tmp_path: Path) -> None:
    groups = np.where(np.arange(60) < 59, "a", "b")
    data = from_tensors({"x": np.arange(60.0)[:, None]}, np.arange(60) % 2 == 1, subgroups=groups)
    options = CompareOptions.model_validate({
        "seeds": 1, "portfolio": "none", "train": {"subgroup_method": "sampling", "epochs": 1},
    })  # fmt: skip
    with pytest.raises(ProfuseError, match="none did") as caught:
        compare_dataset(data, options, out=tmp_path / "out", n_jobs=1)
    assert str(caught.value).count("must have at least 2") == 1
    assert "; x only, trivial, " in str(caught.value)


def test_networks_that_would_wait_for_the_solution_of_another_one_come_last_in_each_seed() -> None:
    options = OPTIONS.model_copy(update={"seeds": 2})
    methods, _ = methods_for(("a", "b"), ("concat", "gated"), rounds=(2,), base=options.model, task="binary")
    made = Run(methods, [], Path("work"), Path("scratch"), prints={m.name: [] for m in methods})
    jobs = list(_jobs(made, methods, options, "d", None))
    inturn = _in_turn(jobs)
    assert sorted(map(id, inturn)) == sorted(map(id, jobs))
    assert [job.seed for job in inturn] == [job.seed for job in jobs]
    names = [job.method.name for job in inturn if job.seed == 1]
    networks = [m for m in methods if m.is_network]
    firsts = [m.name for i, m in enumerate(networks) if m.modalities not in [n.modalities for n in networks[:i]]]
    assert len(firsts) == 3
    assert names == [
        *firsts,
        *(m.name for m in methods if not m.is_network),
        *(m.name for m in networks if m.name not in firsts),
    ]


@pytest.mark.parametrize(("name", "changes"), [("mae", True), ("pinball", True), ("r2", False)])
def test_where_a_metric_asks_for_a_quantile_every_fit_depends_on_it(name: str, changes: bool) -> None:
    methods = methods_for("ab", ["concat"], rounds=(), base=ModelOptions(), task="regression", portfolio="quick")[0]
    run: Any = SimpleNamespace(prints={m.name: "code" for m in methods}, portfolio_seconds=None)

    def keys(metric: str | None) -> dict[str, str]:
        options = CompareOptions(metric=metric)
        return {m.name: _key(run, m, 0, options, "digest", 1) for m in methods if not m.chooses(options.trials)}

    plain, asked = keys(None), keys(name)
    assert {"trivial", "linear", "concat", "a only"} <= {*plain}
    assert {n for n in plain if plain[n] != asked[n]} == ({*plain} if changes else set())
