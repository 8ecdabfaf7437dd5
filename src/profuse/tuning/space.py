"""What is searched: a few options of the network and of its training, each with its range.

| option | values | where |
|---|---|---|
| `learning_rate` | 0.0003 to 0.008, by its logarithm | always |
| `weight_decay` | 0.001 to 0.3, by its logarithm | always |
| `dropout` | 0 to 0.5 | always |
| `width` | 32, 64 or 128 | always |
| `label_smoothing` | 0 to 0.2 | classes and labels |
| `modality_dropout` | 0 to 0.3 | two modalities or more |
| `unimodal_loss_weight` | 0 to 1 | two modalities or more |
| `members` | the default or 1; where the default is 1, 4 | operators that take several |
| `rounds` | 1 or 2 | two modalities or more, and an operator that is not of the decision level |

An option that is set is not searched. All others have their default within their range, so that the first trial, which
has the default options, is one of the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profuse._options import checked
from profuse.errors import ConfigError
from profuse.fusion import fusion
from profuse.models.options import ModelOptions
from profuse.schema import Task
from profuse.training.options import TrainOptions

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Choice", "Range", "Space", "space_of"]

Value = float | int | None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`."""

    name: str
    low: float
    high: float
    log: bool = False

    def holds(self, value: Any) -> bool:
        """Whether it is one of them."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def suggest(self, trial: Trial) -> Value:
        """Returns what the search tries."""
        return float(trial.suggest_float(self.name, self.low, self.high, log=self.log))


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    name: str
    values: tuple[int | None, ...]

    def holds(self, value: Any) -> bool:
        """Whether it is one of them."""
        return not isinstance(value, bool) and value in self.values

    def suggest(self, trial: Trial) -> Value:
        """Returns what the search tries."""
        chosen: int | None = trial.suggest_categorical(self.name, self.values)
        return chosen


@dataclass(frozen=True)
class Space:
    """What is searched of one fusion.

    Attributes:
        parts: One an option.
        model: What all trials share.
        train: How all trials are trained.
    """

    parts: tuple[Range | Choice, ...]
    model: ModelOptions
    train: TrainOptions

    @property
    def default(self) -> dict[str, Value]:
        """The options of the first trial."""
        return {part.name: getattr(self._of(part.name), part.name) for part in self.parts}

    def _of(self, name: str) -> ModelOptions | TrainOptions:
        return self.model if name in ModelOptions.model_fields else self.train

    def options(self, values: Mapping[str, Any]) -> tuple[ModelOptions, TrainOptions]:
        """Returns the options of a network and of its training with `values` in place of theirs.

        Args:
            values: By the names of all parts, as a trial has them.

        Raises:
            ConfigError: Others than are searched, or out of their range.
        """
        parts = {part.name: part for part in self.parts}
        wrong = sorted(set(parts) ^ set(values)) or [n for n, part in parts.items() if not part.holds(values[n])]
        if wrong:
            got = ", ".join(f"{name}={values[name]!r}" if name in values else f"no {name}" for name in wrong)
            raise ConfigError(
                f"tune: trials of the storage must have the options that are searched; got {got}. Name another storage."
            )
        both = {
            kind: checked(kind, {**base.model_dump(exclude_unset=True), **_told(values, base)}, where="tune")
            for kind, base in ((ModelOptions, self.model), (TrainOptions, self.train))
        }
        return both[ModelOptions], both[TrainOptions]  # type: ignore[return-value]

    def facts(self) -> dict[str, str]:
        """Returns what the search is of, in words that a storage keeps."""
        return {
            "space": repr(self.parts),
            "model": self.model.model_dump_json(),
            "train": self.train.model_dump_json(),
        }


def _told(values: Mapping[str, Any], base: ModelOptions | TrainOptions) -> dict[str, Any]:
    """Returns those of the values that are of `base` and differ from it: a default is left for what it follows from."""
    return {n: v for n, v in values.items() if n in type(base).model_fields and v != getattr(base, n)}


def space_of(model: ModelOptions, train: TrainOptions, *, modalities: Sequence[str], task: Task, n_rows: int) -> Space:
    """Returns what is searched of a fusion; see the module.

    Args:
        model: What all trials share, the fusion included.
        train: How all trials are trained.
        modalities: Of the data.
        task: What is predicted.
        n_rows: Training rows.
    """
    chosen = model.chosen(len(modalities), task)
    operator = fusion(chosen.fusion or "concat")
    several = len(modalities) > 1
    takes_members = operator.members != "one" and operator.n_remembered == 0
    parts: list[Range | Choice] = [
        Range("learning_rate", 3e-4, 8e-3, log=True),
        Range("weight_decay", 1e-3, 0.3, log=True),
        Range("dropout", 0.0, 0.5),
        Choice("width", (32, 64, 128)),
    ]
    if task != "regression":
        parts.append(Range("label_smoothing", 0.0, 0.2))
    if several:
        parts += [Range("modality_dropout", 0.0, 0.3), Range("unimodal_loss_weight", 0.0, 1.0)]
    if takes_members:
        parts.append(Choice("members", (None, 4 if chosen.n_members(n_rows) == 1 else 1)))
    if several and operator.level != "decision":
        parts.append(Choice("rounds", (1, 2)))
    set_already = model.model_fields_set | train.model_fields_set
    return Space(tuple(part for part in parts if part.name not in set_already), model, train)
