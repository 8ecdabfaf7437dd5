"""The modality graph: each row is a small graph whose nodes are its modalities, and attention weighs the edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["GATv2", "ModalityGraph", "Readout"]

Readout = Literal["mean", "global"]


class GATv2(nn.Module):
    """x_i <- sum_j a_ij V x_j, a_i = softmax over the present j of a . LeakyReLU(V x_j + U x_i), head by head.

    Every node is every node's neighbour, and its own. V has a bias.

    Shape:
        `[batch, node, width]`, mask `[batch, node]` -> `[batch, node, width]`, attention `[batch, to, from, head]`.
        Every row must hold a real node.

    Args:
        width: Channels; a multiple of `n_heads`.
        n_heads: Attention heads; their results stand side by side.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.source = nn.Linear(width, width)
        self.target = nn.Linear(width, width, bias=False)
        self.attention = nn.Parameter(torch.empty(n_heads, width // n_heads))
        nn.init.xavier_uniform_(self.attention)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the nodes after one round of messages, and who listened to whom."""
        source = self.source(x).unflatten(-1, (self.n_heads, -1))
        target = self.target(x).unflatten(-1, (self.n_heads, -1))
        pairs = functional.leaky_relu(source[:, None] + target[:, :, None], 0.2)
        logits = (pairs * self.attention).sum(-1)
        weights = logits.masked_fill(~mask[:, None, :, None], -torch.inf).softmax(2)
        return torch.einsum("bijh,bjhc->bihc", weights, source).flatten(2), weights


class ModalityGraph(Fusion):
    """h = W_o mean over the present m of x_m, x <- x + elu(GATv2(LN(x))) on the complete graph of modalities.

    The nodes of a row are its present modalities, x_m = u_m at first (a linear map of the normalised mean of the
    tokens), and a learned global node that all can read and write. GATv2 lets the receiver decide to whom it listens,
    which the first graph attention cannot. The weights tell how the nodes that are read out share their attention
    among the modalities in the last layer (what goes to the global node is left out).

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; joint tokens `[batch, M, width]`, one a modality.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and nodes; a multiple of `n_heads`.
        n_layers: Rounds of messages, at least 1.
        n_heads: Attention heads.
        readout: What becomes the joint vector: the `mean` of the modalities' nodes, or the `global` node.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, an unknown readout, or a number out of range.

    Reference:
        Brody, Alon, Yahav, How Attentive are Graph Attention Networks?, ICLR 2022 (arXiv 2105.14491), equation 7.
        *Differs from the paper*: residual layers with a LayerNorm, so that a node keeps what it holds; nodes are the
        modalities of one row.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = ModalityGraph({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 2, 8]))
    """

    formula: ClassVar[str] = "W_o mean of x_m, x <- x + elu(GATv2(LN(x))) on the graph of modalities, x = u at first"
    cost: ClassVar[str] = "O(T d + n_layers (M width^2 + M^2 width))"
    missing: ClassVar[str] = "has no node"
    reference: ClassVar[str] = "Brody et al. 2022 (arXiv 2105.14491), eq. 7"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_layers: int = 2,
        n_heads: int = 4,
        readout: Readout = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        if min(n_layers, n_heads) < 1:
            raise ConfigError(
                "ModalityGraph: n_layers and n_heads must be at least 1; "
                f"got n_layers={n_layers}, n_heads={n_heads}. Use sum to fuse without messages."
            )
        if width % n_heads:
            raise ConfigError(
                f"ModalityGraph: width must be a multiple of n_heads; got width={width}, n_heads={n_heads}. "
                "Change one of them."
            )
        if readout not in get_args(Readout):
            raise ConfigError(f"ModalityGraph: readout must be mean or global; got readout={readout!r}.")
        self.n_layers, self.n_heads = n_layers, n_heads
        self.readout: Readout = readout
        self.dropout = checked_dropout("ModalityGraph", dropout)
        self.projection = Projection(self.channels, width, dropout=dropout)
        self.hub = nn.Parameter(0.02 * torch.randn(width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(n_layers))
        self.layers = nn.ModuleList(GATv2(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)
        nodes = self.projection(tokens)
        x = torch.cat([self.hub.expand(nodes.shape[0], 1, -1), nodes], dim=1)
        mask = torch.cat([torch.ones_like(present[:, :1]), present], dim=1)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            update, attention = layer(norm(x), mask)
            x = x + self.drop(functional.elu(update))
        joint = Tokens(self.norm(x[:, 1:]), present).zeroed()
        heard = attention.detach().mean(3)[:, :, 1:]  # [batch, to, modality]
        if self.readout == "global":
            read, heard = self.norm(x[:, 0]), heard[:, 0]
        else:
            read, heard = joint.mean(), heard[:, 1:].masked_fill(~present[..., None], 0.0).sum(1)
        share = heard / heard.sum(1, keepdim=True).clamp(min=torch.finfo(heard.dtype).tiny)
        return Fused(self.out(read), tokens=joint, weights={"attention": share})
