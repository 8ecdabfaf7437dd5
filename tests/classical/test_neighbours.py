"""`Neighbours`: absent modalities filled by the nearest rows, against scikit-learn's imputer; chosen where it helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from few_trees import few_trees
from not_none import not_none
from sklearn.impute import KNNImputer

from profuse.classical.neighbours import Neighbours
from profuse.data.split import Split
from profuse.data.tensors import from_tensors
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import ClassicalPredictor, load_model
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared
from profuse.training.options import TrainOptions


def made(n: int = 40, widths: tuple[int, ...] = (3, 5, 2), seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"m{i}": rng.normal(size=(n, w)) for i, w in enumerate(widths)}


def plain(donors: dict[str, np.ndarray]) -> Neighbours:
    return Neighbours(donors, {n: np.zeros(x.shape[1], dtype=bool) for n, x in donors.items()})


def rows_lacking(x: dict[str, np.ndarray], *absent: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    n = len(next(iter(x.values())))
    gone = {name: np.full_like(v, np.nan) if name in absent else v for name, v in x.items()}
    return gone, {name: np.full(n, name not in absent) for name in x}


def test_numbers_are_the_means_that_scikit_learn_finds_where_modalities_count_alike() -> None:
    donors, new = made(), made(7, seed=1)
    weight = {name: 1 / (x.std(0) * np.sqrt(x.shape[1])) for name, x in donors.items()}
    imputer = KNNImputer(n_neighbors=10).fit(np.hstack([donors[n] * weight[n] for n in donors]))
    gone, there = rows_lacking(new, "m1")
    filled = plain(donors).filled(gone, there)
    expected = imputer.transform(np.hstack([gone[n] * weight[n] for n in donors]))[:, 3:8] / weight["m1"]
    np.testing.assert_allclose(filled["m1"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(filled["m0"], new["m0"])


def test_numbers_that_some_of_the_nearest_lack_are_the_means_of_the_others() -> None:
    donors = {"a": np.arange(40.0)[:, None], "b": made()["m1"]}
    donors["b"][np.arange(40) % 3 == 0, 1] = np.nan
    donors["b"][:, 2] = np.nan
    gone, there = rows_lacking({"a": np.array([[-1.0]]), "b": np.zeros((1, 5))}, "b")  # the first ten are nearest
    filled = plain(donors).filled(gone, there)["b"]
    np.testing.assert_allclose(filled[0, [0, 1, 3, 4]], np.nanmean(donors["b"][:10, [0, 1, 3, 4]], axis=0), rtol=1e-6)
    assert np.isnan(filled[0, 2])


def test_a_code_is_that_of_the_nearest_row_and_other_codes_are_far() -> None:
    codes = np.repeat([0.0, 1.0, 2.0], 10)[:, None]
    donors = {"a": codes, "b": 10 * codes + np.linspace(0, 1, 30)[:, None], "c": codes[::-1].copy()}
    marks = {"a": np.array([True]), "b": np.array([False]), "c": np.array([True])}
    new = {"a": np.array([[1.0], [2.0], [9.0]]), "b": np.zeros((3, 1)), "c": np.zeros((3, 1))}
    gone, there = rows_lacking(new, "b", "c")
    filled = Neighbours(donors, marks).filled(gone, there)
    np.testing.assert_allclose(filled["b"][:2, 0], donors["b"].reshape(3, 10).mean(1)[1:], rtol=1e-6)
    assert filled["c"][:2, 0].tolist() == [1.0, 0.0]
    assert np.isfinite(filled["b"][2]).all()  # of a code that no donor has, all are as far
    donors["c"] = np.arange(30.0)[:, None] % 4
    gone, there = rows_lacking({"a": codes[14:15], "b": donors["b"][14:15], "c": codes[:1]}, "c")
    assert Neighbours(donors, marks).filled(gone, there)["c"].item() == 2.0  # no mean of codes


def test_a_row_hangs_on_no_other_and_rows_that_lack_all_or_nothing_stay() -> None:
    donors, new = made(), made(30, seed=2)
    neighbours, rng = plain(donors), np.random.default_rng(0)
    there = {name: rng.random(30) > 0.4 for name in new}
    gone = {name: np.where(there[name][:, None], x, np.nan) for name, x in new.items()}
    whole = neighbours.filled(gone, there)
    for i in range(30):
        one = neighbours.filled({n: x[i : i + 1] for n, x in gone.items()}, {n: p[i : i + 1] for n, p in there.items()})
        for name in new:
            np.testing.assert_array_equal(one[name][0], whole[name][i])
    present = np.stack([*there.values()], axis=1)
    for name in new:
        still = ~present.any(1) | there[name]
        np.testing.assert_array_equal(whole[name][still], gone[name][still])
        assert np.isfinite(whole[name][present.any(1)]).all()


@pytest.mark.parametrize("value", [1e300, -1e300, np.nan, 1e38])
def test_a_wild_number_leaves_what_is_filled_among_what_was_seen(value: float) -> None:
    donors, new = made(), made(3, seed=3)
    donors["m1"][4, 2] = new["m0"][1, 1] = value
    gone, there = rows_lacking(new, "m2")
    filled = plain(donors).filled(gone, there)["m2"]
    assert (filled >= donors["m2"].min(0) - 1e-6).all()
    assert (filled <= donors["m2"].max(0) + 1e-6).all()


def alike(n: int = 300, *, alone: bool = False) -> Prepared:
    """Two views of the same; or, where they are `alone`, a second one that tells nothing and is known from nothing."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, 2))
    mix = rng.normal(size=(2, 2, 6))
    views = [hidden @ mix[i] + 0.1 * rng.normal(size=(n, 6)) for i in range(2)]
    if alone:
        views[1] = rng.normal(size=(n, 6))
    rows = np.arange(n)
    data = from_tensors({"a": views[0], "b": views[1]}, hidden[:, 0] + (views[1][:, 0] if alone else 0))
    return Prepared.make(data, Split(rows[: n // 2], rows[n // 2 : 2 * n // 3], rows[2 * n // 3 :]))


def fitted(prepared: Prepared, name: str = "gradient_boosting") -> ClassicalPredictor:
    with few_trees():
        best = best_fit(name, ("a", "b"), prepared, TrainOptions(refit=False), trials=1, seed=0)
    return best.predictor(name, ("a", "b"), prepared)


def error(model: ClassicalPredictor, prepared: Prepared, *, hide: bool = True) -> float:
    """The squared error of test rows, without `b` if it is hidden."""
    rows = prepared.dataset.rows(prepared.split.test)
    inputs = model.encode(rows)
    inputs["b"] = inputs["b"].without(inputs["b"].present & hide)
    said = model.predict_encoded(inputs)
    return float(np.square(said[:, 0] - np.asarray(rows.target, dtype=float)).mean())


@pytest.mark.parametrize("name", ["linear", "gradient_boosting", "extra_trees"])
def test_a_modality_that_others_tell_of_is_filled_and_half_of_what_its_absence_costs_is_gone(name: str) -> None:
    prepared = alike()
    model = fitted(prepared, name)
    assert model.neighbours is not None
    bare = replace(model, neighbours=None)
    whole = error(bare, prepared, hide=False)
    assert error(model, prepared, hide=False) == whole
    assert error(model, prepared) - whole < 0.5 * (error(bare, prepared) - whole)


def test_it_is_left_out_where_it_does_not_help_where_rows_are_few_and_of_one_modality() -> None:
    prepared = alike(alone=True)
    assert fitted(prepared, "linear").neighbours is None
    few = Split(prepared.split.train[:29], prepared.split.valid, prepared.split.test)
    assert fitted(Prepared.make(alike().dataset, few), "linear").neighbours is None
    x, there = {"a": np.zeros((50, 2))}, {"a": np.ones(50, dtype=bool)}
    assert Neighbours.of(x, there, np.arange(50), {}) is None
    both, never = {**x, "b": x["a"]}, {**there, "b": np.zeros(50, dtype=bool)}
    assert Neighbours.of(both, never, np.arange(50), {}) is None
    assert (
        len(not_none(Neighbours.of(both, {**there, "b": np.ones(50, dtype=bool)}, np.arange(40), {})).donors["a"]) == 40
    )


def test_rows_that_weigh_nothing_fill_no_others() -> None:
    prepared = alike()
    weights = np.ones(len(prepared.dataset))
    weights[:100] = 0
    model = fitted(replace(prepared, dataset=replace(prepared.dataset, weights=weights)), "linear")
    kept = prepared.dataset.modalities["b"].values[100 : len(prepared.split.train)]
    donors = not_none(model.neighbours).donors["b"]
    assert len(donors) == len(kept)
    np.testing.assert_allclose(donors, kept, rtol=1e-6)


def test_it_is_saved_and_a_portfolio_keeps_that_of_a_fold_once(tmp_path: Path) -> None:
    prepared = alike()
    model = fitted(prepared, "linear")
    model.save(tmp_path / "m")
    card = (tmp_path / "m" / "card.md").read_text()
    assert "those of the 10 nearest of 150 training rows, which are kept in the model" in " ".join(card.split())
    assert error(load_model(tmp_path / "m"), prepared) == error(model, prepared)  # type: ignore[arg-type]
    members = [Member(name, ("a", "b"), name) for name in ("linear", "gradient_boosting")]
    with few_trees():
        portfolio = fit_portfolio(prepared.dataset, PortfolioOptions(folds=2), members=members, keep_all=True)
    portfolio.save(tmp_path / "p")
    again: Any = load_model(tmp_path / "p")
    rows = prepared.dataset.rows(np.arange(20))
    absent = replace(rows.modalities["b"], present=np.zeros(20, dtype=bool))
    gone = replace(rows, modalities={**rows.modalities, "b": absent})
    one, other = (each.predict_encoded(each.encode(gone)) for each in (portfolio, again))
    np.testing.assert_array_equal(one, other)
    kept = [each.neighbours for each in again.predictors]
    assert len(kept) == 4
    assert all(kept)
    assert len({id(each) for each in kept}) == 2  # folds


def test_a_changed_state_is_refused() -> None:
    state = plain(made()).state()
    for change in (
        {"donors": {**state["donors"], "m1": state["donors"]["m1"][:9]}},
        {"donors": {n: x[:9] for n, x in state["donors"].items()}},
        {"codes": {**state["codes"], "m1": np.zeros(4, dtype=np.int8)}},
        {"donors": {**state["donors"], "m1": np.full((40, 5), np.inf, dtype=np.float32)}},
    ):
        with pytest.raises(ValueError, match="neighbours must hold"):
            Neighbours.from_state({**state, **change})
