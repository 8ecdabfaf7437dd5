"""Progressive Fusion around a module of someone else's: its layers are met from outside, its code stays as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from profuse.errors import ConfigError, ProfuseWarning
from profuse.progressive._anytime import Anytime, Settling
from profuse.progressive._equilibrium import Search
from profuse.progressive._feedback import Feedback
from profuse.progressive.rounds import Rounds
from profuse.progressive.wrap._calls import tensors
from profuse.progressive.wrap._checks import (
    check_arguments,
    check_numbers,
    check_places,
    feedback_class,
    fit_example,
    running_the_example,
)
from profuse.progressive.wrap._entry import WHERE, declared_sizes, entries_of, layer_of, weights_like
from profuse.progressive.wrap._layers import Layout, Side, layout_of, layout_within
from profuse.progressive.wrap._mask import Mask, Padding, check_mask, padding_in
from profuse.progressive.wrap._options import Returns, Start, checked_rounds
from profuse.progressive.wrap._pass import Pass, changed, evaluating, quietly, versions
from profuse.progressive.wrap._replay import Replay, rows_are_one_system
from profuse.progressive.wrap._rest import at_rest
from profuse.progressive.wrap._signature import SignatureOf
from profuse.progressive.wrap._state import State, StateOf, pick, pool, prediction
from profuse.progressive.wrap._trial import Trial

__all__ = ["WrappedProgressive"]


class WrappedProgressive(nn.Module):
    """Runs `module` in rounds: what the layer `state` gives in round t changes what the layers `into` take in t + 1.

    Made by `ProgressiveFusion.wrap`. It is called as the module is, and returns what the module returns in the last
    round, or in each. Layers are met only while it runs: called by itself, `module` is what it was.

    Args:
        module: Any module; it is used, not copied, and its code is not changed.
        into: For each branch the name of the layer that receives feedback, or several, as `module.named_modules()`
            tells them. A layer that is called several times in a pass receives it each time.
        state: The layer whose output is the fused state; it is called once in a pass, after those of `into`.
        rounds: How often the module runs, at least 1; 1 is the module. "equilibrium": until the state comes to rest,
            with the gradient of the state at rest. May be set anew at any time.
        feedback: A name of `FEEDBACKS`, or a `Feedback` class.
        at: Whether feedback changes the "input" of a layer or its "output", the first floating tensor in it; by
            branch if a mapping.
        example: What the module is called with: a tuple of positional arguments, or the only one. It runs two times
            on it, in evaluation mode with gradients on, to learn sizes, axes and what can be reused, and whether
            feedback has an effect. Without it, sizes are read off the layers where their types tell them (Linear,
            Conv, LSTM, ...).
        example_kwargs: Keyword arguments of the example.
        channel_axis: Which axis of what feedback changes holds the channels; by branch if a mapping. If None, the
            layers that take or give the same tensor tell.
        batch_axis: Which axis of it holds the batch, likewise.
        folded: Branches whose rows are batch times something, batch outermost, as `flatten(0, 1)` makes them (frames
            of a video): a row's state goes to each. The state must have a row for each of the batch.
        state_of: The fused state in the output of its layer: a key or attribute, an index, or a function of the
            output. If None, the only floating tensor, in a tuple or list the first.
        state_axis: Which axis of the state holds the channels; the mean is taken over those that are neither batch
            nor channels. If None, the layers tell.
        mask: Which positions of a branch are real, where others are padding, which feedback then leaves as it is; by
            branch. The name of an argument of the module's forward, or a function that is called as the module is:
            `[row]` or `[row, position]`, True or 1 where it is real (a `key_padding_mask` is the contrary). Packed
            and nested inputs hold nothing but what is real.
        state_mask: Likewise of the fused state, which is then the mean of what is real, and zero where nothing is.
        returns: What a call returns: what the module returns in the "last" round, or a tuple of what it returns in
            "all", for a loss on each; in equilibrium, of the one at rest. May be set anew at any time.
        start: The state before round one: "zero", or "learned", one vector for all rows.
        gradient_rounds: How many of the last rounds the gradient of the last output goes through, at least 1; all if
            None. Those before then cost no memory, unless the outputs of all rounds are asked for.
        reuse: Whether outputs of layers below the feedback are kept for later rounds: True finds them, False runs
            everything in each round, names of layers keep only those. `reused` tells which. Layers with hooks run in
            each round.
        max_rounds: Equilibrium: how often the state is computed, at most, and as often at most for the gradient.
        tolerance: Equilibrium: the state rests in a row where another round changes it by no more than this part of its
            length.
        damping: Equilibrium: how far each step goes, over 0 to 1.

    Warns:
        ProfuseWarning: Equilibrium: the state of some rows has not come to rest, or rows depend on each other. A
            branch is detached from what it is fused to, so that its feedback cannot learn.

    Raises:
        ConfigError: Unknown values, layers that did not run or in the wrong order, sizes that cannot be known, a change
            without effect, a state that is changed in place.
        UnknownNameError: A layer that is not there; the nearest names are told.
        ShapeError: State and branch do not fit; the message tells layers and shapes.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        into: Mapping[str, str | Sequence[str]],
        state: str,
        rounds: Rounds = 2,
        feedback: str | type[Feedback] = "scale_shift",
        at: Side | Mapping[str, Side] = "input",
        example: Any = None,
        example_kwargs: Mapping[str, Any] | None = None,
        channel_axis: int | Mapping[str, int] | None = None,
        batch_axis: int | Mapping[str, int] | None = None,
        folded: Sequence[str] = (),
        state_of: StateOf = None,
        state_axis: int | None = None,
        mask: Mapping[str, Mask] | None = None,
        state_mask: Mask | None = None,
        returns: Returns = "last",
        start: Start = "zero",
        gradient_rounds: int | None = None,
        reuse: bool | Sequence[str] = True,
        max_rounds: int = 50,
        tolerance: float = 1e-4,
        damping: float = 1.0,
    ) -> None:
        super().__init__()
        check_arguments(module, into, state)
        check_numbers(gradient_rounds, state_axis, max_rounds, tolerance, damping)
        check_places(channel_axis, batch_axis, folded, reuse)
        feedback = feedback_class(feedback)
        self._rounds = checked_rounds(rounds, start, returns, gradient_rounds)
        self.returns = returns
        self.max_rounds = max_rounds
        self.tolerance = tolerance
        self.damping = damping
        self._search()
        self.module = module
        if hasattr(module, "accepts_loss_kwargs"):  # what Hugging Face's Trainer asks of a model
            self.accepts_loss_kwargs = module.accepts_loss_kwargs
        self.entries = entries_of(module, into, at, (batch_axis, channel_axis), folded, mask)
        self.state_layer = state
        self.state_of = state_of
        self.state_axis = state_axis
        if state_mask is not None:
            check_mask(state_mask, "state_mask")
        self.state_mask = state_mask
        self.gradient_rounds = gradient_rounds
        layer_of(module, state, "state")
        # None: not yet known how its axes, and those of the entries, lie
        self._layout: Layout | None = None
        # None: not yet known which layers can be reused
        self._reused = self._named_for_reuse(reuse)
        seen: list[Tensor] = []
        if example is None and example_kwargs is None:
            widths = declared_sizes(module, self.entries, state)
        else:
            args, kwargs = fit_example(module, example, example_kwargs)
            with running_the_example(module):
                widths, seen = self._learned(args, kwargs)
        *widths, self.state_width = widths
        self.entries = tuple(replace(e, n_channels=w) for e, w in zip(self.entries, widths, strict=True))
        made = [
            feedback(e.n_channels, self.state_width).to(weights_like(module, e.layer, x))
            for e, x in zip_longest(self.entries, seen)
        ]
        self.feedbacks = nn.ModuleDict({e.key(f): f for e, f in zip(self.entries, made, strict=True)})
        first = torch.zeros(self.state_width).to(weights_like(module, state))
        self.start = nn.Parameter(first) if start == "learned" else None

    @property
    def rounds(self) -> Rounds:
        """How often the module runs."""
        return self._rounds

    @rounds.setter
    def rounds(self, rounds: Rounds) -> None:
        start = "zero" if self.start is None else "learned"
        self._rounds = checked_rounds(rounds, start, self.returns, self.gradient_rounds)

    @property
    def reused(self) -> tuple[str, ...]:
        """The layers that run once a batch and not once a round, where their inputs allow; see `reuse`."""
        return self._reused or ()

    def unwrap(self) -> nn.Module:
        """Returns the module, which is as it was but for what training changed in its parameters."""
        return self.module

    def extra_repr(self) -> str:
        into = ", ".join(f"{e.branch}: {e} ({e.n_channels} channels)" for e in self.entries)
        return f"into=({into}), state={self.state_layer!r} ({self.state_width} channels), rounds={self.rounds}"

    @SignatureOf
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the module returns in the last round, or with `returns="all"` what `all_rounds` does."""
        return self.all_rounds(*args, **kwargs) if self.returns == "all" else self._last_round(args, kwargs)

    def _last_round(self, args: Any, kwargs: Any) -> Any:
        if self.rounds == "equilibrium":
            return self._at_rest(args, kwargs)
        if self.rounds == 1 and self.start is None:
            return self.module(*args, **kwargs)
        *_, one_pass = self._each_round(args, kwargs, self.rounds, last=True)  # the pass keeps what the last one gave
        return one_pass.output

    def all_rounds(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Returns what the module returns in each round; in equilibrium what it returns at rest, alone."""
        if self.rounds == "equilibrium" or self.rounds == 1:
            return (self._last_round(args, kwargs),)
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

        Args:
            args: For the module.
            rounds: How many, at most; those of the wrapper if None (`max_rounds` in equilibrium).
            tolerance: A row whose prediction changes by no more than this, in any number, from one round to the next
                has settled, and keeps its prediction. None: no row settles.
            outputs: The prediction `[batch, ...]` in what the module returns: a key or attribute, an index, or a
                function of it. If None, the only floating tensor.
            kwargs: For the module; those named as an argument above must be given by position.

        Raises:
            ConfigError: No round, a tolerance below 0, or several tensors that could be the prediction.
            ShapeError: The prediction is no floating tensor with a row for each of the batch.
        """
        if rounds is None:
            rounds = self.max_rounds if self.rounds == "equilibrium" else self.rounds
        settling = Settling(tolerance, rounds, where=WHERE)
        with evaluating(self):
            for one_pass in self._each_round(args, kwargs, rounds):
                n_rows = len(self._state_in(one_pass).vector)
                predictions = prediction(one_pass.output, outputs, n_rows, type(self.module).__name__)
                goes_on = settling.add(predictions[settling.open] if settling.predictions else predictions)
                if not goes_on.any():
                    break
        return settling.result()

    def _each_round(self, args: Any, kwargs: Any, rounds: int, *, last: bool = False) -> Iterator[Pass]:
        """Yields the pass, the same one each time, after each round that it has run.

        With `last` only the output of the last round has a gradient.
        """
        self._learn_once(args, kwargs)
        one_pass = Pass(self.module, self.entries, self.state_layer)
        kept, learns, padding = self._kept(), self._learns(), self._padding(args, kwargs)
        given = versions((args, kwargs))
        state: State | None = None
        for left in range(rounds, 0, -1):
            one_pass.run(args, kwargs, self._changes(state, padding), kept, learns)
            self._check_inputs(given)
            yield one_pass
            if left > 1:
                state = self._state_in(one_pass, padding.state)
                beyond = left - 1 - (self.gradient_rounds or rounds)
                state = state.detached() if beyond == 0 or (last and beyond > 0) else state

    def _at_rest(self, args: Any, kwargs: Any) -> Any:
        """What the module returns at the state that another round leaves as it is."""
        search = self._search()
        search.refuse_export()
        self._learn_once(args, kwargs)
        kept, learns, padding = self._kept(), self._learns(), self._padding(args, kwargs)
        replay = Replay(self, kept, [*tensors((args, kwargs)), *self.parameters()])
        one_pass = Pass(self.module, self.entries, self.state_layer, replay)
        given = versions((args, kwargs))

        def run(state: State | None) -> tuple[Any, State]:
            grad = torch.is_grad_enabled()
            one_pass.memory.any_grad = not grad
            one_pass.run(args, kwargs, self._changes(state, padding), kept, learns if grad else ())
            self._check_inputs(given)
            return one_pass.output, self._state_in(one_pass, padding.state)

        by_token = any(isinstance(feedback, Feedback) and feedback.attends for feedback in self.feedbacks.values())
        return at_rest(run, replay, search, by_token=by_token, jointly=rows_are_one_system(self, kept))

    def _search(self) -> Search:
        return Search(WHERE, self.max_rounds, self.tolerance, self.damping)

    def _learn_once(self, args: Any, kwargs: Any) -> None:
        """Learns axes and what can be reused, where they are not known yet and can be."""
        reused = self._reused is not None or torch.is_inference_mode_enabled()
        if not (reused and self._layout) and not torch.compiler.is_compiling():
            self._learned(args, kwargs)

    def _kept(self) -> list[nn.Module]:
        return [layer_of(self.module, name, "reuse") for name in self.reused]

    def _learns(self) -> list[bool]:
        return [self.training and any(p.requires_grad for p in f.parameters()) for f in self.feedbacks.values()]

    def _padding(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Padding:
        return padding_in(self.module, args, kwargs, [entry.mask for entry in self.entries], self.state_mask)

    def _state_in(self, one_pass: Pass, real: Tensor | None = None) -> State:
        output = one_pass.state
        picked = pick(output, self.state_of, self.state_layer)
        layer = layer_of(self.module, self.state_layer, "state")
        layout = self._layout or layout_within(layer, "output", output, picked)
        return pool(picked, layout, self.state_axis, real)

    def _check_inputs(self, given: list[tuple[Tensor, int]]) -> None:
        if changed(given):
            raise ConfigError(
                f"{WHERE}: the module must not change its inputs in place; {type(self.module).__name__} does, and "
                "each round would do it again. Copy them at the beginning of its forward."
            )

    def _changes(self, state: State | None, padding: Padding) -> Callable[[int, Any], Any]:
        """Returns what feedback of `state`, None before the first round, makes of the tensor at an entry."""
        feedbacks: list[Any] = list(self.feedbacks.values())

        def change(index: int, x: Any) -> Any:
            entry, at = self.entries[index], state
            if at is None:
                if self.start is None:  # a zero state, at which every feedback is the identity
                    return x
                at = State(self.start.expand(entry.size(x)[0], -1))
            return entry.change(feedbacks[index], x, at, self.state_layer, padding.entries[index])

        return change

    def _named_for_reuse(self, reuse: bool | Sequence[str]) -> tuple[str, ...] | None:
        if isinstance(reuse, bool):
            return None if reuse else ()
        for name in reuse:
            within = set(layer_of(self.module, name, "reuse").modules())
            if name not in self._reusable():
                raise ConfigError(
                    f"{WHERE}: reuse must not reach into another WrappedProgressive; got reuse={name!r}. Name that one."
                )
            for entry in self.entries:
                layer = layer_of(self.module, entry.layer, "layer")
                if layer in within and not (entry.layer == name and entry.at == "output"):
                    raise ConfigError(
                        f"{WHERE}: reuse must name layers below the feedback; got reuse={name!r}, and the {entry} is "
                        "within it. Name the layers before it."
                    )
        return tuple(reuse)

    def _reusable(self) -> dict[str, nn.Module]:
        """All layers but those within another `WrappedProgressive`, whose feedback would be left out with them."""
        layers = {name: layer for name, layer in self.module.named_modules(remove_duplicate=False) if name}
        inner = [f"{name}." for name, layer in layers.items() if isinstance(layer, WrappedProgressive)]
        if isinstance(self.module, WrappedProgressive):
            return {}
        return {name: layer for name, layer in layers.items() if not name.startswith(tuple(inner))}

    def _learned(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[int], list[Tensor]]:
        """Runs the module twice, learns axes and what can be reused, and returns as `declared_sizes` does."""
        layers = list(dict.fromkeys(self._reusable().values()))
        with quietly(self.module, (args, kwargs)) as alike:
            trial = Trial(self.module, self.entries, self.state_layer, args, kwargs)
            with alike():
                met = trial.as_it_is(layers)
                calls = trial.one_pass.memory.calls
                seen = [x.data if isinstance(x, PackedSequence) else x for x in met]
                self.entries = tuple(
                    replace(e, layout=layout_of(x, calls)) for e, x in zip(self.entries, seen, strict=True)
                )
                picked = pick(trial.one_pass.state, self.state_of, self.state_layer)
                self._layout = layout_of(picked, calls)
                padding = self._padding(args, kwargs)
                state = self._state_in(trial.one_pass, padding.state)
                sizes = [entry.size(x) for entry, x in zip(self.entries, met, strict=True)]
                for entry, x, (n_rows, _), real in zip(self.entries, met, sizes, padding.entries, strict=True):
                    entry.rows_of(state, n_rows, self.state_layer)
                    if isinstance(x, Tensor) and not x.is_nested:
                        entry.real(entry.rowwise(x), real)
                unlearned = trial.disturbed(layers)
            told = []
            for index in unlearned if len(state.vector) else ():
                with alike():
                    told.append(trial.check_effect(index))
            for entry, x in zip(self.entries, met, strict=True):
                if entry.folded:
                    with alike():
                        trial.check_rows(entry, x, state, lambda one_pass: self._state_in(one_pass, padding.state))
        if self._reused is None and not torch.is_inference_mode_enabled():
            hits = trial.one_pass.memory.hits
            self._reused = tuple(sorted(name for name, layer in self.module.named_modules() if layer in hits))
        for message in filter(None, told):
            warnings.warn(message, ProfuseWarning, stacklevel=4)
        return [*(width for _, width in sizes), state.vector.shape[1]], seen
