"""The mesh of a PLY file: its vertices, faces and edges."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from profuse.data.media.ply_header import PlyElement, PlyHeader, read_ply_header
from profuse.data.meshes import check_faces, made_mesh
from profuse.errors import DataError
from profuse.kinds import Graph

__all__ = ["from_ply"]

_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
_OF_FACES = ("vertex_indices", "vertex_index")

_Row = list[Sequence[float]]
"""What one vertex or face holds: the number of each property, or those of a list."""
_Take = Callable[[int, str], Sequence[float]]
"""Returns the next so many numbers of a type."""


def from_ply(data: bytes) -> Graph:
    """Returns the mesh of a PLY file, text or binary of either byte order.

    Raises:
        DataError: It is damaged or cut off, it has no faces, or they are too many.
    """
    header = read_ply_header(data)
    held = {element.name: element for element in header.elements}
    if len(held) < len(header.elements):
        raise DataError("the PLY file is broken: its header has two elements of one name")
    vertex, face, edge = (held.get(name, PlyElement(name, 0, ())) for name in ("vertex", "face", "edge"))
    axes = _places(vertex, ("x", "y", "z"), is_list=False)
    if not face.n and not edge.n:
        raise DataError("the PLY file holds no face; its points are of kind points: say so in the schema")
    check_faces(face.n + edge.n, n_corners=max(element.n for element in header.elements))
    corners = _places(face, next(((f.name,) for f in face.fields if f.name in _OF_FACES), _OF_FACES[:1]), is_list=True)
    ends = _places(edge, ("vertex1", "vertex2"), is_list=False)
    rows = (_text if not header.order else _binary)(data, header)
    xyz = [[row[i][0] for i in axes] for row in rows["vertex"]]
    faces = [_whole(row[corners[0]]) for row in rows.get("face", [])]
    lines = [_whole([row[i][0] for i in ends]) for row in rows.get("edge", [])]
    return made_mesh(np.array(xyz, dtype=np.float64).reshape(-1, 3), faces, lines=lines)


def _places(element: PlyElement, names: tuple[str, ...], *, is_list: bool) -> list[int]:
    """Returns which properties have these names; none where the file has no such element."""
    of = {field.name: i for i, field in enumerate(element.fields) if bool(field.length) is is_list}
    lacking = [name for name in names if name not in of]
    if lacking and (element.n or element.name == "vertex"):
        raise DataError(
            f"the {element.name} of the PLY file must hold {', '.join(names)}{' (a list)' if is_list else ''}; "
            f"it lacks {', '.join(lacking)}"
        )
    return [] if lacking else [of[name] for name in names]


def _whole(numbers: Sequence[float]) -> list[int]:
    """Returns them as integers; those of types that hold fractions too, if they have none."""
    if any(not float(number).is_integer() for number in numbers):
        raise DataError(f"the PLY file must hold whole numbers for corners and lengths; got {list(numbers)[:4]}")
    return [int(number) for number in numbers]


def _row(element: PlyElement, i: int, take: _Take) -> _Row:
    row: _Row = []
    for field in element.fields:
        n = 1
        if field.length:
            n = _whole(take(1, field.length))[0]
            if n < 0:
                raise DataError(f"the PLY file is broken: {element.name} {i} has a list of {n} numbers")
        row.append(take(n, field.number))
    return row


def _text(data: bytes, header: PlyHeader) -> dict[str, list[_Row]]:
    lines = iter([line for line in data[header.start :].splitlines() if line.strip()])
    return {element.name: list(_text_rows(element, lines)) for element in header.elements}


def _text_rows(element: PlyElement, lines: Iterator[bytes]) -> Iterator[_Row]:
    for i in range(element.n):
        line = next(lines, None)
        if line is None:
            raise DataError(f"the PLY file is cut off: it holds {i:,} of {element.n:,} {element.name}")
        try:
            numbers = [float(word) for word in line.split()]
        except ValueError as error:
            raise DataError(f"the PLY file must hold numbers ({str(error)[:60]})") from error
        at = 0

        def take(n: int, number: str, i: int = i, numbers: list[float] = numbers) -> list[float]:
            nonlocal at
            at += n
            if at > len(numbers):
                raise DataError(f"the PLY file is cut off: {element.name} {i} of {element.n:,} lacks numbers")
            return numbers[at - n : at]

        yield _row(element, i, take)
        if at < len(numbers):
            raise DataError(
                f"the PLY file is broken: {element.name} {i} must have {at} numbers in its line; got {len(numbers)}"
            )


def _binary(data: bytes, header: PlyHeader) -> dict[str, list[_Row]]:
    at, rows = header.start, dict[str, list[_Row]]()
    for element in header.elements:
        of = rows.setdefault(element.name, [])
        for i in range(element.n):

            def take(n: int, number: str, element: PlyElement = element, i: int = i) -> Sequence[float]:
                nonlocal at
                start, at = at, at + n * int(number[1])
                if at > len(data):
                    raise DataError(f"the PLY file is cut off: {element.name} {i} of {element.n:,} lacks numbers")
                return struct.unpack_from(f"{header.order}{n}{_CODES[number]}", data, start)

            of.append(_row(element, i, take))
    return rows
