"""One modality after the other, completed tables, and what several of them say together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from profuse.errors import ConfigError, DataError, ProfuseWarning
from profuse.imputation import Imputer, pool

pytestmark = pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")


def table(n: int = 120) -> pd.DataFrame:
    """A vector, text, and a table of a number and a word; each is missing in some rows."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(n, 8))
    frame = pd.DataFrame({f"emb_{i}": a[:, i] for i in range(8)})
    frame["price"] = 10 + 3 * (a[:, 0] + 0.3 * rng.normal(size=n))
    frame["colour"] = np.where(a[:, 1] > 0, "red", "blue").astype(object)
    kinds = np.where(a[:, 2] > 0, "bright and good", "dark but cheap")
    frame["note"] = [f"{kind} thing, number {i} of all" for i, kind in enumerate(kinds)]
    frame.loc[rng.random(n) < 0.2, ["price", "colour"]] = None
    frame.loc[rng.random(n) < 0.2, [f"emb_{i}" for i in range(8)]] = None
    frame.loc[rng.random(n) < 0.2, "note"] = None
    return frame


@pytest.mark.parametrize("door", ["frame", "csv"])
@pytest.mark.parametrize("order", [("table", "emb", "note"), ("note", "table", "emb"), ("emb", "note", "table")])
def test_modalities_are_filled_in_any_order_and_none_takes_what_another_added(
    tmp_path: Path, door: str, order: tuple[str, ...]
) -> None:
    frame = given = table()
    for i, name in enumerate(order):
        imputer = Imputer(name, method="nearest" if name == "note" else "ridge", n_samples=3)
        frame = imputer.fit_transform(frame)
        columns = {c for m in imputer.schema_.modalities.values() for c in m.columns}
        assert columns == set(given.columns)
        told = [note for note in imputer.notes_ if "an imputation before" in note]
        assert len(told) == (i > 0)
        if door == "csv":
            frame.to_csv(tmp_path / "filled.csv", index=False)
            frame = pd.read_csv(tmp_path / "filled.csv")
    assert frame[list(given.columns)].notna().all(axis=None)
    added = [c for c in frame.columns if c not in given.columns]
    assert sorted(added) == sorted([
        *(f"emb_{i}_spread" for i in range(8)), "price_spread", "colour_spread",
        "emb_filled", "table_filled", "note_filled",
    ])  # fmt: skip


def test_the_second_imputation_learns_from_what_the_first_filled() -> None:
    frame = table()
    first = Imputer("emb", method="ridge").fit_transform(frame)
    told = Imputer("table", method="ridge").fit(first)
    plain = Imputer("table", method="ridge").fit(frame)
    assert told.n_learned_ + told.quality_[0].n_rows == frame["price"].notna().sum()
    assert told._blocks.keys() == plain._blocks.keys()


def test_a_schema_does_not_change_that() -> None:
    modalities = {
        "emb": {"kind": "vector", "columns": [f"emb_{i}" for i in range(8)]},
        "table": {"kind": "table", "columns": ["price", "colour"]},
        "note": {"kind": "text", "columns": ["note"]},
    }
    first = Imputer("emb", method="ridge", schema={"modalities": modalities}).fit_transform(table())
    imputer = Imputer("table", method="ridge", schema={"modalities": modalities}).fit(first)
    assert {c for m in imputer.schema_.modalities.values() for c in m.columns} == set(table().columns)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("a spread without a flag", lambda f: {"price_spread": np.arange(len(f)) % 7 / 7.0}),
        ("a flag without a spread", lambda f: {"order_filled": np.arange(len(f)) % 3 == 0}),
        ("a spread beyond the flag", lambda f: {
            "price_spread": np.arange(len(f)) % 7 / 7.0, "table_filled": np.arange(len(f)) % 3 == 0,
        }),
        ("a flag that is a number", lambda f: {"note_filled": np.arange(len(f)) % 5 / 5.0}),
    ],
)  # fmt: skip
def test_columns_of_the_users_own_with_such_names_are_inputs(name: str, extra: Any) -> None:
    frame = table()
    frame = frame.assign(**extra(frame))
    imputer = Imputer("emb", method="ridge").fit(frame)
    assert set(extra(frame)) <= {c for m in imputer.schema_.modalities.values() for c in m.columns}


