"""A Ray of this machine: killed workers and a killed driver lose nothing, and the numbers are those of local fits."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from real_ray import joined, ray

import profuse

temporary = joined
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]

QUICK = (
    "--target", "ill", "--rounds", "none", "--singles", "none", "--seeds", "1", "--epochs", "2", "--width", "8",
    "--portfolio", "none", "--questions", "none", "--no-profile",
)  # fmt: skip
SMALL: dict[str, Any] = {
    "target": "ill", "seeds": 1, "rounds": (), "singles": (), "model": {"width": 8}, "train": {"epochs": 2},
    "portfolio": "none", "questions": (), "profile": False,
}  # fmt: skip
FRAGILE = """
import os, signal
from pathlib import Path
from sklearn.linear_model import LogisticRegression

class Fragile(LogisticRegression):
    trusted = ("own_parts.Fragile",)

    def fit(self, x, y, sample_weight=None):
        died = Path(__file__).with_name("died")
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(x, y, sample_weight)

class Broken(LogisticRegression):
    def fit(self, x, y, sample_weight=None):
        raise KeyError("no such thing")
"""


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


def found(out: Path) -> dict[str, Any]:
    """What does not hang on the clock of a run in `out`."""
    results = json.loads((out / "results.json").read_text())
    timed = ("fit_seconds", "predict_rows_per_second")
    return {
        "scores": [{k: v for k, v in s.items() if k not in timed} for s in results["scores"]],
        "skipped": sorted(f"{s['method']}: {s['reason']}" for s in results["skipped"]),
        **{name: results[name] for name in ("ablation", "members")},
        "notes": results["dataset"]["notes"],
        "predictions": (out / "predictions.csv").read_bytes(),
        "fits": sorted(p.name for p in (out / "work").glob("*")),
        "models": sorted(p.relative_to(out).as_posix() for p in (out / "models").rglob("*")),
    }


def test_a_killed_worker_and_members_that_fail_change_nothing(
    table: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_parts.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    asked = {**SMALL, "members": ("own_parts:Fragile", "own_parts:Broken"), "n_jobs": 2}
    profuse.compare(table, **asked, engine="ray", out=tmp_path / "ray")
    assert (tmp_path / "died").exists()  # a worker was killed
    profuse.compare(table, **{**asked, "n_jobs": 1}, out=tmp_path / "local")
    cluster = found(tmp_path / "ray")
    assert cluster == found(tmp_path / "local")
    assert {s["method"] for s in cluster["scores"]} >= {"Fragile", "concat"}
    assert [reason.partition(":")[0] for reason in cluster["skipped"]] == ["Broken"]
    assert "no such thing" in cluster["skipped"][0]
    assert ray.is_initialized()  # one that was joined before stays
    assert not [p for p in temporary.iterdir() if "profuse" in p.name]


def test_a_comparison_that_is_stopped_and_then_killed_goes_on_and_leaves_no_process(
    table: Path, tmp_path: Path
) -> None:
    out, env = tmp_path / "out", {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "TMPDIR")}
    command = [sys.executable, "-m", "profuse", "compare", str(table), *QUICK, "--jobs", "2"]

    def fits() -> int:
        return len([p for p in (out / "work").glob("*-seed*") if p.name[0] != "."]) if out.exists() else 0

    for number, wanted in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        before = fits()
        process = subprocess.Popen(
            [*command, "--engine", "ray", "--out", str(out)], env=env, text=True, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        while fits() < before + 2 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
        assert process.returncode == wanted, told
        assert "Ray on this machine" in told
        assert "; 2 fits at a time on 1 machine" in told  # its dashboard may stand before
        if number == signal.SIGTERM:  # as with Ctrl-C, but that Ray would take it
            assert "Interrupted: " in told
            assert not [p.name for p in (out / "work").iterdir() if p.name[0] == "."]
            until = time.monotonic() + 20
            while (alive := in_session(process.pid)) and time.monotonic() < until:
                time.sleep(0.2)
            assert alive == []
    done = fits()
    assert done >= 4
    subprocess.run([*command, "--engine", "ray", "--out", str(out)], env=env, check=True, capture_output=True)
    profuse.compare(table, **SMALL, n_jobs=1, out=tmp_path / "local")
    assert found(out) == found(tmp_path / "local")
    assert len(found(out)["fits"]) > done


def in_session(leader: int) -> list[str]:
    """The command lines of processes of a session that live."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
            state, _, _, session = rest.split()[:4]
        except OSError:  # it has just ended
            continue
        if int(session) == leader and state != "Z":
            alive.append(name)
    return alive
