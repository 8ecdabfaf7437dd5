"""`rounds`: what each round of a progressive model gains, and what its branches know by then."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer, Estimate

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.predictor import Predictor

__all__ = ["RoundByRound"]

_FOLDS = 5
_LEAST_ROWS = 40  # that a probe is fitted and scored on
_SETTLED = 0.01  # change of a probability, or of a number in standard deviations


class RoundByRound(Question):
    """`G(1) = score(round 1) - score(nothing shown)`, and `G(r) = score(round r) - score(round 1)` of later rounds.

    Beside them, of each branch, the score of a linear probe: a logistic or ridge regression of the target on the mean
    of the tokens that go into the fusion, fitted and scored on these rows in five folds. From the second round on
    a branch may know of the others what was fed back to it. A probe's value is what it has gained since round 1, in
    round 1 what it has over a probe of nothing.

    Of a predictor without rounds there is the one round. Of a progressive model in equilibrium there are the rounds
    that its search is allowed.

    The residual is what the last round gains over the first, less the sum of the steps between: 0 but for rounding.

    Args:
        probes: Whether branches are probed.
        metric: See `Question`.
        seed: Of folds and of the bootstrap.
        n_resamples: See `Question`.

    Reference:
        Shankar, Thompson, Fiterau, "Progressive Fusion for Multimodal Integration" (2022). Probes: Alain, Bengio,
        "Understanding intermediate layers using linear classifier probes" (2017).
    """

    name = "rounds"
    description = "What each round of a progressive model gains, how far its state still moves, what branches know."

    def __init__(
        self, *, probes: bool = True, metric: str | None = None, seed: int = 0, n_resamples: int = 200
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        if not isinstance(probes, bool):
            raise ConfigError(f"rounds: probes must be true or false; got probes={probes!r}. The default is true.")
        self.probes = probes

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        from profuse.inspect._words import ends_of

        gains = [e for e in answer.estimates if e.name.startswith("round ")]
        if len(gains) < 2:
            return "The model has one round: there is nothing that feedback could gain."
        last = max(gains[1:], key=lambda e: e.value)
        if last.low <= 0:
            return f"No round after the first is shown to gain: {last.name} most, {ends_of(last)} of {answer.label}."
        return f"After the first, {last.name} gains most: {ends_of(last)} of {answer.label}."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`."""
        from profuse.inspect.asked import hide

        asked = self.asked(predictor, dataset)
        names = tuple(asked.used)
        said = predictor.predict_encoded_rounds(asked.inputs)
        nothing = predictor.predict_encoded(hide(asked.inputs, names))
        states = predictor.states_by_round(asked.inputs)
        predictions: dict[Hashable, np.ndarray] = {"nothing": nothing, **dict(enumerate(said, 1))}
        probed, untold = self._probed(asked, states)
        predictions |= probed
        scores = asked.scores(predictions)
        estimates = [asked.loss(scores, "round 1", "nothing", better=1, of=1)]
        estimates += [asked.loss(scores, f"round {r}", 1, better=r, of=r, at=r) for r in range(2, len(said) + 1)]
        steps = [scores.gain(r, r - 1)[0] for r in range(2, len(said) + 1)]
        residual = (estimates[-1].value if len(said) > 1 else 0.0) - sum(steps)
        for name in sorted({key[1] for key in probed if isinstance(key, tuple)} - {""}):
            estimates += self._of_probe(asked, scores, name, len(said))
        moved = self._moved(states)
        details = {
            "scores": [scores[r] for r in range(1, len(said) + 1)],
            "moved": {name or "fused": values for name, values in moved.items()},
            "settled": self._settled(asked, said),
        }
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=tuple(estimates),
            residual=round(residual, 12) + 0.0,
            notes=(*self._notes(details, len(said), untold), *asked.notes(scores)),
            measures="what a round gains",
            score=scores[len(said)],
            details=details,
        )

    def _of_probe(self, asked: Asked, scores: Any, name: str, n_rounds: int) -> list[Estimate]:
        key = ("probe", name)
        made = []
        for r in range(1, n_rounds + 1):
            before, at = (("probe", "", 0), None) if r == 1 else ((*key, 1), r)
            told = f"{name}: probe, round {r}"
            made.append(asked.loss(scores, told, before, better=(*key, r), of=(*key, r), modalities=(name,), at=at))
        return made

    def _probed(self, asked: Asked, states: Mapping[str, np.ndarray]) -> tuple[dict[Hashable, np.ndarray], str]:
        """Returns what probes predict of rows that they have not seen, by branch and round; or why there are none."""
        import numpy as np

        task = asked.predictor.task
        branches = {n: s for n, s in states.items() if n in asked.used}
        if not self.probes:
            return {}, ""
        if not branches:
            return {}, f"Branches are probed in a network; this is a {type(asked.predictor).__name__}."
        if task == "multilabel" or (task == "regression" and asked.true.shape[1] > 1):
            return {}, "Branches are not probed for several labels or numbers."
        folds = _folds(asked.true, asked.clusters, task, self.seed)
        if folds is None:
            return {}, f"Branches are not probed: {_FOLDS} folds need {_LEAST_ROWS} rows, and {_FOLDS} of each class."
        n_classes = len(asked.predictor.classes)
        result: dict[Hashable, np.ndarray] = {}
        known = np.eye(n_classes)[asked.true] if n_classes else asked.true
        # of nothing: one answer for all rows; that of a fold without it would tell which rows were held back
        result["probe", "", 0] = np.broadcast_to(known.mean(0), known.shape)
        for name, by_round in branches.items():
            for r, x in enumerate(by_round, 1):
                result["probe", name, r] = _cross_predicted(x, asked.true, folds, n_classes)
        return result, ""

    @staticmethod
    def _moved(states: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
        """Returns by how much states change from round to round: the mean over rows of |s_r - s_(r-1)| / |s_r|."""
        import numpy as np

        result = {}
        for name, by_round in states.items():
            norms = np.linalg.norm(by_round[1:], axis=2)
            steps = np.linalg.norm(np.diff(by_round, axis=0), axis=2) / np.where(norms > 0, norms, 1.0)
            result[name] = [float(step.mean()) for step in steps]
        return result

    @staticmethod
    def _settled(asked: Asked, said: np.ndarray) -> list[float]:
        """Returns the share of rows whose prediction changes no more after each round."""
        import numpy as np

        scale = asked.predictor.codec.std if asked.predictor.task == "regression" else 1.0
        still = np.abs(said - said[-1:]).max(2) / np.max(scale) <= _SETTLED  # [round, row]
        from_here = np.logical_and.accumulate(still[::-1], axis=0)[::-1]
        return [float(share) for share in from_here.mean(1)]

    def _notes(self, details: Mapping[str, Any], n_rounds: int, untold: str) -> list[str]:
        if n_rounds == 1:
            notes = ["The predictor has one round. Fit a progressive model, rounds=2, to ask what further ones gain."]
        else:
            moved = ", ".join(f"{100 * m:.1f} %" for m in details["moved"].get("fused", []))
            settled = ", ".join(f"{100 * s:.0f} %" for s in details["settled"])
            notes = [
                f"The fused state moves by {moved} of its length from round to round; settled (no change of "
                f"{_SETTLED:g} or more after it) are {settled} of the rows by round.",
                "The residual is what the last round gains, less the sum of the steps: 0 but for rounding.",
            ]
        if n_rounds == 1:
            notes.append("A residual would be what later rounds leave: with one round it is 0.")
        return [*notes, *([untold] if untold else [])]


def _folds(true: np.ndarray, clusters: np.ndarray, task: str, seed: int) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Returns folds that keep clusters whole; None where rows, clusters or classes are too few."""
    import numpy as np
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

    n = len(true)
    grouped = len(np.unique(clusters)) < n
    if n < _LEAST_ROWS or len(np.unique(clusters)) < _FOLDS:
        return None
    if task != "regression" and np.unique(true, return_counts=True)[1].min() < _FOLDS:
        return None
    rows = np.zeros((n, 1))
    if grouped:
        made = list(GroupKFold(_FOLDS, shuffle=True, random_state=seed).split(rows, true, clusters))
        whole = task == "regression" or all(len(np.unique(true[a])) == len(np.unique(true)) for a, _ in made)
        return made if whole else None
    if task == "regression":
        return list(KFold(_FOLDS, shuffle=True, random_state=seed).split(rows))
    return list(StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(rows, true))


def _cross_predicted(
    x: np.ndarray, true: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], n_classes: int
) -> np.ndarray:
    """Returns what a linear model predicts of the rows that each fold holds back, as predictors do."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    said = np.zeros((len(true), n_classes or true.shape[1]))
    for seen, held in folds:
        if n_classes:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(x[seen], true[seen])
            said[np.ix_(held, model.classes_.astype(int))] = model.predict_proba(x[held])
        else:
            ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 7))).fit(x[seen], true[seen, 0])
            said[held, 0] = ridge.predict(x[held])
    return said
