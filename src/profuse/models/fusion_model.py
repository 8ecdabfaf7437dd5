"""The parts put together: encoders, a fusion at one of five levels, a head.

raw           embed -> fusion -> head             fused before any modality is mixed (early fusion)
feature       embed -> mix -> fusion -> head
hierarchical  embed -> parts of mix, an exchange after each -> merge -> head
decision      embed -> mix -> a head a modality -> fusion of their outputs (late fusion)
hybrid        feature or hierarchical, and decision, whose outputs a decision operator joins
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from profuse.encoders import Encoder, segment_widths, segments
from profuse.errors import ConfigError, ShapeError
from profuse.fusion import DecisionFusion, Fused, Fusion, HierarchicalFusion
from profuse.heads import Head
from profuse.layers.members import MemberScale, members_apart, members_together
from profuse.models.levels import LEVELS, LEVELS_OF, Level
from profuse.models.linear_paths import JOINT, LinearPaths
from profuse.models.trainable import Trainable, Validation
from profuse.tokens import Raw, Tokens

__all__ = ["JOINT", "FusionModel", "Output", "stage_channels"]


@dataclass(frozen=True, eq=False)
class Output:
    """What a model returns for a batch.

    Attributes:
        outputs: `[batch, n_outputs]` in the head's units; `head.predict` makes predictions of them.
        fused: The fused modalities of the last round.
        parts: Outputs of single heads, `[batch, n_outputs]` each: a modality's own, and `JOINT` in a hybrid.
        present: For each of `parts`, which rows have it: `[batch]` bool.
        rounds: `outputs` of every round; the last is `outputs`.
        members: Where the model has several members, what each of them returns: the same of `[batch * member]` rows.
    """

    outputs: Tensor
    fused: Fused
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)
    rounds: tuple[Tensor, ...] = ()
    members: Output | None = None


class FusionModel(Trainable[Output]):
    """Encoders, a fusion operator and a head, beside linear paths: `outputs = head(fusion(encoders)) + linear`.

    Args:
        encoders: One for each modality.
        fusion: The operator; a `DecisionFusion` for the decision level, a `HierarchicalFusion`, whose `stage_channels`
            fit the encoders, for the hierarchical one.
        head: Makes outputs of the joint vector; at the decision level it only gives loss and prediction rule. Its
            `n_members` are the model's: see below.
        level: Where the modalities meet; see the module.
        own_heads: A head for each modality: needed for decision and hybrid, and for the modalities' own losses. It
            reads the mean of what the modality's encoder returns: in hierarchical fusion, before the last exchange.
        decision: Hybrid only: joins the joint head's output and the modalities'.
        unimodal_loss_weight: Weight of the modalities' own losses (their mean), at least 0.
        n_landmarks: Of each modality's linear path, at most; see `LinearPath`.

    With K members (TabM-mini) the body is shared by K models: each scales the tokens, where they enter, by a vector of
    its own (`MemberScale`) and has heads of its own. Every member learns by its own loss, their mean; the prediction is
    the mean of theirs. Members part after `embed`, or after `mix` where an encoder says that it is costly and no
    exchange takes place in it.

    Raises:
        ConfigError: Parts that do not fit the level or each other.

    Reference:
        Gorishniy, Kotelnikov, Babenko, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling",
        ICLR 2025. *Differs from the paper*: members go through any encoders and fusion, after a costly `mix`.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        fusion: Fusion,
        head: Head,
        *,
        level: Level = "feature",
        own_heads: Mapping[str, Head] | None = None,
        decision: DecisionFusion | None = None,
        unimodal_loss_weight: float = 0.0,
        n_landmarks: int = 512,
    ) -> None:
        super().__init__()
        self.names = tuple(sorted(encoders))
        self.level: Level = level
        self.unimodal_loss_weight = unimodal_loss_weight
        own_heads = own_heads or {}
        _check(encoders, fusion, head, level, own_heads, decision, unimodal_loss_weight)
        self.encoders = nn.ModuleList([encoders[name] for name in self.names])
        self.fusion = fusion
        self.head: Head = head
        self.own_heads = nn.ModuleList([own_heads[name] for name in self.names] if own_heads else [])
        self.decision = decision
        early = level == "raw" or isinstance(fusion, HierarchicalFusion)
        self.members_enter = {n: "embed" if early else encoders[n].members_enter for n in self.names}
        self.scales = nn.ModuleList()
        for e, step in zip(self.encoders, self.members_enter.values(), strict=True) if self.n_members > 1 else ():
            width, n_places = (e.embed_width, e.n_places) if step == "embed" else (e.width, 1)
            self.scales.append(MemberScale(self.n_members, width, n_places=n_places))  # type: ignore[arg-type]
        joint, own = level != "decision", len(self.own_heads) > 0
        self.linear_paths = LinearPaths(encoders, head, joint=joint, own=own, n_landmarks=n_landmarks)

    @property
    def n_members(self) -> int:
        """How many models share the body."""
        return self.head.n_members

    @property
    def plain(self) -> FusionModel:
        """The model without what is around it: itself."""
        return self

    @property
    def unit(self) -> str:
        return self.head.unit

    @property
    def n_remembered(self) -> int:
        return self.fusion.n_remembered

    @property
    def state_width(self) -> int:
        """Channels of the fused state, which feedback carries to the encoders."""
        return self.fusion.width

    @property
    def embed_widths(self) -> dict[str, int]:
        """Channels of each modality's tokens where feedback enters."""
        return {name: e.embed_width for name, e in self.encoder_of.items()}

    def embed(self, inputs: Mapping[str, Raw]) -> dict[str, Tokens]:
        """First step of every encoder; what feedback does not change, and so runs once a batch.

        Returns:
            Tokens of the batch's rows, or of all members' rows where members part here.
        """
        if set(inputs) != set(self.names):
            raise ShapeError(
                f"FusionModel: the modalities must be {list(self.names)}; got {sorted(inputs)}. "
                "Give an absent modality as Raw whose mask is all False."
            )
        tokens = {n: e.embed(inputs[n]) for n, e in self.encoder_of.items()}
        return {n: self.spread(n, t, "embed") for n, t in tokens.items()}

    @property
    def encoder_of(self) -> dict[str, Encoder]:
        """The encoders by modality."""
        return dict(zip(self.names, self.encoders, strict=True))  # type: ignore[arg-type]

    def linear(self, inputs: Mapping[str, Raw]) -> dict[str, Tensor]:
        """Returns what linear paths add, to all members alike: 0 until `fit_linear`; feedback does not change it."""
        return {n: self.repeated(x) for n, x in self.linear_paths(self.encoder_of, inputs).items()}

    def spread(self, name: str, tokens: Tokens, step: Literal["embed", "mix"]) -> Tokens:
        """Returns what each member sees of a modality's tokens after this step, where members part; else the tokens."""
        if self.n_members == 1 or self.members_enter[name] != step:
            return tokens
        seen: Tokens = self.scales[self.names.index(name)](tokens)
        return seen

    def finish(
        self,
        embedded: Mapping[str, Tokens],
        rest: Mapping[str, Callable[[Tokens], Tokens]] | None = None,
        *,
        linear: Mapping[str, Tensor],
    ) -> Output:
        """Everything after `embed`: mix, fuse, predict.

        Args:
            embedded: Tokens of every modality.
            rest: What is left of a modality's mix, where `embedded` holds tokens from within it; not in hierarchical
                fusion.
            linear: What `linear` gave.
        """
        tokens, fused = self._mixed(dict(embedded), rest or {})
        parts = {n: h(tokens[n].mean()) for n, h in zip(self.names, self.own_heads, strict=False)}
        parts = {n: self.head.add_linear(part, linear[n]) if n in linear else part for n, part in parts.items()}
        present = {n: tokens[n].present for n in parts}
        if self.level == "decision":
            fused = self.fusion({n: Tokens.vector(p, present[n]) for n, p in parts.items()})
            return Output(fused.vector, fused, parts, present, (fused.vector,))
        fused = self._fused(tokens) if fused is None else fused
        outputs = self.head(fused.vector)
        outputs = self.head.add_linear(outputs, linear[JOINT]) if JOINT in linear else outputs
        if self.decision is not None:
            anything = self.fusion.present(tokens).any(1)
            parts, present = {**parts, JOINT: outputs}, {**present, JOINT: anything}
            outputs = self.decision({n: Tokens.vector(p, present[n]) for n, p in parts.items()}).vector
        return Output(outputs, fused, parts, present, (outputs,))

    def _mixed(
        self, tokens: dict[str, Tokens], rest: Mapping[str, Callable[[Tokens], Tokens]]
    ) -> tuple[dict[str, Tokens], Fused | None]:
        """Second step of the encoders, and the fusion where it takes part in that."""
        encoders = self.encoder_of
        if isinstance(self.fusion, HierarchicalFusion):
            n_stages = self.fusion.n_stages
            parts = {n: segments(e, n_stages) for n, e in encoders.items()}
            fused = self.fusion(tokens, [{n: p[i] for n, p in parts.items()} for i in range(n_stages)])
            return dict(fused.branches), fused
        if self.level == "raw":
            return tokens, None
        # masked values are set to 0 once before mix, as Encoder.forward does, and once more by the fusion
        mixed = {n: rest.get(n, e.mix)(tokens[n].zeroed()) for n, e in encoders.items()}
        return {n: self.spread(n, t, "mix") for n, t in mixed.items()}, None

    def _fused(self, tokens: Mapping[str, Tokens]) -> Fused:
        """Fuses the rows of all members; member by member where the operator says so."""
        if self.n_members == 1 or self.fusion.members == "together":
            fused: Fused = self.fusion(tokens)
            return fused
        size = self.n_members
        apart = {n: (members_apart(t.values, size), members_apart(t.mask, size)) for n, t in tokens.items()}
        each = [self.fusion({n: Tokens(v[:, k], m[:, k]) for n, (v, m) in apart.items()}) for k in range(size)]
        return _together(each)

    def remember(self, inputs: Mapping[str, Raw]) -> None:
        """Shows the operator the training rows `inputs` as the encoders now see them; see `Fusion.remember`."""
        tokens, _ = self._mixed(self.embed(inputs), {})
        self.fusion.remember({name: t.zeroed() for name, t in tokens.items()})

    def forward(self, inputs: Mapping[str, Raw]) -> Output:
        """Returns outputs for a batch `{modality: Raw}`."""
        return self.pooled(self.finish(self.embed(inputs), linear=self.linear(inputs)))

    def pooled(self, output: Output) -> Output:
        """Returns the members' common output, of what `finish` returns of all members' rows."""
        if self.n_members == 1:
            return output

        def pool(outputs: Tensor) -> Tensor:
            return self.head.pool(members_apart(outputs, self.n_members))

        def mean(values: Tensor) -> Tensor:
            return members_apart(values, self.n_members).mean(1)

        fused, weights = output.fused, {k: mean(v) for k, v in output.fused.weights.items()}
        return Output(
            pool(output.outputs),
            Fused(mean(fused.vector), penalties=fused.penalties, weights=weights),
            {name: pool(part) for name, part in output.parts.items()},
            {name: members_apart(present, self.n_members)[:, 0] for name, present in output.present.items()},
            tuple(pool(outputs) for outputs in output.rounds),
            members=output,
        )

    def loss(self, output: Output, target: Tensor) -> Tensor:
        """Returns the head's loss, the operator's penalties, and the modalities' own losses by weight.

        At the decision level the modalities' own losses always count (else a strong one would leave the others
        untrained); an operator without a useful gradient (a vote) is trained by them alone, and one that owns its loss
        by that alone. A hybrid counts its joint head among them.
        """
        return self.blended(*self.losses(output, target))

    def blended(self, joint: Tensor, own: Mapping[str, Tensor]) -> Tensor:
        """Returns the joint loss and the mean of the own losses by its weight, as one."""
        return joint + self.parts_weight * torch.stack([*own.values()]).mean() if own else joint

    def validate(self, outputs: Sequence[Output], target: Tensor) -> Validation:
        """Returns the head's loss, without smoothing, its score and its error."""
        head, values = self.head.eval(), torch.cat([o.outputs.float().cpu() for o in outputs])
        return Validation(head.loss(values, target).item(), head.score(values, target), head.error(values, target))

    def row_errors(self, outputs: Sequence[Output], target: Tensor) -> Tensor:
        return self.head.eval().row_errors(torch.cat([o.outputs.float().cpu() for o in outputs]), target)

    def weighted(self, weights: Tensor | None) -> AbstractContextManager[None]:
        return self.head.weighted(weights)

    def repeated(self, rows: Tensor) -> Tensor:
        """`[batch, ...]` -> the same for all members' rows, of a target say."""
        return rows.repeat_interleave(self.n_members, dim=0) if self.n_members > 1 else rows

    @property
    def parts_weight(self) -> float:
        """Weight of the mean of the own losses."""
        return max(self.unimodal_loss_weight, 1.0 if self.level in ("decision", "hybrid") else 0.0)

    @property
    def decider(self) -> DecisionFusion | None:
        """The operator that makes the outputs of single heads' outputs: at the levels decision and hybrid."""
        return self.fusion if isinstance(self.fusion, DecisionFusion) else self.decision

    @property
    def has_output_loss(self) -> bool:
        """Whether the head's loss of the outputs is part of the joint loss."""
        return self.decider is None or (self.decider.trains_jointly and not self.decider.owns_loss)

    def losses(self, output: Output, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the joint loss (the head's and the operator's penalties), and the own loss of each of `parts`.

        There are no own losses where they have no weight, or where the operator owns its loss. Of several members each
        loss is the mean of theirs.
        """
        if output.members is not None:
            return self.losses(output.members, self.repeated(target))
        operator = self.decider
        losses = list(output.fused.penalties.values())
        if operator is not None:
            outputs = torch.stack([output.parts[name] for name in operator.names], dim=1)
            present = torch.stack([output.present[name] for name in operator.names], dim=1)
            outputs = outputs.masked_fill(~present[..., None], 0.0)
            outputs, present, goals = (members_apart(x, self.n_members) for x in (outputs, present, target))
            for k in range(self.n_members):
                of_member = operator.losses(outputs[:, k], present[:, k], goals[:, k], self.head.row_losses)
                losses += [x / self.n_members for x in of_member.values()]
        owns = operator is not None and operator.owns_loss
        if self.has_output_loss:
            losses.append(self.head.loss(output.outputs, target))
        joint = torch.stack(losses).sum() if losses else output.outputs.new_zeros(())
        if owns or self.parts_weight == 0:
            return joint, {}
        return joint, {n: self.head.loss(part, target, output.present[n]) for n, part in output.parts.items()}


def stage_channels(encoders: Mapping[str, Encoder], n_stages: int) -> tuple[dict[str, int], ...]:
    """Returns the channels of each modality's tokens at each of `n_stages` points of exchange."""
    widths = {name: segment_widths(encoders[name], n_stages) for name in sorted(encoders)}
    return tuple({name: w[i] for name, w in widths.items()} for i in range(n_stages))


def _together(members: Sequence[Fused]) -> Fused:
    """Returns the rows of all members, one after another for each row, and the means of their penalties."""

    def together(parts: Sequence[Tensor]) -> Tensor:
        return members_together(torch.stack([*parts], dim=1))

    first, tokens = members[0], [m.tokens for m in members if m.tokens is not None]
    return Fused(
        together([m.vector for m in members]),
        Tokens(together([t.values for t in tokens]), together([t.mask for t in tokens])) if tokens else None,
        {name: torch.stack([m.penalties[name] for m in members]).mean() for name in first.penalties},
        {name: together([m.weights[name] for m in members]) for name in first.weights},
    )


def _check(
    encoders: Mapping[str, Encoder],
    fusion: Fusion,
    head: Head,
    level: str,
    own_heads: Mapping[str, Head],
    decision: DecisionFusion | None,
    unimodal_loss_weight: float,
) -> None:
    faults, names = [], tuple(sorted(encoders))
    if level not in LEVELS:
        faults.append(f"level must be one of {', '.join(LEVELS)}; got level={level!r}")
    if set(fusion.names) != set(names):
        faults.append(f"the fusion's modalities must be {list(names)}; got {list(fusion.names)}")
    if (level == "decision") != isinstance(fusion, DecisionFusion):
        faults.append(
            "a decision operator belongs to the decision level, and no other to it; "
            f"got level={level!r}, fusion={type(fusion).__name__}"
        )
    elif level in LEVELS and level not in LEVELS_OF[fusion.level]:
        faults.append(
            f"level must be {' or '.join(LEVELS_OF[fusion.level])} for a {fusion.level} operator; "
            f"got level={level!r}, fusion={type(fusion).__name__}"
        )
    if isinstance(fusion, HierarchicalFusion) and set(fusion.names) == set(names):
        widths = stage_channels(encoders, fusion.n_stages)
        if widths != fusion.stage_channels:
            faults.append(
                f"the fusion's stage_channels must be what the encoders give, {widths}; got {fusion.stage_channels}"
            )
    if own_heads and set(own_heads) != set(names):
        faults.append(f"own_heads must be given for all modalities or none; got {sorted(own_heads)}")
    if not own_heads and (level in ("decision", "hybrid") or unimodal_loss_weight > 0):
        faults.append(
            f"own_heads must be given at level {level!r} with unimodal_loss_weight={unimodal_loss_weight}; got none"
        )
    if (level == "hybrid") != (decision is not None):
        faults.append(f"decision must be given for a hybrid and only there; got level={level!r}, decision={decision}")
    if any(own.n_members != head.n_members for own in own_heads.values()):
        sizes = {name: own.n_members for name, own in own_heads.items()}
        faults.append(f"all heads must have as many members; got n_members={head.n_members} and own_heads={sizes}")
    if head.n_members > 1 and (fusion.members == "one" or fusion.n_remembered > 0):
        faults.append(
            f"{type(fusion).__name__} keeps training rows, which are of one member; got n_members={head.n_members}. "
            'Use members=1, which a class that says members = "one" gets by default'
        )
    if unimodal_loss_weight < 0:
        faults.append(f"unimodal_loss_weight must be at least 0; got unimodal_loss_weight={unimodal_loss_weight}")
    if faults:
        raise ConfigError("FusionModel: " + "; ".join(faults) + ".")
