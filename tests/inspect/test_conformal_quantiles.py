"""Conformalised quantile regression: scores and intervals of a band, against the paper's formula and by pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from made_conformal import Drawn, rows

from profuse.data.target import TargetCodec
from profuse.inspect import ask
from profuse.inspect.conformal import Conformal
from profuse.inspect.conformal_scores import Said, quantile
from profuse.tokens import Raw


class Banded(Drawn):
    """Says that it errs by as much as |a|, or |b| where `a` is missing: far too little."""

    def __init__(self) -> None:
        super().__init__("regression")

    def band(self, inputs: Mapping[str, Raw]) -> np.ndarray:
        middle = self.predict_encoded(inputs)
        half = 0.05 + 0.1 * np.abs(middle)
        return np.stack([middle - half, middle + half], axis=-1)


def said(n: int, n_targets: int, seed: int = 0) -> tuple[Said, np.ndarray]:
    draw = np.random.default_rng(seed)
    scale = np.arange(1, n_targets + 1) * 10.0
    y = scale * draw.normal(size=(n, n_targets))
    middle, half = y + scale * draw.normal(size=y.shape), scale * draw.random(y.shape)
    codec = TargetCodec.fit(y, "regression", names=[f"t{j}" for j in range(n_targets)])
    return Said.of(codec, middle, None, np.stack([middle - half, middle + half], axis=-1)), y


@pytest.mark.parametrize("n_targets", [1, 3])
def test_the_score_is_how_far_the_target_lies_outside_and_below_0_inside(n_targets: int) -> None:
    of, y = said(60, n_targets)
    assert of.band is not None
    for i, score in enumerate(of.scores(y)):
        each = [max(of.band[i, j, 0] - y[i, j], y[i, j] - of.band[i, j, 1]) / of.codec.std[j] for j in range(n_targets)]
        assert score == pytest.approx(max(each))
        inside = all(of.band[i, j, 0] <= y[i, j] <= of.band[i, j, 1] for j in range(n_targets))
        assert (score <= 0) == inside


@pytest.mark.parametrize("q", [-0.05, 0.0, 0.7])
def test_intervals_are_moved_by_the_quantile_and_hold_the_targets_whose_score_is_at_most_it(q: float) -> None:
    of, y = said(200, 2)
    assert of.band is not None
    ends = of.intervals(np.full(200, q))
    wide = (of.band[..., 1] - of.band[..., 0] + 2 * q * of.codec.std > 0).all(1)
    moved = np.stack([of.band[..., 0] - q * of.codec.std, of.band[..., 1] + q * of.codec.std], axis=-1)
    assert np.allclose(ends[wide], moved[wide])
    held: np.ndarray = np.all((ends[..., 0] <= y) & (y <= ends[..., 1]), axis=1)
    assert np.array_equal(held[wide], of.scores(y)[wide] <= q)
    assert (ends[..., 0] <= ends[..., 1]).all()
    sizes = ((ends[..., 1] - ends[..., 0]) / of.codec.std).mean(1)
    assert np.allclose(of.sizes(np.full(200, q)), sizes)


def test_an_interval_that_would_be_turned_round_is_its_middle() -> None:
    of, _ = said(20, 1)
    assert of.band is not None
    ends = of.intervals(np.full(20, -50.0))
    assert np.allclose(ends, of.band.mean(2)[..., None])


def test_a_band_takes_the_place_of_how_much_models_differ() -> None:
    of, y = said(30, 1)
    other = Said.of(of.codec, of.outputs, np.full((30, 1), 7.0), of.band)
    assert np.array_equal(other.scores(y), of.scores(y))
    plain = replace(of, band=None)
    assert not np.array_equal(plain.scores(y), of.scores(y))


def test_new_rows_are_covered_in_each_pattern_by_intervals_of_their_own_widths() -> None:
    model = Banded()
    held, new = (rows(3000, seed, "regression") for seed in (0, 1))
    ends = Conformal.fit(model, held, coverage=0.9).intervals(new)
    y, has_a = np.asarray(new.target), np.asarray(new.modalities["a"].present)
    inside = (ends[:, 0] <= y) & (y <= ends[:, 1])
    for some in (has_a, ~has_a):
        assert inside[some].mean() == pytest.approx(0.9, abs=0.03)
        middle = np.asarray(model.predict(new))[some]
        wider = np.diff(ends[some], axis=1)[:, 0] - 2 * (0.05 + 0.1 * np.abs(middle))
        assert np.ptp(wider) == pytest.approx(0, abs=1e-9)  # one quantile a pattern, added to each row's own width
    assert wider.mean() > 1
    own = np.asarray(held.modalities["a"].present)
    said = np.asarray(model.predict(held))[own]
    outside = np.abs(np.asarray(held.target)[own] - said) - (0.05 + 0.1 * np.abs(said))
    half = quantile(outside, 0.9) + 0.05 + 0.1 * np.abs(np.asarray(model.predict(new))[has_a])
    assert np.diff(ends[has_a], axis=1)[:, 0] == pytest.approx(2 * half)


def test_the_question_tells_their_coverage_and_width() -> None:
    answer = ask(Banded(), rows(600, 2, "regression"), "conformal", coverage=0.8, n_resamples=20, noise=0.0)
    whole = answer.estimates[0]
    assert whole.value == pytest.approx(0.8, abs=0.04)
    assert answer.metric == "width"
    assert whole.score is not None
    assert whole.score > 0
