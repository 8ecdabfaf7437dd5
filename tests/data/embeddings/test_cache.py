"""Vectors on disk: nothing is made twice, whatever the process; other content, names and revisions are others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from profuse import register
from profuse.cli import app
from profuse.data.embeddings import Embedding, Sound
from profuse.data.embeddings.cache import VectorCache, clear_vectors, digest_of_cell, kept_vectors
from profuse.data.embeddings.vectors import vectors_of
from profuse.errors import DataError, ProfuseError
from profuse.registry import table


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting:
    """An embedding that notes which cells it was given."""

    def __init__(self, make: Callable[[Any], Any] = lambda cell: [len(cell), 1.0]) -> None:
        self.make, self.batches = make, list[list[Any]]()

    def __call__(self, cells: list[Any]) -> list[Any]:
        self.batches.append(list(cells))
        return [self.make(cell) for cell in cells]

    @property
    def seen(self) -> list[Any]:
        return [cell for batch in self.batches for cell in batch]


def named(name: str = "lengths", **options: Any) -> Counting:
    function = Counting()
    table("embedding").registered.pop(name, None)
    table("embedding")._loaded.pop(name, None)
    register("embedding", name, Embedding(function, **options))
    return function


def test_equal_cells_are_made_once_and_a_second_call_makes_none() -> None:
    function = named()
    first = vectors_of("lengths", ["a", "bcd", "a"])
    assert sorted(function.seen) == ["a", "bcd"]
    np.testing.assert_array_equal(np.stack(first), [[1, 1], [3, 1], [1, 1]])
    assert all(v.dtype == np.float32 for v in first)
    again = vectors_of("lengths", ["bcd", "a", "ef"])
    assert sorted(function.seen) == ["a", "bcd", "ef"]
    np.testing.assert_array_equal(np.stack(again), [[3, 1], [1, 1], [2, 1]])


def test_batches_hold_cells_of_like_length_and_no_more_than_are_asked_for() -> None:
    function = named(batch_size=2)
    vectors_of("lengths", ["aaaa", "b", "ccccc", "dd", "eee"])
    assert function.batches == [["b", "dd"], ["eee", "aaaa"], ["ccccc"]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "b"),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(4, np.float32), np.zeros(4, np.int32)),
        (np.zeros((2, 2, 1)), np.ones((2, 2, 1))),
        (Sound(np.zeros(5), 8000), Sound(np.zeros(5), 16000)),
        (Sound(np.zeros(5), 8000), np.zeros(5)),
    ],
)
def test_what_differs_in_content_shape_type_or_rate_is_another_cell(one: Any, other: Any) -> None:
    assert digest_of_cell(one) == digest_of_cell(one)
    assert digest_of_cell(one) != digest_of_cell(other)


def test_another_revision_or_name_is_made_anew() -> None:
    first = named("one", revision="1")
    vectors_of("one", ["a"])
    second, third = named("other", revision="1"), named("one", revision="2")
    vectors_of("other", ["a"])
    vectors_of("one", ["a"])
    assert [len(f.seen) for f in (first, second, third)] == [1, 1, 1]


def test_tokens_come_back_as_many_as_each_cell_has() -> None:
    function = Counting(lambda cell: np.arange(2.0 * len(cell)).reshape(-1, 2))
    register("embedding", "letters", Embedding(function, tokens=True))
    for _ in range(2):
        assert [v.shape for v in vectors_of("letters", ["abc", "d"])] == [(3, 2), (1, 2)]
    assert len(function.seen) == 2
    np.testing.assert_array_equal(vectors_of("letters", ["abc"])[0], np.arange(6).reshape(3, 2))


def test_many_files_become_one_and_nothing_is_lost() -> None:
    cache = VectorCache("x", "x")
    keys = [digest_of_cell(str(i)) for i in range(60)]
    for i, key in enumerate(keys):
        cache.put({key: np.array([i, 1.0])})
    assert len(list(cache.folder.glob("*.safetensors"))) < 30
    found = cache.get(keys)
    assert [int(found[key][0]) for key in keys] == list(range(60))


MADE_BY_ANOTHER = """
import sys, numpy as np
from profuse.data.embeddings.cache import VectorCache, digest_of_cell
cache = VectorCache("x", "x")
for i in range(int(sys.argv[1]), int(sys.argv[2])):
    with cache.writing():
        cache.put({digest_of_cell(str(i)): np.array([i, 2.0])})
    assert len(cache.get([digest_of_cell(str(j)) for j in range(int(sys.argv[1]), i + 1)])) == i + 1 - int(sys.argv[1])
"""


def test_two_processes_write_at_once_and_nothing_is_lost() -> None:
    spans = [("0", "60"), ("40", "100")]
    running = [subprocess.Popen([sys.executable, "-c", MADE_BY_ANOTHER, *span]) for span in spans]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    keys = [digest_of_cell(str(i)) for i in range(100)]
    found = VectorCache("x", "x").get(keys)
    assert [int(found[key][0]) for key in keys] == list(range(100))


def test_a_damaged_file_is_told_with_its_name() -> None:
    named()
    vectors_of("lengths", ["a"])
    (file,) = kept_vectors()[0].folder.glob("*.safetensors")
    file.write_bytes(b"x" * 100)
    with pytest.raises(DataError, match=rf"{file.name}: it must be what profuse has written; .* Delete it"):
        vectors_of("lengths", ["a"])


def test_what_is_kept_has_a_name_and_a_size_and_can_be_cleared_one_by_one() -> None:
    function = named("one")
    named("two")
    vectors_of("one", ["a", "b"])
    vectors_of("two", ["a"])
    assert {kept.name for kept in kept_vectors()} == {"one", "two"}
    assert all(kept.n_bytes > 0 for kept in kept_vectors())
    with pytest.raises(ProfuseError, match="got 'three'. There is: one, two"):
        clear_vectors("three")
    assert [kept.name for kept in clear_vectors("one")] == ["one"]
    assert {kept.name for kept in kept_vectors()} == {"two"}
    vectors_of("one", ["a"])
    assert function.seen == ["a", "b", "a"]


def test_the_command_lists_and_clears(cache: Path) -> None:
    named()
    vectors_of("lengths", ["a"])
    run = CliRunner()
    assert [row["name"] for row in json.loads(run.invoke(app, ["cache", "--json"]).stdout)] == ["lengths"]
    assert str(cache) in run.invoke(app, ["cache"]).stdout.replace("\n", "")
    wrong = run.invoke(app, ["cache", "--name", "lengths"])
    assert wrong.exit_code == 2
    assert "Add --clear" in wrong.output
    assert "removed" in run.invoke(app, ["cache", "--clear"]).stdout
    assert kept_vectors() == []


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (lambda cells: [[1.0]], r"must return one \[channel\] a cell; got 1 for 2 cells"),
        (lambda cells: [[1.0], [1.0, 2.0]], "must have as many channels; got several lengths"),
        (lambda cells: [[1.0], [np.nan]], "numbers must be finite"),
        (lambda cells: ["a", "b"], r"must return numbers, one \[channel\] a cell"),
        (lambda cells: np.zeros((2, 3, 4)), r"got one of shape \(3, 4\). Say Embedding\(tokens=True\)"),
    ],
)
def test_what_is_no_vector_a_cell_is_told_and_not_kept(returned: Any, told: str) -> None:
    register("embedding", "odd", returned)
    with pytest.raises(DataError, match=f"embedding 'odd': .*{told}"):
        vectors_of("odd", ["a", "b"])
    assert sum(kept.n_bytes for kept in kept_vectors()) == 0
