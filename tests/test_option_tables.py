"""The tables of options in the docs are made of the fields: where one differs, the test tells the one to paste."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from profuse._fields import default, shown
from profuse.cluster.options import EngineOptions
from profuse.comparison.options import CompareOptions
from profuse.data.table.options import ReadOptions
from profuse.imputation.options import ImputeOptions, ImputeTraining
from profuse.models.options import ModelOptions
from profuse.portfolio.options import PortfolioOptions
from profuse.retrieval.options import RetrievalOptions, RetrievalTraining
from profuse.schema import SplitOptions
from profuse.streaming.options import ShardOptions, StreamOptions
from profuse.training.options import ProcessOptions, TrainOptions
from profuse.tuning.options import TuneOptions

DOCS = Path(__file__).parents[1] / "docs"
TRAINED = RetrievalTraining.model_fields
TABLES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("models.md", "option", ModelOptions.model_fields),
    ("compare.md", "option", CompareOptions.model_fields),
    ("compare.md", "`train`", TrainOptions.model_fields),
    ("compare.md", "`split`", SplitOptions.model_fields),
    ("tune.md", "option of `profuse tune`", TuneOptions.model_fields),
    ("cluster.md", "option of `profuse compare` and `profuse tune`", EngineOptions.model_fields),
    ("cluster.md", "option of `profuse fit`", ProcessOptions.model_fields),
    ("data.md", "option of `profuse fit --stream`", StreamOptions.model_fields),
    ("data.md", "option of `profuse shard`", ShardOptions.model_fields),
    ("portfolio.md", "option", PortfolioOptions.model_fields),
    ("impute.md", "option of `Imputer`", {
        **ImputeOptions.model_fields,
        **{name: ImputeTraining.model_fields[name] for name in ("epochs", "device", "precision", "threads")},
    }),
    ("retrieval.md", "option of `Retriever`", {
        **RetrievalOptions.model_fields,
        **{name: TRAINED[name] for name in ("epochs", "batch_size", "learning_rate", "patience", "refit", "device")},
        **ReadOptions.model_fields,
    }),
)  # fmt: skip


def table(head: str, fields: Mapping[str, Any]) -> str:
    """The table of a model's fields: name, its name on the command line where that is another, default, what it is."""
    lines = [f"| {head} | default | what |", "|---|---|---|"]
    for name, field in fields.items():
        said = default(field)
        plain = said == shown(field).absent or field.is_required()
        names = f"`{name}`" + (f", `{shown(field).flag}`" if shown(field).flag else "")
        lines.append(f"| {names} | {said if plain else f'`{said}`'} | {field.description} |")
    return "\n".join(lines)


@pytest.mark.parametrize(("page", "head", "fields"), TABLES)
def test_a_table_of_options_says_what_the_fields_say(page: str, head: str, fields: Mapping[str, Any]) -> None:
    wanted = table(head, fields)
    assert wanted in (DOCS / page).read_text(encoding="utf-8"), f"docs/{page} must hold this table:\n\n{wanted}\n"
