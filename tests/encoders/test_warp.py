"""Random changes of a recording's frames: lengths, bounds, padding, and that nothing changes by a change of nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from profuse.encoders._warp import spec_warp

LENGTHS = torch.tensor([30, 12, 0, 1, 20])
MASK = torch.arange(30) < LENGTHS[:, None]


def ramps() -> tuple[Tensor, Tensor]:
    """Frames whose value is their band, and frames whose value is their place; 0 where masked."""
    band, place = torch.arange(40.0).expand(5, 30, 40), torch.arange(30.0)[:, None].expand(5, 30, 40)
    return band * MASK[..., None], place * MASK[..., None]


def test_a_change_of_nothing_changes_nothing() -> None:
    frames = torch.randn(5, 30, 40) * MASK[..., None]
    warped, mask = spec_warp(frames, MASK, max_pitch=0, max_pace=0)
    torch.testing.assert_close(warped, frames, atol=1e-5, rtol=1e-5)
    assert torch.equal(mask, MASK)


def test_bands_and_time_are_stretched_about_their_beginning_as_far_as_it_says() -> None:
    torch.manual_seed(0)
    bands, places = ramps()
    scales, paces = [], []
    for _ in range(60):
        warped, mask = spec_warp(bands, MASK, max_pitch=0.2, max_pace=0.0)
        torch.testing.assert_close(warped[4, :20, 2], warped[4, :20, 1] * 2, atol=1e-3, rtol=1e-3)
        scales.append(float(warped[4, 5, 10] / 10))
        assert torch.equal(mask, MASK)
        warped, mask = spec_warp(places, MASK, max_pitch=0.0, max_pace=0.3)
        paces.append(float(mask[4].sum() / 20))
        n = int(mask[4].sum())
        torch.testing.assert_close(
            warped[4, 1 : n - 2, 0], warped[4, 1, 0] * torch.arange(1.0, n - 2), atol=1e-3, rtol=1e-3
        )
        assert int(mask[0].sum()) <= 30  # no row outgrows its batch
    assert 0.8 <= min(scales) < 0.85
    assert 1.15 < max(scales) <= 1.2
    assert 0.69 < min(paces) < 0.77
    assert 1.23 < max(paces) < 1.31


def test_absent_rows_stay_absent_and_what_is_masked_stays_0() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        warped, mask = spec_warp(torch.randn(5, 30, 40) * MASK[..., None], MASK)
        assert not mask[2].any()
        assert mask[3].sum() == 1
        assert not warped[~mask].any()
        assert (mask[:, 1:] <= mask[:, :-1]).all()


def test_every_row_is_changed_by_itself() -> None:
    torch.manual_seed(0)
    frames = torch.randn(1, 30, 40).repeat(4, 1, 1)
    warped, _ = spec_warp(frames, torch.ones(4, 30, dtype=torch.bool))
    assert all(not torch.allclose(warped[0], warped[i]) for i in range(1, 4))
