"""Rows that hold a part of the modality: it stays, it tells of the rest, and it is learned from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from profuse.imputation import METHODS, Imputer
from profuse.imputation.residuals import Residuals

pytestmark = pytest.mark.filterwarnings("ignore:Imputer. Modality .* no better than the mean")
SCHEMA = {
    "modalities": {
        "a": {"kind": "vector", "columns": ["x", "y"]},
        "b": {"kind": "table", "columns": ["u", "v", "word"]},
    }
}


def table(n: int = 160, seed: int = 0) -> pd.DataFrame:
    """u hangs on x; v and the word hang on u alone; a third of the cells of b are missing, each for itself."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    u = x[:, 0] + rng.normal(size=n)
    frame = pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "u": u, "v": 5 - 2 * u + 0.1 * rng.normal(size=n)})
    frame["word"] = np.where(u + 0.1 * rng.normal(size=n) > 0, "up", "down").astype(object)
    for column in ("u", "v", "word"):
        frame.loc[rng.random(n) < 1 / 3, column] = None
    return frame


@pytest.mark.parametrize("method", METHODS)
def test_known_cells_stay_bit_for_bit_and_the_others_are_filled(method: str) -> None:
    frame = table()
    filled = Imputer("b", method=method, schema=SCHEMA, n_samples=3, n_tables=1, epochs=2, width=8).fit_fill(frame)
    lost = frame[["u", "v", "word"]].isna()
    for column in ("u", "v", "word"):
        for out in (filled.table, *filled.tables):
            assert out[column].notna().all()
            assert out[column][~lost[column]].tolist() == frame[column][~lost[column]].tolist()
        assert (filled.table[f"{column}_spread"].notna() == lost[column]).all()
        assert filled.cells[column].tolist() == np.flatnonzero(lost[column]).tolist()
        known = filled.samples.merge(frame[column], left_on="row", right_index=True)
        known = known[known[f"{column}_y"].notna()]
        assert (known[f"{column}_x"] == known[f"{column}_y"]).all()
    assert (filled.table["b_filled"] == lost.any(axis=1)).all()
    assert filled.rows.tolist() == np.flatnonzero(lost.any(axis=1)).tolist()


@pytest.mark.parametrize(
    ("method", "helps"), [("ridge", True), ("nearest", True), ("regression", True), ("mean", False)]
)
def test_what_is_known_of_a_row_tells_of_the_rest(method: str, helps: bool) -> None:
    rng = np.random.default_rng(1)
    frame = table(400)
    fitted = Imputer("b", method=method, schema=SCHEMA, n_samples=5, epochs=3, width=8).fit(frame)
    u = rng.normal(size=60) * 1.4
    new = pd.DataFrame({"x": rng.normal(size=60), "y": 0.0, "u": u, "v": np.nan, "word": None})
    filled = fitted.fill(new)
    off = float(np.sqrt(((filled.table["v"] - (5 - 2 * u)) ** 2).mean()))
    words = float((filled.table["word"] == np.where(u > 0, "up", "down")).mean())
    assert (off < 1.2) == helps  # of a standard deviation of 2.8
    assert (words > 0.7) == helps  # half of them are up
    if method in ("ridge", "regression"):
        whole = fitted.fill(new.assign(u=np.nan))
        assert filled.table["v_spread"].mean() < 0.3 * whole.table["v_spread"].mean()
        z = (filled.table["v"] - (5 - 2 * u)) / filled.table["v_spread"]
        assert z.abs().max() < 5


@pytest.mark.parametrize("method", ["ridge", "nearest", "mean", "flow"])
def test_a_table_without_one_complete_row_is_learned_from(method: str) -> None:
    frame = table(200)
    turn = np.arange(200) % 3
    for i, column in enumerate(("u", "v", "word")):
        frame.loc[turn == i, column] = None
    assert not frame.notna().all(axis=1).any()
    imputer = Imputer("b", method=method, schema=SCHEMA, n_samples=4, epochs=2, width=8)
    filled = imputer.fit_fill(frame)
    assert filled.table[["u", "v", "word"]].notna().all(axis=None)
    n_usable = int(frame[["u", "v", "word"]].notna().any(axis=1).sum())
    assert imputer.n_learned_ + imputer.quality_[0].n_rows == n_usable


def test_rows_that_hold_a_part_make_the_answer_better() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(330, 12))
    frame = pd.DataFrame(x, columns=[f"x_{i}" for i in range(12)])
    frame["u"] = x @ rng.normal(size=12) + rng.normal(size=330)
    truth = frame["u"].copy()
    frame["v"] = rng.normal(size=330)
    frame.loc[:99, ["u", "v"]] = np.nan
    frame.loc[130:, "v"] = np.nan  # only 30 rows hold both
    schema = {
        "modalities": {
            "x": {"kind": "vector", "columns": [f"x_{i}" for i in range(12)]},
            "uv": {"kind": "vector", "columns": ["u", "v"]},
        }
    }
    errors = []
    for rows in (frame, frame[:130]):
        filled = Imputer("uv", method="ridge", schema=schema).fit(rows).fill(frame)
        errors.append(float(((filled.table["u"] - truth)[:100] ** 2).mean()))
    assert errors[0] < 0.7 * errors[1]


