"""Tables and pictures of the study, put into a page between its marks.

    python benchmarks/quality/progressive/page.py results/progressive --page docs/results/progressive.md

The page is written by hand but for what stands between `<!-- NAME -->` and `<!-- end -->`, with NAME a key of
`TABLES`. Pictures go beside it.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from collect import ROUNDS, Model, Study, bases, collect, in_units, logged, r2, saved
from figures import draw_gains, draw_pointer, draw_robustness
from settings import SETTINGS
from volatility import forecasts, read_returns

from profuse.comparison.statistics import Estimate, Sample, paired_difference
from profuse.data.time_blocks import time_blocks
from profuse.datasets import load
from profuse.datasets.synthetic.pointer import Pointer

Measure = Callable[[str, str], Estimate | None]
"""Of data and base model."""
MADE = ("pointer", "colours")
"""Tasks that were made to need feedback."""


def told(e: Estimate | None, digits: int = 1) -> str:
    """Mean and interval; bold where 0 is outside."""
    if e is None:
        return "-"
    if not math.isfinite(e.low):
        return f"{e.value:+.{digits}f} (not known)"
    text = f"{e.value:+.{digits}f} ({e.low:+.{digits}f} to {e.high:+.{digits}f})"
    return f"**{text}**" if e.low > 0 or e.high < 0 else text


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def score(model: Model | None) -> str:
    """In the unit of the data: three digits."""
    if model is None:
        return "-"
    return f"{model.score:.3f}" if model.score < 10 else f"{model.score:,.0f}"


def differences(
    study: Study, columns: Mapping[str, Measure], *, about: Mapping[str, Callable[[Model], str]] | None = None
) -> str:
    """Returns a row for each base model that was measured, and how many differences of each kind are shown.

    Args:
        study: What was fitted.
        columns: Heading to what is measured of data and base model.
        about: Heading to what else is said of the plain model, in front.
    """
    about = about or {}
    rows: list[list[str]] = []
    counted: dict[str, list[Estimate]] = {name: [] for name in columns}
    for data, base, plain in bases(study):
        found = {name: measure(data, base) for name, measure in columns.items()}
        if not any(found.values()):
            continue
        words = (say(plain) for say in about.values())
        rows.append([SETTINGS[data].title, base, *words, *(told(e) for e in found.values())])
        if data not in MADE:
            for name, e in found.items():
                counted[name] += [e] if e else []
    said = []
    for name, there in counted.items():
        up, down = sum(e.low > 0 for e in there), sum(e.high < 0 for e in there)
        median = float(np.median([e.value for e in there])) if there else float("nan")
        said.append(f"{name}: of {len(there)}, {up} shown above 0 and {down} below, median {median:+.1f}")
    below = "\n\nWithout the two made tasks. " + "; ".join(said) + "."
    return table(["data", "base model", *about, *columns], rows) + below


def gains(study: Study) -> str:
    """Every base model: its score, and what rounds add to it."""
    about = {
        "seeds x rows": lambda plain: f"{len(plain.facts)} x {len(plain.arrays[0]['rows']):,}",
        "plain": lambda plain: f"{'MSE' if plain.is_error else 'accuracy'} {score(plain)}",
    }
    return differences(study, {twin: partial(study.gain, twin=twin) for twin in ROUNDS}, about=about)


def compute(study: Study) -> str:
    """Plain models of the compute of two rounds: what they add to the plain one, and two rounds against them."""
    twins = ("wider", "deeper")
    added = {twin: partial(study.gain, twin=twin) for twin in twins}
    against = {f"2 rounds against {twin}": partial(study.gain, twin="2 rounds", other=twin) for twin in twins}
    return differences(study, added | against)


def forms(study: Study) -> str:
    """Tasks in which one modality tells what counts in the other: the score of every form of feedback."""
    columns = [(data, base) for data in MADE for base in SETTINGS[data].bases]
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
    rows.append(["Bayes limit; told which, plain", *(limit if data == "pointer" else shown for data, _ in columns)])
    units = {"pointer": "R2", "colours": "accuracy"}
    return table(["model", *(f"{SETTINGS[data].title}, {base}: {units[data]}" for data, base in columns)], rows)


def forms_elsewhere(study: Study) -> str:
    """What every form of feedback adds where no modality points into another."""
    columns = [("mosi-forms", "late fusion"), ("air-forms", "late LSTM")]
    twins = [t for t in SETTINGS["mosi-forms"].twins if t != "plain"]
    rows = [[twin, *(told(study.gain(data, base, twin)) for data, base in columns)] for twin in twins]
    return table(["model", *(f"{SETTINGS[data].title}, {base}" for data, base in columns)], rows)


def robustness(study: Study) -> str:
    """Noise in all modalities: the gain of the mean score over its levels, and effective robustness."""

    def part(data: str, base: str, twin: str, i: int) -> Estimate | None:
        found = study.robustness(data, base, twin)
        return found and found[i]

    twins = ("2 rounds", "3 rounds", "wider")
    columns = {
        f"{what}, {twin}": partial(part, twin=twin, i=i)
        for i, what in enumerate(("relative", "effective"))
        for twin in twins
    }
    return differences(study, columns)


def missing(study: Study) -> str:
    """Modalities missing at random: the gain of the mean score over the rates."""
    twins = ("2 rounds", "3 rounds", "wider", "deeper")
    return differences(study, {twin: partial(study.missing, twin=twin) for twin in twins})


def by_modality(study: Study) -> str:
    """Gain in relative robustness of two rounds, noise in one modality at a time."""
    rows = []
    for data, base, plain in bases(study):
        names = [name for name in plain.facts[0].get("noise", {}) if name != "all"]
        if len(names) > 1:
            if study.get(data, base, "2 rounds") is None:
                continue
            each = [f"{name} {told((r := study.robustness(data, base, '2 rounds', name)) and r[0])}" for name in names]
            rows.append([SETTINGS[data].title, base, "; ".join(each)])
    return table(["data", "base model", "relative robustness, 2 rounds against plain, noise in one modality"], rows)


def branches(study: Study) -> str:
    """What a linear probe reads off each branch, plain and by round; without operators that get unmixed tokens."""
    rows = []
    for data, base, plain in bases(study):
        three, how = study.get(data, base, "3 rounds"), SETTINGS[data].bases[base]
        if three is None or "probes" not in plain.facts[0] or how.level == "raw" or how.fusion == "stagewise":
            continue
        for name in plain.facts[0]["probes"]:
            alone = np.mean([probed(plain, i, name)[0] for i in range(len(plain.facts))])
            by_round = np.mean([probed(three, i, name) for i in range(len(three.facts))], axis=0)
            rows.append([SETTINGS[data].title, base, name, f"{alone:.3f}", *(f"{v:.3f}" for v in by_round)])
    return table(["data", "base model", "branch", "plain", "round 1 of 3", "round 2", "round 3"], rows)


def probed(model: Model, seed: int, branch: str) -> np.ndarray:
    """Returns the probe's score by round: accuracy, or the share of the training mean's squared error that it saves."""
    facts, true = model.facts[seed], model.arrays[seed]["true"]
    found = np.array(facts["probes"][branch])
    return 1 - (1 - found) * true.var() / np.mean((true - facts["train_mean"]) ** 2) if model.is_error else found


def volatility(study: Study) -> str:
    """MSE of the forecasts that need no network beside that of the networks, and both against EWMA."""
    names = ("train_mean", "ewma", "har", "garch", "garch_raw")
    head = ["data", "mean of train", "EWMA", "HAR", "GARCH(1,1)", "the same, as it is", "plain late LSTM", "2 rounds",
            "best plain network", "HAR against EWMA", "best plain network against EWMA",
            "2 rounds against EWMA"]  # fmt: skip
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
        clusters = time_blocks(stocks.times[test])
        said = forecasts(read_returns(sector, None)[:, 0], stocks.target, stocks.split, log=bool(scale))
        errors = {name: ((said[name] - stocks.target) ** 2)[test] for name in names}
        ewma, har = (Sample(test, clusters, -logged(e, e.mean())) for e in (errors["ewma"], errors["har"]))

        def against(samples: list[Sample], ewma: Sample = ewma, n: int = len(stocks)) -> str:
            return told(in_units(paired_difference(samples, [ewma] * len(samples), n_train=n), saved))

        two = study.get(data, "late LSTM", "2 rounds")
        plains = {b: study.get(data, b, "plain") for b in SETTINGS[data].bases}
        known = {b: m for b, m in plains.items() if m is not None}
        best = min(known, key=lambda b: known[b].mean("valid_error")) if known else None
        rows.append([
            SETTINGS[data].title, *(f"{errors[n].mean():.4f}" for n in names),
            *(f"{m.score:.4f}" if m else "-" for m in (plains.get("late LSTM"), two)),
            f"{best} {known[best].score:.4f}" if best else "-", against([har]),
            *(against(m.samples(len(m.facts))) if m else "-" for m in (known.get(best or ""), two)),
        ])  # fmt: skip
    return table(head, rows) + "\n\nThe best plain network is the one with the least validation error."


def cost(study: Study) -> str:
    """Compute and time against the plain model: the median over base models, and the range."""

    def ratios(pairs: list[tuple[Model, Model]], measure: Callable[[Model], float]) -> str:
        found = [measure(a) / measure(b) for a, b in pairs]
        return f"{np.median(found):.2f} ({min(found):.2f} to {max(found):.2f})" if found else "-"

    def pairs(twin: str, other: str) -> list[tuple[Model, Model]]:
        return [pair for data, base, _ in bases(study) if (pair := study.pair(data, base, twin, other)) is not None]

    def operations(model: Model) -> float:
        return float(model.facts[-1]["flops"])

    rows = [
        [
            twin,
            ratios(pairs(twin, "plain"), operations),
            ratios(pairs(twin, "2 rounds"), operations),
            ratios(pairs(twin, "plain"), lambda m: m.mean("cpu_seconds") / m.mean("epochs")),
            ratios(pairs(twin, "plain"), lambda m: float(m.facts[-1]["n_parameters"])),
        ]
        for twin in (*ROUNDS, "wider", "deeper")
    ]
    return table(["model", "operations a row", "against those of 2 rounds", "time an epoch", "parameters"], rows)


TABLES = {
    "gains": gains,
    "compute": compute,
    "forms": forms,
    "forms-elsewhere": forms_elsewhere,
    "robustness": robustness,
    "missing": missing,
    "by-modality": by_modality,
    "branches": branches,
    "volatility": volatility,
    "cost": cost,
}


def filled(content: str, place: re.Match[str]) -> str:
    """Returns the place of a table on the page with this content."""
    return place[1] + content + "\n" + place[2]


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
        text = pattern.sub(partial(filled, make(study)), text)
    asked.page.write_text(text, encoding="utf-8")
    draw_pointer(study, asked.page.with_name("progressive-pointer.png"))
    draw_gains(study, asked.page.with_name("progressive-gains.png"))
    draw_robustness(study, asked.page.with_name("progressive-robustness.png"))
    print(asked.page)


if __name__ == "__main__":
    main()
