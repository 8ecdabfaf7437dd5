"""Graphs: the order of nodes means nothing, what is counted is what networkx counts, and a model learns structure."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rows_of_kinds import rows_of_kind

from profuse import FusionClassifier
from profuse.data.features.graph import GraphFeatures
from profuse.data.graph_shapes import adjacency, graph_shapes, n_shape_numbers
from profuse.data.graphs import walk_order, wl_colours
from profuse.data.media.graph_files import to_graph
from profuse.data.preprocess.graph import GraphPreprocessor
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_tensors
from profuse.encoders.graph import GraphEncoder
from profuse.errors import ConfigError, DataError, MissingDependencyError, ShapeError
from profuse.kinds import Graph, ModalityData, Spec, kind_named, object_array
from profuse.schema import Schema
from profuse.tokens import Raw

nx = pytest.importorskip("networkx")


def of(graphs: list[Any]) -> ModalityData:
    return from_tensors({"x": ("graph", graphs)}).modalities["x"]


def rings(*sizes: int, **held: Any) -> dict[str, Any]:
    starts = np.cumsum([0, *sizes])
    edges = [[int(a) + k, int(a) + (k + 1) % n] for a, n in zip(starts, sizes, strict=False) for k in range(n)]
    return {"nodes": [dict(held) for _ in range(starts[-1])], "edges": edges}


def mixed(value: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """The same graph in another order of nodes and edges."""
    rng = np.random.default_rng(seed)
    nodes = [{"id": i, **node} for i, node in enumerate(value["nodes"])]
    edges = [value["edges"][i] for i in rng.permutation(len(value["edges"]))]
    return {**value, "nodes": [nodes[i] for i in rng.permutation(len(nodes))], "edges": edges}


def drawn(seed: int, n: int = 14, p: float = 0.25) -> Any:
    """A random graph of networkx with a word and a number a node."""
    graph, rng = nx.gnp_random_graph(n, p, seed=seed), np.random.default_rng(seed)
    for i in range(n):
        graph.nodes[i].update(colour="rgb"[int(rng.integers(3))], size=float(rng.normal()))
    return graph


def test_a_row_is_the_attributes_of_a_node_and_its_rows_of_the_matrices() -> None:
    one = {
        "nodes": [{"c": "a", "x": 1.0}, {"c": "b", "x": 3.0}, {"c": "a"}],
        "edges": [{"source": a, "target": b, "k": k} for a, b, k in ((0, 1, "s"), (1, 2, "d"), (1, 0, "s"))],
    }
    made = GraphPreprocessor()
    made.fit(of([one]))
    assert (made.spec.n_attributes, made.spec.n_relations, made.spec.max_length) == (4, 3, 3)
    raw = made.transform(of([one, {"nodes": [{"c": "new", "x": 100.0}], "edges": []}]))
    x, matrices = adjacency(raw.values, raw.mask, 4, 3)
    assert x[0].tolist() == [[1, 0, -1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]  # a, b, (x - 2) / 1, x is missing
    assert matrices[0, 0].tolist() == [[0, 2, 0], [2, 0, 1], [0, 1, 0]]
    assert matrices[0, 1].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]  # d
    assert matrices[0, 2].tolist() == [[0, 2, 0], [2, 0, 0], [0, 0, 0]]  # s
    assert x[1].tolist() == [[0, 0, 20, 0], [0] * 4, [0] * 4]
    assert raw.mask.tolist() == [[True] * 3, [True, False, False]]
    weighed = GraphPreprocessor()
    strengths = [3.0, 4.0, 5.0, 6.0, 7.0]
    star = {
        "nodes": [0, 1, 2, 3, 4, 5],
        "edges": [{"source": 0, "target": k + 1, "w": w} for k, w in enumerate(strengths)],
    }
    weighed.fit(of([star]))
    row = adjacency(*(lambda r: (r.values, r.mask))(weighed.transform(of([star]))), 0, 2)[1][0, 1, 0]
    np.testing.assert_allclose(row[1:], np.array(strengths) / np.sqrt(27.0), rtol=1e-6)


def test_edges_with_a_direction_have_matrices_of_both() -> None:
    made = GraphPreprocessor()
    one_way = {"directed": True, "nodes": [0, 1, 2], "edges": [[0, 1], [1, 1]]}
    both_ways = {"nodes": [0, 1, 2], "edges": [[0, 1], [2, 2]]}
    made.fit(of([one_way]))
    raw = made.transform(of([one_way, both_ways]))
    matrices = adjacency(raw.values, raw.mask, 0, 2)[1]
    assert matrices[0, 0].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert torch.equal(matrices[0, 1], matrices[0, 0].T)
    assert matrices[1, 0].tolist() == matrices[1, 1].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_of_a_large_graph_the_same_nodes_are_read_whatever_their_order() -> None:
    graph = nx.barabasi_albert_graph(60, 2, seed=3)
    value = {"nodes": [{"x": float(i)} for i in range(60)], "edges": [list(e) for e in graph.edges]}
    made = GraphPreprocessor(max_nodes=20)
    made.fit(of([value, rings(5, x=1.0)]))
    assert made.spec.max_length == 20
    assert made.notes == (
        "1 of 2 graphs have more than 20 nodes: that many are read; `max_length` in the schema sets it.",
    )
    seen = [np.sort(made.transform(of([mixed(value, s)])).values[0, :, 0]) for s in range(3)]
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    made.fit(of([rings(4)] * 300 + [rings(9)]))  # 99 % have 4
    assert made.spec.max_length == 4
    made.fit(of([value, rings(5, x=1.0)]))
    star = {"nodes": [{"x": float(i)} for i in range(60)], "edges": [[0, i] for i in range(1, 60)]}
    seen = [np.sort(made.transform(of([mixed(star, s)])).values[0, :, 0]) for s in range(2)]
    np.testing.assert_array_equal(seen[0], seen[1])
    walk = walk_order(to_graph(value)).tolist()
    far = nx.single_source_shortest_path_length(graph, walk[0])
    assert dict(graph.degree)[walk[0]] == max(dict(graph.degree).values())
    assert [far[i] for i in walk] == sorted(far.values())
    parts = walk_order(to_graph(rings(3, 4)))
    assert sorted(parts.tolist()) == list(range(7))
    assert {*parts[:3]} == {0, 1, 2} or {*parts[:4]} == {3, 4, 5, 6}


def test_colours_part_nodes_as_those_of_networkx_do() -> None:
    for seed in range(5):
        graph = drawn(seed, n=12)
        hashes = nx.weisfeiler_lehman_subgraph_hashes(
            graph, node_attr="colour", iterations=2, include_initial_labels=True
        )
        for t, colours in enumerate(wl_colours(to_graph(graph), 2, nodes=["colour"], links=[])):
            assert (
                pd.factorize(colours)[0].tolist() == pd.factorize(np.array([hashes[i][t] for i in graph]))[0].tolist()
            )


def test_colours_tell_what_one_round_each_can_tell_and_no_more() -> None:
    def colours(value: Any) -> list[int]:
        return sorted(int(c) for c in wl_colours(to_graph(value), 3)[-1])

    assert colours(rings(6)) == colours(rings(3, 3))  # 1-WL cannot
    assert colours(nx.path_graph(4)) != colours(nx.star_graph(3))
    assert colours(rings(6, c="a")) != colours(rings(6, c="b"))
    one_way = {"directed": True, "nodes": [0, 1, 2], "edges": [[0, 1], [0, 2]]}
    assert colours(one_way) != colours({**one_way, "edges": [[1, 0], [2, 0]]})
    strong = {"nodes": [0, 1], "edges": [{"source": 0, "target": 1, "w": 2}]}
    assert colours(strong) != colours({"nodes": [0, 1], "edges": [{"source": 0, "target": 1, "w": 3}]})


@pytest.mark.parametrize("seed", [0, 1])
def test_numbers_of_a_graph_are_those_of_networkx_and_numpy(seed: int) -> None:
    graph = drawn(seed)
    made, whole = GraphPreprocessor(), GraphFeatures()
    data = of([graph, drawn(7, n=17), drawn(8, n=5, p=0.0)])
    made.fit(data)
    whole.fit(data)
    raw = made.transform(data)
    numbers = graph_shapes(raw.values.double(), raw.mask, 4, 1)[0].numpy()
    assert len(numbers) == n_shape_numbers(4, 1)
    n, m, degrees = len(graph), graph.number_of_edges(), np.array([d for _, d in graph.degree])
    triangles = sum(nx.triangles(graph).values()) / 3
    first = [np.log1p(n), np.log1p(m), m / n, triangles / n, np.log1p(triangles), nx.transitivity(graph)]
    np.testing.assert_allclose(numbers[:8], [*first, degrees.mean(), degrees.std()], atol=1e-6)
    np.testing.assert_allclose(numbers[8:17], np.bincount(np.minimum(degrees, 8), minlength=9) / n, atol=1e-6)
    joined = nx.to_numpy_array(graph)
    step = joined / (1 + degrees[:, None])
    walks = np.stack([np.diag(np.linalg.matrix_power(step, k)) for k in range(2, 9)], 1)
    np.testing.assert_allclose(numbers[17:31], [*walks.mean(0), *walks.std(0)], atol=1e-6)
    x = raw.values[0, :n, :4].double().numpy()
    np.testing.assert_allclose(numbers[31:44], [*x.mean(0), *x.std(0), *x.sum(0) / 10, 2 * m / n], atol=1e-6)
    products = (x.T @ joined @ x / (2 * m))[np.triu_indices(4)]
    np.testing.assert_allclose(numbers[44:], products, atol=1e-6)
    more = whole.transform(data)[0, len(numbers) :]
    np.testing.assert_allclose(more[:3], np.log1p([n, m, nx.number_connected_components(graph)]))
    np.testing.assert_allclose(more[3:11], np.sort(nx.normalized_laplacian_spectrum(graph))[::-1][:8], atol=1e-9)
    colours = wl_colours(to_graph(graph), 2, nodes=["colour"], links=[])
    counts = [np.bincount((c % np.uint64(64)).astype(int), minlength=64) for c in colours]
    np.testing.assert_allclose(np.expm1(more[11:]), np.concatenate(counts), atol=1e-9)


def test_the_order_of_nodes_and_edges_changes_nothing() -> None:
    values = rows_of_kind("graph")
    data, other = of(values), of([mixed(v, i) for i, v in enumerate(values)])
    made, described = GraphPreprocessor(), GraphFeatures()
    for part in (made, described):
        part.fit(data)
    np.testing.assert_allclose(described.transform(data), described.transform(other), atol=1e-5)
    torch.manual_seed(0)
    encoder = GraphEncoder.make(made.spec, 16, n_rows=100).eval()
    one, two = made.transform(data), made.transform(other)
    assert not torch.allclose(one.values, two.values)
    torch.testing.assert_close(encoder(one).mean(), encoder(two).mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder.linear(one), encoder.linear(two), atol=1e-5, rtol=1e-5)


def test_an_encoder_sees_edges_their_kinds_and_what_colours_cannot_tell() -> None:
    values = [rings(6, c="a"), rings(3, 3, c="a"), rings(6, c="a"), {"nodes": [{"c": "b"}], "edges": []}]
    values[2]["edges"] = [{"source": a, "target": b, "k": "strong" if a else "weak"} for a, b in values[2]["edges"]]
    made = GraphPreprocessor()
    made.fit(of(values))
    encoder = GraphEncoder.make(made.spec, 16, n_rows=100).eval()
    embedded = encoder.embed(made.transform(of(values))).mean().detach()
    for other in (1, 2):
        assert float((embedded[0] - embedded[other]).abs().max()) > 1e-3
    square = {"nodes": [{"c": c} for c in "aabb"]}
    sorts = [dict(enumerate(k)) for k in (("s", "w", "s", "w"), ("w", "s", "w", "s"))]  # each node has one of each sort
    squares = [{**square, "edges": [{"source": i, "target": (i + 1) % 4, "k": k[i]} for i in range(4)]} for k in sorts]
    made.fit(of(squares))
    encoder = GraphEncoder.make(made.spec, 16, n_rows=100).eval()
    one, two = encoder.embed(made.transform(of(squares))).mean().detach()
    assert float((one - two).abs().max()) > 1e-3
    far = rings(9)
    far["nodes"][0] = {"c": "b"}
    made.fit(of([far, rings(9, c="a")]))
    encoder = GraphEncoder(made.spec, 16, n_layers=2).eval()
    changed = [made.transform(of([{**far, "nodes": [{"c": c}, *far["nodes"][1:]]}])) for c in "ab"]
    moved = (encoder.embed(changed[0]).values - encoder.embed(changed[1]).values).abs().amax(2)[0]
    assert (moved > 1e-7).tolist() == [True, True, True, False, False, False, False, True, True]  # two edges away


def test_wrong_sizes_and_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_nodes must be at least 1; got max_nodes=0"):
        GraphPreprocessor(max_nodes=0)
    with pytest.raises(ShapeError, match="got n_relations=0, n_channels=3. Take the spec of a fitted"):
        GraphEncoder(Spec(kind="graph", n_channels=3, max_length=9), 8)
    spec = Spec(kind="graph", n_channels=9, n_relations=1, max_length=9)
    with pytest.raises(ConfigError, match="width a multiple of n_heads.*n_heads=3, width=8"):
        GraphEncoder(spec, 8, n_heads=3)
    with pytest.raises(DataError, match=r"modality 'x', row 1 \(counted from 0\): edge 0 must end at a node; got 5"):
        of([rings(3), {"nodes": [0], "edges": [[0, 5]]}])
    with pytest.raises(DataError, match="row 0 must be the text of a graph; got ndarray"):
        GraphPreprocessor().fit(ModalityData("graph", object_array([np.ones(3)]), np.ones(1, dtype=bool)))


def structures(n: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Rings of 3 or of 4 beside a longer one: all nodes have two edges, and the numbers of nodes are alike."""
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    made = []
    for i in range(n):
        short = [3 + int(y[i])] * int(rng.integers(1, 4))
        made.append(mixed(rings(*short, max(5, 2 * int(rng.integers(6, 16)) - sum(short))), i))
    return made, y


