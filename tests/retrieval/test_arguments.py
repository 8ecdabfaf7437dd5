"""Arguments of any kind: a message of ours, in one sentence, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pairs_of_rows import arrays

from profuse.errors import ConfigError, DataError, ProfuseError, UnknownNameError
from profuse.retrieval import Index, Retriever


@pytest.fixture(scope="module")
def finder() -> Retriever:
    return Retriever(method="cca", baseline=False).fit(arrays(80))


@pytest.fixture(scope="module")
def index(finder: Retriever) -> Index:
    return finder.index(arrays(30, 1), "right")


@pytest.mark.parametrize(
    "k", [2.5, 2.0, "3", "", None, True, np.True_, np.float64(3), [3], (3,), np.array([1, 2]), {}, 3j, Fraction(3),
          b"3", float("nan"), float("inf")], ids=repr,
)  # fmt: skip
def test_a_k_that_is_no_whole_number_is_told(index: Index, k: Any) -> None:
    with pytest.raises(ConfigError, match=r"^Index.search: k must be a whole number; got k="):
        index.search(arrays(2, 2), "left", k=k)


@pytest.mark.parametrize("k", [0, -1, 31, 10**30, np.int64(-5)], ids=repr)
def test_a_k_out_of_range_is_told(index: Index, k: Any) -> None:
    with pytest.raises(ConfigError, match="k must be 1 to 30, the number of items"):
        index.search(arrays(2, 2), "left", k=k)


@pytest.mark.parametrize("k", [3, np.int32(3), np.uint8(3), np.array(3)], ids=repr)
def test_any_whole_number_is_a_k(index: Index, k: Any) -> None:
    assert index.search(arrays(2, 2), "left", k=k).ids.shape == (2, 3)


@pytest.mark.parametrize(
    "data",
    [None, 3, 2.5, "left", b"x", [1, 2], [[1.0] * 6], (1,), {1, 2}, np.ones((2, 6)), pd.Series([1.0]), object()],
    ids=lambda data: type(data).__name__,
)  # fmt: skip
@pytest.mark.parametrize("call", ["search", "embed", "index", "add", "evaluate", "fit", "read"])
def test_data_of_no_known_kind_are_told(finder: Retriever, index: Index, data: Any, call: str) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "search": lambda: index.search(data, "left", 3), "embed": lambda: finder.embed(data, "left"),
        "index": lambda: finder.index(data, "right"), "add": lambda: index.add(data),
        "evaluate": lambda: finder.evaluate(data), "fit": lambda: Retriever(method="cca").fit(data),
        "read": lambda: finder.read(data),
    }  # fmt: skip
    before = len(index)
    with pytest.raises(DataError, match="data must be a DataFrame, a dict of arrays by modality, or a Dataset; got"):
        calls[call]()
    assert len(index) == before


@pytest.mark.parametrize(
    "parts", [{}, {"left": None}, {"left": []}, {"left": 3}, {"left": "abc"}, {"left": np.ones((0, 6))},
              {"left": np.ones((2, 5))}, {"left": np.ones((2, 6, 3))}, {"left": [["a"] * 6] * 2},
              {"left": np.full((2, 6), np.inf)}, {"left": np.full((2, 6), np.nan)}, {3: np.ones((2, 6))},
              {"left": [[1.0] * 6, [1.0] * 5]}, {"left": np.ones((2, 6), dtype=complex)}],
)  # fmt: skip
@pytest.mark.parametrize("call", ["search", "index", "evaluate"])
def test_queries_and_items_that_do_not_fit_are_told(finder: Retriever, index: Index, parts: Any, call: str) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "search": lambda: index.search(parts, "left", 3), "index": lambda: finder.index(parts, "left"),
        "evaluate": lambda: finder.evaluate({"right": arrays(2)["right"], **parts}),
    }  # fmt: skip
    with pytest.raises(ProfuseError, match=".{30}"):
        calls[call]()


@pytest.mark.parametrize("modality", [None, 3, ["left"], b"left", ("left", "right"), np.nan], ids=repr)
@pytest.mark.parametrize("call", ["search", "embed", "index", "kind"])
def test_a_modality_that_is_no_name_is_told(finder: Retriever, index: Index, modality: Any, call: str) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "search": lambda: index.search(arrays(2), modality, 3), "embed": lambda: finder.embed(arrays(2), modality),
        "index": lambda: finder.index(arrays(2), modality), "kind": lambda: finder.kind(modality),
    }  # fmt: skip
    with pytest.raises(ConfigError, match="a modality must be a name; got modality="):
        calls[call]()


@pytest.mark.parametrize("modality", ["lift", "", "Left ", "table"])
def test_an_unknown_modality_is_told_with_the_known_ones(finder: Retriever, index: Index, modality: str) -> None:
    for call in (lambda: index.search(arrays(2), modality, 3), lambda: finder.index(arrays(2), modality)):
        with pytest.raises(
            UnknownNameError, match="modality must be a known name; .*(Did you mean 'left'|Known: left)"
        ):
            call()


@pytest.mark.parametrize(
    ("modalities", "told"),
    [
        ("left", r"must be a list of names; got modalities='left'. Give \['left'\]"),
        ("left,right", "must be a list of names"), (b"left", "must be"), (5, "must be a list of names"),
        ({"left": 1, "right": 2}, "must be a list of names"), ({"left", "right"}, "must be a list of names"),
        (["left", "left"], r"must differ; got \['left'\] more than once"),
        (("left", "right", "left"), "must differ"), (["left", 3], "must be names; got 3"),
        (["left", None], "must be names; got None"), ([["left", "right"]], "must be names"),
    ],
)  # fmt: skip
def test_a_list_of_modalities_that_is_none_is_told(modalities: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Retriever(method="cca").fit(arrays(), modalities=modalities)


@pytest.mark.parametrize("modalities", [[], ["left"], ("right",)])
def test_fewer_than_two_modalities_are_told(modalities: Any) -> None:
    with pytest.raises(DataError, match="there must be at least two modalities"):
        Retriever(method="cca").fit(arrays(), modalities=modalities)


@pytest.mark.parametrize("modalities", [["left", "rigt"], ["a", "b"]])
def test_unknown_modalities_are_told(modalities: Any) -> None:
    with pytest.raises(UnknownNameError, match="modality must be a known name"):
        Retriever(method="cca").fit(arrays(), modalities=modalities)


@pytest.mark.parametrize("modalities", [["right", "left"], ("left", "right"), np.array(["left", "right"]), None])
def test_any_list_of_names_will_do(modalities: Any) -> None:
    assert Retriever(method="cca").fit(arrays(60), modalities=modalities).modalities_ == ("left", "right")


@pytest.mark.parametrize(
    "groups",
    [[1, 2], [], 5, "abc", np.zeros(79), np.zeros(81), np.zeros((80, 2)), np.zeros((1, 80)), pd.Series([1]), {}],
    ids=lambda groups: f"{type(groups).__name__} {np.shape(groups)}",
)  # fmt: skip
@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_groups_that_are_not_one_a_row_are_told(finder: Retriever, groups: Any, call: str) -> None:
    asked = Retriever(method="cca").fit if call == "fit" else finder.evaluate
    with pytest.raises(DataError, match="groups must be one value for each of 80 rows; got shape="):
        asked(arrays(80), groups=groups)


@pytest.mark.parametrize("call", ["embed", "index", "evaluate", "save", "kind", "read", "fitted"])
def test_what_is_not_fitted_yet_is_told(call: str, tmp_path: Path) -> None:
    made, data = Retriever(), arrays(10)
    calls: dict[str, Callable[[], Any]] = {
        "embed": lambda: made.embed(data, "left"), "index": lambda: made.index(data, "left"),
        "evaluate": lambda: made.evaluate(data), "save": lambda: made.save(tmp_path / "r"),
        "kind": lambda: made.kind("left"), "read": lambda: made.read(data), "fitted": lambda: made.fitted,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="Retriever: it must be fitted first; got none. Call fit"):
        calls[call]()
    assert not (tmp_path / "r").exists()


def test_a_fit_that_fails_leaves_what_was_learned_before(finder: Retriever) -> None:
    before = finder.embed(arrays(5), "left")
    with pytest.raises(ProfuseError):
        finder.fit(arrays(80), modalities=["left"])
    np.testing.assert_array_equal(finder.embed(arrays(5), "left"), before)


def test_items_of_which_none_has_the_modality_are_told(finder: Retriever) -> None:
    items = arrays(6)
    items["right"][:] = np.nan
    with pytest.raises(DataError, match="at least one row must have 'right'; got none of 6"):
        finder.index(items, "right")


def test_rows_of_which_none_has_two_modalities_are_told(finder: Retriever) -> None:
    items = arrays(6)
    items["right"][:3], items["left"][3:] = np.nan, np.nan
    with pytest.raises(DataError, match="some row must have two of the modalities"):
        finder.evaluate(items)
