"""What a pydantic field says of itself, in words."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from profuse._fields import Shown, bounds, choices, default, documented, kind, text


class Tea(BaseModel):
    """Options of all sorts."""

    leaf: Literal["green", "black"] = Field("green", description="Which leaf: green or black.")
    cups: int = Field(2, ge=1, le=40_000_000, description="How many cups.")
    sugar: Annotated[float | None, Shown("by taste")] = Field(None, gt=0, description="Spoons.")
    strength: float = Field(0.5, ge=0, lt=1, description="How strong.")
    milk: float = Field(1e-4, gt=0, le=1, description="How much milk.")
    guests: tuple[str, ...] = Field(("Ann", "Bo"), description="Who comes.")
    notes: Annotated[dict[str, Any], Shown("the cook's")] = Field(default_factory=dict, description="What else.")
    name: str = Field(description="Of the party.")


@pytest.mark.parametrize(("name", "range_", "type_", "shown"), [
    ("leaf", "N", Literal["green", "black"], "green"),
    ("cups", "1<=N<=40000000", int, "2"),
    ("sugar", "N>0", float, "by taste"),
    ("strength", "0<=N<1", float, "0.5"),
    ("milk", "0<N<=1", float, "0.0001"),
    ("guests", "N", tuple[str, ...], "Ann,Bo"),
    ("notes", "N", dict[str, Any], "the cook's"),
    ("name", "N", str, "required"),
])  # fmt: skip
def test_range_type_and_default_are_told(name: str, range_: str, type_: Any, shown: str) -> None:
    field = Tea.model_fields[name]
    assert (bounds(field, "N"), kind(field), default(field)) == (range_, type_, shown)


def test_a_lower_bound_alone_stands_behind_the_name() -> None:
    class Cup(BaseModel):
        size: int = Field(1, ge=1)

    assert bounds(Cup.model_fields["size"], "N") == "N>=1"


def test_choices_and_texts_are_told() -> None:
    assert choices(Tea.model_fields["leaf"]) == ("green", "black")
    assert choices(Tea.model_fields["name"]) == ()
    assert text(Tea.model_fields["sugar"]) == "Spoons (by taste)."
    assert text(Tea.model_fields["name"]) == "Of the party."


def test_parameters_are_written_into_a_docstring_and_others_are_left_out() -> None:
    @documented([Tea], {"host": "Who pays.", "cups": "Or a pot."})
    def party(host: str, cups: int = 2, *, guests: int = 0, other: int = 0) -> None:
        """Gives a party.

        Args:
            {parameters}
            other: Written by hand.
        """

    assert str(inspect.getdoc(party)).splitlines()[2:] == [
        "Args:",
        "    host: Who pays.",
        "    cups: How many cups (2). Or a pot.",
        "    guests: Who comes (Ann,Bo).",
        "    other: Written by hand.",
    ]


def test_long_texts_are_broken_and_indented() -> None:
    @documented([], {"a": "word " * 40, "b": "Short."})
    def made(a: int, b: int) -> None:
        """Makes it.

        Args:
            {parameters}
        """

    lines = str(inspect.getdoc(made)).splitlines()[3:]
    assert [line[: len(line) - len(line.lstrip())] for line in lines] == [" " * 4, " " * 8, " " * 4]
    assert max(map(len, str(made.__doc__).splitlines())) <= 120
