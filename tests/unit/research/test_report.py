"""The report file: whole, offline, escaped, and right for runs of every kind."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analytics.equity import EquityBuilder
from engine.analytics.performance import statistics
from engine.analytics.trades import round_trips
from engine.domain.instruments import Instrument
from engine.domain.risk import DenyCode, RiskLimits
from engine.domain.risk.limits import StrategyLimits
from engine.errors import InputError
from engine.research import report, report_figures, report_tables
from engine.research.report import ReportInput, write_report
from tests.limits import limits
from tests.unit.analytics.runs import MONDAY_NS, FillRow, Run, daily_bars

SECTIONS = ["performance", "statistics", "months", "trades-chart", "trades", "risk", "orders",
            "setup", "manifest"]  # fmt: skip
VOID = {"meta", "br", "hr", "img", "input", "link"}
EVIL = "</script><script>alert('x')</script><img src=http://evil.example/a.png>"

ORDER_SCHEMA = {"order_id": pl.String, "status": pl.String, "order_type": pl.String}
VERDICT_SCHEMA = {
    "order_id": pl.String,
    "ts": pl.Int64,
    "approved": pl.Boolean,
    "code": pl.String,
    "detail": pl.String,
}


class Page(HTMLParser):
    """Reads a page and insists that every element is closed in the order it was opened."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(self.scripts[0])
        return figures


def describe(run: Run, **changes: Any) -> ReportInput:
    fills = run.fill_frame()
    builder = EquityBuilder(run.instruments, fills, run.initial_cash)
    for chunk in run.chunks():
        builder.add(chunk)
    curve = builder.finish()
    trades = round_trips(fills, run.instruments, builder.marks)
    prices = {}
    for i, instrument in enumerate(run.instruments):
        bars = [bar for bar in run.bars if bar.series == i]
        opens, closes = [bar.open_px / 100 for bar in bars], [bar.close_px / 100 for bar in bars]
        prices[instrument.symbol] = pl.DataFrame(
            {
                "ts": pl.Series([bar.ts_open for bar in bars], dtype=pl.Int64),
                "open": pl.Series(opens, dtype=pl.Float64),
                "high": pl.Series(list(map(max, opens, closes)), dtype=pl.Float64),
                "low": pl.Series(list(map(min, opens, closes)), dtype=pl.Float64),
                "close": pl.Series(closes, dtype=pl.Float64),
            }
        )
    figures = statistics(
        curve, trades, fills, initial_cash=run.initial_cash, extremes=builder.extremes
    )
    found = ReportInput(
        title="SmaCross",
        summary={"symbols": ", ".join(prices), "currency": "USD"},
        statistics=figures,
        equity=curve,
        trades=trades,
        fills=fills,
        orders=pl.DataFrame(
            [(f"o{i}", "FILLED", "MARKET") for i in range(len(fills))],
            schema=ORDER_SCHEMA,
            orient="row",
        ),
        verdicts=pl.DataFrame(
            [(f"o{i}", MONDAY_NS, True, None, None) for i in range(len(fills))],
            schema=VERDICT_SCHEMA,
            orient="row",
        ),
        prices=prices,
        parameters={"fast": 10, "slow": 30},
        limits={"max_position_size": 0.3, "max_total_exposure": "unlimited", "max_leverage": None},
        profile={"fill": {"policy": "next_open"}, "data": {"symbols": []}},
        manifest={"run_hash": "9f2c4b77e1d04a3f", "versions": {"tetrad": "0.1.0"}},
    )
    return replace(found, **changes)


def traded(**fill: Any) -> Run:
    """Forty days of two symbols; a long trade with a gain, a short with a loss, one left open."""
    closes = [10_000 + 70 * i for i in range(40)]
    run = Run(
        (Instrument(symbol="AAA"), Instrument(symbol="BBB")),
        [*daily_bars(closes), *daily_bars(closes[::-1], series=1)],
    )
    steps = [("AAA", 5, 2), ("AAA", -5, 9), ("AAA", -3, 12), ("AAA", 3, 20), ("BBB", 2, 25)]
    for symbol, qty, seq in steps:
        px = closes[seq - 1] if symbol == "AAA" else closes[::-1][seq - 1]
        ts = run.bars[seq].ts_open
        run.fills.append(FillRow(symbol=symbol, qty=qty, px=px, seq=seq, ts=ts, **fill))
    return run


def written(result: ReportInput, folder: Path) -> Page:
    path = folder / "report.html"
    write_report(path, result)
    return Page(path.read_text("utf-8"))


def unpacked(array: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(array["bdata"]), dtype="<" + array["dtype"])


