"""The process: signals that end it in good order, and output that no terminal, pipe or disk can make fail halfway."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Stopped", "exit_code", "guard_output", "stopping"]

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PATIENCE = 10.0
"""Seconds after a signal in which the process may clear up; then it ends as it is."""


class Stopped(KeyboardInterrupt):
    """The process was asked to end by a signal; it is handled as Ctrl-C is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(error: KeyboardInterrupt) -> int:
    """Returns what shells expect of a process that a signal ended: 128 and its number."""
    if isinstance(error, Stopped):
        return 128 + error.number
    # Ray raises one of its own where a signal meets it
    return 128 + (_RECEIVED[-1] if _RECEIVED else signal.SIGINT)


_RECEIVED: list[int] = []
"""Signals that have stopped this process."""


@contextmanager
def stopping() -> Iterator[None]:
    """Has SIGTERM and SIGHUP raise `Stopped`, so that workers end and temporary files go, as with Ctrl-C.

    A signal that the process was started to ignore (`nohup`) stays ignored.
    """
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [int(getattr(signal, name)) for name in names]
    if threading.current_thread() is not threading.main_thread():  # only that one may say
        numbers = []
    _RECEIVED.clear()
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is signal.SIG_DFL}
    for number in before:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: clearing up must not be stopped
    last = threading.Timer(_PATIENCE, os._exit, (128 + number,))
    last.daemon = True
    last.start()
    _RECEIVED.append(number)
    raise Stopped(number)


def guard_output() -> None:
    """Has standard output and error tell what they cannot encode by its number, and outlive their reader.

    What is said to a pipe that nobody reads any more (`| head`) or to a terminal that is gone is dropped, and the work
    goes on. A full disk under standard output is an error, told once.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)  # without a buffer where Python runs unbuffered
        if not isinstance(raw, io.RawIOBase):  # closed, or no file: a notebook's
            continue
        stream.flush()
        guarded = io.TextIOWrapper(
            io.BufferedWriter(_Outliving(raw, is_error=name == "stderr")),
            encoding=stream.encoding,
            errors="backslashreplace",
            newline="\n" if os.linesep == "\n" else None,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        _KEPT.append(stream)
        setattr(sys, name, guarded)


_KEPT: list[Any] = []
"""Streams that were replaced: closing them would close what they write to."""


class _Outliving(io.RawIOBase):
    """Writes to another raw stream for as long as that has a reader."""

    def __init__(self, raw: io.RawIOBase, *, is_error: bool) -> None:
        self._raw = raw
        self._is_error = is_error
        self._gone = False

    def write(self, data: Any) -> int:
        if not self._gone:
            try:
                return self._raw.write(data) or 0
            except OSError as error:
                self._gone = True
                if error.errno in _DISK and not self._is_error:
                    raise OSError(error.errno, error.strerror, "standard output") from error
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()
