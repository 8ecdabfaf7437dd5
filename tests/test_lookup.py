"""Names to objects, near misses, and optional packages."""

from __future__ import annotations

import math

import pytest

from profuse._lookup import load, nearest, resolve
from profuse._optional import need
from profuse.errors import MissingDependencyError, ProfuseError, UnknownNameError

TABLE = {"concat": 1, "mean_logits": 2, "mean_probs": 3, "Gated": 4}


@pytest.mark.parametrize(
    ("asked", "first"),
    [("concatt", "concat"), ("CONCAT", "concat"), ("gated", "Gated"), ("mean_logit", "mean_logits")],
)
def test_the_nearest_name_comes_first_whatever_its_case(asked: str, first: str) -> None:
    assert nearest(asked, TABLE)[0] == first


def test_nothing_is_near_a_name_unlike_all_others() -> None:
    assert nearest("zzzzzz", TABLE) == []


def test_no_more_near_names_come_than_asked_for() -> None:
    assert len(nearest("mean_", TABLE, n=1)) == 1


def test_a_known_name_is_resolved() -> None:
    assert resolve("mean_probs", TABLE, where="here", what="fusion") == 3


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as raised:
        resolve("concatt", TABLE, where="here", what="fusion")
    assert str(raised.value) == "here: fusion must be a known name; got fusion='concatt'. Did you mean 'concat'?"


def test_an_unknown_name_unlike_all_others_is_told_with_all() -> None:
    with pytest.raises(KeyError) as raised:
        resolve("zzzzzz", TABLE, where="here", what="fusion")
    assert str(raised.value).endswith("Known: Gated, concat, mean_logits, mean_probs.")
    assert isinstance(raised.value, ProfuseError)


def test_a_path_is_loaded() -> None:
    assert load("math:pi") == math.pi


def test_a_package_that_is_there_is_returned() -> None:
    assert need("math", "audio", "reading sound") is math


def test_a_package_that_is_not_there_names_its_extra() -> None:
    with pytest.raises(
        MissingDependencyError, match=r"^reading sound: the package 'no_such_package' must be installed"
    ):
        need("no_such_package", "audio", "reading sound")
    with pytest.raises(ImportError, match=r"pip install 'profuse\[audio\]'"):
        need("no_such_package", "audio", "reading sound")


def test_only_names_near_the_best_one_are_told() -> None:
    assert nearest("concatt", ["concat", "contrastive", "dcca", "product"]) == ["concat"]
