"""One network that learns from a portfolio: from which predictions, how it is judged, and how it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import make_product
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import one_hot

from profuse import fit, from_tensors, load_model
from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.errors import ConfigError, DataError
from profuse.models.options import ModelOptions
from profuse.portfolio import distil as distil_module
from profuse.portfolio.distil import distilled, taught
from profuse.portfolio.fitted import Event
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import Decision, NetworkPredictor, PortfolioPredictor
from profuse.training import fitting as fitting_module
from profuse.training import solving
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("few_classical")
SMALL = {"fusion": "concat", "width": 8, "members": 1}
N = 150


def learnable(n: int = N, *, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
    a[:, 0] += 2.5 * y
    return from_tensors({"a": a, "b": b}, np.where(y == 1, "yes", "no"))


def student(data: Dataset, **asked: Any) -> NetworkPredictor:
    asked = {"preset": "quick", "folds": 3, "n_jobs": 1, "model": SMALL, "train": {"epochs": 2}} | asked
    options: dict[str, Any] = asked
    return fit(data, distil=True, **options)


def prepared(data: Dataset) -> Prepared:
    rows = np.arange(len(data))
    return Prepared.make(data, Split(rows[:100], rows[100:130], rows[130:]))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the networks were to learn, and of which rows."""
    kept: dict[str, list[Any]] = {"said": [], "prepared": []}

    def noted(ready: Prepared, said: np.ndarray) -> torch.Tensor:
        kept["said"].append(said)
        return taught(ready, said)

    def fitted(ready: Prepared, *args: Any) -> NetworkPredictor:
        kept["prepared"].append(ready)
        return fit_model(ready, *args)

    monkeypatch.setattr(distil_module, "taught", noted)
    monkeypatch.setattr(distil_module, "fit_model", fitted)
    return kept


