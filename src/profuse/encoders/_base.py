"""What every encoder is: embed, then mix; feedback enters between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from profuse._options import check_keywords
from profuse.encoders._description import Description
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["Encoder", "Rows", "Stage", "Suited", "chain", "segment_widths", "segments"]

Stage = Callable[[Tokens], Tokens]


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a modality and their targets: class numbers, or floats `[row, output]`."""

    raw: Raw
    target: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def draw(self, n: int) -> tuple[Raw, Tensor]:
        """Returns at most `n` of the rows, at random but the same each time, and their targets."""
        some = self.index[torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:n]]
        return self.raw.rows(some), self.target[some]


@dataclass(frozen=True)
class Suited:
    """Options that an encoder has chosen for a data set, and the choice in words, for a note."""

    words: str
    options: Mapping[str, Any]


def chain(stages: tuple[Stage, ...], tokens: Tokens) -> Tokens:
    """Returns the tokens after all stages, in order; the tokens themselves if there is none."""
    for stage in stages:
        tokens = stage(tokens)
    return tokens


class Encoder(nn.Module, ABC):
    """Raw input -> `Tokens[batch, token, width]`.

    A subclass writes `embed` and `mix` and sets nothing but its layers. `embed` runs once
    a batch, whatever the number of rounds: it makes tokens, and holds what the kind needs before tokens are worth
    mixing (an overlapping stem, a pretrained trunk). `mix` is what feedback can change, so the less `embed` loses the
    better. Both must leave masked content without effect.

    Args:
        spec: What the fitted preprocessor says of the modality.
        width: Channels of the tokens that `mix` returns.

    Attributes:
        embed_width: Channels of the tokens that `embed` returns (`width` unless a subclass sets another).
        stage_widths: Channels of the tokens after each of `mix_stages`; the last is `width`.
        n_places: Tokens that `embed` returns, where they are the same ones in every row (a table's columns); else 1.
        n_linear: Numbers of a row that a linear path to the model's outputs reads; 0: there is none.
        description: What makes these numbers of a `Raw`, unless the encoder writes `linear` itself; None: nothing.
    """

    kind: ClassVar[str]
    """The kind it takes."""
    members_enter: ClassVar[Literal["embed", "mix"]] = "mix"
    """After which step a model's members part: "embed" where mixing is cheap enough to be done for each of them."""

    linear_frequencies: ClassVar[tuple[float, ...]] = ()
    """Frequencies of Gaussian kernels of what `linear` returns, besides the usual, among which rows choose."""

    preprocess: ClassVar[str | None] = None
    """The preprocessor without which it cannot be; None if any will do that gives its kind."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Notes the arguments, for the repr; none are given where a copy or a pickle is restored."""
        self = super().__new__(cls)
        bound = signature(cls.__init__).bind_partial(None, *args, **options).arguments
        self.__dict__["made_with"] = {name: value for name, value in bound.items() if name != "self"}
        return self

    def __repr__(self) -> str:
        """Returns the call that makes this encoder."""
        message = ", ".join(f"{name}={value!r}" for name, value in self.__dict__["made_with"].items())
        return f"{type(self).__name__}({message})"

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
        self.stage_widths: tuple[int, ...] = (width,)
        self.n_places = 1
        self.n_linear = 0
        self.description: Description | None = None

    @classmethod
    @abstractmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Encoder:
        """Returns an encoder with good defaults for `n_rows` training rows."""

    @classmethod
    def suited(cls, spec: Spec, train: Rows, valid: Rows) -> Suited | None:
        """Returns the options that a data set calls for in place of those of `make`; None: there is nothing to choose.

        It is asked once for a data set and split, before anything is fitted to it, and should take a second at most.

        Args:
            spec: What the fitted preprocessor says of the modality.
            train: Rows that are learned from and have the modality.
            valid: Rows that decide, likewise.
        """
        return None

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """Returns a new one, made with `options` (keyword arguments) in place of its own.

        Raises:
            ConfigError: It has no such option, or the value is of another type.
        """
        try:
            check_keywords(type(self).__init__, options, who=type(self).__name__)
        except ValueError as error:
            raise ConfigError(f"{type(self).__name__}: {error}.") from None
        return type(self)(**{**self.__dict__["made_with"], **options})

    @abstractmethod
    def embed(self, raw: Raw) -> Tokens:
        """Returns `Tokens[batch, token, embed_width]`; may change the raw values at random while training."""

    @abstractmethod
    def mix(self, tokens: Tokens) -> Tokens:
        """Returns `Tokens[batch, any token, width]`; a row without any real token comes back all masked."""

    def mix_stages(self) -> tuple[Stage, ...]:
        """Returns `mix` cut into steps, tokens to tokens, whose chain is `mix`: where hierarchical fusion may step in.

        One step unless a subclass has several; it then sets `stage_widths` too. Between two steps masked values are
        set to 0, and values of real tokens may be changed; masks never are.
        """
        return (self.mix,)

    def linear(self, raw: Raw) -> Tensor:
        """Returns `[batch, n_linear]`, finite: what a linear path beside the model reads of a row; nothing is trained.

        Where the encoder has it, a model adds a ridge regression of it to its outputs (`LinearPath`), and what it
        learns is what that leaves. On few rows of many columns most of what can be learned is linear. It depends on the
        row, and on the encoder's options and buffers.
        """
        if self.description is None:
            return raw.values.new_zeros(len(raw), 0)
        numbers: Tensor = self.description(raw)
        return numbers

    def settle_linear(self, raw: Raw, rows: Tensor) -> None:
        """Takes from training rows what `linear` measures by, into the encoder's buffers; called before it is read.

        Args:
            raw: All rows; the target is not seen.
            rows: Those that are learned from.
        """
        if self.description is not None:
            self.description.settle(raw, rows)

    def linear_spreads(self) -> Tensor | None:
        """Returns by how much the numbers of `linear` vary in the data's own unit, `[n_linear]`, 0 to leave one out.

        A linear path may then let numbers count as much as they vary, where training rows say so. None where they have
        no unit in common, or `linear` keeps the data's own.
        """
        if self.description is None or not self.description.weighed:
            return None
        return torch.ones(self.n_linear)

    def forward(self, raw: Raw) -> Tokens:
        """Returns `mix(embed(raw))`, 0 at masked tokens; a model calls the two itself, with feedback between them."""
        return self.mix(self.embed(raw).zeroed()).zeroed()


def _ends(encoder: Encoder, n_segments: int) -> list[int]:
    """Where each segment ends: the number of stages up to there, in proportion and rounded down."""
    return [(i + 1) * len(encoder.stage_widths) // n_segments for i in range(n_segments)]


def segments(encoder: Encoder, n_segments: int) -> tuple[Stage, ...]:
    """Returns `mix` in `n_segments` parts: of k stages, part i (from 0) ends after the first floor((i + 1) k / n).

    Every encoder so has gone as nearly as it can the same part of its way at each end. With fewer stages than parts
    some parts, the first of all, are empty and return the tokens as they are.
    """
    stages, ends = encoder.mix_stages(), [0, *_ends(encoder, n_segments)]
    return tuple(partial(chain, stages[start:end]) for start, end in pairwise(ends))


def segment_widths(encoder: Encoder, n_segments: int) -> tuple[int, ...]:
    """Returns the channels of the tokens after each of `segments`."""
    widths = (encoder.embed_width, *encoder.stage_widths)
    return tuple(widths[end] for end in _ends(encoder, n_segments))
