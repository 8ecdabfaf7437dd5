"""Graphs as counts: of degrees, triangles, parts, walks, what neighbours have, and Weisfeiler-Lehman colours."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.graph_shapes import graph_shapes
from profuse.data.graphs import wl_colours
from profuse.data.preprocess.graph import GraphPreprocessor, graphs_of
from profuse.kinds import Graph

__all__ = ["GraphFeatures"]

_WHO = "GraphFeatures"
_BLOCK_ROWS = 128
_N_ROUNDS, _N_BUCKETS = 2, 64
_N_EIGENVALUES, _MOST_SOLVED = 8, 512  # of the Laplacian; nodes of which it is solved
_FEW = 16  # different numbers that are labels


class GraphFeatures(Features):
    """What `profuse.data.graph_shapes.graph_shapes` tells; nodes, parts, the spectrum; Weisfeiler-Lehman colours.

    Nodes, edges and parts (connected components) of the whole graph; the 8 largest eigenvalues of its normalised
    Laplacian, of up to 512 nodes; log(1 + count) of the colours after 0, 1 and 2 rounds, in 64 hashed buckets a round.
    A node's first colour is what it has of words, and of numbers of at most 16 different values in train.

    Shape:
        `[row, feature]`; NaN in absent rows.

    Reference:
        Shervashidze et al. 2011, Weisfeiler-Lehman graph kernels.
    """

    takes = "graph"

    def __init__(self) -> None:
        self._graphs = GraphPreprocessor()
        self._labels: tuple[list[str], list[str]] = ([], [])

    def fit(self, data: ModalityData) -> None:
        self._graphs.fit(data)
        graphs = graphs_of(data, where=_WHO).values()
        self._labels = _labels([g.nodes for g in graphs]), _labels([g.links for g in graphs])

    def transform(self, data: ModalityData) -> np.ndarray:
        starts = range(0, max(1, len(data)), _BLOCK_ROWS)
        blocks = [np.arange(start, min(len(data), start + _BLOCK_ROWS)) for start in starts]
        return np.concatenate([self._block(data.rows(rows)) for rows in blocks])

    def _block(self, data: ModalityData) -> np.ndarray:
        raw, spec = self._graphs.transform(data), self._graphs.spec
        shapes = graph_shapes(raw.values.double(), raw.mask, spec.n_attributes, spec.n_relations).numpy()
        more = np.zeros((len(data), 3 + _N_EIGENVALUES + (1 + _N_ROUNDS) * _N_BUCKETS))
        for row, graph in graphs_of(data, where=_WHO).items():
            more[row] = np.concatenate([_whole(graph), self._colours(graph)])
        x = np.concatenate([shapes, more], axis=1)
        x[~data.present] = np.nan
        return x

    def _colours(self, graph: Graph) -> np.ndarray:
        nodes, links = self._labels
        rounds = wl_colours(graph, _N_ROUNDS, nodes=nodes, links=links)
        buckets = [(colour % np.uint64(_N_BUCKETS)).astype(np.int64) for colour in rounds]
        counts = np.concatenate([np.bincount(b, minlength=_N_BUCKETS) for b in buckets])
        return np.asarray(np.log1p(counts))

    def state(self) -> dict[str, Any]:
        return {"graphs": self._graphs.state(), "nodes": self._labels[0], "links": self._labels[1]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._graphs = GraphPreprocessor.from_state(state["graphs"])
        made._labels = list(state["nodes"]), list(state["links"])
        return made


def _labels(rows: list[Any]) -> list[str]:
    """Returns the attributes that are words, or numbers of few different values."""
    seen: dict[str, set[Any]] = {}
    words = set()
    for held in rows:
        for name, column in held.items():
            values = seen.setdefault(name, set())
            if len(values) <= _FEW:
                values |= set(column) - {None}
            if any(isinstance(cell, str) for cell in column):
                words.add(name)
    return sorted(name for name, values in seen.items() if name in words or len(values) <= _FEW)


def _whole(graph: Graph) -> np.ndarray:
    """Returns logs of nodes, edges and parts, and eigenvalues in falling order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = graph.both_ways()
    n = graph.n_nodes
    joined = coo_array((np.ones(len(a)), (a, b)), shape=(n, n))
    n_parts = connected_components(joined, directed=False, return_labels=False)
    spectrum = np.zeros(_N_EIGENVALUES)
    if n <= _MOST_SOLVED:
        weights = (joined.toarray() > 0).astype(np.float64)
        np.fill_diagonal(weights, 0.0)
        root = np.sqrt(np.maximum(weights.sum(axis=1), 1.0))
        laplacian = np.diag((weights.sum(axis=1) > 0).astype(np.float64)) - weights / root[:, None] / root[None]
        largest = np.linalg.eigvalsh(laplacian)[::-1][:_N_EIGENVALUES]
        spectrum[: len(largest)] = largest
    return np.concatenate([np.log1p([n, len(graph.edges), n_parts]), spectrum])
