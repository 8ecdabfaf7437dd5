"""Saved models: equal predictions in a fresh process, no pickle, and damage that is told."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forks import Forks
from known_answers import make_product

from profuse._folder import check_folder, digest_of, put_arrays, take_arrays
from profuse.data.split import Split
from profuse.errors import CheckpointError
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor, load_model
from profuse.predictor.saving import load_with_estimator
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions


@pytest.fixture(scope="module")
def trained() -> NetworkPredictor:
    rows = np.arange(200)
    data = Prepared.make(make_product(absent=0.2), Split(rows[:120], rows[120:160], rows[160:]))
    return fit_model(data, ModelOptions(fusion="concat", width=16, rounds=2), TrainOptions(epochs=2))


def test_a_loaded_model_predicts_the_same(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    dataset = make_product(seed=5, absent=0.3)
    assert np.array_equal(trained.predict_proba(dataset), again.predict_proba(dataset))
    assert isinstance(again, NetworkPredictor)
    assert again.history == trained.history
    assert again.model_options == trained.model_options


def test_what_an_estimator_knows_besides_comes_back(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m", estimator={"columns": ["b", "a"]})
    again, told = load_with_estimator(tmp_path / "m")
    assert told == {"columns": ["b", "a"]}
    assert again.modalities == trained.modalities
    trained.save(tmp_path / "m")
    assert load_with_estimator(tmp_path / "m")[1] == {}


@pytest.mark.slow
def test_predictions_are_equal_in_another_process(trained: NetworkPredictor, tmp_path: Path, forks: Forks) -> None:
    trained.save(tmp_path / "m")
    dataset = make_product(seed=5)
    np.savez(tmp_path / "x.npz", a=dataset.modalities["a"].values, b=dataset.modalities["b"].values)
    code = f"""
