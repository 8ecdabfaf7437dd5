"""Numbers as people write them: `1.250,75`, `1 250`, `(100.50)`, `CHF 1'250.-`, `12,5 %` -> 1250.75, 1250, -100.5, ...

A mark before three digits may part thousands or begin decimals, so every cell is read twice, with a decimal point and
with a decimal comma. Which reading a column has is decided elsewhere (`data.table.number_format`), on all its cells.

What counts as a number: digits, grouped by one kind of mark (`,` `.` blank `'` `_`) or not, decimals, an exponent; a
sign before or behind, or brackets for a negative one; one sign or word of money, or per cent, before or behind.
Other units (`12 kg`), ranges, versions, dates and telephone numbers are no numbers.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from profuse.schema import NUMBER_FORMAT

__all__ = ["NumberFormat", "Parsed", "parse", "read_numbers", "write_number"]

Mark = Literal[".", ","]
_MARKS: tuple[Mark, Mark] = (".", ",")

_ISO = (
    "AED AFN AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP "
    "CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF "
    "IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RMB RON RSD "
    "RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SRD SSP STN SVC SYP SZL THB TJS TMT TND TRY TTD TWD TZS UAH UGX USD UYU "
    "UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW"
)  # without ALL, CUP, SOS and TOP, which are words
_SAME = {
    "€": "EUR", "euro": "EUR", "euros": "EUR", "£": "GBP", "us$": "$", "usd": "$", "fr": "CHF", "fr.": "CHF",
    "sfr": "CHF", "sfr.": "CHF", "kr.": "kr", "rs.": "rs", "₹": "rs", "inr": "rs", "zł": "PLN", "kč": "CZK",
    "ft": "HUF", "руб.": "руб", "₽": "руб", "rub": "руб", "円": "¥", "jpy": "¥", "元": "¥", "rmb": "¥", "cny": "¥",
    "₩": "KRW", "원": "KRW", "₪": "ILS", "₴": "UAH", "₺": "TRY", "฿": "THB", "brl": "r$",
}  # fmt: skip
_MONEY_WORDS = (
    r"(?:US|CA|AU|NZ|HK|NT|MX|[ACSRaU])\$|[Ee]uros?|EURO|[Ss]?[Ff]r\.?|SFr\.?|[Kk]r\.?|Rs\.?|zł|Kč|Ft|lei|руб\.?|лв\.?"
    r"|円|元|원|eur|usd|gbp|chf"
)
_SIGNS = "$¢£¤¥֏؋৳฿៛₠-⃀﷼"
_UNIT = rf"(?:[{_SIGNS}]|{'|'.join(_ISO.split())}|{_MONEY_WORDS}|%|‰)"
_NUMBER = r"[\d.,][\d.,' _]*(?<=[\d.])(?:[eE][-+]?\d+)?"
_DRESSED = re.compile(
    rf"(?P<outer>{_UNIT})?\s*(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<before>{_UNIT})?\s*(?P<inner>[-+])?\s*(?P<number>{_NUMBER})\s*"
    rf"(?P<after>{_UNIT})?\s*(?P<behind>[-+])?\s*(?P<close>\))?\s*(?P<last>{_UNIT})?"
)
_PRICE_DASH = re.compile(r"(?<=\d)([.,])-{1,2}(?=[^\d]*$)")  # 12,- and 12.-- are prices without cents
_CHARACTERS = {
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t", " "),
    **dict.fromkeys("\u2019\u2018\u02bc\u2032\u00b4\u0060\uff07\u066c", "'"),
    **dict.fromkeys("\uff0e\u066b", "."),
    "\uff0c": ",", "\uff05": "%", "\u066a": "%", "\uff0b": "+", "\uff04": "$", "\uffe5": "¥", "\uffe1": "£",
    "\u200e": "", "\u200f": "", "\u202a": "", "\u202c": "",
}  # fmt: skip
_TABLE = str.maketrans(_CHARACTERS)
_LONGEST = 60
_MANY = 2_000
"""Cells beyond which only distinct words are read, if most of the first ones are repeated."""


@dataclass(frozen=True, eq=False)
class Parsed:
    """Cells read with a decimal point and with a decimal comma; all arrays are `[cell]`.

    Attributes:
        words: The cells without blanks at their ends.
        clean: The same, with signs, blanks and digits of other alphabets made plain in what is a number.
        values: For each mark the number, NaN where the cell is none in that reading.
        valid: For each mark whether the cell is a number in that reading; one that float64 cannot hold is.
        unit: Money or per cent, "" where there is none; signs and codes of one currency are one.
        written: The unit as it is written, with a blank at its end if it stands before the number.
        padded: Whether its digits begin as 007 does.
        plain: Whether it is written as programs write numbers, and in ASCII: 1250.75, -5, 1e-3.
    """

    words: pd.Series
    clean: pd.Series
    values: dict[Mark, np.ndarray]
    valid: dict[Mark, np.ndarray]
    unit: np.ndarray
    written: np.ndarray
    padded: np.ndarray
    plain: np.ndarray

    @property
    def either(self) -> np.ndarray:
        """Whether the cell is a number at all."""
        return np.asarray(self.valid["."] | self.valid[","])

    def of(self, codes: np.ndarray, index: pd.Index) -> Parsed:
        """Returns what is known of `[row]` cells, of which these are the distinct ones; `codes`: which one each is."""
        return Parsed(
            words=self.words.take(codes).set_axis(index),
            clean=self.clean.take(codes).set_axis(index),
            values={mark: values[codes] for mark, values in self.values.items()},
            valid={mark: valid[codes] for mark, valid in self.valid.items()},
            unit=self.unit[codes],
            written=self.written[codes],
            padded=self.padded[codes],
            plain=self.plain[codes],
        )


@dataclass(frozen=True)
class NumberFormat:
    """How a column writes its numbers.

    Attributes:
        decimal: The mark before decimals.
        thousands: The mark between thousands; besides it blanks, `'` and `_` are taken, as they can be nothing else.
        unit: Money or per cent as the column writes it, "" = none.
        behind: Whether the unit stands behind the number.
    """

    decimal: Mark = "."
    thousands: str = ""
    unit: str = ""
    behind: bool = False

    @classmethod
    def of(cls, text: str) -> NumberFormat:
        """Returns the format of `text`, which is 1234.5 as the column writes it (`Schema.numbers`)."""
        match = re.fullmatch(NUMBER_FORMAT, text.strip())
        assert match is not None, text  # the schema has checked it
        unit = (match["before"] or match["after"] or "").strip()
        decimal: Mark = "," if match["decimal"] == "," else "."
        return cls(decimal, match["thousands"].translate(_TABLE), unit, bool(match["after"]))

    def __str__(self) -> str:
        number = f"1{self.thousands}234{self.decimal}5"
        if not self.unit:
            return number
        return f"{number} {self.unit}" if self.behind else f"{self.unit} {number}"


def parse(cells: pd.Series, marks: tuple[Mark, ...] = _MARKS) -> Parsed:
    """Reads cells (words, none missing) with each of `marks` as the decimal mark."""
    words = cells.astype("str").str.strip()
    if len(words) > _MANY and words.iloc[:_MANY].nunique() < _MANY // 2:
        codes, distinct = pd.factorize(words)
        return _parsed(pd.Series(distinct, dtype="str"), marks).of(codes, words.index)
    return _parsed(words, marks)


def _parsed(words: pd.Series, marks: tuple[Mark, ...]) -> Parsed:
    n = len(words)
    values: dict[Mark, np.ndarray] = {m: np.full(n, np.nan) for m in _MARKS}
    valid: dict[Mark, np.ndarray] = {m: np.zeros(n, dtype=bool) for m in _MARKS}
    plain = np.zeros(n, dtype=bool)
    bare = _matches(words, r"[-+]?(?:[0-9.,]|[iI][nN][fF]).*").any()  # else what follows finds nothing
    for mark in marks if bare else ():
        m, o = re.escape(mark), re.escape(_other(mark))
        simple = _matches(
            words, rf"[-+]?(?:[0-9]+(?:{m}[0-9]{'*' if mark == '.' else '+'})?|{m}[0-9]+)(?:[eE][-+]?[0-9]+)?"
        )
        whole = _matches(words, r"[-+]?[0-9]+\.0") if mark == "," else False  # as pandas writes whole floats
        grouped = _matches(words, rf"[-+]?[1-9][0-9]{{0,2}}(?:{o}[0-9]{{3}})+(?:{m}[0-9]+)?")
        simple |= _matches(words, "(?i)[-+]?inf(?:inity)?")
        plain |= simple if mark == "." else False
        valid[mark] = simple | grouped | whole
        numbers = words[valid[mark]]
        if mark == ",":
            numbers = numbers.str.replace(r"\.0$", "", regex=True)
        if grouped.any():
            numbers = numbers.str.replace(_other(mark), "", regex=False)
        if mark == ",":
            numbers = numbers.str.replace(",", ".", regex=False)
        read = np.array(pd.to_numeric(numbers.astype(object), errors="coerce"), dtype=np.float64)
        values[mark][valid[mark]] = np.where(np.isnan(read), np.inf, read)  # what has thousands of digits, too
    unit, written = np.full(n, "", dtype=object), np.full(n, "", dtype=object)
    padded = _matches(words, r"[-+]?0[0-9].*") if bare else np.zeros(n, dtype=bool)
    clean = words
    rest = np.flatnonzero(~(valid["."] | valid[","]))
    if len(rest):
        codes, distinct = pd.factorize(words.iloc[rest].to_numpy(dtype=object))
        results = [_dressed(word) or _NONE._replace(clean=word) for word in distinct]
        for mark in marks:
            made = np.array([f.values[mark] for f in results], dtype=np.float64)[codes]
            values[mark][rest], valid[mark][rest] = made, ~np.isnan(made)
        unit[rest] = np.array([unit_of(f.unit) for f in results], dtype=object)[codes]
        written[rest] = np.array([f.unit for f in results], dtype=object)[codes]
        padded[rest] = np.array([f.padded for f in results])[codes]
        plain_words = words.to_numpy(dtype=object, copy=True)
        plain_words[rest] = np.array([f.clean for f in results], dtype=object)[codes]
        clean = pd.Series(plain_words, index=words.index, dtype="str")
    return Parsed(words, clean, values, valid, unit, written, padded, plain)


def read_numbers(cells: pd.Series, form: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of cells (words, none missing) in the format `form`, and which are numbers but not in it.

    Args:
        cells: The cells.
        form: As in `Schema.numbers`; None = as programs write them (1234.5).

    Returns:
        float64 `[row]`, NaN where a cell is no number or is written otherwise; bool `[row]`, the latter.
    """
    style = NumberFormat() if form is None else NumberFormat.of(form)
    if style.unit and re.fullmatch(_UNIT, style.unit) is None:  # kilograms, or another that the schema names
        u = re.escape(style.unit)
        cells = cells.astype("str").str.strip().str.replace(rf"^{u}\s*|\s*{u}$", "", regex=True)
        style = replace(style, unit="")
    parsed = parse(cells)
    if form is None:
        fits = parsed.plain
    else:
        fits = parsed.valid[style.decimal]
        if style.thousands != _other(style.decimal):
            fits = fits & ~parsed.clean.str.contains(_other(style.decimal), regex=False).to_numpy(dtype=bool)
        wanted, per = unit_of(style.unit), style.unit in ("%", "‰")
        bare = parsed.unit == ""
        zero = parsed.values[style.decimal] == 0
        fits = fits & ((parsed.unit == wanted) | (bare & (zero | (not per))))
    return np.where(fits, parsed.values[style.decimal], np.nan), parsed.either & ~fits


