"""One mesh from the bytes of an OBJ, OFF, PLY or STL file; each fault is a `DataError` without a place.

What a file says of materials, textures and colours is left out: no other file is opened. Normals are worked out from
the faces (`profuse.data.meshes.made_mesh`), so that each format gives the same graph.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from profuse.data.media.ply_header import is_ply
from profuse.data.media.ply_mesh import from_ply
from profuse.data.media.source import Tell
from profuse.data.meshes import check_faces, made_mesh
from profuse.errors import DataError
from profuse.kinds import Graph

__all__ = ["MESH_SUFFIXES", "mesh_of"]

MESH_SUFFIXES = (".obj", ".off", ".stl")
"""A column of such names holds meshes; one of `.ply` where the schema says so: else it holds points."""

_NAMES = frozenset(("vn", "vt", "vp", "p", "o", "g", "s", "mg", "usemtl", "mtllib", "usemap", "maplib"))
_LOOKS = frozenset(("bevel", "c_interp", "d_interp", "lod", "shadow_obj", "trace_obj"))
_OBJ_SILENT = _NAMES | _LOOKS
_STL_HEAD, _TRIANGLE = 84, 50  # bytes
_STL_FIRST = re.compile(rb"\s*solid\b[^\n]*\s+(facet|endsolid)\b", re.IGNORECASE)


def mesh_of(data: bytes, suffix: str, *, tell: Tell) -> Graph | None:
    """Returns the mesh that a file holds, told by its bytes; None where they are of no mesh.

    Args:
        data: Of the file.
        suffix: Of its name, in small letters: nothing else tells what a cut binary STL file is.
        tell: Called with what is left out.

    Raises:
        DataError: It is damaged, cut off, or too large.
    """
    if len(data) >= _STL_HEAD and len(data) == _STL_HEAD + _TRIANGLE * _n_triangles(data):
        return _from_stl(data, tell)
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:3] == b"OFF" or start[:4] in (b"COFF", b"NOFF"):
        return _from_off(data)
    if is_ply(data):
        return from_ply(data)
    if _STL_FIRST.match(start):
        return _from_stl_text(data)
    if suffix == ".stl":
        return _from_stl(data, tell)
    word = re.match(rb"(?:#[^\n]*\s*)*([a-z_]+)(?=[\s\\])", start)
    if word is not None and (word[1].decode() in _OBJ_SILENT or word[1] in (b"v", b"f", b"l")):
        return _from_obj(data, tell)
    return None


def _numbers(words: list[bytes], line: bytes, i: int, form: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise DataError(f"line {i} of the {form} file must hold numbers; got {_shown(line)}") from error


def _shown(line: bytes) -> str:
    return repr(line.strip()[:60].decode("latin-1"))


def _from_obj(data: bytes, tell: Tell) -> Graph:
    xyz: list[list[float]] = []
    faces: list[list[int]] = []
    lines: list[list[int]] = []
    odd: dict[str, None] = {}
    text, i = b"", 0
    for i, part in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        text += part
        if text.endswith(b"\\"):  # it goes on in the next line
            text = text[:-1] + b" "
            continue
        line, text = text, b""
        key, *words = line.split(b"#")[0].split() or [b""]
        if key == b"v":
            if len(words) < 3:
                raise DataError(f"line {i} of the OBJ file must hold x, y and z; got {_shown(line)}")
            xyz.append(_numbers(words[:3], line, i, "OBJ"))
            check_faces(0, n_corners=len(xyz))
        elif key in (b"f", b"l"):
            least = 3 if key == b"f" else 2
            if len(words) < least:
                raise DataError(f"line {i} of the OBJ file must have at least {least} corners; got {_shown(line)}")
            (faces if key == b"f" else lines).append([_corner(word, len(xyz), line, i) for word in words])
            check_faces(len(faces) + len(lines))
        elif key and key.decode("latin-1") not in _OBJ_SILENT:
            odd[key.decode("latin-1")[:20]] = None
    if not faces and not lines and xyz:
        made_mesh(np.array(xyz), [], first=1)  # what is wrong with the corners is told first
        raise DataError("the OBJ file holds no face")
    if odd:
        tell(f"lines of the OBJ file that begin with {', '.join(map(repr, list(odd)[:3]))} are not read")
    return made_mesh(np.array(xyz).reshape(-1, 3), faces, lines=lines, first=1)


def _corner(word: bytes, n: int, line: bytes, i: int) -> int:
    """Returns the number, from 1, of a corner that is given as 7, 7/1/2, or -1 for the last one."""
    try:
        number = int(word.split(b"/")[0])
    except ValueError as error:
        raise DataError(f"line {i} of the OBJ file must hold numbers of corners; got {_shown(line)}") from error
    if number < -n:
        raise DataError(f"line {i} of the OBJ file goes back {-number} corners, and {n} stand before it")
    return number + n + 1 if number < 0 else number


def _from_off(data: bytes) -> Graph:
    lines = (line.split(b"#")[0].split() for line in data.removeprefix(b"\xef\xbb\xbf").splitlines())
    words = [word for line in lines for word in line]
    kind, rest = words[0], words[1:]
    if kind not in (b"OFF", b"COFF", b"NOFF"):
        raise DataError(f"the mesh must be OFF, COFF or NOFF, as text; got {kind[:20]!r}")
    if kind != b"OFF":
        raise DataError(f"corners of the mesh must be x, y, z alone (OFF); got {kind.decode()}")
    try:
        n_nodes, n_faces = int(rest[0]), int(rest[1])
        if n_nodes < 0 or n_faces < 0 or 3 * n_nodes > len(rest) - 3:
            raise DataError(f"the mesh is cut off: its header tells {n_nodes:,} corners and {n_faces:,} faces")
        check_faces(n_faces, n_corners=n_nodes)
        xyz = np.array(rest[3 : 3 + 3 * n_nodes]).astype(np.float64).reshape(-1, 3)
        at, faces = 3 + 3 * n_nodes, list[list[int]]()
        for _ in range(n_faces):
            n = int(rest[at])
            face = [int(word) for word in rest[at + 1 : at + 1 + n]]
            if n < 1 or len(face) < n:
                raise DataError("the mesh is cut off: a face lacks corners")
            faces.append(face)
            at += 1 + n
    except DataError:  # a ValueError too, that says it already
        raise
    except (ValueError, IndexError) as error:
        raise DataError(f"the mesh is broken or cut off: numbers were expected ({str(error)[:60]})") from error
    return made_mesh(xyz, faces)


def _n_triangles(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, _STL_HEAD - 4)[0])


def _from_stl(data: bytes, tell: Tell) -> Graph:
    if len(data) < _STL_HEAD:
        raise DataError(f"the STL file is cut off: it must have {_STL_HEAD} bytes at least; got {len(data)}")
    n, there = _n_triangles(data), (len(data) - _STL_HEAD) // _TRIANGLE
    if there < n:
        raise DataError(f"the STL file is cut off: its header tells {n:,} triangles, it holds {there:,}")
    if n == 0:
        raise DataError("the STL file holds no face")
    check_faces(n)
    if len(data) > _STL_HEAD + _TRIANGLE * n:
        tell("behind the triangles of the STL file stand bytes that are not read")
    triangle = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    corners = np.frombuffer(data, triangle, n, _STL_HEAD)["corners"].astype(np.float64).reshape(-1, 3)
    return made_mesh(corners, np.arange(3 * n).reshape(-1, 3).tolist())


def _from_stl_text(data: bytes) -> Graph:
    xyz: list[list[float]] = []
    n, is_open = 0, False
    for i, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        words = line.lower().split()
        match words[:1]:
            case []:
                continue
            case [b"vertex"] if len(words) == 4:
                xyz.append(_numbers(words[1:], line, i, "STL"))
            case [b"endloop"]:
                n += 1
                check_faces(n)
                if len(xyz) != 3 * n:
                    raise DataError(f"line {i} of the STL file must end a face of three corners; got {len(xyz)}")
            case [b"solid" | b"endsolid"]:
                is_open = words[0] == b"solid"
            case [b"facet" | b"outer" | b"endfacet"]:
                continue
            case _:
                raise DataError(f"line {i} of the STL file must be one of a facet; got {_shown(line)}")
    if is_open or len(xyz) != 3 * n:
        raise DataError("the STL file is cut off: endsolid is missing")
    if n == 0:
        raise DataError("the STL file holds no face")
    return made_mesh(np.array(xyz), np.arange(3 * n).reshape(-1, 3).tolist())
