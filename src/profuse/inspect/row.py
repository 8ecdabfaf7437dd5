"""`row`: why one row was predicted so, over all its modalities and their pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect._words import answers, plain, short, words
from profuse.inspect.answer import Answer, Estimate

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.inspect.explaining import Explained
    from profuse.predictor import Predictor

__all__ = ["Row"]

_TOLD = 5  # pieces of a modality that are estimates of their own
_SHARE = 0.2  # of pieces, which are removed to see whether they matter


class Row(Question):
    """`f(row) - f(nothing) = sum_m phi_m = sum over pieces`: what each modality, and each piece of it, adds to f.

    f is the probability of the class that is answered (of `output`, if given), its logarithm less that of the rest
    with `scale="log-odds"`, or the number that is predicted. `phi_m` is the Shapley value of modality m, exact up to 8
    modalities, where one that is not shown is missing, as the predictor knows it. Its pieces (cells, words, patches,
    stretches of time, bands of sound: `Kind.units`) share it by Owen values, from `n_orders` pairs of random orders,
    whose error is the interval. A cell or a number that is not shown is missing (the mean of training rows, where these
    lacked none), a word left out, a patch blurred, a band silenced.

    This tells what the predictor made of the row, not what causes the target. Attention and gates are no explanation in
    this sense: they say where a model looks, not what changes its answer.

    The residual is what the pieces leave of `f(row) - f(nothing)`: coalitions of modalities that were not drawn.

    Args:
        id: Of the row: its id where rows have ids, else its number, counted from 0. None: the row with the surest
            error; without targets, or errors, the least sure row.
        output: A class, a label or the name of a number; None: what is answered, the surest label, the first number.
        scale: "probability" or "log-odds"; of numbers neither counts.
        n_orders: Pairs of orders for each modality, at least 2.
        n_units: Pieces of a modality, at most.
        nearest: How many rows that are alike to the predictor are told.
        seed: Of orders.

    Raises:
        ConfigError: A value out of range.

    Reference:
        Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions" (2017); Owen, "Values of Games with a
        Priori Unions" (1977). *Differs from SHAP*: what is not shown is missing, where the model was made to stand
        that, not drawn from other rows; so no row is made up that mixes several.
    """

    name = "row"
    description = "Why one row was predicted so: what each modality, cell, word, patch or stretch adds."
    needs_target = False

    def __init__(
        self,
        *,
        id: Any = None,
        output: str | None = None,
        scale: Literal["probability", "log-odds"] = "probability",
        n_orders: int = 12,
        n_units: int = 36,
        nearest: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if n_orders < 2 or n_units < 1 or nearest < 0 or scale not in ("probability", "log-odds"):
            raise ConfigError(
                "row: n_orders must be at least 2, n_units at least 1, nearest at least 0 and scale 'probability' or "
                f"'log-odds'; got n_orders={n_orders}, n_units={n_units}, nearest={nearest}, scale={scale!r}. The "
                "defaults are 12, 36, 5 and 'probability'."
            )
        self.id, self.output, self.scale = id, output, scale
        self.n_orders, self.n_units, self.nearest = n_orders, n_units, nearest

    def ask(self, predictor: Predictor, rows: Any, *, target: Any = None) -> Answer:
        """See `Question.ask`; rows keep their order, by which they are numbered."""
        from profuse.inspect.asked import read_asked

        return self.answer(predictor, read_asked(predictor, rows, target, who="ask", need_target=False))

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            ConfigError: There is no row of this id.
            UnknownNameError: There is no such output.
        """
        from profuse.inspect.explaining import Explained

        encoded = predictor.encode(dataset)
        said = predictor.predict_encoded(encoded)
        row = self._row(predictor, dataset, said)
        column, output = self._column(predictor, said[row])
        made = Explained.of(
            predictor, dataset, row, column, log_odds=self.scale == "log-odds", n_orders=self.n_orders,
            n_units=self.n_units, seed=self.seed,
        )  # fmt: skip
        estimates = [e for name in made.names for e in self._of_modality(made, name)]
        gained = made.whole - made.nothing
        pieces = sum(float(s.values.sum()) for s in made.shares.values())
        top, random = made.removed(_SHARE)
        details = {
            "id": plain(row if dataset.ids is None else dataset.ids[row]),
            "row": int(row),
            "output": output,
            "scale": self.scale if predictor.task != "regression" else "value",
            "predicted": answers(predictor, said[[row]])[0],
            "truth": None if dataset.target is None else plain(dataset.target[row]),
            "nothing": made.nothing,
            "whole": made.whole,
            "modalities": {name: made.values[name] for name in made.names},
            "pieces": {
                name: [
                    {"label": u.label, "where": [float(x) for x in u.where], "value": float(v), "half": float(h)}
                    for u, v, h in zip(made.units[name], shares.values, shares.half, strict=True)
                ]
                for name, shares in made.shares.items()
            },
            "removed": {"share": _SHARE, "top": top, "random": random},
            "changes": self._changes(predictor, made),
            "nearest": self._nearest(predictor, encoded, dataset, row, said),
        }
        return Answer(
            question=self.name,
            metric=f"{'log-odds' if self.scale == 'log-odds' else 'probability'} of {output}"
            if predictor.task != "regression"
            else output,
            n_rows=len(dataset),
            estimates=tuple(estimates),
            residual=round(gained - pieces, 12) + 0.0,
            notes=tuple(self._notes(details, made, predictor)),
            measures="what it adds",
            score=made.whole,
            details=details,
        )

    def _row(self, predictor: Predictor, dataset: Dataset, said: np.ndarray) -> int:
        import numpy as np

        from profuse.inspect.asked import encoded_target, order_by_content

        if self.id is not None:
            ids = np.arange(len(dataset)) if dataset.ids is None else dataset.ids
            same = np.flatnonzero([str(i) == str(self.id) for i in ids])
            if not len(same):
                what = "number, counted from 0," if dataset.ids is None else "id"
                raise ConfigError(
                    f"row: id must be the {what} of one of the {len(ids)} rows; got id={self.id!r}. They begin with "
                    f"{', '.join(map(repr, [str(i) for i in ids[:3]]))}."
                )
            return int(same[0])
        order = order_by_content(dataset, predictor.modalities)  # of equal rows the same one, however they came
        there = np.any([dataset.modalities[n].present for n in predictor.modalities], axis=0)
        order = order[np.asarray(there)[order]] if np.any(there) else order
        if predictor.task == "regression":
            if dataset.target is None:
                return int(order[0])
            wrong = np.abs(said - encoded_target(predictor, dataset)).sum(1)
            return int(order[wrong[order].argmax()])
        sure = said.max(1)
        if dataset.target is not None and predictor.task != "multilabel":
            answered = predictor.decision.codes(said)
            wrong, sure = answered != encoded_target(predictor, dataset), said[np.arange(len(said)), answered]
            if wrong[order].any():
                return int(order[np.where(wrong, sure, -1.0)[order].argmax()])
        return int(order[sure[order].argmin()])

    def _column(self, predictor: Predictor, said: np.ndarray) -> tuple[int, str]:
        names = [str(c) for c in (predictor.codec.names if predictor.task == "regression" else predictor.classes)]
        if self.output is not None:
            name = resolve(str(self.output), dict.fromkeys(names), where=self.name, what="output") or str(self.output)
            column = names.index(str(name))
        elif predictor.task == "regression":
            column = 0
        elif predictor.task == "multilabel":
            column = int(said.argmax())
        else:
            column = int(predictor.decision.codes(said[None])[0])
        return column, names[column]

    def _of_modality(self, made: Explained, name: str) -> list[Estimate]:
        """Returns the estimates of a modality: its own, and those of the pieces that add or take the most."""
        import numpy as np

        value, shares, units = made.values[name], made.shares[name], made.units[name]
        result = [Estimate(name, value, value, value, n=1, modalities=(name,))]
        if len(units) < 2:
            return result
        most = np.argsort(-np.abs(shares.values), kind="stable")[:_TOLD]
        for i in most:
            v, h = float(shares.values[i]), float(shares.half[i])
            if not v and not h:
                break
            result.append(Estimate(f"{name}: {short(units[i].label)}", v, v - h, v + h, n=1, modalities=(name,)))
        return result

    def _changes(self, predictor: Predictor, made: Explained) -> dict[str, Any]:
        """Returns the smallest set of modalities, and of pieces, without which another class is answered."""
        if predictor.task in ("regression", "multilabel"):
            return {}
        first = answers(predictor, made.outputs[(*made.names,)][None])[0]
        result: dict[str, Any] = {}
        for shown in sorted(made.outputs, key=lambda s: (-len(s), s)):
            other = answers(predictor, made.outputs[shown][None])[0]
            if other != first:
                gone = [n for n in made.names if n not in shown]
                result["modalities"] = {"without": gone, "answer": other}
                break
        pieces = made.flipped(lambda outputs: answers(predictor, outputs))
        if pieces is not None:
            result["pieces"] = {"without": [f"{n}: {short(u.label)}" for n, u in pieces[0]], "answer": pieces[1]}
        return result

    def _nearest(
        self, predictor: Predictor, encoded: Mapping[str, Any], dataset: Dataset, row: int, said: np.ndarray
    ) -> list[dict[str, Any]]:
        """Returns the rows that are the most alike to the predictor."""
        import numpy as np

        from profuse.inspect.asked import order_by_content

        if not self.nearest or len(dataset) < 2:
            return []
        seen = predictor.representation(encoded)
        spread = seen.std(0)
        distance = (np.square((seen - seen[row]) / np.where(spread > 0, spread, 1.0)).mean(1)) ** 0.5
        order = order_by_content(dataset, predictor.modalities)
        others = order[order != row]
        near = others[np.argsort(distance[others], kind="stable")[: self.nearest]]
        said_near = answers(predictor, said[near])
        return [
            {
                "id": plain(i if dataset.ids is None else dataset.ids[i]),
                "row": int(i),
                "distance": float(distance[i]),
                "predicted": answer,
                "truth": None if dataset.target is None else plain(dataset.target[i]),
            }
            for i, answer in zip(near, said_near, strict=True)
        ]

    def _notes(self, details: Mapping[str, Any], made: Explained, predictor: Predictor) -> Iterator[str]:
        truth = "" if details["truth"] is None else f", in truth {words(details['truth'])}"
        yield (
            f"Row {details['id']} is predicted as {words(details['predicted'])}{truth}: {made.whole:.4f} with what it "
            f"has, {made.nothing:.4f} with nothing: the values share out the difference."
        )
        absent = [n for n in predictor.modalities if n not in made.names]
        if absent:
            yield f"The row has no {', no '.join(absent)}: a missing modality adds nothing."
        changes = details["changes"]
        for what in ("modalities", "pieces"):
            if what in changes:
                gone = ", ".join(changes[what]["without"])
                yield f"Without {gone} the answer would be {words(changes[what]['answer'])}."
        if predictor.task not in ("regression", "multilabel") and not changes:
            yield "Nothing that was taken away changes the answer."
        removed = details["removed"]
        if removed["top"] is not None:
            yield (
                f"Check: without the {100 * _SHARE:.0f} % of pieces that add most it falls by {removed['top']:.4f}, by "
                f"{removed['random'][0]:.4f} (+-{removed['random'][1]:.4f}) without as many drawn at random."
            )
        if details["nearest"]:
            told = [
                f"{near['id']} ({words(near['predicted'] if near['truth'] is None else near['truth'])})"
                for near in details["nearest"]
            ]
            yield f"Rows that are the most alike to the model: {', '.join(told)}."
        yield (
            "The residual is what the pieces leave: which modalities come before a piece is drawn at random. Intervals "
            "are of the orders drawn; modalities have none, as all their orders are counted."
        )
