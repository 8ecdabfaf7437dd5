"""Graphs: nodes and edges with attributes. Checked, kept as text, coloured by their structure, and thinned."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from profuse.errors import DataError

__all__ = ["MOST_EDGES", "MOST_NODES", "Cell", "Graph", "made_graph", "walk_order", "wl_colours"]

MOST_NODES, MOST_EDGES = 20_000, 200_000
"""Larger graphs are refused."""

_MOST_ATTRIBUTES = 512
_MIXED = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

Cell = float | str | None
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
    nodes: Mapping[str, Sequence[Cell]]
    links: Mapping[str, Sequence[Cell]]

    @property
    def text(self) -> str:
        """The graph as one line of JSON, as rows of this kind are kept: equal graphs in equal order are equal."""
        held = {"n": self.n_nodes, "directed": self.is_directed, "edges": self.edges.tolist()}
        held |= {
            "node": {k: list(v) for k, v in self.nodes.items()},
            "edge": {k: list(v) for k, v in self.links.items()},
        }
        return json.dumps(held, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

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


def made_graph(
    nodes: Sequence[tuple[Any, Mapping[Any, Any]]],
    edges: Sequence[tuple[Any, Any, Mapping[Any, Any]]],
    *,
    is_directed: bool,
    left_out: set[str],
) -> Graph:
    """Returns a graph of nodes, each with its name, and of edges between names.

    Args:
        nodes: Name (or number) and attributes of each.
        edges: The names of both ends, and attributes, of each.
        is_directed: Whether edges have a direction.
        left_out: Gets the names of attributes that hold neither numbers nor words, nor short lists of numbers.

    Raises:
        DataError: There is no node, or too many; two have one name; an edge ends at none; a number is infinite.
    """
    if not nodes:
        raise DataError("a graph must have a node; got none")
    for what, n, most in (("nodes", len(nodes), MOST_NODES), ("edges", len(edges), MOST_EDGES)):
        if n > most:
            raise DataError(f"a graph must have at most {most:,} {what}; got {n:,}")
    place: dict[Any, int] = {}
    for name, _ in nodes:
        try:
            twice = name in place
        except TypeError as error:
            raise DataError(f"the name of a node must be a word or a number; got {_told(name)}") from error
        if twice:
            raise DataError(f"the names of nodes must differ; got {_told(name)} twice")
        place[name] = len(place)
    ends = np.zeros((len(edges), 2), dtype=np.int64)
    for i, (a, b, _) in enumerate(edges):
        for k, name in enumerate((a, b)):
            try:
                ends[i, k] = place[name]
            except (KeyError, TypeError) as error:
                raise DataError(f"edge {i} must end at a node; got {_told(name)}, which is none") from error
    of_nodes = _columns([held for _, held in nodes], "node", left_out)
    return Graph(len(nodes), ends, is_directed, of_nodes, _columns([held for *_, held in edges], "edge", left_out))


def _told(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:57]}..."


def _columns(rows: Sequence[Mapping[Any, Any]], what: str, left_out: set[str]) -> dict[str, list[Cell]]:
    columns: dict[str, list[Cell]] = {}
    for i, held in enumerate(rows):
        for name, value in held.items():
            read = False
            for full, cell in _cells(str(name), value, f"{what} {i}"):
                if full not in columns:
                    if len(columns) == _MOST_ATTRIBUTES:
                        raise DataError(
                            f"a {what} must have at most {_MOST_ATTRIBUTES} attributes; got {full[:40]!r} too"
                        )
                    columns[full] = [None] * len(rows)
                columns[full][i] = cell
                read = True
            if not read:
                left_out.add(str(name))
    return columns


def _cells(name: str, value: Any, where: str) -> Iterator[tuple[str, Cell]]:
    """Gives the attributes that one value is: itself, the numbers of a short list, or none."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, str):
        yield name, value
    elif isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise DataError(f"numbers must be finite; {where} has the {name[:40]} {_told(value)}")
        yield name, None if math.isnan(number) else number
    elif isinstance(value, list | tuple) and all(isinstance(v, bool | int | float) for v in value):
        for k, one in enumerate(value):
            yield from _cells(f"{name}[{k}]", one, where)


