"""Early fusion of sequences on one clock: every modality is brought to the same steps, then all are read together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["Aligned", "resample"]


def resample(tokens: Tokens, n_steps: int) -> Tokens:
    """Returns `n_steps` tokens a row: the means of equal pieces of its stretch, from the start to the last real token.

    A token that lies across a border counts in both pieces by the part that lies in each, so that a shorter row is
    stretched and a single token is repeated. Masked tokens count nowhere; a piece without any real token is masked.
    """
    n_tokens = tokens.mask.shape[1]
    place = torch.arange(n_tokens, device=tokens.mask.device)
    length = ((place + 1) * tokens.mask).amax(1)[:, None, None]
    # in units of a token / n_steps, which are whole numbers: the token at t covers [t n_steps, (t + 1) n_steps)
    start = place * n_steps
    piece = torch.arange(n_steps, device=place.device)[:, None] * length
    common = torch.minimum(start + n_steps, piece + length) - torch.maximum(start, piece)
    share = (common.clamp(min=0) * tokens.mask[:, None]).to(tokens.values)
    total = share.sum(2, keepdim=True)
    return Tokens(share @ tokens.zeroed().values / total.clamp(min=1), total[..., 0] > 0)


class _Layer(nn.Module):
    """y_j = x_j + B dropout(gelu(A [n_(j-d); n_j; n_(j+d)])), n = LayerNorm(x), 0 outside."""

    def __init__(self, width: int, *, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = normalise(width)
        self.near = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(self.norm(x).transpose(1, 2)).transpose(1, 2)
        y: Tensor = x + self.out(self.drop(nn.functional.gelu(near)))
        return y


class Aligned(Fusion):
    """h = mean_j of Conv([x_1j; ...; x_Mj; a_j]), x_mj = the mean of the tokens of m in step j of n_steps equal ones.

    Every modality is stretched or shrunk to the same steps, joined channel by channel with flags a_j that say which
    modalities step j has, mapped to `width`, and read by residual convolutions over steps dilated 1, 2, 4, ... So what
    happens at the same time meets at once. It supposes that the sequences of a row begin and end together; a vector
    stands at every step. Joint tokens are the steps, masked where no modality has any.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; joint tokens `[batch, n_steps, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and tokens.
        n_steps: Common steps, at least 1.
        n_layers: Convolutions, at least 0; each doubles the dilation of the one before.
        dropout: Probability that a hidden channel of a step is dropped in training, 0 to below 1.

    Raises:
        ConfigError: A number is out of range.

    Reference:
        The survey's raw-data level fusion: Zhao, Zhang, Geng, Deep Multimodal Data Fusion, ACM Computing Surveys
        56(9), 2024, section on encoder-decoder fusion; the convolutions after Bai, Kolter, Koltun 2018 (arXiv
        1803.01271), section 3. *Differs from the paper*: not causal; a step looks both ways.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"series": Tokens(torch.randn(2, 50, 4), torch.ones(2, 50).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = Aligned({"series": 4, "vector": 3}, 8, n_steps=10)(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 10, 8]))
    """

    formula: ClassVar[str] = "mean over steps of Conv([x_1j; ...; x_Mj; flags]), all resampled to n_steps steps j"
    cost: ClassVar[str] = "O(n_steps (T d + M d width + n_layers width^2))"
    missing: ClassVar[str] = "0 and a flag at every step"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), raw-data fusion; Bai et al. 2018"

    def __init__(
        self, channels: Mapping[str, int], width: int, *, n_steps: int = 16, n_layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, width)
        if n_steps < 1 or n_layers < 0:
            raise ConfigError(
                "Aligned: n_steps must be at least 1 and n_layers at least 0; "
                f"got n_steps={n_steps}, n_layers={n_layers}."
            )
        self.n_steps, self.n_layers = n_steps, n_layers
        self.dropout = checked_dropout("Aligned", dropout)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.first = nn.Linear(sum(self.channels.values()) + len(self.names), width)
        self.layers = nn.ModuleList(_Layer(width, dilation=2**i, dropout=dropout) for i in range(n_layers))
        self.norm = normalise(width)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        steps = [
            resample(Tokens(norm(t.values), t.mask), self.n_steps)
            for norm, t in zip(self.norms, tokens.values(), strict=True)
        ]
        there = torch.stack([t.mask for t in steps], dim=2)
        x = self.first(torch.cat([*(t.values for t in steps), there.to(steps[0].values)], dim=2))
        for layer in self.layers:
            x = layer(x)
        joint = Tokens(self.norm(x), there.any(2)).zeroed()
        return Fused(joint.mean(), tokens=joint)
