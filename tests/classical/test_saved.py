"""A saved classical model makes only what is listed, whatever its file asks for, and never runs what stands in it."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import skops.io
from made_predictors import TARGETS, data, inputs, predictor
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import FunctionTransformer

from profuse._folder import read_folder, write_folder
from profuse.errors import CheckpointError
from profuse.predictor import ClassicalPredictor, load_model
from profuse.predictor.saving import MODEL

LEARNED = ("gradient_boosting", "linear")


@functools.cache
def saved(kind: str, task: str) -> Path:
    """Returns a folder that a predictor is saved in, once for all tests, which copy it."""
    folder = Path(tempfile.mkdtemp()) / "m"
    atexit.register(shutil.rmtree, folder.parent)
    predictor(kind, task).save(folder)
    return folder


def altered(kind: str, task: str, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Returns a folder of a saved predictor, saved again with other facts: its digests are right."""
    shutil.copytree(saved(kind, task), folder / "m", dirs_exist_ok=True)

    def rebuild(facts: dict[str, Any], weights: dict[str, Any]) -> None:
        change(facts["own"])
        kept = {name: value for name, value in facts.items() if name not in ("what", "format", "digests")}
        write_folder(folder / "m", kept, weights, MODEL)

    read_folder(folder / "m", rebuild, MODEL)
    return folder / "m"


def dumped(estimators: Any) -> np.ndarray:
    return np.frombuffer(skops.io.dumps(estimators), dtype=np.uint8)


def test_what_is_saved_again_unchanged_can_be_read(tmp_path: Path) -> None:
    folder = altered("linear", "binary", tmp_path, lambda own: None)
    expected = predictor("linear", "binary").predict_proba(inputs())
    np.testing.assert_array_equal(load_model(folder).predict_proba(inputs()), expected)


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "a call": lambda at: [FunctionTransformer(functools.partial(os.system, f"touch {at}"))],
    "a function": lambda at: [FunctionTransformer(os.system)],
    "a method": lambda at: [FunctionTransformer(RandomForestClassifier().fit)],
    "an operator": lambda at: [FunctionTransformer(__import__("operator").methodcaller("x"))],
    "an estimator of another kind": lambda at: [RandomForestClassifier(n_estimators=1).fit([[0.0], [1.0]], [0, 1])],
}


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_type_that_is_not_listed_is_refused_and_not_made(kind: str, what: str, tmp_path: Path) -> None:
    mark = tmp_path / "made"
    content = dumped(HOSTILE[what](mark))
    folder = altered(kind, "binary", tmp_path, lambda own: own["state"].update(estimators=content))
    with pytest.raises(CheckpointError, match="estimators must be made of the types that are saved; got ") as told:
        load_model(folder)
    assert str(told.value).startswith(f"load_model: {folder}: its parts must fit each other")
    assert not mark.exists()


