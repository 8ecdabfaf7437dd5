"""Imputation by flow matching: noise is carried to a missing modality, given the present ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.fusion.generative._imputer import ModalityImputer
from profuse.layers.generators import FlowGenerator

__all__ = ["FlowImputer"]


class FlowImputer(ModalityImputer):
    """h = MLP([w_1; ...; w_M]), w_m = u_m if present, else x(1), dx/dt = v_m(x, t, c_m), x(0) = 0.

    The field v_m is learned by conditional flow matching: penalty weight * (v_m(x_t, t, c_m) - (u_m - x_0))^2, mean
    over channels, x_t = (1 - t) x_0 + t u_m, x_0 ~ N(0, 1), t uniform. Noise x_0 is carried to draws of u_m; the
    operator starts from x_0 = 0, the middle of the noise, in training as in evaluation, so that its answer is the same
    in each call (for normal data: the conditional mean). Heun's method. In evaluation the penalty takes four fixed
    starts at four fixed times.

    u_m is the projected mean of the tokens of m, normalised over channels (without gain and bias, so that shrinking it
    does not make the penalty small). c_m is the mean of the codes gelu(C_j u_j + b_j) of the other present modalities.
    What is present is used bit for bit; a row without any modality has w = 0. The penalty is computed where m and
    another modality are present, mean over these rows and modalities. With a single modality there is none.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, of all u_m, and of the hidden layers.
        n_steps: Steps of Heun's method, at least 2; each evaluates the field twice.
        weight: Weight of the penalty, at least 0.
        dropout: Probability that a hidden channel of the joint MLP is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Lipman, Chen, Ben-Hamu, Nickel, Le, Flow Matching for Generative Modeling, ICLR 2023 (arXiv 2210.02747),
        section 4; used for imputation as in arXiv 2506.09258. *Differs from the paper*: sigma_min is 0; a field for
        each modality; one path from 0 in place of draws.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = FlowImputer({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape, operator.completed(tokens).shape
        (torch.Size([2, 8]), torch.Size([2, 2, 8]))
    """

    formula: ClassVar[str] = "MLP([w_1; ...; w_M]), w_m = u_m or x(1): dx/dt = v(x, t, others), x(0) = 0"
    cost: ClassVar[str] = "O(T d + M^2 width + M (d + n_steps width) width)"
    missing: ClassVar[str] = "carried from 0 by a flow that is told the present ones"
    reference: ClassVar[str] = "Lipman et al. 2023 (arXiv 2210.02747)"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_steps: int = 5,
        weight: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            channels,
            width,
            make=lambda: FlowGenerator(width, width, width, n_steps=n_steps),
            weight=weight,
            dropout=dropout,
        )
        self.n_steps = n_steps
