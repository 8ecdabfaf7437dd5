"""What a finished predictor loses when a column of a table is exchanged among rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from profuse._lookup import resolve
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError
from profuse.inspect.answer import Answer, Estimate
from profuse.inspect.asked import Asked
from profuse.inspect.intervals import Scores, half_of

__all__ = ["columns_answer", "exchange"]

_STREAM = 5_772_156  # data, a split or noise drawn with the same seed must have nothing to do with the exchanges


def exchange(n_rows: int, seed: int, repeat: int) -> np.ndarray:
    """Returns a random order of rows: the r-th of this seed."""
    return np.random.default_rng([_STREAM, seed, repeat]).permutation(n_rows)


def columns_answer(asked: Asked, dataset: Dataset, table: str, *, repeats: int, who: str) -> Answer:
    """Returns `score(all) - score(column exchanged)` for each column, the mean of `repeats` random orders.

    The rows that have the table exchange cells among themselves. The residual is what exchanging the whole table costs,
    less the sum.

    Args:
        asked: The rows.
        dataset: The same, not yet encoded.
        table: A modality.
        repeats: At least 2.
        who: The question.

    Raises:
        UnknownNameError: The predictor uses no such modality.
        ConfigError: It is no table.

    Reference:
        Breiman, "Random Forests" (2001).
    """
    resolve(table, dict.fromkeys(asked.used), where=f"{who}: within", what="modality")
    frame = dataset.modalities[table].frame
    if frame is None:
        raise ConfigError(
            f"{who}: within must be a table; got within={table!r}, which is of kind "
            f"{dataset.modalities[table].kind!r}. Leave it out to ask of whole modalities."
        )
    scores = asked.scores(_predictions(asked, dataset, table, repeats))
    found, errors = [], []
    for column in frame.columns:
        (value, low, high), error, score = _loss(scores, column, repeats)
        found.append(Estimate(str(column), value, low, high, len(dataset), score, (table,)))
        errors.append(error)
    (whole, _, _), _, _ = _loss(scores, None, repeats)
    return Answer(
        question=who,
        metric=asked.metric.name,
        n_rows=len(dataset),
        estimates=tuple(sorted(found, key=lambda e: -e.value)),
        residual=whole - sum(e.value for e in found),
        notes=(
            f"The rows that have {table!r} exchange the cells of one column, {repeats} times at random. Intervals hold "
            f"the error of this too, up to {max(errors):.4f} to either side.",
            f"Exchanging all of {table!r} costs {whole:.4f}; the residual is what this differs by from the sum. Above "
            "0: columns stand in for one another. Below 0: they are needed together.",
            *asked.notes(scores),
        ),
        measures="what is lost when a column is exchanged among rows",
        score=scores[()],
    )


def _predictions(asked: Asked, dataset: Dataset, table: str, repeats: int) -> dict[Any, np.ndarray]:
    """Returns what is predicted: as it is, and by column (None: all) and repeat."""
    data, predictor, inputs = dataset.modalities[table], asked.predictor, asked.inputs
    nobody = np.zeros(len(dataset), dtype=bool)  # the other modalities are not encoded anew
    others = {name: replace(other, present=nobody) for name, other in dataset.modalities.items()}
    there = np.flatnonzero(data.present)
    predictions: dict[Any, np.ndarray] = {(): predictor.predict_encoded(inputs)}
    for r in range(repeats):
        order = np.arange(len(dataset))
        order[there] = there[exchange(len(there), asked.seed, r)]
        parts = {None: inputs[table].rows(torch.as_tensor(order))}
        for column in data.values.columns:
            changed = data.values.copy()
            changed[column] = data.values[column].take(order).set_axis(changed.index)
            some = replace(dataset, modalities={**others, table: replace(data, values=changed)})
            parts[column] = predictor.encode(some)[table]
        for column, part in parts.items():
            predictions[column, r] = predictor.predict_encoded({**inputs, table: part})
    return predictions


def _loss(scores: Scores, column: Any, repeats: int) -> tuple[tuple[float, float, float], float, float]:
    """Returns what is lost, with its interval; half of the interval of what was drawn; and the score that is left."""
    each = [(column, r) for r in range(repeats)]
    error = half_of([scores.gain((), one)[0] for one in each])
    found = scores.combined({(): 1.0} | dict.fromkeys(each, -1 / repeats), more=error)
    return found, error, float(np.mean([scores[one] for one in each]))
