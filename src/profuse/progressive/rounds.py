"""How many rounds there may be, in a model of our parts and around a module of anybody's."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal

from profuse.errors import ConfigError

__all__ = ["Rounds", "check_rounds", "is_whole"]

Rounds = int | Literal["equilibrium"]


def check_rounds(
    rounds: Any,
    *,
    where: str,
    start: str = "zero",
    gradient_rounds: Any = None,
    supervise: str = "last",
    returns: str = "last",
) -> Rounds:
    """Returns `rounds` as an int, or "equilibrium".

    Args:
        rounds: A whole number of any type, at least 1, or "equilibrium".
        where: Who asks, for messages.
        start: The state before round one.
        gradient_rounds: How many of the last rounds carry gradient; all if None.
        supervise: The rounds whose output has a loss.
        returns: Around a module: the rounds whose output a call returns.

    Raises:
        ConfigError: They are no such number, or do not go with the other options.
    """
    if gradient_rounds is not None and (not is_whole(gradient_rounds) or gradient_rounds < 1):
        raise ConfigError(f"{where}: gradient_rounds must be at least 1; got gradient_rounds={gradient_rounds!r}.")
    if isinstance(rounds, str) and rounds == "equilibrium":
        given = {"supervise": (supervise, "last"), "start": (start, "zero"), "gradient_rounds": (gradient_rounds, None)}
        wrong = {name: pair for name, pair in given.items() if pair[0] != pair[1]}
        if wrong:
            raise ConfigError(
                f"{where}: rounds='equilibrium' must go with "
                f"{', '.join(f'{name}={default!r}' for name, (_, default) in wrong.items())}, as the converged "
                "state depends on no round and no start; got "
                f"{', '.join(f'{name}={value!r}' for name, (value, _) in wrong.items())}."
            )
        return "equilibrium"
    if not is_whole(rounds) or rounds < 1:
        raise ConfigError(f"{where}: rounds must be at least 1, or 'equilibrium'; got rounds={rounds!r}.")
    if (start, returns) == ("learned", "last") and rounds > (gradient_rounds or rounds):
        raise ConfigError(
            f"{where}: start='learned' must go with a gradient in all rounds, as it learns by round one; "
            f"got rounds={rounds}, gradient_rounds={gradient_rounds}. Use gradient_rounds=None, or start='zero'."
        )
    return int(rounds)


def is_whole(value: Any) -> bool:
    """Returns whether it is a whole number, of Python or NumPy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)
