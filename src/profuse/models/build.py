"""From names and options to a model: encoders by kind, the fusion at its level, the head, the rounds."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from torch import nn

from profuse._options import check_keywords
from profuse.encoders import DEFAULTS, Encoder, encoder
from profuse.errors import ConfigError, UnknownNameError
from profuse.fusion import DecisionFusion, Fusion, fusion
from profuse.heads import head_for
from profuse.models.fusion_model import JOINT, LEVELS_OF, FusionModel, Level, stage_channels
from profuse.progressive import ProgressiveFusion, Rounds, check_rounds
from profuse.schema import Spec, Task

__all__ = ["ModelOptions", "build_model"]

_PROGRESSIVE = (
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


class ModelOptions(BaseModel):
    """How a model is made; the same names in Python, YAML and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fusion: str = Field("token_transformer", description="Name of a fusion operator: see 'profuse fusions'.")
    level: Level | None = Field(
        None, description="raw, feature, hierarchical, decision or hybrid; the operator's own when absent."
    )
    decision: str = Field("mean_logits", description="Hybrid only: the decision operator that joins the outputs.")
    rounds: Rounds = Field(
        1, description="Rounds of Progressive Fusion, up to 64, or 'equilibrium'; 1 is the plain model."
    )
    feedback: Literal["scale_shift", "gate", "add", "concat", "attend"] = Field(
        "scale_shift", description="Form of the feedback."
    )
    into: tuple[str, ...] | None = Field(None, description="Modalities that receive feedback; all when absent.")
    entry: Literal["input", "early", "later"] = Field(
        "early", description="Where feedback enters: raw values, between embed and mix, or halfway through mix."
    )
    start: Literal["zero", "learned"] = Field("zero", description="The state before round one.")
    supervise: Literal["last", "all"] = Field("last", description="Rounds whose output has a loss.")
    gradient_rounds: int | None = Field(None, ge=1, description="Last rounds that carry gradient; all when absent.")
    max_rounds: int = Field(50, ge=1, description="Equilibrium: rounds in search of it, at most.")
    tolerance: float = Field(1e-4, gt=0, description="Equilibrium: relative change of the state that counts as rest.")
    damping: float = Field(1.0, gt=0, le=1, description="Equilibrium: how far each step of the search goes.")
    width: int = Field(64, ge=4, le=4096, description="Channels of tokens and of the joint vector.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout probability in encoders, fusion and head.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing; values (regression) have none.")
    unimodal_loss_weight: float = Field(
        0.5, ge=0, description="Weight of the modalities' own losses, each with its own head."
    )
    encoders: dict[str, str] = Field(default_factory=dict, description="Encoder name by modality.")
    operator_options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options of operators by their names: {lmf: {rank: 8}}."
    )

    @field_validator("rounds", mode="plain")
    @classmethod
    def _number_or_equilibrium(cls, asked: Any) -> Rounds:
        if asked == "equilibrium":
            return "equilibrium"
        if isinstance(asked, bool | np.bool_):  # pydantic takes True for 1
            raise ValueError("a number, or 'equilibrium'")
        try:
            return _NUMBER.validate_python(asked)
        except ValidationError as error:
            also = ", or 'equilibrium'" if isinstance(asked, str) else ""
            raise ValueError(error.errors()[0]["msg"].removeprefix("Input should be ") + also) from None

    @field_validator("operator_options")
    @classmethod
    def _known_options(cls, asked: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
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

    def resolved_level(self) -> Level:
        """Returns the level, the operator's own when none is given.

        Raises:
            ConfigError: The operator does not work at the level that is asked for.
        """
        own, *others = LEVELS_OF[fusion(self.fusion).level]
        if self.level is not None and self.level not in (own, *others):
            also = f" and also at {' and '.join(others)}" if others else ""
            raise ConfigError(
                f"ModelOptions: level must fit the operator; got level={self.level!r} with fusion={self.fusion!r}, "
                f"which works at the {own} level{also}. Leave level out, or name another operator."
            )
        return self.level or own


def build_model(
    specs: Mapping[str, Spec],
    task: Task,
    n_outputs: int,
    options: ModelOptions,
    *,
    n_rows: int,
    seed: int,
    encoders: Mapping[str, Encoder] | None = None,
    operator: Fusion | Callable[..., Fusion] | None = None,
) -> FusionModel | ProgressiveFusion:
    """Makes an untrained model.

    Args:
        specs: What each modality's preprocessor says.
        task: What is predicted.
        n_outputs: Classes, labels or values.
        options: How the model is made.
        n_rows: Training rows, by which encoders choose their size.
        seed: Of the initial weights; the global random state is left as it was.
        encoders: The user's own encoders, in place of made ones.
        operator: The user's own operator (a class, a function `(channels, width) -> Fusion`, or an instance), in
            place of `options.fusion`.
    """
    given = encoders or {}
    for name in [*options.encoders, *given]:
        if name not in specs:
            raise ConfigError(f"build_model: an encoder is given for {name!r}; the modalities are {sorted(specs)}.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = {
            name: copy.deepcopy(given[name])
            if name in given
            else encoder(options.encoders.get(name) or DEFAULTS[specs[name].kind]).make(
                specs[name], options.width, n_rows=n_rows, dropout=options.dropout
            )
            for name in sorted(specs)
        }
        kind = head_for(task)

        def head(width: int) -> nn.Module:
            return kind(width, n_outputs, dropout=options.dropout, label_smoothing=options.label_smoothing)

        level: Level
        if operator is None:
            level = options.resolved_level()
        else:  # a class or an instance says where it works; a factory makes feature operators
            level = getattr(operator, "level", "feature") if options.level is None else options.level
        widths = {name: e.embed_width if level == "raw" else e.width for name, e in made.items()}
        own_heads = None
        if level in ("decision", "hybrid") or options.unimodal_loss_weight > 0:
            own_heads = {name: head(widths[name]) for name in made}
        decision = None
        if level == "decision":
            widths, width = dict.fromkeys(widths, n_outputs), n_outputs
        else:
            width = options.width
        if level == "hybrid":
            joined = fusion(options.decision)
            if not issubclass(joined, DecisionFusion):
                raise ConfigError(f"build_model: decision must name a decision operator; got {options.decision!r}.")
            own = options.operator_options.get(options.decision, {})
            decision = joined(dict.fromkeys([*made, JOINT], n_outputs), n_outputs, link=kind.link, **own)
        if isinstance(operator, Fusion):
            operator = copy.deepcopy(operator)
        else:
            cls = operator or fusion(options.fusion)
            offered: dict[str, Any] = {"link": kind.link, "dropout": options.dropout}
            taken = inspect.signature(cls).parameters
            asked = {} if operator else options.operator_options.get(options.fusion, {})
            if "stage_channels" in taken:
                n_stages = int(asked.get("n_stages", taken["n_stages"].default))
                offered["stage_channels"] = stage_channels(made, max(1, n_stages))  # it says itself what it may be
            operator = cls(widths, width, **{k: v for k, v in offered.items() if k in taken} | asked)
            if not isinstance(operator, Fusion):
                raise ConfigError(
                    f"build_model: fusion must return a Fusion; got a {type(operator).__name__}. Inherit from "
                    "profuse.fusion.Fusion."
                )
        model = FusionModel(
            made,
            operator,
            head(operator.width),  # type: ignore[arg-type]
            level=level,
            own_heads=own_heads,  # type: ignore[arg-type]
            decision=decision,
            unimodal_loss_weight=options.unimodal_loss_weight,
        )
        if options.rounds == 1:
            return model
        return ProgressiveFusion(model, **{name: getattr(options, name) for name in _PROGRESSIVE})