def test_a_schema_says_that_such_a_column_is_the_users_own() -> None:
    first = Imputer("table", method="ridge").fit_transform(table())
    schema = {"columns": {"price_spread": "numeric", "colour_spread": "numeric", "table_filled": "category"}}
    imputer = Imputer("emb", method="ridge", schema=schema).fit(first)
    assert "price_spread" in imputer.schema_.modalities["table"].columns


def test_the_same_modality_again_is_refused_by_name() -> None:
    first = Imputer("table", method="ridge").fit_transform(table())
    with pytest.raises(DataError, match="must not be there yet; got 'table_filled', 'price_spread'"):
        Imputer("table", method="ridge").fit(first)


class TestTables:
    @pytest.mark.parametrize("method", ["auto", "ridge", "nearest", "mean", "regression"])
    def test_each_is_complete_and_they_differ_only_in_the_gaps(self, method: str) -> None:
        frame = table()
        imputer = Imputer("table", method=method, n_tables=3, n_samples=5, epochs=2, width=8)
        filled = imputer.fit_fill(frame)
        assert len(filled.tables) == 3
        for one in filled.tables:
            assert one.columns.tolist() == frame.columns.tolist()
            known = frame["price"].notna()
            pd.testing.assert_frame_equal(one[known], frame[known], check_dtype=False)
            assert one[["price", "colour"]].notna().all(axis=None)
        prices = np.stack([one["price"][filled.rows].astype(float) for one in filled.tables])
        assert (prices.std(0) > 0).mean() > 0.7
        assert Imputer("table", method=method, epochs=2, width=8).fit_fill(frame).tables == ()

    def test_each_is_from_a_method_fitted_to_other_rows(self) -> None:
        imputer = Imputer("table", method="ridge", n_tables=4).fit(table())
        weights = [method.ridge._weight for method in imputer._of_tables]  # type: ignore[attr-defined]
        assert all(np.abs(a - b).max() > 0.01 for i, a in enumerate(weights) for b in weights[:i])

    def test_rows_of_a_group_are_drawn_together(self) -> None:
        frame = table()
        frame["shop"] = np.arange(120) % 12
        schema = {"split": {"column": "shop", "method": "group"}}
        imputer = Imputer("table", method="mean", n_tables=3, schema=schema).fit(frame)
        counts = imputer._donors["price"].astype(float).value_counts()
        for method in imputer._of_tables:
            drawn = np.round(imputer._coding.values(method.target.parts[0], method.target.numbers), 9)
            times = pd.Series(drawn).value_counts()
            of_shop = {
                shop: times.reindex(np.round(rows["price"].astype(float), 9)).fillna(0)
                for shop, rows in frame[
                    frame["price"].round(9).isin(counts.index.astype(float).to_series().round(9))
                ].groupby("shop")
            }
            assert all(t.nunique() == 1 for t in of_shop.values())

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["ridge", "nearest"])
    def test_the_pooled_mean_is_in_its_interval_as_often_as_it_says(self, method: str) -> None:
        """Values are missing where x is high: the mean of those that are known is far off, the pooled one is not."""
        inside, biased = [], []
        for seed in range(120):
            rng = np.random.default_rng(seed)
            x = rng.normal(size=(150, 2))
            frame = pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "y": x[:, 0] + rng.normal(size=150)})
            frame.loc[rng.random(150) < 0.7 / (1 + np.exp(-2 * x[:, 0])), "y"] = np.nan
            schema = {
                "modalities": {k: {"kind": "vector", "columns": c} for k, c in {"a": ["x", "z"], "b": ["y"]}.items()}
            }
            imputer = Imputer(
                "b", method=method, schema=schema, n_tables=10, n_samples=5, held_out=0.1, random_state=seed
            )
            tables = imputer.fit_fill(frame).tables
            pooled = pool([t["y"].mean() for t in tables], [t["y"].var() / 150 for t in tables], dof=149)
            inside.append(pooled.low < 0 < pooled.high)
            known = frame["y"].dropna()
            biased.append(abs(known.mean()) < 1.96 * known.std() / len(known) ** 0.5)
        assert np.mean(biased) < 0.7
        assert 0.9 <= np.mean(inside) <= 1.0


