"""Meshes from files: each format gives one graph, its numbers are those of geometry, what is broken is one error."""

from __future__ import annotations

import builtins
import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profuse.data import meshes
from profuse.data.media.graph_files import read_graph
from profuse.errors import DataError
from profuse.kinds import Graph

CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]  # seen from outside
TETRA = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 0.5]])
TRIANGLES = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
Faces = Sequence[Sequence[int]]


def obj(xyz: np.ndarray, faces: Faces) -> bytes:
    lines = ["# made here", "mtllib /no/such/file.mtl", "o thing", *(f"v {x} {y} {z}" for x, y, z in xyz), "vt 0 0"]
    rows = [" ".join(f"{i + 1}/1" if k else f"{i - len(xyz)}//" for k, i in enumerate(face)) for face in faces]
    return "\n".join([*lines, "usemtl skin", "s off", *(f"f {row}" for row in rows)]).encode()


def off(xyz: np.ndarray, faces: Faces) -> bytes:
    rows = [" ".join(map(str, row)) for row in (*xyz.tolist(), *([len(face), *face] for face in faces))]
    return "\n".join(["OFF # a comment", f"{len(xyz)} {len(faces)} 0", *rows]).encode()


def ply(form: str) -> Callable[[np.ndarray, Faces], bytes]:
    def written(xyz: np.ndarray, faces: Faces) -> bytes:
        head = f"ply\nformat {form} 1.0\nelement camera 1\nproperty list uchar short at\nproperty float f\n"
        head += f"element vertex {len(xyz)}\nproperty uchar red\n" + "".join(f"property double {a}\n" for a in "xyz")
        head += f"element face {len(faces)}\nproperty float quality\nproperty list uchar int vertex_indices\n"
        order = "" if form == "ascii" else "<" if "little" in form else ">"
        rows: list[tuple[str, list[Any]]] = [("B2hf", [2, 7, 8, 0.5])]
        rows += [("B3d", [9, *row]) for row in xyz.tolist()]
        rows += [(f"fB{len(face)}i", [0.25, len(face), *face]) for face in faces]
        body = b"".join(
            struct.pack(order + kind, *row) if order else " ".join(map(str, row)).encode() + b"\n" for kind, row in rows
        )
        return f"{head}end_header\n".encode() + body

    return written


def stl(xyz: np.ndarray, faces: Faces) -> bytes:
    """Binary, its header as misleading as some programs write it."""
    threes = [xyz[face] for face in faces]
    body = b"".join(struct.pack("<12fH", *np.zeros(3), *three.ravel(), 7) for three in threes)
    return b"solid of a program".ljust(80) + struct.pack("<I", len(threes)) + body


def stl_text(xyz: np.ndarray, faces: Faces) -> bytes:
    corners = ["".join(f"    vertex {x:e} {y:e} {z:e}\n" for x, y, z in xyz[face]) for face in faces]
    facets = [f"facet normal 0 0 0\n  outer loop\n{three}  endloop\nendfacet\n" for three in corners]
    return f"solid facet of mine\n{''.join(facets)}endsolid\n".encode()


WRITERS: dict[str, Callable[[np.ndarray, Faces], bytes]] = {
    "m.obj": obj,
    "m.off": off,
    "text.ply": ply("ascii"),
    "little.ply": ply("binary_little_endian"),
    "big.ply": ply("binary_big_endian"),
    "m.stl": stl,
    "text.stl": stl_text,
}


def read(folder: Path, name: str, data: bytes) -> Graph:
    (folder / name).write_bytes(data)
    return read_graph(folder / name, tell=lambda remark: pytest.fail(remark))


def seen(graph: Graph) -> tuple[list[tuple[float, ...]], list[tuple[Any, ...]]]:
    """Nodes and edges, whatever their order."""
    nodes = [tuple(np.round(row, 5).tolist()) for row in np.array(list(graph.nodes.values()), dtype=float).T]
    edges = [
        (*sorted((nodes[a], nodes[b])), round(float(n or 0), 4))
        for (a, b), n in zip(graph.edges.tolist(), graph.links["length"], strict=True)
    ]
    return sorted(nodes), sorted(edges)


@pytest.mark.parametrize("name", WRITERS)
def test_a_mesh_is_the_same_graph_in_each_format(name: str, tmp_path: Path) -> None:
    faces = TRIANGLES if name.endswith("stl") else [*TRIANGLES[:3], [1, 2, 3, 0]]
    graph = read(tmp_path, name, WRITERS[name](TETRA, faces))
    other = meshes.made_mesh(TETRA, faces)
    assert seen(graph) == seen(other)
    assert (graph.n_nodes, len(graph.edges), graph.is_directed) == (4, 6, False)


