"""What a search has found, as plain data, and the files that it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from profuse._lookup import resolve
from profuse._machine import Machine
from profuse._saving import write_file
from profuse.comparison.jobs import slug
from profuse.errors import ConfigError
from profuse.metrics import Metric
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions
from profuse.tuning.held_out import HeldOut

__all__ = ["Found", "TrialFacts", "Tuning", "check_found"]


@dataclass(frozen=True)
class TrialFacts:
    """One trial.

    Attributes:
        number: In the order of their beginning.
        state: "complete", "pruned" or "failed".
        options: What was searched.
        score: Of the validation rows; None where it ended early, or failed.
        scores: Of each fold.
        epochs: Of all folds.
        seconds: It took.
        default: Whether it has the default options.
        reason: Why it failed.
    """

    number: int
    state: str
    options: Mapping[str, Any]
    score: float | None = None
    scores: tuple[float, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    default: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What the search of one fusion has found.

    Attributes:
        fusion: Its name, `level:name` or `name`.
        trials: In the order of their beginning.
        best: The number of the best one, by validation rows.
        model: Options of its network, those that were set or found.
        train: Options of its training.
        held_out: What the best and the default options are worth on test rows.
        importance: Share of the spread of scores that each option explains; empty where trials are few.
    """

    fusion: str
    trials: tuple[TrialFacts, ...]
    best: int
    model: ModelOptions
    train: TrainOptions
    held_out: HeldOut
    importance: Mapping[str, float] = field(default_factory=dict)

    def trial(self, number: int) -> TrialFacts:
        """Returns the trial of that number."""
        return next(t for t in self.trials if t.number == number)

    @property
    def default_trial(self) -> TrialFacts | None:
        """The one with the default options; None where it is not done."""
        return next((t for t in self.trials if t.default and t.score is not None), None)

    @property
    def best_score(self) -> float:
        """The best validation score."""
        score = self.trial(self.best).score
        assert score is not None
        return score


@dataclass(frozen=True, eq=False)
class Tuning:
    """What `tune` returns.

    Attributes:
        name: Of the data.
        metric: That counts.
        seed: Of the search.
        valid_size: Fraction of the rows that judged.
        n_splits: Folds of each trial.
        found: By fusion, the best one by validation rows first.
        machine: Where.
        storage: The file that the search is kept in; None where none was named.
        notes: On the data.
    """

    name: str
    metric: Metric
    seed: int
    valid_size: float
    n_splits: int
    found: Mapping[str, Found]
    machine: Machine
    storage: Path | None = None
    notes: Sequence[str] = ()

    @property
    def best(self) -> Found:
        """That of the best fusion, by validation rows."""
        return next(iter(self.found.values()))

    @property
    def seconds(self) -> float:
        """What all trials took."""
        return sum(t.seconds for f in self.found.values() for t in f.trials)

    def options(self, fusion: str | None = None) -> dict[str, Any]:
        """Returns the best options as `profuse fit --config` reads them: what was set or found, by name.

        Args:
            fusion: Of which one; the best if None.

        Raises:
            UnknownNameError: None of that name was searched.
        """
        search = self._of(fusion)
        model = search.model.model_dump(mode="json", exclude_unset=True)
        train = search.train.model_dump(mode="json", exclude_unset=True)
        values = {name: value for name, value in {**model, **train}.items() if value is not None}
        return {**values, "seed": self.seed, "validation_fraction": self.valid_size, "metric": self.metric.name}

    def parameters(self, fusion: str | None = None) -> dict[str, Any]:
        """Returns the best options as `FusionClassifier` and `FusionRegressor` take them.

        Args:
            fusion: Of which one; the best if None.

        Raises:
            UnknownNameError: None of that name was searched.
        """
        values = self.options(fusion)
        values["random_state"] = values.pop("seed")
        return values

    @property
    def frame(self) -> pd.DataFrame:
        """All trials, one a row: the columns of `trials.csv`."""
        rows = []
        for found in self.found.values():
            for trial in found.trials:
                rows.append({
                    "fusion": found.fusion, "trial": trial.number, "state": trial.state,
                    "default": trial.default, "best": trial.number == found.best, "metric": self.metric.name,
                    "validation": trial.score, **trial.options, "epochs": trial.epochs,
                    "seconds": round(trial.seconds, 3), "reason": trial.reason,
                })  # fmt: skip
        return pd.DataFrame(rows)

    def write(self, folder: str | Path) -> None:
        """Writes `best.yaml` (of several fusions one of each too) and `trials.csv` into a folder.

        Raises:
            OSError: Nothing can be written there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / "best.yaml", self.yaml())
        if len(self.found) > 1:
            for name in self.found:
                write_file(folder / f"best-{slug(name)}.yaml", self.yaml(name))
        write_file(folder / "trials.csv", self.frame.to_csv(index=False, lineterminator="\n"))

    def yaml(self, fusion: str | None = None) -> str:
        """Returns the best options as YAML, for `profuse fit --config`; see `options`."""
        search = self._of(fusion)
        versions = ", ".join(f"{name} {version}" for name, version in self.machine.versions.items())
        data = " ".join(self.name.split())
        head = (
            f"# Trial {search.best} of {len(search.trials)} of {search.fusion}, by {self.metric.label} of validation "
            f"rows ({search.best_score:.6g}).\n# Data: {data}. Use: profuse fit DATA --config FILE --out MODEL\n"
            f"# Python {self.machine.python}, {versions}; {self.machine.platform}\n"
        )
        return head + yaml.safe_dump(self.options(fusion), sort_keys=False, allow_unicode=True)

    def _of(self, fusion: str | None) -> Found:
        return self.best if fusion is None else resolve(fusion, self.found, where="Tuning", what="fusion")

    def __repr__(self) -> str:
        n = sum(len(f.trials) for f in self.found.values())
        return f"Tuning({self.name!r}, {n} trials, best {self.best.fusion!r}: {self.best.best_score:.4f})"


def check_found(trials: Sequence[TrialFacts], fusion: str) -> None:
    """Checks that a trial has a score.

    Raises:
        ConfigError: None has.
    """
    if not any(t.score is not None for t in trials):
        raise ConfigError(
            f"tune: at least one trial of {fusion!r} must be done; none is. Give more time (time_limit), or fewer rows."
        )
