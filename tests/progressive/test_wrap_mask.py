"""Wrapped modules with padded inputs: with a mask, a row predicts in a padded batch what it predicts alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError, ShapeError, UnknownNameError
from profuse.progressive import FEEDBACKS, ProgressiveFusion, WrappedProgressive

LENGTHS = (3, 7, 2, 5)


class Series(nn.Module):
    """A padded series beside a vector, fused step by step; padding must be zero where the convolution meets it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 5)
        self.conv = nn.Conv1d(5, 6, 3, padding=1)
        self.other = nn.Linear(2, 4)
        self.fusion = nn.Linear(10, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, series: Tensor, other: Tensor, real: Tensor | None = None) -> Tensor:
        real = torch.ones(series.shape[:2]).bool() if real is None else real.bool()
        shown = real[..., None]
        z = self.conv(torch.where(shown, self.embed(series), 0).transpose(1, 2)).transpose(1, 2)
        joint = torch.cat([z, self.other(other)[:, None].expand(-1, z.shape[1], -1)], 2)
        fused = torch.where(shown, self.fusion(joint).tanh(), 0).sum(1) / shown.sum(1)
        outputs: Tensor = self.head(fused)
        return outputs


def rows() -> tuple[Tensor, Tensor, Tensor]:
    real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    series = torch.randn(len(LENGTHS), max(LENGTHS), 3)
    return series.masked_fill(~real[..., None], 9.0), torch.randn(len(LENGTHS), 2), real


MASKED: dict[str, Any] = {"mask": {"series": "real"}, "state_mask": "real"}


def padded(scale: float = 0.3, **options: Any) -> tuple[WrappedProgressive, tuple[Tensor, Tensor, Tensor]]:
    torch.manual_seed(0)
    inputs = rows()
    into = {"series": "conv", "other": "other"}
    options = {"rounds": 3, **MASKED, **options}
    wrapped = ProgressiveFusion.wrap(Series(), into=into, state="fusion", example=inputs, **options).eval()
    for parameter in wrapped.feedbacks.parameters():
        nn.init.normal_(parameter, std=scale)
    if wrapped.start is not None:
        nn.init.normal_(wrapped.start)
    return wrapped, inputs


def alone(wrapped: WrappedProgressive, series: Tensor, other: Tensor) -> Tensor:
    """What each row predicts by itself, without any padding."""
    each = [wrapped(series[i : i + 1, :n], other[i : i + 1]) for i, n in enumerate(LENGTHS)]
    return torch.cat(each)


def taken_by(layer: nn.Module) -> list[Tensor]:
    """What the layer computes with; hooks on it see what it is called with, before feedback."""
    met, own = [], layer.forward

    def forward(x: Tensor) -> Any:
        met.append(x)
        return own(x)

    layer.forward = forward
    return met


