"""Graphs -> tokens, one a node."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from profuse.data.graph_shapes import N_WALKS, adjacency, closed_walks, graph_shapes, n_shape_numbers
from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._description import Description
from profuse.encoders._mlp import check_attention, check_layers, heads_for
from profuse.encoders._steps import clean_steps
from profuse.errors import ShapeError
from profuse.layers.attention import AttentionBlock
from profuse.layers.sequence import GATE, ChannelDropout
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["GraphDescription", "GraphEncoder"]


class GraphDescription(Description):
    """`profuse.data.graph_shapes` of a graph: what a linear path reads.

    Shape:
        `Raw.values[batch, node, channel]`, `Raw.mask[batch, node]` -> `[batch, out_width]`.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.out_width = n_shape_numbers(spec.n_attributes, spec.n_relations)

    def forward(self, raw: Raw) -> Tensor:
        values = clean_steps(raw, self.spec.n_channels, who="GraphEncoder")
        return graph_shapes(values, raw.mask, self.spec.n_attributes, self.spec.n_relations)


class _Messages(nn.Module):
    """`h_i <- h_i + g * B gelu(C [(1 + eps) n_i + sum_r sum_j A_r[i, j] W_r n_j])`, `n = norm(h)`."""

    def __init__(self, width: int, n_relations: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.own = nn.Parameter(torch.zeros(()))
        self.near = nn.Linear(n_relations * width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), ChannelDropout(dropout))
        self.out = nn.Linear(2 * width, width)
        self.gate = nn.Parameter(torch.full((width,), GATE))

    def forward(self, h: Tensor, matrices: Tensor) -> Tensor:
        n = self.norm(h)
        near = (matrices @ n[:, None]).transpose(1, 2).flatten(2)
        y: Tensor = h + self.gate * self.out(self.mlp(self.norm2((1.0 + self.own) * n + self.near(near))))
        return y


class GraphEncoder(Encoder):
    """embed: `h_i <- h_i + g MLP((1 + eps) h_i + sum_r W_r sum_j A_r[i, j] h_j)`; mix: a Transformer over nodes.

    A token is a node. It begins with its attributes, its number of edges of each sort, and how likely short random
    walks come back to it, which tells triangles from longer rings. Messages go along edges in `embed`, once a batch:
    `mix` sees what feedback has made of the nodes, and no edges. The order of nodes changes nothing but theirs.

    Args:
        spec: Of a fitted `GraphPreprocessor`.
        width: Channels of the tokens, a multiple of `n_heads`.
        n_layers: Layers of messages: a node knows of others so many edges away.
        n_blocks: Transformer blocks.
        n_heads: Attention heads.
        dropout: Probability of dropping a hidden channel of a row.
        linear_path: Whether a ridge regression of what describes a graph is added to the model's outputs
            (`Encoder.linear`, `GraphDescription`).

    Shape:
        `Raw.values[batch, node, channel]`, `Raw.mask[batch, node]`, to `[batch, node, width]`.

    Reference:
        Xu et al. 2019, How powerful are graph neural networks?, equation 4.1: h_v <- MLP((1 + eps) h_v + sum over
        neighbours u of h_u); Schlichtkrull et al. 2018, Modeling relational data with graph convolutional networks (a
        map for each sort of edge); Dwivedi et al. 2022, learnable structural representations (random walks).

    Differs from the paper:
        Layers are added to their input, through a gate, and layer norms stand where batch norms do; the readout is that
        of the tokens, not a sum of all layers.
    """

    kind: ClassVar[str] = "graph"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_layers: int = 3,
        n_blocks: int = 1,
        n_heads: int = 4,
        dropout: float = 0.1,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        who = "GraphEncoder"
        check_layers(who, n_layers=n_layers, dropout=dropout)
        check_attention(who, width, n_blocks=n_blocks, n_heads=n_heads, augment=0.0)
        if spec.n_relations < 1 or (spec.n_channels - spec.n_attributes) % spec.n_relations:
            raise ShapeError(
                f"{who}: the spec must have a matrix of edges, and as many channels as its nodes take; got "
                f"n_relations={spec.n_relations}, n_channels={spec.n_channels}. Take the spec of a fitted "
                "GraphPreprocessor."
            )
        self.first = nn.Linear(spec.n_attributes + spec.n_relations + N_WALKS, width)
        self.layers = nn.ModuleList(_Messages(width, spec.n_relations, dropout) for _ in range(n_layers))
        self.blocks = nn.ModuleList(AttentionBlock(width, n_heads=n_heads, dropout=dropout) for _ in range(n_blocks))
        self.description = GraphDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.dropout = ChannelDropout(dropout)
        self.stage_widths = (width,) * n_blocks

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns three layers of messages and a block below 10,000 rows, four and two from there on."""
        n_layers, n_blocks = (3, 1) if n_rows < 10_000 else (4, 2)
        return cls(spec, width, n_layers=n_layers, n_blocks=n_blocks, n_heads=heads_for(width), dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        values = clean_steps(raw, self.spec.n_channels, who="GraphEncoder")
        x, matrices = adjacency(values, raw.mask, self.spec.n_attributes, self.spec.n_relations)
        edges = matrices.sum(3).transpose(1, 2)
        walks = closed_walks((matrices[:, 0] + matrices[:, 0].transpose(1, 2)) / 2)
        h: Tensor = self.first(torch.cat([x, edges / (1.0 + edges.abs()) * 2, 4 * walks], dim=2))
        for layer in self.layers:
            h = layer(h, matrices)
        return Tokens(h, raw.mask)

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        values = self.blocks[i](tokens.values, tokens.mask)
        return Tokens(self.dropout(values) if i == len(self.blocks) - 1 else values, tokens.mask)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.blocks)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
