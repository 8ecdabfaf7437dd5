"""`subsets`: what a finished predictor knows from some of its modalities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from profuse.inspect._base import Question
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor

__all__ = ["Subsets", "subsets"]

_MAX_FOR_ALL = 6  # modalities of which all subsets are looked at: 63


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the non-empty subsets of `names`, small ones first; of more than 6: each alone, each left out, all."""
    n = len(names)
    sizes = range(1, n + 1) if n <= _MAX_FOR_ALL else sorted({1, n - 1, n})
    return [subset for size in sizes for subset in combinations(names, size)]


class Subsets(Question):
    """`G(S) = score(only S) - score(none)` for each subset S of the modalities it uses, in the metric's direction.

    The predictor is the one that was fitted: it is not trained anew for a subset. All rows are scored, also those that
    have none of the subset's modalities. Of more than 6 modalities: each alone, each left out, and all.

    The residual is `G(all) - sum of G(m)` over single modalities: what they say together and none says alone; below 0,
    what several say alike.
    """

    name = "subsets"
    description = "What is gained from each subset of the modalities, over none."

    @property
    def plans_all(self) -> bool:
        """See `Question.plans_all`."""
        return True

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        scored = [e for e in answer.estimates if e.score is not None]
        whole = max(scored, key=lambda e: len(e.modalities))
        fewer = [e for e in scored if len(e.modalities) < len(whole.modalities)]
        all_of_them = f"{whole.name} scores {answer.label} {whole.score:.4f}"
        if not fewer:
            return f"{all_of_them}."
        best = max(fewer, key=lambda e: e.value)
        return f"{all_of_them}; the best with fewer modalities, {best.name}, {best.score:.4f}."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`."""
        asked = self.asked(predictor, dataset)
        names = asked.used
        hidden = {s: tuple(n for n in names if n not in s) for s in subsets(names)}
        nothing = tuple(names)
        scores = asked.scores_without([nothing, *hidden.values()])
        gains = {
            s: asked.loss(scores, " + ".join(s), nothing, better=rest, of=rest, modalities=s)
            for s, rest in hidden.items()
        }
        residual = gains[nothing].value - sum(gains[name,].value for name in names)
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=tuple(gains.values()),
            residual=residual,
            notes=(
                f"With every modality hidden the score is {scores[nothing]:.4f}. The residual is the gain of all less "
                "the sum of the single ones. Above 0: what they say together only. Below 0: what several say alike.",
                *asked.notes(scores),
            ),
            measures="what a subset gains over no modality at all",
            score=scores[()],
        )
