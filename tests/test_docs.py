"""The documentation is true: its Python runs and prints what it says, its commands exist, its tables are complete.

Python blocks of a page run in order, in one namespace, in an empty folder. A `text` block right after one is what it
prints. A `yaml` block whose first line is `# NAME.yaml` is that file. A block after `<!-- slow -->` runs in slow tests.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from profuse.classical import CLASSICAL
from profuse.cli import app
from profuse.comparison.methods import ALWAYS
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import COLUMNS
from profuse.data.features import FEATURES, features_named
from profuse.data.preprocess import PREPROCESSORS, preprocessor
from profuse.encoders import ENCODERS, encoder
from profuse.estimators.fusion import FusionClassifier
from profuse.fusion import FUSIONS, fusion
from profuse.inspect import QUESTIONS
from profuse.kinds import KINDS, Kind, kind_named
from profuse.metrics import METRICS, metric
from profuse.models.options import ModelOptions
from profuse.schema import Modality, Schema, SplitOptions, Target
from profuse.training.balance import BALANCES
from profuse.training.options import TrainOptions

DOCS = Path(__file__).parents[1] / "docs"
FOLDERS = ("*.md", "fusion/*.md", "tutorials/*.md")
OWN = sorted(path.relative_to(DOCS).as_posix() for pattern in FOLDERS for path in DOCS.glob(pattern))
PAGES = [*OWN, "../README.md", "../CONTRIBUTING.md"]
FENCE = re.compile(r"(?P<slow><!-- slow -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its fence, from 1."""

    language: str
    code: str
    line: int
    slow: bool


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks_of(text: str) -> list[Block]:
    return [
        Block(m["language"], m["code"], text[: m.start("language")].count("\n") + 1, m["slow"] is not None)
        for m in FENCE.finditer(text)
    ]


def run_page(name: str, blocks: list[Block], *, slow: bool) -> None:
    """Runs the blocks as one module, so that its classes can be pickled, as those of a user's file can."""
    module = types.ModuleType(f"page_{name.removesuffix('.md').replace('/', '_')}")
    sys.modules[module.__name__] = module
    try:
        for i, block in enumerate(blocks):
            first = re.match(r"# (\S+\.yaml)\n", block.code)
            if block.language == "yaml" and first:
                Path(first[1]).write_text(block.code, encoding="utf-8")
            if block.language != "python" or (block.slow and not slow):
                continue
            printed = io.StringIO()
            code = compile("\n" * block.line + block.code, f"docs/{name}", "exec")  # a traceback names the page's line
            with contextlib.redirect_stdout(printed):
                exec(code, module.__dict__)
            after = blocks[i + 1] if i + 1 < len(blocks) else None
            if after is not None and after.language == "text":
                assert printed.getvalue() == after.code, f"docs/{name}, line {after.line}"
    finally:
        del sys.modules[module.__name__]


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path


WITH_CODE = [name for name in PAGES if any(b.language == "python" and not b.slow for b in blocks_of(page(name)))]
WITH_SLOW_CODE = [name for name in PAGES if any(b.language == "python" and b.slow for b in blocks_of(page(name)))]


SLOW_PAGES = {"data.md", "estimators.md", "models.md", "portfolio.md", "questions.md"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n in SLOW_PAGES else [])
        for n in WITH_CODE
        if n not in SLOW_PAGES or n not in WITH_SLOW_CODE
    ],  # those run whole, below
)
def test_the_python_of_a_page_runs_and_prints_what_it_says(name: str, empty_folder: Path) -> None:
    run_page(name, blocks_of(page(name)), slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_SLOW_CODE)
def test_the_slow_python_of_a_page_runs_and_prints_what_it_says(name: str, empty_folder: Path) -> None:
    run_page(name, blocks_of(page(name)), slow=True)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("```python\n1 / 0\n```\n", ZeroDivisionError),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", AssertionError),
        ("```python\nx = 1\n```\n\n<!-- slow -->\n```python\nprint(x)\n```\n\n```text\n2\n```\n", AssertionError),
    ],
)
def test_a_block_that_is_wrong_is_found(text: str, error: type[Exception], empty_folder: Path) -> None:
    with pytest.raises(error):
        run_page("wrong.md", blocks_of(text), slow=True)


def commands_of(text: str) -> list[str]:
    lines = [line for b in blocks_of(text) if b.language in ("bash", "sh", "console") for line in b.code.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("profuse ")]


def check_command(line: str) -> None:
    """Raises where the command, an option or an argument is not there; runs nothing."""
    root: Any = typer.main.get_command(app)
    first, *words = shlex.split(line, comments=True)[1:]
    if first.startswith("-"):
        known = {"-h", "--help", *(option for p in root.params for option in p.opts)}
        assert {first, *words} <= known, line
        return
    assert first in root.commands, line
    try:
        root.commands[first].make_context(first, words)
    except Exception as error:  # which class it is depends on typer's version
        raise AssertionError(f"{line}: {error}") from error


COMMANDS = [(name, line) for name in PAGES for line in commands_of(page(name))]


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_a_command_of_a_page_exists_with_its_options(name: str, line: str) -> None:
    check_command(line)


@pytest.mark.parametrize(
    "line",
    [
        "profuse fuse mine.csv",
        "profuse compare mine.csv --targets price",
        "profuse compare",
        "profuse compare mine.csv --seeds many",
        "profuse report here there",
        "profuse --versoin",
    ],
)
def test_a_command_that_is_wrong_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check_command(line)


