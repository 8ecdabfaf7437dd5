"""Pictures of the study."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from collect import ROUNDS, Study, bases, r2
from matplotlib import pyplot
from matplotlib.axes import Axes
from settings import SETTINGS

from profuse.comparison.statistics import Estimate
from profuse.datasets.synthetic.pointer import Pointer

__all__ = ["draw_gains", "draw_pointer", "draw_robustness"]

matplotlib.use("Agg")
SHOWN = 40
"""Points or per cent of a gain that a picture reaches to."""
COLOURS = {"2 rounds": "C0", "3 rounds": "C1", "4 rounds": "C2", "wider": "C7", "deeper": "C5"}


def draw_pointer(study: Study, path: Path) -> None:
    """R2 against the width of the items' encoder."""
    data, problem = "pointer-width", Pointer(n_items=16, noise=0.1)
    widths = [int(w) for w in SETTINGS[data].sizes]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, base in zip(axes, SETTINGS[data].bases, strict=True):
        axis.axhline(problem.bayes_score(), color="black", linewidth=1, label="Bayes limit")
        axis.plot(
            widths,
            [problem.late_score(w) for w in widths],
            "k--",
            linewidth=1,
            label="limit of a linear encoder, fused late",
        )
        for twin, style in (("plain", "C7o-"), ("2 rounds", "C0s-"), ("2 rounds, input", "C3^-")):
            there = [(w, m) for w in widths if (m := study.get(data, base, twin, str(w))) is not None]
            found = [[r2(f, a) for f, a in zip(m.facts, m.arrays, strict=True)] for _, m in there]
            axis.plot([w for w, _ in there], [np.mean(r) for r in found], style, label=twin, markersize=5)
            for (w, _), r in zip(there, found, strict=True):
                axis.plot([w, w], [min(r), max(r)], style[:2], linewidth=1)
        axis.set_xscale("log", base=2)
        axis.set_xticks(widths, [str(w) for w in widths])
        axis.set_title(f"{base}", fontsize=10)
        axis.set_xlabel("width of what the items' encoder hands on (16 items)")
        axis.grid(linewidth=0.3)
    axes[0].set_ylabel("R2 on new rows")
    axes[0].set_ylim(-0.05, 1.05)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def put(axis: Axes, e: Estimate, y: float, twin: str) -> None:
    """Draws a gain and its interval up to `SHOWN`, so that none squeezes the others; an arrow is what lies outside."""
    low, high = (float(np.clip(end, -SHOWN, SHOWN)) for end in (e.low, e.high))
    axis.plot([low, high], [y, y], color=COLOURS[twin], linewidth=1)
    mark = "<" if e.value < -SHOWN else ">" if e.value > SHOWN else "o" if twin in ROUNDS else "D"
    axis.plot(np.clip(e.value, -SHOWN, SHOWN), y, mark, color=COLOURS[twin], markersize=3)


def draw_gains(study: Study, path: Path) -> None:
    """What rounds add to each base model, beside a plain model of the compute of two rounds."""
    groups = {
        "MSE saved, % of the plain model's": [x for x in bases(study) if x[2].is_error and x[0] != "pointer"],
        "accuracy gained, points": [x for x in bases(study) if not x[2].is_error and x[0] != "colours"],
    }
    n_rows = max(len(g) for g in groups.values())
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 1.6 + 0.34 * n_rows))
    twins = ("2 rounds", "3 rounds", "4 rounds", "wider", "deeper")
    for axis, (title, group) in zip(axes, groups.items(), strict=True):
        for i, (data, base, _) in enumerate(group):
            for k, twin in enumerate(twins):
                e = study.gain(data, base, twin)
                if e is not None:
                    put(axis, e, i + (k - 2) * 0.15, twin)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(group)), [f"{SETTINGS[d].title}: {b}" for d, b, _ in group], fontsize=7)
        axis.set_ylim(len(group) - 0.4, -0.6)
        axis.set_xlabel(title, fontsize=9)
        axis.grid(axis="x", linewidth=0.3)
    handles = [
        pyplot.Line2D([], [], color=COLOURS[t], marker="o" if t in ROUNDS else "D", markersize=4, label=t)
        for t in twins
    ]
    figure.legend(handles=handles, loc="upper center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw_robustness(study: Study, path: Path) -> None:
    """Gain of the mean score under noise and with missing modalities, two and three rounds and the wider twin."""
    measures = {
        "relative robustness: mean score\nunder noise in all modalities": lambda d, b, t: (
            (found := study.robustness(d, b, t)) and found[0]
        ),
        "effective robustness: what is lost\nto noise, less than the plain model": lambda d, b, t: (
            (found := study.robustness(d, b, t)) and found[1]
        ),
        "mean score with modalities\nmissing at random": study.missing,
    }
    group = [x for x in bases(study) if x[0] not in ("pointer", "colours")]
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 1.6 + 0.27 * len(group)), sharey=True)
    twins = ("2 rounds", "3 rounds", "wider")
    for axis, (title, measure) in zip(axes, measures.items(), strict=True):
        for i, (data, base, _) in enumerate(group):
            for k, twin in enumerate(twins):
                e = measure(data, base, twin)
                if e is not None:
                    put(axis, e, i + (k - 1) * 0.22, twin)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("gain: % of the plain model's MSE there,\nor points of accuracy", fontsize=8)
        axis.grid(axis="x", linewidth=0.3)
    axes[0].set_yticks(range(len(group)), [f"{SETTINGS[d].title}: {b}" for d, b, _ in group], fontsize=7)
    axes[0].set_ylim(len(group) - 0.4, -0.6)
    marks = {twin: "o" if twin in ROUNDS else "D" for twin in twins}
    handles = [pyplot.Line2D([], [], color=COLOURS[t], marker=m, markersize=4, label=t) for t, m in marks.items()]
    figure.legend(handles=handles, loc="upper center", ncols=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