def write_number(value: float, form: str | None) -> str:
    """Returns a number as a column of the format `form` writes it, without thousands and unit of money."""
    text = repr(float(value))
    if form is None:
        return text
    style = NumberFormat.of(form)
    return text.replace(".", style.decimal) + (f" {style.unit}" if style.unit in ("%", "‰") else "")


def unit_of(text: str) -> str:
    """Returns one name for all signs and words of a unit."""
    key = text.strip().lower()
    return _SAME.get(key, key if key in ("kr", "rs", "r$", "lei", "руб") else text.strip().upper())


def _other(mark: str) -> str:
    return "," if mark == "." else "."


def _matches(words: pd.Series, pattern: str) -> np.ndarray:
    return np.array(words.str.fullmatch(pattern), dtype=bool)


def _grouped(mark: str) -> re.Pattern[str]:
    m, o = re.escape(mark), re.escape(_other(mark))
    indian = r"|[1-9]\d?(?:,\d{2})+,\d{3}" if mark == "." else ""
    groups = "|".join(rf"[1-9]\d{{0,2}}(?:{g}\d{{3}})+" for g in (o, " ", "'", "_"))
    decimals = r"\d*" if mark == "." else r"\d+"
    return re.compile(rf"(?:(?:\d+|{groups}{indian})(?:{m}{decimals})?|{m}\d+)|(?:\d+(?:{m}\d*)?|{m}\d+)[eE][-+]?\d+")


