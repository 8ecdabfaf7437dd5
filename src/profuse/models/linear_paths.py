"""The linear paths of a model: from all modalities that have one to the joint outputs, from each to its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from profuse.encoders import Encoder
from profuse.heads import Head
from profuse.layers.linear_path import LinearPath
from profuse.tokens import Raw

__all__ = ["BLOCK_ROWS", "JOINT", "LinearPaths", "n_landmarks"]

JOINT = "(joint)"
"""The name of the joint head's output among the modalities'."""

BLOCK_ROWS = 2048
"""Rows of which a path's features are made at once."""


def _read(encoder: Encoder, raw: Raw) -> Tensor:
    """Returns the encoder's `linear` of all rows."""
    blocks = torch.split(torch.arange(len(raw)), BLOCK_ROWS)
    return torch.cat([encoder.linear(raw.rows(block)) for block in blocks])


def n_landmarks(n_rows: int, n_modalities: int) -> int:
    """Returns how many landmarks a modality has: each training row, or 1,024; of many rows, 2,048 in all."""
    return min(n_rows, 1024 if n_rows <= 2048 else max(256, min(1024, 2048 // max(1, n_modalities))))


class LinearPaths(nn.Module):
    """`LinearPath` of every modality's `Encoder.linear`, alone and together; none where no encoder has it.

    Args:
        encoders: By modality.
        head: Of the model.
        joint: Whether there are joint outputs to add to.
        own: Whether modalities have outputs of their own.
        n_landmarks: Of each modality, at most; see `LinearPath`.

    Attributes:
        names: `JOINT` and the modalities' names, as far as there are paths.
        sources: The modalities that they read.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], head: Head, *, joint: bool, own: bool, n_landmarks: int
    ) -> None:
        super().__init__()
        sizes = {name: encoder.n_linear for name, encoder in encoders.items() if encoder.n_linear}
        groups = ({JOINT: sizes} if joint and sizes else {}) | ({n: {n: s} for n, s in sizes.items()} if own else {})
        self.names = tuple(groups)
        self.sources = tuple(sizes) if groups else ()
        # a list, not a ModuleDict: a modality may be called "type" or hold a dot
        self.paths = nn.ModuleList()
        further = {name: encoder.linear_frequencies for name, encoder in encoders.items()}
        natural = {name: encoder.linear_spreads() for name, encoder in encoders.items()}
        joined: LinearPath | None = None  # the first one; others read modalities as it does
        for name, group in groups.items():
            path = LinearPath(
                group,
                head.n_values,
                link=head.link,
                n_landmarks=n_landmarks,
                like=joined,
                further=further,
                natural=natural,
            )
            self.paths.append(path)
            joined = path if name == JOINT else joined

    def parts(
        self,
        encoders: Mapping[str, Encoder],
        inputs: Mapping[str, Raw],
        kept: Callable[[Encoder, Raw, Callable[[], Tensor]], Tensor] | None = None,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Returns what the paths read, `[batch, n_linear]`, and which rows are present, by modality.

        Args:
            encoders: By modality.
            inputs: By modality.
            kept: Returns what it has kept of an encoder and its rows, or else keeps what it is given to call; None:
                nothing is kept.
        """
        parts = {}
        for n in self.sources:
            read = partial(_read, encoders[n], inputs[n])
            parts[n] = read() if kept is None else kept(encoders[n], inputs[n], read), inputs[n].present
        return parts

    def readers(self, name: str) -> list[str]:
        """Returns which of `names` read this modality, in the order of `Raw.contributions`."""
        return [n for n in self.names if n in (JOINT, name)] if name in self.sources else []

    def forward(self, encoders: Mapping[str, Encoder], inputs: Mapping[str, Raw]) -> dict[str, Tensor]:
        """Returns what is added to the outputs of each of `names`, `[batch, n_values]`; see `Head`.

        Contributions that come with a modality are taken as they are; a modality without is computed.
        """
        added: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for n in self.sources:
            known = inputs[n].contributions
            if known is None:
                known = self.contributions(n, encoders[n].linear(inputs[n]), inputs[n].present)
            known = known.masked_fill(~inputs[n].present[:, None, None], 0.0)
            for i, name in enumerate(self.readers(n)):
                added[name].append(known[:, i])
        return {name: torch.stack(terms).sum(0) + self.path(name).bias for name, terms in added.items()}

    def contributions(self, name: str, x: Tensor, present: Tensor) -> Tensor:
        """Returns what a modality adds to the outputs of each path that reads it, `[batch, path, output]`."""
        paths = [self.path(n) for n in self.readers(name)]
        features = paths[0].landmarks[name](x, present)
        return torch.stack([path.contribution(name, features) for path in paths], dim=1)

    @torch.no_grad()
    def known(
        self,
        encoders: Mapping[str, Encoder],
        inputs: Mapping[str, Raw],
        zeros: Callable[..., Tensor] = torch.zeros,
    ) -> dict[str, Raw]:
        """Returns the inputs with their contributions, which are then not computed at each prediction of them.

        Args:
            encoders: By modality.
            inputs: By modality.
            zeros: Makes the tensors that hold the contributions, as `torch.zeros` does.
        """
        known = dict(inputs)
        for n in self.sources:
            raw = inputs.get(n)
            if raw is None or raw.contributions is not None or not len(raw):
                continue
            bias = self.path(self.readers(n)[0]).bias
            made = zeros(len(raw), len(self.readers(n)), len(bias), dtype=bias.dtype, device=bias.device)
            there = raw.present.nonzero()[:, 0]
            for block in torch.split(there, BLOCK_ROWS) if len(there) else ():
                part = raw.rows(block).trim().to(bias.device)
                made[block.to(bias.device)] = self.contributions(n, encoders[n].linear(part), part.present)
            known[n] = Raw(raw.values, raw.mask, made)
        return known

    def path(self, name: str) -> LinearPath:
        """Returns the path of one of `names`."""
        path = self.paths[self.names.index(name)]
        assert isinstance(path, LinearPath)
        return path
