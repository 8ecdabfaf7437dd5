"""Whether groups are compared as they should be: against fairlearn, planted unfairness, and worlds without any."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, demographic_parity_difference, equalized_odds_difference
from made_groups import Sum, world
from made_predictors import labelled, predictor
from not_none import not_none
from sklearn.metrics import accuracy_score

from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import ConfigError, DataError, ProfuseWarning, UnknownNameError
from profuse.inspect import Answer, Estimate, ask
from profuse.inspect._group_scores import Resamples, calibration_errors
from profuse.inspect._groups import Grouping, groupings
from profuse.inspect._probe import probe
from profuse.inspect.audit import balancing_weights
from profuse.inspect.holm import holm
from profuse.metrics import metric
from profuse.schema import Task
from profuse.tokens import Raw


def audit(data: Dataset, **options: Any) -> Answer:
    return ask(Sum(data), data, "audit", **{"metric": "accuracy", **options})


def named(answer: Answer, name: str) -> Estimate:
    (found,) = (e for e in answer.estimates if e.name == name)
    return found


def answered(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns targets and answers as numbers of classes."""
    predictor = Sum(data)
    p = predictor.predict_encoded(predictor.encode(data))
    return predictor.codec.encode(not_none(data.target)), p.argmax(1)


# -- the oracle


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("values", [("f", "m"), ("f", "m", "d"), ("f", "m", None), ("f", "m", "d", "x", None)])
def test_figures_are_those_of_fairlearn(values: tuple[str, ...], seed: int) -> None:
    data = world(seed=seed, noisy=0.4, values=values)
    sex = not_none(data.modalities["cells"].frame)["sex"].astype(object).where(lambda s: s.notna(), "missing")
    true, said = answered(data)
    answer = audit(data, group="sex", n_resamples=20)
    by = MetricFrame(metrics=accuracy_score, y_true=true, y_pred=said, sensitive_features=sex)
    for group, score in by.by_group.items():
        e = named(answer, f"sex={group}")
        rest = (sex != group).to_numpy()
        assert e.score == pytest.approx(score)
        assert e.value == pytest.approx(score - (true == said)[rest].mean())
        assert e.n == (sex == group).sum()
    assert named(answer, "sex: best less worst").value == pytest.approx(by.difference())
    parity = demographic_parity_difference(true, said, sensitive_features=sex)
    odds = equalized_odds_difference(true, said, sensitive_features=sex)
    assert named(answer, "sex: selection rates").value == pytest.approx(parity)
    assert named(answer, "sex: equalised odds").value == pytest.approx(odds)


def test_of_several_classes_the_gap_is_the_largest_of_one_against_the_rest() -> None:
    data = world(noisy=0.5, classes=4, task="multiclass", values=("f", "m", "d"))
    sex = not_none(data.modalities["cells"].frame)["sex"]
    true, said = answered(data)
    answer = audit(data, group="sex", n_resamples=20)
    parity = [demographic_parity_difference(true == k, said == k, sensitive_features=sex) for k in range(4)]
    odds = [equalized_odds_difference(true == k, said == k, sensitive_features=sex) for k in range(4)]
    assert named(answer, "sex: selection rates").value == pytest.approx(max(parity))
    assert named(answer, "sex: equalised odds").value == pytest.approx(max(odds))


def test_crossed_groups_are_those_of_fairlearn() -> None:
    data = world(noisy=0.4)
    cells = not_none(data.modalities["cells"].frame)[["sex", "region"]]
    true, said = answered(data)
    answer = audit(data, group=["sex", "region"], n_resamples=20)
    by = MetricFrame(metrics=accuracy_score, y_true=true, y_pred=said, sensitive_features=cells)
    for (sex, region), score in by.by_group.items():
        assert named(answer, f"sex={sex} & region={region}").score == pytest.approx(score)
    crossed = cells["sex"] + cells["region"]
    odds = equalized_odds_difference(true, said, sensitive_features=crossed)
    assert named(answer, "sex x region: equalised odds").value == pytest.approx(odds)
    assert {"sex=f", "region=north"} <= {e.name for e in answer.estimates}


# -- what is planted is found, and nothing else


