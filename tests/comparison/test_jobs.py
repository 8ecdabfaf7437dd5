"""One fit of a comparison: its split and seed, what is chosen by which rows, and what it leaves in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product

from profuse.classical import CLASSICAL, ClassicalFit, fit_classical
from profuse.comparison import jobs
from profuse.comparison.jobs import Job, JobResult, prepare, read_result, run_job
from profuse.comparison.methods import methods_for
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.data.tensors import from_tensors
from profuse.layers.ridge import Ridge
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor, load_model
from profuse.schema import SplitOptions, Task
from profuse.training import classical_fits
from profuse.training.fitting import fit_model
from profuse.training.options import TrainOptions

MODEL = ModelOptions(width=8, members=1)
OPTIONS = TrainOptions(epochs=2, batch_size=40, refit=False, device="cpu")


def dataset(task: Task = "binary") -> Dataset:
    return make_product(120, task=task, absent=0.1)


def done(folder: Path, name: str, *, task: Task = "binary", seed: int = 0, trials: int = 1) -> JobResult:
    """What the fit of a method leaves."""
    methods, _ = methods_for(["a", "b"], (), rounds=(), base=MODEL, task=task, singles=("all",))
    method = next(m for m in methods if m.name == name)
    prepare(dataset(task), SplitOptions(), seed, folder / "prepared.pickle", ModelOptions())
    return read_result(run_job(Job(method, seed, OPTIONS, trials, folder / "fit", folder / "prepared.pickle")))


@pytest.fixture(autouse=True)
def _no_prepared_data_of_others() -> Iterator[None]:
    yield
    jobs._load.cache_clear()


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("name", ["concat", "linear"])
def test_a_fit_has_the_split_and_the_seed_of_its_job(name: str, seed: int, tmp_path: Path) -> None:
    result = done(tmp_path, name, seed=seed)
    split = make_split(dataset(), SplitOptions(), seed=seed)
    assert result.facts["test_rows"] == split.test.tolist()
    assert result.facts["seed"] == seed
    target = dataset().target
    assert target is not None
    assert (np.array(result.facts["classes"])[result.true] == target[split.test]).all()
    kept = load_model(tmp_path / "fit" / "model")
    np.testing.assert_allclose(kept.predict_proba(dataset().rows(split.test)), result.prediction, atol=1e-6)
    if isinstance(kept, NetworkPredictor):
        assert kept.train_options.seed == seed


@pytest.mark.parametrize("task", ["binary", "multilabel", "regression"])
@pytest.mark.parametrize("name", ["mean_logits", "linear", "gradient_boosting", "b classical"])
def test_the_scores_of_validation_and_test_rows_are_those_of_the_model_that_is_kept(
    name: str, task: Task, tmp_path: Path
) -> None:
    facts, data = done(tmp_path, name, task=task).facts, dataset(task)
    split = make_split(data, SplitOptions(), seed=0)
    kept = load_model(tmp_path / "fit" / "model")
    for part in ("valid", "test"):
        assert facts["scores"][part] == pytest.approx(kept.evaluate(data.rows(getattr(split, part))).values, abs=1e-6)


def test_so_they_are_where_absent_modalities_are_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(task: Task = "regression") -> Dataset:
        """Two views of the same, of which rows lack one."""
        rng = np.random.default_rng(0)
        view = rng.normal(size=(200, 3))
        there = {"a": rng.random(200) > 0.2, "b": np.ones(200, dtype=bool)}
        return from_tensors({"a": view, "b": view + 0.1}, view[:, 0] + view[:, 1], presence=there)

    monkeypatch.setitem(globals(), "dataset", alike)
    test_the_scores_of_validation_and_test_rows_are_those_of_the_model_that_is_kept("linear", "regression", tmp_path)
    kept: Any = load_model(tmp_path / "fit" / "model")
    assert kept.neighbours is not None


@pytest.mark.parametrize(("errors", "best"), [([3.0, 1.0, 2.0], 1), ([1.0, 1.0, 1.0], 0), ([3.0, 2.0, 1.0], 2)])
def test_of_several_trials_that_with_the_smallest_validation_error_is_kept(
    errors: list[float], best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[NetworkPredictor] = []

    def scripted(*args: Any, **options: Any) -> NetworkPredictor:
        model = fit_model(*args, **options)
        assert model.history is not None
        epochs = tuple(replace(epoch, valid_error=errors[len(fitted)]) for epoch in model.history.epochs)
        fitted.append(replace(model, history=replace(model.history, epochs=epochs)))
        return fitted[-1]

    monkeypatch.setattr(jobs, "fit_model", scripted)
    result = done(tmp_path, "concat", trials=3, seed=2)
    assert len(fitted) == 3
    assert result.facts["chosen_trial"] == best
    test = dataset().rows(np.array(result.facts["test_rows"]))
    said = [model.predict_proba(test) for model in fitted]
    np.testing.assert_allclose(result.prediction, said[best], atol=1e-6)
    np.testing.assert_allclose(load_model(tmp_path / "fit" / "model").predict_proba(test), said[best], atol=1e-6)
    assert result.facts["fit_seconds"] == pytest.approx(sum(m.history.fit_seconds for m in fitted if m.history))
    assert result.facts["n_parameters"] == fitted[best].n_parameters
    first, *others = [(m.model_options, m.train_options) for m in fitted]
    assert (first[0].width, first[1]) == (8, OPTIONS.model_copy(update={"seed": 2}))
    assert len({m.train_options.learning_rate for m in fitted}) == 3
    assert all(train.seed == 2 for _, train in others)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_classical_model_learns_from_training_rows_and_validation_rows_choose_its_trial(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(task)
    split = make_split(data, SplitOptions(), seed=1)
    fitted: list[ClassicalFit] = []

    def scripted(
        name: str, features: Any, target: np.ndarray, train: Any, valid: Any, *args: Any, **options: Any
    ) -> Any:
        """The second trial is right on all validation rows, the others wrong."""
        np.testing.assert_array_equal(train, split.train)
        np.testing.assert_array_equal(valid, split.valid)
        assert (options["trial"], options["seed"]) == (len(fitted), 1)
        fit = fit_classical(name, features, target, train, valid, *args, **options)
        sign = 1 if len(fitted) == 1 else -1
        true = np.eye(2)[target[valid]] if task == "binary" else target[valid]
        fitted.append(replace(fit, valid_prediction=true if sign == 1 else 1 - true))
        return fitted[-1]

    monkeypatch.setattr(classical_fits, "fit_classical", scripted)
    n_trials = len(CLASSICAL.part("gradient_boosting").trials)  # type: ignore[attr-defined]
    assert n_trials > 2
    result = done(tmp_path, "gradient_boosting", task=task, seed=1, trials=n_trials)
    assert len(fitted) == n_trials
    assert result.facts["chosen_trial"] == 1
    assert result.facts["n_parameters"] == fitted[1].n_parameters
    assert result.facts["fit_seconds"] == pytest.approx(sum(fit.fit_seconds for fit in fitted))
    kept = load_model(tmp_path / "fit" / "model")
    said = kept.predict_encoded(kept.encode(data.rows(split.test)))
    np.testing.assert_allclose(said, result.prediction, atol=1e-6)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_what_is_hidden_is_the_modality_that_is_named_and_it_alone(task: Task, tmp_path: Path) -> None:
    result, data = done(tmp_path, "concat", task=task), dataset(task)
    scores = result.facts["scores"]["test"]
    rows = data.rows(np.array(result.facts["test_rows"]))
    kept = load_model(tmp_path / "fit" / "model")
    told = [(part["modality"], part["metric"]) for part in result.facts["ablation"]]
    assert told == [(modality, metric) for modality in ("a", "b") for metric in scores]
    for part in result.facts["ablation"]:
        whole = rows.modalities[part["modality"]]
        hidden = {**rows.modalities, part["modality"]: replace(whole, present=np.zeros(len(rows), dtype=bool))}
        without = kept.evaluate(replace(rows, modalities=hidden)).values[part["metric"]]
        assert part["without"] == pytest.approx(without, abs=1e-6)
        assert part["full"] == scores[part["metric"]]


def test_a_method_of_one_modality_hides_nothing_and_sees_nothing_else(tmp_path: Path) -> None:
    result = done(tmp_path, "b only")
    assert result.facts["ablation"] == []
    kept, rows = load_model(tmp_path / "fit" / "model"), dataset()
    assert kept.modalities == ("b",)
    other = {**rows.modalities, "a": replace(rows.modalities["a"], values=rows.modalities["a"].values[::-1].copy())}
    np.testing.assert_array_equal(kept.predict_proba(replace(rows, modalities=other)), kept.predict_proba(rows))


def test_a_worker_takes_the_linear_paths_that_another_has_solved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = done(tmp_path, "concat")
    jobs._load.cache_clear()  # as in another process

    def never(*_: Any, **__: Any) -> Ridge:
        raise AssertionError("it must not be solved again")

    monkeypatch.setattr(Ridge, "solve", never)
    methods, _ = methods_for(["a", "b"], (), rounds=(), base=MODEL, task="binary", singles=("all",))
    method = next(m for m in methods if m.name == "concat")
    again = read_result(run_job(Job(method, 0, OPTIONS, 1, tmp_path / "again", tmp_path / "prepared.pickle")))
    np.testing.assert_array_equal(again.prediction, first.prediction)


def test_a_fit_that_did_not_measure_a_metric_does_not_tell_of_it(tmp_path: Path) -> None:
    result = done(tmp_path, "concat")
    assert result.tells(None)
    assert result.tells("auroc")
    older = {m: v for m, v in result.facts["scores"]["test"].items() if m != "auroc"}
    assert not replace(result, facts=result.facts | {"scores": {"test": older, "valid": older}}).tells("auroc")
    hidden = [a for a in result.facts["ablation"] if a["metric"] == "accuracy"]
    assert not replace(result, facts=result.facts | {"ablation": hidden}).tells("auroc")
    assert replace(result, facts=result.facts | {"ablation": hidden}).tells("accuracy")
    assert replace(result, facts=result.facts | {"ablation": []}).tells("auroc")
