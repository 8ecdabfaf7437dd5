"""What is compared, and how: options, checked. This module loads no torch: a command line's help is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from profuse._fields import Shown
from profuse.models.options import ModelOptions, NRounds, encoders_named
from profuse.portfolio.options import Preset, TimeLimit
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

__all__ = ["CompareOptions"]


_PRESETS: dict[Preset, dict[str, Any]] = {
    "quick": {"seeds": 1, "rounds": (), "retrain_without": False, "train": {"epochs": 15, "refit": False}},
    "default": {},
    "best": {"seeds": 5, "trials": 3, "portfolio": "default"},
}


class CompareOptions(BaseModel):
    """What is compared, and how; the same names in Python, YAML and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Annotated[Preset, Shown(common=True)] = Field(
        "default",
        description="How thorough: quick (one seed, 15 epochs, no progressive variants), default, or best (5 seeds, 3 "
        "trials, a portfolio); other options win.",
    )
    time_limit: Annotated[
        Literal["auto", "none"] | Annotated[TimeLimit, Field(gt=0)], Shown(common=True, metavar="90s|10m|2h|none")
    ] = Field(
        "auto",
        description="How long it may take: seeds, epochs and variants are made fewer until it fits; auto: about 10 "
        "minutes up to 1,500 rows and more in proportion, and what is set stays.",
    )
    fusions: Annotated[tuple[str, ...], Shown(common=True, metavar="NAME,..|all")] = Field(
        (),
        description="Fusions beside those that are always compared: name or level:name, or all; see 'profuse fusions'.",
    )
    rounds: Annotated[tuple[NRounds, ...], Shown(common=True, metavar="N|equilibrium,..|none")] = Field(
        (2,), description="Rounds of the progressive variants, numbers or equilibrium, or none."
    )
    singles: Annotated[tuple[str, ...], Shown(common=True, metavar="NAME,..|all|none")] = Field(
        ("all",), description="Modalities that are compared by themselves, all or none."
    )
    encoders: Annotated[
        dict[str, tuple[str, ...]],
        Shown("none", common=True, metavar="MODALITY=NAME,..", repeated=True),
    ] = Field(
        default_factory=dict,
        description="Other encoders that are compared, by modality: each in the default fusion and alone.",
    )
    members: Annotated[tuple[str, ...], Shown(common=True, flag="--member", metavar="MODULE:ATTR", repeated=True)] = (
        Field(
            (),
            description="Estimators of your own that are compared: module:attribute, name=module:attribute, or a name.",
        )
    )
    seeds: Annotated[int, Shown(common=True)] = Field(
        3, ge=1, description="Repetitions, each with its own weights and (if not official) split."
    )
    trials: Annotated[int, Shown(common=True)] = Field(
        1, ge=1, description="Configurations each method tries; the best on validation is kept."
    )
    metric: Annotated[str | None, Shown("AUROC of two classes, else the task's primary one", common=True)] = Field(
        None,
        description="Metric that chooses, ranks and is tested, as roc_auc, average_precision, f1 or spearman.",
    )
    margin: float = Field(
        0.01,
        gt=0,
        description="Differences below it do not matter, in units of the metric: reports then say so (scores up to 1).",
    )
    retrain_without: Annotated[bool, Shown(common=True)] = Field(
        True,
        description="Whether the best fusion is fitted anew without each modality, at seed 0, to tell what it adds.",
    )
    curve: Annotated[bool, Shown(common=True)] = Field(
        False,
        description="Whether the best fusion, single modality and classical model are fitted to 1/16, 1/8, 1/4 and 1/2 "
        "of the training rows too, to tell whether more rows would help.",
    )
    portfolio: Annotated[
        Literal["auto", "none", "quick", "default", "best"], Shown(common=True, metavar="auto|none|quick|default|best")
    ] = Field(
        "auto",
        description="Whether what 'profuse fit' makes, models that predict together, is a row: none, quick, default or "
        "best; auto: default where there is time for it, as it takes several times what its models take alone.",
    )
    questions: Annotated[tuple[str, ...], Shown(common=True, metavar="NAME,..|none")] = Field(
        ("contribution", "conformal"),
        description="Questions to the model that does best, answered in the report; see 'profuse ask --help'.",
    )
    surest: Annotated[int, Shown(common=True)] = Field(
        8,
        ge=0,
        le=24,
        description="Test rows with the surest errors that the report shows, with what they hold; 0 keeps it out.",
    )
    profile: Annotated[bool, Shown(common=True)] = Field(
        True,
        description="Whether the report shows the data: distributions, missing cells, the target by part, and four "
        "training rows.",
    )
    split: Annotated[SplitOptions, Shown("auto")] = Field(
        default_factory=SplitOptions, description="How rows are divided: a method or its options."
    )
    model: Annotated[ModelOptions, Shown("its own")] = Field(
        default_factory=ModelOptions, description="What all models share, but for the rounds."
    )
    train: Annotated[TrainOptions, Shown("its own")] = Field(
        default_factory=TrainOptions, description="How all models are trained."
    )

    def filled(self) -> CompareOptions:
        """Returns the same with what the preset says in place of what is not set."""
        preset = _PRESETS[self.preset]
        train = {k: v for k, v in preset.get("train", {}).items() if k not in self.train.model_fields_set}
        changes = {k: v for k, v in preset.items() if k != "train" and k not in self.model_fields_set}
        return self.model_copy(update={**changes, "train": self.train.model_copy(update=train)})

    @field_validator("fusions", "rounds", "singles", "questions", mode="before")
    @classmethod
    def _several(cls, asked: Any, info: ValidationInfo) -> Any:
        """`none`, `all` and one name may stand without brackets."""
        several = (asked,) if isinstance(asked, str | int) else asked
        if not isinstance(several, list | tuple):
            return asked
        alone = {"singles": ("all", "none"), "fusions": ()}.get(str(info.field_name), ("none",))
        if len(several) > 1 and any(isinstance(a, str) and a in alone for a in several):
            raise ValueError(f"{' and '.join(alone)} must stand alone")
        return () if "none" in alone and list(several) == ["none"] else several

    _named = field_validator("encoders", mode="before")(encoders_named)

    @field_validator("split", mode="before")
    @classmethod
    def _method(cls, asked: Any) -> Any:
        """A method of splitting may stand by itself."""
        return {"method": asked} if isinstance(asked, str) else asked
