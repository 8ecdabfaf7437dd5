"""`summarise`: the table, the paired differences and the verdict that a comparison's results allow, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from profuse.comparison.chosen import FUSED, choose, default_of, plain_of
from profuse.comparison.metric import metric_of, unvaried
from profuse.comparison.results import MethodInfo, Results, Score
from profuse.comparison.statistics import (
    Estimate,
    Parts,
    Sample,
    holm,
    interval,
    paired_difference,
    pooled,
    r2_interval,
    seeds_only,
)
from profuse.comparison.unequal_seeds import shifts, tell_unequal

__all__ = ["Comparison", "Evidence", "Row", "Summary", "Verdict", "summarise"]

Against = Literal["single", "concat", "default", "plain", "classical", "trivial", "hand_made", "portfolio"]
CONCAT = "concat"


@dataclass(frozen=True)
class Row:
    """One method on the test rows: the metric that counts, its interval, and what it cost (means over seeds)."""

    method: MethodInfo
    estimate: Estimate
    seed_spread: float | None
    """Standard deviation over seeds; None with one seed."""
    valid: float | None
    """The same metric on the validation rows: what choices are made by."""
    n_parameters: int
    fit_seconds: float | None
    """None where no fit was timed in the run that the others were timed in; so too of the next."""
    rows_per_second: float | None


@dataclass(frozen=True)
class Comparison:
    """What `method` is better by than `against`, on the same rows and seeds: less than 0 where it is worse.

    Attributes:
        method: The method that is judged.
        against: The one it is held against.
        kind: The question that is asked.
        estimate: The difference, with an interval and a p value of its own.
        p_holm: p, adjusted over the `n_asked` comparisons of its family (Holm). A family is a kind; but the one
            comparison that answers whether fusing helps was chosen beforehand, by validation, and stands by itself.
        n_asked: Comparisons of the family.
    """

    method: str
    against: str
    kind: Against
    estimate: Estimate
    p_holm: float
    n_asked: int

    @property
    def shown(self) -> Literal["better", "worse", "not shown"]:
        """What may be said of `method`: every sentence, count and badge of a report says this."""
        if self.p_holm >= 0.05:
            return "not shown"
        return "better" if self.estimate.value > 0 else "worse"


@dataclass(frozen=True)
class Verdict:
    """The answer. The best fusion, single modality and classical model are chosen by validation, never by test.

    Attributes:
        helps: Whether the chosen fusion beats the chosen single modality; None where one of them did not run.
        sure: Confidence in words, from the p value of that one comparison.
        fusion: The chosen fusion (deep models that see more than one modality).
        single: The chosen single modality: a network's, or a classical model's on its hand-made features.
        classical: The chosen classical model on all features.
        gain: The fusion against the single modality.
        classical_gain: The fusion against the classical model.
        classical_over_single: The classical model against the single modality.
        trivial_gain: The fusion against the trivial answer.
        learned: False where the fusion is not shown to beat the trivial answer.
        cost_ratio: Fit seconds, parameters: the fusion's over the single modality's; None where one is 0 or not known.
    """

    helps: Literal["yes", "no", "not shown"] | None
    sure: str
    fusion: str | None
    single: str | None
    classical: str | None
    gain: Comparison | None
    classical_gain: Comparison | None
    classical_over_single: Comparison | None
    trivial_gain: Comparison | None
    learned: bool
    cost_ratio: tuple[float | None, float | None]


@dataclass(frozen=True)
class Summary:
    """Everything a report says in numbers.

    Attributes:
        metric: Name of the metric that counts.
        rows: Ranked by the metric on test.
        comparisons: All paired differences, in ranked order.
        verdict: The answer.
        notes: What could not be computed, and why.
    """

    metric: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    verdict: Verdict
    notes: tuple[str, ...]

    def row(self, method: str) -> Row:
        """Returns the row of `method`."""
        return next(r for r in self.rows if r.method.name == method)

    def comparison(self, method: str, kind: Against) -> Comparison | None:
        """Returns the comparison of `method` of this kind, if there is one."""
        return next((c for c in self.comparisons if c.method == method and c.kind == kind), None)


def summarise(results: Results) -> Summary:
    """Returns the ranked table, the paired differences with Holm-adjusted p values, and the verdict."""
    evidence = Evidence(results)
    ranked = sorted(
        (evidence.row(m) for m in evidence.methods if evidence.test(m.name)),
        key=lambda r: (-evidence.sign * r.estimate.value, r.method.name),
    )
    single = choose(ranked, ("single",), "single modality", evidence)
    fusion = choose([r for r in ranked if len(r.method.modalities) != 1], FUSED, "fusion", evidence)
    classical = choose(ranked, ("classical",), "classical model", evidence)
    trivial, together = (
        next((r.method.name for r in ranked if r.method.role == role), None) for role in ("trivial", "portfolio")
    )
    pairs: list[tuple[str, str, Against]] = []
    for r in ranked:
        name, role = r.method.name, r.method.role
        if single and role in (*FUSED, "classical"):
            pairs.append((name, single, "single"))
        plain = plain_of(r.method, evidence.methods)
        if (
            role in (*FUSED, "classical")
            and CONCAT not in (name, plain)
            and any(x.method.name == CONCAT for x in ranked)
        ):
            pairs.append((name, CONCAT, "concat"))
        if plain and evidence.test(plain):
            pairs.append((name, plain, "plain"))
    if fusion and classical:
        pairs.append((fusion, classical, "classical"))
    if fusion and (default := default_of(ranked)) and default != fusion:
        pairs.append((fusion, default, "default"))
    alone = [r.method for r in ranked if r.method.role == "single"]
    by_hand = {tuple(m.modalities): m.name for m in alone if m.family == "classical"}
    networks = [m for m in alone if m.family != "classical" and tuple(m.modalities) in by_hand]
    pairs.extend((m.name, by_hand[tuple(m.modalities)], "hand_made") for m in networks)
    pairs.extend((together, name, "portfolio") for name in (fusion, classical, single) if name and together)
    if trivial:
        pairs.extend((name, trivial, "trivial") for name in dict.fromkeys((fusion, single, classical)) if name)
    asked = [(a, b, k, e) for a, b, k in pairs if (e := evidence.difference(a, b)) is not None]
    comparisons = tuple(_adjusted(asked, answer=(fusion, single)))
    bare = Summary(evidence.metric.name, tuple(ranked), comparisons, _NOTHING, tuple(evidence.notes))
    return replace(bare, verdict=_verdict(bare, fusion, single, classical))


def _adjusted(
    asked: Sequence[tuple[str, str, Against, Estimate]], *, answer: tuple[str | None, str | None]
) -> Iterator[Comparison]:
    """Adjusts within each family; see `Comparison.p_holm`."""
    families: dict[object, list[float]] = {}
    members = []
    for a, b, kind, e in asked:
        family = families.setdefault("answer" if (a, b) == answer else kind, [])
        members.append((family, len(family)))
        family.append(1.0 if e.p is None else e.p)
    adjusted = {id(family): holm(family) for family in families.values()}
    for (a, b, kind, e), (family, i) in zip(asked, members, strict=True):
        yield Comparison(a, b, kind, e, adjusted[id(family)][i], len(family))


class Evidence:
    """Looks up what `results` hold of a method, by seed, and applies the statistics."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.methods = [m for m in results.methods if m.role != "ablation"]
        self.metric = metric_of(results)
        self.sign, self.proportion = 1 if self.metric.higher_is_better else -1, self.metric.proportion
        self.notes: list[str] = []
        self._scores: dict[tuple[str, str], dict[int, Score]] = {}
        for s in results.scores:
            if s.metric == self.metric.name:
                self._scores.setdefault((s.method, s.split), {})[s.seed] = s
        self._samples = _samples_by_seed(results)
        self._timings = {(t.method, t.seed): t for t in results.timings}
        self.priced = self._priced_run()
        lost = [m.name for m in self.methods if self.test(m.name) and not self._kept(m.name, self.test(m.name))]
        if lost:
            self.notes.append(
                f"{len(lost)} of {len(self.methods)} methods without their rows ({', '.join(lost[:3])}"
                f"{', ...' if len(lost) > 3 else ''}): their intervals speak of seeds only, these test rows given."
            )
        samples = [s for methods in self._samples.values() for s in methods.values()]
        if samples and all((s.clusters == samples[0].clusters[0]).all() for s in samples):
            self.notes.append(
                "All test rows are of a single group, or of one time: intervals and p values speak of new rows of that "
                "one and say nothing of others."
            )
        seeds = sorted({s for m in self.methods for s in self.test(m.name)})
        whole = [m.name for m in self.methods if m.role != "trivial" and sorted(self.test(m.name)) == seeds]
        self.pooled = pooled({n: [self.test(n)[s].value for s in seeds] for n in whole})
        self.unvaried = unvaried(results)
        self.shared = len({rows.ids.tobytes() for rows in results.rows.values()}) <= 1
        of = {split: self._of_seeds(split) for split in ("test", "valid")}
        self._shifts = {split: shifts(scores) for split, scores in of.items()}
        if told := tell_unequal(of["test"], self._shifts["test"]):
            self.notes.append(told)

    def _of_seeds(self, split: str) -> dict[str, dict[int, float]]:
        """Scores by method and seed, without those of the trivial answer, which seeds hardly move."""
        scored = {m.name: self._scores.get((m.name, split), {}) for m in self.methods if m.role != "trivial"}
        return {name: {seed: s.value for seed, s in scores.items()} for name, scores in scored.items()}

    def _priced_run(self) -> str:
        """The run whose seconds are shown: that of the most methods. Seconds of others had another load."""
        fits = [(m.name, seed) for m in self.methods for seed in self.test(m.name)]
        runs = list(dict.fromkeys(self._run(*fit) for fit in fits))
        if len(runs) < 2:
            return runs[0] if runs else ""
        methods = {run: {fit[0] for fit in fits if self._run(*fit) == run} for run in runs}
        priced = max(runs, key=lambda run: (len(methods[run]), sum(self._run(*fit) == run for fit in fits)))
        one = next((t for t in self._timings.values() if t.run == priced), None)
        threads = f"{one.threads} thread{'' if one.threads == 1 else 's'} each" if one else ""
        load = f" ({one.jobs} at a time, {threads})" if one else ""
        without = [m.name for m in self.methods if self.test(m.name) and m.name not in methods[priced]]
        none = f" {', '.join(without[:5])}{', ...' if len(without) > 5 else ''} have none." if without else ""
        self.notes.append(
            f"Seconds are those of one run{load}. {sum(self._run(*fit) != priced for fit in fits)} of {len(fits)} fits "
            f"were timed in other runs, under another load, and are left out of every price.{none}"
        )
        return priced

    def _run(self, method: str, seed: int) -> str:
        timing = self._timings.get((method, seed))
        return timing.run if timing else ""

    def test(self, method: str) -> dict[int, Score]:
        return self._scores.get((method, "test"), {})

    def row(self, method: MethodInfo) -> Row:
        scores = self.test(method.name)
        values = [s.value for s in scores.values()]
        valid = [s.value for s in self._scores.get((method.name, "valid"), {}).values()]
        samples = self._kept(method.name, scores)
        logs = self._log_errors(method.name, scores)
        if samples:
            parts, n_train = self.pooled.score(method.name) if self.pooled else None, self.results.dataset.n_train
            estimate = (
                r2_interval(logs, float(np.mean(values)), n_train=n_train, parts=parts)
                if logs
                else interval(
                    samples, n_train=n_train, proportion=self.proportion, parts=parts, bounds=self.metric.range,
                    unvaried=self.unvaried,
                )
            )  # fmt: skip
        else:
            estimate = replace(self._by_seed(values, next(iter(scores.values())).n_rows), p=None)
        timed = [s for s in scores.values() if self._run(s.method, s.seed) == self.priced]
        return Row(
            method=method,
            estimate=self._on_all_seeds(method.name, estimate),
            seed_spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
            valid=float(np.mean(valid)) + self._shifts["valid"].get(method.name, 0.0) if valid else None,
            n_parameters=round(float(np.mean([s.n_parameters for s in scores.values()]))),
            fit_seconds=float(np.mean([s.fit_seconds for s in timed])) if timed else None,
            rows_per_second=float(np.mean([s.predict_rows_per_second for s in timed])) if timed else None,
        )

    def _on_all_seeds(self, method: str, e: Estimate) -> Estimate:
        """The estimate of a method that lacks seeds, set against the others; see `unequal_seeds`."""
        shift = self._shifts["test"].get(method)
        if shift is None:
            return e
        value, low, high = np.clip([e.value + shift, e.low + shift, e.high + shift], *self.metric.range).tolist()
        return replace(e, value=value, low=low, high=high)

    def difference(self, a: str, b: str) -> Estimate | None:
        ours, theirs = self.test(a), self.test(b)
        seeds = sorted(set(ours) & set(theirs))
        if not seeds:
            self.notes.append(f"{a} and {b} have no seed in common: not compared.")
            return None
        left, right = (self._kept(m, seeds) for m in ((a, b) if self.sign > 0 else (b, a)))
        if left and right:
            return paired_difference(
                left,
                right,
                n_train=self.results.dataset.n_train,
                proportion=self.proportion,
                parts=self._parts(a, b),
                unvaried=self.unvaried,
            )
        return self._by_seed([self.sign * (ours[s].value - theirs[s].value) for s in seeds], ours[seeds[0]].n_rows)

    def _parts(self, a: str, b: str) -> Parts | None:
        """What all methods say of the seeds' variance of a difference; the trivial answer has none of its own."""
        if self.pooled is None:
            return None
        trivial = [m.name for m in self.methods if m.role == "trivial"]
        if b in trivial:
            return self.pooled.score(a)
        return self.pooled.score(b) if a in trivial else self.pooled.difference(a, b)

    def _kept(self, method: str, seeds: Sequence[int] | dict[int, Score]) -> list[Sample]:
        """The samples of `seeds`, or none at all where any of them is lacking."""
        results = [self._samples[s][method] for s in seeds if method in self._samples.get(s, {})]
        return results if len(results) == len(seeds) else []

    def _log_errors(self, method: str, seeds: Sequence[int] | dict[int, Score]) -> list[Sample]:
        """The same, with what the rows do to R2 in logarithms; none where that is not defined."""
        rows = {s: self.results.rows.get(s) for s in seeds}
        logs = {s: r.log_errors[method] for s, r in rows.items() if r is not None and method in r.log_errors}
        samples = self._kept(method, seeds)
        return (
            [replace(a, scores=logs[s]) for a, s in zip(samples, seeds, strict=True)] if len(logs) == len(rows) else []
        )

    def _by_seed(self, values: list[float], n_rows: int) -> Estimate:
        return seeds_only(values, n_rows=n_rows, n_train=None if self.shared else self.results.dataset.n_train)


