"""Noise in graphs: their edges, their nodes, and what nodes have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.kinds._graph import Attribute, Graph
from profuse.kinds.noise.corruption import Corruption, by_row, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["GRAPHS"]

Change = Callable[[Graph, float, "Generator"], Graph]


def _made(description: str, change: Change) -> Corruption:
    """Returns a corruption of single graphs."""

    def of(data: ModalityData, p: float, draw: Generator) -> Any:
        return by_row(data, draw, lambda row, own: change(Graph.parse(row), p, own).text)

    return Corruption(description, of)


def _cut(graph: Graph, p: float, draw: Generator) -> Graph:
    return graph.with_edges(np.flatnonzero(draw.random(len(graph.edges)) >= p))


def _joined(graph: Graph, p: float, draw: Generator) -> Graph:
    n, m = graph.n_nodes, len(graph.edges)
    rounding, ends, like = draw.random(), draw.integers(n, size=(4 * m, 2)), draw.integers(max(m, 1), size=4 * m)
    known = {tuple(sorted(pair)) for pair in graph.edges.tolist()}
    new = list[int]()
    for i, pair in enumerate(ends.tolist()):
        if len(new) >= int(p * m + rounding):
            break
        if pair[0] != pair[1] and tuple(sorted(pair)) not in known:
            known.add(tuple(sorted(pair)))
            new.append(i)
    grown = graph.with_edges(np.concatenate([np.arange(m), like[new]]))
    return replace(grown, edges=np.concatenate([graph.edges, ends[new]]))


def _dropped(graph: Graph, p: float, draw: Generator) -> Graph:
    luck = draw.random(graph.n_nodes)
    return graph.kept(np.flatnonzero((luck >= p) | (luck == luck.max())))


def _replaced(graph: Graph, p: float, draw: Generator) -> Graph:
    source = np.arange(graph.n_nodes)
    hit, others = draw.random(graph.n_nodes) < p, draw.integers(graph.n_nodes, size=graph.n_nodes)
    source[hit] = others[hit]
    return replace(graph, nodes={name: [column[i] for i in source.tolist()] for name, column in graph.nodes.items()})


def _white(data: ModalityData, p: float, draw: Generator) -> Any:
    rows = [Graph.parse(data.values[i]) for i in np.flatnonzero(data.present)]
    of_nodes, of_edges = _spreads([g.nodes for g in rows]), _spreads([g.links for g in rows])

    def changed(row: str, own: Generator) -> str:
        graph = Graph.parse(row)
        nodes, links = _moved(graph.nodes, of_nodes, p, own), _moved(graph.links, of_edges, p, own)
        return replace(graph, nodes=nodes, links=links).text

    return by_row(data, draw, changed)


def _spreads(rows: Sequence[Mapping[str, Sequence[Attribute]]]) -> dict[str, float]:
    numbers: dict[str, list[float]] = {}
    for held in rows:
        for name, column in held.items():
            numbers.setdefault(name, []).extend(v for v in column if isinstance(v, float | int))
    return {name: float(spread(np.array(v, dtype=np.float64)[:, None])[0]) for name, v in numbers.items()}


def _moved(
    held: Mapping[str, Sequence[Attribute]], units: Mapping[str, float], p: float, draw: Generator
) -> dict[str, list[Attribute]]:
    moved: dict[str, list[Attribute]] = {}
    for name in sorted(held):
        noise = (p * units[name] * draw.standard_normal(len(held[name]))).tolist()
        pairs = zip(held[name], noise, strict=True)
        moved[name] = [v + d if isinstance(v, float | int) else v for v, d in pairs]
    return moved


GRAPHS = {
    "cut": _made("Each edge, with probability p, is taken away.", _cut),
    "replaced": _made("Each node, with probability p, has the attributes of any node of its graph.", _replaced),
    "joined": _made("Edges are added, p as many as there are, between any nodes that are not joined.", _joined),
    "dropped": _made("Each node, with probability p, is left out with its edges; one stays.", _dropped),
    "white": Corruption("White noise with a deviation of p spreads is added to numbers of nodes and edges.", _white),
}
