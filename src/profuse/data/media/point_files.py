"""One cloud of points from a PLY, PCD or NPY file; each fault is a `DataError` without a place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from profuse._files import check_size
from profuse.data.media.npy import read_npy
from profuse.data.media.ply_header import LONGEST_HEADER, NUMBER_TYPES, is_ply, read_ply_header
from profuse.data.media.source import Tell, read_bytes, warn
from profuse.errors import DataError

__all__ = ["POINT_SUFFIXES", "read_points"]

POINT_SUFFIXES = (".ply", ".pcd")

_BLOCK = 1 << 16  # lines of text that are read at once
_PCD_TYPES = {"I": "i", "U": "u", "F": "f"}
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class _Layout:
    """How the points of a file lie in it.

    Attributes:
        fields: Name and type of each number of a point, in order; padding is called "_".
        n_points: As the header tells.
        order: "<" or ">" of bytes, "" of text.
        start: Where the points begin: a byte.
        skipped: Lines (of text) or bytes before them.
        is_last: Whether nothing should stand behind them.
    """

    fields: tuple[tuple[str, str], ...]
    n_points: int
    order: str
    start: int
    skipped: int
    is_last: bool


def read_points(path: Path, *, tell: Tell = warn) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Returns `[point, channel]`, x, y, z first, NaN where there is no number; and the names of the further channels.

    The names are None where the file has none (NPY). A packed colour of PCD is three channels, red, green, blue.

    Args:
        path: A PLY file (text, or binary of either byte order), a PCD file (text or binary) or an NPY array, told by
            its bytes.
        tell: Called with what could be doubted: bytes behind the points.

    Raises:
        DataError: It is none, it is damaged or cut off, it has no x, y, z, or it takes too much memory.
    """
    data = read_bytes(path)
    if is_ply(data):
        return _points(data, _ply(data), tell)
    if data[:6] == b"\x93NUMPY":
        return read_npy(data, tell), None
    head = data[:LONGEST_HEADER]
    if b"FIELDS" in head and b"\nDATA " in head:
        return _points(data, _pcd(data), tell)
    raise DataError(f"the cloud is broken, or none of PLY, PCD, NPY: its first bytes are {data[:8]!r}")


def _ply(data: bytes) -> _Layout:
    header = read_ply_header(data)
    elements = header.elements
    before = next((i for i, element in enumerate(elements) if element.name == "vertex"), None)
    if before is None:
        raise DataError("the PLY file must have an element called vertex")
    vertex = elements[before]
    if vertex.has_list:
        raise DataError("the vertices of the PLY file must hold single numbers; got a list")
    skipped = 0
    for element in elements[:before]:
        if header.order and element.has_list:
            raise DataError(f"the vertices of the PLY file must stand before lists; got {element.name[:40]!r} first")
        skipped += element.n * (sum(int(field.number[1]) for field in element.fields) if header.order else 1)
    fields = tuple((field.name, field.number) for field in vertex.fields)
    return _Layout(fields, vertex.n, header.order, header.start, skipped, before == len(elements) - 1)


def _pcd(data: bytes) -> _Layout:
    at = data.find(b"\nDATA ", 0, LONGEST_HEADER)
    stop = data.find(b"\n", at + 1) + 1
    if stop == 0:
        raise DataError("the PCD file is broken: its header has no end")
    told: dict[str, list[str]] = {}
    for line in data[:stop].decode("latin-1").splitlines():
        key, *values = line.split() or ["#"]
        if not key.startswith("#"):
            told[key] = values
    names, kind = told.get("FIELDS", []), " ".join(told["DATA"])
    if kind == "binary_compressed":
        raise DataError("the PCD file is compressed, which is not read; save it as binary or ascii")
    if kind not in ("ascii", "binary"):
        raise DataError(f"the PCD file must hold DATA ascii or binary; got {kind[:40]!r}")
    counts = told.get("COUNT", ["1"] * len(names))
    size = told.get("POINTS") or told.get("WIDTH", [])
    fields: list[tuple[str, str]] = []
    try:
        for name, width, form, count in zip(names, told["SIZE"], told["TYPE"], counts, strict=True):
            code = f"{_PCD_TYPES[form]}{width}"
            if code not in NUMBER_TYPES.values() and code not in ("i8", "u8"):
                raise ValueError(code)
            if not 1 <= int(count) <= LONGEST_HEADER:
                raise ValueError(count)
            fields += [(name if int(count) == 1 or name == "_" else f"{name}_{i}", code) for i in range(int(count))]
        n_points = int(size[0])
        if n_points < 0:
            raise ValueError(n_points)
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            "the PCD file is broken: FIELDS, SIZE, TYPE, COUNT or POINTS of its header do not fit"
        ) from error
    return _Layout(tuple(fields), n_points, "" if kind == "ascii" else "<", stop, 0, True)