def table_of(folder: Path, n: int) -> pd.DataFrame:
    graphs, y = structures(n)
    for i, value in enumerate(graphs):
        graph = nx.Graph()
        graph.add_nodes_from(node["id"] for node in value["nodes"])
        graph.add_edges_from(value["edges"])
        nx.write_graphml_xml(graph, folder / f"{i}.graphml")
    size = np.random.default_rng(0).normal(size=n)
    return pd.DataFrame({"net": [f"{i}.graphml" for i in range(n)], "size": size, "y": y})


def test_a_column_of_its_files_becomes_graphs_and_a_told_one_of_any_form(tmp_path: Path) -> None:
    frame = table_of(tmp_path, 6)
    frame.loc[3, "net"] = None
    data = TableReader.fit(frame, Schema.model_validate({"target": {"columns": ["y"]}}), base_dir=tmp_path)[1]
    assert data.modalities["net"].kind == "graph"
    assert data.modalities["net"].present.tolist() == [True, True, True, False, True, True]
    (tmp_path / "a.json").write_text(json.dumps({**rings(4), "nodes": [{"odd": {}}] * 4}))
    words: list[Any] = ["a.json", "1.graphml", json.dumps(rings(5)), None, "2.graphml", "4.graphml"]
    told = frame.assign(net=words)
    schema = Schema.model_validate({"target": {"columns": ["y"]}, "columns": {"net": "graph"}})
    data = TableReader.fit(told, schema, base_dir=tmp_path)[1]
    graphs = [Graph.parse(v).n_nodes for v in data.modalities["net"].values[[0, 2]]]
    assert graphs == [4, 5]
    assert any("1 row (0; counted from 0): attributes that are neither numbers nor words" in n for n in data.notes)
    objects: list[Any] = [rings(3 + i) if i % 2 else nx.path_graph(3 + i) for i in range(6)]
    held = frame.assign(net=objects)
    sizes = [Graph.parse(v).n_nodes for v in TableReader.fit(held, schema)[1].modalities["net"].values]
    assert sizes == [3, 4, 5, 6, 7, 8]
    (tmp_path / "1.graphml").write_text("<graphml>")
    with pytest.raises(DataError, match=r"row 1 .*column 'net': graphs must be readable; got '1.graphml'.*is broken"):
        TableReader.fit(told, schema, base_dir=tmp_path)


