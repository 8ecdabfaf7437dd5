"""What a column of dates, epoch numbers or durations is taken for; what is read of it, alone and in its table."""
# ruff: noqa: E501 (tables of cells)

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from not_none import not_none
from tables import opened

from profuse import FusionClassifier
from profuse.data.preprocess.table import TablePreprocessor
from profuse.data.split import make_split
from profuse.data.table.infer import infer
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_frame, from_tensors
from profuse.errors import DataError, ProfuseWarning
from profuse.schema import Schema, SplitOptions

N = 12
BERLIN = ZoneInfo("Europe/Berlin")
SHORT = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def frame_of(cells: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(len(cells)) % 5 * 1.5, "c": cells})


def read(cells: Any, **schema: Any) -> tuple[pd.Series, Schema, tuple[str, ...], str]:
    """Returns column c as the model gets it, the schema, all notes, and the reason; one row alone must read alike."""
    frame = frame_of(cells)
    found = infer(frame, Schema(**schema))
    data = TableReader(found.schema).read(frame)
    column = data.modalities["table"].values["c"]
    for row in (0, len(frame) - 1):
        one = TableReader(found.schema).read(frame.iloc[[row]])
        alone = one.modalities["table"].values["c"]
        assert alone.iloc[0] == column.iloc[row] or pd.isna([alone.iloc[0], column.iloc[row]]).all()
    preprocessor = TablePreprocessor()
    preprocessor.fit(data.modalities["table"])
    assert np.isfinite(preprocessor.transform(data.modalities["table"]).values.numpy()).all()
    data.digest()
    told = next(reason.reason for reason in found.reasons if reason.column == "c")
    return column, found.schema, (*found.notes, *data.notes), told


