"""Thresholds by group make the rate equal on rows that have not chosen them, and the cost is measured there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_groups import Sum, world
from not_none import not_none

from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, DataError
from profuse.inspect.group_thresholds import GroupThresholds, group_thresholds


def shifted(n: int = 4_000, seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """Rows of which group f scores lower, whatever the class, and is of the second class less often."""
    data = world(n, seed)
    f = (not_none(data.modalities["cells"].frame)["sex"] == "f").to_numpy()
    a = data.modalities["a"]
    data = replace(data, modalities={**data.modalities, "a": replace(a, values=a.values - 2.0 * f[:, None])})
    kept = np.flatnonzero(~f | (not_none(data.target) == 0) | (np.random.default_rng(seed).random(n) < 0.5))
    return data.rows(kept), f[kept]


def by_group(made: GroupThresholds) -> dict[str, dict[Hashable, Any]]:
    return {str(line["group"]): line for line in made.costs.to_dict("records")}


@pytest.mark.parametrize("equal", ["selection", "recall"])
def test_the_rate_is_equal_on_held_out_rows_and_costs_are_told(equal: Any) -> None:
    data, _ = shifted()
    predictor = Sum(data)
    made = group_thresholds(predictor, data, "sex", equal=equal)
    costs = by_group(made)
    assert costs["m"]["rate"] - costs["f"]["rate"] > 0.15
    assert costs["m"]["rate then"] == pytest.approx(costs["f"]["rate then"], abs=0.02)
    assert costs["all"]["rate then"] == pytest.approx(costs["all"]["rate"], abs=0.02)
    assert costs["m"]["accuracy then"] < costs["m"]["accuracy"]  # what it costs the others
    assert abs(costs["f"]["accuracy then"] - costs["f"]["accuracy"]) > 0.01
    assert made.thresholds["f"] < made.thresholds["m"]
    new, new_f = shifted(seed=1)
    p = predictor.predict_proba(replace(new, target=None))
    said = made.answers(p, np.where(new_f, "f", "m"))
    counted = not_none(new.target) == 1 if equal == "recall" else np.ones(len(new), dtype=bool)
    assert said[new_f & counted].mean() == pytest.approx(said[~new_f & counted].mean(), abs=0.03)


def test_rows_that_choose_are_not_those_that_are_measured() -> None:
    """Few rows with labels of pure noise: chosen by the rows themselves, recall would be equal to the last row."""
    data, _ = shifted(240)
    y = np.random.default_rng(9).integers(0, 2, len(data))
    final = group_thresholds(Sum(data), replace(data, target=y), "sex", equal="recall")
    costs = by_group(final)
    said = final.answers(Sum(data).predict_proba(data), not_none(data.modalities["cells"].frame)["sex"].to_numpy())
    assert said[y == 1].mean() == pytest.approx(costs["all"]["rate"], abs=0.01)
    assert costs["f"]["rate then"] != pytest.approx(costs["m"]["rate then"], abs=1e-3)


def test_what_has_no_thresholds_is_told() -> None:
    (data, f), numbers = shifted(200), world(200, task="regression")
    predictor = Sum(data)
    with pytest.raises(ConfigError, match="the target must be two classes.*task='regression'"):
        group_thresholds(Sum(numbers), numbers, "sex")
    with pytest.raises(ConfigError, match=r"each group must have 150 rows; fewer are of \['f', 'm'\]"):
        group_thresholds(predictor, data, "sex", least=150)
    with pytest.raises(ConfigError, match="group must be one column; got .*'region'"):
        group_thresholds(predictor, data, ["sex", "region"])
    with pytest.raises(ConfigError, match="group must be categories"):
        group_thresholds(predictor, data, "age")
    tied = replace(data, groups=np.where(f, 0, np.arange(len(f))))
    with pytest.raises(ConfigError, match=r"those of \['f'\] are together"):
        group_thresholds(predictor, tied, "sex")
    made = group_thresholds(predictor, data, np.array(["f" if row else None for row in f], dtype=object))
    assert set(made.thresholds) == {"f", "missing"}
    with pytest.raises(DataError, match=r"one of \['f', 'missing'\] for each of the .* rows; got \['m'\]"):
        made.answers(predictor.predict_proba(data), np.where(f, "f", "m"))


def test_earlier_rows_choose_where_rows_have_times() -> None:
    data, _ = shifted(600)
    made = group_thresholds(Sum(data), replace(data, times=np.arange(len(data))), "sex")
    costs = by_group(made)
    assert 0 < costs["all"]["n"] < len(data)
    assert costs["f"]["n"] + costs["m"]["n"] == costs["all"]["n"]