@pytest.mark.slow
class TestWhatIsLearned:
    def test_a_portfolio_that_knows_its_rows_by_heart_teaches_nothing_of_them(self, seen: dict[str, list[Any]]) -> None:
        noise = learnable(240)
        noise = replace(noise, target=np.random.default_rng(3).permutation(np.repeat(["no", "yes"], 120)))
        by_heart = KNeighborsClassifier(n_neighbors=1)
        student(noise, members={"by_heart": by_heart}, metric="accuracy")
        right = (seen["said"][0][:, 1] > 0.5) == (np.asarray(noise.target) == "yes")
        assert len(right) == 240  # each row, and none by a model that has seen it
        assert right.mean() == pytest.approx(0.5, abs=0.13)

    def test_the_network_that_is_judged_and_its_portfolio_have_not_seen_the_rows(
        self, seen: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, portfolios = replace(learnable(), groups=np.repeat(np.arange(30), 5)), []

        def noted(rows: Dataset, *args: Any, **more: Any) -> PortfolioPredictor:
            portfolios.append(rows)
            return fit_portfolio(rows, *args, **more)

        monkeypatch.setattr(distil_module, "fit_portfolio", noted)
        model = student(data)
        first, last = (ready.split for ready in seen["prepared"])
        assert len(first.test) == model.about["n_rows"] == 30
        assert data.groups is not None
        known = {*data.groups[first.train], *data.groups[first.valid]}
        assert not known & {*data.groups[first.test]}
        assert portfolios[0].groups is not None
        assert {*portfolios[0].groups} == known
        np.testing.assert_array_equal(np.sort(np.concatenate([last.train, last.valid])), np.arange(N))
        assert not {*data.groups[last.train]} & {*data.groups[last.valid]}
        assert model.history is not None
        assert model.history.n_train_rows == len(last.train)

    def test_the_target_is_half_of_what_is_learned_and_all_where_nothing_was_said(self) -> None:
        ready = prepared(learnable())
        said = np.full((N, 2), [0.2, 0.8])
        said[5] = np.nan
        goal = taught(ready, said)
        own = one_hot(ready.target, 2).float()
        torch.testing.assert_close(goal[:5], own[:5] / 2 + torch.tensor([0.1, 0.4]))
        torch.testing.assert_close(goal[5], own[5])
        torch.testing.assert_close(goal.sum(1), torch.ones(N))

    def test_numbers_are_averaged_in_their_units(self) -> None:
        ready = prepared(make_product(N, task="regression"))
        assert ready.dataset.target is not None
        said = np.asarray(ready.dataset.target)[:, None] + 3.0
        goal = ready.codec.in_units(taught(ready, said).numpy())
        np.testing.assert_allclose(goal, said - 1.5, rtol=1e-4, atol=1e-5)

    def test_where_rows_have_times_the_latest_judge_and_early_ones_have_their_target(
        self, seen: dict[str, list[Any]]
    ) -> None:
        times = np.random.default_rng(0).permutation(N)
        model = student(replace(learnable(), times=times))
        first, ready = seen["prepared"][0].split, seen["prepared"][1]
        assert times[first.test].min() > max(times[first.train].max(), times[first.valid].max())
        silent = np.isnan(seen["said"][0]).any(1)
        assert 0 < silent.sum() < N - len(first.test)
        assert times[silent].max() < times[~silent].min()
        assert model.about["n_taught"] == N - silent.sum()
        index = torch.as_tensor(silent)
        torch.testing.assert_close(ready.taught[index], one_hot(ready.target, 2).float()[index])


@pytest.mark.slow
class TestTraining:
    @pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
    @pytest.mark.parametrize("epochs", [1, 3])
    def test_targets_as_probabilities_make_the_same_network(self, task: str, epochs: int) -> None:
        ready = prepared(make_product(N, task=task))
        own = ready.target if ready.target.is_floating_point() else one_hot(ready.target, ready.codec.n_outputs).float()
        made = [
            fit_model(r, ModelOptions(**SMALL, label_smoothing=0.1), TrainOptions(epochs=epochs))
            for r in (ready, replace(ready, taught=own))
        ]
        one, two = (m.predict_encoded(ready.inputs) for m in made)
        np.testing.assert_allclose(one, two, atol=1e-5)

    @pytest.fixture
    def goals(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
        """The target that each of the three steps of a fit was given."""
        given: dict[str, torch.Tensor] = {}
        for name in ("fit_linear", "train", "retrain"):
            module = solving if name == "fit_linear" else fitting_module
            step = getattr(module, name)

            def noted(model: Any, inputs: Any, target: torch.Tensor, *args: Any, _step: Any = step, **more: Any) -> Any:
                given[_step.__name__] = target
                return _step(model, inputs, target, *args, **more)

            monkeypatch.setattr(module, name, noted)
        return given

    def test_what_is_said_is_learned_and_the_truth_chooses(self, goals: dict[str, torch.Tensor]) -> None:
        ready, said = prepared(learnable()), torch.full((N, 2), 0.5)
        fit_model(replace(ready, taught=said), ModelOptions(**SMALL), TrainOptions(epochs=1, refit=True))
        own = one_hot(ready.target, 2).float()
        torch.testing.assert_close(goals["train"][ready.split.train], said[ready.split.train])
        torch.testing.assert_close(goals["train"][ready.split.valid], own[ready.split.valid])
        torch.testing.assert_close(goals["retrain"], said)  # validation rows are learned from too
        assert goals["fit_linear"] is ready.target
        assert (said == 0.5).all()

    @pytest.mark.parametrize("fusion", ["trusted", "predictive_dynamic", "stacking", "product_of_experts"])
    def test_operators_that_look_at_targets_take_probabilities(self, fusion: str) -> None:
        ready = prepared(make_product(N, task="multiclass"))
        own = one_hot(ready.target, 3).float()
        options, train = ModelOptions(fusion=fusion, width=8, members=1), TrainOptions(epochs=1)
        one, two = (fit_model(r, options, train) for r in (ready, replace(ready, taught=own)))
        np.testing.assert_allclose(one.predict_encoded(ready.inputs), two.predict_encoded(ready.inputs), atol=1e-5)
        soft = fit_model(replace(ready, taught=0.5 * own + 1 / 6), options, train)
        assert np.isfinite(soft.predict_encoded(ready.inputs)).all()

    @pytest.mark.parametrize("balance", ["uniform", "ogm_ge", "gradient_blending", "mmpareto", "mla"])
    def test_balancing_methods_take_probabilities(self, balance: str) -> None:
        ready = prepared(make_product(N, task="multiclass"))
        own = one_hot(ready.target, 3).float()
        train = TrainOptions(epochs=2, balance=balance)
        one, two = (fit_model(r, ModelOptions(**SMALL), train) for r in (ready, replace(ready, taught=own)))
        np.testing.assert_allclose(one.predict_encoded(ready.inputs), two.predict_encoded(ready.inputs), atol=1e-5)


class TestResult:
    @pytest.mark.slow
    def test_one_network_comes_back_is_judged_beside_the_portfolio_and_kept(self, tmp_path: Path) -> None:
        events: list[Event] = []
        model = student(learnable(), cost={"yes": {"no": 3}}, on_event=events.append)
        assert isinstance(model, NetworkPredictor)
        assert [(e.n_done, e.n_total) for e in events if e.stage == "distil"] == [(0, 2), (1, 2)]
        about = model.about
        value, low, high = about["score"]
        assert low <= value <= high
        assert value > 0.8
        assert about["gain"][0] == pytest.approx(value - about["portfolio"])
        assert sum(about["members"].values()) == pytest.approx(1)
        assert about["n_taught"] == N
        assert model.decision == Decision(cost=((0.0, 1.0), (3.0, 0.0)))
        model.save(tmp_path / "m")
        again, new = load_model(tmp_path / "m"), learnable(40, seed=5)
        assert isinstance(again, NetworkPredictor)
        assert again.about == about
        card = (tmp_path / "m" / "card.md").read_text()
        assert f"scores AUROC {value:.4f} (95 % interval {low:.4f} to {high:.4f}) on 30 rows" in card
        assert "| portfolio | folds | 3 |" in card
        assert "| model | width | 8 |" in card
        np.testing.assert_array_equal(again.predict(new), model.predict(new))
        assert model.evaluate(new).values["auroc"] > 0.85

    @pytest.mark.slow
    @pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
    def test_every_task_is_distilled(self, task: str) -> None:
        model = student(make_product(N, task=task))
        assert model.task == task
        assert len(model.about["score"]) == 3

    @pytest.mark.slow
    def test_each_model_has_the_threshold_of_its_own_held_out_rows(self, seen: dict[str, list[Any]]) -> None:
        model = student(learnable(), threshold="f1", metric="accuracy")
        told, last = model.about["decision"], seen["prepared"][1].split
        assert told["metric"] == "f1"
        assert told["n_rows"] == len(last.valid)
        assert told["threshold"] == model.decision.threshold
        assert model.about["n_rows"] == len(seen["prepared"][0].split.test)

    @pytest.mark.slow
    def test_weights_count_in_the_network_too(self) -> None:
        data = learnable()
        weights = (np.asarray(data.target) == "yes") * 1.0 + 1e-3
        heavy, plain = student(replace(data, weights=weights)), student(data)
        new = learnable(200, seed=7)
        assert heavy.predict_proba(new)[:, 1].mean() > plain.predict_proba(new)[:, 1].mean() + 0.1

    def test_what_cannot_be_distilled_is_told(self) -> None:
        with pytest.raises(ConfigError, match="looks at probabilities: no threshold changes it"):
            student(learnable(), threshold="auroc")
        with pytest.raises(DataError, match="must have a target"):
            distilled(replace(learnable(), target=None), PortfolioOptions())
