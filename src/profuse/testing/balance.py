"""What must hold for every balancing method. Each check's docstring says it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.testing._contract import run_checks
from profuse.testing._subject import must_raise, need, random
from profuse.tokens import Raw
from profuse.training.balance import Balance, unimodal_confidence

__all__ = ["BALANCE_CHECKS", "check_balance"]

NAMES, N_ROWS, N_CLASSES = ("a", "b", "c"), 12, 3
Make = Callable[[FusionModel], Balance]
Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class BalanceSubject:
    """How to make the balancing method of a model."""

    make: Make

    def model(self, fusion: str = "concat", names: Sequence[str] = NAMES, **options: object) -> FusionModel:
        """Returns a small model of three modalities with losses of their own."""
        specs = {name: Spec(kind="vector", n_channels=4) for name in names}
        given = ModelOptions.model_validate({"fusion": fusion, "width": 8, "dropout": 0.0, "members": 1, **options})
        model = build_model(specs, "multiclass", N_CLASSES, given, n_rows=100, seed=0)
        assert isinstance(model, FusionModel)
        return model

    def batch(self, *, absent: str | None = None) -> tuple[dict[str, Raw], Tensor]:
        """Returns a batch in which one row lacks each modality, and all rows lack `absent`."""
        rows = torch.arange(N_ROWS)
        inputs = {n: Raw(random(N_ROWS, 4, seed=i), rows != i) for i, n in enumerate(NAMES)}
        if absent is not None:
            inputs[absent] = inputs[absent].without(rows >= 0)
        return inputs, rows % N_CLASSES

    def passes(self, method: Balance, model: FusionModel, inputs: dict[str, Raw], target: Tensor) -> list[Gradients]:
        """Returns the gradients that each pass of one batch leaves."""
        result = []
        torch.manual_seed(0)
        for given, rows in method.passes(inputs):
            model.zero_grad()
            of = target if rows is None else target[rows]
            output = model(given)
            method.backward(*model.losses(output, of), unimodal_confidence(model, output, of))
            result.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        return result

    def once(self, **batch: object) -> tuple[FusionModel, list[Gradients]]:
        """Returns a new model and what its method leaves there for a batch."""
        with torch.random.fork_rng():
            model = self.model()
            method = self.make(model)
            gradients = self.passes(method, model, *self.batch(**batch))  # type: ignore[arg-type]
            method.close()
        return model, gradients


def gradient_reaches_everything(s: BalanceSubject) -> None:
    """In the passes of a batch, gradient reaches every parameter, and all of it is finite."""
    model, passes = s.once()
    reached = {name for gradients in passes for name, g in gradients.items() if bool((g != 0).any())}
    lacking = sorted({n for n, p in model.named_parameters() if p.requires_grad} - reached)
    need(not lacking, f"every parameter must get a gradient; got none at {lacking[:3]}.")
    finite = all(bool(g.isfinite().all()) for gradients in passes for g in gradients.values())
    need(finite, "gradients must be finite; got NaN or infinity.")


def balanced_is_plain(s: BalanceSubject) -> None:
    """Where modalities are alike and their losses agree with the joint one, the last pass goes the way of the plain
    loss, as far for each.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = s.model("mean_logits", NAMES[:2])
        first_encoder, first_head = model.encoders[0].state_dict(), model.own_heads[0].state_dict()
        for encoder, head in zip(model.encoders, model.own_heads, strict=True):
            encoder.load_state_dict(first_encoder)
            head.load_state_dict(first_head)
        (one, *_), target = s.batch()[0].values(), s.batch()[1]
        inputs = dict.fromkeys(model.names, one)
        method = s.make(model)
        gradients = s.passes(method, model, inputs, target)[-1]
        method.close()
        model.zero_grad()
        model.loss(model(inputs), target).backward()  # type: ignore[no-untyped-call]
    plain = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    lengths = []
    for i, modality in enumerate(model.names):
        names = [n for n in plain if n.startswith(f"encoders.{i}.")]
        want = torch.cat([plain[n].flatten() for n in names])
        got = torch.cat([gradients[n].flatten() for n in names])
        cosine = float(want @ got / (want.norm() * got.norm()).clamp(min=1e-12))
        need(cosine > 1 - 1e-4, f"the gradient of {modality!r} must go the same way; got a cosine of {cosine:.4f}.")
        lengths.append(float(got.norm()))
    need(max(lengths) < 1.001 * min(lengths), f"equal modalities must get equal gradients; got lengths {lengths}.")


