"""Which rows of a batch have a branch's modality, and so which rows a layer of the branch may run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from profuse.errors import ShapeError
from profuse.progressive.wrap._rows import said
from profuse.progressive.wrap._trees import WHERE, described

__all__ = ["Presence", "Present", "presence_in"]

Present = str | Callable[..., Tensor | bool]
"""The name of an argument of the module's `forward`, or a function that is called as the module is."""


@dataclass(frozen=True, eq=False)
class Presence:
    """Which rows of a batch are present.

    Attributes:
        rows: `[batch]` bool; None where no row is, of a batch of any size.
    """

    rows: Tensor | None

    @cached_property
    def index(self) -> Tensor:
        """The numbers of those that are, in order; made where they are asked for, as a device must be waited for."""
        return torch.zeros(0, dtype=torch.long) if self.rows is None else self.rows.nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.index)

    def size_or(self, n_rows: int) -> int:
        """Returns the size of the batch; `n_rows` where it may be any."""
        return n_rows if self.rows is None else self.rows.shape[0]  # export takes a len for a constant

    def among(self, n_batch: int, device: torch.device) -> Tensor:
        """Returns `rows` of a batch of `n_batch`."""
        rows = torch.zeros(n_batch, dtype=torch.bool) if self.rows is None else self.rows
        return rows.to(device)

    def times(self, n_rows: int) -> int:
        """Returns how often each present row stands in `n_rows`; 0 if they are no multiple."""
        if not len(self):
            return int(n_rows == 0)
        return n_rows // len(self) if n_rows % len(self) == 0 else 0


def presence_in(present: Present | None, branch: str, module: nn.Module, args: Any, kwargs: Any) -> Presence | None:
    """Returns which rows have the modality of `branch` in a call of `module` with these arguments; None where all do.

    Raises:
        UnknownNameError: No argument of that name.
        ShapeError: It is no tensor `[batch]` of bools or whole numbers, and no bool.
    """
    rows = said(present, "present", module, args, kwargs)
    if rows is None or rows is True:
        return None
    if rows is False:
        return Presence(None)
    if not isinstance(rows, Tensor) or rows.is_floating_point() or rows.ndim != 1:
        raise ShapeError(
            f"{WHERE}: present must be a tensor [batch] of bools or of 0 and 1, True or 1 where a row has the "
            f"modality, or a bool for all rows; got {described(rows)} for branch {branch!r}. Give "
            f"present={{{branch!r}: ...}}, a function that is called as the module is and returns that."
        )
    return Presence(rows != 0)
