"""Names of parts: built in, registered, or of installed packages; each name is one part's, and errors say whose."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profuse import registry
from profuse.classical import ClassicalModel
from profuse.datasets import DATASETS, DatasetInfo
from profuse.errors import ConfigError, UnknownNameError
from profuse.fusion import FUSIONS, fusion
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.fusion.encoder_decoder.sum import Sum
from profuse.registry import Table, receive, register, registered


class Halved(Sum):
    """A part of a user's own."""


class Lazy(Sum.__base__):  # type: ignore[misc, name-defined]
    """One that lacks what it must have."""


def package(folder: Path, name: str, points: str, **modules: str) -> None:
    """Leaves an installed package in `folder`: its modules, and what names its parts."""
    about = folder / f"{name}-1.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(points, encoding="utf-8")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a table that sees a package with these entry points."""

    def make(points: str, **modules: str) -> Table:
        package(tmp_path / "site", "their-parts", points, **modules)
        monkeypatch.syspath_prepend(tmp_path / "site")
        return Table("fusion", FUSIONS.builtin)

    return make


def test_importing_it_loads_nothing_else() -> None:
    code = "import sys, profuse.registry\nprint([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_registered_part_is_found_by_its_name_and_its_name_by_the_part() -> None:
    assert register("fusion", "halved", Halved) is Halved
    assert fusion("halved") is Halved
    assert registry.part("fusion", "halved") is Halved
    assert "halved" in FUSIONS
    assert list(FUSIONS)[-1] == "halved"
    assert FUSIONS.name_of(Halved) == "halved"
    assert FUSIONS.name_of(Concat) == "concat"
    assert FUSIONS.name_of(Sum.__base__) is None
    assert (FUSIONS.origin("halved"), FUSIONS.origin("concat")) == ("register", "profuse")


def test_register_decorates() -> None:
    @register("fusion", "decorated")
    class Decorated(Sum):
        """One defined in place."""

    assert fusion("decorated") is Decorated
    assert Decorated.family() == "own"


def test_a_path_is_imported_when_the_part_is_first_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_part.py").write_text(
        "from profuse.fusion.encoder_decoder.sum import Sum\nclass Late(Sum): pass\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    register("fusion", "late", "late_part:Late")
    assert "late_part" not in sys.modules
    assert fusion("late").__name__ == "Late"


def test_the_same_part_may_be_registered_again_and_a_class_defined_anew_replaces_its_old_self() -> None:
    register("fusion", "halved", Halved)
    register("fusion", "halved", Halved)
    register("fusion", "concat", Concat)
    assert FUSIONS.origin("concat") == "profuse"
    anew = type("Halved", (Sum,), {"__module__": __name__, "__qualname__": "Halved"})
    register("fusion", "halved", anew)
    assert fusion("halved") is anew


@pytest.mark.parametrize("name", ["concat", "halved"])
def test_a_taken_name_is_refused(name: str) -> None:
    register("fusion", "halved", Halved)
    with pytest.raises(ConfigError, match=rf"^register: fusion must have a name of its own; got name='{name}', which"):
        register("fusion", name, Sum)
    assert fusion("halved") is Halved
    assert fusion("concat") is Concat


@pytest.mark.parametrize("name", ["", " mine", "a,b", "hybrid:mine", "all", "none", "-x", "a/b", 3])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="^register: the name of a fusion must be letters, digits"):
        register("fusion", name, Halved)


def test_an_unknown_kind_of_part_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="kind of part='fusions'. Did you mean 'fusion'"):
        register("fusions", "mine", Halved)


