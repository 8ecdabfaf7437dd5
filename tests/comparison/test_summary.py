"""The verdict follows the intervals, and choices follow validation."""

from __future__ import annotations

import numpy as np
import pytest

from profuse.comparison.results import DatasetFacts, MethodInfo, ModalityFacts, Results, Score
from profuse.comparison.summary import Evidence, summarise


def _results(accuracy: dict[str, float], valid: dict[str, float] | None = None, *, n_rows: int = 2000) -> Results:
    """Three seeds on shared rows; a row is right if its ease is below the method's accuracy."""
    roles = {"a only": "single", "b only": "single", "concat": "baseline", "gated": "fusion", "boost": "classical"}
    facts = DatasetFacts(
        name="d", task="binary", classes=["no", "yes"], n_rows=3 * n_rows, n_train=n_rows, n_valid=n_rows,
        n_test=n_rows, modalities={m: ModalityFacts(kind="table") for m in "ab"},
    )  # fmt: skip
    results = Results(dataset=facts)
    ease = np.random.default_rng(0).permutation(n_rows) / n_rows
    for name, value in accuracy.items():
        plain = name.removeprefix("progressive ")
        role = roles.get(plain, "trivial")
        seen = ["a", "b"] if role in ("baseline", "fusion", "classical") else [name[0]] if role == "single" else []
        rounds = 2 if name != plain else 1
        results.methods.append(MethodInfo(name=name, role=role, fusion=plain, rounds=rounds, modalities=seen))
        for seed in range(3):
            right = (np.roll(ease, 20 * seed) < value).astype(float)
            results.add_rows(name, seed, right, ids=np.arange(n_rows))
            for split, v in (("test", right.mean()), ("valid", (valid or accuracy)[name])):
                results.scores.append(
                    Score(dataset="d", method=name, seed=seed, split=split, metric="accuracy", value=v, n_rows=n_rows,
                          n_parameters=100, fit_seconds=4.0 if role == "fusion" else 2.0)
                )  # fmt: skip
    return results


BASE = {"trivial": 0.5, "a only": 0.7, "b only": 0.8, "concat": 0.85, "gated": 0.9, "boost": 0.86}


@pytest.mark.parametrize(("gated", "helps"), [(0.9, "yes"), (0.8, "not shown"), (0.7, "no")])
def test_the_verdict_is_what_the_interval_says(gated: float, helps: str) -> None:
    scores = {**BASE, "concat": gated - 0.01, "gated": gated}
    verdict = summarise(_results(scores)).verdict
    assert (verdict.fusion, verdict.single, verdict.helps) == ("gated", "b only", helps)
    assert verdict.gain is not None
    assert verdict.gain.estimate.value == pytest.approx(gated - 0.8, abs=1e-6)
    assert verdict.cost_ratio == (2.0, 1.0)


@pytest.mark.parametrize(("value", "shown"), [(0.99, "worse"), (0.7, "not shown"), (0.3, "better")])
def test_each_network_is_held_against_the_classical_model_of_its_modality(value: float, shown: str) -> None:
    results = _results({**BASE, "a classical": value})
    method = next(m for m in results.methods if m.name == "a classical")
    method.role, method.family, method.modalities = "single", "classical", ["a"]
    summary = summarise(results)
    told = [c for c in summary.comparisons if c.kind == "hand_made"]
    assert [(c.method, c.against, c.shown) for c in told] == [("a only", "a classical", shown)]
    assert summary.verdict.single == ("a classical" if value > 0.8 else "b only")
    assert summary.verdict.helps == ("no" if value > 0.95 else "yes")


def test_choices_are_made_by_validation_and_never_by_test() -> None:
    valid = {**BASE, "a only": 0.99, "concat": 0.99}
    verdict = summarise(_results(BASE, valid)).verdict
    assert (verdict.single, verdict.fusion) == ("a only", "concat")


def test_without_validation_scores_nothing_is_chosen_and_it_is_told() -> None:
    results = _results(BASE)
    results.scores = [s for s in results.scores if s.split == "test"]
    summary = summarise(results)
    assert summary.verdict.single is None
    assert summary.verdict.helps is None
    assert any("2 of 2 without a validation score" in n for n in summary.notes)


def test_methods_are_ranked_on_test_and_compared_with_the_references() -> None:
    summary = summarise(_results({**BASE, "progressive gated": 0.92}))
    assert [r.method.name for r in summary.rows][:3] == ["progressive gated", "gated", "boost"]
    pairs = {(c.method, c.against, c.kind) for c in summary.comparisons}
    assert ("progressive gated", "gated", "plain") in pairs
    assert ("progressive gated", "boost", "classical") in pairs
    assert {m for m, _, k in pairs if k == "single"} == {"progressive gated", "gated", "concat", "boost"}
    assert {m for m, _, k in pairs if k == "concat"} == {"progressive gated", "gated", "boost"}
    assert all(c.p_holm >= (c.estimate.p or 0) for c in summary.comparisons)


