"""Classical models that take little time, where a test is of something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def few_trees() -> Iterator[None]:
    """In this process the classical model of one modality chooses among fewer, as on data beyond its bounds; random
    and boosted trees, and penalties of linear models, are few. `tests/classical` tests them as they are.
    """
    from profuse.classical import _boosting, extra_trees, gradient_boosting, linear, yardstick

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yardstick, "_LOGISTIC", 0.0)
        patch.setattr(yardstick, "_TREES", 0.0)
        patch.setattr(extra_trees, "_N_TREES", 10)
        patch.setattr(extra_trees, "_N_TRIED", 2)
        patch.setattr(_boosting, "_MOST_ROUNDS", 10)
        patch.setattr(gradient_boosting, "_MOST_TREES", 10)
        patch.setattr(linear, "_STRENGTHS", linear._STRENGTHS[2::2])
        yield
