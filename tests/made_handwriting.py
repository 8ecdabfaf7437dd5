"""Made handwriting: characters of several alphabets by several writers, as pictures and as pen strokes.

A character is a few strokes, each a Bezier curve. An alphabet has strokes of its own, from which its characters are put
together, so that what tells the alphabet is local and what tells the character is how its strokes stand. A writer has a
slant, a size, an aspect, a rotation, a tremor, a pen and a speed; no two drawings of one writer are equal either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from profuse.data.dataset import Dataset, ModalityData

__all__ = ["Drawing", "handwriting"]

_N_POINTS = 24  # of a stroke of length 1
Strokes = list[NDArray[np.float64]]


@dataclass(frozen=True)
class _Writer:
    slant: float
    size: float
    aspect: float
    turn: float
    tremor: float
    pen: float
    speed: float
    shift: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, spread: float) -> _Writer:
        def normal(deviation: float) -> float:
            return float(rng.normal(0, spread * deviation))

        return cls(
            slant=normal(0.25), size=float(np.exp(normal(0.18))), aspect=float(np.exp(normal(0.15))), turn=normal(0.12),
            tremor=abs(normal(0.012)), pen=float(np.exp(normal(0.3))), speed=float(np.exp(normal(0.4))),
            shift=rng.normal(0, spread * 0.06, 2),
        )  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """One character by one writer: strokes of points `[point, (x, y)]`, the unit square being the canvas."""

    strokes: Strokes
    times: Strokes
    pen: float

    def picture(self, side: int) -> NDArray[np.uint8]:
        """Returns `[side, side]`, black on white."""
        fine = 4
        canvas = Image.new("L", (side * fine, side * fine), 255)
        pen, width = ImageDraw.Draw(canvas), max(1, round(0.025 * self.pen * side * fine))
        for stroke in self.strokes:
            pen.line([(float(x), float(y)) for x, y in stroke * side * fine], fill=0, width=width, joint="curve")
        return np.asarray(canvas.resize((side, side), Image.Resampling.BOX))

    def path(self) -> NDArray[np.float32]:
        """Returns `[point, (x, y, seconds, pen is down)]`; the last point of a stroke has the pen lifted."""
        parts = []
        for stroke, times in zip(self.strokes, self.times, strict=True):
            down = np.ones(len(stroke))
            down[-1] = 0
            parts.append(np.column_stack([stroke, times, down]))
        return np.concatenate(parts).astype(np.float32)


def _bezier(control: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.linspace(0, 1, _N_POINTS)[:, None]
    p, q, r, s = control
    curve: NDArray[np.float64] = (1 - t) ** 3 * p + 3 * (1 - t) ** 2 * t * q + 3 * (1 - t) * t**2 * r + t**3 * s
    return curve


def _alphabet(rng: np.random.Generator, n_characters: int) -> list[NDArray[np.float64]]:
    """Returns the characters `[stroke, 4, 2]` of an alphabet with strokes of its own."""
    own = rng.normal(0, 0.35, (5, 4, 2))
    own -= own.mean(1, keepdims=True)
    characters = []
    for _ in range(n_characters):
        n = int(rng.integers(2, 5))
        places = rng.uniform(0.25, 0.75, (n, 1, 2))
        characters.append(own[rng.integers(0, len(own), n)] * rng.uniform(0.7, 1.3, (n, 1, 1)) + places)
    return characters


def _write(character: NDArray[np.float64], writer: _Writer, rng: np.random.Generator, spread: float) -> Drawing:
    cos, sin = np.cos(writer.turn), np.sin(writer.turn)
    shape = np.array([[1, writer.slant], [0, 1]]) @ np.diag([writer.aspect**0.5, writer.aspect**-0.5])
    transform = 0.62 * writer.size * np.array([[cos, -sin], [sin, cos]]) @ shape
    transform = transform + rng.normal(0, spread * 0.04, (2, 2))
    shift = writer.shift + rng.normal(0, spread * 0.03, 2)
    strokes, times, clock = [], [], 0.0
    for control in character:
        moved = control + rng.normal(0, spread * 0.05, control.shape[1:]) + rng.normal(0, spread * 0.04, (1, 2))
        curve = _bezier(moved)
        wave = np.cumsum(rng.normal(0, writer.tremor, curve.shape), axis=0) * 0.3
        curve = (curve + wave - wave.mean(0) - 0.5) @ transform.T + 0.5 + shift
        steps = np.r_[0, np.hypot(*np.diff(curve, axis=0).T)] / writer.speed * np.exp(rng.normal(0, 0.2, len(curve)))
        strokes.append(np.clip(curve, 0.02, 0.98))
        times.append(clock + np.cumsum(steps))
        clock = times[-1][-1] + 0.2 / writer.speed
    return Drawing(strokes, times, writer.pen)


def handwriting(
    *,
    target: Literal["character", "alphabet"] = "alphabet",
    n_alphabets: int = 5,
    n_characters: int = 20,
    n_writers: int = 20,
    side: int = 64,
    spread: float = 1.0,
    seed: int = 0,
) -> Dataset:
    """Returns pictures and pen strokes: each writer writes each character once; the writer is the group.

    Writers are held back: a fifth, at least one, for validation and as many for the test.

    Args:
        target: What is predicted.
        n_alphabets: Alphabets.
        n_characters: Characters of each alphabet.
        n_writers: Writers, at least three.
        side: Height and width of a picture, pixels.
        spread: How much writers and drawings differ; 0 for not at all.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    alphabets = [_alphabet(rng, n_characters) for _ in range(n_alphabets)]
    writers = [_Writer.draw(rng, spread) for _ in range(n_writers)]
    drawings, labels, groups = [], [], []
    for w, writer in enumerate(writers):
        for a, characters in enumerate(alphabets):
            for c, character in enumerate(characters):
                drawings.append(_write(character, writer, rng, spread))
                labels.append(a if target == "alphabet" else a * n_characters + c)
                groups.append(w)
    held = max(1, n_writers // 5)
    part = np.array(["test"] * held + ["valid"] * held + ["train"] * (n_writers - 2 * held))
    paths = np.empty(len(drawings), dtype=object)
    paths[:] = [d.path() for d in drawings]
    there = np.ones(len(drawings), dtype=bool)
    pictures = np.stack([d.picture(side) for d in drawings])[..., None]
    return Dataset(
        name="handwriting",
        modalities={
            "picture": ModalityData("image", pictures, there),
            "strokes": ModalityData("series", paths, there),
        },
        target=np.array(labels),
        task="multiclass",
        groups=np.array(groups),
        split=part[np.array(groups)],
    )
