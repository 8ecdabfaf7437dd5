"""What must hold for operators only. Each check's docstring says it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from profuse.errors import ConfigError, ShapeError
from profuse.fusion import Fused, Fusion
from profuse.testing._subject import WIDTH, Subject, close, floats, must_raise, need, rows_of, same
from profuse.tokens import Tokens

__all__ = ["dict_order_irrelevant", "limits_hold", "members_declared", "shape", "wrong_inputs_raise"]


def shape(s: Subject) -> None:
    """The vector is `[batch, width]`; weights are `[batch, modality]`, at least 0, and 0 where missing; all finite."""
    module = s.fresh()
    result = s.run(module)
    assert isinstance(module, Fusion)
    assert isinstance(result, Fused)
    n_rows, present = len(next(iter(s.inputs.values()))), module.present(s.inputs)
    need(
        result.vector.shape == (n_rows, WIDTH), f"the vector must be [batch, width]; got {tuple(result.vector.shape)}."
    )
    for name, value in floats(result).items():
        need(bool(value.isfinite().all()), f"{name} must be finite; got NaN or infinity.")
    for name, weights in result.weights.items():
        fits = weights.shape == present.shape and bool((weights >= 0).all()) and not bool(weights[~present].any())
        need(fits, f"weights {name} must be [batch, modality], at least 0, and 0 where missing; got others.")
    for name, penalty in result.penalties.items():
        need(penalty.ndim == 0, f"penalty {name} must be a scalar; got {tuple(penalty.shape)}.")


def dict_order_irrelevant(s: Subject) -> None:
    """The order of the dict changes nothing, neither when it is built nor when it is called."""
    module = s.fresh()
    same(s.run(module, dict(reversed(s.inputs.items()))), s.run(module), "with the dict in another order", tol=0.0)
    need(list(module.names) == sorted(s.inputs), f"names must be sorted; got {module.names}.")  # type: ignore[arg-type]


def wrong_inputs_raise(s: Subject) -> None:
    """Other modalities, widths, rows, types, or no Tokens: a ShapeError that begins with the operator's name."""
    module = s.fresh()
    who, name = type(module).__name__, next(iter(s.inputs))
    t, rest = s.inputs[name], {k: v for k, v in s.inputs.items() if k != name}
    wrong: dict[str, dict[str, Any]] = {
        "a modality that is lacking": rest,
        "a modality that was not declared": {**s.inputs, "unheard of": t},
        "another width": {**rest, name: Tokens(torch.cat([t.values, t.values], 2), t.mask)},
        "no Tokens": {**rest, name: t.values},
    }
    if rest:
        wrong["other rows"] = {**rest, name: Tokens(t.values[:2], t.mask[:2])}
        wrong["another type"] = {**rest, name: Tokens(t.values.double(), t.mask)}
    for what, inputs in wrong.items():
        must_raise(ShapeError, partial(module, inputs), what, who)


def limits_hold(s: Subject) -> None:
    """It takes as many modalities as it declares, and raises a ConfigError for one more or one fewer."""
    cls = type(s.fresh())
    assert issubclass(cls, Fusion)
    for n in range(6):
        fits = cls.min_modalities <= n <= (cls.max_modalities or 5) and n > 0
        if fits:
            s.declare(n)
        else:
            must_raise(ConfigError, partial(s.declare, n), f"{n} modalities", cls.__name__)


def members_declared(s: Subject) -> None:
    """`members` is "one" if it keeps training rows; penalties of rows given twice stay, or it is "apart" or "one"."""
    module = s.fresh()
    assert isinstance(module, Fusion)
    need(
        module.members == "one" or module.n_remembered == 0,
        f'members must be "one" where n_remembered is above 0; got members={module.members!r}.',
    )
    if module.members != "together":
        return
    n_rows = len(next(iter(s.inputs.values())))
    once, twice = s.run(module), s.run(module, rows_of(s.inputs, [*range(n_rows)] * 2))
    assert isinstance(once, Fused)
    assert isinstance(twice, Fused)
    for name, penalty in once.penalties.items():
        close(twice.penalties[name], penalty, f"penalty {name} of rows that are given twice", 1e-4)
