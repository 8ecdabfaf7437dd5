"""What a comparison will take, measured before its first fit; and how it is made smaller to end within a time limit."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profuse._cores import limit_threads
from profuse._files import read_source
from profuse._saving import write_file
from profuse._workers import begin, outputs_of, packed
from profuse.comparison.methods import Method, methods_asked
from profuse.comparison.results import Skipped
from profuse.comparison.runner import Runner
from profuse.comparison.running import Event, Run, prepare_seeds
from profuse.comparison.shares import curve_expected, shares_for
from profuse.comparison.time_left import TimeLeft
from profuse.data.dataset import Dataset
from profuse.data.wording import tell_values
from profuse.errors import DataError, ProfuseError
from profuse.portfolio.options import PortfolioOptions
from profuse.training.callbacks import Callback
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

if TYPE_CHECKING:
    from profuse.comparison.options import CompareOptions

__all__ = ["expected_seconds", "limit_of", "made_smaller", "plan", "tell_late", "with_portfolio", "without_each"]

_KEPT = 0.9  # of a time limit, which fits may take: estimates are no promises
_PORTFOLIO = 0.4  # of it, for portfolios
_FEWEST_EPOCHS = 5
_USUAL_SECONDS, _USUAL_ROWS = 600.0, 1_500
_WORTH_TIMING = 10  # epochs: of fewer the first steps tell little that fits would not tell as soon


class _Measured(BaseModel):
    """What `plan.json` holds."""

    model_config = ConfigDict(extra="forbid")

    key: str
    method: str
    seconds: float = Field(gt=0)  # of all epochs
    again: float = Field(ge=0)
    epochs: int = Field(ge=1)

    def fit_seconds(self, options: CompareOptions) -> float:
        """Returns what a fit takes with these epochs, of which it is likely not to need all, learned anew or not."""
        again = 0.0 if options.train.refit is False else self.again
        n_epochs = options.train.likely_epochs(options.train.epochs or self.epochs, then=again)
        return self.seconds * n_epochs / self.epochs


def plan(
    run: Run,
    dataset: Dataset,
    digest: str,
    options: CompareOptions,
    runner: Runner,
    tell: Callable[[Event], None],
) -> CompareOptions:
    """Makes the comparison smaller where it would take too long, as the first steps of the default network tell.

    What was measured is kept in the folder of the fits, so that the same call, made again, plans the same and goes on.

    Args:
        run: Is told what a fit is expected to take, how long portfolios may take, what is compared, and what is noted.
        dataset: What is learned from.
        digest: Of it.
        options: What is asked for.
        runner: What does the fits.
        tell: Told when data are prepared.

    Returns:
        The options that are followed.
    """
    if isinstance(options.time_limit, float):
        run.portfolio_seconds = _PORTFOLIO * _KEPT * options.time_limit / options.seeds
    measured = _measured(run, dataset, digest, options, runner.n_local, tell)
    if measured is None:
        return options.model_copy(update={"portfolio": "none"}) if options.portfolio == "auto" else options

    def methods(made: CompareOptions) -> list[Method]:
        return methods_asked(made, list(dataset.modalities), dataset.task)[0]

    shares = shares_for(dataset, options)

    def expected(made: CompareOptions) -> float:
        return expected_seconds(
            methods(made), made, measured.method, measured.fit_seconds(made), runner.n_jobs, shares, n_rows=len(dataset)
        )

    plain = methods(options.model_copy(update={"fusions": ()}))
    limit = limit_of(options, len(dataset), len(run.methods) / max(1, len(plain)))
    made, notes = made_smaller(options, limit, measured.epochs, expected)
    if options.portfolio == "auto":
        made, run.portfolio_seconds = with_portfolio(made, math.inf if limit is None else _KEPT * limit, expected)
        if made.portfolio == "none":
            reason = "there was no time for it; --portfolio default, or a longer --time-limit, makes it a row"
            run.skipped.append(Skipped(method="portfolio", reason=reason))
    run.methods, run.expected = methods(made), {measured.method: measured.fit_seconds(made)}
    run.notes += notes
    n_fits = _n_fits(run.methods, made, shares_for(dataset, made))
    for note in notes:
        tell(Event("plan", 0, n_fits, said=note))
    return made


def with_portfolio(
    options: CompareOptions, allowed: float, expected: Callable[[CompareOptions], float]
) -> tuple[CompareOptions, float | None]:
    """Returns options with the portfolio of `fit` as a row, if that fits in, and how long it may take at each seed.

    Args:
        options: Of the rest.
        allowed: Seconds that all may take.
        expected: Seconds that options take; a portfolio is counted where they have no time limit.
    """
    rest = allowed - expected(options)
    asked = options.model_copy(update={"portfolio": "default"})
    unlimited = {"time_limit": "none"}
    more = expected(asked.model_copy(update=unlimited)) - expected(options.model_copy(update=unlimited))
    if more > rest:
        return options.model_copy(update={"portfolio": "none"}), None
    return asked, None if math.isinf(rest) else rest / options.seeds


def limit_of(options: CompareOptions, n_rows: int, more: float) -> float | None:
    """Returns the seconds that the comparison may take; None: any.

    Args:
        options: What is asked for. Where they name no limit it is 10 minutes up to 1,500 rows, and more in proportion.
        n_rows: Of the data.
        more: By how much there are more methods than usual: who asks for more has time for them.
    """
    if isinstance(options.time_limit, float):
        return options.time_limit
    if options.time_limit == "none":
        return None
    return _USUAL_SECONDS * max(1.0, n_rows / _USUAL_ROWS) * max(1.0, more) * options.trials


def _measured(
    run: Run, dataset: Dataset, digest: str, options: CompareOptions, n_jobs: int, tell: Callable[[Event], None]
) -> _Measured | None:
    """Returns what one fit of the default network takes; None where there is none, or it fails."""
    method = next((m for m in run.methods if m.default), None)
    if method is None:  # it cannot be fitted to these data
        return None
    decides = [
        digest,
        options.seeds,
        *(getattr(options, name).model_dump(mode="json") for name in ("split", "model", "train")),
    ]
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    path = run.work / "plan.json"
    if (kept := _kept(path, key)) is not None:
        return kept
    n_rows = len(dataset)
    if not isinstance(options.time_limit, float) and options.train.n_epochs(n_rows) < _WORTH_TIMING:
        return None
    parts, total = packed() if n_jobs > 1 else b"", _n_fits(run.methods, options, shares_for(dataset, options))
    prepare_seeds(run, [(0, 1.0)], parts, dataset, options, n_jobs, lambda: tell(Event("prepare", 0, total)))
    task = run.scratch / "seed0.pickle", method, options.train, os.getpid(), parts
    with outputs_of(_time, [task], min(n_jobs, 2)) as outputs:  # in a process of its own, if fits are
        seconds, again, epochs = next(iter(outputs))
    if not seconds:
        return None
    made = _Measured(key=key, method=method.name, seconds=options.trials * seconds, again=again, epochs=epochs)
    write_file(path, made.model_dump_json().encode())
    return made


def tell_late(run: Run, options: CompareOptions) -> None:
    """Tells which fits were left out for lack of time."""
    if not run.late or not isinstance(options.time_limit, float):
        return
    some = sorted({name for name, _ in run.late if run.found.get(name)})
    over = f"the time limit of {_words(options.time_limit)} was over before"
    missing = dict.fromkeys(name for name, _ in run.late if name not in some)
    run.skipped += [Skipped(method=name, reason=f"{over} it began") for name in missing]
    if some:
        seeds = sorted({seed for name, seed in run.late if name in some})
        run.notes.append(
            f"{over.capitalize()} all was fitted: {tell_values(some)} {'lacks' if len(some) == 1 else 'lack'} "
            f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}."
        )
    run.late = []


def expected_seconds(
    methods: list[Method],
    options: CompareOptions,
    method: str,
    seconds: float,
    n_jobs: int,
    shares: Sequence[float] = (),
    *,
    n_rows: int = 1_000,
) -> float:
    """Returns the seconds of all fits, where one of `method`, the default network, takes `seconds`."""
    several = [m for m in methods if m.portfolio is None or options.time_limit == "none"]  # it has time of its own
    fits = [(m, seed) for seed in range(options.seeds) for m in several]
    later = [*without_each(methods, options), *curve_expected(methods, options, shares)]
    portfolios = PortfolioOptions().n_folds(n_rows), math.inf
    return TimeLeft(fits, n_jobs, later, {method: seconds}, portfolios).seconds() or 0.0


def _n_fits(methods: Sequence[Method], options: CompareOptions, shares: Sequence[float]) -> int:
    later = len(without_each(methods, options)) + len(curve_expected(methods, options, shares))
    return options.seeds * len(methods) + later


def without_each(methods: Sequence[Method], options: CompareOptions) -> list[Method]:
    """Returns the default fusion without each modality, once each: as many, and as long, as those of the best one."""
    default = next((m for m in methods if m.default and m.role in ("baseline", "fusion")), None)
    return [default.without(n) for n in default.modalities] if options.retrain_without and default is not None else []


def made_smaller(
    options: CompareOptions, limit: float | None, epochs: int, expected: Callable[[CompareOptions], float]
) -> tuple[CompareOptions, list[str]]:
    """Returns options by which the comparison is expected to end in time, and what is other in them.

    In this order, as far as it takes: no fits without each modality; none anew on training and validation rows; two
    seeds; fewer epochs, 40 at least; no progressive variants; no curve over rows; one seed; fewer epochs, 20 at least,
    and 5 where the limit is the user's own. Where it is not, what the user has set stays.

    Args:
        options: What is asked for.
        limit: Seconds; None: any.
        epochs: Of each network.
        expected: Seconds that options take.
    """
    if limit is None:
        return options, []
    own = isinstance(options.time_limit, float)
    allowed = _KEPT * limit * (1 - _PORTFOLIO if own and options.portfolio not in ("auto", "none") else 1.0)
    fixed = frozenset() if own else options.model_fields_set
    fixed_in_training = frozenset() if own else options.train.model_fields_set
    made, fewest, n_epochs = options, float(epochs), epochs
    for changes, floor in [({}, epochs), *_LEVELS, *([({}, _FEWEST_EPOCHS)] if own else [])]:
        made = _changed(made, {name: value for name, value in changes.items() if name not in fixed})
        if changes == _NO_REFIT and "refit" not in fixed_in_training:
            made = made.model_copy(update={"train": made.train.model_copy(update={"refit": False})})
        fewest = float(epochs) if {"epochs", "max_steps"} & fixed_in_training else min(epochs, floor)
        n_epochs = _epochs_within(allowed, made, epochs, expected)
        if n_epochs >= fewest:
            break
    n_epochs = max(n_epochs, int(fewest))
    if n_epochs < epochs:
        made = _with_epochs(made, n_epochs)
    notes, seconds = _told(options, made, epochs, limit), expected(made)
    if seconds > 1.1 * allowed:
        rest = f"Fits that have not begun when {_words(limit)} are over are left out. " if own else ""
        notes.append(
            f"It is expected to take {_words(seconds)} all the same. {rest}Compare fewer fusions, or set fewer epochs."
        )
    return made, notes


def _epochs_within(
    allowed: float, options: CompareOptions, epochs: int, expected: Callable[[CompareOptions], float]
) -> int:
    """Returns how many epochs may be had."""
    if expected(options) <= allowed:
        return epochs
    return bisect_right(range(1, epochs), allowed, key=lambda n: expected(_with_epochs(options, n)))


def _with_epochs(options: CompareOptions, n: int) -> CompareOptions:
    return options.model_copy(update={"train": options.train.model_copy(update={"epochs": n})})


_NO_REFIT: dict[str, Any] = {"refit": False}
_LEVELS: list[tuple[dict[str, Any], float]] = [
    ({"retrain_without": False}, math.inf),
    (_NO_REFIT, math.inf),
    ({"seeds": 2}, 40),
    ({"rounds": ()}, 40),
    ({"curve": False}, 40),
    ({"seeds": 1}, 20),
]
"""What is made smaller, one after the other, and the fewest epochs that are accepted by then."""


def _changed(options: CompareOptions, changes: Mapping[str, Any]) -> CompareOptions:
    """Returns the same with those of the changes that make it smaller."""
    smaller = {k: v for k, v in changes.items() if k != "refit" and not (k == "seeds" and v >= options.seeds)}
    return options.model_copy(update=smaller)


def _told(asked: CompareOptions, made: CompareOptions, epochs: int, limit: float) -> list[str]:
    pairs = {
        "retrain_without": (asked.retrain_without, made.retrain_without),
        "refit": (asked.train.refit, made.train.refit),
        "seeds": (asked.seeds, made.seeds),
        "rounds": (",".join(map(str, asked.rounds)) or "none", ",".join(map(str, made.rounds)) or "none"),
        "curve": (asked.curve, made.curve),
        "epochs": (asked.train.epochs or epochs, made.train.epochs or epochs),
    }
    changed = [
        f"{name} {now} instead of {'automatic' if then is None else then}"
        for name, (then, now) in pairs.items()
        if then != now
    ]
    usual = "" if isinstance(asked.time_limit, float) else ", the usual time for so many rows"
    more = "" if isinstance(asked.time_limit, float) else " --time-limit sets another time, or none."
    return [f"To end within {_words(limit)}{usual}: {', '.join(changed)}.{more}"] if changed else []


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _kept(path: Path, key: str) -> _Measured | None:
    """Returns what an earlier run of the same comparison has measured."""
    if not path.exists():
        return None
    try:
        measured = _Measured.model_validate_json(read_source(path))
    except (DataError, ValidationError):  # damaged: it is measured anew
        return None
    return measured if measured.key == key else None


class _FirstSteps(Callback):
    """Ends a training soon; what all of it would take is told by its first steps."""

    seconds = 0.0

    def on_first_steps(self) -> None:
        self.seconds = self.seconds_left
        self.stop()


def _time(path: Path, method: Method, train: TrainOptions, parent: int, parts: bytes) -> tuple[float, float, int]:
    """Returns the seconds of one training (0 where it fails), how much as long one anew takes, and its epochs."""
    begin(parent, parts)
    prepared: Prepared = pickle.loads(path.read_bytes())  # a temporary file of this very run: never a user's
    n_learn, n_known = len(prepared.split.train), len(prepared.split.train) + len(prepared.split.valid)
    again = n_known / n_learn if train.refits(n_known, by_time=prepared.dataset.times is not None) else 0.0
    watch, once = _FirstSteps(), train.model_copy(update={"refit": False})
    assert method.model is not None
    with limit_threads(train.threads):
        try:
            fit_model(prepared, method.model, once, modalities=method.modalities, callbacks=[watch])
        except ProfuseError:  # the comparison will tell of it
            return 0.0, again, train.n_epochs(n_learn)
    return watch.seconds, again, train.n_epochs(n_learn)
