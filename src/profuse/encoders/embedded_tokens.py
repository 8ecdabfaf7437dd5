"""Tokens of a frozen model -> tokens."""

from __future__ import annotations

from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._mlp import check_layers
from profuse.errors import ShapeError
from profuse.layers.sequence import ChannelDropout, ConvBlock, mean_of_runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["EmbeddedTokensEncoder"]


class EmbeddedTokensEncoder(Encoder):
    """embed: `A v` of each token's vector, before them `B mean(v)`; mix: residual convolutions.

    The vectors are those of a frozen model, which knows where each token stands; the maps are learned.

    Args:
        spec: Of a fitted `EmbeddingPreprocessor` of an embedding with tokens.
        width: Channels of the tokens.
        n_blocks: Convolution blocks over the tokens.
        max_tokens: Longer rows are shortened by means of neighbours, after mixing; the row's token comes besides.
        dropout: Probability of dropping a channel.
        linear_path: Whether a ridge regression of the mean vector is added to the model's outputs (`Encoder.linear`).

    Shape:
        `Raw.values[batch, token, channel]`, `Raw.mask[batch, token]`, to `[batch, <= 1 + max_tokens, width]`.
    """

    kind = "series"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 1,
        max_tokens: int = 64,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        check_layers("EmbeddedTokensEncoder", dropout=dropout, n_blocks=n_blocks, max_tokens=max_tokens)
        if spec.n_channels < 1:
            raise ShapeError(
                f"EmbeddedTokensEncoder: the spec must have at least one channel; got n_channels={spec.n_channels}."
            )
        self.stride = stride_for(spec.max_length, max_tokens)
        self.pieces = nn.Linear(spec.n_channels, width)
        self.whole = nn.Linear(spec.n_channels, width)
        self.blocks = nn.ModuleList(ConvBlock(width, dropout=dropout) for _ in range(n_blocks))
        self.dropout = ChannelDropout(dropout)
        self.n_linear = spec.n_channels if linear_path else 0
        self.stage_widths = (width,) * max(1, n_blocks)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns one block."""
        return cls(spec, width, dropout=dropout)

    def _read(self, raw: Raw) -> Tokens:
        if raw.values.ndim != 3 or raw.values.shape[2] != self.spec.n_channels or raw.mask.ndim != 2:
            raise ShapeError(
                f"EmbeddedTokensEncoder: values must be [batch, token, {self.spec.n_channels}] and mask [batch, token]"
                f"; got values={tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )
        return Tokens(raw.values, raw.mask).zeroed()

    def linear(self, raw: Raw) -> Tensor:
        """Returns the mean vector of the tokens."""
        return self._read(raw).mean() if self.n_linear else super().linear(raw)

    def embed(self, raw: Raw) -> Tokens:
        tokens = self._read(raw)
        values = torch.cat([self.whole(tokens.mean()[:, None]), self.pieces(tokens.values)], dim=1)
        return Tokens(values, torch.cat([raw.mask.any(1, keepdim=True), raw.mask], dim=1))

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        first, values, mask = tokens.values[:, :1], tokens.values[:, 1:], tokens.mask[:, 1:]
        for block in list(self.blocks)[i : i + 1]:
            values = block(values, mask)
        if i == len(self.stage_widths) - 1:
            short = mean_of_runs(Tokens(self.dropout(values), mask), self.stride)
            values, mask = short.values, short.mask
        return Tokens(torch.cat([first, values], dim=1), torch.cat([tokens.mask[:, :1], mask], dim=1))

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
