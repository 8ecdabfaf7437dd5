"""Interaction experts: what one modality alone says, what only several together say, what all repeat (I2MoE)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.mixture._experts import Experts, check_weights
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["InteractionExperts"]


class InteractionExperts(Fusion):
    """h = sum_e g_e y_e, y_e = E_e([u_1; ...; u_M]), g = softmax(R([u_1; ...; u_M])), e = 1..M, synergy, redundancy.

    u_m = W_m LayerNorm(mean_t x_mt) + b_m and 0 where m is missing. Let y_e(-m) be what expert e says without m. The
    penalties teach each expert what to heed, in rows that have two modalities or more:

    - `uniqueness`: the expert of m stays near what it says when any other j is taken away, and goes far from it
      when m is: mean of max(0, |y_m - y_m(-j)| - |y_m - y_m(-m)| + margin).
    - `synergy`: its expert says something else as soon as one modality is taken away: mean of 1 + cos(y, y(-m)).
    - `redundancy`: its expert says the same whichever one is taken away: mean of 1 - cos(y, y(-m)).

    The weights `uniqueness` are the gates of the experts 1..M; `shares` gives all M + 2, which sum to 1. The expert
    of a missing modality has gate 0.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        margin: By how much farther an expert goes from what it says without its own modality, at least 0.
        interaction_weight: Weight of each of the three penalties, at least 0.
        dropout: Probability that a channel of u_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Xin, Yun, Peng, Choi, Ballard, Chen, Long, I2MoE: Interpretable Multimodal Interaction-aware Mixture-of-Experts,
        ICML 2025, section 3. *Differs from the paper*: experts are networks of two layers on pooled vectors; a modality
        is taken away by making it missing, not replaced with normal noise, so that evaluation is deterministic; the
        same penalties whatever is predicted (the authors' code for regression rewards synergy experts for agreement).

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fusion = InteractionExperts({"text": 4, "vector": 3}, 8)
        >>> fusion(tokens).weights["uniqueness"].shape, fusion.shares(tokens).shape
        (torch.Size([2, 2]), torch.Size([2, 4]))
    """

    formula: ClassVar[str] = "sum of g_e E_e([u_1; ...; u_M]), e = 1..M, synergy, redundancy"
    cost: ClassVar[str] = "O(T d + M d width + M^2 width^2), as much again in training"
    missing: ClassVar[str] = "its u_m is 0, its expert's gate is 0; no penalty for it"
    reference: ClassVar[str] = "Xin et al. 2025 (ICML): I2MoE"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        margin: float = 1.0,
        interaction_weight: float = 0.01,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_weights("InteractionExperts", margin=margin, interaction_weight=interaction_weight)
        self.margin, self.interaction_weight = margin, interaction_weight
        self.dropout = checked_dropout("InteractionExperts", dropout)
        n = len(self.names)
        self.project = Projection(self.channels, self.width, dropout=dropout)
        self.experts = Experts(n + 2, n * self.width, self.width)
        self.reweight = nn.Sequential(nn.Linear(n * self.width, self.width), nn.GELU(), nn.Linear(self.width, n + 2))

    def shares(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns g, `[batch, expert]`: those of `names`, then synergy, then redundancy; without gradient."""
        with torch.no_grad():
            inside = {name: tokens[name].zeroed() for name in self.names}
            return self._gates(self._project(inside), self.present(inside))

    def _project(self, tokens: dict[str, Tokens]) -> Tensor:
        return self.project(tokens).masked_fill(~self.present(tokens)[..., None], 0.0)  # type: ignore[no-any-return]

    def _gates(self, u: Tensor, present: Tensor) -> Tensor:
        usable = functional.pad(present, (0, 2), value=True)
        return self.reweight(u.flatten(1)).masked_fill(~usable, -torch.inf).softmax(1)  # type: ignore[no-any-return]

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)
        u = self._project(tokens)
        gates = self._gates(u, present)
        # what each modality adds to the hidden channels of each expert: without m, its part is left out of the sum
        first = self.experts.first.view(-1, len(self.names), self.width, self.width)
        parts = torch.einsum("bmi,emih->bmeh", u, first)
        hidden = parts.sum(1) + self.experts.first_bias
        y = self.experts.finish(hidden)
        fused = Fused((gates[..., None] * y).sum(1), weights={"uniqueness": gates[:, : len(self.names)]})
        if not torch.is_grad_enabled():
            return fused
        penalties = self._penalties(y, self.experts.finish(hidden[:, None] - parts), present)
        return Fused(fused.vector, penalties=penalties, weights=fused.weights)

    def _penalties(self, y: Tensor, without: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Returns the penalties of `y[batch, expert, width]` and `without[batch, modality, expert, width]`."""
        n = len(self.names)
        there = present & (present.sum(1, keepdim=True) > 1)
        far = torch.linalg.vector_norm(y[:, None, :n] - without[:, :, :n], dim=-1)  # without j, expert of m
        own = torch.diagonal(far, dim1=1, dim2=2)
        pairs = there[:, :, None] & there[:, None, :] & ~torch.eye(n, dtype=torch.bool, device=y.device)
        alike = functional.cosine_similarity(y[:, None, n:], without[:, :, n:], dim=-1)
        raw = {
            "uniqueness": _mean(functional.relu(far - own[:, None] + self.margin), pairs),
            "synergy": _mean(1 + alike[..., 0], there),
            "redundancy": _mean(1 - alike[..., 1], there),
        }
        return {name: self.interaction_weight * value for name, value in raw.items()}


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """Returns the mean of the values that count; 0 of none."""
    return values.masked_fill(~counts, 0.0).sum() / counts.sum().clamp(min=1)
