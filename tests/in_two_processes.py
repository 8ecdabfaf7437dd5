"""Fits that a test does in one process, and two do together: each of them calls `main(FOLDER)`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split
from profuse.errors import ProfuseError
from profuse.models.options import ModelOptions
from profuse.training.callbacks import Callback
from profuse.training.fitting import Prepared, fit_model
from profuse.training.history import Epoch
from profuse.training.options import ProcessOptions, TrainOptions
from profuse.training.world import processes

N_TRAIN, N_VALID = 101, 31  # batches of 32: the last one has 5 rows
PLAIN = ModelOptions(fusion="concat", width=8, dropout=0.0, members=1)
TRAIN = TrainOptions(epochs=3, batch_size=32, learning_rate=0.01, device="cpu", refit=False)


def data(*, task: Any = "multiclass", weights: bool = False, subgroups: bool = False) -> Prepared:
    """Two vectors, each of which some rows lack."""
    rng = np.random.default_rng(0)
    n = N_TRAIN + N_VALID
    a, b, there = rng.normal(size=(n, 4)), rng.normal(size=(n, 3)), rng.random(n)
    y = 2 * np.abs(a).sum(1) + 2 * np.abs(b).sum(1) - 11 + rng.normal(0, 0.5, n)  # which no linear path tells
    made = Dataset(
        "two",
        {"a": ModalityData("vector", a, there > 0.2), "b": ModalityData("vector", b, there < 0.8)},
        y if task == "regression" else np.digitize(y, [-1, 1]),
        task,
        weights=rng.uniform(0.2, 3, n) if weights else None,
        subgroups=np.where(np.arange(n) % 3 == 0, "few", "many") if subgroups else None,
    )
    return Prepared.make(made, Split(np.arange(N_TRAIN), np.arange(N_TRAIN, n), np.arange(0)))


def with_(model: dict[str, Any] | None = None, train: dict[str, Any] | None = None, **of_data: Any) -> Any:
    return of_data, PLAIN.model_copy(update=model or {}), TRAIN.model_copy(update=train or {})


CASES: dict[str, tuple[dict[str, Any], ModelOptions, TrainOptions]] = {
    "plain": with_(),
    "members, weights of rows, modality dropout": with_({"members": 3}, {"modality_dropout": 0.3}, weights=True),
    "numbers, learned anew with validation rows": with_(train={"refit": True}, task="regression"),
    "GroupDRO": with_(train={"subgroup_method": "dro", "subgroup_all_classes": True}, subgroups=True),
    "outputs fused, that not all parameters learn from": with_({"fusion": "vote"}),
    "rounds": with_({"rounds": 2, "supervise": "all"}),
    "dropout": with_({"dropout": 0.3}, {"epochs": 4}),
}


class Seen(Callback):
    """Counts epochs, and stops after two."""

    n = 0

    def on_epoch_end(self, epoch: Epoch) -> None:
        self.n += 1
        if self.n == 2:
            self.stop()


def fitted(name: str) -> dict[str, Any]:
    """What a fit comes to: curves, weights, the best epoch."""
    of_data, model, train = CASES[name]
    made = fit_model(data(**of_data), model, train)
    assert made.history is not None
    curve = [[e.train_loss, e.valid_loss, e.valid_error] for e in made.history.epochs]
    weights = torch.cat([x.flatten().double() for x in made.model.state_dict().values()]).tolist()
    return {"curve": curve, "weights": weights, "best": made.history.best_epoch, "n": made.history.n_parameters}


def main(folder: Path, strategy: Any = "auto") -> None:
    """Does all fits, and then one in which the second process fails; leaves what each process got."""
    try:
        with processes(ProcessOptions(strategy=strategy), device="cpu") as these:
            got: dict[str, Any] = {name: fitted(name) for name in CASES} | {"strategy": strategy}
            seen = Seen()
            history = fit_model(data(), PLAIN, TRAIN, callbacks=[seen]).history
            assert history is not None
            got["stopped"] = {"calls": seen.n, "epochs": len(history.epochs)}
            if not these.first:
                raise ProfuseError("its disk is full")
            fit_model(data(), PLAIN, TRAIN)
    except ProfuseError as error:
        got["failed"] = str(error)
    (folder / f"{these.rank}.json").write_text(json.dumps(got))
