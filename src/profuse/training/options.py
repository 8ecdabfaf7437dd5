"""How a model is trained: options, and what follows from the number of rows where they are left out."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from profuse._options import check_keywords
from profuse.errors import UnknownNameError
from profuse.training.balance import BALANCES, balance

__all__ = ["TrainOptions"]


class TrainOptions(BaseModel):
    """How a model is trained; the same names in Python, YAML and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int | None = Field(
        None, ge=1, description="Passes over the training rows, at most; 15 to 60 by the number of rows when absent."
    )
    max_steps: int = Field(4000, ge=1, description="Gradient steps, rounded up to whole epochs; large data see fewer.")
    batch_size: int | None = Field(None, ge=1, description="Rows a step; 32 to 512 by the number of rows when absent.")
    learning_rate: float = Field(1.5e-3, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(
        0.02, ge=0, description="Decoupled weight decay, of what has two axes or more, but tables of embeddings."
    )
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="Fraction of the steps in which the rate rises.")
    patience: int | None = Field(
        None, ge=1, description="Epochs without a smaller validation error before stopping; a third when absent."
    )
    refit: bool | None = Field(
        None,
        description="Train anew on training and validation rows together, for as many epochs as validation chose; "
        "when absent, where there are fewer than 2,000 of them, or where validation is later in time.",
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    modality_dropout: float = Field(0.0, ge=0, lt=1, description="Probability of dropping a modality of a row.")
    balance: str | None = Field(
        None, description=f"Remedy for a modality that dominates: {', '.join(BALANCES.builtin)}; none when absent."
    )
    balance_options: dict[str, int | float] = Field(
        default_factory=dict, description="Options of the remedy: {alpha: 0.5}."
    )
    device: str = Field("auto", description="auto, cpu, cuda, mps: lightning-fabric's accelerator.")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    threads: int = Field(1, ge=1, le=1024, description="Threads of the processor; the last digits depend on them.")
    seed: int = Field(0, ge=0, description="Of weights, order of rows and dropout.")

    @field_validator("balance", "balance_options", "precision")
    @classmethod
    def _fits_balance(cls, asked: Any, info: ValidationInfo) -> Any:
        field, name = info.field_name, asked if info.field_name == "balance" else info.data.get("balance")
        try:
            remedy = None if name is None else balance(name)
        except UnknownNameError as error:
            raise ValueError(str(error)) from None
        if field == "balance_options" and remedy is not None:
            check_keywords(remedy, asked, who=f"balance={name!r}")
        elif field == "balance_options" and asked and "balance" in info.data:
            raise ValueError(f"balance_options need a balance; got balance_options={asked}")
        if remedy is not None and asked == "16-mixed":  # which scales gradients
            raise ValueError("precision must suit the balance; got precision='16-mixed': use bf16-mixed")
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
        asked = min(60, max(15, 40_000 // n_rows)) if self.epochs is None else self.epochs
        return max(1, min(asked, math.ceil(self.max_steps / self.steps_an_epoch(n_rows))))

    def refits(self, n_rows: int, *, by_time: bool = False) -> bool:
        """Returns whether to train anew on all of `n_rows` training and validation rows.

        Few rows are too dear to be kept back, and where time runs on, the validation rows are the freshest.
        """
        return by_time or n_rows < 2_000 if self.refit is None else self.refit


_SIZES = ((1_000, 32), (3_000, 64), (12_000, 128), (50_000, 256))
