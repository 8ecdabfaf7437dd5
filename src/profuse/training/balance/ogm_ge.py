"""On-the-fly gradient modulation with generalisation enhancement (OGM-GE): who leads is slowed down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.models.fusion_model import FusionModel
from profuse.progressive import ProgressiveFusion
from profuse.training.balance._base import Balance

__all__ = ["OGMGE"]


class OGMGE(Balance):
    """g_m <- k_m g_m + noise, k_m = 1 - tanh(alpha max(0, rho_m - 1)), rho_m = s_m / mean of the others' s.

    s_m is how well modality m does on the batch by its own head: the mean probability of the true class (in general
    exp(-loss), which is that for classes). Every gradient of the encoder of m is scaled, whatever the layer. The noise
    is normal with `noise` times the standard deviation of the scaled gradient; only the encoders that are slowed down
    get it.

    Note that AdamW divides a gradient by its recent size: a steady factor cancels, a change does not.

    Args:
        model: What is trained.
        alpha: How much the leader is slowed down, at least 0; 0 changes nothing.
        noise: Standard deviation of the noise, in units of the gradient's, at least 0.

    Raises:
        ConfigError: A number below 0, or a model whose modalities have no losses of their own.

    Reference:
        Peng, Wei, Deng, Wang, Hu, Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022, eq. 8 to
        11. *Differs from the paper*: rho - 1 where the paper has rho, which jumps to 1 - tanh(alpha) as soon as a
        modality leads by a rounding error; any number of modalities (each against the mean of the others); each
        modality's own head says how well it does, not a part of the joint head; all layers, not convolutions alone;
        noise only where the gradient is scaled.
    """

    reference: ClassVar[str] = "Peng et al. 2022, eq. 8 to 11"

    def __init__(self, model: FusionModel | ProgressiveFusion, *, alpha: float = 0.3, noise: float = 1.0) -> None:
        super().__init__(model)
        if not 0 <= alpha < float("inf") or not 0 <= noise < float("inf"):
            raise ConfigError(f"OGMGE: alpha and noise must be at least 0; got alpha={alpha}, noise={noise}.")
        self.alpha, self.noise = alpha, noise

    def factors(self, unimodal_confidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns k_m, a number above 0 and at most 1, for each modality; 1 of those that are absent (confidence 0)."""
        names = list(self.encoders)
        s = torch.stack([unimodal_confidence[name] for name in names])
        n_others = (s > 0).sum() - (s > 0).long()
        others = torch.where(n_others > 0, (s.sum() - s) / n_others.clamp(min=1), s)
        ratio = s / others.clamp(min=torch.finfo(s.dtype).tiny)
        factor = 1 - torch.tanh(self.alpha * (ratio - 1).clamp(min=0))
        return dict(zip(names, factor, strict=True))

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        self.model.blended(joint, own).backward()  # type: ignore[no-untyped-call]
        factors = self.factors(unimodal_confidence)
        for name, parameters in self.encoders.items():
            if bool(factors[name] == 1):
                continue
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(factors[name])
                    if self.noise and parameter.grad.numel() > 1:
                        parameter.grad.add_(torch.randn_like(parameter.grad) * self.noise * parameter.grad.std())
