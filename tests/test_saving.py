"""What is written appears whole or not at all, by one writer at a time, and what a dead one left goes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from profuse import _saving
from profuse._saving import (
    claimed,
    clear_dead,
    drop_shared_scratch,
    new_folder,
    restore,
    scratch,
    shared_scratch,
    write_file,
)
from profuse.errors import DataError, ProfuseWarning

KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from profuse import _saving
from profuse._saving import claimed, new_folder, restore, scratch, write_file

what, swaps = sys.argv[1], sys.argv[2] == "swaps"
if not swaps:
    _saving._exchange = lambda one, other: False
home = Path("home")
os.environ["TMPDIR"] = os.path.abspath("home")

def before():
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    if what == "file":
        (home / "f").write_text("old")
    if what == "folder":
        (home / "m").mkdir()
        (home / "m" / "a").write_text("old")

def act():
    if what == "file":
        write_file(home / "f", "new")
    elif what == "new file":
        write_file(home / "deep" / "er" / "f", "new")
    elif what == "scratch":
        with scratch() as folder:
            (folder / "table").write_text("secret")
    else:
        with new_folder(home / ("m" if what == "folder" else "deep/m")) as folder:
            (folder / "a").write_text("new")
            (folder / "b").mkdir()
            (folder / "b" / "c").write_text("new")

def seen():
    return {str(p.relative_to(home)): p.read_text() if p.is_file() else None for p in home.rglob("*")}

def child(k):
    pid = os.fork()
    if pid == 0:
        left = [k]
        def hook(event, args):
            if event in ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "shutil.rmtree", "fcntl.flock"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        act()
        os._exit(0)
    return os.waitpid(pid, 0)[1]

before()
start = seen()
act()
end = seen()
faults, k = [], 0
while True:
    k += 1
    before()
    if child(k) == 0:
        break
    if what in ("file", "folder"):
        name, inside = ("f", "f") if what == "file" else ("m", "m/a")
        restore(home / name)
        if seen().get(inside) not in ("old", "new"):
            faults.append([k, "lost", seen()])
    act()
    if seen() != end:
        faults.append([k, "left", seen()])
print(json.dumps({"n": k, "faults": faults, "end": end}))
"""


@pytest.mark.parametrize("how", ["swaps", "renames"])
@pytest.mark.parametrize("what", ["file", "new file", "folder", "new folder", "scratch"])
def test_a_kill_at_any_file_event_loses_nothing_and_what_it_leaves_goes(what: str, how: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, what, how], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["faults"] == []
    assert told["n"] > (5 if "file" in what else 8)
    assert (told["end"] == {}) == (what == "scratch")
    assert not any(name.split("/")[-1].startswith(".") for name in told["end"])