import numpy as np
from profuse.predictor import load_model
from profuse.data.dataset import Dataset, ModalityData
x = np.load({str(tmp_path / "x.npz")!r})
there = np.ones(200, bool)
data = Dataset("x", {{k: ModalityData("vector", x[k], there) for k in "ab"}}, None, "binary")
np.save({str(tmp_path / "p.npy")!r}, load_model({str(tmp_path / "m")!r}).predict_proba(data))
"""
    (tmp_path / "asks.py").write_text(code)
    done = forks.run_script(tmp_path / "asks.py")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), trained.predict_proba(dataset), rtol=0, atol=1e-6)


def test_no_file_is_a_pickle(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    assert sorted(p.suffix for p in (tmp_path / "m").iterdir()) == [".json", ".md", ".safetensors", ".safetensors"]


def test_saving_again_replaces_and_leaves_nothing_behind(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    trained.save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_with_something_else_is_not_overwritten(trained: NetworkPredictor, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds something else"):
        trained.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_link_is_followed_and_stays_a_link(trained: NetworkPredictor, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "m")
    for _ in range(2):  # a new folder, then one to be replaced
        trained.save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert [p.name for p in (tmp_path / "far").iterdir()] == ["m"]
    assert load_model(tmp_path / "link").modalities == trained.modalities


def test_a_mount_point_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path)
    with pytest.raises(CheckpointError, match="it is a mount point. Name a folder in it"):
        check_folder(tmp_path)
    check_folder(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_found(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    path = tmp_path / "m" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors must have the digest.*damaged"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "arrays.safetensors"])
def test_a_lacking_file_is_named(trained: NetworkPredictor, tmp_path: Path, name: str) -> None:
    trained.save(tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is not there"):
        load_model(tmp_path / "m")


def change(path: Path, **facts: object) -> None:
    """Changes the facts, and their digest with them."""
    told = json.loads(path.read_text())
    if isinstance(own := facts.get("own"), dict) and own:
        facts["own"] = {**told["own"], **own}
    told |= facts
    if "digests" not in facts:
        told["digests"][path.name] = digest_of(told)
    path.write_text(json.dumps(told))


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(
        CheckpointError, match=r"rows\.csv must be the folder of a saved model; it is a file, perhaps sw"
    ):
        load_model(tmp_path / "rows.csv")


def test_a_changed_fact_is_found(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts))  # another layout of the same
    load_model(tmp_path / "m")
    path.write_text(json.dumps({**facts, "own": {**facts["own"], "n_rows": facts["own"]["n_rows"] + 1}}))
    with pytest.raises(CheckpointError, match=r"model\.json must have the digest.*damaged"):
        load_model(tmp_path / "m")


def test_an_interrupted_save_leaves_what_was_there(
    trained: NetworkPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.save(tmp_path / "m")
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    rename = Path.rename
    for fails_at in (1, 2):
        calls: list[Path] = []

        def interrupted(path: Path, target: Path, calls: list[Path] = calls, fails_at: int = fails_at) -> Path:
            calls.append(path)
            if len(calls) == fails_at:
                raise KeyboardInterrupt
            return rename(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", interrupted)
            patch.setattr("profuse._saving._exchange", lambda one, other: False)  # a system that cannot
            with pytest.raises(KeyboardInterrupt):
                trained.save(tmp_path / "m")
        assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before
        assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("facts", ['{"tfjs": 1}', "[1]", "{", None])
def test_a_folder_with_files_of_other_programs_is_not_overwritten(
    trained: NetworkPredictor, tmp_path: Path, facts: str | None
) -> None:
    if facts is None:  # a saved model with a user's notes in it
        trained.save(tmp_path)
        (tmp_path / "notes.md").write_text("mine")
    else:
        (tmp_path / "model.json").write_text(facts)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="holds something else"):
        trained.save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_what_a_system_leaves_in_a_folder_does_not_matter(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    (tmp_path / "m" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "._x").write_bytes(b"x")
    for folder in ("m", "new"):
        trained.save(tmp_path / folder)
        assert load_model(tmp_path / folder).modalities == trained.modalities


def test_the_folder_has_the_rights_that_the_user_gives_new_ones(trained: NetworkPredictor, tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        trained.save(tmp_path / "m")
        assert (tmp_path / "m").stat().st_mode & 0o777 == 0o700
        os.umask(0o022)
        trained.save(tmp_path / "other")
        assert {p.stat().st_mode & 0o777 for p in (tmp_path / "other").iterdir()} == {0o644}
    finally:
        os.umask(mask)


def test_a_history_with_scores_that_are_not_defined_is_kept(trained: NetworkPredictor, tmp_path: Path) -> None:
    assert trained.history is not None
    epochs = tuple(replace(e, valid_score=math.nan) for e in trained.history.epochs)
    replace(trained, history=replace(trained.history, epochs=epochs)).save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert isinstance(again, NetworkPredictor)
    assert again.history is not None
    assert all(math.isnan(e.valid_score) for e in again.history.epochs)
    assert again.n_parameters == trained.history.n_parameters > 0


def test_a_newer_format_is_told(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    change(tmp_path / "m" / "model.json", format=99)
    with pytest.raises(CheckpointError, match="format=99. A newer one was saved by a newer profuse"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    "facts",
    [
        {"own": {"model_options": {"width": "wide"}}},
        {"own": {"n_rows": None}},
        {"own": {}},
        {"modalities": ["c"]},
        {"modalities": []},
        {"pipeline": {}},
        {"predictor": "Predictor"},
        {"predictor": "os:system"},
    ],
)
def test_parts_that_do_not_fit_are_one_clear_error(
    trained: NetworkPredictor, tmp_path: Path, facts: dict[str, object]
) -> None:
    trained.save(tmp_path / "m")
    change(tmp_path / "m" / "model.json", **facts)
    with pytest.raises(CheckpointError, match="its parts must fit each other"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("facts", [{"format": 0}, {"digests": None}, {"digests": [1]}, {"digests": {}}, {"what": None}])
def test_odd_values_in_the_facts_are_one_clear_error(
    trained: NetworkPredictor, tmp_path: Path, facts: dict[str, object]
) -> None:
    trained.save(tmp_path / "m")
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


def test_not_json_is_told(trained: NetworkPredictor, tmp_path: Path) -> None:
    trained.save(tmp_path / "m")
    (tmp_path / "m" / "model.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model\.json must be readable"):
        load_model(tmp_path / "m")


def test_the_folder_of_a_comparison_is_told_by_the_models_that_it_holds(tmp_path: Path) -> None:
    for name in ("concat-seed0", "linear-seed0"):
        inside = tmp_path / "run" / "models" / name
        inside.mkdir(parents=True)
        (inside / "model.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "run")
    first, second = (str(tmp_path / "run" / "models" / name) for name in ("concat-seed0", "linear-seed0"))
    assert f"model.json is not there, as it holds a comparison, whose models are {first}, {second}." in str(
        caught.value
    )
    with pytest.raises(CheckpointError, match="model.json is not there. Name a folder"):
        load_model(tmp_path)
