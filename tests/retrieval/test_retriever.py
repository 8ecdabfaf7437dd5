"""Retrieval: what is found, how it is measured, and what comes back from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pairs_of_rows import QUICK, arrays, table
from scipy.stats import binomtest, hypergeom
from sklearn.metrics.pairwise import cosine_similarity

from profuse import load_model
from profuse._folder import read_folder, write_folder
from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import CheckpointError, ConfigError, DataError, ProfuseWarning, UnknownNameError
from profuse.retrieval import SPACES, Retriever
from profuse.retrieval.measure import content, ranks, scores
from profuse.retrieval.saving import RETRIEVER
from profuse.tokens import Raw

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fitted() -> Retriever:
    return Retriever(**QUICK).fit(arrays())


def recall(found: pd.DataFrame, method: str, metric: str = "recall@1") -> pd.Series:
    return found[(found["method"] == method) & (found["metric"] == metric)]["value"]


# -- what is found


@pytest.mark.parametrize("space", SPACES)
def test_every_space_finds_partners_far_above_chance(space: str) -> None:
    options = {"dcca": {"space_dim": 4}, "dcca_ey": {"space_dim": 4}}.get(space)
    made = Retriever(**{**QUICK, "epochs": 8}, method="learned", space=space, space_options=options).fit(arrays())
    found = made.evaluate(arrays(100, seed=1))
    assert (recall(found, space, "recall@10") > 0.5).all()
    assert (found[found["metric"] == "recall@10"]["chance"] < 0.11).all()


def test_nothing_is_found_where_nothing_is_shared() -> None:
    rng = np.random.default_rng(0)
    apart = {"a": rng.normal(size=(200, 4)), "b": rng.normal(size=(200, 4))}
    found = Retriever(**QUICK).fit(apart).evaluate({k: rng.normal(size=(200, 4)) for k in "ab"})
    by = found.set_index("metric")
    assert (by["low"] <= by["chance"]).loc[["recall@10"]].all()


def test_a_search_is_the_exact_order_of_cosines(fitted: Retriever) -> None:
    items, queries = arrays(700, seed=2), arrays(20, seed=3)
    found = fitted.index(items, "right").search(queries, "left", k=7)
    similar = cosine_similarity(fitted.embed(queries, "left"), fitted.embed(items, "right"))
    np.testing.assert_array_equal(found.rows, np.argsort(-similar, axis=1, kind="stable")[:, :7])
    np.testing.assert_allclose(found.similarities, -np.sort(-similar, axis=1)[:, :7], atol=1e-6)
    np.testing.assert_array_equal(found.ids, found.rows)


@pytest.mark.parametrize("k", [1, 5, 60, 199])
def test_of_equal_items_the_first_rows_are_found(fitted: Retriever, k: int) -> None:
    items = arrays(200, seed=2)
    items["right"][50:] = items["right"][50]
    found = fitted.index(items, "right").search(arrays(8, seed=3), "left", k=k)
    for rows in found.rows:
        equal = rows[rows >= 50]
        np.testing.assert_array_equal(equal, 50 + np.arange(len(equal)))
        assert len(set(rows.tolist())) == k


def test_a_modality_can_be_searched_by_itself(fitted: Retriever) -> None:
    items = arrays(50, seed=4)
    found = fitted.index(items, "left").search(items, "left", k=1)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(50))
    np.testing.assert_allclose(found.similarities, 1, atol=1e-5)


def test_places_have_length_one_and_do_not_depend_on_the_rows_beside_them(fitted: Retriever) -> None:
    queries = arrays(600, seed=5)
    places = fitted.embed(queries, "left")
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(fitted.embed({"left": queries["left"][590:]}, "left"), places[590:], atol=1e-5)


def test_rows_that_lack_the_modality_are_left_out_of_an_index_and_refused_as_queries(fitted: Retriever) -> None:
    items = arrays(30, seed=6)
    items["right"][[0, 7]] = np.nan
    index = fitted.index(items, "right")
    assert (len(index), index.n_left_out) == (28, 2)
    found = index.search({"left": items["left"][:1]}, "left", k=28)
    assert {0, 7}.isdisjoint(found.rows[0])
    assert set(found.rows[0]) == set(range(30)) - {0, 7}
    with pytest.raises(DataError, match="every query must have 'right'; it is missing in 2 rows \\(0, 7;"):
        index.search(items, "right", k=1)


@pytest.mark.parametrize("kind", [None, "vector"])
def test_a_schema_that_does_not_fit_what_was_learned_is_told_when_it_is_loaded(
    kind: str | None, tmp_path: Path
) -> None:
    with pytest.warns(ProfuseWarning, match="'key' is not used"):
        Retriever(**QUICK, method="ridge", baseline=False).fit(table()).save(tmp_path / "r")
    facts, weights = read_folder(tmp_path / "r", lambda facts, weights: (facts, weights), RETRIEVER)
    modalities = facts["schema"]["modalities"]
    modalities["note"]["kind"] = kind
    if kind is None:
        del modalities["note"]
    kept = {k: v for k, v in facts.items() if k not in ("what", "format", "digests")}
    write_folder(tmp_path / "r", kept, weights, RETRIEVER)
    with pytest.raises(CheckpointError, match="its parts must fit each other; got .*schema must have modality 'note'"):
        Retriever.load(tmp_path / "r")


def test_a_table_needs_no_target_and_its_ids_are_found() -> None:
    frame = table()
    with pytest.warns(ProfuseWarning, match="'key' is not used"):
        made = Retriever(**QUICK, schema={"target": {"columns": ["answer"]}}).fit(frame)
    assert made.modalities_ == ("note", "table")
    assert made.schema_ is not None
    assert "answer" not in made.schema_.modalities["table"].columns
    other = table(40, seed=1)
    index = made.index(other.drop(columns=["note", "answer"]), "table")
    found = index.search(other[["note"]].head(3), "note", k=4)
    assert set(found.ids.ravel()) <= set(other["key"])


# -- how it is measured


def test_ranks_count_wrong_items_that_are_at_least_as_similar() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    asked, answers = np.arange(40), rng.integers(0, 25, 40)
    got, right = ranks(x, y, asked, answers)
    for i in range(40):
        similar = y @ x[i]
        correct = answers == answers[i]
        before = [j for j in range(40) if not correct[j] and similar[j] >= similar[correct].max()]
        assert got[i] == len(before) + 1
        assert right[i] == correct.sum()


def test_a_duplicate_of_the_question_or_of_the_answer_counts_as_right() -> None:
    x, y = np.eye(3)[[0, 0, 1]], np.eye(3)[[1, 0, 1]]
    own = np.arange(3)
    assert ranks(x, y, own, own)[0].tolist() == [3, 1, 2]  # row 0's answer is worst; row 2's is tied with row 0's
    assert ranks(x, y, np.array([0, 0, 1]), own)[0].tolist() == [1, 1, 2]
    assert ranks(x, y, own, np.array([0, 1, 0]))[0].tolist() == [2, 1, 1]


def test_where_all_is_equally_similar_nothing_is_found() -> None:
    x, own = np.ones((8, 2)), np.arange(8)
    assert ranks(x, x, own, own)[0].tolist() == [8] * 8


def test_content_is_the_same_for_rows_that_differ_in_padding_only() -> None:
    values = torch.tensor([[1.0, 2.0, 7.0], [1.0, 2.0, 8.0], [1.0, 2.0, 8.0]])[..., None]
    mask = torch.tensor([[True, True, False], [True, True, False], [True, True, True]])
    assert content(Raw(values, mask)).tolist() == [0, 0, 1]


def test_chance_and_intervals_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    found, right = rng.integers(1, 30, 60), rng.integers(1, 4, 60)
    told = scores(found, right, None, method="m", query="a", item="b").set_index("metric")
    for depth in (1, 5, 10):
        hits = int((found <= depth).sum())
        wilson = binomtest(hits, 60).proportion_ci(method="wilson")
        row = told.loc[f"recall@{depth}"]
        assert row["value"] == pytest.approx(hits / 60)
        assert (row["low"], row["high"]) == pytest.approx((wilson.low, wilson.high), abs=1e-6)
        chance = np.mean([1 - hypergeom(60, int(c), depth).pmf(0) for c in right])
        assert row["chance"] == pytest.approx(chance, abs=1e-9)
    median = told.loc["median_rank"]
    assert median["low"] <= median["value"] == np.median(found) <= median["high"]
    assert not median["higher_is_better"]


@pytest.mark.parametrize("n_right", [1, 2, 5])
def test_the_chance_of_the_median_rank_is_that_of_items_in_random_order(n_right: int) -> None:
    rng, n = np.random.default_rng(n_right), 40
    right = np.full(n, n_right)
    medians = [
        np.median(rng.permuted(np.tile(np.arange(1, n + 1), (n, 1)), axis=1)[:, :n_right].min(1)) for _ in range(2000)
    ]
    told = scores(np.ones(n, dtype=int), right, None, method="m", query="a", item="b").set_index("metric")
    assert told.loc["median_rank", "chance"] == pytest.approx(np.mean(medians), abs=0.6)


def test_the_chance_of_the_median_rank_weighs_questions_with_many_right_answers() -> None:
    right = np.array([1] * 30 + [20] * 30)
    told = scores(np.ones(60, dtype=int), right, None, method="m", query="a", item="b").set_index("metric")
    law = [np.mean([1 - hypergeom(60, int(c), k).pmf(0) for c in right]) for k in range(1, 61)]
    assert told.loc["median_rank", "chance"] == 1 + np.flatnonzero(np.array(law) >= 0.5)[0]


def test_rows_that_belong_together_make_the_interval_wider() -> None:
    found, right = np.arange(1, 41), np.ones(40)
    wide = scores(found, right, np.arange(40) // 4, method="m", query="a", item="b").set_index("metric")
    slim = scores(found, right, None, method="m", query="a", item="b").set_index("metric")
    assert wide["high"]["recall@10"] > slim["high"]["recall@10"]
    assert (wide["n_clusters"] == 10).all()
    assert (wide["n_queries"] == 40).all()


def test_few_items_are_found_by_chance_alone() -> None:
    told = scores(np.ones(4), np.ones(4), None, method="m", query="a", item="b").set_index("metric")
    assert told.loc["recall@5", "chance"] == 1.0


def test_the_result_is_tidy_and_names_both_directions(fitted: Retriever) -> None:
    found = fitted.evaluate(arrays(60, seed=7))
    assert set(zip(found["query"], found["item"], strict=True)) == {("left", "right"), ("right", "left")}
    assert set(found["method"]) == {"contrastive", "linear CCA", "ridge"}
    assert len(found) == 2 * 3 * 4
    assert (found["n_queries"] == 60).all()
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()


# -- how it learns


def test_groups_stay_on_one_side_and_the_epochs_are_told() -> None:
    data = arrays(120)
    with pytest.raises(DataError, match="group"):
        Retriever(**QUICK).fit(data, groups=np.zeros(120))
    made = Retriever(**QUICK).fit(data, groups=np.arange(120) // 2)
    assert made.history_["epoch"].tolist() == list(range(1, len(made.history_) + 1))
    assert made.history_["valid_score"].between(0, 1).all()


@pytest.mark.parametrize("as_frame", [True, False])
def test_groups_in_another_order_are_a_mistake(as_frame: bool) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 4)), columns=list("abcd"))
    parts = {"left": frame[["a", "b"]], "right": frame[["c", "d"]]}
    groups = pd.Series(np.arange(80) // 4)
    schema = {"modalities": {"left": {"columns": ["a", "b"]}, "right": {"columns": ["c", "d"]}}} if as_frame else None
    data: Any = frame if as_frame else parts
    shuffled = groups.sample(frac=1, random_state=0)
    with pytest.raises(DataError, match="and groups must be in the same order"):
        Retriever(schema=schema, **QUICK).fit(data, groups=shuffled)
    fitted = Retriever(schema=schema, **QUICK).fit(data, groups=groups)
    with pytest.raises(DataError, match="and groups must be in the same order"):
        fitted.evaluate(data, groups=shuffled)


def test_absent_rows_are_no_hindrance() -> None:
    data = arrays(200)
    data["left"][::5] = np.nan
    found = Retriever(**{**QUICK, "epochs": 12}).fit(data).evaluate(data)
    assert (found["n_queries"] == 160).all()
    assert (recall(found, "contrastive", "recall@10") > 0.5).all()


def test_the_same_seed_gives_the_same_places() -> None:
    data = arrays(100)
    first, second = (
        Retriever(**QUICK, method="learned", baseline=False).fit(data).embed(data, "left") for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_a_target_of_a_data_set_is_not_read() -> None:
    data, there = arrays(100), np.ones(100, dtype=bool)
    modalities = {k: ModalityData("vector", v, there) for k, v in data.items()}
    rng = np.random.default_rng(0)
    split: dict[str, Any] = {"groups": np.arange(100)}
    made = [
        Retriever(**QUICK, method="learned", baseline=False).fit(
            Dataset("d", modalities, target, "regression", **split)
        )
        for target in (None, rng.normal(size=100))
    ]
    np.testing.assert_array_equal(made[0].embed(data, "left"), made[1].embed(data, "left"))


# -- saving


def test_a_loaded_retriever_finds_and_measures_the_same(fitted: Retriever, tmp_path: Path) -> None:
    fitted.save(tmp_path / "r")
    again = Retriever.load(tmp_path / "r")
    data = arrays(60, seed=8)
    np.testing.assert_array_equal(again.embed(data, "left"), fitted.embed(data, "left"))
    pd.testing.assert_frame_equal(again.evaluate(data), fitted.evaluate(data))
    pd.testing.assert_frame_equal(again.history_, fitted.history_)
    assert sorted(p.suffix for p in (tmp_path / "r").iterdir()) == [".json", ".safetensors", ".safetensors"]
    again.save(tmp_path / "r")
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("space", ["dcca", "dcca_ey"])
def test_what_a_space_has_fitted_is_saved_too(space: str, tmp_path: Path) -> None:
    data = arrays(120)
    made = Retriever(**QUICK, space=space, method="learned", baseline=False).fit(data)
    made.save(tmp_path / "r")
    np.testing.assert_array_equal(Retriever.load(tmp_path / "r").embed(data, "right"), made.embed(data, "right"))


def test_a_table_is_read_by_a_loaded_retriever(tmp_path: Path) -> None:
    frame = table()
    with pytest.warns(ProfuseWarning, match="'key' is not used"):
        made = Retriever(**QUICK, method="learned", baseline=False).fit(frame)
    made.save(tmp_path / "r")
    again = Retriever.load(tmp_path / "r")
    np.testing.assert_array_equal(again.embed(frame, "note"), made.embed(frame, "note"))


def test_a_folder_that_is_no_retriever_or_is_damaged_is_told(fitted: Retriever, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must be the folder of a saved retriever; model\.json is not there"):
        Retriever.load(tmp_path)
    fitted.save(tmp_path / "r")
    with pytest.raises(CheckpointError, match="must be the folder of a saved model; it holds a saved retriever"):
        load_model(tmp_path / "r")
    facts = json.loads((tmp_path / "r" / "model.json").read_text())
    (tmp_path / "r" / "model.json").write_text(json.dumps({**facts, "format": 9}))
    with pytest.raises(CheckpointError, match="Retriever.load: .* of format 1; got format=9. .* newer profuse"):
        Retriever.load(tmp_path / "r")
    fitted.save(tmp_path / "r")
    damaged = bytearray((tmp_path / "r" / "weights.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "r" / "weights.safetensors").write_bytes(damaged)
    with pytest.raises(CheckpointError, match="it is damaged"):
        Retriever.load(tmp_path / "r")


# -- messages


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"method": "best"}, "method must be 'auto', 'learned', 'cca' or 'ridge'; got method='best'"),
        ({"method": 3}, "method must be"),
        ({"encoders": 5}, "encoders must be"),
        ({"encoders": "mlp"}, "encoders must be"),
        ({"space_options": [1]}, "space_options must be"),
        ({"baseline": "perhaps"}, "baseline must be"),
        ({"random_state": "x"}, "seed must be"),
        ({"space": "cosine"}, "space must be 'contrastive', 'ranking', 'dcca' or 'dcca_ey'; got space='cosine'"),
        ({"space_options": {"margin": 0.1}}, "'contrastive' has the options"),
        ({"space_options": {"weight": 0.1}}, "must not name a weight"),
        ({"validation_fraction": 1.5}, "validation_fraction must be less than 1"),
        ({"epochs": 0, "width": 1}, "(?s)width must be.*epochs must be"),
        ({"on_bad_file": "hide"}, "on_bad_file must be 'raise' or 'skip'"),
        ({"device": "toaster"}, "device must be 'auto', 'cpu', 'cuda' or 'mps'"),
    ],
)
def test_options_out_of_range_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Retriever(**{**QUICK, **options}).fit(arrays(40))


def test_a_target_that_is_not_there_is_told_as_the_target() -> None:
    with pytest.raises(ConfigError, match="target: it must be a column .* got 'anser'. Did you mean 'answer'"):
        Retriever(**QUICK, schema={"target": {"columns": ["anser"]}}).fit(table())


def test_misuse_is_told(fitted: Retriever) -> None:
    data = arrays(40)
    with pytest.raises(ConfigError, match="it must be fitted first"):
        Retriever().embed(data, "left")
    with pytest.raises(UnknownNameError, match="Did you mean 'left'"):
        fitted.embed(data, "lift")
    with pytest.raises(DataError, match="lacking \\['right'\\]"):
        fitted.evaluate({"left": data["left"]})
    with pytest.raises(ConfigError, match="k must be 1 to 40, the number of items; got k=41"):
        fitted.index(data, "right").search(data, "left", k=41)
    with pytest.raises(DataError, match="at least two modalities"):
        Retriever(**QUICK).fit({"left": data["left"]})
    half = {k: v.copy() for k, v in data.items()}
    half["left"][:20], half["right"][20:] = np.nan, np.nan
    with pytest.raises(DataError, match="at least 4 rows to learn from must have two modalities; got 0"):
        Retriever(**QUICK).fit(half)
    with pytest.raises(DataError, match="must be a DataFrame, a dict of arrays by modality, or a Dataset; got list"):
        Retriever(**QUICK).fit([1, 2])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="presence belongs to a dict"):
        Retriever(**QUICK).fit(table(), presence={"note": [True]})
