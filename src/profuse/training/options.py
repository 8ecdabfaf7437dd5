"""How a model is trained: options, and what follows from the number of rows where they are left out.

This module loads no torch: a command line's help is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from profuse._fields import Shown
from profuse._options import asked_for, check_keywords
from profuse.errors import ConfigError, UnknownNameError

__all__ = ["Precision", "ProcessOptions", "Started", "TrainOptions", "started_processes"]

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


class TrainOptions(BaseModel):
    """How a model is trained; the same names in Python, YAML and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: Annotated[int | None, Shown("30 to 100, by the number of rows", common=True)] = Field(
        None, ge=1, description="Passes over the training rows, at most."
    )
    max_steps: int = Field(4000, ge=1, description="Gradient steps, at most, rounded up to whole epochs.")
    batch_size: Annotated[int | None, Shown("32 to 512, by the number of rows")] = Field(
        None, ge=1, description="Rows per step."
    )
    learning_rate: Annotated[float, Shown(common=True)] = Field(
        1.5e-3, gt=0, description="Peak learning rate of AdamW."
    )
    weight_decay: float = Field(
        0.02, ge=0, description="Decoupled weight decay, of what has two axes or more, but tables of embeddings."
    )
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="Fraction of the steps in which the rate rises.")
    averaging: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Half-life of the mean of weights that is judged and kept, as a fraction of all steps; "
        "0: those of the last step.",
    )
    patience: Annotated[int | None, Shown("half of those up to the best one, at least 10 or a third of epochs")] = (
        Field(None, ge=1, description="Epochs without a smaller validation error before stopping.")
    )
    refit: Annotated[bool | None, Shown("where they are fewer than 2,000, or validation is later in time")] = Field(
        None,
        description="Train anew on training and validation rows, for as many epochs as validation chose.",
    )
    class_weight: Annotated[
        Literal["balanced"] | dict[str, float] | None, Shown(common=True, metavar="balanced|YAML")
    ] = Field(
        None,
        description="Weights of classes in learning: balanced, or by class, as {ill: 5}; others have 1.",
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    modality_dropout: Annotated[float, Shown(common=True)] = Field(
        0.0, ge=0, lt=1, description="Probability of hiding a modality of a training row."
    )
    balance: Annotated[str | None, Shown(common=True)] = Field(
        None,
        description="Balancing method for a modality that dominates: "
        "uniform, ogm_ge, gradient_blending, mmpareto or mla.",
    )
    balance_options: dict[str, int | float] = Field(
        default_factory=dict, description="Options of the balancing method: {alpha: 0.5}."
    )
    subgroup_method: Annotated[Literal["dro", "sampling"] | None, Shown(common=True)] = Field(
        None,
        description="How training keeps a subgroup from being served worse: dro (GroupDRO) or sampling.",
    )
    subgroup_all_classes: bool = Field(
        False, description="Whether a group is a subgroup of all classes; else of one class."
    )
    dro_step: float = Field(0.01, gt=0, description="Step size of the weights of groups in dro.")
    dro_adjustment: float = Field(
        0.0,
        ge=0,
        description="C in dro: C / sqrt(rows of a group) is added to its loss.",
    )
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Shown(common=True)] = Field(
        "auto", description="Where to train: auto, cpu, cuda or mps."
    )
    precision: Precision = Field(
        "32-true", description="Numbers in training: 32-true, bf16-mixed or 16-mixed (not with balance)."
    )
    threads: Annotated[int, Shown(common=True)] = Field(
        1, ge=1, le=1024, description="Threads of the processor; the last digits depend on them."
    )
    seed: Annotated[int, Shown(common=True)] = Field(0, ge=0, description="Of weights, order of rows and dropout.")

    @field_validator("balance", "balance_options", "precision")
    @classmethod
    def _fits_balance(cls, asked: Any, info: ValidationInfo) -> Any:
        from profuse.training.balance import balance

        field, name = info.field_name, asked if info.field_name == "balance" else info.data.get("balance")
        try:
            method = None if name is None else balance(name)
        except UnknownNameError as error:
            raise ValueError(str(error)) from None
        if field == "balance_options" and method is not None:
            check_keywords(method, asked, who=f"balance={name!r}")
        elif field == "balance_options" and asked and "balance" in info.data:
            raise ValueError(f"balance_options need a balance; got balance_options={asked}")
        if method is not None and asked == "16-mixed":  # which scales gradients
            raise ValueError("precision must suit the balance; got precision='16-mixed': use bf16-mixed")
        return asked

    @field_validator("subgroup_method", "dro_step", "dro_adjustment")
    @classmethod
    def _fits_groups(cls, asked: Any, info: ValidationInfo) -> Any:
        if info.field_name == "subgroup_method":
            if asked == "dro" and info.data.get("balance") is not None:
                raise ValueError(
                    f"subgroup_method must be sampling with a balance, which has losses of its own; got "
                    f"subgroup_method='dro' and balance={info.data['balance']!r}"
                )
        elif asked != cls.model_fields[str(info.field_name)].default and info.data.get("subgroup_method") != "dro":
            raise ValueError(f"{info.field_name} must go with subgroup_method 'dro'; got {info.field_name}={asked}")
        return asked

    @field_validator("class_weight", mode="before")
    @classmethod
    def _by_class(cls, asked: Any) -> Any:
        """Classes are known by their names: `{0: 1}` is `{"0": 1}`."""
        if asked is None or (isinstance(asked, str) and asked == "balanced"):
            return asked
        if isinstance(asked, Mapping) and asked and all(_is_weight(w) for w in asked.values()):
            return {str(name): float(w) for name, w in asked.items()}
        raise ValueError(
            f"class_weight must be 'balanced', or for each class that is named a finite number above 0; got "
            f"class_weight={asked!r}"
        )

    @field_validator("device")
    @classmethod
    def _is_there(cls, asked: str, info: ValidationInfo) -> str:
        if asked in ("auto", "cpu") or not asked_for(info):
            return asked
        import torch

        if not (torch.cuda if asked == "cuda" else torch.backends.mps).is_available():
            raise ValueError(
                f"device must be there; got device={asked!r}, which this machine, or this torch, has not. Use 'auto'"
            )
        return asked

    def rows_a_step(self, n_rows: int) -> int:
        """Returns the batch size for `n_rows` training rows."""
        if self.batch_size is not None:
            return self.batch_size
        return next((size for limit, size in _SIZES if n_rows < limit), 512)

    def steps_an_epoch(self, n_rows: int) -> int:
        """Returns the gradient steps of one pass over `n_rows` training rows."""
        return math.ceil(n_rows / self.rows_a_step(n_rows))

    def n_epochs(self, n_rows: int) -> int:
        """Returns the most epochs for `n_rows` training rows."""
        asked = min(100, max(30, 200_000 // n_rows)) if self.epochs is None else self.epochs
        return max(1, min(asked, math.ceil(self.max_steps / self.steps_an_epoch(n_rows))))

    def waits(self, best_epoch: int, n_epochs: int) -> int:
        """Returns how many epochs without a smaller validation error follow `best_epoch` before training stops.

        What is learned soon need not be waited for long; what still gets better late may stand still for a while. While
        the learning rate rises nothing is decided: hence 10 of many epochs.
        """
        if self.patience is not None:
            return self.patience
        return max(4, min(10, n_epochs // 3), best_epoch // 2)

    def likely_epochs(self, n_epochs: int, best_epoch: int = 0, n_done: int = 0, *, then: float = 0.0) -> float:
        """Returns how many of `n_epochs` a training is likely to have before it stops, and what is learned anew then.

        Of 100 epochs, 11 to 23 were had on most of the data sets that come with profuse, and 52 on the slowest.

        Args:
            n_epochs: That it may have.
            best_epoch: The best one so far; 0 before there is one.
            n_done: That it has had.
            then: How much longer an epoch is that is learned anew, up to the best one; 0: none is.
        """
        waits = self.waits(0, n_epochs)
        longest = max(waits + n_epochs // 10, best_epoch + self.waits(best_epoch, n_epochs), n_done)
        n_likely = min(n_epochs, longest)
        return n_likely + then * max(best_epoch, n_likely - waits, 1)

    def refits(self, n_rows: int, *, by_time: bool = False) -> bool:
        """Returns whether to train anew on all of `n_rows` training and validation rows.

        Few rows are too dear to be kept back, and where time runs on, the validation rows are the freshest.
        """
        return by_time or n_rows < 2_000 if self.refit is None else self.refit


class ProcessOptions(BaseModel):
    """Of how many processes one fit is: how it is done, not what comes of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: Annotated[int | None, Shown("as many as torchrun has started, else 1")] = Field(
        None, ge=1, le=1024, description="Processes on each machine, one for each GPU."
    )
    nodes: Annotated[int | None, Shown("as many as torchrun has started them on, else 1")] = Field(
        None, ge=1, description="Machines; with several, start profuse by torchrun."
    )
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="How several processes learn together: ddp (each holds all weights), fsdp (each holds a part of "
        "weights and optimizer, for large trunks); auto is ddp.",
    )

    @property
    def several(self) -> bool:
        """Whether several are asked for."""
        return (self.devices or 1) * (self.nodes or 1) > 1

    def check_started(self, started: Started | None) -> None:
        """Checks that as many were started as are asked for.

        Raises:
            ConfigError: Others.
        """
        devices, nodes = (started.n_local, started.n_nodes) if started is not None else (1, 1)
        if (self.devices or devices, self.nodes or nodes) == (devices, nodes):
            return
        n_devices, n_nodes = self.devices or devices, self.nodes or nodes
        how = (f"--nnodes {n_nodes} " if n_nodes > 1 else "") + f"--nproc-per-node {n_devices}"
        raise ConfigError(
            f"processes: as many must be started as are asked for; got devices={n_devices}, nodes={n_nodes}, and "
            f"{devices * nodes} started. Start them with: torchrun {how} -m profuse fit ..."
        )


@dataclass(frozen=True)
class Started:
    """Where among the processes that torchrun has started this one is.

    Attributes:
        rank: Its number among all.
        local_rank: Its number on this machine.
        n: How many there are.
        n_local: How many on each machine.
    """

    rank: int
    local_rank: int
    n: int
    n_local: int

    @property
    def n_nodes(self) -> int:
        """On how many machines they are."""
        return self.n // self.n_local


_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def started_processes(environment: Mapping[str, str]) -> Started | None:
    """Returns what torchrun says in the variables of the environment; None where it has not started several."""
    if any(name not in environment for name in _TORCHRUN):
        return None
    started = Started(*(int(environment[name]) for name in _TORCHRUN[:4]))
    return started if started.n > 1 else None


def _is_weight(weight: Any) -> bool:
    return isinstance(weight, Real) and not isinstance(weight, bool) and 0 < float(weight) < math.inf


_SIZES = ((1_000, 32), (3_000, 64), (12_000, 128), (50_000, 256))
