"""Columns of every pandas and Arrow type -> the plain types that all readers of cells know.

| column | becomes |
|---|---|
| Arrow, whatever its type | what Arrow's own `to_pandas` makes of it, as when a Parquet file is read |
| Arrow dates | `datetime64`; years beyond 9999 are then told where times are read |
| Arrow times of day, Python's `time` and `timedelta` | `timedelta64`, since midnight |
| nullable integers | int64; where cells are missing float64, or int as objects above 2^53, which floats would merge |
| nullable floats, booleans and strings | float64; bool, or objects where cells are missing; str |
| sparse | dense |
| periods | the time at which each begins |
| intervals | categories |
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["arrow_cells", "plain_cells", "plain_types"]

_LARGEST_WHOLE = 2**53  # float64 holds every whole number up to here


def plain_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with `plain_cells` in each column; itself where all are plain."""
    plain = [plain_cells(frame.iloc[:, i]) for i in range(frame.shape[1])]
    if all(cells.dtype == kind for cells, kind in zip(plain, frame.dtypes, strict=True)):
        return frame
    out = frame.copy(deep=False)
    for i, cells in enumerate(plain):
        out.isetitem(i, cells.array)
    out.attrs = frame.attrs
    return out


def plain_cells(cells: pd.Series) -> pd.Series:
    """Returns the column in a plain type, with the same index and name; itself where it is plain already."""
    kind = cells.dtype
    if isinstance(kind, pd.ArrowDtype):
        import pyarrow as pa

        plain = arrow_cells(pa.chunked_array(pa.array(cells.array)))
    elif isinstance(kind, pd.SparseDtype):
        plain = pd.Series(np.asarray(cells.array), dtype=kind.subtype)
    elif isinstance(kind, pd.PeriodDtype):
        plain = cells.dt.to_timestamp()
    elif isinstance(kind, pd.IntervalDtype):
        return cells.astype("category")
    elif isinstance(kind, pd.StringDtype):
        if kind.na_value is not pd.NA:
            return cells
        plain = cells.astype("str")
    elif pd.api.types.is_extension_array_dtype(kind) and kind.kind in "biuf" and hasattr(kind, "numpy_dtype"):
        plain = _without_na(cells)
    elif isinstance(kind, pd.CategoricalDtype):
        names = pd.Series(kind.categories)
        known = plain_cells(names)
        return cells if known is names else cells.cat.rename_categories(list(known))
    elif pd.api.types.is_object_dtype(kind):
        return _durations(cells)
    else:
        return cells
    return pd.Series(plain.array, index=cells.index, name=cells.name)


def arrow_cells(values: Any, *, exact: bool = False) -> pd.Series:
    """Returns an Arrow array, plain or chunked, as a column; `exact`: whole numbers among missing cells stay so."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values.type, pa.BaseExtensionType) and values.type.extension_name == "pandas.period":
        return plain_cells(values.to_pandas())
    if isinstance(values.type, pa.BaseExtensionType):
        chunks = getattr(values, "chunks", [values])
        values = pa.chunked_array([chunk.storage for chunk in chunks], type=values.type.storage_type)
    if pa.types.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    kind = values.type
    if pa.types.is_date(kind):
        values = values.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
    elif pa.types.is_time(kind):
        whole = pa.int32() if pa.types.is_time32(kind) else pa.int64()
        values = values.cast(whole).cast(pa.int64()).cast(pa.duration(kind.unit))
    large = (
        pa.types.is_integer(kind) and values.null_count > 0 and (exact or not _fits_float(pc.min_max(values).as_py()))
    )
    cells: pd.Series = values.to_pandas(integer_object_nulls=large)
    return _durations(cells) if cells.dtype == object else cells


def _fits_float(bounds: dict[str, int | None]) -> bool:
    return all(bound is None or abs(bound) <= _LARGEST_WHOLE for bound in bounds.values())


def _without_na(cells: pd.Series) -> pd.Series:
    """Returns pandas' nullable numbers and booleans in NumPy's types."""
    kind, missing = cells.dtype.kind, cells.isna()
    if not missing.any():
        return pd.Series(cells.to_numpy(dtype=getattr(cells.dtype, "numpy_dtype", None)))
    if kind in "iu" and missing.all():  # its smallest and largest are missing too
        return pd.Series(np.full(len(cells), np.nan))
    if kind == "b" or (kind in "iu" and not _fits_float({"min": cells.min(), "max": cells.max()})):
        return pd.Series(cells.astype(object).where(~missing, None).to_numpy(dtype=object), dtype=object)
    return pd.Series(cells.to_numpy(dtype=np.float64, na_value=np.nan))


def _durations(cells: pd.Series) -> pd.Series:
    """Returns a column of nothing but `time` or `timedelta` and missing cells as durations; others as they are."""
    result = pd.api.types.infer_dtype(cells, skipna=True) if len(cells) else "empty"
    if result not in ("time", "timedelta"):
        return cells
    midnight = datetime.datetime.min
    spans = [
        None if pd.isna(v) else v if result == "timedelta" else datetime.datetime.combine(midnight, v, None) - midnight
        for v in cells
    ]
    unit = "us" if all(v is None or abs(v).days < 10**8 for v in spans) else "s"  # 64 bits hold no more
    return pd.Series(np.array(spans, dtype=f"timedelta64[{unit}]"), index=cells.index, name=cells.name)
