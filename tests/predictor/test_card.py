"""The card that is saved with a model: every figure is the model's own, and no text of the data is markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostile import HOSTILE, STEERING
from made_predictors import KINDS, NETWORKS, PORTFOLIO, TARGETS, data, labelled, predictor, prepared
from markdown_it import MarkdownIt

import profuse
from profuse._folder import digest_of
from profuse.data.split import Split
from profuse.data.target import TargetCodec
from profuse.errors import CheckpointError
from profuse.models.options import ModelOptions
from profuse.predictor import ClassicalPredictor, NetworkPredictor, PortfolioPredictor, Predictor, load_model
from profuse.predictor.card import Blank, Card, Section, Table
from profuse.predictor.described import card_of
from profuse.predictor.portfolio_card import logarithms_of
from profuse.predictor.trained import TrainedOn
from profuse.training.fitting import fit_model
from profuse.training.options import TrainOptions


def section(card: Card, title: str) -> Section:
    return next(s for s in card.sections if s.title == title)


def table(card: Card, title: str, first: str) -> list[tuple[str, ...]]:
    """The rows of the table of a section whose first column is `first`."""
    return [
        row
        for block in section(card, title).blocks
        if isinstance(block, Table) and block.columns[0] == first
        for row in block.rows
    ]


def said(card: Card, title: str) -> str:
    return " ".join(block for block in section(card, title).blocks if isinstance(block, str))


def trained(kind: str, task: str) -> Predictor:
    """A predictor that knows what it was fitted to."""
    made = predictor(kind, task)
    if made.trained_on is not None:
        return made
    ready = prepared(task)
    rows = np.concatenate([ready.split.train, ready.split.valid])
    return made.with_trained_on(TrainedOn.of(ready.dataset, ready.codec, seed=0, rows=rows, n_validation=30))


@pytest.mark.parametrize("task", list(TARGETS))
@pytest.mark.parametrize("kind", [*NETWORKS, PORTFOLIO, "gradient_boosting", "linear", "trivial"])
class TestEveryPredictor:
    @pytest.mark.slow
    def test_a_folder_has_a_card_which_stays_when_it_is_saved_again(self, kind: str, task: str, tmp_path: Path) -> None:
        made = trained(kind, task)
        made.save(tmp_path / "m")
        text = (tmp_path / "m" / "card.md").read_text()
        assert text == card_of(made).markdown()
        again = load_model(tmp_path / "m")
        assert again.trained_on == made.trained_on
        again.save(tmp_path / "again")
        assert (tmp_path / "again" / "card.md").read_text() == text

    def test_its_figures_are_those_of_the_model(self, kind: str, task: str) -> None:
        made = trained(kind, task)
        card, rows = card_of(made), labelled(task)[:120]
        modalities = table(card, "What it predicts", "modality")
        assert [row[0] for row in modalities] == list(made.modalities)
        assert all(made.pipeline.specs[row[0]].kind == row[1] for row in modalities)
        there = {"note": rows["note"].notna().sum(), "table": rows[["x", "colour"]].notna().any(axis=1).sum()}
        assert [row[4] for row in modalities] == [f"{there[n]} ({100 * there[n] / 120:.1f} %)" for n in made.modalities]
        assert f"{made.n_parameters:,} numbers were learned." in said(card, "How it was made")
        assert said(card, "What it was trained on").startswith("120 rows of 'table'")
        target = rows[list(TARGETS[task])]
        if made.task == "regression":
            shown = {row[0]: row[1:] for row in table(card, "What it was trained on", "predicted number")}
            for name in TARGETS[task]:
                quantiles = np.quantile(target[name], [0, 0.25, 0.5, 0.75, 1])
                np.testing.assert_allclose([float(v) for v in shown[name]], quantiles, rtol=1e-3)
            return
        what = "label" if made.task == "multilabel" else "class"
        counts = {row[0]: row[1:] for row in table(card, "What it was trained on", what)}
        for name in made.classes:
            n = target[name].sum() if made.task == "multilabel" else (target.iloc[:, 0] == name).sum()
            assert counts[str(name)] == (f"{n}", f"{100 * n / 120:.1f} %")

    @pytest.mark.slow
    def test_an_older_folder_has_a_card_that_says_what_is_not_known(self, kind: str, task: str, tmp_path: Path) -> None:
        trained(kind, task).save(tmp_path / "m")
        (tmp_path / "m" / "card.md").unlink()
        path = tmp_path / "m" / "model.json"
        facts = json.loads(path.read_text())
        del facts["trained_on"]
        facts["digests"]["model.json"] = digest_of(facts)
        path.write_text(json.dumps(facts))
        old = load_model(tmp_path / "m")
        assert old.trained_on is None
        card = card_of(old)
        assert said(card, "What it was trained on") == "Not known: the model was saved without it."
        assert {row[4] for row in table(card, "What it predicts", "modality")} <= {"not known"}
        old.save(tmp_path / "m")  # it may be replaced, and has a card then
        assert (tmp_path / "m" / "card.md").read_text() == card.markdown()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in NETWORKS and k != PORTFOLIO])
def test_a_classical_model_names_itself_and_claims_no_score(kind: str) -> None:
    card = card_of(predictor(kind, "binary"))
    assert f"One classical model: {kind!r}." in said(card, "How it was made")
    assert said(card, "Scores of training") == "Not measured: no score was kept of this model."


def test_a_network_tells_its_epoch_its_validation_score_and_its_temperature() -> None:
    made = predictor("network", "binary")
    assert isinstance(made, NetworkPredictor)
    assert made.history is not None
    card = card_of(made)
    scores = said(card, "Scores of training")
    assert f"Validation accuracy {made.history.best.valid_score:.4f}, without an interval." in scores
    assert f"temperature {float(made.model.head.temperature):.4f}." in scores
    how = said(card, "How it was made")
    assert f"epoch {made.history.best_epoch} was kept" in how or made.history.best_epoch == 0
    assert "fusion 'concat' at the feature level, rounds 1, width 8, 2 models in one" in how
    options = {row[:2]: row[2] for row in table(card, "How it was made", "of")}
    assert options == {
        ("model", "fusion"): "concat", ("model", "width"): "8", ("model", "members"): "2", ("training", "epochs"): "2",
    }  # fmt: skip


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_portfolio_tells_its_members_and_its_held_out_score(task: str) -> None:
    made = predictor(PORTFOLIO, task)
    assert isinstance(made, PortfolioPredictor)
    card = card_of(made)
    rows = {row[0]: row[1:] for row in table(card, "How it was made", "model")}
    assert rows.keys() == {m.name for m in made.members}
    for m in made.members:
        assert rows[m.name][0] == f"{100 * m.weight:.1f} %"
        assert float(rows[m.name][1]) == pytest.approx(m.score, rel=1e-3)
        assert float(rows[m.name][2]) == pytest.approx(m.loss, rel=1e-3)
    by_pattern = {row[0]: row[1] for row in table(card, "How it was made", "a row that lacks")}
    assert list(by_pattern) == ["note", "table"]
    assert made.patterns == ((), ("note",), ("table",))
    for i, lacks in enumerate(made.patterns[1:], start=1):
        told = dict(re.findall(r"(.+?) \((\S+) %\)(?:, |$)", by_pattern[", ".join(lacks)]))
        assert {n: float(p) for n, p in told.items()} == {
            m.name: pytest.approx(100 * w, abs=0.051) for m, w in zip(made.members, made.weights[i], strict=True) if w
        }
    scores = said(card, "Scores of training")
    found = re.search(r"Held-out \S+ (\S+) \(95 % interval (\S+) to (\S+)\) on 120 rows", scores)
    assert found is not None
    assert [float(x) for x in found.groups()] == pytest.approx(made.about["score"], abs=1e-3)
    assert (f"temperature {made.temperature:.4f}" in scores) == (task != "regression")
    assert ("portfolio", "folds", "2") in table(card, "How it was made", "of")


def test_models_that_have_learned_a_logarithm_are_named_where_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    made = predictor(PORTFOLIO, "regression")
    assert isinstance(made, PortfolioPredictor)
    assert logarithms_of(made) == ""
    of = next(i for i, p in zip(made.member_of, made.predictors, strict=True) if isinstance(p, ClassicalPredictor))
    name = made.members[of].name
    alone = next(p for p in made.predictors if isinstance(p, ClassicalPredictor))
    monkeypatch.setattr(type(alone.model), "of_logarithms", True)
    even = np.full_like(made.weights, 1 / len(made.members))
    told = f"The logarithm of the target, which is skewed and never below 0, was learned, too, by {name}."
    assert told in said(card_of(replace(made, weights=even)), "How it was made")
    assert "logarithm of the target" in said(card_of(alone), "How it was made")
    even[:, of] = 0.0
    assert logarithms_of(replace(made, weights=even)) == ""


def test_a_model_that_counts_only_where_a_modality_is_missing_is_one_of_those_that_predict() -> None:
    made = predictor(PORTFOLIO, "binary")
    assert isinstance(made, PortfolioPredictor)
    first = tuple(m.model_copy(update={"weight": float(i == 0)}) for i, m in enumerate(made.members))
    for other, n_kept in ((0, 1), (1, 2)):
        weights = np.zeros_like(made.weights)
        weights[0, 0] = weights[1, other] = weights[2, 0] = 1.0
        card = card_of(replace(made, members=first, weights=weights))
        assert f"A portfolio: {n_kept} of 2 models predict together" in said(card, "How it was made")
        assert table(card, "How it was made", "a row that lacks")[0] == ("note", f"{first[other].name} (100.0 %)")


def test_a_decision_is_told_in_words() -> None:
    made = predictor("linear", "binary")
    assert "answers 'small' where its probability is at least 0.2000, else 'big'" in said(
        card_of(made.deciding(threshold=0.2)), "What it predicts"
    )
    costs = card_of(made.deciding(cost={"small": {"big": 5}}))
    assert "smallest expected cost" in said(costs, "What it predicts")
    assert table(costs, "What it predicts", "true class") == [
        ("big", "0.0000", "1.0000"),
        ("small", "5.0000", "0.0000"),
    ]


def test_limits_follow_from_counts() -> None:
    made = trained("linear", "binary")
    assert made.trained_on is not None
    limits = said(card_of(made), "Limits")
    assert "It has learned from 120 rows" in limits
    assert "Every training row had 'table'" in limits
    assert "'note'" not in limits
    assert "Rows were taken for independent" in limits
    many = made.trained_on.model_copy(
        update={"n_rows": 5_000, "counts": (4_993, 7), "n_groups": 40, "by_time": True, "weighted": True}
    )
    limits = said(card_of(made.with_trained_on(many)), "Limits")
    assert "learned from" not in limits
    assert "Few training rows: 7 of 'small'." in limits
    assert "independent" not in limits
    assert "no times" not in limits
    assert "Learning was weighted" in limits


def test_groups_times_and_weights_are_told() -> None:
    dataset, codec = data("binary")[0], prepared("binary").codec
    n = len(dataset)
    facts = TrainedOn.of(
        replace(dataset, groups=np.arange(n) % 7, times=np.arange(n), weights=np.ones(n), name="/home/me/mine.csv"),
        codec, seed=3,
    )  # fmt: skip
    assert (facts.n_groups, facts.by_time, facts.weighted, facts.seed, facts.data) == (7, True, True, 3, "mine.csv")
    x = labelled("binary")["x"]
    assert facts.ranges == {"table": {"x": (x.min(), x.max())}}
    told = said(card_of(predictor("linear", "binary").with_trained_on(facts)), "What it was trained on")
    assert "(7 groups); they had times" in told
    assert "different weights" in told


def test_the_rows_that_were_drawn_for_preprocessing_stand_beside_those_trained_on() -> None:
    made = predictor("network", "binary")
    base = trained("network", "binary").trained_on
    assert base is not None
    drawn = base.model_copy(update={"options": {**base.options, "stream": {"sample_rows": 100}}})
    card = card_of(made.with_trained_on(drawn))
    assert "linear paths were learned from 100 of them, drawn at random." in said(card, "What it was trained on")
    assert "drawn at random" not in said(card_of(made.with_trained_on(base)), "What it was trained on")
    assert "stream" not in {row[0] for row in table(card, "How it was made", "of")}


def test_paths_of_the_machine_are_not_told() -> None:
    base = predictor("network", "binary")
    assert isinstance(base, NetworkPredictor)
    options = base.model_options.model_copy(update={"encoder_options": {"note": {"path": "/home/me/secret/minilm"}}})
    text = card_of(replace(base, model_options=options)).markdown()
    assert "minilm" in text
    assert "secret" not in text


def test_a_card_is_no_part_of_the_model(tmp_path: Path) -> None:
    made = predictor("linear", "binary")
    made.save(tmp_path / "m")
    (tmp_path / "m" / "card.md").write_text("Filled in by hand.")
    assert load_model(tmp_path / "m").modalities == made.modalities


def test_counts_of_other_classes_are_refused(tmp_path: Path) -> None:
    made = trained("linear", "binary")
    assert made.trained_on is not None
    made.with_trained_on(made.trained_on.model_copy(update={"counts": (1, 2)})).save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    facts = json.loads(path.read_text())
    facts["trained_on"]["counts"] = [1, 2, 3]
    facts["digests"]["model.json"] = digest_of(facts)
    path.write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="trained_on must count the rows of each class"):
        load_model(tmp_path / "m")


def shape(text: str) -> list[str]:
    return [
        t.type
        for token in MarkdownIt("commonmark").enable("table").parse(text)
        for t in [token, *(token.children or ())]
    ]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_are_text(name: str) -> None:
    made = predictor("linear", "binary")
    assert made.schema is not None

    def named(word: str) -> str:
        codec = TargetCodec("binary", np.array([word, f"{word}2"]), names=(word,))
        facts = TrainedOn.of(data("binary")[0], prepared("binary").codec, seed=0).model_copy(
            update={"data": word, "options": {word: {word: word}}, "counts": (60, 90)}
        )
        of = made.schema.modalities["table"].model_copy(update={"columns": (word, "b")})  # type: ignore[union-attr]
        schema = made.schema.model_copy(  # type: ignore[union-attr]
            update={"modalities": {**made.schema.modalities, "table": of}}  # type: ignore[union-attr]
        )
        changed = replace(made, codec=codec, schema=schema, trained_on=facts)  # type: ignore[type-var]
        return card_of(changed).markdown()

    text = named(name)
    assert shape(text) == shape(named("zname"))
    assert not any(sign in text for sign in STEERING)
    assert not re.search(r"(?<!\\)<", text)


def test_a_line_of_each_sort_is_what_it_should_be_in_markdown() -> None:
    card = Card("x", "Lede.", (Section("S", ("One.", Table(("a", "b"), (("c", "1"),), title="T"), Blank("Who?"))),))
    assert card.markdown() == (
        "# Model card: x\n\nLede.\n\n## S\n\n- One.\n\n**T**\n\n| a | b |\n| --- | ---: |\n| c | 1 |\n\n"
        "- **To be filled in.** Who?\n"
    )


@pytest.mark.slow
def test_what_fit_makes_knows_its_rows(tmp_path: Path) -> None:
    rows = labelled("multiclass")
    made = profuse.fit(
        rows, "grade", preset="quick", folds=2, n_jobs=1, members=[], train={"seed": 4},
    )  # fmt: skip
    facts = made.trained_on
    assert facts is not None
    assert (facts.n_rows, facts.n_folds, facts.seed) == (150, 2, 4)
    assert facts.counts == tuple((rows["grade"] == c).sum() for c in made.classes)
    assert facts.options["portfolio"] == {"preset": "quick", "folds": 2}


def test_a_fit_counts_the_rows_that_it_sees_and_no_test_rows() -> None:
    ready = prepared("binary")
    cut = replace(ready, split=Split(np.arange(0, 50), np.arange(50, 70), np.arange(70, 150)))
    made = fit_model(cut, ModelOptions(fusion="concat", width=8, members=1), TrainOptions(epochs=1, seed=2))
    facts = made.trained_on
    assert facts is not None
    assert (facts.n_rows, facts.n_validation, facts.seed) == (70, 20, 2)
    assert sum(facts.counts) == 70


def test_a_model_shows_its_card_in_a_notebook() -> None:
    made = predictor(next(iter(NETWORKS)), "binary")
    assert made._repr_html_() == card_of(made).html()