def _samples_by_seed(results: Results) -> dict[int, dict[str, Sample]]:
    """Ids and groups as integers, once for all methods: comparing texts again for each pair would be slow."""
    seeds = results.rows
    if not seeds:
        return {}
    ids = np.split(np.unique(np.concatenate([r.ids for r in seeds.values()]), return_inverse=True)[1], _cuts(results))
    grouped = all(r.groups is not None for r in seeds.values())
    clusters = ids
    if grouped:
        groups = np.concatenate([r.groups for r in seeds.values() if r.groups is not None])
        clusters = np.split(np.unique(groups, return_inverse=True)[1], _cuts(results))
    return {
        seed: {name: Sample(i, c, scores) for name, scores in rows.scores.items()}
        for (seed, rows), i, c in zip(seeds.items(), ids, clusters, strict=True)
    }


def _cuts(results: Results) -> np.ndarray:
    return np.cumsum([len(r.ids) for r in results.rows.values()])[:-1]


def _verdict(summary: Summary, fusion: str | None, single: str | None, classical: str | None) -> Verdict:
    gain = summary.comparison(fusion, "single") if fusion and single else None
    trivial = summary.comparison(fusion, "trivial") if fusion else None
    helps: dict[str, Literal["yes", "no", "not shown"]] = {"better": "yes", "worse": "no", "not shown": "not shown"}
    ratio: tuple[float | None, float | None] = (None, None)
    if fusion and single:
        a, b = summary.row(fusion), summary.row(single)
        ratio = (_ratio(a.fit_seconds, b.fit_seconds), _ratio(a.n_parameters, b.n_parameters))
    return Verdict(
        helps=helps[gain.shown] if gain else None,
        sure=_sure(gain.estimate.p if gain else None),
        fusion=fusion,
        single=single,
        classical=classical,
        gain=gain,
        classical_gain=summary.comparison(fusion, "classical") if fusion else None,
        classical_over_single=summary.comparison(classical, "single") if classical else None,
        trivial_gain=trivial,
        learned=trivial is None or trivial.shown == "better",
        cost_ratio=ratio,
    )


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def _sure(p: float | None) -> str:
    if p is None or p >= 0.05:
        return "not sure"
    return "fairly sure" if p >= 0.01 else "sure" if p >= 0.001 else "very sure"


_NOTHING = Verdict(None, "not sure", None, None, None, None, None, None, None, True, (None, None))
