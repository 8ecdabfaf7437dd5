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
    assert len(profuse.__all__) <= 15
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


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="module 'profuse' has no attribute 'fuse'; it has Comparison"):
        profuse.fuse  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert profuse.__version__ == version("profuse")
