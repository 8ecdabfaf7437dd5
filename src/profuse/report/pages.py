"""Templates of pages, and their scripts."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

__all__ = ["Script", "page_script", "page_template"]


@dataclass(frozen=True)
class Script:
    """A script that stands in a page, and the SHA-256 by which the page's policy lets it, and no other, run."""

    text: Markup
    digest: str


def page_script(name: str) -> Script:
    """Returns a script of this package."""
    text = (files("profuse.report") / "templates" / name).read_text(encoding="utf-8")
    return Script(Markup(text), base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())


@cache  # compiling one takes longer than filling it
def page_template(name: str) -> jinja2.Template:
    """Returns a template of this package: what it is given is escaped, and what it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("profuse.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
