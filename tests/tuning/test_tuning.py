"""The search of options: who judges, what is tried, and what a storage stands."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tuning.conftest import MODEL, QUICK, tried

from profuse import load_model
from profuse._saving import claimed
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, DataError, MissingDependencyError, ProfuseError, UnknownNameError
from profuse.metrics import default_metric
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.training.options import TrainOptions
from profuse.tuning import Tuning, tune, tuning_html
from profuse.tuning import trial as trials_module
from profuse.tuning.held_out import HeldOut
from profuse.tuning.space import space_of
from profuse.tuning.storage import Claims, Search, is_default, open_search, open_storage

SEARCHED = ["learning_rate", "weight_decay", "dropout", "label_smoothing", "modality_dropout", "unimodal_loss_weight"]


@pytest.fixture(scope="module")
def tuned(data: Dataset) -> Tuning:
    return tune(data, **QUICK)


def test_the_first_trial_has_the_default_options_and_its_score(tuned: Tuning) -> None:
    first = tuned.best.trials[0]
    assert [t.default for t in tuned.best.trials] == [True, False, False]
    assert list(first.options) == SEARCHED
    assert {n: first.options[n] for n in SEARCHED[:3]} == {
        "learning_rate": 1.5e-3,
        "weight_decay": 0.02,
        "dropout": 0.2,
    }
    assert first.score is not None
    assert tuned.best.best_score >= first.score
    assert len({t.score for t in tuned.best.trials}) > 1
    assert len({t.options["dropout"] for t in tuned.best.trials}) == 3


def test_test_rows_have_no_part_in_the_search(data: Dataset, tuned: Tuning) -> None:
    test = data.split == "test"
    assert isinstance(test, np.ndarray)
    values = data.modalities["x"].values.copy()
    values[test] = 1e6
    assert data.target is not None
    target = np.where(test, 1 - data.target, data.target)
    modalities = {**data.modalities, "x": replace(data.modalities["x"], values=values)}
    spoilt = tune(replace(data, modalities=modalities, target=target), **QUICK)
    assert tried(spoilt) == tried(tuned)
    assert spoilt.best.held_out != tuned.best.held_out
    assert spoilt.best.held_out.n_rows == test.sum()


@pytest.mark.usefixtures("faked")
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(data: Dataset, tuned: Tuning, tmp_path: Path) -> None:
    def stop(event: Any) -> None:
        if event.stage == "epoch" and event.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(data, **QUICK, storage=tmp_path / "s.db", on_event=stop)
    events: list[Any] = []
    again = tune(data, **QUICK, storage=f"sqlite:///{tmp_path / 's.db'}", on_event=events.append)
    assert (events[0].stage, events[0].n_done, events[0].n_total) == ("begin", 2, 3)
    assert [t.options for t in again.best.trials] == [t.options for t in tuned.best.trials]
    assert [p.name for p in tmp_path.iterdir()] == ["s.db"]


@pytest.mark.usefixtures("faked")
def test_trials_that_promise_less_than_the_median_end_early_and_are_never_best(data: Dataset) -> None:
    made = tune(data, **QUICK | {"trials": 10, "seed": 1, "metric": "log_loss"})
    drawn = [t.options["dropout"] for t in made.best.trials]
    kept: list[float] = []
    expected = []
    for dropout in drawn:
        ends = len(kept) >= 5 and dropout > np.median(kept)
        expected.append("pruned" if ends else "complete")
        kept += [] if ends else [dropout]
    states = [t.state for t in made.best.trials]
    assert states == expected
    assert "pruned" in states
    assert list(made.frame["state"]) == states
    assert made.best.trial(made.best.best).options["dropout"] == min(drawn)
    assert made.best.best_score == pytest.approx(-np.log(0.985 - min(drawn)), abs=0.006)
    assert all((t.score is None) == (t.state == "pruned") for t in made.best.trials)
    if len(kept) >= 10:
        assert max(made.best.importance, key=lambda n: made.best.importance[n]) == "dropout"
    held = made.best.held_out
    assert held.low is not None
    assert held.low > 0  # a smaller loss is a gain


@pytest.mark.usefixtures("faked")
def test_the_score_of_folds_is_their_mean_and_another_seed_draws_others(data: Dataset, tuned: Tuning) -> None:
    made = tune(data, **QUICK | {"trials": 2, "splits": 3, "seed": 1})
    assert [len(t.scores) for t in made.best.trials] == [3, 3]
    assert made.best.trials[1].score == pytest.approx(np.mean(made.best.trials[1].scores))
    assert made.best.trials[1].options != tuned.best.trials[1].options


@pytest.mark.usefixtures("faked")
@pytest.mark.parametrize(("limit", "n"), [(None, 2), (0.01, 1)])
def test_fusions_take_turns_and_have_as_many_trials(data: Dataset, limit: float | None, n: int) -> None:
    turns: list[str] = []
    made = tune(
        data, **QUICK | {"trials": 2}, fusions=["gated", "hybrid:concat"], time_limit=limit,
        on_event=lambda event: turns.append(event.fusion) if event.stage == "trial" else None,
    )  # fmt: skip
    assert turns == ["gated", "hybrid:concat"] * n
    assert {name: len(found.trials) for name, found in made.found.items()} == {"gated": n, "hybrid:concat": n}
    assert all(found.trials[0].default for found in made.found.values())
    assert made.options("gated")["fusion"] == "gated"
    assert (made.options("hybrid:concat")["fusion"], made.options("hybrid:concat")["level"]) == ("concat", "hybrid")


@pytest.mark.usefixtures("faked")
def test_what_is_set_is_not_searched(data: Dataset) -> None:
    set_by_user = {"dropout": 0.4, "unimodal_loss_weight": 0.5, **MODEL}
    made = tune(data, trials=2, model=set_by_user, train={"epochs": 1, "learning_rate": 0.01, "modality_dropout": 0.0})
    assert [list(t.options) for t in made.best.trials] == 2 * [["weight_decay", "label_smoothing"]]
    assert (made.options()["dropout"], made.parameters()["learning_rate"]) == (0.4, 0.01)


@pytest.mark.usefixtures("faked", "failing")
def test_a_trial_that_fails_counts_and_default_options_that_fail_are_told(data: Dataset) -> None:
    made = tune(data, **QUICK)
    assert [t.state for t in made.best.trials] == ["complete", "failed", "failed"]
    assert "finite" in made.best.trials[1].reason
    with pytest.raises(ProfuseError, match="finite"):
        tune(data, trials=1, model=MODEL, train={"epochs": 1, "learning_rate": 0.5})


@pytest.mark.usefixtures("faked")
def test_a_trial_that_ends_early_is_not_fitted_to_the_other_folds() -> None:
    part: Any = SimpleNamespace(split=SimpleNamespace(valid=np.arange(4)), true=lambda index: index % 2)
    under = trials_module.Under([part, part], default_metric("binary"), prune=True, seed=0)
    tried = trials_module.Tried(ModelOptions(dropout=0.2), TrainOptions(), stays=False)
    asked: list[int] = []

    def report(step: int, error: float) -> bool:
        asked.append(step)
        return step == 2

    outcome = trials_module.judge(tried, under, report)
    assert (outcome.pruned, outcome.epochs, outcome.scores, asked) == (True, (2,), (), [1, 2])
    assert trials_module.judge(tried, under, lambda step, error: False).epochs == (2, 2)


def test_trials_of_dead_processes_are_queued_again_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    search = begun(path)
    search.study.ask().set_user_attr("worker", "dead00")
    _asked(search, 0.22).set_user_attr("worker", "lives0")
    _asked(search, 0.33)  # by a process that died before it signed it
    (tmp_path / f".s.db.{'a' * 12}.lock").touch()
    over, held = threading.Event(), threading.Event()

    def live() -> None:
        with claimed(tmp_path / "s.db.lives0"):
            held.set()
            over.wait(30)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert held.wait(30)
        with Claims.held(path) as claims:
            claims.clear_dead(search)
            claims.clear_dead(search)
            states = [(t.state.name, is_default(t), t.params.get("dropout")) for t in search.trials]
            assert states[:3] == [("FAIL", True, None), ("RUNNING", False, 0.22), ("FAIL", False, 0.33)]
            assert states[3:] == [("WAITING", True, None), ("WAITING", False, None)]
            assert not (tmp_path / f".s.db.{'a' * 12}.lock").exists()
            again = claims.next_of(search, 2, 0)
            assert again is not None
            assert {part.name: part.suggest(again) for part in search.space.parts} == search.space.default
            assert claims.next_of(search, 2, 0) is None  # as many as were asked for are under way
    finally:
        over.set()
        thread.join()


def begun(path: Path, **facts: str) -> Search:
    space = space_of(ModelOptions(**MODEL), TrainOptions(), modalities=["x", "z"], task="binary", n_rows=48)
    return open_search(open_storage(path), path, "gated", {"data": "a", **facts}, space)


def _asked(search: Search, dropout: float) -> Any:
    search.study.enqueue_trial({**search.space.default, "dropout": dropout})
    trial = search.study.ask()
    for part in search.space.parts:
        part.suggest(trial)
    return trial


def test_what_a_storage_holds_must_be_this_search(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    search = begun(path)
    with pytest.raises(ConfigError, match="holds one of 'gated' with another data and seed. Name another storage"):
        begun(path, data="b", seed="1")
    trial = search.study.ask()
    values = {part.name: part.suggest(trial) for part in search.space.parts}
    search.study.tell(trial, 1.0)
    begun(path)
    search.space.options(values)
    for wrong, told in (
        ({"dropout": 7.0}, "dropout=7.0"),
        ({"epochs": 3}, "epochs=3"),
        ({"dropout": "0.1"}, "dropout='0"),
    ):
        with pytest.raises(ConfigError, match=f"must have the options that are searched; got {told}"):
            search.space.options({**values, **wrong})
    with pytest.raises(ConfigError, match="got no dropout"):
        search.space.options({n: v for n, v in values.items() if n != "dropout"})


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"fusions": ["gatd"]}, UnknownNameError, "tune: fusion must be a known name; got fusion='gatd'. Did you mean"),
        ({"fusions": ["hybird:concat"]}, UnknownNameError, "level='hybird'. Known: raw"),
        ({"metric": "acuracy"}, UnknownNameError, "Did you mean 'accuracy'"),
        ({"metric": "mae"}, ConfigError, "mae"),
        ({"trails": 3, "trials": 0}, TypeError, "trails"),
        ({"trials": 0}, ConfigError, "tune: trials must be greater than or equal to 1; got trials=0"),
        ({"model": {"fusion": "gated"}}, ConfigError, "leave the fusion to fusions"),
        ({"train": {"seed": 1}}, ConfigError, "train.seed=1: use seed"),
        ({"storage": "postgresql://x/y"}, ConfigError, "a file or sqlite:///FILE"),
        ({"n_jobs": 0}, ConfigError, "n_jobs must be at least 1"),
    ],
)
def test_faults_are_told(data: Dataset, asked: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as told:
        tune(data, **asked)
    assert message in str(told.value)


def test_a_file_that_is_no_search_is_told(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("no database " * 100)
    with pytest.raises(DataError, match="s.db must be a search that 'profuse tune' keeps; .* Name another file"):
        tune(data, **QUICK, storage=tmp_path / "s.db")


def test_without_optuna_it_is_told_what_to_install(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"searching options \(tune\).*pip install 'profuse\[sweep\]'"):
        tune(data)


def test_a_page_holds_no_markup_of_the_data(tuned: Tuning) -> None:
    page = tuning_html(replace(tuned, name="<b>x</b>"))
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<script" not in page


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    x, note = rng.normal(size=120), rng.integers(0, 2, 120)
    y = np.where(x + note + 0.5 * rng.normal(size=120) > 0.5, "ill", "well")
    words = np.array(["calm and quiet night", "pain in the left arm"])[note]
    pd.DataFrame({"x": x, "note": [f"{w} {i}" for i, w in enumerate(words)], "y": y}).to_csv(
        folder / "t.csv", index=False
    )
    return folder / "t.csv"


LINE = ("-t", "y", "--epochs", "1", "--width", "8", "--members", "1", "--rounds", "1")


@pytest.mark.slow
def test_what_the_command_finds_is_what_fit_trains(table: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from profuse.cli import app

    def run(*args: object) -> Any:
        return CliRunner().invoke(app, [str(a) for a in args])

    out = tmp_path / "tuned"
    done = run("tune", table, *LINE, "--trials", 3, "--fusion", "gated", "--out", out)
    assert done.exit_code == 0, done.output
    assert "[3/3] gated, trial 2: validation" in done.stderr
    assert "Test rows (24), AUROC: default options" in done.stdout
    assert sorted(p.name for p in out.iterdir()) == ["best.yaml", "trials.csv", "trials.db", "tune.html"]
    told = pd.read_csv(out / "trials.csv")
    best = told[told["best"]].iloc[0]
    assert best["validation"] == told["validation"].max()
    options = yaml.safe_load((out / "best.yaml").read_text(encoding="utf-8"))
    fitted = run("fit", table, "-t", "y", "--config", out / "best.yaml", "--out", tmp_path / "model")
    assert fitted.exit_code == 0, fitted.output
    model = load_model(tmp_path / "model")
    assert isinstance(model, NetworkPredictor)
    kept = {**model.model_options.model_dump(), **model.train_options.model_dump()}
    known = {name: value for name, value in options.items() if name in kept}
    assert len(known) == len(options) - 2  # but for the validation fraction and the metric
    assert {name: kept[name] for name in known} == known
    assert kept["learning_rate"] == best["learning_rate"]
    wins = run("fit", table, "-t", "y", "--config", out / "best.yaml", "--dropout", 0.3, "--out", tmp_path / "other")
    assert wins.exit_code == 0, wins.output
    other = load_model(tmp_path / "other")
    assert isinstance(other, NetworkPredictor)
    assert (other.model_options.dropout, other.model_options.fusion) == (0.3, "gated")
    bad = tmp_path / "bad.yaml"
    bad.write_text("learning_rat: 1\nwidth: 1\n", encoding="utf-8")
    refused = run("fit", table, "-t", "y", "--config", bad, "--out", tmp_path / "none")
    assert refused.exit_code == 2
    assert "'learning_rat' is no option (did you mean 'learning_rate'?)" in refused.stderr
    assert "width must be greater" in refused.stderr


@pytest.mark.slow
def test_processes_share_a_storage_and_one_that_is_killed_costs_no_trial(table: Path, tmp_path: Path) -> None:
    storage = tmp_path / "shared.db"
    asked: dict[str, Any] = {"trials": 4, "model": MODEL, "train": {"epochs": 1}, "storage": str(storage)}
    code = (
        "import os, signal\n"
        "from profuse.tuning import tune\n"
        "def kill(event):\n"
        "    if event.stage == 'epoch' and event.number == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"tune({str(table)!r}, 'y', on_event=kill, **{asked!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    made = tune(str(table), "y", **asked, n_jobs=2)
    assert {t.state for t in made.best.trials} == {"complete"}
    assert [t.number for t in made.best.trials] == [0, 2, 3, 4]  # the killed one is tried again under another number
    assert len({t.options["learning_rate"] for t in made.best.trials}) == 4
    assert sum(t.default for t in made.best.trials) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shared.db"]


@pytest.mark.parametrize(
    ("held", "best", "said"),
    [
        (HeldOut(default=0.5, best=0.6, low=0.02, high=0.2, n_rows=9), 1, "Tuning gains 0.100 of AUROC on test rows"),
        (HeldOut(default=0.5, best=0.6, low=-0.02, high=0.2, n_rows=9), 1, "That tuning helps is not shown"),
        (HeldOut(note="there are none"), 1, "What tuning is worth is not known"),
        (HeldOut(default=0.5, best=0.5, n_rows=9), 0, "No trial was better than the default options"),
    ],
)
def test_the_page_is_headed_by_what_test_rows_say(tuned: Tuning, held: HeldOut, best: int, said: str) -> None:
    (name,) = tuned.found
    found = replace(tuned.found[name], held_out=held, best=best)
    page = tuning_html(replace(tuned, found={name: found}))
    assert f"<h1>{said}</h1>" in page
