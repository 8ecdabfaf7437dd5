"""What the card of a network says: its parts, its epochs, and the score of validation rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from profuse.kinds import kind_named
from profuse.predictor.card import Block, Table
from profuse.predictor.described import changed_options, ends, label_of, number, option_table, worth_of_answers

if TYPE_CHECKING:
    from profuse.predictor.network import NetworkPredictor

__all__ = ["made_of", "scored_as"]


def made_of(model: NetworkPredictor) -> list[Block]:
    """Returns its parts, how long it was trained, and the options that differ from the defaults."""
    options = model.model_options.chosen(len(model.modalities), model.task)
    known = {} if model.trained_on is None else model.trained_on.options
    of_portfolio = {of: options for of, options in known.items() if of != "stream"}  # told where its rows are
    specs, n_members, train = model.pipeline.specs, model.model.n_members, model.train_options
    encoders = [(name, options.encoders.get(name) or kind_named(specs[name].kind).encoder) for name in model.modalities]
    return [
        f"One network: fusion {options.fusion!r} at the {model.model.plain.level} level, rounds {options.rounds}, "
        f"width {options.width}, {n_members:,} {'model' if n_members == 1 else 'models in one'}.",
        _epochs(model),
        *([f"Seed {train.seed}."] if model.trained_on is None else []),
        Table(("modality", "encoder"), tuple(encoders), 2),
        option_table(
            {"model": changed_options(model.model_options), "training": changed_options(train), **of_portfolio}
        ),
    ]


def _epochs(model: NetworkPredictor) -> str:
    history = model.history
    if history is None:
        return "How long it was trained is not known."
    kept = f"epoch {history.best_epoch}" if history.best_epoch else "epoch 0, its linear paths alone,"
    last = max(epoch.epoch for epoch in history.epochs)
    how_long = f"{last:,} {'epoch' if last == 1 else 'epochs'}"
    seconds = f"{history.fit_seconds:.1f} s"
    return f"Trained for {how_long} on {history.n_train_rows:,} rows in {seconds}; {kept} was kept."


def scored_as(model: NetworkPredictor) -> list[Block]:
    """Returns the score of held-out rows, where it has learned from a portfolio, and that of validation rows."""
    said: list[Block] = []
    about, history = model.about, model.history
    if "score" in about:
        (value, low, high), label = about["score"], label_of(str(about["metric"]))
        said.append(
            f"A network made so scores {label} {number(value)} ({ends(low, high)}) on {about['n_rows']:,} rows that it "
            f"has not learned from; the portfolio that taught it {number(float(about['portfolio']))}."
        )
    if isinstance(decided := about.get("decision"), Mapping):
        said += worth_of_answers(str(model.classes[-1]), decided, "validation")
    if history is not None and not math.isnan(history.best.valid_score):
        said.append(
            f"Validation {model.model.head.unit} {number(history.best.valid_score)}, without an interval. These rows "
            "chose the epoch: new rows may score lower."
        )
    if model.task != "regression":
        at = number(float(model.model.head.temperature))
        said.append(f"Probabilities were calibrated on validation rows: temperature {at}.")
    return said
