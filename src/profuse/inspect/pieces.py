"""How the pieces of one modality share what it adds to a prediction: Owen values, by orders drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from profuse.inspect.shapley import MOST_EXACT, shapley_weights

__all__ = ["Orders", "Shares"]


@dataclass(frozen=True)
class Shares:
    """What pieces add, on average over orders.

    Attributes:
        values: `[piece]`.
        half: `[piece]`: half of the 95 % interval that orders leave; 0 where there is nothing to draw.
    """

    values: np.ndarray
    half: np.ndarray


@dataclass(frozen=True, eq=False)
class Orders:
    """Pairs of orders in which the pieces of one modality come, after some of the other modalities.

    As in an order of all pieces in which those of a modality stay together, the modalities before are a random
    coalition with the weights of the Shapley value, drawn systematically, and the pieces come in a random order. The
    other order of a pair is its reverse, after the modalities that were not there: what interacts is met before and
    after. The mean over orders is the Owen value; the sum over pieces is the modality's Shapley value, but for which
    coalitions were drawn.

    Attributes:
        kept: Bool `[state, piece]`: pieces that are there; along an order one more in each state.
        shown: Bool `[state, other]`: which other modalities are.
        n_pairs: Pairs of orders.

    Reference:
        Owen, "Values of Games with a Priori Unions" (1977); Mitchell, Cooper, Frank, Holmes, "Sampling Permutations
        for Shapley Value Estimation", JMLR 23 (2022): antithetic orders.
    """

    kept: np.ndarray
    shown: np.ndarray
    n_pairs: int

    @classmethod
    def drawn(cls, n_pieces: int, others: Sequence[str], n_pairs: int, rng: np.random.Generator) -> Orders:
        """Returns pairs of orders; a single one, after each coalition, where there is one piece."""
        coalitions = _coalitions(others, n_pairs, rng)
        kept, shown = [], []
        for coalition in coalitions:
            order = rng.permutation(n_pieces)
            for way, before in ((order, coalition), (order[::-1], ~coalition)):
                place = np.empty(n_pieces, dtype=int)
                place[way] = np.arange(n_pieces)
                kept.append(place < np.arange(n_pieces + 1)[:, None])
                shown.append(np.repeat(before[None], n_pieces + 1, axis=0))
        return cls(np.concatenate(kept), np.concatenate(shown), len(coalitions))

    def shares(self, values: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Shares:
        """Returns the shares of pieces.

        Args:
            values: `kept` and `shown` to what is predicted, `[state]`; asked of states that differ only.
        """
        states, at = np.unique(np.concatenate([self.kept, self.shown], axis=1), axis=0, return_inverse=True)
        n_pieces = self.kept.shape[1]
        said = values(states[:, :n_pieces], states[:, n_pieces:])[at.ravel()].reshape(-1, n_pieces + 1)
        # along an order, the piece that has come with each step
        came = (self.kept[1:] & ~self.kept[:-1]).argmax(1)
        came = np.append(came, 0).reshape(-1, n_pieces + 1)[:, :-1]
        added = np.empty((len(said), n_pieces))
        np.put_along_axis(added, came, np.diff(said, axis=1), axis=1)
        pairs = added.reshape(self.n_pairs, 2, n_pieces).mean(1)
        half = np.zeros(n_pieces)
        if self.n_pairs > 1:
            half = stats.t.ppf(0.975, self.n_pairs - 1) * pairs.std(0, ddof=1) / self.n_pairs**0.5
        return Shares(pairs.mean(0), half)


def _coalitions(others: Sequence[str], n: int, rng: np.random.Generator) -> np.ndarray:
    """Returns n coalitions of the other modalities, bool `[coalition, other]`, each drawn by its Shapley weight."""
    names = list(others)
    if len(names) + 1 > MOST_EXACT:
        orders = [rng.permutation(len(names) + 1) for _ in range(n)]
        return np.array([order[:-1] < order[-1] for order in orders])
    player = min({"", *(f"{name}-" for name in names)} - {*names})  # a name that no other has
    weights = {s: w for s, w in shapley_weights([*names, player])[player].items() if player in s}
    ends = np.cumsum([*weights.values()])
    drawn = np.searchsorted(ends / ends[-1], (np.arange(n) + rng.random()) / n, side="right")
    members = [*weights]
    return np.array([[name in members[min(i, len(members) - 1)] for name in names] for i in drawn], dtype=bool)
