"""What holds for every file: format, layout, batches and stores leave no trace."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adapters.files.dataset as dataset_module
import adapters.files.scan as scan_module
import adapters.files.source as source_module
from adapters.files import Dataset, open_dataset
from adapters.files.store import MemoryStore, SpillStore

T0 = 1_704_067_200 * 10**9
STEP = 60 * 10**9


@st.composite
def series(draw: st.DrawFn, symbol: str) -> pl.DataFrame:
    """One symbol's bars: units and digits first, so that the floats are known exactly."""
    digits = draw(st.integers(0, 6))
    slots = draw(st.lists(st.integers(0, 40), min_size=2, max_size=12, unique=True))
    slots.sort()
    rows = []
    for slot in slots:
        low, open_, close, high = sorted(draw(st.tuples(*[st.integers(1, 10**8)] * 4)))
        volume = draw(st.integers(0, 10**9))
        rows.append(
            {
                "symbol": symbol,
                "ts": T0 + slot * STEP,
                **{
                    name: float(Decimal(units).scaleb(-digits))
                    for name, units in (
                        ("open", open_),
                        ("high", high),
                        ("low", low),
                        ("close", close),
                    )
                },
                "volume": float(Decimal(volume).scaleb(-draw(st.sampled_from([0, 3])))),
            }
        )
    return pl.DataFrame(rows)


@st.composite
def markets(draw: st.DrawFn) -> pl.DataFrame:
    count = draw(st.integers(1, 4))
    return pl.concat([draw(series(symbol)) for symbol in "ABCD"[:count]])


def rows_of(data: Dataset, rows: int = 8192) -> pl.DataFrame:
    return pl.concat(list(data.chunks(rows)), rechunk=True)


@settings(max_examples=30)
@given(markets())
@pytest.mark.req("D2")
def test_format_and_layout_leave_no_trace(market: pl.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        by_time = market.sort("ts", "symbol")
        stamped = by_time.with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))
        market.write_parquet(root / "by_symbol.parquet")
        stamped.write_csv(root / "by_time.csv")
        stamped.write_ipc(root / "by_time.arrow")
        (root / "each").mkdir()
        for (symbol,), part in market.group_by("symbol"):
            part.drop("symbol").write_csv(root / "each" / f"{symbol}.csv")
        paths = [root / "by_symbol.parquet", root / "by_time.csv", root / "by_time.arrow"]
        found = [open_dataset(path, interval="1m") for path in [*paths, root / "each"]]
        expected = rows_of(found[0])
        for data in found[1:]:
            assert rows_of(data).equals(expected)
            assert data.data_hash == found[0].data_hash
            assert data.instruments == found[0].instruments
        # The floats come back exactly.
        for symbol in market["symbol"].unique():
            columns = found[1].columns(symbol)
            for name in ("open", "high", "low", "close", "volume"):
                own = market.filter(pl.col("symbol") == symbol)[name]
                assert columns[name].tolist() == own.to_list()
        changed = market.with_columns(volume=pl.col("volume") + 1)
        changed.write_parquet(root / "changed.parquet")
        other = open_dataset(root / "changed.parquet", interval="1m")
        assert other.data_hash != found[0].data_hash


