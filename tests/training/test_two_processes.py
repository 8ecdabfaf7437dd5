"""One fit by two processes is the fit of one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from forks import Forks
from in_two_processes import CASES, fitted

EXACT = [name for name in CASES if name != "dropout"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, forks: Forks
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each of two processes has got, which have the variables that torchrun sets."""
    folder = tmp_path_factory.mktemp("two")
    code = f"from in_two_processes import *\nmain(Path({str(folder)!r}), {request.param!r})\nraise SystemExit"
    forks.run_two(before=code, ended=[0, 0])
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    return first, second


@pytest.mark.parametrize("name", EXACT)
def test_two_processes_have_the_losses_and_the_weights_of_one(name: str, two: tuple[dict[str, Any], ...]) -> None:
    one, first = fitted(name), two[0][name]
    np.testing.assert_allclose(first["curve"], one["curve"], rtol=0, atol=1e-5)
    assert first["best"] == one["best"]
    # parts are learned whether or not a loss reads them: those of "vote" that none does count, and decay
    assert first["n"] == one["n"] + (18 if two[0]["strategy"] == "fsdp" and "not all" in name else 0)
    assert one["best"] > 0 or name in ("GroupDRO", "rounds")  # else the weights are untrained ones
    # of a weight with hardly a gradient the step is one of rounding
    assert np.quantile(np.abs(np.subtract(first["weights"], one["weights"])), 0.95) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_both_processes_end_with_the_same_model(name: str, two: tuple[dict[str, Any], ...]) -> None:
    assert json.dumps(two[0][name]) == json.dumps(two[1][name])


def test_with_dropout_two_processes_draw_apart_and_come_to_a_like_score(two: tuple[dict[str, Any], ...]) -> None:
    one, first = np.asarray(fitted("dropout")["curve"]), np.asarray(two[0]["dropout"]["curve"])
    assert abs(one[1, 0] - first[1, 0]) > 1e-4
    assert abs(one[-1, 2] - first[-1, 2]) < 0.02


def test_callbacks_run_in_the_first_process_alone_and_stop_all(two: tuple[dict[str, Any], ...]) -> None:
    assert [each["stopped"]["calls"] for each in two] == [2, 0]
    assert [each["stopped"]["epochs"] for each in two] == [3, 3]  # with the untrained one


def test_a_process_that_fails_stops_the_other_with_its_message(two: tuple[dict[str, Any], ...]) -> None:
    assert [each["failed"] for each in two] == ["process 2 of 2 has failed: its disk is full", "its disk is full"]
