"""What is compared: single modalities, the default and baselines, what was asked for, and progressive variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from profuse._lookup import resolve
from profuse.classical import classical, fittable_to
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import MethodInfo, Role, Skipped
from profuse.errors import ConfigError
from profuse.fusion import FUSIONS, DecisionFusion, Fusion, fusion
from profuse.heads import Head, head_for
from profuse.models.levels import LEVELS
from profuse.models.options import ModelOptions
from profuse.portfolio.options import Preset
from profuse.progressive import Rounds, check_rounds
from profuse.schema import Task
from profuse.training.alternatives import others_than, short_names

__all__ = ["ALWAYS", "Method", "methods_asked", "methods_for"]

ALWAYS = ("concat", "mean_logits")
"""Fusions of features and of decisions that stand in every table, beside the default and whatever was asked for."""


class Method(BaseModel):
    """One row of the comparison.

    Attributes:
        name: Unique, and what results call it.
        role: Where it stands in the report.
        modalities: The ones it uses.
        model: How the model is made; None for a classical or trivial method.
        classical: The name of the classical model; its row's if None.
        portfolio: Of a portfolio: its preset.
        others: Of a portfolio: encoders by modality, besides those of all models, of which a network takes part.
        left_out: Of an ablation: the modality that it is fitted without.
        default: Whether `fit` makes this model where no operator is named.
        share: Of the rows that are learned from; its name tells a smaller one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    role: Role
    modalities: tuple[str, ...]
    model: ModelOptions | None = None
    classical: str | None = None
    portfolio: Preset | None = None
    others: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    left_out: str | None = Field(None, exclude=True)
    default: bool = Field(False, exclude=True)
    share: float = Field(1.0, gt=0, le=1, exclude=True)

    @property
    def estimator(self) -> str:
        """The name of the classical model."""
        return self.classical or self.name

    @property
    def plain_name(self) -> str:
        """The name without what a progressive variant has before it, and an ablation after it."""
        name = self.name if self.left_out is None else self.name.removesuffix(f" without {self.left_out}")
        return name if self.model is None else name.removeprefix(_progressive(self.model.rounds))

    @property
    def is_network(self) -> bool:
        """Whether it is one network."""
        return self.model is not None and self.portfolio is None

    def chooses(self, trials: int) -> bool:
        """Whether a choice between several fits of it is made by the metric that counts."""
        return self.portfolio is not None or (self.model is None and (self.role == "single" or trials > 1))

    def without(self, modality: str) -> Method:
        """Returns the same fusion, with the same options, of the other modalities."""
        assert self.model is not None
        rest = tuple(m for m in self.modalities if m != modality)
        return self.model_copy(update={
            "name": f"{self.name} without {modality}", "role": "ablation", "modalities": rest,
            "model": self.model.of_modalities(rest), "left_out": modality, "default": False,
        })  # fmt: skip

    def at_share(self, share: float) -> Method:
        """Returns the same method, fitted to a share of the rows that are learned from: 1/2, 1/4, ..."""
        classical = self.estimator if self.model is None else None
        name = f"{self.name} at 1/{round(1 / share)} of the rows"
        return self.model_copy(update={"name": name, "share": share, "classical": classical, "default": False})

    def info(self) -> MethodInfo:
        """Returns what results say of it."""
        if not self.is_network:
            family = {"trivial": "none", "portfolio": "portfolio"}.get(self.role, "classical")
            level = {"trivial": "none", "single": "single", "portfolio": "decision"}.get(self.role, "raw")
            return MethodInfo(
                name=self.name, label=self.name.replace("_", " "), family=family, level=level,
                modalities=list(self.modalities), role=self.role,
            )  # fmt: skip
        assert self.model is not None
        single = self.role == "single"
        return MethodInfo(
            name=self.name,
            label=self.name.replace("_", " "),
            family="single" if single else fusion(self.model.fusion or "").family(),
            level="single" if single else self.model.resolved_level(),
            rounds=self.model.rounds,
            fusion=self.plain_name,
            modalities=list(self.modalities),
            role=self.role,
            default=self.default,
        )


