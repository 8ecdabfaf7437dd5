"""Vectors -> one token."""

from __future__ import annotations

from functools import partial
from typing import Self

from torch import Tensor, nn

from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._mlp import ResidualMLP, check_layers
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
        )
        if spec.n_channels < 1:
            raise ShapeError(f"{who}: the spec must have at least one channel; got n_channels={spec.n_channels}.")
        self.embed_width = embed_width
        self.n_linear = spec.n_channels if linear_path else 0
        self.input_dropout = nn.Dropout(input_dropout)
        self.first = nn.Linear(spec.n_channels, embed_width)
        self.mlp = ResidualMLP(embed_width, width, hidden_width=hidden_width, n_blocks=n_blocks, dropout=dropout)
        self.stage_widths = self.mlp.step_widths

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns a perceptron, wider for more rows."""
        hidden = 128 if n_rows < 2_000 else 256
        return cls(spec, width, embed_width=hidden, hidden_width=hidden, n_blocks=2, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        if raw.values.ndim != 2 or raw.values.shape[1] != self.spec.n_channels or raw.mask.ndim != 1:
            raise ShapeError(
                f"{type(self).__name__}: values must be [batch, {self.spec.n_channels}] and mask [batch]; got "
                f"values={tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )
        values = raw.values.masked_fill(~raw.mask[:, None], 0.0)  # NaN may stand in an absent row
        return Tokens.vector(self.first(self.input_dropout(values)), raw.mask)

    def linear(self, raw: Raw) -> Tensor:
        """Returns the vector."""
        return raw.values.masked_fill(~raw.mask[:, None], 0.0) if self.n_linear else super().linear(raw)

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        return Tokens.vector(self.mlp.step(i, tokens.values[:, 0]), tokens.mask[:, 0])

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
