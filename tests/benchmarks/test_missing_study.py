"""The study of missing modalities: the same gaps for every strategy, and the table it makes of what was measured."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

study: Any = importlib.import_module("missing")


def test_every_strategy_meets_the_same_gaps_and_the_target_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def spy(prepared: Any, train: Any) -> Any:
        seen.append(prepared)
        return study._classical("linear")(prepared, train)

    monkeypatch.setattr(study, "STRATEGIES", {"one": spy, "two": spy})
    monkeypatch.setitem(study.TASKS, "synthetic", (80, None))
    one, two = (study.measure("synthetic", name, 0, 0.3) for name in ("one", "two"))
    assert one.scores == two.scores
    assert set(one.scores) == {"0", "0.3"}
    present = [np.stack([s.dataset.modalities[m].present for m in ("a", "b")], axis=1) for s in seen]
    assert np.array_equal(present[0], present[1])
    known = np.concatenate([seen[0].split.train, seen[0].split.valid])
    assert 1 - present[0][known].mean() == pytest.approx(0.3, abs=0.03)
    assert present[0][known].any(1).all()
    assert present[0][seen[0].split.test].all()  # gaps of test rows are made when they are predicted


def test_the_table_holds_scores_by_rates_and_the_difference_to_the_network() -> None:
    def made(strategy: str, rate: float, right: float) -> Any:
        rows = {r: [1.0, right, 0.0, 1.0] * 20 for r in ("0", "0.5")}
        return study.Measured(
            data="mfeat", strategy=strategy, seed=0, train_rate=rate, metric="accuracy",
            scores=dict.fromkeys(rows, 0.5 + right / 4), rows=rows, test_rows=list(range(80)),
            clusters=[str(i) for i in range(80)],
        )  # fmt: skip

    page = study.page([made("network", 0.0, 1.0), made("linear", 0.0, 0.0), made("linear", 0.5, 1.0)])
    head, _, network, linear = (line for line in page.splitlines() if line.startswith("|"))
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in (head, network, linear)]
    assert cells[0][1:5] == ["0 % / 0 %", "0 % / 50 %", "50 % / 0 %", "50 % / 50 %"]
    assert cells[1] == ["network", "0.750", "0.750", "", "", ""]
    assert cells[2][:5] == ["linear", "0.500", "0.500", "0.750", "0.750"]
    assert cells[2][5].startswith("-0.250 (")
