"""Compact bilinear pooling (MCB): the outer product, sketched, by a product of spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.fusion.constraint._factors import at_least_one, power_norm
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["CompactBilinear"]


class CompactBilinear(Fusion):
    """h = W N(irfft(prod_m rfft(sketch([1; v_m])))) + b, v_m = LayerNorm(mean_t x_mt) / sqrt(M d_m).

    A count sketch adds each entry, with a random sign, to one of `sketch_size` random places; both are fixed. The
    product of the spectra is the sketch of the outer product of all [1; v_m], so of the products of every subset
    of modalities: its inner products estimate those of the tensors without bias, with an error that falls as 1 /
    sqrt(sketch_size). The 1 has place 0 and sign +, so that a missing modality (v_m = 0) leaves the sketch of the
    others. N is the signed square root, then the L2 norm.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        sketch_size: Entries of a sketch, a power of two.
        seed: Of places and signs, 0 or more; they are saved with the parameters.
        dropout: Probability that a channel of v_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `sketch_size` is no power of two, or an option is out of range.

    Reference:
        Fukui, Park, Yang, Rohrbach, Darrell, Rohrbach, Multimodal Compact Bilinear Pooling for Visual Question
        Answering and Visual Grounding, EMNLP 2016, algorithm 1; for more than two, the sketch of the M-fold product:
        Pham, Pagh, Fast and Scalable Polynomial Kernels via Explicit Feature Maps, KDD 2013. *Differs from the
        paper*: a 1 before each v_m, for the products of fewer; 1,024 entries, not 16,000, for a width of 64; the root
        has a finite slope at 0, and the norm is sqrt(sketch_size), not 1.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> CompactBilinear({"text": 4, "vector": 3}, 8, sketch_size=32)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "W N(irfft(prod of rfft(sketch([1; v_m])))), N = signed root, L2"
    cost: ClassVar[str] = "O(T d + M sketch_size log(sketch_size) + sketch_size width)"
    missing: ClassVar[str] = "its v_m is 0: the sketch is that of the others"
    reference: ClassVar[str] = "Fukui et al. 2016 (EMNLP), algorithm 1; Pham, Pagh 2013 (KDD)"

    places: Tensor
    signs: Tensor

    def __init__(
        self, channels: Mapping[str, int], width: int, *, sketch_size: int = 1024, seed: int = 0, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, width)
        at_least_one("CompactBilinear", sketch_size=sketch_size)
        if sketch_size & (sketch_size - 1) or seed < 0:
            raise ConfigError(
                "CompactBilinear: sketch_size must be a power of two and seed at least 0; "
                f"got sketch_size={sketch_size}, seed={seed}. Try 512, 1024 or 2048."
            )
        self.sketch_size, self.seed = sketch_size, seed
        self.dropout = checked_dropout("CompactBilinear", dropout)
        generator = torch.Generator().manual_seed(seed)
        n_entries = sum(self.channels.values())
        self.register_buffer("places", torch.randint(sketch_size, (n_entries,), generator=generator))
        self.register_buffer("signs", torch.randint(2, (n_entries,), generator=generator) * 2 - 1)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(sketch_size, self.width)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        vectors = [
            self.drop(norm(t.mean()).masked_fill(~t.present[:, None], 0.0) / (len(tokens) * t.n_channels) ** 0.5)
            for norm, t in zip(self.norms, tokens.values(), strict=True)
        ]
        sizes = list(self.channels.values())
        spectrum = None
        for v, places, signs in zip(
            vectors, torch.split(self.places, sizes), torch.split(self.signs, sizes), strict=True
        ):
            one = torch.fft.rfft(_sketch(v, places, signs, self.sketch_size))
            spectrum = one if spectrum is None else spectrum * one
        assert spectrum is not None
        joint = torch.fft.irfft(spectrum, n=self.sketch_size)
        return Fused(self.out(power_norm(joint).to(vectors[0].dtype)))


def _sketch(v: Tensor, places: Tensor, signs: Tensor, size: int) -> Tensor:
    """Returns the count sketch of [1; v], `[batch, size]`, in a type that has a Fourier transform."""
    v = v.to(torch.promote_types(v.dtype, torch.float32))
    one = nn.functional.pad(v.new_ones(v.shape[0], 1), (0, size - 1))
    return one.index_add(1, places, v * signs)
