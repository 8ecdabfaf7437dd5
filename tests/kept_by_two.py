"""Trainings that are stopped and go on, by processes that tests start: functions that leave what each process got."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_two_processes import data, with_
from streamed_by_two import SCHEMA, STREAM
from streamed_by_two import TRAIN as STREAMED

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split
from profuse.errors import ProfuseError
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.streaming.fit import fit_streamed
from profuse.training.averaging import WeightAverage
from profuse.training.fitting import Prepared, fit_model
from profuse.training.keeper import Keeper
from profuse.training.keeping import Kept, Moment
from profuse.training.options import ProcessOptions, TrainOptions
from profuse.training.world import processes

RANDOM = {"dropout": 0.3}, {"modality_dropout": 0.3, "averaging": 0.3}  # all that is drawn anew in each step
STEPS = 12  # three epochs of four


def series() -> Prepared:
    """Series, whose encoder knows the mean and variance of what a process has seen."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(132, 20, 2)).cumsum(1)
    y = (x[:, 10, 0] * x[:, 15, 1] > 0).astype(int)
    made = Dataset("series", {"a": ModalityData("series", x, np.arange(132) % 7 > 0)}, y, "binary")
    return Prepared.make(made, Split(np.arange(101), np.arange(101, 132), np.arange(0)))


CASES: dict[str, tuple[Callable[[], Prepared], ModelOptions, TrainOptions]] = {}
for _name, _made in {
    "vectors": with_(*RANDOM),
    "series": with_({"dropout": 0.3}, {"averaging": 0.3}),
    "without dropout": with_(train={"modality_dropout": 0.3}),
}.items():
    CASES[_name] = (series if _name == "series" else data, _made[1], _made[2])


class Every(Kept):
    """Keeps the training after each step that is named."""

    def __init__(self, path: Path, steps: tuple[int, ...]) -> None:
        self.notes: list[str] = []
        super().__init__(path, on_note=self.notes.append)
        self.steps, self.n_asked = steps, 0

    @property
    def due(self) -> bool:
        self.n_asked += 1
        return self.n_asked in self.steps


class StoppedError(Exception):
    """In place of a kill."""


@contextmanager
def watched(after_step: Callable[[int], None] = lambda n: None, *, stops: bool = False) -> Iterator[list[int]]:
    """Gives a list of the steps that are made, and stops the training once it was kept."""
    steps: list[int] = []
    update, write = WeightAverage.update, Keeper.write

    def counted(average: WeightAverage) -> None:
        update(average)
        steps.append(len(steps) + 1)
        after_step(len(steps))

    def stopped(keeper: Keeper, moment: Moment, model: Any) -> None:
        write(keeper, moment, model)
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "update", counted)
        if stops:
            patch.setattr(Keeper, "write", stopped)
        yield steps


def end(made: NetworkPredictor, steps: list[int], notes: list[str] | None = None) -> dict[str, Any]:
    """What a fit comes to."""
    assert made.history is not None
    curve = [[e.train_loss, e.valid_loss, e.valid_error] for e in made.history.epochs]
    weights = torch.cat([x.flatten().double() for x in made.model.state_dict().values()]).tolist()
    return {"curve": curve, "weights": weights, "n_steps": len(steps), "notes": notes or []}


def leave(folder: Path, name: str, what: Any) -> None:
    (folder / f"{name}{os.environ.get('RANK', '0')}.json").write_text(json.dumps(what))


def stop_and_go_on(folder: Path, name: str, *moments: tuple[int, ...], strategy: Any = "ddp") -> None:
    """Does a training whole, and then stops it after each of some numbers of steps, and has it go on."""
    make, model, train = CASES[name]
    got: dict[str, Any] = {}
    with processes(ProcessOptions(strategy=strategy), device="cpu") as these:
        prepared = make()
        with watched() as steps:
            got["whole"] = end(fit_model(prepared, model, train), steps)
        for at in moments:
            path = folder / "training"
            for n in at:  # that it makes before it is stopped, and then stopped again
                with watched(stops=True), suppress(StoppedError):
                    fit_model(prepared, model, train, kept=Every(path, (n,)))
                these.meet()
            again = Every(path, ())
            with watched() as steps:
                got[str(sum(at))] = end(fit_model(prepared, model, train, kept=again), steps, again.notes)
            these.meet()
            got[str(sum(at))]["left"] = path.exists()
    leave(folder, f"{name} ", got)


