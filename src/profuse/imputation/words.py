"""Scores of the words of a category -> probabilities that hold on rows that were not learned from."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

__all__ = ["Words", "drawn_words", "ranks_of"]


class Words:
    """P(word | scores) = softmax_word(a score_word + b_word).

    a >= 0 and b are fitted to scores of rows that were held back, by likelihood, with a normal prior of variance 1
    around a = 0 and the words' frequencies: where scores say nothing, the answer is how frequent words are.

    Args:
        scores: `[row, word]`.
        words: `[row]`: numbers of words; -1 where unknown.
    """

    def __init__(self, scores: np.ndarray, words: np.ndarray) -> None:
        rows = np.flatnonzero(words >= 0)
        scores, words = scores[rows], words[rows]
        n_words = scores.shape[1]
        count = np.bincount(words, minlength=n_words)
        self._log_frequency = np.log((count + 1 / n_words) / (count.sum() + 1))
        self._slope, self._shift = 0.0, np.zeros(n_words)
        if n_words < 2 or not len(rows):
            return
        own = np.arange(len(rows))

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            log = log_softmax(x[0] * scores + self._log_frequency + x[1:], axis=1)
            off = np.exp(log)
            value = -log[own, words].sum() + 0.5 * (x**2).sum()
            off[own, words] -= 1
            return value, np.concatenate([[(off * scores).sum()], off.sum(0)]) + x

        best = minimize(
            loss, np.zeros(1 + n_words), jac=True, method="L-BFGS-B", bounds=[(0, None)] + [(None, None)] * n_words
        )
        self._slope, self._shift = float(best.x[0]), best.x[1:]

    def shares(self, scores: np.ndarray) -> np.ndarray:
        """Returns the probability of each word, `[..., word]`."""
        return np.asarray(softmax(self._slope * scores + self._log_frequency + self._shift, axis=-1))


def ranks_of(shares: np.ndarray, words: np.ndarray, seed: int) -> np.ndarray:
    """Returns where each word stands in its own distribution, 0..1: uniform if the shares are right.

    A word of which the shares are F before it and F + p with it stands at random between them; an unknown word (-1)
    anywhere.

    Reference:
        Dunn, Smyth, Randomized quantile residuals, Journal of Computational and Graphical Statistics 1996.
    """
    at = np.random.default_rng(seed).random(len(words))
    after = shares.cumsum(1)
    row = np.arange(len(words))
    word = np.maximum(words, 0)
    return np.where(words < 0, at, after[row, word] - at * shares[row, word])


def drawn_words(shares: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Returns the word that stands at each of `ranks[sample, row]` in `shares[row, word]`, `[sample, row]`."""
    after = shares.cumsum(1)[:, :-1]
    return np.asarray((ranks[..., None] > after).sum(-1))
