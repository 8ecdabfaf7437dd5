"""Imputation by diffusion: noise is taken away step by step, given the present modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion.generative._imputer import ModalityImputer
from profuse.layers.generators import DiffusionGenerator

__all__ = ["DiffusionImputer"]


class DiffusionImputer(ModalityImputer):
    """h = MLP([w_1; ...; w_M]), w_m = u_m if present, else x at sigma_t = 0: dx = -s_m(x, t, c_m) sigma_t dsigma_t.

    The score s_m of x_t = u_m + sigma_t z, sigma_t^2 = (sigma^(2t) - 1) / (2 ln sigma), is learned by denoising:
    penalty weight * (sigma_t s_m(x_t, t, c_m) + z)^2, mean over channels, z ~ N(0, 1), t uniform. The probability-flow
    ODE carries the middle of the noise at t = 1 to the answer, which is the same in each call. With `sampler`
    sde, training sees draws by Euler and Maruyama's steps instead. In evaluation the penalty takes four fixed noises
    at four fixed times.

    u_m is the projected mean of the tokens of m, normalised over channels (without gain and bias, so that shrinking it
    does not make the penalty small). c_m is the mean of the codes gelu(C_j u_j + b_j) of the other present modalities.
    What is present is used bit for bit; a row without any modality has w = 0. The penalty is computed where m and
    another modality are present, mean over these rows and modalities. With a single modality there is none.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, of all u_m, and of the hidden layers.
        sigma: Base of the noise, above 1: at t = 1 its deviation is about sigma / sqrt(2 ln sigma), 9.8 for 25.
        n_steps: Steps from t = 1 to 0, at least 2; the ODE's evaluate the score twice. Heun's method on the ODE is
            content with 6 to 20; draws of the SDE are too narrow with few, about half as wide as they should be with 6.
        sampler: ode: the answer in training is that of evaluation; sde: it is a draw.
        weight: Weight of the penalty, at least 0.
        dropout: Probability that a hidden channel of the joint MLP is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Wang, Li, Cui, Incomplete Multimodality-Diffused Emotion Recognition, NeurIPS 2023 (IMDer), section 3.
        *Differs from the paper*: pooled vectors and small MLPs in place of sequences and convolutions; no refinement
        network; trained together with the rest, not on complete rows before; the ODE in evaluation, with far fewer
        steps; the SDE by steps that are exact for a constant answer, as Euler and Maruyama's overshoot where few; the
        score is parametrised as in Karras et al. 2022 (right for N(0, 1) before any training).

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = DiffusionImputer({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape, operator.completed(tokens).shape
        (torch.Size([2, 8]), torch.Size([2, 2, 8]))
    """

    formula: ClassVar[str] = "MLP([w_1; ...; w_M]), w_m = u_m or denoised: dx = -s(x, t, others) sigma_t dsigma_t"
    cost: ClassVar[str] = "O(T d + M^2 width + M (d + n_steps width) width)"
    missing: ClassVar[str] = "denoised from 0 by a score that is told the present ones"
    reference: ClassVar[str] = "Wang et al. 2023 (NeurIPS): IMDer"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        sigma: float = 25.0,
        n_steps: int = 6,
        sampler: Literal["ode", "sde"] = "ode",
        weight: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            channels,
            width,
            make=lambda: DiffusionGenerator(width, width, width, sigma=sigma, n_steps=n_steps),
            weight=weight,
            dropout=dropout,
        )
        if sampler not in ("ode", "sde"):
            raise ConfigError(f"DiffusionImputer: sampler must be ode or sde; got sampler={sampler!r}.")
        self.sigma, self.n_steps, self.sampler = sigma, n_steps, sampler

    def guess(self, generator: nn.Module, condition: Tensor) -> Tensor:
        assert isinstance(generator, DiffusionGenerator)
        if self.sampler == "sde" and self.training:
            return generator.walk(condition, n_steps=self.n_steps)
        return generator.centre(condition)
