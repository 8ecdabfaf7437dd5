"""A small vision Transformer."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Rows, Stage, Suited, chain
from profuse.encoders._hog import NARROW, PictureDescription
from profuse.encoders._stem import Stem, patch_side
from profuse.encoders._strength import strength_suited
from profuse.errors import ConfigError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["PatchEncoder"]

_MAX_TOKENS_SIDE = 4


class _Block(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`: norms first, which trains without warm-up.

    A row leaves out a whole branch at random while training (stochastic depth).
    """

    def __init__(self, dim: int, *, n_heads: int, drop_prob: float) -> None:
        super().__init__()
        self.n_heads, self.drop_prob = n_heads, drop_prob
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        n_rows, n_tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(n_rows, n_tokens, 3, self.n_heads, dim // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value)
        x = self._add(x, self.out(y.transpose(1, 2).reshape(n_rows, n_tokens, dim)))
        return self._add(x, self.mlp(self.norm2(x)))

    def _add(self, x: Tensor, branch: Tensor) -> Tensor:
        if not self.training or self.drop_prob == 0:
            return x + branch
        keep = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_prob
        return torch.addcmul(x, branch, keep / (1 - self.drop_prob))


class PatchEncoder(Encoder):
    """`mix = Transformer over patch tokens`, then the mean of neighbours down to at most 4 x 4 tokens.

    `embed` is a stem of overlapping convolutions, about 8 places a side, with a learned position (`Stem`). A picture
    is whole or absent, so attention needs no mask.

    Args:
        spec: Channels and size of the pictures.
        width: Channels of the returned tokens.
        dim: Channels inside, a multiple of `n_heads`.
        n_blocks: Number of blocks.
        n_heads: Attention heads.
        side: Pixels from one place of the stem to the next, a power of two; chosen by size if None.
        dropout: Probability of leaving out a channel before the last map.
        drop_prob: Probability of leaving out a branch.
        augment: How far pictures are changed at random while training; see `ConvEncoder`.
        linear_path: Whether a ridge regression of gradient histograms, a thumbnail and colours is added to the model's
            outputs (`Encoder.linear`, `PictureDescription`).

    Shape:
        Raw `[batch, channel, height, width]` -> `embed` `[batch, patch, dim]` -> `[batch, <= 16, width]`.

    Reference:
        Dosovitskiy et al.: An image is worth 16x16 words, ICLR 2021. *Differs from the paper*: convolutions that
        overlap in place of patches; no class token: neighbouring tokens are averaged instead, so that the fusion still
        sees where things are.
    """

    kind: ClassVar[str] = "image"
    linear_frequencies = NARROW

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        dim: int = 64,
        n_blocks: int = 3,
        n_heads: int = 4,
        side: int | None = None,
        dropout: float = 0.1,
        drop_prob: float = 0.1,
        augment: float = 1.0,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        if n_heads < 1 or n_blocks < 1 or dim < 1 or dim % n_heads:
            raise ConfigError(
                "PatchEncoder: n_heads and n_blocks must be at least 1 and dim a multiple of n_heads; "
                f"got dim={dim}, n_blocks={n_blocks}, n_heads={n_heads}."
            )
        if not (0 <= dropout < 1 and 0 <= drop_prob < 1 and augment >= 0):
            raise ConfigError(
                "PatchEncoder: 0 <= dropout < 1 and 0 <= drop_prob < 1 and augment >= 0 must hold; "
                f"got dropout={dropout}, drop_prob={drop_prob}, augment={augment}."
            )
        self.description = PictureDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.embed_width = dim
        self.stem = Stem(spec, dim, side=side or patch_side(spec.image_size, 8), augment=augment)
        self.blocks = nn.Sequential(*(_Block(dim, n_heads=n_heads, drop_prob=drop_prob) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(dim, width)
        self.stage_widths = (*[dim] * (n_blocks - 1), width)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> PatchEncoder:
        return cls(
            spec, width, dim=64 if n_rows < 20_000 else 128, n_blocks=3 if n_rows < 20_000 else 6, dropout=dropout
        )

    @classmethod
    def suited(cls, spec: Spec, train: Rows, valid: Rows) -> Suited | None:
        return strength_suited(train, valid)

    def embed(self, raw: Raw) -> Tokens:
        return self.stem(raw)  # type: ignore[no-any-return]

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        x = self.blocks[i](tokens.values)
        if i < len(self.blocks) - 1:
            return Tokens(x, tokens.mask)
        x = self.norm(x)
        height, width = self.stem.grid
        x = torch.unflatten(x.transpose(1, 2), 2, (height, width))
        x = F.adaptive_avg_pool2d(x, (min(height, _MAX_TOKENS_SIDE), min(width, _MAX_TOKENS_SIDE)))
        values = self.project(self.dropout(x.flatten(2).transpose(1, 2)))
        return Tokens(values, tokens.present[:, None].expand(-1, values.shape[1]))

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.blocks)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
