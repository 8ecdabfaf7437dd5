"""Arrays, tensors or lists of one modality -> `ModalityData`: the kind from the shape, and every row checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from profuse.data.dataset import ModalityData, object_array
from profuse.data.media import as_picture, as_shares, check_waveform, full_scale, to_float32
from profuse.data.table.cells import Cells
from profuse.data.table.column_kinds import UNUSED, column_kind
from profuse.data.table.column_types import plain_cells, plain_types
from profuse.data.table.infer import plain_names
from profuse.data.wording import tell_rows
from profuse.errors import ConfigError, DataError
from profuse.schema import Kind, Modality

__all__ = ["modality", "plain"]


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
    kind: Kind | None,
    presence: Any,
    rate: int | None,
    levels: tuple[float, float] | None,
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
    if kind == "audio" and rate is None:
        raise ConfigError(
            f"modality {name!r}: audio needs its samples a second; got none. Give rates={{{name!r}: 16000}}, "
            "or a Dataset of from_tensors where there is no such argument."
        )
    if kind == "audio" and (isinstance(values, pd.DataFrame) or any(isinstance(v, str) for v in values)):
        raise DataError(
            f"modality {name!r}: sounds must be arrays [row, sample] or a list of [sample]; got "
            f"{type(values).__name__}. Name the files of sounds in a column of a table."
        )
    if kind == "table":
        return _table(name, values, present)
    if kind == "text":
        return _text(name, values, present)
    out: Any
    if kind == "vector":
        out = _vector(name, values, present)
        present = present & ~np.isnan(out).all(axis=1)
    elif isinstance(values, np.ndarray) and kind != "image":
        out = _floats(name, full_scale(values) if kind == "audio" else values, present)
        dims = 3 if kind == "series" else 2
        if kind == "series" and out.ndim == 2:
            out = out[..., None]
        if kind == "series" and out.itemsize > 4:
            _check_size_of_numbers(name, out, present)
        if out.ndim != dims:
            raise _no_fit(name, kind, values.shape)
        present = present & ~np.isnan(out).all(axis=tuple(range(1, dims)))
        if kind == "audio":
            for i in np.flatnonzero(present):
                _check_sound(name, int(i), out[i])
    else:
        rows = [_one(name, kind, i, values[i] if present[i] else None) for i in range(n_rows)]
        if kind == "image":
            shares, levels, said = as_shares([r if p else None for r, p in zip(rows, present, strict=True)], levels)
            notes += [f"Modality {name!r}: {note}." for note in said]
            rows = [r if s is None else s for r, s in zip(rows, shares, strict=True)]
        out = object_array(rows)
        if isinstance(values, np.ndarray) and kind == "image":
            out = np.stack(list(_same_shape(out, present)))
        _same_channels(name, kind, out, present)
    return ModalityData(kind, out, present, rate if kind == "audio" else None, levels if kind == "image" else None)


def _kind(name: str, values: Any, present: np.ndarray) -> Kind:
    if isinstance(values, pd.DataFrame):
        return "table"
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "US":
            return "text"
        known: dict[int, Kind] = {1: "vector", 2: "vector", 3: "series", 4: "image"}
        if values.dtype.kind in "biuf" and values.ndim in known:
            return known[values.ndim]
        raise _no_fit(name, None, values.shape)
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
    raise _no_fit(name, None, next(iter(shapes)))


def _no_fit(name: str, kind: str | None, shape: tuple[int, ...]) -> DataError:
    return DataError(
        f"modality {name!r}: the shape must fit {f'kind {kind!r}' if kind else 'a kind'}; got shape={shape}. Give "
        "vectors "
        "[row, channel], series [row, time, channel], pictures [row, channel, height, width], sounds [row, sample], "
        "or set kinds."
    )


def _finite(name: str, values: np.ndarray, present: np.ndarray) -> None:
    infinite = np.isinf(values).reshape(len(values), -1).any(axis=1) & present
    if infinite.any():
        raise DataError(
            f"modality {name!r}: numbers must be finite; infinite in {tell_rows(np.flatnonzero(infinite))}. Make "
            "them NaN if they mean 'missing', or correct them."
        )


def _floats(name: str, values: np.ndarray, present: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise DataError(f"modality {name!r}: must hold real numbers; got {values.dtype}.")
    _finite(name, values, present)
    return values if values.dtype.kind == "f" else values.astype(np.float32)


def _vector(name: str, values: Any, present: np.ndarray) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        shape = np.shape(next((v for v, p in zip(values, present, strict=True) if p), 0.0))
        if len(shape) > 1:
            raise _no_fit(name, "vector", (len(values), *shape))
        rows = np.full((len(values), *(shape or (1,))), np.nan)
        for i in np.flatnonzero(present):
            if np.shape(values[i]) != shape:
                raise DataError(
                    f"modality {name!r}: all vectors must be of one length, {shape}; got {np.shape(values[i])} in "
                    f"row {i} (counted from 0). Set kinds to series if they are steps."
                )
            try:
                rows[i] = values[i]
            except (TypeError, ValueError):
                raise DataError(
                    f"modality {name!r}: vectors must hold numbers; got {values[i]!r:.60} in row {i} (counted from 0). "
                    "Correct it, or set kinds."
                ) from None
        values = rows
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise _no_fit(name, "vector", values.shape)
    return _floats(name, values, present)


def _text(name: str, values: Any, present: np.ndarray) -> ModalityData:
    words = ["" if not p else v for v, p in zip(values, present, strict=True)]
    wrong = [i for i, v in enumerate(words) if not isinstance(v, str)]
    if wrong:
        raise DataError(
            f"modality {name!r}: text must be str; got {type(words[wrong[0]]).__name__} in {tell_rows(wrong)}. Use "
            "None for a missing text."
        )
    return ModalityData(
        "text", object_array([str(v) for v in words]), present & np.array([bool(v.strip()) for v in words])
    )


def _table(name: str, values: Any, present: np.ndarray) -> ModalityData:
    frame = plain_names(values if isinstance(values, pd.DataFrame) else pd.DataFrame(values))
    kinds = {}
    for column in frame.columns:
        kind, _ = column_kind(column, frame[column])
        number = pd.api.types.is_numeric_dtype(frame[column].dtype)
        kinds[column] = (
            kind if kind in ("numeric", "timestamp") else "numeric" if number or kind == UNUSED else "category"
        )
        if kind == UNUSED and not number and frame[column].notna().any():
            kinds[column] = "category"
    table = Modality(kind="table", columns=tuple(frame.columns))
    data = Cells(frame, Path()).modality(name, table, cast(Any, kinds))
    return ModalityData("table", data.values, data.present & present)


def _one(name: str, kind: Kind, row: int, value: Any) -> np.ndarray:
    """Returns one picture, series or sound; something small where it is missing."""
    if value is None:
        shape = {"image": (1, 1, 1), "series": (1, 1)}.get(kind, (1,))
        return np.zeros(shape, np.uint8 if kind == "image" else np.float32)
    try:
        if kind == "image":
            return as_picture(value)
        array = full_scale(np.asarray(value)) if kind == "audio" else np.asarray(value)
        array = to_float32(array if array.dtype.kind == "f" else array.astype(np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"modality {name!r}, row {row} (counted from 0): {str(error).rstrip('.')}. Correct it."
        ) from error
    array = array[:, None] if kind == "series" and array.ndim == 1 else array
    if array.ndim != (2 if kind == "series" else 1) or array.size == 0:
        raise DataError(
            f"modality {name!r}, row {row} (counted from 0): must be "
            f"{'[time, channel]' if kind == 'series' else '[sample]'} "
            f"and not empty; got shape={array.shape}. Use None where it is missing."
        )
    if kind == "audio":
        _check_sound(name, row, array)
    elif np.isinf(array).any():
        raise DataError(
            f"modality {name!r}, row {row} (counted from 0): numbers must be finite; one is not. Correct it."
        )
    return array


def _check_size_of_numbers(name: str, values: np.ndarray, present: np.ndarray) -> None:
    large = (np.abs(values) > np.finfo(np.float32).max).reshape(len(values), -1).any(axis=1) & present
    if large.any():
        raise DataError(
            f"modality {name!r}: numbers of series must be at most 3.4e38 in size; larger in "
            f"{tell_rows(np.flatnonzero(large))}. Make them NaN if they mean 'missing', or correct them."
        )


def _check_sound(name: str, row: int, wave: np.ndarray) -> None:
    try:
        check_waveform(wave)
    except DataError as error:
        raise DataError(f"modality {name!r}, row {row} (counted from 0): {error}.") from error


def _same_shape(rows: np.ndarray, present: np.ndarray) -> list[np.ndarray]:
    like = rows[int(np.argmax(present))]
    return [r if p else np.zeros_like(like) for r, p in zip(rows, present, strict=True)]


def _same_channels(name: str, kind: Kind, rows: np.ndarray, present: np.ndarray) -> None:
    if kind != "series":
        return
    blank: np.ndarray | None = None
    for i in np.flatnonzero(present):
        blank = np.zeros((1, rows[i].shape[1]), np.float32) if blank is None else blank
        if rows[i].shape[1] != blank.shape[1]:
            raise DataError(
                f"modality {name!r}: all series must have the same channels, {blank.shape[1]}; got "
                f"{rows[i].shape[1]} in row {i} (counted from 0). Fill up with NaN."
            )
    for i in np.flatnonzero(~present):
        rows[i] = blank if blank is not None else rows[i]
