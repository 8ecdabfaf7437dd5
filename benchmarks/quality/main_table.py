"""Two tables of several comparisons, for docs/results: ways to fuse, and modalities alone against hand-made features.

profuse compare mfeat --out results/mfeat      (and so on)
python benchmarks/quality/main_table.py results/mfeat results/mosi ...
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from profuse.comparison.results import Results
from profuse.comparison.statistics import Estimate
from profuse.comparison.summary import Comparison, Row, Summary, summarise

COLUMNS = ("concat", "mean_logits", "gradient_boosting", "linear")
FUSIONS = (
    "data", "metric", "seeds x test rows", "best single modality", "default", *(c.replace("_", " ") for c in COLUMNS),
    "default less best single", "best fusion by validation: does it help?",
)  # fmt: skip
ALONE = ("data", "modality", "metric", "network", "classical, hand-made features", "network less classical")


def cell(row: Row | None) -> str:
    """Mean and interval."""
    return "-" if row is None else words(row.estimate)


def words(e: Estimate, *, sign: str = "") -> str:
    """An estimate and its interval."""
    return f"{e.value:{sign}.3f} ({e.low:{sign}.3f} to {e.high:{sign}.3f})"


def difference(c: Comparison | None) -> str:
    """A paired difference, and what may be said of it."""
    return "-" if c is None else f"{words(c.estimate, sign='+')}: {c.shown}"


def line(results: Results, summary: Summary) -> tuple[str, ...]:
    """One row of the first table."""
    rows = {row.method.name: row for row in summary.rows}
    single, best = summary.verdict.single, summary.verdict.fusion
    default = next((r for r in summary.rows if r.method.default and len(r.method.modalities) != 1), None)
    facts, seeds = results.dataset, results.config["seeds"]
    return (
        facts.name,
        summary.metric,
        f"{seeds} x {facts.n_test:,}",
        f"{single} {cell(rows[single])}" if single else "-",
        "-" if default is None else f"{default.method.name} {cell(default)}",
        *(cell(rows.get(name)) for name in COLUMNS),
        "-" if default is None else difference(summary.comparison(default.method.name, "single")),
        f"{best}: {summary.verdict.helps}" if best else "-",
    )


def alone(results: Results, summary: Summary) -> Iterator[tuple[str, ...]]:
    """The rows of the second table."""
    for c in sorted((c for c in summary.comparisons if c.kind == "hand_made"), key=lambda c: c.method):
        network, classical = summary.row(c.method), summary.row(c.against)
        modality = network.method.modalities[0]
        yield results.dataset.name, modality, summary.metric, cell(network), cell(classical), difference(c)


def main() -> None:
    """Prints the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders that 'profuse compare --out' wrote")
    known = [Results.read(folder) for folder in parser.parse_args().folders]
    pairs = [(results, summarise(results)) for results in known]
    tables = [(FUSIONS, [line(*pair) for pair in pairs]), (ALONE, [row for pair in pairs for row in alone(*pair)])]
    for heads, rows in tables:
        for cells in (heads, ["---"] * len(heads), *rows):
            print("| " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main()
