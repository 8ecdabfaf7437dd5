"""How a model is made: options, checked. This module loads no torch: a command line's help is made of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from profuse._fields import Shown
from profuse._options import asked_for, check_keywords
from profuse.errors import ConfigError, UnknownNameError
from profuse.models.levels import LEVELS_OF, Level
from profuse.schema import Task

__all__ = ["PROGRESSIVE", "ModelOptions", "NRounds", "encoders_named"]

PROGRESSIVE = (
    "rounds",
    "feedback",
    "into",
    "entry",
    "start",
    "supervise",
    "gradient_rounds",
    "max_rounds",
    "tolerance",
    "damping",
)
"""Options that are arguments of `ProgressiveFusion`."""
_NUMBER = TypeAdapter(Annotated[int, Field(ge=1, le=64)])


def _number_or_equilibrium(asked: Any) -> int | Literal["equilibrium"]:
    if asked == "equilibrium":
        return "equilibrium"
    if type(asked).__name__.startswith("bool"):  # NumPy's too; pydantic takes True for 1
        raise ValueError("a number, or 'equilibrium'")
    try:
        return _NUMBER.validate_python(asked)
    except ValidationError as error:  # what is neither is one fault, not two
        fault = error.errors()[0]
        also = ", or 'equilibrium'" if fault["type"] == "int_parsing" else ""
        raise ValueError(fault["msg"].removeprefix("Input should be ") + also) from None


NRounds = Annotated[int | Literal["equilibrium"], PlainValidator(_number_or_equilibrium)]


def encoders_named(asked: Any, info: ValidationInfo) -> Any:
    """Checks names of several encoders by modality, `{text: [words, static]}` or `{text: "words,static"}`."""
    if not isinstance(asked, dict):
        return asked
    several = {m: [n.strip() for n in each.split(",")] if isinstance(each, str) else each for m, each in asked.items()}
    if asked_for(info):
        from profuse.encoders import encoder

        try:
            for name in (n for each in several.values() if isinstance(each, list | tuple) for n in each):
                encoder(str(name))
        except UnknownNameError as error:
            raise ValueError(str(error)) from None
    return several


class ModelOptions(BaseModel):
    """How a model is made; the same names in Python, YAML and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fusion: Annotated[str | None, Shown("hybrid:concat; concat for numbers", common=True, metavar="[LEVEL:]NAME")] = (
        Field(None, description="Fusion operator: see 'profuse fusions'. A single modality is only pooled.")
    )
    level: Annotated[Level | None, Shown("the operator's own")] = Field(
        None, description="Where it fuses: raw, feature, hierarchical, decision or hybrid."
    )
    decision: str = Field("mean_logits", description="Hybrid only: the decision operator that joins the outputs.")
    rounds: Annotated[NRounds, Shown(common=True, metavar="N|equilibrium")] = Field(
        1, description="Rounds of Progressive Fusion, up to 64; 1 is the plain model, equilibrium until convergence."
    )
    feedback: Annotated[
        Literal["scale_shift", "gate", "add", "concat", "attend"], Shown(common=True, metavar="NAME")
    ] = Field("scale_shift", description="Form of the feedback: scale_shift, gate, add, concat or attend.")
    into: Annotated[tuple[str, ...] | None, Shown("all", common=True, metavar="MODALITY,..")] = Field(
        None, description="Modalities that receive feedback."
    )
    entry: Annotated[Literal["input", "early", "later"], Shown(common=True)] = Field(
        "early",
        description="Where feedback enters: input (raw values), early (between embed and mix) or later (within mix).",
    )
    start: Literal["zero", "learned"] = Field("zero", description="The state before round one: zero or learned.")
    supervise: Annotated[Literal["last", "all"], Shown(common=True)] = Field(
        "last", description="Rounds whose output has a loss: last or all."
    )
    gradient_rounds: Annotated[int | None, Shown("all")] = Field(
        None, ge=1, description="How many of the last rounds carry gradient."
    )
    max_rounds: int = Field(50, ge=1, description="Equilibrium: rounds in search of it, at most.")
    tolerance: float = Field(1e-4, gt=0, description="Equilibrium: relative change of the state that ends the search.")
    damping: float = Field(1.0, gt=0, le=1, description="Equilibrium: how far each step of the search goes.")
    width: Annotated[int, Shown(common=True)] = Field(
        64, ge=4, le=4096, description="Channels of tokens and of the joint vector."
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout probability in encoders, fusion and head.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing; not for regression.")
    head: Annotated[Literal["mean", "quantile"], Shown(common=True)] = Field(
        "mean",
        description="Of numbers, what is predicted: mean, or quantile, the median with the .05 and .95 quantiles.",
    )
    unimodal_loss_weight: Annotated[float, Shown(common=True)] = Field(
        0.5, ge=0, description="Weight of the modalities' own losses, each with its own head."
    )
    members: Annotated[int | None, Shown("8 below 1,000 rows, else 1", common=True)] = Field(
        None, ge=1, le=64, description="Models in one that share the body; each has a scale and heads of its own."
    )
    encoders: Annotated[
        dict[str, str], Shown("the kinds' defaults", common=True, flag="--encoder", metavar="MODALITY=NAME")
    ] = Field(
        default_factory=dict,
        description="Encoder by modality: {picture: vit}; hf:FOLDER is a frozen, hf-lora:FOLDER a tuned model.",
    )
    encoder_options: Annotated[dict[str, dict[str, Any]], Shown("each encoder's")] = Field(
        default_factory=dict, description="Options of encoders by modality: {picture: {augment: 0.0}}."
    )
    operator_options: Annotated[dict[str, dict[str, Any]], Shown("each operator's")] = Field(
        default_factory=dict, description="Options of operators by their names: {low_rank: {rank: 8}}."
    )

    @field_validator("encoders", mode="before")
    @classmethod
    def _names_only(cls, asked: Any) -> Any:
        """Says where options of an encoder belong."""
        for modality, told in asked.items() if isinstance(asked, dict) else ():
            if isinstance(told, dict):
                options = {k: v for k, v in told.items() if k != "name"}
                raise ValueError(
                    f"must be the name of an encoder for each modality; options belong in encoder_options: "
                    f"{{{modality}: {options or '{...}'}}}"
                )
        return asked

    @field_validator("fusion", "decision", "encoders")
    @classmethod
    def _known(cls, asked: Any, info: ValidationInfo) -> Any:
        if asked is not None and asked_for(info):
            from profuse.encoders import encoder
            from profuse.fusion import fusion

            try:
                for name in [asked] if isinstance(asked, str) else asked.values():
                    fusion(name) if isinstance(asked, str) else encoder(name)
            except UnknownNameError as error:
                raise ValueError(str(error)) from None
        return asked

    @field_validator("encoder_options")
    @classmethod
    def _immutable(cls, asked: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """YAML and JSON have lists, encoders take tuples; what else an option must be, its encoder says when made."""
        return {
            name: {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            for name, options in asked.items()
        }

    @field_validator("operator_options")
    @classmethod
    def _known_options(cls, asked: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        from profuse.fusion import fusion

        for name, options in asked.items():
            try:
                operator = fusion(name)
            except UnknownNameError as error:
                raise ValueError(str(error)) from None
            # these three are the model's to say
            check_keywords(operator, options, who=repr(name), ours=("link", "dropout", "stage_channels"))
        return asked

    @model_validator(mode="after")
    def _rounds_fit(self) -> ModelOptions:
        from profuse.progressive import check_rounds

        try:
            check_rounds(
                self.rounds,
                where="profuse",
                supervise=self.supervise,
                start=self.start,
                gradient_rounds=self.gradient_rounds,
            )
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def n_members(self, n_rows: int, *, one: bool = False) -> int:
        """Returns how many members a model has.

        Args:
            n_rows: Training rows.
            one: Whether the operator takes one alone (`Fusion.members`): then there is one, unless more are asked for.
        """
        if self.members is not None:
            return self.members
        return 8 if n_rows < 1_000 and not one else 1

    def chosen(self, n_modalities: int, task: Task) -> ModelOptions:
        """Returns the options with an operator named; where none was, by what there is to fuse.

        Of a single modality tokens are pooled, without a second loss of its own. Of several, each has its own outputs
        beside those of all together, and the outputs are averaged: on few rows what is learned jointly is learned by
        heart sooner than what each modality tells. Numbers are not averaged: where no modality knows much by itself,
        the mean would be drawn to nothing.
        """
        if self.fusion is not None:
            return self
        if n_modalities == 1:
            return self.model_copy(update={"fusion": "attention_pooling", "unimodal_loss_weight": 0.0})
        level = self.level or (None if task == "regression" else "hybrid")
        return self.model_copy(update={"fusion": "concat", "level": level})

    def of_modalities(self, names: Collection[str]) -> ModelOptions:
        """Returns the options of the same model of `names` alone: what is said of other modalities is left out."""
        kept: dict[str, Any] = {
            field: {name: of for name, of in getattr(self, field).items() if name in names}
            for field in ("encoders", "encoder_options")
        }
        return self.model_copy(update={**kept, "into": tuple(m for m in self.into or () if m in names) or None})

    def resolved_level(self) -> Level:
        """Returns the level, the operator's own when none is given.

        Raises:
            ConfigError: The operator does not work at the level that is asked for.
        """
        from profuse.fusion import fusion

        name = self.fusion or "concat"
        own, *others = LEVELS_OF[fusion(name).level]
        if self.level is not None and self.level not in (own, *others):
            also = f" and also at {' and '.join(others)}" if others else ""
            raise ConfigError(
                f"ModelOptions: level must fit the operator; got level={self.level!r} with fusion={name!r}, "
                f"which works at the {own} level{also}. Leave level out, or name another operator."
            )
        return self.level or own
