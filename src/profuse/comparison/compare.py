"""`compare`: any kind of data in; results, and a report if it is wanted, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._fields import documented
from profuse._lookup import resolve
from profuse._options import checked
from profuse._saving import scratch, write_file
from profuse._yaml import read_yaml
from profuse.classical.own import Members, asked_members, members_given
from profuse.cluster.options import EngineOptions, engine_asked
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.jobs import model_folder
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Results
from profuse.comparison.statistics import Estimate
from profuse.comparison.summary import Evidence, Summary, summarise
from profuse.data.split import check_parts, make_split
from profuse.encoders import check_reads, reader_for
from profuse.errors import ConfigError
from profuse.inputs import Data, Opened, open_data, with_encoders
from profuse.predictor import Predictor, load_model
from profuse.progressive import Rounds
from profuse.report import latex_table, write_report
from profuse.report.notebook import notebook_html
from profuse.schema import OnBadFile, Schema, SplitOptions, Task

__all__ = ["Comparison", "compare", "opened_for", "read_options"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` returns.

    Attributes:
        results: Everything that was found, as plain data.
        out: The folder that holds it, with models (see `predictor`); None if none was named.
    """

    results: Results
    out: Path | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The scores, tidy: one row for each method, seed, split and metric; the columns of `results.csv`."""
        return self.results.frame()

    def summary(self) -> Summary:
        """Returns the ranked table, the paired differences and the verdict."""
        return summarise(self.results)

    def difference(self, method: str, against: str) -> Estimate:
        """Returns by how much one method is better than another on the same test rows and seeds.

        The interval and the p value are of this one comparison: who asks often corrects for that.

        Args:
            method: As results call it; it is better where the value is above 0.
            against: Another one.

        Raises:
            UnknownNameError: No method of the comparison is called so.
            ConfigError: They have no seed in common.
        """
        names = {m.name: m for m in self.results.methods}
        for name in (method, against):
            resolve(name, names, where="Comparison.difference", what="method")
        estimate = Evidence(self.results).difference(method, against)
        if estimate is None:
            raise ConfigError(
                f"Comparison.difference: both methods must have succeeded at one seed; got method={method!r}, "
                f"against={against!r}, which have none in common."
            )
        return estimate

    def latex(self) -> str:
        """Returns the ranked table as LaTeX (package booktabs): scores with intervals, gains over the best single."""
        return latex_table(self.results)

    def report(self, path: str | Path | None = None) -> Path:
        """Writes the report and returns the path of its HTML, which opens offline.

        Args:
            path: A folder, or the `.html` file to write; the comparison's `out` if None.
        """
        if path is None and self.out is None:
            raise ConfigError("Comparison.report: a path must be given, as compare had no out; got None.")
        path = Path(path or self.out or "")
        if path.suffix.lower() not in (".html", ".htm"):
            return write_report(self.results, path)
        with scratch() as folder:
            write_file(path, write_report(self.results, folder).read_bytes())
        return path

    def predictor(self, method: str | None = None, seed: int | None = None) -> Predictor:
        """Returns a fitted model that the comparison has kept.

        Kept are those of the best fusion, the best single modality, and the classical models.

        Args:
            method: As results call it; the best fusion if None, or the best single modality where nothing is fused.
            seed: Of the fit; the first that was kept if None.

        Raises:
            ConfigError: The comparison had no `out`, or has not kept that model.
            UnknownNameError: No method of the comparison is called so.
            CheckpointError: It is damaged.
        """
        if self.out is None:
            raise ConfigError("Comparison.predictor: compare must have kept its models; it had no out. Give it out=.")
        if method is None:
            verdict = self.summary().verdict
            method = verdict.fusion or verdict.single
        names = {m.name: m for m in self.results.methods}
        resolve(str(method), names, where="Comparison.predictor", what="method")
        seeds = sorted({s.seed for s in self.results.scores})
        places = {(n, s): self.out / "models" / model_folder(n, s) for n in names for s in seeds}
        kept = {at: place for at, place in places.items() if place.is_dir()}
        at = next((at for at in kept if at[0] == method and seed in (None, at[1])), None)
        if at is None:
            there = ", ".join(f"{n!r} at seed {s}" for n, s in kept)
            raise ConfigError(
                f"Comparison.predictor: the model must be one that is kept; got method={method!r}, seed={seed}. "
                f"Kept: {there or 'none'}."
            )
        return load_model(kept[at])

    def _repr_html_(self) -> str:
        """Returns what to do and the ranked table, for notebooks."""
        return notebook_html(self.results, self.summary())

    def __repr__(self) -> str:
        result = self.summary()
        best = result.verdict.fusion
        return f"Comparison({self.results.dataset.name!r}, {len(result.rows)} methods, best fusion {best!r})"


@documented(
    (CompareOptions,),
    {
        "fusions": "An operator of your own has a name once it is registered (`register`).",
        "members": "Or a mapping of names to estimators, their classes, or functions that return one.",
        "metric": "A metric of your own has a name once it is registered (`register`).",
        "split": "Or a `SplitOptions`.",
        "model": 'Fields of `ModelOptions`: `{"width": 32}`.',
        "train": 'Fields of `TrainOptions`: `{"epochs": 10}`.',
    },
)
def compare(
    data: Data,
    target: str | Sequence[str] | np.ndarray | pd.Series | None = None,
    *,
    task: Task | None = None,
    weight: str | Sequence[float] | np.ndarray | pd.Series | None = None,
    subgroup: str | Sequence[object] | np.ndarray | pd.Series | None = None,
    schema: Schema | Mapping[str, Any] | str | Path | None = None,
    test: str | Path | None = None,
    name: str | None = None,
    variant: str | None = None,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
    preset: str | None = None,
    time_limit: float | str | None = None,
    fusions: Sequence[str] | None = None,
    rounds: Sequence[Rounds] | None = None,
    singles: Sequence[str] | None = None,
    encoders: Mapping[str, str | Sequence[str]] | None = None,
    members: Members | None = None,
    seeds: int | None = None,
    trials: int | None = None,
    metric: str | None = None,
    margin: float | None = None,
    retrain_without: bool | None = None,
    curve: bool | None = None,
    portfolio: str | None = None,
    questions: Sequence[str] | None = None,
    surest: int | None = None,
    profile: bool | None = None,
    split: SplitOptions | Mapping[str, Any] | str | None = None,
    model: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    options: CompareOptions | None = None,
    out: str | Path | None = None,
    n_jobs: int | None = None,
    engine: EngineOptions | Mapping[str, Any] | str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Comparison:
    """Compares ways of fusing on the same splits with the same budget, beside single modalities and classical models.

    Args:
        data: A named data set, a file, a DataFrame, a dict of arrays or tensors by modality, or a `Dataset`.
        target: The target column(s) of a file or DataFrame; or the target's values, for a DataFrame or dict.
        task: "binary", "multiclass", "multilabel" or "regression": what kind of target it is, where its values do not
            tell (counts of 0 to 9 look like classes). None: the schema's, else inferred.
        weight: The column of a file or DataFrame that says how much each row counts in learning, at least 0; or these
            numbers, for a DataFrame or dict. It is no input, new rows need none, and scores count each row once.
        subgroup: The column of groups none of which may be served worse (`subgroup_method` of `train`), or these
            values, as `weight`. It is no input unless a modality of the schema names it.
        schema: Path of a YAML file, dict or `Schema`: what is not to be inferred.
        test: A file of test rows, beside a file of training rows.
        name: Named in the results.
        variant: Of a named data set.
        base_dir: Where relative paths in a DataFrame start; the working directory if None.
        on_bad_file: "raise", or "skip": a broken picture, sound or series counts as missing.
        {parameters}
        options: All of the above options at once; single ones given here win.
        out: Folder for results, models and the work that a second run goes on from; None keeps nothing.
        n_jobs: Fits at a time; one a core, or as many as the cluster has room for, if None.
        engine: What does the fits: "local" (processes of this machine), "ray" (a Ray cluster), or fields of
            `EngineOptions`: `{"engine": "ray", "ray_address": "10.0.0.1:6379"}`.
        on_event: Told of progress.

    Raises:
        ProfuseError: The message names what is wrong and what to do.

    Example:
        >>> import profuse
        >>> found = profuse.compare("synthetic", seeds=1, fusions=["gated"], train={"epochs": 2})  # doctest: +SKIP
        >>> found.report("report.html")  # doctest: +SKIP
    """
    given = dict(locals())
    names, by_value = members_given(members, who="compare")
    given["members"] = names or None
    resolved = read_options(options, {name: given[name] for name in CompareOptions.model_fields})
    using = engine_asked(engine, where="compare")
    with asked_members(resolved.members, by_value, who="compare"):
        opened, resolved = opened_for(
            data, target, resolved, schema=schema, task=task, weight=weight, subgroup=subgroup, test=test,
            name=name, variant=variant, base_dir=base_dir, on_bad_file=on_bad_file,
        )  # fmt: skip
        run = partial(_run, opened, resolved, n_jobs=n_jobs, engine=using, on_event=on_event)
        if out is not None:
            return Comparison(run(Path(out)), Path(out))
        with scratch() as folder:
            return Comparison(run(folder))


def opened_for(data: Data, target: Any, options: CompareOptions, **how: Any) -> tuple[Opened, CompareOptions]:
    """Returns the data, checked for what is asked, and the options with the split that a schema may say.

    Args:
        data: See `compare`.
        target: See `compare`.
        options: What is compared.
        how: See `open_data`.
    """
    opened = open_data(data, target, split=options.split, **how)
    options = options.model_copy(update={"split": opened.split})
    dataset = with_encoders(opened.dataset, options.model.encoders, who="compare")
    for modality, several in options.encoders.items():
        cells = resolve(modality, dataset.modalities, where="compare", what="modality")
        for other in several:
            check_reads(other, cells, who="compare", modality=modality)  # told before any fit
            reader_for(other, cells)
    for seed in range(options.filled().seeds):
        check_parts(dataset, make_split(dataset, options.split, seed=seed))
    return replace(opened, dataset=dataset), options


def _run(
    opened: Opened,
    options: CompareOptions,
    out: Path,
    **how: Any,
) -> Results:
    """Compares, and leaves no empty folders where nothing came of it; `how` is of `compare_dataset`."""
    new = [p for p in (out, *out.parents) if not p.exists()]
    try:
        return compare_dataset(opened.dataset, options, out, schema=opened.schema, **how)
    except BaseException:
        work = out / "work"
        for folder in [work, *new]:
            if folder.is_dir() and (folder != work or out in new) and not any(folder.iterdir()):
                folder.rmdir()
        raise


def read_options(
    base: CompareOptions | str | Path | None = None, changes: Mapping[str, Any] | None = None
) -> CompareOptions:
    """Returns `base` (options, a YAML file of them, or the defaults) with `changes` in place of its own.

    Args:
        base: What is changed.
        changes: By the names of `CompareOptions`; None leaves what `base` has. Of `split`, `model` and `train`, single
            options.

    Raises:
        DataError: No such file, or it is no YAML.
        ConfigError: Values out of range or unknown names; all are told together.
    """
    values: dict[str, Any] = {}
    where = "options"
    if isinstance(base, CompareOptions):
        values = base.model_dump(exclude_unset=True)
    elif base is not None:
        values, where = _yaml(Path(base)), str(base)
    for name, change in (changes or {}).items():
        before, after = _single(name, values.get(name)), _single(name, change)
        if isinstance(after, Mapping) and before is not None:  # what is no options is kept, and told
            values[name] = {**before, **after} if isinstance(before, Mapping) else before
        elif after is not None:
            values[name] = after
    return checked(CompareOptions, values, where=where)


def _single(name: str, value: Any) -> Any:
    """Returns options of a part as a dict of those that are set, so that others can be laid over them."""
    if isinstance(value, SplitOptions):
        return value.model_dump(exclude_unset=True)
    return {"method": value} if name == "split" and isinstance(value, str) else value


def _yaml(path: Path) -> dict[str, Any]:
    values = read_yaml(path, what="options", who="options")
    earlier = values.pop("data_digest", None) is not None  # a config.yaml, which says which data it was of
    usual = {"method": "auto", "column": None}
    if earlier and isinstance(split := values.get("split"), dict) and usual.items() <= split.items():
        # the defaults must not hide which column a schema splits by
        values["split"] = {k: v for k, v in split.items() if k not in usual}
    return values
