"""Predictors: networks and classical models of every task answer alike by every door, and after they are loaded."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forks import Forks
from made_predictors import (
    KINDS,
    MADE,
    PORTFOLIO,
    TARGETS,
    by_door,
    data,
    frame,
    inputs,
    labelled,
    predictor,
    whole_predictor,
)
from typer.testing import CliRunner

from profuse import FusionClassifier
from profuse.cli import app
from profuse.data.dataset import Dataset
from profuse.errors import CheckpointError, ConfigError, DataError, ProfuseWarning, UnknownNameError
from profuse.metrics import measure, metrics_for
from profuse.models.linear_paths import LinearPaths
from profuse.predictor import Predictor, RowsInPieces, load_model

DOORS = ("path", "frame", "dict", "Dataset")


def outputs(asked: Predictor, rows: object) -> np.ndarray:
    return asked.predict(rows) if asked.task == "regression" else asked.predict_proba(rows)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each predictor."""
    home = tmp_path_factory.mktemp("saved")
    for kind, task in MADE:
        predictor(kind, task).save(home / f"{kind} {task}")
    return home


@pytest.mark.parametrize("kind", KINDS)
def test_rows_in_arrays_that_nobody_may_write_to_are_read_without_a_warning(kind: str) -> None:
    """As pandas returns them."""
    rows = data("binary")[0].rows(np.arange(40))
    for modality in rows.modalities.values():
        modality.present.flags.writeable = False
    asked = predictor(kind, "binary")
    torch.set_warn_always(True)  # else it warns once in a process
    try:
        assert len(asked.predict_encoded(asked.encode(rows))) == 40
    finally:
        torch.set_warn_always(False)


