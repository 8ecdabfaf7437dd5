"""MOGONET: a graph of similar rows for each modality, graph convolutions, and a network over the views' product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion, MemberRows
from profuse.fusion.graph._rows import GraphConvolutions, Memory, checked_neighbours
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["LARGEST_PRODUCT", "Mogonet", "cosine", "threshold_graph"]

LARGEST_PRODUCT = 1024
"""Entries that the product of all modalities' vectors may have."""


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Returns the cosine of every row of `x` with every row of `y`: `[row of x, row of y]`; 0 for a row of zeros."""
    return functional.normalize(x, dim=1) @ functional.normalize(y, dim=1).T


def threshold_graph(similarity: Tensor, present: Tensor, n_neighbours: int) -> tuple[Tensor, Tensor]:
    """Returns the graph A = D^-1 (max(S, S') + I), S = similarity where it reaches the threshold, and the threshold.

    Args:
        similarity: `[row, row]`, symmetric; edges of a negative similarity have weight 0.
        present: Bool `[row]`; other rows have no edge, not even to themselves.
        n_neighbours: Neighbours that a row has on average, itself not counted; all others if there are no more.

    Returns:
        The graph, and the least similarity of an edge, which is infinite where there are fewer than two rows.
    """
    n_rows = present.sum()
    itself = torch.eye(len(present), dtype=torch.bool, device=present.device)
    pair = present & present[:, None] & ~itself
    ranked = similarity.masked_fill(~pair, -torch.inf).flatten().sort(descending=True).values
    n_edges = torch.minimum(n_neighbours * n_rows, n_rows * (n_rows - 1))
    threshold = torch.where(n_edges > 0, ranked[(n_edges - 1).clamp(min=0)], torch.inf)
    weights = similarity.clamp(min=0).masked_fill(~(pair & (similarity >= threshold)), 0.0)
    weights = torch.maximum(weights, weights.T) + (itself & present).to(similarity)
    return weights / weights.sum(1, keepdim=True).clamp(min=1), threshold


def _alike(x: Tensor, known: Tensor, present: Tensor) -> Tensor:
    """Returns the cosine of rows with `known` ones, all less the mean of those known ones that are there."""
    middle = known.masked_fill(~present[:, None], 0.0).sum(0) / present.sum().clamp(min=1)
    return cosine(x - middle, known - middle)


class Mogonet(Fusion):
    """h = MLP([x_1; ...; x_M; sigmoid(V_1 x_1) (x) ... (x) sigmoid(V_M x_M)]), x_m = GCN_m on similar rows.

    Each modality has a graph whose nodes are remembered training rows: an edge where the cosine of the means of their
    tokens, less the mean of all, reaches a threshold, at which a row has `n_neighbours` on average; edges weigh the
    cosine, a row's edge to itself weighs 1, and the weights of a row are divided by their sum. Remembered rows pass
    messages among themselves; a new row has edges to itself and to the remembered rows that reach the threshold, and
    none leads back. In training the threshold is that at which the rows of the batch have `n_neighbours` on average: at
    that of the remembered rows, which are free of dropout, they would hardly have any. Before anything is remembered a
    new row has only itself, and the graph convolutions are an MLP. x_m is 0 where m is missing, and its factor in the
    outer product 1/2, which is that of a modality that takes no side.

    A training row that is among the remembered ones has an edge to its own copy, of weight 1 while the encoder stays
    the same. That edge stays: the copy holds no target, and nothing that the row does not hold itself.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and of the nodes.
        n_remembered: Training rows that the graphs hold, at most; more than `n_neighbours`.
        n_neighbours: Neighbours that a remembered row has on average, at least 1.
        n_layers: Graph convolutions, at least 1.
        vcdn_width: Size K of each modality's vector in the product, which has K^M entries, 1,024 at most; 0 leaves the
            product out. None takes the largest K up to 4 that fits, and no product from 11 modalities on, where
            not even 2 does.
        dropout: Probability that a channel between two layers is dropped in training, 0 to below 1.

    Raises:
        ConfigError: A number out of range, or a product of more than 1,024 entries.

    Reference:
        Wang, Shao, Huang, et al., MOGONET integrates multi-omics data using graph convolutional networks, Nature
        Communications 12:3445, 2021. *Differs from the paper*: the graphs hold a sample of the training rows, as
        their encoders see them after each epoch, so that the rows of a batch do not see each other; the product (VCDN)
        is of small learned vectors, not of each modality's decision, and stands beside the nodes, for the head
        comes later; cosines are of centred features, as those of a network all point much the same way; the average
        number of neighbours does not count the row itself; 2 convolutions, not 3; the single modalities are not
        trained beforehand.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> fusion = Mogonet({"a": 4, "b": 3}, 8, n_remembered=20, n_neighbours=3)
        >>> fusion.remember({"a": Tokens.vector(torch.randn(20, 4)), "b": Tokens.vector(torch.randn(20, 3))})
        >>> fusion({"a": Tokens.vector(torch.randn(2, 4)), "b": Tokens.vector(torch.randn(2, 3))}).vector.shape
        torch.Size([2, 8])
    """

    members: ClassVar[MemberRows] = "one"
    formula: ClassVar[str] = "MLP([x_m ...; outer product of sigmoid(V_m x_m)]), x_m = GCN_m on similar rows"
    cost: ClassVar[str] = (
        "O(T d + M n_remembered (d + n_layers width) + K^M width); a batch M n_layers n_remembered^2 width more"
    )
    missing: ClassVar[str] = "it has no node; its factor is 1/2"
    reference: ClassVar[str] = "Wang et al. 2021 (Nature Communications 12:3445)"

    adjacency: Tensor
    threshold: Tensor

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_remembered: int = 256,
        n_neighbours: int = 5,
        n_layers: int = 2,
        vcdn_width: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        checked_neighbours("Mogonet", n_remembered, n_neighbours, n_layers)
        n = len(self.names)
        if vcdn_width is not None and (vcdn_width < 0 or vcdn_width**n > LARGEST_PRODUCT):
            raise ConfigError(
                "Mogonet: vcdn_width must be at least 0, and its power to the number of modalities "
                f"at most {LARGEST_PRODUCT}; got vcdn_width={vcdn_width} for {n} modalities. "
                "Use None for the largest up to 4 that fits."
            )
        self.n_remembered, self.n_neighbours, self.n_layers = n_remembered, n_neighbours, n_layers
        self.vcdn_width = vcdn_width
        self.dropout = checked_dropout("Mogonet", dropout)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.graphs = nn.ModuleList(
            GraphConvolutions([c, *[width] * n_layers], dropout) for c in self.channels.values()
        )
        size = next(k for k in (4, 3, 2, 0) if k**n <= LARGEST_PRODUCT) if vcdn_width is None else vcdn_width
        self.views = nn.ModuleList(nn.Linear(width, size) for _ in self.names if size)
        self.first = nn.Linear(n * width, width)
        self.correlations = nn.Linear(size**n, width, bias=False) if size else None
        self.mlp = nn.Sequential(nn.LeakyReLU(0.25), nn.Dropout(dropout), nn.Linear(width, width))
        self.memory = Memory(self.channels, n_remembered)
        self.register_buffer("adjacency", torch.zeros(n, n_remembered, n_remembered))
        self.register_buffer("threshold", torch.full((n,), torch.inf))

    @torch.no_grad()
    def remember(self, tokens: Mapping[str, Tokens]) -> None:
        """Makes the graphs of these rows, in place of those before."""
        self.memory.store("Mogonet", {name: tokens[name] for name in self.names})
        for m, x in enumerate(self.memory.features()):
            present = self.memory.present[:, m]
            graph, threshold = threshold_graph(_alike(x, x, present), present, self.n_neighbours)
            self.adjacency[m], self.threshold[m] = graph, threshold

    def edges(self, m: int, mean: Tensor, present: Tensor) -> Tensor:
        """Returns the weights of the edges from new rows to remembered ones, `[batch, row]`.

        Args:
            m: Number of the modality.
            mean: Means of the new rows' tokens, `[batch, channel]`.
            present: Bool `[batch]`: the new rows that have the modality.
        """
        there = self.memory.present[:, m]
        similarity = _alike(mean, self.memory.features()[m].to(mean.dtype), there)
        least = self.threshold[m]
        if self.training:
            result = similarity[present][:, there].detach().flatten()
            n_edges = min(self.n_neighbours * int(present.sum()), len(result))
            least = result.topk(n_edges).values[-1] if n_edges else torch.full_like(least, torch.inf)
        return similarity.clamp(min=0).masked_fill(~(there & (similarity >= least)), 0.0)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        nodes = []
        for m, (norm, graph, t, known) in enumerate(
            zip(self.norms, self.graphs, tokens.values(), self.memory.features(), strict=True)
        ):
            mean, known = t.mean(), known.to(t.values.dtype)
            weights = self.edges(m, mean, t.present)
            total = 1 + weights.sum(1, keepdim=True)
            x = graph(norm(mean), 1 / total, weights / total, norm(known), self.adjacency[m].to(mean.dtype))
            nodes.append(x.masked_fill(~t.present[:, None], 0.0))
        x = self.first(torch.cat(nodes, dim=1))
        if self.correlations is not None:
            product = torch.ones_like(x[:, :1])
            for view, node, t in zip(self.views, nodes, tokens.values(), strict=True):
                factor = view(node).sigmoid().masked_fill(~t.present[:, None], 0.5)
                product = (product[:, :, None] * factor[:, None]).flatten(1)
            x = x + self.correlations(product)
        return Fused(self.mlp(x))
