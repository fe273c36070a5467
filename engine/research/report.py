"""The report of a run: one HTML file that needs nothing but a browser.

The page carries its style, its data and plotly's script inside, and its content security policy
forbids every request. ``plotly.min.js`` is taken from the installed ``plotly`` package without
importing it, and figures are plain dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.errors import InputError
from engine.research import report_figures as charts
from engine.research import report_tables as tables
from engine.research.report_tables import number, percent, signed_percent, text

__all__ = ["ReportInput", "write_report"]

_SLOT = re.compile(rb"\{\{(\w+)\}\}")
_CHART_MISSING = '<div class="js-missing">Charts need JavaScript; the numbers do not.</div>'

_LIMIT_NAMES = {
    "min_order_size": "Smallest order value",
    "max_order_size": "Largest order value",
    "max_order_quantity": "Largest order quantity",
    "price_collar": "Largest distance of a limit price through the market, share of the price",
    "max_price_age": "Oldest price to judge by, seconds",
    "intent_ttl": "Oldest cause of an order, seconds",
    "self_trade_prevention": "Orders that could meet an own one are denied",
    "max_position_size": "Largest position in one symbol, share of equity",
    "position_warning": "Warn at this share of the position limit",
    "max_total_exposure": "Largest gross exposure",
    "max_leverage": "Largest gross exposure over equity",
    "max_net_leverage": "Largest net exposure over equity",
    "max_sector_exposure": "Largest gross exposure in one sector, share of equity",
    "min_cash": "Least cash once every working buy has filled",
    "initial_margin": "Share of gross exposure that equity must cover",
    "maintenance_margin": "Share of gross positions below which equity is a margin call",
    "short_selling": "Short selling allowed",
    "locates": "Quantity that may be sold short",
    "restricted_symbols": "Symbols in which positions may only shrink",
    "trading_hours": "Orders leave in these hours",
    "max_open_orders": "Most working orders",
    "max_orders_per_day": "Most orders in a trading day",
    "max_order_rate": "Most orders a second, sustained",
    "order_burst": "Most orders at once",
    "max_repeated_orders": "Most equal orders within the window",
    "repeat_window": "Window of equal orders, seconds",
    "max_daily_loss": "Daily loss that halts, share of the day's first equity",
    "max_daily_loss_amount": "Daily loss that halts, amount",
    "daily_loss_warning": "Warn at this share of the daily loss limit",
    "max_drawdown": "Fall from the peak that halts, share of the peak",
    "max_losing_trades": "Losing trades in a row that halt",
    "halt_reset": "A halt ends",
    "on_halt": "What a halt does to positions",
    "stop_loss_pct": "Stop loss, share of the entry price",
    "stop_loss_buffer": "Added to the stop loss",
    "trailing_stop_pct": "Trailing stop, share of the best price",
    "take_profit_pct": "Take profit, share of the entry price",
    "symbols": "Limits of single symbols",
    "per_strategy.max_exposure": "Each strategy: largest gross exposure",
    "per_strategy.max_daily_loss": "Each strategy: daily loss that halts it, amount",
    "per_strategy.max_losing_trades": "Each strategy: losing trades in a row that halt it",
    "per_strategy.max_open_orders": "Each strategy: most working orders",
    "per_strategy.max_orders_per_day": "Each strategy: most orders in a trading day",
    "per_strategy.max_order_rate": "Each strategy: most orders a second, sustained",
    "per_strategy.order_burst": "Each strategy: most orders at once",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """What a report shows. Times are UTC nanoseconds, money and prices floats in currency.

    Attributes:
        title: heading, usually the strategy's name.
        summary: facts for the line below it, by name, in order: profile, symbols, data; the key
            ``currency`` names the account's currency. Values are shown as text.
        statistics: what :func:`engine.analytics.performance.statistics` gave.
        equity: what :meth:`engine.analytics.equity.EquityBuilder.finish` gave.
        trades: what :func:`engine.analytics.trades.round_trips` gave.
        fills: executions; only counted here (``liquidity``, ``priced_by``).
        orders: orders; only counted here (``status``, ``order_type``).
        verdicts: ``order_id``, ``ts``, ``approved``, ``code`` and, for the examples, ``detail``.
        prices: per symbol ``ts`` (a bar's open), ``open``, ``high``, ``low``, ``close`` as floats;
            of trades and quotes ``ts`` and ``close`` (price, midpoint). As many rows as there
            are, the report thins them.
        parameters: the strategy's parameters, or several strategies' by name.
        limits: risk limits by name, nested; ``"unlimited"`` or None is shown as unlimited, what a
            symbol leaves to the account not at all.
        profile: the resolved profile, nested.
        manifest: hashes, versions and the run hash, nested.
        risk_events: ``ts, event_type, severity, strategy_id, symbol, value, limit, action_taken,
            description``; those of denied orders are left to the verdicts.
    """

    title: str
    summary: Mapping[str, Any]
    statistics: Mapping[str, Any]
    equity: pl.DataFrame
    trades: pl.DataFrame
    fills: pl.DataFrame
    orders: pl.DataFrame
    verdicts: pl.DataFrame
    prices: Mapping[str, pl.DataFrame]
    parameters: Mapping[str, Any]
    limits: Mapping[str, Any]
    profile: Mapping[str, Any]
    manifest: Mapping[str, Any]
    risk_events: pl.DataFrame = field(default_factory=pl.DataFrame)


def write_report(path: Path, result: ReportInput) -> None:
    """Write a run's report as one offline HTML file, about 5 MB of it the chart library.

    Args:
        path: file to write; replaced if it exists.
        result: what to show.

    Raises:
        InputError: if the chart library is not installed.
        OSError: if the file cannot be written.
    """
    sections = _sections(result)
    figures: dict[str, Any] = {
        "equity": charts.equity_figure(result.equity) if len(result.equity) else None,
        "prices": charts.price_figures(result.prices, result.trades),
    }
    slots = {
        "title": text(result.title),
        "header": _header(result),
        "tiles": _tiles(result.statistics),
        "nav": "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections),
        "sections": "\n".join(_section(*section) for section in sections),
        "footer": "Times are UTC. Returns are simple returns of daily equity, the first from the "
        "initial cash; no risk-free rate.",
    }
    filled = {name: value.encode() for name, value in slots.items()}
    # "<" cannot end the script element it travels in when it is written as an escape.
    filled["figures"] = msgspec.json.encode(figures).replace(b"<", b"\\u003c")
    filled["plotly"] = _plotly_script()
    template = Path(__file__).with_name("report_template.html").read_bytes()
    # One pass: what is filled in is never searched for slots again.
    pieces = _SLOT.split(template)
    pieces[1::2] = [filled[name.decode()] for name in pieces[1::2]]
    path.write_bytes(b"".join(pieces))


def _plotly_script() -> bytes:
    spec = find_spec("plotly")
    places = spec.submodule_search_locations if spec is not None else None
    for place in places or ():
        script = Path(place) / "package_data" / "plotly.min.js"
        if script.is_file():
            return script.read_bytes()
    raise InputError(
        "the report needs plotly.min.js from the package 'plotly', which is not installed; "
        "run 'pip install plotly' or switch the report off with --set report.html=false"
    )


def _sections(result: ReportInput) -> list[tuple[str, str, str]]:
    # (anchor, title, HTML); the tiles stand above them without a title.
    figures = result.statistics
    heat = tables.heat_map(figures.get("monthly", ()), figures.get("yearly", ()))
    # The resolved profile has its own place; it is not listed twice.
    manifest = {name: value for name, value in result.manifest.items() if name != "profile"}
    costs = tables.order_tables(result.orders, result.fills, figures)
    return [
        ("performance", "Performance", _equity_chart(result)),
        ("statistics", "Statistics", _statistics(figures)),
        ("months", "Monthly returns, %", heat),
        ("trades-chart", "Price and trades", _price_chart(result)),
        ("trades", "Trades", tables.trade_table(result.trades)),
        ("risk", "Risk", _risk(result)),
        ("orders", "Orders and costs", costs),
        ("setup", "Parameters and profile", _setup(result)),
        ("manifest", "Manifest", tables.settings(manifest, "The run has no manifest.")),
    ]


def _section(anchor: str, title: str, body: str) -> str:
    picker = ""
    if anchor == "trades-chart":
        body, _, picker = body.partition("<!--picker-->")
    head = f'<h2 id="{anchor}-title">{title}</h2>'
    if picker:
        head = f'<div class="bar">{head}{picker}</div>'
    return f'<section id="{anchor}" aria-labelledby="{anchor}-title">{head}{body}</section>'


def _header(result: ReportInput) -> str:
    facts = " &middot; ".join(
        f"{text(_words(name))} {text(value)}"
        for name, value in result.summary.items()
        if value not in (None, "")
    )
    run_hash = result.manifest.get("run_hash")
    if run_hash:
        facts += f" &middot; run <code>{text(str(run_hash)[:12])}</code>"
    return (
        f'<p class="kicker">Backtest report</p><h1>{text(result.title)}</h1>'
        f'<p class="facts">{facts}</p><p class="lede">{_lede(result.statistics)}</p>'
    )


def _lede(figures: Mapping[str, Any]) -> str:
    if not figures.get("samples"):
        return "The run saw no market data."
    # A row on the stroke of midnight closes the day before.
    first, last = (tables.moment(figures[k] - 1)[:10] for k in ("start", "end"))
    trades = figures["trades"] + figures["trades_open"]
    held = f"{trades:,} trade{'s' if trades != 1 else ''}"
    return (
        f"From {first} to {last} the account went from {number(figures['initial_cash'], 0)} to "
        f"{number(figures['final_equity'], 0)} in {held}: {signed_percent(figures['total_return'])}"
        f", where buying and holding gave {signed_percent(figures['benchmark_return'])}."
    )


def _tiles(figures: Mapping[str, Any]) -> str:
    get = figures.get
    drawdown, days = get("max_drawdown"), get("max_drawdown_duration")
    tiles = [
        ("Total return", signed_percent(get("total_return")),
         f"buy and hold {percent(get('benchmark_return'))}"),
        ("Annual return (CAGR)", signed_percent(get("cagr")),
         f"buy and hold {percent(get('benchmark_cagr'))}"),
        ("Sharpe ratio", number(get("sharpe_ratio")),
         f"buy and hold {number(get('benchmark_sharpe_ratio'))}"),
        ("Maximum drawdown", percent(drawdown),
         f"{number(days, 0)} days at most below a peak" if days is not None else ""),
        ("Win rate", percent(get("win_rate"), 1), f"of {get('trades', 0):,} closed trades"),
        ("Profit factor", number(get("profit_factor")),
         f"expectancy {number(get('expectancy'))} a trade"),
        ("Time in the market", percent(get("exposure"), 1),
         f"gross exposure {percent(get('exposure_gross_average'), 1)} on average"),
        ("Costs", number(get("total_costs")), f"in {get('fills', 0):,} fills"),
    ]  # fmt: skip
    items = (
        f'<div class="tile"><dt>{name}</dt><dd>{value}</dd><dd class="sub">{below}</dd></div>'
        for name, value, below in tiles
    )
    return f'<dl class="tiles" aria-label="Headline numbers">{"".join(items)}</dl>'


def _equity_chart(result: ReportInput) -> str:
    if not len(result.equity):
        return '<p class="note">There is no data to draw.</p>'
    currency = result.summary.get("currency")
    unit = f" in {text(currency)}" if currency else ""
    return (
        f'<div class="chart" id="equity" role="img" aria-label="Equity and drawdown">'
        f'{_CHART_MISSING}</div><p class="note">Above, equity{unit} beside buying and holding '
        "every symbol in equal parts, without costs. Below, the drawdown of both.</p>"
    )


def _price_chart(result: ReportInput) -> str:
    if not result.prices:
        return '<p class="note">There is no data to draw.</p>'
    picker = ""
    if len(result.prices) > 1:
        options = "".join(f"<option>{text(symbol)}</option>" for symbol in result.prices)
        picker = f'<label>Symbol <select id="symbol" autocomplete="off">{options}</select></label>'
    else:
        picker = f"<span>{text(next(iter(result.prices)))}</span>"
    return (
        f'<div class="chart price" id="price" role="img" aria-label="Price and trades">'
        f'{_CHART_MISSING}</div><p class="note" id="price-note"></p><!--picker-->{picker}'
    )


def _statistics(figures: Mapping[str, Any]) -> str:
    get = figures.get

    def both(name: str, title: str, render: Any) -> tuple[str, str, str]:
        return title, render(get(name)), render(get(f"benchmark_{name}"))

    compared = tables.table(
        [("", ""), ("Strategy", "n"), ("Buy and hold", "n")],
        [
            both("total_return", "Total return", percent),
            both("cagr", "Annual return (CAGR)", percent),
            both("volatility", "Annual volatility", percent),
            both("sharpe_ratio", "Sharpe ratio", number),
            both("sortino_ratio", "Sortino ratio", number),
            both("calmar_ratio", "Calmar ratio", number),
            both("max_drawdown", "Maximum drawdown", percent),
        ],
    )
    of_trades = [
        ("Closed trades", number(get("trades"), 0)),
        ("Still open", number(get("trades_open"), 0)),
        ("Best trade", signed_percent(get("best_trade"))),
        ("Worst trade", signed_percent(get("worst_trade"))),
        ("Average trade", signed_percent(get("average_trade"))),
        ("Average gain", number(get("average_win"))),
        ("Average loss", number(get("average_loss"))),
        ("Average time held, days", number(get("average_duration"), 1)),
        ("System quality number", number(get("sqn"))),
    ]
    note = (
        f"From {get('samples', 0):,} samples of equity, annualised with "
        f"{get('periods_per_year')} a year."
    )
    return (
        f'<div class="columns"><div><h3>Against the benchmark</h3>{compared}'
        f'<p class="note">{note}</p></div>'
        f"<div><h3>Trades</h3>{tables.pairs(of_trades)}</div></div>"
    )


def _risk(result: ReportInput) -> str:
    return (
        tables.verdict_table(result.verdicts)
        + tables.risk_event_table(result.risk_events)
        + _limits(result.limits)
    )


def _limits(limits: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{text(_limit_name(name))} <code>{text(name)}</code>",
            "<b>unlimited</b>" if value in (None, "unlimited") else tables.setting(value),
        )
        for name, value in tables.flat(limits)
        # What a symbol does not set is the account's, not unlimited.
        if not (value is None and name.startswith("symbols."))
    ]
    body = tables.pairs(rows, "narrow") if rows else '<p class="note">No limits were given.</p>'
    return f"<h3>Limits in force</h3>{body}"


def _limit_name(name: str) -> str:
    known = _LIMIT_NAMES.get(name)
    if known is not None:
        return known
    section, _, rest = name.partition(".")
    if section == "symbols":
        symbol, _, limit = rest.rpartition(".")
        return f"{symbol}: {_words(_LIMIT_NAMES.get(limit, limit))}"
    if section == "locates" and rest:
        return f"{rest}: {_LIMIT_NAMES[section]}"
    return _words(name)


def _setup(result: ReportInput) -> str:
    parameters = tables.settings(result.parameters, "The strategy has no parameters.")
    profile = tables.settings(result.profile, "The run has no profile.")
    return (
        f"<h3>Strategy parameters</h3>{parameters}"
        f"<details><summary>Resolved profile</summary>{profile}</details>"
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