def _mixed(x: np.ndarray) -> np.ndarray:
    """Returns other numbers in the place of 64 bits, as different (splitmix64)."""
    x = x + _MIXED[0]
    x = (x ^ (x >> np.uint64(30))) * _MIXED[1]
    x = (x ^ (x >> np.uint64(27))) * _MIXED[2]
    return np.asarray(x ^ (x >> np.uint64(31)))


def _labels(columns: Sequence[Sequence[Cell]], n: int) -> np.ndarray:
    """Returns a number for each node or edge: the same for those whose cells are equal."""
    if not columns:
        return np.zeros(n, dtype=np.uint64)
    words = (repr(cells).encode("utf-8", "surrogatepass") for cells in zip(*columns, strict=True))
    return np.array([zlib.crc32(word) for word in words], dtype=np.uint64)


def wl_colours(
    graph: Graph, n_rounds: int, *, nodes: Sequence[str] | None = None, links: Sequence[str] | None = None
) -> list[np.ndarray]:
    """Returns `[node]` numbers after 0, 1, ..., `n_rounds` rounds: equal for nodes that a round cannot tell apart.

    c_0 is a hash of a node's attributes; c_t one of c_{t-1} and of all pairs (c_{t-1} of a neighbour, attributes of the
    edge): colour refinement. Directions count. The order of nodes and edges does not.

    Args:
        graph: It.
        n_rounds: Rounds.
        nodes: The attributes of nodes that count; all if None.
        links: The attributes of edges that count; all if None.

    Reference:
        Weisfeiler and Leman 1968; Shervashidze et al. 2011, Weisfeiler-Lehman graph kernels.
    """
    with np.errstate(over="ignore"):
        colour = _mixed(
            _labels(
                [graph.nodes[n] for n in sorted(graph.nodes if nodes is None else nodes) if n in graph.nodes],
                graph.n_nodes,
            )
        )
        names = sorted(graph.links if links is None else links)
        edge = _mixed(_labels([graph.links[n] for n in names if n in graph.links], len(graph.edges)))
        a, b = graph.edges[:, 0], graph.edges[:, 1]
        found = [colour]
        for _ in range(n_rounds):
            out, into = np.zeros_like(colour), np.zeros_like(colour)
            np.add.at(out, a, _mixed(colour[b] ^ edge))
            np.add.at(into if graph.is_directed else out, b, _mixed(colour[a] ^ edge))
            colour = _mixed(_mixed(_mixed(colour) + out) + into)
            found.append(colour)
    return found


def walk_order(graph: Graph) -> np.ndarray:
    """Returns the nodes as a breadth-first walk meets them that begins at the node of most edges.

    Of nodes that are met together those of more edges come first, then by `wl_colours` of 3 rounds: which nodes a
    prefix of it holds does not depend on the order that was given, but for nodes that colours do not tell apart. Where
    a part is at its end the walk goes on in another one.
    """
    degrees, colours = graph.degrees(), wl_colours(graph, 3)[-1]
    rank = np.empty(graph.n_nodes, dtype=np.int64)
    best = np.lexsort((colours, -degrees))
    rank[best] = np.arange(graph.n_nodes)
    a, b = graph.both_ways()
    order = np.lexsort((rank[b], a))
    ends, starts = b[order].tolist(), np.searchsorted(a[order], np.arange(graph.n_nodes + 1)).tolist()
    met = [False] * graph.n_nodes
    walk: list[int] = []
    done = 0
    for first in best.tolist():
        if met[first]:
            continue
        met[first] = True
        walk.append(first)
        while done < len(walk):
            node = walk[done]
            done += 1
            for near in ends[starts[node] : starts[node + 1]]:
                if not met[near]:
                    met[near] = True
                    walk.append(near)
    return np.array(walk, dtype=np.int64)
