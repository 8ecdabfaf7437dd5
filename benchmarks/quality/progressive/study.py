"""Progressive Fusion's claims put to the test: fits every base model, its progressive twins and its plain twins.

    python benchmarks/quality/progressive/study.py --out results/progressive             # all: hours
    python benchmarks/quality/progressive/study.py pointer mosi --out results/progressive

Each fit leaves one file in `OUT/fits`, whole or not at all: an interrupted study goes on where it stopped. `page.py`
makes tables and pictures of them. What is the same for all twins of a base model: data, split, preprocessing, initial
weights (as far as sizes agree), epochs, batches, and the learning rate, or how it is chosen: of the setting's rates by
the mean validation error of seeds 0 and 1, once for all seeds. Test rows are scored only; no choice sees them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from models import MATCHED, TWINS, Base, Size, build, flops, size_of
from rich.progress import Progress
from settings import SETTINGS, joined
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.preprocessing import StandardScaler

from profuse.build import ModelOptions
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.evaluate.metrics import primary_metric
from profuse.evaluate.robustness import curve, missing_curve
from profuse.evaluate.statistics import time_blocks
from profuse.learner import Prepared, TrainedModel
from profuse.progressive import ProgressiveFusion
from profuse.schema import SplitOptions
from profuse.tokens import Tokens
from profuse.train import batches, predict, train

TUNING_SEEDS = (0, 1)
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Fits that run side by side must not fight for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    with one_thread():
        size = sized(fit.data, fit.base, fit.twin, fit.size)
        prepared = prepared_for(fit.data, fit.seed, base.early)
        facts, arrays = _fitted(fit, base, size, prepared)
    file = fit.file(out)
    partial = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    np.savez_compressed(partial, facts=np.array(json.dumps(facts)), **arrays)
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
    trained = TrainedModel(
        pipeline=prepared.pipeline,
        model=model.eval(),
        modalities=tuple(sorted(prepared.inputs)),
        n_rows=len(split.train),
        model_options=ModelOptions(),
        train_options=options,
        history=history,
    )
    metric = primary_metric(prepared.pipeline.task) if setting.metric != "mse" else _mse
    task, names = prepared.pipeline.task, trained.modalities
    true = prepared.target[torch.as_tensor(split.test)].numpy()
    outputs = predict(model, prepared.inputs, torch.as_tensor(split.test))
    n_rounds = len(outputs[0].rounds)
    rounds = torch.stack([torch.cat([o.rounds[r] for o in outputs]) for r in range(n_rounds)])
    said = np.stack([model.head.predict(one).double().numpy() for one in rounds])
    if task == "regression":
        true, said = (
            prepared.pipeline.target.unscale(true),
            np.stack([prepared.pipeline.target.unscale(s) for s in said]),
        )
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
        "clusters": _clusters(prepared.dataset, split.test),
    }
    if fit.twin in MEASURED and not fit.size:
        seed = {"seed": fit.seed, "metric": metric}
        noise = {name: curve(trained, prepared, modalities=name, levels=LEVELS, **seed).tolist() for name in names}
        if len(names) > 1:
            noise["all"] = curve(trained, prepared, modalities=names, levels=LEVELS, **seed).tolist()
            missing = missing_curve(trained, prepared, RATES, **seed)
            facts["missing"] = {"rates": missing.achieved.tolist(), "scores": missing.scores.tolist()}
        facts["noise"] = noise
    if fit.twin in ("plain", "3 rounds") and not fit.size:
        facts["probes"] = _probes(trained, prepared, setting.metric)
    return facts, arrays


def _clusters(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Returns which rows belong together, `[row]`: groups, blocks of time, else each row alone.

    Fewer than ten groups say nothing of others: then the intervals speak of new rows of these very groups.
    """
    if data.groups is not None and len(np.unique(data.groups[rows])) >= 10:
        return np.unique(data.groups[rows], return_inverse=True)[1]
    return rows if data.times is None else time_blocks(data.times[rows])


def _mse(true: np.ndarray, said: np.ndarray) -> float:
    return float(((true.reshape(said.shape) - said) ** 2).mean())


