"""Every modality as a stream of few tokens of one width; the streams pooled, and their vectors merged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.layers.projection import normalise
from profuse.layers.sequence import few_tokens
from profuse.tokens import Tokens

__all__ = ["Merge", "Pool", "Streams", "check_sizes", "joined", "share"]


def check_sizes(who: str, width: int, n_heads: int, *, width_name: str = "width", **sizes: int) -> None:
    """Checks the options of an operator with attention.

    Raises:
        ConfigError: One of them is below 1, or the width is no multiple of `n_heads`.
    """
    sizes = {**sizes, "n_heads": n_heads}
    if min(sizes.values()) < 1:
        *most, last = sizes
        message = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ConfigError(f"{who}: {', '.join(most)} and {last} must be at least 1; got {message}.")
    if width % n_heads:
        raise ConfigError(
            f"{who}: {width_name} must be a multiple of n_heads; got {width_name}={width}, n_heads={n_heads}. "
            "Change one of them."
        )


class Streams(nn.Module):
    """x_mt = W_m LayerNorm(v_mt) + b_m + e_m + g * p(t), for at most `n_tokens` tokens t of each modality m.

    v_mt are the tokens, longer ones the means of segments; e_m names the modality; p(t) are the sines and cosines of
    the token's place (in a segment, the mean of its tokens' places), and g is a learned gate a channel, small at first.

    Shape:
        `{modality: [batch, token, channel]}` -> for each modality `[batch, at most n_tokens, width]`; what stands where
        the mask is False has no meaning.

    Args:
        channels: Width of each modality's tokens, in the order of the result.
        width: Width of the result.
        n_tokens: Tokens that a modality may have.
        positions: Whether places are told.
    """

    frequencies: Tensor

    def __init__(self, channels: Mapping[str, int], width: int, *, n_tokens: int, positions: bool) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.norms = nn.ModuleList(normalise(c) for c in channels.values())
        self.maps = nn.ModuleList(nn.Linear(c, width) for c in channels.values())
        self.modality = nn.Parameter(0.02 * torch.randn(len(channels), width))
        self.gate = nn.Parameter(torch.full((width,), 0.1)) if positions else None
        half = torch.arange((width + 1) // 2, dtype=torch.float32)
        self.register_buffer("frequencies", torch.exp(-math.log(1e4) * half / len(half)), persistent=False)

    def forward(self, tokens: Mapping[str, Tokens]) -> list[Tokens]:
        """Returns the streams in the order of `tokens`."""
        parts = zip(tokens.values(), self.norms, self.maps, self.modality, strict=True)
        return [self._stream(t, norm, linear, name) for t, norm, linear, name in parts]

    def _stream(self, t: Tokens, norm: nn.Module, linear: nn.Module, name: Tensor) -> Tokens:
        values = norm(t.values)
        if self.gate is None:
            few = few_tokens(Tokens(values, t.mask), self.n_tokens)
            return Tokens(linear(few.values) + name, few.mask)
        # the place goes with the token as a channel, so that neither padding nor a hole moves it
        place = torch.arange(values.shape[1], device=values.device, dtype=values.dtype).expand(values.shape[:2])
        few = few_tokens(Tokens(torch.cat([values, place[..., None]], dim=-1), t.mask), self.n_tokens)
        angle = few.values[..., -1:] * self.frequencies.to(values.dtype)
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1)[..., : self.gate.shape[0]]
        return Tokens(linear(few.values[..., :-1]) + name + self.gate * waves, few.mask)


def joined(streams: Sequence[Tokens]) -> Tokens:
    """Returns the tokens of all streams in one sequence."""
    return Tokens(torch.cat([s.values for s in streams], dim=1), torch.cat([s.mask for s in streams], dim=1))


def share(attention: Tensor, streams: Sequence[Tokens]) -> Tensor:
    """Returns how `attention[batch, token]` to the streams' tokens is shared out, `[batch, modality]`: sum 1 or 0."""
    parts = torch.split(attention, [s.mask.shape[1] for s in streams], dim=1)
    by_modality = torch.stack([part.sum(1) for part in parts], dim=1)
    return by_modality / by_modality.sum(1, keepdim=True).clamp(min=torch.finfo(attention.dtype).tiny)


class Pool(nn.Module):
    """p = [sum_t a_1t y_t1; ...], y = LayerNorm(x), a_h = softmax over the real t of w_h . y_t; y_th are slices of y_t.

    The queries w_h, one for each slice of channels, are shared by all modalities that are pooled. A single token is
    its own pool; no token gives 0.

    Shape:
        `[batch, token, width]`, mask `[batch, token]` -> `[batch, width]`.

    Args:
        width: Channels; a multiple of `n_heads`.
        n_heads: Slices.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Linear(width, n_heads, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Returns one vector a row."""
        y, real = self.norm(x), mask[..., None]
        scores = self.queries(y)
        attention = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(1) * real
        slices = y.view(*attention.shape, -1)
        pooled: Tensor = (attention[..., None] * slices).sum(1).flatten(1)
        return pooled


class Merge(nn.Module):
    """h = W_2 dropout(gelu(W_1 [p_1; ...; p_M] + b_1)) + b_2, a learned vector for p_m where modality m is missing.

    Shape:
        `[batch, modality, channel]`, present `[batch, modality]` -> `[batch, width]`.

    Args:
        n_modalities: M.
        n_channels: Channels of each p_m.
        width: Width of the result.
        dropout: Probability that a hidden channel is dropped in training.
    """

    def __init__(self, n_modalities: int, n_channels: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.absent = nn.Parameter(0.02 * torch.randn(n_modalities, n_channels))
        self.mlp = nn.Sequential(
            nn.Linear(n_modalities * n_channels, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Returns the merged vectors."""
        merged: Tensor = self.mlp(torch.where(present[..., None], vectors, self.absent).flatten(1))
        return merged