@pytest.mark.parametrize(
    ("kind", "part", "must"),
    [
        ("fusion", DatasetInfo, "must be a class that inherits from profuse.fusion.Fusion; got <class"),
        ("fusion", lambda channels, width: None, "must be a class that inherits from profuse.fusion.Fusion; got <func"),
        ("encoder", Halved, "must be a class that inherits from profuse.encoders.Encoder; got"),
        ("preprocessor", Halved, "must be a class that inherits from profuse.data.preprocess.Preprocessor; got"),
        ("balance", Halved, "must be a class that inherits from profuse.training.balance.Balance; got"),
        ("dataset", DatasetInfo, "must be an object of profuse.datasets.DatasetInfo; got <class"),
        ("fusion", Lazy, "must have all methods of profuse.fusion.Fusion; got Lazy without fuse. Write them"),
        ("fusion", "nowhere", "the path of a part must be 'module:Name'; got fusion='nowhere'"),
    ],
)
def test_a_part_that_does_not_inherit_from_what_it_must_is_refused(kind: str, part: Any, must: str) -> None:
    with pytest.raises(ConfigError) as raised:
        register(kind, "mine", part)
    assert must in str(raised.value)
    assert "mine" not in registry.table(kind)


def test_an_unknown_name_is_told_with_the_nearest_registered_one() -> None:
    register("fusion", "halved", Halved)
    with pytest.raises(UnknownNameError, match=r"fusion='halfed'. Did you mean 'halved'"):
        fusion("halfed")


def test_a_part_of_an_installed_package_is_found_and_loaded_only_when_it_is_used(installed: Any) -> None:
    table = installed(
        "[profuse.fusions]\ntheirs = their_ops:Theirs\n",
        their_ops="from profuse.fusion.encoder_decoder.sum import Sum\nclass Theirs(Sum): pass\n",
    )
    assert "theirs" in table
    assert table.origin("theirs") == "their-parts 1.2"
    assert "their_ops" not in sys.modules
    part = table.part("theirs")
    assert part.__name__ == "Theirs"
    assert table.name_of(part) == "theirs"
    table.add("theirs", part)
    assert table.origin("theirs") == "their-parts 1.2"
    with pytest.raises(ConfigError, match=r"name='theirs', which is taken \(their-parts 1.2: their_ops:Theirs\)"):
        table.add("theirs", Halved)


