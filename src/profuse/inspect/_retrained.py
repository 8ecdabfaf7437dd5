"""What a model loses without a modality, beside what it would lose had it been trained without: of `missing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profuse.errors import ConfigError
from profuse.inspect.answer import Answer, Estimate

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.inspect.intervals import Scores

__all__ = ["needed_told", "refits", "retrained"]

_HIDDEN, _AGAIN = "hidden", "retrained"


def refits(asked: Asked, dataset: Dataset, train: Any) -> tuple[dict[Any, np.ndarray], tuple[str, ...]]:
    """Returns predictions with each modality hidden, and of the model fitted anew: with all, and without each; notes.

    Args:
        asked: The rows that are asked about.
        dataset: The same, as they were read.
        train: Rows to fit to, as `Predictor.read` takes them.

    Raises:
        ConfigError: The predictor cannot be fitted anew, or uses one modality.
        DataError: The rows cannot be read, have no target, or cannot be learned from.
    """
    from profuse.inspect.asked import n_shared, predict_without, read_asked
    from profuse.training.retraining import Retraining

    predictor = asked.predictor
    if len(predictor.modalities) < 2:
        raise ConfigError(
            f"missing: retrain must be asked of a model of two modalities or more; got modalities="
            f"{list(predictor.modalities)}. Without its only one a model has nothing to learn from."
        )
    rows = read_asked(predictor, train, None, who="missing", stacklevel=7, to_learn=True)
    again = Retraining.of(predictor, rows, who="missing")
    names = asked.used
    hidden = predict_without(predictor, asked.inputs, [(name,) for name in names])
    predictions: dict[Any, np.ndarray] = {(_HIDDEN, name): hidden[name,] for name in names}
    for gone in ((), *((name,) for name in names)):
        fitted = again.without(gone)
        predictions[_AGAIN, *gone] = fitted.predict_encoded(fitted.encode(dataset))
    if not (n := n_shared(dataset, rows, predictor.modalities)):
        return predictions, ()
    return predictions, (
        f"{n} of the {len(dataset)} rows asked about hold what a row to retrain with holds: of rows that a model has "
        "learned from, what is lost without a modality says little. Ask about others.",
    )


def retrained(asked: Asked, scores: Scores) -> tuple[tuple[Estimate, ...], tuple[str, ...]]:
    """Returns three estimates for each modality, after one of all, and what they say.

    - `all, retrained`: what the model loses by being fitted anew with all modalities: near 0, if `retrain` are the rows
      that it has learned from.
    - `NAME hidden`: what the model loses when the modality is hidden from it.
    - `without NAME, retrained`: what is lost though it is trained without: what no other modality makes up for.
    - `NAME: recovered`: the second less the third, what training without it regains.
    """
    label = asked.metric.name
    control = asked.loss(scores, "all, retrained", (_AGAIN,), modalities=tuple(asked.used))
    lines, notes = [control], []
    for name in asked.used:
        hidden = asked.loss(scores, f"{name} hidden", (_HIDDEN, name), modalities=(name,))
        alone = asked.loss(scores, _without(name), (_AGAIN, name), modalities=(name,))
        regained = asked.loss(
            scores, f"{name}: recovered", (_HIDDEN, name), better=(_AGAIN, name), of=(_AGAIN, name), modalities=(name,)
        )
        lines += [hidden, alone, regained]
        notes.append(_verdict(name, label, hidden, alone, regained))
    notes.append(
        "Fitted anew, each once: intervals speak of rows, not of other fits. What is lost beyond chance though the "
        "model is trained without a modality stands in no other one; what training without it recovers is what the "
        "model leans on it for without need."
    )
    if not control.low <= 0 <= control.high:
        notes.append(
            f"Fitted anew with all modalities the model loses {control.value:.4f}: the rows to retrain with are not "
            "those that it has learned from. Hold lines of retrained models against this one."
        )
    return tuple(lines), tuple(notes)


def needed_told(answer: Answer) -> str:
    """Returns a sentence on what the model cannot do without; "" where it was not fitted anew."""
    alone = [e for e in answer.estimates if len(e.modalities) == 1 and e.name == _without(e.modalities[0])]
    if not alone:
        return ""
    needed = [e.modalities[0] for e in alone if e.low > 0]
    return f" It cannot do without {' and '.join(needed)}." if needed else " Of no modality is it shown to be needed."


def _without(name: str) -> str:
    return f"without {name}, retrained"


def _verdict(name: str, label: str, hidden: Estimate, alone: Estimate, regained: Estimate) -> str:
    """Returns what the estimates of a modality say of it, as far as their intervals tell."""
    costs = f"hidden it costs {hidden.value:.4f} {label}, trained without it {alone.value:.4f}"
    needed, leans = alone.low > 0, regained.low > 0
    if needed and leans:
        return f"{name!r}: the model cannot do without it, and leans on it more than it must: {costs}."
    if needed:
        return f"{name!r}: the model cannot do without it: {costs}."
    if leans:
        return f"{name!r}: the model leans on it and could do without: {costs}, which is not shown to be above 0."
    if hidden.low > 0:
        return f"{name!r}: whether the model could do without it cannot be told of these rows: {costs}."
    return f"{name!r}: that the model needs it is not shown: {costs}."
