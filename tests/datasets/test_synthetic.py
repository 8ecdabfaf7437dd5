"""`synthetic`: the scores that are told are the best possible ones, by enumeration and by measuring."""

from __future__ import annotations

from itertools import chain, combinations, product
from typing import Any

import numpy as np
import pytest
from not_none import not_none

from profuse.datasets import load
from profuse.datasets.synthetic import VARIANTS, Information, Pointer
from profuse.errors import ConfigError, UnknownNameError

DIALS = [
    Information(redundant=1, unique=(1, 1), synergy=1, flip_prob=0.1, n_distractors=0),
    Information(redundant=2, unique=(0, 0), synergy=0, flip_prob=0.0, n_distractors=0),
    Information(redundant=0, unique=(2, 0), synergy=1, flip_prob=0.3, n_distractors=0),
    Information(redundant=0, unique=(1, 0, 1), synergy=1, flip_prob=0.2, n_distractors=0),
]


def _subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)))


def _enumerate(dial: Information, chosen: tuple[str, ...]) -> np.ndarray:
    """Joint probability [what is seen, class] from the words of the class's docstring alone, bit by bit."""
    n = len(dial.unique)
    table: dict[tuple[int, ...], np.ndarray] = {}
    n_source = dial.redundant + sum(dial.unique) + n * dial.synergy
    for source in product((0, 1), repeat=n_source):
        rest = list(source)
        redundant = [rest.pop(0) for _ in range(dial.redundant)]
        unique = [[rest.pop(0) for _ in range(k)] for k in dial.unique]
        shares = [[rest.pop(0) for _ in range(dial.synergy)] for _ in range(n)]
        bits = redundant + list(chain(*unique)) + [sum(s) % 2 for s in zip(*shares, strict=True)]
        seen = tuple(
            chain.from_iterable(
                [*redundant, *unique[i], *shares[i]] for i, name in enumerate(dial.names) if name in chosen
            )
        )
        row = table.setdefault(seen, np.zeros(2 ** len(bits)))
        for flips in product((0, 1), repeat=len(bits)):
            label = sum((b ^ f) << i for i, (b, f) in enumerate(zip(bits, flips, strict=True)))
            p = np.prod([dial.flip_prob if f else 1 - dial.flip_prob for f in flips])
            row[label] += p / 2**n_source
    return np.array(list(table.values()))


def _mutual_information(joint: np.ndarray) -> float:
    joint = joint / joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log2(joint[some] / independent[some])).sum())


@pytest.mark.parametrize("dial", DIALS)
def test_the_bayes_score_and_the_bits_equal_those_of_exhaustive_enumeration(dial: Any) -> None:
    for chosen in _subsets(dial.names):
        joint = _enumerate(dial, chosen)
        assert joint.sum() == pytest.approx(1)
        assert dial.bayes_score(chosen) == pytest.approx(joint.max(1).sum())
        assert dial.bits(chosen) == pytest.approx(_mutual_information(joint), abs=1e-9)


@pytest.mark.parametrize("dial", DIALS)
def test_the_information_in_a_sample_is_what_was_dialled(dial: Any) -> None:
    data = dial.sample(20_000, seed=3)
    for chosen in _subsets(dial.names)[1:]:
        seen = np.concatenate([data.modalities[name].values.round(3) for name in chosen], axis=1)
        _, symbol = np.unique(seen, axis=0, return_inverse=True)
        joint = np.zeros((symbol.max() + 1, 2**dial.n_bits))
        np.add.at(joint, (symbol.ravel(), data.target), 1)
        # the plug-in estimate is too high by about (cells - 1) / (2 n ln 2) bits
        bias = (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * len(data) * np.log(2))
        assert _mutual_information(joint) - bias == pytest.approx(dial.bits(chosen), abs=0.02)
        assert joint.max(1).sum() / len(data) == pytest.approx(dial.bayes_score(chosen), abs=0.02)


def test_distractors_are_there_and_a_linear_map_recovers_every_bit() -> None:
    dial = Information(redundant=1, unique=(1, 0), synergy=1, n_distractors=5, flip_prob=0.0)
    data = dial.sample(500)
    a, b = (data.modalities[name].values for name in "ab")
    assert a.shape == (500, 8)
    assert b.shape == (500, 7)
    for bit, values in [(0, a), (0, b), (1, a)]:
        target = (not_none(data.target) >> bit & 1) * 2.0 - 1
        solution, *_ = np.linalg.lstsq(values, target, rcond=None)
        np.testing.assert_allclose(values @ solution, target, atol=1e-4)


