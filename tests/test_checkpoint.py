"""Saved models: equal predictions in a fresh process, no pickle, and damage that is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from known_answers import make_product

from profuse._folder import check_folder, put_arrays, take_arrays
from profuse.build import ModelOptions
from profuse.checkpoint import load_model, save_model
from profuse.data.split import Split
from profuse.errors import CheckpointError
from profuse.learner import Prepared, TrainedModel, fit_model
from profuse.train import TrainOptions


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    rows = np.arange(200)
    data = Prepared.make(make_product(absent=0.2), Split(rows[:120], rows[120:160], rows[160:]))
    return fit_model(data, ModelOptions(fusion="concat", width=16, rounds=2), TrainOptions(epochs=2))


def test_a_loaded_model_predicts_the_same(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    again = load_model(tmp_path / "m")
    dataset = make_product(seed=5, absent=0.3)
    assert np.array_equal(trained.predict(dataset), again.predict(dataset))
    assert again.history == trained.history
    assert again.model_options == trained.model_options


def test_a_model_of_a_version_that_did_not_write_what_it_is_can_be_read(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    facts = json.loads((tmp_path / "m" / "model.json").read_text())
    assert facts.pop("what") == "model"
    (tmp_path / "m" / "model.json").write_text(json.dumps(facts))
    dataset = make_product(seed=5)
    assert np.array_equal(trained.predict(dataset), load_model(tmp_path / "m").predict(dataset))


def test_predictions_are_equal_in_a_fresh_process(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    dataset = make_product(seed=5)
    np.savez(tmp_path / "x.npz", a=dataset.modalities["a"].values, b=dataset.modalities["b"].values)
    code = f"""
import numpy as np
from profuse.checkpoint import load_model
from profuse.data.dataset import Dataset, ModalityData
x = np.load({str(tmp_path / "x.npz")!r})
there = np.ones(200, bool)
data = Dataset("x", {{k: ModalityData("vector", x[k], there) for k in "ab"}}, None, "binary")
np.save({str(tmp_path / "p.npy")!r}, load_model({str(tmp_path / "m")!r}).predict(data))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), trained.predict(dataset), rtol=0, atol=1e-6)


def test_no_file_is_a_pickle(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    assert sorted(p.suffix for p in (tmp_path / "m").iterdir()) == [".json", ".safetensors", ".safetensors"]


def test_saving_again_replaces_and_leaves_nothing_behind(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    save_model(trained, tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_with_something_else_is_not_overwritten(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds something else"):
        save_model(trained, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_link_is_followed_and_stays_a_link(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "m")
    for _ in range(2):  # a new folder, then one to be replaced
        save_model(trained, tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert [p.name for p in (tmp_path / "far").iterdir()] == ["m"]
    assert load_model(tmp_path / "link").modalities == trained.modalities


def test_a_mount_point_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path)
    with pytest.raises(CheckpointError, match="it is a mount point. Name a folder in it"):
        check_folder(tmp_path)
    check_folder(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_found(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    path = tmp_path / "m" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors must have the digest.*damaged"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "arrays.safetensors"])
def test_a_lacking_file_is_named(trained: TrainedModel, tmp_path: Path, name: str) -> None:
    save_model(trained, tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is not there"):
        load_model(tmp_path / "m")


def change(path: Path, **facts: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_a_newer_format_is_told(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    change(tmp_path / "m" / "model.json", format=99)
    with pytest.raises(CheckpointError, match="format=99. A newer one was saved by a newer profuse"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    "facts", [{"model_options": {"width": "wide"}}, {"modalities": ["c"]}, {"pipeline": {}}, {"n_rows": None}]
)
def test_parts_that_do_not_fit_are_one_clear_error(
    trained: TrainedModel, tmp_path: Path, facts: dict[str, object]
) -> None:
    save_model(trained, tmp_path / "m")
    change(tmp_path / "m" / "model.json", **facts)
    with pytest.raises(CheckpointError, match="its parts must fit each other"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("facts", [{"format": 0}, {"digests": None}, {"digests": [1]}])
def test_odd_values_in_the_facts_are_one_clear_error(
    trained: TrainedModel, tmp_path: Path, facts: dict[str, object]
) -> None:
    save_model(trained, tmp_path / "m")
    change(tmp_path / "m" / "model.json", **facts)
    with pytest.raises(CheckpointError, match="load_model: "):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("value", [{"@array": "numeric"}, {"@array": {"shape": [1]}, "b": 1}, {"shape": [2]}])
def test_names_that_look_like_those_of_arrays_are_kept(value: dict[str, object]) -> None:
    arrays: dict[str, np.ndarray] = {}
    taken = take_arrays({"x": np.arange(6.0).reshape(2, 3), "columns": value}, arrays, "p")
    again = put_arrays(json.loads(json.dumps(taken)), {k: v.ravel() for k, v in arrays.items()})
    assert again["columns"] == value
    np.testing.assert_array_equal(again["x"], np.arange(6.0).reshape(2, 3))


def test_not_json_is_told(trained: TrainedModel, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "m")
    (tmp_path / "m" / "model.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model\.json must be readable"):
        load_model(tmp_path / "m")
