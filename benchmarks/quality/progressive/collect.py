"""What the fits say: gains with their intervals, robustness, what branches know by round, cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from fits import LEVELS, Fit, read
from scipy.stats import chi2
from settings import SETTINGS
from study import chosen_rate, models_of

from profuse.comparison.statistics import Estimate, Parts, Sample, paired_difference, pooled, seeds_only
from profuse.data.split import make_split
from profuse.data.time_blocks import time_blocks
from profuse.inspect.curves import effective, relative
from profuse.schema import SplitOptions

__all__ = ["ROUNDS", "Model", "Study", "bases", "collect", "in_units", "logged", "r2", "saved"]

ROUNDS = ("2 rounds", "3 rounds", "4 rounds")


@dataclass(frozen=True, eq=False)
class Model:
    """All seeds of one model."""

    data: str
    base: str
    twin: str
    size: str
    facts: list[dict[str, Any]]
    arrays: list[dict[str, np.ndarray]]

    @property
    def is_error(self) -> bool:
        return SETTINGS[self.data].metric == "mse"

    @property
    def score(self) -> float:
        return float(np.mean([f["score"] for f in self.facts]))

    def mean(self, key: str) -> float:
        return float(np.mean([f[key] for f in self.facts]))

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """By seed, each row's squared error, or 1 where the class is right."""
        found = []
        for one in self.arrays:
            true, said = one["true"], one["said"][-1].astype(np.float64)
            right = (true.reshape(said.shape) - said) ** 2 if self.is_error else said.argmax(1) == true
            found.append(np.asarray(right, dtype=np.float64).reshape(len(true), -1).mean(1))
        return found

    @cached_property
    def seeds(self) -> np.ndarray:
        """Mean of `rows` by seed."""
        return np.array([r.mean() for r in self.rows])

    def samples(self, n_seeds: int) -> list[Sample]:
        """Returns what is compared, higher is better: 1 where the class is right, or minus the logarithm of the MSE.

        The logarithm is taken along its tangent at the model's own MSE, so that it is a mean over rows.
        """
        mean = self.seeds[:n_seeds].mean()
        return [
            Sample(one["rows"], one["clusters"], self.compared(r, mean))
            for one, r in zip(self.arrays[:n_seeds], self.rows, strict=False)
        ]

    def compared(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Returns scores whose difference is a gain: accuracies, or minus the logarithm of MSEs of this mean."""
        return -logged(values, mean) if self.is_error else values

    @property
    def n_train(self) -> int | None:
        """Training rows if every seed has a split of its own, else None."""
        same = all(np.array_equal(one["rows"], self.arrays[0]["rows"]) for one in self.arrays)
        return None if same else int(self.facts[0]["n_train"])


@dataclass(frozen=True, eq=False)
class Study:
    """Models by data, base, twin and size; a gain is above 0 where the first is better."""

    models: dict[tuple[str, str, str, str], Model] = field(default_factory=dict)

    def get(self, data: str, base: str, twin: str, size: str = "") -> Model | None:
        return self.models.get((data, base, twin, size))

    def pair(self, data: str, base: str, twin: str, other: str, size: str = "") -> tuple[Model, Model] | None:
        a, b = self.get(data, base, twin, size), self.get(data, base, other, size)
        return None if a is None or b is None else (a, b)

    def gain(self, data: str, base: str, twin: str, other: str = "plain", size: str = "") -> Estimate | None:
        """Returns by how much `twin` is better than `other`, on the same rows and seeds.

        In points of accuracy, or in per cent of `other`'s MSE: 100 (1 - MSE / MSE of `other`), whose interval is worked
        out on the logarithm, so that no more than 100 % can be saved.
        """
        pair = self.pair(data, base, twin, other, size)
        if pair is None:
            return None
        a, b = pair
        n = min(len(a.facts), len(b.facts))
        found = paired_difference(
            a.samples(n),
            b.samples(n),
            n_train=a.facts[0]["n_train"],
            proportion=not a.is_error,
            parts=self.spread(data, base, twin, other, size, n),
        )
        return in_units(found, saved if a.is_error else points)

    def spread(self, data: str, base: str, twin: str, other: str, size: str, n_seeds: int) -> Parts | None:
        """Returns what all twins of a base model say of the variance between seeds: `pooled`, with another prior.

        A twin that fails on a seed would rule the mean, and with it the intervals of those that do not. So the prior is
        the median variance of a difference, over all pairs of twins; and a difference whose own is shown to be larger
        (at 5 %) keeps that.
        """
        twins = {t: m for (d, b, t, s), m in self.models.items() if (d, b, s) == (data, base, size)}
        seeds = {t: (m, m.seeds[:n_seeds]) for t, m in twins.items() if len(m.facts) >= n_seeds}
        layout = pooled({t: m.compared(scores, scores.mean()).tolist() for t, (m, scores) in seeds.items()})
        if layout is None:
            return None
        d = n_seeds - 1
        prior = np.median([np.var(x - y, ddof=1) for x, y in combinations(layout.scores.values(), 2)])
        prior *= d / chi2.median(d)  # the median of a variance lies below the variance
        own = float(np.var(layout.scores[twin] - layout.scores[other], ddof=1))
        if own > prior * chi2.ppf(0.95, d) / d:
            return ((own, d),)
        return replace(layout, residual=prior / 2).difference(twin, other)

    def robustness(self, data: str, base: str, twin: str, noise: str = "all") -> tuple[Estimate, Estimate] | None:
        """Returns the gain in relative robustness (the mean score over noise), and effective robustness to the plain.

        In points of accuracy, or in per cent of the plain model's mean MSE over levels and seeds. Intervals are over
        seeds, paired: they speak of these test rows, or, where every seed has its own, of new splits.
        """
        pair = self.pair(data, base, twin, "plain")
        if pair is None or "noise" not in pair[0].facts[0]:
            return None
        a, b = pair
        if noise not in a.facts[0]["noise"]:  # early fusion has a single modality
            noise = next(iter(a.facts[0]["noise"]))
        curves = [(x["noise"][noise], y["noise"][noise]) for x, y in zip(a.facts, b.facts, strict=False)]
        areas = np.array([[relative(LEVELS, x), relative(LEVELS, y)] for x, y in curves])
        kept = np.array([effective(LEVELS, x, y, higher_is_better=not a.is_error) for x, y in curves])
        unit = areas[:, 1].mean() if a.is_error else 1.0
        lost = seeds_only((kept / unit).tolist(), n_rows=len(a.arrays[0]["rows"]), n_train=a.n_train)
        return by_seed(a, areas), in_units(lost, points)

    def missing(self, data: str, base: str, twin: str) -> Estimate | None:
        """Returns the gain of the mean score over rates of missing modalities above 0, in units as `robustness`."""
        pair = self.pair(data, base, twin, "plain")
        if pair is None or "missing" not in pair[0].facts[0]:
            return None
        a, b = pair
        means = np.array([
            [np.mean(x["missing"]["scores"][1:]), np.mean(y["missing"]["scores"][1:])]
            for x, y in zip(a.facts, b.facts, strict=False)
        ])  # fmt: skip
        return by_seed(a, means)


def by_seed(model: Model, scores: np.ndarray) -> Estimate:
    """Returns the gain of `scores[seed, 0]` over `scores[seed, 1]`, in points or in per cent of the second."""
    one, other = model.compared(scores, scores.mean(0)).T
    found = seeds_only((one - other).tolist(), n_rows=len(model.arrays[0]["rows"]), n_train=model.n_train)
    return in_units(found, saved if model.is_error else points)


def logged(values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns the logarithm along its tangent at the mean: its own mean is the logarithm of the mean."""
    return np.asarray(np.log(mean) + values / mean - 1)


def in_units(e: Estimate, unit: Callable[[float], float]) -> Estimate:
    """Returns value and interval in other units."""
    return replace(e, value=unit(e.value), low=unit(e.low), high=unit(e.high))


def points(difference: float) -> float:
    """Returns points of a difference of accuracies."""
    return 100 * difference


def saved(difference: float) -> float:
    """Returns per cent of the MSE that are saved, from how much lower its logarithm is."""
    return float(-100 * np.expm1(-difference))


@cache
def known(data: str, seed: int) -> tuple[np.ndarray, float]:
    """Returns which rows of a data set belong together, `[row]`, and the mean of the training targets (MSE only)."""
    found = SETTINGS[data].data(seed)
    split = make_split(found, SplitOptions(), seed=seed)
    mean = float("nan")
    if SETTINGS[data].metric == "mse":
        assert found.target is not None
        mean = float(np.mean(found.target[split.train]))
    clusters = np.arange(len(found))
    if found.times is not None:
        clusters[split.test] = time_blocks(found.times[split.test])
    elif found.groups is not None and len(np.unique(found.groups[split.test])) >= 10:
        clusters = np.unique(found.groups, return_inverse=True)[1]
    return clusters, mean


def collect(out: Path) -> Study:
    """Reads all models of which two seeds or more are there.

    Clusters of rows are groups, or blocks of time, else each row alone. Fewer than ten groups say nothing of others:
    then intervals speak of new rows of these very groups.
    """
    found = Study()
    for data in SETTINGS:
        for base, twin, size in models_of(data):
            try:
                rate = chosen_rate(data, base, twin, size, out)
            except FileNotFoundError:
                continue  # its learning rate was never chosen: not run
            read_ones = []
            for seed in range(SETTINGS[data].seeds):
                file = Fit(data, base, twin, size, rate, seed).file(out)
                if not file.is_file():
                    break
                facts, arrays = read(file)
                clusters, mean = known(data, seed)
                read_ones.append((facts | {"train_mean": mean}, arrays | {"clusters": clusters[arrays["rows"]]}))
            if len(read_ones) >= 2:
                all_facts, all_arrays = [f for f, _ in read_ones], [a for _, a in read_ones]
                found.models[data, base, twin, size] = Model(data, base, twin, size, all_facts, all_arrays)
    return found


def bases(study: Study) -> Iterator[tuple[str, str, Model]]:
    """Data sets and base models whose plain model is there, without those by width and those of `forms`."""
    for data, setting in SETTINGS.items():
        if "2 rounds" not in setting.twins:
            continue
        for base in setting.bases:
            plain = study.get(data, base, "plain")
            if plain is not None:
                yield data, base, plain


def r2(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> float:
    """The share of the variance that is explained."""
    return 1 - float(facts["score"]) / float(arrays["true"].var())
