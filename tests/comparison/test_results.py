"""Results survive the disk, refuse what is not plain and finite, and are written whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from profuse.comparison.results import COLUMNS, DatasetFacts, MethodInfo, ModalityFacts, Results, Score, Skipped
from profuse.errors import DataError


def _results() -> Results:
    facts = DatasetFacts(
        name="Zoë's, \"data\"", task="binary", classes=["no", "yes"], n_rows=9, n_train=3, n_valid=3, n_test=3,
        modalities={"a": ModalityFacts(kind="table", present_fraction=0.5)},
    )  # fmt: skip
    results = Results(
        dataset=facts, config={"train": {"epochs": 3}}, methods=[MethodInfo(name="a only", role="single")]
    )
    results.skipped.append(Skipped(method="vote", reason="one modality"))
    for seed in (0, 1):
        results.add_rows("a only", seed, np.array([1.0, 0.0, 1.0]), ids=["x", "y", "z"], groups=[1, 1, 2])
        score = Score(dataset="d", method="a only", seed=seed, split="test", metric="accuracy", value=1 / 3, n_rows=3)
        results.scores.append(score)
    return results


def test_results_come_back_equal_from_the_disk(tmp_path: Path) -> None:
    results = _results()
    results.write(tmp_path)
    back = Results.read(tmp_path)
    assert back.model_dump() == results.model_dump()
    assert list(back.rows) == [0, 1]
    assert back.rows[1].ids.tolist() == ["x", "y", "z"]
    assert back.rows[1].groups is not None
    assert back.rows[1].groups.tolist() == [1, 1, 2]
    assert back.rows[1].scores["a only"].tolist() == [1.0, 0.0, 1.0]


def test_the_folder_holds_the_four_files_and_nothing_else(tmp_path: Path) -> None:
    results = _results()
    results.write(tmp_path)
    results.write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "results.csv", "results.json", "rows.npz"]
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"train": {"epochs": 3}}


def test_the_csv_has_exactly_the_promised_columns_and_full_precision(tmp_path: Path) -> None:
    _results().write(tmp_path)
    with (tmp_path / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    promised = "dataset variant method family level rounds seed split metric value n_rows n_parameters fit_seconds"
    assert list(table[0]) == [*promised.split(), "predict_rows_per_second"] == list(COLUMNS)
    assert [float(row["value"]) for row in table] == [1 / 3, 1 / 3]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = _results()
    results.write(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", broken)
    results.dataset.notes.append("changed")
    with pytest.raises(OSError, match="disk full"):
        results.write(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("number", [0, 99])
def test_another_format_is_refused_with_what_to_do(tmp_path: Path, number: int) -> None:
    _results().write(tmp_path)
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": number}))
    with pytest.raises(DataError, match=rf"format 1; got format={number}\..*upgrade"):
        Results.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": "x"}'])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=r"results.json must be"):
        Results.read(tmp_path)


def test_damaged_rows_and_a_missing_folder_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold results.json"):
        Results.read(tmp_path / "nowhere")
    _results().write(tmp_path)
    (tmp_path / "rows.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(DataError, match=r"rows.npz must be arrays"):
        Results.read(tmp_path)


def test_without_the_side_file_the_scores_still_read(tmp_path: Path) -> None:
    _results().write(tmp_path)
    (tmp_path / "rows.npz").unlink()
    assert Results.read(tmp_path).rows == {}


def test_what_rows_do_to_r2_comes_back_from_the_disk_where_it_is_finite(tmp_path: Path) -> None:
    results = _results()
    results.add_rows("b only", 0, np.ones(3), ids=["x", "y", "z"], log_errors=np.array([0.5, 0.0, -1.0]))
    results.add_rows("c only", 0, np.ones(3), ids=["x", "y", "z"], log_errors=np.array([0.5, np.inf, -1.0]))
    results.write(tmp_path)
    back = Results.read(tmp_path).rows
    assert {k: v.tolist() for k, v in back[0].log_errors.items()} == {"b only": [0.5, 0.0, -1.0]}
    assert back[1].log_errors == {}


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Score(dataset="d", method="m", seed=0, split="test", metric="r2", value=float("nan"), n_rows=1)


@pytest.mark.parametrize(
    ("scores", "ids", "message"),
    [
        ([1.0, np.nan, 0.0], "xyz", "scores must be finite; got 1"),
        ([1.0, 0.0], "xyz", r"one entry a row; got lengths \[2, 3\]"),
        ([1.0, 0.0, 1.0], "xzy", "must be those of the other methods"),
    ],
)
def test_rows_that_do_not_fit_are_refused(scores: list[float], ids: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _results().add_rows("b only", 0, np.array(scores), ids=list(ids))


def test_a_configuration_that_is_not_plain_is_refused() -> None:
    with pytest.raises(ValidationError, match="JSON values only"):
        Results(dataset=_results().dataset, config={"path": Path("x")})
