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
    def spec(model: Model, data: ModalityData) -> tuple[Spec, str]:
        """Returns what training rows say, and a note of what is cut of them; "": none."""
        ...

    @staticmethod
    def raw(model: Model, data: ModalityData, spec: Spec) -> Raw:
        """Returns the rows as the model's encoder takes them."""
        ...


class Texts:
    """Numbers of tokens: long `[row, token, 1]`, mask `[row, token]`; a number is 1 + that of a token, 0 is none."""

    kind: ClassVar[str] = "text"

    @staticmethod
    def spec(model: Model, data: ModalityData) -> tuple[Spec, str]:
        lengths = [len(row) for row in _numbers(model, data) if row]
        most = min(int(np.ceil(np.percentile(lengths, 99))), _MOST_TOKENS)
        n_cut = sum(n > most for n in lengths)
        note = f"{n_cut} of {len(lengths)} texts are longer than {most} tokens: cut."
        n_words = len(model.part("processors:tokenizer_of")(model.folder, model.digest))
        spec = Spec(kind="text", vocabulary=1 + n_words, max_length=most, source=model.source)
        return spec, note * (n_cut > 0)

    @staticmethod
    def raw(model: Model, data: ModalityData, spec: Spec) -> Raw:
        rows = [row[: spec.max_length] for row in _numbers(model, data)]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        values = np.zeros((*mask.shape, 1), dtype=np.int64)
        values[mask, 0] = [1 + token for row in rows for token in row]
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))


def _numbers(model: Model, data: ModalityData) -> list[list[int]]:
    """Returns the tokens of each row; none of an absent one."""
    texts = rows_of_texts(data, where=_WHO)
    with model.part("processors:quiet")():
        tokenizer = model.part("processors:tokenizer_of")(model.folder, model.digest)
        most = min(_MOST_TOKENS, tokenizer.model_max_length)
        read = tokenizer(texts, truncation=True, max_length=most)["input_ids"]
    return [ids if there else [] for ids, there in zip(read, data.present, strict=True)]


class Pictures:
    """Pixels at the model's size: `[row, channel, height, width]`, mask `[row]`.

    They are bytes where the model's processor makes of bytes, by one factor and each channel's mean and deviation,
    what the model reads: that takes a quarter of the memory. Else they are what the model reads, float32.
    """

    kind: ClassVar[str] = "image"

    @staticmethod
    def spec(model: Model, data: ModalityData) -> tuple[Spec, str]:
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
            if pixels.shape[2:] != spec.image_size:
                raise DataError(
                    f"{_WHO}: the processor of {model.source!r} must make pictures of one size, that of training, "
                    f"{spec.image_size}; it makes {pixels.shape[2:]} of rows {some[0]} to {some[-1]}. Use it frozen: "
                    f"hf:{model.source}."
                )
            values[torch.from_numpy(some)] = torch.from_numpy(pixels)
        return Raw(values, torch.from_numpy(data.present.copy()))


def _pixels(model: Model, data: ModalityData, index: np.ndarray) -> np.ndarray:
    as_bytes = model.part("inputs:scales_bytes")(model.folder, model.digest)
    pictures = [np.asarray(data.values[i]) for i in index]
    made: np.ndarray = model.part("inputs:pixels_of")(model.folder, model.digest, pictures, as_bytes=as_bytes)
    return made if as_bytes else made.astype(np.float32)


class Sounds:
    """Samples at the model's rate, or the frames that it reads: float32 `[row, step, channel]`, mask `[row, step]`.

    Behind a sound's frames stand those that still hear its end, and one of silence, which its encoder repeats.
    """

    kind: ClassVar[str] = "audio"

    @staticmethod
    def spec(model: Model, data: ModalityData) -> tuple[Spec, str]:
        reader, sounds = _reader(model), _sounds(data)
        n_steps = [reader.n_steps(sound) for sound in sounds]
        limit = model.part("inputs:steps_for")(model.folder, model.digest, _MOST_TOKENS)
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


CELLS: dict[str, type[Cells]] = {cells.kind: cells for cells in (Texts, Pictures, Sounds)}
"""By the kind of their modality."""
