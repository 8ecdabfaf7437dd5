"""Similarity network fusion: one graph of similar rows, agreed on by all modalities, and graph convolutions on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion, MemberRows
from profuse.fusion.graph._rows import GraphConvolutions, Memory, checked_neighbours
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["SimilarityNetwork", "fuse_networks"]


def fuse_networks(affinities: Tensor, k: int, n_iterations: int, present: Tensor | None = None) -> Tensor:
    """Returns the fused network: P_v <- N(S_v mean_{u != v}(P_u) S_v'), `n_iterations` times, then the mean over v.

    P_v = N(W_v) at first, where N gives a row's own entry 1/2 and divides the others by twice their sum; S_v keeps the
    k largest affinities of each row (its own among them), divided by their sum. The result is made symmetric.

    A row that lacks a view has no part in it. The mean for a pair of rows is over the other views that hold both rows,
    and is P_v's own entry where there is none: with a single view, that view diffuses by itself. In the end a pair has
    the mean over the views that hold both, and 0 if there is none.

    Args:
        affinities: `[view, row, row]`, at least 0, symmetric.
        k: Neighbours that a row keeps, at least 1; all of them if there are no more.
        n_iterations: Rounds of diffusion, at least 0.
        present: Bool `[view, row]`; all True if None.

    Reference:
        Wang, Mezlini, Demir, et al., Similarity network fusion for aggregating data types on a genomic scale, Nature
        Methods 11:333, 2014, equations 1 to 5.
    """
    if present is None:
        present = torch.ones_like(affinities[:, 0], dtype=torch.bool)
    pair = present[:, :, None] & present[:, None]
    affinities = affinities.masked_fill(~pair, 0.0)
    near = _nearest(affinities, k)
    network = _halved(affinities, present)
    for _ in range(n_iterations):
        n_others = pair.sum(0) - pair.int()
        others = (network.sum(0) - network) / n_others.clamp(min=1)
        others = torch.where(n_others > 0, others, network)
        network = _halved(near @ others @ near.mT, present)
    fused = network.sum(0) / pair.sum(0).clamp(min=1)
    return (fused + fused.T) / 2


def _halved(network: Tensor, present: Tensor) -> Tensor:
    """Returns the network with 1/2 at each row's own entry, and the others divided by twice their sum."""
    return (_shared(network) + torch.diag_embed(present.to(network))) / 2


def _shared(network: Tensor) -> Tensor:
    """Returns the network without each row's own entry, the others divided by their sum; 0 where there is none."""
    return _divided(network - torch.diag_embed(network.diagonal(dim1=-2, dim2=-1)))


def _divided(x: Tensor) -> Tensor:
    total = x.sum(-1, keepdim=True)
    return x / torch.where(total > 0, total, 1.0)


def _nearest(affinities: Tensor, k: int) -> Tensor:
    """Returns the k largest entries of each row, divided by their sum, and 0 elsewhere."""
    least = affinities.topk(min(k, affinities.shape[-1]), dim=-1).values[..., -1:]
    return _divided(affinities.masked_fill(affinities < least, 0.0))


def _distance(x: Tensor, y: Tensor) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)  # half precision has no such kernel
    # the other way of computing it, by a product, loses small distances
    return torch.cdist(x.to(wide), y.to(wide), compute_mode="donot_use_mm_for_euclid_dist").to(x.dtype)


def _scale(distance: Tensor, k: int) -> Tensor:
    """Returns the mean of the k smallest finite distances of each row; 0 where there is none."""
    least = distance.topk(min(k, distance.shape[1]), dim=1, largest=False).values
    finite = least.isfinite()
    return least.masked_fill(~finite, 0.0).sum(1) / finite.sum(1).clamp(min=1)


