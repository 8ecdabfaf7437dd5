"""Arrays, tensors or lists of one modality -> `ModalityData`: the kind from the shape, and every row checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import ModalityData
from profuse.data.media import to_float32
from profuse.data.table.column_types import plain_cells, plain_types
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import Given, LevelRange, kind_named

__all__ = ["floats", "modality", "narrow_row", "no_fit", "plain"]


def plain(values: Any) -> Any:
    """Returns tensors as arrays (on the CPU, no gradient), columns in plain types, tuples as lists, others as is."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        return values.numpy()
    if isinstance(values, pd.Series):
        values = plain_cells(values)
        return values.to_numpy(dtype=object) if values.dtype.kind not in "biufM" else values.to_numpy()
    if isinstance(values, pd.DataFrame):
        return plain_types(values)
    if isinstance(values, tuple):
        return list(values)
    return values


def modality(
    name: str,
    values: Any,
    kind: str | None,
    presence: Any,
    rate: int | None,
    levels: LevelRange | None,
    notes: list[str],
) -> ModalityData:
    """Returns the rows of one modality; what was counted is added to `notes`."""
    if hasattr(values, "toarray"):
        raise DataError(
            f"modality {name!r}: must be a dense array; got a {type(values).__name__}. Give values.toarray()."
        )
    if (isinstance(values, np.ndarray) and values.ndim == 0) or not hasattr(values, "__len__"):
        raise DataError(
            f"modality {name!r}: must have rows first; got a {type(values).__name__}. Give an array or a list."
        )
    n_rows = len(values)
    if n_rows == 0:
        raise DataError(f"modality {name!r}: must have at least one row; got 0.")
    present = np.ones(n_rows, dtype=bool)
    if presence is not None:
        mask = np.asarray(plain(presence))
        if mask.shape != (n_rows,) or mask.dtype != bool:
            raise DataError(
                f"modality {name!r}: presence must be one bool for each of {n_rows} rows; got "
                f"{mask.dtype}{mask.shape}. Give mask.astype(bool), True = present."
            )
        present = mask.copy()
    if isinstance(values, list) or (isinstance(values, np.ndarray) and values.dtype == object):
        values = [None if v is None or (isinstance(v, float) and v != v) else plain(v) for v in values]
        present &= np.array([v is not None for v in values])
    kind = kind or _kind(name, values, present)
    return kind_named(kind).read_arrays(Given(name, values, present, rate, levels, notes))


def _kind(name: str, values: Any, present: np.ndarray) -> str:
    if isinstance(values, pd.DataFrame):
        return "table"
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "US":
            return "text"
        known: dict[int, str] = {1: "vector", 2: "vector", 3: "series", 4: "image"}
        if values.dtype.kind in "biuf" and values.ndim in known:
            return known[values.ndim]
        raise no_fit(name, None, values.shape)
    some = [v for v, p in zip(values, present, strict=True) if p]
    if not some:
        raise DataError(f"modality {name!r}: must be present in at least one row; it is missing in all {len(values)}.")
    if all(isinstance(v, str) for v in some):
        return "text"
    if all(np.isscalar(v) for v in some):
        return "vector"
    if type(some[0]).__module__.startswith("PIL."):
        return "image"
    shapes = {np.shape(v) for v in some}
    dims = {len(s) for s in shapes}
    if dims == {1}:
        return "vector" if len(shapes) == 1 else "series"
    if dims == {2}:
        return "series"
    if dims == {3}:
        return "image"
    raise no_fit(name, None, next(iter(shapes)))


def no_fit(name: str, kind: str | None, shape: tuple[int, ...]) -> DataError:
    """Returns the error of values whose shape fits no kind, or not `kind`."""
    return DataError(
        f"modality {name!r}: the shape must fit {f'kind {kind!r}' if kind else 'a kind'}; got shape={shape}. Give "
        "vectors "
        "[row, channel], series [row, time, channel], pictures [row, channel, height, width], sounds [row, sample], "
        "or set kinds."
    )


def floats(name: str, values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Returns an array of real numbers as floats.

    Raises:
        DataError: They are none, or one in a row that is present is infinite.
    """
    if values.dtype.kind not in "biuf":
        raise DataError(f"modality {name!r}: must hold real numbers; got {values.dtype}.")
    infinite = np.isinf(values).reshape(len(values), -1).any(axis=1) & present
    if infinite.any():
        raise DataError(
            f"modality {name!r}: numbers must be finite; infinite in {tell_rows(np.flatnonzero(infinite))}. Make "
            "them NaN if they mean 'missing', or correct them."
        )
    return values if values.dtype.kind == "f" else values.astype(np.float32)


def narrow_row(name: str, row: int, value: Any, read: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Returns one row as float32.

    Args:
        name: Of the modality.
        row: Its number, for messages.
        value: What was given.
        read: Makes an array of it.

    Raises:
        DataError: It is none of numbers.
    """
    try:
        array = read(value)
        if array.dtype.kind == "c":
            raise TypeError(f"must hold real numbers; got {array.dtype}")
        return to_float32(array if array.dtype.kind == "f" else array.astype(np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"modality {name!r}, row {row} (counted from 0): {str(error).rstrip('.')}. Correct it."
        ) from error
