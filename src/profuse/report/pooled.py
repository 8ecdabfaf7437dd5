"""What the method that a report shows says of the test rows of all seeds, pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Results
from profuse.comparison.summary import Summary

__all__ = ["Pooled"]


@dataclass(frozen=True, eq=False)
class Pooled:
    """Predictions of all fits together; a row that several fits were tested on is there several times.

    Attributes:
        method: The method.
        true: `[prediction, ...]`, see `profuse.comparison.seed_rows.Outputs`.
        said: `[prediction, ...]`, see there.
        fit: `[prediction]`: the seed.
        unit: `[prediction]`: the row, or its group; those of one unit are not independent.
        n_rows: Distinct rows.
        grouped: Whether units are groups.
    """

    method: str
    true: np.ndarray
    said: np.ndarray
    fit: np.ndarray
    unit: np.ndarray
    n_rows: int
    grouped: bool

    @classmethod
    def of(cls, results: Results, summary: Summary) -> Pooled | None:
        """Returns those of the method that is shown; None where none are kept."""
        method = shown_method(results, summary)
        kept = {seed: rows for seed, rows in sorted(results.rows.items()) if method in rows.outputs}
        if method is None or not kept:
            return None
        outputs = [rows.outputs[method] for rows in kept.values()]
        ids = np.concatenate([rows.ids.astype(str) for rows in kept.values()])
        grouped = all(rows.groups is not None for rows in kept.values())
        tied = [np.asarray(rows.groups if grouped else rows.ids).astype(str) for rows in kept.values()]
        return cls(
            method=method,
            true=np.concatenate([o.true for o in outputs]),
            said=np.concatenate([o.said for o in outputs]),
            fit=np.repeat(list(kept), [len(o.true) for o in outputs]),
            unit=np.unique(np.concatenate(tied), return_inverse=True)[1],
            n_rows=len(np.unique(ids)),
            grouped=grouped,
        )

    @property
    def worth(self) -> float:
        """Independent units a prediction, at most 1: intervals count each unit once, not each prediction."""
        return len(np.unique(self.unit)) / len(self.unit)

    def told(self) -> dict[str, Any]:
        """Returns of what and how many the pictures are."""
        return {
            "n_fits": len(np.unique(self.fit)), "n_predictions": len(self.unit), "n_rows": self.n_rows,
            "n_units": len(np.unique(self.unit)), "grouped": self.grouped,
        }  # fmt: skip
