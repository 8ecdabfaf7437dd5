"""How sure a score is, and a difference of two: one rule for every comparison.

Two things are left to chance in a test score: the fit (initial weights, order of batches, and, where each seed
draws its own split, the training rows) and the test rows. Both are measured, each from what speaks of it:
thousands of test rows speak of the rows, a handful of seeds of the fit. With `u[s, g]` the influence of cluster g
(a group of rows that belong together, else one row) on the score `m[s]` of seed s, divided by `sqrt(1 - h[s, g])`,
h being the cluster's share of the rows, and S seeds:

    rows  = sum_g mean_s(u[s, g])^2                                test rows, clustered and shared by the seeds
    seeds = var_s(m) / S                                           what the seeds show, sampling of rows included
    noise = sum_sg (u[s, g] - mean_s u[s, g])^2 / (S (S-1))        the part of `seeds` that is such sampling
    V     = rows + c * max(seeds - noise, 0),     m +- t(df) sqrt(V),     df = V^2 / (rows^2/d + (c seeds)^2/(S-1))
    d     = 1 / (sum_g h[g]^2 + (sum_g a[g])^2 - sum_g a[g]^2),    a = h^2 / (1 - h),    h[g] = mean_s h[s, g]

`rows` and its degrees of freedom d are Bell and McCaffrey's for a mean. With G clusters of one size they are the
G/(G-1) sum u^2 and the G - 1 of the textbook, and with unequal ones what few large clusters can tell: for lognormal
sizes the textbook's cover 86 to 91 %, these 93 to 96 %. A single cluster says nothing of others; its rows then stand
for themselves, and `Estimate.rule` says so.

c = 1 where all seeds share the test rows: this is the crossed random-effects model of multi-reader multi-case
studies, seeds being the readers and rows the cases. Where each seed has its own split the scores are correlated by
the rows that the splits share, and c = 1 + S n_test/n_train (Nadeau and Bengio); without row contributions V is
exactly their corrected resampled variance. With one seed V = rows, and the interval speaks of that one fit.

Why not simpler: a t interval over three seeds that share their test rows covers 84 % instead of 95 % where rows matter,
five seeds 68 %, because more seeds never reveal what the shared rows hide; a row bootstrap covers 35 % where seeds
matter; a bootstrap of three seeds loses a third of their variance. The rule above covers 92 to 98 % throughout with
three seeds or more, about 90 % with two (simulated; a test repeats it).

Three seeds say little of how much a method varies from seed to seed, but twenty methods at three seeds say a good
deal. `pooled` therefore fits the two-way layout methods x seeds (a seed is a block: it shares its split and its luck
with all methods) and takes for `var_s(m)` of a method the block variance plus the method's own residual variance,
moderated by the mean of all: (d own + 4 mean) / (d + 4) with d + 4 degrees of freedom, d = S-1; so too for differences.
At three seeds intervals are a third narrower for it, half as wide where the triple is unlucky, and cover 94 to 99 %,
also where methods differ threefold in their spread (simulated).

A difference that is no proportion takes the `rows` part from flipped signs instead of a t (see `sign_flips`), as
squared errors may have any tails. R2 by itself is looked at in logarithms of 1 - R2, with rows left out one by one.

References:
    Satterthwaite, Biometrics Bulletin 2 (1946). Hillis, Statistics in Medicine 26 (2007), multi-reader multi-case.
    Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), section 3.
    Bell and McCaffrey, Bias Reduction in Standard Errors for Linear Regression with Multi-Stage Samples, Survey
    Methodology 28 (2002).
    Korn and Graubard, Survey Methodology 24 (1998), effective sample size of a proportion; Wilson, JASA 22 (1927).
    Agresti and Min, Statistics in Medicine 24 (2005), pseudo-counts for paired proportions.
    Holm, Scandinavian Journal of Statistics 6 (1979).
    Smyth, Statistical Applications in Genetics and Molecular Biology 3 (2004), moderated variances. The four degrees of
    freedom of the prior are fixed here, not estimated: with a dozen methods the estimate itself would be noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from profuse.comparison.sign_flips import LEAST_PARTS, flip_interval
from profuse.errors import DataError
from profuse.inspect.holm import holm

__all__ = [
    "Estimate",
    "Parts",
    "Pooled",
    "Sample",
    "holm",
    "interval",
    "paired_difference",
    "pooled",
    "r2_interval",
    "seeds_only",
]

Parts = tuple[tuple[float, float], ...]
"""Variance of one seed's score in independent parts, each with its degrees of freedom."""
PRIOR_DEGREES = 4


