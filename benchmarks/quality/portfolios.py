"""Portfolios against their members on the named data: `make study-portfolio`, which writes docs/results/portfolio.md.

Of each data set and seed, training and validation rows of the split are fitted to and test rows are predicted once:
by the portfolio, by each member alone (the mean of its fits), and by the member that held-out rows found best. Data
whose features were learned on the target of the training rows (mosi) are left out: their held-out rows tell nothing.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from profuse.comparison.statistics import Sample, paired_difference
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.datasets import load
from profuse.metrics import metric as metric_called
from profuse.metrics import primary_metric, row_scores
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.options import PortfolioOptions
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

__all__ = ["TASKS", "Measured", "kept", "measure_one", "page", "rows_of", "write_table"]

TASKS: dict[str, int] = {
    "mfeat": 400,
    "emoji": 800,
    "synthetic": 400,
    "beijing-air": 1500,
    "stocks": 1000,
    "glyphs": 1000,
    "avmnist": 1000,
}
"""Named data, and how many rows at most are fitted to: drawn at random; the last ones where rows have times."""
_MOST_TEST = 2_000


@dataclass(frozen=True)
class Measured:
    """One fit: scores of test rows by name, and of each row; `best` is the member that held-out rows found best."""

    data: str
    seed: int
    n_rows: int
    metric: str
    scores: dict[str, float]
    weights: dict[str, float]
    best: str
    rows: dict[str, list[float]]
    test_rows: list[int]
    clusters: list[str]
    seconds: float


def rows_of(name: str, seed: int) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Returns a data set, the rows that are fitted to, and test rows."""
    dataset = load(name)
    split, draw = make_split(dataset, SplitOptions(), seed=seed), np.random.default_rng(seed)
    known = np.concatenate([split.train, split.valid])
    known = known[-TASKS[name] :] if dataset.times is not None else draw.permutation(known)[: TASKS[name]]
    return dataset, np.sort(known), np.sort(draw.permutation(split.test)[:_MOST_TEST])


def measure_one(name: str, seed: int, *, preset: Any = "default", train: TrainOptions | None = None) -> Measured:
    """Fits a portfolio to one data set at one seed, and scores it and its members on test rows."""
    dataset, known, test = rows_of(name, seed)
    train = (train or TrainOptions()).model_copy(update={"seed": seed})
    model = fit_portfolio(dataset.rows(known), PortfolioOptions(preset=preset), train=train, keep_all=True)
    rows, metric = dataset.rows(test), primary_metric(dataset.task)
    inputs = model.encode(rows)
    said = {"portfolio": model.predict_encoded(inputs)}
    said |= {m.name: model.member_outputs(inputs, i) for i, m in enumerate(model.members)}
    true = np.asarray(rows.target)
    true = true.astype(float).reshape(len(true), -1) if dataset.task == "regression" else model.codec.encode(true)
    sign = 1 if metric.higher_is_better else -1
    best = max(model.members, key=lambda m: sign * (m.score if m.score is not None else -np.inf)).name
    groups = test if rows.groups is None else rows.groups
    return Measured(
        data=name,
        seed=seed,
        n_rows=len(known),
        metric=metric.name,
        scores={n: metric(true, p) for n, p in said.items()},
        weights={m.name: m.weight for m in model.members},
        best=best,
        rows={n: row_scores(dataset.task, true, said[n], metric=metric).tolist() for n in ("portfolio", best)},
        test_rows=test.tolist(),
        clusters=[str(g) for g in groups],
        seconds=float(model.about["seconds"]),
    )


def page(found: Sequence[Measured]) -> str:
    """Returns the table of all that was measured, and each portfolio's paired difference to its best member."""
    heads = (
        "data",
        "rows",
        "seeds",
        "metric",
        "portfolio",
        "best by held-out rows",
        "difference",
        "best on test rows",
        "seconds",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in dict.fromkeys(f.data for f in found):
        of = [f for f in found if f.data == name]
        d = paired_difference(*(_samples(of, which) for which in ("portfolio", None)), n_train=of[0].n_rows)
        mean = {n: float(np.mean([f.scores[n] for f in of])) for n in of[0].scores if all(n in f.scores for f in of)}
        sign = 1 if metric_called(of[0].metric).higher_is_better else -1
        top = max((n for n in mean if n != "portfolio"), key=lambda n: sign * mean[n])
        chosen, names = float(np.mean([f.scores[f.best] for f in of])), ", ".join(dict.fromkeys(f.best for f in of))
        cells = (
            name, f"{of[0].n_rows:,}", str(len(of)), of[0].metric,
            f"{mean['portfolio']:.3f}", f"{chosen:.3f} ({names})",
            f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})", f"{mean[top]:.3f} ({top})",
            f"{np.mean([f.seconds for f in of]):.0f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _samples(of: Sequence[Measured], which: str | None) -> list[Sample]:
    """Returns the rows' scores of each fit: of the portfolio, or of the member that held-out rows found best."""
    return [Sample(np.array(f.test_rows), np.array(f.clusters), np.array(f.rows[which or f.best])) for f in of]


def kept(folder: Path) -> list[Measured]:
    """Returns what was measured earlier."""
    return [Measured(**json.loads(p.read_text(encoding="utf-8"))) for p in sorted(folder.glob("*.json"))]


def write_table(path: Path, name: str, table: str) -> None:
    """Writes what stands between `<!-- name -->` and the next `<!-- end -->` of a page anew.

    What a page says of data that were not measured here stays: rows of a table with the same heads, or sections.
    """
    text, start = path.read_text(encoding="utf-8"), f"<!-- {name} -->\n"
    before, rest = text.split(start)
    end = rest.index("<!-- end -->")
    was, now = _by_data(rest[:end]), _by_data(table)
    if was[0] == now[0]:
        table = now[0] + "".join(part for _, part in sorted({**was[1], **now[1]}.items()))
    path.write_text(f"{before}{start}{table}{rest[end:]}", encoding="utf-8")


def _by_data(table: str) -> tuple[str, dict[str, str]]:
    """Returns the heads of a table and its rows, or nothing and the sections of several, by the name of the data."""
    if "### " in table:
        return "", {part.split("\n")[0]: part.rstrip() + "\n\n" for part in re.split(r"(?m)^(?=### )", table) if part}
    lines = table.splitlines(keepends=True)
    return "".join(lines[:2]), {line.split("|")[1]: line for line in lines[2:]}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of results; those there are kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="*", default=list(TASKS))
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--page", type=Path, default=None, help="the page whose table is written anew")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in range(given.seeds):
        for name in given.data:
            path = given.out / f"{name}-{seed}.json"
            if not path.exists():
                measured = measure_one(name, seed, train=TrainOptions(epochs=given.epochs))
                path.write_text(json.dumps(vars(measured)), encoding="utf-8")
                print(page([measured]), flush=True)
    found = kept(given.out)
    print(page(found))
    if given.page is not None:
        write_table(given.page, "table", page(found))


if __name__ == "__main__":
    _main()
