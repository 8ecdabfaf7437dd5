"""Training-time remedies for a modality that dominates: options of training that work for any model of ours.

The modalities' own losses are the model's (`own_weight`); what changes batches or gradients lives here.
"""

from __future__ import annotations

from profuse.balance.modality_dropout import ModalityDropout

__all__ = ["ModalityDropout"]
