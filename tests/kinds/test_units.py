"""Pieces of a row: all of them leave the row as it is, none of them leaves nothing, and each takes away its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows_of_kinds import N_ROWS, rows_of_kind

from profuse.data.tensors import from_tensors
from profuse.kinds import KINDS, ModalityData, kind_named

ROW = 3


def of_kind(name: str) -> ModalityData:
    rates = {"x": 8_000} if kind_named(name).has_rate else None
    return from_tensors({"x": (name, rows_of_kind(name))}, np.arange(N_ROWS) % 2, rates=rates).modalities["x"]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, pd.DataFrame):
        return one.reset_index(drop=True).equals(other.reset_index(drop=True).astype(one.dtypes))
    return all(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f") for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("most", [1, 2, 9, 40])
@pytest.mark.parametrize("name", KINDS.builtin)
def test_all_units_are_the_row_none_is_a_missing_one_and_each_says_something(name: str, most: int) -> None:
    kind, data = kind_named(name), of_kind(name)
    units = kind.units(data, ROW, most)
    assert 1 <= len(units) <= most
    assert len({u.label for u in units}) == len(units)
    kept = np.concatenate(
        [np.ones((1, len(units)), bool), np.zeros((1, len(units)), bool), ~np.eye(len(units), dtype=bool)]
    )
    made = kind.keep(data, ROW, units, kept)
    assert made.kind == data.kind
    assert (made.rate, made.range) == (data.rate, data.range)
    whole = data.rows(np.array([ROW]))
    assert same(whole.values, made.rows(np.array([0])).values)
    assert made.present.tolist() == kept.any(axis=1).tolist()
    for i in range(2, len(kept)):
        if kept[i].any():
            assert not same(whole.values, made.rows(np.array([i])).values), units[i - 2]


@pytest.mark.parametrize("name", KINDS.builtin)
def test_the_rows_are_left_as_they_are(name: str) -> None:
    kind, data, before = kind_named(name), of_kind(name), of_kind(name)
    units = kind.units(data, ROW, 9)
    kind.keep(data, ROW, units, np.zeros((2, len(units)), bool))
    assert same(before.values, data.values)


def test_words_are_taken_from_where_they_stand() -> None:
    data = from_tensors({"x": ["good  film, bad film", "b"]}).modalities["x"]
    units = kind_named("text").units(data, 0, 9)
    assert [u.label for u in units] == ["good", "film,", "bad", "film"]
    kept = np.array([[True, True, False, True]])
    assert kind_named("text").keep(data, 0, units, kept).values[0] == "good film, film"


def test_a_text_without_blanks_is_taken_apart_by_characters() -> None:
    text = "多模态融合" * 10
    data = from_tensors({"x": [text, "b"]}).modalities["x"]
    units = kind_named("text").units(data, 0, 10)
    assert len(units) == 10
    assert "".join(u.label for u in units) == text


def test_a_band_of_sound_is_silenced_and_others_are_not() -> None:
    rate, t = 8_000, np.arange(8_000) / 8_000
    wave = 0.4 * np.sin(2 * np.pi * 200 * t) + 0.4 * np.sin(2 * np.pi * 3_000 * t)
    data = from_tensors({"x": ("audio", [wave, wave])}, rates={"x": rate}).modalities["x"]
    kind = kind_named("audio")
    units = kind.units(data, 0, 32)
    low = np.array([[u.where[2] >= 500 for u in units]])  # without what is below 500 Hz
    power = np.abs(np.fft.rfft(kind.keep(data, 0, units, low).values[0]))
    assert power[200] < 0.05 * power[3_000]
    assert power[3_000] > 0.9 * np.abs(np.fft.rfft(wave))[3_000]


def test_a_patch_is_blurred_and_other_pixels_are_not() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 12)).astype(np.uint8)
    data = from_tensors({"x": picture}).modalities["x"]
    kind = kind_named("image")
    units = kind.units(data, 0, 9)
    kept = np.ones((1, 9), bool)
    kept[0, 4] = False
    made = np.asarray(kind.keep(data, 0, units, kept).values[0], float)
    changed = made != np.asarray(data.values[0], float)
    assert changed[4:8, 4:8].mean() > 0.9
    changed[4:8, 4:8] = False
    assert not changed.any()
    assert made[4:8, 4:8].std() < 0.5 * picture[0].std()
