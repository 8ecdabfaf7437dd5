"""Encoders of what an embedding has made: the contract, and vectors beside words in one array."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from profuse.data.preprocess.beside import packed, unpacked
from profuse.encoders.beside import StaticBesideEncoder, WordsBesideEncoder
from profuse.encoders.embedded_tokens import EmbeddedTokensEncoder
from profuse.errors import ShapeError
from profuse.schema import Spec
from profuse.testing import ENCODER_CHECKS, SLOW_CHECKS, check_encoder
from profuse.tokens import Raw

GONE = 3
CHECKS = [pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW_CHECKS)) for c in ENCODER_CHECKS]
TEXT = Spec(kind="text", vocabulary=30, n_words=20, max_length=20, n_channels=5)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def holes(n: int, positions: int) -> Tensor:
    lengths = torch.tensor([2, positions, 1, 0, 3, 5, 2, positions - 1, 4, positions])
    return torch.arange(positions) < lengths[:n, None]


def vectors() -> Raw:
    return Raw(normal(10, 5), torch.arange(10) != GONE)


def words() -> Raw:
    mask = holes(10, 6)
    ids = torch.randint(1, 30, (10, 6, 3), generator=torch.Generator().manual_seed(1))
    return Raw(ids * mask[..., None], mask)


@pytest.mark.parametrize(
    "check", [pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW_CHECKS)) for c in ENCODER_CHECKS]
)
def test_tokens_of_a_frozen_model_keep_the_contract(check: str) -> None:
    spec = Spec(kind="series", n_channels=5, max_length=20)
    check_encoder(EmbeddedTokensEncoder, spec, Raw(normal(10, 6, 5), holes(10, 6)), checks=[check])


@pytest.mark.parametrize(
    "check", [pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW_CHECKS)) for c in ENCODER_CHECKS]
)
def test_a_vector_beside_words_keeps_the_contract(check: str) -> None:
    check_encoder(WordsBesideEncoder, TEXT, packed(words(), vectors()), checks=[check])


@pytest.mark.parametrize("n_channels", [1, 3, 5, 7])
def test_what_is_packed_comes_back_bit_for_bit_also_after_padding_was_cut(n_channels: int) -> None:
    there = torch.arange(10) != GONE
    vector = Raw(normal(10, n_channels) * 1e-30, there)
    raw = packed(words(), vector)
    assert not raw.values.is_floating_point()
    rows = torch.tensor([4, 2, 0])
    for both, index in ((raw, torch.arange(10)), (raw.rows(rows).trim(), rows)):
        text, again = unpacked(both, n_channels)
        assert torch.equal(again.values, vector.values[index])
        assert torch.equal(again.mask, there[index])
        n = text.mask.shape[1]
        assert torch.equal(text.values, words().values[index, :n])
        assert torch.equal(text.mask, words().mask[index, :n])
    nothing = packed(words(), vector).rows(torch.tensor([GONE])).trim()
    text, again = unpacked(nothing, n_channels)
    assert not again.mask.any()
    assert again.values.shape == (1, n_channels)
    assert not text.mask.any()


def test_the_vector_and_the_words_both_count() -> None:
    torch.manual_seed(0)
    made, raw = WordsBesideEncoder(TEXT, 8).eval(), packed(words(), vectors())
    before = made(raw).values
    assert before.shape[1] == 1 + 6
    other = packed(words(), Raw(vectors().values + 1, vectors().mask))
    assert not torch.allclose(made(other).values[0, 0], before[0, 0], atol=1e-4)
    torch.testing.assert_close(made(other).values[:, 1:], before[:, 1:])
    shuffled = packed(words().rows(torch.arange(9, -1, -1)), vectors())
    torch.testing.assert_close(made(shuffled).values[:, 0], before[:, 0])
    assert not torch.allclose(made(shuffled).values[0, 1], before[0, 1], atol=1e-4)


def test_both_linear_paths_are_read() -> None:
    terms = {"n_texts": 4, "n_pairs": 8, "terms": (1, 2, 3), "term_rows": (2, 1, 1), "term_columns": (1, 2, 3)}
    made = WordsBesideEncoder(TEXT.model_copy(update=terms), 8)
    read = made.linear(packed(words(), vectors()))
    assert read.shape == (10, made.n_linear) == (10, 3 + 5)
    torch.testing.assert_close(read[:GONE, 3:], vectors().values[:GONE])


def test_rows_of_another_preprocessor_are_told() -> None:
    with pytest.raises(ShapeError, match="WordsBesideEncoder: the spec must have at least one channel of a vector"):
        WordsBesideEncoder(Spec(kind="text", vocabulary=30, max_length=6), 8)
    with pytest.raises(ShapeError, match="WordsBesideEncoder: values must be long"):
        WordsBesideEncoder(TEXT, 8)(Raw(torch.zeros(2, 8, 3), torch.ones(2, 8, dtype=torch.bool)))
    with pytest.raises(ShapeError, match=r"EmbeddedTokensEncoder: values must be \[batch, token, 5\]"):
        EmbeddedTokensEncoder(Spec(kind="series", n_channels=5, max_length=6), 8)(words())
    assert StaticBesideEncoder.words_class is not WordsBesideEncoder.words_class
