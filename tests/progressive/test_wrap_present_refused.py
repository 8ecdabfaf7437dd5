"""What is said of present rows, and what the module does: where they differ, an error says it."""
# ruff: noqa: E501 (a table of mistakes)

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from branches_run_in_part import MODULES, given
from torch import Tensor, nn

from profuse.errors import ConfigError, ProfuseError, ShapeError, UnknownNameError
from profuse.progressive import ProgressiveFusion, WrappedProgressive

N = 6
THERE = torch.tensor([True, False, True, True, False, False])


class Late(nn.Module):
    """`runs` tells which rows of b the branch runs on; None: it is left out."""

    def __init__(self, runs: Callable[[Tensor], Tensor | None] = lambda there: there.nonzero()[:, 0]) -> None:
        super().__init__()
        self.a, self.stem, self.b = nn.Linear(3, 5), nn.Linear(4, 4), nn.Linear(4, 5)
        self.fusion, self.norm, self.head = nn.Linear(10, 7), nn.LayerNorm(7), nn.Linear(7, 2)
        self.runs = runs

    def forward(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        rows, z = self.runs(there), a.new_zeros(len(a), 5)
        if rows is not None:
            z = z.index_copy(0, rows, self.b(self.stem(b[rows])))
        outputs: Tensor = self.head(self.norm(self.fusion(torch.cat([self.a(a), z], 1))).tanh())
        return outputs


def inputs(there: Tensor = THERE) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(len(there), 3), torch.randn(len(there), 4), there


def late(module: nn.Module | None = None, there: Tensor = THERE, **options: Any) -> WrappedProgressive:
    torch.manual_seed(0)
    given = {"into": {"a": "a", "b": "b"}, "state": "norm", "present": {"b": "there"}, "example": inputs(there)}
    return ProgressiveFusion.wrap(module or Late(), **{**given, **options})


ALL = torch.ones(N).bool()
NONE = torch.zeros(N).bool()


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (ShapeError, {"present": None}, "got 3 rows in a tensor of shape (3, 4), torch.float32, and a state of shape=(6, 7) from 'norm'. Give batch_axis={'b': ...}; or state_of, a function that returns the state as [batch, channel]; or present={'b': ...} if it runs on the rows alone that have the modality."),
        (ConfigError, {"present": {"b": lambda a, b, there: ~there}}, "row 0 at the input of 'b' for branch 'b' would get the state of row 1 of the batch, and changes that of others only. Give present={'b': ...}, True where the branch runs (a mask that is True where a row lacks it is the contrary)."),
        (ConfigError, {"present": {"b": lambda a, b, there: there.roll(1)}}, "row 0 at the input of 'b' for branch 'b' would get the state of row 1"),
        (ConfigError, {"module": Late(lambda there: there.nonzero()[:, 0].flip(0))}, "row 0 at the input of 'b' for branch 'b' would get the state of row 0 of the batch, and changes that of others only"),
        (ConfigError, {"module": Late(lambda there: torch.arange(N).flip(0))}, "row 0 at the input of 'b' for branch 'b' would get"),
        (ShapeError, {"present": {"b": lambda a, b, there: there | there.roll(1)}}, "the input of 'b' must have the rows that are present, or all; got 3 rows in a tensor of shape (3, 4), torch.float32, and 5 present of a batch of 6 for branch 'b'. Give present={'b': ...} as the module itself decides"),
        (ShapeError, {"present": {"b": lambda a, b, there: there[:4]}}, "present must have as many rows as the state; got 4 rows for branch 'b', and a state of shape=(6, 7) from 'norm'."),
        (ShapeError, {"present": {"b": "b"}}, "present must be a tensor [batch] of bools or of 0 and 1, True or 1 where a row has the modality, or a bool for all rows; got a tensor of shape (6, 4), torch.float32 for branch 'b'."),
        (ShapeError, {"present": {"b": lambda a, b, there: there[:, None]}}, "got a tensor of shape (6, 1), torch.bool for branch 'b'"),
        (ShapeError, {"present": {"b": lambda a, b, there: there.tolist()}}, "got list(bool, bool"),
        (ShapeError, {"present": {"b": lambda a, b, there: 1}}, "or a bool for all rows; got int for branch 'b'"),
        (ConfigError, {"there": NONE}, "the example must have rows with each modality, as sizes are learned from them; got none that has branch 'b'"),
        (ConfigError, {"module": Late(lambda there: None)}, "got ['b'], which were not"),
        (ConfigError, {"module": Late(lambda there: None)}, "Branch 'b' may be left out where no row has it, as present says; got 3 that have."),
        (ConfigError, {"module": Late(lambda there: None), "present": None}, "Where the module leaves a branch out as no row has it, give present={'b': ...}."),
        (ConfigError, {"present": "there"}, "present must be by branch the name of an argument of the module's forward, or a function that is called as the module is; got str present='there'"),
        (ConfigError, {"present": {"b": 1}}, "present must be by branch"),
        (UnknownNameError, {"present": {"b": "their"}}, "present must be a known name; got present='their'. Did you mean 'there'?"),
        (UnknownNameError, {"present": {"c": "there"}}, "branch must be a known name; got branch='c'"),
    ],
)  # fmt: skip
def test_on_the_example(error: type[ProfuseError], options: dict[str, Any], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as caught:
        late(**options)
    assert str(caught.value).startswith("ProgressiveFusion.wrap: ")


def test_present_on_all_rows_and_in_order_is_fine_and_so_is_one_row() -> None:
    late(there=ALL)
    late(there=THERE[:1])
    late(Late(lambda there: torch.arange(len(there))))


@pytest.mark.parametrize("rounds", [3, "equilibrium"])
class TestInALaterCall:
    def test_without_present_a_branch_must_run_on_all_rows_in_every_pass(self, rounds: Any) -> None:
        model = late(Late(lambda there: there.nonzero()[:, 0] if there.any() else None), ALL, present=None)
        model.rounds = rounds
        assert model(*inputs(ALL)).isfinite().all()
        with pytest.raises(ShapeError, match=r"got 3 rows in .* a state of shape=\(6, 7\).*or present=\{'b': \.\.\.\}"):
            model(*inputs())
        with pytest.raises(
            ConfigError, match=r"got \['b'\], which were not.*no row has it, give present=\{'b': \.\.\.\}"
        ):
            model(*inputs(NONE))

    def test_a_branch_may_be_left_out_where_no_row_has_it_alone(self, rounds: Any) -> None:
        model = late(Late(lambda there: there.nonzero()[:, 0] if there.sum() > 2 else None), reuse=["stem"])
        model.rounds = rounds
        assert model(*inputs(NONE)).isfinite().all()
        with pytest.raises(
            ConfigError, match=r"got \['b', 'stem'\], which were not.*as present says; got 1 that have\."
        ):
            model(*inputs(torch.arange(N) == 2))

    def test_it_must_run_on_the_rows_that_are_present(self, rounds: Any) -> None:
        model = late(Late(lambda there: there.nonzero()[:2, 0]), torch.arange(N) < 2)
        model.rounds = rounds
        with pytest.raises(ShapeError, match=r"got 2 rows in .*, and 3 present of a batch of 6 for branch 'b'"):
            model(*inputs())

    def test_other_parts_are_never_left_out(self, rounds: Any) -> None:
        class Skips(Late):
            def forward(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
                return super().forward(a, b, there) if there.any() else self.head(self.fusion.bias.expand(len(a), -1))

        model = late(Skips())
        model.rounds = rounds
        with pytest.raises(ConfigError, match=r"got \['a', 'norm'\], which were not"):
            model(*inputs(NONE))


def test_a_layer_that_branches_share_is_seen_at_each_of_its_calls() -> None:
    class Shared(Late):
        def forward(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
            z = a.new_zeros(len(a), 10)
            z[there, :5] = self.b(b[there])
            z[~there, 5:] = self.b(b[~there])  # as many, and others
            outputs: Tensor = self.head(self.norm(self.fusion(z)))
            return outputs

    with pytest.raises(ConfigError, match="row 0 at the input of 'b' for branch 'b' would get the state of row 0"):
        late(Shared(), into={"b": "b"})


def test_folded_rows_are_those_present_times_something() -> None:
    case = MODULES["frames"]
    torch.manual_seed(0)
    example = given("frames", THERE[:, None])
    options = {**case.options, "example": example}
    ProgressiveFusion.wrap(case.module(), **options)
    with pytest.raises(
        ShapeError, match=r"'frame' must have the rows that are present, or all; got 9 .*or folded=\['b'\]"
    ):
        ProgressiveFusion.wrap(case.module(), **{**options, "folded": []})
    with pytest.raises(ShapeError, match=r"must have as many rows as are present times something; got 9 .* 4 present"):
        ProgressiveFusion.wrap(case.module(), **{**options, "present": {"b": lambda a, v, there: torch.arange(N) < 4}})

    class All(nn.Module):
        """Runs on the frames of all videos, in as many rows as there could be of those present."""

        def __init__(self) -> None:
            super().__init__()
            self.frame, self.fusion = nn.Linear(4, 5), nn.Linear(5, 7)

        def forward(self, a: Tensor, video: Tensor, there: Tensor) -> Tensor:
            z = self.frame(video.flatten(0, 1)).unflatten(0, video.shape[:2]).mean(1)
            fused: Tensor = self.fusion(z * there[:, None])
            return fused

    with pytest.raises(ConfigError, match="present must say which rows of the batch a branch runs on"):
        ProgressiveFusion.wrap(All(), **{**options, "into": {"b": "frame"}})


@pytest.mark.parametrize("name", ["packed", "nested"])
def test_rows_of_any_form_are_checked(name: str) -> None:
    case = MODULES[name]
    torch.manual_seed(0)
    options = {**case.options, "present": {"b": lambda a, x, lengths: (lengths > 0).flip(0)}}
    with pytest.raises(ConfigError, match="row 0 at the input of 'series' for branch 'b' would get the state of row 2"):
        ProgressiveFusion.wrap(case.module(), example=given(name, THERE[:, None]), **options)
