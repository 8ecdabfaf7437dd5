"""Pages opened in Chromium, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["opened", "without_policy"]


def opened(page: str, folder: Path, *flags: str) -> str:
    """Opens a page in Chromium and returns what it has become, scripts run."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2000",
            *flags, "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def without_policy(page: str) -> str:
    """Returns the page without what forbids scripts."""
    bare = re.sub(r"<meta http-equiv=.Content-Security-Policy.*?>", "", page)
    assert bare != page
    return bare
