"""Columns of file names that are not read are told as such: never dropped as ids without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from profuse.data.table.infer import Inference, infer
from profuse.errors import DataError
from profuse.schema import Schema

N = 30


def found(cells: list[str], **schema: object) -> Inference:
    frame = pd.DataFrame({"file": cells, "size": np.linspace(0, 1, len(cells)) ** 2})
    return infer(frame, Schema.model_validate(schema))


@pytest.mark.parametrize(
    "suffix", [".heic", ".HEIC", ".mat", ".m4a", ".docx", ".rtf", ".wmv", ".npz", ".nrrd.gz", ".tex", ".svg"]
)
def test_files_of_a_kind_that_is_not_read_are_an_error_that_names_the_suffix(suffix: str) -> None:
    cells = [f"data/img_{i:03d}{suffix}" for i in range(N)]
    with pytest.raises(DataError) as caught:
        found(cells)
    assert "column 'file': files must be of a kind that is read: pictures (.png" in str(caught.value)
    assert f"{suffix[suffix.rfind('.') :]!r}" in str(caught.value)
    assert found(cells, ignore=["file"]).notes == ()
    assert found(cells, columns={"file": "category"}).schema.columns["file"] == "category"


@pytest.mark.parametrize("suffixes", [(".png", ".wav"), (".png", ".heic"), (".jpg", ".npy", ".flac")])
def test_files_of_several_kinds_are_an_error(suffixes: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="files must be of one kind"):
        found([f"a{i}{suffixes[i % len(suffixes)]}" for i in range(N)])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([f"a{i}.{'png' if i % 3 else 'heic'}" for i in range(N)], "image"),
        ([f"a b {i}.PNG" for i in range(N)], "image"),
        ([f"{i}.wav" for i in range(N)], "audio"),
        ([f"{i}.npy" for i in range(N)], "series"),
        ([f"{i}.ply" for i in range(N)], "points"),
        ([f"{i}.nii.gz" for i in range(N)], "volume"),
        ([f"{i}.MP4" for i in range(N)], "video"),
        ([f"{i}.pdf" for i in range(N)], "document"),
    ],
)
def test_files_that_are_read_stay_what_they_are(cells: list[str], kind: str) -> None:
    assert found(cells).schema.columns["file"] == kind


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([f"scan_{i:03d}.xyz" for i in range(N)], "names of files that are not read ('.xyz')"),
        ([f"img/{i:04d}a" for i in range(N)], "paths of files without a suffix"),
        ([f"/data/set{i % 3}/x{i}" for i in range(N)], "paths of files without a suffix"),
        ([f"C:\\pictures\\p{i}" for i in range(N)], "paths of files without a suffix"),
        (
            [f"{'abcdefghij'[i % 10] * (i // 10 + 1)}.foo" for i in range(N)],
            "names of files that are not read ('.foo')",
        ),
    ],
)
def test_what_looks_like_files_of_no_known_kind_is_told(cells: list[str], what: str) -> None:
    (note,) = found(cells).notes
    assert note.startswith("Column 'file' is ")
    assert what in note


def test_pictures_in_the_web_are_told_to_be_fetched() -> None:
    with pytest.raises(DataError, match="files must be on this machine; got addresses, 'https://a.org/0.png'"):
        found([f"https://a.org/{i}.png" for i in range(N)])


@pytest.mark.parametrize(
    "cells",
    [
        [f"www.shop{i}.com" for i in range(N)],
        [f"ann{i}@mail.org" for i in range(N)],
        [f"{i % 7}.{i % 5}" for i in range(N)],
        [f"v{i % 4}.{i % 3}b" for i in range(N)],
        ["m/f", "rock/pop", "n/a or so"] * 10,
        [f"{1 + i % 12}/{1 + i % 28}/2024" for i in range(N)],
        [f"The file report{i}.docx was lost" for i in range(N)],
    ],
)
def test_words_that_are_no_files_are_not_told_as_such(cells: list[str]) -> None:
    assert not any("files" in n for n in found(cells).notes)


@pytest.mark.parametrize("suffix", [".nii.gz", ".NII.gz", ".png"])
def test_the_reason_names_the_whole_suffix_by_which_files_are_read(suffix: str) -> None:
    reasons = {r.column: r.reason for r in found([f"scans/s{i}{suffix}" for i in range(N)]).reasons}
    assert reasons["file"].startswith(f"file names that end in {suffix!r}")
