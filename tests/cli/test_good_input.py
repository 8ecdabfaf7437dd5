"""Tables as people have them go all the way: fit, predict, evaluate and schema, without a warning."""

from __future__ import annotations

import json
import warnings
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

N_ROWS = 48
WORDS = np.where(np.arange(N_ROWS) % 2, "ja", "nein")
WHOLE = np.random.default_rng(1).integers(0, 1000, N_ROWS)
REAL = np.random.default_rng(2).normal(size=N_ROWS)


def inputs() -> pd.DataFrame:
    """Numbers, words, text, times, vectors and series under names of all sorts, with cells and rows missing."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({
        "plain": rng.normal(size=N_ROWS).round(3),
        "with space": rng.choice(["a", "b"], N_ROWS),
        "dot.ted": rng.integers(0, 9, N_ROWS).astype(float),
        "größe €": rng.normal(size=N_ROWS).round(3),
        "日本 notes": [f'the "{WORDS[i]} äpfel" are number {i},\nsays a line' for i in range(N_ROWS)],
        "when": pd.date_range("2023-01-01", periods=N_ROWS).strftime("%Y-%m-%d"),
        "shop": np.arange(N_ROWS) // 4,
        "vec": list(rng.normal(size=(N_ROWS, 4)).round(2).tolist()),
        "ser": [rng.normal(size=3 + i % 4).round(2).tolist() for i in range(N_ROWS)],
    })  # fmt: skip
    gaps = {"plain": [0, 7, 14], "日本 notes": [3, 4, 5], "vec": [5, 6], "ser": [1, 2]}
    for column in frame.columns.drop(["when", "shop"]):
        rows = [*gaps.get(column, []), 20, 21]  # rows 20 and 21 hold nothing but a time and a shop
        frame[column] = frame[column].astype(object).mask(frame.index.isin(rows), None)
    return frame


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    for column in frame.columns:
        if frame[column].map(lambda v: isinstance(v, list)).any():
            frame[column] = frame[column].map(lambda v: json.dumps(v) if isinstance(v, list) else v)
    return frame


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.infer_objects().to_parquet(path)
    elif path.suffix == ".jsonl":
        rows = [
            {k: None if isinstance(v, float) and v != v else v for k, v in r.items()} for r in frame.to_dict("records")
        ]
        path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    elif path.stem == "windows":
        path.write_bytes(b"\xef\xbb\xbf" + as_text(frame).to_csv(index=False, lineterminator="\r\n").encode())
    else:
        as_text(frame).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.fixture
def all_the_way(run: Any, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Runs the four commands on a table and returns the predictions; a warning is an error."""

    def all_the_way(path: Path, targets: Sequence[str], *args: object) -> pd.DataFrame:
        named = [part for name in targets for part in ("-t", name)]
        quick = ("--network", "--epochs", 1, "--width", 8, "--members", 1)
        model, said, schema = tmp_path / "model", tmp_path / "said.csv", tmp_path / "schema.yaml"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for command in (
                ("schema", path, *named, "-o", schema),
                ("fit", path, "--schema", schema, *quick, "-o", model, *args),
                ("predict", model, path, "-o", said),
                ("evaluate", model, path),
            ):
                done = run(*command)
                assert done.exit_code == 0, (command, done.stderr, done.exception)
        return pd.read_csv(said)

    return all_the_way


