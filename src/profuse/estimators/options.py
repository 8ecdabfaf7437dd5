"""What an estimator takes besides the options of its model and of training. This module loads no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from profuse._fields import Shown
from profuse.data.table.options import ReadOptions

__all__ = ["FitOptions"]

_LARGEST_SEED = 2**32 - 1


class FitOptions(ReadOptions):
    """How X is read, which rows choose the epoch, and the seed."""

    validation_fraction: Annotated[float, Shown(common=True, metavar="FRACTION")] = Field(
        0.2, gt=0, lt=1, description="Fraction of the rows (of the groups) that choose the epoch."
    )
    metric: str | None = Field(
        None,
        description="Metric that counts: mae, rmsle, spearman and concordance choose the epoch, others leave it be.",
    )
    random_state: Any = Field(0, description="An int, for equal results again; None for other ones each time.")

    @field_validator("random_state")
    @classmethod
    def _seed(cls, value: Any) -> Any:
        import numpy as np

        whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value <= _LARGEST_SEED
        if not (value is None or isinstance(value, np.random.RandomState) or whole):
            raise ValueError(
                f"random_state must be an int from 0 to {_LARGEST_SEED}, a RandomState or None; "
                f"got random_state={value!r}"
            )
        return value