def deterministic(s: BalanceSubject) -> None:
    """With the same seed it leaves the same gradients, bit for bit."""
    (_, one), (_, two) = s.once(), s.once()
    same = len(one) == len(two) and all(torch.equal(a[n], b[n]) for a, b in zip(one, two, strict=True) for n in a)
    need(same, "gradients must be the same at the same seed; got others.")


def absent_is_finite(s: BalanceSubject) -> None:
    """A batch in which no row has some modality gives finite gradients, in one pass at least."""
    for absent in NAMES:
        _, passes = s.once(absent=absent)
        need(bool(passes), f"a batch must have a pass; got none without {absent!r}.")
        finite = all(bool(g.isfinite().all()) for gradients in passes for g in gradients.values())
        need(finite, f"gradients must be finite; got NaN or infinity without {absent!r}.")


def values_left_alone(s: BalanceSubject) -> None:
    """It leaves gradients: the parameters change in the optimizer's step alone."""
    model, _ = s.once()
    fresh = s.model().state_dict()
    changed = [n for n, value in model.state_dict().items() if not torch.equal(value, fresh[n])]
    need(not changed, f"parameters must stay as they are; got others at {changed[:3]}.")


def closes_cleanly(s: BalanceSubject) -> None:
    """After `close` the model has no hook more and no other state, can be copied, and predicts what it did."""
    model = s.model().eval()
    inputs, _ = s.batch()
    with torch.no_grad():
        before, keys = model(inputs).outputs, list(model.state_dict())
        s.make(model).close()
        after = model(inputs).outputs
    hooks = [n for n, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    need(not hooks, f"no hook must be left; got some at {hooks[:3]}.")
    need(list(model.state_dict()) == keys, "the model's state must be what it was; got other names.")
    need(torch.equal(before, after), "the model must predict what it did; got something else.")
    copy.deepcopy(model)


def weights_repeat(s: BalanceSubject) -> None:
    """One that is given the `weights` of another leaves the same gradients."""
    with torch.random.fork_rng():
        model = s.model()
        inputs, target = s.batch()
        one = s.make(model)
        for loss in (3.0, 1.0, 0.5):
            own = {name: torch.tensor(loss / (i + 1)) for i, name in enumerate(NAMES)}
            train, valid = (torch.tensor(loss), own), (torch.tensor(loss + 0.3), {n: v + 0.1 for n, v in own.items()})
            one.after_epoch(lambda train=train, valid=valid: (train, valid))  # type: ignore[misc]
        weights = one.weights()
        want = s.passes(one, model, inputs, target)
        one.close()
        two = s.make(model)
        two.repeat(weights)
        got = s.passes(two, model, inputs, target)
        two.close()
    same = all(torch.equal(a[n], b[n]) for a, b in zip(want, got, strict=True) for n in a)
    need(same, "gradients must be the same after repeat(weights()); got others.")


def own_losses_needed(s: BalanceSubject) -> None:
    """A model whose modalities have no losses of their own is refused."""
    model = s.model(unimodal_loss_weight=0.0)
    who = type(s.make(s.model())).__name__
    must_raise(ConfigError, lambda: s.make(model), "a model without losses of its modalities", who)


BALANCE_CHECKS: dict[str, Callable[[BalanceSubject], None]] = {
    check.__name__: check
    for check in (
        gradient_reaches_everything,
        balanced_is_plain,
        deterministic,
        absent_is_finite,
        values_left_alone,
        closes_cleanly,
        weights_repeat,
        own_losses_needed,
    )
}


def check_balance(make: type[Balance] | Make, *, checks: Iterable[str] = tuple(BALANCE_CHECKS)) -> None:
    """Checks a balancing method against the contract.

    Args:
        make: Its class, or a function of a model that makes one (to set options).
        checks: Names of `BALANCE_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        UnknownNameError: There is no such check.
    """
    subject = BalanceSubject(make)
    run_checks(type(make(subject.model())).__name__, subject, BALANCE_CHECKS, checks)
