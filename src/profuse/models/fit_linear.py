"""The linear paths of a model, solved before it is trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from profuse.models.fusion_model import FusionModel
from profuse.models.linear_paths import JOINT
from profuse.tokens import Raw

__all__ = ["fit_linear"]


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

    added: dict[str, dict[str, Tensor]] = {n: {} for n in parts}
    frequencies: dict[str, float] = {}  # each modality's own path chooses for the joint one
    for name in sorted(paths.names, key=lambda n: n == JOINT):
        path = paths.path(name)
        seen, choosing = index(name, rows), None if held is None else index(name, held)
        left_out: Mapping[str, Tensor] = {}
        if len(seen) > 1 and (choosing is None or len(choosing)):  # else nothing to solve: it adds nothing
            left_out = path.fit(
                *known(seen),
                held=None if choosing is None else known(choosing),
                like=None if like is None else like.linear_paths.path(name),
                frequencies=frequencies,
                together=None if together is None else together[seen],
            )
            if name != JOINT:
                frequencies[name] = path.frequencies[0]
            for weight in heads[name].linear.parameters():  # type: ignore[union-attr]
                nn.init.zeros_(weight)
        for n in path.names:
            added[n][name] = path.contribution(n, *parts[n])
            if left_out:
                added[n][name][seen] = left_out[n]
    return {
        n: Raw(raw.values, raw.mask, torch.stack([added[n][name] for name in paths.readers(n)], dim=1))
        if added.get(n)
        else raw
        for n, raw in inputs.items()
    }
