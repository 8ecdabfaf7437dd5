"""Text of the data, made harmless: for terminals, Markdown and spreadsheets."""

from __future__ import annotations

import csv
import io
import unicodedata

import pytest
from hostile import HOSTILE, STEERING
from markdown_it import MarkdownIt

from profuse._escape import formula_free, markdown, visible, visible_values


@pytest.mark.parametrize("sign", ["\x1b", *STEERING])
def test_what_steers_a_terminal_is_shown_as_its_number(sign: str) -> None:
    assert visible(f"a{sign}b") == f"a\\{'x' if ord(sign) < 256 else 'u'}{ord(sign):0{2 if ord(sign) < 256 else 4}x}b"


def test_all_control_and_direction_characters_of_unicode_are_made_visible() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B"}
    for sign in map(chr, range(0x110000)):
        if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(sign) in turning:
            assert sign not in visible(sign), hex(ord(sign))


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "naïve café",
        "日本語",
        "עברית",
        "क्\u200dष",
        "\U0001f469\u200d\U0001f469",
        "e\u0301",
        "a\xa0b",
        "\\x1b",
        "",
    ],
)
def test_words_of_any_script_stay_what_they_are(text: str) -> None:
    assert visible(text) == text


def test_lines_stay_lines_only_where_that_is_meant() -> None:
    assert visible("a\tb\r\nc", lines=True) == "a\tb\\r\nc"
    assert visible("a\tb\r\nc") == "a\\tb\\r\\nc"


def test_texts_anywhere_in_json_values_are_made_visible() -> None:
    assert visible_values({"\x1b": ["\x07", 1, None, {"k": "a\nb"}]}) == {"\\x1b": ["\\x07", 1, None, {"k": "a\nb"}]}


def kinds(page: str) -> list[str]:
    """The parts that a reader of Markdown sees in `page`, texts left out."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [t.type for block in reader.parse(page) for t in (block, *(block.children or ())) if t.type != "text"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "# {}", "**{}** said", "- {}\n- b", "| a | b |\n| --- | --- |\n| {} | c |"])
def test_no_text_becomes_markup_in_markdown(name: str, frame: str) -> None:
    page = frame.format(markdown(HOSTILE[name]))
    assert [k for k in kinds(page) if k not in ("text_special", "softbreak")] == kinds(frame.format("word"))


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_the_text_itself(name: str) -> None:
    tokens = MarkdownIt("commonmark").parse(markdown(HOSTILE[name]))
    shown = "".join(t.content for block in tokens for t in block.children or ())
    assert shown == visible(" ".join(HOSTILE[name].split()))


@pytest.mark.parametrize(
    "address", ["https://example.org", "http://example.org", "ftp://example.org", "WWW.example.org"]
)
def test_an_address_is_no_link_by_itself(address: str) -> None:
    assert address not in markdown(f"see {address}")


@pytest.mark.parametrize("sign", list("\\`*_[]<>|#~$&"))
def test_each_sign_that_any_reader_of_markdown_knows_is_escaped(sign: str) -> None:
    assert markdown(f"a{sign}b") == f"a\\{sign}b"


@pytest.mark.parametrize("text", ["+1.5 points", "-0.2", "a - b", "1.5 of 2", "text, image (2 rounds): 80 %", "x = y"])
def test_plain_words_and_numbers_need_no_escapes(text: str) -> None:
    assert markdown(text) == text


def written(*cells: str, separator: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
    return out.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "cell",
    [
        "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "-2-3", "@SUM(A1:A9)", "\t=1", "\tword", "\rword", "\r=1", "\n=1",
        " =1", "  +A1", "\xa0=1", "\x00=1", "\u200b=1", "\ufeff=1", "＝1", "＋A1", "－A1", "＠x", "-", "=", "+49 30 1",
        "a;=1", "a\t@x", "a\n+A1", "a, -A1", '=HYPERLINK("https://example.org")', "-inf-1", "-1e5x",
    ],
)  # fmt: skip
def test_a_cell_that_a_spreadsheet_would_run_is_put_behind_a_quote(cell: str, separator: str) -> None:
    text, n_changed = formula_free(written("name", cell, separator=separator), separator=separator)
    (cells,) = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    assert n_changed == 1
    assert cells[0] == "name"
    assert cells[1].replace("'", "") == cell.replace("'", "")
    parts = [cells[1], *(p for mark in ";,\t\r\n" for p in cells[1].split(mark)[1:])]
    assert not any(p.strip("\x00\u200b\ufeff \xa0\t\r\n")[:1] in tuple("=+-@＝＋－＠") for p in parts if p.strip())
    assert formula_free(text, separator=separator) == (text, 0)


@pytest.mark.parametrize(
    "cell",
    [
        "word", "", "-5", "+5", "-1.5", "-.5", "-1e-05", "+3.", "-inf", "0.25", "a-b", "a=b", "x@y.org", "2024-01-02",
        "[1, -2.5e3, -3]", "1;-2", "don't", '"quoted"', "a\nb", "a, b",
    ],
)  # fmt: skip
def test_all_other_cells_stay_what_they_are(cell: str) -> None:
    text = written("id", cell)
    assert list(csv.reader(io.StringIO(formula_free(text)[0], newline=""))) == [["id", cell]]
    assert formula_free(text)[1] == 0


def test_the_header_is_made_harmless_too() -> None:
    assert formula_free("=a,b\n1,2\n") == ("'=a,b\n1,2\n", 1)
