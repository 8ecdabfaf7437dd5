"""Lets a test import the benchmark scripts, which are files and no package."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS / name) for name in ("quality/progressive", "speed", "quality")]
