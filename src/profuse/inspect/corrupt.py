"""Noise of a level p between 0 and 1 in inputs that are already preprocessed, by kind.

By kind of the `Spec`, in this order (0 is the mean of train; of series and tables, the median):

- *vector*: each number becomes 0 with probability p; then neighbours are swapped.
- *table*: each cell becomes 0 with probability p, which for a category is the code 'unknown'; then neighbours among
  the numbers are swapped.
- *series*: N(0, p^2) is added; each number becomes 0 with probability p; a run of p of the steps becomes 0.
- *audio*: N(0, p^2) is added to the log-mel bands; a run of p of the frames becomes 0.
- *image*: N(0, (2p)^2) is added; a rectangle of p/2 of the area becomes 0.
- *text*: each word is, with probability p, one of: unknown (no subword), omitted (what follows moves up), swapped with
  its neighbour.

*Neighbours are swapped*: the row is cut into pairs of neighbours, from its first or from its second entry on (either
with probability 1/2), and each pair is swapped with probability p. So nothing is lost or copied, nothing moves
further than one place, and an entry that has a partner moves with probability p (a word: p/3).

The unit is that of the preprocessor: standard deviations for vectors, audio and images; for series the interquartile
range / 1.349, for tables the interquartile range. The model is not told which entries are noise: a cell or a step
that becomes 0 still counts as real. What is masked stays masked and as it is; an absent row stays absent, and no row
becomes absent: of a text, one word is left (as unknown) where all would be omitted. Channels by which a preprocessor
marks missing numbers are channels like any other, as a `Spec` does not tell them apart.

Reference:
    Liang et al. 2021, MultiBench: Multiscale Benchmarks for Multimodal Representation Learning (robustness).

*Differs from the paper*: inputs are preprocessed, so text is corrupted by words, not by characters, and sound by
frames, not by samples. Swaps are swaps (its code copies one entry over the other). Every row gets noise (its code
silences the recordings that were not chosen). White noise is drawn for each channel (there: one number a step). One
run, on average exactly p of the steps, takes the place of many runs of three; noise and a rectangle that of ten
filters of pictures. No global random state.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Generator

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.kinds import kind_named
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["corrupt"]


def corrupt(
    inputs: Mapping[str, Raw],
    specs: Mapping[str, Spec],
    modalities: str | Sequence[str],
    level: float,
    *,
    seed: int,
) -> dict[str, Raw]:
    """Returns `inputs` with noise of level p in `modalities`, by kind; see the module.

    The draws depend on the seed, the modality's name and the shape of its values, not on the level: what is dropped at
    a low level is dropped at all higher ones too, so that a curve over levels is one story, and all models meet the
    same noise. A modality's noise is the same whether it has noise alone or together with others.

    Args:
        inputs: Preprocessed rows of every modality, on the CPU; they are left as they are.
        specs: Of the fitted preprocessors.
        modalities: The one, or the ones, that get noise; the others are returned as they are.
        level: p, 0 to 1; at 0 all inputs are returned as they are.
        seed: At least 0.

    Raises:
        UnknownNameError: A modality that is not among inputs or specs.
        ConfigError: A level or a seed out of range.
        ShapeError: A table whose columns are not those of its spec.
    """
    asked = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    if not 0.0 <= level <= 1.0 or seed < 0:
        raise ConfigError(
            f"corrupt: level must be from 0 to 1 and seed at least 0; got level={level}, seed={seed}. "
            "Level 0 is no noise, level 1 the most."
        )
    result = dict(inputs)
    for name in asked:
        raw = resolve(name, inputs, where="corrupt", what="modality")
        spec = resolve(name, specs, where="corrupt", what="modality")
        if level > 0:
            result[name] = kind_named(spec.kind).corrupt(raw, spec, level, _generator(seed, name))
    return result


def _generator(seed: int, name: str) -> Generator:
    """A generator of its own for each modality."""
    state = np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1, np.uint32)
    return Generator().manual_seed(int(state[0]))
