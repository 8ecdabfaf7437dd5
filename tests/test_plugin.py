"""A package of somebody else brings one part of each kind; all of them are used by their names alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from forks import Forks
from typer.testing import CliRunner

import profuse
from profuse import registry
from profuse.cli import app
from profuse.predictor import NetworkPredictor
from profuse.registry import PART_KINDS
from profuse.testing import FUSION_CHECKS, SLOW_CHECKS, check_fusion

PLUGIN = Path(__file__).parent / "plugin"
PROJECT = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = {kind: next(iter(PROJECT["entry-points"][about.group])) for kind, about in PART_KINDS.items()}
OPTIONS: dict[str, Any] = {
    "seeds": 1,
    "rounds": [],
    "portfolio": "none",
    "questions": [],
    "retrain_without": False,
    "profile": False,
    "fusions": [NAMES["fusion"]],
    "model": {
        "width": 8,
        "members": 1,
        "encoders": {"x": NAMES["encoder"]},
        "operator_options": {NAMES["fusion"]: {"scale": 0.5}},
    },
    "train": {"epochs": 1, "refit": False, "balance": NAMES["balance"], "balance_options": {"factor": 1.5}},
}


@pytest.fixture
def known_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package's parts are known in this process, as after an installation."""
    about = tmp_path / "site" / "parts_of_others-0.3.dist-info"
    about.mkdir(parents=True)
    lines = [f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"]
    (about / "METADATA").write_text(lines[0], encoding="utf-8")
    groups = PROJECT["entry-points"].items()
    text = "\n".join(f"[{group}]\n" + "\n".join(f"{n} = {v}" for n, v in named.items()) for group, named in groups)
    (about / "entry_points.txt").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path / "site")

    def forget() -> None:
        for kind in PART_KINDS:
            vars(registry.table(kind)).pop("installed", None)
            registry.table(kind)._loaded.clear()

    forget()
    yield
    monkeypatch.undo()
    forget()


def test_it_brings_a_part_of_every_kind_one_a_file() -> None:
    assert {about.group for about in PART_KINDS.values()} == set(PROJECT["entry-points"])
    homes = [value.partition(":")[0] for named in PROJECT["entry-points"].values() for value in named.values()]
    files = {f"parts_of_others.{p.stem}" for p in (PLUGIN / "parts_of_others").glob("[a-z]*.py")}
    assert sorted(homes) == sorted(files)


@pytest.mark.usefixtures("known_here")
class TestInThisProcess:
    @pytest.mark.parametrize("kind", PART_KINDS)
    def test_each_is_listed_after_ours_and_loaded(self, kind: str) -> None:
        rows = json.loads(CliRunner().invoke(app, ["parts", kind, "--json"]).stdout)
        assert [row["name"] for row in rows] == [*registry.table(kind).builtin, NAMES[kind]]
        assert rows[-1]["from"] == "parts-of-others 0.3"
        assert rows[-1]["description"]

    def test_the_operator_keeps_the_contract(self) -> None:
        cls: Any = registry.part("fusion", NAMES["fusion"])
        check_fusion(cls, checks=[c for c in FUSION_CHECKS if c not in SLOW_CHECKS and c != "documented"])

    @pytest.mark.slow
    @pytest.mark.usefixtures("few_classical")
    def test_a_comparison_uses_all_of_them_by_name(self, tmp_path: Path) -> None:
        found = profuse.compare("rings", out=tmp_path / "o", n_jobs=1, **OPTIONS)
        frame = found.frame
        assert found.results.method("shared_map").family == "own"
        assert {"shared_map", "x only", "nearest_mean"} <= set(frame.method)
        assert set(frame[frame.metric == "margin"].method) == set(frame.method)
        (folder,) = (tmp_path / "o" / "work").glob("shared_map-*/model")
        loaded = profuse.load_model(folder)
        assert isinstance(loaded, NetworkPredictor)
        model = loaded.model.plain
        assert repr(model.fusion).endswith("scale=0.5)")
        assert [type(e).__name__ for e in model.encoders] == ["OneMap", "VectorEncoder"]

    def test_a_schema_names_the_kind_and_the_preprocessor(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        near = np.arange(60) % 2
        for i in range(60):
            np.save(tmp_path / f"{i}.npy", rng.normal(size=(5 + i % 3, 3)) * (1 + 3 * near[i]))
        clouds = [rng.normal(size=(4 + i % 3, 3)) * (1 + 3 * near[i]) for i in range(60)]
        frame = pd.DataFrame({"cloud": clouds, "a": rng.normal(size=60), "b": rng.normal(size=60), "y": near})
        schema = {
            "modalities": {
                "cloud": {"columns": ["cloud"], "kind": "clouds"},
                "ab": {"columns": ["a", "b"], "kind": "vector", "preprocess": "squashed"},
            }
        }
        model = profuse.FusionClassifier(schema=schema, epochs=3, width=8).fit(frame[["cloud", "a", "b"]], frame["y"])
        model.save(tmp_path / "model")
        again = profuse.FusionClassifier.load(tmp_path / "model")
        X = frame[["cloud", "a", "b"]]
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed into a folder of its own, without a network."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__"))
    install = ["install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--target", folder / "site", source]
    subprocess.run([sys.executable, "-m", "pip", *map(str, install)], check=True, capture_output=True, timeout=300)
    return folder / "site"


