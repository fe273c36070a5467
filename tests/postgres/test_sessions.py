"""A paper run is the backtest of the same data, however often it is left off and gone on with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from engine import Bar, Strategy
from engine.config import load_config
from engine.domain.events import RiskEvent
from engine.domain.money import CASH_DECIMALS
from engine.errors import ConfigError, StoreError, StrategyError
from engine.naming import execution_id
from engine.registry import load_strategy
from engine.research.backtest import run_backtest
from engine.research.result import BacktestResult
from engine.session import Going, run_session

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STRATEGIES = sorted(path.stem for path in (EXAMPLES / "strategies").glob("*.py"))
# Shorter than the whole: every kind of event is in it.
SETTINGS: dict[str, Any] = {
    "data.paths": [str(EXAMPLES / "data")],
    "data.adjust": True,
    "data.symbols": ["AAPL", "GOOG", "IBM"],
    "data.start": "2007-06-01",
    "data.end": "2009-06-01",
    "costs.commission_bps": 3,
}


def strategy(name: str) -> type[Strategy]:
    return load_strategy(f"{EXAMPLES}/strategies/{name}.py")


def backtested(cls: type[Strategy], **settings: Any) -> BacktestResult:
    return run_backtest(load_config("backtest", settings={**SETTINGS, **settings}), cls)


def session(
    database: str,
    cls: type[Strategy],
    progress: Callable[[int, int], None] | None = None,
    going: Callable[[Going], None] | None = None,
    alarm: Callable[[RiskEvent], None] | None = None,
    **settings: Any,
) -> BacktestResult:
    changes = {**SETTINGS, "store.url": database, "store.timeout": 20, **settings}
    return run_session(
        load_config("paper", settings=changes), cls, progress=progress, going=going, alarm=alarm
    )


@pytest.mark.req("P16")
@pytest.mark.req("P33")
@pytest.mark.parametrize("name", STRATEGIES)
def test_paper_makes_the_events_of_the_backtest(database: str, name: str) -> None:
    cls = strategy(name)
    settings = {"data.symbols": ["MSFT", "IBM"]} if name == "pairs" else {}
    tested = backtested(cls, **settings)
    assert tested.summary["fills"] > 3  # two runs in which nothing happens are the same run
    run = session(database, cls, **settings)
    assert run.run_hash == tested.run_hash
    assert run.statistics == tested.statistics


class OffError(Exception):
    """Somebody stops the engine."""


@pytest.mark.req("P2")
@pytest.mark.req("R288")
def test_a_run_may_be_left_off_anywhere_and_goes_on(database: str) -> None:
    """Ten restarts in a row change nothing, nor does one more after the end."""
    cls, told, cut = strategy("sma_cross"), [], itertools.count(256, 130)

    def leave_off(done: int, total: int) -> None:
        if done >= limit:
            raise OffError

    for _ in range(10):
        limit = next(cut)
        with pytest.raises(OffError):
            session(database, cls, progress=leave_off, going=told.append)
    run = session(database, cls, going=told.append)
    again = session(database, cls, going=told.append)
    tested = backtested(cls)
    assert run.run_hash == again.run_hash == tested.run_hash
    behind = [going.recovered for going in told]
    assert behind == sorted(behind)
    assert behind[0] == 0 < behind[1]
    assert [going.completed for going in told] == [False] * 11 + [True]


@pytest.mark.req("R98")
def test_alarms_are_told_as_they_happen_and_not_again_after_a_restart(database: str) -> None:
    cls, told = strategy("sma_cross"), []
    tight = {"risk.max_daily_loss_amount": 400.0}

    def leave_off(done: int, total: int) -> None:
        if done >= 700:
            raise OffError

    with pytest.raises(OffError):
        session(database, cls, progress=leave_off, alarm=told.append, **tight)
    before = len(told)
    run = session(database, cls, alarm=told.append, **tight)
    severe = run.risk_events.filter(pl.col("severity") != "INFO")
    assert [event.event_type for event in told] == severe["event_type"].to_list()
    assert 0 < before < len(told)


def test_data_played_at_a_pace_makes_the_same_events(database: str) -> None:
    cls = strategy("sma_cross")
    run = session(database, cls, **{"feed.speed": 2e8})
    assert run.run_hash == backtested(cls).run_hash


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy.fast": 11}, r"strategy.fast unset, not = 11"),
        ({"costs.commission_bps": 4}, r"costs.commission_bps = 3.0, not = 4.0"),
        ({"risk.max_order_size": 5000.0}, r"risk.max_order_size = 100000.0, not = 5000.0"),
        ({"data.end": "2009-05-01"}, r"data.end = '2009-06-01', not = '2009-05-01'"),
    ],
)
def test_a_run_goes_on_under_nothing_else(
    database: str, settings: dict[str, Any], said: str
) -> None:
    cls = strategy("sma_cross")
    session(database, cls)
    with pytest.raises(ConfigError, match=f"run 'SmaCross' was begun with {said}: .*run.name"):
        session(database, cls, **settings)
    session(database, cls, **settings, **{"run.name": "other"})


class Steady(Strategy):
    """Buys on one bar."""

    when = 100

    def on_bar(self, bar: Bar) -> None:
        if bar.seq == self.when:
            self.buy(bar.symbol, 5)


def test_a_strategy_that_decides_otherwise_than_it_did_does_not_go_on(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(database, Steady)
    monkeypatch.setattr(Steady, "when", 101)
    with pytest.raises(ConfigError, match="run 'Steady' does not decide as it did"):
        session(database, Steady)


class Failing(Strategy):
    """Fails in the middle."""

    def on_bar(self, bar: Bar) -> None:
        if bar.seq == 60:
            raise RuntimeError("no more")
        if bar.seq == 50:
            self.buy(bar.symbol, 5)


def test_a_failure_of_the_strategy_is_told_each_time(database: str) -> None:
    for _ in range(2):
        with pytest.raises(StrategyError, match=r"Failing failed in on_bar .*no more"):
            session(database, Failing)


@pytest.mark.req("P41")
def test_the_loss_of_the_database_halts_and_loses_nothing(database: str) -> None:
    cls = strategy("sma_cross")

    def cut(done: int, total: int) -> None:
        if done == 512:
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'tetrad' AND datname = current_database()"
                )

    with pytest.raises(StoreError, match="the database is gone or refuses"):
        session(database, cls, progress=cut)
    assert session(database, cls).run_hash == backtested(cls).run_hash


@pytest.mark.req("R66")
@pytest.mark.req("R82")
def test_positions_are_kept_as_often_as_is_asked(database: str) -> None:
    cls, day = strategy("sma_cross"), 86_400
    for days in (5, 50):
        settings = {"run.name": f"every{days}", "execution.position_check_interval": days * day}
        session(database, cls, **settings, **{"feed.speed": 3e7})
    counts = {}
    for days in (5, 50):
        rows = _rows(
            database,
            "SELECT s.ts_event FROM strategy_worker.position_snapshots s JOIN "
            "strategy_worker.strategy_executions e USING (execution_id) "
            f"WHERE e.run_name = 'every{days}' ORDER BY s.ts_event",
        )["ts_event"]
        counts[days] = len(rows)
        gaps = rows.diff().drop_nulls().dt.total_days()
        assert gaps.min() >= days
    # There is one a commit at most, so how many depends on how fast the database is.
    assert counts[5] > counts[50] > 3


def _rows(database: str, query: str) -> pl.DataFrame:
    with psycopg.connect(database) as connection:
        cursor = connection.execute(query)
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    return pl.DataFrame({name: [row[i] for row in rows] for i, name in enumerate(names)})


def _sums(values: Iterator[Any]) -> Decimal:
    return sum((Decimal(str(value)) for value in values), Decimal(0))


@pytest.mark.req("R63")
@pytest.mark.req("D7")
def test_rows_say_what_the_run_says(database: str) -> None:
    cls = strategy("bracket_entry")
    # At a pace: there is one snapshot a commit at most.
    run = session(database, cls, **{"feed.speed": 40_000_000})
    orders = _rows(
        database,
        "SELECT order_id, status, inner_status, quantity, filled_quantity "
        "FROM strategy_worker.execution_orders",
    )
    inner = dict(zip(orders["order_id"], orders["inner_status"], strict=True))
    shown = dict(zip(run.orders["order_id"], run.orders["status"], strict=True))
    assert len(shown) > 20
    working = {"ACCEPTED", "PARTIALLY_FILLED", "PENDING_NEW"}
    assert {k: v for k, v in inner.items() if v not in working} == {
        k: v for k, v in shown.items() if v not in working
    }
    fills = _rows(
        database,
        "SELECT exec_id, quantity, price, commission, realized_pnl, cash_after "
        "FROM strategy_worker.execution_fills ORDER BY ts_event",
    )
    assert len(fills) == len(run.fills)
    assert _sums(fills["commission"]) == _sums(run.fills["commission"]).scaleb(-CASH_DECIMALS)
    (execution,) = _rows(database, "SELECT * FROM strategy_worker.strategy_executions").to_dicts()
    assert str(execution["execution_id"]) == execution_id("BracketEntry", "BracketEntry")
    assert execution["status"] == "completed"
    assert execution["realized_pnl"] == _sums(fills["realized_pnl"])
    equity = Decimal(str(run.summary["final_equity"])) - Decimal(str(run.summary["initial_cash"]))
    assert abs(execution["total_pnl"] - equity) < Decimal("0.01")
    assert execution["total_trades"] >= execution["winning_trades"] + execution["losing_trades"]
    snapshots = _rows(database, "SELECT * FROM strategy_worker.position_snapshots")
    assert len(snapshots) > 1
    events = _rows(database, "SELECT event_type, severity FROM strategy_worker.risk_events")
    assert len(events) == len(run.risk_events)
