"""Missing experts: vectors for what is missing, by what is there, and experts for each such case (Flex-MoE)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.mixture._experts import Experts, Gate, balance, check_mixture, top_k_softmax
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["MissingExperts"]


class MissingExperts(Fusion):
    """h = sum over the top k experts e of g_e E_e(x), x_m = u_m where m is present, bank[S, m] where it is missing.

    u_m = W_m LayerNorm(mean_t x_mt) + b_m. S is the set of modalities that the row has: the bank holds a learned vector
    for each S and each m. A row with all modalities is routed by one gate (G), whose rows the penalty `balance` spreads
    over the experts; an incomplete row by another (S), which the penalty `combination` (a cross-entropy) teaches to
    prefer the expert of S. The sets are numbered by how much they lack, and S has the expert of its number, modulo
    `n_experts`: with 2^M - 1 experts or more each set has its own, with fewer the sets that lack most share one.

    A set S that no training row has keeps the vectors it began with, near 0. To meet one later, drop modalities while
    training. All experts are computed, whatever the gates say.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens; at most 8 modalities, as the bank has 2^M sets.
        width: Width of the joint vector.
        n_experts: Experts E, at least `top_k`.
        top_k: Experts that a row is sent to, at least 1. With 1, g is the largest entry of the softmax
            over all experts (Switch Transformers), so that the gates learn.
        balance_weight: Weight of the penalty `balance`, at least 0.
        combination_weight: Weight of the penalty `combination`, at least 0.
        dropout: Probability that a channel of u_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: More than 8 modalities, or an option is out of range.

    Reference:
        Yun, Choi, Peng, Wu, Bao, Zhang, Xin, Long, Chen, Flex-MoE: Modeling Arbitrary Modality Combination via the
        Flexible Mixture-of-Experts, NeurIPS 2024, section 3. *Differs from the paper*: one layer of experts on pooled
        vectors, without noise on the logits; both gates learn from the start, with no warm-up on rows sorted by how
        complete they are; sets may share an expert; the balancing loss has a population's variance (over E, not E - 1).

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> fused = MissingExperts({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, sorted(fused.penalties)
        (torch.Size([2, 8]), ['balance', 'combination'])
    """

    max_modalities: ClassVar[int | None] = 8
    formula: ClassVar[str] = "sum over top k of g_e E_e([x_1; ...; x_M]), x_m = u_m or bank[S, m]"
    cost: ClassVar[str] = "O(T d + M d width + n_experts M width^2); 2^M M width weights"
    missing: ClassVar[str] = "a vector learned for what is there stands in its place; own gate"
    reference: ClassVar[str] = "Yun et al. 2024 (NeurIPS): Flex-MoE"

    expert_of: Tensor

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_experts: int = 16,
        top_k: int = 4,
        balance_weight: float = 0.01,
        combination_weight: float = 0.01,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_mixture(
            "MissingExperts", n_experts, top_k, balance_weight=balance_weight, combination_weight=combination_weight
        )
        self.n_experts, self.top_k = n_experts, top_k
        self.balance_weight, self.combination_weight = balance_weight, combination_weight
        self.dropout = checked_dropout("MissingExperts", dropout)
        n = len(self.names)
        self.project = Projection(self.channels, self.width, dropout=dropout)
        self.bank = nn.Parameter(0.02 * torch.randn(2**n, n, self.width))
        self.complete_gate = Gate(n * self.width, n_experts, kind="softmax")
        self.incomplete_gate = Gate(n * self.width, n_experts, kind="softmax")
        self.experts = Experts(n_experts, n * self.width, self.width)
        self.register_buffer("expert_of", _numbers(n) % n_experts, persistent=False)

    def gates(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns g, `[batch, expert]`; without gradient."""
        with torch.no_grad():
            x, _, _ = self._completed({name: tokens[name].zeroed() for name in self.names})
            return top_k_softmax(self._logits(x, self.present(tokens).all(1)), self.top_k)

    def _completed(self, tokens: dict[str, Tokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns x `[batch, modality * width]`, what is present, and the code of S, bit m for modality m."""
        present = self.present(tokens)
        bits = 2 ** torch.arange(len(self.names), device=present.device)
        code = (present * bits).sum(1)
        x = torch.where(present[..., None], self.project(tokens), self.bank[code])
        return x.flatten(1), present, code

    def _logits(self, x: Tensor, complete: Tensor) -> Tensor:
        return torch.where(complete[:, None], self.complete_gate(x), self.incomplete_gate(x))

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        x, present, code = self._completed(tokens)
        complete = present.all(1)
        logits = self._logits(x, complete)
        gates = top_k_softmax(logits, self.top_k)
        h = (gates[..., None] * self.experts(x)).sum(1)
        if not torch.is_grad_enabled():
            return Fused(h)
        incomplete = present.any(1) & ~complete
        wrong = functional.cross_entropy(logits, self.expert_of[code], reduction="none")
        wrong = wrong.masked_fill(~incomplete, 0.0).sum() / incomplete.sum().clamp(min=1)
        return Fused(
            h,
            penalties={
                "balance": self.balance_weight * balance(gates, complete),
                "combination": self.combination_weight * wrong,
            },
        )


def _numbers(n_modalities: int) -> Tensor:
    """Returns, for the code of each set of modalities, its number: 0 for all, then those that lack one, two, ..."""
    everything = range(n_modalities)
    lacking = [gone for n in range(n_modalities + 1) for gone in combinations(everything, n)]
    numbers = torch.empty(2**n_modalities, dtype=torch.long)
    for number, gone in enumerate(lacking):
        numbers[sum(2**m for m in everything if m not in gone)] = number
    return numbers