DATES: dict[str, tuple[list[str], str, str, str]] = {  # cells, order, first and last as ISO
    "ISO": ([f"2024-{m:02d}-03" for m in range(1, 13)], "year-month-day", "2024-01-03", "2024-12-03"),
    "ISO with a clock": ([f"2024-{m:02d}-03T10:30" for m in range(1, 13)], "year-month-day", "2024-01-03 10:30", "2024-12-03 10:30"),
    "nanoseconds": ([f"2024-{m:02d}-03 10:30:00.123456789" for m in range(1, 13)], "year-month-day", "2024-01-03 10:30:00.123456", "2024-12-03 10:30:00.123456"),
    "slashes, year first": ([f"2024/{m}/3" for m in range(1, 13)], "year-month-day", "2024-01-03", "2024-12-03"),
    "day first": ([f"{d}/3/2024" for d in range(3, 15)], "day/month/year", "2024-03-03", "2024-03-14"),
    "month first": ([f"3/{d}/2024" for d in range(3, 15)], "month/day/year", "2024-03-03", "2024-03-14"),
    "month first, ISO among them": (["2024-03-03", *(f"3/{d}/2024" for d in range(4, 15))], "month/day/year", "2024-03-03", "2024-03-14"),
    "PM": ([f"3/{d}/2024 9:05 PM" for d in range(3, 15)], "month/day/year", "2024-03-03 21:05", "2024-03-14 21:05"),
    "noon and midnight": (["3/13/2024 12:00 am", *(f"3/{d}/2024 12:30 p.m." for d in range(4, 15))], "month/day/year", "2024-03-13", "2024-03-14 12:30"),
    "a narrow blank before PM": ([f"3/{d}/2024, 9:05:30\u202fPM" for d in range(3, 15)], "month/day/year", "2024-03-03 21:05:30", "2024-03-14 21:05:30"),
    "dots": ([f"{d}.3.2024" for d in range(3, 15)], "day/month/year", "2024-03-03", "2024-03-14"),
    "dots and blanks": ([f"{d}. 3. 2024 7:15" for d in range(3, 15)], "day/month/year", "2024-03-03 07:15", "2024-03-14 07:15"),
    "two digits": ([f"{d}/03/24" for d in range(13, 25)], "day/month/year", "2024-03-13", "2024-03-24"),
    "two digits, last century": ([f"{d}.03.71" for d in range(13, 25)], "day/month/year", "1971-03-13", "1971-03-24"),
    "day and name": ([f"{d} Mar 2024" for d in range(3, 15)], "year-month-day", "2024-03-03", "2024-03-14"),
    "name and day": ([f"September {d}, 2024" for d in range(3, 15)], "year-month-day", "2024-09-03", "2024-09-14"),
    "ordinals": ([f"{d}th of May 2024" for d in range(4, 16)], "year-month-day", "2024-05-04", "2024-05-15"),
    "Oracle": ([f"{d:02d}-MAY-24" for d in range(3, 15)], "year-month-day", "2024-05-03", "2024-05-14"),
    "SAS": ([f"{d:02d}MAY2024" for d in range(3, 15)], "year-month-day", "2024-05-03", "2024-05-14"),
    "month of a year": ([f"2024-{m:02d}" for m in range(1, 13)], "year-month-day", "2024-01-01", "2024-12-01"),
    "month of a year, month first": ([f"{m:02d}/2024" for m in range(1, 13)], "year-month-day", "2024-01-01", "2024-12-01"),
    "name and year": ([f"{m} 2024" for m in SHORT], "year-month-day", "2024-01-01", "2024-12-01"),
    "weeks": ([f"2024-W{w:02d}" for w in range(1, 13)], "year-month-day", "2024-01-01", "2024-03-18"),
    "days of weeks": ([f"2024-W{w:02d}-3" for w in range(1, 13)], "year-month-day", "2024-01-03", "2024-03-20"),
    "quarters": ([f"{2022 + i // 4}-Q{i % 4 + 1}" for i in range(N)], "year-month-day", "2022-01-01", "2024-10-01"),
    "quarters first": ([f"Q{i % 4 + 1} {2022 + i // 4}" for i in range(N)], "year-month-day", "2022-01-01", "2024-10-01"),
    "compact": ([f"202403{d:02d}" for d in range(3, 15)], "year-month-day", "2024-03-03", "2024-03-14"),
    "compact with a clock": ([f"202403{d:02d}101530" for d in range(3, 15)], "year-month-day", "2024-03-03 10:15:30", "2024-03-14 10:15:30"),
    "year 1 and 9999": (["0001-01-01", *(f"2024-03-{d:02d}" for d in range(3, 13)), "9999-12-31"], "year-month-day", "0001-01-01", "9999-12-31"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATES)
def test_dates_in_every_shape_are_read_where_the_column_decides_it(name: str) -> None:
    cells, order, first, last = DATES[name]
    column, schema, _, told = read(cells)
    assert (column.iloc[0], column.iloc[-1]) == (pd.Timestamp(first), pd.Timestamp(last))
    assert schema.dates == {"c": order}
    assert told.startswith(f"dates, read as {order}")
    assert infer(frame_of(cells), schema).schema == schema


@pytest.mark.parametrize(
    "cells", [[20240303 + 2 * i for i in range(N)], [20240303.0 + 2 * i for i in range(N - 1)] + [np.nan]]
)
def test_whole_numbers_that_are_all_dates_are_dates_as_their_words_are(cells: list[Any]) -> None:
    column, schema, _, told = read(cells)
    assert column.iloc[1] == pd.Timestamp("2024-03-05")
    assert told == "dates, read as year-month-day, written as 20240531"
    assert schema.dates == {"c": "year-month-day"}


@pytest.mark.parametrize(
    "cells",
    [
        [20240303 + 9 * i for i in range(N)],  # 20240339 is no day
        [f"{i + 1}.5" for i in range(N)],
        [f"1234-{i + 1:02d}" for i in range(N)],
        [f"10.0.0.{i}" for i in range(N)],
        [f"1/{i + 2}" for i in range(N)],
        [f"room {i} of 2024" for i in range(N)],
        [f"{i}d" for i in range(N)],
        [f"{i}:{i}" for i in range(N)],
        [f"May {i}" for i in range(N)],
        ["2d", "3d"] * 6,
    ],
)
def test_what_only_looks_a_bit_like_times_is_none(cells: list[Any]) -> None:
    found = infer(frame_of(cells))
    assert not found.schema.dates
    assert "timestamp" not in found.schema.columns.values()


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([f"{d}/3/2024" for d in range(1, 13)], "12 rows .* which fit month/day/year and day/month/year. Say which in dates of the schema, as dates: {c: day/month/year}"),
        ([f"{d:02d}/{d:02d}/2024" for d in range(1, 13)], "which fit month/day/year and day/month/year"),
        ([f"{d:02d}/03/04" for d in range(1, 13)], "which fit month/day/year and day/month/year"),
        ([f"24-03-{d}" for d in range(13, 25)], "which fit year-month-day and day/month/year"),
        (["25/12/2024", "12/25/2024"] + ["1/3/2024"] * 10, "'25/12/2024', '12/25/2024' in 2 rows .0, 1; .* which fit no order together"),
        ([*(f"{d}/3/2024" for d in range(13, 24)), "3/25/2024"], "no time in 1 row .11; .*'3/25/2024'"),
        (["0000-01-01", *(f"2024-03-{d:02d}" for d in range(1, 12))], "no time in 1 row .0; .*'0000-01-01'"),
        (["2024-02-30", *(f"2024-03-{d:02d}" for d in range(1, 12))], "no time in 1 row .0; .*'2024-02-30'.* timestamp .what is no time becomes missing"),
        ([f"2024-03-{d:02d} 25:00" for d in range(1, 13)], "no time in 12 rows"),
        ([f"2024-03-{d:02d} 13:00 PM" for d in range(1, 13)], "no time in 12 rows"),
        ([f"{d}. Mai 2024" for d in range(1, 13)], "names of months must be English; got 'Mai'. Write dates as 2024-05-31"),
        ([f"{d} de enero de 2024" for d in range(1, 13)], "names of months must be English; got 'enero'"),
        ([f"{d} {m} 2024" for d, m in enumerate(["Jan", "Feb", "Mär", "Apr", "Mai", "Jun"] * 2, start=1)], "no time in 4 rows .2, 4, 8, 10; .*'3 Mär 2024'"),
        ([f"2024-03-{d:02d}T10:00Z" for d in range(1, 12)] + ["2024-03-12T10:00"], "must all have a zone or none of them; got both, the rarer in 1 row .11"),
        ([dt.datetime(2024, 3, d, tzinfo=BERLIN if d < 3 else None) for d in range(1, 13)], "must all have a zone or none of them; got both, the rarer in 2 rows .0, 1"),
        ([*(dt.datetime(2024, 3, d) for d in range(1, 12)), dt.time(10)], "cells must be numbers, words, times"),
        ([*(dt.datetime(2024, 3, d) for d in range(1, 12)), "2024-03-12"], "cells must be of one type; got datetime, str"),
        (np.array(["2024-01-01"] * 11 + ["20000-01-01"], "M8[s]"), "times must lie in the years 1 to 9999; got 20000-01-01T00:00:00 in 1 row .11"),
        (["3:45"] * 3 + [f"1:{i}:33" for i in range(10, 19)], "durations must all be written alike.* got others in 3 rows .0, 1, 2; .*'3:45'.*hours:minutes or minutes:seconds"),
        (["1:10:33"] * 3 + [f"1:{i}" for i in range(10, 19)], "durations must all be written alike.* got others in 3 rows .0, 1, 2; "),
        (["02:61:00", *(f"{i:02d}:30:00" for i in range(11))], "durations must all be written alike.* got others in 1 row .0"),
    ],
)  # fmt: skip
def test_what_the_column_does_not_decide_is_one_error_with_its_cells(cells: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"^column 'c': .*{told}"):
        infer(frame_of(cells))


