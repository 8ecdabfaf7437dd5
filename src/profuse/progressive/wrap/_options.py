"""What the start and what a call returns may be."""

from __future__ import annotations

from typing import Any, Literal, get_args

from profuse.errors import ConfigError
from profuse.progressive.rounds import Rounds, check_rounds
from profuse.progressive.wrap._entry import WHERE

__all__ = ["Returns", "Start", "checked_rounds"]

Start = Literal["zero", "learned"]
Returns = Literal["last", "all"]


def checked_rounds(rounds: Any, start: Any, returns: Any, gradient_rounds: int | None) -> Rounds:
    """Returns the rounds.

    Raises:
        ConfigError: There cannot be so many with these options.
    """
    for name, value, known in (("start", start, Start), ("returns", returns, Returns)):
        if value not in get_args(known):
            raise ConfigError(f"{WHERE}: {name} must be {' or '.join(get_args(known))}; got {name}={value!r}.")
    return check_rounds(rounds, where=WHERE, start=start, gradient_rounds=gradient_rounds, returns=returns)
