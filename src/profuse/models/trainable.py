"""What training asks of a model. Whatever answers it is trained by the one loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion import Fusion
from profuse.tokens import Raw

__all__ = ["Trainable", "Validation"]

O = TypeVar("O")  # noqa: E741  # an output


class Validation(NamedTuple):
    """What validation rows tell of an epoch: a loss; a score, larger is better; an error, the smallest is chosen."""

    loss: float
    score: float
    error: float


class Trainable(nn.Module, ABC, Generic[O]):
    """Batches of rows -> an output; the loss of an output; by what an epoch is chosen.

    A subclass writes `forward`, `loss`, `validate` and `unit`. The loop calls `forward` and `loss` together, in
    training mode, on the chosen device; for `validate` it collects the outputs of all validation rows, made in
    evaluation mode and without gradients.
    """

    @property
    @abstractmethod
    def unit(self) -> str:
        """What the score of `validate` measures."""

    @abstractmethod
    def forward(self, inputs: Mapping[str, Raw]) -> O:
        """Returns the output of a batch."""

    @abstractmethod
    def loss(self, output: O, target: Tensor) -> Tensor:
        """Returns the loss of a batch, a scalar.

        Args:
            output: What `forward` has returned.
            target: The same rows' targets, whatever the model learns from.
        """

    @abstractmethod
    def validate(self, outputs: Sequence[O], target: Tensor) -> Validation:
        """Returns what validation rows tell.

        Args:
            outputs: Of their batches, on the device of the model.
            target: Of all of them, on the CPU.
        """

    def row_errors(self, outputs: Sequence[O], target: Tensor) -> Tensor:
        """Returns of what rows the error of `validate` is the mean, `[row]`; the arguments are those of it.

        Raises:
            ConfigError: It is a mean of no rows.
        """
        raise ConfigError(
            f"{type(self).__name__}: no group of rows can be looked at, as its error is none of rows. Train without "
            "subgroups."
        )

    def weighted(self, weights: Tensor | None) -> AbstractContextManager[None]:
        """Returns a context within which rows count by their `weights[batch]` in `loss` and `validate`.

        Raises:
            ConfigError: There are weights, of which the model knows nothing.
        """
        if weights is not None:
            raise ConfigError(f"{type(self).__name__}: rows must have no weights here; got some. Leave them out.")
        return nullcontext()

    @property
    def n_members(self) -> int:
        """How many models it holds, each of which takes every row."""
        return 1

    @property
    def n_remembered(self) -> int:
        """Training rows, at most, that `remember` is given."""
        return 0

    def remember(self, inputs: Mapping[str, Raw]) -> None:  # most keep nothing
        """Keeps training rows; see `Fusion.remember`."""

    def set_progress(self, progress: float) -> None:
        """Tells all operators in the model how far training is; see `Fusion.progress`."""
        for module in self.modules():
            if isinstance(module, Fusion):
                module.progress = progress
