"""Options of the command line are the fields of the models: name, type, default, range and text, and all are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from profuse._fields import bounds, choices, default, kind, shown, text
from profuse._options import faults_of
from profuse.cli._options import From, Given, options
from profuse.cli.compare import compare
from profuse.cli.fit import fit
from profuse.comparison.options import CompareOptions
from profuse.estimators.options import FitOptions
from profuse.imputation.options import ImputeOptions, ImputeTraining
from profuse.models.options import ModelOptions
from profuse.retrieval.options import RetrievalOptions, RetrievalTraining
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

MODELS: tuple[type[BaseModel], ...] = (
    ModelOptions, TrainOptions, CompareOptions, SplitOptions, FitOptions, RetrievalOptions, RetrievalTraining,
    ImputeTraining,
)  # fmt: skip
GIVEN: dict[str, tuple[str, Any]] = {
    "fusion": ("concat", "concat"),
    "level": ("raw", "raw"),
    "decision": ("vote", "vote"),
    "rounds": ("3", 3),
    "feedback": ("gate", "gate"),
    "into": ("a, b", ("a", "b")),
    "entry": ("input", "input"),
    "start": ("learned", "learned"),
    "supervise": ("all", "all"),
    "gradient_rounds": ("2", 2),
    "max_rounds": ("9", 9),
    "tolerance": ("0.01", 0.01),
    "damping": ("0.5", 0.5),
    "width": ("8", 8),
    "dropout": ("0.3", 0.3),
    "label_smoothing": ("0.2", 0.2),
    "head": ("quantile", "quantile"),
    "unimodal_loss_weight": ("0.25", 0.25),
    "members": ("4", 4),
    "encoders": ("picture=vit", {"picture": "vit"}),
    "encoder_options": ("{picture: {dropout: 0.3}}", {"picture": {"dropout": 0.3}}),
    "operator_options": ("{low_rank: {rank: 8}}", {"low_rank": {"rank": 8}}),
    "epochs": ("3", 3),
    "max_steps": ("77", 77),
    "batch_size": ("16", 16),
    "learning_rate": ("0.01", 0.01),
    "weight_decay": ("0.1", 0.1),
    "warmup_fraction": ("0.2", 0.2),
    "averaging": ("0.1", 0.1),
    "patience": ("2", 2),
    "refit": ("", True),
    "class_weight": ("{0: 1, ill: 5.5}", {"0": 1.0, "ill": 5.5}),
    "max_grad_norm": ("2", 2.0),
    "modality_dropout": ("0.1", 0.1),
    "balance": ("ogm_ge", "ogm_ge"),
    "balance_options": ("alpha: 0.5", {"alpha": 0.5}),
    "subgroup_method": ("sampling", "sampling"),
    "subgroup_all_classes": ("", True),
    "dro_step": ("0.1", 0.1),
    "dro_adjustment": ("2", 2.0),
    "device": ("cpu", "cpu"),
    "precision": ("bf16-mixed", "bf16-mixed"),
    "threads": ("2", 2),
    "seed": ("5", 5),
}
"""What is typed for a field, and what the field then holds."""


FIELDS = [(model, name) for model in (ModelOptions, TrainOptions) for name in model.model_fields]


def asked(model: type[BaseModel], *args: str, **how: Any) -> Mapping[str, Any]:
    """Returns what a command with the options of `model` is called with."""
    app, calls = typer.Typer(), []

    @options(given=From(model, "Panel", **how))
    def command(given: Given) -> None:
        calls.append(given)

    app.command()(command)
    done = CliRunner().invoke(app, list(args))
    assert done.exit_code == 0, done.output
    return dict(calls[0])


def flag(name: str, model: type[BaseModel]) -> str:
    return shown(model.model_fields[name]).flag or "--" + name.replace("_", "-")


@pytest.mark.parametrize("model", [ModelOptions, TrainOptions])
def test_every_field_is_tried(model: type[BaseModel]) -> None:
    assert set(model.model_fields) <= set(GIVEN)


def test_class_weight_takes_a_word_too() -> None:
    assert asked(TrainOptions, "--class-weight", "balanced") == {"class_weight": "balanced"}


@pytest.mark.parametrize("model", MODELS)
def test_what_is_not_given_is_left_to_the_defaults(model: type[BaseModel]) -> None:
    without = ("split", "model", "train") if model is CompareOptions else ()
    assert asked(model, without=without) == {}


@pytest.mark.parametrize(
    ("model", "name"), [(m, name) for m in (ModelOptions, TrainOptions) for name in m.model_fields]
)
def test_what_is_typed_is_what_the_field_holds(model: type[BaseModel], name: str) -> None:
    typed, value = GIVEN[name]
    given = asked(model, flag(name, model), *([typed] if typed else []))
    assert given == {name: value}
    assert value != model.model_fields[name].get_default(call_default_factory=True)
    also: dict[str, object] = {"balance": "ogm_ge"} if name == "balance_options" else {}
    also = {"subgroup_method": "dro"} if name.startswith("dro_") else also
    also = {"rounds": 2} if name in ("start", "gradient_rounds", "supervise") else also
    assert faults_of(model, {**also, **given}) == ()
    assert getattr(model.model_validate({**also, **given}), name) == value


def test_a_truth_can_be_denied_and_a_name_of_an_encoder_can_be_repeated() -> None:
    assert asked(TrainOptions, "--no-refit") == {"refit": False}
    assert asked(ModelOptions, "--encoder", "a=vit", "--encoder", "b=gru") == {"encoders": {"a": "vit", "b": "gru"}}


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        (("--rounds", "2, equilibrium"), {"rounds": (2, "equilibrium")}),
        (("--rounds", "none"), {"rounds": ()}),
        (("--fusions", "all"), {"fusions": ("all",)}),
        (("--singles", "none"), {"singles": ()}),
        (("--singles", "a,b", "--seeds", "2"), {"singles": ("a", "b"), "seeds": 2}),
    ],
)
def test_lists_are_divided_at_commas(flags: tuple[str, ...], value: dict[str, Any]) -> None:
    given = asked(CompareOptions, *flags, without=("split", "model", "train"))
    assert CompareOptions.model_validate(given).model_dump(include=set(value)) == value


@pytest.fixture
def helped(run: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The help of a command, without frames and breaks of lines."""
    monkeypatch.setenv("COLUMNS", "200")
    return lambda command: " ".join(re.sub(r"[│╭╮╰╯─]", " ", run(command, "--help").stdout).split())


