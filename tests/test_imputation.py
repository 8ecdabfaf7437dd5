"""`Imputer`: what is there stays, what is missing follows the law of the data, and figures come from hidden rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from not_none import not_none
from sklearn.base import clone

from profuse.errors import ConfigError, DataError, ProfuseWarning, UnknownNameError
from profuse.imputation import METHODS, Imputer
from profuse.imputation.blocks import Features, Inputs
from profuse.imputation.coding import Part, Target
from profuse.imputation.methods import Answer, Drawn, NearestMethod
from profuse.imputation.quality import Quality, quality_of, scores_of
from profuse.imputation.ridge import folds_of
from profuse.imputation.streams import Streams
from profuse.imputation.training import train
from profuse.layers.generators import RegressionGenerator
from profuse.training.history import Epoch
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.filterwarnings("ignore:Imputer. Modality .* no better than the mean")


def table(n: int = 80, seed: int = 0) -> pd.DataFrame:
    """A vector `emb`, and a modality `table` of two numbers and a word, missing in a quarter of the rows."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 8))
    frame = pd.DataFrame({
        **{f"emb_{i}": a[:, i] for i in range(8)},
        "price": 10 + 3 * (0.8 * a[:, 0] + 0.6 * rng.normal(size=n)),
        "size": 1e-3 * (a[:, 1] + rng.normal(size=n)),
        "colour": np.where(a[:, 2] > 0, "red", "blue").astype(object),
    })  # fmt: skip
    frame.loc[rng.random(n) < 0.25, ["price", "size", "colour"]] = None
    return frame


