"""What `profuse retrieve` asks by, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from profuse.cli._print import print_table, say

if TYPE_CHECKING:
    import pandas as pd

    from profuse.data.dataset import Dataset
    from profuse.retrieval import Index, Retriever

__all__ = ["asked_by", "lines", "show"]


def lines(found: pd.DataFrame) -> list[list[str]]:
    """One line a direction and method, and one for chance."""
    lines = []
    for query, item in dict.fromkeys(zip(found["query"], found["item"], strict=True)):
        part = found[(found["query"] == query) & (found["item"] == item)]
        for method in dict.fromkeys(part["method"]):
            by = part[part["method"] == method].set_index("metric")
            first = by.loc["recall@1"]
            name = f"{method} (used)" if first["used"] else str(method)
            lines.append([
                query, item, name, f"{first['value']:.3f}", f"{first['low']:.3f} to {first['high']:.3f}",
                f"{by.loc['recall@5', 'value']:.3f}", f"{by.loc['recall@10', 'value']:.3f}",
                f"{by.loc['median_rank', 'value']:g}",
            ])  # fmt: skip
        luck = part.drop_duplicates("metric").set_index("metric")["chance"]
        lines.append([
            query, item, "chance", f"{luck['recall@1']:.3f}", "", f"{luck['recall@5']:.3f}",
            f"{luck['recall@10']:.3f}", f"{luck['median_rank']:g}",
        ])  # fmt: skip
    return lines


def asked_by(
    retriever: Retriever, dataset: Dataset | None, by: str, query: str | None, rows: str | None
) -> tuple[Any, list[str]]:
    """Returns the rows that ask, and what each is called."""
    if rows is None or dataset is None:
        return _question(retriever, by, query or ""), [query or ""]
    numbers = _numbers(rows, len(dataset))
    return dataset.rows(numbers), [str(n) for n in numbers]


def show(index: Index, asked: Any, by: str, who: list[str], dataset: Dataset | None, k: int, as_json: bool) -> None:
    """Searches, and prints what is found: the text of an item, too, where the rows are at hand."""
    from profuse.kinds import kind_named

    result = index.search(asked, by, min(k, len(index)))
    texts = {} if dataset is None else {n: d for n, d in dataset.modalities.items() if kind_named(d.kind).is_words}
    words = next((n for n in (index.modality, *texts) if n in texts), None)
    lines = []
    for name, ids, near, places in zip(who, result.ids, result.similarities, result.rows, strict=True):
        for rank, (item, similarity, row) in enumerate(zip(ids, near, places, strict=True), start=1):
            said = "" if words is None else str(texts[words].values[row] or "")
            lines.append([name, rank, str(item), int(row), float(similarity), said])
    columns = ["query", "rank", "id", "row", "similarity"]
    columns.append(f"text_{words}" if words in columns else words or "")
    if as_json:
        import json

        say(json.dumps([{n: v for n, v in zip(columns, line, strict=True) if n} for line in lines], indent=2))
        return
    told = [[str(v) if not isinstance(v, float) else f"{v:.3f}" for v in line] for line in lines]
    shown = len(columns) if words is not None else len(columns) - 1
    print_table(columns[:shown], [line[:shown] for line in told], right=["rank", "row", "similarity"])


def _numbers(text: str, n_rows: int) -> Any:
    import numpy as np

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) < n_rows for part in parts):
        raise typer.BadParameter(f"must be row numbers from 0 to {n_rows - 1}; got {text!r}", param_hint="--rows")
    return np.array([int(part) for part in parts])


def _question(retriever: Retriever, by: str, query: str) -> Any:
    """Returns a single row that holds the query: a text, or what the file of that name holds."""
    import pandas as pd

    from profuse.kinds import kind_named

    asked = kind_named(retriever.kind(by))
    if asked.is_words:
        return {by: [query]}
    if asked.reads_files:
        retriever.base_dir = Path()
        schema = retriever.schema_
        return pd.DataFrame({by if schema is None else schema.modalities[by].columns[0]: [query]})
    raise typer.BadParameter(f"a {asked.name} cannot be typed, and {by!r} is one: use --rows", param_hint="--query")
