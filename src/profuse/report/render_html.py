"""`render_html`: one file that opens offline, in light, dark and print, at desktop and phone width."""

from __future__ import annotations

from typing import Any

from profuse._escape import visible_values
from profuse.report import figures, numbers
from profuse.report.advice import gain_plot
from profuse.report.collect import ROLES
from profuse.report.estimates import estimate_of, estimates_plot
from profuse.report.gallery import surest_on_a_page
from profuse.report.hidden import gap_plot, subset_plot
from profuse.report.learning import learning_plot
from profuse.report.outputs import output_plots
from profuse.report.pages import page_script, page_template
from profuse.report.profile import profile_on_a_page
from profuse.report.words import listed

__all__ = ["render_html"]

MAX_CLASSES = 40
"""A confusion matrix of more classes is told as its largest confusions only."""
_DRAWN = (
    "metrics", "confusion", "ablation", "hidden", "asked", "gains", "curves", "residuals", "outputs", "profile",
    "learning"
)  # fmt: skip
"""What goes into the page as a picture, or changed in another way."""
KINDS = {
    "single": "Against the best single modality",
    "concat": "Against concatenation",
    "default": "The chosen fusion against the default network",
    "plain": "Progressive methods against the same methods without feedback",
    "classical": "The chosen fusion against the chosen classical model",
    "portfolio": "The portfolio, which 'fit' makes, against the best fusion, classical model and single modality",
    "hand_made": "Each modality: its network against a classical model on its hand-made features",
    "trivial": "Against the trivial answer",
}


def render_html(collected: dict[str, Any]) -> str:
    """Returns the report as one self-contained HTML page: no network, no font of its own.

    The only script moves the threshold of two classes; the page is whole without it, and no other one may run.

    Args:
        collected: What `profuse.report.collect` returned, or the same read back from JSON.
    """
    collected = visible_values(collected)
    metric = collected["metric"]["name"]
    confusion, ablation, hidden = collected["confusion"], collected["ablation"], collected.get("hidden")
    learning = collected.get("learning")
    outputs = output_plots(collected.get("outputs"), collected["dataset"]["target_names"][0])
    return page_template("report.html").render(
        **{k: v for k, v in collected.items() if k not in _DRAWN},
        by_metric=collected["metrics"],
        n=numbers,
        listed=listed,
        score=lambda v: "\N{EN DASH}" if v is None else numbers.score(v, metric),
        span=lambda low, high: _span(low, high, metric, of_difference=False),
        gap=lambda low, high: _span(low, high, metric, of_difference=True),
        gain=lambda v, **options: numbers.difference(v, metric, **options),
        mark=figures.mark,
        roles=ROLES,
        gains=gain_plot(collected.get("gains", []), _label(collected), metric),
        scores=figures.score_plot(collected, ROLES) if collected["table"] else None,
        cost=figures.cost_plot(collected),
        lettered=any(r.get("alike") for r in collected["table"]),
        curves=figures.curve_panels(collected),
        measured_alike=figures.measured_alike(collected),
        residuals=[figures.residual_plot(r) for r in collected["residuals"] if r["true"]],
        outputs=outputs,
        profile=profile_on_a_page(collected.get("profile")),
        surest_cards=surest_on_a_page(collected.get("surest")),
        script=page_script("threshold.js") if outputs and outputs["thresholds"] else None,
        confusion=_shaded(confusion) if confusion else None,
        ablation=ablation and {**ablation, "plot": figures.loss_plot(ablation)},
        hidden=hidden and {**hidden, "plot": gap_plot(hidden, metric), "by_subset": subset_plot(hidden, metric)},
        learning=learning and {**learning, "plot": learning_plot(learning, metric)},
        asked=[
            {**of, "plot": estimates_plot([*map(estimate_of, of["estimates"])])} for of in collected.get("asked", ())
        ],
        differences_by_kind=[
            (title, rows)
            for kind, title in KINDS.items()
            if (rows := [d for d in collected["differences"] if d["kind"] == kind])
        ],
    )


def _label(collected: dict[str, Any]) -> str:
    """Returns what the chosen single modality is called."""
    single = collected["verdict"]["single"]
    return next((r["label"] for r in collected["table"] if r["name"] == single), "")


def _span(low: float | None, high: float | None, metric: str, *, of_difference: bool) -> str:
    return (
        "not known" if low is None or high is None else numbers.interval(low, high, metric, of_difference=of_difference)
    )


def _shaded(confusion: dict[str, Any]) -> dict[str, Any]:
    """Each cell as its share of the true class's rows."""
    rows = []
    for name, counts in zip(confusion["classes"], confusion["counts"], strict=True):
        total = sum(counts)
        cells = [{"count": c, "share": c / total if total else 0.0} for c in counts]
        rows.append({"name": name, "total": total, "cells": cells})
    return {**confusion, "rows": rows, "drawn": len(rows) <= MAX_CLASSES}