@pytest.mark.parametrize("name", PAGES)
def test_a_link_to_a_page_or_a_heading_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page(name)):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        there = (DOCS / name).parent / path if path else DOCS / name
        assert there.is_file(), target
        if not heading:
            continue
        heads = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert heading in slugs, target


def test_the_map_names_every_page() -> None:
    assert [name for name in OWN if name != "index.md" and f"]({name})" not in page("index.md")] == []


def check_row(name: str, start: str) -> None:
    """Fails with what to write where a page has no row that begins so."""
    rows = page(name).splitlines()
    assert any(row.startswith(start) for row in rows), f"docs/{name} must have a row that begins with\n{start}"


@pytest.mark.parametrize("name", FUSIONS)
def test_every_operator_has_its_row(name: str) -> None:
    cls = fusion(name)
    facts = (f"`{name}`", cls.level, f"`{cls.formula}`", f"`{cls.cost}`", cls.missing)
    check_row(f"fusion/{cls.family()}.md", f"| {' | '.join(facts)} |")


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_its_row(name: str) -> None:
    kind = encoder(name).kind
    told = f"`{name}` (default)" if kind_named(kind).encoder == name else f"`{name}`"
    check_row("models.md", f"| {kind} | {told} |")


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_every_preprocessor_has_its_row(name: str) -> None:
    kind = preprocessor(name).takes
    defaults = {Kind.preprocessor, *(kind_named(k).preprocessor for k in KINDS)}
    check_row("models.md", f"| {kind} | `{name}` (default) |" if name in defaults else f"| {kind} | `{name}` |")


@pytest.mark.parametrize("name", FEATURES)
def test_every_set_of_features_has_its_row(name: str) -> None:
    kind = features_named(name).takes
    first = {Kind.feature_sets[0], *(kind_named(k).feature_sets[0] for k in KINDS)}
    check_row("models.md", f"| {kind} | `{name}` * |" if name in first else f"| {kind} | `{name}` |")


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_its_row(name: str) -> None:
    check_row("questions.md", f"| `{name}` |")


@pytest.mark.parametrize("name", BALANCES)
def test_every_balancing_method_has_its_row(name: str) -> None:
    check_row("balance.md", f"| `{name}` |")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_stands_in_the_row_of_its_tasks(name: str) -> None:
    rows = re.findall(r"^\| ([^|]*) \| (`\w+` \| .*)$", page("compare.md"), re.MULTILINE)
    for task in metric(name).tasks:
        told = [cells for tasks, cells in rows if task in tasks.split(", ")]
        assert any(f"`{name}`" in cells for cells in told), (
            f"docs/compare.md: `{name}` must stand in the row of {task}, in the table of metrics"
        )


@pytest.mark.parametrize("name", CLASSICAL)
def test_every_classical_model_is_named_among_the_methods(name: str) -> None:
    rows = re.findall(r"^\| (?:trivial|single|classical) \| .*$", page("compare.md"), re.MULTILINE)
    assert any(f"`{name}`" in row for row in rows), (
        f"docs/compare.md: `{name}` must stand in the row of classical, in the table of methods"
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_told_of(name: str) -> None:
    told = re.search(rf"`{name}`|\| {name} \|", page("data.md"))
    assert told, f"docs/data.md must have a row with `{name}`, in the table of kinds and their files"


def test_every_command_is_shown_on_a_page() -> None:
    shown = {line.split()[1] for _, line in COMMANDS}
    root: Any = typer.main.get_command(app)
    lacking = [f"profuse {name}" for name in root.commands if name not in shown]
    assert not lacking, f"a bash block of some page in docs/ must show {lacking}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("compare.md", COLUMNS),
        ("compare.md", CompareOptions.model_fields),
        ("compare.md", TrainOptions.model_fields),
        ("compare.md", ALWAYS),
        ("models.md", ModelOptions.model_fields),
        ("estimators.md", ModelOptions.model_fields),
        ("estimators.md", TrainOptions.model_fields),
        ("estimators.md", FusionClassifier().get_params()),
    ],
)
def test_a_page_names_every_option_or_column(name: str, words: list[str]) -> None:
    assert [word for word in words if f"`{word}`" not in page(name)] == []


def test_the_example_of_a_schema_shows_every_key() -> None:
    keys = {k for model in (Schema, Target, Modality, SplitOptions) for k in model.model_fields}
    shown = next(b.code for b in blocks_of(page("data.md")) if b.language == "yaml")
    assert [key for key in keys if not re.search(rf"\b{key}:", shown)] == []


def test_the_order_of_the_layers_is_the_one_that_is_tested() -> None:
    tree = ast.parse((Path(__file__).parent / "test_architecture.py").read_text(encoding="utf-8"))
    rows = next(n.value for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "LAYERS")
    layers = [", ".join(row) for row in ast.literal_eval(rows) if row != ("__main__",)]
    want = list(dict.fromkeys(reversed(layers)))
    shown = next(b.code for b in blocks_of(page("design.md")) if b.language == "text").splitlines()
    assert [line.split("  ")[0].strip() for line in shown] == want


def test_the_version_is_the_same_wherever_it_stands() -> None:
    root = DOCS.parent
    project = re.search(r'^version = "(.+)"', (root / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    cited = re.search(r"^version: (.+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    changed = re.search(r"^## \[(\d.*?)\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert project is not None
    assert cited is not None
    assert changed is not None
    assert project[1] == cited[1] == changed[1]
