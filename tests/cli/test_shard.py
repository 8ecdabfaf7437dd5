"""`profuse shard`: what it says, what stands where it is stopped, and that other commands read what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forks import Forks
from PIL import Image

N = 40


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("homes")
    rng = np.random.default_rng(0)
    for i in range(N):
        Image.fromarray(rng.integers(100 * (i % 2), 155 + 100 * (i % 2), (6, 6, 3), dtype=np.uint8)).save(
            folder / f"{i}.png"
        )
    pd.DataFrame({
        "code": [f"{i % 3:03}" for i in range(N)],
        "size": [f"{v:.3f}" for v in rng.normal(size=N)],
        "photo": [f"{i}.png" if i % 9 else "" for i in range(N)],
        "price": rng.normal(size=N) + 3 * (np.arange(N) % 2),
    }).to_csv(folder / "homes.csv", index=False)  # fmt: skip
    return folder


def test_it_says_what_was_written_and_how_to_go_on(homes: Path, run: Any, tmp_path: Path) -> None:
    done = run("shard", homes / "homes.csv", "--target", "price", "--rows-per-shard", 15, "--out", tmp_path / "s")
    assert done.exit_code == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "index.json", "shard-000000.tar", "shard-000001.tar", "shard-000002.tar",
    ]  # fmt: skip
    first, last = done.stdout.splitlines()
    assert first.startswith(f"Shards: {tmp_path / 's'} (40 rows in 3 shards, ")
    assert first.endswith("; files of photo)")
    assert last == f"Go on: profuse fit {tmp_path / 's'} --stream --out model"
    done = run("shard", homes / "homes.csv", "--out", tmp_path / "s", "--shard-size", "1G")
    assert done.stdout.splitlines()[1].endswith("--stream --target COLUMN --out model")
    assert "(40 rows in 1 shard, " in done.stdout


def test_other_commands_read_the_folder_and_the_target_that_is_kept_there(
    homes: Path, run: Any, tmp_path: Path
) -> None:
    done = run("shard", homes / "homes.csv", "--target", "price", "--out", tmp_path / "s")
    assert done.exit_code == 0, done.stderr
    printed = [
        run("schema", path, *more).stdout
        for path, more in ((homes / "homes.csv", ("-t", "price")), (tmp_path / "s", ()))
    ]
    assert printed[0] == printed[1]
    assert "target: price (regression); 40 rows" in printed[1]
    other = run("schema", tmp_path / "s", "--target", "size")
    assert "target: size (regression)" in other.stdout


def test_shards_are_held_against_their_digests(homes: Path, run: Any, tmp_path: Path) -> None:
    run("shard", homes / "homes.csv", "--rows-per-shard", 20, "--out", tmp_path / "s")
    done = run("shard", tmp_path / "s", "--verify")
    assert done.stdout == f"Verified: {tmp_path / 's'} (40 rows in 2 shards, all as they were written)\n"
    path = tmp_path / "s" / "shard-000001.tar"
    raw = bytearray(path.read_bytes())
    raw[2000] ^= 1
    path.write_bytes(raw)
    done = run("shard", tmp_path / "s", "--verify")
    assert done.exit_code == 2
    assert "'shard-000001.tar' of 2 have others: they are damaged" in " ".join(done.stderr.split())
    assert "must be a folder with the index.json" in " ".join(run("shard", homes, "--verify").stderr.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--verify",), "shard: out or verify must be given, and not both; got both"),
        (("--shard-size", "much"), "shard_size: it must be a size above 0; got 'much'"),
        (("--rows-per-shard", 0), "rows_per_shard"),
        (("--target", "prize"), "target: it must be a column of the table; got 'prize'. Did you mean 'price'?"),
    ],
)
def test_what_cannot_be_done_is_one_error(
    options: tuple[object, ...], message: str, homes: Path, run: Any, tmp_path: Path
) -> None:
    done = run("shard", homes / "homes.csv", "--out", tmp_path / "s", *options)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_killed_one_leaves_the_shards_that_were_there_and_the_next_one_clears_up(
    homes: Path, forks: Forks, tmp_path: Path
) -> None:
    before = """
import profuse.streaming.shards as shards, os, signal
finish = shards._Writer._finish
def killed(self):
    finish(self)
    if len(self._done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
shards._Writer._finish = killed
"""
    args = ("shard", homes / "homes.csv", "--rows-per-shard", 10, "--out", tmp_path / "s")
    assert forks.run(*args, before=before).returncode == -9
    assert not (tmp_path / "s").exists()
    assert forks.run(*args, "--shuffle", 1).returncode == 0
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    held = (tmp_path / "s" / "index.json").read_bytes()
    assert forks.run(*args, before=before).returncode == -9
    assert (tmp_path / "s" / "index.json").read_bytes() == held


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--network", "--stream"])
def test_a_network_of_shards_is_that_of_the_table(how: str, homes: Path, run: Any, tmp_path: Path) -> None:
    assert run("shard", homes / "homes.csv", "--target", "price", "--out", tmp_path / "s").exit_code == 0
    answers = []
    for data, target in ((homes / "homes.csv", ("--target", "price")), (tmp_path / "s", ())):
        model, out = tmp_path / f"m-{data.name}", tmp_path / f"{data.name}-answers.csv"
        fitted = run("fit", data, *target, how, "--epochs", 1, "--width", 8, "--out", model)
        assert fitted.exit_code == 0, fitted.stderr
        assert run("predict", model, data, "--out", out).exit_code == 0
        answers.append((out.read_bytes(), run("evaluate", model, data, "--json").stdout))
    assert answers[0] == answers[1]
