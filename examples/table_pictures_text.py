"""Does fusing a table, pictures and texts help?

Made data of shops: what sells is told by the price, by the colour of the picture and by words of the note, each a part
of it. A small comparison asks whether fusing helps, and writes a report that opens in a browser.

It ends with:

    does fusing help? yes
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import profuse


def made(n: int) -> pd.DataFrame:
    """Rows of three modalities; the target follows their sum."""
    rng = np.random.default_rng(0)
    price, light, words = rng.normal(size=n), rng.integers(0, 2, n), rng.integers(0, 2, n)
    pictures = [np.clip(rng.normal(90 + 80 * bright, 20, (12, 12, 3)), 0, 255).astype(np.uint8) for bright in light]
    notes = [" ".join(rng.permutation(["a", "shop", "sells", "fresh" if w else "old", "bread"])) for w in words]
    score = price + 2 * light + 2 * words + rng.normal(size=n) / 4
    sells = np.where(score > np.median(score), "yes", "no")
    return pd.DataFrame({"price": price, "photo": pictures, "note": notes, "sells": sells})


def main() -> None:
    found = profuse.compare(
        made(300),
        "sells",
        schema={"target": {"columns": ["sells"]}},
        fusions=["concat"],
        rounds=(),
        seeds=1,
        retrain_without=False,
        model={"width": 16, "members": 1},
        train={"epochs": 4},
        n_jobs=1,
    )
    scores = found.frame.query("metric == 'auroc' and split == 'test'")
    print(scores[["method", "value"]].sort_values("value").to_string(index=False))
    report = Path(tempfile.mkdtemp()) / "report.html"
    found.report(report)
    print("report:", report)
    print("does fusing help?", found.summary().verdict.helps)


if __name__ == "__main__":
    main()
