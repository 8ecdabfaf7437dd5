"""What a predictor makes of one row as modalities, and pieces of them, are taken away."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import ConfigError
from profuse.inspect.pieces import Orders, Shares
from profuse.inspect.shapley import MOST_EXACT, permutation_weights, shapley_weights
from profuse.kinds import Unit, kind_named
from profuse.predictor import Predictor

__all__ = ["Explained"]

_STREAM = 2_236_067  # data, a split or noise drawn with the same seed must have nothing to do with the orders
_RANDOM = 20  # sets of pieces that are removed at random


@dataclass(frozen=True, eq=False)
class Explained:
    """One row, explained.

    Attributes:
        predictor: Whose prediction it is.
        dataset: Holds the row.
        row: Its number.
        column: The output that is explained.
        log_odds: Whether of log-odds.
        inputs: The row, encoded.
        names: Modalities that the predictor uses and the row has.
        units: Their pieces.
        values: Their Shapley values.
        shares: Of their pieces.
        outputs: What is predicted, by which modalities are shown, `[output]`.
        seed: Of what is drawn.
    """

    predictor: Predictor
    dataset: Dataset
    row: int
    column: int
    log_odds: bool
    inputs: Mapping[str, Any]
    names: tuple[str, ...]
    units: Mapping[str, Sequence[Unit]]
    values: Mapping[str, float]
    shares: Mapping[str, Shares]
    outputs: Mapping[tuple[str, ...], np.ndarray]
    seed: int

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        dataset: Dataset,
        row: int,
        column: int,
        *,
        log_odds: bool,
        n_orders: int,
        n_units: int,
        seed: int,
    ) -> Explained:
        """Explains a row.

        Raises:
            ConfigError: It has none of the modalities that the predictor uses.
        """
        alone = dataset.rows(np.array([row]))
        inputs = predictor.encode(alone)
        names = tuple(n for n in sorted(predictor.modalities) if bool(alone.modalities[n].present[0]))
        if not names:
            raise ConfigError(
                f"row: the row must have a modality that the predictor uses, of {list(predictor.modalities)}; row {row}"
                " has none. There is nothing to explain: name another row."
            )
        units = {
            n: kind_named(alone.modalities[n].kind).units(alone.modalities[n], 0, n_units) or [Unit(n)] for n in names
        }
        made = cls(predictor, alone, 0, column, log_odds, inputs, names, units, {}, {}, {}, seed)
        exact = len(names) <= MOST_EXACT
        draws = [shapley_weights(names)] if exact else permutation_weights(names, 4 * n_orders, seed=seed)
        shown = sorted({s for draw in draws for of in draw.values() for s in of} | {(), names})
        states = np.array([[n in s for n in names] for s in shown])
        outputs = dict(zip(shown, made._predicted({}, states), strict=True))
        said = dict(zip(shown, made._scaled(np.stack([outputs[s] for s in shown])), strict=True))
        values = {n: float(np.mean([sum(w * said[s] for s, w in draw[n].items()) for draw in draws])) for n in names}
        rng = np.random.default_rng([_STREAM, seed])
        shares = {n: made._shares(n, n_orders, rng) for n in names}
        return cls(predictor, alone, 0, column, log_odds, inputs, names, units, values, shares, outputs, seed)

    @property
    def whole(self) -> float:
        """f of the row as it is."""
        return float(self._scaled(self.outputs[self.names][None])[0])

    @property
    def nothing(self) -> float:
        """f of a row that has nothing."""
        return float(self._scaled(self.outputs[()][None])[0])

    @property
    def ranked(self) -> list[tuple[str, int]]:
        """All pieces, (modality, number): those that add the most first."""
        every = [(n, i) for n in self.names for i in range(len(self.units[n]))]
        return sorted(every, key=lambda p: -float(self.shares[p[0]].values[p[1]]))

    def removed(self, share: float) -> tuple[float | None, tuple[float, float]]:
        """Returns by how much f falls without the pieces that add the most, and without as many drawn at random.

        Args:
            share: Of all pieces.

        Returns:
            None where there are too few pieces to tell; of random ones the mean of 20 draws and half its interval.
        """
        ranked = self.ranked
        n = round(share * len(ranked))
        if n < 1 or n >= len(ranked):
            return None, (0.0, 0.0)
        rng = np.random.default_rng([_STREAM, self.seed, 1])
        sets = [ranked[:n], *([ranked[i] for i in rng.permutation(len(ranked))[:n]] for _ in range(_RANDOM))]
        said = self._scaled(self._without(sets))
        falls = self.whole - said
        return float(falls[0]), (float(falls[1:].mean()), float(2 * falls[1:].std(ddof=1) / _RANDOM**0.5))

    def flipped(self, answers: Callable[[np.ndarray], Sequence[Any]]) -> tuple[list[tuple[str, Unit]], Any] | None:
        """Returns the fewest of the pieces that add the most, taken one after the other, without which f answers else.

        Args:
            answers: Outputs to answers.

        Returns:
            The pieces, and the other answer; None where nothing changes it.
        """
        adding = [(n, i) for n, i in self.ranked if self.shares[n].values[i] > 0]
        if not adding:
            return None
        sets = [adding[:k] for k in range(1, len(adding) + 1)]
        first, *others = answers(np.concatenate([self.outputs[self.names][None], self._without(sets)]))
        for gone, answer in zip(sets, others, strict=True):
            if answer != first:
                return [(n, self.units[n][i]) for n, i in gone], answer
        return None

    def _shares(self, name: str, n_orders: int, rng: np.random.Generator) -> Shares:
        others = [n for n in self.names if n != name]
        orders = Orders.drawn(len(self.units[name]), others, n_orders, rng)

        def values(kept: np.ndarray, shown: np.ndarray) -> np.ndarray:
            states = np.stack([kept.any(1) if n == name else shown[:, others.index(n)] for n in self.names], axis=1)
            return self._scaled(self._predicted({name: kept}, states))

        return orders.shares(values)

    def _without(self, sets: Sequence[Sequence[tuple[str, int]]]) -> np.ndarray:
        """Returns what is predicted without each set of pieces, `[set, output]`."""
        kept = {n: np.ones((len(sets), len(self.units[n])), dtype=bool) for n in self.names}
        for k, gone in enumerate(sets):
            for name, i in gone:
                kept[name][k, i] = False
        return self._predicted(kept, np.stack([kept[n].any(1) for n in self.names], axis=1))

    def _predicted(self, kept: Mapping[str, np.ndarray], shown: np.ndarray) -> np.ndarray:
        """Returns what is predicted, `[state, output]`.

        Args:
            kept: Of modalities of which pieces are taken away, bool `[state, piece]`.
            shown: Which modalities are there, bool `[state, modality]`, in the order of `names`.
        """
        copies = torch.zeros(len(shown), dtype=torch.long)
        inputs = {}
        for name, part in self.inputs.items():
            copied = self._encoded(name, kept[name]) if name in kept else part.rows(copies)
            there = shown[:, self.names.index(name)] if name in self.names else np.zeros(len(shown), dtype=bool)
            inputs[name] = copied.without(torch.from_numpy(~there))
        return self.predictor.predict_encoded(inputs)

    def _encoded(self, name: str, kept: np.ndarray) -> Any:
        data: ModalityData = self.dataset.modalities[name]
        states, at = np.unique(kept, axis=0, return_inverse=True)
        made = kind_named(data.kind).keep(data, self.row, self.units[name], states)
        rows = self.dataset.rows(np.zeros(len(states), dtype=int))
        rows = Dataset(rows.name, {**rows.modalities, name: made}, None, rows.task, rows.target_names)
        with warnings.catch_warnings():
            # what preprocessors say of numbers that training never lacked is of rows that the user has not given
            warnings.simplefilter("ignore")
            return self.predictor.encode_one(rows, name).rows(torch.from_numpy(at.ravel()))

    def _scaled(self, outputs: np.ndarray) -> np.ndarray:
        p: np.ndarray = outputs[:, self.column]
        if not self.log_odds or self.predictor.task == "regression":
            return p
        p = p.clip(1e-9, 1 - 1e-9)
        made: np.ndarray = np.log(p) - np.log1p(-p)
        return made
