"""Stage by stage: one fused vector grows along the branches, and each stage hands it back to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from profuse.fusion._base import Fused
from profuse.fusion._hierarchical import HierarchicalFusion
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["Stagewise"]


class Stagewise(HierarchicalFusion):
    """h = f_S, f_s = f_(s-1) + MLP_s([v_1s; ...; v_Ms]), f_0 = 0; and x_m <- x_m + W_ms LayerNorm(f_s) after stage s.

    v_ms is the normalised mean of the tokens of m after stage s of its branch, a learned vector where m is missing.
    What is fused early (edges with onsets) stands in the result beside what is fused late (things with words), and
    the later stages of each branch see what the others have found. W_ms starts at 0: the branches are then left alone.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens at the end of its branch.
        width: Width of the joint vector.
        n_stages: Points of fusion, at least 1; the last stands at the end of the branches.
        stage_channels: Width of each modality's tokens at each point, as the model tells it; None: as `channels`.
        dropout: Probability that a hidden channel is dropped in training, 0 to below 1.

    Raises:
        ConfigError: A number is out of range, or `stage_channels` do not fit.

    Reference:
        The survey's hierarchical feature fusion: Zhao, Zhang, Geng, Deep Multimodal Data Fusion, ACM Computing
        Surveys 56(9), 2024, section on encoder-decoder fusion. The survey leaves the form open: this one is ours.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Stagewise({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "f_S, f_s = f_(s-1) + MLP_s([v_1s; ...; v_Ms]), x_m + W_ms f_s after stage s"
    cost: ClassVar[str] = "O(n_stages (T d + M d width))"
    missing: ClassVar[str] = "a learned vector of each stage stands in its place"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), hierarchical feature fusion"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_stages: int = 2,
        stage_channels: Sequence[Mapping[str, int]] | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width, n_stages=n_stages, stage_channels=stage_channels)
        self.dropout = checked_dropout("Stagewise", dropout)
        self.merges = nn.ModuleList(Concat(c, width, dropout=dropout) for c in self.stage_channels)
        # nothing reads the branches after the last stage: nothing is handed back there
        self.norms = nn.ModuleList(normalise(width) for _ in range(n_stages - 1))
        self.backs = nn.ModuleList(
            nn.ModuleList(nn.Linear(width, c, bias=False) for c in stage.values()) for stage in self.stage_channels[:-1]
        )
        for linear in (linear for stage in self.backs.children() for linear in stage.children()):
            nn.init.zeros_(linear.weight)  # type: ignore[arg-type]

    def exchange(
        self, stage: int, tokens: dict[str, Tokens], state: Tensor | None
    ) -> tuple[dict[str, Tokens], Tensor | None]:
        merged: Tensor = self.merges[stage](tokens).vector
        fused = merged if state is None else state + merged
        if stage == self.n_stages - 1:
            return tokens, fused
        known = self.norms[stage](fused)[:, None]
        backs = self.backs[stage].children()
        return {
            name: Tokens(t.values + back(known), t.mask) for (name, t), back in zip(tokens.items(), backs, strict=True)
        }, fused

    def merge(self, tokens: dict[str, Tokens], state: Tensor | None) -> Fused:
        assert state is not None  # there is at least one exchange
        return Fused(state)
