"""Modules as people write them for missing modalities: a branch runs on the rows that have it, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MODULES", "Case", "ThreeLate", "given"]

N = 8


class ThreeLate(nn.Module):
    """Late fusion of words, a picture and a series; each branch runs on its present rows, and is skipped where none."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.text = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3))
        self.sound = nn.GRU(3, 6, batch_first=True)
        self.fusion, self.head = nn.Sequential(nn.Linear(18, 7), nn.Dropout(0.3)), nn.Linear(7, 2)

    def forward(self, words: Tensor, image: Tensor, sound: Tensor, there: Tensor) -> Tensor:
        parts = []
        for index, run in enumerate((self.read, self.look, self.hear)):
            present = there[:, index]
            part = image.new_zeros(len(image), 6)
            if present.any():
                part[present] = run((words, image, sound)[index][present])
            parts.append(part)
        outputs: Tensor = self.head(self.fusion(torch.cat(parts, 1)).tanh())
        return outputs

    def read(self, words: Tensor) -> Tensor:
        return self.text(self.words(words)).mean(1)  # type: ignore[no-any-return]

    def look(self, image: Tensor) -> Tensor:
        return self.image(image).mean((2, 3))  # type: ignore[no-any-return]

    def hear(self, sound: Tensor) -> Tensor:
        return self.sound(sound)[0][:, -1]  # type: ignore[no-any-return]


class Where(nn.Module):
    """Runs the branch on all rows and drops what absent ones give; skips it where none is present."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.instead = nn.Linear(3, 5), nn.Linear(4, 5), nn.Parameter(torch.randn(5))
        self.fusion, self.norm, self.head = nn.Linear(10, 7), nn.LayerNorm(7), nn.Linear(7, 2)

    def forward(self, a: Tensor, b: Tensor | None = None, there: Tensor | None = None) -> dict[str, Tensor]:
        z = self.instead.expand(len(a), -1)
        if b is not None and (there is None or there.any()):
            seen = torch.ones(len(a), dtype=torch.bool) if there is None else there
            z = torch.where(seen[:, None], self.b(b).tanh(), z)
        fused = self.norm(self.fusion(torch.cat([self.a(a), z], 1)))
        return {"logits": self.head(fused.tanh())}


class IndexCopy(nn.Module):
    """Boolean indexing in, `index_copy` out; what it fuses are tokens, and absent rows have NaN in them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.b = nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 5)
        self.a, self.fusion, self.head = nn.Linear(3, 5), nn.Linear(5, 7), nn.Linear(7, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        present = ~b.isnan().flatten(1).any(1)
        z = self.b(self.stem(b[present]))
        z = a.new_zeros(len(a), b.shape[1], 5).index_copy(0, present.nonzero()[:, 0], z)
        outputs: Tensor = self.head(self.fusion(torch.cat([self.a(a)[:, None], z], 1).sin()).tanh().mean(1))
        return outputs


class Frames(nn.Module):
    """The frames of the videos that are there, folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.frame = nn.Linear(3, 5), nn.Linear(4, 5)
        self.fusion, self.head = nn.Linear(10, 7), nn.Linear(7, 2)

    def forward(self, a: Tensor, video: Tensor, there: Tensor) -> Tensor:
        seen = video[there]
        z = self.frame(seen.flatten(0, 1)).unflatten(0, (len(seen), video.shape[1])).mean(1)
        z = a.new_zeros(len(a), 5).masked_scatter(there[:, None], z)
        outputs: Tensor = self.head(self.fusion(torch.cat([self.a(a), z], 1)).tanh())
        return outputs


class Packed(nn.Module):
    """A series of each present row, packed by its length; 0 is the length of one that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 5)
        self.series: nn.Module = nn.GRU(4, 5, batch_first=True)
        self.fusion, self.head = nn.Linear(10, 7), nn.Linear(7, 2)

    def forward(self, a: Tensor, x: Tensor, lengths: Tensor) -> Tensor:
        z = a.new_zeros(len(a), 5)
        there = lengths > 0
        if there.any():
            some = nn.utils.rnn.pack_padded_sequence(x[there], lengths[there], batch_first=True, enforce_sorted=False)
            z[there] = self.series(some)[1][-1]
        outputs: Tensor = self.head(self.fusion(torch.cat([self.a(a), z], 1)).tanh())
        return outputs


class Nested(Packed):
    """As a nested tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.series = nn.Linear(4, 5)

    def forward(self, a: Tensor, x: Tensor, lengths: Tensor) -> Tensor:
        z, there = a.new_zeros(len(a), 5), lengths.nonzero()[:, 0]
        if len(there):
            some = self.series(torch.nested.as_nested_tensor([x[row, : lengths[row]] for row in there]))
            z = z.index_copy(0, there, torch.stack([steps.mean(0) for steps in some.unbind()]))
        outputs: Tensor = self.head(self.fusion(torch.cat([self.a(a), z], 1)).tanh())
        return outputs


@dataclass(frozen=True)
class Case:
    """A module, the options of wrap, and what rows are: made of who has what, `there[row, branch]`."""

    module: type[nn.Module]
    options: dict[str, Any]
    branches: tuple[str, ...] = ("b",)


MODULES = {
    "three late": Case(
        ThreeLate,
        {
            "into": {"words": "words", "image": "image.2", "sound": "sound"},
            "at": {"words": "output"},
            "state": "fusion.0",
            "present": {
                "words": lambda words, image, sound, there: there[:, 0],
                "image": lambda words, image, sound, there: there[:, 1],
                "sound": lambda words, image, sound, there: there[:, 2],
            },
        },
        ("words", "image", "sound"),
    ),
    "where": Case(
        Where,
        {"into": {"a": "a", "b": "b"}, "state": "norm", "present": {"b": "there"}},
    ),
    "index copy": Case(
        IndexCopy,
        {
            "into": {"a": "a", "b": "b"},
            "state": "fusion",
            "present": {"b": lambda a, b: ~b.isnan().flatten(1).any(1)},
            "reuse": ["stem"],
        },
    ),
    "frames": Case(
        Frames,
        {"into": {"a": "a", "b": "frame"}, "state": "fusion", "present": {"b": "there"}, "folded": ["b"]},
    ),
    "packed": Case(
        Packed,
        {"into": {"a": "a", "b": "series"}, "state": "fusion", "present": {"b": "lengths"}},
    ),
    "nested": Case(
        Nested,
        {"into": {"a": "a", "b": "series"}, "state": "fusion", "present": {"b": "lengths"}},
    ),
}


def given(name: str, there: Tensor) -> tuple[Tensor, ...]:
    """Returns rows of which those of `there[row, branch]` have what the module `name` calls present."""
    n, has = len(there), there[:, 0]
    if name == "three late":
        return torch.randint(20, (n, 5)), torch.randn(n, 3, 7, 7), torch.randn(n, 4, 3), there
    a = torch.randn(n, 3)
    if name == "where":
        return a, torch.randn(n, 4), has
    if name == "index copy":
        return a, torch.randn(n, 3, 4).masked_fill(~has[:, None, None], torch.nan)
    if name == "frames":
        return a, torch.randn(n, 3, 4), has
    return a, torch.randn(n, 6, 4), torch.randint(1, 7, (n,)) * has
