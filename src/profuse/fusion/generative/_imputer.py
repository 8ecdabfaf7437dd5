"""What the imputers of missing modalities share: vectors, conditions, the completed set, the penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.generators import Generator
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["ModalityImputer"]


class ModalityImputer(Fusion):
    """h = W_2 dropout(gelu(W_1 [w_1; ...; w_M])), w_m = u_m where m is present, else a generator's answer to the
    others.

    u_m is the normalised projection of the mean of the tokens. The generator of m is conditioned on the mean of the
    codes of the other modalities that are present. Where nothing is present, all w_m are 0.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, of all u_m, and of the hidden layers.
        make: Makes one modality's generator, of condition and target as wide as `width`.
        weight: Weight of the penalty.
        dropout: Probability that a hidden channel is dropped in training.
    """

    others: Tensor

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        make: Callable[[], Generator],
        weight: float,
        dropout: float,
    ) -> None:
        super().__init__(channels, width)
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"{type(self).__name__}: weight must be at least 0; got weight={weight}.")
        self.weight = weight
        self.dropout = checked_dropout(type(self).__name__, dropout)
        n = len(self.names)
        self.project = Projection(self.channels, width)
        # one modality alone has nothing to be told from
        self.codes = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in self.names if n > 1)
        self.generators = nn.ModuleList(make() for _ in self.names if n > 1)
        self.mlp = nn.Sequential(nn.Linear(n * width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width))
        self.register_buffer("others", ~torch.eye(n, dtype=torch.bool), persistent=False)

    def vectors(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns u, `[batch, modality, width]`; 0 where a modality is missing."""
        u = self.project(tokens)
        # without gain and bias: they could shrink the target instead of explaining it
        u = functional.layer_norm(u, (self.width,)) if self.width > 2 else u
        return u.masked_fill(~self.present(tokens)[..., None], 0.0)

    def conditions(self, u: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what each generator is told, `[batch, modality, width]`, and whether it is told anything."""
        codes = torch.stack([code(u[:, j]) for j, code in enumerate(self.codes)], dim=1)
        seen = self.others & present[:, None]  # [batch, modality, of which]
        share = seen.to(u) / seen.sum(2, keepdim=True).clamp(min=1)
        return share @ codes, seen.any(2)

    def guess(self, generator: nn.Module, condition: Tensor) -> Tensor:
        """Returns what stands for a missing modality."""
        assert isinstance(generator, Generator)
        return generator.centre(condition)

    def completed(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns w, `[batch, modality, width]`: what is present bit for bit, and what is missing imputed.

        Args:
            tokens: As for a call.
        """
        given = {name: tokens[name].zeroed() for name in self.names}
        u, present = self.vectors(given), self.present(given)
        if not self.generators:
            return u
        return self._filled(u, present, *self.conditions(u, present))

    def _filled(self, u: Tensor, present: Tensor, condition: Tensor, told: Tensor) -> Tensor:
        guesses = [self.guess(g, condition[:, m]) for m, g in enumerate(self.generators)]
        return torch.where((told & ~present)[..., None], torch.stack(guesses, dim=1), u)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        u, present = self.vectors(tokens), self.present(tokens)
        if not self.generators:
            return Fused(self.mlp(u.flatten(1)))
        condition, told = self.conditions(u, present)
        vector = self.mlp(self._filled(u, present, condition, told).flatten(1))
        if not torch.is_grad_enabled():
            return Fused(vector)
        losses = [g.losses(condition[:, m], u[:, m]) for m, g in enumerate(self.generators)]  # type: ignore[operator]
        learned = told & present
        penalties = {}
        for name in losses[0]:
            of_rows = torch.stack([loss[name] for loss in losses], dim=1).masked_fill(~learned, 0.0)
            penalties[name] = self.weight * of_rows.sum() / learned.sum().clamp(min=1)
        return Fused(vector, penalties=penalties)
