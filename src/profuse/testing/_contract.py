"""How a contract is checked: all checks that were asked for, all faults told together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from profuse._lookup import resolve
from profuse.testing._subject import ContractError

__all__ = ["run_checks"]

S = TypeVar("S")


def run_checks(who: str, subject: S, table: Mapping[str, Callable[[S], None]], names: Iterable[str]) -> None:
    """Runs the checks called `names` on `subject`.

    Args:
        who: What is checked; each fault begins with it.
        subject: What the checks are given.
        table: All checks of the contract: the docstring of each says what must hold.
        names: Which to run.

    Raises:
        ContractError: A check failed; all failures are told.
        UnknownNameError: There is no such check.
    """
    faults, first = [], None
    for name in names:
        check = resolve(name, table, where="profuse.testing", what="check")
        try:
            check(subject)
        except Exception as error:
            first = first or error
            message = str(error) if isinstance(error, ContractError) else f"got {type(error).__name__}: {error}"
            faults.append(f"{who}, {name}: {(check.__doc__ or '').strip()} {message}")
    if faults:
        raise ContractError("\n".join(faults)) from first
