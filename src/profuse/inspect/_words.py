"""Answers of a predictor and values of the data, as JSON holds them and as notes tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from profuse.inspect.answer import Estimate
    from profuse.predictor import Predictor

__all__ = ["answers", "ends_of", "plain", "resampled", "short", "words"]


def answers(predictor: Predictor, outputs: np.ndarray) -> list[Any]:
    """Returns what is answered for each row of outputs, as plain values."""
    if predictor.task == "regression":
        return [[float(x) for x in of] if len(of) > 1 else float(of[0]) for of in outputs]
    if predictor.task == "multilabel":
        return [[str(c) for c, p in zip(predictor.classes, of, strict=True) if p >= 0.5] for of in outputs]
    return [str(predictor.classes[code]) for code in predictor.decision.codes(outputs)]


def ends_of(e: Estimate, *, sign: int = 1, places: int = 4) -> str:
    """Returns a value with its interval: "0.0569 (0.0366 to 0.0773)"; those of its negative where `sign` is -1."""
    low, high = sorted((sign * e.low, sign * e.high))
    known = low == low and high == high and low != high
    return f"{sign * e.value:.{places}f}" + (f" ({low:.{places}f} to {high:.{places}f})" if known else "")


def plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return [plain(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, int | float | str) else str(value)


def resampled(clusters: np.ndarray) -> str:
    """Returns of what bootstrap samples are made: rows, or groups of them, one number `[row]` each."""
    n = len(set(clusters.tolist()))
    return f"{n} groups of rows" if n < len(clusters) else f"{n} rows"


def words(value: Any) -> str:
    """Returns an answer as it is told."""
    if isinstance(value, list):
        return ", ".join(map(words, value)) or "no label"
    return f"{value:.4g}" if isinstance(value, float) else repr(str(value))


def short(label: str) -> str:
    """Returns a label of one line."""
    line = " ".join(label.split())
    return line if len(line) <= 40 else f"{line[:37]}..."
