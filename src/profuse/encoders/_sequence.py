"""What the encoders of ordered tokens (words, steps, patches) are made of; none of it lets padding be seen."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.tokens import Tokens

__all__ = ["AttentionBlock", "ChannelDropout", "ConvBlock", "Joined", "Positions", "mean_of_runs", "runs", "stride_for"]

_GATE = 0.2  # first value of residual gates: small, so that blocks begin near the identity; 0 would stop their gradient


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
        self.gate = nn.Parameter(torch.full((width,), _GATE))
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
        self.gate = nn.Parameter(torch.full((width,), _GATE))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, d = self.norm(x).masked_fill(~mask[..., None], 0.0), self.dilation
        padded = F.pad(n, (0, 0, d, d))
        near = torch.cat([padded[:, : n.shape[1]], n, padded[:, 2 * d :]], dim=2)
        y: Tensor = x + self.gate * self.out(self.dropout(F.gelu(self.shifts(near))))
        return y


class AttentionBlock(nn.Module):
    """`x <- x + g * attention(norm(x))`, then `x <- x + h * mlp(norm(x))`; masked tokens are not attended to.

    Reference:
        Xiong et al. 2020, On layer normalization in the Transformer architecture (norms first).
    """

    def __init__(self, width: int, *, n_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), ChannelDropout(dropout), nn.Linear(2 * width, width)
        )
        self.gates = nn.Parameter(torch.full((2, width), _GATE))
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n_rows, n_tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n_rows, n_tokens, 3, self.n_heads, width // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        seen = mask | ~mask.any(1, keepdim=True)  # a row without any token attends to what is masked anyway
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
        y = self.out(y.transpose(1, 2).reshape(n_rows, n_tokens, width))
        x = x + self.gates[0] * self.dropout(y)
        x = x + self.gates[1] * self.dropout(self.mlp(self.norm2(x)))
        return x
