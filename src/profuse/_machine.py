"""Where numbers were made: the machine, and versions of packages."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, ConfigDict

__all__ = ["Machine", "Plain"]

PACKAGES = ("profuse", "torch", "numpy", "scipy", "scikit-learn", "pandas")


class Plain(BaseModel):
    """Plain data: unknown names and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, validate_assignment=True)


@cache
def _versions() -> Mapping[str, str]:
    """Returns the versions of `PACKAGES`, as this process has found them; those that are not installed are left out."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


class Machine(Plain):
    """Where the numbers were made."""

    python: str = ""
    platform: str = ""
    cpu_count: int = 0
    device: str = "cpu"
    versions: dict[str, str] = {}

    @classmethod
    def here(cls, *, device: str = "cpu") -> Machine:
        """Returns this machine; packages that are not installed are left out."""
        return cls(
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.machine()}",
            cpu_count=os.cpu_count() or 1,
            device=device,
            versions=dict(_versions()),
        )
