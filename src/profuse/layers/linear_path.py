"""A ridge regression beside a network: solved, not trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from profuse.layers.ridge import Ridge

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

    def contribution(self, name: str, x: Tensor, present: Tensor) -> Tensor:
        """Returns what a part adds to y, `[batch, n_outputs]`: f_m(x_m) W_m."""
        at = self.names.index(name)
        start = sum(part.n_outputs for part in self._parts[:at])
        part = self._parts[at]
        added: Tensor = part(x, present) @ self.weight[start : start + part.n_outputs]
        return added

    def forward(self, parts: Parts) -> Tensor:
        added = [self.contribution(name, *parts[name]) for name in self.names]
        return torch.stack(added).sum(0) + self.bias

    @torch.no_grad()
    def fit(
        self,
        parts: Parts,
        target: Tensor,
        *,
        held: tuple[Parts, Tensor] | None = None,
        like: LinearPath | None = None,
        frequencies: Mapping[str, float] | None = None,
        together: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Solves for W, on the CPU, and returns what parts add to rows whose target has not been seen.

        Each row's contributions are those of the same ridge regression solved without the row (and those that belong
        to it), at the same scale and prior. By how much the constant moves without it is shared by its parts.

        Args:
            parts: Of the rows to learn from.
            target: `[row, n_outputs]`: 0 and 1, or values.
            held: Other rows and their target, that choose; leave-one-out if None.
            like: A path whose choices are taken.
            frequencies: Of parts for which they have been chosen.
            together: `[row]` numbers: rows of one number are left out together. Each row alone if None, and where
                there is one number only.

        Returns:
            By part `[row, n_outputs]`, of all rows given.
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
            for frequency in candidates if present.any() else ():
                part.settle(x, present, frequency)
                if len(candidates) > 1:
                    known = None if held is None or goal is None else ([part.active(*held[0][name])], goal)
                    errors.append(Ridge.solve([part.active(x, present)], y, _PENALTIES, known).error)
            if errors:
                part.settle(x, present, candidates[int(np.argmin(errors))])
        new = None if held is None or goal is None else (self._active(held[0]), goal)
        penalties = _PENALTIES if like is None else like.chosen[:1].double()
        made = Ridge.solve(self._active(rows), y, penalties, new)
        prior, scale = self._link(y.mean(0)), 1.0
        if like is not None:
            scale = float(like.chosen[1])
        elif self.link != "identity":
            losses = [self._loss(prior + scale * made.scores, y if goal is None else goal) for scale in _SCALES]
            scale = float(_SCALES[int(torch.stack(losses).argmin())])
        self.weight.zero_()
        self.weight[torch.cat([part.is_active for part in self._parts])] = (scale * torch.cat(made.weights)).to(
            self.weight
        )
        moved = sum(middle @ w for middle, w in zip(made.middles, made.weights, strict=True))
        self.bias.copy_(prior - scale * moved)
        self.chosen.copy_(torch.tensor([made.penalty, scale]))
        return self._left_out(parts, made, scale, step, None if together is None else together[::step])

    def _active(self, parts: Parts) -> list[Tensor]:
        pairs = zip(self.names, self._parts, strict=True)
        return [part.active(*parts[name]) for name, part in pairs]

    def _left_out(
        self, parts: Parts, made: Ridge, scale: float, step: int, together: Tensor | None
    ) -> dict[str, Tensor]:
        """Returns contributions to all rows, of which each `step`-th has been learned from."""
        added = {name: self.contribution(name, *parts[name]) for name in self.names}
        shares, moved = made.left_out(None if together is None else _blocks(together))
        n_present = torch.stack([present[::step] for _, present in parts.values()]).sum(0)
        moved = moved / n_present.clamp(min=1)[:, None]
        for name, share in zip(self.names, shares, strict=True):
            absent = ~parts[name][1][::step, None]
            added[name][::step] = (scale * (share + moved)).masked_fill(absent, 0.0).to(added[name])
        return added

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


def _blocks(together: Tensor) -> Sequence[Tensor] | None:
    """Returns the positions of each number's rows; None if there is one number, without which nothing is left."""
    numbers, at = torch.unique(together, return_inverse=True)
    return [(at == i).nonzero()[:, 0] for i in range(len(numbers))] if len(numbers) > 1 else None
