"""What the site has beside the pages of docs/: files of the root, examples, and headings' names as on GitHub."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File
from mkdocs.structure.nav import Link
from pymdownx.slugs import slugify

__all__ = ["on_config", "on_files", "on_nav", "on_page_markdown"]

ROOT = Path(__file__).parents[2]
# a page of the site -> the file that it shows; links lead from the one to the other
FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_config(config: Any) -> Any:
    """Names headings as GitHub does, so that a link to one holds here and there."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds a page for each file of the root that docs/ link to, and one for each example."""
    for page, name in FILES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    for path in sorted((ROOT / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{path.stem}.md", content=example_page(path)))
    return files


def on_nav(nav: Any, config: Any, files: Any) -> Any:
    """Adds what lies within a page: how to read the report."""
    section = next(item for item in nav.items if item.title == "Compare")
    link = Link("How to read the report", "compare.html#how-to-read-the-report")
    link.parent = section
    section.children.append(link)
    return nav


def example_page(path: Path) -> str:
    """The docstring as the page's text, and the script below it."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, text = (ast.get_docstring(tree) or "").partition("\n")
    script = "".join(source.splitlines(keepends=True)[tree.body[0].end_lineno :]).lstrip()
    return f"# {title.rstrip('.')}\n{text}\n\n`examples/{path.name}`:\n\n```python\n{script}```\n"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Leads links to files outside of docs/ to their pages."""
    for shown, name in FILES.items():
        markdown = markdown.replace(f"](../{name})", f"]({shown})")
    return re.sub(r"\]\(\.\./examples/(\w+)\.py\)", r"](examples/\1.md)", markdown)