def _progressive(rounds: Rounds) -> str:
    """What stands before the name of a progressive variant."""
    return f"progressive ({rounds if rounds == 'equilibrium' else f'{rounds} rounds'}) "


def _parse(asked: str) -> tuple[str, str | None]:
    """`"hybrid:concat"` -> ("concat", "hybrid"); `"concat"` -> ("concat", None)."""
    level, _, name = asked.strip().rpartition(":")
    resolve(name, FUSIONS, where="compare", what="fusion")
    if level:
        resolve(level, dict.fromkeys(LEVELS), where="compare", what="level")
    return name, level or None


def methods_asked(options: CompareOptions, modalities: Sequence[str], task: Task) -> tuple[list[Method], list[Skipped]]:
    """Returns what `methods_for` does, of the options of a comparison."""
    return methods_for(
        modalities,
        options.fusions,
        rounds=options.rounds,
        base=options.model,
        task=task,
        singles=options.singles,
        portfolio=options.portfolio,
        others=others_than(options.model.encoders, options.encoders),
    )


def methods_for(
    modalities: Sequence[str],
    fusions: Sequence[str],
    *,
    rounds: Sequence[Rounds],
    base: ModelOptions,
    task: Task,
    singles: Sequence[str] = ("all",),
    portfolio: Literal["auto", "none"] | Preset = "none",
    others: Mapping[str, Sequence[str]] | None = None,
) -> tuple[list[Method], list[Skipped]]:
    """Returns the methods to compare, in the order of the table, and what cannot be, with the reason.

    Args:
        modalities: All modalities of the data.
        fusions: What was asked for: `name` or `level:name`; `all` is every operator at its own level.
        rounds: Rounds of the progressive variants, each at least 2, or "equilibrium"; empty for none.
        base: Options that all models share (width, dropout, encoders, ...), but for the rounds.
        task: What is predicted: the default hangs on it, and not every decision operator is defined for all.
        singles: Modalities that are compared by themselves, or ("all",); empty for none.
        portfolio: The preset of one, or "none"; "auto" is none until it is known how long that takes.
        others: Encoders by modality, besides those of `base`, that are compared too.

    Raises:
        ConfigError: Rounds below 2, rounds of `base`, or options of it that contradict an equilibrium.
        UnknownNameError: An unknown operator, level, or modality.
    """
    if base.rounds != 1:
        raise ConfigError(
            f"compare: model.rounds must be left at 1; got model.rounds={base.rounds!r}. "
            f"Use rounds=({base.rounds!r},), the rounds of the progressive variants."
        )
    for r in rounds:
        options = {"supervise": base.supervise, "start": base.start, "gradient_rounds": base.gradient_rounds}
        if check_rounds(r, where="compare", **options) == 1:  # type: ignore[arg-type]
            raise ConfigError(
                f"compare: rounds of a progressive variant must be at least 2; got rounds={list(rounds)}."
            )
    names, others = tuple(sorted(modalities)), others or {}
    short = short_names(e for several in others.values() for e in several)
    for name in others:
        resolve(name, dict.fromkeys(names), where="compare", what="modality")
    for name in base.into or ():
        resolve(name, dict.fromkeys(names), where="compare", what="modality")
    expanded = [f for asked in fusions for f in (FUSIONS if asked == "all" else [asked])]
    able, unable = fittable_to(task)
    roles = {name: classical(name).role for name in able}
    methods = [Method(name=name, role=role, modalities=()) for name, role in roles.items() if role == "trivial"]
    chosen = names if tuple(singles) == ("all",) else singles
    for name in chosen:
        resolve(name, dict.fromkeys(names), where="compare", what="modality")
    by_hand = {name: classical(name).row or name for name, role in roles.items() if role == "single"}
    for name in sorted(set(chosen)):
        alone = base.model_copy(update={
            "fusion": "attention_pooling", "level": None, "rounds": 1, "unimodal_loss_weight": 0.0,
            "operator_options": {},
            "encoders": {k: v for k, v in base.encoders.items() if k == name},
            "encoder_options": {k: v for k, v in base.encoder_options.items() if k == name},
        })  # fmt: skip
        methods.append(
            Method(name=f"{name} only", role="single", modalities=(name,), model=alone, default=len(names) == 1)
        )
        methods += [
            Method(name=f"{name} only, {short[e]}", role="single", modalities=(name,), model=_with(alone, name, e))
            for e in others.get(name, ())
        ]
        methods += [
            Method(name=f"{name} {row}", role="single", modalities=(name,), classical=model)
            for model, row in by_hand.items()
        ]
    methods += [Method(name=name, role=role, modalities=names) for name, role in roles.items() if role == "classical"]
    if portfolio not in ("auto", "none"):
        taken = {m: tuple(several) for m, several in others.items()}
        averaged = base.model_copy(update={"head": "mean"})
        methods.append(
            Method(
                name="portfolio", role="portfolio", modalities=names, model=averaged, portfolio=portfolio, others=taken
            )
        )
    skipped = [Skipped(method=name, reason=f"is not for a {task} target: {reason}") for name, reason in unable.items()]
    seen = set()
    default = _default(base, len(names), task)
    always = [default, *ALWAYS] if len(names) > 1 else ALWAYS
    for asked in [*always, *expanded]:
        name, level = _parse(asked)
        label = f"{level} {name}" if level else name
        if label in seen:
            continue
        seen.add(label)
        operator = fusion(name)
        reason = _not_for(operator, len(names), head_for(task, base.head))
        if reason:
            skipped.append(Skipped(method=label, reason=reason))
            continue
        role: Role = "baseline" if asked in always else "fusion"
        told = {k: v for k, v in base.operator_options.items() if k in (name, base.decision)}
        plain = base.model_copy(update={"fusion": name, "level": level, "rounds": 1, "operator_options": told})
        plain.resolved_level()
        made = Method(name=label, role=role, modalities=names, model=plain, default=asked == default)
        methods.append(made)
        if asked == default:
            methods += [
                Method(name=f"{label}, {m}: {short[e]}", role="fusion", modalities=names, model=_with(plain, m, e))
                for m, several in others.items()
                for e in several
            ]
        if operator.level != "decision" and asked in (default, *expanded):  # baselines are there to be held against
            methods += _twins(made, rounds)
    if len(names) == 1:
        kept = [m for m in methods if m.role not in ("baseline", "fusion")]
        skipped += [
            Skipped(method=m.name, reason="there is a single modality: nothing to fuse")
            for m in methods
            if m.role in ("baseline", "fusion")
        ]
        return kept, skipped
    return methods, skipped


