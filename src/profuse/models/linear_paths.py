"""The linear paths of a model: from all modalities that have one to the joint outputs, from each to its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from profuse.encoders import Encoder
from profuse.heads import Head
from profuse.layers.linear_path import LinearPath
from profuse.tokens import Raw

if TYPE_CHECKING:
    from profuse.models.fusion_model import FusionModel

__all__ = ["JOINT", "LinearPaths", "fit_linear"]

JOINT = "(joint)"
"""The name of the joint head's output among the modalities'."""


class LinearPaths(nn.Module):
    """`LinearPath` of every modality's `Encoder.linear`, alone and together; none where no encoder has it.

    Args:
        encoders: By modality.
        head: Of the model.
        joint: Whether there are joint outputs to add to.
        own: Whether modalities have outputs of their own.

    Attributes:
        names: `JOINT` and the modalities' names, as far as there are paths.
    """

    def __init__(self, encoders: Mapping[str, Encoder], head: Head, *, joint: bool, own: bool) -> None:
        super().__init__()
        sizes = {name: encoder.n_linear for name, encoder in encoders.items() if encoder.n_linear}
        groups = ({JOINT: sizes} if joint and sizes else {}) | ({n: {n: s} for n, s in sizes.items()} if own else {})
        self.names = tuple(groups)
        self._sources = tuple(sizes) if groups else ()
        # a list, not a ModuleDict: a modality may be called "type" or hold a dot
        self.paths = nn.ModuleList(LinearPath(group, head.n_outputs, link=head.link) for group in groups.values())

    def parts(self, encoders: Mapping[str, Encoder], inputs: Mapping[str, Raw]) -> dict[str, tuple[Tensor, Tensor]]:
        """Returns what the paths read, `[batch, n_linear]`, and which rows are present, by modality."""
        return {n: (encoders[n].linear(inputs[n]), inputs[n].present) for n in self._sources}

    def forward(self, parts: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Returns what is added to the outputs of each of `names`, `[batch, n_outputs]`."""
        return {name: path(parts) for name, path in zip(self.names, self.paths, strict=True)}


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

    for i, (name, path) in enumerate(zip(paths.names, paths.paths, strict=True)):
        seen, choosing = known(name, rows), None if held is None else known(name, held)
        if len(seen[1]) < 2 or (choosing is not None and not len(choosing[1])):
            continue  # nothing to solve: it adds nothing
        path.fit(*seen, held=choosing, like=None if like is None else like.linear_paths.paths[i])  # type: ignore[operator]
        for weight in heads[name].linear.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(weight)