class TestPool:
    def test_it_is_rubins_formula(self) -> None:
        rng = np.random.default_rng(0)
        q, u = rng.normal(size=7), rng.uniform(0.5, 1, 7)
        within, between = u.mean(), q.var(ddof=1)
        total = within + 8 / 7 * between
        r = 8 / 7 * between / within
        dof = 6 * (1 + 1 / r) ** 2
        pooled = pool(q, u)
        assert pooled.estimate == pytest.approx(q.mean())
        assert pooled.std_error == pytest.approx(np.sqrt(total))
        assert pooled.dof == pytest.approx(dof)
        half = stats.t.ppf(0.975, dof) * np.sqrt(total)
        assert (pooled.low, pooled.high) == pytest.approx((q.mean() - half, q.mean() + half))
        assert pooled.missing_information == pytest.approx((r + 2 / (dof + 3)) / (r + 1))

    def test_degrees_of_freedom_of_few_rows_are_those_of_barnard_and_rubin(self) -> None:
        q, u, whole = np.array([1.0, 1.4, 0.8, 1.1, 1.3]), np.full(5, 0.2), 19
        share = 1.2 * q.var(ddof=1) / (0.2 + 1.2 * q.var(ddof=1))
        old, observed = 4 / share**2, (whole + 1) / (whole + 3) * whole * (1 - share)
        assert pool(q, u, dof=whole).dof == pytest.approx(old * observed / (old + observed))
        assert pool(q, u, dof=1e12).dof == pytest.approx(pool(q, u).dof, rel=1e-6)

    def test_equal_tables_lose_nothing(self) -> None:
        pooled = pool([2.0, 2.0, 2.0], [0.25, 0.25, 0.25])
        assert (pooled.std_error, pooled.missing_information) == (0.5, 0.0)
        assert (pooled.low, pooled.high) == pytest.approx((2 - 1.959964 * 0.5, 2 + 1.959964 * 0.5))
        assert pool([2.0, 2.0], [0.25, 0.25], dof=5).dof == 5

    @pytest.mark.parametrize(
        ("args", "options", "said"),
        [
            (([1.0], [1.0]), {}, "at least 2 tables; got 1 and 1"),
            (([1.0, 2.0], [1.0]), {}, "got 2 and 1"),
            (([1.0, np.nan], [1.0, 1.0]), {}, "estimates must be finite numbers"),
            (([1.0, 2.0], [1.0, np.inf]), {}, "variances must be finite numbers"),
            (([1.0, 2.0], [1.0, -1.0]), {}, "variances must be above 0; got -1"),
            (([1.0, 2.0], [0.0, 0.0]), {}, "variances must be above 0; got 0"),
            ((["a", "b"], [1.0, 1.0]), {}, "estimates must be finite numbers"),
            ((None, [1.0, 1.0]), {}, "estimates must be finite numbers"),
            (([[1.0, 2.0]], [1.0, 1.0]), {}, "estimates must be finite numbers"),
            (([1.0, 2.0], [1.0, 1.0]), {"dof": 0}, "dof must be a number above 0; got dof=0"),
            (([1.0, 2.0], [1.0, 1.0]), {"dof": np.nan}, "dof must be a number above 0; got dof=nan"),
            (([1.0, 2.0], [1.0, 1.0]), {"confidence": 95}, "below 1; got confidence=95"),
            (([1.0, 2.0], [1.0, 1.0]), {"confidence": "x"}, "below 1; got confidence='x'"),
        ],
    )
    def test_wrong_arguments_are_told(self, args: Any, options: dict[str, Any], said: str) -> None:
        with pytest.raises((DataError, ConfigError), match=f"^pool: .*{said}"):
            pool(*args, **options)


def test_a_note_on_earlier_columns_is_a_warning() -> None:
    first = Imputer("table", method="ridge").fit_transform(table())
    with pytest.warns(ProfuseWarning, match="'price_spread', 'colour_spread', 'table_filled' are what an imputation"):
        Imputer("emb", method="ridge").fit(first)