RUNS = {
    "trades": traded(),
    "no trades": Run((Instrument(symbol="A"),), daily_bars([100] * 5)),
    "one bar": Run((Instrument(symbol="A"),), daily_bars([100])),
    "no data": Run((Instrument(symbol="A"),), []),
    "ruin": Run(
        (Instrument(symbol="A"),),
        daily_bars([100, 2_500, 100]),
        [FillRow(symbol="A", qty=-100, px=100, seq=0, ts=MONDAY_NS)],
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_run_gives_a_whole_page_with_every_section(name: str, tmp_path: Path) -> None:
    page = written(describe(RUNS[name]), tmp_path)
    assert [each for each in page.ids if each in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert "NaN" not in page.scripts[0]
    assert not re.search(r"\b(nan|inf|None)\b", page.text)
    assert "{{" not in page.text


def test_the_page_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    page = written(describe(traded()), tmp_path)
    loading = {"src", "href", "srcset", "data", "action", "poster"}
    targets = [value for _, name, value in page.attributes if name in loading]
    assert targets
    assert all((value or "").startswith("#") for value in targets)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _, _ in page.attributes}
    policy = next(value for _, name, value in page.attributes if name == "content" and value
                  and "default-src" in value)  # fmt: skip
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    source = (tmp_path / "report.html").read_text("utf-8")
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "plotly.js v" in page.scripts[1][:200]


def test_what_users_wrote_is_text_and_nothing_else(tmp_path: Path) -> None:
    run = traded(tag=EVIL, strategy=EVIL)
    run.fills.append(replace(run.fills[-1], strategy="other"))
    result = describe(run)
    result = replace(
        result,
        title=EVIL,
        summary={EVIL: EVIL},
        parameters={EVIL: EVIL},
        limits={EVIL: EVIL, "symbols": {EVIL: {EVIL: EVIL}}},
        risk_events=risk_events([(MONDAY_NS, *[EVIL] * 4, 0.0, None, EVIL, EVIL)]),
        profile={EVIL: {EVIL: [EVIL]}},
        manifest={"run_hash": EVIL, EVIL: EVIL},
        prices={EVIL: result.prices["AAA"], "AAA": result.prices["AAA"]},
        orders=result.orders.with_columns(pl.lit(EVIL).alias("status")),
        verdicts=result.verdicts.with_columns(
            approved=pl.lit(value=False),
            code=pl.lit(EVIL),
            order_id=pl.lit(EVIL),
            detail=pl.lit(EVIL),
        ),
    )
    page = written(result, tmp_path)
    assert len(page.scripts) == 3
    assert not [tag for tag, _, _ in page.attributes if tag == "img"]
    assert EVIL in page.figures["prices"]
    # plotly reads markup in hover texts: they are escaped once more.
    texts = [text for trace in page.figures["prices"]["AAA"]["data"] for text in
             trace.get("text", [])]  # fmt: skip
    assert texts
    assert not any("<script" in text for text in texts)


def test_headline_numbers_and_benchmark(tmp_path: Path) -> None:
    result = describe(traded())
    page = written(result, tmp_path)
    figures = result.statistics
    assert "From 2024-01-01 to 2024-02-09 the account went from 1,000 to" in page.text
    assert f"{100 * figures['total_return']:+,.2f} %" in page.text
    assert f"{figures['sharpe_ratio']:,.2f}" in page.text
    assert "3 trades" in page.text
    assert "of 2 closed trades" in page.text


def test_the_trade_table_lists_and_marks_what_is_open() -> None:
    html = report_tables.trade_table(describe(traded()).trades)
    rows = html.split("<tbody>")[1].split("</tr>")
    assert len(rows) == 4
    assert "2024-01-03" in rows[0]
    assert ">Long<" in rows[0]
    assert ">Short<" in rows[1]
    assert 'class="loss"' in rows[1]
    assert ">open<" in rows[2]
    assert "Strategy" not in html  # one strategy only


def test_the_trade_table_stops_at_its_limit_and_says_so() -> None:
    trades = pl.concat([describe(traded()).trades] * 400)
    html = report_tables.trade_table(trades)
    assert html.count("<tr>") == 1 + report_tables.TRADES_LISTED_MAX
    assert "The first 1,000 of 1,200 trades" in html


def test_verdicts_are_counted_by_code_with_their_meaning_and_first_examples() -> None:
    rows = [(f"p{i}", MONDAY_NS, False, "POSITION_SIZE", f"detail {i}") for i in range(6)]
    rows += [("d", MONDAY_NS, False, "DAILY_LOSS", "lost"), ("a", MONDAY_NS, True, None, None)]
    html = report_tables.verdict_table(pl.DataFrame(rows, schema=VERDICT_SCHEMA, orient="row"))
    text = Page(html).text
    assert "8 orders were checked: 1 approved , 7 denied" in text
    assert f"POSITION_SIZE 6 75.0 % {DenyCode.POSITION_SIZE.meaning}" in text
    assert text.index("POSITION_SIZE 6") < text.index("DAILY_LOSS 1")
    assert "detail 4" in text
    assert "detail 5" not in text


def test_unlimited_limits_are_said_aloud(tmp_path: Path) -> None:
    text = written(describe(traded()), tmp_path).text
    assert "Largest position in one symbol, share of equity max_position_size 0.3" in text
    assert "Largest gross exposure max_total_exposure unlimited" in text
    assert "max_leverage unlimited" in text


def test_limits_of_strategies_and_symbols_are_listed_one_by_one(tmp_path: Path) -> None:
    own = {"max_order_size": 500.0, "price_collar": "unlimited", "max_position_size": None}
    shipped = msgspec.to_builtins(limits(symbols={"BRK.B": own}, locates={"AAA": 50.0}))
    text = written(describe(traded(), limits=shipped), tmp_path).text
    table = text.split("Limits in force")[1]
    assert "Each strategy: largest gross exposure per_strategy.max_exposure unlimited" in table
    assert "Each strategy: most orders at once per_strategy.order_burst 1000" in table
    assert "BRK.B: Largest order value symbols.BRK.B.max_order_size 500" in table
    assert "symbols.BRK.B.price_collar unlimited" in table
    assert "symbols.BRK.B.max_position_size" not in table  # the account's holds
    assert "AAA: Quantity that may be sold short locates.AAA 50" in table
    assert "Symbols in which positions may only shrink restricted_symbols none" in table


def test_a_limit_that_nobody_may_sell_short_by_is_told(tmp_path: Path) -> None:
    text = written(describe(traded(), limits={"locates": {}, "symbols": {}}), tmp_path).text
    assert "Quantity that may be sold short locates none" in text
    assert "Limits of single symbols symbols none" in text


def test_every_limit_has_a_name_for_people() -> None:
    each = {f"per_strategy.{name}" for name in StrategyLimits.__struct_fields__}
    named = set(RiskLimits.__struct_fields__) - {"per_strategy"} | each
    assert set(report._LIMIT_NAMES) == named


EVENT_SCHEMA = {
    "ts": pl.Int64,
    "event_type": pl.String,
    "severity": pl.String,
    "strategy_id": pl.String,
    "symbol": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "action_taken": pl.String,
    "description": pl.String,
}


def risk_events(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


DENIED = (MONDAY_NS, "LEVERAGE", "INFO", "S", "AAA", 2.0, 1.0, "ORDER_DENIED", "Order o1 denied.")
RESUMED = (MONDAY_NS, "DAILY_LOSS", "INFO", None, None, 0.0, None, "TRADING_RESUMED", "On again.")
HALTED = (MONDAY_NS + 10**9, "DAILY_LOSS", "CRITICAL", None, None, 60.0, 50.0, "TRADING_HALTED",
          "The day's loss is 60.00; the limit is 50.00.")  # fmt: skip


def test_risk_events_are_told_and_denied_orders_left_to_the_verdicts(tmp_path: Path) -> None:
    events = risk_events([DENIED, HALTED, RESUMED])
    text = written(describe(traded(), risk_events=events), tmp_path).text
    table = text.split("Risk events")[1].split("Limits in force")[0]
    assert "1 CRITICAL , 1 INFO ." in table
    heads = "Time Severity Rule Strategy Symbol Value Limit Action What was measured"
    halted = "2024-01-01 00:00:01 CRITICAL DAILY_LOSS 60.00 50.00 TRADING_HALTED The day's loss is"
    assert f"{heads} {halted} 60.00; the limit is 50.00." in table
    # Nothing was measured: a dash each for value and limit.
    assert "INFO DAILY_LOSS \u2013 \u2013 TRADING_RESUMED On again." in table
    assert "ORDER_DENIED" not in table
    assert "o1 denied" not in table


@pytest.mark.parametrize("events", [pl.DataFrame(), risk_events([]), risk_events([DENIED])])
def test_a_run_without_risk_events_says_so(events: pl.DataFrame, tmp_path: Path) -> None:
    assert "Risk events No limit came near." in written(
        describe(traded(), risk_events=events), tmp_path
    ).text  # fmt: skip


def test_risk_events_stop_at_their_limit_and_say_how_many_there_are() -> None:
    most = report_tables.RISK_EVENTS_SHOWN_MAX
    html = report_tables.risk_event_table(risk_events([HALTED] * (most + 1_000) + [DENIED] * 5))
    assert html.count("<tr>") == 1 + most == 201
    assert "The first 200 of 1,200." in html
    assert "1,200 CRITICAL" in html
    exactly = report_tables.risk_event_table(risk_events([HALTED] * most))
    assert "The first" not in exactly


def test_the_heat_map_has_a_cell_a_month() -> None:
    monthly = [
        {"year": 2023, "month": 12, "return": 0.05, "benchmark": 0.0},
        {"year": 2024, "month": 1, "return": -0.1, "benchmark": 0.0},
    ]
    yearly = [
        {"year": 2023, "return": 0.05, "benchmark": 0.01},
        {"year": 2024, "return": -0.1, "benchmark": None},
    ]
    html = report_tables.heat_map(monthly, yearly)
    assert html.count("<td") == 2 * 14
    assert '<td class="up" style="--a:28%">+5.0</td>' in html
    assert '<td class="down" style="--a:50%">-10.0</td>' in html
    assert "&ndash;" in html


def test_the_charts_show_the_curve_and_each_symbols_trades(tmp_path: Path) -> None:
    result = describe(traded())
    figures = written(result, tmp_path).figures
    benchmark, strategy, _, drawdown = figures["equity"]["data"]
    assert unpacked(strategy["y"]).tolist() == result.equity["equity"].to_list()
    assert unpacked(benchmark["y"]).tolist() == result.equity["benchmark"].to_list()
    assert (unpacked(drawdown["y"]) <= 0).all()
    # Tuesday's bar ends at Wednesday's first stroke and is drawn on Tuesday.
    assert unpacked(strategy["x"])[1] == (MONDAY_NS + 2 * 86_400 * 10**9) / 1e6 - 1
    traces = {trace.get("name"): trace for trace in figures["prices"]["AAA"]["data"]}
    assert traces["Price"]["type"] == "candlestick"
    assert unpacked(traces["Long entry"]["y"]).tolist() == [100.7]
    assert unpacked(traces["Short entry"]["y"]).tolist() == [107.7]
    assert len(unpacked(traces["Exit with gain"]["x"])) == 1
    assert len(unpacked(traces["Exit with loss"]["x"])) == 1
    assert "Still open" in {trace.get("name") for trace in figures["prices"]["BBB"]["data"]}


def test_many_bars_become_a_line_and_many_symbols_share_the_room() -> None:
    count = 20_000
    close = np.sin(np.arange(count) / 50) * 10 + 100
    frame = pl.DataFrame(
        {"ts": np.arange(count) * 60 * 10**9, **dict.fromkeys(("open", "high", "low"), close)}
    ).with_columns(close=close)
    trades = describe(RUNS["no trades"]).trades
    one = report_figures.price_figures({"A": frame}, trades)["A"]
    assert one["data"][0]["type"] == "scatter"
    assert len(unpacked(one["data"][0]["x"])) <= report_figures.POINTS_MAX
    assert one["note"] == "20,000 bars drawn as a line of closes"
    many = report_figures.price_figures({f"S{i}": frame for i in range(100)}, trades)
    drawn = sum(len(unpacked(figure["data"][0]["x"])) for figure in many.values())
    assert drawn <= report_figures.PRICE_POINTS_ALL_MAX


@given(
    st.lists(st.integers(-(10**6), 10**6).map(float), min_size=1, max_size=8)
    | st.lists(st.integers(-(10**6), 10**6).map(float), min_size=50, max_size=200),
    st.integers(8, 45),
)
def test_reducing_a_curve_keeps_its_ends_and_its_extremes(values: list[float], most: int) -> None:
    curve = np.array(values)
    rows = report_figures.reduced(curve, most)
    assert len(rows) <= most
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert rows[0] == 0
    assert rows[-1] == len(values) - 1
    assert curve[rows].min() == curve.min()
    assert curve[rows].max() == curve.max()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10.0, "10.00"),
        (1234.5, "1,234.50"),
        (0.0125, "0.0125"),
        (1 / 3, "0.3333"),
        (2e6, "2,000,000.00"),
    ],
)
def test_prices_have_the_digits_they_need(value: float, shown: str) -> None:
    assert report_tables.price(value) == shown


def test_without_the_chart_library_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install plotly"):
        write_report(tmp_path / "report.html", describe(traded()))
    assert not (tmp_path / "report.html").exists()
