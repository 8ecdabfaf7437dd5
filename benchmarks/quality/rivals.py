"""What a careful engineer would have tried instead of a portfolio, on the rows of `portfolios.py`.

    python benchmarks/quality/portfolios.py --out results/portfolios    # first
    python benchmarks/quality/rivals.py --out results/portfolios --autogluon ag/bin/python   # hours

Classical models on hand-made features of all modalities (those that profuse gives to its own): each is tried with 20
settings drawn at random, as many as the seconds of the portfolio allow, judged by the task's metric on five folds that
keep groups whole and go forward in time; the best setting is fitted to all rows, and the best model by the folds is the
rival. AutoGluon (see `autogluon_rows.py`) has the same features beside the texts themselves, the same rows and core,
and the seconds of the portfolio, 60 at least. Nothing is chosen by test rows.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse.classical import feature_sets_for, side_by_side
from profuse.comparison.statistics import Sample, paired_difference
from profuse.data.dataset import Dataset
from profuse.data.features import Matrix
from profuse.data.split import Split, folds
from profuse.data.target import TargetCodec
from profuse.metrics import Metric, primary_metric, row_scores
from profuse.metrics import metric as metric_called
from profuse.training.classical_fits import make_features
from profuse.training.fitting import Prepared

keel: Any = importlib.import_module("keel")
portfolios: Any = importlib.import_module("portfolios")
__all__ = ["Rivals", "measure_rivals", "page"]

N_SETTINGS = 20


@dataclass(frozen=True)
class Rivals:
    """Of one data set and seed: scores on folds and on test rows by name, settings tried, each test row's score."""

    data: str
    seed: int
    folds: dict[str, float]
    scores: dict[str, float]
    tried: dict[str, int]
    rows: dict[str, list[float]]
    seconds: dict[str, float]


def measure_rivals(name: str, seed: int, *, seconds: float, python: str | None = None) -> Rivals:
    """Fits and scores them on the rows of `portfolios.measure_one`, in so many seconds for each.

    Args:
        name: Of the data set.
        seed: Of the split, the folds and the settings.
        seconds: What each of them may take; the portfolio's.
        python: Interpreter of an environment that has AutoGluon; None: without it.
    """
    dataset, known, test = portfolios.rows_of(name, seed)
    metric = primary_metric(dataset.task)
    y = np.asarray(dataset.target)
    codec = TargetCodec.fit(y, dataset.task, names=dataset.target_names)
    y = y.astype(float).ravel() if dataset.task == "regression" else codec.encode(y)
    learn = dataset.rows(known)
    units = len(known) if learn.groups is None else len(np.unique(np.asarray(learn.groups).astype(str)))
    cut = folds(learn, np.arange(len(known)), min(5, units), seed)
    dense, thin = (_features(dataset, known, test, of) for of in ("extra_trees", "linear"))
    made = Rivals(name, seed, {}, {}, {}, {}, {})
    for model, make, settings, wants_sparse in _models(dataset.task, seed):
        x = thin if wants_sparse else dense
        if wants_sparse and isinstance(thin, np.ndarray):
            continue  # no modality has sparse features
        start, found = time.perf_counter(), []
        for setting in settings:
            scores = []
            for fit, held in cut:
                said = _said(make(**setting), x[known[fit]], y[known[fit]], x[known[held]], codec)
                scores.append(metric(y[known[held]], said))
            found.append((float(np.mean(scores)), setting))
            if time.perf_counter() - start > seconds:
                break
        best, setting = max(found, key=lambda f: f[0])
        said = _said(make(**setting), x[known], y[known], x[test], codec)
        _put(made, model, dataset, metric, y[test], said, start, tried=len(found))
        made.folds[model] = best
    if python is not None:
        start, frame = time.perf_counter(), pd.DataFrame(np.asarray(dense)).add_prefix("f")
        for modality, data in dataset.modalities.items():
            if data.kind == "text":
                frame[modality] = [v if there else None for v, there in zip(data.values, data.present, strict=True)]
        said = keel.autogluon(python, frame.iloc[known], y[known], frame.iloc[test], max(60.0, seconds), metric.name)
        _put(made, "autogluon", dataset, metric, y[test], said, start, tried=1)
    return made


