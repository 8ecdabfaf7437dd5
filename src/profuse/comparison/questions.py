"""Questions to the model that does best, asked at the end of a comparison, of test rows of its first seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from profuse.comparison.results import Asked
from profuse.comparison.summary import summarise
from profuse.errors import ConfigError, DataError
from profuse.inspect import ask, question
from profuse.predictor import load_model

if TYPE_CHECKING:
    from profuse.comparison.results import Results
    from profuse.comparison.running import Run
    from profuse.data.dataset import Dataset

__all__ = ["asked_of_best", "check_questions"]

_MOST_ROWS = 600


def check_questions(names: tuple[str, ...]) -> None:
    """Checks that there are questions of these names, before anything is fitted.

    Raises:
        UnknownNameError: There is none; the nearest names are told.
    """
    for name in names:
        question(name)


def asked_of_best(results: Results, run: Run, dataset: Dataset, questions: tuple[str, ...]) -> list[Asked]:
    """Returns the answers of the portfolio, or else of the best fusion, or else of the best classical model.

    A question that cannot be asked of it is not answered, and says why in the results' notes.

    Args:
        results: Of the comparison.
        run: Holds the fits.
        dataset: What was learned from.
        questions: Their names.
    """
    verdict = summarise(results).verdict
    together = [m.name for m in results.methods if m.role == "portfolio"]
    best = next((m for m in (*together, verdict.fusion, verdict.classical) if m is not None), None)
    if best is None or not questions:
        return []
    seed = min(run.found[best])
    test = np.asarray(run.found[best][seed].facts["test_rows"])
    if len(test) > _MOST_ROWS:
        test = np.sort(np.random.default_rng(seed).permutation(test)[:_MOST_ROWS])
    predictor, rows, answers = load_model(run.folders[best, seed] / "model"), dataset.rows(test), []
    for name in questions:
        try:
            answer = ask(predictor, rows, name, seed=seed)
        except (ConfigError, DataError) as error:
            results.dataset.notes.append(f"The question {name!r} was not answered: {error}")
            continue
        answers.append(Asked(method=best, seed=seed, answer=json.loads(answer.to_json())))
    return answers
