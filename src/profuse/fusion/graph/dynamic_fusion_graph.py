"""The dynamic fusion graph: one vertex for each subset of the modalities, built up from the smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["DynamicFusionGraph"]

Subset = tuple[int, ...]


class DynamicFusionGraph(Fusion):
    """h = MLP([e_S v_S for all S]), v_S = MLP_S([e_TS v_T for all proper subsets T of S]), v_{m} = u_m.

    A vertex for each non-empty set S of modalities: the single ones hold u_m (a linear map of the normalised mean of
    the tokens), the larger ones what their subsets say together. Every edge has an efficacy e between 0 and 1,
    different from row to row: the sigmoid of an MLP that sees all u_m. The weights tell, for each modality, the mean
    efficacy of the edges into h from the vertices that hold it.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens; at most 6 modalities, for there are 2^M - 1 vertices.
        width: Width of the joint vector.
        vertex_width: Channels of a vertex, at least 1.
        dropout: Probability that a channel is dropped in training, from the u_m and before the last map, 0 to below 1.

    Attributes:
        vertices: The sets, as positions in `names`, smaller ones first.
        sources: For each vertex of several modalities, and then for h, the vertices with an edge to it.

    Raises:
        ConfigError: A number out of range, or more than 6 modalities.

    Reference:
        Zadeh, Liang, Poria, Cambria, Morency, Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and
        Interpretable Dynamic Fusion Graph, ACL 2018, section 4. *Differs from the paper*: the graph alone, without the
        LSTMs around it and the memory over time, on the mean of each modality's tokens; subsets that hold an
        absent modality are left out.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fusion = DynamicFusionGraph({"text": 4, "vector": 3}, 8)
        >>> fusion(tokens).vector.shape, fusion.vertices
        (torch.Size([2, 8]), [(0,), (1,), (0, 1)])
    """

    max_modalities: ClassVar[int | None] = 6
    formula: ClassVar[str] = "MLP([e_S v_S ...]), v_S = MLP_S([e_TS v_T ...]) over subsets T of S, e = sigmoid(MLP(u))"
    cost: ClassVar[str] = "O(T d + 3^M vertex_width^2 + 2^M vertex_width width)"
    missing: ClassVar[str] = "the subsets that hold it are left out"
    reference: ClassVar[str] = "Zadeh et al. 2018 (ACL): Graph-MFN, section 4"

    def __init__(
        self, channels: Mapping[str, int], width: int, *, vertex_width: int = 32, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, width)
        if vertex_width < 1:
            raise ConfigError(f"DynamicFusionGraph: vertex_width must be at least 1; got vertex_width={vertex_width}.")
        self.vertex_width = vertex_width
        self.dropout = checked_dropout("DynamicFusionGraph", dropout)
        n = len(self.names)
        self.vertices = [s for size in range(1, n + 1) for s in combinations(range(n), size)]
        self.sources: list[list[Subset]] = [[t for t in self.vertices if set(t) < set(s)] for s in self.vertices[n:]]
        self.sources.append(self.vertices)
        self.projection = Projection(self.channels, vertex_width, dropout=dropout)
        self.efficacy = nn.Sequential(
            nn.Linear(n * vertex_width, vertex_width), nn.GELU(), nn.Linear(vertex_width, sum(map(len, self.sources)))
        )
        self.maps = nn.ModuleList(
            nn.Sequential(
                nn.Linear(len(sources) * vertex_width, vertex_width),
                nn.GELU(),
                nn.Linear(vertex_width, vertex_width),
            )
            for sources in self.sources[:-1]
        )
        self.out = nn.Sequential(
            nn.Linear(len(self.vertices) * vertex_width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)
        single = self.projection(tokens).masked_fill(~present[..., None], 0.0)
        efficacies = self.efficacy(single.flatten(1)).sigmoid().split([len(s) for s in self.sources], dim=1)
        vertex: dict[Subset, Tensor] = {(m,): v for m, v in enumerate(single.unbind(1))}

        def gathered(sources: list[Subset], efficacy: Tensor) -> Tensor:
            return (efficacy[..., None] * torch.stack([vertex[t] for t in sources], dim=1)).flatten(1)

        larger = self.vertices[len(self.names) :]
        for s, mlp, sources, efficacy in zip(larger, self.maps, self.sources, efficacies, strict=False):
            there = present[:, list(s)].all(1, keepdim=True)
            vertex[s] = mlp(gathered(sources, efficacy)).masked_fill(~there, 0.0)
        there = torch.stack([present[:, list(s)].all(1) for s in self.vertices], dim=1)
        heard = efficacies[-1].detach() * there
        weights = [
            heard[:, held].sum(1) / there[:, held].sum(1).clamp(min=1)
            for held in ([i for i, s in enumerate(self.vertices) if m in s] for m in range(len(self.names)))
        ]
        return Fused(self.out(gathered(self.vertices, efficacies[-1])), weights={"efficacy": torch.stack(weights, 1)})
