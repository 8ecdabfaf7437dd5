"""Graphs: molecules, networks, small meshes; from files, SMILES or objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from profuse.data.graphs import walk_order
from profuse.data.media.graph_files import GRAPH_ENDINGS, GRAPH_SUFFIXES, read_graph, to_graph
from profuse.data.media.molecules import read_smiles
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Graph, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._units import stretches
from profuse.kinds.noise.graphs import GRAPHS

__all__ = ["GRAPH", "GraphKind"]

_SIDE = 480  # pixels of a picture
_MOST_DRAWN = 150  # nodes of a picture
_N_STEPS = 120  # of a drawing's springs


class GraphKind(Kind):
    """Texts of graphs (`profuse.kinds.Graph.text`): nodes, edges, what both have; their order means nothing."""

    name = "graph"
    noun = "graphs"
    suffixes = GRAPH_SUFFIXES
    preprocessor = "graph"
    feature_sets = ("graph",)
    encoder = "gin"
    corruptions = GRAPHS
    usual = ("cut", "replaced")

    def check(self, value: Any) -> Any:
        """Returns the text of a graph that is given as an object, as JSON or as SMILES."""
        return _read(value, lambda remark: None).text

    def names_file(self, cell: Any) -> bool:
        return isinstance(cell, str) and cell.strip().lower().endswith(GRAPH_ENDINGS)

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        def one(cell: Any) -> str:
            if self.names_file(cell):
                return read_graph(cells.path(cell), tell=cells.tell).text
            return _read(cell, cells.tell).text

        values = cells.each(columns[0], one, self.noun)
        return ModalityData(self.name, object_array(values), np.array([v is not None for v in values], dtype=bool))

    def read_arrays(self, given: Given) -> ModalityData:
        remarks: dict[str, list[int]] = {}
        values: list[str | None] = [None] * len(given.values)
        for row, value in given.rows:
            try:
                values[row] = _read(value, lambda remark, row=row: remarks.setdefault(remark, []).append(row)).text  # type: ignore[misc]
            except (DataError, TypeError, ValueError) as error:
                raise DataError(
                    f"modality {given.name!r}, row {row} (counted from 0): {str(error).rstrip('.')}. Correct it."
                ) from error
        told = [f"Modality {given.name!r}, {tell_rows(rows)}: {remark}." for remark, rows in remarks.items()]
        given.notes.extend(told)
        return ModalityData(self.name, object_array(values), given.present)

    def describe(self, spec: Spec) -> str:
        return f"up to {spec.max_length} nodes of {spec.n_attributes} channels, {spec.n_relations} kind(s) of edge"

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        graphs = [Graph.parse(data.values[i]) for i in rows]
        return {
            "nodes": np.array([g.n_nodes for g in graphs], dtype=np.int64),
            "edges": np.array([len(g.edges) for g in graphs], dtype=np.int64),
        }

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Nodes, or groups of nodes that a walk meets together. `where` holds their numbers."""
        graph = Graph.parse(data.values[row])
        walk = walk_order(graph)
        groups = [np.sort(walk[a:b]) for a, b in stretches(graph.n_nodes, most)]
        return [Unit(_label(graph, group), tuple(group.tolist())) for group in groups]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Leaves nodes out, with their edges."""
        graph = Graph.parse(data.values[row])
        made = []
        for of in kept:
            there = np.array([int(i) for unit, keeps in zip(units, of, strict=True) if keeps for i in unit.where])
            made.append(graph.kept(np.sort(there.astype(np.int64))).text if len(there) else data.values[row])
        return replace(super().keep(data, row, units, kept), values=object_array(made))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """The graph as springs pull it; of one of more than 150 nodes those that its walk meets first."""
        from PIL import Image, ImageDraw

        graph = Graph.parse(data.values[row])
        shown = walk_order(graph)[:_MOST_DRAWN]
        part, place = graph.kept(shown), {int(node): i for i, node in enumerate(shown)}
        at, height = _laid_out(part)
        image = Image.new("RGB", (_SIDE, round(_SIDE * height)), "white")
        pen, radius = ImageDraw.Draw(image), max(4.0, min(13.0, _SIDE / 6 / len(shown) ** 0.5))
        pixels = [tuple(point) for point in (at * _SIDE).tolist()]
        for a, b in part.edges.tolist():
            pen.line([pixels[a], pixels[b]], fill=(120, 120, 120), width=2)
        words = _words(part)
        for i, (x, y) in enumerate(pixels):
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill="white", outline=(60, 60, 60), width=2)
            if words and radius > 8:
                word = words[i][:2].encode("latin-1", "replace").decode("latin-1")
                pen.text((x - 3 * len(word), y - 5), word, fill=(20, 20, 20))
        sides, boxes = np.array([1.0, height]), []
        for unit in units:
            of = [at[place[int(i)]] / sides for i in unit.where if int(i) in place]
            margin = radius / _SIDE / sides if of else np.zeros(2)
            low, high = (np.min(of, axis=0), np.max(of, axis=0)) if of else (np.zeros(2), np.zeros(2))
            (left, top), (right, bottom) = low - margin, high + margin
            boxes.append((float(left), float(right), float(top), float(bottom)))
        note = f"{len(shown)} of {graph.n_nodes} nodes are shown" if len(shown) < graph.n_nodes else ""
        return Drawing(picture=np.asarray(image), boxes=boxes, note=note)

    def number_columns(self, name: str, data: ModalityData) -> Iterator[tuple[str, np.ndarray, bool]]:
        """How many nodes and edges there are."""
        counts = np.full((2, len(data)), np.nan)
        index = np.flatnonzero(data.present)
        counts[:, index] = np.stack(list(self.sizes(data, index).values()))
        yield f"{name!r}, number of nodes", counts[0], False
        yield f"{name!r}, number of edges", counts[1], False


def _read(value: Any, tell: Callable[[str], None]) -> Graph:
    """Returns the graph of an object, of a JSON text, or of SMILES."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        return read_smiles(value.strip())
    return to_graph(value, tell=tell)


