"""One fit of a comparison: a method at a seed, from prepared data to a folder of plain results.

A job's folder appears whole or not at all, so an interrupted comparison goes on with the jobs that lack one.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from profuse._cores import limit_threads
from profuse._files import read_source
from profuse._json import parse_json
from profuse._saving import naming, new_folder
from profuse.comparison.beats import Beats, Heartbeat, beat
from profuse.comparison.methods import Method
from profuse.data.dataset import Dataset
from profuse.data.shares import share_of
from profuse.data.split import make_split
from profuse.errors import DataError
from profuse.inspect.asked import predict_without
from profuse.metrics import measure, metric_named
from profuse.models.options import ModelOptions
from profuse.models.solved import Solved
from profuse.portfolio.fits import score_of
from profuse.portfolio.fitted import Event
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import NetworkPredictor, Part, Predictor
from profuse.predictor.classical import features_of
from profuse.schema import Schema, SplitOptions
from profuse.training.alternatives import Others
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model, trained_on
from profuse.training.history import Epoch
from profuse.training.options import TrainOptions
from profuse.training.scratch import keep, shared_features

__all__ = ["Job", "JobResult", "model_folder", "prepare", "read_result", "run_job", "slug"]


@dataclass(frozen=True)
class Job:
    """A method at a seed.

    Attributes:
        method: What is fitted.
        seed: Of the split, the weights and the order of rows.
        train: How it is trained.
        trials: Configurations tried; the best on validation rows is kept.
        folder: Where its results go.
        prepared: File of the prepared data of this seed.
        heartbeat: Where the fit tells how far it is, for the progress display; None for nowhere.
        schema: The table's resolved schema, saved with the model; None for other data.
        metric: By which classical models choose, and which is told of; the task's primary one if None.
        run: Of the call that does it; its seconds are to be compared with those of the same run only.
        jobs: How many are done at a time in that run.
        until: When it is too late to begin, by `time.time`; None: never.
        portfolio_seconds: How long a portfolio may take.
    """

    method: Method
    seed: int
    train: TrainOptions
    trials: int
    folder: Path
    prepared: Path
    heartbeat: Heartbeat | None = None
    schema: Schema | None = None
    metric: str | None = None
    run: str = ""
    jobs: int = 1
    until: float | None = None
    portfolio_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class JobResult:
    """What a finished job left: `facts` (JSON) and the predictions for the test rows."""

    facts: dict[str, Any]
    prediction: np.ndarray
    true: np.ndarray

    def tells(self, metric: str | None) -> bool:
        """Whether all is there that depends on the metric: a fit of an older profuse did not measure each."""
        known = [set(self.facts["scores"]["test"]), {a["metric"] for a in self.facts["ablation"]}]
        return metric is None or all(metric in names for names in known if names)


class _Facts(BaseModel):
    """What `facts` hold at least."""

    method: str
    seed: int
    threads: int
    n_rows: dict[str, int]
    scores: dict[str, dict[str, float]]
    notes: list[str]
    test_rows: list[int]
    classes: list[str]
    specs: dict[str, dict[str, Any]]
    n_parameters: int
    fit_seconds: float
    predict_rows_per_second: float
    curves: list[dict[str, float | None]]
    ablation: list[dict[str, float | str]]
    run: str
    jobs: int


_DIGESTS = "digests.json"
"""The file with the digest of each of a job's others; it is written last."""


def slug(name: str) -> str:
    """Returns a folder name for a method: what is not a letter, digit, dot or dash becomes `_`; 100 bytes at most."""
    plain = "".join(c if c.isalnum() or c in ".-" else "_" for c in name).strip("_")
    return plain.encode()[:100].decode(errors="ignore")


def model_folder(method: str, seed: int) -> str:
    """Returns the name of the folder in `models/` that keeps a method's model of a seed."""
    return f"{slug(method)}-seed{seed}"


def prepare(
    dataset: Dataset, options: SplitOptions, seed: int, path: Path, model: ModelOptions,
    others: Others | None = None, share: float = 1.0,
) -> None:  # fmt: skip
    """Splits, fits the preprocessing on the training rows, chooses options of encoders, and leaves all in `path`.

    Args:
        dataset: What is learned from.
        options: Of the split.
        seed: Of the split.
        path: The file.
        model: What all models share.
        others: Encoders by modality that some models have instead.
        share: Of the rows that are learned from; the others are left out.
    """
    with limit_threads(1):
        split = share_of(dataset, options, make_split(dataset, options, seed=seed), share, seed=seed)
        prepared = Prepared.make(dataset, split)
        prepared = prepared.choose(model, dataset.modalities).also(others or {}, model)
    prepared = prepared.sharing(Solved(path.with_suffix(".solved")))  # workers share them
    keep(path, prepared)


@lru_cache(maxsize=1)
def _load(path: Path) -> Any:
    # a temporary file of this very run: never a user's
    return pickle.loads(path.read_bytes())


