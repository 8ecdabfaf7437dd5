"""The surest errors of the model that a report shows, with what the rows hold, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Surest, SurestRow
from profuse.comparison.summary import summarise
from profuse.inspect.contents import contents, side_of_pictures

if TYPE_CHECKING:
    from profuse.comparison.jobs import JobResult
    from profuse.comparison.results import Results
    from profuse.comparison.running import Run
    from profuse.data.dataset import Dataset

__all__ = ["surest_errors"]


def surest_errors(results: Results, run: Run, dataset: Dataset, n: int) -> Surest | None:
    """Returns the test rows of the first seed about which the method that is shown is wrong with most confidence.

    Of classes and labels those with the highest probability of what is wrong, of numbers those with the largest error
    in standard deviations of all errors. None where nothing is wrong, or none is asked for.

    Args:
        results: Of the comparison.
        run: Holds the fits.
        dataset: What was learned from.
        n: Rows at most.
    """
    method = shown_method(results, summarise(results))
    if method is None or n == 0:
        return None
    seed = min(run.found[method])
    job = run.found[method][seed]
    sure, wrong = _sure(job, dataset)
    most = [int(i) for i in np.argsort(-sure, kind="stable")[:n] if sure[i] > 0]
    if not most:
        return None
    numbers, side = np.asarray(job.facts["test_rows"]), side_of_pictures(dataset.modalities, n)
    rows = [
        SurestRow(
            id=str(numbers[i] if dataset.ids is None else np.asarray(dataset.ids)[numbers[i]]),
            **_told(job, dataset, i),
            sure=float(sure[i]),
            parts=contents(dataset.modalities, int(numbers[i]), side),
        )
        for i in most
    ]
    return Surest(method=method, seed=seed, n_wrong=wrong, n_rows=len(sure), rows=rows)


def _sure(job: JobResult, dataset: Dataset) -> tuple[np.ndarray, int | None]:
    """Returns how sure of what is wrong, `[row]`, and how many rows are; of numbers, which all are, None."""
    said, true = np.asarray(job.prediction, dtype=np.float64), job.true
    if dataset.task == "regression":
        spread = (said - true).std(0)
        return (np.abs(said - true) / np.where(spread > 0, spread, np.inf)).max(1), None
    if dataset.task == "multilabel":
        wrong = (said >= 0.5) != (true > 0.5)
        return np.where(wrong, np.maximum(said, 1 - said), -1.0).max(1), int(wrong.any(1).sum())
    off = said.argmax(1) != true
    return np.where(off, said.max(1), -1.0), int(off.sum())


def _told(job: JobResult, dataset: Dataset, i: int) -> dict[str, Any]:
    """Returns what is predicted of a row and what is true."""
    classes, said, true = job.facts["classes"], job.prediction[i], job.true[i]
    if dataset.task == "regression":
        return {"predicted": [float(v) for v in said], "truth": [float(v) for v in true]}
    if dataset.task == "multilabel":
        pairs = [(c, p >= 0.5, y > 0.5) for c, p, y in zip(classes, said, true, strict=True)]
        return {"predicted": [c for c, p, _ in pairs if p], "truth": [c for c, _, y in pairs if y]}
    return {"predicted": [classes[int(said.argmax())]], "truth": [classes[int(true)]]}
