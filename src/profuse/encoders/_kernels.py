"""Fixed random convolution kernels: a rich description of a series that nothing has to learn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["KernelBank", "KernelShares", "dilations"]

_TAPS = 9
_MANY = 64  # channels
_MOST_ANSWERS = 4096  # of a kernel, whose quantiles are taken
_GOLDEN = (math.sqrt(5) - 1) / 2


def dilations(max_length: int, n: int) -> tuple[int, ...]:
    """Returns up to `n` dilations, in geometric progression from 1 to where nine taps span half of the series."""
    longest = max(1.0, (max_length - 1) / 16)
    return tuple(sorted({max(1, round(longest ** (i / max(1, n - 1)))) for i in range(n)}))


class KernelBank(nn.Module):
    """`[log r, share(z > -0.5 r), share(z > 0.25 r), share(z > 1.1 r)]` of `z = k * x`, `r = rms(z)`, for each k.

    The kernels, each in several dilations d, are the 84 of nine taps that are -1 but for three of 2; each reads a few
    random channels, with random signs. Nothing is learned and nothing comes from data. A wide dilation is read at
    every d/2-th step.

    Args:
        n_channels: Channels that are read.
        max_length: The longest series, which sets the dilations.
        n_dilations: Dilations, at most.
        seed: Of the random choices.

    Shape:
        `[row, channel, time]`, 0 where masked, and `mask[row, time]` -> `[row, out_width]`.

    Reference:
        Dempster, Schmidt, Webb 2021, MiniRocket: a very fast (almost) deterministic transform.

    Differs from the paper:
        Thresholds are parts of the kernel's own rms in the row, not quantiles of training rows, and the rms is a
        feature: gain then stands in one feature a kernel. 1.7 thousand features, not ten thousand.
    """

    _THRESHOLDS = (-0.5, 0.25, 1.1)  # not 1: a series of one step stands at 1 and -1

    def __init__(self, n_channels: int, max_length: int, *, n_dilations: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.dilations = dilations(max_length, n_dilations)
        kernels = torch.full((math.comb(_TAPS, 3), _TAPS), -1.0, device="cpu")
        for i, taps in enumerate(itertools.combinations(range(_TAPS), 3)):
            kernels[i, list(taps)] = 2.0
        draw = torch.Generator().manual_seed(seed)
        shape = (len(self.dilations), len(kernels))
        most = math.log2(min(n_channels, _TAPS) + 0.999)
        counts = 2 ** (torch.rand(shape, generator=draw, device="cpu") * most)
        order = torch.rand(*shape, n_channels, generator=draw, device="cpu").argsort(2).argsort(2)
        signs = torch.randn(*shape, n_channels, generator=draw, device="cpu").sign()
        # kept with the model: another release of torch may draw others
        self.register_buffer("reads", (signs * (order < counts.floor()[..., None])).to(torch.int8))
        self.register_buffer("kernels", kernels[:, None], persistent=False)
        self.reads: Tensor
        self.kernels: Tensor
        self.out_width = len(self.dilations) * len(kernels) * (1 + len(self._THRESHOLDS))

    def _responses(self, x: Tensor, reads: Tensor, dilation: int) -> Tensor:
        mixing = reads[..., None].to(x.dtype)
        weights, groups = mixing * self.kernels, 1
        if x.shape[1] > _MANY:  # the same in fewer products
            x, weights, groups = F.conv1d(x, mixing), self.kernels, len(reads)
        padding, step = _TAPS // 2 * dilation, max(1, dilation // 2)
        z: Tensor = F.conv1d(x, weights, padding=padding, stride=step, dilation=dilation, groups=groups)
        return z

    def _answers(self, x: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields for each dilation the answers `[row, kernel, step]` and which are real, `[row, 1, step]`."""
        for reads, dilation in zip(self.reads, self.dilations, strict=True):
            yield self._responses(x, reads, dilation), mask[:, None, :: max(1, dilation // 2)]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        features = []
        for z, real in self._answers(x, mask):
            n = real.sum(2).clamp(min=1)
            z = z * real  # several times as fast as masked_fill, as is what is compared in one buffer
            rms = (z.square().sum(2) / n + 1e-8).sqrt()
            features.append(rms.log())
            z, level = z.detach(), rms.detach()[..., None]  # a step function has no gradient
            above, n_masked = torch.empty_like(z), (~real).sum(2)
            for threshold in self._THRESHOLDS:
                n_above = torch.gt(z, threshold * level, out=above).sum(2)
                # what is masked is 0 and lies above a negative threshold
                features.append((n_above - n_masked if threshold < 0 else n_above) / n)
        return torch.cat(features, dim=1)


class KernelShares(KernelBank):
    """`share(z > b)` of `z = k * x`, for each kernel k and each of its thresholds b: `KernelBank` in fixed units.

    Thresholds are quantiles of what a kernel answers to training rows, 0 until `settle` has seen some: other quantiles
    for each kernel, those of the golden ratio, so that all kernels together see the whole range.

    Args:
        n_channels: Channels that are read.
        max_length: The longest series, which sets the dilations.
        n_thresholds: Of each kernel.
        n_dilations: Dilations, at most.
        seed: Of the random choices.

    Shape:
        `[row, channel, time]`, 0 where masked, and `mask[row, time]` -> `[row, out_width]`.

    Reference:
        Dempster, Schmidt, Webb 2021, MiniRocket, section 3.
    """

    thresholds: Tensor

    def __init__(
        self, n_channels: int, max_length: int, *, n_thresholds: int = 2, n_dilations: int = 4, seed: int = 0
    ) -> None:
        super().__init__(n_channels, max_length, n_dilations=n_dilations, seed=seed)
        n_kernels = len(self.kernels)
        self.register_buffer("thresholds", torch.zeros(len(self.dilations), n_kernels, n_thresholds, device="cpu"))
        self.out_width = self.thresholds.numel()

    @torch.no_grad()
    def settle(self, x: Tensor, mask: Tensor) -> None:
        """Takes the thresholds of these rows, at least one of which has a step."""
        n_kernels, n = self.thresholds.shape[1:]
        ranks = (torch.arange(1, 1 + n_kernels * n, dtype=torch.float64) * _GOLDEN % 1).reshape(n_kernels, n)
        for made, (z, real) in zip(self.thresholds, self._answers(x, mask), strict=True):
            answers = z.transpose(0, 1).flatten(1)[:, real.flatten()]
            answers = answers[:, :: -(-answers.shape[1] // _MOST_ANSWERS)].sort(dim=1).values
            made.copy_(answers.gather(1, (ranks * answers.shape[1]).long()))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        features = []
        for levels, (z, real) in zip(self.thresholds, self._answers(x, mask), strict=True):
            n = real.sum(2).clamp(min=1)
            z, above = z.detach(), torch.empty_like(z)
            features += [torch.gt(z, level[:, None], out=above).mul_(real).sum(2) / n for level in levels.unbind(1)]
        return torch.cat(features, dim=1)