@dataclass(frozen=True, eq=False)
class Sample:
    """The test rows of one seed: `ids[row]`, `clusters[row]` (equal = not independent) and `scores[row]`."""

    ids: np.ndarray
    clusters: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A value and its interval.

    Attributes:
        value: The mean over seeds of the mean over rows.
        low: Lower end of the interval; -inf where nothing varied, or where one fit without its rows is all there is.
        high: Upper end.
        p: Two-sided p value of "0"; None for a score, which is not tested.
        standard_error: `sqrt(V)`, in the score's units.
        degrees: Degrees of freedom.
        n_seeds: Fits that were scored.
        n_rows: Distinct test rows.
        n_clusters: Distinct clusters of them, as many as rows where there is but one; 0 where rows were not kept.
        rule: What the interval takes into account and what it speaks of, in words.
    """

    value: float
    low: float
    high: float
    p: float | None
    standard_error: float
    degrees: float
    n_seeds: int
    n_rows: int
    n_clusters: int
    rule: str


@dataclass(frozen=True)
class Pooled:
    """What methods x seeds say of the seeds' variance; see the module.

    Attributes:
        scores: Method to its scores `[seed]`.
        block: Variance of the seeds' common effect.
        residual: Mean over methods of the residual variance.
        own: Method to its own residual variance.
    """

    scores: Mapping[str, np.ndarray]
    block: float
    residual: float
    own: Mapping[str, float]

    def score(self, method: str) -> Parts | None:
        """Returns the variance of one seed's score of `method`; None if it is not in the layout."""
        if method not in self.own:
            return None
        d = len(self.scores[method]) - 1
        return ((self.block, d), self._moderated(self.own[method], self.residual, d))

    def difference(self, a: str, b: str) -> Parts | None:
        """Returns the variance of one seed's `a - b`; the block drops out."""
        if a not in self.own or b not in self.own:
            return None
        gap = self.scores[a] - self.scores[b]
        return (self._moderated(float(gap.var(ddof=1)), 2 * self.residual, len(gap) - 1),)

    @staticmethod
    def _moderated(own: float, prior: float, d: int) -> tuple[float, float]:
        return (d * own + PRIOR_DEGREES * prior) / (d + PRIOR_DEGREES), d + PRIOR_DEGREES


def pooled(scores: Mapping[str, Sequence[float]]) -> Pooled | None:
    """Returns the two-way layout of `scores` (method to one value a seed), or None where it is too small to pool.

    It needs at least two seeds and five methods: with fewer the prior would hang on the very methods it judges.
    """
    table = np.array(list(scores.values()), dtype=float)
    if table.ndim != 2 or table.shape[0] < 5 or table.shape[1] < 2:
        return None
    n_methods, n_seeds = table.shape
    seed_means = table.mean(0)
    residual = table - table.mean(1, keepdims=True) - seed_means + table.mean()
    own = (residual**2).sum(1) / (n_seeds - 1) * n_methods / (n_methods - 1)
    block = max(float(seed_means.var(ddof=1)) - float(own.mean()) / n_methods, 0.0)
    return Pooled(
        {k: table[i] for i, k in enumerate(scores)},
        block,
        float(own.mean()),
        dict(zip(scores, own.tolist(), strict=True)),
    )


def interval(
    samples: Sequence[Sample],
    *,
    n_train: int,
    level: float = 0.95,
    proportion: bool = False,
    parts: Parts | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    unvaried: float = 0.0,
) -> Estimate:
    """Returns the mean score and its interval; see the module for the rule.

    Args:
        samples: One for each seed.
        n_train: Training rows; used where seeds have different test rows.
        level: Coverage of the interval.
        proportion: Scores are 0 or 1: Wilson's interval with the effective number of rows `m (1-m) / V`, so that
            400 right of 400 is not "certainly 1".
        parts: What `Pooled.score` says of the seeds' variance; their own variance if None.
        bounds: The least and greatest value the score can have; the interval is cut there.
        unvaried: Variance of the mean that stands for `rows` where the rows do not vary at all, as where all are right.
    """
    result = _combine(samples, n_train, level, parts, unvaried=unvaried)
    if proportion:
        result = _wilson(result, level)
    return replace(result, low=max(result.low, bounds[0]), high=min(result.high, bounds[1]), p=None)


def r2_interval(samples: Sequence[Sample], value: float, *, n_train: int, parts: Parts | None = None) -> Estimate:
    """Returns the interval of an R2 of `value`, made in logarithms of `1 - R2` and turned back.

    Args:
        samples: One for each seed, with `log_error_scores`.
        value: R2, the mean over seeds.
        n_train: Training rows.
        parts: What `Pooled.score` says of the seeds' variance of R2.
    """
    error = 1 - value
    scaled = None if parts is None else tuple((v / error**2, d) for v, d in parts)
    logs = _combine(samples, n_train, 0.95, scaled)
    half = logs.high - logs.value
    with np.errstate(over="ignore"):
        low, high = (float(1 - error * np.exp(s * half)) for s in (1, -1))
    return replace(logs, value=value, low=low, high=high, p=None, standard_error=logs.standard_error * error)


