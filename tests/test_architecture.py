"""The rules of the house, read off the syntax tree of every file, and what a fresh process loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "profuse"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))

# From the bottom up: a module imports from rows above its own only; those of one row never meet.
LAYERS = (
    ("errors",),
    ("_cache", "_cores", "_escape", "_files", "_json", "_lookup", "_machine", "_optional", "_part_kinds", "_saving"),
    ("_folder", "_html", "_members", "registry"),
    ("_fields", "_options", "_weights", "_workers", "_yaml"),
    ("tokens",),
    ("kinds",),
    ("models.levels", "schema"),
    ("metrics",),
    ("data",),
    ("kinds.*",),
    ("layers",),
    ("encoders", "fusion", "heads", "datasets", "classical"),
    ("models.linear_paths", "models.trainable"),
    ("models.fusion_model",),
    ("progressive",),
    ("models.options",),
    ("models",),
    ("training.averaging", "training.balance", "training.messages", "training.optimizer"),
    ("portfolio.options", "training.options"),
    ("cluster.options", "comparison.options"),
    ("training.history", "training.groups", "training.world"),
    ("training.sharding",),
    ("training.batches", "training.step", "training.keeping"),
    ("training.balanced", "training.callbacks", "training.choosing", "training.keeper"),
    ("training.loop",),
    ("predictor",),
    ("training",),
    ("cluster", "inspect"),
    ("testing",),
    ("portfolio",),
    ("comparison",),
    ("report",),
    ("inputs",),
    ("estimators", "retrieval", "imputation", "tuning", "streaming"),
    ("comparison.compare", "portfolio.fit"),
    ("comparison.shards",),
    ("cli",),
    ("__main__",),
)
HEIGHT = {module: height for height, row in enumerate(LAYERS) for module in row}
HEIGHT |= {  # the files of kinds of modality lie above the data that they read; what is known of all kinds lies below
    f"kinds.{path.stem}": HEIGHT["kinds.*"] for path in (SOURCE / "kinds").glob("[a-z]*.py")
}
FRONT_DOOR = "__init__"
"""`profuse/__init__.py` may name everything; that it loads nothing heavy is tested in a fresh process."""


def unit(path: str) -> str:
    """`"fusion/_base.py"` -> `"fusion"`: the longest name with a row of its own, else the one right below `profuse`."""
    return unit_of(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))


def unit_of(name: str) -> str:
    parts = name.split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((n for n in names if n in HEIGHT), parts[0])


def imported(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, at any depth of the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "." * node.level + (node.module or "")
        elif isinstance(node, ast.ImportFrom) and node.module == "profuse":
            yield from ((node.lineno, f"profuse.{name.name}") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def climbs(path: str, tree: ast.Module) -> list[str]:
    here, faults = unit(path), []
    if here != FRONT_DOOR and here not in HEIGHT:
        return [f"{here} has no row in LAYERS"]
    for line, name in imported(path, tree):
        if name.startswith("."):
            faults.append(f"line {line}: {name} must be imported by its whole name")
        if here == FRONT_DOOR or not (name == "profuse" or name.startswith("profuse.")):
            continue
        there = unit_of(name.removeprefix("profuse").removeprefix(".") or FRONT_DOOR)
        if there != here and HEIGHT.get(there, len(LAYERS)) >= HEIGHT[here]:
            faults.append(f"line {line}: {here} must not import {there}")
    return faults


def borrows_what_is_private(path: str, tree: ast.Module) -> list[str]:
    me = path.removesuffix(".py").split("/")
    faults = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("profuse."):
            continue
        module = str(node.module).split(".")[1:]
        for name in node.names:
            parts = [*module, name.name]
            # a `_module` right below profuse is everybody's; any other belongs to its own package
            private = [i for i, part in enumerate(parts) if part.startswith("_") and i > 0]
            if private and parts[: private[0]] != me[: private[0]]:
                faults.append(f"line {node.lineno}: {'.'.join(parts)} is private to {'.'.join(parts[: private[0]])}")
    return faults


def has_no_docstring(path: str, tree: ast.Module) -> list[str]:
    return [] if ast.get_docstring(tree) else ["the file must begin with a docstring"]


def prints(path: str, tree: ast.Module) -> list[str]:
    names = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return [f"line {n.lineno}: print" for n in names if n.id == "print" and unit(path) != "cli"]


OWN_OUTPUT = ("cli/_print.py", "cli/_progress.py")


def prints_past_the_escape(path: str, tree: ast.Module) -> list[str]:
    called = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    names = [(n.lineno, n.attr) for n in called if isinstance(n, ast.Attribute)]
    names += [(n.lineno, n.id) for n in called if isinstance(n, ast.Name)]
    return [
        f"line {line}: {name} must be profuse.cli._print.say, which makes text of the data visible"
        for line, name in names
        if name in ("echo", "secho", "print")
        and unit(path) == "cli"
        and path not in ("cli/_print.py", "cli/_progress.py")
    ]


def _is_ellipsis(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def swallows(path: str, tree: ast.Module) -> list[str]:
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            silent = all(isinstance(n, ast.Pass) or _is_ellipsis(n) for n in node.body)
            if node.type is None or silent:
                faults.append(f"line {node.lineno}: an except must name what it catches and do something")
    return faults


def exports_wrongly(path: str, tree: ast.Module) -> list[str]:
    if path == "__main__.py":
        return []
    given: ast.expr | None = None
    defined: set[str] = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {t.id for t in targets if isinstance(t, ast.Name)}
        if "__all__" in names and isinstance(node, ast.Assign | ast.AnnAssign):
            given = node.value
        defined |= names | {getattr(node, "name", "")}
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
    names_in_all = _listed(given)
    if given is None and any(isinstance(n, ast.ClassDef | ast.FunctionDef) for n in tree.body):
        return ["a file that defines something must have __all__"]
    lazy = "__getattr__" in defined  # names are loaded on demand
    return [f"__all__ names {n}, which is not there" for n in sorted(names_in_all - defined) if not lazy]


def _listed(value: ast.expr | None) -> set[str]:
    if isinstance(value, ast.List | ast.Tuple):
        return {e.value for e in value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)}
    return set()


def has_a_vague_name(path: str, tree: ast.Module) -> list[str]:
    vague = {"utils", "common", "helpers", "misc", "util", "shared"}
    return [f"{part} says nothing" for part in path.removesuffix(".py").split("/") if part.lstrip("_") in vague]


FACTORIES = ("arange", "empty", "eye", "full", "linspace", "logspace", "ones", "tensor", "zeros")


def holds_a_tensor_anywhere(path: str, tree: ast.Module) -> list[str]:
    """A module may be imported first where models are made on the device `meta`: a constant says its own device."""
    return [
        f"line {call.lineno}: a tensor made on import must have device='cpu'"
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and (call.func.value.id, call.func.attr in FACTORIES) == ("torch", True)
        and "device" not in {keyword.arg for keyword in call.keywords}
    ]


RULES: dict[str, Callable[[str, ast.Module], list[str]]] = {
    rule.__name__: rule
    for rule in (
        climbs,
        borrows_what_is_private,
        has_no_docstring,
        prints,
        prints_past_the_escape,
        swallows,
        exports_wrongly,
        has_a_vague_name,
        holds_a_tensor_anywhere,
    )
}


@cache
def text_of(path: str) -> str:
    return (SOURCE / path).read_text(encoding="utf-8")


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse(text_of(path))


@pytest.mark.parametrize("rule", RULES)
def test_no_file_breaks_the_rule(rule: str) -> None:
    faults = {path: RULES[rule](path, tree_of(path)) for path in FILES}
    assert {path: lines for path, lines in faults.items() if lines} == {}


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {path: len(text_of(path).splitlines()) for path in FILES}
    assert {path: n for path, n in lengths.items() if n > 400} == {}


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        ("climbs", "encoders/new.py", "from profuse.fusion import Fusion"),
        ("climbs", "encoders/new.py", "def f():\n    import profuse.models.fusion_model"),
        ("climbs", "tokens.py", "from profuse import schema"),
        ("climbs", "data/new.py", "import profuse"),
        ("climbs", "data/new.py", "from . import read"),
        ("climbs", "surprise.py", ""),
        ("borrows_what_is_private", "imputation/new.py", "from profuse.data.preprocess._base import x"),
        ("borrows_what_is_private", "imputation/new.py", "from profuse.data.preprocess import _base"),
        ("borrows_what_is_private", "data/new.py", "from profuse.data.preprocess import _base"),
        ("borrows_what_is_private", "imputation/new.py", "def f():\n    from profuse.heads import _secret"),
        ("has_no_docstring", "model.py", "x = 1"),
        ("prints", "train.py", "print('epoch')"),
        ("prints_past_the_escape", "cli/show.py", "typer.echo(name)"),
        ("prints_past_the_escape", "cli/show.py", "print(name)"),
        ("swallows", "train.py", "try:\n    x = 1\nexcept ValueError:\n    pass"),
        ("swallows", "train.py", "try:\n    x = 1\nexcept:\n    x = 2"),
        ("exports_wrongly", "model.py", "def f(): ..."),
        ("exports_wrongly", "model.py", "__all__ = ['g']\ndef f(): ..."),
        ("has_a_vague_name", "data/_utils.py", ""),
        ("holds_a_tensor_anywhere", "layers/new.py", "STEPS = torch.linspace(0, 1, 9)"),
    ],
)
def test_the_rule_catches_what_breaks_it(rule: str, path: str, text: str) -> None:
    assert len(RULES[rule](path, ast.parse(text))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (
            "climbs",
            "models/fusion_model.py",
            "import torch\nfrom profuse.fusion import Fusion\nfrom profuse.errors import ConfigError",
        ),
        ("borrows_what_is_private", "data/preprocess/new.py", "from profuse.data.preprocess import _base"),
        ("borrows_what_is_private", "data/preprocess/new.py", "from profuse._files import read_source"),
        ("climbs", "__init__.py", "from profuse.cli import main"),
        ("prints", "cli/show.py", "print('here it may')"),
        ("holds_a_tensor_anywhere", "layers/new.py", "STEPS = torch.linspace(0, 1, 9, device='cpu')"),
        ("holds_a_tensor_anywhere", "layers/new.py", "def f(): return torch.linspace(0, 1, 9)"),
        ("prints", "train.py", "console.print('a method is something else')"),
        ("exports_wrongly", "model.py", "from x import f\n__all__ = ['f', 'g']\ng: int = 1"),
    ],
)
def test_the_rule_lets_pass_what_keeps_it(rule: str, path: str, text: str) -> None:
    assert RULES[rule](path, ast.parse(text)) == []


def module_of(path: str) -> str:
    return ".".join(["profuse", *path.removesuffix(".py").removesuffix("__init__").strip("/").split("/")]).strip(".")


def needs(path: str) -> set[str]:
    """The modules that a file imports when it runs, at any depth; of `from package import module` the module."""
    known = {module_of(other) for other in FILES}
    tree, found = tree_of(path), set()
    for_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {id(inner) for node in for_types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{name.name}" for name in node.names}
            found |= (whole & known) or {str(node.module)}
    return (found & known) - {module_of(path), "profuse"}


def circles(graph: dict[str, set[str]]) -> dict[str, list[str]]:
    """Takes away what imports nothing that is left, or is imported by nothing that is left; circles remain."""
    graph = {module: set(others) for module, others in graph.items()}
    free = list(graph)
    while free:
        imported = set().union(*graph.values()) if graph else set()
        free = [module for module, others in graph.items() if not others & graph.keys() or module not in imported]
        for module in free:
            del graph[module]
    return {module: sorted(others & graph.keys()) for module, others in sorted(graph.items())}


def test_no_modules_import_each_other_in_a_circle_not_even_inside_a_package() -> None:
    assert circles({module_of(path): needs(path) for path in FILES if path != "__init__.py"}) == {}


def test_a_circle_is_noticed() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert circles(graph) == {"a": ["b"], "b": ["c"], "c": ["a"]}


HEAVY = ("torch", "scipy", "sklearn", "matplotlib", "lightning_fabric")


def loaded(code: str) -> str:
    """Runs `code` in a fresh process and returns which heavy packages it loaded, and what it printed."""
    told = f"{code}\nimport sys\nprint('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_profuse_loads_nothing_heavy() -> None:
    assert loaded("import profuse") == "HEAVY []\n"


HELP = """
import runpy, sys
sys.argv = ["profuse", "--help"]
try:
    runpy.run_module("profuse", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
"""


def test_the_command_line_answers_help_and_loads_nothing_heavy() -> None:
    said = loaded(HELP)
    assert "compare" in said
    assert said.splitlines()[-1] == "HEAVY []"


def test_the_test_of_what_is_loaded_can_fail() -> None:
    assert loaded("import scipy") == "HEAVY ['scipy']\n"
