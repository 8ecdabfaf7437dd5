"""Lists of numbers in a cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from profuse.data.table.lists import parse_list
from profuse.errors import DataError

__all__ = ["to_float32", "to_numbers"]


def to_numbers(cell: Any) -> np.ndarray | None:
    """Returns the numbers of a list cell (a list, an array, or its text), NaN for null; None if it is empty."""
    if isinstance(cell, str):
        cell = parse_list(cell)
    if hasattr(cell, "detach"):  # a torch tensor, without importing torch
        cell = cell.detach().cpu().numpy()
    if not isinstance(cell, (list, tuple, np.ndarray)):
        raise DataError(f"it must be a list of numbers; got {type(cell).__name__}")
    if len(cell) == 0:
        return None
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        cell = cell.tolist()
    if isinstance(cell, (list, tuple)):
        cell = [list(c) if isinstance(c, np.ndarray) else c for c in cell]
    try:
        return np.asarray(cell, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("it must be a list of numbers, or of lists of one length") from error


def to_float32(values: np.ndarray) -> np.ndarray:
    """Returns the numbers as float32; one that is finite and too large for it is an error."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if np.isinf(narrow).any() and not np.isinf(values).any():
        largest = float(np.nanmax(np.abs(values)))
        raise DataError(f"numbers must be at most 3.4e38 in size; got {largest:g}")
    return narrow
