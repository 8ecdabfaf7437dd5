"""Rounds are checked in one way: in a model of our parts, around a module, when they are set, and among options."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from profuse.errors import ConfigError
from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.progressive import ProgressiveFusion, Rounds, WrappedProgressive, check_rounds
from profuse.schema import Spec


def model(rounds: Any) -> Rounds:
    specs = {"a": Spec(kind="vector", n_channels=3), "b": Spec(kind="vector", n_channels=2)}
    plain: Any = build_model(
        specs, "regression", 1, ModelOptions(members=1, fusion="concat", width=8), n_rows=20, seed=0
    )
    return ProgressiveFusion(plain, rounds=rounds).rounds


def wrapped(**options: Any) -> WrappedProgressive:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    return ProgressiveFusion.wrap(module, into={"x": "0"}, state="1", example=torch.randn(2, 3), **options)


def around(rounds: Any) -> Rounds:
    return wrapped(rounds=rounds).rounds


def around_later(rounds: Any) -> Rounds:
    model = wrapped()
    model.rounds = rounds
    return model.rounds


def options(rounds: Any) -> Rounds:
    return ModelOptions(rounds=rounds).rounds


def alone(rounds: Any) -> Rounds:
    return check_rounds(rounds, where="here")


DOORS = [model, around, around_later, options, alone]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("rounds", [1, 3, np.int64(2), np.uint8(4), "equilibrium"])
def test_every_whole_number_and_an_equilibrium_are_rounds_at_every_door(
    door: Callable[[Any], Rounds], rounds: Any
) -> None:
    found = door(rounds)
    assert found == rounds
    assert type(found) in (int, str)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "rounds",
    [0, -1, True, False, np.bool_(True), 2.5, "rest", None, [2], (2, 3), float("nan"), np.array([1, 2]), torch.ones(2)],
)
def test_nothing_else_is(door: Callable[[Any], Rounds], rounds: Any) -> None:
    with pytest.raises(ValueError, match="rounds"):
        door(rounds)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rounds": True}, "here: rounds must be at least 1, or 'equilibrium'; got rounds=True."),
        ({"rounds": 2, "gradient_rounds": True}, "here: gradient_rounds must be at least 1; got gradient_rounds=True."),
        (
            {"rounds": "equilibrium", "start": "learned", "gradient_rounds": 1},
            "here: rounds='equilibrium' must go with start='zero', gradient_rounds=None, as the converged state "
            "depends on no round and no start; got start='learned', gradient_rounds=1.",
        ),
        ({"rounds": "equilibrium", "supervise": "all"}, "must go with supervise='last', as"),
        (
            {"rounds": 3, "start": "learned", "gradient_rounds": 2},
            "here: start='learned' must go with a gradient in all rounds, as it learns by round one; got rounds=3, "
            "gradient_rounds=2. Use gradient_rounds=None, or start='zero'.",
        ),
    ],
)
def test_the_message_names_what_is_wrong_and_only_that(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_rounds(where="here", **given)


def test_a_learned_start_may_do_without_some_gradients_where_every_round_is_returned() -> None:
    assert check_rounds(3, where="here", start="learned", gradient_rounds=2, returns="all") == 3
