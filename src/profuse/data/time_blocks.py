"""`time_blocks`: rows of neighbouring times as the groups that such data do not name."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError

__all__ = ["time_blocks"]


def time_blocks(times: np.ndarray, *, n_blocks: int | None = None) -> np.ndarray:
    """Returns the block of each row, `[row]`: runs of consecutive rows in time, to be used as groups.

    Rows next to each other in time are alike, and counting each as news makes intervals too narrow; blocks that are
    long against that likeness are nearly independent. Rows of one time stay in one block. Few and long blocks cost
    little, as t intervals know that they are few, and cover more: in 200 rows of which each is like the one before
    (correlation 0.9), 40 blocks cover 63 %, 10 cover 87 %, 6 cover 91 %.

    Args:
        times: `[row]`, sortable.
        n_blocks: At most so many; fewer where there are fewer times. The cube root of the number of rows, and at
            least 5, if None.

    Reference:
        Künsch, The Jackknife and the Bootstrap for General Stationary Observations, Annals of Statistics 17 (1989).
        Schmeiser, Batch Size Effects in the Analysis of Simulation Output, Operations Research 30 (1982).
        Ibragimov and Müller, t-Statistic Based Correlation and Heterogeneity Robust Inference, Journal of Business
        and Economic Statistics 28 (2010).
    """
    if n_blocks is None:
        n_blocks = max(5, round(len(times) ** (1 / 3)))
    if n_blocks < 2:
        raise DataError(f"time_blocks: n_blocks must be at least 2; got n_blocks={n_blocks}.")
    _, code, count = np.unique(times, return_inverse=True, return_counts=True)
    before = np.cumsum(count) - count
    return np.asarray(np.minimum(before * n_blocks // len(code), n_blocks - 1)[code], dtype=np.int64)
