"""A portfolio as a row of a comparison: what it learns from, how it is judged, told and kept."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product
from not_none import not_none

from profuse import compare
from profuse.comparison.compare import Comparison
from profuse.comparison.methods import methods_for
from profuse.comparison.time_left import TimeLeft
from profuse.data.split import make_split
from profuse.errors import ConfigError, UnknownNameError
from profuse.models.options import ModelOptions
from profuse.portfolio.members import Member
from profuse.predictor import PortfolioPredictor
from profuse.report.words import Words
from profuse.schema import SplitOptions

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"rounds": (), "retrain_without": False, "model": {"members": 1, "width": 8}, "n_jobs": 1}


def few(*args: Any, **more: Any) -> list[Member]:
    return [Member("linear", ("a", "b"), "linear"), Member("all", ("a", "b"), "yardstick")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    out = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("profuse.portfolio.fitting.members_of", few)
        return compare(
            make_product(240), portfolio="quick", seeds=1, train={"epochs": 1}, metric="accuracy", out=out, **QUICK
        )


def test_it_stands_in_table_report_and_models(found: Comparison, tmp_path: Path) -> None:
    row = found.summary().row("portfolio")
    assert (row.method.role, row.method.family) == ("portfolio", "portfolio")
    assert row.method.modalities == ["a", "b"]
    assert row.valid is not None
    model = found.predictor("portfolio")
    assert isinstance(model, PortfolioPredictor)
    page = found.report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Models that predict together" in page
    answers = {a["question"]: a["answer"] for a in Words(found.results, found.summary()).answers()}
    answer = answers["What would 'profuse fit' make of it?"]
    assert "several models that predict together, reaches" in answer
    told = {m.name: m.weight for m in model.members}
    assert {m.member: m.weight for m in found.results.members} == told
    for name, weight in told.items():
        assert (f"{name} ({100 * weight:.0f}" in answer) is (weight >= 0.005)
    kinds = {c.against for c in found.summary().comparisons if c.kind == "portfolio"}
    verdict = found.summary().verdict
    assert kinds == {verdict.fusion, verdict.classical, verdict.single}


def test_no_verdict_takes_it_for_a_fusion(found: Comparison) -> None:
    assert found.summary().verdict.fusion != "portfolio"
    assert found.summary().verdict.classical != "portfolio"


def test_test_rows_have_no_part_in_it(found: Comparison) -> None:
    folder = next((found.out / "work").glob("portfolio-seed0-*"))  # type: ignore[operator]
    facts = json.loads((folder / "result.json").read_text())
    model = found.predictor("portfolio")
    assert isinstance(model, PortfolioPredictor)
    assert model.about["n_rows"] == facts["n_rows"]["train"] + facts["n_rows"]["valid"]
    with np.load(folder / "arrays.npz") as arrays:
        said = model.predict_proba(make_product(240).rows(np.array(facts["test_rows"])))
        np.testing.assert_allclose(said, arrays["prediction"], atol=1e-6)


def test_its_validation_score_is_of_fits_that_have_not_learned_from_those_rows(found: Comparison) -> None:
    """Most fits have learned from a row that is not held out: together they are better on it."""
    frame = found.frame.query("method == 'portfolio' and metric == 'log_loss'").set_index("split").value
    valid = make_split(make_product(240), SplitOptions(), seed=0).valid
    learned = found.predictor("portfolio").evaluate(make_product(240).rows(valid)).values["log_loss"]
    assert frame["valid"] > learned + 0.02


def test_what_hiding_a_modality_costs_it_is_told(found: Comparison) -> None:
    lost = {a.modality: a.full - a.without for a in found.results.ablation if a.method == "portfolio"}
    assert set(lost) == {"a", "b"}


def test_a_second_run_keeps_it_and_another_preset_or_metric_does_not(found: Comparison, tmp_path: Path) -> None:
    out = Path(
        shutil.copytree(not_none(found.out), tmp_path / "o")
    )  # other tests read its models, which another metric replaces

    class EnoughError(Exception):
        """Nothing need be fitted here."""

    def missing(**options: Any) -> int:
        """How many fits a run would do."""

        def look(event: Any) -> None:
            if event.stage == "prepare":
                raise EnoughError(event.n_total - event.n_done)

        try:
            compare(make_product(240), seeds=1, train={"epochs": 1}, out=out, on_event=look, **options, **QUICK)
        except EnoughError as left:
            return int(left.args[0])
        return 0

    assert missing(portfolio="quick", metric="accuracy") == 0
    assert missing(portfolio="none", metric="accuracy") == 0
    assert missing(portfolio="best", metric="accuracy") == 1
    chosen = missing(portfolio="none", metric="log_loss")  # classical models of one modality
    assert missing(portfolio="quick", metric="log_loss") == chosen + 1


def test_presets_and_none() -> None:
    def names(portfolio: Any) -> list[str]:
        made, _ = methods_for("ab", (), rounds=(), base=ModelOptions(), task="binary", portfolio=portfolio)
        return [m.name for m in made]

    assert "portfolio" not in names("none")
    assert names("best").count("portfolio") == 1
    with pytest.raises(ConfigError, match="portfolio must be 'auto', 'none', 'quick', 'default' or 'best'"):
        compare(make_product(60), portfolio="all")


def test_the_time_that_is_left_counts_its_folds() -> None:
    made, _ = methods_for("ab", (), rounds=(), base=ModelOptions(), task="binary", portfolio="default")
    left, without = (TimeLeft([(m, 0) for m in made if keep or m.portfolio is None], 1) for keep in (True, False))
    for method in made:
        if method.portfolio is None and method.name not in ("concat", "mean_logits"):
            for of in (left, without):
                of.finished(method.name, 0, 10.0)
    more, less = left.seconds(), without.seconds()
    assert more is not None
    assert less is not None
    assert more - less == pytest.approx(5 * (20.0 + 5 * 10.0), rel=0.5)


def test_any_two_methods_can_be_held_against_each_other(found: Comparison) -> None:
    d = found.difference("portfolio", "trivial")
    back = found.difference("trivial", "portfolio")
    assert (d.value, d.low) == pytest.approx((-back.value, -back.high))
    scores = found.frame.query("split == 'test' and metric == 'accuracy'").set_index("method").value
    assert d.value == pytest.approx(scores["portfolio"] - scores["trivial"])
    assert d.p is not None
    with pytest.raises(UnknownNameError, match="portfolioo"):
        found.difference("portfolioo", "trivial")


def test_the_table_as_latex_has_a_line_a_method_and_no_sign_that_ends_it(found: Comparison) -> None:
    lines = found.latex().splitlines()
    body = lines[4:-2]
    assert len(body) == len(found.summary().rows)
    assert all(line.endswith(r" \\") and line.count("&") == 3 for line in body)
    assert not re.search(r"(?<!\\)[%_#]", "".join(body))
    assert (lines[0], lines[-1]) == (r"\begin{tabular}{lrrr}", r"\end{tabular}")
