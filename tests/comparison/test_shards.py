"""A comparison in shards, merged, is the comparison of one run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from profuse.cli import app
from profuse.comparison.shards import compare_shard, merge_shards, read_share
from profuse.errors import ConfigError, DataError, ProfuseError

pytestmark = pytest.mark.usefixtures("few_classical")

QUICK = (
    "--target", "ill", "--fusions", "concat", "--rounds", "none", "--seeds", "2", "--epochs", "2",
    "--width", "8", "--portfolio", "none", "--questions", "none", "--jobs", "1",
)  # fmt: skip


def run(*args: object, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [str(a) for a in args])
    assert done.exit_code == code, done.output + done.stderr + repr(done.exception)
    return done


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, few_classical: None) -> Path:
    """A file of 120 rows."""
    rng = np.random.default_rng(0)
    x, word = rng.normal(size=120), rng.choice(["late", "kind", "wrong"], 120)
    ill = np.where(x + (word == "wrong") + 0.3 * rng.normal(size=120) > 0, "yes", "no")
    note = [f"it was {w} {rng.choice(['today', 'again', 'once'])} {i}" for i, w in enumerate(word)]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    pd.DataFrame({"x": x, "z": rng.normal(size=120), "note": note, "ill": ill}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def shards(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards in one folder."""
    out = tmp_path_factory.mktemp("shards") / "out"
    for i in (1, 2):
        done = run("compare", table, *QUICK, "--shard", f"{i}/2", "--out", out)
        assert f"profuse merge {out}" in done.output
    return out


def untimed(path: Path) -> dict[str, Any]:
    """Returns results without what differs from one run to the next."""
    found = json.loads((path / "results.json").read_text())
    for score in found["scores"]:
        score |= {"fit_seconds": 0, "predict_rows_per_second": 0}
    for point in found["curves"]:
        point.pop("seconds", None)
    return {k: v for k, v in found.items() if k not in ("timings", "machine", "created")}


@pytest.mark.slow
def test_merged_shards_are_the_results_of_one_run(table: Path, shards: Path, tmp_path: Path) -> None:
    run("compare", table, *QUICK, "--time-limit", "none", "--out", tmp_path / "one")
    done = run("merge", shards, "--out", tmp_path / "merged", "--jobs", 1)
    assert untimed(tmp_path / "merged") == untimed(tmp_path / "one")
    assert (tmp_path / "merged" / "predictions.csv").read_bytes() == (tmp_path / "one" / "predictions.csv").read_bytes()
    assert sorted(p.name for p in (tmp_path / "merged" / "models").iterdir()) == sorted(
        p.name for p in (tmp_path / "one" / "models").iterdir()
    )
    with np.load(tmp_path / "merged" / "rows.npz") as merged, np.load(tmp_path / "one" / "rows.npz") as one:
        assert all(np.array_equal(merged[k], one[k]) for k in one.files)
    assert (tmp_path / "merged" / "report.html").exists()
    assert "2 done in merging" in done.output  # concat without each of two modalities


@pytest.mark.slow
def test_each_fit_is_of_one_shard_and_a_second_run_repeats_none(table: Path, shards: Path) -> None:
    def fits_of(i: int) -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in (shards / f"shard-{i}-of-2" / "work").glob("*-seed*")}

    fits = [fits_of(1), fits_of(2)]
    assert not fits[0].keys() & fits[1].keys()
    assert abs(len(fits[0]) - len(fits[1])) <= 1
    run("compare", table, *QUICK, "--shard", "2/2", "--out", shards)
    assert fits_of(2) == fits[1]


@pytest.mark.slow
def test_shards_that_do_not_belong_together_are_told(table: Path, shards: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(shards / "shard-1-of-2", alone / "shard-1-of-2")
    assert "without '2/2'" in run("merge", alone, code=2).stderr
    shutil.copytree(shards / "shard-2-of-2", tmp_path / "two" / "shard-2-of-2")
    facts = tmp_path / "two" / "shard-2-of-2" / "shard.json"
    kept = json.loads(facts.read_text())
    for change, message in (
        ({"digest": "0" * 64}, "have other data"),
        ({"options": {**kept["options"], "seeds": 3}}, "have other options: seeds: 3 and 2"),
        ({"versions": {**kept["versions"], "torch": "1.0"}}, "have other versions of packages: torch"),
        ({"of": 3}, "have other numbers of shards"),
        ({"which": "x"}, "must be what a shard left"),
    ):
        facts.write_text(json.dumps({**kept, **change}))
        with pytest.raises(DataError, match=message):
            merge_shards([alone, tmp_path / "two"], out=tmp_path / "out")
    facts.write_text(json.dumps(kept))
    other = pd.read_csv(table)
    other["x"] += 1
    other.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(DataError, match="the data must be those of the shards"):
        merge_shards([alone, tmp_path / "two"], out=tmp_path / "out", data=tmp_path / "other.csv")
    with pytest.raises(DataError, match="must hold shards that are done"):
        merge_shards([tmp_path / "nothing"])


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_share_is_i_of_n(text: str) -> None:
    with pytest.raises(ConfigError, match="shard must be i/n"):
        read_share(text)
    assert read_share(" 2/4 ") == (2, 4)


def test_a_time_limit_is_refused(table: Path, tmp_path: Path) -> None:
    from profuse.comparison.options import CompareOptions

    with pytest.raises(ProfuseError, match="time_limit must be none with shard"):
        compare_shard(
            table, "ill", shard="1/2", out=tmp_path, options=CompareOptions.model_validate({"time_limit": "10m"})
        )
