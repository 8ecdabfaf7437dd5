"""TF-IDF of a text's words, pairs of words and parts of words, from their ids."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from profuse.data.terms import word_pairs
from profuse.schema import Spec

__all__ = ["TermWeights"]

_MOST_IDS = 1 << 22  # looked at at once


class TermWeights(nn.Module):
    """`x[c] = sum of t[i] / sqrt(number of terms i in column c)`: TF-IDF where terms of the same texts are one.

    `t[i] = (1 + ln count_i) (1 + ln((1 + n) / (1 + n_i)))`, with `n` training texts of which `n_i` have term i, 0 for
    terms that none has. The terms are words and pairs of neighbours, divided by the length of their `t`, and parts of
    words, divided by that of theirs. Which terms share a column the preprocessor says (`profuse.data.terms.counted`).

    Args:
        spec: Of a fitted preprocessor of texts; without `terms` there are no outputs.

    Attributes:
        n_outputs: Columns.

    Shape:
        `ids[batch, word, subword]` (0 = none), `mask[batch, word]` to `[batch, n_outputs]`; 0 in rows without a term.

    Reference:
        Salton, Buckley, "Term-weighting approaches in automatic text retrieval" (1988).
    """

    place: Tensor
    idf: Tensor
    column: Tensor
    share: Tensor
    is_part: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        terms, rows, column = (np.array(x, dtype=np.int64) for x in (spec.terms, spec.term_rows, spec.term_columns))
        self.vocabulary, self.n_pairs = spec.vocabulary, spec.n_pairs
        self.n_terms, self.n_outputs = len(terms), int(column.max(initial=0))
        place = np.zeros(spec.vocabulary + spec.n_pairs, dtype=np.int64)  # 0: a term that no training text has
        place[terms] = 1 + np.arange(self.n_terms)
        idf = 1 + np.log((1 + spec.n_texts) / (1 + rows))
        share = (column > 0) / np.sqrt(np.maximum(np.bincount(column, minlength=1)[column], 1))
        self.register_buffer("place", torch.as_tensor(place), persistent=False)
        self.register_buffer("idf", torch.as_tensor(idf, dtype=torch.float32), persistent=False)
        self.register_buffer("column", torch.as_tensor(column), persistent=False)
        self.register_buffer("share", torch.as_tensor(share, dtype=torch.float32), persistent=False)
        is_part = (terms > spec.n_words) & (terms < spec.vocabulary)
        self.register_buffer("is_part", torch.as_tensor(is_part), persistent=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self._all_terms(ids, mask)
        n = max(1, _MOST_IDS // max(1, ids[0].numel() if len(ids) else 1))
        parts = zip(torch.split(ids, n), torch.split(mask, n), strict=True)
        return torch.cat([self._own_terms(i, m) for i, m in parts])

    def _own_terms(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Looks at the terms that a row has: texts have few of them."""
        n = len(ids)
        place = self.place[self._terms(ids, mask)] + (1 + self.n_terms) * torch.arange(n, device=ids.device)[:, None]
        at, counts = torch.unique(place, return_counts=True)
        row, term = at // (1 + self.n_terms), at % (1 + self.n_terms) - 1
        row, term, counts = (x[term >= 0] for x in (row, term, counts))
        weights = (counts.to(self.idf).log() + 1) * self.idf[term]
        block = 2 * row + self.is_part[term]
        length = self.idf.new_zeros(2 * n).index_add(0, block, weights.square()).clamp(min=1e-12).sqrt()
        column = (1 + self.n_outputs) * row + self.column[term]
        out = self.idf.new_zeros(n * (1 + self.n_outputs))
        out = out.index_add(0, column, weights / length[block] * self.share[term])
        return out.reshape(n, 1 + self.n_outputs)[:, 1:]

    def _terms(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns the numbers of words, their parts and their pairs, `[batch, term]`; 0: none."""
        ids = ids.masked_fill(~mask[..., None], 0)
        return torch.cat([ids.flatten(1), word_pairs(ids[..., 0], self.n_pairs) + self.vocabulary], dim=1)

    def _all_terms(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The same by a column for each term, whose shape does not hang on what rows hold: for graphs."""
        terms = self._terms(ids, mask)
        zeros = self.idf.new_zeros(ids.shape[0], 1 + self.n_terms)
        counts = zeros.scatter_add(1, self.place[terms], torch.ones_like(terms, dtype=zeros.dtype))[:, 1:]
        weights = counts.clamp(min=1).log().add(1) * (counts > 0) * self.idf
        squares = weights.square()
        parts, others = ((squares * block).sum(1, keepdim=True) for block in (self.is_part, ~self.is_part))
        length = torch.where(self.is_part, parts, others).clamp(min=1e-12).sqrt()
        out = self.idf.new_zeros(ids.shape[0], 1 + self.n_outputs)
        return out.index_add(1, self.column, weights / length * self.share)[:, 1:]