def quick(method: str = "nearest", **options: object) -> Imputer:
    options = {"n_samples": 5, "epochs": 2, "width": 8, **options}
    return Imputer("table", method=method, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_there_stays_bit_for_bit_and_what_is_missing_is_filled(method: str) -> None:
    frame = table()
    before = frame.copy()
    filled = quick(method).fit_fill(frame)
    pd.testing.assert_frame_equal(frame, before)
    missing = frame["price"].isna().to_numpy()
    np.testing.assert_array_equal(filled.rows, np.flatnonzero(missing))
    assert filled.table.columns.tolist() == [
        *frame.columns, "price_spread", "size_spread", "colour_spread", "table_filled",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(filled.table.loc[~missing, frame.columns], frame[~missing], check_exact=True)
    for column in ("price", "size"):
        bits = frame[column].to_numpy()[~missing].view(np.int64)
        np.testing.assert_array_equal(filled.table[column].to_numpy()[~missing].view(np.int64), bits)
    assert filled.table[list(frame.columns)].notna().all(axis=None)
    assert set(filled.table["colour"]) <= {"red", "blue"}
    spread = filled.table[["price_spread", "size_spread", "colour_spread"]]
    assert (spread.notna().all(axis=1) == missing).all()
    assert (filled.table["table_filled"] == missing).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_answer_and_the_spread_are_those_of_many_samples(method: str) -> None:
    filled = quick(method, n_samples=400 if method != "nearest" else 12).fit_fill(table())
    by_row = filled.samples.groupby("row")
    n = 400 if method != "nearest" else 12
    assert len(filled.samples) == n * len(filled.rows)
    assert filled.samples["sample"].tolist() == list(range(n)) * len(filled.rows)
    cells = filled.table.iloc[filled.rows]
    for column in ("price", "size"):
        spread = cells[f"{column}_spread"]
        assert ((by_row[column].mean() - cells[column]) / spread).abs().max() < 4.5 * (1 / n**0.5 + 0.2 / 8)
        np.testing.assert_allclose(by_row[column].std(), spread, rtol=0.35)
    said = filled.samples.merge(filled.table["colour"], left_on="row", right_index=True)
    differ = (said["colour_x"] != said["colour_y"]).groupby(said["row"]).mean()
    np.testing.assert_allclose(differ, cells["colour_spread"], atol=0.15)


def test_equal_seeds_give_equal_tables_and_others_do_not() -> None:
    first, same, other = (quick("flow", random_state=s).fit_transform(table()) for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, same)
    assert not np.allclose(first["price"], other["price"])


def test_fit_and_fill_apart_give_what_they_give_together_and_a_clone_is_as_new() -> None:
    frame = table()
    imputer = quick("regression")
    together = imputer.fit_fill(frame)
    apart = clone(imputer).fit(frame).fill(frame)
    pd.testing.assert_frame_equal(together.table, apart.table)
    other = imputer.transform(table(30, seed=5))
    assert other["price"].notna().all()
    assert len(other) == 30


def test_the_mean_is_that_of_all_rows_once_it_is_measured() -> None:
    frame = table()
    imputer = quick("mean").fit(frame)
    filled = imputer.fill(frame)
    np.testing.assert_allclose(filled.table["price"].iloc[filled.rows], frame["price"].mean())
    assert imputer.n_learned_ == len(imputer._donors)
    assert imputer.n_learned_ + imputer.quality_[0].n_rows == frame["price"].notna().sum()


def test_the_nearest_rows_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    known = {"a": rng.random((40, 3)) < 0.7, "b": rng.random((40, 2)) < 0.7}
    x = {name: np.where(there, rng.normal(size=there.shape), 0.0) for name, there in known.items()}
    donors = Inputs({name: Features(x[name], known[name], np.zeros(0, dtype=int)) for name in x})
    asked = donors.rows(np.arange(6, 12))
    y = rng.normal(size=(40, 2))
    parts = (Part("price", "number", 0, 1), Part("size", "number", 1, 2))
    target = Target(y, np.ones((40, 2), dtype=bool), parts)
    given = np.full((6, 2), np.nan)
    given[:3, 1] = rng.normal(size=3)
    partly = Target(given, ~np.isnan(given), parts)
    streams = Streams([bytes([i] * 16) for i in range(6)], np.zeros(6, dtype=int))
    method = NearestMethod(donors, target, n_neighbours=4)
    drawn = method.draw(asked, partly, streams, 4)
    for i in range(6):
        far = []
        for j in range(40):
            by_modality = []
            for k, there in known.items():
                ours, theirs = x[k][6 + i], x[k][j]
                off = np.where(there[j], (ours - theirs) ** 2, ours**2 + 1)[there[6 + i]]
                by_modality += [off.mean()] if len(off) else []
            by_modality += [(given[i, 1] - y[j, 1]) ** 2] if i < 3 else []
            far.append(round(np.mean(by_modality), 9))
        assert drawn.donors["price"][:, i].tolist() == np.argsort(far, kind="stable")[:4].tolist()
    np.testing.assert_allclose(method.answer(asked, partly, streams).point, drawn.samples.mean(0))
    few = NearestMethod(donors.rows(np.arange(3)), target.rows(np.arange(3)), n_neighbours=5)
    again = few.draw(asked, partly, streams, 5).donors["price"]
    assert (again[3:] == again[:2]).all()


def test_text_is_copied_from_the_nearest_row_and_only_by_nearest() -> None:
    frame = table(60).drop(columns=["colour", "size", "price"])
    rng = np.random.default_rng(1)
    frame["note"] = [
        f"{w} thing, number {i} of all" for i, w in enumerate(np.where(frame["emb_0"] > 0, "bright", "dark"))
    ]
    frame.loc[rng.random(60) < 0.2, "note"] = None
    filled = Imputer("note", method="nearest", n_samples=3).fit_fill(frame)
    assert filled.table.columns.tolist() == [*frame.columns, "note_filled"]
    known = set(frame["note"].dropna())
    assert set(filled.table["note"].iloc[filled.rows]) <= known
    first = filled.samples[filled.samples["sample"] == 0].set_index("row")["note"]
    pd.testing.assert_series_equal(first, filled.table["note"].iloc[filled.rows], check_names=False)
    for method in set(METHODS) - {"auto", "nearest"}:
        with pytest.raises(ConfigError, match="column 'note' of modality 'note' is of kind text. Use method 'nearest'"):
            Imputer("note", method=method).fit(frame)


def test_columns_called_as_those_of_the_draws_replace_none_of_them() -> None:
    frame = table().rename(columns={"price": "row", "size": "sample"})
    drawn = quick().fit_fill(frame)
    assert drawn.samples.columns.tolist() == ["row", "sample", "row_value", "sample_value", "colour"]
    assert drawn.samples["row"].tolist() == np.repeat(drawn.rows, 5).tolist()
    means = drawn.samples.groupby("row")["row_value"].mean()
    np.testing.assert_allclose(means, drawn.table["row"].iloc[drawn.rows].astype(float))


def test_columns_of_the_draws_and_their_other_names_are_all_kept() -> None:
    frame = table().rename(columns={"price": "row", "size": "row_value"})
    drawn = quick().fit_fill(frame)
    assert drawn.samples.columns.tolist() == ["row", "sample", "row_value_value", "row_value", "colour"]


@pytest.mark.parametrize("as_words", [False, True])
def test_a_vector_in_one_column_is_filled_with_lists(as_words: bool) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 3))
    lists = [None if i % 4 == 0 else str(v.tolist()) if as_words else v.tolist() for i, v in enumerate(a)]
    frame = pd.DataFrame({"code": pd.Series(lists, dtype=object), "x": a[:, 0], "y": a[:, 1]})
    filled = Imputer("code", method="regression", n_samples=500, epochs=2).fit_fill(frame)
    assert filled.table["code"].iloc[1:4].tolist() == lists[1:4]
    cell, spread = filled.table["code"].iloc[0], filled.table["code_spread"].iloc[0]
    assert len(cell) == len(spread) == 3
    assert filled.table["code_spread"].iloc[1] is None
    mine = np.array(filled.samples.query("row == 0")["code"].tolist())
    np.testing.assert_array_less(np.abs(mine.mean(0) - cell) / spread, 0.25)
    np.testing.assert_allclose(mine.std(0, ddof=1), spread, rtol=0.3)


