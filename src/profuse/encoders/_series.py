"""Series as shapes, rhythms, levels and answers of fixed kernels, of tensors: what a linear path reads of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from profuse.encoders._description import UNIT, Description
from profuse.encoders._kernels import KernelBank, KernelShares
from profuse.encoders._views import resampled, row_views, step_changes
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["SeriesDescription"]

_N_STEPS, _N_WAVES = 64, 16
_LAGS = (1, 2, 3, 4, 6, 8, 12, 16)
_RANKS = (0, 3, 8, 16, 24, 32, 40, 48, 55, 60, 63)
_FEW_RANKS = (0, 16, 32, 48, 63)
_N_DIRECTIONS, _N_PARTS = 8, 4
_MOST_CHANNELS, _MOST_POINTS, _WIDEST = 32, 24, 128
_EXAMPLES = 64  # rows of which thresholds are taken
# by part: its numbers' usual deviation, and the part's share
_SCALES = {
    "length": (0.2, 0.1),
    "own": (0.5, 0.7),
    "steps": (1.0, 0.3),
    "levels": (0.6, 0.7),
    "views": (0.8, 0.5),
    "ranks": (0.2, 0.5),
    "rms": (0.15, 0.7),
    "shares": (0.05, 0.35),
    "answers": (0.15, 2.5),
    "power": (1.3, 1.0),
    "lags": (0.2, 0.5),
    "directions": (0.8, 0.5),
}


class SeriesDescription(Description):
    """Numbers that describe a row, in which nothing is learned, each part at its share of their square.

    - `length`; `own`, `steps` and `levels`: mean, spread and roughness of each channel, the row at even times, and its
      quantiles, in the units of the preprocessor: what only levels tell;
    - `views` at even times and `ranks`, quantiles in units of the row (`row_views`);
    - `rms` and `shares`: what the fixed kernels answer, and how much of it lies above -0.5 rms (`KernelBank`);
    - `answers`: how much of what such kernels answer to the steps and their changes, in the units of the preprocessor
      (in units of the row without `levels`), lies above quantiles of training (`KernelShares`);
    - `power` of the 16 lowest frequencies and `lags`, autocorrelations, of each channel;
    - `directions` of a path: how far it goes into each of eight, in each quarter.

    Of more than 32 channels there are neither kernels, power nor lags. Parts are scaled by what numbers like theirs
    usually vary by, not by what they do in training.

    Args:
        spec: Of a fitted `SeriesPreprocessor`.
        levels: Whether `own`, `steps` and `levels` are read.

    Attributes:
        out_width: Numbers of a row.

    Shape:
        `Raw.values[batch, time, channel]`, `Raw.mask[batch, time]` -> `[batch, out_width]`.

    Reference:
        Dempster, Schmidt, Webb 2021, MiniRocket; Lubba et al. 2019, catch22 (statistics of series).
    """

    def __init__(self, spec: Spec, *, levels: bool = True) -> None:
        super().__init__()
        n, self.is_path = spec.n_channels, spec.is_path
        self.max_length = max(1, spec.max_length)
        self.n_points = min(self.max_length, _MOST_POINTS, max(4, _WIDEST // (2 * n)))
        sizes = {"length": 1, "views": 2 * n * self.n_points, "ranks": n * len(_RANKS)}
        if levels:
            sizes |= {"own": 3 * n, "steps": n * self.n_points, "levels": n * len(_FEW_RANKS)}
        if n <= _MOST_CHANNELS:
            self.kernels = KernelBank(2 * n, self.max_length)
            self.answers = KernelShares(2 * n, self.max_length, seed=1)
            sizes |= {"rms": self.kernels.out_width // 4, "shares": self.kernels.out_width // 4}
            sizes["answers"] = self.answers.out_width
            sizes |= {"power": n * _N_WAVES, "lags": n * len(_LAGS)}
        if self.is_path:
            sizes["directions"] = _N_DIRECTIONS * _N_PARTS
        self.sizes = {name: sizes[name] for name in _SCALES if name in sizes}
        self.out_width = sum(sizes.values())
        angle = torch.arange(_N_STEPS, device="cpu")[:, None] * torch.arange(1, _N_WAVES + 1, device="cpu")
        angle = 2 * math.pi / _N_STEPS * angle
        self.register_buffer("waves", torch.cat([angle.cos(), angle.sin()], dim=1).T, persistent=False)
        parts = torch.arange(_N_STEPS - 1, device="cpu") * _N_PARTS // (_N_STEPS - 1)
        quarters = (torch.arange(_N_PARTS, device="cpu")[:, None] == parts).float()
        self.register_buffer("quarters", quarters, persistent=False)
        self.register_buffer("compass", torch.arange(_N_DIRECTIONS + 1, device="cpu").float(), persistent=False)

    weighed = True

    waves: Tensor
    quarters: Tensor
    compass: Tensor

    def settle(self, raw: Raw, rows: Tensor) -> None:
        """Takes thresholds of `answers`, of 64 of the rows that have a series."""
        there = rows[raw.present[rows]]
        if "answers" not in self.sizes or not len(there):
            return
        some = raw.rows(there[torch.from_numpy(np.random.RandomState(0).permutation(len(there))[:_EXAMPLES])])
        x = some.values.masked_fill(~some.mask[..., None], 0.0)
        views, _ = row_views(x, some.mask, is_path=self.is_path)
        self.answers.settle(self._answering(x, views, some.mask), some.mask)

    def _answering(self, x: Tensor, views: Tensor, mask: Tensor) -> Tensor:
        """Returns what the kernels of `answers` see, `[row, channel, time]`."""
        if "own" in self.sizes:
            views = torch.cat([x, step_changes(x, mask)[0]], dim=2)
        return views.transpose(1, 2).contiguous()

    def forward(self, raw: Raw) -> Tensor:
        mask = raw.mask
        x = raw.values.masked_fill(~mask[..., None], 0.0)
        views, own = row_views(x, mask, is_path=self.is_path)
        n = x.shape[2]
        shape = resampled(views[..., :n], mask, _N_STEPS)
        parts = {
            "length": mask.sum(1, keepdim=True).to(x.dtype) / self.max_length,
            "views": resampled(views, mask, self.n_points),
            "ranks": shape.sort(dim=1).values[:, _RANKS],
        }
        if "own" in self.sizes:
            levels = resampled(x, mask, _N_STEPS).sort(dim=1).values[:, _FEW_RANKS]
            parts |= {"own": own, "steps": resampled(x, mask, self.n_points), "levels": levels}
        if "rms" in self.sizes:
            answers = self.kernels(views.transpose(1, 2).contiguous(), mask)
            answers = answers.unflatten(1, (len(self.kernels.dilations), 4, -1))
            # what hardly answers at all is one thing, however little
            parts |= {"rms": (answers[:, :, 0].exp() + 0.3).log(), "shares": answers[:, :, 1]}
            parts["answers"] = self.answers(self._answering(x, views, mask), mask)
            parts |= {"power": self._power(shape), "lags": _lags(shape)}
        if self.is_path:
            parts["directions"] = self._directions(shape[..., :2])
        scaled = []
        for name, size in self.sizes.items():
            usual, share = _SCALES[name]
            scaled.append(parts[name].flatten(1) * (UNIT / usual * (share / size) ** 0.5))
        return torch.cat(scaled, dim=1)

    def _power(self, shape: Tensor) -> Tensor:
        cos, sin = (self.waves @ shape).chunk(2, dim=1)
        return (cos.square() + sin.square() + 0.1).log()

    def _directions(self, path: Tensor) -> Tensor:
        """`[row, step, 2]` -> `[row, quarter, direction]`: the length of the way, shared between the nearest two."""
        x, y = (path[:, 1:] - path[:, :-1]).unbind(2)
        flat = (x == 0) & (y == 0)  # there length and direction have no slope
        x = x.masked_fill(flat, 1.0)
        length = (x.square() + y.square()).sqrt().masked_fill(flat, 0.0)
        place = (torch.atan2(y, x) * (_N_DIRECTIONS / (2 * math.pi))).remainder(_N_DIRECTIONS)
        shares = length[..., None] * (1 - (place[..., None] - self.compass).abs()).clamp(min=0)
        ways = self.quarters @ shares
        return torch.cat([ways[..., :1] + ways[..., -1:], ways[..., 1:-1]], dim=-1)


def _lags(shape: Tensor) -> Tensor:
    """`[row, step, channel]` -> `[row, lag, channel]`: autocorrelations."""
    own = shape.square().sum(1).clamp(min=1e-6)
    return torch.stack([(shape[:, k:] * shape[:, :-k]).sum(1) / own for k in _LAGS], dim=1)