def _points(data: bytes, layout: _Layout, tell: Tell) -> tuple[np.ndarray, tuple[str, ...]]:
    names = [name for name, _ in layout.fields]
    used = [name for name in names if name != "_"]
    twice = sorted({name for name in used if used.count(name) > 1})
    if twice:
        raise DataError(f"the channels of a cloud must differ; got {twice[0][:40]!r} twice")
    lacking = [axis for axis in "xyz" if axis not in used]
    if lacking:
        raise DataError(f"a cloud must have x, y and z; got {', '.join(used)[:80] or 'no channel'}")
    if layout.n_points == 0:
        raise DataError("the cloud holds no point")
    columns = _binary(data, layout, tell) if layout.order else _text(data, layout, tell)
    out: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        packed = name in ("rgb", "rgba") and not set(_COLOURS) & set(used)
        out |= _unpacked(column) if packed else {name: column}
    order = ["x", "y", "z", *(name for name in out if name not in "xyz")]
    return np.stack([out[name].astype(np.float64) for name in order], axis=1), tuple(order[3:])


def _binary(data: bytes, layout: _Layout, tell: Tell) -> dict[str, np.ndarray]:
    dtype = np.dtype([(f"f{i}", layout.order + kind) for i, (_, kind) in enumerate(layout.fields)])
    start = layout.start + layout.skipped
    there = max(0, len(data) - start) // dtype.itemsize
    if there < layout.n_points:
        raise DataError(f"the cloud is cut off: the file holds {there:,} of {layout.n_points:,} points")
    if layout.is_last and len(data) > start + layout.n_points * dtype.itemsize:
        tell("behind the points stand bytes that are not read")
    check_size(16.0 * layout.n_points * len(layout.fields), "the cloud")
    points = np.frombuffer(data, dtype, layout.n_points, start)
    return {name: points[f"f{i}"] for i, (name, _) in enumerate(layout.fields) if name != "_"}


def _text(data: bytes, layout: _Layout, tell: Tell) -> dict[str, np.ndarray]:
    lines = [line for line in data[layout.start :].splitlines() if line.strip()][layout.skipped :]
    if len(lines) < layout.n_points:
        raise DataError(f"the cloud is cut off: the file holds {len(lines):,} of {layout.n_points:,} points")
    if layout.is_last and len(lines) > layout.n_points:
        tell("behind the points stand lines that are not read")
    n = len(layout.fields)
    check_size(16.0 * layout.n_points * n + 2.0 * len(data), "the cloud")
    blocks = [_block(lines, i, layout.n_points, n) for i in range(0, layout.n_points, _BLOCK)]
    table = np.concatenate(blocks)
    columns = {name: table[:, i] for i, (name, _) in enumerate(layout.fields) if name != "_"}
    kinds = dict(layout.fields)
    return {  # a packed colour is the bits of a number of its type
        name: column.astype(kinds[name]) if name in ("rgb", "rgba") and np.isfinite(column).all() else column
        for name, column in columns.items()
    }


def _block(lines: list[bytes], start: int, stop: int, n: int) -> np.ndarray:
    """Returns the numbers of some lines, `[point, n]`."""
    cells = [line.split() for line in lines[start : min(stop, start + _BLOCK)]]
    odd = next((i for i, row in enumerate(cells) if len(row) != n), None)
    if odd is not None:
        raise DataError(f"point {start + odd} must have {n} numbers; got {len(cells[odd])}")
    try:
        return np.array(cells).astype(np.float64)
    except ValueError as error:
        raise DataError(f"the points must be numbers ({str(error)[:80]})") from error


def _unpacked(column: np.ndarray) -> dict[str, np.ndarray]:
    """Red, green and blue of a number that holds them in its three lower bytes."""
    if column.dtype.kind == "f" and column.dtype.itemsize != 4:
        raise DataError(f"a packed colour must have 4 bytes; got {column.dtype}")
    native = np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))
    bits = native.view(np.uint32) if native.dtype.itemsize == 4 else native.astype(np.uint32)
    return {name: ((bits >> shift) & 255).astype(np.float64) for name, shift in zip(_COLOURS, (16, 8, 0), strict=True)}
