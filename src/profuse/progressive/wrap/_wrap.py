"""Progressive Fusion around a module of anybody's: its layers are met from outside, its code stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from profuse._lookup import resolve
from profuse.errors import ShapeError
from profuse.progressive._anytime import Anytime, Settling, in_evaluation
from profuse.progressive._equilibrium import Search
from profuse.progressive._feedback import FEEDBACKS, Feedback
from profuse.progressive.rounds import Rounds, check_rounds
from profuse.progressive.wrap._checks import check_arguments, check_module, refuse_quantised
from profuse.progressive.wrap._converged import converged
from profuse.progressive.wrap._entry import entries_of, layer_of
from profuse.progressive.wrap._layout import Side
from profuse.progressive.wrap._matched import check_example
from profuse.progressive.wrap._pass import PASSES, Pass
from profuse.progressive.wrap._present import Presence, Present, presence_in
from profuse.progressive.wrap._replay import Replay, rows_are_one_system
from profuse.progressive.wrap._rows import Mask, real_in
from profuse.progressive.wrap._signature import SignatureOf
from profuse.progressive.wrap._state import State, StateOf, StateReader, chosen
from profuse.progressive.wrap._trees import WHERE, described, floats, tensors
from profuse.progressive.wrap._trial import try_out

__all__ = ["WrappedProgressive"]


@dataclass(frozen=True, eq=False)
class _Known:
    """What a call of the module says of its rows and positions; None where all are there.

    Attributes:
        state_mask: What is real in the state.
        masks: What is real at each entry.
        presences: Which rows have the modality of each entry.
    """

    state_mask: Tensor | None
    masks: list[Tensor | None]
    presences: list[Presence | None]


class WrappedProgressive(nn.Module):
    """Runs `module` in rounds: what the layer `state` gives in round t changes what the layers `into` take in t + 1.

    Made by `ProgressiveFusion.wrap`. It is called as the module is, and returns what the module returns in the last
    round, or in each. Layers are met only while it runs: called by itself, `module` is what it was.

    Args:
        module: Any module; it is used, not copied, and its code is not changed.
        into: For each branch the name of the layer that receives feedback, or several, as in `module.named_modules()`.
            A layer that is called several times in a pass receives it each time.
        state: The layer whose output is the fused state; it is called once in a pass, after those of `into`.
        example: What the module is called with: a tuple of positional arguments, or the only one. Two rounds run on it,
            in evaluation mode with gradients on, to learn sizes, and to see whether what you say can be.
        example_kwargs: Keyword arguments of the example.
        rounds: How often the module runs, at least 1; 1 is the module. "equilibrium": until the state converges, with
            the gradient of the converged state. May be set anew at any time.
        feedback: A name of `FEEDBACKS`, or a `Feedback` class.
        at: Whether feedback changes the "input" or the "output" of a layer; by branch if a mapping.
        reuse: Names of parts that run once per batch, in the first round; later rounds get their results again. They
            must take nothing that feedback changes.
        channel_axis: Which axis of what feedback changes holds the channels; by branch if a mapping. If None, torch's
            own layers say; of others it is the last up to three axes, and with more it must be given.
        batch_axis: Which axis of it holds the batch, likewise; of others than torch's own layers the first.
        folded: Branches whose rows are batch times something, batch outermost (frames of a video): a row's state goes
            to each. The state must have a row for each of the batch.
        state_of: The fused state in the output of its layer: a key or attribute, an index, or a function of the
            output. If None, the only floating tensor, in a tuple or list the first.
        state_axis: Which axis of the state holds the channels, as `channel_axis`; the mean is taken over those that are
            neither batch nor channels.
        mask: Which positions of a branch are real, where others are padding, which feedback then leaves as it is; by
            branch. The name of an argument of the module's forward, or a function that is called as the module is:
            `[row]` or `[row, position]`, True or 1 where it is real (a `key_padding_mask` is the contrary).
        present: Which rows of the batch have the modality of a branch, where the module runs it on those rows alone, in
            their order, or leaves it out where no row has it; by branch. The name of an argument of the module's
            forward, or a function that is called as the module is: `[batch]`, True or 1 where a row has it, or a bool
            for all rows. Feedback then enters those rows alone. The example must have a row that has it.
        state_mask: Likewise of the fused state, which is then the mean of what is real, and zero where nothing is.
        returns: Whether a call returns what the module returns in the "last" round, or a tuple of what it returns in
            "all", for a loss on each. May be set anew at any time.
        start: The state before round one: "zero", or "learned", one vector for all rows.
        gradient_rounds: How many of the last rounds the gradient of the last output goes through; all if None. Those
            before then cost no memory, unless the outputs of all rounds are asked for.
        max_rounds: Equilibrium: how often the state is computed, at most, and as often at most for the gradient.
        tolerance: Equilibrium: largest change of the state by another round, as part of its length.
        damping: Equilibrium: how far each step goes, over 0 to 1.

    Warns:
        ProfuseWarning: Equilibrium: the state of some rows has not converged, or rows depend on each other.

    Raises:
        ConfigError: Unknown values, layers that did not run or in the wrong order, feedback without effect, reuse of
            what feedback changes, quantised layers.
        UnknownNameError: A layer that is not there; the message has the nearest names.
        ShapeError: State and branch do not fit; the message has layers and shapes.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        into: Mapping[str, str | Sequence[str]],
        state: str,
        example: Any = None,
        example_kwargs: Mapping[str, Any] | None = None,
        rounds: Rounds = 2,
        feedback: str | type[Feedback] = "scale_shift",
        at: Side | Mapping[str, Side] = "input",
        reuse: Sequence[str] = (),
        channel_axis: int | Mapping[str, int] | None = None,
        batch_axis: int | Mapping[str, int] | None = None,
        folded: Sequence[str] = (),
        state_of: StateOf = None,
        state_axis: int | None = None,
        mask: Mapping[str, Mask] | None = None,
        present: Mapping[str, Present] | None = None,
        state_mask: Mask | None = None,
        returns: Literal["last", "all"] = "last",
        start: Literal["zero", "learned"] = "zero",
        gradient_rounds: int | None = None,
        max_rounds: int = 50,
        tolerance: float = 1e-4,
        damping: float = 1.0,
    ) -> None:
        given = dict(locals())
        super().__init__()
        check_module(module)
        check_arguments(given)
        self.returns, self.gradient_rounds = returns, gradient_rounds
        self._rounds = self._checked(rounds, start)
        self.max_rounds, self.tolerance, self.damping = max_rounds, tolerance, damping
        self._search()
        self.module = module
        if hasattr(module, "accepts_loss_kwargs"):  # what Hugging Face's Trainer asks of a model
            self.accepts_loss_kwargs = module.accepts_loss_kwargs
        self.entries = entries_of(module, into, at, (batch_axis, channel_axis), folded, mask or {}, present or {})
        self.state_layer, self.state_of, self.state_axis, self.state_mask = state, state_of, state_axis, state_mask
        self.reuse = tuple(reuse)
        if isinstance(feedback, str):
            feedback = resolve(feedback, FEEDBACKS, where=WHERE, what="feedback")
        self.kind: type[Feedback] = feedback
        args = example if isinstance(example, tuple) else () if example is None else (example,)
        made, first = self._made(args, dict(example_kwargs or {}))
        self.feedbacks = nn.ModuleDict(made)
        self.start = nn.Parameter(first) if start == "learned" else None

    def _made(self, args: Any, kwargs: Any) -> tuple[dict[str, Feedback], Tensor]:
        """Runs the module on the example, learns sizes, and returns the feedbacks and a zero state."""
        replay = Replay(self.module, (), [*tensors((args, kwargs)), *self.module.parameters()])
        known = self._known(args, kwargs)
        check_example(self.entries, known.presences)
        seen = (known.presences, known.state_mask)
        picked, met = try_out(self.module, lambda: self._pass(replay), args, kwargs, self.reuse, *seen)
        state = self._reader().read(picked, known.state_mask)
        self.state_width = state.vector.shape[1]
        made, entries = {}, []
        for entry, x, mask, presence in zip(self.entries, met, known.masks, known.presences, strict=True):
            values, _, _ = entry.rowwise(x, mask, presence)
            entry.rows_of(state, values.shape[0], x, self.state_layer, presence)
            entries.append(replace(entry, n_channels=values.shape[2]))
            feedback = self.kind(values.shape[2], self.state_width)
            made[entry.key(feedback)] = feedback.to(self._weights_like(entry.layer, *floats(x)))
        self.entries = tuple(entries)
        return made, torch.zeros(self.state_width).to(self._weights_like(self.state_layer, picked[0]))

    def _weights_like(self, name: str, x: Tensor) -> Tensor:
        """Returns an empty tensor as weights at the layer `name` are to be, where `x` stands.

        Its dtype is that of the layer's own weights, else of the module's, and holds the numbers of `x`, which autocast
        may have made less exact.
        """
        layer = layer_of(self.module, name, "layer")
        owned = next((p for p in (*layer.parameters(), *self.module.parameters()) if p.is_floating_point()), x)
        return torch.empty(0, dtype=torch.promote_types(owned.dtype, x.dtype), device=x.device)

    @property
    def rounds(self) -> Rounds:
        """How often the module runs."""
        return self._rounds

    @rounds.setter
    def rounds(self, rounds: Rounds) -> None:
        self._rounds = self._checked(rounds, "zero" if self.start is None else "learned")

    def _checked(self, rounds: Any, start: str) -> Rounds:
        options: Any = {"start": start, "returns": self.returns, "gradient_rounds": self.gradient_rounds}
        return check_rounds(rounds, where=WHERE, **options)

    def extra_repr(self) -> str:
        into = ", ".join(f"{e.branch}: {e} ({e.n_channels} channels)" for e in self.entries)
        return f"into=({into}), state={self.state_layer!r} ({self.state_width} channels), rounds={self.rounds}"

    @SignatureOf
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the module returns in the last round, or with `returns="all"` what `all_rounds` does."""
        if self.returns == "all":
            return self.all_rounds(*args, **kwargs)
        if self.rounds == "equilibrium":
            return self._converged(args, kwargs)
        if self.rounds == 1 and self.start is None:
            return self.module(*args, **kwargs)
        *_, one_pass = self._each_round(args, kwargs, self.rounds, last=True)  # the pass keeps what the last one gave
        return one_pass.output

    def all_rounds(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Returns what the module returns in each round; in equilibrium what it returns in the converged one, alone."""
        if self.rounds == "equilibrium":
            return (self._converged(args, kwargs),)
        return tuple(one_pass.output for one_pass in self._each_round(args, kwargs, self.rounds))

    def anytime(
        self,
        *args: Any,
        rounds: int | None = None,
        tolerance: float | None = None,
        outputs: StateOf = None,
        **kwargs: Any,
    ) -> Anytime:
        """Returns what every round predicts, in evaluation mode and without gradients.

        All rows run in all rounds, until the last has settled: which tensors of a module hold rows is not known.
        Arguments of the module that are named as one of these must be given by position.

        Args:
            args: For the module.
            rounds: How many, at most; those of the wrapper if None (`max_rounds` in equilibrium).
            tolerance: A row whose prediction changes by no more than this, in any number, from one round to the next
                has settled, and keeps its prediction. None: no row settles.
            outputs: The prediction `[batch, ...]` in what the module returns, as `state_of`.
            kwargs: For the module.

        Raises:
            ConfigError: No round, a tolerance below 0, or several tensors that could be the prediction.
            ShapeError: The prediction is no floating tensor with a row for each of the batch.
        """
        if rounds is None:
            rounds = self.max_rounds if self.rounds == "equilibrium" else self.rounds
        settling = Settling(tolerance, rounds, where=WHERE)
        source = type(self.module).__name__
        with PASSES, in_evaluation(self):
            for one_pass in self._each_round(args, kwargs, rounds):
                predicted = chosen(one_pass.output, outputs, option="outputs", what="the prediction", source=source)
                n_rows = len(one_pass.state(None).vector)
                if not floats(predicted) or predicted.shape[:1] != (n_rows,):
                    raise ShapeError(
                        f"{WHERE}: the prediction must be a floating tensor [batch, ...] of {n_rows} rows, as the "
                        f"state has; got {described(predicted)}. Give outputs: a key, an index, or a function of "
                        f"{described(one_pass.output)}."
                    )
                goes_on = settling.add(predicted[settling.open] if settling.predictions else predicted)
                if not goes_on.any():
                    break
        return settling.result()

    def _each_round(self, args: Any, kwargs: Any, rounds: int, *, last: bool = False) -> Iterator[Pass]:
        """Yields the pass, the same one each time, after each round that it has run.

        With `last` only the output of the last round has a gradient.
        """
        one_pass, known = self._pass(None), self._known(args, kwargs)
        state: State | None = None
        for left in range(rounds, 0, -1):
            one_pass.run(args, kwargs, self._changes(state, known), self._learns(), known.presences)
            yield one_pass
            if left > 1:
                state = one_pass.state(known.state_mask)
                beyond = left - 1 - (self.gradient_rounds or rounds)
                state = state.each(torch.detach) if beyond == 0 or (last and beyond > 0) else state

    def _converged(self, args: Any, kwargs: Any) -> Any:
        """Returns what the module returns at the state that another round leaves as it is."""
        search = self._search()
        search.refuse_export()
        replay = Replay(self.module, self.reuse, [*tensors((args, kwargs)), *self.parameters()])
        one_pass, known = self._pass(replay), self._known(args, kwargs)

        def run(state: State | None) -> tuple[Any, State]:
            learns = self._learns() if torch.is_grad_enabled() else ()
            one_pass.run(args, kwargs, self._changes(state, known), learns, known.presences)
            return one_pass.output, one_pass.state(known.state_mask)

        return converged(run, replay, search, jointly=rows_are_one_system(self.module, self.reuse))

    def _search(self) -> Search:
        return Search(WHERE, self.max_rounds, self.tolerance, self.damping)

    def _pass(self, replay: Replay | None) -> Pass:
        refuse_quantised(self)
        return Pass(self.module, self.entries, self._reader(), self.reuse, replay)

    def _reader(self) -> StateReader:
        layer = layer_of(self.module, self.state_layer, "state")
        return StateReader(layer, self.state_layer, self.state_of, self.state_axis, self.kind.attends)

    def _learns(self) -> list[bool]:
        return [self.training and any(p.requires_grad for p in f.parameters()) for f in self.feedbacks.values()]

    def _known(self, args: Any, kwargs: Any) -> _Known:
        call = (self.module, args, kwargs)
        return _Known(
            real_in(self.state_mask, "state_mask", *call),
            [real_in(entry.mask, "mask", *call) for entry in self.entries],
            [presence_in(entry.present, entry.branch, *call) for entry in self.entries],
        )

    def _changes(self, state: State | None, known: _Known) -> Callable[[int, Any], Any]:
        """Returns what feedback of `state`, None before the first round, makes of the tensor at an entry."""
        feedbacks: list[Any] = list(self.feedbacks.values())
        if state is None and self.start is not None:
            state = State(self.start)

        def change(index: int, x: Any) -> Any:
            if state is None:  # a zero state, at which every feedback is the identity
                return x
            here = (known.masks[index], known.presences[index])
            return self.entries[index].change(feedbacks[index], x, state, self.state_layer, *here)

        return change
