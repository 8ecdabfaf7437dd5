"""Methods that lack seeds are held against the others on the seeds that both have."""

from __future__ import annotations

import numpy as np
import pytest

from profuse.comparison.results import DatasetFacts, MethodInfo, ModalityFacts, Results, Role, Score
from profuse.comparison.summary import Evidence, summarise
from profuse.comparison.unequal_seeds import shifts
from profuse.report.collect import collect

ROLES: dict[str, Role] = {
    "a only": "single",
    "b only": "single",
    "concat": "baseline",
    "gated": "fusion",
    "trivial": "trivial",
}
LUCK = {0: 0.1, 1: -0.1}
"""What the split of each seed gives every method: seed 0 is the lucky one."""


def _results(skill: dict[str, float], lacking: dict[str, int], *, n_rows: int = 400) -> Results:
    facts = DatasetFacts(
        name="d", task="binary", classes=["no", "yes"], n_rows=3 * n_rows, n_train=n_rows, n_valid=n_rows,
        n_test=n_rows, modalities={m: ModalityFacts(kind="table") for m in "ab"},
    )  # fmt: skip
    results = Results(dataset=facts)
    for name, value in skill.items():
        alone = ROLES[name] == "single"
        seen = [name[0]] if alone else [] if name == "trivial" else ["a", "b"]
        results.methods.append(MethodInfo(name=name, role=ROLES[name], modalities=seen))
        for seed, luck in LUCK.items():
            if lacking.get(name) == seed:
                continue
            luck = 0.0 if name == "trivial" else luck  # one answer for all rows is seldom lucky
            right = (np.random.default_rng(seed).permutation(n_rows) < round((value + luck) * n_rows)).astype(float)
            results.add_rows(name, seed, right, ids=np.arange(n_rows) + seed * n_rows)
            for metric, split in (("accuracy", "test"), ("accuracy", "valid"), ("macro_f1", "test")):
                results.scores.append(
                    Score(dataset="d", method=name, seed=seed, split=split, metric=metric, value=right.mean(),
                          n_rows=n_rows)
                )  # fmt: skip
    return results


BETTER = {"trivial": 0.5, "a only": 0.6, "b only": 0.65, "concat": 0.75, "gated": 0.7}


@pytest.mark.parametrize("lacks", [0, 1])
@pytest.mark.parametrize("method", ["gated", "concat", "a only", "b only"])
def test_a_method_with_fewer_seeds_neither_wins_nor_loses_by_its_splits(method: str, lacks: int) -> None:
    whole, part = (summarise(_results(BETTER, lacking)) for lacking in ({}, {method: lacks}))
    assert (part.verdict.fusion, part.verdict.single) == ("concat", "b only")
    assert [r.method.name for r in part.rows] == [r.method.name for r in whole.rows]
    assert [r.estimate.value for r in part.rows] == pytest.approx([r.estimate.value for r in whole.rows])
    assert part.verdict.gain is not None
    assert part.verdict.gain.estimate.value == pytest.approx(0.1)
    assert part.row(method).estimate.n_seeds == 1
    assert all(r.estimate.low < r.estimate.value < r.estimate.high for r in part.rows)


def test_it_is_told_once_which_methods_lack_seeds() -> None:
    assert not any("every seed" in n for n in summarise(_results(BETTER, {})).notes)
    notes = summarise(_results(BETTER, {"gated": 1, "a only": 0})).notes
    assert next(n for n in notes if "every seed" in n).startswith(
        "a only (1 of 2), gated (1 of 2) do not have every seed"
    )
    assert sum("every seed" in n for n in notes) == 1


def test_the_other_scores_of_the_report_are_set_against_the_others_too() -> None:
    whole, part = (collect(_results(BETTER, lacking)) for lacking in ({}, {"gated": 1}))
    means = [[[c["mean"] for c in row["cells"]] for row in data["metrics"]["rows"]] for data in (part, whole)]
    assert len(means[0][0]) == 2
    assert np.allclose(means[0], means[1])


def test_a_method_that_has_every_seed_keeps_its_plain_mean_and_the_others_keep_their_distance() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 3))
    table = {f"m{i}": dict(enumerate(row)) for i, row in enumerate(scores.tolist())}
    del table["m2"][1], table["m3"][0], table["m3"][2]
    moved = shifts(table)
    assert set(moved) == {"m2", "m3"}
    # an independent least-squares fit: dummy variables with the first seed as reference
    rows = [(i, j) for i in range(4) for j in table[f"m{i}"]]
    design = np.array([[*(i == k for k in range(4)), *(j == k for k in (1, 2))] for i, j in rows], dtype=float)
    fit = np.linalg.solve(design.T @ design, design.T @ np.array([scores[at] for at in rows]))
    means = fit[:4] + fit[4:].sum() / 3
    own = np.array([np.mean(list(table[f"m{i}"].values())) for i in range(4)])
    assert means - own == pytest.approx([0, 0, moved["m2"], moved["m3"]], abs=1e-12)


def test_methods_without_any_seed_in_common_are_not_shifted() -> None:
    apart = {"a": {0: 1.0}, "b": {0: 2.0, 1: 3.0}, "c": {2: 9.0}}
    assert shifts(apart) == {"a": pytest.approx(0.5)}
    assert shifts({"a": {0: 1.0}, "b": {1: 2.0}}) == {}
    assert Evidence(_results(BETTER, {"gated": 0, "concat": 1})).difference("gated", "concat") is None
