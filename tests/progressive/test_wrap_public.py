"""The wrapper stands on torch's public interface: no private name, in no file of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import profuse.progressive.wrap

FOLDER = Path(profuse.progressive.wrap.__file__).parent
FILES = sorted(path.name for path in FOLDER.glob("*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def private_names(tree: ast.AST) -> Iterator[str]:
    """Everything private that is reached in something else than `self` or this project."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            if module.split(".")[0] != "profuse":
                names = [module, *(alias.name for alias in node.names)]
                yield from (f"line {node.lineno}: {n}" for n in names if any(map(is_private, n.split("."))))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr"):
            name = node.args[1]
            # a named tuple's fields are public, in spite of their name
            if isinstance(name, ast.Constant) and is_private(str(name.value)) and name.value != "_fields":
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("file", FILES)
def test_no_file_of_the_wrapper_uses_a_private_name_of_torch(file: str) -> None:
    tree = ast.parse((FOLDER / file).read_text(encoding="utf-8"))
    assert list(private_names(tree)) == []


@pytest.mark.parametrize(
    "source",
    [
        "layer._forward_hooks",
        "tensor._version",
        "torch._C._autograd",
        "from torch._C import x",
        "import torch._dynamo",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "getattr(layer, '_buffers')",
        "self.module._modules",
    ],
)
def test_each_way_to_a_private_name_is_seen(source: str) -> None:
    assert len(list(private_names(ast.parse(source)))) >= 1


@pytest.mark.parametrize("source", ["self._rounds", "type(x).__name__", "vars(layer)['forward']", "import torch.func"])
def test_public_names_and_those_of_the_object_itself_are_fine(source: str) -> None:
    assert list(private_names(ast.parse(source))) == []
