"""How alike the modalities learn: the gradients that reach each one's encoder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.models.fusion_model import FusionModel
from profuse.training.callbacks import Callback
from profuse.training.history import Epoch, History

__all__ = ["GradientBalance"]


class GradientBalance(Callback):
    """Looks at the gradients of each modality's encoder: one whose gradients vanish beside the others' hardly learns.

    g_m(e) is the mean over the steps of epoch e of the Euclidean norm of the gradient of all parameters of modality m's
    encoder, before it is clipped. The index is the coefficient of variation over modalities, averaged over E epochs:

        `1/E sum_e sqrt(mean_m (g_m(e) - mean_m g_m(e))^2) / mean_m g_m(e)`:

    0 where all modalities have gradients of one size, sqrt(M - 1) where one of M has all. Encoders of unlike sizes have
    gradients of unlike norms; what tells is how it changes over epochs, or between trainings of the same encoders.

    Attributes:
        norms: By epoch, g_m by modality.

    Raises:
        ConfigError: The model has no encoders of modalities, such as one that `wrap` was given.

    Reference:
        After the Modality Learning Index of Pham, Nguyen, Le, Nguyen, "MissBench: Benchmarking Multimodal Affective
        Analysis under Imbalanced Missing Modalities" (2026), which compares gradient norms by modality, the lower the
        more alike. *Its formula was not to be had; this one is ours.* Of several processes, the first one's share of a
        batch counts.

    Example:
        >>> balance = GradientBalance()
        >>> # FusionClassifier(...).fit(X, y, callbacks=[balance]); balance.index; balance.norms[-1]
    """

    def __init__(self) -> None:
        self.norms: list[dict[str, float]] = []

    def on_fit_start(self) -> None:
        """Begins to look."""
        model = next((m for m in self.model.modules() if isinstance(m, FusionModel)), None)
        if model is None:
            raise ConfigError(
                "GradientBalance: model must have an encoder of each modality, as FusionModel has; "
                f"got {type(self.model).__name__}. Leave this callback out."
            )
        self.norms = []
        self._steps: dict[str, list[float]] = {name: [] for name in model.names}  # norms of the steps of this epoch
        self._squares: dict[str, dict[nn.Parameter, Tensor]] = {name: {} for name in model.names}
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._looking(name))  # type: ignore[no-untyped-call]
            for name, encoder in model.encoder_of.items()
            for parameter in encoder.parameters()
            if parameter.requires_grad
        ]

    def _looking(self, name: str) -> Any:
        def look(parameter: nn.Parameter) -> None:
            squares = self._squares[name]
            if parameter in squares:  # it has come round again: another step
                self._end_step(name)
            assert parameter.grad is not None
            squares[parameter] = parameter.grad.detach().double().square().sum()

        return look

    def _end_step(self, name: str) -> None:
        if squares := self._squares[name]:
            self._steps[name].append(math.sqrt(float(sum(squares.values()))))
            squares.clear()

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Writes down the epoch's norms."""
        for name in self._steps:
            self._end_step(name)
        self.norms.append({name: sum(norms) / max(1, len(norms)) for name, norms in self._steps.items()})
        self._steps = {name: [] for name in self._steps}

    def on_fit_end(self, history: History) -> None:
        """Looks no more."""
        for hook in self._hooks:
            hook.remove()

    @property
    def index(self) -> float:
        """The index of all epochs; NaN before the first one, 0 of one modality."""
        each = [np.array(list(norms.values())) for norms in self.norms]
        return float(np.mean([g.std() / max(g.mean(), 1e-300) for g in each])) if each else math.nan
