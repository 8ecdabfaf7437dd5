"""JSON of strangers: what the standard says and no more."""

from __future__ import annotations

import pytest

from profuse._json import parse_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        ('{"a": NaN}', "NaN is no number"),
        ("[Infinity]", "Infinity is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[1e999]", "1e999 is too large"),
        ("9" * 5_000, "digits"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        (b"\xff\xfe\xfd", "decode"),
    ],
    ids=lambda value: str(value[:12]),
)
def test_what_is_no_json_is_a_value_error(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_plain_json_is_read() -> None:
    assert parse_json(b'{"a": [1, 2.5, null, true, "\xc3\xbc"], "b": {}}') == {"a": [1, 2.5, None, True, "ü"], "b": {}}
