"""Graphs from files and objects: what networkx has written is read, and what is broken is one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from profuse.data.media.graph_files import read_graph, to_graph
from profuse.data.media.molecules import read_smiles
from profuse.errors import DataError, MissingDependencyError
from profuse.kinds import Graph

nx = pytest.importorskip("networkx")


def shown(graph: Graph) -> tuple[Any, ...]:
    """What a graph holds, comparable whatever the order of its edges."""
    nodes = [{k: v[i] for k, v in graph.nodes.items() if v[i] is not None} for i in range(graph.n_nodes)]
    ends = [tuple(e) if graph.is_directed else tuple(sorted(e)) for e in graph.edges.tolist()]
    edges = [(*e, sorted((k, v[i]) for k, v in graph.links.items() if v[i] is not None)) for i, e in enumerate(ends)]
    return graph.is_directed, nodes, sorted(edges)


def of_networkx(graph: Any) -> tuple[Any, ...]:
    place = {name: i for i, name in enumerate(graph.nodes)}
    ends = [(place[a], place[b], sorted(held.items())) for a, b, held in graph.edges(data=True)]
    edges = [e if graph.is_directed() else (*sorted(e[:2]), e[2]) for e in ends]
    return graph.is_directed(), [dict(held) for _, held in graph.nodes(data=True)], sorted(edges)


def written(make: str) -> Any:
    """A graph with numbers, words, and attributes that some lack, as `make` of networkx."""
    rng, graph = np.random.default_rng(1), getattr(nx, make)()
    for i in range(7):
        graph.add_node(f"n<{i}>", element="CNO"[i % 3], charge=float(rng.normal()))
    graph.nodes["n<2>"]["word"] = 'a "quoted" & odd é'
    for i in range(7):
        graph.add_edge(f"n<{i}>", f"n<{(3 * i + 1) % 7}>", order=1 + i % 2)
    return graph


def save_json(graph: Any, path: Path) -> None:
    path.write_text(json.dumps(nx.node_link_data(graph, edges="links" if graph.is_directed() else "edges")))


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "graph.json": save_json,
    "graph.graphml": lambda graph, path: nx.write_graphml_xml(graph, path),
    "graph.gml": lambda graph, path: nx.write_gml(graph, path),
}


@pytest.mark.parametrize("make", ["Graph", "DiGraph"])
@pytest.mark.parametrize("name", WRITERS)
def test_what_networkx_has_written_is_read_as_networkx_holds_it(name: str, make: str, tmp_path: Path) -> None:
    graph = written(make)
    WRITERS[name](graph, tmp_path / name)
    told: list[str] = []
    found = read_graph(tmp_path / name, tell=told.append)
    assert shown(found) == of_networkx(graph)
    assert shown(to_graph(graph)) == of_networkx(graph)
    assert shown(Graph.parse(found.text)) == shown(found) == shown(to_graph(found.text))
    assert told == []


def test_a_mesh_is_its_corners_and_the_sides_of_its_faces(tmp_path: Path) -> None:
    (tmp_path / "m.off").write_text(
        "OFF # a pyramid\n5 3 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n.5 .5 2.5\n4 0 1 2 3\n3 0 1 4\n3 2 1 4\n"
    )
    graph = read_graph(tmp_path / "m.off")
    z = np.array(graph.nodes["z"], dtype=float)
    assert z[4] - z[0] > 0
    assert z[:4].tolist() == [z[0]] * 4
    assert graph.edges.tolist() == [[0, 1], [0, 3], [0, 4], [1, 2], [1, 4], [2, 3], [2, 4]]


def test_a_graph_of_an_edge_index_has_each_edge_once_where_both_directions_are_there() -> None:
    index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    x, attr = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([7.0, 7.0, 8.0, 8.0])
    graph = to_graph(SimpleNamespace(x=x, edge_index=index, edge_attr=attr))
    assert (graph.is_directed, graph.edges.tolist()) == (False, [[0, 1], [1, 2]])
    assert graph.nodes == {"x[0]": [1, 3, 5], "x[1]": [2, 4, 6]}
    assert graph.links == {"attr[0]": [7, 8]}
    one_way = to_graph(SimpleNamespace(edge_index=index[:, [0, 2]], num_nodes=4))
    assert (one_way.n_nodes, one_way.is_directed) == (4, True)
    assert one_way.edges.tolist() == [[0, 1], [1, 2]]


def test_nodes_without_names_are_numbers_and_lists_of_numbers_are_attributes_of_their_own() -> None:
    told: list[str] = []
    value = {"nodes": [{"at": [1, 2.5]}, {"at": [3, float("nan")], "odd": {"a": 1}}], "edges": [[0, 1]]}
    graph = to_graph(value, tell=told.append)
    assert graph.nodes == {"at[0]": [1, 3], "at[1]": [2.5, None]}
    assert graph.edges.tolist() == [[0, 1]]
    assert told == ["attributes that are neither numbers nor words are not read ('odd')"]


KEY = '<key id="d" for="node" attr.name="w" attr.type="int"/>'
BOMB = '<!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
NODE = '<node id="a"><data key="d">many</data></node>'
BROKEN: list[tuple[str, str, str]] = [
    ("nothing", "", "the file is empty"),
    ("another file", "\x89PNG", "GraphML, GML, OFF, OBJ, PLY, STL"),
    ("cut JSON", '{"nodes": [{"id": 1}, ', "it is no JSON"),
    ("deep JSON", '{"nodes":' + "[" * 100_000, "it is no JSON"),
    ("no nodes", '{"nodes": [], "edges": []}', "a graph must have a node; got none"),
    ("no edges", '{"nodes": [1]}', r"a list called edges \(or links\); got nodes"),
    ("an end that is none", '{"nodes": [{"id": 1}], "links": [{"source": 1, "target": 2}]}', "end at a node; got 2"),
    ("no source", '{"nodes": [1], "edges": [{"target": 1}]}', "edge 0 must have a source and a target; got target"),
    ("a name twice", '{"nodes": [1, 2, 1], "edges": []}', "names of nodes must differ; got 1 twice"),
    ("a list as name", '{"nodes": [[1]], "edges": []}', r"name of a node must be a word or a number; got \[1\]"),
    ("infinite", '{"nodes": [{"id": 1, "x": 1e999}], "edges": []}', "must be finite; node 0 has the x inf"),
    ("huge", '{"nodes": [{"id": 1, "x": 1' + "0" * 400 + '}], "edges": []}', "must be finite; node 0 has the x 1000"),
    ("cut XML", "<graphml><graph>", "the GraphML file is broken"),
    ("no graph", "<graphml></graphml>", "must have an element called graph"),
    ("two graphs", "<g><graph/><graph/></g>", "must hold one graph; got several"),
    ("entities", BOMB + "<graphml/>", "a document type or entities, which are not read"),
    ("deep XML", "<a>" * 100, "nested too deeply"),
    ("words as numbers", f"<g>{KEY}<graph>{NODE}</graph></g>", "of type int must be a number; got 'many'"),
    ("GML without end", "graph [ node [ id 1 ]", r"a \[ has no end"),
    ("GML of no number", "graph [ node [ id x ] ]", "numbers or words in quotes; got b'x'"),
    ("GML without id", "graph [ node [ a 1 ] ]", "a node of the GML file must have id; got a"),
    ("deep GML", "graph [ " + "a [ " * 100, "nested too deeply"),
    ("open quotes", 'graph [ node [ id "1 ] ]', "quotes have no end"),
    ("cut mesh", "OFF\n900 1 0\n0 0 0\n", "cut off: its header tells 900 corners"),
    ("cut face", "OFF\n1 1 0\n0 0 0\n3 0\n", "a face lacks corners"),
    ("odd mesh", "OFF\n1 1 0\nx 0 0\n3 0\n", "numbers were expected"),
    ("mesh of another corner", "OFF\n1 1 0\n0 0 0\n2 0 7\n", "face 0 .* of corner 7, .* corners 0 to 0"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_file_is_one_clear_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_graph(tmp_path / "g", tell=print)


def test_a_graph_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="at most 20,000 nodes; got 20,001"):
        to_graph({"nodes": list(range(20_001)), "edges": []})
    with pytest.raises(DataError, match="at most 200,000 edges; got 200,001"):
        to_graph({"nodes": [0], "edges": [[0, 0]] * 200_001})
    with pytest.raises(DataError, match="at most 512 attributes"):
        to_graph({"nodes": [{"x": [1.0] * 513}], "edges": []})
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "600")
    (tmp_path / "g.json").write_text('{"nodes": [1], "edges": []}' + " " * 50)
    with pytest.raises(DataError, match="takes .* in memory, and the limit is 600 bytes"):
        read_graph(tmp_path / "g.json")


@pytest.mark.parametrize("name", WRITERS)
def test_no_cut_or_changed_byte_gives_another_kind_of_error(name: str, tmp_path: Path) -> None:
    graph, rng = nx.cycle_graph(4), np.random.default_rng(0)
    nx.set_node_attributes(graph, {i: i * 1.5 for i in range(4)}, "size")
    WRITERS[name](graph, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for i in range(60):
        odd = bytearray(data[: int(rng.integers(1, len(data)))] if i % 2 else data)
        if not i % 2:
            odd[int(rng.integers(len(odd)))] = int(rng.integers(256))
        (tmp_path / name).write_bytes(bytes(odd))
        try:
            read = read_graph(tmp_path / name, tell=lambda remark: None)
        except DataError:
            continue
        assert read.n_nodes >= 1
        assert ((read.edges >= 0) & (read.edges < read.n_nodes)).all()
        assert {len(column) for column in read.nodes.values()} <= {read.n_nodes}
        assert {len(column) for column in read.links.values()} <= {len(read.edges)}


def test_smiles_are_molecules_where_rdkit_is_installed() -> None:
    pytest.importorskip("rdkit", reason="rdkit is not installed")
    graph = read_smiles("c1ccccc1[NH3+]")
    assert graph.nodes["element"] == ["C"] * 6 + ["N"]
    assert graph.nodes["charge"] == [0] * 6 + [1]
    assert graph.nodes["hydrogens"] == [1] * 5 + [0, 3]
    assert graph.nodes["aromatic"] == graph.nodes["ring"] == [1] * 6 + [0]
    assert graph.nodes["degree"] == [2] * 5 + [3, 1]
    assert sorted(zip(graph.links["order"], graph.links["ring"], strict=True)) == [(1, 0)] + [(1.5, 1)] * 6
    for odd in ("C(C", "", "not a molecule"):
        with pytest.raises(DataError, match="no SMILES of a molecule"):
            read_smiles(odd)


def test_smiles_without_rdkit_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
    monkeypatch.setitem(__import__("sys").modules, "rdkit.Chem", None)
    with pytest.raises(MissingDependencyError, match=r"reading SMILES: .*pip install 'profuse\[graph\]'"):
        read_smiles("CCO")
