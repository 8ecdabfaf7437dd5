"""`card_of`: what a fitted model knows of itself, as a `Card`. Nothing is said that is not known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from profuse.kinds import kind_named
from profuse.metrics import METRICS, aim_of
from profuse.metrics import metric as metric_called
from profuse.predictor.card import Blank, Block, Card, Section, Table

if TYPE_CHECKING:
    from profuse.predictor.base import Predictor
    from profuse.predictor.trained import TrainedOn

__all__ = [
    "NOT_MEASURED",
    "card_of",
    "changed_options",
    "ends",
    "label_of",
    "listed",
    "number",
    "option_table",
    "share",
    "worth_of_answers",
]

NOT_MEASURED = "Not measured"
_FEW_ROWS, _FEW_OF_A_CLASS, _LISTED = 1_000, 30, 8
_CONFIDENTIAL = (
    "Its folder may hold data of training rows: words, categories, numbers, and some rows whole. Keep it as "
    "confidential as they are."
)
_USE = (
    "What is it for, and who uses it?",
    "What must it not be used for?",
    "Whom do wrong answers harm, and how is that watched?",
    "Who answers for it, and when is it fitted anew?",
)


def card_of(predictor: Predictor, measured: Sequence[Section] = (), limits: Sequence[str] = ()) -> Card:
    """Returns the card of a model.

    Args:
        predictor: The model.
        measured: What was measured on rows besides those of training.
        limits: That follow from it.
    """
    sections = (
        Section("What it predicts", tuple(_predicts(predictor))),
        Section("What it was trained on", tuple(_trained(predictor))),
        Section("How it was made", _sentences_first([*predictor.card_made(), *_made(predictor)])),
        Section("Scores of training", tuple(_scores(predictor))),
        *measured,
        Section("Limits", (*_limits(predictor), *limits, _CONFIDENTIAL)),
        Section("Use", tuple(Blank(asks) for asks in _USE)),
    )
    return Card(listed([str(n) for n in predictor.codec.names]), _lede(predictor), sections)


def _sentences_first(blocks: Sequence[Block]) -> tuple[Block, ...]:
    return tuple(sorted(blocks, key=lambda block: isinstance(block, Table)))


def number(value: float) -> str:
    """`0.81234` -> "0.8123", `59348.2` -> "59,350"; larger ones with four digits, small ones with three."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    if 1e4 <= abs(value) < 1e9:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"


def ends(low: float, high: float) -> str:
    """The interval of a number in words."""
    known = math.isfinite(low) and math.isfinite(high)
    return f"95 % interval {number(low)} to {number(high)}" if known else "interval not known"


def share(part: float) -> str:
    """`0.25` -> "25.0 %"."""
    return f"{100 * part:.1f} %"


def label_of(name: str) -> str:
    """Returns a metric as a reader says it."""
    return metric_called(name).label if name in METRICS else name.replace("_", " ")


