"""The linear paths of a model, solved before it is trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from profuse.layers.landmarks import Reading
from profuse.models.fusion_model import FusionModel
from profuse.models.linear_paths import JOINT
from profuse.tokens import Raw

__all__ = ["fit_linear"]

_BLOCK_ROWS = 2048


@torch.no_grad()
def fit_linear(
    model: FusionModel,
    inputs: Mapping[str, Raw],
    target: Tensor,
    rows: Tensor,
    *,
    held: Tensor | None = None,
    like: FusionModel | None = None,
    together: Tensor | None = None,
) -> dict[str, Raw]:
    """Solves the linear paths of an untrained model; its heads start at 0, so that its outputs are those of the paths.

    A network that learned beside what the paths make of the rows they were solved on would learn beside residuals that
    are too small. So the inputs are returned with what the paths add to each row (`Raw.contributions`): to a row that
    was learned from, what the paths solved without it add; to others, what the model would compute.

    Args:
        model: Untrained.
        inputs: All rows.
        target: Of all rows, as the head's loss takes it.
        rows: Learned from.
        held: Rows that choose penalties, where rows are not independent; leave-one-out if None. See `LinearPath.fit`.
        like: A model whose penalties are taken.
        together: `[row]` numbers of all rows: those of one number are left out together; each row alone if None.

    Returns:
        The inputs with contributions.
    """
    paths = model.linear_paths
    parts = paths.parts(model.encoder_of, inputs)
    goal = model.head.encode_target(target).reshape(len(target), -1)
    heads = {JOINT: model.head, **dict(zip(model.names, model.own_heads, strict=False))}

    def index(name: str, some: Tensor) -> Tensor:
        """Returns the rows that a path learns from: alone, a modality learns from those that have it."""
        return some if name == JOINT else some[parts[name][1][some]]

    def known(some: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
        return {n: (x[some], present[some]) for n, (x, present) in parts.items()}, goal[some]

    left_out: list[tuple[str, Tensor, dict[str, Tensor]]] = []
    readings: dict[str, Reading] = {}  # each modality's own path chooses for the joint one
    for name in sorted(paths.names, key=lambda n: n == JOINT):
        path = paths.path(name)
        seen, choosing = index(name, rows), None if held is None else index(name, held)
        if len(seen) < 2 or (choosing is not None and not len(choosing)):
            continue  # nothing to solve: it adds nothing
        before = None if like is None else like.linear_paths.path(name)
        new = None if choosing is None else known(choosing)
        chosen = {n: readings[n] for n in path.names if n in readings}
        if len(chosen) < len(path.names):
            chosen = path.settle(*known(seen), held=new, like=before, settled=chosen)
            readings |= chosen
        some = None if together is None else together[seen]
        made = path.fit(*known(seen), held=new, like=before, readings=chosen, together=some)
        left_out.append((name, seen, made))
        for weight in heads[name].linear.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(weight)
    results = dict(inputs)
    for n, (x, present) in parts.items():
        blocks = zip(torch.split(x, _BLOCK_ROWS), torch.split(present, _BLOCK_ROWS), strict=True)
        added = torch.cat([paths.contributions(n, *block) for block in blocks])
        for name, seen, made in left_out:
            if n in made:
                added[seen, paths.readers(n).index(name)] = made[n]
        results[n] = Raw(inputs[n].values, inputs[n].mask, added)
    return results
