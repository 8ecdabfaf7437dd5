"""Parameters of what is fitted are fields of its options: names, order, defaults and texts."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import BaseModel
from sklearn.base import clone

from profuse import FusionClassifier, FusionRegressor
from profuse._fields import text
from profuse.data.table.options import ReadOptions
from profuse.estimators.options import FitOptions
from profuse.imputation import Imputer
from profuse.imputation.making import BASELINES
from profuse.imputation.options import AUTO, METHODS, ImputeOptions, ImputeTraining
from profuse.imputation.regressions import NETWORKS
from profuse.models.options import ModelOptions
from profuse.retrieval import Retriever
from profuse.retrieval.options import RetrievalOptions, RetrievalTraining
from profuse.training.options import TrainOptions

ESTIMATORS = (FusionClassifier, FusionRegressor)


def fields(*models: type[BaseModel], only: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of the first models, and of the last those named."""
    of_last = only or tuple(models[-1].model_fields)
    rest = {name: field for model in models[:-1] for name, field in model.model_fields.items()}
    return {**rest, **{name: models[-1].model_fields[name] for name in of_last}}


TRAINED = tuple(name for name in TrainOptions.model_fields if name != "seed")  # which is random_state
FIELDS: dict[type, dict[str, Any]] = {
    **{kind: {**fields(ModelOptions, TrainOptions, only=TRAINED), **fields(FitOptions)} for kind in ESTIMATORS},
    Imputer: fields(ImputeOptions, ImputeTraining, only=("epochs", "device", "precision", "threads")),
    Retriever: fields(
        RetrievalOptions,
        ReadOptions,
        RetrievalTraining,
        only=("epochs", "batch_size", "learning_rate", "patience", "refit", "device"),
    ),
}
NO_FIELDS: dict[type, set[str]] = {Imputer: {"schema"}, Retriever: {"schema", "random_state"}}
"""Parameters that are no fields: pydantic has no name `schema`; a retriever's `random_state` is training's seed."""


def parameters(kind: type) -> dict[str, Any]:
    """Name and default of each parameter that is a field."""
    others = NO_FIELDS.get(kind, {"schema"})
    return {p.name: p.default for p in inspect.signature(kind).parameters.values() if p.name not in others}


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_is_a_parameter_with_the_default_of_the_field(kind: type) -> None:
    wanted = {n: f.get_default(call_default_factory=True) for n, f in FIELDS[kind].items() if not f.is_required()}
    given = {n: d for n, d in parameters(kind).items() if d is not inspect.Parameter.empty}
    none = {name: None for name, value in wanted.items() if given.get(name, value) is None}  # of an empty default
    assert all(not wanted[name] for name in none)
    assert given == wanted | none
    assert set(parameters(kind)) - set(given) == {n for n, f in FIELDS[kind].items() if f.is_required()}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_parameters_of_an_estimator_stand_in_the_order_of_the_fields(kind: type) -> None:
    assert list(parameters(kind)) == list(FIELDS[kind])


@pytest.mark.parametrize("kind", FIELDS)
def test_a_parameter_is_an_attribute(kind: Any) -> None:
    given = {name: object() for name in inspect.signature(kind).parameters}
    model = kind(**given)
    assert {name: getattr(model, name) for name in given} == given
    assert {name for name in vars(model) if not name.startswith("_")} == set(given)
    assert all(p.kind is p.KEYWORD_ONLY or p.name == "modality" for p in inspect.signature(kind).parameters.values())
    with pytest.raises(TypeError):
        kind(**given, unknown=1)


@pytest.mark.parametrize(("model", "shown"), [
    (FusionClassifier(width=8), "FusionClassifier(width=8)"),
    (FusionRegressor(width=8, refit=True), "FusionRegressor(refit=True, width=8)"),
    (Imputer("scan", width=8), "Imputer(modality='scan', width=8)"),
])  # fmt: skip
def test_scikit_learn_knows_the_parameters(model: Any, shown: str) -> None:
    assert clone(model).get_params(deep=False) == model.get_params(deep=False)
    assert set(model.get_params(deep=False)) == set(inspect.signature(type(model)).parameters)
    assert repr(model) == shown
    assert model != clone(model)  # a model is equal to itself alone
    assert len({model, clone(model)}) == 2


@pytest.mark.parametrize("kind", [FusionClassifier, Imputer, Retriever])
def test_help_says_what_each_field_says(kind: type) -> None:
    told = " ".join(str(inspect.getdoc(kind)).split())
    for name, field in FIELDS[kind].items():
        assert f"{name}: {text(field)}" in told, name
    assert all(f" {name}: " in told for name in inspect.signature(kind).parameters)
    assert "{parameters}" not in told
    assert max(map(len, str(kind.__doc__).splitlines())) <= 120


def test_the_methods_of_an_imputer_are_those_that_are_made() -> None:
    assert (AUTO, *NETWORKS, *BASELINES) == METHODS
    assert all(method in str(ImputeOptions.model_fields["method"].description) for method in METHODS)