def _put(
    made: Rivals,
    model: str,
    dataset: Dataset,
    metric: Metric,
    true: np.ndarray,
    said: np.ndarray,
    start: float,
    *,
    tried: int,
) -> None:
    true = true.reshape(len(true), -1) if dataset.task == "regression" else true
    made.scores[model] = metric(true, said)
    made.rows[model] = row_scores(dataset.task, true, said, metric=metric).tolist()
    made.seconds[model], made.tried[model] = time.perf_counter() - start, tried


def _features(dataset: Dataset, known: np.ndarray, test: np.ndarray, model: str) -> Matrix:
    """Returns the features that profuse gives to a classical model, fitted on known rows; missing ones their mean."""
    prepared = Prepared.make(dataset, Split(known, known[:0], test))
    parts = []
    kinds = {name: data.kind for name, data in dataset.modalities.items()}
    for modality, chosen in feature_sets_for(model, kinds)[0].items():
        x = make_features(prepared, modality, chosen)[1]
        if isinstance(x, np.ndarray):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a column that nobody has
                x = np.where(np.isnan(x), np.nan_to_num(np.nanmean(x[known], axis=0)), x)
        parts.append(x)
    return side_by_side(parts, len(dataset))


def _models(task: str, seed: int) -> Iterator[tuple[str, Callable[..., Any], list[dict[str, Any]], bool]]:
    """Yields name, maker and settings of each model, and whether it is the one of sparse features."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, StandardScaler
    from sklearn.svm import SVC, SVR

    rng, numbers = np.random.default_rng(seed), task == "regression"

    def log(low: float, high: float) -> float:
        return float(10 ** rng.uniform(low, high))

    def linear(strength: float, scaler: Any = StandardScaler) -> Any:
        model = Ridge(1 / strength) if numbers else LogisticRegression(C=strength, max_iter=500)
        return make_pipeline(scaler(), model)

    def machine(**given: float) -> Any:
        return make_pipeline(StandardScaler(), SVR(**given) if numbers else SVC(**given, random_state=0))

    def trees(**given: Any) -> Any:
        return (ExtraTreesRegressor if numbers else ExtraTreesClassifier)(200, random_state=0, **given)

    def boosting(**given: Any) -> Any:
        made = LGBMRegressor if numbers else LGBMClassifier
        return made(n_jobs=1, verbose=-1, random_state=0, subsample_freq=1, **given)

    def draw(of: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        return [of() for _ in range(N_SETTINGS)]

    yield "linear", linear, draw(lambda: {"strength": log(-5, 2)}), False
    yield "linear on sparse features", linear, draw(lambda: {"strength": log(-3, 3), "scaler": MaxAbsScaler}), True
    yield "svm", machine, draw(lambda: {"C": log(-1, 3), "gamma": log(-4.5, -1)}), False
    yield "extra trees", trees, draw(
        lambda: {
            "max_features": float(rng.choice([0.03, 0.1, 0.2, 0.5])),
            "min_samples_leaf": int(rng.choice([1, 2, 4, 8])),
        }
    ), False  # fmt: skip
    yield "boosting", boosting, draw(
        lambda: {
            "learning_rate": log(-2, -0.7), "n_estimators": int(rng.choice([50, 100, 200, 400])),
            "num_leaves": int(rng.choice([4, 8, 15, 31])), "colsample_bytree": float(rng.choice([0.1, 0.3, 0.7])),
            "reg_lambda": log(-3, 1), "min_child_samples": int(rng.choice([5, 10, 20])), "subsample": 0.8,
        }
    ), False  # fmt: skip


def _said(model: Any, x: Any, y: np.ndarray, new: Any, codec: TargetCodec) -> np.ndarray:
    """Returns what a model says of new rows: values `[row, 1]`, or probabilities `[row, class]`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, y)
        if codec.task == "regression":
            values: np.ndarray = np.asarray(model.predict(new), dtype=np.float64).reshape(-1, 1)
            return values
        said = np.zeros((new.shape[0], codec.n_outputs))
        if hasattr(model, "predict_proba"):
            said[:, model.classes_] = model.predict_proba(new)
        else:
            said[np.arange(len(said)), model.predict(new)] = 1.0
    return said