HOLD = """
import sys
from profuse._saving import claimed
with claimed(sys.argv[1]):
    print("holds", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another_process_holding(path: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_another_process_is_named_and_its_death_gives_the_place_back(tmp_path: Path) -> None:
    with another_process_holding(tmp_path / "m") as pid:
        for act in (lambda: claimed(tmp_path / "m"), lambda: new_folder_at_once(tmp_path / "m")):
            with (
                pytest.raises(DataError, match=f"only one process at a time may write there; process {pid} on "),
                act(),
            ):
                raise AssertionError
        os.kill(pid, signal.SIGKILL)
        with claimed(tmp_path / "m", wait=10):
            assert (tmp_path / ".m.lock").read_text().startswith(f"{os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def new_folder_at_once(path: Path) -> Iterator[Path]:
    with claimed(path), new_folder(path) as folder:
        yield folder


def test_who_has_a_place_may_claim_it_again_but_another_thread_may_not(tmp_path: Path) -> None:
    told: list[str] = []

    def other() -> None:
        try:
            with claimed(tmp_path / "m"):
                told.append("has it")
        except DataError as error:
            told.append(str(error))

    with claimed(tmp_path / "m"), claimed(tmp_path / "m"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "only one process at a time" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_folders_above_are_made_and_go_again_where_nothing_came_of_it(tmp_path: Path) -> None:
    with claimed(tmp_path / "a" / "b" / "m"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    write_file(tmp_path / "a" / "b" / "f", "x")
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "b", "f"]


def test_a_folder_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_text("old")

    def fail() -> None:
        with new_folder(tmp_path / "m") as folder:
            (folder / "a").write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")} == {"m", "m/a"}
    assert (tmp_path / "m" / "a").read_text() == "old"


def test_files_reach_the_disk_before_they_get_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, replace = _saving._sync, Path.replace

    def noted_sync(path: Path) -> None:
        events.append(f"sync {path.name}")
        sync(path)

    def noted_replace(path: Path, to: Path) -> Path:
        events.append(f"name {Path(to).name}")
        return replace(path, to)

    monkeypatch.setattr(_saving, "_sync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_file(tmp_path / "f", "x")
    assert events == ["sync .f.save", "name f", f"sync {tmp_path.name}"]


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom profuse._saving import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_file('f', 'x' * 5000)\nexcept OSError as error:\n    print(error.filename, error.strerror)\n"
    )
    (tmp_path / "f").write_text("old")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"{tmp_path / 'f'} {os.strerror(errno.EFBIG)}", done.stderr
    assert (tmp_path / "f").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("path", ["file/f", "file/deep/f", "x" * 250, "y" * 300 + "/f"])
def test_a_place_that_cannot_be_is_an_error_that_names_it(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for act in (lambda: write_file(tmp_path / path, "x"), lambda: new_folder(tmp_path / path).__enter__()):
        with pytest.raises(OSError, match="Not a directory|File name too long") as caught:
            act()
        assert caught.value.filename == str(tmp_path / path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_drive_without_locks_is_told_and_nothing_of_others_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def none(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    (tmp_path / ".f.save").write_text("of another, perhaps")
    place = claimed(tmp_path / "f")
    with pytest.warns(ProfuseWarning, match="the drive has no locks"):
        assert not place.__enter__()
    assert (tmp_path / ".f.save").exists()
    place.__exit__(None, None, None)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".f.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        write_file(tmp_path / "f", "x")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_folder_half_replaced_comes_back_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / ".m.save" / "old").mkdir(parents=True)
    (tmp_path / ".m.save" / "old" / "a").write_text("old")
    (tmp_path / ".m.save" / "new").mkdir()
    restore(tmp_path / "m")
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")} == {"m", "m/a"}


def test_temporary_folders_of_dead_runs_go_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("profuse-dead", "profuse-lives", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table").write_text("x")
    (tmp_path / ".profuse-dead.lock").write_text("1 on nowhere")
    with another_process_holding(tmp_path / "profuse-lives"), scratch() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        left = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
        assert left == {folder.name, "profuse-lives", "mine"}


def test_what_dead_writers_left_in_a_folder_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".a.save").mkdir()
    (tmp_path / ".a.lock").write_text("")
    (tmp_path / ".b.save").write_text("")
    (tmp_path / "c").write_text("")
    with another_process_holding(tmp_path / "d"):
        clear_dead(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == {"c", ".d.lock"}


def test_a_folder_of_temporary_files_within_another_leaves_that_one_alone() -> None:
    with scratch() as outer:
        (outer / "kept").write_text("here")
        with scratch() as inner:
            assert inner != outer
        assert (outer / "kept").read_text() == "here"
        assert not inner.exists()
    assert not outer.exists()


SHARES = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from profuse._saving import shared_scratch
path = shared_scratch("run")
(path / sys.argv[2]).write_text("here")
print("holds", flush=True)
sys.stdin.readline()
"""


def test_a_shared_temporary_folder_stays_while_one_of_its_processes_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def left() -> set[str]:
        with scratch():
            return {p.name for p in (tmp_path / "profuse-run").glob("*")}

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARES, str(tmp_path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert left() == {"a", "b"}
        process.kill()
        process.communicate()
    assert left() == set()
    assert list(tmp_path.iterdir()) == []
    (shared_scratch("run") / "c").write_text("here")
    assert left() == {"c"}
    drop_shared_scratch("run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_makes_meanwhile_is_used_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, is_there = tmp_path / "a", Path.is_dir

    def made_meanwhile(path: Path) -> bool:
        there = is_there(path)
        if path == folder and not there:
            folder.mkdir()
        return there

    monkeypatch.setattr(Path, "is_dir", made_meanwhile)
    with claimed(folder / "m"):
        assert is_there(folder)
    assert is_there(folder)
