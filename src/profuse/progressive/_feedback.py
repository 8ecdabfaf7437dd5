"""How the fused state changes the tokens of a branch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.tokens import Tokens

__all__ = [
    "FEEDBACKS",
    "AddFeedback",
    "AttendFeedback",
    "ConcatFeedback",
    "Feedback",
    "GateFeedback",
    "ScaleShiftFeedback",
]


class Feedback(nn.Module, ABC):
    """`Tokens[batch, token, width]`, `state[batch, state_width]` -> `Tokens` of the same shape.

    Before training every feedback is the identity at any state: what it adds is a linear map that starts at zero and
    has no bias.

    Args:
        width: Channels of the tokens.
        state_width: Channels of the fused state.
    """

    n_maps: ClassVar[int]
    attends: ClassVar[bool] = False
    """Whether it reads the fused tokens where there are any."""

    def __init__(self, width: int, state_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(state_width, self.n_maps * width, bias=False)
        nn.init.zeros_(self.linear.weight)

    @abstractmethod
    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        """`values[batch, token, width]`, `maps[batch, 1, n_maps * width]` -> new values."""

    def forward(self, tokens: Tokens, state: Tensor, fused: Tokens | None = None) -> Tokens:
        """Returns the tokens as the state changes them; the mask stays.

        Args:
            tokens: The branch's.
            state: The fused state `[batch, state_width]`.
            fused: The fused tokens `[batch, any token, state_width]`, for a feedback that `attends`.
        """
        return Tokens(self.apply_maps(tokens.values, self.linear(state)[:, None]), tokens.mask)


class ScaleShiftFeedback(Feedback):
    """`x (1 + W_scale s) + W_shift s`: the state says which channels count (FiLM, Perez et al. 2018)."""

    n_maps = 2

    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        scale, shift = maps.chunk(2, dim=-1)
        return values * (1 + scale) + shift


class GateFeedback(Feedback):
    """`2 sigmoid(W s) x`: the state opens and closes channels, by a factor between 0 and 2."""

    n_maps = 1

    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        return values * (2 * maps.sigmoid())


class AddFeedback(Feedback):
    """`x + W s`, as in the paper."""

    n_maps = 1

    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        return values + maps


class ConcatFeedback(Feedback):
    """`[I + A, W] [x, s] = x + A x + W s`: the state beside the tokens, then one linear map of both.

    Unlike the others it is not the identity at a zero state once A is trained.
    """

    n_maps = 1

    def __init__(self, width: int, state_width: int) -> None:
        super().__init__(width, state_width)
        self.own = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.own.weight)

    def apply_maps(self, values: Tensor, maps: Tensor) -> Tensor:
        changed: Tensor = values + self.own(values) + maps
        return changed


class AttendFeedback(Feedback):
    """`x + W softmax([0, (Q x)(K s)' / sqrt(d)]) [0, V s]`: the tokens attend to the fused tokens, or to none.

    With a state of one vector that is one token, which every token of the branch lets in as far as it wants to. The
    zero beside it is the choice to attend to nothing: it makes the result finite and the identity where all fused
    tokens are masked, or zero. W starts at zero; Q, K and V do not, and get a gradient once W is not zero any more.

    Reference:
        Vaswani et al. 2017, Attention is all you need, section 3.2; the zero: `add_zero_attn` of
        `torch.nn.MultiheadAttention`.
    """

    n_maps = 2
    attends = True

    def __init__(self, width: int, state_width: int) -> None:
        super().__init__(width, state_width)
        self.n_heads = math.gcd(4, state_width)
        self.linear = nn.Linear(state_width, 2 * state_width, bias=False)
        self.query = nn.Linear(width, state_width, bias=False)
        self.out = nn.Linear(state_width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def apply_maps(self, values: Tensor, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """`maps[batch, fused token, 2 state_width]` are keys and values; `mask[batch, fused token]`: which are real."""
        parts = (self.query(values), *maps.chunk(2, dim=-1))
        query, key, value = (part.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in parts)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        weights = torch.cat([torch.zeros_like(scores[..., :1]), scores], dim=-1).softmax(-1)[..., 1:]
        changed: Tensor = values + self.out((weights @ value).transpose(1, 2).flatten(2))
        return changed

    def forward(self, tokens: Tokens, state: Tensor, fused: Tokens | None = None) -> Tokens:
        if fused is None:
            return super().forward(tokens, state)
        fused = fused.zeroed()
        return Tokens(self.apply_maps(tokens.values, self.linear(fused.values), fused.mask), tokens.mask)


FEEDBACKS: dict[str, type[Feedback]] = {
    "scale_shift": ScaleShiftFeedback,
    "gate": GateFeedback,
    "add": AddFeedback,
    "concat": ConcatFeedback,
    "attend": AttendFeedback,
}
