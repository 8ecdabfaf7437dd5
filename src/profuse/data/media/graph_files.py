"""One graph from a JSON, GraphML, GML or mesh file, or from an object; each fault is a `DataError` without a place."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from profuse._files import check_size
from profuse.data.graphs import made_graph
from profuse.data.media.mesh_files import MESH_SUFFIXES, mesh_of
from profuse.data.media.source import Tell, read_bytes, warn
from profuse.errors import DataError
from profuse.kinds import Graph

__all__ = ["GRAPH_ENDINGS", "GRAPH_SUFFIXES", "read_graph", "to_graph"]

GRAPH_SUFFIXES = (".graphml", ".gml", *MESH_SUFFIXES)
"""A column of such names holds graphs."""

GRAPH_ENDINGS = (*GRAPH_SUFFIXES, ".json", ".ply")
"""A cell that ends so is the name of a file, where the column is told to hold graphs."""

_PER_BYTE = 20.0  # bytes in memory of one of a file, about
_DEEPEST = 64
_TOP = "graph"  # the element of GraphML, and the key of GML
_NUMBERS = ("boolean", "int", "long", "float", "double")
_GML = re.compile(rb'\s+|#[^\n]*\n?|"([^"]*)"|([\[\]])|([^\s\[\]"]+)')


def read_graph(path: Path, *, tell: Tell = warn) -> Graph:
    """Returns the graph of a file, told by its bytes: node-link JSON, GraphML, GML, or a mesh in OBJ, OFF, PLY or STL.

    Args:
        path: The file.
        tell: Called with what could be doubted: attributes that are left out.

    Raises:
        DataError: It is none of them, it is damaged, or it is too large.
    """
    data = read_bytes(path)
    check_size(_PER_BYTE * len(data), "the graph")
    mesh = mesh_of(data, path.suffix.lower(), tell=tell)
    if mesh is not None:
        return mesh
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"{":
        return _from_json(data, tell)
    if start[:1] == b"<":
        return _from_graphml(data, tell)
    if re.match(rb"(#[^\n]*\s+|\w+\s+(\"[^\"]*\"|[\w.]+)\s+)*graph\s*\[", start):
        return _from_gml(data, tell)
    raise DataError(
        "the graph is broken, or none of node-link JSON, GraphML, GML, OFF, OBJ, PLY, STL: its first bytes are "
        f"{data[:8]!r}"
    )


def to_graph(value: Any, *, tell: Tell = warn) -> Graph:
    """Returns a graph given as an object.

    Args:
        value: A mapping with nodes and edges (or links), as networkx writes node-link data; the text of one; a graph
            of networkx; or what has an `edge_index` as graphs of PyTorch Geometric do.
        tell: Called with what could be doubted.

    Raises:
        DataError: It is none of them.
    """
    if isinstance(value, Graph):
        return value
    if isinstance(value, str):
        return _from_json(value.encode("utf-8", "surrogatepass"), tell)
    left_out: set[str] = set()
    if isinstance(value, Mapping):
        graph = _node_link(value, left_out)
    elif getattr(value, "edge_index", None) is not None:
        graph = _edge_index(value, left_out)
    elif callable(getattr(value, "is_directed", None)) and hasattr(value, "nodes") and hasattr(value, "edges"):
        nodes = [(name, held) for name, held in value.nodes(data=True)]
        edges = [(a, b, held) for a, b, held in value.edges(data=True)]
        graph = made_graph(nodes, edges, is_directed=bool(value.is_directed()), left_out=left_out)
    else:
        raise DataError(
            "a graph must be a mapping with nodes and edges, its JSON, a graph of networkx or one with an edge_index; "
            f"got {type(value).__name__}"
        )
    _tell_left_out(left_out, tell)
    return graph


def _tell_left_out(left_out: set[str], tell: Tell) -> None:
    if left_out:
        names = ", ".join(repr(name[:40]) for name in sorted(left_out)[:3])
        tell(f"attributes that are neither numbers nor words are not read ({names})")


def _from_json(data: bytes, tell: Tell) -> Graph:
    try:
        value = json.loads(data.decode("utf-8-sig", "strict"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"the graph is broken: it is no JSON ({str(error)[:80]})") from error
    if not isinstance(value, dict):
        raise DataError(f"the graph must be a JSON object with nodes and edges; got {type(value).__name__}")
    if set(value) == {"n", "directed", "edges", "node", "edge"}:  # the text of a `Graph`
        return _canonical(value)
    return to_graph(value, tell=tell)


def _canonical(value: dict[str, Any]) -> Graph:
    n, pairs, of_nodes, of_edges = value["n"], value["edges"], value["node"], value["edge"]
    if (
        not isinstance(n, int)
        or not isinstance(pairs, list)
        or not isinstance(of_nodes, dict)
        or not isinstance(of_edges, dict)
    ):
        raise DataError("the graph is broken: its n, edges, node or edge are of another type")
    columns = [(of_nodes, n), (of_edges, len(pairs))]
    if any(
        not isinstance(column, list) or len(column) != length for held, length in columns for column in held.values()
    ):
        raise DataError("the graph is broken: an attribute must have one value for each node or edge")
    nodes = [(i, {name: column[i] for name, column in of_nodes.items()}) for i in range(n)]
    edges = [(*_pair(pair, i), {k: v[i] for k, v in of_edges.items()}) for i, pair in enumerate(pairs)]
    return made_graph(nodes, edges, is_directed=bool(value["directed"]), left_out=set())


def _pair(item: Any, i: int) -> tuple[Any, Any]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise DataError(f"edge {i} must have a source and a target; got {str(item)[:60]}")
    return item[0], item[1]


def _node_link(value: Mapping[str, Any], left_out: set[str]) -> Graph:
    held_edges = value.get("edges", value.get("links"))
    held_nodes = value.get("nodes")
    for what, held in (("nodes", held_nodes), ("edges (or links)", held_edges)):
        if not isinstance(held, list | tuple):
            raise DataError(
                f"a graph must have a list called {what}; got {', '.join(map(str, value))[:80] or 'nothing'}"
            )
    nodes: list[tuple[Any, Mapping[Any, Any]]] = []
    for i, item in enumerate(held_nodes or ()):
        if isinstance(item, Mapping):
            nodes.append((item.get("id", i), {k: v for k, v in item.items() if k != "id"}))
        else:
            nodes.append((item, {}))
    edges: list[tuple[Any, Any, Mapping[Any, Any]]] = []
    for i, item in enumerate(held_edges or ()):
        if isinstance(item, Mapping):
            if "source" not in item or "target" not in item:
                raise DataError(f"edge {i} must have a source and a target; got {', '.join(map(str, item))[:60]}")
            rest = {k: v for k, v in item.items() if k not in ("source", "target", "key")}
            edges.append((item["source"], item["target"], rest))
        else:
            edges.append((*_pair(item, i), {}))
    return made_graph(nodes, edges, is_directed=bool(value.get("directed", False)), left_out=left_out)


def _edge_index(value: Any, left_out: set[str]) -> Graph:
    index = np.asarray(value.edge_index)
    if index.ndim != 2 or index.shape[0] != 2 or index.dtype.kind not in "iu":
        raise DataError(f"edge_index must be integers [2, edge]; got {index.dtype}{index.shape}")
    x, more = getattr(value, "x", None), getattr(value, "edge_attr", None)
    of_nodes = None if x is None else np.asarray(x).reshape(len(x), -1)
    of_edges = None if more is None else np.asarray(more).reshape(len(more), -1)
    if of_edges is not None and len(of_edges) != index.shape[1]:
        raise DataError(f"edge_attr must have a row for each of {index.shape[1]} edges; got {len(of_edges)}")
    n = len(of_nodes) if of_nodes is not None else int(getattr(value, "num_nodes", None) or index.max(initial=-1) + 1)
    rows = [{} if of_edges is None else {"attr": row} for row in (index.T if of_edges is None else of_edges)]
    edges = list(zip(index[0].tolist(), index[1].tolist(), rows, strict=True))
    told = [(a, b, str(row.get("attr"))) for a, b, row in edges]
    is_directed = sorted(told) != sorted((b, a, row) for a, b, row in told)
    if not is_directed:  # both directions are there: one is enough
        edges = [edge for edge in edges if edge[0] <= edge[1]]
    nodes = [(i, {} if of_nodes is None else {"x": of_nodes[i]}) for i in range(n)]
    return made_graph(nodes, edges, is_directed=is_directed, left_out=left_out)


class _GraphML:
    """What the events of a GraphML file make. Entities are refused, so that nothing can grow."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, str]] = {}
        self.defaults: dict[str, dict[str, Any]] = {"node": {}, "edge": {}}
        self.nodes: list[tuple[str, dict[str, Any]]] = []
        self.edges: list[tuple[str, str, dict[str, Any]]] = []
        self.is_directed: bool | None = None
        self.left_out: set[str] = set()
        self._path: list[str] = []
        self._held: dict[str, Any] | None = None
        self._key, self._default = "", ("", "", "")
        self._words: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rsplit(":", 1)[-1]
        self._path.append(name)
        self._words = []
        if len(self._path) > _DEEPEST:
            raise DataError("the GraphML file is nested too deeply")
        if name == _TOP:
            if self.is_directed is not None:
                raise DataError("the GraphML file must hold one graph; got several")
            self.is_directed = attributes.get("edgedefault") == "directed"
        elif name == "key":
            told = attributes.get("attr.name") or attributes.get("id", "")
            self.keys[attributes.get("id", "")] = told, attributes.get("attr.type", "string")
            self._default = attributes.get("for", "all"), told, attributes.get("attr.type", "string")
        elif name == "node":
            self._held = {}
            self.nodes.append((attributes.get("id", ""), self._held))
        elif name == "edge":
            self._held = {}
            self.edges.append((attributes.get("source", ""), attributes.get("target", ""), self._held))
        elif name == "data":
            self._key = attributes.get("key", "")

    def end(self, name: str) -> None:
        name, words = name.rsplit(":", 1)[-1], "".join(self._words).strip()
        self._path.pop()
        if name == "data" and self._held is not None:
            told, kind = self.keys.get(self._key, (self._key, "string"))
            self._held[told] = _typed(words, kind)
        elif name == "default":
            use, told, kind = self._default
            for what in ("node", "edge"):
                if use in (what, "all"):
                    self.defaults[what][told] = _typed(words, kind)
        elif name in ("node", "edge"):
            self._held = None
        self._words = []

    def text(self, words: str) -> None:
        if self._path and self._path[-1] in ("data", "default"):
            self._words.append(words)


