"""Portfolios against tuned classical models on tables of the KEEL repository, which had no part in building profuse.

    python benchmarks/quality/keel.py --out results/keel            # hours; goes on where it stopped
    python benchmarks/quality/keel.py --out results/keel --page     # the table in Markdown, of what is there
    python benchmarks/quality/keel.py --out results/keel --autogluon ag/bin/python   # AutoGluon: see autogluon_rows.py

The data, and where they are looked for: `strangers.py`.

Of each table and seed a fifth of the rows (at random, by class) is tested on. The rest, 3,000 rows at most, is what
`profuse fit`'s portfolio learns from with its defaults, and five classical models of scikit-learn: each has 20 settings
drawn at random, of which the best by the log loss of five folds is fitted to all of these rows. "Best classical" is the
one of the five that the folds find best, as a careful engineer would choose. AutoGluon has the same rows and core, and
the seconds that the portfolio took, 60 at least. Nothing is chosen by test rows.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse.comparison.statistics import Sample, paired_difference
from profuse.metrics import row_scores
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.options import PortfolioOptions
from profuse.training.options import TrainOptions

strangers: Any = importlib.import_module("strangers")
MOST_ROWS, N_SETTINGS = 3_000, 20
_FEWEST_SECONDS = 60.0  # of AutoGluon


def classical(x: pd.DataFrame, seed: int) -> Iterator[tuple[str, Any, dict[str, list[Any]]]]:
    """Yields name, pipeline and settings of each model."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.svm import SVC

    numbers = [c for c in x if pd.api.types.is_numeric_dtype(x[c])]
    words = [c for c in x if c not in numbers]
    ready = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
    )
    logs = np.random.default_rng(seed)

    def many(low: float, high: float) -> list[float]:
        return [float(v) for v in 10 ** logs.uniform(low, high, 100)]

    made: dict[str, tuple[Any, dict[str, list[Any]]]] = {
        "logistic": (LogisticRegression(max_iter=2_000), {"C": many(-3, 3)}),
        "svm": (SVC(probability=True, random_state=0), {"C": many(-1, 3), "gamma": many(-4, 0.5)}),
        "forest": (
            RandomForestClassifier(300, random_state=0),
            {"max_features": [0.1, 0.2, "sqrt", 0.5, 0.8], "min_samples_leaf": [1, 2, 4, 8]},
        ),
        "extra trees": (
            ExtraTreesClassifier(300, random_state=0),
            {"max_features": [0.1, 0.2, "sqrt", 0.5, 0.8], "min_samples_leaf": [1, 2, 4, 8]},
        ),
        "boosting": (
            HistGradientBoostingClassifier(random_state=0),
            {
                "learning_rate": many(-2, -0.5), "max_iter": [50, 100, 200], "max_leaf_nodes": [4, 8, 15, 31],
                "l2_regularization": many(-3, 1), "min_samples_leaf": [5, 10, 20],
            },
        ),
    }  # fmt: skip
    for name, (model, settings) in made.items():
        last = type(model).__name__.lower()
        yield name, make_pipeline(ready, model), {f"{last}__{k}": v for k, v in settings.items()}


