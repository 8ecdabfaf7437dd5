"""`profuse predict` in chunks: the same bytes for any size of a chunk, and nothing half written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli.conftest import make_table

import profuse
from profuse.predictor.in_pieces import Noted

pytestmark = pytest.mark.usefixtures("few_classical")
CHUNKS = (7, 512, 1000, 100_000)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """1,100 rows: missing cells and modalities, words among numbers, true and false, all in some chunks alone."""
    frame = make_table(1100, 3)
    frame["unit price"] = frame["unit price"].astype(object)
    frame.loc[5:40, "unit price"] = None
    frame.loc[1050, "unit price"] = "unknown"
    frame.loc[600:700, "unit price"] = "true"
    frame.loc[100:900:3, "note"] = None
    frame.loc[1000:, "colour"] = "violet"
    return frame


@pytest.fixture(scope="module", params=["network", pytest.param("portfolio", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest, run: Any, files: Path, few_classical: None) -> Path:
    """A saved classifier of `my label`."""
    out = files / f"in_chunks_{request.param}"
    quick = ("--network", "--epochs", 2, "--width", 8)
    if request.param == "portfolio":
        quick = ("--preset", "quick", "--epochs", 2, "--width", 8)  # type: ignore[assignment]
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *quick)
    assert done.exit_code == 0, done.stderr
    return out


@pytest.mark.parametrize(
    ("form", "sure"),
    [
        ("csv", False),
        pytest.param("parquet", True, marks=pytest.mark.slow),
    ],
)
def test_any_size_of_a_chunk_gives_the_same_bytes(
    form: str, sure: bool, model: Path, run: Any, files: Path, new: pd.DataFrame, tmp_path: Path
) -> None:
    rows = tmp_path / f"new.{form}"
    if form == "csv":
        new.to_csv(rows, index=False)
    else:
        new.assign(**{"unit price": pd.to_numeric(new["unit price"], errors="coerce")}).to_parquet(
            rows, row_group_size=90
        )
    whole = set()
    for n in CHUNKS if form == "csv" else (7, 512, 100_000):
        more = ("--conformal", files / "test.csv", "--worth", files / "test.csv") if n > 7 and sure else ()
        out = tmp_path / f"{n}.{form}"
        done = run("predict", model, rows, "--out", out, "--chunk-rows", n, *more)
        assert done.exit_code == 0, done.stderr
        whole |= {out.read_bytes()} if n > 7 or not sure else set()
    assert len(whole) == 1
    read: Any = pd.read_csv if form == "csv" else pd.read_parquet
    plain, sets = read(tmp_path / f"7.{form}"), read(tmp_path / f"512.{form}")
    pd.testing.assert_frame_equal(sets[list(plain)], plain, check_exact=True)
    predictor = profuse.load_model(model)
    with pytest.warns(profuse.errors.ProfuseWarning):
        want = predictor.predict_frame(rows)
    assert plain["id"].tolist() == want["id"].tolist() == new["row id"].tolist()
    np.testing.assert_allclose(plain["prob_big"], want["prob_big"], atol=1e-6)


def test_notes_and_errors_count_rows_of_the_file(model: Path, run: Any, new: pd.DataFrame, tmp_path: Path) -> None:
    new.to_csv(tmp_path / "new.csv", index=False)
    done = run("predict", model, tmp_path / "new.csv", "--chunk-rows", 300)
    assert "601, 602, 603, 604, ...; counted from 0) hold no number ('true')" in done.stderr
    assert "So too in 1 more of the blocks of 512 rows, with 'unknown'." in done.stderr
    assert "100 of 1100 filled cells hold categories that training has not seen: 'violet'" in done.stderr
    new.assign(**{"unit price": np.where(np.arange(1100) == 1077, "inf", "1")}).to_csv(
        tmp_path / "new.csv", index=False
    )
    done = run("predict", model, tmp_path / "new.csv", "--chunk-rows", 300)
    assert done.exit_code != 0
    assert "infinite in 1 row (1077; counted from 0)" in done.stderr


def test_notes_of_blocks_that_differ_in_numbers_and_words_are_one_with_the_words_of_all() -> None:
    many = "Column 'x': 2 rows (3, 4; counted from 0) hold no number ('soon') and count as missing."
    one = "Column 'x': 1 row (600; counted from 0) holds no number ('later') and counts as missing."
    other = one.replace("'x'", "'y'")
    noted = Noted(n_rows=512)
    for notes in ([many], [one, other], [many.replace("3, 4", "1030, 1031")]):
        noted.add(notes)
    assert noted.told() == [f"{many} So too in 2 more of the blocks of 512 rows, with 'later'.", other]
    for i in range(4):
        noted.add([one.replace("later", f"word {i}")])
    assert noted.told()[0] == (
        f"{many} So too in 6 more of the blocks of 512 rows, with 'later', 'word 0', 'word 1' and others."
    )


def test_ids_that_repeat_in_another_chunk_give_row_numbers(
    model: Path, run: Any, new: pd.DataFrame, tmp_path: Path
) -> None:
    ids = new["row id"].tolist()
    new.assign(**{"row id": [*ids[:1099], ids[2]]}).to_csv(tmp_path / "new.csv", index=False)
    done = run("predict", model, tmp_path / "new.csv", "--out", tmp_path / "out.csv", "--chunk-rows", 300)
    assert "Column 'row id': as an id it is again in 1 row (1099; counted from 0)" in done.stderr
    assert pd.read_csv(tmp_path / "out.csv")["row"].tolist() == list(range(1100))


@pytest.mark.parametrize("fault", ["cells", "new words"])
def test_what_stands_at_the_target_stays_where_a_late_row_is_wrong(
    fault: str, model: Path, run: Any, new: pd.DataFrame, tmp_path: Path
) -> None:
    wrong = new.assign(colour="violet") if fault == "new words" else new
    text = wrong.to_csv(index=False)
    (tmp_path / "new.csv").write_text(text + "1,2\n" if fault == "cells" else text)
    (tmp_path / "out.csv").write_text("before")
    done = run("predict", model, tmp_path / "new.csv", "--out", tmp_path / "out.csv", "--chunk-rows", 300)
    assert done.exit_code != 0
    assert ("line 1102 has 2" if fault == "cells" else "1100 of 1100 filled cells") in done.stderr
    assert (tmp_path / "out.csv").read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.csv", "out.csv"]


def test_json_lines_and_safe_cells(model: Path, run: Any, new: pd.DataFrame, tmp_path: Path) -> None:
    bad = new.copy()
    bad["row id"] = [f"={i}" for i in new["row id"]]
    bad["unit price"] = 1.0
    bad.to_json(tmp_path / "new.jsonl", orient="records", lines=True)
    out = tmp_path / "out.csv"
    done = run("predict", model, tmp_path / "new.jsonl", "--out", out, "--chunk-rows", 300, "--safe-csv")
    assert done.exit_code == 0, done.stderr
    assert "1100 cells that begin like a formula" in done.stderr
    assert pd.read_csv(out)["id"].tolist() == ["'=" + i for i in new["row id"]]
    refused = run("predict", model, tmp_path / "new.jsonl", "--out", tmp_path / "out.parquet", "--safe-csv")
    assert "is of CSV files" in refused.stderr
