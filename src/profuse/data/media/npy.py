"""An array of NumPy's file format, by its header alone first: it may tell anything."""

from __future__ import annotations

import math
import warnings
from io import BytesIO

import numpy as np
from numpy.lib import format as npy_format

from profuse._files import check_size
from profuse.data.media.source import Tell
from profuse.errors import DataError

__all__ = ["read_npy"]


def read_npy(data: bytes, tell: Tell) -> np.ndarray:
    """Returns the array of numbers in the bytes of a `.npy` file; nothing in it is run.

    Raises:
        DataError: It is none, it holds no real numbers, it takes too much memory, or it is cut off.
    """
    if data[:2] == b"PK":
        raise DataError("it is an archive of arrays, not one array")
    source = BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers of Python 2
            version = npy_format.read_magic(source)
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            if version not in ((1, 0), (2, 0), (3, 0)):
                raise ValueError(f"version {version}")
            shape, by_column, dtype = read(source)
    except Exception as error:  # a header is Python's text, and may fail in all ways of Python's parser
        raise DataError(f"the array is broken: its header cannot be read ({type(error).__name__})") from error
    if dtype.hasobject:
        raise DataError("the array holds Python objects, which are not read")
    if dtype.kind not in "biuf":
        raise DataError(f"the array must hold numbers; got type {str(dtype)[:60]}")
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise DataError(f"the array is broken: its header tells the shape {shape}")
    n_values, start = math.prod(shape), source.tell()
    there = (len(data) - start) // dtype.itemsize
    if n_values > there:
        raise DataError(
            f"the array is cut off or its header is wrong: the file holds {there:,} of {float(n_values):,.0f} numbers"
        )
    check_size(n_values * max(12, dtype.itemsize), "the array")
    if len(data) > start + n_values * dtype.itemsize:
        tell("behind the array stand bytes that are not read, as if several arrays were saved into one file")
    values = np.frombuffer(data, dtype=dtype, count=n_values, offset=start)
    return values.reshape(shape, order="F" if by_column else "C")
