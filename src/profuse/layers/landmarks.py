"""What a linear path reads of one part: its numbers as they stand, or how near they are to landmarks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Landmarks", "Way"]

_LEAST_SPREAD = 0.2  # in units of preprocessing: a rare level of a category is not blown up
_FREQUENCIES = (0.0, 0.45, 0.77)  # of Gaussian kernels, for rows of length 1; 0: no kernel
_MOST_NUMBERS = 8_000_000  # of all landmarks: 16 MB in a saved model
_JITTER = 1e-7


class Way(NamedTuple):
    """How a part is read.

    Attributes:
        frequency: Of kernels; 0: as it stands.
        as_given: Whether numbers count as much as they vary in the data's own unit; else each counts alike.
    """

    frequency: float
    as_given: bool = False


class Landmarks(nn.Module):
    """z = (x - center) / spread, and the kernels exp(-(frequency |z - landmark|)^2 / 2): 0 in rows that are absent.

    z is such that rows are of length 1 or so. Landmarks are rows that were learned from; where all of them are, a ridge
    regression of kernels is the exact one with a Gaussian kernel (Nystroem's method). At frequency 0 there is z, else
    there are the kernels: the other half is 0. All is computed in double precision, where the device has it: weights of
    kernels are large and cancel each other, so that in single precision a row's output would depend on its batch.

    Args:
        n_inputs: Numbers of the part.
        n_landmarks: At most; fewer where they would hold more than 8 million numbers.
        further: Frequencies among which rows choose too.
        natural: By how much numbers vary in the data's own unit, `[n_inputs]`, where they have one in common: rows then
            choose whether each number counts alike or as much as it varies. None: each has a unit of its own.

    Shape:
        `[batch, n_inputs]`, present `[batch]` to `[batch, n_inputs + n_landmarks]`, in double precision.

    Reference:
        Williams, Seeger, "Using the Nystroem Method to Speed Up Kernel Machines" (2001). *Differs from the paper*:
        landmarks are kept in half precision, to which they are rounded before anything is learned from them.
    """

    center: Tensor
    spread: Tensor
    middle: Tensor
    frequency: Tensor
    straight: Tensor
    landmarks: Tensor
    as_given: Tensor

    def __init__(
        self, n_inputs: int, n_landmarks: int, *, further: tuple[float, ...] = (), natural: Tensor | None = None
    ) -> None:
        super().__init__()
        self.further, self.natural = further, natural
        n_landmarks = max(1, min(n_landmarks, _MOST_NUMBERS // max(1, n_inputs)))
        self.n_inputs, self.n_outputs = n_inputs, n_inputs + n_landmarks
        self.register_buffer("center", torch.zeros(n_inputs))
        self.register_buffer("spread", torch.ones(n_inputs))
        self.register_buffer("middle", torch.zeros(n_landmarks))
        self.register_buffer("frequency", torch.zeros(()))
        self.register_buffer("straight", torch.ones(()))
        self.register_buffer("landmarks", torch.zeros(n_landmarks, n_inputs, dtype=torch.float16))
        self.register_buffer("as_given", torch.zeros(()))

    @property
    def candidates(self) -> tuple[Way, ...]:
        """Among which rows choose."""
        frequencies = (*_FREQUENCIES, *self.further)
        natural = (False,) if self.natural is None else (False, True)
        return tuple(Way(frequency, as_given) for as_given in natural for frequency in frequencies)

    @property
    def way(self) -> Way:
        """What has been settled."""
        return Way(float(self.frequency), bool(self.as_given))

    def standard(self, x: Tensor, present: Tensor) -> Tensor:
        """Returns z, 0 in absent rows."""
        x = x.masked_fill(~present[:, None], 0.0).to(torch.float32 if x.device.type == "mps" else torch.float64)
        return (x - self.center) / self.spread * present[:, None]

    def kernels(self, z: Tensor, landmarks: Tensor) -> Tensor:
        """Returns `[row, landmark]`."""
        squares = z.square().sum(1)[:, None] + landmarks.square().sum(1) - 2 * z @ landmarks.T
        kernels: Tensor = (-0.5 * self.frequency.to(z).square() * squares.clamp(min=0.0)).exp()
        return kernels

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        z = self.standard(x, present)
        kernels = self.kernels(z, self.landmarks.to(z.dtype)) - self.middle
        # no branch, which an export would not see
        both = torch.cat([z * self.straight, kernels * (1 - self.straight)], dim=1)
        return both * present[:, None]

    def settle(self, x: Tensor, present: Tensor, way: Way, n_landmarks: int) -> Reading:
        """Takes center and spread of the rows that are present, some of them for landmarks, and reads them this way.

        Returns:
            What a ridge regression reads of rows.
        """
        x = x[present].double()
        if not len(x):
            return Reading(self, None)
        spread = x.std(0, correction=0).clamp(min=_LEAST_SPREAD)
        if way.as_given:
            assert self.natural is not None
            spread = 1 / self.natural.double()
        length = ((x - x.mean(0)) / spread).square().sum(1).mean().clamp(min=1e-12).sqrt()
        self.center.copy_(x.mean(0))
        self.spread.copy_(spread * length)
        self.frequency.fill_(way.frequency)
        self.straight.fill_(float(way.frequency == 0))
        self.as_given.fill_(float(way.as_given))
        self.middle.zero_()
        self.landmarks.zero_()
        if not way.frequency:
            return Reading(self, None)
        here = torch.ones(len(x), dtype=torch.bool)
        z = self.standard(x, here)
        some = torch.from_numpy(np.random.RandomState(0).permutation(len(x))[: min(n_landmarks, len(self.landmarks))])
        self.landmarks[: len(some)] = z[some].to(self.landmarks.dtype)
        marks = self.landmarks[: len(some)].double()
        self.middle[: len(some)] = self.kernels(marks, marks).mean(0).to(self.middle)
        return self.reading(len(some))

    def reading(self, n_rows: int) -> Reading:
        """Returns what `settle` has returned of so many rows that are present."""
        if not float(self.frequency) or not n_rows:
            return Reading(self, None)
        marks = self.landmarks[:n_rows].double()
        kernels = self.kernels(marks, marks)
        return Reading(self, torch.linalg.cholesky(kernels + _JITTER * torch.eye(len(marks), dtype=torch.float64)))


class Reading:
    """f = z, or kernels L^-T with kernels of landmarks L L^T, so that |W|^2 is what Gaussian kernels penalise.

    Args:
        landmarks: Settled.
        root: L, lower triangular; None where z is read.
    """

    def __init__(self, landmarks: Landmarks, root: Tensor | None) -> None:
        self.landmarks, self.root = landmarks, root
        self._made: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def n_features(self) -> int:
        """Numbers of f."""
        return self.landmarks.n_inputs if self.root is None else len(self.root)

    def __call__(self, x: Tensor, present: Tensor) -> Tensor:
        """Returns f, `[row, number]`, in double precision: made once of the same tensors, for two sets of rows."""
        for seen, there, f in self._made:
            if seen is x and there is present:
                return f
        f = self._read(x, present)
        self._made = [*self._made[-1:], (x, present, f)]
        return f

    def _read(self, x: Tensor, present: Tensor) -> Tensor:
        z = self.landmarks.standard(x, present)
        if self.root is None:
            return z
        n = len(self.root)
        kernels = self.landmarks.kernels(z, self.landmarks.landmarks[:n].double()) - self.landmarks.middle[:n].double()
        f: Tensor = torch.linalg.solve_triangular(self.root.T, kernels, upper=True, left=False)
        return f * present[:, None]

    def weight(self, w: Tensor) -> Tensor:
        """Returns the weights `[n_inputs + n_landmarks, output]` of `Landmarks`, of those of f."""
        made = w.new_zeros(self.landmarks.n_outputs, w.shape[1])
        if self.root is None:
            made[: self.landmarks.n_inputs] = w
        else:
            start = self.landmarks.n_inputs
            made[start : start + len(w)] = torch.linalg.solve_triangular(self.root.T, w, upper=True)
        return made
