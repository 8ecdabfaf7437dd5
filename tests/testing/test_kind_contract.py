"""The contract of kinds and preprocessors: each by checks, and for each check a broken kind that it must reject."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from rows_of_kinds import N_ROWS, rows_of_kind

from profuse import register
from profuse.data.dataset import ModalityData
from profuse.data.features import FEATURES, Features, features_named
from profuse.data.features.described import DescribedFeatures
from profuse.data.preprocess import PREPROCESSORS, preprocessor
from profuse.data.preprocess.features import FeaturePreprocessor
from profuse.data.preprocess.vector import VectorPreprocessor
from profuse.errors import DataError
from profuse.kinds import KINDS, Corruption, Kind, kind_named
from profuse.testing import KIND_CHECKS, ContractError, check_kind
from profuse.tokens import Raw

CLOUDS = [np.random.default_rng(0).normal(size=(3 + i % 4, 3)) for i in range(N_ROWS)]


class Clouds(Kind):
    """Clouds of points, `[point, 3]`."""

    name = "test_clouds"

    def check(self, value: Any) -> np.ndarray:
        try:
            points = np.asarray(value, dtype=np.float32)
        except TypeError:
            raise DataError(f"a cloud must be numbers; got {type(value).__name__}") from None
        if points.ndim != 2 or points.shape[1] != 3:
            raise DataError(f"a cloud must be [point, 3]; got shape={points.shape}")
        return points

    def features(self, value: np.ndarray) -> np.ndarray:
        return np.concatenate([value.mean(0), value.std(0)])


def checked(name: str, check: str, part: str | None = None, what: str = "preprocessor") -> None:
    rate = 8000 if kind_named(name).has_rate else None
    values = CLOUDS if name == Clouds.name else rows_of_kind(name)
    preprocess, features = (part, None) if what == "preprocessor" else (None, part)
    check_kind(name, values, preprocess=preprocess, features=features, rate=rate, checks=[check])


@pytest.mark.parametrize(("name", "check"), list(product(KINDS, KIND_CHECKS)))
def test_the_kind_keeps_the_contract(name: str, check: str) -> None:
    checked(name, check)


@pytest.mark.parametrize("name", FEATURES)
def test_the_features_keep_the_contract(name: str) -> None:
    register("kind", "test_clouds", Clouds())
    (kind, *_) = [kind for kind in KINDS if features_named(name).accepts(kind)]
    for check in ("features_describe", "state_survives_saving", "absent_content_ignored"):
        checked(kind, check, name, "features")


@pytest.mark.parametrize(("name", "check"), list(product(PREPROCESSORS, KIND_CHECKS)))
def test_the_preprocessor_keeps_the_contract(name: str, check: str) -> None:
    register("kind", "test_clouds", Clouds())
    (kind, *_) = [kind for kind in KINDS if preprocessor(name).accepts(kind)]
    checked(kind, check, name)


# -- broken ones


class CalledNothing(Clouds):
    noun = ""


class TakesWhatIsThere(Clouds):
    def read_arrays(self, given: Any) -> ModalityData:
        data = super().read_arrays(given)
        return ModalityData(data.kind, data.values, np.ones(len(data), dtype=bool))


class ReadsAnything(Clouds):
    def check(self, value: Any) -> np.ndarray:
        return np.zeros((2, 3)) if type(value) is object else super().check(value)


class JoinsTheWrongWay(Clouds):
    def concatenate(self, name: str, first: ModalityData, second: ModalityData) -> ModalityData:
        return super().concatenate(name, second, first)


class SeesTheBatch(FeaturePreprocessor):
    def transform(self, data: ModalityData) -> Raw:
        raw = super().transform(data)
        return Raw(raw.values + torch.arange(len(raw))[:, None], raw.mask)


class ReadsAbsentRows(VectorPreprocessor):
    @classmethod
    def accepts(cls, name: str) -> bool:
        return name == "test_clouds"

    def fit(self, data: ModalityData) -> None:
        means = np.stack([np.zeros(3) if v is None else v.mean(0) for v in data.values])
        super().fit(ModalityData("vector", means, np.ones(len(means), dtype=bool)))

    def transform(self, data: ModalityData) -> Raw:
        means = np.stack([np.zeros(3) if v is None else v.mean(0) for v in data.values])
        return super().transform(ModalityData("vector", means, data.present))


class ForgetsItsState(FeaturePreprocessor):
    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Any:
        return super().from_state({**state, "vector": {**state["vector"], "mean": state["vector"]["mean"] + 1}})


class TellsTheSame(DescribedFeatures):
    def transform(self, data: ModalityData) -> np.ndarray:
        return np.where(data.present[:, None], 0.0, np.nan)


class GivesNaN(FeaturePreprocessor):
    def transform(self, data: ModalityData) -> Raw:
        raw = super().transform(data)
        return Raw(raw.values.masked_fill(raw.values > 1, float("nan")), raw.mask)


def _changed(data: ModalityData, change: Any, rows: Any) -> Any:
    values = data.values.copy()
    for i in rows:
        values[i] = change(data.values[i])
    return values


def _noise(change: Any) -> Any:
    return {"white": Corruption("What is called noise.", change)}


class SilentNoise(Clouds):
    corruptions = _noise(lambda data, level, draw: data.values)


class NoiseInPlace(Clouds):
    @staticmethod
    def _louder(data: ModalityData, level: float, draw: Any) -> Any:
        for i in np.flatnonzero(data.present):
            data.values[i] += draw.normal()
        return data.values

    corruptions = _noise(_louder)


class NoiseWhereNothingIs(Clouds):
    corruptions = _noise(
        lambda data, level, draw: _changed(data, lambda v: np.full((2, 3), draw.random()), range(N_ROWS))
    )


class NoiseThatWanders(Clouds):
    @staticmethod
    def _some(data: ModalityData, level: float, draw: Any) -> Any:
        there = np.flatnonzero(data.present)
        return _changed(data, lambda v: v + draw.random(), there[:3] if level < 0.5 else there[3:])

    corruptions = _noise(_some)


class NoiseWithoutSeed(Clouds):
    corruptions = _noise(lambda data, level, draw: _changed(data, lambda v: v + level, np.flatnonzero(data.present)))


class NoiseOfItsOwnMood(Clouds):
    corruptions = _noise(
        lambda data, level, draw: _changed(
            data, lambda v: v + np.random.default_rng().random(), np.flatnonzero(data.present)
        )
    )


class NoiseAtRest(Clouds):
    def corrupt(self, data: ModalityData, noise: str, level: float, draw: Any) -> ModalityData:
        return super().corrupt(data, noise, max(level, 0.1), draw)


class NoiseWithoutWords(Clouds):
    corruptions = {"white": Corruption("", Clouds.corruptions["white"].change)}


class UsualIsUnknown(Clouds):
    usual = ("drift",)


class NoiseBeyondNumbers(Clouds):
    corruptions = _noise(lambda data, level, draw: _changed(data, lambda v: v + np.nan, np.flatnonzero(data.present)))


class NoWords(Clouds):
    def describe(self, spec: Any) -> str:
        return " "


class OwnSpec(FeaturePreprocessor):
    """Its rows stay of the kind, so that the kind says how they are described."""

    def fit(self, data: ModalityData) -> None:
        super().fit(data)
        self.spec = self.spec.model_copy(update={"kind": "test_clouds"})


BROKEN: dict[str, tuple[type[Kind], type[Any]]] = {
    "declared": (CalledNothing, FeaturePreprocessor),
    "rows_are_read": (TakesWhatIsThere, FeaturePreprocessor),
    "nonsense_raises": (ReadsAnything, FeaturePreprocessor),
    "joins": (JoinsTheWrongWay, FeaturePreprocessor),
    "prepares": (Clouds, SeesTheBatch),
    "absent_content_ignored": (Clouds, ReadsAbsentRows),
    "state_survives_saving": (Clouds, ForgetsItsState),
    "features_describe": (Clouds, TellsTheSame),
    "encodes": (Clouds, GivesNaN),
    "corrupts": (SilentNoise, OwnSpec),
    "described": (NoWords, OwnSpec),
}


def test_every_check_has_something_broken_that_it_must_reject() -> None:
    assert set(BROKEN) == set(KIND_CHECKS)


@pytest.mark.parametrize("check", KIND_CHECKS)
def test_the_check_rejects_what_is_broken(check: str) -> None:
    kind, broken = BROKEN[check]
    register("kind", "test_clouds", kind())
    what = "features" if issubclass(broken, Features) else "preprocessor"
    register(what, "broken", type("Broken", (broken,), {}))
    with pytest.raises(ContractError, match=f"^Kind 'test_clouds', {what} 'broken', {check}: "):
        checked("test_clouds", check, "broken", what)


class LooksAtTheBatch(DescribedFeatures):
    def transform(self, data: ModalityData) -> np.ndarray:
        x = super().transform(data)
        return np.asarray(x - np.nanmean(x, axis=0))


class ForgetsItsFeatures(DescribedFeatures):
    def transform(self, data: ModalityData) -> np.ndarray:
        return np.asarray(super().transform(data) + self._n_channels)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Any:
        return super().from_state({**state, "n_channels": 0})


class LearnsFromAbsentRows(DescribedFeatures):
    def fit(self, data: ModalityData) -> None:
        super().fit(data)
        self.offset = float(np.mean([v.mean() for v in data.values if v is not None]))

    def transform(self, data: ModalityData) -> np.ndarray:
        return np.asarray(super().transform(data) + self.offset)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        ("features_describe", LooksAtTheBatch),
        ("state_survives_saving", ForgetsItsFeatures),
        ("absent_content_ignored", LearnsFromAbsentRows),
    ],
)
def test_the_check_rejects_broken_features_too(check: str, broken: type[Features]) -> None:
    register("kind", "test_clouds", Clouds())
    register("features", "broken", type("Broken", (broken,), {}))
    with pytest.raises(ContractError, match=f"^Kind 'test_clouds', features 'broken', {check}: "):
        checked("test_clouds", check, "broken", "features")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (SilentNoise, "level 0.9 must change rows"),
        (NoiseInPlace, "must be left as they are; they were changed in place"),
        (NoiseWhereNothingIs, "what is missing must stay as it is"),
        (NoiseThatWanders, "rows that level 0.3 changes must be changed at 0.9"),
        (NoiseWithoutSeed, "must be another at another seed"),
        (NoiseOfItsOwnMood, "must be the same at the same seed"),
        (NoiseAtRest, "level 0 must change nothing"),
        (NoiseWithoutWords, "must have a description of one line"),
        (UsualIsUnknown, "usual must name some of the corruptions"),
        (NoiseBeyondNumbers, "no row may become missing|must be finite"),
    ],
)
def test_the_check_of_noise_rejects_every_way_of_being_broken(broken: type[Kind], message: str) -> None:
    register("kind", "test_clouds", broken())
    with pytest.raises(ContractError, match=message):
        checked("test_clouds", "corrupts")


@pytest.mark.parametrize("check", KIND_CHECKS)
def test_the_honest_kind_passes(check: str) -> None:
    register("kind", "test_clouds", Clouds())
    checked("test_clouds", check)


class StandardisesTheRowsGiven(FeaturePreprocessor):
    """The same in any order, but another row beside other rows: a leak from test rows."""

    def transform(self, data: ModalityData) -> Raw:
        raw = super().transform(data)
        there = raw.values[raw.mask]
        return Raw((raw.values - there.mean(0)).masked_fill(~raw.mask[:, None], 0.0), raw.mask)


def test_statistics_of_the_rows_that_are_transformed_are_noticed() -> None:
    register("kind", "test_clouds", Clouds())
    register("preprocessor", "broken", StandardisesTheRowsGiven)
    with pytest.raises(ContractError, match="must be the same without the other rows; got others"):
        checked("test_clouds", "prepares", "broken")


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="^check_kind: values must be at least 8 rows; got 3"):
        check_kind("vector", np.zeros((3, 2)))
