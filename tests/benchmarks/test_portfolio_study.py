"""The study of portfolios: what it measures, and the table it makes of that."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

study_module = importlib.import_module("portfolios")


@pytest.fixture
def study() -> Any:
    return study_module


def made(study: Any, seed: int, *, good: float, metric: str = "accuracy") -> Any:
    rows = {"portfolio": [1.0, good, 1.0, 0.0] * 20, "linear": [1.0, 0.0, 1.0, 0.0] * 20}
    scores = {"portfolio": 0.5 + good / 4, "linear": 0.5, "net": 0.4}
    return study.Measured(
        data="made", seed=seed, n_rows=50, metric=metric, scores=scores,
        weights={"linear": 1.0}, best="linear", rows=rows, test_rows=list(range(80)),
        clusters=[str(i) for i in range(80)], seconds=2.0,
    )  # fmt: skip


def test_the_table_tells_the_difference_to_the_member_that_held_out_rows_found_best(study: Any) -> None:
    line = study.page([made(study, 0, good=1.0), made(study, 1, good=1.0)]).splitlines()[2]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["made", "50", "2", "accuracy", "0.750", "0.500 (linear)"]
    assert cells[6].startswith("+0.250 (")
    assert cells[7:] == ["0.500 (linear)", "2"]


def test_what_is_better_when_smaller_has_another_best(study: Any) -> None:
    line = study.page([made(study, 0, good=0.0, metric="log_loss")]).splitlines()[2]
    assert "0.400 (net)" in line


def test_one_fit_scores_the_portfolio_and_every_member_on_the_same_test_rows(
    study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from profuse.portfolio.members import Member

    monkeypatch.setitem(study.TASKS, "synthetic", 80)
    monkeypatch.setattr(
        "profuse.portfolio.fitting.members_of", lambda *args: [Member(n, ("a", "b"), n) for n in ("linear", "trivial")]
    )
    found = study.measure_one("synthetic", 0)
    assert set(found.scores) == {"portfolio", "linear", "trivial"}
    assert found.best == "linear"
    assert found.n_rows == 80
    assert len(found.rows["portfolio"]) == len(found.rows["linear"]) == len(found.test_rows)


def test_a_table_is_written_anew_and_the_rest_of_the_page_stays(study: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\nold\n<!-- end -->\nc\n", encoding="utf-8")
    study.write_table(page, "two", "new\n")
    assert page.read_text(encoding="utf-8") == (
        "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\nnew\n<!-- end -->\nc\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("|d|m|\n|-|-|\n|b|1|\n|c|2|\n", "|d|m|\n|-|-|\n|c|3|\n|a|4|\n", "|d|m|\n|-|-|\n|a|4|\n|b|1|\n|c|3|\n"),
        ("|d|m|\n|-|-|\n|b|1|\n", "|d|other|\n|-|-|\n|c|3|\n", "|d|other|\n|-|-|\n|c|3|\n"),
        ("### b\n\n1\n\n### c\n\n2\n", "### c\n\n3\n", "### b\n\n1\n\n### c\n\n3\n\n"),
    ],
    ids=["rows", "other heads", "sections"],
)
def test_what_a_page_says_of_other_data_stays(study: Any, tmp_path: Path, old: str, new: str, wanted: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"a\n<!-- t -->\n{old}<!-- end -->\nb\n", encoding="utf-8")
    study.write_table(page, "t", new)
    assert page.read_text(encoding="utf-8") == f"a\n<!-- t -->\n{wanted}<!-- end -->\nb\n"
