"""A ridge regression beside a network: solved, not trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LinearPath"]

_LARGEST = 20_000_000  # numbers of a matrix that is solved; rows beyond are left out evenly
_LEAST_SPREAD = 0.2  # in units of preprocessing: a rare level of a category is not blown up
_MOST_INPUTS, _N_WAVES = 1024, 512  # of more inputs than that there are no waves
_PENALTIES = torch.logspace(-6, 2, 33, dtype=torch.float64)  # per row
_SCALES = torch.logspace(-1, 2, 31, dtype=torch.float64)
_FREQUENCIES = (0.0, 0.45, 0.77)  # of the waves, in a row of inputs of length 1; 0: no waves

Parts = Mapping[str, tuple[Tensor, Tensor]]


class LinearPath(nn.Module):
    """y = b + sum_m f_m(x_m) W_m over the parts m that are present: 0 until `fit` has solved for W.

    f_m is what stands in the part, standardised, or random waves cos(x V + v) of it, with which a linear map comes near
    a regression with a Gaussian kernel; of one part alone, so that nothing but a fusion sees how parts go together.

    W is a ridge regression of the target's columns. Its penalty, and f_m, have the smallest squared error of
    leave-one-out predictions, which a ridge has in closed form. For classes and labels y are logits: those of the prior
    plus a multiple of what the regression of 0 and 1 predicts, the one with the smallest log loss of those same
    predictions. So y is as sure of itself as it may be on new rows, however few there are. Where rows are not
    independent, leave-one-out is too hopeful: then given rows choose.

    Args:
        sizes: Numbers of each part.
        n_outputs: Classes, labels or values.
        link: How y becomes a prediction.

    Shape:
        `{part: ([batch, number], present [batch])}` to `[batch, n_outputs]`.

    Reference:
        Allen, "The relationship between variable selection and data augmentation and a method for prediction" (1974),
        PRESS; Rahimi, Recht, "Random Features for Large-Scale Kernel Machines" (2007); Suykens, Vandewalle, "Least
        Squares Support Vector Machine Classifiers" (1999); the scale after Platt (1999).
    """

    weight: Tensor
    bias: Tensor
    chosen: Tensor

    def __init__(
        self, sizes: Mapping[str, int], n_outputs: int, *, link: Literal["softmax", "sigmoid", "identity"]
    ) -> None:
        super().__init__()
        self.names, self.link = tuple(sizes), link
        # a list, not a ModuleDict: a part may be called "type" or hold a dot
        self.parts = nn.ModuleList(_Features(size) for size in sizes.values())
        self.register_buffer("weight", torch.zeros(sum(part.n_outputs for part in self._parts), n_outputs))
        self.register_buffer("bias", torch.zeros(n_outputs))
        self.register_buffer("chosen", torch.zeros(2))  # penalty and scale

    @property
    def _parts(self) -> list[_Features]:
        return list(self.parts)  # type: ignore[arg-type]

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Of each part's waves, by the order of `names`; 0: it is read as it stands."""
        return tuple(float(part.frequency) for part in self._parts)

    def _features(self, parts: Parts) -> Tensor:
        pairs = zip(self.names, self._parts, strict=True)
        return torch.cat([part(*parts[name]) for name, part in pairs], dim=1)

    def forward(self, parts: Parts) -> Tensor:
        outputs: Tensor = self._features(parts) @ self.weight + self.bias
        return outputs

    @torch.no_grad()
    def fit(
        self,
        parts: Parts,
        target: Tensor,
        *,
        held: tuple[Parts, Tensor] | None = None,
        like: LinearPath | None = None,
        frequencies: Mapping[str, float] | None = None,
    ) -> None:
        """Solves for W, on the CPU.

        Args:
            parts: Of the rows to learn from.
            target: `[row, n_outputs]`: 0 and 1, or values.
            held: Other rows and their target, that choose; leave-one-out if None.
            like: A path whose choices are taken.
            frequencies: Of parts for which they have been chosen.
        """
        known_frequencies = frequencies or {}
        if like is not None:
            known_frequencies = dict(zip(self.names, like.frequencies, strict=True))
        step = -(-len(target) * len(self.weight) // _LARGEST)
        rows = {n: (x[::step], present[::step]) for n, (x, present) in parts.items()}
        y, goal = target[::step].double(), None if held is None else held[1].double()
        for name, part in zip(self.names, self._parts, strict=True):
            x, present = rows[name]
            candidates = (known_frequencies[name],) if name in known_frequencies else part.candidates
            errors = []
            for frequency in candidates if int(present.sum()) > 1 else ():
                part.settle(x, present, frequency)
                if len(candidates) > 1:
                    known = None if held is None or goal is None else (part.active(*held[0][name]), goal)
                    errors.append(_Ridge.solve(part.active(x, present), y, _PENALTIES, known).error)
            if errors:
                part.settle(x, present, candidates[int(np.argmin(errors))])
        kept = torch.cat([part.is_active for part in self._parts])
        new = None if held is None or goal is None else (self._features(held[0])[:, kept].double(), goal)
        penalties = _PENALTIES if like is None else like.chosen[:1].double()
        made = _Ridge.solve(self._features(rows)[:, kept].double(), y, penalties, new)
        prior, scale = self._link(y.mean(0)), 1.0
        if like is not None:
            scale = float(like.chosen[1])
        elif self.link != "identity":
            losses = [self._loss(prior + scale * made.scores, y if goal is None else goal) for scale in _SCALES]
            scale = float(_SCALES[int(torch.stack(losses).argmin())])
        self.weight.zero_()
        self.weight[kept] = (scale * made.weight).to(self.weight)
        self.bias.copy_(prior - scale * made.middle @ made.weight)
        self.chosen.copy_(torch.tensor([made.penalty, scale]))

    def _link(self, mean: Tensor) -> Tensor:
        """Returns the outputs that predict the target's mean."""
        if self.link == "identity":
            return mean
        mean = mean.clamp(1e-4, 1 - 1e-4)
        return mean.log() if self.link == "softmax" else mean.logit()

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        if self.link == "softmax":
            return F.cross_entropy(logits, y)
        return F.binary_cross_entropy_with_logits(logits, y)


class _Features(nn.Module):
    """`[batch, number]`, present -> `[batch, number + wave]`: one of the two is 0, and all of a row that is absent."""

    center: Tensor
    spread: Tensor
    middle: Tensor
    frequency: Tensor
    straight: Tensor
    directions: Tensor
    phases: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        n_waves = _N_WAVES if n_inputs <= _MOST_INPUTS else 0
        self.n_inputs, self.n_outputs = n_inputs, n_inputs + n_waves
        self.register_buffer("center", torch.zeros(n_inputs))
        self.register_buffer("spread", torch.ones(n_inputs))
        self.register_buffer("middle", torch.zeros(n_waves))
        self.register_buffer("frequency", torch.zeros(()))
        self.register_buffer("straight", torch.ones(()))
        draw = np.random.RandomState(0)  # this generator is frozen: what it draws need not be saved
        directions, phases = draw.standard_normal((n_inputs, n_waves)), draw.uniform(0, 2 * math.pi, n_waves)
        self.register_buffer("directions", torch.as_tensor(directions, dtype=torch.float32), persistent=False)
        self.register_buffer("phases", torch.as_tensor(phases, dtype=torch.float32), persistent=False)

    @property
    def candidates(self) -> tuple[float, ...]:
        return _FREQUENCIES if len(self.phases) else (0.0,)

    @property
    def is_active(self) -> Tensor:
        """Which features are not 0, `[number + wave]`."""
        return (torch.arange(self.n_outputs) < self.n_inputs) == bool(self.straight)

    def active(self, x: Tensor, present: Tensor) -> Tensor:
        """Returns those features, in double precision."""
        features: Tensor = self(x, present)[:, self.is_active].double()
        return features

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        x = x.masked_fill(~present[:, None], 0.0).to(self.center.dtype)
        z = (x - self.center) / self.spread  # rows of length 1 or so
        waves = (z @ self.directions * self.frequency + self.phases).cos() * (2 / max(1, len(self.phases))) ** 0.5
        # no branch, which an export would not see
        both = torch.cat([z * self.straight, (waves - self.middle) * (1 - self.straight)], dim=1)
        return both.masked_fill(~present[:, None], 0.0)

    def settle(self, x: Tensor, present: Tensor, frequency: float) -> None:
        """Takes center and spread of the rows that are present, and this frequency."""
        x = x[present].double()
        spread = x.std(0, correction=0).clamp(min=_LEAST_SPREAD)
        length = ((x - x.mean(0)) / spread).square().sum(1).mean().clamp(min=1e-12).sqrt()
        self.center.copy_(x.mean(0))
        self.spread.copy_(spread * length)
        self.frequency.fill_(frequency)
        self.straight.fill_(float(frequency == 0))
        self.middle.zero_()
        if frequency:
            waves = self(x, torch.ones(len(x), dtype=torch.bool))[:, self.n_inputs :]
            self.middle.copy_(waves.mean(0))


@dataclass(frozen=True, eq=False)
class _Ridge:
    """A ridge regression with an intercept: its weights, and what it predicts of rows that it has not seen."""

    penalty: float
    error: float
    middle: Tensor
    weight: Tensor
    scores: Tensor

    @classmethod
    def solve(cls, f: Tensor, y: Tensor, penalties: Tensor, held: tuple[Tensor, Tensor] | None) -> _Ridge:
        """Returns the one whose penalty (per row) has the smallest error: of held rows, or each row left out."""
        middle, mean = f.mean(0), y.mean(0)
        z, goal = f - middle, y - mean
        u, energy = _left_vectors(z)
        along = u.T @ goal
        shrunk = energy / (energy + len(y) * penalties[:, None])  # [penalty, direction]
        weights = [z.T @ (u @ (s[:, None] / energy[:, None] * along)) for s in shrunk]
        if held is not None:
            goal = held[1] - mean
            scores = [(held[0] - middle) @ w for w in weights]
        else:
            leverage = (u.square() @ shrunk.T + 1 / len(y)).clamp(max=1 - 1e-8)
            scores = [goal - (goal - z @ w) / (1 - leverage[:, i, None]) for i, w in enumerate(weights)]
        errors = torch.stack([(goal - score).square().mean() for score in scores])
        best = int(errors.argmin())
        return cls(float(penalties[best]), float(errors[best]), middle, weights[best], scores[best])


def _left_vectors(z: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the left singular vectors of `z` and the squares of its singular values, of those above 0."""
    if z.shape[0] <= z.shape[1]:
        energy, u = torch.linalg.eigh(z @ z.T)
        kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
        return u[:, kept], energy[kept]
    energy, v = torch.linalg.eigh(z.T @ z)
    kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
    return z @ v[:, kept] / energy[kept].sqrt(), energy[kept]
