"""`Imputer`: what is there stays, what is missing follows the law of the data, and figures come from hidden rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from profuse.errors import ConfigError, DataError, UnknownNameError
from profuse.fusion.generative._generators import RegressionGenerator
from profuse.imputation import METHODS, Imputer, methods
from profuse.imputation.blocks import Told
from profuse.imputation.methods import Drawn, NearestMethod
from profuse.imputation.quality import measure
from profuse.imputation.training import Progress, train

DONORS = ("nearest", "mean")


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
def test_the_filled_number_is_the_mean_of_its_samples_and_the_spread_their_deviation(method: str) -> None:
    filled = quick(method).fit_fill(table())
    by_row = filled.samples.groupby("row")
    assert len(filled.samples) == 5 * len(filled.rows)
    assert filled.samples["sample"].tolist() == list(range(5)) * len(filled.rows)
    for column in ("price", "size"):
        cells = filled.table.iloc[filled.rows]
        np.testing.assert_allclose(by_row[column].std(), cells[f"{column}_spread"])
        if method != "mean":
            np.testing.assert_allclose(by_row[column].mean(), cells[column])
    said = filled.samples.merge(filled.table["colour"], left_on="row", right_index=True)
    differ = (said["colour_x"] != said["colour_y"]).groupby(said["row"]).mean()
    np.testing.assert_allclose(differ, filled.table["colour_spread"].iloc[filled.rows])


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


def test_the_mean_is_that_of_the_rows_learned_from() -> None:
    frame = table()
    imputer = quick("mean").fit(frame)
    filled = imputer.fill(frame)
    learned = imputer._donors["price"].astype(float)
    np.testing.assert_allclose(filled.table["price"].iloc[filled.rows], learned.mean())
    assert imputer.n_learned_ == len(learned)
    assert imputer.n_learned_ + imputer.quality_[0].n_rows == frame["price"].notna().sum()


def test_the_nearest_rows_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    x, y = {"a": rng.normal(size=(40, 3)), "b": rng.normal(size=(40, 2))}, rng.normal(size=(40, 1))
    present = {"a": rng.random(40) < 0.8, "b": rng.random(40) < 0.8}
    donors = Told(x, present)
    asked = Told({k: rng.normal(size=(6, v.shape[1])) for k, v in x.items()}, {k: v[:6] for k, v in present.items()})
    drawn = NearestMethod(donors, y).draw(asked, 4, seed=0)
    for i in range(6):
        far = []
        for j in range(40):
            both = [k for k in x if present[k][i] and present[k][j]]
            far.append(np.mean([((asked.blocks[k][i] - x[k][j]) ** 2).mean() for k in both]) if both else np.inf)
        if np.isfinite(far).sum() >= 4:
            assert drawn.donors is not None
            assert drawn.donors[:, i].tolist() == np.argsort(far, kind="stable")[:4].tolist()
    np.testing.assert_allclose(drawn.point, drawn.samples.mean(0))
    again = NearestMethod(donors.rows(np.arange(3)), y[:3]).draw(asked, 5, seed=0)
    assert again.donors is not None
    assert (again.donors[3:] == again.donors[:2]).all()


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
    for method in set(METHODS) - {"nearest"}:
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
    filled = Imputer("code", method="regression", n_samples=4, epochs=2).fit_fill(frame)
    assert filled.table["code"].iloc[1:4].tolist() == lists[1:4]
    cell, spread = filled.table["code"].iloc[0], filled.table["code_spread"].iloc[0]
    assert len(cell) == len(spread) == 3
    assert filled.table["code_spread"].iloc[1] is None
    mine = np.array(filled.samples.query("row == 0")["code"].tolist())
    np.testing.assert_allclose(mine.mean(0), cell)
    np.testing.assert_allclose(mine.std(0, ddof=1), spread)


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
    filled = quick("flow").fit_fill(frame)
    assert filled.table["price"].notna().all()
    assert "2 rows (3, 4; counted from 0) hold no other modality either" in filled.notes[0]


def test_rows_with_some_of_the_cells_are_neither_learned_from_nor_filled() -> None:
    frame = table()
    rows = np.flatnonzero(frame["price"].notna())[:4]
    frame.loc[rows, "size"] = np.nan
    imputer = quick()
    filled = imputer.fit_fill(frame)
    assert filled.table["size"].iloc[rows].isna().all()
    assert "4 rows" in imputer.notes_[-1]
    assert imputer.n_learned_ + imputer.quality_[0].n_rows == frame["size"].notna().sum()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_groups", [2, 4, 7])
def test_few_groups_are_not_cut_where_the_regression_is_judged(n_groups: int) -> None:
    groups = np.repeat(np.arange(n_groups), 10)
    folds = methods._folds(len(groups), groups, 0)
    assert len(folds) == min(5, n_groups)
    assert all(not set(groups[a]) & set(groups[b]) for a, b in folds)
    assert len(methods._folds(20, np.zeros(20), 0)) == 5  # of a single group nothing else can be done
    assert len(methods._folds(20, None, 0)) == 5


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
    def figures(self, drawn: np.ndarray, true: np.ndarray, seed: int = 0) -> object:
        n = true.shape[0]
        return measure(
            "it", Drawn(drawn, drawn.mean(0)), true, is_category=np.zeros(true.shape[1], dtype=bool),
            categories={}, units=np.arange(n), seed=seed,
        )  # fmt: skip

    def test_figures_are_those_of_numpy(self) -> None:
        rng = np.random.default_rng(0)
        drawn, true = rng.normal(size=(99, 50, 2)), rng.normal(size=(50, 2))
        found = self.figures(drawn, true)
        assert found.error == pytest.approx(np.sqrt(((drawn.mean(0) - true) ** 2).mean()))  # type: ignore[attr-defined]
        pairs = np.abs(drawn[:, None] - drawn[None]).sum((0, 1)) / (99 * 98)
        want = (np.abs(drawn - true).mean(0) - pairs / 2).mean()
        assert found.crps == pytest.approx(want)  # type: ignore[attr-defined]
        assert found.low < found.error < found.high  # type: ignore[attr-defined]

    def test_draws_of_the_same_law_cover_nine_tenths_and_narrow_ones_fewer(self) -> None:
        rng = np.random.default_rng(1)
        drawn, true = rng.normal(size=(99, 4000, 1)), rng.normal(size=(4000, 1))
        assert self.figures(drawn, true).coverage == pytest.approx(0.9, abs=0.015)  # type: ignore[attr-defined]
        assert self.figures(0.3 * drawn, true).coverage < 0.5  # type: ignore[attr-defined]
        crps = self.figures(drawn, true).crps  # type: ignore[attr-defined]
        assert crps == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)  # of a standard normal
        assert self.figures(0.3 * drawn, true).crps > crps  # type: ignore[attr-defined]

    @pytest.mark.parametrize("n_draws", [19, 20, 25, 29, 30, 31, 40, 99])
    def test_draws_of_the_same_law_cover_nine_tenths_however_many_they_are(self, n_draws: int) -> None:
        rng = np.random.default_rng(n_draws)
        covered = [
            self.figures(rng.normal(size=(n_draws, 5000, 1)), rng.normal(size=(5000, 1))).coverage  # type: ignore[attr-defined]
            for _ in range(4)
        ]
        assert np.mean(covered) == pytest.approx(0.9, abs=0.01)

    def test_the_coverage_of_few_draws_is_not_told(self) -> None:
        rng = np.random.default_rng(0)
        assert self.figures(rng.normal(size=(18, 50, 1)), rng.normal(size=(50, 1))).coverage is None  # type: ignore[attr-defined]

    def test_baselines_are_told_beside_the_method_once_each(self) -> None:
        frame = table()
        assert [q.method for q in quick("regression").fit(frame).quality_] == ["regression", "nearest", "mean"]
        assert [q.method for q in quick("nearest").fit(frame).quality_] == ["nearest", "mean"]
        assert [q.method for q in quick("mean").fit(frame).quality_] == ["mean", "nearest"]

    def test_the_mean_has_about_the_error_one_and_the_right_coverage(self) -> None:
        found = quick("mean").fit(table(1500)).quality_[0]
        assert found.error == pytest.approx(1.0, abs=0.1)
        assert found.coverage == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("n_steps", [*range(1, 13), 20])
def test_a_network_is_trained_for_any_number_of_steps(n_steps: int) -> None:
    rows = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    seen: list[Progress] = []
    valid = np.arange(12) < 3
    train(RegressionGenerator(3, 3, 8), rows, rows, valid=valid, epochs=n_steps, on_epoch=seen.append)
    assert [p.epoch for p in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].epoch == n_steps or n_steps > 10
    assert np.isfinite(seen[-1].train_loss)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["regression", "flow", "diffusion", "gan"])
def test_answers_and_spread_are_those_of_the_conditional_normal(method: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2500, 8))
    truth = 10 + 3 * (0.8 * a[:, 0] - 0.4 * a[:, 1])
    frame = pd.DataFrame({**{f"emb_{i}": a[:, i] for i in range(8)}, "price": truth + 1.5 * rng.normal(size=2500)})
    frame.loc[:499, "price"] = np.nan
    imputer = Imputer("table", method=method, n_samples=50)
    filled = imputer.fit_fill(frame)
    assert filled.table["price_spread"].mean() == pytest.approx(1.5, rel=0.15)
    off = filled.table["price"].to_numpy()[:500] - truth[:500]
    assert np.sqrt((off**2).mean()) < 0.3 * 1.5
    first, nearest, mean = imputer.quality_
    assert first.error < nearest.error < mean.error
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
        with pytest.raises(DataError, match="at least 20 rows must hold all of 'table'"):
            quick().fit(frame[:15])

    def test_names_that_would_be_added_must_be_free(self) -> None:
        with pytest.raises(DataError, match="must not be there yet; got 'price_spread'"):
            quick().fit(table().assign(price_spread=1.0))

    @pytest.mark.parametrize("named", [{"target": "prize"}, {"schema": {"target": {"columns": ["prize"]}}}])
    def test_a_target_that_is_not_there_is_told_as_the_target(self, named: dict[str, object]) -> None:
        with pytest.raises(ConfigError, match="target: it must be a column .* got 'prize'. Did you mean 'price'"):
            quick(**named).fit(table())

    def test_a_target_must_be_named_once(self) -> None:
        with pytest.raises(ConfigError, match="target: it must be named once"):
            quick(target="size", schema={"target": {"columns": ["colour"]}}).fit(table())
