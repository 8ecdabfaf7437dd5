"""What a linear path reads of sounds: the numbers of `LogMelFeatures`, in torch, and deltas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct

from profuse.data.dataset import ModalityData
from profuse.data.features.audio import LogMelFeatures
from profuse.data.preprocess.audio import LogMelPreprocessor
from profuse.encoders._cepstra import Cepstra
from profuse.encoders.audio import AudioEncoder
from profuse.errors import ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw

RATE = 4000
SPEC = Spec(kind="audio", n_channels=24, max_length=50)


def sounds(*seconds: float, level: float = 0.3) -> ModalityData:
    """Noise of changing loudness; 0 seconds: absent."""
    draw, values = np.random.default_rng(0), np.empty(len(seconds), dtype=object)
    for i, length in enumerate(seconds):
        n = max(1, int(RATE * length))
        values[i] = (level * np.clip(draw.normal(size=n) * np.linspace(0.1, 0.5, n), -1, 1)).astype(np.float32)
    return ModalityData("audio", values, np.array(seconds) > 0, rate=RATE)


def frames(lengths: tuple[int, ...] = (50, 1, 0, 7, 33), seed: int = 0) -> Raw:
    values = torch.randn(len(lengths), 50, 24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Raw(values, torch.arange(50) < torch.tensor(lengths)[:, None])


def made(**options: bool) -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(SPEC, 8, **({"linear_path": True} | options)).double().eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("n_mels", [8, 40])
def test_the_numbers_are_those_of_the_hand_made_features(n_mels: int) -> None:
    data, features = sounds(0.5, 0.02, 0.0, 0.2, 0.9), LogMelFeatures()
    features._frames = LogMelPreprocessor(n_mels=n_mels)
    features.fit(data)
    raw = features._frames.transform(data)
    got = Cepstra(n_mels).double()(raw.values.double(), raw.mask).numpy()
    wanted = features.transform(data)
    n = wanted.shape[1]
    np.testing.assert_allclose(got[data.present, :n], wanted[data.present], rtol=1e-4, atol=1e-5)
    assert not got[~data.present].any()


def test_deltas_are_of_frames_four_apart_and_0_in_a_recording_of_four_frames() -> None:
    raw = frames((50, 4, 0, 5, 33))
    got = made().cepstra(raw.values, raw.mask)[:, -13:].numpy()  # type: ignore[misc]
    for i, n in enumerate((50, 4, 0, 5, 33)):
        x = raw.values[i, :n].numpy()
        wanted = np.zeros(13)
        if n > 4:
            course = dct((x - x.mean(0)) / np.sqrt(x.var(axis=0).mean() + 0.05), norm="ortho", axis=1)[:, :13]
            wanted = np.sqrt(np.square(course[4:] - course[:-4]).mean(0))
        np.testing.assert_allclose(got[i], wanted, rtol=1e-6, atol=1e-12)


def test_what_is_masked_has_no_effect_even_between_other_frames() -> None:
    module, raw = made(), frames()
    garbage = torch.where(raw.mask[..., None], raw.values, torch.nan)
    torch.testing.assert_close(module.linear(Raw(garbage, raw.mask)), module.linear(raw), rtol=0, atol=0)
    mask = raw.mask.clone()
    mask[0, [0, 3, 4, 49]] = False
    got = module.linear(Raw(raw.values, mask))[:1, :-13]  # deltas are of frames that stand four apart
    torch.testing.assert_close(got, module.linear(Raw(raw.values[:1, mask[0]], raw.mask[:1, :46]))[:, :-13])
    assert not torch.allclose(got, module.linear(raw)[:1, :-13])


def test_a_row_has_the_same_numbers_alone_and_in_training() -> None:
    module, raw = made(), frames()
    whole = module.linear(raw)
    assert whole.shape == (5, module.n_linear)
    torch.testing.assert_close(module.train().linear(raw), whole, rtol=0, atol=0)
    for i in range(5):
        torch.testing.assert_close(module.linear(raw.rows(torch.tensor([i])).trim()), whole[i : i + 1])


def test_an_absent_row_and_a_silent_one_are_finite() -> None:
    module, raw = made(), frames()
    assert not module.linear(raw)[2].any()
    assert module.linear(Raw(torch.zeros_like(raw.values), raw.mask)).isfinite().all()
    assert module.linear(raw.rows(torch.arange(0))).shape == (0, module.n_linear)


def test_the_level_of_a_recording_stands_in_its_mean_alone() -> None:
    quiet, loud = sounds(0.5, 0.3, level=0.2), sounds(0.5, 0.3, level=0.8)
    frames = LogMelPreprocessor(n_mels=24)
    frames.fit(loud)
    frames.std[:] = 1.0
    one, other = (made().linear(Raw(r.values.double(), r.mask)) for r in map(frames.transform, (quiet, loud)))
    torch.testing.assert_close(one[:, 1:], other[:, 1:], rtol=0, atol=0.05)
    assert (one[:, 0] - other[:, 0]).abs().min() > 1


def test_there_is_no_path_unless_it_is_asked_for() -> None:
    torch.manual_seed(0)
    module = AudioEncoder(SPEC, 8).double()
    assert module.n_linear == 0
    assert module.linear(frames()).shape == (5, 0)


def test_frames_of_another_kind_are_told() -> None:
    with pytest.raises(ShapeError, match="frames must be"):
        made().linear(Raw(torch.zeros(2, 5, 23), torch.ones(2, 5, dtype=torch.bool)))
