"""Imputation by a conditional GAN: a missing modality that a discriminator takes for a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.fusion.generative._imputer import ModalityImputer
from profuse.layers.generators import GanGenerator

__all__ = ["GanImputer"]


class GanImputer(ModalityImputer):
    """h = MLP([w_1; ...; w_M]), w_m = u_m if present, else G_m(c_m, 0).

    G_m(c_m, z) makes u_m of what is present and of noise z; a discriminator D_m(c_m, x) tells real vectors from made
    ones. Two penalties, both times weight: generator, (softplus(-D_m(c_m, G_m)) + l1 |u_m - G_m|) / (1 + l1), and
    discriminator, softplus(-D_m(c_m, u_m)) + softplus(D_m(c_m, G_m)). Both players learn in one backward pass: in each
    one's penalty the weights of the other are held. The encoders and codes feel the sum of both, a plain slope. In use
    z = 0; the penalties take four fixed z in evaluation.

    u_m is the projected mean of the tokens of m, normalised over channels (without gain and bias, so that shrinking it
    does not make the penalty small). c_m is the mean of the codes gelu(C_j u_j + b_j) of the other present modalities.
    What is present is used bit for bit; a row without any modality has w = 0. The penalty is computed where m and
    another modality are present, mean over these rows and modalities. With a single modality there is none.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, of all u_m, and of the hidden layers.
        l1: Weight of the absolute error beside the discriminator, at least 0. The paper's 100 is for pictures.
        n_noise: Channels of z, at least 1.
        weight: Weight of the penalty, at least 0.
        dropout: Probability that a hidden channel of the joint MLP is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Isola, Zhu, Zhou, Efros, Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017 (pix2pix,
        arXiv 1611.07004), equation 4. *Differs from the paper*: vectors and MLPs, not pictures and a U-Net; explicit
        noise, not dropout; both players take one step together; the generator's loss is divided by 1 + l1.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = GanImputer({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape, operator.completed(tokens).shape
        (torch.Size([2, 8]), torch.Size([2, 2, 8]))
    """

    formula: ClassVar[str] = "MLP([w_1; ...; w_M]), w_m = u_m or G(others, 0)"
    cost: ClassVar[str] = "O(T d + M (d + M + width) width)"
    missing: ClassVar[str] = "made by a generator that is told the present ones"
    reference: ClassVar[str] = "Isola et al. 2017 (arXiv 1611.07004): pix2pix"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        l1: float = 10.0,
        n_noise: int = 8,
        weight: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            channels,
            width,
            make=lambda: GanGenerator(width, width, width, l1=l1, n_noise=n_noise),
            weight=weight,
            dropout=dropout,
        )
        self.l1, self.n_noise = l1, n_noise
