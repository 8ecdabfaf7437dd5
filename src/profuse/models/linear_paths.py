"""The linear paths of a model: from all modalities that have one to the joint outputs, from each to its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from profuse.encoders import Encoder
from profuse.heads import Head
from profuse.layers.linear_path import LinearPath
from profuse.tokens import Raw

__all__ = ["JOINT", "LinearPaths"]

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

    def readers(self, name: str) -> list[str]:
        """Returns which of `names` read this modality, in the order of `Raw.contributions`."""
        return [n for n in self.names if n in (JOINT, name)] if name in self._sources else []

    def forward(self, encoders: Mapping[str, Encoder], inputs: Mapping[str, Raw]) -> dict[str, Tensor]:
        """Returns what is added to the outputs of each of `names`, `[batch, n_outputs]`.

        Contributions that come with a modality are taken as they are; a modality without is computed.
        """
        paths = {name: self.path(name) for name in self.names}
        added: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for n in self._sources:
            raw, known = inputs[n], inputs[n].contributions
            x = encoders[n].linear(raw) if known is None else None
            for i, name in enumerate(self.readers(n)):
                if x is not None:
                    added[name].append(paths[name].contribution(n, x, raw.present))
                elif known is not None:
                    added[name].append(known[:, i].masked_fill(~raw.present[:, None], 0.0))
        return {name: torch.stack(terms).sum(0) + paths[name].bias for name, terms in added.items()}

    def path(self, name: str) -> LinearPath:
        """Returns the path of one of `names`."""
        path = self.paths[self.names.index(name)]
        assert isinstance(path, LinearPath)
        return path
