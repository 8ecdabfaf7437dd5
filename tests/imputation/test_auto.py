"""`auto` takes the method that is best on rows held back, and says which; the plainest where nothing is to be had."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge as Reference

from profuse.errors import ProfuseWarning
from profuse.imputation import Imputer
from profuse.imputation.choice import gain, units_of
from profuse.imputation.coding import Part, Target
from profuse.imputation.quality import hidden_like
from profuse.imputation.ridge import PENALTIES, Ridge, folds_of
from profuse.imputation.words import Words, drawn_words, ranks_of

SCHEMA = {"modalities": {"a": {"kind": "vector", "columns": ["x", "y"]}, "b": {"kind": "table", "columns": ["u"]}}}


def table(kind: str, n: int = 160) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    x = rng.uniform(-2, 2, size=(n, 2))
    u = {
        "straight": x[:, 0] + 0.5 * rng.normal(size=n),
        "bent": 3 * np.cos(2.5 * x[:, 0]) * np.sign(x[:, 1]) + 0.3 * rng.normal(size=n),
        "nothing": rng.normal(size=n),
        "words": np.where(x[:, 0] + 0.3 * rng.normal(size=n) > 0, "up", "down").astype(object),
        "words of nothing": np.where(rng.random(n) > 0.4, "up", "down").astype(object),
    }[kind]
    frame = pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "u": u})
    frame.loc[:19, "u"] = None
    return frame


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("straight", "ridge"), ("bent", "nearest"), ("nothing", "mean"),
        ("words", "ridge"), ("words of nothing", "mean"),
    ],
)  # fmt: skip
def test_the_method_suits_the_data_and_is_told(kind: str, method: str) -> None:
    imputer = Imputer("b", schema=SCHEMA, n_samples=10)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        imputer.fit(table(kind))
    assert imputer.method_ == imputer.quality_[0].method == method
    assert imputer.choice_ is not None
    assert f"Method {method!r} is chosen (auto)" in imputer.choice_.note
    assert imputer.choice_.note in imputer.notes_
    assert imputer.choice_.of_draws["mean"] == imputer.choice_.of_answers["mean"] == 1.0
    said = [str(w.message) for w in heard if issubclass(w.category, ProfuseWarning)]
    assert (len(said) == 1) == (method == "mean")
    assert all("no method does better than the mean" in text for text in said)
    filled = imputer.fill(table(kind))
    assert filled.table["u"].notna().all()


def test_a_method_of_ones_own_that_is_no_better_than_the_mean_is_told_as_a_warning() -> None:
    with pytest.warns(ProfuseWarning, match="nearest does no better than the mean on the hidden rows"):
        Imputer("b", method="nearest", schema=SCHEMA, n_samples=3).fit(table("nothing"))


def test_the_mean_asked_for_is_not_told_to_be_the_mean() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Imputer("b", method="mean", schema=SCHEMA).fit(table("nothing"))


def test_text_is_copied_from_the_nearest_rows_unasked() -> None:
    frame = table("straight").drop(columns="u")
    kinds = np.where(frame["x"] > 0, "bright and good", "dark but cheap")
    frame["note"] = [f"{kind} thing, number {i} of all" for i, kind in enumerate(kinds)]
    frame.loc[::6, "note"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfuseWarning)
        imputer = Imputer("note").fit(frame)
    assert (imputer.method_, imputer.choice_) == ("nearest", None)


@pytest.mark.slow
def test_networks_are_candidates_where_rows_are_many_and_win_where_they_are_better() -> None:
    """A spread of |x| that is not small beside the curve is learned from 300 rows, in few epochs."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(400, 2))
    u = 2 * np.sin(2 * x[:, 0]) * x[:, 1] + 0.6 * np.abs(x[:, 0]) * rng.normal(size=400)
    frame = pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "u": u})
    frame.loc[:99, "u"] = np.nan
    imputer = Imputer("b", schema=SCHEMA, epochs=60).fit(frame)
    assert imputer.choice_ is not None
    assert {"flow", "regression"} <= set(imputer.choice_.of_draws)
    assert imputer.method_ == "flow"
    spread = imputer.fill(frame).table["u_spread"][:100]
    assert spread[np.abs(x[:100, 0]) < 0.5].mean() < 0.7 * spread[np.abs(x[:100, 0]) > 1.5].mean()


