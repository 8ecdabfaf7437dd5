"""A row's answer and draws hang on the seed and on the row: not on its neighbours, their order, or their number."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import ProfuseWarning
from profuse.imputation import METHODS, Filled, Imputer
from profuse.imputation.streams import streams_of

pytestmark = pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")
N_GAPS = 24
EACH = [pytest.param(m, marks=pytest.mark.slow if m in ("diffusion", "gan") else ()) for m in METHODS]


def table(n: int = 110) -> pd.DataFrame:
    """A vector, two columns of a table beside it, and a modality `lab` of two numbers and a word, partly missing."""
    rng = np.random.default_rng(3)
    a = rng.normal(size=(n, 8))
    frame = pd.DataFrame({
        **{f"emb_{i}": a[:, i] for i in range(8)},
        "city": np.where(rng.random(n) < 0.5, "Bonn", "Köln").astype(object),
        "glucose": 1000 + 300 * (a[:, 0] + rng.normal(size=n)),
        "iron": a[:, 1] + rng.normal(size=n),
        "group": np.where(a[:, 2] + rng.normal(size=n) > 0, "A", "B").astype(object),
    })  # fmt: skip
    frame.loc[: N_GAPS - 1, ["glucose", "iron", "group"]] = None
    frame.loc[: N_GAPS // 2, "iron"] = 0.25 + np.arange(N_GAPS // 2 + 1)  # some rows lack a part only
    frame.loc[5, [f"emb_{i}" for i in range(8)]] = None
    frame.loc[7, ["city"]] = None
    frame.loc[9, [*(f"emb_{i}" for i in range(8)), "city", "iron"]] = None  # and one holds nothing at all
    return frame


SCHEMA = {
    "modalities": {
        "emb": {"kind": "vector", "columns": [f"emb_{i}" for i in range(8)]},
        "home": {"kind": "table", "columns": ["city"]},
        "lab": {"kind": "table", "columns": ["glucose", "iron", "group"]},
    }
}
LAB = ["glucose", "iron", "group", "glucose_spread", "iron_spread", "group_spread"]


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], tuple[Imputer, Filled]]:
    """Gives an imputer fitted to the table, and the table as it fills it; each method once."""

    @cache
    def made(method: str) -> tuple[Imputer, Filled]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ProfuseWarning)
            imputer = Imputer("lab", method=method, schema=SCHEMA, n_samples=4, n_tables=1, epochs=2, width=8)
            return imputer.fit(table()), imputer.fill(table())

    return made


Made = Callable[[str], tuple[Imputer, Filled]]


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Checks that cells agree to 1e-6, words and gaps exactly."""
    pd.testing.assert_frame_equal(
        one.reset_index(drop=True), other.reset_index(drop=True), check_dtype=False, rtol=0, atol=1e-6
    )


def rows_of(filled: Filled, rows: list[int]) -> list[pd.DataFrame]:
    """The answers, the samples without their numbers, and the completed tables in these places."""
    drawn = pd.concat([filled.samples[filled.samples["row"] == r] for r in rows]).drop(columns="row")
    return [filled.table.iloc[rows][LAB], drawn, *(t.iloc[rows][LAB[:3]] for t in filled.tables)]


@pytest.mark.parametrize("method", EACH)
def test_a_row_alone_is_filled_as_it_is_in_the_table(fitted: Made, method: str) -> None:
    imputer, whole = fitted(method)
    for row in (0, 5, 9, 20):
        alone = imputer.fill(table()[row : row + 1])
        for ours, theirs in zip(rows_of(alone, [0]), rows_of(whole, [row]), strict=True):
            same(ours, theirs)


