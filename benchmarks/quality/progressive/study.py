"""Progressive Fusion's claims put to the test: fits every base model, its progressive twins and its plain twins.

    python benchmarks/quality/progressive/study.py --out results/progressive             # all: hours
    python benchmarks/quality/progressive/study.py pointer mosi --out results/progressive

Each fit leaves one file in `OUT/fits`, whole or not at all: an interrupted study goes on where it stopped. `page.py`
makes tables and pictures of them. What is the same for all twins of a base model: data, split, preprocessing, initial
weights (as far as sizes agree), epochs, batches, and the learning rate, or how it is chosen: of the setting's rates by
the mean validation error of seeds 0 and 1, once for all seeds. Test rows are scored only; no choice sees them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from fits import Fit, read, run
from joblib import Parallel, delayed
from rich.progress import Progress
from settings import SETTINGS

TUNING_SEEDS = (0, 1)


def models_of(data: str) -> list[tuple[str, str, str]]:
    """Returns base, twin and size of every model on a data set."""
    setting = SETTINGS[data]
    return [(b, t, s) for s in setting.sizes or [""] for b in setting.bases for t in setting.twins]


def chosen_rate(data: str, base: str, twin: str, size: str, out: Path) -> float:
    """Returns the learning rate with the least mean validation error of the tuning seeds."""
    if len(SETTINGS[data].rates) == 1:
        return SETTINGS[data].rates[0]

    def error(rate: float) -> float:
        fits = (Fit(data, base, twin, size, rate, seed) for seed in TUNING_SEEDS)
        return float(np.mean([read(fit.file(out))[0]["valid_error"] for fit in fits]))

    return min(SETTINGS[data].rates, key=error)


def tuning_fits(data: str) -> list[Fit]:
    """Returns the fits that choose learning rates; none where there is one rate for all."""
    rates = SETTINGS[data].rates
    if len(rates) == 1:
        return []
    return [Fit(data, *model, rate, seed) for seed in TUNING_SEEDS for model in models_of(data) for rate in rates]


def final_fits(data: str, out: Path, n_seeds: int) -> list[Fit]:
    """Returns the fits that tables are made of, seed by seed."""
    rates = {model: chosen_rate(data, *model, out) for model in models_of(data)}
    return [Fit(data, *model, rates[model], seed) for seed in range(n_seeds) for model in models_of(data)]


def main() -> None:
    """Runs what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help=f"which: {', '.join(SETTINGS)}; all if none is named")
    parser.add_argument("--out", type=Path, default=Path("profuse-out/progressive"), help="folder for the results")
    parser.add_argument("--seeds", type=int, help="fits of each model; as the settings say if not given")
    parser.add_argument("--jobs", type=int, default=2, help="fits side by side, one thread each")
    asked = parser.parse_args()
    unknown = set(asked.data) - set(SETTINGS)
    if unknown:
        parser.error(f"data must be among {', '.join(SETTINGS)}; got {', '.join(sorted(unknown))}")
    (asked.out / "fits").mkdir(parents=True, exist_ok=True)
    with Progress(disable=not sys.stderr.isatty()) as bar:
        for data in asked.data or SETTINGS:
            n_seeds = asked.seeds or SETTINGS[data].seeds
            for what, find in (
                ("learning rates", lambda data=data: tuning_fits(data)),
                ("fits", lambda data=data, n=n_seeds: final_fits(data, asked.out, n)),
            ):
                left = [fit for fit in find() if not fit.file(asked.out).is_file()]
                start, task = time.perf_counter(), bar.add_task(f"{data}: {what}", total=len(left))
                jobs = (delayed(run)(fit, asked.out) for fit in left)
                for _ in Parallel(asked.jobs, return_as="generator_unordered")(jobs):
                    bar.advance(task)
                took = time.perf_counter() - start
                print(f"{data}: {len(left)} {what} in {took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
