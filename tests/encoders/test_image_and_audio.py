"""What the encoders of pictures and of sound promise: any size, rows alone, padding and absence without effect."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from profuse.encoders import Encoder, encoder
from profuse.encoders._augment import affine, recolour
from profuse.encoders._stem import patch_side
from profuse.encoders.audio import AudioEncoder
from profuse.encoders.image import ConvEncoder
from profuse.encoders.vit import PatchEncoder
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

SIZES = [(8, 8), (9, 17), (13, 8), (28, 28), (32, 32), (45, 64), (72, 72), (96, 33), (96, 96)]


def picture_spec(n_channels: int = 3, size: tuple[int, int] = (20, 27)) -> Spec:
    return Spec(kind="image", n_channels=n_channels, image_size=size)


def make(name: str, *, train: bool = False) -> Encoder:
    torch.manual_seed(3)
    spec = Spec(kind="audio", n_channels=40, max_length=61) if name == "audio_cnn" else picture_spec()
    made = encoder(name).make(spec, 24, n_rows=500)
    return made.train(train)


def draw(name: str, n_rows: int = 5, seed: int = 0) -> Raw:
    """Random input; row 1 is absent, and recordings differ in length."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.ones(n_rows, dtype=torch.bool)
    present[1] = False
    if name != "audio_cnn":
        return Raw(torch.randn(n_rows, 3, 20, 27, generator=generator), present)
    length = torch.tensor([61, 0, 17, 1, 40])[:n_rows]
    mask = torch.arange(61) < length[:, None]
    return Raw(torch.randn(n_rows, 61, 40, generator=generator).masked_fill(~mask[..., None], 0.0), mask)


