"""Clouds of points from files: what was written is read, whoever wrote it, and what is broken is one clear error."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profuse.data.media.point_files import read_points
from profuse.errors import DataError

XYZ = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0], [0.0, 4.0, 0.125], [9.0, -2.5, 1.0]])
COLOUR = np.array([[255, 0, 1], [2, 3, 4], [9, 8, 7], [0, 0, 0]])
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


def ply(
    form: str, *, n: int = 4, before: str = "", body_before: bytes = b"", after: str = "", behind: bytes = b""
) -> bytes:
    head = f"ply\nformat {form} 1.0\ncomment made here\n{before}element vertex {n}\n"
    head += "".join(f"property float {a}\n" for a in "xyz")
    head += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
    head += f"{after}end_header\n"
    if form == "ascii":
        rows = [" ".join(map(str, [*x, *c])) for x, c in zip(XYZ, COLOUR, strict=True)]
        body = "\n".join(rows).encode() + b"\n"
    else:
        body = b"".join(struct.pack(f"{ORDERS[form]}3f3B", *x, *map(int, c)) for x, c in zip(XYZ, COLOUR, strict=True))
    return head.encode() + body_before + body + behind


def pcd(data: str, *, rgb: str = "F", points: int = 4, extra: str = "") -> bytes:
    head = f"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb _\nSIZE 4 4 4 4 1\nTYPE F F F {rgb} U\nCOUNT 1 1 1 1 4\n"
    head += f"WIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\n{extra}DATA {data}\n"
    bits = [int(r) << 16 | int(g) << 8 | int(b) for r, g, b in COLOUR]
    if data == "binary":
        return head.encode() + b"".join(struct.pack("<3fI4x", *x, b) for x, b in zip(XYZ, bits, strict=True))
    shown = [struct.unpack("<f", struct.pack("<I", b))[0] if rgb == "F" else b for b in bits]
    return (
        head.encode()
        + "".join(f"{x[0]} {x[1]} {x[2]} {s!r} 0 0 0 0\n" for x, s in zip(XYZ, shown, strict=True)).encode()
    )


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def read(folder: Path, data: bytes, name: str = "cloud.ply") -> tuple[np.ndarray, tuple[str, ...] | None, list[str]]:
    (folder / name).write_bytes(data)
    told: list[str] = []
    values, names = read_points(folder / name, tell=told.append)
    return values, names, told


FILES = {
    "ply text": ply("ascii"),
    "ply little": ply("binary_little_endian"),
    "ply big": ply("binary_big_endian"),
    "ply with faces": ply(
        "ascii", after="element face 1\nproperty list uchar int vertex_indices\n", behind=b"3 0 1 2\n"
    ),
    "ply with binary faces": ply(
        "binary_little_endian",
        after="element face 1\nproperty list uchar int vertex_indices\n",
        behind=struct.pack("<B3i", 3, 0, 1, 2),
    ),
    "ply behind a camera": ply(
        "binary_little_endian",
        before="element camera 2\nproperty double at\n",
        body_before=struct.pack("<2d", 1, 2),
    ),
    "ply of Windows": ply("ascii").replace(b"\n", b"\r\n"),
    "pcd text": pcd("ascii"),
    "pcd binary": pcd("binary"),
    "pcd of whole colours": pcd("ascii", rgb="U"),
}


@pytest.mark.parametrize("name", FILES)
def test_positions_and_colours_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    values, names, told = read(tmp_path, FILES[name])
    np.testing.assert_array_equal(values, np.concatenate([XYZ, COLOUR], axis=1))
    assert names == ("red", "green", "blue")
    assert told == []


def test_an_array_is_read_and_has_no_names(tmp_path: Path) -> None:
    values, names, told = read(tmp_path, npy(XYZ), "cloud.npy")
    np.testing.assert_array_equal(values, XYZ)
    assert (names, told) == (None, [])


def test_x_y_z_come_first_wherever_they_stand(tmp_path: Path) -> None:
    head = "ply\nformat ascii 1.0\nelement vertex 1\n" + "".join(f"property double {c}\n" for c in ("i", "z", "y", "x"))
    values, names, _ = read(tmp_path, f"{head}end_header\n7 3 2 1\n".encode())
    assert values.tolist() == [[1, 2, 3, 7]]
    assert names == ("i",)


def test_what_stands_behind_the_points_is_told(tmp_path: Path) -> None:
    assert read(tmp_path, ply("binary_little_endian", behind=b"xx"))[2] == [
        "behind the points stand bytes that are not read"
    ]
    assert read(tmp_path, ply("ascii", behind=b"1 2 3 4 5 6\n"))[2] == [
        "behind the points stand lines that are not read"
    ]


HEAD = b"ply\nformat ascii 1.0\n"
BROKEN: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "the file is empty"),
    ("another file", b"\x89PNG\r\n\x1a\n" + bytes(99), "none of PLY, PCD, NPY"),
    ("cut header", ply("ascii")[:60], "its header has no end"),
    ("no format", b"ply\nelement vertex 1\nend_header\n", "tells no format"),
    ("odd line", HEAD + b"element vertex many\nend_header\n", "has the line 'element vertex many'"),
    ("odd type", HEAD + b"element vertex 1\nproperty quad x\nend_header\n", "has the line 'property quad x'"),
    ("no vertex", HEAD + b"element face 1\nproperty float x\nend_header\n", "an element called vertex"),
    ("a list", HEAD + b"element vertex 1\nproperty list uchar int x\nend_header\n", "must hold single numbers"),
    ("no z", HEAD + b"element vertex 1\nproperty int x\nproperty int y\nend_header\n1 2\n", "x, y and z; got x, y"),
    (
        "x twice",
        HEAD + b"element vertex 1\n" + b"".join(b"property int %c\n" % c for c in b"xyzx") + b"end_header\n1 2 3 4\n",
        "got 'x' twice",
    ),
    ("no points", ply("ascii", n=0), "holds no point"),
    ("cut text", ply("ascii")[:-30], "the file holds 3 of 4 points|must have 6 numbers"),
    ("cut bytes", ply("binary_little_endian")[:-1], "cut off: the file holds 3 of 4 points"),
    ("claims much", ply("binary_big_endian", n=10**15), "the file holds 4 of 1,000,000,000,000,000 points"),
    ("claims many lines", ply("ascii", n=10**15), "the file holds 4 of 1,000,000,000,000,000 points"),
    ("words", ply("ascii").replace(b"-2.5", b"east"), "must be numbers"),
    ("a short line", ply("ascii").replace(b" -2.5", b""), "point 3 must have 6 numbers; got 5"),
    (
        "faces first",
        ply("binary_little_endian", before="element face 1\nproperty list uchar int i\n"),
        "must stand before lists; got 'face' first",
    ),
    ("compressed", pcd("binary_compressed"), "which is not read; save it as binary or ascii"),
    ("odd data", pcd("gzip"), "DATA ascii or binary; got 'gzip'"),
    ("cut pcd", pcd("binary")[:-5], "cut off: the file holds 3 of 4 points"),
    ("pcd claims much", pcd("binary", points=10**12), "the file holds 4 of 1,000,000,000,000 points"),
    ("odd pcd", pcd("ascii").replace(b"SIZE 4 4", b"SIZE 4"), "SIZE, TYPE, COUNT or POINTS of its header do not fit"),
    ("huge count", pcd("ascii").replace(b"1 1 4\n", b"1 1 999999999\n"), "of its header do not fit"),
    ("no count of points", pcd("ascii").replace(b"POINTS 4", b"POINTS x"), "of its header do not fit"),
    ("words as array", npy(np.array(["a"])), "must hold numbers"),
    ("objects", npy(np.array([{}], dtype=object)), "Python objects, which are not read"),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_file_is_one_clear_error(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, data)


def test_a_cloud_that_takes_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "600")
    for form in ("ascii", "binary_little_endian"):
        many = ply(form)
        with pytest.raises(DataError, match="takes .* in memory, and the limit is 600 bytes"):
            read(tmp_path, many + b"\0" * 500)


@pytest.mark.parametrize("name", FILES)
def test_no_cut_or_changed_byte_gives_another_kind_of_error(name: str, tmp_path: Path) -> None:
    data, rng = FILES[name], np.random.default_rng(0)
    for i in range(40):
        odd = bytearray(data[: int(rng.integers(1, len(data)))] if i % 2 else data)
        if not i % 2:
            odd[int(rng.integers(len(odd)))] = int(rng.integers(256))
        try:
            values = read(tmp_path, bytes(odd))[0]
        except DataError:
            continue
        assert values.ndim == 2
