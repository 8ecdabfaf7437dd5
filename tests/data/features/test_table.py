"""Hand-made features of tables."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OrdinalEncoder

from profuse.data.dataset import ModalityData
from profuse.data.features.ranks import RankFeatures
from profuse.data.features.table import TableFeatures


def table(values: pd.DataFrame | dict[str, Any], present: np.ndarray | None = None) -> ModalityData:
    frame = pd.DataFrame(values)
    return ModalityData("table", frame, np.ones(len(frame), bool) if present is None else present)


def fitted(values: pd.DataFrame | dict[str, Any], present: np.ndarray | None = None) -> TableFeatures:
    made = TableFeatures()
    made.fit(table(values, present))
    return made


def mixed(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "money": rng.lognormal(size=n),
            "town": rng.choice(["Ulm", "Bonn", "Kiel"], n),
            "when": pd.date_range("2020-01-01", periods=n, freq="51h"),
            "ok": rng.random(n) > 0.5,
        }
    )
    frame.loc[3, "money"], frame.loc[4, "town"], frame.loc[5, "when"] = np.nan, None, pd.NaT
    return frame


def test_a_time_stamp_becomes_days_and_places_in_the_cycles_that_train_spans() -> None:
    hours = pd.date_range("2021-03-01", periods=24 * 20, freq="h")
    made = fitted({"t": hours})
    assert made.names == ("t", "t.week", "t.day")
    x = made.transform(table({"t": hours}))
    np.testing.assert_allclose(x[:, 0], (hours - pd.Timestamp(0)) / pd.Timedelta(days=1))
    np.testing.assert_allclose(x[:, 1], hours.day_of_week + hours.hour / 24)
    np.testing.assert_allclose(x[:, 2], hours.hour / 24)


def test_the_clock_of_trains_time_zone_counts() -> None:
    local = pd.Series(pd.date_range("2021-03-01", periods=24 * 20, freq="h", tz="Asia/Tokyo"))
    made = TableFeatures.from_state(json.loads(json.dumps(fitted({"t": local}).state())))
    for clock in (local, local.dt.tz_convert("UTC")):
        assert made.transform(table({"t": clock}))[5, 2] == pytest.approx(5 / 24)


def test_what_stands_in_an_absent_row_is_not_read() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, "not a number"]}, dtype=object)
    present = np.array([True, True, True, False])
    assert np.isnan(fitted(frame, present).transform(table(frame, present))[3]).all()


def test_a_state_that_went_through_json_gives_equal_features() -> None:
    frame = mixed()
    made = fitted(frame)
    twin = TableFeatures.from_state(json.loads(json.dumps(made.state())))
    assert (twin.state(), twin.names, twin.categories) == (made.state(), made.names, made.categories)
    np.testing.assert_array_equal(made.transform(table(frame)), twin.transform(table(frame)))


def test_a_duration_counts_as_a_number_in_seconds() -> None:
    spans = pd.Series(pd.to_timedelta([1, 2, None], unit="min"))
    np.testing.assert_equal(fitted({"d": spans}).transform(table({"d": spans}))[:, 0], [60, 120, np.nan])


def test_features_are_raw_numbers_and_ordinal_codes_that_trees_take() -> None:
    frame = mixed().drop(columns="when")
    pre = fitted(frame)
    got = pre.transform(table(frame))
    assert pre.names == ("money", "town", "ok")
    assert pre.categories == (False, True, True)
    np.testing.assert_array_equal(got[:, 0], frame["money"])
    np.testing.assert_array_equal(got[:, [1]], OrdinalEncoder().fit_transform(frame[["town"]]))
    unseen = pre.transform(table(frame.assign(town="Rom")))
    assert np.isnan(unseen[:, 1]).all()
    trees = HistGradientBoostingClassifier(max_iter=3, categorical_features=pre.categories)
    assert trees.fit(got, frame["ok"]).score(got, frame["ok"]) == 1


def test_ranks_are_normal_quantiles_of_training_numbers_whatever_their_unit() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    made = RankFeatures()
    made.fit(table({"x": np.exp(3 * x), "few": np.tile([0.0, 0.0, 0.0, 1.0], 500)}))
    got = made.transform(table({"x": [*np.exp(3 * np.array([0.0, 1.0, -1.0, 9.0])), np.nan], "few": [0, 1, 0, 1, 1]}))
    np.testing.assert_allclose(got[:4, 0], [0, 1, -1, norm.ppf(0.995)], atol=0.1)
    assert np.isnan(got[4, 0])
    np.testing.assert_allclose(got[:2, 1], norm.ppf([0.375, 0.875]))


def test_categories_bring_how_frequent_they_are() -> None:
    frame = pd.DataFrame({"n": np.arange(8.0), "town": [*"aaaabbc", None]})
    made = RankFeatures()
    made.fit(table(frame))
    assert made.categories == (False, True, False)
    got = made.transform(table(frame))
    np.testing.assert_allclose(got[:, 2], np.log([4, 4, 4, 4, 2, 2, 1, np.nan]))
    assert np.isnan(made.transform(table(frame.assign(town="z")))[:, 1:]).all()
    twin = RankFeatures.from_state(made.state())
    assert twin.categories == made.categories
    np.testing.assert_array_equal(twin.transform(table(frame)), got)
