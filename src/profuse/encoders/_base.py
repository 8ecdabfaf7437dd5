"""What every encoder is: embed, then mix; feedback enters between them, here and nowhere else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from inspect import signature
from typing import Any, ClassVar, Self

from torch import nn

from profuse.errors import ShapeError
from profuse.schema import Kind, Spec
from profuse.tokens import Raw, Tokens

__all__ = ["Encoder"]


class Encoder(nn.Module, ABC):
    """Raw input -> `Tokens[batch, token, width]`.

    A subclass writes `embed` and `mix` and sets nothing but its layers. `embed` treats each token alone (a
    column, a patch, a frame, a word) so that feedback comes before anything is mixed or lost; an encoder whose
    trunk is costly may say that part of it belongs to `embed`. Both must leave masked content without effect.

    Args:
        spec: What the fitted preprocessor says of the modality.
        width: Channels of the tokens that `mix` returns.

    Attributes:
        embed_width: Channels of the tokens that `embed` returns (`width` unless a subclass sets another).
    """

    kind: ClassVar[Kind]
    """The kind it takes."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Notes the arguments, for the repr; none are given where a copy or a pickle is restored."""
        self = super().__new__(cls)
        bound = signature(cls.__init__).bind_partial(None, *args, **options).arguments
        self.__dict__["made_with"] = {name: value for name, value in bound.items() if name != "self"}
        return self

    def __repr__(self) -> str:
        """Returns the call that makes this encoder."""
        told = ", ".join(f"{name}={value!r}" for name, value in self.__dict__["made_with"].items())
        return f"{type(self).__name__}({told})"

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        if spec.kind != self.kind:
            raise ShapeError(
                f"{type(self).__name__}: the modality's kind must be {self.kind!r}; got kind={spec.kind!r}."
            )
        if width < 1:
            raise ShapeError(f"{type(self).__name__}: width must be at least 1; got width={width}.")
        self.spec = spec
        self.width = width
        self.embed_width = width

    @classmethod
    @abstractmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Encoder:
        """Returns an encoder with good defaults for `n_rows` training rows."""

    @abstractmethod
    def embed(self, raw: Raw) -> Tokens:
        """Returns `Tokens[batch, token, embed_width]`; each token depends on its own raw part only."""

    @abstractmethod
    def mix(self, tokens: Tokens) -> Tokens:
        """Returns `Tokens[batch, any token, width]`; a row without any real token comes back all masked."""

    def forward(self, raw: Raw, feedback: Callable[[Tokens], Tokens] | None = None) -> Tokens:
        """Returns `mix(feedback(embed(raw)))`, 0 at masked tokens; `feedback=None` leaves the tokens alone."""
        tokens = self.embed(raw).zeroed()
        if feedback is not None:
            tokens = feedback(tokens).zeroed()
        return self.mix(tokens).zeroed()
