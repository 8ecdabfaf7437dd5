"""`membership`: whether one can tell by a prediction that the model has learned from a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profuse.inspect._base import Question
from profuse.inspect.answer import Answer, Estimate

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.predictor import Predictor

__all__ = ["Membership", "advantage", "found_at"]

_STREAM = 3_141_592  # data, a split or noise drawn with the same seed must have nothing to do with halves and samples
_RARE = 0.01  # false alarms


class Membership(Question):
    """`A = TPR - FPR` of an attack that calls a row a member of the training rows if its loss is below a threshold.

    Members are rows of `train`, others are the rows asked about. The threshold is the one that is best on half of the
    rows (of the groups), and measured on the other half, both ways, so that A is 0 on average where nothing leaks.
    Beside it: how often a random member has a smaller loss than a random other row, less one half (the area under the
    attack's ROC curve), and the share of members that are found with 1 % false alarms, less 1 %.

    The loss is -log p(true), or the squared error. It is what an attacker sees who knows a row and its target and asks
    the model once. Attacks that train models of their own find more: A is a lower bound of what leaks.

    There is no residual: nothing is shared out.

    Args:
        train: Rows that the model has learned from, as `Predictor.read` takes them. None: a placebo, half of the rows
            asked about against the others, which tells what chance gives for so many rows.
        seed: Of halves and of the bootstrap.
        n_resamples: See `Question`.

    Reference:
        Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning" (2018): the attack and its advantage.
        Carlini et al., "Membership Inference Attacks From First Principles" (2022): few false alarms are what counts.
        *Differs from the former*: the threshold is not the mean training loss, but learned on other rows.
    """

    name = "membership"
    description = "Whether predictions give away which rows the model has learned from (train=FILE)."

    def __init__(self, *, train: Any = None, seed: int = 0, n_resamples: int = 200) -> None:
        super().__init__(seed=seed, n_resamples=n_resamples)
        self.train = train

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        from profuse.inspect._words import ends_of

        e = answer.estimates[0]
        give = "give" if e.low > 0 else "are not shown to give"
        return f"Predictions {give} away which rows the model has learned from: an attack gains {ends_of(e)}."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            DataError: `train` cannot be read, or has no target.
        """
        import numpy as np

        from profuse.inspect.asked import read_asked

        asked = self.asked(predictor, dataset)
        others, other_groups = _losses(asked), asked.clusters
        if self.train is None:
            half = np.random.default_rng([_STREAM, self.seed]).permutation(np.unique(other_groups))
            is_member = np.isin(other_groups, half[: len(half) // 2])
            members, member_groups = others[is_member], other_groups[is_member]
            others, other_groups = others[~is_member], other_groups[~is_member]
            first = (
                "A placebo: no training rows were given, so half of the rows stand for members, which they are not. "
                "Give train=FILE, the rows that were fitted to."
            )
        else:
            known = read_asked(predictor, self.train, None, who="membership")
            learned = self.asked(predictor, known)
            members, member_groups = _losses(learned), learned.clusters
            first = f"{len(members)} rows that were fitted to, against {len(others)} that were not."
        rng = np.random.default_rng([_STREAM, self.seed, 1])
        sides = (members, member_groups), (others, other_groups)
        whole = _measured(*sides, seed=self.seed)
        draws = np.array(
            [_measured(*(_resampled(*side, rng) for side in sides), seed=self.seed) for _ in range(self.n_resamples)]
        )
        names = (
            "advantage",
            "area under the ROC curve, less .5",
            f"found at {100 * _RARE:.0f} % false alarms, less that",
        )
        estimates = []
        for name, value, drawn in zip(names, whole, draws.T, strict=True):
            width = 1.96 * float(np.std(drawn, ddof=1))
            estimates.append(Estimate(name, float(value), float(value - width), float(value + width), n=len(dataset)))
        return Answer(
            question=self.name,
            metric="TPR - FPR",
            n_rows=len(dataset),
            estimates=tuple(estimates),
            residual=None,
            notes=(
                first,
                f"Mean loss: {members.mean():.4f} of members, {others.mean():.4f} of others. Members are found by it "
                "if the interval of the advantage is above 0.",
                "Rows of the two must be of the same kind: a shift between them, of time say, looks like a leak. "
                "Attacks that train models of their own find more. A residual is not defined: nothing is shared out.",
            ),
            measures="what an attack gains",
        )


def advantage(members: np.ndarray, others: np.ndarray, first: tuple[np.ndarray, np.ndarray]) -> float:
    """Returns TPR - FPR of the threshold that is best on one half, on the other, both ways.

    Args:
        members: Losses of members.
        others: Losses of others.
        first: Which of them are in the first half, bool.
    """
    import numpy as np

    found = []
    for learn in (True, False):
        a, b = members[first[0] == learn], others[first[1] == learn]
        cuts = np.unique(np.concatenate([a, b]))
        gains = np.searchsorted(np.sort(a), cuts, side="right") / max(1, len(a)) - np.searchsorted(
            np.sort(b), cuts, side="right"
        ) / max(1, len(b))
        cut = cuts[gains.argmax()] if len(cuts) else 0.0
        a, b = members[first[0] != learn], others[first[1] != learn]
        found.append(float((a <= cut).mean() - (b <= cut).mean()) if len(a) and len(b) else 0.0)
    return float(np.mean(found))


def found_at(members: np.ndarray, others: np.ndarray, rate: float) -> float:
    """Returns the share of members whose loss is below that of all but `rate` of the others; ties count one half."""
    import numpy as np

    cut = np.quantile(others, rate, method="lower")
    return float((members < cut).mean() + 0.5 * (members == cut).mean())


def _measured(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], *, seed: int
) -> tuple[float, float, float]:
    import numpy as np
    from scipy.stats import rankdata

    (members, member_groups), (others, other_groups) = one, other
    halves = tuple(
        np.isin(groups, np.random.default_rng([_STREAM, seed, 2]).permutation(u := np.unique(groups))[: len(u) // 2])
        for groups in (member_groups, other_groups)
    )
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    n, m = len(members), len(others)
    smaller = 1 - (ranks.sum() - n * (n + 1) / 2) / (n * m)
    return (
        advantage(members, others, (halves[0], halves[1])),
        float(smaller - 0.5),
        found_at(members, others, _RARE) - _RARE,
    )


def _resampled(losses: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns groups drawn with replacement, each draw a group of its own."""
    import numpy as np

    names, at = np.unique(groups, return_inverse=True)
    rows_of = np.split(np.argsort(at, kind="stable"), np.cumsum(np.bincount(at))[:-1])
    drawn = rng.integers(len(names), size=len(names))
    rows = np.concatenate([rows_of[i] for i in drawn])
    # copies of a group stay in one half: a row must not be learned from and measured
    return losses[rows], np.concatenate([np.full(len(rows_of[i]), i) for i in drawn])


def _losses(asked: Asked) -> np.ndarray:
    """Returns -log p(true) of each row, the sum over labels; or the squared error."""
    import numpy as np

    predictor, true = asked.predictor, asked.true
    said = predictor.predict_encoded(asked.inputs)
    if predictor.task == "regression":
        return np.asarray(np.square(said - true).mean(1))
    p = said.clip(1e-12, 1.0)
    if predictor.task == "multilabel":
        return np.asarray(-np.where(true > 0.5, np.log(p), np.log((1 - said).clip(1e-12, 1.0))).sum(1))
    return np.asarray(-np.log(p[np.arange(len(p)), true.astype(int)]))
