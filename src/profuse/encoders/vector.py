"""Vectors -> one token."""

from __future__ import annotations

from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Rows, Stage, Suited, chain
from profuse.encoders._bins import bins_suited
from profuse.encoders._mlp import ResidualMLP, check_layers
from profuse.encoders.numeric import BinFeatures, n_linear_bins
from profuse.errors import ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["VectorEncoder"]


class VectorEncoder(Encoder):
    """embed: A x + b, one token; mix: `ResidualMLP`, one token.

    Args:
        spec: Of a fitted `VectorPreprocessor`: its channels.
        width: Channels of the token.
        embed_width: Channels of the token before mixing.
        hidden_width: Channels inside of the perceptron.
        n_blocks: Residual blocks.
        dropout: Probability of dropping a hidden channel.
        input_dropout: Probability of dropping a channel of the input; the others grow by what is dropped.
        linear_path: Whether a ridge regression of the vector is added to the model's outputs (`Encoder.linear`).
        n_linear_bins: Bins, at most, in which that regression reads each channel that has edges besides the number
            itself; 0: in none.

    Shape:
        `Raw.values[batch, channel]`, `Raw.mask[batch]`, to `[batch, 1, width]`.

    Reference:
        See `ResidualMLP`.
    """

    kind = "vector"
    members_enter = "embed"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        embed_width: int = 128,
        hidden_width: int = 256,
        n_blocks: int = 2,
        dropout: float = 0.1,
        input_dropout: float = 0.0,
        linear_path: bool = True,
        n_linear_bins: int = 6,
    ) -> None:
        super().__init__(spec, width)
        who = type(self).__name__
        check_layers(
            who,
            embed_width=embed_width,
            hidden_width=hidden_width,
            n_blocks=n_blocks,
            dropout=dropout,
            input_dropout=input_dropout,
            n_linear_bins=n_linear_bins,
        )
        if spec.n_channels < 1:
            raise ShapeError(f"{who}: the spec must have at least one channel; got n_channels={spec.n_channels}.")
        for name, given in (("edges", spec.edges), ("spreads", spec.spreads)):
            if len(given) not in (0, spec.n_channels):
                raise ShapeError(
                    f"{who}: the spec must have {name} of no channel or of each; got {len(given)} {name} and "
                    f"n_channels={spec.n_channels}. Take the spec of a fitted preprocessor."
                )
        self.embed_width = embed_width
        self.linear_bins = BinFeatures(spec.edges, n_linear_bins)
        self.n_linear = spec.n_channels + self.linear_bins.n_features if linear_path else 0
        self.input_dropout = nn.Dropout(input_dropout)
        self.first = nn.Linear(spec.n_channels, embed_width)
        self.mlp = ResidualMLP(embed_width, width, hidden_width=hidden_width, n_blocks=n_blocks, dropout=dropout)
        self.stage_widths = self.mlp.step_widths

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns a perceptron, wider for more rows."""
        hidden = 128 if n_rows < 2_000 else 256
        return cls(
            spec,
            width,
            embed_width=hidden,
            hidden_width=hidden,
            n_blocks=2,
            dropout=dropout,
            n_linear_bins=n_linear_bins(spec.n_channels),
        )

    @classmethod
    def suited(cls, spec: Spec, train: Rows, valid: Rows) -> Suited | None:
        """Returns that bins are left out of the linear path where training rows say so."""
        return bins_suited(cls.make(spec, 1, n_rows=len(train)), train)

    def embed(self, raw: Raw) -> Tokens:
        if raw.values.ndim != 2 or raw.values.shape[1] != self.spec.n_channels or raw.mask.ndim != 1:
            raise ShapeError(
                f"{type(self).__name__}: values must be [batch, {self.spec.n_channels}] and mask [batch]; got "
                f"values={tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )
        values = raw.values.masked_fill(~raw.mask[:, None], 0.0)  # NaN may stand in an absent row
        return Tokens.vector(self.first(self.input_dropout(values)), raw.mask)

    def linear(self, raw: Raw) -> Tensor:
        """Returns the vector, and the bins of its channels as far as they have edges (see `TableEncoder.linear`)."""
        if not self.n_linear:
            return super().linear(raw)
        values = raw.values.masked_fill(~raw.mask[:, None], 0.0)
        if not self.linear_bins.n_features:
            return values
        known = raw.mask[:, None].expand_as(values)
        return torch.cat([values, self.linear_bins(values, known)], dim=1)

    def linear_spreads(self) -> Tensor | None:
        """Returns those of the channels; bins are left out."""
        if not self.n_linear or not self.spec.spreads:
            return None
        spreads = torch.zeros(self.n_linear)
        spreads[: self.spec.n_channels] = torch.tensor(self.spec.spreads)
        return spreads

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        return Tokens.vector(self.mlp.step(i, tokens.values[:, 0]), tokens.mask[:, 0])

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