OBJECTS: dict[str, tuple[Any, str, str]] = {
    "dates": ([dt.date(2024, 3, d) for d in range(1, 13)], "2024-03-01", "2024-03-12"),
    "datetimes": ([dt.datetime(2024, 3, d, 10) for d in range(1, 12)] + [dt.datetime(9999, 12, 31)], "2024-03-01 10:00", "9999-12-31"),
    "all sorts": (
        [dt.date(1, 1, 1), pd.Timestamp(2024, 4, 1, 5), np.datetime64("2024-05-01"), pd.NaT, None, dt.datetime(2024, 6, 1),
         pd.Timestamp("2024-06-02").as_unit("s"), np.datetime64("9999-12-31", "s")], "0001-01-01", "9999-12-31"),
    "NumPy, seconds": (np.array(["2024-01-01", "2024-01-03", "9999-12-31"] * 4, "M8[s]"), "2024-01-01", "9999-12-31"),
    "NumPy, days": (pd.Series(np.array(["0001-01-01", "2024-01-03", "2024-12-31"] * 4, "M8[D]")), "0001-01-01", "2024-12-31"),
    "one zone": ([dt.datetime(2024, 3, d, 10, tzinfo=BERLIN) for d in range(20, 32)], "2024-03-20 10:00+01:00", "2024-03-31 10:00+02:00"),
    "several zones": ([dt.datetime(2024, 3, d, 10, tzinfo=BERLIN if d % 2 else dt.UTC) for d in range(1, 13)], "2024-03-01 09:00Z", "2024-03-12 10:00Z"),
    "offsets that daylight saving changes": ([f"2024-03-{d:02d}T10:00+0{1 + (d == 31)}:00" for d in range(20, 32)], "2024-03-20 09:00Z", "2024-03-31 08:00Z"),
    "an hour that is there twice": (["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"] * 6, "2024-10-27 00:30Z", "2024-10-27 01:30Z"),
    "west of Greenwich": ([f"2024-03-{d:02d} 10:00-0530" for d in range(1, 13)], "2024-03-01 15:30Z", "2024-03-12 15:30Z"),
    "mail": ([f"Fri, {d:02d} May 2024 10:00:00 GMT" for d in range(3, 15)], "2024-05-03 10:00Z", "2024-05-14 10:00Z"),
    "compact, in UTC": ([f"202403{d:02d}T101500Z" for d in range(3, 15)], "2024-03-03 10:15Z", "2024-03-14 10:15Z"),
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTS)
def test_dates_of_python_numpy_and_pandas_and_zones_are_read(name: str) -> None:
    cells, first, last = OBJECTS[name]
    column, schema, _, _ = read(cells if not isinstance(cells, list) else pd.Series(cells, dtype=object))
    assert column.iloc[0] == pd.Timestamp(first)
    assert column.iloc[-1] == pd.Timestamp(last)
    assert schema.dates == {"c": "year-month-day"}


