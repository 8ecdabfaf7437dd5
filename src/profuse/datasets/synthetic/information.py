"""Bits of redundant, unique and synergistic information, dialled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from profuse._lookup import resolve
from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import ConfigError

__all__ = ["Information"]


@dataclass(frozen=True)
class Information:
    """Classes made of bits, of which each modality holds a known part.

    All source bits are fair and independent. A *redundant* bit stands in every modality, a *unique* one in a single
    modality, and of a *synergistic* one each modality holds a share: the bit is their exclusive or, so that any lacking
    modality hides it wholly. A target bit is its source bit, flipped with probability `flip_prob`; the class is the
    number that the target bits spell. With k bits known and K in all, for flip_prob <= 1/2,

        best accuracy = (1 - flip_prob)^k (1/2)^(K - k),    information = k (1 - h(flip_prob)) bits,

    h being the binary entropy. A modality is the vector of its bits as -1 and 1 and of `n_distractors` standard normal
    numbers, turned by a fixed random rotation: a linear map recovers every bit, and only combining shares is hard.

    Args:
        redundant: Bits in every modality.
        unique: Bits in each modality alone; its length is the number of modalities, named a, b, c, ...
        synergy: Bits that need all modalities.
        flip_prob: 0 to 1/2; noise that no modality can explain.
        n_distractors: Channels without information in each modality.

    Raises:
        ConfigError: A number is out of range, or there is no bit at all.
    """

    redundant: int = 1
    unique: tuple[int, ...] = (1, 1)
    synergy: int = 1
    flip_prob: float = 0.05
    n_distractors: int = 8

    def __post_init__(self) -> None:
        faults = []
        if not 2 <= len(self.unique) <= 26:
            faults.append(f"unique must have one number for each of 2 to 26 modalities; got unique={self.unique}")
        if min(self.redundant, self.synergy, *self.unique, 0) < 0:
            faults.append(
                f"bits must be 0 or more; got redundant={self.redundant}, unique={self.unique}, synergy={self.synergy}"
            )
        elif not 1 <= self.n_bits <= 12:
            faults.append(f"there must be 1 to 12 bits in all (2 to 4096 classes); got {self.n_bits}")
        if not 0 <= self.flip_prob <= 0.5:
            faults.append(f"flip_prob must be 0 to 0.5; got flip_prob={self.flip_prob}")
        if self.n_distractors < 0:
            faults.append(f"n_distractors must be 0 or more; got n_distractors={self.n_distractors}")
        elif self.n_distractors == 0 and self.redundant + self.synergy + min(self.unique, default=0) == 0:
            faults.append("n_distractors must be at least 1 where a modality holds no bit; got n_distractors=0")
        if faults:
            raise ConfigError(f"Information: {'; '.join(faults)}. Change the arguments.")

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities' names."""
        return tuple("abcdefghijklmnopqrstuvwxyz"[: len(self.unique)])

    @property
    def n_bits(self) -> int:
        """Bits of the class."""
        return self.redundant + sum(self.unique) + self.synergy

    def known_bits(self, modalities: Sequence[str] | None = None) -> int:
        """Returns how many of the source bits `modalities` (all if None) determine together."""
        chosen = set(self.names if modalities is None else modalities)
        for name in chosen:
            resolve(name, dict.fromkeys(self.names), where="Information", what="modality")
        if not chosen:
            return 0
        unique = sum(n for name, n in zip(self.names, self.unique, strict=True) if name in chosen)
        return self.redundant + unique + (self.synergy if chosen == set(self.names) else 0)

    def bayes_score(self, modalities: Sequence[str] | None = None) -> float:
        """Returns the accuracy of the best possible classifier that sees `modalities` (all if None)."""
        known = self.known_bits(modalities)
        return float((1 - self.flip_prob) ** known * 0.5 ** (self.n_bits - known))

    def bits(self, modalities: Sequence[str] | None = None) -> float:
        """Returns the mutual information of the class and `modalities` (all if None), in bits."""
        p = self.flip_prob
        noise = 0.0 if p == 0 else -p * log2(p) - (1 - p) * log2(1 - p)
        return self.known_bits(modalities) * (1 - noise)

    def sample(self, n_rows: int, *, seed: int = 0) -> Dataset:
        """Draws rows; the rotations and all rows follow from `seed`, and the target is an integer class."""
        if n_rows < 1:
            raise ConfigError(f"Information: n_rows must be at least 1; got n_rows={n_rows}.")
        draw = np.random.default_rng(seed)
        n_modalities = len(self.unique)
        redundant = draw.integers(0, 2, (n_rows, self.redundant))
        unique = [draw.integers(0, 2, (n_rows, n)) for n in self.unique]
        shares = draw.integers(0, 2, (n_modalities, n_rows, self.synergy))
        source = np.concatenate([redundant, *unique, shares.sum(0) % 2], axis=1)
        bits = source ^ (draw.random(source.shape) < self.flip_prob)
        target = bits @ (1 << np.arange(self.n_bits))

        modalities = {}
        for i, name in enumerate(self.names):
            held = 2.0 * np.concatenate([redundant, unique[i], shares[i]], axis=1) - 1
            plain = np.concatenate([held, draw.normal(size=(n_rows, self.n_distractors))], axis=1)
            rotation, _ = np.linalg.qr(draw.normal(size=(plain.shape[1], plain.shape[1])))
            values = (plain @ rotation).astype(np.float32)
            modalities[name] = ModalityData("vector", values, np.ones(n_rows, dtype=bool))
        alone = ", ".join(f"{name} {self.bayes_score([name]):.3f}" for name in self.names)
        return Dataset(
            name="synthetic",
            modalities=modalities,
            target=target,
            task="binary" if self.n_bits == 1 else "multiclass",
            target_names=("class",),
            notes=(f"Best possible accuracy: {self.bayes_score():.3f} with all modalities; alone {alone}.",),
        )
