"""What a question answers: estimates with intervals, and what they leave unexplained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from profuse._html import axis_of, html_note, html_range, html_table, html_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Answer", "Estimate"]


@dataclass(frozen=True)
class Estimate:
    """One number of an answer, with its 95 % interval.

    Attributes:
        name: What it is of: a modality, a subset, a rate.
        value: What `Answer.measures` says.
        low: Lower end of the interval.
        high: Upper end.
        n: Rows it was measured on.
        score: The metric under this condition, where the value is a difference.
        modalities: The modalities that it speaks of; none if of all.
        at: Where it stands on a curve: the level of noise, or the share that is missing, as reached.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    score: float | None = None
    modalities: tuple[str, ...] = ()
    at: float | None = None


@dataclass(frozen=True, repr=False)
class Answer:
    """What a question found out.

    Attributes:
        question: Its name.
        metric: In which values are measured.
        n_rows: Rows that were asked about.
        estimates: The answer.
        residual: What the estimates leave unexplained, in the metric's units; None where that is not defined.
        notes: What the residual means, what could not be measured, what the intervals are made of.
        measures: What a value is, in words.
        score: The metric of all rows as they are.
        details: What a picture of the answer is drawn from: plain values, as in JSON.
        shown: Names of the estimates that are shown after correction for how many were looked at; None where a
            question corrects nothing.
    """

    question: str
    metric: str
    n_rows: int
    estimates: tuple[Estimate, ...]
    residual: float | None
    notes: tuple[str, ...] = ()
    measures: str = ""
    score: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """The metric, as a reader says it."""
        from profuse.predictor.described import label_of

        return label_of(self.metric)

    def frame(self) -> pd.DataFrame:
        """Returns the estimates, one row each; with a column "shown" where the question corrects."""
        import pandas as pd

        columns = [f.name for f in fields(Estimate)]
        rows = [{**asdict(e), "modalities": " ".join(e.modalities)} for e in self.estimates]
        made = pd.DataFrame(rows, columns=columns)
        return made if self.shown is None else made.assign(shown=[e.name in self.shown for e in self.estimates])

    def to_json(self) -> str:
        """Returns everything as JSON; an end of an interval that is not known is null."""
        return json.dumps(_finite(asdict(self)), indent=2, ensure_ascii=False, allow_nan=False)

    def __repr__(self) -> str:
        width = max((len(e.name) for e in self.estimates), default=0)
        score = "" if self.score is None else f" of {self.score:.4f}"
        lines = [f"{self.question}: {self.measures}, {self.label}{score}, {self.n_rows} rows"]
        for e in self.estimates:
            then = "" if e.score is None else f"  ({self.label} {e.score:.4f})"
            then += "  shown" if e.name in (self.shown or ()) else ""
            lines.append(f"  {e.name:<{width}}  {e.value:8.4f}  [{e.low:.4f}, {e.high:.4f}]{then}")
        if self.residual is not None:
            lines.append(f"  residual: {self.residual:.4f}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """Returns the answer for notebooks: estimates with their intervals, drawn and written, and the notes."""
        axis = axis_of([x for e in self.estimates for x in (e.low, e.value, e.high)])
        scored, corrected = any(e.score is not None for e in self.estimates), self.shown is not None
        rows = []
        for e in self.estimates:
            ends = f"{e.low:.4f} to {e.high:.4f}" if math.isfinite(e.low) and math.isfinite(e.high) else "not known"
            row = [e.name, html_range(e.value, e.low, e.high, axis, f"{e.value:.4f}, {ends}"), f"{e.value:.4f}", ends]
            row += ["" if e.score is None else f"{e.score:.4f}"] if scored else []
            row += ["shown" if e.name in (self.shown or ()) else ""] if corrected else []
            rows.append([*row, f"{e.n:,}"])
        heads = ["", "", self.measures, "95 % interval", *([self.label] if scored else [])]
        table = html_table([*heads, *(["shown"] if corrected else []), "rows"], rows, n_words=2)
        score = "" if self.score is None else f", {self.label} {self.score:.4f}"
        head = f"<p><b>{html_text(self.question)}</b>, {self.n_rows:,} rows{html_text(score)}</p>"
        notes = [*([] if self.residual is None else [f"Residual: {self.residual:.4f}."]), *self.notes]
        return f"<div>{head}{table}{''.join(map(html_note, notes))}</div>"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
