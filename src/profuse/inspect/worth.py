"""`worth`: by how much the loss would fall if a modality were collected for the rows that lack it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect._words import resampled
from profuse.inspect.answer import Answer, Estimate

if TYPE_CHECKING:
    import pandas as pd

    from profuse.data.dataset import Dataset
    from profuse.inspect._gaps import Gap, Known
    from profuse.inspect.asked import Asked
    from profuse.metrics import Metric
    from profuse.predictor import Predictor
    from profuse.schema import Task

__all__ = ["Worth"]

_LOSSES = ("log_loss", "mse", "brier", "exact_match")


class Worth(Question):
    """`V(m) = E[loss(p(y | x_S)) - loss(p(y | x_S, x_m))]` over rows that lack m and have the modalities S.

    What the loss would be is read from reference rows, which have m and all of S: m and what else is not in S is hidden
    in them, then m is shown. A row that lacks m is worth what m is worth to the reference rows that are predicted most
    alike from S (a tenth of them, 20 at least): so gaps may hang on what is known of a row, but not on what m would
    have said. Where no row lacks m, the value is what showing it is worth to those that have it.

    Above 0 is what collecting m saves per row, in units of the loss; below 0, the predictor is misled by it.

    Args:
        modalities: Which; all that the predictor uses if None.
        metric: A loss or score that is a mean over rows, each by itself; log loss or squared error if None.
        seed: Of the bootstrap.
        n_resamples: See `Question`.

    Reference:
        Howard, "Information value theory" (1966): the expected value of information; here of a finished predictor.
    """

    name = "worth"
    description = "What would be gained if a modality were collected for the rows that lack it."

    def __init__(
        self,
        *,
        modalities: Sequence[str] | str | None = None,
        metric: str | None = None,
        seed: int = 0,
        n_resamples: int = 200,
    ) -> None:
        super().__init__(metric=metric, seed=seed, n_resamples=n_resamples)
        self.modalities = (modalities,) if isinstance(modalities, str) else modalities

    def metric_for(self, task: Task) -> Metric:
        """Returns the loss: log loss of classes, squared error of numbers, unless another was asked for."""
        from profuse.metrics import metrics_for

        if self.metric is not None:
            return super().metric_for(task)
        known = {m.name: m for m in metrics_for(task)}
        return next(known[name] for name in _LOSSES if name in known)

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        from profuse.inspect._words import ends_of

        e = max(answer.estimates, key=lambda e: e.value)
        if e.low <= 0:
            return f"Collecting a modality is not shown to gain: {e.name} most, {ends_of(e)} {answer.label} per row."
        return f"Collecting {e.name} gains most: {ends_of(e)} {answer.label} per row that lacks it."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`.

        Raises:
            ConfigError: The metric is no mean over rows, or nothing can be said of any modality.
        """
        from profuse.inspect._gaps import Known, interval

        asked = self.asked(predictor, dataset)
        known = Known.of(asked.inputs, asked.used)
        self._check(asked)
        notes: list[str] = []
        estimates: list[Estimate] = []
        for name in self._names(asked):
            found, reason = self._gaps(asked, known, name)
            if not found:
                notes.append(f"Nothing can be said of {name!r}: {reason}")
                continue
            n_rows = sum(len(gap.rows) for gap in found)
            estimates.append(
                Estimate(
                    name, *interval(found, asked.clusters, self.seed, self.n_resamples), n_rows, modalities=(name,)
                )
            )
            notes += [reason] if reason else []
        if not estimates:
            raise ConfigError(f"worth: some rows must have what others lack. {' '.join(notes)} Ask with more rows.")
        estimates.sort(key=lambda e: -e.value)
        absent = [f"No row has {name!r}: what it is worth cannot be said of these rows." for name in asked.absent]
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=len(dataset),
            estimates=tuple(estimates),
            residual=None,
            notes=(
                *notes,
                *absent,
                "A residual is not defined: modalities are collected one at a time, and what two are worth together is "
                "not the sum. Values hold as far as what is lacking does not hang on what it would have said.",
                f"Intervals (95 %): {self.n_resamples} bootstrap samples of {resampled(asked.clusters)}.",
            ),
            measures="what collecting it would gain per row",
        )

    def rows(self, predictor: Predictor, known: Dataset, new: Dataset) -> pd.DataFrame:
        """Returns what each modality is worth to each row that lacks it; NaN where a row has it, or nothing tells.

        Args:
            predictor: What predicts.
            known: Rows with a target, which tell; the predictor has not learned from them.
            new: Rows that lack modalities; they need no target.

        Returns:
            A column "worth of NAME" for each modality, a line for each row.
        """
        import numpy as np
        import pandas as pd

        from profuse.inspect._gaps import Known, gaps

        asked = self.asked(predictor, known)
        self._check(asked)
        told, wanted = Known.of(asked.inputs, asked.used), Known.of(predictor.encode(new), asked.used)
        columns = {}
        for name in self._names(asked):
            values = np.full(len(new), np.nan)
            for gap in gaps(predictor, told, asked.true, wanted, name, asked.metric, self.seed, every=True):
                values[gap.rows] = gap.values
            columns[f"worth of {name}"] = values
        return pd.DataFrame(columns)

    def _names(self, asked: Asked) -> list[str]:
        for name in self.modalities or ():
            resolve(name, dict.fromkeys(asked.used), where="worth", what="modality")
        return list(self.modalities or asked.used)

    def _gaps(self, asked: Asked, known: Known, name: str) -> tuple[list[Gap], str]:
        """Returns the rows that lack a modality, or else those that have it, and what is to be told of them."""
        from profuse.inspect._gaps import FEWEST, gaps, shown

        has = known.present[:, known.names.index(name)]
        if has.sum() < FEWEST:
            return [], f"{has.sum()} rows have it; {FEWEST} are needed."
        if has.all():
            found = list(shown(asked.predictor, known, asked.true, name, asked.metric, self.seed))
            return found, f"No row lacks {name!r}: its value is that of hiding it, to all rows."
        found = list(gaps(asked.predictor, known, asked.true, known, name, asked.metric, self.seed))
        n_lacking, n_told = int((~has).sum()), sum(len(gap.rows) for gap in found)
        if not found:
            return [], f"fewer than {FEWEST} rows have it and what those have that lack it."
        few = f"{n_told} of {n_lacking} rows that lack {name!r} were looked at: too few rows tell of the others, or "
        return found, "" if n_told == n_lacking else f"{few}there are very many."

    def _check(self, asked: Asked) -> None:
        """Checks that the metric is a mean over rows, each by itself."""
        import numpy as np

        true, metric = asked.true, asked.metric
        half = np.arange(len(true)) < (len(true) + 1) // 2
        prediction = asked.predictor.predict_encoded(asked.inputs)
        try:
            alone, whole = metric.row_scores(true[half], prediction[half]), metric.row_scores(true, prediction)[half]
            same = np.allclose(alone, whole)
        except (ConfigError, ValueError):
            same = False
        if not same:
            raise ConfigError(
                f"worth: the metric must be a mean over rows, each by itself; got metric={metric.name!r}. Leave it "
                "out, or use accuracy, brier or mae."
            )