@pytest.mark.parametrize("method", [pytest.param("flow", marks=pytest.mark.slow), "regression"])
def test_what_a_network_adds_is_shrunk_where_there_is_nothing_to_add(method: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    frame = pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "u": rng.normal(size=120)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfuseWarning)
        imputer = Imputer("b", method=method, schema=SCHEMA, epochs=40).fit(frame)
    if method == "flow":  # the regression is as it was before its first epoch, and adds nothing
        assert 0 <= imputer._method._trust < 0.9  # type: ignore[attr-defined]
    by_method = {q.method: q for q in imputer.quality_}
    assert by_method[method].error < 1.05 * by_method["ridge"].error  # type: ignore[operator]


@pytest.mark.parametrize(("kind", "method"), [("straight", "ridge"), ("nothing", "mean")])
def test_mean_and_ridge_fill_from_the_hidden_rows_too_once_they_are_measured(kind: str, method: str) -> None:
    frame = table(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfuseWarning)
        chosen, named = Imputer("b", schema=SCHEMA), Imputer("b", schema=SCHEMA, method=method)
        fills = [imputer.fit_transform(frame)["u"][:20] for imputer in (chosen, named)]
        refitted = Imputer("b", schema=SCHEMA, method=method, held_out=0.02).fit_transform(frame)["u"][:20]
    assert chosen.method_ == method
    assert chosen.n_learned_ == 112
    np.testing.assert_array_equal(*fills)
    if method == "mean":
        np.testing.assert_allclose(fills[0], frame["u"].mean())
    np.testing.assert_allclose(fills[0], refitted, atol=0.02)  # folds are others


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_filled_no_worse_than_with_the_mean_of_all_known_cells(seed: int) -> None:
    cells = np.random.default_rng(seed).normal(size=(200, 16))
    frame = pd.DataFrame(cells, columns=[f"{k}_{i}" for k in "ab" for i in range(8)])
    schema = {"modalities": {k: {"kind": "vector", "columns": [f"{k}_{i}" for i in range(8)]} for k in "ab"}}
    frame.loc[:59, frame.columns[8:]] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfuseWarning)
        filled = Imputer("b", schema=schema).fit_transform(frame).iloc[:60, 8:16].to_numpy(float)
    true = cells[:60, 8:]
    worse = ((filled - true) ** 2 - (cells[60:, 8:].mean(0) - true) ** 2).mean(1)
    assert worse.mean() <= 2 * worse.std() / 60**0.5 + 1e-9


@pytest.mark.parametrize(
    "strength", [pytest.param(0.0, marks=pytest.mark.slow), 0.13, pytest.param(0.3, marks=pytest.mark.slow)]
)
def test_wide_and_weak_data_are_not_filled_worse_than_by_the_mean(strength: float) -> None:
    """Over several tables, with the error that chance alone makes."""
    worse = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(180, 3))
        told = z @ rng.normal(size=(3, 30)) + 1.5 * rng.normal(size=(180, 30))
        true = strength * z @ rng.normal(size=(3, 30)) + rng.normal(size=(180, 30))
        frame = pd.DataFrame(np.c_[told, true], columns=[f"{k}_{i}" for k in "ab" for i in range(30)])
        names = [f"b_{i}" for i in range(30)]
        frame.loc[:59, names] = np.nan
        schema = {"modalities": {k: {"kind": "vector", "columns": [f"{k}_{i}" for i in range(30)]} for k in "ab"}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ProfuseWarning)
            filled = Imputer("b", schema=schema, random_state=seed).fit_fill(frame)
        ours = ((filled.table[names][:60] - true[:60]) ** 2).to_numpy().mean()
        worse.append(ours - ((true[60:].mean(0) - true[:60]) ** 2).mean())
    assert np.mean(worse) < 0.01
    assert max(worse) < 0.03


def test_a_gain_is_that_of_the_average_cell_and_groups_count_as_one() -> None:
    rng = np.random.default_rng(0)
    mean = np.abs(rng.normal(size=(400, 3))) * [1.0, 0.01, 50.0]  # two numbers, a category
    measure = units_of(mean, 2)
    assert measure == pytest.approx([mean[:, :2].mean()] * 2 + [mean[:, 2].mean()])
    old, new = mean.copy(), mean * [0.9, 3.0, 0.7]  # the small number is three times worse, and hardly counts
    better, error = gain(old, new, measure, np.arange(400))
    rows = ((old - new) / measure).mean(1)
    assert better == pytest.approx(rows.mean())
    assert better > 0.1
    assert error == pytest.approx(rows.std(ddof=1) / 20)
    old_twice, new_twice = (np.repeat(scores, 2, axis=0) for scores in (old, new))
    assert gain(old_twice, new_twice, measure, np.repeat(np.arange(400), 2)) == pytest.approx((better, error))
    assert gain(old, new, np.zeros(3), np.arange(400)) == (0.0, 0.0)


