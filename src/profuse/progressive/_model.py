"""Progressive Fusion of a model made of our parts: feedback between `embed` and `mix` of each encoder.

`embed` runs once a batch, and R rounds cost R times the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.heads import Head
from profuse.model import FusionModel, Output
from profuse.progressive._feedback import FEEDBACKS, Feedback
from profuse.tokens import Raw, Tokens

__all__ = ["ProgressiveFusion"]


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
