"""A Ray that does everything at once in this very process: what is asked of a cluster, seen without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

__all__ = ["FakeRay", "Ref"]


class Lost(Exception):
    """Stands for all errors of Ray."""


@dataclass(eq=False)
class Ref:
    """A value in the store, or why there is none."""

    value: Any = None
    error: Exception | None = None


@dataclass(eq=False)
class FakeRay:
    """A cluster of machines that have `nodes`, each with a number of CPU, GPU and bytes of memory.

    Attributes:
        lost: Names of tasks whose workers always die.
        asked: By the name of a task, what was asked for it.
        most: Tasks that were under way at a time.
        cancelled: Names of tasks that were.
    """

    nodes_: Sequence[dict[str, float]]
    lost: tuple[str, ...] = ()
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    most: int = 0
    cancelled: list[str] = field(default_factory=list)
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
        return ref.value

    def wait(self, refs: list[Ref], num_returns: int = 1, **_: Any) -> tuple[list[Ref], list[Ref]]:
        for ref in refs[:num_returns]:
            self._open.pop(ref, None)
        return refs[:num_returns], refs[num_returns:]

    def cancel(self, ref: Ref, *, force: bool) -> None:
        self.cancelled.append(self._open[ref])

    def kill(self, actor: Any) -> None:
        pass

    def remote(self, made: Callable[..., Any]) -> Any:
        return SimpleNamespace(options=lambda **asked: SimpleNamespace(remote=self._started(made, asked)))

    def _started(self, made: Callable[..., Any], asked: dict[str, Any]) -> Callable[..., Any]:
        def start(*args: Any) -> Any:
            values = [arg.value if isinstance(arg, Ref) else arg for arg in args]
            if isinstance(made, type):
                return _Actor(made(*values))
            name = asked.get("name", "")
            ref = Ref(error=Lost("The worker died.\nIts log: ...")) if name in self.lost else Ref(made(*values))
            if name:
                self.asked[name] = asked
                self._open[ref] = name
                self.most = max(self.most, len(self._open))
            return ref

        return start


class _Actor:
    def __init__(self, held: Any) -> None:
        self._held = held

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *args: Ref(getattr(self._held, name)(*args)))
