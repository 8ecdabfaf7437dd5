"""What encoders choose for a data set: of pictures how far they are changed at random while training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split
from profuse.encoders import Rows
from profuse.encoders._strength import STRENGTHS, strength_suited
from profuse.models.options import ModelOptions
from profuse.predictor import load_model
from profuse.tokens import Raw
from profuse.training import choices
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

OPTIONS = ModelOptions(width=16)
TRAIN = TrainOptions(epochs=1, batch_size=64, refit=False, device="cpu")
N_TRAIN, N_VALID = 300, 150


def bars(angle: np.ndarray, rng: np.random.Generator, *, across: np.ndarray | None = None) -> np.ndarray:
    """Bars in grey noise: turned from upright by so many degrees, moved across by so many pixels of 16."""
    y, x = np.mgrid[-8:8, -8:8] + 0.5
    x = x - (np.zeros(len(angle)) if across is None else across)[:, None, None]
    turn = np.deg2rad(angle)[:, None, None]
    pictures = np.exp(-((x * np.cos(turn) + y * np.sin(turn)) ** 2) / 3) + rng.normal(0, 0.05, (len(angle), 16, 16))
    levels: np.ndarray = (255 * pictures.clip(0, 1)).astype(np.uint8)
    return levels[..., None]


def direction(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Upright or lying, by any hand."""
    side = rng.integers(0, 2, n)
    return bars(90.0 * side + rng.normal(0, 12, n), rng, across=rng.normal(0, 1, n)), side


