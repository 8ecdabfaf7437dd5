"""Where a search is kept: an SQLite file that several processes share, and that stands the death of any of them.

Each trial is a row; a process that runs one holds a lock, which ends with it however it ends. A trial whose lock is
free is a dead one: whoever comes next queues its options again. Only numbers, names and texts are read back: no code.
"""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profuse._optional import need
from profuse._saving import claimed
from profuse.errors import ConfigError, DataError
from profuse.tuning.space import Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial

__all__ = [
    "FAILED",
    "Claims",
    "Search",
    "counts",
    "finished",
    "is_default",
    "open_search",
    "open_storage",
    "optuna_of",
    "path_of",
]

_SCHEME = "sqlite:///"
FAILED = "failed"
"""What a trial says of an error that ended it."""
_DEFAULT, _WORKER, _ASKED = "default", "worker", "asked"
_WAIT_SECONDS = 60.0
"""For another process that writes."""
_TOKEN = 12


def optuna_of() -> Any:
    """Returns the package `optuna`, which says nothing but errors.

    Raises:
        MissingDependencyError: It is not installed.
    """
    optuna = need("optuna", "sweep", "searching options (tune)")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def path_of(storage: str | Path) -> Path:
    """Returns the file of a storage: `sqlite:///tune.db`, or a path.

    Raises:
        ConfigError: It is the address of another database.
    """
    text = str(storage)
    if text.startswith(_SCHEME):
        text = text.removeprefix(_SCHEME)
    elif "://" in text:
        raise ConfigError(f"tune: storage must be a file or sqlite:///FILE; got storage={text!r}. Name a file.")
    if not text:
        raise ConfigError(f"tune: storage must name a file; got storage={str(storage)!r}. Use sqlite:///tune.db.")
    return Path(os.path.abspath(text))


def open_storage(path: Path) -> RDBStorage:
    """Returns the storage in the file at `path`, which is made if it is not there.

    Raises:
        DataError: The file is none, or cannot be written.
    """
    optuna = optuna_of()
    try:
        with claimed(path, wait=_WAIT_SECONDS):  # tables are made by one process
            made: RDBStorage = optuna.storages.RDBStorage(
                f"{_SCHEME}{path}", engine_kwargs={"connect_args": {"timeout": _WAIT_SECONDS}}
            )
    except Exception as error:
        if isinstance(error, DataError | OSError) or not _of_database(error):
            raise
        reason = " ".join(str(getattr(error, "orig", error)).split())
        raise DataError(f"tune: {path} must be a search that 'profuse tune' keeps; {reason}. Name another file.") from (
            error
        )
    return made