def test_a_group_with_noisy_labels_is_shown_to_be_served_worse() -> None:
    answer = audit(world(noisy=0.6), group="sex")
    worst = answer.estimates[0]
    assert worst.name == "sex=f"
    assert worst.high < 0
    assert {"sex=f", "sex=m", "sex: equalised odds"} <= set(not_none(answer.shown))
    assert answer.notes[0].startswith("Shown after Holm's correction for 3 comparisons: sex=f and sex=m (p ")
    assert answer.frame()["shown"].sum() == len(not_none(answer.shown))
    assert sum(line.endswith("  shown") for line in repr(answer).splitlines()) == len(not_none(answer.shown))
    named_calibration = named(answer, "sex=f: calibration"), named(answer, "sex=m: calibration")
    assert named_calibration[0].low > named_calibration[1].high  # too sure of labels that are noise


def test_a_group_that_lacks_a_modality_loses_nothing_by_hiding_it_and_the_modality_widens_the_gap() -> None:
    answer = audit(world(2_000, lacks_b=1.0), group="sex", metric="log_loss")
    assert "sex=f" in not_none(answer.shown)
    assert answer.estimates[0].name == "sex=f"
    costs = named(answer, "sex=f: without b")
    assert costs.high < 0  # hiding b costs the others, who have it
    assert costs.modalities == ("b",)
    gap_by_b, gap_by_a = named(answer, "sex: gap that b adds"), named(answer, "sex: gap that a adds")
    assert gap_by_b.low > 0
    assert gap_by_b.value == pytest.approx(named(answer, "sex: best less worst").value, abs=0.1)
    assert gap_by_a.value < gap_by_b.value


def test_costs_are_those_of_hiding_by_hand() -> None:
    data = world(noisy=0.5)
    answer, predictor = audit(data, group="sex", metric="log_loss", n_resamples=20), Sum(data)
    f = (not_none(data.modalities["cells"].frame)["sex"] == "f").to_numpy()
    lost = {}
    for name, some in (("f", f), ("m", ~f)):
        part = data.rows(np.flatnonzero(some))
        (lost[name],) = (
            e.value for e in ask(predictor, part, "importance", metric="log_loss").estimates if e.name == "b"
        )
    assert named(answer, "sex=f: without b").value == pytest.approx(lost["f"] - lost["m"])


WORLDS = [
    pytest.param("accuracy", "binary", 2, id="accuracy"),
    pytest.param("log_loss", "multiclass", 3, id="log loss", marks=pytest.mark.slow),
    pytest.param("auroc", "binary", 2, id="auroc", marks=pytest.mark.slow),
    pytest.param("mae", "regression", 1, id="mae", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "task", "classes"), WORLDS)
