"""Which options of its encoder a data set calls for: asked of each encoder once, with training and validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from profuse.encoders import Rows, encoder
from profuse.kinds import kind_named
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["Choice", "choose", "encoder_named"]


@dataclass(frozen=True)
class Choice:
    """What an encoder has chosen for a modality.

    Attributes:
        encoder: The encoder's name.
        words: The choice, for a note.
        options: What is set.
    """

    encoder: str
    words: str
    options: Mapping[str, Any]


def encoder_named(name: str, spec: Spec, options: ModelOptions) -> str:
    """Returns the name of the encoder of the modality `name`."""
    return options.encoders.get(name) or kind_named(spec.kind).encoder


def choose(
    specs: Mapping[str, Spec],
    inputs: Mapping[str, Raw],
    target: Tensor,
    train_rows: Tensor,
    valid_rows: Tensor,
    options: ModelOptions,
) -> dict[str, Choice]:
    """Returns what each modality's encoder chooses, see `Encoder.suited`; rows without the modality are left out.

    Nothing is chosen that `options` already say.

    Args:
        specs: The modalities to look at.
        inputs: All rows of each.
        target: All rows' targets, encoded.
        train_rows: Rows that are learned from.
        valid_rows: Rows that decide.
        options: How models are made.
    """
    choices = {}
    for name, spec in specs.items():
        named, raw = encoder_named(name, spec, options), inputs[name]
        learn, judge = (rows[raw.present[rows]] for rows in (train_rows, valid_rows))
        asked = options.encoder_options.get(name, {})
        with torch.random.fork_rng():  # who asks may make networks
            suited = encoder(named).suited(spec, Rows(raw, target, learn), Rows(raw, target, judge))
        if suited is not None and not set(suited.options) & set(asked):
            choices[name] = Choice(named, suited.words, suited.options)
    return choices
