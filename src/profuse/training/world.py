"""The processes of one fit: whose rows are whose, and how what each has computed comes together."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from profuse.errors import ConfigError
from profuse.fusion import Fused, Fusion
from profuse.models.fusion_model import FusionModel, Output
from profuse.progressive import ProgressiveFusion
from profuse.training.messages import Messages
from profuse.training.options import ProcessOptions, TrainOptions, started_processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.distributed.device_mesh import DeviceMesh

__all__ = ["World", "check_shareable", "one_process", "processes", "world"]

T = TypeVar("T")
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LETTING_GO = 0.1
"""Seconds in which gloo's threads, which outlive the group, let go of the last call's tensors.

They need the interpreter for that, after the call has returned: one that ends meanwhile aborts ("terminate called
without an active exception").
"""


@dataclass(frozen=True)
class World:
    """The processes that do one fit together; by default this one alone.

    Each holds all rows and, but for `shards`, the whole model. Of a batch each computes its share, and all get the loss
    of the whole.

    Attributes:
        rank: The number of this process, from 0; the first one writes, prints and runs callbacks.
        n_processes: How many there are.
        n_nodes: Machines they are on, with equally many on each.
        messages: What they say to each other.
        shards: Whether each holds a part of the weights while it trains (FSDP), and not all (DDP).
    """

    rank: int = 0
    n_processes: int = 1
    n_nodes: int = 1
    messages: Messages | None = field(default=None, repr=False)
    shards: bool = False

    @property
    def first(self) -> bool:
        """Whether this process is the first one."""
        return self.rank == 0

    @property
    def n_local(self) -> int:
        """How many processes are on each machine."""
        return self.n_processes // self.n_nodes

    @property
    def machine(self) -> int:
        """The number of the machine, from 0."""
        return self.rank // self.n_local

    @property
    def leads(self) -> bool:
        """Whether this process is the first one of its machine."""
        return self.rank % self.n_local == 0

    @property
    def seed(self) -> int:
        """What is added to seeds of dropout and noise, so that no two processes draw the same; 0 in the first."""
        return self.rank * 1_000_003

    def fabric(self, options: TrainOptions, split: Callable[[nn.Module, DeviceMesh], nn.Module]) -> Fabric:
        """Returns what trains: on the device and with the numbers asked for, averaging gradients of all processes.

        Args:
            options: Device and precision.
            split: Leaves each process its part of what trains, where `shards`.
        """
        # costs seconds: only where training starts
        from lightning_fabric import Fabric

        if self.n_processes == 1:
            return Fabric(accelerator=options.device, devices=1, precision=options.precision)
        from lightning_fabric.plugins.environments import TorchElasticEnvironment
        from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy

        # under DDP a batch may lack a modality, and its encoder then has no gradient
        strategy = (
            ModelParallelStrategy(split, data_parallel_size=self.n_processes, tensor_parallel_size=1)
            if self.shards
            else DDPStrategy(find_unused_parameters=True)
        )
        fabric = Fabric(
            accelerator=options.device,
            devices=self.n_local,
            num_nodes=self.n_nodes,
            strategy=strategy,
            precision=options.precision,
            plugins=[TorchElasticEnvironment()],
        )
        fabric.launch()
        return fabric

    def share(self, n_rows: int) -> slice:
        """Returns which of `n_rows` rows are this process's: equal parts, the first ones a row longer."""
        sizes = self._sizes(n_rows)
        start = sum(sizes[: self.rank])
        return slice(start, start + sizes[self.rank])

    def at_least_one(self, n_rows: int) -> slice:
        """Returns the share, or the first row where it is empty, as a model is run on a row or more."""
        mine = self.share(n_rows)
        return mine if mine.stop > mine.start else slice(0, 1)

    def whole(self, output: Output, n_rows: int) -> Output:
        """Returns the output of all `n_rows` rows of a batch, of that of `at_least_one` of them.

        Gradients flow to this process's rows alone, times the number of processes: their mean over processes is then
        the gradient of the loss of the whole batch. Penalties of the operator are means by the rows of the shares.
        What no loss reads (tokens, vectors, weights) is not brought together.
        """
        if output.members is not None:
            return Output(output.outputs, Fused(output.outputs), members=self.whole(output.members, n_rows))
        own: list[Tensor] = []
        penalties: list[Tensor] = []
        _rebuilt(output, lambda rows: _added(own, rows), lambda penalty: _added(penalties, penalty))
        mine = self.share(n_rows)
        n_mine, n_run = mine.stop - mine.start, max(1, mine.stop - mine.start)
        kind = torch.float64 if any(x.dtype == torch.float64 for x in own) else torch.float32
        flat = [x.reshape(n_run, -1)[:n_mine] for x in own]  # of several members one after another for each row
        rows = self.gathered(torch.cat([x.detach().to(kind) for x in flat], dim=1), n_rows)
        columns = iter(torch.split(rows, [x.shape[1] for x in flat], dim=1))
        shares = iter(flat)

        def everybodys(x: Tensor) -> Tensor:
            made, share = next(columns), next(shares)
            if x.is_floating_point():
                made = _placed(share.to(kind), made, mine.start, self.n_processes)
            return made.reshape(-1, *x.shape[1:]).to(torch.bool if x.dtype == torch.bool else kind)

        if not penalties:
            return _rebuilt(output, everybodys, lambda penalty: penalty)
        counted = torch.stack([p.detach().to(kind) for p in penalties])[None] * (n_mine / n_rows)
        of_all = self.gathered(counted, self.n_processes)
        place = iter(range(len(penalties)))

        def mean(penalty: Tensor) -> Tensor:
            i, scaled = next(place), (penalty * (n_mine / n_rows)).to(kind)[None]
            return _placed(scaled, of_all[:, i], self.rank, self.n_processes).sum()

        return _rebuilt(output, everybodys, mean)

    def gathered(self, rows: Tensor, n_rows: int) -> Tensor:
        """Returns all `n_rows` rows, of those of this process's share; without gradients."""
        if self.n_processes == 1:
            return rows.detach()
        sizes = self._sizes(n_rows)
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def from_first(self, value: T) -> T:
        """Returns what the first process gives: what all must decide alike."""
        if self.n_processes == 1:
            return value
        given = [value]
        distributed.broadcast_object_list(given, src=0)
        return given[0]

    def spread(self, tensor: Tensor) -> None:
        """Fills `tensor` with what it holds in the first process; it is of one shape and type in all, on the CPU."""
        if self.n_processes > 1 and tensor.numel():
            distributed.broadcast(tensor.reshape(-1).view(torch.uint8), src=0)

    def meet(self) -> None:
        """Waits until all processes have come here.

        Raises:
            ProfuseError: Another process has failed meanwhile.
        """
        if self.messages is not None:
            place = self.messages.turn()
            self.messages.arrive(place)
            self.messages.await_others(place, self.n_processes)

    def _sizes(self, n_rows: int) -> list[int]:
        n, rest = divmod(n_rows, self.n_processes)
        return [n + (rank < rest) for rank in range(self.n_processes)]


_ALONE = World()
_WORLD: ContextVar[World] = ContextVar("world", default=_ALONE)


def world() -> World:
    """Returns the processes that fits here are done by."""
    return _WORLD.get()


@contextmanager
def processes(options: ProcessOptions | None = None, *, device: str = "auto") -> Iterator[World]:
    """Has fits within it done by all processes that torchrun has started, each of which must come here.

    Where torchrun has started none, this process does them alone.

    Args:
        options: How many must have been started.
        device: Where training will be: see `TrainOptions.device`.

    Raises:
        ConfigError: Another number was started, or the device takes one process alone.
        ProfuseError: Another process has failed; its message is in this one.

    Example:
        >>> with processes() as these:
        ...     these.n_processes
        1
    """
    started = started_processes(os.environ)
    (options or ProcessOptions()).check_started(started)
    if started is None:
        yield _ALONE
        return
    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if not cuda and device in ("auto", "mps") and torch.backends.mps.is_available():
        raise ConfigError(
            f"processes: the device must be cpu or cuda for several processes; got device={device!r}, which is mps "
            "here. Use device cpu."
        )
    if cuda:
        torch.cuda.set_device(started.local_rank)
    store, rank, n = next(iter(rendezvous("env://")))
    # torchrun may have started others before (--max-restarts), and has kept what those said
    n_before = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = distributed.PrefixStore(f"profuse {n_before}", store)  # type: ignore[attr-defined]
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", store=store, rank=rank, world_size=n)
    messages = Messages(store, rank, n)
    shards = options is not None and options.strategy == "fsdp"
    token = _WORLD.set(World(rank, n, started.n_nodes, messages, shards))
    failed = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Grad strides do not match")  # of small layers, where nothing is lost
            yield _WORLD.get()
        messages.leave()
    except BaseException as error:
        failed = isinstance(error, Exception)
        messages.fail(error)
        raise
    finally:
        _WORLD.reset(token)
        distributed.destroy_process_group()
        time.sleep(_LETTING_GO)
        if failed and rank == 0:
            messages.let_hear()


def one_process(who: str, instead: str) -> None:
    """Checks that `who` is not asked of several processes.

    Raises:
        ConfigError: It is; `instead` is what to do.
    """
    if world().n_processes > 1:
        raise ConfigError(f"{who}: it must run in one process; got {world().n_processes}. {instead}")


def check_shareable(model: nn.Module, options: TrainOptions) -> None:
    """Checks that a model can be trained by several processes, with the same loss as by one.

    Raises:
        ConfigError: It cannot; the part that compares rows of a batch is named.
    """
    n = world().n_processes
    if n == 1:
        return
    if not isinstance(model, FusionModel | ProgressiveFusion):
        one_process(type(model).__name__, "Only networks that predict a target are fitted by several.")
    why = ""
    if world().shards:
        numbers = [name for name, parameter in model.named_parameters() if parameter.ndim == 0]
        what = f"{numbers[0]} is a single number, and cannot be split" if numbers else ""
        if options.precision == "16-mixed":
            what = "precision 16-mixed scales the gradients of a whole model, and bf16-mixed does not"
        if what:
            raise ConfigError(f"train: with strategy=fsdp each process holds a part of the weights; {what}. Use ddp.")
    if options.balance is not None:
        why = f"the balance {options.balance!r} changes the gradients of a whole batch, which no process has"
    for part in model.train().modules():
        name = type(part).__name__
        if isinstance(part, Fusion) and (part.compares_rows or part.members == "apart"):
            why = f"{name} compares the rows of a batch with each other, and each process has some of them only"
        if isinstance(part, _NORMS) and part.training and not isinstance(part, nn.SyncBatchNorm):
            why = f"{name} takes statistics of a batch, and each process has a part of it only; LayerNorm takes none"
    if why:
        raise ConfigError(
            f"train: a fit by several processes must have a loss that is a mean of rows; got {n} processes, and {why}. "
            "Use another one, or one process."
        )


class _Placed(torch.autograd.Function):
    """This process's rows among all; their gradient is that of the whole, times `scale`."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, whole: Tensor, start: int, scale: int) -> Tensor:
        ctx.rows, ctx.scale = slice(start, start + len(own)), scale
        return whole.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient[ctx.rows] * ctx.scale, None, None, None


def _placed(own: Tensor, whole: Tensor, start: int, scale: int) -> Tensor:
    made: Tensor = _Placed.apply(own, whole, start, scale)  # type: ignore[no-untyped-call]
    return made


def _rebuilt(output: Output, rows: Callable[[Tensor], Tensor], penalty: Callable[[Tensor], Tensor]) -> Output:
    """Returns what losses read of an output, each tensor of rows and each penalty replaced; in one order."""

    def each(of: Mapping[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {name: change(of[name]) for name in sorted(of)}

    outputs = rows(output.outputs)
    parts, present = each(output.parts, rows), each(output.present, rows)
    rounds = tuple(rows(x) for x in output.rounds[:-1])
    rounds += (outputs,) if output.rounds else ()
    return Output(outputs, Fused(outputs, penalties=each(output.fused.penalties, penalty)), parts, present, rounds)


def _added(to: list[Tensor], x: Tensor) -> Tensor:
    to.append(x)
    return x
