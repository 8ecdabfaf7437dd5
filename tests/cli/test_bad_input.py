"""What a newcomer's mistakes meet: one line on stderr that names place and remedy, exit code 2, nothing left."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from profuse._folder import digest_of

N_ROWS = 40
QUICK = ("--seeds", 1, "--rounds", "none", "--epochs", 1, "--width", 8, "--jobs", 1)
PAIRS = "a,kind\n" + "".join(f"{i * 37 % 80}.5,k{i // 2}\n" for i in range(80))
"""Forty classes of two rows each."""


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size = rng.normal(size=N_ROWS).round(4)
    return pd.DataFrame({
        "size": size,
        "hue": rng.choice(["red", "blue", "green"], N_ROWS),
        "note": [f"alpha beta thing number {i} here" for i in range(N_ROWS)],
        "kind": np.where(np.arange(N_ROWS) % 2, "big", "small"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ok.csv, good media in files/, and media.csv that names them."""
    folder = tmp_path_factory.mktemp("bad")
    table().to_csv(folder / "ok.csv", index=False)
    (folder / "files").mkdir()
    rng = np.random.default_rng(1)
    for i in range(N_ROWS):
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(folder / "files" / f"{i}.png")
        np.save(folder / "files" / f"{i}.npy", rng.normal(size=(6 + i % 3, 2)))
    return folder


@pytest.fixture(scope="module")
def model(home: Path, run: Any) -> Path:
    done = run("fit", home / "ok.csv", "-t", "kind", "--network", "--epochs", 1, "--width", 8, "--out", home / "model")
    assert done.exit_code == 0, done.stderr
    return home / "model"