def _with(model: ModelOptions, modality: str, encoder: str) -> ModelOptions:
    """Returns the same with another encoder of a modality, which has its own options."""
    options = {name: told for name, told in model.encoder_options.items() if name != modality}
    return model.model_copy(update={"encoders": {**model.encoders, modality: encoder}, "encoder_options": options})


def _default(base: ModelOptions, n_modalities: int, task: Task) -> str:
    """Returns what `fit` makes of these options, as `level:name` or `name`."""
    options = base.model_copy(update={"fusion": None, "level": None}).chosen(n_modalities, task)
    return f"{options.level}:{options.fusion}" if options.level else str(options.fusion)


def _twins(method: Method, rounds: Sequence[Rounds]) -> list[Method]:
    """Returns the same method with feedback, one for each of `rounds`."""
    assert method.model is not None
    return [
        method.model_copy(update={
            "name": _progressive(r) + method.name, "role": "fusion", "default": False,
            "model": method.model.model_copy(update={"rounds": r}),
        })
        for r in rounds
    ]  # fmt: skip


def _not_for(operator: type[Fusion], n_modalities: int, head: type[Head]) -> str:
    if issubclass(operator, DecisionFusion) and head.link not in operator.links:
        return f"is defined for {' and '.join(operator.links)} outputs; this task's are {head.link}"
    if issubclass(operator, DecisionFusion) and operator.out_of_fold and head.columns > 1:
        return f"is fitted to one number of each value; heads here have {head.columns}"
    if operator.max_modalities is not None and n_modalities > operator.max_modalities:
        return f"takes at most {operator.max_modalities} modalities; there are {n_modalities}"
    if n_modalities < operator.min_modalities:
        return f"needs at least {operator.min_modalities} modalities; there are {n_modalities}"
    return ""
