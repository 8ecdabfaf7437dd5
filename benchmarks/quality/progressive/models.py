"""Base models of the study, their progressive twins, and plain twins of the same compute."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from profuse.encoders import Encoder
from profuse.encoders.audio import AudioEncoder
from profuse.encoders.image import ConvEncoder
from profuse.encoders.recurrent import RecurrentEncoder
from profuse.encoders.series_patch import SeriesPatchEncoder
from profuse.encoders.text import WordEncoder
from profuse.encoders.vector import VectorEncoder
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.progressive import ProgressiveFusion
from profuse.schema import Spec
from profuse.tokens import Raw
from profuse.training.fitting import Prepared

__all__ = ["TWINS", "Base", "Size", "build", "flops", "size_of"]

MATCHED = 2
"""Rounds whose compute the wider and the deeper plain twin have."""
TWINS: dict[str, dict[str, Any]] = {
    "plain": {},
    "2 rounds": {"rounds": 2},
    "3 rounds": {"rounds": 3},
    "4 rounds": {"rounds": 4},
    "wider": {},
    "wider, no bottleneck": {},
    "deeper": {},
    # what feedback is made of: looked at where it matters
    "2 rounds, input": {"rounds": 2, "entry": "input"},
    "2 rounds, add": {"rounds": 2, "feedback": "add"},
    "2 rounds, concat": {"rounds": 2, "feedback": "concat"},
    "2 rounds, gate": {"rounds": 2, "feedback": "gate"},
    "2 rounds, detached": {"rounds": 2, "gradient_rounds": 1},
    "3 rounds, all supervised": {"rounds": 3, "supervise": "all"},
    "equilibrium": {"rounds": "equilibrium"},
}
"""How a twin differs from its plain model, by name; the wider and the deeper ones differ in size."""


@dataclass(frozen=True)
class Size:
    """Channels and layers of every part; `narrow` is the width of what one encoder hands on (pointer only)."""

    width: int
    depth: int = 1
    narrow: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """A way of fusing, by the names that profuse gives it.

    Attributes:
        fusion: Operator.
        series: What reads a series.
        level: Where it fuses; the operator's own if None.
        early: Series (and vectors, repeated over time) are joined channel by channel to one before they are read.
        balance: Remedy for imbalance.
        options: The operator's options.
    """

    fusion: str
    series: Literal["lstm", "transformer"] = "lstm"
    level: Literal["raw"] | None = None
    early: bool = False
    balance: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def encoder_of(spec: Spec, size: Size, base: Base, *, width: int | None = None, dropout: float = 0.1) -> Encoder:
    """Returns an encoder whose every part grows with the size's width and depth."""
    w, d = size.width, size.depth
    out = width or w
    if spec.kind == "vector":
        return VectorEncoder(spec, out, embed_width=w, hidden_width=2 * w, n_blocks=d, dropout=dropout)
    if spec.kind == "series" and base.series == "lstm":
        return RecurrentEncoder(
            spec, out, n_layers=d, cell="lstm", bidirectional=False, last=True, max_steps=32,
            n_frequencies=0, dropout=dropout,
        )  # fmt: skip
    if spec.kind == "series":
        return SeriesPatchEncoder(spec, out, n_blocks=d, max_tokens=16, n_frequencies=0, dropout=dropout)
    if spec.kind == "image":
        return ConvEncoder(
            spec, out, dims=(w // 4, w * 3 // 8, w * 3 // 4), depths=(0, d, d), dropout=dropout, augment=0.0
        )
    if spec.kind == "audio":
        return AudioEncoder(spec, out, dims=(w // 8, w // 4, w // 2), depths=(0, d, d), dropout=dropout)
    if spec.kind == "text":
        return WordEncoder(spec, out, n_blocks=d, dropout=dropout)
    raise ValueError(f"encoder_of: kind must be vector, series, image, audio or text; got kind={spec.kind!r}.")


def build(
    prepared: Prepared, base: Base, twin: str, size: Size, *, seed: int, dropout: float = 0.1
) -> FusionModel | ProgressiveFusion:
    """Returns an untrained model; a plain model and its progressive twins start from equal weights at one seed."""
    specs, codec = prepared.pipeline.specs, prepared.codec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = {
            name: encoder_of(specs[name], size, base, width=size.narrow.get(name), dropout=dropout)
            for name in sorted(specs)
        }
    own = dict(base.options)
    if base.fusion == "mult":
        own |= {"n_layers": size.depth, "token_width": size.width}
    options = ModelOptions(
        fusion=base.fusion,
        level=base.level,
        width=size.width,
        dropout=dropout,
        label_smoothing=0.0,
        unimodal_loss_weight=1.0 if base.balance else 0.0,
        members=1,
        operator_options={base.fusion: own} if own else {},
        **TWINS[twin],
    )
    task, n_rows = prepared.task, len(prepared.split.train)
    return build_model(specs, task, codec.n_outputs, options, n_rows=n_rows, seed=seed, encoders=encoders)


def flops(model: FusionModel | ProgressiveFusion, inputs: Mapping[str, Raw], *, n_rows: int = 8) -> float:
    """Returns the floating-point operations of one row's prediction, counted over `n_rows` rows.

    Multiplications of matrices, convolutions and attention are counted, each multiply-add as two; what is done element
    by element is not.
    """
    batch = {name: raw.rows(torch.arange(n_rows)) for name, raw in inputs.items()}
    was_training = model.training
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", UserWarning)  # of the flag, about hardware that is not there
        # oneDNN's recurrent layers and the CPU's own attention are not counted
        plain = torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH)
        with plain[0], plain[1], FlopCounterMode(display=False) as counter:
            model.eval()(batch)
    model.train(was_training)
    return float(counter.get_total_flops() / n_rows)


def size_of(prepared: Prepared, base: Base, twin: str, size: Size) -> Size:
    """Returns the size of a twin: of the wider and the deeper ones that whose compute is nearest to `MATCHED` rounds'.

    "wider" keeps a narrow encoder narrow; "wider, no bottleneck" makes it as wide as all else.
    """
    if not twin.startswith(("wider", "deeper")):
        return size

    def cost(twin: str, size: Size) -> float:
        return flops(build(prepared, base, twin, size, seed=0), prepared.inputs)

    aim = cost(f"{MATCHED} rounds", size)
    if twin == "wider, no bottleneck":
        size = replace(size, narrow={})
    best, nearest = size, math.inf
    step = 8 if any(spec.kind == "audio" for spec in prepared.pipeline.specs.values()) else 4
    tried = (
        (replace(size, width=size.width + step * k) for k in range(32))
        if twin.startswith("wider")
        else (replace(size, depth=size.depth + k) for k in range(1, 16))
    )
    for one in tried:
        found = cost("plain", one)
        if abs(math.log(found / aim)) < nearest:
            best, nearest = one, abs(math.log(found / aim))
        if found > aim:
            break
    return best
