"""The additive projection: a sum is its own, a product is not, of any number of modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from formulas import By, dataset, logistic
from made_predictors import predictor, prepared

from profuse.inspect.additive import additive_prediction, affordable_rows


def made(formula: Any, names: str = "abc", n: int = 40, task: Any = "regression") -> tuple[By, Any]:
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=n) for name in names}
    target = np.arange(n) % 2 if task == "binary" else x["a"]
    data = dataset(x, target, task)
    asked = By(data, formula)
    return asked, asked.encode(data)


def project(asked: By, inputs: Any, names: str = "abc") -> np.ndarray:
    return additive_prediction(asked, inputs, [(name,) for name in names])


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_a_sum_is_its_own_projection(names: str) -> None:
    asked, inputs = made(lambda x: 3.0 + sum(np.sin(k + x[n]) for k, n in enumerate(names)), names)
    np.testing.assert_allclose(project(asked, inputs, names), asked.predict_encoded(inputs), atol=1e-12)


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_log_odds_that_are_a_sum_are_their_own_projection(names: str) -> None:
    asked, inputs = made(lambda x: logistic(sum(x[n][:, 0] for n in names) - 0.3), names, task="binary")
    np.testing.assert_allclose(project(asked, inputs, names), asked.predict_encoded(inputs), atol=1e-12)


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_it_is_the_nearest_sum_on_all_pairs_of_two_and_idempotent(names: str) -> None:
    """Least squares of all functions of each modality on the whole grid of combinations."""
    asked, inputs = made(lambda x: x["a"] * x["b"] + np.exp(x[names[-1]]) * (1 + 0.2 * x["a"]), names, n=12)
    found = project(asked, inputs, names)
    values = {n: inputs[n].values[:, 0].double().numpy() for n in names}
    if len(names) == 2:
        a, b = (g.reshape(-1) for g in np.meshgrid(np.arange(12), np.arange(12), indexing="ij"))
        f = values["a"][a] * values["b"][b] + np.exp(values["b"][b]) * (1 + 0.2 * values["a"][a])
        design = np.concatenate([np.eye(12)[a], np.eye(12)[b]], axis=1)
        fitted = (design @ np.linalg.lstsq(design, f, rcond=None)[0]).reshape(12, 12)
        np.testing.assert_allclose(found[:, 0], np.diagonal(fitted), atol=1e-10)
    else:
        says = {}
        for n in names:
            grid = {
                k: np.repeat(v[:, None], 12, axis=1) if k == n else np.repeat(v[None], 12, axis=0)
                for k, v in values.items()
            }
            says[n] = (grid["a"] * grid["b"] + np.exp(grid["c"]) * (1 + 0.2 * grid["a"])).mean(1)
        mean = np.mean([g.mean() for g in says.values()])
        np.testing.assert_allclose(found[:, 0], sum(says.values()) - 2 * mean, atol=1e-10)
    assert np.abs(found - asked.predict_encoded(inputs)).max() > 0.1


def test_modalities_of_one_block_may_interact() -> None:
    asked, inputs = made(lambda x: x["a"] * x["b"] + x["c"])
    found = additive_prediction(asked, inputs, [("a", "b"), ("c",)])
    np.testing.assert_allclose(found, asked.predict_encoded(inputs), atol=1e-12)


def test_it_makes_no_more_predictions_than_it_says() -> None:
    assert affordable_rows(2) ** 2 <= 30_000
    assert 5 * affordable_rows(5) ** 2 <= 30_000
    seen: list[int] = []

    def formula(x: dict[str, Any]) -> np.ndarray:
        seen.append(len(x["a"]))
        return np.asarray(x["a"] + x["b"])

    asked, inputs = made(formula, "ab", n=100)
    project(asked, inputs, "ab")
    assert sum(seen) == 100**2


@pytest.mark.parametrize("kind", ["linear", "portfolio"])
def test_every_predictor_has_one(kind: str) -> None:
    asked, ready = predictor(kind, "multiclass"), prepared("multiclass")
    n = 6
    inputs = asked.encode(ready.dataset.rows(np.arange(n)))
    found = additive_prediction(asked, inputs, [("note",), ("table",)])
    every = np.zeros((n, n, len(asked.classes)))  # note of row i, table of row j
    for i in range(n):
        index = torch.full((n,), i)
        every[i] = np.log(np.clip(asked.predict_encoded({**inputs, "note": inputs["note"].rows(index)}), 1e-12, 1))
    f = every.mean(1) + every.mean(0) - every.mean((0, 1))
    np.testing.assert_allclose(found, np.exp(f) / np.exp(f).sum(1, keepdims=True), atol=1e-5)
