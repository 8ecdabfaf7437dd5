"""Each modality alone, with default options, against tuned classical models on the hand-made features of the same rows.

    python benchmarks/quality/alone.py glyphs emoji mosi --rows 500 --seeds 2

A line for each modality: the score of the network and of the yardstick (`NAME classical` of a comparison), the
difference with its interval (paired rows and seeds), the log loss of both (classes) or their error (numbers), which
epochs were kept (0: the untrained model, which is the linear path alone) and the seconds of both. Test rows say how
they stand; nothing is chosen by this.

Data of your own: `MODULE:FUNCTION`, a function without arguments that returns a `Dataset`, or
`MODULE:FUNCTION:WORD`, one that takes a word: see `strangers.py`.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from profuse.classical import side_by_side
from profuse.comparison.statistics import Estimate, Sample, paired_difference
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.datasets import load
from profuse.metrics import measure, primary_metric, row_scores
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions, Task
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

__all__ = ["Alone", "alone", "few_rows"]

HEADS = ("data", "modality", "rows", "metric", "network", "classical", "difference", "loss", "epochs", "seconds")


@dataclass(frozen=True)
class Alone:
    """What was measured of one modality, each pair (network, classical) a mean over seeds.

    Attributes:
        modality: Its name.
        n_train: Training rows.
        metric: Primary metric of the task.
        scores: By that metric.
        difference: Network less classical: of rows' shares in the metric, so that above 0 is better.
        losses: Log loss; for numbers the root mean squared error.
        epochs: Which epoch each seed has kept, of how many.
        seconds: Of a fit.
    """

    modality: str
    n_train: int
    metric: str
    scores: tuple[float, float]
    difference: Estimate
    losses: tuple[float, float]
    epochs: tuple[str, ...]
    seconds: tuple[float, float]

    def cells(self, name: str) -> tuple[str, ...]:
        """Returns a line of the table, of data of that name."""
        d = self.difference
        return (
            name, self.modality, str(self.n_train), self.metric, *(f"{score:.3f}" for score in self.scores),
            f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})", " / ".join(f"{loss:.3f}" for loss in self.losses),
            " ".join(self.epochs), " / ".join(f"{s:.0f}" for s in self.seconds),
        )  # fmt: skip


def few_rows(dataset: Dataset, n_train: int | None, *, n_test: int = 2_000, seed: int = 0) -> Dataset:
    """Returns a data set with its split of that seed, in which at most so many rows are learned from, drawn at random.

    Validation rows are as many fewer; test rows at most `n_test`.
    """
    split, draw = make_split(dataset, SplitOptions(), seed=seed), np.random.default_rng(seed)
    share = 1.0 if n_train is None else min(1.0, n_train / len(split.train))
    kept, parts = [], []
    for part, most in (
        ("train", round(share * len(split.train))),
        ("valid", max(2, round(share * len(split.valid)))),
        ("test", n_test),
    ):
        rows = getattr(split, part)
        kept.append(np.sort(draw.permutation(rows)[:most]))
        parts += [part] * len(kept[-1])
    return replace(dataset.rows(np.concatenate(kept)), split=np.array(parts))


def alone(
    dataset: Dataset,
    *,
    seeds: Sequence[int],
    n_train: int | None = None,
    modalities: Sequence[str] = (),
    model: ModelOptions | None = None,
    train: TrainOptions | None = None,
) -> Iterator[Alone]:
    """Yields what was measured of each modality: of all, or of those named."""
    model, train = model or ModelOptions(), train or TrainOptions()
    found: dict[str, list[tuple[float, ...]]] = {}
    samples: dict[str, tuple[list[Sample], list[Sample]]] = {}
    epochs: dict[str, list[str]] = {}
    names = tuple(modalities) or tuple(sorted(dataset.modalities))
    metric = primary_metric(dataset.task)
    n_rows = 0
    for seed in seeds:
        few = few_rows(dataset, n_train, seed=seed)
        few = replace(few, modalities={name: few.modalities[name] for name in names})
        prepared = Prepared.make(few, make_split(few, SplitOptions(), seed=seed))
        test, n_rows = prepared.split.test, len(prepared.split.train)
        true, clusters = prepared.true(test), test if few.groups is None else few.groups[test]
        asked = train.model_copy(update={"seed": seed})
        for name in names:
            network = fit_model(prepared, model, asked, modalities=(name,))
            best = best_fit("yardstick", (name,), prepared, asked, trials=3, seed=seed)
            x = side_by_side([best.x[name][test]], len(test))
            said = network.predict_encoded(prepared.inputs, test), prepared.codec.in_units(best.fit.predict(x))
            values = [measure(few.task, true, prediction).values for prediction in said]
            history = network.history
            assert history is not None
            found.setdefault(name, []).append(
                (
                    *(v[metric.name] for v in values),
                    *(v[_loss(few.task)] for v in values),
                    history.fit_seconds,
                    best.seconds,
                )
            )
            epochs.setdefault(name, []).append(f"{history.best_epoch}/{history.epochs[-1].epoch}")
            for kept, prediction in zip(samples.setdefault(name, ([], [])), said, strict=True):
                kept.append(Sample(test, clusters, _shares(few.task, true, prediction)))
    for name in names:
        mean = [float(v) for v in np.mean(found[name], axis=0)]
        ours, theirs = samples[name]
        yield Alone(
            name, n_rows, metric.name, (mean[0], mean[1]), paired_difference(ours, theirs, n_train=n_rows),
            (mean[2], mean[3]), tuple(epochs[name]), (mean[4], mean[5]),
        )  # fmt: skip


def _loss(task: Task) -> str:
    return "rmse" if task == "regression" else "log_loss"


def _shares(task: Task, true: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Returns what rows contribute to the metric; of numbers minus squared errors by the variance of the target."""
    if task != "regression":
        return row_scores(task, true, prediction)
    error = np.square(true - prediction).reshape(len(true), -1)
    return cast("np.ndarray", -(error / np.var(true, axis=0).clip(1e-12)).mean(1))


def _read(name: str) -> Dataset:
    """Returns data by name, `NAME` or `NAME/VARIANT`, or what a function returns."""
    if ":" in name:
        module, function, *words = name.split(":")
        return cast("Dataset", getattr(importlib.import_module(module), function)(*words))
    name, _, variant = name.partition("/")
    return load(name, variant=variant or None)


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="names of data sets, or MODULE:FUNCTION[:WORD]")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--rows", type=int, help="training rows, at most; all unless given")
    parser.add_argument("--modalities", nargs="*", default=[], help="which; all unless given")
    asked = parser.parse_args()
    for cells in (HEADS, ["---"] * len(HEADS)):
        print("| " + " | ".join(cells) + " |")
    for name in asked.data:
        for row in alone(_read(name), seeds=range(asked.seeds), n_train=asked.rows, modalities=asked.modalities):
            print("| " + " | ".join(row.cells(name)) + " |", flush=True)


if __name__ == "__main__":
    main()
