"""One training loop, on lightning-fabric: AdamW, warm-up and cosine decay, early stopping on validation only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Generator as Steps
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from profuse._cores import limit_threads
from profuse.errors import ConfigError, ProfuseError
from profuse.fusion import Fusion
from profuse.models.fusion_model import JOINT, FusionModel, Output
from profuse.progressive import ProgressiveFusion
from profuse.tokens import Raw
from profuse.training.balance import Balance, Losses, ModalityDropout, balance, unimodal_confidence
from profuse.training.optimizer import adamw
from profuse.training.options import TrainOptions

__all__ = ["Epoch", "History", "TrainOptions", "batches", "predict", "retrain", "train"]

Model = FusionModel | ProgressiveFusion


@dataclass(frozen=True)
class Epoch:
    """What happened in an epoch: `valid_score` is in the head's unit; the smallest `valid_error` is chosen."""

    epoch: int
    train_loss: float
    valid_loss: float
    valid_score: float
    valid_error: float


@dataclass(frozen=True)
class History:
    """All epochs, which one's weights were kept, and how long it took.

    Attributes:
        n_parameters: Numbers that training has changed; 0 where a model of an earlier version did not tell.
        balance_weights: What the remedy, with what it had learned from validation rows, used in each epoch up to the
            best one.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    n_train_rows: int
    fit_seconds: float
    n_parameters: int = 0
    balance_weights: tuple[Mapping[str, float], ...] = ()

    @property
    def best(self) -> Epoch:
        return self.epochs[self.best_epoch - 1]


class _Step(nn.Module):
    """Inputs and target -> losses in one forward call, as wrappers (DDP, precision) need it.

    Returns the whole loss; for a balancing method the joint loss, the modalities' own and their confidence (see
    `Balance.backward`).
    """

    def __init__(self, model: Model, *, apart: bool) -> None:
        super().__init__()
        self.model = model
        self.apart = apart

    def forward(
        self, values: dict[str, Tensor], masks: dict[str, Tensor], target: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        output: Output = self.model({name: Raw(values[name], masks[name]) for name in values})
        if not self.apart:
            return self.model.loss(output, target), {}, {}
        joint, own = self.model.losses(output, target)
        if JOINT in own:  # a hybrid's joint head is no modality
            joint = joint + own.pop(JOINT)
        return joint, own, unimodal_confidence(self.model, output, target)


def batches(
    inputs: Mapping[str, Raw], rows: Tensor, size: int, *, generator: Generator | None = None
) -> Iterator[tuple[dict[str, Raw], Tensor]]:
    """Yields batches of the rows `rows`, and their indices; shuffled if a generator is given.

    Shuffled batches that would hold a single row are joined to the one before: one row teaches nothing about a
    batch's spread.
    """
    if generator is not None:
        rows = rows[torch.randperm(len(rows), generator=generator)]
    parts = list(torch.split(rows, size))
    if generator is not None and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    for part in parts:
        yield {name: raw.rows(part).trim() for name, raw in inputs.items()}, part


def predict(
    model: Model, inputs: Mapping[str, Raw], rows: Tensor | None = None, *, batch_size: int = 512
) -> list[Output]:
    """Runs the model over rows (all if None) in evaluation mode and returns the batches' outputs."""
    was_training = model.training
    device = next(model.parameters()).device
    if rows is None:
        rows = torch.arange(len(next(iter(inputs.values()))))
    model.eval()
    try:
        with torch.inference_mode():
            return [
                model({name: raw.to(device) for name, raw in batch.items()})
                for batch, _ in batches(inputs, rows, batch_size)
            ]
    finally:
        model.train(was_training)


