"""The data every speed claim is measured on: W0, W1 and W2, written as Parquet.

* **W0**: GOOG, daily, 2,148 bars, 2004-08-19 to 2013-03-01 (real, public domain).
* **W1**: one symbol, 1,000,000 one-minute bars from 2020-01-01, seed 42.
* **W2**: 100 symbols x 10,000 one-minute bars, seeds 1000 to 1099, one file per symbol.

W1 and W2 are synthetic. With ``z = default_rng(seed).standard_normal(n)``, the close of bar ``i``
is geometric Brownian motion *with* its drift correction,

    close[i] = round_to_tick(1000 * exp(cumsum(-sigma**2 / 2 + sigma * z)[i]))

with sigma 0.0008 a minute and a tick of 0.25 (half to even). The first draw moves the first close;
``open[0]`` is 1000 and ``open[i]`` is ``close[i - 1]``. This reading, and only this one among the
natural ones, gives the 38,779 fills the rule in ``oracle.py`` is known for on W1 (without the
drift term it gives 38,903, with products of ``1 + r`` 38,823); W2 gives 38,482.

Wicks and volume come from generators of their own, ``default_rng((seed, 1))`` and
``default_rng((seed, 2))``, so the first ``n`` bars do not depend on how many are asked for: every
scaled variant is a prefix of the larger one. Wicks are 0 to 3 ticks beyond the body, never below
one tick; volume is an integer from 1 to 999.

Run ``python -m tests.bench.workloads W1 [--bars N] [--symbols N] [--cache DIR]`` to write one.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

SIGMA_PER_BAR = 0.0008
START_PX = 1000.0
TICK_SIZE = 0.25
W0_TICK_SIZE = 0.01
W1_SEED = 42
W1_BARS = 1_000_000
W2_SEED_FIRST = 1000
W2_SYMBOLS = 100
W2_BARS = 10_000
W0_BARS = 2_148
WICK_TICKS_MAX = 3
FIRST_BAR_OPEN = datetime(2020, 1, 1, tzinfo=UTC)
BAR_MINUTE_NS = 60_000_000_000

COLUMNS = ("ts", "open", "high", "low", "close", "volume")
GOOG_SOURCES = ("GOOG.parquet", "GOOG.csv", "goog.parquet", "goog.csv", "stocks.csv.gz")
EXAMPLES_DATA = Path(__file__).resolve().parents[2] / "examples" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One written workload.

    Attributes:
        name: "W0", "W1" or "W2".
        paths: One Parquet file per symbol; the symbol is the file's stem.
        bars: Bars in all files together.
        tick_size: The smallest price step; every price is a multiple of it.
    """

    name: str
    paths: tuple[Path, ...]
    bars: int
    tick_size: float


def default_cache() -> Path:
    """Return the folder workloads and peers' environments are kept in, outside the repository."""
    return Path(tempfile.gettempdir()) / "tetrad-bench"


def walk(seed: int, bars: int) -> pl.DataFrame:
    """Return ``bars`` synthetic one-minute bars.

    Args:
        seed: Seed of the price path; wicks and volume use ``(seed, 1)`` and ``(seed, 2)``.
        bars: How many, at least 1.

    Returns:
        Columns ``ts`` (Datetime ns UTC, the bar's open time), ``open``, ``high``, ``low``,
        ``close`` (Float64, multiples of 0.25) and ``volume`` (Int64).

    Raises:
        ValueError: If ``bars`` is below 1.
    """
    if bars < 1:
        raise ValueError(f"bars must be at least 1, got {bars}")
    draws = np.random.default_rng(seed).standard_normal(bars)
    log_px = np.cumsum(SIGMA_PER_BAR * draws - SIGMA_PER_BAR**2 / 2)
    close = np.maximum(_round_to_tick(START_PX * np.exp(log_px)), TICK_SIZE)
    opens = np.concatenate(([START_PX], close[:-1]))
    # Row i takes its two draws together, so a longer series starts with the same wicks.
    wicks = np.random.default_rng((seed, 1)).integers(0, WICK_TICKS_MAX + 1, size=(bars, 2))
    high = np.maximum(opens, close) + wicks[:, 0] * TICK_SIZE
    low = np.maximum(np.minimum(opens, close) - wicks[:, 1] * TICK_SIZE, TICK_SIZE)
    volume = np.random.default_rng((seed, 2)).integers(1, 1000, size=bars)
    first_ns = int(FIRST_BAR_OPEN.timestamp()) * 1_000_000_000
    ts = pl.Series("ts", first_ns + np.arange(bars, dtype=np.int64) * BAR_MINUTE_NS)
    return pl.DataFrame(
        {
            "ts": ts.cast(pl.Datetime("ns", "UTC")),
            "open": opens,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
        }
    )


def w0(path: Path) -> Workload:
    """Write W0, GOOG daily, to ``path``.

    Raises:
        FileNotFoundError: If GOOG is neither in ``examples/data`` nor in ``bokeh_sampledata``.
    """
    frame = _goog()
    _write(frame, path)
    return Workload(name="W0", paths=(path,), bars=frame.height, tick_size=W0_TICK_SIZE)


def w1(path: Path, *, bars: int = W1_BARS) -> Workload:
    """Write W1, or its first ``bars`` bars, to ``path``."""
    _write(walk(W1_SEED, bars), path)
    return Workload(name="W1", paths=(path,), bars=bars, tick_size=TICK_SIZE)


