"""What the chosen methods score on test rows of which modalities are hidden: some at random, or all but a few."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.comparison.metric import metric_of
from profuse.comparison.results import HiddenScore
from profuse.comparison.statistics import Sample, interval, r2_interval
from profuse.comparison.summary import Evidence, summarise
from profuse.errors import DataError
from profuse.inspect.asked import predict_without
from profuse.inspect.missing import drop_modalities
from profuse.inspect.subsets import subsets
from profuse.metrics import log_error_scores, row_scores
from profuse.predictor import load_model

if TYPE_CHECKING:
    from profuse.comparison.results import Results
    from profuse.comparison.running import Run
    from profuse.data.dataset import Dataset

__all__ = ["RATES", "hidden_scores"]

RATES = (0.1, 0.3, 0.5, 0.7)
"""Shares of all modalities of all test rows that are hidden at random; one of a row always remains."""
_MOST_ROWS, _FEWEST_ROWS = 600, 150
"""Test rows of all seeds together, and of each, that are looked at: each is predicted a dozen times."""
Condition = tuple[tuple[str, ...], float | None]
"""The modalities that are shown, or all and the rate at which they are hidden."""


def hidden_scores(results: Results, run: Run, dataset: Dataset) -> list[HiddenScore]:
    """Returns scores of the best fusion, the best classical model and the portfolio, as far as they are there.

    All methods meet the same gaps. Intervals are those of the comparison's scores.

    Args:
        results: Of the comparison.
        run: Holds the fits.
        dataset: What was learned from.
    """
    verdict = summarise(results).verdict
    together = [m.name for m in results.methods if m.role == "portfolio"]
    chosen = dict.fromkeys(m for m in (verdict.fusion, verdict.classical, *together) if m is not None)
    evidence, found = Evidence(results), []
    for method in chosen if len(dataset.modalities) > 1 else ():
        by: dict[Condition, list[tuple[float, float, Sample, Sample | None]]] = {}
        for seed in sorted(run.found[method]):
            for condition, measured in _measured(results, run, dataset, method, seed).items():
                by.setdefault(condition, []).append(measured)
        found += [_estimate(evidence, method, *pair) for pair in by.items() if len(pair[1]) == len(run.found[method])]
    return found


def _measured(
    results: Results, run: Run, dataset: Dataset, method: str, seed: int
) -> dict[Condition, tuple[float, float, Sample, Sample | None]]:
    """Returns of each condition what was reached, the score, and what rows add to it."""
    import torch

    metric, job = metric_of(results), run.found[method][seed]
    rows = results.rows[seed]
    at = np.arange(len(job.true))
    most = max(_FEWEST_ROWS, _MOST_ROWS // len(run.found[method]))
    if len(at) > most:
        at = np.sort(np.random.default_rng(seed).permutation(at)[:most])
    predictor = load_model(run.folders[method, seed] / "model")
    inputs: Mapping[str, Any] = predictor.encode(dataset.rows(np.asarray(job.facts["test_rows"])[at]))
    names, true = sorted(dataset.modalities), job.true[at]
    present = np.stack([np.asarray(inputs[n].present) for n in names], axis=1)
    ids = np.searchsorted(_all(r.ids for r in results.rows.values()), rows.ids)[at]
    clusters = ids
    if rows.groups is not None:
        groups = _all(r.groups for r in results.rows.values() if r.groups is not None)
        clusters = np.searchsorted(groups, rows.groups)[at]
    found: dict[Condition, tuple[float, float, Sample, Sample | None]] = {}

    def add(condition: Condition, prediction: np.ndarray, reached: float) -> None:
        try:
            value = metric(true, prediction)
            scores = row_scores(dataset.task, true, prediction, metric=metric)
        except DataError:  # not defined on what is left
            return
        logs = log_error_scores(true, prediction) if metric.name == "r2" else None
        sample = partial(Sample, ids, clusters)
        defined = logs is not None and bool(np.isfinite(logs).all())
        found[condition] = reached, value, sample(scores), sample(logs) if defined else None  # type: ignore[arg-type]

    add((tuple(names), 0.0), predictor.predict_encoded(inputs), 0.0)
    for rate in RATES:
        kept = drop_modalities(present, rate, seed=seed)
        gone = {n: inputs[n].without(torch.from_numpy(~kept[:, i])) for i, n in enumerate(names)}
        add((tuple(names), rate), predictor.predict_encoded(gone), float(1 - kept.mean()))
    used = [n for n in predictor.modalities if present[:, names.index(n)].any()]
    hidden = {shown: tuple(n for n in names if n not in shown) for shown in subsets(used)[:-1]}  # the last one is all
    predictions = predict_without(predictor, inputs, hidden.values())
    for shown, without in hidden.items():
        add((shown, None), predictions[without], 0.0)
    return found


def _all(names: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the names of all seeds, once each, sorted: a row has one number at every seed."""
    return np.unique(np.concatenate([*names]))


def _estimate(
    evidence: Evidence,
    method: str,
    condition: Condition,
    measured: list[tuple[float, float, Sample, Sample | None]],
) -> HiddenScore:
    parts = evidence.pooled.score(method) if evidence.pooled else None
    n_train, value = evidence.results.dataset.n_train, float(np.mean([m[1] for m in measured]))
    logs = [m[3] for m in measured if m[3] is not None]
    if len(logs) == len(measured):
        estimate = r2_interval(logs, value, n_train=n_train, parts=parts)
    else:
        estimate = interval(
            [m[2] for m in measured], n_train=n_train, proportion=evidence.proportion, parts=parts,
            bounds=evidence.metric.range, unvaried=evidence.unvaried,
        )  # fmt: skip
    ends = [end if np.isfinite(end) else None for end in (estimate.low, estimate.high)]
    return HiddenScore(
        method=method, shown=list(condition[0]), rate=condition[1],
        reached=None if condition[1] is None else float(np.mean([m[0] for m in measured])),
        value=value, low=ends[0], high=ends[1], n_seeds=len(measured), n_rows=len(measured[0][2].ids),
    )  # fmt: skip