@pytest.mark.parametrize(("kind", "task"), MADE)
class TestEveryPredictor:
    @pytest.mark.slow
    @pytest.mark.parametrize("door", DOORS)
    def test_the_answers_are_those_of_the_training_rows_by_every_door(
        self, kind: str, task: str, door: str, tmp_path: Path
    ) -> None:
        asked = predictor(kind, task)
        expected = asked.predict_encoded(asked.encode(data(task)[0]))
        got = outputs(asked, by_door(door, inputs(), asked, tmp_path))
        np.testing.assert_array_equal(got.reshape(expected.shape), expected)

    def test_a_loaded_one_gives_the_same_answers_to_the_last_digit(self, kind: str, task: str, saved: Path) -> None:
        asked, again, rows = predictor(kind, task), load_model(saved / f"{kind} {task}"), inputs(60, seed=5)
        np.testing.assert_array_equal(outputs(again, rows), outputs(asked, rows))
        assert type(again) is type(asked)
        assert (again.modalities, again.schema, again.task) == (asked.modalities, asked.schema, asked.task)
        assert again.n_parameters == asked.n_parameters > 0
        for what in ("name", "threads", "model_options", "train_options", "history"):
            assert getattr(again, what, None) == getattr(asked, what, None)

    @pytest.mark.slow
    def test_it_saves_again_what_it_was_loaded_from(self, kind: str, task: str, saved: Path, tmp_path: Path) -> None:
        again = load_model(saved / f"{kind} {task}")
        again.save(tmp_path / "m")
        rows = inputs(30, seed=7)
        np.testing.assert_array_equal(outputs(load_model(tmp_path / "m"), rows), outputs(again, rows))

    def test_no_file_is_a_pickle(self, kind: str, task: str, saved: Path) -> None:
        files = sorted((saved / f"{kind} {task}").iterdir())
        assert [f.suffix for f in files] == [".safetensors", ".md", ".json", ".safetensors"]
        assert sum(f.stat().st_size for f in files) < 800_000

    @pytest.mark.slow
    def test_the_frame_is_what_the_command_writes(self, kind: str, task: str, saved: Path, tmp_path: Path) -> None:
        inputs(20, seed=5).to_csv(tmp_path / "new.csv", index=False)
        done = CliRunner().invoke(app, ["predict", str(saved / f"{kind} {task}"), str(tmp_path / "new.csv")])
        assert done.exit_code == 0, done.output
        written = pd.read_csv(StringIO(done.stdout))
        made = predictor(kind, task).predict_frame(tmp_path / "new.csv")
        pd.testing.assert_frame_equal(written, made, check_dtype=False, rtol=1e-6)
        labels = {"multilabel": ["warm", "loud"], "two numbers": ["price", "weight"]}.get(task, ["prediction"])
        assert (
            made[labels].to_numpy().tolist()
            == np.reshape(predictor(kind, task).predict(inputs(20, seed=5)), (20, -1)).tolist()
        )

    def test_the_columns_of_the_frame_are_the_answers_in_their_order(self, kind: str, task: str) -> None:
        asked, rows = predictor(kind, task), inputs(20, seed=5)
        made, said = asked.predict_frame(rows), outputs(asked, rows).reshape(20, -1)
        assert made["row"].tolist() == list(range(20))
        if asked.task == "regression":
            names = list(TARGETS[task]) if task == "two numbers" else ["prediction"]
        else:
            names = [f"prob_{name}" for name in asked.classes]
        np.testing.assert_array_equal(made[names].to_numpy(), said)
        turned = asked.predict_frame(rows[::-1])
        np.testing.assert_allclose(turned[names].to_numpy(), said[::-1], rtol=1e-5, atol=1e-6)

    def test_it_is_measured_as_its_answers_are(self, kind: str, task: str) -> None:
        asked, rows = predictor(kind, task), labelled(task, 80, seed=5)
        said = outputs(asked, rows)
        true = rows[list(TARGETS[task])].to_numpy()
        if asked.task in ("binary", "multiclass"):
            true = (true == asked.classes).argmax(1)
        expected = measure(asked.task, true, said.reshape(80, -1)).values
        assert asked.evaluate(rows).values == pytest.approx(expected, rel=1e-12)
        name = metrics_for(asked.task)[-1].name
        assert asked.evaluate(rows, [name]).values == {name: asked.evaluate(rows).values[name]}

    def test_an_absent_modality_is_one_that_is_taken_away(self, kind: str, task: str) -> None:
        asked, dataset = predictor(kind, task), data(task)[0]
        parts, hidden = asked.encode(dataset), torch.arange(len(dataset)) % 3 == 0
        for name in asked.modalities:
            there = dataset.modalities[name]
            lacking = Dataset(
                "x",
                {**dataset.modalities, name: type(there)(there.kind, there.values, there.present & ~hidden.numpy())},
                None,
                dataset.task,
            )
            expected = asked.predict_encoded(asked.encode(lacking))
            part = parts[name].without(hidden)
            got = asked.predict_encoded({**parts, name: part})
            np.testing.assert_array_equal(got, expected)
            np.testing.assert_array_equal(part.present, parts[name].present & ~hidden)

    def test_it_is_shown_in_a_line(self, kind: str, task: str) -> None:
        asked = predictor(kind, task)
        shown = repr(asked)
        assert shown == str(asked)
        assert len(shown) < 120
        assert all(word in shown for word in (type(asked).__name__, asked.task, f"{asked.n_parameters:,} parameters"))
        assert all(name in shown for name in asked.modalities)

    def test_exchanged_modalities_are_predicted_as_if_each_were_asked_for_alone(self, kind: str, task: str) -> None:
        asked = predictor(kind, task)
        rows, others = (asked.encode(asked.read(inputs(40, seed))) for seed in (1, 2))
        others = {n: part.without(torch.arange(40) % 3 == 0) for n, part in others.items()}
        wanted = [(), ("note",), ("table",), ("note", "table")]
        made = asked.predict_exchanged(rows, others, wanted)
        for names in wanted:
            alone = asked.predict_encoded({**rows, **{n: others[n] for n in names}})
            np.testing.assert_allclose(made[names], alone, rtol=1e-5, atol=1e-6)

    def test_rows_of_a_part_are_rows_of_the_answers(self, kind: str, task: str) -> None:
        asked, dataset = predictor(kind, task), data(task)[0]
        parts, some = asked.encode(dataset), np.array([3, 0, 77])
        chosen = {name: part.rows(torch.as_tensor(some)) for name, part in parts.items()}
        assert {len(part) for part in chosen.values()} == {3}
        whole = asked.predict_encoded(parts)[some]
        np.testing.assert_allclose(asked.predict_encoded(chosen), whole, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(asked.predict_encoded(parts, some), whole, atol=1e-6, rtol=1e-6)


def test_linear_paths_read_rows_once_however_many_modalities_are_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = predictor("progressive network", "binary")
    rows = asked.encode(asked.read(inputs(40, seed=1)))
    hidden = {n: part.without(torch.ones(40, dtype=torch.bool)) for n, part in rows.items()}
    read: list[tuple[str, int]] = []
    contributions = LinearPaths.contributions

    def counting(self: LinearPaths, name: str, x: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        read.append((name, len(x)))
        return contributions(self, name, x, present)

    monkeypatch.setattr(LinearPaths, "contributions", counting)
    asked.predict_exchanged(rows, hidden, [("note",), ("table",), ("note", "table")])
    assert sorted(read) == sorted((n, int(rows[n].present.sum())) for n in rows)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "task"), MADE)
