"""A set of items, and a pointer to the one that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profuse._lookup import resolve
from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import ConfigError

__all__ = ["Pointer"]


@dataclass(frozen=True)
class Pointer:
    """y = v[q] + noise: `items` holds values v and their keys in random order, `pointer` the key q.

    v is standard normal, q uniform, the noise normal with standard deviation `noise`. The best possible R2 is

        both: 1 / (1 + noise^2);    items alone: that / n_items (the mean of v);    pointer alone: 0.

    An encoder that hands on `width` numbers which are linear in v, before it has seen the pointer, can at best keep a
    projection of rank `width`: E[y | P v, q] = (P v)[q], and on average over q that explains trace(P) / n_items of v's
    part. So fusion after a narrow encoder reaches `min(width / n_items, 1)` of what feedback into it reaches.

    `items` is a series `[n_items, 1 + n_items]` (value, then the key as one-hot), `pointer` a vector (one-hot).

    Args:
        n_items: Items in a set.
        noise: Standard deviation of what cannot be predicted, in units of a value's.

    Raises:
        ConfigError: `n_items` below 2 or `noise` below 0.
    """

    n_items: int = 16
    noise: float = 0.1

    def __post_init__(self) -> None:
        if self.n_items < 2 or not 0 <= self.noise < float("inf"):
            raise ConfigError(
                "Pointer: n_items must be at least 2 and noise finite and at least 0; "
                f"got n_items={self.n_items}, noise={self.noise}."
            )

    def bayes_score(self, modalities: Sequence[str] | None = None) -> float:
        """Returns the R2 of the best possible regressor that sees `modalities` (all if None)."""
        chosen = {"items", "pointer"} if modalities is None else set(modalities)
        for name in chosen:
            resolve(name, {"items": 0, "pointer": 0}, where="Pointer", what="modality")
        if "items" not in chosen:
            return 0.0
        both = 1 / (1 + self.noise**2)
        return both if "pointer" in chosen else both / self.n_items

    def late_score(self, width: int) -> float:
        """Returns the best R2 behind an encoder of the items that is linear in the values and hands on `width`."""
        if width < 0:
            raise ConfigError(f"Pointer: width must be at least 0; got width={width}.")
        return self.bayes_score() * min(width / self.n_items, 1.0)

    def sample(self, n_rows: int, *, seed: int = 0) -> Dataset:
        """Draws rows; everything follows from `seed`."""
        if n_rows < 1:
            raise ConfigError(f"Pointer: n_rows must be at least 1; got n_rows={n_rows}.")
        draw = np.random.default_rng(seed)
        keys = draw.permuted(np.tile(np.arange(self.n_items), (n_rows, 1)), axis=1)
        values = draw.normal(size=(n_rows, self.n_items))
        at = draw.integers(0, self.n_items, n_rows)  # where the item that counts stands
        rows = np.arange(n_rows)
        code = np.eye(self.n_items, dtype=np.float32)
        items = np.concatenate([values[:, :, None].astype(np.float32), code[keys]], axis=2)
        everywhere = np.ones(n_rows, dtype=bool)
        return Dataset(
            name="synthetic",
            modalities={
                "items": ModalityData("series", items, everywhere),
                "pointer": ModalityData("vector", code[keys[rows, at]], everywhere),
            },
            target=values[rows, at] + self.noise * draw.normal(size=n_rows),
            task="regression",
            target_names=("value",),
            notes=(
                f"Best possible R2: {self.bayes_score():.3f} with both; items alone {self.bayes_score(['items']):.3f}; "
                f"behind a linear encoder of width 1, fused late, {self.late_score(1):.3f}.",
            ),
        )