def test_a_zone_that_all_share_is_kept() -> None:
    assert str(read([dt.datetime(2024, 3, d, tzinfo=BERLIN) for d in range(20, 32)])[0].dt.tz) == "Europe/Berlin"
    assert "in UTC" in read(OBJECTS["several zones"][0])[3]


@pytest.mark.parametrize(("train", "later"), [("Z", ""), ("", "Z")])
def test_new_rows_have_a_zone_if_training_had_one(train: str, later: str) -> None:
    rows = [frame_of([f"2024-03-{d:02d}T10:00{zone}" for d in range(1, 13)]) for zone in (train, later)]
    schema = infer(rows[0]).schema
    first, second = (TableReader(schema).read(f).modalities["table"] for f in rows)
    preprocessor = TablePreprocessor()
    preprocessor.fit(first)
    with pytest.raises(DataError, match="'c' must have a zone if they had one in train, and none otherwise; got"):
        preprocessor.transform(second)
    second.values["c"] = pd.NaT
    preprocessor.transform(second)


EPOCHS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


@pytest.mark.parametrize("kind", [int, float, str])
@pytest.mark.parametrize("unit", EPOCHS)
def test_an_odd_number_among_times_since_1970_is_told_and_blanks_no_other(unit: str, kind: Any) -> None:
    cells = [(1_700_000_000 + 86_400 * i) * EPOCHS[unit] for i in range(N)]
    odd = cells[3] * 10**6
    column, schema, notes, _ = read([kind(v) for v in [*cells[:3], odd, *cells[4:]]], columns={"c": "timestamp"})
    assert schema.dates == {"c": unit}
    assert np.flatnonzero(column.isna()).tolist() == [3]
    whole = pd.Timestamp("2023-11-14 22:13:20") + pd.to_timedelta(np.arange(N), unit="D")
    assert (column.drop(3) - pd.Series(whole, index=range(N)).drop(3)).abs().max() < pd.Timedelta("1ms")
    assert any(note.startswith("Column 'c': 1 row (3; counted from 0) holds no time (") for note in notes)


