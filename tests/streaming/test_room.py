"""Tensors on disk hold what is written to them, leave nothing behind, and say so where there is no room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from profuse.errors import DataError
from profuse.streaming.room import Room, Rows
from profuse.tokens import Raw


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.bool])
def test_a_tensor_on_disk_is_zero_keeps_what_is_written_and_has_no_name(dtype: torch.dtype, tmp_path: Path) -> None:
    made = Room(tmp_path).zeros(7, 3, dtype=dtype)
    assert made.dtype == dtype
    assert not made.any()
    made[4] = 1
    assert made.sum() == 3
    assert list(tmp_path.iterdir()) == []


def test_rows_that_no_disk_holds_are_an_error_that_says_how_much_they_need(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"preprocessed rows need 4,000,000,000\.0 MB more on disk.*--scratch"):
        Room(tmp_path).zeros(10**9, 10**6)
    assert list(tmp_path.iterdir()) == []


def pieces(lengths: tuple[int, ...]) -> list[Raw]:
    """Three rows of each length, the last of them absent."""
    torch.manual_seed(0)
    made = []
    for length in lengths:
        mask = torch.rand(3, length) > 0.3
        mask[2] = False
        made.append(Raw(torch.randn(3, length, 2), mask))
    return made


@pytest.mark.parametrize("lengths", [(4, 4, 4), (2, 9, 3, 30), (5, 1)])
def test_rows_of_unlike_lengths_are_what_was_put(lengths: tuple[int, ...], tmp_path: Path) -> None:
    put = pieces(lengths)
    rows = Rows(3 * len(put), Room(tmp_path))
    for i, piece in enumerate(put):
        rows.put(3 * i, piece)
    for i, piece in enumerate(put):
        batch = rows.raw.rows(torch.arange(3 * i, 3 * i + 3))
        length = piece.values.shape[1]
        assert torch.equal(batch.values[:, :length], piece.values)
        assert torch.equal(batch.mask[:, :length], piece.mask)
        assert not batch.mask[:, length:].any()


def test_rows_that_are_whole_or_absent_have_one_mark_each(tmp_path: Path) -> None:
    rows = Rows(4, Room(tmp_path))
    for first in (0, 2):
        rows.put(first, Raw(torch.full((2, 5), float(first)), torch.tensor([True, False])))
    assert rows.raw.present.tolist() == [True, False, True, False]
    assert rows.raw.values[:, 0].tolist() == [0, 0, 2, 2]
