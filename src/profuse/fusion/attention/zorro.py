"""Zorro: one Transformer, masked so that each modality's stream stays its own and only fusion tokens see all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.attention._streams import Streams, check_sizes, joined, share
from profuse.layers.attention import TransformerLayer
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["Zorro"]


class Zorro(Fusion):
    """h = LN(mean of f), [f; x_1; ...; x_M] <- Layer(same, mask): x_m sees x_m alone, the fusion tokens f see all.

    The layers are shared by all; the mask alone keeps modalities apart. Whatever the others hold, and whether they are
    there, the stream of a modality stays as it would be without them, at every depth. h is made of the fusion tokens
    alone: they see every stream at every layer, so that nothing need be added, and the streams stay free of each
    other for those who want them: they are the joint tokens. The weights tell how the fusion tokens' attention to the
    streams in the last layer is shared out among the modalities; they sum to 1.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; joint tokens `[batch, M * n_tokens at most, width]`,
        the streams one after another.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and tokens; a multiple of `n_heads`.
        n_fusion_tokens: Tokens that see all, at least 1.
        n_layers: Transformer layers, at least 1.
        n_heads: Attention heads.
        n_tokens: Tokens that a modality may have, at least 1; longer ones become the means of segments.
        positions: Whether tokens are told their places.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        Recasens et al., Zorro: the masked multimodal transformer, arXiv 2301.09595. *Differs from the paper*:
        two layers and few fusion tokens, averaged, with one output; there outputs of the single streams, too, are
        trained, with a contrast between them.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = Zorro({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 6, 8]))
    """

    formula: ClassVar[str] = "mean of f, [f; x_1; ...; x_M] <- Layer(same): x_m sees x_m alone, f sees all"
    cost: ClassVar[str] = "O(T d + n_layers n width (width + n)), n = M n_tokens + n_fusion_tokens"
    missing: ClassVar[str] = "the fusion tokens do not see it"
    reference: ClassVar[str] = "Recasens et al. 2023 (arXiv 2301.09595): Zorro"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_fusion_tokens: int = 4,
        n_layers: int = 2,
        n_heads: int = 4,
        n_tokens: int = 16,
        positions: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_sizes("Zorro", width, n_heads, n_fusion_tokens=n_fusion_tokens, n_layers=n_layers, n_tokens=n_tokens)
        self.n_fusion_tokens, self.n_layers, self.n_heads = n_fusion_tokens, n_layers, n_heads
        self.n_tokens, self.positions = n_tokens, positions
        self.dropout = checked_dropout("Zorro", dropout)
        self.streams = Streams(self.channels, width, n_tokens=n_tokens, positions=positions)
        self.fusion_tokens = nn.Parameter(0.02 * torch.randn(n_fusion_tokens, width))
        self.layers = nn.ModuleList(TransformerLayer(width, n_heads, dropout=dropout) for _ in range(n_layers - 1))
        self.last = TransformerLayer(width, n_heads, dropout=dropout)
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        streams = self.streams(tokens)
        everything = joined(streams)
        n_rows, n = everything.mask.shape[0], self.n_fusion_tokens
        x = torch.cat([self.fusion_tokens.expand(n_rows, -1, -1), everything.values], dim=1)
        mask = self._sees(streams, torch.cat([everything.mask.new_ones(n_rows, n), everything.mask], dim=1))
        for layer in self.layers:
            x = layer(x, mask)
        x, attention = self.last.explained(x, mask, n)
        weights = {"attention": share(attention[:, n:], streams)}
        vector = self.norm(x[:, :n].mean(1))
        return Fused(vector, tokens=Tokens(self.norm(x[:, n:]), everything.mask).zeroed(), weights=weights)

    def _sees(self, streams: list[Tokens], real: Tensor) -> Tensor:
        """Returns which token sees which, `[batch, query, key]`; each sees itself, so that padding stays finite."""
        sizes = torch.tensor([self.n_fusion_tokens, *(s.mask.shape[1] for s in streams)], device=real.device)
        of = torch.arange(len(sizes), device=real.device).repeat_interleave(sizes, output_size=real.shape[1])
        allowed = (of[:, None] == of) | (of[:, None] == 0)
        return (allowed & real[:, None]) | torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
