"""Sequences brought to common steps: the resampling against NumPy, and what stands at the same time meets."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion.encoder_decoder.aligned import Aligned, resample
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def whole(values: Tensor) -> Tokens:
    return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool))


def by_hand(values: list[float | None], n_steps: int) -> list[float | None]:
    """The mean of each piece, exactly: None is a masked token, or a piece without any."""
    while values and values[-1] is None:
        values = values[:-1]
    means: list[float | None] = []
    for j in range(n_steps):
        start, end = Fraction(j * len(values), n_steps), Fraction((j + 1) * len(values), n_steps)
        shares = [max(Fraction(0), min(end, Fraction(t + 1)) - max(start, Fraction(t))) for t in range(len(values))]
        kept = [(float(s), v) for s, v in zip(shares, values, strict=True) if v is not None and s > 0]
        means.append(sum(s * v for s, v in kept) / sum(s for s, _ in kept) if kept else None)
    return means


@pytest.mark.parametrize("n_steps", [1, 3, 4, 7, 10])
def test_resampling_is_the_exact_mean_of_each_piece(n_steps: int) -> None:
    x, mask = normal(40, 9, 1), torch.rand(40, 9, generator=torch.Generator().manual_seed(1)) > 0.4
    found = resample(Tokens(x, mask), n_steps)
    for row in range(40):
        wanted = by_hand([float(v) if m else None for v, m in zip(x[row, :, 0], mask[row], strict=True)], n_steps)
        assert found.mask[row].tolist() == [w is not None for w in wanted]
        np.testing.assert_allclose(found.values[row, :, 0], [w or 0.0 for w in wanted], atol=1e-12)


def test_as_many_steps_as_tokens_change_nothing_and_a_vector_is_repeated() -> None:
    x = normal(3, 8, 2)
    torch.testing.assert_close(resample(whole(x), 8).values, x)
    torch.testing.assert_close(resample(whole(x), 24).values, x.repeat_interleave(3, dim=1))
    torch.testing.assert_close(resample(whole(x), 4).values, x.view(3, 4, 2, 2).mean(2))
    assert torch.equal(resample(whole(x[:, :1]), 5).values, x[:, :1].expand(-1, 5, -1))


@pytest.mark.parametrize("n_steps", [1, 5, 16])
def test_resampling_keeps_the_mean_of_a_row_without_gaps(n_steps: int) -> None:
    mask = torch.arange(11) < torch.tensor([11, 4, 1])[:, None]
    tokens = Tokens(normal(3, 11, 2), mask)
    torch.testing.assert_close(resample(tokens, n_steps).values.mean(1), tokens.mean())


def test_a_gap_stays_where_it_is() -> None:
    mask = torch.tensor([[True, True, False, False, False, False, True, True]])
    x = normal(1, 8, 1)
    found = resample(Tokens(x, mask), 4)
    assert found.mask.tolist() == [[True, False, False, True]]
    torch.testing.assert_close(found.values[0, 3], x[0, 6:].mean(0))


def made(n_layers: int = 2, **options: int) -> Aligned:
    torch.manual_seed(0)
    operator = Aligned({"a": 3, "b": 2}, 6, n_steps=8, n_layers=n_layers, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def test_without_layers_it_is_the_mean_over_steps_of_one_linear_map_normalised() -> None:
    operator = made(0)
    a, b = normal(2, 8, 3), normal(2, 1, 2, seed=1)
    x = torch.cat([operator.norms[0](a), operator.norms[1](b).expand(-1, 8, -1), torch.ones(2, 8, 2).double()], dim=2)
    wanted = operator.norm(operator.first(x)).mean(1)
    torch.testing.assert_close(operator({"a": whole(a), "b": whole(b)}).vector, wanted)


def test_a_layer_reads_the_steps_at_its_dilation_and_no_others() -> None:
    operator = made(2)
    first = operator.layers[0], operator.layers[1]
    x = normal(1, 8, 6)
    moved = x.clone()
    moved[0, 4] = normal(6, seed=5)
    for layer, wanted in zip(first, ([3, 4, 5], [2, 4, 6]), strict=True):
        changed = (layer(x) - layer(moved)).abs().amax((0, 2)) > 1e-9
        assert changed.nonzero()[:, 0].tolist() == wanted


def test_what_happens_at_the_same_time_meets_and_a_shift_of_one_modality_is_seen() -> None:
    operator = made(0)
    a, b = normal(2, 8, 3), normal(2, 8, 2, seed=1)
    together = operator({"a": whole(a), "b": whole(b)}).vector
    both = operator({"a": whole(a.flip(1)), "b": whole(b.flip(1))}).vector
    one = operator({"a": whole(a.flip(1)), "b": whole(b)}).vector
    torch.testing.assert_close(together, both)
    assert not torch.allclose(together, one, atol=1e-3)


def test_a_missing_modality_is_told_apart_from_zeros() -> None:
    operator = made()
    a, zeros = whole(normal(2, 8, 3)), whole(torch.zeros(2, 4, 2).double())
    gone = Tokens(zeros.values, torch.zeros_like(zeros.mask))  # two channels are not normalised: zeros stay zeros
    assert not torch.allclose(operator({"a": a, "b": zeros}).vector, operator({"a": a, "b": gone}).vector, atol=1e-3)


def test_steps_that_no_modality_has_are_masked_and_count_nowhere() -> None:
    operator = made()
    mask = torch.tensor([[True, True, False, False, False, False, True, True]])
    gap, absent = Tokens(normal(1, 8, 3), mask), Tokens(normal(1, 3, 2), torch.zeros(1, 3).bool())
    fused = operator({"a": gap, "b": absent})
    assert fused.tokens is not None
    assert torch.equal(fused.tokens.mask, mask)
    torch.testing.assert_close(fused.vector, fused.tokens.values.sum(1) / 4)


@pytest.mark.parametrize("level", ["raw", "feature"])
def test_it_works_before_and_after_the_encoders_mix(level: str) -> None:
    specs = {"curve": Spec(kind="series", n_channels=2, max_length=20), "vector": Spec(kind="vector", n_channels=4)}
    options = ModelOptions(members=1, fusion="aligned", level=level, width=16)
    model = build_model(specs, "binary", 2, options, n_rows=100, seed=0)
    assert isinstance(model, FusionModel)
    batch = {
        "curve": Raw(normal(5, 12, 2).float(), torch.arange(12) < torch.tensor([12, 5, 1, 0, 7])[:, None]),
        "vector": Raw(normal(5, 4).float(), torch.ones(5).bool()),
    }
    output = model.eval()(batch)
    assert output.outputs.isfinite().all()
    assert isinstance(model.fusion, Aligned)
    assert isinstance(model.fusion.first, nn.Linear)
    assert model.fusion.first.in_features == sum(model.fusion.channels.values()) + 2
    assert model.fusion.channels == (model.embed_widths if level == "raw" else {"curve": 16, "vector": 16})


@pytest.mark.parametrize("options", [{"n_steps": 0}, {"n_layers": -1}])
def test_sizes_out_of_range_are_told(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"^Aligned: .*{next(iter(options))}={next(iter(options.values()))}"):
        Aligned({"a": 2}, 4, **options)
