"""Other encoders of a modality than the one that all models have: what they read, prepared once for all fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from profuse._lookup import resolve
from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.split import Split
from profuse.encoders import check_reads, reader_for
from profuse.models.options import ModelOptions
from profuse.tokens import Raw
from profuse.training.choices import Choice, choose

__all__ = ["Alternative", "Others", "alternatives", "others_than", "replaced", "short_names"]


Others = Mapping[str, Sequence[str]]
"""Encoders by modality."""


@dataclass(frozen=True, eq=False)
class Alternative:
    """What another encoder reads.

    Attributes:
        pipeline: Of the modality alone, fitted on training rows.
        raw: All rows.
        choice: What it has chosen for them.
    """

    pipeline: Pipeline
    raw: Raw
    choice: Choice | None


def alternatives(
    dataset: Dataset, split: Split, target: Tensor, encoders: Others, options: ModelOptions
) -> dict[tuple[str, str], Alternative]:
    """Returns what each of the encoders reads, by modality and encoder.

    Args:
        dataset: All rows.
        split: Of them.
        target: Encoded.
        encoders: By modality.
        options: What all models share.
    """
    rows = torch.as_tensor(split.train), torch.as_tensor(split.valid)
    made: dict[tuple[str, str], Alternative] = {}
    for name, several in encoders.items():
        alike: dict[str, tuple[Pipeline, Raw]] = {}  # by preprocessor
        for encoder in several:
            data = resolve(name, dataset.modalities, where="encoders", what="modality")
            check_reads(encoder, data, who="encoders", modality=name)
            reader = reader_for(encoder, data)
            if reader not in alike:
                alone = replace(dataset.select([name]), modalities={name: replace(data, preprocess=reader)})
                pipeline = Pipeline.fit(alone, split.train)
                alike[reader] = pipeline, pipeline.transform_one(alone, name)
            pipeline, raw = alike[reader]
            asked = options.model_copy(update={"encoders": {name: encoder}, "encoder_options": {}})
            choice = choose(pipeline.specs, {name: raw}, target, *rows, asked).get(name)
            made[name, encoder] = Alternative(pipeline, raw, choice)
    return made


def replaced(
    pipeline: Pipeline, choices: Mapping[str, Choice], made: Mapping[str, Alternative]
) -> tuple[Pipeline, dict[str, Choice]]:
    """Returns the pipeline, and what encoders have chosen, with those of some modalities replaced."""
    parts, names = dict(pipeline.preprocessors), dict(pipeline.names)
    chosen = {m: choice for m, choice in choices.items() if m not in made}
    for m, other in made.items():
        parts[m], names[m] = other.pipeline.preprocessors[m], other.pipeline.names[m]
        chosen |= {} if other.choice is None else {m: other.choice}
    return Pipeline(parts, names), chosen


def others_than(encoders: Mapping[str, str], asked: Others) -> dict[str, tuple[str, ...]]:
    """Returns the encoders that are `asked` for by modality, without those that all models have, once each."""
    return {m: tuple(dict.fromkeys(e for e in each if e != encoders.get(m))) for m, each in asked.items()}


def short_names(encoders: Iterable[str]) -> dict[str, str]:
    """Returns names for tables: of a folder its last part, where that tells them apart."""
    whole = list(dict.fromkeys(encoders))
    short = [_short(name) for name in whole]
    return {name: s if short.count(s) == 1 else name for name, s in zip(whole, short, strict=True)}


def _short(name: str) -> str:
    form, colon, source = name.partition(":")
    return f"{form}:{source.rstrip('/').rpartition('/')[2]}" if colon else name
