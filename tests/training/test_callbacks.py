"""Callbacks: they watch, log, save and stop; an error in one is told with its name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_answers import make_product
from safetensors.torch import load_file, save_file

from profuse import FusionClassifier
from profuse.data.split import Split
from profuse.errors import ConfigError, ProfuseError
from profuse.imputation import Imputer
from profuse.models.options import ModelOptions
from profuse.retrieval import Retriever
from profuse.training.callbacks import Callback
from profuse.training.fitting import Prepared, fit_model
from profuse.training.history import Epoch, History
from profuse.training.options import TrainOptions

MODEL = ModelOptions(fusion="concat", width=8, members=1)
OPTIONS = TrainOptions(epochs=4, batch_size=40, refit=False, device="cpu")


@cache
def prepared() -> Prepared:
    rows = np.arange(200)
    data = Prepared.make(make_product(), Split(rows[:120], rows[120:160], rows[160:]))
    return data.choose(MODEL, data.inputs)


def fit(callbacks: Any, **options: Any) -> Any:
    return fit_model(prepared(), ModelOptions(**{**MODEL.model_dump(), **options}), OPTIONS, callbacks=callbacks)


class Notes(Callback):
    """Keeps all that it is called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_fit_start(self) -> None:
        self.calls.append(("start", self.n_epochs, type(self.model).__name__))

    def on_epoch_end(self, epoch: Epoch) -> None:
        self.calls.append(epoch)

    def on_fit_end(self, history: History) -> None:
        self.calls.append(history)


def test_each_hook_is_called_once_in_its_place() -> None:
    notes = Notes()
    trained = fit([notes])
    assert notes.calls[0] == ("start", 4, "FusionModel")
    assert notes.calls[1:-1] == list(trained.history.epochs[1:])  # epoch 0 is the untrained model
    assert notes.calls[-1] == trained.history


@pytest.mark.parametrize("fusion", ["concat", pytest.param("stacking", marks=pytest.mark.slow)])
def test_watching_changes_no_number_and_folds_are_not_watched(fusion: str) -> None:
    notes = Notes()
    functions: list[Epoch] = []
    watched, alone = fit([notes, functions.append], fusion=fusion), fit((), fusion=fusion)
    pairs = zip(watched.model.parameters(), alone.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert functions == notes.calls[1:-1]
    assert [epoch.epoch for epoch in functions] == [1, 2, 3, 4]


def test_one_that_stops_ends_training_after_its_epoch_with_the_best_weights_so_far() -> None:
    class Stops(Callback):
        def on_epoch_end(self, epoch: Epoch) -> None:
            if epoch.epoch == 2:
                self.stop()

    whole, stopper = fit(()).history, Stops()
    for _ in range(2):  # it can be used again
        history = fit([lambda epoch: None, stopper]).history
        assert history.epochs == whole.epochs[:3]  # epoch 0 is the untrained model
        assert history.best == min(history.epochs, key=lambda epoch: epoch.valid_error)


def test_one_that_saves_finds_the_weights_of_each_epoch(tmp_path: Path) -> None:
    class Weights(Callback):
        def on_epoch_end(self, epoch: Epoch) -> None:
            save_file(self.model.state_dict(), tmp_path / f"{epoch.epoch}.safetensors")

    without = {name: {"linear_path": False} for name in "ab"}  # beside a linear path no epoch may be kept
    trained = fit([Weights()], encoder_options=without)
    saved = {n: load_file(tmp_path / f"{n}.safetensors") for n in range(1, 5)}
    for name, value in trained.model.named_parameters():
        assert torch.equal(saved[trained.history.best_epoch][name], value)
    assert not torch.equal(saved[1]["head.linear.weight"], saved[4]["head.linear.weight"])


@pytest.mark.parametrize("hook", ["on_fit_start", "on_epoch_end", "on_fit_end"])
def test_an_error_in_one_ends_the_fit_and_names_it(hook: str) -> None:
    class Careless(Callback):
        pass

    def fails(self: Any, *values: Any) -> None:
        raise ZeroDivisionError("nothing to divide by")

    setattr(Careless, hook, fails)
    said = f"train: callback .*Careless must not fail; got ZeroDivisionError in {hook}: nothing to divide by"
    with pytest.raises(ProfuseError, match=said) as caught:
        fit([Notes(), Careless()])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_error_in_a_function_names_the_function() -> None:
    def careless(epoch: Epoch) -> None:
        raise KeyError("score")

    with pytest.raises(ProfuseError, match="callback .*careless must not fail; got KeyError in on_epoch_end: 'score'"):
        fit([careless])


def test_what_a_user_interrupts_is_interrupted() -> None:
    def interrupts(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit([interrupts])


ROWS = {"left": np.random.default_rng(0).normal(size=(60, 4)), "right": np.random.default_rng(1).normal(size=(60, 4))}
TABLE = pd.DataFrame(
    {"a": np.arange(60.0) % 7, "b": ["x", "y", "z"] * 20, "t": np.where(np.arange(60) % 5, np.arange(60) % 11, np.nan)}
)
SCHEMA = {"modalities": {"left": {"columns": ["t"]}, "right": {"columns": ["a", "b"]}}}
DOORS: dict[str, Any] = {
    "FusionClassifier": lambda callbacks: FusionClassifier(fusion="concat", width=8, epochs=2).fit(
        ROWS, np.arange(60) % 2, callbacks=callbacks
    ),
    "Retriever": lambda callbacks: Retriever(method="learned", width=8, epochs=2).fit(ROWS, callbacks=callbacks),
    "Imputer": lambda callbacks: Imputer("left", method="regression", epochs=2, schema=SCHEMA).fit_fill(
        TABLE, callbacks=callbacks
    ),
}


@pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")
@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_callbacks_and_functions(door: str) -> None:
    notes = Notes()
    epochs: list[Epoch] = []
    DOORS[door]([notes, epochs.append])
    assert notes.calls[0][:2] == ("start", 2)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert notes.calls[1:3] == epochs
    assert notes.model.unit


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        ([3], "callbacks must be a list of Callback objects, or of functions of an Epoch; got 3"),
        ([Notes], r"got <class .*Notes'>\. Call the class: Notes\(\)\."),
        (print, r"callbacks must be a list; got callbacks=<built-in function print>. Write callbacks=\[...\]"),
    ],
)
def test_what_is_no_callback_is_told_before_anything_is_read(door: str, callbacks: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"{door}: .*{said}" if said.startswith("callbacks") else said):
        DOORS[door](callbacks)


