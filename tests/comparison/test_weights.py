"""Weights of rows in a comparison: in every fit, in every process, and in none of the scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from profuse import compare, from_tensors
from profuse.classical.trivial import Trivial
from profuse.comparison.compare import Comparison
from profuse.data.dataset import Dataset
from profuse.registry import register
from profuse.schema import SplitOptions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]
N = 200
QUICK: dict[str, Any] = {
    "seeds": 1, "rounds": (), "retrain_without": False, "model": {"members": 1, "width": 8}, "train": {"epochs": 2},
}  # fmt: skip


def rare() -> Dataset:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(N, 3)), rng.normal(size=(N, 3))
    score = a[:, 0] + b[:, 0] + rng.normal(size=N)
    data = from_tensors({"a": a, "b": b}, (score > np.quantile(score, 0.85)).astype(int))
    return replace(data, weights=np.where(data.target == 1, 6.0, 1.0))


def values(found: Comparison, metric: str = "log_loss") -> dict[str, float]:
    return {s.method: s.value for s in found.results.scores if s.metric == metric and s.split == "test"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, few_classical: None) -> tuple[Comparison, Comparison, Path]:
    """Without weights, and with, in two processes."""
    out = tmp_path_factory.mktemp("weighted") / "out"
    plain = compare(replace(rare(), weights=None), n_jobs=1, **QUICK)
    return plain, compare(rare(), n_jobs=2, out=out, **QUICK), out


def test_every_method_learns_with_them_in_every_process(found: tuple[Comparison, Comparison, Path]) -> None:
    before, after = (values(f) for f in found[:2])
    assert before.keys() == after.keys()
    assert {"a only", "a classical", "linear", "extra_trees", "gradient_boosting", "trivial", "concat"} <= after.keys()
    assert [m for m in after if after[m] == before[m]] == []
    assert after["trivial"] > before["trivial"]  # of rows as they are


def test_a_note_tells_of_them(found: tuple[Comparison, Comparison, Path]) -> None:
    (note,) = set(found[1].results.dataset.notes) - set(found[0].results.dataset.notes)
    assert note == "Rows count in learning by their weights, 1 to 6. Scores count each row once."


def test_one_process_makes_the_same_of_them(found: tuple[Comparison, Comparison, Path]) -> None:
    alone = values(compare(rare(), n_jobs=1, **{**QUICK, "singles": ()}))
    same = {"trivial", "concat", "mean_logits"}  # trees are few in this process alone
    assert {m: v for m, v in alone.items() if m in same} == {m: v for m, v in values(found[1]).items() if m in same}


def test_a_second_run_takes_the_fits_of_equal_weights_alone(tmp_path: Path) -> None:
    out, fits = tmp_path / "out", list[Any]()
    data, some = rare(), {**QUICK, "singles": (), "out": out, "n_jobs": 1}
    compare(data, on_event=lambda e: fits.append(e.finished) if e.finished else None, **some)
    first, n_first = (
        values(compare(data, on_event=lambda e: fits.append(e.finished) if e.finished else None, **some)),
        len(fits),
    )
    assert n_first == len(first)  # the second run did none
    (out / "results.json").unlink()
    assert data.weights is not None
    other = replace(data, weights=np.where(data.weights > 1, 20.0, 1.0))
    second = values(compare(other, on_event=lambda e: fits.append(e.finished) if e.finished else None, **some))
    assert len(fits) == 2 * n_first
    assert [m for m in first if first[m] == second[m]] == []


def test_a_model_that_takes_none_is_left_out_with_the_reason(found: tuple[Comparison, Comparison, Path]) -> None:
    class Mine(Trivial):
        """Counts all alike."""

        weighted: ClassVar[bool] = False
        role: ClassVar[Any] = "classical"

    register("classical", "mine", Mine)
    some = {**QUICK, "singles": ()}
    result = compare(rare(), n_jobs=1, **some)
    (left,) = [s for s in result.results.skipped if s.method == "mine"]
    assert "this model takes no weights" in left.reason
    assert "mine" not in values(result)


def test_the_portfolio_has_them_too() -> None:
    data = replace(rare(), split=np.where(np.arange(N) % 4 == 0, "test", "train").astype(object))
    split = SplitOptions()
    losses = [
        values(compare(d, portfolio="quick", singles=(), n_jobs=1, split=split, **QUICK))["portfolio"]
        for d in (replace(data, weights=None), data)
    ]
    assert losses[1] > losses[0] + 0.01
