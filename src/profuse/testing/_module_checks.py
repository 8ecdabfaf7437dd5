"""What must hold for operators and encoders alike. Each check's docstring says it."""

from __future__ import annotations

import copy
import doctest
import inspect
import io
import pickle
import re
import sys
import warnings
from functools import partial

import torch
from torch import Tensor, nn

from profuse.encoders import Encoder
from profuse.fusion import Fusion
from profuse.schema import Spec
from profuse.testing._subject import (
    ContractError,
    Subject,
    close,
    each,
    floats,
    loss,
    need,
    pad,
    rows_of,
    same,
    spoil,
    to_type,
)
from profuse.tokens import Tokens

__all__ = [
    "all_missing_finite",
    "batch_of_one",
    "copies_equal",
    "device",
    "documented",
    "dtype",
    "eval_deterministic",
    "exports",
    "float64_agrees",
    "gradient_is_the_slope",
    "gradient_reaches_everything",
    "missing_content_ignored",
    "padding_invisible",
    "repr_rebuilds",
    "rows_independent",
    "state_survives_saving",
]


def dtype(s: Subject) -> None:
    """Float32 in gives float32, float64 in gives float64."""
    for dtype in (torch.float32, torch.float64):
        for name, value in floats(s.run(s.fresh().to(dtype), to_type(s.inputs, dtype))).items():
            need(value.dtype == dtype, f"{name} must be {dtype}, as the inputs are; got {value.dtype}.")


def device(s: Subject) -> None:
    """Nothing is made on the default device: here that is one ("meta") which cannot meet the inputs' device."""
    module = s.fresh()
    with torch.device("meta"):
        result = s.run(module)
    for name, value in floats(result).items():
        need(value.device.type == "cpu", f"{name} must be on the inputs' device; got {value.device}.")


def rows_independent(s: Subject) -> None:
    """A row's result does not depend on the rows beside it."""
    module = s.fresh()
    half = len(next(iter(s.inputs.values()))) // 2
    kept, others = list(range(half)), [half] * half
    same(
        s.run(module, rows_of(s.inputs, others + kept)),
        s.run(module),
        "with other rows beside it",
        [(half + i, i) for i in kept],
    )


def batch_of_one(s: Subject) -> None:
    """A batch of one row gives what the row gives in a larger batch."""
    module = s.fresh()
    whole = s.run(module)
    for i in range(len(next(iter(s.inputs.values())))):
        same(s.run(module, rows_of(s.inputs, [i])), whole, "alone", [(0, i)])


def padding_invisible(s: Subject) -> None:
    """More padding, whatever stands in it, changes nothing."""
    module = s.fresh()
    table = isinstance(module, Encoder) and bool(module.spec.cardinalities)  # its columns are fixed: none can be added
    same(s.run(module, s.inputs if table else each(s.inputs, pad)), s.run(module), "padded")


def missing_content_ignored(s: Subject) -> None:
    """What stands where the mask is False changes nothing: neither random values nor NaN."""
    module = s.fresh()
    for nan in (False, True):
        spoilt = each(s.inputs, partial(spoil, nan=nan))
        same(s.run(module, spoilt), s.run(module), f"with {'NaN' if nan else 'random values'} where the mask is False")


def all_missing_finite(s: Subject) -> None:
    """With nothing present the result and all gradients are finite; an encoder returns no real token."""
    module = s.fresh()
    result = s.run(module, each(s.inputs, lambda values, mask: (values, torch.zeros_like(mask))))
    for name, value in floats(result).items():
        need(bool(value.isfinite().all()), f"{name} must be finite when all is missing; got NaN or infinity.")
    if isinstance(result, Tokens):
        need(not bool(result.mask.any()), "a missing modality must come back all masked; got real tokens.")
    carried = [v for v in floats(result).values() if v.requires_grad]
    if carried:
        torch.stack([v.sum() for v in carried]).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in module.named_parameters():
        finite = parameter.grad is None or bool(parameter.grad.isfinite().all())
        need(finite, f"the gradient of {name} must be finite when all is missing; got NaN or infinity.")


def gradient_reaches_everything(s: Subject) -> None:
    """A finite gradient, not 0, reaches every parameter and every modality."""
    module = s.fresh()
    leaves = each(s.inputs, lambda v, mask: (v.clone().requires_grad_() if v.is_floating_point() else v, mask))
    loss(s.run(module, leaves)).backward()  # type: ignore[no-untyped-call]
    named = {f"parameter {name}": p for name, p in module.named_parameters()}
    named |= {f"modality {name}": part.values for name, part in leaves.items() if part.values.is_floating_point()}
    for name, leaf in named.items():
        reached = leaf.grad is not None and bool(leaf.grad.isfinite().all()) and bool(leaf.grad.any())
        need(
            reached,
            f"a finite gradient must reach {name}; got {'none' if leaf.grad is None else '0, NaN or infinity'}.",
        )


def state_survives_saving(s: Subject) -> None:
    """All that was learned is in the state: loaded into one built with other random numbers, it gives the same."""
    first, second = s.fresh(0), s.fresh(1)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    same(s.run(second), s.run(first), "loaded into another one", tol=0.0)


