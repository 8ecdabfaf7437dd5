"""R2, the share of the target's variance that is explained, and what each row does to it."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array, Metric
from profuse.metrics._checks import checked
from profuse.metrics._errors import columns, squares

__all__ = ["R2", "log_error_scores", "rows_of_half_the_spread"]


class R2(Metric):
    """The mean over targets of `1 - mean (y - p)^2 / mean (y - mean y)^2`."""

    name = "r2"
    label = "R\N{SUPERSCRIPT TWO}"
    range = (float("-inf"), 1.0)
    tasks = ("regression",)

    def score(self, y: Array, p: Array) -> float:
        y, p = columns(y, p)
        if (y == y[0]).all(0).any():
            raise DataError(
                "r2: the target must vary over the rows; got a constant. Give other rows, or name another metric."
            )
        spread, error = squares(y, p)
        return float(np.mean(1 - error.mean(0) / spread.mean(0)))

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns `1 - e_i / mean v`, the mean over targets, with `e = (y - p)^2`, `v = (y - mean y)^2`.

        The variance of the target is the same for all methods, so that two of them differ by their squared errors
        alone. (Influence values of the ratio would hold `v_i` too. Where few rows carry both sums they cancel, and 11
        to 30 % of differences between equal methods came out as shown.) For one method by itself see
        `log_error_scores`.
        """
        y, p = columns(y, p)
        if (y == y[0]).all(0).any():
            raise DataError("row_scores: the target must vary over the rows for R2; got a constant. Use more rows.")
        spread, error = squares(y, p)
        return np.asarray(1 - (error / spread.mean(0)).mean(1))


def log_error_scores(y_true: Array, prediction: Array) -> Array:
    """Returns pseudo-values `[row]` whose mean is `log(1 - R2)`: what each row does to R2, by the jackknife.

    With `L` of all n rows and `L(i)` of all but row i: `L + (n - 1) (mean L(.) - L(i))`. Where few rows carry the
    target's variance such intervals cover more: with lognormal targets and errors in proportion 86 to 93 %, those of
    the delta method 62 to 91 %. Not finite where R2 is 1, or is not defined without some row.

    Args:
        y_true: Numbers, `[row]` or `[row, target]`.
        prediction: Of the same shape.

    Reference:
        Miller, The Jackknife: A Review, Biometrika 61 (1974), on ratios and logarithms.
    """
    y, p = checked("regression", y_true, prediction)
    n = len(y)
    if n < 2 or (y == y[0]).all(0).any():
        return np.full(n, np.inf)
    spread, error = squares(y, p)
    rest = spread.sum(0) - spread * n / (n - 1)  # about the mean of the others
    rest = np.where(rest > 1e-12 * spread.sum(0), rest, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.log((error.sum(0) / spread.sum(0)).mean())
        without = np.log(((error.sum(0) - error) / rest).mean(1))
        return np.asarray(whole + (n - 1) * (without.mean() - without))


def rows_of_half_the_spread(y_true: Array) -> int:
    """Returns how many rows hold half of the target's squared deviations; of the target with the fewest."""
    (y,) = columns(np.asarray(y_true, dtype=np.float64))
    spread, _ = squares(y, y)
    largest = np.sort(spread, axis=0)[::-1].cumsum(0)
    return int((largest < 0.5 * largest[-1]).sum(0).min()) + 1
