"""All operators by data sets, in families: test score, interval, and whether an operator is worse than one modality.

    profuse compare mfeat --fusions all --rounds none --seeds 5 --out results/mfeat      (and so on)
    python benchmarks/quality/operators.py results/mfeat results/mosi ... --out docs/results/operators

Writes `operators.md` and `operators.png` there. A cell is the mean test score with its 95 % interval; in bold where the
paired difference to the best single modality is shown to be above 0, with a mark where it is shown to be below.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from profuse.comparison.results import Results
from profuse.comparison.summary import Summary, summarise
from profuse.fusion import FUSIONS, fusion

MARK = "(worse)"


def cell(summary: Summary, name: str) -> str:
    """Score and interval of a method, marked by how it stands to the best single modality."""
    if not any(r.method.name == name for r in summary.rows):
        return "-"
    e = summary.row(name).estimate
    told = f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"
    against = summary.comparison(name, "single")
    if against is None or against.shown == "not shown":
        return told
    return f"**{told}**" if against.shown == "better" else f"{told} {MARK}"


def table(found: Sequence[tuple[Results, Summary]]) -> str:
    """The Markdown table; families one below the other, then what stands beside them."""
    heads = ["method", *(r.dataset.name for r, _ in found)]
    facts = ["seeds x test rows", *(f"{r.config['seeds']} x {r.dataset.n_test:,}" for r, _ in found)]
    single = ["best single modality by validation"]
    for _, s in found:
        best = s.verdict.single
        single.append(f"{best.removesuffix(' only')} {cell(s, best)}" if best else "-")
    lines = [heads, ["---"] * len(heads), facts, single]
    for name in ("linear", "gradient_boosting"):
        lines.append([name.replace("_", " "), *(cell(s, name) for _, s in found)])
    for family in dict.fromkeys(fusion(name).family() for name in FUSIONS):
        lines.append([f"*{family.replace('_', '-')}*", *[""] * len(found)])
        members = [name for name in FUSIONS if fusion(name).family() == family]
        lines += [[f"`{name}`", *(cell(s, name) for _, s in found)] for name in members]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def draw(found: Sequence[tuple[Results, Summary]], path: Path) -> None:
    """Draws every operator's difference to the best single modality, a panel a data set, a colour a family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [n for n in FUSIONS if any(s.comparison(n, "single") for _, s in found)]
    families = list(dict.fromkeys(fusion(n).family() for n in names))
    figure, axes = pyplot.subplots(
        1, len(found), figsize=(3 + 2.6 * len(found), 1.2 + 0.19 * len(names)), sharey=True, squeeze=False
    )
    for axis, (results, summary) in zip(axes[0], found, strict=True):
        for i, name in enumerate(names):
            c = summary.comparison(name, "single")
            if c is not None:
                e, colour = c.estimate, f"C{families.index(fusion(name).family())}"
                axis.plot([100 * e.low, 100 * e.high], [i, i], color=colour, linewidth=1.2)
                axis.plot(100 * e.value, i, "o", color=colour, markersize=3.5)
        axis.axvline(0, color="black", linewidth=0.8)
        # neither a rule that fails by far nor intervals of a few groups, which end nowhere, must squeeze the others
        axis.set_xlim(max(axis.get_xlim()[0], -30), min(axis.get_xlim()[1], 30))
        axis.set_title(f"{results.dataset.name}, {results.config['seeds']} seeds", fontsize=9)
        axis.set_xlabel(f"points of {summary.metric} above\nthe best single modality", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.locator_params(axis="x", nbins=6)
        axis.margins(y=0.01)
        axis.grid(axis="x", linewidth=0.3)
    axes[0][0].set_yticks(range(len(names)), names)
    axes[0][0].invert_yaxis()
    handles = [pyplot.Line2D([], [], color=f"C{i}", label=f.replace("_", "-")) for i, f in enumerate(families)]
    n_columns = 3 if len(found) < 3 else len(families)
    figure.legend(handles=handles, loc="upper center", ncols=n_columns, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Writes the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders that 'profuse compare --out' wrote")
    parser.add_argument("--out", type=Path, default=Path("results/operators"), help="folder to write to")
    asked = parser.parse_args()
    found = [(results := Results.read(folder), summarise(results)) for folder in asked.folders]
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "operators.md").write_text(table(found), encoding="utf-8")
    draw(found, asked.out / "operators.png")
    print(asked.out / "operators.md")


if __name__ == "__main__":
    main()
