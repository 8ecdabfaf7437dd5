"""What a comparison will take, measured before its first fit; and how it is made smaller to end within a time limit."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profuse._cores import limit_threads
from profuse._files import read_source
from profuse._saving import write_file
from profuse._workers import begin, outputs_of, packed
from profuse.comparison.methods import Method, methods_asked
from profuse.comparison.results import Skipped
from profuse.comparison.running import Event, Run, prepare_seeds
from profuse.comparison.time_left import TimeLeft
from profuse.data.dataset import Dataset
from profuse.data.wording import tell_values
from profuse.errors import DataError, ProfuseError
from profuse.training.callbacks import Callback
from profuse.training.fitting import Prepared, fit_model
from profuse.training.history import Epoch
from profuse.training.options import TrainOptions

if TYPE_CHECKING:
    from profuse.comparison.options import CompareOptions

__all__ = ["expected_seconds", "made_smaller", "plan", "tell_late", "without_each"]

_KEPT = 0.9  # of a time limit, which fits may take: estimates are no promises
_PORTFOLIO = 0.4  # of it, for portfolios
_ENOUGH_EPOCHS, _FEWEST_EPOCHS = 20, 5


class _Measured(BaseModel):
    """What `plan.json` holds."""

    model_config = ConfigDict(extra="forbid")

    key: str
    method: str
    seconds: float = Field(gt=0)
    epochs: int = Field(ge=1)


def plan(
    run: Run,
    dataset: Dataset,
    digest: str,
    options: CompareOptions,
    n_jobs: int,
    tell: Callable[[Event], None],
) -> CompareOptions:
    """Makes the comparison smaller where it would take too long, as one epoch of the default network tells.

    What was measured is kept in the folder of the fits, so that the same call, made again, plans the same and goes on.

    Args:
        run: Is told what a fit is expected to take (or how that is measured, where there is no time limit), how long
            portfolios may take, what is compared, and what is noted.
        dataset: What is learned from.
        digest: Of it.
        options: What is asked for.
        n_jobs: Fits at a time.
        tell: Told when data are prepared.

    Returns:
        The options that are followed.
    """
    measure = partial(_measured, run, dataset, digest, options, n_jobs, tell)

    def expect() -> None:
        if (measured := measure()) is not None:
            run.expected = {measured.method: measured.seconds}

    if options.time_limit is None:
        run.measure = expect
        return options
    run.portfolio_seconds = _PORTFOLIO * _KEPT * options.time_limit / options.seeds
    measured = measure()

    def methods(made: CompareOptions) -> list[Method]:
        return methods_asked(made, list(dataset.modalities), dataset.task)[0]

    def fit_seconds(made: CompareOptions) -> float:
        assert measured is not None
        return measured.seconds * (made.train.epochs or measured.epochs) / measured.epochs

    def expected(made: CompareOptions) -> float:
        assert measured is not None
        return expected_seconds(methods(made), made, measured.method, fit_seconds(made), n_jobs)

    if measured is None:
        return options
    made, notes = made_smaller(options, measured.epochs, expected)
    run.methods, run.expected = methods(made), {measured.method: fit_seconds(made)}
    run.notes += notes
    return made


def _measured(
    run: Run, dataset: Dataset, digest: str, options: CompareOptions, n_jobs: int, tell: Callable[[Event], None]
) -> _Measured | None:
    """Returns what one fit of the default network takes; None where there is none, or it fails."""
    method = next((m for m in run.methods if m.default), None)
    if method is None:  # it cannot be fitted to these data
        return None
    asked = options.model_dump(mode="json")
    key = hashlib.sha256(json.dumps([digest, asked], sort_keys=True).encode()).hexdigest()
    path = run.work / "plan.json"
    if (kept := _kept(path, key)) is not None:
        return kept
    parts, total = packed() if n_jobs > 1 else b"", _n_fits(run.methods, options)
    prepare_seeds(run, range(options.seeds), parts, dataset, options, n_jobs, lambda: tell(Event("prepare", 0, total)))
    task = run.scratch / "seed0.pickle", method, options.train, os.getpid(), parts
    with outputs_of(_time, [task], min(n_jobs, 2)) as outputs:  # in a process of its own, if fits are
        seconds, epochs = next(iter(outputs))
    if not seconds:
        return None
    made = _Measured(key=key, method=method.name, seconds=options.trials * seconds, epochs=epochs)
    write_file(path, made.model_dump_json().encode())
    return made


def tell_late(run: Run, options: CompareOptions) -> None:
    """Tells which fits were left out for lack of time."""
    if not run.late or options.time_limit is None:
        return
    some = sorted({name for name, _ in run.late if run.found.get(name)})
    over = f"the time limit of {_words(options.time_limit)} was over before"
    missing = dict.fromkeys(name for name, _ in run.late if name not in some)
    run.skipped += [Skipped(method=name, reason=f"{over} it began") for name in missing]
    if some:
        seeds = sorted({seed for name, seed in run.late if name in some})
        run.notes.append(
            f"{over.capitalize()} all was fitted: {tell_values(some)} {'lacks' if len(some) == 1 else 'lack'} "
            f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}, and count by the others."
        )
    run.late = []


def expected_seconds(methods: list[Method], options: CompareOptions, method: str, seconds: float, n_jobs: int) -> float:
    """Returns the seconds of all fits, where one of `method`, the default network, takes `seconds`."""
    several = [m for m in methods if m.portfolio is None or options.time_limit is None]  # which has a limit of its own
    fits = [(m, seed) for seed in range(options.seeds) for m in several]
    return TimeLeft(fits, n_jobs, without_each(methods, options), {method: seconds}).seconds() or 0.0


def _n_fits(methods: Sequence[Method], options: CompareOptions) -> int:
    return options.seeds * len(methods) + len(without_each(methods, options))


def without_each(methods: Sequence[Method], options: CompareOptions) -> list[Method]:
    """Returns the default fusion without each modality, once each: as many, and as long, as those of the best one."""
    default = next((m for m in methods if m.default and m.role in ("baseline", "fusion")), None)
    return [default.without(n) for n in default.modalities] if options.retrain_without and default is not None else []


def made_smaller(
    options: CompareOptions, epochs: int, expected: Callable[[CompareOptions], float]
) -> tuple[CompareOptions, list[str]]:
    """Returns options by which the comparison is expected to end within its time limit, and what is other in them.

    In this order, as far as it takes: no fits without each modality, two seeds, fewer epochs (20 at least), one seed,
    no progressive variants, fewer epochs (5 at least).

    Args:
        options: What is asked for.
        epochs: Of each network.
        expected: Seconds that options take.
    """
    limit = options.time_limit
    if limit is None:
        return options, []
    allowed = _KEPT * limit * (1.0 if options.portfolio == "none" else 1 - _PORTFOLIO)
    made, seconds = options, expected(options)
    for change in _changes(options, epochs):
        if seconds <= allowed:
            break
        made = change(made, allowed / seconds)
        seconds = expected(made)
    notes = _told(options, made, epochs, limit)
    if seconds > allowed:
        notes.append(
            f"Even so it is expected to take {_words(seconds)}: fits that have not begun when the time limit of "
            f"{_words(limit)} is over are left out. Compare fewer fusions, or allow more time."
        )
    return made, notes


def _changes(options: CompareOptions, epochs: int) -> Iterator[Callable[[CompareOptions, float], CompareOptions]]:
    def fewer_epochs(fewest: int) -> Callable[[CompareOptions, float], CompareOptions]:
        def change(made: CompareOptions, share: float) -> CompareOptions:
            now = made.train.epochs or epochs
            wanted = min(now, max(fewest, int(now * share)))
            return made if wanted == now else _with(made, train=made.train.model_copy(update={"epochs": wanted}))

        return change

    if options.retrain_without:
        yield lambda made, _: _with(made, retrain_without=False)
    if options.seeds > 2:
        yield lambda made, share: _with(made, seeds=max(2, int(made.seeds * share)))
    yield fewer_epochs(_ENOUGH_EPOCHS)
    if options.seeds > 1:
        yield lambda made, _: _with(made, seeds=1)
    if options.rounds:
        yield lambda made, _: _with(made, rounds=())
    yield fewer_epochs(_FEWEST_EPOCHS)


def _with(options: CompareOptions, **changes: Any) -> CompareOptions:
    return options.model_copy(update=changes)


def _told(asked: CompareOptions, made: CompareOptions, epochs: int, limit: float) -> list[str]:
    pairs = {
        "seeds": (asked.seeds, made.seeds),
        "epochs": (asked.train.epochs or epochs, made.train.epochs or epochs),
        "rounds": (list(asked.rounds), list(made.rounds) or "none"),
        "retrain_without": (asked.retrain_without, made.retrain_without),
    }
    changed = [f"{name} {now} instead of {then}" for name, (then, now) in pairs.items() if _differ(then, now)]
    return [f"To end within {_words(limit)}: {', '.join(changed)}."] if changed else []


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _differ(then: Any, now: Any) -> bool:
    return bool(then != now) and not (then == [] and now == "none")


def _kept(path: Path, key: str) -> _Measured | None:
    """Returns what an earlier run of the same comparison has measured."""
    if not path.exists():
        return None
    try:
        measured = _Measured.model_validate_json(read_source(path))
    except (DataError, ValidationError):  # damaged: it is measured anew
        return None
    return measured if measured.key == key else None


class _FirstEpoch(Callback):
    """Ends a training after its first epoch, of which the rest is told."""

    seconds = 0.0

    def on_fit_start(self) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: Epoch) -> None:
        self.seconds = time.perf_counter() - self._start + self.seconds_left
        self.stop()


def _time(path: Path, method: Method, train: TrainOptions, parent: int, parts: bytes) -> tuple[float, int]:
    """Returns the seconds that one fit takes, by its first epoch, and its epochs; 0 where it fails."""
    begin(parent, parts)
    prepared: Prepared = pickle.loads(path.read_bytes())  # a temporary file of this very run: never a user's
    n_learn, n_known = len(prepared.split.train), len(prepared.split.train) + len(prepared.split.valid)
    again = n_known / n_learn if train.refits(n_known, by_time=prepared.dataset.times is not None) else 0.0
    watch, once = _FirstEpoch(), train.model_copy(update={"refit": False})
    assert method.model is not None
    with limit_threads(train.threads):
        try:
            fit_model(prepared, method.model, once, modalities=method.modalities, callbacks=[watch])
        except ProfuseError:  # the comparison will tell of it
            return 0.0, train.n_epochs(n_learn)
    return watch.seconds * (1 + again), train.n_epochs(n_learn)
