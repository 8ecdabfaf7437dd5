"""The curve over rows: the best methods fitted to shares of the rows, and what a doubling of them brings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from profuse.comparison.learning import Learning, ShareGain, ShareScore
from profuse.comparison.methods import Method
from profuse.comparison.results import Results
from profuse.comparison.summary import Evidence, summarise
from profuse.data.split import make_split

if TYPE_CHECKING:
    from profuse.comparison.options import CompareOptions
    from profuse.comparison.running import Run
    from profuse.comparison.statistics import Estimate
    from profuse.data.dataset import Dataset

__all__ = ["SHARES", "curve_expected", "curve_methods", "learning_of", "shares_for"]

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
_LEAST_TRAIN, _LEAST_VALID, _EACH = 24, 8, 2  # rows; and rows for each class


def shares_for(dataset: Dataset, options: CompareOptions) -> tuple[float, ...]:
    """Returns the shares of the rows that hold enough of them to be learned from; none where no curve is asked for."""
    if not options.curve:
        return ()
    split = make_split(dataset, options.split, seed=0)
    n_classes = 0
    if dataset.target is not None and dataset.task in ("binary", "multiclass"):
        n_classes = len(np.unique(np.asarray(dataset.target).astype(str)))
    least = max(_LEAST_TRAIN, _EACH * n_classes)
    return tuple(s for s in SHARES if s * len(split.train) >= least and s * len(split.valid) >= _LEAST_VALID)


def curve_expected(methods: Sequence[Method], options: CompareOptions, shares: Sequence[float]) -> list[Method]:
    """Returns fits as many, and about as long, as those of the curve, before it is known which methods are best."""
    if not options.curve:
        return []
    fusion = next((m for m in methods if m.default and m.role in ("baseline", "fusion")), None)
    single = next((m for m in methods if m.role == "single"), None)
    classical = next((m for m in methods if m.role == "classical"), None)
    best = [m for m in (fusion, single, classical) if m is not None]
    return [m.at_share(s) for _ in range(options.seeds) for s in shares for m in best]


def curve_methods(results: Results, methods: Sequence[Method], shares: Sequence[float]) -> list[Method]:
    """Returns the best fusion, single modality and classical model, by validation, at each share."""
    verdict = summarise(results).verdict
    best = [next(m for m in methods if m.name == n) for n in (verdict.fusion, verdict.single, verdict.classical) if n]
    return [m.at_share(s) for s in shares for m in best]


def learning_of(
    results: Results, run: Run, asked: Sequence[Method], add: Callable[[Results, Method], None]
) -> Learning | None:
    """Returns scores over rows, with intervals made as those of the table; None where no smaller fit succeeded.

    Args:
        results: Of all rows.
        run: Holds the fits.
        asked: What `curve_methods` has returned.
        add: Adds a method and what its fits have left to results.
    """
    asked = [m for m in asked if run.found.get(m.name)]
    if not asked:
        return None
    every = Results(dataset=results.dataset, config=results.config)
    for method in (*run.methods, *asked):
        add(every, method)
    whole, evidence = Evidence(results), Evidence(every)
    best = list(dict.fromkeys(_of_all(m, run.methods).name for m in asked))
    names = {(name, 1.0): name for name in best} | {(_of_all(m, run.methods).name, m.share): m.name for m in asked}
    points = [
        _point(run, name, share, at, (whole if share == 1 else evidence).row(every.method(at)).estimate)
        for (name, share), at in sorted(names.items(), key=lambda pair: (best.index(pair[0][0]), pair[0][1]))
    ]
    gains, doublings = [], []
    for other in best[1:]:
        for share in sorted({s for _, s in names}):
            if (best[0], share) in names and (other, share) in names:
                held = whole if share == 1 else evidence
                gain = held.difference(names[best[0], share], names[other, share])
                gains += [] if gain is None else [_gain(best[0], other, share, gain)]
    for name in best:
        if (name, 0.5) in names and (gain := evidence.difference(name, names[name, 0.5])) is not None:
            doublings.append(_gain(name, name, 1.0, gain))
    return Learning(points=points, gains=gains, doublings=doublings)


def _of_all(method: Method, methods: Sequence[Method]) -> Method:
    """Returns the method of which this one is a share."""
    return next(m for m in methods if m.at_share(method.share).name == method.name)


def _point(run: Run, name: str, share: float, at: str, e: Estimate) -> ShareScore:
    n_train = float(np.mean([job.facts["n_rows"]["train"] for job in run.found[at].values()]))
    return ShareScore(
        method=name, share=share, n_train=n_train, value=e.value, low=_finite(e.low), high=_finite(e.high),
        n_seeds=e.n_seeds, n_rows=e.n_rows,
    )  # fmt: skip


def _gain(method: str, against: str, share: float, e: Estimate) -> ShareGain:
    low, high = _finite(e.low), _finite(e.high)
    return ShareGain(method=method, against=against, share=share, value=e.value, low=low, high=high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
