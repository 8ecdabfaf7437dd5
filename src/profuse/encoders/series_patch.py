"""Series -> tokens by a Transformer over patches of time."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
from torch import nn

from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._mlp import heads_for
from profuse.encoders._series import SeriesDescription
from profuse.encoders._steps import StepFeatures, check_series, clean_steps
from profuse.errors import ConfigError
from profuse.layers.attention import AttentionBlock
from profuse.layers.sequence import ChannelDropout, Positions, runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["SeriesPatchEncoder"]


class SeriesPatchEncoder(Encoder):
    """embed: `A [steps of a patch, which of them are real]`, patches that do not overlap; mix: a Transformer over them.

    Args:
        spec: Of a fitted `SeriesPreprocessor`.
        width: Channels of the tokens, a multiple of `n_heads`.
        n_blocks: Transformer blocks.
        n_heads: Attention heads.
        max_tokens: The largest number of patches; a patch has `ceil(max_length / max_tokens)` steps.
        n_frequencies: Periodic features of each number; None: 4 for up to 16 channels, else 0.
        dropout: Probability of dropping a hidden channel of a row.
        linear_path: Whether a ridge regression of what describes a row is added to the model's outputs
            (`Encoder.linear`, `SeriesDescription`).

    Shape:
        `Raw.values[batch, time, channel]`, `Raw.mask[batch, time]`, to `[batch, <= max_tokens, width]`.

    Reference:
        Nie et al. 2023, A time series is worth 64 words, section 3.1.

    Differs from the paper:
        The channels of a patch are one token, not one token each: their relations count here, and tokens are few.
    """

    kind: ClassVar[str] = "series"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 2,
        n_heads: int = 4,
        max_tokens: int = 32,
        n_frequencies: int | None = None,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        n_frequencies = check_series(
            "SeriesPatchEncoder",
            spec,
            dropout=dropout,
            n_frequencies=n_frequencies,
            n_blocks=n_blocks,
            n_heads=n_heads,
            max_tokens=max_tokens,
        )
        if width % n_heads:
            raise ConfigError(
                f"SeriesPatchEncoder: width must be a multiple of n_heads; got width={width}, n_heads={n_heads}."
            )
        self.stride = stride_for(spec.max_length, max_tokens)
        self.features = StepFeatures(spec.n_channels, n_frequencies)
        self.first = nn.Linear(self.stride * (self.features.out_width + 1), width)
        self.positions = Positions(width)
        self.blocks = nn.ModuleList(AttentionBlock(width, n_heads=n_heads, dropout=dropout) for _ in range(n_blocks))
        self.description = SeriesDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.dropout = ChannelDropout(dropout)
        self.stage_widths = (width,) * n_blocks

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns two blocks below 10,000 rows, three from there on; as many heads, up to 4, as divide the width."""
        n_heads = heads_for(width)
        return cls(spec, width, n_blocks=2 if n_rows < 10_000 else 3, n_heads=n_heads, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        steps = clean_steps(raw, self.spec.n_channels, who="SeriesPatchEncoder")
        real = raw.mask[..., None].to(steps.dtype)
        known = torch.cat([self.features(steps) * real, real], dim=2)  # cos(0) is 1 where nothing is
        return Tokens(self.first(runs(known, self.stride).flatten(2)), runs(raw.mask, self.stride).any(2))

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        values = self.positions(tokens.values) if i == 0 else tokens.values
        values = self.blocks[i](values, tokens.mask)
        return Tokens(self.dropout(values) if i == len(self.blocks) - 1 else values, tokens.mask)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.blocks)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
