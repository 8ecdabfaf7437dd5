"""Heads: joint vector -> outputs; each owns its loss, its prediction rule and its score."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.layers.members import MemberLinear
from profuse.schema import Task

__all__ = ["QUANTILES", "ClassHead", "Head", "LabelsHead", "QuantileHead", "ValuesHead", "head_for"]

QUANTILES = (0.05, 0.5, 0.95)
"""Of which a `QuantileHead` learns; the middle one is what it predicts."""

_PRIOR = 0.1  # scale of the logarithm of a temperature, before rows are seen


class Head(nn.Module, ABC):
    """`outputs = Linear(dropout(LayerNorm(vector)))`, and what they mean.

    `predict` divides outputs by `temperature`, a number that `calibrate` sets on rows that were not learned from: it
    changes how sure a prediction is, never which class or label is the most probable (Guo et al., On Calibration of
    Modern Neural Networks, 2017, section 4.2). It is 1 for numbers, and before.

    Args:
        width: Channels of the joint vector.
        n_outputs: Classes, labels or target values, times `columns`.
        dropout: Probability of dropping a channel of the vector while training.
        label_smoothing: Label smoothing, 0 to 1: the share of the target's mass that is spread evenly.
        n_members: With more than 1, the batch holds each row for that many members, one after another, and each member
            has a linear map of its own.

    Raises:
        ConfigError: A size below 1, or a probability out of range.
    """

    link: ClassVar[Literal["softmax", "sigmoid", "identity"]]
    """How outputs become predictions."""
    unit: ClassVar[str]
    """What `score` measures; larger is better."""
    columns: ClassVar[int] = 1
    """Outputs for each class, label or value."""
    quantile_levels: ClassVar[tuple[float, ...]] = ()
    """Which quantiles it learns, ascending; none of most."""

    def __init__(
        self,
        width: int,
        n_outputs: int,
        *,
        dropout: float = 0.1,
        label_smoothing: float = 0.0,
        n_members: int = 1,
    ) -> None:
        super().__init__()
        if min(width, n_outputs, n_members) < 1 or not 0 <= dropout < 1 or not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"{type(self).__name__}: sizes must be at least 1, dropout and label_smoothing in [0, 1); got "
                f"width={width}, n_outputs={n_outputs}, dropout={dropout}, label_smoothing={label_smoothing}, "
                f"n_members={n_members}."
            )
        self.width, self.n_outputs, self.label_smoothing = width, n_outputs, label_smoothing
        self.n_members = n_members
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, n_outputs) if n_members == 1 else MemberLinear(n_members, width, n_outputs)
        self._weights: Tensor | None = None
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, vector: Tensor) -> Tensor:
        """`[batch, width]` -> `[batch, n_outputs]`."""
        outputs: Tensor = self.linear(self.dropout(self.norm(vector)))
        return outputs

    @property
    def n_values(self) -> int:
        """Classes, labels or target values."""
        return self.n_outputs // self.columns

    def add_linear(self, outputs: Tensor, linear: Tensor) -> Tensor:
        """Returns outputs `[batch, n_outputs]` with what a linear path adds to them, `[batch, n_values]`."""
        return outputs + linear

    def quantiles(self, outputs: Tensor) -> Tensor:
        """`[batch, n_outputs]` -> `[batch, n_values, quantile]`, ascending, those of `quantile_levels`."""
        return outputs.new_zeros(len(outputs), self.n_values, 0)

    def begin(self, residuals: Tensor) -> None:
        """Makes the head of an untrained model add nothing to its linear path.

        Args:
            residuals: `[row, n_values]`: what the path leaves of the targets of rows that it was not solved on.
        """
        for weight in self.linear.parameters():
            nn.init.zeros_(weight)

    def loss(self, outputs: Tensor, target: Tensor, rows: Tensor | None = None) -> Tensor:
        """Returns the mean loss of the rows where `rows[batch]` (bool) is True, of all if None; 0 if of none."""
        losses = self._weighed(self.losses(outputs, target))
        if rows is None:
            return losses.mean()
        return losses.masked_fill(~rows, 0.0).sum() / rows.sum().clamp(min=1)

    @contextmanager
    def weighted(self, weights: Tensor | None) -> Iterator[None]:
        """Within it rows count by `weights[batch]` (whose mean is 1 over all rows) in `loss`, `error`, `calibrate`.

        Args:
            weights: Of the rows of the batch, once for all members; all count alike if None.
        """
        before, self._weights = self._weights, weights
        try:
            yield
        finally:
            self._weights = before

    def _weighed(self, values: Tensor) -> Tensor:
        """Returns values `[batch]`, or `[batch * member]`, times their rows' weights."""
        if self._weights is None:
            return values
        weights = self._weights.to(values)
        return values * (weights.repeat_interleave(len(values) // len(weights)) if len(values) else weights[:0])

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of each row, `[batch]`; smoothed while training."""
        return self.row_losses(outputs, target, self.label_smoothing if self.training else 0.0)

    @abstractmethod
    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Returns the loss of each row, `[batch]`, at this much label smoothing, whatever the mode."""

    def calibrate(self, outputs: Tensor, target: Tensor) -> None:
        """Sets the temperature to the most probable one, by these rows, which must not be learned from.

        Its logarithm has a Cauchy prior of scale 0.1: what some ten rows ask for by chance moves it hardly, and what a
        few nats speak for is followed. On fewer than a hundred rows the temperature of the smallest loss is worse than
        none. Targets are smoothed as Platt's are, by 2 / (rows + 2): else few rows that are all right would ask for
        certainty.
        """
        best = math.log(self._best_temperature(outputs, target))
        steps = [best * i / 40 for i in range(41)]  # between 1 and the best one; the prior has two hills

        def cost(step: float) -> float:
            return len(target) * self._loss_at(step, outputs, target) + math.log1p((step / _PRIOR) ** 2)

        self.temperature.fill_(math.exp(min(steps, key=cost)))

    def _loss_at(self, log_temperature: float, outputs: Tensor, target: Tensor) -> float:
        """Returns the mean loss at a temperature, with Platt's smoothing."""
        outputs = outputs.detach().double().cpu() / math.exp(log_temperature)
        return self._weighed(self.row_losses(outputs, target, 2 / (len(target) + 2))).mean().item()

    def _best_temperature(self, outputs: Tensor, target: Tensor) -> float:
        """Returns the one with the smallest loss, between 1/7 and 12."""
        result = minimize_scalar(
            self._loss_at, args=(outputs, target), bounds=(-2.0, 2.5), method="bounded", options={"xatol": 0.01}
        )
        return math.exp(result.x)

    @abstractmethod
    def pool(self, outputs: Tensor) -> Tensor:
        """`[batch, member, n_outputs]` -> `[batch, n_outputs]`, whose prediction is the mean of the members'."""

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Returns probabilities or values, `[batch, n_outputs]`."""

    @abstractmethod
    def score(self, outputs: Tensor, target: Tensor) -> float:
        """Returns the score that is shown while training, in `unit`; larger is better."""

    def error(self, outputs: Tensor, target: Tensor) -> float:
        """Returns by what an epoch is chosen, smaller is better: the mean squared error of what is predicted.

        For classes and labels this is the Brier score (Brier 1950) at the temperature that suits these rows best:
        proper, finer than accuracy on few rows, and bounded, so that a few overconfident rows do not outweigh the rest
        as they do in the log loss. Without the temperature it would turn where confidence does, though more and more
        rows are right.
        """
        return self.row_errors(outputs, target).mean().item()

    def row_errors(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Returns the errors of rows, `[row]`, whose mean is `error`; all have one temperature."""
        outputs = outputs * (self.temperature / self._best_temperature(outputs, target))
        return self._weighed((self.predict(outputs) - self.encode_target(target)).square().sum(-1))

    def encode_target(self, target: Tensor) -> Tensor:
        """Returns what a perfect prediction would be, `[batch, n_outputs]`."""
        return target


class ClassHead(Head):
    """One class of several: `loss = -log softmax(outputs)[target]`; binary is two classes.

    A target is the number of a class, or floats `[class]`, the probability of each: `loss = -sum_k p_k log softmax_k`.
    """

    link = "softmax"
    unit = "accuracy"

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        goal = target.to(outputs) if target.is_floating_point() else target
        return F.cross_entropy(outputs, goal, reduction="none", label_smoothing=label_smoothing)

    def pool(self, outputs: Tensor) -> Tensor:
        return outputs.log_softmax(-1).logsumexp(1) - math.log(outputs.shape[1])

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs / self.temperature).softmax(-1)

    def encode_target(self, target: Tensor) -> Tensor:
        return target if target.is_floating_point() else F.one_hot(target, self.n_outputs)

    def score(self, outputs: Tensor, target: Tensor) -> float:
        return (outputs.argmax(-1) == self.encode_target(target).argmax(-1)).double().mean().item()


class LabelsHead(Head):
    """Any of several labels: the mean over labels of the binary cross-entropy of `sigmoid(outputs)`."""

    link = "sigmoid"
    unit = "macro F1"

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        soft = target * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, soft, reduction="none").mean(-1)

    def pool(self, outputs: Tensor) -> Tensor:
        return F.logsigmoid(outputs).logsumexp(1) - F.logsigmoid(-outputs).logsumexp(1)

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs / self.temperature).sigmoid()

    def score(self, outputs: Tensor, target: Tensor) -> float:
        said, true = outputs > 0, target > 0.5
        both = (said & true).sum(0).double()
        total = said.sum(0) + true.sum(0)
        return (2 * both / total.clamp(min=1))[total > 0].mean().nan_to_num(0.0).item()


