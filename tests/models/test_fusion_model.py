"""The four levels: what they compute, what they refuse, and what the loss is made of."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from profuse.errors import ConfigError, ShapeError
from profuse.fusion import FUSIONS, fusion
from profuse.fusion.encoder_decoder.mean_logits import MeanLogits
from profuse.heads import ClassHead, LabelsHead, ValuesHead, head_for
from profuse.models.build import build_model
from profuse.models.fit_linear import fit_linear
from profuse.models.fusion_model import JOINT, FusionModel
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

SPECS = {"a": Spec(kind="vector", n_channels=4), "b": Spec(kind="vector", n_channels=3)}


def inputs(n_rows: int = 6, seed: int = 0) -> dict[str, Raw]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: Raw(torch.randn(n_rows, spec.n_channels, generator=generator), torch.ones(n_rows, dtype=torch.bool))
        for name, spec in SPECS.items()
    }


def build(task: Any = "multiclass", n_outputs: int = 3, **options: object) -> FusionModel:
    given = ModelOptions.model_validate({"width": 16, "members": 1, **options})
    made = build_model(SPECS, task, n_outputs, given, n_rows=100, seed=0)
    assert isinstance(made, FusionModel)
    return made.eval()


LEVELS = [("concat", None), ("token_transformer", "raw"), ("mean_logits", None), ("gated", "hybrid")]


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_every_level_returns_one_output_a_row(name: str, level: str | None) -> None:
    output = build(fusion=name, level=level)(inputs())
    assert output.outputs.shape == (6, 3)
    assert output.outputs.isfinite().all()


@pytest.mark.parametrize(("name", "level"), LEVELS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_the_loss_reaches_every_parameter_at_every_level(name: str, level: str | None, task: str) -> None:
    n_outputs = 2 if task == "binary" else 3
    model = build(task, n_outputs, fusion=name, level=level)
    target = torch.randint(0, 2, (6,)) if task in ("binary", "multiclass") else torch.rand(6, n_outputs).round()
    batch = inputs()
    first, second = torch.eye(6, dtype=torch.bool)[:2]
    batch = {"a": batch["a"].without(first), "b": batch["b"].without(second)}
    model.loss(model(batch), target).backward()
    # a head that only lends its loss (decision level) has no part in the outputs; a branch cut off at raw has no mix
    silent = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    if level == "raw":
        silent = {n for n in silent if not n.startswith("encoders")}
    if name == "mean_logits":
        silent = {n for n in silent if not n.startswith("head.")}
    assert silent == set()


def test_the_raw_level_does_not_mix() -> None:
    model = build(fusion="concat", level="raw")
    before = model(inputs()).outputs
    with torch.no_grad():
        for encoder in model.encoders:
            for name, parameter in encoder.named_parameters():
                if "embed" not in name:
                    parameter.add_(torch.randn_like(parameter) * 0)
    torch.testing.assert_close(model(inputs()).outputs, before)
    direct = model.head(model.fusion(model.embed(inputs())).vector)
    assert torch.equal(before, direct)


@pytest.mark.parametrize(("name", "level"), LEVELS)
@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_untrained_outputs_are_those_of_the_linear_paths(name: str, level: str | None, task: str) -> None:
    model, batch = build(task, 3, fusion=name, level=level), inputs(60)
    generator = torch.Generator().manual_seed(0)
    target = (
        torch.randint(0, 3, (60,), generator=generator)
        if task == "multiclass"
        else torch.randint(0, 2, (60, 3), generator=generator).float()
    )
    batch["a"] = batch["a"].without(torch.arange(60) < 3)
    fit_linear(model, batch, target, torch.arange(50))
    output, added = model(batch), model.linear(batch)
    assert all(x.any() for x in added.values())
    for n in "ab":
        torch.testing.assert_close(output.parts[n], added[n])
    if name == "mean_logits":
        assert JOINT not in added
    elif level != "hybrid":  # there a decision operator joins the joint outputs and the others
        torch.testing.assert_close(output.outputs, added[JOINT])


def test_a_modality_alone_is_solved_on_the_rows_that_have_it() -> None:
    model, batch = build("regression", 1, fusion="concat"), inputs(40)
    target = batch["a"].values[:, :1] + 5.0
    target[:20] = -100.0
    batch["a"] = batch["a"].without(torch.arange(40) < 20)
    fit_linear(model, batch, target, torch.arange(40))
    torch.testing.assert_close(model(batch).parts["a"][20:], target[20:], atol=0.1, rtol=0.1)


def test_the_joint_path_reads_each_modality_as_its_own_path_does() -> None:
    model, batch = build("regression", 1, fusion="concat"), inputs(300)
    fit_linear(model, batch, batch["a"].values[:, :1].abs() + batch["b"].values[:, :1], torch.arange(300))
    joint, *own = (path.ways for path in model.linear_paths.paths)
    assert own[0][0].frequency > 0 == own[1][0].frequency  # type: ignore[index, union-attr]
    assert joint == (*own[0], *own[1])  # type: ignore[misc]


@pytest.mark.parametrize("level", ["feature", "decision", "hybrid"])
def test_what_is_known_of_new_rows_is_what_is_computed_and_what_is_known_of_seen_rows_is_not(level: str) -> None:
    model = build("multiclass", 3, fusion="mean_logits" if level == "decision" else "concat", level=level)
    batch, target = inputs(60), torch.arange(60) % 3
    batch["a"] = batch["a"].without(torch.arange(60) % 5 == 0)
    batch["b"] = Raw(batch["b"].values + target[:, None], batch["b"].mask)
    known = fit_linear(model, batch, target, torch.arange(40))
    added, computed = model.linear(known), model.linear(batch)
    assert added.keys() == computed.keys()
    for name in added:
        torch.testing.assert_close(added[name][40:], computed[name][40:])
        assert (added[name][:40] - computed[name][:40]).abs().max() > 1e-3


def test_what_is_known_of_one_modality_is_used_beside_what_is_computed_of_a_changed_one() -> None:
    model, batch = build("regression", 1, fusion="concat"), inputs(40)
    known = fit_linear(model, batch, batch["a"].values[:, :1] + batch["b"].values[:, :1], torch.arange(30))
    changed = {**known, "b": Raw(batch["b"].values + 1.0, batch["b"].mask)}
    seen, moved = model.linear(known), model.linear(changed)
    assert torch.equal(seen["a"], moved["a"])
    torch.testing.assert_close(moved["b"], model.linear({**batch, "b": changed["b"]})["b"])
    b = (model.linear({**batch, "b": changed["b"]})[JOINT] - model.linear(batch)[JOINT])[30:]
    torch.testing.assert_close((moved[JOINT] - seen[JOINT])[30:], b, atol=1e-5, rtol=1e-5)


def test_a_modality_that_is_dropped_takes_its_own_share_along_and_no_other() -> None:
    model, batch = build("regression", 1, fusion="concat"), inputs(40)
    known = fit_linear(model, batch, batch["a"].values[:, :1] + batch["b"].values[:, :1], torch.arange(40))
    gone = {**known, "a": known["a"].without(torch.ones(40, dtype=torch.bool))}
    share = known["a"].contributions
    assert share is not None
    torch.testing.assert_close(model.linear(known)[JOINT] - model.linear(gone)[JOINT], share[:, 0])
    assert torch.equal(model.linear(known)["b"], model.linear(gone)["b"])


def test_members_have_one_linear_path() -> None:
    model, batch = build("regression", 1, fusion="concat", members=3), inputs(40)
    fit_linear(model, batch, batch["a"].values[:, :1], torch.arange(40))
    output = model(batch)
    assert output.members is not None
    torch.testing.assert_close(output.members.outputs, output.outputs.repeat_interleave(3, dim=0))
    assert output.outputs.any()


def test_a_model_whose_encoder_has_no_linear_path_has_none() -> None:
    series = {"c": Spec(kind="series", n_channels=2, max_length=12)}
    options = ModelOptions(width=16, encoder_options={"c": {"linear_path": False}})
    model = build_model(series, "binary", 2, options, n_rows=100, seed=0).plain
    before = copy.deepcopy(model.state_dict())
    batch = {"c": Raw(torch.randn(9, 12, 2), torch.ones(9, 12, dtype=torch.bool))}
    fit_linear(model, batch, torch.arange(9) % 2, torch.arange(9))
    assert model.linear_paths.names == ()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_decision_level_fuses_the_modalities_own_outputs() -> None:
    model = build(fusion="mean_logits")
    output = model(inputs())
    expected = torch.stack([F.log_softmax(output.parts[n], -1) for n in ("a", "b")]).mean(0)
    torch.testing.assert_close(output.outputs.softmax(-1), expected.softmax(-1))


def test_a_hybrid_joins_the_joint_output_and_the_modalities_own() -> None:
    output = build(fusion="concat", level="hybrid")(inputs())
    assert set(output.parts) == {"a", "b", JOINT}
    expected = torch.stack([F.log_softmax(p, -1) for p in output.parts.values()]).mean(0)
    torch.testing.assert_close(output.outputs.softmax(-1), expected.softmax(-1))


def test_an_absent_modality_adds_nothing_to_its_own_loss() -> None:
    model = build(fusion="mean_logits")
    batch = inputs()
    gone = torch.tensor([True, False, False, False, False, False])
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    output = model({**batch, "a": batch["a"].without(gone)})
    own_a = model.head.loss(output.parts["a"], target, output.present["a"])
    torch.testing.assert_close(own_a, F.cross_entropy(output.parts["a"][1:], target[1:]))


def test_the_unimodal_loss_weight_adds_the_mean_of_the_modalities_losses() -> None:
    plain, balanced = build(fusion="concat", unimodal_loss_weight=0.5), build(fusion="concat", unimodal_loss_weight=0.5)
    balanced.unimodal_loss_weight = 0.0
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    output = plain(inputs())
    own = sum(F.cross_entropy(output.parts[n], target) for n in ("a", "b")) / 2
    torch.testing.assert_close(plain.loss(output, target), balanced.loss(output, target) + 0.5 * own)


@pytest.mark.parametrize(("name", "level"), [("concat", None), ("mean_logits", None), ("gated", "hybrid")])
def test_a_modalitys_own_output_is_that_of_its_own_encoder_and_head(name: str, level: str | None) -> None:
    model, batch = build(fusion=name, level=level, unimodal_loss_weight=0.5), inputs()
    output = model(batch)
    for modality, encoder, head in zip(("a", "b"), model.encoders, model.own_heads, strict=True):
        assert torch.equal(output.parts[modality], head(encoder(batch[modality]).mean()))


def test_encoders_and_own_heads_given_in_any_order_go_to_their_modalities() -> None:
    model, batch = build(fusion="concat", unimodal_loss_weight=0.5), inputs()
    encoders = dict(zip(("b", "a"), reversed(model.encoders), strict=True))
    heads = dict(zip(("b", "a"), reversed(model.own_heads), strict=True))
    turned = FusionModel(encoders, model.fusion, model.head, own_heads=heads, unimodal_loss_weight=0.5)  # type: ignore[arg-type]
    expected, output = model(batch), turned.eval()(batch)
    assert torch.equal(output.outputs, expected.outputs)
    assert all(torch.equal(output.parts[n], expected.parts[n]) for n in ("a", "b"))


@pytest.mark.parametrize(("name", "level"), [("concat", None), ("mean_logits", None), ("gated", "hybrid")])
def test_the_own_loss_of_a_modality_is_of_its_own_output_on_the_rows_that_have_it(name: str, level: str | None) -> None:
    model = build(fusion=name, level=level, unimodal_loss_weight=0.5)
    lacking = {"a": torch.arange(6) < 2, "b": torch.arange(6) == 5, JOINT: torch.zeros(6, dtype=torch.bool)}
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    output = model({n: raw.without(lacking[n]) for n, raw in inputs().items()})
    joint, own = model.losses(output, target)
    assert set(own) == set(output.parts)
    for n, loss in own.items():
        torch.testing.assert_close(loss, F.cross_entropy(output.parts[n][~lacking[n]], target[~lacking[n]]))
    weight = 0.5 if level is None and name == "concat" else 1.0
    torch.testing.assert_close(model.loss(output, target), joint + weight * torch.stack([*own.values()]).mean())


@pytest.mark.parametrize(("name", "level"), [("mean_logits", None), ("concat", "hybrid")])
def test_only_the_heads_that_have_a_row_decide_on_it(name: str, level: str | None) -> None:
    gone = {"a": torch.arange(6) < 2, "b": torch.tensor([False, True, True, False, False, False])}  # row 1 has neither
    output = build(fusion=name, level=level)({n: raw.without(gone[n]) for n, raw in inputs().items()})
    parts = {n: F.log_softmax(part, -1) for n, part in output.parts.items()}
    there = {n: ~gone[n] for n in gone} | {JOINT: ~(gone["a"] & gone["b"])}
    for row in (0, 2, 3, 4, 5):
        expected = torch.stack([part[row] for n, part in parts.items() if there[n][row]]).mean(0).softmax(-1)
        torch.testing.assert_close(output.outputs[row].softmax(-1), expected)
    assert all(torch.equal(output.present[n], there[n]) for n in parts)


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_what_stands_behind_the_mask_has_no_effect(name: str, level: str | None) -> None:
    specs = {"a": SPECS["a"], "c": Spec(kind="series", n_channels=2, max_length=12)}
    options = ModelOptions(members=1, width=16, fusion=name, level=level, unimodal_loss_weight=0.5)
    model = build_model(specs, "multiclass", 3, options, n_rows=100, seed=0).eval()
    mask = torch.arange(12) < torch.tensor([12, 7, 1, 0, 4, 12])[:, None]
    values = torch.randn(6, 12, 2)
    junk = torch.where(mask[..., None], values, 1e3 * torch.randn(6, 12, 2))
    clean, dirty = (model({"a": inputs()["a"], "c": Raw(v, mask)}) for v in (values, junk))
    torch.testing.assert_close(dirty.outputs, clean.outputs)
    for n in dirty.parts:
        torch.testing.assert_close(dirty.parts[n][clean.present[n]], clean.parts[n][clean.present[n]])


@pytest.mark.parametrize(("name", "level"), [("concat", None), ("mean_logits", None), ("gated", "hybrid")])
def test_the_second_step_of_an_encoder_is_given_0_where_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, level: str | None
) -> None:
    model = build(fusion=name, level=level)
    seen: list[Tokens] = []

    def noted(mix: Callable[[Tokens], Tokens], tokens: Tokens) -> Tokens:
        seen.append(tokens)
        return mix(tokens)

    encoder: Any
    for encoder in model.encoders:
        encoder.mix = partial(noted, encoder.mix)
    embed = model.embed

    def dirty(batch: Mapping[str, Raw]) -> dict[str, Tokens]:
        return {n: Tokens(t.values + 9 * ~t.mask[..., None], t.mask) for n, t in embed(batch).items()}

    monkeypatch.setattr(model, "embed", dirty)
    model({n: raw.without(torch.arange(6) == 2) for n, raw in inputs().items()})
    assert len(seen) == 2
    assert all(not tokens.values[~tokens.mask].any() for tokens in seen)
    assert all((~tokens.mask).any() for tokens in seen)


def test_validation_is_without_label_smoothing_and_keeps_the_order_of_batches() -> None:
    model = build(fusion="concat", label_smoothing=0.3).train()
    model.eval()
    parts = [model(inputs(4, seed=0)), model(inputs(3, seed=1))]
    model.train()
    target = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    together = torch.cat([output.outputs for output in parts])
    assert model.validate(parts, target).loss == pytest.approx(F.cross_entropy(together, target).item())


def test_all_missing_is_finite_at_every_level() -> None:
    everything = torch.ones(6, dtype=torch.bool)
    batch = {n: r.without(everything) for n, r in inputs().items()}
    for name, level in LEVELS:
        assert build(fusion=name, level=level)(batch).outputs.isfinite().all()


def test_lacking_modalities_are_named() -> None:
    with pytest.raises(ShapeError, match=r"must be \['a', 'b'\]; got \['a'\]"):
        build()({"a": inputs()["a"]})


def test_all_faults_of_a_model_are_told_together() -> None:
    plain = build(fusion="concat")
    encoders = dict(zip(plain.names, plain.encoders, strict=True))
    with pytest.raises(ConfigError, match=r"a decision operator belongs .*own_heads must be given.*loss_weight"):
        FusionModel(
            encoders,  # type: ignore[arg-type]
            plain.fusion,
            plain.head,
            level="decision",
            unimodal_loss_weight=-1.0,
        )


def test_an_operator_that_does_not_fit_the_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="level must fit the operator; got level='feature' with fusion='vote'"):
        build(fusion="vote", level="feature")


def test_initial_weights_follow_the_seed_and_leave_the_global_state() -> None:
    state = torch.get_rng_state()
    one, same = build(), build()
    other = build_model(SPECS, "multiclass", 3, ModelOptions(members=1, width=16), n_rows=100, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_users_own_operator_class_is_welcome() -> None:
    model = build_model(SPECS, "regression", 1, ModelOptions(width=8), n_rows=9, seed=0, operator=fusion("max"))
    assert isinstance(model, FusionModel)
    assert type(model.fusion) is fusion("max")


class TestHeads:
    def test_class_losses_are_cross_entropy_with_smoothing_only_in_training(self) -> None:
        head = ClassHead(4, 3, label_smoothing=0.2)
        outputs, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
        torch.testing.assert_close(
            head.losses(outputs, target), F.cross_entropy(outputs, target, reduction="none", label_smoothing=0.2)
        )
        torch.testing.assert_close(
            head.eval().losses(outputs, target), F.cross_entropy(outputs, target, reduction="none")
        )

    def test_scores_agree_with_scikit_learn(self) -> None:
        from sklearn.metrics import accuracy_score, f1_score, r2_score

        generator = torch.Generator().manual_seed(0)
        outputs = torch.randn(50, 3, generator=generator, dtype=torch.float64)
        classes = torch.randint(0, 3, (50,), generator=generator)
        labels = torch.randint(0, 2, (50, 3), generator=generator).double()
        values = outputs + torch.randn(50, 3, generator=generator, dtype=torch.float64)
        assert ClassHead(4, 3).score(outputs, classes) == pytest.approx(accuracy_score(classes, outputs.argmax(1)))
        assert LabelsHead(4, 3).score(outputs, labels) == pytest.approx(f1_score(labels, outputs > 0, average="macro"))
        assert ValuesHead(4, 3).score(outputs, values) == pytest.approx(r2_score(values, outputs))

    def test_the_error_of_classes_is_the_brier_score(self) -> None:
        from sklearn.metrics import brier_score_loss

        outputs, target = torch.randn(40, 2, dtype=torch.float64), torch.randint(0, 2, (40,))
        head = ClassHead(4, 2)
        suited = head._best_temperature(outputs, target)  # at which the error is told
        oracle = brier_score_loss(target, (outputs / suited).softmax(-1)[:, 1])
        assert head.error(outputs, target) == pytest.approx(2 * oracle)  # both classes count

    def test_the_error_of_values_is_the_squared_error(self) -> None:
        outputs, target = torch.randn(40, 2), torch.randn(40, 2)
        assert ValuesHead(4, 2).error(outputs, target) == pytest.approx(((outputs - target) ** 2).sum(1).mean().item())

    def test_no_row_at_all_costs_nothing(self) -> None:
        head = ValuesHead(4, 1)
        none = torch.zeros(3, dtype=torch.bool)
        assert head.loss(torch.randn(3, 1), torch.randn(3, 1), none).item() == 0.0

    @pytest.mark.parametrize("wrong", [{"width": 0}, {"n_outputs": 0}, {"dropout": 1.0}, {"label_smoothing": -0.1}])
    def test_sizes_out_of_range_are_named(self, wrong: dict[str, float]) -> None:
        sizes = {"width": 4, "n_outputs": 2, **wrong}
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
            ClassHead(sizes.pop("width"), sizes.pop("n_outputs"), **sizes)  # type: ignore[arg-type]

    def test_an_unknown_task_names_the_nearest(self) -> None:
        with pytest.raises(KeyError, match="regression"):
            head_for("regresion")  # type: ignore[arg-type]


class Owns(MeanLogits):
    """Its loss is three, whatever is predicted, and it sees what a decision operator is promised to see."""

    owns_loss = True

    def losses(
        self, outputs: Tensor, present: Tensor, target: Tensor, head_losses: Callable[[Tensor, Tensor], Tensor]
    ) -> dict[str, Tensor]:
        assert outputs.shape == (6, 2, 3)
        assert not outputs[~present].any()
        assert head_losses(outputs[:, 0], target).shape == (6,)
        return {"three": torch.tensor(3.0)}


class Adds(Owns):
    owns_loss = False


def test_an_operator_that_owns_its_loss_is_trained_by_it_alone_and_others_add_theirs() -> None:
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    batch = {**inputs(), "a": inputs()["a"].without(torch.arange(6) == 2)}
    plain = build(fusion="mean_logits")
    for cls, want in ((Owns, 0.0), (Adds, plain.loss(plain(batch), target).item())):
        model = build_model(
            SPECS, "multiclass", 3, ModelOptions(members=1, width=16), n_rows=100, seed=0, operator=cls
        ).eval()
        assert isinstance(model, FusionModel)
        assert model.loss(model(batch), target).item() == pytest.approx(3 + want, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_transformer": {"layers": 2}}, "'token_transformer' has the options n_layers, n_heads, n_tokens; got"),
        ({"concat": {"dropout": 0.1}}, r"'concat' has the options \(none\); got 'dropout'"),
        ({"token": {}}, "fusion"),
        ({"low_rank": {"rank": 2.5}}, "rank of 'low_rank' should be a valid integer; got 2.5"),
        ({"token_transformer": {"n_layers": True}}, "n_layers of 'token_transformer' should be a valid integer"),
        ({"quality_aware": {"detach": "no"}}, "detach of 'quality_aware' should be a valid boolean; got 'no'"),
        (
            {"sparse_experts": {"router": "each"}},
            "router of 'sparse_experts' should be 'joint', 'modality' or 'disjoint'",
        ),
        ({"contrastive": {"weight": float("nan")}}, "weight of 'contrastive' should be a finite number; got nan"),
    ],
)
def test_an_unknown_option_of_an_operator_is_told(options: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelOptions(operator_options=options)


@pytest.mark.parametrize("name", FUSIONS)
def test_the_defaults_of_every_operator_are_options_it_takes(name: str) -> None:
    told = inspect.signature(fusion(name)).parameters.values()
    own = {p.name: p.default for p in told if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}
    options = {n: v for n, v in own.items() if n not in ("link", "dropout", "stage_channels")}
    assert ModelOptions(operator_options={name: options}).operator_options[name] == options


@pytest.mark.parametrize(
    ("names", "task", "options", "fusion_name", "level"),
    [
        ("ab", "multiclass", {}, "Concat", "hybrid"),
        ("ab", "regression", {}, "Concat", "feature"),
        ("ab", "multiclass", {"level": "raw"}, "Concat", "raw"),
        ("ab", "multiclass", {"fusion": "gated"}, "Gated", "feature"),
        ("a", "multiclass", {}, "AttentionPooling", "feature"),
        ("a", "multiclass", {"fusion": "concat"}, "Concat", "feature"),
    ],
)
def test_where_no_operator_is_named_it_is_chosen_by_what_there_is_to_fuse(
    names: str, task: str, options: dict[str, str], fusion_name: str, level: str
) -> None:
    specs = {name: SPECS[name] for name in names}
    made = build_model(specs, task, 3, ModelOptions(width=16, **options), n_rows=100, seed=0)  # type: ignore[arg-type]
    assert (type(made.plain.fusion).__name__, made.plain.level) == (fusion_name, level)
    alone = names == "a" and not options
    assert len(made.plain.own_heads) == (0 if alone else len(names))


def test_options_of_an_operator_reach_it() -> None:
    options = {"token_transformer": {"n_layers": 3}, "stacking": {"l2": 2.0}}
    model = build(fusion="token_transformer", operator_options=options)
    assert repr(model.fusion).count("n_layers=3") == 1


def test_options_of_an_encoder_reach_it_and_the_others_keep_their_own() -> None:
    model = build(encoder_options={"a": {"dropout": 0.35}})
    given = dict(zip(model.names, model.encoders, strict=True))["a"]
    assert "dropout=0.35" in repr(given)
    assert sum("dropout=0.35" in repr(e) for e in model.encoders) == 1


def test_lists_of_a_file_are_the_tuples_that_encoders_take() -> None:
    options = ModelOptions(encoder_options={"picture": {"dims": [16, 32]}})
    assert options.encoder_options == {"picture": {"dims": (16, 32)}}
    assert ModelOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": {"drop": 0.1}}, r"has the options .*dropout.*; got 'drop'"),
        ({"a": {"dropout": "much"}}, "dropout of .* should be a valid number; got 'much'"),
        ({"c": {"dropout": 0.1}}, "given for .c.; the modalities are"),
    ],
)
def test_an_option_that_an_encoder_does_not_take_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(encoder_options=options)


@pytest.mark.parametrize(
    ("name", "level"), [*LEVELS, ("mmtm", None), ("dcca", None), ("compact_bilinear", None), ("mogonet", None)]
)
def test_mixed_precision_trains_at_every_level(name: str, level: str | None) -> None:
    specs = {**SPECS, "c": Spec(kind="series", n_channels=2, max_length=12)}
    made = build_model(
        specs, "multiclass", 3, ModelOptions(members=1, width=16, fusion=name, level=level), n_rows=100, seed=0
    )
    batch = {**inputs(), "c": Raw(torch.randn(6, 12, 2), torch.ones(6, 12, dtype=torch.bool))}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made.loss(made(batch), torch.tensor([0, 1, 2, 0, 1, 2]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in made.parameters())