def test_where_nothing_is_unfair_little_is_shown(
    metric: str, task: Task, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What modalities have to do with it takes nine tenths of the time and has no part in what is shown."""

    def asked(seed: int) -> Answer:
        data = world(200, seed, classes=classes, task=task, values=("f", "m", "d"))
        return audit(data, group="sex", metric=metric, seed=seed, n_resamples=60)

    whole = asked(0)
    monkeypatch.setattr("profuse.inspect._probe.probe", lambda *given, **options: None)
    monkeypatch.setattr("profuse.inspect._group_lines.Lines._hidden", lambda *given: None)
    without = [asked(seed) for seed in range(100)]
    assert without[0].shown == whole.shown
    assert without[0].estimates == tuple(e for e in whole.estimates if not e.modalities)
    assert without[0].notes[0] == whole.notes[0]  # as many comparisons, of the same p
    alarms = sum(bool(answer.shown) for answer in without)
    assert alarms <= 9  # 5 are expected: more than 9 are 1 in 40


def test_that_there_are_more_groups_is_corrected_for() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    data = world(noisy=0.3)
    alone, many = audit(data, group="sex"), audit(data, group=["sex", "region", "age"])
    assert named(many, "sex=f") == named(alone, "sex=f")
    assert "for 3 comparisons" in alone.notes[0]
    assert "for 3 comparisons" not in many.notes[0]


def test_rows_of_one_person_are_not_independent() -> None:
    data = world(150, noisy=0.5)
    rows = np.repeat(np.arange(150), 9)
    many = data.rows(rows)
    alone, tied = audit(many, group="sex"), audit(replace(many, groups=rows), group="sex")
    one, other = named(alone, "sex=f"), named(tied, "sex=f")
    assert one.value == other.value
    assert other.high - other.low == pytest.approx(3 * (one.high - one.low), rel=0.25)
    assert "150 groups of rows" in tied.notes[-1]


def test_of_a_single_person_nothing_is_said() -> None:
    data = world(200, noisy=1.0)
    f = (not_none(data.modalities["cells"].frame)["sex"] == "f").to_numpy()
    answer = audit(replace(data, groups=np.where(f, 0, np.arange(200))), group="sex", metric="log_loss")
    assert not answer.shown
    assert named(answer, "sex=f").high == np.inf
    assert json.loads(answer.to_json())["estimates"][0]["high"] is None
    assert "sex=f is a single group of rows: nothing can be said of others like it." in answer.notes
    assert any(note.startswith("Whether a tells sex cannot be said") for note in answer.notes)


# -- numbers


def test_of_numbers_mean_error_and_rmse_are_told() -> None:
    data = world(noisy=-0.5, task="regression")
    predictor = Sum(data)
    errors = predictor.predict_encoded(predictor.encode(data))[:, 0] - not_none(data.target)
    sex = not_none(data.modalities["cells"].frame)["sex"].to_numpy()
    answer = audit(data, group="sex", metric="mae")
    for group in "fm":
        own = errors[sex == group]
        assert named(answer, f"sex={group}: mean error").value == pytest.approx(own.mean(), abs=1e-5)
        assert named(answer, f"sex={group}: RMSE").value == pytest.approx(np.sqrt((own**2).mean()), abs=1e-5)
    assert {"sex=f: mean error", "sex=m: mean error"} <= set(not_none(answer.shown))
    assert not any("odds" in e.name or "calibration" in e.name for e in answer.estimates)


def test_the_calibration_error_is_the_metric_less_what_few_rows_explain() -> None:
    data = world(noisy=0.5)
    predictor = Sum(data)
    p, true = predictor.predict_encoded(predictor.encode(data)), predictor.codec.encode(not_none(data.target))
    once = calibration_errors(p.max(1), p.argmax(1) == true, np.ones((1, len(p))))
    assert once[0] == pytest.approx(metric("ece")(true, p))
    weights = np.random.default_rng(0).integers(0, 3, (1, len(p)))
    drawn = np.repeat(np.arange(len(p)), weights[0])
    twice = calibration_errors(p.max(1), p.argmax(1) == true, weights)
    assert twice[0] == pytest.approx(metric("ece")(true[drawn], p[drawn]))
    sex = not_none(data.modalities["cells"].frame)["sex"].to_numpy()
    told = named(audit(data, group="sex"), "sex=f: calibration").value
    assert 0 < metric("ece")(true[sex == "f"], p[sex == "f"]) - told < 0.08


# -- which modality gives the group away


def test_a_modality_that_holds_the_group_gives_it_away() -> None:
    data = world()
    is_f = (not_none(data.modalities["cells"].frame)["sex"] == "f").to_numpy()
    b = np.concatenate(
        [data.modalities["b"].values, is_f[:, None] + 0.3 * np.random.default_rng(1).normal(size=(600, 1))], 1
    )

    class First(Sum):
        def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
            made = super().encode(dataset, kept)
            return {**made, "b": Raw(made["b"].values[:, :1], made["b"].present)}

    data = replace(data, modalities={**data.modalities, "b": replace(data.modalities["b"], values=b)})
    answer = ask(First(data), data, "audit", group="sex", metric="accuracy")
    tells = named(answer, "b tells sex")
    assert tells.value == pytest.approx(0.5, abs=0.1)
    assert tells.modalities == ("b",)
    assert abs(named(answer, "a tells sex").value) < 0.06
    assert named(answer, "a tells sex").low < 0.02
    assert not answer.shown  # to know the group is not to serve it worse


def test_the_column_itself_does_not_count_as_giving_itself_away() -> None:
    data = world()
    cells = not_none(data.modalities["cells"].frame)
    grouping = groupings(cells[["sex"]], least=20, crossed=False)[0]
    samples = Resamples(np.arange(len(data)), seed=0, n_resamples=50)
    measure, n = not_none(probe(data, "cells", grouping, samples, seed=0))
    assert n == len(data)
    assert abs(measure.value) < 0.08
    only = replace(data.modalities["cells"], values=cells[["sex"]])
    alone = replace(data, modalities={"cells": only})
    assert probe(alone, "cells", grouping, samples, seed=0) is None


@pytest.mark.slow
def test_intervals_of_how_well_a_group_is_given_away_cover_what_other_rows_would_give() -> None:
    """120 rows of 20 numbers, again and again: samples of rows that take the fits as given cover 87 %."""
    of_a = np.arange(120) % 10 < 3
    grouping = Grouping("site", ("site",), {"site=a": of_a, "site=b": ~of_a})
    samples = Resamples(np.arange(120), seed=0, n_resamples=100)
    ends = []
    for seed in range(200):
        values = np.random.default_rng(seed).normal(size=(120, 20))
        values[:, 0] += 0.7 * of_a
        data = {"x": ModalityData("vector", values, np.ones(120, dtype=bool))}
        made = Dataset("d", data, np.zeros(120), "regression")
        ends.append(not_none(probe(made, "x", grouping, samples, seed=seed))[0].interval(-1.0, 1.0))
    value, low, high = np.array(ends).T
    assert 0.93 <= np.mean((low <= value.mean()) & (value.mean() <= high)) <= 0.99


# -- groups


def test_groups_may_be_columns_arrays_or_frames() -> None:
    data = world(noisy=0.5)
    cells = not_none(data.modalities["cells"].frame)
    want = audit(data, group="sex")
    bare = replace(data, modalities={k: v for k, v in data.modalities.items() if k != "cells"})
    for group in (cells["sex"], {"sex": cells["sex"].to_numpy()}, cells[["sex"]]):
        told = audit(bare, group=group)
        assert [(e.name, e.value) for e in told.estimates] == [(e.name, e.value) for e in want.estimates]
    plain = audit(bare, group=cells["sex"].to_numpy())
    assert plain.estimates[0].name == "group=f"
    rows = np.random.default_rng(1).permutation(len(data))
    shuffled = audit(bare.rows(rows), group=cells["sex"].to_numpy()[rows])
    assert shuffled == plain


def test_equal_rows_of_different_groups_have_one_answer_in_any_order() -> None:
    data = world(200, noisy=0.5)
    twice = data.rows(np.repeat(np.arange(200), 2))
    bare = replace(twice, modalities={k: v for k, v in twice.modalities.items() if k != "cells"})
    group = np.tile(["f", "m"], 200)
    rows = np.random.default_rng(1).permutation(400)
    assert audit(bare.rows(rows), group=group[rows]) == audit(bare, group=group)


def test_numbers_are_cut_at_quartiles_and_few_values_are_not() -> None:
    data = world()
    answer = audit(data, group="age")
    ages = not_none(data.modalities["cells"].frame)["age"]
    groups = [e for e in answer.estimates if e.score is not None]
    assert len(groups) == 4
    assert sum(e.n for e in groups) == len(data)
    assert any(f"age is cut at its quartiles: {ages.quantile(0.25):.4g}, " in note for note in answer.notes)
    few = audit(data, group={"floor": np.arange(600) % 3.0})
    assert {e.name for e in few.estimates if e.score is not None} == {"floor=0", "floor=1", "floor=2"}
    days = audit(data, group={"day": pd.date_range("2024-01-01", periods=600).to_numpy()})
    assert any(e.name == "day=2024-01-01 to 2024-05-29" for e in days.estimates)


def test_missing_cells_are_a_group_and_small_groups_are_one() -> None:
    values = np.array(["f"] * 300 + ["m"] * 250 + [None] * 25 + ["x"] * 15 + ["y"] * 10, dtype=object)
    answer = audit(world(), group={"sex": values})
    n = {e.name: e.n for e in answer.estimates if e.score is not None}
    assert n == {"sex=f": 300, "sex=m": 250, "sex=missing": 25, "sex: 2 small groups": 25}
    assert "sex: 2 small groups of fewer than 20 rows (25 together) are one group." in answer.notes
    values[values == "y"] = "f"
    answer = audit(world(), group={"sex": values})
    assert "sex: 1 small group of fewer than 20 rows (15 together) are only among the others." in answer.notes
    values[values == "x"] = "missing"
    assert any(e.name == "sex=missing (no value)" for e in audit(world(), group={"sex": values}, least=10).estimates)


def test_long_and_broken_names_stay_apart() -> None:
    values = np.repeat(
        np.array(["the very long name of a town, north", "the very long name of a town, south", "a\nb"]), 200
    )
    names = [e.name for e in audit(world(), group={"t": values}).estimates if e.score is not None]
    assert sorted(names) == ["t=a b", "t=the very lon…town, north", "t=the very lon…town, south"]


def test_where_no_group_is_named_categories_are_looked_at_else_which_modalities_rows_have() -> None:
    data = world(noisy=0.5, lacks_b=0.5)

    class Reads(Sum):
        def __init__(self, data: Dataset) -> None:
            super().__init__(data)
            self.modalities = ("a", "b", "cells")

        def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
            made = super().encode(dataset, kept)
            return {**made, "cells": Raw(made["a"].values * 0, made["a"].present)}

    looked = ask(Reads(data), data, "audit", metric="accuracy")
    assert {"sex=f", "region=north"} <= {e.name for e in looked.estimates}
    assert not any("age" in e.name or "&" in e.name for e in looked.estimates)
    patterns = audit(data)
    assert {"modalities=complete", "modalities=without b"} <= {e.name for e in patterns.estimates}
    assert any("No group is named" in note for note in patterns.notes)


def test_what_is_not_defined_in_a_group_is_left_out_and_told() -> None:
    data = world(400)
    group = np.where(not_none(data.target) == 1, np.where(np.arange(400) % 2, "p", "q"), "q")
    answer = audit(data, group={"g": group}, metric="auroc")
    assert any("AUROC is not defined in g=p" in note for note in answer.notes)
    assert any(e.name == "g: selection rates" for e in answer.estimates)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"group": "sexx"},
            UnknownNameError,
            "audit: group must be a known name; got group='sexx'. Did you mean 'sex'",
        ),
        ({"group": []}, ConfigError, "audit: group must be the name of a column"),
        ({"group": 3}, ConfigError, "got group=3"),
        ({"group": ["sex", "sex"]}, ConfigError, "each column once"),
        (
            {"group": np.array(["f"] * 600)},
            ConfigError,
            r"two groups of at least 20 rows; got group: group=f \(600 rows",
        ),
        ({"group": np.array(["f"] * 5)}, DataError, "one value for each of the 600 rows; got 'group'"),
        ({"group": "sex", "least": 400}, ConfigError, "two groups of at least 400 rows.*sex, region, age"),
        ({"least": 1}, ConfigError, "least must be at least 2 rows; got least=1"),
        ({}, ConfigError, "two groups of at least 20 rows"),
    ],
)
def test_what_cannot_be_compared_is_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        audit(world(), **options)


# -- every predictor, every door


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression", "two numbers"])
@pytest.mark.parametrize("kind", ["network", "linear", "portfolio"])
def test_every_predictor_and_task_can_be_audited(kind: str, task: str, tmp_path: Path) -> None:
    asked, rows = predictor(kind, task), labelled(task, 120, seed=3)
    rows["site"] = np.where(np.arange(120) % 2, "north", "south")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfuseWarning)  # the model does not know the column
        answer = asked.ask("audit", rows, group=["site", "colour"], n_resamples=20)
        rows.to_csv(tmp_path / "rows.csv", index=False)
        by_path = asked.ask("audit", tmp_path / "rows.csv", group=["site", "colour"], n_resamples=20)
    names = {e.name for e in answer.estimates}
    assert {"site=north", "colour=red", "site: best less worst"} <= names
    assert "site x colour: best less worst" in names
    assert "note tells site" in names
    assert all(np.isfinite([e.value, e.low, e.high]).all() for e in answer.estimates)
    one, other = ({e.name: e.value for e in a.estimates if "tells" not in e.name} for a in (answer, by_path))
    assert one == pytest.approx(other)
    known = asked.read(rows[[c for c in rows if c != "site"]], need_target=True)
    with pytest.raises(UnknownNameError, match="got group='site'"):
        asked.ask("audit", known, group="site")


# -- remedies


def test_balanced_weights_make_group_and_target_independent() -> None:
    rng = np.random.default_rng(0)
    groups = rng.choice(np.array(["f", "m", None], dtype=object), 500)
    target = np.where(rng.random(500) < np.where(groups == "f", 0.2, 0.7), "yes", "no")
    weights = balancing_weights(groups, target)
    table = pd.crosstab(pd.Series(groups).fillna("missing"), target, values=weights, aggfunc="sum").to_numpy()
    np.testing.assert_allclose(table, table.sum(1, keepdims=True) * table.sum(0) / table.sum())
    counts = pd.crosstab(pd.Series(groups).fillna("missing"), target).to_numpy()
    np.testing.assert_allclose(table.sum(0), counts.sum(0))
    np.testing.assert_allclose(table.sum(1), counts.sum(1))
    with pytest.raises(DataError, match="one value for each row; got 500 and 3"):
        balancing_weights(groups, target[:3])
