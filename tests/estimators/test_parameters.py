"""Parameters of what is fitted are fields of its options: names, order, defaults and texts."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import pytest
from sklearn.base import clone

from profuse import FusionClassifier, FusionRegressor
from profuse._fields import text
from profuse.estimators.options import FitOptions
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions

KINDS = (FusionClassifier, FusionRegressor)
FIELDS = {
    **ModelOptions.model_fields,
    **{name: field for name, field in TrainOptions.model_fields.items() if name != "seed"},  # it is random_state
    **FitOptions.model_fields,
}


def own(kind: type) -> dict[str, Any]:
    """Name and default of each parameter but `schema`, which pydantic has no field for."""
    parameters = inspect.signature(kind).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters)
    return {p.name: p.default for p in parameters if p.name != "schema"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_a_parameter_in_the_order_and_with_the_default_of_the_field(kind: type) -> None:
    defaults = {n: f.get_default(call_default_factory=True) for n, f in FIELDS.items()}
    assert list(own(kind)) == list(FIELDS)
    assert own(kind) == {name: None if value == {} else value for name, value in defaults.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_is_an_attribute_and_survives_a_clone(kind: Any) -> None:
    assert list(own(kind)) == [name for name in kind().get_params() if name != "schema"] or set(own(kind)) < set(
        kind().get_params()
    )
    given = {name: object() for name in inspect.signature(kind).parameters if name not in ("fusion", "encoders")}
    model = kind(**given)
    assert {name: getattr(model, name) for name in given} == given
    assert model.get_params(deep=False).items() >= given.items()
    assert vars(model).keys() == inspect.signature(kind).parameters.keys()
    assert clone(kind(width=8)).width == 8
    assert repr(kind(width=8)) == f"{kind.__name__}(width=8)"


def test_the_help_of_an_estimator_says_what_each_field_says() -> None:
    told = " ".join(str(inspect.getdoc(FusionClassifier)).split())
    for name, field in FIELDS.items():
        assert f"{name}: {text(field)}" in told, name
    assert "{parameters}" not in told
    lines = textwrap.dedent(str(FusionClassifier.__doc__)).splitlines()
    assert max(map(len, lines)) <= 120
