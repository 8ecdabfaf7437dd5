"""Noise is what it says it is, and where it says it is; nothing else changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from profuse.data.split import Split
from profuse.data.tensors import from_tensors
from profuse.errors import ConfigError, ShapeError, UnknownNameError
from profuse.inspect.corrupt import corrupt
from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw
from profuse.training.fitting import Prepared
from profuse.training.loop import predict

ROWS = 400
# columns: number, code, number, number, code, number
TABLE = Spec(kind="table", cardinalities=(0, 5, 0, 0, 9, 0), edges=((),) * 6)
NUMBERS, CODES = [0, 2, 3, 5], [1, 4]
SPECS = {
    "vector": Spec(kind="vector", n_channels=7),
    "table": TABLE,
    "series": Spec(kind="series", n_channels=3, max_length=20),
    "audio": Spec(kind="audio", n_channels=5, max_length=20),
    "image": Spec(kind="image", n_channels=3, image_size=(16, 12)),
    "text": Spec(kind="text", vocabulary=500, max_length=12),
}
KINDS = list(SPECS)


def steps(n_rows: int, n: int, seed: int) -> torch.Tensor:
    """Real steps first, 1 to n of them."""
    lengths = np.random.default_rng(seed).integers(1, n + 1, n_rows)
    return torch.from_numpy(np.arange(n) < lengths[:, None])


def make(kind: str, *, n_rows: int = ROWS, absent: bool = True) -> Raw:
    """Random inputs without a single 0 where they are real; every fifth row is absent."""
    rng = np.random.default_rng(KINDS.index(kind))
    shape = {
        "vector": (7,), "table": (6,), "series": (20, 3), "audio": (20, 5), "image": (3, 16, 12), "text": (12, 4),
    }[kind]  # fmt: skip
    values = torch.from_numpy(rng.normal(size=(n_rows, *shape)).astype(np.float32))
    mask = torch.ones(n_rows, dtype=torch.bool)
    if kind in ("series", "audio", "text"):
        mask = steps(n_rows, shape[0], seed=1)
    if kind == "table":
        values[:, CODES] = torch.from_numpy(rng.integers(1, 5, (n_rows, 2)).astype(np.float32))
        mask = torch.from_numpy(rng.random((n_rows, 6)) < 0.8)
        mask[:, 0] = True
    if kind == "text":
        # every word of a row is another one, and its subwords tell which one it is
        words = torch.from_numpy(rng.permuted(np.tile(np.arange(1, 13), (n_rows, 1)), axis=1))
        values = (words[..., None] + 20 * torch.arange(4)).masked_fill(~mask[..., None], 0)
    raw = Raw(values, mask)
    return raw.without(torch.arange(n_rows) % 5 == 0) if absent else raw


def add(kind: str, level: float, *, seed: int = 0, raw: Raw | None = None) -> Raw:
    return corrupt({kind: make(kind) if raw is None else raw}, SPECS, kind, level, seed=seed)[kind]


def real(raw: Raw) -> torch.Tensor:
    """The mask over all axes of the values."""
    return raw.mask.reshape(raw.mask.shape + (1,) * (raw.values.ndim - raw.mask.ndim)).expand(raw.values.shape)


def plausible(n_hits: int | torch.Tensor, n: int | torch.Tensor, p: float) -> bool:
    return bool(stats.binomtest(int(n_hits), int(n), p).pvalue > 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_level_0_is_the_input(kind: str) -> None:
    raw = make(kind)
    same = add(kind, 0.0, raw=raw)
    assert torch.equal(same.values, raw.values)
    assert torch.equal(same.mask, raw.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_fades_to_the_input(kind: str) -> None:
    """The least level changes next to nothing: level 0 is the limit, not an exception."""
    raw = make(kind)
    near = add(kind, 1e-9, raw=raw)
    assert torch.equal(near.mask, raw.mask)
    assert float((near.values - raw.values).abs().double().mean()) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.3, 1.0])
def test_noise_changes_present_rows_only_and_no_input_in_place(kind: str, level: float) -> None:
    raw = make(kind)
    before = raw.values.clone(), raw.mask.clone()
    found = add(kind, level, raw=raw)
    assert torch.equal(raw.values, before[0])
    assert torch.equal(raw.mask, before[1])
    assert torch.equal(found.present, raw.present)
    assert found.values.shape == raw.values.shape
    assert found.values.dtype == raw.values.dtype
    assert torch.equal(found.values[~raw.present], raw.values[~raw.present])
    changed = (found.values != raw.values).flatten(1).any(1)
    assert changed[raw.present].double().mean() > 0.5
    if kind != "text":
        assert torch.equal(found.mask, raw.mask)
        assert torch.equal(found.values[~real(raw)], raw.values[~real(raw)])


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_noise_and_leaves_the_global_state_alone(kind: str) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    one, same, other = (add(kind, 0.5, seed=s) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_state)  # noqa: NPY002
    assert torch.equal(one.values, same.values)
    assert torch.equal(one.mask, same.mask)
    assert not torch.equal(one.values, other.values)


def test_noise_is_in_the_named_modalities_and_the_same_jointly() -> None:
    inputs = {kind: make(kind) for kind in KINDS}
    alone = {kind: corrupt(inputs, SPECS, kind, 0.4, seed=1) for kind in ("vector", "image")}
    jointly = corrupt(inputs, SPECS, ["image", "vector"], 0.4, seed=1)
    for kind in KINDS:
        if kind in alone:
            assert torch.equal(jointly[kind].values, alone[kind][kind].values)
            assert not torch.equal(jointly[kind].values, inputs[kind].values)
        else:
            assert jointly[kind] is inputs[kind]


def test_two_modalities_of_one_shape_get_noise_of_their_own() -> None:
    raw = make("vector")
    specs = dict.fromkeys(("a", "b"), SPECS["vector"])
    found = corrupt({"a": raw, "b": raw}, specs, ("a", "b"), 0.5, seed=0)
    assert not torch.equal(found["a"].values, found["b"].values)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_numbers_are_dropped_with_probability_p(level: float) -> None:
    for kind, columns in (("vector", list(range(7))), ("table", NUMBERS), ("table", CODES)):
        raw = make(kind)
        there = real(raw)[:, columns]
        dropped = (add(kind, level, raw=raw).values[:, columns] == 0) & there
        assert plausible(dropped.sum(), there.sum(), level)


def test_swaps_keep_every_entry_and_move_none_further_than_one_place() -> None:
    raw = make("vector", absent=False)
    for level in (0.2, 1.0):
        found = add("vector", level, raw=raw).values
        survived = found != 0
        place = (found[:, :, None] == raw.values[:, None, :]).double().argmax(2)  # where an entry came from
        moved = (place - torch.arange(7)).masked_fill(~survived, 0)
        assert moved.abs().max() <= 1
        for row, whole in zip(found, raw.values, strict=True):
            assert len(set(row[row != 0].tolist())) == int((row != 0).sum())
            assert set(row[row != 0].tolist()) <= set(whole.tolist())


def test_entries_move_with_probability_p() -> None:
    """The six interior and end entries of 8: each one has a partner with probability 1 or 1/2."""
    n_rows, level = 4000, 0.4
    raw = Raw(torch.arange(1.0, 9.0).repeat(n_rows, 1), torch.ones(n_rows, dtype=torch.bool))
    found = corrupt({"x": raw}, {"x": Spec(kind="vector", n_channels=8)}, "x", level, seed=2)["x"].values
    survived = found[:, 1:7] != 0
    assert plausible((survived & (found[:, 1:7] != raw.values[:, 1:7])).sum(), survived.sum(), level)
    ends = found[:, [0, 7]]
    assert plausible(((ends != raw.values[:, [0, 7]]) & (ends != 0)).sum(), (ends != 0).sum(), level / 2)


def test_a_table_swaps_its_numbers_among_themselves_and_never_into_a_missing_cell() -> None:
    raw = make("table", absent=False)
    found = add("table", 0.5, raw=raw)
    codes = found.values[:, CODES]
    assert bool(((codes == raw.values[:, CODES]) | (codes == 0))[raw.mask[:, CODES]].all())
    moved = 0
    for now, was, mask in zip(found.values[:, NUMBERS], raw.values[:, NUMBERS], raw.mask[:, NUMBERS], strict=True):
        kept = now[mask & (now != 0)].tolist()
        assert len(set(kept)) == len(kept)
        assert set(kept) <= set(was[mask].tolist())
        moved += int(((now != was) & (now != 0) & mask).sum())
    assert moved > 100


def test_a_series_gets_white_noise_drops_and_one_run() -> None:
    n_rows, n_steps, level = 500, 20, 0.3
    mask = torch.arange(25).expand(n_rows, 25) < n_steps
    raw = Raw(torch.full((n_rows, 25, 4), 5.0), mask)
    found = corrupt({"s": raw}, {"s": SPECS["series"]}, "s", level, seed=0)["s"].values
    run = (found[:, :n_steps] == 0).all(2)  # 4 numbers dropped by chance: .3^4 of the steps
    assert float(run.double().mean()) == pytest.approx(level + (1 - level) * level**4, abs=0.02)
    outside = found[:, :n_steps][~run.unsqueeze(2).expand(-1, -1, 4)]
    assert float((outside == 0).double().mean()) == pytest.approx((level - level**4) / (1 - level**4), abs=0.02)
    noise = (outside[outside != 0] - 5.0).double().numpy()
    assert stats.kstest(noise, stats.norm(0, level).cdf).pvalue > 1e-3


def test_sound_loses_one_run_of_p_of_its_frames() -> None:
    level, raw = 0.35, make("audio")
    found = add("audio", level, raw=raw)
    silent = (found.values == 0).all(2) & raw.mask
    begins = (silent[:, 1:] & ~silent[:, :-1]).sum(1) + silent[:, 0]
    assert begins.max() == 1
    length, n = silent.sum(1).double(), raw.mask.sum(1).double()
    assert bool(((length - level * n).abs() < 1).all())  # rounded up or down, at random
    assert float((length - level * n).mean()) == pytest.approx(0, abs=0.1)
    assert not bool(silent.double().sum(0).eq(0)[:15].any())  # anywhere in the recording
    noise = (found.values - raw.values)[real(raw) & ~silent[..., None]].double().numpy()
    assert stats.kstest(noise, stats.norm(0, level).cdf).pvalue > 1e-3


@pytest.mark.parametrize("level", [0.2, 1.0])
def test_a_picture_gets_white_noise_and_one_erased_rectangle(level: float) -> None:
    raw = make("image")
    found = add("image", level, raw=raw)
    erased = (found.values == 0).all(1)[raw.mask]
    assert float(erased.double().mean()) == pytest.approx(level / 2, abs=0.02)
    height, width = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(height * width, erased.sum((1, 2)))  # a full rectangle
    left = ~erased[:, None].expand(-1, 3, -1, -1)
    noise = (found.values - raw.values)[raw.mask][left].double().numpy()
    assert stats.kstest(noise[:20_000], stats.norm(0, 2 * level).cdf).pvalue > 1e-3


@pytest.mark.parametrize("level", [0.3, 0.9])
def test_words_are_unknown_omitted_or_moved(level: float) -> None:
    raw = make("text", absent=False)
    found = add("text", level, raw=raw)
    n_words = int(raw.mask.sum())
    assert torch.equal(found.mask, torch.arange(12) < found.mask.sum(1, keepdim=True))  # no hole where a word was
    unknown = (found.values == 0).all(2) & found.mask
    omitted = n_words - int(found.mask.sum())
    long_enough = raw.mask.sum(1) > 4  # in short texts the last word is kept
    n_long = int(raw.mask[long_enough].sum())
    assert plausible(unknown[long_enough].sum(), n_long, level / 3)
    assert plausible(n_long - found.mask[long_enough].sum(), n_long, level / 3)
    assert 0 < omitted < n_words
    n_moved = 0
    for now, was, mask, there in zip(found.values, raw.values, raw.mask, found.mask, strict=True):
        words, before = [tuple(w.tolist()) for w in now[there] if w.any()], [tuple(w.tolist()) for w in was[mask]]
        assert len(set(words)) == len(words)
        assert set(words) <= set(before)  # no word is torn or made up
        order = [before.index(w) for w in words]
        n_moved += sum(a > b for a, b in pairwise(order))
    assert n_moved > 20


def test_a_text_of_one_word_is_not_lost() -> None:
    raw = Raw(torch.full((300, 1, 4), 7), torch.ones(300, 1, dtype=torch.bool))
    found = add("text", 1.0, raw=raw)
    assert bool(found.mask.all())
    assert plausible((found.values == 0).all(2).sum(), 300, 2 / 3)


@pytest.mark.parametrize("kind", ["vector", "table", "image", "audio"])
def test_what_is_dropped_at_a_low_level_is_dropped_at_a_higher_one(kind: str) -> None:
    raw = make(kind)
    zeros = [(add(kind, level, raw=raw).values == 0) & real(raw) for level in (0.2, 0.4, 0.8)]
    if kind in ("vector", "table"):  # swaps move the zeros: count them
        counts = [z.sum(1) for z in zeros]
        assert bool((counts[0] <= counts[1]).all() and (counts[1] <= counts[2]).all())
    else:
        assert not bool((zeros[0] & ~zeros[1]).any() or (zeros[1] & ~zeros[2]).any())
    assert zeros[0].sum() < zeros[2].sum()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"level": 1.1}, ConfigError, r"level must be from 0 to 1.*got level=1.1"),
        ({"level": float("nan")}, ConfigError, "got level=nan"),
        ({"seed": -1}, ConfigError, "seed at least 0; got level=0.5, seed=-1"),
        ({"modalities": "vectr"}, UnknownNameError, "got modality='vectr'. Did you mean 'vector'"),
        ({"specs": {"vector": TABLE}}, ShapeError, r"6 columns of its spec; got values=\(400, 7\)"),
    ],
)
def test_wrong_arguments_of_noisy_are_told(change: dict[str, Any], error: type[Exception], message: str) -> None:
    asked: dict[str, Any] = {"specs": SPECS, "modalities": "vector", "level": 0.5, "seed": 0}
    with pytest.raises(error, match=message):
        corrupt({"vector": make("vector")}, **{**asked, **change})


def test_every_preprocessor_gives_what_noisy_takes_and_every_encoder_takes_what_it_gives() -> None:
    rng, n = np.random.default_rng(0), 40
    words = np.array(["red", "green", "blue", "small", "large", "round", "square", "old"])
    dataset = from_tensors(
        {
            "vector": np.where(rng.random((n, 5)) < 0.1, np.nan, rng.normal(size=(n, 5))),
            "table": pd.DataFrame({"x": rng.normal(size=n), "c": rng.choice(["p", "q"], n), "y": rng.normal(size=n)}),
            "series": [rng.normal(size=(k, 2)) for k in rng.integers(3, 9, n)],
            "audio": ("audio", 0.1 * rng.normal(size=(n, 400))),
            "image": rng.random((n, 8, 8, 3)),
            "text": [" ".join(rng.choice(words, k)) for k in rng.integers(1, 8, n)],
        },
        rng.integers(0, 2, n),
        rates={"audio": 2000},
        presence={"text": rng.random(n) < 0.8},
    )
    data = Prepared.make(dataset, Split(np.arange(20), np.arange(20, 30), np.arange(30, 40)))
    specs = data.pipeline.specs
    model = build_model(specs, "binary", 2, ModelOptions(fusion="concat", width=8), n_rows=20, seed=0)
    said = []
    for level in (0.0, 0.5, 1.0):
        found = corrupt(data.inputs, specs, KINDS, level, seed=0)
        for kind, raw in data.inputs.items():
            assert torch.equal(found[kind].present, raw.present)
            assert found[kind].values.dtype == raw.values.dtype
        said.append(torch.cat([o.outputs for o in predict(model, found)]))
        assert bool(said[-1].isfinite().all())
    assert not torch.allclose(said[0], said[1])
    assert not torch.allclose(said[1], said[2])
