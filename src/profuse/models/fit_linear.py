"""The linear paths of a model, solved before it is trained."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from profuse.layers.linear_path import LinearPath
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
) -> None:
    """Solves the linear paths of an untrained model; its heads start at 0, so that its outputs are those of the paths.

    Args:
        model: Untrained.
        inputs: All rows.
        target: Of all rows, as the head's loss takes it.
        rows: Learned from.
        held: Rows that choose penalties, where rows are not independent; leave-one-out if None. See `LinearPath.fit`.
        like: A model whose penalties are taken.
    """
    paths = model.linear_paths
    parts = paths.parts(model.encoder_of, inputs)
    goal = model.head.encode_target(target).reshape(len(target), -1)
    heads = {JOINT: model.head, **dict(zip(model.names, model.own_heads, strict=False))}

    def known(name: str, index: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
        if name != JOINT:  # alone it learns from the rows that have it
            index = index[parts[name][1][index]]
        return {n: (x[index], present[index]) for n, (x, present) in parts.items()}, goal[index]

    frequencies: dict[str, float] = {}  # each modality's own path chooses for the joint one
    order = sorted(range(len(paths.names)), key=lambda i: paths.names[i] == JOINT)
    for i in order:
        name, path = paths.names[i], paths.paths[i]
        assert isinstance(path, LinearPath)
        seen, choosing = known(name, rows), None if held is None else known(name, held)
        if len(seen[1]) < 2 or (choosing is not None and not len(choosing[1])):
            continue  # nothing to solve: it adds nothing
        other = None if like is None else like.linear_paths.paths[i]
        path.fit(*seen, held=choosing, like=other, frequencies=frequencies)  # type: ignore[arg-type]
        if name != JOINT:
            frequencies[name] = path.frequencies[0]
        for weight in heads[name].linear.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(weight)