def _probes(trained: TrainedModel, prepared: Prepared, metric: str) -> dict[str, list[float]]:
    """Test score by modality and round of a linear model on what the modality's encoder hands on, fitted on train.

    It tells what a branch knows, whatever the head makes of it. From the second round on it knows of the others too.
    """
    model = trained.model
    plain = model.model if isinstance(model, ProgressiveFusion) else model
    seen: list[dict[str, torch.Tensor]] = []

    def look(_: torch.nn.Module, args: tuple[dict[str, Tokens], ...]) -> None:
        seen.append({name: tokens.mean() for name, tokens in args[0].items()})

    def features(rows: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
        parts: dict[tuple[str, int], list[torch.Tensor]] = {}
        for batch, _ in batches(prepared.inputs, torch.as_tensor(rows), 512):
            seen.clear()
            with torch.inference_mode():
                model(batch)
            for r, by_name in enumerate(seen):
                for name, values in by_name.items():
                    parts.setdefault((name, r), []).append(values)
        return {key: torch.cat(values).double().numpy() for key, values in parts.items()}

    handle = plain.fusion.register_forward_pre_hook(look)
    try:
        train_x, test_x = features(prepared.split.train), features(prepared.split.test)
    finally:
        handle.remove()
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


def models_of(data: str) -> list[tuple[str, str, str]]:
    """Returns base, twin and size of every model on a data set."""
    setting = SETTINGS[data]
    return [(b, t, s) for s in setting.sizes or [""] for b in setting.bases for t in setting.twins]


def chosen_rate(data: str, base: str, twin: str, size: str, out: Path) -> float:
    """Returns the learning rate with the least mean validation error of the tuning seeds."""
    if len(SETTINGS[data].rates) == 1:
        return SETTINGS[data].rates[0]

    def error(rate: float) -> float:
        fits = (Fit(data, base, twin, size, rate, seed) for seed in TUNING_SEEDS)
        return float(np.mean([read(fit.file(out))[0]["valid_error"] for fit in fits]))

    return min(SETTINGS[data].rates, key=error)


def tuning_fits(data: str) -> list[Fit]:
    """Returns the fits that choose learning rates; none where there is one rate for all."""
    rates = SETTINGS[data].rates
    if len(rates) == 1:
        return []
    return [Fit(data, *model, rate, seed) for seed in TUNING_SEEDS for model in models_of(data) for rate in rates]


def final_fits(data: str, out: Path, n_seeds: int) -> list[Fit]:
    """Returns the fits that tables are made of, seed by seed."""
    rates = {model: chosen_rate(data, *model, out) for model in models_of(data)}
    return [Fit(data, *model, rates[model], seed) for seed in range(n_seeds) for model in models_of(data)]


def main() -> None:
    """Runs what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help=f"which: {', '.join(SETTINGS)}; all if none is named")
    parser.add_argument("--out", type=Path, default=Path("profuse-out/progressive"), help="folder for the results")
    parser.add_argument("--seeds", type=int, help="fits of each model; as the settings say if not given")
    parser.add_argument("--jobs", type=int, default=2, help="fits side by side, one thread each")
    asked = parser.parse_args()
    unknown = set(asked.data) - set(SETTINGS)
    if unknown:
        parser.error(f"data must be among {', '.join(SETTINGS)}; got {', '.join(sorted(unknown))}")
    (asked.out / "fits").mkdir(parents=True, exist_ok=True)
    with Progress(disable=not sys.stderr.isatty()) as bar:
        for data in asked.data or SETTINGS:
            n_seeds = asked.seeds or SETTINGS[data].seeds
            for what, find in (
                ("learning rates", lambda data=data: tuning_fits(data)),
                ("fits", lambda data=data, n=n_seeds: final_fits(data, asked.out, n)),
            ):
                left = [fit for fit in find() if not fit.file(asked.out).is_file()]
                start, task = time.perf_counter(), bar.add_task(f"{data}: {what}", total=len(left))
                jobs = (delayed(run)(fit, asked.out) for fit in left)
                for _ in Parallel(asked.jobs, return_as="generator_unordered")(jobs):
                    bar.advance(task)
                took = time.perf_counter() - start
                print(f"{data}: {len(left)} {what} in {took:.0f} s (compute matched to {MATCHED} rounds)", flush=True)


if __name__ == "__main__":
    assert set(TWINS) >= {twin for setting in SETTINGS.values() for twin in setting.twins}
    main()
