"""Encoders and a common space, trained by nothing but the space's own penalty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from profuse.encoders import Encoder, encoder
from profuse.fusion import CoordinatedFusion, fusion
from profuse.kinds import kind_named
from profuse.models.trainable import Trainable, Validation
from profuse.retrieval.measure import ranks
from profuse.retrieval.options import RetrievalOptions
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens
from profuse.training.loop import batches

__all__ = ["RetrievalModel", "build"]


def build(specs: Mapping[str, Spec], options: RetrievalOptions, *, n_rows: int, seed: int) -> RetrievalModel:
    """Makes an untrained model; the global random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoders = {
            name: encoder(options.encoders.get(name) or kind_named(specs[name].kind).encoder).make(
                specs[name], options.width, n_rows=n_rows, dropout=options.dropout
            )
            for name in sorted(specs)
        }
        made: Any = fusion(options.space)
        widths = {name: e.width for name, e in encoders.items()}
        space = made(widths, options.width, **{**options.space_options, "weight": 1.0, "dropout": options.dropout})
        return RetrievalModel(encoders, space)


@dataclass(frozen=True, eq=False)
class Placed:
    """What a retrieval model returns for a batch.

    Attributes:
        coordinates: `[batch, modality * dim]`, without gradient.
        penalties: The space's, by which it learns; none where gradients are off.
    """

    coordinates: Tensor
    penalties: Mapping[str, Tensor]


class RetrievalModel(Trainable[Placed]):
    """Learns by the space's own penalty alone; its epoch is the one in which validation rows are found best.

    Its target is `[row, modality]`: numbers of the contents, by which rows that cannot be told apart are known.

    Args:
        encoders: One for each modality.
        space: The common space.
    """

    def __init__(self, encoders: Mapping[str, Encoder], space: CoordinatedFusion) -> None:
        super().__init__()
        self.names = tuple(sorted(encoders))
        self.encoders = nn.ModuleList([encoders[name] for name in self.names])
        self.fusion = space

    @property
    def unit(self) -> str:
        return "recall@1"

    @property
    def n_remembered(self) -> int:
        return self.fusion.n_remembered

    def _tokens(self, inputs: Mapping[str, Raw]) -> dict[str, Tokens]:
        return {name: e(inputs[name]) for name, e in zip(self.names, self.encoders, strict=True)}

    def forward(self, inputs: Mapping[str, Raw]) -> Placed:
        """Returns the places of all modalities."""
        tokens = self._tokens(inputs)
        penalties = self.fusion(tokens).penalties if torch.is_grad_enabled() else {}
        with torch.no_grad():
            return Placed(torch.cat(list(self.fusion.coordinates(tokens).values()), dim=1), penalties)

    def loss(self, output: Placed, target: Tensor) -> Tensor:
        """Returns the penalty."""
        return torch.stack(list(output.penalties.values())).sum()

    def validate(self, outputs: Sequence[Placed], target: Tensor) -> Validation:
        """Returns the mean logarithm of the rank, recall@1, and 1 less the mean reciprocal rank, over all queries.

        The last is finer than recall on few rows.
        """
        coordinates = torch.cat([output.coordinates.float().cpu() for output in outputs])
        places, codes = coordinates.view(len(coordinates), len(self.names), -1).numpy(), target.numpy()
        present, found = np.abs(places).sum(2) > 0, []
        for i, j in permutations(range(len(self.names)), 2):
            rows = present[:, i] & present[:, j]
            found.append(ranks(places[rows, i], places[rows, j], codes[rows, i], codes[rows, j])[0])
        rank = np.concatenate(found)
        return Validation(float(np.log(rank).mean()), float((rank == 1).mean()), float(1 - (1 / rank).mean()))

    def remember(self, inputs: Mapping[str, Raw]) -> None:
        """Shows the space training rows; see `Fusion.remember`."""
        self.fusion.remember({name: t.zeroed() for name, t in self._tokens(inputs).items()})

    @torch.inference_mode()
    def embed(self, name: str, raw: Raw) -> np.ndarray:
        """Returns the coordinates of one modality's rows, `[row, dim]`; 0 where it is absent."""
        parts = []
        device = next(self.parameters()).device
        one: Encoder = self.encoders[self.names.index(name)]  # type: ignore[assignment]
        for batch, _ in batches({name: raw}, torch.arange(len(raw)), 512):
            tokens = {name: one(batch[name].to(device))}
            for other, width in self.fusion.channels.items():
                if other != name:
                    nothing = tokens[name].mask.new_zeros(len(batch[name]), 1)
                    tokens[other] = Tokens(tokens[name].values.new_zeros(*nothing.shape, width), nothing)
            parts.append(self.fusion.coordinates(tokens)[name].float().cpu())
        return torch.cat(parts).numpy() if parts else np.empty((0, self.fusion.space_dim), dtype=np.float32)
