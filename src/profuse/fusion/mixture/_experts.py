"""What the mixtures share: experts side by side, gates, and the penalty that spreads rows over experts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError

__all__ = ["Experts", "Gate", "GateKind", "balance", "check_mixture", "check_weights", "top_k_softmax"]

GateKind = Literal["softmax", "gaussian", "laplace"]


def check_mixture(who: str, n_experts: int, top_k: int, **at_least_0: float) -> None:
    """Checks a mixture's options.

    Raises:
        ConfigError: One is out of range.
    """
    if not 1 <= top_k <= n_experts:
        raise ConfigError(
            f"{who}: top_k must be at least 1 and at most n_experts; got top_k={top_k}, n_experts={n_experts}."
        )
    check_weights(who, **at_least_0)


def check_weights(who: str, **at_least_0: float) -> None:
    """Checks options that are weights or sizes of noise.

    Raises:
        ConfigError: One is below 0 or not finite.
    """
    for name, value in at_least_0.items():
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{who}: {name} must be at least 0; got {name}={value}.")


class Experts(nn.Module):
    """y_e = W_e gelu(A_e x + a_e) + b_e, for all experts e at once: they are slices of the same parameters.

    Shape:
        `[..., n_inputs]` -> `[..., expert, width]`.

    Args:
        n_experts: How many.
        n_inputs: Channels of x.
        width: Channels of a result, and hidden channels of an expert.
    """

    def __init__(self, n_experts: int, n_inputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Parameter(_uniform(n_experts, n_inputs, width))
        self.first_bias = nn.Parameter(torch.zeros(n_experts, width))
        self.second = nn.Parameter(_uniform(n_experts, width, width))
        self.second_bias = nn.Parameter(torch.zeros(n_experts, width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns what each expert makes of x."""
        return self.finish(torch.einsum("...i,eih->...eh", x, self.first) + self.first_bias)

    def finish(self, hidden: Tensor) -> Tensor:
        """Returns the results for hidden channels `[..., expert, width]` before the activation."""
        results: Tensor = torch.einsum("...eh,ehw->...ew", functional.gelu(hidden), self.second) + self.second_bias
        return results


def _uniform(n_experts: int, n_inputs: int, n_outputs: int) -> Tensor:
    """Returns initial weights as a linear layer has them."""
    bound = n_inputs**-0.5
    return torch.empty(n_experts, n_inputs, n_outputs).uniform_(-bound, bound)


class Gate(nn.Module):
    """Logits of experts: x^T w_e (softmax), -|x - w_e|^2 (gaussian), -|x - w_e| (laplace).

    Shape:
        `[batch, n_inputs]` -> `[batch, expert]`.

    Args:
        n_inputs: Channels of x.
        n_experts: Experts e.
        kind: Which of the three.
    """

    def __init__(self, n_inputs: int, n_experts: int, *, kind: GateKind) -> None:
        super().__init__()
        self.kind = kind
        # logits that differ by about 1 between experts: distances to far centres do, squared ones to near centres
        scale = 1.0 if kind == "laplace" else n_inputs**-0.5
        self.centres = nn.Parameter(scale * torch.randn(n_experts, n_inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        if self.kind == "softmax":
            return x @ self.centres.T
        away = x[:, None] - self.centres
        return -away.square().sum(-1) if self.kind == "gaussian" else -torch.linalg.vector_norm(away, dim=-1)


def top_k_softmax(logits: Tensor, k: int) -> Tensor:
    """Returns the softmax over the k largest logits of the last axis, and 0 at the others.

    With k = 1 that would be 1, whatever the logits, and no gate could learn: then the largest entry of the softmax over
    all, as in Fedus, Zoph, Shazeer, Switch Transformers, JMLR 2022, equation 2.
    """
    chosen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, logits.topk(k, dim=-1).indices, True)
    if k == 1:
        return logits.softmax(-1).masked_fill(~chosen, 0.0)
    return logits.masked_fill(~chosen, -torch.inf).softmax(-1)


def balance(gates: Tensor, rows: Tensor) -> Tensor:
    """Returns the squared coefficient of variation of the experts' shares of all gates; 0 of fewer than two rows.

    0 where all experts have the same share, E - 1 where one of E experts has all. The variance is that of a population,
    divided by E; the authors' code of the mixtures that use it divides by E - 1, a loss E / (E - 1) times larger.

    Args:
        gates: `[..., expert]`, at least 0.
        rows: Bool `[...]`: those that count.
    """
    sums = (gates * rows[..., None]).flatten(0, -2).sum(0)
    shares = sums / sums.sum().clamp(min=torch.finfo(sums.dtype).tiny)
    return (gates.shape[-1] * shares.square().sum() - 1) * (rows.sum() > 1)
