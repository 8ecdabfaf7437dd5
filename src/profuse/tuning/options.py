"""How options are searched: checked. This module loads no torch: a command line's help is made of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from profuse._fields import Shown
from profuse.models.options import ModelOptions
from profuse.portfolio.options import TimeLimit
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

__all__ = ["TuneOptions"]


class TuneOptions(BaseModel):
    """What is searched, and how; the same names in Python and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fusions: Annotated[
        tuple[str, ...],
        Shown("the default network", common=True, flag="--fusion", metavar="[LEVEL:]NAME", repeated=True),
    ] = Field((), description="Fusions, each with a search of its own and as many trials as the others.")
    trials: Annotated[int, Shown(common=True)] = Field(
        30, ge=1, description="Trials of each fusion; the first one has the default options."
    )
    time_limit: Annotated[TimeLimit | None, Shown("no limit", common=True, metavar="90s|10m|2h")] = Field(
        None, gt=0, description="How long the search may take; fusions take turns, so that all have as many trials."
    )
    metric: Annotated[str | None, Shown("AUROC of two classes, else the task's primary one", common=True)] = Field(
        None, description="Metric of the validation rows by which trials are judged, as roc_auc, f1 or mae."
    )
    splits: Annotated[int, Shown(common=True)] = Field(
        1,
        ge=1,
        le=20,
        description="Folds of the rows that are no test rows; a trial's score is the mean of them. 1: one validation "
        "part.",
    )
    prune: Annotated[bool, Shown(common=True)] = Field(
        True, description="Whether a trial ends early where its validation error is above the median of earlier ones."
    )
    seed: Annotated[int, Shown(common=True)] = Field(
        0, ge=0, description="Of the split, of all trainings, and of what is tried."
    )
    split: Annotated[SplitOptions, Shown("auto")] = Field(
        default_factory=SplitOptions, description="How rows are divided: a method or its options."
    )
    model: Annotated[ModelOptions, Shown("its own")] = Field(
        default_factory=ModelOptions, description="What all trials share; what is set here is not searched."
    )
    train: Annotated[TrainOptions, Shown("its own")] = Field(
        default_factory=TrainOptions, description="How all trials are trained; what is set here is not searched."
    )

    @field_validator("fusions", mode="before")
    @classmethod
    def _several(cls, asked: Any) -> Any:
        """One name may stand without brackets."""
        return (asked,) if isinstance(asked, str) else asked

    @field_validator("split", mode="before")
    @classmethod
    def _method(cls, asked: Any) -> Any:
        """A method of splitting may stand by itself."""
        return {"method": asked} if isinstance(asked, str) else asked

    @field_validator("model")
    @classmethod
    def _no_fusion(cls, asked: ModelOptions) -> ModelOptions:
        if asked.fusion is not None or asked.level is not None:
            raise ValueError(
                f"model must leave the fusion to fusions; got model.fusion={asked.fusion!r}, model.level="
                f"{asked.level!r}: use fusions=('level:name',)"
            )
        return asked

    @field_validator("train")
    @classmethod
    def _no_seed(cls, asked: TrainOptions) -> TrainOptions:
        if "seed" in asked.model_fields_set:
            raise ValueError(f"train must leave the seed to the search; got train.seed={asked.seed}: use seed")
        return asked
