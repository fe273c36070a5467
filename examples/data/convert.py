"""Write the sample data anew from the package bokeh_sampledata.

    python examples/data/convert.py [FOLDER]

One Parquet file per symbol, into FOLDER or else beside this script. Running it again gives the
same content.
"""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path

import polars as pl

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
PRICES = ("open", "high", "low", "close", "adj_close")


def read_stocks() -> pl.DataFrame:
    """Read the package's five series; located rather than imported, which would need pandas."""
    spec = importlib.util.find_spec("bokeh_sampledata")
    if spec is None or spec.origin is None:
        sys.exit("bokeh_sampledata is not installed; run: pip install --no-deps bokeh_sampledata")
    path = Path(spec.origin).parent / "_data" / "stocks.csv.gz"
    frame = pl.read_csv(gzip.decompress(path.read_bytes()))
    frame = frame.rename({name: name.lower().replace(" ", "_") for name in frame.columns})
    return frame.with_columns(
        pl.col("date").str.to_date("%Y-%m-%d"),
        pl.col(PRICES).cast(pl.Float64),
        pl.col("volume").cast(pl.Int64),
    )


def convert(folder: Path) -> list[Path]:
    """Write the files into ``folder`` and return their paths."""
    stocks = read_stocks()
    paths = []
    for symbol in SYMBOLS:
        path = folder / f"{symbol}.parquet"
        bars = stocks.filter(pl.col("ticker") == symbol).sort("date")
        bars.select("date", "open", "high", "low", "close", "volume", "adj_close").write_parquet(
            path, compression="zstd", compression_level=19
        )
        paths.append(path)
    return paths


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    for written in convert(target):
        print(written)
