"""Sound: the mel scale, log-mel frames, chunks, padding; the classical description."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess import audio, preprocessor
from profuse.data.preprocess.audio import LogMelPreprocessor, fft_size, log_mel, mel_filters, without_silent_ends
from profuse.errors import ConfigError, DataError

RATE = 8000


def dataset(waves: list[np.ndarray | None], rate: int | None = RATE) -> ModalityData:
    values = np.empty(len(waves), dtype=object)
    for i, wave in enumerate(waves):
        values[i] = wave
    return ModalityData("audio", values, np.array([w is not None for w in waves]), rate=rate)


def noise(*lengths: int, seed: int = 0) -> list[np.ndarray | None]:
    rng = np.random.default_rng(seed)
    return [np.clip(rng.normal(scale=0.2, size=n), -1, 1) for n in lengths]


def fitted(data: ModalityData, **options: int | float) -> LogMelPreprocessor:
    made = LogMelPreprocessor(**options)  # type: ignore[arg-type]
    made.fit(data)
    return made


def mel(hertz: np.ndarray | float) -> np.ndarray | float:
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


@pytest.mark.parametrize(("n_mels", "window", "rate"), [(40, 200, 8000), (64, 400, 16000), (64, 1102, 44100)])
def test_filters_add_up_to_one_between_the_first_and_last_centre(n_mels: int, window: int, rate: int) -> None:
    n_fft = fft_size(window)
    filters = mel_filters(n_mels, n_fft, rate)
    assert filters.shape == (n_fft // 2 + 1, n_mels)
    assert filters.min() >= 0
    assert (filters.max(0) > 0.2).all()  # no band is empty
    centres = np.linspace(0, mel(rate / 2), n_mels + 2)[1:-1]
    hertz = np.arange(n_fft // 2 + 1) * rate / n_fft
    inside = (mel(hertz) >= centres[0]) & (mel(hertz) <= centres[-1])
    np.testing.assert_allclose(filters[inside].sum(1), 1.0, atol=1e-9)


def test_filters_peak_at_equal_steps_of_mel() -> None:
    n_mels, n_fft, rate = 20, 1 << 16, 16000
    peaks = mel_filters(n_mels, n_fft, rate).argmax(0) * rate / n_fft
    np.testing.assert_allclose(mel(peaks), np.arange(1, n_mels + 1) * mel(rate / 2) / (n_mels + 1), atol=0.5)
    assert abs(float(mel(1000.0)) - 1000) < 0.1  # how the scale is defined


@pytest.mark.parametrize("hertz", [150.0, 440.0, 1000.0, 2500.0, 3700.0])
def test_a_pure_tone_lights_its_own_band(hertz: float) -> None:
    wave = torch.from_numpy(0.5 * np.sin(2 * np.pi * hertz * np.arange(4000) / RATE))
    logs = log_mel(wave[None], RATE, n_mels=40, window=200, hop=80)[0]
    corners = np.linspace(0, mel(RATE / 2), 42)
    nearest = int(np.abs(corners[1:-1] - mel(hertz)).argmin())
    assert np.abs(logs.argmax(1).numpy() - nearest).max() <= 1


def test_the_spectrum_is_that_of_scipy() -> None:
    wave = np.random.default_rng(0).normal(size=1000) * 0.1
    _, _, spectrum = scipy.signal.stft(
        wave, RATE, window="hann", nperseg=200, noverlap=120, nfft=512, boundary=None, padded=False
    )
    oracle = np.log(np.maximum((np.abs(spectrum) ** 2).T @ mel_filters(40, 512, RATE), 1e-6))
    got = log_mel(torch.from_numpy(wave)[None], RATE, n_mels=40, window=200, hop=80)[0]
    np.testing.assert_allclose(got.numpy(), oracle, atol=1e-9)


def test_twice_the_amplitude_adds_the_logarithm_of_four() -> None:
    wave = torch.randn(1, 800, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, two = (log_mel(w, RATE, n_mels=40, window=200, hop=80) for w in (wave, 2 * wave))
    np.testing.assert_allclose((two - one).numpy(), np.log(4), atol=1e-9)


def test_silence_is_the_floor_and_finite() -> None:
    assert torch.equal(
        log_mel(torch.zeros(1, 300), RATE, n_mels=40, window=200, hop=80), torch.full((1, 2, 40), 1e-6).log()
    )
    data = dataset([np.zeros(900), np.zeros(500)])
    raw = fitted(data).transform(data)
    assert raw.values.abs().max() < 1e-5


def test_what_lies_far_below_a_recordings_loudest_band_is_raised() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / RATE)
    data = dataset([np.concatenate([tone, 1e-2 * noise(4000)[0]]), 1e-3 * tone])  # type: ignore[operator]
    made = fitted(data)
    raw = made.transform(data)
    logs = raw.values * torch.tensor(made.std, dtype=torch.float32) + torch.tensor(made.mean, dtype=torch.float32)
    spread = logs.amax((1, 2)) - logs.amin((1, 2))
    assert spread[0] == pytest.approx(np.log(1e3), abs=1e-3)
    assert spread[1] < np.log(1e4)


def test_real_frames_of_training_have_mean_zero_and_deviation_one_in_each_band() -> None:
    data = dataset(noise(900, 4000, 2222))
    raw = fitted(data).transform(data)
    frames = raw.values[raw.mask].double()
    torch.testing.assert_close(frames.mean(0), torch.zeros(40, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(frames.std(0, correction=0), torch.ones(40, dtype=torch.float64), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("n_samples", "n_frames"), [(1, 1), (200, 1), (279, 1), (280, 2), (8000, 98)])
def test_frames_are_counted_and_masked(n_samples: int, n_frames: int) -> None:
    made = fitted(dataset(noise(8000, 8000)))
    raw = made.transform(dataset([*noise(n_samples), None]))
    assert raw.mask.sum(1).tolist() == [n_frames, 0]
    assert raw.values.shape == (2, n_frames, 40)
    assert not raw.values[1].any()


@pytest.mark.parametrize(("rate", "n_mels"), [(8000, 40), (16000, 64), (44100, 64)])
def test_the_number_of_bands_goes_by_the_rate(rate: int, n_mels: int) -> None:
    spec = fitted(dataset(noise(rate), rate)).spec
    assert (spec.kind, spec.n_channels, spec.max_length) == ("audio", n_mels, 98)


def test_long_recordings_lose_their_end() -> None:
    long = noise(16000)
    made = fitted(dataset(noise(4000, 4000)), max_frames=30)
    assert made.spec.max_length == 30
    raw = made.transform(dataset(long))
    assert raw.values.shape[1] == 30
    torch.testing.assert_close(raw.values, made.transform(dataset([long[0][:3000]])).values)  # type: ignore[index]


def test_chunks_and_neighbours_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    waves = noise(900, 4000, 150, 2222, 3999, 800)
    waves.insert(2, None)
    made = fitted(dataset(waves))
    whole = made.transform(dataset(waves))
    monkeypatch.setattr(audio, "_CHUNK_VALUES", 10_000)
    torch.testing.assert_close(made.transform(dataset(waves)).values, whole.values)
    for i, wave in enumerate(waves):
        alone = made.transform(dataset([wave]))
        n = alone.values.shape[1]
        torch.testing.assert_close(whole.values[i, :n], alone.values[0])


def test_the_state_is_plain_and_gives_an_equal_preprocessor() -> None:
    data = dataset([*noise(900, 4000), None])
    made = fitted(data)
    state = made.state()
    arrays = {k for k, v in state.items() if isinstance(v, np.ndarray)}
    assert arrays == {"mean", "std"}
    json.dumps({k: v for k, v in state.items() if k not in arrays})
    again = preprocessor("logmel").from_state(state)
    assert again.spec == made.spec
    assert torch.equal(again.transform(data).values, made.transform(data).values)


@pytest.mark.parametrize(
    ("wave", "got"),
    [
        (np.zeros((100, 2)), r"must be a waveform .* got dtype=float64, shape=\(100, 2\)"),
        (np.zeros(0), r"must be a waveform .* got dtype=float64, shape=\(0,\)"),
        (np.zeros(100, np.int16), r"must be a waveform .* got dtype=int16, shape=\(100,\)"),
        (np.array([0.0, np.nan]), "1 samples that are not finite, the first at sample 1"),
        (np.array([0.0, -np.inf]), "1 samples that are not finite, the first at sample 1"),
        (np.array([0.0, 1e20]), "the samples must lie within -100 to 100"),
    ],
)
def test_what_is_no_waveform_is_refused_with_its_row(wave: np.ndarray, got: str) -> None:
    bad = dataset([*noise(400), wave])
    for act in (LogMelPreprocessor().fit, fitted(dataset(noise(400))).transform):
        with pytest.raises(DataError, match=f"row 1.* {got}.*or mark the row"):
            act(bad)


def test_a_rate_that_is_unknown_or_other_than_in_training_is_refused() -> None:
    with pytest.raises(DataError, match="got rate=None. Set ModalityData.rate"):
        LogMelPreprocessor().fit(dataset(noise(400), None))
    with pytest.raises(DataError, match="must be that of training, 8000 Hz; got rate=16000. Resample"):
        fitted(dataset(noise(400))).transform(dataset(noise(400), 16000))
    with pytest.raises(DataError, match="at least one training row must have a recording; got 0 of 1"):
        LogMelPreprocessor().fit(dataset([None]))


@pytest.mark.parametrize("options", [{"n_mels": 1}, {"hop_seconds": 0.0}, {"hop_seconds": 0.05}, {"max_frames": 0}])
def test_options_out_of_range_are_told(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="LogMelPreprocessor: n_mels >= 2"):
        LogMelPreprocessor(**options)  # type: ignore[arg-type]


def test_silent_ends_are_left_out_and_pauses_stay() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(1600) / RATE)
    hiss = 0.01 * np.random.default_rng(0).standard_normal(9 * 800)
    wave = hiss.copy()
    wave[1600:3200] += tone
    wave[4800:6400] += tone  # a pause between the two
    kept = without_silent_ends(wave, 80)
    np.testing.assert_array_equal(kept, wave[1600:6400])
    assert len(without_silent_ends(0.001 * wave, 80)) == len(kept)  # however loud the recording is


@pytest.mark.parametrize(
    "wave", [np.zeros(500), np.full(500, 0.3), 0.1 * np.random.default_rng(0).standard_normal(4000)]
)
def test_a_sound_without_loud_and_silent_parts_stays_whole(wave: np.ndarray) -> None:
    np.testing.assert_array_equal(without_silent_ends(wave, 80), wave)


def test_silence_around_a_sound_changes_nothing_unless_it_is_asked_to_stay() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(1600) / RATE) * np.linspace(0.5, 1, 1600)
    data = dataset([tone, np.concatenate([np.zeros(800), tone, np.zeros(2400)])])
    raw = fitted(data).transform(data)
    torch.testing.assert_close(raw.values[0], raw.values[1])
    assert torch.equal(raw.mask[0], raw.mask[1])
    whole = fitted(data, trim=False)
    assert whole.transform(data).mask.sum(1).tolist() == [18, 58]
    assert not LogMelPreprocessor.from_state(whole.state()).trim
