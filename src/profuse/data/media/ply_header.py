"""The header of a PLY file: which elements follow, and how their numbers lie in it."""

from __future__ import annotations

from dataclasses import dataclass

from profuse.errors import DataError

__all__ = ["LONGEST_HEADER", "NUMBER_TYPES", "PlyElement", "PlyField", "PlyHeader", "is_ply", "read_ply_header"]

LONGEST_HEADER = 1 << 16
"""Bytes in which a header must end."""

NUMBER_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
"""What NumPy calls the types of PLY."""

_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


@dataclass(frozen=True)
class PlyField:
    """One property: its name, the type of its numbers, and that of its length where it is a list ("" where not)."""

    name: str
    number: str
    length: str = ""


@dataclass(frozen=True)
class PlyElement:
    """One element: its name, how many there are, and what each holds."""

    name: str
    n: int
    fields: tuple[PlyField, ...]

    @property
    def has_list(self) -> bool:
        """Whether a property is a list."""
        return any(field.length for field in self.fields)


@dataclass(frozen=True)
class PlyHeader:
    """What a header tells.

    Attributes:
        order: "<" or ">" of bytes, "" of text.
        elements: In the order of the file.
        start: The byte behind the header.
    """

    order: str
    elements: tuple[PlyElement, ...]
    start: int


def is_ply(data: bytes) -> bool:
    """Returns whether the bytes begin as a PLY file does."""
    return data[:4] in (b"ply\n", b"ply\r")


def read_ply_header(data: bytes) -> PlyHeader:
    """Returns the header of a PLY file.

    Raises:
        DataError: It has no end, tells no format, or has a line that PLY does not know.
    """
    end = data.find(b"\nend_header", 0, LONGEST_HEADER)
    stop = data.find(b"\n", end + 1) + 1
    if end < 0 or stop == 0:
        raise DataError("the PLY file is broken: its header has no end")
    order: str | None = None
    elements: list[tuple[str, int, list[PlyField]]] = []
    for line in data[:end].decode("latin-1").splitlines()[1:]:
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", kind, _] if kind in _ORDERS:
                order = _ORDERS[kind]
            case ["element", name, count] if count.isdecimal():
                elements.append((name, int(count), []))
            case ["property", "list", size, kind, name] if elements and size in NUMBER_TYPES and kind in NUMBER_TYPES:
                elements[-1][2].append(PlyField(name, NUMBER_TYPES[kind], NUMBER_TYPES[size]))
            case ["property", kind, name] if elements and kind in NUMBER_TYPES:
                elements[-1][2].append(PlyField(name, NUMBER_TYPES[kind]))
            case _:
                raise DataError(f"the PLY file is broken: its header has the line {line[:60]!r}")
    if order is None:
        raise DataError("the PLY file is broken: its header tells no format")
    return PlyHeader(order, tuple(PlyElement(name, n, tuple(fields)) for name, n, fields in elements), stop)
