"""`profuse compare` and `profuse fit`, killed at random moments and started again, end with the same numbers."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forks import Forks

import profuse

QUICK = ("--target", "ill", "--epochs", "2", "--width", "8", "--jobs", "1")
COMPARED = ("--fusions", "concat", "--rounds", "none", "--seeds", "1", "--portfolio", "none", "--questions", "none")


def finished(forks: Forks, *args: object) -> float:
    """Runs `profuse` to its end and returns its seconds."""
    began = time.monotonic()
    done = forks.run(*args)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def killed(forks: Forks, seconds: float, *args: object) -> bool:
    """Runs `profuse` and kills it, and all that it has started, after `seconds`; tells whether it still ran."""
    fork = forks.start(*args)
    if fork.wait(seconds) is None:
        fork.kill()
        return True
    return False


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 100 rows."""
    rng = np.random.default_rng(0)
    x, word = rng.normal(size=100), rng.choice(["late", "kind"], 100)
    ill = np.where(x + (word == "late") + 0.3 * rng.normal(size=100) > 0, "yes", "no")
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    notes = [f"it was {w} {i}" for i, w in enumerate(word)]
    pd.DataFrame({"x": x, "note": notes, "ill": ill}).to_csv(path, index=False)
    return path


def scores(out: Path) -> Any:
    """Returns all scores, but for times."""
    found = json.loads((out / "results.json").read_text())
    return [
        {k: v for k, v in score.items() if k not in ("fit_seconds", "predict_rows_per_second")}
        for score in found["scores"]
    ]


@pytest.mark.slow
def test_a_comparison_killed_at_random_moments_ends_with_the_same_numbers(
    table: Path, tmp_path: Path, forks: Forks
) -> None:
    asked = ("compare", table, *QUICK, *COMPARED)
    seconds = finished(forks, *asked, "--out", tmp_path / "whole")
    moments, out = random.Random(7), tmp_path / "killed"
    n_killed = sum(killed(forks, moments.uniform(0.05, 0.9) * seconds, *asked, "--out", out) for _ in range(2))
    assert n_killed >= 1
    finished(forks, *asked, "--out", out)
    assert scores(out) == scores(tmp_path / "whole")
    assert (out / "predictions.csv").read_bytes() == (tmp_path / "whole" / "predictions.csv").read_bytes()
    names = {p.name for p in out.rglob("*")}
    assert not [name for name in names if name.endswith(".save") or name.startswith(".fit-")]


@pytest.mark.slow
def test_a_fit_killed_at_random_moments_leaves_the_model_of_before_or_a_whole_one(
    table: Path, tmp_path: Path, forks: Forks
) -> None:
    asked = ("fit", table, *QUICK[:-2], "--network")
    seconds = finished(forks, *asked, "--out", tmp_path / "whole")
    before, moments = tmp_path / "killed", random.Random(8)
    finished(forks, *asked, "--seed", 1, "--out", before)
    known = {
        seed: profuse.load_model(folder).predict_proba(pd.read_csv(table))
        for seed, folder in ((0, tmp_path / "whole"), (1, before))
    }
    for _ in range(2):
        killed(forks, moments.uniform(0.05, 1.0) * seconds, *asked, "--out", before)
        said = profuse.load_model(before).predict_proba(pd.read_csv(table))
        assert any(np.array_equal(said, of) for of in known.values())
    finished(forks, *asked, "--out", before)
    assert np.array_equal(profuse.load_model(before).predict_proba(pd.read_csv(table)), known[0])