def test_known_numbers_inside_a_list_stay() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(90, 3))
    code = np.c_[a[:, 0], a[:, 0] + 0.1 * rng.normal(size=90), a[:, 1]]
    cells = [None if i % 4 == 0 else v.tolist() for i, v in enumerate(code)]
    for i in range(1, 90, 8):
        cells[i][1] = None  # type: ignore[index]
    frame = pd.DataFrame({"code": pd.Series(cells, dtype=object), "x": a[:, 2], "y": a[:, 1]})
    filled = Imputer("code", method="ridge", n_samples=4).fit_fill(frame)
    for i in range(1, 90, 8):
        made, spread = filled.table["code"][i], filled.table["code_spread"][i]
        assert (made[0], made[2]) == (code[i, 0], code[i, 2])
        assert abs(made[1] - code[i, 0]) < 4 * spread[1] < 1.6
        assert (spread[0], spread[2]) == (0.0, 0.0)
        assert spread[1] > 0
    assert filled.table["code"][2] == cells[2]


def test_that_an_input_is_missing_is_an_input_itself() -> None:
    rng = np.random.default_rng(0)
    lost = rng.random(300) < 0.3
    frame = pd.DataFrame({"x": np.where(lost, np.nan, rng.normal(size=300)), "y": rng.normal(size=300)})
    frame["u"] = 3.0 * lost + 0.1 * rng.normal(size=300)
    truth = frame["u"].copy()
    frame.loc[:59, "u"] = np.nan
    schema = {"modalities": {"a": {"kind": "vector", "columns": ["x", "y"]}, "b": {"kind": "table", "columns": ["u"]}}}
    filled = Imputer("b", method="ridge", schema=schema).fit_fill(frame)
    assert ((filled.table["u"] - truth)[:60] ** 2).mean() < 0.05


class TestResiduals:
    def normal(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        root = rng.normal(size=(4, 4))
        return rng.normal(size=(n, 4)) @ root.T, root @ root.T

    def test_moments_and_draws_are_those_of_the_conditional_normal(self) -> None:
        errors, s = self.normal(20_000)
        residuals = Residuals(errors)
        known = np.array([[0.7, np.nan, -1.1, np.nan], [np.nan] * 4, [1.0, 2.0, 3.0, 4.0]])
        mean, deviation = residuals.moments(known)
        k, m = [0, 2], [1, 3]
        slope = s[np.ix_(m, k)] @ np.linalg.inv(s[np.ix_(k, k)])
        np.testing.assert_allclose(mean[0, m], slope @ known[0, k], rtol=0.05, atol=0.05)
        left = s[np.ix_(m, m)] - slope @ s[np.ix_(k, m)]
        np.testing.assert_allclose(deviation[0, m], np.sqrt(np.diag(left)), rtol=0.05)
        np.testing.assert_allclose(mean[1], 0)
        np.testing.assert_allclose(deviation[1], np.sqrt(np.diag(s)), rtol=0.05)
        donors = np.random.default_rng(1).integers(0, 20_000, 4000)
        drawn = residuals.given(residuals.rows[donors][:, None], known[:1])[:, 0][:, m]
        np.testing.assert_allclose(drawn.mean(0), slope @ known[0, k], atol=0.1)
        np.testing.assert_allclose(np.cov(drawn.T), left, rtol=0.1, atol=0.05)

    def test_errors_that_are_not_known_are_drawn_by_the_law_of_the_others(self) -> None:
        errors, s = self.normal(8000)
        lost = np.random.default_rng(2).random(errors.shape) < 0.3
        lost[lost.all(1), 0] = False
        residuals = Residuals(np.where(lost, np.nan, errors))
        np.testing.assert_allclose(residuals.covariance, s, rtol=0.1, atol=0.15)
        np.testing.assert_allclose(np.cov(residuals.rows.T), s, rtol=0.1, atol=0.15)
        mean = np.nanmean(np.where(lost, np.nan, errors), axis=0)
        np.testing.assert_allclose((residuals.rows + mean)[~lost], errors[~lost])

    def test_few_rows_shrink_what_numbers_tell_of_each_other(self) -> None:
        noise = np.random.default_rng(3).normal(size=(20, 60))
        residuals = Residuals(noise)
        known = np.where(np.arange(60) < 40, noise[:1], np.nan)
        mean, deviation = residuals.moments(known)
        assert np.abs(mean).max() < 0.5
        assert np.isfinite(deviation).all()
        assert (deviation[0, 40:] > 0.5 * residuals.deviation[40:]).all()


def test_a_vector_of_one_number_is_filled_as_a_number() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80), "u": rng.normal(size=80)})
    frame.loc[::5, "u"] = np.nan
    schema = {"modalities": {k: {"kind": "vector", "columns": [c]} for k, c in {"a": "x", "b": "u"}.items()}}
    filled = Imputer("b", method="ridge", schema=schema, n_tables=1).fit_fill(frame)
    for table in (filled.table, *filled.tables):
        assert table["u"].dtype == np.float64
        assert table["u"].notna().all()


def test_durations_are_filled_as_durations() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(80, 8))
    frame = pd.DataFrame({f"emb_{i}": a[:, i] for i in range(8)})
    frame["stay"] = pd.to_timedelta(5 + a[:, 0] + 0.1 * rng.normal(size=80), unit="D")
    frame.loc[::5, "stay"] = pd.NaT
    filled = Imputer("table", method="ridge", n_samples=3).fit_fill(frame)
    assert pd.api.types.is_timedelta64_dtype(filled.table["stay"].dtype)
    off = filled.table["stay"].dt.total_seconds() / 86_400 - (5 + a[:, 0])
    assert off.abs().max() < 0.6
    assert pd.api.types.is_timedelta64_dtype(filled.samples["stay"].dtype)