@pytest.fixture
def refused(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must be refused, in a folder that must stay empty; returns the one line."""

    def refused(*args: object) -> str:
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            done = run(*args)
        assert done.exit_code == 2, (done.stdout, done.stderr, done.exception)
        assert isinstance(done.exception, SystemExit)
        assert done.stdout == ""
        lines = str(done.stderr).splitlines()
        assert [line.startswith("Error: ") for line in lines].count(True) == 1
        assert lines[-1].startswith("Error: ")
        assert lines[-1][-1] in ".?"
        assert sorted(tmp_path.rglob("*")) == before
        return lines[-1]

    return refused


@pytest.mark.parametrize(("name", "content", "message"), [
    ("h.csv", "a,b,kind\n", "got 0 rows and 3 columns. Add rows"),
    ("e.csv", "", "the file is empty. Name another file."),
    ("one.csv", "a,b,kind\n1,2,x\n", "at least two different values"),
    ("few.csv", "a,b,kind\n1,2,x\n2,3,y\n4,3,y\n5,4,x\n", "train must hold two classes"),
    ("six.csv", "a,b,kind\n1,2,.5\n2,3,.7\n4,3,.1\n5,4,.4\n3,3,.6\n4,4,.9\n", "the target must vary within"),
    ("huge.csv", "a,b,kind\n" + "".join(f"{i},{i % 3},{i}.5e299\n" for i in range(1, 30)), "at most 1e+100 in size"),
    ("many.csv", PAIRS, "every class must have rows in train"),
    ("latin.csv", "a,kind\n1,\xe9\n".encode("latin1"), "byte 0xe9 in line 2"),
    ("ragged.csv", "a,b,kind\n1,2,x\n1,y\n", "line 3 has 2"),
    ("open.csv", 'a,b,kind\n1,"2,x\n1,3,y\n', "the one that opens in line 2 is not"),
    ("twice.csv", "a,a,kind\n1,2,x\n", "got 'a' more than once"),
    ("x.parquet", "hello", "must be a Parquet table"),
    ("x.csv.gz", "hello", "must be readable"),
])  # fmt: skip
def test_a_file_that_cannot_be_compared_says_why(
    refused: Any, home: Path, name: str, content: str | bytes, message: str
) -> None:
    (home / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused("compare", home / name, "-t", "kind", *QUICK)


@pytest.mark.parametrize(("text", "message"), [
    ("columns: {size: numeric", "expected ',' or '}', but got '<stream end>' in line 1, column 24"),
    ("ignore:\n\t- size", "in line 2, column 1"),
    ("ignore: [size]\nignore: [hue]", "the key 'ignore' stands twice in line 1"),
    ("ignore: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ("ignore: size", "must be a list, as [a, b] (got 'size')"),
    ("colums: {size: numeric}", "did you mean 'columns'?"),
    ("columns: {sise: numeric}", "did you mean 'size'?"),
    ("ignore: [kind]", "ignore: 'kind' is the target"),
    ("columns: {kind: category}", "columns: 'kind' is the target"),
    ("split: {column: kind}", "split.column: 'kind' is the target"),
    ("modalities: {a: {columns: [size, size]}}", "'size' stands twice"),
    ("modalities: {'': {columns: [note]}}", "each must have a name"),
    ("modalities: {a: {columns: [note], preprocess: tfdf}}", "Did you mean 'tfidf'?"),
    ("modalities: {a: {columns: [note], preprocess: logmel}}", "must take kind 'text'; got 'logmel'"),
    ("modalities: {a: {columns: [note], encoder: cnn}}", "must take kind 'text'; got 'cnn'"),
])  # fmt: skip
@pytest.mark.parametrize("command", ["compare", "fit"])
def test_a_schema_that_does_not_fit_says_where(refused: Any, home: Path, command: str, text: str, message: str) -> None:
    (home / "s.yaml").write_text(text, encoding="utf-8")
    assert message in refused(command, home / "ok.csv", "-t", "kind", "--schema", home / "s.yaml", "--out", "new")


@pytest.mark.parametrize(("args", "message"), [
    (("fit",), "Missing argument 'DATA'. See 'root fit --help'."),
    (("fit", "ok.csv"), "Missing option '--out' / '-o'."),
    (("fitt",), "Did you mean 'fit'? See"),
    (("compare", "ok.csv", "--xyzzy"), "No such option: --xyzzy."),
    (("compare", "ok.csv", "--width", "wide"), "'--width': must be a valid integer"),
    (("compare", "ok.csv", "--seeds", 0, "--width", 1), "seeds must be greater than or equal to 1; got seeds=0; model"),
    (("compare", "ok.csv", "--unimodal-loss-weight", "nan"), "unimodal_loss_weight must be a finite number"),
    (("compare", "ok.csv", "-t", "kind", "--device", "gpu"), "'cuda' or 'mps'; got train.device='gpu'"),
    (("compare", "ok.csv", "-t", "kind", "--rounds", "100"), "rounds.0 must be less than or equal to 64; got"),
    (("compare", "ok.csv", "-t", "kind", "--split", "group"), "needs its column"),
    (("compare", "ok.csv", "-t", "kind", "--test-size", 0.99), "train"),
    (("compare", "ok.csv", "-t", "kind", "-t", "kind"), "'kind' stands twice"),
    (("fit", "ok.csv", "-t", "kind", "-o", "m", "--device", "gpu"), "'mps'; got device='gpu'"),
    (("fit", "ok.csv", "-t", "kind", "-o", "m", "--encoder", "nota=words"), "Did you mean 'note'?"),
    (("fit", "ok.csv", "-t", "kind", "-o", "m", "--encoder", "note=cnn"), "must take kind 'text'"),
    (("fit", "ok.csv", "-t", "kind", "-o", "m", "--fusion", "gatd"), "Did you mean 'gated'?"),
    (("fit", "ok.csv", "-o", "m", "--operator-options", "{low_rank: {"), "--operator-options: the value must be YAML"),
    (("fit", "ok.csv", "-o", "m", "--operator-options", "rank"), "must be names and values; got a str"),
    (("fit", "ok.csv", "-o", "m", "--balance-options", "{alpha: 1}"), "balance_options need a balance"),
    (("compare", "ok.csv", "--rounds", "none", "--entry", "input"), "entry must go with rounds; got rounds=none"),
    (("schema", "ok.csv", "-o", "no/folder.yaml"), "there is no folder no. Name another path."),
    (("schema", "ok.csv", "-o", "."), "it is a folder"),
])  # fmt: skip
def test_a_command_line_that_cannot_be_is_one_line(
    refused: Any, home: Path, args: tuple[object, ...], message: str
) -> None:
    told = refused(*(home / "ok.csv" if a == "ok.csv" else a for a in args))
    assert message in told
    assert "?." not in told


def test_a_device_that_is_not_there_is_told(refused: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = refused("fit", home / "ok.csv", "-t", "kind", "-o", "m", "--device", "cuda")
    assert "device must be there; got device='cuda'" in told


@pytest.fixture(scope="module")
def broken(home: Path) -> Path:
    """files/ with one bad file of each sort."""
    files = home / "files"
    (files / "cut.png").write_bytes((files / "0.png").read_bytes()[:90])
    (files / "text.png").write_bytes(b"hello")
    np.savez(files / "archive.npz", a=np.zeros((3, 2)))
    shutil.move(files / "archive.npz", files / "archive.npy")
    np.save(files / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(files / "large.npy", np.full((3, 2), 1e300))
    np.save(files / "deep.npy", np.zeros((2, 3, 4)))
    return files


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "bad", "message"), [
    ("png", "files/none.png", "there is no such file"),
    ("png", "files", "it is a folder"),
    ("png", "p" * 5000, "it is no path of a file"),
    ("png", "files/cut.png", "the picture is broken"),
    ("png", "files/text.png", "no picture of PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM"),
    ("npy", "files/archive.npy", "it is an archive of arrays, not one array"),
    ("npy", "files/objects.npy", "holds Python objects, which are not read"),
    ("npy", "files/large.npy", "at most 3.4e38 in size; got 1e+300"),
    ("npy", "files/deep.npy", "got shape (2, 3, 4)"),
])  # fmt: skip
def test_a_bad_file_is_told_with_row_and_column_or_skipped_and_counted(
    refused: Any, run: Any, home: Path, broken: Path, suffix: str, bad: str, message: str
) -> None:
    frame = table()[["size", "kind"]].assign(media=[f"files/{i}.{suffix}" for i in range(N_ROWS)])
    frame.loc[7, "media"] = bad
    frame.to_csv(home / "media.csv", index=False)
    told = refused("fit", home / "media.csv", "-t", "kind", "-o", "m")
    assert "row 7 (counted from 0), column 'media'" in told
    assert message in told
    shutil.rmtree(home / "skipped", ignore_errors=True)
    args = ("-o", home / "skipped", "--on-bad-file", "skip", "--network", "--epochs", 1, "--width", 8)
    done = run("fit", home / "media.csv", "-t", "kind", *args)
    assert done.exit_code == 0, done.stderr
    assert "1 row (7; counted from 0) could not be read and counts as missing" in done.stderr


@pytest.mark.parametrize(("edit", "args", "message"), [
    (lambda f: f.rename(columns={"size": "sise"}), (), "'sise' is near 'size'"),
    (lambda f: f.assign(size=np.inf), (), "infinite in 40 rows"),
    (lambda f: f.head(0), (), "got 0 rows and 4 columns"),
    (lambda f: f, ("-o", "no/out.csv"), "there is no folder no"),
])  # fmt: skip
def test_rows_that_cannot_be_predicted_say_why(
    refused: Any, model: Path, home: Path, edit: Any, args: tuple[str, ...], message: str
) -> None:
    edit(table()).to_csv(home / "new.csv", index=False)
    assert message in refused("predict", model, home / "new.csv", *args)


@pytest.mark.parametrize(("columns", "targets", "message"), [
    (["size", "hue", "note"], (), "1 are lacking: 'kind'"),
    (["size", "hue", "note", "kind"], ("size", "hue"), "must be one column as in training; got 2"),
    (["size", "hue", "note", "kind"], ("hue",), "Known: 'big', 'small'"),
    (["size", "hue", "note", "kind"], ("kinds",), "'kind' is near 'kinds'"),
])  # fmt: skip
def test_a_target_that_cannot_be_scored_says_why(
    refused: Any, model: Path, home: Path, columns: list[str], targets: tuple[str, ...], message: str
) -> None:
    table()[columns].to_csv(home / "new.csv", index=False)
    named = [part for name in targets for part in ("-t", name)]
    assert message in refused("evaluate", model, home / "new.csv", *named)


@pytest.mark.parametrize(("change", "message"), [
    ({"format": 99}, "newer profuse"),
    ({"format": "x"}, "must be readable"),
    ({"pipeline": None}, "its parts must fit each other"),
    ({"schema": {"x": 1}}, "its parts must fit each other"),
])  # fmt: skip
def test_a_changed_model_is_refused_in_one_line(
    refused: Any, model: Path, home: Path, change: dict[str, object], message: str
) -> None:
    shutil.rmtree(home / "changed", ignore_errors=True)
    shutil.copytree(model, home / "changed")
    facts = json.loads((model / "model.json").read_text(encoding="utf-8")) | change
    facts["digests"]["model.json"] = digest_of(facts)
    (home / "changed" / "model.json").write_text(json.dumps(facts), encoding="utf-8")
    assert message in refused("predict", home / "changed", home / "ok.csv")
