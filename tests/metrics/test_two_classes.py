"""Two classes: an answer that is never given, and a class of few rows, are told."""

from __future__ import annotations

import numpy as np
import pytest

from profuse.metrics import notes_of_two_classes


def notes(n_yes: int, said: np.ndarray, n: int = 200) -> list[str]:
    return notes_of_two_classes((np.arange(n) < n_yes).astype(int), (said > 0.5).astype(int), ["no", "yes"])


def test_a_class_that_is_never_answered_is_named_with_its_rows() -> None:
    (told,) = notes(23, np.linspace(0.49, 0, 200))
    assert told.startswith(
        "At the threshold .5 the model never answers 'yes': in none of 200 rows, of which 23 are 'yes'."
    )
    assert "TunedThresholdClassifierCV" in told


def test_a_single_answer_that_is_given_is_enough() -> None:
    said = np.full(200, 0.4)
    said[100] = 0.51
    assert notes(23, said) == []


def test_a_frequent_class_may_be_the_one_that_is_never_answered() -> None:
    (told,) = notes(23, np.full(200, 0.9))
    assert "never answers 'no': in none of 200 rows, of which 177 are 'no'" in told


def test_a_class_that_no_row_has_need_not_be_answered() -> None:
    assert notes(0, np.full(200, 0.1)) == []


@pytest.mark.parametrize(
    ("n_yes", "told"),
    [(1, "1 of 200 rows is 'yes'"), (9, "9 of 200 rows are 'yes', fewer than 10"), (10, ""), (191, "9 of ")],
)
def test_a_class_of_fewer_than_ten_rows_is_told(n_yes: int, told: str) -> None:
    said = np.linspace(0, 1, 200)
    found = notes(n_yes, said)
    assert len(found) == bool(told)
    assert all(note.startswith(told) for note in found)
