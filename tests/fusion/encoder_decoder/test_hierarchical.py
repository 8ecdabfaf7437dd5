"""Fusion between the stages of the encoders: identities, what reaches what, and what never leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError, ShapeError
from profuse.fusion import Fused, HierarchicalFusion
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.fusion.encoder_decoder.mmtm import MMTM
from profuse.fusion.encoder_decoder.stagewise import Stagewise
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.progressive import ProgressiveFusion
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

NAMES = ("mmtm", "stagewise")
SPECS = {
    "curve": Spec(kind="series", n_channels=2, max_length=24),
    "picture": Spec(kind="image", n_channels=1, image_size=(16, 16)),
    "sound": Spec(kind="audio", n_channels=9, max_length=24),
    "vector": Spec(kind="vector", n_channels=4),
}
N_ROWS = 6


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(seed: int = 0, length: int = 20) -> dict[str, Raw]:
    """Six rows; row i lacks modality i, row 4 lacks all, row 5 none."""
    there = torch.ones(N_ROWS, dtype=torch.bool)
    steps = torch.arange(length) < torch.tensor([20, 7, 1, 12, 3, 20])[:, None]
    batch = {
        "curve": Raw(normal(N_ROWS, 20, 2, seed=seed), steps),
        "picture": Raw(normal(N_ROWS, 1, 16, 16, seed=seed + 1), there),
        "sound": Raw(normal(N_ROWS, 20, 9, seed=seed + 2), steps),
        "vector": Raw(normal(N_ROWS, 4, seed=seed + 3), there),
    }
    rows = torch.arange(N_ROWS)
    return {name: raw.without((rows == i) | (rows == 4)) for i, (name, raw) in enumerate(batch.items())}


def build(name: str = "mmtm", random: bool = True, seed: int = 0, **options: Any) -> FusionModel:
    model = build_model(
        SPECS,
        "multiclass",
        3,
        ModelOptions(members=1, fusion=name, width=16, **options),
        n_rows=100,
        seed=seed,
    )
    assert isinstance(model, FusionModel)
    if random:
        torch.manual_seed(7)
        with torch.no_grad():
            for parameter in model.fusion.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def entering(model: FusionModel, batch: dict[str, Raw]) -> list[dict[str, Tokens]]:
    """The tokens at every exchange."""
    seen: list[dict[str, Tokens]] = []
    plain = model.fusion.exchange

    def exchange(stage: int, tokens: dict[str, Tokens], state: Tensor | None) -> object:
        seen.append(tokens)
        return plain(stage, tokens, state)  # type: ignore[operator]

    model.fusion.exchange = exchange  # type: ignore[assignment]
    model(batch)
    model.fusion.exchange = plain
    return seen


# -- the identities


@pytest.mark.parametrize("n_stages", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_before_training_the_branches_are_those_of_the_plain_encoders(name: str, n_stages: int) -> None:
    model = build(name, random=False, operator_options={name: {"n_stages": n_stages}})
    batch = inputs()
    branches = model(batch).fused.branches
    for key, encoder in zip(model.names, model.encoders, strict=True):
        plain = encoder(batch[key])
        torch.testing.assert_close(branches[key].values, plain.values, atol=1e-5, rtol=1e-5)
        assert torch.equal(branches[key].mask, plain.mask)


def test_mmtm_with_gates_of_one_is_the_plain_model_with_the_merge_of_concat() -> None:
    model = build("mmtm", random=False)
    assert isinstance(model.fusion, MMTM)
    encoders: dict[str, Any] = dict(zip(model.names, model.encoders, strict=True))
    plain = FusionModel(encoders, model.fusion.end, model.head).eval()
    batch = inputs()
    torch.testing.assert_close(model(batch).outputs, plain(batch).outputs, atol=1e-5, rtol=1e-5)
    transfer: Any = model.fusion.transfers[0]
    nn.init.normal_(transfer.excite[0].weight)
    assert not torch.allclose(model(batch).outputs, plain(batch).outputs, atol=1e-3)


def test_stagewise_at_one_stage_is_concat() -> None:
    channels = {"a": 3, "b": 4}
    one = Stagewise(channels, 5, n_stages=1).eval()
    plain = Concat(channels, 5).eval()
    plain.load_state_dict(one.merges[0].state_dict())
    tokens = {"a": Tokens.vector(normal(3, 3)), "b": Tokens(normal(3, 2, 4), torch.ones(3, 2).bool())}
    assert torch.equal(one(tokens).vector, plain(tokens).vector)


# -- the formulas, in NumPy


def test_mmtm_is_its_formula_in_numpy() -> None:
    torch.manual_seed(0)
    operator = MMTM({"a": 3, "b": 4}, 5, n_stages=1, ratio=2.0).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    a, b = normal(2, 3, 3).double(), normal(2, 4, seed=1).double()
    changed, _ = operator.exchange(0, {"a": Tokens(a, mask).zeroed(), "b": Tokens.vector(b)}, None)
    transfer: Any = operator.transfers[0]
    state = {k: v.numpy() for k, v in transfer.state_dict().items()}
    assert transfer.squeeze.out_features == 7  # 2 (3 + 4) / 2

    def norm(x: np.ndarray, i: int) -> np.ndarray:
        return np.asarray(
            (x - x.mean()) / np.sqrt(x.var() + 1e-5) * state[f"norms.{i}.weight"] + state[f"norms.{i}.bias"]
        )

    for row in range(2):
        v_a = norm(a[row].numpy()[mask[row].numpy()].mean(0), 0) if row == 0 else np.zeros(3)
        joined = np.concatenate([v_a, norm(b[row].numpy(), 1), [float(row == 0), 1.0]])
        z = np.maximum(state["squeeze.weight"] @ joined + state["squeeze.bias"], 0)
        for i, (name, x) in enumerate({"a": a[row] * mask[row][:, None], "b": b[row][None]}.items()):
            gate = 2 / (1 + np.exp(-state[f"excite.{i}.weight"] @ z - state[f"excite.{i}.bias"]))
            np.testing.assert_allclose(changed[name].values[row].detach().numpy(), x.numpy() * gate, atol=1e-10)


def test_stagewise_adds_up_the_fused_vectors_of_all_stages() -> None:
    model = build("stagewise", operator_options={"stagewise": {"n_stages": 3}})
    assert isinstance(model.fusion, Stagewise)
    batch = inputs()
    wanted = sum(
        merge(tokens).vector for merge, tokens in zip(model.fusion.merges, entering(model, batch), strict=True)
    )
    torch.testing.assert_close(model(batch).fused.vector, wanted)


# -- what reaches what


@pytest.mark.parametrize("name", NAMES)
def test_a_modality_reaches_the_others_after_an_exchange_and_not_before(name: str) -> None:
    model = build(name)
    batch = inputs()
    other = {**batch, "vector": Raw(normal(N_ROWS, 4, seed=50), batch["vector"].mask)}
    has = batch["vector"].mask
    first, second = zip(entering(model, batch), entering(model, other), strict=True)
    for key in ("curve", "picture", "sound"):
        assert torch.equal(first[0][key].values, first[1][key].values)
        rows = has & batch[key].present
        moved = (second[0][key].values - second[1][key].values).abs().amax((1, 2))
        assert (moved[rows] > 1e-4).all()
        assert not moved[~rows].any()  # who lacks one of the two has nothing to tell or to hear


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_modalitys_content_never_leaks_at_any_stage(name: str) -> None:
    model = build(name, operator_options={name: {"n_stages": 3}})
    batch = inputs()
    spoilt = {}
    for i, (key, raw) in enumerate(batch.items()):
        real = raw.mask.view(*raw.mask.shape, *[1] * (raw.values.ndim - raw.mask.ndim))
        spoilt[key] = Raw(torch.where(real, raw.values, 10 * normal(*raw.values.shape, seed=60 + i)), raw.mask)
    for ours, theirs in zip(entering(model, batch), entering(model, spoilt), strict=True):
        for key in batch:
            torch.testing.assert_close(ours[key].values, theirs[key].values)
            assert not ours[key].values[~ours[key].mask].any()
    torch.testing.assert_close(model(batch).outputs, model(spoilt).outputs)


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_invisible_at_every_stage(name: str) -> None:
    model = build(name)
    batch = inputs()
    longer = {key: raw if raw.mask.ndim == 1 else padded(raw) for key, raw in batch.items()}
    for ours, theirs in zip(entering(model, batch), entering(model, longer), strict=True):
        for key in batch:
            for row in range(N_ROWS):
                found, wanted = theirs[key], ours[key]
                torch.testing.assert_close(found.values[row][found.mask[row]], wanted.values[row][wanted.mask[row]])
    torch.testing.assert_close(model(batch).outputs, model(longer).outputs)


def padded(raw: Raw) -> Raw:
    shape = (N_ROWS, 4, *raw.values.shape[2:])
    return Raw(torch.cat([raw.values, normal(*shape, seed=70)], 1), nn.functional.pad(raw.mask, (0, 4)))


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_see_each_other_and_all_missing_is_finite(name: str) -> None:
    model = build(name)
    batch = inputs()
    whole = model(batch).outputs
    assert whole.isfinite().all()
    alone = torch.cat([model({k: r.rows(torch.tensor([i])) for k, r in batch.items()}).outputs for i in range(N_ROWS)])
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-4)


# -- in a model


def test_own_heads_read_the_branches_before_the_last_exchange() -> None:
    model = build("stagewise", operator_options={"stagewise": {"n_stages": 1}})
    batch = inputs()
    other = {**batch, "vector": Raw(normal(N_ROWS, 4, seed=50), batch["vector"].mask)}
    ours, theirs = model(batch), model(other)
    assert torch.equal(ours.parts["curve"], theirs.parts["curve"])
    head, encoder = model.own_heads[0], model.encoders[0]
    torch.testing.assert_close(ours.parts["curve"], head(encoder(batch["curve"]).mean()))


@pytest.mark.parametrize("level", ["hierarchical", "hybrid"])
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_reaches_every_parameter(name: str, level: str) -> None:
    model = build(name, level=level)
    model.loss(model(inputs()), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_progressive_with_zero_feedback_is_the_plain_model_bit_for_bit(name: str) -> None:
    model = build(name)
    batch = inputs()
    around = ProgressiveFusion(model, rounds=3).eval()
    assert all(torch.equal(o, model(batch).outputs) for o in around(batch).rounds)
    feedback: Any
    for feedback in around.feedbacks:
        nn.init.normal_(feedback.linear.weight, std=0.3)
    rounds = around(batch).rounds
    assert not torch.allclose(rounds[0], rounds[1])


def test_an_encoder_of_a_single_stage_takes_part_with_its_embedded_tokens() -> None:
    specs = {"text": Spec(kind="text", vocabulary=50, max_length=12), "vector": SPECS["vector"]}
    made = build_model(specs, "binary", 2, ModelOptions(members=1, fusion="mmtm", width=16), n_rows=100, seed=0).eval()
    assert isinstance(made, FusionModel)
    words = torch.randint(1, 50, (N_ROWS, 9, 2), generator=torch.Generator().manual_seed(0))
    batch = {"text": Raw(words, torch.ones(N_ROWS, 9).bool()), "vector": inputs()["vector"]}
    first, last = entering(made, batch)
    assert torch.equal(first["text"].values, made.embed(batch)["text"].values)
    assert [t["text"].n_channels for t in (first, last)] == [16, 16]
    assert isinstance(made.fusion, MMTM)
    assert [c["vector"] for c in made.fusion.stage_channels] == [128, 16]


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_predicts_the_same(name: str, tmp_path: Path) -> None:
    from profuse import FusionClassifier

    rng = np.random.default_rng(0)
    X = {"curve": rng.normal(size=(40, 12, 2)), "sensor": rng.normal(size=(40, 3))}
    options = {name: {"n_stages": 3}}
    fitted = FusionClassifier(fusion=name, width=8, epochs=1, operator_options=options).fit(X, np.arange(40) % 2)
    fitted.save(tmp_path / "model")
    loaded = FusionClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_model_exports(name: str) -> None:
    model = build(name)
    batch = inputs()

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, *tensors: Tensor) -> Tensor:
            pairs = zip(batch, tensors[::2], tensors[1::2], strict=True)
            outputs: Tensor = self.inner({key: Raw(values, mask) for key, values, mask in pairs}).outputs
            return outputs

    flat = tuple(t for raw in batch.values() for t in (raw.values, raw.mask))
    rows = torch.export.Dim("rows", min=2, max=512)
    program = torch.export.export(Flat().eval(), flat, dynamic_shapes={"tensors": tuple({0: rows} for _ in flat)})
    fewer = tuple(t[:3] for t in flat)
    torch.testing.assert_close(program.module()(*fewer), Flat()(*fewer))


# -- what cannot be is told


@pytest.mark.parametrize("level", ["raw", "feature", "decision"])
def test_a_hierarchical_operator_at_another_level_is_told(level: str) -> None:
    with pytest.raises(ConfigError, match=f"got level='{level}'.*works at the hierarchical level and also at hybrid"):
        ModelOptions(fusion="mmtm", level=level).resolved_level()


def test_another_operator_at_the_hierarchical_level_is_told() -> None:
    with pytest.raises(ConfigError, match="level='hierarchical' with fusion='concat', which works at the feature"):
        ModelOptions(fusion="concat", level="hierarchical").resolved_level()
    plain = build("concat", random=False)
    encoders = dict(zip(plain.names, plain.encoders, strict=True))
    with pytest.raises(ConfigError, match="must be feature or raw or hybrid for a feature operator; got level='hier"):
        FusionModel(encoders, plain.fusion, plain.head, level="hierarchical")  # type: ignore[arg-type]


def test_stage_channels_that_the_encoders_do_not_give_are_told() -> None:
    plain = build("concat", random=False)
    encoders = dict(zip(plain.names, plain.encoders, strict=True))
    with pytest.raises(ConfigError, match="stage_channels must be what the encoders give"):
        FusionModel(encoders, MMTM(dict.fromkeys(SPECS, 16), 16), plain.head, level="hierarchical")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_stages": 0}, "n_stages must be at least 1; got n_stages=0"),
        ({"stage_channels": [{"a": 3}]}, r"must give n_stages=2 times .*; got stage_channels=\[\{'a': 3\}\]"),
        ({"stage_channels": [{"a": 3}, {"b": 3}]}, "must give n_stages=2 times"),
        ({"stage_channels": [{"a": 0}, {"a": 3}]}, "must give n_stages=2 times"),
        ({"stage_channels": [{"a": 3}, {"a": 4}]}, r"last of stage_channels must be channels=\{'a': 3\}; got"),
        ({"ratio": 0.0}, "ratio must be above 0 and finite; got ratio=0.0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1; got dropout=1.0"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^MMTM: .*{message}"):
        MMTM({"a": 3}, 4, **options)  # type: ignore[arg-type]


def test_another_number_of_segments_is_told() -> None:
    tokens = {"a": Tokens.vector(normal(2, 3))}
    with pytest.raises(ShapeError, match=r"^MMTM: segments must be given for n_stages=2 .*; got \[\['a'\]\]"):
        MMTM({"a": 3}, 4)(tokens, [{"a": lambda t: t}])


def test_options_of_a_stage_that_a_segment_does_not_keep_are_told() -> None:
    tokens = {"a": Tokens.vector(normal(2, 3))}
    wider = {"a": lambda t: Tokens(torch.cat([t.values, t.values], 2), t.mask)}
    with pytest.raises(ShapeError, match="^MMTM: tokens of 'a' must have 3 channels; got 6"):
        MMTM({"a": 3}, 4)(tokens, [wider, wider])


def test_the_users_options_reach_the_operator_and_the_models_own_are_not_the_users() -> None:
    assert build("mmtm", operator_options={"mmtm": {"n_stages": 3, "ratio": 8.0}}).fusion.n_stages == 3
    with pytest.raises(ValueError, match=r"'mmtm' has the options n_stages, ratio; got 'stage_channels'"):
        ModelOptions(operator_options={"mmtm": {"stage_channels": 1}})


def test_an_exchange_cannot_change_what_is_masked() -> None:
    class Fills(HierarchicalFusion):
        def exchange(self, stage: int, tokens: dict[str, Tokens], state: Any) -> tuple[dict[str, Tokens], Any]:
            return {n: Tokens(t.values + 1, torch.ones_like(t.mask)) for n, t in tokens.items()}, state

        def merge(self, tokens: dict[str, Tokens], state: Any) -> Fused:
            assert [t.mask.any().item() for t in tokens.values()] == [False, True]
            return Fused(torch.stack([t.values.sum((1, 2))[:, None] for t in tokens.values()]).sum(0))

    tokens = {"a": Tokens.vector(torch.zeros(3, 2), torch.zeros(3).bool()), "b": Tokens.vector(torch.zeros(3, 2))}
    assert Fills({"a": 2, "b": 2}, 1)(tokens).vector.tolist() == [[4.0]] * 3
