"""How the fused state changes the tokens of a branch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from profuse.tokens import Tokens

__all__ = ["FEEDBACKS", "AddFeedback", "Feedback", "ScaleShiftFeedback"]


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
