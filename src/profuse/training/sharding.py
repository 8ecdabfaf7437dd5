"""Weights, gradients and optimizer state split among the processes of one fit (FSDP), and brought together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn

from profuse.training.world import World

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

__all__ = ["Sharding", "all_whole", "part_like", "touched", "whole"]


class Sharding:
    """The parameters of a model that is trained: each process holds a part of every one, and all of them in a step.

    Optimizer, running mean and the best weights are made of parts too. Where processes do not split, or there is one,
    nothing is done.

    Source: Zhao et al., PyTorch FSDP, 2023, as `torch.distributed.fsdp.fully_shard` does it. *Differs*: the model is
    one unit, gathered at the start of a step, as its branches are run by some processes and not by others.

    Args:
        model: What is trained.
        these: The processes.
    """

    def __init__(self, model: nn.Module, these: World) -> None:
        self._model, self._these = model, these
        self._step: FSDPModule | None = None
        self._places: list[tuple[nn.Module, str, nn.Parameter]] = []
        self._hooks: dict[nn.Module, set[int]] = {}

    def split(self, step: nn.Module, mesh: DeviceMesh) -> nn.Module:
        """Leaves in this process its part of each parameter of a step."""
        from torch.distributed.fsdp import fully_shard  # half a second, and few need it

        self._places = [
            (module, name, parameter)
            for module in self._model.modules()
            for name, parameter in module.named_parameters(recurse=False)
        ]
        hooks = {module: set(module._load_state_dict_post_hooks) for module in self._model.modules()}
        # not gathered a second time between forward and backward
        self._step = fully_shard(step, mesh=mesh["data_parallel"], reshard_after_forward=False)
        for _, _, parameter in self._places:
            parameter.data = parameter.new_empty(0)  # its memory; the object comes back in `join`
        self._hooks = {module: set(module._load_state_dict_post_hooks) - before for module, before in hooks.items()}
        return step

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Has all of the weights in each process meanwhile; all processes must come here."""
        if self._step is None:
            yield
            return
        self._step.unshard()
        try:
            yield
        finally:
            self._step.reshard()

    def same_buffers(self) -> None:
        """Gives all processes the first one's buffers, as DDP does before each step."""
        if self._step is None:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for buffer in self._model.buffers():
            kinds.setdefault(buffer.dtype, []).append(buffer)
        for buffers in kinds.values():
            sent = torch.cat([buffer.reshape(-1) for buffer in buffers])
            self._these.spread(sent)
            for buffer, value in zip(buffers, torch.split(sent, [b.numel() for b in buffers]), strict=True):
                buffer.copy_(value.reshape(buffer.shape))

    def join(self) -> None:
        """Puts the parameters back into the model, whole; all processes must come here."""
        if self._step is None:
            return
        parts = {parameter: getattr(module, name) for module, name, parameter in self._places}
        for parameter, part in parts.items():
            parameter.data = whole(part.detach())
        for module, name, parameter in self._places:
            setattr(module, name, parameter)
        for module, hooks in self._hooks.items():  # of `fully_shard`, which takes what is loaded for parts
            for hook in hooks:
                del module._load_state_dict_post_hooks[hook]
        self._step = None


def whole(value: Tensor) -> Tensor:
    """Returns all of a tensor of which each process has a part; any other as it is. All processes must come here."""
    return value.full_tensor() if _is_part(value) else value


def all_whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns all of each; in the same order in all processes."""
    return {name: whole(value) for name, value in tensors.items()}


class _Touched(torch.autograd.Function):
    """Its first argument; all others have a gradient of zero."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return gradient, *(torch.zeros_like(parameter) for parameter in ctx.saved_tensors)


def touched(loss: Tensor, model: nn.Module) -> Tensor:
    """Returns a loss from which every trained parameter has a gradient: of which one has none must be alike in all."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    made: Tensor = _Touched.apply(loss, *trained)  # type: ignore[no-untyped-call]
    return made


def part_like(value: Tensor, like: Tensor) -> Tensor:
    """Returns this process's part of a whole tensor, where `like` is a part; else the tensor."""
    if not _is_part(like) or _is_part(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _is_part(value: Tensor) -> TypeGuard[DTensor]:
    return hasattr(value, "full_tensor")
