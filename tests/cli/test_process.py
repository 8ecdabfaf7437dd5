"""Output that cannot encode, has no reader or no room: the work is done, and no traceback is shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profuse.cli._process import Stopped, exit_code, stopping

TABLE = "β,a,y\n" + "".join(f"{i * i % 11},{i * i % 7},{['≤ 0', '> 0'][i % 2]}\n" for i in range(40))


def start(*args: object, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "profuse", *map(str, args)]
    return subprocess.Popen(command, env={**os.environ, **(environment or {})}, stderr=subprocess.PIPE, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "t.csv").write_text(TABLE, encoding="utf-8")
    process = start("fit", "t.csv", "-t", "y", "--network", "--epochs", 1, "--width", 4, "--out", "m", cwd=folder)
    _, told = process.communicate()
    assert process.returncode == 0, told
    return folder


ENCODINGS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_answers_are_utf_8_whatever_the_terminal_is(encoding: str, home: Path) -> None:
    process = start("predict", "m", "t.csv", environment=ENCODINGS[encoding], cwd=home, stdout=subprocess.PIPE)
    out, told = process.communicate()
    assert process.returncode == 0, told
    assert out.decode("utf-8").splitlines()[0] == "row,prediction,prob_> 0,prob_≤ 0"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_a_terminal_cannot_show_is_told_by_its_number(encoding: str, home: Path) -> None:
    process = start("schema", "t.csv", "-t", "y", environment=ENCODINGS[encoding], cwd=home, stdout=subprocess.PIPE)
    out, told = process.communicate()
    assert process.returncode == 0, told
    assert rb"\u03b2" in out
    assert rb'"\u03B2": numeric' in out  # YAML that reads as what it was


@pytest.mark.slow
def test_an_error_with_words_that_cannot_be_shown_is_still_one_message(home: Path) -> None:
    process = start("predict", "m", "ü≤.csv", environment=ENCODINGS["cp1252"], cwd=home)
    _, told = process.communicate()
    assert process.returncode == 2
    assert b"\xfc\\u2264.csv" in told
    assert b"Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("args", [("predict", "m", "t.csv"), ("schema", "t.csv"), ("fusions",), ("--help",)])
def test_a_reader_that_has_gone_is_no_error(args: tuple[str, ...], home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start(*args, cwd=home, stdout=write)
    os.close(write)
    _, told = process.communicate()
    assert (process.returncode, told) == (0, b"")


@pytest.mark.slow
def test_a_reader_of_messages_that_has_gone_stops_no_work(home: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    args = ["fit", home / "t.csv", "-t", "y", "--network", "--epochs", "1", "--width", "4", "--out", "m"]
    command = [sys.executable, "-m", "profuse", *map(str, args)]
    done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=write)
    os.close(write)
    assert done.returncode == 0
    assert (tmp_path / "m" / "model.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize("args", [("predict", "m", "t.csv"), ("schema", "t.csv"), ("--help",)])
def test_a_full_disk_under_the_output_is_one_error(args: tuple[str, ...], home: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start(*args, cwd=home, stdout=full)
        _, told = process.communicate()
    assert process.returncode == 2
    assert told.decode().splitlines()[-1] == (
        "Error: standard output: must be readable, or writable for output; No space left on device. Name another path."
    )
    assert b"Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/null", "pipe", "folder"])
def test_a_place_that_is_no_file_is_refused_and_stays(place: str, home: Path) -> None:
    if place == "pipe" and not (home / place).exists():
        os.mkfifo(home / place)
    (home / "folder").mkdir(exist_ok=True)
    before = os.lstat(home / place)
    process = start("predict", "m", "t.csv", "--out", place, cwd=home, stdout=subprocess.PIPE)
    out, told = process.communicate()
    assert process.returncode == 2
    assert b"not a regular file" in told
    assert out == b""
    assert os.lstat(home / place).st_ino == before.st_ino


@pytest.mark.slow
def test_a_file_whose_name_is_no_utf_8_can_be_read(home: Path) -> None:
    name = b"caf\xe9.csv"
    (home / os.fsdecode(name)).write_text(TABLE, encoding="utf-8")
    process = start(
        "fit", name.decode(errors="surrogateescape"), "-t", "y", "--network", "--epochs", 1, "--out", "n", cwd=home
    )
    _, told = process.communicate()
    assert process.returncode == 0, told
    assert rb"caf\xe9: 40 rows" in told


@pytest.mark.slow
@pytest.mark.parametrize("limit", [600, 3000, 20_000])
def test_a_model_that_finds_no_room_is_one_error_and_leaves_nothing(limit: int, home: Path, tmp_path: Path) -> None:
    code = (
        f"import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from profuse.cli import main\nmain(sys.argv[1:])"
    )
    args = ["fit", str(home / "t.csv"), "-t", "y", "--network", "--epochs", "1", "--out", "m"]
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    told = done.stderr.splitlines()[-1]
    assert told == "Error: save: m must be writable; File too large. Name another folder, or make room in it."
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
