"""Tables and pictures of the study, put into a page between its marks.

    python benchmarks/quality/progressive/page.py results/progressive --page docs/results/progressive.md

The page is written by hand but for what stands between `<!-- NAME -->` and `<!-- end -->`, with NAME a key of
`TABLES`. Pictures go beside it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from collect import Model, Study, collect
from matplotlib import pyplot
from settings import SETTINGS
from volatility import forecasts, read_returns

from profuse.datasets import load
from profuse.datasets.synthetic.pointer import Pointer
from profuse.evaluate.statistics import Estimate, Sample, paired_difference, time_blocks

matplotlib.use("Agg")
ROUNDS = ("2 rounds", "3 rounds", "4 rounds")
COLOURS = {"2 rounds": "C0", "3 rounds": "C1", "4 rounds": "C2", "wider": "C7", "deeper": "C5"}


def told(e: Estimate | None, digits: int = 1) -> str:
    """Mean and interval; bold where 0 is outside."""
    if e is None:
        return "-"
    text = f"{e.value:+.{digits}f} ({e.low:+.{digits}f} to {e.high:+.{digits}f})"
    return f"**{text}**" if e.low > 0 or e.high < 0 else text


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def bases(study: Study) -> Iterator[tuple[str, str, Model]]:
    """Data sets and base models whose plain model is there, without those by width and those of `forms`."""
    for data, setting in SETTINGS.items():
        if "2 rounds" not in setting.twins:
            continue
        for base in setting.bases:
            plain = study.get(data, base, "plain")
            if plain is not None:
                yield data, base, plain


def score(model: Model | None) -> str:
    """In the unit of the data: three digits."""
    if model is None:
        return "-"
    return f"{model.score:.3f}" if model.score < 10 else f"{model.score:,.0f}"


def gains(study: Study) -> str:
    """Every base model: its score, what rounds add to it, and to the plain models of the same compute."""
    head = ["data", "base model", "seeds x rows", "plain", *ROUNDS, "wider", "deeper",
            "2 rounds against wider", "2 rounds against deeper"]  # fmt: skip
    rows = []
    for data, base, plain in bases(study):
        unit = "MSE" if plain.is_error else "accuracy"
        rows.append([
            SETTINGS[data].title, base, f"{len(plain.facts)} x {len(plain.arrays[0]['rows']):,}",
            f"{unit} {score(plain)}",
            *(told(study.gain(data, base, twin)) for twin in (*ROUNDS, "wider", "deeper")),
            *(told(study.gain(data, base, "2 rounds", twin)) for twin in ("wider", "deeper")),
        ])  # fmt: skip
    return table(head, rows)


def forms(study: Study) -> str:
    """Tasks in which one modality tells what counts in the other: the score of every form of feedback."""
    columns = [(data, base) for data in ("pointer", "colours") for base in SETTINGS[data].bases]
    twins = [*SETTINGS["pointer"].twins, *SETTINGS["colours"].twins]
    rows = []
    for twin in dict.fromkeys(twins):
        cells = []
        for data, base in columns:
            model = study.get(data, base, twin)
            if model is None:
                cells.append("-")
                continue
            found = [r2(f, a) if model.is_error else f["score"] for f, a in zip(model.facts, model.arrays, strict=True)]
            cells.append(f"{np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
        rows.append([twin, *cells])
    best = study.get("colours-told", "concatenation", "plain")
    limit = f"{Pointer(n_items=16, noise=0.1).bayes_score():.3f}"
    shown = f"{best.score:.3f}" if best else "-"
    rows.append(["limit", *(limit if data == "pointer" else shown for data, _ in columns)])
    units = {"pointer": "R2", "colours": "accuracy"}
    return table(["model", *(f"{SETTINGS[data].title}, {base}: {units[data]}" for data, base in columns)], rows)


def r2(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> float:
    """The share of the variance that is explained."""
    return 1 - float(facts["score"]) / float(arrays["true"].var())


def forms_elsewhere(study: Study) -> str:
    """What every form of feedback adds where no modality points into another."""
    columns = [("mosi-forms", "late fusion"), ("air-forms", "late LSTM")]
    twins = [t for t in SETTINGS["mosi-forms"].twins if t != "plain"]
    rows = [[twin, *(told(study.gain(data, base, twin)) for data, base in columns)] for twin in twins]
    return table(["model", *(f"{SETTINGS[data].title}, {base}" for data, base in columns)], rows)


def robustness(study: Study) -> str:
    """Gain of the mean score under noise in all modalities, effective robustness, and missing modalities."""
    head = ["data", "base model", "relative, 2 rounds", "relative, 3 rounds", "relative, wider",
            "effective, 2 rounds", "effective, 3 rounds", "effective, wider", "missing, 2 rounds", "missing, 3 rounds",
            "missing, wider"]  # fmt: skip
    rows = []
    for data, base, _ in bases(study):
        found = [study.robustness(data, base, twin) for twin in ("2 rounds", "3 rounds", "wider")]
        gone = [study.missing(data, base, twin) for twin in ("2 rounds", "3 rounds", "wider")]
        rows.append([
            SETTINGS[data].title, base,
            *(told(f and f[0]) for f in found), *(told(f and f[1]) for f in found), *(told(g) for g in gone),
        ])  # fmt: skip
    return table(head, rows)


def by_modality(study: Study) -> str:
    """Gain in relative robustness of two rounds, noise in one modality at a time."""
    rows = []
    for data, base, plain in bases(study):
        names = [name for name in plain.facts[0].get("noise", {}) if name != "all"]
        if len(names) > 1:
            each = [f"{name} {told((r := study.robustness(data, base, '2 rounds', name)) and r[0])}" for name in names]
            rows.append([SETTINGS[data].title, base, "; ".join(each)])
    return table(["data", "base model", "relative robustness, 2 rounds against plain, noise in one modality"], rows)


def branches(study: Study) -> str:
    """What a linear probe reads off each branch, plain and by round."""
    rows = []
    for data, base, plain in bases(study):
        three = study.get(data, base, "3 rounds")
        if three is None or "probes" not in plain.facts[0]:
            continue
        for name in plain.facts[0]["probes"]:
            alone = np.mean([f["probes"][name][0] for f in plain.facts])
            by_round = np.mean([f["probes"][name] for f in three.facts], axis=0)
            rows.append([SETTINGS[data].title, base, name, f"{alone:.3f}", *(f"{v:.3f}" for v in by_round)])
    return table(["data", "base model", "branch", "plain", "round 1 of 3", "round 2", "round 3"], rows)


def volatility(study: Study) -> str:
    """MSE of the forecasts that need no network beside that of the networks."""
    names = ("train_mean", "ewma", "har", "garch")
    head = ["data", "mean of train", "EWMA", "HAR", "GARCH(1,1)", "plain late LSTM", "2 rounds",
            "best plain network", "2 rounds against EWMA, % of EWMA's MSE"]  # fmt: skip
    rows = []
    for data in SETTINGS:
        if not data.startswith("stocks"):
            continue
        sector, _, scale = data.removeprefix("stocks-").partition("-")
        stocks = load("stocks", variant=f"{sector}-{scale}" if scale else sector)
        assert stocks.split is not None
        assert stocks.target is not None
        assert stocks.times is not None
        test = np.flatnonzero(stocks.split == "test")
        said = forecasts(read_returns(sector, None)[:, 0], stocks.target, stocks.split, log=bool(scale))
        errors = {name: ((said[name] - stocks.target) ** 2)[test] for name in names}
        two = study.get(data, "late LSTM", "2 rounds")
        plains = {b: study.get(data, b, "plain") for b in SETTINGS[data].bases}
        known = {b: m for b, m in plains.items() if m is not None}
        against = None
        if two is not None:
            unit, clusters = -errors["ewma"].mean() / 100, time_blocks(stocks.times[test])
            a = [Sample(test, clusters, rows / unit) for rows in two.rows]
            b = [Sample(test, clusters, errors["ewma"] / unit)] * len(a)
            against = paired_difference(a, b, n_train=two.facts[0]["n_train"])
        best = min(known, key=lambda b: known[b].mean("valid_error")) if known else None
        rows.append([
            SETTINGS[data].title, *(f"{errors[n].mean():.4f}" for n in names),
            *(f"{m.score:.4f}" if m else "-" for m in (plains.get("late LSTM"), two)),
            f"{best} {known[best].score:.4f}" if best else "-", told(against),
        ])  # fmt: skip
    return table(head, rows) + "\n\nThe best plain network is the one with the least validation error."


def cost(study: Study) -> str:
    """Compute and time against the plain model: the median over base models, and the range."""
    rows = []
    for twin in (*ROUNDS, "wider", "deeper"):
        pairs = [(one, plain) for data, base, plain in bases(study) if (one := study.get(data, base, twin)) is not None]
        if not pairs:
            continue
        cells = []
        for ratios in (
            [a.mean("flops") / b.mean("flops") for a, b in pairs],
            [np.mean([f["cpu_seconds"] / f["epochs"] for f in a.facts])
             / np.mean([f["cpu_seconds"] / f["epochs"] for f in b.facts]) for a, b in pairs],
            [a.mean("n_parameters") / b.mean("n_parameters") for a, b in pairs],
        ):  # fmt: skip
            cells.append(f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append([twin, *cells])
    return table(["model", "operations a row", "time an epoch", "parameters"], rows)


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
                    y = i + (k - 2) * 0.15
                    mark = "o" if twin in ROUNDS else "D"
                    axis.plot([e.low, e.high], [y, y], color=COLOURS[twin], linewidth=1)
                    axis.plot(e.value, y, mark, color=COLOURS[twin], markersize=3)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(group)), [f"{SETTINGS[d].title}: {b}" for d, b, _ in group], fontsize=7)
        axis.invert_yaxis()
        axis.set_xlabel(title, fontsize=9)
        # one interval that spans everything must not squeeze the others
        axis.set_xlim(max(axis.get_xlim()[0], -40), min(axis.get_xlim()[1], 40))
        axis.grid(axis="x", linewidth=0.3)
    handles = [
        pyplot.Line2D([], [], color=COLOURS[t], marker="o" if t in ROUNDS else "D", markersize=4, label=t)
        for t in twins
    ]
    figure.legend(handles=handles, loc="upper center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


TABLES = {
    "gains": gains,
    "forms": forms,
    "forms-elsewhere": forms_elsewhere,
    "robustness": robustness,
    "by-modality": by_modality,
    "branches": branches,
    "volatility": volatility,
    "cost": cost,
}


def main() -> None:
    """Fills the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that the study wrote")
    parser.add_argument("--page", type=Path, required=True, help="Markdown page with marks")
    asked = parser.parse_args()
    study = collect(asked.out)
    if not study.models:
        parser.error(f"there must be fits in {asked.out / 'fits'}; got none. Run study.py first.")
    text = asked.page.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if pattern.search(text) is None:
            parser.error(f"{asked.page}: must have a line '<!-- {name} -->' and '<!-- end -->' after it; got none")
        made = make(study)
        text = pattern.sub(lambda match, made=made: match[1] + made + "\n" + match[2], text)
    asked.page.write_text(text, encoding="utf-8")
    draw_pointer(study, asked.page.with_name("progressive-pointer.png"))
    draw_gains(study, asked.page.with_name("progressive-gains.png"))
    print(asked.page)


if __name__ == "__main__":
    main()
