"""One trial: a network with the options that the search tries, fitted and judged by validation rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from profuse._cores import limit_threads
from profuse.cluster.pool import LostError
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

__all__ = [
    "Outcome",
    "Tried",
    "Under",
    "begin_trial",
    "give_back",
    "judge",
    "run_trial",
    "settle",
    "settling",
    "stops",
    "worst_first",
]

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


@dataclass(frozen=True)
class Tried:
    """What a trial tries.

    Attributes:
        model: Options of the network.
        train: Options of its training.
        stays: Whether it is tried to the end, whatever it promises: the default options.
    """

    model: ModelOptions
    train: TrainOptions
    stays: bool


@dataclass(frozen=True)
class Outcome:
    """What has come of a trial.

    Attributes:
        scores: Of each part that was judged.
        epochs: Of each part.
        seconds: It took.
        pruned: Whether it ended early, as it promised nothing.
        late: Whether it ended as the time was up.
    """

    scores: tuple[float, ...]
    epochs: tuple[int, ...]
    seconds: float
    pruned: bool = False
    late: bool = False


Report = Callable[[int, float], bool]
"""Is told a step of a trial and its validation error, and returns whether the trial ends here."""


class _LateError(Exception):
    """The time is up."""


class _Watch(Callback):
    """Tells the search of epochs, and ends a trial that promises nothing."""

    def __init__(self, report: Report, under: Under, part: int, *, stays: bool) -> None:
        self.report, self.under, self.part, self.stays = report, under, part, stays
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
        if self.report(self.part * self.n_epochs + epoch.epoch, epoch.valid_error):
            self.pruned = True
            self.stop()


def run_trial(search: Search, trial: Trial, under: Under) -> None:
    """Fits and judges what the search tries next, and tells the search; see `settling`."""
    with settling(search, trial):
        tried = begin_trial(search, trial, under)
        outcome = judge(tried, under, lambda step, error: stops(search, trial, under, tried, step, error))
        settle(search, trial, outcome, under.metric)


def begin_trial(search: Search, trial: Trial, under: Under) -> Tried:
    """Returns what the search tries next."""
    values = {part.name: part.suggest(trial) for part in search.space.parts}
    model, train = search.space.options(values)
    return Tried(model, train.model_copy(update={"seed": under.seed, "refit": False}), is_default(trial))


def stops(search: Search, trial: Trial, under: Under, tried: Tried, step: int, error: float | None) -> bool:
    """Keeps the validation error of a step of a trial (None: it is kept), and returns whether it promises nothing."""
    if error is not None:
        trial.report(error, step)
    search.study.pruner = _pruner(under, tried.train)
    return under.prune and not tried.stays and bool(trial.should_prune())


def settle(search: Search, trial: Trial, outcome: Outcome, metric: Metric) -> None:
    """Tells the search what has come of a trial; within `settling`."""
    if outcome.late:
        raise _LateError
    facts: Mapping[str, object] = {
        "scores": outcome.scores, "epochs": outcome.epochs, "seconds": outcome.seconds
    }  # fmt: skip
    for name, fact in facts.items():
        trial.set_user_attr(name, fact)
    if outcome.pruned:
        search.study.tell(trial, state=optuna_of().trial.TrialState.PRUNED)
    else:
        search.study.tell(trial, worst_first(metric, float(np.mean(outcome.scores))))


@contextmanager
def settling(search: Search, trial: Trial) -> Iterator[None]:
    """Tells the search of a trial that comes to nothing.

    An error of the fit counts as a trial that failed; one of the default options is raised. A trial that is not done
    when the time is up, or the process is stopped, is queued again.

    Raises:
        ProfuseError: The default options cannot be fitted, or judged.
    """
    failed = optuna_of().trial.TrialState.FAIL
    try:
        yield
    except LostError:
        give_back(search, trial)
        raise
    except ProfuseError as error:
        trial.set_user_attr(FAILED, " ".join(str(error).split())[:500])
        search.study.tell(trial, state=failed)
        if is_default(trial):
            raise
    except BaseException as error:
        give_back(search, trial)
        if not isinstance(error, _LateError):
            raise


def give_back(search: Search, trial: Trial) -> None:
    """Has a trial that came to nothing tried again."""
    search.study.tell(trial, state=optuna_of().trial.TrialState.FAIL)
    search.queue_again(trial)


def _pruner(under: Under, train: TrainOptions) -> object:
    """Returns what compares a trial with earlier ones, once the learning rate has risen and five are done."""
    n_epochs = train.n_epochs(len(under.parts[0].split.train))
    return optuna_of().pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, n_epochs // 5))


def judge(tried: Tried, under: Under, report: Report) -> Outcome:
    """Fits the network of a trial to each part, and scores it."""
    scores: list[float] = []
    n_epochs: list[int] = []
    began, pruned, late = time.perf_counter(), False, False
    with limit_threads(tried.train.threads):
        for i, prepared in enumerate(under.parts):
            watch = _Watch(report, under, i, stays=tried.stays)
            fitted = fit_model(prepared, tried.model, tried.train, callbacks=[watch], metric=under.metric)
            n_epochs.append(watch.n_seen)
            pruned, late = watch.pruned, watch.late
            if pruned or late:
                break
            assert fitted.valid_prediction is not None
            scores.append(_score(under.metric, prepared, fitted.valid_prediction))
    return Outcome(tuple(scores), tuple(n_epochs), time.perf_counter() - began, pruned, late)


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