FITS: dict[type[BaseModel], set[str]] = {ModelOptions: {"level"}, TrainOptions: set()}
"""The level stands before the name of the fusion."""


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("fit", FITS),
        ("compare", {
            ModelOptions: {"fusion", "level", "rounds"},  # which the comparison sets itself
            TrainOptions: {"seed"},
            CompareOptions: {"split", "model", "train"},
            SplitOptions: set(),
        }),
        ("impute", {
            ImputeOptions: {"base_dir", "modality"},  # the folder of the table; and a saved imputer knows it
            ImputeTraining: set(TrainOptions.model_fields) - {"epochs", "device", "precision", "threads"},
        }),
        ("retrieve", {
            RetrievalOptions: set(),
            RetrievalTraining: set(TrainOptions.model_fields)
            - {"epochs", "batch_size", "learning_rate", "patience", "refit", "device", "seed"},
        }),
    ],
)  # fmt: skip
def test_help_shows_every_field_with_its_range_its_text_and_its_default(
    helped: Any, command: str, parts: dict[type[BaseModel], set[str]]
) -> None:
    told = helped(command)
    for model, left_out in parts.items():
        for name, field in model.model_fields.items():
            if name in left_out:
                continue
            assert f"{flag(name, model)} " in told, name
            assert text(field) in told, name
            assert field.is_required() or f"({default(field)})" in told, name
            if kind(field) in (int, float) and shown(field).metavar is None:
                assert f" {bounds(field, 'N' if kind(field) is int else 'X')} " in told, name


@pytest.mark.parametrize("command", [fit, compare])
def test_rare_options_come_last_under_a_heading_of_their_own(command: Any) -> None:
    panels = [p.annotation.__metadata__[0].rich_help_panel for p in command.__signature__.parameters.values()
              if p.default is None and p.annotation.__metadata__]  # fmt: skip
    first = panels.index("More")
    assert set(panels[first:]) == {"More"}
    assert 0 < first < len(panels)


@pytest.mark.parametrize("model", [*MODELS, ImputeOptions])
def test_every_field_says_what_it_is_and_names_its_choices(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description[-1] == ".", name
        assert all(choice in field.description for choice in choices(field)), name


@pytest.mark.parametrize(
    ("model", "name", "example"),
    [
        (m, name, example)
        for m in MODELS
        for name, field in m.model_fields.items()
        for example in re.findall(r"\{.*\}", field.description or "")
    ],
)
def test_an_example_names_what_is_there(model: type[BaseModel], name: str, example: str) -> None:
    also: dict[str, object] = {"balance": "ogm_ge"} if name == "balance_options" else {}
    assert faults_of(model, {**also, name: yaml.safe_load(example)}) == ()


def test_the_names_in_descriptions_are_those_of_the_tables() -> None:
    from profuse.training.balance import BALANCES

    told = str(TrainOptions.model_fields["balance"].description)
    assert set(re.findall(r"\w+", told.partition(":")[2])) - {"or"} == set(BALANCES)


def test_a_name_with_a_comma_is_one_and_what_must_be_given_is_told() -> None:
    told = asked(ImputeOptions, "-m", "scan", "--target", "high, or low", "-t", "b")
    assert told == {"modality": "scan", "target": ("high, or low", "b")}
    app = typer.Typer()
    app.command()(options(given=From(ImputeOptions))(lambda given: None))
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2
    assert "--modality" in done.output


def test_what_was_given_is_told_by_its_names_on_the_command_line() -> None:
    given = {"column": "day", "test_size": 0.3}
    assert From(SplitOptions).flags(given) == ["--split-column", "--test-size"]
    assert From(SplitOptions, only=("method", "column")).flags(given) == ["--split-column"]
