"""The linear paths of a model, solved before it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from profuse.layers.landmarks import Reading
from profuse.models.fusion_model import FusionModel
from profuse.models.linear_paths import BLOCK_ROWS, JOINT, LinearPaths
from profuse.models.solved import Solution, Solved, key_of
from profuse.tokens import Raw

__all__ = ["fit_linear"]


@torch.no_grad()
def fit_linear(
    model: FusionModel,
    inputs: Mapping[str, Raw],
    target: Tensor,
    rows: Tensor,
    *,
    held: Tensor | None = None,
    like: FusionModel | None = None,
    together: Tensor | None = None,
    solved: Solved | None = None,
) -> dict[str, Raw]:
    """Solves the linear paths of an untrained model; its heads start at 0, so that its outputs are those of the paths.

    A network that learned beside what the paths make of the rows they were solved on would learn beside residuals that
    are too small. So the inputs are returned with what the paths add to each row (`Raw.contributions`): to a row that
    was learned from, what the paths solved without it add; to others, what the model would compute.

    Args:
        model: Untrained.
        inputs: All rows.
        target: Of all rows, as the head's loss takes it.
        rows: Learned from.
        held: Rows that choose penalties, where rows are not independent; leave-one-out if None. See `LinearPath.fit`.
        like: A model whose penalties are taken.
        together: `[row]` numbers of all rows: those of one number are left out together; each row alone if None.
        solved: Where solutions are looked for, and kept.

    Returns:
        The inputs with contributions.
    """
    paths = model.linear_paths
    parts = paths.parts(model.encoder_of, inputs)
    goal = model.head.encode_target(target).reshape(len(target), -1)
    before = None if like is None else like.linear_paths
    task = _Task(paths, parts, goal, rows, held, before, together)
    solution = task.solve() if solved is None else solved.solution(task.key(), task.solve)
    paths.load_state_dict(solution.state)
    heads = {JOINT: model.head, **dict(zip(model.names, model.own_heads, strict=False))}
    for name in solution.names:
        for weight in heads[name].linear.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(weight)
    known = {n: Raw(inputs[n].values, inputs[n].mask, added) for n, added in solution.contributions.items()}
    return {**inputs, **known}


@dataclass(frozen=True, eq=False)
class _Task:
    """What is to be solved."""

    paths: LinearPaths
    parts: Mapping[str, tuple[Tensor, Tensor]]
    goal: Tensor
    rows: Tensor
    held: Tensor | None
    like: LinearPaths | None
    together: Tensor | None
    cut: dict[tuple[str, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def key(self) -> str:
        """Returns a key of all that the solution depends on."""
        made = [
            (
                name,
                path.link,
                [(n, part.n_inputs, part.n_outputs, part.candidates) for n, part in path.landmarks.items()],
            )
            for name in self.paths.names
            for path in (self.paths.path(name),)
        ]
        known = [x for part in self.parts.values() for x in part]
        some = None if self.together is None else self.together[self.rows]
        goals = self.goal[self.rows], None if self.held is None else self.goal[self.held]
        before: list[Tensor] = []
        for path in [] if self.like is None else [self.like.path(name) for name in self.like.names]:
            before += [path.chosen, path.scales, torch.tensor(path.frequencies)]
        return key_of(made, [*known, self.rows, self.held, some, *goals, *before])

    def _index(self, name: str, rows: Tensor) -> Tensor:
        """Returns the rows that a path learns from: alone, a modality learns from those that have it."""
        if name == JOINT or self.parts[name][1][rows].all():
            return rows
        return rows[self.parts[name][1][rows]]

    def solve(self) -> Solution:
        """Solves all paths, in place."""
        paths = self.paths
        left_out: list[tuple[str, Tensor, dict[str, Tensor]]] = []
        readings: dict[str, Reading] = {}  # each modality's own path chooses for the joint one
        for name in sorted(paths.names, key=lambda n: n == JOINT):
            path = paths.path(name)
            seen, choosing = self._index(name, self.rows), None if self.held is None else self._index(name, self.held)
            if len(seen) < 2 or (choosing is not None and not len(choosing)):
                continue  # nothing to solve: it adds nothing
            known = self._known(path.names, seen)
            new = None if choosing is None else self._known(path.names, choosing)
            before = None if self.like is None else self.like.path(name)
            chosen = {n: readings[n] for n in path.names if n in readings}
            if len(chosen) < len(path.names):
                chosen = path.settle(*known, held=new, like=before, settled=chosen)
                readings |= chosen
            some = None if self.together is None else self.together[seen]
            made = path.fit(*known, held=new, like=before, readings=chosen, together=some)
            left_out.append((name, seen, made))
        contributions, rest = {}, torch.ones(len(self.goal), dtype=torch.bool)
        rest[self.rows] = False  # those that are learned from have theirs, or lack the modality
        for n, (x, present) in self.parts.items():
            weight = paths.path(paths.readers(n)[0]).weight
            contributions[n] = weight.new_zeros(len(x), len(paths.readers(n)), weight.shape[1])
            for block in torch.split(rest.nonzero()[:, 0], BLOCK_ROWS):
                contributions[n][block] = paths.contributions(n, x[block], present[block])
            for name, seen, made in left_out:
                if n in made:
                    contributions[n][seen, paths.readers(n).index(name)] = made[n]
        state = {name: values.clone() for name, values in paths.state_dict().items()}
        return Solution(state, contributions, tuple(name for name, _, _ in left_out))

    def _known(self, names: Sequence[str], rows: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
        return {n: self._rows(n, rows) for n in names}, self.goal[rows]

    def _rows(self, name: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns rows of a part: the same tensors for the joint path and its own, so that they are read once."""
        x, present = self.parts[name]
        if rows is not self.rows and rows is not self.held:
            return x[rows], present[rows]
        if (name, id(rows)) not in self.cut:
            self.cut[name, id(rows)] = x[rows], present[rows]
        return self.cut[name, id(rows)]
