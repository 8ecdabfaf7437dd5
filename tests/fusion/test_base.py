"""What the base class promises to every operator."""

from __future__ import annotations

from inspect import signature

import pytest
import torch

from profuse.errors import ConfigError, ShapeError, UnknownNameError
from profuse.fusion import FUSIONS, Fused, Fusion, fusion
from profuse.fusion.encoder_decoder.mean_logits import MeanLogits
from profuse.fusion.encoder_decoder.sum import Sum
from profuse.tokens import Tokens


def vector(width: int, n_rows: int = 3) -> Tokens:
    return Tokens.vector(torch.ones(n_rows, width))


def test_every_name_of_the_table_gives_a_class_of_its_family() -> None:
    for name, path in FUSIONS.builtin.items():
        cls = fusion(name)
        assert issubclass(cls, Fusion)
        assert cls.family() == path.split(".")[2]


def test_an_unknown_operator_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"fusion='token_transfomer'. Did you mean 'token_transformer'"):
        fusion("token_transfomer")


FLOATS = [
    (name, p.name)
    for name in FUSIONS
    for p in signature(fusion(name)).parameters.values()
    if p.kind is p.KEYWORD_ONLY and "float" in str(p.annotation)
]


@pytest.mark.parametrize(("name", "option"), FLOATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_options_that_are_no_finite_number_are_refused(name: str, option: str, value: float) -> None:
    cls, channels = fusion(name), {"a": 4, "b": 4}
    staged = {"stage_channels": (channels,) * 2} if "stage_channels" in signature(cls).parameters else {}
    with pytest.raises(ConfigError, match=option):
        cls(channels, 4, **{option: value, **staged})


def test_a_misspelt_modality_is_told_with_the_nearest() -> None:
    with pytest.raises(ShapeError, match=r"unknown=\['txt'\], lacking=\['text'\]. \('txt' is near 'text'.\)"):
        Sum({"text": 2, "image": 2}, 4)({"txt": vector(2), "image": vector(2)})


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"a": vector(2), "b": vector(4)}, "tokens of 'b' must have 3 channels; got 4"),
        ({"a": vector(2), "b": vector(3, 5)}, "same rows; got 5 of 'b' and 3 of 'a'. Join them by an id first"),
        ({"a": vector(2), "b": torch.ones(3, 3)}, "'b' must be Tokens; got Tensor. Use Tokens.vector"),
        ({"a": vector(2), "b": Tokens.vector(torch.ones(3, 3).double())}, "share type and device; got torch.float64"),
    ],
)
def test_wrong_tokens_are_told(tokens: dict[str, Tokens], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Sum({"a": 2, "b": 3}, 4)(tokens)


@pytest.mark.parametrize(
    ("channels", "width", "message"),
    [({}, 4, "at least 1 modalities"), ({"a": 0}, 4, "at least 1; got width=4"), ({"a": 2}, 0, "got width=0")],
)
def test_wrong_sizes_are_told(channels: dict[str, int], width: int, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^Sum: .*{message}"):
        Sum(channels, width)


def test_a_fuse_of_the_wrong_width_is_told() -> None:
    class Narrow(Fusion):
        def fuse(self, tokens: dict[str, Tokens]) -> Fused:
            return Fused(torch.ones(3, 2))

    with pytest.raises(ShapeError, match=r"^Narrow: fuse must return a vector \[3, 4\]; got \(3, 2\)"):
        Narrow({"a": 2}, 4)({"a": vector(2)})


def test_experts_of_another_number_of_outputs_are_told() -> None:
    with pytest.raises(
        ConfigError, match=r"^MeanLogits: every modality must have width=3 outputs; got {'a': 3, 'b': 2}"
    ):
        MeanLogits({"a": 3, "b": 2}, 3)


def test_an_unknown_link_is_told() -> None:
    with pytest.raises(ConfigError, match="link must be softmax or sigmoid or identity; got link='probit'"):
        MeanLogits({"a": 3}, 3, link="probit")  # type: ignore[arg-type]


def test_the_repr_is_the_call_with_all_options() -> None:
    assert repr(Sum({"b": 2, "a": 3}, 4)) == "Sum({'a': 3, 'b': 2}, 4, dropout=0.1)"
    assert repr(MeanLogits({"a": 3}, 3, link="sigmoid")) == "MeanLogits({'a': 3}, 3, link='sigmoid')"


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("name", [n for n in FUSIONS if "dropout" in signature(fusion(n)).parameters])
def test_a_dropout_that_is_no_probability_is_told(name: str, dropout: float) -> None:
    with pytest.raises(ConfigError, match=rf": dropout must be at least 0 and below 1; got dropout={dropout}\.$"):
        fusion(name)({"a": 4}, 8, dropout=dropout)  # type: ignore[call-arg]


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_a_modality_of_few_channels_keeps_its_size(n_channels: int) -> None:
    torch.manual_seed(0)
    operator = Sum({"a": n_channels}, 6).eval()
    values = torch.randn(1, n_channels)
    values[0, -1] = (
        values[0, 0] + 1
    )  # the order of two channels is the same in both rows, and is all that LayerNorm keeps
    other = values.clone()
    other[0, -1] = other[0, 0] + 2
    other[0, 1:-1] += 0.3
    there = torch.ones(1, dtype=torch.bool)
    one, two = (operator({"a": Tokens.vector(v, there)}).vector for v in (values, other))
    assert not torch.allclose(one, two, atol=1e-3)