SLOW_FORMATS = [pytest.param(name, marks=pytest.mark.slow) for name in ("t.csv", "t.tsv")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl", "t.parquet", "windows.csv", *SLOW_FORMATS])
def test_every_format_goes_all_the_way(all_the_way: Any, tmp_path: Path, name: str) -> None:
    said = all_the_way(write(inputs().assign(y=WORDS), tmp_path / name), ["y"])
    assert list(said.columns) == ["row", "prediction", "prob_ja", "prob_nein"]
    assert len(said) == N_ROWS
    assert np.allclose(said[["prob_ja", "prob_nein"]].sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("targets", "columns"), [
    ({"ziel y": np.arange(N_ROWS) % 3}, ["prediction", "prob_0", "prob_1", "prob_2"]),
    ({"y.1": np.arange(N_ROWS) % 2 == 0}, ["prediction", "prob_False", "prob_True"]),
    ({"y": WHOLE}, ["prediction"]),
    ({"a": REAL, "b": REAL**2}, ["a", "b"]),
    ({"a": (REAL > 0).astype(int), "b": (WHOLE > 500).astype(int)}, ["a", "b", "prob_a", "prob_b"]),
    ({"y": [["x", "z"][: i % 3] for i in range(N_ROWS)]}, ["x", "z", "prob_x", "prob_z"]),
])  # fmt: skip
def test_every_target_goes_all_the_way(
    all_the_way: Any, tmp_path: Path, targets: dict[str, Any], columns: list[str]
) -> None:
    said = all_the_way(write(inputs().assign(**targets), tmp_path / "t.csv"), list(targets))
    assert list(said.columns) == ["row", *columns]
    assert said.notna().all(axis=None)


@pytest.mark.parametrize("column", ["shop", "when"])
def test_groups_and_times_divide_the_rows(all_the_way: Any, tmp_path: Path, column: str) -> None:
    frame = inputs().assign(y=np.arange(N_ROWS) % 3)
    assert len(all_the_way(write(frame, tmp_path / "t.csv"), ["y"], "--split-column", column)) == N_ROWS


def _sound(path: Path, n_samples: int, rate: int, n_channels: int, width: int) -> None:
    level = np.sin(np.arange(n_samples * n_channels) * 0.1) * 2**22
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(n_channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(level.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 3 - width : 3].tobytes())


@pytest.mark.slow
def test_pictures_sounds_and_series_of_all_sorts_go_all_the_way(all_the_way: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    modes = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16")
    for i in range(N_ROWS):
        mode, size = modes[i % len(modes)], (1, 1) if i == 9 else (7 + i % 3, 9)
        picture = Image.new(mode, size) if mode == "I;16" else Image.new("RGB", size, (i, 90, 9)).convert(mode)
        picture.save(tmp_path / f"{i}.{'tif' if mode == 'CMYK' else 'png'}")
        _sound(tmp_path / f"{i}.wav", 1 if i == 3 else 900, (8000, 44100)[i == 5], 1 + i % 2, 2 + (i % 4 == 0))
        series = rng.normal(size=(6 + i % 5, 2))
        series[i % 6] = np.nan
        np.save(tmp_path / f"{i}.npy", series)
    Image.new("L", (9, 9)).save(tmp_path / "0.gif", save_all=True, append_images=[Image.new("L", (9, 9), 9)])
    frame = pd.DataFrame({
        "picture": ["0.gif", *(f"{i}.{'tif' if modes[i % 8] == 'CMYK' else 'png'}" for i in range(1, N_ROWS))],
        "sound": [f"{i}.wav" for i in range(N_ROWS)],
        "path": [f"{i}.npy" for i in range(N_ROWS)],
        "y": WORDS,
    })  # fmt: skip
    frame.loc[[2, 30], "picture"] = None
    frame.loc[[2, 31], "sound"] = None
    frame.loc[[2, 32], "path"] = None
    assert len(all_the_way(write(frame, tmp_path / "t.csv"), ["y"])) == N_ROWS


def test_an_order_by_words_is_told(run: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": REAL, "era": np.repeat(["a", "b", "c", "d"], N_ROWS // 4), "y": WORDS})
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "s.yaml").write_text("split: {method: time, column: era}", encoding="utf-8")
    args = ("--schema", tmp_path / "s.yaml", "--network", "--epochs", 1, "--width", 8, "-o", tmp_path / "m")
    done = run("fit", tmp_path / "t.csv", "-t", "y", *args)
    assert done.exit_code == 0, done.stderr
    assert "Column 'era': rows are put in order by its words" in done.stderr
