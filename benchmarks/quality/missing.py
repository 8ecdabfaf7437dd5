"""What to do about modalities that are missing: `make study-missing`, which writes docs/results/missing.md.

Of each data set and seed, a share of the modalities of training rows is removed at random (`drop_modalities`: one of a
row always remains), each strategy is fitted, and test rows are predicted with shares removed. All strategies meet the
same gaps. Rates are those of all modalities of all rows together.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from profuse.classical.own import asked_members
from profuse.comparison.statistics import Sample, paired_difference
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.data.target import TargetCodec
from profuse.datasets import load
from profuse.inspect.missing import drop_modalities
from profuse.metrics import metric as metric_called
from profuse.metrics import primary_metric, row_scores
from profuse.models.options import ModelOptions
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.options import PortfolioOptions
from profuse.schema import SplitOptions, Task
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

portfolios: Any = importlib.import_module("portfolios")
__all__ = ["STRATEGIES", "TASKS", "Measured", "measure", "page"]

TASKS: dict[str, tuple[int, int | None]] = {
    "mfeat": (400, None),
    "mosi": (1_284, None),
    "emoji": (800, 10),
    "glyphs": (1_000, 20),
    "beijing-air": (1_500, None),
    "avmnist": (1_000, 20),
}
"""Named data, how many rows at most are fitted to (the last ones where rows have times), and epochs of networks."""
RATES = (0.0, 0.3, 0.5, 0.7)
_MOST_TEST = 2_000


@dataclass(frozen=True)
class Measured:
    """One fit: scores of test rows by the rate that is removed of them, and of each row."""

    data: str
    strategy: str
    seed: int
    train_rate: float
    metric: str
    scores: dict[str, float]
    rows: dict[str, list[float]]
    test_rows: list[int]
    clusters: list[str]


def without(dataset: Dataset, rate: float, seed: int) -> Dataset:
    """Returns the rows with a share of their modalities removed."""
    names = sorted(dataset.modalities)
    present = np.stack([np.asarray(dataset.modalities[n].present) for n in names], axis=1)
    kept = drop_modalities(present, rate, seed=seed)
    return replace(
        dataset,
        modalities={n: replace(dataset.modalities[n], present=kept[:, i]) for i, n in enumerate(names)},
    )


def _network(model: ModelOptions | None = None, **options: Any) -> Callable[[Prepared, TrainOptions], Any]:
    def fit(prepared: Prepared, train: TrainOptions) -> Any:
        return fit_model(prepared, model or ModelOptions(), train.model_copy(update=options))

    return fit


def _filled(imputer: Callable[[], Any]) -> Callable[[Task], Any]:
    """Returns what makes a linear model, its penalty chosen by cross-validation, on features filled by an imputer."""

    def make(task: Task) -> Any:
        strengths = np.logspace(-3, 1, 5)
        linear = (
            RidgeCV(alphas=1 / strengths)
            if task == "regression"
            else LogisticRegressionCV(
                Cs=strengths, cv=3, max_iter=200, scoring="neg_log_loss", l1_ratios=(0,), use_legacy_attributes=False
            )
        )
        return make_pipeline(StandardScaler(), imputer(), linear)

    make.trusted = ("sklearn.impute._iterative._ImputerTriplet",)  # type: ignore[attr-defined]
    return make


def _nearest() -> Any:
    return KNNImputer(keep_empty_features=True)


def _chained() -> Any:
    # one round over the twenty columns that go with each the most: all of 649 take hours
    return IterativeImputer(max_iter=2, n_nearest_features=20, keep_empty_features=True)


def _classical(name: str, own: Callable[[Task], Any] | None = None) -> Callable[[Prepared, TrainOptions], Any]:
    def fit(prepared: Prepared, train: TrainOptions) -> Any:
        names = sorted(prepared.inputs)
        with asked_members((name,), {} if own is None else {name: own}, who="study"):
            best = best_fit(name, names, prepared, train, trials=1, seed=train.seed)
        return best.predictor(name, names, prepared)

    return fit


def _portfolio(prepared: Prepared, train: TrainOptions) -> Any:
    known = np.concatenate([prepared.split.train, prepared.split.valid])
    options, rows = PortfolioOptions(preset="quick"), prepared.dataset.rows(np.sort(known))
    return fit_portfolio(rows, options, train=train, codec=prepared.codec)


STRATEGIES: Mapping[str, Callable[[Prepared, TrainOptions], Any]] = {
    "network": _network(),
    "network, modality dropout .3": _network(modality_dropout=0.3),
    "linear (mean filling, indicators)": _classical("linear"),
    "gradient boosting (native)": _classical("gradient_boosting"),
    "extra trees (mean filling, indicators)": _classical("extra_trees"),
    "portfolio of classical models": _portfolio,
    "network, imputes inside (regression_imputer)": _network(ModelOptions(fusion="regression_imputer", level="hybrid")),
    "network, shared and private (shared_private)": _network(ModelOptions(fusion="shared_private", level="hybrid")),
    "network, experts for combinations (missing_experts)": _network(
        ModelOptions(fusion="missing_experts", level="hybrid")
    ),
    "network, mean of logits": _network(ModelOptions(fusion="mean_logits")),
    "linear, filled by nearest neighbours": _classical("linear_nearest", _filled(_nearest)),
    "linear, filled by chained regressions": _classical("linear_chained", _filled(_chained)),
}


def measure(data: str, strategy: str, seed: int, train_rate: float, *, epochs: int | None = None) -> Measured:
    """Fits one strategy to one data set at one seed."""
    n_rows, n_epochs = TASKS[data]
    dataset = load(data)
    split, draw = make_split(dataset, SplitOptions(), seed=seed), np.random.default_rng(seed)
    train = split.train[-n_rows:] if dataset.times is not None else draw.permutation(split.train)[:n_rows]
    valid = draw.permutation(split.valid)[: n_rows // 4]
    test = np.sort(draw.permutation(split.test)[:_MOST_TEST])
    known = np.concatenate([train, valid])
    whole = dataset.rows(np.concatenate([known, test]))
    gaps = without(dataset.rows(known), train_rate, seed=1_000 + seed)
    fitted_to = replace(
        whole,
        split=None,
        modalities={
            n: replace(m, present=np.concatenate([gaps.modalities[n].present, m.present[len(known) :]]))
            for n, m in whole.modalities.items()
        },
    )
    at = np.arange(len(whole))
    parts = replace(split, train=at[: len(train)], valid=at[len(train) : len(known)], test=at[len(known) :])
    options = TrainOptions(seed=seed, epochs=epochs or n_epochs)
    codec = TargetCodec.fit(np.asarray(dataset.target), dataset.task, names=dataset.target_names)  # knows all classes
    model = STRATEGIES[strategy](Prepared.make(fitted_to, parts, classes=codec), options)
    rows, metric = dataset.rows(test), primary_metric(dataset.task)
    true = np.asarray(rows.target)
    true = true.astype(float).reshape(len(true), -1) if dataset.task == "regression" else model.codec.encode(true)
    said = {
        f"{rate:g}": model.predict_encoded(model.encode(without(rows, rate, seed=2_000 + seed)))
        for rate in (RATES if train_rate == 0 else (0.0, train_rate))
    }
    groups = test if rows.groups is None else rows.groups
    return Measured(
        data=data,
        strategy=strategy,
        seed=seed,
        train_rate=train_rate,
        metric=metric.name,
        scores={rate: metric(true, p) for rate, p in said.items()},
        rows={rate: row_scores(dataset.task, true, p, metric=metric).tolist() for rate, p in said.items()},
        test_rows=test.tolist(),
        clusters=[str(g) for g in groups],
    )


def page(found: Sequence[Measured]) -> str:
    """Returns a table for each data set: scores by rates, and what each strategy loses to the plain network at .5."""
    lines = []
    for data in dict.fromkeys(f.data for f in found):
        of_data = [f for f in found if f.data == data]
        conditions = sorted({(f.train_rate, float(rate)) for f in of_data for rate in f.scores})
        heads = [f"{100 * train:g} % / {100 * test:g} %" for train, test in conditions]
        seeds = len({f.seed for f in of_data})
        lines += [f"### {data}", "", f"{of_data[0].metric}, {seeds} {'seed' if seeds == 1 else 'seeds'}", ""]
        lines += [f"| strategy | {' | '.join(heads)} | less the network, 0 % / 50 % |", "|---" * (len(heads) + 2) + "|"]
        for name in dict.fromkeys(f.strategy for f in of_data):
            cells = []
            for train, test in conditions:
                values = [
                    f.scores[f"{test:g}"]
                    for f in of_data
                    if (f.strategy, f.train_rate) == (name, train) and f"{test:g}" in f.scores
                ]
                cells.append(f"{np.mean(values):.3f}" if values else "")
            lines.append(f"| {name} | {' | '.join(cells)} | {_against(of_data, name)} |")
        lines.append("")
    return "\n".join(lines)


def _against(found: Sequence[Measured], name: str) -> str:
    ours, network = (
        {f.seed: f for f in found if f.strategy == which and f.train_rate == 0 and "0.5" in f.rows}
        for which in (name, "network")
    )
    seeds = sorted(set(ours) & set(network))
    if name == "network" or not seeds:
        return ""
    both = [[of[seed] for seed in seeds] for of in (ours, network)]
    if not metric_called(both[0][0].metric).higher_is_better:
        both.reverse()
    n_train = TASKS[found[0].data][0]
    d = paired_difference(*([_sample(f) for f in side] for side in both), n_train=n_train)
    if not np.isfinite([d.low, d.high]).all():
        return f"{d.value:+.3f} (too few groups or differences for an interval)"
    return f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})"


def _sample(f: Measured) -> Sample:
    codes = np.unique(f.clusters, return_inverse=True)[1] if len(set(f.clusters)) < len(f.clusters) else f.test_rows
    return Sample(np.array(f.test_rows), np.array(codes), np.array(f.rows["0.5"]))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of results; those there are kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="*", default=list(TASKS))
    parser.add_argument("--rates", nargs="*", type=float, default=list(RATES), help="of what is fitted to")
    parser.add_argument("--page", type=Path, default=None, help="the page whose tables are written anew")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    todo = [(s, d, r, k) for s in range(given.seeds) for d in given.data for r in given.rates for k in STRATEGIES]
    for seed, data, rate, strategy in todo:
        path = given.out / f"{data}-{rate:g}-{list(STRATEGIES).index(strategy)}-{seed}.json"
        if not path.exists():
            measured = measure(data, strategy, seed, rate)
            path.write_text(json.dumps(vars(measured)), encoding="utf-8")
            print(data, seed, rate, strategy, {k: round(v, 3) for k, v in measured.scores.items()}, flush=True)
    found = [Measured(**json.loads(p.read_text(encoding="utf-8"))) for p in sorted(given.out.glob("*.json"))]
    print(page(found))
    if given.page is not None:
        portfolios.write_table(given.page, "table", page(found))


if __name__ == "__main__":
    _main()
