"""The tensor door and the scikit-learn door."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from not_none import not_none
from PIL import Image
from scipy.sparse import csr_matrix

from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_frame, from_tensors
from profuse.errors import ConfigError, DataError, ProfuseError
from profuse.schema import Schema, Target

N = 6
Y = np.arange(N) % 2
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "kind", "shape"),
    [
        (np.ones((N, 4)), "vector", (N, 4)),
        (np.arange(N), "vector", (N, 1)),
        (torch.ones(N, 4, requires_grad=True), "vector", (N, 4)),
        (torch.ones(N, 4, dtype=torch.bfloat16), "vector", (N, 4)),
        ([[1, 2]] * N, "vector", (N, 2)),
        ([1.0] * N, "vector", (N, 1)),
        (np.ones((N, 5, 2)), "series", (N, 5, 2)),
        ([np.ones(3 + i) for i in range(N)], "series", (N,)),
        ([torch.ones(3 + i, 2) for i in range(N)], "series", (N,)),
        (("series", np.ones((N, 9))), "series", (N, 9, 1)),
        (np.ones((N, 3, 9, 8)), "image", (N, 9, 8, 3)),
        (np.ones((N, 9, 8, 1)), "image", (N, 9, 8, 1)),
        (("image", np.zeros((N, 9, 8), np.uint8)), "image", (N, 9, 8, 1)),
        ([Image.new("RGB", (8, 9 + i)) for i in range(N)], "image", (N,)),
        (["a b"] * N, "text", (N,)),
        (np.array(["a b"] * N), "text", (N,)),
        (pd.DataFrame({"a": range(N), "b": list("xyzxyz")}), "table", (N, 2)),
        (("audio", np.zeros((N, 50))), "audio", (N, 50)),
        (("audio", [np.zeros(50 + i) for i in range(N)]), "audio", (N,)),
    ],
)
def test_the_kind_follows_from_the_shape(values: Any, kind: str, shape: tuple[int, ...]) -> None:
    data = from_tensors({"m": values}, Y, rates={"m": 8000} if kind == "audio" else None)
    assert data.modalities["m"].kind == kind
    assert np.shape(data.modalities["m"].values) == shape
    assert data.modalities["m"].present.all()
    assert data.task == "binary"


def test_presence_none_nan_and_blanks_are_missing() -> None:
    vector = RNG.normal(size=(N, 3))
    vector[1] = np.nan
    vector[2, 0] = np.nan
    data = from_tensors(
        {
            "v": vector,
            "t": ["a", None, " ", "b", "c", "d"],
            "s": [None, np.ones((2, 2)), *[np.ones((3, 2))] * 4],
            "i": ("image", [None, *[np.zeros((4, 4), np.uint8)] * 5]),
        },
        Y,
        presence={"v": torch.tensor([False, True, True, True, True, True])},
    )
    assert {k: np.flatnonzero(~m.present).tolist() for k, m in data.modalities.items()} == {
        "v": [0, 1], "t": [1, 2], "s": [0], "i": [0],
    }  # fmt: skip


@pytest.mark.parametrize(("dtype", "expected"), [(np.int16, 0.25), (np.int32, 0.25), (np.uint8, -0.5), (float, 0.25)])
def test_waveforms_of_integers_are_divided_by_their_full_scale(dtype: Any, expected: float) -> None:
    level = {np.int16: 2**13, np.int32: 2**29, np.uint8: 64, float: 0.25}[dtype]
    values: Any
    for values in (np.full((N, 50), level, dtype), [np.full(40 + i, level, dtype) for i in range(N)]):
        data = from_tensors({"a": ("audio", values)}, Y, rates={"a": 8000})
        assert all((wave == expected).all() for wave in data.modalities["a"].values)


INF = np.ones((N, 3))
INF[4, 1] = np.inf


@pytest.mark.parametrize(
    ("modalities", "options", "error", "message"),
    [
        ({}, {}, ConfigError, "at least one modality must be given"),
        ({"v": INF}, {}, DataError, "modality 'v': numbers must be finite; infinite in 1 row (4;"),
        ({"s": INF[..., None]}, {}, DataError, "modality 's': numbers must be finite; infinite in 1 row (4;"),
        ({"s": [np.full(2 + i, np.inf) for i in range(N)]}, {}, DataError, "modality 's', row 0 (counted from 0)"),
        ({"v": np.ones((N, 2))}, {"presence": {"v": np.ones(4, bool)}}, DataError, "each of 6 rows; got bool(4,)"),
        ({"v": np.ones((N, 2))}, {"presence": {"v": np.ones(N)}}, DataError, "got float64(6,)"),
        ({"v": np.ones((N, 2))}, {"presence": {"w": np.ones(N, bool)}}, ConfigError, "must name modalities; got 'w'"),
        ({"v": np.ones((N, 2))}, {"presence": {"v": np.zeros(N, bool)}}, DataError, "missing in all 6"),
        ({"v": np.ones((N, 2))}, {"kinds": {"v": "words"}}, ConfigError, "kind of 'v' must be one of table"),
        ({"v": np.ones((N, 2))}, {"kinds": {"v": "audio"}}, ConfigError, "audio needs its samples a second"),
        ({"v": np.ones((N, 2)), "w": np.ones((4, 2))}, {}, DataError, "all parts must have one entry a row"),
        ({"v": np.ones((5, 2))}, {}, DataError, "got 6 of 'target' and 5 of 'v'"),
        ({"v": np.ones((N, 1, 1, 1, 1))}, {}, DataError, "the shape must fit a kind; got shape=(6, 1, 1, 1, 1)"),
        ({"v": np.array(3.0)}, {}, DataError, "must have rows first"),
        ({"v": np.ones((0, 2))}, {}, DataError, "at least one row; got 0"),
        ({"v": np.ones((N, 2), complex)}, {}, DataError, "the shape must fit a kind"),
        ({"v": ("vector", [[1, 2]] * 5 + [[1]])}, {}, DataError, "of one length, (2,); got (1,) in row 5"),
        ({"s": [np.ones((2, 2))] * 5 + [np.ones((2, 3))]}, {}, DataError, "the same channels, 2; got 3 in row 5"),
        ({"t": ("text", ["a"] * 5 + [3])}, {}, DataError, "text must be str; got int in 1 row (5;"),
        ({"s": np.full((N, 5, 2), 1e39)}, {}, DataError, "series must be at most 3.4e38 in size; larger in 6 rows"),
        ({"s": [np.full(2 + i, 1e39) for i in range(N)]}, {}, DataError, "numbers must be at most"),
        ({"a": ("audio", np.full((N, 50), 1e9))}, {"rates": {"a": 8000}}, DataError, "the samples"),
        ({"a": ("audio", [np.array([0, np.nan])] * N)}, {"rates": {"a": 8000}}, DataError, "not finite"),
        ({"i": np.full((N, 3, 8, 8), np.inf)}, {}, DataError, "levels of a picture must be finite; 192 are not"),
        ({"i": np.full((N, 3, 8, 8), np.nan)}, {}, DataError, "at least one picture must have a pixel that was meas"),
        ({"v": [None] * N}, {}, DataError, "it is missing in all 6"),
        ({"v": csr_matrix(np.eye(N))}, {}, DataError, "modality 'v': must be a dense array; got a csr_matrix"),
        ({"v": np.ones((N, 2))}, {"groups": np.ones((N, 2))}, DataError, "groups must be one value a row; got shape"),
        (
            {"v": pd.DataFrame({"a": range(N)}), "w": ("text", pd.Series(list("abcdef"))[::-1])},
            {},
            DataError,
            "modalities['v'] and modalities['w'] must be in the same order",
        ),
        (
            {"v": pd.DataFrame({"a": range(N)})},
            {"times": pd.Series(range(N))[::-1]},
            DataError,
            "Use times.loc[modalities['v'].index]",
        ),
        ({"f": pd.DataFrame({"a": [1, 2, 3, "x", 5, 6]})}, {}, DataError, "column 'a': cells must be of one type"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_say_why(modalities: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        from_tensors(modalities, Y, **options)
    assert message in str(caught.value)


def test_targets_of_every_task_come_through() -> None:
    x = {"v": np.ones((N, 2))}
    assert from_tensors(x, torch.arange(N).float() / 7).task == "regression"
    assert from_tensors(x, ["a", "b", "c"] * 2).task == "multiclass"
    assert from_tensors(x, [["a"], ["b", "a"], [], ["a"], ["b"], []]).target_names == ("a", "b")
    assert from_tensors(x, np.eye(N, dtype=int)).task == "multilabel"
    assert from_tensors(x).target is None
    with pytest.raises(DataError, match="got both, the rarer in 3 rows"):
        from_tensors(x, [1, "a"] * 3)


def test_a_frame_and_a_target_beside_it_become_a_data_set() -> None:
    frame = pd.DataFrame(
        {
            "age": RNG.normal(size=N),
            "photo": [None, *(RNG.integers(0, 255, (9, 8, 3), dtype=np.uint8) for _ in range(N - 1))],
            "curve": [RNG.normal(size=(3 + i, 2)) for i in range(N)],
            "face": [Image.new("L", (8, 8))] * N,
            "emb": [[1.0, 2.0]] * N,
        },
        index=[9, 9, 9, 1, 2, 3],
    )
    data, schema = from_frame(frame, pd.Series(["a", "b"] * 3, index=[5] * N), groups=np.arange(N))
    kinds = {"table": "table", "photo": "image", "curve": "series", "face": "image", "emb": "vector"}
    assert {k: m.kind for k, m in data.modalities.items()} == kinds
    assert data.modalities["photo"].present.tolist() == [False] + [True] * 5
    assert data.groups is not None
    assert not_none(data.target).tolist() == ["a", "b"] * 3
    assert TableReader(schema).read(frame[:1]).target is None


@pytest.mark.parametrize(
    ("target", "schema", "error", "message"),
    [
        ([0, 1], None, DataError, "X and y must have the same rows; got 3 and 2"),
        ([0, 1, 0], Schema(target=Target(columns=("a",))), ConfigError, "the schema names ['a'] too"),
        ([0, 1, None], None, DataError, "target 'target': must be known in every row"),
        (pd.Series([0, 1, 0], index=[2, 1, 0]), None, DataError, "X and y must be in the same order"),
        (3, None, DataError, "must be [row] or [row, target]; got int of shape ()"),
    ],
)
def test_a_frame_that_does_not_fit_its_target_says_why(target: Any, schema: Any, error: Any, message: str) -> None:
    with pytest.raises(error) as caught:
        from_frame(pd.DataFrame({"a": [1.0, 2.0, 3.0]}), target, schema=schema)
    assert message in str(caught.value)


def test_lists_of_labels_are_labels_whether_or_not_they_are_of_one_length() -> None:
    data = {"a": np.random.default_rng(0).normal(size=(60, 2))}
    for lists in ([["a"], ["b"], ["a"]] * 20, [["a", "c"], ["b", "c"], ["a", "b"]] * 20, [["a"], [], ["a", "b"]] * 20):
        ours, theirs = from_tensors(data, lists), from_tensors(data, pd.Series(lists))
        assert ours.task == theirs.task == "multilabel"
        assert ours.target_names == theirs.target_names
        np.testing.assert_array_equal(np.asarray(ours.target), np.asarray(theirs.target))


def test_a_category_beside_the_data_is_classes() -> None:
    rng = np.random.default_rng(0)
    y = pd.Series(rng.integers(0, 25, 400)).astype("category")
    frame = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"])
    assert from_frame(frame, y)[0].task == "multiclass"
    assert from_tensors({"t": frame}, y).task == "multiclass"
    assert from_tensors({"t": frame}, y.cat.rename_categories(str)).task == "multiclass"


SOUNDS = np.random.default_rng(0).uniform(-1, 1, (12, 400)).astype(np.float32)
ANSWERS = [0, 1] * 6


@pytest.mark.parametrize(
    "values", [SOUNDS, list(SOUNDS), [*SOUNDS[:11], None], [s[: 200 + i] for i, s in enumerate(SOUNDS)]]
)
def test_a_rate_says_that_it_is_a_sound(values: Any) -> None:
    data = from_tensors({"x": values}, ANSWERS, rates={"x": 8000})
    assert (data.modalities["x"].kind, data.modalities["x"].rate) == ("audio", 8000)


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (SOUNDS, {"rates": {"y": 8000}}, "rates must name modalities; got 'y'"),
        (SOUNDS, {"rates": 8000}, "rates must be a dict by modality; got int"),
        (SOUNDS, {"presence": [True] * 12}, "presence must be a dict by modality; got list"),
        (SOUNDS, {"presence": {"z": np.ones(12, bool)}}, "presence must name modalities; got 'z'"),
        (SOUNDS, {"rates": {"x": 8000}, "kinds": {"x": "series"}}, "said to be of kind 'series'"),
        (("vector", SOUNDS), {"rates": {"x": 8000}}, "said to be of kind 'vector'"),
        (SOUNDS, {"rates": {"x": 0}}, "whole numbers above 0"),
        (SOUNDS, {"rates": {"x": -1}}, "whole numbers above 0"),
        (SOUNDS, {"rates": {"x": 8000.5}}, "whole numbers above 0"),
        (SOUNDS, {"rates": {"x": True}}, "whole numbers above 0"),
        (SOUNDS, {"rates": {"x": "8000"}}, "whole numbers above 0"),
        (SOUNDS.reshape(12, 200, 2), {"rates": {"x": 8000}}, "the shape must fit kind 'audio'"),
        (["a.wav"] * 12, {"rates": {"x": 8000}}, "sounds must be arrays"),
        (pd.DataFrame(SOUNDS), {"rates": {"x": 8000}}, "sounds must be arrays"),
    ],
)
def test_rates_and_presence_that_fit_nothing_are_refused(values: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfuseError) as caught:
        from_tensors({"x": values}, ANSWERS, **more)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["split", "groups", "times", "ids", "target", ""])
def test_a_modality_may_bear_any_name(name: str) -> None:
    assert list(from_tensors({name: SOUNDS}, ANSWERS).modalities) == [name]
