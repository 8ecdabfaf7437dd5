"""A portfolio: what it may learn from, what it predicts, and how it is kept."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_fits import a_cut
from known_answers import make_product
from not_none import not_none

from profuse import fit, from_tensors, load_model
from profuse._folder import digest_of
from profuse.data.dataset import Dataset, clusters_of
from profuse.data.split import folds
from profuse.errors import CheckpointError, ConfigError, DataError, ProfuseError, UnknownNameError
from profuse.metrics import metric
from profuse.models.options import ModelOptions
from profuse.portfolio import attempt as attempt_module
from profuse.portfolio import members as members_module
from profuse.portfolio.cut import Cut
from profuse.portfolio.estimate import nested_outputs
from profuse.portfolio.fits import Fits
from profuse.portfolio.fitted import Event, Fitted
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member, members_of
from profuse.portfolio.options import PortfolioOptions
from profuse.portfolio.patterns import patterns_of, rows_to_judge
from profuse.portfolio.selection import select
from profuse.predictor import NetworkPredictor, PortfolioPredictor
from profuse.training.options import TrainOptions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]
LINEAR = Member("linear", ("a", "b"), "linear")
BOOSTED = Member("boosted", ("a", "b"), "gradient_boosting")
NET = Member("net", ("a", "b"), model=ModelOptions(fusion="concat", width=8, members=1))
ONE_EPOCH = TrainOptions(epochs=1)


def learnable(n: int = 240, *, seed: int = 0, absent: float = 0.0) -> Dataset:
    """`a` tells the class well, `b` a little."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
    a[:, 0] += 3.0 * y
    b[:, 0] += 1.0 * y
    there = {"a": rng.random(n) >= absent, "b": np.ones(n, dtype=bool)}
    return from_tensors({"a": a, "b": b}, y, presence=there)


def fitted(data: Dataset, *members: Member, **more: Any) -> PortfolioPredictor:
    options = PortfolioOptions(folds=more.pop("folds", 3), metric=more.pop("metric", None))
    return fit_portfolio(data, options, train=ONE_EPOCH, members=members or (LINEAR, BOOSTED), **more)