NAMES = ["cnn", "vit", "audio_cnn"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_a_picture_of_any_size_becomes_a_few_tokens(name: str, n_channels: int, size: tuple[int, int]) -> None:
    made = encoder(name).make(picture_spec(n_channels, size), 32, n_rows=100)
    for training in (True, False):
        tokens = made.train(training)(Raw(torch.randn(2, n_channels, *size), torch.ones(2, dtype=torch.bool)))
        assert tokens.values.shape[0::2] == (2, 32)
        assert 4 <= tokens.values.shape[1] <= 25
        assert tokens.mask.all()
        assert tokens.values.isfinite().all()


@pytest.mark.parametrize("n_frames", [1, 2, 3, 7, 33, 100, 999])
def test_a_recording_of_any_length_becomes_at_most_the_wanted_tokens(n_frames: int) -> None:
    made = AudioEncoder(Spec(kind="audio", n_channels=40, max_length=n_frames), 32, n_tokens=16).eval()
    tokens = made(Raw(torch.randn(2, n_frames, 40), torch.ones(2, n_frames, dtype=torch.bool)))
    assert 2 <= tokens.values.shape[1] <= 17
    assert tokens.mask.all()
    assert made.embed(Raw(torch.randn(2, 1, 40), torch.ones(2, 1, dtype=torch.bool))).n_channels == made.embed_width


@pytest.mark.parametrize("n_mels", [2, 13, 40, 64, 81])
def test_any_number_of_mel_bands_is_taken(n_mels: int) -> None:
    made = AudioEncoder(Spec(kind="audio", n_channels=n_mels, max_length=30), 8)
    assert made(Raw(torch.randn(2, 30, n_mels), torch.ones(2, 30, dtype=torch.bool))).n_channels == 8


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_see_the_others(name: str) -> None:
    made, raw = make(name), draw(name)
    together = made(raw)
    for i in range(len(raw)):
        alone = made(raw.rows(torch.tensor([i])))
        torch.testing.assert_close(alone.values[0], together.values[i], atol=2e-5, rtol=1e-4)
        assert torch.equal(alone.mask[0], together.mask[i])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_what_stands_in_an_absent_row_has_no_effect_not_even_nan(name: str, training: bool) -> None:
    made, raw = make(name, train=training), draw(name)
    dirty = Raw(raw.values.clone(), raw.mask)
    dirty.values[~raw.mask] = float("nan")
    results = []
    for one in (raw, dirty):
        made.zero_grad()
        torch.manual_seed(0)
        tokens = made(one)
        tokens.values.square().sum().backward()
        results.append((tokens, [p.grad.clone() for p in made.parameters() if p.grad is not None]))
    (clean, clean_grads), (tokens, grads) = results
    assert torch.equal(tokens.values, clean.values)
    assert all(torch.equal(a, b) for a, b in zip(grads, clean_grads, strict=True))
    assert all(g.isfinite().all() for g in grads)
    assert not tokens.mask[1].any()
    assert not tokens.values[1].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_any_real_row_is_finite_and_masked(name: str) -> None:
    raw = draw(name)
    tokens = make(name)(Raw(raw.values, torch.zeros_like(raw.mask)))
    assert not tokens.mask.any()
    assert not tokens.values.any()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_extra", [1, 2, 5, 21])
def test_padding_frames_are_invisible(n_extra: int, training: bool) -> None:
    torch.manual_seed(1)
    made = AudioEncoder(
        Spec(kind="audio", n_channels=40, max_length=61),
        24,
        augment=False,
        drop_prob=0.0,
        dropout=0.0,
        mean_drop_prob=0.0,
    )
    made.train(training)
    values = torch.randn(3, 40, 40)
    mask = torch.arange(40) < torch.tensor([40, 23, 8])[:, None]
    short = made(Raw(values, mask))
    noise = torch.randn(3, n_extra, 40) * 50
    long = made(Raw(torch.cat([values, noise], 1), torch.cat([mask, torch.zeros(3, n_extra, dtype=torch.bool)], 1)))
    n = short.values.shape[1]
    torch.testing.assert_close(long.values[:, :n], short.values, atol=2e-5, rtol=1e-4)
    assert torch.equal(long.mask[:, :n], short.mask)
    assert not long.mask[:, n:].any()


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    made = make(name)
    weight = torch.randn(24, generator=torch.Generator().manual_seed(0))
    (made(draw(name)).values.tanh() * weight).sum().backward()
    without = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_eval_repeats_itself_and_training_obeys_the_seed(name: str) -> None:
    torch.manual_seed(3)
    raw, spec = draw(name), make(name).spec
    kinds = {"cnn": ConvEncoder, "vit": PatchEncoder, "audio_cnn": AudioEncoder}
    made = kinds[name](spec, 24, **({"augment": True} if name == "audio_cnn" else {"augment": 1.0})).eval()
    assert torch.equal(made(raw).values, made(raw).values)
    made.train()

    def seeded(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        embedded: Tensor = made.embed(raw).values
        return embedded

    assert torch.equal(seeded(5), seeded(5))
    assert not torch.equal(seeded(5), seeded(6))


@pytest.mark.parametrize("name", NAMES)
def test_embed_is_local(name: str) -> None:
    made, raw = make(name), draw(name)
    before = made.embed(raw).zeroed().values
    if name == "audio_cnn":  # but for the mean spectrum, which stands in the first token, and the deviation
        changed = raw.values.clone()
        changed[0, [30, 31]] = changed[0, [31, 30]]
        after = made.embed(Raw(changed, raw.mask)).zeroed().values
        moved = ((before - after).abs() > 1e-4).any(2)
        assert moved.nonzero().tolist() == [[0, 31], [0, 32]]
        return
    changed = raw.values.clone()
    changed[0, :, 10, 10] += torch.randn(3)
    after = made.embed(Raw(changed, raw.mask)).zeroed().values
    grid = {"cnn": (10, 14), "vit": (5, 7)}[name]
    moved = (before - after).abs().amax((0, 2)).unflatten(0, grid)
    # the norm of a row carries a little everywhere; what counts are the places around the pixel, more than one
    near = moved[3:8, 3:8] if name == "cnn" else moved[1:5, 1:5]
    assert near.max() == moved.max()
    assert (moved > 0.2 * moved.max()).sum() > 1
    assert (moved > 0.2 * moved.max()).sum() == (near > 0.2 * moved.max()).sum()


@pytest.mark.parametrize("name", NAMES)
def test_feedback_enters_between_embed_and_mix_and_zero_feedback_changes_nothing(name: str) -> None:
    made, raw = make(name), draw(name)
    plain, tokens = made(raw).values, made.embed(raw).zeroed()
    other = made.mix(Tokens(tokens.values + torch.randn(made.embed_width), tokens.mask).zeroed()).values
    assert torch.equal(plain, made.mix(tokens).zeroed().values)
    assert not torch.allclose(plain[0], other[0])


@pytest.mark.parametrize("name", NAMES)
def test_weights_survive_saving_and_copying(name: str) -> None:
    made, raw = make(name), draw(name)
    torch.manual_seed(99)
    other = encoder(name).make(made.spec, 24, n_rows=500).eval()
    assert not torch.equal(other(raw).values, made(raw).values)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(raw).values, made(raw).values)
    assert torch.equal(copy.deepcopy(made)(raw).values, made(raw).values)


@pytest.mark.parametrize("name", NAMES)
def test_float64_agrees_with_float32(name: str) -> None:
    made, raw = make(name), draw(name)
    single = made(raw).values
    double = made.double()(Raw(raw.values.double(), raw.mask)).values
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("size", "n_patches", "side"), [(8, 16, 1), (28, 16, 2), (32, 16, 2), (64, 16, 4), (32, 8, 4)])
def test_the_patch_side_keeps_the_number_of_patches_about_constant(size: int, n_patches: int, side: int) -> None:
    assert patch_side((size, size // 2), n_patches) == side


def test_a_louder_or_duller_recording_changes_only_the_first_token() -> None:
    made, raw = make("audio_cnn"), draw("audio_cnn")
    other = Raw((raw.values + torch.randn(5, 1, 40)).masked_fill(~raw.mask[..., None], 0.0), raw.mask)
    one, two = made(raw).values, made(other).values
    torch.testing.assert_close(one[:, 1:], two[:, 1:], atol=1e-4, rtol=1e-3)
    assert (one[0, 0] - two[0, 0]).abs().max() > 0.01


def test_no_strength_gives_the_same_pictures() -> None:
    pictures = torch.rand(4, 3, 11, 17)
    torch.testing.assert_close(affine(pictures, 0.0), pictures, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(recolour(pictures, 0.0), pictures)


def landmarks(n_rows: int, places: list[tuple[float, float]], *, height: int = 80, width: int = 60) -> Tensor:
    """Pictures with a soft spot in each channel: at `(across, down)` from the middle, in pixels."""
    down, across = torch.meshgrid(
        torch.arange(height) - height / 2 + 0.5, torch.arange(width) - width / 2 + 0.5, indexing="ij"
    )
    spots = [(-((across - x) ** 2 + (down - y) ** 2) / 8).exp() for x, y in places]
    return torch.stack(spots).expand(n_rows, -1, -1, -1)


def centres(pictures: Tensor) -> Tensor:
    """`[row, channel, (across, down)]`: where the spots are, from the middle."""
    height, width = pictures.shape[2:]
    mass = pictures.sum((2, 3))
    across = (pictures.sum(2) * (torch.arange(width) - width / 2 + 0.5)).sum(2) / mass
    down = (pictures.sum(3) * (torch.arange(height) - height / 2 + 0.5)).sum(2) / mass
    return torch.stack([across, down], 2)


def test_a_picture_is_moved_as_a_whole_as_far_as_is_said() -> None:
    torch.manual_seed(0)
    places = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    moved = centres(affine(landmarks(2000, places.tolist()), 1.0, kept=0.0))
    origin = moved[:, 0]
    assert origin[:, 0].abs().max() < 60 * 0.08 * 1.7
    assert origin[:, 1].abs().max() < 80 * 0.08 * 1.7
    assert (origin.abs().amax(0) > torch.tensor([60 * 0.06, 80 * 0.06])).all()
    # one linear map of a plane in pixels, though the picture is not square
    right, below = moved[:, 1] - origin, moved[:, 2] - origin
    torch.testing.assert_close(moved[:, 3] - origin, right + below, atol=0.15, rtol=0)
    turn = torch.rad2deg(torch.atan2(right[:, 1], right[:, 0]))
    assert 12 < turn.abs().max() < 19
    assert abs(float(turn.mean())) < 1
    length = right.norm(dim=1) / 10
    assert 0.68 < length.min() < 0.85
    assert 1.2 < length.max() < 1.5
    area = (right[:, 0] * below[:, 1] - right[:, 1] * below[:, 0]) / 100
    assert area.min() > 0.5  # none is mirrored
    lean = (right * below).sum(1) / right.norm(dim=1) / below.norm(dim=1)
    assert 0.25 < lean.abs().max() < 0.4


def test_some_pictures_stay_as_they_are() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(500, 1, 12, 12)
    same = ((affine(pictures, 1.0, kept=0.25) - pictures).abs().amax((1, 2, 3)) < 1e-5).float().mean()
    assert 0.18 < same < 0.32


def test_recolouring_is_one_line_for_a_channel_of_a_row() -> None:
    torch.manual_seed(0)
    pictures = torch.randn(400, 3, 5, 6)
    x, y = pictures.flatten(2), recolour(pictures).flatten(2)
    slope = ((x - x.mean(2, keepdim=True)) * y).sum(2) / ((x - x.mean(2, keepdim=True)) ** 2).sum(2)
    offset = y.mean(2) - slope * x.mean(2)
    torch.testing.assert_close(slope[..., None] * x + offset[..., None], y, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(slope[:, 0], slope[:, 2], atol=1e-4, rtol=1e-4)
    assert 0.7 < slope.min() < 0.8
    assert 1.25 < slope.max() < 1.36
    assert 0.3 < offset.abs().max() < 0.41


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvEncoder(picture_spec(), 8, dims=(16,), depths=(1, 1)), "ConvEncoder: dims and depths must have"),
        (lambda: ConvEncoder(picture_spec(), 8, dropout=1.0), "ConvEncoder: 0 <= dropout"),
        (lambda: PatchEncoder(picture_spec(), 8, dim=10, n_heads=4), "PatchEncoder: n_heads and n_blocks must"),
        (lambda: PatchEncoder(picture_spec(), 8, drop_prob=-0.1), "PatchEncoder: 0 <= dropout"),
        (lambda: ConvEncoder(picture_spec(), 8, augment=-1), "got dropout=0.1, drop_prob=0.1, augment=-1"),
        (
            lambda: AudioEncoder(Spec(kind="audio", n_channels=40, max_length=9), 8, n_tokens=0),
            "AudioEncoder: dims and",
        ),
        (
            lambda: AudioEncoder(Spec(kind="audio", n_channels=40, max_length=9), 8, dropout=2),
            "AudioEncoder: 0 <= drop",
        ),
    ],
)
def test_arguments_out_of_range_are_told(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize("name", NAMES)
def test_input_of_another_shape_than_the_spec_is_told(name: str) -> None:
    wrong = torch.zeros(2, 62, 40) if name == "audio_cnn" else torch.zeros(2, 3, 20, 28)
    with pytest.raises(ShapeError, match=r"got \(2, .*preprocessor that gave the spec"):
        make(name)(Raw(wrong, torch.ones(2, 62, dtype=torch.bool) if name == "audio_cnn" else torch.ones(2).bool()))


@pytest.mark.parametrize("name", NAMES)
def test_another_kind_is_refused(name: str) -> None:
    with pytest.raises(ShapeError, match="kind must be"):
        encoder(name).make(Spec(kind="vector", n_channels=3), 8, n_rows=10)


def test_a_recording_with_less_contrast_changes_only_the_first_token() -> None:
    """As a noisy room makes it: the frames' distances from their mean are smaller by one number."""
    made, raw = make("audio_cnn"), draw("audio_cnn")
    mean = raw.values.sum(1, keepdim=True) / raw.mask.sum(1).clamp(min=1)[:, None, None]
    loud, flat = (
        Raw((mean + s * (raw.values - mean)).masked_fill(~raw.mask[..., None], 0.0), raw.mask) for s in (20, 10)
    )
    torch.testing.assert_close(made(loud).values, made(flat).values, atol=5e-3, rtol=5e-3)


def test_training_hides_the_mean_spectrum_of_as_many_rows_as_it_says_and_evaluation_of_none() -> None:
    torch.manual_seed(0)
    spec, raw = Spec(kind="audio", n_channels=40, max_length=9), Raw(torch.randn(400, 9, 40), torch.ones(400, 9).bool())
    for hidden in (0.0, 0.5):
        made = AudioEncoder(spec, 8, mean_drop_prob=hidden)
        assert made.train().embed(raw).mask[:, 0].float().mean() == pytest.approx(1 - hidden, abs=0.1)
        assert made.eval().embed(raw).mask.all()
