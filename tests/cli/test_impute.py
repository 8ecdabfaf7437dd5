"""`profuse impute`: a filled table, told quality, files that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

QUICK = ("--epochs", 2, "--width", 8, "--samples", 4)


def write(path: Path, n: int = 70, separator: str = ",", decimal: str = ".") -> list[list[str]]:
    """Writes a table whose modality `table` (price, colour) is missing in every fourth row; returns its words."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(n, 8))
    lines = [["key", *(f"emb_{i}" for i in range(8)), "price", "colour", "label"]]
    for i, row in enumerate(a):
        price = "" if i % 4 == 0 else f"{row[0]:+.3f}0".replace(".", decimal)
        word = "" if i % 4 == 0 else ("red" if row[1] > 0 else "blue")
        lines.append([f"k{i:03d}", *(f"{v:.4f}".replace(".", decimal) for v in row), price, word, "ab"[i % 2]])
    path.write_text("\n".join(separator.join(line) for line in lines) + "\n", encoding="utf-8")
    return lines


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    write(tmp_path / "mine.csv")
    return tmp_path / "mine.csv"


def test_the_table_is_filled_and_every_other_cell_keeps_each_character(run: Any, mine: Path) -> None:
    out, words = mine.with_name("filled.csv"), write(mine)
    done = run("impute", mine, "--modality", "table", "--target", "label", "--out", out, *QUICK)
    assert done.exit_code == 0, done.stderr
    lines = [line.split(",") for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == [*words[0], "price_spread", "colour_spread", "table_filled"]
    for i, (before, after) in enumerate(zip(words[1:], lines[1:], strict=True)):
        if i % 4:
            assert after == [*before, "", "", "False"]
        else:
            assert after[:9] == before[:9]
            assert float(after[9]) is not None
            assert after[10] in ("red", "blue")
            assert float(after[12]) >= 0
            assert after[-1] == "True"
    assert f"Filled: {out} (18 of 70 rows)" in done.stdout
    assert sorted(p.name for p in mine.parent.iterdir()) == ["filled.csv", "mine.csv"]


def test_quality_is_told_beside_nearest_and_mean(run: Any, mine: Path) -> None:
    done = run(
        "impute", mine, "-m", "table", "-t", "label", "-o", mine.with_name("f.csv"), "--method", "regression", *QUICK
    )
    for word in ("regression", "nearest", "mean", "error (sd)", "95 % interval", "CRPS (sd)", "in 90 % interval"):
        assert word in done.stdout
    assert "10 rows were hidden to measure, 42 learned from." in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_all_samples_are_written_in_long_form_by_id(run: Any, mine: Path) -> None:
    out, samples = mine.with_name("f.csv"), mine.with_name("s.csv")
    done = run("impute", mine, "-m", "table", "-t", "label", "-o", out, "--samples-out", samples, *QUICK)
    assert done.exit_code == 0, done.stderr
    told, filled = pd.read_csv(samples), pd.read_csv(out).set_index("key")
    assert list(told.columns) == ["row", "sample", "price", "colour"]
    assert len(told) == 18 * 4
    apart = told["price"] - filled.loc[told["row"], "price"].to_numpy()
    spread = filled.loc[told["row"], "price_spread"].to_numpy()
    assert (apart / spread).abs().max() < 6
    assert (apart / spread).std() == pytest.approx(1, rel=0.3)


def test_a_decimal_comma_and_its_separator_are_kept(run: Any, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.csv", tmp_path / "f.csv"
    words = write(mine, separator=";", decimal=",")
    done = run("impute", mine, "-m", "table", "-t", "label", "-o", out, "--method", "nearest", "--samples", 3)
    assert done.exit_code == 0, done.stderr
    lines = [line.split(";") for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[2][: len(words[2])] == words[2]
    assert "," in lines[1][9]
    assert "." not in lines[1][9]


def test_json_lines_and_lists_are_read_and_written_as_csv(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"code": None if i % 4 == 0 else v.tolist(), "x": v[0], "y": v[1]}
        for i, v in enumerate(rng.normal(size=(60, 3)))
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = tmp_path / "f.csv"
    done = run("impute", tmp_path / "mine.jsonl", "-m", "code", "-o", out, "--method", "regression", *QUICK)
    assert done.exit_code == 0, done.stderr
    table = pd.read_csv(out)
    assert json.loads(table["code"][1]) == rows[1]["code"]
    assert len(json.loads(table["code"][0])) == len(json.loads(table["code_spread"][0])) == 3


def test_known_cells_of_partly_empty_rows_keep_each_character(run: Any, mine: Path) -> None:
    words, out = write(mine), mine.with_name("filled.csv")
    for i in (2, 3, 6):
        words[i][9 if i == 3 else 10] = ""  # the price of one row, the colour of two
    mine.write_text("\n".join(",".join(line) for line in words) + "\n", encoding="utf-8")
    done = run("impute", mine, "-m", "table", "-t", "label", "-o", out, "--method", "ridge")
    assert done.exit_code == 0, done.stderr
    lines = [line.split(",") for line in out.read_text(encoding="utf-8").splitlines()]
    assert "(21 of 70 rows)" in done.stdout
    for i in (2, 6):
        assert lines[i][:10] == words[i][:10]
        assert lines[i][10] in ("red", "blue")
        assert lines[i][12] == ""
        assert lines[i][-1] == "True"
    assert lines[3][10:12] == words[3][10:12]
    assert np.isfinite(float(lines[3][9]))


def test_completed_tables_are_written_beside_it_without_gaps(run: Any, mine: Path) -> None:
    out = mine.with_name("filled.csv")
    words = write(mine)
    done = run("impute", mine, "-m", "table", "-t", "label", "-o", out, "--method", "ridge", "--tables", 3)
    assert done.exit_code == 0, done.stderr
    names = ["filled.csv", "filled_1.csv", "filled_2.csv", "filled_3.csv", "mine.csv"]
    assert sorted(p.name for p in mine.parent.iterdir()) == names
    tables = [mine.with_name(name).read_text(encoding="utf-8").splitlines() for name in names[1:4]]
    for lines in tables:
        assert lines[0] == ",".join(words[0])
        assert [lines[i] for i in range(2, 5)] == [",".join(words[i]) for i in range(2, 5)]
        assert "" not in lines[1].split(",")
    assert len({lines[1] for lines in tables}) == 3


def test_two_modalities_are_filled_one_after_the_other(run: Any, mine: Path) -> None:
    frame = pd.read_csv(mine)
    frame.loc[1::9, [f"emb_{i}" for i in range(8)]] = None
    frame.to_csv(mine, index=False)
    first, second = mine.with_name("first.csv"), mine.with_name("second.csv")
    done = run("impute", mine, "-m", "table", "-t", "label", "-o", first, "--method", "ridge")
    assert done.exit_code == 0, done.stderr
    done = run("impute", first, "-m", "emb", "-t", "label", "-o", second, "--method", "ridge")
    assert done.exit_code == 0, done.stderr
    assert "'price_spread', 'colour_spread', 'table_filled' are what an imputation before this one added" in done.stderr
    table = pd.read_csv(second)
    assert table[[*(f"emb_{i}" for i in range(8)), "price", "colour"]].notna().all(axis=None)
    assert [c for c in table.columns if c.endswith("_filled")] == ["table_filled", "emb_filled"]
    assert not {"table_filled_spread", "price_spread_spread"} & set(table.columns)


def numbered(n: int, seed: int = 0) -> pd.DataFrame:
    numbers = np.random.default_rng(seed).normal(size=(n, 8)).round(3)
    return pd.DataFrame({f"emb_{i}": numbers[:, i] for i in range(8)})


class TestWhatIsMissingWithoutBeingEmpty:
    """Cells that hold something else than the modality are replaced too."""

    def test_pictures_that_cannot_be_read(self, run: Any, tmp_path: Path) -> None:
        rng, mine, out = np.random.default_rng(0), tmp_path / "mine.csv", tmp_path / "f.csv"
        for i in range(30):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        (tmp_path / "bad.png").write_bytes(b"hello")
        frame = numbered(30).assign(photo=[f"{i}.png" for i in range(30)])
        frame.loc[[5, 6], "photo"] = ["bad.png", "none.png"]
        frame.to_csv(mine, index=False)
        args = ("--method", "nearest", "--samples", 3, "--on-bad-file", "skip")
        done = run("impute", mine, "-m", "photo", "-o", out, *args)
        assert done.exit_code == 0, done.stderr
        assert "(2 of 30 rows)" in done.stdout
        filled = pd.read_csv(out)
        assert filled["photo"].drop([5, 6]).tolist() == frame["photo"].drop([5, 6]).tolist()
        assert set(filled["photo"][[5, 6]]) <= {f"{i}.png" for i in range(30)}
        assert filled["photo_filled"][[5, 6]].all()

    def test_blank_text(self, run: Any, tmp_path: Path) -> None:
        mine, out = tmp_path / "mine.csv", tmp_path / "f.csv"
        frame = numbered(40)
        frame["note"] = [f"the {'big' if x > 0 else 'odd'} dog number {i} runs" for i, x in enumerate(frame["emb_0"])]
        frame.loc[:4, "note"] = "   "
        frame.to_csv(mine, index=False)
        done = run("impute", mine, "-m", "note", "-o", out, "--method", "nearest", "--samples", 3)
        assert done.exit_code == 0, done.stderr
        assert "(5 of 40 rows)" in done.stdout
        assert set(pd.read_csv(out)["note"][:5]) <= set(frame["note"][5:])

    def test_words_in_a_column_of_numbers(self, run: Any, tmp_path: Path) -> None:
        mine, out, schema = tmp_path / "mine.csv", tmp_path / "f.csv", tmp_path / "s.yaml"
        frame = numbered(40)
        frame["dose"] = [f"{10 + 2 * x:.2f}" for x in frame["emb_0"]]
        frame.loc[:4, "dose"] = "unknown"
        frame.to_csv(mine, index=False)
        schema.write_text("columns: {dose: numeric}\n", encoding="utf-8")
        done = run("impute", mine, "-m", "table", "-o", out, "--schema", schema, "--method", "regression", *QUICK)
        assert done.exit_code == 0, done.stderr
        filled = pd.read_csv(out, dtype=str)
        assert filled["dose"][:5].astype(float).notna().all()
        assert filled["dose"][5:].tolist() == frame["dose"][5:].tolist()


def test_names_of_columns_stay_as_they_are_an_empty_one_too(run: Any, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.csv", tmp_path / "f.csv"
    frame = numbered(40).assign(price=np.arange(40) % 7, **{"a, b": 1})
    frame["price"] = frame["price"].mask(frame.index % 4 == 0)
    frame.to_csv(mine)
    done = run("impute", mine, "-m", "table", "-o", out, "--method", "nearest", "--samples", 3)
    assert done.exit_code == 0, done.stderr
    before, after = (path.read_text(encoding="utf-8").splitlines() for path in (mine, out))
    assert before[0].startswith(",emb_0,")
    assert after[0] == f"{before[0]},price_spread,table_filled"
    assert after[2] == f"{before[2]},,False"


def test_no_method_is_said_to_be_no_worse_where_nothing_is_wrong(run: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    frame = numbered(80)
    up = frame["emb_0"] > 0
    frame = (frame / 10).add(np.where(up, 3, -3), axis=0)
    frame["flag"] = np.where(up, "up", "down")
    frame.loc[::5, "flag"] = None
    frame.to_csv(mine, index=False)
    done = run("impute", mine, "-m", "table", "-o", tmp_path / "f.csv", *QUICK)
    assert done.exit_code == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:3]] == ["0", "0"]
    assert "no worse" not in done.stderr


def test_ten_steps_of_training_are_enough(run: Any, mine: Path) -> None:
    write(mine, 50)  # 25 rows to learn from: two batches
    args = ("--epochs", 5, "--width", 8, "--samples", 4, "--method", "regression")
    done = run("impute", mine, "-m", "table", "-t", "label", "-o", mine.with_name("f.csv"), *args)
    assert done.exit_code == 0, (done.stderr, done.exception)


def test_help_says_what_options_do_here(run: Any) -> None:
    told = " ".join(run("impute", "--help").stdout.replace("│", " ").split())
    assert "What to predict" not in told
    assert "joint vector" not in told
    assert "Channels of a network's hidden layers" in told


class TestBadInput:
    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (("-m", "tabel"), "Did you mean 'table'?"),
            (("-m", "table", "--method", "knn"), "method must be a known name"),
            (("-m", "emb"), "must be missing in at least one row to be filled"),
            (("-m", "table", "--held-out", 2), "held_out must be less than 1; got held_out=2.0"),
            (("-m", "table", "--target", "lable"), "target: it must be a column of the table; got 'lable'. Did you"),
            (("-m", "table", "--samples", 1), "n_samples must be greater than or equal to 2; got n_samples=1"),
            (("-m", "table", "--on-bad-file", "no"), "must be 'raise' or 'skip'"),
            (("-m", "table", "--schema", "nosuch.yaml"), "nosuch.yaml"),
        ],
    )
    def test_it_is_one_message_and_nothing_is_written(
        self, run: Any, mine: Path, args: tuple[object, ...], said: str
    ) -> None:
        done = run("impute", mine, *args, "--out", mine.with_name("f.csv"), "--samples-out", mine.with_name("s.csv"))
        assert done.exit_code == 2
        assert said in done.stderr
        assert done.stderr.count("Error: ") == 1
        assert done.stdout == ""
        assert [p.name for p in mine.parent.iterdir()] == ["mine.csv"]

    @pytest.mark.parametrize("name", ["mine.csv", "f.parquet", "no/f.csv"])
    def test_an_output_that_cannot_be_is_told_before_anything_is_read(self, run: Any, mine: Path, name: str) -> None:
        before = mine.read_bytes()
        done = run("impute", mine, "-m", "table", "--out", mine.parent / name)
        assert done.exit_code == 2
        assert done.stderr.startswith("Error: ")
        assert mine.read_bytes() == before
        assert [p.name for p in mine.parent.iterdir()] == ["mine.csv"]

    def test_text_by_a_network_names_nearest(self, run: Any, mine: Path) -> None:
        table = pd.read_csv(mine)
        table["note"] = [
            f"{w} thing number {i} of all" for i, w in enumerate(np.where(table["emb_0"] > 0, "big", "odd"))
        ]
        table.loc[::5, "note"] = None
        table.to_csv(mine, index=False)
        args = ("impute", mine, "-m", "note", "-t", "label", "-o", mine.with_name("f.csv"))
        done = run(*args, "--method", "gan")
        assert done.exit_code == 2
        assert "Use method 'nearest'" in done.stderr
        assert run(*args, "--method", "nearest", "--samples", 3).exit_code == 0
        assert pd.read_csv(mine.with_name("f.csv"))["note"].notna().all()
