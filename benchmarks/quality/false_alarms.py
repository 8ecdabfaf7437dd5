"""How often two methods that do not differ are shown to, and how often the interval of R2 holds: by simulation.

    python benchmarks/quality/false_alarms.py [--runs 1000] [--only differences|r2|labels|power]

It prints the tables of docs/compare.md, made with the functions that `compare` uses. The errors of two methods multiply
a skewed target, are drawn alike, and have in each row a part that all seeds of a method share.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import numpy as np
from scipy import special, stats

from profuse.comparison.statistics import Estimate, Sample, paired_difference, r2_interval
from profuse.errors import DataError
from profuse.metrics import log_error_scores, row_scores

Rng = np.random.Generator
TARGETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "normal": lambda z: z,
    "exponential": lambda z: -special.log_ndtr(-z),
    "t, 3 degrees": lambda z: special.stdtrit(3, special.ndtr(z)),
    "lognormal": np.exp,
    "lognormal, sigma 1.5": lambda z: np.exp(1.5 * z),
    "Pareto, index 3": lambda z: special.ndtr(-z) ** (-1 / 3),
    "Pareto, index 2": lambda z: special.ndtr(-z) ** (-1 / 2),
}
SIGNAL, NOISE = np.sqrt(0.7), np.sqrt(0.3)


def compared(
    rng: Rng, tail: str, n: int, n_seeds: int, *, shared: float, fixed: bool, group: int, gain: float
) -> Estimate:
    """The difference of two methods; the second's errors are `gain` larger, 0 for no difference at all."""
    both: tuple[list[Sample], list[Sample]] = ([], [])
    target = TARGETS[tail]
    for seed in range(n_seeds):
        if fixed is False or seed == 0:
            signal, noise = rng.normal(size=(2, n))
            y = target(SIGNAL * signal + NOISE * noise)
            own = np.repeat(rng.normal(size=(2, n // group)), group, axis=1)
        ids = np.arange(n) + (0 if fixed else seed * n)
        for k, samples in enumerate(both):
            error = np.sqrt(shared) * own[k] + np.sqrt(1 - shared) * rng.normal(size=n)
            p = target(SIGNAL * signal + (0.4 + gain * k) * error)
            samples.append(Sample(ids, ids // group, row_scores("regression", y, p)))
    return paired_difference(*both, n_train=4 * n)


def shown(runs: int, tail: str, n: int, n_seeds: int, **how: float) -> tuple[float, float]:
    """The share of runs that show a difference, by flipped signs and by a t test of the same squared errors."""
    rng, flips, t = np.random.default_rng(0), 0, 0
    options = {"shared": 0.9, "fixed": True, "group": 1, "gain": 0.0, **how}
    for _ in range(runs):
        found = compared(rng, tail, n, n_seeds, **options)  # type: ignore[arg-type]
        flips += (found.p or 1.0) < 0.05
        t += 2 * stats.t.sf(abs(found.value) / found.standard_error, found.degrees) < 0.05
    return flips / runs, t / runs


def true_r2(tail: str, error: float) -> float:
    rng, over, under = np.random.default_rng(1), 0.0, 0.0
    for _ in range(20):
        signal, noise = rng.normal(size=(2, 500_000))
        y = TARGETS[tail](SIGNAL * signal + NOISE * noise)
        over += float(((y - TARGETS[tail](SIGNAL * signal + error * rng.normal(size=len(y)))) ** 2).mean())
        under += float(y.var())
    return 1 - over / under


def covered(runs: int, tail: str, n: int) -> float:
    rng, hits, truth = np.random.default_rng(2), 0, true_r2(tail, 0.4)
    ids = np.arange(n)
    for _ in range(runs):
        signal, noise = rng.normal(size=(2, n))
        y = TARGETS[tail](SIGNAL * signal + NOISE * noise)
        p = TARGETS[tail](SIGNAL * signal + 0.4 * rng.normal(size=n))
        value = float(row_scores("regression", y, p).mean())
        found = r2_interval([Sample(ids, ids, log_error_scores(y, p))], value, n_train=4 * n)
        hits += found.low <= truth <= found.high
    return hits / runs


def labels_shown(runs: int, task: str, n: int, n_seeds: int, share: float) -> float:
    """Of accuracy (three classes), or of macro F1 over four labels that `share` of the rows have."""
    rng, hits, used = np.random.default_rng(3), 0, 0
    ids = np.arange(n)
    for _ in range(runs):
        both: tuple[list[Sample], list[Sample]] = ([], [])
        y = (rng.random((n, 4)) < share).astype(int) if task == "multilabel" else rng.integers(0, 3, n)
        own = rng.normal(size=(2, n, 4 if task == "multilabel" else 3))
        try:
            for _seed in range(n_seeds):
                for k, samples in enumerate(both):
                    z = np.sqrt(0.8) * own[k] + np.sqrt(0.2) * rng.normal(size=own[k].shape)
                    if task == "multilabel":
                        p = special.ndtr(1.5 * (2 * y - 1) + z)
                    else:
                        z[ids, y] += 1.2
                        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
                    samples.append(Sample(ids, ids, row_scores(task, y, p)))  # type: ignore[arg-type]
        except DataError:  # no label at all among so few rows
            continue
        used += 1
        hits += (paired_difference(*both, n_train=4 * n, proportion=task != "multilabel").p or 1.0) < 0.05
    return hits / max(used, 1)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(list(head)))
    for row in rows:
        print("| " + " | ".join(f"{100 * c:.1f} %" if isinstance(c, float) else str(c) for c in row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", choices=["differences", "r2", "labels", "power"])
    asked = parser.parse_args()
    runs = asked.runs
    if asked.only in (None, "differences"):
        head = ["target", *(f"{n:,} rows, {s} seed{'s' if s > 1 else ''}" for n in (40, 200, 1000) for s in (1, 3, 5))]
        head += ["200 rows in 50 groups, 3 seeds", "200 rows, 3 splits of their own"]
        table(
            head,
            (
                [
                    tail,
                    *(shown(runs, tail, n, s)[0] for n in (40, 200, 1000) for s in (1, 3, 5)),
                    shown(runs, tail, 200, 3, group=4)[0],
                    shown(runs, tail, 200, 3, fixed=False)[0],
                ]
                for tail in TARGETS
            ),
        )
    if asked.only in (None, "power"):
        head = ["target", *(f"{n} rows, {how}" for n in (40, 200, 1000) for how in ("signs", "t"))]
        table(
            head, ([tail, *(v for n in (40, 200, 1000) for v in shown(runs, tail, n, 1, gain=0.2))] for tail in TARGETS)
        )
    if asked.only in (None, "r2"):
        table(
            ["target", "40 rows", "200", "1,000"],
            ([t, *(covered(runs, t, n) for n in (40, 200, 1000))] for t in TARGETS),
        )
    if asked.only in (None, "labels"):
        what = [
            ("accuracy", "multiclass", 0.0),
            *((f"macro F1, labels of {100 * s:g} %", "multilabel", s) for s in (0.3, 0.05, 0.02)),
        ]
        cells = [(40, 1), (40, 3), (200, 1), (200, 3)]
        head = ["metric", *(f"{n} rows, {s} seed{'s' if s > 1 else ''}" for n, s in cells)]
        table(head, ([name, *(labels_shown(runs, task, n, s, share) for n, s in cells)] for name, task, share in what))


if __name__ == "__main__":
    main()
