"""The sample data opens clean, and is what its script makes of the package."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import polars as pl
import pytest

from adapters.files import open_dataset

DATA = Path(__file__).resolve().parents[4] / "examples" / "data"
BARS = {"AAPL": 3270, "FB": 196, "GOOG": 2148, "IBM": 3270, "MSFT": 3270}


def test_the_sample_data_opens_clean() -> None:
    data = open_dataset(DATA, calendar="XNYS")
    assert [item.symbol for item in data.instruments] == list(BARS)
    assert data.rows == sum(BARS.values())
    assert set(data.interval_ns.values()) == {86_400 * 10**9}
    assert data.notes == []
    adjusted = open_dataset(DATA / "AAPL.parquet", adjust=True)
    assert adjusted.columns("AAPL")["close"][0] == pytest.approx(4.186663)
    # Shares are whole at any price.
    whole = open_dataset(DATA, adjust=True).instruments
    assert {item.quantity_decimals for item in whole} == {0}


@pytest.mark.skipif(
    importlib.util.find_spec("bokeh_sampledata") is None, reason="bokeh_sampledata not installed"
)
def test_the_script_gives_the_same_content(tmp_path: Path) -> None:
    convert = runpy.run_path(str(DATA / "convert.py"))["convert"]
    convert(tmp_path)
    for symbol, count in BARS.items():
        again = pl.read_parquet(tmp_path / f"{symbol}.parquet")
        assert again.height == count
        assert again.equals(pl.read_parquet(DATA / f"{symbol}.parquet"))
    assert open_dataset(tmp_path).data_hash == open_dataset(DATA).data_hash
