"""The data on a page: histograms, frequent categories, patterns of absence, a few rows; and a page of that alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from profuse._escape import visible_values
from profuse.data.dataset import Dataset
from profuse.data.leaks import tell_leaks
from profuse.data.split import make_split
from profuse.inspect.contents import Part
from profuse.inspect.profile import profile
from profuse.report.gallery import shown_parts
from profuse.report.pages import page_template
from profuse.schema import SplitOptions

__all__ = ["profile_html", "profile_on_a_page"]

_HEIGHT = 24  # of a histogram, in units of its own
_HISTOGRAM = Markup(
    '<svg class="hist" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}"><path d="{}"/></svg>'
)
_PARTS = {"train": "training", "valid": "validation", "test": "test", "all": "all"}


def profile_html(dataset: Dataset, options: SplitOptions | None = None) -> str:
    """Returns a page that shows what the data hold: it opens offline, and no script is in it.

    Args:
        dataset: All rows.
        options: How they would be split; of data with a target the split of seed 0 is looked at.

    Raises:
        DataError: They cannot be split so.
    """
    options = options or SplitOptions()
    notes, split = list(dataset.notes), None
    if dataset.target is not None:
        split = make_split(dataset, options, seed=0)
        notes += tell_leaks(dataset, options)
    shown = profile_on_a_page(visible_values(profile(dataset, split).model_dump(mode="json")))
    known = visible_values({"name": dataset.name, "task": dataset.task, "notes": notes})
    return page_template("profile_page.html").render(profile=shown, **known)


def profile_on_a_page(of: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns what a page shows of `profuse.inspect.profile.Profile`, as JSON values made visible: with pictures."""
    if of is None:
        return None
    n_rows = of["n_rows"]
    names = [m["name"] for m in of["modalities"]]
    return {
        **of,
        "modalities": [_modality(m, n_rows) for m in of["modalities"]],
        "patterns": [
            {
                "there": [name in p["present"] for name in names],
                "words": " + ".join(p["present"]) or "none",
                **_counted(p["n"], n_rows),
            }
            for p in of["patterns"]
        ],
        "target": [_target(t, of["parts"]) for t in of["target"]],
        "examples": [
            {**e, "parts": shown_parts([Part.model_validate(part) for part in e["parts"]])} for e in of["examples"]
        ],
    }


def _modality(m: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    n_columns = len(m["columns"]) + m["more_columns"]
    told = f"{m['n_present']:,} of {n_rows:,} rows"
    if n_columns:
        told += f", {n_columns:,} {'column' if n_columns == 1 else 'columns'}"
        missing = _share(m["missing_cells"], m["n_cells"])
        told += f", {missing} of cells missing" if m["missing_cells"] else ", no cell missing"
    return {
        **m,
        "told": told,
        "columns": [_column(c, n_rows) for c in m["columns"]],
        "why": any(c["reason"] for c in m["columns"]),
        "sizes": [{"name": s["name"], **_spread(s["spread"], s["name"])} for s in m["sizes"]],
    }


def _column(c: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    known = n_rows - c["missing"]
    n_others, rest = c["distinct"] - len(c["top"]), known - sum(t["n"] for t in c["top"])
    return {
        **c,
        "gaps": _counted(c["missing"], n_rows),
        "shape": None if c["spread"] is None else _spread(c["spread"], c["name"]),
        "bars": [{"label": t["label"], **_counted(t["n"], known)} for t in c["top"]],
        "others": f"{n_others:,} other{'' if n_others == 1 else 's'}: {rest:,} rows" if n_others > 0 else "",
    }


def _counted(n: int, of: int) -> dict[str, Any]:
    """Returns a count, its share, and how long the bar of that is, in percent."""
    return {"n": f"{n:,}", "share": _share(n, of), "bar": round(100 * n / max(1, of), 1)}


def _share(n: int, of: int) -> str:
    share = 100 * n / max(1, of)
    if n and share < 0.1:
        return "<0.1 %"
    return f"{share:.1f} %" if 0 < share < 10 or 99.5 <= share < 100 else f"{share:.0f} %"


def _spread(s: Mapping[str, Any], name: str) -> dict[str, Any]:
    beyond = [f"{s[k]:,} {k}" for k in ("below", "above") if s[k]]
    told = f"{s['low']} to {s['high']}, median {s['median']}"
    return {
        "svg": _histogram(s["counts"], f"Distribution of {name}: {told}"),
        "ends": (s["low"], s["median"], s["high"]),
        "told": told,
        "beyond": f"far values that are not drawn: {' and '.join(beyond)}" if beyond else "",
    }


def _histogram(counts: Sequence[int], what: str) -> Markup:
    """Returns bars of equal width, the highest as high as the picture; what is there at all can be seen."""
    most = max([*counts, 1])
    bars = []
    for k, n in enumerate(counts):
        height = max(0.6, _HEIGHT * n / most)
        bars.append(f"M{k + 0.06:.2f} {_HEIGHT}v{-height:.2f}h.88v{height:.2f}z" if n else "")
    return _HISTOGRAM.format(len(counts), _HEIGHT, what, "".join(bars))


def _target(t: Mapping[str, Any], parts: Mapping[str, int]) -> dict[str, Any]:
    by_part = [(_PARTS.get(part, part), counts, parts.get(part, sum(counts))) for part, counts in t["by_part"].items()]
    shapes = [
        {"part": part, "n": f"{n:,}", "svg": _histogram(counts, f"Distribution of {t['name']} in {part} rows")}
        for part, counts, n in by_part
    ]
    return {
        **t,
        "whole": None if t["spread"] is None else _spread(t["spread"], t["name"]),
        "shapes": shapes if t["spread"] is not None else [],
        "heads": [part for part, _, _ in by_part],
        "rows": [
            {"name": name, "cells": [_counted(counts[k], n) for _, counts, n in by_part]}
            for k, name in enumerate(t["classes"])
        ],
        "n_classes": len(t["classes"]) + t["more_classes"],
    }
