"""`LinearPath`: ridge regression that says how sure it may be, against scikit-learn and rows left out one by one."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegressionCV, Ridge
from torch.nn import functional as F

from profuse.layers.landmarks import Landmarks, Way
from profuse.layers.linear_path import LinearPath

Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]


def rows(n: int, p: int, *, seed: int = 0, noise: float = 1.0) -> tuple[Parts, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, p, generator=generator, dtype=torch.float64)
    weights = torch.zeros(p, dtype=torch.float64)
    weights[:5] = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    y = x @ weights + noise * torch.randn(n, generator=generator, dtype=torch.float64)
    return {"x": (x, torch.ones(n, dtype=torch.bool))}, y[:, None]


def path(p: int, n_outputs: int = 1, link: str = "identity") -> LinearPath:
    return LinearPath({"x": p}, n_outputs, link=link).double()  # type: ignore[arg-type]


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", (0.0,))


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize(("n", "p"), [(60, 8), (40, 100)])
def test_it_is_ridge_regression_on_standardised_inputs(n: int, p: int) -> None:
    parts, y = rows(n, p)
    made = path(p)
    made.fit(parts, y)
    x = parts["x"][0].numpy()
    spread = x.std(0) * math.sqrt(p)
    ridge = Ridge(alpha=n * float(made.chosen[0])).fit((x - x.mean(0)) / spread, y[:, 0].numpy())
    np.testing.assert_allclose(made(parts)[:, 0].numpy(), ridge.predict((x - x.mean(0)) / spread), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize(("n", "p"), [(30, 6), (25, 60)])
def test_its_penalty_is_the_best_when_rows_are_left_out_one_by_one(n: int, p: int) -> None:
    parts, y = rows(n, p)
    made = path(p)
    made.fit(parts, y)
    x = parts["x"][0].numpy()
    z, goal = (x - x.mean(0)) / x.std(0) / math.sqrt(p), y[:, 0].numpy()
    errors = {}
    for penalty in np.logspace(-6, 2, 33)[::2]:
        left = [
            Ridge(alpha=n * penalty, solver="svd").fit(np.delete(z, i, 0), np.delete(goal, i)).predict(z[i : i + 1])
            for i in range(n)
        ]
        errors[penalty] = np.square(np.ravel(left) - goal).mean()
    best = min(errors, key=lambda k: errors[k])
    assert abs(math.log10(float(made.chosen[0]) / best)) <= 0.51  # one step of the coarser grid and a half


def test_on_few_rows_of_many_columns_it_is_no_more_sure_than_it_may_be() -> None:
    parts, y = rows(1100, 200, noise=2.0)
    target = F.one_hot((y[:, 0] > 0).long(), 2)
    seen = {"x": (parts["x"][0][:120], parts["x"][1][:120])}
    made = path(200, 2, "softmax")
    made.fit(seen, target[:120])
    loss = F.cross_entropy(made(parts)[120:], target[120:, 1]).item()
    x = parts["x"][0].numpy()
    judge = LogisticRegressionCV(
        Cs=np.logspace(-4, 1, 8), cv=5, scoring="neg_log_loss", l1_ratios=(0,), use_legacy_attributes=False
    )
    judge.fit(x[:120], target[:120, 1].numpy())
    logistic = -np.log(judge.predict_proba(x[120:])[np.arange(980), target[120:, 1].numpy()]).mean()
    assert loss < logistic + 0.02 < math.log(2)


def test_without_anything_to_learn_it_predicts_the_prior() -> None:
    parts, _ = rows(300, 20)
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(300, 3, generator=generator) < torch.tensor([0.2, 0.5, 0.9])).double()
    made = path(20, 3, "sigmoid")
    made.fit(parts, labels)
    torch.testing.assert_close(made(parts).sigmoid().mean(0), labels.mean(0), atol=0.03, rtol=0)
    assert made(parts).sigmoid().std(0).max() < 0.1


def test_what_bends_is_read_by_kernels_and_what_is_straight_is_not() -> None:
    parts, straight = rows(700, 6, noise=0.5)
    x = parts["x"][0]
    bent = straight + 2.0 * x[:, :1].abs() + x[:, 1:2] * x[:, 2:3]
    seen = {"x": (x[:300], torch.ones(300, dtype=torch.bool))}
    made, other = path(6), path(6)
    made.fit(seen, straight[:300])
    other.fit(seen, bent[:300])
    assert made.ways == (Way(0.0),)
    assert other.ways[0].frequency > 0
    residual = (other(parts) - bent)[300:].square().mean() / bent[300:].var()
    assert residual < 0.2
    made.fit(seen, bent[:300], like=made)
    assert made.ways == (Way(0.0),)
    assert (made(parts) - bent)[300:].square().mean() / bent[300:].var() > 2 * residual


def test_it_sees_no_more_than_each_part_alone() -> None:
    x = torch.randn(600, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    product, present = x[:, :1] * x[:, 1:], torch.ones(600, dtype=torch.bool)
    apart = LinearPath({"a": 1, "b": 1}, 1, link="identity").double()
    parts = {"a": (x[:, :1], present), "b": (x[:, 1:], present)}
    apart.fit({n: (v[:300], p[:300]) for n, (v, p) in parts.items()}, product[:300])
    assert (apart(parts) - product)[300:].square().mean() > 0.9 * product[300:].var()
    together = path(2)
    together.fit({"x": (x[:300], present[:300])}, product[:300])
    assert (together({"x": (x, present)}) - product)[300:].square().mean() < 0.3 * product[300:].var()


def test_kernels_to_all_rows_are_kernel_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", (0.77,))
    parts, y = rows(60, 6)
    new, _ = rows(20, 6, seed=1)
    made = path(6)
    made.fit(parts, y.sin())
    x = parts["x"][0].numpy()
    spread = x.std(0) * math.sqrt(6)
    z, z_new = (x - x.mean(0)) / spread, (new["x"][0].numpy() - x.mean(0)) / spread

    def kernels(a: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-0.5 * 0.77**2 * np.square(a[:, None] - z).sum(2)))

    middle = np.eye(60) - 1 / 60
    weights = np.linalg.solve(
        middle @ kernels(z) @ middle + 60 * float(made.chosen[0]) * np.eye(60), middle @ y.sin().numpy()
    )
    wanted = (kernels(z_new) - kernels(z).mean(0)) @ middle @ weights + y.sin().mean().item()
    np.testing.assert_allclose(made(new).numpy(), wanted, atol=5e-3)


def test_fewer_landmarks_than_rows_come_near() -> None:
    parts, y = rows(700, 6, noise=0.1)
    bent = y + 2.0 * parts["x"][0][:, :1].abs()
    seen = {"x": (parts["x"][0][:400], parts["x"][1][:400])}
    errors = []
    for n_landmarks in (400, 200, 20):
        made = LinearPath({"x": 6}, 1, link="identity", n_landmarks=n_landmarks).double()
        made.fit(seen, bent[:400])
        assert made.ways[0].frequency > 0
        errors.append(float((made(parts) - bent)[400:].square().mean() / bent[400:].var()))
    assert errors[1] < 1.2 * errors[0] < 0.7 * errors[2]


def test_a_saved_path_predicts_the_same_and_keeps_landmarks_small() -> None:
    parts, y = rows(60, 6)
    made, again = (LinearPath({"x": 6}, 1, link="identity") for _ in range(2))
    made.fit(parts, y.sin())
    state = made.state_dict()
    assert state["parts.0.landmarks"].element_size() == 2
    again.load_state_dict(state)
    assert torch.equal(again(parts), made(parts))


def test_paths_that_read_a_part_alike_have_one_reading_of_it() -> None:
    parts, y = in_two_parts(60)
    joint = LinearPath({"a": 3, "b": 5}, 1, link="identity")
    own = LinearPath({"b": 5}, 1, link="identity", like=joint)
    assert own.landmarks["b"] is joint.landmarks["b"]
    assert set(own.state_dict()) == {"weight", "bias", "chosen", "scales"}
    readings = own.settle(parts, y)
    joint.fit(parts, y, readings=joint.settle(parts, y, settled=readings))
    assert joint.ways[1:] == own.ways


def test_before_it_is_fitted_it_adds_nothing() -> None:
    parts, _ = rows(5, 6)
    assert not path(6, 3, "softmax")(parts).any()


def test_a_missing_part_adds_nothing_whatever_it_holds() -> None:
    parts, y = rows(50, 8)
    x, present = parts["x"]
    given = {"a": (x[:, :3], torch.arange(50) % 3 > 0), "b": (x[:, 3:], present)}
    made = LinearPath({"a": 3, "b": 5}, 1, link="identity").double()
    made.fit(given, y)
    spoilt = given["a"][0].masked_fill(~given["a"][1][:, None], math.nan)
    assert torch.equal(made({**given, "a": (spoilt, given["a"][1])}), made(given))
    neither = {n: (part, torch.zeros(50, dtype=torch.bool)) for n, (part, _) in given.items()}
    assert torch.equal(made(neither), made.bias.expand(50, 1))


def test_rows_that_are_held_out_choose_where_rows_repeat() -> None:
    parts, y = rows(40, 60, noise=3.0)
    twice = {"x": (parts["x"][0].repeat(3, 1), torch.ones(120, dtype=torch.bool))}  # each left out is still there twice
    hopeful, careful = path(60), path(60)
    hopeful.fit(twice, y.repeat(3, 1))
    held = rows(80, 60, seed=5, noise=3.0)
    careful.fit(twice, y.repeat(3, 1), held=held)
    new, goal = rows(500, 60, seed=6, noise=3.0)
    assert (careful(new) - goal).square().mean() < (hopeful(new) - goal).square().mean()
    again = path(60)
    again.fit(parts, y, like=careful)
    torch.testing.assert_close(again.chosen, careful.chosen)


def test_a_constant_column_and_a_constant_target_are_borne() -> None:
    parts, y = rows(20, 6)
    parts["x"][0][:, 1] = 3.0
    made = path(6)
    made.fit(parts, torch.full_like(y, 2.0))
    torch.testing.assert_close(made(parts), torch.full_like(y, 2.0))
    nothing = {"x": (torch.zeros(20, 6, dtype=torch.float64), parts["x"][1])}
    made.fit(nothing, y)
    torch.testing.assert_close(made(nothing), y.mean().expand(20, 1))


def in_two_parts(n: int, *, seed: int = 0) -> tuple[Parts, torch.Tensor]:
    parts, y = rows(n, 8, seed=seed)
    x, present = parts["x"]
    return {"a": (x[:, :3], torch.arange(n) % 4 > 0), "b": (x[:, 3:], present)}, y


@pytest.mark.parametrize("size", [1, 5])
def test_what_it_returns_of_a_row_is_what_it_predicts_when_solved_without_the_row(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standardisation is that of all rows: it reads no target."""
    n = 60
    parts, y = in_two_parts(n)
    made, again = (LinearPath({"a": 3, "b": 5}, 1, link="identity").double() for _ in range(2))
    readings = made.settle(parts, y)
    added = made.fit(parts, y, readings=readings, together=None if size == 1 else torch.arange(n) // size)
    assert not added["a"][~parts["a"][1]].any()
    whole = added["a"] + added["b"] + made.bias
    again.load_state_dict(made.state_dict())
    again.chosen[0] *= n / (n - size)  # the penalty is per row
    monkeypatch.setattr("profuse.layers.linear_path.LinearPath.settle", lambda *_, **__: readings)
    like = copy.deepcopy(again)
    for i in range(n // size):
        kept = torch.arange(n) // size != i
        again.fit({k: (x[kept], present[kept]) for k, (x, present) in parts.items()}, y[kept], like=like)
        torch.testing.assert_close(whole[~kept], again(parts)[~kept], atol=1e-5, rtol=1e-5)
        assert (whole[~kept] - made(parts)[~kept]).abs().max() > 1e-4


def test_of_classes_it_returns_the_same_shares_times_the_scale() -> None:
    parts, y = in_two_parts(60)
    target = F.one_hot((y[:, 0] > 0).long(), 2).double()
    logits, values = (LinearPath({"a": 3, "b": 5}, 2, link=link).double() for link in ("softmax", "identity"))
    shares, like = logits.fit(parts, target), copy.deepcopy(logits)
    like.chosen[1] = 1
    plain = values.fit(parts, target, like=like)
    assert logits.ways == values.ways
    assert logits.chosen[1] != 1
    for name, share in shares.items():
        torch.testing.assert_close(share, plain[name] * logits.chosen[1], atol=1e-5, rtol=1e-5)


def test_what_it_returns_of_rows_that_it_learned_from_is_no_better_than_on_new_ones() -> None:
    parts, y = in_two_parts(60)
    new, goal = in_two_parts(2000, seed=1)
    made = LinearPath({"a": 3, "b": 5}, 1, link="identity").double()
    added = made.fit(parts, y)
    left = (sum(added.values()) + made.bias - y).square().mean()
    assert (made(parts) - y).square().mean() < 0.8 * left
    torch.testing.assert_close(left, (made(new) - goal).square().mean(), rtol=0.3, atol=0)


def test_rows_beyond_those_that_are_solved_get_what_it_makes_of_any_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", (0.0,))
    parts, y = rows(90, 6)
    made = path(6)
    monkeypatch.setattr("profuse.layers.linear_path._LARGEST", 30 * 6)
    added = made.fit(parts, y)["x"]
    plain = made.contribution("x", made.landmarks["x"](*parts["x"]))
    seen = (added - plain)[:, 0].abs() > 1e-9
    assert seen.sum() == 30
    assert (seen.unflatten(0, (3, 30)).sum(1) == 10).all(), "not from all along"
    torch.testing.assert_close(added[~seen], plain[~seen])


@pytest.mark.parametrize(("frequency", "n_features"), [(0.0, 8), (0.77, 400)])
def test_rows_whose_classes_take_turns_are_not_learned_from_by_halves(
    frequency: float, n_features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", (frequency,))
    monkeypatch.setattr("profuse.layers.linear_path._LARGEST", 200 * n_features)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 8
    x = F.one_hot(labels, 8).double() + 0.1 * torch.randn(400, 8, generator=generator, dtype=torch.float64)
    made, parts = path(8, 8, link="softmax"), {"x": (x, torch.ones(400, dtype=torch.bool))}
    made.fit(parts, F.one_hot(labels, 8).double())
    assert (made(parts).argmax(1) == labels).all()


@pytest.mark.parametrize("frequency", [0.0, 0.45])
def test_rows_beyond_those_that_are_solved_are_given_nothing_of_the_rows_that_they_belong_to(
    frequency: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third row is learned from; groups of five rows hold one or two of those."""
    n = 60
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", (frequency,))
    parts, y = in_two_parts(n)
    groups, learned = torch.arange(n) // 5, torch.arange(n) % 3 == 0
    made = LinearPath({"a": 3, "b": 5}, 1, link="identity", n_landmarks=n).double()
    readings = made.settle(parts, y)
    monkeypatch.setattr("profuse.layers.linear_path._LARGEST", 20 * sum(r.n_features for r in readings.values()))
    evenly = "profuse.layers.linear_path._evenly"
    monkeypatch.setattr(evenly, lambda rows, most: rows if len(rows) <= most else rows[learned])
    added = made.fit(parts, y, readings=readings, together=groups)
    assert not added["a"][~parts["a"][1]].any()
    whole = added["a"] + added["b"] + made.bias
    monkeypatch.setattr("profuse.layers.linear_path.LinearPath.settle", lambda *_, **__: readings)
    for i in range(n // 5):
        kept = learned & (groups != i)
        like = copy.deepcopy(made)
        like.chosen[0] *= 20 / kept.sum()  # the penalty is per row
        again = copy.deepcopy(made)
        again.fit({k: (x[kept], present[kept]) for k, (x, present) in parts.items()}, y[kept], like=like)
        torch.testing.assert_close(whole[groups == i], again(parts)[groups == i], atol=1e-5, rtol=1e-5)


def test_one_row_that_has_a_part_is_borne() -> None:
    parts, y = rows(30, 6)
    given = {**parts, "z": (torch.randn(30, 4, dtype=torch.float64) * 1e3, torch.arange(30) == 5)}
    made = LinearPath({"x": 6, "z": 4}, 1, link="identity").double()
    added = made.fit(given, y)
    alone = path(6)
    alone.fit(parts, y)
    everywhere = {**given, "z": (given["z"][0], parts["x"][1])}
    torch.testing.assert_close(made(everywhere), alone(parts), atol=1e-6, rtol=1e-6)
    assert added["z"].abs().max() < 0.5


@pytest.mark.parametrize("link", ["identity", "softmax"])
def test_a_part_of_many_numbers_that_tell_nothing_does_not_drown_one_that_tells_much(link: str) -> None:
    parts, y = rows(1000, 8, noise=0.5)
    noise = torch.randn(1000, 600, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, present = parts["x"]
    known = {"x": (x, present), "noise": (noise, present)}
    goal = y if link == "identity" else F.one_hot((y[:, 0] > 0).long(), 2).double()

    def loss(names: list[str]) -> float:
        sizes = {n: known[n][0].shape[1] for n in names}
        made = LinearPath(sizes, goal.shape[1], link=link).double()  # type: ignore[arg-type]
        made.fit({n: (known[n][0][:200], present[:200]) for n in names}, goal[:200])
        said = made({n: known[n] for n in names})[200:]
        return float((said - goal[200:]).square().mean() if link == "identity" else F.cross_entropy(said, goal[200:]))

    assert loss(["x", "noise"]) < 1.02 * loss(["x"])


def test_penalties_of_parts_are_taken_from_the_path_whose_choices_are_taken() -> None:
    parts, y = in_two_parts(60)
    made, again = (LinearPath({"a": 3, "b": 5}, 1, link="identity").double() for _ in range(2))
    made.fit(parts, y)
    assert made.scales.max() == 1
    made.scales.copy_(torch.tensor([0.25, 1.0]))
    added = again.fit(parts, y, like=made)
    assert torch.equal(again.scales, made.scales)
    ridge = Ridge(alpha=60 * float(made.chosen[0]), solver="svd")
    standard = [part.standard(*parts[n]).numpy() for n, part in again.landmarks.items()]
    assert again.ways == (Way(0.0), Way(0.0))
    x = np.concatenate([0.25 * standard[0], standard[1]], axis=1)
    wanted = ridge.fit(x, y[:, 0].numpy()).predict(x)
    np.testing.assert_allclose(again(parts)[:, 0].numpy(), wanted, rtol=1e-6, atol=1e-6)
    assert set(added) == {"a", "b"}


def test_of_classes_log_loss_chooses_the_penalty_not_squared_error() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(5, (1200,), generator=generator)
    middles = 0.5 * torch.randn(5, 20, generator=generator, dtype=torch.float64)
    x = middles[target] + torch.randn(1200, 20, generator=generator, dtype=torch.float64)
    present, goal = torch.ones(1200, dtype=torch.bool), F.one_hot(target, 5).double()
    made, other = path(20, 5, "softmax"), path(20, 5, "softmax")
    made.fit({"x": (x[:200], present[:200])}, goal[:200])
    other.link = "identity"  # as if they were values
    other.fit({"x": (x[:200], present[:200])}, goal[:200])
    assert made.chosen[0] > other.chosen[0]
    other.link, like = "softmax", copy.deepcopy(other)
    like.chosen[1] = made.chosen[1]
    other.fit({"x": (x[:200], present[:200])}, goal[:200], like=like)

    def loss(p: LinearPath) -> float:
        said = p({"x": (x[200:], present[200:])})
        prior = goal[:200].mean(0).log()
        return min(float(F.cross_entropy(prior + s * (said - prior), goal[200:])) for s in torch.logspace(-1, 1, 41))

    assert loss(made) < loss(other)


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_no_other_multiple_of_what_is_predicted_of_held_rows_has_a_smaller_log_loss(link: str) -> None:
    def goal(y: torch.Tensor) -> torch.Tensor:
        positive = y > 0.5
        return torch.cat([positive, ~positive], dim=1).double() if link == "softmax" else positive.double()

    parts, y = rows(60, 10)
    held, true = rows(45, 10, seed=5, noise=3.0)  # other rows, on which one had better be less sure
    made = path(10, goal(y).shape[1], link)
    made.fit(parts, goal(y), held=(held, goal(true)))
    share = goal(y).mean(0)
    prior = share.log() if link == "softmax" else share.logit()

    def loss(multiple: float) -> float:
        logits = prior + multiple * (made(held) - prior)
        if link == "softmax":
            return float(F.cross_entropy(logits, goal(true)))
        return float(F.binary_cross_entropy_with_logits(logits, goal(true)))

    assert loss(1.0) < min(loss(0.7), loss(1.4))
    assert loss(1.0) < loss(0.0) - 0.01  # it has learned something


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
@pytest.mark.parametrize("size", [0.02, 0.3, 5.0])
def test_scores_are_judged_by_the_log_loss_of_their_best_multiple(link: str, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(50, 1, generator=generator, dtype=torch.float64).round()
    goal = torch.cat([true, 1 - true], dim=1) if link == "softmax" else true
    noise = torch.randn(50, goal.shape[1], generator=generator, dtype=torch.float64)
    scores = size * (goal - goal.mean(0) + 0.7 * noise)
    judge = path(3, goal.shape[1], link)._judge(goal, goal)
    assert judge is not None
    prior = goal.mean(0).log() if link == "softmax" else goal.mean(0).logit()
    logits = prior + torch.logspace(-1, 2, 3_000, dtype=torch.float64)[:, None, None] * scores
    if link == "softmax":
        losses = -(goal * logits.log_softmax(2)).sum(2).mean(1)
    else:
        losses = F.binary_cross_entropy_with_logits(logits, goal.expand_as(logits), reduction="none").mean((1, 2))
    both = judge(torch.stack([scores, -scores]))
    assert float(both[0]) == pytest.approx(float(losses.min()), rel=5e-3)
    assert both[1] > both[0]


def in_one_unit(n: int, *, natural: torch.Tensor | None, seed: int = 0) -> tuple[LinearPath, Parts]:
    """Rows of numbers that vary by 1, and would vary by `natural` in the data's own unit."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 12, generator=generator, dtype=torch.float64)
    made = LinearPath({"x": 12}, 1, link="identity", natural={"x": natural}).double()
    return made, {"x": (x, torch.ones(n, dtype=torch.bool))}


@pytest.mark.parametrize("bent", [False, True])
def test_numbers_in_one_unit_count_as_much_as_they_vary_where_rows_say_so(bent: bool) -> None:
    natural = torch.tensor([1.0] * 3 + [0.05] * 9)
    errors = {}
    for name, spreads in (("one unit", natural), ("each its own", None)):
        made, parts = in_one_unit(400, natural=spreads)
        y = parts["x"][0][:, :3].sum(1, keepdim=True)
        y = y.sin() if bent else y + torch.randn(y.shape, generator=torch.Generator().manual_seed(9))
        seen = {"x": (parts["x"][0][:60], parts["x"][1][:60])}
        made.fit(seen, y[:60])
        assert made.ways[0].as_given == (spreads is not None)
        errors[name] = float((made(parts) - y)[60:].square().mean())
    assert errors["one unit"] < 0.95 * errors["each its own"]


def test_numbers_in_one_unit_count_alike_where_those_that_vary_little_tell_all() -> None:
    made, parts = in_one_unit(300, natural=torch.tensor([1.0] * 9 + [0.05] * 3))
    made.fit(parts, parts["x"][0][:, 9:].sum(1, keepdim=True))
    assert not made.ways[0].as_given


def test_a_number_whose_spread_is_nought_is_left_out_of_what_is_read_as_given() -> None:
    part, x = Landmarks(3, 20, natural=torch.tensor([2.0, 1.0, 0.0])), torch.randn(50, 3)
    here = torch.ones(50, dtype=torch.bool)
    part.settle(x, here, Way(0.0, as_given=True), 20)
    z = part(x, here)[:, :3]
    assert (z[:, 2] == 0).all()
    centred = x - x.mean(0)
    ratio = z[:, 0] / z[:, 1]
    torch.testing.assert_close(ratio, (2 * centred[:, 0] / centred[:, 1]).double(), rtol=1e-3, atol=1e-4)
    assert float(z.square().sum(1).mean()) == pytest.approx(1.0, rel=1e-4)
