"""A rare class: a threshold, weights of classes, and whether probabilities hold.

Made data of patients of whom about one in ten is ill. The most probable class is then nearly always "well". A threshold
that costs give mends the answers and leaves probabilities as they are; weights of classes change the probabilities too,
which the question `calibration` shows.

It ends with:

    a threshold finds more of the ill: True
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import profuse


def made(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, cough = rng.normal(size=n), rng.choice(["no", "dry", "wet"], n)
    notes = [f"{rng.choice(['tired', 'weak', 'well'])} since {rng.choice(['monday', 'friday'])}" for _ in range(n)]
    risk = age + (cough == "wet") + np.array(["weak" in note for note in notes]) + rng.normal(size=n)
    return pd.DataFrame({"age": age, "cough": cough, "note": notes, "state": np.where(risk > 2.6, "ill", "well")})


def main() -> None:
    rows, new = made(900, seed=0), made(900, seed=1)
    schema = {"target": {"columns": ["state"]}, "modalities": {"note": {"kind": "text", "columns": ["note"]}}}
    options: dict[str, Any] = {"schema": schema, "width": 16, "epochs": 4, "members": 1}
    plain = profuse.FusionClassifier(**options).fit(rows).predictor_
    careful = plain.deciding(cost={"ill": {"well": 8}})  # a missed ill person costs as much as 8 false alarms
    weighted = profuse.FusionClassifier(**options, class_weight="balanced").fit(rows).predictor_

    recall = {}
    for name, model in {"plain": plain, "careful": careful, "weighted": weighted}.items():
        answers = model.predict(new)
        recall[name] = float((answers[new["state"] == "ill"] == "ill").mean())
        values = model.evaluate(new, ["balanced_accuracy", "log_loss"]).values
        print(f"{name}: finds {recall[name]:.2f} of the ill", {k: round(v, 3) for k, v in values.items()})
        print(model.ask("calibration", new, n_resamples=50), end="\n\n")
    print("a threshold finds more of the ill:", recall["careful"] > recall["plain"])


if __name__ == "__main__":
    main()
