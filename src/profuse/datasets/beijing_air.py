"""`beijing-air`: fine dust in Beijing from gases, weather and the clock (UCI 501)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets._files import find
from profuse.datasets._info import DatasetInfo

__all__ = ["CLOCK", "GASES", "INFO", "STATIONS", "WEATHER", "load"]

STATIONS = (
    "Dongsi",
    "Aotizhongxin",
    "Changping",
    "Dingling",
    "Guanyuan",
    "Gucheng",
    "Huairou",
    "Nongzhanguan",
    "Shunyi",
    "Tiantan",
    "Wanliu",
    "Wanshouxigong",
)
GASES = ("SO2", "NO2", "CO", "O3")
WEATHER = ("TEMP", "PRES", "DEWP", "RAIN", "wd", "WSPM")
CLOCK = ("hour", "month", "weekday")
TRAIN_SIZE = 0.7
WINDOW = 24  # hours that a forecast sees
AHEAD = 24  # hours from the last hour seen to the one forecast

_WINDS = ("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW")


def load(variant: str, root: Path | None) -> Dataset:
    """Reads one station, hourly from 2013-03-01 to 2017-02-28; rows without a PM2.5 are dropped and counted.

    Left out are PM10 and the other stations' PM2.5, which are near-copies of the target. Cells that are missing stay
    missing. Hours of one day are alike, so the split is by time: the first 70 % of the rows are train.

    * a station: `gases` (SO2, NO2, CO, O3 in micrograms a cubic metre), `weather` (temperature and dew point in degrees
      Celsius, pressure in hPa, rain in mm, wind direction as a category, wind speed in m/s), `clock` (hour, month,
      weekday with Monday 0);
    * "forecast": PM2.5 24 hours after the last of 24 hours, as series `[24, channel]`: `past` (PM2.5), `gases`,
      `weather` (wind direction as two channels, its sine and cosine), and `clock` of the hour that is forecast;
    * "nowcast": PM2.5 of the last of 24 hours, from the same series without `past`.

    Args:
        variant: A station, "forecast" or "nowcast" (both Dongsi).
        root: See `profuse.datasets.load`.
    """
    in_series = variant in ("forecast", "nowcast")
    station = "Dongsi" if in_series else variant
    name = f"PRSA_Data_{station}_20130301-20170228.csv.gz"
    folder = find("beijing-air", root, only=lambda entry: entry.path.endswith(f"/{name}"))
    table = pd.read_csv(folder / name)
    times = pd.to_datetime(table[["year", "month", "day", "hour"]])
    table["weekday"] = times.dt.day_of_week
    if in_series:
        modalities, hours = _windows(table, ahead=AHEAD if variant == "forecast" else 0)
    else:
        hours = np.arange(len(table))
        modalities = {
            key: _table(table[list(columns)])
            for key, columns in (("gases", GASES), ("weather", WEATHER), ("clock", CLOCK))
        }
    target = table["PM2.5"].to_numpy(dtype=np.float64)[hours]
    known = np.flatnonzero(~np.isnan(target))
    n_train = int(TRAIN_SIZE * len(known))
    return Dataset(
        name="beijing-air",
        modalities={key: data.rows(known) for key, data in modalities.items()},
        target=target[known],
        task="regression",
        target_names=("PM2.5",),
        times=times.to_numpy()[hours][known],
        split=np.repeat(["train", "test"], [n_train, len(known) - n_train]),
        notes=(f"Station {station}: {len(target) - len(known)} of {len(target)} hours dropped for want of a PM2.5.",),
    )


def _table(frame: pd.DataFrame) -> ModalityData:
    return ModalityData("table", frame, frame.notna().any(axis=1).to_numpy())


def _windows(table: pd.DataFrame, *, ahead: int) -> tuple[dict[str, ModalityData], np.ndarray]:
    """Returns series of `WINDOW` hours, and the hours `ahead` of their ends; the table has every hour, in order."""
    angle = table["wd"].map({wind: 2 * np.pi * i / len(_WINDS) for i, wind in enumerate(_WINDS)}).to_numpy(float)
    weather = table[[column for column in WEATHER if column != "wd"]].to_numpy(dtype=np.float64)
    channels = {
        **({"past": table[["PM2.5"]].to_numpy(dtype=np.float64)} if ahead else {}),
        "gases": table[list(GASES)].to_numpy(dtype=np.float64),
        "weather": np.column_stack([weather, np.sin(angle), np.cos(angle)]),
    }
    hours = np.arange(WINDOW - 1 + ahead, len(table))
    modalities = {}
    for key, values in channels.items():
        view = np.lib.stride_tricks.sliding_window_view(values.astype(np.float32), WINDOW, axis=0)
        series = view[: len(hours)].swapaxes(1, 2)
        present = np.any(~np.isnan(series), axis=(1, 2))
        modalities[key] = ModalityData("series", series, np.asarray(present))
    modalities["clock"] = _table(table[list(CLOCK)]).rows(hours)
    return modalities, hours


INFO = DatasetInfo(
    name="beijing-air",
    modalities={"gases": "table", "weather": "table", "clock": "table"},
    n_rows=34_314,
    task="regression",
    target="PM2.5 in micrograms a cubic metre, at the same hour",
    split="by time: first 70 % train, last 30 % test",
    licence="CC BY 4.0 (UCI)",
    source="Peiris94-dev/Beijing-Multi-Site-Air-Quality-Analysis@0aa46c055fcca7da49ebac9329435ffe674b74c3 (UCI 501)",
    variants={
        **{station: f"station {station}, the same hour" for station in STATIONS},
        "forecast": "station Dongsi, 24 hours ahead from the last 24 hours (series), past PM2.5 among them",
        "nowcast": "station Dongsi, the same hour from gases and weather of the last 24 hours (series)",
    },
    extra="data",
    folder="beijing-air",
    load=load,
)
