"""The answer to a question as a page: its estimates as a picture, and one row as it was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from profuse._escape import visible, visible_values
from profuse.data.dataset import Dataset
from profuse.inspect import Answer, question
from profuse.kinds import Drawing, kind_named
from profuse.report.drawings import coloured, framed, marked
from profuse.report.estimates import estimates_plot
from profuse.report.gallery import errors_on_a_page
from profuse.report.pages import page_template

__all__ = ["answer_html"]

_LISTED = 12


def answer_html(answer: Answer, rows: Dataset | None = None) -> str:
    """Returns the answer as one self-contained page: no script, no network.

    Args:
        answer: To any question.
        rows: That were asked about, in the order of the question; of an answer about single rows they show these.
    """
    asked = question(answer.question)
    about = visible_values(dict(answer.details)) if "pieces" in answer.details else None
    return page_template("answer.html").render(
        answer=answer,
        asks=asked.description,
        headline=visible(asked.headline(answer)),
        visible=visible,
        plot=estimates_plot(answer.estimates),
        row=about,
        errors=errors_on_a_page(answer, rows),
        pictures=[] if about is None else _pictures(answer.details, rows),
    )


def _pictures(details: Mapping[str, Any], rows: Dataset | None) -> list[dict[str, Any]]:
    """Returns how each modality of the row was seen."""
    made = []
    for name, pieces in details["pieces"].items():
        drawing = Drawing()
        if rows is not None and name in rows.modalities:
            data, row = rows.modalities[name], details["row"]
            kind = kind_named(data.kind)
            units = kind.units(data, row, max(len(pieces), 1))
            # other rows than those that were asked about would be marked in the wrong places
            if [u.label for u in units] == [p["label"] for p in pieces]:
                drawing = kind.draw(data, row, units)
        largest = max(abs(p["value"]) for p in pieces) or 1.0
        shades = [p["value"] / largest for p in pieces]
        most = [i for i in sorted(range(len(pieces)), key=lambda i: -abs(shades[i])) if shades[i]][:_LISTED]
        made.append(
            {
                "name": visible(name),
                "value": f"{details['modalities'][name]:+.4f}",
                "text": marked(drawing, pieces, shades),
                "picture": framed(drawing, pieces, shades),
                "plain": framed(replace(drawing, boxes=()), pieces, shades) if coloured(drawing) else "",
                "axes": drawing.axes,
                "note": visible(drawing.note),
                "listed": [
                    {
                        "label": visible(pieces[i]["label"]),
                        "value": f"{pieces[i]['value']:+.4f}",
                        "half": f"{pieces[i]['half']:.4f}",
                        "width": round(100 * abs(shades[i]), 1),
                        "down": shades[i] < 0,
                    }
                    for i in most
                ],
                "others": len(pieces) - len(most),
            }
        )
    return made
