"""The study of Progressive Fusion: equal compute, early fusion's data, signs and units of gains, pages."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import page
import pytest
from collect import Model, Study, known
from fits import Fit, read, run
from models import TWINS, Base, Size, build, flops, size_of
from not_none import not_none
from settings import SERIES, SETTINGS, joined, mosi_in_context, pointer

from profuse.comparison.statistics import seeds_only
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import make_split
from profuse.schema import SplitOptions
from profuse.training.fitting import Prepared

pytestmark = pytest.mark.slow

FOLDER = Path(page.__file__).parent


def made(*, seed: int = 0, n_rows: int = 60) -> Dataset:
    """Two series and a vector; the target is a sum of all."""
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=(n_rows, 12, 2)), draw.normal(size=(n_rows, 12, 1))
    c = draw.normal(size=(n_rows, 3))
    there = np.ones(n_rows, dtype=bool)
    return Dataset(
        name="made",
        modalities={
            "a": ModalityData("series", a.astype(np.float32), there),
            "b": ModalityData("series", b.astype(np.float32), there),
            "c": ModalityData("vector", c.astype(np.float32), there),
        },
        target=a.sum((1, 2)) + b.sum((1, 2)) + c.sum(1),
        task="regression",
    )


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    data = made()
    return Prepared.make(data, make_split(data, SplitOptions(), seed=0))


@pytest.mark.parametrize("name", sorted(SERIES))
def test_operations_grow_by_the_same_amount_each_round(prepared: Prepared, name: str) -> None:
    base = replace(SERIES[name], early=False)
    two, three, four = (
        flops(build(prepared, base, f"{r} rounds", Size(8), seed=0), prepared.inputs) for r in (2, 3, 4)
    )
    plain = flops(build(prepared, base, "plain", Size(8), seed=0), prepared.inputs)
    assert three - two == pytest.approx(four - three, rel=1e-9)
    assert two - plain == pytest.approx(three - two, rel=1e-9)
    assert plain < two < 2.5 * plain


def test_operations_of_a_plain_model_of_vectors_are_those_of_its_matrices() -> None:
    data = made()
    data = data.select(["c"])
    one = Prepared.make(data, make_split(data, SplitOptions(), seed=0))
    model = build(one, Base("concat"), "plain", Size(8), seed=0)
    named = [*model.named_parameters(), *model.named_buffers()]
    matrices = [p for name, p in named if p.ndim == 2 and "linear_bins" not in name]  # bins work element by element
    assert flops(model, one.inputs) == sum(2 * p.numel() for p in matrices)


def test_operations_of_attention_are_counted(prepared: Prepared) -> None:
    base = SERIES["late Transformer"]

    def by_step(n_steps: int) -> float:
        short = {
            name: replace(raw, values=raw.values[:, :n_steps], mask=raw.mask[:, :n_steps])
            if raw.values.ndim == 3
            else raw
            for name, raw in prepared.inputs.items()
        }
        return flops(build(prepared, base, "plain", Size(16), seed=0), short)

    lengths = [by_step(n) for n in (4, 8, 12)]
    assert lengths[2] - lengths[1] > lengths[1] - lengths[0] > 0  # quadratic in the number of tokens


def test_a_wider_model_without_a_bottleneck_hands_on_all_it_has() -> None:
    data = pointer(0).rows(np.r_[0:50, 4_000:4_020, 5_000:5_020])
    one = Prepared.make(data, make_split(data, SplitOptions(), seed=0))
    start, base = Size(16, narrow={"items": 2}), Base("concat")
    narrow, free = (size_of(one, base, twin, start) for twin in ("wider", "wider, no bottleneck"))
    assert narrow.narrow == {"items": 2}
    assert free.narrow == {}
    costs = [flops(build(one, base, "plain", size, seed=0), one.inputs) for size in (narrow, free)]
    assert costs[1] / costs[0] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("twin", ["wider", "deeper"])
@pytest.mark.parametrize("name", ["late LSTM", "late Transformer", "MulT"])
def test_the_wider_and_the_deeper_twin_have_the_compute_of_two_rounds(prepared: Prepared, name: str, twin: str) -> None:
    base = SERIES[name]
    size = size_of(prepared, base, twin, Size(16))
    found, aim = (
        flops(build(prepared, base, t, s, seed=0), prepared.inputs) for t, s in ((twin, size), ("2 rounds", Size(16)))
    )
    assert 0.6 < found / aim < 1.7
    assert (size.width > 16) == (twin == "wider")
    assert (size.depth > 1) == (twin == "deeper")


def test_a_plain_model_and_its_twins_start_from_equal_weights(prepared: Prepared) -> None:
    plain = build(prepared, SERIES["late LSTM"], "plain", Size(8), seed=3).state_dict()
    twin = build(prepared, SERIES["late LSTM"], "3 rounds", Size(8), seed=3).model.state_dict()  # type: ignore[union-attr]
    assert plain.keys() == twin.keys()
    assert all(plain[k].equal(twin[k]) for k in plain)


def test_every_twin_that_a_setting_names_is_known() -> None:
    assert {twin for setting in SETTINGS.values() for twin in setting.twins} <= set(TWINS)


def test_early_fusion_sees_all_channels_of_a_step_at_once() -> None:
    data = made()
    one = joined(data)
    values = one.modalities["all"].values
    assert values.shape == (60, 12, 6)
    np.testing.assert_array_equal(values[..., :2], data.modalities["a"].values)
    np.testing.assert_array_equal(values[..., 2:3], data.modalities["b"].values)
    np.testing.assert_array_equal(values[:, 5, 3:], data.modalities["c"].values)
    np.testing.assert_array_equal(one.target, data.target)


def test_the_pointers_items_stand_in_the_order_of_their_keys() -> None:
    data = pointer(0)
    values, key = data.modalities["items"].values, data.modalities["pointer"].values.argmax(1)
    asked = values[np.arange(len(data)), key]
    assert np.std(data.target - asked) == pytest.approx(0.1, rel=0.05)  # what is left is the noise


def test_an_utterance_is_seen_with_those_before_it_in_its_own_video(real_data: Path) -> None:
    from profuse.datasets import load

    plain, found = load("mosi", root=real_data), mosi_in_context(0)
    groups, ids = not_none(plain.groups), not_none(plain.ids)
    for row in (0, 700, 2198):
        series = found.modalities["text"].values[row]
        np.testing.assert_array_equal(series[-1], plain.modalities["text"].values[row])
        assert 1 <= len(series) <= 8
        places = [int(np.flatnonzero((plain.modalities["text"].values == step).all(1))[0]) for step in series]
        assert {groups[p] for p in places} == {groups[row]}
        numbers = [int(ids[p].rpartition("_")[2]) for p in places]
        assert numbers == sorted(numbers)


def model(twin: str, errors: np.ndarray, *, data: str = "pointer", **facts: Any) -> Model:
    """A model that leaves these squared errors `[seed, row]`."""
    n = errors.shape[1]
    arrays = [
        {"true": np.zeros(n), "said": np.sqrt(e)[None, :, None], "rows": np.arange(n), "clusters": np.arange(n)}
        for e in errors
    ]
    base = {"n_train": 100, "modalities": ["a", "b"]}
    return Model(data, "concatenation", twin, "", [{"score": float(e.mean()), **base, **facts} for e in errors], arrays)


def test_half_the_error_is_a_gain_of_fifty_per_cent() -> None:
    draw = np.random.default_rng(0)
    errors = draw.random((5, 400)) + 0.5
    chance = 1 + 0.01 * draw.normal(size=(3, 5, 400))
    plain, half, more = errors * chance / (errors * chance).mean((1, 2), keepdims=True) * [[[1.0]], [[0.5]], [[1.1]]]
    study = Study({
        ("pointer", "concatenation", twin, ""): model(twin, e)
        for twin, e in (("plain", plain), ("2 rounds", half), ("wider", more))
    })  # fmt: skip
    gain = study.gain("pointer", "concatenation", "2 rounds")
    assert gain is not None
    assert gain.value == pytest.approx(50, rel=1e-6)
    assert 49 < gain.low < 50 < gain.high < 51
    worse = study.gain("pointer", "concatenation", "wider")
    assert worse is not None
    assert worse.value == pytest.approx(-10, rel=1e-6)
    between = study.gain("pointer", "concatenation", "2 rounds", "wider")
    assert between is not None
    assert between.value == pytest.approx(100 - 50 / 1.1, rel=1e-6)  # of the wider one's error


def twins_that_vary(draw: np.random.Generator, *, failing: bool, n_seeds: int = 3) -> Study:
    """Six twins of equal error, 5 % of chance from seed to seed; the wider one may fail on its last seed."""
    rows = draw.exponential(size=200) + 0.2
    models = {}
    for twin in ("plain", "2 rounds", "3 rounds", "4 rounds", "wider", "deeper"):
        own = rows + 0.1 * draw.exponential(size=200)
        errors = own * np.exp(0.05 * draw.normal(size=(n_seeds, 1)))
        if failing and twin == "wider":
            errors[-1] *= 10
        models["pointer", "concatenation", twin, ""] = model(twin, errors)
    return Study(models)


def test_intervals_cover_what_they_say_also_beside_a_twin_that_fails() -> None:
    draw = np.random.default_rng(0)
    for failing in (False, True):
        found = [
            twins_that_vary(draw, failing=failing).gain("pointer", "concatenation", "2 rounds") for _ in range(150)
        ]
        covered = np.mean([e is not None and e.low <= 0 <= e.high for e in found])
        assert 0.91 <= covered <= 1
        assert np.median([e.high - e.low for e in found if e is not None]) < 35


def test_a_twin_that_fails_on_one_seed_is_not_shown_to_be_worse() -> None:
    draw = np.random.default_rng(1)
    shown = 0
    for _ in range(50):
        e = twins_that_vary(draw, failing=True).gain("pointer", "concatenation", "wider")
        assert e is not None
        assert e.value < -100
        shown += e.high < 0
    assert shown <= 5


def test_accuracies_are_points_and_two_equal_models_are_not_certainly_equal() -> None:
    right = np.arange(50) % 4 > 0
    said = np.stack([~right, right], axis=1).astype(float)[None]
    true = np.ones(50, dtype=int)
    rows = {"true": true, "rows": np.arange(50), "clusters": np.arange(50)}
    facts = [{"score": 0.75, "n_train": 100}] * 2

    def one(twin: str, flipped: int) -> Model:
        other = said.copy()
        other[0, :flipped] = other[0, :flipped, ::-1]
        return Model("mosi", "late fusion", twin, "", facts, [rows | {"said": other}] * 2)

    study = Study({("mosi", "late fusion", t, ""): one(t, n) for t, n in (("plain", 0), ("2 rounds", 0), ("wider", 1))})
    same, less = (study.gain("mosi", "late fusion", t) for t in ("2 rounds", "wider"))
    assert same is not None
    assert less is not None
    assert less.value == pytest.approx(2)  # row 0 was wrong
    assert same.value == 0
    assert same.high - same.low == pytest.approx(2 * 2.01 * 100 / np.sqrt(50 * 49), rel=0.01)  # a row of disagreement


def test_robustness_is_in_hundredths_of_the_plain_models_area_and_a_shifted_curve_has_no_effective_one() -> None:
    errors = np.full((4, 10), 2.0)
    curve = np.array([2.0, 2.2, 2.4, 2.6, 2.8, 3.0])
    flat = np.full(6, 2.0)
    study = Study({
        ("pointer", "concatenation", twin, ""): model(twin, errors, noise={"a": list(c), "b": list(c), "all": list(c)})
        for twin, c in (("plain", curve), ("2 rounds", flat), ("3 rounds", curve + 1))
    })  # fmt: skip
    steady, moved = (study.robustness("pointer", "concatenation", f"{r} rounds") for r in (2, 3))
    assert steady is not None
    assert moved is not None
    assert steady[0].value == pytest.approx(20)  # an area of 2 where the plain model has 2.5
    assert steady[1].value == pytest.approx(20)
    assert moved[0].value == pytest.approx(-40)
    assert moved[1].value == pytest.approx(0, abs=1e-9)


def test_robustness_is_corrected_where_every_seed_has_a_split_of_its_own() -> None:
    draw = np.random.default_rng(0)
    curves = {twin: draw.random((3, 6)) + 1 for twin in ("plain", "2 rounds")}

    def study(shift: int) -> Study:
        models = {}
        for twin, by_seed in curves.items():
            found = model(twin, np.ones((3, 10)))
            facts = [f | {"noise": {"a": list(c), "all": list(c)}} for f, c in zip(found.facts, by_seed, strict=True)]
            arrays = [a | {"rows": a["rows"] + shift * i} for i, a in enumerate(found.arrays)]
            models["pointer", "concatenation", twin, ""] = replace(found, facts=facts, arrays=arrays)
        return Study(models)

    fixed, drawn = (study(shift).robustness("pointer", "concatenation", "2 rounds") for shift in (0, 1))
    assert fixed is not None
    assert drawn is not None
    assert drawn[1].standard_error / fixed[1].standard_error == pytest.approx(np.sqrt(1 + 3 * 10 / 100))


def test_a_probe_that_knows_the_training_mean_saves_nothing() -> None:
    true = np.array([3.0, 5.0, 4.0])
    r2 = 1 - np.mean((true - 1.0) ** 2) / true.var()  # as scikit-learn tells it, around the test rows' own mean
    one = Model("pointer", "concatenation", "plain", "", [{"probes": {"a": [r2]}, "train_mean": 1.0}], [{"true": true}])
    assert page.probed(one, 0, "a") == pytest.approx([0.0])


def test_a_letter_is_one_cluster_in_every_split() -> None:
    from profuse.datasets import load

    letters = load("glyphs").groups
    assert letters is not None
    clusters = np.concatenate([known("glyphs", seed)[0] for seed in (0, 1)])
    both = np.concatenate([letters, letters])
    pairs = set(zip(clusters.tolist(), both.tolist(), strict=True))
    assert len(pairs) == len(np.unique(letters))


@pytest.mark.slow
def test_a_fit_leaves_scores_noise_and_probes_and_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    fit = Fit("short pointer", "concatenation", "2 rounds", "", 0.003, 0)
    (tmp_path / "fits").mkdir()
    short = replace(
        SETTINGS["pointer"],
        data=lambda seed: pointer(seed).rows(np.arange(0, 10_000, 8)),
        train=SETTINGS["pointer"].train.model_copy(update={"epochs": 2}),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETTINGS, "short pointer", short)
        run(fit, tmp_path)
        facts, arrays = read(fit.file(tmp_path))
        assert facts["score_by_round"][-1] == pytest.approx(
            ((arrays["true"] - arrays["said"][-1]) ** 2).mean(), rel=1e-4
        )
        assert set(facts["noise"]) == {"items", "pointer", "all"}
        assert facts["noise"]["items"][0] == pytest.approx(facts["score"], rel=1e-6)
        run(replace(fit, twin="plain"), tmp_path)
        assert set(read(replace(fit, twin="plain").file(tmp_path))[0]["probes"]) == {"items", "pointer"}
    asked = [sys.executable, str(FOLDER / "study.py"), "nothing", "--out", str(tmp_path)]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "data must be among pointer" in refused.stderr


def test_a_difference_is_bold_only_where_its_interval_is_off_zero() -> None:
    e = seeds_only([1.0, 1.1, 0.9], n_rows=5)
    assert page.told(e).startswith("**+1.0 (+0.8")
    assert not page.told(seeds_only([1.0, -1.1, 0.9], n_rows=5)).startswith("**")
    assert page.told(None) == "-"


@pytest.mark.slow
def test_a_page_without_fits_is_refused(tmp_path: Path) -> None:
    asked = [sys.executable, str(FOLDER / "page.py"), str(tmp_path), "--page", str(tmp_path / "page.md")]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "Run study.py first" in refused.stderr
