"""Axes of batch and channels: what torch's own layers say, else tokens, else the user."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

__all__ = ["RECURRENT", "Layout", "Side", "layout_of"]

Side = Literal["input", "output"]
Layout = tuple[int, int]
"""The axes of batch and channels, in a tensor of at least three axes."""

_CHANNELS_SECOND = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
RECURRENT = (nn.RNN, nn.GRU, nn.LSTM)


def layout_of(layer: Any, side: Side) -> Layout | None:
    """Returns the layout of what `layer` takes or gives first, None where its type does not say.

    Types derived from torch's say nothing: a norm over channels that come first is derived from one of the last axis.
    """
    kind = type_before_parametrizations(layer)
    if kind is nn.Sequential and len(layer):
        return layout_of(layer[0 if side == "input" else -1], side)
    if kind in _CHANNELS_SECOND:
        return 0, 1
    if kind in _CHANNELS_LAST:
        return 0, -1
    if kind in (nn.TransformerEncoder, nn.TransformerDecoder):
        layer = layer.layers[0]
    if type(layer) in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer):
        layer = layer.self_attn
    if type(layer) in (*RECURRENT, nn.MultiheadAttention, nn.Transformer):
        return (0 if layer.batch_first else 1), -1
    return None