class TestNoLeak:
    @pytest.mark.parametrize("member", [LINEAR, BOOSTED, NET, Member("a", ("a",), "yardstick")])
    def test_a_shuffled_target_scores_chance_with_every_member(self, member: Member) -> None:
        data = learnable(400)
        assert data.target is not None
        shuffled = replace(data, target=np.random.default_rng(1).permutation(data.target))
        score = fitted(shuffled, member, metric="roc_auc").members[0].score
        assert score is not None
        assert abs(score - 0.5) < 4 * math.sqrt(1 / (12 * 100))  # four standard errors of an AUROC of 200 and 200

    def test_rows_of_a_group_never_meet(self, tmp_path: Path) -> None:
        groups = np.repeat(np.arange(30), 8)
        data = replace(learnable(240), groups=groups)
        cut = Cut.make(data, PortfolioOptions(), ModelOptions(), 0, tmp_path, lambda i, n: None)
        assert cut.dependent
        for fold in cut.folds:
            split = members_module.loaded(fold.path).split
            parts = [set(groups[rows].tolist()) for rows in (split.train, split.valid, split.test)]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 30
            assert all(parts)

    def test_later_rows_are_predicted_from_earlier_ones_and_all_rows_make_the_model(self, tmp_path: Path) -> None:
        times = np.random.default_rng(0).permutation(240)
        data = replace(learnable(240), times=times)
        cut = Cut.make(data, PortfolioOptions(folds=3), ModelOptions(), 0, tmp_path, lambda i, n: None)
        for fold in cut.folds:
            split = members_module.loaded(fold.path).split
            assert times[split.train].max() < times[split.valid].min()
            assert times[split.valid].max() < times[split.test].min()
        first = members_module.loaded(cut.folds[0].path).split
        assert len(first.train) + len(first.valid) >= 120  # half of the rows: what a few suffice for is not favoured
        assert len(cut.rows) == pytest.approx(120, abs=40)
        np.testing.assert_array_equal(cut.clusters, clusters_of(data, cut.rows))
        assert len(np.unique(cut.clusters)) == 5  # blocks of time
        assert cut.whole is not None
        split = members_module.loaded(cut.whole.path).split
        assert len(split.train) + len(split.valid) == 240
        model = fitted(data, LINEAR)
        assert model.member_of == (0,)
        assert model.temperature >= 1.0

    def test_what_is_fitted_in_a_fold_has_not_seen_its_held_out_rows(self, tmp_path: Path) -> None:
        data = learnable(240)
        data.modalities["a"].values[:, 1] = np.arange(240) * 1000.0
        cut = Cut.make(data, PortfolioOptions(folds=3), ModelOptions(), 0, tmp_path, lambda i, n: None)
        held = np.concatenate([members_module.loaded(f.path).split.test for f in cut.folds])
        np.testing.assert_array_equal(np.sort(held), np.arange(240))
        np.testing.assert_array_equal(held, cut.rows)
        assert data.target is not None
        np.testing.assert_array_equal(cut.true, np.asarray(data.target)[cut.rows])
        means = []
        for fold in cut.folds:
            prepared = members_module.loaded(fold.path)
            values = prepared.inputs["a"].values[prepared.split.train, 1].numpy()
            means.append(float(values.mean()))
            assert not np.intersect1d(prepared.split.train, prepared.split.test).size
        np.testing.assert_allclose(means, 0.0, atol=1e-4)  # standardised by the rows learned from alone

    @pytest.mark.slow
    def test_predictions_of_all_members_belong_to_the_same_rows(self) -> None:
        """A member that is right on each row it is asked about would be wrong if rows were out of order."""
        data = learnable(300)
        assert data.target is not None
        data.modalities["a"].values[:, 0] = 8.0 * np.asarray(data.target, dtype=float)
        model = fitted(data, LINEAR, BOOSTED, NET, Member("a", ("a",), "yardstick"))
        for member in model.members[:2]:
            assert member.score is not None
            assert member.score > 0.99
        assert model.members[3].score is not None
        assert model.members[3].score > 0.99

    def test_weights_and_their_estimate_are_chosen_by_rows_with_their_clusters(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of the whole, of each pattern of absence, and in each fold that judges."""
        seen: list[np.ndarray | None] = []

        def spied(*args: Any, **how: Any) -> np.ndarray:
            seen.append(how.get("clusters"))
            return select(*args, **how)

        monkeypatch.setattr("profuse.portfolio.fitting.select", spied)
        monkeypatch.setattr("profuse.portfolio.estimate.select", spied)
        groups = np.repeat(np.arange(20), 8)
        data = replace(learnable(160), groups=groups)
        fitted(data, LINEAR, BOOSTED)
        rows = np.concatenate([held for _, held in folds(data, np.arange(160), 3, 0)])
        of = clusters_of(data, rows)
        n_whole = len(seen) - 3
        assert n_whole >= 1
        for clusters in seen[:n_whole]:
            assert clusters is not None
            np.testing.assert_array_equal(clusters, of)
        for clusters in seen[n_whole:]:
            assert clusters is not None
            assert len(clusters) < 160
            assert 0 < len(set(clusters.tolist())) < 20
            assert set(np.bincount(clusters).tolist()) == {0, 8}

    def test_the_estimate_is_not_of_the_rows_that_chose(self) -> None:
        """Of forty members that know nothing, the best on the rows that choose looks far better than chance."""
        rng = np.random.default_rng(0)
        true, p = rng.integers(0, 2, 600), rng.random((40, 600))
        held = np.stack([1 - p, p], axis=2)
        cut: Any = SimpleNamespace(
            codec=SimpleNamespace(task="binary"),
            folds=range(5),
            fold_of=np.arange(600) % 5,
            true=true,
            clusters=np.arange(600),
            weights=None,
        )
        together, alone = nested_outputs(held, cut, metric("accuracy"), 0)
        best = max(metric("accuracy")(true, p) for p in held)
        assert best > 0.53
        assert metric("accuracy")(true, together) < 0.53
        assert metric("accuracy")(true, alone) < 0.53


class TestPredictions:
    @pytest.mark.parametrize("member", [LINEAR, NET])
    def test_counts_are_not_predicted_to_be_below_0(self, member: Member) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.uniform(0, 2, (150, 2)), rng.normal(size=(150, 1))
        model = fitted(
            from_tensors({"a": a, "b": b}, rng.poisson(2 * a[:, 0]).astype(float), task="regression"), member
        )
        said = model.predict({"a": np.linspace([2, 1], [-9, 1], 40), "b": np.zeros((40, 1))})
        assert said[0] > 2
        assert said.min() == 0

    def test_a_portfolio_predicts_the_weighted_mean_of_its_members(self) -> None:
        model, new = fitted(learnable(), LINEAR, BOOSTED), learnable(50, seed=3)
        inputs = model.encode(new)
        by_member = np.zeros((2, 50, 2))
        for i, (member, predictor) in enumerate(zip(model.member_of, model.predictors, strict=True)):
            n = model.member_of.count(member)
            by_member[member] += predictor.predict_encoded({k: v.each[i] for k, v in inputs.items()}) / n
        mean = np.tensordot(model.weights[0], by_member, axes=1) ** (1 / model.temperature)
        np.testing.assert_allclose(model.predict_proba(new), mean / mean.sum(1, keepdims=True), atol=1e-12)

    def test_a_member_that_leans_on_what_is_absent_gives_way(self) -> None:
        only_a, only_b = Member("a", ("a",), "yardstick"), Member("b", ("b",), "yardstick")
        model = fitted(learnable(600), only_a, only_b)
        assert model.patterns[:3] == ((), ("a",), ("b",))
        assert model.weights[0, 0] > 0.5
        assert model.weights[1, 1] > model.weights[0, 1]
        new = learnable(400, seed=5)
        without = {k: replace(m, present=np.full(400, k != "a")) for k, m in new.modalities.items()}
        score = metric("accuracy")(np.asarray(new.target), model.predict_proba(replace(new, modalities=without)))
        assert score > 0.6  # b alone; with the weights of whole rows a's prior would drown it

    def test_rows_have_the_weights_of_their_own_pattern_whatever_stands_beside_them(self) -> None:
        model, new = fitted(learnable(absent=0.3), LINEAR, NET), learnable(60, seed=4, absent=0.5)
        whole = model.predict_proba(new)
        for rows in (np.arange(7), np.array([33])):
            np.testing.assert_allclose(model.predict_proba(new.rows(rows)), whole[rows], atol=2e-6)

    def test_a_row_that_lacks_everything_has_a_prediction(self) -> None:
        new = learnable(5)
        nothing = {k: replace(m, present=np.zeros(5, dtype=bool)) for k, m in new.modalities.items()}
        assert np.isfinite(fitted(learnable()).predict_proba(replace(new, modalities=nothing))).all()

    @pytest.mark.slow
    @pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
    def test_every_task_has_portfolios(self, task: str) -> None:
        model = fitted(make_product(200, task=task), LINEAR, BOOSTED, NET)
        new = make_product(40, task=task, seed=9)
        values = model.evaluate(new).values
        assert all(np.isfinite(list(values.values())))
        assert model.predict(new).shape == np.asarray(new.target).shape
        assert model.about["n_rows"] == 200

    def test_a_class_that_a_fold_lacks_is_still_a_class(self) -> None:
        data = learnable(90)
        assert data.target is not None
        target = np.asarray(data.target).astype(int)
        target[0] = 2  # one row: where it is held out, nothing is learned of it
        model = fitted(replace(data, target=target, task="multiclass"), LINEAR, NET)
        assert list(model.classes) == [0, 1, 2]
        assert model.predict_proba(data).shape == (90, 3)

    @pytest.mark.slow
    def test_two_processes_make_the_same_portfolio(self) -> None:
        data = learnable(120)
        one, two = (fitted(data, LINEAR, NET, folds=2, n_jobs=n) for n in (1, 2))
        np.testing.assert_array_equal(one.weights, two.weights)
        np.testing.assert_allclose(one.predict_proba(data), two.predict_proba(data), atol=1e-6)


def slow_fits(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[str, int], float]) -> dict[str, float]:
    """A clock that stands still but for fits, which take so long by their member's name and share of the rows."""
    clock = {"now": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    whole = Member.fit

    def slow(self: Member, *args: Any, **more: Any) -> Any:
        clock["now"] += seconds(self.name, more.get("every", 1))
        return whole(self, *args, **more)

    monkeypatch.setattr(Member, "fit", slow)
    return clock


class TestTime:
    def test_what_would_take_too_long_is_left_out_and_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = slow_fits(monkeypatch, lambda name, every: (1.0 if name == "linear" else 30.0) / every)
        seen: list[Event] = []
        model = fit_portfolio(
            learnable(120), PortfolioOptions(folds=3, time_limit=60), members=(LINEAR, BOOSTED), on_event=seen.append
        )
        assert [m.name for m in model.members] == ["linear"]
        # fits to a fifth and to a fifth of that told enough
        assert model.about["skipped"]["boosted"] == "a fit would take 30 s; 17 s were left for it"
        assert clock["now"] == pytest.approx(3.0 + 6.0 + 1.2)
        done = [e for e in seen if e.stage == "member"]
        assert [(e.member, bool(e.skipped)) for e in done] == [("linear", False), ("boosted", True)]
        assert (done[-1].n_done, done[-1].n_total) == (6, 6)
        assert done[-1].skipped == f"{model.about['skipped']['boosted']}; it is tried again if others leave time"

    def test_time_that_does_not_grow_with_the_rows_is_not_multiplied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Boosting takes 5 s and 1 s for all rows: by a fifth alone it would be 26 s, of 17 s that are left for it."""
        slow_fits(monkeypatch, lambda name, every: 0.5 if name == "linear" else 5.0 + 1.0 / every)
        model = fit_portfolio(learnable(120), PortfolioOptions(folds=3, time_limit=60), members=(LINEAR, BOOSTED))
        assert [m.name for m in model.members] == ["linear", "boosted"]

    def test_where_a_smaller_share_cannot_be_fitted_the_larger_one_tells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def seconds(name: str, every: int) -> float:
            if every > 5:
                raise DataError("table: at least two classes must be learned from; got one")
            return (1.0 if name == "linear" else 30.0) / every

        slow_fits(monkeypatch, seconds)
        model = fit_portfolio(learnable(120), PortfolioOptions(folds=3, time_limit=60), members=(LINEAR, BOOSTED))
        assert model.about["skipped"]["boosted"] == "a fit would take 30 s; 17 s were left for it"

    def test_what_takes_longer_than_a_share_of_the_rows_has_said_ends_after_the_first_fit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow_fits(monkeypatch, lambda name, every: 1.0 if every > 1 or name == "linear" else 30.0)
        model = fit_portfolio(learnable(120), PortfolioOptions(folds=3, time_limit=60), members=(LINEAR, BOOSTED))
        assert "would take 62 s more; 20 s were left" in model.about["skipped"]["boosted"]

    @pytest.mark.parametrize(
        ("boosted", "limit", "expected"),
        [
            (2.4, 10, "a fit would take 2.4 s; 2.0 s were left for it"),  # not "2 s; 2 s"
            (15.4, 53, "a fit would take 15.4 s; 14.9 s were left for it"),  # nor "15 s; 15 s"
        ],
    )
    def test_what_is_needed_never_reads_like_what_was_left(
        self, boosted: float, limit: float, expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow_fits(monkeypatch, lambda name, every: (1.0 if name == "linear" else boosted) / every)
        options = PortfolioOptions(folds=3, time_limit=limit)
        told: list[Event] = []
        fit_portfolio(learnable(120), options, members=(LINEAR, BOOSTED), on_event=told.append)
        told_again = f"{expected}; it is tried again if others leave time"
        assert told_again in [e.skipped for e in told if e.member == "boosted"]

    def test_a_network_that_took_time_in_vain_is_told_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock, whole = slow_fits(monkeypatch, lambda name, every: 0.0), Fits._outputs

        def outputs(self: Fits, tasks: list[Any]) -> Any:
            if tasks[0].member.model is None:
                return whole(self, tasks)
            clock["now"] += 100.0
            return [attempt_module.FitResult(t.number, too_long=90.0, before=1.0, epochs=2, planned=40) for t in tasks]

        monkeypatch.setattr(Fits, "_outputs", outputs)
        model = fit_portfolio(learnable(120), PortfolioOptions(folds=3, time_limit=100), members=(LINEAR, NET))
        assert model.about["skipped"][NET.name] == "no time was left for it after a first try of 100 s"

    def test_a_network_that_is_too_slow_is_trained_for_fewer_epochs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = slow_fits(monkeypatch, lambda name, every: 0.0)
        watch = attempt_module.Watch(14.0)
        clock["now"] = 4.0  # linear paths are solved before the first epoch
        watch.n_epochs, watch.seconds_left, watch.seconds_likely = 40, 40.0, 12.0
        watch.on_first_steps()
        assert watch.stopped
        assert (watch.too_long, watch.before, watch.epochs, watch.planned) == (40.0, 4.0, 9, 40)
        quick = attempt_module.Watch(100.0)
        quick.n_epochs, quick.seconds_left, quick.seconds_likely = 40, 400.0, 12.0  # it is not likely to need all
        quick.on_first_steps()
        assert not quick.stopped
        none = attempt_module.Watch(2.0)
        clock["now"] = 10.0
        none.n_epochs, none.seconds_left, none.seconds_likely = 40, 40.0, 12.0
        none.on_first_steps()
        assert none.epochs == 0

    def test_linear_paths_count_in_what_a_network_would_take(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = Fits._outputs

        def outputs(self: Fits, tasks: list[Any]) -> Any:
            if tasks[0].member.model is None:
                return whole(self, tasks)
            return [attempt_module.FitResult(t.number, too_long=1.0, before=500.0, planned=40) for t in tasks]

        monkeypatch.setattr(Fits, "_outputs", outputs)
        model = fit_portfolio(learnable(120), PortfolioOptions(folds=3, time_limit=300), members=(LINEAR, NET))
        assert model.about["skipped"][NET.name].startswith("a fit would take 501 s; ")

    def test_a_third_of_the_time_is_kept_for_the_first_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock, given = slow_fits(monkeypatch, lambda name, every: 0.0), dict[str, float]()

        def greedy(self: Fits, result: Fitted, i: int, until: float, fitted: list[Fitted], *rest: Any) -> None:
            """A member that takes all the time that it may."""
            given[result.member.name] = until - clock["now"]
            clock["now"] = max(clock["now"], until) if fitted else 6.0
            fitted.append(result)

        monkeypatch.setattr(Fits, "_one", greedy)
        monkeypatch.setattr(Fits, "_kept", lambda self, fitted: self.cut)
        quick = [replace(LINEAR, name=f"quick {i}") for i in range(9)]
        several = [*quick, NET, BOOSTED, replace(NET, name="another")]
        Fits(a_cut(), several, [], TrainOptions(), metric("accuracy"), 96.0, 1, lambda event: None).run()
        assert given["quick 1"] == pytest.approx(0.5 * (90 - 32))  # of 96 seconds a third is not theirs
        assert given["net"] == pytest.approx(32, abs=0.1)
        assert sum(list(given.values())[1:]) == pytest.approx(90)
        clock["now"] = 0.0
        three = [LINEAR, NET, BOOSTED]
        Fits(a_cut(), three, [], TrainOptions(), metric("accuracy"), 96.0, 1, lambda event: None).run()
        assert given["net"] == pytest.approx(45)  # it may have half of what is left, where that is more

    def test_folds_that_would_take_too_long_have_fewer_epochs_and_that_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = slow_fits(monkeypatch, lambda name, every: 0.0)
        whole = Member.fit

        def slow(self: Member, fold: Path, sets: Any, train: TrainOptions, *args: Any, **more: Any) -> Any:
            result = whole(self, fold, sets, train, *args, **more)
            clock["now"] += 2.5 * (train.epochs or 1) if self.model is not None else 0.0  # its first steps told less
            return result

        monkeypatch.setattr(Member, "fit", slow)
        data, options = learnable(120), PortfolioOptions(folds=3, time_limit=30)
        train = TrainOptions(epochs=4)
        model = fit_portfolio(data, options, train=train, members=(LINEAR, NET), keep_all=True)
        networks = [p for p in model.predictors if isinstance(p, NetworkPredictor)]
        # 17 of the 20 seconds that two folds take are left: .9 * 4 * 17 / 20
        assert [network.train_options.epochs for network in networks] == [4, 3, 3]
        told = "net is trained for at most 3 epochs instead of 4, as time was limited."
        assert told in model.about["notes"]
        free = fit_portfolio(data, PortfolioOptions(folds=3), train=train, members=(LINEAR, NET), keep_all=True)
        assert "time was limited" not in " ".join(map(str, free.about["notes"]))

    def test_a_fold_that_is_stopped_does_not_undo_those_that_are_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slow_fits(monkeypatch, lambda name, every: 0.0)
        attempts: list[tuple[int, int | None]] = []

        def attempt(self: Fits, tasks: Sequence[Any]) -> Iterator[Any]:
            for task in tasks:
                attempts.append((task.number, task.train.epochs))
                if task.number == 1 and len(attempts) < 4:
                    yield attempt_module.FitResult(1, too_long=50.0, epochs=2, planned=4)
                else:
                    yield from whole(self, [task])

        whole = Fits._outputs
        monkeypatch.setattr(Fits, "_outputs", attempt)
        options, train = PortfolioOptions(folds=3, time_limit=30), TrainOptions(epochs=4)
        model = fit_portfolio(learnable(120), options, train=train, members=(NET,), keep_all=True)
        assert attempts[:4] == [(0, 4), (1, 4), (2, 4), (1, 2)]
        assert attempts[4:] == [(0, 4), (1, 4), (2, 4)]  # the clock stands still: there is time for another network
        assert "net is trained for at most 2 epochs instead of 4" in " ".join(map(str, model.about["notes"]))

    def test_no_member_but_the_last_takes_more_than_half_of_the_time_that_is_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow_fits(monkeypatch, lambda name, every: (0.0 if name == "linear" else 10.0) / every)
        several = (LINEAR, BOOSTED, replace(BOOSTED, name="last"))
        model = fit_portfolio(learnable(120), PortfolioOptions(folds=3, time_limit=50), members=several)
        assert [m.name for m in model.members] == ["linear", "last"]
        assert "left for it" in model.about["skipped"]["boosted"]

    def test_what_was_too_slow_for_its_turn_has_the_time_that_others_have_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        probes = list[str]()

        def seconds(name: str, every: int) -> float:
            probes.extend([name] if every > 1 else [])
            return (10.0 if name == "boosted" else 0.0) / every

        slow_fits(monkeypatch, seconds)
        several, seen = (LINEAR, BOOSTED, replace(LINEAR, name="last")), list[Event]()
        model = fit_portfolio(
            learnable(120), PortfolioOptions(folds=3, time_limit=50), members=several, on_event=seen.append
        )
        assert [m.name for m in model.members] == ["linear", "last", "boosted"]
        assert model.about["skipped"] == {}
        told = [(e.member, bool(e.skipped)) for e in seen if e.stage == "member"]
        assert told == [("linear", False), ("boosted", True), ("last", False), ("boosted", False)]
        assert probes == ["boosted", "boosted", "last"]  # how long it takes is known when it is tried again

    def test_a_shortened_network_is_joined_by_a_second_one_in_the_time_that_is_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock, whole = slow_fits(monkeypatch, lambda name, every: 0.0), Member.fit

        def slow(self: Member, fold: Path, sets: Any, train: TrainOptions, *args: Any, **more: Any) -> Any:
            result = whole(self, fold, sets, train, *args, **more)
            seconds = 2.5 * (train.epochs or 1) if self.model is not None else 12.0 * (self.name == "boosted")
            clock["now"] += seconds / more.get("every", 1)
            return result

        monkeypatch.setattr(Member, "fit", slow)
        several, train = (LINEAR, NET, BOOSTED, replace(LINEAR, name="last")), TrainOptions(epochs=4)
        data, options = learnable(120), PortfolioOptions(folds=3, time_limit=60)
        model = fit_portfolio(data, options, train=train, members=several, keep_all=True)
        # 26.6 s of 54 are left when all had their turn: no time for three fits of 12 s, but for .9 * 26.6 / (3 * 2.5)
        assert [m.name for m in model.members] == ["linear", "net", "last", "net (again)"]
        networks = [p for p in model.predictors if isinstance(p, NetworkPredictor)]
        assert [n.train_options.epochs for n in networks] == [4, 3, 3, 3, 3, 3]
        assert [n.train_options.seed for n in networks] == [0, 0, 0, 1, 1, 1]
        assert "net (again) is trained for at most 3 epochs instead of 4" in " ".join(map(str, model.about["notes"]))

    def test_the_first_member_is_fitted_however_little_time_there_is(self) -> None:
        model = fit_portfolio(learnable(60), PortfolioOptions(folds=2, time_limit=1e-9), members=(LINEAR, BOOSTED))
        assert [m.name for m in model.members] == ["linear"]

    def test_a_limit_that_allows_the_trivial_model_alone_is_told_with_one_that_allows_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow_fits(monkeypatch, lambda name, every: 0.0 if name == "trivial" else 30.0 / every)
        trivial, ask = Member("trivial", (), "trivial"), partial(fit_portfolio, learnable(120))
        message = r"time_limit=20 seconds, left out are 'linear' \(a fit would take 30 s.*and 1 more.*time-limit (\d+)s"
        with pytest.raises(ConfigError, match=message) as told:
            ask(PortfolioOptions(folds=3, time_limit=20), members=(trivial, LINEAR, BOOSTED))
        enough = int(not_none(re.search(r"time-limit (\d+)s", str(told.value)))[1])
        model = ask(PortfolioOptions(folds=3, time_limit=enough), members=(trivial, LINEAR, BOOSTED))
        assert [m.name for m in model.members][:2] == ["trivial", "linear"]
        assert ask(PortfolioOptions(folds=3, time_limit=20), members=(trivial,)).members  # it was asked for

    def test_where_all_but_the_trivial_model_fail_it_is_told_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = Member.fit

        def fails(self: Member, *args: Any, **more: Any) -> Any:
            if self.name != "trivial":
                raise DataError("it cannot be learned.")
            return whole(self, *args, **more)

        monkeypatch.setattr(Member, "fit", fails)
        with pytest.raises(ProfuseError, match="got none: 'linear': it cannot be learned, and 1 more. Mend"):
            fitted(learnable(120), Member("trivial", (), "trivial"), LINEAR, BOOSTED)

    @pytest.mark.parametrize(
        ("given", "seconds"), [("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("7", 7.0), (3, 3.0)]
    )
    def test_times_are_written_as_people_do(self, given: Any, seconds: float) -> None:
        assert PortfolioOptions(time_limit=given).time_limit == seconds

    @pytest.mark.parametrize("wrong", ["soon", "10 minutes", "-3s", 0, -1])
    def test_other_times_are_told(self, wrong: Any) -> None:
        with pytest.raises(ConfigError, match="time_limit"):
            fit(learnable(), time_limit=wrong)


@pytest.fixture(scope="module")
def model(few_classical: None) -> PortfolioPredictor:
    return fitted(learnable(absent=0.2), LINEAR, BOOSTED, NET)


class TestSaved:
    def test_a_loaded_portfolio_predicts_and_tells_the_same(self, model: PortfolioPredictor, tmp_path: Path) -> None:
        model.save(tmp_path / "m")
        again = load_model(tmp_path / "m")
        assert isinstance(again, PortfolioPredictor)
        new = learnable(50, seed=2, absent=0.4)
        np.testing.assert_array_equal(again.predict_proba(new), model.predict_proba(new))
        assert (again.members, again.patterns, again.about) == (model.members, model.patterns, dict(model.about))
        assert sorted(p.suffix for p in (tmp_path / "m").iterdir()) == [".json", ".md", ".safetensors", ".safetensors"]

    def test_what_predictors_share_is_kept_once(self, model: PortfolioPredictor, tmp_path: Path) -> None:
        model.save(tmp_path / "m")
        facts = json.loads((tmp_path / "m" / "model.json").read_text())["own"]
        pipelines = [p["pipeline"] for p in facts["predictors"]]
        assert len(set(pipelines)) == 3 < len(pipelines)
        again = load_model(tmp_path / "m")
        assert isinstance(again, PortfolioPredictor)
        assert len({id(p.pipeline) for p in again.predictors}) == 3

    def test_members_without_weight_are_told_and_not_kept(self) -> None:
        useless = Member("b", ("b",), "trivial")
        model = fitted(learnable(600), LINEAR, useless, metric="log_loss")
        assert [m.name for m in model.members] == ["linear", "b"]
        assert model.members[1].weight == 0.0
        assert set(model.member_of) == {i for i in range(2) if model.weights[:, i].any()}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda own: own.update(member_of=[9] * len(own["member_of"])), "predictors of each member"),
            (lambda own: own.update(member_of=own["member_of"][1:]), "predictors of each member"),
            (lambda own: own.update(patterns=[[]]), "weights must add up"),
            (lambda own: own["predictors"][0].update(pipeline=99), "a part must be one of"),
            (lambda own: own["predictors"][0].update(predictor="os:system"), "predictor"),
            (lambda own: own.update(temperature=-1.0), "temperature"),
        ],
    )
    def test_a_changed_folder_is_told(
        self, model: PortfolioPredictor, tmp_path: Path, change: Callable[[Any], None], message: str
    ) -> None:
        model.save(tmp_path / "m")
        path = tmp_path / "m" / "model.json"
        facts = json.loads(path.read_text())
        change(facts["own"])
        facts["digests"]["model.json"] = digest_of(facts)
        path.write_text(json.dumps(facts))
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / "m")


class TestPatterns:
    def test_each_absence_has_weights_and_so_has_what_rows_and_later_rows_lack(self) -> None:
        there = np.ones(50, dtype=bool)
        some, other = there.copy(), there.copy()
        some[:20], other[:20] = False, False
        known = {"a": there, "b": some, "c": other}
        later = {"a": ~there, "b": there, "c": ~there}
        # the most frequent first
        assert patterns_of(known, later) == [(), ("a",), ("b",), ("c",), ("a", "c"), ("b", "c")]
        assert patterns_of({"a": there}) == [()]

    def test_a_pattern_is_judged_by_rows_that_lack_nothing_else_where_they_are_enough(self) -> None:
        lacking = np.zeros((200, 2), dtype=bool)
        lacking[:40, 0] = True
        lacking[40:60, 1] = True
        np.testing.assert_array_equal(rows_to_judge((), ["a", "b"], lacking), np.arange(60, 200))
        np.testing.assert_array_equal(
            rows_to_judge(("a",), ["a", "b"], lacking), np.r_[np.arange(40), np.arange(60, 200)]
        )
        np.testing.assert_array_equal(rows_to_judge((), ["a", "b"], lacking[:70]), np.arange(70))


class TestMembers:
    def test_presets_add_to_each_other_and_networks_come_last(self) -> None:
        of = {p: [m.name for m in members_of(("x", "y"), p, ModelOptions())] for p in ("quick", "default", "best")}
        assert set(of["default"]) == {*of["quick"], "network"}
        assert of["default"].index("linear") < of["default"].index("network")  # which has its turn before slow ones
        assert of["best"][: len(of["default"])] == of["default"]
        assert {"network (x only)", "network (y only)"} <= set(of["best"])
        assert len(set(of["best"])) == len(of["best"])
        assert of["best"][0] == "trivial"  # which all others are held against

    def test_options_of_another_modality_stay_out_of_a_network_of_one(self) -> None:
        base = ModelOptions(encoders={"x": "numeric"}, into=("y",), rounds=2)
        alone = {m.name: m.model for m in members_of(("x", "y"), "best", base)}["network (y only)"]
        assert alone is not None
        assert (alone.encoders, alone.into, alone.rounds) == ({}, None, 1)

    def test_a_model_is_left_out_beside_the_one_that_stands_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            members_module, "fittable", lambda: ["trivial", "gradient_boosting", "lightgbm", "yardstick"]
        )
        with_it = [m.classical for m in members_of(("x",), "quick", ModelOptions())]
        assert "lightgbm" in with_it
        assert "gradient_boosting" not in with_it
        monkeypatch.setattr(members_module, "fittable", lambda: ["trivial", "gradient_boosting", "yardstick"])
        assert "gradient_boosting" in [m.classical for m in members_of(("x",), "quick", ModelOptions())]

    def test_trees_are_not_given_thousands_of_features_of_a_modality_that_has_fewer(self) -> None:
        rng = np.random.default_rng(0)
        pictures = rng.random((60, 1, 24, 24)).astype(np.float32)
        data = from_tensors({"p": pictures, "x": rng.normal(size=(60, 2))}, np.arange(60) % 2)
        several = (
            Member("p", ("p",), "yardstick"),
            Member("trees", ("p", "x"), "gradient_boosting"),
            Member("all", ("p", "x"), "yardstick"),
        )
        model = fit_portfolio(data, PortfolioOptions(folds=2), members=several, keep_all=True)
        names = [model.predictors[model.member_of.index(m)].features.names["p"] for m in range(3)]  # type: ignore[attr-defined]
        assert names == ["hog", "image", "hog"]  # the last takes what the first has chosen

    def test_a_member_without_weight_can_be_looked_at_only_where_it_is_kept(self) -> None:
        useless, linear = Member("b", ("a",), "trivial"), Member("linear", ("a",), "linear")
        data = learnable(600).select(["a"])
        kept = fitted(data, linear, useless, metric="log_loss", keep_all=True)
        said = kept.member_outputs(kept.encode(data), 1)
        np.testing.assert_allclose(said, said[:1].repeat(600, 0))
        without = fitted(data, linear, useless, metric="log_loss")
        with pytest.raises(ConfigError, match="Fit with keep_all=True"):
            without.member_outputs(without.encode(data), 1)


class TestWhatIsTold:
    def test_noise_is_not_told_as_learned(self) -> None:
        rng = np.random.default_rng(0)
        data = from_tensors({"a": rng.normal(size=(100, 3)), "b": rng.normal(size=(100, 3))}, rng.normal(size=100))
        model = fitted(data, Member("trivial", (), "trivial"), LINEAR, BOOSTED)
        _, low, high = model.about["over_trivial"]
        assert low <= 0 <= high or high < 0
        assert model.members[0].weight > 0.2  # the mean shrinks what the others make of noise
        assert model.about["score"][0] > -0.1

    def test_always_the_same_answer_ranks_nothing(self) -> None:
        rng = np.random.default_rng(1)
        target = np.repeat(["no", "yes"], [14, 10])
        data = from_tensors({"a": rng.normal(size=(24, 3)), "b": rng.normal(size=(24, 3))}, target)
        model = fitted(data, Member("trivial", (), "trivial"), LINEAR, metric="roc_auc")
        assert model.members[0].score == 0.5  # though its answer differs from fold to fold
        assert model.about["over_trivial"][0] == pytest.approx(model.about["score"][0] - 0.5)

    def test_what_is_there_is_told_as_better_than_always_the_same(self) -> None:
        model = fitted(learnable(), Member("trivial", (), "trivial"), LINEAR)
        assert model.about["over_trivial"][1] > 0.2
        assert (model.weights[:, 0] == 0).all()  # the mean of probabilities and frequencies ranks alike
        assert np.isfinite(model.predict_proba(learnable(20, seed=9))).all()

    def test_copies_few_rows_of_a_class_and_a_class_that_is_never_answered_are_noted(self) -> None:
        data = learnable(120)
        assert data.target is not None
        copied = replace(data.rows(np.r_[np.arange(60), np.arange(60)]), target=np.tile(data.target[:60], 2))
        assert any("60 of 120 rows repeat another one" in note for note in fitted(copied, LINEAR).about["notes"])
        grouped = replace(copied, groups=np.tile(np.arange(60), 2))
        assert not any("repeat" in note for note in fitted(grouped, LINEAR).about["notes"])
        rare = replace(data, target=(np.arange(120) < 4).astype(int))
        notes = " ".join(fitted(rare, LINEAR).about["notes"])
        assert "4 of 120 rows are '1', fewer than 10" in notes
        assert "never answers '1'" in notes
        few = np.arange(120) % 2
        few[0] = 2
        several = fitted(replace(data, target=few, task="multiclass"), LINEAR).about["notes"]
        assert any("1 of 3 classes have fewer rows than there are folds, 3 ('2')" in note for note in several)


class TestBadInput:
    def test_a_member_that_fails_is_left_out_and_told(self) -> None:
        broken = Member("net", ("a", "b"), model=ModelOptions(fusion="trusted"))  # which is of classes
        model = fitted(make_product(120, task="regression"), LINEAR, broken)
        assert "net" in model.about["skipped"]

    def test_where_all_fail_the_reasons_are_told(self) -> None:
        with pytest.raises(ProfuseError, match="at least one model must be fitted; none was. net: "):
            fitted(
                make_product(120, task="regression"), Member("net", ("a", "b"), model=ModelOptions(fusion="trusted"))
            )

    def test_no_target(self) -> None:
        with pytest.raises(DataError, match="must have a target"):
            fit_portfolio(replace(learnable(), target=None))

    def test_an_unknown_metric_is_told_before_anything_is_fitted(self) -> None:
        with pytest.raises(UnknownNameError, match="roc_auk"):
            fit(learnable(), metric="roc_auk")

    def test_faults_of_options_are_told(self) -> None:
        with pytest.raises(ConfigError, match="preset must be"):
            fit(learnable(), preset="fast")
        with pytest.raises(ConfigError, match="n_jobs must be at least 1"):
            fit(learnable(), n_jobs=0)


def test_the_front_door_reads_a_table_and_keeps_its_schema(tmp_path: Path) -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    frame = pd.DataFrame(
        {"x": rng.normal(size=120) + 3 * y, "note": np.where(y, "alpha beta", "delta epsilon"), "y": y}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    model = fit(tmp_path / "t.csv", "y", preset="quick", folds=3, n_jobs=1, schema={"columns": {"note": "text"}})
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(frame.drop(columns="y")), again.predict(tmp_path / "t.csv"))
    assert again.evaluate(frame).values["accuracy"] > 0.95
    assert again.ask("missing", frame).estimates
