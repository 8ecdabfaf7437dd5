"""What the study compares: data sets, base models and twins, sizes, seeds, budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from models import Base, Size
from volatility import features, read_returns

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets import load
from profuse.datasets.stocks import SECTORS, WINDOW
from profuse.datasets.synthetic.pointer import Pointer
from profuse.training.options import TrainOptions

__all__ = ["SETTINGS", "Setting"]

N_SHARES = 3
PLAIN = ("wider", "deeper")
MAIN = ("plain", "2 rounds", "3 rounds", "4 rounds", *PLAIN)
FORMS = ("2 rounds, input", "2 rounds, add", "2 rounds, concat", "2 rounds, gate", "2 rounds, detached")


@dataclass(frozen=True)
class Setting:
    """A data set, and how everything on it is trained.

    Attributes:
        title: As tables say it.
        data: Makes the data set of a seed (the same for all seeds unless it is drawn).
        bases: Base models by name.
        size: Of every part, for a base model.
        train: Budget; the same for all.
        seeds: Fits of each model.
        twins: What stands beside the plain model.
        metric: "mse" or "accuracy".
        rates: Learning rates, of which validation rows choose (see `study`).
        dropout: Probability.
        sizes: Widths to go through instead of one size (pointer), by name.
    """

    title: str
    data: Callable[[int], Dataset]
    bases: Mapping[str, Base]
    size: Size
    train: TrainOptions
    seeds: int
    twins: tuple[str, ...] = MAIN
    metric: str = "accuracy"
    rates: tuple[float, ...] = (0.003,)
    dropout: float = 0.1
    sizes: Mapping[str, Size] = field(default_factory=dict)


def named(name: str) -> Callable[[int], Dataset]:
    """Returns what gives the named data set, the same for all seeds."""
    return lambda seed: load(name)


def pointer(seed: int) -> Dataset:
    """Returns 16 values in the order of their keys, and which of them counts: 4,000 rows to learn from."""
    drawn = Pointer(n_items=16, noise=0.1).sample(10_000, seed=seed)
    items = drawn.modalities["items"].values
    order = items[:, :, 1:].argmax(2).argsort(1)
    values = np.take_along_axis(items[:, :, 0], order, axis=1)
    split = np.repeat(["train", "valid", "test"], [4_000, 1_000, 5_000])
    modalities = {**drawn.modalities, "items": replace(drawn.modalities["items"], kind="vector", values=values)}
    return replace(drawn, modalities=modalities, split=split)


def stocks(variant: str) -> Callable[[int], Dataset]:
    """Returns three shares as series of return, absolute return, and mean squares at several scales.

    All models get the same inputs, so that none has to find by itself what EWMA and HAR are given.
    """

    def make(seed: int) -> Dataset:
        found = load("stocks", variant=variant)
        found = found.select(list(found.modalities)[:N_SHARES])
        returns = read_returns(variant.partition("-")[0], None)
        n_seen = WINDOW + int(np.count_nonzero(found.split == "train"))
        modalities = {}
        for i, (name, data) in enumerate(found.modalities.items()):
            known = features(returns[:, i], returns[:n_seen, i].std())
            windows = np.lib.stride_tricks.sliding_window_view(known, WINDOW, axis=0)[: len(found)].swapaxes(1, 2)
            modalities[name] = replace(data, values=windows.astype(np.float32))
        return replace(found, modalities=modalities)

    return make


def air(variant: str) -> Callable[[int], Dataset]:
    """Returns every eighth hour, the clock as numbers on circles."""

    def make(seed: int) -> Dataset:
        found = load("beijing-air", variant=variant)
        found = found.rows(np.arange(0, len(found), 8))
        clock = found.modalities["clock"].values
        turns = np.stack([clock["hour"] / 24, (clock["month"] - 1) / 12, clock["weekday"] / 7], axis=1)
        circles = np.concatenate([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)], axis=1).astype(np.float32)
        vector = ModalityData("vector", circles, np.ones(len(found), dtype=bool))
        return replace(found, modalities={**found.modalities, "clock": vector})

    return make


def mosi_in_context(seed: int) -> Dataset:
    """Returns each utterance with the seven before it in its video, as series that end with itself."""
    found = load("mosi")
    assert found.ids is not None
    assert found.groups is not None
    number = np.array([int(name.rpartition("_")[2]) for name in found.ids])
    place = {(video, n): row for row, (video, n) in enumerate(zip(found.groups, number, strict=True))}
    ordered: dict[str, list[int]] = {}
    for video, n in sorted(place):
        ordered.setdefault(video, []).append(place[video, n])
    before = {row: rows[max(0, i - 7) : i + 1] for rows in ordered.values() for i, row in enumerate(rows)}
    modalities = {}
    for name, data in found.modalities.items():
        series = np.empty(len(found), dtype=object)
        for row in range(len(found)):
            series[row] = data.values[before[row]]
        modalities[name] = ModalityData("series", series, data.present)
    return replace(found, modalities=modalities)


def colours(seed: int, *, told: bool = False) -> Dataset:
    """Returns pictures of three written digits, one in red, one in green, one in blue, and which colour is asked for.

    Pictures are those of `avmnist`: 6,000 threes drawn from the training ones, a fifth of them for validation, and
    2,000 from the test ones; no picture is on two sides. The target is the digit in the colour asked for, and scenes
    with the same picture in that colour are a group.

    Args:
        seed: Of the draw.
        told: Show only the digit that is asked for: what a model could at best make of the picture.
    """
    found = load("avmnist")
    pictures = np.stack(list(found.modalities["picture"].values)).reshape(len(found), 28, 28)
    draw = np.random.default_rng(seed)
    learned = draw.permutation(np.flatnonzero(found.split == "train"))
    cut = len(learned) // 5
    parts = {"train": learned[cut:], "valid": learned[:cut], "test": np.flatnonzero(found.split == "test")}
    sizes = {"train": 4_800, "valid": 1_200, "test": 2_000}
    threes = np.concatenate([draw.choice(parts[part], size=(n, 3)) for part, n in sizes.items()])
    asked = draw.integers(0, 3, len(threes))
    rows = np.arange(len(threes))
    scene = pictures[threes].transpose(0, 2, 3, 1)
    if told:
        scene = scene[rows, :, :, asked][..., None]
    there = np.ones(len(threes), dtype=bool)
    return Dataset(
        name="colours",
        modalities={
            "picture": ModalityData("image", scene, there),
            "query": ModalityData("vector", np.eye(3, dtype=np.float32)[asked], there),
        },
        target=np.asarray(found.target)[threes[rows, asked]],
        task="multiclass",
        groups=threes[rows, asked],
        split=np.repeat(list(sizes), list(sizes.values())),
    )


def joined(data: Dataset) -> Dataset:
    """Returns early fusion's data: all series side by side as channels of one, vectors repeated at every step."""
    length = next(len(m.values[0]) for m in data.modalities.values() if m.kind == "series")
    parts = [
        m.values if m.kind == "series" else np.repeat(m.values[:, None], length, axis=1)
        for _, m in sorted(data.modalities.items())
    ]
    present = np.ones(len(data), dtype=bool)
    if all(isinstance(p, np.ndarray) and p.ndim == 3 for p in parts):
        values: np.ndarray = np.concatenate(parts, axis=2)
    else:
        values = np.empty(len(data), dtype=object)
        values[:] = [np.concatenate(rows, axis=1) for rows in zip(*parts, strict=True)]
    return replace(data, modalities={"all": ModalityData("series", values, present)})