def test_a_column_of_meshes_is_graphs_and_one_of_ply_files_only_where_the_schema_says_so(tmp_path: Path) -> None:
    corners, face = ["0 0 0", "1 0 0", "0 1 0", "0 0 1"], "3 0 1 2"
    head = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    faces = "element face 1\nproperty list uchar int vertex_indices\n"
    for i in range(4):
        rows = [*corners[i:], *corners[:i]]
        obj = [f"v {row}" for row in rows] + ["f 1 2 3"]
        (tmp_path / f"{i}.obj").write_text("\n".join(obj))
        (tmp_path / f"{i}.ply").write_text("\n".join([f"{head}{faces}end_header", *rows, face]))
    (tmp_path / "points.ply").write_text("\n".join([f"{head}end_header", *corners]))
    frame = pd.DataFrame({"part": [None, *(f"{i}.OBJ".lower() for i in range(1, 4))], "y": [0, 1, 0, 1]})
    frame["scan"] = [f"{i}.ply" for i in range(4)]
    target = {"target": {"columns": ["y"]}}
    held = TableReader.fit(frame, Schema.model_validate(target), base_dir=tmp_path)[1].modalities
    assert {name: data.kind for name, data in held.items()} == {"part": "graph", "scan": "points"}
    assert held["part"].present.tolist() == [False, True, True, True]
    schema = Schema.model_validate({**target, "columns": {"scan": "graph"}})
    both = TableReader.fit(frame, schema, base_dir=tmp_path)[1].modalities
    assert both["scan"].values[1:].tolist() == both["part"].values[1:].tolist()
    frame["scan"] = ["0.ply", "points.ply", "1.ply", "2.ply"]
    with pytest.raises(DataError, match=r"row 1 .*column 'scan'.*'points.ply'.*no face; its points are of kind points"):
        TableReader.fit(frame, schema, base_dir=tmp_path)
    data = TableReader.fit(frame, schema, base_dir=tmp_path, on_bad_file="skip")[1]
    assert data.modalities["scan"].present.tolist() == [True, False, True, True]
    assert any("Column 'scan': 1 row (1; counted from 0) could not be read" in note for note in data.notes)


