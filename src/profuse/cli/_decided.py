"""A saved model that answers by another threshold, or by other costs, than it was saved with."""

from __future__ import annotations

from typing import Any

from profuse._options import checked
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import Decision, Predictor

__all__ = ["deciding"]


def deciding(predictor: Predictor, threshold: float | None, cost: str | None, *, who: str) -> Predictor:
    """Returns the predictor that answers so; as it is where neither is given.

    Raises:
        ConfigError: The target has no such classes, a value is out of range, or both are given.
        UnknownNameError: There is no such class.
    """
    if threshold is None and cost is None:
        return predictor
    asked: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
    if cost is not None:
        from profuse._yaml import parse_yaml

        asked["cost"] = parse_yaml(cost, what="value", who="--cost")
    options = checked(PortfolioOptions, asked, where=who)
    decision = Decision.by(predictor.classes.tolist(), predictor.task, threshold=threshold, cost=options.cost, who=who)
    return predictor.with_decision(decision)
