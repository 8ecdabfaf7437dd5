"""Imputation by regression: a missing modality is what the present ones say on average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.fusion.generative._imputer import ModalityImputer
from profuse.layers.generators import RegressionGenerator

__all__ = ["RegressionImputer"]


class RegressionImputer(ModalityImputer):
    """h = MLP([w_1; ...; w_M]), w_m = u_m if present, else W h_K(c_m) + b, h_k = h_{k-1} + B_k gelu(A_k h_{k-1}).

    A missing modality is predicted from the others by a cascade of residual blocks, h_0 = c_m: the conditional mean,
    the same for all rows that look alike in what is present. The penalty is weight * (u_m - w_m)^2, mean over
    channels.

    u_m is the projected mean of the tokens of m, normalised over channels (without gain and bias, so that shrinking it
    does not make the penalty small). c_m is the mean of the codes gelu(C_j u_j + b_j) of the other present modalities.
    What is present is used bit for bit; a row without any modality has w = 0. The penalty is computed where m and
    another modality are present, mean over these rows and modalities. With a single modality there is none.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, of all u_m, and of the hidden layers.
        n_blocks: Residual blocks in the cascade, K, at least 0; 0 is linear in the codes.
        weight: Weight of the penalty, at least 0.
        dropout: Probability that a hidden channel of the joint MLP is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Zhao, Li, Jin, Missing Modality Imagination Network for Emotion Recognition with Uncertain Missing Modalities,
        ACL 2021, section 3.2 (the cascade of residual autoencoders). *Differs from the paper*: no cycle back and no
        pretraining on complete rows; vectors are imputed, not the joint representation; the target is not detached.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = RegressionImputer({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape, operator.completed(tokens).shape
        (torch.Size([2, 8]), torch.Size([2, 2, 8]))
    """

    formula: ClassVar[str] = "MLP([w_1; ...; w_M]), w_m = u_m or its regression on the others"
    cost: ClassVar[str] = "O(T d + M^2 width + M (d + n_blocks width) width)"
    missing: ClassVar[str] = "predicted from the present ones: the conditional mean"
    reference: ClassVar[str] = "Zhao et al. 2021 (ACL): MMIN"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_blocks: int = 2,
        weight: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            channels,
            width,
            make=lambda: RegressionGenerator(width, width, width, n_blocks=n_blocks),
            weight=weight,
            dropout=dropout,
        )
        self.n_blocks = n_blocks