def train(
    model: Model,
    inputs: Mapping[str, Raw],
    target: Tensor,
    train_rows: Tensor,
    valid_rows: Tensor,
    options: TrainOptions,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Trains `model` in place and leaves in it the weights of the epoch with the smallest validation error.

    The global random state is left as it was.

    Args:
        model: An untrained model.
        inputs: All rows of every modality.
        target: All rows' targets, encoded: class numbers `[row]`, or `[row, output]`.
        train_rows: Rows that are learned from.
        valid_rows: Rows by which the epoch is chosen.
        options: How.
        on_epoch: Called after each epoch.

    Raises:
        ConfigError: No rows to learn from or to choose by.
        ProfuseError: The loss is no longer finite.
    """
    if len(train_rows) == 0 or len(valid_rows) == 0:
        raise ConfigError(
            f"train: there must be rows to learn from and to validate; got {len(train_rows)} and {len(valid_rows)}."
        )
    import lightning_fabric  # noqa: F401  # costs seconds, which are not the fit's

    start = time.perf_counter()
    patience = options.patience or max(4, options.n_epochs(len(train_rows)) // 3)
    done: list[Epoch] = []
    best, kept = 0, {}
    weights: list[Mapping[str, float]] = []

    def losses() -> tuple[Losses, Losses]:
        return _losses(model, inputs, target, train_rows), _losses(model, inputs, target, valid_rows)

    with limit_threads(options.threads), _remedy(model, options) as remedy:
        epochs = _epochs(model, inputs, target, train_rows, options, remedy, sized_for=len(train_rows))
        weights += [] if remedy is None else [remedy.weights()]
        for epoch, (train_loss, n_trained) in enumerate(epochs, start=1):
            outputs = torch.cat([o.outputs.float().cpu() for o in predict(model, inputs, valid_rows)])
            valid, head = target[valid_rows], model.head.eval()
            found = head.loss(outputs, valid).item(), head.score(outputs, valid), head.error(outputs, valid)
            done.append(Epoch(epoch, train_loss, *found))
            _check_finite(done[-1].valid_error, f"the validation error of epoch {epoch}", options)
            if on_epoch is not None:
                on_epoch(done[-1])
            n_parameters = n_trained
            if best == 0 or done[-1].valid_error < done[best - 1].valid_error:
                best = epoch
                kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
            elif epoch - best >= patience:
                break
            if remedy is not None:
                remedy.after_epoch(losses)
                weights.append(remedy.weights())
    model.load_state_dict(kept)
    model.to("cpu").eval()
    seconds = time.perf_counter() - start
    return History(tuple(done), best, len(train_rows), seconds, n_parameters, tuple(weights[:best]))


def retrain(
    model: Model, inputs: Mapping[str, Raw], target: Tensor, rows: Tensor, options: TrainOptions, history: History
) -> float:
    """Trains an untrained model on all of `rows` as an earlier one was, up to the epoch that was chosen for it.

    The learning rate runs as it did, so that it stops where the earlier one's best weights were.

    Returns:
        Seconds.
    """
    start = time.perf_counter()
    with limit_threads(options.threads), _remedy(model, options) as remedy:
        epochs = _epochs(model, inputs, target, rows, options, remedy, sized_for=history.n_train_rows)
        for epoch in range(history.best_epoch):
            if remedy is not None and epoch < len(history.balance_weights):
                remedy.repeat(history.balance_weights[epoch])
            next(epochs)
        epochs.close()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.numel():
            _check_finite(parameter.detach().abs().max().item(), name, options)
    model.to("cpu").eval()
    return time.perf_counter() - start


@contextmanager
def _remedy(model: Model, options: TrainOptions) -> Iterator[Balance | None]:
    """Gives the remedy asked for; none for a single modality, where there is nothing to balance."""
    if options.balance is None or len(model.names) == 1:
        yield None
        return
    remedy = balance(options.balance)(model, **options.balance_options)
    try:
        yield remedy
    finally:
        remedy.close()


def _losses(model: Model, inputs: Mapping[str, Raw], target: Tensor, rows: Tensor) -> Losses:
    """Returns the mean losses of at most 2,000 of the rows, the same ones each time, in evaluation mode."""
    if len(rows) > 2000:
        rows = rows[torch.randperm(len(rows), generator=Generator().manual_seed(0))[:2000]]
    joint, own = torch.zeros(()), dict.fromkeys(model.names, torch.zeros(()))
    model.head.eval()
    for output, part in zip(predict(model, inputs, rows), torch.split(rows, 512), strict=True):
        found = model.losses(output, target[part].to(output.outputs.device))
        share = len(part) / len(rows)
        whole = found[0] + found[1].get(JOINT, 0)  # a hybrid's joint head is no modality
        joint = joint + share * whole.cpu()
        own = {name: total + share * found[1][name].cpu() for name, total in own.items()}
    return joint, own


def _epochs(
    model: Model,
    inputs: Mapping[str, Raw],
    target: Tensor,
    rows: Tensor,
    options: TrainOptions,
    remedy: Balance | None,
    *,
    sized_for: int,
) -> Steps[tuple[float, int], None, None]:
    """Trains epoch after epoch, as many and in such steps as fit `sized_for` rows; the random state is left as it was.

    Yields:
        The epoch's mean loss, and how many numbers have been trained so far.
    """
    # costs seconds: only where training starts
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator=options.device, devices=1, precision=options.precision)
    generator = Generator().manual_seed(options.seed)
    drop = ModalityDropout(options.modality_dropout) if options.modality_dropout > 0 else None
    rates = options.model_dump(include={"learning_rate", "weight_decay", "warmup_fraction"})
    n_epochs, size = options.n_epochs(sized_for), options.rows_a_step(sized_for)
    n_steps, fused = n_epochs * math.ceil(len(rows) / size), options.precision != "16-mixed"
    optimizer, schedule = adamw(model, **rates, n_steps=n_steps, fused=fused)
    step: Any = _Step(model, apart=remedy is not None)
    if remedy is None:
        step, optimizer = fabric.setup(step, optimizer)
    else:  # remedies take gradients themselves, which a module that is set up allows in single precision only
        step, optimizer = fabric.to_device(step), fabric.setup_optimizers(optimizer)
    operators = [module for module in model.modules() if isinstance(module, Fusion)]
    shuffled = torch.randperm(len(rows), generator=Generator().manual_seed(options.seed))
    kept = rows[shuffled[: model.plain.fusion.n_remembered]]

    def remember() -> None:
        if len(kept):
            step.eval()
            with torch.no_grad():
                device = next(model.parameters()).device
                model.remember({name: raw.rows(kept).trim().to(device) for name, raw in inputs.items()})

    remember()
    for epoch in range(1, n_epochs + 1):
        step.train()
        for operator in operators:
            operator.progress = epoch / n_epochs
        total, seen = torch.zeros((), dtype=torch.float64), 0
        with torch.random.fork_rng():
            torch.manual_seed(options.seed * 10_007 + epoch)
            for batch, index in batches(inputs, rows, size, generator=generator):
                if drop is not None:
                    batch = drop(batch, generator)
                for part, some in [(batch, None)] if remedy is None else remedy.passes(batch):
                    goal = target[index] if some is None else target[index][some]
                    with fabric.autocast():
                        loss, own, skilled = step(*fabric.to_device(_flat(part)), fabric.to_device(goal))
                    optimizer.zero_grad()
                    if remedy is None:
                        fabric.backward(loss)
                    else:
                        remedy.backward(loss, own, skilled)
                    fabric.clip_gradients(step, optimizer, max_norm=options.max_grad_norm, error_if_nonfinite=False)
                    optimizer.step()
                    if remedy is not None:
                        remedy.after_step()
                schedule.step()
                total += loss.detach().double().cpu() * len(index)
                seen += len(index)
        train_loss = float(total) / seen
        _check_finite(train_loss, f"the loss of epoch {epoch}", options)
        for operator in operators:
            operator.progress = 1.0
        remember()
        yield train_loss, sum(p.numel() for p in optimizer.state)


def _check_finite(value: float, what: str, options: TrainOptions) -> None:
    if not math.isfinite(value):
        raise ProfuseError(
            f"train: {what} must stay finite; got {value}. Lower learning_rate (now {options.learning_rate}), or look "
            "for huge numbers in inputs and target."
        )


def _flat(batch: Mapping[str, Raw]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {n: raw.values for n, raw in batch.items()}, {n: raw.mask for n, raw in batch.items()}
