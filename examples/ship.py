"""Ship a model: fit, save, read its card, load it in another process and predict.

A saved model is a folder without code or pickle. Another process needs the folder and profuse, not this script.

It ends with:

    the same predictions in another process: True
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import profuse

ELSEWHERE = """
import sys, profuse
model = profuse.load_model(sys.argv[1])
model.predict_frame(sys.argv[2]).to_csv(sys.argv[3], index=False)
"""


def main() -> None:
    rng = np.random.default_rng(0)
    words = rng.choice(["quiet", "bright", "loud", "small", "sunny"], size=(200, 4))
    notes = ["a {} {} room that is {} and {}".format(*row) for row in words]
    frame = pd.DataFrame({"size": rng.normal(size=200), "note": notes})
    frame["price"] = frame["size"] + (words == "sunny").any(1)
    schema = {"target": {"columns": ["price"]}}
    model = profuse.FusionRegressor(schema=schema, width=16, epochs=5, members=1).fit(frame[:160]).predictor_

    folder = Path(tempfile.mkdtemp())
    model.save(folder / "model")
    print(*(folder / "model" / "card.md").read_text(encoding="utf-8").splitlines()[:12], sep="\n")
    new = frame[160:].drop(columns="price")
    new.to_csv(folder / "new.csv", index=False)
    paths = [str(folder / name) for name in ("model", "new.csv", "answers.csv")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *paths], check=True)

    answers = pd.read_csv(folder / "answers.csv")
    print(answers.head(3))
    same = np.allclose(answers["prediction"], model.predict(new), atol=1e-6)
    print("the same predictions in another process:", same)


if __name__ == "__main__":
    main()
