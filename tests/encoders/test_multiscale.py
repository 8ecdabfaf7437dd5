"""The multiscale encoder: its views, its fixed kernels and its statistics against plain accounts of them; it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from profuse.encoders._kernels import KernelBank, dilations
from profuse.encoders._strokes import redrawn
from profuse.encoders._views import resampled, row_views
from profuse.encoders.multiscale import MultiscaleEncoder
from profuse.errors import ConfigError
from profuse.layers.standardise import Standardise
from profuse.schema import Spec
from profuse.tokens import Raw

LENGTHS = (9, 1, 0, 4, 7)
SERIES = Spec(kind="series", n_channels=3, max_length=9)
PATH = Spec(kind="series", n_channels=3, max_length=9, is_path=True)


def batch(seed: int = 0) -> Raw:
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    values = torch.randn(*mask.shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Raw(values * mask[..., None], mask)


# Views


def test_the_views_are_steps_and_changes_in_units_of_their_row() -> None:
    raw = batch()
    views, own = row_views(raw.values, raw.mask)
    for i, length in enumerate(LENGTHS):
        x = raw.values[i, :length].numpy()
        if length > 1:
            change = np.diff(x, axis=0)
            rms = np.sqrt((change**2).mean(0))
            expected = np.concatenate([(x - x.mean(0)) / x.std(0), np.r_[np.zeros((1, 3)), change / rms]], axis=1)
            np.testing.assert_allclose(views[i, :length], expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(own[i], np.r_[x.mean(0), np.log(x.std(0)), np.log(rms)], rtol=1e-4, atol=1e-4)
        assert not views[i, length:].any()


def test_gain_and_offset_of_a_sensor_stand_in_no_view_but_in_the_rows_own_numbers() -> None:
    raw = batch()
    gain, offset = torch.tensor([[0.2, 1.0, 7.0], [3.0, -1.0, 0.0]], dtype=torch.float64)
    changed = (raw.values * gain + offset) * raw.mask[..., None]
    (one, own), (other, moved) = ([part[[0, 3, 4]] for part in row_views(x, raw.mask)] for x in (raw.values, changed))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved[:, :3], own[:, :3] * gain + offset)
    torch.testing.assert_close(moved[:, 3:], own[:, 3:] + gain.log().repeat(2).double(), rtol=1e-3, atol=1e-3)


def test_the_views_of_a_path_have_one_unit_and_a_direction() -> None:
    angle = torch.linspace(0, 3, 40, dtype=torch.float64)
    path = torch.stack([2 * angle.cos(), angle.sin() * 0.5, angle], dim=1)[None]
    mask = torch.ones(1, 40, dtype=torch.bool)
    views, _ = row_views(path, mask, is_path=True)
    x, y = path[0, :, 0] - path[0, :, 0].mean(), path[0, :, 1] - path[0, :, 1].mean()
    torch.testing.assert_close(views[0, :, 1] / views[0, :, 0], y / x)
    change = path[0, 1:, :2] - path[0, :-1, :2]
    torch.testing.assert_close(views[0, 1:, 3] / views[0, 1:, 4], change[:, 0] / change[:, 1])


@pytest.mark.parametrize("n_points", [1, 2, 5, 9, 30])
def test_a_row_is_resampled_from_its_first_step_to_its_last(n_points: int) -> None:
    raw = batch()
    out = resampled(raw.values, raw.mask, n_points)
    for i, length in enumerate(LENGTHS):
        at = np.linspace(0, max(0, length - 1), n_points)
        for c in range(3):
            expected = np.interp(at, np.arange(9), raw.values[i, :, c])
            np.testing.assert_allclose(out[i, :, c], expected, rtol=1e-10, atol=1e-12)


# Kernels


def test_each_kernel_tells_its_rms_and_how_much_lies_above_parts_of_it() -> None:
    raw, bank = batch(), KernelBank(3, 64, n_dilations=3).double()
    got = bank(raw.values.transpose(1, 2), raw.mask)
    assert bank.dilations == (1, 2, 4)
    assert got.shape == (5, bank.out_width)
    by_kernel = got.view(5, 3, 4, 84)
    for i, length in enumerate(LENGTHS):
        for j, dilation in enumerate(bank.dilations):
            for k in (0, 40, 83) if length else ():
                x = raw.values[i : i + 1, :length].transpose(1, 2)
                weight = (bank.reads[j, k][:, None] * bank.kernels[k])[None]
                z = F.conv1d(x, weight, padding=4 * dilation, dilation=dilation)[0, 0]
                z = z[:: max(1, dilation // 2)]
                rms = z.square().mean().sqrt()
                assert by_kernel[i, j, 0, k] == pytest.approx(float(rms.log()), abs=1e-4)
                shares = [float((z > t * rms).double().mean()) for t in (-0.5, 0.25, 1.1)]
                assert by_kernel[i, j, 1:, k].tolist() == pytest.approx(shares)


def test_kernels_sum_to_nothing_read_some_channels_and_are_the_same_each_time() -> None:
    bank, again, other = KernelBank(6, 100), KernelBank(6, 100), KernelBank(6, 100, seed=1)
    assert not bank.kernels.sum(2).any()
    assert set(bank.reads.abs().sum(2).ravel().tolist()) == {1, 2, 3, 4, 5, 6}
    assert torch.equal(bank.reads, again.reads)
    assert not torch.equal(bank.reads, other.reads)


def test_many_channels_give_what_few_give_by_fewer_products() -> None:
    torch.manual_seed(0)
    bank, x = KernelBank(70, 40).double(), torch.randn(4, 70, 30, dtype=torch.float64)
    mask = torch.arange(30) < torch.tensor([[30], [11], [1], [0]])
    x = x * mask[:, None]
    got = bank(x, mask)
    few = bank.reads[..., :60] * 1
    bank.reads[..., 60:], x[:, 60:] = 0, 0
    assert not torch.equal(got, bank(x, mask))  # all of them are read
    bank.reads = few
    torch.testing.assert_close(bank(x[:, :60], mask), _wide(bank, x[:, :60], mask))


def _wide(bank: KernelBank, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The same with channels that nothing reads, so many that the products are taken the other way."""
    more = torch.zeros(len(x), 10, x.shape[2], dtype=x.dtype)
    bank.reads = F.pad(bank.reads, (0, 10))
    result: torch.Tensor = bank(torch.cat([x, more], dim=1), mask)
    return result


