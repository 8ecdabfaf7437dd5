"""Where feedback enters a branch: into its raw values, between embed and mix, or between the stages of mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from profuse.encoders import Encoder, segment_widths, segments
from profuse.errors import ConfigError
from profuse.fusion import HierarchicalFusion
from profuse.layers.members import members_apart, members_together
from profuse.models.fusion_model import FusionModel
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = [
    "ENTRIES",
    "Below",
    "Entry",
    "below",
    "changed_raw",
    "check_entry",
    "entry_of",
    "entry_width",
    "raw_tokens",
    "rows_of",
]

Entry = Literal["input", "early", "later"]
ENTRIES: tuple[str, ...] = get_args(Entry)


def entry_of(encoder: Encoder, entry: Entry) -> Entry:
    """Returns where feedback enters this branch: "early" in place of "input" where the raw values are no numbers."""
    return "early" if entry == "input" and _n_numbers(encoder.spec) == 0 else entry


def entry_width(encoder: Encoder, entry: Entry) -> int:
    """Returns the channels of what feedback changes."""
    if entry == "input":
        return _n_numbers(encoder.spec)
    return encoder.embed_width if entry == "early" else segment_widths(encoder, 2)[0]


def _n_numbers(spec: Spec) -> int:
    """Channels of the raw values that are numbers: none where they are words, or what a model that is tuned reads."""
    if spec.vocabulary or spec.source:
        return 0
    return len(_number_at(spec)) if spec.cardinalities else spec.n_channels


def _number_at(spec: Spec) -> list[int]:
    return [column for column, n_codes in enumerate(spec.cardinalities) if n_codes == 0]


def raw_tokens(raw: Raw, spec: Spec) -> Tokens:
    """Returns the numbers of a raw batch as tokens: steps, frames, pixels; one for a vector or a table's numbers."""
    clean = raw.values.masked_fill(~raw.mask.reshape(*raw.mask.shape, *(1,) * (raw.values.ndim - raw.mask.ndim)), 0.0)
    if spec.cardinalities:
        return Tokens.vector(clean[:, _number_at(spec)], raw.present)
    if raw.mask.ndim == 2:
        return Tokens(clean, raw.mask)
    if clean.ndim == 2:
        return Tokens.vector(clean, raw.mask)
    places = clean.flatten(2).transpose(1, 2)
    return Tokens(places, raw.mask[:, None].expand(places.shape[:2]))


def changed_raw(raw: Raw, spec: Spec, values: Tensor) -> Raw:
    """Returns the raw batch with other numbers, `values` in the shape that `raw_tokens` gives."""
    values = values.to(raw.values.dtype)
    if spec.cardinalities:
        columns = torch.tensor(_number_at(spec), device=values.device)
        values = raw.values.index_copy(1, columns, values[:, 0])
    elif raw.mask.ndim == 1:
        values = values[:, 0] if raw.values.ndim == 2 else values.transpose(1, 2).reshape(raw.values.shape)
    return Raw(values, raw.mask)


@dataclass(frozen=True, eq=False)
class Below:
    """What lies below the feedback, of one batch: it runs once, whatever the number of rounds.

    Attributes:
        raw: The raw batch of the branches whose raw values feedback changes.
        tokens: Each modality's tokens where feedback enters, or of the first round where it enters the raw values.
        rest: What is left of an encoder's mix, by modality, where some of it has run.
        linear: What linear paths beside the model add to its outputs.
        n_rows: Rows of the batch; `tokens` are of them, or of the rows of all members one after another.
    """

    raw: Mapping[str, Raw]
    tokens: Mapping[str, Tokens]
    rest: Mapping[str, Callable[[Tokens], Tokens]]
    linear: Mapping[str, Tensor]
    n_rows: int

    def rows(self, index: Tensor) -> Below:
        """Returns the same of the rows `index`."""
        return replace(
            self,
            raw={name: raw.rows(index) for name, raw in self.raw.items()},
            tokens={name: rows_of(t, index, self.n_rows) for name, t in self.tokens.items()},
            linear={
                name: rows_of(Tokens.vector(added), index, self.n_rows).values[:, 0]
                for name, added in self.linear.items()
            },
            n_rows=len(index),
        )


def rows_of(tokens: Tokens, index: Tensor, n_rows: int) -> Tokens:
    """Returns the rows `index` of a batch of `n_rows`, of every member whose rows `tokens` holds."""
    n_members = len(tokens) // n_rows
    values, mask = (members_together(members_apart(x, n_members)[index]) for x in (tokens.values, tokens.mask))
    return Tokens(values, mask)


def below(model: FusionModel, inputs: Mapping[str, Raw], entries: Mapping[str, Entry]) -> Below:
    """Runs what lies below the feedback.

    Args:
        model: The plain model.
        inputs: A batch.
        entries: Where feedback enters, by modality; a branch that is not among them lies below as a whole.
    """
    tokens = {name: t.zeroed() for name, t in model.embed(inputs).items()}
    raw = {name: inputs[name] for name, entry in entries.items() if entry == "input"}
    rest: dict[str, Callable[[Tokens], Tokens]] = {}
    if model.level != "raw" and not isinstance(model.fusion, HierarchicalFusion):
        for name, encoder in model.encoder_of.items():
            if name not in entries:
                tokens[name], rest[name] = encoder.mix(tokens[name]), _as_they_are
            elif entries[name] == "later":
                first, rest[name] = segments(encoder, 2)
                tokens[name] = first(tokens[name])
    return Below(raw, tokens, rest, model.linear(inputs), next(iter(inputs.values())).values.shape[0])


def _as_they_are(tokens: Tokens) -> Tokens:
    return tokens


def check_entry(model: FusionModel, entry: str) -> None:
    """Raises where feedback cannot enter the model so.

    Raises:
        ConfigError: An unknown entry, or "later" in a model whose encoders' stages are not its own to step between.
    """
    if entry not in ENTRIES:
        raise ConfigError(f"ProgressiveFusion: entry must be one of {', '.join(ENTRIES)}; got entry={entry!r}.")
    if entry == "later" and (model.level == "raw" or isinstance(model.fusion, HierarchicalFusion)):
        raise ConfigError(
            "ProgressiveFusion: entry='later' must have an encoder's mix to step into, which no other step divides; "
            f"got level={model.level!r}, fusion={type(model.fusion).__name__}. Use entry='early' or 'input'."
        )
