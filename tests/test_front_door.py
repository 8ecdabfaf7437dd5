"""`import profuse`: few names, loaded when used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import profuse


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, profuse\nassert profuse.__doc__ and dir(profuse) and profuse.__version__\n"
        "print(sorted({'torch', 'sklearn', 'scipy', 'pandas', 'numpy', 'pydantic', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_every_name_is_there_and_they_are_few() -> None:
    assert len(profuse.__all__) <= 20
    assert sorted(profuse.__all__) == list(profuse.__all__)
    for name in profuse.__all__:
        assert getattr(profuse, name).__name__ in (name, "load"), name
    assert set(profuse.__all__) < set(dir(profuse))


def test_its_docstring_names_every_public_name_and_every_part() -> None:
    from pathlib import Path

    assert profuse.__doc__ is not None
    assert all(name in profuse.__doc__ for name in profuse.__all__)
    parts = [p for p in Path(profuse.__file__).parent.iterdir() if not p.name.startswith(("_", "."))]
    assert all(p.name in profuse.__doc__ for p in parts if p.suffix == ".py" or p.is_dir())


def test_an_unknown_name_is_told_with_the_nearest_ones_or_all() -> None:
    with pytest.raises(AttributeError, match="^module 'profuse' has no attribute 'lode_model'. Did you mean 'load_mod"):
        profuse.lode_model  # noqa: B018
    with pytest.raises(AttributeError, match="^module 'profuse' has no attribute 'xyz'. It has Comparison, Dataset, "):
        profuse.xyz  # noqa: B018


def test_nothing_but_the_public_names_can_be_imported_from_it() -> None:
    code = (
        "import profuse\nfrom types import ModuleType\nprofuse.load_model\nassert not hasattr(profuse, 'load')\n"
        "there = {n for n, v in vars(profuse).items() if n[0] != '_' and not isinstance(v, ModuleType)}\n"
        "print(there)\nfrom profuse import load"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "{'load_model'}\n"
    assert "ImportError: cannot import name 'load' from 'profuse'" in done.stderr


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert profuse.__version__ == version("profuse")