def test_very_many_channels_are_mixed_before_learned_kernels() -> None:
    made = MultiscaleEncoder(Spec(kind="series", n_channels=60, max_length=9), 8)
    raw = Raw(torch.randn(3, 9, 60), torch.arange(9) < torch.tensor([[9], [4], [0]]))
    assert made(raw).mask.any(1).tolist() == [True, True, False]
    assert made.scales[0].in_channels == 96


def test_gain_moves_the_rms_alone() -> None:
    raw, bank = batch(), KernelBank(3, 9).double()
    x = raw.values.transpose(1, 2)
    one, other = (bank(v, raw.mask).view(5, len(bank.dilations), 4, 84)[[0, 3, 4]] for v in (x, 5 * x))
    torch.testing.assert_close(
        other[:, :, 0] - one[:, :, 0], torch.full_like(one[:, :, 0], np.log(5)), atol=1e-3, rtol=0
    )
    assert torch.equal(one[:, :, 1:], other[:, :, 1:])


@pytest.mark.parametrize(
    ("length", "n", "expected"), [(1, 5, (1,)), (9, 5, (1,)), (129, 5, (1, 2, 3, 5, 8)), (700, 3, (1, 7, 44))]
)
def test_dilations_span_half_of_the_series(length: int, n: int, expected: tuple[int, ...]) -> None:
    assert dilations(length, n) == expected


# Statistics


def test_features_are_standardised_by_all_rows_that_training_has_shown() -> None:
    torch.manual_seed(0)
    layer, x = Standardise(4).double(), 3 + 2 * torch.randn(50, 4, dtype=torch.float64)
    present = torch.rand(50) < 0.8
    layer.train()
    for part, there in zip(x.split(7), present.split(7), strict=True):
        layer(part, there)
    layer(x[:3], torch.zeros(3, dtype=torch.bool))
    kept = x[present]
    torch.testing.assert_close(layer.mean, kept.mean(0))
    torch.testing.assert_close(layer.variance, kept.var(0, unbiased=False))
    layer.eval()
    expected = (x - kept.mean(0)) / (kept.var(0, unbiased=False) + 1e-4).sqrt()
    torch.testing.assert_close(layer(x, present), expected)
    assert layer.n_seen == int(present.sum())
    assert layer(torch.full((1, 4), 1e9, dtype=torch.float64), present[:1]).max() == 6


# Redrawing


def test_a_redrawn_path_keeps_its_centre_and_differs_each_time() -> None:
    torch.manual_seed(0)
    raw = batch()
    path = raw.values[..., :2]
    one, other = redrawn(path, raw.mask, 1.0), redrawn(path, raw.mask, 1.0)
    assert not one[~raw.mask].any()
    assert (one - other)[0].abs().max() > 0.01
    torch.testing.assert_close(redrawn(path, raw.mask, 0.0), path)
    assert one.isfinite().all()


def test_without_bending_a_line_stays_a_line_through_its_centre() -> None:
    torch.manual_seed(0)
    t = torch.linspace(-1, 1, 50, dtype=torch.float64)
    line = torch.stack([t, 2 * t], dim=1)[None].expand(200, -1, -1)
    out = redrawn(line, torch.ones(200, 50, dtype=torch.bool), 1.0)
    length = (out[:, -1] - out[:, 0]).norm(dim=1)
    angle = torch.atan2(out[:, -1, 1] - out[:, 0, 1], out[:, -1, 0] - out[:, 0, 0])
    assert 0.1 < angle.std() < 0.6
    assert 0.8 < length.median() / line[0].diff(dim=0).norm(dim=1).sum() < 1.25
    bow = (out - torch.lerp(out[:, :1], out[:, -1:], torch.linspace(0, 1, 50, dtype=torch.float64)[:, None])).norm(
        dim=2
    )
    assert 0.02 < (bow.amax(1) / length).median() < 0.4


