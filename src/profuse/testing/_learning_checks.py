"""What an encoder must have learned after seconds of training on the task made for its kind."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders import Encoder
from profuse.schema import Spec
from profuse.testing._subject import Subject, need
from profuse.testing._tasks import MOVABLE, TASKS, Task

__all__ = ["learns", "moved_is_known", "resolution_does_not_hurt"]

_N_STEPS = 160
_BATCH = 32
_N_TEST = 300
_LEAST = 0.85
_LOSS = 0.1


class _Trained:
    """An encoder, its tokens' mean and a linear map, trained on `task` with rows of `spec`."""

    def __init__(self, encoder: Encoder, spec: Spec, task: Task) -> None:
        self.spec, self.task = spec, task
        self.encoder, self.head = encoder.train(), nn.Linear(encoder.width, 2)
        parameters = [*self.encoder.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=5e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=_N_STEPS)
        raw, target = task(spec, _N_STEPS * _BATCH, 1, False)
        for rows in torch.split(torch.arange(len(target)), _BATCH):
            optimizer.zero_grad()
            loss: Tensor = F.cross_entropy(self.head(self.encoder(raw.rows(rows)).mean()), target[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()

    def accuracy(self, *, moved: bool = False) -> float:
        raw, target = self.task(self.spec, _N_TEST, 2, moved)
        with torch.no_grad():
            said: Tensor = self.head(self.encoder.eval()(raw).mean()).argmax(1)
        return float((said == target).double().mean())


_last: dict[tuple[type[Encoder], str, Spec], _Trained] = {}


def _trained(s: Subject, spec: Spec, task: Task) -> _Trained:
    """Returns what came of training; the last one is kept, as several checks in a row ask for the same."""
    assert s.of is not None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = s.of(spec)
        assert isinstance(encoder, Encoder)
        key = type(encoder), repr(encoder), spec
        if key not in _last:
            trained = _Trained(encoder, spec, task)
            _last.clear()
            _last[key] = trained
    return _last[key]


def _task(s: Subject, tasks: Mapping[str, Task]) -> list[tuple[Spec, Task]]:
    """Returns the encoder's sizes and the task of its kind.

    Nothing where the kind has none, or its encoder reads what the processor of a pretrained model makes.
    """
    assert s.spec is not None
    return [(s.spec, tasks[s.spec.kind])] if s.spec.kind in tasks and not s.spec.source else []


def learns(s: Subject) -> None:
    """Within seconds of training it tells two classes, which only structure tells, in 85 % of new rows."""
    for spec, task in _task(s, TASKS):
        accuracy = _trained(s, spec, task).accuracy()
        need(accuracy >= _LEAST, f"accuracy must be at least {_LEAST}; got {accuracy:.3f}.")


def moved_is_known(s: Subject) -> None:
    """What was learned at some places is known half-way between them: accuracy falls by no more than 10 points."""
    for spec, task in _task(s, MOVABLE):
        trained = _trained(s, spec, task)
        accuracy, moved = trained.accuracy(), trained.accuracy(moved=True)
        need(
            accuracy - moved <= _LOSS,
            f"accuracy must fall by at most {_LOSS} where structure is moved; got {accuracy:.3f} and {moved:.3f}.",
        )


def resolution_does_not_hurt(s: Subject) -> None:
    """Trained on the same at twice the resolution it is no worse, but for 10 points."""
    for spec, task in _task(s, MOVABLE):
        height, width = spec.image_size
        finer = spec.model_copy(update={"image_size": (2 * height, 2 * width), "max_length": 2 * spec.max_length})
        accuracy, fine = _trained(s, spec, task).accuracy(), _trained(s, finer, task).accuracy()
        need(
            accuracy - fine <= _LOSS,
            f"accuracy must fall by at most {_LOSS} at twice the resolution; got {accuracy:.3f} and {fine:.3f}.",
        )
