"""The currency: every modality, once embedded, is `Tokens`; before that, a batch of it is `Raw`.

A vector is one token; a series, a text, a picture are many; a missing modality is a row whose mask
is all False. Padding and absence are one thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from profuse.errors import ShapeError

__all__ = ["Raw", "Tokens"]


@dataclass(frozen=True, eq=False)
class Raw:
    """A batch of one modality as its encoder takes it: `values[batch, ...]` and which of them are real.

    Attributes:
        values: `[batch, ...]`; what the other axes mean is told by the modality's kind (see
            `profuse.schema.Spec`).
        mask: Bool, True = real. `[batch]` for kinds that are whole or absent (image, vector), or
            `[batch, position]` (table: a cell; text, series, audio: a step). A missing modality is a
            row of False.
        contributions: `[batch, path, output]`: what a model's linear paths make of these very values, if known
            (`profuse.models.linear_paths`). A batch with other values has none: the model then computes them.

    Raises:
        ShapeError: The mask is not bool, its axes are not the first axes of `values`, or there are contributions of
            other than these rows.
    """

    values: Tensor
    mask: Tensor
    contributions: Tensor | None = None

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool:
            raise ShapeError(f"Raw: mask must be bool; got dtype={self.mask.dtype}. Convert it with mask.bool().")
        if self.mask.ndim not in (1, 2) or self.mask.shape != self.values.shape[: self.mask.ndim]:
            raise ShapeError(
                "Raw: mask must be [batch] or [batch, position] and fit values' first axes; "
                f"got mask={tuple(self.mask.shape)}, values={tuple(self.values.shape)}. "
                "Give one bool for each row, or for each row and position."
            )
        known = self.contributions
        if known is not None and (known.ndim != 3 or len(known) != len(self.values)):
            raise ShapeError(
                f"Raw: contributions must be [batch, path, output] of the {len(self.values)} rows; "
                f"got {tuple(known.shape)}. Leave them away, and the model computes them."
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def present(self) -> Tensor:
        """`[batch]` bool: rows that hold anything of this modality."""
        return self.mask if self.mask.ndim == 1 else self.mask.any(1)

    def rows(self, index: Tensor) -> Raw:
        """Returns the rows `index`."""
        known = self.contributions
        return Raw(self.values[index], self.mask[index], None if known is None else known[index])

    def trim(self) -> Raw:
        """Returns the same batch without the positions, at the end, that are padding in every row.

        Columns of a table (`values[batch, column]`) are no padding when they are missing: they all stay.
        """
        if self.mask.ndim == 1 or self.values.ndim == 2:
            return self
        used = self.mask.any(0).nonzero()
        length = max(1, int(used[-1]) + 1 if len(used) else 1)
        return Raw(self.values[:, :length], self.mask[:, :length], self.contributions)

    def without(self, rows: Tensor) -> Raw:
        """Returns the same batch with the modality absent in `rows[batch]` (bool)."""
        keep = ~rows if self.mask.ndim == 1 else ~rows[:, None]
        return Raw(self.values, self.mask & keep, self.contributions)

    def to(self, device: torch.device | str) -> Raw:
        """Returns the batch on `device`."""
        known = self.contributions
        return Raw(self.values.to(device), self.mask.to(device), None if known is None else known.to(device))


@dataclass(frozen=True, eq=False)
class Tokens:
    """`values[batch, token, channel]` and `mask[batch, token]`, True = real.

    Raises:
        ShapeError: Wrong number of axes, axes that disagree, no token at all, or a mask that is not bool.
    """

    values: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.mask.ndim != 2 or self.mask.shape != self.values.shape[:2]:
            raise ShapeError(
                "Tokens: values must be [batch, token, channel] and mask [batch, token]; "
                f"got values={tuple(self.values.shape)}, mask={tuple(self.mask.shape)}. "
                "A vector is one token: use Tokens.vector."
            )
        if self.mask.dtype != torch.bool:
            raise ShapeError(f"Tokens: mask must be bool; got dtype={self.mask.dtype}. Convert it with mask.bool().")
        if self.values.shape[1] == 0:
            raise ShapeError(
                "Tokens: at least one token must stand on the token axis; got 0. "
                "A missing modality is one token with mask False."
            )

    @classmethod
    def vector(cls, values: Tensor, present: Tensor | None = None) -> Tokens:
        """Makes one token a row from `values[batch, channel]`; `present[batch]` is bool, all True if None."""
        if values.ndim != 2:
            raise ShapeError(f"Tokens.vector: values must be [batch, channel]; got {tuple(values.shape)}.")
        if present is None:
            present = torch.ones(len(values), dtype=torch.bool, device=values.device)
        return cls(values[:, None], present[:, None])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_channels(self) -> int:
        """Width of a token."""
        return self.values.shape[2]

    @property
    def present(self) -> Tensor:
        """`[batch]` bool: rows that hold at least one real token."""
        return self.mask.any(1)

    def zeroed(self) -> Tokens:
        """Returns the same tokens with 0 wherever the mask is False, whatever stood there (NaN too)."""
        return Tokens(torch.where(self.mask[..., None], self.values, 0.0), self.mask)

    def mean(self) -> Tensor:
        """Returns the mean of the real tokens, `[batch, channel]`; 0 where there is none."""
        # a sum of many may be beyond what half precision holds, their mean is not
        wide = torch.promote_types(self.values.dtype, torch.float32)
        total = torch.where(self.mask[..., None], self.values, 0.0).sum(1, dtype=wide)
        return (total / self.mask.sum(1, keepdim=True).clamp(min=1)).to(self.values.dtype)

    def max(self) -> Tensor:
        """Returns the largest real value of each channel, `[batch, channel]`; 0 where there is none."""
        low = torch.finfo(self.values.dtype).min
        top = self.values.masked_fill(~self.mask[..., None], low).amax(1)
        return top.masked_fill(~self.present[:, None], 0.0)
