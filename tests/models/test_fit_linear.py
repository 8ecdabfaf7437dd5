"""Linear paths that learn from some rows: what those rows alone would give, and its prediction of the others."""

from __future__ import annotations

import pytest
import torch
from not_none import not_none
from torch import Tensor

from profuse.models.build import build_model
from profuse.models.fit_linear import fit_linear
from profuse.models.fusion_model import FusionModel
from profuse.models.linear_paths import JOINT
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw


def model() -> FusionModel:
    specs = {n: Spec(kind="vector", n_channels=k) for n, k in (("a", 4), ("b", 3))}
    return build_model(specs, "multiclass", 3, ModelOptions(width=8, members=1), n_rows=40, seed=0).plain


def rows() -> tuple[dict[str, Raw], Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = {n: torch.randn(90, k, generator=generator) for n, k in (("a", 4), ("b", 3))}
    inputs = {n: Raw(v, torch.rand(90, generator=generator) > 0.1) for n, v in x.items()}
    return inputs, (x["a"][:, 0] > 0).long() + (x["b"][:, 0] > 0)


@pytest.mark.parametrize("held", [None, torch.arange(60, 90)])
@pytest.mark.parametrize("together", [None, torch.arange(90) // 7])
def test_rows_that_are_drawn_decide_and_all_others_are_predicted(held: Tensor | None, together: Tensor | None) -> None:
    inputs, target = rows()
    learned, most = torch.arange(60), 25
    some_of = model()
    made_by: list[Tensor] = []

    def zeros(*shape: int, **options: object) -> Tensor:
        made: Tensor = torch.zeros(*shape, **options)  # type: ignore[call-overload]
        made_by.append(made)
        return made

    known = fit_linear(some_of, inputs, target, learned, held=held, together=together, most_rows=most, zeros=zeros)
    assert {id(not_none(raw.contributions)) for raw in known.values()} == {id(made) for made in made_by}
    plain = some_of.linear_paths(some_of.encoder_of, inputs)
    given = some_of.linear_paths(some_of.encoder_of, known)
    seen = ~torch.isclose(plain[JOINT], given[JOINT], atol=1e-6).all(1)
    assert not seen[60:].any()
    drawn = seen.nonzero()[:, 0]
    assert 15 <= len(drawn) <= most  # a row that has neither modality is none to tell by
    # the same rows, alone
    draw = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:most].sort().values
    assert set(drawn.tolist()) <= set(draw.tolist())
    judges = (
        None
        if held is None
        else held[torch.randperm(30, generator=torch.Generator().manual_seed(0))[:most].sort().values]
    )
    index = draw if judges is None else torch.cat([draw, judges])
    alone = model()
    wanted = fit_linear(
        alone,
        {n: raw.rows(index) for n, raw in inputs.items()},
        target[index],
        torch.arange(most),
        held=None if judges is None else torch.arange(most, len(index)),
        together=None if together is None else together[index],
    )
    for name, values in alone.state_dict().items():
        assert torch.equal(values, some_of.state_dict()[name])
    for name, raw in wanted.items():
        assert torch.equal(not_none(raw.contributions)[:most], not_none(known[name].contributions)[draw])


def test_where_there_are_no_more_rows_than_that_nothing_is_drawn() -> None:
    inputs, target = rows()
    one, other = model(), model()
    known = fit_linear(one, inputs, target, torch.arange(60), most_rows=60)
    wanted = fit_linear(other, inputs, target, torch.arange(60))
    for name, raw in wanted.items():
        assert torch.equal(not_none(raw.contributions), not_none(known[name].contributions))
