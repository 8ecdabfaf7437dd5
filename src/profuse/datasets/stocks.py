"""`stocks`: how much will a share move tomorrow, from the moves of six shares? Each share is a modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets._files import find
from profuse.datasets._info import DatasetInfo
from profuse.errors import DataError

__all__ = ["INFO", "SECTORS", "ewma_score", "load"]

SECTORS = {  # the first six of the sector in StockTable that were traded on all days; the first is the target
    "technology": ("GOOG", "MSFT", "FB", "T", "CHL", "ORCL"),
    "healthcare": ("JNJ", "PFE", "NVS", "UNH", "MRK", "AMGN"),
    "consumer": ("AAPL", "PG", "BUD", "KO", "PM", "TM"),
}
WINDOW = 100  # days
TRAIN_SIZE, VALID_SIZE = 0.7, 0.1
N_DAYS = 1_258
FLOOR = 1e-6  # added to a squared return before its logarithm: a move of 0.1 %; some days do not move at all
DECAYS = tuple(np.round(np.arange(0.70, 0.995, 0.01), 2).tolist())


def load(variant: str, root: Path | None) -> Dataset:
    """Reads six shares of a sector, daily from 2012-09-04 to 2017-09-01, as windows of 100 days.

    With r_t = log(open_t / open_(t-1)), a row's modality is the series `[100, 1]` of a share's r_(t-99) ... r_t,
    divided by its standard deviation in train; the target is r_(t+1)^2 of the first share, or log(r_(t+1)^2 + 1e-6),
    divided by its standard deviation in train. What train learns from ends before the first validation target. Task
    after MultiBench (Liang et al., 2021), which has windows of 500 days in 20 years and other shares.

    The signal is weak, and an exponentially weighted mean of past squares (EWMA) is hard to beat: its score is in the
    notes, and `ewma_score` computes it.

    Args:
        variant: A sector, for squared returns, or a sector and "-log".
        root: See `profuse.datasets.load`.

    Raises:
        DataError: A file does not have the expected days.
    """
    sector, _, scale = variant.partition("-")
    symbols = SECTORS[sector]
    wanted = {f"stocks/price/{symbol}.csv" for symbol in symbols}
    folder = find("stocks", root, only=lambda entry: entry.path in wanted)
    days, opens = _opens(folder, symbols)
    returns = np.diff(np.log(opens), axis=0)  # [day, share]; row t is the move into day t + 1
    n_rows = len(returns) - WINDOW
    n_train, n_valid = int(TRAIN_SIZE * n_rows), int(VALID_SIZE * n_rows)
    seen = returns[: WINDOW + n_train]  # the last of them is the last training target

    squares = returns[WINDOW:, 0] ** 2
    raw = np.log(squares + FLOOR) if scale == "log" else squares
    target = raw / raw[:n_train].std()
    views = np.lib.stride_tricks.sliding_window_view((returns / seen.std(0)).astype(np.float32), WINDOW, axis=0)
    everywhere = np.ones(n_rows, dtype=bool)
    split = np.repeat(["train", "valid", "test"], [n_train, n_valid, n_rows - n_train - n_valid])
    mean, ewma, decay = ewma_score(returns[:, 0] ** 2, target, split, log=scale == "log")
    return Dataset(
        name="stocks",
        modalities={
            symbol: ModalityData("series", views[:n_rows, i, :, None], everywhere) for i, symbol in enumerate(symbols)
        },
        target=target,
        task="regression",
        target_names=(f"{symbols[0]} {'log ' if scale == 'log' else ''}squared return",),
        times=days[WINDOW + 1 :],
        split=split,
        notes=(f"Test MSE of the training mean {mean:.3f}, of EWMA {ewma:.3f} (decay {decay}, chosen on valid).",),
    )


def ewma_score(squares: np.ndarray, target: np.ndarray, split: np.ndarray, *, log: bool) -> tuple[float, float, float]:
    """Returns the test MSE of the training mean, that of EWMA, and EWMA's decay.

    s_t = decay s_(t-1) + (1 - decay) r_t^2, from the mean of the first 20 days; the prediction of the next target is
    a + b s_t (a + b log(s_t + 1e-6) if `log`), a and b by least squares on train, the decay by the MSE on valid.

    Args:
        squares: Squared returns of every day, `WINDOW` of them before the first target.
        target: `[row]`.
        split: `[row]` of "train", "valid", "test".
        log: Whether the target is a logarithm.
    """
    train, valid, test = (split == part for part in ("train", "valid", "test"))
    best = (np.inf, np.inf, np.nan)
    for decay in DECAYS:
        state = squares[:20].mean()
        states = np.empty(len(squares))
        for t, square in enumerate(squares):
            states[t] = state = decay * state + (1 - decay) * square
        seen = states[len(squares) - len(target) - 1 : -1]  # up to the day before the target
        feature = np.log(seen + FLOOR) if log else seen
        slope, offset = np.polyfit(feature[train], target[train], 1)
        errors = (target - offset - slope * feature) ** 2
        best = min(best, (float(errors[valid].mean()), float(errors[test].mean()), decay))
    return float(((target[test] - target[train].mean()) ** 2).mean()), best[1], best[2]


def _opens(folder: Path, symbols: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the days and `[day, share]` opening prices, which must be there on the same days."""
    days: np.ndarray | None = None
    opens = []
    for symbol in symbols:
        path = folder / "price" / f"{symbol}.csv"
        table = pd.read_csv(path, parse_dates=["Date"])
        here = table["Date"].to_numpy()
        if len(here) != N_DAYS or (days is not None and (here != days).any()):
            raise DataError(
                f"stocks: {path} must have the same {N_DAYS} days as the other shares; got {len(here)}, or other days. "
                "Remove the file and load again, or get it from its source."
            )
        days = here
        opens.append(table["Open"].to_numpy(dtype=np.float64))
    assert days is not None  # a sector has six shares
    return days, np.column_stack(opens)


INFO = DatasetInfo(
    name="stocks",
    modalities=dict.fromkeys(SECTORS["technology"], "series"),
    n_rows=1_157,
    task="regression",
    target="squared log return of the sector's first share on the next day",
    split="by time: 70 % train, 10 % valid, 20 % test",
    licence="MIT",
    source="yumoxu/stocknet-dataset@330708b5ddc359961078bef469f43f48992fd6e4 price/raw/, StockTable",
    variants={
        "technology": f"squared return of {SECTORS['technology'][0]} (MultiBench's task on its TECH)",
        "healthcare": f"squared return of {SECTORS['healthcare'][0]} (for MultiBench's HEALTH)",
        "consumer": f"squared return of {SECTORS['consumer'][0]} (Consumer Goods, for MultiBench's F&B)",
        "technology-log": "the logarithm of it: less ruled by a few days",
        "healthcare-log": "the logarithm of it",
        "consumer-log": "the logarithm of it",
    },
    extra="data",
    folder="stocks",
    load=load,
)
