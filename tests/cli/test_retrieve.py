"""`profuse retrieve`: questions, measures, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
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
        found = [w[2:] for w in words if w[:2] == way]
        assert [w[0] for w in found] == ["contrastive", "linear", "ridge", "chance"]
        assert sum("(used)" in w for w in found) == 1
    assert "is used: its mean reciprocal rank on" in done.stderr
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
    assert {r["method"] for r in rows} == {"contrastive", "linear CCA", "ridge"}
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
        ((), "say --evaluate, or ask by --query or --rows, or name --out or --index"),
        (("--query", "x"), "--from and --to must be named with a question"),
        (("--from", "note", "--to", "table", "--query", "x", "--evaluate"), "must come one at a time"),
        (("--from", "note", "--to", "table", "--rows", "0", "--query", "x"), "must come one at a time"),
        (("--evaluate", "--space", "cube"), "space must be"),
        (("--evaluate", "--variant", "sans"), "variant must go with a named data set"),
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

    assert "only --query, --rows or --index go with it" in said("--evaluate")
    question = ("--from", "note", "--to", "table", "--query", "red")
    ignored = ("--seed", 4), ("--schema", "nofile.yaml"), ("--target", "zzz"), ("--split-column", "q"), ("--epochs", 3)
    for option in ignored:
        assert f"only --query, --rows or --index go with it; got {option[0]}" in said(*question, *option)
    assert "variant must go with a named data set" in said(*question, "--variant", "v")
    assert "a table cannot be typed" in said("--from", "table", "--to", "note", "--query", "red")
    assert "must be row numbers from 0 to 29" in said("--from", "table", "--to", "note", "--rows", "30")


def test_a_named_data_set_brings_its_own_columns(run: Any) -> None:
    done = run("retrieve", "glyphs", "--evaluate", "--target", "x")
    assert done.exit_code == 2
    assert "must not be given with the named data set 'glyphs'" in done.stderr


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


class TestAnIndex:
    ASK = ("--from", "note", "--query", "alpha beta gamma one", "--k", 3, "--json")

    @pytest.fixture
    def kept(self, run: Any, files: Path, finder: Path, tmp_path: Path) -> Path:
        done = run("retrieve", files / "mine.csv", "--to", "table", "--model", finder, "--index", tmp_path / "kept")
        assert done.exit_code == 0, done.stderr
        assert "Index: " in done.stderr
        assert "(90 items)" in done.stderr
        assert done.stdout == ""
        return tmp_path / "kept"

    def test_is_asked_without_the_table_it_was_made_from(self, run: Any, files: Path, finder: Path, kept: Path) -> None:
        told = json.loads(run("retrieve", "--index", kept, *self.ASK).stdout)
        again = run("retrieve", files / "mine.csv", "--to", "table", "--model", finder, *self.ASK)
        assert [t["id"] for t in told] == [t["id"] for t in json.loads(again.stdout)]
        assert all("note" not in t for t in told)

    def test_is_asked_by_rows_of_another_table(self, run: Any, files: Path, kept: Path) -> None:
        asked = ("--from", "note", "--rows", "0,5", "--k", 2, "--json")
        told = json.loads(run("retrieve", files / "test.csv", "--index", kept, *asked).stdout)
        assert [t["query"] for t in told] == ["0", "0", "5", "5"]
        assert {t["id"] for t in told} <= set(pd.read_csv(files / "mine.csv")["row id"])

    def test_grows(self, run: Any, files: Path, kept: Path) -> None:
        done = run("retrieve", files / "test.csv", "--index", kept, "--add")
        assert done.exit_code == 0, done.stderr
        assert "(120 items, 30 of them new)" in done.stderr
        told = json.loads(run("retrieve", "--index", kept, *self.ASK[:-2], 120, "--json").stdout)
        every = [*pd.read_csv(files / "mine.csv")["row id"], *pd.read_csv(files / "test.csv")["row id"]]
        assert sorted(t["id"] for t in told) == sorted(every)
        assert sorted(t["row"] for t in told) == list(range(120))
        again = run("retrieve", files / "test.csv", "--index", kept, "--add")
        assert again.exit_code == 2
        assert "must have an id of its own" in again.stderr

    def test_is_made_and_asked_at_once(self, run: Any, files: Path, tmp_path: Path) -> None:
        asked = ("--from", "note", "--to", "table", "--rows", "3", "--k", 2, "--json")
        done = run("retrieve", files / "mine.csv", *IGNORE, *QUICK, *asked, "--index", tmp_path / "i")
        assert done.exit_code == 0, done.stderr
        assert len(json.loads(done.stdout)) == 2
        assert (tmp_path / "i" / "model.json").is_file()

    @pytest.mark.parametrize(
        ("args", "told"),
        [
            (("mine.csv", "--evaluate"), "--evaluate without --index"),
            (("mine.csv", "--model", "finder"), "is used as it is, with the retriever in it; got --model"),
            (("mine.csv", "--epochs", 3), "is used as it is, with the retriever in it; got --epochs"),
            (("--to", "note", "--from", "table", "--query", "x"), "finds 'table'; got 'note'"),
            (("--query", "x"), "--from"), (("--from", "note"), "--from"), (("--add",), "DATA"),
            (("--from", "note", "--rows", "0"), "DATA"), (("mine.csv",), "must go with --add or --rows"),
            (("mine.csv", "--add", "--rows", "0", "--from", "note"), "--add and --rows must come one at a time"),
            (("--from", "nte", "--query", "x"), "Did you mean 'note'"),
            (("nofile.csv", "--add"), "nofile.csv"),
        ],
    )  # fmt: skip
    def test_that_cannot_be_used_so_is_told_and_stays_as_it_is(
        self, run: Any, files: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[Any, ...], told: str
    ) -> None:
        monkeypatch.chdir(files)
        before = {p.name: p.read_bytes() for p in kept.iterdir()}
        done = run("retrieve", *args, "--index", kept)
        assert done.exit_code == 2, (done.stdout, done.stderr)
        assert told in done.stderr
        assert {p.name: p.read_bytes() for p in kept.iterdir()} == before

    def test_that_is_not_there_is_told(self, run: Any, files: Path, tmp_path: Path) -> None:
        done = run("retrieve", "--index", tmp_path / "none", "--from", "note", "--query", "x")
        assert done.exit_code == 2
        assert "must be given where there is no saved index" in done.stderr
        done = run("retrieve", files / "mine.csv", "--index", tmp_path / "none", "--to", "table", "--add")
        assert "--add" in done.stderr
        done = run("retrieve", files / "mine.csv", "--index", tmp_path / "none")
        assert "must be named with --index" in done.stderr
        assert not (tmp_path / "none").exists()

    def test_does_not_take_the_place_of_a_retriever(self, run: Any, files: Path, finder: Path) -> None:
        before = (finder / "model.json").read_bytes()
        done = run("retrieve", files / "mine.csv", "--to", "table", "--index", finder)
        assert done.exit_code == 2
        assert "it holds a saved retriever" in done.stderr
        assert (finder / "model.json").read_bytes() == before


@pytest.mark.slow
def test_a_retriever_of_a_named_data_set_is_asked_with_a_table(run: Any, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    mine = tmp_path / "mine.csv"
    mine.write_text("text,picture\n" + "".join(f"CAPITAL LETTER {c},{i}.png\n" for i, c in enumerate("ABCD")))
    out = tmp_path / "finder"
    learn = ("--from", "text", "--to", "picture", "--method", "cca", "--out", out)
    assert run("retrieve", "glyphs", *learn).exit_code == 0
    for way in (("text", "picture", "LETTER A"), ("picture", "text", str(tmp_path / "0.png"))):
        asked = ("--from", way[0], "--to", way[1], "--query", way[2], "--k", 2, "--model", out, "--json")
        done = run("retrieve", mine, *asked)
        assert done.exit_code == 0, done.stderr
        told = json.loads(done.stdout)
        assert [t["rank"] for t in told] == [1, 2]
        assert told[0]["text"].startswith("CAPITAL LETTER ")
    mine.write_text("words,photo\na,0.png\n")
    done = run("retrieve", mine, *asked)
    assert done.exit_code == 2
    assert "a table must have columns for 'text', 'picture'" in done.stderr or "'picture'" in done.stderr


@pytest.mark.parametrize("method", ["cca", "ridge"])
def test_a_linear_method_can_be_asked_for(run: Any, files: Path, method: str) -> None:
    done = run("retrieve", files / "mine.csv", *IGNORE, "--evaluate", "--method", method, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert {t["method"] for t in told if t["used"]} == {{"cca": "linear CCA"}.get(method, method)}
    assert "contrastive" not in {t["method"] for t in told}


def test_help_says_what_options_do_here(run: Any) -> None:
    told = " ".join(run("retrieve", "--help").stdout.replace("│", " ").split())
    assert "What to predict" not in told
    assert "30 to 100" not in told
    assert "at most 4,000 gradient steps (40)" in told