@pytest.mark.parametrize(
    ("odd", "day"), [(1_700_000_000, "1970-01-20"), (0, "1970-01-01"), (-62135596800000, "0001-01-01")]
)
def test_a_number_that_could_be_a_time_but_lies_far_from_all_others_is_told(odd: int, day: str) -> None:
    cells = [1_700_000_000_000 + 86_400_000 * i for i in range(N)]
    _, _, notes, _ = read([*cells[:3], odd, *cells[4:]], columns={"c": "timestamp"})
    assert (
        f"Column 'c': times far from all others (2023-11-14 to 2023-11-25) in 1 row (3; counted from 0): '{day}'"
        in notes[0]
    )


def test_numbers_and_fractions_without_a_unit_are_refused_and_years_and_months_are_read() -> None:
    with pytest.raises(DataError, match="'c': numbers taken as times must be seconds, .*got 5.5 in the middle"):
        infer(frame_of(range(N)), Schema(columns={"c": "timestamp"}))
    column = read(list(range(N)), dates={"c": "seconds"})[0]
    assert column.iloc[-1] == pd.Timestamp("1970-01-01 00:00:11")
    assert read([2000 + i for i in range(N)], columns={"c": "timestamp"})[0].iloc[-1] == pd.Timestamp("2011-01-01")
    assert read([f"20240{i + 1}" for i in range(9)], columns={"c": "timestamp"})[0].iloc[-1] == pd.Timestamp(
        "2024-09-01"
    )
    seconds = read([f"{1_700_000_000 + i}.25" for i in range(N)], columns={"c": "timestamp"})[0]
    assert seconds.iloc[1] == pd.Timestamp("2023-11-14 22:13:21.25")


FAR: list[tuple[list[str], str]] = [
    (["9999-12-31", *(f"2024-03-{d:02d}" for d in range(1, 12))], "(2024-03-01 to 2024-03-11) in 1 row (0; counted from 0): '9999-12-31'"),
    (["9999-12-31", "1900-01-01", *(f"2024-03-{d:02d}" for d in range(1, 11))], "in 2 rows (0, 1; counted from 0): '9999-12-31', '1900-01-01'"),
    (["9999-12-31"] * 8 + [f"2024-03-0{d}" for d in range(1, 5)], "(2024-03-01 to 2024-03-04) in 8 rows"),
    (["2608-03-01", *(f"20{y}-03-01" for y in range(10, 21))], "in 1 row (0; counted from 0): '2608-03-01'"),
    (["1900-01-01", *(f"20{y}-03-01" for y in range(10, 21))], "'1900-01-01'"),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "told"), FAR)
def test_times_absurdly_far_from_all_others_are_told(cells: list[str], told: str) -> None:
    for given in (cells, pd.Series(np.array(cells, "M8[s]")), pd.Series([dt.date.fromisoformat(c) for c in cells])):
        notes = infer(frame_of(given)).notes
        assert len(notes) == 1
        assert told in notes[0]


@pytest.mark.parametrize(
    "cells",
    [
        [f"{1940 + 7 * i}-03-01" for i in range(N)],
        ["2000-01-01", "2024-01-01"] * 6,
        ["2000-01-01", "9999-12-31"] * 6,
        [f"2024-03-{d:02d}" for d in range(1, 12)] + ["2034-01-01"],
    ],
)
def test_times_that_lie_apart_but_not_absurdly_are_not_told(cells: list[str]) -> None:
    assert infer(frame_of(cells)).notes == ()


