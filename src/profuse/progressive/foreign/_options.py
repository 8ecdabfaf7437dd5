"""What the start, the number of rounds and what a call returns may be, and which of them go together."""

from __future__ import annotations

from typing import Any, Literal, get_args

from profuse.errors import ConfigError
from profuse.progressive.foreign._entry import WHERE

__all__ = ["Returns", "Start", "check_rounds"]

Start = Literal["zero", "learned"]
Returns = Literal["last", "all"]


def check_rounds(rounds: Any, start: Any, returns: Any, gradient_rounds: int | None) -> None:
    """Checks that there can be so many rounds with these options.

    Raises:
        ConfigError: There cannot.
    """
    for name, value, known in (("start", start, Start), ("returns", returns, Returns)):
        if value not in get_args(known):
            raise ConfigError(f"{WHERE}: {name} must be {' or '.join(get_args(known))}; got {name}={value!r}.")
    if gradient_rounds is not None and gradient_rounds < 1:
        raise ConfigError(f"{WHERE}: gradient_rounds must be at least 1; got gradient_rounds={gradient_rounds}.")
    if rounds == "equilibrium":
        if (start, gradient_rounds) != ("zero", None):
            raise ConfigError(
                f"{WHERE}: rounds='equilibrium' must go with start='zero' and gradient_rounds=None, as the state at "
                f"rest depends on no round and no start; got start={start!r}, gradient_rounds={gradient_rounds}."
            )
    elif rounds < 1:
        raise ConfigError(f"{WHERE}: rounds must be at least 1, or 'equilibrium'; got rounds={rounds!r}.")
    elif (start, returns) == ("learned", "last") and rounds > (gradient_rounds or rounds):
        raise ConfigError(
            f"{WHERE}: start='learned' must go with a gradient in all rounds, or returns='all', as it learns by round "
            f"one; got rounds={rounds}, gradient_rounds={gradient_rounds}. Use gradient_rounds=None, or start='zero'."
        )
