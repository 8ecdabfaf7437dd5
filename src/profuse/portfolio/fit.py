"""`fit`: any kind of data in, the best model out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from profuse._cores import usable_cores
from profuse._fields import documented
from profuse._options import checked
from profuse.classical.own import Members, asked_members, members_given
from profuse.data.leaks import copy_notes
from profuse.data.new_rows import tell
from profuse.errors import ConfigError
from profuse.inputs import Data, open_data, with_encoders, without_test_rows
from profuse.models.options import ModelOptions
from profuse.portfolio.distil import distilled
from profuse.portfolio.fitted import Event
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import NetworkPredictor, PortfolioPredictor
from profuse.schema import OnBadFile, Schema, Task
from profuse.training.options import TrainOptions

__all__ = ["fit"]


@overload
def fit(
    data: Data,
    target: str | Sequence[str] | np.ndarray | pd.Series | None = None,
    *,
    task: Task | None = None,
    weight: str | Sequence[float] | np.ndarray | pd.Series | None = None,
    schema: Schema | Mapping[str, Any] | str | Path | None = None,
    preset: str | None = None,
    time_limit: float | str | None = None,
    metric: str | None = None,
    threshold: float | str | None = None,
    cost: Mapping[str, Mapping[str, float]] | None = None,
    distil: Literal[False] = False,
    folds: int | None = None,
    members: Members | None = None,
    encoders: Mapping[str, str | Sequence[str]] | None = None,
    model: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    name: str | None = None,
    variant: str | None = None,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
    n_jobs: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> PortfolioPredictor: ...


@overload
def fit(
    data: Data,
    target: str | Sequence[str] | np.ndarray | pd.Series | None = None,
    *,
    task: Task | None = None,
    weight: str | Sequence[float] | np.ndarray | pd.Series | None = None,
    schema: Schema | Mapping[str, Any] | str | Path | None = None,
    preset: str | None = None,
    time_limit: float | str | None = None,
    metric: str | None = None,
    threshold: float | str | None = None,
    cost: Mapping[str, Mapping[str, float]] | None = None,
    distil: Literal[True],
    folds: int | None = None,
    members: Members | None = None,
    encoders: Mapping[str, str | Sequence[str]] | None = None,
    model: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    name: str | None = None,
    variant: str | None = None,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
    n_jobs: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> NetworkPredictor: ...


@documented(
    (PortfolioOptions,),
    {"members": "Or a mapping of names to estimators, their classes, or functions that return one."},
)
def fit(
    data: Data,
    target: str | Sequence[str] | np.ndarray | pd.Series | None = None,
    *,
    task: Task | None = None,
    weight: str | Sequence[float] | np.ndarray | pd.Series | None = None,
    schema: Schema | Mapping[str, Any] | str | Path | None = None,
    preset: str | None = None,
    time_limit: float | str | None = None,
    metric: str | None = None,
    threshold: float | str | None = None,
    cost: Mapping[str, Mapping[str, float]] | None = None,
    distil: bool = False,
    folds: int | None = None,
    members: Members | None = None,
    encoders: Mapping[str, str | Sequence[str]] | None = None,
    model: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    name: str | None = None,
    variant: str | None = None,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
    n_jobs: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> PortfolioPredictor | NetworkPredictor:
    """Fits a portfolio: networks and classical models together, with the weights that predict held-out rows best.

    Args:
        data: A named data set, a file, a DataFrame, a dict of arrays or tensors by modality, or a `Dataset`. Official
            test rows are left out.
        target: The target column(s) of a file or DataFrame; or the target's values, for a DataFrame or dict.
        task: "binary", "multiclass", "multilabel" or "regression": what kind of target it is, where its values do not
            tell (counts of 0 to 9 look like classes). None: the schema's, else inferred.
        weight: The column of a file or DataFrame that says how much each row counts in learning, at least 0; or these
            numbers, for a DataFrame or dict. It is no input, new rows need none, and scores count each row once.
        schema: Path of a YAML file, dict or `Schema`: what is not to be inferred.
        {parameters}
        model: Fields of `ModelOptions`, of all networks: `{"width": 32}`.
        train: Fields of `TrainOptions`, of all networks: `{"epochs": 10}`; its seed is of all that is drawn.
        name: Of the data.
        variant: Of a named data set.
        base_dir: Where relative paths in a DataFrame start; the working directory if None.
        on_bad_file: "raise", or "skip": a broken picture, sound or series counts as missing.
        n_jobs: Fits at a time; one a core if None.
        on_event: Told of progress.

    Returns:
        A `Predictor`; `members` tells each model's weight and score, `about` how good the whole is on rows that had no
        part in choosing it. With `distil` a network, whose `about` holds it against the portfolio.

    Raises:
        ProfuseError: The message names what is wrong and what to do.

    Example:
        >>> import profuse
        >>> model = profuse.fit("synthetic", preset="quick")  # doctest: +SKIP
        >>> model.predict_proba(rows)  # doctest: +SKIP
    """
    names, by_value = members_given(members, who="fit")
    asked: dict[str, Any] = {
        "preset": preset,
        "time_limit": time_limit,
        "members": names,
        "encoders": encoders,
        "metric": metric,
        "folds": folds,
    }
    asked |= {"threshold": threshold, "cost": cost, "distil": distil}
    options = checked(PortfolioOptions, {k: v for k, v in asked.items() if v is not None}, where="fit")
    of_networks = checked(ModelOptions, dict(model or {}), where="fit")
    training = checked(TrainOptions, dict(train or {}), where="fit")
    if n_jobs is not None and n_jobs < 1:
        raise ConfigError(f"fit: n_jobs must be at least 1; got n_jobs={n_jobs}. Leave it out for one a core.")
    with asked_members(names, by_value, who="fit"):
        opened = open_data(
            data, target, who="fit", schema=schema, task=task, weight=weight, name=name, variant=variant,
            base_dir=base_dir, on_bad_file=on_bad_file,
        )  # fmt: skip
        dataset = with_encoders(without_test_rows(opened.dataset), of_networks.encoders, who="fit")
        tell((*dataset.notes, *copy_notes(dataset)), "fit")
        make: Any = distilled if options.distil else fit_portfolio
        made: NetworkPredictor | PortfolioPredictor = make(
            dataset,
            options,
            of_networks,
            training,
            schema=opened.schema,
            n_jobs=n_jobs or max(1, usable_cores() // training.threads),
            on_event=on_event,
        )
        return made
