"""Experts' outputs as opinions: labels by classes, weights that sum to 1, the weighted pool of logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from profuse.fusion._base import Link

__all__ = ["log_pool", "log_probs", "mean_of_rows", "share", "truth", "wide"]


def log_probs(outputs: Tensor, link: Link) -> Tensor:
    """Returns log-probabilities `[batch, modality, label, class]` of `outputs[batch, modality, output]`.

    Softmax is one label of many classes, sigmoid many labels of two: yes and no.
    """
    if link == "softmax":
        return outputs.log_softmax(-1)[:, :, None]
    return torch.stack([functional.logsigmoid(outputs), functional.logsigmoid(-outputs)], dim=-1)


def truth(target: Tensor, link: Link, n_outputs: int) -> Tensor:
    """Returns the probability that the target gives to each class, `[batch, label, class]`: 0 or 1 if it names one."""
    if link == "softmax":
        return (target if target.is_floating_point() else functional.one_hot(target, n_outputs))[:, None]
    return torch.stack([target, 1 - target], dim=-1)


def share(score: Tensor, present: Tensor) -> Tensor:
    """Returns the softmax over the present modalities of `score[batch, modality, label]`; 0 where missing."""
    there = present[..., None]
    return score.masked_fill(~there, torch.finfo(score.dtype).min).softmax(1) * there


def log_pool(outputs: Tensor, weights: Tensor, link: Link) -> Tensor:
    """Returns sum_m w_m f_m, of log-probabilities normalised again; `weights[batch, modality, label or 1]`."""
    if link != "softmax":
        return (weights * outputs).sum(1)
    return (weights * outputs.log_softmax(-1)).sum(1).log_softmax(-1)


def mean_of_rows(losses: Tensor, present: Tensor) -> Tensor:
    """Returns the mean over modalities of the means over their rows of `losses[batch, modality]`; 0 of no row.

    A modality without rows is left out.
    """
    of_each = losses.masked_fill(~present, 0.0).sum(0) / present.sum(0).clamp(min=1)
    return of_each.sum() / present.any(0).sum().clamp(min=1)


def wide(x: Tensor) -> Tensor:
    """Returns `x` in at least float32, which logarithms and gamma functions need."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
