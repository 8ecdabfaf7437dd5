"""Modality dropout: in training, modalities are missing at random, so that the model learns to do without."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from profuse.errors import ConfigError

__all__ = ["ModalityDropout"]

_DRAWS = 100
"""How often rows are drawn again, at most."""


class ModalityDropout:
    """Each present modality of a row is dropped with probability `prob`; never the last one.

    Rows in which all would go are drawn again, so with M present modalities one is kept with probability
    `(1 - prob) / (1 - prob**M)` (Neverova et al., "ModDrop", 2016; the redrawing is ours).

    Args:
        prob: Probability of dropping a modality, in [0, 1).

    Raises:
        ConfigError: `prob` out of range.
    """

    def __init__(self, prob: float) -> None:
        if not 0 <= prob < 1:
            raise ConfigError(f"ModalityDropout: prob must be in [0, 1); got prob={prob}.")
        self.prob = prob

    def draw(self, present: Tensor, generator: Generator) -> Tensor:
        """Returns which of `present[batch, modality]` stay, of the same shape."""
        keep = present.clone()
        again = present.any(1)
        for _ in range(_DRAWS):
            if not again.any():
                return keep
            drawn = torch.rand(present.shape, generator=generator) >= self.prob
            keep = torch.where(again[:, None], present & drawn, keep)
            again = present.any(1) & ~keep.any(1)
        # so near 1 a row keeps one modality, any of those it has
        chances = torch.rand(present.shape, generator=generator).masked_fill(~present, -1.0)
        one = torch.nn.functional.one_hot(chances.argmax(1), present.shape[1]).bool()
        return torch.where(again[:, None], one, keep)

    def gone(self, masks: Mapping[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Returns in which rows each modality is dropped, `[batch]`, of the masks of a batch (`Raw.mask`)."""
        names = sorted(masks)
        present = torch.stack([masks[n] if masks[n].ndim == 1 else masks[n].any(1) for n in names], dim=1)
        gone = present & ~self.draw(present, generator)
        return {n: gone[:, i] for i, n in enumerate(names)}
