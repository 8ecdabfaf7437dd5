"""Graphs: attributes of nodes as numbers, and who is joined to whom, node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.graphs import walk_order
from profuse.data.preprocess._base import Preprocessor
from profuse.errors import ConfigError, DataError
from profuse.kinds import Attribute, Graph
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["GraphPreprocessor", "graphs_of"]

_WHO = "GraphPreprocessor"
_FARTHEST = 20.0  # deviations: what lies beyond is held there
_MOST_CATEGORIES, _MOST_RELATIONS = 32, 8  # channels of one attribute of nodes, of edges
_FEW = 4  # different numbers that are categories of an edge: the orders of bonds


def graphs_of(data: ModalityData, *, where: str) -> dict[int, Graph]:
    """Returns the graphs that are there, by row.

    Raises:
        DataError: A row is none.
    """
    made: dict[int, Graph] = {}
    for row in np.flatnonzero(data.present).tolist():
        value = data.values[row]
        if not isinstance(value, str):
            raise DataError(
                f"{where}: row {row} must be the text of a graph; got {type(value).__name__}. Read it with its kind."
            )
        made[row] = Graph.parse(value)
    return made


@dataclass(frozen=True)
class _Column:
    """What becomes of one attribute.

    Attributes:
        name: Of the attribute.
        categories: Words (of numbers: their repr) that have a channel each; none where it is a number.
        has_others: Whether train has further words: they share a channel.
        mean, scale: What a number is measured by; scale 0: it never varies.
        has_missing: Whether a channel says where the number is missing.
    """

    name: str
    categories: tuple[str, ...] = ()
    has_others: bool = False
    mean: float = 0.0
    scale: float = 0.0
    has_missing: bool = False

    @property
    def width(self) -> int:
        return len(self.categories) + self.has_others if self.categories else 1 + self.has_missing

    def channels(self, cells: Sequence[Attribute] | None, n: int) -> np.ndarray:
        """Returns `[node or edge, channel]`, finite."""
        out = np.zeros((n, self.width))
        column: Sequence[Attribute] = [None] * n if cells is None else cells
        if self.categories:
            place = {word: k for k, word in enumerate(self.categories)}
            for i, cell in enumerate(column):
                k = -1 if cell is None else place.get(_word(cell), len(place) if self.has_others else -1)
                if k >= 0:
                    out[i, k] = 1.0
            return out
        numbers = np.array([cell if isinstance(cell, float | int) else np.nan for cell in column], dtype=np.float64)
        if self.scale:
            out[:, 0] = np.nan_to_num((numbers - self.mean) / self.scale).clip(-_FARTHEST, _FARTHEST)
        if self.has_missing:
            out[:, 1] = np.isnan(numbers)
        return out


def _word(cell: Attribute) -> str:
    return cell if isinstance(cell, str) else repr(float(cell or 0.0))


def _fitted(graphs: Iterable[Graph], *, of_nodes: bool) -> tuple[_Column, ...]:
    """Returns the columns of attributes that vary, by name."""
    cells: dict[str, list[Attribute]] = {}
    n = 0
    for graph in graphs:
        length = graph.n_nodes if of_nodes else len(graph.edges)
        for name, column in (graph.nodes if of_nodes else graph.links).items():
            known = cells.setdefault(name, [])
            known += [None] * (n - len(known))
            known += column
        n += length
    made = []
    for name, column in sorted(cells.items()):
        column += [None] * (n - len(column))
        known = [cell for cell in column if cell is not None]
        words = any(isinstance(cell, str) for cell in known)
        counts = Counter(_word(cell) for cell in known)
        if not known or (len(counts) < 2 and len(known) == n):
            continue  # what never varies tells nothing
        if words or (not of_nodes and len(counts) <= _FEW):
            most = _MOST_CATEGORIES if of_nodes else _MOST_RELATIONS
            frequent = sorted(counts, key=lambda word: (-counts[word], word))
            made.append(_Column(name, tuple(sorted(frequent[:most])), has_others=len(frequent) > most))
            continue
        numbers = np.array(known, dtype=np.float64)
        spread = float(numbers.std()) if of_nodes else float(np.sqrt(np.square(numbers).mean()))
        mean = float(numbers.mean()) if of_nodes else 0.0  # where there is no edge stands 0
        scale = spread if spread > 1e-9 * max(abs(mean), 1e-9) else 0.0
        made.append(_Column(name, mean=mean, scale=scale, has_missing=of_nodes and len(known) < n))
    return tuple(made)


class GraphPreprocessor(Preprocessor):
    """p_i = [attributes of node i, A_1[i, :], ..., A_e[i, :]]: a node is a position, with its row of each matrix.

    Numbers of nodes are standardised, words are one channel each (32 at most, rarer ones share one), both by training
    nodes; what never varies is left out. A_1 counts the edges between two nodes. Each word of an edge has a matrix of
    its own (8 at most), so has each of up to 4 different numbers; other numbers of edges stand in one, in units of
    their root mean square. Where training graphs are directed all matrices come twice: of edges out, and in.

    Args:
        max_nodes: The largest number of nodes. As many are read as 99 % of the training graphs have, at most these: of
            a larger graph those that a breadth-first walk from the node of most edges meets first
            (`profuse.data.graphs.walk_order`).

    Shape:
        Graphs to `[row, node, n_attributes + n_relations * most nodes]`, and mask `[row, node]`.
    """

    takes = "graph"
    bound = "max_nodes"

    def __init__(self, *, max_nodes: int = 64) -> None:
        if max_nodes < 1:
            raise ConfigError(f"{_WHO}: max_nodes must be at least 1; got max_nodes={max_nodes}.")
        self.max_nodes = max_nodes

    def fit(self, data: ModalityData) -> None:
        """Learns which words there are, means and deviations, and how many nodes are read."""
        graphs = graphs_of(data, where=_WHO)
        if not graphs:
            raise DataError(f"{_WHO}: at least one training row must have a graph; got 0 of {len(data)}.")
        self._nodes = _fitted(graphs.values(), of_nodes=True)
        self._links = _fitted(graphs.values(), of_nodes=False)
        self.is_directed = any(graph.is_directed for graph in graphs.values())
        sizes = np.array([graph.n_nodes for graph in graphs.values()])
        self._describe(min(self.max_nodes, int(np.ceil(np.percentile(sizes, 99)))))
        n_cut = int((sizes > self.max_nodes).sum())
        message = f"{n_cut} of {len(sizes)} graphs have more than {self.max_nodes} nodes: that many are read"
        self.notes = (f"{message}; `max_length` in the schema sets it.",) if n_cut else ()

    def _describe(self, n_nodes: int) -> None:
        n_attributes = sum(column.width for column in self._nodes)
        n_relations = (1 + sum(column.width for column in self._links)) * (1 + self.is_directed)
        self.spec = Spec(
            kind="graph",
            n_channels=n_attributes + n_relations * n_nodes,
            n_attributes=n_attributes,
            n_relations=n_relations,
            max_length=n_nodes,
        )

    def transform(self, data: ModalityData) -> Raw:
        """Returns float32 values; absent rows hold 0.

        Raises:
            DataError: A row is no graph.
        """
        graphs, most = graphs_of(data, where=_WHO), self.spec.max_length
        graphs = {row: g if g.n_nodes <= most else g.kept(walk_order(g)[:most]) for row, g in graphs.items()}
        longest = max((graph.n_nodes for graph in graphs.values()), default=1)
        values = np.zeros((len(data), longest, self.spec.n_channels), dtype=np.float32)
        mask = np.zeros((len(data), longest), dtype=bool)
        for row, graph in graphs.items():
            values[row, : graph.n_nodes] = self._row(graph)
            mask[row, : graph.n_nodes] = True
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))

    def _row(self, graph: Graph) -> np.ndarray:
        """Returns `[node, channel]`."""
        n, m = graph.n_nodes, len(graph.edges)
        features = [column.channels(graph.nodes.get(column.name), n) for column in self._nodes]
        weights = np.concatenate([np.ones((m, 1)), *(c.channels(graph.links.get(c.name), m) for c in self._links)], 1)
        a, b = graph.edges[:, 0], graph.edges[:, 1]
        out = np.zeros((n, self.spec.max_length, weights.shape[1]))
        into = np.zeros_like(out) if self.is_directed else out
        np.add.at(out, (a, b), weights)
        apart = np.flatnonzero(a != b) if into is out else np.arange(m)  # an edge to the node itself counts once
        np.add.at(into, (b[apart], a[apart]), weights[apart])
        if self.is_directed and not graph.is_directed:  # its edges lead both ways
            out = into = np.where(np.eye(n, self.spec.max_length)[..., None] > 0, out, out + into)
        matrices = np.concatenate([out, into], axis=2) if self.is_directed else out
        return np.concatenate([*features, matrices.transpose(0, 2, 1).reshape(n, -1)], axis=1)

    def state(self) -> dict[str, Any]:
        return {
            "max_nodes": self.max_nodes,
            "n_nodes": self.spec.max_length,
            "is_directed": self.is_directed,
            "nodes": [{**asdict(column), "categories": list(column.categories)} for column in self._nodes],
            "links": [{**asdict(column), "categories": list(column.categories)} for column in self._links],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls(max_nodes=int(state["max_nodes"]))
        new.is_directed = bool(state["is_directed"])
        new._nodes, new._links = (
            tuple(_Column(**{**column, "categories": tuple(column["categories"])}) for column in state[part])
            for part in ("nodes", "links")
        )
        new._describe(int(state["n_nodes"]))
        return new