@pytest.mark.parametrize("method", EACH)
@pytest.mark.parametrize("order", ["reversed", "a part, shuffled among others"])
def test_other_rows_and_their_order_change_nothing(fitted: Made, method: str, order: str) -> None:
    imputer, whole = fitted(method)
    rows = np.arange(N_GAPS)[::-1]
    if order != "reversed":
        rows = np.random.default_rng(0).permutation(np.concatenate([np.arange(60, 80), np.arange(3, 11)]))
    other = imputer.fill(table().iloc[rows].reset_index(drop=True))
    places = [i for i, row in enumerate(rows) if row < N_GAPS]
    for ours, theirs in zip(rows_of(other, places), rows_of(whole, [int(rows[i]) for i in places]), strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("method", ["ridge", pytest.param("flow", marks=pytest.mark.slow), "mean"])
def test_errors_of_rows_filled_one_by_one_are_independent(method: str) -> None:
    """With shared draws all samples of one number would lie on one side of the answer."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(260, 8))
    frame = pd.DataFrame({f"emb_{i}": a[:, i] for i in range(8)})
    frame["dose"] = 10 + 2 * a[:, 0] + 1.5 * rng.normal(size=260)
    frame.loc[:59, "dose"] = np.nan
    imputer = Imputer("table", method=method, n_samples=2, epochs=3, width=8).fit(frame)
    filled = [imputer.fill(frame[k : k + 1]) for k in range(60)]
    off = np.array([f.samples["dose"] - f.table["dose"].iloc[0] for f in filled])
    spread = np.array([f.table["dose_spread"].iloc[0] for f in filled])
    z = off / spread[:, None]
    assert np.abs(z.mean(0)).max() < 4 / 60**0.5
    assert np.abs(z.std(0) - 1).max() < 0.35
    assert abs(np.corrcoef(z.T)[0, 1]) < 4 / 60**0.5
    assert len(np.unique(z.round(9))) > (60 if method != "mean" else 40)


def test_copies_of_a_row_have_one_answer_and_draws_of_their_own(fitted: Made) -> None:
    frame, ridge = table(), fitted("ridge")[0]
    copies = pd.concat([frame[20:21]] * 30, ignore_index=True)
    filled = ridge.fill(copies)
    assert filled.table["glucose"].nunique() == 1
    assert filled.table["glucose_spread"].nunique() == 1
    assert filled.samples["glucose"].nunique() > 40
    assert filled.tables[0]["glucose"].nunique() > 15
    same(filled.samples[filled.samples["row"] == 0], ridge.fill(frame[20:21]).samples)


def test_an_id_tells_rows_with_equal_cells_apart() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"sex": rng.choice(["f", "m"], 200), "region": rng.choice(["N", "S", "W"], 200)}).astype(
        object
    )
    frame["weight"] = 70 + 8 * (frame["sex"] == "m") + 5 * rng.normal(size=200)
    frame.loc[::4, "weight"] = np.nan
    frame["key"] = [f"p{i}" for i in range(200)]
    schema = {
        "id": "key",
        "modalities": {
            "person": {"kind": "table", "columns": ["sex", "region"]},
            "body": {"kind": "table", "columns": ["weight"]},
        },
    }
    imputer = Imputer("body", method="ridge", schema=schema, n_samples=2).fit(frame)
    alone = pd.concat([imputer.fill(frame[k : k + 1]).samples for k in range(0, 200, 4)], ignore_index=True)
    pd.testing.assert_frame_equal(alone, imputer.fill(frame).samples)
    assert alone["weight"].nunique() > 80


def test_more_samples_begin_with_the_fewer(fitted: Made) -> None:
    frame = table()
    more = Imputer("lab", method="ridge", schema=SCHEMA, n_samples=9, epochs=2, width=8).fit(frame).fill(frame)
    few = fitted("ridge")[1].samples
    same(more.samples[more.samples["sample"] < 4], few)


@pytest.mark.parametrize(
    ("name", "one", "other", "equal"),
    [
        ("1 and 1.0 are one number", [1], [1.0], True),
        ("0.0 and -0.0 are one number", [0.0], [-0.0], True),
        ("1 and 2 are two", [1], [2], False),
        ("words are not numbers", ["1"], ["2"], False),
        ("where one cell ends counts", ["ab", "c"], ["a", "bc"], False),
        ("None and NaN are both missing", [None, "x"], [np.nan, "x"], True),
    ],
)
def test_what_a_row_holds_names_its_stream(name: str, one: list[Any], other: list[Any], equal: bool) -> None:
    def stream(cells: list[Any]) -> np.ndarray:
        values = pd.DataFrame({f"c{i}": pd.Series([cell]) for i, cell in enumerate(cells)})
        dataset = Dataset("d", {"t": ModalityData("table", values, np.array([True]))}, None, "regression")
        return streams_of(dataset, seed=0, whose="x").uniform(3)

    assert (stream(one) == stream(other)).all() == equal


def test_seeds_names_and_purposes_give_other_numbers_that_are_uniform() -> None:
    values = np.random.default_rng(0).normal(size=(300, 2))
    dataset = Dataset("d", {"v": ModalityData("vector", values, np.ones(300, dtype=bool))}, None, "regression")
    drawn = [
        streams_of(dataset, seed=seed, whose=whose).uniform(8, purpose=purpose)
        for seed, whose, purpose in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1))
    ]
    assert len(np.unique(np.concatenate(drawn))) == 4 * 8 * 300
    for numbers in drawn:
        counts = np.histogram(numbers, bins=10, range=(0, 1))[0]
        assert ((counts - 240) ** 2 / 240).sum() < 33  # chi square of 9 degrees of freedom, 1 in 10,000


@pytest.mark.parametrize("method", ["ridge", "flow", "nearest"])
def test_of_equally_probable_words_a_row_alone_gets_the_same(method: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(90, 8))
    frame = pd.DataFrame({f"emb_{i}": a[:, i] for i in range(8)})
    frame["k"] = [None if i % 5 == 0 else f"c{i % 40}" for i in range(90)]
    schema = {"columns": {"k": "category"}}
    imputer = Imputer("table", method=method, schema=schema, n_samples=4, epochs=2, width=8).fit(frame)
    whole = imputer.fill(frame).table["k"]
    for row in range(0, 90, 15):
        assert imputer.fill(frame[row : row + 1]).table["k"].iloc[0] == whole[row]


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "Float64", "boolean", "string", "category"])
def test_a_row_alone_of_a_nullable_type_is_filled_too(dtype: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(80, 8))
    frame = pd.DataFrame({f"emb_{i}": a[:, i] for i in range(8)})
    cells = {
        "boolean": a[:, 0] > 0,
        "string": np.where(a[:, 0] > 0, "up", "down"),
        "category": np.where(a[:, 0] > 0, "up", "down"),
    }.get(dtype, np.clip(np.round(3 * a[:, 0]), 0, 9).astype(int) if dtype == "UInt8" else np.round(9 * a[:, 0]))
    frame["k"] = pd.Series(cells).astype(dtype)  # type: ignore[call-overload]
    frame.loc[::5, "k"] = pd.NA
    imputer = Imputer("table", method="ridge", n_samples=4).fit(frame)
    whole = imputer.fill(frame).table["k"]
    alone = imputer.fill(frame[5:6]).table["k"].iloc[0]
    assert alone == whole[5] or abs(alone - whole[5]) < 1e-6
