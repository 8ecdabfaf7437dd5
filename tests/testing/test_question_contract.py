"""Questions by checks, and for each check a broken question that it must reject."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profuse.data.dataset import Dataset
from profuse.errors import UnknownNameError
from profuse.inspect import QUESTIONS, Answer, Estimate, Question, question
from profuse.testing import QUESTION_CHECKS, ContractError, check_question


@pytest.mark.slow
@pytest.mark.parametrize(("name", "check"), list(product(QUESTIONS, QUESTION_CHECKS)))
def test_the_question_keeps_the_contract(name: str, check: str) -> None:
    check_question(question(name), checks=[check])


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_the_question_is_called_what_the_table_calls_it(name: str) -> None:
    assert question(name).name == name


class Sound(Question):
    """The share of rows that are right, with a wide interval."""

    name = "sound"
    description = "A question that keeps the contract."

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        scores = self.asked(predictor, dataset).scores_without([()])
        return self.told([Estimate("accuracy", *scores.score(()), len(dataset))], len(dataset))

    def told(self, estimates: list[Estimate], n_rows: int, residual: float | None = 0.0) -> Answer:
        return Answer(self.name, "accuracy", n_rows, tuple(estimates), residual)


def with_estimate(change: Callable[[Estimate], Estimate]) -> Callable[[Answer], Answer]:
    return lambda a: replace(a, estimates=tuple(map(change, a.estimates)))


def changed(change: Callable[[Answer], Answer]) -> type[Sound]:
    class Changed(Sound):
        """See `Sound`."""

        def answer(self, predictor: Any, dataset: Dataset) -> Answer:
            return change(super().answer(predictor, dataset))

    return Changed


class ForgetsItsSeed(Sound):
    """Draws without the seed."""

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        value = float(np.random.default_rng().random())
        return self.told([Estimate("luck", value, 0.0, 1.0, len(dataset))], len(dataset))


class ReadsIdsInOrder(Sound):
    """Equal rows stand in the order in which they came: what their ids say must not count."""

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        value = float(np.arange(len(dataset)) @ np.asarray(dataset.ids)) / 1e6
        return self.told([Estimate("ids", value, 0.0, 1.0, len(dataset))], len(dataset))


class LooksAtAll(Sound):
    """Measures what the data hold, not what the predictor uses."""

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        inputs = predictor.encode(dataset)
        values = {n: float(abs(inputs[n].values[inputs[n].present]).mean()) for n in "abc"}
        return self.told([Estimate(n, v, 0.0, 9.0, len(dataset), None, (n,)) for n, v in values.items()], len(dataset))


class CreditsTheUnused(Sound):
    """Says a small constant of each modality."""

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        return self.told([Estimate(n, 0.01, 0.0, 1.0, len(dataset), None, (n,)) for n in "abc"], len(dataset))


class NeedsNoTarget(Sound):
    """Answers whatever it is given."""

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        return self.told([Estimate("rows", 1.0, 0.0, 2.0, len(dataset))], len(dataset))


class Teaches(Sound):
    """Changes the predictor."""

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        predictor.slopes["a"] += 1.0
        return super().answer(predictor, dataset)


class Nameless(Sound):
    """Has a description of two sentences on two lines."""

    description = "Two\nlines"


calls = count()


class CountsCalls(Sound):
    """Another answer each time."""

    def answer(self, predictor: Any, dataset: Dataset) -> Answer:
        return self.told([Estimate("calls", float(next(calls)), 0.0, 1e9, len(dataset))], len(dataset))


BROKEN: list[tuple[str, str, type[Question]]] = [
    ("answers", "question must be 'sound'", changed(lambda a: replace(a, question="other"))),
    ("answers", "n_rows must be 100", changed(lambda a: replace(a, n_rows=99))),
    ("answers", "there must be an estimate", changed(lambda a: replace(a, estimates=()))),
    ("answers", "n must be how many", changed(with_estimate(lambda e: replace(e, n=0)))),
    ("answers", "residual must be a number", changed(lambda a: replace(a, residual=None))),
    ("answers", "residual must be a number", changed(lambda a: replace(a, residual=float("nan")))),
    ("deterministic", "asked again", ForgetsItsSeed),
    ("deterministic", "asked again", CountsCalls),
    ("order_irrelevant", "another order", ReadsIdsInOrder),
    ("unused_is_zero", "with other values in a modality that is not used", LooksAtAll),
    ("unused_is_zero", "'c' is not used and must be 0", CreditsTheUnused),
    ("interval", "must contain the value", changed(with_estimate(lambda e: replace(e, low=e.value + 0.1, high=1.0)))),
    ("interval", "must be finite", changed(with_estimate(lambda e: replace(e, low=-np.inf)))),
    ("interval", "all are points", changed(with_estimate(lambda e: replace(e, low=e.value, high=e.value)))),
    ("no_target_raises", "must raise DataError; got an answer", NeedsNoTarget),
    ("predictor_unchanged", "the predictor must be left as it is", Teaches),
    ("described", "one line", Nameless),
]


@pytest.mark.parametrize(("check", "message", "broken"), BROKEN)
def test_the_check_rejects_a_broken_question(check: str, message: str, broken: type[Question]) -> None:
    with pytest.raises(ContractError, match=message):
        check_question(broken, checks=[check])


def test_a_sound_question_keeps_the_contract() -> None:
    check_question(Sound)


def test_there_is_a_broken_question_for_every_check() -> None:
    assert {check for check, _, _ in BROKEN} == set(QUESTION_CHECKS)


def test_an_unknown_check_is_told() -> None:
    with pytest.raises(UnknownNameError, match="check must be a known name; got check='order'"):
        check_question(Sound, checks=["order"])


@pytest.mark.slow
def test_the_collected_cases_are_questions_by_checks() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", __file__]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    collected = {line.split("::")[1] for line in listed.splitlines() if "keeps_the_contract[" in line}
    cases = product(QUESTIONS, QUESTION_CHECKS)
    assert collected == {f"test_the_question_keeps_the_contract[{name}-{check}]" for name, check in cases}
