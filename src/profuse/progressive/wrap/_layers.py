"""What torch's layers tell about the tensors they take and give: axes of batch and channels, and how wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from profuse.progressive.wrap._calls import tensors
from profuse.progressive.wrap._reuse import Call

__all__ = ["RECURRENT", "Layout", "Side", "declared", "layout_of", "layout_within"]

Side = Literal["input", "output"]


@dataclass(frozen=True)
class Layout:
    """The axes of a tensor with at least three of them; with two they are batch and channel."""

    batch: int = 0
    channel: int = -1

    @classmethod
    def usual(cls, n_axes: int) -> Layout:
        """Where nothing tells: `[batch, ..., channel]` up to three axes, `[batch, channel, ...]` with more."""
        return cls(0, -1 if n_axes <= 3 else 1)


_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORM = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
_POOL = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
RECURRENT = (nn.RNN, nn.GRU, nn.LSTM)
_CELLS = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
_POSITIONWISE = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder)


def declared(layer: nn.Module, side: Side) -> tuple[Layout | None, int | None]:
    """Returns layout and width of what `layer` takes or gives first, None for what its type does not tell."""
    takes = side == "input"
    if isinstance(layer, nn.Sequential):
        for child in layer if takes else reversed(layer):
            if not _elementwise(child):
                return declared(child, side)
        return None, None
    if isinstance(layer, _CONV):
        return Layout(0, 1), layer.in_channels if takes else layer.out_channels
    if isinstance(layer, _NORM):
        return Layout(0, 1), layer.num_features
    if isinstance(layer, nn.GroupNorm):
        return Layout(0, 1), layer.num_channels
    if isinstance(layer, _POOL):
        return Layout(0, 1), None
    if isinstance(layer, nn.Linear):
        return Layout(), layer.in_features if takes else layer.out_features
    # not those derived from them, whose channels may come first
    if (type(layer) is nn.LayerNorm or type(layer) is nn.RMSNorm) and len(layer.normalized_shape) == 1:
        return Layout(), layer.normalized_shape[0]
    if isinstance(layer, nn.Embedding) and not takes:
        return Layout(), layer.embedding_dim
    if isinstance(layer, RECURRENT):
        given = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)
        return Layout(0 if layer.batch_first else 1), layer.input_size if takes else given
    if isinstance(layer, _CELLS):
        return Layout(), layer.input_size if takes else layer.hidden_size
    return _attention(layer)


def _attention(layer: nn.Module) -> tuple[Layout | None, int | None]:
    attention: Any = layer
    if isinstance(layer, _STACKS):
        attention = layer.layers[0]
    if isinstance(attention, _LAYERS):
        attention = attention.self_attn
    if isinstance(layer, nn.Transformer):
        return Layout(0 if layer.batch_first else 1), layer.d_model
    if isinstance(attention, nn.MultiheadAttention):
        return Layout(0 if attention.batch_first else 1), attention.embed_dim
    return None, None


def _elementwise(layer: nn.Module) -> bool:
    if isinstance(layer, nn.MultiheadAttention | nn.GLU):
        return False
    return isinstance(layer, nn.Identity) or type(layer).__module__ in (
        "torch.nn.modules.activation",
        "torch.nn.modules.dropout",
    )


def layout_within(layer: nn.Module, side: Side, tree: Any, tensor: Tensor) -> Layout | None:
    """Returns the layout of `tensor` in what `layer` takes or gives, None where its type does not tell it truly.

    What a recurrent layer takes and gives beside its series are hidden states, `[layer, batch, channel]` in any case.
    """
    place = next((place for place, each in enumerate(tensors(tree)) if each is tensor), None)
    if place is None:
        return None
    if place and isinstance(layer, RECURRENT):
        return Layout(1)
    layout, width = declared(layer, side)
    astray = place == 0 and layout is not None and width not in (None, _size(tensor, layout.channel))
    return None if astray else layout


def _size(tensor: Tensor, axis: int) -> int | None:
    return tensor.size(axis) if -tensor.ndim <= axis < tensor.ndim else None


def layout_of(tensor: Tensor, calls: Sequence[Call]) -> Layout:
    """Returns the layout of `tensor`, as the layers tell that took or gave it in `calls`, else the usual.

    Whether time comes first only recurrent and attention layers know, which may stand behind some that change each
    position by itself: those are followed. Who declares another width than its axis has, as a layer derived from one of
    torch's may, tells nothing.
    """
    if tensor.is_nested:
        return Layout()
    found, linked = [], [tensor]
    for at in linked:
        for call in calls:
            if not any(t is at for t in tensors((call.inputs, call.output))):
                continue
            touched: tuple[tuple[Side, Any], ...] = (("input", call.inputs), ("output", call.output))
            for side, tree in touched:
                layout = layout_within(call.layer, side, tree, at)
                if layout is not None:
                    found.append(layout)
            if isinstance(call.layer, _POSITIONWISE) or _elementwise(call.layer):
                ends = tensors((call.inputs, call.output))
                linked += [t for t in ends if t.shape[:2] == at.shape[:2] and not any(t is known for known in linked)]
    timed = [layout for layout in found if layout.batch == 1]
    if timed:
        return timed[0]
    return found[0] if found else Layout.usual(tensor.ndim)
