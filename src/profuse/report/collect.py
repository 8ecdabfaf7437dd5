"""`collect`: everything a report shows, as plain data (JSON values), whatever it is drawn as."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import yaml

from profuse.comparison.alike import letters
from profuse.comparison.left_out import LeftOut, left_out
from profuse.comparison.metric import metric_of, metrics_beside
from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Ablation, Results
from profuse.comparison.statistics import Estimate
from profuse.comparison.summary import Summary, summarise
from profuse.comparison.unequal_seeds import shifts
from profuse.metrics import metrics_for
from profuse.report.advice import advice, collect_gains
from profuse.report.estimates import collect_answers
from profuse.report.hidden import collect_hidden, hidden_in_words
from profuse.report.learning import collect_learning, learning_in_words
from profuse.report.matters import matters
from profuse.report.outputs import collect_outputs
from profuse.report.words import Words, labels_of

__all__ = ["ROLES", "collect"]

ROLES = {
    "portfolio": "Models that predict together",
    "fusion": "Ways of fusing",
    "baseline": "The default and plain ways of fusing, always compared",
    "classical": "Classical models on all features",
    "single": "One modality alone",
    "trivial": "No data at all",
}
MAX_CURVES = 6


def collect(results: Results) -> dict[str, Any]:
    """Returns what a report shows; only dicts, lists, texts, finite numbers, bools and None."""
    summary = summarise(results)
    words = Words(results, summary)
    metric = metric_of(results)
    labels = labels_of(results)
    ablation = _ablation(results, summary, labels)
    answers, hidden = words.answers(), collect_hidden(results, labels)
    if hidden:
        told = hidden_in_words(hidden, metric.name, metric.higher_is_better)
        answers.append({"question": "What if modalities are missing?", "answer": told})
    learning = collect_learning(results, labels)
    if learning:
        told = learning_in_words(learning, metric.name)
        answers.append({"question": "Would more rows help?", "answer": told})
    if ablation:
        answers.append({"question": "Which modality matters?", "answer": matters(ablation)})
    return {
        "created": results.created,
        "dataset": results.dataset.model_dump(mode="json"),
        "metric": {
            "name": metric.name,
            "label": metric.label,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
        },
        "headline": words.headline(),
        "lede": words.lede(),
        "advice": advice(results, summary, labels) if summary.rows else "",
        "gains": collect_gains(results, summary, labels),
        "answers": answers,
        "verdict": _verdict(summary, words),
        "beside": [{"name": m.name, "label": m.label} for m in metrics_beside(results)],
        "table": _table(results, summary, labels),
        "differences": _differences(summary, labels),
        "metrics": _metrics(results, summary, labels),
        "curves": _curves(results, summary, labels),
        "confusion": _confusion(results, summary, labels),
        "residuals": _residuals(results, summary, labels),
        "outputs": collect_outputs(results, summary, labels),
        "ablation": ablation,
        "hidden": hidden,
        "learning": learning,
        "asked": collect_answers(results.answers, labels),
        "surest": _surest(results, labels),
        "profile": None if results.profile is None else results.profile.model_dump(mode="json"),
        "caution": words.caution(),
        "skipped": [s.model_dump() for s in results.skipped],
        "notes": [*results.dataset.notes, *summary.notes],
        "config": yaml.safe_dump(results.config, sort_keys=False, allow_unicode=True) if results.config else "",
        "machine": results.machine.model_dump(mode="json"),
        "rule": next((c.estimate.rule for c in summary.comparisons), ""),
        "seeds": sorted({s.seed for s in results.scores}),
    }


def _surest(results: Results, labels: dict[str, str]) -> dict[str, Any] | None:
    if results.surest is None:
        return None
    return {**results.surest.model_dump(mode="json"), "label": labels[results.surest.method]}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _estimate(e: Estimate) -> dict[str, Any]:
    return {
        "value": _finite(e.value), "low": _finite(e.low), "high": _finite(e.high), "p": _finite(e.p),
        "n_seeds": e.n_seeds, "n_rows": e.n_rows, "rule": e.rule,
    }  # fmt: skip


def _verdict(summary: Summary, words: Words) -> dict[str, Any]:
    v = summary.verdict
    return {
        "helps": v.helps,
        "sure": v.sure,
        "learned": v.learned,
        "classical_wins": words.classical_wins,
        "not_alone": words.not_alone(),
        "fusion": v.fusion,
        "single": v.single,
        "classical": v.classical,
        "gain": _estimate(v.gain.estimate) if v.gain else None,
        "seconds_ratio": _finite(v.cost_ratio[0]),
        "parameters_ratio": _finite(v.cost_ratio[1]),
    }


def _table(results: Results, summary: Summary, labels: dict[str, str]) -> list[dict[str, Any]]:
    means, beside = _means(results, _test_scores(results)), metrics_beside(results)
    alike = letters(results, summary)
    return [
        {
            "rank": rank,
            "name": r.method.name,
            "label": labels[r.method.name],
            "alike": alike.get(r.method.name, ""),
            "role": r.method.role,
            "family": r.method.family,
            "level": r.method.level,
            "rounds": r.method.rounds,
            "default": r.method.default,
            "modalities": r.method.modalities,
            **_estimate(r.estimate),
            "beside": [means.get(m.name, {}).get(r.method.name) for m in beside],
            "seed_spread": _finite(r.seed_spread),
            "valid": _finite(r.valid),
            "n_parameters": r.n_parameters,
            "fit_seconds": _finite(r.fit_seconds),
            "rows_per_second": _finite(r.rows_per_second),
        }
        for rank, r in enumerate(summary.rows, start=1)
    ]


Scores = dict[str, dict[str, dict[int, float]]]


def _test_scores(results: Results) -> Scores:
    """By metric, method and seed, the scores on the test rows."""
    found: Scores = {}
    for s in results.scores:
        if s.split == "test":
            found.setdefault(s.metric, {}).setdefault(s.method, {})[s.seed] = s.value
    return found


def _means(results: Results, scores: Scores) -> dict[str, dict[str, float]]:
    """By metric and method the mean over seeds, of methods that lack seeds set against the others."""
    aside = {m.name for m in results.methods if m.role in ("trivial", "ablation")}
    shifted = {name: shifts({m: v for m, v in of.items() if m not in aside}) for name, of in scores.items()}
    return {
        name: {m: float(np.mean(list(v.values()))) + shifted[name].get(m, 0.0) for m, v in of.items()}
        for name, of in scores.items()
    }


def _differences(summary: Summary, labels: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "kind": c.kind, "method": labels[c.method], "against": labels[c.against], "shown": c.shown,
            "p_holm": _finite(c.p_holm), **_estimate(c.estimate),
        }
        for c in summary.comparisons
    ]  # fmt: skip


def _metrics(results: Results, summary: Summary, labels: dict[str, str]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of every metric on the test rows."""
    found = _test_scores(results)
    first = metric_of(results).name
    several = sorted(metrics_for(results.dataset.task), key=lambda m: m.name != first)
    known, means = [m for m in several if m.name in found], _means(results, found)
    rows = []
    for r in summary.rows:
        cells = []
        for m in known:
            values = list(found[m.name].get(r.method.name, {}).values())
            cells.append({
                "mean": means[m.name].get(r.method.name),
                "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            })  # fmt: skip
        rows.append({"label": labels[r.method.name], "cells": cells})
    heads = [{"name": m.name, "label": m.label, "unit": m.unit, "higher_is_better": m.higher_is_better} for m in known]
    return {"heads": heads, "rows": rows}


def _first_choices(summary: Summary) -> list[str]:
    """The methods a reader cares for most, then the rest by rank."""
    v = summary.verdict
    ranked = [r.method.name for r in summary.rows]
    default = [r.method.name for r in summary.rows if r.method.default]
    return list(dict.fromkeys([n for n in (v.fusion, v.single, *default, "concat") if n in ranked] + ranked))


def _curves(results: Results, summary: Summary, labels: dict[str, str]) -> list[dict[str, Any]]:
    by: dict[str, dict[int, list[list[float | None]]]] = {}
    for p in sorted(results.curves, key=lambda p: p.epoch):
        values = [p.epoch, p.train_loss, p.valid_loss, p.valid_score, p.train_eval_loss]
        by.setdefault(p.method, {}).setdefault(p.seed, []).append(values)
    chosen = [n for n in _first_choices(summary) if n in by][:MAX_CURVES]
    return [{"label": labels[n], "name": n, "seeds": list(by[n].values())} for n in chosen]


def _confusion(results: Results, summary: Summary, labels: dict[str, str]) -> dict[str, Any] | None:
    by = {c.method: c.counts for c in results.confusion}
    name = next((n for n in (shown_method(results, summary), *_first_choices(summary)) if n in by), None)
    if name is None:
        return None
    counts = np.asarray(by[name])
    classes = results.dataset.classes or [str(k) for k in range(len(counts))]
    total = counts.sum(1)
    wrong = [
        {
            "true": classes[i],
            "predicted": classes[j],
            "share": float(counts[i, j] / total[i]),
            "count": int(counts[i, j]),
        }
        for i, j in zip(*np.nonzero(counts), strict=True)
        if i != j
    ]
    wrong.sort(key=lambda w: (-w["count"], w["true"], w["predicted"]))
    row = next((r for r in summary.rows if r.method.name == name), None)
    return {
        "method": labels[name], "classes": classes, "counts": counts.tolist(), "most": wrong[:3],
        "n_predictions": int(counts.sum()), "n_rows": int(counts.sum()) if row is None else row.estimate.n_rows,
    }  # fmt: skip


def _residuals(results: Results, summary: Summary, labels: dict[str, str]) -> list[dict[str, Any]]:
    have = {r.method for r in results.residuals}
    name = next((n for n in (shown_method(results, summary), *_first_choices(summary)) if n in have), None)
    return [{**r.model_dump(), "label": labels[r.method]} for r in results.residuals if r.method == name]


def _ablation(results: Results, summary: Summary, labels: dict[str, str]) -> dict[str, Any] | None:
    """What the chosen fusion (or the next method that has it) loses when a modality is hidden at test time, by seed.

    Beside it, for the chosen fusion, what it loses when it is fitted anew without that modality.
    """
    have = {a.method for a in results.ablation}
    method = next((n for n in _first_choices(summary) if n in have), None)
    if method is None:
        return None
    metrics = {m.name: m.higher_is_better for m in metrics_for(results.dataset.task)}
    told = {a.metric for a in results.ablation if a.method == method}
    metric = next((m for m in metrics if m in told), min(told))
    sign = 1 if metrics.get(metric, True) else -1
    by: dict[str, list[Ablation]] = {}
    for a in results.ablation:
        if (a.method, a.metric) == (method, metric):
            by.setdefault(a.modality, []).append(a)
    trained = {t.modality: t for t in left_out(results, summary)} if (method, metric) == _main(summary) else {}
    parts: list[dict[str, Any]] = []
    for modality, ablations in by.items():
        losses = [sign * (a.full - a.without) for a in ablations]
        parts.append({
            "modality": modality,
            "losses": losses,
            "mean": float(np.mean(losses)),
            "score": float(np.mean([a.without for a in ablations])),
            "trained": _trained(results, trained[modality], method) if modality in trained else None,
        })  # fmt: skip
    parts.sort(key=lambda p: (-p["mean"], p["modality"]))
    full = [a.full for ablations in by.values() for a in ablations]
    absent = [m for m in results.method(method).modalities if m not in by]
    return {
        "method": labels[method], "metric": metric, "full": float(np.mean(full)), "parts": parts, "absent": absent
    }  # fmt: skip


def _main(summary: Summary) -> tuple[str | None, str]:
    return summary.verdict.fusion, summary.metric


def _trained(results: Results, without: LeftOut, method: str) -> dict[str, Any]:
    """The method, fitted without one modality, and what it loses by that, by seed."""
    metric = metric_of(results)
    scores: dict[str, dict[int, float]] = {method: {}, without.method: {}}
    for s in results.scores:
        if s.split == "test" and s.metric == metric.name and s.method in scores:
            scores[s.method][s.seed] = s.value
    seeds = sorted(set(scores[method]) & set(scores[without.method]))
    sign = 1 if metric.higher_is_better else -1
    return {
        "modalities": results.method(without.method).modalities,
        "losses": [sign * (scores[method][seed] - scores[without.method][seed]) for seed in seeds],
        "mean": without.loss.value,
        "low": _finite(without.loss.low),
        "high": _finite(without.loss.high),
        "score": without.score.value,
    }
