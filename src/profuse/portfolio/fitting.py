"""From a data set to a portfolio: fits out of fold, weights by what rows lack, and how good that is on new rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from profuse._saving import scratch
from profuse.classical import fittable_to
from profuse.classical.own import asked_members
from profuse.data.dataset import Dataset
from profuse.data.target import TargetCodec
from profuse.errors import ConfigError, DataError, ProfuseError
from profuse.metrics import Metric, default_metric, metric_named
from profuse.models.options import ModelOptions
from profuse.portfolio.cut import Cut
from profuse.portfolio.decision import AskedDecision, HeldOut, what_it_is_worth
from profuse.portfolio.estimate import estimate_of, loss_of, loss_share_of, nested_outputs, notes_of
from profuse.portfolio.fits import Fits, score_of
from profuse.portfolio.fitted import Event, Fitted
from profuse.portfolio.members import Member, loaded, members_of
from profuse.portfolio.options import PortfolioOptions
from profuse.portfolio.patterns import Pattern, patterns_of, rows_to_judge
from profuse.portfolio.selection import select
from profuse.portfolio.temperature import temperature_of
from profuse.portfolio.workers import workers_started
from profuse.predictor import MemberFacts, PortfolioPredictor, softened
from profuse.predictor.trained import TrainedOn
from profuse.schema import Schema, Task
from profuse.training.alternatives import others_than
from profuse.training.groups import NO_PORTFOLIO, check_subgroups
from profuse.training.options import TrainOptions
from profuse.training.world import one_process

__all__ = ["fit_portfolio", "metric_of"]

_SELECTION = 0.1  # of a time limit, kept for what follows the fits


def fit_portfolio(
    dataset: Dataset,
    options: PortfolioOptions | None = None,
    model: ModelOptions | None = None,
    train: TrainOptions | None = None,
    *,
    members: Sequence[Member] | None = None,
    later: Dataset | None = None,
    codec: TargetCodec | None = None,
    schema: Schema | None = None,
    keep_all: bool = False,
    n_jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
) -> PortfolioPredictor:
    """Fits several models out of fold, and returns them with the weights by which they predict best together.

    The rows are cut into folds: groups stay whole; where rows have times, their later half is cut, and each fold is
    predicted from what is before it. Each model is fitted to the rows outside of a fold, of which a fifth chooses
    epochs and strengths, and predicts the fold: rows that had no part in any of that.
    Weights are chosen on those predictions (`select`), for rows that lack nothing and for each pattern of absence, with
    the absent modalities hidden in the same rows. A member predicts as the mean of its fits; where rows have times, as
    one fit to all rows. What the portfolio scores is measured on each fold with weights that the others have chosen,
    beside the member that the others have found best.
    A threshold of answers is chosen on the same predictions, calibrated.
    Weights of rows and of classes are in what each model learns from, and in the loss that chooses the temperature.
    Scores, and the choice of members by them, count each row once.

    Args:
        dataset: Rows with a target; official test rows among them are learned from like others.
        options: Models, folds, time.
        model: Of all networks.
        train: Of all networks; the seed is of all that is drawn.
        members: The models; those of the preset if None.
        later: Rows that will be predicted, whose patterns of absence get weights too; their target is not read.
        codec: Of the target, where one is fitted that knows all classes; else these rows tell.
        schema: The resolved schema of a table, kept with the model.
        keep_all: Whether models without any weight are kept too, to look at.
        n_jobs: Fits at a time.
        on_event: Told of progress.

    Raises:
        DataError: There is no target, or there are too few rows to cut.
        UnknownNameError: There is no such metric, or no such member.
        ConfigError: A member of `options` cannot be imported, is no estimator, or is one of another task; or several
            processes do one fit here.
        ProfuseError: No model could be fitted.
    """
    one_process("fit_portfolio", "Its fits run side by side: n_jobs.")
    options, model, train = options or PortfolioOptions(), model or ModelOptions(), train or TrainOptions()
    if dataset.target is None:
        raise DataError(f"fit: the data set {dataset.name!r} must have a target; it has none. Name one.")
    check_subgroups(train, dataset.subgroups, who="fit")
    if train.subgroup_method is not None:
        raise ConfigError(f"fit: {NO_PORTFOLIO}. Train one network: --network, or FusionClassifier.")
    if model.head != "mean":
        raise ConfigError(
            f"fit: head must be 'mean' in a portfolio, which averages what models predict; got head={model.head!r}. "
            "Train one network: --network, or FusionRegressor."
        )
    with asked_members(options.members, who="fit", task=dataset.task):
        return _fit(dataset, options, model, train, members, later, codec, schema, keep_all, n_jobs, on_event)


def _fit(
    dataset: Dataset,
    options: PortfolioOptions,
    model: ModelOptions,
    train: TrainOptions,
    members: Sequence[Member] | None,
    later: Dataset | None,
    codec: TargetCodec | None,
    schema: Schema | None,
    keep_all: bool,
    n_jobs: int,
    on_event: Callable[[Event], None] | None,
) -> PortfolioPredictor:
    dataset, tell = replace(dataset, split=None), on_event or (lambda event: None)
    task, seed = dataset.task, train.seed
    metric = metric_of(options, task)
    codec = codec or TargetCodec.fit(np.asarray(dataset.target), task, names=dataset.target_names)
    asked = AskedDecision.of(options, codec)
    able, unable = fittable_to(task)
    others = others_than(model.encoders, options.encoders)
    members = members or members_of(tuple(dataset.modalities), options.preset, model, able, others)
    networks = model if any(member.model is not None for member in members) else None
    start = time.perf_counter()
    deadline = None if options.time_limit is None else start + (1 - _SELECTION) * options.time_limit
    with scratch() as folder:
        with workers_started(n_jobs):
            whole_cut = Cut.make(
                dataset,
                options,
                networks,
                seed,
                folder,
                lambda i, n: tell(Event("prepare", i, n)),
                codec,
                train.class_weight,
            )
        patterns = patterns_of(_absent_in(dataset), None if later is None else _absent_in(later))
        fits = Fits(whole_cut, members, patterns, train, metric, deadline, n_jobs, tell, looks=on_event is not None)
        try:
            fitted, skipped, cut = fits.run()
        finally:
            loaded.cache_clear()
        _check_learned(fitted, members, skipped, options.time_limit, time.perf_counter() - start, fits.needs)
    tell(Event("select"))
    held = {p: np.stack([f.held[p] for f in fitted]) for p in patterns}
    trivial = next((i for i, f in enumerate(fitted) if f.member.is_trivial), None)
    weights = np.stack([_weights(held[p], p, cut, metric, seed, trivial) for p in patterns])
    nested, alone = nested_outputs(held[()], cut, metric, seed, trivial)
    constant = None if trivial is None else fitted[trivial].measured
    least = 1.0 if cut.dependent else 0.0
    temperature = temperature_of(task, nested, cut.true, at_least=least, weights=cut.weights)
    probabilities = softened(task, nested, temperature)
    decision = asked.made(probabilities, cut.true)
    worth = [i for i in range(len(fitted)) if keep_all or weights[:, i].any()]
    kept = [(i, predictor) for i in worth for predictor in fitted[i].predictors]
    result = PortfolioPredictor(
        pipeline=kept[0][1].pipeline,
        codec=cut.codec,
        modalities=cut.names,
        predictors=tuple(predictor for _, predictor in kept),
        member_of=tuple(i for i, _ in kept),
        members=tuple(_facts(f, float(weights[0, i]), cut, metric) for i, f in enumerate(fitted)),
        patterns=tuple(patterns),
        weights=weights,
        temperature=temperature,
        decision=decision,
        held_prediction=_by_row(probabilities, cut, len(dataset)),
        about={
            **estimate_of(nested, alone, constant, cut, metric, seed),
            "notes": [
                *notes_of(probabilities, cut, dataset, decision),
                *(f.note for f in fitted if f.note),
                *([_note(cut, whole_cut)] if cut is not whole_cut else []),
                *(f"{n} is left out, as it is not for a {task} target: {reason}." for n, reason in unable.items()),
            ],
            **(
                {}
                if decision.is_most_probable
                else {"decision": what_it_is_worth(asked, decision, probabilities, HeldOut.of_cut(cut), seed)}
            ),
            "n_folds": len(cut.folds),
            "skipped": {**skipped, **unable},
            "seconds": time.perf_counter() - start,
        },
        schema=schema,
        trained_on=TrainedOn.of(
            dataset,
            cut.codec,
            seed=seed,
            n_folds=len(whole_cut.folds),
            class_weight=train.class_weight,
            metric=metric,
            options={"portfolio": options, "networks": model, "training": train},
        ),
    )
    tell(Event("done"))
    return result


def _note(cut: Cut, whole: Cut) -> str:
    """Says that there was no time for all folds."""
    n, verb = len(cut.folds), "is" if len(cut.folds) == 1 else "are"
    return (
        f"{n} of {len(whole.folds)} folds {verb} held out, {len(cut.rows):,} of {len(whole.rows):,} rows, as "
        "time was limited: with more of it models are judged on more rows"
        + ("." if whole.whole is not None else ", and each is the mean of more fits.")
    )


def _check_learned(
    fitted: Sequence[Fitted],
    members: Sequence[Member],
    skipped: Mapping[str, str],
    limit: float | None,
    seconds: float,
    needs: float | None,
) -> None:
    """Checks that a model was fitted besides the trivial one, which reads no data.

    Args:
        fitted: The members that were.
        members: Those that were asked for.
        skipped: Why others were not.
        limit: Seconds that all may take.
        seconds: Those that were taken.
        needs: See `Fits`.

    Raises:
        ConfigError: A time limit left no time for any.
        ProfuseError: All failed.
    """
    if any(not f.member.is_trivial for f in fitted) or all(member.is_trivial for member in members):
        return
    name, reason = next(iter(skipped.items()))
    others = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    if limit is None:
        raise ProfuseError(
            f"fit: one model must be fitted besides the trivial one, which always gives the same answer; got none: "
            f"{name!r}: {reason.rstrip('.')}{others}. Mend what the reason says, or ask for other models."
        )
    # a model may take half of the time that is left; where none was measured, what came before is all that is known
    enough = max(2 * limit, (seconds + 2 * (needs or seconds)) / (1 - _SELECTION))
    step = 5 if enough < 60 else 30
    enough = step * math.ceil(enough / step)
    raise ConfigError(
        "fit: time_limit must leave time for one model besides the trivial one, which always gives the same answer; "
        f"got time_limit={limit:g} seconds, left out are {name!r} ({reason.rstrip('.')}){others}. "
        f"Give it about {enough} s (--time-limit {enough}s), or no limit."
    )


def metric_of(options: PortfolioOptions, task: Task) -> Metric:
    """Returns the metric by which weights are chosen.

    Raises:
        UnknownNameError: There is no such metric.
        ConfigError: It is not of this task, or tells nothing of rows.
    """
    return (
        default_metric(task) if options.metric is None else metric_named(options.metric, task, who="fit", by_rows=True)
    )


def _by_row(held: np.ndarray, cut: Cut, n_rows: int) -> np.ndarray:
    """Returns predictions in the order of the rows; NaN for those that no fold holds out."""
    result = np.full((n_rows, held.shape[1]), np.nan)
    result[cut.rows] = held
    return result


def _absent_in(dataset: Dataset) -> Mapping[str, np.ndarray]:
    return {name: np.asarray(data.present) for name, data in dataset.modalities.items()}


def _weights(
    held: np.ndarray, pattern: Pattern, cut: Cut, metric: Metric, seed: int, trivial: int | None
) -> np.ndarray:
    rows = rows_to_judge(pattern, cut.names, cut.lacking)
    loss, clusters = loss_of(cut.codec.task), cut.clusters[rows]
    return select(
        held[:, rows], cut.true[rows], metric, loss,
        clusters=clusters, trivial=trivial, loss_share=loss_share_of(cut), seed=seed,
    )  # fmt: skip


def _facts(fitted: Fitted, weight: float, cut: Cut, metric: Metric) -> MemberFacts:
    held = fitted.measured
    loss = loss_of(cut.codec.task)
    return MemberFacts(
        name=fitted.member.name,
        weight=weight,
        score=score_of(metric, cut.true, held),
        loss=None if loss is None else score_of(loss, cut.true, held),
        seconds=fitted.seconds,
    )
