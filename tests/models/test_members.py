"""Members: several models in one, that share a body; each is a model of its own, and the prediction is their mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from known_answers import make_product
from torch import Tensor, nn
from torch.nn import functional as F

from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.encoders import Encoder
from profuse.errors import ConfigError
from profuse.fusion import FUSIONS
from profuse.fusion.encoder_decoder.stacking import Stacking
from profuse.heads import Head, head_for
from profuse.layers.members import MemberLinear, MemberScale, members_apart
from profuse.models.build import Model, build_model
from profuse.models.fusion_model import FusionModel, Output
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.predictor.saving import load_model
from profuse.progressive import ProgressiveFusion
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens
from profuse.training.balance import BALANCES
from profuse.training.fitting import Prepared, fit_model
from profuse.training.loop import predict
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.slow

K = 3
TABLE = Spec(kind="table", cardinalities=(0, 3, 0), edges=((-1.0, 0.0, 1.0), (), (-2.0, 0.0, 2.0)))
SERIES = Spec(kind="series", n_channels=2)
SPECS = {"table": TABLE, "series": SERIES, "vector": Spec(kind="vector", n_channels=4)}
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])


def batch(n_rows: int = 6, seed: int = 0) -> dict[str, Raw]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randn(n_rows, 3, generator=generator)
    cells[:, 1] = torch.randint(0, 3, (n_rows,), generator=generator)
    known = torch.rand(n_rows, 3, generator=generator) > 0.2
    steps, some = torch.randn(n_rows, 6, 2, generator=generator), torch.ones(n_rows, dtype=torch.bool)
    made = {
        "table": Raw(cells, known),
        "series": Raw(steps, torch.arange(6).expand(n_rows, 6) < 4),
        "vector": Raw(torch.randn(n_rows, 4, generator=generator), some),
    }
    if n_rows > 1:
        first, second = torch.eye(n_rows, dtype=torch.bool)[:2]
        made |= {"table": made["table"].without(first), "series": made["series"].without(second)}
    return made


def build(task: Any = "multiclass", n_outputs: int = 3, *, specs: Mapping[str, Spec] = SPECS, **options: Any) -> Model:
    asked = ModelOptions(width=16, **{"members": K, **options})
    model = build_model(specs, task, n_outputs, asked, n_rows=100, seed=0).eval()
    with torch.no_grad():  # what starts at zero, as feedback does, would hide its effect
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
    return model


def of_members(output: Output) -> Output:
    assert output.members is not None
    return output.members


class _Seen(nn.Module):
    """An encoder whose tokens one member sees, as an encoder of a plain model."""

    def __init__(self, encoder: Encoder, scale: Tensor, step: str) -> None:
        super().__init__()
        self.encoder, self.scale, self.step = encoder, scale, step

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name) if name in ("encoder", "scale", "step") else getattr(self.encoder, name)

    def embed(self, raw: Raw) -> Tokens:
        tokens = self.encoder.embed(raw)
        return Tokens(tokens.values * self.scale, tokens.mask) if self.step == "embed" else tokens

    def mix(self, tokens: Tokens) -> Tokens:
        tokens = self.encoder.mix(tokens)
        return Tokens(tokens.values * self.scale, tokens.mask) if self.step == "mix" else tokens


def alone(model: FusionModel, k: int) -> FusionModel:
    """Returns member k as a plain model of the same parts."""

    def head(of: Head) -> Head:
        assert isinstance(of.linear, MemberLinear)
        made = type(of)(of.width, of.n_outputs).eval()
        made.norm = of.norm
        made.linear.weight, made.linear.bias = nn.Parameter(of.linear.weight[k]), nn.Parameter(of.linear.bias[k])
        return made

    made: dict[str, Any] = {}
    for name, encoder, scale in zip(model.names, model.encoders, model.scales, strict=True):
        assert isinstance(scale, MemberScale)
        made[name] = _Seen(encoder, scale.scale[k], model.members_enter[name])  # type: ignore[arg-type]
    heads = dict(zip(model.names, [head(h) for h in model.own_heads], strict=False))  # type: ignore[arg-type]
    return FusionModel(
        made,
        model.fusion,
        head(model.head),
        level=model.level,
        own_heads=heads,
        decision=model.decision,
        unimodal_loss_weight=model.unimodal_loss_weight,
    ).eval()


HOW: list[dict[str, Any]] = [
    {"fusion": "concat"},
    {"fusion": "token_transformer"},
    {"fusion": "concat", "level": "raw"},
    {"fusion": "mean_logits"},
    {"fusion": "gated", "level": "hybrid"},
    {"fusion": "contrastive"},
    {"fusion": "quality_aware"},
]


@pytest.mark.parametrize("options", HOW, ids=str)
def test_a_member_is_a_plain_model_with_its_own_scales_and_heads_and_the_loss_is_their_mean(options: Any) -> None:
    model, inputs = build(**options), batch()
    assert isinstance(model, FusionModel)
    output = model(inputs)
    each = [alone(model, k)(inputs) for k in range(K)]
    torch.testing.assert_close(of_members(output).outputs, torch.stack([o.outputs for o in each], dim=1).flatten(0, 1))
    torch.testing.assert_close(output.outputs.softmax(-1), torch.stack([o.outputs.softmax(-1) for o in each]).mean(0))
    for name, part in output.parts.items():
        torch.testing.assert_close(part.softmax(-1), torch.stack([o.parts[name].softmax(-1) for o in each]).mean(0))
        assert torch.equal(output.present[name], each[0].present[name])
    losses = [alone(model, k).loss(o, CLASSES) for k, o in enumerate(each)]
    torch.testing.assert_close(model.loss(output, CLASSES), torch.stack(losses).mean())
    assert (each[0].outputs - each[1].outputs).abs().max() > 0.01


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_the_prediction_is_the_mean_of_the_members_predictions(task: Any) -> None:
    head = head_for(task)(4, 2, n_members=K)
    outputs = 20 * torch.randn(5, K, 2)
    torch.testing.assert_close(head.predict(head.pool(outputs)), head.predict(outputs).mean(1))
    assert head.pool(1e4 * outputs).isfinite().all()


def test_a_head_maps_each_members_rows_by_a_map_of_its_own() -> None:
    head = head_for("regression")(4, 2, n_members=K).eval()
    x = torch.randn(5, K, 4)
    assert isinstance(head.linear, MemberLinear)
    expected = torch.stack(
        [F.linear(head.norm(x[:, k]), head.linear.weight[k], head.linear.bias[k]) for k in range(K)], 1
    )
    torch.testing.assert_close(members_apart(head(x.flatten(0, 1)), K), expected)


def test_one_member_is_the_plain_model() -> None:
    model = build(members=1, fusion="concat")
    assert isinstance(model, FusionModel)
    assert len(model.scales) == 0
    assert type(model.head.linear) is nn.Linear
    output = model(batch())
    assert output.members is None
    mixed = {n: e.mix(t.zeroed()) for (n, t), e in zip(model.embed(batch()).items(), model.encoders, strict=True)}  # type: ignore[operator]
    assert torch.equal(output.outputs, model.head(model.fusion(mixed).vector))


def test_members_share_the_body() -> None:
    def size(members: int) -> int:
        return sum(p.numel() for p in build(members=members).parameters())

    assert size(8) < 1.3 * size(1)


def test_a_costly_mix_runs_once_for_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: dict[str, int] = {}
    model = build(fusion="concat", rounds=2)
    for name, encoder in zip(model.plain.names, model.plain.encoders, strict=True):
        mix = encoder.mix

        def spy(tokens: Tokens, name: str = name, mix: Any = mix) -> Tokens:
            rows[name] = len(tokens)
            return mix(tokens)  # type: ignore[no-any-return]

        monkeypatch.setattr(encoder, "mix", spy)
    model(batch())
    assert rows == {"series": 6, "table": 6 * K, "vector": 6 * K}


PROGRESSIVE: list[dict[str, Any]] = [
    {"rounds": 3, "supervise": "all"},
    {"rounds": 2, "entry": "input"},
    {"rounds": 2, "entry": "later", "feedback": "attend", "fusion": "token_transformer"},
    {"rounds": 2, "into": ("series",), "start": "learned"},
    {"rounds": "equilibrium", "fusion": "concat", "max_rounds": 4, "tolerance": 0.9},
    {"fusion": "mmtm", "rounds": 2},
]


@pytest.mark.parametrize("options", [*HOW, *PROGRESSIVE], ids=str)
@pytest.mark.filterwarnings("ignore:.*not converged")
def test_a_row_does_not_see_its_batch_nor_what_is_masked(options: Any) -> None:
    model, inputs = build(**options), batch()
    whole = model(inputs).outputs
    for i in (0, 1, 5):
        row = {n: raw.rows(torch.tensor([i])) for n, raw in inputs.items()}
        torch.testing.assert_close(model(row).outputs, whole[[i]], atol=1e-5, rtol=1e-4)
    hidden = {}
    for n, raw in inputs.items():
        kept = raw.mask.reshape(*raw.mask.shape, *(1,) * (raw.values.ndim - raw.mask.ndim))
        hidden[n] = Raw(torch.where(kept, raw.values, torch.randn_like(raw.values)), raw.mask)
    torch.testing.assert_close(model(hidden).outputs, whole)
    nothing = {n: raw.without(torch.ones(6, dtype=torch.bool)) for n, raw in inputs.items()}
    assert model(nothing).outputs.isfinite().all()


@pytest.mark.parametrize("options", [*HOW, *PROGRESSIVE], ids=str)
@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
@pytest.mark.filterwarnings("ignore:.*not converged")
def test_the_loss_reaches_every_members_parameters(options: Any, task: Any) -> None:
    if options.get("fusion") == "quality_aware" and task == "regression":
        options = {"fusion": "confidence"} if "confidence" in FUSIONS else options
        task = "multiclass"
    model = build(task, **options)
    target = CLASSES if task == "multiclass" else torch.rand(6, 3).round()
    model.loss(model(batch()), target).backward()
    for name, module in model.named_modules():
        if isinstance(module, MemberScale | MemberLinear) and not (
            name == "head.linear" and model.plain.level == "decision"
        ):
            for parameter in module.parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.flatten(1).any(1).all(), name


@pytest.mark.parametrize("entry", ["early", "later"])
def test_a_member_of_a_progressive_model_is_a_progressive_model_with_its_own_state(entry: Any) -> None:
    specs = {name: SPECS[name] for name in ("table", "vector")}
    inputs = {name: raw for name, raw in batch().items() if name in specs}
    model = build(specs=specs, fusion="concat", rounds=3, entry=entry)
    assert isinstance(model, ProgressiveFusion)
    each = []
    for k in range(K):
        around = ProgressiveFusion(alone(model.model, k), rounds=3, entry=entry).eval()
        around.feedbacks = model.feedbacks
        each.append(around(inputs).outputs)
    together = torch.stack(each, dim=1)
    torch.testing.assert_close(members_apart(of_members(model(inputs)).outputs, K), together)
    plain = model.model(inputs)
    assert (of_members(plain).outputs - together.flatten(0, 1)).abs().max() > 0.01


def test_where_members_have_not_parted_feedback_is_their_mean_state() -> None:
    model, inputs = build(fusion="concat", rounds=2), batch()
    assert isinstance(model, ProgressiveFusion)
    states: dict[str, Tensor] = {}
    for name, feedback in zip(model.into, model.feedbacks, strict=True):
        feedback.register_forward_pre_hook(lambda _, given, name=name: states.__setitem__(name, given[1]))
    model(inputs)
    first = of_members(model.model(inputs)).fused.vector
    torch.testing.assert_close(states["table"], first)
    torch.testing.assert_close(states["series"], members_apart(first, K).mean(1))


def test_without_feedback_a_progressive_model_is_the_plain_one() -> None:
    plain = build(fusion="token_transformer")
    assert isinstance(plain, FusionModel)
    for entry in ("input", "early", "later"):
        around = ProgressiveFusion(plain, rounds=2, entry=entry).eval()
        assert torch.equal(around(batch()).outputs, plain(batch()).outputs)


@pytest.mark.parametrize("options", PROGRESSIVE[:4], ids=str)
def test_rounds_of_all_members_are_those_of_shorter_models(options: Any) -> None:
    model, inputs = build(**options), batch()
    assert isinstance(model, ProgressiveFusion)
    whole = model(inputs)
    assert [len(o) for o in whole.rounds] == [6] * len(whole.rounds)
    model.rounds = 2
    torch.testing.assert_close(whole.rounds[1], model(inputs).outputs)
    made = model.anytime(inputs, rounds=3)
    torch.testing.assert_close(made.predictions[1], model.head.predict(model(inputs).outputs))
    settled = model.anytime(
        inputs, rounds=3, tolerance=float((made.predictions[1] - made.predictions[0]).abs().max(1)[0].median())
    )
    assert len(set(settled.rounds.tolist())) > 1
    for row, n_rounds in enumerate(settled.rounds):
        torch.testing.assert_close(settled.predictions[-1, row], made.predictions[n_rounds - 1, row])


def test_operators_that_keep_training_rows_have_one_member() -> None:
    model = build(fusion="mogonet", members=None)
    assert model.plain.n_members == 1
    with pytest.raises(ConfigError, match=r"Mogonet keeps training rows, which are of one member; got n_members=3"):
        build(fusion="mogonet")


def test_heads_of_other_members_are_told() -> None:
    model = build(fusion="concat")
    assert isinstance(model, FusionModel)
    heads = {n: head_for("multiclass")(16, 3, n_members=2) for n in model.names}
    encoders: Any = dict(zip(model.names, model.encoders, strict=True))
    with pytest.raises(ConfigError, match=r"all heads must have as many members; got n_members=3 and own_heads=.*2"):
        FusionModel(encoders, model.fusion, model.head, own_heads=heads)
    with pytest.raises(ConfigError, match="n_members=0"):
        head_for("multiclass")(16, 3, n_members=0)


def test_prediction_runs_as_many_rows_at_once_whatever_the_members() -> None:
    for members, sizes in ((1, [64, 36]), (K, [21, 21, 21, 21, 16])):
        model = build(fusion="concat", members=members)
        assert [len(o.outputs) for o in predict(model, batch(100), batch_size=64)] == sizes


def test_how_many_members_follows_from_the_rows() -> None:
    assert [ModelOptions().n_members(n) for n in (100, 999, 1_000, 10_000)] == [8, 8, 1, 1]
    assert ModelOptions(members=2).n_members(10_000) == 2
    assert ModelOptions().n_members(100, one=True) == 1


OPTIONS = TrainOptions(epochs=3, batch_size=32)


def prepared(dataset: Dataset) -> Prepared:
    rows = torch.arange(len(dataset)).numpy()
    return Prepared.make(dataset, Split(rows[:120], rows[120:160], rows[160:]))


def fitted(**options: Any) -> NetworkPredictor:
    train = OPTIONS.model_copy(update={"balance": options.pop("balance", None)})
    return fit_model(prepared(make_product()), ModelOptions(width=16, **{"members": K, **options}), train)


def test_members_differ_after_training_and_are_saved_and_loaded(tmp_path: Any) -> None:
    model, data = fitted(rounds=2), prepared(make_product())
    with torch.no_grad():
        apart = members_apart(of_members(model.model(data.inputs)).outputs, K).softmax(-1)
    assert (apart[:, 0] - apart[:, 1]).abs().max() > 0.01
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert (again.predict_encoded(data.inputs) == model.predict_encoded(data.inputs)).all()


@pytest.mark.slow
@pytest.mark.parametrize("balance", sorted(BALANCES.builtin))
def test_balancing_methods_train_members(balance: str) -> None:
    model = fitted(balance=balance)
    assert model.model.plain.n_members == K


def test_stacking_is_fitted_on_every_members_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = Stacking.fit_out_of_fold

    def spy(self: Stacking, outputs: Tensor, present: Tensor, targets: Tensor) -> None:
        seen.append((outputs, present, targets))
        original(self, outputs, present, targets)

    monkeypatch.setattr(Stacking, "fit_out_of_fold", spy)
    # without linear paths, which members share: an untrained model might be kept
    fitted(fusion="stacking", encoder_options={name: {"linear_path": False} for name in make_product().modalities})
    ((outputs, present, targets),) = seen
    assert (len(outputs), len(present), len(targets)) == (120 * K,) * 3
    assert torch.equal(targets, targets[::K].repeat_interleave(K))
    assert not torch.equal(outputs[::K], outputs[1::K])


@pytest.mark.slow
def test_a_model_of_members_exports() -> None:
    model, inputs = build(fusion="concat", rounds=2), batch()

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, *tensors: Tensor) -> Tensor:
            pairs = zip(inputs, tensors[::2], tensors[1::2], strict=True)
            outputs: Tensor = self.inner({n: Raw(v, m) for n, v, m in pairs}).outputs
            return outputs

    flat = tuple(t for raw in inputs.values() for t in (raw.values, raw.mask))
    rows = torch.export.Dim("batch", min=2, max=4096)
    program = torch.export.export(Flat().eval(), flat, dynamic_shapes={"tensors": tuple({0: rows} for _ in flat)})
    fewer = tuple(t[:4] for t in flat)
    torch.testing.assert_close(program.module()(*fewer), Flat()(*fewer))
