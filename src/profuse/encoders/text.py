"""Words, each a bag of subwords -> tokens."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._mlp import check_layers
from profuse.encoders._tfidf import TermWeights
from profuse.errors import ConfigError, ShapeError
from profuse.layers.sequence import ConvBlock, Positions, mean_of_runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["WordEncoder"]


class WordEncoder(Encoder):
    """embed: `sum of E[subword] / sqrt(number of subwords)` of each word; mix: positions, then residual convolutions.

    Dividing by the root keeps the size of a word's vector whatever its number of subwords (their mean would make long
    words small). The convolutions see two neighbours and begin near the identity: the encoder starts as a bag of
    words, and learns order where it pays. While training, a whole word's vector is left out at random, and subwords
    of the others too, so that no rare word is learned by heart.

    Args:
        spec: Of a fitted `SubwordPreprocessor`.
        width: Channels of the tokens.
        n_blocks: Convolution blocks.
        max_tokens: Longer texts are shortened by means of neighbours, after mixing.
        dropout: Probability of dropping a hidden channel.
        word_drop_prob: Probability of leaving out a word, while training.
        subword_drop_prob: Probability of leaving out a subword, while training.
        linear_path: Whether a ridge regression of TF-IDF (`TermWeights`) is added to the
            model's outputs (`Encoder.linear`).

    Shape:
        `Raw.values[batch, word, subword]` (0 = no subword), `Raw.mask[batch, word]`, to
        `[batch, <= max_tokens, width]`.

    Reference:
        Bojanowski et al. 2017, Enriching word vectors with subword information; Iyyer et al. 2015, Deep unordered
        composition rivals syntactic methods (word dropout).
    """

    kind: ClassVar[str] = "text"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 1,
        max_tokens: int = 64,
        dropout: float = 0.1,
        word_drop_prob: float = 0.1,
        subword_drop_prob: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        check_layers("WordEncoder", dropout=dropout, n_blocks=n_blocks, max_tokens=max_tokens)
        if not (0.0 <= word_drop_prob < 1.0 and 0.0 <= subword_drop_prob < 1.0):
            raise ConfigError(
                "WordEncoder: word_drop_prob and subword_drop_prob must be in [0, 1); got "
                f"word_drop_prob={word_drop_prob}, subword_drop_prob={subword_drop_prob}."
            )
        if spec.vocabulary < 2:
            raise ShapeError(
                f"WordEncoder: the spec must have at least 2 subword ids; got vocabulary={spec.vocabulary}."
            )
        self.word_drop_prob, self.subword_drop_prob = word_drop_prob, subword_drop_prob
        self.stride = stride_for(spec.max_length, max_tokens)
        self.table = nn.Embedding(spec.vocabulary, width)
        nn.init.normal_(self.table.weight, std=0.1)
        self.positions = Positions(width)
        self.blocks = nn.ModuleList(ConvBlock(width, dropout=dropout) for _ in range(n_blocks))
        self.dropout = nn.Dropout(dropout)
        self.terms = TermWeights(spec) if linear_path and spec.terms else None
        self.n_linear = 0 if self.terms is None else self.terms.n_outputs
        self.stage_widths = (width,) * max(1, n_blocks)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns no block below 5,000 rows, which teach words but not their order; one below 20,000; else two."""
        return cls(spec, width, n_blocks=0 if n_rows < 5_000 else 1 if n_rows < 20_000 else 2, dropout=dropout)

    def _check(self, raw: Raw) -> None:
        if raw.values.ndim != 3 or raw.mask.ndim != 2 or raw.values.is_floating_point():
            raise ShapeError(
                "WordEncoder: values must be long [batch, word, subword] and mask [batch, word]; got "
                f"values={raw.values.dtype}{tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )

    def linear(self, raw: Raw) -> Tensor:
        """Returns TF-IDF of words, word pairs and parts of words; see `TermWeights`."""
        if self.terms is None:
            return super().linear(raw)
        self._check(raw)
        weights: Tensor = self.terms(raw.values, raw.mask)
        return weights

    def embed(self, raw: Raw) -> Tokens:
        self._check(raw)
        ids = raw.values.masked_fill(~raw.mask[..., None], 0)
        if self.training and self.subword_drop_prob > 0:
            ids = ids * (torch.rand(ids.shape, device=ids.device) >= self.subword_drop_prob)
        n_rows, n_words, n_slots = ids.shape
        flat = ids.reshape(-1, n_slots)
        total = F.embedding_bag(flat, self.table.weight, mode="sum", padding_idx=0)
        values = total / (flat != 0).sum(1, keepdim=True).clamp(min=1).to(total.dtype).sqrt()
        if self.training and self.word_drop_prob > 0:
            keep = torch.rand(values.shape[0], 1, device=values.device) >= self.word_drop_prob
            values = values * keep / (1.0 - self.word_drop_prob)
        return Tokens(torch.unflatten(values, 0, (n_rows, n_words)), raw.mask)

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        values = self.positions(tokens.values) if i == 0 else tokens.values
        for block in list(self.blocks)[i : i + 1]:
            values = block(values, tokens.mask)
        if i < len(self.stage_widths) - 1:
            return Tokens(values, tokens.mask)
        return mean_of_runs(Tokens(self.dropout(values), tokens.mask), self.stride)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
