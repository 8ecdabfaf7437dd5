"""Sparse experts: a gate picks a few experts for each row (FuseMoE)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.fusion.mixture._experts import Experts, Gate, GateKind, balance, check_mixture, top_k_softmax
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["SparseExperts"]

Router = Literal["joint", "modality", "disjoint"]


class SparseExperts(Fusion):
    """h = sum over the top k experts e of g_e E_e(x), g = softmax over these k of their logits, x = [u_1; ...; u_M].

    u_m = W_m LayerNorm(mean_t x_mt) + b_m and 0 where m is missing; E_e is a network of two layers. The logit of an
    expert is the product of x and w_e (softmax), or minus the squared (gaussian) or plain (laplace) distance between
    them: the last saturates least, so that fewer experts win all. The penalty `balance` spreads rows over experts.

    Routers: "joint" has one gate, as above. With "modality" each modality has a gate of its own and x = u_m; the
    experts are shared, and h is the mean over the present modalities. "disjoint" is the same with E experts for each
    modality, which see no other. With these two no expert sees two modalities together.

    All experts are computed, whatever the gate says (a fixed shape, which can be exported); at these sizes this is
    faster than to sort rows by expert.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        n_experts: Experts E, at least `top_k`; with the router disjoint, for each modality.
        top_k: Experts that a row is sent to, at least 1. With 1, g is the largest entry of the softmax
            over all experts (Switch Transformers), so that the gate learns.
        gate: softmax, gaussian or laplace.
        router: joint, modality or disjoint.
        noise: Standard deviation of normal noise on the logits, in training only, at least 0.
        balance_weight: Weight of the penalty, at least 0.
        dropout: Probability that a channel of u_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range or unknown.

    Reference:
        Han, Nguyen, Harris, Ho, Saria, FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion, NeurIPS 2024,
        section 3, with its routers joint, per-modality and disjoint; Shazeer et al., Outrageously Large Neural
        Networks, ICLR 2017, equations 3 to 7. *Differs from the papers*: one layer of experts on pooled vectors; the
        noise has a fixed size, as in Riquelme et al., Scaling Vision with Sparse Mixture of Experts, NeurIPS 2021; of
        the two balancing losses the importance loss alone, its variance that of a population (over E, not E - 1).

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fusion = SparseExperts({"text": 4, "vector": 3}, 8, n_experts=6, top_k=2)
        >>> fusion(tokens).vector.shape, (fusion.gates(tokens) > 0).sum(1)
        (torch.Size([2, 8]), tensor([2, 2]))
    """

    formula: ClassVar[str] = "sum over top k of g_e E_e([u_1; ...; u_M]), g = softmax(-(distance to w_e))"
    cost: ClassVar[str] = "O(T d + M d width + n_experts M width^2)"
    missing: ClassVar[str] = "its u_m is 0; with a gate a modality it is left out of the mean"
    reference: ClassVar[str] = "Han et al. 2024 (NeurIPS): FuseMoE"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_experts: int = 8,
        top_k: int = 2,
        gate: GateKind = "laplace",
        router: Router = "joint",
        noise: float = 0.1,
        balance_weight: float = 0.01,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_mixture("SparseExperts", n_experts, top_k, noise=noise, balance_weight=balance_weight)
        if gate not in ("softmax", "gaussian", "laplace"):
            raise ConfigError(f"SparseExperts: gate must be softmax, gaussian or laplace; got gate={gate!r}.")
        if router not in ("joint", "modality", "disjoint"):
            raise ConfigError(f"SparseExperts: router must be joint, modality or disjoint; got router={router!r}.")
        self.n_experts, self.top_k, self.noise, self.balance_weight = n_experts, top_k, noise, balance_weight
        self.gate: GateKind = gate
        self.router: Router = router
        self.dropout = checked_dropout("SparseExperts", dropout)
        n_gates, n_inputs = (1, len(self.names) * self.width) if router == "joint" else (len(self.names), self.width)
        self.project = Projection(self.channels, self.width, dropout=dropout)
        self.routers = nn.ModuleList(Gate(n_inputs, n_experts, kind=gate) for _ in range(n_gates))
        n_pools = n_gates if router == "disjoint" else 1
        self.experts = nn.ModuleList(Experts(n_experts, n_inputs, self.width) for _ in range(n_pools))

    def gates(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns g: `[batch, expert]`, with a gate a modality `[batch, modality, expert]`; without gradient."""
        with torch.no_grad():
            gates = self._route(self._inputs({name: tokens[name].zeroed() for name in self.names}))
        return gates[:, 0] if self.router == "joint" else gates

    def _inputs(self, tokens: dict[str, Tokens]) -> Tensor:
        """Returns x, `[batch, gate, channel]`."""
        u: Tensor = self.project(tokens).masked_fill(~self.present(tokens)[..., None], 0.0)
        return u.flatten(1)[:, None] if self.router == "joint" else u

    def _route(self, x: Tensor) -> Tensor:
        logits = torch.stack([gate(x[:, i]) for i, gate in enumerate(self.routers)], dim=1)
        if self.training:
            logits = logits + self.noise * torch.randn_like(logits)
        return top_k_softmax(logits, self.top_k)

    def _answers(self, x: Tensor) -> Tensor:
        """Returns what all experts say, `[batch, gate, expert, channel]`."""
        of_pools = x.chunk(len(self.experts), dim=1)
        return torch.cat([experts(part) for experts, part in zip(self.experts, of_pools, strict=True)], dim=1)

    def _balance(self, gates: Tensor, there: Tensor) -> Tensor:
        """Returns the mean of the penalties of the pools that have two rows."""
        of_pools = list(zip(*(each.chunk(len(self.experts), dim=1) for each in (gates, there)), strict=True))
        n_pools = torch.stack([rows.sum() > 1 for _, rows in of_pools]).sum().clamp(min=1)
        return torch.stack([balance(*pool) for pool in of_pools]).sum() / n_pools

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        x, there = self._inputs(tokens), self.present(tokens)
        there = there.any(1, keepdim=True) if self.router == "joint" else there
        gates = self._route(x)
        mixed = (gates[..., None] * self._answers(x)).sum(2)
        if self.router == "joint":
            h = mixed[:, 0]
        else:
            h = (mixed * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        penalties = {"balance": self.balance_weight * self._balance(gates, there)} if torch.is_grad_enabled() else {}
        return Fused(h, penalties=penalties)
