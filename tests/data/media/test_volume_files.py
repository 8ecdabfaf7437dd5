"""Volumes from files and folders of slices: what was written is read, and what is broken is one clear error."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from profuse.data.media.volume_files import read_volume
from profuse.errors import DataError, MissingDependencyError

VOLUME = np.random.default_rng(0).integers(0, 1000, (5, 6, 7)).astype(np.int16)  # slices, rows, columns
SERIES = generate_uid()


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    told: list[str] = []
    return read_volume(path, tell=told.append), told


def nifti(path: Path, flips: Sequence[int] = (), order: Sequence[int] = (0, 1, 2), values: Any = VOLUME) -> Path:
    """Writes the volume as another program would: axes x, y, z, some of them turned round or exchanged."""
    xyz = np.asarray(values).swapaxes(0, 2)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    for axis in flips:
        xyz = np.flip(xyz, axis)
        affine[:, axis] *= -1
    affine = affine[:, [*order, 3]]
    xyz = xyz.transpose(*order, *range(3, xyz.ndim))
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(xyz), affine), path)
    return path


def dicom(folder: Path, slices: Sequence[int] = range(5), **changes: Any) -> Path:
    """Writes slices in an order of names that says nothing; rows hold half of the level less 10."""
    folder.mkdir(exist_ok=True)
    for i in slices:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        path = folder / f"{(i * 7) % 11}.dcm"
        one = FileDataset(path, Dataset(), preamble=b"\0" * 128, file_meta=meta)
        one.SeriesInstanceUID, one.InstanceNumber = SERIES, 99 - i
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * i]
        one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 6, 7, 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.RescaleSlope, one.RescaleIntercept = 0.5, -10
        one.PixelData = VOLUME[i].tobytes()
        for name, value in changes.items():
            value = value(i) if callable(value) else value
            if value is None:
                delattr(one, name)
            else:
                setattr(one, name, value)
        one.save_as(path, enforce_file_format=True)
    return folder


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(("flips", "order"), [((), (0, 1, 2)), ((0,), (0, 1, 2)), ((1, 2), (2, 0, 1))])
def test_nifti_is_read_in_one_orientation_whatever_the_file_s(
    name: str, flips: Sequence[int], order: Sequence[int], tmp_path: Path
) -> None:
    values, told = read(nifti(tmp_path / name, flips, order))
    np.testing.assert_array_equal(values, VOLUME)
    assert told == []


def test_nifti_levels_are_scaled_as_the_file_says_and_a_last_axis_is_channels(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOLUME.swapaxes(0, 2), np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    data = bytearray(image.to_bytes())
    slope, inter = np.frombuffer(np.array([0.5, 3], "<f4").tobytes(), np.uint8)[:4], np.array([3], "<f4").tobytes()
    data[112:116], data[116:120] = bytes(slope), inter
    (tmp_path / "a.nii").write_bytes(bytes(data))
    np.testing.assert_allclose(read(tmp_path / "a.nii")[0], 0.5 * VOLUME + 3)
    two = np.stack([VOLUME, -VOLUME], axis=-1)
    xyz = two.swapaxes(0, 2)
    nibabel.save(nibabel.Nifti1Image(xyz, np.eye(4)), tmp_path / "b.nii")
    np.testing.assert_array_equal(read(tmp_path / "b.nii")[0], two)
    nibabel.save(nibabel.Nifti1Image(xyz[..., :1], np.eye(4)), tmp_path / "c.nii")
    np.testing.assert_array_equal(read(tmp_path / "c.nii")[0], VOLUME)


def test_a_series_is_stacked_along_its_normal_in_its_own_unit(tmp_path: Path) -> None:
    values, told = read(dicom(tmp_path / "series"))
    np.testing.assert_allclose(values, 0.5 * VOLUME - 10)
    assert told == []


def test_one_dicom_file_is_a_volume_of_its_frames(tmp_path: Path) -> None:
    folder = dicom(tmp_path / "one", [0], NumberOfFrames=5, PixelData=VOLUME.tobytes())
    np.testing.assert_allclose(read(next(folder.iterdir()))[0], 0.5 * VOLUME - 10)


def test_slices_without_a_place_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    values, told = read(dicom(tmp_path / "series", ImagePositionPatient=None))
    np.testing.assert_allclose(values[::-1], 0.5 * VOLUME - 10)
    assert told == ["the slices tell no place, and stand in the order of their numbers"]


def test_what_can_be_doubted_in_a_folder_is_told(tmp_path: Path) -> None:
    folder = dicom(tmp_path / "series", [0, 1, 2, 4])
    (folder / "readme.txt").write_text("hello")
    dicom(folder, [3], PixelData=None)
    values, told = read(folder)
    np.testing.assert_allclose(values, 0.5 * VOLUME[[0, 1, 2, 4]] - 10)
    assert sorted(told) == [
        "some files of the folder are no DICOM, and are not read",
        "some files of the folder hold no picture, and are not read",
        "the slices do not lie at even distances: some may be lacking",
    ]


def test_an_array_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    np.testing.assert_array_equal(read(tmp_path / "a.npy")[0], VOLUME)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SeriesInstanceUID": lambda i: f"1.2.{i}"}, "must hold one series; its files are of several"),
        ({"Rows": lambda i: 6 if i else 3}, r"must have one size; got \(3, 7\) and \(6, 7\)"),
        ({"ImagePositionPatient": [0, 0, 1]}, "must lie at different places; two lie at one"),
        ({"PixelData": b"\0" * 20}, "the DICOM series is broken"),
        ({"Rows": None}, "the DICOM series is broken"),
        ({"PixelData": None}, "no DICOM file with a picture"),
        ({"SamplesPerPixel": 3}, "must be grey; got colours"),
        ({"Rows": 60_000, "Columns": 60_000}, "takes .* in memory, and the limit is"),
    ],
)
def test_slices_that_do_not_fit_are_one_clear_error(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(dicom(tmp_path / "series", **changes))


def test_an_empty_folder_and_other_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no DICOM file with a picture"):
        read(tmp_path / "empty")
    for data, message in ((b"", "the file is empty"), (b"\x89PNG" + bytes(200), "none of NIfTI, DICOM, NPY")):
        (tmp_path / "a.dcm").write_bytes(data)
        with pytest.raises(DataError, match=message):
            read(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "nowhere.nii")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda d: d[:200], "the NIfTI file is broken"),
        (lambda d: d[:-50], "the NIfTI file is broken"),
        (lambda d: b"hello" * 99, "the NIfTI file is broken"),
        (lambda d: gzip.compress(d)[:-30], "the packed file is cut off"),
        (lambda d: gzip.compress(d)[:40] + b"xxxx" + gzip.compress(d)[44:], "the packed file is broken"),
        (lambda d: d[:40] + np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], "<i2").tobytes() + d[56:], "in memory"),
        (lambda d: d[:40] + np.array([2, 5, 6, 1, 1, 1, 1, 1], "<i2").tobytes() + d[56:], "must have three axes"),
    ],
)
def test_a_broken_nifti_file_is_one_clear_error(data: Any, message: str, tmp_path: Path) -> None:
    whole = nifti(tmp_path / "whole.nii").read_bytes()
    path = tmp_path / "a.nii.gz"
    broken = data(whole)
    if broken[:2] != b"\x1f\x8b":
        path = tmp_path / "a.nii"
    path.write_bytes(broken)
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_file_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "20M")
    whole = nifti(tmp_path / "whole.nii").read_bytes()
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        file.write(whole)
        for _ in range(30):
            file.write(bytes(1 << 20))
    (tmp_path / "bomb.nii.gz").write_bytes(packed.getvalue())
    assert len(packed.getvalue()) < 100_000
    with pytest.raises(DataError, match="takes .* in memory, and the limit is 20 MiB"):
        read(tmp_path / "bomb.nii.gz")


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_no_cut_or_changed_byte_gives_another_kind_of_error(kind: str, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii") if kind == "nifti" else next(dicom(tmp_path / "one", [0]).iterdir())
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for i in range(60):
        odd = bytearray(data[: int(rng.integers(1, len(data)))] if i % 3 == 0 else data)
        if i % 3:
            odd[int(rng.integers(min(len(odd), 600)))] = int(rng.integers(256))
        path.write_bytes(bytes(odd))
        try:
            values = read(path)[0]
        except DataError:
            continue
        assert values.ndim >= 3


@pytest.mark.parametrize(("package", "kind"), [("nibabel", "nifti"), ("pydicom", "dicom")])
def test_without_the_package_its_extra_is_named(
    package: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nifti(tmp_path / "a.nii") if kind == "nifti" else dicom(tmp_path / "one")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"profuse\[volume\]"):
        read(path)
