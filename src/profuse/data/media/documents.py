"""The text of one document from a text or PDF file; each fault is a `DataError` without a place."""

from __future__ import annotations

import codecs
import logging
import warnings
from io import BytesIO
from pathlib import Path

from profuse._files import check_size
from profuse._optional import need
from profuse.data.media.source import Tell, read_bytes, warn
from profuse.errors import DataError, MissingDependencyError

__all__ = ["DOCUMENT_SUFFIXES", "read_document"]

DOCUMENT_SUFFIXES = (".txt", ".md", ".pdf")

_MOST_CHARACTERS = 10_000_000
_MOST_PAGES = 5_000


def read_document(path: Path, *, tell: Tell = warn) -> str:
    """Returns the text of a file: of a PDF that of all its pages, with a line between them.

    Args:
        path: A text in UTF-8 or UTF-16, or a PDF file, told by its first bytes.
        tell: Called with what could be doubted: pages without text.

    Raises:
        DataError: It is none, it is damaged, locked or too long, or it holds no text, as scanned pages do.
        MissingDependencyError: A PDF file, without pypdf (extra `document`).
    """
    data = read_bytes(path)
    text = _pdf(data, tell) if data[:1024].lstrip().startswith(b"%PDF-") else _plain(data)
    if len(text) > _MOST_CHARACTERS:
        raise DataError(f"the document must have at most {_MOST_CHARACTERS:,} characters; got {len(text):,}")
    if not text.strip():
        raise DataError("the document holds no text")
    return text


def _plain(data: bytes) -> str:
    check_size(4.0 * len(data), "the document")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"the document must be text in UTF-8; byte {error.start} is none. Save it as UTF-8") from error
    if "\0" in text:
        raise DataError("the document must be text or PDF; it holds a zero byte")
    return text


def _pdf(data: bytes, tell: Tell) -> str:
    pypdf = need("pypdf", "document", "reading PDF files")
    logger = logging.getLogger("pypdf")
    was = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # and of its modules' loggers; what they would say is said by the errors
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = pypdf.PdfReader(BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                raise DataError("the PDF file is locked by a password")
            n_pages = len(reader.pages)
            if not 1 <= n_pages <= _MOST_PAGES:
                raise DataError(f"the PDF file must have 1 to {_MOST_PAGES:,} pages; got {n_pages:,}")
            pages, n = list[str](), 0
            for page in reader.pages:
                pages.append(page.extract_text())
                n += len(pages[-1])
                if n > _MOST_CHARACTERS:
                    raise DataError(f"the document must have at most {_MOST_CHARACTERS:,} characters; got more")
    except (DataError, MissingDependencyError):
        raise
    except Exception as error:  # parsers of damaged files raise whatever they like
        reason = " ".join(str(error).split()).rstrip(".")[:120] or type(error).__name__
        raise DataError(f"the PDF file is broken ({reason})") from error
    finally:
        logger.setLevel(was)
    lacking = sum(not page.strip() for page in pages)
    if lacking == len(pages):
        raise DataError("the PDF file holds no text: scanned pages are not read")
    if lacking:
        tell("some pages hold no text, as scanned ones do, and are not read")
    return "\n".join(pages)
