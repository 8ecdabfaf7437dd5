"""What the linear path reads of series: each part against NumPy, gain and offset, and tasks that one part tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from profuse.encoders import encoder
from profuse.encoders._series import SeriesDescription
from profuse.encoders._views import row_views
from profuse.layers.linear_path import LinearPath
from profuse.models.build import build_model
from profuse.models.fit_linear import fit_linear
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw

T = 64
"""Steps, as many as the description resamples to, so that resampling is the identity."""


def spec(n_channels: int = 2, *, is_path: bool = False, length: int = T) -> Spec:
    return Spec(kind="series", n_channels=n_channels, max_length=length, is_path=is_path)


def whole(x: torch.Tensor) -> Raw:
    return Raw(x, torch.ones(x.shape[:2], dtype=torch.bool))


def draw(n_rows: int = 5, n_channels: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_rows, T, n_channels, generator=generator, dtype=torch.float64).cumsum(1) / 3


def parts_of(made: SeriesDescription, raw: Raw) -> dict[str, torch.Tensor]:
    return dict(zip(made.sizes, made(raw).split(list(made.sizes.values()), dim=1), strict=True))


def factor(a: torch.Tensor, wanted: np.ndarray) -> float:
    """The one factor between the two; they are equal but for it."""
    scale = float(a.norm() / np.linalg.norm(wanted))
    np.testing.assert_allclose(a.numpy(), wanted * scale, atol=1e-4 * scale)
    return scale


def test_parts_are_what_numpy_makes_of_the_steps_but_for_one_factor() -> None:
    x = draw()
    parts = parts_of(SeriesDescription(spec()).double(), whole(x))
    rows = x.numpy()
    z = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-6)
    at = [0, 3, 8, 16, 24, 32, 40, 48, 55, 60, 63]
    factor(parts["ranks"], np.sort(z, 1)[:, at].reshape(5, -1))
    factor(parts["levels"], np.sort(rows, 1)[:, [0, 16, 32, 48, 63]].reshape(5, -1))
    power = np.log(np.square(np.abs(np.fft.rfft(z, axis=1)[:, 1:17])) + 0.1)
    factor(parts["power"], power.reshape(5, -1))
    lags = [(z[:, k:] * z[:, :-k]).sum(1) / np.square(z).sum(1) for k in (1, 2, 3, 4, 6, 8, 12, 16)]
    factor(parts["lags"], np.stack(lags, 1).reshape(5, -1))


def test_answers_of_kernels_are_there_as_rms_and_shares() -> None:
    x = draw()
    made = SeriesDescription(spec()).double()
    parts = parts_of(made, whole(x))
    views, _ = row_views(x, torch.ones(5, T, dtype=torch.bool))
    answers = made.kernels(views.transpose(1, 2).contiguous(), torch.ones(5, T, dtype=torch.bool)).numpy()
    by_kind = answers.reshape(5, len(made.kernels.dilations), 4, 84)
    factor(parts["rms"], np.log(np.exp(by_kind[:, :, 0]) + 0.3).reshape(5, -1))
    factor(parts["shares"], by_kind[:, :, 1].reshape(5, -1))


def test_a_path_that_goes_one_way_has_that_direction_in_each_quarter() -> None:
    way = torch.linspace(0, 1, T, dtype=torch.float64)
    angle = torch.tensor([0.0, np.pi / 2, np.pi / 8], dtype=torch.float64)
    x = way[None, :, None] * torch.stack([angle.cos(), angle.sin()], 1)[:, None]
    ways = parts_of(SeriesDescription(spec(is_path=True)).double(), whole(x))["directions"].reshape(3, 4, 8)
    shares = ways / ways.sum(2, keepdim=True)
    wanted = torch.zeros(3, 8, dtype=torch.float64)
    wanted[0, 0] = wanted[1, 2] = 1.0
    wanted[2, :2] = 0.5
    torch.testing.assert_close(shares, wanted[:, None].expand(3, 4, 8), atol=1e-6, rtol=0)


def test_without_levels_gain_and_offset_of_a_sensor_change_nothing() -> None:
    x = draw()
    for levels in (True, False):
        made = SeriesDescription(spec(), levels=levels).double()
        apart = (made(whole(x)) - made(whole(2.5 * x + 1.0))).abs().max()
        assert (apart > 1e-2) == levels


def test_rows_of_any_length_and_of_no_change_are_finite_and_have_a_gradient() -> None:
    x = torch.zeros(4, 30, 2)
    x[1], x[2] = 1.0, torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(30) < torch.tensor([30, 30, 1, 0])[:, None]
    for is_path in (False, True):
        values = x.clone().requires_grad_()
        numbers = SeriesDescription(spec(is_path=is_path, length=40))(Raw(values, mask))
        numbers.square().sum().backward()
        assert numbers.isfinite().all()
        assert values.grad is not None
        assert values.grad.isfinite().all()


def test_numbers_of_noise_vary_by_more_than_a_fifth_and_many_channels_give_few() -> None:
    generator = torch.Generator().manual_seed(0)
    made = SeriesDescription(spec(3))
    noise = whole(torch.randn(100, T, 3, generator=generator))
    made.settle(noise, torch.arange(100))
    assert (made(noise).std(0) > 1).double().mean() > 0.95  # `Landmarks` takes a fifth for noise
    many = SeriesDescription(spec(100))
    assert set(many.sizes) == {"length", "own", "steps", "levels", "views", "ranks"}
    assert many(whole(torch.randn(2, T, 100, generator=generator))).shape == (2, many.out_width)


@pytest.mark.parametrize("name", ["multiscale", "gru", "tcn", "patch"])
def test_the_path_can_be_left_out(name: str) -> None:
    made = encoder(name).make(spec(), 8, n_rows=100)
    assert made.n_linear == SeriesDescription(spec()).out_width
    without = made.with_options({"linear_path": False})
    assert without.n_linear == 0
    assert without.linear(whole(draw())).shape == (5, 0)


def test_levels_are_left_out_of_the_path_where_they_are_left_out_of_the_encoder() -> None:
    made = encoder("multiscale").make(spec(), 8, n_rows=100)
    assert made.with_options({"levels": False}).n_linear == SeriesDescription(spec(), levels=False).out_width


def tasks(kind: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes of noisy rows, told by one thing: a frequency, a level, how a row is distributed, or a lag."""
    rng = np.random.default_rng(seed)
    label, t = rng.integers(0, 2, 160), np.arange(T) / T
    noise = rng.normal(0, 1, (160, T))
    if kind == "frequency":
        phase = rng.uniform(0, 2 * np.pi, (160, 1))
        x = np.sin(2 * np.pi * (4 + 2 * label[:, None]) * t + phase) + 0.5 * noise
    elif kind == "level":
        x = noise + 0.8 * label[:, None]
    elif kind == "distribution":
        x = np.where(label[:, None] == 1, np.sign(noise) * noise**2, noise)
    else:
        x = noise.copy()
        for i in range(1, T):
            x[:, i] += np.where(label == 1, 0.6, -0.1) * x[:, i - 1]
    return torch.tensor(x, dtype=torch.float32)[..., None], torch.tensor(label)


