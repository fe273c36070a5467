"""Laws of the simulated venue, on random bars, orders, links, cancels and replacements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.costs import CostsConfig
from engine.domain.events import (
    CancelRejected,
    OrderFilled,
    OrderReplaced,
    PricedBy,
)
from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.domain.matching import FillConfig
from engine.domain.order_state import next_status
from engine.domain.orders import Order, OrderStatus, OrderType, Side, TimeInForce
from tests.unit.venue.rig import DAY, MINUTE, Rig

START = DAY - 8 * MINUTE  # the runs cross midnight, so that days end in them

prices = st.integers(90, 110)
bars = st.tuples(prices, prices, prices, prices, st.integers(0, 20)).map(
    lambda b: (b[0], max(b[:4]), min(b[:4]), b[3], b[4])
)
limits = st.integers(88, 112)
quantities = st.integers(1, 9)
sides = st.sampled_from(Side)
single = st.fixed_dictionaries(
    {
        "what": st.just("order"),
        "side": sides,
        "kind": st.sampled_from(OrderType),
        "qty": quantities,
        "tif": st.sampled_from(TimeInForce),
        "limit": limits,
        "stop": limits,
        "trail": st.integers(1, 5),  # in ticks, unless bps is given
        "bps": st.sampled_from([None, 150]),
        "reduce_only": st.booleans(),
        "strategy": st.sampled_from(["S", "T"]),
        "expire": st.integers(0, 4),
    }
)
brackets = st.fixed_dictionaries(
    {
        "what": st.just("bracket"),
        "side": sides,
        "kind": st.sampled_from([OrderType.MARKET, OrderType.LIMIT, OrderType.STOP]),
        "qty": quantities,
        "limit": limits,
        "stop": limits,
        "target": limits,
        "guard": limits,
        "guard_kind": st.sampled_from(
            [OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP]
        ),
        "trail": st.integers(1, 5),
        "grouped": st.booleans(),
        "reduce_only": st.booleans(),
    }
)
changes = st.fixed_dictionaries(
    {
        "what": st.sampled_from(["cancel", "replace"]),
        "which": st.integers(0, 30),
        "qty": st.none() | quantities,
        "limit": st.none() | limits,
        "stop": st.none() | limits,
    }
)
plain = st.fixed_dictionaries(
    {
        "what": st.just("order"),
        "side": sides,
        "kind": st.sampled_from([OrderType.MARKET, OrderType.LIMIT, OrderType.STOP]),
        "qty": quantities,
        "tif": st.just(TimeInForce.GTC),
        "limit": limits,
        "stop": limits,
        "bps": st.none(),
        "reduce_only": st.booleans(),
        "strategy": st.just("S"),
        "expire": st.just(0),
    }
)
plain_steps = st.lists(
    st.tuples(st.lists(plain, min_size=1, max_size=2), bars), min_size=2, max_size=5
)
steps = st.lists(
    st.tuples(st.lists(single | brackets | changes, max_size=3), bars), min_size=1, max_size=10
)
fill_configs = st.builds(
    FillConfig,
    timing=st.sampled_from(["next_open", "next_tick", "intrabar_path"]),
    latency_ms=st.sampled_from([0, 0, 30_000, 60_000]),
    volume_limit=st.sampled_from([0.0, 0.0, 0.3]),
)


@dataclass
class Run:
    """What was sent, shown and reported in one run."""

    rig: Rig
    latency: int
    orders: dict[str, Order] = field(default_factory=dict)
    bars: dict[int, Bar] = field(default_factory=dict)
    brackets: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    reports: list[Any] = field(default_factory=list)

    def add(self, **fields: Any) -> str:
        order = Order(**fields)
        self.orders[order.client_order_id] = order
        self.rig.send(order)
        return order.client_order_id


def play(script: Any, fill: FillConfig, costs: CostsConfig, scale: int = 1) -> Run:
    instrument = Instrument(symbol="X", price_decimals=2, tick_size=scale)
    run = Run(Rig(fill, costs, (instrument,)), fill.latency_ms * 10**6)
    run.rig.idle(START - MINUTE)
    run.rig.bar((100 * scale,) * 4)  # the venue learns how long a bar is
    for actions, (open_px, high, low, close, volume) in script:
        for action in actions:
            act(run, action, scale)
        scaled = (open_px * scale, high * scale, low * scale, close * scale)
        bar = run.rig.bar(scaled, volume=volume)
        run.bars[bar.seq] = bar
        run.rig.idle(run.rig.cell.now)  # requests under way arrive
    run.reports = run.rig.take()
    return run


def act(run: Run, action: dict[str, Any], scale: int) -> None:
    number, now = len(run.orders), run.rig.cell.now
    if action["what"] == "order":
        kind = action["kind"]
        trailing = kind is OrderType.TRAILING_STOP
        by_bps = trailing and action["bps"]
        run.add(
            client_order_id=f"O{number}",
            strategy_id=action["strategy"],
            symbol="X",
            side=action["side"],
            order_type=kind,
            order_qty=action["qty"],
            ts_init=now,
            time_in_force=action["tif"],
            limit_px=action["limit"] * scale if kind in LIMITED else None,
            stop_px=action["stop"] * scale if kind in STOPPED else None,
            trail_px=action["trail"] * scale if trailing and not by_bps else None,
            trail_bps=action["bps"] if by_bps else None,
            expire_ts=now + action["expire"] * MINUTE // 2,
            reduce_only=action["reduce_only"],
        )
    elif action["what"] == "bracket":
        bracket(run, action, number, scale)
    elif run.orders:
        change(run, action, scale)


LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT)
STOPPED = (OrderType.STOP, OrderType.STOP_LIMIT)


def bracket(run: Run, action: dict[str, Any], number: int, scale: int) -> None:
    side, kind, guard_kind = action["side"], action["kind"], action["guard_kind"]
    base = {
        "strategy_id": f"B{number}",
        "symbol": "X",
        "order_qty": action["qty"],
        "ts_init": run.rig.cell.now,
    }
    parent = run.add(
        client_order_id=f"O{number}",
        side=side,
        order_type=kind,
        limit_px=action["limit"] * scale if kind in LIMITED else None,
        stop_px=action["stop"] * scale if kind in STOPPED else None,
        **base,
    )
    links = {
        "side": side.opposite,
        "parent_id": parent,
        "group_id": f"G{number}" if action["grouped"] else None,
        "reduce_only": action["reduce_only"],
    }
    target = run.add(
        client_order_id=f"O{number + 1}",
        order_type=OrderType.LIMIT,
        limit_px=action["target"] * scale,
        **base,
        **links,
    )
    guard = run.add(
        client_order_id=f"O{number + 2}",
        order_type=guard_kind,
        stop_px=action["guard"] * scale if guard_kind in STOPPED else None,
        limit_px=action["guard"] * scale if guard_kind in LIMITED else None,
        trail_px=action["trail"] * scale if guard_kind is OrderType.TRAILING_STOP else None,
        **base,
        **links,
    )
    run.brackets.append((parent, (target, guard)))


def change(run: Run, action: dict[str, Any], scale: int) -> None:
    order = list(run.orders.values())[action["which"] % len(run.orders)]
    if action["what"] == "cancel":
        run.rig.cancel(order.client_order_id, strategy=order.strategy_id)
        return
    run.rig.replace(
        order.client_order_id,
        strategy=order.strategy_id,
        order_qty=action["qty"],
        limit_px=None if action["limit"] is None else action["limit"] * scale,
        stop_px=None if action["stop"] is None else action["stop"] * scale,
    )


def fills(run: Run) -> list[OrderFilled]:
    return [report for report in run.reports if type(report) is OrderFilled]


FREE = CostsConfig()


def no_price_was_known_before_its_order_arrived(run: Run, fill: FillConfig) -> None:
    arrivals = {i: order.ts_init + run.latency for i, order in run.orders.items()}
    terms = {i: (o.order_qty, o.limit_px, o.stop_px) for i, o in run.orders.items()}
    for report in run.reports:
        order_id = report.client_order_id
        if type(report) is OrderReplaced:
            now = (report.order_qty, report.limit_px, report.stop_px)
            if now[0] > terms[order_id][0] or now[1:] != terms[order_id][1:]:
                arrivals[order_id] = max(arrivals[order_id], report.ts_event)
            terms[order_id] = now
        if type(report) is not OrderFilled:
            continue
        bar, arrival = run.bars[report.datum_seq], arrivals[order_id]
        assert arrival <= report.datum_ts <= bar.ts_event
        assert report.datum_ts <= report.ts_event
        if report.priced_by is not PricedBy.BAR_CLOSE or fill.timing != "next_tick":
            assert bar.ts_open >= arrival
        known_ts = bar.ts_open if report.priced_by is PricedBy.BAR_OPEN else bar.ts_event
        assert report.datum_ts == known_ts


@given(script=steps, fill=fill_configs, costs=st.sampled_from([
    FREE, CostsConfig(slippage="ticks", slippage_ticks=3),
    CostsConfig(slippage="volume_share", price_impact=50, volume_share_limit=0.5),
]))  # fmt: skip
def test_prices_keep_to_the_bar_and_to_the_limit(
    script: Any, fill: FillConfig, costs: CostsConfig
) -> None:
    run = play(script, fill, costs)
    limit_now = {i: order.limit_px for i, order in run.orders.items()}
    for report in run.reports:
        if type(report) is OrderReplaced:
            limit_now[report.client_order_id] = report.limit_px
        if type(report) is not OrderFilled:
            continue
        bar, limit = run.bars[report.datum_seq], limit_now[report.client_order_id]
        if limit is not None:
            assert (report.last_px - limit) * report.signed_qty <= 0
        assert report.slippage >= 0
        worst = bar.high_px if report.signed_qty > 0 else bar.low_px
        if costs is FREE:
            assert bar.low_px <= report.last_px <= bar.high_px
            if report.priced_by is PricedBy.BAR_OPEN:
                assert report.last_px == bar.open_px
        elif costs.slippage == "ticks":
            assert (report.last_px - worst) * report.signed_qty <= 3 * abs(report.signed_qty)


def quantities_are_conserved_and_states_are_lawful(run: Run, fill: FillConfig) -> None:
    status = dict.fromkeys(run.orders, OrderStatus.PENDING_NEW)
    qty = {i: order.order_qty for i, order in run.orders.items()}
    cum = dict.fromkeys(run.orders, 0)
    executions = set()
    for report in run.reports:
        i = report.client_order_id
        if type(report) is CancelRejected or type(report).__name__ == "ReplaceRejected":
            continue
        assert not status[i].is_terminal, (status[i], report)
        if type(report) is OrderReplaced:
            assert report.order_qty > cum[i]
            qty[i] = report.order_qty
        if type(report) is OrderFilled:
            cum[i] += abs(report.signed_qty)
            assert (report.signed_qty > 0) == (run.orders[i].side is Side.BUY)
            assert report.cum_qty == cum[i]
            assert report.cum_qty + report.leaves_qty == qty[i]
            assert report.exec_id not in executions
            executions.add(report.exec_id)
        status[i] = next_status(status[i], type(report), cum[i], qty[i] - cum[i])
    working = {
        i for i, s in status.items() if not s.is_terminal and s is not OrderStatus.PENDING_NEW
    }
    assert working == set(run.rig.venue._registry.orders)
    assert bool(run.rig.cell.lane("X").handlers) == bool(working)


def exits_never_exceed_what_their_parent_filled(run: Run, fill: FillConfig) -> None:
    parents = {child: parent for parent, exits in run.brackets for child in exits}
    held = dict.fromkeys(dict(run.brackets), 0)
    for report in fills(run):
        i = report.client_order_id
        if i in held:
            held[i] += abs(report.signed_qty)
        elif i in parents:
            held[parents[i]] -= abs(report.signed_qty)
            assert held[parents[i]] >= 0
    ended = {r.client_order_id for r in run.reports if type(r).__name__ in ENDS} | {
        r.client_order_id for r in fills(run) if r.leaves_qty == 0
    }
    for parent, exits in run.brackets:
        if parent in ended and held[parent] == 0:
            assert set(exits) <= ended  # nothing is left that could open a position


ENDS = {"OrderCanceled", "OrderExpired", "OrderRejected"}


def reduce_only_never_opens_or_flips(run: Run, fill: FillConfig) -> None:
    position: dict[str, int] = {}
    for report in fills(run):
        before = position.get(report.strategy_id, 0)
        after = position[report.strategy_id] = before + report.signed_qty
        if run.orders[report.client_order_id].reduce_only:
            assert before * report.signed_qty < 0
            assert before * after >= 0


def time_does_not_run_backwards(run: Run, fill: FillConfig) -> None:
    if fill.latency_ms == 0:
        times = [report.ts_event for report in run.reports]
        assert times == sorted(times)


LAWS = (
    no_price_was_known_before_its_order_arrived,
    quantities_are_conserved_and_states_are_lawful,
    exits_never_exceed_what_their_parent_filled,
    reduce_only_never_opens_or_flips,
    time_does_not_run_backwards,
)


@pytest.mark.req("R55", "R137")
@given(script=steps, fill=fill_configs)
def test_laws(script: Any, fill: FillConfig) -> None:
    run = play(script, fill, FREE)
    for law in LAWS:
        law(run, fill)


@given(script=plain_steps, fill=fill_configs)
def test_reduce_only(script: Any, fill: FillConfig) -> None:
    reduce_only_never_opens_or_flips(play(script, fill, FREE), fill)


@given(
    script=st.lists(st.tuples(st.just([]), bars), min_size=1, max_size=10),
    members=st.lists(st.tuples(sides, st.booleans(), limits), min_size=2, max_size=4),
    qty=quantities,
    fill=fill_configs,
)
def test_a_group_fills_once(script: Any, members: Any, qty: int, fill: FillConfig) -> None:
    run = Run(Rig(fill), fill.latency_ms * 10**6)
    for n, (side, stop, px) in enumerate(members):
        run.add(
            client_order_id=f"O{n}",
            strategy_id="S",
            symbol="X",
            side=side,
            order_type=OrderType.STOP if stop else OrderType.LIMIT,
            order_qty=qty,
            ts_init=0,
            group_id="g",
            **{"stop_px" if stop else "limit_px": px},
        )
    for _, (open_px, high, low, close, volume) in script:
        run.rig.bar((open_px, high, low, close), volume=volume)
    run.rig.idle(DAY)  # orders under way arrive
    total = sum(abs(fill.signed_qty) for fill in run.rig.fills())
    assert total <= qty
    assert (total == qty) == (not run.rig.venue._registry.orders)


def essence(report: Any, scale: int) -> tuple[Any, ...]:
    if type(report) is OrderFilled:
        money = (report.last_px / scale, report.commission / scale, report.slippage / scale)
        return (report.client_order_id, report.signed_qty, *money, report.ts_event)
    if type(report) is OrderReplaced:
        px = [None if p is None else p / scale for p in (report.limit_px, report.stop_px)]
        return (report.client_order_id, report.order_qty, *px, report.ts_event)
    return (type(report).__name__, report.client_order_id, report.ts_event)


@given(script=steps, fill=fill_configs, scale=st.sampled_from([2, 8, 1024]))
def test_prices_have_no_scale(script: Any, fill: FillConfig, scale: int) -> None:
    costs = CostsConfig(commission_bps=10, slippage="ticks", slippage_ticks=1)
    one, many = play(script, fill, costs), play(script, fill, costs, scale)
    expected = [essence(report, 1) for report in one.reports]
    assert [essence(report, scale) for report in many.reports] == expected


@given(script=steps, fill=fill_configs, bps=st.sampled_from([1.0, 75.5]), ticks=st.integers(0, 3))
def test_slippage_never_improves(script: Any, fill: FillConfig, bps: float, ticks: int) -> None:
    costs = [
        CostsConfig(slippage="bps", slippage_bps=bps),
        CostsConfig(slippage="ticks", slippage_ticks=ticks),
    ]
    free = fills(play(script, fill, FREE))
    for config in costs:
        slipped = fills(play(script, fill, config))
        assert [f.exec_id for f in slipped] == [f.exec_id for f in free]
        for with_slip, without in zip(slipped, free, strict=True):
            lost = (with_slip.last_px - without.last_px) * without.signed_qty
            assert lost >= 0
            assert with_slip.slippage == lost * 10**6
