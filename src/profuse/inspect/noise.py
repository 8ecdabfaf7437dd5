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
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from profuse._lookup import resolve
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Kind, Spec
from profuse.tokens import Raw

__all__ = ["corrupt"]

_UNKNOWN, _OMIT, _SWAP = range(3)


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
    found = dict(inputs)
    for name in asked:
        raw = resolve(name, inputs, where="corrupt", what="modality")
        spec = resolve(name, specs, where="corrupt", what="modality")
        if level > 0:
            found[name] = _BY_KIND[spec.kind](raw, spec, level, _generator(seed, name))
    return found


def _generator(seed: int, name: str) -> Generator:
    """A generator of its own for each modality."""
    state = np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1, np.uint32)
    return Generator().manual_seed(int(state[0]))


def _vector(raw: Raw, spec: Spec, p: float, draw: Generator) -> Raw:
    x = raw.values.masked_fill(_hits(raw.values.shape, p, draw), 0)
    x = x.gather(1, _swapped(torch.ones_like(x, dtype=torch.bool), _hits(x.shape, p, draw), draw))
    return _where_real(raw, x)


def _table(raw: Raw, spec: Spec, p: float, draw: Generator) -> Raw:
    codes = torch.tensor(spec.cardinalities) > 0
    if raw.values.shape[1:] != codes.shape:
        raise ShapeError(
            f"corrupt: a table must have the {len(codes)} columns of its spec; got values={tuple(raw.values.shape)}."
        )
    x = raw.values.masked_fill(_hits(raw.values.shape, p, draw), 0)  # a median, or the code of 'unknown'
    x = x.gather(1, _swapped(raw.mask & ~codes, _hits(x.shape, p, draw), draw))
    return _where_real(raw, x)


def _series(raw: Raw, spec: Spec, p: float, draw: Generator) -> Raw:
    x = _added(raw.values, p, draw).masked_fill(_hits(raw.values.shape, p, draw), 0)
    return _where_real(raw, x.masked_fill(_run(raw.mask, p, draw)[..., None], 0))


def _audio(raw: Raw, spec: Spec, p: float, draw: Generator) -> Raw:
    x = _added(raw.values, p, draw)
    return _where_real(raw, x.masked_fill(_run(raw.mask, p, draw)[..., None], 0))


def _image(raw: Raw, spec: Spec, p: float, draw: Generator) -> Raw:
    x = _added(raw.values, 2 * p, draw)
    one = torch.ones(len(x), 1, dtype=torch.float64)
    tall = (2 * torch.rand(one.shape, generator=draw, dtype=torch.float64) - 1).exp2()  # height / width, 1/2 to 2
    height = (p / 2 * tall).sqrt()  # as a share of the picture's; at most 1, and so is the width
    rows = _inside(x.shape[2], *_interval(one * x.shape[2], height, draw))
    columns = _inside(x.shape[3], *_interval(one * x.shape[3], p / 2 / height, draw))
    return _where_real(raw, x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0))


def _text(raw: Raw, spec: Spec, p: float, draw: Generator) -> Raw:
    mask, hit = raw.mask, _hits(raw.mask.shape, p, draw)
    kind = torch.randint(3, mask.shape, generator=draw)
    ids = _by_word(raw.values, _swapped(mask, hit & (kind == _SWAP), draw))
    kept = mask & ~(hit & (kind == _OMIT))
    first = mask & (mask.cumsum(1) == 1)
    last_one = first & ~kept.any(1, keepdim=True)  # all words would be omitted: a text without words is absent
    kept = kept | last_one
    unknown = last_one | (hit & (kind == _UNKNOWN))
    order = _real_first(kept)
    kept = kept.gather(1, order)
    ids = _by_word(ids.masked_fill(unknown[..., None], 0), order).masked_fill(~kept[..., None], 0)
    return Raw(torch.where(raw.present[:, None, None], ids, raw.values), kept)


_BY_KIND: dict[Kind, Callable[[Raw, Spec, float, Generator], Raw]] = {
    "vector": _vector,
    "table": _table,
    "series": _series,
    "audio": _audio,
    "image": _image,
    "text": _text,
}


def _hits(shape: torch.Size, p: float, draw: Generator) -> Tensor:
    """True with probability p, independently."""
    return torch.rand(shape, generator=draw) < p


def _added(x: Tensor, deviation: float, draw: Generator) -> Tensor:
    return x + deviation * torch.randn(x.shape, generator=draw, dtype=x.dtype)


def _where_real(raw: Raw, x: Tensor) -> Raw:
    """`x` where the mask is True; what is not real stays as it is."""
    mask = raw.mask.reshape(raw.mask.shape + (1,) * (x.ndim - raw.mask.ndim))
    return Raw(torch.where(mask, x, raw.values), raw.mask)


def _real_first(real: Tensor) -> Tensor:
    """`[row, rank]`: positions of the real entries in their order, then those of the others."""
    return (~real).to(torch.uint8).argsort(dim=1, stable=True)


def _by_word(ids: Tensor, index: Tensor) -> Tensor:
    return ids.gather(1, index[..., None].expand_as(ids))


def _swapped(real: Tensor, hit: Tensor, draw: Generator) -> Tensor:
    """`[row, position]`: from where each entry comes when neighbours among the real entries are swapped.

    A pair is swapped where its first entry, by rank among the real ones, is hit.
    """
    rank = torch.arange(real.shape[1]).expand(real.shape)
    is_first = (rank + torch.randint(2, (len(real), 1), generator=draw)) % 2 == 0
    partner = torch.where(is_first, rank + 1, rank - 1)
    swap = hit.gather(1, torch.minimum(rank, partner).clamp(min=0))
    swap &= (torch.minimum(rank, partner) >= 0) & (torch.maximum(rank, partner) < real.sum(1, keepdim=True))
    order = _real_first(real)
    return torch.empty_like(order).scatter_(1, order, order.gather(1, torch.where(swap, partner, rank)))


def _interval(n: Tensor, share: Tensor | float, draw: Generator) -> tuple[Tensor, Tensor]:
    """Start and stop of a run of `share` of `n` places, `[row, 1]`: rounded so that its mean length is share * n.

    With the same draws, the run of a smaller share lies within that of a larger one.
    """
    rounding, place = torch.rand(2, *n.shape, generator=draw, dtype=torch.float64)
    length = torch.minimum((share * n + rounding).floor(), n)
    start = (place * (n - length + 1)).floor()
    return start, start + length


def _inside(n: int, start: Tensor, stop: Tensor) -> Tensor:
    """`[row, place]`: the places from start on, before stop."""
    return (torch.arange(n) >= start) & (torch.arange(n) < stop)


def _run(mask: Tensor, p: float, draw: Generator) -> Tensor:
    """`[row, step]`: one run of p of the real steps."""
    start, stop = _interval(mask.sum(1, keepdim=True).double(), p, draw)
    rank = mask.cumsum(1) - 1
    return mask & (rank >= start) & (rank < stop)
