"""What users hang into training: watch, log, save, stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from profuse.errors import ConfigError, ProfuseError
from profuse.models.trainable import Trainable
from profuse.training.history import Epoch, History

__all__ = ["Callback", "Callbacks", "Callers", "as_callbacks"]


class Callback:
    """Called while a model is trained; override what you need.

    It sees the training that chooses the epoch; not that of the folds of stacking, nor that on all rows afterwards.

    Attributes:
        model: The model, on the device where it is trained.
        n_epochs: Epochs, at most.
        n_steps: Gradient steps an epoch.
        seconds_left: Until all training of this fit is over, at most, if the rest goes as what was measured; training
            anew on all rows is counted. NaN before the first steps.
        seconds_likely: The same, if it stops as early as trainings mostly do (`TrainOptions.likely_epochs`).
        seconds_after: The same, if it stops after this epoch: what is learned anew then.

    Example:
        >>> class Until(Callback):
        ...     def __init__(self, score):
        ...         self.score = score
        ...
        ...     def on_epoch_end(self, epoch):
        ...         if epoch.valid_score >= self.score:
        ...             self.stop()
    """

    model: Trainable[Any]
    n_epochs: int
    n_steps: int
    seconds_left: float = math.nan
    seconds_likely: float = math.nan
    seconds_after: float = math.nan
    stopped = False
    """Whether `stop` was called in this training."""

    def on_fit_start(self) -> None:
        """Before the first epoch."""

    def on_first_steps(self) -> None:
        """When the first few steps are made, from which `seconds_left` was measured."""

    def on_epoch_end(self, epoch: Epoch) -> None:
        """After each epoch; `model` has its weights, whether it is the best one or not."""

    def on_fit_end(self, history: History) -> None:
        """When training is over; `model` has the weights of the best epoch, on the CPU. Not where training fails."""

    def stop(self) -> None:
        """Ends training after this epoch; the weights of the best one so far are kept."""
        self.stopped = True


class _Function(Callback):
    """A function that is called after each epoch."""

    def __init__(self, function: Callable[[Epoch], Any]) -> None:
        self.function = function

    def on_epoch_end(self, epoch: Epoch) -> None:
        self.function(epoch)


Callers = Sequence[Callback | Callable[[Epoch], Any]]
"""What users may give: callbacks, and functions that are called after each epoch."""


def as_callbacks(given: Callers, *, who: str) -> tuple[Callback, ...]:
    """Returns them all as callbacks.

    Raises:
        ConfigError: One is neither a callback nor a function.
    """
    each = list(given) if isinstance(given, Iterable) else [given]
    for one in each:
        if isinstance(one, type) or not (isinstance(one, Callback) or callable(one)):
            raise ConfigError(
                f"{who}: callbacks must be a list of Callback objects, or of functions of an Epoch; got {one!r}"
                + (f". Call the class: {one.__name__}()." if isinstance(one, type) else ".")
            )
    if not isinstance(given, Iterable):
        raise ConfigError(f"{who}: callbacks must be a list; got callbacks={given!r}. Write callbacks=[...].")
    return tuple(one if isinstance(one, Callback) else _Function(one) for one in each)


class Callbacks:
    """All callbacks of one training: an error in one of them is told with its name.

    Args:
        callbacks: In the order of the calls.
        model: What is trained.
        n_epochs: Epochs, at most.
        n_steps: Gradient steps an epoch.
    """

    def __init__(self, callbacks: Callers, model: Trainable[Any], n_epochs: int, n_steps: int) -> None:
        self._callbacks = as_callbacks(callbacks, who="train")
        for callback in self._callbacks:
            callback.model, callback.n_epochs, callback.n_steps = model, n_epochs, n_steps
            callback.stopped = False
        self.expect(math.nan, math.nan, math.nan)

    @property
    def stopped(self) -> bool:
        """Whether one of them has called `stop`."""
        return any(callback.stopped for callback in self._callbacks)

    def expect(self, at_most: float, likely: float, after: float) -> None:
        """Tells all how many seconds the rest takes."""
        for callback in self._callbacks:
            callback.seconds_left, callback.seconds_likely, callback.seconds_after = at_most, likely, after

    def call(self, hook: str, *values: Any) -> None:
        """Calls the method `hook` of each.

        Raises:
            ProfuseError: One has failed.
        """
        for callback in self._callbacks:
            try:
                getattr(callback, hook)(*values)
            except Exception as error:
                own = callback.function if isinstance(callback, _Function) else type(callback)
                raise ProfuseError(
                    f"train: callback {getattr(own, '__qualname__', repr(own))} must not fail; got "
                    f"{type(error).__name__} in {hook}: {error}. Correct it, or leave it out."
                ) from error