class ValuesHead(Head):
    """One or many numbers, standardised on train: the mean over targets of the squared error.

    With a `quantile` q twice the pinball loss is in its place: `2 max(q (y - p), (q - 1) (y - p))`. `QuantileHead`
    learns several quantiles together.

    Attributes:
        quantile: What is learned; None: the mean. It has no part in a prediction.
    """

    link = "identity"
    unit = "R2"
    quantile: float | None = None

    def _best_temperature(self, outputs: Tensor, target: Tensor) -> float:
        return 1.0

    def begin(self, residuals: Tensor) -> None:
        super().begin(residuals)
        if self.quantile is not None:
            assert isinstance(self.linear.bias, Tensor)
            self.linear.bias.data.copy_(torch.quantile(residuals.double(), self.quantile, dim=0))

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        above = target - outputs
        if self.quantile is None:
            return above.square().mean(-1)
        return 2 * torch.maximum(self.quantile * above, (self.quantile - 1) * above).mean(-1)

    def row_errors(self, outputs: Tensor, target: Tensor) -> Tensor:
        if self.quantile is None:
            return super().row_errors(outputs, target)
        return self._weighed(self.row_losses(outputs, target))

    def pool(self, outputs: Tensor) -> Tensor:
        return outputs.mean(1)

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs

    def score(self, outputs: Tensor, target: Tensor) -> float:
        return _r2(outputs, target)


