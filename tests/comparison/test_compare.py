"""The fair comparison: what stands in it, that it is repeatable, and that it goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_answers import make_product

from profuse.classical import classical, fit_classical, fittable_to
from profuse.comparison.cautions import _caution, _caution_of_labels
from profuse.comparison.compare import Comparison, read_options
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.jobs import slug
from profuse.comparison.methods import methods_for
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import COLUMNS, Results
from profuse.comparison.summary import summarise
from profuse.data.dataset import Dataset
from profuse.data.leaks import tell_leaks
from profuse.data.split import make_split
from profuse.errors import ConfigError, DataError, UnknownNameError
from profuse.inputs import open_data
from profuse.models.options import ModelOptions
from profuse.report import write_report
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("few_classical")

ON_ALL = [name for name in fittable_to("binary")[0] if classical(name).role == "classical"]
OPTIONS = CompareOptions(
    fusions=("max",),
    rounds=(2,),
    seeds=2,
    retrain_without=False,
    model=ModelOptions(width=8, members=1),
    train=TrainOptions(epochs=1, batch_size=64, refit=False),
)
SMALL = OPTIONS.model_copy(update={"fusions": (), "rounds": (), "seeds": 1})
FUSED = SMALL.model_copy(update={"singles": ()})


def run(dataset: Dataset, out: Path, options: CompareOptions = OPTIONS, **more: object) -> Results:
    return compare_dataset(dataset, options, out, n_jobs=1, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("comparison")
    run(make_product(absent=0.1), out)
    return out


@pytest.mark.parametrize(
    ("asked", "singles"),
    [
        (("all",), ["a", "b"]), ("all", ["a", "b"]), ((), []), ("none", []), (["none"], []),
        (("b",), ["b"]), ("b", ["b"]), (["b", "a", "b"], ["a", "b"]),
    ],
)  # fmt: skip
def test_single_modalities_can_be_left_out(asked: Any, singles: list[str]) -> None:
    options = CompareOptions(singles=asked)
    methods, _ = methods_for(["a", "b"], (), rounds=(), base=ModelOptions(), task="multiclass", singles=options.singles)
    wanted = [f"{name} {row}" for name in singles for row in ("only", "classical")]
    assert [m.name for m in methods if m.role == "single"] == wanted
    assert {"concat", "linear", "trivial"} < {m.name for m in methods}


@pytest.mark.parametrize("asked", [("none", "a"), ["all", "a"]])
def test_all_and_none_of_the_single_modalities_stand_alone(asked: Any) -> None:
    with pytest.raises(ConfigError, match="all and none must stand alone"):
        read_options(None, {"singles": asked})


def test_a_single_modality_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="pictur.*picture"):
        methods_for(
            ["picture", "text"], (), rounds=(), base=ModelOptions(), task="multiclass", singles=("pictur",)
        )  # fmt: skip


@pytest.mark.slow
def test_fits_are_kept_when_single_modalities_are_left_out_and_asked_for_again(tmp_path: Path) -> None:
    dataset = make_product(n_rows=60)
    fits: list[int] = []
    for singles in ("none", "b", "all"):
        options = SMALL.model_copy(update={"singles": CompareOptions(singles=singles).singles})
        results = run(dataset, tmp_path, options)
        fits.append(len(list((tmp_path / "work").iterdir())))
        assert [m.name for m in results.methods if m.role == "single"] == {
            "none": [], "b": ["b only", "b classical"], "all": ["a only", "a classical", "b only", "b classical"],
        }[singles]  # fmt: skip
        assert summarise(results).verdict.helps is None or singles != "none"
        write_report(results, tmp_path)
    assert np.diff(fits).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("target", "cautious"),
    [
        (np.random.default_rng(0).normal(size=200), False),
        (np.random.default_rng(0).uniform(size=30), False),
        (np.random.default_rng(0).lognormal(sigma=1.5, size=200), True),
        (np.append(np.zeros(99), 5.0), True),
    ],
)
def test_a_target_whose_variance_lies_in_few_test_rows_gives_a_caution(target: np.ndarray, cautious: bool) -> None:
    told = _caution([target[:, None], np.arange(50.0)[:, None]])
    assert bool(told) is cautious
    assert not cautious or f"of {len(target):,}: R² hangs on them" in told


@pytest.mark.parametrize(
    ("counts", "told"), [((20, 9, 4), ""), ((20, 3, 9), "1 label has fewer than 4 of the 40 test rows ('rain')"),
                         ((1, 3, 9), "2 labels have"), ((0, 9, 9), "")],
)  # fmt: skip
def test_labels_of_very_few_test_rows_give_a_caution(counts: tuple[int, ...], told: str) -> None:
    true = (np.arange(40)[:, None] < np.array(counts)).astype(int)
    found = _caution_of_labels([true, np.ones((40, 3))], ["sun", "rain", "snow"])
    assert found.startswith(told)
    assert bool(found) is bool(told)


@pytest.mark.slow
def test_each_fit_says_in_which_run_it_was_timed_and_a_second_run_keeps_what_the_first_has_noted(
    tmp_path: Path,
) -> None:
    dataset = make_product(n_rows=60)
    first = run(dataset, tmp_path, FUSED)
    again = run(dataset, tmp_path, FUSED.model_copy(update={"seeds": 2}))
    runs = {seed: {(t.run, t.jobs, t.threads) for t in again.timings if t.seed == seed} for seed in (0, 1)}
    assert runs[0] == {(t.run, t.jobs, t.threads) for t in first.timings}
    assert all(len(r) == 1 for r in runs.values())
    assert {r[1:] for both in runs.values() for r in both} == {(1, 1)}
    assert runs[0] != runs[1]
    assert any("fits were timed in other runs" in n for n in summarise(again).notes)
    assert not any("other runs" in n for n in summarise(first).notes)
    (lost,) = (tmp_path / "work").glob("linear-seed0-*")
    shutil.rmtree(lost)
    third = compare_dataset(dataset, FUSED, tmp_path, n_jobs=2)
    assert {(t.method, t.jobs) for t in third.timings if t.run not in {r[0] for r in runs[0]}} == {("linear", 1)}


def test_singles_and_simple_baselines_always_stand_in_the_table(finished: Path) -> None:
    roles = {m.name: m.role for m in Results.read(finished).methods}
    assert {"a only", "a classical", "b only", "b classical"} == {n for n, r in roles.items() if r == "single"}
    assert {"hybrid concat", "concat", "mean_logits"} == {n for n, r in roles.items() if r == "baseline"}
    assert set(ON_ALL) == {n for n, r in roles.items() if r == "classical"}
    assert roles["max"] == roles["progressive (2 rounds) max"] == "fusion"
    assert roles["progressive (2 rounds) hybrid concat"] == "fusion"


def test_the_output_folder_holds_what_is_promised(finished: Path) -> None:
    assert {"results.csv", "results.json", "rows.npz", "config.yaml", "models"} <= {p.name for p in finished.iterdir()}
    frame = Results.read(finished).frame()
    assert tuple(frame.columns) == COLUMNS
    assert len(frame[(frame.method == "concat") & (frame.metric == "accuracy") & (frame.split == "test")]) == 2
    assert (frame[frame.method == "concat"].n_parameters > 0).all()


def test_every_method_is_measured_on_the_same_rows(finished: Path) -> None:
    results = Results.read(finished)
    for seed in (0, 1):
        assert len(results.rows[seed].scores) == len(results.methods)
        csv = results.frame().query(f"seed == {seed} and split == 'test' and metric == 'auroc'")
        for method, scores in results.rows[seed].scores.items():
            assert scores.mean() == pytest.approx(csv[csv.method == method].value.item())


def test_seeds_have_their_own_splits(finished: Path) -> None:
    rows = Results.read(finished).rows
    assert not np.array_equal(rows[0].ids, rows[1].ids)


def test_two_runs_give_the_same_numbers(finished: Path, tmp_path: Path) -> None:
    run(make_product(absent=0.1), tmp_path, SMALL)
    drop = ["fit_seconds", "predict_rows_per_second"]
    one, two = (Results.read(p).frame().drop(columns=drop) for p in (finished, tmp_path))
    one = one[(one.seed == 0) & one.method.isin(two.method)].reset_index(drop=True)
    assert one.equals(two)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    dataset = make_product()

    class Stop(Exception):
        pass

    def stop_after_five(event: Event) -> None:
        if event.finished is not None and event.n_done == 5:
            raise Stop

    with pytest.raises(Stop):
        run(dataset, tmp_path, FUSED, on_event=stop_after_five)
    assert not (tmp_path / "results.json").exists()
    fitted = []
    run(dataset, tmp_path, FUSED, on_event=lambda e: fitted.append(e.n_done) if e.finished is not None else None)
    assert fitted[0] == 6


@pytest.mark.slow
def test_the_number_of_threads_is_left_as_it_was(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run(make_product(), tmp_path, FUSED)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_finished_run_fits_nothing_again(finished: Path) -> None:
    before = (finished / "results.csv").read_text()
    fitted: list[Event] = []
    run(make_product(absent=0.1), finished, on_event=lambda e: fitted.append(e) if e.finished else None)
    assert fitted == []
    assert (finished / "results.csv").read_text() == before


def test_a_folder_of_other_data_is_not_overwritten(finished: Path) -> None:
    with pytest.raises(DataError, match="holds a comparison of other data"):
        run(make_product(seed=3), finished)


@pytest.mark.parametrize("there", ["models/mine.pt", "work/.git/HEAD", "work/notes/a.txt", "config.yaml", "report.md"])
def test_files_of_others_are_not_touched(there: str, tmp_path: Path) -> None:
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(DataError, match="Name another folder"):
        run(make_product(), tmp_path, SMALL)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert path.read_text() == "mine"


def test_files_of_other_names_do_not_matter_and_stay(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "mine.csv").write_text("mine")
    run(make_product(absent=0.1), out)
    assert (out / "mine.csv").read_text() == "mine"
    (out / "models" / "mine.pt").write_text("mine")
    with pytest.raises(DataError, match=r"models must hold nothing but what a comparison left there; got 'mine\.pt'"):
        run(make_product(absent=0.1), out)


def test_facts_do_not_depend_on_which_fit_is_done_first(finished: Path, tmp_path: Path) -> None:
    """The number of training rows, which intervals use, may differ from seed to seed."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    for folder in (out / "work").glob("*-seed1-*"):
        path = folder / "result.json"
        facts = json.loads(path.read_text())
        facts["n_rows"]["train"] += 7
        path.write_text(json.dumps(facts))
        digests = json.loads((folder / "digests.json").read_text())
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "digests.json").write_text(json.dumps(digests))
    # the first method's first fit is done last
    shutil.rmtree(next((out / "work").glob("trivial-seed0-*")))
    again = run(make_product(absent=0.1), out)
    assert again.dataset.n_train == Results.read(finished).dataset.n_train


