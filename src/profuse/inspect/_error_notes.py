"""What the question `errors` tells in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from profuse.inspect._words import plain, words
from profuse.inspect.leaking import Leaks
from profuse.inspect.mistakes import Mistakes
from profuse.inspect.slice_tests import N_SHUFFLES, Tested
from profuse.inspect.slices import Clusters
from profuse.inspect.wrong_labels import BOUND

__all__ = ["of_labels", "of_leaks", "of_residual", "of_rows", "of_slices"]

_TOLD = 5
_SLICES = 3
_GROUPS = 10


def of_rows(surest: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tells the surest errors."""
    if not surest:
        yield "No row is predicted wrongly."
        return
    sign = f"{surest[0]['deviations']:.1f} sd" if surest[0]["probability"] is None else ""
    told = [
        f"row {r['id']}: {words(r['predicted'])} ({_sure(r)}), in truth {words(r['truth'])}" for r in surest[:_TOLD]
    ]
    what = ", in standard deviations of errors" if sign else ""
    yield f"Surest errors{what}: {'; '.join(told)}."


def of_slices(
    details: Mapping[str, Any], shown: Sequence[Tested], most: int, clusters: Clusters, made: Mistakes
) -> Iterator[str]:
    """Tells which slices are shown to be worse, and what the test is worth."""
    n, nearest = details["looked_at"], [s["name"] for s in details["slices"] if not s["shown"]]
    if not n:
        yield "No slice has enough rows, inside and outside, to be looked at; or all rows have one loss."
        return
    n_groups = len(np.unique(made.asked.clusters))
    grouped = n_groups < len(made.loss)
    unit = "signs of the errors of groups" if grouped else "errors"
    if shown:
        best = ", ".join(f"{t.slice.name!r} (p = {t.p:.3f})" for t in shown[:_SLICES])
        others = f", and {len(shown) - _SLICES} more" if len(shown) > _SLICES else ""
        have = "has" if len(shown) == 1 else "have"
        yield f"Of {n} slices {len(shown)} {have} a higher {details['loss']}: {best}{others}."
    else:
        yield f"Of {n} slices none is shown to have a higher {details['loss']}."
    if nearest:
        yield f"Not shown, but the nearest to it: {', '.join(map(repr, nearest))}."
    yield (
        f"Excess error: the mean loss in a slice, less that outside. p is corrected for all {n} slices, by the "
        f"greatest statistic in {N_SHUFFLES} shuffles of the {unit}."
    )
    if grouped and n_groups < _GROUPS:
        yield f"There are {n_groups} groups of rows: too few to show anything of other groups; {_GROUPS} or more may."
    if details["left_out"]:
        yield f"{details['left_out']} more slices were not looked at: there are too many columns."
    if len(shown) > most:
        yield f"The estimates are of {most} slices; `details` hold all."
    if shown:
        yield (
            "Intervals are of one slice by itself. Those that are chosen for their error are, on the average, a little "
            "less bad than they look; slices may overlap."
        )
    for k in sorted({int(n.split()[1]) for t in shown for n in (t.parts or (t.slice.name,)) if _is_cluster(n)}):
        near = ", ".join(str(made.told(i)["id"]) for i in clusters.middle(k - 1, _TOLD))
        yield f"Cluster {k}: {_predicted(clusters.codes == k - 1, made)}; in its middle rows {near}."


def _predicted(rows: np.ndarray, made: Mistakes) -> str:
    """Tells what is predicted of rows."""
    predictor, outputs = made.asked.predictor, made.outputs[rows]
    if predictor.task in ("regression", "multilabel"):
        names = predictor.codec.names if predictor.task == "regression" else predictor.classes
        means = [f"{name} {mean:.4g}" for name, mean in zip(names, outputs.mean(0), strict=True)]
        return f"{len(outputs)} rows, predicted on average {', '.join(means[:_TOLD])}"
    counts = np.bincount(predictor.decision.codes(outputs), minlength=len(predictor.classes))
    most = [k for k in np.argsort(-counts, kind="stable")[:_SLICES] if counts[k]]
    listed = ", ".join(f"{predictor.classes[k]} ({counts[k] / len(outputs):.0%})" for k in most)
    return f"{len(outputs)} rows, most predicted as {listed}"


def of_labels(labels: Mapping[str, Any], made: Mistakes) -> Iterator[str]:
    """Tells the targets that look wrong, and what that means."""
    number, first = labels["number"], labels["suspected"][:_TOLD]
    told = "; ".join(
        f"row {s['id']}: {s['of'] + ' ' if s['of'] and len(made.asked.true.shape) > 1 else ''}{words(s['given'])}, "
        f"rather {words(s['suggested'])}"
        for s in first
    )
    if made.asked.predictor.task == "regression":
        yield (
            f"{labels['n']} targets are more than {BOUND:g} robust standard deviations off"
            f"{': ' + told if told else ''}. Of normal errors one in a million would be; where errors have long tails, "
            "many are, and right."
        )
    else:
        yield (
            f"Labels that look wrong: {labels['n']}{', the surest ' + told if told else ''}. Their number is estimated "
            f"as {number['value']:.1f} ({number['low']:.1f} to {number['high']:.1f}), by confident learning."
        )
        yield (
            f"By its probabilities the model expects {labels['expected']:.1f} such rows: where classes overlap, or as "
            "labels were wrong where it learned. So look before you relabel."
        )
    yield "This holds only for rows that the model has not learned from: it agrees with the labels that it has learned."


def of_leaks(leaks: Leaks, made: Mistakes) -> Iterator[str]:
    """Tells equal rows, and inputs that tell the target."""
    if leaks.n_equal:
        sets = [", ".join(str(plain(i)) for i in _ids(rows, made)) for rows in leaks.contradictions[:3]]
        listed = f" (rows {'; '.join(sets)}{'; ...' if leaks.n_contradictions > 3 else ''})" if sets else ""
        yield (
            f"{leaks.n_equal} rows equal another one in all that the model uses; in {leaks.n_contradictions} sets of "
            f"equal rows{listed} targets differ: no model can be right about all of these."
        )
    yield from leaks.notes
    yield "Whether rows equal rows of training cannot be told: a model does not hold these."


def of_residual(residual: float | None, n_explaining: int) -> str:
    """Tells what the residual is."""
    if residual is None:
        return "No residual: every row lies in a slice that is shown."
    if not n_explaining:
        return "The residual is the mean loss of all rows: no slice that is known before the truth explains any of it."
    return "The residual is the mean loss of the rows that lie in no slice that is shown (but for those of the truth)."


def _sure(row: Mapping[str, Any]) -> str:
    return f"{row['deviations']:.1f}" if row["probability"] is None else f"{row['probability']:.2f}"


def _is_cluster(name: str) -> bool:
    return name.startswith("cluster ") and " of " in name and name.split()[1].isdigit()


def _ids(rows: Sequence[int], made: Mistakes) -> list[Any]:
    if made.dataset.ids is None:
        return list(rows)
    of_number = dict(zip(made.numbers.tolist(), made.dataset.ids, strict=True))
    return [of_number[r] for r in rows]
