"""Conditional generators against closed forms of the normal distribution."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.layers.generators import (
    DiffusionGenerator,
    FlowGenerator,
    GanGenerator,
    Generator,
    RegressionGenerator,
)

MU, S = 0.7, 0.4  # of a normal target that no condition tells anything about
EVERY = [RegressionGenerator, FlowGenerator, DiffusionGenerator, GanGenerator]


class TrueFlow(FlowGenerator):
    """The field of the closed form: the conditional expectation of target - start given x_t."""

    def velocity(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return MU + (t * S**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * S**2) * (x - t * MU)


class TrueDiffusion(DiffusionGenerator):
    """The closed form of E[target | x_t]."""

    s = S

    def denoised(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        variance = (self.sigma ** (2 * t) - 1) / (2 * math.log(self.sigma))
        return (self.s**2 * x + variance * MU) / (self.s**2 + variance)


def nothing(n: int) -> Tensor:
    return torch.zeros(n, 1, dtype=torch.float64)


def test_the_flow_with_the_closed_form_field_carries_a_start_to_mu_plus_s_times_it() -> None:
    start = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    for n_steps, off in ((10, 2e-2), (100, 2e-4)):
        made = TrueFlow(1, 1, 4, n_steps=n_steps).transport(nothing(13), start)
        torch.testing.assert_close(made, MU + S * start, atol=off, rtol=0)


def test_the_closed_form_field_has_the_loss_that_no_field_can_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = TrueFlow(1, 1, 4).double().train()
    torch.manual_seed(0)
    target = MU + S * torch.randn(40_000, 1, dtype=torch.float64)
    t = np.linspace(0, 1, 2001)
    variance = 1 + S**2 - (t * S**2 - (1 - t)) ** 2 / ((1 - t) ** 2 + t**2 * S**2)
    best = float(flow.losses(nothing(len(target)), target)["imputation"].mean())
    assert best == pytest.approx(np.trapezoid(variance, t), rel=0.02)
    true = flow.velocity
    monkeypatch.setattr(flow, "velocity", lambda x, t, c: true(x, t, c) + 0.3 * torch.sin(x))
    assert float(flow.losses(nothing(len(target)), target)["imputation"].mean()) > best + 0.02


def test_the_variance_of_the_diffusion_is_the_integral_of_its_squared_rate() -> None:
    diffusion = DiffusionGenerator(1, 1, 4)
    for t in (0.001, 0.3, 1.0):
        u = np.linspace(0, t, 20_001)
        assert diffusion.deviation(t) ** 2 == pytest.approx(np.trapezoid(25.0 ** (2 * u), u), rel=1e-6)
    assert diffusion.deviation(1.0) == pytest.approx(math.sqrt(624 / (2 * math.log(25))))


def test_the_ode_with_the_closed_form_score_carries_a_start_to_the_normal_target() -> None:
    start = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    sigma = DiffusionGenerator(1, 1, 4).deviation(1.0)
    # the exact flow keeps (x - mu) / sqrt(s^2 + sigma^2)
    first = sigma**2 * MU / (S**2 + sigma**2) + sigma * start
    want = MU + S * (first - MU) / math.sqrt(S**2 + sigma**2)
    for n_steps, off in ((20, 3e-2), (200, 5e-3)):
        made = TrueDiffusion(1, 1, 4, n_steps=n_steps).transport(nothing(13), start)
        torch.testing.assert_close(made, want, atol=off, rtol=0)


@pytest.mark.parametrize("s", [0.1, 0.4, 2.0])
def test_the_walk_ends_at_the_normal_target_and_is_never_wider_however_few_its_steps(s: float) -> None:
    diffusion = TrueDiffusion(1, 1, 4)
    diffusion.s = s
    spreads = []
    for n_steps in (2, 6, 16, 500):
        made = diffusion.walk(nothing(20_000), torch.Generator().manual_seed(0), n_steps=n_steps)
        assert float(made.mean()) == pytest.approx(MU, abs=0.05 * max(s, 0.4))
        spreads.append(float(made.std()) / s)
    assert spreads == sorted(spreads)
    assert spreads[1] > 0.35
    assert spreads[-1] == pytest.approx(1, abs=0.07)


def test_a_walk_is_the_closed_form_where_the_answer_does_not_change() -> None:
    class Sure(DiffusionGenerator):
        def denoised(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
            return torch.full_like(x, MU)

    for n_steps in (2, 6, 100):
        torch.testing.assert_close(Sure(1, 1, 4).walk(nothing(9), n_steps=n_steps), torch.full_like(nothing(9), MU))


def test_before_training_the_score_is_near_that_of_a_standard_normal_target() -> None:
    diffusion = DiffusionGenerator(2, 3, 8).eval()
    for layer in (diffusion.field.out.weight, diffusion.field.out.bias):
        nn.init.zeros_(layer)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    t = torch.full((5, 1), 0.4)
    want = x / (1 + diffusion.deviation(0.4) ** 2)
    torch.testing.assert_close(diffusion.denoised(x, t, torch.zeros(5, 2)), want)


def test_a_regression_without_blocks_learns_what_least_squares_gives() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    y = x @ rng.normal(size=(3, 2)) + 0.5 + 0.3 * noise
    torch.manual_seed(0)
    regression = RegressionGenerator(3, 2, 4, n_blocks=0).double()
    condition, target = torch.from_numpy(x), torch.from_numpy(y)
    optimiser = torch.optim.LBFGS(
        regression.parameters(),
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = regression.losses(condition, target)["imputation"].mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    design = np.c_[x, np.ones(60)]
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(regression.centre(condition).detach().numpy(), fitted, atol=1e-6)
    regression.calibrate(condition, target)
    np.testing.assert_allclose(regression.spread.numpy(), np.sqrt(((y - fitted) ** 2).mean(0)), atol=1e-6)
    drawn = torch.stack([regression.sample(condition[:4]) for _ in range(2000)]).detach()
    np.testing.assert_allclose(drawn.std(0).mean(0).numpy(), regression.spread.numpy(), rtol=0.05)


@pytest.mark.parametrize("diversity", [0.0, 0.7])
def test_each_player_of_the_gan_learns_from_its_own_loss_only(diversity: float) -> None:
    torch.manual_seed(0)
    gan = GanGenerator(3, 2, 8, l1=2.0, diversity=diversity).double().eval()
    condition, target = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    torch.stack([loss.mean() for loss in gan.losses(condition, target).values()]).sum().backward()
    together = {name: p.grad.clone() for name, p in gan.named_parameters() if p.grad is not None}

    starts = gan.starts[:, None].expand(-1, 6, -1)
    both = torch.cat([condition.expand(4, -1, -1), starts], -1)
    fake = gan.make(both)
    seen = torch.cat([condition.expand(4, -1, -1), fake], -1)
    real = gan.judge(torch.cat([condition, target], -1))
    off = (target - fake).abs().mean() - diversity / 2 * (fake[:2] - fake[2:]).abs().mean()
    for player, loss in {
        "make": (functional.softplus(-gan.judge(seen)).mean() + 2.0 * off) / 3.0,
        "judge": functional.softplus(-real).mean() + functional.softplus(gan.judge(seen.detach())).mean(),
    }.items():
        names = [name for name in together if name.startswith(player)]
        alone = torch.autograd.grad(loss, [gan.get_parameter(n) for n in names], retain_graph=True)
        for name, gradient in zip(names, alone, strict=True):
            torch.testing.assert_close(together[name], gradient)


def test_draws_that_are_kept_apart_are_judged_by_the_score_that_the_true_spread_makes_smallest() -> None:
    """|target - G| - |G - G'| / 2 of normal draws, against the closed form of the CRPS averaged over the target."""

    class Spread(GanGenerator):
        def transport(self, condition: Tensor, start: Tensor) -> Tensor:
            return s * start[..., :1].to(condition)

    gan = Spread(1, 1, 4, l1=1e6, diversity=1.0).double().train()  # so that the players' part does not count
    torch.manual_seed(0)
    target = 0.6 * torch.randn(200_000, 1, dtype=torch.float64)
    found = {}
    for s in (0.1, 0.6, 1.5):
        found[s] = float(gan.losses(nothing(len(target)), target)["generator"].detach().mean())
        # of normal x with deviation d: E |x| = d sqrt(2 / pi)
        want = math.sqrt(2 / math.pi) * (math.hypot(0.6, s) - math.hypot(s, s) / 2)
        assert found[s] == pytest.approx(want, abs=0.01)
    assert min(found, key=found.__getitem__) == 0.6


