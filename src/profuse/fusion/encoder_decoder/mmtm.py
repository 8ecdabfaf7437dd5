"""The multimodal transfer module: at several stages, all modalities together say which channels of each count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused
from profuse.fusion._hierarchical import HierarchicalFusion
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["MMTM"]


class _Transfer(nn.Module):
    """g_m = 2 sigmoid(W_m relu(W [v_1; ...; v_M; a] + b) + b_m), of the means and of which modalities are there."""

    def __init__(self, channels: Mapping[str, int], *, ratio: float) -> None:
        super().__init__()
        total = sum(channels.values())
        hidden = max(1, round(2 * total / ratio))
        self.norms = nn.ModuleList(normalise(c) for c in channels.values())
        self.squeeze = nn.Linear(total + len(channels), hidden)
        self.excite = nn.ModuleList(nn.Linear(hidden, c) for c in channels.values())
        for linear in self.excite.children():
            nn.init.zeros_(linear.weight)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(self, tokens: Mapping[str, Tokens], present: Tensor) -> list[Tensor]:
        """Returns each modality's gates `[batch, channel]`."""
        means = [
            norm(t.mean()).masked_fill(~t.present[:, None], 0.0)
            for norm, t in zip(self.norms, tokens.values(), strict=True)
        ]
        joint = self.squeeze(torch.cat([*means, present.to(means[0])], dim=1)).relu()
        return [2 * linear(joint).sigmoid() for linear in self.excite]


class MMTM(HierarchicalFusion):
    """x_m <- x_m * 2 sigmoid(W_m z), z = relu(W [v_1; ...; v_M; a]), at every stage; then h = MLP([v_1; ...; v_M]).

    v_m is the normalised mean of the tokens of m (0 where m is missing), a says which modalities are there. Each
    modality's channels are weighed by what all of them see, between the stages of its encoder, so that its later
    stages already work on what counts. The gates lie between 0 and 2 and start at 1, where the branches are left alone
    and the model is the plain one with the merge of `concat`. The weights are the gates, averaged over channels and
    stages.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens at the end of its branch.
        width: Width of the joint vector.
        n_stages: Points of exchange, at least 1; the last stands at the end of the branches.
        stage_channels: Width of each modality's tokens at each point, as the model tells it; None: as `channels`.
        ratio: z has twice the channels of all modalities divided by this, above 0.
        dropout: Probability that a hidden channel of the merge is dropped in training, 0 to below 1.

    Raises:
        ConfigError: A number is out of range, or `stage_channels` do not fit.

    Reference:
        Joze, Shaban, Iuzzolino, Koishida, MMTM: Multimodal Transfer Module for CNN Fusion, CVPR 2020 (arXiv
        1911.08670), equations 1 to 4. *Differs from the paper*: the means are normalised, a missing modality is told
        by a flag, gates start at 1, and the branches' ends are merged rather than their predictions averaged.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = MMTM({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, fused.weights["gates"].tolist()
        (torch.Size([2, 8]), [[1.0, 1.0], [1.0, 1.0]])
    """

    formula: ClassVar[str] = "x_m * 2 sigmoid(W_m relu(W [v_1; ...; v_M])) at each stage, then MLP([v_1; ...; v_M])"
    cost: ClassVar[str] = "O(n_stages (T d + M^2 d^2 / ratio) + M d width)"
    missing: ClassVar[str] = "0 and a flag where gates are made, a learned vector at the end"
    reference: ClassVar[str] = "Joze et al. 2020 (arXiv 1911.08670), eq. 1-4"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_stages: int = 2,
        stage_channels: Sequence[Mapping[str, int]] | None = None,
        ratio: float = 4.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width, n_stages=n_stages, stage_channels=stage_channels)
        if not 0 < ratio < float("inf"):
            raise ConfigError(f"MMTM: ratio must be above 0 and finite; got ratio={ratio}. 4 is the paper's.")
        self.ratio = ratio
        self.dropout = checked_dropout("MMTM", dropout)
        self.transfers = nn.ModuleList(_Transfer(c, ratio=ratio) for c in self.stage_channels)
        self.end = Concat(self.channels, width, dropout=dropout)

    def exchange(
        self, stage: int, tokens: dict[str, Tokens], state: Tensor | None
    ) -> tuple[dict[str, Tokens], Tensor | None]:
        present = self.present(tokens)
        gates = self.transfers[stage](tokens, present)
        gated = {
            name: Tokens(t.values * g[:, None], t.mask) for (name, t), g in zip(tokens.items(), gates, strict=True)
        }
        means = torch.stack([g.mean(1) for g in gates], dim=1) * present / self.n_stages
        return gated, means if state is None else state + means

    def merge(self, tokens: dict[str, Tokens], state: Tensor | None) -> Fused:
        fused = self.end.fuse(tokens)
        return Fused(fused.vector, weights={} if state is None else {"gates": state})
