"""Balancing methods, for where a modality dominates: options of training that work for any model of ours.

The weight of the modalities' own losses is the model's (`unimodal_loss_weight`); what changes batches or gradients
lives here.

"Add yours": copy a neighbour, write `backward`, add one line to the table.
"""

from __future__ import annotations

from typing import cast

from profuse.registry import table
from profuse.training.balance._base import Balance, Losses, unimodal_confidence
from profuse.training.balance.modality_dropout import ModalityDropout

__all__ = ["BALANCES", "Balance", "Losses", "ModalityDropout", "balance", "unimodal_confidence"]

BALANCES = table(
    "balance",
    {
        "uniform": "profuse.training.balance.uniform:Uniform",
        "ogm_ge": "profuse.training.balance.ogm_ge:OGMGE",
        "gradient_blending": "profuse.training.balance.gradient_blending:GradientBlending",
        "mmpareto": "profuse.training.balance.mmpareto:MMPareto",
        "mla": "profuse.training.balance.mla:MLA",
    },
)


def balance(name: str) -> type[Balance]:
    """Returns the class of the balancing method called `name`."""
    return cast(type[Balance], BALANCES.part(name))
