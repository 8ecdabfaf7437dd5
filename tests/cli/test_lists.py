"""`profuse datasets`, `fusions`, `schema`: what there is, and what is inferred."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from profuse.datasets import DATASETS
from profuse.fusion import FUSIONS


def test_datasets_lists_every_one(run: Any) -> None:
    shown = run("datasets").stdout
    assert all(name in shown for name in DATASETS)
    assert "\x1b" not in shown
    rows = json.loads(run("datasets", "--json").stdout)
    assert [row["name"] for row in rows] == list(DATASETS)
    assert {"modalities", "n_rows", "task", "licence", "source", "here"} <= set(rows[0])
    assert next(row for row in rows if row["name"] == "glyphs")["here"] is True


def test_fusions_lists_one_family_and_tells_a_wrong_one(run: Any) -> None:
    rows = json.loads(run("fusions", "--family", "graph", "--json").stdout)
    assert {row["family"] for row in rows} == {"graph"}
    wrong = run("fusions", "--family", "graphs")
    assert wrong.exit_code == 2
    assert "Did you mean 'graph'?" in wrong.stderr


def test_fusions_lists_every_one_with_its_family_and_formula(run: Any) -> None:
    shown = run("fusions").stdout
    assert all(name in shown for name in FUSIONS)
    rows = json.loads(run("fusions", "--json").stdout)
    assert [row["name"] for row in rows] == list(FUSIONS)
    assert all(row["family"] and row["formula"] and row["missing"] for row in rows)


def test_schema_shows_kind_and_reason_of_each_column(run: Any, files: Path) -> None:
    done = run("schema", files / "mine.csv", "--target", "my label")
    assert done.exit_code == 0
    for column in ("unit price", "colour", "note", "my label", "high, or low", "day"):
        assert column in done.stdout
    assert "named as the target" in done.stdout
    assert "binary" in done.stdout


def test_a_schema_that_was_written_is_understood_again(run: Any, files: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.yaml"
    assert run("schema", files / "mine.csv", "-t", "my label", "--out", first).exit_code == 0
    second = tmp_path / "second.yaml"
    assert run("schema", files / "mine.csv", "--schema", first, "--out", second).exit_code == 0
    assert yaml.safe_load(first.read_text(encoding="utf-8")) == yaml.safe_load(second.read_text(encoding="utf-8"))


def test_schema_tells_an_unknown_target_with_the_nearest(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("schema", files / "mine.csv", "-t", "my labell", "--out", tmp_path / "s.yaml")
    assert done.exit_code == 2
    assert "did you mean 'my label'?" in done.stderr
    assert not (tmp_path / "s.yaml").exists()
