"""`profuse.compare`: every door, options, and what comes back."""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import profuse
from profuse._fields import text
from profuse.comparison.compare import compare, read_options
from profuse.comparison.options import CompareOptions
from profuse.errors import ConfigError, DataError, ProfuseError
from profuse.fusion import Fusion
from profuse.fusion.encoder_decoder.mean import Mean
from profuse.inputs import open_data
from profuse.models.fusion_model import FusionModel
from profuse.predictor import NetworkPredictor
from profuse.schema import SplitOptions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]

QUICK: dict[str, Any] = {
    "seeds": 1, "rounds": (), "fusions": ["mean"], "train": {"epochs": 1}, "model": {"width": 8}, "n_jobs": 1,
    "retrain_without": False,
}  # fmt: skip
WITHOUT_PATHS = {"width": 8, "encoder_options": {name: {"linear_path": False} for name in "ab"}}  # an operator tells


def tensors(n: int = 90) -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(n, 3))
    return {"a": a, "b": torch.as_tensor(rng.normal(size=(n, 2)))}, (a[:, 0] > 0).astype(int)


def table(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return pd.DataFrame({"x": x, "colour": rng.choice(["red", "blue"], n), "y": np.where(x > 0, "p", "q")})


@pytest.fixture(scope="module")
def found() -> profuse.Comparison:
    return profuse.compare(*tensors(), **QUICK)


def test_a_dict_of_tensors_gives_results_and_a_tidy_frame(found: profuse.Comparison) -> None:
    assert isinstance(found.results, profuse.Results)
    assert found.out is None
    frame = found.frame
    assert set(frame.method) >= {"trivial", "a only", "b only", "hybrid concat", "concat", "mean", "linear"}
    assert not frame.duplicated(["method", "seed", "split", "metric"]).any()
    assert found.summary().rows[0].estimate.value <= 1
    assert "Comparison('tensors'" in repr(found)


def test_the_report_goes_where_it_is_asked_for(found: profuse.Comparison, tmp_path: Path) -> None:
    assert found.report(tmp_path / "new" / "mine.html") == tmp_path / "new" / "mine.html"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["mine.html"]
    assert "<html" in (tmp_path / "new" / "mine.html").read_text(encoding="utf-8")
    assert found.report(tmp_path / "folder") == tmp_path / "folder" / "report.html"
    with pytest.raises(ConfigError, match="a path must be given"):
        found.report()


def test_every_door_opens(tmp_path: Path) -> None:
    frame = table()
    frame.to_csv(tmp_path / "mine.csv", index=False)
    inputs, y = frame[["x", "colour"]], frame["y"]
    doors = {
        "file": open_data(tmp_path / "mine.csv", "y"),
        "frame": open_data(frame, "y"),
        "frame and values": open_data(inputs, y),
        "schema": open_data(frame, schema={"target": {"columns": ["y"]}}),
    }
    for opened in doors.values():
        assert opened.dataset.target is not None
        assert opened.dataset.target.tolist() == y.tolist()
        assert opened.dataset.task == "binary"
        assert opened.schema is not None
        assert list(opened.dataset.modalities["table"].values.columns) == ["x", "colour"]
    dataset = profuse.from_tensors(*tensors(), name="mine")
    assert open_data(dataset).dataset is dataset
    assert open_data(dataset, name="other").dataset.name == "other"


def test_a_test_file_is_the_test_part(tmp_path: Path) -> None:
    table(60).to_csv(tmp_path / "mine.csv", index=False)
    table(20).to_csv(tmp_path / "test.csv", index=False)
    opened = open_data(tmp_path / "mine.csv", "y", test=tmp_path / "test.csv")
    assert opened.dataset.split is not None
    assert (opened.dataset.split == "test").sum() == 20


def test_a_split_that_is_asked_for_wins_over_the_schemas() -> None:
    frame = table().assign(shop=np.arange(60) % 6)
    schema = {"target": {"columns": ["y"]}, "split": {"method": "random", "test_size": 0.4}}
    assert open_data(frame, schema=schema).split.test_size == 0.4
    asked = open_data(frame, schema=schema, split=SplitOptions(method="group", column="shop"))
    assert asked.split.method == "group"
    assert asked.dataset.groups is not None


def test_what_is_not_asked_for_of_a_split_stays_the_schemas() -> None:
    """An option on the command line must not make a column of groups an input, whose rows then leak."""
    frame = table().assign(shop=np.arange(60) % 6)
    schema = {"target": {"columns": ["y"]}, "split": {"method": "group", "column": "shop", "test_size": 0.4}}
    for asked, told in (
        (SplitOptions(test_size=0.3), {"method": "group", "column": "shop", "test_size": 0.3}),
        (SplitOptions(test_size=0.2), {"method": "group", "column": "shop", "test_size": 0.2}),
        (SplitOptions(method="group"), {"method": "group", "column": "shop", "test_size": 0.4}),
        (SplitOptions(), {"method": "group", "column": "shop", "test_size": 0.4}),
        (None, {"method": "group", "column": "shop", "test_size": 0.4}),
    ):
        opened = open_data(frame, schema=schema, split=asked)
        assert opened.split.model_dump(exclude={"valid_size"}) == told
        assert opened.dataset.groups is not None
        assert "shop" not in opened.dataset.modalities["table"].values
    by_time = {"target": {"columns": ["y"]}, "split": {"method": "time", "column": "day"}}
    by_column = {"target": {"columns": ["y"]}, "split": {"column": "shop"}}
    days = frame.assign(day=pd.date_range("2020-01-01", periods=60))
    for told, asked, method, column in (
        (schema, SplitOptions(column="day"), "auto", "day"),  # which then is by time
        (by_time, SplitOptions(column="shop"), "auto", "shop"),
        (schema, SplitOptions(column="shop"), "group", "shop"),
        (schema, SplitOptions(method="random"), "random", "shop"),
        (schema, SplitOptions(method="time", column="day"), "time", "day"),
        (by_time, SplitOptions(method="random"), "random", None),  # a group of each day would hold nothing together
        (by_time, SplitOptions(method="auto"), "auto", None),
        (by_column, SplitOptions(method="group"), "group", "shop"),
    ):
        opened = open_data(days, schema=told, split=asked)
        assert (opened.split.method, opened.split.column) == (method, column)
    assert open_data(days, schema=schema, split=SplitOptions(column="day")).dataset.times is not None
    for told, asked in ((schema, SplitOptions(method="time")), (by_time, SplitOptions(method="group"))):
        with pytest.raises(ConfigError, match="method '(time|group)' needs its column"):
            open_data(days, schema=told, split=asked)  # the column was named for another method
    found = read_options(CompareOptions(seeds=2), {"split": {"test_size": 0.2}})
    assert found.split.model_fields_set == {"test_size"}
    assert found.seeds == 2


def test_the_defaults_in_an_earlier_config_do_not_hide_which_column_the_schema_splits_by(tmp_path: Path) -> None:
    earlier = {"data_digest": "0", **CompareOptions(seeds=2).model_dump(mode="json")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(earlier))
    options = read_options(tmp_path / "config.yaml")
    frame = table().assign(day=pd.date_range("2020-01-01", periods=60))
    schema = {"target": {"columns": ["y"]}, "split": {"method": "time", "column": "day", "valid_size": 0.3}}
    opened = open_data(frame, schema=schema, split=options.split)
    assert opened.split.model_dump() == {"method": "time", "column": "day", "test_size": 0.2, "valid_size": 0.2}


def test_an_earlier_config_repeats_its_comparison(tmp_path: Path) -> None:
    frame = table().assign(shop=np.arange(60) % 6)
    schema = {"target": {"columns": ["y"]}, "split": {"method": "random", "test_size": 0.3}}
    for asked in ({"test_size": 0.2}, {"method": "group", "column": "shop"}, {"valid_size": 0.4}):
        opened = open_data(frame, schema=schema, split=SplitOptions(**asked))
        config = {"data_digest": "0", **CompareOptions(split=opened.split).model_dump(mode="json")}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        again = open_data(frame, schema=schema, split=read_options(tmp_path / "config.yaml").split)
        assert again.split == opened.split


def test_what_stands_in_a_users_file_counts_as_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("split: {method: auto, test_size: 0.2}\n")
    schema = {"target": {"columns": ["y"]}, "split": {"method": "random", "test_size": 0.3}}
    opened = open_data(table(), schema=schema, split=read_options(tmp_path / "mine.yaml").split)
    assert (opened.split.method, opened.split.test_size) == ("auto", 0.2)


@pytest.mark.parametrize("data", ["glyphs", "a dict"])
def test_a_column_to_split_by_is_refused_where_there_are_none(data: str) -> None:
    inputs, y = tensors()
    door = (data, None) if data == "glyphs" else (inputs, y)
    with pytest.raises(ConfigError, match=r"split\.column must not be given with"):
        open_data(*door, split=SplitOptions(column="foo"))


def test_options_are_laid_over_each_other(tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text("seeds: 5\nmodel: {width: 32, dropout: 0.3}\n", encoding="utf-8")
    options = read_options(tmp_path / "options.yaml", {"seeds": 2, "model": {"width": 16}})
    assert (options.seeds, options.model.width, options.model.dropout) == (2, 16, 0.3)
    assert read_options(CompareOptions(trials=4), {"rounds": ()}).trials == 4
    assert read_options(None, {"rounds": ()}).rounds == ()


@pytest.mark.parametrize(("text", "message"), [
    ("seed: 5\n", r"'seed' is no option \(did you mean 'seeds'\?\)"),
    ("model: {widht: 5}\ntrain: {epochs: 0}\n", r"'model.widht' is no option .*'width'.*; train.epochs must"),
    ("[1, 2]\n", "must be names and values"),
    ("a: [\n", "must be YAML"),
])  # fmt: skip
def test_faults_of_an_options_file_are_told_together(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ProfuseError, match=message):
        read_options(tmp_path / "options.yaml")


@pytest.mark.parametrize(("data", "target", "message"), [
    ("glyfs", None, "Did you mean 'glyphs'"),
    (tensors()[0], None, "target must hold the values"),
    (tensors()[0], "y", "target must hold the values"),
    (table(), None, "Name one of the columns"),
    (table(), "yy", "no column 'yy'"),
    (table(), np.zeros(3), "60"),
    ("missing.csv", "y", "the file must exist"),
])  # fmt: skip
def test_data_that_cannot_be_opened_are_told(data: Any, target: Any, message: str) -> None:
    with pytest.raises(ProfuseError, match=message):
        open_data(data, target)


def test_what_does_not_apply_is_told_not_ignored() -> None:
    with pytest.raises(ConfigError, match="schema and test must not be given with a Dataset"):
        open_data(profuse.from_tensors(*tensors()), schema={}, test="x.csv")
    with pytest.raises(ConfigError, match="on_bad_file must be"):
        open_data(table(), "y", on_bad_file="ignore")  # type: ignore[arg-type]


def test_a_failure_leaves_no_empty_folders(tmp_path: Path) -> None:
    data, y = tensors()
    dataset = profuse.from_tensors(data, y)
    with pytest.raises(ConfigError, match="needs times"):
        profuse.compare(dataset, out=tmp_path / "a" / "b", split="time", **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_the_encoder_that_a_schema_names_is_used(tmp_path: Path) -> None:
    frame = table().assign(curve=pd.Series([[float(i), 1.0, 2.0][: 2 + i % 2] for i in range(60)]))
    schema = {"modalities": {"curve": {"columns": ["curve"], "kind": "series", "encoder": "tcn"}}}
    model = profuse.FusionClassifier(schema=schema, epochs=1, width=8).fit(frame[["x", "curve"]], frame["y"])
    network = model.predictor_.model
    assert isinstance(network, FusionModel)
    assert type(network.encoders[0]).__name__ == "DilatedEncoder"
    model.save(tmp_path / "model")
    again = profuse.FusionClassifier.load(tmp_path / "model")
    X = frame[["x", "curve"]]
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_a_target_in_another_order_is_a_mistake() -> None:
    frame = pd.DataFrame({"x": np.linspace(0, 1, 12), "z": [0.5, 1.5, 3.0] * 4})
    y = pd.Series(["a", "b"] * 6)
    with pytest.raises(
        DataError, match=r"compare: X and target must be in the same order.*Use target\.loc\[X\.index\]"
    ):
        profuse.compare(frame, y[::-1])


def test_a_wrong_number_of_rows_is_told() -> None:
    data, y = tensors()
    with pytest.raises(DataError, match="one entry a row"):
        profuse.compare(data, y[:-1], **QUICK)


# -- operators of the user's own


MINE = """
from profuse.fusion import FUSIONS
from profuse.fusion.encoder_decoder.mean import Mean

class Mine(Mean):
    __doc__ = "One of ours in another class: so it must score what ours does."
    times = {times}

    def fuse(self, tokens):
        assert FUSIONS["mine"] is Mine
        fused = super().fuse(tokens)
        return fused if self.times == 1 else type(fused)(fused.vector * self.times)
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes a module and imports it anew."""
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "modules").mkdir()

    def write(text: str) -> Any:
        (tmp_path / "modules" / "my_operators.py").write_text(text, encoding="utf-8")
        sys.modules.pop("my_operators", None)
        importlib.invalidate_caches()
        return importlib.import_module("my_operators")

    yield write
    sys.modules.pop("my_operators", None)


@pytest.mark.slow
def test_a_registered_operator_is_compared_saved_and_loaded_as_one_of_ours_is(tmp_path: Path, write: Any) -> None:
    mine = profuse.register("fusion", "mine", write(MINE.format(times=1)).Mine)
    quick = {**QUICK, "rounds": (2,), "n_jobs": 2, "fusions": ("mine", "hybrid:mine", "mean", "hybrid:mean")}
    found = profuse.compare(*tensors(), out=tmp_path / "o", **quick)
    frame = found.frame.set_index(["method", "split", "metric"])["value"]
    for prefix in ("", "progressive (2 rounds) ", "hybrid ", "progressive (2 rounds) hybrid "):
        pd.testing.assert_series_equal(frame[f"{prefix}mine"], frame[f"{prefix}mean"])
    info = found.results.method("mine")
    assert (info.family, info.level, info.role, info.modalities) == ("own", "feature", "fusion", ["a", "b"])
    (saved,) = (tmp_path / "o" / "work").glob("mine-*/model")
    loaded = profuse.load_model(saved)
    assert isinstance(loaded, NetworkPredictor)
    assert type(loaded.model.plain.fusion) is mine
    assert "mine" in found.report().read_text(encoding="utf-8")


@pytest.mark.slow
def test_worker_processes_that_live_on_use_the_code_as_it_is_now(tmp_path: Path, write: Any) -> None:
    def loss(times: int) -> float:
        profuse.register("fusion", "mine", write(MINE.format(times=times)).Mine)
        frame = profuse.compare(
            *tensors(), **{**QUICK, "n_jobs": 2, "fusions": ("mine",), "model": WITHOUT_PATHS}
        ).frame
        return float(frame[(frame.method == "mine") & (frame.metric == "log_loss")].value.iloc[0])

    first = loss(1)
    assert loss(30) != first
    assert loss(1) == first


def in_a_function() -> type[Fusion]:
    class Local(Mean):
        """It goes to other processes by value."""

    return Local


@pytest.mark.slow
def test_a_class_of_a_function_reaches_the_worker_processes() -> None:
    profuse.register("fusion", "local", in_a_function())
    found = profuse.compare(*tensors(), **{**QUICK, "fusions": ("local", "mean"), "n_jobs": 2})
    frame = found.frame.set_index(["method", "split", "metric"])["value"]
    pd.testing.assert_series_equal(frame["local"], frame["mean"])


def test_a_part_that_cannot_reach_the_worker_processes_is_told_before_anything_is_fitted() -> None:
    class Holding(Mean):
        lock = threading.Lock()

    profuse.register("fusion", "holding", Holding)
    with pytest.raises(ConfigError, match="^compare: fusion 'holding' must reach worker processes.*_thread.lock"):
        profuse.compare(*tensors(), **{**QUICK, "fusions": ("holding",), "n_jobs": 2})
    assert profuse.compare(*tensors(), **{**QUICK, "fusions": ("holding",)}).results.method("holding")


@pytest.mark.slow
def test_fits_of_an_own_operator_are_kept_until_its_code_changes(tmp_path: Path, write: Any) -> None:
    fits: list[str] = []

    def losses(times: int) -> list[float]:
        profuse.register("fusion", "mine", write(MINE.format(times=times)).Mine)
        fits.clear()

        def tell(event: Any) -> None:
            fits.extend([event.finished["method"]] if event.finished else [])

        options = {**QUICK, "fusions": ("mine", "mean"), "model": WITHOUT_PATHS}
        frame = profuse.compare(*tensors(), out=tmp_path / "o", on_event=tell, **options).frame
        return [frame[(frame.method == m) & (frame.metric == "log_loss")].value.iloc[0] for m in ("mine", "mean")]

    before = losses(1)
    assert {"mine", "mean"} <= set(fits)
    assert losses(1) == before
    assert fits == []
    after = losses(30)
    assert fits == ["mine"]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_an_own_operator_that_is_not_for_the_data_is_told() -> None:
    @profuse.register("fusion", "few")
    class Few(Mean):
        max_modalities = 1

    found = profuse.compare(*tensors(), **{**QUICK, "fusions": ("few",)})
    assert [s.reason for s in found.results.skipped] == ["takes at most 1 modalities; there are 2"]


def test_every_option_of_a_comparison_is_an_argument_of_compare_and_is_described() -> None:
    arguments = inspect.signature(compare).parameters
    told = " ".join(str(inspect.getdoc(compare)).split())
    for name, field in CompareOptions.model_fields.items():
        assert arguments[name].default is None, name
        assert f"{name}: {text(field)}" in told, name
    assert "{parameters}" not in told


@pytest.mark.parametrize(("asked", "value"), [
    ({"split": "group"}, SplitOptions(method="group")),
    ({"split": SplitOptions(test_size=0.3)}, SplitOptions(method="time", test_size=0.3)),
    ({"split": {"test_size": 0.3}}, SplitOptions(method="time", test_size=0.3)),
    ({"split": None}, SplitOptions(method="time")),
])  # fmt: skip
@pytest.mark.parametrize("base", ["split: time\n", "split: {method: time}\n"])
def test_a_split_is_laid_over_that_of_a_file(base: str, asked: dict[str, Any], value: Any, tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text(base, encoding="utf-8")
    assert read_options(tmp_path / "options.yaml", asked).split == value


@pytest.mark.parametrize("text", ["model: 5\n", "train: [1]\n"])
def test_a_part_of_a_file_that_is_no_options_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="must be a valid dictionary"):
        read_options(tmp_path / "options.yaml", {"model": {}, "train": {}})
