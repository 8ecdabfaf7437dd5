"""Commands in processes of their own that import nothing anew: each is a fork of one process that has done so.

A process of profuse takes 4 to 7 s of a core for its imports. A test of kills and of what the next process finds needs
processes, and not their imports. A fork has a session, a folder, outputs and a memory of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import profuse

_SERVER = """
import gc, json, os, signal, sys, tempfile
import lightning_fabric.fabric, pandas, scipy.stats, skops.io, sklearn.ensemble, sklearn.linear_model, torch._dynamo
import profuse.cli._progress, profuse.comparison.compare, profuse.estimators, profuse.portfolio, profuse.report
import pytest
from few_trees import few_trees, in_workers_too
from profuse.cli import main

def run(job):
    os.setsid()
    os.chdir(job["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.update(job["environment"])
    tempfile.tempdir = None  # found anew: it may be another in this environment
    if job["few_trees"]:
        few_trees().__enter__()
        in_workers_too(pytest.MonkeyPatch())
    sys.argv = ["profuse", *job["args"]]
    exec(job["before"], {})
    main(job["args"])

gc.collect()
gc.freeze()  # a fork that searches what was imported, above all at its end, takes a second, and copies its memory
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
while line := sys.stdin.readline():
    asked = json.loads(line)
    if "ended" in asked:
        pid, status = os.waitpid(asked["ended"], os.WNOHANG)
        told = os.waitstatus_to_exitcode(status) if pid else None
    else:
        told = os.fork()
        if told == 0:
            run(asked)
    print(json.dumps(told), flush=True)
"""


# About one in a hundred times a collective of gloo does not notice that the other process was killed, and waits for
# half an hour; torchrun would end it. It must not give up where the other is merely kept from running for a while.
_GIVES_UP = """
from datetime import timedelta
from torch.distributed import distributed_c10d
distributed_c10d.default_pg_timeout = timedelta(seconds=60)
"""


class Forks:
    """One process that has imported what commands need, and forks for each of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_started = 0
        paths = [str(Path(profuse.__file__).parents[1]), str(Path(__file__).parent)]
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **question: Any) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(question), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    def start(
        self,
        *args: object,
        cwd: Path | None = None,
        before: str = "",
        few_trees: bool = True,
        environment: dict[str, str] | None = None,
    ) -> Fork:
        """Starts `profuse` with `args`, after the code `before`, in a session of its own."""
        out, err = (self.folder / f"{self.n_started}.{name}" for name in ("out", "err"))
        self.n_started += 1
        pid = self._ask(
            args=[*map(str, args)], cwd=str(cwd or Path.cwd()), out=str(out), err=str(err), before=before,
            few_trees=few_trees, environment=environment or {},
        )  # fmt: skip
        return Fork(self, pid, out, err)

    def start_two(self, *args: object, n_local: int = 2, before: str = "", **options: Any) -> list[Fork]:
        """Starts the same in two processes, with the variables that torchrun sets; `n_local` are on a machine."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = []
        for rank in range(2):
            where: dict[str, object] = {"RANK": rank, "LOCAL_RANK": rank % n_local, "LOCAL_WORLD_SIZE": n_local}
            where |= {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment = {name: str(value) for name, value in where.items()}
            code = _GIVES_UP + before
            started.append(self.start(*args, environment=environment, few_trees=False, before=code, **options))
        return started

    def run_two(self, *args: object, ended: list[int] | None = None, **options: Any) -> list[Fork]:
        """Runs the same in two processes to their ends, which must be as `ended` says."""
        started = self.start_two(*args, **options)
        together_at_the_end(started, ended)
        return started

    def run(self, *args: object, **options: Any) -> Fork:
        """Runs `profuse` to its end."""
        fork = self.start(*args, **options)
        fork.wait()
        return fork

    def run_script(self, path: Path, **options: Any) -> Fork:
        """Runs a file to its end, as `python path` does."""
        code = f"import runpy\nrunpy.run_path({str(path)!r}, run_name='__main__')\nraise SystemExit"
        return self.run(before=code, few_trees=False, **options)

    def close(self) -> None:
        self._server.communicate()


def together_at_the_end(started: list[Fork], ended: list[int] | None = None) -> None:
    """Waits for all, and tells what they have said where one runs on or ends otherwise than `ended` says."""
    codes = [each.wait(240) for each in started]
    for each in started:
        if each.returncode is None:
            each.kill()
    said = "\n".join(f"process {i} said:\n{each.stderr[-3000:]}" for i, each in enumerate(started))
    assert None not in codes, f"a process waits for ever: they ended {codes}\n{said}"
    assert ended in (None, codes), f"they ended {codes}\n{said}"


class Fork:
    """A command that was started: its process, and what it says in files."""

    def __init__(self, forks: Forks, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forks, self._out, self._err = forks, out, err

    def wait(self, seconds: float = 300) -> int | None:
        """Waits for the end, `seconds` at most, and returns the exit code: None where it still runs."""
        until = time.monotonic() + seconds
        while self.returncode is None:
            self.returncode = self._forks._ask(ended=self.pid)
            if self.returncode is None:
                if time.monotonic() > until:
                    break
                time.sleep(0.02)
        return self.returncode

    def kill(self) -> None:
        """Kills it and all that it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8") if self._out.exists() else ""

    @property
    def stderr(self) -> str:
        return self._err.read_text(encoding="utf-8") if self._err.exists() else ""
