"""Letters say which methods are shown to differ, and nothing else."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from profuse.comparison import alike
from profuse.comparison.alike import letters, letters_of
from profuse.comparison.results import DatasetFacts, MethodInfo, ModalityFacts, Results, Role, Score
from profuse.comparison.statistics import holm
from profuse.comparison.summary import Evidence, summarise
from profuse.report import collect, render_html, render_markdown


def _apart(of: dict[str, str]) -> set[tuple[str, str]]:
    """Pairs without a letter in common; a letter may have a number behind it."""
    sets = {name: set(re.findall(r"[a-z]\d*", text)) for name, text in of.items()}
    return {(a, b) for a, b in combinations(of, 2) if not sets[a] & sets[b]}


@pytest.mark.parametrize("seed", range(12))
def test_two_have_no_letter_in_common_exactly_if_they_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(9)]
    different = [pair for pair in combinations(names, 2) if rng.random() < 0.1 * seed]
    of = letters_of(names, different)
    assert _apart(of) == set(different)
    sets = [{name for name in names if letter in of[name]} for letter in {x for text in of.values() for x in text}]
    assert not any(a < b for a in sets for b in sets)  # no letter says what another one says


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ([], ["a", "a", "a"]),
        ([("x", "y"), ("x", "z")], ["a", "b", "b"]),
        ([("x", "z")], ["a", "ab", "b"]),  # the one between is like both
        ([("x", "y")], ["a", "b", "ab"]),  # what is alike need not stand side by side
        ([("x", "y"), ("x", "z"), ("y", "z")], ["a", "b", "c"]),
    ],
)
def test_letters_begin_at_the_top_and_are_as_few_as_can_be(different: list[tuple[str, str]], said: list[str]) -> None:
    assert list(letters_of(["x", "y", "z"], different).values()) == said


def test_more_letters_than_the_alphabet_has_stay_apart() -> None:
    names = [f"m{i}" for i in range(30)]
    of = letters_of(names, list(combinations(names, 2)))
    assert len(set(of.values())) == 30
    assert _apart(of) == set(combinations(names, 2))


SHARES = {"concat": 0.84, "gated": 0.835, "a only": 0.7}
NEARLY = {"concat": 0.84, "gated": 0.8, "a only": 0.802}
"""The first one differs from another by itself, and not once p is corrected."""


def made(shares: dict[str, float]) -> Results:
    """1,000 rows and two seeds, of which each method is right about a share."""
    n = 1000
    facts = DatasetFacts(
        name="d", task="binary", classes=["no", "yes"], n_rows=3 * n, n_train=n, n_valid=n, n_test=n,
        modalities={m: ModalityFacts(kind="table") for m in "ab"},
    )  # fmt: skip
    results = Results(dataset=facts)
    rng = np.random.default_rng(0)
    roles: dict[str, Role] = {"concat": "baseline", "gated": "fusion", "a only": "single"}
    for name, share in shares.items():
        seen = ["a"] if name == "a only" else ["a", "b"]
        results.methods.append(MethodInfo(name=name, role=roles[name], modalities=seen))
        for seed in range(2):
            right = rng.random(n) < share
            results.add_rows(name, seed, right.astype(float), ids=np.arange(n))
            for split in ("test", "valid"):
                results.scores.append(
                    Score(dataset="d", method=name, seed=seed, split=split, metric="accuracy", value=right.mean(),
                          n_rows=n)
                )  # fmt: skip
    return results


@pytest.fixture
def results() -> Results:
    return made(SHARES)


@pytest.mark.parametrize("shares", [SHARES, NEARLY])
def test_methods_share_a_letter_where_their_corrected_p_is_not_below_5_percent(shares: dict[str, float]) -> None:
    results = made(shares)
    summary, evidence = summarise(results), Evidence(results)
    of = letters(results, summary)
    assert list(of) == [row.method.name for row in summary.rows]
    pairs = list(combinations(of, 2))
    p = [evidence.difference(*pair) for pair in pairs]
    adjusted = holm([1.0 if e is None or e.p is None else e.p for e in p])
    assert _apart(of) == {pair for pair, q in zip(pairs, adjusted, strict=True) if q < 0.05}
    assert sorted(of.values()) == (["a", "a", "a"] if shares is NEARLY else ["a", "a", "b"])
    assert any(e is not None and e.p is not None and e.p < 0.05 for e in p)


def test_of_many_methods_the_first_have_letters_that_are_corrected_for_all_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alike, "_LETTERED", 2)
    results = made({"concat": 0.84, "gated": 0.8, "a only": 0.7})
    summary = summarise(results)
    difference = Evidence(results).difference("concat", "gated")
    assert difference is not None
    assert (difference.p or 0) < 0.05 < 3 * (difference.p or 0)  # two alone would be told apart
    assert letters(results, summary) == {"concat": "a", "gated": "a"}
    assert [r["alike"] for r in collect(results)["table"]] == ["a", "a", ""]


def test_the_report_shows_them_and_says_what_they_mean(results: Results) -> None:
    data = collect(results)
    assert [r["alike"] for r in data["table"]] == ["a", "a", "b"]
    page, text = render_html(data), render_markdown(data)
    for told in (page, text):
        assert "share a letter are not shown to differ" in told
    row = next(line for line in text.splitlines() if line.startswith("| 3 |"))
    assert "| b |" in row
    older = {**data, "table": [{k: v for k, v in r.items() if k != "alike"} for r in data["table"]]}
    assert "share a letter" not in render_html(older) + render_markdown(older)


def test_one_method_has_no_letter(results: Results) -> None:
    results.methods = results.methods[:1]
    results.scores = [s for s in results.scores if s.method == "concat"]
    assert letters(results, summarise(results)) == {}
    assert "share a letter" not in render_html(collect(results))
