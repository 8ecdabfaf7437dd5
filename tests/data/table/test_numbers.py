"""Numbers as people write them: one reading for a column, told, kept and applied to later tables; or one error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tables import opened

from profuse.data.table import numbers
from profuse.data.table.infer import infer
from profuse.data.table.number_format import choose_format, survey
from profuse.data.table.numbers import NumberFormat, parse, read_numbers, write_number
from profuse.data.table.read import read_table
from profuse.data.table.reader import TableReader
from profuse.data.table.schema_file import load_schema
from profuse.errors import ConfigError, DataError
from profuse.schema import Schema

NBSP, NARROW, THIN, MINUS = "\u00a0", "\u202f", "\u2009", "\u2212"


@pytest.mark.parametrize(
    ("cell", "point", "comma"),
    [
        ("1.250", 1.25, 1250), ("1,250", 1250, 1.25), ("-17.040", -17.04, -17040), ("950", 950, 950),
        ("0.125", 0.125, None),

        ("3.0", 3, 3), ("3.00", 3, None), ("0,125", None, 0.125), ("1250.125", 1250.125, None),
        ("1250,125", None, 1250.125), ("12.5", 12.5, None),
        ("1.234.567", None, 1234567), ("1,234,567", 1234567, None), ("1.234.567,8", None, 1234567.8),
        ("7,65,43,210", 76543210, None),
        ("1.23.456", None, None), ("1,23", None, 1.23), ("1.25,75", None, None), ("3 456", 3456, 3456),
        (f"3{NBSP}456,5", None, 3456.5),
        (f"3{NARROW}456.5", 3456.5, None), (f"12{THIN}345{THIN}678", 12345678, 12345678), ("3 45", None, None),
        ("3'456.5", 3456.5, None),
        ("3\u2019456", 3456, 3456), ("1_000_000", 1e6, 1e6), ("1e-3", 0.001, 0.001), ("2,5E+3", None, 2500),
        ("1.250e3", 1250, None),
        ("(77.25)", -77.25, None), ("( 5 )", -5, -5), ("77.25-", -77.25, None), ("- 8", -8, -8),
        (f"{MINUS}8", -8, -8), ("\u20138", -8, -8), ("+8", 8, 8),
        ("$5", 5, 5), ("-$5", -5, -5), ("$-5", -5, -5), ("($5)", -5, -5), ("$(5)", -5, -5),
        ("(5) €", -5, -5), ("$($5)", None, None), ("5 €", 5, 5), ("EUR 1.250,00", None, 1250),
        ("8,00 zł", None, 8), ("kr 8", 8, 8),
        ("R$ 1.250,75", None, 1250.75), ("12,-", None, 12), ("Fr. 1'250.\u2013", 1250, None), ("5%", 5, 5),
        ("5,5 %", None, 5.5), ("3 ‰", 3, 3),
        ("١٢٣", 123, 123), ("１２．５", 12.5, None), ("5.", 5, None), (".5", 0.5, None), (",5", None, 0.5),
        ("1e999", np.inf, np.inf), ("9" * 5000, np.inf, np.inf),
        ("12 kg", None, None), ("5x", None, None), ("2M", None, None), ("3h", None, None), ("10-20", None, None),
        ("1.10.2", None, None), ("v1.2", None, None),
        ("1.5.2024", None, None), ("12:30", None, None), ("+49 30 901820", None, None), ("10.0.0.1", None, None),
        ("DE12 5001 0517", None, None), ("1/2", None, None),
        ("5²", None, None), ("0x1f", None, None), ("--5", None, None), ("(5", None, None), ("(-5)", None, None),
        ("$5€", None, None), ("TOP 10", None, None), ("-", None, None),
        ("5,", None, None), ("SW1A 1AA", None, None), ("1,2,3", None, None), ("1..2", None, None), (".", None, None),
        ("1 2 3", None, None), ("1234 AB", None, None),
    ],
)  # fmt: skip
def test_a_cell_is_read_with_a_decimal_point_and_with_a_decimal_comma(
    cell: str, point: float | None, comma: float | None
) -> None:
    parsed = parse(pd.Series([f" {cell} "]))
    got = [float(parsed.values[m][0]) if parsed.valid[m][0] else None for m in (".", ",")]
    assert got == [point, comma]


@pytest.mark.parametrize(
    ("cells", "habit", "form"),
    [
        (["3,5", "1.250"], "", "1.234,5"),
        (["1.234.567", "950"], "", "1.234,5"),
        (["0,125", "1,250"], "", "1.234,5"),
        (["0.125", "1.250"], "", "1,234.5"),
        (["1,234,567", "1,250"], "", "1,234.5"),
        (["1,250", "2,5"], ".", "1.234,5"),
        (["950", "1.250", "80"], ",", "1.234,5"),
        (["950", "1,250", "80"], ".", "1,234.5"),
        (["1.251", "2.375"], ".", "1,234.5"),
        (["1,251", "2,375"], ",", "1.234,5"),
        (["950", "80"], ",", "1.234,5"),
        (["950", "80.5"], "", None),
        (["1e5", "-2", "+.5"], ".", None),
        ([f"1{NBSP}250", "950"], "", "1 234.5"),
        ([f"1{NBSP}250", "9,5"], "", "1 234,5"),
        (["1'250.5"], "", "1'234.5"),
        (["1_250", "7"], "", "1_234.5"),
        (["$1,250.00", "$3"], "", "$ 1,234.5"),
        (["3 EUR", "5"], "", "1,234.5 EUR"),
        (["12,5 %", "3 %"], "", "1.234,5 %"),
        (["(5)", "7"], "", "1,234.5"),
    ],
)
def test_all_cells_decide_one_format_and_else_the_other_columns_do(
    cells: list[str], habit: str, form: str | None
) -> None:
    assert choose_format(survey("x", pd.Series(cells)), set(habit))[0] == form  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "habit", "message"),
    [
        (["1.250"], "", "got '1.250' in row 0 (counted from 0), which may be 1.25 or 1250, and nothing decides"),
        (["80", "1,250"], "", "got '1,250' in row 1 (counted from 0), which may be 1250 or 1.25, and nothing decides"),
        (["1.250"], ".,", "and nothing decides"),
        (["950", "1.250"], ".", "and nothing decides"),
        (["950", "1,250"], ",", "and nothing decides"),
        (["1,250", "1.250"], ".", "and nothing decides"),
        (["€ 1.250"], "", 'numbers: {x: "1,234.5"} for 1.25, {x: "1.234,5"} for 1250; or set its kind'),
        (["3.5", "7", "2,5"], "", "got '3.5' in row 0 (counted from 0), with a decimal point, and '2,5' in row 2"),
        (["5 %", "0.05"], "", "numbers must have one unit; got '5 %' in row 0 (counted from 0) and '0.05' in row 1"),
        (["5 €", "7 $"], "", "numbers must have one unit"),
        (["1_250", "3_100"], "", "it must be certain whether these are numbers or codes; got '1_250' in row 0"),
    ],
)
def test_what_is_not_certain_is_one_error_that_says_what_to_write(cells: list[str], habit: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        choose_format(survey("x", pd.Series(cells)), set(habit))  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "cells",
    [
        ["007", "12"], ["030 1234", "040 5678"], ["+49 30 1234", "+49 89 5678"], ["555 123 456", "555 987 654"],
        ["GB29 NWBK 6016", "GB29 NWBK 6017"],
        ["1.10.2", "1.9.0"], ["10.0.0.1", "10.0.0.2"], ["192.168.100.101", "192.168.100.102"], ["10-20", "20-30"],
        ["SW1A 1AA", "EC1A 1BB"],
        ["1234 AB", "5678 CD"], ["12345-6789", "12345-1234"], ["12 kg", "13 kg"], ["5x", "7x"], ["1:2", "3:4"],
        ["TOP 10", "TOP 20"], ["A1", "B2"],
    ],
)  # fmt: skip
def test_codes_versions_ranges_and_units_are_no_numbers(cells: list[str]) -> None:
    frame = pd.DataFrame({"x": cells * 10, "other": np.linspace(0, 1, 20)})
    assert {r.column: r.kind for r in infer(frame).reasons}["x"] != "numeric"


def _csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False)


def _semicolons(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, sep=";")


def _tabs(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, sep="\t")


def _lines(frame: pd.DataFrame, path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))


DOORS: list[tuple[str, Callable[[pd.DataFrame, Path], None]]] = [
    ("t.csv", _csv), ("t.csv", _semicolons), ("t.tsv", _tabs), ("t.jsonl", _lines),
    ("t.parquet", pd.DataFrame.to_parquet)
]  # fmt: skip
WRITTEN: list[tuple[list[str], list[float]]] = [
    (["1.250,75", "950", "-3,5"], [1250.75, 950, -3.5]),
    (["1,250.75", "950", "(3.5)"], [1250.75, 950, -3.5]),
    (["1.250", "950", "0,5"], [1250, 950, 0.5]),
    ([f"1{NBSP}250", f"{MINUS}950", "7"], [1250, -950, 7]),
    (["CHF 1'250.50", "CHF 3.\u2013", "7"], [1250.5, 3, 7]),
    (["12,5 %", "3 %", "0"], [12.5, 3, 0]),
    (["1,5E+3", "2,5", "7"], [1500, 2.5, 7]),
    (["3,5", "NA", "7,25"], [3.5, np.nan, 7.25]),
    (["5 EUR", "", "7 €"], [5, np.nan, 7]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "write"), DOORS)
@pytest.mark.parametrize(("cells", "numbers"), WRITTEN)
def test_every_door_gives_the_same_numbers_and_one_new_row_is_read_as_the_table_was(
    tmp_path: Path, file: str, write: Callable[[pd.DataFrame, Path], None], cells: list[str], numbers: list[float]
) -> None:
    frame = pd.DataFrame({"x": cells * 8, "c": [*"abcd"] * 6, "y": ["p", "q", "r"] * 8})
    write(frame, tmp_path / file)
    dataset, schema = opened(tmp_path / file, target="y")
    assert dataset.modalities["table"].values["x"].tolist()[:3] == pytest.approx(numbers, nan_ok=True)
    assert any(note.startswith("Column 'x': numbers, read as ") for note in dataset.notes)
    in_memory = infer(frame, Schema(target={"columns": ["y"]})).schema
    assert in_memory.numbers == schema.numbers
    for row in (0, 1):
        alone = frame.iloc[row : row + 1].drop(columns="y")
        write(alone, tmp_path / f"new_{file}")
        got = TableReader(schema).read(tmp_path / f"new_{file}").modalities["table"].values["x"]
        assert got.tolist() == pytest.approx([numbers[row]], nan_ok=True)
        of_frame = TableReader(schema).read(alone).modalities["table"].values["x"]
        assert of_frame.tolist() == pytest.approx([numbers[row]], nan_ok=True)


def test_thousands_points_beside_decimal_commas_are_no_decimals_in_one_new_row_either(tmp_path: Path) -> None:
    lines = "".join(f"{i % 7},5;{['950', '80', '700'][i % 3]};{'pq'[i % 2]}\n" for i in range(30))
    (tmp_path / "t.csv").write_text("weight;stock;y\n" + lines)
    (tmp_path / "new.csv").write_text("weight;stock\n3,5;1.250\n")
    _, schema = opened(tmp_path / "t.csv", target="y")
    assert TableReader(schema).read(tmp_path / "new.csv").modalities["table"].values.iloc[0].tolist() == [3.5, 1250]


@pytest.mark.parametrize(
    ("column", "other", "kept"),
    [
        (["1.251", "2.375"], ["0.5", "2.25"], [1.251, 2.375]),
        (["1.2", "2.375"], ["a", "b"], [1.2, 2.375]),
        (["0.250", "2.375"], ["a", "b"], [0.25, 2.375]),
        (["12", ""], ["0.5", "2.25"], [12, None]),
        (["1500", "2.375"], ["0.5", "2.25"], [1500, 2.375]),
        (["1.0", "2.375"], ["a", "b"], [1, 2.375]),
        (["1.2505", "2.375"], ["a", "b"], [1.2505, 2.375]),
        (["1e3", "2.375"], ["a", "b"], [1000, 2.375]),
    ],
)
def test_plain_decimals_of_a_csv_file_are_read_as_ever(
    tmp_path: Path, column: list[str], other: list[str], kept: list[float | None]
) -> None:
    rows = "".join(f"{column[i % 2]},{other[i % 2]},{'pqr'[i % 3]}\n" for i in range(12))
    (tmp_path / "t.csv").write_text("x,other,y\n" + rows)
    dataset, _ = opened(tmp_path / "t.csv", target="y")
    got = dataset.modalities["table"].values["x"].tolist()[:2]
    assert [None if np.isnan(v) else v for v in got] == kept


def test_three_decimals_everywhere_and_nothing_else_is_an_error_that_the_schema_settles(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,c,y\n" + "".join(f"{1 + i}.250,{'abc'[i % 3]},{'pq'[i % 2]}\n" for i in range(12)))
    with pytest.raises(DataError, match=r"column 'x': .* got '1\.250' in row 0 .* 1\.25 or 1250, and nothing decides"):
        opened(path, target="y")
    for form, first in (("1234.5", 1.25), ("1.234,5", 1250)):
        told = tmp_path / "schema.yaml"
        told.write_text(f"numbers:\n  x: {form}\n")
        dataset, schema = opened(path, target="y", schema=told)
        assert dataset.modalities["table"].values["x"].iloc[0] == first
        again = Schema.model_validate(yaml.safe_load(yaml.safe_dump(schema.model_dump(mode="json"))))
        assert TableReader(again).read(path).modalities["table"].values["x"].iloc[0] == first
    ignored, _ = opened(path, target="y", schema=Schema(ignore=("x",)))
    assert list(ignored.modalities["table"].values) == ["c"]


def test_later_cells_that_are_written_otherwise_are_an_error_and_words_are_missing_and_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": ["3,5", "1.250", "7,25"] * 8, "y": ["p", "q", "r"] * 8})
    schema = infer(frame, Schema(target={"columns": ["y"]})).schema
    for wrong in ("1,250.5", "5 %", "$ 3", "1.5"):
        with pytest.raises(DataError, match=r"numbers must be written as 1\.234,5; got .* in row 1 \(counted from 0\)"):
            TableReader(schema).read(pd.DataFrame({"x": ["3,5", wrong]}))
    new = TableReader(schema).read(pd.DataFrame({"x": ["3,5", "soon"]}))
    assert new.notes == ("Column 'x': 1 row (1; counted from 0) holds no number ('soon') and counts as missing.",)
    typed = TableReader(schema).read(pd.DataFrame({"x": [3.5, 1.25]}))
    assert typed.modalities["table"].values["x"].tolist() == [3.5, 1.25]


@pytest.mark.parametrize(
    "form", ["1234.5", "1,234.5", "1.234,5", "1 234,5", "1'234.5", "1_234.5", "1.234,5 %", "CHF 1'234.5", "1234,5 kg"]
)
def test_a_format_is_1234_5_as_the_column_writes_it(form: str) -> None:
    assert Schema(numbers={"x": form}).numbers == {"x": form}
    assert str(NumberFormat.of(form)) == form
    values, otherwise = read_numbers(pd.Series([form]), form)
    assert values.tolist() == [1234.5]
    assert not otherwise.any()
    assert read_numbers(pd.Series([write_number(-0.25, form)]), form)[0].tolist() == [-0.25]


@pytest.mark.parametrize("form", ["1.234.5", "1234", "german", "1,234,5", "$1,234.5 EUR", ""])
def test_a_format_that_is_none_is_refused(tmp_path: Path, form: str) -> None:
    (tmp_path / "s.yaml").write_text(f'numbers: {{x: "{form}"}}\n')
    with pytest.raises(ConfigError, match=r"numbers\.x: .*a format must be 1234\.5 as the column writes it"):
        load_schema(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.250,5", "900", "3,5"], [1250.5, 900, 3.5]),
        (["$1,250", "$3.5", "$7"], [1250, 3.5, 7]),
        (["5,5 %", "3 %", "7 %"], [5.5, 3, 7]),
    ],
)
def test_a_target_of_written_numbers_is_learned_as_numbers(
    tmp_path: Path, cells: list[str], numbers: list[float]
) -> None:
    frame = pd.DataFrame({"x": np.linspace(0, 1, 24), "y": [*cells] * 8})
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset, schema = opened(tmp_path / "t.csv", target="y")
    assert dataset.task == "regression"
    assert dataset.target is not None
    assert dataset.target[:3].tolist() == numbers
    new = TableReader(schema).read(tmp_path / "t.csv", need_target=True)
    assert new.target is not None
    assert new.target[:3].tolist() == numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"price, EUR";size;y\n3,5;1;p\n2,5;2;q\n', ["price, EUR", "size", "y"]),
        ("sep=;\na;b\n1,5;2\n", ["a", "b"]),
        ("SEP=,\na,b\n1;5,2\n", ["a", "b"]),
        ('"sep=|"\na|b\n1|2\n', ["a", "b"]),
        ("a|b|c\nx,y|2|3\n", ["a", "b", "c"]),
        ("a\tb\n1,5\t2\n", ["a", "b"]),
        ("weight, kg;size, cm\n1,5;2,5\n2,5;3,5\n", ["weight, kg", "size, cm"]),
        ("a,b\nx;y,2\n", ["a", "b"]),
        ('a,b\n"x;y",2\n"u;v",3\n', ["a", "b"]),
        ('"a;b",c\n"x;y",2\n', ["a;b", "c"]),
        ("a;b\n", None),
    ],
)
def test_the_separator_is_found_by_parsing_with_quotes_respected(
    tmp_path: Path, text: str, expected: list[str] | None
) -> None:
    (tmp_path / "t.csv").write_text(text)
    if expected is None:
        with pytest.raises(DataError, match="got 0 rows and 2 columns"):
            read_table(tmp_path / "t.csv")
        return
    frame = read_table(tmp_path / "t.csv")
    assert list(frame.columns) == expected
    assert bool(frame.attrs["notes"]) == (
        "," not in text.partition("\n")[0].replace('"price, EUR"', "").replace(", ", "") or "sep" in text.lower()
    )


def test_a_broken_line_after_the_line_that_names_the_separator_is_told_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("sep=;\na;b\n1;2\n1;2;3\n")
    with pytest.raises(DataError, match="the 2 cells of the first; line 4 has 3"):
        read_table(tmp_path / "t.csv")


def test_formats_stand_in_the_printed_schema_and_are_kept(tmp_path: Path) -> None:
    frame: Any = pd.DataFrame({"x": ["3,5", "1.250", "7,25"] * 8, "n": [1, 2, 3] * 8, "y": ["p", "q", "r"] * 8})
    found = infer(frame, Schema(target={"columns": ["y"]}))
    assert found.schema.numbers == {"x": "1.234,5"}
    reasons = {r.column: (r.kind, r.reason) for r in found.reasons}
    assert reasons["x"] == (
        "numeric",
        "numbers, read as 1.234,5: '1.250' is 1250, as '3,5' can only be read with a decimal comma",
    )
    assert infer(frame, found.schema).schema == found.schema


def test_whole_numbers_of_a_frame_that_pandas_writes_with_a_point_are_read_beside_decimal_commas(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame({"price": ["3,5", "1.250", "7,25"] * 8, "rooms": [1, None, 3.0] * 8, "y": ["p", "q", "r"] * 8})
    of_frame = infer(frame, Schema(target={"columns": ["y"]})).schema
    assert of_frame.numbers == {"price": "1.234,5"}
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.astype({"rooms": "Int64"}).to_csv(tmp_path / "de.csv", index=False, sep=";")
    dataset, of_text = opened(tmp_path / "de.csv", target="y")
    assert of_text.numbers == {"price": "1.234,5", "rooms": "1.234,5"}
    expected = dataset.modalities["table"].values["rooms"].tolist()
    for schema in (of_frame, of_text):
        assert TableReader(schema).read(tmp_path / "t.csv").modalities["table"].values[
            "rooms"
        ].tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "more", [["1.234,50 €", "(12)"], ["007", "١٢٫٥", "no", " 5 %"], ["1e999", "-inf", "1,5", "x" * 90]]
)
def test_many_cells_of_few_words_are_read_as_each_of_them_is(more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells = pd.Series(rng.choice([*more, "12", "1.5"], 5_000), index=rng.permutation(5_000))
    many = parse(cells)
    monkeypatch.setattr("profuse.data.table.numbers._MANY", 10_000)
    each = parse(cells)
    for name in ("unit", "written", "padded", "plain"):
        assert getattr(many, name).tolist() == getattr(each, name).tolist()
    for mark in each.values:
        np.testing.assert_array_equal(many.values[mark], each.values[mark])
        np.testing.assert_array_equal(many.valid[mark], each.valid[mark])
    pd.testing.assert_series_equal(many.words, each.words)
    pd.testing.assert_series_equal(many.clean, each.clean)


def test_of_many_cells_distinct_words_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    n_read: list[int] = []
    original = numbers._matches

    def counted(words: pd.Series, pattern: str) -> np.ndarray:
        n_read.append(len(words))
        return original(words, pattern)

    monkeypatch.setattr(numbers, "_matches", counted)
    parse(pd.Series(["12", "13"] * 2_000))
    assert set(n_read) == {2}