def test_cells_are_hidden_as_other_rows_lack_them() -> None:
    parts = tuple(Part(c, "number", i, i + 1) for i, c in enumerate("pqr"))
    numbers = np.random.default_rng(0).normal(size=(500, 3))
    numbers[::5, 0] = np.nan
    target = Target(numbers, ~np.isnan(numbers), parts)
    gaps = np.array([[True, False, False], [False, True, True]])
    hidden = hidden_like(target, gaps, 0)
    rows = {tuple(map(bool, row)) for row in hidden}
    assert rows == {(True, False, False), (False, True, True)}  # of a row without p nothing was left to hide but q, r
    assert not hidden[::5, 0].any()
    assert (hidden_like(target, gaps[:0], 0) == target.known_numbers).all()


class TestRidge:
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(90, 7)) + 3
        y = x @ rng.normal(size=(7, 4)) * [1, 1, 0.1, 0] + rng.normal(size=(90, 4))
        y[:30, 1] = np.nan
        return x, y

    @pytest.mark.parametrize("wide", [False, True])
    def test_it_is_that_of_scikit_learn_on_the_rows_that_know_a_number(self, wide: bool) -> None:
        x, y = self.data()
        if wide:
            x = np.concatenate([x, np.random.default_rng(1).normal(size=(90, 200))], axis=1)
        folds = folds_of(90, None, 0)
        ours = Ridge(x, y, folds)
        for j in range(4):
            known = ~np.isnan(y[:, j])
            penalty = ours.penalty[j] if np.isfinite(ours.penalty[j]) else 1e14
            theirs = Reference(penalty).fit(x[known], y[known, j])
            np.testing.assert_allclose(ours.predict(x)[:, j], theirs.predict(x), atol=1e-6)
            for learn, held in folds:
                rows = learn[known[learn]]
                theirs = Reference(penalty).fit(x[rows], y[rows, j])
                np.testing.assert_allclose(ours.held_out[held, j], theirs.predict(x[held]), atol=1e-6)

    def test_the_penalty_is_small_for_signals_and_the_mean_where_there_is_none(self) -> None:
        x, y = self.data()
        x, y = np.tile(x, (3, 1)), np.tile(y, (3, 1))
        y[:, 3] = np.random.default_rng(2).normal(size=270)
        ridge = Ridge(x, y, folds_of(270, np.tile(np.arange(90), 3), 0))
        assert ridge.penalty[0] < 100
        off = (ridge.held_out[:, 3] - y[:, 3]) ** 2
        assert off.mean() < 1.05 * y[:, 3].var()
        assert PENALTIES[-1] == np.inf


class TestWords:
    def scores(self, n: int, slope: float) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        scores = rng.normal(size=(n, 3))
        log = slope * scores + np.log([0.6, 0.3, 0.1])
        chance = np.exp(log) / np.exp(log).sum(1, keepdims=True)
        return scores, (rng.random(n)[:, None] > chance.cumsum(1)[:, :-1]).sum(1)

    def test_probabilities_hold(self) -> None:
        scores, words = self.scores(6000, 1.5)
        shares = Words(scores[:3000], words[:3000]).shares(scores[3000:])
        np.testing.assert_allclose(shares.sum(1), 1)
        for word in range(3):
            order = np.argsort(shares[:, word])
            for rows in np.array_split(order, 6):
                assert (words[3000:][rows] == word).mean() == pytest.approx(shares[rows, word].mean(), abs=0.06)

    def test_scores_that_say_nothing_leave_the_frequencies(self) -> None:
        scores, words = self.scores(300, 0.0)
        shares = Words(scores, np.where(np.arange(300) < 20, -1, words)).shares(scores)
        np.testing.assert_allclose(shares.mean(0), np.bincount(words[20:]) / 280, atol=0.01)
        assert shares.std(0).max() < 0.05

    def test_a_single_word_is_certain(self) -> None:
        assert Words(np.zeros((5, 1)), np.zeros(5, dtype=int)).shares(np.zeros((2, 1))).tolist() == [[1.0], [1.0]]

    def test_a_word_stands_where_it_is_drawn_from_and_ranks_are_uniform(self) -> None:
        scores, words = self.scores(4000, 1.5)
        shares = Words(scores, words).shares(scores)
        ranks = ranks_of(shares, words, 0)
        assert (drawn_words(shares, ranks[None])[0] == words).all()
        counts = np.histogram(ranks, bins=10, range=(0, 1))[0]
        assert ((counts - 400) ** 2 / 400).sum() < 33
