"""Graphs `profuse.kinds.Graph`: checked, coloured by their structure, and cut."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from profuse.errors import DataError
from profuse.kinds import Attribute, Graph

__all__ = ["MOST_EDGES", "MOST_NODES", "made_graph", "walk_order", "wl_colours"]

MOST_NODES = 20_000
"""Graphs of more nodes are refused."""

MOST_EDGES = 200_000
"""Graphs of more edges are refused."""

_MOST_ATTRIBUTES = 512
_MIXED = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


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
            raise DataError(f"the name of a node must be a word or a number; got {_shown(name)}") from error
        if twice:
            raise DataError(f"the names of nodes must differ; got {_shown(name)} twice")
        place[name] = len(place)
    ends = np.zeros((len(edges), 2), dtype=np.int64)
    for i, (a, b, _) in enumerate(edges):
        for k, name in enumerate((a, b)):
            try:
                ends[i, k] = place[name]
            except (KeyError, TypeError) as error:
                raise DataError(f"edge {i} must end at a node; got {_shown(name)}, which is none") from error
    of_nodes = _columns([held for _, held in nodes], "node", left_out)
    return Graph(len(nodes), ends, is_directed, of_nodes, _columns([held for *_, held in edges], "edge", left_out))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _columns(rows: Sequence[Mapping[Any, Any]], what: str, left_out: set[str]) -> dict[str, list[Attribute]]:
    columns: dict[str, list[Attribute]] = {}
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


def _cells(name: str, value: Any, where: str) -> Iterator[tuple[str, Attribute]]:
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
            raise DataError(f"numbers must be finite; {where} has the {name[:40]} {_shown(value)}")
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


def _labels(columns: Sequence[Sequence[Attribute]], n: int) -> np.ndarray:
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
        colours = [colour]
        for _ in range(n_rounds):
            out, into = np.zeros_like(colour), np.zeros_like(colour)
            np.add.at(out, a, _mixed(colour[b] ^ edge))
            np.add.at(into if graph.is_directed else out, b, _mixed(colour[a] ^ edge))
            colour = _mixed(_mixed(_mixed(colour) + out) + into)
            colours.append(colour)
    return colours


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
