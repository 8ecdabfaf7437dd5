"""`render_markdown`: the answers and the tables as Markdown, for a terminal, a notebook or a repository."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from profuse._escape import markdown
from profuse.inspect.profile import HEADS, Profile
from profuse.report import numbers
from profuse.report.words import listed

__all__ = ["render_markdown"]

DASH = "\N{EN DASH}"
ALIKE = "Methods that share a letter are not shown to differ (paired, corrected for all pairs)."


def render_markdown(collected: dict[str, Any]) -> str:
    """Returns the report as Markdown; names from the data are escaped.

    Args:
        collected: What `profuse.report.collect` returned, or the same read back from JSON.
    """
    data, metric = collected["dataset"], collected["metric"]
    name = metric["name"]
    lines = [f"# {markdown(collected['headline'])}", "", markdown(collected["lede"]), ""]
    if collected.get("advice"):
        lines += [f"**{markdown(collected['advice'])}**", ""]
    for a in collected["answers"]:
        lines += [f"**{markdown(a['question'])}** {markdown(a['answer'])}", ""]
    if collected["table"]:
        beside = collected["beside"]
        lettered = any(r.get("alike") for r in collected["table"])
        head = ["#", "method", metric["label"], "95 % interval", *["alike"] * lettered, *(b["label"] for b in beside)]
        head += ["seeds", "test rows", "parameters", "fit", "rows/s"]
        rows = [
            [
                str(r["rank"]), r["label"], numbers.score(r["value"], name), _ends(r, name),
                *[r.get("alike", "")] * lettered,
                *(DASH if v is None else numbers.score(v, b["name"]) for v, b in zip(r["beside"], beside, strict=True)),
                str(r["n_seeds"]), f"{r['n_rows']:,}", numbers.count(r["n_parameters"]) if r["n_parameters"] else DASH,
                numbers.duration(r["fit_seconds"]), numbers.rate(r["rows_per_second"]),
            ]
            for r in collected["table"]
        ]  # fmt: skip
        caution = [f"**Caution.** {markdown(collected['caution'])}", ""] if collected["caution"] else []
        lines += ["## All methods", "", *caution, *_table(head, rows), "", *[ALIKE, ""] * lettered]
    if collected["differences"]:
        head = ["method", "against", "difference", "95 % interval", "shown", "p", "p, all comparisons"]
        rows = [
            [
                d["method"], d["against"], numbers.difference(d["value"], name), _ends(d, name, of_difference=True),
                d["shown"], numbers.p_value(d["p"]), numbers.p_value(d["p_holm"]),
            ]
            for d in collected["differences"]
        ]  # fmt: skip
        lines += ["## Paired differences", "", *_table(head, rows), ""]
    if collected["ablation"]:
        lines += _without(collected["ablation"])
    if collected.get("hidden"):
        lines += _hidden(collected["hidden"], name)
    for of in collected.get("asked", ()):
        lines += _asked(of)
    if collected["skipped"]:
        lines += [
            "## Not run",
            "",
            *(f"- **{markdown(s['method'])}**: {markdown(s['reason'])}" for s in collected["skipped"]),
            "",
        ]
    kinds = [
        f"{k} ({m['kind']}, present in {100 * m['present_fraction']:.1f} %)" for k, m in data["modalities"].items()
    ]
    lines += [
        "## The data",
        "",
        markdown(
            f"{data['name']}: {data['n_rows']:,} rows ({data['n_train']:,} train, {data['n_valid']:,} valid, "
            f"{data['n_test']:,} test), {data['task']}, target {listed(data['target_names'])}; {listed(kinds)}."
        ),
        "",
        *_profile(collected.get("profile")),
        *(f"- {markdown(n)}" for n in collected["notes"]),
    ]
    if collected["rule"]:
        lines += ["", f"Intervals: {markdown(collected['rule'])}."]
    return "\n".join(lines).rstrip() + "\n"


def _profile(of: dict[str, Any] | None) -> list[str]:
    return [] if of is None else [*_table(HEADS, Profile.model_validate(of).rows()), ""]


def _without(ablation: dict[str, Any]) -> list[str]:
    metric, rows = ablation["metric"], []
    for p in ablation["parts"]:
        cells = [numbers.score(p["score"], metric), numbers.difference(-p["mean"], metric), DASH, DASH]
        if p["trained"]:
            cells[2:] = numbers.score(p["trained"]["score"], metric), numbers.difference(-p["trained"]["mean"], metric)
        rows.append([p["modality"], *cells])
    head = ["modality", "hidden from the finished model", "lost", "the same fusion trained without it", "lost"]
    whole = f"{ablation['method']}: {numbers.score(ablation['full'], metric)} with all modalities."
    return ["## When a modality is hidden from the finished model", "", markdown(whole), "", *_table(head, rows), ""]


def _hidden(hidden: dict[str, Any], metric: str) -> list[str]:
    lines = ["## When modalities are missing", ""]
    for curve in hidden["curves"]:
        told = [f"{numbers.score(p['value'], metric)} ({100 * p['reached']:.0f} %)" for p in curve["points"]]
        lines.append(f"- {markdown(curve['label'])}, by the share that is missing at random: {', '.join(told)}")
    rows = [[" + ".join(r["shown"]), numbers.score(r["value"], metric), _ends(r, metric)] for r in hidden["subsets"]]
    return [*lines, "", *_table([f"{hidden['method']}: shown", "score", "95 % interval"], rows), ""]


def _asked(of: dict[str, Any]) -> list[str]:
    rows = []
    for e in of["estimates"]:
        ends = "not known" if None in (e["low"], e["high"]) else f"{e['low']:.4f} to {e['high']:.4f}"
        rows.append([e["name"], f"{e['value']:.4f}", ends])
    head = [of["question"], of["measures"] or of["metric"], "95 % interval"]
    return [f"## {markdown(of['question'])}, asked of {markdown(of['method'])}", "", *_table(head, rows), ""]


def _ends(r: dict[str, Any], metric: str, *, of_difference: bool = False) -> str:
    if r["low"] is None or r["high"] is None:
        return "not known"
    return numbers.interval(r["low"], r["high"], metric, of_difference=of_difference)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(map(markdown, head)) + " |",
        "|" + " --- |" * len(head),
        *("| " + " | ".join(map(markdown, row)) + " |" for row in rows),
    ]