@pytest.mark.parametrize("kind", ["frequency", "level", "distribution", "lag"])
def test_a_ridge_of_eighty_rows_learns_what_one_part_tells(kind: str) -> None:
    x, label = tasks(kind, 0)
    numbers = SeriesDescription(spec(1))(whole(x))
    path, here = LinearPath({"x": numbers.shape[1]}, 2, link="softmax"), torch.ones(80, dtype=torch.bool)
    path.fit({"x": (numbers[:80], here)}, torch.eye(2)[label[:80]])
    assert (path({"x": (numbers[80:], here)}).argmax(1) == label[80:]).double().mean() > 0.85


@pytest.mark.parametrize("levels", [True, False])
def test_answers_are_shares_above_the_quantiles_of_training_of_steps_and_changes(levels: bool) -> None:
    made, x = SeriesDescription(spec(1), levels=levels).double(), draw(40, 1)
    made.settle(whole(x), torch.arange(len(x)))
    got = (parts_of(made, whole(x))["answers"]).unflatten(1, (-1, 2, 84))
    rows = x[..., 0].numpy()
    seen = np.stack([rows, np.diff(rows, axis=1, prepend=rows[:, :1])], axis=1)
    if not levels:
        deviation = np.stack([rows.std(1), np.sqrt(np.square(np.diff(rows, axis=1)).mean(1))], axis=1)
        middle = np.stack([rows.mean(1), np.zeros(40)], axis=1)
        seen = (seen - middle[..., None]) / deviation[..., None]
        seen[:, 1, 0] = 0.0
    bank = made.answers
    ranks = (np.arange(1, 169) * (np.sqrt(5) - 1) / 2 % 1).reshape(84, 2)
    for k in (0, 41, 83):
        taps = np.convolve
        weight = bank.kernels[k, 0].numpy()[::-1]  # convolve turns it round
        mixed = (bank.reads[0, k].numpy()[:, None] * seen).sum(1)
        z = np.stack([taps(row, weight, mode="same") for row in mixed])
        for i in range(2):
            threshold = np.sort(z.ravel())[int(ranks[k, i] * z.size)]
            assert float(bank.thresholds[0, k, i]) == pytest.approx(threshold, abs=1e-4)
            share = (z > threshold).mean(1)
            np.testing.assert_allclose(got[:, 0, i, k] / got[:, 0, i, k].max(), share / share.max(), atol=0.03)