@settings(max_examples=50)
@given(markets(), st.integers(1, 20), st.data())
def test_chunks_are_merged_in_order_whatever_their_size(
    market: pl.DataFrame, rows: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(sorted(market["symbol"].unique())))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "market.parquet"
        market.write_parquet(path)
        opened = open_dataset(path, interval="1m", symbols=order)
        assert [item.symbol for item in opened.instruments] == order
        chunks = list(opened.chunks(rows))
        assert [chunk.height for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
        merged = pl.concat(chunks)
        assert merged.equals(rows_of(opened))
        assert merged.equals(merged.sort("ts_event", "series", "seq"))
        assert merged.height == opened.rows == market.height
        for index, item in enumerate(opened.instruments):
            own = merged.filter(pl.col("series") == index)
            assert own["seq"].to_list() == list(range(own.height))
            units = own["close"].to_numpy() / item.price_unit
            assert units.tolist() == opened.columns(item.symbol)["close"].tolist()


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from("ABC"), st.integers(1, 999)),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 9),
    st.integers(1, 40),
)
def test_small_batches_and_every_store_give_the_same(
    events: list[tuple[int, str, int]], batch: int, resident: int
) -> None:
    """Trades, many at one time, are read in tiny batches, from memory, disk or the file again."""
    events.sort(key=lambda event: event[0])
    frame = pl.DataFrame(
        {
            "ts": [T0 + event[0] for event in events],
            "symbol": [event[1] for event in events],
            "price": [event[2] / 100 for event in events],
            "size": [1] * len(events),
        }
    )
    single = frame.drop("symbol")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        many, one = Path(folder) / "many.parquet", Path(folder) / "one.parquet"
        frame.sort("symbol", "ts", maintain_order=True).write_parquet(many)
        single.write_parquet(one)
        expected = [(rows_of(data), data.data_hash) for data in map(open_dataset, (many, one))]
        patch.setattr(source_module, "BATCH_ROWS", batch)
        patch.setattr(dataset_module, "_MERGE_ROWS", batch)
        patch.setattr(dataset_module, "_MERGE_ROWS_MIN", 1)
        patch.setattr(dataset_module, "_BLOCK_ROWS", batch)
        patch.setattr(scan_module, "RESIDENT_ROWS", resident)
        for path, (rows, data_hash) in zip((many, one), expected, strict=True):
            data = open_dataset(path)
            assert rows_of(data, 7).equals(rows)
            assert data.data_hash == data_hash
            assert rows_of(data, 3).equals(rows)


@pytest.mark.parametrize("store", [MemoryStore(), SpillStore()], ids=["memory", "disk"])
def test_a_store_gives_rows_back_in_any_portions(store: MemoryStore | SpillStore) -> None:
    ts, values = np.arange(10), np.arange(10) / 4
    for code, low, high in ((0, 0, 4), (1, 0, 10), (0, 4, 5), (0, 5, 10)):
        store.append(code, ts[low:high], [values[low:high], -values[low:high]])
    for code in (0, 1):
        for rows in range(1, 12):
            parts = list(store.stream(code, rows))
            assert max(part.size for part, _ in parts) <= rows
            assert np.array_equal(np.concatenate([part for part, _ in parts]), ts)
            for i, column in enumerate((values, -values)):
                found = np.concatenate([part[i] for _, part in parts])
                assert np.array_equal(found, column)


def test_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "RESIDENT_ROWS", 10)
    frame = pl.DataFrame({"ts": range(10**18, 10**18 + 50), "price": 1.5, "size": [-1, *[1] * 49]})
    frame.write_parquet(tmp_path / "A.parquet")
    frame.with_columns(symbol=pl.lit("B")).write_csv(tmp_path / "x.csv")
    for name, store in (("A.parquet", "RescanStore"), ("x.csv", "SpillStore")):
        data = open_dataset(tmp_path / name, on_bad_data="drop")
        assert type(data._store).__name__ == store
        assert rows_of(data)["ts_event"].to_list() == list(range(10**18 + 1, 10**18 + 50))
        assert data.columns(data.instruments[0].symbol)["price"].tolist() == [1.5] * 49


@given(st.floats(1e-4, 1e6, allow_nan=False), st.integers(0, 9))
def test_units_are_the_shortest_decimal_text(value: float, digits: int) -> None:
    price = float(f"{value:.{digits}f}")
    if price <= 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "A.parquet"
        pl.DataFrame({"ts": [T0], "price": [price], "size": [1]}).write_parquet(path)
        data = open_dataset(path)
        expected = Decimal(repr(price)).normalize()
        exponent = expected.as_tuple().exponent
        assert isinstance(exponent, int)
        assert data.instruments[0].price_decimals == max(0, -exponent)
        units = rows_of(data)["price"][0]
        assert Decimal(units).scaleb(-data.instruments[0].price_decimals) == expected
        assert data.columns("A")["price"][0] == price