def w2(folder: Path, *, symbols: int = W2_SYMBOLS, bars: int = W2_BARS) -> Workload:
    """Write W2 into ``folder``: ``S000.parquet`` for seed 1000, and so on, ``bars`` bars each."""
    paths = tuple(folder / f"S{index:03d}.parquet" for index in range(symbols))
    for index, path in enumerate(paths):
        _write(walk(W2_SEED_FIRST + index, bars), path)
    return Workload(name="W2", paths=paths, bars=symbols * bars, tick_size=TICK_SIZE)


def build(
    name: str, cache: Path | None = None, *, bars: int | None = None, symbols: int | None = None
) -> Workload:
    """Return a workload from the cache, writing it first if it is not there.

    Args:
        name: "W0", "W1" or "W2".
        cache: Folder to keep it in; :func:`default_cache` if None.
        bars: Bars per symbol, for a scaled W1 or W2.
        symbols: Symbols, for a scaled W2.

    Raises:
        ValueError: If the name is unknown or the size does not apply to it.
    """
    root = (cache or default_cache()) / "data"
    if name == "W0" and bars is None and symbols is None:
        path = root / "GOOG.parquet"
        return _cached("W0", (path,), W0_BARS, W0_TICK_SIZE, lambda: w0(path))
    if name == "W1" and symbols is None:
        count = bars or W1_BARS
        path = root / ("W1.parquet" if count == W1_BARS else f"W1-{count}.parquet")
        return _cached("W1", (path,), count, TICK_SIZE, lambda: w1(path, bars=count))
    if name == "W2":
        count, width = bars or W2_BARS, symbols or W2_SYMBOLS
        full = (count, width) == (W2_BARS, W2_SYMBOLS)
        folder = root / ("W2" if full else f"W2-{width}x{count}")
        paths = tuple(folder / f"S{index:03d}.parquet" for index in range(width))
        return _cached(
            "W2", paths, width * count, TICK_SIZE, lambda: w2(folder, symbols=width, bars=count)
        )
    raise ValueError(
        f"no workload {name!r} with bars={bars}, symbols={symbols}: use W0 (fixed size), "
        "W1 [bars] or W2 [bars, symbols]"
    )


def _cached(
    name: str, paths: tuple[Path, ...], bars: int, tick_size: float, write: Callable[[], Workload]
) -> Workload:
    if all(path.exists() for path in paths):
        return Workload(name=name, paths=paths, bars=bars, tick_size=tick_size)
    return write()


def _round_to_tick(px: Floats) -> Floats:
    # Half to even; 0.25 is a power of two, so every multiple of it is exact in binary.
    rounded: Floats = np.round(px / TICK_SIZE) * TICK_SIZE
    return rounded


def _write(frame: pl.DataFrame, path: Path) -> None:
    # Written aside and renamed, so that an interrupted run leaves no half file in the cache.
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    frame.write_parquet(partial)
    partial.replace(path)


def _goog() -> pl.DataFrame:
    for name in GOOG_SOURCES:
        path = EXAMPLES_DATA / name
        if path.exists():
            return _goog_columns(_read(path), path)
    # Located, not imported: importing it would need pandas.
    spec = importlib.util.find_spec("bokeh_sampledata")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"W0 needs GOOG daily bars: none of {', '.join(GOOG_SOURCES)} is in {EXAMPLES_DATA} "
            "and bokeh_sampledata is not installed; "
            "run `pip install --no-deps bokeh_sampledata==2026.1`"
        )
    path = Path(spec.origin).parent / "_data" / "stocks.csv.gz"
    return _goog_columns(_read(path), path)


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    if path.suffix == ".gz":
        return pl.read_csv(gzip.decompress(path.read_bytes()))
    return pl.read_csv(path)


def _goog_columns(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    frame = frame.rename({name: name.lower() for name in frame.columns})
    for column in ("symbol", "ticker", "name"):
        if column in frame.columns:
            frame = frame.filter(pl.col(column) == "GOOG")
    stamp = next((name for name in ("ts", "date", "timestamp") if name in frame.columns), None)
    if stamp is None:
        raise ValueError(f"{path}: no ts, date or timestamp column among {frame.columns}")
    ts = pl.col(stamp)
    if frame.schema[stamp] == pl.String:
        ts = ts.str.to_date()
    ts = ts.cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    prices = [(pl.col(name).cast(pl.Float64) / W0_TICK_SIZE).round() / 100 for name in COLUMNS[1:5]]
    wanted = frame.select(ts.alias("ts"), *prices, pl.col("volume").cast(pl.Int64)).sort("ts")
    if wanted.height != W0_BARS:
        raise ValueError(f"{path}: W0 is {W0_BARS} daily GOOG bars, found {wanted.height}")
    return wanted


def main() -> None:
    """Write one workload into the cache and print its files' folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workloads", description=__doc__)
    parser.add_argument("name", choices=("W0", "W1", "W2"))
    parser.add_argument("--bars", type=int, help="bars per symbol (scaled W1, W2)")
    parser.add_argument("--symbols", type=int, help="symbols (scaled W2)")
    parser.add_argument("--cache", type=Path, default=default_cache())
    args = parser.parse_args()
    workload = build(args.name, args.cache, bars=args.bars, symbols=args.symbols)
    location = workload.paths[0] if len(workload.paths) == 1 else workload.paths[0].parent
    print(location)


if __name__ == "__main__":
    main()
