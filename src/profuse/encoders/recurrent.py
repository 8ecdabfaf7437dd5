"""Series -> tokens by a gated recurrent network."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._series import SeriesDescription
from profuse.encoders._steps import StepFeatures, check_series, clean_steps
from profuse.errors import ConfigError
from profuse.layers.sequence import ChannelDropout, mean_of_runs, runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["RecurrentEncoder"]

Cell = Literal["gru", "lstm"]


class RecurrentEncoder(Encoder):
    """embed: `u_j = A [f(x_{js}), ..., f(x_{js+s-1})]`, `f` periodic features; mix: `u + B [RNN(u), RNN(reversed u)]`.

    Joining `s = ceil(max_length / max_steps)` neighbours keeps the recurrence short: faster, and easier to learn. One
    linear map does it, of features that are 0 where masked. Masked tokens are skipped, not read as zeros, in both
    directions.

    Args:
        spec: Of a fitted `SeriesPreprocessor`.
        width: Channels of the tokens.
        n_layers: Recurrent layers.
        bidirectional: Whether the series is read backwards too; each direction then has half the width.
        cell: The recurrent layer, "gru" or "lstm".
        max_steps: The largest number of steps that are read.
        max_tokens: The largest number of tokens that are returned, means of neighbours.
        last: Return one token only, that of the last step: for series that end with what is asked about. Only read
            forwards, as the way back has read a single step there.
        n_frequencies: Periodic features of each number; None: 4 for up to 16 channels, else 0.
        dropout: Probability of dropping a channel of a row.
        linear_path: Whether a ridge regression of what describes a row is added to the model's outputs
            (`Encoder.linear`, `SeriesDescription`).

    Shape:
        `Raw.values[batch, time, channel]`, `Raw.mask[batch, time]`, to `[batch, <= max_tokens, width]`, with
        `last` to `[batch, 1, width]`.

    Raises:
        ConfigError: An unknown cell, `last` in both directions, a size below 1, or a dropout out of range.

    Reference:
        Cho et al. 2014, Learning phrase representations using RNN encoder-decoder (the GRU); Hochreiter and Schmidhuber
        1997, Long short-term memory; Schuster and Paliwal 1997, Bidirectional recurrent neural networks.
    """

    kind: ClassVar[str] = "series"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_layers: int = 1,
        bidirectional: bool = True,
        cell: Cell = "gru",
        max_steps: int = 64,
        max_tokens: int = 32,
        last: bool = False,
        n_frequencies: int | None = None,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        if cell not in get_args(Cell):
            raise ConfigError(f"RecurrentEncoder: cell must be {' or '.join(get_args(Cell))}; got cell={cell!r}.")
        if last and bidirectional:
            raise ConfigError(
                "RecurrentEncoder: last must go with bidirectional=False; got bidirectional=True. Set it."
            )
        n_frequencies = check_series(
            "RecurrentEncoder",
            spec,
            dropout=dropout,
            n_frequencies=n_frequencies,
            n_layers=n_layers,
            max_steps=max_steps,
            max_tokens=max_tokens,
        )
        self.features = StepFeatures(spec.n_channels, n_frequencies)
        self.run = stride_for(spec.max_length, max_steps)
        self.first = nn.Linear(self.run * self.features.out_width, width)
        self.stride = stride_for(-(-spec.max_length // self.run), max_tokens)
        layer = nn.GRU if cell == "gru" else nn.LSTM
        hidden = -(-width // 2) if bidirectional else width
        self.forwards, backwards, outs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(n_layers))
        for _ in range(n_layers):
            self.forwards.append(layer(width, hidden, batch_first=True))
            if bidirectional:
                backwards.append(layer(width, hidden, batch_first=True))
            outs.append(nn.Linear(hidden * (1 + bidirectional), width))
        self.backwards, self.outs = backwards, outs
        self.description = SeriesDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.dropout = ChannelDropout(dropout)
        self.last = last
        self.stage_widths = (width,) * n_layers

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns one layer below 10,000 rows, two from there on."""
        return cls(spec, width, n_layers=1 if n_rows < 10_000 else 2, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        steps = clean_steps(raw, self.spec.n_channels, who="RecurrentEncoder")
        features = self.features(steps).masked_fill(~raw.mask[..., None], 0.0)
        return Tokens(self.first(runs(features, self.run).flatten(2)), runs(raw.mask, self.run).any(2))

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        if i == 0:
            # real tokens first, in their order: both directions then meet padding last
            order = torch.argsort(~tokens.mask, dim=1, stable=True)
            tokens = Tokens(_take(tokens.values, order), tokens.mask.gather(1, order))
        values, mask = tokens.values, tokens.mask
        x = self.norms[i](values)
        states = [self.forwards[i](x)[0]]
        if len(self.backwards):
            place = torch.arange(mask.shape[1], device=mask.device)
            back = torch.where(mask, mask.sum(1, keepdim=True) - 1 - place, place)
            states.append(_take(self.backwards[i](_take(x, back))[0], back))
        values = values + self.outs[i](self.dropout(torch.cat(states, dim=2)))
        if i < len(self.norms) - 1:
            return Tokens(values, mask)
        values = self.dropout(values)
        if self.last:
            end = (mask.sum(1) - 1).clamp(min=0)[:, None, None].expand(-1, 1, values.shape[2])
            return Tokens(values.gather(1, end), mask.any(1, keepdim=True))
        return mean_of_runs(Tokens(values, mask), self.stride)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.norms)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)


def _take(x: Tensor, order: Tensor) -> Tensor:
    """`y[batch, t] = x[batch, order[batch, t]]`."""
    first = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    # rows of one long matrix: the gradient of a gather over three axes takes as long as the recurrence
    return x.flatten(0, 1).index_select(0, (first + order).flatten()).view(x.shape)
