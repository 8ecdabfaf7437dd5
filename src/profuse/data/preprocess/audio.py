"""Waveforms -> log-mel frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from profuse.data.dataset import ModalityData
from profuse.data.media import check_waveform
from profuse.data.preprocess._base import Preprocessor
from profuse.errors import ConfigError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["LogMelPreprocessor", "log_mel", "mel_filters", "without_silent_ends"]

_CHUNK_VALUES = 1 << 22  # windowed samples held at once: 16 MB of float32
_FLOOR = 1e-6  # power below it is silence: about -60 dB of a full-scale tone in one band
_RANGE = 3 * math.log(10)  # 30 dB of power


def mel_filters(n_mels: int, n_fft: int, rate: int) -> NDArray[np.float64]:
    """Triangular filters whose corners are equally spaced in `mel(f) = 2595 log10(1 + f / 700)`.

    Filter m rises from corner m to 1 at corner m + 1 and falls to 0 at corner m + 2, with n_mels + 2 corners
    from 0 Hz to half the rate. Between the first and the last centre the filters add up to 1 at every frequency.

    Args:
        n_mels: Number of filters.
        n_fft: Samples of the Fourier transform.
        rate: Samples a second.

    Shape:
        Returns `[n_fft // 2 + 1, n_mels]`.

    Reference:
        The mel scale as in HTK: Young et al., The HTK Book, section 5.4.
    """
    hertz = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), n_mels + 2) / 2595) - 1)
    rising = (hertz[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - hertz[:, None]) / (corners[2:] - corners[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(waves: Tensor, rate: int, *, n_mels: int, window: int, hop: int) -> Tensor:
    """`log(max(|DFT(hann * frame)|^2 / sum(hann)^2 @ filters, 1e-6))`: energy by time and pitch.

    Args:
        waves: `[row, sample]`, at least `window` samples.
        rate: Samples a second.
        n_mels: Number of bands.
        window: Samples in a frame; the transform is padded to twice the next power of two, so that narrow low
            bands still hold a frequency.
        hop: Samples from one frame to the next.

    Shape:
        Returns `[row, 1 + (sample - window) // hop, n_mels]`.
    """
    n_fft = fft_size(window)
    hann = torch.hann_window(window, periodic=True, dtype=waves.dtype)
    frames = waves.unfold(1, window, hop) * hann
    power: Tensor = torch.fft.rfft(frames, n=n_fft).abs().square() / hann.sum() ** 2
    filters = torch.from_numpy(mel_filters(n_mels, n_fft, rate)).to(waves.dtype)
    return (power @ filters).clamp(min=_FLOOR).log()


def fft_size(window: int) -> int:
    """Returns twice the power of two that is at least `window`."""
    return 2 << (window - 1).bit_length()


def without_silent_ends(wave: NDArray[Any], block: int) -> NDArray[Any]:
    """Returns the samples from the first loud block to the last; all where no block is 10 dB louder than another.

    A block is loud if its level lies above the quietest one's by more than a quarter of what the loudest one's does,
    in decibels, where levels more than 30 dB below the loudest count as that.

    Args:
        wave: `[sample]`.
        block: Samples of a block.
    """
    starts = np.arange(0, len(wave), block)
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts) / np.diff(np.append(starts, len(wave)))
    level = np.log(np.maximum(power, max(power.max() * math.exp(-_RANGE), 1e-30)))
    if np.ptp(level) < math.log(10):
        return wave
    loud = np.flatnonzero(level > level.min() + np.ptp(level) / 4)
    return wave[starts[loud[0]] : starts[loud[-1]] + block]


class LogMelPreprocessor(Preprocessor):
    """`x[t, m] = (log_mel[t, m] - mean_m) / std_m`, with mean and deviation over all training frames.

    Frames of 25 ms every 10 ms; 40 bands up to 8 kHz, 64 above. What lies more than 30 dB below the loudest band
    of a recording is raised to that: it is the room's noise rather than the sound. Silence before and behind the sound
    is left out: how much there is of it is chance, and it hides what the sound itself is on the average. A recording
    shorter than one frame is padded with silence to one; one longer than the cap loses its end.

    Args:
        n_mels: Number of mel bands; by the rate if None.
        window_seconds: Length of a frame, seconds.
        hop_seconds: From one frame to the next, seconds.
        max_frames: No recording keeps more frames, nor more than the 99th percentile of the training rows.
        trim: Whether silent ends are left out.

    Raises:
        ConfigError: A number out of range.
    """

    takes = "audio"
    bound = "max_frames"

    def __init__(
        self,
        *,
        n_mels: int | None = None,
        window_seconds: float = 0.025,
        hop_seconds: float = 0.010,
        max_frames: int = 1000,
        trim: bool = True,
    ) -> None:
        if (n_mels is not None and n_mels < 2) or not 0 < hop_seconds <= window_seconds or max_frames < 1:
            raise ConfigError(
                "LogMelPreprocessor: n_mels >= 2, 0 < hop_seconds <= window_seconds and max_frames >= 1 must hold; "
                f"got n_mels={n_mels}, hop_seconds={hop_seconds}, window_seconds={window_seconds}, "
                f"max_frames={max_frames}."
            )
        self.n_mels, self.max_frames = n_mels, max_frames
        self.window_seconds, self.hop_seconds, self.trim = window_seconds, hop_seconds, trim

    def fit(self, data: ModalityData) -> None:
        """Learns the rate, the largest number of frames, and each band's mean and standard deviation."""
        index = np.flatnonzero(data.present)
        if not len(index):
            raise DataError(
                "LogMelPreprocessor.fit: at least one training row must have a recording; got 0 of "
                f"{len(data)}. Leave this modality out."
            )
        if data.rate is None or data.rate < 100:
            raise DataError(
                f"LogMelPreprocessor.fit: the rate must be at least 100 samples a second; got rate={data.rate}. "
                "Set ModalityData.rate."
            )
        self.rate = int(data.rate)
        n_mels = self.n_mels or (40 if self.rate <= 8000 else 64)
        waves = self._waves(data, index)
        frames = self._n_frames(waves)
        cap, n_long = int(np.ceil(np.quantile(frames, 0.99))), int((frames > self.max_frames).sum())
        seconds = self.max_frames * self.hop_seconds
        self.notes = ()
        if cap > self.max_frames:
            self.notes = (f"{n_long} of {len(frames)} sounds are longer than {seconds:g} seconds: cut.",)
        self.spec = Spec(kind="audio", n_channels=n_mels, max_length=min(cap, self.max_frames))

        total, squares, n_frames = np.zeros(n_mels), np.zeros(n_mels), 0
        for _, values, mask in self._log_mel(waves):
            real = values[mask].double()
            total += real.sum(0).numpy()
            squares += real.square().sum(0).numpy()
            n_frames += len(real)
        self.mean = total / n_frames
        # a band that never varies carries nothing: it becomes 0, not a quotient by 0
        deviation = np.sqrt(np.maximum(squares / n_frames - self.mean**2, 0.0))
        self.std = np.where(deviation > 1e-3, deviation, 1.0)

    def transform(self, data: ModalityData) -> Raw:
        """Returns float32 `[row, frame, mel]` and mask `[row, frame]`; 0 where the mask is False.

        Raises:
            DataError: Another rate than in training, or a row that is no finite waveform.
        """
        if data.rate != self.rate:
            raise DataError(
                f"LogMelPreprocessor: the rate must be that of training, {self.rate} Hz; got rate={data.rate}. "
                "Resample the recordings first."
            )
        index = np.flatnonzero(data.present)
        waves = self._waves(data, index)
        frames = np.minimum(self._n_frames(waves), self.spec.max_length)
        longest = int(frames.max(initial=1))
        values = torch.zeros(len(data), longest, self.spec.n_channels)
        mask = torch.zeros(len(data), longest, dtype=torch.bool)
        mean = torch.tensor(self.mean, dtype=torch.float32)
        std = torch.tensor(self.std, dtype=torch.float32)
        for some, logs, real in self._log_mel(waves):
            at = torch.from_numpy(index[some])
            values[at, : logs.shape[1]] = ((logs - mean) / std).masked_fill(~real[..., None], 0.0)
            mask[at, : logs.shape[1]] = real
        return Raw(values, mask)

    def state(self) -> dict[str, Any]:
        return {
            "n_mels": self.n_mels,
            "window_seconds": self.window_seconds,
            "hop_seconds": self.hop_seconds,
            "max_frames": self.max_frames,
            "trim": self.trim,
            "rate": self.rate,
            "max_length": self.spec.max_length,
            "mean": self.mean,
            "std": self.std,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LogMelPreprocessor:
        new = cls(**{k: state[k] for k in ("n_mels", "window_seconds", "hop_seconds", "max_frames", "trim")})
        new.rate, new.mean, new.std = state["rate"], np.asarray(state["mean"]), np.asarray(state["std"])
        new.spec = Spec(kind="audio", n_channels=len(new.mean), max_length=state["max_length"])
        return new

    @property
    def _window(self) -> int:
        return max(2, round(self.window_seconds * self.rate))

    @property
    def _hop(self) -> int:
        return max(1, round(self.hop_seconds * self.rate))

    def _n_frames(self, waves: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
        lengths = np.array([len(wave) for wave in waves], dtype=np.int64)
        return 1 + np.maximum(lengths - self._window, 0) // self._hop

    def _waves(self, data: ModalityData, index: NDArray[np.intp]) -> list[NDArray[Any]]:
        """Returns the sound of each row, after refusing what is no waveform."""
        waves = []
        for i in index:
            wave = np.asarray(data.values[i])
            sound = wave.ndim == 1 and len(wave) > 0 and np.issubdtype(wave.dtype, np.floating)
            if not sound:
                raise DataError(
                    f"LogMelPreprocessor: row {i} must be a waveform [sample] of finite floats in -1..1, one channel; "
                    f"got dtype={wave.dtype}, shape={wave.shape}. Convert it (average the channels, divide integers by "
                    "their full scale), or mark the row as absent."
                )
            try:
                check_waveform(wave)
            except DataError as error:
                raise DataError(f"LogMelPreprocessor: row {i}: {error}, or mark the row as absent.") from error
            waves.append(without_silent_ends(wave, self._hop) if self.trim else wave)
        return waves

    def _log_mel(self, waves: Sequence[NDArray[Any]]) -> Iterator[tuple[NDArray[np.intp], Tensor, Tensor]]:
        """Yields which of the waves, log-mel `[row, frame, mel]` and mask, in chunks of similar length."""
        window, hop, cap = self._window, self._hop, self.spec.max_length
        frames = np.minimum(self._n_frames(waves), cap)
        order = np.argsort(frames, kind="stable")
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop - start + 1) * frames[order[stop]] * fft_size(window) <= _CHUNK_VALUES:
                stop += 1
            some = order[start:stop]
            n_samples = window + (int(frames[some].max()) - 1) * hop
            padded = torch.zeros(len(some), n_samples)
            for place, i in enumerate(some):
                wave = np.asarray(waves[i][:n_samples], dtype=np.float32)
                padded[place, : len(wave)] = torch.from_numpy(np.ascontiguousarray(wave))
            logs = log_mel(padded, self.rate, n_mels=self.spec.n_channels, window=window, hop=hop)
            real = torch.arange(logs.shape[1]) < torch.from_numpy(frames[some])[:, None]
            loudest = logs.masked_fill(~real[..., None], -math.inf).amax((1, 2), keepdim=True)
            yield some, torch.maximum(logs, loudest - _RANGE), real
            start = stop
