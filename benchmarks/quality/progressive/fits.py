"""One fit of the study: what is trained, and all that is measured of it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import Base, Size, build, flops, size_of
from settings import SETTINGS, joined
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.preprocessing import StandardScaler

from profuse._cores import limit_threads
from profuse.data.split import make_split
from profuse.metrics import primary_metric
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.schema import SplitOptions
from profuse.training.fitting import Prepared
from profuse.training.loop import predict, train

__all__ = ["LEVELS", "Fit", "read", "run"]

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
RATES = (0.0, 0.2, 0.4, 0.6)
MEASURED = ("plain", "2 rounds", "3 rounds", "wider", "deeper")
"""Twins whose robustness is measured."""


@dataclass(frozen=True)
class Fit:
    """One model at one seed; `size` names one of the setting's sizes, or is empty."""

    data: str
    base: str
    twin: str
    size: str
    rate: float
    seed: int

    def file(self, out: Path) -> Path:
        parts = [self.data, self.base, self.twin, self.size, f"{self.rate:g}", str(self.seed)]
        return out / "fits" / ("--".join(p.replace(" ", "_").replace(",", "") for p in parts) + ".npz")


@lru_cache(maxsize=2)
def prepared_for(data: str, seed: int, early: bool) -> Prepared:
    """Returns data, split and preprocessing of a seed."""
    found = SETTINGS[data].data(seed)
    if early:
        found = joined(found)
    return Prepared.make(found, make_split(found, SplitOptions(), seed=seed))


@lru_cache(maxsize=256)
def sized(data: str, base: str, twin: str, size: str) -> Size:
    """Returns a twin's size, found on the data of seed 0."""
    setting = SETTINGS[data]
    start = setting.sizes[size] if size else setting.size
    prepared = prepared_for(data, 0, setting.bases[base].early)
    return size_of(prepared, setting.bases[base], twin, start)


def run(fit: Fit, out: Path) -> None:
    """Trains, measures, and leaves the fit's file."""
    setting = SETTINGS[fit.data]
    base = setting.bases[fit.base]
    with limit_threads(1):
        size = sized(fit.data, fit.base, fit.twin, fit.size)
        prepared = prepared_for(fit.data, fit.seed, base.early)
        facts, arrays = _fitted(fit, base, size, prepared)
    file = fit.file(out)
    partial = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    contents: dict[str, Any] = {"facts": np.array(json.dumps(facts)), **arrays}
    np.savez_compressed(partial, **contents)
    partial.rename(file)


def _fitted(fit: Fit, base: Base, size: Size, prepared: Prepared) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    setting = SETTINGS[fit.data]
    model = build(prepared, base, fit.twin, size, seed=fit.seed, dropout=setting.dropout)
    options = setting.train.model_copy(
        update={"learning_rate": fit.rate, "seed": fit.seed, "balance": base.balance, "device": "cpu"}
    )
    split = prepared.split
    cpu = time.process_time()
    history = train(
        model, prepared.inputs, prepared.target, torch.as_tensor(split.train), torch.as_tensor(split.valid), options
    )
    seconds = time.process_time() - cpu
    trained = NetworkPredictor(
        pipeline=prepared.pipeline,
        codec=prepared.codec,
        model=model.eval(),
        modalities=tuple(sorted(prepared.inputs)),
        n_rows=len(split.train),
        model_options=ModelOptions(),
        train_options=options,
        history=history,
    )
    metric = primary_metric(prepared.task) if setting.metric != "mse" else _mse
    task, names = prepared.task, trained.modalities
    true = prepared.true(split.test)
    outputs = predict(model, prepared.inputs, torch.as_tensor(split.test))
    n_rounds = len(outputs[0].rounds)
    rounds = [torch.cat([o.rounds[r] for o in outputs]) for r in range(n_rounds)]
    said = np.stack([prepared.codec.in_units(model.head.predict(r).double().numpy()) for r in rounds])
    facts: dict[str, Any] = {
        "data": fit.data,
        "base": fit.base,
        "twin": fit.twin,
        "size": fit.size,
        "rate": fit.rate,
        "seed": fit.seed,
        "task": task,
        "valid_error": history.best.valid_error,
        "best_epoch": history.best_epoch,
        "epochs": len(history.epochs),
        "cpu_seconds": seconds,
        "flops": flops(model, prepared.inputs),
        "n_parameters": trained.n_parameters,
        "width": size.width,
        "depth": size.depth,
        "n_train": len(split.train),
        "modalities": names,
        "score": float(metric(true, said[-1])),
        "score_by_round": [float(metric(true, s)) for s in said],
    }
    arrays = {
        "true": true,
        "said": said.astype(np.float32),
        "rows": split.test,
    }
    if fit.twin in MEASURED and not fit.size:
        rows = prepared.dataset.rows(split.test)
        metric_of_answers = "mse" if setting.metric == "mse" else None
        how: dict[str, Any] = {"seed": fit.seed, "metric": metric_of_answers, "n_resamples": 20}
        answer = trained.ask("noise", rows, levels=LEVELS, **how)
        noise: dict[str, list[float | None]] = {}
        for e in answer.estimates:
            noise.setdefault("all" if len(e.modalities) > 1 else e.modalities[0], []).append(e.score)
        if len(names) > 1:
            missing = trained.ask("missing", rows, rates=RATES, **how).estimates
            facts["missing"] = {"rates": [e.at for e in missing], "scores": [e.score for e in missing]}
        facts["noise"] = noise
    if fit.twin in ("plain", "3 rounds") and not fit.size:
        facts["probes"] = _probes(trained, prepared, setting.metric)
    return facts, arrays


def _mse(true: np.ndarray, said: np.ndarray) -> float:
    return float(((true.reshape(said.shape) - said) ** 2).mean())


def _probes(trained: NetworkPredictor, prepared: Prepared, metric: str) -> dict[str, list[float]]:
    """Test score by modality and round of a linear model on what goes into the fusion, fitted on train.

    It tells what a branch knows, whatever the head makes of it. From the second round on it knows of the others too.
    (Operators at the levels raw and hierarchical are given tokens before they are mixed.)
    """

    def features(rows: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
        inputs = {name: raw.rows(torch.as_tensor(rows)) for name, raw in prepared.inputs.items()}
        states = trained.states_by_round(inputs)
        return {(name, r): x for name, by_round in states.items() if name for r, x in enumerate(by_round)}

    train_x, test_x = features(prepared.split.train), features(prepared.split.test)
    y = prepared.target.numpy()
    train_y, test_y = y[prepared.split.train], y[prepared.split.test]
    found: dict[str, list[float]] = {}
    for (name, _), x in sorted(train_x.items()):
        scaler = StandardScaler().fit(x)
        a, b = scaler.transform(x), scaler.transform(test_x[name, _])
        if metric == "mse":
            probe = RidgeCV(np.logspace(-2, 4, 7)).fit(a, train_y.ravel())
            score = probe.score(b, test_y.ravel())  # R2
        else:
            score = LogisticRegression(C=0.1, max_iter=300).fit(a, train_y).score(b, test_y)
        found.setdefault(name, []).append(float(score))
    return found


def read(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns what a fit left."""
    with np.load(file, allow_pickle=False) as arrays:
        facts: dict[str, Any] = json.loads(str(arrays["facts"]))
        return facts, {k: arrays[k] for k in arrays.files if k != "facts"}
