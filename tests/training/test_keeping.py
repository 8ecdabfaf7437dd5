"""A training that was stopped at any step goes on to the same end, bit for bit; of another training it begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from forks import Forks
from known_answers import make_product

import profuse
from profuse.data.split import Split
from profuse.metrics import metric_named
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.training import fitting
from profuse.training.callbacks import Callback
from profuse.training.fitting import Prepared, fit_model
from profuse.training.keeping import Kept, Moment
from profuse.training.loop import retrain
from profuse.training.options import TrainOptions

OPTIONS = TrainOptions(epochs=3, batch_size=32, refit=False, modality_dropout=0.2, averaging=0.5)
MODELS = {
    "plain": ModelOptions(fusion="concat", width=8, members=1),
    "members": ModelOptions(fusion="concat", width=8, members=3),
    "progressive": ModelOptions(fusion="token_transformer", width=8, members=1, rounds=2),
}


class StoppedError(Exception):
    """In place of a kill."""


class Stopping(Kept):
    """Keeps the training after one step, and stops it there."""

    def __init__(self, path: Path, at: int) -> None:
        self.notes: list[str] = []
        super().__init__(path, on_note=self.notes.append)
        self.stops, self.n_asked = at, 0

    @property
    def due(self) -> bool:
        self.n_asked += 1
        return self.n_asked == self.stops

    def write(self, moment: Moment) -> None:
        super().write(moment)
        raise StoppedError


def prepared(task: str = "binary") -> Prepared:
    rows = np.arange(200)
    return Prepared.make(make_product(task=task), Split(rows[:120], rows[120:160], rows[160:]))


def end(made: NetworkPredictor) -> tuple[torch.Tensor, list[str]]:
    assert made.history is not None
    weights = torch.cat([value.double().flatten() for value in made.model.state_dict().values()])
    return weights, [repr(epoch) for epoch in made.history.epochs]


@pytest.mark.parametrize(("kind", "at"), [
    ("plain", 1), ("plain", 6), *[pytest.param(kind, at, marks=pytest.mark.slow) for kind, at in (
        ("plain", 4), ("plain", 12), ("members", 7), ("progressive", 7),
    )],
])  # fmt: skip
def test_it_goes_on_to_the_same_end(kind: str, at: int, tmp_path: Path) -> None:
    data, path = prepared(), tmp_path / "training"
    wanted = end(fit_model(data, MODELS[kind], OPTIONS))
    with pytest.raises(StoppedError):
        fit_model(data, MODELS[kind], OPTIONS, kept=Stopping(path, at))
    assert path.is_file()
    again = Stopping(path, 10**6)
    ended = end(fit_model(data, MODELS[kind], OPTIONS, kept=again))
    assert again.n_asked == 12 - at  # of four steps in each of three epochs; those before are not done again
    assert torch.equal(ended[0], wanted[0])
    assert ended[1] == wanted[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [1, 5, 9])
def test_it_goes_on_where_a_metric_chooses_the_epoch(at: int, tmp_path: Path) -> None:
    data, metric = prepared("regression"), metric_named("mae", "regression", who="test")
    assert metric is not None
    assert metric.chooses_epochs
    wanted = end(fit_model(data, MODELS["plain"], OPTIONS, metric=metric))
    with pytest.raises(StoppedError):
        fit_model(data, MODELS["plain"], OPTIONS, metric=metric, kept=Stopping(tmp_path / "training", at))
    ended = end(fit_model(data, MODELS["plain"], OPTIONS, metric=metric, kept=Kept(tmp_path / "training")))
    assert torch.equal(ended[0], wanted[0])
    assert ended[1] == wanted[1]


@pytest.mark.parametrize("other", ["options", "model", "rows", "damaged"])
def test_another_training_or_a_damaged_file_begins_anew(other: str, tmp_path: Path) -> None:
    data, path, options, model = prepared(), tmp_path / "training", OPTIONS, MODELS["plain"]
    with pytest.raises(StoppedError):
        fit_model(data, model, options, kept=Stopping(path, 5))
    if other == "options":
        options = OPTIONS.model_copy(update={"learning_rate": 0.003})
    elif other == "model":
        model = MODELS["members"]
    elif other == "rows":
        rows = np.arange(200)
        data = Prepared.make(make_product(), Split(rows[1:120], rows[120:160], rows[160:]))
    else:
        path.write_bytes(path.read_bytes()[:1000])
    again = Stopping(path, 10**6)
    ended = end(fit_model(data, model, options, kept=again))
    assert again.n_asked == 12
    assert [note for note in again.notes if "it begins anew" in note] == again.notes != []
    wanted = end(fit_model(data, model, options))
    assert torch.equal(ended[0], wanted[0])
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_told_and_training_goes_on(tmp_path: Path) -> None:
    data = prepared()
    wanted, notes = end(fit_model(data, MODELS["plain"], OPTIONS)), list[str]()
    (tmp_path / "file").write_text("no folder")
    kept = Kept(tmp_path / "file" / "training", every=0.0, on_note=notes.append)
    assert torch.equal(end(fit_model(data, MODELS["plain"], OPTIONS, kept=kept))[0], wanted[0])
    assert len(notes) == 12
    assert "could not be kept in" in notes[0]


@pytest.mark.parametrize("until_saved", [False, True])
def test_it_is_kept_until_what_follows_is_done(
    until_saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen, again = tmp_path / "training", list[bool](), retrain

    def retrained(*args: Any, **options: Any) -> float:
        seen.append(path.exists())
        return again(*args, **options)

    monkeypatch.setattr(fitting, "retrain", retrained)
    options = OPTIONS.model_copy(update={"refit": True})
    fit_model(prepared(), MODELS["plain"], options, kept=Kept(path, every=0.0, until_saved=until_saved))
    assert seen == [True]
    assert path.exists() == until_saved


def test_seconds_before_it_was_stopped_count(tmp_path: Path) -> None:
    moment = Moment(1, 2, 3, 0.5, 64, judged={"epochs": []}, tensors={"a": torch.ones(2)})
    first = Kept(tmp_path / "training")
    first.open("key")
    first._began -= 100
    first.write(moment)
    second = Kept(tmp_path / "training", on_note=list[str]().append)
    again = second.open("key")
    assert again is not None
    assert (again.epoch, again.n_steps, again.n_done, again.total, again.n_seen) == (1, 2, 3, 0.5, 64)
    assert 100 <= second.seconds < 160
    assert second.open("another key") is None


OFTEN = "from profuse.training.keeping import Kept\nKept.__init__.__kwdefaults__['every'] = 0.05"


@pytest.mark.slow
def test_the_command_that_is_killed_goes_on_and_leaves_the_model_of_one_that_was_not(
    forks: Forks, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1000, 6)), columns=list("abcdef"))
    frame["ill"] = np.where(frame["a"] * frame["b"] + 0.3 * rng.normal(size=1000) > 0, "yes", "no")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    asked = ("fit", "rows.csv", "--target", "ill", "--stream", "--epochs", 12, "--width", 8, "--members", 1)

    kept, fork = tmp_path / ".killed.training", forks.start(*asked, "--out", "killed", cwd=tmp_path, before=OFTEN)
    while not kept.exists() and fork.wait(0.02) is None:
        pass
    fork.kill()
    assert kept.exists()
    for out in ("killed", "whole"):
        fork = forks.run(*asked, "--out", out, cwd=tmp_path, before=OFTEN)
        assert fork.returncode == 0, fork.stderr
        assert ("Goes on in epoch" in fork.stderr) == (out == "killed")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "rows.csv", "whole"]
    killed, whole = (profuse.load_model(tmp_path / out).predict_proba(frame) for out in ("killed", "whole"))
    assert np.array_equal(killed, whole)


def test_a_training_that_diverges_is_not_kept_as_it_would_diverge_again(tmp_path: Path) -> None:
    class Always(Kept):
        due = True

    kept = Always(tmp_path / "training", until_saved=True)
    with pytest.raises(profuse.errors.ProfuseError, match="must stay finite"):
        fit_model(prepared(), MODELS["plain"], OPTIONS.model_copy(update={"learning_rate": 1e30}), kept=kept)
    assert kept.seconds > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [2, 5])
def test_a_training_that_goes_on_tells_what_its_rest_takes(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that ticks with each gradient step; an epoch has 4 of them."""
    clock = [0.0]
    monkeypatch.setattr("profuse.training.loop.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(
        "profuse.training.averaging.WeightAverage.update", lambda self: clock.__setitem__(0, clock[0] + 1.0)
    )
    seconds: list[float] = []

    class First(Callback):
        def on_first_steps(self) -> None:
            seconds.append(self.seconds_left)

    data = prepared()
    with pytest.raises(StoppedError):
        fit_model(data, MODELS["plain"], OPTIONS, kept=Stopping(tmp_path / "training", at))
    fit_model(data, MODELS["plain"], OPTIONS, callbacks=[First()], kept=Kept(tmp_path / "training"))
    assert seconds == [pytest.approx(3 * 4 - at)]