def page(found: Sequence[Rivals], measured: Sequence[Any]) -> str:
    """Returns the table: the tuned classical model that folds find best, AutoGluon, what the portfolio gains."""
    heads = (
        "data", "seeds", "metric", "portfolio", "best classical by folds", "settings", "portfolio gains", "AutoGluon",
        "portfolio gains",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    ours = {(m.data, m.seed): m for m in measured}
    for name in dict.fromkeys(f.data for f in found):
        of = [f for f in found if f.data == name and (name, f.seed) in ours]
        mine = [ours[name, f.seed] for f in of]
        best = [max(f.folds, key=lambda m: f.folds[m]) for f in of]
        classical = list(zip(of, mine, best, strict=True))
        auto = [(f, m, "autogluon") for f, m in zip(of, mine, strict=True) if "autogluon" in f.scores]
        tried = [n for f in of for model, n in f.tried.items() if model != "autogluon"]
        cells = [name, str(len(of)), metric_called(mine[0].metric).name]
        cells.append(f"{np.mean([m.scores['portfolio'] for m in mine]):.3f}")
        cells.append(f"{_mean(classical)} ({', '.join(dict.fromkeys(best))})")
        cells += [" to ".join(dict.fromkeys((str(min(tried)), str(max(tried))))), _gain(classical)]
        cells += [_mean(auto), _gain(auto)] if auto else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean(runs: Sequence[tuple[Rivals, Any, str]]) -> str:
    return f"{np.mean([f.scores[model] for f, _, model in runs]):.3f}"


def _gain(runs: Sequence[tuple[Rivals, Any, str]]) -> str:
    """Returns what the portfolio gains on a model, paired by test rows, with its interval."""

    def samples(rows_of: Callable[[Rivals, Any, str], list[float]]) -> list[Sample]:
        return [Sample(np.array(m.test_rows), np.array(m.clusters), np.array(rows_of(f, m, w))) for f, m, w in runs]

    ours, theirs = samples(lambda f, m, w: m.rows["portfolio"]), samples(lambda f, m, w: f.rows[w])
    d = paired_difference(ours, theirs, n_train=runs[0][1].n_rows)
    return f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results of portfolios.py")
    parser.add_argument("--seeds", type=int, default=5, help="how many at most")
    parser.add_argument("--data", nargs="*", default=list(portfolios.TASKS))
    parser.add_argument("--autogluon", metavar="PYTHON", help="interpreter of an environment that has AutoGluon")
    parser.add_argument("--page", type=Path, help="the page whose table of rivals is written anew")
    given = parser.parse_args()
    folder = given.out / "rivals"
    folder.mkdir(parents=True, exist_ok=True)
    measured = portfolios.kept(given.out)
    for m in sorted(measured, key=lambda m: m.seed):
        path = folder / f"{m.data}-{m.seed}.json"
        if m.seed < given.seeds and m.data in given.data and not path.exists():
            least = min(of.seconds for of in measured if of.data == m.data)  # of seeds with a core to themselves
            made = measure_rivals(m.data, m.seed, seconds=least, python=given.autogluon)
            path.write_text(json.dumps(vars(made)), encoding="utf-8")
            print(made.data, made.seed, made.folds, made.scores, made.tried, made.seconds, flush=True)
    found = [Rivals(**json.loads(p.read_text(encoding="utf-8"))) for p in sorted(folder.glob("*.json"))]
    print(page(found, measured))
    if given.page is not None:
        portfolios.write_table(given.page, "rivals", page(found, measured))


if __name__ == "__main__":
    _main()
