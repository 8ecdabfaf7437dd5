"""`glyphs`: facts about letters that anybody can look up."""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest
from not_none import not_none

from profuse.data.dataset import Dataset
from profuse.datasets import info, load
from profuse.datasets.glyphs import NO_SCRIPTS


@pytest.fixture(scope="module")
def sans() -> Dataset:
    return load("glyphs")


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return load("glyphs", variant="faces")


def _row(data: Dataset, letter: str, face: str = "sans") -> int:
    return int(np.flatnonzero(data.ids == f"{face} U+{ord(letter):04X}")[0])


def test_kinds_shapes_and_counts(sans: Dataset) -> None:
    about = info("glyphs")
    assert len(sans) == about.n_rows == 2983
    assert {name: data.kind for name, data in sans.modalities.items()} == dict(about.modalities)
    assert sans.modalities["picture"].values.shape == (2983, 32, 32, 1)
    assert sans.modalities["picture"].values.dtype == np.uint8
    assert {outline.shape[1] for outline in sans.modalities["outline"].values} == {4}
    assert all(np.isfinite(outline).all() for outline in sans.modalities["outline"].values)


def test_every_script_has_40_letters_and_none_is_a_word_that_says_nothing(sans: Dataset) -> None:
    counts: Counter[str] = Counter(not_none(sans.target).tolist())
    assert len(counts) == 12
    assert min(counts.values()) >= 40
    assert not set(counts) & set(NO_SCRIPTS)
    assert {"LATIN", "ARABIC", "GREEK", "CYRILLIC", "GEORGIAN", "ARMENIAN", "HEBREW", "TIFINAGH", "LISU"} < set(counts)


def test_latin_greek_and_cyrillic_a_are_one_picture_and_one_outline_but_three_scripts(sans: Dataset) -> None:
    rows = [_row(sans, letter) for letter in "AΑА"]
    assert [not_none(sans.target)[row] for row in rows] == ["LATIN", "GREEK", "CYRILLIC"]
    for name in ("picture", "outline"):
        first, *others = (sans.modalities[name].values[row] for row in rows)
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_the_text_is_the_name_without_its_script_so_that_it_names_several_letters(sans: Dataset) -> None:
    text = sans.modalities["text"].values
    assert text[_row(sans, "ά")] == "SMALL LETTER ALPHA WITH TONOS"
    assert text[_row(sans, "A")] == text[_row(sans, "А")] == "CAPITAL LETTER A"
    for name, script, code in zip(text, not_none(sans.target), not_none(sans.groups), strict=True):
        assert unicodedata.name(chr(int(code[2:], 16))) == f"{script} {name}"


def test_pictures_are_upright_and_hold_all_ink_but_a_trace(sans: Dataset) -> None:
    pictures = sans.modalities["picture"].values[..., 0].astype(float)
    assert (pictures.max(axis=(1, 2)) > 100).all()
    assert pictures[:, [0, -1]].sum() + pictures[:, :, [0, -1]].sum() < 0.001 * pictures.sum()
    low = pictures[_row(sans, "L")]
    assert low[16:].sum() > low[:16].sum()
    assert low[:, :16].sum() > low[:, 16:].sum()
    small, large = (pictures[_row(sans, letter)] for letter in "oO")
    assert small.sum() < large.sum()  # one scale for all letters: small ones stay small


def test_an_outline_begins_each_contour_and_lies_where_the_ink_lies(sans: Dataset) -> None:
    outline = sans.modalities["outline"].values[_row(sans, "O")]
    assert outline[0, 2] == 1
    assert outline[:, 2].sum() == 2  # an O has an outer and an inner contour
    assert outline[:, 3].any()  # and curves
    assert not sans.modalities["outline"].values[_row(sans, "L")][:, 3].any()
    assert outline[:, 1].max() == pytest.approx(0.742, abs=0.01)  # 1520 of 2048 units: the face's cap height and more
    assert outline[:, 1].min() == pytest.approx(-0.014, abs=0.01)


def test_further_faces_draw_the_same_letters_again_and_groups_keep_them_together(sans: Dataset, faces: Dataset) -> None:
    groups, scripts_of_faces = not_none(faces.groups), not_none(faces.target)
    assert set(groups) == set(not_none(sans.groups))
    assert max(Counter(groups.tolist()).values()) == 3
    assert len(set(not_none(faces.ids))) == len(faces) == 6411
    scripts = dict(zip(not_none(sans.groups), not_none(sans.target), strict=True))
    assert all(scripts[group] == script for group, script in zip(groups, scripts_of_faces, strict=True))
    one, other = _row(faces, "g"), _row(faces, "g", "serif")
    assert groups[one] == groups[other]
    assert not np.array_equal(*(faces.modalities["picture"].values[row] for row in (one, other)))


def test_two_loads_are_equal(sans: Dataset) -> None:
    again = load("glyphs")
    np.testing.assert_array_equal(again.modalities["picture"].values, sans.modalities["picture"].values)
    np.testing.assert_array_equal(again.ids, sans.ids)


@pytest.mark.slow
def test_picture_and_text_together_beat_each_alone_by_linear_models(sans: Dataset) -> None:
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.svm import LinearSVC

    picture = csr_matrix(sans.modalities["picture"].values.reshape(len(sans), -1) / 800.0)
    text = TfidfVectorizer().fit_transform(sans.modalities["text"].values)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    score = {
        name: (cross_val_predict(LinearSVC(max_iter=5000), x, sans.target, cv=folds) == sans.target).mean()
        for name, x in {"picture": picture, "text": text, "both": hstack([picture * 0.3, text]).tocsr()}.items()
    }
    assert score["picture"] == pytest.approx(0.73, abs=0.03)
    assert score["text"] == pytest.approx(0.91, abs=0.03)
    assert score["both"] > max(score["picture"], score["text"]) + 0.02
