"""Series -> tokens: fixed random kernels describe the row, learned ones of several time scales its steps."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Rows, Stage, Suited, chain
from profuse.encoders._kernels import KernelBank, dilations
from profuse.encoders._levels import levels_suited
from profuse.encoders._series import SeriesDescription
from profuse.encoders._steps import check_series, clean_steps
from profuse.encoders._strokes import redrawn
from profuse.encoders._views import resampled, row_views
from profuse.errors import ConfigError
from profuse.layers.sequence import ChannelDropout, ConvBlock, Positions, mean_of_runs, runs, stride_for
from profuse.layers.standardise import Standardise
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["MultiscaleEncoder"]

_WIDEST = 2048  # numbers of the resampled row
_TAPS = 9
_MANY = 96  # views that learned kernels read as they are; more are first mixed into as many
_GATE = 0.05  # of what is learned of few rows


class MultiscaleEncoder(Encoder):
    """embed: `s + g * local_t`; mix: residual convolutions dilated 1, 2, 4, ..., then means of neighbours.

    The steps are seen in two views (`row_views`): in units of their own row, and by how they change. The same for all
    tokens of a row, `s` is a linear map of a description in which nothing is learned: the row's own levels and spreads,
    the row and its views at even times, and the `KernelBank`. It is what carries few rows, and only it knows levels:
    learned kernels took them for the sensor's, and failed with another one. `local_t` are learned
    convolutions of the views at several time scales, as mean and maximum over a run of steps; they begin small.

    The description is standardised by what training has shown. The map of its n numbers, thousands, begins at 0, and
    its inputs are scaled by `8 / sqrt(n)`: the steps of Adam, as large for each weight, then learn no row by heart.

    Args:
        spec: Of a fitted `SeriesPreprocessor`.
        width: Channels of the tokens.
        n_blocks: Residual convolutions; each doubles the dilation of the one before.
        n_filters: Learned kernels, in all scales together.
        n_scales: Time scales of the learned kernels.
        max_steps: The largest number of tokens that are convolved.
        max_tokens: The largest number of tokens that are returned, means of neighbours.
        levels: Whether the row at even times enters the description as it is too, beside its views; validation rows
            choose (`levels_suited`).
        description_dropout: Probability of leaving out a number of the description.
        redraw: How far a path is turned, stretched, slanted and bent at random while training; 0: not at all. What is
            no path is left as it is.
        dropout: Probability of dropping a hidden channel of a row.
        linear_path: Whether a ridge regression of what describes a row is added to the model's outputs
            (`Encoder.linear`, `SeriesDescription`).

    Shape:
        `Raw.values[batch, time, channel]`, `Raw.mask[batch, time]`, to `[batch, <= max_tokens, width]`.

    Raises:
        ConfigError: A size below 1, or a probability or `redraw` out of range.

    Reference:
        Ismail Fawaz et al. 2020, InceptionTime (kernels of several scales side by side); Dempster, Schmidt, Webb 2021,
        MiniRocket; Yang et al. 2022, Tensor programs V (steps of wide inputs).

    Differs from the paper:
        Three dilations of nine taps in place of three lengths of kernels, one such layer, no batch normalisation.
    """

    kind: ClassVar[str] = "series"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 2,
        n_filters: int = 64,
        n_scales: int = 3,
        max_steps: int = 32,
        max_tokens: int = 32,
        levels: bool = True,
        description_dropout: float = 0.2,
        redraw: float = 0.0,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        who = "MultiscaleEncoder"
        check_series(
            who, spec, dropout=dropout, n_frequencies=0, n_blocks=n_blocks, n_filters=n_filters, n_scales=n_scales,
            max_steps=max_steps, max_tokens=max_tokens,
        )  # fmt: skip
        if not (0 <= description_dropout < 1 and redraw >= 0):
            raise ConfigError(
                f"{who}: 0 <= description_dropout < 1 and redraw >= 0 must hold; got "
                f"description_dropout={description_dropout}, redraw={redraw}."
            )
        n_views, length = 2 * spec.n_channels, max(1, spec.max_length)
        self.redraw = redraw
        self.kernels = KernelBank(n_views, length)
        self.n_points = min(length, max(16, _WIDEST // n_views))
        self.levels = levels
        n_even = n_views + levels * spec.n_channels
        n_numbers = 3 * spec.n_channels + n_even * self.n_points + self.kernels.out_width
        self.standardise = Standardise(n_numbers)
        self.describe = nn.Linear(n_numbers, width)
        nn.init.zeros_(self.describe.weight)
        self.unit = 8 / math.sqrt(n_numbers)
        self.description_dropout = nn.Dropout(description_dropout)
        n_seen = min(n_views, _MANY)
        self.narrow = nn.Conv1d(n_views, n_seen, 1) if n_seen < n_views else nn.Identity()
        self.scales = nn.ModuleList(
            nn.Conv1d(n_seen, -(-n_filters // n_scales), _TAPS, dilation=d, padding=_TAPS // 2 * d)
            for d in dilations(length, n_scales)
        )
        n_responses = sum(scale.out_channels for scale in self.scales.children() if isinstance(scale, nn.Conv1d))
        self.run = stride_for(length, max_steps)
        self.local = nn.Linear(n_responses * (1 if self.run == 1 else 2), width)
        self.positions = Positions(width)
        self.gate = nn.Parameter(torch.full((width,), _GATE))
        self.blocks = nn.ModuleList(ConvBlock(width, dilation=2**i, dropout=dropout) for i in range(n_blocks))
        self.stride = stride_for(-(-length // self.run), max_tokens)
        self.description = SeriesDescription(spec, levels=levels) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.dropout = ChannelDropout(dropout)
        self.stage_widths = (width,) * n_blocks

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns 2 blocks on up to 32 tokens below 5,000 rows, 4 on 64 with twice the kernels from there."""
        n_blocks, max_steps, n_filters = (2, 32, 64) if n_rows < 5_000 else (4, 64, 128)
        return cls(
            spec,
            width,
            n_blocks=n_blocks,
            max_steps=max_steps,
            n_filters=n_filters,
            redraw=1.0 if spec.is_path else 0.0,
            dropout=dropout,
        )

    @classmethod
    def suited(cls, spec: Spec, train: Rows, valid: Rows) -> Suited | None:
        return levels_suited(train, valid)

    def embed(self, raw: Raw) -> Tokens:
        x, mask = clean_steps(raw, self.spec.n_channels, who="MultiscaleEncoder"), raw.mask
        if self.training and self.redraw > 0 and self.spec.is_path:
            x = torch.cat([redrawn(x[..., :2], mask, self.redraw), x[..., 2:]], dim=2)
        views, own = row_views(x, mask, is_path=self.spec.is_path)
        by_channel = views.transpose(1, 2).contiguous()
        even = resampled(torch.cat([x, views], dim=2) if self.levels else views, mask, self.n_points).flatten(1)
        numbers = self.standardise(torch.cat([own, even, self.kernels(by_channel, mask)], dim=1), raw.present)
        row = self.describe(self.description_dropout(numbers) * self.unit)
        local, real = self._local(by_channel, mask)
        return Tokens(row[:, None] + self.gate * self.positions(self.local(local)), real)

    def _local(self, by_channel: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the responses of the learned kernels, mean and maximum of each run of steps, and which are real."""
        seen = self.narrow(by_channel) * mask[:, None]  # several times as fast as masked_fill
        responses = F.gelu(torch.cat([scale(seen) for scale in self.scales], dim=1)).transpose(1, 2)
        if self.run == 1:
            return responses * mask[..., None], mask
        real = runs(mask, self.run)[..., None]
        pieces = runs(responses, self.run) * real
        mean = pieces.sum(2) / real.sum(2).clamp(min=1)
        top = (pieces - (~real).to(pieces.dtype)).amax(2)  # -1 lies below all that GELU returns
        return torch.cat([mean, top], dim=2), real.any(2)[..., 0]

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        values = self.blocks[i](tokens.values, tokens.mask)
        if i < len(self.blocks) - 1:
            return Tokens(values, tokens.mask)
        return mean_of_runs(Tokens(self.dropout(values), tokens.mask), self.stride)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.blocks)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
