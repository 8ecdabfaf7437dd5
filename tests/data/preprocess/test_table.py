"""`TablePreprocessor` against NumPy and scikit-learn, and on the tables people bring."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import RobustScaler

from profuse.data.dataset import ModalityData
from profuse.data.features.table import TableFeatures
from profuse.data.preprocess.table import TablePreprocessor
from profuse.errors import DataError


def table(values: pd.DataFrame | dict[str, Any], present: np.ndarray | None = None) -> ModalityData:
    frame = pd.DataFrame(values)
    return ModalityData("table", frame, np.ones(len(frame), bool) if present is None else present)


def fitted(
    values: pd.DataFrame | dict[str, Any], present: np.ndarray | None = None, **options: int
) -> TablePreprocessor:
    pre = TablePreprocessor(**options)
    pre.fit(table(values, present))
    return pre


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


def test_numbers_are_robustly_scaled_then_smoothly_bounded() -> None:
    x = np.random.default_rng(1).standard_t(2, size=300)
    z = RobustScaler().fit_transform(x[:, None])[:, 0]
    got = fitted({"a": x}).transform(table({"a": x})).values[:, 0].numpy()
    np.testing.assert_allclose(got, z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5, atol=1e-6)


@given(st.lists(st.floats(-1e300, 1e300, allow_nan=False), min_size=1, max_size=40))
@settings(deadline=None, max_examples=80)
def test_any_numbers_come_out_finite_bounded_and_in_order(numbers: list[float]) -> None:
    x = np.array(numbers)
    pre = fitted({"a": x}, rows_per_bin=1)
    z = pre.transform(table({"a": x})).values[:, 0].numpy()
    assert np.isfinite(z).all()
    assert (np.abs(z) <= 3).all()
    assert (np.diff(z[np.argsort(x, kind="stable")]) >= 0).all()
    assert (np.diff(pre.spec.edges[0]) > 0).all()


def test_edges_are_the_quantiles_of_train() -> None:
    x = np.random.default_rng(2).normal(size=1601)
    pre = fitted({"a": x}, max_bins=4)
    z = pre.transform(table({"a": x})).values[:, 0].double().numpy()
    np.testing.assert_allclose(pre.spec.edges[0], np.quantile(z, [0, 0.25, 0.5, 0.75, 1]), atol=2e-6)


@pytest.mark.parametrize(("n", "n_bins"), [(30, 1), (160, 10), (10_000, 48)])
def test_fewer_rows_make_fewer_bins(n: int, n_bins: int) -> None:
    assert len(fitted({"a": np.arange(n)}).spec.edges[0]) == n_bins + 1


def test_few_distinct_numbers_are_themselves_the_edges() -> None:
    x = np.repeat([0, 1, 5], [900, 60, 40])
    pre = fitted({"a": x})
    z = pre.transform(table({"a": [0, 1, 5]})).values[:, 0].numpy()
    np.testing.assert_allclose(pre.spec.edges[0], z, atol=1e-6)


def test_a_constant_column_is_zero_with_one_edge() -> None:
    pre = fitted({"a": np.full(50, 7.5), "b": np.arange(50)})
    raw = pre.transform(table({"a": [7.5, 9.0, np.nan], "b": [0, 1, 2]}))
    assert pre.spec.edges[0] == (0.0,)
    assert raw.values[:, 0].tolist() == [0, 0, 0]
    assert raw.mask[:, 0].tolist() == [True, True, False]


@pytest.mark.parametrize("empty", [[np.nan] * 50, [None] * 50])
def test_a_column_without_a_value_in_train_stays_masked(empty: list[Any]) -> None:
    pre = fitted({"a": empty, "b": np.arange(50)})
    raw = pre.transform(table({"a": [1.0, 2.0], "b": [0, 1]}))
    assert raw.mask.tolist() == [[False, True], [False, True]]
    assert raw.values[:, 0].tolist() == [0, 0]


def test_statistics_come_from_the_present_rows_of_train_only() -> None:
    frame = mixed()
    present = np.arange(200) % 3 > 0
    pre = fitted(frame, present)
    kept = fitted(frame[present].reset_index(drop=True))
    assert pre.state() == kept.state()
    before = json.dumps(pre.state())
    pre.transform(table(frame.assign(money=frame["money"] * 100)))
    assert json.dumps(pre.state()) == before


def test_what_stands_in_an_absent_row_is_not_read() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, np.inf]}, dtype=object)
    frame.loc[3, "a"] = "not a number"
    present = np.array([True, True, True, False])
    pre = fitted(frame, present)
    raw = pre.transform(table(frame, present))
    assert raw.present.tolist() == [True, True, True, False]
    assert raw.values[3].tolist() == [0.0]


@pytest.mark.parametrize("marker", [None, np.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], ["x", "y", "z"], [True, False, True]])
def test_every_marker_of_a_missing_cell_is_masked(marker: object, values: list[Any]) -> None:
    column = pd.Series([*values, marker], dtype=object)
    raw = fitted({"a": column}).transform(table({"a": column}))
    assert raw.mask[:, 0].tolist() == [True, True, True, False]
    assert raw.values[3, 0] == 0
    assert raw.present.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("column", "codes"),
    [
        (pd.Series(["b", "a", None], dtype="str"), [2, 1, None]),
        (pd.Series(["b", "a", None], dtype=object), [2, 1, None]),
        (pd.Series(pd.Categorical(["b", "a", None], categories=["a", "b", "c"])), [2, 1, None]),
        (pd.Series(pd.Categorical(["lo", "hi", None], categories=["lo", "mid", "hi"], ordered=True)), [1, 2, None]),
        (pd.Series(pd.Categorical([10, 9, None])), [2, 1, None]),
        (pd.Series([True, False, True]), [2, 1, 2]),
        (pd.Series([True, None, False], dtype="boolean"), [2, None, 1]),
        (pd.Series(["10", "9", "x"]), [2, 1, 3]),
    ],
)
def test_categories_of_every_type_get_codes_from_one(column: pd.Series, codes: list[Any]) -> None:
    pre = fitted({"a": column})
    raw = pre.transform(table({"a": column}))
    assert raw.mask[:, 0].tolist() == [code is not None for code in codes]
    assert raw.values[:, 0].tolist() == [code or 0 for code in codes]
    assert pre.spec.cardinalities == (1 + max(code or 0 for code in codes),)
    assert pre.spec.edges == ((),)


def test_a_category_not_seen_in_train_is_code_zero_and_real() -> None:
    raw = fitted({"a": ["x", "y"]}).transform(table({"a": ["y", "new", None]}))
    assert raw.values[:, 0].tolist() == [2, 0, 0]
    assert raw.mask[:, 0].tolist() == [True, True, False]


def test_a_whole_number_that_became_a_float_is_the_same_category() -> None:
    pre = fitted({"a": pd.Categorical([1, 2, 3])})
    assert pre.transform(table({"a": [1.0, np.nan, 3.0]})).values[:, 0].tolist() == [1, 0, 3]


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "int32", "float32", "object", "uint8"])
def test_numbers_of_every_type_are_scaled_alike(dtype: str) -> None:
    numbers = [1, 2, 3, 4, 9]
    pre = fitted({"a": np.array(numbers, float)})
    wanted = pre.transform(table({"a": np.array(numbers, float)}))
    got = fitted({"a": pd.Series(numbers, dtype=dtype)}).transform(table({"a": pd.Series(numbers, dtype=dtype)}))
    assert torch.equal(got.values, wanted.values)


def test_numbers_written_as_words_are_read_where_train_held_numbers() -> None:
    pre = fitted({"a": [1.0, 2.0, 3.0]})
    assert torch.equal(
        pre.transform(table({"a": ["1", "2.0", None]})).values, pre.transform(table({"a": [1, 2, np.nan]})).values
    )


def test_a_time_stamp_becomes_trend_and_the_cycles_that_train_spans() -> None:
    hours = pd.date_range("2021-03-01", periods=24 * 20, freq="h")
    pre = fitted({"t": hours})
    assert pre.names == ("t", "t.week_sin", "t.week_cos", "t.day_sin", "t.day_cos")
    assert (pre.spec.n_columns, len(pre.spec.cardinalities)) == (1, 5)  # of the data, and what the encoder is given
    assert fitted({"t": hours[::24]}).names == ("t", "t.week_sin", "t.week_cos")
    assert fitted({"t": pd.date_range("2018-01-01", periods=800, freq="D")}).names[1:3] == ("t.year_sin", "t.year_cos")


def test_times_one_cycle_apart_differ_in_trend_only() -> None:
    hours = pd.date_range("2021-03-01", periods=24 * 20, freq="h")
    values = fitted({"t": hours}).transform(table({"t": hours})).values
    assert torch.equal(values[: 24 * 13, 1:], values[24 * 7 :, 1:])
    assert (values[1:, 0] > values[:-1, 0]).all()


TIMES = pd.to_datetime(pd.Series(["2021-03-01", "2021-03-09", None]))


@pytest.mark.parametrize(
    "same",
    [
        pd.Series(["2021-03-01T00:00", "2021-03-09", None]),
        pd.Series([date(2021, 3, 1), date(2021, 3, 9), None], dtype=object),
        TIMES.astype("datetime64[s]"),
    ],
)
def test_times_are_read_from_words_dates_and_other_units(same: pd.Series) -> None:
    pre = fitted({"t": pd.date_range("2021-03-01", periods=20, freq="D")})
    wanted = pre.transform(table({"t": TIMES}))
    got = pre.transform(table({"t": same}))
    assert torch.equal(got.values, wanted.values)
    assert got.mask[2].tolist() == [False] * 3


def test_the_clock_of_trains_time_zone_counts() -> None:
    local = pd.Series(pd.date_range("2021-03-01", periods=24 * 20, freq="h", tz="Asia/Tokyo"))
    pre = TablePreprocessor.from_state(json.loads(json.dumps(fitted({"t": local}).state())))
    there, here = pre.transform(table({"t": local})), pre.transform(table({"t": local.dt.tz_convert("UTC")}))
    assert torch.equal(there.values, here.values)


def test_the_order_of_columns_does_not_matter() -> None:
    frame = mixed()
    pre = fitted(frame)
    assert torch.equal(pre.transform(table(frame)).values, pre.transform(table(frame[frame.columns[::-1]])).values)


def test_a_state_that_went_through_json_gives_an_equal_preprocessor() -> None:
    frame = mixed()
    pre = fitted(frame, max_bins=7)
    twin = TablePreprocessor.from_state(json.loads(json.dumps(pre.state())))
    assert twin.state() == pre.state()
    assert (twin.spec, twin.names) == (pre.spec, pre.names)
    a, b = pre.transform(table(frame)), twin.transform(table(frame))
    assert torch.equal(a.values, b.values)
    assert torch.equal(a.mask, b.mask)


def test_the_output_is_float32_and_bool_with_one_column_a_name() -> None:
    pre = fitted(mixed())
    raw = pre.transform(table(mixed(7)))
    assert raw.values.dtype == torch.float32
    assert raw.values.shape == raw.mask.shape == (7, len(pre.names))
    assert len(pre.spec.cardinalities) == len(pre.spec.edges) == len(pre.names)
    assert raw.values[~raw.mask].eq(0).all()


def test_no_rows_at_all_give_an_empty_batch() -> None:
    raw = fitted(mixed()).transform(table(mixed().iloc[:0]))
    assert raw.values.shape[0] == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"agee": [1.0], "b": ["x"]}, r"lacking=\['age'\], unknown=\['agee'\].*'agee' is near 'age'"),
        ({"age": [1.0]}, r"lacking=\['b'\], unknown=\[\]"),
        ({"age": [1.0], "b": ["x"], "c": [1]}, r"unknown=\['c'\]"),
        ({"age": ["old"], "b": ["x"]}, r"'age' held numbers in train.*got 'old' in row 0"),
        ({"age": [-np.inf], "b": ["x"]}, r"must be finite; got -inf in column 'age', row 0"),
        ({"age": [1.0], "b": [["x"]]}, r"column 'b' must be numbers, words or times; got type=list"),
    ],
)
def test_a_table_unlike_train_is_told(values: dict[str, Any], message: str) -> None:
    pre = fitted({"age": [1.0, 2.0], "b": ["x", "y"]})
    features = TableFeatures()
    features.fit(table({"age": [1.0, 2.0], "b": ["x", "y"]}))
    for part in (pre, features):
        with pytest.raises(DataError, match=message):
            part.transform(table(values))


@pytest.mark.parametrize("values", [["soon"], [5.0]])
def test_a_time_that_is_none_is_told(values: list[Any]) -> None:
    pre = fitted({"t": pd.date_range("2021-03-01", periods=20, freq="D")})
    with pytest.raises(DataError, match="'t' held times in train and must do so here"):
        pre.transform(table({"t": values}))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(index=range(3)), "at least one column; got 0"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column names must differ; got 'a' twice"),
        (pd.DataFrame({"a": [np.inf, 1.0]}), "numbers must be finite; got inf in column 'a', row 0"),
        (pd.DataFrame({"a": [1j]}), "column 'a' must be real; got dtype=complex128"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_told(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TablePreprocessor().fit(table(frame))


def test_a_modality_that_is_always_absent_is_told() -> None:
    with pytest.raises(DataError, match="at least one training row must be present; got none"):
        TablePreprocessor().fit(table({"a": [1.0]}, np.array([False])))


def test_another_kind_and_bad_options_are_told() -> None:
    with pytest.raises(DataError, match="must be given a table; got kind='vector'"):
        TablePreprocessor().fit(ModalityData("vector", np.ones((2, 2)), np.ones(2, bool)))
    with pytest.raises(DataError, match="got max_bins=0, rows_per_bin=16"):
        TablePreprocessor(max_bins=0)
