"""Stacking: how to weigh the experts, learned from predictions on rows that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError, DataError
from profuse.fusion._base import DecisionFusion, Link

__all__ = ["Stacking"]


class Stacking(DecisionFusion):
    """o = mean over the present m of f_m + sum over the present m of (A_m f_m + a_m) + b; softmax: log_softmax(o).

    f_m are log-probabilities (softmax), log-odds (sigmoid) or values (identity). A, a and b start at 0: before it is
    fitted, stacking is `mean_logits`; `l2` pulls it back there. `fit_out_of_fold` sets them to the minimum of the
    summed loss plus l2 / 2 times the sum of squares of A and a (b is free). a_m is the presence indicator's
    coefficient: it tells what the mere presence of m says about the target.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax, sigmoid or identity.
        l2: Strength of the penalty, at least 0, in units of the loss of one row.

    Raises:
        ConfigError: `l2` is negative.

    Reference:
        Wolpert, Stacked Generalization, Neural Networks 5(2), 1992; Breiman, Stacked Regressions, Machine Learning
        24, 1996. *Differs from both*: the penalty shrinks to the mean of the experts, not to nothing.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> classes = torch.tensor([0, 1] * 20)
        >>> right, useless = 4 * torch.eye(2)[classes] - 2, torch.zeros(40, 2)
        >>> fusion = Stacking({"a": 2, "b": 2}, 2)
        >>> fusion.fit_out_of_fold(torch.stack([right, useless], 1), torch.ones(40, 2).bool(), classes)
        >>> fused = fusion({"a": Tokens.vector(right), "b": Tokens.vector(useless)}).vector
        >>> bool((fused.argmax(1) == classes).all())
        True
    """

    trains_jointly: ClassVar[bool] = False
    out_of_fold: ClassVar[bool] = True
    formula: ClassVar[str] = "mean of f_m + sum of (A_m f_m + a_m) + b, fitted out of fold"
    cost: ClassVar[str] = "O(M outputs^2)"
    missing: ClassVar[str] = "left out; its presence has a coefficient"
    reference: ClassVar[str] = "Wolpert 1992; Breiman 1996"

    def __init__(self, channels: Mapping[str, int], width: int, *, link: Link = "softmax", l2: float = 1.0) -> None:
        super().__init__(channels, width, link=link)
        if not 0 <= l2 < float("inf"):
            raise ConfigError(f"Stacking: l2 must be at least 0; got l2={l2}.")
        self.l2 = l2
        self.maps = nn.Parameter(torch.zeros(len(self.names), width, width))
        self.offsets = nn.Parameter(torch.zeros(len(self.names), width))
        self.bias = nn.Parameter(torch.zeros(width))

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._linear(outputs, present, self.maps, self.offsets, self.bias), None

    def _linear(self, outputs: Tensor, present: Tensor, maps: Tensor, offsets: Tensor, bias: Tensor) -> Tensor:
        if self.link == "softmax":
            outputs = outputs.log_softmax(-1)
        there = present[..., None].to(outputs)
        features = outputs * there
        mean = features.sum(1) / there.sum(1).clamp(min=1)
        fused = mean + torch.einsum("bmi,moi->bo", features, maps) + (there * offsets).sum(1) + bias
        return fused.log_softmax(-1) if self.link == "softmax" else fused

    def fit_out_of_fold(self, outputs: Tensor, present: Tensor, targets: Tensor) -> None:
        """Fits A, a and b to predictions that the experts made on rows they were not trained on.

        The loss (cross-entropy, binary cross-entropy, half the squared error) is summed over rows and outputs and
        minimised by L-BFGS in float64 from A = a = b = 0, the same way each time. Rows without any modality have
        no say.

        Args:
            outputs: `[row, modality, output]`, modalities in `names` order, from heads on other folds; what stands
                at a missing modality is not read.
            present: Bool `[row, modality]`.
            targets: `[row]` class numbers (softmax), or `[row, output]` 0/1 (sigmoid) or values (identity).

        Raises:
            DataError: Wrong shapes, classes out of range, numbers that are not finite, or no row to learn from.
        """
        shape = (len(outputs), len(self.names), self.width)
        wanted = shape[:1] if self.link == "softmax" else (shape[0], shape[2])
        if outputs.shape != shape or present.shape != shape[:2] or targets.shape != wanted:
            raise DataError(
                f"Stacking: outputs must be [row, {shape[1]}, {shape[2]}], present [row, {shape[1]}] and targets "
                f"{'[row]' if self.link == 'softmax' else f'[row, {shape[2]}]'}; got outputs={tuple(outputs.shape)}, "
                f"present={tuple(present.shape)}, targets={tuple(targets.shape)}."
            )
        some = present.any(1)
        features = outputs.detach().to(torch.float64).masked_fill(~present[..., None], 0.0)[some]
        present, targets = present[some], targets.detach()[some]
        if not len(targets):
            raise DataError("Stacking: at least one row must have a modality; got none. Give out-of-fold rows.")
        if not bool(features.isfinite().all() and targets.to(torch.float64).isfinite().all()):
            raise DataError("Stacking: outputs and targets must be finite; got NaN or infinity. Look at the experts.")
        if self.link == "softmax" and not 0 <= int(targets.min()) <= int(targets.max()) < self.width:
            raise DataError(
                f"Stacking: targets must be class numbers from 0 to {self.width - 1}; got "
                f"{int(targets.min())} to {int(targets.max())}."
            )
        solution = [torch.zeros_like(p, dtype=torch.float64, requires_grad=True) for p in self.parameters()]
        search = torch.optim.LBFGS(
            solution, max_iter=1000, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            search.zero_grad()
            maps, offsets, bias = solution
            fused = self._linear(features, present, maps, offsets, bias)
            penalty = self.l2 / 2 * (maps.square().sum() + offsets.square().sum())
            loss = self._loss(fused, targets) + penalty
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            search.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), solution, strict=True):
                parameter.copy_(value)

    def _loss(self, fused: Tensor, targets: Tensor) -> Tensor:
        if self.link == "softmax":
            return functional.nll_loss(fused, targets.long(), reduction="sum")
        if self.link == "sigmoid":
            return functional.binary_cross_entropy_with_logits(fused, targets.to(fused), reduction="sum")
        return 0.5 * functional.mse_loss(fused, targets.to(fused), reduction="sum")
