"""Peak memory and rows per second of `profuse predict` against the number of rows.

    python benchmarks/speed/predicting.py --out results/speed

A table of twelve numbers, three categories and a short text is made, a model is fitted to 2,000 rows of it, and
`profuse predict` is run in a process of its own for each number of rows and each format. The peak is the largest
resident set that the system counts for that process, with everything it has loaded. `--whole` predicts in one piece,
through Python, as a comparison.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = (10_000, 100_000, 1_000_000)
_WHOLE = (
    "import sys, profuse; model, rows, out = sys.argv[1:]; "
    "profuse.load_model(model).predict_frame(rows).to_csv(out, index=False)"
)


def made(n: int, seed: int) -> pd.DataFrame:
    """Returns `n` rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 12)).round(6)
    words = np.array(["late", "broken", "kind", "quick", "wrong", "small"])
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(12)])
    frame.insert(0, "id", [f"r{i}" for i in range(n)])
    for i in range(3):
        frame[f"kind {i}"] = rng.choice([f"k{j}" for j in range(8)], n)
    picked = rng.integers(0, 6, (n, 4))
    frame["note"] = [" ".join(w) for w in words[picked]]
    frame.loc[rng.random(n) < 0.2, "note"] = None
    frame["ill"] = np.where(x[:, 0] + (picked[:, 0] == 1) + rng.normal(size=n) > 0, "yes", "no")
    return frame


def write(path: Path, n: int) -> None:
    """Writes `n` rows to `path`, a piece at a time, so that this process stays small."""
    if path.suffix == ".csv":
        for i, start in enumerate(range(0, n, 50_000)):
            frame = made(min(50_000, n - start), 1000 + i)
            frame["id"] = [f"r{start + j}" for j in range(len(frame))]
            frame.to_csv(path, index=False, mode="a" if i else "w", header=not i)
        return
    pieces = pd.read_csv(path.with_suffix(".csv"))
    pieces.to_parquet(path, index=False, row_group_size=100_000)


def measured(command: list[str]) -> tuple[float, float]:
    """Runs a command and returns its seconds and the peak of its resident set in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} ended with status {status}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Measures, and writes `predicting.csv` and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for data, the model and results")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--formats", nargs="+", default=["csv", "parquet"])
    parser.add_argument("--chunk-rows", type=int, nargs="+", default=[10_000])
    parser.add_argument("--fit", nargs="+", default=["--network", "--epochs", "3"], help="options of profuse fit")
    parser.add_argument("--whole", type=int, nargs="*", default=[], help="numbers of rows predicted in one piece too")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    model, profuse = asked.out / "model", [sys.executable, "-m", "profuse"]
    made(2000, 0).to_csv(asked.out / "train.csv", index=False)
    if not model.exists():
        fit = [*profuse, "fit", str(asked.out / "train.csv"), "--target", "ill", "--out", str(model), *asked.fit]
        subprocess.run(fit, check=True, stdout=subprocess.DEVNULL)
    lines: list[dict[str, object]] = []
    for n in asked.rows:
        for form in asked.formats:
            rows, answers = asked.out / f"rows{n}.{form}", asked.out / f"answers.{form}"
            if not rows.exists():
                write(rows, n)
            ways = {str(k): [*profuse, "predict", str(model), str(rows), "--out", str(answers), "--chunk-rows", str(k)]
                    for k in asked.chunk_rows}  # fmt: skip
            if n in asked.whole:
                ways["whole"] = [sys.executable, "-W", "ignore", "-c", _WHOLE, str(model), str(rows), str(answers)]
            for way, command in ways.items():
                seconds, peak = measured(command)
                lines.append({"rows": n, "format": form, "chunk_rows": way, "seconds": round(seconds, 1),
                              "rows_per_second": round(n / seconds), "peak_mib": round(peak)})  # fmt: skip
                print("  ".join(f"{k}={v}" for k, v in lines[-1].items()), flush=True)
    with (asked.out / "predicting.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
