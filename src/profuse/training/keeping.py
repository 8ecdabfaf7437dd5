"""A training that goes on where it was stopped: its state, written to a file now and then."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from profuse._saving import write_file
from profuse.errors import DataError, ProfuseWarning
from profuse.models.solved import key_of
from profuse.training.averaging import WeightAverage
from profuse.training.sharding import part_like
from profuse.training.world import world

__all__ = ["Kept", "Moment", "key_of_training"]


@dataclass
class Moment:
    """Where in its epochs a training is, and all that its next step depends on.

    Attributes:
        epoch: The epoch that is under way, from 1.
        n_steps: Steps of it that are done.
        n_done: Steps in all.
        total: Sum of the losses of its rows so far.
        n_seen: Those rows.
        seconds: Of training so far.
        judged: What chooses the epoch knows, without its weights.
        tensors: Weights, optimizer, means, random states, the best weights. In a file what each process has of its own
            is `[process, ...]`: see `Keeper`.
    """

    epoch: int
    n_steps: int
    n_done: int
    total: float
    n_seen: int
    seconds: float = 0.0
    judged: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def take(
        self, model: nn.Module, optimizer: Optimizer, average: WeightAverage, *, drawn: Tensor, now: Tensor
    ) -> None:
        """Copies what the next step depends on.

        Args:
            model: In training.
            optimizer: Of its parameters.
            average: Of its weights.
            drawn: The state of the generator of batches before it drew the order of the rows.
            now: And now.
        """
        self.tensors |= {f"model.{name}": value for name, value in model.state_dict().items()}
        for i, one in optimizer.state_dict()["state"].items():
            self.tensors |= {f"optimizer.{i}.{name}": value for name, value in one.items()}
        self.tensors |= {f"mean.{i}": mean for i, mean in enumerate(average.means)}
        self.tensors |= {"drawn": drawn, "now": now}

    def give(self, model: nn.Module, optimizer: Optimizer, schedule: LambdaLR, average: WeightAverage) -> None:
        """Puts model, optimizer, schedule and mean where they were."""
        now = model.state_dict()
        model.load_state_dict({name: part_like(value, now[name]) for name, value in self._of("model.").items()})
        given, learned = optimizer.state_dict(), [p for group in optimizer.param_groups for p in group["params"]]
        for name, value in self._of("optimizer.").items():
            i, _, what = name.partition(".")
            own = part_like(value, learned[int(i)]) if value.ndim else value
            given["state"].setdefault(int(i), {})[what] = own.clone()
        optimizer.load_state_dict(given)
        means = [part_like(self.tensors[f"mean.{i}"], mean) for i, mean in enumerate(average.means)]
        average.restore(means, self.n_done)
        rates = [base * rate(self.n_done) for base, rate in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        counted = {"last_epoch": self.n_done, "_step_count": self.n_done + 1, "_last_lr": rates}
        schedule.load_state_dict(schedule.state_dict() | counted)

    def _of(self, start: str) -> dict[str, Tensor]:
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


class Kept:
    """The file in which a training is kept every `every` seconds; it is gone when the training has ended.

    Args:
        path: Of the file.
        every: Seconds.
        on_found: Called with where a training goes on.
        on_note: Called with what is to be told: that a file is of another training, or cannot be written. A warning by
            default.
        until_saved: Whether the caller ends it, once the model is saved; else it ends with the fit.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        every: float = 60.0,
        on_found: Callable[[Moment], None] = lambda moment: None,
        on_note: Callable[[str], None] | None = None,
        until_saved: bool = False,
    ) -> None:
        self.path, self.every, self.on_found, self.until_saved = Path(path), every, on_found, until_saved
        self.on_note = on_note or (lambda note: warnings.warn(note, ProfuseWarning, stacklevel=4))
        self._key, self._began, self._last, self._before = "", 0.0, 0.0, 0.0

    @classmethod
    def at(cls, checkpoint: str | Path | Kept | None) -> Kept | None:
        """Returns what keeps a training in this file; None where it is not kept."""
        return checkpoint if checkpoint is None or isinstance(checkpoint, Kept) else cls(checkpoint)

    def open(self, key: str) -> Moment | None:
        """Returns where the training of this key was stopped; None if there is none, or it is of another training."""
        self._key, self._began = key, time.perf_counter()
        self._last, found = self._began, None
        try:
            with safe_open(self.path, framework="pt") as file:
                facts = json.loads((file.metadata() or {}).get("moment", "{}"))
                if facts.pop("key", None) == key:
                    found = Moment(**facts, tensors={name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, TypeError):  # none, or no whole one: the training begins anew
            found = None
        self._before = 0.0 if found is None else found.seconds
        if found is not None:
            self.on_found(found)
        elif self.path.exists():
            self.on_note(
                f"The training kept in {self.path} is of other options, rows or versions, or damaged: it begins anew."
            )
        return found

    @property
    def seconds(self) -> float:
        """Of training, those before it was stopped included."""
        return self._before + time.perf_counter() - self._began

    @property
    def is_open(self) -> bool:
        """Whether the training has begun, or goes on."""
        return self._began > 0

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.perf_counter() - self._last >= self.every

    def write(self, moment: Moment) -> None:
        """Writes the file, whole or not at all; where it cannot be written that is told, and training goes on."""
        moment.seconds = self.seconds
        facts = {name: value for name, value in vars(moment).items() if name != "tensors"}
        tensors = {name: value.detach().cpu().clone() for name, value in moment.tensors.items()}
        self._last = time.perf_counter()
        try:
            write_file(self.path, save(tensors, {"moment": json.dumps({**facts, "key": self._key})}))
        except (OSError, DataError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            self.on_note(f"The training could not be kept in {self.path} ({why}); it goes on, and is tried again.")

    def end(self) -> None:
        """Removes the file; of several processes the first one does."""
        if not world().first:
            return
        with suppress(FileNotFoundError, NotADirectoryError):  # it was never written
            self.path.unlink()


def key_of_training(model: nn.Module, words: object, tensors: Mapping[str, Tensor | None]) -> str:
    """Returns a key of an untrained model, with its linear paths, and of what it will learn from."""
    begin = model.state_dict()
    return key_of((words, repr(model), sorted(begin), sorted(tensors)), [*begin.values(), *tensors.values()])