def eval_deterministic(s: Subject) -> None:
    """In eval mode two calls give the same, draw no random number, and leave the state as it was."""
    module = s.fresh()
    state, numbers = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    first = s.run(module)
    same(s.run(module), first, "called again", tol=0.0)
    need(torch.equal(numbers, torch.get_rng_state()), "eval mode must draw no random number; got a changed generator.")
    for name, value in module.state_dict().items():
        need(torch.equal(value, state[name]), f"eval mode must leave {name} as it was; got other values.")


def float64_agrees(s: Subject) -> None:
    """Float64 gives what float32 gives, to float32's precision."""
    module = s.fresh()
    single = s.run(module)
    same(s.run(module.double(), to_type(s.inputs, torch.float64)), single, "in float64", tol=1e-3)


def gradient_is_the_slope(s: Subject) -> None:
    """The gradient by the inputs is the slope that finite differences measure, in float64."""
    module = s.fresh().double()
    inputs = to_type(rows_of(s.inputs, [0, 1, 2]), torch.float64)
    names = [name for name, part in inputs.items() if part.values.is_floating_point()]

    # the codes of a table's categories do not move
    cardinalities = module.spec.cardinalities if isinstance(module, Encoder) else ()
    codes = torch.tensor(cardinalities or False, dtype=torch.bool)

    def function(*values: Tensor) -> Tensor:
        moved = {}
        for name, v in zip(names, values, strict=True):
            moved[name] = type(inputs[name])(torch.where(codes, inputs[name].values, v), inputs[name].mask)
        return loss(s.run(module, {**inputs, **moved}))

    leaves = [inputs[name].values.clone().requires_grad_() for name in names]
    if leaves:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the fast mode draws its directions
            torch.autograd.gradcheck(function, leaves, fast_mode=True, eps=1e-6, atol=1e-4, rtol=1e-3)


def repr_rebuilds(s: Subject) -> None:
    """`eval(repr(x))` makes one with the same repr and parameters of the same shapes."""
    module = s.fresh()
    rebuilt = eval(repr(module), {type(module).__name__: type(module), "Spec": Spec})
    need(repr(rebuilt) == repr(module), f"the repr must rebuild it; got {rebuilt!r} from {module!r}.")
    rebuilt.load_state_dict(module.state_dict())
    same(s.run(rebuilt.eval()), s.run(module), "rebuilt from its repr")


def copies_equal(s: Subject) -> None:
    """Pickle and deepcopy give one that gives the same."""
    module = s.fresh()
    result = s.run(module)
    same(s.run(copy.deepcopy(module)), result, "copied", tol=0.0)
    same(s.run(pickle.loads(pickle.dumps(module))), result, "pickled", tol=0.0)


def documented(s: Subject) -> None:
    """The docstring begins with a sentence (a formula, of an operator), names every argument, and its example runs."""
    cls = type(s.fresh())
    text = inspect.getdoc(cls) if cls.__doc__ else None
    if text is None:
        raise ContractError("a docstring must be written; got none.")
    lead = text.split("\n\n")[0]
    operator = issubclass(cls, Fusion)
    need(lead.rstrip().endswith(".") and ("=" in lead or not operator), f"it must begin with a formula; got {lead!r}.")
    needed = ("Shape:", "Args:", "Reference:", "Example:") if operator else ("Args:",)
    lacking = [section for section in needed if f"\n{section}\n" not in text]
    lacking += [a for a in ("formula", "cost", "missing", "reference") if operator and not getattr(cls, a)]
    arguments = list(inspect.signature(cls.__init__).parameters)[1:]
    lacking += [a for a in arguments if not re.search(rf"^    {a}: \S", text, re.MULTILINE)]
    need(not lacking, f"the docstring and the class must have all parts; got none of {', '.join(lacking)}.")
    scope = {**vars(sys.modules[cls.__module__]), cls.__name__: cls}
    runner, told = doctest.DocTestRunner(), io.StringIO()
    runner.run(doctest.DocTestParser().get_doctest(text, scope, cls.__name__, None, 0), out=told.write)
    need(runner.failures == 0, f"the example must run; got\n{told.getvalue()}")
    need(runner.tries > 0 or not operator, "the example must have a line to run; got none.")


def exports(s: Subject) -> None:
    """`torch.export` takes it, with any number of rows, and what it exports gives the same."""
    module = s.fresh()
    kinds = {name: type(part) for name, part in s.inputs.items()}

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: Tensor) -> Tensor:
            pairs = zip(kinds, tensors[::2], tensors[1::2], strict=True)
            result = s.run(self.inner, {name: kinds[name](v, m) for name, v, m in pairs})
            return result.values if isinstance(result, Tokens) else result.vector

    flat = tuple(t for part in s.inputs.values() for t in (part.values, part.mask))
    batch = torch.export.Dim("batch", min=2, max=4096)
    with warnings.catch_warnings():
        # torch's own recurrent layers set a list of their weights while they are traced; the result is compared below
        warnings.filterwarnings("ignore", message=r"The tensor attributes? .*_flat_weights", category=UserWarning)
        program = torch.export.export(Flat().eval(), flat, dynamic_shapes={"tensors": tuple({0: batch} for _ in flat)})
    fewer = tuple(t[:5] for t in flat)
    close(program.module()(*fewer), Flat()(*fewer), "exported", 1e-4)
