"""A module on an example: what stands at the entries, and whether feedback and reuse can be where they are named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError, ProfuseError
from profuse.progressive._anytime import in_evaluation
from profuse.progressive.wrap._entry import layer_of
from profuse.progressive.wrap._matched import Call, check_matched
from profuse.progressive.wrap._pass import PASSES, Pass
from profuse.progressive.wrap._present import Presence
from profuse.progressive.wrap._state import Picked
from profuse.progressive.wrap._trees import WHERE, copied, described, floats, on_data, tensors

__all__ = ["try_out"]


def try_out(
    module: nn.Module,
    make_pass: Callable[[], Pass],
    args: Any,
    kwargs: Any,
    reuse: Sequence[str],
    presences: Sequence[Presence | None],
    state_mask: Tensor | None,
) -> tuple[Picked, list[Any]]:
    """Returns the state, and what stands at each entry when it is met first.

    Two rounds run, in evaluation mode and with gradients on: the module as it is, then with noise at all entries, which
    shows what lies above them, whatever the weights of the feedback, and whose rows those of a branch are where
    `presences` say who has it. The pass that is made should leave buffers and random streams as they are.

    Raises:
        ConfigError: The module does not run, no gradient comes back to an entry, feedback changes what a part to be
            reused takes, or a branch runs on other rows than are present.
        ShapeError: A branch has other rows than those present, or all.
    """
    met: dict[int, Any] = {}
    with _evaluating(module, args, kwargs):
        one_pass = make_pass()
        with _watched(module, reuse) as plain:
            one_pass.run(args, kwargs, lambda index, x: met.setdefault(index, x), presences=presences)
        picked = one_pass.picked
        calls = [list[Call]() for _ in met]
        chance = torch.Generator().manual_seed(0)  # the module's random numbers stay those of the plain pass
        with _watched(module, reuse) as disturbed:
            one_pass.run(args, kwargs, lambda index, x: _disturbed(x, chance, calls[index]))
        for name in reuse:
            if not _alike(plain[name][: len(disturbed[name])], disturbed[name]):
                raise ConfigError(
                    f"{WHERE}: reuse must name parts that feedback does not change; {name!r} takes "
                    f"{', '.join(map(described, tensors(plain[name])))}, and other numbers when feedback enters. "
                    "Name parts below the layers of into, or leave it out."
                )
        _check_effect(one_pass, calls)
        for entry, own, presence in zip(one_pass.entries, calls, presences, strict=True):
            if entry.present is not None:
                check_matched(entry, own, presence, one_pass.state(state_mask), one_pass.reader.name)
    assert picked is not None
    return picked, [met[index] for index in range(len(met))]


@contextmanager
def _evaluating(module: nn.Module, args: Any, kwargs: Any) -> Iterator[None]:
    """Evaluation mode with gradients on; what the module raises becomes an error that says what it was called with."""
    try:
        with warnings.catch_warnings(), PASSES, in_evaluation(module), torch.enable_grad():
            warnings.simplefilter("ignore")
            yield
    except ProfuseError:
        raise
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise ConfigError(
            f"{WHERE}: the module must run on the example, in evaluation mode with gradients on; got "
            f"example={described(args)}, example_kwargs={described(kwargs)}, on which {type(module).__name__} raised "
            f"{type(error).__name__}: {first}. Give what it is called with: arguments by position as a tuple (a list "
            "or a dict is one argument), those by name as example_kwargs."
        ) from error


@contextmanager
def _watched(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """Notes what the parts `names` are called with."""
    calls: dict[str, list[Any]] = {name: [] for name in names}
    with ExitStack() as stack:
        for name, taken in calls.items():

            def watch(_: Any, args: Any, kwargs: Any, taken: list[Any] = taken) -> None:
                taken.append(copied((args, kwargs)))

            hook = layer_of(module, name, "reuse").register_forward_pre_hook(watch, with_kwargs=True)
            stack.callback(hook.remove)
        yield calls


def _disturbed(x: Any, chance: torch.Generator, calls: list[Call]) -> Any:
    """Returns `x` with noise that has a gradient; both are added to `calls`."""
    noises: list[Tensor] = []
    calls.append((x, noises))

    def disturb(x: Tensor) -> Tensor:
        noises.append(torch.randn(x.shape, generator=chance).to(x).requires_grad_())
        return x + noises[-1]

    if isinstance(x, Tensor) and x.is_nested:
        return torch.nested.as_nested_tensor([disturb(row) for row in x.unbind()])
    return on_data(x, disturb)


def _check_effect(one_pass: Pass, calls: Sequence[list[Call]]) -> None:
    """Checks that a gradient comes back to each entry, of what the module returns or of its state."""
    ends = [x for x in floats((one_pass.output, one_pass.picked)) if x.requires_grad]
    rows = [row for x in ends for row in (x.unbind() if x.is_nested else (x,))]
    total = sum((row.sum().cpu().float() for row in rows), torch.zeros((), requires_grad=True))
    for entry, met in zip(one_pass.entries, calls, strict=True):
        own = [noise for _, noises in met for noise in noises]
        gradients = torch.autograd.grad(total, own, retain_graph=True, allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise ConfigError(
                f"{WHERE}: feedback must change the state, or what the module returns, and get a gradient from there "
                f"to learn; to the {entry} for branch {entry.branch!r} none comes back. The module does not use it (of "
                "a recurrent layer it may use h_n: at='input'), detaches it, or reuses it "
                f"(reuse={list(one_pass.reuse)}). Name a layer whose output the module uses."
            )


def _alike(a: Any, b: Any) -> bool:
    """Returns whether both hold the same numbers, but for rounding, which may differ from call to call."""
    xs, ys = ([x.double() for x in tensors(tree) if not x.is_nested] for tree in (a, b))
    pairs = zip(xs, ys, strict=False)
    return len(xs) == len(ys) and all(
        x.shape == y.shape and torch.allclose(x, y, rtol=1e-3, atol=1e-5, equal_nan=True) for x, y in pairs
    )
