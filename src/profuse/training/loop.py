"""One training loop, on lightning-fabric: the best epoch by validation rows, early stopping, any `Trainable`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from collections.abc import Generator as Steps
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from profuse._cores import limit_threads
from profuse.errors import ConfigError, ProfuseError
from profuse.models.trainable import Trainable
from profuse.tokens import Raw
from profuse.training.averaging import WeightAverage
from profuse.training.balance import Balance, ModalityDropout
from profuse.training.balanced import balanced, mean_losses
from profuse.training.batches import batches, learned_from, predict, predict_in_shares, shares
from profuse.training.callbacks import Callbacks, Callers
from profuse.training.choosing import BestEpoch, Worth
from profuse.training.groups import RowGroups
from profuse.training.history import Epoch, History
from profuse.training.keeper import Keeper, set_random_state
from profuse.training.keeping import Kept, Moment, key_of_training
from profuse.training.optimizer import adamw
from profuse.training.options import TrainOptions
from profuse.training.sharding import Sharding, all_whole
from profuse.training.step import Step, flat
from profuse.training.world import check_shareable, world

__all__ = ["Recipe", "TrainOptions", "batches", "predict", "retrain", "train"]


@dataclass(frozen=True)
class Recipe:
    """What differs between kinds of models in how they are trained.

    Attributes:
        optimizer: Makes the optimizer and its schedule, as `adamw` does.
        reseeds: Whether order of rows, dropout and noise are seeded by the options' seed; else they go on from the
            global random state, which the caller has seeded.
        untrained_counts: Whether the untrained model is kept where no epoch is better; it is then epoch 0.
    """

    optimizer: Callable[..., tuple[torch.optim.Optimizer, LRScheduler]] = field(default_factory=lambda: adamw)
    reseeds: bool = True
    untrained_counts: bool = False


def train(
    model: Trainable[Any],
    inputs: Mapping[str, Raw],
    target: Tensor,
    train_rows: Tensor,
    valid_rows: Tensor,
    options: TrainOptions,
    *,
    callbacks: Callers = (),
    recipe: Recipe | None = None,
    then: float = 0.0,
    weights: Tensor | None = None,
    groups: RowGroups | None = None,
    worth: Worth | None = None,
    looks: bool = False,
    kept: Kept | None = None,
) -> History:
    """Trains `model` in place and leaves in it the weights of the best epoch, by validation rows: see `BestEpoch`.

    The global random state is left as it was.

    Args:
        model: An untrained model.
        inputs: All rows of every modality.
        target: All rows' targets, as the model's loss takes them.
        train_rows: Rows that are learned from.
        valid_rows: Rows by which the epoch is chosen.
        options: How.
        callbacks: Called before, in and after training.
        recipe: What is other than usual.
        then: How much work the caller will do afterwards, in trainings like this one: counted in the time left.
        weights: Of all rows, `[row]`, in the loss of training and in what chooses the epoch; all count alike if None.
        groups: Of all rows, none of which may be served worse: the worst one's error chooses the epoch.
        worth: What chooses the epoch in place of the validation error.
        looks: Whether some training rows are measured as validation rows are, in some epochs.
        kept: Where its state is kept, and from where it goes on, to the same end bit for bit. Not used by balancing
            methods, subgroups and operators that remember rows. Of several processes the first one's is used.

    Raises:
        ConfigError: No rows to learn from or to choose by.
        ProfuseError: The loss is no longer finite, or a callback fails.
    """
    if len(train_rows) == 0 or len(valid_rows) == 0:
        raise ConfigError(
            f"train: there must be rows to learn from and to validate; got {len(train_rows)} and {len(valid_rows)}."
        )
    import lightning_fabric  # noqa: F401  # costs seconds, which are not the fit's

    check_shareable(model, options)
    start = time.perf_counter()
    recipe, n_epochs = recipe or Recipe(), options.n_epochs(len(train_rows))
    n_steps = options.steps_an_epoch(len(train_rows))
    called = Callbacks(callbacks if world().first else (), model, n_epochs, n_steps)
    chosen = BestEpoch(model, by_worth=worth is not None)
    n_parameters, sharding = 0, Sharding(model, world())
    balances: list[Mapping[str, float]] = []
    judging = None if weights is None else weights[valid_rows] / weights[valid_rows].mean()
    looked_at = _spaced(train_rows, min(_LOOKED_AT, len(valid_rows)))
    looking = None if weights is None else weights[looked_at] / weights[looked_at].mean()

    def judge(epoch: int, train_loss: float) -> None:
        """Measures the model on validation rows, and keeps its weights if they are the best so far."""
        with sharding.gathered():
            outputs = predict_in_shares(model, inputs, valid_rows)
        with model.weighted(judging):
            result = model.validate(outputs, target[valid_rows])
            if groups is not None:
                errors = model.row_errors(outputs, target[valid_rows])
                result = result._replace(error=groups.worst(errors, valid_rows, judging))
        _check_finite(result.error, f"the validation error of epoch {epoch}", options, keeper)
        of_train = math.nan
        if looks and (epoch <= 1 or epoch % math.ceil(n_epochs / _LOOKS) == 0):
            with sharding.gathered():
                known = predict_in_shares(model, inputs, looked_at)
            with model.weighted(looking):
                of_train = model.validate(known, target[looked_at]).loss
        judged = Epoch(epoch, train_loss, *result, of_train), 0.0 if worth is None else worth(outputs)
        chosen.add(*world().from_first(judged))

    def expect(an_epoch: float, n_done: float) -> None:
        """Tells what the rest takes, after so many epochs."""
        most, likely = n_epochs * (1 + then), options.likely_epochs(n_epochs, chosen.best, math.ceil(n_done), then=then)
        called.expect(an_epoch * (most - n_done), an_epoch * (likely - n_done), an_epoch * then * chosen.best)

    def timed(seconds: float) -> None:
        """Tells what the fit will take from where it began, by the mean time of a step."""
        expect(seconds * n_steps, 0 if stopped is None else stopped.n_done / n_steps)
        called.call("on_first_steps")

    with limit_threads(options.threads), balanced(model, inputs, options) as balancing:
        called.call("on_fit_start")
        began, n_rows = time.perf_counter(), len(train_rows)
        stopped, keeper = None, None
        if balancing is None and groups is None and not model.n_remembered:
            keeper = Keeper.of(kept, world())
        if keeper is not None:
            some = {name: raw.rows(looked_at).values for name, raw in inputs.items()}
            learned = {"target": target, "train": train_rows, "valid": valid_rows, "weights": weights}
            stopped = keeper.open(key_of_training(model, (options.model_dump(), n_epochs), {**learned, **some}))
        if stopped is not None:
            chosen.restore(stopped.judged, stopped.tensors)
        n_before = 0 if stopped is None else stopped.epoch - 1
        epochs = _epochs(
            model, inputs, target, train_rows, options, balancing, recipe, sharding, sized_for=n_rows, timed=timed,
            weights=weights, groups=groups, kept=None if keeper is None else (keeper, chosen.state), stopped=stopped,
        )  # fmt: skip
        balances += [] if balancing is None else [balancing.weights()]
        for epoch, train_loss, n_trained in epochs:
            if epoch == 0:
                if recipe.untrained_counts and stopped is None:
                    judge(0, train_loss)
                continue
            n_parameters = n_trained
            judge(epoch, train_loss)
            n_here = epoch - n_before
            expect((time.perf_counter() - began) / n_here, epoch)
            with sharding.gathered():
                called.call("on_epoch_end", chosen.epochs[-1])
            if world().from_first(called.stopped) or epoch - chosen.best >= options.waits(chosen.best, n_epochs):
                break
            if balancing is not None:
                balancing.after_epoch(
                    lambda: (
                        mean_losses(model, inputs, target, train_rows, balancing, weights),
                        mean_losses(model, inputs, target, valid_rows, balancing, weights),
                    )
                )
                balances.append(balancing.weights())
        epochs.close()
        sharding.join()
    chosen.finish()
    model.load_state_dict(all_whole(chosen.weights))
    model.to("cpu").eval()
    seconds, best_epoch = time.perf_counter() - start, chosen.best
    if keeper is not None:
        seconds = keeper.seconds()
    history = History(
        tuple(chosen.epochs), best_epoch, len(train_rows), seconds, n_parameters, tuple(balances[:best_epoch])
    )
    last = chosen.epochs[-1].epoch
    again = (time.perf_counter() - began) / max(1, last - n_before) * last * then  # as long as this one was
    called.expect(again, again, again)
    called.call("on_fit_end", history)
    return history


def retrain(
    model: Trainable[Any],
    inputs: Mapping[str, Raw],
    target: Tensor,
    rows: Tensor,
    options: TrainOptions,
    history: History,
    weights: Tensor | None = None,
    groups: RowGroups | None = None,
) -> float:
    """Trains an untrained model on all of `rows` as an earlier one was, up to the epoch that was chosen for it.

    The learning rate runs as it did, so that it stops where the earlier one's best weights were. `weights` and `groups`
    are of rows.

    Returns:
        Seconds.
    """
    start, sharding = time.perf_counter(), Sharding(model, world())
    with limit_threads(options.threads), balanced(model, inputs, options) as balancing:
        epochs = _epochs(
            model, inputs, target, rows, options, balancing, Recipe(), sharding, sized_for=history.n_train_rows,
            weights=weights, groups=groups,
        )  # fmt: skip
        next(epochs)  # the untrained model, which may be the best one
        for epoch in range(history.best_epoch):
            if balancing is not None and epoch < len(history.balance_weights):
                balancing.repeat(history.balance_weights[epoch])
            next(epochs)
        epochs.close()
        sharding.join()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.numel():
            _check_finite(parameter.detach().abs().max().item(), name, options)
    model.to("cpu").eval()
    return time.perf_counter() - start


def _epochs(
    model: Trainable[Any],
    inputs: Mapping[str, Raw],
    target: Tensor,
    rows: Tensor,
    options: TrainOptions,
    balancing: Balance | None,
    recipe: Recipe,
    sharding: Sharding,
    *,
    sized_for: int,
    timed: Callable[[float], None] = lambda seconds: None,
    weights: Tensor | None = None,
    groups: RowGroups | None = None,
    kept: tuple[Keeper, Callable[[], tuple[dict[str, Any], dict[str, Tensor]]]] | None = None,
    stopped: Moment | None = None,
) -> Steps[tuple[int, float, int], None, None]:
    """Trains epoch after epoch, as many and in such steps as fit `sized_for` rows; the random state is left as it was.

    With `sharding` the model's weights are parts until `join`. `timed` is told, once, how long a step takes: the mean
    of a few, without the first one, which prepares things. What `kept` is written with is asked of its second;
    `stopped` is where the training goes on.

    Yields:
        The epoch, its mean loss, and how many numbers have been trained so far; first, before any epoch, 0, NaN and 0.
    """
    fabric, alone = world().fabric(options, sharding.split), world().n_processes == 1
    generator = Generator().manual_seed(options.seed) if recipe.reseeds else torch.default_generator
    drop = ModalityDropout(options.modality_dropout) if options.modality_dropout > 0 else None
    rates = options.model_dump(include={"learning_rate", "weight_decay", "warmup_fraction"})
    n_epochs, size = options.n_epochs(sized_for), options.rows_a_step(sized_for)
    steps_an_epoch = math.ceil(len(rows) / size)
    n_steps, fused = n_epochs * steps_an_epoch, options.precision != "16-mixed"
    codes = None if groups is None else groups.codes
    dro = None if groups is None else groups.dro(rows)
    step: Any = Step(model, balancing, dro, None if alone else world().whole, world().shards)
    # balancing methods take gradients themselves, which a module that is set up allows in single precision only
    step = fabric.setup_module(step) if balancing is None else fabric.to_device(step)
    plain, schedule = recipe.optimizer(model, **rates, n_steps=n_steps, fused=fused)
    optimizer: Any = fabric.setup_optimizers(plain)
    average = WeightAverage(model, options.averaging * n_steps)
    shuffled = torch.randperm(len(rows), generator=Generator().manual_seed(options.seed))
    remembered = rows[shuffled[: model.n_remembered]]

    def remember() -> None:
        if len(remembered):
            step.eval()
            with torch.no_grad():
                device = next(model.parameters()).device
                model.remember({name: raw.rows(remembered).trim().to(device) for name, raw in inputs.items()})

    remember()
    yield 0, math.nan, 0
    if stopped is not None:
        assert isinstance(schedule, LambdaLR)  # of `adamw`
        stopped.give(model, plain, schedule, average)
    n_done, n_here, start = 0 if stopped is None else stopped.n_done, 0, time.perf_counter()
    for epoch in range(1 if stopped is None else stopped.epoch, n_epochs + 1):
        step.train()
        model.set_progress(epoch / n_epochs)
        total, seen, n_before = torch.zeros((), dtype=torch.float64), 0, 0
        with torch.random.fork_rng() if recipe.reseeds else nullcontext():
            if recipe.reseeds:
                torch.manual_seed(options.seed * 10_007 + epoch + world().seed)
            if stopped is not None:
                generator.set_state(stopped.tensors["drawn"])
            drawn = generator.get_state()
            parts = shares(rows, size, generator=generator, codes=codes)
            if stopped is not None:
                total, seen, n_before = total + stopped.total, stopped.n_seen, stopped.n_steps
                generator.set_state(stopped.tensors["now"])
                set_random_state(stopped.tensors.get("random"))
                stopped = None
            drawn_batches = learned_from(inputs, parts[n_before:], drop, generator)
            for n_steps_done, (batch, index) in enumerate(drawn_batches, n_before + 1):
                for part, some in [(batch, None)] if balancing is None else balancing.passes(batch):
                    seen_now = index if some is None else index[some]
                    counted = None if weights is None else fabric.to_device(weights[seen_now])
                    group = None if codes is None else fabric.to_device(codes[seen_now])
                    sharding.same_buffers()
                    with fabric.autocast():
                        loss, own, confidence = step(
                            *fabric.to_device(flat(part)), fabric.to_device(target[seen_now]), counted, group
                        )
                    optimizer.zero_grad()
                    if balancing is None:
                        fabric.backward(loss)
                    else:
                        balancing.backward(loss, own, confidence)
                    fabric.clip_gradients(step, optimizer, max_norm=options.max_grad_norm, error_if_nonfinite=False)
                    optimizer.step()
                    average.update()
                    if balancing is not None:
                        balancing.after_step()
                schedule.step()
                n_done, n_here = n_done + 1, n_here + 1
                if n_here == min(_TIMED, steps_an_epoch):
                    timed((time.perf_counter() - start) / max(1, n_here - 1))
                elif n_here == 1:
                    start = time.perf_counter()
                total += loss.detach().double().cpu() * len(index)
                seen += len(index)
                if kept is not None and kept[0].due():
                    judged, best = kept[1]()
                    moment = Moment(epoch, n_steps_done, n_done, float(total), seen, judged=judged, tensors=best)
                    moment.take(model, plain, average, drawn=drawn, now=generator.get_state())
                    kept[0].write(moment, model)
        train_loss = float(total) / seen
        _check_finite(train_loss, f"the loss of epoch {epoch}", options, None if kept is None else kept[0])
        model.set_progress(1.0)
        average.swap()
        remember()
        yield epoch, train_loss, sum(p.numel() for p in optimizer.state)
        average.swap()


def _spaced(rows: Tensor, n: int) -> Tensor:
    """Returns `n` rows at equal distances, or all where there are fewer."""
    return rows[torch.linspace(0, len(rows) - 1, min(n, len(rows))).round().long()]


_LOOKED_AT, _LOOKS = 256, 20  # training rows that are measured as validation rows are, at most; in how many epochs
_TIMED = 6
"""Steps from whose time, but for the first one's, that of a fit is told."""


def _check_finite(value: float, what: str, options: TrainOptions, kept: Keeper | None = None) -> None:
    if not math.isfinite(value):
        if kept is not None:
            kept.end()  # it would diverge again
        raise ProfuseError(
            f"train: {what} must stay finite; got {value}. Lower learning_rate (now {options.learning_rate}), or look "
            "for huge numbers in inputs and target."
        )
