"""`model_card`: the card of a model, with what it is worth on rows that it has not learned from; and its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from profuse._escape import visible
from profuse.data.dataset import Dataset
from profuse.data.leaks import copy_notes
from profuse.errors import DataError, ProfuseError
from profuse.inspect import Question, question
from profuse.inspect.asked import Asked, check_target, read_asked
from profuse.metrics import default_metric, metrics_for
from profuse.predictor import Predictor, load_model
from profuse.predictor.card import Blank, Block, Card, Section, Table
from profuse.predictor.described import NOT_MEASURED, card_of, label_of, listed, number, share
from profuse.predictor.trained import ranges_of
from profuse.report.pages import page_template

__all__ = ["card_html", "model_card"]

_FEW_ROWS, _CONFORMAL_ROWS, _MOST_SHARED = 100, 100, 4
_N_RESAMPLES = 200


def model_card(
    model: str | Path | Predictor,
    rows: Any = None,
    *,
    target: Any = None,
    group: Sequence[str] = (),
    questions: Sequence[str] = (),
    source: Any = None,
    seed: int = 0,
) -> Card:
    """Returns the card of a model: what it knows of itself, and, with `rows`, what is measured on them.

    Measured are all metrics of the task, and the questions that its task and these rows allow: `calibration`,
    `importance`, `contribution` (of 2 to 4 modalities), `missing`, `conformal` (of 100 rows or more), and `audit` where
    groups are named. What of these cannot be measured is said, with the reason.

    Args:
        model: It, or its folder.
        rows: With a known target, that the model has not learned from; see `Predictor`.
        target: See `Predictor.read`.
        group: Columns whose values are groups that must be served alike.
        questions: More questions of `profuse.inspect.QUESTIONS` to ask.
        source: The table that `rows`, if they are a `Dataset`, were read from; it has columns that are no inputs.
        seed: Of all that is drawn at random.

    Raises:
        CheckpointError: The folder is not a saved model.
        DataError: The rows cannot be read, or have no target.
        UnknownNameError: There is no such question, or no such column of groups.
        ConfigError: A question of `questions` cannot be asked of this model.

    Example:
        >>> from profuse.report import model_card
        >>> print(model_card("model", "test.csv").markdown())  # doctest: +SKIP
    """
    predictor = load_model(model) if isinstance(model, str | Path) else model
    extra = [question(name).name for name in (*questions, *(["audit"] if group else []))]
    if rows is None:
        return card_of(predictor)
    dataset = read_asked(predictor, rows, target, who="card", stacklevel=4)
    check_target(dataset, who="card")
    told: set[str] = set()
    measured = [Section("Measured on other rows", tuple(_scores(predictor, dataset, seed, told)))]
    table = rows if source is None and not isinstance(rows, Dataset) else source
    for name in dict.fromkeys([*_asked(predictor, dataset), *extra]):
        asked = question(name).made(seed=seed, **({"group": list(group)} if name == "audit" and group else {}))
        asked = asked if table is None else asked.reading(table)
        measured.append(_answered(predictor, dataset, asked, told, must=name in extra))
    return card_of(predictor, measured, tuple(_limits(predictor, dataset)))


def _scores(predictor: Predictor, dataset: Dataset, seed: int, told: set[str]) -> Iterator[Block]:
    """Yields every metric with its interval, and the classes of the rows."""
    measured = predictor.evaluate(dataset)
    yield (
        f"{len(dataset):,} rows of {PurePath(dataset.name).name!r}, read as those of training. Whether it has "
        "learned from some of them is not known."
    )
    asked = Asked.of(predictor, dataset, default_metric(predictor.task), seed=seed, n_resamples=_N_RESAMPLES)
    outputs = predictor.predict_encoded(asked.inputs)
    rows = []
    for metric in metrics_for(predictor.task):
        if metric.name not in measured.values:
            continue
        try:
            scores = replace(asked, metric=metric).scores({(): outputs})
            _, low, high = scores.score(())
            interval = _span(low, high)
            told.update(scores.notes)
        except DataError:
            interval = "not defined on samples of these rows"
        better = "higher" if metric.higher_is_better else "lower"
        label = f"{metric.label}{f', {metric.unit}' if metric.unit else ''}"
        rows.append((label, better, number(measured.values[metric.name]), interval))
    yield from sorted(told)
    yield Table(("metric", "better is", "value", "95 % interval"), tuple(rows), 2)
    if predictor.task in ("binary", "multiclass"):
        counts = np.bincount(asked.true, minlength=len(predictor.classes))
        pairs = zip(predictor.classes, counts.tolist(), strict=True)
        yield Table(("class", "rows", "share"), tuple((str(c), f"{n:,}", share(n / len(dataset))) for c, n in pairs))
    notes = [n for n in (*dataset.notes, *copy_notes(dataset), *measured.notes) if n not in told]
    told.update(notes)
    yield from notes


def _asked(predictor: Predictor, dataset: Dataset) -> list[str]:
    """Returns the questions that the task and the rows allow."""
    n_modalities, task = len(predictor.modalities), predictor.task
    allowed = {
        "calibration": task in ("binary", "multiclass"),
        "importance": n_modalities > 1,
        "contribution": 1 < n_modalities <= _MOST_SHARED,
        "missing": n_modalities > 1,
        "conformal": task != "multilabel" and len(dataset) >= _CONFORMAL_ROWS,
    }
    return [name for name, is_allowed in allowed.items() if is_allowed]


def _answered(predictor: Predictor, dataset: Dataset, asked: Question, told: set[str], *, must: bool) -> Section:
    """Returns the answer to a question, or why there is none, unless it `must` be answered; notes are told once."""
    try:
        answer = asked.ask(predictor, dataset)
    except ProfuseError as error:
        if must:
            raise
        return Section(asked.name.capitalize(), (asked.description, f"{NOT_MEASURED}. {error}"))
    scored = any(e.score is not None for e in answer.estimates)
    label = label_of(answer.metric)
    columns = ("", "value", "95 % interval", *([label] if scored else []), "rows")
    rows = [
        (
            f"{e.name} *" if e.name in (answer.shown or ()) else e.name, number(e.value), _span(e.low, e.high),
            *(["" if e.score is None else number(e.score)] if scored else []), f"{e.n:,}",
        )
        for e in answer.estimates
    ]  # fmt: skip
    notes = [note for note in answer.notes if note not in told]
    told.update(notes)
    residual = [] if answer.residual is None else [f"Residual: {number(answer.residual)}."]
    said = f"Values: {answer.measures or 'what was asked'}{f', in {label}' if answer.metric else ''}."
    if answer.shown:
        notes = ["* shown after correction for how many were looked at.", *notes]
    return Section(asked.name.capitalize(), (asked.description, said, Table(columns, tuple(rows)), *residual, *notes))


def _limits(predictor: Predictor, dataset: Dataset) -> Iterator[str]:
    """Yields where these rows are others than those of training."""
    n_rows, trained = len(dataset), predictor.trained_on
    if n_rows < _FEW_ROWS:
        yield f"It was measured on {n_rows:,} rows: the intervals are wide."
    if predictor.task in ("binary", "multiclass"):
        codes = predictor.codec.encode(np.asarray(dataset.target))
        lacking = [repr(str(c)) for i, c in enumerate(predictor.classes) if i not in codes]
        if lacking:
            yield f"No row that it was measured on is of {listed(lacking)}."
    if trained is None:
        return
    for name in predictor.modalities:
        there = int(np.asarray(dataset.modalities[name].present).sum()) if name in dataset.modalities else 0
        if trained.present.get(name) == trained.n_rows and there < n_rows:
            yield f"{n_rows - there:,} of {n_rows:,} rows lack {name!r}, which every training row had."
    yield from _beyond(predictor, dataset)


def _beyond(predictor: Predictor, dataset: Dataset) -> Iterator[str]:
    """Yields columns, and targets, with numbers outside of what training rows held."""
    assert predictor.trained_on is not None
    n_rows = len(dataset)
    for name, columns in predictor.trained_on.ranges.items():
        data = dataset.modalities.get(name)
        frame = None if data is None else data.frame
        if name not in predictor.modalities or frame is None:
            continue
        held = ranges_of(frame)
        for column in (c for c in frame.columns if str(c) in columns and str(c) in held):
            low, high = columns[str(column)]
            values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
            if n_beyond := int(((values < low) | (values > high)).sum()):
                yield (
                    f"{_rows_have(n_beyond, n_rows)} {str(column)!r} outside of its range in training, "
                    f"{number(low)} to {number(high)}."
                )
    if predictor.task == "regression" and predictor.trained_on.quantiles:
        target = np.asarray(dataset.target, dtype=np.float64).reshape(n_rows, -1)
        for j, quantiles in enumerate(predictor.trained_on.quantiles):
            if n_beyond := int(((target[:, j] < quantiles[0]) | (target[:, j] > quantiles[-1])).sum()):
                yield f"{_rows_have(n_beyond, n_rows)} a true value outside of the range of training."


def _rows_have(n: int, n_rows: int) -> str:
    return f"{n:,} of {n_rows:,} rows {'has' if n == 1 else 'have'}"


def _span(low: float, high: float) -> str:
    known = np.isfinite(low) and np.isfinite(high)
    return f"{number(low)} to {number(high)}" if known else "not known"


def card_html(card: Card) -> str:
    """Returns the card as one self-contained page: no script, no network; what is to be filled in is marked."""
    return page_template("card.html").render(
        title=card.title,
        lede=card.lede,
        sections=[{"title": s.title, "parts": list(_parts(s.blocks))} for s in card.sections],
        visible=visible,
    )


def _parts(blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """Yields tables, and lists of neighbouring sentences."""
    lines: list[dict[str, Any]] = []
    for block in blocks:
        if not isinstance(block, Table):
            blank = isinstance(block, Blank)
            lines.append({"text": block.asks if isinstance(block, Blank) else block, "blank": blank})
            continue
        if lines:
            yield {"lines": lines, "table": None}
            lines = []
        yield {"lines": [], "table": block}
    if lines:
        yield {"lines": lines, "table": None}
