"""Surfaces of polygons as graphs: corners are nodes, sides of faces are edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from profuse.data.graphs import MOST_EDGES, MOST_NODES
from profuse.errors import DataError
from profuse.kinds import Graph

__all__ = ["MOST_FACES", "check_faces", "made_mesh"]

MOST_FACES = 200_000
"""Meshes of more faces are refused."""

_MOST_CORNERS = 3 * MOST_FACES  # of a file, where each face may have its own
_FARTHEST = 1e30  # beyond it squares of lengths would leave what numbers can hold
_DECIMALS = 6  # of positions and normals, and digits of lengths: about what a float32 of a file holds


def check_faces(n_faces: int, *, n_corners: int = 0) -> None:
    """Checks that a mesh of so many faces and corners is not too large.

    Raises:
        DataError: It is.
    """
    for what, n, most in (("faces", n_faces, MOST_FACES), ("corners", n_corners, _MOST_CORNERS)):
        if n > most:
            raise DataError(f"a mesh must have at most {most:,} {what}; got {n:,}. Simplify it")


def made_mesh(
    xyz: np.ndarray, faces: Sequence[Sequence[int]], *, lines: Sequence[Sequence[int]] = (), first: int = 0
) -> Graph:
    """Returns a mesh as a graph: x = (p - c) / r of each corner p, a normal, and the length of each edge.

    c is the mean of the surface, and r the root of the mean squared distance of the surface from c: both count by area,
    so that it does not matter how finely a part is cut into faces. The normal is the sum of the normals of a corner's
    faces, each as long as its face has area, scaled to length 1; 0 where a corner has no face. Corners at one place are
    one node. Lengths are in the unit of the file: they tell how large the mesh is. Where the surface has no area, c and
    r are those of the corners.

    Args:
        xyz: `[corner, 3]`.
        faces: The corners of each face, in order around it.
        lines: The corners of each line, in order along it: edges without a face.
        first: The number of the first corner: 1 where a file counts from 1.

    Raises:
        DataError: A corner is not finite or too far away, a face has a corner that is none, or there are too many.
    """
    check_faces(len(faces) + len(lines), n_corners=len(xyz))
    _check_corners(xyz, first)
    xyz, place = _welded(xyz)
    if len(xyz) > MOST_NODES:
        raise DataError(
            f"a mesh must have at most {MOST_NODES:,} corners at different places; got {len(xyz):,}. Simplify it"
        )
    corner, face, after = _sides(faces, place, "face", first)
    a, _, b = _sides(lines, place, "line", first)
    open_end = np.cumsum([len(line) for line in lines], dtype=np.int64) - 1  # a line does not go back to its start
    a, b = np.delete(a, open_end), np.delete(b, open_end)
    ends = np.concatenate([np.stack([corner, after], axis=1), np.stack([a, b], axis=1)])
    edges = np.unique(np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1), axis=0)
    if len(edges) > MOST_EDGES:
        raise DataError(f"a mesh must have at most {MOST_EDGES:,} edges; got {len(edges):,}. Simplify it")
    middle = (xyz.min(axis=0) + xyz.max(axis=0)) / 2
    extent = float(np.abs(xyz - middle).max()) or 1.0
    places = (xyz - middle) / extent  # so that neither small nor large units lose digits
    start = np.cumsum([0, *(len(corners) for corners in faces)], dtype=np.int64)[face]
    threes = places[np.stack([corner[start], corner, after], axis=1)]  # [side, 3, xyz]: fans of triangles
    cross = np.cross(threes[:, 1] - threes[:, 0], threes[:, 2] - threes[:, 0]) / 2
    c, r = _middle_and_radius(places, threes, np.linalg.norm(cross, axis=1))
    normals = np.zeros_like(places)
    of_faces = np.zeros((len(faces), 3))
    np.add.at(of_faces, face, cross)
    np.add.at(normals, corner, of_faces[face])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 1e-12)
    columns = np.round(np.concatenate([(places - c) / r, normals], axis=1), _DECIMALS) + 0.0
    names = [f"{prefix}{axis}" for prefix in ("", "normal_") for axis in "xyz"]
    lengths = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1) * extent
    links = {"length": [float(f"{n:.{_DECIMALS}g}") for n in lengths.tolist()]}
    return Graph(len(xyz), edges, False, dict(zip(names, columns.T.tolist(), strict=True)), links)


def _check_corners(xyz: np.ndarray, first: int) -> None:
    if not len(xyz):
        raise DataError("a mesh must have a corner; got none")
    odd = np.flatnonzero(~(np.abs(xyz) <= _FARTHEST).all(axis=1))
    if len(odd):
        raise DataError(
            f"corner {odd[0] + first} (counted from {first}) must be finite and within {_FARTHEST:g} of the origin; "
            f"got {xyz[odd[0]].tolist()}"
        )


def _welded(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different places, as they come first, and which of them each corner has."""
    _, index, inverse = np.unique(xyz, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(index)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return xyz[index[order]], rank[inverse.reshape(-1)]


def _sides(
    polygons: Sequence[Sequence[int]], place: np.ndarray, what: str, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns where each side begins, of which polygon it is, and where it ends, around each polygon."""
    n = np.array([len(corners) for corners in polygons], dtype=np.int64)
    for i, corners in enumerate(polygons):
        for number in corners:
            if not first <= number < len(place) + first:
                raise DataError(
                    f"{what} {i} (counted from 0) is of corner {number}, and the mesh has corners {first} to "
                    f"{len(place) - 1 + first}"
                )
    flat = np.array([number for corners in polygons for number in corners], dtype=np.int64)
    of = np.repeat(np.arange(len(n)), n)
    following = np.arange(1, len(flat) + 1)
    following[np.cumsum(n)[n > 0] - 1] -= n[n > 0]
    corner: np.ndarray = place[flat - first]
    return corner, of, corner[following]


def _middle_and_radius(places: np.ndarray, threes: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns c and r; of a triangle (p, q, s) the mean of |x|^2 is (|p|^2 + |q|^2 + |s|^2 + |p + q + s|^2) / 12."""
    area = float(areas.sum())
    if area <= 1e-12:
        c = places.mean(axis=0)
        r = float(np.sqrt(np.square(places - c).sum(axis=1).mean()))
    else:
        share = areas / area
        c = share @ threes.mean(axis=1)
        about = threes - c
        squares = np.square(about).sum(axis=(1, 2)) + np.square(about.sum(axis=1)).sum(axis=1)
        r = float(np.sqrt(share @ squares / 12))
    return c, r if r > 1e-12 else 1.0
