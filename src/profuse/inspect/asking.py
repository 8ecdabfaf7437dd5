"""`ask`: the door to all questions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer
from profuse.registry import table

if TYPE_CHECKING:
    from profuse.predictor import Predictor

__all__ = ["ask", "question_called"]


def question_called(name: str) -> type[Question]:
    """Returns the class of the question called `name`.

    Raises:
        UnknownNameError: There is none; the nearest names are told.
    """
    return cast("type[Question]", table("question").part(name, where="ask"))


def ask(
    predictor: Predictor,
    rows: Any,
    question: str | Question,
    *,
    metric: str | None = None,
    seed: int | None = None,
    target: Any = None,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Answer:
    """Asks a question of a predictor and rows whose target is known.

    The answer depends on what the rows hold and on the seed, not on the order of the rows. The predictor stays as it
    is.

    Args:
        predictor: A network or a classical model: see `profuse.load_model`, `Comparison.predictor`, `predictor_`.
        rows: A path, a frame, arrays by modality or a `Dataset`; see `Predictor.read`.
        question: Its name, or a `Question` with options of its own.
        metric: Name of a metric of the task; AUROC of two classes, else the primary one, if None.
        seed: Of all that is drawn at random; 0 if None.
        target: The target's columns, or its values, where the rows do not say.
        on_progress: Called after each prediction of a fitted model, with how many are done and how many are known to be
            needed so far; these are all where the question's `plans_all` is True.
        options: Of the question: the keyword-only arguments of its class.

    Raises:
        DataError: The rows cannot be read, or have no target.
        UnknownNameError: There is no such question or metric.
        ConfigError: A wrong option, or a question that cannot be asked of this predictor or task.

    Example:
        >>> from profuse.inspect import ask
        >>> ask(profuse.load_model("model"), "test.csv", "importance")  # doctest: +SKIP
    """
    from profuse.predictor.watching import watched

    options |= {k: v for k, v in (("metric", metric), ("seed", seed)) if v is not None}
    if isinstance(question, Question):
        if options:
            raise ConfigError(f"ask: options must be given to the question itself; got {', '.join(options)} besides.")
        asked = question
    else:
        asked = question_called(question).made(**options)
    with watched(on_progress):
        return asked.ask(predictor, rows, target=target)
