"""Modalities that are missing: in training, in use, and whether it pays to collect them.

Made data of two sensors, each of which some rows lack. A network learns from all rows as they are. Then it is asked
what it loses as more goes missing (`missing`), how often its sets of classes hold the truth (`conformal`), and what
collecting a sensor would bring to the rows that lack it (`worth`).

It ends with:

    rows without a sensor are predicted: True
"""

from __future__ import annotations

import numpy as np

import profuse


def main() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 900)
    near, far = (np.eye(3)[y] * size + rng.normal(size=(900, 3)) for size in (2.0, 1.5))
    has_near, has_far = rng.random(900) < 0.8, rng.random(900) < 0.6
    has_near |= ~has_far  # a row has one at least
    arrays = {"near": near, "far": far}
    presence = {"near": has_near, "far": has_far}
    data = profuse.from_tensors(arrays, y, presence=presence)
    learn, new = data.rows(np.arange(600)), data.rows(np.arange(600, 900))

    model = profuse.FusionClassifier(width=16, epochs=8, members=1, modality_dropout=0.2).fit(learn).predictor_
    for question in ("missing", "conformal", "worth"):
        print(model.ask(question, new, n_resamples=50), end="\n\n")

    only_far = model.read({"near": near[:5], "far": far[:5]}, presence={"near": np.zeros(5, bool)})
    probabilities = model.predict_proba(only_far)
    print("rows without a sensor are predicted:", bool(np.isfinite(probabilities).all()))


if __name__ == "__main__":
    main()