def test_a_judge_that_cannot_tell_pays_two_log_two() -> None:
    gan = GanGenerator(3, 2, 8).eval()
    for weight in (gan.judge[-1].weight, gan.judge[-1].bias):
        nn.init.zeros_(weight)  # type: ignore[arg-type]
    losses = gan.losses(torch.randn(5, 3), torch.randn(5, 2))
    torch.testing.assert_close(losses["discriminator"], torch.full((5,), 2 * math.log(2)))


def test_the_score_of_the_gan_is_the_energy_score_of_its_fixed_draws() -> None:
    gan = GanGenerator(3, 1, 8).double().eval()
    condition, target = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    made = np.stack([gan.transport(condition, s.expand(5, -1)).detach().numpy()[:, 0] for s in gan.starts])
    apart = [abs(a - b) for i, a in enumerate(made) for b in made[i + 1 :]]
    want = np.abs(made - target.numpy()[:, 0]).mean(0) - np.mean(apart, axis=0) / 2
    np.testing.assert_allclose(gan.score(condition, target).detach().numpy(), want, atol=1e-12)


@pytest.mark.parametrize("make", EVERY)
def test_draws_follow_the_generator_of_noise_and_losses_are_fixed_in_evaluation(make: type[Generator]) -> None:
    torch.manual_seed(0)
    generator = make(3, 2, 8).eval()
    if isinstance(generator, RegressionGenerator):
        generator.spread.fill_(1.0)
    condition, target = torch.randn(6, 3), torch.randn(6, 2)
    drawn = [generator.sample(condition, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])
    assert torch.equal(generator.centre(condition), generator.centre(condition))
    first, second = (generator.losses(condition, target) for _ in range(2))
    for name, loss in first.items():
        assert loss.shape == (6,)
        assert torch.equal(loss, second[name])
        torch.testing.assert_close(generator.losses(condition[2:3], target[2:3])[name], loss[2:3])
    assert torch.equal(generator.starts.sum(0), torch.zeros(generator.n_start))


