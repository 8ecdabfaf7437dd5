"""What every fusion operator is: `{modality: Tokens}` -> one `Fused`. The base validates; `fuse` is mathematics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from profuse._lookup import nearest
from profuse.errors import ConfigError, ShapeError
from profuse.tokens import Tokens

__all__ = ["DecisionFusion", "Fused", "Fusion", "Link", "MemberRows", "TargetFacts"]

Link = Literal["softmax", "sigmoid", "identity"]
MemberRows = Literal["together", "apart", "one"]


@dataclass(frozen=True, eq=False)
class TargetFacts:
    """What training tells an operator of the target, before the first epoch.

    Attributes:
        n_rows: Training rows.
        shares: How frequent each class (they sum to 1) or each label is in the training rows, `[output]`; one row more
            is counted of each class, and one with and one without each label, so that all are inside (0, 1). None for
            values, which have mean 0 and variance 1.
    """

    n_rows: int
    shares: Tensor | None


@dataclass(frozen=True, eq=False)
class Fused:
    """What an operator returns.

    Attributes:
        vector: The joint vector `[batch, width]`.
        tokens: The joint tokens, where the operator has them.
        penalties: Named auxiliary losses, each a scalar, added to the head's loss with the operator's weights.
        weights: What explains the fusion (gates, attention), by name: `[batch, modality]` with modalities in
            the operator's `names` order.
        branches: Of a hierarchical operator: each modality's tokens at the end of its branch.
    """

    vector: Tensor
    tokens: Tokens | None = None
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    branches: Mapping[str, Tokens] = field(default_factory=dict)


class Fusion(nn.Module, ABC):
    """`{modality: Tokens}` -> `Fused`.

    A subclass writes `__init__` (its layers, made in `self.names` order) and `fuse`. It may count on: all
    modalities given, in `self.names` order, of the declared widths; values 0 wherever the mask is False. It
    must use the mask for what zeros do not neutralise (softmax, maximum, mean), give a finite result when
    all is missing, and let no row see another one.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.

    Attributes:
        names: The modalities, sorted: the order of a dict never matters.
        progress: How far training is, 0 to 1, for what changes while training runs (a penalty that is let in slowly);
            the training loop sets it, and it is 1 otherwise.

    Raises:
        ConfigError: No modality, more than `max_modalities`, fewer than `min_modalities`, or a width below 1.
    """

    level: ClassVar[Literal["feature", "decision", "hierarchical"]] = "feature"
    min_modalities: ClassVar[int] = 1
    max_modalities: ClassVar[int | None] = None
    formula: ClassVar[str] = ""
    """The formula in words, for `profuse fusions`."""
    cost: ClassVar[str] = ""
    """Cost a row in M modalities, T tokens in all, d channels."""
    missing: ClassVar[str] = ""
    """How a missing modality is treated, in a few words."""
    reference: ClassVar[str] = ""
    """Paper and equation."""
    members: ClassVar[MemberRows] = "together"
    """How it takes the members of a model that has several: all their rows as one batch; each member's by themselves,
    where penalties compare rows and a copy of a row is not another row; or not, where it keeps training rows."""
    compares_rows: ClassVar[bool] = False
    """Whether its penalties compare the rows of a batch with each other, so that a part of the batch has others."""
    n_remembered: int = 0
    """Training rows, at most, that `remember` is given; 0 for an operator that keeps none."""
    progress: float = 1.0

    def __init__(self, channels: Mapping[str, int], width: int) -> None:
        super().__init__()
        who = type(self).__name__
        if width < 1 or any(c < 1 for c in channels.values()):
            raise ConfigError(
                f"{who}: width and all channels must be at least 1; got width={width}, channels={dict(channels)}."
            )
        if len(channels) < self.min_modalities:
            raise ConfigError(
                f"{who}: at least {self.min_modalities} modalities must be given; got {len(channels)}. "
                "Use concat for a single one."
            )
        if self.max_modalities is not None and len(channels) > self.max_modalities:
            raise ConfigError(
                f"{who}: at most {self.max_modalities} modalities must be given; got {len(channels)} "
                f"({', '.join(sorted(channels))}). Use an operator without this limit: see 'profuse fusions'."
            )
        self.names = tuple(sorted(channels))
        self.channels = {name: int(channels[name]) for name in self.names}
        self.width = int(width)

    @classmethod
    def family(cls) -> str:
        """The family: the folder the operator lives in; "own" elsewhere, unless its class says another."""
        home = cls.__module__.split(".")
        return home[2] if home[:2] == ["profuse", "fusion"] and len(home) > 3 else "own"

    @abstractmethod
    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        """The mathematics; see the class for what it may count on."""

    def forward(self, tokens: Mapping[str, Tokens]) -> Fused:
        """Returns the fused modalities.

        Raises:
            ShapeError: Other modalities, widths, batch sizes or types than declared.
        """
        checked = self._checked(tokens, self.channels)
        return self._checked_result(self.fuse(checked), checked)

    def _checked(self, tokens: Mapping[str, Tokens], channels: Mapping[str, int]) -> dict[str, Tokens]:
        """Returns the tokens in `names` order, 0 where masked, or raises what `forward` says."""
        who = type(self).__name__
        if set(tokens) != set(self.names):
            unknown = sorted(set(tokens) - set(self.names))
            lacking = sorted(set(self.names) - set(tokens))
            near = [f"{u!r} is near {n[0]!r}" for u in unknown if (n := nearest(u, self.names))]
            raise ShapeError(
                f"{who}: the modalities must be {list(self.names)}; got unknown={unknown}, lacking={lacking}. "
                + (f"({'; '.join(near)}.) " if near else "")
                + "Give an absent modality as tokens whose mask is all False."
            )
        first = tokens[self.names[0]]
        n_rows = first.values.shape[0] if isinstance(first, Tokens) else 0
        for name in self.names:
            t = tokens[name]
            if not isinstance(t, Tokens):
                raise ShapeError(f"{who}: {name!r} must be Tokens; got {type(t).__name__}. Use Tokens.vector.")
            if t.n_channels != channels[name]:
                raise ShapeError(f"{who}: tokens of {name!r} must have {channels[name]} channels; got {t.n_channels}.")
            if t.values.shape[0] != n_rows:  # not len(t), which torch.export would take for a constant
                raise ShapeError(
                    f"{who}: all modalities must have the same rows; got {len(t)} of {name!r} and {n_rows} "
                    f"of {self.names[0]!r}. Join them by an id first."
                )
            mixed = torch.is_autocast_enabled(t.values.device.type)  # layers then end in either type
            if (t.values.dtype != first.values.dtype and not mixed) or t.values.device != first.values.device:
                raise ShapeError(
                    f"{who}: all modalities must share type and device; got {t.values.dtype} on {t.values.device} "
                    f"for {name!r} and {first.values.dtype} on {first.values.device} for {self.names[0]!r}."
                )
        if torch.is_autocast_enabled(first.values.device.type):
            tokens = {name: Tokens(t.values.float(), t.mask) for name, t in tokens.items()}
        return {name: tokens[name].zeroed() for name in self.names}

    def _checked_result(self, fused: Fused, tokens: Mapping[str, Tokens]) -> Fused:
        n_rows = tokens[self.names[0]].values.shape[0]
        if fused.vector.shape != (n_rows, self.width):
            raise ShapeError(
                f"{type(self).__name__}: fuse must return a vector [{n_rows}, {self.width}]; "
                f"got {tuple(fused.vector.shape)}."
            )
        return fused

    def prepare(self, target: TargetFacts) -> None:
        """Takes what it needs to know of the target; training calls it once, before the first epoch."""

    def remember(self, tokens: Mapping[str, Tokens]) -> None:
        """Keeps training rows that later rows are related to (a graph's nodes), as buffers of fixed shape.

        The training loop calls it, without gradient and in evaluation mode, before the first epoch and after each, with
        up to `n_remembered` training rows as the encoders now see them, always the same ones.
        """

    def __repr__(self) -> str:
        """Returns the call that makes this operator; every keyword-only option is an attribute of the same name."""
        options = [p.name for p in signature(type(self).__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]
        message = "".join(f", {name}={getattr(self, name)!r}" for name in options)
        return f"{type(self).__name__}({self.channels!r}, {self.width}{message})"

    def present(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns which modalities each row has: bool `[batch, modality]` in `names` order."""
        return torch.stack([tokens[name].present for name in self.names], dim=1)


class DecisionFusion(Fusion):
    """Fuses predictions: each modality is one token, the output of its own head.

    `Fused.vector` is in the same units as the heads' outputs, so that `link(vector)` is the fused prediction:
    log-probabilities (softmax), log-odds (sigmoid), values (identity). Where all is missing it is 0 (uniform,
    one half, the training mean).

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions.

    Attributes:
        trains_jointly: Whether the fused prediction has a useful gradient; if not, only the modalities' own
            losses train the model.
        owns_loss: Whether `losses` stands in place of the head's loss and the modalities' own.
        out_of_fold: Whether it is fitted by `fit_out_of_fold`, when the rest of the model is trained.
        links: The links it is defined for.

    Raises:
        ConfigError: Numbers of outputs that differ, an undefined link, or `out_of_fold` without its method.
    """

    level: ClassVar[Literal["feature", "decision", "hierarchical"]] = "decision"
    trains_jointly: ClassVar[bool] = True
    owns_loss: ClassVar[bool] = False
    out_of_fold: ClassVar[bool] = False
    links: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid", "identity")

    def __init__(self, channels: Mapping[str, int], width: int, *, link: Link = "softmax") -> None:
        super().__init__(channels, width)
        if set(self.channels.values()) != {self.width}:
            raise ConfigError(
                f"{type(self).__name__}: every modality must have width={self.width} outputs; got {self.channels}."
            )
        if link not in self.links:
            raise ConfigError(
                f"{type(self).__name__}: link must be {' or '.join(self.links)}; got link={link!r}. Use mean_logits: "
                "it takes softmax, sigmoid and identity."
            )
        if self.out_of_fold and type(self).fit_out_of_fold is DecisionFusion.fit_out_of_fold:
            raise ConfigError(
                f"{type(self).__name__}: fit_out_of_fold must be written where out_of_fold is True; got the base's. "
                "Write it, or leave out_of_fold False."
            )
        self.link: Link = link

    def losses(
        self, outputs: Tensor, present: Tensor, target: Tensor, head_losses: Callable[[Tensor, Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        """Returns the operator's own named losses that need the target, each a scalar; none unless overridden.

        Args:
            outputs: `[batch, modality, output]`, modalities in `names` order; 0 at a missing modality.
            present: Bool `[batch, modality]`.
            target: `[batch]` class numbers (softmax), or `[batch, output]`.
            head_losses: The head's loss of each row, without label smoothing: of classes exp(-loss) is the probability
                of the true one. `(outputs[batch, output], target) -> [batch]`.
        """
        return {}

    def fit_out_of_fold(self, outputs: Tensor, present: Tensor, targets: Tensor) -> None:
        """Fits the operator to what heads predict for rows that they have not learned from; see `out_of_fold`.

        Training calls it with all training rows. In each of three folds the outputs are those of a model trained on the
        other two.

        Args:
            outputs: `[row, modality, output]`, modalities in `names` order; what stands at a missing modality is not to
                be read.
            present: Bool `[row, modality]`.
            targets: `[row]` class numbers (softmax), or `[row, output]`.
        """

    @abstractmethod
    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """The rule: `outputs[batch, modality, output]`, `present[batch, modality]` -> fused outputs, weights."""

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        outputs = torch.stack([tokens[name].mean() for name in self.names], dim=1)
        present = self.present(tokens)
        vector, weights = self.combine(outputs, present)
        vector = vector.masked_fill(~present.any(1, keepdim=True), 0.0)
        return Fused(vector, weights={} if weights is None else {"decision": weights})
