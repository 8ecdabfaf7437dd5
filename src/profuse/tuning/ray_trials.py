"""What a worker of Ray does for a search: it fits and judges a trial, and asks at its steps whether it ends early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from profuse.cluster.worker import Done, Shared, done, file_here, folder_here
from profuse.models.solved import Solved
from profuse.training.fitting import Prepared
from profuse.tuning.trial import Outcome, Tried, Under, judge

__all__ = ["Key", "board_class", "judge_there"]

Key = tuple[str, int]
"""The fusion and the number of a trial."""


def board_class(ray: Any) -> Any:
    """Returns the class of the actor between trials and who keeps the search; by value, so that it loads no torch."""

    @ray.remote
    class Board:
        def __init__(self) -> None:
            import asyncio

            self._open: dict[tuple[Key, int], tuple[float, Any]] = {}
            self._some = asyncio.Event()

        async def ask(self, key: Key, step: int, error: float) -> bool:
            """Returns, once `answer` knows, whether a trial ends at this step; by its validation error."""
            import asyncio

            answer = asyncio.get_running_loop().create_future()
            self._open[key, step] = error, answer
            self._some.set()
            return bool(await answer)

        async def asked(self) -> list[tuple[Key, int, float]]:
            """Returns what is not answered, as soon as something is not."""
            await self._some.wait()
            if not self._open:
                self._some.clear()
            return [(key, step, error) for (key, step), (error, _) in self._open.items()]

        async def answer(self, key: Key, step: int, ends: bool) -> None:
            """Lets the trial go on, or has it end."""
            _, answer = self._open.pop((key, step), (0.0, None))
            if not self._open:
                self._some.clear()
            if answer is not None and not answer.done():
                answer.set_result(ends)

        async def release(self) -> None:
            """Has `asked` return, though nothing was asked."""
            self._some.set()

    return Board


def judge_there(
    key: Key, tried: Tried, under: Under, shared: Shared, parts: list[Any], board: Any, what: str = "parts"
) -> Done:
    """Does a trial in a worker.

    Args:
        key: Of the trial.
        tried: What it tries.
        under: What holds for all trials, but for the rows.
        shared: What all trials need to know.
        parts: A reference to the pickled rows.
        board: Is asked.
        what: The file of the rows is called.
    """
    return done(lambda: _judged(key, tried, under, shared, parts[0], board, what), shared.who)


def _judged(key: Key, tried: Tried, under: Under, shared: Shared, parts: Any, board: Any, what: str) -> Outcome:
    import ray

    path = folder_here(shared) / what

    def solving(rows: Sequence[Prepared]) -> list[Prepared]:
        return [part.sharing(Solved(path.with_suffix(f".{i}.solved"))) for i, part in enumerate(rows)]

    under = replace(under, parts=_loaded(file_here(path, parts, solving)))
    return judge(tried, under, lambda step, error: bool(ray.get(board.ask.remote(key, step, error))))


@lru_cache(maxsize=1)
def _loaded(path: Path) -> list[Prepared]:
    """Returns the rows in a temporary file of this very run; the next trial in this worker finds them here."""
    import pickle

    rows: list[Prepared] = pickle.loads(path.read_bytes())
    return rows
