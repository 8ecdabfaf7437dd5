"""What every table of volatility must hold beside the networks: the training mean, EWMA, HAR and GARCH(1,1).

    returns = read_returns("technology", root)  # [day, share]; the target is the next day's of the first share
    data = load("stocks", variant="technology-log", root=root)
    predictions = forecasts(returns[:, 0], data.target, data.split, log=True)  # {name: [row]}

`features` makes of the same returns what a network may get as inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.signal import lfilter

from profuse.datasets._files import find
from profuse.datasets.stocks import DECAYS, FLOOR, SECTORS, _opens
from profuse.errors import DataError

__all__ = ["CHANNELS", "Garch", "features", "fit_garch", "forecasts", "read_returns"]

Array = npt.NDArray[np.float64]

CHANNELS = ("return", "absolute return", "root mean square of 5 days", "root mean square of 22 days", "root of EWMA")
HORIZONS = (1, 5, 22)  # days: a day, a week and a month of trading
N_START = 20  # days, all before the first target, whose mean EWMA starts from, as in `ewma_score`
FEATURE_DECAY = 0.94
PERSISTENCE = 1 - 1e-6  # alpha + beta stays at or below it
OMEGA = (1e-8, 10.0)  # in units of the training variance
STARTS = tuple((np.log(1 - total), total, share) for total in (0.5, 0.9, 0.98) for share in (0.05, 0.2))


def read_returns(sector: str, root: Path | None) -> Array:
    """Returns r_t = log(open_t / open_(t-1)) of the six shares of a sector, `[day, share]`, as `stocks` has them."""
    symbols = SECTORS[sector]
    wanted = {f"stocks/price/{symbol}.csv" for symbol in symbols}
    _, opens = _opens(find("stocks", root, only=lambda entry: entry.path in wanted), symbols)
    return np.asarray(np.diff(np.log(opens), axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Garch:
    """sigma2_t = omega + alpha e_(t-1)^2 + beta sigma2_(t-1), with e_t = r_t - mean and sigma2_0 = start.

    Reference: Bollerslev, "Generalized autoregressive conditional heteroskedasticity", 1986.
    """

    mean: float
    omega: float
    alpha: float
    beta: float
    start: float

    def variances(self, returns: Array) -> Array:
        """Returns sigma2 `[day + 1]`: that of each day given the days before it, and that of the day to come."""
        inputs = np.append(self.start, self.omega + self.alpha * (returns - self.mean) ** 2)
        return np.asarray(lfilter([1.0], [1.0, -self.beta], inputs))

    def log_likelihood(self, returns: Array) -> float:
        """Returns the sum over days of log N(r_t; mean, sigma2_t)."""
        variances = self.variances(returns)[:-1]
        terms = np.log(2 * np.pi * variances) + (returns - self.mean) ** 2 / variances
        return float(-0.5 * terms.sum())


def fit_garch(returns: Array) -> Garch:
    """Returns the GARCH(1,1) of the greatest Gaussian likelihood; the mean and the start are those of the sample.

    Searched in (log omega, alpha + beta, alpha / (alpha + beta)), where omega > 0, alpha, beta >= 0 and
    alpha + beta < 1 are bounds of one number each, from several starts. It is a quasi-likelihood: it stays consistent
    where the returns are not Gaussian, as long as their variance follows the recursion.

    Args:
        returns: `[day]`, of train alone.

    Raises:
        DataError: The returns do not move, or the search does not arrive.
    """
    mean, variance = float(returns.mean()), float(returns.var())
    if not (np.isfinite(variance) and variance > 0):
        raise DataError(
            f"fit_garch: the returns must be finite and move; got variance={variance}. Leave out shares without prices."
        )
    squares = (returns - mean) ** 2 / variance
    bounds = [(np.log(OMEGA[0]), np.log(OMEGA[1])), (0.0, PERSISTENCE), (0.0, 1.0)]
    found = [minimize(_loss, start, (squares,), "L-BFGS-B", jac=True, bounds=bounds) for start in STARTS]
    best = min(found, key=lambda result: float(result.fun))
    if not best.success:
        raise DataError(
            f"fit_garch: the search for the greatest likelihood must arrive; got message={best.message!r} "
            f"on {len(returns)} days. Fit on more days."
        )
    log_omega, total, share = (float(x) for x in best.x)
    return Garch(mean, variance * float(np.exp(log_omega)), total * share, total * (1 - share), variance)


def _loss(parameters: Array, squares: Array) -> tuple[float, Array]:
    """The mean of log sigma2_t + e_t^2 / sigma2_t and its gradient, for squares in units of their mean."""
    log_omega, total, share = parameters
    omega, alpha, beta = np.exp(log_omega), total * share, total * (1 - share)
    variances = Garch(0.0, omega, alpha, beta, 1.0).variances(np.sqrt(squares))[:-1]
    # each derivative follows the recursion of sigma2, and is 0 on the first day
    drives = np.stack([np.ones(len(squares) - 1), squares[:-1], variances[:-1]])
    by_omega, by_alpha, by_beta = np.pad(lfilter([1.0], [1.0, -beta], drives), ((0, 0), (1, 0)))
    slopes = np.stack([omega * by_omega, share * by_alpha + (1 - share) * by_beta, total * by_alpha - total * by_beta])
    gradient = (slopes * (1 - squares / variances) / variances).mean(1)
    return float((np.log(variances) + squares / variances).mean()), gradient


def forecasts(returns: Array, target: Array, split: npt.NDArray[np.str_], *, log: bool) -> dict[str, Array]:
    """Returns for every row what each reference predicts, from the returns up to the day before the target's.

    With s a measure of past squared returns, a prediction is a + b s (a + b log s if `log`), least squares on train:

    - `train_mean`: the mean of the training targets.
    - `ewma`: s_t = decay s_(t-1) + (1 - decay) r_t^2, the decay by the MSE on valid; the forecast of `ewma_score`.
    - `har`: three of them, the mean of r^2 over the last 1, 5 and 22 days (logs of it + 1e-6 if `log`).
    - `garch`: sigma2 of the target's day, parameters by likelihood on the training returns (log sigma2 if `log`).
    - `garch_raw`: what the same GARCH expects without a look at the targets: mean^2 + sigma2, or, if `log`, the
      expectation of log(r^2 + 1e-6) for r of N(mean, sigma2).

    Nothing is clipped: `har` may predict a negative square.

    Args:
        returns: `[day]` of the target's share, in its own unit; the last day is the last target's, and before the
            first target there are at least 22.
        target: `[row]`, squared returns, or log(r^2 + 1e-6), in any unit.
        split: `[row]` of "train", "valid", "test", in this order.
        log: Whether the target is a logarithm.

    Raises:
        DataError: The arguments do not fit together.

    Reference: Corsi, "A simple approximate long-memory model of realized volatility", 2009 (`har`).
    *Differs from the paper*: daily squared returns stand for the realised variance.
    """
    lead = len(returns) - len(target)
    _check(returns, target, split, lead)
    train, valid = split == "train", split == "valid"
    squares = returns**2
    raw = np.log(squares[lead:] + FLOOR) if log else squares[lead:]
    garch = fit_garch(returns[: lead + int(train.sum())])
    unit = float(raw[train] @ target[train] / (raw[train] @ raw[train]))
    if not (unit > 0 and np.allclose(target, unit * raw, rtol=1e-4, atol=1e-4 * target[train].std())):
        raise DataError(
            f"forecasts: target must be the {'log ' if log else ''}squared returns of its days up to a unit; got rows "
            f"that are not, log={log}. Pass the returns of the target's share, its last day that of the last target."
        )

    def known(states: Array) -> Array:
        return states[lead - 1 : -1]  # up to the day before the target

    def floored(states: Array) -> Array:
        return np.log(states + FLOOR) if log else states

    tried = []
    for decay in DECAYS:
        states, _ = lfilter([1 - decay], [1, -decay], squares, zi=[decay * squares[:N_START].mean()])
        predicted = _least_squares(floored(known(states)), target, train)
        tried.append((float(((predicted - target)[valid] ** 2).mean()), predicted))
    past = np.column_stack([floored(known(_past_mean(squares, np.ones(days)))) for days in HORIZONS])
    variances = garch.variances(returns)[lead:-1]
    return {
        "train_mean": np.full(len(target), target[train].mean()),
        "ewma": min(tried, key=lambda pair: pair[0])[1],
        "har": _least_squares(past, target, train),
        "garch": _least_squares(np.log(variances) if log else variances, target, train),
        "garch_raw": (_expected_log(garch.mean, variances) if log else garch.mean**2 + variances) * unit,
    }


def features(returns: Array, unit: float) -> Array:
    """Returns inputs for a network, `[day, channel]`, channels as in `CHANNELS`, from the returns up to that day.

    Of the first days, when fewer than 5 or 22 have been, the mean is over those; EWMA's weights .94^k are divided by
    their sum.

    Args:
        returns: `[day]` of one share.
        unit: The standard deviation of its training returns; every channel is divided by it. Above 0.

    Raises:
        DataError: `unit` is not above 0.
    """
    if not unit > 0:
        raise DataError(f"features: unit must be above 0; got unit={unit}. Pass the returns' training deviation.")
    squares = returns**2
    means = [
        _past_mean(squares, np.ones(5)),
        _past_mean(squares, np.ones(22)),
        _past_mean(squares, np.ones(1), FEATURE_DECAY),
    ]
    return np.column_stack([returns, np.abs(returns), *np.sqrt(means)]) / unit


def _past_mean(values: Array, weights: Array, decay: float = 0.0) -> Array:
    """The weighted mean of each day and those before it; weights reach as far as there are days."""
    total, count = lfilter(weights, [1.0, -decay], np.stack([values, np.ones(len(values))]))
    return np.asarray(total / count)


def _least_squares(inputs: Array, target: Array, train: npt.NDArray[np.bool_]) -> Array:
    """The prediction of every row by an affine map of `[row]` or `[row, input]`, least squares on train."""
    design = np.column_stack([np.ones(len(target)), inputs])
    return np.asarray(design @ np.linalg.lstsq(design[train], target[train])[0])


def _expected_log(mean: float, variances: Array) -> Array:
    """E log(r^2 + 1e-6) for r of N(mean, variance), by the trapezoid rule: the floor keeps the logarithm smooth."""
    z, step = np.linspace(-8, 8, 2001, retstep=True)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * step
    return np.asarray(np.log((mean + np.sqrt(variances)[:, None] * z) ** 2 + FLOOR) @ density)


def _check(returns: Array, target: Array, split: npt.NDArray[np.str_], lead: int) -> None:
    if returns.ndim != 1 or target.ndim != 1 or split.shape != target.shape or lead < max(HORIZONS):
        raise DataError(
            f"forecasts: returns [day], target [row] and split [row] must have {max(HORIZONS)} days before the first "
            f"target; got {returns.shape}, {target.shape}, {split.shape}. Pass earlier days too."
        )
    if n_bad := int((~np.isfinite(returns)).sum() + (~np.isfinite(target)).sum()):
        raise DataError(
            f"forecasts: returns and target must be finite; got n_not_finite={n_bad}. Leave out shares without prices."
        )
    parts = [str(part) for i, part in enumerate(split) if i == 0 or part != split[i - 1]]
    if parts != ["train", "valid", "test"]:
        raise DataError(
            f"forecasts: split must be train, then valid, then test; got parts={parts[:5]}. Split the rows by time."
        )
