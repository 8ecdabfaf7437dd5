"""What the checks share: the thing that is checked, how inputs are perturbed, how results are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from profuse.errors import ProfuseError
from profuse.fusion import Fused, Fusion
from profuse.schema import Spec
from profuse.tokens import Tokens

__all__ = [
    "N_PADDING",
    "WIDTH",
    "ContractError",
    "Subject",
    "close",
    "each",
    "floats",
    "loss",
    "must_raise",
    "need",
    "noise",
    "pad",
    "random",
    "rows_of",
    "same",
    "spoil",
    "to_type",
]

Inputs = Mapping[str, Any]
"""`{modality: Tokens}` of an operator, `{"raw": Raw}` of an encoder."""
Result = Fused | Tokens
WIDTH = 8
N_PADDING = 5


class ContractError(ProfuseError, AssertionError):
    """An operator or an encoder breaks the contract."""


@dataclass(frozen=True)
class Subject:
    """What is checked: how to build it afresh, how to call it, and what to call it with."""

    build: Callable[[], nn.Module]
    inputs: dict[str, Any]
    declare: Callable[[int], object]
    """Builds it with so many modalities (operators) or of such a width (encoders)."""
    spec: Spec | None = None
    """Of an encoder's inputs."""
    of: Callable[[Spec], nn.Module] | None = None
    """Builds an encoder that can learn something, for inputs of other sizes."""

    def fresh(self, seed: int = 0) -> nn.Module:
        """Returns a newly built one in eval mode, its parameters moved away from their initial values."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = self.build().eval()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return module

    def run(self, module: nn.Module, inputs: Inputs | None = None) -> Result:
        inputs = self.inputs if inputs is None else inputs
        result: Result = module(inputs) if isinstance(module, Fusion) else module(inputs["raw"])
        return result


# -- how inputs are perturbed and results compared


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def each(inputs: Inputs, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> dict[str, Any]:
    return {name: type(part)(*change(part.values, part.mask)) for name, part in inputs.items()}


def rows_of(inputs: Inputs, index: list[int]) -> dict[str, Any]:
    return each(inputs, lambda values, mask: (values[index], mask[index]))


def to_type(inputs: Inputs, dtype: torch.dtype) -> dict[str, Any]:
    return each(inputs, lambda values, mask: (values.to(dtype) if values.is_floating_point() else values, mask))


def noise(values: Tensor, nan: bool = False) -> Tensor:
    """Returns what could stand in the place of `values`: noise, NaN, or other ones of the same whole numbers."""
    if values.is_floating_point():
        return torch.full_like(values, math.nan) if nan else 10 * random(*values.shape).to(values)
    return values.flatten()[torch.randperm(values.numel(), generator=torch.Generator().manual_seed(1))].view_as(values)


def spoil(values: Tensor, mask: Tensor, nan: bool) -> tuple[Tensor, Tensor]:
    real = mask.view(*mask.shape, *[1] * (values.ndim - mask.ndim))
    return torch.where(real, values, noise(values, nan)), mask


def pad(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    if mask.ndim == 1:  # whole or absent: there is no position to pad
        return values, mask
    return torch.cat([values, noise(values[:, :1].expand(-1, N_PADDING, *values.shape[2:]))], 1), torch.cat(
        [mask, mask.new_zeros(len(mask), N_PADDING)], 1
    )


def _parts(result: Result, row: int) -> dict[str, Tensor]:
    """Returns what the result says of one row; of tokens, only the real ones."""
    tokens = result if isinstance(result, Tokens) else result.tokens
    parts = {} if tokens is None else {"tokens": tokens.values[row][tokens.mask[row]]}
    if isinstance(result, Fused):
        parts |= {"vector": result.vector[row]} | {f"weights {k}": v[row] for k, v in result.weights.items()}
    return parts


def same(
    got: Result, want: Result, what: str, rows: Iterable[tuple[int, int]] | None = None, tol: float = 1e-4
) -> None:
    """Raises unless `got` equals `want` in all rows (and penalties), or in the given pairs of rows."""
    if rows is None:
        size = len(want.vector) if isinstance(want, Fused) else len(want)
        rows = [(i, i) for i in range(size)]
        if isinstance(got, Fused) and isinstance(want, Fused):
            for name, penalty in want.penalties.items():
                close(got.penalties[name], penalty, f"{what}: penalty {name}", tol)
    for i, j in rows:
        ours, theirs = _parts(got, i), _parts(want, j)
        for name, value in theirs.items():
            close(ours[name], value, f"{what}: {name} of row {j}", tol)


def close(got: Tensor, want: Tensor, what: str, tol: float) -> None:
    if got.shape != want.shape:
        raise ContractError(f"{what} must keep its shape; got {tuple(got.shape)}, not {tuple(want.shape)}.")
    if not torch.allclose(got.double(), want.double(), rtol=tol, atol=tol):
        off = float((got.double() - want.double()).abs().max())
        raise ContractError(f"{what} must not change; got a difference of {off:.3g}.")


def need(holds: bool, what: str) -> None:
    if not holds:
        raise ContractError(what)


def floats(result: Result) -> dict[str, Tensor]:
    if isinstance(result, Tokens):
        return {"tokens": result.values}
    named = {"vector": result.vector} | {f"weights {k}": v for k, v in result.weights.items()}
    named |= {f"penalty {k}": v for k, v in result.penalties.items()}
    return named | ({} if result.tokens is None else {"tokens": result.tokens.values})


def loss(result: Result) -> Tensor:
    """Returns a random linear functional of what carries a gradient."""
    carried = [v for k, v in floats(result).items() if v.requires_grad and not k.startswith("weights")]
    need(bool(carried), "the result must carry a gradient; got none.")
    return torch.stack([(v * random(*v.shape, seed=2).to(v)).sum() for v in carried]).sum()


def must_raise(error: type[Exception], call: Callable[[], object], what: str, who: str) -> None:
    try:
        call()
    except error as raised:
        need(
            str(raised).startswith(f"{who}: ") and "got" in str(raised),
            f"{what}: the message must begin with '{who}: ' and tell what it got; got {raised}",
        )
    except Exception as other:
        raise ContractError(f"{what} must raise {error.__name__}; got {type(other).__name__}: {other}") from other
    else:
        raise ContractError(f"{what} must raise {error.__name__}; got no error.")
