"""What a question is. A list of questions loads these modules: what is heavy is imported where it is used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from profuse._lookup import resolve
from profuse._options import check_keywords
from profuse.errors import ConfigError
from profuse.inspect.answer import Answer
from profuse.schema import Task

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.inspect.asked import Asked
    from profuse.metrics import Metric
    from profuse.predictor import Predictor

__all__ = ["Question"]


class Question(ABC):
    """What can be asked of a predictor and rows with a target.

    Yours is a subclass with a `name`, a `description` and an `answer`; its options are keyword-only arguments of its
    constructor, which takes those of this one too. `ask` gives the rows in an order that does not depend on how they
    came, so what is drawn at random by `seed` does not either.

    Args:
        metric: Name of a metric of the task; AUROC of two classes, else the primary one, if None.
        seed: Of all that is drawn at random, at least 0.
        n_resamples: Bootstrap samples behind an interval, at least 20.

    Raises:
        ConfigError: A value out of range.
    """

    name: ClassVar[str]
    """By which it is asked."""
    description: ClassVar[str]
    """One line for a list of questions."""
    needs_target: ClassVar[bool] = True
    """Whether rows must have a target."""

    def __init__(self, *, metric: str | None = None, seed: int = 0, n_resamples: int = 200) -> None:
        if seed < 0 or n_resamples < 20:
            raise ConfigError(
                f"{self.name}: seed must be at least 0 and n_resamples at least 20; got seed={seed}, "
                f"n_resamples={n_resamples}. The defaults are 0 and 200."
            )
        self.metric = metric
        self.seed = seed
        self.n_resamples = n_resamples

    @classmethod
    def made(cls, **options: Any) -> Self:
        """Returns a question with options as they came from outside.

        Raises:
            ConfigError: An option that the question has not, or a value that it cannot have.
        """
        try:
            check_keywords(cls, options, who=cls.name)
        except ValueError as error:
            raise ConfigError(f"ask: {error}.") from None
        return cls(**options)

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """Returns an answer in one sentence: the head of its page. By default it names the largest estimate.

        Args:
            answer: To this question.
        """
        from profuse.inspect._words import ends_of

        known = [e for e in answer.estimates if e.value == e.value]
        if not known:
            return cls.description
        e = max(known, key=lambda e: abs(e.value))
        measured = answer.measures or (answer.question if len(known) > 1 else e.name)
        most = f"most, {ends_of(e)}, for {e.name}" if len(known) > 1 else ends_of(e)
        return f"{measured[:1].upper()}{measured[1:]}: {most}."

    @property
    def plans_all(self) -> bool:
        """Whether all predictions that an answer needs are asked for at once, so that the time left can be told."""
        return False

    def reading(self, source: Any) -> Self:
        """Returns the question as it is asked of a `Dataset` that was read from the table `source`.

        One that looks at columns that are no features finds them there; by default there is nothing to find.
        """
        return self

    def ask(self, predictor: Predictor, rows: Any, *, target: Any = None) -> Answer:
        """Returns the answer for rows as `ask` takes them."""
        from profuse.inspect.asked import order_by_content, read_asked

        dataset = read_asked(predictor, rows, target, who="ask")
        return self.answer(predictor, dataset.rows(order_by_content(dataset, predictor.modalities)))

    @abstractmethod
    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """Returns the answer.

        Args:
            predictor: It must be left as it is.
            dataset: At least one row, with a target.
        """

    def metric_for(self, task: Task) -> Metric:
        """Returns the metric that was asked for.

        Raises:
            UnknownNameError: The task has none of this name.
        """
        from profuse.metrics import default_metric, metrics_for, our_name

        if self.metric is None:
            return default_metric(task)
        known = {m.name: m for m in metrics_for(task)}
        return resolve(our_name(self.metric, known), known, where=self.name, what="metric")

    def asked(self, predictor: Predictor, dataset: Dataset) -> Asked:
        """Returns the rows encoded for the predictor, with all that is needed to score it on them."""
        from profuse.inspect.asked import Asked, check_target

        check_target(dataset)
        return Asked.of(
            predictor, dataset, self.metric_for(predictor.task), seed=self.seed, n_resamples=self.n_resamples
        )
