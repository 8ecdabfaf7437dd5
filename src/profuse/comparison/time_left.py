"""How long a comparison still takes: fits of one method are alike, and a fusion costs what its parts cost."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from profuse.comparison.methods import Method

__all__ = ["TimeLeft"]

Fit = tuple[str, int]
"""Name of a method, and a seed."""
_EQUILIBRIUM = 4
"""Rounds that a fit until convergence is taken for before one was timed."""
_CLASSICAL = 1.0, 10.0  # seconds of a classical model, before one was timed: at least, at most


class TimeLeft:
    """Seconds until all fits are done, from the seconds of those that are done or under way.

    A fit takes as long as the same method at other seeds. Before one was timed, a network takes `rounds` times the sum
    of what its modalities take alone, times the ratio of timed fusions to that; a classical model takes the mean of
    those timed, or a quarter of what is expected of a network, 1 to 10 seconds. `n_jobs` fits are done at a time, in
    order.

    Args:
        fits: Method and seed of the fits to come, in order.
        n_jobs: Fits at a time.
        later: Methods that are fitted once, after all these.
        expected: Seconds of methods, by name, before they were timed.
        portfolios: How many folds they have, and the seconds that each may take.
    """

    def __init__(
        self,
        fits: Sequence[tuple[Method, int]],
        n_jobs: int,
        later: Sequence[Method] = (),
        expected: Mapping[str, float] | None = None,
        portfolios: tuple[int, float] = (5, math.inf),
    ) -> None:
        self._expected, self._portfolios = dict(expected or {}), portfolios
        self._methods = {method.name: method for method, _ in fits}
        self._open: dict[Fit, Method] = {(method.name, seed): method for method, seed in fits}
        self._later, self._n_jobs = later, n_jobs
        self._timed: dict[str, list[float]] = defaultdict(list)

    def finished(self, method: str, seed: int, seconds: float | None) -> None:
        """Takes a fit out of those to come; `seconds` is what it took, None if it failed."""
        self._open.pop((method, seed), None)
        if seconds is not None:
            self._timed[method].append(seconds)

    def seconds(self, running: Iterable[Mapping[str, Any]] = ()) -> float | None:
        """Returns the seconds that are left; None before each modality's network was seen at work, if nothing is
        expected.

        Args:
            running: Fits under way: `method`, `seed`, and as far as known `share` (of the fit that is done) and `spent`
                (seconds in it).
        """
        beats = {(str(b["method"]), int(b["seed"])): b for b in running}
        beats = {fit: b for fit, b in beats.items() if fit in self._open}
        known = {name: float(np.mean(values)) for name, values in self._timed.items()}
        for (name, _), beat in beats.items():
            if beat.get("share") and name not in known:
                known[name] = beat["spent"] / beat["share"]
        networks = {name: method for name, method in self._methods.items() if method.is_network}
        alone = {name for name, _ in self._open if name in networks and networks[name].role == "single"}
        if not self._expected and (not known.keys() & networks.keys() or not alone <= known.keys()):
            return None
        known = {**self._expected, **known}
        expected = _Expected(self._methods, known, self._portfolios)
        workers = [0.0] * self._n_jobs
        under_way = [fit for fit in self._open if fit in beats]
        waiting = [fit for fit in self._open if fit not in beats]
        for fit in [*under_way, *waiting]:
            whole = expected.seconds(self._open[fit])
            left = max(whole - beats[fit].get("spent", 0.0), 0.0) if fit in beats else whole
            heapq.heapreplace(workers, workers[0] + left)
        end = [max(workers)] * self._n_jobs
        for method in self._later:
            heapq.heapreplace(end, end[0] + expected.seconds(method))
        return max(end)


class _Expected:
    """What a fit takes, from `known`: seconds by the name of a method."""

    def __init__(
        self, methods: Mapping[str, Method], known: Mapping[str, float], portfolios: tuple[int, float]
    ) -> None:
        self.known, (self.n_folds, self.most_seconds) = known, portfolios
        self.mean = float(np.mean(list(known.values())))
        networks = {n: m for n, m in methods.items() if n in known and m.is_network}
        self.alone = {m.modalities[0]: known[n] for n, m in networks.items() if m.role == "single"}
        self.one = float(np.mean(list(self.alone.values()))) if self.alone else None
        classical = [known[n] for n, m in methods.items() if n in known and m.model is None and m.role != "trivial"]
        self.classical = float(np.mean(classical)) if classical else float(np.clip(self.mean / 4, *_CLASSICAL))
        ratios: dict[bool, list[float]] = defaultdict(list)
        for name, method in networks.items():
            if method.role != "single":
                ratios[_rounds(method) > 1].append(known[name] / self._parts(method))
        fused = [r for both in ratios.values() for r in both] or [1.0]
        self.ratio = {again: float(np.mean(ratios[again] or fused)) for again in (False, True)}

    def seconds(self, method: Method) -> float:
        if method.name in self.known:
            return self.known[method.name]
        return method.share * self._of_all_rows(method)

    def _of_all_rows(self, method: Method) -> float:
        if method.portfolio is not None:
            one = self.ratio[False] * sum(self.alone.get(name, self.mean) for name in method.modalities)
            all_folds = self.n_folds * (one + (len(method.modalities) + 3) * self.classical)
            return min(all_folds, self.most_seconds)
        if method.model is None:
            return 0.0 if method.role == "trivial" else self.classical
        return self.ratio[_rounds(method) > 1] * self._parts(method)

    def _parts(self, method: Method) -> float:
        """The sum of what its modalities take alone, once a round; all alike where none was timed."""
        one = self.mean if self.one is None else self.one
        return _rounds(method) * sum(self.alone.get(name, one) for name in method.modalities)


def _rounds(method: Method) -> int:
    assert method.model is not None
    return _EQUILIBRIUM if method.model.rounds == "equilibrium" else method.model.rounds