@pytest.mark.slow
def test_a_long_name_of_a_modality_is_cut_in_names_of_folders(tmp_path: Path) -> None:
    data = make_product(60)
    name = "Please describe in your own words, " + "ü" * 200
    long = Dataset(data.name, {name: data.modalities["a"], "b": data.modalities["b"]}, data.target, data.task)
    assert name in run(long, tmp_path, SMALL).dataset.modalities
    assert len(slug(name).encode()) <= 100


def test_sizes_of_parts_that_the_data_name_are_told_to_be_unused(tmp_path: Path) -> None:
    data = make_product(100)
    official = Dataset(data.name, data.modalities, data.target, data.task, split=np.array(["train", "test"] * 50))
    options = FUSED.model_copy(update={"split": SplitOptions(test_size=0.5, valid_size=0.3)})
    notes = [note for note in run(official, tmp_path, options).dataset.notes if "_size" in note]
    assert notes == ["test_size = 0.5 is not used: the data say which rows are test."]


def test_a_validation_score_that_is_not_defined_stops_nothing(tmp_path: Path) -> None:
    """One huge training target, and all others vary by little of its spread."""
    data = make_product(100, task="regression")
    assert data.target is not None
    data.target[0] = 1e9
    parts = np.array(["train"] * 60 + ["valid"] * 20 + ["test"] * 20)
    results = run(Dataset(data.name, data.modalities, data.target, "regression", split=parts), tmp_path, FUSED)
    assert {c.valid_score for c in results.curves} == {None}


