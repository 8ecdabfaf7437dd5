"""Columns of phrases: which are text, and that an unseen one is known by its words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from profuse import FusionRegressor
from profuse.data.table.column_kinds import column_kind

FIELDS = [
    "Software", "Sales", "Finance", "Legal", "Nursing", "Security", "Data", "Network", "Design", "Tax", "Energy",
    "Risk",
]  # fmt: skip
ROLES = ["Manager", "Assistant", "Engineer", "Director", "Analyst", "Intern"]
TITLES = [f"{field} {role}" for field in FIELDS for role in ROLES]


def titles(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Titles, years, and a pay that field, role and years make."""
    draw = np.random.default_rng(seed)
    fields, roles = (
        dict(zip(FIELDS, draw.normal(0, 1, 12), strict=True)),
        dict(zip(ROLES, draw.normal(0, 1, 6), strict=True)),
    )
    frame = pd.DataFrame({"years": draw.uniform(0, 30, n_rows), "title": draw.choice(TITLES, n_rows)})
    parts = frame["title"].str.split()
    frame["pay"] = parts.str[0].map(fields) + parts.str[1].map(roles) + 0.03 * frame["years"]
    return frame


def kind(cells: list[str]) -> str:
    return column_kind("title", pd.Series(cells))[0]


def test_phrases_made_of_words_that_recur_are_text_though_each_repeats() -> None:
    kind_of, why = column_kind("title", titles(400)["title"])
    assert kind_of == "text"
    assert why == "72 distinct, 2.0 words on average: made of words that recur"


@pytest.mark.parametrize(
    "cells",
    [
        TITLES[:30] * 4,  # few enough to learn each
        [f"Kind {i}" for i in range(40)] * 4,  # a number more for each phrase
        [f"{a}{b}" for a in "abcdefgh" for b in "ijklmnop"] * 4,  # single words
        ["New York", "Los Angeles", "San Diego", "Fort Worth"] * 20 + [f"Saint {name}" for name in ROLES + FIELDS] * 4,
    ],
)
def test_few_phrases_single_words_and_those_of_words_of_their_own_are_categories(cells: list[str]) -> None:
    assert kind(cells) == "category"


@pytest.mark.slow
def test_a_title_that_training_has_not_seen_is_known_by_its_words() -> None:
    frame = titles(500)
    unseen = frame["title"].isin(TITLES[::6][:6] + TITLES[1::7][:6])
    model = FusionRegressor(random_state=0).fit(frame[~unseen].drop(columns="pay"), frame.loc[~unseen, "pay"])
    assert model.score(frame[unseen].drop(columns="pay"), frame.loc[unseen, "pay"]) > 0.7
