"""A kind of one's own, in one class: from the names of files in a table to results and a saved model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from not_none import not_none

from profuse import FusionClassifier, compare, load_model
from profuse.cli._found import _question
from profuse.comparison.methods import Method
from profuse.comparison.parts import fingerprints
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.preprocess.features import FeaturePreprocessor
from profuse.data.table.infer import infer
from profuse.data.table.schema_file import load_schema
from profuse.data.tensors import from_tensors
from profuse.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from profuse.imputation import Imputer
from profuse.inspect.corrupt import corrupt
from profuse.kinds import KINDS, Kind, Spec, kind_named
from profuse.kinds.noise.corruption import spread
from profuse.models.options import ModelOptions
from profuse.registry import register, table
from profuse.retrieval import Retriever
from profuse.schema import Modality, Schema
from profuse.training.options import TrainOptions


class Clouds(Kind):
    """Clouds of points, `[point, 3]`."""

    name = "clouds"
    noun = "clouds of points"
    suffixes = (".xyz.npy",)

    def check(self, value: Any) -> np.ndarray:
        cloud = np.asarray(value, dtype=np.float32)
        if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) == 0:
            raise DataError(f"a cloud must be [point, 3]; got shape {cloud.shape}")
        return cloud

    def read_file(self, path: Path, tell: Callable[[str], None]) -> Any:
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"the cloud cannot be read ({error})") from error

    def features(self, value: np.ndarray) -> np.ndarray:
        return np.concatenate([value.mean(0), np.ptp(value, axis=0)])


N_ROWS = 60


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register("kind", "clouds", Clouds())
    yield
    table("kind").registered.pop("clouds")


@pytest.fixture
def clouds() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(i % 2, 1, (int(rng.integers(5, 20)), 3)).astype(np.float32) for i in range(N_ROWS)]


@pytest.fixture
def frame(clouds: list[np.ndarray], tmp_path: Path) -> pd.DataFrame:
    for i, cloud in enumerate(clouds):
        np.save(tmp_path / f"c{i}.xyz.npy", cloud)
    names: list[str | None] = [f"c{i}.xyz.npy" for i in range(N_ROWS)]
    names[3] = None
    size = np.random.default_rng(1).normal(size=N_ROWS)
    return pd.DataFrame({"cloud": names, "size": size, "y": ["ab"[i % 2] for i in range(N_ROWS)]})


def test_a_column_of_its_files_is_of_its_kind_by_the_longest_ending_that_fits(frame: pd.DataFrame) -> None:
    schema = infer(frame).schema
    assert schema.modalities["cloud"] == Modality(kind="clouds", columns=("cloud",))
    series = frame.assign(cloud=[f"c{i}.npy" for i in range(N_ROWS)])
    assert infer(series).schema.modalities["cloud"].kind == "series"


@pytest.mark.slow
def test_it_goes_from_a_table_with_file_names_through_compare_into_a_saved_model(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    made = compare(
        path, "y", fusions=["concat"], rounds=(), seeds=1, train={"epochs": 2}, out=tmp_path / "out", n_jobs=1
    )
    facts = made.results.dataset.modalities["cloud"]
    assert (facts.kind, facts.shape, facts.encoder) == ("clouds", "6 channels", "default")
    assert facts.present_fraction == pytest.approx(59 / 60)
    assert made.results.skipped == []
    assert "cloud only" in {method.name for method in made.results.methods}
    model = next((tmp_path / "out" / "models").iterdir())
    loaded = load_model(model)
    assert {name: p.takes for name, p in loaded.pipeline.preprocessors.items()} == {"table": "table", "cloud": "clouds"}


def test_an_estimator_is_fitted_saved_and_loaded_with_it(frame: pd.DataFrame, tmp_path: Path) -> None:
    X, y = frame.drop(columns="y"), frame["y"]
    model = FusionClassifier(fusion="concat", epochs=2, base_dir=tmp_path).fit(X, y)
    model.save(tmp_path / "saved")
    again = FusionClassifier.load(tmp_path / "saved")
    again.base_dir = tmp_path
    assert np.array_equal(model.predict_proba(X), again.predict_proba(X))
    assert dict(not_none(again.schema_).modalities)["cloud"].kind == "clouds"


def test_a_saved_model_names_the_kind_that_is_not_registered_here(frame: pd.DataFrame, tmp_path: Path) -> None:
    X, y = frame.drop(columns="y"), frame["y"]
    FusionClassifier(fusion="concat", epochs=1, base_dir=tmp_path).fit(X, y).save(tmp_path / "saved")
    points = table("kind").registered.pop("clouds")
    try:
        with pytest.raises(CheckpointError, match=r"be known here.*kind='clouds'.*import the module"):
            load_model(tmp_path / "saved")
    finally:
        register("kind", "clouds", points)
    assert load_model(tmp_path / "saved").modalities


def test_an_imputer_fills_numbers_from_it_and_copies_its_cells(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["size"] = np.arange(N_ROWS) % 2 + 0.01 * frame["size"]
    frame.loc[[7, 20], "size"] = np.nan
    rows = frame.drop(columns="y")
    numbers = Imputer("table", base_dir=tmp_path, method="ridge").fit(rows).fill(rows)
    assert (numbers.table["size"][[7, 20]].round() == [1.0, 0.0]).all()
    clouds = Imputer("cloud", base_dir=tmp_path, method="nearest").fit(rows).fill(rows)
    assert clouds.table["cloud"][3].endswith(".xyz.npy")


@pytest.mark.slow
def test_a_retriever_is_asked_by_the_name_of_a_file_of_it(frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = frame[["cloud"]].assign(words=[f"a text of {'many' if i % 2 else 'few'} words, {i}" for i in range(N_ROWS)])
    retriever = Retriever(epochs=1, base_dir=tmp_path).fit(rows)
    asked = _question(retriever, "cloud", str(tmp_path / "c5.xyz.npy"))
    read = retriever.read(asked, ["cloud"]).modalities["cloud"]
    assert (read.kind, len(read)) == ("clouds", 1)
    assert np.array_equal(read.values[0], np.load(tmp_path / "c5.xyz.npy"))


def test_arrays_in_python_are_of_it_where_it_is_named(clouds: list[np.ndarray]) -> None:
    values = [None, *clouds[1:]]
    by_kinds = from_tensors({"cloud": values}, kinds={"cloud": "clouds"}).modalities["cloud"]
    by_pair = from_tensors({"cloud": ("clouds", values)}).modalities["cloud"]
    for data in (by_kinds, by_pair):
        assert data.kind == "clouds"
        assert not data.present[0]
        assert data.present[1:].all()
        assert np.array_equal(data.values[5], clouds[5])


def test_an_estimator_takes_arrays_of_it_by_the_kind_of_training(clouds: list[np.ndarray]) -> None:
    X = {"cloud": ("clouds", clouds), "z": np.arange(N_ROWS)[:, None] / N_ROWS}
    model = FusionClassifier(fusion="concat", epochs=1).fit(X, np.arange(N_ROWS) % 2)
    assert np.array_equal(model.predict_proba(X), model.predict_proba({**X, "cloud": clouds}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.zeros((4, 3)), np.zeros((4, 2))], r"modality 'cloud', row 1 .*\[point, 3\]; got shape \(4, 2\)"),
        (["a", "b"], "modality 'cloud', row 0 .*Correct it"),
        (pd.DataFrame({"a": [1, 2]}), "clouds of points must be an array or a list, rows first"),
    ],
)
def test_arrays_that_are_none_are_told_with_their_row(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_tensors({"cloud": values}, kinds={"cloud": "clouds"})


def test_a_file_that_cannot_be_read_is_told_with_row_and_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "c5.xyz.npy").write_bytes(b"no array")
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"row 5 .*column 'cloud': clouds of points must be readable.*c5\.xyz\.npy"):
        compare(path, "y", fusions=["concat"], seeds=1, train={"epochs": 1})


def test_features_of_another_number_in_one_row_are_told(clouds: list[np.ndarray]) -> None:
    class Uneven(Clouds):
        name = "clouds"

        def features(self, value: np.ndarray) -> np.ndarray:
            return value.ravel()

    table("kind").registered["clouds"] = Uneven()
    table("kind")._loaded.pop("clouds", None)
    data = from_tensors({"cloud": clouds}, kinds={"cloud": "clouds"}).modalities["cloud"]
    with pytest.raises(DataError, match=r"features of kind 'clouds' must be \[channel\], as many in every row"):
        FusionClassifier(fusion="concat", epochs=1).fit(
            Dataset("d", {"cloud": data, "b": data}, np.arange(N_ROWS) % 2, "binary")
        )


def test_rows_of_another_kind_than_in_training_are_no_rows_of_it(clouds: list[np.ndarray]) -> None:
    data = from_tensors({"cloud": clouds}, kinds={"cloud": "clouds"}).modalities["cloud"]
    fitted = FeaturePreprocessor()
    fitted.fit(data)
    again = FeaturePreprocessor.from_state(fitted.state())
    assert np.array_equal(again.transform(data).values, fitted.transform(data).values)
    with pytest.raises(DataError, match="rows must be of kind 'clouds'; got kind='series'"):
        fitted.transform(replace(data, kind="series"))


def test_a_kept_fit_holds_while_the_code_of_the_kind_does(clouds: list[np.ndarray]) -> None:
    y = np.arange(N_ROWS) % 2
    dataset = from_tensors({"cloud": clouds, "z": np.ones((N_ROWS, 2))}, y, kinds={"cloud": "clouds"})
    methods = [
        Method(name=f"{name} only", role="single", modalities=(name,), model=ModelOptions(fusion="concat"))
        for name in dataset.modalities
    ]
    of = fingerprints(methods, TrainOptions(), dataset)
    assert of["cloud only"] == [table("kind").fingerprint("clouds")]
    assert of["z only"] == []


def test_without_features_or_a_preprocessor_it_says_what_is_lacking(clouds: list[np.ndarray]) -> None:
    class Bare(Kind):
        name = "bare"

        def check(self, value: Any) -> np.ndarray:
            return np.asarray(value)

    register("kind", "bare", Bare())
    try:
        data = from_tensors({"x": clouds}, kinds={"x": "bare"}).modalities["x"]
        assert kind_named("bare").noun == "rows of kind bare"
        with pytest.raises((ConfigError, DataError), match="features"):
            FusionClassifier(fusion="concat", epochs=1).fit(
                Dataset("d", {"x": data, "z": data}, np.arange(N_ROWS) % 2, "binary")
            )
        with pytest.raises(ConfigError, match="Write features"):
            kind_named("bare").features(clouds[0])
    finally:
        table("kind").registered.pop("bare")


@pytest.mark.parametrize("make", [lambda n: Modality(kind=n, columns=("a",)), lambda n: Spec(kind=n)])
def test_a_name_that_is_no_kind_gets_the_near_ones(make: Callable[[str], object]) -> None:
    assert "clouds" in KINDS
    with pytest.raises(ValueError, match=r"Did you mean 'clouds'\?"):
        make("cloud")


def test_all_doors_tell_the_near_names(clouds: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kind of 'x' must be one of .*got kind='imgae'\. Did you mean 'image'\?"):
        from_tensors({"x": clouds}, kinds={"x": "imgae"})
    with pytest.raises(DataError, match=r"kind must be one of .*Did you mean 'audio'\?"):
        ModalityData("audoi", np.zeros(2), np.ones(2, dtype=bool))
    with pytest.raises(UnknownNameError, match="Did you mean 'series'"):
        kind_named("serie")
    path = tmp_path / "schema.yaml"
    path.write_text("columns: {cloud: cloud}\nmodalities: {a: {kind: vectro, columns: [b]}}")
    with pytest.raises(ConfigError, match=r"Did you mean 'vector'.*columns\.cloud.*did you mean 'clouds'"):
        load_schema(path)


def test_a_schema_can_name_it_for_a_column_or_a_modality(frame: pd.DataFrame) -> None:
    for given in (
        Schema(columns={"cloud": "clouds"}),
        Schema(modalities={"shape": Modality(kind="clouds", columns=("cloud",))}),
    ):
        resolved = infer(frame.assign(cloud=[f"c{i}.npy" for i in range(N_ROWS)]), given).schema
        assert "clouds" in {m.kind for m in resolved.modalities.values()}


def test_its_rows_get_white_noise_where_it_names_no_other(clouds: list[np.ndarray]) -> None:
    data = from_tensors({"cloud": clouds, "z": np.zeros((N_ROWS, 2))}, np.arange(N_ROWS) % 2, kinds={"cloud": "clouds"})
    changed = corrupt(data, "cloud", 0.5, seed=0).modalities["cloud"]
    moved = np.concatenate([a - b for a, b in zip(changed.values, data.modalities["cloud"].values, strict=True)])
    unit = spread(np.concatenate([v.ravel() for v in data.modalities["cloud"].values])[:, None])[0]
    assert moved.std() == pytest.approx(0.5 * unit, rel=0.15)
    assert [v.shape for v in changed.values] == [v.shape for v in clouds]
    with pytest.raises(UnknownNameError, match="noise must be a known name; got noise='drift'"):
        corrupt(data, "cloud", 0.5, seed=0, noise="drift")
