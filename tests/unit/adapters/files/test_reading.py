"""Spellings, kinds, times, folders, scales: what the files may look like."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adapters.files import Dataset, open_dataset
from engine.domain.instruments import Instrument
from engine.ports import MarketHistory

DAY = 86_400 * 10**9
T0 = 1_704_067_200 * 10**9  # 2024-01-01


def bar_text(symbol_column: str = "", count: int = 3) -> str:
    header = "ts,open,high,low,close,volume\n"
    rows = "".join(f"2024-01-{day:02d},10,99,9,{day + 9},100\n" for day in range(1, count + 1))
    return symbol_column + header + rows


def all_rows(data: Dataset) -> pl.DataFrame:
    return pl.concat(list(data.chunks()))


def test_the_dataset_is_the_market_data_port(tmp_path: Path) -> None:
    (tmp_path / "AAPL.csv").write_text(bar_text())
    data: MarketHistory = open_dataset(tmp_path)
    assert data.instruments == (Instrument(symbol="AAPL", price_decimals=0),)
    assert (data.kind, data.rows, data.interval_ns) == ("bar", 3, {"AAPL": DAY})
    assert (data.ts_first, data.ts_last) == (T0 + DAY, T0 + 3 * DAY)
    assert data.files[0][0] == str(tmp_path / "AAPL.csv")
    assert len(data.files[0][1]) == len(data.data_hash) == 64
    assert data.notes == []
    assert data.dropped.is_empty()
    (chunk,) = data.chunks()
    assert chunk.schema == {
        "series": pl.UInt16,
        **dict.fromkeys(("seq", "ts_open", "ts_event"), pl.Int64),
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Int64),
    }
    assert chunk.row(2) == (0, 2, T0 + 2 * DAY, T0 + 3 * DAY, 10, 99, 9, 12, 100)
    columns = data.columns("AAPL")
    assert columns["close"].tolist() == [10.0, 11.0, 12.0]
    assert columns["ts_event"].tolist() == [T0 + DAY, T0 + 2 * DAY, T0 + 3 * DAY]
    with pytest.raises(ValueError, match="read-only"):
        columns["close"][0] = 1.0
    with pytest.raises(KeyError):
        data.columns("MSFT")


@pytest.mark.parametrize(
    "header",
    [
        "Date,Open,High,Low,Close,Volume",
        "timestamp,o,h,l,c,v",
        "open_time,open_px,high_px,low_px,close_px,qty",
        "<DATETIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "time,OPEN,HIGH,LOW,CLOSE,size",
        ",open,high,low,close,volume",
    ],
)
def test_spellings_of_bars(tmp_path: Path, header: str) -> None:
    text = bar_text()
    (tmp_path / "A.csv").write_text(header + text[text.index("\n") :])
    data = open_dataset(tmp_path)
    assert data.kind == "bar"
    assert all_rows(data)["close"].to_list() == [10, 11, 12]


def test_an_explicit_mapping_wins(tmp_path: Path) -> None:
    text = bar_text().replace("open,", "first,").replace("\n", ",9.5\n").replace(",9.5", ",open", 1)
    (tmp_path / "A.csv").write_text(text)
    assert all_rows(open_dataset(tmp_path))["open"].to_list() == [95, 95, 95]
    data = open_dataset(tmp_path, columns={"open": "first"})
    assert all_rows(data)["open"].to_list() == [10, 10, 10]


@pytest.mark.parametrize(
    ("header", "row", "kind", "units"),
    [
        ("ts,price,size", "1.25,3", "trade", (125, 3)),
        ("ts,last,qty", "1.25,0.5", "trade", (125, 5)),
        ("ts,px,vol", "7,3", "trade", (7, 3)),
        ("ts,bid,ask,bid_size,ask_size", "1.5,1.75,10,20", "quote", (150, 175, 10, 20)),
        ("ts,bid_px,ask_px,bidSize,askSize", "1.5,1.5,1,2", "quote", (15, 15, 1, 2)),
    ],
)
def test_trades_and_quotes(
    tmp_path: Path, header: str, row: str, kind: str, units: tuple[int, ...]
) -> None:
    # Two events may share a time.
    (tmp_path / "A.csv").write_text(f"{header}\n1704067200000,{row}\n1704067200000,{row}\n")
    data = open_dataset(tmp_path)
    assert (data.kind, data.interval_ns) == (kind, {})
    assert all_rows(data).rows() == [(0, 0, T0, *units), (0, 1, T0, *units)]


@pytest.mark.req("D3")
@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-01", "2024-01-02"], [T0, T0 + DAY]),
        (["20240101", "20240102"], [T0, T0 + DAY]),
        (["2024/01/01 00:00", "2024/01/02 00:00"], [T0, T0 + DAY]),
        (["2024-01-01T00:00:00", "2024-01-01T00:00:00.000000001"], [T0, T0 + 1]),
        (["2024-01-01 00:00:00Z", "2024-01-01 00:00:00.5Z"], [T0, T0 + 500_000_000]),
        (["2024-01-01T02:00+02:00", "2024-01-01T00:01+00:00"], [T0, T0 + 60 * 10**9]),
        (["2023-12-31T19:00:00-0500", "2024-01-01T00:00:01Z"], [T0, T0 + 10**9]),
        ([" 1704067200", "1704067201"], [T0, T0 + 10**9]),
        (["1704067200000", "1704067200001"], [T0, T0 + 10**6]),
        (["1704067200000000", "1704067200000001"], [T0, T0 + 10**3]),
        (["1704067200000000000", "1704067200000000001"], [T0, T0 + 1]),
    ],
)
def test_written_times(tmp_path: Path, texts: list[str], expected: list[int]) -> None:
    rows = "".join(f"{text},1,1\n" for text in texts)
    (tmp_path / "A.csv").write_text("ts,price,size\n" + rows)
    assert all_rows(open_dataset(tmp_path))["ts_event"].to_list() == expected


@pytest.mark.req("D3")
@pytest.mark.parametrize(
    "values",
    [
        pl.Series([dt.date(2024, 1, 1), dt.date(2024, 1, 2)]),
        pl.Series([dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)]),  # noqa: DTZ001  # naive is UTC
        pl.Series([T0, T0 + DAY]).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("Asia/Tokyo"),
        pl.Series([T0, T0 + DAY]).cast(pl.Datetime("ns")).cast(pl.Datetime("ms")),
        pl.Series([T0 // 10**9, T0 // 10**9 + 86_400]).cast(pl.Int32),
        pl.Series(["2024-01-01", "2024-01-02"]),
    ],
)
def test_typed_times(tmp_path: Path, values: pl.Series) -> None:
    pl.DataFrame({"ts": values, "price": [1.0, 1.0], "size": [1, 1]}).write_parquet(
        tmp_path / "A.parquet"
    )
    assert all_rows(open_dataset(tmp_path))["ts_event"].to_list() == [T0, T0 + DAY]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([0.1, 2.25], dtype=pl.Float32),
        pl.Series(["0.1", "2.25"]),
        pl.Series(["0.1", "2.25"]).cast(pl.Decimal(10, 4)),
        pl.Series([0.1, 2.25]),
    ],
    ids=str,
)
def test_typed_numbers_mean_their_decimal_text(tmp_path: Path, values: pl.Series) -> None:
    pl.DataFrame({"ts": [T0, T0 + 1], "price": values, "size": [1, 2]}).write_parquet(
        tmp_path / "A.parquet"
    )
    data = open_dataset(tmp_path)
    assert data.instruments[0].price_decimals == 2
    assert all_rows(data)["price"].to_list() == [10, 225]


def test_folders_symbols_and_their_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "B.csv").write_text(bar_text())
    (tmp_path / "sub" / ".hidden.csv").write_text("no data")
    (tmp_path / "README.md").write_text("no data")
    with gzip.open(tmp_path / "A.csv.gz", "wt") as stream:
        stream.write(bar_text())
    pl.read_csv(tmp_path / "sub" / "B.csv").with_columns(symbol=pl.lit("C")).write_ipc(
        tmp_path / "x.feather"
    )
    data = open_dataset(tmp_path)
    assert [item.symbol for item in data.instruments] == ["A", "B", "C"]
    assert all_rows(data)["series"].to_list() == [0, 1, 2] * 3
    chosen = open_dataset(tmp_path, symbols=["C", "A"])
    assert [item.symbol for item in chosen.instruments] == ["C", "A"]
    assert all_rows(chosen)["series"].to_list() == [0, 1] * 3
    twice = open_dataset([tmp_path, tmp_path / "A.csv.gz"])
    assert twice.rows == 9


def test_a_symbol_may_continue_from_file_to_file(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "ts": [1_704_067_200 + i for i in range(6)],
            "sym": ["A", "B"] * 3,
            "price": 1.5,
            "size": 1,
        }
    )
    frame[:2].write_parquet(tmp_path / "z.parquet")  # first in time, last by name
    frame[2:].write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "whole.pq")
    split = open_dataset([tmp_path / "a.csv", tmp_path / "z.parquet"])
    whole = open_dataset(tmp_path / "whole.pq")
    assert all_rows(split).equals(all_rows(whole))
    assert split.data_hash == whole.data_hash


def test_labels_and_intervals(tmp_path: Path) -> None:
    week = [1, 2, 3, 4, 5, 8, 9, 10, 11, 12]  # working days
    rows = "".join(f"2024-01-{day:02d},1,1,1,1,1\n" for day in week)
    (tmp_path / "A.csv").write_text("ts,open,high,low,close,volume\n" + rows)
    opened = open_dataset(tmp_path)
    assert opened.interval_ns == {"A": DAY}
    closed = open_dataset(tmp_path, bar_label="close")
    assert all_rows(closed)["ts_event"].to_list() == all_rows(opened)["ts_open"].to_list()
    assert (closed.ts_first, closed.ts_last) == (T0, T0 + 11 * DAY)
    assert all_rows(closed)["ts_open"][0] == T0 - DAY
    assert open_dataset(tmp_path, interval="1h").interval_ns == {"A": 3_600 * 10**9}
    minutes = [T0 + 60 * 10**9 * i for i in (0, 1, 2, 900, 901, 1_800)]
    pl.DataFrame({"ts": minutes, **dict.fromkeys(("o", "h", "l", "c", "v"), 1)}).write_parquet(
        tmp_path / "A.parquet"
    )
    assert open_dataset(tmp_path / "A.parquet").interval_ns == {"A": 60 * 10**9}


def test_one_bar_takes_the_interval_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text(bar_text(count=1))
    (tmp_path / "B.csv").write_text(bar_text(count=3))
    assert open_dataset(tmp_path).interval_ns == {"A": DAY, "B": DAY}
    assert open_dataset(tmp_path / "A.csv", interval="5m").interval_ns == {"A": 300 * 10**9}


def test_ranges(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text(bar_text(count=10))

    def days(data: Dataset) -> list[int]:
        return ((all_rows(data)["ts_open"] - T0) // DAY + 1).to_list()

    assert days(open_dataset(tmp_path, start="2024-01-03", end="2024-01-05")) == [3, 4, 5]
    assert days(open_dataset(tmp_path, end=dt.date(2024, 1, 2))) == [1, 2]
    assert days(open_dataset(tmp_path, end="2024-01-03T00:00:00Z")) == [1, 2]
    assert days(open_dataset(tmp_path, start=T0 + 8 * DAY)) == [9, 10]
    closed = open_dataset(tmp_path, bar_label="close", start="2024-01-03", end="2024-01-05T00:00")
    assert days(closed) == [3, 4]
    assert all_rows(closed)["seq"].to_list() == [0, 1]


@pytest.mark.req("D2")
def test_scales(tmp_path: Path) -> None:
    def instrument(prices: list[float], sizes: list[float], **options: object) -> Instrument:
        frame = pl.DataFrame({"ts": range(10**18, 10**18 + len(prices)), "price": prices})
        frame.with_columns(size=pl.Series(sizes)).write_parquet(tmp_path / "A.parquet")
        return open_dataset(tmp_path / "A.parquet", **options).instruments[0]

    assert instrument([1.0, 20.0], [3.0, 4.0]).price_decimals == 0
    item = instrument([1.05, 20.0], [0.00000001, 4.0], calendar="XNYS", currency="EUR")
    assert (item.price_decimals, item.quantity_decimals, item.tick_size) == (2, 8, 1)
    assert (item.calendar, item.currency) == ("XNYS", "EUR")
    item = instrument([1.5], [1.0], tick_size=0.25)
    assert (item.price_decimals, item.tick_size) == (2, 25)
    item = instrument([1.5], [1.0], tick_size="0.5", price_decimals=4, quantity_decimals=2)
    assert (item.price_decimals, item.tick_size, item.quantity_decimals) == (4, 5_000, 2)
    # Float noise is no digit.
    assert instrument([0.1 + 0.2], [1.0], price_decimals=2).price_decimals == 2


def test_more_digits_than_nine_are_rounded_and_noted(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"ts": [T0, T0 + 1], "price": [1 / 3, 0.5], "size": [1e-9, 0.3333333333333]}
    )
    frame.write_parquet(tmp_path / "A.parquet")
    data = open_dataset(tmp_path)
    assert all_rows(data).select("price", "size").rows() == [
        (333_333_333, 0),
        (500_000_000, 33_333_333),
    ]
    assert data.columns("A")["price"].tolist() == [0.333333333, 0.5]
    what = "have more than {0} digits after the point and are rounded to {0}, half to even"
    assert data.notes == [f"A: 1 prices {what.format(9)}", f"A: 2 quantities {what.format(8)}"]


def test_adjusted_prices(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text(
        "Date,Open,High,Low,Close,Adj Close,Volume\n"
        "2024-01-01,100,110,90,100,50,1000\n2024-01-02,51,52,50,51,51,1000\n"
    )
    raw = all_rows(open_dataset(tmp_path)).select("open", "high", "low", "close", "volume")
    assert raw.row(0) == (100, 110, 90, 100, 1000)
    data = open_dataset(tmp_path, adjust=True)
    adjusted = all_rows(data).select("open", "high", "low", "close", "volume")
    assert adjusted.rows() == [(50, 55, 45, 50, 2000), (51, 52, 50, 51, 1000)]


def test_adjusted_volumes_keep_the_digits_of_the_raw_ones(tmp_path: Path) -> None:
    days = [("100", "30", "7"), ("100", "40", "5"), ("100", "100", "9"), ("100", "80", "10")]
    rows = [f"2024-01-0{i},100,110,90,{c},{a},{v}\n" for i, (c, a, v) in enumerate(days, start=1)]
    (tmp_path / "A.csv").write_text("date,open,high,low,close,adj_close,volume\n" + "".join(rows))
    data = open_dataset(tmp_path, adjust=True)
    assert data.instruments[0].quantity_decimals == 0
    # 7 / 0.3 = 23.3, 5 / 0.4 = 12.5 (to even), 10 / 0.8 = 12.5
    assert all_rows(data)["volume"].to_list() == [23, 12, 9, 12]
    assert data.columns("A")["volume"].tolist() == [23.0, 12.0, 9.0, 12.0]
    finer = open_dataset(tmp_path, adjust=True, quantity_decimals=2)
    assert all_rows(finer)["volume"].to_list() == [2333, 1250, 900, 1250]


def test_blank_lines_and_byte_order_marks_are_passed_over(tmp_path: Path) -> None:
    text = bar_text().replace("2024-01-02", "\n2024-01-02") + "\n\n"
    (tmp_path / "A.csv").write_text("\ufeff" + text, newline="\r\n")
    assert open_dataset(tmp_path).rows == 3
    (tmp_path / "A.csv").write_text(text.replace(",", ";"))
    assert open_dataset(tmp_path).rows == 3


def test_columns_can_feed_indicators(tmp_path: Path) -> None:
    import talib

    (tmp_path / "A.csv").write_text(bar_text(count=5))
    average = talib.SMA(open_dataset(tmp_path).columns("A")["close"], 2)
    assert np.array_equal(average[1:], [10.5, 11.5, 12.5, 13.5])
