"""Every setting does something: a run with it differs from the run without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.files.latch import FileLatchStore
from engine import Bar, OrderHandle, Strategy
from engine.config import all_keys
from engine.domain.latch import Hold, TradingState
from engine.domain.risk import SymbolLimits
from engine.errors import DataError, StrategyError
from engine.research import backtest

# Setting -> a value, and why a run with it must give the same result.
SAME_RESULTS: dict[str, tuple[Any, str]] = {
    "orders.keep_closed": (0, "memory; the router's tests show which reports it still knows"),
    "indicators.mode": ("streaming", "speed and memory; parity tests compare the two to the bit"),
    "risk.intent_ttl": (0.001, "a backtest judges an order when it is caused; gate's tests wait"),
    "risk.max_sector_exposure": (0.0, "files name no sectors; the gate's tests have some"),
    "run.chunk_rows": (7, "memory; the determinism tests compare chunks of every size"),
}


class Busy(Strategy):
    """Buys, sells short, rests orders, and fails on demand, so that every rule has work."""

    size: int = 10
    fail: bool = False
    eager: bool = False
    other: bool = False
    twice: bool = False

    def on_start(self) -> None:
        self.count = 0

    def on_bar(self, bar: Bar) -> None:
        self.count += 1
        if self.fail and self.count == 5:
            raise RuntimeError("on demand")
        if self.eager:
            self.sell(bar.symbol, self.size, limit=bar.close + 5)
            self.buy(bar.symbol, self.size, limit=bar.close + 6)
        if self.other and bar.symbol == "B":
            self.set_timer("later", self.now + 7_200 * 10**9)
        if self.twice:
            self.buy(bar.symbol, self.size, limit=bar.close / 2)
            self.buy(bar.symbol, self.size, limit=bar.close / 2)
        if self.count % 7 == 1:
            self.buy(bar.symbol, self.size)
        elif self.count % 7 == 3:
            self.sell(bar.symbol, 2 * self.size)
        elif self.count % 7 == 5:
            self.buy(bar.symbol, self.size, limit=bar.close - 1)

    def on_timer(self, name: str) -> None:
        self.buy("A", self.size)

    def on_order(self, order: OrderHandle) -> None:
        self.signal(order.symbol, note=f"{order.status.name} {order.reason}")


LOSING = {"strategy.size": 300, "risk.max_position_size": 1}
"""A large position in prices that fall by three per cent a day."""
UNBOUNDED = ("order_size", "position_size", "total_exposure", "leverage", "daily_loss",
             "daily_loss_amount")  # fmt: skip
LEVERED = {f"risk.max_{name}": "unlimited" for name in UNBOUNDED} | {"strategy.size": 1_730}
"""Almost all that half of it as margin allows."""
HALTING = LOSING | {"risk.max_daily_loss": 0.002}
WARNING = LOSING | {"risk.max_daily_loss": 0.5}

# Setting -> what it is set to, and what the run with it and the run without it have in common.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "strategy": ({"size": 11}, {}),
    "data.symbols": (["B"], {}),
    "data.start": ("2020-01-10", {}),
    "data.end": ("2020-01-20", {}),
    "data.on_bad_data": ("drop", {"data.paths": ["bad.csv"]}),
    "data.adjust": (True, {}),
    "data.bar_label": ("close", {}),
    "data.interval": ("12h", {}),
    "data.calendar": ("24/5", HALTING),
    "data.price_decimals": (4, {}),
    "data.quantity_decimals": (3, {}),
    "data.tick_size": (0.25, {}),
    "data.columns": ({"close": "last"}, {}),
    "account.cash": (50_000, {}),
    "account.currency": ("EUR", {}),
    "orders.time_in_force": ("IOC", {}),
    "fill.timing": ("next_tick", {}),
    "fill.latency_ms": (1, {}),
    "fill.volume_limit": (0.01, {}),
    "costs.commission_bps": (1, {}),
    "costs.commission_per_share": (0.1, {}),
    "costs.commission_per_order": (1, {}),
    "costs.commission_min": (1, {}),
    "costs.slippage": ("volume_share", {}),
    "costs.slippage_ticks": (3, {"costs.slippage": "ticks"}),
    "costs.slippage_bps": (3, {"costs.slippage": "bps"}),
    "costs.volume_share_limit": (0.01, {"costs.slippage": "volume_share"}),
    "costs.price_impact": (50, {"costs.slippage": "volume_share"}),
    "risk.min_order_size": (1_001, {}),
    "risk.max_order_size": (1_001, {}),
    "risk.max_position_size": (0.011, {}),
    "risk.position_warning": (0.01, {}),
    "risk.max_total_exposure": (1_000, {}),
    "risk.max_leverage": (0.011, {}),
    "risk.max_daily_loss": (0.002, LOSING),
    "risk.max_daily_loss_amount": (500, LOSING),
    "risk.daily_loss_warning": (0.001, WARNING),
    "risk.halt_reset": ("manual", HALTING),
    "risk.short_selling": (False, {}),
    "risk.max_order_quantity": (5, {}),
    "risk.price_collar": (0.001, {"strategy.eager": True}),
    "risk.max_price_age": (3_600, {"strategy.other": True}),
    "risk.max_net_leverage": (0.011, {}),
    "risk.min_cash": (99_500, {}),
    "risk.initial_margin": (1.0, LEVERED),
    "risk.maintenance_margin": (0.5, LEVERED),
    "risk.locates": ({"A": 1}, {}),
    "risk.restricted_symbols": (["B"], {}),
    "risk.trading_hours": ("session", {"data.calendar": "XNYS"}),
    "risk.self_trade_prevention": (False, {"strategy.eager": True}),
    "risk.max_open_orders": (0, {}),
    "risk.max_orders_per_day": (0, {}),
    "risk.max_order_rate": (0.00001, {"risk.order_burst": 1}),
    "risk.order_burst": (1, {"risk.max_order_rate": 0.00001}),
    "risk.max_repeated_orders": (1, {"strategy.twice": True}),
    "risk.repeat_window": (86_400, {"risk.max_repeated_orders": 1, "strategy.other": True}),
    "risk.max_drawdown": (0.001, LOSING),
    "risk.max_losing_trades": (1, {}),
    "risk.on_halt": ("flatten", HALTING),
    "risk.stop_loss_pct": (0.03, {}),
    "risk.stop_loss_buffer": (0.0, {"risk.stop_loss_pct": 0.03}),
    "risk.trailing_stop_pct": (0.03, {}),
    "risk.take_profit_pct": (0.03, {}),
    "risk.per_strategy.max_exposure": (1_000, {}),
    "risk.per_strategy.max_daily_loss": (5, {}),
    "risk.per_strategy.max_losing_trades": (1, {}),
    "risk.per_strategy.max_open_orders": (0, {}),
    "risk.per_strategy.max_orders_per_day": (0, {}),
    "risk.per_strategy.max_order_rate": (0.00001, {"risk.per_strategy.order_burst": 1}),
    "risk.per_strategy.order_burst": (1, {"risk.per_strategy.max_order_rate": 0.00001}),
    "risk.symbols": ({"B": {"max_order_size": 1_001}}, {}),
    "risk.symbols.A.max_order_size": (1_001, {}),
    "risk.symbols.A.max_order_quantity": (5, {}),
    "risk.symbols.A.max_position_size": (0.011, {}),
    "risk.symbols.A.price_collar": (0.001, {"strategy.eager": True}),
    "supervision.strategy": ("quarantine", {"strategy.fail": True}),
    "run.seed": (7, {}),
    "run.latch": ("halted.json", {}),
    "report.html": (True, {}),
}


def rows(symbol_at: float, close: str = "close") -> str:
    """Make thirty days that fall from a price, with a split in the adjusted close."""
    lines = [f"timestamp,open,high,low,{close},last,volume,adj_close"]
    for day in range(1, 31):
        price = symbol_at * 0.97**day
        prices = (price, price + 2, price - 2, price - 1)
        numbers = ",".join(f"{p:.2f}" for p in (*prices, price - 0.5))
        lines.append(f"2020-01-{day:02}T00:00:00Z,{numbers},1000,{prices[3] / (1 + day % 2):.2f}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("settings")
    (made / "data").mkdir()
    (made / "data" / "A.csv").write_text(rows(120))
    (made / "data" / "B.csv").write_text(rows(110))
    (made / "bad.csv").write_text(rows(120).replace(",1000,", ",-5,", 1))
    FileLatchStore(made / "halted.json").save({"": Hold(TradingState.HALTED, "KILL", "manual", 0)})
    return made


def outcome(folder: Path, settings: dict[str, Any], out: Path) -> tuple[Any, ...]:
    """Run, and give all of the result that does not merely repeat the settings."""
    given = {"report.html": False, **settings}  # it is five megabytes
    paths = [folder / path for path in given.pop("data.paths", ["data"])]
    if "run.latch" in given:
        given["run.latch"] = str(folder / given["run.latch"])
    try:
        result = backtest(Busy, paths, settings=given, out=out)
    except (DataError, StrategyError) as error:
        return (type(error).__name__,)
    files = tuple(sorted(path.name for path in out.iterdir()))
    return result.run_hash, result.data.data_hash, result.data.instruments, files


def test_no_setting_is_forgotten() -> None:
    elsewhere = {"profile", "data.paths"}  # what every other test of a run sets
    # A backtest has no such venue, store, pace or broker; tests/integration, tests/postgres and
    # tests/feeds prove these.
    sections = (
        "oms_grpc.", "store.", "feed.", "venue.", "execution.", "run.name", "run.executions",
        "instruments", "redis.", "kafka.", "gateway.", "alpaca.", "safety.", "shutdown.",
        "publish.",
    )  # fmt: skip
    elsewhere |= {key for key in all_keys() if key.startswith(sections)}
    own = {f"risk.symbols.A.{name}" for name in SymbolLimits.__struct_fields__}
    assert set(CHANGES) | set(SAME_RESULTS) == (set(all_keys()) | own) - elsewhere
    assert not set(CHANGES) & set(SAME_RESULTS)


@pytest.mark.parametrize("key", CHANGES)
def test_a_setting_changes_the_run(key: str, folder: Path, tmp_path: Path) -> None:
    value, common = CHANGES[key]
    changed = {f"strategy.{name}": v for name, v in value.items()} if key == "strategy" else None
    without = outcome(folder, common, tmp_path / "without")
    settings = {**common, **(changed or {key: value})}
    assert outcome(folder, settings, tmp_path / "with") != without


@pytest.mark.parametrize("key", SAME_RESULTS)
def test_a_setting_that_must_not_change_a_result_does_not(
    key: str, folder: Path, tmp_path: Path
) -> None:
    value, _ = SAME_RESULTS[key]
    without = outcome(folder, {}, tmp_path / "without")
    assert outcome(folder, {key: value}, tmp_path / "with") == without