DURATIONS: dict[str, tuple[Any, str, float]] = {  # cells, reading, seconds of the second cell
    "clocks": ([f"{i:02d}:30:05" for i in range(N)], "duration", 5405.0),
    "fractions": ([f"{i:02d}:30:05.25" for i in range(N)], "duration", 5405.25),
    "times of day": ([f"{i:02d}:30" for i in range(N)], "hours:minutes", 5400.0),
    "PM": ([f"{i + 1}:30 PM" for i in range(N)], "duration", 52200.0),
    "pandas": (pd.Series(pd.to_timedelta(np.arange(N) * 26, unit="h")).astype("str"), "duration", 93600.0),
    "pandas, negative": (pd.Series(pd.to_timedelta(-np.arange(N), unit="min")).astype("str"), "duration", -60.0),
    "Python": ([str(dt.timedelta(hours=26 * i)) for i in range(N)], "duration", 93600.0),
    "ISO 8601": ([f"P{i}DT2H30M1.5S" for i in range(N)], "duration", 95401.5),
    "timedelta64": (pd.to_timedelta(np.arange(N), unit="h"), "duration", 3600.0),
    "timedelta objects": (pd.Series([dt.timedelta(days=i * 10**7) for i in range(N)], dtype=object), "duration", 864e9),
    "timedeltas that 64 bits of microseconds cannot hold": (
        pd.Series([dt.timedelta(days=i * 10**8 % (10**9 - 1)) for i in range(10)], dtype=object), "duration", 864e10),
    "time objects": (pd.Series([dt.time(i, 30) for i in range(N)], dtype=object), "duration", 5400.0),
}  # fmt: skip


@pytest.mark.parametrize("name", DURATIONS)
def test_durations_and_times_of_day_are_numbers_of_seconds(name: str) -> None:
    cells, reading, second = DURATIONS[name]
    column, schema, _, told = read(cells)
    assert column.iloc[1] == second
    assert schema.columns["c"] == "numeric"
    assert schema.dates == {"c": reading}
    assert told.startswith("durations, in seconds")


def test_clocks_of_two_parts_are_what_the_schema_says() -> None:
    cells = [f"{i}:45" for i in range(10, 10 + N)]
    assert "if minutes:seconds is meant, say so in dates of the schema" in read(cells)[3]
    assert read(cells, dates={"c": "minutes:seconds"})[0].iloc[0] == 645
    mixed = ["1:02:33", *cells]
    assert read(mixed, dates={"c": "minutes:seconds"})[0].tolist()[:2] == [3753, 645]


def test_later_cells_that_are_no_duration_are_missing_and_told_and_numbers_are_seconds() -> None:
    schema = infer(frame_of(DURATIONS["clocks"][0])).schema
    data = TableReader(schema).read(frame_of(["01:00:00", "3:45", "later", "90", "1 days"]))
    assert data.modalities["table"].values["c"].tolist()[0::3] == [3600.0, 90.0]
    assert data.notes == (
        "Column 'c': 2 rows (1, 2; counted from 0) hold no duration ('3:45', 'later') and count as missing.",
    )


@pytest.mark.parametrize("train", [DATES["ISO"][0], DURATIONS["clocks"][0], [i * 1.5 for i in range(N)]])
def test_later_cells_of_any_type_that_are_no_time_are_missing_and_told(train: list[Any]) -> None:
    schema = infer(frame_of(train)).schema
    odd = pd.Series([[1], [1], "\N{CALENDAR}", {"a": 1}], dtype=object)
    data = TableReader(schema).read(frame_of(odd))
    assert data.modalities["table"].values["c"].isna().all()
    assert any("4 rows (0, 1, 2, 3; counted from 0) hold no " in note for note in data.notes)


def test_a_split_by_time_puts_times_of_any_year_and_zone_in_order() -> None:
    cells = ["9999-12-31", "0001-01-01", *(f"2024-03-{d:02d}" for d in range(1, 11))]
    frame = frame_of(cells).assign(y=np.arange(N) * 1.0)
    schema = infer(frame, Schema(split=SplitOptions(method="time", column="c"))).schema
    times = TableReader(schema).read(frame).times
    assert np.argsort(not_none(times)).tolist() == [1, *range(2, N), 0]
    zoned = frame.assign(c=[f"2024-10-27T02:{d:02d}+0{1 + d % 2}:00" for d in range(N)])
    times = TableReader(infer(zoned, Schema(split=schema.split)).schema).read(zoned).times
    assert np.argsort(not_none(times)).tolist() == [*range(1, N, 2), *range(0, N, 2)]


