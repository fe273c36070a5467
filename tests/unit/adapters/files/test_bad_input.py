"""Every bad input gets one message that names file, row and rule."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from adapters.files import open_dataset
from engine.errors import ConfigError, DataError, UnknownSymbolError

HEADER = "ts,open,high,low,close,volume\n"
DAYS = [f"2024-01-{day:02d}" for day in range(1, 29)]


def good_row(day: int) -> str:
    return f"{DAYS[day]},10,12,9,11,100"


def bars(*rows: str, start: int = 0) -> str:
    """CSV text of two good bars, the given rows, and nothing after."""
    return HEADER + "\n".join([good_row(start), good_row(start + 1), *rows]) + "\n"


# name, CSV text of one file, 1-based row, rule, part of the message
BAD_ROWS = [
    ("empty price", bars("2024-01-03,,12,9,11,100"), 3, "missing_value", "open is missing"),
    ("text price", bars("2024-01-03,10,12,abc,11,100"), 3, "missing_value", "'abc'"),
    ("nan", bars("2024-01-03,10,12,9,NaN,100"), 3, "missing_value", "close is missing"),
    ("infinite", bars("2024-01-03,10,inf,9,11,100"), 3, "too_large", "high is infinite"),
    ("huge", bars("2024-01-03,10,1e19,9,11,100"), 3, "too_large", "high"),
    ("zero price", bars("2024-01-03,10,12,0,11,100"), 3, "positive_price", "low 0"),
    ("negative price", bars("2024-01-03,-1,12,-2,11,100"), 3, "positive_price", "open -1"),
    ("negative volume", bars("2024-01-03,10,12,9,11,-5"), 3, "volume_not_negative", "volume -5"),
    (
        "inverted",
        bars("2024-01-03,10,9,12,11,1"),
        3,
        "high_not_below_low",
        "high 9 is below low 12",
    ),
    ("open outside", bars("2024-01-03,8,12,9,11,1"), 3, "open_within_range", "open 8 is outside"),
    ("close above", bars("2024-01-03,10,12,9,13,1"), 3, "close_within_range", "[9, 12]"),
    ("no time", bars(",10,12,9,11,100"), 3, "timestamp", "missing or unreadable (empty)"),
    ("bad time", bars("yesterday,10,12,9,11,100"), 3, "timestamp", "'yesterday'"),
    ("year 9999", bars("9999-01-01,10,12,9,11,100"), 3, "timestamp", "unreadable"),
    ("not sorted", bars("2023-12-31,10,12,9,11,100"), 3, "sorted", "earlier than"),
    ("duplicate", bars("2024-01-02,10,12,9,11,100"), 3, "duplicate", "was already in row 2"),
    ("short line", bars("2024-01-03,10,12"), 3, "missing_value", "low is missing"),
]


@pytest.mark.req("D2")
@pytest.mark.parametrize(("text", "row", "rule", "message"), [case[1:] for case in BAD_ROWS])
def test_a_bad_row_is_named(tmp_path: Path, text: str, row: int, rule: str, message: str) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        open_dataset(path)
    assert (caught.value.file, caught.value.row, caught.value.rule) == (str(path), row, rule)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "--on-bad-data drop" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "row", "rule"), [(case[1], case[2], case[3]) for case in BAD_ROWS]
)
def test_a_bad_row_is_dropped_and_listed(tmp_path: Path, text: str, row: int, rule: str) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_text(text + good_row(10) + "\n" + good_row(11) + "\n")
    data = open_dataset(path, on_bad_data="drop")
    assert data.rows == 4
    assert data.dropped.select("file", "row", "rule").rows() == [(str(path), row, rule)]
    assert data.dropped_counts == {rule: 1}
    assert rule in data.notes[-1]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


WHOLE_FILES = [
    ("A.csv", "", "empty", "the file is empty"),
    ("A.csv", HEADER, "empty", "no rows"),
    ("A.parquet", bars(), "format", "the content is csv"),
    ("A.parquet", b"PAR1 and nothing else", "format", "cut short"),
    ("A.csv", b"PAR1....PAR1", "format", "the content is parquet"),
    ("A.csv", b"a,b\n\0\0\0", "format", "binary"),
    ("A.arrow", b"PAR1....PAR1", "format", "the content is parquet"),
    ("A.csv.gz", bars(), "format", "the ending says gzip"),
    ("A.xlsx", "x", "format", "unknown ending '.xlsx'"),
    ("A.parquet", b"PAR1" + b"garbage" * 9 + b"PAR1", "format", "not a readable parquet file"),
    ("A.csv", "ts,open,high,low,close\n2024-01-01,1,1,1,1\n", "missing_column", "needs volume"),
    ("A.csv", "open,high,low,close,volume\n1,1,1,1,1\n", "missing_column", "no timestamp column"),
    ("A.csv", "ts,a,b\n2024-01-01,1,1\n", "missing_column", "neither bars"),
    ("A.csv", "ts,Open,open,high,low,close,volume\n", "ambiguous_column", "'Open' and 'open'"),
    ("A.csv", HEADER + good_row(0) + "\n", "interval", "data.interval=1d"),
]


@pytest.mark.parametrize(("name", "content", "rule", "message"), WHOLE_FILES)
def test_an_unusable_file_is_named(
    tmp_path: Path, name: str, content: str | bytes, rule: str, message: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        open_dataset(path)
    assert (caught.value.file, caught.value.rule) == (str(path), rule)
    assert message in str(caught.value)


def test_a_line_with_too_many_fields_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "A.csv", bars("2024-01-03,10,12,9,11,100,7"))
    with pytest.raises(DataError, match="row 3: 7 fields where the header has 6") as caught:
        open_dataset(path)
    assert caught.value.rule == "fields"


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        open_dataset(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="holds no data file"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no data path"):
        open_dataset([])


def test_unknown_symbols_name_what_is_close(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", bars())
    write(tmp_path, "MSFT.csv", bars())
    with pytest.raises(UnknownSymbolError, match=r"'APPL' is not in the data; did you mean AAPL\?"):
        open_dataset(tmp_path, symbols=["MSFT", "APPL"])
    with pytest.raises(UnknownSymbolError, match="it has AAPL, MSFT"):
        open_dataset(tmp_path, symbols=["XYZ"])
    many = write(tmp_path, "many.csv", "sym," + HEADER + f"IBM,{good_row(0)}\nIBM,{good_row(1)}\n")
    with pytest.raises(UnknownSymbolError, match=r"did you mean IBM\?"):
        open_dataset(many, symbols=["ibm"])


def test_a_range_without_rows_names_what_there_is(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", bars())
    with pytest.raises(DataError, match="covers 2024-01-01T00:00:00Z to 2024-01-02") as caught:
        open_dataset(tmp_path, start="2025-01-01")
    assert caught.value.rule == "range"


@pytest.mark.req("D3")
def test_times_with_and_without_zone_do_not_mix(tmp_path: Path) -> None:
    text = HEADER + "2024-01-01T00:00:00Z,10,12,9,11,1\n2024-01-02T00:00:00,10,12,9,11,1\n"
    path = write(tmp_path, "A.csv", text)
    for mode in ("fail", "drop"):
        with pytest.raises(DataError) as caught:
            open_dataset(path, on_bad_data=mode)
        assert (caught.value.row, caught.value.rule) == (2, "naive_aware")
    write(tmp_path, "A.csv", bars())
    write(tmp_path, "B.csv", bars().replace(",10", "T00:00:00+02:00,10"))
    with pytest.raises(DataError, match="have one; give all files a zone") as caught:
        open_dataset(tmp_path)
    assert caught.value.rule == "naive_aware"


def test_kinds_and_currencies_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path, "A.csv", bars())
    write(tmp_path, "B.csv", "ts,price,size\n2024-01-01,1,1\n")
    with pytest.raises(DataError, match=r"holds trades, .*A\.csv holds bars"):
        open_dataset(tmp_path)
    write(tmp_path, "B.csv", "ts,price,size,ccy\n2024-01-01,1,1,USD\n2024-01-02,1,1,EUR\n")
    with pytest.raises(DataError, match="row 2: currency EUR after USD") as caught:
        open_dataset(tmp_path / "B.csv")
    assert caught.value.rule == "currency"


def test_crossed_quotes(tmp_path: Path) -> None:
    text = "ts,bid,ask,bid_size,ask_size\n1700000000,1,2,1,1\n1700000001,3,2,1,1\n"
    path = write(tmp_path, "A.csv", text)
    with pytest.raises(DataError, match="row 2: bid 3 is above ask 2") as caught:
        open_dataset(path)
    assert caught.value.rule == "not_crossed"


def test_bars_do_not_overlap(tmp_path: Path) -> None:
    rows = [f"2024-01-01T{hour:02d}:00,10,12,9,11,1" for hour in range(12)]
    rows.insert(7, "2024-01-01T06:30,10,12,9,11,1")
    path = write(tmp_path, "A.csv", HEADER + "\n".join(rows))
    with pytest.raises(DataError, match=r"row 8: .* is within the bar of .*06:00:00Z in row 7"):
        open_dataset(path)
    data = open_dataset(path, on_bad_data="drop")
    assert data.rows == 12
    assert data.dropped["row"].to_list() == [8]
    assert data.interval_ns == {"A": 3_600 * 10**9}
    with pytest.raises(DataError, match="bars being 7200 s long") as caught:
        open_dataset(path, interval="2h")
    assert (caught.value.row, caught.value.rule) == (2, "overlap")


def test_too_large_and_too_small_for_units(tmp_path: Path) -> None:
    rows = "2024-01-03,1e12,2e12,0.123456789,1e12,1"
    with pytest.raises(DataError, match="exceeds 64 bits") as caught:
        open_dataset(write(tmp_path, "A.csv", bars(rows)))
    assert (caught.value.row, caught.value.rule) == (3, "too_large")
    rows = "2024-01-03,10,12,1e-12,11,1"
    with pytest.raises(DataError, match="is zero in 9 digits") as caught:
        open_dataset(write(tmp_path, "A.csv", bars(rows)))
    assert (caught.value.row, caught.value.rule) == (3, "too_small")


def test_integers_beyond_exact_doubles_are_refused(tmp_path: Path) -> None:
    frame = pl.read_csv(write(tmp_path, "x.csv", bars())).with_columns(
        volume=pl.Series([1, 2**53 + 1])
    )
    frame.write_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match="row 2: volume is infinite or too large"):
        open_dataset(tmp_path / "A.parquet")


def test_stated_digits_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "A.csv", bars("2024-01-03,10.005,12,9,11,100"))
    with pytest.raises(
        DataError, match=r"row 3: open .*10\.005.* has more than 2 digits"
    ) as caught:
        open_dataset(path, price_decimals=2)
    assert caught.value.rule == "price_decimals"
    assert open_dataset(path, price_decimals=5).instruments[0].price_decimals == 5


def test_adjusting_needs_an_adjusted_close(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs bars with an adjusted close") as caught:
        open_dataset(write(tmp_path, "A.csv", bars()), adjust=True)
    assert caught.value.rule == "missing_column"
    text = HEADER.replace("\n", ",Adj Close\n") + f"{good_row(0)},11\n{good_row(1)},\n"
    with pytest.raises(DataError, match="row 2: the adjusted close") as caught:
        open_dataset(write(tmp_path, "A.csv", text), adjust=True)
    assert caught.value.rule == "adjusted_close"


def test_settings_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "A.csv", bars())
    for arguments, message in (
        ({"interval": "1 fortnight"}, "not a bar length"),
        ({"start": "soon"}, "start 'soon' is not a time"),
        ({"start": "2024-01-02", "end": "2024-01-01T00:00"}, "is not before"),
        ({"on_bad_data": "ignore"}, "use fail or drop"),
        ({"bar_label": "left"}, "use open or close"),
        ({"price_decimals": 10}, "use 0 to 9"),
        ({"tick_size": 0}, "not a price step"),
        ({"tick_size": "1e-10"}, "not a price step"),
        ({"tick_size": 0.001, "price_decimals": 2}, "more than price_decimals 2"),
        ({"columns": {"opne": "x"}}, "did you mean 'open'"),
        ({"symbols": []}, "symbols is empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_dataset(path, **arguments)
    with pytest.raises(DataError, match="did you mean 'open'"):
        open_dataset(path, columns={"open": "opne"})


def test_rows_are_named_right_in_large_filtered_files(tmp_path: Path) -> None:
    count = 600_000
    step = 60_000
    frame = pl.DataFrame(
        {
            "ticker": ["A", "B"] * (count // 2),
            "time": pl.Series([1_700_000_000_000 + i // 2 * step for i in range(count)]),
            "price": [1.5] * count,
            "size": [1.0] * count,
        }
    )
    bad = 500_001  # of B, 0-based
    frame = frame.with_columns(
        price=pl.when(pl.int_range(pl.len()) == bad).then(-1.0).otherwise(pl.col("price"))
    )
    path = tmp_path / "ticks.parquet"
    frame.write_parquet(path, row_group_size=70_000)
    start = 1_700_000_000_000_000_000 + 100_000 * step * 10**6
    with pytest.raises(DataError) as caught:
        open_dataset(path, symbols=["B"], start=start)
    assert (caught.value.row, caught.value.rule) == (bad + 1, "positive_price")
    data = open_dataset(path, start=start, on_bad_data="drop")
    assert data.dropped.row(0) == (
        str(path),
        bad + 1,
        "positive_price",
        "price -1 is not above zero",
    )
    assert data.rows == 400_000 - 1
    assert open_dataset(path, symbols=["A"], start=start).rows == 200_000


def test_the_list_of_dropped_rows_is_capped_and_the_counts_are_not(tmp_path: Path) -> None:
    count = 3_000
    frame = pl.DataFrame(
        {
            "ts": range(1_700_000_000, 1_700_000_000 + count),
            "price": [1.0, -1.0] * (count // 2),
            "size": [1] * count,
        }
    )
    frame.write_parquet(tmp_path / "A.parquet")
    data = open_dataset(tmp_path / "A.parquet", on_bad_data="drop")
    assert data.dropped.height == 1_000
    assert data.dropped_counts == {"positive_price": 1_500}
    everything = frame.with_columns(price=-pl.col("price").abs())
    everything.write_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match="no row is left"):
        open_dataset(tmp_path / "A.parquet", on_bad_data="drop")


def test_a_bar_may_not_end_after_the_last_nanosecond(tmp_path: Path) -> None:
    hour = 3_600 * 10**9
    times = [2**63 - 1 - k * hour for k in (2, 1, 0)]
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
    frame = pl.DataFrame({"ts": times}).with_columns(**{k: pl.lit(v) for k, v in prices.items()})
    frame.with_columns(pl.col("ts").cast(pl.Datetime("ns"))).write_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match=r"A.parquet, row 3: .* ends after") as caught:
        open_dataset(tmp_path)
    assert caught.value.rule == "timestamp"
