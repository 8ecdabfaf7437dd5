"""`profuse card`: it prints what stands in the folder, measures on rows, and writes pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import profuse
from profuse.report import card_html, model_card


@pytest.fixture(scope="module")
def model(run: Any, files: Path) -> Path:
    """A saved network of `my label`."""
    out = files / "carded"
    args = ("--schema", files / "schema.yaml", "--out", out, "--network", "--epochs", 2, "--width", 8)
    done = run("fit", files / "mine.csv", *args)
    assert done.exit_code == 0, done.stderr
    return out


def test_without_data_it_prints_the_card_of_the_folder(model: Path, run: Any) -> None:
    done = run("card", model)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (model / "card.md").read_text(encoding="utf-8")


def test_a_folder_without_a_card_has_one_made(model: Path, run: Any) -> None:
    text = (model / "card.md").read_text(encoding="utf-8")
    (model / "card.md").unlink()
    try:
        assert run("card", model).stdout == text
    finally:
        (model / "card.md").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("suffix", [".html", ".md"])
def test_with_data_it_writes_what_python_makes(suffix: str, model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    out = tmp_path / f"card{suffix}"
    done = run("card", model, "--data", files / "test.csv", "--seed", 2, "--ask", "subsets", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"Card: {out}\n"
    predictor = profuse.load_model(model)
    rows = predictor.read(files / "test.csv", need_target=True)
    made = model_card(predictor, rows, questions=["subsets"], seed=2)
    assert out.read_text(encoding="utf-8") == (card_html(made) if suffix == ".html" else made.markdown())
    assert "30 rows of" in made.markdown()
    assert str(files) not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--out", "card.txt"), "must end in .html or .md"),
        (("--group", "colour"), "must go with --data"),
        (("--ask", "subsets"), "must go with --data"),
        (("--target", "my label"), "must go with --data"),
        (("--data", "none.csv"), "none.csv"),
        (("--data", "test.csv", "--ask", "subset"), "subset"),
    ],
)
def test_what_cannot_be_is_refused(
    args: tuple[str, ...], told: str, model: Path, run: Any, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    done = run("card", model, *args)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_page_is_not_written_over_what_is_read(model: Path, run: Any) -> None:
    done = run("card", model, "--out", model / "card.md")
    assert done.exit_code == 2
    assert "must not be, or lie in, what is read" in done.stderr
