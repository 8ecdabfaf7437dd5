"""Cells of each kind -> what the pretrained model that is tuned to the target reads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch

from profuse._lookup import load
from profuse.data.dataset import ModalityData
from profuse.data.embeddings import Sound
from profuse.data.embeddings.vectors import cells_of
from profuse.data.pictures import check_pictures
from profuse.data.words import rows_of_texts
from profuse.errors import DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["CELLS", "Cells", "Model"]

_MOST_TOKENS = 256
"""Of a text or a sound, unless the schema says `max_length`."""
_AT_ONCE = 64
_WHO = "TrunkPreprocessor"


class Model(NamedTuple):
    """A pretrained model: its name, its folder, and the digest of its files."""

    source: str
    folder: Path
    digest: str

    def part(self, name: str) -> Any:
        """Returns a function of what stands before models: nothing heavy is imported before it is called."""
        return load(f"profuse.data.embeddings.{name}")


class Cells(Protocol):
    """How the cells of a kind are read."""

    kind: ClassVar[str]

    @staticmethod
    def spec(model: Model, data: ModalityData, most: int | None) -> tuple[Spec, str]:
        """Returns what training rows say, and a note of what is cut of them; "": none.

        Args:
            model: The model.
            data: Training rows.
            most: The most tokens, or frames, of a row; None: the usual bound.
        """
        ...

    @staticmethod
    def unbounded(model: Model) -> str:
        """Returns why there is nothing to bound, as an error ends; "" where `most` is a bound."""
        ...

    @staticmethod
    def raw(model: Model, data: ModalityData, spec: Spec) -> Raw:
        """Returns the rows as the model's encoder takes them."""
        ...


class Texts:
    """Numbers of tokens: long `[row, token, 1]`, mask `[row, token]`; a number is 1 + that of a token, 0 is none."""

    kind: ClassVar[str] = "text"

    @staticmethod
    def unbounded(model: Model) -> str:
        return ""

    @staticmethod
    def spec(model: Model, data: ModalityData, most: int | None) -> tuple[Spec, str]:
        lengths = [len(row) for row in _numbers(model, data, most or _MOST_TOKENS) if row]
        most = min(int(np.ceil(np.percentile(lengths, 99))), most or _MOST_TOKENS)
        n_cut = sum(n > most for n in lengths)
        note = f"{n_cut} of {len(lengths)} texts are longer than {most} tokens: cut."
        n_words = len(model.part("processors:tokenizer_of")(model.folder, model.digest))
        spec = Spec(kind="text", vocabulary=1 + n_words, max_length=most, source=model.source)
        return spec, note * (n_cut > 0)

    @staticmethod
    def raw(model: Model, data: ModalityData, spec: Spec) -> Raw:
        rows = [row[: spec.max_length] for row in _numbers(model, data, spec.max_length)]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        values = np.zeros((*mask.shape, 1), dtype=np.int64)
        values[mask, 0] = [1 + token for row in rows for token in row]
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))


def _numbers(model: Model, data: ModalityData, most: int) -> list[list[int]]:
    """Returns the tokens of each row, `most` at least where it has them and the model reads them; none if absent."""
    texts = rows_of_texts(data, where=_WHO)
    with model.part("processors:quiet")():
        tokenizer = model.part("processors:tokenizer_of")(model.folder, model.digest)
        limit = model.part("inputs:most_positions")(model.folder, model.digest)
        most = min(max(_MOST_TOKENS, most), tokenizer.model_max_length, limit)
        read = tokenizer(texts, truncation=True, max_length=most)["input_ids"]
    return [ids if there else [] for ids, there in zip(read, data.present, strict=True)]


class Pictures:
    """Pixels at the model's size: `[row, channel, height, width]`, mask `[row]`.

    They are bytes where the model's processor makes of bytes, by one factor and each channel's mean and deviation,
    what the model reads: that takes a quarter of the memory. Else they are what the model reads, float32.
    """

    kind: ClassVar[str] = "image"

    @staticmethod
    def unbounded(model: Model) -> str:
        return "a picture is read whole"

    @staticmethod
    def spec(model: Model, data: ModalityData, most: int | None) -> tuple[Spec, str]:
        index = np.flatnonzero(data.present)
        check_pictures(data, index, _WHO)
        size = _pixels(model, data, index[:1]).shape[2:]
        return Spec(kind="image", n_channels=3, image_size=size, source=model.source), ""

    @staticmethod
    def raw(model: Model, data: ModalityData, spec: Spec) -> Raw:
        index = np.flatnonzero(data.present)
        check_pictures(data, index, _WHO)
        as_bytes = model.part("inputs:scales_bytes")(model.folder, model.digest)
        values = torch.zeros(len(data), 3, *spec.image_size, dtype=torch.uint8 if as_bytes else torch.float32)
        for start in range(0, len(index), _AT_ONCE):
            some = index[start : start + _AT_ONCE]
            pixels = _pixels(model, data, some)
            _check_size(model, spec, pixels, f"rows {some[0]} to {some[-1]}")
            values[torch.from_numpy(some)] = torch.from_numpy(pixels)
        return Raw(values, torch.from_numpy(data.present.copy()))


def _pixels(model: Model, data: ModalityData, index: np.ndarray) -> np.ndarray:
    as_bytes = model.part("inputs:scales_bytes")(model.folder, model.digest)
    pictures = [np.asarray(data.values[i]) for i in index]
    made: np.ndarray = model.part("inputs:pixels_of")(model.folder, model.digest, pictures, as_bytes=as_bytes)
    return made if as_bytes else made.astype(np.float32)


