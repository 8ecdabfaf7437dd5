"""Progressive Fusion: the fused state goes back to the early layers of each branch, for a few rounds.

    s_0 = 0;  for t = 1..R:  z_i = F_i(x_i, W_i s_{t-1}),  s_t = G(z_1, .., z_k);  y = H(s_R)

(Shankar, Thompson, Fiterau, "Progressive Fusion for Multimodal Integration", arXiv 2209.00302). Feedback enters
between an encoder's `embed` and `mix`, so `embed` runs once a batch and R rounds cost R times the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.heads import Head
from profuse.model import FusionModel, Output
from profuse.tokens import Raw, Tokens

__all__ = ["FEEDBACKS", "AddFeedback", "Feedback", "ProgressiveFusion", "ScaleShiftFeedback"]


class Feedback(nn.Module, ABC):
    """`Tokens[batch, token, width]`, `state[batch, state_width]` -> `Tokens` of the same shape.

    Every feedback is the identity at a zero state and, as it starts with zero weights and no bias, at any
    state before training.

    Args:
        width: Channels of the tokens.
        state_width: Channels of the fused state.
    """

    n_maps: ClassVar[int]

    def __init__(self, width: int, state_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(state_width, self.n_maps * width, bias=False)
        nn.init.zeros_(self.linear.weight)

    @abstractmethod
    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        """`values[batch, token, width]`, `maps[batch, 1, n_maps * width]` -> new values."""

    def forward(self, tokens: Tokens, state: Tensor) -> Tokens:
        """Returns the tokens as the state changes them; the mask stays."""
        return Tokens(self.apply_maps(tokens.values, self.linear(state)[:, None]), tokens.mask)


class ScaleShiftFeedback(Feedback):
    """`x (1 + W_scale s) + W_shift s`: the state says which channels count (FiLM, Perez et al. 2018)."""

    n_maps = 2

    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        scale, shift = maps.chunk(2, dim=-1)
        return values * (1 + scale) + shift


class AddFeedback(Feedback):
    """`x + W s`, as in the paper."""

    n_maps = 1

    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        return values + maps


FEEDBACKS: dict[str, type[Feedback]] = {"scale_shift": ScaleShiftFeedback, "add": AddFeedback}


class ProgressiveFusion(nn.Module):
    """Puts feedback around a `FusionModel` that has a fused state (every level but decision).

    With one round, or with feedback weights at zero (as at the start), it equals the model bit for bit.

    Args:
        model: The plain model; it is used, not copied.
        rounds: How often the modalities are fused, at least 1; 1 is the plain model. May be set anew after
            training.
        feedback: "scale_shift" or "add", or a `Feedback` class.
        into: The modalities that receive feedback; all if None.
        supervise: "last": the loss of the last round; "all": the mean over rounds, which makes every round usable.

    Raises:
        ConfigError: No round, an unknown modality, or a model at the decision level.

    *Differs from the paper*: the default feedback scales and shifts where the paper adds; weights start at zero.
    """

    def __init__(
        self,
        model: FusionModel,
        *,
        rounds: int = 2,
        feedback: str | type[Feedback] = "scale_shift",
        into: Sequence[str] | None = None,
        supervise: Literal["last", "all"] = "last",
    ) -> None:
        super().__init__()
        if rounds < 1:
            raise ConfigError(f"ProgressiveFusion: rounds must be at least 1; got rounds={rounds}.")
        if model.level == "decision":
            raise ConfigError(
                "ProgressiveFusion: the model must have a fused state; got level='decision'. "
                "Use a feature operator, or level='hybrid'."
            )
        if supervise not in ("last", "all"):
            raise ConfigError(f"ProgressiveFusion: supervise must be last or all; got supervise={supervise!r}.")
        if isinstance(feedback, str):
            feedback = resolve(feedback, FEEDBACKS, where="ProgressiveFusion", what="feedback")
        widths = model.embed_widths
        for name in into or ():
            resolve(name, widths, where="ProgressiveFusion", what="modality")
        self.model = model
        self.rounds = rounds
        self.supervise = supervise
        self.into = tuple(name for name in model.names if into is None or name in into)
        self.feedbacks = nn.ModuleList([feedback(widths[name], model.state_width) for name in self.into])

    @property
    def names(self) -> tuple[str, ...]:
        return self.model.names

    @property
    def head(self) -> Head:
        return self.model.head

    def forward(self, inputs: dict[str, Raw]) -> Output:
        """Returns the last round's output; `rounds` holds the outputs of all."""
        embedded = self.model.embed(inputs)
        # the first round's state is zero, at which every feedback is the identity
        output = self.model.finish(embedded)
        outputs = [output.outputs]
        back = dict(zip(self.into, self.feedbacks, strict=True))
        for _ in range(self.rounds - 1):
            state = output.fused.vector

            def enter(name: str, tokens: Tokens, state: Tensor = state) -> Tokens:
                if name not in back:
                    return tokens
                changed: Tokens = back[name](tokens, state)
                return changed

            output = self.model.finish(embedded, enter)
            outputs.append(output.outputs)
        return Output(output.outputs, output.fused, output.parts, output.present, tuple(outputs))

    def loss(self, output: Output, target: Tensor) -> Tensor:
        """Returns the model's loss of the last round, or with `supervise="all"` with the mean over rounds."""
        joint, own = self.losses(output, target)
        return joint + self.model.parts_weight * torch.stack([*own.values()]).mean() if own else joint

    def losses(self, output: Output, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the joint loss, and the own loss of each part of the last round; see `FusionModel.losses`."""
        joint, own = self.model.losses(output, target)
        if self.supervise == "all" and len(output.rounds) > 1:
            losses = torch.stack([self.model.head.loss(o, target) for o in output.rounds])
            joint = joint - losses[-1] + losses.mean()
        return joint, own
