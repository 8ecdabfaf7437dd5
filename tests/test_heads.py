"""How sure a prediction is: the temperature of a head, and the error that an epoch is chosen by."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from profuse.heads import head_for


def rows(task: str, *, n: int = 400, sure: float = 6.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs that are right in three quarters, and far too sure."""
    rng = torch.Generator().manual_seed(0)
    if task == "multilabel":
        target = (torch.rand(n, 3, generator=rng) < 0.4).float()
        wrong = torch.rand(n, 3, generator=rng) < 0.25
        return sure * (2 * (target != wrong).float() - 1), target
    target = torch.randint(3, (n,), generator=rng)
    said = torch.where(torch.rand(n, generator=rng) < 0.25, (target + 1) % 3, target)
    return sure * torch.nn.functional.one_hot(said, 3).float(), target


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_calibrated_head_is_as_sure_as_it_is_right_and_says_the_same(task: str) -> None:
    head = head_for(task)(4, 3).eval()  # type: ignore[arg-type]
    outputs, target = rows(task)
    before = head.predict(outputs)
    head.calibrate(outputs, target)
    after = head.predict(outputs)
    assert float(head.temperature) > 2
    assert torch.equal(before > 0.5, after > 0.5)
    confidence = torch.where(after > 0.5, after, 1 - after).mean() if task == "multilabel" else after.amax(1).mean()
    assert float(confidence) == pytest.approx(0.75, abs=0.03)
    assert head.losses(outputs / head.temperature, target).mean() < head.losses(outputs, target).mean()


def test_few_rows_that_are_all_right_do_not_make_a_head_certain() -> None:
    head = head_for("binary")(4, 2)
    target = torch.arange(20) % 2
    head.calibrate(3.0 * torch.nn.functional.one_hot(target, 2), target)
    assert 0.9 < float(head.predict(torch.tensor([[3.0, 0.0]]))[0, 0]) < 0.97


def test_few_rows_hardly_move_a_head_that_is_as_sure_as_it_should_be() -> None:
    rng = torch.Generator().manual_seed(0)
    head, moved, free = head_for("binary")(4, 2), [], []
    for _ in range(40):  # 30 rows each, drawn as the outputs say
        margin = 2.0 * torch.randn(30, generator=rng)
        target = (torch.rand(30, generator=rng) < margin.sigmoid()).long()
        outputs = torch.stack([-margin / 2, margin / 2], dim=1)
        head.calibrate(outputs, target)
        moved.append(abs(np.log(float(head.temperature))))
        free.append(abs(np.log(head._best_temperature(outputs, target))))
    assert np.median(moved) < 0.1 < np.median(free)


@pytest.mark.parametrize(("n", "at_least"), [(20, 1.0), (60, 2.0), (400, 2.5)])
def test_the_surer_of_a_mistake_the_fewer_rows_are_needed_to_say_so(n: int, at_least: float) -> None:
    outputs, target = rows("multiclass", n=n)
    head = head_for("multiclass")(4, 3)
    head.calibrate(outputs, target)
    assert at_least <= float(head.temperature) <= head._best_temperature(outputs, target) + 1e-5


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_error_does_not_ask_how_sure_outputs_are_but_how_right(task: str) -> None:
    head = head_for(task)(4, 3).eval()  # type: ignore[arg-type]
    outputs, target = rows(task)
    error = head.error(outputs, target)
    assert head.error(outputs / 5, target) == pytest.approx(error, rel=0.01)
    worse = outputs.clone()
    worse[:40] = outputs[40:80]
    assert head.error(worse, target) > error * 1.05
    head.calibrate(outputs, target)
    assert head.error(outputs, target) == pytest.approx(error, rel=0.01)
    brier = (head.predict(outputs) - head.encode_target(target)).square().sum(1).mean()
    assert error == pytest.approx(float(brier), rel=0.01)


def test_numbers_have_no_temperature() -> None:
    head = head_for("regression")(4, 2)
    outputs, target = torch.randn(9, 2), torch.randn(9, 2)
    head.calibrate(outputs, target)
    assert float(head.temperature) == 1
    assert head.error(outputs, target) == pytest.approx(float((outputs - target).square().sum(1).mean()))
    np.testing.assert_array_equal(head.predict(outputs), outputs)


def test_classes_as_probabilities_are_classes() -> None:
    head = head_for("multiclass")(4, 3, label_smoothing=0.2)
    outputs, target = rows("multiclass", n=50)
    as_floats = torch.nn.functional.one_hot(target, 3).float()
    for mode in (head.train(), head.eval()):
        torch.testing.assert_close(mode.losses(outputs, as_floats), mode.losses(outputs, target))
    assert head.score(outputs, as_floats) == head.score(outputs, target)
    assert head.error(outputs, as_floats) == pytest.approx(head.error(outputs, target))


def test_the_loss_of_probabilities_is_the_mean_over_classes_by_them() -> None:
    head, outputs = head_for("multiclass")(4, 3).eval(), torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    p = torch.rand(20, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    each = [p[:, k] * head.losses(outputs, torch.full((20,), k)) for k in range(3)]
    torch.testing.assert_close(head.losses(outputs, p), torch.stack(each).sum(0))
