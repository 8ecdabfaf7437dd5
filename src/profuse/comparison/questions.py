"""Questions to the model that does best, asked at the end of a comparison, of test rows of its first seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from profuse.comparison.results import Asked
from profuse.comparison.summary import summarise
from profuse.errors import ConfigError, DataError
from profuse.inspect import ask, question
from profuse.inspect.shapley import MOST_EXACT
from profuse.predictor import Predictor, load_model

if TYPE_CHECKING:
    from profuse.comparison.results import Results
    from profuse.comparison.running import Run
    from profuse.data.dataset import Dataset

__all__ = ["asked_of_best", "check_questions"]

_MOST_ROWS, _FEWEST_ROWS = 600, 200
_MOST_PREDICTIONS = 400_000  # rows x models x subsets of the modalities: half a minute or so


def check_questions(names: tuple[str, ...]) -> None:
    """Checks that there are questions of these names, before anything is fitted.

    Raises:
        UnknownNameError: There is none; the nearest names are told.
    """
    for name in names:
        question(name)


def asked_of_best(results: Results, run: Run, dataset: Dataset, questions: tuple[str, ...]) -> list[Asked]:
    """Returns the answers of the portfolio, or else of the best fusion, or else of the best classical model.

    One that would take long (a portfolio of many models and modalities) is passed over for the next; the last one is
    asked of fewer rows. A question that cannot be asked of it is not answered, and says why in the results' notes.

    Args:
        results: Of the comparison.
        run: Holds the fits.
        dataset: What was learned from.
        questions: Their names.
    """
    verdict = summarise(results).verdict
    together = [m.name for m in results.methods if m.role == "portfolio"]
    candidates = [m for m in (*together, verdict.fusion, verdict.classical) if m is not None]
    if not candidates or not questions:
        return []
    for best in candidates:
        seed = min(run.found[best])
        test = np.random.default_rng(seed).permutation(run.found[best][seed].facts["test_rows"])
        predictor = load_model(run.folders[best, seed] / "model")
        n_rows = _affordable(predictor, len(test))
        if n_rows >= min(_FEWEST_ROWS, len(test)):
            break
    rows, answers = dataset.rows(np.sort(test[: max(n_rows, _FEWEST_ROWS)])), []
    for name in questions:
        try:
            answer = ask(predictor, rows, name, seed=seed)
        except (ConfigError, DataError) as error:
            results.dataset.notes.append(f"The question {name!r} was not answered: {error}")
            continue
        answers.append(Asked(method=best, seed=seed, answer=json.loads(answer.to_json())))
    return answers


def _affordable(predictor: Predictor, n_rows: int) -> int:
    """Returns of how many rows all subsets of the modalities are predicted by so many models in moderate time."""
    n_subsets = 2 ** min(len(predictor.modalities), MOST_EXACT)
    return int(min(_MOST_ROWS, n_rows, _MOST_PREDICTIONS // (n_subsets * predictor.n_fits)))
