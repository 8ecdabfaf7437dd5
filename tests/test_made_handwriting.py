"""The made handwriting is what it says: writers held back, pictures and strokes of one drawing, writers that differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from made_handwriting import handwriting

SMALL: dict[str, Any] = {"n_alphabets": 2, "n_characters": 4, "n_writers": 5, "side": 32}


def test_each_writer_writes_each_character_once_and_stands_on_one_side() -> None:
    data = handwriting(target="character", **SMALL)
    assert data.groups is not None
    assert data.split is not None
    assert len(data) == 40
    assert {(w, c) for w, c in zip(data.groups, np.asarray(data.target), strict=True)} == {
        (w, c) for w in range(5) for c in range(8)
    }
    assert all(len(set(data.split[data.groups == w])) == 1 for w in range(5))
    assert {part: int((data.split == part).sum()) for part in ("train", "valid", "test")} == {
        "train": 24,
        "valid": 8,
        "test": 8,
    }


def test_the_target_of_alphabets_is_the_characters_alphabet() -> None:
    characters, alphabets = handwriting(target="character", **SMALL), handwriting(target="alphabet", **SMALL)
    assert np.array_equal(np.asarray(characters.target) // 4, np.asarray(alphabets.target))


def test_ink_is_where_the_pen_was_and_time_goes_on() -> None:
    data = handwriting(**SMALL)
    for picture, path in zip(data.modalities["picture"].values, data.modalities["strokes"].values, strict=True):
        x, y, seconds, down = path.T
        column, row = (np.minimum((v * 32).astype(int), 31) for v in (x, y))
        assert (picture[row, column, 0] < 250).mean() > 0.9
        assert (picture[..., 0] < 250).mean() < 0.5
        assert (np.diff(seconds) > 0).all()
        assert 2 <= (down == 0).sum() <= 4


def test_a_seed_repeats_and_writers_differ_unless_nothing_is_spread() -> None:
    one, again, other = (handwriting(seed=seed, **SMALL).modalities["picture"].values for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[:8], one[8:16])
    alike = handwriting(spread=0.0, **SMALL).modalities["picture"].values
    assert np.array_equal(alike[:8], alike[8:16])