@pytest.mark.slow
def test_fresh_processes_list_compare_resume_save_load_and_ask_by_name(
    site: Path, tmp_path: Path, forks: Forks
) -> None:
    environment = {"PYTHONPATH": f"{site}:{Path(profuse.__file__).parents[1]}"}  # of the workers
    installed = f"import sys\nassert 'parts_of_others' not in sys.modules\nsys.path.insert(0, {str(site)!r})"

    def profuse_says(*args: object, code: int = 0, before: str = installed) -> str:
        done = forks.run(*args, cwd=tmp_path, before=before, environment=environment if before else {})
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    listed = json.loads(profuse_says("parts", "--json"))
    assert {r["kind"]: r["name"] for r in listed if r["from"] == "parts-of-others 0.3"} == NAMES
    assert "shared_map" in profuse_says("fusions", "--family", "own")
    assert "rings that do not touch" in profuse_says("datasets")

    (tmp_path / "options.yaml").write_text(yaml.safe_dump(OPTIONS), encoding="utf-8")
    told = profuse_says("compare", "rings", "--config", "options.yaml", "--out", "o", "--jobs", "2")
    assert "shared map" in told
    assert "nearest mean" in told
    fits = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "o" / "work").glob("*-seed*")}
    on_the_line = ["--fusions", "shared_map", "--encoder", "x=one_map", "--balance", "own_first"]
    profuse_says("compare", "rings", "--config", "options.yaml", *on_the_line, "--out", "o", "--jobs", "1")
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "o" / "work").glob("*-seed*")} == fits

    rule = site / "parts_of_others" / "shared_map.py"
    rule.write_text(rule.read_text(encoding="utf-8").replace("self.scale * torch", "-self.scale * torch"))
    profuse_says("compare", "rings", "--config", "options.yaml", "--out", "o", "--jobs", "1")
    new = {p.name for p in (tmp_path / "o" / "work").glob("*-seed*")} - set(fits)
    assert any(name.startswith("shared_map-") for name in new)

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["p", "q"], 60)})
    frame.assign(y=np.where(frame["a"] > 0, "high", "low")).to_csv(tmp_path / "t.csv", index=False)
    small = ("--epochs", 1, "--width", 8, "--members", 1, "--no-refit")
    profuse_says("fit", "t.csv", "--target", "y", "--fusion", "shared_map", *small, "--out", "model")
    assert "margin" in profuse_says("evaluate", "model", "t.csv")
    assert "highest probability" in profuse_says("ask", "model", "t.csv", "confidence")
    assert "fusion='shared_map'" in profuse_says("evaluate", "model", "t.csv", code=2, before="")
