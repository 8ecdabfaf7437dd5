"""Fusion at several stages: what operators share that step in between the stages of the modalities' encoders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from torch import Tensor

from profuse.errors import ConfigError, ShapeError
from profuse.fusion._base import Fused, Fusion
from profuse.tokens import Tokens

__all__ = ["HierarchicalFusion", "Segment"]

Segment = Callable[[Tokens], Tokens]


class HierarchicalFusion(Fusion):
    """Fuses at `n_stages` points of the modalities' branches, and merges at their end.

    The model gives each branch in `n_stages` segments. After every segment stands an exchange, in which the operator
    may change the values of each modality's tokens by those of the others, and carry a state on to the next; masks
    stay. After the last exchange the operator merges. A subclass writes `exchange` and `merge`; at both it may count
    on what `Fusion` promises to `fuse`, with `stage_channels[stage]` channels at an exchange.

    Args:
        channels: Width of each modality's tokens at the end of its branch.
        width: Width of the joint vector.
        n_stages: Points of exchange, at least 1; the last stands at the end of the branches.
        stage_channels: Width of each modality's tokens at each point, as the model tells it; None: as `channels`.

    Attributes:
        stage_channels: The same, told for every point.

    Raises:
        ConfigError: `n_stages` is below 1, or `stage_channels` do not fit it or `channels`.
    """

    level: ClassVar[Literal["feature", "decision", "hierarchical"]] = "hierarchical"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_stages: int = 2,
        stage_channels: Sequence[Mapping[str, int]] | None = None,
    ) -> None:
        super().__init__(channels, width)
        who = type(self).__name__
        if n_stages < 1:
            raise ConfigError(f"{who}: n_stages must be at least 1; got n_stages={n_stages}.")
        told = [self.channels] * n_stages if stage_channels is None else stage_channels
        if len(told) != n_stages or any(set(c) != set(self.names) or min(c.values()) < 1 for c in told):
            raise ConfigError(
                f"{who}: stage_channels must give n_stages={n_stages} times the channels, at least 1, of the "
                f"modalities {list(self.names)}; got stage_channels={stage_channels}."
            )
        self.n_stages = n_stages
        self.stage_channels = tuple({name: int(c[name]) for name in self.names} for c in told)
        if self.stage_channels[-1] != self.channels:
            raise ConfigError(
                f"{who}: the last of stage_channels must be channels={self.channels}; got {self.stage_channels[-1]}."
            )

    @abstractmethod
    def exchange(
        self, stage: int, tokens: dict[str, Tokens], state: Tensor | None
    ) -> tuple[dict[str, Tokens], Tensor | None]:
        """Returns the tokens as the others change them, and what is carried to the next exchange.

        Args:
            stage: The point of exchange, from 0.
            tokens: What the segment before it returned.
            state: What the exchange before it carried on; None at the first.
        """

    @abstractmethod
    def merge(self, tokens: dict[str, Tokens], state: Tensor | None) -> Fused:
        """Returns the fused modalities, of the tokens and the state that the last exchange returned."""

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        return self._through(tokens, ())

    def forward(self, tokens: Mapping[str, Tokens], segments: Sequence[Mapping[str, Segment]] = ()) -> Fused:
        """Returns the fused modalities; `branches` are the tokens that the last segments returned.

        Args:
            tokens: What enters the first segments.
            segments: The `n_stages` parts of each modality's branch; if none are given, there is nothing between the
                exchanges.

        Raises:
            ShapeError: Another number of segments, or other modalities, widths, batch sizes or types than declared.
        """
        if len(segments) not in (0, self.n_stages) or any(set(s) != set(tokens) for s in segments):
            raise ShapeError(
                f"{type(self).__name__}: segments must be given for n_stages={self.n_stages} and for the modalities "
                f"of tokens, or not at all; got {[sorted(s) for s in segments]} for {sorted(tokens)}."
            )
        return self._through(tokens, segments)

    def _through(self, tokens: Mapping[str, Tokens], segments: Sequence[Mapping[str, Segment]]) -> Fused:
        state, now, branches = None, dict(tokens), {}
        for stage, channels in enumerate(self.stage_channels):
            if segments:
                now = {name: segments[stage][name](t.zeroed()) for name, t in now.items()}
            branches = self._checked(now, channels)
            changed, state = self.exchange(stage, branches, state)
            now = {name: Tokens(changed[name].values, t.mask).zeroed() for name, t in branches.items()}
        return replace(self._checked_result(self.merge(now, state), now), branches=branches)
