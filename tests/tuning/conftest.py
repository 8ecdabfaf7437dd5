"""What tests of searches share: small rows, and networks that fit at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event

from profuse import from_tensors
from profuse.data.dataset import Dataset
from profuse.errors import ProfuseError
from profuse.training.history import Epoch
from profuse.tuning import Tuning
from profuse.tuning import held_out as held_out_module
from profuse.tuning import trial as trials_module
from profuse.tuning.storage import open_storage

MODEL: dict[str, Any] = {"width": 8, "members": 1, "rounds": 1}
QUICK: dict[str, Any] = {"model": MODEL, "train": {"epochs": 2}, "trials": 3}


def rows(n: int = 90, seed: int = 0) -> Dataset:
    """Two vectors that tell a class together, with the last third as official test rows."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(n, 3)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)
    y = (x[:, 0] * z[:, 0] + 0.3 * rng.normal(size=n) > 0).astype(int)
    split = np.where(np.arange(n) < 2 * n // 3, "train", "test")
    return replace(from_tensors({"x": x, "z": z}, y, name="made"), split=split)


@pytest.fixture(scope="module", autouse=True)
def unsynced() -> Iterator[None]:
    """Storages do not wait for the disk, which nothing here puts to the test."""

    def hurry(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return rows()


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that fit at once: the smaller their dropout, the better they are, from the first epoch on."""

    def fit(prepared: Any, model: Any, train: Any, *, callbacks: Any = (), **more: Any) -> Any:
        for callback in callbacks:
            callback.n_epochs, callback.seconds_left = 2, 0.0
            for number in (1, 2):
                if not callback.stopped:
                    callback.on_epoch_end(Epoch(number, 0.0, 0.0, 0.0, model.dropout))

        def said(inputs: Any, index: Any) -> Any:
            right = 0.98 - model.dropout + 0.01 * (index % 2)
            p_true = np.stack([1 - right, right], 1)
            return np.where(prepared.true(index)[:, None] == 1, p_true, p_true[:, ::-1])

        return SimpleNamespace(valid_prediction=said(None, prepared.split.valid), predict_encoded=said)

    for module in (trials_module, held_out_module):
        monkeypatch.setattr(module, "fit_model", fit)


def tried(tuning: Tuning) -> list[tuple[Any, ...]]:
    return [(t.state, t.options, t.score) for f in tuning.found.values() for t in f.trials]


def kept(path: Path) -> list[dict[int, float]]:
    """The validation errors of each trial that the only search of a storage has kept, by step."""
    return [dict(t.intermediate_values) for t in _trials(path)]


def states(path: Path) -> list[str]:
    """The state of each trial of the only search of a storage."""
    return [t.state.name for t in _trials(path)]


def _trials(path: Path) -> list[Any]:
    storage = open_storage(path)
    (study,) = storage.get_all_studies()
    return list(storage.get_all_trials(study._study_id, deepcopy=False))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the default options can be trained."""
    fit: Any = vars(trials_module)["fit_model"]

    def fails(prepared: Any, model: Any, train: Any, **more: Any) -> Any:
        if train.learning_rate != 1.5e-3:
            raise ProfuseError("train: the loss must stay finite.")
        return fit(prepared, model, train, **more)

    monkeypatch.setattr(trials_module, "fit_model", fails)
