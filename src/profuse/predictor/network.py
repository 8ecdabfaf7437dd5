"""`NetworkPredictor`: a trained network and its pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, Field, field_validator, model_validator
from torch import Tensor

from profuse._cores import limit_threads
from profuse._folder import applied
from profuse._weights import with_weights
from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.errors import CheckpointError, ConfigError, DataError
from profuse.fusion import Fused
from profuse.models.build import Model, build_model
from profuse.models.options import ModelOptions
from profuse.predictor.base import Predictor
from profuse.predictor.card import Block
from profuse.predictor.decision import MOST_PROBABLE, Decision
from profuse.predictor.network_card import made_of, scored_as
from profuse.predictor.saving import PartStore, SavedPredictor, write_predictor
from profuse.predictor.trained import TrainedOn
from profuse.predictor.watching import predicted
from profuse.progressive import ProgressiveFusion
from profuse.schema import Schema
from profuse.tokens import Raw, Tokens
from profuse.training.history import History
from profuse.training.loop import batches, predict
from profuse.training.options import TrainOptions

__all__ = ["NetworkPredictor", "outputs_in_units"]


@dataclass(frozen=True, eq=False, repr=False)
class NetworkPredictor(Predictor):
    """A trained network; see `Predictor`.

    Attributes:
        model: Trained, in evaluation mode, on the CPU.
        n_rows: Training rows, by which encoders chose their size.
        model_options: How it was made.
        train_options: How it was trained.
        history: Its epochs.
        own_parts: Parts that are the user's own objects, which no name rebuilds.
        valid_prediction: What the model predicted for the validation rows before it was trained anew with them.
        valid_true: Their targets as metrics take them; not saved, as nothing of them is.
        valid_clusters: `[row]`: validation rows with one number are not independent.
        about: How good it is on held-out rows, where that is known.
        choices: By modality, what its encoder has chosen for the data, in words; not saved, as the options tell it.
        n_known: Rows that its linear paths may have learned from, by which they have landmarks; as `n_rows` if None.
    """

    pipeline: Pipeline
    codec: TargetCodec
    model: Model
    modalities: tuple[str, ...]
    n_rows: int
    model_options: ModelOptions
    train_options: TrainOptions
    history: History | None = None
    schema: Schema | None = None
    own_parts: tuple[str, ...] = ()
    valid_prediction: np.ndarray | None = None
    valid_true: np.ndarray | None = None
    valid_clusters: np.ndarray | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    decision: Decision = MOST_PROBABLE
    trained_on: TrainedOn | None = None
    n_known: int | None = None

    @property
    def n_parameters(self) -> int:
        """Numbers in the model that training has changed; all that can be trained where that is not known."""
        known = self.history.n_parameters if self.history is not None else 0
        return known or sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        """Returns the preprocessed rows of each modality of the pipeline."""
        made: dict[Any, dict[str, Raw]] = {} if kept is None else kept
        if id(self.pipeline) not in made:
            with applied(self.source):
                made[id(self.pipeline)] = self.pipeline.transform(dataset)
        return made[id(self.pipeline)]

    def encode_one(self, dataset: Dataset, name: str, kept: dict[Any, Any] | None = None) -> Raw:
        """See `Predictor.encode_one`."""
        made: dict[Any, Raw] = {} if kept is None else kept
        key = id(self.pipeline), name
        if key not in made:
            with applied(self.source):
                made[key] = self.pipeline.transform_one(dataset, name)
        return made[key]

    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        """See `Predictor.predict_encoded`."""
        used = {name: inputs[name] for name in self.modalities}
        with limit_threads(self.train_options.threads), applied(self.source):
            outputs = outputs_in_units(self.model, self.codec, used, rows)
            if self.source and not np.isfinite(outputs).all():
                raise ValueError("predictions that are no finite numbers")
            predicted()
            return outputs

    def predict_exchanged(
        self, inputs: Mapping[str, Raw], others: Mapping[str, Raw], exchanged: Iterable[tuple[str, ...]]
    ) -> dict[tuple[str, ...], np.ndarray]:
        """See `Predictor.predict_exchanged`: what linear paths make of each modality is computed once."""
        model = self.model.plain
        with limit_threads(self.train_options.threads), applied(self.source):
            inputs, others = (model.linear_paths.known(model.encoder_of, parts) for parts in (inputs, others))
        return super().predict_exchanged(inputs, others, exchanged)

    def band(self, inputs: Mapping[str, Raw]) -> np.ndarray | None:
        """See `Predictor.band`."""
        if not self.model.head.quantile_levels:
            return None
        return self._quantiles(inputs)[..., [0, -1]]

    def predict_quantiles(self, rows: Any) -> np.ndarray:
        """Returns the quantiles `profuse.heads.QUANTILES`, ascending: `[row, quantile]`, or `[row, target, quantile]`.

        Raises:
            ConfigError: The model has not learned quantiles.
        """
        if not self.model.head.quantile_levels:
            raise ConfigError(
                "predict_quantiles: the model must have learned quantiles; got head='mean'. Fit a regression with "
                "head='quantile'."
            )
        made = self._quantiles(self.encode(self._taken(rows)))
        return made[:, 0] if self.codec.flat else made

    def _quantiles(self, inputs: Mapping[str, Raw]) -> np.ndarray:
        """Returns `[row, target, quantile]`, in the target's units."""
        used, head = {name: inputs[name] for name in self.modalities}, self.model.head
        with limit_threads(self.train_options.threads), applied(self.source):
            outputs = torch.cat([o.outputs for o in predict(self.model, used)])
            each = head.quantiles(outputs).double().numpy()
        return np.stack([self.codec.in_units(each[..., k]) for k in range(each.shape[-1])], axis=-1)

    def predict_frame(self, rows: Any) -> pd.DataFrame:
        """See `Predictor.predict_frame`; of a model of quantiles `q05` and `q95` (`TARGET_q05`) stand behind the rest.

        Raises:
            DataError: Two columns would have one name.
        """
        dataset = self._taken(rows)
        frame = super().predict_frame(dataset)
        levels = self.model.head.quantile_levels
        band = self.band(self.encode(dataset)) if levels else None
        for j, target in enumerate(self.codec.names if band is not None else ()):
            for k, q in enumerate((levels[0], levels[-1])):
                name = f"{'' if self.codec.n_outputs == 1 else f'{target}_'}q{100 * q:02.0f}"
                if name in frame:
                    raise DataError(
                        f"predict: names of the columns written must differ; got {name!r} more than once, as a target "
                        "is called so. Rename it in the training table and fit again, or use predict_quantiles."
                    )
                assert band is not None
                frame[name] = band[:, j, k]
        return frame

    def representation(self, inputs: Mapping[str, Raw]) -> np.ndarray:
        """Returns the fused vector of each row, in the last round."""
        used = {name: inputs[name] for name in self.modalities}
        with limit_threads(self.train_options.threads), applied(self.source):
            return torch.cat([o.fused.vector for o in predict(self.model, used)]).double().numpy()

    def predict_encoded_rounds(self, inputs: Mapping[str, Raw]) -> np.ndarray:
        """See `Predictor.predict_encoded_rounds`."""
        return self._by_round(inputs, None, None)[0]

    def states_by_round(self, inputs: Mapping[str, Raw]) -> dict[str, np.ndarray]:
        """Returns of each modality the mean of the tokens that go into the fusion, and the fused vector."""
        plain, calls = self.model.plain, list[dict[str, Tensor]]()

        def look(_: Any, given: tuple[Mapping[str, Tokens], ...], fused: Fused) -> None:
            calls.append({**{name: tokens.mean() for name, tokens in given[0].items()}, "": fused.vector})

        def of_rows(values: Sequence[Tensor], n: int) -> Tensor:
            """Returns the mean over members, which are rows of one call, or calls one after another."""
            return torch.stack([v.reshape(n, -1, v.shape[-1]).mean(1) for v in values]).mean(0)

        n_calls = 1 if plain.fusion.members == "together" else self.model.n_members
        used = {name: inputs[name] for name in self.modalities}
        every = torch.arange(len(next(iter(used.values()))))
        handle, batched = plain.fusion.register_forward_hook(look), list[list[dict[str, Tensor]]]()
        try:
            with limit_threads(self.train_options.threads), applied(self.source), torch.inference_mode():
                for batch, _ in batches(used, every, max(1, 512 // self.model.n_members)):
                    calls.clear()
                    if isinstance(self.model, ProgressiveFusion):
                        self.model.anytime(batch)
                    else:
                        predict(self.model, batch)
                    n = len(next(iter(batch.values())))
                    rounds = [calls[i : i + n_calls] for i in range(0, len(calls), n_calls)]
                    batched.append([{k: of_rows([of[k] for of in r], n) for k in r[0]} for r in rounds])
        finally:
            handle.remove()
        return {
            name: torch.stack([torch.cat([of[r][name] for of in batched]) for r in range(len(batched[0]))])
            .double()
            .numpy()
            for name in batched[0][0]
        }

    def predict_rounds(
        self, rows: Any, *, rounds: int | None = None, tolerance: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what a progressive model predicts after each round; see `ProgressiveFusion.anytime`.

        Args:
            rows: See `Predictor`.
            rounds: How many, at most; those of the model if None.
            tolerance: The change of a prediction by which it has settled, in probabilities, or in standard deviations
                of the target over the training rows; None: all rows take part in all rounds.

        Returns:
            `[round, row, output]`, probabilities or values in the target's units, and `[row]`: how many rounds each
            row has used.

        Raises:
            ConfigError: The model has no rounds.
        """
        if not isinstance(self.model, ProgressiveFusion):
            raise ConfigError("predict_rounds: the model must be progressive; got rounds=1. Fit it with rounds=2.")
        return self._by_round(self.encode(self._taken(rows)), rounds, tolerance)

    def _by_round(
        self, inputs: Mapping[str, Raw], rounds: int | None, tolerance: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns predictions of encoded rows; see `predict_rounds`. Of a model without rounds the single one."""
        if not isinstance(self.model, ProgressiveFusion):
            single = self.predict_encoded(inputs)
            return single[None], np.ones(len(single), dtype=np.int64)
        used = {name: inputs[name] for name in self.modalities}
        every = torch.arange(len(next(iter(used.values()))))
        with limit_threads(self.train_options.threads), applied(self.source):
            by_batch = [
                self.model.anytime(batch, rounds=rounds, tolerance=tolerance)
                for batch, _ in batches(used, every, max(1, 512 // self.model.n_members))
            ]
        longest = max(len(b.predictions) for b in by_batch)
        # where a batch has settled early, all its rows keep their predictions
        parts = [b.predictions[torch.arange(longest).clamp(max=len(b.predictions) - 1)] for b in by_batch]
        outputs: np.ndarray = torch.cat(parts, dim=1).double().numpy()
        return self.codec.in_units(outputs), torch.cat([b.rounds for b in by_batch]).numpy()

    def save(self, folder: str | Path, *, estimator: Mapping[str, Any] | None = None) -> None:
        """Writes it into `folder`; see `Predictor.save`.

        Args:
            folder: Where to.
            estimator: What an estimator knows besides, as JSON values.
        """
        write_predictor(folder, self, estimator=estimator)

    def sharing(self, known: dict[Any, Any]) -> NetworkPredictor:
        """See `Predictor.sharing`."""
        return replace(self, pipeline=known.setdefault(self.pipeline.key, self.pipeline))

    def card_made(self) -> list[Block]:
        """See `Predictor.card_made`."""
        return made_of(self)

    def card_scores(self) -> list[Block]:
        """See `Predictor.card_scores`."""
        return scored_as(self)

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        """See `Predictor.packed`."""
        if self.own_parts:
            raise CheckpointError(
                "save: every part must have a name from which it is rebuilt; got the user's own "
                f"{', '.join(self.own_parts)}. Give its class a name with profuse.register, and fit with that name."
            )
        history = self.history
        own = {
            "n_rows": self.n_rows,
            "n_known": self.n_known,
            "model_options": self.model_options.model_dump(mode="json"),
            "train_options": self.train_options.model_dump(mode="json"),
            "history": None
            if history is None
            else {
                "epochs": [e.to_json() for e in history.epochs],
                "best_epoch": history.best_epoch,
                "n_train_rows": history.n_train_rows,
                "fit_seconds": history.fit_seconds,
                "n_parameters": history.n_parameters,
                "balance_weights": [dict(weights) for weights in history.balance_weights],
                **({"chosen_by": history.chosen_by} if history.chosen_by else {}),
            },
        }
        return own | ({"about": dict(self.about)} if self.about else {}), self.model.state_dict()

    @classmethod
    def restore(cls, saved: SavedPredictor, weights: Mapping[str, Tensor], source: str) -> NetworkPredictor:
        """Returns what `save` wrote."""
        own, codec = _Saved.model_validate(saved.own), saved.codec
        specs = {name: saved.pipeline.specs[name] for name in saved.modalities}

        def make() -> Model:
            return build_model(
                specs, codec.task, codec.n_outputs, own.model_options, n_rows=own.n_rows, n_known=own.n_known, seed=0
            )

        return cls(
            pipeline=saved.pipeline,
            codec=codec,
            model=with_weights(make, weights),
            modalities=saved.modalities,
            n_rows=own.n_rows,
            n_known=own.n_known,
            model_options=own.model_options,
            train_options=own.train_options,
            history=own.history,
            about=own.about,
            schema=saved.schema,
            source=source,
        )


class _Saved(BaseModel):
    """What a folder holds of a network besides its weights."""

    n_rows: int = Field(ge=1)
    n_known: int | None = Field(None, ge=1)
    model_options: ModelOptions
    train_options: TrainOptions
    history: History | None
    about: dict[str, Any] = Field(default_factory=dict)

    @field_validator("history", mode="before")
    @classmethod
    def _undefined(cls, facts: Any) -> Any:
        """JSON has no NaN."""
        if not isinstance(facts, dict):
            return facts
        return {**facts, "epochs": [{k: math.nan if v is None else v for k, v in e.items()} for e in facts["epochs"]]}

    @model_validator(mode="after")
    def _fits(self) -> _Saved:
        if self.history is not None and all(e.epoch != self.history.best_epoch for e in self.history.epochs):
            raise ValueError("best_epoch must be one of the epochs")
        return self


def outputs_in_units(
    model: Model, codec: TargetCodec, inputs: Mapping[str, Raw], rows: np.ndarray | None = None
) -> np.ndarray:
    """Returns what `model` predicts for rows (all if None): probabilities, or values in the target's units."""
    outputs = torch.cat([o.outputs for o in predict(model, inputs, None if rows is None else torch.as_tensor(rows))])
    values: np.ndarray = model.head.predict(outputs.double()).numpy()  # so that probabilities sum to 1 as doubles do
    return codec.in_units(values)