def test_padding_and_absent_rows_change_no_threshold_and_no_share() -> None:
    x = draw(6, 2).float()
    one, other = SeriesDescription(spec()), SeriesDescription(spec())
    one.settle(whole(x), torch.arange(6))
    longer = torch.cat([x, torch.full((6, 9, 2), 50.0)], dim=1)
    mask = torch.cat([torch.ones(6, T), torch.zeros(6, 9)], dim=1).bool()
    other.settle(Raw(longer, mask), torch.arange(6))
    torch.testing.assert_close(one.answers.thresholds, other.answers.thresholds)
    torch.testing.assert_close(one(whole(x)), other(Raw(longer, mask)), atol=1e-3, rtol=1e-4)
    SeriesDescription(spec()).settle(Raw(longer, torch.zeros_like(mask)), torch.arange(6))  # nobody is there


def ripples(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes of small ripples, quick or slow, beside spikes a hundred times as large."""
    rng = np.random.default_rng(seed)
    label, t = rng.integers(0, 2, 160), np.arange(T)
    x = 0.05 * np.sin(2 * np.pi * (t / np.where(label, 4, 9)[:, None] + rng.uniform(0, 1, (160, 1))))
    spikes = rng.uniform(0, 1, (160, T)) < 0.1
    x = x + np.where(spikes, rng.normal(0, 8, (160, T)), 0.0)
    return torch.tensor(x, dtype=torch.float32)[..., None], torch.tensor(label)


def test_what_is_small_beside_spikes_is_seen() -> None:
    x, label = ripples(0)
    made = encoder("multiscale").make(spec(1), 8, n_rows=100)
    made.settle_linear(whole(x), torch.arange(80))
    numbers, here = made.linear(whole(x)), torch.ones(80, dtype=torch.bool)
    path = LinearPath({"x": made.n_linear}, 2, link="softmax", natural={"x": made.linear_spreads()})
    path.fit({"x": (numbers[:80], here)}, torch.eye(2)[label[:80]])
    assert (path({"x": (numbers[80:], here)}).argmax(1) == label[80:]).double().mean() > 0.9


def test_thresholds_come_from_the_rows_that_are_learned_from() -> None:
    x, label = ripples(1)
    x[80:] += 1e3
    made = build_model({"x": spec(1)}, "binary", 2, ModelOptions(), n_rows=80, seed=0)
    inputs = {"x": whole(x)}
    fit_linear(made.plain, inputs, label, torch.arange(80))
    alone = SeriesDescription(spec(1))
    alone.settle(whole(x[:80]), torch.arange(80))
    description = made.plain.encoder_of["x"].description
    assert isinstance(description, SeriesDescription)
    assert torch.equal(description.answers.thresholds, alone.answers.thresholds)
    assert alone.answers.thresholds.abs().max() > 0


@pytest.mark.parametrize("name", ["multiscale", "gru", "tcn", "patch", "cnn", "vit", "pointset"])
def test_rows_choose_whether_numbers_of_series_and_pictures_count_by_their_share_or_alike(name: str) -> None:
    cls = encoder(name)
    of_kind = {
        "series": spec(),
        "image": Spec(kind="image", n_channels=3, image_size=(16, 16)),
        "points": Spec(kind="points", n_channels=6, max_length=16),
    }[cls.kind]
    made = build_model(
        {"x": of_kind}, "binary", 2, ModelOptions(encoders={"x": name}), n_rows=80, seed=0
    ).plain.linear_paths
    ways = {way.as_given for way in made.path(made.names[0]).landmarks["x"].candidates}
    assert ways == ({False} if cls.kind == "points" else {False, True})