class QuantileHead(Head):
    """Quantiles q of one or many numbers: the mean over q and targets of `max(q (y - p_q), (q - 1) (y - p_q))`.

    Of each target the head makes three numbers m, a and b; `m - softplus(a)`, m and `m + softplus(b)` are its
    quantiles `QUANTILES`, which so cannot cross. A linear path moves them alike. Where an operator that joins outputs
    has put them into another order, they are sorted (Chernozhukov et al. 2010). The median is predicted.

    Reference:
        Koenker, Bassett, "Regression Quantiles", Econometrica 46 (1978): the loss.
    """

    link = "identity"
    unit = "R2"
    columns = len(QUANTILES)
    quantile_levels = QUANTILES

    def __init__(
        self, width: int, n_outputs: int, *, dropout: float = 0.1, label_smoothing: float = 0.0, n_members: int = 1
    ) -> None:
        super().__init__(width, n_outputs, dropout=dropout, label_smoothing=label_smoothing, n_members=n_members)
        if n_outputs % self.columns:
            raise ConfigError(
                f"QuantileHead: n_outputs must be {self.columns} for each value; got n_outputs={n_outputs}."
            )

    def forward(self, vector: Tensor) -> Tensor:
        middle, low, high = self._by_value(super().forward(vector)).unbind(-1)
        return torch.stack([middle - F.softplus(low), middle, middle + F.softplus(high)], dim=-1).flatten(-2)

    def _by_value(self, outputs: Tensor) -> Tensor:
        return outputs.reshape(*outputs.shape[:-1], self.n_values, self.columns)

    def quantiles(self, outputs: Tensor) -> Tensor:
        return self._by_value(outputs).sort(dim=-1).values

    def add_linear(self, outputs: Tensor, linear: Tensor) -> Tensor:
        return outputs + linear.repeat_interleave(self.columns, dim=-1)

    def begin(self, residuals: Tensor) -> None:
        super().begin(residuals)
        at = torch.tensor(QUANTILES, dtype=torch.float64, device=residuals.device)
        low, middle, high = torch.quantile(residuals.double(), at, dim=0)
        widths = [torch.expm1(w.clamp(min=1e-3)).log() for w in (middle - low, high - middle)]  # softplus turned round
        bias = torch.stack([middle, *widths], dim=-1).flatten()
        assert isinstance(self.linear.bias, Tensor)
        self.linear.bias.data.copy_(bias.expand_as(self.linear.bias))

    def _best_temperature(self, outputs: Tensor, target: Tensor) -> float:
        return 1.0

    def row_losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        q = outputs.new_tensor(QUANTILES)
        above = target[..., None] - self._by_value(outputs)
        return torch.maximum(q * above, (q - 1) * above).mean((-2, -1))

    def row_errors(self, outputs: Tensor, target: Tensor) -> Tensor:
        return self._weighed(self.row_losses(outputs, target))

    def pool(self, outputs: Tensor) -> Tensor:
        return outputs.mean(1)

    def predict(self, outputs: Tensor) -> Tensor:
        return self.quantiles(outputs)[..., self.columns // 2]

    def score(self, outputs: Tensor, target: Tensor) -> float:
        return _r2(self.predict(outputs), target)


def _r2(predicted: Tensor, target: Tensor) -> float:
    """Returns the mean R2 of targets `[row, value]`; NaN where none varies."""
    spread = (target - target.mean(0)).square().mean(0)
    r2 = 1 - (predicted - target).square().mean(0) / spread
    # targets have unit variance in training: below this they are constant here, and R2 is not defined
    return r2.masked_fill(spread < 1e-10, float("nan")).nanmean().item()


HEADS: dict[str, type[Head]] = {
    "binary": ClassHead,
    "multiclass": ClassHead,
    "multilabel": LabelsHead,
    "regression": ValuesHead,
}


def head_for(task: Task, asked: Literal["mean", "quantile"] = "mean") -> type[Head]:
    """Returns the class of head for `task`.

    Args:
        task: What is predicted.
        asked: Of numbers: their mean, or quantiles.

    Raises:
        ConfigError: Quantiles of what is no number.
    """
    if asked == "mean":
        return resolve(task, HEADS, where="profuse", what="task")
    if task != "regression":
        raise ConfigError(
            f"profuse: head must be 'mean' for a {task} target; got head={asked!r}. Only numbers have quantiles."
        )
    return QuantileHead
