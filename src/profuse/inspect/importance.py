"""`importance`: what hiding one modality at a time costs a finished predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from profuse.inspect._base import Question
from profuse.inspect.answer import Answer

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor

__all__ = ["Importance"]


class Importance(Question):
    """`I(m) = score(all) - score(all but m)` for each modality m, in the metric's direction.

    Above 0: the predictor does worse without it. The predictor is the one that was fitted: this measures how it falls
    apart, not what a model that never had the modality could do.

    The residual is `score(all) - score(none) - sum I(m)`. Above 0 modalities stand in for one another, so that hiding
    one costs little; below 0 they are needed together, so that the loss of each is counted more than once.
    """

    name = "importance"
    description = "What is lost when one modality at a time is hidden."

    @property
    def plans_all(self) -> bool:
        """See `Question.plans_all`."""
        return True

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        from profuse.inspect._words import ends_of

        e = max(answer.estimates, key=lambda e: e.value)
        if e.low <= 0:
            return f"No modality is shown to matter: {e.name} most, without which {answer.label} loses {ends_of(e)}."
        return f"{e.name} matters most: without it {answer.label} loses {ends_of(e)}."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`."""
        asked = self.asked(predictor, dataset)
        names = asked.present
        scores = asked.scores_without([(), tuple(names), *((name,) for name in names)])
        losses = tuple(asked.loss(scores, name, (name,), modalities=(name,)) for name in names)
        whole, _, _ = scores.gain((), tuple(names))
        residual = whole - sum(e.value for e in losses)
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=losses,
            residual=residual,
            notes=(
                f"With every modality hidden it loses {whole:.4f}; the residual is what this differs by from the sum. "
                "Above 0: modalities stand in for one another. Below 0: they are needed together.",
                *asked.notes(scores),
            ),
            measures="what is lost when a modality is hidden",
            score=scores[()],
        )