def test_synergy_is_invisible_to_a_linear_map_of_both_modalities() -> None:
    data = load("synthetic", variant="synergy")
    both = np.concatenate([m.values for m in data.modalities.values()], axis=1)
    target = not_none(data.target) * 2.0 - 1
    solution, *_ = np.linalg.lstsq(both, target, rcond=None)
    assert ((both @ solution > 0) == (target > 0)).mean() < 0.55


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_seed_gives_one_sample_and_another_seed_another(variant: str) -> None:
    one, again, other = VARIANTS[variant].sample(50), VARIANTS[variant].sample(50), VARIANTS[variant].sample(50, seed=1)
    for name in one.modalities:
        np.testing.assert_array_equal(one.modalities[name].values, again.modalities[name].values)
        assert not np.array_equal(one.modalities[name].values, other.modalities[name].values)
    np.testing.assert_array_equal(one.target, again.target)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_notes_tell_the_best_possible_score(variant: str) -> None:
    data = load("synthetic", variant=variant)
    assert len(data) == 4096
    assert f"{VARIANTS[variant].bayes_score():.3f}" in data.notes[0]
    assert data.task == {"synergy": "binary", "pointer": "regression"}.get(variant, "multiclass")


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_pointer_names_the_item_that_counts_and_the_scores_are_reached_by_the_best_rules(noise: float) -> None:
    dial = Pointer(n_items=8, noise=noise)
    data = dial.sample(40_000, seed=2)
    items, pointer, y = data.modalities["items"].values, data.modalities["pointer"].values, not_none(data.target)
    named = (items[:, :, 1:] * pointer[:, None]).sum(2) > 0
    assert (named.sum(1) == 1).all()

    def r2(prediction: np.ndarray) -> float:
        return float(1 - ((y - prediction) ** 2).mean() / y.var())

    assert r2(items[:, :, 0][named]) == pytest.approx(dial.bayes_score(), abs=0.01)
    assert r2(items[:, :, 0].mean(1)) == pytest.approx(dial.bayes_score(["items"]), abs=0.01)
    assert dial.bayes_score(["pointer"]) == 0
    by_pointer = np.array([y[pointer[:, k] == 1].mean() for k in range(8)])
    assert r2(by_pointer[pointer.argmax(1)]) < 0.002
    # a code of rank 3, decoded with the pointer: the values by key, projected
    by_key = np.einsum("nik,ni->nk", items[:, :, 1:], items[:, :, 0])
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 3)))
    assert r2(((by_key @ basis @ basis.T) * pointer).sum(1)) == pytest.approx(dial.late_score(3), abs=0.02)


def test_a_wide_linear_encoder_loses_nothing() -> None:
    assert Pointer(n_items=4).late_score(4) == Pointer(n_items=4).late_score(9) == Pointer(n_items=4).bayes_score()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Information(flip_prob=0.6), r"flip_prob must be 0 to 0.5; got flip_prob=0.6"),
        (lambda: Information(unique=(1,)), r"2 to 26 modalities; got unique=\(1,\)"),
        (lambda: Information(redundant=-1), r"bits must be 0 or more; got redundant=-1"),
        (lambda: Information(redundant=0, unique=(0, 0), synergy=0), r"1 to 12 bits in all .*; got 0"),
        (lambda: Information(redundant=0, unique=(1, 0), synergy=0, n_distractors=0), r"holds no bit"),
        (lambda: Information().sample(0), r"n_rows must be at least 1; got n_rows=0"),
        (lambda: Pointer(n_items=1), r"n_items must be at least 2 .* got n_items=1"),
        (lambda: Pointer(noise=float("nan")), r"noise finite .* noise=nan"),
        (lambda: Pointer().late_score(-1), r"width must be at least 0; got width=-1"),
        (lambda: Pointer().sample(0), r"n_rows must be at least 1; got n_rows=0"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"flip_prob .*n_distractors"):
        Information(flip_prob=2, n_distractors=-1)


@pytest.mark.parametrize("dial", [Information(), Pointer()])
def test_an_unknown_modality_is_named_in_the_error(dial: Any) -> None:
    with pytest.raises(UnknownNameError, match="modality='c'"):
        dial.bayes_score(["c"])
