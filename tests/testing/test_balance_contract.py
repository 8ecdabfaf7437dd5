"""The contract of balancing methods: methods by checks, and for each check a broken one that it must reject."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from profuse.testing import BALANCE_CHECKS, ContractError, check_balance
from profuse.training.balance import BALANCES, Balance, balance


@pytest.mark.parametrize(("name", "check"), list(product(BALANCES, BALANCE_CHECKS)))
def test_the_method_keeps_the_contract(name: str, check: str) -> None:
    check_balance(balance(name), checks=[check])


class Honest(Balance):
    """loss = joint + sum over m of own_m."""

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        (joint + torch.stack([*own.values()]).sum()).backward()


class ForgetsTheOwnLosses(Honest):
    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        joint.backward()


class PrefersTheFirst(Honest):
    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        super().backward(joint, {n: loss * (2 - i) for i, (n, loss) in enumerate(own.items())}, unimodal_confidence)


class DrawsOutsideOfTheSeed(Honest):
    draws = torch.Generator().manual_seed(1)

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        super().backward(joint * (1 + torch.rand((), generator=self.draws)), own, unimodal_confidence)


class DividesByTheConfidence(Honest):
    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        super().backward(joint / torch.stack([*unimodal_confidence.values()]).min(), own, unimodal_confidence)


class StepsItself(Honest):
    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        super().backward(joint, own, unimodal_confidence)
        with torch.no_grad():
            next(self.whole.parameters()).add_(1.0)


class LeavesAHook(Honest):
    def __init__(self, model: Any) -> None:
        super().__init__(model)
        model.head.register_forward_pre_hook(lambda module, inputs: None)


class ForgetsItsWeights(Honest):
    factor = 1.0

    def after_epoch(self, losses: Any) -> None:
        self.factor += float(losses()[0][0])

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        super().backward(self.factor * joint, own, unimodal_confidence)


class TakesAnyModel(Honest):
    def __init__(self, model: Any) -> None:
        self.whole = self.model = model


BROKEN: dict[str, type[Balance]] = {
    "gradient_reaches_everything": ForgetsTheOwnLosses,
    "balanced_is_plain": PrefersTheFirst,
    "deterministic": DrawsOutsideOfTheSeed,
    "absent_is_finite": DividesByTheConfidence,
    "values_left_alone": StepsItself,
    "closes_cleanly": LeavesAHook,
    "weights_repeat": ForgetsItsWeights,
    "own_losses_needed": TakesAnyModel,
}


def test_every_check_has_something_broken_that_it_must_reject() -> None:
    assert set(BROKEN) == set(BALANCE_CHECKS)


@pytest.mark.parametrize("check", BALANCE_CHECKS)
def test_the_check_rejects_the_broken_method_and_passes_the_honest_one(check: str) -> None:
    with pytest.raises(ContractError, match=f"^{BROKEN[check].__name__}, {check}: "):
        check_balance(BROKEN[check], checks=[check])
    check_balance(Honest, checks=[check])
