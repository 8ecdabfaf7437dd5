"""Sounds: files, or waveforms with their rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.arrays import floats, narrow_row, no_fit
from profuse.data.media import AUDIO_SUFFIXES, check_waveform, full_scale, read_audio, resample
from profuse.data.media.videos import VIDEO_SUFFIXES, read_sound_track
from profuse.data.wording import counted
from profuse.errors import ConfigError, DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._rows import axis_sizes
from profuse.kinds._units import stretches
from profuse.kinds.noise.samples import SAMPLES

__all__ = ["AUDIO", "AudioKind"]


_BANDS = (0.125, 0.25, 0.5, 1.0)  # upper ends, of half the rate
_WINDOW = 256  # samples
_OCTAVES = 5  # that a picture shows


class AudioKind(Kind):
    """Arrays `[sample]` of floats, full scale -1..1, and their samples a second."""

    name = "audio"
    noun = "sounds"
    suffixes = AUDIO_SUFFIXES
    preprocessor = "logmel"
    feature_sets = ("logmel",)
    encoder = "audio_cnn"
    has_rate = True
    corruptions = SAMPLES
    usual = ("white", "gap")

    def check(self, value: Any) -> np.ndarray:
        return full_scale(np.asarray(value))

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        column = columns[0]

        def one(cell: Any) -> tuple[np.ndarray, int] | None:
            if not isinstance(cell, str):
                raise DataError("a sound must be the path of a file; for arrays use from_tensors with rates")
            path = cells.path(cell)
            if not path.name.lower().endswith(VIDEO_SUFFIXES):
                return read_audio(path, tell=cells.tell)
            sound = read_sound_track(path)
            if sound is None:
                cells.tell("the video has no sound, which is missing there")
            return sound

        result = cells.each(column, one, self.noun)
        rates = Counter(v[1] for v in result if v is not None)
        rate = cells.rates.get(name) or (max(rates, key=lambda r: (rates[r], -r)) if rates else 16_000)
        others = sum(n for r, n in rates.items() if r != rate)
        if others:
            which = ", ".join(f"{n} of {r} Hz" for r, n in sorted(rates.items()) if r != rate)
            cells.notes.append(f"Column {column!r}: {others} sounds ({which}) were resampled to {rate} Hz.")
        waves: list[np.ndarray] = []
        for i, sound in enumerate(result):
            try:
                waves.append(np.zeros(1, np.float32) if sound is None else resample(sound[0], sound[1], rate))
            except DataError as error:
                raise DataError(f"row {counted(i)} (counted from 0), column {column!r}: {error}.") from error
        return ModalityData(self.name, object_array(waves), np.array([v is not None for v in result]), rate)

    def read_arrays(self, given: Given) -> ModalityData:
        values, present = given.values, given.present
        if given.rate is None:
            raise ConfigError(
                f"modality {given.name!r}: audio needs its samples a second; got none. Give "
                f"rates={{{given.name!r}: 16000}}, or a Dataset of from_tensors where there is no such argument."
            )
        if isinstance(values, pd.DataFrame) or any(isinstance(v, str) for v in values):
            raise DataError(
                f"modality {given.name!r}: sounds must be arrays [row, sample] or a list of [sample]; got "
                f"{type(values).__name__}. Name the files of sounds in a column of a table."
            )
        if isinstance(values, np.ndarray):
            waves = floats(given.name, full_scale(values), present)
            if waves.ndim != 2:
                raise no_fit(given.name, self.name, values.shape)
            present = present & ~np.isnan(waves).all(axis=1)
            for i in np.flatnonzero(present).tolist():
                _check(given.name, i, waves[i])
            return ModalityData(self.name, waves, present, given.rate)
        rows = [np.zeros(1, np.float32)] * len(values)
        for i, value in given.rows:
            rows[i] = narrow_row(given.name, i, value, self.check)
            if rows[i].ndim != 1 or rows[i].size == 0:
                raise DataError(
                    f"modality {given.name!r}, row {i} (counted from 0): must be [sample] and not empty; got "
                    f"shape={rows[i].shape}. Use None where it is missing."
                )
            _check(given.name, i, rows[i])
        return ModalityData(self.name, object_array(rows), present, given.rate)

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        (samples,) = axis_sizes(data, rows, ("samples",)).values()
        return {"seconds": samples / data.rate} if data.rate else {"samples": samples}

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Stretches of time, in four bands of frequency. `where` is (start, stop in s, low, high in Hz)."""
        rate, n = data.rate or 1, len(data.values[row])
        edges = [0.0, *(rate / 2 * share for share in _BANDS)] if most >= 2 * len(_BANDS) else [0.0, rate / 2]
        times = stretches(n, max(1, min(most // (len(edges) - 1), n // _WINDOW)))
        return [
            Unit(f"{a / rate:.2f} to {b / rate:.2f} s, {low:.0f} to {high:.0f} Hz", (a / rate, b / rate, low, high))
            for a, b in times
            for low, high in pairwise(edges)
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Silences a band for a while, in a short-time Fourier transform."""
        from scipy.signal import istft, stft

        wave, rate = np.asarray(data.values[row], dtype=np.float64), data.rate or 1
        window = min(_WINDOW, len(wave))
        hz, seconds, spectrum = stft(wave, rate, nperseg=window)
        waves = []
        for of in kept:
            left = spectrum.copy()
            for unit, there in zip(units, of, strict=True):
                start, stop, low, high = unit.where
                if not there:
                    inside = (seconds >= start) & ((seconds < stop) | (stop * rate >= len(wave)))
                    # the highest band holds its upper end
                    left[np.ix_((hz >= low) & ((hz < high) | (high * 2 >= rate)), inside)] = 0
            made = wave if of.all() else istft(left, rate, nperseg=window)[1][: len(wave)].clip(-1, 1)
            waves.append(made.astype(np.float32))
        return replace(super().keep(data, row, units, kept), values=object_array(waves))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """A spectrogram: time to the right, frequency upwards in octaves, 80 dB from black to white."""
        from scipy.signal import stft

        wave, rate = np.asarray(data.values[row], dtype=np.float64), data.rate or 1
        spectrum = np.abs(stft(wave, rate, nperseg=min(_WINDOW, len(wave)))[2])
        low = 2.0**-_OCTAVES  # of half the rate
        rows = np.geomspace(1.0, low, 32 * _OCTAVES) * (len(spectrum) - 1)
        decibels = 20 * np.log10(spectrum[np.rint(rows).astype(int)] / max(float(spectrum.max()), 1e-12) + 1e-12)
        grey = np.rint(255 * (1 + decibels / 80).clip(0, 1)).astype(np.uint8)

        def height(hz: float) -> float:
            """Returns how far below the top a frequency lies."""
            return float(min(1.0, np.log2(rate / 2 / max(hz, 1e-9)) / _OCTAVES))

        seconds = len(wave) / rate
        boxes = [(u.where[0] / seconds, u.where[1] / seconds, height(u.where[3]), height(u.where[2])) for u in units]
        axes = (f"0 to {seconds:.2f} s", f"{low * rate / 2:.0f} to {rate / 2:.0f} Hz")
        return Drawing(picture=np.repeat(grey[..., None], 3, axis=-1), boxes=boxes, axes=axes)

    def describe(self, spec: Spec) -> str:
        if spec.source and spec.n_channels == 1:
            return f"up to {spec.max_length} samples"
        return f"up to {spec.max_length} frames of {spec.n_channels} mel bands"


def _check(name: str, row: int, wave: np.ndarray) -> None:
    try:
        check_waveform(wave)
    except DataError as error:
        raise DataError(f"modality {name!r}, row {row} (counted from 0): {error}.") from error


AUDIO = AudioKind()
