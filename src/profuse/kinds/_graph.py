"""One graph: nodes and edges with attributes, kept as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

__all__ = ["Attribute", "Graph"]

Attribute = float | str | None
"""What an attribute of a node or an edge holds: a number, a word, or nothing."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph, its attributes column by column.

    Attributes:
        n_nodes: At least 1.
        edges: `[edge, 2]` integers: numbers of nodes, from and to. Of two nodes there can be several.
        is_directed: Whether (a, b) is another edge than (b, a).
        nodes: Attributes of nodes by name, each `n_nodes` long.
        links: Attributes of edges by name, each as long as `edges`.
    """

    n_nodes: int
    edges: np.ndarray
    is_directed: bool
    nodes: Mapping[str, Sequence[Attribute]]
    links: Mapping[str, Sequence[Attribute]]

    @property
    def text(self) -> str:
        """The graph as one line of JSON, as rows of this kind are kept: equal graphs in equal order are equal."""
        held = {"n": self.n_nodes, "directed": self.is_directed, "edges": self.edges.tolist()}
        held |= {
            "node": {k: list(v) for k, v in self.nodes.items()},
            "edge": {k: list(v) for k, v in self.links.items()},
        }
        return json.dumps(held, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the graph whose `text` this is."""
        held = json.loads(text)
        edges = np.asarray(held["edges"], dtype=np.int64).reshape(-1, 2)
        return cls(held["n"], edges, held["directed"], held["node"], held["edge"])

    def kept(self, nodes: np.ndarray) -> Self:
        """Returns the graph of these nodes, in this order, and of the edges between them."""
        place = np.full(self.n_nodes, -1)
        place[nodes] = np.arange(len(nodes))
        ends = place[self.edges].reshape(-1, 2)
        there = np.flatnonzero((ends >= 0).all(axis=1))
        of_nodes = {name: [column[i] for i in nodes.tolist()] for name, column in self.nodes.items()}
        return replace(self.with_edges(there), n_nodes=len(nodes), edges=ends[there], nodes=of_nodes)

    def with_edges(self, kept: np.ndarray) -> Self:
        """Returns the graph with the edges of these numbers, in this order; a number may come twice."""
        links = {name: [column[i] for i in kept.tolist()] for name, column in self.links.items()}
        return replace(self, edges=self.edges[kept].reshape(-1, 2), links=links)

    def both_ways(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns where each edge begins and ends, once in each direction; those that lead nowhere else once."""
        a, b = self.edges[:, 0], self.edges[:, 1]
        other = a != b
        return np.concatenate([a, b[other]]), np.concatenate([b, a[other]])

    def degrees(self) -> np.ndarray:
        """Returns `[node]`: how many edges end at each node, in either direction."""
        return np.bincount(self.both_ways()[0], minlength=self.n_nodes)
