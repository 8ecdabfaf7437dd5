"""The options of Progressive Fusion from outside: checked, passed on, saved, and used by what is fitted."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import make_product
from torch import nn

from profuse import FusionClassifier
from profuse._options import faults_of
from profuse.data.split import Split
from profuse.errors import ConfigError
from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor, load_model
from profuse.progressive import FEEDBACKS, ProgressiveFusion
from profuse.schema import Spec
from profuse.tokens import Raw
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

OTHERS: list[dict[str, Any]] = [
    {"feedback": "gate", "into": ("b",), "entry": "input"},
    {"feedback": "concat", "entry": "later", "start": "learned", "rounds": 3, "gradient_rounds": 3},
    {"rounds": 3, "gradient_rounds": 1},
    {"feedback": "attend", "supervise": "all", "fusion": "token_transformer"},
    {"rounds": "equilibrium", "max_rounds": 300, "tolerance": 1e-3, "damping": 0.7},
]


def fitted(**options: Any) -> NetworkPredictor:
    rows = np.arange(200)
    data = Prepared.make(make_product(absent=0.2), Split(rows[:120], rows[120:160], rows[160:]))
    given = {"fusion": "concat", "width": 16, "rounds": 2, **options}
    return fit_model(data, ModelOptions(**given), TrainOptions(epochs=2, refit=False))


@pytest.mark.slow
@pytest.mark.parametrize("options", OTHERS)
def test_options_reach_the_model_and_a_saved_model_predicts_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    trained = fitted(**options)
    model = trained.model
    assert isinstance(model, ProgressiveFusion)
    assert isinstance(model.feedbacks[0], FEEDBACKS[options.get("feedback", "scale_shift")])
    assert model.into == options.get("into", ("a", "b"))
    assert set(model.entries.values()) == {options.get("entry", "early")}
    assert (model.start is not None) == (options.get("start") == "learned")
    for name in ("rounds", "supervise", "gradient_rounds", "max_rounds", "tolerance", "damping"):
        assert getattr(model, name) == getattr(trained.model_options, name)
    trained.save(tmp_path / "m")
    again, dataset = load_model(tmp_path / "m"), make_product(seed=5, absent=0.3)
    assert isinstance(again, NetworkPredictor)
    assert again.model_options == trained.model_options
    assert np.array_equal(trained.predict_proba(dataset), again.predict_proba(dataset))


def test_every_option_of_progressive_fusion_is_one_of_models_with_the_same_default() -> None:
    parameters = inspect.signature(ProgressiveFusion.__init__).parameters.values()
    own = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    fields = {name: ModelOptions.model_fields[name].default for name in own}
    assert {**fields, "rounds": 2} == own  # a model is plain unless it is asked for rounds
    assert ModelOptions().rounds == 1


@pytest.mark.parametrize(
    ("rounds", "fault"),
    [
        (0, "rounds must be greater than or equal to 1; got rounds=0"),
        (65, "rounds must be less than or equal to 64; got rounds=65"),
        (1.5, "rounds must be a valid integer, got a number with a fractional part; got rounds=1.5"),
        (
            "rest",
            "rounds must be a valid integer, unable to parse string as an integer, or 'equilibrium'; got rounds='rest'",
        ),
    ],
)
def test_wrong_rounds_are_told(rounds: Any, fault: str) -> None:
    assert faults_of(ModelOptions, {"rounds": rounds}) == (fault,)


def test_a_learned_start_without_gradient_is_told() -> None:
    asked = {"rounds": 3, "start": "learned", "gradient_rounds": 1}
    (fault,) = faults_of(ModelOptions, asked)
    assert "start='learned' must go with a gradient in all rounds" in fault
    assert faults_of(ModelOptions, {**asked, "gradient_rounds": 3}) == ()


def test_an_estimator_takes_them_and_finds_an_equilibrium() -> None:
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=(80, 3)), "b": rng.normal(size=(80, 2))}
    model = FusionClassifier(rounds="equilibrium", fusion="concat", entry="input", epochs=2, width=8)
    model.fit(X, (X["a"][:, 0] * X["b"][:, 0] > 0).astype(int))
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_fitted_model_predicts_after_each_round_and_says_how_many_a_row_used() -> None:
    trained, dataset = fitted(rounds=3), make_product(seed=5, absent=0.3)
    rounds, used = trained.predict_rounds(dataset)
    assert rounds.shape == (3, len(trained.predict_proba(dataset)), 2)
    np.testing.assert_allclose(rounds[-1], trained.predict_proba(dataset), atol=1e-6)
    assert (used == 3).all()
    moves = np.abs(np.diff(rounds, axis=0)).max(2)
    tolerance = float(np.quantile(moves[0], 0.5))
    settled, fewer = trained.predict_rounds(dataset, tolerance=tolerance)
    assert np.array_equal(fewer, np.where(moves[0] <= tolerance, 2, 3))
    np.testing.assert_allclose(settled[2], np.where((fewer == 2)[:, None], rounds[1], rounds[2]), atol=1e-6)


def test_a_plain_model_has_no_rounds_to_predict_after() -> None:
    with pytest.raises(ConfigError, match="must be progressive; got rounds=1"):
        fitted(rounds=1).predict_rounds(make_product())


KINDS = {
    "number": Spec(kind="table", cardinalities=(0, 3, 0), edges=((0.0, 1.0), (), (0.0, 1.0))),
    "codes": Spec(kind="table", cardinalities=(3,), edges=((),)),
    "picture": Spec(kind="image", n_channels=3, image_size=(16, 16)),
    "sound": Spec(kind="audio", n_channels=16, max_length=20),
    "words": Spec(kind="text", vocabulary=9, max_length=5),
    "curve": Spec(kind="series", n_channels=2, max_length=12),
    "point": Spec(kind="vector", n_channels=4),
}
WIDTHS = {"number": 2, "picture": 3, "sound": 16, "curve": 2, "point": 4}
"""Of the raw values that feedback changes; codes and words are no numbers."""


def every_kind() -> dict[str, Raw]:
    g = torch.Generator().manual_seed(0)
    there = torch.tensor([True, True, False])
    codes = torch.randint(0, 3, (3, 1), generator=g).float()
    numbers = torch.randn(3, 2, generator=g)
    return {
        "number": Raw(torch.cat([numbers[:, :1], codes, numbers[:, 1:]], 1), torch.rand(3, 3, generator=g) > 0.3),
        "codes": Raw(codes, there[:, None]),
        "picture": Raw(torch.randn(3, 3, 16, 16, generator=g), there),
        "sound": Raw(torch.randn(3, 20, 16, generator=g), there[:, None].expand(3, 20)),
        "words": Raw(torch.randint(0, 9, (3, 5, 2), generator=g), there[:, None].expand(3, 5)),
        "curve": Raw(torch.randn(3, 12, 2, generator=g), there[:, None].expand(3, 12)),
        "point": Raw(torch.randn(3, 4, generator=g), there),
    }


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_raw_values_of_every_kind_are_changed_where_they_are_numbers(feedback: Any) -> None:
    options = ModelOptions(members=1, width=8, fusion="concat", rounds=2, entry="input", feedback=feedback)
    model = build_model(KINDS, "binary", 2, options, n_rows=100, seed=0)
    assert isinstance(model, ProgressiveFusion)
    assert {n for n, entry in model.entries.items() if entry == "input"} == set(WIDTHS)
    model.eval()
    batch = every_kind()
    assert torch.equal(model(batch).outputs, model.model(batch).outputs)
    model.loss(model(batch), torch.tensor([0, 1, 1])).backward()
    seen: dict[str, Raw] = {}
    with torch.no_grad():
        for weight in model.feedbacks.parameters():
            weight.normal_(std=0.3)
    for name, encoder in zip(model.names, model.model.encoders, strict=True):
        run = encoder.embed
        encoder.embed = lambda raw, run=run, name=name: seen.update({name: raw}) or run(raw)  # type: ignore[assignment]
    assert bool(model(batch).outputs.isfinite().all())
    for name, raw in batch.items():
        same = torch.equal(seen[name].values, raw.values)
        assert same == (name not in WIDTHS), name
        assert torch.equal(seen[name].mask, raw.mask)
    assert torch.equal(seen["number"].values[:, 1], batch["number"].values[:, 1])  # the codes between the numbers


def test_a_pixel_is_scaled_and_shifted_by_its_channel() -> None:
    options = ModelOptions(members=1, width=8, fusion="concat", rounds=2, entry="input", into=("picture",))
    model = build_model({"picture": KINDS["picture"]}, "binary", 2, options, n_rows=100, seed=0).eval()
    assert isinstance(model, ProgressiveFusion)
    with torch.no_grad():
        model.feedbacks[0].linear.weight.normal_()  # type: ignore[union-attr, operator]
    raw, seen = every_kind()["picture"], []
    run = model.model.encoders[0].embed
    model.model.encoders[0].embed = lambda raw: seen.append(raw) or run(raw)  # type: ignore[assignment, operator, func-returns-value]
    state = model.model({"picture": raw}).fused.vector
    model({"picture": raw})
    scale, shift = model.feedbacks[0].linear(state)[..., None, None].chunk(2, dim=1)  # type: ignore[operator]
    torch.testing.assert_close(seen[-1].values[:2], (raw.values * (1 + scale) + shift)[:2])


@pytest.mark.parametrize("balance", ["mmpareto", "gradient_blending"])
@pytest.mark.slow
def test_a_remedy_may_ask_for_several_gradients_of_an_equilibrium(balance: str) -> None:
    rows = np.arange(200)
    data = Prepared.make(make_product(absent=0.2), Split(rows[:120], rows[120:160], rows[160:]))
    options = ModelOptions(fusion="concat", width=16, rounds="equilibrium")
    trained = fit_model(data, options, TrainOptions(epochs=2, refit=False, balance=balance))
    assert np.isfinite(trained.predict_proba(make_product(seed=5))).all()


class Exported(nn.Module):
    """A progressive model as a function of tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: dict[str, torch.Tensor], masks: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs: torch.Tensor = self.model({name: Raw(values[name], masks[name]) for name in values}).outputs
        return outputs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("feedback", "rounds", "names", "options"),
    [
        *((feedback, 2, ("number", "point"), {"entry": "input", "start": "learned"}) for feedback in FEEDBACKS),
        ("add", 3, ("number", "curve", "point"), {"entry": "early", "gradient_rounds": 1}),
        ("gate", 2, ("curve", "point"), {"entry": "later"}),
    ],
)
def test_it_exports_with_any_number_of_rows(feedback: Any, rounds: int, names: Any, options: Any) -> None:
    options = ModelOptions(members=1, width=8, rounds=rounds, feedback=feedback, **options)
    kinds = {name: KINDS[name] for name in names}
    model = build_model(kinds, "binary", 2, options, n_rows=100, seed=0).eval()
    with torch.no_grad():
        for weight in model.feedbacks.parameters():  # type: ignore[union-attr]
            weight.normal_(std=0.3)
    batch = {name: every_kind()[name] for name in kinds}
    given = {name: raw.values for name, raw in batch.items()}, {name: raw.mask for name, raw in batch.items()}
    rows = torch.export.Dim("rows", min=2, max=512)
    shapes = tuple({name: {0: rows} for name in part} for part in given)
    program = torch.export.export(Exported(model), given, dynamic_shapes=shapes).module()
    more = tuple({name: torch.cat([x, x]) for name, x in part.items()} for part in given)
    torch.testing.assert_close(program(*more), torch.cat([model(batch).outputs] * 2))


@pytest.mark.slow
def test_an_equilibrium_has_to_be_given_a_number_of_rounds_before_it_is_exported() -> None:
    model = build_model(
        {"point": KINDS["point"]}, "binary", 2, ModelOptions(members=1, rounds="equilibrium"), n_rows=9, seed=0
    )
    raw = every_kind()["point"]
    with pytest.raises(ConfigError, match="rounds must be a number in a model that is exported"):
        torch.export.export(Exported(model.eval()), ({"point": raw.values}, {"point": raw.mask}))
