"""What a comparison chose, read from its folder: the model and the training that `profuse fit --from` takes over."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profuse._lookup import resolve
from profuse._options import checked
from profuse.comparison.jobs import model_folder
from profuse.comparison.methods import Method, methods_asked
from profuse.comparison.options import CompareOptions
from profuse.comparison.recommended import recommended
from profuse.comparison.results import Results
from profuse.comparison.summary import summarise
from profuse.data.dataset import Dataset
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError
from profuse.models.options import PROGRESSIVE
from profuse.predictor import load_model
from profuse.report.words import labels_of
from profuse.schema import Schema, Task

__all__ = ["Chosen", "read_chosen"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """A network, or a portfolio, of a comparison.

    Attributes:
        run: The folder of the comparison.
        method: How the model is made.
        options: Of the comparison.
        task: What is predicted.
        target_names: The columns that it stands in.
        advised: What the report says to use, as it calls it, where that is another one and none was named; else "".
    """

    run: Path
    method: Method
    options: CompareOptions
    task: Task
    target_names: tuple[str, ...]
    advised: str = ""

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what an estimator takes; what was `given` wins, and a fusion brings its own level."""
        assert self.method.model is not None
        values = {**self.method.model.model_dump(), **self.options.train.model_dump(exclude={"seed"})}
        values["validation_fraction"] = self.options.split.valid_size
        values["metric"] = self.options.metric
        if "fusion" in given:
            values["level"] = None
        return {**values, **given}

    def portfolio_options(
        self, model: Mapping[str, Any], training: Mapping[str, Any], several: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Returns the options of a portfolio's networks, of their training, and its own; what was given wins."""
        options = self.options
        # a portfolio's networks have no rounds unless they are asked for here, and no quantiles
        apart = (*PROGRESSIVE, "head")
        plain = {n: v for n, v in options.model.model_dump(exclude_defaults=True).items() if n not in apart}
        own: dict[str, Any] = {
            "preset": self.method.portfolio,
            "metric": options.metric,
            "members": options.members or None,
        }
        own["encoders"] = {name: list(several) for name, several in options.encoders.items()} or None
        return (
            {**plain, **model},
            {**options.train.model_dump(exclude_defaults=True), **training},
            {**{name: value for name, value in own.items() if value is not None}, **several},
        )

    def schema(self) -> Schema | None:
        """Returns how the comparison read its table; None where it had a named data set.

        Raises:
            DataError: It has kept no model, which would say so.
            CheckpointError: That is damaged.
        """
        models = self.run / "models"
        kept = [models / model_folder("trivial", seed) for seed in range(self.options.seeds)]
        kept = [folder for folder in kept if folder.is_dir()]
        if not kept:
            raise DataError(
                f"fit: {models} must hold the models that compare kept, which say how columns are read; the trivial "
                "one is not there. Run compare again with the same --out, or give --schema."
            )
        return load_model(kept[0]).schema

    def check_target(self, asked: Sequence[str] | None, source: object) -> None:
        """Checks that another target is not asked for than the comparison had.

        Args:
            asked: Columns that the target is asked to be; None: those of the comparison.
            source: The file that is learned from.

        Raises:
            ConfigError: It is another one.
        """
        if asked is None or set(asked) == set(self.target_names):
            return
        wanted, had = ", ".join(asked), ", ".join(self.target_names)
        options = " ".join(f"--target {shlex.quote(name)}" for name in asked)
        raise ConfigError(
            f"fit: the target must be that of the comparison {self.run}, {had!r}, as what it chose is chosen for that "
            f"one; got target={wanted!r} of {source}. Leave --target out; or compare by the other one first: profuse "
            f"compare {shlex.quote(str(source))} {options} --out NEW; or fit without --from."
        )

    def notes(self) -> list[str]:
        """Tells what is trained, and what of it is not taken over."""
        notes = [f"The method is {self.method.name!r} of {self.run}."]
        if self.advised:
            notes.append(
                f"That is its best fusion by validation; its report says to use {self.advised!r}: a network is "
                f"fitted by --method {shlex.quote(self.advised)}, a classical model is kept in {self.run / 'models'}."
            )
        if self.options.trials > 1 and self.method.is_network:
            notes.append(
                f"The comparison tried {self.options.trials} configurations of it at each seed; trained is the first, "
                "which has the options that were asked for."
            )
        return notes

    def rows_of(self, dataset: Dataset) -> Dataset:
        """Returns the data with the modalities of the method alone.

        Raises:
            DataError: They lack one, or another task is learned.
        """
        if lacking := [name for name in self.method.modalities if name not in dataset.modalities]:
            raise DataError(
                f"fit: the data must have the modalities that {self.method.name!r} had in {self.run}; "
                f"{dataset.name!r} lacks {tell_values(lacking)}. Give data like those that were compared on."
            )
        if dataset.task != self.task:
            raise DataError(
                f"fit: the task must be that of {self.run}, {self.task!r}; {dataset.name!r} has {dataset.task!r}. "
                "Give data like those that were compared on."
            )
        return dataset.select(self.method.modalities)


def read_chosen(run: Path, name: str | None) -> Chosen:
    """Returns the best fusion by validation of a comparison (of one modality, the best model), or what is named.

    Args:
        run: The folder that compare wrote.
        name: As results or the report call it.

    Raises:
        DataError: It is no such folder.
        UnknownNameError: No method is called so.
        ConfigError: The method did not succeed, or is no network.
    """
    results = Results.read(run)
    config = {key: value for key, value in results.config.items() if key != "data_digest"}
    options = checked(CompareOptions, config, where=str(run / "results.json"))
    facts = results.dataset
    methods, _ = methods_asked(options, list(facts.modalities), facts.task)
    best = None
    if name is None:
        summary = summarise(results)
        name, best = summary.verdict.fusion or summary.verdict.single or "", recommended(results, summary)
    ran, labels = {m.name: m for m in results.methods if m.role != "ablation"}, labels_of(results)
    known = {skipped.method: skipped.method for skipped in results.skipped}
    known |= {shown: m.name for m in ran.values() for shown in (m.label or m.name, labels[m.name])}
    known |= {own: own for own in ran}
    asked = resolve(name, known, where="fit", what="method")
    if asked not in ran:
        reason = next(s.reason for s in results.skipped if s.method == asked)
        raise ConfigError(
            f"fit: the method must have succeeded in {run}; got method={name!r}: {reason.rstrip('.')}. "
            "Name another one with --method."
        )
    method = {m.name: m for m in methods}.get(asked)  # a member has no name here any more
    if method is None or method.model is None:
        folders = [run / "models" / model_folder(asked, seed) for seed in range(options.seeds)]
        there = ", ".join(str(f) for f in folders if f.is_dir()) or "none, as another was better"
        raise ConfigError(
            f"fit: the method must be a network or the portfolio; got method={name!r}, a classical model. "
            f"Name another one with --method, or use the fitted ones that the comparison has kept in models/: {there}."
        )
    advised = labels[best] if best is not None and best != asked else ""
    return Chosen(run, method, options, facts.task, tuple(facts.target_names), advised)
