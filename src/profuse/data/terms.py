"""Which terms texts share: how many training texts have each, and which of them become columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from profuse.tokens import Raw

__all__ = ["MOST_TEXTS", "counted", "word_pairs"]

MOST_TEXTS = 5_000
"""Texts that are counted; of more, evenly chosen ones stand for all."""
_MOST_COLUMNS, _MOST_OF_FEW, _FEW_TEXTS = 2_048, 8_192, 2_500  # a few texts cost little, and rare terms tell more there
_FACTOR = 1_000_003


def word_pairs(words: Tensor, n_pairs: int) -> Tensor:
    """Returns `(1,000,003 a + b) mod (n_pairs - 1) + 1` of each word a and the next one b; 0 where one is unknown.

    Args:
        words: Long `[batch, word]`, 0 = none or unknown.
        n_pairs: Buckets, the unused bucket 0 included.
    """
    a, b = words[:, :-1], words[:, 1:]
    return ((a * _FACTOR + b) % (n_pairs - 1) + 1) * ((a > 0) & (b > 0))


def counted(raw: Raw, *, n_words: int, vocabulary: int) -> dict[str, Any]:
    """Returns the fields of a `Spec` from `n_words` to `term_columns`.

    Terms are the ids of words, pairs of neighbouring words (their buckets stand behind the ids), and ids of parts of
    words. Those that stand in the same training texts tell the same of these, as the parts of one word do: they share a
    column. Of such groups those whose TF-IDF (see `profuse.encoders._tfidf`) varies most over the texts have one, at
    most 8,192 of up to 2,500 texts, 2,048 of more. The others only make a text longer.

    Args:
        raw: Training texts, long `[text, word, subword]`; id 0 is none. Slot 0 of a word is its own id.
        n_words: Ids from 1 to it are words; the ones above, parts of words.
        vocabulary: Ids, 0 included.
    """
    ids = raw.values.masked_fill(~raw.mask[..., None], 0)[raw.present]
    words, n_texts = ids[..., 0], len(ids)
    n_distinct = len(torch.unique(words[:, :-1] * vocabulary + words[:, 1:]))
    n_pairs = int(np.clip(1 << n_distinct.bit_length(), 1 << 8, 1 << 14))
    terms = torch.cat([ids.flatten(1), word_pairs(words, n_pairs) + vocabulary], dim=1).numpy()
    n_terms = vocabulary + n_pairs
    row, slot = np.nonzero((terms > 0) & (terms != vocabulary))
    counts = sparse.csr_matrix((np.ones(len(row)), (row, terms[row, slot])), shape=(n_texts, n_terms))
    counts.sum_duplicates()
    in_rows = np.bincount(counts.indices, minlength=n_terms)

    counts.data = (1 + np.log(counts.data)) * (1 + np.log((1 + n_texts) / (1 + in_rows)))[counts.indices]
    is_part = (np.arange(n_terms) > n_words) & (np.arange(n_terms) < vocabulary)
    by_row = np.repeat(np.arange(n_texts), np.diff(counts.indptr))
    block = 2 * by_row + is_part[counts.indices]
    counts.data /= np.sqrt(np.bincount(block, counts.data**2, minlength=2 * n_texts))[block]

    texts = np.random.RandomState(0).randint(0, 2**63 - 1, n_texts, dtype=np.int64)  # equal sums: the same texts
    sums = np.zeros(n_terms, dtype=np.int64)
    np.add.at(sums, counts.indices, texts[by_row])
    _, group, sizes = np.unique(sums, return_inverse=True, return_counts=True)
    share = np.where(in_rows > 0, 1 / np.sqrt(sizes[group]), 0.0)
    joined = counts @ sparse.csr_matrix((share, (np.arange(n_terms), group)), shape=(n_terms, len(sizes)))
    variance = np.asarray(joined.multiply(joined).mean(0) - np.square(joined.mean(0))).ravel()
    most = _MOST_OF_FEW if n_texts <= _FEW_TEXTS else _MOST_COLUMNS
    kept = np.argsort(-variance, kind="stable")[:most]
    kept = kept[variance[kept] > 1e-12]
    columns = np.zeros(len(sizes), dtype=np.int64)
    columns[kept] = 1 + np.arange(len(kept))
    seen = np.flatnonzero(in_rows)
    return {
        "n_words": n_words,
        "n_texts": n_texts,
        "n_pairs": n_pairs,
        "terms": tuple(seen.tolist()),
        "term_rows": tuple(in_rows[seen].tolist()),
        "term_columns": tuple(columns[group[seen]].tolist()),
    }
