"""What must hold for every classical model. Each check's docstring says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from profuse.classical import ClassicalModel, Problem
from profuse.classical.own import model_of
from profuse.errors import ConfigError, ProfuseError
from profuse.metrics import Metric
from profuse.metrics.pinball import Pinball
from profuse.schema import Task
from profuse.testing._contract import run_checks
from profuse.testing._subject import need

__all__ = ["CLASSICAL_CHECKS", "check_classical"]

Array = np.ndarray
N_ROWS, N_KNOWN, N_TRAIN = 220, 160, 120


@dataclass(frozen=True)
class ClassicalSubject:
    """A classical model, and the tasks that it can learn."""

    cls: type[ClassicalModel]

    @property
    def tasks(self) -> list[Task]:
        """Those that it does not decline."""
        return [task for task in get_args(Task) if not self.cls.not_for(task)]

    def fitted(
        self, problem: Problem, task: Task, *, seed: int = 0, refit: bool = False
    ) -> tuple[ClassicalModel, Array]:
        """Returns a fitted model, and what it predicted for validation rows."""
        model = self.cls(task, _n_outputs(task))
        return model, model.fit(problem, settings=self.cls.trials[0], seed=seed, refit=refit)


def _n_outputs(task: Task) -> int:
    return {"binary": 2, "multiclass": 3, "multilabel": 2, "regression": 2}[task]


def _problem(task: Task, *, missing: bool = True) -> Problem:
    """Three numbers, the first of which tells much, and codes of a category; the last rows are of neither part."""
    draw = np.random.default_rng(11)
    x = draw.normal(size=(N_ROWS, 4))
    x[:, 3] = draw.integers(0, 3, N_ROWS)
    signal = x[:, 0] + draw.normal(0.0, 0.2, N_ROWS)
    target: dict[Task, Array] = {
        "binary": (signal > 0).astype(np.int64),
        "multiclass": np.digitize(signal, [-0.5, 0.5]),
        "multilabel": np.stack([signal > 0, signal < 0.3], axis=1).astype(np.int64),
        "regression": np.stack([signal, -signal], axis=1),
    }
    if missing:
        x[::7, 1] = x[3::11, 3] = np.nan
    rows = np.arange(N_KNOWN)
    return Problem(x, target[task], rows[:N_TRAIN], rows[N_TRAIN:], np.array([3]))


def _wanted(task: Task, target: Array) -> Array:
    classes = task in ("binary", "multiclass")
    return np.eye(_n_outputs(task))[target] if classes else np.asarray(target, dtype=np.float64)


def _error(task: Task, target: Array, prediction: Array) -> float:
    return float(np.square(_wanted(task, target) - prediction).mean())


def _check_outputs(task: Task, outputs: Array, n_rows: int, what: str) -> None:
    wanted = (n_rows, _n_outputs(task))
    need(np.shape(outputs) == wanted, f"{what} must be {wanted}; got {np.shape(outputs)} ({task}).")
    need(bool(np.isfinite(outputs).all()), f"{what} must be finite; got others ({task}).")
    if task != "regression":
        within = bool((outputs >= -1e-9).all() and (outputs <= 1 + 1e-9).all())
        need(within, f"{what} must lie in 0 to 1; got {outputs.min():.3g} to {outputs.max():.3g} ({task}).")
    if task in ("binary", "multiclass"):
        sums = outputs.sum(1)
        need(bool(np.allclose(sums, 1.0, atol=1e-5)), f"{what} must sum to 1; got {sums.min():.4g} ({task}).")


def declared(s: ClassicalSubject) -> None:
    """It has trials, a role, a docstring, and a task that it can learn; what was fitted says how large it is."""
    need(bool(s.cls.trials) and all(isinstance(t, Mapping) for t in s.cls.trials), "trials must be one dict at least.")
    roles = ("classical", "trivial", "single")
    need(s.cls.role in roles, f"role must be one of {roles}; got {s.cls.role!r}.")
    need(bool((s.cls.__doc__ or "").strip()), "the class must have a docstring; got none.")
    need(bool(s.tasks), "not_for must allow a task; it declines all.")
    n = s.fitted(_problem(s.tasks[0]), s.tasks[0])[0].n_parameters
    need(isinstance(n, int) and n > 0, f"n_parameters must be above 0; got {n!r}.")


def outputs_are_predictions(s: ClassicalSubject) -> None:
    """It returns probabilities or numbers, one row a row, for validation rows and for others, refitted or not."""
    for task in s.tasks:
        problem = _problem(task)
        for refit in (False, True):
            model, valid = s.fitted(problem, task, refit=refit)
            _check_outputs(task, valid, N_KNOWN - N_TRAIN, "the validation prediction")
            _check_outputs(task, model.predict(problem.x), N_ROWS, "a prediction")


def learns(s: ClassicalSubject) -> None:
    """It predicts new rows better than the mean does; one that is trivial answers the same for every row."""
    for task in s.tasks:
        problem = _problem(task)
        prediction = s.fitted(problem, task, refit=True)[0].predict(problem.x)[N_KNOWN:]
        if s.cls.role == "trivial":
            need(bool((prediction == prediction[0]).all()), f"it must answer the same for all; got others ({task}).")
            continue
        mean = np.broadcast_to(_wanted(task, problem.target[:N_KNOWN]).mean(0), prediction.shape)
        target = problem.target[N_KNOWN:]
        error, least = _error(task, target, prediction), _error(task, target, mean)
        need(error < 0.8 * least, f"the squared error must be below {0.8 * least:.3f}; got {error:.3f} ({task}).")


def missing_accepted(s: ClassicalSubject) -> None:
    """It takes NaN: in training, where training had none, and in rows that have nothing else."""
    for task in s.tasks:
        for missing in (True, False):
            problem = _problem(task, missing=missing)
            model, _ = s.fitted(problem, task)
            x = np.array(_problem(task).x)
            x[0], x[1, 0], x[2, 3] = np.nan, np.nan, np.nan
            _check_outputs(task, model.predict(x), N_ROWS, "a prediction of rows that lack numbers")


def rows_independent(s: ClassicalSubject) -> None:
    """What it predicts for a row does not hang on the rows beside it, nor on their order."""
    for task in s.tasks:
        problem = _problem(task)
        x, model = np.asarray(problem.x), s.fitted(problem, task)[0]
        whole, order = model.predict(x), np.random.default_rng(3).permutation(N_ROWS)
        for what, rows in (("in another order", order), ("alone", order[:1]), ("beside others", order[:7])):
            part = model.predict(x[rows])
            near = part.shape == whole[rows].shape and bool(np.allclose(part, whole[rows], rtol=1e-6, atol=1e-8))
            need(near, f"a row must be predicted the same {what}; got others ({task}).")


def deterministic(s: ClassicalSubject) -> None:
    """Two fits at the same seed predict the same, refitted or not."""
    for task in s.tasks:
        problem = _problem(task)
        for refit in (False, True):
            one, two = (s.fitted(problem, task, seed=5, refit=refit)[0].predict(problem.x) for _ in range(2))
            need(bool(np.array_equal(one, two)), f"predictions must be the same at the same seed; got others ({task}).")


def refit_comes_after(s: ClassicalSubject) -> None:
    """The validation prediction is from before it learns from validation rows: the same, whether it refits or not."""
    for task in s.tasks:
        problem = _problem(task)
        one, two = (s.fitted(problem, task, refit=refit)[1] for refit in (False, True))
        same = bool(np.allclose(one, two, rtol=1e-6, atol=1e-9))
        need(same, f"the validation prediction must be the same with a refit; got another ({task}).")


def state_survives(s: ClassicalSubject) -> None:
    """Its state is plain data, and what `from_state` makes of it predicts the same, bit for bit."""
    for task in s.tasks:
        problem = _problem(task)
        model, _ = s.fitted(problem, task)
        state = deepcopy(model.state())
        _check_plain(state, "state()")
        again = s.cls.from_state(state, task, _n_outputs(task))
        same = bool(np.array_equal(again.predict(problem.x), model.predict(problem.x)))
        need(same, f"a model from its state must predict the same; got others ({task}).")
        need(again.n_parameters == model.n_parameters, f"n_parameters must be the same; got another ({task}).")


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        need(all(isinstance(k, str) for k in value), f"names in {where} must be text; got others.")
        for name, part in value.items():
            _check_plain(part, f"{where}[{name!r}]")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            _check_plain(part, f"{where}[{i}]")
    else:
        plain = value is None or isinstance(value, str | int | float)
        plain = plain or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")
        need(plain, f"{where} must be a JSON value or an array of numbers; got {type(value).__name__}.")


def absent_class_is_known(s: ClassicalSubject) -> None:
    """A class that training rows lack ends no fit, nor does a target that does not vary in them."""
    for task in s.tasks:
        problem = _problem(task)
        target = np.array(problem.target)
        constant, lacking = target.copy(), target.copy()
        constant[:N_TRAIN] = target[0]
        if task == "multiclass":
            lacking[:N_TRAIN] = np.where(lacking[:N_TRAIN] == 2, 0, lacking[:N_TRAIN])
        for each in (constant, lacking):
            for refit in (False, True):
                model, valid = s.fitted(replace(problem, target=each), task, refit=refit)
                _check_outputs(task, valid, N_KNOWN - N_TRAIN, "the validation prediction without a class")
                _check_outputs(task, model.predict(problem.x), N_ROWS, "a prediction without a class")


def weights_count(s: ClassicalSubject) -> None:
    """One that is `weighted` learns of rows by their weights: wrong targets of rows that hardly count do no harm."""
    if not s.cls.weighted or s.cls.role == "trivial":
        return
    for task in s.tasks:
        problem = _problem(task)
        wrong = np.random.default_rng(2).random(N_ROWS) < 0.45
        wrong[N_KNOWN:] = False
        target = np.array(problem.target)
        target[wrong] = -target[wrong] if task == "regression" else target.max() - target[wrong]
        noisy = replace(problem, target=target)
        try:
            weighed = s.fitted(replace(noisy, weights=np.where(wrong, 1e-4, 1.0)), task)[0]
        except ProfuseError as error:
            need("sample_weight" in str(error), f"weights must be taken, or refused with a reason; got {error}")
            continue
        plain = s.fitted(noisy, task)[0]
        one, two = (_error(task, problem.target[N_KNOWN:], m.predict(problem.x)[N_KNOWN:]) for m in (weighed, plain))
        need(
            one < two, f"the squared error must be smaller with weights; got {one:.3f}, and {two:.3f} without ({task})."
        )


def quantile_learned(s: ClassicalSubject) -> None:
    """One that learns `quantiles` has about that share of rows that it has not learned from below what it predicts."""
    if not s.cls.quantiles or s.cls.not_for("regression"):
        return
    problem = _problem("regression")
    skewed = np.exp(0.5 * np.asarray(problem.target) + np.random.default_rng(6).normal(size=(N_ROWS, 2)))
    for q in (0.2, 0.8):
        asked = replace(problem, target=skewed, metric=_pinball(q))
        model, valid = s.fitted(asked, "regression")
        constant, _ = s.fitted(replace(asked, target=np.ones_like(skewed)), "regression")
        _check_outputs("regression", constant.predict(problem.x), N_ROWS, "a quantile of equal targets")
        new = np.concatenate([valid, model.predict(problem.x[N_KNOWN:])])
        share = float((skewed[N_TRAIN:] <= new).mean())
        need(abs(share - q) < 0.15, f"a share of {q} of targets must be below; got {share:.2f}.")


def _pinball(q: float) -> Metric:
    class Asked(Pinball):
        quantile = q

    return Asked()


def inputs_left_alone(s: ClassicalSubject) -> None:
    """It does not change the arrays that it is given."""
    for task in s.tasks:
        problem = _problem(task)
        x, target = np.array(problem.x), np.array(problem.target)
        model, _ = s.fitted(problem, task, refit=True)
        model.predict(problem.x)
        same = np.array_equal(x, np.asarray(problem.x), equal_nan=True) and np.array_equal(target, problem.target)
        need(bool(same), f"features and targets must be left as they are; got others ({task}).")


CLASSICAL_CHECKS: dict[str, Callable[[ClassicalSubject], None]] = {
    check.__name__: check
    for check in (
        declared,
        outputs_are_predictions,
        learns,
        missing_accepted,
        rows_independent,
        deterministic,
        refit_comes_after,
        state_survives,
        absent_class_is_known,
        weights_count,
        quantile_learned,
        inputs_left_alone,
    )
}


def check_classical(
    model: type[ClassicalModel] | object, *, checks: Iterable[str] | Sequence[str] = tuple(CLASSICAL_CHECKS)
) -> None:
    """Checks a classical model against the contract, for every task that it does not decline.

    Args:
        model: Its class; or the class of an estimator of scikit-learn, one, or a function that returns one.
        checks: Names of `CLASSICAL_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        ConfigError: It is no such model.
        UnknownNameError: There is no such check.
    """
    is_model = isinstance(model, type) and issubclass(model, ClassicalModel)
    cls = model if is_model else model_of("estimator", model)
    if not isinstance(cls, type):
        raise ConfigError(
            f"check_classical: model must be a class that inherits from ClassicalModel, or an estimator; got {model!r}."
        )
    run_checks(cls.__name__, ClassicalSubject(cls), CLASSICAL_CHECKS, checks)