def test_with_all_its_trees_it_is_still_small_on_disk(kind: str, task: str, tmp_path: Path) -> None:
    whole_predictor(kind, task).save(tmp_path)
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < (
        2_000_000 if kind in (PORTFOLIO, "extra_trees") else 800_000
    )


@pytest.mark.slow
def test_another_process_gives_the_same_answers_to_the_last_digit(saved: Path, tmp_path: Path, forks: Forks) -> None:
    inputs(60, seed=5).to_csv(tmp_path / "new.csv", index=False)
    code = f"""
import sys, numpy as np
from pathlib import Path
from profuse import load_model
answers = {{}}
for folder in sorted(Path({str(saved)!r}).iterdir()):
    model = load_model(folder)
    answers[folder.name] = model.predict_encoded(model.encode(model.read({str(tmp_path / "new.csv")!r})))
np.savez({str(tmp_path / "answers.npz")!r}, **answers)
"""
    (tmp_path / "asks.py").write_text(code)
    done = forks.run_script(tmp_path / "asks.py")
    assert done.returncode == 0, done.stderr
    answers = np.load(tmp_path / "answers.npz")
    assert len(answers.files) == len(MADE)
    for kind, task in MADE:
        asked = predictor(kind, task)
        expected = asked.predict_encoded(asked.encode(asked.read(tmp_path / "new.csv")))
        np.testing.assert_array_equal(answers[f"{kind} {task}"], expected)


