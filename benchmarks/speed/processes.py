"""Seconds of a step of one network by one process and by several, and what sending its weights takes.

    python benchmarks/speed/processes.py --model models/minilm --batch 32
    python benchmarks/speed/processes.py --model models/minilm --batch 16
    torchrun --nproc-per-node 2 benchmarks/speed/processes.py --model models/minilm --batch 32
    torchrun --nproc-per-node 2 benchmarks/speed/processes.py --model models/minilm --batch 32 --strategy fsdp

A text model of a folder is tuned whole on texts of `--words` words. The time is that of the second epoch, validation of
a few rows included, by its steps; memory is what a process holds for itself (`RssAnon`), between epochs and at most.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from profuse import FusionClassifier
from profuse.training.callbacks import Callback
from profuse.training.history import Epoch
from profuse.training.options import ProcessOptions
from profuse.training.world import processes

N_STEPS = 8


class Watch(Callback):
    """The seconds of each epoch, and MiB after each and at most."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.held: list[float] = []
        self.peak = 0.0

    def on_epoch_end(self, epoch: Epoch) -> None:
        self.ends.append(time.perf_counter())
        self.held.append(held())


def held() -> float:
    """Returns the MiB that this process holds for itself."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon"))


def summing(n: int) -> float:
    """Returns the seconds in which all processes add up `n` numbers."""
    numbers = torch.zeros(n)
    distributed.all_reduce(numbers)
    start = time.perf_counter()
    for _ in range(5):
        distributed.all_reduce(numbers)
    return (time.perf_counter() - start) / 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a text model of transformers")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch, of all processes together")
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--strategy", choices=("ddp", "fsdp"), default="ddp")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    n = N_STEPS * asked.batch + 20
    texts = np.array([" ".join(rng.choice(["good", "bad", "fast", "slow", "late"], asked.words)) for _ in range(n)])
    ill = np.array([text.count("good") > asked.words / 5 for text in texts])
    seen, done = Watch(), threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            if seen.ends:
                seen.peak = max(seen.peak, held())

    threading.Thread(target=watch, daemon=True).start()
    with processes(ProcessOptions(strategy=asked.strategy), device="cpu") as these:
        model: Any = FusionClassifier(
            epochs=2, batch_size=asked.batch, device="cpu", refit=False, members=1, width=32,
            encoders={"note": f"hf-whole:{asked.model}"}, validation_fraction=20 / n,
        )  # fmt: skip
        model.fit({"note": texts}, ill, callbacks=[seen])
        done.set()
        n_numbers = model.predictor_.history.n_parameters
        sums = f"{summing(n_numbers):.2f}" if these.n_processes > 1 else "none"
    if these.first:
        step = (seen.ends[1] - seen.ends[0]) / N_STEPS
        print(
            f"processes={these.n_processes}  strategy={asked.strategy}  batch={asked.batch}  step_seconds={step:.2f}  "
            f"numbers={n_numbers}  summing_seconds={sums}  held_mib={seen.held[0]:.0f}  peak_mib={seen.peak:.0f}"
        )


if __name__ == "__main__":
    main()
