"""Output that cannot encode, has no reader or no room: the work is done, and no traceback is shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from forks import Forks

from profuse.cli._process import Stopped, exit_code, stopping

TABLE = "β,a,y\n" + "".join(f"{i * i % 11},{i * i % 7},{['≤ 0', '> 0'][i % 2]}\n" for i in range(40))
Done = subprocess.CompletedProcess[bytes]


def fresh(*args: object, environment: dict[str, str] | None = None, **options: Any) -> Done:
    """Runs `profuse` in a process of its own, which takes seconds for its imports."""
    command = [sys.executable, "-m", "profuse", *map(str, args)]
    env = {**os.environ, **(environment or {})}
    return subprocess.run(
        command, env=env, check=False, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    )


def forked(forks: Forks, *args: object, cwd: Path, before: str = "", environment: dict[str, str] | None = None) -> Done:
    """Runs `profuse` in a fork that writes into pipes, by the streams that Python opens in this `environment`.

    The pipes hold what these commands say: nobody reads before the end.
    """
    folder = Path(tempfile.mkdtemp(dir=forks.folder))
    code, reads = "import os\n", []
    for number in (1, 2):
        os.mkfifo(folder / f"{number}")
        reads.append(os.open(folder / f"{number}", os.O_RDONLY | os.O_NONBLOCK))
        code += f"os.dup2(os.open({str(folder / f'{number}')!r}, os.O_WRONLY), {number})\n"
    if environment:
        code += f"import sys\n{streams(environment)}"
    ended = forks.run(*args, cwd=cwd, before=code + before, environment=environment)
    said = []
    for read in reads:
        with os.fdopen(read, "rb") as pipe:
            said.append(pipe.read())
    assert ended.returncode is not None, "it still runs"
    return subprocess.CompletedProcess([str(arg) for arg in args], ended.returncode, *said)


def streams(environment: dict[str, str]) -> str:
    """Returns code that makes standard output and error what they are in a process that starts in `environment`."""
    code = (
        "import locale, sys\n"
        "for n, name in ((1, 'stdout'), (2, 'stderr')):\n"
        "    s = getattr(sys, name)\n"
        "    how = f'{1 if s.line_buffering else -1}, {s.encoding!r}, {s.errors!r}, closefd=False'\n"
        "    print(f'sys.{name} = open({n}, \"w\", {how})')\n"
        "print('#', sys.getfilesystemencoding(), locale.getpreferredencoding(False))"
    )
    usual, asked = (
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        for env in (dict(os.environ), {**os.environ, **environment})
    )
    assert usual.splitlines()[:2] != asked.splitlines()[:2]
    assert usual.splitlines()[2] == asked.splitlines()[2], "this environment changes more: it needs a fresh process"
    return asked


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "t.csv").write_text(TABLE, encoding="utf-8")
    done = forked(forks, "fit", "t.csv", "-t", "y", "--network", "--epochs", 1, "--width", 4, "--out", "m", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


ENCODINGS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def in_encoding(encoding: str, forks: Forks, *args: object, cwd: Path) -> Done:
    """Runs `profuse` where that encoding is asked for; a locale changes more than the two streams."""
    if encoding == "the C locale":
        return fresh(*args, environment=ENCODINGS[encoding], cwd=cwd)
    return forked(forks, *args, environment=ENCODINGS[encoding], cwd=cwd)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_answers_are_utf_8_whatever_the_terminal_is(encoding: str, home: Path, forks: Forks) -> None:
    done = in_encoding(encoding, forks, "predict", "m", "t.csv", cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").splitlines()[0] == "row,prediction,prob_> 0,prob_≤ 0"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_a_terminal_cannot_show_is_told_by_its_number(encoding: str, home: Path, forks: Forks) -> None:
    done = in_encoding(encoding, forks, "schema", "t.csv", "-t", "y", cwd=home)
    assert done.returncode == 0, done.stderr
    assert rb"\u03b2" in done.stdout
    assert rb'"\u03B2": numeric' in done.stdout  # YAML that reads as what it was


@pytest.mark.slow
def test_an_error_with_words_that_cannot_be_shown_is_still_one_message(home: Path, forks: Forks) -> None:
    done = in_encoding("cp1252", forks, "predict", "m", "ü≤.csv", cwd=home)
    assert done.returncode == 2
    assert b"\xfc\\u2264.csv" in done.stderr
    assert b"Traceback" not in done.stderr


NO_READER = "read, write = os.pipe()\nos.close(read)\n"


@pytest.mark.slow
@pytest.mark.parametrize("args", [("predict", "m", "t.csv"), ("schema", "t.csv"), ("fusions",)])
def test_a_reader_that_has_gone_is_no_error(args: tuple[str, ...], home: Path, forks: Forks) -> None:
    done = forked(forks, *args, cwd=home, before=f"{NO_READER}os.dup2(write, 1)")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
@pytest.mark.parametrize("args", [("schema", "t.csv"), ("--help",)])
def test_a_reader_that_has_gone_is_no_error_in_a_fresh_process_either(args: tuple[str, ...], home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = fresh(*args, cwd=home, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_a_reader_of_messages_that_has_gone_stops_no_work(home: Path, tmp_path: Path, forks: Forks) -> None:
    done = forked(
        forks, "fit", home / "t.csv", "-t", "y", "--network", "--epochs", 1, "--width", 4, "--out", "m", cwd=tmp_path,
        before=f"{NO_READER}os.dup2(write, 1)\nos.dup2(write, 2)",
    )  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "m" / "model.json").is_file()


FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="the system has no disk that is always full")
NO_ROOM = (
    "Error: standard output: must be readable, or writable for output; No space left on device. Name another path."
)


@pytest.mark.slow
@full
@pytest.mark.parametrize("args", [("predict", "m", "t.csv"), ("schema", "t.csv")])
def test_a_full_disk_under_the_output_is_one_error(args: tuple[str, ...], home: Path, forks: Forks) -> None:
    done = forked(forks, *args, cwd=home, before=f"os.dup2(os.open({str(FULL)!r}, os.O_WRONLY), 1)")
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == NO_ROOM
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
@full
@pytest.mark.parametrize("args", [("schema", "t.csv"), ("--help",)])
def test_a_full_disk_is_one_error_in_a_fresh_process_too(args: tuple[str, ...], home: Path) -> None:
    with FULL.open("wb") as disk:
        done = fresh(*args, cwd=home, stdout=disk)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == NO_ROOM
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/null", "pipe", "folder"])
def test_a_place_that_is_no_file_is_refused_and_stays(place: str, home: Path, forks: Forks) -> None:
    if place == "pipe" and not (home / place).exists():
        os.mkfifo(home / place)
    (home / "folder").mkdir(exist_ok=True)
    before = os.lstat(home / place)
    done = forked(forks, "predict", "m", "t.csv", "--out", place, cwd=home)
    assert done.returncode == 2
    assert b"not a regular file" in done.stderr
    assert done.stdout == b""
    assert os.lstat(home / place).st_ino == before.st_ino


@pytest.mark.slow
def test_a_file_whose_name_is_no_utf_8_can_be_read(home: Path, forks: Forks) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    (home / name).write_text(TABLE, encoding="utf-8")
    done = forked(forks, "fit", name, "-t", "y", "--network", "--epochs", 1, "--out", "n", cwd=home)
    assert done.returncode == 0, done.stderr
    assert rb"caf\xe9: 40 rows" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("limit", [600, 3000, 20_000])
def test_a_model_that_finds_no_room_is_one_error_and_leaves_nothing(
    limit: int, home: Path, tmp_path: Path, forks: Forks
) -> None:
    done = forked(
        forks, "fit", home / "t.csv", "-t", "y", "--network", "--epochs", 1, "--out", "m", cwd=tmp_path,
        before=f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))",
    )  # fmt: skip
    assert done.returncode == 2
    message = done.stderr.decode().splitlines()[-1]
    assert message == "Error: save: m must be writable; File too large. Name another folder, or make room in it."
    assert list(tmp_path.iterdir()) == []


def test_a_signal_is_told_even_where_a_library_makes_another_interrupt_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.cli._process.threading.Timer.start", lambda timer: None)  # it would end this process
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with stopping():
            assert exit_code(KeyboardInterrupt()) == 130
            with pytest.raises(Stopped) as stopped:
                signal.raise_signal(signal.SIGTERM)
            assert exit_code(stopped.value) == exit_code(KeyboardInterrupt()) == 143
        assert exit_code(KeyboardInterrupt()) == 143
        with stopping():
            assert exit_code(KeyboardInterrupt()) == 130
    finally:
        signal.signal(signal.SIGTERM, handler)
