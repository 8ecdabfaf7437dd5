"""One trial: a network with the options that the search tries, fitted and judged by validation rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from profuse._cores import limit_threads
from profuse.errors import DataError, ProfuseError
from profuse.metrics import Metric
from profuse.models.options import ModelOptions
from profuse.training.callbacks import Callback
from profuse.training.fitting import Prepared, fit_model
from profuse.training.history import Epoch
from profuse.training.options import TrainOptions
from profuse.tuning.storage import FAILED, Search, is_default, optuna_of

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Under", "run_trial", "worst_first"]

_REPORTS = 20
"""Epochs of a fit, about, that are held against those of other trials."""


@dataclass(eq=False)
class Under:
    """What holds for all trials.

    Attributes:
        parts: Rows that are learned from, and that judge: one a fold; no test rows are among them.
        metric: That judges.
        prune: Whether trials end early.
        seed: Of all trainings.
        until: When they end, by `time.time`; None: never. The default options are tried to the end.
        tell: Is told the number of the part, of an epoch, and how many seconds of this part are left.
    """

    parts: Sequence[Prepared]
    metric: Metric
    prune: bool
    seed: int
    until: float | None = None
    tell: Callable[[int, Epoch, float], None] | None = field(default=None, repr=False)

    def is_late(self) -> bool:
        """Whether the time is up."""
        return self.until is not None and time.time() > self.until


def worst_first(metric: Metric, score: float) -> float:
    """Returns what the search makes small."""
    return -score if metric.higher_is_better else score


class _LateError(Exception):
    """The time is up."""


class _Watch(Callback):
    """Tells the search of epochs, and ends a trial that promises nothing."""

    def __init__(self, trial: Trial, under: Under, part: int, *, stays: bool) -> None:
        self.trial, self.under, self.part, self.stays = trial, under, part, stays
        self.pruned = self.late = False
        self.n_seen = 0

    def on_epoch_end(self, epoch: Epoch) -> None:
        self.n_seen = epoch.epoch
        if self.under.tell is not None:
            self.under.tell(self.part, epoch, self.seconds_left)
        if not self.stays and self.under.is_late():
            self.late = True
            self.stop()
        every = max(1, self.n_epochs // _REPORTS)
        if epoch.epoch % every or not math.isfinite(epoch.valid_error):
            return
        self.trial.report(epoch.valid_error, self.part * self.n_epochs + epoch.epoch)
        if self.under.prune and not self.stays and self.trial.should_prune():
            self.pruned = True
            self.stop()


def run_trial(search: Search, trial: Trial, under: Under) -> None:
    """Fits and judges what the search tries next, and tells the search.

    An error of the fit counts as a trial that failed; one of the default options is raised. A trial that is not done
    when the time is up, or the process is stopped, is queued again.

    Raises:
        ProfuseError: The default options cannot be fitted, or judged.
    """
    optuna = optuna_of()
    state, study, began = optuna.trial.TrialState, search.study, time.perf_counter()
    stays = is_default(trial)
    try:
        values = {part.name: part.suggest(trial) for part in search.space.parts}
        model, train = search.space.options(values)
        train = train.model_copy(update={"seed": under.seed, "refit": False})
        study.pruner = _pruner(under, train)
        scores, n_epochs, pruned = _judged(trial, under, model, train, stays)
    except ProfuseError as error:
        trial.set_user_attr(FAILED, " ".join(str(error).split())[:500])
        study.tell(trial, state=state.FAIL)
        if stays:
            raise
        return
    except BaseException as error:
        study.tell(trial, state=state.FAIL)
        search.queue_again(trial)
        if isinstance(error, _LateError):
            return
        raise
    facts: Mapping[str, object] = {
        "scores": scores, "epochs": n_epochs, "seconds": time.perf_counter() - began
    }  # fmt: skip
    for name, fact in facts.items():
        trial.set_user_attr(name, fact)
    if pruned:
        study.tell(trial, state=state.PRUNED)
    else:
        study.tell(trial, worst_first(under.metric, float(np.mean(scores))))


def _pruner(under: Under, train: TrainOptions) -> object:
    """Returns what compares a trial with earlier ones, once the learning rate has risen and five are done."""
    n_epochs = train.n_epochs(len(under.parts[0].split.train))
    return optuna_of().pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, n_epochs // 5))


def _judged(
    trial: Trial, under: Under, model: ModelOptions, train: TrainOptions, stays: bool
) -> tuple[list[float], list[int], bool]:
    """Returns the score of each part, how many epochs each took, and whether the trial ended early."""
    scores: list[float] = []
    n_epochs: list[int] = []
    with limit_threads(train.threads):
        for i, prepared in enumerate(under.parts):
            watch = _Watch(trial, under, i, stays=stays)
            fitted = fit_model(prepared, model, train, callbacks=[watch], metric=under.metric)
            n_epochs.append(watch.n_seen)
            if watch.late:
                raise _LateError
            if watch.pruned:
                return scores, n_epochs, True
            assert fitted.valid_prediction is not None
            scores.append(_score(under.metric, prepared, fitted.valid_prediction))
    return scores, n_epochs, False


def _score(metric: Metric, prepared: Prepared, prediction: np.ndarray) -> float:
    try:
        value = float(metric(prepared.true(prepared.split.valid), prediction))
    except DataError as error:
        raise DataError(
            f"tune: the metric must be defined on the validation rows; got metric={metric.name!r}: {error} Name "
            "another metric, or divide rows otherwise (split)."
        ) from error
    if not math.isfinite(value):
        raise ProfuseError(f"tune: the score must be finite; got {metric.name}={value} on validation rows.")
    return value