@pytest.mark.parametrize("make", [FlowGenerator, DiffusionGenerator])
def test_a_generator_that_begins_with_noise_draws_a_standard_normal(make: type[Generator]) -> None:
    generator = make(3, 2, 8)
    generator.begin_with_noise()
    draw = torch.Generator().manual_seed(0)
    drawn = generator.eval().sample(torch.randn(20_000, 3, generator=draw), draw).detach()
    torch.testing.assert_close(drawn.mean(0), torch.zeros(2), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), torch.eye(2), atol=0.04, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [FlowGenerator, DiffusionGenerator, partial(GanGenerator, diversity=1.0)])
def test_a_trained_generator_has_mean_and_spread_of_the_conditional_normal(make: type[Generator]) -> None:
    torch.manual_seed(0)
    condition = torch.randn(4000, 1)
    target = 0.8 * condition + 0.6 * torch.randn(4000, 1)
    generator = make(1, 1, 48)
    optimiser = torch.optim.AdamW(generator.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
    for _ in range(1500):
        rows = torch.randint(4000, (256,))
        optimiser.zero_grad()
        losses = generator.losses(condition[rows], target[rows])
        torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
        optimiser.step()
        schedule.step()
    generator.eval()
    for at in (-1.0, 0.0, 1.0):
        drawn = generator.sample(torch.full((4000, 1), at)).detach()
        assert float(drawn.mean()) == pytest.approx(0.8 * at, abs=0.12)
        assert float(drawn.std()) == pytest.approx(0.6, abs=0.08)
        assert float(generator.centre(torch.full((1, 1), at)).detach()) == pytest.approx(0.8 * at, abs=0.15)
    if isinstance(generator, FlowGenerator):
        x, t = torch.linspace(-1, 1, 9)[:, None], torch.full((9, 1), 0.5)
        want = TrueField.at(x, t, mean=0.4, deviation=0.6)
        got = generator.velocity(x, t, torch.full((9, 1), 0.5)).detach()
        torch.testing.assert_close(got, want, atol=0.25, rtol=0)


class TrueField:
    """The closed form of the flow's field to N(mean, deviation^2)."""

    @staticmethod
    def at(x: Tensor, t: Tensor, *, mean: float, deviation: float) -> Tensor:
        s2 = deviation**2
        return mean + (t * s2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s2) * (x - t * mean)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FlowGenerator(2, 2, 4, n_steps=1), "FlowGenerator: n_steps must be at least 2; got n_steps=1"),
        (lambda: DiffusionGenerator(2, 2, 4, n_steps=0), "DiffusionGenerator: n_steps must be at least 2"),
        (lambda: DiffusionGenerator(2, 2, 4, sigma=1.0), "DiffusionGenerator: sigma must be above 1; got sigma=1.0"),
        (lambda: GanGenerator(2, 2, 4, l1=-1.0), "GanGenerator: l1 must be at least 0"),
        (lambda: GanGenerator(2, 2, 4, n_noise=0), "got l1=10.0, n_noise=0"),
        (lambda: GanGenerator(2, 2, 4, diversity=1.5), "diversity 0 to 1; got l1=10.0, n_noise=8, diversity=1.5"),
        (lambda: RegressionGenerator(2, 2, 4, n_blocks=-1), "n_blocks must be at least 0; got n_blocks=-1"),
    ],
)
def test_an_option_out_of_range_is_told(make: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()  # type: ignore[operator]