def fit_killed(folder: Path, name: str, kept: tuple[int, ...], kills: dict[int, int], *, writing: bool = False) -> None:
    """A fit that is kept after the steps `kept`, and in which process `r` kills itself after its step `kills[r]`.

    If `writing` it does so in the next write after it, where all is written and nothing has taken its place.
    """
    rank = int(os.environ.get("RANK", "0"))

    def die(*given: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def after_step(n: int) -> None:
        if n == kills.get(rank):
            if not writing:
                die()
            Path.replace = die  # type: ignore[assignment,method-assign]

    with suppress(ProfuseError), processes(device="cpu"), watched(after_step):
        fit(folder, name, Every(folder / "training", kept))


def fit(folder: Path, name: str, kept: Kept | None) -> NetworkPredictor:
    if name == "streamed":
        stream = STREAM.model_copy(update={"scratch": folder})
        train = STREAMED.model_copy(update=RANDOM[1])
        model = CASES["vectors"][1]
        return fit_streamed(
            folder / "rows.csv", "y", schema=SCHEMA, model=model, train=train, stream=stream, checkpoint=kept
        )[0]
    make, model, train = CASES[name]
    return fit_model(make(), model, train, kept=kept)


def fit_again(folder: Path, name: str, strategy: Any = "ddp") -> None:
    """The same fit to its end, and then one that nobody has stopped."""
    kept, got = Every(folder / "training", ()), {}
    with processes(ProcessOptions(strategy=strategy), device="cpu"):
        with watched() as steps:
            got["again"] = end(fit(folder, name, kept), steps, kept.notes)
        with watched() as steps:
            got["whole"] = end(fit(folder, name, None), steps)
    leave(folder, "again ", got)


def follow_rules(folder: Path) -> None:
    """What the file of the first process decides, whatever the second one has; and what a full disk does."""
    make, model, train = CASES["vectors"]
    got: dict[str, Any] = {}
    with processes(device="cpu") as these:
        prepared, own = make(), folder / f"machine {these.rank}"
        own.mkdir()

        def stop(path: Path) -> None:
            with watched(stops=True), suppress(StoppedError):
                fit_model(prepared, model, train, kept=Every(path, (6,)))
            these.meet()

        def go_on(name: str, kept: Kept | None, train: TrainOptions = train) -> None:
            with watched() as steps:
                made = fit_model(prepared, model, train, kept=kept)
            got[name] = end(made, steps, getattr(kept, "notes", []))
            these.meet()

        go_on("whole", None)
        stop(own / "training")
        got["files after a stop"] = sorted(path.name for path in own.iterdir())
        go_on("the first alone has a file", Every(own / "training", ()))

        stop(folder / "training")
        if these.first:
            (folder / "training").rename(folder / "machine 1" / "training")
        these.meet()
        go_on("the second alone has a file", Every(own / "training", ()))

        stop(folder / "training")
        go_on("the first is given none", Every(folder / "training", ()) if not these.first else None)
        go_on("other options", Every(folder / "training", ()), train.model_copy(update={"learning_rate": 0.02}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("profuse.training.keeping.write_file", full)
            go_on("a full disk", Every(folder / "training", (3, 6)))
    leave(folder, "rules ", got)


def be_restarted(folder: Path) -> None:
    """What processes do that torchrun starts a second time: its store has all that the first ones have said."""
    n = os.environ["TORCHELASTIC_RESTART_COUNT"]
    with processes(device="cpu") as these:
        told = these.from_first(n)
        these.meet()
        if n == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        these.meet()
    leave(folder, "restarted ", told)


def full(*given: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