def test_a_better_classical_model_is_seen() -> None:
    verdict = summarise(_results({**BASE, "boost": 0.95})).verdict
    assert verdict.classical == "boost"
    assert verdict.classical_gain is not None
    assert verdict.classical_gain.shown == "worse"


def test_a_fusion_no_better_than_the_trivial_answer_has_learned_nothing() -> None:
    flat = {**dict.fromkeys(BASE, 0.5), "boost": 0.51}
    assert summarise(_results(flat)).verdict.learned is False
    assert summarise(_results(BASE)).verdict.learned is True


def test_fusion_single_modality_and_classical_model_are_each_compared_with_the_trivial_answer() -> None:
    summary = summarise(_results(BASE))
    assert {c.method for c in summary.comparisons if c.kind == "trivial"} == {"gated", "b only", "boost"}


def test_a_single_group_of_test_rows_is_told_and_is_no_certainty() -> None:
    results = _results(BASE, n_rows=40)
    assert not any("single group" in n for n in summarise(results).notes)
    for rows in results.rows.values():
        rows.groups = np.zeros(40, dtype=int)
    summary = summarise(results)
    assert any("of a single group, or of one time" in n and "nothing of others" in n for n in summary.notes)
    assert all(r.estimate.low < r.estimate.value < r.estimate.high for r in summary.rows)
    assert all((c.estimate.p or 0) > 0 for c in summary.comparisons)


def test_lost_rows_fall_back_to_seeds_and_it_is_told() -> None:
    results = _results(BASE)
    results.rows.clear()
    results.scores = [s.model_copy(update={"value": s.value + 0.01 * s.seed}) for s in results.scores]
    summary = summarise(results)
    assert any("6 of 6 methods without their rows" in n for n in summary.notes)
    assert "taken as given" in summary.row("gated").estimate.rule


def test_a_method_at_fewer_seeds_is_compared_on_the_common_ones() -> None:
    results = _results(BASE)
    results.scores = [s for s in results.scores if s.method != "boost" or s.seed == 1]
    found = summarise(results).comparison("gated", "classical")
    assert found is not None
    assert found.estimate.n_seeds == 1


@pytest.mark.parametrize(("gated", "shown"), [(0.9, "better"), (0.85, "not shown"), (0.75, "worse")])
def test_the_chosen_fusion_is_held_against_the_default_unless_it_is_that(gated: float, shown: str) -> None:
    results = _results({**BASE, "gated": gated}, {**BASE, "gated": 0.99})
    (concat,) = (m for m in results.methods if m.name == "concat")
    concat.default = True
    summary = summarise(results)
    told = [(c.method, c.against, c.shown) for c in summary.comparisons if c.kind == "default"]
    assert told == [("gated", "concat", shown)]
    other = summarise(_results({**BASE, "gated": gated}, {**BASE, "gated": 0.99}))
    assert [c for c in other.comparisons if c.kind == "default"] == []
    itself = _results(BASE, {**BASE, "concat": 0.99})
    (concat,) = (m for m in itself.methods if m.name == "concat")
    concat.default = True
    assert [c for c in summarise(itself).comparisons if c.kind == "default"] == []


def test_a_difference_to_the_trivial_answer_is_as_sure_as_the_others(example_of_two_seeds: Results) -> None:
    """The trivial answer has no seed of its own: its difference takes what all methods say of the seeds' variance."""
    evidence = Evidence(example_of_two_seeds)
    against = evidence.difference("concat", "trivial")
    score = evidence.row(example_of_two_seeds.method("concat")).estimate
    assert against is not None
    assert against.degrees > 3
    assert against.high - against.low < 2 * (score.high - score.low)
    back = evidence.difference("trivial", "concat")
    assert back is not None
    assert (back.low, back.high) == pytest.approx((-against.high, -against.low))


@pytest.fixture
def example_of_two_seeds() -> Results:
    rng, skills = (
        np.random.default_rng(2),
        {"trivial": 0.4, "a only": 0.6, "b only": 0.62, "concat": 0.8, "gated": 0.79},
    )
    facts = DatasetFacts(name="made", task="multiclass", n_rows=600, n_train=300, n_valid=150, n_test=150,
                         classes=["x", "y", "z"], modalities={"a": ModalityFacts(kind="vector")})  # fmt: skip
    roles = {"trivial": "trivial", "a only": "single", "b only": "single"}
    names = [*skills, "linear"]
    results = Results(dataset=facts, methods=[MethodInfo(name=n, role=roles.get(n, "fusion")) for n in names])
    for seed in range(2):
        for name in names:
            luck = {"trivial": 0.0, "concat": 0.1 - 0.2 * seed}.get(name, 0.01 * rng.normal())
            right = rng.random(150) < skills.get(name, 0.7) + luck
            results.scores.append(Score(dataset="made", method=name, seed=seed, split="test", metric="accuracy",
                                        value=float(right.mean()), n_rows=150))  # fmt: skip
            results.add_rows(name, seed, right, ids=np.arange(150))
    return results
