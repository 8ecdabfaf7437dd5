"""`VectorPreprocessor` against scikit-learn and NumPy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from profuse.data.dataset import ModalityData
from profuse.data.preprocess.vector import VectorPreprocessor
from profuse.errors import DataError


def vector(values: np.ndarray, present: np.ndarray | None = None) -> ModalityData:
    return ModalityData("vector", values, np.ones(len(values), bool) if present is None else present)


def fitted(values: np.ndarray, present: np.ndarray | None = None, **options: float) -> VectorPreprocessor:
    pre = VectorPreprocessor(**options)
    pre.fit(vector(values, present))
    return pre


X = np.random.default_rng(0).normal(3.0, 7.0, size=(120, 5))


def test_channels_without_outliers_are_standardised_as_scikit_learn_does() -> None:
    test = X[:20] + 1.0
    got = fitted(X).transform(vector(test)).values.numpy()
    np.testing.assert_allclose(got, StandardScaler().fit(X).transform(test), rtol=1e-5, atol=1e-6)


def test_a_wild_value_neither_sets_the_unit_nor_comes_through() -> None:
    wild = X.copy()
    wild[0, 0] = 1e9
    got = fitted(wild).transform(vector(wild)).values[:, 0].numpy()
    assert got[1:].std() > 0.5
    assert got[0] < 15
    assert got[0] == got.max()


def test_a_channel_that_is_mostly_one_value_keeps_its_rare_ones() -> None:
    x = np.zeros((100, 1))
    x[:4] = 1.0
    z = fitted(x).transform(vector(x)).values[:, 0].numpy()
    np.testing.assert_allclose(z, StandardScaler().fit_transform(x)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e12])
def test_a_constant_channel_is_zero_whatever_test_holds(value: float) -> None:
    x = np.column_stack([np.full(50, value), np.arange(50.0)])
    raw = fitted(x).transform(vector(np.array([[value + 5.0, 1.0]])))
    assert raw.values[0, 0] == 0


def test_missing_numbers_are_zero_and_marked_behind_all_channels() -> None:
    x = X.copy()
    x[[1, 2], [3, 1]] = np.nan
    pre = fitted(x)
    raw = pre.transform(vector(x))
    assert pre.spec.n_channels == 7
    assert raw.values.shape == (120, 7)
    assert raw.values[1, 3] == 0
    assert raw.values[1, 5:].tolist() == [0, 1]
    assert raw.values[2, 5:].tolist() == [1, 0]
    assert raw.values[3:, 5:].eq(0).all()
    seen = np.delete(x[:, 3], 1)
    np.testing.assert_allclose(raw.values[3:, 3], (x[3:, 3] - seen.mean()) / seen.std(), rtol=1e-4, atol=1e-6)


def test_a_missing_number_without_an_indicator_is_the_mean_and_told_with_its_count() -> None:
    x = X[:4].copy()
    x[:3, 2] = np.nan
    pre = fitted(X)
    with pytest.warns(UserWarning, match=r"channels \[2\] had no missing number in train; 3 missing numbers"):
        raw = pre.transform(vector(x))
    assert raw.values[:3, 2].eq(0).all()
    assert raw.present.all()


def test_rows_that_are_all_missing_are_absent_and_not_read() -> None:
    x = X.copy()
    x[0] = np.nan
    x[1] = np.inf
    present = np.arange(120) != 1
    pre = fitted(x, present)
    raw = pre.transform(vector(x, present))
    assert raw.mask[:3].tolist() == [False, False, True]
    assert raw.values[:2].eq(0).all()
    assert pre.spec.n_channels == 5
    np.testing.assert_allclose(raw.values[2:], fitted(X[2:]).transform(vector(X[2:])).values)


def test_a_channel_that_train_never_holds_is_zero_with_an_indicator() -> None:
    x = X.copy()
    x[:, 0] = np.nan
    raw = fitted(x).transform(vector(X[:3]))
    assert raw.values[:, 0].eq(0).all()
    assert raw.values[:, 5].eq(0).all()


def test_a_state_that_went_through_npz_gives_an_equal_preprocessor() -> None:
    x = X.copy()
    x[2, 2] = np.nan
    pre = fitted(x, reach=2.0)
    file = io.BytesIO()
    np.savez(file, **pre.state())
    file.seek(0)
    twin = VectorPreprocessor.from_state(dict(np.load(file)))
    assert twin.spec == pre.spec
    assert torch.equal(twin.transform(vector(x)).values, pre.transform(vector(x)).values)
    for key, value in pre.state().items():
        np.testing.assert_array_equal(twin.state()[key], value)


@given(arrays(np.float64, (12, 2), elements=st.floats(allow_nan=True, allow_infinity=False)))
@settings(deadline=None, max_examples=80)
def test_any_numbers_come_out_finite_and_bounded(x: np.ndarray) -> None:
    x[0] = 1.0
    raw = fitted(x).transform(vector(x))
    assert raw.values.isfinite().all()
    assert raw.values.abs().max() <= 10.0 + 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object])
def test_numbers_of_every_type_are_read(dtype: type) -> None:
    x = np.arange(40).reshape(20, 2)
    wanted = fitted(x.astype(float)).transform(vector(x.astype(float)))
    got = fitted(x.astype(dtype)).transform(vector(x.astype(dtype)))
    assert got.values.dtype == torch.float32
    assert torch.equal(got.values, wanted.values)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(3), r"array \[row, channel\].*values=ndarray\[3\]"),
        (np.zeros((3, 0)), "at least one channel"),
        (np.full((2, 2), np.nan), "at least one training row must hold a number; got none"),
        (np.array([[1.0], [np.inf]]), "must be finite; got inf in row 1, channel 0"),
        (np.array([["a"]], dtype=object), "values must be numbers; got dtype=object"),
    ],
)
def test_vectors_that_cannot_be_fitted_are_told(x: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        VectorPreprocessor().fit(vector(x))


def test_other_channels_and_bad_options_are_told() -> None:
    with pytest.raises(DataError, match="got 4 channels for 5"):
        fitted(X).transform(vector(X[:, :4]))
    with pytest.raises(DataError, match=r"reach must be above 0; got reach=0"):
        VectorPreprocessor(reach=0)


def test_the_spec_has_the_edges_of_six_bins_that_hold_as_many_training_rows_each() -> None:
    x = np.column_stack([np.random.default_rng(0).permutation(601) ** 2.0, np.arange(601) % 3, np.full(601, 7.0)])
    pre = fitted(x)
    z = pre.transform(vector(x)).values.numpy()
    counts = np.histogram(z[:, 0], bins=np.array(pre.spec.edges[0], dtype=np.float32))[0]
    assert np.abs(counts - 100).max() <= 1  # an edge is held as float32
    np.testing.assert_allclose(pre.spec.edges[1], np.unique(z[:, 1]), atol=1e-5)
    assert pre.spec.edges[2] == (0.0,)


def test_edges_are_of_known_numbers_and_channels_for_missing_ones_have_none() -> None:
    x = X.copy()
    x[::2, 1] = np.nan
    pre = fitted(x)
    assert pre.spec.n_channels == 6
    assert [len(edges) for edges in pre.spec.edges] == [7] * 5 + [0]
    np.testing.assert_allclose(pre.spec.edges[1][0], pre.transform(vector(x)).values[1::2, 1].min(), atol=1e-5)


def test_very_many_channels_have_no_edges() -> None:
    wide = np.random.default_rng(0).normal(size=(20, 257))
    assert (len(fitted(wide[:, :256]).spec.edges), len(fitted(wide).spec.edges)) == (256, 0)


def test_the_spec_has_the_spreads_of_channels_in_the_data_s_unit_one_on_average() -> None:
    x = np.random.default_rng(0).normal(size=(500, 4)) * [3.0, 1.0, 1e-200, 0.0] + 7.0
    x[::5, 1] = np.nan
    spec = fitted(x).spec
    spreads = np.array(spec.spreads)
    std = np.nanstd(x, axis=0)
    varying = std[:2]
    np.testing.assert_allclose(spreads[:2], varying / np.sqrt(np.square(varying).mean()), rtol=1e-5)
    assert spreads.tolist()[2:] == [0.0, 0.0, 1.0]  # constants, and what is 1 where a number is missing


def test_numbers_of_any_size_have_finite_spreads_and_constants_have_none() -> None:
    wide = np.random.default_rng(0).normal(size=(50, 3)) * [1e300, 1e-300, 1.0]
    assert np.isfinite(fitted(wide).spec.spreads).all()
    assert fitted(np.ones((20, 2))).spec.spreads == ()
