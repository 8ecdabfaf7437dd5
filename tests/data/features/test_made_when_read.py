"""Hand-made features are made where something reads them, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rows_of_kinds import N_ROWS, ROWS

from profuse import FusionClassifier, compare, from_tensors, load_model
from profuse.classical import feature_sets_for
from profuse.data.dataset import Dataset
from profuse.data.feature_pipeline import FeaturePipeline
from profuse.data.features import FEATURES, features_named
from profuse.errors import DataError
from profuse.kinds import KINDS, kind_named

pytestmark = pytest.mark.usefixtures("few_classical")


class WasReadError(Exception):
    """Features were made."""


@pytest.fixture
def data() -> Dataset:
    rates = {name: 8000 for name in KINDS.builtin if kind_named(name).has_rate}
    return from_tensors(ROWS, np.arange(N_ROWS) % 2, kinds={name: name for name in ROWS}, rates=rates)


@pytest.fixture
def nobody_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, data: Any) -> None:
        raise WasReadError

    for name in FEATURES.builtin:
        monkeypatch.setattr(features_named(name), "fit", refuse)


@pytest.mark.usefixtures("nobody_may_read")
def test_a_network_makes_and_saves_none(data: Dataset, tmp_path: Path) -> None:
    FusionClassifier(fusion="concat", epochs=1).fit(data).save(tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    assert "features" not in json.dumps(facts["pipeline"])
    assert "features" not in facts["own"]


@pytest.mark.usefixtures("nobody_may_read")
def test_a_comparison_makes_those_of_classical_models(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(WasReadError):
        compare(data, seeds=1, singles="none", train={"epochs": 1}, out=tmp_path, n_jobs=1)


@pytest.mark.slow
def test_a_classical_predictor_saves_them(data: Dataset, tmp_path: Path) -> None:
    made = compare(data, seeds=1, singles="none", rounds=(), train={"epochs": 1}, out=tmp_path, retrain_without=False)
    asked = made.predictor("linear")
    again = load_model(tmp_path / "models" / "linear-seed0")
    np.testing.assert_array_equal(again.predict_proba(data), asked.predict_proba(data))
    facts = json.loads((tmp_path / "models" / "linear-seed0" / "model.json").read_text())
    assert {name: part["name"] for name, part in facts["own"]["features"].items()} == (
        feature_sets_for("linear", {name: name for name in ROWS})[0]
    )


@pytest.mark.parametrize("kind", KINDS.builtin)
def test_features_know_training_rows_only_and_take_their_kind_only(data: Dataset, kind: str) -> None:
    rows = np.arange(N_ROWS - 4)
    for name in kind_named(kind).feature_sets:
        made = FeaturePipeline.fit(data, rows, {kind: name})
        alone = FeaturePipeline.fit(data.rows(rows), rows, {kind: name})
        one, other = (made.transform(data)[kind], alone.transform(data)[kind])
        one, other = (x if isinstance(x, np.ndarray) else x.toarray() for x in (one, other))
        np.testing.assert_array_equal(one, other)
    another = next(name for name in FEATURES.builtin if not features_named(name).accepts(kind))
    with pytest.raises(DataError, match=f"the features of '{kind}' must take kind '{kind}'; got '{another}'"):
        FeaturePipeline.fit(data, rows, {kind: another})


def test_a_state_that_was_changed_is_refused(data: Dataset) -> None:
    made = FeaturePipeline.fit(data, np.arange(N_ROWS), {"vector": None})
    state = made.state()
    state["vector"]["state"]["n_channels"] = 4.5
    with pytest.raises(ValueError, match=r"features\.vector\.state\.n_channels is not what features keep"):
        FeaturePipeline.from_state(state)
