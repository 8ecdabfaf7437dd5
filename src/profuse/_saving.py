"""Files and folders that are written: by one process at a time, whole or not at all, and on disk before they are seen.

What is written for `NAME` lies beside it, as `.NAME.save`, and takes its place in the end; `.NAME.lock` says who
writes. The lock ends with its process, however that ends, and who has it next clears away what a dead one left.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from profuse.errors import DataError, ProfuseWarning

__all__ = [
    "claimed", "clear_dead", "drop_shared_scratch", "naming", "new_file", "new_folder", "remove", "restore", "scratch",
    "shared_scratch", "write_file",
]  # fmt: skip

_HELD: dict[tuple[int, int, str], int] = {}
"""How often a path is claimed, by process, thread and path: who has a claim may claim again."""
_SHARED: dict[Path, int] = {}
"""Open lock files of folders that this process shares with others until it ends."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_SCRATCH = "profuse-"


def _save(path: Path) -> Path:
    return path.with_name(f".{path.name}.save")


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def claimed(path: str | Path, *, wait: float = 0.0) -> Iterator[bool]:
    """Holds `path` against other processes; folders above it are made, and go again if they stay empty.

    What a process that has died was writing there is cleared away, and what it was to replace comes back.

    Args:
        path: A file or folder, which need not be there.
        wait: Seconds to wait for another process.

    Yields:
        Whether it is held: some network drives have no locks, which a warning tells.

    Raises:
        DataError: Another process holds it; the message tells which.
        OSError: Nothing can be written there; the error names `path`.
    """
    path = Path(os.path.abspath(path))
    key = os.getpid(), threading.get_ident(), str(path)
    if key in _HELD:
        _HELD[key] += 1
        try:
            yield True
        finally:
            _HELD[key] -= 1
        return
    made = _make_folders(path)
    try:
        handle, sure = _acquire(path, time.monotonic() + wait)
        _HELD[key] = 1
        try:
            if sure:
                _clear(path)
            yield sure
        finally:
            del _HELD[key]
            with suppress(OSError):  # which must not hide what went wrong; a file that is left holds nothing
                _lock(path).unlink()
            os.close(handle)
    finally:
        for folder in made:
            with suppress(OSError):  # it is in use
                folder.rmdir()


def _make_folders(path: Path) -> list[Path]:
    """Makes the folders above `path`; returns those that were not there, the deepest first."""
    made: list[Path] = []
    with naming(path):
        for folder in reversed(path.parents):
            if not folder.is_dir():
                try:
                    folder.mkdir()
                except FileExistsError as error:  # another process may have made it meanwhile
                    if not folder.is_dir():
                        raise NotADirectoryError(errno.ENOTDIR, "Not a directory") from error
                else:
                    made.insert(0, folder)
    return made


def _acquire(path: Path, until: float) -> tuple[int, bool]:
    """Returns the open lock file, and whether it is locked."""
    lock = _lock(path)
    while True:
        with naming(path):
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            sure = _try_lock(handle)
            if sure is not None and _is_at(handle, lock):
                _sign(handle, path)
                return handle, sure
            holder = os.read(handle, 200).decode(errors="replace") if sure is None else ""
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if sure is None and time.monotonic() >= until:
            raise DataError(
                f"{path}: only one process at a time may write there; process {holder or '(unknown)'} does. "
                "Wait until it ends, or name another place."
            )
        time.sleep(0.02 if sure is None else 0)


def _sign(handle: int, path: Path) -> None:
    """Writes into the lock file of `path` who has it; where not even that can be written, the file goes."""
    try:
        with naming(path):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, f"{os.getpid()} on {socket.gethostname()}".encode())
    except OSError:
        _lock(path).unlink()
        raise


def _try_lock(handle: int) -> bool | None:
    """Returns True if the file is locked now, False if it cannot be, None if another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 1000, os.SEEK_SET)  # a place without text, which others may then read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            return None
        warnings.warn(
            f"the drive has no locks ({error.strerror}): two runs that write to one place are not noticed",
            ProfuseWarning,
            stacklevel=2,
        )
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system name `path`, not what is written beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def restore(path: Path) -> None:
    """Brings back the folder `path` where a process died while it replaced it; does nothing elsewhere."""
    if not path.exists() and (_save(path) / "old").exists():
        with claimed(path):  # which does it
            return


def _clear(path: Path) -> None:
    """Clears away what a process that has died was writing for `path`."""
    save = _save(path)
    with naming(path):
        if not path.exists() and (save / "old").is_dir():
            (save / "old").rename(path)
            _sync(path.parent)
        remove(save)


def remove(path: Path) -> None:
    """Removes a file or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Has a file, or a folder's list of names, written to the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders on Windows
        if sys.platform == "win32":
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some drives have nothing to sync
            raise
    finally:
        os.close(handle)


