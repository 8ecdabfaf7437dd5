"""What an audit measures of groups: scores, rates, calibration, errors, and what hiding a modality costs them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from profuse.inspect._group_scores import Measure, Resamples, calibration_errors, gap, means_rows, p_of_shares
from profuse.inspect._groups import Grouping
from profuse.inspect.answer import Estimate
from profuse.inspect.asked import Asked

__all__ = ["Lines"]

_CHANCE = 1_732_050  # labels drawn as probabilities say have nothing to do with the bootstrap


@dataclass(eq=False)
class Lines:
    """Estimates of groups, in order.

    Attributes:
        asked: The rows.
        predictions: By which modalities are hidden; `()`: none.
        estimates: So far.
        tests: p of each comparison, and the estimates that it is of.
        notes: What was left out, and where a gap is from.
    """

    asked: Asked
    predictions: Mapping[tuple[str, ...], np.ndarray]
    estimates: list[Estimate] = field(default_factory=list)
    tests: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked = self.asked
        self.samples = Resamples(asked.clusters, seed=asked.seed, n_resamples=asked.n_resamples)
        least, most = asked.metric.range
        self.width = most - least
        self._sign = 1 if asked.metric.higher_is_better else -1
        self._seen = {c: asked.predictor.decision.seen_by(asked.metric, p) for c, p in self.predictions.items()}
        self._rows: dict[tuple[str, ...], np.ndarray] = {}
        if means_rows(asked.metric, asked.true, self._seen[()]):
            self._rows = {c: asked.metric.row_scores(asked.true, p) for c, p in self._seen.items()}

    def add(self, grouping: Grouping, *, whole: bool) -> None:
        """Adds what is measured of groups; of modalities and calibration only where `whole`."""
        scores = self._scores(grouping)
        if self.asked.predictor.task == "regression":
            self._errors(grouping)
        else:
            self._rates(grouping)
            if whole and self.asked.predictor.task != "multilabel":
                self._calibration(grouping, list(scores) or list(grouping.groups))
        if whole and len(scores) > 1:
            self._hidden(grouping, scores)

    def _score(self, condition: tuple[str, ...], rows: np.ndarray) -> Measure | None:
        asked, seen = self.asked, self._seen[condition]
        if self._rows:
            return self.samples.mean(self._rows[condition], rows, self.width)
        return self.samples.score(lambda i: asked.metric(asked.true[i], seen[i]), rows, self.width)

    def told(
        self, name: str, measure: Measure, n: int, *, least: float = -math.inf, most: float = math.inf,
        score: float | None = None, modalities: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Adds an estimate."""
        self.estimates.append(Estimate(name, *measure.interval(least, most), n, score, modalities))

    def _scores(self, grouping: Grouping) -> dict[str, Measure]:
        """Adds each group's score less that of all other rows, the worst first, and the best less the worst."""
        label, found, less = self.asked.metric.label, dict[str, Measure](), dict[str, Measure]()
        for name, rows in grouping.groups.items():
            own, rest = self._score((), rows), self._score((), ~rows)
            if own is None or rest is None:
                self.notes.append(f"{label} is not defined in {name}, or in the rows beside it: left out.")
                continue
            found[name], less[name] = own.times(self._sign), (own - rest).times(self._sign)
        order = sorted(less, key=lambda name: less[name].value)
        for name in order:
            n = int(grouping.groups[name].sum())
            score = found[name].value * self._sign
            self.told(name, less[name], n, least=-self.width, most=self.width, score=score)
        p = {name: less[name].p for name in order}
        if self._rows and self.asked.metric.proportion:
            right = self._rows[()]
            p = {n: max(p[n], p_of_shares(right, grouping.groups[n], ~grouping.groups[n])) for n in order}
        if grouping.halves and len(order) == 2:
            self.tests.append((p[order[0]], tuple(order)))
        else:
            self.tests += [(p[name], (name,)) for name in order]
        if order and max(less[name].value for name in order) < 0:
            self.notes.append(
                f"{grouping.name}: each group scores below all other rows together: {label} is then easier where "
                "groups are mixed, as they differ in the target. Ask by accuracy or log_loss, or mae, too."
            )
        if len(order) > 1:
            both = gap(list(found.values()))
            n = sum(int(grouping.groups[name].sum()) for name in order)
            self.told(f"{grouping.name}: best less worst", both, n, least=0.0, most=self.width)
        return {name: found[name] for name in order}

    def _rates(self, grouping: Grouping) -> None:
        """Adds the demographic parity and equalised odds differences."""
        asked, probabilities = self.asked, self.predictions[()]
        if asked.predictor.task == "multilabel":
            answered, true = probabilities >= 0.5, asked.true == 1
        else:
            each = np.arange(probabilities.shape[1])
            answered = asked.predictor.decision.codes(probabilities)[:, None] == each
            true = asked.true[:, None] == each
            if len(each) == 2:  # what is not of one class is of the other
                answered, true = answered[:, 1:], true[:, 1:]
        every = np.ones_like(true)
        self._rate_gap(grouping, f"{grouping.name}: selection rates", answered, (every,))
        self._rate_gap(grouping, f"{grouping.name}: equalised odds", answered, (true, ~true))

    def _rate_gap(self, grouping: Grouping, name: str, answered: np.ndarray, among: tuple[np.ndarray, ...]) -> None:
        """Adds the largest gap of how often a class is answered, over classes, and over rows `among` which."""
        own: dict[tuple[int, int], dict[str, Measure]] = {}
        p: list[float] = []
        for i, rows in enumerate(among):
            for position, (group, mask) in enumerate(grouping.groups.items()):
                inside = self.samples.means(answered, rows & mask[:, None])
                outside = self.samples.means(answered, rows & ~mask[:, None])
                for k, (a, b) in enumerate(zip(inside, outside, strict=True)):
                    if a is not None:
                        own.setdefault((i, k), {})[group] = a
                    if a is not None and b is not None and not (grouping.halves and position):
                        one, other = rows[:, k] & mask, rows[:, k] & ~mask
                        p.append(max((a - b).p, p_of_shares(answered[:, k], one, other)))
        gaps = {key: gap(list(by.values())) for key, by in own.items() if len(by) > 1}
        if not gaps:
            return
        most = max(gaps, key=lambda key: gaps[key].value)
        known = np.stack([g.draws for g in gaps.values()])
        draws = np.where(np.isfinite(known).any(0), np.where(np.isfinite(known), known, -np.inf).max(0), np.nan)
        found = Measure(gaps[most].value, draws, gaps[most].n, gaps[most].slack)
        self.told(name, found, int(sum(m.sum() for m in grouping.groups.values())), least=0.0, most=1.0)
        self.tests.append((min(1.0, len(p) * min(p)), (name,)))
        rates = {group: m.value for group, m in own[most].items()}
        top, bottom = max(rates, key=lambda g: rates[g]), min(rates, key=lambda g: rates[g])
        classes = self.asked.predictor.classes
        said = str(classes[most[1] if answered.shape[1] == len(classes) else 1])
        rows_told = "" if len(among) == 1 else (" of this class", " of other classes")[most[0]]
        self.notes.append(
            f"{name}: {said!r} is answered for {rates[top]:.3f} of the rows{rows_told} in {top}, "
            f"{rates[bottom]:.3f} in {bottom}."
        )

    def _calibration(self, grouping: Grouping, order: Sequence[str]) -> None:
        """Adds each group's calibration error, less what it would be if probabilities were right."""
        p = self.predictions[()]
        top, right = p.max(1), p.argmax(1) == self.asked.true
        for name in order:
            rows = grouping.groups[name]
            rng = np.random.default_rng([_CHANCE, self.asked.seed])
            drawn = rng.random((self.asked.n_resamples, int(rows.sum()))) < top[rows]
            chance = float(np.mean([calibration_errors(top[rows], d, np.ones((1, len(d)))) for d in drawn]))
            found = self.samples.calibration(top, right, rows).moved(-chance)
            self.told(f"{name}: calibration", found, int(rows.sum()), least=-1.0, most=1.0)

    def _errors(self, grouping: Grouping) -> None:
        """Adds each group's mean error and root mean squared error, in the target's units."""
        errors = self.predictions[()] - self.asked.true
        names = self.asked.predictor.codec.names if errors.shape[1] > 1 else ("",)
        columns = {f"mean error{f' of {t}' if t else ''}": errors[:, k] for k, t in enumerate(names)}
        halves = grouping.halves
        for what, values in {**columns, "RMSE": np.square(errors).mean(1)}.items():
            told: list[tuple[float, str]] = []
            for group, rows in grouping.groups.items():
                own, rest = (self.samples.mean(values, r, math.inf) for r in (rows, ~rows))
                if own is None:
                    continue
                name, square = f"{group}: {what}", what == "RMSE"
                told += [((_root(own) - _root(rest)).p if square else (own - rest).p, name)] if rest else []
                least = 0.0 if square else -math.inf
                self.told(name, _root(own) if square else own, int(rows.sum()), least=least)
            if halves and len(told) == 2:
                self.tests.append((told[0][0], (told[0][1], told[1][1])))
            else:
                self.tests += [(p, (name,)) for p, name in told]

    def _hidden(self, grouping: Grouping, scores: Mapping[str, Measure]) -> None:
        """Adds how much more hiding a modality costs each group than the other rows, and what it adds to the gap."""
        before = gap(list(scores.values()))
        looked_at = list(scores)[: 1 if grouping.halves else None]  # the worst group tells of the other
        n_all = sum(int(grouping.groups[name].sum()) for name in scores)
        for hidden in self.predictions:
            if not hidden:
                continue
            for group in looked_at:
                rows = grouping.groups[group]
                own, rest = self._cost(hidden, rows), self._cost(hidden, ~rows)
                if own is not None and rest is not None:
                    n = int(rows.sum())
                    width = 2 * self.width
                    self.told(
                        f"{group}: without {hidden[0]}", own - rest, n, least=-width, most=width, modalities=hidden
                    )
            then = [self._score(hidden, grouping.groups[name]) for name in scores]
            if all(t is not None for t in then):
                without = gap([t.times(self._sign) for t in then if t is not None])
                added = self._settled(before - without, self._same(hidden, np.ones(len(self.asked.true), dtype=bool)))
                self.told(
                    f"{grouping.name}: gap that {hidden[0]} adds",
                    added,
                    n_all,
                    least=-self.width,
                    most=self.width,
                    modalities=hidden,
                )

    def _cost(self, hidden: tuple[str, ...], rows: np.ndarray) -> Measure | None:
        """Returns what is lost in the rows."""
        with_it, without = self._score((), rows), self._score(hidden, rows)
        if with_it is None or without is None:
            return None
        return self._settled((with_it - without).times(self._sign), self._same(hidden, rows))

    def _same(self, hidden: tuple[str, ...], rows: np.ndarray) -> bool:
        return bool(np.array_equal(self._seen[()][rows], self._seen[hidden][rows]))

    def _settled(self, measure: Measure, same: bool) -> Measure:
        """Returns a difference with the rule of three where nothing varies, but for equal predictions: then it is 0."""
        if same:
            return Measure(0.0, np.zeros_like(measure.draws), measure.n)
        known = measure.draws[np.isfinite(measure.draws)]
        flat = len(known) > 1 and float(known.std()) <= 1e-12 and math.isfinite(self.width)
        return Measure(measure.value, measure.draws, measure.n, 3 / measure.n * self.width if flat else 0.0)


def _root(square: Measure | None) -> Measure:
    """Returns the root of a mean of squares."""
    if square is None:
        raise AssertionError("a mean of some rows")
    return Measure(math.sqrt(square.value), np.sqrt(square.draws), square.n)
