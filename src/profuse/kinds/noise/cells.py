"""Noise in the cells of a table: numbers, times and categories. A missing cell stays missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from profuse.kinds.noise import numbers
from profuse.kinds.noise.corruption import Corruption, cut

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["CELLS"]

_LARGEST = 2.0**62  # ticks of a time: far from where they end


def _is_time(cells: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(cells.dtype)


def _is_number(cells: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(cells.dtype) and not pd.api.types.is_bool_dtype(cells.dtype))


def _as_floats(cells: pd.Series) -> np.ndarray:
    if _is_time(cells):
        return np.where(cells.isna(), np.nan, cells.astype("int64").to_numpy(np.float64))
    return np.asarray(cells.to_numpy(dtype=np.float64, na_value=np.nan))


def _as_cells(x: np.ndarray, old: np.ndarray, like: pd.Series) -> pd.Series:
    """Returns numbers as a column of the type of `like`, whose numbers are `old`; whole numbers may become others."""
    if _is_time(like):
        ticks = np.nan_to_num(np.clip(x, -_LARGEST, _LARGEST) - old).astype(np.int64)
        return like + pd.Series(ticks.astype(f"timedelta64[{like.dt.unit}]"))
    dtype = like.dtype if isinstance(like.dtype, np.dtype) and like.dtype.kind == "f" else np.dtype(np.float64)
    return pd.Series(cut(x, dtype))


Numbers = Callable[[np.ndarray, float, "Generator"], np.ndarray]


def _numbers(data: ModalityData, p: float, draw: Generator, change: Numbers, *, times: bool) -> pd.DataFrame:
    """Returns the table with `change` in its numbers, and in its times where those are a matter of degree."""
    frame: pd.DataFrame = data.values.copy()
    names = [c for c in frame if _is_number(frame[c]) or (times and _is_time(frame[c]))]
    if not names:
        return frame
    old = np.stack([_as_floats(frame[c]) for c in names], axis=1)
    new = old.copy()
    new[data.present] = change(old[data.present], p, draw)
    for j, name in enumerate(names):
        frame[name] = _as_cells(new[:, j], old[:, j], frame[name])
    return frame


def _white(data: ModalityData, p: float, draw: Generator) -> pd.DataFrame:
    return _numbers(data, p, draw, numbers.white, times=True)


def _drift(data: ModalityData, p: float, draw: Generator) -> pd.DataFrame:
    return _numbers(data, p, draw, numbers.drift, times=True)


def _scale(data: ModalityData, p: float, draw: Generator) -> pd.DataFrame:
    return _numbers(data, p, draw, numbers.scale, times=False)


def _shuffled(data: ModalityData, p: float, draw: Generator) -> pd.DataFrame:
    frame: pd.DataFrame = data.values.copy()
    source = numbers.shuffled(frame.notna().to_numpy() & data.present[:, None], p, draw)
    for j, name in enumerate(list(frame)):
        frame[name] = frame[name].take(source[:, j]).reset_index(drop=True)
    return frame


def _mistyped(data: ModalityData, p: float, draw: Generator) -> pd.DataFrame:
    frame = _numbers(data, p, draw, numbers.mistyped, times=False)
    for name in [c for c in frame if not _is_number(frame[c])]:
        hit, step = draw.random((2, len(frame)))
        codes = pd.factorize(frame[name])[0]
        filled = np.flatnonzero(data.present & (codes >= 0))
        _, first, rank = np.unique(codes[filled], return_index=True, return_inverse=True)
        if len(first) < 2:
            continue
        other = (rank.reshape(-1) + 1 + (step[filled] * (len(first) - 1)).astype(int)) % len(first)
        source = np.arange(len(frame))
        source[filled] = np.where(hit[filled] < p, filled[first[other]], filled)
        frame[name] = frame[name].take(source).reset_index(drop=True)
    return frame


CELLS = {
    "white": Corruption("White noise, whose deviation is p spreads, is added to numbers and times.", _white),
    "shuffled": Corruption("Each cell, with probability p, changes places with that of another row.", _shuffled),
    "drift": Corruption("Each column of numbers or times is shifted by 2p spreads, up or down, in all rows.", _drift),
    "scale": Corruption("Each column of numbers is multiplied by 1 + p, or divided by it, in all rows.", _scale),
    "mistyped": Corruption(
        "Each cell, with probability p, is mistyped: a digit or the point of a number; another known category or time.",
        _mistyped,
    ),
}