def test_positions_are_about_the_middle_of_the_surface_in_units_of_its_mean_distance() -> None:
    graph = meshes.made_mesh(CORNERS * 3 + [5, -7, 100], QUADS)
    assert list(graph.nodes) == ["x", "y", "z", "normal_x", "normal_y", "normal_z"]
    x = np.array([graph.nodes[name] for name in graph.nodes], dtype=float).T
    side = 1 / np.sqrt(5 / 3)  # the mean of |p|^2 over a face of the cube [-1, 1]^3 is 1/3 + 1/3 + 1
    np.testing.assert_allclose(x[:, :3], CORNERS * side, atol=1e-6)
    np.testing.assert_allclose(x[:, 3:], CORNERS / np.sqrt(3), atol=1e-6)
    assert len(graph.edges) == 12
    assert graph.links == {"length": [6.0] * 12}
    halves = [half for a, b, c, d in QUADS for half in ([a, b, c], [a, c, d])]
    cut = meshes.made_mesh(CORNERS, halves)
    np.testing.assert_allclose(np.array([cut.nodes[name] for name in "xyz"]).T, CORNERS * side, atol=1e-6)
    assert len(cut.edges) == 18


def test_large_faces_count_more_in_a_normal() -> None:
    graph = meshes.made_mesh(TETRA, TRIANGLES)
    areas = np.array([3 * 0.5, 2 * 0.5, 2 * 3]) / 2  # of the faces that look along -x, -y, -z from the corner at 0
    normal = np.array([graph.nodes[f"normal_{axis}"][0] for axis in "xyz"], dtype=float)
    np.testing.assert_allclose(normal, -areas / np.linalg.norm(areas), atol=1e-6)


def test_a_surface_counts_by_its_area_and_not_by_its_corners() -> None:
    rng = np.random.default_rng(0)
    corner = CORNERS[[0, 4, 5]]
    a, b = rng.random((2, 40))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
    inside = corner[0] + a[:, None] * (corner[1] - corner[0]) + b[:, None] * (corner[2] - corner[0])
    graph = meshes.made_mesh(np.concatenate([CORNERS, inside]), QUADS)  # loose corners
    assert graph.n_nodes == 48
    np.testing.assert_allclose(np.array(graph.nodes["x"][:8], dtype=float), CORNERS[:, 0] / np.sqrt(5 / 3), atol=1e-6)
    assert [graph.nodes[f"normal_{axis}"][-1] for axis in "xyz"] == [0, 0, 0]


def test_size_and_place_change_only_the_lengths() -> None:
    rng = np.random.default_rng(1)
    xyz = rng.normal(size=(4, 3))
    was = meshes.made_mesh(xyz, TRIANGLES)
    for scale in (1e-20, 1e3, 1e20):
        now = meshes.made_mesh(xyz * scale + scale, TRIANGLES)
        for name, column in was.nodes.items():
            pair = np.array([now.nodes[name], column], dtype=float)
            np.testing.assert_allclose(pair[0], pair[1], atol=2e-6)
        lengths = np.linalg.norm(xyz[was.edges[:, 0]] - xyz[was.edges[:, 1]], axis=1)
        np.testing.assert_allclose(np.array(now.links["length"], dtype=float), lengths * scale, rtol=1e-5)


def test_corners_at_one_place_are_one_node() -> None:
    twice = np.concatenate([TETRA, TETRA[:2] * -1.0 * -1.0, -TETRA[:1]])  # -0 is 0
    graph = meshes.made_mesh(twice, [[4, 2, 5], [6, 1, 3], [0, 3, 2], [1, 2, 3]])
    assert seen(graph) == seen(meshes.made_mesh(TETRA, TRIANGLES))