@pytest.mark.parametrize(("refit", "most"), [(False, 4.0), (True, 4 + 4 * 160 / 120)])
def test_the_time_left_is_that_of_the_epochs_to_come_as_they_were_measured(
    refit: bool, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that ticks with each gradient step: an epoch of 3 steps lasts 3 seconds."""
    clock = [0.0]
    monkeypatch.setattr("profuse.training.loop.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(
        "profuse.training.averaging.WeightAverage.update", lambda self: clock.__setitem__(0, clock[0] + 1.0)
    )

    class Clock(Callback):
        def on_fit_start(self) -> None:
            self.left = [self.seconds_left]

        def on_first_steps(self) -> None:
            assert (self.n_epochs, self.n_steps) == (4, 3)
            self.left.append(self.seconds_left)
            self.likely = [self.seconds_likely]

        def on_epoch_end(self, epoch: Epoch) -> None:
            self.left.append(self.seconds_left)
            self.likely.append(self.seconds_likely)

        def on_fit_end(self, history: History) -> None:
            self.then = self.seconds_left

    watch = Clock()
    fit_model(prepared(), MODEL, OPTIONS.model_copy(update={"refit": refit}), callbacks=[watch])
    assert np.isnan(watch.left[0])
    expected = [3 * most, *(3 * (most - epoch) for epoch in range(1, 5))]
    np.testing.assert_allclose(watch.left[1:], expected)
    if not refit:  # of 4 epochs none is likely to be left out
        np.testing.assert_allclose(watch.likely, watch.left[1:])
    assert all(a <= b for a, b in zip(watch.likely, watch.left[1:], strict=True))
    assert watch.then == pytest.approx(3 * (most - 4))  # what training anew takes at most


@pytest.mark.parametrize(
    ("patience", "n_epochs", "first"),
    [(None, 100, 20), (None, 30, 13), (None, 5, 4), (None, 1, 1), (3, 100, 13), (40, 100, 50), (40, 30, 30)],
)
def test_a_training_is_likely_to_stop_where_it_waits_for_the_best_epoch_so_far(
    patience: int | None, n_epochs: int, first: int
) -> None:
    options = TrainOptions(patience=patience)
    likely = [options.likely_epochs(n_epochs, best, best) for best in range(n_epochs + 1)]
    assert likely == sorted(likely)
    assert likely[0] == first
    for best, n in enumerate(likely):
        assert n == min(n_epochs, max(first, best + options.waits(best, n_epochs)))
        again = max(1, best, n - options.waits(0, n_epochs))  # up to the best epoch, if it stopped there
        assert options.likely_epochs(n_epochs, best, best, then=1.25) == pytest.approx(n + 1.25 * again)
    assert options.likely_epochs(n_epochs, 0, n_epochs) == n_epochs