@pytest.mark.parametrize("order", ["day/month/year", "month/day/year"])
def test_what_the_schema_says_of_the_order_stands(order: Any) -> None:
    cells = [f"{d}/3/2024" for d in range(1, 13)]
    column = read(cells, dates={"c": order})[0]
    assert column.iloc[1] == pd.Timestamp("2024-03-02" if order == "day/month/year" else "2024-02-03")


def test_a_kind_that_the_schema_says_takes_what_is_no_time_as_missing() -> None:
    column, _, notes, _ = read(
        ["2024-02-30", "soon", *(f"2024-03-{d:02d}" for d in range(1, 11))], columns={"c": "timestamp"}
    )
    assert column.isna().sum() == 2
    assert "2 rows (0, 1; counted from 0) hold no time ('2024-02-30', 'soon') and count as missing" in notes[-1]


def test_years_of_two_digits_are_told() -> None:
    assert read(DATES["two digits"][0])[2] == ("Column 'c': years of two digits are 1969 to 2068.",)


@pytest.mark.parametrize(
    ("times", "order"),
    [
        ([f"{d}/3/2024" for d in range(24, 12, -1)], list(range(11, -1, -1))),
        ([dt.date(2024, 3, d) for d in range(1, 12)] + [dt.date(1, 1, 1)], [11, *range(11)]),
        (np.array(["9999-12-31"] + [f"2024-03-{d:02d}" for d in range(1, 12)], "M8[s]"), [*range(1, 12), 0]),
        (pd.Series([dt.datetime(2024, 3, d, tzinfo=BERLIN) for d in range(12, 0, -1)]), list(range(11, -1, -1))),
        (list(range(N)), list(range(N))),
        ([f"wave {i:02d}" for i in range(N)], list(range(N))),
    ],
)
def test_times_given_beside_tensors_are_put_in_order_as_times(times: Any, order: list[int]) -> None:
    data = from_tensors({"x": np.arange(N * 2.0).reshape(N, 2)}, np.arange(N) % 2, times=times)
    beside = from_frame(frame_of(np.arange(N)), np.arange(N) % 2, times=times)[0]
    for given in (data.times, beside.times):
        assert np.argsort(not_none(given), kind="stable").tolist() == order


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([f"{d}/3/2024" for d in range(1, 13)], "column 'times': the order of the parts of dates must be known"),
        (
            ["soon", *(f"2024-03-{d:02d}" for d in range(1, 12))],
            "times: they must all be times; no time in 1 row .0; .*'soon'",
        ),
        (np.array(["20000-01-01"] * N, "M8[s]"), "column 'times': times must lie in the years 1 to 9999"),
    ],
)
def test_times_beside_tensors_that_cannot_be_read_are_one_error(times: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        from_tensors({"x": np.arange(N * 2.0).reshape(N, 2)}, np.arange(N) % 2, times=times)


@pytest.mark.slow
def test_fit_predict_and_compare_take_dates_of_every_year(tmp_path: Path) -> None:
    cells = [f"2024-03-{1 + i % 28:02d}" for i in range(60)]
    X = pd.DataFrame({"a": np.random.default_rng(0).normal(size=60), "until": cells})
    y = np.where(X["a"] > 0, "p", "q")
    quick: dict[str, Any] = {"fusion": "concat", "width": 8, "epochs": 1, "random_state": 0}
    model = FusionClassifier(**quick).fit(X, y)
    usual = model.predict_proba(X.head(3))
    odd = model.predict_proba(X.head(3).assign(until=["2608-03-01", *cells[1:3]]))
    assert np.array_equal(usual[1:], odd[1:])
    with pytest.warns(ProfuseWarning, match="times far from all others"):
        open_ended = FusionClassifier(**quick).fit(X.assign(until=["9999-12-31", "0001-01-01", *cells[2:]]), y)
    assert np.isfinite(open_ended.predict_proba(X)).all()
    X.assign(until=["9999-12-31", *cells[1:]], y=y).to_csv(tmp_path / "a.csv", index=False)
    split = SplitOptions(method="time", column="until")
    data, schema = opened(tmp_path / "a.csv", target="y", schema=Schema(split=split))
    assert 0 in make_split(data, schema.split, seed=0).test
