"""The kinds that are built in: what holds for each of them."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows_of_kinds import N_ROWS, rows_of_kind

from profuse.data.dataset import Dataset, object_array
from profuse.data.preprocess import preprocessor
from profuse.data.table.cells import Cells
from profuse.data.table.near_repeats import near_repeats
from profuse.data.tensors import from_tensors
from profuse.encoders import encoder
from profuse.errors import ConfigError, DataError
from profuse.kinds import KINDS, Kind, ModalityData, Spec, kind_named

NAMES = list(KINDS.builtin)
FIRST_SIX = {"table", "text", "image", "audio", "series", "vector"}


def rows_of(name: str) -> ModalityData:
    rates = {name: 8000} if kind_named(name).has_rate else {}
    presence = {name: np.arange(N_ROWS) != 2}
    return from_tensors(
        {name: rows_of_kind(name)}, np.arange(N_ROWS) % 2, kinds={name: name}, rates=rates, presence=presence
    ).modalities[name]


def digest(data: ModalityData) -> str:
    return Dataset("d", {"m": data}, None, "binary").digest()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_called_as_its_table_says_and_has_an_encoder_and_a_preprocessor_that_take_it(name: str) -> None:
    kind = kind_named(name)
    assert kind.name == name
    assert preprocessor(kind.preprocessor).accepts(name)
    assert encoder(kind.encoder).kind == (preprocessor(kind.preprocessor).gives or name)


@pytest.mark.parametrize("name", NAMES)
def test_two_parts_of_its_rows_are_joined_to_what_they_were(name: str) -> None:
    data = rows_of(name)
    first, second = data.rows(np.arange(7)), data.rows(np.arange(7, N_ROWS))
    assert digest(kind_named(name).concatenate("m", first, second)) == digest(data)
    assert digest(kind_named(name).concatenate("m", second, first)) != digest(data)


def test_vectors_of_another_length_are_joined_only_where_all_are_missing() -> None:
    data, other = rows_of("vector"), from_tensors({"v": np.ones((3, 2))}).modalities["v"]
    with pytest.raises(DataError, match="vectors must be of one length in both tables; got 4 and 2"):
        kind_named("vector").concatenate("v", data, other)
    gone = ModalityData("vector", np.ones((3, 2)), np.zeros(3, dtype=bool))
    half = ModalityData("vector", np.ones((3, 2)), np.array([True, False, False]))
    with pytest.raises(DataError, match="got 4 and 2"):
        kind_named("vector").concatenate("v", data, half)
    joined = kind_named("vector").concatenate("v", data, gone)
    assert joined.values.shape == (N_ROWS + 3, 4)
    assert np.isnan(joined.values[N_ROWS:]).all()


def test_the_digest_of_a_long_table_is_of_every_cell() -> None:
    cells = np.arange(300.0)
    changed = cells.copy()
    changed[150] += 1
    one, other = (
        Dataset("d", {"m": ModalityData("table", pd.DataFrame({"a": v}), np.ones(300, dtype=bool))}, None, "binary")
        for v in (cells, changed)
    )
    assert one.digest() != other.digest()


@pytest.mark.parametrize("fixed", [None, 8000, 16000])
def test_sounds_of_several_rates_get_that_of_training_or_the_most_frequent_one(
    fixed: int | None, tmp_path: Path
) -> None:
    for i, rate in enumerate([8000, 8000, 16000]):
        with wave.open(str(tmp_path / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
            file.writeframes(np.zeros(rate // 10, dtype=np.int16).tobytes())
    frame = pd.DataFrame({"sound": [f"{i}.wav" for i in range(3)]})
    cells = Cells(frame, tmp_path, rates={} if fixed is None else {"m": fixed})
    data = kind_named("audio").read_cells(cells, "m", ["sound"], {"sound": "audio"})
    assert data.rate == (fixed or 8000)
    assert [len(v) for v in data.values] == [data.rate // 10] * 3
    odd = "1 of 16000 Hz" if data.rate == 8000 else "2 of 8000 Hz"
    assert cells.notes == [f"Column 'sound': {odd[:1]} sounds ({odd}) were resampled to {data.rate} Hz."]


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_stand_in_two_tables_are_found_and_others_are_not(name: str) -> None:
    data = Dataset("d", {"m": rows_of(name)}, None, "binary")
    known, new = data.rows(np.arange(6)), data.rows(np.array([0, 7, 4]))
    found = near_repeats(known, new).tolist()
    kind = type(kind_named(name))  # what has neither words nor numbers is only searched for equal rows, elsewhere
    compared = kind.is_words or kind.near_numbers is not Kind.near_numbers
    assert found == ([0, 2] if compared else [])
    assert compared == (name != "audio") or name not in FIRST_SIX


@pytest.mark.parametrize(
    ("name", "sizes", "words"),
    [
        ("table", {"cardinalities": (0, 3)}, "2 columns"),
        ("table", {"cardinalities": (0, 0, 0, 3), "n_columns": 2}, "2 columns"),
        ("table", {"cardinalities": (0, 0, 0), "n_columns": 1}, "1 column"),
        ("text", {"max_length": 9, "vocabulary": 7}, "up to 9 words"),
        ("image", {"image_size": (8, 16), "n_channels": 3}, "8 x 16 pixels, 3 channel(s)"),
        ("audio", {"max_length": 9, "n_channels": 40}, "up to 9 frames of 40 mel bands"),
        ("series", {"max_length": 9, "n_channels": 2}, "up to 9 steps of 2 channel(s)"),
        ("vector", {"n_channels": 4}, "4 channels"),
        (
            "video",
            {"max_length": 9, "image_size": (8, 6), "n_channels": 3},
            "up to 9 frames of 8 x 6 pixels, 3 channel(s)",
        ),
        ("document", {"max_length": 9, "vocabulary": 7}, "up to 9 words"),
        ("volume", {"grid": (4, 8, 9), "n_channels": 2}, "4 x 8 x 9 voxels, 2 channel(s)"),
        (
            "graph",
            {"max_length": 9, "n_attributes": 3, "n_relations": 2},
            "up to 9 nodes of 3 channels, 2 kind(s) of edge",
        ),
        ("points", {"max_length": 90, "n_channels": 7}, "up to 90 points of 4 channels"),
    ],
)
def test_its_sizes_are_told_in_words(name: str, sizes: dict[str, Any], words: str) -> None:
    assert kind_named(name).describe(Spec(kind=name, **sizes)) == words


@pytest.mark.parametrize(
    ("what", "those"),
    [
        ("is_words", {"text"}),
        ("is_numbers", {"table", "vector"}),
        ("has_rate", {"audio"}),
        ("has_range", {"image"}),
        ("suffixes", {"image", "audio", "series"}),
    ],
)
def test_what_is_said_of_some_kinds_is_said_of_those(what: str, those: set[str]) -> None:
    assert {name for name in FIRST_SIX if getattr(kind_named(name), what)} == those


class Plain(Kind):
    name = "plain"

    def check(self, value: Any) -> np.ndarray:
        return np.asarray(value)


def test_arrays_of_a_kind_without_noise_of_its_own_get_white_noise_and_keep_their_type() -> None:
    rows = [np.arange(12, dtype=np.uint8).reshape(4, 3) * 20 for _ in range(200)]
    data = ModalityData("vector", object_array(rows), np.arange(200) > 0)
    noisy = Plain().corrupt(data, "white", 0.1, np.random.default_rng(0)).values
    assert {v.dtype for v in noisy} == {np.dtype(np.uint8)}
    moved = np.stack([v.astype(float) for v in noisy[1:]]) - rows[0]
    inner = moved[:, 1:3]  # the least and the largest bytes cannot go further
    assert inner.std() == pytest.approx(
        0.1 * (np.percentile(rows[0], 75) - np.percentile(rows[0], 25)) / 1.349, rel=0.1
    )
    assert noisy[0] is rows[0]
    words = ModalityData("vector", object_array([np.array(["a"])]), np.ones(1, dtype=bool))
    with pytest.raises(ConfigError, match="must be arrays of numbers to get white noise; got dtype <U1"):
        Plain().corrupt(words, "white", 0.5, np.random.default_rng(0))
