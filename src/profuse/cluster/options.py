"""What does fits: options, checked. This module loads no torch: a command line's help is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from profuse._fields import Shown
from profuse._options import checked

__all__ = ["EngineOptions", "engine_asked"]


def engine_asked(asked: EngineOptions | Mapping[str, Any] | str | None, *, where: str) -> EngineOptions:
    """Returns the options of a name of an engine, of fields, or as they are; None: this machine.

    Raises:
        ConfigError: They are none.
    """
    if isinstance(asked, EngineOptions):
        return asked
    return checked(EngineOptions, {"engine": asked} if isinstance(asked, str) else asked or {}, where=where)


class EngineOptions(BaseModel):
    """What does the fits: how it is done, not what comes of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    engine: Annotated[Literal["local", "ray"], Shown(common=True)] = Field(
        "local", description="What does the fits: local, processes of this machine, or ray, a Ray cluster."
    )
    ray_address: Annotated[
        str | None, Shown("that of RAY_ADDRESS, else a Ray of its own on this machine", metavar="HOST:PORT|auto|local")
    ] = Field(None, description="The Ray cluster to join: host:port, auto (one that runs on this machine), or local.")
    ray_memory: Annotated[float | None, Shown("by the size of the prepared data", metavar="GB")] = Field(
        None, gt=0, description="Memory that Ray keeps for each fit, in GB."
    )
    ray_gpus: Annotated[float, Shown(metavar="X")] = Field(
        1.0, gt=0, description="GPUs that Ray keeps for each fit with device cuda: 0.5 lets two fits share one."
    )

    @field_validator("ray_address", "ray_memory", "ray_gpus")
    @classmethod
    def _fits_engine(cls, asked: Any, info: ValidationInfo) -> Any:
        if asked is not None and info.data.get("engine") == "local":
            raise ValueError(f"{info.field_name} must go with engine 'ray'; got {info.field_name}={asked!r}")
        return asked

    @field_validator("ray_address")
    @classmethod
    def _no_client(cls, asked: str | None) -> str | None:
        if asked is not None and asked.startswith("ray://"):
            raise ValueError(
                f"ray_address must be that of the cluster itself, not of a Ray client; got ray_address={asked!r}. "
                "Start profuse on a machine of the cluster, or by 'ray job submit'"
            )
        return asked
