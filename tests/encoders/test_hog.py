"""What the linear path reads of pictures: the numbers that NumPy makes of the same pixels, in lasting shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from profuse.data.features._pictures import colour_histograms, gradient_histograms
from profuse.encoders import encoder
from profuse.encoders._description import UNIT
from profuse.encoders._hog import GradientHistograms, PictureDescription
from profuse.encoders._stem import Stem
from profuse.encoders.image import ConvEncoder
from profuse.encoders.vector import VectorEncoder
from profuse.heads import ClassHead
from profuse.models.linear_paths import LinearPaths
from profuse.schema import Spec
from profuse.tokens import Raw

SIZES = [(8, 8), (9, 17), (28, 28), (48, 33), (2, 5)]


def spec(n_channels: int = 3, size: tuple[int, int] = (20, 27)) -> Spec:
    return Spec(kind="image", n_channels=n_channels, image_size=size)


def draw(n_rows: int, n_channels: int, size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n_channels)
    return torch.rand(n_rows, n_channels, *size, generator=generator, dtype=torch.float64)


def whole(pictures: torch.Tensor) -> Raw:
    return Raw(pictures, torch.ones(len(pictures), dtype=torch.bool))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_gradient_histograms_equal_those_of_the_classical_features(n_channels: int, size: tuple[int, int]) -> None:
    pictures = draw(4, n_channels, size)
    pictures[0] = 0.5  # no gradient at all
    pictures[1] = torch.arange(size[1], dtype=torch.float64) / size[1]  # one direction
    made = GradientHistograms(n_channels, *size).double()(pictures)
    np.testing.assert_allclose(made.numpy(), gradient_histograms(pictures.numpy()), atol=1e-6)
    assert torch.equal(made[0], torch.zeros_like(made[0]))


@pytest.mark.parametrize("size", [(20, 27), (64, 50), (1, 9), (1, 1)])
def test_each_part_is_there_at_its_size(size: tuple[int, int]) -> None:
    made = PictureDescription(spec(3, size)).double()
    numbers = made(whole(draw(3, 3, size)))
    n_gradients = 36 * made.gradients.n_blocks
    assert numbers.shape == (3, made.out_width)
    assert made.out_width == n_gradients + 3 * min(16, round(size[0])) * min(16, size[1]) + 64
    assert numbers.isfinite().all()


def test_parts_are_the_resized_picture_and_its_colours() -> None:
    pictures = draw(3, 3, (64, 50)) * 4 - 2
    made = PictureDescription(spec(3, (64, 50))).double()
    numbers = made(whole(pictures)) / UNIT
    smaller = F.interpolate(pictures, size=(48, 38), mode="bilinear", antialias=True, align_corners=False)
    small = F.interpolate(smaller, size=(16, 16), mode="bilinear", antialias=True, align_corners=False)
    gradients, thumbnail, colours = numbers.split([36 * made.gradients.n_blocks, 3 * 16 * 16, 64], dim=1)
    torch.testing.assert_close(gradients, made.gradients(smaller) / made.gradients.n_blocks**0.5, atol=1e-6, rtol=0)
    torch.testing.assert_close(thumbnail, small.flatten(1) * (0.5 / 768) ** 0.5, atol=1e-6, rtol=0)
    quarter = (smaller[..., None] > torch.tensor([-0.67, 0.0, 0.67])).sum(-1)
    wanted = np.sqrt(colour_histograms((quarter.double() + 0.5).numpy() / 4) * 0.25)
    np.testing.assert_allclose(colours.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_the_parts_keep_their_shares_and_most_numbers_vary_by_more_than_noise(n_channels: int) -> None:
    made = PictureDescription(spec(n_channels, (32, 32)))
    pictures = F.avg_pool2d(torch.randn(200, n_channels, 37, 37, generator=torch.Generator().manual_seed(0)), 6, 1)
    numbers = made(whole((pictures - pictures.mean()) / pictures.std())) / UNIT
    sizes = [36 * made.gradients.n_blocks, made.n_pixels, len(made.codes)]
    gradients, thumbnail, colours = (part.square().sum(1).mean() for part in numbers.split(sizes, dim=1))
    assert 0.9 < gradients <= 1.0
    assert 0.2 < thumbnail < 0.6
    assert float(colours) == pytest.approx(0.25 if n_channels == 3 else 0.0, abs=1e-4)
    assert (UNIT * numbers.std(0) > 1).double().mean() > 0.95  # `Landmarks` takes a fifth for noise


def test_what_is_learned_by_is_the_picture_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stem, "_changed", lambda self, pictures: pictures.flip(3))
    made = encoder("cnn").make(spec(), 8, n_rows=100)
    raw = whole(draw(3, 3, (20, 27)).float())
    assert torch.equal(made.train().linear(raw), made.eval().linear(raw))


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_the_path_can_be_left_out_and_is_not_saved(name: str) -> None:
    cls = encoder(name)
    made = cls.make(spec(), 8, n_rows=100)
    assert made.n_linear == PictureDescription(spec()).out_width
    without = made.with_options({"linear_path": False})
    assert without.n_linear == 0
    assert without.linear(whole(draw(2, 3, (20, 27)))).shape == (2, 0)
    assert set(made.state_dict()) == set(without.state_dict())


def test_pictures_of_one_colour_have_a_gradient() -> None:
    made = PictureDescription(spec(3, (16, 16)))
    pictures = torch.full((2, 3, 16, 16), 0.3, requires_grad=True)
    made(whole(pictures)).square().sum().backward()
    assert pictures.grad is not None
    assert pictures.grad.isfinite().all()


def test_rows_choose_among_narrower_kernels_of_pictures_than_of_other_kinds() -> None:
    picture_spec, vector_spec = Spec(kind="image", n_channels=1, image_size=(8, 8)), Spec(kind="vector", n_channels=3)
    both = {
        "p": ConvEncoder.make(picture_spec, 8, n_rows=20),
        "v": VectorEncoder.make(vector_spec, 8, n_rows=20),
    }
    paths = LinearPaths(both, ClassHead(8, 2), joint=True, own=True, n_landmarks=4)
    for name in ("(joint)", "p"):
        picture = paths.path(name).landmarks["p"]
        assert max(picture.candidates).frequency == max(ConvEncoder.linear_frequencies)
    assert max(picture.candidates) > max(paths.path("v").landmarks["v"].candidates)
