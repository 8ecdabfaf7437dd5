"""YAML from outside: names and plain values, no code, and never more than what stands in the file makes plausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from profuse._files import read_source
from profuse.errors import ConfigError, DataError

__all__ = ["parse_yaml", "read_yaml"]

_MOST_BYTES = 4 * 1024**2
_MOST_NODES = 200_000
"""With aliases written out: nine levels of nine aliases would be four hundred million."""
_MOST_DEPTH = 50
_MOST_DIGITS = 40


def read_yaml(path: Path, *, what: str, who: str) -> dict[str, Any]:
    """Returns the names and values in a YAML file; names are text, however they look.

    Args:
        path: The file.
        what: What it holds, for messages: "schema".
        who: Who reads it.

    Raises:
        DataError: No such file, too large a one, or no YAML.
        ConfigError: It holds something else than names and values.
    """
    if not path.exists():
        raise DataError(f"{who}: the file must exist; got {str(path)!r}. Check the path.")
    try:
        content = read_source(path)
    except DataError as error:
        raise DataError(f"{who}: {path} must be a file of YAML; {error}. Name another one.") from error
    if len(content) > _MOST_BYTES:
        raise DataError(f"{path.name}: the {what} must be at most 4 MiB long; got {len(content):,} bytes. Shorten it.")
    return parse_yaml(content, what=what, who=path.name)


def parse_yaml(content: str | bytes, *, what: str, who: str) -> dict[str, Any]:
    """Returns the names and values that `content` holds; see `read_yaml`."""
    try:
        result = _load(content if isinstance(content, str) else content.decode("utf-8-sig"))
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{who}: the {what} must be YAML; got {_told(error)}. Correct it.") from error
    if result is not None and not isinstance(result, dict):
        raise ConfigError(f"{who}: the {what} must be names and values; got a {type(result).__name__}.")
    return result or {}


def _load(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ValueError("text that is nested too deeply") from None
    except (KeyError, AttributeError, TypeError, OverflowError) as error:  # a tag that its value does not fit
        raise ValueError(f"a value that does not fit its tag ({error})") from None


def _told(error: Exception) -> str:
    """Returns what is wrong, in one line: `"expected ',' or '}' in line 2, column 5"`."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    text = " ".join(str(problem or error).split())
    return text if mark is None else f"{text} in line {mark.line + 1}, column {mark.column + 1}"


class _Loader(yaml.SafeLoader):
    """Plain YAML; where PyYAML takes the last of two equal names in silence, or reads names as dates, it does not."""

    # a date is the text that it is: nothing that is read here is one
    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, tuple[int, int]] = {}
        self._level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        self._level += 1
        if self._level > _MOST_DEPTH:
            raise ConstructorError(None, None, f"more than {_MOST_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        if node is None or id(node) in self._sizes:
            return node
        if isinstance(event, yaml.AliasEvent):
            raise ConstructorError(None, None, "an alias of what it stands in", mark)
        if isinstance(node, yaml.ScalarNode):
            parts: list[yaml.Node] = []
        else:
            parts = [p for item in node.value for p in (item if isinstance(item, tuple) else (item,))]
        sizes = [self._sizes[id(part)] for part in parts]
        size, depth = 1 + sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)
        if size > _MOST_NODES or depth > _MOST_DEPTH:
            raise ConstructorError(
                None, None, f"more than {_MOST_NODES:,} values or {_MOST_DEPTH} levels, with aliases written out", mark
            )
        self._sizes[id(node)] = size, depth
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConstructorError(None, None, "a name that is a list or a mapping", key.start_mark)
        twice = [name for name, n in Counter(key.value for key, _ in node.value).items() if n > 1]
        if twice:
            raise ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _MOST_DIGITS:
            raise ConstructorError(None, None, f"a number of {len(node.value):,} digits", node.start_mark)
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
