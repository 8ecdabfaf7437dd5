"""Training rows decide whether a linear path reads numbers in bins."""

from __future__ import annotations

import pytest
import torch

from profuse.encoders import Encoder, Rows
from profuse.encoders.table import TableEncoder
from profuse.encoders.vector import VectorEncoder
from profuse.schema import Spec
from profuse.tokens import Raw

EDGES = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)


def asked(encoder: type[Encoder], x: torch.Tensor, target: torch.Tensor) -> dict[str, object] | None:
    n = x.shape[1]
    if encoder is TableEncoder:
        spec, mask = Spec(kind="table", cardinalities=(0,) * n, edges=(EDGES,) * n), torch.ones_like(x).bool()
    else:
        spec, mask = Spec(kind="vector", n_channels=n, edges=(EDGES,) * n), torch.ones(len(x)).bool()
    rows = Rows(Raw(x, mask), target, torch.arange(len(x)))
    found = encoder.suited(spec, rows, rows)
    return None if found is None else dict(found.options)


def steps(x: torch.Tensor) -> torch.Tensor:
    return ((x[:, :3].abs() > 1.0).float()).sum(1, keepdim=True)


@pytest.mark.parametrize("encoder", [TableEncoder, VectorEncoder])
@pytest.mark.parametrize("classes", [False, True])
def test_bins_stay_where_thresholds_tell_and_go_where_a_plane_does(encoder: type[Encoder], classes: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(200, 10, generator=g)
    plane = x @ torch.randn(10, 1, generator=g) + 0.3 * torch.randn(200, 1, generator=g)
    for goal, wanted in ((steps(x), None), (plane, {"n_linear_bins": 0})):
        target = (goal[:, 0] > goal.median()).long() if classes else goal
        assert asked(encoder, x, target) == wanted


def test_nothing_is_asked_of_a_handful_of_rows_or_where_there_are_no_bins() -> None:
    x = torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    assert asked(TableEncoder, x[:19, :5], x[:19, :1]) is None
    assert asked(TableEncoder, x, x[:, :1]) is None  # of so many columns none is binned


@pytest.mark.parametrize("encoder", [TableEncoder, VectorEncoder])
def test_sizes_are_known_without_numbers_as_where_a_saved_model_is_made_anew(encoder: type[Encoder]) -> None:
    specs = {
        TableEncoder: Spec(kind="table", cardinalities=(0, 3, 0), edges=(EDGES, (), (0.0, 1.0))),
        VectorEncoder: Spec(kind="vector", n_channels=3, edges=(EDGES, (), (0.0, 1.0))),
    }
    with torch.device("meta"):
        bare = encoder.make(specs[encoder], 8, n_rows=100)
    assert bare.n_linear == encoder.make(specs[encoder], 8, n_rows=100).n_linear > 6