def test_what_a_system_leaves_in_folders_is_no_file_of_others(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    for folder in (out, out / "work", out / "models"):
        (folder / ".DS_Store").write_bytes(b"x")
    run(make_product(absent=0.1), out)
    one, two = (json.loads((folder / "results.json").read_text())["scores"] for folder in (finished, out))
    assert one == two
    assert (out / "work" / ".DS_Store").exists()


def test_equal_tables_with_other_columns_are_other_data() -> None:
    frame = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "colour": ["r", "g", "r", "g"]})
    y = np.array([0, 1, 0, 1])
    one, two = (open_data(f, y).dataset for f in (frame, frame.rename(columns={"colour": "kolour"})))
    assert one.digest() != two.digest()
    assert one.digest() == open_data(frame.copy(), y).dataset.digest()


@pytest.mark.slow
def test_test_rows_have_no_influence_on_what_is_chosen(tmp_path: Path) -> None:
    """With an official test set, changing its targets changes no validation score."""
    split = np.array(["train"] * 150 + ["test"] * 50)
    one = make_product()
    two = make_product()
    assert two.target is not None
    two.target[150:] = two.target[150:][::-1].copy()
    frames = []
    for i, d in enumerate((one, two)):
        official = Dataset(d.name, d.modalities, d.target, d.task, split=split)
        options = FUSED.model_copy(update={"trials": 2})
        frame = run(official, tmp_path / str(i), options).frame()
        frames.append(frame[frame.split == "valid"].drop(columns=["fit_seconds", "predict_rows_per_second"]))
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_every_task_can_be_compared(task: str, tmp_path: Path) -> None:
    results = run(make_product(100, task=task), tmp_path, FUSED)
    assert summarise(results).verdict.fusion is not None
    assert {s.method for s in results.scores} == {m.name for m in results.methods}
    assert bool(results.confusion) == (task == "multiclass")
    assert bool(results.residuals) == (task == "regression")


