"""Series as answers of fixed small convolutions: MiniRocket."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.series import at_even_steps, series_rows

__all__ = ["RocketFeatures"]

_WHO = "RocketFeatures"
_KERNELS = list(combinations(range(9), 3))
"""Where the 84 kernels of length 9 hold 2; elsewhere they hold -1."""
_LEAST_STEPS, _MOST_STEPS = 16, 128
_N_FEATURES = 2_000
_N_EXAMPLES = 64
_BLOCK = 256


class RocketFeatures(Features):
    """The share of positive values of (kernel * x)[t] - bias: 84 kernels, several dilations and biases each.

    Kernels have length 9, with three weights 2 and six weights -1, at dilations up to the length; biases are quantiles
    of what a kernel answers to training rows. Half of the features are of the series, half of its differences. Kernels
    see a few channels each, drawn at random.

    *Differs from the paper*: about 2,000 features, not 10,000; series of all lengths are read at the median number of
    even steps, 16 to 128, standardised by channel; each kernel pads on both sides; differences, as in MultiRocket.

    Reference:
        Dempster, Schmidt, Webb, MiniRocket (KDD 2021), section 3; Tan et al., MultiRocket (2022), section 3.1.
    """

    takes = "series"

    def fit(self, data: ModalityData) -> None:
        rows = series_rows(data, None, _WHO)
        lengths = [len(row) for row in rows if len(row)]
        self._n_steps = int(np.clip(np.median(lengths), _LEAST_STEPS, _MOST_STEPS))
        steps = at_even_steps([row for row in rows if len(row)], self._n_steps)
        self._mean = steps.mean((0, 1))
        scale = steps.std((0, 1))
        self._scale = np.where(scale > 1e-12 * np.maximum(np.abs(self._mean), 1.0), scale, 1.0)
        rng = np.random.default_rng(0)
        views = self._views(steps)
        n_channels = steps.shape[2]
        longest = max(0, int(np.log2((self._n_steps - 1) / 8)))
        self._dilations = [2**k for k in range(longest + 1)]
        n_biases = max(1, round(_N_FEATURES / (len(views) * len(_KERNELS) * len(self._dilations))))
        n_sets = len(views) * len(self._dilations) * len(_KERNELS)
        most = int(min(n_channels, 9))
        self._channels = np.zeros((n_sets, n_channels), dtype=bool)
        for row in self._channels:
            row[rng.permutation(n_channels)[: int(2 ** rng.uniform(0, np.log2(most + 1)))]] = True
        some = rng.permutation(len(steps))[:_N_EXAMPLES]
        quantiles = (np.arange(n_sets * n_biases) * ((np.sqrt(5) + 1) / 2) % 1).reshape(n_sets, n_biases)
        answers = self._answers([view[some] for view in views])
        self._biases = np.stack([np.quantile(a, q) for a, q in zip(answers, quantiles, strict=True)])

    def transform(self, data: ModalityData) -> np.ndarray:
        rows = series_rows(data, self._n_channels, _WHO)
        there = np.flatnonzero([len(row) > 0 for row in rows])
        x = np.full((len(rows), self._biases.size), np.nan)
        for start in range(0, len(there), _BLOCK):
            some = there[start : start + _BLOCK]
            views = self._views(at_even_steps([rows[i] for i in some], self._n_steps))
            shares = [
                (answers[..., None] > biases).mean(1)
                for answers, biases in zip(self._answers(views), self._biases, strict=True)
            ]
            x[some] = np.concatenate(shares, axis=1)
        return x

    @property
    def _n_channels(self) -> int:
        return len(self._mean)

    def _views(self, steps: np.ndarray) -> list[np.ndarray]:
        z = (steps - self._mean) / self._scale
        return [z, np.diff(z, axis=1, prepend=z[:, :1])]

    def _answers(self, views: list[np.ndarray]) -> Any:
        """Yields `[row, step]` for each view, dilation and kernel, in this order."""
        channels = iter(self._channels)
        for view in views:
            for dilation in self._dilations:
                shifted = _shifted(view, dilation)  # [9, row, step, channel]
                total = -shifted.sum(0)
                for places in _KERNELS:
                    seen = next(channels)
                    answer = total[..., seen].sum(-1)
                    for place in places:
                        answer = answer + 3.0 * shifted[place][..., seen].sum(-1)
                    yield answer

    def state(self) -> dict[str, Any]:
        return {
            "n_steps": self._n_steps,
            "mean": self._mean,
            "scale": self._scale,
            "dilations": list(self._dilations),
            "channels": self._channels,
            "biases": self._biases,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._n_steps, made._dilations = int(state["n_steps"]), [int(d) for d in state["dilations"]]
        made._mean, made._scale = np.asarray(state["mean"]), np.asarray(state["scale"])
        made._channels, made._biases = np.asarray(state["channels"], dtype=bool), np.asarray(state["biases"])
        return made


def _shifted(x: np.ndarray, dilation: int) -> np.ndarray:
    """Returns `[9, row, step, channel]`: the series seen by each place of a kernel; 0 beyond its ends."""
    reach, n_steps = 4 * dilation, x.shape[1]
    padded = np.pad(x, ((0, 0), (reach, reach), (0, 0)))
    return np.stack([padded[:, k * dilation : k * dilation + n_steps] for k in range(9)])
