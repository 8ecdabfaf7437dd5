"""The site: its navigation holds every page, and nothing on it comes from elsewhere. `make docs` builds it strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

import profuse

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
# pages of files that lie outside of docs/
MADE = ["contributing.md", "changelog.md", *(f"examples/{p.stem}.md" for p in (ROOT / "examples").glob("*.py"))]


def pages_of(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(item)]


def test_the_navigation_names_every_page_once() -> None:
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert sorted(pages_of(CONFIG["nav"])) == sorted([*pages, *MADE])


def test_nothing_on_a_page_is_loaded_from_elsewhere() -> None:
    assert CONFIG["theme"]["font"] is False
    assert any("iframe-worker" in script for script in CONFIG["extra"]["polyfills"])
    own = [*CONFIG["extra"]["polyfills"], *CONFIG["extra_css"]]
    assert [name for name in own if not (DOCS / name).is_file()] == []
    assert not re.search(r"https?://", "".join((DOCS / name).read_text(encoding="utf-8") for name in own))


def test_the_reference_holds_every_public_name() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    homes = {name: getattr(profuse, name).__name__ for name in profuse.__all__}
    assert [
        name for name, home in homes.items() if not re.search(rf"^::: profuse\S*\.{home}$", shown, re.MULTILINE)
    ] == []


def test_every_docstring_that_the_reference_shows_is_there() -> None:
    from importlib import import_module

    for path in (DOCS / "api").glob("*.md"):
        for dotted in re.findall(r"^::: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            module, _, name = dotted.rpartition(".")
            assert hasattr(import_module(module), name), f"{path.name}: {dotted}"


def test_a_warning_ends_the_build() -> None:
    line = next(line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "mkdocs build" in line)
    assert "--strict" in line
    assert not re.search(r" (--quiet|-q)\b", line), "a quiet build does not count warnings, so that none ends it"


def test_no_table_is_cut_by_a_blank_line() -> None:
    """A row after a blank line begins a table of its own, so that a line of dashes must come next."""
    for path in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        lines = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8")).splitlines()
        first = [i for i, line in enumerate(lines) if line.startswith("|") and not lines[i - 1].startswith("|")]
        cut = [lines[i] for i in first if not re.match(r"\|[ :|-]+\|$", (lines[i + 1 :] or [""])[0])]
        assert not cut, f"{path.name}: {cut}"
