"""Lets a test import the benchmark scripts, which are files and no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "quality" / "progressive"))