def kept_methods(finished: Path) -> list[str]:
    verdict = summarise(Results.read(finished)).verdict
    return sorted([*ON_ALL, "trivial", str(verdict.fusion), str(verdict.single)])


def test_the_models_of_the_methods_that_the_report_names_are_kept(finished: Path) -> None:
    folders = sorted(f.name for f in (finished / "models").iterdir())
    assert folders == sorted(f"{slug(name)}-seed{s}" for name in kept_methods(finished) for s in (0, 1))
    size = sum(f.stat().st_size for f in (finished / "models").rglob("*") if f.is_file())
    assert size < 3_000_000


@pytest.mark.parametrize("seed", [0, 1])
def test_each_is_a_predictor_that_has_the_score_of_the_results(finished: Path, seed: int) -> None:
    dataset, results = make_product(absent=0.1), Results.read(finished)
    test = make_split(dataset, SplitOptions(), seed=seed).test
    comparison = Comparison(results, finished)
    scores = {(s.method, s.metric): s.value for s in results.scores if (s.split, s.seed) == ("test", seed)}
    for name in kept_methods(finished):
        measured = comparison.predictor(name, seed).evaluate(dataset.rows(test)).values
        for metric, value in measured.items():
            assert value == scores[name, metric], (name, metric)


def test_a_predictor_is_by_default_the_best_fusions_first(finished: Path) -> None:
    comparison = Comparison(Results.read(finished), finished)
    best = str(comparison.summary().verdict.fusion)
    rows = make_product(seed=4)
    one, other = comparison.predictor(), comparison.predictor(best, 0)
    np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))
    assert not np.array_equal(one.predict_proba(rows), comparison.predictor(seed=1).predict_proba(rows))


