"""Progressive Fusion of a model made of our parts.

What lies below the feedback runs once a batch, and R rounds cost R times the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.heads import Head
from profuse.layers.members import members_apart
from profuse.models.fusion_model import FusionModel, Output
from profuse.models.trainable import Trainable, Validation
from profuse.progressive._anytime import Anytime, Settling, in_evaluation
from profuse.progressive._chance import same_chance
from profuse.progressive._entry import (
    Below,
    Entry,
    below,
    changed_raw,
    check_entry,
    entry_of,
    entry_width,
    raw_tokens,
    rows_of,
)
from profuse.progressive._equilibrium import Search
from profuse.progressive._feedback import FEEDBACKS, Feedback
from profuse.progressive.rounds import Rounds, check_rounds
from profuse.progressive.wrap import WrappedProgressive
from profuse.tokens import Raw, Tokens

__all__ = ["ProgressiveFusion", "Rounds", "Start", "State", "Supervise"]

Start = Literal["zero", "learned"]
Supervise = Literal["last", "all"]
State = tuple[Tensor, Tokens | None]
"""The fused vector, and the fused tokens where the feedback attends to them."""


class ProgressiveFusion(Trainable[Output]):
    """Puts feedback around a `FusionModel` that has a fused state (every level but decision).

    With one round, or with feedback weights at zero (as at the start), it equals the model bit for bit. (With one
    round and a learned start that has been trained it does not: then round one has feedback too.)

    Args:
        model: The plain model; it is used, not copied.
        rounds: How often the modalities are fused, at least 1; 1 is the plain model. "equilibrium": until the fused
            state converges, with the gradient of the converged state. May be set anew after training.
        feedback: Its form: "scale_shift", "gate", "add", "concat" or "attend", or a `Feedback` class.
        into: The modalities that receive feedback; all if None.
        entry: Where it enters a branch: into the raw values ("input"; texts, and tables without numbers, have none
            and get it as with "early"), between embed and mix ("early"), or halfway through the stages of mix
            ("later", which is "early" for encoders of one stage).
        start: The state before round one: "zero", when round one has no feedback, or "learned", one vector for all
            rows, zero before training.
        supervise: "last": the loss of the last round; "all": the mean over rounds, which makes every round usable.
        gradient_rounds: How many of the last rounds carry gradient, at least 1; all if None. The others cost no memory
            for training, and with `supervise="all"` have no loss.
        max_rounds: Equilibrium: how often the state is computed, at most, and as often at most for the gradient.
        tolerance: Equilibrium: the state rests in a row where another round changes it by no more than this part of its
            length.
        damping: Equilibrium: how far each step goes, over 0 to 1.

    Warns:
        ProfuseWarning: The state of some rows has not converged.

    Raises:
        ConfigError: No round, an unknown modality or option, options that contradict each other, or a model at the
            decision level.

    *Differs from the paper*: the default feedback scales and shifts where the paper adds; weights start at zero.
    """

    def __init__(
        self,
        model: FusionModel,
        *,
        rounds: Rounds = 2,
        feedback: str | type[Feedback] = "scale_shift",
        into: Sequence[str] | None = None,
        entry: Entry = "early",
        start: Start = "zero",
        supervise: Supervise = "last",
        gradient_rounds: int | None = None,
        max_rounds: int = 50,
        tolerance: float = 1e-4,
        damping: float = 1.0,
    ) -> None:
        super().__init__()
        Search("ProgressiveFusion", max_rounds, tolerance, damping)
        if model.level == "decision":
            raise ConfigError(
                "ProgressiveFusion: the model must have a fused state; got level='decision'. "
                "Use a feature operator, or level='hybrid'."
            )
        for name, value, known in (("supervise", supervise, Supervise), ("start", start, Start)):
            if value not in get_args(known):
                message = " or ".join(get_args(known))
                raise ConfigError(f"ProgressiveFusion: {name} must be {message}; got {name}={value!r}.")
        if supervise == "all" and not model.has_output_loss:
            raise ConfigError(
                "ProgressiveFusion: supervise='all' must go with a model that learns by the loss of its outputs, which "
                f"every round has; got decision={type(model.decider).__name__}, which learns otherwise. Use "
                "supervise='last', or decision='mean_logits'."
            )
        rounds = _checked(rounds, supervise, start, gradient_rounds)
        check_entry(model, entry)
        if isinstance(feedback, str):
            feedback = resolve(feedback, FEEDBACKS, where="ProgressiveFusion", what="feedback")
        encoders = model.encoder_of
        into = (into,) if isinstance(into, str) else into
        for name in into or ():
            resolve(name, encoders, where="ProgressiveFusion", what="modality")
        self.model = model
        self._rounds = rounds
        self.max_rounds = max_rounds
        self.tolerance = tolerance
        self.damping = damping
        self.supervise = supervise
        self.gradient_rounds = gradient_rounds
        self.into = tuple(name for name in model.names if into is None or name in into)
        self.entries = {name: entry_of(encoders[name], entry) for name in self.into}
        self.feedbacks = nn.ModuleList(
            [feedback(entry_width(encoders[name], at), model.state_width) for name, at in self.entries.items()]
        )
        self.start = nn.Parameter(torch.zeros(model.state_width)) if start == "learned" else None

    @classmethod
    def wrap(
        cls, module: nn.Module, *, into: Mapping[str, str | Sequence[str]], state: str, **options: Any
    ) -> WrappedProgressive:
        """Returns Progressive Fusion around any module; see `WrappedProgressive`, which tells the options."""
        return WrappedProgressive(module, into=into, state=state, **options)

    @property
    def rounds(self) -> Rounds:
        """How often the modalities are fused."""
        return self._rounds

    @rounds.setter
    def rounds(self, rounds: Rounds) -> None:
        start = "zero" if self.start is None else "learned"
        self._rounds = _checked(rounds, self.supervise, start, self.gradient_rounds)

    @property
    def plain(self) -> FusionModel:
        """The model that feedback was put around."""
        return self.model

    @property
    def names(self) -> tuple[str, ...]:
        return self.model.names

    @property
    def head(self) -> Head:
        return self.model.head

    @property
    def unit(self) -> str:
        return self.model.unit

    @property
    def n_members(self) -> int:
        return self.model.n_members

    @property
    def n_remembered(self) -> int:
        return self.model.n_remembered

    def forward(self, inputs: Mapping[str, Raw]) -> Output:
        """Returns the last round's output; `rounds` holds the outputs of all, in equilibrium of that alone."""
        under = below(self.model, inputs, self.entries)
        if self.rounds == "equilibrium":
            return self._at_rest(under)
        state, outputs = self._start(under), []
        for left in range(self.rounds, 0, -1):
            if left == self.gradient_rounds:
                # on older torch autocast would go on with weights that it cast without gradient
                torch.clear_autocast_cache()
            carries = self.gradient_rounds is None or left <= self.gradient_rounds
            with nullcontext() if carries else torch.no_grad():
                output = self._round(under, state)
            state = self._state(output)
            outputs.append(output.outputs)
        return self.model.pooled(replace(output, rounds=tuple(outputs)))

    def remember(self, inputs: Mapping[str, Raw]) -> None:
        """Shows the operator the training rows `inputs` as it sees them in the last round; see `Fusion.remember`."""
        seen: list[Mapping[str, Tokens]] = []
        operator = self.model.fusion
        hook = operator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self(inputs)
        finally:
            hook.remove()
        operator.remember({name: t.zeroed() for name, t in seen[-1].items()})

    def anytime(
        self, inputs: Mapping[str, Raw], *, rounds: int | None = None, tolerance: float | None = None
    ) -> Anytime:
        """Returns what every round predicts, in evaluation mode and without gradients.

        Args:
            inputs: A batch.
            rounds: How many, at most; those of the model if None (`max_rounds` in equilibrium).
            tolerance: A row whose prediction changes by no more than this, in any class or value, from one round to
                the next has settled: it keeps its prediction, and further rounds run without it. None: all run all.

        Raises:
            ConfigError: No round, or a tolerance below 0.
        """
        if rounds is None:
            rounds = self.max_rounds if self.rounds == "equilibrium" else self.rounds
        settling = Settling(tolerance, rounds, where="ProgressiveFusion")
        with in_evaluation(self):
            under = below(self.model, inputs, self.entries)
            state = self._start(under)
            for _ in range(rounds):
                output = self._round(under, state)
                goes_on = settling.add(self.head.predict(self.model.pooled(output).outputs))
                if not goes_on.any():
                    break
                state = self._state(output)
                if not goes_on.all():
                    index = goes_on.nonzero()[:, 0]
                    vector, fused = state
                    one = rows_of(Tokens.vector(vector), index, under.n_rows).values[:, 0]
                    state = one, None if fused is None else rows_of(fused, index, under.n_rows)
                    under = under.rows(index)
        return settling.result()

    def _at_rest(self, under: Below) -> Output:
        """The output of the state that another round leaves as it is."""
        search = Search("ProgressiveFusion", self.max_rounds, self.tolerance, self.damping)
        search.refuse_export()
        n_channels = self.model.state_width
        device = next(iter(under.tokens.values())).values.device
        # the same hidden channels in every round of a batch: else nothing could converge
        again = same_chance([device], active=self.training, torch_only=True)
        with torch.no_grad(), again():
            vector, fused = self._state(self._round(under, self._start(under)))
        # the search needs more digits than half precision has
        dtype = torch.promote_types(vector.dtype, torch.float32)

        def flat(vector: Tensor, fused: Tokens | None) -> Tensor:
            parts = [vector] if fused is None else [vector, fused.values.flatten(1)]
            return torch.cat([part.to(dtype) for part in parts], dim=1)

        def state(x: Tensor) -> State:
            x = x.to(vector.dtype)
            if fused is None:
                return x, None
            return x[:, :n_channels], Tokens(x[:, n_channels:].reshape(fused.values.shape), fused.mask)

        def following(x: Tensor) -> Tensor:
            with again():
                return flat(*self._state(self._round(under, state(x))))

        rest, _ = search.rest(following, flat(vector, fused))
        return self.model.pooled(self._round(under, state(rest)))

    def _start(self, under: Below) -> State | None:
        """The state before round one; None: that round has no feedback."""
        if self.start is None:
            return None
        return self.start.expand(under.n_rows * self.model.n_members, -1), None

    def _state(self, output: Output) -> State:
        fused = output.fused.tokens if any(feedback.attends for feedback in self.feedbacks) else None
        if fused is not None and fused.n_channels != self.model.state_width:
            fused = None
        return output.fused.vector, None if fused is None else fused.zeroed()

    def _round(self, under: Below, state: State | None) -> Output:
        """One round: feedback by the state, what is left of the encoders, fusion, head."""
        tokens = dict(under.tokens)
        if state is not None:
            encoders = self.model.encoder_of
            for name, feedback in zip(self.into, self.feedbacks, strict=True):
                raw = under.raw.get(name)
                seen = self._seen_by(name, state)
                if raw is None:
                    tokens[name] = feedback(tokens[name], *seen)
                else:
                    spec = encoders[name].spec
                    changed = feedback(raw_tokens(raw, spec), *seen)
                    embedded = encoders[name].embed(changed_raw(raw, spec, changed.values))
                    tokens[name] = self.model.spread(name, embedded, "embed")
        return self.model.finish(tokens, rest=under.rest, linear=under.linear)

    def _seen_by(self, name: str, state: State) -> State:
        """Returns the state that a branch receives: each member's own; the mean where members part only later."""
        n_members = self.model.n_members
        if n_members == 1 or (self.model.members_enter[name] == "embed" and self.entries[name] != "input"):
            return state
        vector, fused = state
        if fused is not None:
            fused = Tokens(members_apart(fused.values, n_members).mean(1), members_apart(fused.mask, n_members)[:, 0])
        return members_apart(vector, n_members).mean(1), fused

    def loss(self, output: Output, target: Tensor) -> Tensor:
        """Returns the model's loss of the last round, or with `supervise="all"` with the mean over rounds."""
        return self.model.blended(*self.losses(output, target))

    def validate(self, outputs: Sequence[Output], target: Tensor) -> Validation:
        """Returns what `FusionModel.validate` does, of the last round."""
        return self.model.validate(outputs, target)

    def row_errors(self, outputs: Sequence[Output], target: Tensor) -> Tensor:
        return self.model.row_errors(outputs, target)

    def weighted(self, weights: Tensor | None) -> AbstractContextManager[None]:
        return self.model.weighted(weights)

    def losses(self, output: Output, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the joint loss, and the own loss of each part of the last round; see `FusionModel.losses`."""
        if output.members is not None:
            return self.losses(output.members, self.model.repeated(target))
        joint, own = self.model.losses(output, target)
        counted = output.rounds[-(self.gradient_rounds or len(output.rounds)) :]
        if self.supervise == "all" and len(counted) > 1:
            losses = torch.stack([self.model.head.loss(o, target) for o in counted])
            joint = joint - losses[-1] + losses.mean()
        return joint, own


def _checked(rounds: Any, supervise: str, start: str, gradient_rounds: int | None) -> Rounds:
    options: Any = {"supervise": supervise, "start": start, "gradient_rounds": gradient_rounds}
    return check_rounds(rounds, where="ProgressiveFusion", **options)
