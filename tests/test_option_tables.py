"""The tables of options in the docs are made of the fields: where one differs, the test tells the one to paste."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from profuse._fields import default, shown
from profuse.comparison.options import CompareOptions
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

DOCS = Path(__file__).parents[1] / "docs"
TABLES: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("models.md", "option", ModelOptions),
    ("compare.md", "option", CompareOptions),
    ("compare.md", "`train`", TrainOptions),
    ("compare.md", "`split`", SplitOptions),
)


def table(head: str, model: type[BaseModel]) -> str:
    """The table of a model's fields: name, default, what it is."""
    lines = [f"| {head} | default | what |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        said = default(field)
        plain = said == shown(field).absent
        lines.append(f"| `{name}` | {said if plain else f'`{said}`'} | {field.description} |")
    return "\n".join(lines)


@pytest.mark.parametrize(("page", "head", "model"), TABLES)
def test_a_table_of_options_says_what_the_fields_say(page: str, head: str, model: type[BaseModel]) -> None:
    wanted = table(head, model)
    assert wanted in (DOCS / page).read_text(encoding="utf-8"), f"docs/{page} must hold this table:\n\n{wanted}\n"
