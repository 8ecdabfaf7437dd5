"""`decide`: which class one network answers, by a number, by costs, or by a threshold that validation rows choose."""

from __future__ import annotations

from dataclasses import replace

from profuse.errors import ConfigError
from profuse.portfolio.decision import AskedDecision, HeldOut, what_it_is_worth
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import NetworkPredictor

__all__ = ["decide"]


def decide(network: NetworkPredictor, options: PortfolioOptions, *, seed: int = 0) -> NetworkPredictor:
    """Returns the network, which answers by the threshold or the costs of `options`, and tells what that is worth.

    A metric chooses the threshold by what the network predicted of its validation rows before it was trained anew with
    them. What it is worth (`about["decision"]`) is measured on the same rows in five parts, each by what the others
    have chosen.

    Args:
        network: Just trained, as validation rows are not saved.
        options: Their `threshold` and `cost`; others are not read.
        seed: Of the parts and of the interval.

    Raises:
        ConfigError: The task has no such classes, the metric does not judge answers, or there are no validation rows.
        UnknownNameError: There is no such metric, or class.
    """
    asked = AskedDecision.of(options, network.codec)
    if asked.metric is None and asked.decision.is_most_probable:
        return network
    said = network.valid_prediction
    if said is None or network.valid_true is None:
        raise ConfigError(
            "decide: the network must know its validation rows, as one that was just trained does; got one without. "
            "Use network.deciding(threshold=...) with a number."
        )
    decision = asked.made(said, network.valid_true)
    worth = what_it_is_worth(asked, decision, said, HeldOut.of_network(network, seed=seed), seed)
    return replace(
        network, decision=decision, about={**network.about, "decision": {**worth, "n_rows": len(network.valid_true)}}
    )
