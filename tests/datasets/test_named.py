"""The named real data sets: counts, digests, and nothing of test in train. Skipped without the data."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from not_none import not_none

from profuse.datasets import info, load
from profuse.datasets._files import entries, folder_digest
from profuse.datasets.avmnist import HELD_OUT, degrade
from profuse.datasets.beijing_air import STATIONS
from profuse.datasets.stocks import SECTORS, WINDOW, ewma_score

NAMED = ["avmnist", "mosi", "stocks", "emoji", "beijing-air", "mfeat"]
CASES = [
    ("avmnist", "speaker", 3000, (2000, 0, 1000)),
    ("avmnist", "take", 3000, (2700, 0, 300)),
    ("mosi", "features", 2199, (1447, 0, 752)),
    ("mosi", "transcript", 2199, (1447, 0, 752)),
    ("stocks", "technology", 1157, (809, 115, 233)),
    ("stocks", "healthcare-log", 1157, (809, 115, 233)),
    ("emoji", "default", 1601, None),
    ("beijing-air", "Dongsi", 34314, (24019, 0, 10295)),
    ("beijing-air", "forecast", 34267, (23986, 0, 10281)),
    ("beijing-air", "nowcast", 34291, (24003, 0, 10288)),
    ("mfeat", "default", 2000, (400, 0, 1600)),
]


@pytest.fixture(scope="module")
def root() -> Path:
    if not os.environ.get("PROFUSE_DATA"):
        pytest.skip("PROFUSE_DATA is not set")
    return Path(os.environ["PROFUSE_DATA"])


@pytest.mark.parametrize(("name", "variant", "n_rows", "parts"), CASES)
def test_rows_kinds_and_splits_are_as_documented(
    root: Path, name: str, variant: str, n_rows: int, parts: tuple[int, int, int]
) -> None:
    data = load(name, variant=variant, root=root)
    about = info(name, root=root)
    assert about.here
    assert len(data) == n_rows
    assert data.task == about.task
    if variant == about.default_variant:
        assert n_rows == about.n_rows
        assert {key: part.kind for key, part in data.modalities.items()} == dict(about.modalities)
    if parts is None:
        assert data.split is None
    else:
        assert tuple(int(np.count_nonzero(data.split == part)) for part in ("train", "valid", "test")) == parts
    assert data.task != "regression" or np.isfinite(not_none(data.target)).all()


@pytest.mark.parametrize("name", NAMED)
def test_the_files_have_the_digests_that_fetching_checks(root: Path, name: str) -> None:
    for entry in entries(name):
        path = root / entry.path
        if entry.is_folder:
            assert folder_digest(path) == entry.digest
            continue
        content = path.read_bytes()
        if path.suffix == ".gz" and not entry.urls[0].endswith(".gz"):
            content = gzip.decompress(content)
        assert hashlib.sha256(content).hexdigest() == entry.digest, entry.path


def test_the_mnist_files_have_their_official_digests(root: Path) -> None:
    official = {"images-idx3": "9fb629c4189551a2d022fa330f9573f3", "labels-idx1": "ec29112dd5afa0611ce80d1b7f02629c"}
    for name, digest in official.items():
        assert hashlib.md5((root / f"avmnist/t10k-{name}-ubyte.gz").read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("variant", ["speaker", "take"])
def test_no_recording_and_no_picture_of_avmnist_is_in_two_rows(root: Path, variant: str) -> None:
    data = load("avmnist", variant=variant, root=root)
    recording, picture = np.array([name.split(" ") for name in not_none(data.ids)]).T
    assert len(set(recording)) == len(set(picture)) == 3000
    assert (np.array([name[0] for name in recording]).astype(int) == data.target).all()
    speaker, take = np.array([name.split("_")[1:] for name in recording]).T
    test = data.split == "test"
    if variant == "speaker":
        assert set(speaker[test]) == set(HELD_OUT)
        assert not set(not_none(data.groups)[test]) & set(not_none(data.groups)[~test])
    else:
        assert set(take[test]) == set("01234")
        assert not set(take[test]) & set(take[~test])


def test_the_labels_of_avmnist_pictures_are_those_of_the_recordings(root: Path) -> None:
    data = load("avmnist", root=root)
    labels = np.frombuffer(gzip.decompress((root / "avmnist/t10k-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    chosen = np.array([int(name.rpartition("-")[2]) for name in not_none(data.ids)])
    np.testing.assert_array_equal(labels[chosen], data.target)


def test_speech_is_in_range_and_as_long_as_documented(root: Path) -> None:
    speech = load("avmnist", root=root).modalities["speech"]
    assert speech.rate == 8000
    seconds = np.array([len(wave) for wave in speech.values]) / speech.rate
    assert seconds.min() == pytest.approx(0.14, abs=0.01)
    assert seconds.max() == pytest.approx(2.28, abs=0.01)
    assert max(np.abs(wave).max() for wave in speech.values) <= 1


def test_degrading_removes_the_first_components_by_scikit_learn_and_learns_from_train_only() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    pictures = np.clip(rng.normal(0.5, 0.1, (60, 5, 4)) * np.linspace(0.1, 1, 4), 0, 1)
    train = np.arange(60) < 40
    got = degrade(pictures, train)
    flat = pictures.reshape(60, -1)
    pca = PCA(svd_solver="full").fit(flat[train])
    n_lost = int((np.cumsum(pca.explained_variance_ratio_) < 0.75).sum()) + 1
    lost = pca.components_[:n_lost]
    centred = flat - pca.mean_
    want = (1 + centred - centred @ lost.T @ lost) / 2
    np.testing.assert_allclose(got.reshape(60, -1), want, atol=1e-6)

    changed = pictures.copy()
    changed[~train] = rng.random(changed[~train].shape)
    np.testing.assert_array_equal(degrade(changed, train)[train], got[train])
    changed = pictures.copy()
    changed[0] = rng.random(changed[0].shape)
    assert not np.array_equal(degrade(changed, train)[~train], got[~train])


def test_no_video_of_mosi_is_on_both_sides_and_the_transcripts_are_the_rows_of_the_features(root: Path) -> None:
    data = load("mosi", variant="transcript", root=root)
    test = data.split == "test"
    assert len(set(not_none(data.groups))) == 93
    assert not set(not_none(data.groups)[test]) & set(not_none(data.groups)[~test])
    assert len(set(not_none(data.ids))) == len(data)
    row = np.flatnonzero(data.ids == "03bSnISJMiM_1")[0]
    assert data.modalities["text"].values[row] == "ANYHOW IT WAS REALLY GOOD"
    assert not_none(data.target)[row] == 1
    majority = max((not_none(data.target)[test] == label).mean() for label in (0, 1))
    assert majority == pytest.approx(0.621, abs=0.001)
    assert (data.modalities["video"].values[~test].std(0) == 0).sum() == 32


def test_features_and_transcript_of_mosi_differ_in_the_text_only(root: Path) -> None:
    one, other = (load("mosi", variant=variant, root=root) for variant in ("features", "transcript"))
    assert one.modalities["text"].values.shape == (2199, 100)
    assert one.modalities["audio"].values.shape == (2199, 73)
    np.testing.assert_array_equal(one.modalities["video"].values, other.modalities["video"].values)
    np.testing.assert_array_equal(one.ids, other.ids)


@pytest.mark.parametrize("variant", ["Dongsi", "Huairou", "forecast", "nowcast"])
def test_air_is_split_by_time_and_holds_no_near_copy_of_its_target(root: Path, variant: str) -> None:
    data = load("beijing-air", variant=variant, root=root)
    train = data.split == "train"
    assert not_none(data.times)[train].max() < not_none(data.times)[~train].min()
    columns = [column for part in data.modalities.values() if part.kind == "table" for column in part.values]
    assert not {"PM10", "PM2.5", "No", "year", "station"} & set(columns)


def test_missing_air_stays_missing_and_dropped_hours_are_counted(root: Path) -> None:
    data = load("beijing-air", root=root)
    table = pd.read_csv(root / "beijing-air/PRSA_Data_Dongsi_20130301-20170228.csv.gz")
    kept = table[table["PM2.5"].notna()]
    gases = data.modalities["gases"].values
    assert gases.isna().sum().tolist() == kept[["SO2", "NO2", "CO", "O3"]].isna().sum().tolist()
    assert f"{len(table) - len(kept)} of {len(table)} hours dropped" in data.notes[0]
    weekday = data.modalities["clock"].values["weekday"]
    assert weekday.iloc[0] == 4  # 2013-03-01 was a Friday


def test_a_forecast_sees_only_what_was_known_24_hours_before(root: Path) -> None:
    data = load("beijing-air", variant="forecast", root=root)
    table = pd.read_csv(root / "beijing-air/PRSA_Data_Dongsi_20130301-20170228.csv.gz")
    times = pd.to_datetime(table[["year", "month", "day", "hour"]]).to_numpy()
    for row in (0, 5000, len(data) - 1):
        hour = int(np.flatnonzero(times == not_none(data.times)[row])[0])
        assert table["PM2.5"][hour] == not_none(data.target)[row]
        np.testing.assert_allclose(
            data.modalities["past"].values[row][:, 0], table["PM2.5"][hour - 47 : hour - 23], rtol=1e-6
        )
        assert data.modalities["clock"].values["hour"].iloc[row] == table["hour"][hour]


def test_a_nowcast_sees_gases_and_weather_up_to_the_hour_itself_and_no_dust(root: Path) -> None:
    data = load("beijing-air", variant="nowcast", root=root)
    table = pd.read_csv(root / "beijing-air/PRSA_Data_Dongsi_20130301-20170228.csv.gz")
    times = pd.to_datetime(table[["year", "month", "day", "hour"]]).to_numpy()
    assert set(data.modalities) == {"gases", "weather", "clock"}
    for row in (0, 5000, len(data) - 1):
        hour = int(np.flatnonzero(times == not_none(data.times)[row])[0])
        assert table["PM2.5"][hour] == not_none(data.target)[row]
        np.testing.assert_allclose(
            data.modalities["gases"].values[row][:, 1], table["NO2"][hour - 23 : hour + 1], rtol=1e-6
        )


def test_every_station_has_a_file() -> None:
    files = {Path(entry.path).name.split("_")[2] for entry in entries("beijing-air")}
    assert files == set(STATIONS) == {name for name in info("beijing-air").variants if "cast" not in name}


def test_the_shares_are_the_first_six_of_their_sector_with_all_days(root: Path) -> None:
    table = pd.read_csv(root / "stocks/StockTable", sep="\t")
    names = {"technology": "Technology", "healthcare": "Healthcare", "consumer": "Consumer Goods"}
    for sector, symbols in SECTORS.items():
        of_sector = table[table["Sector"] == names[sector]]["Symbol"].str.strip("$ ")
        whole = [s for s in of_sector if len(pd.read_csv(root / f"stocks/price/{s}.csv")) == 1258]
        assert tuple(whole[:6]) == symbols


@pytest.mark.parametrize("log", [False, True])
def test_a_stock_row_ends_the_day_before_its_target_and_is_scaled_by_train(root: Path, log: bool) -> None:
    data = load("stocks", variant="technology-log" if log else "technology", root=root)
    assert list(data.modalities) == list(SECTORS["technology"])
    opens = pd.read_csv(root / "stocks/price/GOOG.csv")["Open"].to_numpy()
    returns = np.diff(np.log(opens))
    series = data.modalities["GOOG"].values[..., 0]
    train = data.split == "train"
    np.testing.assert_allclose(
        series[3] * returns[: WINDOW + np.count_nonzero(train)].std(), returns[3 : 3 + WINDOW], rtol=1e-4
    )
    raw = returns[WINDOW:] ** 2
    raw = np.log(raw + 1e-6) if log else raw
    np.testing.assert_allclose(not_none(data.target), raw / raw[train].std())
    assert not_none(data.target)[train].std() == pytest.approx(1)
    times = not_none(data.times)
    assert (np.diff(times) > np.timedelta64(0)).all()
    assert (
        not_none(data.times)[train].max()
        < not_none(data.times)[data.split == "valid"].min()
        < not_none(data.times)[data.split == "test"].min()
    )


@pytest.mark.parametrize("sector", SECTORS)
@pytest.mark.parametrize("scale", ["", "-log"])
def test_ewma_beats_the_mean_on_every_sector_and_the_notes_tell_it(root: Path, sector: str, scale: str) -> None:
    words = load("stocks", variant=sector + scale, root=root).notes[0].replace(",", "").split()
    assert float(words[words.index("EWMA") + 1]) < float(words[words.index("mean") + 1])


def test_ewma_finds_the_decay_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    state, squares = 1.0, []
    for _ in range(4000):
        squares.append(state * rng.chisquare(8) / 8)
        state = 0.85 * state + 0.10 * squares[-1] + 0.05
    target = np.array(squares[100:])
    split = np.repeat(["train", "valid", "test"], [2500, 700, 700])
    mean, ewma, decay = ewma_score(np.array(squares), target, split, log=False)
    assert ewma < mean
    assert 0.75 <= decay <= 0.97


def test_emoji_join_picture_and_text(root: Path) -> None:
    data = load("emoji", root=root)
    assert len(set(not_none(data.target))) == 8
    assert "Flags" not in set(not_none(data.target))
    assert data.modalities["picture"].values.shape == (1601, 72, 72, 3)
    row = int(np.flatnonzero(data.ids == "emoji_u1f600")[0])
    assert data.modalities["text"].values[row] == "grinning face grinning smile happy"
    red, green, blue = data.modalities["picture"].values[row, 20:50, 20:50].reshape(-1, 3).mean(0)
    assert red > blue
    assert green > blue  # a yellow face
    assert (data.modalities["picture"].values[row, 0, 0] == 255).all()  # on white
    heart = int(np.flatnonzero(data.ids == "emoji_u2764")[0])  # its text has U+FE0F, its file has not
    assert "heart" in data.modalities["text"].values[heart]


def test_mfeat_trains_on_40_rows_a_digit_and_its_views_are_of_the_documented_widths(root: Path) -> None:
    data = load("mfeat", root=root)
    assert [part.values.shape[1] for part in data.modalities.values()] == [216, 76, 64, 6, 240, 47]
    assert np.bincount(not_none(data.target)[data.split == "train"]).tolist() == [40] * 10
    assert np.bincount(not_none(data.target)).tolist() == [200] * 10
    assert np.array_equal(not_none(load("mfeat", root=root).split), not_none(data.split))
