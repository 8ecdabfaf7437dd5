"""Estimates from several completed tables -> one, with an error that counts what is missing: Rubin's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from profuse.errors import ConfigError, DataError

__all__ = ["Pooled", "pool"]


@dataclass(frozen=True)
class Pooled:
    """What several completed tables say together.

    Attributes:
        estimate: The mean of the estimates.
        std_error: Of the estimate: from within the tables and between them.
        low: Lower end of the interval.
        high: Upper end.
        dof: Degrees of freedom of its t distribution.
        missing_information: Part of what the complete data would tell that is lost by what is missing, 0 to 1.
    """

    estimate: float
    std_error: float
    low: float
    high: float
    dof: float
    missing_information: float


def pool(
    estimates: Sequence[float] | np.ndarray,
    variances: Sequence[float] | np.ndarray,
    *,
    dof: float = np.inf,
    confidence: float = 0.95,
) -> Pooled:
    """T = U + (1 + 1/m) B: U the mean of the m variances, B the variance of the m estimates (Rubin's rules).

    Args:
        estimates: One for each completed table: a mean, a coefficient, a difference.
        variances: Their squared standard errors, as if the tables were observed.
        dof: Degrees of freedom that the estimate has in one complete table (n - 1 of a mean); inf = many.
        confidence: Of the interval, above 0 and below 1.

    Raises:
        DataError: Not one number for each of at least two tables, or a variance that is not above 0.
        ConfigError: `dof` or `confidence` is out of range.

    Reference:
        Rubin, Multiple Imputation for Nonresponse in Surveys, 1987, section 3.1; degrees of freedom: Barnard, Rubin,
        Small-sample degrees of freedom with multiple imputation, Biometrika 1999.

    Example:
        >>> pooled = pool([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
        >>> round(pooled.estimate, 3), round(pooled.std_error, 3), round(pooled.dof, 3)
        (2.0, 1.354, 3.781)
    """
    q, u = _numbers(estimates, "estimates"), _numbers(variances, "variances")
    if len(q) != len(u) or len(q) < 2:
        raise DataError(
            f"pool: estimates and variances must be one for each of at least 2 tables; got {len(q)} and {len(u)}. "
            "Give the estimate of each completed table and its squared standard error."
        )
    if not (u > 0).all():
        raise DataError(f"pool: variances must be above 0; got {u.min():g}. Give squared standard errors.")
    if not _is_number(dof) or not dof > 0:
        raise ConfigError(f"pool: dof must be a number above 0; got dof={dof!r}.")
    if not _is_number(confidence) or not 0 < confidence < 1:
        raise ConfigError(f"pool: confidence must be a number above 0 and below 1; got confidence={confidence!r}.")
    m, estimate = len(q), float(q.mean())
    within, between = float(u.mean()), (1 + 1 / m) * float(q.var(ddof=1))
    total = within + between
    if between == 0:  # the tables agree: nothing is lost
        n, lost = dof, 0.0
    else:
        share = between / total
        of_tables = (m - 1) / share**2
        n = of_tables if dof == np.inf else 1 / (1 / of_tables + (dof + 3) / ((dof + 1) * dof * (1 - share)))
        lost = (between / within + 2 / (n + 3)) / (between / within + 1)
    half = float(stats.t.ppf((1 + confidence) / 2, n) * np.sqrt(total))
    return Pooled(estimate, float(np.sqrt(total)), estimate - half, estimate + half, float(n), lost)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _numbers(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise DataError(f"pool: {name} must be finite numbers, one for each table; got {name}={values!r}.")
    return numbers
