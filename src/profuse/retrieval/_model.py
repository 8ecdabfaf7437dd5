"""Encoders and a common space, trained by nothing but the space's own penalty."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from profuse.encoders import Encoder, encoder
from profuse.fusion import CoordinatedFusion, Fused, fusion
from profuse.kinds import kind_named
from profuse.models.fusion_model import Output
from profuse.models.options import ModelOptions
from profuse.retrieval.measure import ranks
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens
from profuse.training.loop import batches

__all__ = ["RetrievalModel", "RetrievalOptions", "build"]


class RetrievalOptions(BaseModel):
    """How the common space is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["auto", "learned", "cca", "ridge"] = "auto"
    space: Literal["contrastive", "ranking", "dcca", "dcca_ey"] = "contrastive"
    width: int = Field(64, ge=4, le=4096)
    dropout: float = Field(0.1, ge=0, lt=1)
    encoders: dict[str, str] = Field(default_factory=dict)
    space_options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    baseline: bool = True

    @field_validator("space_options")
    @classmethod
    def _known(cls, asked: dict[str, Any], info: Any) -> dict[str, Any]:
        if "space" in info.data:  # else the space itself is at fault, and is told
            ModelOptions(operator_options={info.data["space"]: asked})
        if "weight" in asked:
            raise ValueError("must not name a weight: the penalty is all there is to learn from")
        return asked


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


class RetrievalModel(nn.Module):
    """What the training loop trains, in the shape of a `FusionModel`: its outputs are all modalities' coordinates.

    Args:
        encoders: One for each modality.
        space: The common space.
    """

    def __init__(self, encoders: Mapping[str, Encoder], space: CoordinatedFusion) -> None:
        super().__init__()
        self.names = tuple(sorted(encoders))
        self.encoders = nn.ModuleList([encoders[name] for name in self.names])
        self.fusion = space
        self.head = HeldOut(len(self.names))

    @property
    def plain(self) -> RetrievalModel:
        """The model itself: no rounds are around it."""
        return self

    def _tokens(self, inputs: Mapping[str, Raw]) -> dict[str, Tokens]:
        return {name: e(inputs[name]) for name, e in zip(self.names, self.encoders, strict=True)}

    def forward(self, inputs: Mapping[str, Raw]) -> Output:
        """Returns coordinates `[batch, modality * dim]`, and the penalty where gradients are on."""
        tokens = self._tokens(inputs)
        fused = self.fusion(tokens) if torch.is_grad_enabled() else None
        with torch.no_grad():
            outputs = torch.cat(list(self.fusion.coordinates(tokens).values()), dim=1)
        return Output(outputs, fused or Fused(outputs))

    def loss(self, output: Output, target: Tensor) -> Tensor:
        """Returns the penalty."""
        return torch.stack(list(output.fused.penalties.values())).sum()

    def losses(self, output: Output, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the penalty; no modality has a loss of its own."""
        return self.loss(output, target), {}

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


class HeldOut(nn.Module):
    """By what an epoch is chosen: how validation rows are found, over all ordered pairs of modalities."""

    unit = "recall@1"

    def __init__(self, n_modalities: int) -> None:
        super().__init__()
        self.n_modalities = n_modalities

    def _ranks(self, outputs: Tensor, target: Tensor) -> np.ndarray:
        """Returns all queries' ranks; `target[row, modality]` numbers the contents."""
        places, codes = outputs.view(len(outputs), self.n_modalities, -1).numpy(), target.numpy()
        present, found = np.abs(places).sum(2) > 0, []
        for i, j in permutations(range(self.n_modalities), 2):
            rows = present[:, i] & present[:, j]
            found.append(ranks(places[rows, i], places[rows, j], codes[rows, i], codes[rows, j])[0])
        return np.concatenate(found)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Returns the mean logarithm of the rank."""
        return torch.as_tensor(np.log(self._ranks(outputs, target)).mean())

    def score(self, outputs: Tensor, target: Tensor) -> float:
        """Returns recall@1."""
        return float((self._ranks(outputs, target) == 1).mean())

    def error(self, outputs: Tensor, target: Tensor) -> float:
        """Returns 1 less the mean reciprocal rank, which is finer than recall on few rows."""
        return float(1 - (1 / self._ranks(outputs, target)).mean())
