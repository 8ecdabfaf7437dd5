"""Gated multimodal unit: how much of each modality, decided by all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["Gated"]


class Gated(Fusion):
    """h = sum_m g_m * tanh(u_m), g = softmax over the present m of (W_g [v_1; ...; v_M])_m, channel by channel.

    v_m is the normalised mean of the tokens (0 where m is missing), u_m = W_m v_m + b_m. The gates of each channel
    sum to 1 over the present modalities, so h lies in the convex hull of the tanh(u_m); a missing modality has
    gate 0. The weights are the gates, averaged over channels.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        dropout: Probability that a joint channel is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `dropout` is out of range.

    Reference:
        Arevalo, Solorio, Montes-y-Gomez, Gonzalez, Gated Multimodal Units for Information Fusion, arXiv
        1702.01992. *Differs from the paper*: a softmax over modalities for any number of them, where the paper has
        one sigmoid for two.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Gated({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "sum of g_m * tanh(u_m), g = softmax_m(W_g [v_1; ...; v_M])"
    cost: ClassVar[str] = "O(T d + M^2 d width)"
    missing: ClassVar[str] = "its gate is 0"
    reference: ClassVar[str] = "Arevalo et al. 2017 (arXiv 1702.01992)"

    def __init__(self, channels: Mapping[str, int], width: int, *, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        self.dropout = checked_dropout("Gated", dropout)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.maps = nn.ModuleList(nn.Linear(c, width) for c in self.channels.values())
        self.gates = nn.Linear(sum(self.channels.values()), len(self.names) * width)
        self.drop = nn.Dropout(dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)[..., None]
        vectors = [
            norm(t.mean()).masked_fill(~t.present[:, None], 0.0)
            for norm, t in zip(self.norms, tokens.values(), strict=True)
        ]
        hidden = torch.stack([linear(v) for linear, v in zip(self.maps, vectors, strict=True)], dim=1).tanh()
        logits = self.gates(torch.cat(vectors, dim=1)).view(-1, len(self.names), self.width)
        gates = logits.masked_fill(~present, torch.finfo(logits.dtype).min).softmax(1) * present
        return Fused(self.drop((gates * hidden).sum(1)), weights={"gates": gates.mean(2)})
