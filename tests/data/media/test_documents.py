"""Documents from text and PDF files: what they say is read, and what is broken is one clear error."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pypdf
import pytest

from profuse import FusionClassifier
from profuse.data.media.documents import read_document
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_tensors
from profuse.errors import DataError, MissingDependencyError
from profuse.kinds import kind_named
from profuse.schema import Schema


def pdf(pages: list[str]) -> bytes:
    """A PDF file by hand, each page a line of text."""
    n = len(pages)
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(n))
    parts = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {n} >>"]
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for i, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 40 700 Td ({text}) Tj ET" if text else ""
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources {font} /Contents {4 + 2 * i} 0 R >>"
        parts += [page, f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream"]
    out, places = b"%PDF-1.4\n", []
    for i, part in enumerate(parts):
        places.append(len(out))
        out += f"{i + 1} 0 obj\n{part}\nendobj\n".encode()
    table = "".join(f"{at:010d} 00000 n \n" for at in places)
    end = f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(parts) + 1} /Root 1 0 R >>\n"
    return out + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()


def read(folder: Path, data: bytes) -> tuple[str, list[str]]:
    path, told = folder / "a.pdf", list[str]()
    path.write_bytes(data)
    return read_document(path, tell=told.append), told


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"One.\nTwo.", "One.\nTwo."),
        ("\ufeffGrün".encode(), "Grün"),
        ("Grün".encode("utf-16"), "Grün"),
        (pdf(["Hello there", "General page"]), "Hello there\nGeneral page"),
    ],
)
def test_a_text_is_read_as_it_stands_and_of_a_pdf_all_pages(data: bytes, text: str, tmp_path: Path) -> None:
    assert read(tmp_path, data) == (text, [])


def test_pages_without_text_are_told(tmp_path: Path) -> None:
    text, told = read(tmp_path, pdf(["first", "", "last"]))
    assert text.split() == ["first", "last"]
    assert told == ["some pages hold no text, as scanned ones do, and are not read"]


def locked() -> bytes:
    writer, file = pypdf.PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b"", "the file is empty"),
        (lambda: b"  \n ", "holds no text"),
        (lambda: b"caf\xe9 au lait", "must be text in UTF-8; byte 3 is none"),
        (lambda: b"PK\x03\x04\0\0", "zero byte"),
        (lambda: pdf(["", ""]), "scanned pages are not read"),
        (lambda: pdf(["one"])[:100], "the PDF file is broken"),
        (locked, "locked by a password"),
        (lambda: b"a" * 10_000_001, "at most 10,000,000 characters"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(make: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, make())  # type: ignore[operator]


def test_no_changed_byte_gives_another_kind_of_error(tmp_path: Path) -> None:
    data, rng = pdf(["one page", "another"]), np.random.default_rng(0)
    for i in range(60):
        odd = bytearray(data[: int(rng.integers(9, len(data)))] if i % 3 == 0 else data)
        for at in rng.integers(9, len(odd), 3):
            odd[int(at)] = int(rng.integers(256))
        try:
            assert read(tmp_path, bytes(odd))[0].strip()
        except DataError:
            continue


def test_without_the_package_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(MissingDependencyError, match=r"profuse\[document\]"):
        read(tmp_path, pdf(["one"]))


@pytest.mark.slow
def test_a_column_of_files_becomes_documents_and_a_model_reads_beyond_256_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    filler = np.array(["lorem", "ipsum", "dolor", "sit", "amet", "elit"])
    for i in range(60):
        words = rng.choice(filler, 400).tolist() + ["good" if i % 2 else "bad"] * 3 + rng.choice(filler, 20).tolist()
        (tmp_path / f"{i}.txt").write_text(" ".join(words))
    frame = pd.DataFrame(
        {"report": [f"{i}.txt" for i in range(60)], "size": rng.normal(size=60), "y": np.arange(60) % 2}
    )
    data = TableReader.fit(frame, Schema.model_validate({"target": {"columns": ["y"]}}), base_dir=tmp_path)[1]
    assert data.modalities["report"].kind == "document"
    X = frame[["report", "size"]]
    model = FusionClassifier(fusion="concat", epochs=2, members=1, base_dir=tmp_path).fit(X[:40], frame["y"][:40])
    assert float((model.predict(X[40:]) == frame["y"][40:]).mean()) > 0.9


def test_passages_are_told_by_how_they_begin_and_end() -> None:
    kind = kind_named("document")
    text = " ".join(f"word{i}" for i in range(100))
    data = from_tensors({"x": ("document", [text, "a b"])}).modalities["x"]
    units = kind.units(data, 0, 4)
    assert units[1].label == "2: word25 word26 word27 word28 ... word47 word48 word49"
    kept = np.array([[True, False, True, True]])
    assert str(kind.keep(data, 0, units, kept).values[0]).split()[24:26] == ["word24", "word50"]


def test_the_parser_of_a_broken_file_says_nothing_beside_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(logging.lastResort, "emit", lambda record: heard.append(record.getMessage()))
    with pytest.raises(DataError, match="the PDF file is broken"):
        read(tmp_path, pdf(["one"])[:200])
    assert heard == []
    logging.getLogger("pypdf._reader").warning("heard")
    assert heard == ["heard"]  # it is as it was
