"""One command in several processes: started here, or by torchrun; the first one speaks and writes."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

import typer

from profuse._workers import follow
from profuse.cli._print import say
from profuse.errors import ConfigError
from profuse.training.options import ProcessOptions, started_processes

__all__ = ["LINE", "check_one_process", "launched", "quieten", "together"]

LINE: list[str] = []
"""The arguments of the command that runs, with which it is started anew."""
_LAUNCHER = "PROFUSE_LAUNCHER"
"""The variable by which a process knows which one has started it, to end with it."""
_GRACE = 8.0
"""Seconds in which the others may end by themselves, once one has failed."""
_LAST = 4000  # characters of what a process has said at its end


def check_one_process(options: ProcessOptions, *, who: str, instead: str) -> None:
    """Checks that several processes are neither asked for nor started.

    Raises:
        ConfigError: They are; `instead` is what to do.
    """
    started = started_processes(os.environ)
    if options.several or started is not None:
        n = f"devices={options.devices or 1}" if started is None else f"{started.n} processes"
        raise ConfigError(f"fit: several processes must go with one network, not with {who}; got {n}. {instead}")


def quieten() -> None:
    """Keeps torch's warnings of its C++ parts back where it learns in several processes; to call before it is loaded.

    With every fit it would warn that a model might have no unused parameters.
    """
    if started_processes(os.environ) is not None:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def launched(options: ProcessOptions, device: str) -> bool:
    """Starts this command in as many processes as are asked for, and waits; False: this is one of them, or alone.

    Raises:
        ConfigError: They cannot be started here.
        typer.Exit: One has failed; what it says is told.
    """
    if _LAUNCHER in os.environ:
        follow(int(os.environ.pop(_LAUNCHER)))  # a process that this one starts is not of those
    if started_processes(os.environ) is not None or not options.several:
        return False
    n = options.devices or 1
    if (options.nodes or 1) > 1:
        options.check_started(None)  # tells how, on several machines
    _check_devices(n, device)
    code = _run([sys.executable, "-m", "profuse", *LINE], n)
    if code:
        raise typer.Exit(code)
    return True


@contextmanager
def together(options: ProcessOptions, device: str) -> Iterator[bool]:
    """Has the fits within done by all processes; gives whether this is the first one: no other says anything."""
    if started_processes(os.environ) is None:
        options.check_started(None)
        yield True
        return
    from profuse.training.world import processes

    with processes(options, device=device) as these, ExitStack() as stack:
        if not these.first:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield these.first


def _check_devices(n: int, device: str) -> None:
    """Checks that there is a GPU for each process, or none is used."""
    import torch

    found, there = "", n
    if device in ("auto", "cuda") and torch.cuda.is_available():
        found, there = f"{torch.cuda.device_count()} GPUs", torch.cuda.device_count()
    elif device in ("auto", "mps") and torch.backends.mps.is_available():
        found, there = "device mps, which takes one process", 1
    if n > there:
        raise ConfigError(
            f"fit: devices must be at most as many as there are; got devices={n}, and {found}. Ask for {there}, or add "
            "--device cpu."
        )


def _run(command: Sequence[str], n: int) -> int:
    """Runs a command in `n` processes, whose first one has the terminal; returns the exit code of the first to fail."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said: list[IO[str]] = []
    running: list[subprocess.Popen[str]] = []
    with ExitStack() as stack:
        stack.callback(_end, running)
        for rank in range(n):
            where: dict[str, object] = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": n,
                "LOCAL_WORLD_SIZE": n,
                "GROUP_RANK": 0,
                _LAUNCHER: os.getpid(),
            }
            where |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment = {**os.environ, **{name: str(value) for name, value in where.items()}}
            said.append(stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")))
            output = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": said[rank]}
            running.append(subprocess.Popen(command, env=environment, text=True, **output))  # type: ignore[call-overload]
        failed = _first_to_fail(running)
        if failed is None:
            return 0
        code = running[failed].returncode
        # a first process that ends by itself says what the other has said, or a fault of its own
        has_message = code > 0 if failed == 0 else _ends(running[0])
        if not has_message:
            said[failed].seek(0)
            words = said[failed].read()[-_LAST:].strip().removeprefix("Error: ")
            say(f"Error: process {failed + 1} of {n} has failed: {words or _how(code)}", err=True)
        return code if code > 0 else 128 - code


def _how(code: int) -> str:
    return (
        f"it ended with exit code {code}." if code > 0 else f"signal {-code} has ended it (9: memory may be used up)."
    )


def _first_to_fail(running: Sequence[subprocess.Popen[str]]) -> int | None:
    """Returns the number of the first process that fails; None if none does."""
    while True:
        codes = [each.poll() for each in running]
        bad = [rank for rank, code in enumerate(codes) if code]
        if bad:
            return bad[0]
        if all(code == 0 for code in codes):
            return None
        time.sleep(0.05)


def _ends(process: subprocess.Popen[str]) -> bool:
    """Returns whether a process ends by itself, and not well, within the grace."""
    try:
        return process.wait(_GRACE) > 0
    except subprocess.TimeoutExpired:
        return False


def _end(running: Sequence[subprocess.Popen[str]]) -> None:
    """Ends what still runs: asked first, then at once."""
    left = [each for each in running if each.poll() is None]
    for each in left:
        each.terminate()
    until = time.monotonic() + _GRACE
    for each in left:
        try:
            each.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()
