"""Saved models: `weights.safetensors`, `arrays.safetensors` and `model.json`. No pickle, no code.

A folder is written beside its place and then renamed, so that nothing half-written stays behind; digests of
the two tensor files stand in the JSON, so that damage is found before anything is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from profuse.build import ModelOptions, build_model
from profuse.data.pipeline import Pipeline
from profuse.errors import CheckpointError, ProfuseError
from profuse.learner import TrainedModel
from profuse.schema import Schema
from profuse.train import Epoch, History, TrainOptions

__all__ = ["FORMAT", "check_folder", "file_digest", "load_model", "put_arrays", "save_model", "take_arrays"]

FORMAT = 1
_ARRAY = "@array"


def take_arrays(value: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    """Returns JSON in which every array is replaced by its name among `arrays`."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise CheckpointError(f"save_model: {path} must be an array of numbers; got {value.dtype}. Use a list.")
        arrays[path] = np.ascontiguousarray(value)
        return {_ARRAY: path, "shape": list(value.shape)}
    if isinstance(value, dict):
        return {str(k): take_arrays(v, arrays, f"{path}/{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [take_arrays(v, arrays, f"{path}/{i}") for i, v in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def put_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if _ARRAY in value:
            return arrays[value[_ARRAY]].reshape(value["shape"])
        return {k: put_arrays(v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        return [put_arrays(v, arrays) for v in value]
    return value


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_folder(folder: str | Path) -> None:
    """Checks that a model may be saved in `folder`: before hours of training rather than after.

    Raises:
        CheckpointError: It holds something else than a saved model.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "model.json").is_file())):
        raise CheckpointError(
            f"save_model: {folder} must be new, empty or a saved model; it holds something else. Name another folder."
        )


def save_model(trained: TrainedModel, folder: str | Path) -> None:
    """Writes a trained model into `folder`, replacing a saved model that stands there.

    Raises:
        CheckpointError: `folder` holds something else, or the model has the user's own parts, which a name
            cannot rebuild.
    """
    from safetensors.numpy import save_file
    from safetensors.torch import save_file as save_tensors

    folder = Path(folder)
    check_folder(folder)
    if trained.own_parts:
        raise CheckpointError(
            "save_model: every part must have a name from which it is rebuilt; got the user's own "
            f"{', '.join(trained.own_parts)}. Save model.state_dict() and pipeline.state() with your own code."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        arrays: dict[str, np.ndarray] = {}
        pipeline = take_arrays(trained.pipeline.state(), arrays, "pipeline")
        save_file(arrays, partial / "arrays.safetensors")
        weights = {k: v.detach().cpu().contiguous() for k, v in trained.model.state_dict().items()}
        save_tensors(weights, partial / "weights.safetensors")
        history = trained.history
        facts = {
            "format": FORMAT,
            "pipeline": pipeline,
            "modalities": list(trained.modalities),
            "n_rows": trained.n_rows,
            "model_options": trained.model_options.model_dump(mode="json"),
            "train_options": trained.train_options.model_dump(mode="json"),
            "schema": None if trained.schema is None else trained.schema.model_dump(mode="json"),
            "history": None
            if history is None
            else {
                "epochs": [vars(e) for e in history.epochs],
                "best_epoch": history.best_epoch,
                "n_train_rows": history.n_train_rows,
                "fit_seconds": history.fit_seconds,
                "balance_weights": dict(history.balance_weights),
            },
            "digests": {name: file_digest(partial / name) for name in _FILES},
        }
        (partial / "model.json").write_text(json.dumps(facts, indent=1, allow_nan=False), encoding="utf-8")
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


_FILES = ("weights.safetensors", "arrays.safetensors")


def load_model(folder: str | Path) -> TrainedModel:
    """Reads what `save_model` wrote; its predictions equal those of the model that was saved.

    Raises:
        CheckpointError: The folder is not a saved model, is damaged, or is of a newer version.
    """
    from safetensors.numpy import load_file
    from safetensors.torch import load_file as load_tensors

    folder = Path(folder)
    where = f"load_model: {folder}"
    for name in ("model.json", *_FILES):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{where} must be the folder of a saved model; {name} is not there. "
                "Name a folder that 'profuse fit --out' or save_model wrote."
            )
    try:
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        number = int(facts["format"])
        digests = dict(facts["digests"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{where}: model.json must be readable; got {error!r}. Save the model again.") from error
    if not 1 <= number <= FORMAT:
        raise CheckpointError(
            f"{where} must be of format {FORMAT}; got format={number}. A newer one was saved by a newer profuse: "
            "upgrade this one."
        )
    for name in _FILES:
        if file_digest(folder / name) != digests.get(name):
            raise CheckpointError(
                f"{where}: {name} must have the digest that model.json names; it is damaged. "
                "Copy the folder again, or fit the model again."
            )
    try:
        pipeline = Pipeline.from_state(put_arrays(facts["pipeline"], load_file(folder / "arrays.safetensors")))
        options = ModelOptions.model_validate(facts["model_options"])
        names = tuple(facts["modalities"])
        specs = {name: pipeline.specs[name] for name in names}
        model = build_model(
            specs, pipeline.task, pipeline.target.n_outputs, options, n_rows=int(facts["n_rows"]), seed=0
        )
        model.load_state_dict(load_tensors(folder / "weights.safetensors"))
        model.eval()
        history = facts["history"]
        return TrainedModel(
            pipeline=pipeline,
            model=model,
            modalities=names,
            n_rows=int(facts["n_rows"]),
            model_options=options,
            train_options=TrainOptions.model_validate(facts["train_options"]),
            history=None
            if history is None
            else History(**{**history, "epochs": tuple(Epoch(**e) for e in history["epochs"])}),
            schema=None if facts["schema"] is None else Schema.model_validate(facts["schema"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, ProfuseError) and isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{where}: its parts must fit each other; got {error!r}. Save the model again."
        ) from error
