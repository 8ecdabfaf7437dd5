"""One table of several comparisons: the default, the best single modality, the baselines; for docs/results.

profuse compare mfeat --out results/mfeat      (and so on)
python benchmarks/quality/main_table.py results/mfeat results/mosi ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

from profuse.comparison.results import Results
from profuse.comparison.summary import Row, summarise

COLUMNS = ("hybrid concat", "concat", "mean_logits", "gradient_boosting", "linear")


def cell(row: Row | None) -> str:
    """Mean and interval."""
    if row is None:
        return "-"
    e = row.estimate
    return f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"


def line(folder: Path) -> str:
    """One row of the table."""
    results = Results.read(folder)
    summary = summarise(results)
    rows = {row.method.name: row for row in summary.rows}
    single, best = summary.verdict.single, summary.verdict.fusion
    facts, seeds = results.dataset, results.config["seeds"]
    cells = [
        facts.name,
        summary.metric,
        f"{seeds} x {facts.n_test:,}",
        f"{single.removesuffix(' only')} {cell(rows[single])}" if single else "-",
        *(cell(rows.get(name)) for name in COLUMNS),
        f"{best}: {summary.verdict.helps}" if best else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders that 'profuse compare --out' wrote")
    heads = ["data", "metric", "seeds x test rows", "best single modality", *(c.replace("_", " ") for c in COLUMNS)]
    heads.append("best fusion by validation: does it help?")
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for folder in parser.parse_args().folders:
        print(line(folder))


if __name__ == "__main__":
    main()
