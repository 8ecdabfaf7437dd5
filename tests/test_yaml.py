"""YAML of strangers: plain values within bounds; everything else is one error, at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from profuse._yaml import read_yaml
from profuse.comparison.compare import read_options
from profuse.data.table.schema_file import load_schema
from profuse.errors import ConfigError, DataError, ProfuseError


def read(folder: Path, text: str | bytes) -> dict[str, object]:
    path = folder / "s.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path, what="schema", who="test")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
MERGED = "a0: &a0 {k: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'x{j}: *a{i - 1}' for j in range(9))}}}\n" for i in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000))

BAD: dict[str, tuple[str | bytes, str]] = {
    "lists of aliases that multiply": (BOMB, "with aliases written out"),
    "mappings of aliases that multiply": (MERGED, "with aliases written out"),
    "a long chain of aliases": (CHAIN, "with aliases written out"),
    "an alias of what it stands in": ("a: &a [1, *a]\n", "an alias of what it stands in"),
    "brackets without end": ("a: " + "[" * 100_000, "more than 50 levels"),
    "braces without end": ("{a: " * 5_000, "more than 50 levels"),
    "indents without end": ("".join(" " * i + "a:\n" for i in range(300)), "more than 50 levels"),
    "a number of 5,000 digits": ("a: " + "9" * 5_000, "a number of 5,000 digits"),
    "a hexadecimal number of 5,000 digits": ("a: 0x" + "f" * 5_000, "digits"),
    "a number in base sixty without end": ("a: 1" + ":11" * 3_000, "digits"),
    "code": ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    "a tag of one's own": ("a: !mine 1\n", "could not determine a constructor"),
    "an integer that is none": ("a: !!int words\n", "schema must be YAML"),
    "a truth that is none": ("a: !!bool words\n", "does not fit its tag"),
    "a time that is none": ("a: !!timestamp words\n", "does not fit its tag"),
    "a month that is none": ("a: !!timestamp 2020-13-01\n", "schema must be YAML"),
    "a name twice": ("a: 1\nb: 2\na: 3\n", "the key 'a' stands twice"),
    "a name twice, quoted and not": ("1: x\n'1': y\n", "the key '1' stands twice"),
    "a name twice, deep inside": ("a:\n  - {b: 1, b: 2}\n", "the key 'b' stands twice"),
    "a name that is a list": ("? [a, b]\n: 1\n", "a name that is a list"),
    "two documents": ("a: 1\n---\nb: 2\n", "another document"),
    "an unknown alias": ("a: *nothing\n", "undefined alias"),
    "a zero byte": ("a: \0\n", "special characters"),
    "another encoding": ("a: ü\n".encode("latin-1"), "utf-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), "utf-8"),
    "more than 4 MiB": ("a: 1\n" * 900_000, "at most 4 MiB long"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_nothing_can_be_made_of_is_one_error_at_once(what: str, tmp_path: Path) -> None:
    text, message = BAD[what]
    start = time.process_time()
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("what", ["lists of aliases that multiply", "code", "a number of 5,000 digits"])
def test_schemas_and_options_are_read_so(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(str(BAD[what][0]))
    for reads in (load_schema, read_options):
        with pytest.raises(DataError, match=r"x\.yaml: the (schema|options) must be YAML"):
            reads(path)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("\ufeffa: 1\n", {"a": 1}),
        ("2021: x\nyes: y\n2020-01-02: z\n~: n\n", {"2021": "x", "yes": "y", "2020-01-02": "z", "~": "n"}),
        ("a: 2020-01-02\n", {"a": "2020-01-02"}),
        ("a: &x [1, 2]\nb: *x\n", {"a": [1, 2], "b": [1, 2]}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\n", {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
        ("a: 12345678901234567890\n", {"a": 12345678901234567890}),
    ],
)  # fmt: skip
def test_names_are_text_and_dates_are_what_they_look_like(text: str, values: object, tmp_path: Path) -> None:
    assert read(tmp_path, text) == values


def test_a_large_schema_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, "columns:\n" + "".join(f"  c{i}: numeric\n" for i in range(3_000)))
    assert len(found["columns"]) == 3_000  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[1, 2]", "words", "5"])
def test_what_is_no_names_and_values_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be names and values; got a"):
        read(tmp_path, text)


def test_names_in_lists_that_look_like_numbers_are_to_be_quoted(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("ignore: [2021, no]\n")
    with pytest.raises(ConfigError, match=r"ignore\.0: a name must be text \(got 2021\): write it in quotes"):
        load_schema(tmp_path / "s.yaml")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "folder.yaml", "zero.yaml", "none.yaml"):
        for reads in (load_schema, read_options):
            with pytest.raises(ProfuseError, match=name):
                reads(tmp_path / name)
