"""What a portfolio is made of, and how long that may take. This module loads no torch: a help is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from profuse._fields import Shown
from profuse.models.options import encoders_named

__all__ = ["PortfolioOptions", "Preset", "TimeLimit"]

Preset = Literal["quick", "default", "best"]
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(given: Any) -> Any:
    """`"10m"` -> 600.0; numbers are seconds."""
    if not isinstance(given, str):
        return given
    if (parts := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", given.strip())) is None:
        raise ValueError(f"time_limit must be a time like 90s, 10m or 2h; got time_limit={given!r}")
    return float(parts[1]) * _UNITS[parts[2]]


TimeLimit = Annotated[float, BeforeValidator(_seconds)]
"""Seconds, or a time like 10m."""


class PortfolioOptions(BaseModel):
    """How the models of a portfolio are fitted and combined; the same names in Python and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    preset: Annotated[Preset, Shown(common=True)] = Field(
        "default",
        description="Which models take part: quick (classical ones), default (and the default network), best (and "
        "further fusions, and networks of single modalities).",
    )
    time_limit: Annotated[TimeLimit | None, Shown("no limit", common=True, metavar="90s|10m|2h")] = Field(
        None, gt=0, description="How long it may take: what would take longer is left out."
    )
    members: Annotated[tuple[str, ...], Shown(common=True, flag="--member", metavar="MODULE:ATTR", repeated=True)] = (
        Field(
            (), description="Estimators of your own that take part: module:attribute, name=module:attribute, or a name."
        )
    )
    encoders: Annotated[
        dict[str, tuple[str, ...]],
        Shown("none", common=True, metavar="MODALITY=NAME,..", repeated=True),
    ] = Field(
        default_factory=dict,
        description="Other encoders of which a network takes part, by modality.",
    )
    metric: Annotated[str | None, Shown("AUROC of two classes, else the task's primary one", common=True)] = Field(
        None, description="Metric by which the weights of models are chosen, as roc_auc or average_precision."
    )
    threshold: Annotated[
        float | str | None, Shown("the most probable class is answered", common=True, metavar="METRIC|P")
    ] = Field(
        None,
        description="Probability from which on the second of two classes is answered, or the metric of answers by "
        "which held-out rows choose it: f1, balanced_accuracy, macro_f1, accuracy.",
    )
    cost: Annotated[dict[str, dict[str, float]] | None, Shown(common=True)] = Field(
        None,
        description="What wrong answers cost, {class: {answer: cost}}, 1 if not named: the cheapest answer is given.",
    )
    distil: Annotated[bool, Shown(common=True)] = Field(
        False,
        description="Return one network, that learns from what the portfolio predicts of rows it has not learned from.",
    )
    folds: Annotated[int | None, Shown("8 of fewer than 1,000 rows, else 5", common=True)] = Field(
        None, ge=2, le=20, description="Parts that rows are cut into; each is predicted by models of the others."
    )

    def n_folds(self, n_rows: int) -> int:
        """Returns how many parts so many rows are cut into."""
        return (8 if n_rows < 1_000 else 5) if self.folds is None else self.folds

    _named = field_validator("encoders", mode="before")(encoders_named)

    @field_validator("threshold", mode="before")
    @classmethod
    def _number(cls, asked: Any) -> Any:
        """A command line gives numbers as text."""
        try:
            value = float(asked) if isinstance(asked, str) else asked
        except ValueError:
            return asked  # the name of a metric
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1):
            return value
        raise ValueError(f"threshold must be a metric, or a probability above 0 and below 1; got threshold={asked!r}")

    @model_validator(mode="after")
    def _one_decision(self) -> PortfolioOptions:
        if self.threshold is not None and self.cost is not None:
            raise ValueError(f"threshold must not go with cost; got threshold={self.threshold!r} and cost={self.cost}")
        return self

    @field_validator("cost", mode="before")
    @classmethod
    def _by_class(cls, asked: Any) -> Any:
        """Classes are known by their names: `{0: {1: 5}}` is `{"0": {"1": 5}}`."""
        if not isinstance(asked, Mapping):
            return asked
        inner = {str(c): answers for c, answers in asked.items()}
        return {
            c: {str(a): cost for a, cost in answers.items()} if isinstance(answers, Mapping) else answers
            for c, answers in inner.items()
        }
