"""Linear paths that one process has solved are those of another that was handed them."""

from __future__ import annotations

from operator import call
from typing import Any

import numpy as np
import torch

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split
from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.training.fitting import Prepared
from profuse.training.solving import solve_linear


def test_a_process_that_is_handed_linear_paths_has_the_model_of_the_one_that_solved_them() -> None:
    rng = np.random.default_rng(0)
    a, b, rows = rng.normal(size=(40, 2)), rng.normal(size=(40, 3)), np.arange(40)
    data = {n: ModalityData("vector", x, np.ones(40, dtype=bool)) for n, x in {"a": a, "b": b}.items()}
    made = Prepared.make(Dataset("d", data, a[:, 0] + b[:, 1], "regression"), Split(rows[:24], rows[24:], rows[:0]))
    options = ModelOptions(width=4, head="quantile")  # its head begins where the residuals are
    models = [build_model(made.pipeline.specs, "regression", 1, options, n_rows=24, seed=0) for _ in range(2)]
    handed: list[Any] = []

    def keeps(make: Any) -> Any:
        handed.append(call(make))
        return handed[0]

    inputs, target, train = made.inputs, made.target, torch.arange(24)
    known = solve_linear(keeps, models[0], inputs, target, train)
    assert solve_linear(lambda make: handed[0], models[1], inputs, target, train) is known
    assert known["a"].contributions is not None
    one, two = (model.state_dict() for model in models)
    untrained = build_model(made.pipeline.specs, "regression", 1, options, n_rows=24, seed=0).state_dict()
    assert any(not torch.equal(one[name], untrained[name]) for name in one)
    assert all(torch.equal(one[name], two[name]) for name in one)
