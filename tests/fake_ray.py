"""A Ray in this very process, which does tasks at once or in threads: what is asked of a cluster, seen without one."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

__all__ = ["FakeRay", "Ref"]


class Lost(Exception):
    """Stands for all errors of Ray."""


@dataclass(eq=False)
class Ref:
    """A value in the store, or why there is none; `later`: it is still to come."""

    value: Any = None
    error: Exception | None = None
    later: Future[Any] | None = None


@dataclass(eq=False)
class FakeRay:
    """A cluster of machines that have `nodes`, each with a number of CPU, GPU and bytes of memory.

    Attributes:
        lost: Names of tasks whose workers always die.
        asked: By the name of a task, what was asked for it.
        most: Tasks that were under way at a time.
        cancelled: Names of tasks that were.
        killed: How many actors were ended.
        threads: Whether tasks run in threads of their own, side by side.
        twice: Names of tasks whose first worker dies when all is done but told.
    """

    nodes_: Sequence[dict[str, float]]
    lost: tuple[str, ...] = ()
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    most: int = 0
    cancelled: list[str] = field(default_factory=list)
    threads: bool = False
    killed: int = 0
    twice: tuple[str, ...] = ()
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayError=Lost))
    _open: dict[Ref, str] = field(default_factory=dict)

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> FakeRay:
        """Stands where `import ray` looks."""
        modules = {name: ModuleType(name) for name in ("ray", "ray.util", "ray.util.scheduling_strategies")}
        vars(modules["ray"]).update({n: getattr(self, n) for n in dir(self) if not n.startswith("_")})
        modules["ray.util.scheduling_strategies"].NodeAffinitySchedulingStrategy = lambda node, soft: node  # type: ignore[attr-defined]
        for name, module in modules.items():
            monkeypatch.setitem(__import__("sys").modules, name, module)
        return self

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        nodes = [{"NodeID": f"node{i}", "Alive": True, "Resources": has} for i, has in enumerate(self.nodes_)]
        return [*nodes, {"NodeID": "gone", "Alive": False, "Resources": {"CPU": 1000.0, "memory": 1e15}}]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "node0")

    def put(self, value: Any) -> Ref:
        return Ref(value)

    def get(self, ref: Ref, timeout: float | None = None) -> Any:
        if ref.error is not None:
            raise ref.error
        return ref.value if ref.later is None else ref.later.result(60)

    def wait(
        self, refs: list[Ref], num_returns: int = 1, timeout: float | None = None, **_: Any
    ) -> tuple[list[Ref], list[Ref]]:
        coming = [ref.later for ref in refs if ref.later is not None]
        if coming:
            wait_for(coming, timeout, FIRST_COMPLETED)
            ready = [ref for ref in refs if ref.later is None or ref.later.done()][:num_returns]
            refs = ready + [ref for ref in refs if ref not in ready]
            num_returns = len(ready)
        for ref in refs[:num_returns]:
            self._open.pop(ref, None)
        return refs[:num_returns], refs[num_returns:]

    def cancel(self, ref: Ref, *, force: bool) -> None:
        self.cancelled.append(self._open[ref])

    def kill(self, actor: Any) -> None:
        actor.stop()
        self.killed += 1

    def remote(self, made: Callable[..., Any]) -> Any:
        return SimpleNamespace(options=lambda **asked: SimpleNamespace(remote=self._started(made, asked)))

    def _started(self, made: Callable[..., Any], asked: dict[str, Any]) -> Callable[..., Any]:
        def start(*args: Any) -> Any:
            values = [arg.value if isinstance(arg, Ref) else arg for arg in args]
            if isinstance(made, type):
                return _Actor(made(*values))
            name = asked.get("name", "")
            if name in self.lost:
                ref = Ref(error=Lost("The worker died.\nIts log: ..."))
            elif self.threads and name:
                ref = Ref(later=_in_thread(lambda: [made(*values) for _ in range(1 + (name in self.twice))][-1]))
            else:
                ref = Ref(made(*values))
            if name:
                self.asked[name] = asked
                self._open[ref] = name
                self.most = max(self.most, len(self._open))
            return ref

        return start


class _Actor:
    def __init__(self, held: Any) -> None:
        self._held = held

        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._turn, daemon=True)

    def _turn(self) -> None:
        assert self._loop is not None
        self._loop.run_forever()

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Ref:
            if self._stopped:
                raise Lost("The actor is dead.")
            said = getattr(self._held, name)(*args)
            if not inspect.iscoroutine(said):
                return Ref(said)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread.start()
            return Ref(later=asyncio.run_coroutine_threadsafe(said, self._loop))

        return SimpleNamespace(remote=call)

    def stop(self) -> None:
        self._stopped = True
        if self._loop is None:
            return

        async def end() -> None:
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def _in_thread(call: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