def test_evaluate_tells_of_two_classes_that_one_is_never_answered_and_of_few_rows() -> None:
    rows = labelled("binary")
    rows = pd.concat([rows[rows["size"] == "small"][:40], rows[rows["size"] == "big"][:4]])
    notes = predictor("trivial", "binary").evaluate(rows).notes
    said = set(predictor("trivial", "binary").predict(inputs(5)))
    (never,) = {"big", "small"} - said
    count = {"big": 4, "small": 40}[never]
    expected = (
        f"At the threshold .5 the model never answers '{never}': in none of 44 rows, of which {count} are '{never}'."
    )
    assert notes[0].startswith(expected)
    assert notes[1].startswith("4 of 44 rows are 'big', fewer than 10")
    assert len(notes) == 2
    three = predictor("trivial", "multiclass").evaluate(labelled("multiclass")).notes
    assert not any("threshold" in note for note in three)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_evaluate_takes_the_target_beside_a_dict(self, kind: str, tmp_path: Path) -> None:
        asked, rows = predictor(kind, "binary"), labelled("binary")
        given = by_door("dict", inputs(), asked, tmp_path)
        assert asked.evaluate(given, target=rows["size"]).values == asked.evaluate(rows).values
        assert asked.evaluate(inputs(), target=rows["size"].to_numpy()).values == asked.evaluate(rows).values
        renamed = rows.rename(columns={"size": "how big"})
        assert asked.evaluate(renamed, target="how big").values == asked.evaluate(rows).values

    def test_a_loaded_one_gives_the_same_answer_to_a_question(self, kind: str, saved: Path) -> None:
        rows = labelled("regression", 60, seed=5)
        asked, again = predictor(kind, "regression"), load_model(saved / f"{kind} regression")
        answer = again.ask("importance", rows)
        assert answer.to_json() == asked.ask("importance", rows).to_json()
        assert [e.name for e in answer.estimates] == ["note", "table"]

    def test_rows_without_a_target_are_told(self, kind: str, tmp_path: Path) -> None:
        asked = predictor(kind, "binary")
        with pytest.raises(DataError, match="evaluate: rows must have a target; .* has none. Give it as target="):
            asked.evaluate(by_door("dict", inputs(), asked, tmp_path))
        with pytest.raises(DataError, match="'size'"):
            asked.evaluate(inputs())

    def test_classes_that_training_had_not_are_told(self, kind: str) -> None:
        rows = labelled("binary", 20)
        rows.loc[4, "size"] = "huge"
        with pytest.raises(DataError, match=r"every class must occur in the training rows; got 'huge' in 1 row \(4;"):
            predictor(kind, "binary").evaluate(rows)

    def test_a_target_of_another_length_is_told(self, kind: str) -> None:
        with pytest.raises(DataError, match="rows and target must have the same rows; got 20 and 19"):
            predictor(kind, "binary").evaluate(inputs(20), target=frame(19)["size"])

    def test_an_unknown_metric_is_told_with_the_nearest(self, kind: str) -> None:
        with pytest.raises(UnknownNameError, match="evaluate: metric must be a known name; got metric='acuracy'"):
            predictor(kind, "binary").evaluate(labelled("binary", 20), ["acuracy"])

    def test_numbers_have_no_probabilities(self, kind: str) -> None:
        with pytest.raises(ConfigError, match="predict_proba: the task must have classes; got task='regression'"):
            predictor(kind, "regression").predict_proba(inputs(5))

    def test_what_is_counted_in_new_rows_is_a_warning_of_the_line_that_asked(self, kind: str) -> None:
        rows = inputs(30)
        rows.loc[3, "colour"] = "mauve"
        asked = predictor(kind, "binary")
        with pytest.warns(ProfuseWarning, match="mauve") as told:
            asked.predict(rows)
        assert {w.filename for w in told} == {__file__}
        assert any("mauve" in note for note in asked.read(rows).notes)

    def test_rows_of_another_kind_than_in_training_are_told(self, kind: str) -> None:
        asked = predictor(kind, "binary")
        without = type(asked)(**{**vars(asked), "schema": None})
        with pytest.raises(DataError, match=r"rows must be what they were in training, a dict of modalities \['note'"):
            without.predict(inputs(3))
        with pytest.raises(
            DataError, match=r"got the file 'new.csv'\. The model has learned from arrays or a named data"
        ):
            without.predict("new.csv")
        with pytest.raises(
            DataError, match=r"got the file 'new.csv'\. The model has learned from arrays or a named data"
        ):
            RowsInPieces(without, "new.csv")
        with pytest.raises(DataError, match="presence belongs to a dict of arrays; got it with DataFrame"):
            asked.read(inputs(3), presence={"table": [True] * 3})


@pytest.mark.parametrize("kind", ["gradient_boosting", "linear", "trivial"])
def test_an_estimator_is_a_network(kind: str, saved: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a network; .* holds a ClassicalPredictor. Use profuse.load_mod"):
        FusionClassifier.load(saved / f"{kind} binary")
