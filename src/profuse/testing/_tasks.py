"""Tasks made for a kind, of two classes, which only structure tells: neither a mean nor single values do.

Of pictures, series and sounds the structure is local, lies at one of a few places, and can be moved to others or shown
at twice the resolution. Rows of tables and vectors have the product of two columns. Other kinds have no task.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["MOVABLE", "TASKS", "Task"]

Task = Callable[[Spec, int, int, bool], tuple[Raw, Tensor]]
"""`(spec, n_rows, seed, moved)` -> rows and their classes; moved: the structure lies between the usual places."""
_NOISE = 0.2


def _places(size: int, n: int, moved: bool, draw: torch.Generator) -> Tensor:
    """`[n]`: centres, one of four places along an axis of `size`, or between two of them."""
    place = torch.randint(0, 3 if moved else 4, (n,), generator=draw)
    return size * (0.2 + 0.2 * (place + 0.5 * moved))


def _pictures(spec: Spec, n_rows: int, seed: int, moved: bool) -> tuple[Raw, Tensor]:
    """A short stroke that rises or falls: `/` or `\\`, 5 of 16 pixels long."""
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 2, (n_rows,), generator=draw)
    height, width = spec.image_size
    y = torch.arange(height)[:, None] + 0.5 - _places(height, n_rows, moved, draw)[:, None, None]
    x = torch.arange(width)[None, :] + 0.5 - _places(width, n_rows, moved, draw)[:, None, None]
    side = (2 * target - 1)[:, None, None]
    along, across, unit = (x + side * y) / 2**0.5, (x - side * y) / 2**0.5, min(height, width) / 16
    stroke = 2 * torch.exp(-((across / unit) ** 2) - (along / (2.5 * unit)) ** 4)
    noise = _NOISE * torch.randn(n_rows, spec.n_channels, height, width, generator=draw)
    return Raw(stroke[:, None] + noise, torch.ones(n_rows, dtype=torch.bool)), target


def _series(spec: Spec, n_rows: int, seed: int, moved: bool) -> tuple[Raw, Tensor]:
    """One turn of a sine in every channel, up first or down first, 6 of 20 steps long."""
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 2, (n_rows,), generator=draw)
    n_steps = spec.max_length * 2 // 3
    t = (torch.arange(n_steps) + 0.5 - _places(n_steps, n_rows, moved, draw)[:, None]) / (0.3 * n_steps)
    turn = 2 * torch.sin(2 * torch.pi * t) * (t.abs() < 0.5) * (2 * target - 1)[:, None]
    noise = _NOISE * torch.randn(n_rows, n_steps, spec.n_channels, generator=draw)
    return Raw(turn[:, :, None] + noise, torch.ones(n_rows, n_steps, dtype=torch.bool)), target


def _sounds(spec: Spec, n_rows: int, seed: int, moved: bool) -> tuple[Raw, Tensor]:
    """A tone that rises or falls by half of the bands, over a third of the frames."""
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 2, (n_rows,), generator=draw)
    n_frames, n_bands = spec.max_length * 2 // 3, spec.n_channels
    t = (torch.arange(n_frames) + 0.5 - _places(n_frames, n_rows, moved, draw)[:, None]) / (n_frames / 3)
    tone = n_bands * (0.5 + 0.5 * t * (2 * target - 1)[:, None])
    off = (torch.arange(n_bands) + 0.5 - tone[:, :, None]) / (n_bands / 16)
    sound = 2 * torch.exp(-(off**2)) * (t.abs() < 0.5)[:, :, None]
    noise = _NOISE * torch.randn(n_rows, n_frames, n_bands, generator=draw)
    return Raw(sound + noise, torch.ones(n_rows, n_frames, dtype=torch.bool)), target


def _columns(spec: Spec, n_rows: int, seed: int, moved: bool) -> tuple[Raw, Tensor]:
    """Whether two columns have the same sign."""
    draw = torch.Generator().manual_seed(seed)
    n_columns = len(spec.cardinalities) or spec.n_channels
    values = torch.randn(n_rows, n_columns, generator=draw)
    numbers = [c for c in range(n_columns) if not spec.cardinalities or spec.cardinalities[c] == 0]
    target = (values[:, numbers[0]] * values[:, numbers[-1]] > 0).long()
    for column in set(range(n_columns)) - set(numbers):
        values[:, column] = torch.randint(0, spec.cardinalities[column], (n_rows,), generator=draw)
    mask = torch.ones(n_rows, n_columns) > 0 if spec.cardinalities else torch.ones(n_rows) > 0
    return Raw(values, mask), target


MOVABLE: dict[str, Task] = {"image": _pictures, "series": _series, "audio": _sounds}
"""By kind: tasks whose structure has a place."""
TASKS: dict[str, Task] = {**MOVABLE, "table": _columns, "vector": _columns}
"""By kind."""
