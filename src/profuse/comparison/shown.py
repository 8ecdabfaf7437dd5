"""What the method that a report shows has predicted for test rows: kept with the results, so that it is drawn again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from profuse.comparison.recommended import shown_method
from profuse.comparison.seed_rows import Outputs
from profuse.comparison.summary import summarise

if TYPE_CHECKING:
    from profuse.comparison.jobs import JobResult
    from profuse.comparison.results import Results
    from profuse.comparison.running import Run
    from profuse.data.dataset import Dataset

__all__ = ["add_outputs"]


def add_outputs(results: Results, run: Run, dataset: Dataset) -> None:
    """Keeps in `results.rows` what the method that is shown says of the test rows of each seed.

    Of labels nothing is kept: no picture is made of them.

    Args:
        results: Of the comparison; changed.
        run: Holds the fits.
        dataset: What was learned from.
    """
    method = shown_method(results, summarise(results))
    if method is None or dataset.task == "multilabel":
        return
    for seed, job in run.found[method].items():
        results.rows[seed].outputs = {method: _outputs(job, dataset)}


def _outputs(job: JobResult, dataset: Dataset) -> Outputs:
    if dataset.task == "regression":  # a fit keeps what training saw: float32
        rows = np.asarray(job.facts["test_rows"])
        true = np.asarray(dataset.target, dtype=np.float64)[rows].reshape(job.prediction.shape)
        return Outputs(true, job.prediction)
    if dataset.task == "binary":
        return Outputs(job.true.astype(np.int64), job.prediction[:, 1])
    answered = job.prediction.argmax(1)
    return Outputs(job.true.astype(np.int64), np.stack([answered, job.prediction.max(1)], axis=1))
