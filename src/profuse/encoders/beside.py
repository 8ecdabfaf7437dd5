"""Words that are learned, and beside them the vector of an embedding -> tokens."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from profuse.data.preprocess.beside import unpacked
from profuse.encoders._base import Encoder
from profuse.encoders.static import StaticEncoder
from profuse.encoders.text import WordEncoder
from profuse.encoders.vector import VectorEncoder
from profuse.errors import ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["StaticBesideEncoder", "WordsBesideEncoder"]


class WordsBesideEncoder(Encoder):
    """embed: `A v` of the embedding's vector, and behind it the words as `WordEncoder` embeds them; mix: each its own.

    Args:
        spec: Of a fitted `BesidePreprocessor`.
        width: Channels of the tokens.
        n_blocks: Convolution blocks over the words.
        max_tokens: Longer texts are shortened by means of neighbours, after mixing; the vector's token comes besides.
        hidden_width: Channels inside the perceptron of the vector (`ResidualMLP`).
        dropout: Probability of dropping a hidden channel.
        linear_path: Whether a ridge regression of what both encoders describe a text by is added to the model's
            outputs.

    Shape:
        `Raw.values[batch, position, slot]` (see `packed`), `Raw.mask[batch, position]`, to
        `[batch, <= 1 + max_tokens, width]`.
    """

    kind: ClassVar[str] = "text"
    words_class: ClassVar[type[WordEncoder] | type[StaticEncoder]] = WordEncoder

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 1,
        max_tokens: int = 64,
        hidden_width: int = 128,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        if spec.n_channels < 1:
            raise ShapeError(
                f"{type(self).__name__}: the spec must have at least one channel of a vector; got "
                f"n_channels={spec.n_channels}. Take the spec of a fitted preprocessor of the same name."
            )
        self.words = self.words_class(
            spec.model_copy(update={"n_channels": 0}), width,
            n_blocks=n_blocks, max_tokens=max_tokens, dropout=dropout, linear_path=linear_path,
        )  # fmt: skip
        self.vector = VectorEncoder(
            Spec(kind="vector", n_channels=spec.n_channels), width,
            embed_width=width, hidden_width=hidden_width, dropout=dropout, linear_path=linear_path,
        )  # fmt: skip
        self.n_linear = self.words.n_linear + self.vector.n_linear

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns blocks over the words as `WordEncoder` has them, and a perceptron as `VectorEncoder` has it."""
        n_blocks = 0 if n_rows < 5_000 else 1 if n_rows < 20_000 else 2
        return cls(spec, width, n_blocks=n_blocks, hidden_width=128 if n_rows < 2_000 else 256, dropout=dropout)

    def _parts(self, raw: Raw) -> tuple[Raw, Raw]:
        if raw.values.ndim != 3 or raw.mask.ndim != 2 or raw.values.is_floating_point():
            raise ShapeError(
                f"{type(self).__name__}: values must be long [batch, position, slot] and mask [batch, position]; got "
                f"values={raw.values.dtype}{tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )
        words, vector = unpacked(raw, self.spec.n_channels)
        return words, Raw(vector.values.to(self.vector.first.weight.dtype), vector.mask)

    def linear(self, raw: Raw) -> Tensor:
        """Returns what describes the words, and the vector."""
        if not self.n_linear:
            return super().linear(raw)
        words, vector = self._parts(raw)
        parts = [e.linear(r) for e, r in ((self.words, words), (self.vector, vector)) if e.n_linear]
        return torch.cat([p.to(self.vector.first.weight.dtype) for p in parts], dim=1)

    def embed(self, raw: Raw) -> Tokens:
        words, vector = self._parts(raw)
        return _joined(self.vector.embed(vector), self.words.embed(words))

    def mix(self, tokens: Tokens) -> Tokens:
        vector = Tokens(tokens.values[:, :1], tokens.mask[:, :1])
        words = Tokens(tokens.values[:, 1:], tokens.mask[:, 1:])
        return _joined(self.vector.mix(vector), self.words.mix(words))


class StaticBesideEncoder(WordsBesideEncoder):
    """The same with word pieces as `StaticEncoder` embeds them, whose vectors are known, in place of words."""

    words_class = StaticEncoder


def _joined(first: Tokens, second: Tokens) -> Tokens:
    return Tokens(torch.cat([first.values, second.values], dim=1), torch.cat([first.mask, second.mask], dim=1))
