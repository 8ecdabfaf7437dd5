"""What modalities share and what each has alone, kept apart: MISA."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion, MemberRows
from profuse.fusion._coordinated import mean_over, over_pairs
from profuse.layers.attention import TransformerLayer
from profuse.layers.correlation import centred
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["SharedPrivate", "moment_discrepancy", "overlap"]


def moment_discrepancy(x: Tensor, y: Tensor, rows: Tensor, n_moments: int = 5) -> Tensor:
    """Returns |E x - E y| + sum over j = 2..n_moments of |E (x - E x)^j - E (y - E y)^j|: central moment discrepancy.

    Args:
        x: `[batch, channel]`, values in [0, 1], so that the paper's factors 1 / (b - a)^j are 1.
        y: `[batch, channel]`, likewise.
        rows: Bool `[batch]`: the rows that count.
        n_moments: At least 1.
    """
    n_rows = rows.sum().clamp(min=1)
    distance: Tensor = torch.linalg.vector_norm((x - y).masked_fill(~rows[:, None], 0.0).sum(0) / n_rows)
    x, y = centred(x, rows), centred(y, rows)
    for j in range(2, n_moments + 1):
        distance = distance + torch.linalg.vector_norm((x.pow(j) - y.pow(j)).sum(0) / n_rows)
    return distance


def overlap(x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """Returns |X^T Y / n|^2 (Frobenius), X and Y centred over the batch, their rows then of length 1: 0 to 1.

    It is 0 where the columns of X are orthogonal to those of Y, and with a single row.

    Args:
        x: `[batch, channel]`.
        y: `[batch, channel]`.
        rows: Bool `[batch]`: the rows that count.
    """
    x, y = (functional.normalize(centred(v, rows), dim=-1, eps=1e-6) for v in (x, y))
    return (x.T @ y / rows.sum().clamp(min=1)).square().sum()


class SharedPrivate(Fusion):
    """h = MLP(Transformer([s_1; ...; s_M; p_1; ...; p_M])), s_m = sigmoid(S u_m), p_m = sigmoid(P_m u_m).

    u_m is a linear map of the normalised mean of the tokens of m. One map S of all modalities makes what they share,
    a map P_m of its own what m has alone. Three penalties: `similarity`, the discrepancy of five moments between the
    shared vectors of two modalities; `difference`, the overlap of m's shared and private vectors, and of the private
    vectors of two modalities; `reconstruction`, the squared error of u_m made from s_m + p_m. Each is a mean, over
    what there are rows for. An absent modality is hidden from the Transformer.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, and of shared and private vectors; a multiple of `n_heads`.
        difference: Factor of the overlaps, at least 0.
        similarity: Factor of the discrepancies, at least 0.
        reconstruction: Factor of the reconstruction error, at least 0.
        n_moments: Moments that are compared, at least 1.
        n_heads: Attention heads.
        dropout: Probability of dropping a channel in the Transformer and in the MLP, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Hazarika, Zimmermann, Poria, MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment
        Analysis, ACM Multimedia 2020, sections 3.3 to 3.5. *Differs from the paper*: the overlap is
        divided by the square of the number of rows, so that it lies between 0 and 1 (about 1 / rows where nothing
        overlaps), and is a mean over the pairs, a sum there; the three factors are a tenth of those in the authors'
        code (difference .3, similarity 1, reconstruction 1; the paper tunes them for each data set), with which
        nothing else was learned where modalities must be multiplied (`synthetic`, synergy); lengths of rows carry a
        gradient, as in the formula, where the authors' code stops it; gelu; a pre-norm Transformer layer and a norm
        after it, in place of a post-norm one.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(9, 5, 4), torch.ones(9, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(9, 3))}
        >>> fused = SharedPrivate({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, sorted(fused.penalties)
        (torch.Size([9, 8]), ['difference', 'reconstruction', 'similarity'])
    """

    members: ClassVar[MemberRows] = "apart"
    compares_rows: ClassVar[bool] = True
    formula: ClassVar[str] = (
        "MLP(Transformer([s_1; ...; s_M; p_1; ...; p_M])), s_m = sigmoid(S u_m), p_m = sigmoid(P_m u_m)"
    )
    cost: ClassVar[str] = "O(T d + M width (d + M + width)); training adds O(M^2 width^2)"
    missing: ClassVar[str] = "its vectors are hidden from attention and left out of the penalties"
    reference: ClassVar[str] = "Hazarika et al. 2020 (MISA), sections 3.3 to 3.5"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        difference: float = 0.03,
        similarity: float = 0.1,
        reconstruction: float = 0.1,
        n_moments: int = 5,
        n_heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        if not all(0 <= w < float("inf") for w in (difference, similarity, reconstruction)) or n_moments < 1:
            raise ConfigError(
                "SharedPrivate: difference, similarity and reconstruction must be at least 0, n_moments at least 1; "
                f"got difference={difference}, similarity={similarity}, reconstruction={reconstruction}, "
                f"n_moments={n_moments}."
            )
        if n_heads < 1 or width % n_heads:
            raise ConfigError(
                "SharedPrivate: n_heads must be at least 1 and divide width; "
                f"got n_heads={n_heads}, width={width}. Change one of them."
            )
        self.difference, self.similarity, self.reconstruction = difference, similarity, reconstruction
        self.n_moments, self.n_heads, self.dropout = n_moments, n_heads, checked_dropout("SharedPrivate", dropout)
        n = len(self.names)
        self.inputs = Projection(self.channels, width)
        self.shared = nn.Linear(width, width)
        self.private = nn.ModuleList(nn.Linear(width, width) for _ in range(n))
        self.decoders = nn.ModuleList(nn.Linear(width, width) for _ in range(n))
        self.layer = TransformerLayer(width, n_heads, dropout=dropout)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(2 * n * width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def _split(self, tokens: Mapping[str, Tokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns inputs, shared and private vectors, `[batch, modality, width]` each."""
        u = self.inputs(tokens)
        private = torch.stack([p(u[:, m]) for m, p in enumerate(self.private)], dim=1)
        return u, self.shared(u).sigmoid(), private.sigmoid()

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        u, shared, private = self._split(tokens)
        present = self.present(tokens)
        real = present.repeat(1, 2)
        # a row without anything looks at everything, and what comes of it is set to 0 below
        seen = self.norm(self.layer(torch.cat([shared, private], dim=1), real | ~real.any(1, keepdim=True)))
        vector = self.mlp(seen.masked_fill(~real[..., None], 0.0).flatten(1))
        return Fused(vector, penalties=self._penalties(u, shared, private, present) if torch.is_grad_enabled() else {})

    def _penalties(self, u: Tensor, shared: Tensor, private: Tensor, present: Tensor) -> dict[str, Tensor]:
        n = len(self.names)
        pairs = [(shared[:, m], private[:, m], present[:, m]) for m in range(n)]
        pairs += [(private[:, i], private[:, j], present[:, i] & present[:, j]) for i, j in combinations(range(n), 2)]
        made = torch.stack([d(shared[:, m] + private[:, m]) for m, d in enumerate(self.decoders)], dim=1)
        wrong = (made - u).square().mean(-1).masked_fill(~present, 0.0)
        alike = over_pairs(lambda x, y, rows: moment_discrepancy(x, y, rows, self.n_moments), shared, present)
        return {
            "difference": self.difference * mean_over(overlap, pairs, u),
            "similarity": self.similarity * alike,
            "reconstruction": self.reconstruction * wrong.sum() / present.sum().clamp(min=1),
        }

    def coordinates(self, tokens: Mapping[str, Tokens]) -> dict[str, Tensor]:
        """Returns what each modality shares, `[batch, width]` in 0 to 1; 0 where it is absent.

        Modalities agree there in distribution, not row by row: this is no space to search in.
        """
        given = {name: tokens[name].zeroed() for name in self.names}
        shared = self._split(given)[1].masked_fill(~self.present(given)[..., None], 0.0)
        return dict(zip(self.names, shared.unbind(1), strict=True))
