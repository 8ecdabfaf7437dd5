"""Texts, pictures, videos, sounds by a Hugging Face model that is tuned to the target -> tokens."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from profuse.encoders._base import Encoder, Stage
from profuse.encoders._trunks import READERS, Which, trunk_of, tuned_weights
from profuse.encoders.embedded_tokens import EmbeddedTokensEncoder
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["LastLayersEncoder", "LoraEncoder", "WholeEncoder"]


class LoraEncoder(Encoder):
    """embed: `h = trunk(x; W + s B A)`, then `A h` and `B mean(h)`; mix: as `EmbeddedTokensEncoder`.

    The trunk is the pretrained model in the folder that the spec names. Its weights W stay as they are; learned are
    their changes, of rank `rank` for the matrices of its layers, which begin at 0. They are scaled by `s`, so that the
    learning rate and weight decay of a small network suit them: decay draws them back to the pretrained ones. Only
    changes are saved. The linear path reads the mean of the tokens by the trunk as it was.

    Args:
        spec: Of a fitted `TrunkPreprocessor`.
        width: Channels of the tokens.
        rank: Of a change; not for those of whole matrices.
        n_layers: How many of the last layers are tuned. None: all; of `LastLayersEncoder` two, or the only one.
        scale: s.
        dropout: Probability of dropping a channel of the adapter.
        linear_path: Whether a ridge regression of the mean token is added to the model's outputs (`Encoder.linear`).

    Shape:
        Texts: `Raw.values[batch, token, 1]` (0 = none), `Raw.mask[batch, token]`. Pictures: bytes, or floats as the
        model reads them, `[batch, 3, height, width]`, mask `[batch]`. Videos: such frames `[batch, frame, 3, height,
        width]`, mask `[batch]`, or, for a model of pictures, `[batch, frame]`. Sounds: samples or frames `[batch, step,
        channel]`, mask `[batch, step]`. To `[batch, <= 1 + max_tokens, width]`.

    Raises:
        ConfigError: An option is out of range, or the model has fewer layers than `n_layers`.

    Reference:
        Hu et al. 2022, LoRA: Low-rank adaptation of large language models. *Differs from the paper*: all matrices of
        the layers, not those of attention alone.
    """

    kind: ClassVar[str] = "text"
    which: ClassVar[Which] = "lora"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        rank: int = 8,
        n_layers: int | None = None,
        scale: float = 0.02,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        self.kind = spec.kind if spec.kind in READERS else self.kind  # type: ignore[misc]  # it takes several
        super().__init__(spec, width)
        who = type(self).__name__
        if not spec.source:
            raise ShapeError(f"{who}: the spec must name the folder of a model; got source=''. Name hf-lora:FOLDER.")
        if rank < 1 or (n_layers is not None and n_layers < 1) or scale <= 0:
            raise ConfigError(
                f"{who}: rank and n_layers must be at least 1, and scale above 0; got rank={rank}, "
                f"n_layers={n_layers}, scale={scale}. Leave out what you do not mean to change: rank=8, scale=0.02."
            )
        self.scale = scale
        self.reader = READERS[spec.kind]
        trunk = trunk_of(spec.source, self.reader.tower, "cpu")
        shapes = tuned_weights(trunk, self.which, n_layers)
        self.first = nn.ParameterDict()
        self.second = nn.ParameterDict()
        for name, shape in shapes.items():
            key = name.replace(".", "/")  # a dot would part the name of a module
            if self.which == "lora":
                self.first[key] = nn.Parameter(torch.randn(rank, shape[1]) / shape[1] ** 0.5)
                self.second[key] = nn.Parameter(torch.zeros(shape[0], rank))
            else:
                self.first[key] = nn.Parameter(torch.zeros(shape))
        channels, n_tokens = self.reader.sizes(trunk, spec)
        described = Spec(kind="series", n_channels=channels, max_length=n_tokens)
        self.adapter = EmbeddedTokensEncoder(described, width, dropout=dropout, linear_path=linear_path)
        self.n_linear = self.adapter.n_linear
        self.stage_widths = self.adapter.stage_widths

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns the defaults, whatever the number of rows."""
        return cls(spec, width, dropout=dropout)

    def _changes(self) -> dict[str, Tensor]:
        if self.which != "lora":
            return {key.replace("/", "."): self.scale * of for key, of in self.first.items()}
        return {key.replace("/", "."): self.scale * (self.second[key] @ of) for key, of in self.first.items()}

    def _read(self, raw: Raw, changes: dict[str, Tensor]) -> Raw:
        """Returns the last layer of the trunk, `[batch, token, channel]`."""
        if not self.reader.fits(raw, self.spec):
            raise ShapeError(
                f"{type(self).__name__}: values must be {self.reader.layout}; got "
                f"values={raw.values.dtype}{tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
            )
        like = self.adapter.whole.weight
        if raw.mask.shape[0] == 0:
            none = like.new_zeros(0, 1, self.adapter.spec.n_channels)
            return Raw(none, torch.zeros(0, 1, dtype=torch.bool, device=none.device))
        trunk = trunk_of(self.spec.source, self.reader.tower, str(like.device))
        held = {**dict(trunk.named_parameters()), **dict(trunk.named_buffers())}
        weights = {name: of.to(like.dtype) if of.is_floating_point() else of for name, of in held.items()}
        weights |= {name: weights[name] + change for name, change in changes.items()}

        def run(**inputs: Tensor) -> Tensor:
            made: Tensor = functional_call(trunk, weights, kwargs=inputs).last_hidden_state
            return made

        return self.reader.read(run, raw, self.spec, like)

    def linear(self, raw: Raw) -> Tensor:
        """Returns the mean token by the trunk as it was before it was tuned."""
        if not self.n_linear:
            return super().linear(raw)
        with torch.no_grad():
            if torch.compiler.is_compiling():
                return self.adapter.linear(self._read(raw, {}))
            parts = [self.adapter.linear(self._read(part.trim(), {})) for part in _cut(raw)]
        return torch.cat(parts)

    def embed(self, raw: Raw) -> Tokens:
        return self.adapter.embed(self._read(raw, self._changes()))

    def mix_stages(self) -> tuple[Stage, ...]:
        return self.adapter.mix_stages()

    def mix(self, tokens: Tokens) -> Tokens:
        return self.adapter.mix(tokens)


class LastLayersEncoder(LoraEncoder):
    """The same with changes of any rank, of the last `n_layers` layers alone."""

    which = "last"


class WholeEncoder(LoraEncoder):
    """The same with changes of any rank, of all weights of all layers."""

    which = "whole"


def _cut(raw: Raw, n: int = 64) -> list[Raw]:
    return [raw.rows(rows) for rows in torch.split(torch.arange(len(raw), device=raw.mask.device), n)]