def listed(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def changed_options(options: BaseModel) -> dict[str, Any]:
    """Returns what differs from the defaults, as JSON values."""
    return options.model_dump(mode="json", exclude_defaults=True)


def option_table(options: Mapping[str, Mapping[str, Any]]) -> Table | str:
    """Returns options that differ from the defaults; of paths of a machine only the last part."""
    rows = [(of, name, _told(value)) for of, each in options.items() for name, value in each.items()]
    if not rows:
        return "All options have their defaults."
    return Table(
        ("of", "option", "value"),
        tuple(rows),
        3,
        "Options that differ from the defaults: asked for, or chosen by the data",
    )


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_told(of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    text = str(value)
    return PurePath(text.replace("\\", "/")).name if re.match(r"[/~\\]|[A-Za-z]:[\\/]", text) else text


def _lede(predictor: Predictor) -> str:
    names, task = [repr(str(n)) for n in predictor.codec.names], predictor.task
    if task == "regression":
        what = f"the number {names[0]}" if len(names) == 1 else f"{len(names)} numbers: {listed(names)}"
        return f"It predicts {what}, in the units of the training rows."
    classes = [repr(str(c)) for c in predictor.classes]
    if task == "multilabel":
        return f"It predicts which of {len(classes)} labels a row has: {listed(classes)}."
    return f"It predicts {listed(names)}: one of {len(classes)} classes, {listed(classes)}."


def _predicts(predictor: Predictor) -> list[Block]:
    blocks: list[Block] = list(_decision(predictor))
    names, trained, schema = predictor.modalities, predictor.trained_on, predictor.schema
    if not names:
        return [*blocks, "It reads no modality: it answers the same for every row."]
    blocks.append(
        f"It reads {len(names)} {'modality' if len(names) == 1 else 'modalities'}. A row may lack any of them: the "
        "model answers for such rows too."
    )
    rows = []
    for name in names:
        spec = predictor.pipeline.specs[name]
        of = schema.modalities.get(name) if schema is not None else None
        there = None if trained is None else trained.present.get(name)
        known = "not known" if trained is None or there is None else f"{there:,} ({share(there / trained.n_rows)})"
        columns = "" if of is None else listed(of.columns)
        rows.append((name, spec.kind, kind_named(spec.kind).describe(spec), columns, known))
    return [*blocks, Table(("modality", "kind", "size", "columns", "training rows that have it"), tuple(rows), 4)]


def _decision(predictor: Predictor) -> list[Block]:
    decision, classes = predictor.decision, [str(c) for c in predictor.classes]
    if predictor.task == "regression":
        trained = predictor.trained_on
        said: list[Block] = []
        if trained is not None and trained.metric:
            said.append(f"It learned {aim_of(trained.quantile)}, as {trained.metric!r} asks.")
        return [*said, "It gives a number without an interval; 'profuse predict --conformal' adds one."]
    if predictor.task == "multilabel":
        return ["It gives a probability of each label, and answers those of at least 0.5."]
    gives = "It gives a probability of each class"
    if decision.threshold is not None:
        at = number(decision.threshold)
        return [f"{gives}, and answers {classes[1]!r} where its probability is at least {at}, else {classes[0]!r}."]
    if decision.cost is None:
        return [f"{gives}, and answers the most probable one."]
    rows = tuple((name, *map(number, row)) for name, row in zip(classes, decision.cost, strict=True))
    return [
        f"{gives}, and answers the one with the smallest expected cost.",
        Table(("true class", *(f"answer {c}" for c in classes)), rows, title="What an answer costs"),
    ]


def worth_of_answers(second: str, decided: Mapping[str, Any], rows: str) -> list[str]:
    """Returns what `about` tells of a threshold or costs, measured on `rows` ("held-out", "validation")."""
    said = []
    if "n_answered" in decided:
        of = f"{decided['n_rows']:,} {rows} rows" if "n_rows" in decided else f"{rows} rows"
        said.append(
            f"It answers {second!r} in {decided['n_answered']:,} {'of ' if 'n_rows' in decided else ''}{of}, "
            f"of which {decided['n_right']:,} are; {decided['n_there']:,} are in all."
        )
    if "score" in decided:
        value, low, high = decided["score"]
        said.append(
            f"{rows.capitalize()} {label_of(str(decided['metric']))} of its answers {number(value)} "
            f"({ends(low, high)}); of the most probable class {number(float(decided['most_probable']))}."
        )
    return said


def _trained(predictor: Predictor) -> list[Block]:
    trained = predictor.trained_on
    if trained is None:
        return ["Not known: the model was saved without it."]
    name = f" of {trained.data!r}" if trained.data else ""
    blocks: list[Block] = [f"{trained.n_rows:,} rows{name}. {_used(trained)}"]
    drawn = trained.options.get("stream", {}).get("sample_rows")
    if drawn is not None:
        blocks.append(
            f"Kinds of columns, preprocessing and linear paths were learned from {drawn:,} of them, drawn at random."
        )
    groups = trained.n_groups
    blocks.append(
        ("Rows had no groups" if groups is None else f"Rows of one group stayed together ({groups:,} groups)")
        + ("; they had times, in whose order they were cut." if trained.by_time else "; they had no times.")
    )
    blocks.append(
        "Rows or classes had different weights in learning." if trained.weighted else "All rows counted alike."
    )
    if trained.counts:
        what = "label" if predictor.task == "multilabel" else "class"
        rows = [
            (str(c), f"{n:,}", share(n / trained.n_rows))
            for c, n in zip(predictor.classes, trained.counts, strict=True)
        ]
        blocks.append(Table((what, "training rows", "share"), tuple(rows)))
    if trained.quantiles:
        names = [str(n) for n in predictor.codec.names]
        columns = ("predicted number", "smallest", "lower quartile", "median", "upper quartile", "largest")
        numbers = [
            (n, *map(number, q)) for n, q in zip(_names(names, len(trained.quantiles)), trained.quantiles, strict=True)
        ]
        blocks.append(Table(columns, tuple(numbers)))
    return blocks


def _names(names: Sequence[str], n: int) -> Sequence[str]:
    return names if len(names) == n else [f"{names[0]} {i}" for i in range(n)]


def _used(trained: TrainedOn) -> str:
    """Returns in words how rows were cut."""
    if trained.n_folds:
        by = "later rows are predicted from earlier ones" if trained.by_time else "each holds out rows in turn"
        return f"They were cut into {trained.n_folds} folds: {by}."
    if trained.n_validation:
        return (
            f"{trained.n_validation:,} of them chose epochs or strengths; before that "
            f"{trained.n_rows - trained.n_validation:,} were learned from."
        )
    return "All were learned from."


def _made(predictor: Predictor) -> list[Block]:
    trained = predictor.trained_on
    blocks: list[Block] = [f"{predictor.n_parameters:,} numbers were learned."]
    if trained is None:
        return [*blocks, "When and where it was made is not known."]
    machine = trained.machine
    versions = [f"{name} {version}" for name, version in machine.versions.items()]
    blocks.append(
        f"Made on {trained.date} by {', '.join([*versions, f'Python {machine.python}'])}, on {machine.platform} with "
        f"{machine.cpu_count} processor cores."
    )
    if trained.seed is not None:
        blocks.append(f"Seed {trained.seed}.")
    return blocks


def _scores(predictor: Predictor) -> list[Block]:
    known = predictor.card_scores()
    return list(known) if known else [f"{NOT_MEASURED}: no score was kept of this model."]


def _limits(predictor: Predictor) -> list[Block]:
    trained = predictor.trained_on
    said: list[Block] = []
    if trained is None:
        said.append("What rows it was trained on is not known: nothing tells for which new rows it was made.")
    else:
        said += _limits_of_rows(predictor, trained)
    return said


def _limits_of_rows(predictor: Predictor, trained: TrainedOn) -> list[str]:
    said = []
    if trained.n_rows < _FEW_ROWS:
        said.append(f"It has learned from {trained.n_rows:,} rows: what is rare among them is hardly learned.")
    few = [
        f"{n:,} of {str(c)!r}" for c, n in zip(predictor.classes, trained.counts, strict=False) if n < _FEW_OF_A_CLASS
    ]
    if few:
        said.append(f"Few training rows: {listed(few)}. Scores say little of these.")
    full = [repr(n) for n in predictor.modalities if trained.present.get(n) == trained.n_rows]
    if full and len(predictor.modalities) > 1:
        said.append(f"Every training row had {listed(full)}: how it answers without was not learned from such rows.")
    if trained.n_groups is None and not trained.by_time:
        said.append(
            "Rows were taken for independent. If several belong to one person, place or day, its scores of training "
            "are too good."
        )
    if not trained.by_time:
        said.append("Rows had no times: whether it still holds for later rows was not looked at.")
    if trained.weighted and predictor.task != "regression":
        said.append("Learning was weighted: its probabilities are those of rows so weighted.")
    return said
