"""Critical differences: against the worked example of the paper, and what they must refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from profuse.comparison.critical import critical_difference
from profuse.errors import ConfigError, DataError

# Demsar (2006), table 6: AUC of four classifiers on 14 data sets
NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
AUC = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def frame(scores: np.ndarray, names: tuple[str, ...] = NAMES, metric: str = "auroc") -> pd.DataFrame:
    rows = [
        {
            "dataset": f"d{i}",
            "variant": "",
            "method": name,
            "split": "test",
            "metric": metric,
            "seed": 0,
            "value": v,
        }
        for i, row in enumerate(scores)
        for name, v in zip(names, row, strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_worked_example_of_the_paper() -> None:
    found = critical_difference(frame(AUC), "auroc")
    ranks = {name: round(rank, 3) for name, rank in found.ranks.items()}
    assert ranks == {"C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143}
    assert found.distance == pytest.approx(1.25, abs=0.005)
    f = 3.69  # its F, of 3 and 39 degrees of freedom
    assert found.p == pytest.approx(stats.f.sf(f, 3, 39), rel=0.02)
    assert found.groups() == [tuple(found.ranks)]  # "not powerful enough to detect any significant differences"


def test_methods_that_differ_stand_in_no_common_group() -> None:
    rng = np.random.default_rng(0)
    scores = np.array([0.9, 0.89, 0.6, 0.59]) + 0.02 * rng.normal(size=(40, 4))
    found = critical_difference(frame(scores), "auroc")
    assert {frozenset(group) for group in found.groups()} == {frozenset(NAMES[:2]), frozenset(NAMES[2:])}
    assert found.p < 1e-6


def test_a_smaller_loss_has_the_better_rank_and_seeds_are_averaged() -> None:
    losses = frame(AUC[:, ::-1] * 0 + np.array([4.0, 3.0, 2.0, 1.0]), metric="log_loss")
    worse = losses.assign(seed=1, value=losses["value"] + 10 * (losses["method"] == "C4.5+m+cf"))
    assert next(iter(critical_difference(losses, "log_loss").ranks)) == "C4.5+m+cf"
    assert list(critical_difference(pd.concat([losses, worse]), "log_loss").ranks)[-1] == "C4.5+m+cf"


def test_variants_are_data_sets_of_their_own_and_methods_that_some_lack_are_left_out() -> None:
    one, other = frame(AUC[:1]), frame(AUC[1:2]).assign(dataset="d0", variant="other")
    both = pd.concat([one, other[other["method"] != "C4.5"]])
    found = critical_difference(both, "auroc")
    assert found.n_datasets == 2
    assert "C4.5" not in found.ranks


@pytest.mark.slow
def test_equal_methods_are_seldom_told_apart() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        found = critical_difference(frame(rng.random((10, 4))), "auroc")
        ranks = list(found.ranks.values())
        alarms += ranks[-1] - ranks[0] >= found.distance
    assert alarms / 200 < 0.09  # 5 % and three standard errors


def test_what_cannot_be_compared_is_told() -> None:
    with pytest.raises(DataError, match="got 1 data sets and 4 methods"):
        critical_difference(frame(AUC[:1]), "auroc")
    with pytest.raises(ConfigError, match="alpha must be between 0 and 1"):
        critical_difference(frame(AUC), "auroc", alpha=1.0)