@pytest.mark.parametrize(("feedback", "start"), [*((name, "zero") for name in FEEDBACKS), ("add", "learned")])
def test_a_row_in_a_padded_batch_predicts_what_it_predicts_alone(feedback: str, start: str) -> None:
    wrapped, inputs = padded(feedback=feedback, start=start)
    torch.testing.assert_close(wrapped(*inputs), alone(wrapped, *inputs[:2]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("left_out", ["mask", "state_mask"])
def test_without_either_mask_it_does_not(left_out: str) -> None:
    without: dict[str, Any] = {left_out: None}
    wrapped, inputs = padded(**without)
    assert (wrapped(*inputs) - alone(wrapped, *inputs[:2])).abs().max() > 1e-3


def test_in_equilibrium_too() -> None:
    wrapped, inputs = padded(scale=0.1, rounds="equilibrium", tolerance=1e-6)
    torch.testing.assert_close(wrapped(*inputs), alone(wrapped, *inputs[:2]), atol=1e-5, rtol=1e-5)
    wrapped, inputs = padded(scale=0.1, rounds="equilibrium", tolerance=1e-6, feedback="attend")
    torch.testing.assert_close(wrapped(*inputs), alone(wrapped, *inputs[:2]), atol=1e-5, rtol=1e-5)


def test_the_mask_may_be_a_function_a_keyword_whole_numbers_or_none() -> None:
    wrapped, (series, other, real) = padded()
    expected = wrapped(series, other, real)
    assert wrapped(series, other, real=real.long()).equal(expected)

    def read(series: Tensor, other: Tensor, real: Tensor) -> Tensor:
        return real

    assert padded(mask={"series": read}, state_mask=read)[0](series, other, real).equal(expected)
    whole = torch.ones_like(real)  # no mask is the same as one that hides nothing
    assert wrapped(series, other).equal(wrapped(series, other, whole))


def test_rows_that_are_absent_get_no_feedback() -> None:
    wrapped, (series, other, real) = padded(mask={"other": lambda *given: torch.tensor([True, False, True, False])})
    met = taken_by(wrapped.module.other)  # type: ignore[arg-type]
    wrapped(series, other, real)
    assert met[-1][[1, 3]].equal(other[[1, 3]])
    assert not met[-1][[0, 2]].isclose(other[[0, 2]]).any()


def test_a_row_without_any_real_step_has_a_zero_state() -> None:
    wrapped, (series, other, real) = padded(state_mask=lambda s, o, real: real & torch.tensor([[True]] * 3 + [[False]]))
    met = taken_by(wrapped.module.other)  # type: ignore[arg-type]
    wrapped(series, other, real)
    assert met[-1][3].equal(other[3])
    assert torch.isfinite(met[-1]).all()


def test_packed_and_nested_inputs_need_none_and_allow_one() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 5, batch_first=True)
            self.fusion = nn.Linear(5, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, series: Tensor, real: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(series, real.sum(1), batch_first=True, enforce_sorted=False)
            outputs: Tensor = self.head(self.fusion(self.gru(packed)[1][-1]).tanh())
            return outputs

    torch.manual_seed(0)
    series, _, real = rows()
    module, found = Recurrent(), []
    for options in ({}, {"mask": {"x": "real"}}):
        wrapped = ProgressiveFusion.wrap(
            module,
            into={"x": "gru"},
            state="fusion",
            example=(series, real),
            **options,
        )
        nn.init.constant_(next(iter(wrapped.feedbacks.values())).linear.weight, 0.3)  # type: ignore[union-attr, arg-type]
        found.append(wrapped.eval()(series, real))
    assert found[0].equal(found[1])


def test_it_survives_export_with_any_batch() -> None:
    wrapped, inputs = padded()
    rows = torch.export.Dim("rows", min=2, max=64)
    with torch.no_grad():
        program = torch.export.export(wrapped, inputs, dynamic_shapes=({0: rows}, {0: rows}, {0: rows}))
        more = tuple(x.repeat(3, *[1] * (x.ndim - 1)) for x in inputs)
        torch.testing.assert_close(program.module()(*more), wrapped(*more), atol=1e-5, rtol=1e-5)


def test_what_is_refused() -> None:
    def refused(error: type[Exception], match: str, **options: Any) -> None:
        with pytest.raises(error, match=match):
            padded(**options)

    refused(UnknownNameError, r"mask='reel'.*Did you mean 'real'", mask={"series": "reel"})
    refused(UnknownNameError, r"branch='serie'.*Did you mean 'series'", mask={"serie": "real"})
    refused(ConfigError, r"mask must be by branch the name of an argument.*got str mask='real'", mask="real")
    refused(ConfigError, r"mask must be by branch.*got dict mask=", mask={"series": 0})
    refused(ConfigError, r"state_mask must be the name of an argument.*got int state_mask=1", state_mask=1)
    refused(
        ShapeError, r"mask of the state of 'fusion' must be \[4, 7\].*\(4, 6\)", state_mask=lambda s, o, r: r[:, 1:]
    )
    refused(
        ShapeError,
        r"mask of the input of 'conv' must be \[4, 7\].*got shape=\(4, 1\)",
        mask={"series": lambda s, o, r: r[:, :1]},
    )
    refused(ShapeError, "mask must be a tensor of bools.*float32", mask={"series": lambda s, o, r: r.float()})
    with pytest.raises(
        ShapeError, match=r"mask of the state of 'head' must be \[4, 1\], .*, or \[4\]; got shape=\(4, 7\)"
    ):
        ProgressiveFusion.wrap(Series(), into={"o": "other"}, state="head", example=rows(), state_mask="real")


def test_a_module_that_hides_the_names_of_its_arguments_needs_a_function() -> None:
    class Hides(Series):
        def forward(self, *args: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(*args)

    torch.manual_seed(0)
    inputs = rows()
    options: dict[str, Any] = {"into": {"series": "conv"}, "state": "fusion", "example": inputs}
    with pytest.raises(UnknownNameError, match="mask must be a known name; got state_mask='real'"):
        ProgressiveFusion.wrap(Hides(), **options, **MASKED)
    wrapped = ProgressiveFusion.wrap(Hides(), mask={"series": lambda *args: args[2]}, **options)
    assert wrapped(*inputs).isfinite().all()