def _trial(options: ModelOptions, train: TrainOptions, trial: int, seed: int) -> tuple[ModelOptions, TrainOptions]:
    """The same sequence of configurations for every deep method; trial 0 is what was asked for."""
    if trial == 0:
        return options, train
    rng = np.random.default_rng([7, trial])
    factor = float(np.exp(rng.uniform(np.log(0.3), np.log(3.0))))
    return (
        options.model_copy(
            update={
                "dropout": float(rng.choice([0.0, 0.1, 0.2, 0.35])),
                "width": max(8, int(options.width * rng.choice([0.5, 1.0, 1.5]))) // 4 * 4,
            }
        ),
        train.model_copy(
            update={
                "learning_rate": train.learning_rate * factor,
                "weight_decay": float(rng.choice([0.0, 0.02, 0.1])),
            }
        ),
    )


def run_job(job: Job) -> Path:
    """Fits, predicts, measures, and leaves the folder; returns it."""
    with limit_threads(job.train.threads):
        prepared: Prepared = _load(job.prepared)
        beat(job)
        try:
            with new_folder(job.folder) as folder:
                do = _portfolio if job.method.portfolio else _deep if job.method.is_network else _classical
                facts, arrays = do(job, prepared, folder)
                packed = BytesIO()
                np.savez_compressed(packed, prediction=arrays["prediction"], true=arrays["true"])
                with naming(job.folder):
                    (folder / "arrays.npz").write_bytes(packed.getvalue())
                    (folder / "result.json").write_text(json.dumps(facts), encoding="utf-8")
                    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
                    digests = {p.relative_to(folder).as_posix(): _digest(p.read_bytes()) for p in files}
                    (folder / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
        finally:
            if job.heartbeat is not None:
                job.heartbeat.unlink(missing_ok=True)
    return job.folder


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_result(folder: Path) -> JobResult:
    """Reads a finished job.

    Raises:
        DataError: A file is not there, or is not what the job wrote.
    """
    try:
        digests = parse_json(read_source(folder / _DIGESTS))
        contents = {name: read_source(folder / name) for name in digests}
        for name, content in contents.items():
            if _digest(content) != digests[name]:
                raise ValueError(f"{name} has another digest")
        facts = json.loads(contents["result.json"])
        _Facts.model_validate(facts)
        with np.load(BytesIO(contents["arrays.npz"]), allow_pickle=False) as arrays:
            result = JobResult(facts, arrays["prediction"], arrays["true"])
        if not len(result.prediction) == len(result.true) == len(facts["test_rows"]) == facts["n_rows"]["test"]:
            raise ValueError("its parts have different numbers of rows")
    except Exception as error:  # a damaged file fails in a dozen ways
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: it must be what a fit left; got {reason}. Delete it.") from error
    return result


def _deep(job: Job, prepared: Prepared, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    assert job.method.model is not None
    prepared = prepared.reading(job.method.model.encoders)
    best: NetworkPredictor | None = None
    seconds, chosen, least, began = 0.0, 0, np.inf, time.perf_counter()
    metric = metric_named(job.metric, prepared.task, who="compare")
    for trial in range(job.trials):
        options, train = _trial(job.method.model, job.train.model_copy(update={"seed": job.seed}), trial, job.seed)
        beats = [Beats(job, trial, began)]
        model = fit_model(prepared, options, train, modalities=job.method.modalities, callbacks=beats, metric=metric)
        assert model.history is not None
        seconds += model.history.fit_seconds
        error = model.history.best.valid_error
        if metric.chooses_epochs:
            assert model.valid_prediction is not None
            value = score_of(metric, prepared.true(prepared.split.valid), model.valid_prediction)
            error = np.inf if value is None else -value if metric.higher_is_better else value
        if best is None or error < least:
            best, chosen, least = model, trial, error
    assert best is not None
    assert best.history is not None
    assert best.valid_prediction is not None
    test = prepared.split.test
    start = time.perf_counter()
    prediction = best.predict_encoded(prepared.inputs, test)
    rate = len(test) / (time.perf_counter() - start)
    facts = _facts(job, prepared, prediction, best.valid_prediction)
    facts |= {
        "n_parameters": best.n_parameters,
        "fit_seconds": seconds,
        "predict_rows_per_second": rate,
        "chosen_trial": chosen,
        "curves": [_defined(e) for e in best.history.epochs],
        "ablation": _ablation(job, prepared, best, facts),
        "choices": dict(best.choices),
    }
    replace(best, schema=job.schema).save(folder / "model")
    return facts, {"prediction": prediction, "true": prepared.true(test)}


def _defined(epoch: Epoch) -> dict[str, float | None]:
    """An epoch as JSON values: a score may not be defined, as R2 of equal targets."""
    return {k: v if np.isfinite(v) else None for k, v in vars(epoch).items() if k != "valid_error"}


def _ablation(job: Job, prepared: Prepared, model: NetworkPredictor, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Every score of the test rows with one modality masked, for each."""
    if len(model.modalities) < 2 or job.method.role == "ablation" or job.method.share < 1:
        return []
    rows = torch.as_tensor(prepared.split.test)
    return _hidden(model, {name: prepared.inputs[name].rows(rows) for name in model.modalities}, prepared, facts)


def _hidden(
    model: Predictor, inputs: Mapping[str, Part], prepared: Prepared, facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every score of the test rows, `inputs`, with one modality hidden, for each."""
    if len(model.modalities) < 2:
        return []
    task, test = prepared.task, prepared.split.test
    predictions = predict_without(model, inputs, [(name,) for name in model.modalities])
    full, true = facts["scores"]["test"], prepared.true(test)
    return [
        {"modality": name, "metric": metric, "full": full[metric], "without": value}
        for (name,), prediction in predictions.items()
        for metric, value in measure(task, true, prediction).values.items()
        if metric in full
    ]


def _classical(job: Job, prepared: Prepared, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    split, name = prepared.split, job.method.estimator
    best = best_fit(
        name,
        job.method.modalities,
        prepared,
        job.train,
        trials=job.trials,
        seed=job.seed,
        metric=(metric := metric_named(job.metric, prepared.task, who="compare")),
        made=partial(shared_features, prepared, job.prepared),
    )
    predictor = replace(
        best.predictor(name, job.method.modalities, prepared, threads=job.train.threads),
        schema=job.schema,
        trained_on=trained_on(prepared, job.train.model_copy(update={"seed": job.seed}), metric),
    )
    inputs, start = features_of(best.x, prepared.inputs, split.test), time.perf_counter()
    prediction = predictor.predict_encoded(inputs)
    rate = len(split.test) / max(time.perf_counter() - start, 1e-9)
    facts = _facts(job, prepared, prediction, best.valid)
    facts |= {
        "n_parameters": best.fit.n_parameters, "fit_seconds": best.seconds, "predict_rows_per_second": rate,
        "chosen_trial": best.trial, "curves": [], "ablation": [],
    }  # fmt: skip
    predictor.save(folder / "model")
    return facts, {"prediction": prediction, "true": prepared.true(split.test)}


def _portfolio(job: Job, prepared: Prepared, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    split, codec, began = prepared.split, prepared.codec, time.perf_counter()
    known = np.sort(np.concatenate([split.train, split.valid]))
    done = [began]

    def tell(event: Event) -> None:
        done.append(time.perf_counter())
        if event.n_total and event.stage != "prepare":
            share = max(event.n_done, 0.5) / event.n_total
            beat(job, share=share, spent=done[-1] - began, left=(done[-1] - began) * (1 - share) / share)

    assert job.method.portfolio is not None
    limits: dict[str, Any] = {"time_limit": job.portfolio_seconds, "encoders": job.method.others}
    options = PortfolioOptions(preset=job.method.portfolio, metric=job.metric, **limits)
    train = job.train.model_copy(update={"seed": job.seed})
    rows = prepared.dataset.rows(known)
    fitted = fit_portfolio(rows, options, job.method.model, train, codec=codec, schema=job.schema, on_event=tell)
    seconds, start = time.perf_counter() - began, time.perf_counter()
    inputs = fitted.encode(prepared.dataset.rows(split.test))
    prediction = fitted.predict_encoded(inputs)
    rate = len(split.test) / max(time.perf_counter() - start, 1e-9)
    assert fitted.held_prediction is not None
    held = fitted.held_prediction[np.searchsorted(known, split.valid)]
    there = np.isfinite(held).all(1)  # within a time limit not every fold is held out
    facts = _facts(job, prepared, prediction, held[there], split.valid[there])
    facts |= {
        "n_parameters": fitted.n_parameters,
        "fit_seconds": seconds,
        "predict_rows_per_second": rate,
        "chosen_trial": 0,
        "curves": [],
        "ablation": _hidden(fitted, inputs, prepared, facts),
        "members": [member.model_dump(mode="json") for member in fitted.members],
        "skipped": fitted.about["skipped"],
    }
    fitted.save(folder / "model")
    return facts, {"prediction": prediction, "true": prepared.true(split.test)}


def _facts(job: Job, prepared: Prepared, test: Any, valid: Any, judged: np.ndarray | None = None) -> dict[str, Any]:
    task, split, classes = prepared.task, prepared.split, [str(c) for c in prepared.codec.classes]
    said = {"valid": (split.valid if judged is None else judged, valid), "test": (split.test, test)}
    measured = {k: measure(task, prepared.true(rows), outputs, classes=classes) for k, (rows, outputs) in said.items()}
    return {
        "method": job.method.name,
        "role": job.method.role if job.method.share == 1 else "share",
        "metric": metric_named(job.metric, task, who="compare").name,
        "seed": job.seed,
        "threads": job.train.threads,
        "run": job.run,
        "jobs": job.jobs,
        "n_rows": {"train": len(split.train), "valid": len(split.valid), "test": len(split.test)},
        "scores": {name: m.values for name, m in measured.items()},
        "notes": [*prepared.pipeline.notes, *measured["test"].notes],
        "test_rows": split.test.tolist(),
        "classes": classes,
        "specs": {name: spec.model_dump(mode="json") for name, spec in prepared.pipeline.specs.items()},
    }
