"""An encoder of vectors."""

from __future__ import annotations

from torch import nn

from profuse.encoders import Encoder
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["OneMap"]


class OneMap(Encoder):
    """embed: A x + b, one token; mix: tanh of another linear map.

    Args:
        spec: What the preprocessor says: the channels.
        width: Channels of the token.
    """

    kind = "vector"

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__(spec, width)
        self.first, self.second = nn.Linear(spec.n_channels, width), nn.Linear(width, width)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> OneMap:
        """Returns one; it has no sizes to choose."""
        return cls(spec, width)

    def embed(self, raw: Raw) -> Tokens:
        return Tokens.vector(self.first(raw.values.masked_fill(~raw.mask[:, None], 0.0)), raw.mask)

    def mix(self, tokens: Tokens) -> Tokens:
        return Tokens(self.second(tokens.values).tanh(), tokens.mask)
