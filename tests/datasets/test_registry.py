"""The table of data sets: cheap to list, and what it tells is true."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profuse.datasets import DATASETS, describe, info, load
from profuse.errors import UnknownNameError
from profuse.kinds import KINDS


def test_listing_loads_no_torch_no_scikit_learn_and_no_matplotlib() -> None:
    code = (
        "import sys; from profuse.datasets import DATASETS, describe; assert len(describe()) == len(DATASETS) >= 8; "
        "print([m for m in ('torch', 'sklearn', 'scipy', 'matplotlib', 'pooch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_row_is_complete_and_in_the_order_of_the_table() -> None:
    rows = describe()
    assert [row.name for row in rows] == list(DATASETS)
    for row in rows:
        assert row.modalities
        assert set(row.modalities.values()) <= set(KINDS)
        assert row.variants
        assert all((row.target, row.split, row.licence, row.source))
        assert (row.extra == "data") == (row.folder is not None)


def test_what_needs_no_files_is_always_here_and_what_does_is_not_in_an_empty_folder(tmp_path: Path) -> None:
    rows = describe(root=tmp_path)
    here = {row.name for row in rows if row.here}
    assert here == {row.name for row in rows if row.folder is None}
    assert here >= {"glyphs", "synthetic"}


def test_every_data_set_has_its_section_in_the_docs() -> None:
    page = Path(__file__).parents[2] / "docs" / "datasets.md"
    text = page.read_text(encoding="utf-8")
    for row in describe():
        assert f"\n## {row.name}\n" in text, f"docs/datasets.md must have the section: ## {row.name}"
        for variant in row.variants:
            assert variant == "default" or f"`{variant}`" in text, f"{row.name}: variant {variant!r} is not in the page"


def test_an_unknown_data_set_or_variant_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"dataset='mosii'. Did you mean 'mosi'"):
        load("mosii")
    with pytest.raises(UnknownNameError, match=r"Data set 'synthetic': .*variant='sinergy'. Did you mean 'synergy'"):
        load("synthetic", variant="sinergy")


def test_info_tells_the_default_variant() -> None:
    assert info("mosi").default_variant == "features"
    assert info("glyphs").default_variant == "sans"


@pytest.mark.slow
def test_frames_tell_variants_of_a_data_set_apart() -> None:
    from profuse import compare

    options: dict[str, Any] = {"seeds": 1, "rounds": (), "singles": (), "retrain_without": False, "n_jobs": 1}
    options |= {"train": {"epochs": 1}, "model": {"members": 1, "width": 8}}
    names = ("redundant", "synergy")
    frames = [
        compare(replace(load("synthetic", variant=v).rows(np.arange(200)), split=None), **options).frame for v in names
    ]
    assert [frame["variant"].unique().tolist() for frame in frames] == [[v] for v in names]
    assert frames[0].columns.tolist()[:3] == ["dataset", "variant", "method"]
