"""What must hold for what a linear path reads of an encoder. Each check's docstring says it."""

from __future__ import annotations

import copy
import io
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from profuse.encoders import Encoder
from profuse.testing._subject import Subject, close, each, need, pad, rows_of, spoil, to_type
from profuse.tokens import Raw

__all__ = [
    "linear_deterministic",
    "linear_exports",
    "linear_masked_ignored",
    "linear_rows_alone",
    "linear_shape",
    "linear_survives_saving",
]


def _encoder(s: Subject, seed: int = 0) -> Encoder:
    module = s.fresh(seed)
    assert isinstance(module, Encoder)
    return module


def _read(module: Encoder, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return module.linear(inputs["raw"])


def linear_shape(s: Subject) -> None:
    """`linear` gives `[batch, n_linear]`, finite, of the inputs' type, and nearly the same in float64."""
    module = _encoder(s)
    numbers = _read(module, s.inputs)
    n_rows = len(s.inputs["raw"])
    need(
        tuple(numbers.shape) == (n_rows, module.n_linear),
        f"linear must give [{n_rows}, n_linear={module.n_linear}]; got {tuple(numbers.shape)}.",
    )
    need(bool(numbers.isfinite().all()), "linear must be finite, in rows that are missing too; got NaN or infinity.")
    double = _read(_encoder(s).double(), to_type(s.inputs, torch.float64))
    if s.inputs["raw"].values.is_floating_point():
        need(
            numbers.dtype == torch.float32 and double.dtype == torch.float64,
            f"linear must be of the inputs' type; got {numbers.dtype} and {double.dtype}.",
        )
    close(double, numbers, "linear in float64", 1e-3)


def linear_rows_alone(s: Subject) -> None:
    """Of a row `linear` gives the same alone, with other rows beside it, and in eval and training mode."""
    module = _encoder(s)
    whole = _read(module, s.inputs)
    n_rows = len(whole)
    for i in range(n_rows):
        close(_read(module, rows_of(s.inputs, [i]))[0], whole[i], f"linear of row {i} alone", 1e-4)
    order = list(range(n_rows // 2, n_rows)) * 2
    close(_read(module, rows_of(s.inputs, order)), whole[order], "linear with other rows beside it", 1e-4)


def linear_masked_ignored(s: Subject) -> None:
    """Neither padding nor what stands where the mask is False, NaN too, changes what `linear` gives."""
    module = _encoder(s)
    plain = _read(module, s.inputs)
    for nan in (False, True):
        what = "NaN" if nan else "random values"
        spoilt = _read(module, each(s.inputs, partial(spoil, nan=nan)))
        close(spoilt, plain, f"linear with {what} where the mask is False", 1e-4)
    if not module.spec.cardinalities:  # a table's columns are fixed
        close(_read(module, each(s.inputs, pad)), plain, "linear of padded rows", 1e-4)


def linear_deterministic(s: Subject) -> None:
    """`linear` gives the same in training mode, of the values as they are; it draws nothing and leaves the state."""
    module = _encoder(s)
    plain = _read(module, s.inputs)
    module.train()
    state, numbers = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    close(_read(module, s.inputs), plain, "linear in training mode", 0.0)
    need(torch.equal(numbers, torch.get_rng_state()), "linear must draw no random number; got a changed generator.")
    for name, value in module.state_dict().items():
        need(torch.equal(value, state[name]), f"linear must leave {name} as it was; got other values.")


def linear_survives_saving(s: Subject) -> None:
    """All that `linear` needs is in the state, and none of it is trained."""
    first, second = _encoder(s, 0), _encoder(s, 1)
    plain = _read(first, s.inputs)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    close(_read(second, s.inputs), plain, "linear of one loaded", 0.0)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(2.0).add_(1.0)
    close(_read(second, s.inputs), plain, "linear after training", 0.0)


def linear_exports(s: Subject) -> None:
    """`torch.export` takes `linear`, with any number of rows, and what it exports gives the same."""
    module = _encoder(s)
    if not module.n_linear:
        return  # a model without it does not call it

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, values: Tensor, mask: Tensor) -> Tensor:
            return self.inner.linear(Raw(values, mask))

    raw = s.inputs["raw"]
    batch = torch.export.Dim("batch", min=2, max=4096)
    shapes = {"values": {0: batch}, "mask": {0: batch}}
    program = torch.export.export(Reads().eval(), (raw.values, raw.mask), dynamic_shapes=shapes)
    fewer = (raw.values[:5], raw.mask[:5])
    close(program.module()(*fewer), Reads()(*fewer), "linear exported", 1e-4)
