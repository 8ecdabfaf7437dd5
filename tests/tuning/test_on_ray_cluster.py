"""A search on a Ray of this machine: killed workers and a killed driver lose nothing, and numbers are local ones."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from real_ray import joined, ray
from tuning.conftest import MODEL, kept, rows, tried

from profuse import register
from profuse.tuning import tune

temporary = joined
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]

FRAGILE = """
import os, signal
from pathlib import Path
from profuse.fusion import fusion

class Fragile(fusion("gated")):
    formula = "gated, but for its end"

    def fuse(self, tokens):
        here = Path(__file__).parent
        if (here / "may die").exists() and self.training:
            (here / "may die").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fuse(tokens)
"""
STARTS = """
import sys
from tuning.conftest import MODEL, rows
from profuse.tuning import tune

tune(rows(), trials=6, model=MODEL, train={"epochs": 12}, fusions="gated", storage=sys.argv[1], engine="ray", n_jobs=2,
     on_event=lambda event: print(event.stage, event.n_done, event.said, flush=True))
"""


def test_a_killed_worker_changes_nothing(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_fusion.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    register("fusion", "fragile", "own_fusion:Fragile")
    asked: dict[str, Any] = {"trials": 7, "model": MODEL, "train": {"epochs": 6}, "fusions": "fragile", "seed": 1}
    local = tune(rows(), **asked, storage=tmp_path / "local.db")
    (tmp_path / "may die").touch()
    there = tune(rows(), **asked, engine="ray", n_jobs=1, storage=tmp_path / "ray.db")
    assert not (tmp_path / "may die").exists()  # a worker was killed
    assert tried(there) == tried(local)
    assert "pruned" in {t.state for t in there.best.trials}
    assert kept(tmp_path / "ray.db") == kept(tmp_path / "local.db")
    assert ray.is_initialized()  # one that was joined before stays
    assert not [p for p in temporary.iterdir() if "profuse" in p.name]
    assert "Board" not in capfd.readouterr().err  # Ray prints no errors of what is over


def test_a_search_whose_driver_is_killed_goes_on(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "TMPDIR")}
    environment["PYTHONPATH"] = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    command = [sys.executable, "-c", STARTS, str(tmp_path / "s.db")]
    process = subprocess.Popen(
        command, env=environment, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("trial 2"):
            break
    process.send_signal(signal.SIGKILL)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, printed
    assert said[0].startswith("cluster 0 Ray on this machine")
    time.sleep(1)  # workers of the dead one end
    made = tune(
        rows(), trials=6, model=MODEL, train={"epochs": 12}, fusions="gated", storage=tmp_path / "s.db", n_jobs=1
    )
    assert len(made.best.trials) == 6
    assert {t.state for t in made.best.trials} <= {"complete", "pruned"}
    assert made.best.trials[-1].number > 5  # those under way were tried again
    assert len({t.options["learning_rate"] for t in made.best.trials}) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["s.db"]