def test_an_estimator_of_an_installed_package_is_a_classical_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = "[profuse.classical]\ntheirs = their_models:make\nbroken = their_models:number\n"
    text = "from sklearn.svm import SVC\ndef make(): return SVC()\nnumber = 3\n"
    package(tmp_path / "site", "their-parts", points, their_models=text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    models = Table("classical", {})
    theirs = models.part("theirs")
    assert issubclass(theirs, ClassicalModel)  # type: ignore[arg-type]
    assert theirs is models.part("theirs")
    assert theirs.not_for("regression") == "SVC, which is no regressor"  # type: ignore[attr-defined]
    before = models.fingerprint("theirs")
    (tmp_path / "site" / "their_models.py").write_text(text + "\n", encoding="utf-8")
    assert models.fingerprint("theirs") != before
    with pytest.raises(
        ConfigError, match="^Package their-parts 1.2, entry point 'broken' of profuse.classical: classical"
    ):
        models.part("broken")


@pytest.mark.parametrize(
    ("points", "modules", "fault"),
    [
        ("broken = no_such_module_at_all:X", {}, "must be importable; got 'no_such_module_at_all:X', ModuleNotFound"),
        ("broken = their_fault:X", {"their_fault": "1 / 0"}, "'their_fault:X', ZeroDivisionError: division by zero"),
        ("broken = their_lack:X", {"their_lack": ""}, "'their_lack:X', AttributeError: module 'their_lack' has no"),
        ("broken = pathlib:Path", {}, "'broken' must be a class that inherits from profuse.fusion.Fusion; got <class"),
        ("concat = pathlib:Path", {}, "got name='concat', which is one of profuse. Rename it there, or uninstall"),
        ("all = pathlib:Path", {}, "the name of a fusion must be letters"),
    ],
)
def test_a_broken_entry_point_gives_one_error_that_names_its_package(
    installed: Any, points: str, modules: dict[str, str], fault: str
) -> None:
    table = installed(f"[profuse.fusions]\n{points}\n", **modules)
    with pytest.raises(ConfigError) as raised:
        table.part("broken")
    name = points.partition(" ")[0]
    assert str(raised.value).startswith(f"Package their-parts 1.2, entry point {name!r} of profuse.fusions: ")
    assert fault in str(raised.value)
    assert table.part("sum") is Sum  # what is not broken goes on working


def test_two_packages_with_one_name_are_told_by_both_names(installed: Any, tmp_path: Path) -> None:
    package(tmp_path / "site", "other-parts", "[profuse.fusions]\ntheirs = a:B\n")
    table = installed("[profuse.fusions]\ntheirs = c:D\n")
    with pytest.raises(ConfigError, match="^Package (their|other)-parts .*one of (their|other)-parts 1.2"):
        list(table)


def test_the_order_is_built_in_then_registered_then_installed(installed: Any) -> None:
    table = installed("[profuse.fusions]\ntheirs = c:D\n")
    table.add("halved", Halved)
    assert list(table) == [*FUSIONS.builtin, "halved", "theirs"]
    assert len(table) == len(FUSIONS.builtin) + 2


def test_what_was_registered_reaches_another_process_by_reference() -> None:
    register("fusion", "halved", Halved)
    sent = pickle.dumps(registered())
    FUSIONS.registered.clear()
    assert "halved" not in FUSIONS
    receive(pickle.loads(sent))
    assert fusion("halved") is Halved


# -- fingerprints


def own_part(folder: Path, name: str, factor: int) -> None:
    text = f"from profuse.fusion.encoder_decoder.sum import Sum\nclass Mine(Sum):\n    factor = {factor}\n"
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


def test_the_fingerprint_changes_with_the_code_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_part(tmp_path, "my_op", 1)
    monkeypatch.syspath_prepend(tmp_path)
    register("fusion", "mine", "my_op:Mine")
    first = FUSIONS.fingerprint("mine")
    (tmp_path / "another.py").write_text("x = 1", encoding="utf-8")
    assert FUSIONS.fingerprint("mine") == first
    own_part(tmp_path, "my_op", 2)
    assert FUSIONS.fingerprint("mine") != first


def test_the_fingerprint_of_a_part_in_a_package_is_of_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my_pack"
    (folder / "inner").mkdir(parents=True)
    for place in ("__init__.py", "inner/__init__.py", "inner/rule.py"):
        (folder / place).touch()
    own_part(folder, "op", 1)
    monkeypatch.syspath_prepend(tmp_path)
    register("fusion", "mine", "my_pack.op:Mine")
    first = FUSIONS.fingerprint("mine")
    assert FUSIONS.fingerprint("mine") == first
    (folder / "inner" / "rule.py").write_text("x = 1", encoding="utf-8")
    assert FUSIONS.fingerprint("mine") != first


def test_a_built_in_part_has_none_and_one_without_a_file_another_each_time() -> None:
    assert FUSIONS.fingerprint("concat") == ""
    register("fusion", "typed", type("Typed", (Sum,), {"__module__": "nowhere"}))
    assert FUSIONS.fingerprint("typed") != FUSIONS.fingerprint("typed")


def test_an_object_is_told_by_its_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_data.py").write_text("def load(variant, root): return 1", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from my_data import load  # type: ignore[import-not-found]

    about = {"name": "mine", "modalities": {}, "n_rows": 1, "task": "binary", "target": "", "split": ""}
    register("dataset", "mine", DatasetInfo(**about, licence="", source="", load=load))  # type: ignore[arg-type]
    first = DATASETS.fingerprint("mine")
    (tmp_path / "my_data.py").write_text("def load(variant, root): return 2", encoding="utf-8")
    assert DATASETS.fingerprint("mine") != first
