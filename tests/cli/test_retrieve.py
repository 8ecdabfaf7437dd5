"""`profuse retrieve`: questions, measures, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

QUICK = ("--epochs", 2, "--width", 8, "--device", "cpu")
IGNORE = ("--target", "my label", "--target", "high, or low")


@pytest.fixture(scope="module")
def finder(run: Any, files: Path) -> Path:
    """A saved retriever of the small table: its note by its numbers, and the reverse."""
    out = files / "finder"
    done = run("retrieve", files / "mine.csv", *IGNORE, "--out", out, *QUICK)
    assert done.exit_code == 0, done.stderr
    return out


def test_recall_is_printed_in_both_directions_beside_chance_and_linear_cca(
    run: Any, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "kept"
    done = run("retrieve", files / "mine.csv", *IGNORE, "--evaluate", "--out", out, *QUICK)
    assert done.exit_code == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    for way in (["note", "table"], ["table", "note"]):
        assert [w[2] for w in words if w[:2] == way] == ["contrastive", "linear", "chance"]
    assert "72 rows learned from, 18 held out" in done.stdout
    kept = pd.read_csv(out / "recall.csv")
    assert set(kept["metric"]) == {"recall@1", "recall@5", "recall@10", "median_rank"}
    assert sorted(p.name for p in out.iterdir()) == [
        "arrays.safetensors", "model.json", "recall.csv", "weights.safetensors",
    ]  # fmt: skip


def test_the_figures_are_there_as_json_too(run: Any, files: Path) -> None:
    done = run("retrieve", files / "mine.csv", *IGNORE, "--evaluate", "--json", *QUICK)
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {r["method"] for r in rows} == {"contrastive", "linear CCA"}
    assert all(0 <= r["value"] <= 1 for r in rows if r["metric"] != "median_rank")


def test_a_text_asks_a_saved_retriever(run: Any, files: Path, finder: Path) -> None:
    asked = ("--from", "note", "--to", "table", "--query", "alpha beta gamma one", "--k", 3)
    done = run("retrieve", files / "test.csv", "--model", finder, *asked)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["query", "rank", "id", "row", "similarity", "note"]
    ids = set(pd.read_csv(files / "test.csv")["row id"])
    assert len(lines) == 4
    assert all(any(f" {i} " in line for i in ids) for line in lines[1:])
    again = run("retrieve", files / "test.csv", "--model", finder, *asked, "--json")
    told = json.loads(again.stdout)
    assert [t["rank"] for t in told] == [1, 2, 3]
    assert told[0]["similarity"] >= told[1]["similarity"] >= told[2]["similarity"]


def test_rows_ask_instead_of_a_text(run: Any, files: Path, finder: Path) -> None:
    asked = ("--from", "table", "--to", "note", "--rows", "0,5", "--k", 2, "--json")
    told = json.loads(run("retrieve", files / "test.csv", "--model", finder, *asked).stdout)
    assert [t["query"] for t in told] == ["0", "0", "5", "5"]
    notes = pd.read_csv(files / "test.csv")["note"]
    assert all(t["note"] == notes[t["row"]] for t in told)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "say --evaluate, or ask by --query or --rows, or name --out"),
        (("--query", "x"), "--from and --to must be named with a question"),
        (("--from", "note", "--to", "table", "--query", "x", "--evaluate"), "must come one at a time"),
        (("--from", "note", "--to", "table", "--rows", "0", "--query", "x"), "must come one at a time"),
        (("--evaluate", "--space", "cube"), "space must be"),
        (("--evaluate", "--variant", "sans"), "--variant must go with a named data set"),
        (("--from", "not", "--to", "table", "--query", "x"), "Did you mean 'note'"),
        (("--from", "not", "--to", "not", "--rows", "0"), "Did you mean 'note'"),
        (("--evaluate", "--from", "nte"), "--from and --to must be named together"),
        (("--evaluate", "--to", "note"), "--from and --to must be named together"),
        (("--evaluate", "--from", "nte", "--to", "table"), "Did you mean 'note'"),
        (("--evaluate", "--from", "note", "--to", "note"), "--from and --to must differ"),
        (("--out", "never", "--from", "note"), "--from and --to must be named together"),
        (("--evaluate", "--k", 3), "must go with --query or --rows"),
        (("--evaluate", "--target", "notes"), "target: it must be a column of the table; got 'notes'. Did you mean"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told(
    run: Any, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[Any, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("retrieve", files / "mine.csv", *IGNORE, *args)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stdout == ""
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("way", [("--evaluate",), ("--from", "note", "--to", "table", "--rows", "0,x")])
def test_faults_of_the_options_are_told_before_the_rows_are_read(
    run: Any, tmp_path: Path, way: tuple[str, ...]
) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("a,b\n1,2,3\n")
    done = run("retrieve", broken, *way, "--space", "cube", "--device", "gpu")
    assert done.exit_code == 2
    assert "space must be" in done.stderr
    assert "device must be" in done.stderr
    assert "broken.csv" not in done.stderr


def test_what_does_not_fit_a_saved_retriever_is_told(run: Any, files: Path, finder: Path) -> None:
    def said(*args: object) -> str:
        done = run("retrieve", files / "test.csv", "--model", finder, *args)
        assert done.exit_code == 2
        return str(done.stderr)

    assert "only --query or --rows go with it" in said("--evaluate")
    question = ("--from", "note", "--to", "table", "--query", "red")
    ignored = ("--seed", 4), ("--schema", "nofile.yaml"), ("--target", "zzz"), ("--split-column", "q"), ("--epochs", 3)
    for option in ignored:
        assert f"only --query or --rows go with it; got {option[0]}" in said(*question, *option)
    assert "--variant must go with a named data set" in said(*question, "--variant", "v")
    assert "a table cannot be typed" in said("--from", "table", "--to", "note", "--query", "red")
    assert "must be row numbers from 0 to 29" in said("--from", "table", "--to", "note", "--rows", "30")


def test_a_named_data_set_brings_its_own_columns(run: Any) -> None:
    done = run("retrieve", "glyphs", "--evaluate", "--target", "x")
    assert done.exit_code == 2
    assert "must not be given with the data set 'glyphs'" in done.stderr


@pytest.mark.parametrize("name", ["query", "rank", "similarity"])
def test_a_text_modality_of_any_name_has_a_key_of_its_own(run: Any, files: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine.csv"
    table = pd.read_csv(files / "mine.csv").rename(columns={"note": name})
    table.to_csv(mine, index=False)
    asked = ("--from", "table", "--to", name, "--rows", "3", "--k", 2)
    done = run("retrieve", mine, *IGNORE, *asked, "--json", *QUICK)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(t["query"], t["rank"]) for t in told] == [("3", 1), ("3", 2)]
    assert all(isinstance(t["similarity"], float) for t in told)
    assert [t[f"text_{name}"] for t in told] == [table[name][t["row"]] for t in told]
    lines = run("retrieve", mine, *IGNORE, *asked, *QUICK).stdout.splitlines()
    assert lines[0].split() == ["query", "rank", "id", "row", "similarity", f"text_{name}"]


def test_help_says_what_options_do_here(run: Any) -> None:
    told = " ".join(run("retrieve", "--help").stdout.replace("│", " ").split())
    assert "What to predict" not in told
    assert "15 to 60" not in told
    assert "at most (40)" in told