def test_a_column_of_smiles_is_told_in_the_schema(tmp_path: Path) -> None:
    schema = Schema.model_validate({"target": {"columns": ["y"]}, "columns": {"mol": "graph"}})
    frame = pd.DataFrame({"mol": ["CCO", "c1ccccc1", "CC(=O)O", "C"], "y": [0, 1, 0, 1]})
    if find_spec("rdkit") is None:
        with pytest.raises(MissingDependencyError, match="reading SMILES"):
            TableReader.fit(frame, schema)
        return
    values = TableReader.fit(frame, schema)[1].modalities["mol"].values
    assert [Graph.parse(v).n_nodes for v in values] == [3, 6, 4, 1]
    with pytest.raises(DataError, match=r"row 1 .*column 'mol': .*got 'C\(C'.*no SMILES of a molecule"):
        TableReader.fit(frame.assign(mol=["C", "C(C", "C", "CC"]), schema)


@pytest.mark.slow
def test_a_model_tells_rings_by_structure_and_is_saved_with_it(tmp_path: Path) -> None:
    frame = table_of(tmp_path, 300)
    X, y = frame.drop(columns="y"), frame["y"]
    options = {"net": {"linear_path": False}}
    model = FusionClassifier(fusion="concat", epochs=20, members=1, base_dir=tmp_path, encoder_options=options)
    model.fit(X[:200], y[:200])
    assert float((model.predict(X[200:]) == y[200:]).mean()) > 0.9
    model.save(tmp_path / "saved")
    again = FusionClassifier.load(tmp_path / "saved")
    paths: list[Any] = [None, *(str(tmp_path / name) for name in X["net"][201:])]
    new = X[200:].assign(net=paths)
    probabilities = again.predict_proba(new)
    np.testing.assert_allclose(probabilities, model.predict_proba(new), atol=1e-6)
    assert np.isfinite(probabilities).all()


