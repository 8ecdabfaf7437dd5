"""Shards as the package `webdataset` reads and writes them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from profuse.data.table.read import read_table
from profuse.data.table.reader import TableReader
from profuse.streaming.options import ShardOptions
from profuse.streaming.shards import write_shards

wds = pytest.importorskip("webdataset")
pytestmark = pytest.mark.filterwarnings("ignore")  # the package's own


def png(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 5, 3), dtype=np.uint8)).save(out, "png")
    return out.getvalue()


def test_it_reads_our_shards(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    frame = pd.DataFrame(
        {"a": [0.5, 1, 2, 3, None], "photo": [f"{i}.png" if i != 2 else "" for i in range(5)], "y": list("ababa")}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    index, _ = write_shards(tmp_path / "t.csv", tmp_path / "s", options=ShardOptions(rows_per_shard=3))
    urls = [(tmp_path / "s" / shard.name).as_uri().replace("file://", "file:") for shard in index.shards]
    samples = list(wds.WebDataset(urls, shardshuffle=False, empty_check=False).decode("rgb8"))
    assert [s["__key__"] for s in samples] == [f"{i:09d}" for i in range(5)]
    assert [s["json"]["y"] for s in samples] == list("ababa")
    assert [s["json"]["a"] for s in samples] == [0.5, 1, 2, 3, None]
    assert "photo.png" not in samples[2]
    np.testing.assert_array_equal(samples[1]["photo.png"], np.asarray(Image.open(tmp_path / "1.png")))


def test_we_read_its_shards(tmp_path: Path) -> None:
    with wds.ShardWriter(str(tmp_path / "w-%03d.tar"), maxcount=4, verbose=0) as sink:
        for i in range(6):
            sink.write({
                "__key__": f"train/{i:04}", "png": png(i), "cls": i % 2, "caption.txt": f"it is {i}",
                "json": {"size": i / 2, "zip": f"0{i}"},
            })  # fmt: skip
    frame = read_table(tmp_path)
    assert set(frame.columns) == {"png", "cls", "caption", "size", "zip"}
    assert frame["cls"].tolist() == [0, 1] * 3
    assert frame["caption"].tolist() == [f"it is {i}" for i in range(6)]
    assert frame["zip"].tolist() == [f"0{i}" for i in range(6)]
    _, dataset = TableReader.fit(tmp_path, target="cls")
    np.testing.assert_array_equal(dataset.modalities["png"].values[5], np.asarray(Image.open(io.BytesIO(png(5)))))