def renamed(content: np.ndarray, old: str, new: str) -> np.ndarray:
    """Returns the bytes of estimators whose schema says `new` where it said `old`."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(content.tobytes())) as given, zipfile.ZipFile(out, "w") as made:
        for name in given.namelist():
            text = given.read(name)
            if name == "schema.json":
                assert old.encode() in text
                text = text.replace(old.encode(), new.encode())
            made.writestr(name, text)
    return np.frombuffer(out.getvalue(), dtype=np.uint8)


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"__class__": "Pipeline"', '"__class__": "system"'),
        ('"__module__": "sklearn.pipeline"', '"__module__": "os"'),
        ('"__loader__": "ObjectNode"', '"__loader__": "MethodNode"'),
        ('"__loader__": "TupleNode"', '"__loader__": "OperatorFuncNode"'),
        ('"__class__": "Pipeline"', '"__class__": null'),
        ('"__class__": "Pipeline"', '"class": "Pipeline"'),
    ],
)
def test_a_schema_that_names_other_types_is_refused(kind: str, old: str, new: str, tmp_path: Path) -> None:
    def change(own: dict[str, Any]) -> None:
        own["state"]["estimators"] = renamed(np.asarray(own["state"]["estimators"]), old, new)

    folder = altered(kind, "multiclass", tmp_path, change)
    with pytest.raises(CheckpointError, match="estimators must be made of the types that are saved"):
        load_model(folder)


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize(
    "change",
    [
        lambda own: own["state"].update(estimators=np.arange(50, dtype=np.uint8)),
        lambda own: own["state"].update(estimators=dumped({"a": 1})),
        lambda own: own["state"].update(estimators=dumped([])),
        lambda own: own["state"].update(estimators=dumped([1, 2, 3])),
        lambda own: own["state"].pop("estimators"),
        lambda own: own["state"].pop("scikit_learn"),
        lambda own: own.pop("state"),
        lambda own: own.update(name="xgboost"),
        lambda own: own.update(name="trivial"),
        lambda own: own.update(threads=0),
    ],
    ids=range(10),
)
def test_a_folder_that_was_changed_is_one_clear_error(
    kind: str, change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    folder = altered(kind, "multilabel", tmp_path, change)
    with pytest.raises(CheckpointError, match="its parts must fit each other"):
        load_model(folder)


@pytest.mark.parametrize("kind", LEARNED)
def test_another_scikit_learn_is_told(kind: str, tmp_path: Path) -> None:
    folder = altered(kind, "binary", tmp_path, lambda own: own["state"].update(scikit_learn="1.2.7"))
    with pytest.raises(CheckpointError, match=r"got scikit-learn 1.2.7, and this is .*Install scikit-learn==1.2.7"):
        load_model(folder)
    patch = ".".join([*sklearn.__version__.split(".")[:2], "99"])
    folder = altered(kind, "binary", tmp_path, lambda own: own["state"].update(scikit_learn=patch))
    assert isinstance(load_model(folder), ClassicalPredictor)


@pytest.mark.parametrize("guess", [np.zeros(3), np.array([np.nan, 1.0]), np.array([0, 1])])
def test_a_trivial_guess_must_be_one_number_per_output(guess: np.ndarray, tmp_path: Path) -> None:
    folder = altered("trivial", "binary", tmp_path, lambda own: own["state"].update(guess=guess))
    with pytest.raises(CheckpointError, match="guess must be 2 finite numbers"):
        load_model(folder)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize(
    ("field", "value"), [("left", 10_000), ("right", 0), ("left", 2**32 - 1), ("feature_idx", 10_000)]
)
def test_a_tree_that_leads_out_of_its_nodes_is_refused(task: str, field: str, value: int, tmp_path: Path) -> None:
    """Compiled code follows these numbers without a look at bounds."""

    def change(own: dict[str, Any]) -> None:
        estimators = skops.io.loads(
            np.asarray(own["state"]["estimators"]).tobytes(),
            trusted=skops.io.get_untrusted_types(data=np.asarray(own["state"]["estimators"]).tobytes()),
        )
        tree = estimators[0][-1]._predictors[0][0]
        assert tree.nodes[0]["is_leaf"] == 0
        tree.nodes[0][field] = value
        own["state"]["estimators"] = dumped(estimators)

    folder = altered("gradient_boosting", task, tmp_path, change)
    with pytest.raises(CheckpointError, match="nodes of a tree must lead to later ones, by features that there are"):
        load_model(folder)


@pytest.mark.parametrize("field", ["bitset_idx", "is_categorical"])
def test_a_tree_that_asks_for_categories_that_are_not_there_is_refused(field: str, tmp_path: Path) -> None:
    def change(own: dict[str, Any]) -> None:
        content = np.asarray(own["state"]["estimators"]).tobytes()
        estimators = skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
        for (tree,) in estimators[0][-1]._predictors:
            tree.nodes["is_categorical"] = 1
            tree.nodes["bitset_idx"] = 10_000 if field == "bitset_idx" else 0
        own["state"]["estimators"] = dumped(estimators)

    folder = altered("gradient_boosting", "binary", tmp_path, change)
    with pytest.raises(CheckpointError, match="nodes of a tree must ask for categories that there are"):
        load_model(folder)


@pytest.mark.parametrize("kind", [*LEARNED, "trivial"])
@pytest.mark.parametrize("task", TARGETS)
def test_a_flipped_bit_is_found(kind: str, task: str, tmp_path: Path) -> None:
    shutil.copytree(saved(kind, task), tmp_path / "m")
    path = tmp_path / "m" / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"arrays\.safetensors must have the digest.*damaged"):
        load_model(tmp_path / "m")


def test_weights_beside_a_classical_model_are_told(tmp_path: Path) -> None:
    import torch

    predictor("trivial", "binary").save(tmp_path / "m")

    def rebuild(facts: dict[str, Any], weights: dict[str, Any]) -> None:
        kept = {name: value for name, value in facts.items() if name not in ("what", "format", "digests")}
        write_folder(tmp_path / "m", kept, {"w": torch.zeros(2)}, MODEL)

    read_folder(tmp_path / "m", rebuild, MODEL)
    with pytest.raises(CheckpointError, match="a classical model must have no weights"):
        load_model(tmp_path / "m")


def test_the_facts_are_json_that_a_reader_understands(tmp_path: Path) -> None:
    predictor("linear", "regression").save(tmp_path / "m")
    facts = json.loads((tmp_path / "m" / "model.json").read_text())
    assert facts["predictor"] == "ClassicalPredictor"
    assert facts["own"]["name"] == "linear"
    assert facts["modalities"] == sorted(data("regression")[0].modalities)
    assert facts["own"]["state"]["scikit_learn"] == sklearn.__version__
