"""Layers for ordered tokens (words, steps, patches); none of them lets padding be seen."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.tokens import Tokens

__all__ = [
    "GATE",
    "ChannelDropout",
    "ConvBlock",
    "Joined",
    "Positions",
    "few_tokens",
    "mean_of_runs",
    "runs",
    "stride_for",
]

GATE = 0.2
"""First value of residual gates: small, so that blocks begin near the identity; 0 would stop their gradient."""


def stride_for(max_length: int, max_tokens: int) -> int:
    """Returns `ceil(max_length / max_tokens)`: from the fitted length, so that a batch's padding changes nothing."""
    return max(1, -(-max_length // max_tokens))


def runs(x: Tensor, stride: int) -> Tensor:
    """`[batch, token, ...]` -> `[batch, ceil(token / stride), stride, ...]`, zeros (False) at the end."""
    missing = -x.shape[1] % stride
    x = F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing)) if missing else x
    return torch.unflatten(x, 1, (-1, stride))


def mean_of_runs(tokens: Tokens, stride: int) -> Tokens:
    """Returns the mean of the real tokens of each run of `stride`; a run without any is masked."""
    if stride == 1:
        return tokens
    mask = runs(tokens.mask, stride)
    total = runs(tokens.zeroed().values, stride).sum(2)
    return Tokens(total / mask.sum(2, keepdim=True).clamp(min=1), mask.any(2))


class Joined(nn.Module):
    """`y_j = A [x_{js}, ..., x_{js+s-1}]`: each run of `s` tokens becomes one; nothing for `s = 1`."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.linear = nn.Linear(width * stride, width) if stride > 1 else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        if self.stride == 1:
            return tokens
        values = self.linear(runs(tokens.zeroed().values, self.stride).flatten(2))
        return Tokens(values, runs(tokens.mask, self.stride).any(2)).zeroed()


class Positions(nn.Module):
    """Adds `g * p_t`, `p_t` the sines and cosines of the position and `g` a learned gate a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.full((width,), GATE))
        half = torch.arange((width + 1) // 2, dtype=torch.float32)
        self.register_buffer("frequencies", torch.exp(-math.log(1000.0) * half / max(1, len(half))), persistent=False)
        self.frequencies: Tensor

    def forward(self, x: Tensor) -> Tensor:
        at = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None] * self.frequencies.to(x.dtype)
        return x + self.gate * torch.cat([at.sin(), at.cos()], dim=1)[:, : x.shape[2]]


class ChannelDropout(nn.Module):
    """Drops a channel of a row at all its tokens together, with probability `dropout`, while training.

    Neighbouring tokens tell nearly the same, so that dropping one alone hides little; and one draw a channel costs
    a fraction of one a number.

    Reference:
        Gal and Ghahramani 2016, A theoretically grounded application of dropout in recurrent neural networks.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.dropout
        return x * (keep.to(x.dtype) / (1.0 - self.dropout))

    def extra_repr(self) -> str:
        return f"dropout={self.dropout}"


class ConvBlock(nn.Module):
    """`y_t = x_t + g * B dropout(gelu(A [n_{t-d}, n_t, n_{t+d}]))`, `n = norm(x)`, 0 outside and where masked.

    Written as one product of concatenated shifts: several times faster than a convolution on a CPU at these sizes.
    """

    def __init__(self, width: int, *, dilation: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.shifts = nn.Linear(3 * width, width)
        self.dropout = ChannelDropout(dropout)
        self.out = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.full((width,), GATE))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, d = self.norm(x) * mask[..., None], self.dilation  # several times as fast as masked_fill
        padded = F.pad(n, (0, 0, d, d))
        near = torch.cat([padded[:, : n.shape[1]], n, padded[:, 2 * d :]], dim=2)
        y: Tensor = x + self.gate * self.out(self.dropout(F.gelu(self.shifts(near))))
        return y


def few_tokens(tokens: Tokens, n_tokens: int) -> Tokens:
    """Returns at most `n_tokens` tokens a row: the means of equal segments of its real tokens, in their order.

    A row of n > `n_tokens` real tokens gives token r (counted among the real ones) to segment
    floor(r n_tokens / n); a shorter row keeps its tokens, moved to the front. Padding plays no part.
    """
    if tokens.values.shape[1] <= n_tokens:
        return tokens
    n_real = tokens.mask.sum(1, keepdim=True)
    segment = (tokens.mask.cumsum(1) - 1) * n_tokens // n_real.clamp(min=n_tokens)
    slots = torch.arange(n_tokens, device=segment.device)
    member = (segment[..., None] == slots) & tokens.mask[..., None]
    count = member.sum(1)
    total = member.to(tokens.values).transpose(1, 2) @ tokens.zeroed().values
    return Tokens(total / count.clamp(min=1)[..., None], count > 0)