def test_a_predictor_that_was_not_kept_is_told(finished: Path) -> None:
    results = Results.read(finished)
    verdict = summarise(results).verdict
    left_out = next(m.name for m in results.methods if m.name not in kept_methods(finished))
    comparison = Comparison(results, finished)
    with pytest.raises(
        ConfigError, match=f"must be one that is kept; got method='{re.escape(left_out)}', seed=None. K"
    ):
        comparison.predictor(left_out)
    with pytest.raises(ConfigError, match=f"seed=7. Kept: .*'{re.escape(str(verdict.fusion))}' at seed 0"):
        comparison.predictor(seed=7)
    with pytest.raises(
        UnknownNameError, match="method must be a known name; got method='liner'. Did you mean 'linear'"
    ):
        comparison.predictor("liner")
    with pytest.raises(ConfigError, match="compare must have kept its models; it had no out. Give it out="):
        Comparison(results).predictor()


def test_what_each_modality_adds_is_the_difference_that_masking_makes(finished: Path) -> None:
    results = Results.read(finished)
    found = [a for a in results.ablation if a.method == "concat"]
    assert {(a.modality, a.seed) for a in found} == {(m, s) for m in "ab" for s in (0, 1)}
    job = next((finished / "work").glob("concat-seed0-*/result.json"))
    full = json.loads(job.read_text())["scores"]["test"]["auroc"]
    assert all(a.full == full for a in found if a.seed == 0)


@pytest.mark.slow
def test_rows_on_both_sides_of_a_split_are_told(tmp_path: Path) -> None:
    twice = make_product(60).rows(np.tile(np.arange(60), 2))
    assert run(twice, tmp_path, SMALL).dataset.notes == tell_leaks(twice, SMALL.split) != []


def test_a_fit_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    options = FUSED.model_copy(update={"train": TrainOptions(epochs=3, learning_rate=1e30, max_grad_norm=1e30)})
    results = run(make_product(task="regression"), tmp_path, options)
    assert {"linear", "gradient_boosting", "trivial"} <= {m.name for m in results.methods}
    assert any("must stay finite" in s.reason for s in results.skipped)


@pytest.mark.slow
def test_a_twin_at_rest_stands_in_tables_and_report(tmp_path: Path) -> None:
    model = ModelOptions(width=8, into=("a",), max_rounds=300, tolerance=0.01)
    options = SMALL.model_copy(update={"rounds": (2, "equilibrium"), "model": model})
    results = run(make_product(), tmp_path, options)
    assert not results.skipped
    rounds = {m.name: m.rounds for m in results.methods if m.fusion == "hybrid concat"}
    assert rounds == {
        "hybrid concat": 1,
        "progressive (2 rounds) hybrid concat": 2,
        "progressive (equilibrium) hybrid concat": "equilibrium",
    }
    again = Results.read(tmp_path)
    assert [m.rounds for m in again.methods] == [m.rounds for m in results.methods]
    assert set(pd.read_csv(tmp_path / "results.csv")["rounds"]) == {"1", "2", "equilibrium"}
    twins = {c.method: c.against for c in summarise(again).comparisons if c.kind == "plain"}
    assert twins["progressive (equilibrium) hybrid concat"] == "hybrid concat"
    told = write_report(again, tmp_path).read_text(encoding="utf-8")
    assert "progressive (equilibrium) hybrid concat" in told
    assert re.search(r"<td[^>]*>equilibrium</td>", told)
    assert read_options(tmp_path / "config.yaml").rounds == (2, "equilibrium")