# The encoder


def test_paths_are_redrawn_in_training_only_and_nothing_else_is() -> None:
    raw = batch()
    for spec, redraw, differs in ((PATH, 1.0, True), (PATH, 0.0, False), (SERIES, 1.0, False)):
        made = MultiscaleEncoder(spec, 8, redraw=redraw, description_dropout=0.0, dropout=0.0).double()
        torch.manual_seed(1)
        same = torch.equal(made.train().embed(raw).values, made.embed(raw).values)
        assert same != differs
        made.eval()
        assert torch.equal(made.embed(raw).values, made.embed(raw).values)
    assert MultiscaleEncoder.make(PATH, 8, n_rows=100).redraw > 0
    assert MultiscaleEncoder.make(SERIES, 8, n_rows=100).redraw == 0


def test_the_description_is_of_the_row_and_begins_at_nothing() -> None:
    made = MultiscaleEncoder(SERIES, 8).double().eval()
    raw = batch()
    before = made.embed(raw).zeroed().values
    torch.nn.init.normal_(made.describe.weight)
    added = (made.embed(raw).zeroed().values - before)[0]
    torch.testing.assert_close(added, added[:1].expand_as(added))
    assert added.abs().max() > 0


def test_few_rows_are_enough_for_what_a_sensor_of_another_gain_measures() -> None:
    """Bursts of two frequencies at random places: 40 rows to learn from, others have another gain and offset."""
    rng = np.random.default_rng(0)

    def rows(n: int, gain: float, offset: float) -> tuple[Raw, torch.Tensor]:
        label, x = np.arange(n) % 2, rng.normal(0, 0.3, (n, 60))
        for row, kind in zip(x, label, strict=True):
            start = rng.integers(0, 40)
            row[start : start + 20] += np.sin(np.arange(20) * (1.2 if kind else 0.7) + rng.uniform(0, 6))
        values = torch.tensor(gain * x + offset, dtype=torch.float32)[..., None]
        return Raw(values, torch.ones(n, 60, dtype=torch.bool)), torch.tensor(label)

    torch.manual_seed(0)
    made = MultiscaleEncoder.make(Spec(kind="series", n_channels=1, max_length=60), 16, n_rows=40)
    head = torch.nn.Linear(16, 2)
    optimizer = torch.optim.AdamW([*made.parameters(), *head.parameters()], lr=3e-3)
    known, label = rows(40, 1.0, 0.0)
    made.train()
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(head(made(known).mean()), label).backward()
        optimizer.step()
    new, label = rows(200, 0.7, 0.4)
    made.eval()
    assert float((head(made(new).mean()).argmax(1) == label).float().mean()) > 0.85


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_filters": 0}, "MultiscaleEncoder: n_filters must be at least 1; got n_filters=0"),
        ({"description_dropout": 1.0}, "description_dropout=1.0"),
        ({"redraw": -1.0}, "redraw=-1.0"),
        ({"dropout": 1.0}, "MultiscaleEncoder: dropout must be in"),
    ],
)
def test_settings_out_of_range_are_told(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MultiscaleEncoder(SERIES, 8, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("length", "n_channels"), [(5, 2), (16, 2), (18, 50), (29, 2), (1, 2)])
def test_runs_of_steps_that_are_real_in_part_do_not_see_the_padding(length: int, n_channels: int) -> None:
    """Twelve steps or so make a token of a run: its mean and its largest value are those of its real steps."""
    spec = Spec(kind="series", n_channels=n_channels, max_length=40)
    torch.manual_seed(0)
    encoder = MultiscaleEncoder(spec, 8, max_steps=4, max_tokens=4).double().eval()
    assert encoder.run > 1
    torch.nn.init.normal_(encoder.gate)
    values = torch.randn(1, 40, n_channels, dtype=torch.float64)
    there = torch.arange(40)[None] < length
    padded = encoder(Raw(values, there))
    alone = encoder(Raw(values[:, :length], there[:, :length]))
    n = alone.mask.shape[1]
    assert padded.mask[:, :n].equal(alone.mask)
    assert not padded.mask[:, n:].any()
    torch.testing.assert_close(padded.values[:, :n][alone.mask], alone.values[alone.mask])
    # by hand, of the last run
    views, _ = row_views(values[:, :length], there[:, :length], is_path=False)
    seen = encoder.narrow(views.transpose(1, 2))
    made = F.gelu(torch.cat([scale(seen) for scale in encoder.scales], dim=1)).transpose(1, 2)[0]
    last = made[(length - 1) // encoder.run * encoder.run :]
    local, real = encoder._local(views.transpose(1, 2).contiguous(), there[:, :length])
    assert real.sum() == -(-length // encoder.run)
    torch.testing.assert_close(local[0, real.sum() - 1], torch.cat([last.mean(0), last.amax(0)]))
    both = encoder._local(F.pad(views.transpose(1, 2), (0, 40 - length)), there)[0]
    torch.testing.assert_close(both[0, real.sum() - 1], torch.cat([last.mean(0), last.amax(0)]))