@contextmanager
def new_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Gives a file to write, which takes the place of `path` in the end, or is gone on an error; a link is followed.

    Raises:
        DataError: Another process writes there.
        OSError: It cannot be written: the error names `path`.
    """
    path = Path(os.path.realpath(path))
    with claimed(path, wait=10.0):
        save = _save(path)
        try:
            with naming(path), save.open("wb") as file:
                yield file
            with naming(path):
                _sync(save)
                save.replace(path)
                _sync(path.parent)
        finally:
            save.unlink(missing_ok=True)


def write_file(path: str | Path, content: str | bytes) -> None:
    """Writes the file `path` (text as UTF-8), whole or not at all; a link is followed.

    Raises:
        DataError: Another process writes there.
        OSError: It cannot be written: the error names `path`.
    """
    with new_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode(errors="backslashreplace"))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of the folder `path` in the end, or is gone on an error.

    Raises:
        DataError: Another process writes there.
        OSError: It cannot be written: the error names `path`.
    """
    path = Path(os.path.realpath(path))
    with claimed(path, wait=10.0):
        save = _save(path)
        new, old = save / "new", save / "old"
        try:
            with naming(path):
                new.mkdir(parents=True)
            yield new
            with naming(path):
                for place in (*new.rglob("*"), new):
                    _sync(place)
                if path.exists():
                    if not _exchange(new, path):
                        path.rename(old)
                        new.rename(path)
                else:
                    new.rename(path)
                _sync(path.parent)
        finally:
            if old.exists() and not path.exists():
                old.rename(path)
            if save.exists():
                remove(save)


def _exchange(one: Path, other: Path) -> bool:
    """Gives each of two folders the other's name in a single step; returns False where the system has none."""
    if not sys.platform.startswith("linux"):
        return False
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return swap is not None and swap(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def clear_dead(folder: Path, *, names: str = "*", whole: bool = False) -> None:
    """Clears away what processes that have died were writing in `folder`; what others write now stays.

    Args:
        folder: Where.
        names: A pattern of what they wrote.
        whole: Whether what they had finished goes too.
    """
    left = {p for kind in ("save", "lock") for p in folder.glob(f".{names}.{kind}")}
    mine = {path for _, _, path in _HELD}  # a claim within a claim would let it pass
    for place in sorted({p.with_name(p.name[1:].rpartition(".")[0]) for p in left}):
        if str(place) in mine:
            continue
        try:
            with claimed(place) as sure:
                if whole and sure:
                    remove(place)
        except (DataError, FileNotFoundError, PermissionError):
            continue  # its process lives, or has just ended, or it is another user's


@contextmanager
def scratch() -> Iterator[Path]:
    """Gives a folder for temporary files of this run alone; those of runs that have died are removed first."""
    base = Path(tempfile.gettempdir()).absolute()
    clear_dead(base, names=f"{_SCRATCH}*", whole=True)
    path = base / f"{_SCRATCH}{secrets.token_hex(8)}"
    with claimed(path):
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            remove(path)


def shared_scratch(name: str) -> Path:
    """Returns a folder for temporary files that processes of this machine share, by its name: not on Windows.

    It stays as long as one of those that have asked for it lives; the next `scratch` removes it then.
    """
    import fcntl

    path = _shared(name)
    while path not in _SHARED:
        handle = os.open(_lock(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)  # one that clears away has it for a moment
        if _is_at(handle, _lock(path)):
            _SHARED[path] = handle
        else:
            os.close(handle)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def drop_shared_scratch(name: str) -> None:
    """Removes what `shared_scratch` has made of that name, once no process needs it.

    What cannot be removed yet goes with the next `scratch`.
    """
    path = _shared(name)
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        _lock(path).unlink(missing_ok=True)
    if (handle := _SHARED.pop(path, None)) is not None:
        os.close(handle)


def _shared(name: str) -> Path:
    return Path(tempfile.gettempdir()).absolute() / f"{_SCRATCH}{name}"
