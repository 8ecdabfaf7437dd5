"""Series -> tokens by dilated convolutions."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

from torch import nn

from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._series import SeriesDescription
from profuse.encoders._steps import StepFeatures, check_series, clean_steps
from profuse.layers.sequence import ChannelDropout, ConvBlock, Joined, mean_of_runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["DilatedEncoder"]


class DilatedEncoder(Encoder):
    """embed: `A [x_t, periodic features]`; mix: residual convolutions dilated 1, 2, 4, ..., then means of neighbours.

    More than `max_steps` steps are first joined, each run of them by one linear map: fine steps cost in proportion.
    A convolution reads zeros where tokens are masked, which is what stands outside of a series that is not padded.

    Args:
        spec: Of a fitted `SeriesPreprocessor`.
        width: Channels of the tokens.
        n_blocks: Convolutions; each doubles the dilation of the one before.
        max_steps: The largest number of steps that are convolved.
        max_tokens: The largest number of tokens that are returned, means of neighbours.
        n_frequencies: Periodic features of each number; None: 4 for up to 16 channels, else 0.
        dropout: Probability of dropping a hidden channel of a row.
        linear_path: Whether a ridge regression of what describes a row is added to the model's outputs
            (`Encoder.linear`, `SeriesDescription`).

    Shape:
        `Raw.values[batch, time, channel]`, `Raw.mask[batch, time]`, to `[batch, <= max_tokens, width]`.

    Reference:
        Bai, Kolter, Koltun 2018, An empirical evaluation of generic convolutional and recurrent networks for sequence
        modeling, section 3.

    Differs from the paper:
        Not causal: the whole series is known. Norms first, one convolution a block, gated residuals.
    """

    kind: ClassVar[str] = "series"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 4,
        max_steps: int = 128,
        max_tokens: int = 32,
        n_frequencies: int | None = None,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        n_frequencies = check_series(
            "DilatedEncoder",
            spec,
            dropout=dropout,
            n_frequencies=n_frequencies,
            n_blocks=n_blocks,
            max_steps=max_steps,
            max_tokens=max_tokens,
        )
        self.features = StepFeatures(spec.n_channels, n_frequencies)
        self.first = nn.Linear(self.features.out_width, width)
        stride = stride_for(spec.max_length, max_steps)
        self.join = Joined(width, stride)
        self.stride = stride_for(-(-spec.max_length // stride), max_tokens)
        self.blocks = nn.ModuleList(ConvBlock(width, dilation=2**i, dropout=dropout) for i in range(n_blocks))
        self.description = SeriesDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.dropout = ChannelDropout(dropout)
        self.stage_widths = (width,) * n_blocks

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns 3 blocks on up to 48 steps below 5,000 rows, 4 on 128 from there, 5 from 20,000; fewer if short."""
        most, max_steps = (3, 48) if n_rows < 5_000 else (4, 128) if n_rows < 20_000 else (5, 128)
        n_blocks = max(1, min((spec.max_length - 1).bit_length(), most))
        return cls(spec, width, n_blocks=n_blocks, max_steps=max_steps, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        steps = clean_steps(raw, self.spec.n_channels, who="DilatedEncoder")
        return Tokens(self.first(self.features(steps)), raw.mask)

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        tokens = self.join(tokens) if i == 0 else tokens
        values = self.blocks[i](tokens.values, tokens.mask)
        if i < len(self.blocks) - 1:
            return Tokens(values, tokens.mask)
        return mean_of_runs(Tokens(self.dropout(values), tokens.mask), self.stride)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.blocks)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