def paired_difference(
    a: Sequence[Sample],
    b: Sequence[Sample],
    *,
    n_train: int,
    level: float = 0.95,
    proportion: bool = False,
    parts: Parts | None = None,
    unvaried: float = 0.0,
) -> Estimate:
    """Returns the mean of `a - b` on the same rows and seeds, its interval and p value.

    Args:
        a: One sample for each seed.
        b: The same seeds and rows of another method.
        n_train: Training rows.
        level: Coverage of the interval.
        proportion: Scores are 0 or 1: one pseudo-row in disagreement is added to the variance, so that two methods
            that agree on all of a few rows are not "certainly equal".
        parts: What `Pooled.difference` says of the seeds' variance; their own variance if None.
        unvaried: See `interval`.

    Raises:
        DataError: Seeds or rows differ.
    """
    if len(a) != len(b) or any(not np.array_equal(x.ids, y.ids) for x, y in zip(a, b, strict=False)):
        raise DataError(
            "paired_difference: both methods must have the same seeds and test rows; "
            f"got {[len(x.ids) for x in a]} and {[len(y.ids) for y in b]} rows by seed. Compare common seeds only."
        )
    both = [replace(x, scores=x.scores.astype(float) - y.scores) for x, y in zip(a, b, strict=True)]
    return _combine(
        both, n_train, level, parts, pseudo=1.0 if proportion else 0.0, flips=not proportion, unvaried=unvaried
    )


def seeds_only(values: Sequence[float], *, n_rows: int, n_train: int | None = None, level: float = 0.95) -> Estimate:
    """Returns the interval of one value a seed, where the rows' contributions were not kept.

    Args:
        values: One for each seed.
        n_rows: Test rows of a seed.
        n_train: Training rows, if each seed has its own split: the corrected resampled t. None if they share it: the
            plain t over seeds, which speaks of these test rows only.
        level: Coverage.
    """
    m = np.asarray(values, dtype=float)
    if len(m) == 0 or not np.isfinite(m).all():
        raise DataError(f"seeds_only: values must be finite, one a seed; got values={list(values)}.")
    value, size = float(m.mean()), len(m)
    if np.allclose(m, m[0], rtol=1e-12, atol=0.0):
        what = "one seed" if size == 1 else f"{size} seeds of one score"
        rule = f"{what} and no row to tell more: nothing says how sure it is"
        return Estimate(value, -math.inf, math.inf, 1.0, math.inf, 0.0, size, n_rows, 0, rule)
    factor = 1.0 if n_train is None else 1.0 + size * n_rows / n_train
    error = math.sqrt(factor * float(m.var(ddof=1)) / size)
    what = "a t interval, these test rows taken as given" if n_train is None else "the corrected resampled t interval"
    rule = f"{size} seeds: {what}"
    return _t_interval(value, error, size - 1, level, size, n_rows, 0, rule)


