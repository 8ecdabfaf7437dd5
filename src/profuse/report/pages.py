"""Templates of pages."""

from __future__ import annotations

import jinja2

__all__ = ["page_template"]


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
