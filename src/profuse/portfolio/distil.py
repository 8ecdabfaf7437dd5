"""`distilled`: one network that learns from a portfolio's predictions of rows that it has not learned from."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from profuse.data.dataset import Dataset, clusters_of
from profuse.data.split import Split, split_off
from profuse.data.target import TargetCodec
from profuse.errors import DataError
from profuse.inspect.intervals import Scores
from profuse.models.options import ModelOptions
from profuse.portfolio.decision import AskedDecision
from profuse.portfolio.fitted import Event
from profuse.portfolio.fitting import fit_portfolio, metric_of
from profuse.portfolio.one_network import decide
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import NetworkPredictor, PortfolioPredictor
from profuse.schema import Schema
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

__all__ = ["distilled", "taught"]

_JUDGED, _VALIDATION, _SHARE = 0.2, 0.2, 0.5


def distilled(
    dataset: Dataset,
    options: PortfolioOptions | None = None,
    model: ModelOptions | None = None,
    train: TrainOptions | None = None,
    *,
    schema: Schema | None = None,
    n_jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
) -> NetworkPredictor:
    """Fits a portfolio, and trains one network on the mean of each row's target and what the portfolio predicts of it.

    What the portfolio predicts is always of rows that it has not learned from, as it is too sure of others: a fifth of
    the rows (whole groups; the latest, where rows have times) is kept from it, and of the others it is the held-out
    prediction of its folds; rows that no fold holds out have their target alone. A first network learns from these, and
    is judged beside the portfolio on the fifth: `about`. The one that is returned learns in the same way from all rows.
    A threshold is chosen by each model's own held-out rows: by the folds of the portfolio, by the validation rows of a
    network (`decide`).

    Args:
        dataset: Rows with a target; official test rows among them are learned from like others.
        options: Of the portfolio; a time limit is its, and the networks come after.
        model: Of all networks.
        train: Of all networks; the seed is of all that is drawn.
        schema: The resolved schema of a table, kept with the model.
        n_jobs: Fits of the portfolio at a time.
        on_event: Told of progress.

    Raises:
        ProfuseError: What `fit_portfolio` and `fit_model` raise.

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.

    *Differs from the paper*: the teacher's predictions are held-out ones, at its calibrated temperature, and the
    network's outputs have none; linear paths are solved, and epochs and temperatures chosen, by the targets alone.
    """
    options, model, train = options or PortfolioOptions(), model or ModelOptions(), train or TrainOptions()
    tell, start = on_event or (lambda event: None), time.perf_counter()
    if dataset.target is None:
        raise DataError(f"fit: the data set {dataset.name!r} must have a target; it has none. Name one.")
    dataset = replace(dataset, split=None)
    metric = metric_of(options, dataset.task)
    codec = TargetCodec.fit(np.asarray(dataset.target), dataset.task, names=dataset.target_names)
    AskedDecision.of(options, codec)  # what cannot decide is told before anything is fitted
    learned, judged = split_off(dataset, _JUDGED, seed=train.seed)
    teacher = fit_portfolio(
        dataset.rows(learned), options, model, train, codec=codec, schema=schema, n_jobs=n_jobs, on_event=on_event
    )
    said = _said(teacher, dataset, learned, judged)
    lesson = _Lesson(dataset, codec, model, train, said)
    tell(Event("distil", 0, 2))
    student, prepared = lesson.learn(learned, judged)
    student = decide(student, options, seed=train.seed)
    tell(Event("distil", 1, 2))
    result, _ = lesson.learn(np.arange(len(dataset)), judged[:0])
    result = decide(result, options, seed=train.seed)
    outputs = student.predict_encoded(prepared.inputs, judged)
    predictions: dict[Hashable, np.ndarray] = {
        "network": student.decision.seen_by(metric, outputs),
        "portfolio": teacher.decision.seen_by(metric, said[judged]),
    }
    about: dict[str, object] = {
        "metric": metric.name,
        "n_rows": len(judged),
        "n_taught": int(np.isfinite(said).all(1).sum()),
        "members": {m.name: m.weight for m in teacher.members},
        "skipped": teacher.about["skipped"],
        "seconds": time.perf_counter() - start,
    }
    try:
        true, clusters = prepared.true(judged), clusters_of(dataset, judged)
        found = Scores(metric, true, predictions, clusters, seed=train.seed, n_resamples=200)
        about |= {
            "score": list(found.score("network")),
            "portfolio": found["portfolio"],
            "gain": list(found.gain("network", "portfolio")),
        }
    except DataError as error:
        about["notes"] = [str(error)]  # the metric is not defined on these rows
    tell(Event("done"))
    known = result.trained_on
    if known is not None and (changed := options.model_dump(mode="json", exclude_defaults=True)):
        known = known.model_copy(update={"options": {"portfolio": changed}})
    return replace(result, schema=schema, about={**about, **result.about}, trained_on=known)


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What a network learns of the rows: `said[row, output]` of a teacher, NaN where it said nothing."""

    dataset: Dataset
    codec: TargetCodec
    model: ModelOptions
    train: TrainOptions
    said: np.ndarray

    def learn(self, rows: np.ndarray, held: np.ndarray) -> tuple[NetworkPredictor, Prepared]:
        """Returns a network that has learned from `rows`, of which a fifth has chosen the epoch, and all rows."""
        learn, choose = split_off(self.dataset.rows(rows), _VALIDATION, seed=self.train.seed)
        prepared = Prepared.make(self.dataset, Split(rows[learn], rows[choose], held), classes=self.codec)
        prepared = replace(prepared, taught=taught(prepared, self.said))
        return fit_model(prepared, self.model, self.train), prepared


def taught(prepared: Prepared, said: np.ndarray) -> Tensor:
    """Returns `[row, output]`: the mean of each row's target and what a teacher said of it; the target where it is NaN.

    Args:
        prepared: The rows, with the codec of their target.
        said: `[row, output]`: probabilities, or values in the target's units.
    """
    own = prepared.target
    if prepared.task in ("binary", "multiclass"):
        own = torch.nn.functional.one_hot(own, prepared.codec.n_outputs)
    known = np.isfinite(said).all(1)
    told = np.where(known[:, None], said, 0.0)
    if prepared.task == "regression":
        told = prepared.codec.encode(told)
    mean = (1 - _SHARE) * own.float() + _SHARE * torch.as_tensor(told, dtype=torch.float32)
    return torch.where(torch.as_tensor(known)[:, None], mean, own.float())


def _said(teacher: PortfolioPredictor, dataset: Dataset, learned: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Returns what the portfolio predicts of rows that it has not learned from; NaN where no fold holds them out."""
    assert teacher.held_prediction is not None
    said = np.full((len(dataset), teacher.codec.n_outputs), np.nan)
    said[learned] = teacher.held_prediction
    said[judged] = teacher.predict_encoded(teacher.encode(dataset.rows(judged)))
    return said
