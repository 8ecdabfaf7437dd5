"""Peak memory and rows per second of `profuse fit --stream` against the number of rows.

    python benchmarks/speed/streaming.py --out results/speed

A Parquet file of twelve numbers, a category and three words is written a piece at a time, and `fit_streamed` trains the
default network on it, in a process of its own for each number of rows. Memory is read while it runs: what the process
holds for itself (`RssAnon`), and with the pages of its files that the system happens to keep (`VmRSS`). `--whole` does
the same with the file read whole, as a comparison.
"""

from __future__ import annotations

import argparse
import ast
import csv
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
_PIECE = 200_000


def write(path: Path, n: int) -> None:
    """Writes `n` rows: the target hangs on a product of two numbers, on one more, on the category and on a word."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    colours = np.array(["red", "green", "blue", "cyan", "black", "white", "pink", "gray", "lime", "teal"])
    words = np.array(["good", "bad", "fast", "slow", "new", "old", "sent", "back", "late", "early", "fine", "cheap"])
    writer = None
    for first in range(0, n, _PIECE):
        m = min(_PIECE, n - first)
        x, colour, note = rng.normal(size=(m, 12)), rng.integers(0, 10, m), rng.integers(0, 12, (m, 3))
        z = x[:, 0] * x[:, 1] + x[:, 2] + (colour < 3) + 1.5 * (note == 1).any(1) + rng.normal(size=m)
        table = pa.table({
            **{f"x{i}": x[:, i].astype(np.float32) for i in range(12)},
            "colour": colours[colour],
            "note": [" ".join(words[row]) for row in note],
            "ill": np.where(z > 0.5, "yes", "no"),
        })  # fmt: skip
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def fit(path: Path, *, whole: bool, small: bool) -> dict[str, object]:
    """Fits, and returns seconds, peaks in MiB and the validation score; `small`: a quick network, for one epoch."""
    peaks, done = {"RssAnon": 0.0, "VmRSS": 0.0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]) / 1024)

    threading.Thread(target=watch, daemon=True).start()
    began = time.perf_counter()
    read = began
    if whole:
        from profuse.estimators.fusion import FusionClassifier
        from profuse.inputs import open_data

        opened = open_data(path, "ill", who="fit")
        fitted = FusionClassifier(schema=opened.schema).fit(opened.dataset).predictor_
    else:
        from profuse.models.options import ModelOptions
        from profuse.streaming.fit import fit_streamed
        from profuse.streaming.options import StreamOptions
        from profuse.training.options import TrainOptions

        model = ModelOptions(width=8, members=1) if small else ModelOptions()
        train = TrainOptions(epochs=1, batch_size=8_192) if small else TrainOptions()

        def reading(what: str, n_done: int, total: int) -> None:
            nonlocal read
            read = time.perf_counter()

        stream = StreamOptions(scratch=path.parent)
        fitted, _ = fit_streamed(path, "ill", model=model, train=train, stream=stream, progress=reading)
    seconds = time.perf_counter() - began
    done.set()
    assert fitted.history is not None
    return {
        "seconds": round(seconds), "reading_seconds": round(read - began), "epochs": fitted.history.epochs[-1].epoch,
        "anonymous_mib": round(peaks["RssAnon"]), "resident_mib": round(peaks["VmRSS"]),
        "valid_score": round(fitted.history.best.valid_score, 4),
    }  # fmt: skip


def main() -> None:
    """Measures, and writes `streaming.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for data and results, on a disk")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--whole", type=int, nargs="*", default=[], help="numbers of rows read whole too")
    parser.add_argument("--small", action="store_true", help="a network of width 8, one epoch, batches of 8,192 rows")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        print(fit(asked.one, whole=bool(asked.whole), small=asked.small))
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, object]] = []
    for n in asked.rows:
        path = asked.out / f"stream{n}.parquet"
        if not path.exists():
            write(path, n)
        for way in ("streamed", "whole") if n in asked.whole else ("streamed",):
            command = [sys.executable, __file__, "--out", str(asked.out), "--one", str(path)]
            command += ["--whole", "1"] if way == "whole" else []
            command += ["--small"] if asked.small else []
            ran = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
            lines.append({"rows": n, "way": way, **ast.literal_eval(ran.stdout.strip().splitlines()[-1])})
            print("  ".join(f"{k}={v}" for k, v in lines[-1].items()), flush=True)
    with (asked.out / "streaming.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