def test_a_piece_that_is_left_out_takes_its_nodes_and_edges_away() -> None:
    kind, data = kind_named("graph"), of([{**rings(4), "nodes": [{"e": c} for c in "CNOS"]}, rings(3)])
    units = kind.units(data, 0, 9)
    assert sorted(u.label for u in units) == [f"node {c} {i}, 2 edges" for i, c in enumerate("CNOS")]
    by_node = {u.where[0]: k for k, u in enumerate(units)}
    kept = np.ones((3, 4), dtype=bool)
    kept[0, by_node[1]] = False
    kept[1] = False
    made = kind.keep(data, 0, units, kept)
    left = Graph.parse(made.values[0])
    assert (left.nodes["e"], left.edges.tolist()) == (["C", "O", "S"], [[1, 2], [2, 0]])
    assert made.present.tolist() == [True, False, True]
    assert made.values[2] == data.values[0]
    assert sorted(int(i) for u in kind.units(data, 0, 2) for i in u.where) == [0, 1, 2, 3]
    drawing = kind.draw(data, 0, units)
    assert drawing.picture is not None
    middles = [((a + b) / 2, (c + d) / 2) for a, b, c, d in drawing.boxes]
    assert all(0 <= v <= 1 for pair in middles for v in pair)
    sides = {i: np.array(middles[by_node[i]]) for i in range(4)}
    assert np.linalg.norm(sides[0] - sides[1]) < np.linalg.norm(sides[0] - sides[2])  # neighbours stand nearer


