"""A ridge regression beside a network: solved, not trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from profuse.layers.landmarks import Landmarks, Reading, Way
from profuse.layers.part_scales import part_scales
from profuse.layers.ridge import Ridge

__all__ = ["LinearPath"]

_LARGEST = 20_000_000  # numbers of a matrix that is solved
_MOST_PAIRED = 2048  # rows or numbers whose pairs are solved; rows beyond either limit are left out evenly
_ENOUGH_ROWS = 500  # to choose how a part is read
_PENALTIES = torch.logspace(-6, 2, 33, dtype=torch.float64, device="cpu")  # per row
_LOG_SCALES = torch.linspace(math.log(0.1), math.log(100), 9, dtype=torch.float64, device="cpu")
_BETWEEN = torch.tensor([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75], dtype=torch.float64, device="cpu")
_SCALES = torch.logspace(-1, 2, 31, dtype=torch.float64, device="cpu")
Parts = Mapping[str, tuple[Tensor, Tensor]]


class LinearPath(nn.Module):
    """y = b + sum_m f_m(x_m) W_m over the parts m that are present: 0 until `fit` has solved for W.

    f_m is what stands in the part, standardised, or Gaussian kernels between it and landmarks (`Landmarks`); of one
    part alone, so that nothing but a fusion sees how parts go together.

    W is a ridge regression of the target's columns. f_m and the penalty, of which each of several parts has its own
    (`part_scales`), are chosen by leave-one-out predictions, which a ridge has in closed form (f_m and how penalties
    compare on 500 rows). For values the squared error counts. For classes and labels y are logits: those of the prior
    plus a multiple of what the regression of 0 and 1 predicts, the one with the smallest log loss of those same
    predictions, and this loss counts: the squared error would hold W back too little. So y is as sure of itself as it
    may be on new rows, however few there are. Where rows are not independent, leave-one-out is too hopeful: then given
    rows choose, and rows that belong together are left out together.

    Args:
        sizes: Numbers of each part.
        n_outputs: Classes, labels or values.
        link: How y becomes a prediction.
        n_landmarks: Of each part, at most.
        like: A path whose parts' `Landmarks` are read, for parts that it has.
        further: Of parts, frequencies among which rows choose too; see `Landmarks`.
        natural: Of parts, by how much their numbers vary in a unit that they have in common; see `Landmarks`.

    Shape:
        `{part: ([batch, number], present [batch])}` to `[batch, n_outputs]`.

    Reference:
        Allen, "The relationship between variable selection and data augmentation and a method for prediction" (1974),
        PRESS; Suykens, Vandewalle, "Least
        Squares Support Vector Machine Classifiers" (1999); the scale after Platt (1999).
    """

    weight: Tensor
    bias: Tensor
    chosen: Tensor
    scales: Tensor

    def __init__(
        self,
        sizes: Mapping[str, int],
        n_outputs: int,
        *,
        link: Literal["softmax", "sigmoid", "identity"],
        n_landmarks: int = 512,
        like: LinearPath | None = None,
        further: Mapping[str, tuple[float, ...]] | None = None,
        natural: Mapping[str, Tensor | None] | None = None,
    ) -> None:
        super().__init__()
        self.names, self.link = tuple(sizes), link
        shared = {} if like is None else like.landmarks
        also, given = further or {}, natural or {}
        new = {
            name: Landmarks(size, n_landmarks, further=also.get(name, ()), natural=given.get(name))
            for name, size in sizes.items()
            if name not in shared
        }
        # a list, not a ModuleDict: a part may be called "type" or hold a dot
        self.parts = nn.ModuleList(new.values())
        self._landmarks = {
            name: new.get(name) or shared[name] for name in sizes
        }  # those of others are no modules of ours
        self._sizes = [part.n_outputs for part in self._landmarks.values()]
        self.register_buffer("weight", torch.zeros(sum(self._sizes), n_outputs))
        self.register_buffer("bias", torch.zeros(n_outputs))
        self.register_buffer("chosen", torch.zeros(2))  # penalty and scale
        self.register_buffer("scales", torch.ones(len(sizes)))  # of parts, see `part_scales`

    @property
    def landmarks(self) -> Mapping[str, Landmarks]:
        """What reads each part."""
        return self._landmarks

    @property
    def ways(self) -> tuple[Way, ...]:
        """How each part is read, by the order of `names`."""
        return tuple(part.way for part in self._landmarks.values())

    def contribution(self, name: str, features: Tensor) -> Tensor:
        """Returns what a part adds to y, `[batch, n_outputs]`, of what its `Landmarks` return."""
        weight = torch.split(self.weight, self._sizes)[self.names.index(name)]
        return (features @ weight.to(features)).to(weight)

    def solution(self) -> dict[str, Tensor]:
        """Returns a copy of all that solving has made, also where another path holds the parts' `Landmarks`."""
        return {name: values.clone() for name, values in self._solution()}

    def load_solution(self, state: Mapping[str, Tensor]) -> None:
        """Takes what another path's `solution` has returned, whose parts have these sizes in this order."""
        for name, values in self._solution():
            values.copy_(state[name])

    def _solution(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_buffers(recurse=False)
        for i, part in enumerate(self._landmarks.values()):
            yield from ((f"{i}.{name}", values) for name, values in part.named_buffers())

    def forward(self, parts: Parts) -> Tensor:
        added = [self.contribution(name, part(*parts[name])) for name, part in self._landmarks.items()]
        return torch.stack(added).sum(0) + self.bias

    @torch.no_grad()
    def settle(
        self,
        parts: Parts,
        target: Tensor,
        *,
        held: tuple[Parts, Tensor] | None = None,
        like: LinearPath | None = None,
        settled: Mapping[str, Reading] | None = None,
    ) -> dict[str, Reading]:
        """Chooses how each part is read, and its landmarks, but for those `settled`; see `fit` for the rest."""
        readings = dict(settled or {})
        for name, part in self._landmarks.items():
            if name in readings:
                continue
            x, present = parts[name]
            rows = present.nonzero()[:, 0]
            few = _evenly(rows, _ENOUGH_ROWS)
            candidates = part.candidates if like is None else (like.landmarks[name].way,)
            errors = []
            for way in candidates if len(few) > 1 and len(candidates) > 1 else ():
                read = part.settle(x[few], present[few], way, len(few))
                new = None
                if held is not None and held[0][name][1].any():
                    there = held[0][name][1].nonzero()[:, 0]
                    new = ([read(held[0][name][0][there], held[0][name][1][there])], held[1][there].double())
                f = read(x[few], present[few])
                y = target[few].double()
                errors.append(Ridge.solve([f], y, _PENALTIES, new, self._judge(y, y if new is None else new[1])).error)
            best = candidates[int(np.argmin(errors))] if errors else candidates[0]
            some = _landmark_rows(present, part)
            readings[name] = part.settle(x[some], present[some], best, len(some))
        return readings

    def reading(self, name: str, present: Tensor) -> Reading:
        """Returns what `settle` made of a part of rows of which these are present, when its solution is loaded."""
        return self._landmarks[name].reading(len(_landmark_rows(present, self._landmarks[name])))

    @torch.no_grad()
    def fit(
        self,
        parts: Parts,
        target: Tensor,
        *,
        held: tuple[Parts, Tensor] | None = None,
        like: LinearPath | None = None,
        readings: Mapping[str, Reading] | None = None,
        together: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Solves for W, on the CPU, and returns what parts add to rows whose target has not been seen.

        Each row's contributions are those of the same ridge regression solved without the row (and those that belong
        to it), at the same scale and prior. By how much the constant moves without it is shared by its parts. A row
        beyond those that are solved is given what they make of it, without those that belong to it.

        Args:
            parts: Of the rows to learn from.
            target: `[row, n_outputs]`: 0 and 1, or values.
            held: Other rows and their target, that choose; leave-one-out if None.
            like: A path whose choices are taken.
            readings: What `settle` has returned, of parts for which it was called.
            together: `[row]` numbers: rows of one number are left out together. Each row alone if None, and where
                there is one number only.

        Returns:
            By part `[row, n_outputs]`, of all rows given.
        """
        readings = self.settle(parts, target, held=held, like=like) if readings is None else readings
        n_features = sum(reading.n_features for reading in readings.values())
        most = _LARGEST // max(1, n_features)
        most = most if n_features <= _MOST_PAIRED else min(most, _MOST_PAIRED)
        some = _evenly(torch.arange(len(target)), most)
        all_rows = len(some) == len(target)
        rows = parts if all_rows else {n: (x[some], present[some]) for n, (x, present) in parts.items()}
        y = target[some].double()
        new = None if held is None else ([readings[n](*held[0][n]) for n in self.names], held[1].double())
        goal = y if new is None else new[1]
        penalties = _PENALTIES if like is None else like.chosen[:1].double()
        features = [readings[n](*rows[n]) for n in self.names]
        scales = (
            self._scales(features, y, new, None if together is None else together[some])
            if like is None
            else like.scales.double()
        )
        if new is not None:
            new = [s * f for s, f in zip(scales, new[0], strict=True)], new[1]
        judge = self._judge(y, goal)
        made = Ridge.solve([s * f for s, f in zip(scales, features, strict=True)], y, penalties, new, judge)
        prior, scale = self._link(y.mean(0)), 1.0
        if like is not None:
            scale = float(like.chosen[1])
        elif self.link != "identity":
            losses = self._losses(prior + _SCALES[:, None, None] * made.scores, goal)
            scale = float(_SCALES[losses.argmin()])
        weights = [readings[n].weight(s * w) for n, s, w in zip(self.names, scales, made.weights, strict=True)]
        self.weight.copy_(scale * torch.cat(weights))
        moved = sum(middle @ w for middle, w in zip(made.middles, made.weights, strict=True))
        self.bias.copy_(prior - scale * moved)
        self.chosen.copy_(torch.tensor([made.penalty, scale]))
        self.scales.copy_(scales)
        return self._left_out(parts, made, readings, scales, scale, some, together)

    def _scales(
        self,
        features: Sequence[Tensor],
        y: Tensor,
        held: tuple[Sequence[Tensor], Tensor] | None,
        together: Tensor | None,
    ) -> Tensor:
        """Returns the scales of parts, chosen on some of the rows."""
        few = _evenly(torch.arange(len(y)), _ENOUGH_ROWS)
        blocks, prior = None if together is None else _blocks(together[few]), self._link(y.mean(0))

        def loss(scores: Tensor, true: Tensor) -> Tensor:
            return self._loss(prior + scores, true)

        chosen_by = None if self.link == "identity" else loss
        return part_scales([f[few] for f in features], y[few], _PENALTIES, held, blocks, chosen_by)

    def _judge(self, y: Tensor, goal: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Returns the log loss of each case of scores, times what suits it best, of rows with this `goal`.

        None for values.
        """
        if self.link == "identity":
            return None
        prior = self._link(y.mean(0))

        def at(logs: Tensor, scores: Tensor) -> Tensor:
            """Returns the loss of each case at each of its multiples, `[case, multiple]`."""
            cases = (logs.exp()[:, :, None, None] * scores[:, None]).flatten(0, 1)
            return self._losses(prior + cases, goal).reshape(logs.shape)

        def loss(scores: Tensor) -> Tensor:
            logs = _LOG_SCALES.expand(len(scores), -1)
            coarse = at(logs, scores)  # convex in the multiple: the best one is beside the best of these
            best, step = _LOG_SCALES[coarse.argmin(1)], _LOG_SCALES[1] - _LOG_SCALES[0]
            return torch.cat([coarse, at(best[:, None] + step * _BETWEEN, scores)], dim=1).amin(1)

        return loss

    def _left_out(
        self,
        parts: Parts,
        made: Ridge,
        readings: Mapping[str, Reading],
        scales: Tensor,
        scale: float,
        some: Tensor,
        together: Tensor | None,
    ) -> dict[str, Tensor]:
        """Returns contributions to all rows, of which `some` have been learned from."""
        numbers = None if together is None else together[some]
        blocks = None if numbers is None else _blocks(numbers)
        shares, moved = made.left_out(blocks)
        learned = torch.zeros(len(next(iter(parts.values()))[1]), dtype=torch.bool)
        learned[some] = True
        added, changes = {}, [moved, moved.new_zeros(int((~learned).sum()), moved.shape[1])]
        for name, share, middle, w in zip(self.names, shares, made.middles, made.weights, strict=True):
            x, present = parts[name]
            added[name] = self.weight.new_zeros(len(x), self.weight.shape[1]).double()
            added[name][~learned] = self.contribution(
                name, self._landmarks[name](x[~learned], present[~learned])
            ).double()
            added[name][learned] = scale * (share + middle @ w)
        if blocks is not None and together is not None and not learned.all():
            # others of a group have not been learned from, but the group has
            others = together[~learned]
            beside = [((others == together[learned][block[0]]).nonzero()[:, 0], block) for block in blocks]
            features = [
                s * readings[n](parts[n][0][~learned], parts[n][1][~learned])
                for n, s in zip(self.names, scales, strict=True)
            ]
            shifts, changes[1] = made.changes(features, [(rows, block) for rows, block in beside if len(rows)])
            for name, shift in zip(self.names, shifts, strict=True):
                added[name][~learned] += scale * shift
        # what the constant moves by, and what absent parts do, is shared by those that are there
        shared = torch.zeros_like(next(iter(added.values())))
        for rows, change in zip((learned, ~learned), changes, strict=True):
            shared[rows] = scale * change
        there = {name: parts[name][1][:, None] for name in self.names}
        for name, values in added.items():
            shared += values.masked_fill(there[name], 0.0)
        shared /= torch.stack([*there.values()]).sum(0).clamp(min=1)
        return {n: (values + shared).masked_fill(~there[n], 0.0).to(self.weight) for n, values in added.items()}

    def _link(self, mean: Tensor) -> Tensor:
        """Returns the outputs that predict the target's mean."""
        if self.link == "identity":
            return mean
        mean = mean.clamp(1e-4, 1 - 1e-4)
        return mean.log() if self.link == "softmax" else mean.logit()

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return self._losses(logits[None], y)[0]

    def _losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Returns the mean log loss of each of `[case, row, output]`."""
        if self.link == "softmax":
            return logits.logsumexp(2).mean(1) - (logits * y).sum(2).mean(1)
        return (F.softplus(logits) - logits * y).mean((1, 2))


def _blocks(together: Tensor) -> Sequence[Tensor] | None:
    """Returns the positions of each number's rows; None if there is one number, without which nothing is left."""
    numbers, at = torch.unique(together, return_inverse=True)
    return [(at == i).nonzero()[:, 0] for i in range(len(numbers))] if len(numbers) > 1 else None


def _landmark_rows(present: Tensor, part: Landmarks) -> Tensor:
    """Returns the rows of which a part takes its spreads and landmarks."""
    return _evenly(present.nonzero()[:, 0], _LARGEST // max(1, part.n_inputs))


def _evenly(rows: Tensor, most: int) -> Tensor:
    """Returns at most so many of them, one of each of equal stretches, drawn: steps may meet one class only."""
    n = min(len(rows), max(1, most))
    ends = torch.arange(n + 1) * len(rows) // max(1, n)
    drawn = torch.from_numpy(np.random.RandomState(0).random_sample(n)) * ends.diff()
    return rows[ends[:-1] + drawn.long()]
