"""From names and options to a model: encoders by kind, the fusion at its level, the head, the rounds."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from profuse.encoders import Encoder, encoder
from profuse.errors import ConfigError
from profuse.fusion import DecisionFusion, Fusion, fusion
from profuse.heads import ValuesHead, head_for
from profuse.kinds import kind_named
from profuse.models.fusion_model import JOINT, FusionModel, stage_channels
from profuse.models.levels import Level
from profuse.models.linear_paths import n_landmarks
from profuse.models.options import PROGRESSIVE, ModelOptions
from profuse.progressive import ProgressiveFusion
from profuse.schema import Spec, Task

__all__ = ["Model", "build_model"]

Model = FusionModel | ProgressiveFusion


def build_model(
    specs: Mapping[str, Spec],
    task: Task,
    n_outputs: int,
    options: ModelOptions,
    *,
    n_rows: int,
    n_known: int | None = None,
    seed: int,
    encoders: Mapping[str, Encoder] | None = None,
    operator: Fusion | Callable[..., Fusion] | None = None,
    quantile: float | None = None,
) -> Model:
    """Makes an untrained model.

    Args:
        specs: What each modality's preprocessor says.
        task: What is predicted.
        n_outputs: Classes, labels or values.
        options: How the model is made.
        n_rows: Training rows, by which encoders choose their size.
        n_known: Rows that linear paths may learn from, each of which may be a landmark (`n_landmarks`): where a model
            is learned anew with validation rows, those too. `n_rows` if None.
        seed: Of the initial weights; the global random state is left as it was.
        encoders: The user's own encoders, in place of made ones.
        operator: The user's own operator (a class, a function `(channels, width) -> Fusion`, or an instance), in
            place of `options.fusion`.
        quantile: That heads of one number for each value learn, in place of the mean; see `ValuesHead`.
    """
    given = encoders or {}
    options = options.chosen(len(specs), task) if operator is None else options
    named = options.fusion or ""  # of the user's own operator there is none
    for name in [*options.encoders, *given, *options.encoder_options]:
        if name not in specs:
            raise ConfigError(f"build_model: an encoder is given for {name!r}; the modalities are {sorted(specs)}.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = {}
        for name in sorted(specs):
            if name in given:
                made[name] = copy.deepcopy(given[name])
                continue
            cls_ = encoder(options.encoders.get(name) or kind_named(specs[name].kind).encoder)
            made[name] = cls_.make(specs[name], options.width, n_rows=n_rows, dropout=options.dropout)
            if name in options.encoder_options:
                try:
                    made[name] = made[name].with_options(options.encoder_options[name])
                except ConfigError as error:
                    raise ConfigError(f"encoder_options of {name!r}: {error}") from error
        kind = head_for(task, options.head)
        n_columns = n_outputs * kind.columns

        cls: Any = fusion(named) if operator is None else operator
        one = getattr(cls, "members", "together") == "one" or getattr(cls, "n_remembered", 0) > 0
        n_members = options.n_members(n_rows, one=one)

        def head(width: int) -> nn.Module:
            new = kind(
                width,
                n_columns,
                dropout=options.dropout,
                label_smoothing=options.label_smoothing,
                n_members=n_members,
            )
            if isinstance(new, ValuesHead):
                new.quantile = quantile
            return new

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
            widths, width = dict.fromkeys(widths, n_columns), n_columns
        else:
            width = options.width
        if level == "hybrid":
            joined = fusion(options.decision)
            if not issubclass(joined, DecisionFusion):
                raise ConfigError(f"build_model: decision must name a decision operator; got {options.decision!r}.")
            own = options.operator_options.get(options.decision, {})
            decision = joined(dict.fromkeys([*made, JOINT], n_columns), n_columns, link=kind.link, **own)
        if isinstance(operator, Fusion):
            operator = copy.deepcopy(operator)
        else:
            cls = operator or fusion(named)
            offered: dict[str, Any] = {"link": kind.link, "dropout": options.dropout}
            taken = inspect.signature(cls).parameters
            asked = {} if operator else options.operator_options.get(named, {})
            if "stage_channels" in taken:
                n_stages = int(asked.get("n_stages", taken["n_stages"].default))
                offered["stage_channels"] = stage_channels(made, max(1, n_stages))  # it says itself what it may be
            operator = cls(widths, width, **{k: v for k, v in offered.items() if k in taken} | asked)
            if not isinstance(operator, Fusion):
                raise ConfigError(
                    f"build_model: fusion must return a Fusion; got a {type(operator).__name__}. Inherit from "
                    "profuse.fusion.Fusion."
                )
        decider = operator if isinstance(operator, DecisionFusion) else decision
        if kind.columns > 1 and decider is not None and decider.out_of_fold:
            raise ConfigError(
                f"{type(decider).__name__}: it is fitted to what is predicted of each value, one number; got "
                f"head={options.head!r}, which has {kind.columns}. Use another operator, or head='mean'."
            )
        model = FusionModel(
            made,
            operator,
            head(operator.width),  # type: ignore[arg-type]
            level=level,
            own_heads=own_heads,  # type: ignore[arg-type]
            decision=decision,
            unimodal_loss_weight=options.unimodal_loss_weight,
            n_landmarks=n_landmarks(n_rows if n_known is None else n_known, len(made)),
        )
        if options.rounds == 1:
            return model
        return ProgressiveFusion(model, **{name: getattr(options, name) for name in PROGRESSIVE})
