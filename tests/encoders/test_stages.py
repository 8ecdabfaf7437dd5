"""How `mix` is cut: in stages by the encoder, in segments by who steps in between."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from profuse.encoders import Encoder, encoder, segment_widths, segments
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens


class Counts(Encoder):
    """Each stage adds a power of ten, so that the sum tells which stages ran; stage i returns i + 2 channels."""

    kind = "vector"

    def __init__(self, spec: Spec, width: int, n: int) -> None:
        super().__init__(spec, width)
        self.embed_width = 1
        self.stage_widths = tuple(range(2, n + 2))
        self.n = n

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Encoder:
        return cls(spec, width, 1)

    def embed(self, raw: Raw) -> Tokens:
        return Tokens.vector(raw.values[:, :1], raw.mask)

    def mix_stages(self) -> tuple[Callable[[Tokens], Tokens], ...]:
        def stage(i: int) -> Callable[[Tokens], Tokens]:
            return lambda t: Tokens(nn.functional.pad(t.values + 10**i, (0, 1)), t.mask)

        return tuple(stage(i) for i in range(self.n))

    def mix(self, tokens: Tokens) -> Tokens:
        (whole,) = segments(self, 1)
        return whole(tokens)


@pytest.mark.parametrize(
    ("n_stages", "n_segments", "wanted"),
    [
        (1, 1, [1]),
        (1, 2, [0, 1]),
        (1, 3, [0, 0, 1]),
        (2, 2, [1, 11]),
        (3, 2, [1, 111]),
        (2, 3, [0, 1, 11]),
        (4, 2, [11, 1111]),
        (5, 3, [1, 111, 11111]),
    ],
)
def test_a_segment_ends_in_proportion_rounded_down_and_the_last_at_the_end(
    n_stages: int, n_segments: int, wanted: list[int]
) -> None:
    encoder = Counts(Spec(kind="vector", n_channels=4), n_stages + 1, n_stages)
    tokens = Tokens.vector(torch.zeros(1, 1))
    found, widths = [], []
    for segment in segments(encoder, n_segments):
        tokens = segment(tokens)
        found.append(int(tokens.values[0, 0, 0]))
        widths.append(tokens.n_channels)
    assert found == wanted
    assert tuple(widths) == segment_widths(encoder, n_segments)


@pytest.mark.parametrize(
    ("name", "kind", "stages"),
    [
        ("cnn", "image", (32, 16)),
        ("vit", "image", (64, 64, 16)),
        ("audio_cnn", "audio", (48, 16)),  # 16 channels of 3 bands; the spectrum has 40
        ("mlp", "vector", (128, 16)),
    ],
)
def test_encoders_of_blocks_have_several_stages(name: str, kind: str, stages: tuple[int, ...]) -> None:
    spec = Spec(kind=kind, n_channels=9, image_size=(32, 32), max_length=24)
    made = encoder(name).make(spec, 16, n_rows=1000)
    assert made.stage_widths == stages
    assert len(made.mix_stages()) == len(stages)
