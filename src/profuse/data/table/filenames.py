"""Columns of file names: files that some kind reads, files that none reads, and what looks like files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from profuse.data.wording import tell_values
from profuse.errors import DataError
from profuse.kinds import KINDS, Kind, kind_named

__all__ = ["UNREAD", "file_kind", "unread_files"]

_NOT_READ = frozenset(
    f".{suffix}"
    for suffix in re.findall(
        r"\w+",
        "heic heif avif svg svgz raw cr2 cr3 nef arw dng orf psd xcf ai eps ps ico jp2 j2k jxl tga exr hdr "
        "dicom mha mhd nrrd czi svs ndpi m4a aac wma amr mid midi caf weba ra wmv flv 3gp doc docx odt rtf "
        "tex epub htm html xml json jsonl yaml yml xls xlsx ods ppt pptx parquet feather arrow orc avro mat npz "
        "h5 hdf5 hdf nc pkl pickle pt pth safetensors tfrecord rds rda sav dta edf bdf set fif vhdr c3d zip gz "
        "tgz tar bz2 xz 7z rar stl obj glb gltf off las laz pdb cif sdf mol mol2 fasta fastq fa fq bam sam vcf "
        "gpx kml geojson shp dat bin",
    )
)
_SUFFIX = re.compile(r"[^\s@]*[^\s@./\\]\.([A-Za-z][A-Za-z0-9]{0,4})")
_PATH = re.compile(
    r"(?:[A-Za-z]:)?[\\/]?(?:[^\\/\s]+[\\/])+[^\\/\s]*[A-Za-z_][^\\/\s]*|[\\/][^\\/\s]*[A-Za-z][^\\/\s]*"
)
_ADDRESS = re.compile(r"(?:https?|ftp|s3|gs|az)://", re.IGNORECASE)
_DOMAINS = frozenset(
    re.findall(
        r"\w+", "com org net edu gov mil int info biz io ai app dev co uk de fr it es nl ch at eu us ru cn jp br"
    )
)
_FEW = 3
UNREAD = "look like"
"""Stands in the reason of a column that may name files that are not read."""


def file_kind(name: str, sample: Sequence[str]) -> tuple[str, str] | None:
    """Returns the kind of a column more than half of whose words name files of a kind, None for others.

    Raises:
        DataError: Most words name files, but of several kinds, of a kind that is not read, or in the web.
    """
    words = [w.strip() for w in sample]
    read = [kind for kind in map(kind_named, KINDS) if kind.suffixes]
    by_kind = Counter[str]()
    suffixes = Counter[str]()
    for word in words:
        lower = word.lower()
        end, kind = _kind_of(lower, read)
        suffix = lower[lower.rfind(".") :] if "." in lower else ""
        kind = kind or ("" if suffix in _NOT_READ and len(lower) > len(suffix) else None)
        if kind is not None and "\n" not in word:
            by_kind[kind] += 1
            suffixes[word[-len(end or suffix) :]] += 1
    if sum(by_kind.values()) <= 0.5 * len(words):
        return None
    kind, n = by_kind.most_common(1)[0]
    told = tell_values(sorted(suffixes), n=3)
    if not kind or n <= 0.5 * len(words):
        what = "of one kind" if by_kind.keys() - {""} else "of a kind that is read"
        raise DataError(
            f"column {name!r}: files must be {what}: {_listed(read)}; got names that end in {told}. Convert them, or "
            "put what text they hold into the cells; or name the column in ignore, or set its kind in the schema: "
            "category."
        )
    if sum(bool(_ADDRESS.match(w)) for w in words) > 0.5 * len(words):
        raise DataError(
            f"column {name!r}: files must be on this machine; got addresses, {words[0][:80]!r}. Fetch them, and "
            "name their paths; or name the column in ignore, or set its kind in the schema: category."
        )
    return kind, f"file names that end in {told}"


def unread_files(sample: Sequence[str]) -> str:
    """Returns what to say of words that look like files of no known kind; "" of others."""
    words = [w.strip() for w in sample]
    if len(words) < _FEW:
        return ""
    ends = [m[1].lower() for w in words if (m := _SUFFIX.fullmatch(w))]
    if len(ends) > 0.5 * len(words) and len(set(ends)) <= _FEW and not set(ends) & _DOMAINS:
        told = tell_values(sorted({f".{e}" for e in ends}))
        return f"they {UNREAD} names of files that are not read ({told}): convert pictures, sounds and series"
    if sum(bool(_PATH.fullmatch(w)) for w in words) > 0.5 * len(words):
        return f"they {UNREAD} paths of files without a suffix, which are not read: add one, .png say"
    return ""


def _kind_of(name: str, read: Sequence[Kind]) -> tuple[str, str | None]:
    """Returns the longest of the endings that fit a file's name, and its kind, the first of those; "" and None."""
    fits = [(end, kind.name) for kind in read for end in kind.suffixes if name.endswith(end)]
    return max(fits, key=lambda fit: len(fit[0])) if fits else ("", None)


def _listed(read: Sequence[Kind]) -> str:
    *first, last = (f"{kind.noun} ({' '.join(kind.suffixes)})" for kind in read)
    return f"{', '.join(first)} or {last}"