def _affinity(distance: Tensor, scale: Tensor, other_scale: Tensor, kernel_width: float) -> Tensor:
    """Returns exp(-(d / sigma)^2 / 2), sigma = kernel_width * mean of (scale, other scale, d)."""
    sigma = kernel_width / 3 * (scale[:, None] + other_scale + distance)
    return torch.exp(-((distance / sigma.clamp(min=1e-18)) ** 2) / 2)


class SimilarityNetwork(Fusion):
    """h = W_o GCN([v_1; ...; v_M]) on W = the modalities' graphs of similar rows, each diffused through the others.

    Each modality says which remembered training rows resemble each other: affinity exp(-(d / sigma)^2 / 2) at distance
    d of the means of their tokens, sigma being `kernel_width` times the mean of d and of both rows' mean distances
    to their `n_neighbours` nearest. Diffusion (see `fuse_networks`) makes them agree: groups that all modalities
    see stand out of the noise of each. A remembered row hears itself and its neighbours in W half each.
    A new row is attached in each modality that it has to its `n_neighbours` of largest affinity; their shares, averaged
    over modalities, make one step of diffusion (half stays, half goes on along W), and it hears itself and those half
    each. No row hears a new row. Before anything is remembered a row has only itself, and h is an MLP of v. v_m is the
    normalised mean of the tokens, a learned vector where m is missing. A remembered row that lacks a modality has no
    edges by it; a pair of rows that share no modality has none at all.

    A training row that is among the remembered ones finds its own copy at distance 0. That edge stays: the copy holds
    no target, and nothing that the row does not hold itself.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and of the nodes.
        n_remembered: Training rows that the graph holds, at most; more than `n_neighbours`.
        n_neighbours: Neighbours of a row in each modality, at least 1.
        n_iterations: Rounds of diffusion, at least 0; 0 averages the modalities' graphs.
        kernel_width: Width of the kernel relative to the distances around it, above 0; 0.3 to 0.8 is usual.
        n_layers: Graph convolutions, at least 1.
        dropout: Probability that a channel after a layer is dropped in training, 0 to below 1.

    Raises:
        ConfigError: A number out of range.

    Reference:
        Wang, Mezlini, Demir, et al., Similarity network fusion for aggregating data types on a genomic scale, Nature
        Methods 11:333, 2014, equations 1 to 5. *Differs from the paper*: the affinity is exp(-(d / sigma)^2 / 2), where
        the paper has exp(-d^2 / sigma), so that the unit of the features plays no part. The authors' code takes the
        density of a normal distribution with this sigma, which divides by sigma once more (affinities of near rows
        count more), and keeps a floor under sigma; here the diffusion keeps the paper's 1/2 on the diagonal, where
        their code adds the identity after each round. Rows may lack modalities;
        the fused network serves graph convolutions, not clustering, and new rows are attached to it; the features
        are the encoders' after each epoch.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> fusion = SimilarityNetwork({"a": 4, "b": 3}, 8, n_remembered=20, n_neighbours=3)
        >>> fusion.remember({"a": Tokens.vector(torch.randn(20, 4)), "b": Tokens.vector(torch.randn(20, 3))})
        >>> fusion({"a": Tokens.vector(torch.randn(2, 4)), "b": Tokens.vector(torch.randn(2, 3))}).vector.shape
        torch.Size([2, 8])
    """

    members: ClassVar[MemberRows] = "one"
    formula: ClassVar[str] = "W_o GCN([v_1; ...; v_M]) on W, P_m <- S_m mean of the other P S_m', W = mean of P_m"
    cost: ClassVar[str] = (
        "O(T d + n_remembered (M d + n_remembered + n_layers width)); "
        "a batch n_remembered^2 (M d + n_layers width) more"
    )
    missing: ClassVar[str] = "a learned vector stands in its place; it adds no edges"
    reference: ClassVar[str] = "Wang et al. 2014 (Nature Methods 11:333), eq. 1-5"

    network: Tensor
    scales: Tensor

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_remembered: int = 256,
        n_neighbours: int = 10,
        n_iterations: int = 20,
        kernel_width: float = 0.5,
        n_layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        checked_neighbours("SimilarityNetwork", n_remembered, n_neighbours, n_layers)
        if n_iterations < 0 or not 0 < kernel_width < float("inf"):
            raise ConfigError(
                "SimilarityNetwork: n_iterations must be at least 0 and kernel_width above 0 and finite; "
                f"got n_iterations={n_iterations}, kernel_width={kernel_width}."
            )
        self.n_remembered, self.n_neighbours, self.n_layers = n_remembered, n_neighbours, n_layers
        self.n_iterations, self.kernel_width = n_iterations, kernel_width
        self.dropout = checked_dropout("SimilarityNetwork", dropout)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.absent = nn.ParameterList(nn.Parameter(0.02 * torch.randn(c)) for c in self.channels.values())
        self.graph = GraphConvolutions([sum(self.channels.values()), *[width] * n_layers], dropout)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(width, width)
        self.memory = Memory(self.channels, n_remembered)
        self.register_buffer("network", torch.zeros(n_remembered, n_remembered))
        self.register_buffer("scales", torch.zeros(len(self.names), n_remembered))

    @torch.no_grad()
    def remember(self, tokens: Mapping[str, Tokens]) -> None:
        """Makes the fused network of these rows, in place of that before."""
        self.memory.store("SimilarityNetwork", {name: tokens[name] for name in self.names})
        itself = torch.eye(self.n_remembered, dtype=torch.bool, device=self.network.device)
        affinities = []
        for m, (x, present) in enumerate(zip(self.memory.features(), self.memory.present.T, strict=True)):
            distance = _distance(x, x)
            apart = distance.masked_fill(~(present & present[:, None]) | itself, torch.inf)
            self.scales[m] = _scale(apart, self.n_neighbours)
            affinities.append(_affinity(distance, self.scales[m], self.scales[m], self.kernel_width))
        network = fuse_networks(torch.stack(affinities), self.n_neighbours, self.n_iterations, self.memory.present.T)
        self.network.copy_(network)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        dtype = next(iter(tokens.values())).values.dtype
        known = [x.to(dtype) for x in self.memory.features()]
        shares = torch.stack(
            [self._shares(m, t, x) for m, (t, x) in enumerate(zip(tokens.values(), known, strict=True))]
        )
        reached = shares.sum(2) > 0  # [modality, batch]
        shares = shares.sum(0) / reached.sum(0).clamp(min=1)[:, None]
        own = 1 - reached.any(0)[:, None].to(dtype) / 2

        edges = _shared(self.network.to(dtype))
        adjacency = edges / 2 + torch.diag(1 - edges.sum(1) / 2)
        x = self._joined([t.mean() for t in tokens.values()], self.present(tokens))
        nodes = self.graph(x, own, shares @ adjacency / 2, self._joined(known, self.memory.present), adjacency)
        return Fused(self.out(self.drop(nodes)))

    def _shares(self, m: int, tokens: Tokens, known: Tensor) -> Tensor:
        """Returns to which remembered rows modality `m` attaches each row: `[batch, row]`, sums 1, or 0 if to none."""
        usable = self.memory.present[:, m] & tokens.present[:, None]
        distance = _distance(tokens.mean(), known)
        scale = _scale(distance.masked_fill(~usable, torch.inf), self.n_neighbours)
        affinity = _affinity(distance, scale, self.scales[m].to(distance.dtype), self.kernel_width)
        return _nearest(affinity.masked_fill(~usable, 0.0), self.n_neighbours)

    def _joined(self, means: list[Tensor], present: Tensor) -> Tensor:
        return torch.cat(
            [
                torch.where(there[:, None], norm(mean), absent)
                for mean, norm, absent, there in zip(means, self.norms, self.absent, present.T, strict=True)
            ],
            dim=1,
        )
