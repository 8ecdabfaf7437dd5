"""Pictures whose channels are no colours, under models that read colours: an error, before a model is looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse import FusionClassifier, compare, from_tensors, register
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.embeddings.processors import as_colours
from profuse.data.preprocess import preprocessor
from profuse.data.table.reader import TableReader
from profuse.errors import ConfigError, DataError

DRAW = np.random.default_rng(0)
TARGET = [True, False] * 4


def pictures(*shape: int, dtype: str = "uint8") -> list[np.ndarray]:
    drawn = [DRAW.integers(0, 256, shape) for _ in TARGET]
    return [d.astype(np.uint8) if dtype == "uint8" else (d / 255).astype(np.float32) for d in drawn]


def scans(*shape: int, dtype: str = "uint8") -> Dataset:
    return from_tensors({"scan": ("image", pictures(*shape, dtype=dtype))}, TARGET)


@pytest.mark.parametrize("form", ["hf", "hf-tokens", "hf-lora", "hf-last", "hf-whole"])
@pytest.mark.parametrize(("n", "n_read"), [(5, 3), (2, 1)])
def test_channels_that_would_be_lost_are_told_with_their_modality(form: str, n: int, n_read: int) -> None:
    with pytest.raises(ConfigError) as caught:
        FusionClassifier(encoders={"scan": f"{form}:models/none"}, epochs=1).fit(scans(9, 9, n))
    assert str(caught.value) == (
        f"FusionClassifier: the encoder '{form}:models/none' of 'scan' must get pictures that are grey or of colours; "
        f"got {n} channels in row 0 (counted from 0), of which it would read {n_read}. Leave it out, as the default "
        "encoder 'cnn' reads all channels, or give files of the channels that it is to see."
    )


def of_files(folder: Path, cells: list[np.ndarray], **schema: Any) -> ModalityData:
    for i, cell in enumerate(cells):
        np.save(folder / f"{i}.npy", cell)
    frame = pd.DataFrame({"scan": [f"{i}.npy" for i in range(len(cells))], "y": TARGET})
    schema = {"columns": {"scan": "image"}, **schema}
    return TableReader.fit(frame, schema, target="y", base_dir=folder)[1].modalities["scan"]


def test_colours_are_not_refused_and_four_channels_are_where_none_is_opacity(tmp_path: Path) -> None:
    hf = preprocessor("hf:models/none")
    for shape in ((9, 9), (9, 9, 1), (9, 9, 3), (9, 9, 4)):
        assert hf.refusal(scans(*shape).modalities["scan"]) == ""
    assert "got 4 channels" in hf.refusal(of_files(tmp_path, pictures(9, 9, 4, dtype="float32")))


def test_the_encoder_that_a_schema_or_a_comparison_names_is_told_too(tmp_path: Path) -> None:
    for i, picture in enumerate(pictures(9, 9, 6)):
        np.save(tmp_path / f"{i}.npy", picture)
    frame = pd.DataFrame({"scan": [f"{i}.npy" for i in range(8)], "x": range(8), "y": TARGET})
    frame.to_csv(tmp_path / "t.csv", index=False)
    how: dict[str, Any] = {"target": "y", "out": tmp_path / "out"}
    schema: Any = {"modalities": {"scan": {"columns": ["scan"], "kind": "image"}}}
    with pytest.raises(ConfigError, match="compare: the encoder 'hf:m' of 'scan' must get .*got 6 channels in row 0"):
        compare(tmp_path / "t.csv", schema=schema, encoders={"scan": ["hf:m"]}, **how)
    schema["modalities"]["scan"]["encoder"] = "hf:m"
    with pytest.raises(ConfigError, match="compare: the encoder 'hf:m' of 'scan' must get .*got 6 channels in row 0"):
        compare(tmp_path / "t.csv", schema=schema, **how)


def test_the_channel_that_says_where_a_depth_map_was_measured_can_be_kept_out(tmp_path: Path) -> None:
    depth = pictures(9, 9, 1, dtype="float32")
    for picture in depth:
        picture[:2] = np.nan
    hf = preprocessor("hf:models/none")
    why = hf.refusal(of_files(tmp_path, depth))
    assert "got 2 channels" in why
    assert why.endswith(
        "the last one says where pixels were measured, and one pair of levels in `ranges` keeps it out."
    )
    assert hf.refusal(of_files(tmp_path, depth, ranges={"scan": [0.0, 1.0]})) == ""
    bands = pictures(9, 9, 5, dtype="float32")
    for picture in bands:
        picture[:2] = np.nan
    why = hf.refusal(of_files(tmp_path, bands))
    assert "got 6 channels" in why
    assert "`ranges`" not in why  # five would be left


def test_new_rows_are_refused_where_they_are_read() -> None:
    data = scans(9, 9, 5).modalities["scan"]
    for form in ("hf", "hf-lora"):
        made = preprocessor(f"{form}:models/none")()
        with pytest.raises(DataError, match="must get pictures that are grey or of colours; got 5 channels in row 0"):
            made.transform(data)
    with pytest.raises(
        DataError, match="a picture must be grey or of colours, for which a model is made; got 2 channel"
    ):
        as_colours(np.zeros((4, 4, 2), np.uint8))


def test_a_function_of_the_users_own_gets_all_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path))
    seen: set[int] = set()

    def means(cells: list[np.ndarray]) -> list[np.ndarray]:
        seen.update(cell.shape[2] for cell in cells)
        return [cell.mean((0, 1)) for cell in cells]

    register("embedding", "means", means)
    made = preprocessor("means")()
    made.fit(scans(9, 9, 5).modalities["scan"])
    assert seen == {5}
