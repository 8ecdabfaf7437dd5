"""Parameters of `Retriever`: options, checked. This module loads no torch: a command line's help is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from profuse._fields import Shown, choices
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions

__all__ = ["METHODS", "SPACES", "RetrievalOptions", "RetrievalTraining"]


class RetrievalOptions(BaseModel):
    """How the common space is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Annotated[Literal["auto", "learned", "cca", "ridge"], Shown(common=True)] = Field(
        "auto", description="Method: learned, cca, ridge; auto: the best of them on held-out rows."
    )
    space: Annotated[Literal["contrastive", "ranking", "dcca", "dcca_ey"], Shown(common=True)] = Field(
        "contrastive", description="The learned space: contrastive, ranking, dcca or dcca_ey."
    )
    width: Annotated[int, Shown(common=True)] = Field(64, ge=4, le=4096, description="Channels of tokens.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout probability in the encoders.")
    encoders: Annotated[
        dict[str, str], Shown("the kinds' defaults", common=True, flag="--encoder", metavar="MODALITY=NAME")
    ] = Field(default_factory=dict, description="Encoder by modality: {picture: vit}.")
    space_options: Annotated[dict[str, bool | int | float | str], Shown("the operator's")] = Field(
        default_factory=dict, description="Options of the space: {space_dim: 32}."
    )
    validation_fraction: Annotated[float, Shown(metavar="FRACTION")] = Field(
        0.2, gt=0, lt=1, description="Fraction of the rows (of the groups) that choose the epoch and the method."
    )
    baseline: bool = Field(
        True, description="Whether the linear methods, and a learned space that is not used, are measured, too."
    )

    @field_validator("space_options")
    @classmethod
    def _known(cls, asked: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if asked and "space" in info.data:  # else the space itself is at fault, and is told
            ModelOptions(operator_options={info.data["space"]: asked})
        if "weight" in asked:
            raise ValueError("must not name a weight: the penalty is all there is to learn from")
        return asked


METHODS: tuple[str, ...] = choices(RetrievalOptions.model_fields["method"])
SPACES: tuple[str, ...] = choices(RetrievalOptions.model_fields["space"])


class RetrievalTraining(TrainOptions):
    """How the space is trained: other defaults, as a batch holds the rows among which each is to be told apart."""

    epochs: Annotated[int | None, Shown("30 to 100, by the number of rows", common=True)] = Field(
        40, ge=1, description="Passes over the training rows, at most, and at most 4,000 gradient steps."
    )
    batch_size: Annotated[int | None, Shown("32 to 512, by the number of rows")] = Field(
        128, ge=1, description="Rows per step, among which each is to be told apart; larger is better, and slower."
    )
    learning_rate: float = Field(3e-3, gt=0, description="Peak learning rate of AdamW.")
