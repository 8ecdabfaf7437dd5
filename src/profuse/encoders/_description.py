"""`Description`: numbers of a row in which nothing is trained, for a linear path to read."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from profuse.tokens import Raw

__all__ = ["UNIT", "Description"]

UNIT = 300.0
"""What numbers of a weighed description are multiplied by: a `LinearPath` takes what varies by less than a fifth for
noise, and a description of thousands of numbers, whose squares sum to about 1, holds numbers of about 1/50."""


class Description(nn.Module):
    """`Raw` -> `[batch, out_width]`; absent rows may hold anything finite.

    Attributes:
        out_width: Numbers of a row.
    """

    weighed: ClassVar[bool] = False
    """Whether numbers are scaled so that parts have their shares: a linear path may then let them count as they vary,
    or each alike, as training rows choose."""

    out_width: int

    def settle(self, raw: Raw, rows: Tensor) -> None:
        """Takes what numbers are measured by, from training rows, into buffers; nothing unless a subclass does.

        Args:
            raw: All rows.
            rows: Those that are learned from.
        """
