"""Tables -> tokens: one token a column, mixed by a residual perceptron or a Transformer over columns."""

from __future__ import annotations

from functools import partial
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from profuse.encoders._base import Encoder, Rows, Stage, Suited, chain
from profuse.encoders._bins import bins_suited
from profuse.encoders._mlp import ResidualMLP, check_layers
from profuse.encoders.categorical import CategoryEmbedding
from profuse.encoders.numeric import BinFeatures, PeriodicEmbedding, PiecewiseLinearEmbedding, n_linear_bins
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["TableEncoder"]

Numbers = Literal["piecewise", "periodic", "linear"]
Mixer = Literal["mlp", "transformer"]
_MANY_COLUMNS = 1000
_MOST_CODES = 128  # of a column of categories in the linear path: beyond, a column a code is too dear


class TableEncoder(Encoder):
    """embed: one token a column; mix: `mlp`, all columns' tokens -> one token, or `transformer`, tokens -> tokens.

    Where a cell is missing the perceptron reads a learned token of that column, so that missingness can tell
    something; the Transformer does not attend to it.

    Args:
        spec: Of a fitted `TablePreprocessor`: cardinalities and edges.
        width: Channels of the tokens.
        embed_width: Channels of a column's token before mixing. Small: six columns or two hundred stay cheap.
        hidden_width: Channels inside of the perceptron.
        n_blocks: Residual blocks, or Transformer layers.
        n_heads: Attention heads of a Transformer layer; divides `width`.
        dropout: Probability of dropping a hidden channel.
        numbers: How numbers are embedded: `piecewise` (knots at the edges), `periodic` (learned waves), `linear`.
        mixer: `mlp` or `transformer`.
        column_dropout: Probability of hiding a column's token of a training row; the others grow by what is hidden.
        linear_path: Whether a ridge regression of the columns is added to the model's outputs (`Encoder.linear`).
        n_linear_bins: Bins, at most, in which that regression reads each number besides the number itself; 0: in none.

    Shape:
        `Raw.values[batch, column]`, `Raw.mask[batch, column]`, to `[batch, 1, width]` (mlp) or
        `[batch, column, width]` (transformer).

    Reference:
        See `PiecewiseLinearEmbedding`, `PeriodicEmbedding`, `ResidualMLP`; the Transformer: Gorishniy et al.,
        "Revisiting Deep Learning Models for Tabular Data" (2021), section 3.3 (FT-Transformer).
    """

    kind = "table"
    members_enter = "embed"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        embed_width: int = 16,
        hidden_width: int = 256,
        n_blocks: int = 2,
        n_heads: int = 4,
        dropout: float = 0.1,
        numbers: Numbers = "piecewise",
        mixer: Mixer = "mlp",
        column_dropout: float = 0.0,
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
            column_dropout=column_dropout,
            n_linear_bins=n_linear_bins,
        )
        if numbers not in get_args(Numbers) or mixer not in get_args(Mixer):
            raise ConfigError(
                f"{who}: numbers must be one of {get_args(Numbers)} and mixer one of {get_args(Mixer)}; "
                f"got numbers={numbers!r}, mixer={mixer!r}."
            )
        if mixer == "transformer" and (n_heads < 1 or width % n_heads):
            raise ConfigError(f"{who}: n_heads must divide width; got n_heads={n_heads}, width={width}.")
        sizes = spec.cardinalities
        if not sizes or len(spec.edges) != len(sizes):
            raise ShapeError(
                f"{who}: the spec must have edges and a cardinality for each of at least one column; got "
                f"{len(spec.edges)} edges and {len(sizes)} cardinalities. Take the spec of a fitted preprocessor."
            )
        self.embed_width = embed_width
        self.n_places = len(sizes)
        self.mixer = mixer
        self.column_dropout = nn.Dropout1d(column_dropout)
        number_at = [c for c, size in enumerate(sizes) if size == 0]
        category_at = [c for c, size in enumerate(sizes) if size > 0]
        order = torch.tensor(number_at + category_at)
        self.in_linear = {c: sizes[c] for c in category_at if sizes[c] <= _MOST_CODES}
        self.linear_bins = BinFeatures([spec.edges[c] for c in number_at], n_linear_bins)
        n_codes = sum(size - 1 for size in self.in_linear.values())
        if linear_path:
            self.n_linear = len(number_at) + self.linear_bins.n_features + n_codes + len(sizes)
        self.register_buffer("number_at", torch.tensor(number_at, dtype=torch.long), persistent=False)
        self.register_buffer("category_at", torch.tensor(category_at, dtype=torch.long), persistent=False)
        self.register_buffer("order", order.argsort(), persistent=False)
        self.numbers: PiecewiseLinearEmbedding | PeriodicEmbedding | None = None
        if number_at and numbers == "periodic":
            self.numbers = PeriodicEmbedding(len(number_at), embed_width)
        elif number_at:
            edges = [spec.edges[c] if numbers == "piecewise" else () for c in number_at]
            self.numbers = PiecewiseLinearEmbedding(edges, embed_width)
        self.categories = CategoryEmbedding([sizes[c] for c in category_at], embed_width) if category_at else None
        if mixer == "mlp":
            self.missing = nn.Parameter(torch.zeros(len(sizes), embed_width))
            self.mlp = ResidualMLP(
                len(sizes) * embed_width, width, hidden_width=hidden_width, n_blocks=n_blocks, dropout=dropout
            )
            self.stage_widths = self.mlp.step_widths
        else:
            self.lift = nn.Linear(embed_width, width)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    width, n_heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(n_blocks)
            )
            self.norm = nn.LayerNorm(width)
            self.stage_widths = (width,) * max(1, n_blocks)

    number_at: Tensor
    category_at: Tensor
    order: Tensor

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns a perceptron on piecewise-linear embeddings, wider for more rows, lighter for many columns.

        Few rows are learned by heart unless columns are hidden now and then. Thousands of columns are embedded by a
        line each, in two channels: so many knots would cost minutes.
        """
        n_columns = len(spec.cardinalities)
        return cls(
            spec,
            width,
            embed_width=16 if n_columns <= 64 else 8 if n_columns <= _MANY_COLUMNS else 2,
            hidden_width=64 if n_rows < 2_000 else 256 if n_rows < 50_000 else 384,
            dropout=dropout,
            numbers="piecewise" if n_columns <= _MANY_COLUMNS else "linear",
            column_dropout=dropout if n_rows < 2_000 else 0.0,
            n_linear_bins=n_linear_bins(n_columns),
        )

    @classmethod
    def suited(cls, spec: Spec, train: Rows, valid: Rows) -> Suited | None:
        """Returns that bins are left out of the linear path where training rows say so."""
        return bins_suited(cls.make(spec, 1, n_rows=len(train)), train)

    def embed(self, raw: Raw) -> Tokens:
        n_columns = len(self.spec.cardinalities)
        if raw.values.ndim != 2 or raw.values.shape[1] != n_columns or raw.mask.ndim != 2:
            raise ShapeError(
                f"{type(self).__name__}: values and mask must be [batch, {n_columns}]; got "
                f"values={tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )
        values = raw.values.masked_fill(~raw.mask, 0.0)  # NaN may stand in a masked cell
        parts: list[Tensor] = []
        if self.numbers is not None:
            parts.append(self.numbers(values[:, self.number_at]))
        if self.categories is not None:
            parts.append(self.categories(values[:, self.category_at].round().long()))
        return Tokens(self.column_dropout(torch.cat(parts, dim=1)[:, self.order]), raw.mask)

    def linear(self, raw: Raw) -> Tensor:
        """Returns numbers, their bins, which categories (of columns of at most 128 codes), and which cells are missing.

        A ridge regression of bins is a sum of broken lines, one a number; a Gaussian kernel of them, which counts how
        many bins lie between two rows, sees thresholds as trees do.
        """
        if not self.n_linear:
            return super().linear(raw)
        values = raw.values.masked_fill(~raw.mask, 0.0)
        numbers = values[:, self.number_at]
        bins = self.linear_bins(numbers, raw.mask[:, self.number_at])
        codes = [
            one_hot(values[:, c].round().long().clamp(0, size - 1), size)[:, 1:] for c, size in self.in_linear.items()
        ]
        return torch.cat([numbers, bins, *codes, ~raw.mask], dim=1).to(values.dtype)

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        if self.mixer == "mlp":
            x = tokens.values
            if i == 0:
                x = torch.where(tokens.mask[..., None], x, self.missing)
            return Tokens.vector(self.mlp.step(i, x.flatten(1)), tokens.present)
        hidden = ~tokens.mask & tokens.present[:, None]  # an absent row attends to all: finite, and masked after
        h = self.lift(tokens.values) if i == 0 else tokens.values
        for layer in list(self.layers)[i : i + 1]:
            h = layer(h, src_key_padding_mask=hidden)
        return Tokens(self.norm(h) if i == len(self.stage_widths) - 1 else h, tokens.mask)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