def dial(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """3 degrees to the left or to the right."""
    side = rng.integers(0, 2, n)
    return bars(6.0 * side - 3, rng), side


def place(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """How far a bar stands to the right: a number."""
    across = rng.uniform(-5, 5, n)
    return bars(np.zeros(n), rng, across=across), across


def noise(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that tell nothing."""
    return rng.integers(0, 256, (n, 16, 16, 1)).astype(np.uint8), rng.normal(size=n)


def prepared(draw: Callable[..., tuple[np.ndarray, np.ndarray]] = dial, n: int = N_TRAIN + N_VALID) -> Prepared:
    rng = np.random.default_rng(0)
    pictures, target = draw(rng, n)
    there = np.ones(n, dtype=bool)
    number = ModalityData("vector", rng.normal(size=(n, 2)).astype(np.float32), there)
    task: Any = "multiclass" if target.dtype.kind == "i" else "regression"
    modalities = {"picture": ModalityData("image", pictures, there), "number": number}
    rows = np.arange(n)
    split = Split(rows[:-N_VALID], rows[-N_VALID:], rows[:0])
    return Prepared.make(Dataset(name="bars", modalities=modalities, target=target, task=task), split)


@pytest.mark.parametrize(("draw", "strength"), [(direction, 1.0), (noise, 1.0), (dial, 0.0), (place, 0.0)])
def test_pictures_are_changed_at_random_unless_position_or_direction_tells(
    draw: Callable[..., tuple[np.ndarray, np.ndarray]], strength: float
) -> None:
    found = prepared(draw).choose(OPTIONS, ["picture"]).choices
    assert found is not None
    assert list(found) == ["picture"]
    assert (found["picture"].encoder, found["picture"].words) == ("cnn", STRENGTHS[strength])
    assert found["picture"].options == {"augment": strength}


def test_a_direction_that_is_told_coarsely_leaves_a_smaller_strength() -> None:
    rng = np.random.default_rng(1)
    strengths = []
    for degrees in (3.0, 8.0, 14.0, 30.0):
        side = rng.integers(0, 2, 800)
        pictures = torch.as_tensor(bars(2 * degrees * side - degrees, rng)).permute(0, 3, 1, 2).float() / 100
        raw, target = Raw(pictures, torch.ones(800) > 0), torch.as_tensor(side)
        found = strength_suited(Rows(raw, target, torch.arange(500)), Rows(raw, target, torch.arange(500, 800)))
        assert found is not None
        strengths.append(found.options["augment"])
    assert strengths == sorted(strengths)
    assert strengths[0] == 0
    assert strengths[-1] == 1
    assert 0.5 in strengths


def test_several_labels_are_judged_too() -> None:
    ready = prepared()
    labels = torch.nn.functional.one_hot(ready.target, 2).float()
    found = replace(ready, target=labels).choose(OPTIONS, ["picture"]).choices
    assert found is not None
    assert found["picture"].options == {"augment": 0.0}


def test_only_training_and_validation_rows_that_have_the_picture_decide() -> None:
    ready = prepared()
    split, n = ready.split, N_TRAIN + N_VALID
    split = Split(split.train, split.valid[:140], split.valid[140:])
    ignored = np.concatenate([split.train[:10], split.valid[:10], split.test])
    mask = torch.ones(n, dtype=torch.bool)
    mask[ignored[:20]] = False

    def chosen(values: torch.Tensor, target: torch.Tensor) -> object:
        inputs = {"picture": Raw(values, mask)}
        return replace(ready, split=split, inputs=inputs, target=target).choose(OPTIONS, ["picture"]).choices

    values, target = ready.inputs["picture"].values, ready.target
    want = chosen(values, target)
    spoilt, other = values.clone(), target.clone()
    spoilt[ignored], other[ignored] = float("nan"), 1 - other[ignored]
    assert chosen(spoilt, other) == want
    spoilt, other = values.clone(), target.clone()
    other[split.valid] = 1 - other[split.valid]  # what pictures tell is wrong now, and less of it does no harm
    assert chosen(spoilt, other) != want


def test_the_global_random_state_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    prepared().choose(OPTIONS, ["picture"])
    assert torch.equal(torch.rand(3), want)


def test_a_fit_takes_the_choice_tells_it_and_saves_it(tmp_path: Path) -> None:
    fitted = fit_model(prepared(), OPTIONS, TRAIN)
    assert fitted.choices["picture"] == STRENGTHS[0.0]
    assert fitted.model_options.encoder_options["picture"] == {"augment": 0.0}
    encoders: Any = dict(zip(fitted.model.plain.names, fitted.model.plain.encoders, strict=True))
    assert encoders["picture"].stem.augment == 0
    fitted.save(tmp_path / "model")
    again: Any = load_model(tmp_path / "model")
    assert again.model_options == fitted.model_options
    assert "augment=0.0" in repr(again.model.plain.encoders)


@pytest.mark.slow
def test_what_the_user_says_holds() -> None:
    options = OPTIONS.model_copy(update={"encoder_options": {"picture": {"augment": 0.7}}})
    fitted = fit_model(prepared(), options, TRAIN)
    assert "picture" not in fitted.choices
    assert fitted.model_options.encoder_options["picture"] == {"augment": 0.7}


@pytest.mark.slow
def test_other_options_of_the_user_go_with_the_choice() -> None:
    options = OPTIONS.model_copy(update={"encoder_options": {"picture": {"dims": (8, 16), "depths": (0, 1)}}})
    fitted = fit_model(prepared(), options, TRAIN)
    assert fitted.model_options.encoder_options["picture"] == {"dims": (8, 16), "depths": (0, 1), "augment": 0.0}
    assert "dims=(8, 16)" in repr(fitted.model.plain.encoders)


@pytest.mark.slow
def test_what_has_been_chosen_once_is_not_chosen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepared().choose(OPTIONS, ["picture", "number"])
    monkeypatch.setattr(choices, "encoder", lambda name: pytest.fail("it was chosen again"))
    assert fit_model(ready, OPTIONS, TRAIN).choices["picture"] == STRENGTHS[0.0]
    assert "picture" not in fit_model(ready, OPTIONS, TRAIN, modalities=("number",)).choices
    vit = OPTIONS.model_copy(update={"encoders": {"picture": "vit"}})
    assert fit_model(ready, vit, TRAIN, modalities=("picture",)).choices == {}


def test_few_rows_keep_the_default() -> None:
    found = prepared(n=N_VALID + 19).choose(OPTIONS, ["picture"]).choices
    assert found == {}
