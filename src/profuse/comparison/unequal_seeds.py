"""Scores of methods that do not have the same seeds, as where a time limit was over before all was fitted.

A seed that draws an easy split lifts every method. Of the mean over two seeds and the score of one of them, which is
larger hangs on the splits. With the additive model

    score[method, seed] = a[method] + b[seed] + rest,    by least squares over what was fitted

a method is given the mean of `a[method] + b[seed]` over all seeds (least-squares means). One that has every seed keeps
its plain mean. One that lacks some is as far from the others as on the seeds that both have.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["shifts", "tell_unequal"]

Scores = Mapping[str, Mapping[int, float]]


def shifts(scores: Scores) -> dict[str, float]:
    """Returns what to add to the mean of each method that lacks a seed, so that it stands for all seeds.

    A method that shares no seed with others, not even by way of a third one, is left out: nothing tells its shift.

    Args:
        scores: Method to seed to score.
    """
    methods = [m for m, of in scores.items() if of]
    seeds = sorted({s for m in methods for s in scores[m]})
    if all(len(scores[m]) == len(seeds) for m in methods):
        return {}
    together = _largest_connected(scores, methods)
    seeds = sorted({s for m in together for s in scores[m]})
    cells = [(i, seeds.index(s), v) for i, m in enumerate(together) for s, v in scores[m].items()]
    design = np.zeros((len(cells), len(together) + len(seeds)))
    for row, (i, j, _) in enumerate(cells):
        design[row, [i, len(together) + j]] = 1.0
    effects = np.linalg.lstsq(design, np.array([v for *_, v in cells]), rcond=None)[0]
    of_seed = dict(zip(seeds, effects[len(together) :].tolist(), strict=True))
    everywhere = float(np.mean(list(of_seed.values())))
    lacking = [m for m in together if len(scores[m]) < len(seeds)]
    return {m: everywhere - float(np.mean([of_seed[s] for s in scores[m]])) for m in lacking}


def _largest_connected(scores: Scores, methods: list[str]) -> list[str]:
    """Returns the methods that are held together by seeds in common, of several such parts the largest."""
    parts: list[tuple[set[str], set[int]]] = []
    for m in methods:
        near = [part for part in parts if part[1] & set(scores[m])]
        parts = [part for part in parts if part not in near]
        parts.append(({m}.union(*(p[0] for p in near)), set(scores[m]).union(*(p[1] for p in near))))
    largest = max(parts, key=lambda part: len(part[0]))[0]
    return [m for m in methods if m in largest]


def tell_unequal(scores: Scores, shifted: Mapping[str, float]) -> str:
    """Returns one sentence that names the methods that lack seeds; "" where there are none.

    Args:
        scores: Method to seed to score.
        shifted: What `shifts` returns of them.
    """
    if not shifted:
        return ""
    n_seeds = len({s for of in scores.values() for s in of})
    named = [f"{m} ({len(scores[m])} of {n_seeds})" for m in list(shifted)[:5]]
    more = f" and {len(shifted) - 5} more" if len(shifted) > 5 else ""
    have = "does" if len(shifted) == 1 else "do"
    return (
        f"{', '.join(named)}{more} {have} not have every seed: differences are those on the seeds that both methods "
        "have, and scores, also those by which methods are chosen, are shifted by what the lacking seeds gave others."
    )
