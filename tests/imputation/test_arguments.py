"""What is wrong with the arguments of `Imputer` is one error of ours that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from profuse.errors import ConfigError, DataError, ProfuseError, UnknownNameError
from profuse.imputation import Imputer

pytestmark = pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")


def table(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(n, 8))
    frame = pd.DataFrame({f"emb_{i}": a[:, i] for i in range(8)})
    frame["price"] = a[:, 0] + rng.normal(size=n)
    frame.loc[::4, "price"] = np.nan
    return frame


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"modality": None}, "modality must be a valid string; got modality=None"),
    ({"modality": 3}, "modality must be a valid string; got modality=3"),
    ({"modality": ["table"]}, "modality must be a valid string"),
    ({"modality": "prices"}, "modality must be a known name; got modality='prices'"),
    ({"modality": ""}, "modality must be a known name; got modality=''"),
    ({"method": None}, "method must be a valid string; got method=None"),
    ({"method": "knn"}, "method must be a known name; got method='knn'"),
    ({"method": "Ridge"}, "Did you mean 'ridge'"),
    ({"method": 1.0}, "method must be a valid string"),
    ({"n_samples": 2.5}, "n_samples must be a valid integer.*got n_samples=2.5"),
    ({"n_samples": 1}, "n_samples must be greater than or equal to 2; got n_samples=1"),
    ({"n_samples": "20"}, "n_samples must be 20 if that is meant; got n_samples='20'"),
    ({"n_samples": True}, "n_samples must be"),
    ({"n_samples": None}, "n_samples must be a valid integer"),
    ({"n_samples": np.nan}, "n_samples must be a finite number"),
    ({"n_tables": -1}, "n_tables must be greater than or equal to 0"),
    ({"n_tables": 1.5}, "n_tables must be a valid integer"),
    ({"held_out": 0}, "held_out must be greater than 0"),
    ({"held_out": 1}, "held_out must be less than 1"),
    ({"held_out": "a fifth"}, "held_out must be a valid number"),
    ({"held_out": np.nan}, "held_out must be"),
    ({"held_out": [0.2]}, "held_out must be a valid number"),
    ({"epochs": 0}, "epochs must be greater than or equal to 1"),
    ({"epochs": 2.5}, "epochs must be a valid integer"),
    ({"width": 3}, "width must be greater than or equal to 4"),
    ({"width": np.array([64, 64])}, "width must be a valid integer"),
    ({"on_bad_file": "ignore"}, "on_bad_file must be 'raise' or 'skip'"),
    ({"on_bad_file": True}, "on_bad_file must be 'raise' or 'skip'"),
    ({"random_state": -1}, "random_state must be greater than or equal to 0"),
    ({"random_state": 2**32}, "random_state must be less than or equal to 4294967295"),
    ({"random_state": None}, "random_state must be a valid integer"),
    ({"random_state": np.random.RandomState(0)}, "random_state must be a valid integer"),
    ({"base_dir": 3}, "base_dir must be"),
    ({"target": 5}, "target must be"),
    ({"target": {"price": 1}}, "target must be"),
    ({"target": "prize"}, "target: it must be a column of the table; got 'prize'. Did you mean 'price'"),
    ({"target": ("price", "prize")}, "got 'prize'"),
    ({"ignore": 5}, "ignore must be"),
    ({"ignore": None}, "ignore must be"),
    ({"ignore": "prize"}, "'prize'"),
    ({"schema": 5}, "schema: must be a path, a dict or a Schema; got int"),
    ({"schema": {"modality": {}}}, "'modality' is no option"),
    ({"schema": "nosuch.yaml"}, "nosuch.yaml"),
    ({"n_samples": 0, "width": 0, "epochs": "x"}, "n_samples must be .*; width must be .*; epochs must be"),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS, ids=lambda v: "-".join(v) if isinstance(v, dict) else "")
def test_an_option_out_of_range_is_told_by_name(options: dict[str, Any], said: str) -> None:
    imputer = Imputer(**{"modality": "table", "method": "mean", **options})
    with pytest.raises(ProfuseError, match=said) as caught:
        imputer.fit(table())
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("call", ["fit", "fit_fill", "fill"])
@pytest.mark.parametrize(
    ("X", "said"),
    [
        (None, "X must be a DataFrame or a 2-D array; got NoneType"),
        ("mine.csv", "X must be a DataFrame or a 2-D array; got str"),
        ([[1.0, 2.0]], "X must be a DataFrame or a 2-D array; got list"),
        ({"a": np.zeros((3, 2))}, "X must be a DataFrame or a 2-D array; got dict"),
        (np.zeros(3), r"got ndarray\(3,\)"),
        (np.zeros((2, 3, 4)), r"got ndarray\(2, 3, 4\)"),
        (table().iloc[:0], "at least one row must be given; got none"),
        (pd.concat([table(), table()[["price"]]], axis=1), "column names must differ; got 'price' more than once"),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str) else v[:20],
)
def test_what_is_no_table_is_told(call: str, X: Any, said: str) -> None:
    imputer = Imputer("table", method="mean")
    if call == "fill":
        imputer.fit(table())
    with pytest.raises(DataError, match=said):
        getattr(imputer, call)(X)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="price"), "1 are lacking: 'price'"),
        (lambda f: f.drop(columns="emb_3"), "1 are lacking: 'emb_3'"),
        (lambda f: f.rename(columns={"price": "Price"}), "'Price' is near 'price'"),
        (lambda f: f.assign(price=np.inf), "numbers must be finite"),
        (lambda f: f.assign(price_spread=1.0), "must not be there yet; got 'price_spread'"),
    ],
)
def test_a_table_unlike_the_one_that_was_fitted_is_told(change: Any, said: str) -> None:
    imputer = Imputer("table", method="ridge").fit(table())
    with pytest.raises(DataError, match=said):
        imputer.fill(change(table()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(price=np.nan), "must be a known name; got modality='table'"),
        (lambda f: f[["price"]], "another modality must be there to tell 'table' from"),
        (lambda f: f.fillna(0.0), "must be missing in at least one row to be filled; it is there in all 60"),
        (lambda f: f.assign(price=f["price"].where(f.index < 24)), "at least 20 rows must hold each column of 'table'"),
        (lambda f: f.assign(size=np.where(f.index < 10, 1.5 * f.index, np.nan)), "got 10 that hold 'size'"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_told(change: Any, said: str) -> None:
    with pytest.raises(ProfuseError, match=said):
        Imputer("table", method="ridge").fit_fill(change(table()))


def test_vectors_of_another_length_are_told() -> None:
    rng = np.random.default_rng(0)
    cells = [None if i % 4 == 0 else v.tolist() for i, v in enumerate(rng.normal(size=(60, 3)))]
    frame = pd.DataFrame({"code": pd.Series(cells, dtype=object), "x": rng.normal(size=60), "y": rng.normal(size=60)})
    imputer = Imputer("code", method="ridge").fit(frame)
    longer = pd.Series([None, [1.0, 2.0, 3.0, 4.0]], dtype=object)
    with pytest.raises(DataError, match="vectors of 'code' must be as long as in training, 3; got 4"):
        imputer.fill(frame[:2].assign(code=longer))
    none = imputer.fill(frame[:2].assign(code=pd.Series([None, None], dtype=object)))
    assert [len(cell) for cell in none.table["code"]] == [3, 3]


def test_filling_before_fitting_and_what_is_no_function_are_told() -> None:
    with pytest.raises(NotFittedError):
        Imputer("table").fill(table())
    with pytest.raises(ConfigError, match="callbacks must be a list of Callback objects, or of functions.*; got 3"):
        Imputer("table").fit(table(), callbacks=[3])  # type: ignore[list-item]


def test_numpy_numbers_and_a_single_name_are_taken() -> None:
    frame = table().assign(shop=np.arange(60) % 7)
    numbers: dict[str, Any] = {"n_samples": np.int64(3), "held_out": np.float32(0.25)}
    imputer = Imputer("table", method="mean", ignore="shop", **numbers).fit(frame)
    assert imputer.schema_.modalities["table"].columns == ("price",)
    with pytest.raises(UnknownNameError):
        Imputer("shop", method="mean", ignore=["shop"]).fit(frame)
