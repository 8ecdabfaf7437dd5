"""The linear paths of a model, solved before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

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
    log_weights: Tensor | None = None,
    most_rows: int | None = None,
    zeros: Callable[..., Tensor] = torch.zeros,
) -> dict[str, Raw]:
    """Solves the linear paths of an untrained model; its heads add nothing to what the paths predict.

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
        log_weights: Logarithms of the classes' mean weights, `[class]`: they are added to the outputs, as the paths
            themselves are solved with equal weights. P(class) times its weight is what a weighted loss asks for.
        most_rows: To learn from; of more rows as many are drawn, the same ones each time. No limit if None.
        zeros: Makes the tensors of all rows' contributions where rows are drawn, as `torch.zeros` does.

    Returns:
        The inputs with contributions.
    """
    if most_rows is not None and len(rows) > most_rows:
        some, judges = _drawn(rows, most_rows), None if held is None else _drawn(held, most_rows)
        index = some if judges is None else torch.cat([some, judges])
        here = torch.arange(len(index))
        cut = fit_linear(
            model,
            {name: raw.rows(index) for name, raw in inputs.items()},
            target[index],
            here[: len(some)],
            held=None if judges is None else here[len(some) :],
            like=like,
            together=None if together is None else together[index],
            solved=solved,
            log_weights=log_weights,
        )
        known = model.linear_paths.known(model.encoder_of, inputs, zeros)
        for name in model.linear_paths.sources:
            every, learned = known[name].contributions, cut[name].contributions
            assert every is not None
            assert learned is not None
            every[some] = learned[: len(some)].to(every)
        return known
    paths = model.linear_paths
    for name in paths.sources:
        model.encoder_of[name].settle_linear(inputs[name], rows)
    parts = paths.parts(model.encoder_of, inputs, None if solved is None else solved.read)
    goal = model.head.encode_target(target).reshape(len(target), -1)
    task = _Task(paths, parts, goal, rows, held, None if like is None else like.linear_paths, together, solved)
    task.solve()
    heads = {JOINT: model.head, **dict(zip(model.names, model.own_heads, strict=False))}
    for name in task.solutions:
        if log_weights is not None:
            paths.path(name).bias += log_weights.to(paths.path(name).bias)
        heads[name].begin(task.residuals(name))  # type: ignore[operator]
    return {**inputs, **{n: Raw(inputs[n].values, inputs[n].mask, task.contributions(n)) for n in parts}}


def _drawn(rows: Tensor, most: int) -> Tensor:
    """Returns at most so many of them, at random but the same each time, in their order."""
    if len(rows) <= most:
        return rows
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most].sort().values]


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
    solved: Solved | None
    cut: dict[tuple[str, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)  # each modality's own path chooses for the joint one
    solutions: dict[str, Solution] = field(default_factory=dict)  # by path's name; none where there are too few rows

    def solve(self) -> None:
        """Solves all paths, in place; modalities' own come first, as the joint path reads modalities as they do."""
        for name in sorted(self.paths.names, key=lambda n: n == JOINT):
            seen, choosing = self._index(name, self.rows), None if self.held is None else self._index(name, self.held)
            if len(seen) < 2 or (choosing is not None and not len(choosing)):
                continue
            solve = partial(self._solve, name, seen, choosing)
            solution = solve() if self.solved is None else self.solved.solution(self._key(name, seen, choosing), solve)
            self.paths.path(name).load_solution(solution.state)
            self.solutions[name] = solution

    def contributions(self, name: str) -> Tensor:
        """Returns what a modality adds to the outputs of each path that reads it: `Raw.contributions`."""
        readers = self.paths.readers(name)
        nothing = torch.zeros_like(self.goal).to(self.paths.path(readers[0]).weight)
        known = [self.solutions[n].contributions[name] if n in self.solutions else nothing for n in readers]
        return torch.stack(known, dim=1)

    def residuals(self, name: str) -> Tensor:
        """Returns what a solved path leaves of the goals that it learned from, each row solved without it."""
        path, seen = self.paths.path(name), self._index(name, self.rows)
        made = torch.stack([part[seen] for part in self.solutions[name].contributions.values()]).sum(0)
        return self.goal[seen] - made - path.bias

    def _key(self, name: str, seen: Tensor, choosing: Tensor | None) -> str:
        """Returns a key of all that the solution of a path depends on: not its name, so that models share them."""
        path = self.paths.path(name)
        made = [(n, part.n_inputs, part.n_outputs, part.candidates) for n, part in path.landmarks.items()]
        known = [x for n in path.names for x in (*self.parts[n], path.landmarks[n].natural)]
        some = None if self.together is None else self.together[seen]
        goals = self.goal[seen], None if choosing is None else self.goal[choosing]
        before: list[Tensor] = []
        if self.like is not None:
            like = self.like.path(name)
            before = [like.chosen, like.scales, torch.tensor(like.ways)]
        return key_of((path.link, made), [*known, self.rows, seen, choosing, some, *goals, *before])

    def _index(self, name: str, rows: Tensor) -> Tensor:
        """Returns the rows that a path learns from: alone, a modality learns from those that have it."""
        if name == JOINT or self.parts[name][1][rows].all():
            return rows
        return rows[self.parts[name][1][rows]]

    def _solve(self, name: str, seen: Tensor, choosing: Tensor | None) -> Solution:
        """Solves one path, in place."""
        path = self.paths.path(name)
        known = self._known(path.names, seen)
        new = None if choosing is None else self._known(path.names, choosing)
        before = None if self.like is None else self.like.path(name)
        for n in set(path.names) & set(self.solutions) - set(self.readings):  # they were solved before
            self.readings[n] = path.reading(n, known[0][n][1])
        chosen = {n: self.readings[n] for n in path.names if n in self.readings}
        if len(chosen) < len(path.names):
            chosen = path.settle(*known, held=new, like=before, settled=chosen)
            self.readings.update(chosen)
        some = None if self.together is None else self.together[seen]
        made = path.fit(*known, held=new, like=before, readings=chosen, together=some)
        contributions, rest = {}, torch.ones(len(self.goal), dtype=torch.bool)
        rest[self.rows] = False  # those that are learned from have theirs, or lack the modality
        for n in path.names:
            x, present = self.parts[n]
            contributions[n] = path.weight.new_zeros(len(x), path.weight.shape[1])
            for block in torch.split(rest.nonzero()[:, 0], BLOCK_ROWS):
                contributions[n][block] = path.contribution(n, path.landmarks[n](x[block], present[block]))
            contributions[n][seen] = made[n]
        return Solution(path.solution(), contributions)

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
