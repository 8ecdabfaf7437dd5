"""Which class a model answers: as asked, or by a threshold that held-out rows choose; and what that is worth."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Self

import numpy as np

from profuse.data.target import TargetCodec
from profuse.errors import ConfigError, DataError
from profuse.inspect.intervals import Scores
from profuse.metrics import Metric, metric_named, metrics_for
from profuse.portfolio.cut import Cut
from profuse.portfolio.fits import score_of
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import MOST_PROBABLE, Decision, NetworkPredictor, check_two_classes
from profuse.schema import Task

__all__ = ["AskedDecision", "HeldOut", "best_threshold", "thresholds_of", "what_it_is_worth"]

_MOST_THRESHOLDS = 256


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows that the model has not learned from: they choose a threshold, and tell what it is worth.

    Attributes:
        task: What kind of target.
        true: Their classes, `[row]`.
        clusters: `[row]`: rows with one number are not independent.
        part_of: `[row]`: rows of a part are judged by what the others have chosen.
    """

    task: Task
    true: np.ndarray
    clusters: np.ndarray
    part_of: np.ndarray

    @classmethod
    def of_cut(cls, cut: Cut) -> Self:
        """Returns the rows of a portfolio's folds."""
        return cls(cut.codec.task, cut.true, cut.clusters, cut.fold_of)

    @classmethod
    def of_network(cls, network: NetworkPredictor, *, seed: int) -> Self:
        """Returns the validation rows of a network that was just trained, in five parts that hold whole clusters."""
        assert network.valid_true is not None
        assert network.valid_clusters is not None
        true, clusters = network.valid_true, network.valid_clusters
        order = np.random.default_rng(seed).permutation(int(clusters.max()) + 1)
        first = np.zeros(len(order), dtype=np.int64)
        first[clusters] = true  # parts have about as many rows of each class
        place = np.empty(len(order), dtype=np.int64)
        place[np.lexsort((order, first))] = np.arange(len(order))
        return cls(network.task, true, clusters, place[clusters] % _PARTS)


_PARTS = 5


@dataclass(frozen=True)
class AskedDecision:
    """What was asked for.

    Attributes:
        decision: As it was asked for; the most probable class where a metric chooses.
        metric: That is to choose a threshold; None: there is nothing to choose.
    """

    decision: Decision
    metric: Metric | None = None

    @classmethod
    def of(cls, options: PortfolioOptions, codec: TargetCodec) -> AskedDecision:
        """Returns what `options` ask for.

        Raises:
            ConfigError: The task has no such classes, both are asked for, or the metric does not judge answers.
            UnknownNameError: There is no such metric, or class.
        """
        asked, classes = options.threshold, codec.classes.tolist()
        if not isinstance(asked, str):
            return cls(Decision.by(classes, codec.task, threshold=asked, cost=options.cost, who="fit"))
        check_two_classes(asked, codec.task, who="fit")
        return cls(MOST_PROBABLE, judge_named(asked, codec.task))

    def made(self, probabilities: np.ndarray, true: np.ndarray) -> Decision:
        """Returns the decision, by probabilities of rows that were held out."""
        if self.metric is None:
            return self.decision
        return Decision(threshold=best_threshold(self.metric, true, probabilities))

    def by_others(self, probabilities: np.ndarray, held: HeldOut) -> np.ndarray:
        """Returns the class numbers that are answered in each part, `[row]`, by what other parts have chosen."""
        answers = np.zeros(len(probabilities), dtype=np.int64)
        for part in np.unique(held.part_of):
            rows, rest = held.part_of == part, held.part_of != part
            answers[rows] = self.made(probabilities[rest], held.true[rest]).codes(probabilities[rows])
        return answers


class MeanCost(Metric):
    """The mean over rows of what their answers cost."""

    name = "mean_cost"
    label = "mean cost"
    higher_is_better = False
    range = (0.0, np.inf)
    tasks = ("binary", "multiclass")
    of_answers = True

    def __init__(self, decision: Decision) -> None:
        self.cost = np.asarray(decision.cost)

    def score(self, y: np.ndarray, p: np.ndarray) -> float:
        return float(self.cost[y, p.argmax(1)].mean())


def judge_named(name: str, task: Task) -> Metric:
    """Returns the metric of this name, which judges answers.

    Raises:
        ConfigError: It judges probabilities, or is not of this task.
        UnknownNameError: There is no such metric.
    """
    metric = metric_named(name, task, who="fit: threshold")
    if not metric.of_answers:
        able = ", ".join(m.name for m in metrics_for(task) if m.of_answers)
        raise ConfigError(
            f"fit: threshold must be a number, or a metric of answers; got threshold={name!r}, which looks at "
            f"probabilities: no threshold changes it. Use one of {able}."
        )
    return metric


def thresholds_of(true: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the thresholds that may be best for rows with these probabilities of the second class, sorted.

    They lie halfway between two probabilities of which the upper one is of a row of the second class: a better score
    has none else where more hits are better and more false alarms worse. Besides .5, and those that answer one class
    only. Of more than 256 every so manieth.
    """
    values, at = np.unique(second, return_inverse=True)
    has_second = np.bincount(at, weights=true == 1) > 0
    middle = (values[:-1] + values[1:]) / 2
    middle = np.where(middle > values[:-1], middle, values[1:])[has_second[1:]]  # neighbours of floats have no middle
    if len(middle) > _MOST_THRESHOLDS:
        middle = middle[np.linspace(0, len(middle) - 1, _MOST_THRESHOLDS).round().astype(int)]
    every = np.unique([values[0] / 2, *middle, 0.5, (1 + values[-1]) / 2])
    return np.asarray(every[(every > 0) & (every < 1)])


def best_threshold(metric: Metric, true: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the threshold of the second of two classes with the best score; of equal ones that nearest to .5."""

    def worth(threshold: float) -> tuple[float, float]:
        answers = Decision(threshold=threshold).seen_by(metric, probabilities)
        score = score_of(metric, true, answers)
        better = -np.inf if score is None else score if metric.higher_is_better else -score
        return better, -abs(threshold - 0.5)

    return float(max(thresholds_of(true, probabilities[:, 1]).tolist(), key=worth))


def what_it_is_worth(
    asked: AskedDecision, decision: Decision, probabilities: np.ndarray, held: HeldOut, seed: int
) -> dict[str, object]:
    """Returns what is told of a decision: how often held-out rows are answered with the second class, and rightly so;
    and the score, with its ends, of answers that other parts have decided, beside that of the most probable class."""
    answers, true = asked.by_others(probabilities, held), held.true
    result: dict[str, object] = dict(decision.model_dump(mode="json", exclude_none=True))
    if held.task == "binary":
        said, there = answers == 1, true == 1
        result |= {"n_answered": int(said.sum()), "n_right": int((said & there).sum()), "n_there": int(there.sum())}
    metric = asked.metric if decision.cost is None else MeanCost(decision)
    if metric is None:
        return result
    eye = np.eye(probabilities.shape[1])
    seen: dict[Hashable, np.ndarray] = {"decided": eye[answers], "most probable": eye[probabilities.argmax(1)]}
    result["metric"] = metric.name
    try:
        scores = Scores(metric, true, seen, held.clusters, seed=seed, n_resamples=200)
    except DataError:  # not defined on these rows
        return result
    return result | {
        "score": list(scores.score("decided")),
        "most_probable": scores["most probable"],
        "gain": list(scores.gain("decided", "most probable")),
    }
