"""Word pieces with vectors that are known beforehand -> tokens."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.data.preprocess.static import N_PIECES, static_vectors
from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._mlp import check_layers
from profuse.encoders._tfidf import TermWeights
from profuse.errors import ConfigError, ShapeError
from profuse.layers.sequence import ChannelDropout, ConvBlock, Positions, mean_of_runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["StaticEncoder"]


class StaticEncoder(Encoder):
    """embed: `A v[piece]` of each word piece, before them `B mean(v) / |mean(v)|`; mix: positions, then convolutions.

    The vectors `v` are those of the package `wordllama`, made from the token embeddings of language models: words of
    like meaning have like vectors, so that a word that no training text holds is understood. They stay as they are;
    the maps `A` and `B` are learned. The first token is of the whole text: the mean of its vectors, which are longer
    the more a word says. While training, pieces are left out at random.

    Args:
        spec: Of a fitted `StaticPreprocessor`.
        width: Channels of the tokens.
        n_blocks: Convolution blocks over the pieces.
        max_tokens: Longer texts are shortened by means of neighbours, after mixing; the text's token comes besides.
        dropout: Probability of dropping a hidden channel.
        piece_drop_prob: Probability of leaving out a word piece, while training.
        linear_path: Whether a ridge regression of TF-IDF (`TermWeights`) and of the text's mean vector is added to the
            model's outputs (`Encoder.linear`).

    Shape:
        `Raw.values[batch, piece, 1]` (0 = none), `Raw.mask[batch, piece]`, to `[batch, <= 1 + max_tokens, width]`.

    Raises:
        MissingDependencyError: `wordllama` is not installed (extra `pretrained`).

    Reference:
        Miller 2024, WordLlama: recycled token embeddings from large language models; Arora et al. 2017, A simple but
        tough-to-beat baseline for sentence embeddings (weighted means of word vectors).
    """

    kind: ClassVar[str] = "text"
    preprocess: ClassVar[str | None] = "static"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 1,
        max_tokens: int = 64,
        dropout: float = 0.1,
        piece_drop_prob: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        check_layers("StaticEncoder", dropout=dropout, n_blocks=n_blocks, max_tokens=max_tokens)
        if not 0.0 <= piece_drop_prob < 1.0:
            raise ConfigError(
                f"StaticEncoder: piece_drop_prob must be in [0, 1); got piece_drop_prob={piece_drop_prob}."
            )
        if spec.vocabulary != 1 + N_PIECES:
            raise ShapeError(
                f"StaticEncoder: the spec must be of the preprocessor 'static', with {1 + N_PIECES} numbers; got "
                f"vocabulary={spec.vocabulary}. Set preprocess: static for this modality."
            )
        self.piece_drop_prob = piece_drop_prob
        self.stride = stride_for(spec.max_length, max_tokens)
        vectors = static_vectors()
        self.register_buffer("vectors", vectors / vectors.square().mean().sqrt(), persistent=False)
        self.vectors: Tensor
        self.pieces = nn.Linear(vectors.shape[1], width)
        self.whole = nn.Linear(vectors.shape[1], width)
        self.positions = Positions(width)
        self.blocks = nn.ModuleList(ConvBlock(width, dropout=dropout) for _ in range(n_blocks))
        self.dropout = ChannelDropout(dropout)
        self.terms = TermWeights(spec) if linear_path and spec.terms else None
        self.n_linear = 0 if self.terms is None else vectors.shape[1] + self.terms.n_outputs
        self.stage_widths = (width,) * max(1, n_blocks)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns no block below 5,000 rows, one below 20,000, else two."""
        return cls(spec, width, n_blocks=0 if n_rows < 5_000 else 1 if n_rows < 20_000 else 2, dropout=dropout)

    def _check(self, raw: Raw) -> None:
        if raw.values.ndim != 3 or raw.mask.ndim != 2 or raw.values.is_floating_point():
            raise ShapeError(
                "StaticEncoder: values must be long [batch, piece, 1] and mask [batch, piece]; got "
                f"values={raw.values.dtype}{tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )

    def linear(self, raw: Raw) -> Tensor:
        """Returns the mean vector of the pieces, of length 1, and TF-IDF of pieces and pairs of them."""
        if self.terms is None:
            return super().linear(raw)
        self._check(raw)
        ids = raw.values[..., 0].masked_fill(~raw.mask, 0)
        return torch.cat([self._text(ids)[1][:, 0], self.terms(raw.values, raw.mask)], dim=1)

    def _text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the vectors of the pieces, and their mean in units of its length, `[batch, 1, 256]`."""
        vectors = F.embedding((ids - 1).clamp(min=0), self.vectors) * (ids > 0)[..., None]
        return vectors, F.normalize(vectors.sum(1, keepdim=True), dim=2)

    def embed(self, raw: Raw) -> Tokens:
        self._check(raw)
        ids = raw.values[..., 0].masked_fill(~raw.mask, 0)
        if self.training and self.piece_drop_prob > 0:
            ids = ids * (torch.rand(ids.shape, device=ids.device) >= self.piece_drop_prob)
        vectors, text = self._text(ids)
        values = torch.cat([self.whole(text * vectors.shape[2] ** 0.5), self.pieces(vectors)], dim=1)
        return Tokens(values, torch.cat([raw.mask.any(1, keepdim=True), raw.mask], dim=1))

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        first, values, mask = tokens.values[:, :1], tokens.values[:, 1:], tokens.mask[:, 1:]
        values = self.positions(values) if i == 0 else values
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
