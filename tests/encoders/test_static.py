"""The encoder of word pieces with known vectors: its token of the whole text, and what is learned."""

from __future__ import annotations

import pytest
import torch

from profuse.data.preprocess.static import N_PIECES
from profuse.encoders.static import StaticEncoder
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw

SPEC = Spec(kind="text", vocabulary=1 + N_PIECES, max_length=8)


def made(**options: float) -> StaticEncoder:
    torch.manual_seed(0)
    return StaticEncoder(SPEC, 16, **options).eval()  # type: ignore[arg-type]


def raw(*rows: list[int]) -> Raw:
    values = torch.zeros(len(rows), 8, 1, dtype=torch.long)
    for i, row in enumerate(rows):
        values[i, : len(row), 0] = torch.tensor(row)
    return Raw(values, values[..., 0] > 0)


def test_the_first_token_is_of_the_whole_text_whatever_the_order_and_however_often_it_is_said() -> None:
    first = made()(raw([500, 900, 7000], [7000, 500, 900], [500, 900, 7000, 500, 900, 7000], [500, 900])).values[:, 0]
    torch.testing.assert_close(first[0], first[1])
    torch.testing.assert_close(first[0], first[2])
    assert not torch.allclose(first[0], first[3], atol=1e-2)


def test_pieces_are_tokens_in_their_order() -> None:
    one, other = made()(raw([500, 900], [900, 500])).values[:, 1:3]
    assert not torch.allclose(one, other, atol=1e-2)


def test_vectors_are_neither_learned_nor_saved() -> None:
    module = made()
    assert all(p.shape != module.vectors.shape for p in module.parameters())
    assert "vectors" not in module.state_dict()


def test_training_leaves_out_pieces() -> None:
    module, row = made(piece_drop_prob=0.5, dropout=0.0).train(), raw([500, 900, 7000, 40, 2000])
    assert not torch.equal(module(row).values, module(row).values)
    module.piece_drop_prob = 0.0
    assert torch.equal(module(row).values, module(row).values)


def test_rows_of_another_preprocessor_and_odd_options_are_told() -> None:
    with pytest.raises(ShapeError, match="must be of the preprocessor 'static'.*vocabulary=50. Set preprocess: static"):
        StaticEncoder(Spec(kind="text", vocabulary=50, max_length=8), 16)
    with pytest.raises(ConfigError, match=r"piece_drop_prob must be in \[0, 1\); got piece_drop_prob=1"):
        made(piece_drop_prob=1.0)
    with pytest.raises(ShapeError, match="values must be long"):
        made()(Raw(torch.zeros(2, 8, 1), torch.ones(2, 8, dtype=torch.bool)))
