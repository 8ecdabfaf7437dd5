"""Questions to a finished predictor: asked of it and rows with a target, answered with intervals.

Add yours: one file with a subclass of `Question`, and one line here. `profuse.testing.check_question` checks it.
"""

from __future__ import annotations

from profuse.inspect._base import Question
from profuse.inspect.answer import Answer, Estimate
from profuse.inspect.asking import ask
from profuse.inspect.asking import question_called as question
from profuse.registry import table

__all__ = ["QUESTIONS", "Answer", "Estimate", "Question", "ask", "question"]

QUESTIONS = table(
    "question",
    {
        "importance": "profuse.inspect.importance:Importance",
        "contribution": "profuse.inspect.contribution:Contribution",
        "interaction": "profuse.inspect.interaction:Interaction",
        "subsets": "profuse.inspect.subsets:Subsets",
        "missing": "profuse.inspect.missing:Missing",
        "noise": "profuse.inspect.noise:Noise",
        "misaligned": "profuse.inspect.misaligned:Misaligned",
        "worth": "profuse.inspect.worth:Worth",
        "row": "profuse.inspect.row:Row",
        "rounds": "profuse.inspect.rounds:RoundByRound",
        "errors": "profuse.inspect.errors:Errors",
        "membership": "profuse.inspect.membership:Membership",
        "calibration": "profuse.inspect.calibration:Calibration",
        "conformal": "profuse.inspect.coverage:Coverage",
        "audit": "profuse.inspect.audit:Audit",
    },
)