def autogluon(
    python: str, known: pd.DataFrame, target: np.ndarray, test: pd.DataFrame, seconds: float, metric: str = "log_loss"
) -> np.ndarray:
    """Returns what AutoGluon, in the environment of that interpreter, predicts of the test rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known.assign(target=target).to_csv(folder / "learn.csv", index=False)
        test.to_csv(folder / "new.csv", index=False)
        worker = Path(__file__).with_name("autogluon_rows.py")
        subprocess.run([python, str(worker), str(folder), str(seconds), metric], check=True)
        return pd.read_csv(folder / "said.csv").to_numpy()


def measure(name: str, seed: int, python: str | None = None) -> dict[str, Any]:
    """Returns predictions of the test rows by each model, the loss by folds, and seconds."""
    from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold, train_test_split

    data = strangers.table(name)
    x, y = data.modalities["table"].values, np.asarray(data.target)
    codes = np.unique(y, return_inverse=True)[1]
    known, test = train_test_split(np.arange(len(x)), test_size=0.2, stratify=y, random_state=seed)
    known = np.sort(np.random.default_rng(seed).permutation(known)[:MOST_ROWS])
    made: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "n": len(known),
        "true": codes[test].tolist(),
        "said": {},
        "folds": {},
        "seconds": {},
    }
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for model, pipeline, settings in classical(x, seed):
        start = time.perf_counter()
        search = RandomizedSearchCV(
            pipeline, settings, n_iter=N_SETTINGS, scoring="neg_log_loss", cv=folds, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search.fit(x.iloc[known], codes[known])
        made["said"][model] = search.predict_proba(x.iloc[test]).round(6).tolist()
        made["folds"][model] = -float(search.best_score_)
        made["seconds"][model] = time.perf_counter() - start
    start = time.perf_counter()
    fitted = fit_portfolio(data.rows(known), PortfolioOptions(), train=TrainOptions(seed=seed))
    made["said"]["portfolio"] = np.asarray(fitted.predict_encoded(fitted.encode(data.rows(test)))).round(6).tolist()
    made["seconds"]["portfolio"] = time.perf_counter() - start
    made["weights"] = {m.name: m.weight for m in fitted.members}
    if python is not None:
        start, most = time.perf_counter(), max(_FEWEST_SECONDS, made["seconds"]["portfolio"])
        said = autogluon(python, x.iloc[known], codes[known], x.iloc[test], most)
        made["said"]["autogluon"] = said.round(6).tolist()
        made["seconds"]["autogluon"] = time.perf_counter() - start
    return made


def page(folder: Path) -> str:
    """Returns the tables: log loss and accuracy of a rival and of the portfolio, and what it gains."""
    made = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
    tables = [_against(made, "best classical", lambda run: str(min(run["folds"], key=run["folds"].get)))]
    both = [run for run in made if "autogluon" in run["said"]]
    return "\n\n".join(tables + ([_against(both, "AutoGluon", lambda run: "autogluon")] if both else []))


def _against(made: Sequence[dict[str, Any]], title: str, rival_of: Callable[[dict[str, Any]], str]) -> str:
    heads = (
        "table",
        "seeds x test rows",
        "rows",
        title,
        "log loss",
        "portfolio",
        "gain",
        "accuracy",
        "portfolio",
        "gain",
    )
    lines, gains = [" | ".join(heads), "|".join(["---"] * len(heads))], []
    for name in [t for t in strangers.TABLES if any(m["name"] == t for m in made)]:
        runs = [m for m in made if m["name"] == name]
        rivals = [rival_of(m) for m in runs]
        cells = [name, f"{len(runs)} x {len(runs[0]['true'])}", f"{runs[0]['n']:,}", ", ".join(sorted(set(rivals)))]
        for row_values, sign in ((_log_chances, -1), (_right, 1)):
            theirs = [row_values(m, m["said"][r]) for m, r in zip(runs, rivals, strict=True)]
            ours = [row_values(m, m["said"]["portfolio"]) for m in runs]
            rows = [np.arange(len(m["true"])) for m in runs]
            d = paired_difference(
                [Sample(r, r, v) for r, v in zip(rows, ours, strict=True)],
                [Sample(r, r, v) for r, v in zip(rows, theirs, strict=True)],
                n_train=runs[0]["n"],
            )
            cells += [f"{sign * np.mean([v.mean() for v in side]):.3f}" for side in (theirs, ours)]
            cells.append(f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})")
            gains.append((sign, d.value))
        lines.append(" | ".join(cells))
    of_loss, of_accuracy = (np.array([gain for sign, gain in gains if sign == which]) for which in (-1, 1))
    return "".join(f"| {line} |\n" for line in lines) + (
        f"\nMean gain in log loss {_mean(of_loss)}, above 0 on {int((of_loss > 0).sum())} of {len(of_loss)} tables; "
        f"in accuracy {_mean(of_accuracy)}."
    )


def _mean(gains: np.ndarray) -> str:
    error = gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return f"{gains.mean():+.4f} (standard error {error:.4f})"


def _log_chances(made: dict[str, Any], said: list[list[float]]) -> np.ndarray:
    p = np.clip(np.array(said), 1e-6, 1.0)
    values: np.ndarray = np.log(p[np.arange(len(p)), made["true"]])
    return values


def _right(made: dict[str, Any], said: list[list[float]]) -> np.ndarray:
    p = np.array(said)
    return row_scores("binary" if p.shape[1] == 2 else "multiclass", np.array(made["true"]), p)


def main() -> None:
    """Measures what is not there yet, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--tables", nargs="*", default=list(strangers.TABLES), help="which; all unless given")
    parser.add_argument("--autogluon", metavar="PYTHON", help="interpreter of an environment that has AutoGluon")
    parser.add_argument("--page", action="store_true", help="print the table")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.page:
        for seed in range(asked.seeds):
            for name in asked.tables:
                path = asked.out / f"{name}-{seed}.json"
                if not path.exists():
                    made = measure(name, seed, asked.autogluon)
                    path.write_text(json.dumps(made))
                    print(name, seed, {k: round(v) for k, v in made["seconds"].items()}, flush=True)
    print(page(asked.out))


if __name__ == "__main__":
    main()
