"""Conditional generators: one vector drawn given another, by a map (condition, start) -> target, start ~ N(0, 1)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError

__all__ = ["DiffusionGenerator", "FlowGenerator", "GanGenerator", "Generator", "RegressionGenerator"]

_N_FIXED = 4  # starts (and times) of the loss in evaluation
_N_TIME = 7


class Generator(nn.Module, ABC):
    """q(target | condition): `losses` trains it, `transport` turns normal noise into a draw.

    Shape:
        condition `[batch, n_condition]`, target `[batch, n_target]`, start `[batch, n_start]`. Targets should be in
        units where they have about mean 0 and variance 1.

    Args:
        n_condition: Channels of the condition.
        n_target: Channels of the target.
        n_start: Channels of the noise that a draw starts from.
    """

    starts: Tensor

    def __init__(self, n_condition: int, n_target: int, n_start: int) -> None:
        super().__init__()
        self.n_condition, self.n_target, self.n_start = n_condition, n_target, n_start
        # pairs (z, -z), so that their mean is exactly 0
        fixed = torch.randn(_N_FIXED // 2, n_start, generator=torch.Generator().manual_seed(0), device="cpu")
        self.register_buffer("starts", torch.stack([fixed, -fixed], 1).flatten(0, 1), persistent=False)

    @abstractmethod
    def losses(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Returns what is to be made small, by name, `[batch]` each: the mean over channels.

        In training with noise from the global generator, otherwise with a fixed set of starts and times.
        """

    @abstractmethod
    def transport(self, condition: Tensor, start: Tensor) -> Tensor:
        """Returns the target that `start` is carried to."""

    def centre(self, condition: Tensor) -> Tensor:
        """Returns what the middle of the noise, start 0, is carried to: the same in each call."""
        return self.transport(condition, condition.new_zeros(condition.shape[0], self.n_start))

    def begin_with_noise(self) -> None:
        """Makes a generator that has an output layer begin with N(0, 1), or with 0, whatever the condition."""
        out = getattr(getattr(self, "field", self), "out", None)
        if isinstance(out, nn.Linear):
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)

    def sample(self, condition: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns one draw for each row."""
        return self.transport(condition, self.noise(condition, generator))

    def noise(self, condition: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns a fresh start for each row."""
        return torch.randn(
            condition.shape[0], self.n_start, generator=generator, dtype=condition.dtype, device=condition.device
        )

    def score(self, condition: Tensor, target: Tensor) -> Tensor:
        """Returns how badly it does on rows, `[batch]`: by this an epoch is chosen, in evaluation mode."""
        return torch.stack([*self.losses(condition, target).values()]).sum(0)

    def starts_like(self, condition: Tensor) -> Tensor:
        """Returns noise `[point, batch, n_start]`: one fresh point in training, else the fixed ones."""
        if self.training:
            return torch.randn_like(condition[None, :, :1].expand(-1, -1, self.n_start))
        return self.starts[:, None].expand(-1, condition.shape[0], -1)

    def times_like(self, condition: Tensor) -> Tensor:
        """Returns times in 0..1, `[point, batch, 1]`: uniform in training, else the middles of equal parts."""
        if self.training:
            return torch.rand_like(condition[None, :, :1])
        n_points, n_rows = len(self.starts), condition.shape[0]
        middles = (torch.arange(n_points, dtype=condition.dtype, device=condition.device) + 0.5) / n_points
        return middles[:, None, None].expand(-1, n_rows, -1)


class RegressionGenerator(Generator):
    """target = W h_K + b + spread * start, h_0 = condition, h_k = h_{k-1} + B_k gelu(A_k h_{k-1}).

    The loss is the squared error of the mean (start 0). Without blocks it is linear regression. `spread` is 0 until
    `calibrate` measures it."""

    spread: Tensor

    def __init__(self, n_condition: int, n_target: int, width: int, *, n_blocks: int = 2) -> None:
        super().__init__(n_condition, n_target, n_target)
        if n_blocks < 0:
            raise ConfigError(f"RegressionGenerator: n_blocks must be at least 0; got n_blocks={n_blocks}.")
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(n_condition, width), nn.GELU(), nn.Linear(width, n_condition))
            for _ in range(n_blocks)
        )
        self.out = nn.Linear(n_condition, n_target)
        self.register_buffer("spread", torch.zeros(n_target))

    def mean(self, condition: Tensor) -> Tensor:
        """Returns the regression's answer."""
        for block in self.blocks:
            condition = condition + block(condition)
        answer: Tensor = self.out(condition)
        return answer

    def losses(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"imputation": (target - self.mean(condition)).square().mean(-1)}

    def transport(self, condition: Tensor, start: Tensor) -> Tensor:
        return self.mean(condition) + self.spread * start

    def calibrate(self, condition: Tensor, target: Tensor) -> None:
        """Sets `spread` to the root mean square error on rows that were not learned from."""
        with torch.no_grad():
            self.spread.copy_((target - self.mean(condition)).square().mean(0).sqrt())


