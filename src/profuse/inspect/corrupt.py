"""Noise of a level p between 0 and 1 in rows as they were read, by kind of modality, before a predictor sees them.

Where no noise is named a modality gets the `usual` one of its kind, one corruption after the other:

- *table*, *vector*: white noise with a deviation of p spreads is added to numbers and times; then each cell changes
  places with that of another row with probability p.
- *series*: white noise with a deviation of p spreads; a run of p of the steps stays at the median.
- *audio*: white noise p times as loud as the recording (root mean square); a run of p of the samples is silent.
- *image*: white noise with a deviation of p/2 of the range from black to white; a rectangle of p/2 of the area has the
  mean colour.
- *text*: each letter is mistyped with probability p/5, each word left out with p/2, and neighbours swapped with p.
- any other: what its kind names; else white noise of p spreads is added to arrays of numbers.

All that a kind can get stand in `profuse.kinds.kind_named(kind).corruptions`, each with a line that says what it does.

The unit, a *spread*, is the interquartile range / 1.349 of a column or channel over the rows asked about, and the
standard deviation where that is 0: what differs in no row gets no noise. So it depends on the rows and not on the
predictor, and all predictors of any kind meet the same noise. A predictor is not told which entries are noise. A
missing number or cell stays missing, an absent row stays absent, and no row becomes absent.

Reference:
    Liang et al. 2021, MultiBench: Multiscale Benchmarks for Multimodal Representation Learning (robustness).
    Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations.

*Differs from MultiBench*: cells change places between rows, not between columns, which have units of their own. Every
row gets noise (its code silences the recordings that were not chosen). One run, on average exactly p of the steps,
takes the place of many runs of three; noise and a rectangle that of ten filters of pictures. No global random state.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.kinds import ModalityData, kind_named

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset

__all__ = ["USUAL", "corrupt", "noise_of"]

USUAL = "usual"
"""The noise that a kind gets where none is named."""
_STREAM = 1_618_033  # data, a split or gaps drawn with the same seed must have nothing to do with the noise


def noise_of(data: ModalityData) -> tuple[str, ...]:
    """Returns the names of the noise that a modality can get, `usual` first."""
    return USUAL, *kind_named(data.kind).corruptions


def corrupt(
    dataset: Dataset, modalities: str | Sequence[str], level: float, *, seed: int, noise: str = USUAL
) -> Dataset:
    """Returns `dataset` with noise of level p in `modalities`, by kind; see the module.

    The draws depend on the seed, the names of modality and noise, and the shape of the rows, not on the level: what is
    hit at a low level is hit at all higher ones too, so that a curve over levels is one story, and all predictors meet
    the same noise. A modality's noise is the same whether it has noise alone or together with others.

    Args:
        dataset: Rows, which are left as they are.
        modalities: The one, or the ones, that get noise; the others are returned as they are.
        level: p, 0 to 1; at 0 all rows are returned as they are.
        seed: At least 0.
        noise: A name that `noise_of` returns for each of the modalities.

    Raises:
        UnknownNameError: A modality that the rows have not, or noise that its kind has not.
        ConfigError: A level or a seed out of range.
    """
    asked = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    if not 0.0 <= level <= 1.0 or seed < 0:
        raise ConfigError(
            f"corrupt: level must be from 0 to 1 and seed at least 0; got level={level}, seed={seed}. "
            "Level 0 is no noise, level 1 the most."
        )
    changed = dict(dataset.modalities)
    for name in asked:
        data = resolve(name, dataset.modalities, where="corrupt", what="modality")
        kind = kind_named(data.kind)
        for one in kind.usual if noise == USUAL else (noise,):
            draw = np.random.default_rng([_STREAM, seed, *(zlib.crc32(word.encode()) for word in (name, one))])
            data = kind.corrupt(data, one, level, draw)
        changed[name] = data
    return replace(dataset, modalities=changed)
