"""`profuse compare`: one small comparison, its output, going on, and bad input."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from forks import Forks
from rich.console import Console

from profuse.classical import classical, fittable_to
from profuse.cli._progress import LineDisplay, LiveDisplay, display
from profuse.comparison.engine import Event
from profuse.comparison.jobs import slug
from profuse.comparison.results import COLUMNS, Results
from profuse.comparison.summary import summarise

pytestmark = pytest.mark.usefixtures("few_classical")
QUICK = ("--seeds", 1, "--rounds", "none", "--fusions", "mean", "--epochs", 1, "--width", 8, "--jobs", 1)

ON_ALL = tuple(name for name in fittable_to("binary")[0] if classical(name).role == "classical")
N_FITS = 11 + len(ON_ALL)


@pytest.fixture(scope="module")
def compared(run: Any, files: Path, few_classical: None) -> tuple[Any, Path]:
    """A finished comparison and its folder."""
    out = files / "out"
    return run("compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK), out


def test_it_ends_with_a_table_a_verdict_and_the_report(compared: tuple[Any, Path]) -> None:
    done, out = compared
    assert done.exit_code == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"Report: {out / 'report.html'}")
    for method in ("gradient boosting", "hybrid concat (default)", "mean logits", "table alone (classical)", "trivial"):
        assert method in done.stdout
    assert "95 % interval" in done.stdout
    assert "How sure?" in done.stdout


def test_a_named_metric_is_what_table_and_answers_speak_of_and_its_fits_are_those_of_before(
    compared: tuple[Any, Path], run: Any, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared[1], out)
    args = ("compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK)
    done = run(*args, "--metric", "roc_auc")
    assert done.exit_code == 0, done.stderr
    assert "AUROC" in done.stdout.splitlines()[0]
    assert "accuracy" not in done.stdout
    assert "] concat" not in done.stderr
    assert yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))["metric"] == "auroc"
    assert "AUROC" in run("report", out).stdout + (out / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "message"), [("roc_auk", "Did you mean 'roc_auc'"), ("ece", "must tell what each row contributes")]
)
def test_a_metric_that_will_not_do_is_told(name: str, message: str, run: Any, files: Path, tmp_path: Path) -> None:
    args = ("compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", tmp_path / "out", *QUICK)
    done = run(*args, "--metric", name)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_without_a_terminal_progress_is_plain_lines_on_stderr(compared: tuple[Any, Path]) -> None:
    done, _ = compared
    assert "\x1b" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == f"mine: {N_FITS} fits; preparing the data"
    assert sum(line.startswith("[") for line in lines) == N_FITS
    assert lines[-2].startswith(f"[{N_FITS}/{N_FITS}] ")
    assert lines[-1].startswith("mine: all fits are done; ")
    assert "best so far" in lines[-2]


def test_it_leaves_what_the_issue_promises(compared: tuple[Any, Path]) -> None:
    _, out = compared
    for name in ("results.csv", "results.json", "config.yaml", "report.html", "models"):
        assert (out / name).exists()
    frame = pd.read_csv(out / "results.csv")
    assert tuple(frame.columns) == COLUMNS
    assert set(frame.method) >= {"trivial", "table only", "note only", "concat", "mean", "gradient_boosting"}


def test_a_second_run_repeats_no_fit_and_finds_the_same(compared: tuple[Any, Path], run: Any, files: Path) -> None:
    first, out = compared
    before = pd.read_csv(out / "results.csv")
    again = run("compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK)
    assert again.exit_code == 0
    assert not any(line.startswith("[") for line in again.stderr.splitlines())
    assert again.stdout == first.stdout
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), before)


def test_it_goes_on_where_it_stopped_and_equal_seeds_give_equal_scores(
    compared: tuple[Any, Path], run: Any, files: Path, tmp_path: Path
) -> None:
    _, out = compared
    shutil.copytree(out / "work", tmp_path / "out" / "work")
    for folder in (tmp_path / "out" / "work").glob("*-seed*"):
        if not folder.name.startswith(("trivial", "table", "note", *ON_ALL, "mean_logits")):
            shutil.rmtree(folder)
    again = run("compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", tmp_path / "out", *QUICK)
    assert again.exit_code == 0
    assert f"{N_FITS} fits, {N_FITS - 5} of them done before" in again.stderr
    assert sum(line.startswith("[") for line in again.stderr.splitlines()) == 3
    key = ["method", "seed", "split", "metric", "value"]
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out" / "results.csv")[key], pd.read_csv(out / "results.csv")[key]
    )


@pytest.mark.parametrize(("asked", "says"), [("none", "was not asked"), ("note", "Not compared alone")])
def test_single_modalities_are_left_out_on_request_without_a_new_fit(
    compared: tuple[Any, Path], run: Any, files: Path, tmp_path: Path, asked: str, says: str
) -> None:
    out = shutil.copytree(compared[1], tmp_path / "out")
    again = run(
        "compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK, "--singles", asked
    )
    assert again.exit_code == 0, again.stderr
    assert not any(line.startswith("[") for line in again.stderr.splitlines())
    alone = {"table only", "note only"} & set(pd.read_csv(out / "results.csv").method)
    assert alone == ({f"{asked} only"} if asked != "none" else set())
    assert says in (out / "report.html").read_text(encoding="utf-8")


def test_a_single_modality_that_the_data_do_not_have_is_an_error_that_names_those_it_has(run: Any, files: Path) -> None:
    done = run("compare", files / "mine.csv", "--schema", files / "schema.yaml", *QUICK, "--singles", "notes")
    assert done.exit_code == 2
    assert "note" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_resolved_options_can_be_given_back(compared: tuple[Any, Path], run: Any, files: Path) -> None:
    _, out = compared
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert config["model"]["width"] == 8
    again = run(
        "compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, "--config", out / "config.yaml",
        "--jobs", 1,
    )  # fmt: skip
    assert again.exit_code == 0
    assert not any(line.startswith("[") for line in again.stderr.splitlines())


@pytest.mark.parametrize("method", ["fusion", "single", "gradient_boosting", "linear", "trivial"])
def test_the_models_that_are_kept_read_other_tables(
    compared: tuple[Any, Path], run: Any, files: Path, tmp_path: Path, method: str
) -> None:
    _, out = compared
    verdict = summarise(Results.read(out)).verdict
    folder = out / "models" / f"{slug(getattr(verdict, method, None) or method)}-seed0"
    done = run("evaluate", folder, files / "test.csv", "--json")
    assert done.exit_code == 0, done.stderr
    accuracy = json.loads(done.stdout)["metrics"]["accuracy"]
    predicted = run("predict", folder, files / "test.csv", "--out", tmp_path / "answers.csv")
    assert predicted.exit_code == 0, predicted.stderr
    answers = pd.read_csv(tmp_path / "answers.csv")["prediction"]
    assert accuracy == pytest.approx((answers == pd.read_csv(files / "test.csv")["my label"]).mean())


def test_the_report_is_drawn_again(compared: tuple[Any, Path], run: Any) -> None:
    _, out = compared
    (out / "report.html").unlink()
    done = run("report", out)
    assert done.exit_code == 0
    assert done.stdout == f"Report: {out / 'report.html'}\n"
    assert (out / "report.html").stat().st_size > 10_000


def test_another_comparisons_folder_is_not_overwritten(compared: tuple[Any, Path], run: Any, files: Path) -> None:
    _, out = compared
    done = run("compare", files / "test.csv", "--target", "my label", "--out", out, *QUICK)
    assert done.exit_code == 2
    assert "holds a comparison of other data" in done.stderr


def test_an_interrupt_tells_how_to_go_on(
    run: Any, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import profuse.comparison.compare

    def interrupted(*args: Any, on_event: Any, **options: Any) -> None:
        on_event(Event("fit", 3, 24))
        raise KeyboardInterrupt

    monkeypatch.setattr(profuse.comparison.compare, "compare_dataset", interrupted)
    done = run("compare", files / "mine.csv", "--target", "my label", "--out", tmp_path / "out")
    assert done.exit_code == 130
    assert f"3 of 24 fits are kept in {tmp_path / 'out' / 'work'}" in done.stderr
    assert "goes on from there" in done.stderr


def test_options_reach_the_comparison(run: Any, files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import profuse.comparison.compare
    from profuse.errors import ProfuseError

    seen: dict[str, Any] = {}

    def fake(dataset: Any, options: Any, out: Path, **others: Any) -> None:
        seen.update(dataset=dataset, options=options, out=out, **others)
        raise ProfuseError("enough")

    monkeypatch.setattr(profuse.comparison.compare, "compare_dataset", fake)
    monkeypatch.chdir(tmp_path)
    done = run("compare", files / "mine.csv", "-t", "my label", "-t", "high, or low")
    assert done.exit_code == 2
    assert "must be numbers" in done.stderr  # words and numbers together are no target
    done = run(
        "compare", files / "mine.csv", "-t", "high, or low", "-t", "unit price", "--split", "time",
        "--split-column", "day", "--test-size", 0.3, "--fusions", "mean,hybrid:concat", "--rounds", "2, equilibrium",
        "--seeds", 5, "--trials", 2, "--epochs", 7, "--width", 24, "--modality-dropout", 0.2, "--unimodal-loss-weight",
        0.5,
        "--encoder", "note=words", "--device", "cpu", "--jobs", 2, "--learning-rate", 0.01,
    )  # fmt: skip
    assert done.stderr == "Error: enough\n"
    options, dataset = seen["options"], seen["dataset"]
    assert (options.fusions, options.rounds) == (("mean", "hybrid:concat"), (2, "equilibrium"))
    assert (options.seeds, options.trials) == (5, 2)
    assert (options.split.method, options.split.column, options.split.test_size) == ("time", "day", 0.3)
    assert (options.model.width, options.model.unimodal_loss_weight, options.model.encoders) == (
        24,
        0.5,
        {"note": "words"},
    )
    assert (options.train.epochs, options.train.modality_dropout, options.train.device) == (7, 0.2, "cpu")
    assert options.train.learning_rate == 0.01
    assert seen["n_jobs"] == 2
    assert seen["out"] == Path("profuse-out/mine")
    assert tuple(dataset.target_names) == ("high, or low", "unit price")
    assert dataset.times is not None
    assert not (tmp_path / "profuse-out").exists()


@pytest.mark.parametrize(("args", "message"), [
    (("glyps",), "Did you mean 'glyphs'?"),
    (("glyphs", "--target", "y"), "target must not be given with the named data set 'glyphs'"),
    (("{mine}",), "a column to predict must be named"),
    (("{mine}", "-t", "my labl"), "did you mean 'my label'?"),
    (("{mine}", "-t", "my label", "--fusions", "concatt"), "Did you mean 'concat'?"),
    (("{mine}", "-t", "my label", "--fusions", "late:concat"), "level must be a known name"),
    (("{mine}", "-t", "my label", "--rounds", "1"), "rounds of a progressive variant must be at least 2"),
    (("{mine}", "-t", "my label", "--rounds", "x"), "rounds.0 must be a valid integer, unable to parse string as an "),
    (("{mine}", "-t", "my label", "--rounds", "2,x"), "as an integer, or 'equilibrium'; got rounds.1='x'."),
    (("{mine}", "-t", "my label", "--rounds", "2.5"), "or 'equilibrium'; got rounds.0='2.5'."),
    (("{mine}", "-t", "my label", "--split", "rnd", "--test-size", 2), "split.test_size must be less than 1"),
    (("{mine}", "-t", "my label", "--split", "time"), "needs its column"),
    (("{mine}", "-t", "my label", "--split-column", "dya"), "did you mean 'day'?"),
    (("{mine}", "-t", "my label", "--on-bad-file", "stop"), "compare: on_bad_file must be 'raise' or 'skip'"),
    (("{mine}", "-t", "my label", "--encoder", "note"), "must be MODALITY=NAME"),
    (("{mine}", "-t", "my label", "--config", "nothing.yaml"), "the file must exist"),
    (("{mine}", "-t", "my label", "--variant", "x"), "variant must go with a named data set; got the file"),
    (("{mine}", "-t", "my label", "--encoder", "note=words", "--encoder", "nota=cnn"), "Did you mean 'note'?"),
    (("{mine}", "-t", "my label", "--encoder", "note=cnn"), "the encoder of 'note' must take kind 'text'; got 'cnn'"),
    (("{mine}", "-t", "my label", "--encoder", "note=wrds"), "Did you mean 'words'?"),
])  # fmt: skip
def test_bad_input_is_exit_code_2_and_leaves_nothing(
    run: Any, files: Path, tmp_path: Path, args: tuple[Any, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [files / "mine.csv" if a == "{mine}" else a for a in args]
    done = run("compare", *given, "--jobs", 1, "--seeds", 1)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def finished(n: int, method: str, score: float) -> Event:
    facts = {"method": method, "seed": 0, "fit_seconds": 1.5, "scores": {"valid": {"accuracy": score, "ece": 0.9}}}
    beat = {"method": "gated", "seed": 1, "trial": 1, "epoch": 12, "score": 0.8123, "share": 0.5, "left": 90.0}
    beats = (beat,)
    return Event("fit", n, 24, beats, facts)


def test_the_live_display_shows_what_runs_how_far_and_the_best() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with LiveDisplay("mine", console) as progress:
        progress(Event("prepare", 0, 24))
        progress(finished(3, "concat", 0.75))
        progress(replace(finished(4, "mean", 0.7), left=330.0))
        shown = Console(file=io.StringIO(), width=100)
        shown.print(progress._draw())
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert "4/24" in text
    assert "gated, seed 1, trial 2, epoch 12, validation 0.812, about 90\N{NO-BREAK SPACE}s left" in text
    assert progress._progress.tasks[0].completed == 4.5
    assert "best so far concat, validation accuracy 0.750" in text
    assert "elapsed, about 5.5\N{NO-BREAK SPACE}min left" in text


def test_the_best_so_far_is_that_of_the_metric_that_counts() -> None:
    out = io.StringIO()
    progress = LineDisplay("mine", Console(file=out, width=300))
    for n, (method, loss) in enumerate([("concat", 0.4), ("mean", 0.3), ("sum", 0.5)]):
        event = finished(n, method, 0.5)
        scores = {"valid": {"accuracy": 0.5, "log_loss": loss}}
        progress(replace(event, finished={**(event.finished or {}), "metric": "log_loss", "scores": scores}))
    assert out.getvalue().splitlines()[-1].endswith("best so far mean, validation log loss 0.300")


@pytest.mark.parametrize("kind", [LineDisplay, LiveDisplay])
def test_fits_that_were_kept_of_an_earlier_run_may_be_the_best_so_far(kind: Any) -> None:
    out = io.StringIO()
    progress = kind("mine", Console(file=out, width=300, force_terminal=kind is LiveDisplay))
    kept = tuple(
        finished(n, method, score).finished or {} for n, (method, score) in enumerate([("sum", 0.9), ("max", 0.8)])
    )
    progress(Event("prepare", 2, 24, kept=kept))
    progress(Event("plan", 2, 24, kept=kept, left=3.0))
    progress(finished(3, "concat", 0.5))
    assert progress._best.told() == "best so far sum, validation accuracy 0.900"
    if kind is LineDisplay:
        first, *_, last = out.getvalue().splitlines()
        assert "2 of them done before; best so far sum" in first
        assert "best so far sum, validation accuracy 0.900" in last


def test_displays_are_told_from_several_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    out = io.StringIO()
    progress = LineDisplay("mine", Console(file=out, width=300))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: progress(finished(i, f"m{i}", i / 100)), range(64)))
    lines = out.getvalue().splitlines()
    assert len(lines) == 64
    assert all(line.startswith("[") and "best so far" in line for line in lines)
    assert any("best so far m63, validation accuracy 0.630" in line for line in lines)


def test_lines_tell_the_time_left_once_it_is_known_and_until_all_is_done() -> None:
    out = io.StringIO()
    progress = LineDisplay("mine", Console(file=out, width=300))
    progress(Event("prepare", 4, 24))
    progress(finished(5, "trivial", 0.5))
    progress(replace(finished(7, "concat", 0.75), left=330.0))
    progress(replace(finished(24, "mean", 0.5), left=0.0))
    before, first, last = out.getvalue().splitlines()[1:]
    assert first.endswith("; about 5.5\N{NO-BREAK SPACE}min left")
    assert "left" not in before + last


@pytest.mark.parametrize("kind", [LineDisplay, LiveDisplay])
def test_what_follows_the_last_fit_is_told(kind: Any) -> None:
    out = io.StringIO()
    with kind("mine", Console(file=out, width=300, force_terminal=kind is LiveDisplay)) as progress:
        progress(Event("measure", 24, 24))
    assert "all fits are done; modalities are hidden, questions are asked" in out.getvalue()


@pytest.mark.parametrize(("terminal", "kind"), [(True, LiveDisplay), (False, LineDisplay)])
def test_the_display_fits_the_console(terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(display("x", Console(file=io.StringIO(), force_terminal=terminal)), kind)


@pytest.mark.slow
def test_a_real_interrupt_stops_all_and_a_second_run_goes_on(files: Path, tmp_path: Path, forks: Forks) -> None:
    command = (
        "compare", files / "mine.csv", "--schema", files / "schema.yaml", "--out", tmp_path / "out",
        "--portfolio", "none", "--rounds", "none", "--singles", "none", "--seeds", 1, "--epochs", 3,
        "--width", 8, "--members", 1,
    )  # fmt: skip
    fork = forks.start(*command, "--jobs", 2)
    until = time.monotonic() + 120
    while "\n[2/" not in fork.stderr and fork.wait(0.1) is None and time.monotonic() < until:
        pass
    os.kill(fork.pid, signal.SIGINT)
    assert fork.wait(60) == 130
    assert "goes on from there" in fork.stderr
    assert not list((tmp_path / "out").glob("results*"))
    again = forks.run(*command, "--jobs", 1)
    assert again.returncode == 0
    assert "of them done before" in again.stderr


def test_safe_csv_makes_the_predictions_safe_too(run: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=60)
    frame = pd.DataFrame({"x": x, "y": np.where(x > 0, "=1+1", "no")})
    frame.to_csv(tmp_path / "t.csv", index=False)
    quick = ("--seeds", 1, "--singles", "none", "--epochs", 1, "--width", 8, "--jobs", 1, "--safe-csv")
    done = run("compare", tmp_path / "t.csv", "-t", "y", "--out", tmp_path / "o", *quick)
    assert done.exit_code == 0, done.stderr
    said = pd.read_csv(tmp_path / "o" / "predictions.csv")
    assert set(said["true"]) == {"'=1+1", "no"}
