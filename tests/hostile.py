"""Texts that people could put into a table to be run, or to turn or hide what is shown."""

from __future__ import annotations

__all__ = ["HOSTILE", "STEERING"]

_RUN = "document.title='RAN'"
HOSTILE = {
    "script": f"<script>{_RUN}</script>",
    "picture": f"<img src=x onerror={_RUN}>",
    "vector picture": f"<svg/onload={_RUN}>",
    "end of title": f"</title><script>{_RUN}</script>",
    "end of style": f"</style></svg></pre><script>{_RUN}</script>",
    "end of comment": f"--><!--><script>{_RUN}</script>]]>",
    "attribute": f'" autofocus tabindex=0 onfocus="{_RUN}" x="',
    "attribute in single quotes": f"' autofocus tabindex=0 onfocus='{_RUN}' x='",
    "template": "{{ 7 * 7 }}{% include 'x' %}${7*7}",
    "entity": "&lt;script&gt;&#x3c;&amp;",
    "address": "javascript:document.title='RAN'",
    "link": "[x](javascript:alert(1)) ![y](https://example.org/z.png) <https://example.org>",
    "bare address": "https://example.org/a www.example.org",
    "code": "`x` ```y``` ~~~z",
    "emphasis": "*a* **b** __c__ ~~d~~",
    "row of a table": "a | b |\n| --- | --- |\n| c",
    "heading": "x\n\n# heading\n\n---\n\n- item\n\n1. one",
    "formula": r"$\frac{x$ $$y$$",
    "block": "    indented\n\n> quoted",
    "footnote": "[^1] [ ] [x]",
    "rich markup": "[red]x[/red] [/] [link=https://example.org]y[/link] :smile:",
    "backslash": "\\",
    "colour": "\x1b[31mred\x1b[0m",
    "clear screen": "\x1b[2J\x1b[H",
    "terminal link": "\x1b]8;;https://example.org\x07click\x1b]8;;\x07",
    "window title": "\x1b]0;owned\x07",
    "eight-bit escape": "\x9b31m\x9d0;owned\x9c",
    "carriage return": "good\rEVIL",
    "backspaces": "good\x08\x08\x08\x08EVIL\x7f",
    "null": "a\x00b",
    "override of direction": "\u202egnp.exe\u202c",
    "isolate": "\u2066a\u2069\u200f\u061c",
    "line separator": "a\u2028b\u2029c\x85d",
    "no width": "a\u200bb\ufeffc",
}
STEERING = [
    *map(chr, (*range(9), 11, 12, *range(14, 27), *range(28, 32), *range(127, 160))),
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029\u200b\ufeff",
]
"""Characters that steer, turn or hide; line ends, tabs and the escape itself, which rich may write, are apart."""
