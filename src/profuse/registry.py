"""Every part that has a name: built in, registered in this process, or brought by an installed package.

    from profuse import register
    register("fusion", "mine", MyFusion)        # now "mine" stands wherever the name of an operator does

A package of others names its parts in entry points (group `profuse.fusions`, ...), which are read when a name is first
looked for that is not built in. Nothing is imported before it is used.
"""

from __future__ import annotations

import hashlib
import re
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import getattr_static, getdoc, getsource, isabstract, isfunction
from pathlib import Path
from typing import TypeVar, overload

from profuse._lookup import load, resolve
from profuse._part_kinds import PART_KINDS, Derived, PartKind
from profuse.errors import ConfigError

__all__ = ["PART_KINDS", "Derived", "PartKind", "Table", "part", "receive", "register", "registered", "table"]

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MEANT_OTHERWISE = ("all", "none")
"""What stands for many names, or for no name, where names are listed."""


class Table(Mapping[str, object]):
    """The parts of one kind by name: a path "module:Name", or the part itself where it was registered so.

    Built-in parts come first, then those that were registered, then those of installed packages.

    Args:
        kind: A name of `PART_KINDS`.
        builtin: Those of profuse: name to path.
        derived: Where parts are that other names say: the path of a `Derived`.

    Attributes:
        registered: What `register` was given in this process.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], derived: str = "") -> None:
        self.kind = kind
        self.builtin: Mapping[str, str] = dict(builtin)
        self._derived = derived
        self.registered: dict[str, object] = {}
        self._loaded: dict[str, object] = {}

    @cached_property
    def installed(self) -> Mapping[str, EntryPoint]:
        """The entry points of installed packages, by name.

        Raises:
            ConfigError: A name is none, or is taken; the message names the package.
        """
        result: dict[str, EntryPoint] = {}
        for point in entry_points(group=PART_KINDS[self.kind].group):
            where = _told(point)
            _check_name(self.kind, point.name, where)
            taken = self.builtin.get(point.name) or result.get(point.name)
            if taken is not None and _home(taken) != point.value:
                by = _package(taken) if isinstance(taken, EntryPoint) else "profuse"
                raise ConfigError(
                    f"{where}: {self.kind} must have a name of its own; got name={point.name!r}, which is one of {by}. "
                    "Rename it there, or uninstall one of the two."
                )
            result[point.name] = point
        return result

    def __getitem__(self, name: str) -> object:
        for named in (self.builtin, self.registered):
            if name in named:
                return named[name]
        return self.installed[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.builtin, *self.registered, *self.installed]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def part(self, name: str, *, where: str = "profuse", what: str | None = None) -> object:
        """Returns the part called `name`, imported if it was not yet.

        Args:
            name: Of a part.
            where: Who asks; a message begins with it.
            what: What the name stands for, if not the kind of part.

        Raises:
            UnknownNameError: There is none; the nearest names are told.
            ConfigError: It cannot be loaded, or is no such part; the message names its package.
        """
        if name not in self and self._derived and (made := self._by_name.part(name)) is not None:
            return made
        value = resolve(name, self, where=where, what=what or self.kind)
        if name in self.builtin:
            return load(self.builtin[name])
        if name not in self._loaded:
            origin = "register" if name in self.registered else _told(self.installed[name])
            self._loaded[name] = self._checked(name, self._load(value, origin), origin)
        return self._loaded[name]

    def knows(self, name: str) -> bool:
        """Returns whether there is a part of that name, listed or not."""
        return name in self or (bool(self._derived) and self._by_name.part(name) is not None)

    @property
    def _by_name(self) -> Derived:
        return load(self._derived)  # type: ignore[return-value]

    def name_of(self, part: object) -> str | None:
        """Returns the name of a part, or None if it has none."""
        home = _home(part)
        return next((n for n, known in self.items() if known is part or (home and _home(known) == home)), None)

    def origin(self, name: str) -> str:
        """Returns where a part comes from: "profuse", "register", or a package and its version."""
        if name in self.builtin:
            return "profuse"
        return "register" if name in self.registered else _package(self.installed[name])

    def description(self, name: str) -> str:
        """Returns in a line what a part is: what it says itself, or the first sentence of its class."""
        part = self.part(name)
        told = getattr(part, "description", None) or getdoc(part if isinstance(part, type) else type(part)) or ""
        return " ".join(str(told).split("\n\n")[0].split())

    def add(self, name: str, part: object, *, where: str = "register") -> None:
        """Names a part; see `register`."""
        _check_name(self.kind, name, where)
        if not isinstance(part, str):
            self._checked(name, part, where)
        elif not re.fullmatch(r"[\w.]+:[\w.]+", part):
            raise ConfigError(f"{where}: the path of a part must be 'module:Name'; got {self.kind}={part!r}.")
        taken = self.get(name)
        if taken is not None and taken is not part and (_home(taken) is None or _home(taken) != _home(part)):
            raise ConfigError(
                f"{where}: {self.kind} must have a name of its own; got name={name!r}, which is taken "
                f"({self.origin(name)}: {taken}). Choose another name."
            )
        if taken is None or name in self.registered:  # a class defined anew, as in a notebook, replaces its old self
            self.registered[name] = part
            self._loaded.pop(name, None)

    def remove(self, name: str) -> None:
        """Takes the name away that `add` gave."""
        del self.registered[name]
        self._loaded.pop(name, None)

    def fingerprint(self, name: str) -> str:
        """Returns what changes when the code or the settings of a part do: of a built-in one nothing.

        It is made of `code_of`, and of the settings that the part has, if any.
        """
        if name not in self and self.knows(name):
            return self._by_name.fingerprint(name)
        return "" if name in self.builtin else self.code_of(name) + getattr(self.part(name), "settings", "")

    def code_of(self, name: str) -> str:
        """Returns what changes when the code of a part does: of a built-in one nothing, as profuse has a version.

        It is made of the Python files of the part's package (of its file, if that lies in none) and of the version of
        the package that was installed. Where there is no file it is another one each time.
        """
        if name in self.builtin:
            return ""
        part = self.part(name)
        made_by = part if isinstance(part, type) else type(part)
        if _is_of_profuse(made_by):  # an object of one of our classes: what tells it apart are its functions
            made_by = next((v for v in vars(part).values() if callable(v) and not _is_of_profuse(v)), made_by)
        path = self[name] if isinstance(self[name], str) else ""
        code = " ".join(_digest_of(each) for each in getattr(part, "made_of", (made_by,)))
        return f"{self.origin(name)} {path} {code}"

    def _load(self, value: object, origin: str) -> object:
        if not isinstance(value, str):
            return value
        try:
            return load(value)
        except Exception as error:  # what is installed may fail in any way
            raise ConfigError(
                f"{origin}: {self.kind} must be importable; got {value!r}, {type(error).__name__}: {error}. "
                "Correct it there, or remove it."
            ) from error

    def _checked(self, name: str, part: object, origin: str) -> object:
        kind = PART_KINDS[self.kind]
        base = load(kind.base)
        assert isinstance(base, type)
        home, instead = kind.around
        if home and not (isinstance(part, type) and issubclass(part, base)):
            made: Callable[[str, object], object] = load(home)  # type: ignore[assignment]
            part = made(name, part) or part
        fits = isinstance(part, base) if kind.made else isinstance(part, type) and issubclass(part, base)
        if not fits:
            must = "be an object of" if kind.made else "be a class that inherits from"
            raise ConfigError(
                f"{origin}: {self.kind} {name!r} must {must} {kind.base.replace(':', '.')}"
                f"{f', or be {instead}' if instead else ''}; got {part!r}."
            )
        if isinstance(part, type) and isabstract(part):
            lacking = [n for n in dir(part) if getattr(getattr_static(part, n), "__isabstractmethod__", False)]
            raise ConfigError(
                f"{origin}: {self.kind} {name!r} must have all methods of {kind.base.replace(':', '.')}; got "
                f"{part.__name__} without {', '.join(lacking)}. Write them."
            )
        return part


_TABLES: dict[str, Table] = {}


def table(kind: str, builtin: Mapping[str, str] | None = None, *, derived: str = "") -> Table:
    """Returns the table of a kind of part; the package that holds the parts makes it by giving its own.

    Args:
        kind: A name of `PART_KINDS`.
        builtin: Those of profuse, by the package that makes the table: name to "module:Name".
        derived: See `Table`.

    Raises:
        UnknownNameError: There is no such kind of part.
    """
    known = resolve(kind, PART_KINDS, where="registry", what="kind of part")
    if builtin is not None:
        _TABLES[kind] = Table(kind, builtin, derived)
    elif kind not in _TABLES:
        import_module(known.home)
    return _TABLES[kind]


def part(kind: str, name: str) -> object:
    """Returns the part of a kind that is called `name`; see `Table.part` for what it raises."""
    return table(kind).part(name)


@overload
def register(kind: str, name: str, part: T) -> T: ...
@overload
def register(kind: str, name: str) -> Callable[[T], T]: ...
def register(kind: str, name: str, part: T | None = None) -> T | Callable[[T], T]:
    """Gives a part a name, by which it is listed, compared, saved, loaded and run in other processes.

    It holds in this process and in those that a comparison starts. For all processes of this machine and for the
    command line, name the part in the entry points of a package: see docs/parts.md.

    Args:
        kind: fusion, encoder, preprocessor, features, embedding, kind, metric, question, balance, dataset or classical.
        name: Letters, digits, `_`, `.` and `-`.
        part: The part, or where it is: "module:Name". If not given, what is decorated.

    Returns:
        The part.

    Raises:
        UnknownNameError: There is no such kind of part.
        ConfigError: The name is taken or is none, or the part does not inherit from what its kind must.

    Example:
        >>> from profuse.fusion.encoder_decoder.sum import Sum
        >>> @register("fusion", "halved")
        ... class Halved(Sum):
        ...     formula = "sum of W_m x_m, halved"
    """
    if part is not None:
        table(kind).add(name, part)
        return part

    def decorate(decorated: T) -> T:
        table(kind).add(name, decorated)
        return decorated

    return decorate


def registered() -> dict[str, dict[str, object]]:
    """Returns what was registered in this process, by kind and name, for `receive` in another one."""
    return {kind: dict(t.registered) for kind, t in _TABLES.items() if t.registered}


def receive(parts: Mapping[str, Mapping[str, object]]) -> None:
    """Registers in this process what `registered` returned in another one, in place of what it had before."""
    for kind in {*parts, *_TABLES}:
        there, named = table(kind), parts.get(kind, {})
        for name in {*named, *there.registered}:
            there._loaded.pop(name, None)
        there.registered = dict(named)


def _check_name(kind: str, name: object, where: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _MEANT_OTHERWISE:
        raise ConfigError(
            f"{where}: the name of a {kind} must be letters, digits, '_', '.' and '-', and not "
            f"{' or '.join(_MEANT_OTHERWISE)}; got name={name!r}. Choose another name."
        )


def _home(part: object) -> str | None:
    """Returns the path of a class, a function, or of a path; None for another object, which has none."""
    if isinstance(part, EntryPoint):
        return part.value
    part = getattr(part, "made_by", part)
    if isinstance(part, type) or (isfunction(part) and part.__name__ != "<lambda>"):
        return f"{part.__module__}:{part.__qualname__}"
    return part if isinstance(part, str) else None


def _package(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _told(point: EntryPoint) -> str:
    return f"Package {_package(point)}, entry point {point.name!r} of {point.group}"


def _is_of_profuse(part: object) -> bool:
    return str(getattr(part, "__module__", "")).partition(".")[0] == "profuse"


def _digest_of(part: object) -> str:
    """Returns the digest of the source of a class or function: of all files of its package, or of its own file."""
    module = sys.modules.get(str(getattr(part, "__module__", "")))
    top = sys.modules.get(module.__name__.partition(".")[0]) if module is not None else None
    folders = list(getattr(top, "__path__", ()))
    if folders:
        return _digest_of_files(tuple(sorted(p for folder in folders for p in Path(folder).rglob("*.py"))))
    file = getattr(module, "__file__", None)
    if file is not None and Path(file).is_file():
        return _digest_of_files((Path(file),))
    try:
        return hashlib.sha256(getsource(part).encode()).hexdigest()  # type: ignore[arg-type]
    except (OSError, TypeError):
        return uuid.uuid4().hex


def _digest_of_files(files: tuple[Path, ...]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
