"""What the fits say: gains with their intervals, robustness, what branches know by round, cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fits import LEVELS, Fit, read
from settings import SETTINGS
from study import chosen_rate, models_of

from profuse.evaluate.robustness import effective, relative
from profuse.evaluate.statistics import Estimate, Sample, paired_difference, pooled, seeds_only

__all__ = ["ROUNDS", "Model", "Study", "bases", "collect", "r2"]

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


@dataclass(frozen=True, eq=False)
class Study:
    """Models by data, base, twin and size; a gain is above 0 where the first is better."""

    models: dict[tuple[str, str, str, str], Model] = field(default_factory=dict)

    def get(self, data: str, base: str, twin: str, size: str = "") -> Model | None:
        return self.models.get((data, base, twin, size))

    def unit(self, data: str, base: str, size: str = "") -> float:
        """Returns what a gain is measured in: a hundredth of the plain model's MSE, or a point of accuracy."""
        plain = self.models[data, base, "plain", size]
        return plain.score / 100 if plain.is_error else 0.01

    def gain(self, data: str, base: str, twin: str, other: str = "plain", size: str = "") -> Estimate | None:
        """Returns by how much `twin` is better than `other`, on the same rows and seeds.

        What seeds vary by is learned from all twins of the base model (`pooled`).
        """
        a, b = self.get(data, base, twin, size), self.get(data, base, other, size)
        if a is None or b is None:
            return None
        n = min(len(a.facts), len(b.facts))
        unit = self.unit(data, base, size) * (-1 if a.is_error else 1)

        def samples(model: Model) -> list[Sample]:
            return [
                Sample(one["rows"], one["clusters"], scores / unit)
                for one, scores in zip(model.arrays[:n], model.rows[:n], strict=True)
            ]

        twins = {t: m for (d, b2, t, s), m in self.models.items() if (d, b2, s) == (data, base, size)}
        scores = {t: [f["score"] / unit for f in m.facts[:n]] for t, m in twins.items() if len(m.facts) >= n}
        layout = pooled(scores)
        return paired_difference(
            samples(a),
            samples(b),
            n_train=a.facts[0]["n_train"],
            proportion=not a.is_error,
            parts=layout and layout.difference(twin, other),
        )

    def robustness(self, data: str, base: str, twin: str, noise: str = "all") -> tuple[Estimate, Estimate] | None:
        """Returns the gain in relative robustness (the mean score over noise), and effective robustness to the plain.

        Intervals are over seeds, paired: they speak of these test rows.
        """
        a, b = self.get(data, base, twin), self.get(data, base, "plain")
        if a is None or b is None or "noise" not in a.facts[0]:
            return None
        if noise not in a.facts[0]["noise"]:  # early fusion has a single modality
            noise = next(iter(a.facts[0]["noise"]))
        unit, sign = self.unit(data, base), -1 if a.is_error else 1
        pairs = [(x["noise"][noise], y["noise"][noise]) for x, y in zip(a.facts, b.facts, strict=False)]
        gains = [sign * (relative(LEVELS, x) - relative(LEVELS, y)) / unit for x, y in pairs]
        kept = [effective(LEVELS, x, y, larger_is_better=not a.is_error) / unit for x, y in pairs]
        n_rows = len(a.arrays[0]["rows"])
        return seeds_only(gains, n_rows=n_rows), seeds_only(kept, n_rows=n_rows)

    def missing(self, data: str, base: str, twin: str) -> Estimate | None:
        """Returns the gain of the mean score over rates of missing modalities above 0."""
        a, b = self.get(data, base, twin), self.get(data, base, "plain")
        if a is None or b is None or "missing" not in a.facts[0]:
            return None
        unit, sign = self.unit(data, base), -1 if a.is_error else 1
        gains = [
            sign * float(np.mean(x["missing"]["scores"][1:]) - np.mean(y["missing"]["scores"][1:])) / unit
            for x, y in zip(a.facts, b.facts, strict=False)
        ]
        return seeds_only(gains, n_rows=len(a.arrays[0]["rows"]))


def collect(out: Path) -> Study:
    """Reads all models of which every seed that was fitted is there."""
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
                read_ones.append(read(file))
            if len(read_ones) >= 2:
                facts, arrays = [f for f, _ in read_ones], [a for _, a in read_ones]
                found.models[data, base, twin, size] = Model(data, base, twin, size, facts, arrays)
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
