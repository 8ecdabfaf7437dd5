"""The answers in plain words, each sentence with its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from profuse.comparison.metric import metric_of
from profuse.comparison.results import Results
from profuse.comparison.summary import Comparison, Summary
from profuse.metrics import tell_never
from profuse.report import numbers
from profuse.report.margin import within_margin

__all__ = ["Words", "labels_of", "listed"]

_MANY = 4  # modalities from which on a sentence does not name each


def labels_of(results: Results) -> dict[str, str]:
    """Names to what the report calls them: "text alone", "text alone (classical)", "hybrid concat (default)"."""
    labels = {m.name: m.label or m.name for m in results.methods}
    for m in results.methods:
        if m.role == "single" and len(m.modalities) == 1:
            rest = " (classical)" if m.family == "classical" else m.name.removeprefix(f"{m.modalities[0]} only")
            labels[m.name] = f"{m.modalities[0]} alone{rest}"
        labels[m.name] += " (default)" * m.default
    return labels


def listed(items: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return "".join(items) if len(items) < 2 else f"{', '.join(items[:-1])} {last} {items[-1]}"


class Words:
    """Says what `summary` found in `results`."""

    def __init__(self, results: Results, summary: Summary) -> None:
        self.results, self.summary, self.verdict = results, summary, summary.verdict
        self.metric = metric_of(results)
        self.labels = labels_of(results)
        self.modalities = sorted(results.dataset.modalities)

    @property
    def classical_wins(self) -> bool:
        """Whether a classical model is shown to be better than the chosen fusion."""
        return self.verdict.classical_gain is not None and self.verdict.classical_gain.shown == "worse"

    def headline(self) -> str:
        """The answer in one line."""
        v = self.verdict
        if v.gain is None or v.single is None:
            if len(self.modalities) == 1:
                return "Nothing to fuse: one modality only."
            if self.not_alone() == self.modalities:
                return "Whether fusing helps was not asked: no modality was compared by itself."
            return "No answer yet: a part is missing."
        simple = self.labels.get(v.classical or "", "")
        if not v.learned and v.helps != "no":
            if self._beats_trivial(v.classical):
                return f"{self._cap(v.classical or '')} beats {self._trivial()}; deep fusion is not shown to."
            if self._beats_trivial(v.single):
                return f"{self._cap(v.single)} beats {self._trivial()}; fusing is not shown to."
            return f"Nothing here is shown to beat {self._trivial()}."
        helped_simply = v.classical_over_single is not None and v.classical_over_single.shown == "better"
        if self.classical_wins and (v.helps == "yes" or helped_simply):
            return f"Yes, use all modalities, with {simple}: it is better than deep fusion here."
        if self.classical_wins:
            return f"{simple[:1].upper()}{simple[1:]} on all features is better than deep fusion here."
        if v.helps == "yes":
            return f"Yes, fusing helps: {self._gain(v.gain)} over {self.labels[v.single]}{self._of_those_compared()}."
        if v.helps == "no":
            return f"No, fusing does not help: {self.labels[v.single]} is better by {self._gain(v.gain, sign=False)}."
        if within := within_margin(self.results, self.verdict):
            return f"Fusing makes no difference that matters: {within} of {self.labels[v.single]}."
        return f"These rows cannot tell whether fusing beats {self.labels[v.single]}."

    def lede(self) -> str:
        """What stands behind the headline, in one or two sentences."""
        v = self.verdict
        rows = self.summary.rows
        if v.fusion is None or v.gain is None or v.single is None:
            if not rows:
                return "No method was scored on the test rows."
            top = rows[0]
            return f"The best method, {self.labels[top.method.name]}, reaches {self._scored(top.method.name)}."
        text = (
            f"{self._cap(v.fusion)}, the best fusion by validation, reaches {self._scored(v.fusion)}; "
            f"{self.labels[v.single]}, the best single modality by validation{self._of_those_compared()}, "
            f"{self._scored(v.single, name=False)}."
        )
        if v.classical and v.classical_gain:
            below, above = ("below", "above") if self.metric.higher_is_better else ("above", "below")
            end = {
                "better": f"{below} the fusion",
                "worse": f"{above} the fusion",
                "not shown": "not shown to differ from the fusion",
            }[v.classical_gain.shown]
            text += f" {self._cap(v.classical)} on all features reaches {self._scored(v.classical, name=False)}, {end}."
        return text + self._direction()

    def _direction(self) -> str:
        """How a score is to be read that is better when it is lower."""
        if self.metric.higher_is_better:
            return ""
        return f" A lower {self.metric.label} is better; a gain is what it is lower by."

    def caution(self) -> str:
        """What a reader must know beforehand; "" if nothing."""
        cautions = [self.results.dataset.caution, *self._never()]
        return " ".join(c for c in cautions if c)

    def _never(self) -> list[str]:
        """Tells which of two classes the chosen methods never answer."""
        v, facts = self.verdict, self.results.dataset
        if facts.task != "binary":
            return []
        said = {c.method: c.counts for c in self.results.confusion}
        names = [n for n in dict.fromkeys((v.fusion, v.single, v.classical)) if n in said]
        told = []
        for k, never in enumerate(facts.classes):
            silent = [n for n in names if not any(row[k] for row in said[n]) and sum(said[n][k]) > 0]
            if silent:
                who, counts = listed([self.labels[n] for n in silent]), said[silent[0]]
                n_rows = sum(sum(row) for row in counts)
                told.append(tell_never(who, never, n_rows, sum(counts[k]), several=len(silent) > 1))
        return told

    def answers(self) -> list[dict[str, str]]:
        """Questions and answers, in the order in which they are asked."""
        results = [
            ("Does fusing help?", self._helps()),
            ("Which way?", self._which()),
            ("Is each modality read well?", self._read_well()),
            ("Do feedback rounds help?", self._rounds()),
            ("How sure?", self._sure()),
            ("At what price?", self._price()),
            ("Would something simpler do?", self._simpler()),
            ("What would 'profuse fit' make of it?", self._together()),
        ]
        return [{"question": q, "answer": a} for q, a in results if a]

    def _helps(self) -> str:
        v = self.verdict
        if v.gain is None or v.single is None or v.fusion is None:
            if len(self.modalities) == 1:
                return ""
            if v.fusion is not None and self.not_alone() == self.modalities:
                return "This was not asked: no modality was compared by itself. What hiding one costs stands below."
            lacking = "fusion" if v.fusion is None else "single modality"
            return f"This cannot be said: no {lacking} could be chosen."
        e = v.gain.estimate
        ends = numbers.interval(e.low, e.high, self.metric.name, of_difference=True)
        measured = f"{self.labels[v.fusion]} scores {self._gain(v.gain)} against {self.labels[v.single]}"
        measured += f" (95\N{NO-BREAK SPACE}% interval {ends})"
        others = [
            c for c in self.summary.comparisons if c.kind == "single" and self._fuses(c.method) and c is not v.gain
        ]
        also = ""
        if others:
            better = sum(c.shown == "better" for c in others)
            way = "other way" if len(others) == 1 else f"{len(others)} other ways"
            also = f" Of the {way} of fusing {self._are(better)} shown to beat it{self._corrected(others[0])}."
        if left := self.not_alone():
            named = left if len(left) <= 6 else [*left[:5], f"{len(left) - 5} more"]
            also += f" Not compared alone, and perhaps better than {self.labels[v.single]}: {listed(named)}."
        if v.single in self._without_data():
            also += f" No test row has what {self.labels[v.single]} needs: it answers without data."
        if v.helps == "yes":
            return f"Yes. On the same test rows {measured}.{also}"
        if v.helps == "no":
            return f"No. On the same test rows {measured}.{also}"
        most = ""
        if math.isfinite(e.high):
            best = numbers.difference(max(e.high, 0.0), self.metric.name, sign=False)
            most = f" A gain of more than {best} would not fit these rows."
        return f"It is not shown. On the same test rows {measured}, which does not exclude 0.{most}{also}"

    def _which(self) -> str:
        v = self.verdict
        if v.fusion is None:
            return ""
        text = f"{self._cap(v.fusion)} was chosen by its validation score."
        top = next((r for r in self.summary.rows if self._fuses(r.method.name)), None)
        if top and top.method.name != v.fusion:
            most = "highest" if self.metric.higher_is_better else "lowest"
            text += f" On test {self.labels[top.method.name]} came out {most}, {self._scored(top.method.name)}."
        plain = self.summary.comparison(v.fusion, "concat")
        if plain:
            text += f" Against concatenation it scores {self._told(plain)}."
        elif v.fusion == "concat":
            text += " It is concatenation itself: nothing more elaborate did better on the validation rows."
        default = self.summary.comparison(v.fusion, "default")
        if default:
            named = f"{self.labels[default.against]}, the default network"
            text += f" Against {named}, it scores {self._told(default)}."
        elif self.results.method(v.fusion).default:
            text += " It is the default network."
        return text

    def _read_well(self) -> str:
        """Each modality's network against a classical model on hand-made features of the same modality."""
        pairs = [c for c in self.summary.comparisons if c.kind == "hand_made"]
        if not pairs:
            return ""
        listed_ones = pairs if len(pairs) <= _MANY else [c for c in pairs if c.shown != "not shown"]
        told = [f"{self._told(c)} on {self.results.method(c.method).modalities[0]}" for c in listed_ones]
        if n_others := len(pairs) - len(told):
            told.append(f"is not shown to differ on {n_others} of {len(pairs)} modalities")
        worse = [self.results.method(c.method).modalities[0] for c in pairs if c.shown == "worse"]
        end = (
            f" On {listed(worse)} the network is worse: fusions of it are worth less than they could be."
            if worse
            else ""
        )
        scores = "scores " if listed_ones else ""
        return f"Against the best classical model on hand-made features, a network alone {scores}{listed(told)}.{end}"

    def _rounds(self) -> str:
        pairs = [c for c in self.summary.comparisons if c.kind == "plain"]
        if not pairs:
            return ""
        if len(pairs) == 1:
            return (
                f"{self._cap(pairs[0].method)} scores {self._told(pairs[0])} against the same method without feedback."
            )
        better, worse = (sum(c.shown == which for c in pairs) for which in ("better", "worse"))
        most = max(pairs, key=lambda c: c.estimate.value)
        return (
            f"Of {len(pairs)} progressive methods {self._are(better)} shown to be better than without feedback and "
            f"{worse or 'none'} worse{self._corrected(pairs[0])}. The largest difference is that of "
            f"{self.labels[most.method]}: {self._told(most)}."
        )

    def _sure(self) -> str:
        v = self.verdict
        if v.gain is None:
            return ""
        e = v.gain.estimate
        sure = v.sure[:1].upper() + v.sure[1:]
        return (
            f"{sure}: p {self._p(e.p)} for the one comparison that answers the question; the fusion and the single "
            f"modality were both chosen by validation rows. Based on {e.rule}."
        )

    def _price(self) -> str:
        v = self.verdict
        if v.fusion is None:
            return ""
        a, b = self.summary.row(v.fusion), self.summary.row(v.single) if v.single else None
        text = f"{self._cap(v.fusion)} took {numbers.duration(a.fit_seconds)} a fit"
        if a.fit_seconds is None:
            text = f"{self._cap(v.fusion)} was timed in another run, under another load: its seconds are left out"
        elif b and b.fit_seconds is None:
            text += f" ({self.labels[b.method.name]} was timed in another run, under another load)"
        elif b and v.cost_ratio[0]:
            alone = f"{numbers.duration(b.fit_seconds)} of {self.labels[b.method.name]}"
            text += f", {numbers.times(v.cost_ratio[0])} the {alone}"
        if a.n_parameters:
            text += f"{';' if a.fit_seconds is None else ', and'} it has {numbers.count(a.n_parameters)} parameters"
            if v.cost_ratio[1]:
                text += f" ({numbers.times(v.cost_ratio[1])} as many)"
        if a.rows_per_second:
            text += f"; it predicts {numbers.rate(a.rows_per_second)} rows a second"
        return text + "."

    def _simpler(self) -> str:
        v = self.verdict
        text = ""
        if v.classical and v.classical_gain and v.fusion:
            c, name = v.classical_gain, f"{self._cap(v.classical)} on all features"
            seconds = self.summary.row(v.classical).fit_seconds
            cost = "" if seconds is None else f", in {numbers.duration(seconds)} a fit"
            comma = cost and f"{cost},"
            if c.shown == "worse":
                text = f"Yes. {name} is better, by {self._gain(c, sign=False)}{cost}: deep fusion is not worth it here."
            elif c.shown == "better":
                text = f"No. {name}{comma} is worse: the fusion scores {self._told(c)} against it."
            else:
                text = f"Perhaps. {name}{comma} is not shown to be worse: "
                text += f"the fusion scores {self._told(c)} against it."
        if v.trivial_gain:
            t = v.trivial_gain
            text += f" {self._cap(t.method)} scores {self._told(t)} against {self._trivial()}."
        return text.strip()

    def _together(self) -> str:
        """The portfolio against the best of what it is made of."""
        pairs = [c for c in self.summary.comparisons if c.kind == "portfolio"]
        if not pairs:
            return ""
        name = pairs[0].method
        told = [f"{self._told(c)} against {self.labels[c.against]}" for c in pairs]
        better = all(c.shown == "better" for c in pairs)
        end = " Fit it on all rows with 'profuse fit'." if better else ""
        whole = f"{self._cap(name)}, several models that predict together, reaches {self._scored(name)}"
        return f"{whole}: {listed(told)}. It is made of {listed(self._weights(name))}.{end}"

    def _weights(self, name: str) -> list[str]:
        """The members of a portfolio that have a weight, the mean over seeds, the largest first."""
        of = [m for m in self.results.members if m.method == name]
        n_seeds, weights = len({m.seed for m in of}), dict.fromkeys((m.member for m in of), 0.0)
        for m in of:
            weights[m.member] += m.weight / n_seeds
        ordered = sorted(weights.items(), key=lambda pair: -pair[1])
        return [f"{member} ({100 * weight:.0f}\N{NO-BREAK SPACE}%)" for member, weight in ordered if weight >= 0.005]

    def _gain(self, c: Comparison, *, sign: bool = True) -> str:
        value = c.estimate.value if sign else abs(c.estimate.value)
        return numbers.difference(value, self.metric.name, sign=sign) + self._unit()

    def _told(self, c: Comparison) -> str:
        e = c.estimate
        ends = numbers.interval(e.low, e.high, self.metric.name, of_difference=True)
        tail = ""
        if c.shown == "not shown":
            tail = ", not shown to differ" + (self._corrected(c, once=True) if e.low > 0 or e.high < 0 else "")
        return f"{self._gain(c)} ({ends}{tail})"

    @staticmethod
    def _corrected(c: Comparison, *, once: bool = False) -> str:
        """What "shown" takes into account where more than one question was asked."""
        if c.n_asked < 2:
            return ""
        return f"{' once' if once else ','} corrected for asking {c.n_asked} times"

    def _unit(self) -> str:
        return numbers.unit(self.metric.name, self.metric.label)

    def _scored(self, method: str, *, name: bool = True) -> str:
        e = self.summary.row(method).estimate
        label = f" {self.metric.label}" if name else ""
        return (
            f"{numbers.score(e.value, self.metric.name)}{label} ({numbers.interval(e.low, e.high, self.metric.name)})"
        )

    def not_alone(self) -> list[str]:
        """Modalities that were not to be compared by themselves."""
        alone = {m.modalities[0] for m in self.results.methods if m.role == "single" and m.modalities}
        failed = {s.method for s in self.results.skipped}
        return [m for m in self.modalities if m not in alone and f"{m} only" not in failed]

    def _of_those_compared(self) -> str:
        n = len(self.modalities)
        return (
            f" (of {n - len(self.not_alone())} of {n} modalities that were compared alone)" if self.not_alone() else ""
        )

    def _without_data(self) -> set[str]:
        """Methods all of whose modalities are absent from every test row."""
        facts = self.results.dataset.modalities
        absent = {name for name, m in facts.items() if m.test_fraction == 0}
        return {m.name for m in self.results.methods if m.modalities and absent.issuperset(m.modalities)}

    def _trivial(self) -> str:
        told = {"regression": self.metric.aim, "multilabel": "how frequent each label is"}
        return f"always answering {told.get(self.results.dataset.task, 'the most frequent class')}"

    def _beats_trivial(self, method: str | None) -> bool:
        told = self.summary.comparison(method, "trivial") if method else None
        return told is not None and told.shown == "better"

    def _fuses(self, method: str) -> bool:
        return self.results.method(method).role in ("baseline", "fusion")

    @staticmethod
    def _are(n: int) -> str:
        return f"{n or 'none'} {'is' if n < 2 else 'are'}"

    def _cap(self, method: str) -> str:
        label = self.labels[method]
        return label[:1].upper() + label[1:]

    @staticmethod
    def _p(p: float | None) -> str:
        text = numbers.p_value(p)
        return text if text.startswith("<") else f"= {text}"
