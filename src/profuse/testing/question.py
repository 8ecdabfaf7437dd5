"""What must hold for every question. Each check's docstring says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from torch import Tensor

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.errors import DataError
from profuse.inspect import Answer, Question, ask
from profuse.predictor import Predictor
from profuse.predictor.saving import PartStore
from profuse.testing._contract import run_checks
from profuse.testing._subject import need
from profuse.tokens import Raw

__all__ = ["QUESTION_CHECKS", "QuestionSubject", "check_question"]

UNUSED = "c"
N_ROWS = 80


class Formula(Predictor):
    """Predicts two classes from the first numbers of `a` and `b` by a fixed formula, and does not look at `c`."""

    def __init__(self, pipeline: Pipeline, codec: TargetCodec) -> None:
        self.pipeline, self.codec = pipeline, codec
        self.modalities = ("a", "b")
        self.schema = None
        self.source = ""
        self.slopes = {"a": 2.0, "b": 1.0}

    @property
    def n_parameters(self) -> int:
        return len(self.slopes)

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        return self.pipeline.transform(dataset)

    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        logit = np.zeros(len(inputs["a"]))
        for name, slope in self.slopes.items():
            logit += slope * (inputs[name].values[:, 0] * inputs[name].present).double().numpy()
        second = 1 / (1 + np.exp(-logit))
        probabilities = np.stack([1 - second, second], axis=1)
        return probabilities if rows is None else probabilities[rows]

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class QuestionSubject:
    """A question, and a predictor of two of three modalities to ask it of."""

    make: Callable[[], Question]

    @cached_property
    def dataset(self) -> Dataset:
        """Rows of which some are missing, and of which some stand there twice, under other ids."""
        rng = np.random.default_rng(0)
        a, b, c = (rng.normal(size=(N_ROWS, 2)) for _ in range(3))
        target = np.where(a[:, 0] + 0.5 * b[:, 0] + 0.7 * rng.normal(size=N_ROWS) > 0, "yes", "no").astype(object)
        modalities = {
            name: ModalityData("vector", values, rng.random(N_ROWS) < 0.9)
            for name, values in zip("abc", (a, b, c), strict=True)
        }
        whole = Dataset("contract", modalities, target, "binary")
        rows = np.concatenate([np.arange(N_ROWS), np.arange(20)])
        return replace(whole.rows(rows), ids=np.arange(len(rows)))

    @cached_property
    def predictor(self) -> Formula:
        """Uses `a` and `b`."""
        codec = TargetCodec.fit(np.asarray(self.dataset.target), "binary")
        return Formula(Pipeline.fit(self.dataset, np.arange(N_ROWS)), codec)

    def ask(self, dataset: Dataset | None = None) -> Answer:
        """Asks a fresh question."""
        return ask(self.predictor, self.dataset if dataset is None else dataset, self.make())


def answers(s: QuestionSubject) -> None:
    """It returns an `Answer` with its name and at least one estimate, and a residual or a note that says why not."""
    question, answer = s.make(), s.ask()
    need(isinstance(answer, Answer), f"answer must be an Answer; got {type(answer).__name__}.")
    need(answer.question == question.name, f"question must be {question.name!r}; got {answer.question!r}.")
    need(answer.n_rows == len(s.dataset), f"n_rows must be {len(s.dataset)}; got {answer.n_rows}.")
    need(len(answer.estimates) > 0, "there must be an estimate; got none.")
    wrong = [e.name for e in answer.estimates if not 0 < e.n <= len(s.dataset)]
    need(not wrong, f"n must be how many of the {len(s.dataset)} rows were measured; it is not of {wrong}.")
    told = any("residual" in note.lower() for note in answer.notes)
    finite = answer.residual is not None and isfinite(answer.residual)
    need(
        finite or (answer.residual is None and told), "residual must be a number, or a note must say why there is none."
    )


def deterministic(s: QuestionSubject) -> None:
    """The same question with the same seed has the same answer, to the last digit."""
    _same(s.ask(), s.ask(), "asked again", tol=0.0)


def order_irrelevant(s: QuestionSubject) -> None:
    """Rows in another order have the same answer."""
    rows = np.random.default_rng(1).permutation(len(s.dataset))
    _same(s.ask(), s.ask(s.dataset.rows(rows)), "with the rows in another order", tol=1e-9)


def unused_is_zero(s: QuestionSubject) -> None:
    """What a modality holds that the predictor does not use changes nothing, and estimates of it alone are 0."""
    answer = s.ask()
    data = s.dataset.modalities[UNUSED]
    other = replace(data, values=np.random.default_rng(2).normal(size=data.values.shape))
    changed = replace(s.dataset, modalities={**s.dataset.modalities, UNUSED: other})
    _same(answer, s.ask(changed), "with other values in a modality that is not used", tol=1e-9, intervals=False)
    for e in answer.estimates:
        alone = e.modalities == (UNUSED,)
        need(not alone or e.value == e.low == e.high == 0, f"{e.name!r} is not used and must be 0; got {e}.")


def interval(s: QuestionSubject) -> None:
    """Every estimate lies in its interval, which is finite; not all intervals are points."""
    estimates = s.ask().estimates
    for e in estimates:
        need(isfinite(e.low) and isfinite(e.high), f"the interval of {e.name!r} must be finite; got {e}.")
        need(e.low <= e.value <= e.high, f"the interval of {e.name!r} must contain the value; got {e}.")
    need(any(e.low < e.high for e in estimates), "intervals must tell how sure values are; all are points.")


def no_target_raises(s: QuestionSubject) -> None:
    """Rows without a target: a DataError that says so, from `answer` too; an answer if it needs none."""
    bare = replace(s.dataset, target=None)
    if not s.make().needs_target:
        need(len(s.ask(bare).estimates) > 0, "rows without a target must have an answer; got no estimate.")
        return
    calls: tuple[Callable[[], Answer], ...] = (lambda: s.ask(bare), lambda: s.make().answer(s.predictor, bare))
    for call in calls:
        try:
            call()
        except DataError as error:
            need("target" in str(error), f"the error must tell that the target is missing; got {error}")
        else:
            need(False, "rows without a target must raise DataError; got an answer.")


def predictor_unchanged(s: QuestionSubject) -> None:
    """Predictor and rows are after the answer what they were before."""
    inputs = s.predictor.encode(s.dataset)
    before, digest = s.predictor.predict_encoded(inputs), s.dataset.digest()
    s.ask()
    need(s.dataset.digest() == digest, "the rows must be left as they are; got others.")
    need(np.array_equal(s.predictor.predict_encoded(inputs), before), "the predictor must be left as it is.")


def described(s: QuestionSubject) -> None:
    """It has a docstring, and a description of one line that ends with a full stop."""
    cls = type(s.make())
    text: Any = getattr(cls, "description", "")
    one_line = isinstance(text, str) and text.strip() == text and text.endswith(".") and "\n" not in text
    need(one_line, f"description must be one line that ends with a full stop; got {text!r}.")
    need(bool((cls.__doc__ or "").strip()), "it must have a docstring; got none.")


def _same(one: Answer, other: Answer, when: str, *, tol: float, intervals: bool = True) -> None:
    need(
        [e.name for e in one.estimates] == [e.name for e in other.estimates],
        f"estimates must be of the same things {when}; got others.",
    )
    pairs = [(one.residual, other.residual)]
    for a, b in zip(one.estimates, other.estimates, strict=True):
        pairs += [(a.value, b.value), *(((a.low, b.low), (a.high, b.high)) if intervals else ())]
    for x, y in pairs:
        same = x is y or (x is not None and y is not None and abs(x - y) <= tol)
        need(same, f"the answer must be the same {when}; got {x} and {y}.")


QUESTION_CHECKS: dict[str, Callable[[QuestionSubject], None]] = {
    check.__name__: check
    for check in (
        answers,
        deterministic,
        order_irrelevant,
        unused_is_zero,
        interval,
        no_target_raises,
        predictor_unchanged,
        described,
    )
}


def check_question(make: Callable[[], Question], *, checks: Iterable[str] = tuple(QUESTION_CHECKS)) -> None:
    """Checks a question against the contract, asked of a predictor of two classes that uses two of three modalities.

    Args:
        make: Its class, or a function that makes one (to set options).
        checks: Names of `QUESTION_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        UnknownNameError: There is no such check.
    """
    run_checks(type(make()).__name__, QuestionSubject(make), QUESTION_CHECKS, checks)
