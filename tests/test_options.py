"""How faults of options are told: one plain sentence part each, all together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, field_validator

from profuse._options import checked, faults_of, in_one, misread
from profuse.comparison.options import CompareOptions
from profuse.errors import ConfigError
from profuse.estimators.fusion import FusionClassifier
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions


class Tea(BaseModel):
    """Options with validators that say a part of a sentence, or a whole one."""

    cups: int = 1
    sugar: bool | None = None
    leaf: str = "green"

    @field_validator("leaf")
    @classmethod
    def _known(cls, asked: str) -> str:
        if asked == "mint":
            raise ValueError("profuse: tea must be a known name; got tea='mint'. Did you mean 'mate'?")
        if asked == "old":
            raise ValueError("leaf must be fresh; got leaf='old'.")
        if asked == "dust":
            raise ValueError("must not be dust")
        if asked == "":
            raise ValueError("a word")
        return asked


@pytest.mark.parametrize(("values", "told"), [
    ({"leaf": "old"}, "leaf must be fresh; got leaf='old'"),
    ({"leaf": "mint"}, "leaf: tea must be a known name; got tea='mint'. Did you mean 'mate'?"),
    ({"leaf": "dust"}, "leaf must not be dust; got leaf='dust'"),
    ({"leaf": ""}, "leaf must be a word; got leaf=''"),
    ({"leaf": 3}, "leaf must be a valid string; got leaf=3"),
])  # fmt: skip
def test_a_validator_may_say_a_part_of_the_sentence_or_all_of_it(values: dict[str, Any], told: str) -> None:
    assert faults_of(Tea, values) == (told,)


def test_all_faults_are_one_message_that_ends_once() -> None:
    with pytest.raises(ConfigError) as error:
        checked(Tea, {"cups": "many", "leaf": "mint"}, where="tea")
    told = "leaf: tea must be a known name; got tea='mint'. Did you mean 'mate'?"
    assert (
        str(error.value)
        == f"tea: cups must be a valid integer, unable to parse string as an integer; got cups='many'; {told}"
    )
    assert in_one("tea", ["a", "b"]) == "tea: a; b."


def test_text_and_truth_that_were_read_as_something_else_are_told() -> None:
    values = {"cups": "2", "sugar": "no", "leaf": "oolong"}
    assert misread(Tea(**values), values) == (
        "cups must be 2 if that is meant; got cups='2'",
        "sugar must be False if that is meant; got sugar='no'",
    )
    assert misread(Tea(cups=True), {"cups": True}) == ("cups must be 1 if that is meant; got cups=True",)
    assert misread(Tea(cups=2, sugar=True), {"cups": 2, "sugar": True}) == ()


def test_rounds_that_contradict_other_options_are_told_with_the_other_faults() -> None:
    told = faults_of(ModelOptions, {"rounds": "equilibrium", "supervise": "all"})
    assert len(told) == 1
    assert told[0].startswith("rounds='equilibrium' must go with supervise='last'")
    with pytest.raises(ConfigError, match=r"rounds='equilibrium' must go with.*; balance must be a known name"):
        FusionClassifier(rounds="equilibrium", start="learned", balance="ogm").fit(np.zeros((4, 2)), [0, 1, 0, 1])


def test_options_of_an_encoder_in_place_of_its_name_are_told_where_they_belong() -> None:
    (fault,) = faults_of(ModelOptions, {"encoders": {"a": {"name": "static", "width": 32}, "b": "vit"}})
    assert fault.startswith("encoders must be the name of an encoder for each modality; options belong in ")
    assert "encoder_options: {a: {'width': 32}}; got encoders=" in fault


def test_numbers_within_options_must_be_numbers_too() -> None:
    for value in ("0.5", True):
        with pytest.raises(ConfigError, match=r"balance_options\['alpha'\] must be .* if that is meant"):
            FusionClassifier(balance="ogm_ge", balance_options={"alpha": value}).fit(np.zeros((4, 2)), [0, 1, 0, 1])  # type: ignore[dict-item]


@pytest.mark.parametrize(("model", "values", "told"), [
    (ModelOptions, {"fusion": "gatd"}, "fusion must be a known name; got fusion='gatd'. Did you mean 'gated'?"),
    (ModelOptions, {"decision": "vot"}, "decision: fusion must be a known name; got fusion='vot'. Did you"),
    (ModelOptions, {"encoders": {"a": "vitt"}}, "encoders: encoder must be a known name; got encoder='vitt'. Did you"),
    (TrainOptions, {"device": "mps"}, "device must be there; got device='mps', which this machine, or this torch, has"),
])  # fmt: skip
def test_what_is_named_must_be_there_when_it_is_asked_for_and_not_in_what_was_saved(
    model: Any, values: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    (fault,) = faults_of(model, values)
    assert fault.startswith(told)
    with pytest.raises(ConfigError):
        checked(model, values, where="x")
    assert faults_of(CompareOptions, {"model" if model is ModelOptions else "train": values}) != ()
    assert model.model_validate(values).model_dump(include=set(values)) == values
