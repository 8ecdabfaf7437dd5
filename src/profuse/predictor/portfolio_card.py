"""What the card of a portfolio says: its members with their weights, and the scores of rows that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from profuse.predictor.card import Block, Table
from profuse.predictor.classical import ClassicalPredictor
from profuse.predictor.described import ends, label_of, listed, number, option_table, share, worth_of_answers

if TYPE_CHECKING:
    from profuse.predictor.portfolio import PortfolioPredictor

__all__ = ["logarithms_of", "made_of", "scored_as"]


def made_of(model: PortfolioPredictor) -> list[Block]:
    """Returns its members, by their weights, and what was left out."""
    score = f"held-out {label_of(str(model.about.get('metric', 'score')))}"
    loss = "held-out mean squared error" if model.task == "regression" else "held-out log loss"
    members = sorted(model.members, key=lambda m: -m.weight)
    losses = any(m.loss is not None for m in members)
    columns = ("model", "weight", score, *([loss] if losses else []), "seconds of fits")
    rows = [
        (m.name, share(m.weight), _or_none(m.score), *([_or_none(m.loss)] if losses else []), f"{m.seconds:.1f}")
        for m in members
    ]
    kept = int(model.weights.any(0).sum())
    blocks: list[Block] = [
        f"A portfolio: {kept} of {len(members)} models predict together, by weights that held-out rows chose.",
        f"Weights differ by which modalities a row lacks, in {len(model.patterns)} patterns. The first table is of "
        "rows that lack none; a row that lacks others than the second one names is predicted as the most similar."
        if len(model.patterns) > 1
        else "The weights are the same for all rows.",
        Table(columns, tuple(rows)),
    ]
    if len(model.patterns) > 1:
        rows = [(", ".join(lacks), _by(model, i)) for i, lacks in enumerate(model.patterns) if lacks]
        blocks.append(Table(("a row that lacks", "is predicted by"), tuple(rows), 2, "Where a modality is missing"))
    blocks += [said for said in (logarithms_of(model), _filled(model)) if said]
    if (skipped := model.about.get("skipped")) and isinstance(skipped, Mapping):
        rows = [(str(name), str(why)) for name, why in skipped.items()]
        blocks.append(Table(("model", "reason"), tuple(rows), 2, "Left out"))
    return [*blocks, option_table({} if model.trained_on is None else model.trained_on.options)]


def _by(model: PortfolioPredictor, pattern: int) -> str:
    """Says which models predict the rows of a pattern, the largest weight first."""
    weights = model.weights[pattern]
    order = [int(i) for i in np.argsort(-weights, kind="stable") if weights[i]]
    return listed([f"{model.members[i].name} ({share(weights[i])})" for i in order])


def logarithms_of(model: PortfolioPredictor) -> str:
    """Says which of its models with weight have learned the logarithm of the target; "" if none has."""
    of = {
        i
        for i, p in zip(model.member_of, model.predictors, strict=True)
        if isinstance(p, ClassicalPredictor) and p.model.of_logarithms and model.weights[:, i].any()
    }
    names = listed([model.members[i].name for i in sorted(of)])
    return (
        f"The logarithm of the target, which is skewed and never below 0, was learned, too, by {names}." if of else ""
    )


def _filled(model: PortfolioPredictor) -> str:
    """Says which of its models fill modalities that a row lacks, and how many training rows are kept for that."""
    fill = [
        (i, p.neighbours)
        for i, p in zip(model.member_of, model.predictors, strict=True)
        if isinstance(p, ClassicalPredictor) and p.neighbours is not None
    ]
    if not fill:
        return ""
    names = listed([model.members[i].name for i in sorted({i for i, _ in fill})])
    n_rows = max(neighbours.n_donors for _, neighbours in fill)
    return (
        f"Features of a modality that a row lacks are filled by the nearest training rows in {names}; up to {n_rows:,} "
        "rows of each fold are kept for that."
    )


def scored_as(model: PortfolioPredictor) -> list[Block]:
    """Returns how good it is on rows that had no part in it, as `about` tells."""
    about = model.about
    said: list[Block] = list(_headline(model))
    if model.task != "regression":
        at = number(model.temperature)
        said.append(f"Probabilities were calibrated on held-out rows: temperature {at}.")
    if isinstance(decided := about.get("decision"), Mapping):
        said += worth_of_answers(str(model.classes[-1]), decided, "held-out")
    return [*said, *map(str, about.get("notes", ()))]


def _headline(model: PortfolioPredictor) -> list[str]:
    about = model.about
    if "metric" not in about:
        return []
    label, n_rows = label_of(str(about["metric"])), f"{about['n_rows']:,}"
    if "score" not in about:
        return [f"Held-out {label} is not defined on these {n_rows} rows."]
    value, low, high = about["score"]
    said = [f"Held-out {label} {number(value)} ({ends(low, high)}) on {n_rows} rows that had no part in the weights."]
    if "over_trivial" in about:
        said.append(f"Against always answering the same: {_gain(about['over_trivial'])}.")
    if "gain" in about and len(model.members) > 1:
        best = number(float(about["best_member"]))
        said.append(f"Against its best model alone ({best}), chosen the same way: {_gain(about['gain'])}.")
    return said


def _gain(gain: Sequence[float]) -> str:
    value, low, high = gain
    shown = "better" if low > 0 else "worse" if high < 0 else "not shown to differ"
    return f"{'+' if value > 0 else ''}{number(value)} ({ends(low, high)}), {shown}"


def _or_none(value: float | None) -> str:
    return "not defined" if value is None else number(value)