@pytest.mark.parametrize("xyz", [[[3.0, 4, 5]], [[0.0, 0, 0], [2, 0, 0]], [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
def test_a_mesh_without_an_area_has_the_middle_of_its_corners(xyz: list[list[float]]) -> None:
    graph = meshes.made_mesh(np.array(xyz), [list(range(len(xyz)))])
    x = np.array([graph.nodes[name] for name in "xyz"]).T
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    assert np.sqrt(np.square(x).sum(axis=1).mean()) == pytest.approx(float(len(xyz) > 1), abs=1e-5)


def test_lines_of_obj_and_edges_of_ply_are_edges(tmp_path: Path) -> None:
    wire = obj(TETRA, [[0, 1, 2]]) + b"\nl 4 1 \\\n 2\nl -1 -2\n"
    graph = read(tmp_path, "m.obj", wire)
    assert graph.edges.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element edge 2\nproperty int vertex1\nproperty int vertex2\nend_header\n"
    graph = read(tmp_path, "m.ply", f"{head}0 0 0\n1 0 0\n0 1 0\n0 1\n2 1\n".encode())
    assert graph.edges.tolist() == [[0, 1], [1, 2]]


def test_what_is_left_out_of_a_file_is_noted(tmp_path: Path) -> None:
    notes: list[str] = []
    (tmp_path / "m.obj").write_bytes(obj(TETRA, TRIANGLES) + b"\ncurv 0 1 1 2\nodd 1\n")
    read_graph(tmp_path / "m.obj", tell=notes.append)
    (tmp_path / "m.stl").write_bytes(stl(TETRA, TRIANGLES) + b"more")
    read_graph(tmp_path / "m.stl", tell=notes.append)
    assert notes == [
        "lines of the OBJ file that begin with 'curv', 'odd' are not read",
        "behind the triangles of the STL file stand bytes that are not read",
    ]


def test_files_of_materials_and_textures_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "skin.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    (tmp_path / "m.obj").write_bytes(obj(TETRA, TRIANGLES).replace(b"/no/such/file.mtl", b"skin.mtl"))
    opened: list[str] = []
    was = io.open

    def noted(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(Path(file).name)
        return was(file, *args, **options)

    monkeypatch.setattr(io, "open", noted)
    monkeypatch.setattr(builtins, "open", noted)
    assert read_graph(tmp_path / "m.obj").n_nodes == 4
    assert opened == ["m.obj"]


PLY = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
BINARY = PLY.replace(b"ascii", b"binary_little_endian")
FACE = b"element face 1\nproperty list uchar int vertex_index\nend_header\n"
POINTS = b"0 0 0\n1 0 0\n0 1 0\n"
OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"
BROKEN: list[tuple[str, str, bytes, str]] = [
    ("a word", "m.obj", b"v 0 0 q\n", r"line 1 of the OBJ file must hold numbers; got 'v 0 0 q'"),
    ("two numbers", "m.obj", b"v 0 0\n", "line 1 of the OBJ file must hold x, y and z; got 'v 0 0'"),
    ("corner 0", "m.obj", OBJ + b"f 0 1 2\n", "face 0 .* of corner 0, and the mesh has corners 1 to 3"),
    ("far back", "m.obj", OBJ + b"f -4 1 2\n", "line 4 of the OBJ file goes back 4 corners, and 3 stand before it"),
    ("too far", "m.obj", OBJ + b"f 1 2 4\n", "face 0 .* of corner 4, and the mesh has corners 1 to 3"),
    ("huge number", "m.obj", OBJ + b"f 1 2 99999999999999999999\n", "of corner 99999999999999999999"),
    ("two corners", "m.obj", OBJ + b"f 1 2\n", "line 4 of the OBJ file must have at least 3 corners; got 'f 1 2'"),
    ("no face", "m.obj", OBJ, "the OBJ file holds no face"),
    ("not finite", "m.obj", b"v 0 0 nan\n", r"corner 1 .*must be finite.*got \[0.0, 0.0, nan\]"),
    ("far away", "m.obj", b"v 0 0 1e300\n", r"corner 1 .* 1e\+30 .*got"),
    ("points only", "m.ply", PLY + b"end_header\n" + POINTS, "no face; its points are of kind points"),
    ("cut face", "m.ply", PLY + FACE + POINTS + b"3 0 1", "PLY file is cut off: face 0 of 1 lacks numbers"),
    ("missing face", "m.ply", PLY + FACE + POINTS, "PLY file is cut off: it holds 0 of 1 face"),
    ("odd face", "m.ply", PLY + FACE + POINTS + b"3 0 1 x", "the PLY file must hold numbers"),
    ("negative length", "m.ply", PLY + FACE + POINTS + b"-3 0 1 2", "face 0 has a list of -3"),
    ("no such corner", "m.ply", PLY + FACE + POINTS + b"3 0 1 3", "face 0 .* of corner 3, .* corners 0 to 2"),
    ("no z", "m.ply", PLY.replace(b"property float z\n", b"") + FACE + POINTS, "must hold x, y, z; it lacks z"),
    ("cut binary", "m.ply", ply("binary_little_endian")(TETRA, TRIANGLES)[:-3], "is cut off: face 3 of 4 lacks"),
    ("cut vertices", "m.ply", ply("binary_big_endian")(TETRA, TRIANGLES)[:330], "is cut off"),
    ("many points", "m.ply", PLY.replace(b"x 3", b"x 999999") + FACE + POINTS, "600,000 corners; got 999,999"),
    ("many of nothing", "m.ply", BINARY + b"element a 4000000000\n" + FACE, "got 4,000,000,000"),
    ("half a corner", "m.ply", PLY + FACE + POINTS + b"3 0 1 1.5", "whole numbers for corners and lengths; got"),
    ("no length", "m.ply", PLY + FACE + POINTS + b"nan 0 1 1", "whole numbers for corners and lengths; got"),
    ("longer line", "m.ply", PLY + FACE + POINTS + b"3 0 1 2 9", "face 0 must have 4 numbers in its line; got 5"),
    ("faces twice", "m.ply", PLY + FACE[:-11] + FACE + POINTS, "two elements of one name"),
    ("cut STL", "m.stl", stl(TETRA, TRIANGLES)[:-1], "STL file is cut off: its header tells 4 triangles, it holds 3"),
    ("short STL", "m.stl", b"\0" * 50, "the STL file is cut off"),
    ("empty STL", "m.stl", b"\0" * 84, "the STL file holds no face"),
    ("cut text", "m.stl", stl_text(TETRA, TRIANGLES)[:-10], "STL file is cut off: endsolid is missing"),
    ("two in a loop", "m.stl", b"solid\nfacet\nvertex 0 0 0\nvertex 1 0 0\nendloop\n", "line 5 .* three corners"),
    ("odd text", "m.stl", b"solid\nfacet\nvertex 0 0 zero\n", "line 3 of the STL file must hold numbers"),
    ("other text", "m.stl", b"solid\nfacet\nhello\n", "line 3 of the STL file must .*; got 'hello'"),
    ("cut OFF", "m.off", b"OFF\n3 9 0\n0 0 0\n1 0 0\n", r"(?<!\()the mesh is cut off: its header tells 3"),
    ("a picture", "m.obj", b"\x89PNG\r\n", "none of node-link JSON, GraphML, GML, OFF, OBJ, PLY, STL"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "message"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_mesh_is_one_clear_error(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, name, data)


def test_a_mesh_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"at most 20,000 corners at different places; got 20,001\. Simplify it"):
        meshes.made_mesh(np.arange(60_003.0).reshape(-1, 3), [[0, 1, 2]])
    monkeypatch.setattr(meshes, "MOST_FACES", 3)
    for name, write in WRITERS.items():
        with pytest.raises(DataError, match="at most 3 faces"):
            read(tmp_path, name, write(TETRA, TRIANGLES))
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "900")
    with pytest.raises(DataError, match=r"takes .* in memory, and the limit is 900 bytes"):
        read(tmp_path, "m.stl", stl(TETRA, TRIANGLES))


@pytest.mark.parametrize("name", WRITERS)
def test_no_cut_or_changed_byte_of_a_mesh_gives_another_kind_of_error(name: str, tmp_path: Path) -> None:
    rng, data, n_read = np.random.default_rng(0), WRITERS[name](TETRA, TRIANGLES), 0
    for i in range(150):
        odd = bytearray(data[: int(rng.integers(1, len(data)))] if i % 3 == 0 else data)
        if i % 3:
            odd[int(rng.integers(len(odd)))] = int(rng.integers(256))
        (tmp_path / name).write_bytes(bytes(odd))
        try:
            graph = read_graph(tmp_path / name, tell=lambda remark: None)
        except DataError:
            continue
        n_read += 1
        assert ((graph.edges >= 0) & (graph.edges < graph.n_nodes)).all()
        assert np.isfinite(np.array([*graph.nodes.values()], dtype=float)).all()
        assert np.isfinite(np.array(graph.links.get("length", []), dtype=float)).all()
        Graph.parse(graph.text)
    assert 0 < n_read < 150


@pytest.mark.parametrize("form", ["obj", "off", "ply", "stl", "stl_ascii"])
def test_what_trimesh_has_written_is_read_as_trimesh_holds_it(form: str, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    mesh = trimesh.creation.torus(2.0, 0.5, major_sections=9, minor_sections=6)
    mesh.apply_transform(trimesh.transformations.random_rotation_matrix(np.array([0.1, 0.5, 0.9])))
    file = io.BytesIO()
    mesh.export(file, file_type=form)
    graph = read(tmp_path, f"m.{form[:3]}", file.getvalue())
    assert graph.n_nodes == len(mesh.vertices)
    lengths = sorted(mesh.edges_unique_length.tolist())
    np.testing.assert_allclose(sorted(float(n or 0) for n in graph.links["length"]), lengths, rtol=1e-4)
    x = np.array([graph.nodes[name] for name in "xyz"], dtype=float).T
    samples = trimesh.sample.sample_surface(mesh, 20_000, seed=0)[0] - mesh.centroid
    radius = float(np.sqrt(np.square(samples).sum(axis=1).mean()))
    expected = (mesh.vertices - mesh.centroid) / radius
    if form == "obj":
        np.testing.assert_allclose(x, expected, atol=0.02)
        normals = np.array([graph.nodes[f"normal_{axis}"] for axis in "xyz"], dtype=float).T
        assert float((normals * mesh.vertex_normals).sum(axis=1).min()) > 0.98
    else:
        np.testing.assert_allclose(sorted(np.abs(x).max(axis=1)), sorted(np.abs(expected).max(axis=1)), atol=0.02)