def test_words_come_back_as_the_objects_that_they_stand_for() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 8))
    frame = pd.DataFrame({f"emb_{i}": a[:, i] for i in range(8)})
    frame["paid"] = pd.Series([None if i % 5 == 0 else bool(v > 0) for i, v in enumerate(a[:, 0])], dtype=object)
    filled = quick("flow").fit_fill(frame)
    assert {type(v) for v in filled.table["paid"]} <= {bool, np.bool_}


def test_a_row_without_anything_else_gets_samples_of_all_rows_and_is_counted() -> None:
    frame = table()
    frame.loc[[3, 4], :] = None
    with pytest.warns(ProfuseWarning, match="2 rows .* hold no other modality either"):
        filled = quick("flow").fit_fill(frame)
    assert filled.table["price"].notna().all()
    assert "2 rows (3, 4; counted from 0) hold no other modality either" in filled.notes[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_groups", [2, 4, 7])
def test_few_groups_are_not_cut_where_the_regression_is_judged(n_groups: int) -> None:
    groups = np.repeat(np.arange(n_groups), 10)
    folds = folds_of(len(groups), groups, 0)
    assert len(folds) == min(5, n_groups)
    assert all(not set(groups[a]) & set(groups[b]) for a, b in folds)
    assert len(folds_of(20, np.zeros(20), 0)) == 5  # of a single group nothing else can be done
    assert len(folds_of(20, None, 0)) == 5


def test_what_is_filled_has_no_unit() -> None:
    """Numbers around 1e-13 are numbers, both those that are filled and those that tell of them."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 2))
    frame = pd.DataFrame({"emb_0": a[:, 0], "emb_1": a[:, 1], "price": a[:, 0] + 0.1 * rng.normal(size=200)})
    frame.loc[::4, "price"] = None
    told = {"table": {"columns": ["price"]}, "emb": {"columns": ["emb_0", "emb_1"]}}
    schema = {"modalities": told}
    unit = 1e-13
    ours = quick("regression", schema=schema).fit_fill(frame)
    small = quick("regression", schema=schema).fit_fill(frame * unit)
    np.testing.assert_allclose(small.table["price"] / unit, ours.table["price"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["nearest", "regression"])
def test_what_is_hidden_to_be_measured_by_is_not_learned_from(method: str) -> None:
    """Neither cells nor means and spreads of the hidden rows reach what fills."""
    frame = table(100)
    imputer = quick(method).fit(frame)
    hidden = frame["price"].notna() & ~frame["price"].isin(imputer._donors["price"].astype(float))
    assert hidden.sum() == imputer.quality_[0].n_rows
    other = frame.copy()
    numbers = [c for c in frame if c != "colour"]
    other.loc[hidden, numbers] = frame.loc[hidden, numbers] * 7 + 1
    other.loc[hidden, "colour"] = "red"
    again = quick(method).fit(other)
    for learned in ("_mean", "_std"):  # units of the cells
        np.testing.assert_array_equal(getattr(imputer._coding, learned), getattr(again._coding, learned))
    lacking = frame[frame["price"].isna()]
    pd.testing.assert_frame_equal(imputer.transform(lacking), again.transform(lacking))
    assert imputer.quality_[0].error != again.quality_[0].error


def test_groups_stay_on_one_side_of_what_is_hidden() -> None:
    frame = table(120)
    frame["shop"] = np.arange(120) % 10
    imputer = quick("nearest", schema={"split": {"column": "shop", "method": "group"}}).fit(frame)
    learned = set(frame["shop"][frame["price"].isin(imputer._donors["price"].astype(float))])
    assert 0 < len(learned) < 10
    hidden = frame[~frame["shop"].isin(learned)]["price"].notna().sum()
    assert imputer.quality_[0].n_rows == hidden


def test_the_target_is_not_told() -> None:
    frame = table(100)
    frame["answer"] = frame["price"].fillna(0.0)  # gives it away
    told, kept = (quick("nearest", n_samples=2, **o).fit(frame) for o in ({}, {"target": "answer"}))
    assert "answer" in told.schema_.modalities["table"].columns
    assert all("answer" not in m.columns for m in kept.schema_.modalities.values())


class TestQuality:
    def figures(self, drawn: np.ndarray, true: np.ndarray, *, are_all: bool = False) -> Quality:
        parts = tuple(Part(str(i), "number", i, i + 1) for i in range(true.shape[1]))
        target = Target(true, np.ones(true.shape, dtype=bool), parts)
        answer = Answer(drawn.mean(0), drawn.std(0))
        scores = scores_of(answer, Drawn(drawn, are_all=are_all), target, np.ones(true.shape, dtype=bool), None)
        return quality_of("it", scores, np.arange(len(true)), 0)

    def test_figures_are_those_of_numpy(self) -> None:
        rng = np.random.default_rng(0)
        drawn, true = rng.normal(size=(99, 50, 2)), rng.normal(size=(50, 2))
        found = self.figures(drawn, true)
        assert found.error == pytest.approx(np.sqrt(((drawn.mean(0) - true) ** 2).mean()))
        pairs = np.abs(drawn[:, None] - drawn[None]).sum((0, 1)) / (99 * 98)
        want = (np.abs(drawn - true).mean(0) - pairs / 2).mean()
        assert found.crps == pytest.approx(want)
        n = len(drawn)
        assert self.figures(drawn, true, are_all=True).crps == pytest.approx(want + pairs.mean() / 2 / n)
        assert not_none(found.low) < not_none(found.error) < not_none(found.high)

    def test_draws_of_the_same_law_cover_nine_tenths_and_narrow_ones_fewer(self) -> None:
        rng = np.random.default_rng(1)
        drawn, true = rng.normal(size=(99, 4000, 1)), rng.normal(size=(4000, 1))
        assert self.figures(drawn, true).coverage == pytest.approx(0.9, abs=0.015)
        assert not_none(self.figures(0.3 * drawn, true).coverage) < 0.5
        crps = not_none(self.figures(drawn, true).crps)
        assert crps == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)  # of a standard normal
        assert not_none(self.figures(0.3 * drawn, true).crps) > crps

    @pytest.mark.parametrize("n_draws", [19, 20, 25, 29, 30, 31, 40, 99])
    def test_draws_of_the_same_law_cover_nine_tenths_however_many_they_are(self, n_draws: int) -> None:
        rng = np.random.default_rng(n_draws)
        covered = [
            not_none(self.figures(rng.normal(size=(n_draws, 5000, 1)), rng.normal(size=(5000, 1))).coverage)
            for _ in range(4)
        ]
        assert np.mean(covered) == pytest.approx(0.9, abs=0.01)

    def test_the_coverage_of_few_draws_is_not_told(self) -> None:
        rng = np.random.default_rng(0)
        assert self.figures(rng.normal(size=(18, 50, 1)), rng.normal(size=(50, 1))).coverage is None

    def test_baselines_are_told_beside_the_method_once_each(self) -> None:
        frame = table()
        assert [q.method for q in quick("flow").fit(frame).quality_] == ["flow", "ridge", "nearest", "mean"]
        assert [q.method for q in quick("nearest").fit(frame).quality_] == ["nearest", "ridge", "mean"]
        assert [q.method for q in quick("mean").fit(frame).quality_] == ["mean", "ridge", "nearest"]

    def test_the_mean_has_about_the_error_one_and_the_right_coverage(self) -> None:
        found = quick("mean").fit(table(1500)).quality_[0]
        assert found.error == pytest.approx(1.0, abs=0.1)
        assert found.coverage == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("n_steps", [*range(1, 13), 20])
def test_a_network_is_trained_for_any_number_of_steps(n_steps: int) -> None:
    rows = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    seen: list[Epoch] = []
    valid = np.arange(12) < 3
    train(
        RegressionGenerator(3, 3, 8),
        rows,
        rows,
        valid=valid,
        options=TrainOptions(epochs=n_steps),
        callbacks=[seen.append],
    )
    assert [p.epoch for p in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].epoch == n_steps or n_steps > 10
    assert np.isfinite(seen[-1].train_loss)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "n"),
    [("auto", 1500), ("ridge", 2500), ("regression", 2500), ("flow", 2500), ("diffusion", 1500), ("gan", 2500)],
)
def test_answers_and_spread_are_those_of_the_conditional_normal(method: str, n: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(n, 8))
    truth = 10 + 3 * (0.8 * a[:, 0] - 0.4 * a[:, 1])
    frame = pd.DataFrame({**{f"emb_{i}": a[:, i] for i in range(8)}, "price": truth + 1.5 * rng.normal(size=n)})
    frame.loc[: n // 5 - 1, "price"] = np.nan
    imputer = Imputer("table", method=method, n_samples=50)
    filled = imputer.fit_fill(frame)
    assert filled.table["price_spread"].mean() == pytest.approx(1.5, rel=0.15)
    off = filled.table["price"].to_numpy()[: n // 5] - truth[: n // 5]
    assert np.sqrt((off**2).mean()) < 0.3 * 1.5
    by_method = {q.method: q for q in imputer.quality_}
    first, nearest, mean = imputer.quality_[0], by_method["nearest"], by_method["mean"]
    assert not_none(first.error) < not_none(nearest.error) < not_none(mean.error)
    assert first.coverage == pytest.approx(0.9, abs=0.05)


class TestFaults:
    def test_unknown_names_tell_the_nearest(self) -> None:
        with pytest.raises(UnknownNameError, match="Imputer: modality .* got modality='tabel'. Did you mean 'table'"):
            Imputer("tabel", method="mean").fit(table())
        with pytest.raises(UnknownNameError, match="Imputer: method .* Did you mean 'flow'"):
            Imputer("table", method="flo").fit(table())

    def test_all_options_out_of_range_are_told_together(self) -> None:
        with pytest.raises(ConfigError, match=r"n_samples must be .*; held_out must be .*; width must be"):
            Imputer("table", n_samples=1, held_out=1.5, width=2).fit(table())

    def test_nothing_to_fill_nothing_to_tell_and_too_few_rows_are_told(self) -> None:
        frame = table()
        with pytest.raises(DataError, match="'emb' must be missing in at least one row to be filled"):
            Imputer("emb", method="mean").fit_fill(frame)
        with pytest.raises(DataError, match="another modality must be there to tell 'table' from"):
            quick().fit(frame[["price", "size"]])
        with pytest.raises(DataError, match="at least 20 rows must hold each column of 'table'"):
            quick().fit(frame[:15])

    def test_names_that_would_be_added_must_be_free(self) -> None:
        with pytest.raises(DataError, match="must not be there yet; got 'price_spread'"):
            quick().fit(table().assign(price_spread=1.0))

    @pytest.mark.parametrize("named", [{"target": "prize"}, {"schema": {"target": {"columns": ["prize"]}}}])
    def test_a_target_that_is_not_there_is_told_as_the_target(self, named: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="target: it must be a column .* got 'prize'. Did you mean 'price'"):
            quick(**named).fit(table())

    def test_a_target_must_be_named_once(self) -> None:
        with pytest.raises(ConfigError, match="target: it must be named once"):
            quick(target="size", schema={"target": {"columns": ["colour"]}}).fit(table())