SERIES = {
    "late LSTM": Base("concat"),
    "late Transformer": Base("concat", series="transformer"),
    "early LSTM": Base("concat", early=True),
    "gradient blending": Base("concat", balance="gradient_blending"),
    "MulT": Base("mult", level="raw", options={"n_tokens": 8}),
}
SENTIMENT = {
    "late fusion": Base("concat"),
    "TFN": Base("tensor"),
    "LMF": Base("low_rank"),
    "MulT": Base("mult", level="raw", options={"n_tokens": 8}),
}
MEDIA = {"concatenation": Base("concat"), "LMF": Base("low_rank"), "hierarchical": Base("stagewise")}
POINTER = {"concatenation": Base("concat"), "LMF": Base("low_rank")}
CHOICES = TrainOptions(epochs=50, batch_size=256, refit=False, patience=15)
SHARES = TrainOptions(epochs=20, batch_size=128, refit=False)
CLIPS = TrainOptions(epochs=20, batch_size=64, refit=False, patience=6)

SETTINGS: dict[str, Setting] = {
    "pointer": Setting(
        title="pointer",
        data=pointer,
        bases=POINTER,
        size=Size(64, narrow={"items": 4}),
        train=CHOICES,
        seeds=5,
        twins=(*MAIN, "wider, no bottleneck", *FORMS, "3 rounds, all supervised"),
        metric="mse",
        rates=(0.003, 0.01),
        dropout=0.0,
    ),
    "pointer-width": Setting(
        title="pointer, by width",
        data=pointer,
        bases=POINTER,
        size=Size(64),
        sizes={f"{w}": Size(64, narrow={"items": w}) for w in (1, 2, 4, 8, 16, 32)},
        train=CHOICES.model_copy(update={"epochs": 30}),
        seeds=3,
        twins=("plain", "2 rounds", "2 rounds, input"),
        metric="mse",
        rates=(0.005,),
        dropout=0.0,
    ),
    **{
        f"stocks-{sector}": Setting(
            title=f"stocks, {sector}",
            data=stocks(sector),
            bases=SERIES,
            size=Size(16),
            train=SHARES,
            seeds=5,
            metric="mse",
        )
        for sector in SECTORS
    },
    **{
        f"stocks-{sector}-log": Setting(
            title=f"stocks, {sector}, log",
            data=stocks(f"{sector}-log"),
            bases={"late LSTM": SERIES["late LSTM"]},
            size=Size(16),
            train=SHARES,
            seeds=10,
            metric="mse",
        )
        for sector in SECTORS
    },
    **{
        f"air-{variant}": Setting(
            title=f"beijing-air, {variant}",
            data=air(variant),
            bases=SERIES,
            size=Size(32),
            train=TrainOptions(epochs=15, batch_size=256, refit=False),
            seeds=5,
            metric="mse",
        )
        for variant in ("forecast", "nowcast")
    },
    **{
        name: Setting(
            title=title,
            data=partial(colours, told=told),
            bases=POINTER if not told else {"concatenation": Base("concat")},
            size=Size(48),
            train=TrainOptions(epochs=30, batch_size=128, refit=False, patience=30),
            seeds=5,
            twins=twins,
            rates=(0.001,),
        )
        for name, title, told, twins in (
            ("colours", "digits in colours", False, ("plain", "2 rounds", "2 rounds, input", "wider")),
            ("colours-told", "digits in colours, told which", True, ("plain",)),
        )
    },
    "mosi": Setting(
        title="mosi, utterances",
        data=named("mosi"),
        bases=SENTIMENT,
        size=Size(64),
        train=CLIPS,
        seeds=10,
    ),
    "mosi-forms": Setting(
        title="mosi, utterances",
        data=named("mosi"),
        bases={"late fusion": SENTIMENT["late fusion"]},
        size=Size(64),
        train=CLIPS,
        seeds=10,
        twins=("plain", *FORMS, "3 rounds, all supervised", "equilibrium"),
    ),
    "mosi-dropout": Setting(
        title="mosi, trained with modality dropout .3",
        data=named("mosi"),
        bases={"late fusion": SENTIMENT["late fusion"]},
        size=Size(64),
        train=CLIPS.model_copy(update={"modality_dropout": 0.3}),
        seeds=10,
    ),
    "air-forms": Setting(
        title="beijing-air, nowcast",
        data=air("nowcast"),
        bases={"late LSTM": SERIES["late LSTM"]},
        size=Size(32),
        train=TrainOptions(epochs=15, batch_size=256, refit=False),
        seeds=5,
        twins=("plain", *FORMS, "3 rounds, all supervised"),
        metric="mse",
    ),
    "mosi-context": Setting(
        title="mosi, in their video",
        data=mosi_in_context,
        bases=SENTIMENT,
        size=Size(32),
        train=CLIPS,
        seeds=5,
    ),
    **{
        name: Setting(
            title=name,
            data=named(name),
            bases=MEDIA,
            size=Size(48),
            train=TrainOptions(epochs=epochs, batch_size=64, refit=False),
            seeds=5,
        )
        for name, epochs in (("emoji", 10), ("glyphs", 10), ("avmnist", 6))
    },
}
