"""Training that serves no group of rows worse: by the weights of GroupDRO, or by drawing all groups equally often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from profuse.data.split import Split
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError
from profuse.training.options import TrainOptions

__all__ = ["NO_PORTFOLIO", "GroupDRO", "RowGroups", "check_subgroups", "groups_of", "shuffled", "told_of_groups"]


@dataclass(frozen=True, eq=False)
class RowGroups:
    """Of which group each row is, and what training does about it.

    Attributes:
        codes: `[row]`, of all rows; -1 of rows that are neither learned from nor validate.
        names: What the groups are called, by code.
        method: See `TrainOptions.subgroup_method`.
        step: See `TrainOptions.dro_step`.
        adjustment: See `TrainOptions.dro_adjustment`.
    """

    codes: Tensor
    names: tuple[str, ...]
    method: Literal["dro", "sampling"]
    step: float
    adjustment: float

    def dro(self, rows: Tensor) -> GroupDRO | None:
        """Returns the weights of groups in a training on `rows`, before its first step; None without GroupDRO."""
        if self.method != "dro":
            return None
        counts = torch.bincount(self.codes[rows], minlength=len(self.names))
        return GroupDRO(counts, step=self.step, adjustment=self.adjustment)

    def worst(self, errors: Tensor, rows: Tensor, weights: Tensor | None) -> float:
        """Returns the largest mean error of a group.

        Args:
            errors: Of `rows`, `[row]`, times their weights.
            rows: Validation rows; groups that have none of them do not count.
            weights: Of these rows, `[row]`; all alike if None.
        """
        codes = self.codes[rows]
        means = []
        for group in torch.bincount(codes).nonzero().flatten():
            here = codes == group
            total = 1.0 if weights is None else weights[here].mean().item()
            if total > 0:
                means.append(errors[here].mean().item() / total)
        return max(means)

    def balancing_weights(self, rows: Tensor) -> Tensor:
        """Returns weights of all rows with which each group of `rows` counts alike, and whose mean over them is 1."""
        counts = torch.bincount(self.codes[rows], minlength=len(self.names))
        by_group = len(rows) / (len(self.names) * counts.double())
        return torch.where(self.codes >= 0, by_group[self.codes.clamp(min=0)], 1.0)


class GroupDRO:
    """Weights q of groups: after each step q_g <- q_g exp(step (loss_g + C / sqrt(n_g))), divided by their sum.

    The loss of a batch is `sum_g q_g loss_g`, where loss_g is the mean loss of the rows of group g in it.

    Args:
        counts: Training rows of each group, n_g, at least 1.
        step: Step size of q, above 0.
        adjustment: C, of the generalisation adjustment, at least 0.

    Reference:
        Sagawa, Koh, Hashimoto, Liang, "Distributionally Robust Neural Networks for Group Shifts" (2020), Algorithm 1
        and equation 5.

    Differs from the paper:
        The weights of groups that a batch has no rows of stay what they are until all are divided by their sum.
        Batches hold all groups equally often, in turn, where the paper draws a group at random.
    """

    def __init__(self, counts: Tensor, *, step: float, adjustment: float = 0.0) -> None:
        self.q = torch.full((len(counts),), 1 / len(counts), dtype=torch.float64)
        self.step = step
        self.adjustments = adjustment / counts.double().sqrt()

    def update(self, losses: Tensor, here: Tensor) -> None:
        """Moves q by the losses of the groups in a batch.

        Args:
            losses: Mean loss of each group, `[group]`.
            here: Whether the batch has rows of it, `[group]`; the losses of others are not read.
        """
        log_q = self.q.log() + torch.where(here, self.step * (losses.double().cpu() + self.adjustments), 0.0)
        self.q = log_q.softmax(0)

    @torch.no_grad()
    def weigh(self, loss: Callable[[Tensor], Tensor], codes: Tensor, weights: Tensor | None) -> Tensor:
        """Moves q by the losses of a batch and returns the weights of its rows, with which its loss is the robust one.

        Args:
            loss: Weights of rows, `[batch]` -> the mean loss of the batch.
            codes: Groups of the rows, `[batch]`.
            weights: That rows have by themselves, `[batch]`; all alike if None.
        """
        counts = torch.bincount(codes, minlength=len(self.q))
        shares = len(codes) / counts.clamp(min=1).double()  # so that a mean over the batch is one over the group
        by_row = shares[codes] if weights is None else shares[codes] * weights
        losses = torch.zeros(len(self.q), dtype=torch.float64)
        for group in counts.nonzero().flatten():
            losses[group] = loss(by_row * (codes == group)).double().cpu()
        self.update(losses, (counts > 0).cpu())
        return by_row * self.q.to(codes.device)[codes]


def shuffled(n_rows: int, generator: Generator, codes: Tensor | None = None) -> Tensor:
    """Returns `n_rows` positions of rows, shuffled; with `codes` groups in turn: a, b, c, a, b, c, ...

    A group of few rows is then gone through several times, of a large one some rows wait for another epoch. A single
    group is shuffled as rows without groups.

    Args:
        n_rows: How many there are.
        generator: Of the shuffle.
        codes: Their groups, `[row]`.
    """
    if codes is None:
        return torch.randperm(n_rows, generator=generator)
    groups = torch.bincount(codes).nonzero().flatten()
    n_each = -(-len(codes) // len(groups))
    drawn = []
    for group in groups:
        rows = (codes == group).nonzero().flatten()
        rounds = [torch.randperm(len(rows), generator=generator) for _ in range(-(-n_each // len(rows)))]
        drawn.append(rows[torch.cat(rounds)[:n_each]])
    return torch.stack(drawn, dim=1).flatten()[: len(codes)]


def groups_of(
    subgroups: np.ndarray | None,
    classes: np.ndarray | None,
    split: Split,
    options: TrainOptions,
    *,
    who: str,
) -> RowGroups | None:
    """Returns the groups of rows that training must serve; None where it is not asked to.

    Args:
        subgroups: Of all rows (`Dataset.subgroups`).
        classes: Of all rows, words, where the target is one class; a group is then of one of them, unless
            `subgroup_all_classes` says otherwise.
        split: Each group must have two training rows or more.
        options: What is asked for.
        who: Asks; messages begin with it.

    Raises:
        ConfigError: A method without groups, or groups without a method.
        DataError: A group has fewer than two training rows.
    """
    check_subgroups(options, subgroups, who=who)
    method = options.subgroup_method
    if method is None or subgroups is None:
        return None
    words = np.asarray(subgroups).astype(str)
    crossed = classes is not None and not options.subgroup_all_classes
    if classes is not None and crossed:
        words = np.char.add(np.char.add(words, " & "), np.asarray(classes).astype(str))
    known = np.concatenate([split.train, split.valid])
    names, found = np.unique(words[known], return_inverse=True)
    codes = np.full(len(words), -1)
    codes[known] = found
    counts = np.bincount(codes[split.train], minlength=len(names))
    if (small := np.flatnonzero(counts < 2)).size:
        of_class = ", or look at groups of all classes (subgroup_all_classes: true)" if crossed else ""
        told = tell_values([f"{names[i]} ({counts[i]})" for i in small])
        raise DataError(
            f"{who}: each subgroup{' of a class' if crossed else ''} must have at least 2 training rows; got {told}. "
            f"Join small groups, cut numbers into a few ranges{of_class}."
        )
    return RowGroups(
        torch.as_tensor(codes), tuple(map(str, names)), method, options.dro_step, options.dro_adjustment
    )  # fmt: skip


def check_subgroups(options: TrainOptions, subgroups: np.ndarray | None, *, who: str) -> None:
    """Checks that there are subgroups where a method is asked for, and the reverse.

    Raises:
        ConfigError: One of them is not there.
    """
    if options.subgroup_method is not None and subgroups is None:
        got, advice = "no subgroups", "Name their column: --subgroup COLUMN"
    elif options.subgroup_method is None and subgroups is not None:
        got, advice = "subgroups without a method", "Add --subgroup-method dro, or sampling, or leave the subgroups out"
    else:
        return
    raise ConfigError(f"{who}: subgroups and subgroup_method must go together; got {got}. {advice}.")


NO_PORTFOLIO = (
    "subgroup_method must go with a single model, as the weights of a portfolio's members are chosen by the mean over "
    "all rows"
)


def told_of_groups(options: TrainOptions, subgroups: np.ndarray | None) -> list[str]:
    """Returns what is to be told of subgroups before anything is fitted."""
    if options.subgroup_method is None or subgroups is None:
        return []
    how = {"dro": "weighs groups by their loss (GroupDRO)", "sampling": "draws groups equally often"}
    values = sorted(set(map(str, subgroups)) - {""})
    return [
        f"Training {how[options.subgroup_method]}, of {_listed(values)}; the epoch is chosen by the group with the "
        "largest validation error."
    ]


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:6]) + (f" and {len(values) - 6} more" if len(values) > 6 else "")
