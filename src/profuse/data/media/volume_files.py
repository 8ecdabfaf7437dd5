"""One volume from a NIfTI file, a DICOM file or the folder of a DICOM series, or an NPY array.

Each fault is a `DataError` without a place.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from profuse._files import check_size
from profuse._members import as_file
from profuse._optional import need
from profuse.data.media.npy import read_npy
from profuse.data.media.source import Tell, opened, read_bytes, warn
from profuse.errors import DataError, MissingDependencyError

__all__ = ["VOLUME_SUFFIXES", "read_volume"]

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".dcm")

_MOST_SLICES = 10_000
_UNEVEN = 0.05  # of the usual distance between slices


def read_volume(path: Path, *, tell: Tell = warn) -> np.ndarray:
    """Returns `[depth, height, width]`, or with channels behind, as its levels stand in the file (scaled as it says).

    Of NIfTI, depth goes from foot to head, height from back to front, width from left to right, whatever the order in
    the file. Slices of DICOM stand along their normal, rows and columns as they are.

    Args:
        path: A NIfTI file (`.nii`, `.nii.gz`), an NPY array, a DICOM file, or a folder that holds one DICOM series.
        tell: Called with what could be doubted: slices at uneven distances, files that are no DICOM.

    Raises:
        DataError: It is none, it is damaged or cut off, it takes too much memory, or slices do not fit together.
        MissingDependencyError: Without nibabel or pydicom (extra `volume`), of such files.
    """
    with as_file(path) as real:
        return _volume(real, tell)


def _volume(path: Path, tell: Tell) -> np.ndarray:
    if path.is_dir():
        return _series(sorted(path.iterdir()), tell)
    with opened(path) as file:
        head = file.read(132)
    if head[:6] == b"\x93NUMPY":
        return read_npy(read_bytes(path), tell)
    if head[128:] == b"DICM":
        return _series([path], tell)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _nifti(path)
    raise DataError(f"the volume is broken, or none of NIfTI, DICOM, NPY: its first bytes are {head[:8]!r}")


@contextmanager
def _decoded(what: str) -> Iterator[None]:
    """Makes a `DataError` of whatever a decoder raises; its own warnings say what the errors do."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DataError, MissingDependencyError):
        raise
    except Exception as error:  # decoders of damaged files raise whatever they like
        reason = " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__
        raise DataError(f"the {what} is broken, cut off, or compressed in a way that is not read ({reason})") from error


def _nifti(path: Path) -> np.ndarray:
    nibabel = need("nibabel", "volume", "reading NIfTI files")
    _check_unpacked(path)
    with _decoded("NIfTI file"):
        image = nibabel.load(path)
        shape = tuple(int(n) for n in image.shape)
        check_size(8.0 * math.prod(shape), "the volume")
        if len(shape) < 3 or min(shape) < 1:
            raise DataError(f"a volume must have three axes; got {shape}")
        while len(shape) > 3 and shape[-1] == 1:
            image, shape = image.slicer[..., 0], shape[:-1]
        levels = np.asarray(nibabel.as_closest_canonical(image).dataobj)
    if levels.dtype.kind not in "biuf":
        raise DataError(f"the levels of a volume must be real numbers; got {str(levels.dtype)[:60]}")
    return np.swapaxes(levels, 0, 2)


def _check_unpacked(path: Path) -> None:
    """Unpacks a packed file a piece at a time: neither its size nor its end is known before."""
    with opened(path) as file:
        if file.read(2) != b"\x1f\x8b":
            return
        file.seek(0)
        unpack, n_bytes = zlib.decompressobj(31), 0
        try:
            while piece := file.read(1 << 20):
                while piece:
                    n_bytes += len(unpack.decompress(piece, 1 << 22))
                    check_size(n_bytes, "the volume")
                    piece = unpack.unconsumed_tail
        except zlib.error as error:
            raise DataError(f"the packed file is broken ({error})") from error
        if not unpack.eof:
            raise DataError("the packed file is cut off")


def _series(paths: list[Path], tell: Tell) -> np.ndarray:
    """Returns the volume of one DICOM series; files that are none are passed over, and told."""
    pydicom = need("pydicom", "volume", "reading DICOM files")
    paths = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    if len(paths) > _MOST_SLICES:
        raise DataError(f"a series must have at most {_MOST_SLICES:,} files; got {len(paths):,}")
    remarks: list[str] = []  # given when the decoder's own warnings are no longer caught
    with _decoded("DICOM series"):
        slices = [one for path in paths if (one := _slice(pydicom, path, remarks.append)) is not None]
        volume = _stacked(slices, remarks.append)
    for remark in remarks:
        tell(remark)
    return volume


def _slice(pydicom: Any, path: Path, tell: Tell) -> Any:
    """Returns a DICOM file with a picture, None of others."""
    with opened(path) as file:
        if file.read(132)[128:] != b"DICM":
            tell("some files of the folder are no DICOM, and are not read")
            return None
    check_size(path.stat().st_size)
    one = pydicom.dcmread(path)
    if "PixelData" not in one:
        tell("some files of the folder hold no picture, and are not read")
        return None
    return one


def _stacked(slices: list[Any], tell: Tell) -> np.ndarray:
    if not slices:
        raise DataError("the folder holds no DICOM file with a picture")
    if len({str(one.get("SeriesInstanceUID", "")) for one in slices}) > 1:
        raise DataError("the folder must hold one series; its files are of several. Give each a folder of its own")
    sizes = {(int(one.Rows), int(one.Columns)) for one in slices}
    n_pictures = sum(int(one.get("NumberOfFrames", 1) or 1) for one in slices)
    if len(sizes) > 1:
        raise DataError(f"the slices of a series must have one size; got {' and '.join(map(str, sorted(sizes)))}")
    ((rows, columns),) = sizes
    check_size(8.0 * n_pictures * rows * columns, "the volume")
    return np.concatenate([_levels(one) for one in _ordered(slices, tell)])


def _ordered(slices: list[Any], tell: Tell) -> list[Any]:
    """Returns slices along their normal; by their number where they tell no place."""
    if len(slices) == 1:
        return slices
    if all("ImagePositionPatient" in one and "ImageOrientationPatient" in one for one in slices):
        across = np.asarray(slices[0].ImageOrientationPatient, dtype=np.float64)
        normal = np.cross(across[:3], across[3:])
        at = np.array([np.asarray(one.ImagePositionPatient, dtype=np.float64) @ normal for one in slices])
    else:
        tell("the slices tell no place, and stand in the order of their numbers")
        at = np.array([float(one.get("InstanceNumber", i) or 0) for i, one in enumerate(slices)])
    order = np.argsort(at, kind="stable")
    steps = np.diff(at[order])
    if (steps <= 1e-6 * max(1.0, float(np.abs(at).max()))).any():
        raise DataError("the slices of a series must lie at different places; two lie at one. Leave one of them out")
    usual = float(np.median(steps))
    if (np.abs(steps - usual) > _UNEVEN * usual).any():
        tell("the slices do not lie at even distances: some may be lacking")
    return [slices[i] for i in order]


def _levels(one: Any) -> np.ndarray:
    """Returns the pictures of a DICOM file, `[picture, row, column]`, in its own unit."""
    if int(one.get("SamplesPerPixel", 1)) != 1:
        raise DataError("the slices of a series must be grey; got colours")
    pixels = np.asarray(one.pixel_array)
    levels = pixels.astype(np.float32) * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
    return levels.reshape(-1, *pixels.shape[-2:])