def _words(graph: Graph) -> list[str]:
    """Returns the first attribute of nodes that holds words; nothing where there is none."""
    for column in graph.nodes.values():
        if any(isinstance(cell, str) for cell in column):
            return ["" if cell is None else str(cell) for cell in column]
    return []


def _label(graph: Graph, group: np.ndarray) -> str:
    words, degrees = _words(graph), graph.degrees()
    told = [f"{words[i]} {i}" if words else f"{i}" for i in group.tolist()]
    if len(told) == 1:
        n = int(degrees[group[0]])
        return f"node {told[0]}, {n} edge{'' if n == 1 else 's'}"
    return f"{len(told)} nodes: {', '.join(told[:4])}{', ...' if len(told) > 4 else ''}"


def _laid_out(graph: Graph) -> tuple[np.ndarray, float]:
    """Returns places `[node, 2]`, in units of the width, and the height: nodes push apart, edges pull, from a circle.

    Reference:
        Fruchterman and Reingold 1991, Graph drawing by force-directed placement.
    """
    n = graph.n_nodes
    angle = 2 * np.pi * np.arange(n) / n
    at = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    joined = np.zeros((n, n))
    a, b = graph.both_ways()
    joined[a, b] = 1.0
    np.fill_diagonal(joined, 0.0)
    length = 2.0 / max(n, 1) ** 0.5
    for step in range(_N_STEPS):
        off = at[:, None] - at[None]
        apart = np.maximum(np.sqrt(np.square(off).sum(axis=2)), 1e-3)
        force = length**2 / apart - joined * apart**2 / length
        move = (off / apart[..., None] * force[..., None]).sum(axis=1) - 0.1 * at  # parts stay near the middle
        far = np.maximum(np.sqrt(np.square(move).sum(axis=1, keepdims=True)), 1e-9)
        at = at + move / far * np.minimum(far, 0.15 * (1 - step / _N_STEPS))
    at = at - at.mean(axis=0)
    at = at @ np.linalg.svd(at, full_matrices=False)[2].T if n > 1 else at  # the long axis lies flat
    low, size = at.min(axis=0), np.ptp(at, axis=0)
    side = max(float(size.max()), 1e-9)
    height = float(np.clip(0.9 * size[1] / side + 0.1, 0.3, 1.0))
    return np.array([0.5, height / 2]) + 0.9 * (at - low - size / 2) / side, height


GRAPH = GraphKind()