_GROUPED = {m: _grouped(m) for m in _MARKS}


class _Cell(NamedTuple):
    """One cell: its two readings (NaN = none), its unit as written, whether it is padded, its plain form."""

    values: dict[Mark, float]
    unit: str
    padded: bool
    clean: str


_NONE = _Cell({".": math.nan, ",": math.nan}, "", False, "")


def _dressed(word: str) -> _Cell | None:
    """Reads a cell with signs, brackets, groups or a unit; None = it is no number."""
    if len(word) > _LONGEST:
        return None
    clean = word if word.isascii() else _ascii(word)
    match = _DRESSED.fullmatch(_PRICE_DASH.sub(r"\g<1>00", clean))
    if match is None:
        return None
    signs = "".join(s for s in (match["sign"], match["inner"], match["behind"]) if s)
    brackets = bool(match["open"])
    before, after = match["outer"] or match["before"], match["after"] or match["last"]
    if len(signs) + brackets > 1 or brackets != bool(match["close"]) or match["behind"] == "+":
        return None
    if sum(match[name] is not None for name in ("outer", "before", "after", "last")) > 1:
        return None
    number, factor = match["number"], -1.0 if brackets or signs == "-" else 1.0
    values: dict[Mark, float] = {}
    for mark in _MARKS:
        digits = re.sub(rf"[ '_{_other(mark)}]", "", number).replace(mark, ".")
        values[mark] = factor * float(digits) if _GROUPED[mark].fullmatch(number) else math.nan
    if math.isnan(values["."]) and math.isnan(values[","]):
        return None
    padded = number[:1] == "0" and number[1:2].isdigit()
    return _Cell(values, f"{before} " if before else after or "", padded, clean)


def _ascii(word: str) -> str:
    word = word.translate(_TABLE)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in word).strip()