def _of_database(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("sqlalchemy", "optuna", "sqlite3", "alembic")


@dataclass(frozen=True, eq=False)
class Search:
    """The search of one fusion.

    Attributes:
        name: Of the fusion.
        study: Its trials.
        space: What is searched.
    """

    name: str
    study: Study
    space: Space

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials."""
        trials: list[FrozenTrial] = self.study.get_trials(deepcopy=False)
        return trials

    def queue_again(self, trial: FrozenTrial | Trial) -> None:
        """Has the options of a trial that came to nothing tried again, if it had any."""
        again, marks = (self.space.default, {_DEFAULT: True}) if is_default(trial) else (trial.params, {})
        if again:
            self.study.enqueue_trial(again, user_attrs=marks)


def open_search(storage: RDBStorage, path: Path, name: str, facts: Mapping[str, str], space: Space) -> Search:
    """Returns the search of one fusion: begun with the default options, or as an earlier run left it.

    Args:
        storage: Where it is kept.
        path: The file.
        name: Of the fusion.
        facts: What the search is of: a second run must be of the same.
        space: What is searched.

    Raises:
        ConfigError: The storage holds a search of other data or options.
    """
    optuna = optuna_of()
    asked = {**facts, **space.facts()}
    with claimed(path, wait=_WAIT_SECONDS):
        study: Study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
        before = study.user_attrs.get(_ASKED)
        if before is None and not study.get_trials(deepcopy=False):
            study.enqueue_trial(space.default, user_attrs={_DEFAULT: True})
            study.set_user_attr(_ASKED, json.dumps(asked))
            return Search(name, study, space)
    known = _read(before)
    if differs := sorted(n for n in asked if known.get(n) != asked[n]):
        raise ConfigError(
            f"tune: {path} must hold a search of the same data and options; it holds one of {name!r} with another "
            f"{' and '.join(differs)}. Name another storage (or --out), or ask for the same."
        )
    for trial in study.get_trials(deepcopy=False):
        if finished(trial):
            space.options(trial.params)
    return Search(name, study, space)


def _read(text: Any) -> dict[str, Any]:
    try:
        known = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def finished(trial: FrozenTrial) -> bool:
    """Whether it has a score, or ended early."""
    return trial.state.name in ("COMPLETE", "PRUNED")


def counts(trial: FrozenTrial) -> bool:
    """Whether it is one of the trials that were asked for: all but those that a process gave back, or died with."""
    return trial.state.name != "FAIL" or FAILED in trial.user_attrs


def is_default(trial: FrozenTrial | Trial) -> bool:
    """Whether it has the default options."""
    return bool(trial.user_attrs.get(_DEFAULT))


class Claims:
    """The trials of one process: it holds a lock for as long as it lives.

    Args:
        path: The file of the storage.
        token: Of this process.
    """

    def __init__(self, path: Path, token: str) -> None:
        self._path, self._token = path, token

    @classmethod
    @contextmanager
    def held(cls, path: Path) -> Iterator[Claims]:
        """Holds the lock of this process within it."""
        for left in path.parent.glob(f".{path.name}.{'?' * _TOKEN}.lock"):  # by processes that were killed
            with suppress(DataError), claimed(_of_worker(path, left.name.split(".")[-2])):
                pass
        token = secrets.token_hex(_TOKEN // 2)
        with claimed(_of_worker(path, token)):
            yield cls(path, token)

    def clear_dead(self, search: Search) -> None:
        """Queues again what processes that have died were at."""
        for trial in search.trials:
            if trial.state.name == "RUNNING" and self._is_dead(trial):
                self._give_back(search, trial.number)
        if not _has_default(search):  # a process died just before it queued it
            with claimed(self._path, wait=_WAIT_SECONDS):
                if not _has_default(search):
                    search.study.enqueue_trial(search.space.default, user_attrs={_DEFAULT: True})

    def _is_dead(self, trial: FrozenTrial) -> bool:
        token = trial.user_attrs.get(_WORKER)
        if token == self._token:
            return False
        if not isinstance(token, str) or not token.isalnum():
            return True  # where the storage is locked: who asks for a trial signs it under that lock
        try:
            with claimed(_of_worker(self._path, token)) as sure:
                return sure
        except DataError:  # it lives
            return False

    def _give_back(self, search: Search, number: int) -> None:
        optuna = optuna_of()
        with claimed(self._path, wait=_WAIT_SECONDS):  # of several that see it, one queues it again
            now = next(t for t in search.trials if t.number == number)
            if now.state.name == "RUNNING" and self._is_dead(now):
                search.study.tell(number, state=optuna.trial.TrialState.FAIL)
                search.queue_again(now)

    def next_of(self, search: Search, n_trials: int, seed: int) -> Trial | None:
        """Returns the next trial of the search; None where as many as were asked for are done or under way.

        Args:
            search: Of a fusion.
            n_trials: How many are asked for, of all processes together.
            seed: Of the search: what is tried follows from it and the number of the trial.
        """
        optuna, study = optuna_of(), search.study
        if sum(counts(t) and t.state.name != "WAITING" for t in search.trials) >= n_trials:
            return None
        with claimed(self._path, wait=_WAIT_SECONDS):
            trial: Trial = study.ask()
            trial.set_user_attr(_WORKER, self._token)
        earlier = sum(counts(t) for t in search.trials if t.number < trial.number)
        if earlier >= n_trials:  # another process was quicker
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        mixed = (seed * 1_000_003 + trial.number * 7_919) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arguments that optuna calls experimental
            study.sampler = optuna.samplers.TPESampler(
                seed=mixed, n_startup_trials=max(3, min(10, n_trials // 3)), constant_liar=True
            )
        return trial


def _has_default(search: Search) -> bool:
    return any(is_default(trial) and counts(trial) for trial in search.trials)


def _of_worker(path: Path, token: str) -> Path:
    return path.with_name(f"{path.name}.{token}")