def _check_size(model: Model, spec: Spec, pixels: np.ndarray, of: str) -> None:
    if pixels.shape[2:] != spec.image_size:
        raise DataError(
            f"{_WHO}: the processor of {model.source!r} must make pictures of one size, that of training, "
            f"{spec.image_size}; it makes {pixels.shape[2:]} of {of}. Use it frozen: hf:{model.source}."
        )


class Videos:
    """Frames, evenly spaced, as `Pictures` has pictures: `[row, frame, channel, height, width]`.

    They are as many as a model of videos reads, and the mask is `[row]`; for a model of pictures all of a video, 16 at
    most, mask `[row, frame]`.
    """

    kind: ClassVar[str] = "video"

    @staticmethod
    def unbounded(model: Model) -> str:
        n = model.part("inputs:frames_read")(model.folder, model.digest)
        return "" if n is None else f"a model of videos reads {n} frames of each"

    @staticmethod
    def spec(model: Model, data: ModalityData, most: int | None) -> tuple[Spec, str]:
        index = np.flatnonzero(data.present)
        _check_videos(data, index)
        model.part("inputs:check_reads_videos")(model.folder, model.digest)
        n = model.part("inputs:frames_read")(model.folder, model.digest)
        if n is None:
            usual, longest = model.part("videos:MOST_PICTURES"), max(len(data.values[i]) for i in index)
            n = usual if most is None else min(most, max(longest, usual))
        size = _clip(model, np.asarray(data.values[index[0]]), 1).shape[2:]
        return Spec(kind="video", n_channels=3, image_size=size, max_length=n, source=model.source), ""

    @staticmethod
    def raw(model: Model, data: ModalityData, spec: Spec) -> Raw:
        index = np.flatnonzero(data.present)
        _check_videos(data, index)
        n = model.part("inputs:frames_read")(model.folder, model.digest)
        lengths = np.zeros(len(data), dtype=np.int64)
        lengths[index] = [min(len(data.values[i]), spec.max_length) for i in index]
        n_frames = max(1, lengths.max(initial=0)) if n is None else n
        as_bytes = model.part("inputs:scales_bytes")(model.folder, model.digest)
        shape = (len(data), n_frames, 3, *spec.image_size)
        kept = np.zeros(shape, dtype=np.uint8 if as_bytes else np.float32)
        for i in index:
            frames = _clip(model, np.asarray(data.values[i]), spec.max_length)
            _check_size(model, spec, frames, f"row {i}")
            kept[i, : len(frames)] = frames
        mask = np.arange(n_frames) < lengths[:, None] if n is None else np.array(data.present)
        return Raw(torch.from_numpy(kept), torch.from_numpy(mask))


def _clip(model: Model, video: np.ndarray, most: int) -> np.ndarray:
    as_bytes = model.part("inputs:scales_bytes")(model.folder, model.digest)
    made: np.ndarray = model.part("inputs:clip_of")(model.folder, model.digest, video, most, as_bytes=as_bytes)
    return made


def _check_videos(data: ModalityData, index: np.ndarray) -> None:
    for i in index:
        video = np.asarray(data.values[i])
        if video.ndim != 4 or 0 in video.shape or video.dtype.kind not in "uf" or not np.isfinite(video).all():
            raise DataError(
                f"{_WHO}: row {i} must be a video [frame, height, width, channel], of bytes or of floats in 0..1; got "
                f"{video.dtype}{video.shape}. Convert it, or mark the row as absent."
            )


class Sounds:
    """Samples at the model's rate, or the frames that it reads: float32 `[row, step, channel]`, mask `[row, step]`.

    Behind a sound's frames stand those that still hear its end, and one of silence, which its encoder repeats.
    """

    kind: ClassVar[str] = "audio"

    @staticmethod
    def unbounded(model: Model) -> str:
        return ""

    @staticmethod
    def spec(model: Model, data: ModalityData, most: int | None) -> tuple[Spec, str]:
        reader, sounds = _reader(model), _sounds(data)
        n_steps = [reader.n_steps(sound) for sound in sounds]
        limit = model.part("inputs:steps_for")(model.folder, model.digest, most or _MOST_TOKENS)
        most = min(int(np.ceil(np.percentile(n_steps, 99))), limit)
        n_cut, seconds = sum(n > most for n in n_steps), most * reader.hop / reader.rate
        note = f"{n_cut} of {len(n_steps)} sounds are longer than {seconds:.3g} seconds: cut."
        spec = Spec(kind="audio", n_channels=reader.n_channels, max_length=most + reader.n_behind, source=model.source)
        return spec, note * (n_cut > 0)

    @staticmethod
    def raw(model: Model, data: ModalityData, spec: Spec) -> Raw:
        reader = _reader(model)
        read = [reader.read(sound, spec.max_length - reader.n_behind) for sound in _sounds(data)]
        longest = max((len(steps) for steps in read), default=1)
        values = np.zeros((len(data), longest, spec.n_channels), dtype=np.float32)
        mask = np.zeros((len(data), longest), dtype=bool)
        for i, steps in zip(np.flatnonzero(data.present), read, strict=True):
            values[i, : len(steps)], mask[i, : len(steps)] = steps, True
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))


def _reader(model: Model) -> Any:
    return model.part("inputs:sound_reader")(model.folder, model.digest)


def _sounds(data: ModalityData) -> list[Sound]:
    if data.rate is None:
        raise DataError(f"{_WHO}: sounds must have a rate; got rate=None. Set ModalityData.rate.")
    return cells_of(data)


CELLS: dict[str, type[Cells]] = {cells.kind: cells for cells in (Texts, Pictures, Videos, Sounds)}
"""By the kind of their modality."""
