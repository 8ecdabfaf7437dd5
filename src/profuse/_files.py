"""Files of users: what may be opened, and how much of one may be held in memory."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from profuse.errors import ConfigError, DataError

__all__ = ["MAX_FILE_SIZE", "check_size", "check_source", "max_file_size", "n_bytes_of", "read_source", "shown_size"]

MAX_FILE_SIZE = "PROFUSE_MAX_FILE_SIZE"
"""The environment variable that bounds how many bytes one file may take in memory: 500M, 8G, ..."""

_DEFAULT = 2 * 1024**3
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SPECIAL = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def max_file_size() -> int:
    """Returns the most bytes that one file may take once it is unpacked and read: 2 GiB, or `PROFUSE_MAX_FILE_SIZE`.

    Raises:
        ConfigError: The variable is no size.
    """
    text = os.environ.get(MAX_FILE_SIZE, "").strip()
    if not text:
        return _DEFAULT
    return n_bytes_of(text, MAX_FILE_SIZE)


def n_bytes_of(text: str, who: str) -> int:
    """Returns the bytes of a size that is written as 500M or 8G.

    Raises:
        ConfigError: It is none, or 0; the message begins with `who`.
    """
    match = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{who}: it must be a size above 0; got {text!r}. Write it as 500M or 8G.")
    return int(match[1]) * _UNITS[match[2].upper()]


def check_size(n_bytes: float, what: str = "it") -> None:
    """Checks that `n_bytes`, which `what` will take in memory, are within `max_file_size`.

    Raises:
        DataError: They are not; the message names the variable that sets the limit.
    """
    limit = max_file_size()
    if n_bytes > limit:
        raise DataError(
            f"{what} takes {shown_size(n_bytes)} in memory, and the limit is {shown_size(limit)}. Make it smaller, or "
            f"set {MAX_FILE_SIZE} higher (8G)"
        )


def check_source(path: Path) -> None:
    """Checks that `path` is a regular file, which can be read to its end: no folder, pipe, socket or device.

    Raises:
        DataError: It is not, or there is no such file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise DataError("there is no such file") from error
    except (OSError, ValueError) as error:  # too long a name, a zero byte in it, a folder that may not be read
        raise DataError(f"it is no path of a file ({getattr(error, 'strerror', None) or error})") from error
    for is_special, name in _SPECIAL:
        if is_special(mode):
            raise DataError(f"it is {name}, not a regular file")


def read_source(path: Path) -> bytes:
    """Returns the bytes of the regular file `path`.

    Raises:
        DataError: See `check_source` and `check_size`; or it cannot be read.
    """
    check_source(path)
    try:
        check_size(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror or error})") from error


def shown_size(n_bytes: float) -> str:
    """Returns bytes in words: "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:,.4g} TiB"
