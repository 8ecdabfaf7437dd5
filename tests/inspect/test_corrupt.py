"""Noise in rows as they were read: where it says it is, what it says it is, and nowhere else; whatever the kind."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rows_of_kinds import rows_of_kind

from profuse.data.dataset import Dataset, ModalityData, object_array
from profuse.data.tensors import from_tensors
from profuse.errors import ConfigError, UnknownNameError
from profuse.inspect.corrupt import USUAL, corrupt, noise_of
from profuse.kinds import KINDS, Graph, kind_named
from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.training.fitting import Prepared
from profuse.training.loop import predict

ROWS = 60
ABSENT = np.arange(ROWS) % 5 == 0
LEAVE_OUT = ("points",)
"""Kinds whose noise may leave parts of a row out."""


def rows() -> Dataset:
    """Every kind of modality, under its own name; every fifth row is absent."""
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue", "small", "large", "round", "square", "old"])
    vector = np.where(rng.random((ROWS, 5)) < 0.1, np.nan, rng.normal(size=(ROWS, 5)))
    series = [rng.normal(size=(k, 2)).astype(np.float32) for k in rng.integers(10, 40, ROWS)]
    series[1][3, 0] = np.nan
    values: dict[str, Any] = {
        "vector": vector,
        "table": pd.DataFrame(
            {
                "x": np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(50, 9, ROWS).round(6)),
                "n": rng.permutation(ROWS) + 1,
                "c": pd.Series(rng.choice(["p", "q", "r"], ROWS), dtype=object).mask(rng.random(ROWS) < 0.1, None),
                "t": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), unit="D"),
                "o": pd.Categorical(rng.choice(["low", "high"], ROWS), ["low", "high"], ordered=True),
            }
        ),
        "series": series,
        "audio": ("audio", [0.3 * rng.normal(size=k).clip(-3, 3) for k in rng.integers(400, 600, ROWS)]),
        "image": (255 * rng.random((ROWS, 3, 12, 16))).astype(np.uint8),
        "text": [" ".join(rng.permutation(words)[:k]) for k in rng.integers(3, 9, ROWS)],
    }
    for kind in (name for name in KINDS.builtin if name not in values):  # in one order, for all workers of pytest
        of_kind = rows_of_kind(kind)
        values[kind] = (kind, [of_kind[i % len(of_kind)] for i in range(ROWS)])
    return from_tensors(
        values, rng.integers(0, 2, ROWS), rates={"audio": 2000}, presence=dict.fromkeys(values, ~ABSENT)
    )


DATA = rows()
FORMS = [(kind, noise) for kind in DATA.modalities for noise in noise_of(DATA.modalities[kind])]
both = pytest.mark.parametrize(("kind", "noise"), FORMS)


def add(kind: str, noise: str, level: float, *, seed: int = 0, data: Dataset = DATA) -> ModalityData:
    return corrupt(data, kind, level, seed=seed, noise=noise).modalities[kind]


def cells(data: ModalityData) -> list[Any]:
    """The rows, comparable by ==: arrays as bytes, cells as a tuple of words."""
    if data.frame is not None:
        return [tuple(map(str, row)) for row in data.frame.itertuples(index=False)]
    return [v if isinstance(v, str | None) else (v.shape, v.dtype, v.tobytes()) for v in data.values]


def changed(noisy: ModalityData, kind: str) -> np.ndarray:
    """Which rows are changed; without categories, as equal ones may be exchanged."""
    both = [
        replace(d, values=d.values[["x", "n"]]) if d.frame is not None else d for d in (noisy, DATA.modalities[kind])
    ]
    return np.array([a != b for a, b in zip(cells(both[0]), cells(both[1]), strict=True)])


def test_every_kind_is_here() -> None:
    assert set(DATA.modalities) == set(KINDS.builtin)


@pytest.mark.parametrize("name", KINDS.builtin)
def test_the_docs_name_all_noise_of_a_kind_and_the_usual_in_bold(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "questions.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {name} \| (.*) \|$", page, flags=re.M)
    kind = kind_named(name)
    assert re.findall(r"\*\*`(\w+)`\*\*", row) == list(kind.usual)
    assert set(re.findall(r"`(\w+)`", row)) == set(kind.corruptions)


@both
def test_level_0_is_the_rows_themselves(kind: str, noise: str) -> None:
    assert add(kind, noise, 0.0) is DATA.modalities[kind]


@both
@pytest.mark.parametrize("level", [0.3, 1.0])
def test_rows_keep_form_and_type_and_absent_ones_everything(kind: str, noise: str, level: float) -> None:
    before = DATA.digest()
    noisy, was = add(kind, noise, level), DATA.modalities[kind]
    assert DATA.digest() == before
    assert np.array_equal(noisy.present, was.present)
    assert [v for v, p in zip(cells(noisy), was.present, strict=True) if not p] == [
        v for v, p in zip(cells(was), was.present, strict=True) if not p
    ]
    assert changed(noisy, kind)[~ABSENT].mean() > 0.25
    if was.frame is not None:
        assert noisy.values.dtypes.equals(was.values.dtypes)
        assert noisy.values.isna().equals(was.values.isna())
        assert np.isfinite(noisy.values[["x", "n"]].to_numpy(dtype=float)[was.values["x"].notna()]).all()
    elif isinstance(was.values[1], str):
        assert all(isinstance(v, str) and v.strip() for v in noisy.values[~ABSENT])
    else:
        for new, old in zip(noisy.values[~ABSENT], was.values[~ABSENT], strict=True):
            assert new.shape == old.shape or (kind in LEAVE_OUT and new.shape[1:] == old.shape[1:])
            assert new.dtype == old.dtype
            assert not np.isinf(new).any()
            assert np.isnan(new).sum() == np.isnan(old).sum()
            assert kind in ("series", "vector") or not np.isnan(new).any()


@both
def test_rows_that_are_hit_at_a_low_level_are_hit_at_all_higher_ones(kind: str, noise: str) -> None:
    hits = [changed(add(kind, noise, level), kind) for level in (0.1, 0.4, 0.7, 1.0)]
    for low, high in pairwise(hits):
        assert not (low & ~high).any()
    assert hits[-1].any()


@both
def test_one_seed_gives_one_noise_whatever_the_other_rows_are_called(kind: str, noise: str) -> None:
    state = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    one, same = add(kind, noise, 0.5, seed=3), add(kind, noise, 0.5, seed=3)
    assert cells(one) == cells(same)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], state)  # noqa: NPY002
    if noise == USUAL:
        assert cells(one) != cells(add(kind, noise, 0.5, seed=4))


def test_noise_is_in_the_named_modalities_and_the_same_jointly() -> None:
    alone = {kind: add(kind, USUAL, 0.4, seed=1) for kind in ("vector", "image")}
    jointly = corrupt(DATA, ["image", "vector"], 0.4, seed=1)
    for kind, data in DATA.modalities.items():
        if kind in alone:
            assert cells(jointly.modalities[kind]) == cells(alone[kind])
        else:
            assert jointly.modalities[kind] is data
    assert jointly.target is DATA.target


def test_the_usual_noise_is_its_parts_one_after_the_other() -> None:
    step: Dataset = DATA
    for noise in kind_named("series").usual:
        step = corrupt(step, "series", 0.6, seed=2, noise=noise)
    assert cells(step.modalities["series"]) == cells(add("series", USUAL, 0.6, seed=2))


def test_two_modalities_of_one_shape_get_noise_of_their_own() -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 3))
    noisy = corrupt(from_tensors({"a": x, "b": x}), ("a", "b"), 0.5, seed=0).modalities
    assert not np.array_equal(noisy["a"].values, noisy["b"].values)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"level": 1.1}, ConfigError, r"level must be from 0 to 1.*got level=1.1"),
        ({"level": float("nan")}, ConfigError, "got level=nan"),
        ({"seed": -1}, ConfigError, "seed at least 0; got level=0.5, seed=-1"),
        ({"modalities": "vectr"}, UnknownNameError, "got modality='vectr'. Did you mean 'vector'"),
        ({"noise": "whit"}, UnknownNameError, "kind 'vector': noise must be a known name; got noise='whit'. Did you"),
    ],
)
def test_wrong_arguments_of_corrupt_are_told(change: dict[str, Any], error: type[Exception], message: str) -> None:
    asked: dict[str, Any] = {"modalities": "vector", "level": 0.5, "seed": 0}
    with pytest.raises(error, match=message):
        corrupt(DATA, **{**asked, **change})


@both
def test_a_network_takes_what_is_left_of_the_rows(kind: str, noise: str) -> None:
    ready, model = network()
    clean, inputs = (ready.pipeline.transform(corrupt(DATA, kind, p, seed=0, noise=noise)) for p in (0.0, 1.0))
    assert torch.equal(inputs[kind].present, torch.as_tensor(~ABSENT))
    same = inputs[kind].values.shape == clean[kind].values.shape and inputs[kind].values.equal(clean[kind].values)
    assert not same
    assert bool(torch.cat([o.outputs for o in predict(model, inputs)]).isfinite().all())


MADE: list[Any] = []


def network() -> Any:
    """A network of all modalities, made once."""
    from profuse.data.split import Split

    if not MADE:
        ready = Prepared.make(DATA, Split(np.arange(40), np.arange(40, 50), np.arange(50, 60)))
        options = ModelOptions(fusion="concat", width=8)
        MADE.append((ready, build_model(ready.pipeline.specs, "binary", 2, options, n_rows=40, seed=0)))
    return MADE[0]


ONE_OR_NONE: list[tuple[str, Any]] = [
    ("vector", np.ones((1, 2))),
    ("table", pd.DataFrame({"x": [1.0], "c": ["a"]})),
    ("series", object_array([np.ones((1, 2))])),
    ("audio", object_array([np.zeros(1)])),
    ("image", object_array([np.zeros((1, 1, 1), dtype=np.uint8)])),
    ("text", object_array(["a"])),
    ("points", object_array([np.zeros((1, 3))])),
    ("document", object_array(["a"])),
    ("graph", object_array([Graph(1, np.zeros((0, 2), dtype=np.int64), False, {}, {}).text])),
    ("video", object_array([np.zeros((1, 1, 1, 1), dtype=np.uint8)])),
    ("volume", object_array([np.zeros((1, 1, 1, 1), dtype=np.float32)])),
    ("text", object_array([" two\nlines  "])),
]


@pytest.mark.parametrize(("kind", "values"), ONE_OR_NONE)
@pytest.mark.parametrize("there", [True, False])
def test_the_smallest_rows_survive_all_noise(kind: str, values: Any, there: bool) -> None:
    data = ModalityData(kind, values, np.array([there]), rate=8000 if kind == "audio" else None)
    for noise in noise_of(data):
        noisy = add("m", noise, 1.0, data=Dataset("d", {"m": data}, None, "binary"))
        assert len(noisy) == 1
        if kind_named(kind).is_words:
            assert noisy.values[0].strip()
        if not there:
            assert noisy is data
