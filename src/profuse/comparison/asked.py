"""Weights of classes and subgroups that are asked for: checked before anything is fitted, and told."""

from __future__ import annotations

import numpy as np

from profuse.comparison.options import CompareOptions
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError
from profuse.training.groups import NO_PORTFOLIO, check_subgroups, told_of_groups
from profuse.training.weights import check_class_weight

__all__ = ["told_of_classes", "with_subgroups"]


def told_of_classes(options: CompareOptions, dataset: Dataset) -> list[str]:
    """Checks the weights of classes before anything is fitted, and returns what is to be told of them."""
    asked = options.train.class_weight
    if asked is None:
        return []
    check_class_weight(asked, dataset.task, sorted(set(map(str, np.asarray(dataset.target)))), who="compare")
    return [
        f"class_weight = {asked!r} is in the loss of all models: their probabilities are of classes so weighted, and "
        "their log loss is higher for it. Scores count each row once."
    ]


def with_subgroups(options: CompareOptions, dataset: Dataset) -> tuple[CompareOptions, list[str]]:
    """Checks what is asked for subgroups, and returns the options, and what is to be told of them.

    Raises:
        ConfigError: A method without subgroups, or the reverse; or a portfolio, which would undo it.
    """
    check_subgroups(options.train, dataset.subgroups, who="compare")
    if options.train.subgroup_method is None:
        return options, []
    if options.portfolio == "auto":
        options = options.model_copy(update={"portfolio": "none"})
    elif options.portfolio != "none":
        raise ConfigError(f"compare: {NO_PORTFOLIO}; got portfolio={options.portfolio!r}. Use none.")
    note = (
        f"Classical models learn with weights that make groups count alike. No portfolio is compared: {NO_PORTFOLIO}."
    )
    return options, [*told_of_groups(options.train, dataset.subgroups), note]
