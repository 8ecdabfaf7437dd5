"""Other encoders as rows of a comparison, alone and in the default fusion, and in portfolios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import profuse
from profuse import register
from profuse.comparison.methods import methods_for
from profuse.data.split import make_split
from profuse.encoders import reader_for
from profuse.errors import ConfigError, UnknownNameError
from profuse.inputs import with_encoders
from profuse.models.options import ModelOptions
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import members_of
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import load_model
from profuse.schema import SplitOptions
from profuse.training.alternatives import others_than, short_names
from profuse.training.fitting import Prepared
from profuse.training.options import TrainOptions


def letters(texts: list[str]) -> np.ndarray:
    """How often each vowel stands in a text."""
    return np.array([[text.count(letter) for letter in "aeiou"] for text in texts], dtype=float)


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path / "cache"))
    register("embedding", "letters", letters)


def data(n: int = 80) -> Any:
    rng = np.random.default_rng(0)
    words = [" ".join("".join(rng.choice(list("aeioubcdfg"), 4)) for _ in range(4)) for _ in range(n)]
    target = [text.count("a") > 1 for text in words]
    return profuse.from_tensors({"t": words, "x": rng.normal(size=(n, 2))}, target)


def rows(**given: Any) -> dict[str, Any]:
    made, _ = methods_for(("t", "x"), (), rounds=(2,), base=ModelOptions(), task="binary", **given)
    return {m.name: m for m in made}


def test_each_is_a_row_alone_and_in_the_default_fusion() -> None:
    before, made = rows(), rows(others={"t": ("letters", "words+letters")})
    new = ["t only, letters", "t only, words+letters", "hybrid concat, t: letters", "hybrid concat, t: words+letters"]
    assert set(made) - set(before) == set(new)
    assert [made[name].role for name in new] == ["single", "single", "fusion", "fusion"]
    assert [made[name].model.encoders for name in new[::2]] == [{"t": "letters"}] * 2
    assert made["hybrid concat, t: letters"].info().level == "hybrid"
    assert not any(made[name].default for name in new)
    assert all(made[name] == before[name] for name in before)


def test_what_all_models_have_is_no_other_row_and_options_of_one_encoder_are_not_those_of_another() -> None:
    asked = others_than({"t": "static"}, {"t": ("words", "static", "words"), "x": ("mlp",)})
    assert asked == {"t": ("words",), "x": ("mlp",)}
    base = ModelOptions(encoder_options={"t": {"n_blocks": 2}, "x": {"dropout": 0.0}})
    made, _ = methods_for(("t", "x"), (), rounds=(), base=base, task="binary", others={"t": ("letters",)})
    model = {m.name: m for m in made}["hybrid concat, t: letters"].model
    assert model is not None
    assert model.encoder_options == {"x": {"dropout": 0.0}}


def test_folders_are_called_by_their_last_part_where_that_tells_them_apart() -> None:
    names = {"hf:/a/minilm": "hf:minilm", "words+hf:/a/minilm": "words+hf:minilm", "static": "static"}
    assert short_names(names) == names
    assert short_names(["hf:/a/m", "hf:/b/m/"]) == {"hf:/a/m": "hf:/a/m", "hf:/b/m/": "hf:/b/m/"}


def test_an_encoder_reads_what_it_needs_else_the_default_else_what_is_named() -> None:
    text = data().modalities["t"]
    assert reader_for("letters", text) == "letters"
    assert reader_for("words", text) == "subwords"
    named = with_encoders(data(), {"t": "letters"}, who="test").modalities["t"]
    assert reader_for("words", named) == "subwords"
    assert reader_for("mlp", named) == "letters"
    with pytest.raises(ConfigError, match="must take the kind of its modality, 'text'; got 'mlp', which does not"):
        reader_for("mlp", text)


def test_a_fit_reads_the_rows_of_its_own_encoder_and_all_others_are_as_before() -> None:
    rows, options = data(), ModelOptions(width=8)
    prepared = Prepared.make(rows, make_split(rows, SplitOptions(), seed=0)).also({"t": ("letters",)}, options)
    assert prepared.reading({}) is prepared
    other = prepared.reading({"t": "letters"})
    assert prepared.pipeline.names == {"t": "subwords", "x": "vector"}
    assert other.pipeline.names == {"t": "letters", "x": "vector"}
    assert other.inputs["x"] is prepared.inputs["x"]
    assert other.inputs["t"].values.shape == (80, 5)
    learned = prepared.split.train
    assert abs(float(other.inputs["t"].values[learned].mean())) < 1e-6  # statistics are of training rows


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"t": "wordz"}, ConfigError, "encoder must be a known name; got encoder='wordz'"),
        ({"u": "words"}, UnknownNameError, "modality='u'"),
        ({"x": "words"}, ConfigError, "must take the kind of its modality, 'vector'; got 'words'"),
    ],
)
def test_what_cannot_be_compared_is_told_before_any_fit(asked: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        profuse.compare(data(), encoders=asked, seeds=1)


@pytest.mark.slow
@pytest.mark.usefixtures("few_classical")
def test_a_comparison_fits_saves_and_predicts_with_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [" ".join("".join(rng.choice(list("aeioubcdfg"), 4)) for _ in range(4)) for _ in range(80)]
    frame = pd.DataFrame({"t": words, "x": rng.normal(size=80), "y": [text.count("a") > 1 for text in words]})
    found = profuse.compare(
        frame, "y", encoders={"t": "letters, words+letters"}, seeds=1, rounds=(), n_jobs=1, out=tmp_path / "o",
        schema={"columns": {"t": "text"}}, model={"width": 8}, train={"epochs": 1}, retrain_without=False,
    )  # fmt: skip
    scores = found.frame
    assert {"t only", "t only, letters", "hybrid concat", "hybrid concat, t: words+letters"} <= set(scores.method)
    assert found.results.skipped == []
    for row, reader in (("hybrid concat, t: letters", "letters"), ("hybrid concat", "subwords")):
        (folder,) = (f for f in (tmp_path / "o" / "work").glob("hybrid_concat*-seed0-*") if _named(f, row))
        model = load_model(folder / "model")
        assert model.pipeline.names["t"] == reader
        assert model.predict(frame.drop(columns="y")).shape == (80,)
    assert "t alone, letters" in found.report(tmp_path / "r.html").read_text(encoding="utf-8")


def _named(folder: Path, method: str) -> bool:
    return f'"method": "{method}"' in (folder / "result.json").read_text(encoding="utf-8")


def test_a_portfolio_has_a_network_of_each_but_a_quick_one() -> None:
    networks = [m.name for m in members_of(("t",), "default", ModelOptions(), (), {"t": ("words+hf:/a/b",)}) if m.model]
    assert networks == ["network", "network (t: words+hf:b)"]
    assert not members_of(("t",), "quick", ModelOptions(), (), {"t": ("static",)})


def test_a_portfolio_tells_a_modality_that_is_not_there() -> None:
    with pytest.raises(UnknownNameError, match="encoders: modality must be a known name; got modality='u'"):
        profuse.fit({"t": data().modalities["t"].values.tolist()}, data().target, encoders={"u": "words"})


@pytest.mark.slow
def test_members_of_a_portfolio_read_each_its_own_rows_also_when_it_is_loaded(tmp_path: Path) -> None:
    rows, options = data(), PortfolioOptions(encoders={"t": ("letters",)}, folds=2)
    base, train = ModelOptions(width=8), TrainOptions(epochs=1)
    members = [m for m in members_of(("t", "x"), "default", base, (), {"t": ("letters",)}) if m.model]
    made = fit_portfolio(rows, options, base, train, members=members, keep_all=True)
    names = [p.pipeline.names["t"] for p in made.predictors]
    assert sorted(names) == ["letters", "letters", "subwords", "subwords"]
    made.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_encoded(again.encode(rows)), made.predict_encoded(made.encode(rows)))
