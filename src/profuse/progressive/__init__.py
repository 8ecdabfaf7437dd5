"""Progressive Fusion: the fused state goes back to the early layers of each branch, for a few rounds.

    s_0 = 0;  for t = 1..R:  z_i = F_i(x_i, W_i s_{t-1}),  s_t = G(z_1, .., z_k);  y = H(s_R)

(Shankar, Thompson, Fiterau, "Progressive Fusion for Multimodal Integration", arXiv 2209.00302). `ProgressiveFusion`
puts it around a model made of our parts; feedback lives in this package and nowhere else.
"""

from __future__ import annotations

from profuse.progressive._anytime import Anytime
from profuse.progressive._feedback import (
    FEEDBACKS,
    AddFeedback,
    AttendFeedback,
    ConcatFeedback,
    Feedback,
    GateFeedback,
    ScaleShiftFeedback,
)
from profuse.progressive._model import ProgressiveFusion
from profuse.progressive.rounds import Rounds, check_rounds
from profuse.progressive.wrap import WrappedProgressive

__all__ = [
    "FEEDBACKS",
    "AddFeedback",
    "Anytime",
    "AttendFeedback",
    "ConcatFeedback",
    "Feedback",
    "GateFeedback",
    "ProgressiveFusion",
    "Rounds",
    "ScaleShiftFeedback",
    "WrappedProgressive",
    "check_rounds",
]