class TestMethods:
    def test_one_modality_leaves_nothing_to_fuse(self) -> None:
        methods, skipped = methods_for(["a"], ["gated"], rounds=[2], base=ModelOptions(), task="multiclass")
        assert {m.role for m in methods} == {"trivial", "single", "classical"}
        assert {s.method for s in skipped} >= {"concat", "gated"}

    @pytest.mark.parametrize("n_modalities", [1, 2, 3])
    @pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
    def test_one_row_is_the_model_that_fit_makes_unless_told(self, task: Any, n_modalities: int) -> None:
        base = ModelOptions(width=8, unimodal_loss_weight=0.3)
        methods, _ = methods_for(["a", "b", "c"][:n_modalities], [], rounds=[2], base=base, task=task)
        (default,) = (m for m in methods if m.default)
        assert default.model is not None
        want = base.chosen(n_modalities, task)
        assert (default.model.fusion, default.model.level) == (want.fusion, want.level)
        assert default.model.unimodal_loss_weight == want.unimodal_loss_weight
        assert default.info().default
        assert [m.name for m in methods if m.info().default] == [default.name]

    def test_early_and_late_fusion_stand_beside_the_default_without_a_second_row_of_it(self) -> None:
        always = {"multiclass": ["hybrid concat", "concat", "mean_logits"], "regression": ["concat", "mean_logits"]}
        for task, names in always.items():
            for asked in ([], ["hybrid:concat"] if task == "multiclass" else ["concat"]):
                methods, _ = methods_for(["a", "b"], asked, rounds=[], base=ModelOptions(), task=task)  # type: ignore[arg-type]
                assert [m.name for m in methods if m.role in ("baseline", "fusion")] == names

    def test_what_a_comparison_is_given_as_operator_does_not_change_what_is_the_default(self) -> None:
        base = ModelOptions(fusion="gated", level="hybrid")
        methods, _ = methods_for(["a", "b"], [], rounds=[], base=base, task="regression")
        assert [m.name for m in methods if m.default] == ["concat"]

    def test_a_baseline_has_a_progressive_variant_only_where_it_is_the_default_or_asked_for(self) -> None:
        for task, asked, has in [("multiclass", [], False), ("multiclass", ["concat"], True), ("binary", ["all"], True),
                                 ("regression", [], True)]:  # fmt: skip
            methods, _ = methods_for(["a", "b"], asked, rounds=[2], base=ModelOptions(), task=task)  # type: ignore[arg-type]
            assert ("progressive (2 rounds) concat" in {m.name for m in methods}) is has

    def test_neither_a_progressive_variant_nor_an_ablation_is_the_default(self) -> None:
        methods, _ = methods_for(["a", "b"], [], rounds=[2], base=ModelOptions(), task="multiclass")
        (default,) = (m for m in methods if m.default)
        assert not default.without("a").default
        assert "progressive (2 rounds) hybrid concat" in {m.name for m in methods if not m.default}

    def test_all_is_every_operator_once(self) -> None:
        from profuse.fusion import FUSIONS

        methods, _ = methods_for(["a", "b"], ["all", "concat"], rounds=[], base=ModelOptions(), task="multiclass")
        names = [m.name for m in methods if m.role in ("baseline", "fusion")]
        assert sorted(names) == sorted([*FUSIONS, "hybrid concat"])

    def test_decision_operators_have_no_progressive_twin(self) -> None:
        methods, _ = methods_for(["a", "b"], ["vote"], rounds=[2, 3], base=ModelOptions(), task="multiclass")
        names = {m.name for m in methods}
        assert "progressive (3 rounds) hybrid concat" in names
        assert not any("progressive" in n and ("vote" in n or "mean_logits" in n) for n in names)

    def test_a_level_can_be_named(self) -> None:
        methods, _ = methods_for(
            ["a", "b"], ["hybrid:concat", "raw:token_transformer"], rounds=[], base=ModelOptions(), task="multiclass"
        )
        levels = {m.name: m.info().level for m in methods}
        assert levels["hybrid concat"] == "hybrid"
        assert levels["raw token_transformer"] == "raw"

    def test_unknown_names_get_the_nearest(self) -> None:
        with pytest.raises(UnknownNameError, match="'concat'"):
            methods_for(["a", "b"], ["conact"], rounds=[], base=ModelOptions(), task="multiclass")
        with pytest.raises(UnknownNameError, match="'hybrid'"):
            methods_for(["a", "b"], ["hybird:concat"], rounds=[], base=ModelOptions(), task="multiclass")

    def test_a_single_round_is_no_twin(self) -> None:
        with pytest.raises(ConfigError, match="at least 2"):
            methods_for(["a", "b"], [], rounds=[1], base=ModelOptions(), task="multiclass")

    @pytest.mark.parametrize("rounds", [3, "equilibrium"])
    @pytest.mark.parametrize("twins", [(), (2,)])
    def test_rounds_are_asked_of_the_comparison_not_of_the_model(self, rounds: Any, twins: tuple[int, ...]) -> None:
        told = rf"compare: model.rounds must be left at 1; got model.rounds={rounds!r}. Use rounds=\({rounds!r},\)"
        with pytest.raises(ConfigError, match=told):
            methods_for(["a", "b"], [], rounds=twins, base=ModelOptions(rounds=rounds), task="multiclass")

    def test_what_every_twin_would_fail_of_is_told_at_once(self) -> None:
        with pytest.raises(UnknownNameError, match="compare: modality must be a known name; got modality='textt'"):
            methods_for(["text", "b"], [], rounds=[2], base=ModelOptions(into=("textt",)), task="multiclass")
        base = ModelOptions(supervise="all")
        with pytest.raises(ConfigError, match="compare: rounds='equilibrium' must go with supervise='last'"):
            methods_for(["a", "b"], [], rounds=[2, "equilibrium"], base=base, task="multiclass")


