"""Are the scores the same, to the last digit, as before a change of the code?

python benchmarks/quality/same_scores.py before        (on the old code; `mfeat` only where its files are)
python benchmarks/quality/same_scores.py after --against before

Each run is a small `profuse compare` with one seed and all methods, so any change in how rows are read, split,
prepared, trained on or scored shows. Ends with 1 where a score differs, or is on one side only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

RUNS: dict[str, tuple[str, ...]] = {
    **{
        f"synthetic-{variant}": ("synthetic", "--variant", variant, "--epochs", "3")
        for variant in ("mixed", "redundant", "unique", "synergy", "pointer")
    },
    "glyphs": ("glyphs", "--epochs", "2", "--fusions", "all"),
    "mfeat": ("mfeat",),
}
KEY = ["run", "method", "seed", "split", "metric"]


def scores(folder: Path, names: list[str]) -> pd.Series:
    """Returns the value of every score in `folder`."""
    tables = [pd.read_csv(folder / n / "results.csv").assign(run=n) for n in names]
    return pd.concat(tables).set_index(KEY)["value"].sort_index()


def main() -> int:
    """Runs the comparisons, and compares their scores with earlier ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the results; what stands there is not done again")
    parser.add_argument("--against", type=Path, help="folder of earlier results")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    asked = parser.parse_args()
    for name in asked.only:
        if not (asked.out / name / "results.csv").exists():
            command = [sys.executable, "-m", "profuse", "compare", *RUNS[name], "--seeds", "1", "--no-retrain-without"]
            command += ["--out", str(asked.out / name)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        print(f"{name}: {len(scores(asked.out, [name]))} scores")
    if asked.against is None:
        return 0
    old, new = scores(asked.against, asked.only).align(scores(asked.out, asked.only))
    other = ~((old == new) | (old.isna() & new.isna()))
    print(pd.DataFrame({"before": old, "after": new})[other].to_string() if other.any() else "")
    print(f"{int((~other).sum())} of {len(other)} scores are equal to the last digit")
    return int(other.any())


if __name__ == "__main__":
    sys.exit(main())
