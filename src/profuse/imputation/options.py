"""Parameters of `Imputer`: options, checked. This module loads no torch: a command line's help is made of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from profuse._fields import Shown
from profuse.data.table.options import ReadOptions
from profuse.training.options import TrainOptions

__all__ = ["AUTO", "METHODS", "ImputeOptions", "ImputeTraining"]

AUTO = "auto"
METHODS = (AUTO, "regression", "flow", "diffusion", "gan", "ridge", "nearest", "mean")
_LARGEST_SEED = 2**32 - 1


def _columns(value: Any, info: ValidationInfo) -> tuple[str, ...]:
    import numpy as np
    import pandas as pd

    if value is None and info.field_name == "target":
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple | pd.Index | np.ndarray):
        name = info.field_name
        raise ValueError(f"{name} must be the name of a column, or a list of them; got {name}={value!r}")
    return tuple(map(str, value))


class ImputeOptions(ReadOptions):
    """What is filled, and how; see `ImputeTraining` for networks."""

    modality: Annotated[str, Shown(common=True, short="-m")] = Field(
        description="What is filled, in rows where all or some of its cells are missing: see 'profuse schema'."
    )
    method: Annotated[str, Shown(common=True)] = Field(
        AUTO,
        description="Method: ridge, regression, flow, diffusion, gan, nearest, mean; auto: the best of mean, ridge, "
        "nearest, regression and flow on rows held back.",
    )
    n_samples: Annotated[int, Shown(common=True, flag="--samples")] = Field(
        20, ge=2, le=10_000, description="Draws for each row; for nearest the number of neighbours."
    )
    n_tables: Annotated[int, Shown(common=True, flag="--tables")] = Field(
        0,
        ge=0,
        le=1000,
        description="Completed tables for multiple imputation, each from a method fitted to other rows, drawn with "
        "replacement.",
    )
    target: Annotated[
        tuple[str, ...], BeforeValidator(_columns), Shown(common=True, repeated=True, short="-t", metavar="COLUMN")
    ] = Field((), description="Columns that are not learned from, so that what is filled knows nothing of the answer.")
    ignore: Annotated[
        tuple[str, ...], BeforeValidator(_columns), Shown(common=True, repeated=True, metavar="COLUMN")
    ] = Field((), description="Further columns that are not learned from.")
    held_out: Annotated[float, Shown(common=True)] = Field(
        0.2,
        gt=0,
        lt=1,
        description="Fraction of the rows that is hidden to measure; only mean and ridge learn from it, afterwards.",
    )
    width: Annotated[int, Shown(common=True)] = Field(64, ge=4, description="Channels of a network's hidden layers.")
    random_state: Annotated[int, Shown(common=True, flag="--seed")] = Field(
        0, ge=0, le=_LARGEST_SEED, description="Seed of everything random."
    )


class ImputeTraining(TrainOptions):
    """How the networks among the methods are trained."""

    epochs: Annotated[int | None, Shown("about 3,000 steps", common=True)] = Field(
        None, ge=1, description="Passes over the rows of a network, at most."
    )
