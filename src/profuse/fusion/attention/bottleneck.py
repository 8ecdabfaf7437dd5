"""The bottleneck Transformer (MBT): modalities hear each other only through a few tokens that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.fusion.attention._streams import Merge, Streams, check_sizes
from profuse.layers.attention import TransformerLayer
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["Bottleneck"]


class Bottleneck(Fusion):
    """h = MLP([cls_1; ...; cls_M]), [cls_m; x_m; b_m] <- Layer_m([cls_m; x_m; b]), b <- mean of b_m over the present m.

    Every modality has its own layers, over its own tokens, a cls token, and the `n_bottlenecks` tokens b, which all
    share. Each makes its own version of b in a layer; the next one begins with their mean. So a modality hears others
    one layer after they have spoken: with one layer of fusion nothing crosses. Layers before `fusion_layer` see no b.
    A cls token begins as a learned vector plus the mean of x_m.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; joint tokens `[batch, M, width]`, the normalised cls.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and tokens; a multiple of `n_heads`.
        n_bottlenecks: Tokens that the modalities share; 0 keeps them apart until the cls are merged.
        n_layers: Layers of each modality, at least 1.
        fusion_layer: The first layer with bottlenecks, 0 (the first of all) to n_layers - 1, where nothing crosses.
        n_heads: Attention heads.
        n_tokens: Tokens that a modality may have, at least 1; longer ones become the means of segments.
        positions: Whether tokens are told their places.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        Nagrani, Yang, Arnab, Jansen, Schmid, Sun, Attention Bottlenecks for Multimodal Fusion, NeurIPS 2021,
        equations 8 and 9. *Differs from the paper*: two layers, both with bottlenecks (there 12, fusion from the 8th
        on: here the encoders come before); the mean of b_m leaves out missing modalities; the cls begins with the mean
        of the tokens (without it 20 epochs on `synthetic` synergy stayed at chance, with it they reached `concat`);
        two layers merge the cls tokens, where the classes' scores are averaged there.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = Bottleneck({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 2, 8]))
    """

    formula: ClassVar[str] = "MLP([cls_1; ...; cls_M]), [cls_m; x_m; b_m] <- Layer_m([cls_m; x_m; b]), b <- mean of b_m"
    cost: ClassVar[str] = "O(T d + n_layers M n width (width + n)), n = 1 + n_tokens + n_bottlenecks"
    missing: ClassVar[str] = "left out of the mean of b_m; a learned vector stands for its cls"
    reference: ClassVar[str] = "Nagrani et al. 2021 (NeurIPS): MBT, equations 8 and 9"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_bottlenecks: int = 4,
        n_layers: int = 2,
        fusion_layer: int = 0,
        n_heads: int = 4,
        n_tokens: int = 16,
        positions: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_sizes("Bottleneck", width, n_heads, n_layers=n_layers, n_tokens=n_tokens)
        if n_bottlenecks < 0 or not 0 <= fusion_layer < n_layers:
            raise ConfigError(
                "Bottleneck: n_bottlenecks must be at least 0, and fusion_layer at least 0 and below n_layers; "
                f"got n_bottlenecks={n_bottlenecks}, fusion_layer={fusion_layer}, n_layers={n_layers}. "
                "Set n_bottlenecks=0 to keep modalities apart."
            )
        self.n_bottlenecks, self.n_layers, self.fusion_layer = n_bottlenecks, n_layers, fusion_layer
        self.n_heads, self.n_tokens, self.positions = n_heads, n_tokens, positions
        self.dropout = checked_dropout("Bottleneck", dropout)
        self.streams = Streams(self.channels, width, n_tokens=n_tokens, positions=positions)
        self.cls = nn.Parameter(0.02 * torch.randn(len(self.names), width))
        self.bottlenecks = nn.Parameter(0.02 * torch.randn(n_bottlenecks, width))
        self.layers = nn.ModuleList(  # those of the first modality, then those of the next
            TransformerLayer(width, n_heads, dropout=dropout) for _ in self.names for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.merge = Merge(len(self.names), width, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)
        n_rows = present.shape[0]
        streams = self.streams(tokens)
        seen = present.new_ones(n_rows, 1 + self.n_bottlenecks)
        masks = [torch.cat([seen[:, :1], s.mask], dim=1) for s in streams]
        own = [torch.cat([(c + s.mean())[:, None], s.values], 1) for c, s in zip(self.cls, streams, strict=True)]
        shared = self.bottlenecks.expand(n_rows, -1, -1)
        there = present[:, :, None, None]
        for i in range(self.n_layers):
            layer = self.layers[i :: self.n_layers]
            if i < self.fusion_layer:
                own = [f(x, mask) for f, x, mask in zip(layer, own, masks, strict=True)]
                continue
            sizes = [(x.shape[1], self.n_bottlenecks) for x in own]
            both = [
                f(torch.cat([x, shared], 1), torch.cat([mask, seen[:, 1:]], 1)).split(size, dim=1)
                for f, x, mask, size in zip(layer, own, masks, sizes, strict=True)
            ]
            own = [x for x, _ in both]
            said = torch.stack([b for _, b in both], dim=1).masked_fill(~there, 0.0)
            shared = said.sum(1) / there.sum(1).clamp(min=1)
        cls = self.norm(torch.stack([x[:, 0] for x in own], dim=1))
        return Fused(self.merge(cls, present), tokens=Tokens(cls, present).zeroed())
