"""Series choose by validation rows whether their levels are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from profuse.encoders._base import Rows
from profuse.encoders._levels import levels_suited
from profuse.encoders.multiscale import MultiscaleEncoder
from profuse.schema import Spec
from profuse.tokens import Raw

N_TRAIN, N_VALID = 120, 80


def rows(*, by_level: bool, drift: float, as_numbers: bool = False) -> tuple[Rows, Rows]:
    """Two classes, told by a level or by a bump; the sensor of the validation rows has another offset."""
    rng = np.random.default_rng(0)
    n = N_TRAIN + N_VALID
    label, t = rng.integers(0, 2, n), np.linspace(-1, 1, 40)
    x = rng.normal(0, 0.3, (n, 40)) + label[:, None] * (1.0 if by_level else 2 * np.exp(-((t / 0.3) ** 2)))
    x[N_TRAIN:] += drift
    raw = Raw(torch.tensor(x, dtype=torch.float32)[..., None], torch.ones(n, 40, dtype=torch.bool))
    target = torch.tensor(label)
    target = target[:, None].float() if as_numbers else target
    return Rows(raw, target, torch.arange(N_TRAIN)), Rows(raw, target, torch.arange(N_TRAIN, n))


@pytest.mark.parametrize("as_numbers", [False, True])
@pytest.mark.parametrize(
    ("by_level", "drift", "expected"), [(True, 0.0, True), (False, 4.0, False)], ids=["they tell", "they drift"]
)
def test_levels_are_read_unless_validation_rows_have_others(
    by_level: bool, drift: float, expected: bool, as_numbers: bool
) -> None:
    found = levels_suited(*rows(by_level=by_level, drift=drift, as_numbers=as_numbers))
    assert found is not None
    assert found.options == {"levels": expected}
    assert ("left out" in found.words) != expected


def test_nothing_is_chosen_with_few_rows() -> None:
    train, valid = rows(by_level=True, drift=0.0)
    assert levels_suited(Rows(train.raw, train.target, train.index[:19]), valid) is None
    assert levels_suited(train, Rows(valid.raw, valid.target, valid.index[:19])) is None


def test_classes_of_training_that_validation_lacks_and_the_other_way_round_are_no_fault() -> None:
    train, valid = rows(by_level=True, drift=0.0)
    more = Rows(train.raw, torch.where(train.raw.values[:, 0, 0] > 0.9, 5, train.target), valid.index)
    assert levels_suited(train, more) is not None
    assert levels_suited(Rows(more.raw, more.target, train.index), valid) is not None


def test_without_levels_gain_and_offset_reach_the_rows_own_numbers_alone() -> None:
    train, valid = rows(by_level=True, drift=0.0)
    spec = Spec(kind="series", n_channels=1, max_length=40)
    for levels in (True, False):
        torch.manual_seed(0)
        made = MultiscaleEncoder(spec, 8, levels=levels).eval()
        torch.nn.init.normal_(made.describe.weight)
        with torch.no_grad():
            made.describe.weight[:, :3] = 0  # mean and spreads
            first = made.describe.weight[:, 3 + levels * 40 + 80 :].view(8, -1, 4, 84)
            first[:, :, 0] = 0  # nothing reads the kernels' own rms either
        x = train.raw.rows(torch.arange(5))
        moved = Raw(3 * x.values + 2, x.mask)
        off = (made(x).values - made(moved).values).abs().max()
        assert bool(off > 0.05) == levels
    found = MultiscaleEncoder.suited(spec, train, valid)
    assert found is not None
    assert found.options == {"levels": True}