def _typed(words: str, kind: str) -> Any:
    if kind not in _NUMBERS:
        return words
    if kind == "boolean" or not words:
        return None if not words else words.lower() in ("true", "1")
    try:
        return float(words)
    except ValueError as error:
        raise DataError(f"an attribute of type {kind} must be a number; got {words[:40]!r}") from error


def _from_graphml(data: bytes, tell: Tell) -> Graph:
    def refused(*_: Any) -> None:
        raise DataError("the GraphML file has a document type or entities, which are not read; leave them out")

    made, parser = _GraphML(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = made.start, made.end
    parser.CharacterDataHandler = made.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refused
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DataError(f"the GraphML file is broken: {error}") from error
    if made.is_directed is None:
        raise DataError("the GraphML file must have an element called graph")
    nodes = [(name, {**made.defaults["node"], **held}) for name, held in made.nodes]
    edges = [(a, b, {**made.defaults["edge"], **held}) for a, b, held in made.edges]
    graph = made_graph(nodes, edges, is_directed=made.is_directed, left_out=made.left_out)
    _tell_left_out(made.left_out, tell)
    return graph


def _from_gml(data: bytes, tell: Tell) -> Graph:
    held = dict(_gml_items(_gml_words(data), 0)).get(_TOP)
    if not isinstance(held, list):
        raise DataError("the GML file must hold a graph [...]")
    nodes: list[tuple[Any, dict[str, Any]]] = []
    edges: list[tuple[Any, Any, dict[str, Any]]] = []
    is_directed = False
    for key, value in held:
        if key == "directed":
            is_directed = bool(value)
        elif key in ("node", "edge"):
            items = dict(value) if isinstance(value, list) else {}
            needed = ("id",) if key == "node" else ("source", "target")
            if any(name not in items for name in needed):
                raise DataError(
                    f"a {key} of the GML file must have {' and '.join(needed)}; got {', '.join(items)[:60]}"
                )
            ends = [items.pop(name) for name in needed]
            items.pop("key", None)
            if key == "node":
                items.pop("label", None)  # the name of a node
                nodes.append((ends[0], items))
            else:
                edges.append((ends[0], ends[1], items))
    left_out: set[str] = set()
    graph = made_graph(
        [(name, _plain(items)) for name, items in nodes],
        [(a, b, _plain(items)) for a, b, items in edges],
        is_directed=is_directed,
        left_out=left_out,
    )
    _tell_left_out(left_out, tell)
    return graph


def _plain(items: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes; what holds others is none that is read."""
    return {key: {} if isinstance(value, list) else value for key, value in items.items()}


def _gml_words(data: bytes) -> Iterator[bytes]:
    """Gives the words of a GML file: those in quotes with them."""
    at = 0
    while at < len(data):
        match = _GML.match(data, at)
        if match is None:
            raise DataError(f"the GML file is broken at byte {at}: quotes have no end")
        at = match.end()
        if match[0].strip() and not match[0].startswith(b"#"):
            yield match[0]


def _gml_items(words: Iterator[bytes], depth: int) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        raise DataError("the GML file is nested too deeply")
    for word in words:
        if word == b"]":
            if depth == 0:
                raise DataError("the GML file is broken: it has a ] too many")
            return
        value = next(words, None)
        if word == b"[" or value in (None, b"]"):
            raise DataError(f"the GML file is broken: {word[:40]!r} has no value")
        yield word.decode("utf-8", "replace"), _gml_value(value or b"", words, depth)
    if depth:
        raise DataError("the GML file is broken: a [ has no end")


def _gml_value(word: bytes, words: Iterator[bytes], depth: int) -> Any:
    if word == b"[":
        return list(_gml_items(words, depth + 1))
    if word.startswith(b'"'):
        return html.unescape(word[1:-1].decode("utf-8", "replace"))
    read: Callable[[bytes], float] = int if re.fullmatch(rb"[+-]?\d{1,18}", word) else float
    try:
        return read(word)
    except ValueError as error:
        raise DataError(f"the GML file must hold numbers or words in quotes; got {word[:40]!r}") from error