class TestClassical:
    def fit(self, name: str, task: str, target: np.ndarray, n_outputs: int) -> np.ndarray:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(len(target), 4))
        x[::7, 1] = np.nan
        rows = np.arange(len(target))
        fit = fit_classical(name, {"x": x}, target, rows[:150], rows[150:], task, n_outputs)  # type: ignore[arg-type]
        return fit.predict(x)

    @pytest.mark.parametrize("name", ["gradient_boosting", "linear", "trivial"])
    @pytest.mark.parametrize(("task", "n_outputs"), [("binary", 2), ("multiclass", 3)])
    def test_probabilities_sum_to_one(self, name: str, task: str, n_outputs: int) -> None:
        said = self.fit(name, task, np.arange(200) % n_outputs, n_outputs)
        assert said.shape == (200, n_outputs)
        np.testing.assert_allclose(said.sum(1), 1)

    @pytest.mark.parametrize("name", ["gradient_boosting", "linear"])
    def test_a_label_that_never_varies_in_train_is_still_predicted(self, name: str) -> None:
        labels = np.stack([np.arange(200) % 2, np.zeros(200)], axis=1)
        said = self.fit(name, "multilabel", labels, 2)
        assert (said[:, 1] == 0).all()

    def test_the_trivial_guess_is_the_mean_of_all_known_rows(self) -> None:
        target = np.arange(200.0)[:, None]
        assert np.unique(self.fit("trivial", "regression", target, 1)) == pytest.approx(target.mean())
