"""An encoder of the user's own: any `nn.Module` from a modality's values to a vector or to tokens."""

from __future__ import annotations

import inspect
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from profuse.encoders._base import Encoder
from profuse.errors import ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["OwnEncoder", "reader_of", "strings"]


def strings(raw: Raw) -> list[str]:
    """Returns the text of each row, as it was; "" where there is none.

    Args:
        raw: What the preprocessor "bytes" makes: 1 + each byte, `[row, byte, 1]`.
    """
    bytes_of = (raw.values[..., 0] - 1).clamp(min=0).to("cpu", torch.uint8).numpy()
    return [
        row[:n].tobytes().decode("utf-8", "surrogatepass")
        for row, n in zip(bytes_of, raw.mask.sum(1).tolist(), strict=True)
    ]


def reader_of(module: nn.Module) -> str | None:
    """Returns the name of the preprocessor without which a module of the user's cannot be; None if any will do."""
    if isinstance(module, Encoder):
        return module.preprocess
    return "bytes" if _takes(module, "texts") else None


def _takes(module: nn.Module, name: str) -> bool:
    return name in inspect.signature(module.forward).parameters


class OwnEncoder(Encoder):
    """`embed = module(values)`, then `mix = W_2 GELU(W_1 LayerNorm(tokens))`, each token alone.

    The module gets the values of its modality (see `profuse.schema` for what each kind holds), 0 where nothing is
    real, and the mask too if its `forward` has a parameter called `mask`. It may return a vector a row, tokens
    (masked as the input is where it has as many positions, else real in every row that has the modality), or
    `Tokens` of its own making. Without the mask it sees all rows padded to the modality's `max_length`, the longest in
    training (longer rows: to its next multiple), so that a row does not depend on the others in its batch; with it,
    to the longest of the batch. Feedback comes after it, so rounds cost little.

    A module of texts whose `forward` has a parameter called `texts` gets the strings themselves in place of the values,
    "" where there is none; see `strings`.

    Shape:
        `module([batch, ...])` -> `[batch, channel]`, `[batch, token, channel]` or `Tokens`
        -> `[batch, token, width]`.

    Args:
        spec: What the fitted preprocessor says of the modality.
        width: Channels of the tokens that `mix` returns.
        module: The user's.
        channels: Channels that `module` returns.
    """

    def __init__(self, spec: Spec, width: int, module: nn.Module, *, channels: int) -> None:
        self.kind = spec.kind  # type: ignore[misc]  # it takes whatever its module takes
        super().__init__(spec, width)
        self.embed_width = channels
        self.module = module
        self.layers = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, width), nn.GELU(), nn.Linear(width, width)
        )

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Encoder:
        """Raises: there is nothing to make one of without a module; use `around`."""
        raise ShapeError("OwnEncoder: a module must be given. Use OwnEncoder.around(module, ...).")

    @classmethod
    def around(cls, module: nn.Module, spec: Spec, width: int, *, example: Raw, name: str) -> OwnEncoder:
        """Returns an encoder around a copy of `module`, whose channels are found by running it on `example`.

        Args:
            module: The user's.
            spec: What the fitted preprocessor says of the modality.
            width: Channels of the tokens that `mix` returns.
            example: A few rows.
            name: The modality, for messages.

        Raises:
            ShapeError: The module fails on the example, or returns what are no tokens.
        """
        try:
            was_training, module = module.training, deepcopy(module)
        except RuntimeError as error:
            raise ShapeError(
                f"encoder of {name!r}: the module must be one that copy.deepcopy copies; {type(module).__name__} "
                f"raised {error}. Such is torch.nn.utils.parametrizations.weight_norm in place of "
                "torch.nn.utils.weight_norm."
            ) from error
        try:
            with torch.no_grad():
                tokens = _run(module.eval(), example, spec.max_length)
        except ShapeError as error:
            raise ShapeError(f"encoder of {name!r}: {error}") from error
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ShapeError(
                f"encoder of {name!r}: the module must take {_shown(module, example)}; {type(module).__name__} raised "
                f"{error}."
            ) from error
        module.train(was_training)
        return cls(spec, width, module, channels=tokens.n_channels)

    def embed(self, raw: Raw) -> Tokens:
        return _run(self.module, raw, self.spec.max_length)

    def mix(self, tokens: Tokens) -> Tokens:
        return Tokens(self.layers(tokens.values), tokens.mask)


def _run(module: nn.Module, raw: Raw, max_length: int) -> Tokens:
    if _takes(module, "texts"):
        return _tokens(module(strings(raw)), Raw(raw.values, raw.present))
    if _takes(module, "mask"):
        return _once(module, raw, takes_mask=True)
    if raw.mask.ndim != 2 or raw.values.ndim < 3:
        return _once(module, raw)
    if raw.mask.shape[1] <= max_length:
        return _once(module, _padded(raw, max_length))
    # rows longer than all of training: each is padded to the next multiple, whatever stands beside it
    steps = torch.arange(1, raw.mask.shape[1] + 1, device=raw.mask.device)
    multiples = (-(-(steps * raw.mask).amax(1) // max_length)).clamp(min=1)
    parts = []
    for multiple in sorted(set(multiples.tolist())):
        rows, length = torch.nonzero(multiples == multiple).flatten(), multiple * max_length
        cut = Raw(raw.values[rows, :length], raw.mask[rows, :length])
        try:
            parts.append((rows, _once(module, _padded(cut, length))))
        except (RuntimeError, ValueError, IndexError) as error:
            raise ShapeError(
                f"a module without a mask must take rows longer than those of training, {max_length} positions; "
                f"{type(module).__name__} raised {error} for {length}. Shorten them, or let it take any length."
            ) from error
    n_tokens = max(tokens.mask.shape[1] for _, tokens in parts)
    order = torch.cat([rows for rows, _ in parts]).argsort()
    whole = [_padded(Raw(tokens.values, tokens.mask), n_tokens) for _, tokens in parts]
    return Tokens(torch.cat([w.values for w in whole])[order], torch.cat([w.mask for w in whole])[order])


def _shown(module: nn.Module, example: Raw) -> str:
    if _takes(module, "texts"):
        return f"a list of {len(example)} strings"
    return f"values of shape {tuple(example.values.shape)}, {example.values.dtype}"


def _padded(raw: Raw, length: int) -> Raw:
    lacking = length - raw.mask.shape[1]
    after = (0, 0) * (raw.values.ndim - 2) + (0, lacking)
    return Raw(F.pad(raw.values, after), F.pad(raw.mask, (0, lacking))) if lacking else raw


def _once(module: nn.Module, raw: Raw, *, takes_mask: bool = False) -> Tokens:
    mask = raw.mask.view(*raw.mask.shape, *(1,) * (raw.values.ndim - raw.mask.ndim))
    values = raw.values.masked_fill(~mask, 0)
    return _tokens(module(values, mask=raw.mask) if takes_mask else module(values), raw)


def _tokens(out: object, raw: Raw) -> Tokens:
    """Returns tokens of what a module has made of `raw`."""
    if isinstance(out, Tokens):
        return out
    if not isinstance(out, Tensor) or out.ndim not in (2, 3) or len(out) != len(raw):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ShapeError(
            "the module must return [batch, channel], [batch, token, channel] or Tokens; "
            f"got {shape} for {len(raw)} rows. Flatten or average the other axes."
        )
    if out.ndim == 2:
        return Tokens.vector(out, raw.present)
    if raw.mask.ndim == 2 and raw.mask.shape[1] == out.shape[1]:
        return Tokens(out, raw.mask)
    return Tokens(out, raw.present[:, None].expand(out.shape[:2]))
