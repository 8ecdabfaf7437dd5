"""What must hold for kinds of modality, their preprocessors and their features. Each check's docstring says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.features import Features, Matrix, features_named
from profuse.data.preprocess import Preprocessor, preprocessor
from profuse.data.tensors import from_tensors
from profuse.encoders import encoder
from profuse.errors import DataError
from profuse.kinds import Kind, kind_named
from profuse.testing._contract import run_checks
from profuse.testing._subject import WIDTH, ContractError, need
from profuse.tokens import Raw

__all__ = ["KIND_CHECKS", "check_kind"]

N_ROWS = 8
ABSENT = 2
"""The row of `values` that is told to be missing."""


@dataclass
class KindSubject:
    """A kind, values of it, and the preprocessor that they go through."""

    kind: Kind
    values: Any
    preprocess: str
    rate: int | None
    feature_sets: tuple[str, ...]

    def read(self, values: Any = None) -> ModalityData:
        """Returns the values as `from_tensors` reads them, one row missing."""
        values = self.values if values is None else values
        name, there = self.kind.name, np.arange(len(values)) != ABSENT
        rates = {} if self.rate is None else {name: self.rate}
        given = from_tensors({name: values}, kinds={name: name}, rates=rates, presence={name: there})
        return given.modalities[name]

    @cached_property
    def data(self) -> ModalityData:
        return self.read()

    @cached_property
    def fitted(self) -> Preprocessor:
        made = preprocessor(self.preprocess)()
        made.fit(self.data)
        return made

    @cached_property
    def raw(self) -> Raw:
        return self.fitted.transform(self.data)

    @cached_property
    def features(self) -> dict[str, Features]:
        return {name: self.fit_features(name, self.data) for name in self.feature_sets}

    @staticmethod
    def fit_features(name: str, data: ModalityData) -> Features:
        made = features_named(name)()
        made.fit(data)
        return made


def _digest(data: ModalityData) -> str:
    return Dataset("d", {"m": data}, None, "binary").digest()


def declared(s: KindSubject) -> None:
    """It has a name and a plural for messages, and its preprocessor and encoder are known and take it."""
    name = s.kind.name
    need(bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name)), f"name must be letters, digits, _ . -; got {name!r}.")
    need(bool(s.kind.noun), "noun must be said, the plural for messages; got nothing.")
    for chosen in (s.preprocess, s.kind.preprocessor):
        need(preprocessor(chosen).accepts(name), f"the preprocessor must accept {name!r}; got {chosen!r}.")
    made = s.fitted.spec.kind
    of_spec = s.kind.encoder if made == name else kind_named(made).encoder
    taken = encoder(of_spec).kind
    need(taken == made, f"the encoder must take {made!r}, what the preprocessor gives; got {of_spec!r}, of {taken!r}.")


def rows_are_read(s: KindSubject) -> None:
    """Values given in Python become as many rows of this kind, those that are there, and the same again."""
    data = s.data
    need(data.kind == s.kind.name, f"rows must be of kind {s.kind.name!r}; got {data.kind!r}.")
    there = np.arange(len(s.values)) != ABSENT
    need(np.array_equal(data.present, there), f"rows must be there as told; got present={data.present.tolist()}.")
    need(_digest(s.read()) == _digest(data), "the same values must be the same rows; got others.")


def nonsense_raises(s: KindSubject) -> None:
    """A value that is none of this kind raises a DataError that says in which modality or column, and which row."""
    try:
        s.read([object() for _ in range(N_ROWS)])
    except DataError as error:
        need(bool(re.match(r"(modality|column) .*\brow", str(error))), f"the message must say where; got {error}")
    except Exception as error:
        raise ContractError(f"it must be a DataError; got {type(error).__name__}: {error}") from error
    else:
        raise ContractError("objects that are nothing must raise; got no error.")


def joins(s: KindSubject) -> None:
    """The rows of two parts, one after the other, are the rows of the whole; in another order they are not."""
    half = len(s.data) // 2
    first, second = s.data.rows(np.arange(half)), s.data.rows(np.arange(half, len(s.data)))
    need(_digest(s.kind.concatenate("m", first, second)) == _digest(s.data), "joined parts must be the whole.")
    need(_digest(s.kind.concatenate("m", second, first)) != _digest(s.data), "rows must stand in the order given.")


def prepares(s: KindSubject) -> None:
    """Preprocessed rows are finite, as many, and there where the modality is; each by itself, whatever the order."""
    raw = s.raw
    need(len(raw) == len(s.data), f"there must be {len(s.data)} rows; got {len(raw)}.")
    need(torch.equal(raw.present, torch.as_tensor(s.data.present)), "rows must be there where the modality is.")
    need(bool(raw.values.isfinite().all()), "values must be finite; got NaN or infinity.")
    order = np.arange(len(s.data))[::-1].copy()
    turned = s.fitted.transform(s.data.rows(order))
    same = turned.values.shape == raw.values.shape and torch.allclose(turned.values, raw.values[order.tolist()])
    need(same, "a row must be the same in another order; got others.")
    few = len(s.data) // 2
    part = s.fitted.transform(s.data.rows(np.arange(few)))
    inside = tuple(slice(n) for n in part.values.shape)  # rows are padded to the longest of those that are given
    same = torch.allclose(part.values, raw.values[:few][inside])
    need(same, "a row must be the same without the other rows; got others. Take statistics in fit only.")


def absent_content_ignored(s: KindSubject) -> None:
    """What stands in a row that is missing changes nothing, neither in `fit` nor in `transform`."""
    index = np.arange(len(s.data))
    index[ABSENT] = 0 if ABSENT else 1
    other = replace(s.data.rows(index), present=s.data.present)
    again = preprocessor(s.preprocess)()
    again.fit(other)
    raw = again.transform(other)
    for name, made in s.features.items():
        x, y = _dense(s.fit_features(name, other).transform(other)), _dense(made.transform(s.data))
        same = x.shape == y.shape and np.allclose(x, y, equal_nan=True)
        need(same, f"features {name!r} must be the same whatever stands in a missing row; got others.")
    mask = s.raw.mask.view(*s.raw.mask.shape, *(1,) * (s.raw.values.ndim - s.raw.mask.ndim))
    same = raw.values.shape == s.raw.values.shape and torch.equal(raw.mask, s.raw.mask)
    same = same and torch.allclose(raw.values.masked_fill(~mask, 0), s.raw.values.masked_fill(~mask, 0))
    need(same, "other rows must be the same whatever stands in a missing one; got others.")


def state_survives_saving(s: KindSubject) -> None:
    """A preprocessor made of the state of another one gives the same rows and the same features."""
    again = preprocessor(s.preprocess).from_state(s.fitted.state())
    raw = again.transform(s.data)
    same = torch.equal(raw.values, s.raw.values) and torch.equal(raw.mask, s.raw.mask)
    need(same, "rows must be the same after from_state(state()); got others.")
    need(again.spec == s.fitted.spec, f"spec must be {s.fitted.spec}; got {again.spec}.")
    for name, made in s.features.items():
        x, y = (_dense(part.transform(s.data)) for part in (features_named(name).from_state(made.state()), made))
        same = np.array_equal(x, y, equal_nan=True)
        need(same, f"features {name!r} must be the same after from_state(state()); got others.")


def _dense(x: Matrix) -> np.ndarray:
    return np.asarray(x if isinstance(x, np.ndarray) else x.toarray(), dtype=np.float64)


def features_describe(s: KindSubject) -> None:
    """Each set of features is numbers `[row, feature]` that tell rows apart, each by itself; a missing row has none."""
    for name, made in s.features.items():
        need(features_named(name).accepts(s.kind.name), f"features {name!r} must accept {s.kind.name!r}; they do not.")
        given = made.transform(s.data)
        x = _dense(given)
        need(x.ndim == 2 and len(x) == len(s.data), f"features must be [row, feature]; got shape={x.shape}.")
        nothing = np.isnan(x[ABSENT]) if isinstance(given, np.ndarray) else x[ABSENT] == 0
        need(bool(nothing.all()), f"features {name!r} of a missing row must be NaN, or empty if sparse; got numbers.")
        there = x[s.data.present]
        need(not np.isinf(there).any(), f"features {name!r} must be finite or NaN; got infinity.")
        need(bool((there != there[0]).any()), f"features {name!r} must tell rows apart; got the same for all.")
        order = np.arange(len(s.data))[: len(s.data) // 2][::-1].copy()
        few = _dense(made.transform(s.data.rows(order)))
        same = few.shape[1] == x.shape[1] and np.allclose(few, x[order], rtol=1e-4, atol=1e-5, equal_nan=True)
        need(same, f"features {name!r} of a row must be the same without the others; got others.")


def encodes(s: KindSubject) -> None:
    """The default encoder makes finite tokens of the rows, real ones in the rows that are there."""
    spec = s.fitted.spec
    name = s.kind.encoder if spec.kind == s.kind.name else kind_named(spec.kind).encoder
    tokens = encoder(name).make(spec, WIDTH, n_rows=1000).eval()(s.raw)
    need(bool(tokens.values.isfinite().all()), "tokens must be finite; got NaN or infinity.")
    need(torch.equal(tokens.present, s.raw.present), "rows must have tokens where the modality is there.")


def corrupts(s: KindSubject) -> None:
    """Noise changes rows that are there, the same ones at higher levels too, by the seed, and none at level 0.

    Missing rows stay as they are. What is changed can still be preprocessed, and no row is lost by that.
    """
    names = s.kind.corruptions
    wrong = [name for name in s.kind.usual if name not in names]
    need(bool(s.kind.usual) and not wrong, f"usual must name some of the corruptions {[*names]}; got {s.kind.usual}.")
    before, digest = _row_digests(s.data), _digest(s.data)
    drawn = []
    for name, made in names.items():
        text, who = made.description, f"{name!r}"
        one_line = text.strip() == text and text.endswith(".") and "\n" not in text
        need(one_line, f"{who} must have a description of one line that ends with a full stop; got {text!r}.")

        def noisy(level: float, seed: int = 0, name: str = name) -> ModalityData:
            return s.kind.corrupt(s.data, name, level, np.random.default_rng(seed))

        need(_row_digests(noisy(0.0)) == before, f"{who}: level 0 must change nothing; got other rows.")
        low, high = noisy(0.3), noisy(0.9)
        need(_digest(s.data) == digest, f"{who}: rows must be left as they are; they were changed in place.")
        hit = [np.array([a != b for a, b in zip(_row_digests(d), before, strict=True)]) for d in (low, high)]
        need(bool(hit[1][s.data.present].any()), f"{who}: level 0.9 must change rows; got the same.")
        lost = int((hit[0] & ~hit[1]).sum())  # a few: what is exchanged may be equal
        need(4 * lost <= int(hit[0].sum()), f"{who}: rows that level 0.3 changes must be changed at 0.9; got others.")
        need(not hit[1][~s.data.present].any(), f"{who}: what is missing must stay as it is; it was changed.")
        need(np.array_equal(high.present, s.data.present), f"{who}: rows must be there as before; got others.")
        need(_digest(noisy(0.9)) == _digest(high), f"{who}: noise must be the same at the same seed; got another.")
        drawn.append(name in s.kind.usual and _digest(noisy(0.9, 1)) != _digest(high))
        for level in (0.3, 0.9, 1.0):
            raw = s.fitted.transform(noisy(level))
            need(bool(raw.values.isfinite().all()), f"{who}: preprocessed rows must be finite; got NaN or infinity.")
            need(torch.equal(raw.present, s.raw.present), f"{who}: no row may become missing, or be found; got others.")
    need(any(drawn), "the usual noise must be another at another seed; got the same.")


def _row_digests(data: ModalityData) -> list[str]:
    return [_digest(data.rows(np.array([i]))) for i in range(len(data))]


def described(s: KindSubject) -> None:
    """Its sizes can be told in words."""
    spec = s.fitted.spec
    of = s.kind if spec.kind == s.kind.name else kind_named(spec.kind)
    need(bool(of.describe(spec).strip()), "describe must say the sizes; got nothing.")


KIND_CHECKS: dict[str, Callable[[KindSubject], None]] = {
    check.__name__: check
    for check in (
        declared,
        rows_are_read,
        nonsense_raises,
        joins,
        prepares,
        absent_content_ignored,
        state_survives_saving,
        features_describe,
        encodes,
        corrupts,
        described,
    )
}


def check_kind(
    name: str,
    values: Any,
    *,
    preprocess: str | None = None,
    features: str | None = None,
    rate: int | None = None,
    checks: Iterable[str] = tuple(KIND_CHECKS),
) -> None:
    """Checks a kind of modality, the preprocessor that its rows go through and its features, against the contract.

    Args:
        name: Of the kind, which is built in or registered.
        values: At least 8 rows of it, all different, as `from_tensors` takes them.
        preprocess: Name of a preprocessor; the kind's own if None.
        features: Name of a set of features; those of the kind if None.
        rate: Samples a second, if the kind has a rate.
        checks: Names of `KIND_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        DataError: There are fewer than 8 rows.
        UnknownNameError: There is no such check, kind, preprocessor or features.
    """
    kind = kind_named(name)
    if not isinstance(values, Sized) or len(values) < N_ROWS:
        n = len(values) if isinstance(values, Sized) else 0
        raise DataError(f"check_kind: values must be at least {N_ROWS} rows; got {n}. Give more, all different.")
    who = f"Kind {name!r}" + ("" if preprocess is None else f", preprocessor {preprocess!r}")
    who += "" if features is None else f", features {features!r}"
    sets = kind.feature_sets if features is None else (features,)
    run_checks(who, KindSubject(kind, values, preprocess or kind.preprocessor, rate, sets), KIND_CHECKS, checks)