class _Field(nn.Module):
    """F(x, t, condition) -> a vector like x: two residual blocks that the time scales and shifts."""

    def __init__(self, n_target: int, n_condition: int, width: int, n_blocks: int = 2) -> None:
        super().__init__()
        self.inner = nn.Linear(n_target + n_condition, width)
        self.modulations = nn.ModuleList(nn.Linear(_N_TIME, 2 * width) for _ in range(n_blocks))
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(n_blocks))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(n_blocks))
        self.out = nn.Linear(width, n_target)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Returns `[..., n_target]`; t is `[..., 1]`, in 0..1, or `[1]` where all rows are at the same time."""
        waves = [wave(k * math.pi * t) for k in (1, 2, 4) for wave in (torch.sin, torch.cos)]
        time = torch.cat([t, *waves], dim=-1)
        h = self.inner(torch.cat([x, condition.expand(*x.shape[:-1], -1)], dim=-1))
        for modulation, first, second in zip(self.modulations, self.first, self.second, strict=True):
            scale, shift = modulation(time).chunk(2, dim=-1)
            h = h + second(functional.silu(first(h) * (1 + scale) + shift))
        answer: Tensor = self.out(h)
        return answer


class FlowGenerator(Generator):
    """dx/dt = v(x, t, condition), x(0) = start, x(1) = target; loss (v(x_t, t) - (target - start))^2, x_t on the line.

    Conditional flow matching. Heun's method in `n_steps` equal steps.
    """

    def __init__(self, n_condition: int, n_target: int, width: int, *, n_steps: int = 10) -> None:
        super().__init__(n_condition, n_target, n_target)
        _check_steps("FlowGenerator", n_steps)
        self.n_steps = n_steps
        self.field = _Field(n_target, n_condition, width)

    def velocity(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Returns v."""
        answer: Tensor = self.field(x, t, condition)
        return answer

    def losses(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        start, t = self.starts_like(condition), self.times_like(condition)
        if self.training:
            off = self.velocity((1 - t) * start + t * target, t, condition) - (target - start)
            return {"imputation": off.square().mean(-1).mean(0)}
        # every fixed start at every fixed time
        start, t = start[:, None], t[None]
        off = self.velocity((1 - t) * start + t * target, t.expand(len(start), -1, -1, -1), condition) - (
            target - start
        )
        return {"imputation": off.square().mean(-1).mean((0, 1))}

    def transport(self, condition: Tensor, start: Tensor) -> Tensor:
        x, dt = start, 1 / self.n_steps
        for i in range(self.n_steps):
            t = start.new_full((1,), i * dt)
            slope = self.velocity(x, t, condition)
            x = x + dt / 2 * (slope + self.velocity(x + dt * slope, t + dt, condition))
        return x


class DiffusionGenerator(Generator):
    """dx/dsigma = (x - D(x, sigma, condition)) / sigma, from sigma_1 to 0.

    The loss is (sigma_t s + z)^2, s = (D - x) / sigma_t^2. The variance-exploding process x_t = target + sigma_t z,
    sigma_t^2 = (sigma^(2t) - 1) / (2 ln sigma). The network F gives D = x / (1 + sigma^2) + sigma / sqrt(1 + sigma^2)
    F, which is right for N(0, 1) where F = 0."""

    def __init__(self, n_condition: int, n_target: int, width: int, *, sigma: float = 25.0, n_steps: int = 16) -> None:
        super().__init__(n_condition, n_target, n_target)
        _check_steps("DiffusionGenerator", n_steps)
        if not 1 < sigma < math.inf:
            raise ConfigError(f"DiffusionGenerator: sigma must be above 1; got sigma={sigma}.")
        self.sigma, self.n_steps, self.earliest = float(sigma), n_steps, 1e-3
        self.field = _Field(n_target, n_condition, width)

    def deviation(self, t: float) -> float:
        """Returns sigma_t."""
        return math.sqrt((self.sigma ** (2 * t) - 1) / (2 * math.log(self.sigma)))

    def denoised(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Returns D = E[target | x_t = x, condition]."""
        variance = ((2 * math.log(self.sigma) * t).exp() - 1) / (2 * math.log(self.sigma))
        root = (1 + variance).sqrt()
        answer: Tensor = x / (1 + variance) + variance.sqrt() / root * self.field(x / root, t, condition)
        return answer

    def losses(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        z, t = self.starts_like(condition), self.times_like(condition)
        if not self.training:  # every fixed noise at every fixed time
            z, t = z[:, None], t[None].expand(len(z), -1, -1, -1)
        t = self.earliest + (1 - self.earliest) * t
        deviation = (((2 * math.log(self.sigma) * t).exp() - 1) / (2 * math.log(self.sigma))).sqrt()
        x = target + deviation * z
        off = (self.denoised(x, t, condition) - x) / deviation + z
        return {"imputation": off.square().mean(-1).flatten(0, -2).mean(0)}

    def _steps(self, n_steps: int) -> list[tuple[float, float, float]]:
        """Returns time, sigma there and sigma after it of each step, down to 0."""
        # of equal length in the cube root of sigma: small ones where the answer is decided
        high, low = (float(self.deviation(t) ** (1 / 3)) for t in (1.0, self.earliest))
        sigmas: list[float] = [(high + (low - high) * i / (n_steps - 1)) ** 3 for i in range(n_steps)]
        twice = 2 * math.log(self.sigma)
        times = [math.log1p(twice * sigma**2) / twice for sigma in sigmas]
        return list(zip(times, sigmas, [*sigmas[1:], 0.0], strict=True))

    def _begin(self, condition: Tensor, start: Tensor) -> Tensor:
        # around what the network takes for the mean: from around 0 the answer would keep a part of the way
        first = start.new_ones(1)
        return self.denoised(torch.zeros_like(start), first, condition) + self.deviation(1.0) * start

    def transport(self, condition: Tensor, start: Tensor) -> Tensor:
        x, steps = self._begin(condition, start), self._steps(self.n_steps)
        for i, (t, here, there) in enumerate(steps):
            slope = (x - self.denoised(x, start.new_full((1,), t), condition)) / here
            ahead = x + (there - here) * slope
            if there > 0:
                after = self.denoised(ahead, start.new_full((1,), steps[i + 1][0]), condition)
                ahead = x + (there - here) / 2 * (slope + (ahead - after) / there)
            x = ahead
        return x

    def walk(self, condition: Tensor, generator: torch.Generator | None = None, *, n_steps: int = 100) -> Tensor:
        """Returns one draw for each row by steps of the reversed stochastic process.

        A step from sigma to tau is x <- D + (tau / sigma)^2 (x - D) + tau sqrt(1 - (tau / sigma)^2) z, exact where D is
        the same all along it. IMDer's steps, Euler and Maruyama's, are its limit, and overshoot where steps are few.
        """
        x = self._begin(condition, self.noise(condition, generator))
        for t, here, there in self._steps(n_steps):
            answer, kept = self.denoised(x, x.new_full((1,), t), condition), (there / here) ** 2
            x = answer + kept * (x - answer)
            if there > 0:
                x = x + there * math.sqrt(1 - kept) * self.noise(condition, generator)
        return x


class GanGenerator(Generator):
    """target = G(condition, start), which a discriminator D takes for a real one.

    G makes softplus(-D(c, G)) + l1 (|target - G| - diversity / 2 |G - G'|) small, G' another draw for the same row, and
    D softplus(-D(c, target)) + softplus(D(c, G)). Both are trained in one backward pass: in each player's loss the
    other's weights are held (not its inputs), so each player's weights see their own loss only, and the gradient by
    condition and target is the slope of the sum.

    With diversity 0 (pix2pix) the absolute error pulls all draws to the conditional median. With 1 the bracket is, in
    each channel, the continuous ranked probability score, which is smallest where draws spread as the target does
    (Gneiting, Raftery, Strictly proper scoring rules, JASA 2007, equation 21; for GANs the same idea with the standard
    deviation in Bendel, Ahmad, Schniter, A regularized conditional GAN for posterior sampling, NeurIPS 2023).
    """

    def __init__(
        self,
        n_condition: int,
        n_target: int,
        width: int,
        *,
        l1: float = 10.0,
        n_noise: int = 8,
        diversity: float = 0.0,
    ) -> None:
        super().__init__(n_condition, n_target, n_noise)
        if not 0 <= l1 < math.inf or n_noise < 1 or not 0 <= diversity <= 1:
            raise ConfigError(
                "GanGenerator: l1 must be at least 0, n_noise at least 1 and diversity 0 to 1; "
                f"got l1={l1}, n_noise={n_noise}, diversity={diversity}."
            )
        self.l1, self.diversity = l1, diversity
        self.make = _mlp(n_condition + n_noise, width, n_target)
        self.judge = _mlp(n_condition + n_target, width, 1)

    def transport(self, condition: Tensor, start: Tensor) -> Tensor:
        made: Tensor = self.make(torch.cat([condition.expand(*start.shape[:-1], -1), start], dim=-1))
        return made

    def score(self, condition: Tensor, target: Tensor) -> Tensor:
        """Returns the energy score of the fixed draws: the players' own losses tell only who is ahead."""
        made = torch.stack([self.transport(condition, start.expand(len(condition), -1)) for start in self.starts])
        apart = (made[:, None] - made[None]).abs().mean(-1).sum((0, 1)) / (len(made) * (len(made) - 1))
        score: Tensor = (made - target).abs().mean(-1).mean(0) - apart / 2
        return score

    def losses(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        start = self.starts_like(condition)
        if self.training and self.diversity:
            start = torch.cat([start, self.starts_like(condition)])
        condition, target = condition.expand(len(start), -1, -1), target.expand(len(start), -1, -1)
        fake = self.transport(condition, start)
        fooled = functional.softplus(-_held(self.judge, torch.cat([condition, fake], -1)))[..., 0]
        off = (target - fake).abs().mean(-1)
        if self.diversity:
            # the fixed starts are pairs (z, -z): a draw's partner must be of another pair
            partner = fake.roll(len(start) // 2, dims=0)
            off = off - self.diversity / 2 * (fake - partner).abs().mean(-1)
        generator = (fooled + self.l1 * off) / (1 + self.l1)
        given = _held(self.make, torch.cat([condition, start], -1))
        real = functional.softplus(-self.judge(torch.cat([condition, target], -1)))[..., 0]
        result = functional.softplus(self.judge(torch.cat([condition, given], -1)))[..., 0]
        return {"generator": generator.mean(0), "discriminator": (real + result).mean(0)}


def _mlp(n_in: int, width: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, n_out)
    )


def _held(mlp: nn.Sequential, x: Tensor) -> Tensor:
    """Returns `mlp(x)` with its weights held: gradients flow to x alone."""
    layer: nn.Module
    for layer in mlp:
        x = (
            functional.linear(x, layer.weight.detach(), layer.bias.detach())
            if isinstance(layer, nn.Linear)
            else layer(x)
        )
    return x


def _check_steps(who: str, n_steps: int) -> None:
    if n_steps < 2:
        raise ConfigError(f"{who}: n_steps must be at least 2; got n_steps={n_steps}.")
