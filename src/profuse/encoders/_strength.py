"""How far pictures may be changed at random before they are taken for others: asked of nearest neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from profuse.encoders._augment import affine
from profuse.encoders._base import Rows, Suited

__all__ = ["STRENGTHS", "strength_suited"]

STRENGTHS = {
    1.0: "random changes while training",
    0.5: "random changes while training, at half strength",
    0.0: "no random changes while training",
}
_LEAST_ROWS, _MAX_ROWS, _MAX_JUDGES = 20, 2_000, 500
_COPIES, _N_NEIGHBOURS, _SIDE = 4, 5, 16


def strength_suited(train: Rows, valid: Rows) -> Suited | None:
    """Returns the largest strength of `affine` that keeps what tells.

    Each validation picture is predicted from its nearest training pictures (five, by the correlation of 16 x 16
    pixels): as they are, and four changed copies of each in their place. Where the copies make more mistakes, by more
    than one standard error of the rows' differences, changed pictures are taken for others (letters on their line,
    dials), and the next smaller strength is tried. A short fit could not tell: random changes slow a network down at
    first, and pay late.

    Args:
        train: Rows that are learned from; 2,000 of them are looked at.
        valid: Rows that decide; 500 of them.

    Returns:
        The options; None with fewer than 20 rows of either.

    Reference:
        Simard et al.: Transformation invariance in pattern recognition, 1998 (neighbours that are changed copies).
    """
    if min(len(train), len(valid)) < _LEAST_ROWS:
        return None
    (known, known_target), (asked, target) = train.draw(_MAX_ROWS), valid.draw(_MAX_JUDGES)
    queries = _small(asked.values)
    plain = _mistakes(queries @ _small(known.values).T, target, known_target)
    for strength, words in STRENGTHS.items():
        if strength > 0:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                copies = [_small(affine(known.values, strength, kept=0.0)) for _ in range(_COPIES)]
            likeness = torch.stack([queries @ one.T for one in copies]).amax(0)  # a neighbour counts once
            worse = _mistakes(likeness, target, known_target) - plain
            if worse.mean() > worse.std() / len(worse) ** 0.5:
                continue
        return Suited(words, {"augment": strength})
    raise AssertionError("no strength is left")


def _small(pictures: Tensor) -> Tensor:
    """Returns `[row, value]`: blurred pictures of at most 16 pixels a side, of mean 0 and length 1."""
    height, width = pictures.shape[2:]
    shrink = min(1.0, _SIDE / max(height, width))
    size = [max(1, round(side * shrink)) for side in (height, width)]
    small = F.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False)
    flat = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, stride=1).flatten(1)
    return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)


def _mistakes(likeness: Tensor, target: Tensor, known_target: Tensor) -> Tensor:
    """Returns how far each query's nearest neighbours, the nearer the weightier, are wrong: 0 or 1, or a square.

    Args:
        likeness: `[query, known]`: how like each picture is to each known one.
        target: Of the queries.
        known_target: Of the known pictures.
    """
    nearest, index = likeness.topk(_N_NEIGHBOURS, dim=1)
    weights = (20 * nearest).softmax(1)
    if target.is_floating_point():
        said = (weights[:, :, None] * known_target[index].flatten(2)).sum(1)
        return (said - target.flatten(1)).square().mean(1)
    votes = weights.new_zeros(len(target), int(known_target.max()) + 1).scatter_add_(1, known_target[index], weights)
    return (votes.argmax(1) != target).to(weights.dtype)