def _combine(
    samples: Sequence[Sample],
    n_train: int,
    level: float,
    parts: Parts | None,
    *,
    pseudo: float = 0.0,
    flips: bool = False,
    unvaried: float = 0.0,
) -> Estimate:
    if not samples or any(len(s.scores) == 0 or not np.isfinite(s.scores).all() for s in samples):
        raise DataError("statistics: every seed must have finite scores of at least one row; got none, or others.")
    single = all((s.clusters == samples[0].clusters[0]).all() for s in samples)
    if single:
        samples = [replace(s, clusters=s.ids) for s in samples]
    influence, share, means, added = _influence(samples)
    n_seeds, n_clusters = influence.shape
    fixed = all(np.array_equal(s.ids, samples[0].ids) for s in samples[1:])
    n_rows = len(samples[0].ids) if fixed else _codes(np.concatenate([s.ids for s in samples]))[1]
    value = float(means.mean())
    if n_clusters < 2:  # one row cannot tell how much rows vary
        n_test = len(samples[0].ids)
        return seeds_only(means.tolist(), n_rows=n_test, n_train=None if fixed else n_train, level=level)
    leverage = share**2 / (1 - share)
    rows_degrees = float(1 / ((share**2).sum() + leverage.sum() ** 2 - (leverage**2).sum()))
    shared = influence.mean(0)
    rows = float((shared**2).sum()) + pseudo / (n_rows * (n_rows - 1))
    if rows <= (1e-12 * value) ** 2:  # but for rounding; there is nothing to flip then
        rows, flips = unvaried, False
    below, least, beside = rows**2 / rows_degrees, rows_degrees, 0.0
    if n_seeds > 1:
        factor = 1.0 if fixed else 1.0 + n_seeds * float(np.mean([len(s.ids) for s in samples])) / n_train
        spread = parts or ((float(means.var(ddof=1)), n_seeds - 1.0),)
        scaled = [(factor * v / n_seeds, d) for v, d in spread]
        noise = factor * float(((influence - shared) ** 2).sum()) / (n_seeds * (n_seeds - 1))
        beside = max(sum(v for v, _ in scaled) - noise, 0.0)
        below += sum(v**2 / d for v, d in scaled)
        least = min(least, n_seeds - 1)
    variance = rows + beside
    degrees = max(variance**2 / below, least) if below > 0 else rows_degrees
    units = f"{n_rows:,} test rows" + (f" in {n_clusters:,} groups" if n_clusters < n_rows else "")
    if single:
        units += " of a single group, which say nothing of others"
    if n_seeds == 1:
        rule = f"{units}, one seed: speaks of this one fit on new rows of the same kind"
    elif fixed:
        rule = f"{n_seeds} seeds x {units}: speaks of a new fit on the same training rows, scored on new rows"
    else:
        rule = f"{n_seeds} splits, {units}, corrected for shared rows: speaks of a new split of such data"
    result = _t_interval(value, math.sqrt(variance), degrees, level, n_seeds, n_rows, n_clusters, rule)
    if not flips or n_clusters < LEAST_PARTS or not math.isfinite(result.high):
        return result
    low, high, p = flip_interval(added, share, level=level, degrees=rows_degrees, beside=beside, all_degrees=degrees)
    return replace(result, low=low, high=high, p=p)


def _codes(names: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns which distinct name each entry is, from 0, and how many there are; without sorting if they are counts."""
    if names.dtype.kind in "iu" and names.min() >= 0 and names.max() < 8 * len(names):
        used = np.bincount(names) > 0
        return (np.cumsum(used) - 1)[names], int(used.sum())
    distinct, codes = np.unique(names, return_inverse=True)
    return codes, len(distinct)


def _influence(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns `u[seed, cluster]`, the clusters' shares `h[cluster]` of the rows, the means `[seed]`, and what each
    cluster adds to the mean of the means, `[cluster]`.

    `u` is the cluster's sum of `(score - mean) / rows`, divided by `sqrt(1 - h[seed, cluster])`; 0 where the cluster is
    all of a seed.
    """
    codes, size = _codes(np.concatenate([s.clusters for s in samples]))
    parts = np.split(codes, np.cumsum([len(s.scores) for s in samples])[:-1])
    means = np.array([float(np.mean(s.scores, dtype=float)) for s in samples])
    share = np.stack([np.bincount(code, minlength=size) / len(code) for code in parts])
    influence = np.stack([
        np.bincount(code, (s.scores - m) / len(s.scores), minlength=size)
        for s, m, code in zip(samples, means, parts, strict=True)
    ])  # fmt: skip
    added = (influence + means[:, None] * share).mean(0)
    some = share < 1
    influence = np.divide(influence, np.sqrt(1 - share), out=np.zeros_like(influence), where=some)
    return influence, share.mean(0), means, added


def _t_interval(
    value: float, error: float, degrees: float, level: float, n_seeds: int, n_rows: int, n_clusters: int, rule: str
) -> Estimate:
    if error <= 1e-12 * abs(value):  # nothing varies, but for rounding: that is no certainty
        half, p = math.inf, 1.0
    else:
        half = float(special.stdtrit(degrees, (1 + level) / 2)) * error
        p = float(2 * special.stdtr(degrees, -abs(value) / error))
    return Estimate(value, value - half, value + half, p, error, degrees, n_seeds, n_rows, n_clusters, rule)


def _wilson(found: Estimate, level: float) -> Estimate:
    m, variance = found.value, found.standard_error**2
    if found.n_clusters == 0 or not 0 <= m <= 1:
        return found
    n = m * (1 - m) / variance if variance > 0 and 0 < m < 1 else float(found.n_clusters)
    q = float(special.stdtrit(found.degrees, (1 + level) / 2))
    centre = (m + q**2 / (2 * n)) / (1 + q**2 / n)
    half = q / (1 + q**2 / n) * math.sqrt(m * (1 - m) / n + q**2 / (4 * n**2))
    return replace(found, low=min(centre - half, m), high=max(centre + half, m))
