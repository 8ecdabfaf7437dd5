"""The benchmark of rounds: everything is timed once, at tiny sizes, and the cost model is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import rounds
import torch

PARTS = {"embed", "mix + fusion", "feedback"}


@pytest.mark.parametrize("branch", [*rounds.BRANCHES, rounds.WRAPPED])
@pytest.mark.slow
def test_parts_and_rounds_of_every_branch_are_timed(branch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "ROUNDS", (1, 2))
    found = rounds.measure(branch, n_rows=2, width=8, n_repeats=1)
    assert set(found) == {*PARTS, "R = 1", "R = 2", "converged"}
    assert min(found.values()) > 0
    lines = rounds.rows(branch, found)
    assert [line["rounds"] for line in lines] == [1, 2]
    assert lines[0]["model_ms"] == pytest.approx(found["embed"] + found["mix + fusion"])
    assert lines[1]["model_ms"] == pytest.approx(found["embed"] + 2 * found["mix + fusion"] + found["feedback"])
    assert lines[1]["all_again_ms"] == pytest.approx(lines[1]["model_ms"] + found["embed"])


def test_the_wrapped_module_gets_feedback_above_its_stems() -> None:
    jobs = rounds.wrapped_jobs(2, 8)
    assert list(jobs) == ["embed", "mix + fusion", "feedback", *(f"R = {r}" for r in rounds.ROUNDS), "converged"]
    module, batch = rounds.Late(8), (torch.randn(2, 64), torch.randn(2, 64))
    assert torch.equal(module(*batch), module.above(module.below(*batch)))


def test_table_and_picture_show_every_branch(tmp_path: Path) -> None:
    timed = dict.fromkeys((*PARTS, *(f"R = {r}" for r in rounds.ROUNDS), "converged"), 2.0)
    found = rounds.rows("one", timed) + rounds.rows("two", timed)
    head, _, one, two = rounds.table(found).splitlines()
    assert head.count("|") == one.count("|") == two.count("|") == len(rounds.ROUNDS) + 7
    assert one.startswith("| one | 2.00 | 2.00 | 2.00 | 2.00 (4.00) | 2.00 (8.00) |")
    assert two.endswith("| 1.00 | 2.00 |")
    rounds.draw(found, tmp_path / "rounds.png")
    assert (tmp_path / "rounds.png").stat().st_size > 0
