"""`max_length` of a modality: how much of a row a network reads, by schema."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows_of_kinds import rows_of_kind

from profuse import from_tensors
from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.preprocess import PREPROCESSORS, preprocessor
from profuse.data.table.reader import TableReader
from profuse.data.table.schema_file import load_schema
from profuse.errors import ConfigError, UnknownNameError
from profuse.inputs import with_encoders
from profuse.kinds import KINDS, kind_named

BOUNDED = sorted(name for name in PREPROCESSORS.builtin if preprocessor(name).bound)


def bounded(data: Dataset, most: int | None, read_by: str | None = None) -> Dataset:
    return replace(
        data, modalities={n: replace(d, max_length=most, preprocess=read_by) for n, d in data.modalities.items()}
    )


def test_what_has_positions_can_be_bounded() -> None:
    assert BOUNDED == ["document", "graph", "logmel", "points", "series", "steps", "subwords", "video"]


@pytest.mark.parametrize("name", BOUNDED)
def test_a_bound_holds_in_training_in_new_rows_and_after_loading(name: str) -> None:
    kind = next(k for k in KINDS if preprocessor(name).accepts(k))
    rates = {"m": 8000} if kind_named(kind).has_rate else {}
    data = from_tensors({"m": (kind, rows_of_kind(kind))}, rates=rates)
    rows = np.arange(len(data))
    free = Pipeline.fit(bounded(data, None, name), rows)
    assert free.specs["m"].max_length > 2
    made = Pipeline.fit(bounded(data, 2, name), rows)
    again = Pipeline.from_state(made.state())
    for pipeline in (made, again):
        raw = pipeline.transform(data)["m"]
        assert pipeline.specs["m"].max_length == 2
        assert raw.mask.shape[1] == raw.mask.sum(1).max() == 2
    assert Pipeline.fit(bounded(data, 10**4, name), rows).specs["m"] == free.specs["m"]


def chain(n: int) -> str:
    """A path of nodes whose last one alone tells something."""
    nodes = [{"x": float(i == n - 1 and n % 2)} for i in range(n)]
    return json.dumps({"nodes": nodes, "edges": [[i, i + 1] for i in range(n - 1)]})


def molecules(**of_modality: Any) -> tuple[TableReader, Dataset]:
    frame = pd.DataFrame({"m": [chain(70 + i % 7) for i in range(24)], "y": [i % 2 == 0 for i in range(24)]})
    schema = {"modalities": {"m": {"columns": ["m"], "kind": "graph", **of_modality}}}
    return TableReader.fit(frame, schema, target="y")


def test_a_schema_says_how_many_nodes_are_read_and_a_note_how_many_graphs_have_more() -> None:
    for most, n_nodes, n_more in ((None, 64, 24), (72, 72, 12), (100, 76, 0)):
        reader, data = molecules(**{} if most is None else {"max_length": most})
        assert reader.schema.modalities["m"].max_length == data.modalities["m"].max_length == most
        made = Pipeline.fit(data, np.arange(len(data)))
        assert made.specs["m"].max_length == n_nodes
        told = f"m: {n_more} of 24 graphs have more than {n_nodes} nodes: that many are read"
        assert [note.startswith(told) for note in made.notes] == [True] * (n_more > 0)
        assert reader.read(pd.DataFrame({"m": [chain(9)]})).modalities["m"].max_length == most


def test_a_bound_where_nothing_is_bounded_is_told(tmp_path: Path) -> None:
    data = bounded(from_tensors({"x": np.zeros((4, 3))}, [True, False] * 2), 5)
    with pytest.raises(
        ConfigError, match="fit: max_length of 'x' must go .*; got max_length=5 with 'vector', which does"
    ):
        with_encoders(data, {}, who="fit")
    texts = bounded(from_tensors({"t": ["a b c"] * 4}, [True, False] * 2), 5)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="max_length of 't' .* with 'hf:.*', which does not. Leave it out"):
        with_encoders(texts, {"t": f"hf:{tmp_path}"}, who="fit")
    assert with_encoders(texts, {}, who="fit").modalities["t"].max_length == 5
    with pytest.raises(ConfigError, match="max_length"):
        molecules(max_length=0)


def test_data_with_another_bound_are_other_data_and_those_without_keep_their_digest() -> None:
    data = from_tensors({"t": ["a b c", "d"]})
    assert data.digest() == bounded(data, None).digest() != bounded(data, 5).digest() != bounded(data, 6).digest()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0", r"max_length: must be greater than or equal to 1 \(got 0\)"),
        ("x", r"max_length: must be a valid integer \(got 'x'\)"),
        ("true", r"max_length: must be a valid integer \(got True\)"),  # not read as 1
    ],
)
def test_a_bound_in_a_file_is_a_whole_number_from_1_on(written: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"modalities: {{m: {{columns: [m], max_length: {written}}}}}")
    with pytest.raises(ConfigError, match=f"s.yaml: .*modalities.m.{told}"):
        load_schema(tmp_path / "s.yaml")


def test_an_unknown_part_in_a_schema_is_told_by_its_own_name() -> None:
    data = from_tensors({"t": ["a b c", "d"]})
    (t,) = data.modalities.values()
    with pytest.raises(UnknownNameError, match="encoder must be .* got encoder='wordz'. Did you mean 'words'"):
        with_encoders(replace(data, modalities={"t": replace(t, encoder="wordz")}), {}, who="fit")
    with pytest.raises(UnknownNameError, match="fit: modality 't': preprocessor must be .*'subword'. Did you mean"):
        with_encoders(replace(data, modalities={"t": replace(t, preprocess="subword")}), {}, who="fit")
