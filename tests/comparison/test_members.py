"""Members in comparisons and portfolios: by value and by module, in processes, kept, loaded, and fitted again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forks import Forks
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import profuse
from profuse import from_tensors, load_model, register
from profuse.classical import CLASSICAL
from profuse.data.dataset import Dataset

pytestmark = pytest.mark.usefixtures("few_classical")
QUICK: dict[str, Any] = {
    "seeds": 1, "rounds": (), "singles": (), "train": {"epochs": 1}, "model": {"width": 8}, "n_jobs": 1,
    "retrain_without": False, "portfolio": "none",
}  # fmt: skip


def known(n: int = 120) -> Dataset:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    return from_tensors({"a": a, "b": b}, (a[:, 0] + b[:, 0] > 0).astype(int), presence={"b": rng.random(n) > 0.2})


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = "from sklearn.ensemble import RandomForestClassifier as Forest\nnumber = 3\n"
    (tmp_path / "own_models.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return tmp_path


@pytest.fixture
def write(own_models: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Writes a module and imports it anew."""

    def write(text: str) -> Any:
        (own_models / "my_models.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, "my_models", raising=False)
        importlib.invalidate_caches()
        return importlib.import_module("my_models")

    return write


@pytest.mark.slow
class TestTakesPart:
    def test_in_a_comparison_whose_other_methods_go_on_where_it_fails(self, tmp_path: Path) -> None:
        def fails(task: str) -> Any:
            return KNeighborsClassifier(n_neighbors=10_000)

        found = profuse.compare(known(), members={"svm": SVC, "fails": fails}, out=tmp_path / "out", **QUICK)
        assert found.summary().row("svm").method.role == "classical"
        reasons = {s.method: s.reason for s in found.results.skipped}
        assert reasons["fails"].startswith("failed at seed 0: fails: the estimator must predict; got ValueError: ")
        assert "svm" not in CLASSICAL
        predictor = found.predictor("svm")
        assert predictor.predict_proba(known()).shape == (120, 2)
        predictor.save(tmp_path / "m")
        again = load_model(tmp_path / "m")
        np.testing.assert_array_equal(again.predict_proba(known()), predictor.predict_proba(known()))

    def test_in_a_portfolio_and_is_loaded_by_a_process_that_has_not_its_module(
        self, own_models: Path, tmp_path: Path, forks: Forks
    ) -> None:
        frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=90)})
        frame["y"] = np.where(frame.x > 0, "p", "q")
        model = profuse.fit(
            frame, "y", preset="quick", folds=3, n_jobs=1,
            members=["own_models:Forest", "linear"],
        )  # fmt: skip
        names = [m.name for m in model.members]
        assert names.index("linear") < names.index("Forest") < len(names)
        kept = profuse.fit(frame, "y", preset="quick", folds=3, n_jobs=1, members={"knn": KNeighborsClassifier})
        assert "knn" in [m.name for m in kept.members]
        (own_models / "own_models.py").unlink()
        frame.to_csv(tmp_path / "frame.csv", index=False)
        for each, name in ((model, "one"), (kept, "other")):
            each.save(tmp_path / name)
            np.savetxt(tmp_path / f"{name}.txt", each.predict_proba(frame))
        (tmp_path / "loads.py").write_text(
            "import sys, numpy as np, profuse\n"
            "assert 'own_models' not in sys.modules\n"
            "for name in ('one', 'other'):\n"
            "    said = profuse.load_model(name).predict_proba('frame.csv')\n"
            "    np.testing.assert_allclose(said, np.loadtxt(f'{name}.txt'))\n"
            "print('alike')\n"
        )
        told = forks.run_script(tmp_path / "loads.py", cwd=tmp_path)
        assert told.stdout == "alike\n", told.stderr

    def test_a_failing_member_is_left_out_of_a_portfolio(self) -> None:
        def fails() -> Any:
            return KNeighborsClassifier(n_neighbors=10_000)

        model = profuse.fit(known(), preset="quick", folds=3, n_jobs=1, members={"fails": fails})
        assert "fails: the estimator must predict; got ValueError" in model.about["skipped"]["fails"]

    def test_a_registered_one_of_another_task_is_left_out_and_told(self) -> None:
        register("classical", "regressor", SVR())
        found = profuse.compare(known(), **QUICK)
        reason = "is not for a binary target: SVR, which is no classifier"
        assert {s.method: s.reason for s in found.results.skipped}["regressor"] == reason
        model = profuse.fit(known(), preset="quick", folds=3, n_jobs=1)
        assert model.about["skipped"]["regressor"] == "SVR, which is no classifier"
        assert any("regressor is left out" in note for note in model.about["notes"])

    def test_in_processes_of_a_comparison(self, own_models: Path) -> None:
        options = {**QUICK, "n_jobs": 2, "members": ("own_models:Forest",)}
        assert profuse.compare(known(), **options).summary().row("Forest")
        options["members"] = {"Forest": SVC(C=2.0), "local": lambda task: KNeighborsClassifier()}
        found = profuse.compare(known(), **{**options, "portfolio": "quick"})
        assert found.summary().row("local")
        members = {m.member for m in found.results.members}
        assert {"Forest", "local"} <= members
        without = profuse.compare(known(), **{**options, "portfolio": "quick", "members": None})
        assert not {"Forest", "local"} & {m.member for m in without.results.members}  # workers live longer

    def test_fits_are_kept_until_its_settings_or_its_code_change(
        self, write: Callable[[str], Any], tmp_path: Path
    ) -> None:
        fits: list[str] = []

        def done(members: Any) -> list[str]:
            fits.clear()

            def tell(event: Any) -> None:
                fits.extend([event.finished["method"]] if event.finished else [])

            profuse.compare(known(), members=members, out=tmp_path / "o", on_event=tell, **QUICK)
            return list(fits)

        assert {"mine", "linear"} <= set(done({"mine": SVC(C=1.0)}))
        assert done({"mine": SVC(C=1.0)}) == []
        assert done({"mine": SVC(C=2.0)}) == ["mine"]
        assert done({"mine": make_pipeline(StandardScaler(), SVC(C=2.0))}) == ["mine"]
        assert done({"mine": make_pipeline(StandardScaler(), SVC(C=3.0))}) == ["mine"]
        for c in (1, 2):
            module = write(f"from sklearn.svm import SVC\ndef make():\n    return SVC(C={c})\n")
            assert done({"mine": module.make}) == ["mine"]
            assert done({"mine": module.make}) == []
            assert done([f"mine={module.__name__}:make"]) == ["mine"]
            assert done([f"mine={module.__name__}:make"]) == []