def test_noise_does_as_much_as_it_says() -> None:
    kind, graph = kind_named("graph"), nx.gnm_random_graph(300, 1000, seed=0)
    for i in graph:
        graph.nodes[i].update(word=f"w{i}", x=float(np.random.default_rng(i).normal()))
    data = of([graph])
    was = Graph.parse(data.values[0])

    def noisy(name: str, p: float) -> Graph:
        return Graph.parse(kind.corrupt(data, name, p, np.random.default_rng(0)).values[0])

    assert len(noisy("cut", 0.3).edges) / 1000 == pytest.approx(0.7, abs=0.04)
    joined = noisy("joined", 0.3)
    assert joined.edges[:1000].tolist() == was.edges.tolist()
    assert len(joined.edges) == pytest.approx(1300, abs=1)
    assert len({tuple(sorted(e)) for e in joined.edges.tolist()}) == len(joined.edges)
    dropped = noisy("dropped", 0.3)
    assert dropped.n_nodes / 300 == pytest.approx(0.7, abs=0.08)
    names = [was.nodes["word"].index(w) for w in dropped.nodes["word"]]
    assert {*map(tuple, np.array(names)[dropped.edges].tolist())} <= {*map(tuple, was.edges.tolist())}
    replaced = noisy("replaced", 0.3)
    assert np.mean([a != b for a, b in zip(replaced.nodes["word"], was.nodes["word"], strict=True)]) == pytest.approx(
        0.3, abs=0.08
    )
    assert all(
        was.nodes["x"][was.nodes["word"].index(w)] == x
        for w, x in zip(replaced.nodes["word"], replaced.nodes["x"], strict=True)
    )
    white = noisy("white", 0.4)
    assert np.std(np.array(white.nodes["x"]) - np.array(was.nodes["x"])) == pytest.approx(0.4, rel=0.15)
    assert (white.nodes["word"], white.edges.tolist()) == (was.nodes["word"], was.edges.tolist())


def test_masked_nodes_are_not_neighbours() -> None:
    made = GraphPreprocessor()
    made.fit(of([rings(5, c="a"), rings(4, c="b")]))
    raw = made.transform(of([rings(5, c="a")]))
    encoder = GraphEncoder.make(made.spec, 8, n_rows=100).eval()
    mask = raw.mask.clone()
    mask[0, 4] = False
    cut = Raw(raw.values, mask)
    changed = raw.values.clone()
    changed[0, 4] = 9.0
    torch.testing.assert_close(encoder(cut).values, encoder(Raw(changed, mask)).values)
    path = made.transform(of([{"nodes": [{"c": "a"}] * 4, "edges": [[0, 1], [1, 2], [2, 3]]}]))
    torch.testing.assert_close(encoder(cut).values[:, :4], encoder(path).values)
