"""A second opinion on the gate: everything it measures, worked out anew from what it was told.

The shadow folds the messages that the gate hears, in the order in which it hears them, into plain
lists, and for each verdict measures the order by loops over those lists: every subset of the
working orders, every order sent so far. It shares no book, no total and no table with the gate.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import combinations
from typing import Any

from engine.domain.commands import OrderApproved, ReplaceApproved, ReplaceOrder
from engine.domain.events import (
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_DECIMALS
from engine.domain.orders import Order, OrderType, Side
from engine.domain.risk import CheckInputs, RiskLimits
from engine.research.fuzz.rules import PPM, SECOND, interval_of

__all__ = ["Shadow", "Working"]

SUBSETS_MAX = 6
"""Working orders of a position up to which every subset of their fills is tried."""
Key = tuple[str, str]


class Working:
    """One order that was let through and has not ended.

    Args:
        order: the order.
        px: latest price at its verdict.
    """

    def __init__(self, order: Order, px: int) -> None:
        self.order = order
        self.total = order.order_qty
        self.px = at_stake(order, px)
        self.limit_px, self.stop_px = order.limit_px, order.stop_px
        self.filled = 0
        self.asked: list[tuple[int, int]] = []

    @property
    def leaves(self) -> int:
        """The most that can still fill."""
        return max(max([self.total, *(q for q, _ in self.asked)]) - self.filled, 0)

    @property
    def dearest(self) -> int:
        """The highest price that could be in force."""
        return max([self.px, *(px for _, px in self.asked)])

    def answered(self, total: int | None) -> int:
        """Forget the change that was answered, of this total or the smallest; give its price."""
        if not self.asked:
            return 0
        same = [change for change in self.asked if change[0] == total]
        change = same[0] if same else min(self.asked)
        self.asked.remove(change)
        return change[1]


class Shadow:
    """What there is to know about an account, in lists.

    Args:
        limits: the limits file.
        instruments: scales by symbol.
        cash: opening cash, in cash units.

    Attributes:
        working: orders that work, by id.
        held: signed quantity by (strategy, symbol).
        cash: of the account, cash units.
        paid: what each strategy's fills have brought and cost, cash units.
        sent: ``(time, strategy, order)`` of all that left; no order for a replacement.
        judged: ids that have a verdict, and whether it was good.
        halted: symbols in which trading is halted.
        overfilled: symbols in which an order has filled more than was ever allowed.
        px: latest price by symbol, and when it came.
        streaks: losing round trips in a row by strategy; ``""`` is the account.
    """

    def __init__(self, limits: RiskLimits, instruments: dict[str, Instrument], cash: int) -> None:
        self._limits = limits
        self._instruments = instruments
        self.working: dict[str, Working] = {}
        self.held: dict[Key, int] = defaultdict(int)
        self.cash = cash
        self.paid: dict[str, int] = defaultdict(int)
        self.sent: list[tuple[int, str, Order | None]] = []
        self._sent_before_today = 0
        self.judged: dict[str, bool] = {}
        self._judged_today: set[str] = set()
        self.halted: set[str] = set()
        self.overfilled: set[str] = set()
        self._allowed: dict[str, int] = defaultdict(int)
        self.px: dict[str, tuple[int, int]] = {}
        self.day_start = self.peak = cash
        self.earned_before: dict[str, int] = defaultdict(int)
        self.streaks: dict[str, int] = defaultdict(int)
        self._trips: dict[Key, list[OrderFilled]] = defaultdict(list)
        self._carried: dict[Key, int] = {}
        self._fills: set[str] = set()

    # What happens.

    def hear(self, message: Any, now: int) -> None:
        """Take in something that the gate hears of, or its own good verdict."""
        match message:
            case OrderApproved():
                order = message.order
                self.working[order.client_order_id] = Working(order, self.px[order.symbol][0])
                self._allowed[order.client_order_id] += order.order_qty
                self.sent.append((now, order.strategy_id, order))
            case ReplaceApproved():
                self._ask(message.replace)
                self.sent.append((now, message.replace.strategy_id, None))
            case PositionChanged():
                self._fill(message.fill)
            case OrderCanceled() | OrderExpired() | OrderRejected():
                self.working.pop(message.client_order_id, None)
            case OrderReplaced():
                self._replace(message)
            case ReplaceRejected():
                found = self.working.get(message.client_order_id)
                if found is not None:
                    found.answered(None)

    def _ask(self, replace: ReplaceOrder) -> None:
        found = self.working[replace.client_order_id]
        changed = self.changed(found, replace)
        px = at_stake(changed, self.px[changed.symbol][0])
        found.asked.append((changed.order_qty + found.filled, px))
        # What is left to fill of the larger of both.
        left = self._allowed[replace.client_order_id]
        self._allowed[replace.client_order_id] = max(left, changed.order_qty)

    def _replace(self, event: OrderReplaced) -> None:
        found = self.working.get(event.client_order_id)
        if found is not None:
            asked = found.answered(event.order_qty)
            found.total = event.order_qty
            stop_px = max(event.stop_px, asked) if event.stop_px else found.px
            found.px = event.limit_px or stop_px
            found.limit_px, found.stop_px = event.limit_px, event.stop_px

    def _fill(self, fill: OrderFilled) -> None:
        if fill.exec_id in self._fills:
            return
        self._fills.add(fill.exec_id)
        self._allowed[fill.client_order_id] -= abs(fill.signed_qty)
        if self._allowed[fill.client_order_id] < 0:
            self.overfilled.add(fill.symbol)
        key = fill.strategy_id, fill.symbol
        flow = -round(self.worth(fill.symbol, fill.signed_qty, fill.last_px)) - fill.commission
        self.cash += flow
        self.paid[fill.strategy_id] += flow
        before = self.held[key]
        self.held[key] = before + fill.signed_qty
        self._count_trip(key, before, fill)
        found = self.working.get(fill.client_order_id)
        if found is not None:
            found.filled += abs(fill.signed_qty)
            if fill.leaves_qty == 0:
                del self.working[fill.client_order_id]

    def _count_trip(self, key: Key, before: int, fill: OrderFilled) -> None:
        """A round trip from flat to flat brings what its fills have brought in cash."""
        self._trips[key].append(fill)
        after = self.held[key]
        if before == 0 or (after != 0 and (after > 0) == (before > 0)):
            return
        fills = self._trips.pop(key)
        result = self._carried.pop(key, 0)
        for each in fills:
            result -= round(self.worth(key[1], each.signed_qty, each.last_px)) + each.commission
        if after:
            # A flip: what it opens, at its price, belongs to the next round trip.
            notional = round(self.worth(key[1], fill.signed_qty, fill.last_px))
            opened = round(Fraction(notional * after, fill.signed_qty))
            result += opened
            self._carried[key] = -opened
        for name in ("", key[0]):
            self.streaks[name] = 0 if result >= 0 else self.streaks[name] + 1

    def end_day(self) -> None:
        """Begin the next day."""
        self.day_start = self.equity()
        self.peak = max(self.peak, self.day_start)
        for name in {name for name, _ in self.held}:
            self.earned_before[name] = self.earned(name)
        self.streaks.clear()
        self._sent_before_today = len(self.sent)
        self.judged = {k: v for k, v in self.judged.items() if k in self._judged_today}
        self._judged_today.clear()

    def verdict(self, order_id: str, passed: bool) -> None:
        """Note a verdict on an order."""
        self.judged[order_id] = passed
        self._judged_today.add(order_id)

    # What it comes to.

    def worth(self, symbol: str, quantity: int, px: int | None = None) -> Fraction:
        """Give the exact value of a quantity in cash units, at the latest price without one."""
        instrument = self._instruments[symbol]
        decimals = instrument.price_decimals + instrument.quantity_decimals
        at = self.px.get(symbol, (0, 0))[0] if px is None else px
        return Fraction(quantity * at * instrument.multiplier * 10**CASH_DECIMALS, 10**decimals)

    def held_worth(self, *names: str) -> Fraction:
        """Give the exact value of all that is held, or that some strategies hold, signed."""
        return sum(
            (self.worth(k[1], q) for k, q in self.held.items() if not names or k[0] in names),
            Fraction(0),
        )

    def equity(self) -> int:
        """Cash plus positions at the latest prices, in cash units."""
        return round(self.cash + self.held_worth())

    def earned(self, strategy_id: str) -> int:
        """What a strategy has won or lost since it began, in cash units."""
        return round(self.paid[strategy_id] + self.held_worth(strategy_id))

    def gross(self) -> Fraction:
        """Value of everything held, unsigned, in cash units."""
        return sum((abs(self.worth(k[1], q)) for k, q in self.held.items()), Fraction(0))

    def worst(self, key: Key, more: int = 0, *, less: str | None = None) -> int:
        """Give the largest position that any subset of the working orders could make.

        Args:
            key: strategy and symbol.
            more: signed quantity of one order more.
            less: id of a working order to leave out.
        """
        signed = [
            w.order.side.sign * w.leaves
            for order_id, w in self.working.items()
            if (w.order.strategy_id, w.order.symbol) == key
            and not w.order.reduce_only
            and order_id != less
        ]
        signed += [more] if more else []
        held = self.held.get(key, 0)
        if len(signed) > SUBSETS_MAX:
            ups, downs = sum(q for q in signed if q > 0), sum(q for q in signed if q < 0)
            return max(abs(held + ups), abs(held + downs))
        subsets = (c for size in range(len(signed) + 1) for c in combinations(signed, size))
        return max(abs(held + sum(subset)) for subset in subsets)

    def keys(self) -> set[Key]:
        """Give all pairs of strategy and symbol that hold or work anything."""
        works = {(w.order.strategy_id, w.order.symbol) for w in self.working.values()}
        return works | {key for key, quantity in self.held.items() if quantity}

    def _exposure(self, keys: set[Key], less: str | None) -> Fraction:
        return sum((self.worth(k[1], self.worst(k, less=less)) for k in keys), Fraction(0))

    def reserved(self, side: Side, less: str | None = None) -> int:
        """Value of the working orders of one side, each at its own price, in cash units."""
        return sum(
            round(self.worth(w.order.symbol, w.leaves, w.dearest))
            for order_id, w in self.working.items()
            if w.order.side is side and not w.order.reduce_only and order_id != less
        )

    def changed(self, found: Working, replace: ReplaceOrder) -> Order:
        """Give what of a working order could still fill after a change."""
        order = found.order
        total = found.total if replace.order_qty is None else replace.order_qty
        return Order(
            order.client_order_id, order.strategy_id, order.symbol, order.side, order.order_type,
            total - found.filled, replace.ts_init,
            limit_px=found.limit_px if replace.limit_px is None else replace.limit_px,
            stop_px=found.stop_px if replace.stop_px is None else replace.stop_px,
            trail_px=order.trail_px, trail_bps=order.trail_bps, reduce_only=order.reduce_only,
            parent_id=order.parent_id,
        )  # fmt: skip

    # What an order is measured at.

    def measure(
        self, order: Order, now: int, exempt: int, *, less: str | None = None
    ) -> CheckInputs:
        """Measure an order by loops over everything.

        Args:
            order: the order, not yet heard of.
            now: the time.
            exempt: see :class:`~engine.domain.risk.CheckInputs`.
            less: id of the order that it replaces.
        """
        px, ts = self.px[order.symbol]
        strategy_id = order.strategy_id
        equity = self.equity()
        return CheckInputs(
            order_qty=order.order_qty,
            through_ppm=_through(order, px),
            reference_px=px,
            reference_age=now - ts,
            own_px=self._met(order, px),
            day_start_equity=self.day_start,
            peak_equity=self.peak,
            strategy_loss=self.earned_before[strategy_id] - self.earned(strategy_id),
            losing_streak=self.streaks[""],
            strategy_losing_streak=self.streaks[strategy_id],
            equity=equity,
            exempt=exempt,
            **self._traffic(order, now, less),
            **self._sizes(order, px, exempt, less, equity),
        )

    def _traffic(self, order: Order, now: int, less: str | None) -> dict[str, int]:
        limits, mine = self._limits, order.strategy_id
        today = self.sent[self._sent_before_today :]
        window = round(Fraction(repr(float(limits.repeat_window))) * SECOND)
        equal = [
            ts for ts, _, one in self.sent
            if one is not None and now - ts <= window and _same(one) == _same(order)
        ]  # fmt: skip
        counted = less is None and not isinstance(limits.max_repeated_orders, str)
        working = [w.order.strategy_id for k, w in self.working.items() if k != less]
        return {
            "backlog": self._backlog(now, limits.max_order_rate, None),
            "strategy_backlog": self._backlog(now, limits.per_strategy.max_order_rate, mine),
            "repeats": len(equal) if counted else 0,
            "open_orders": len(working),
            "strategy_open_orders": working.count(mine),
            "day_orders": len(today),
            "strategy_day_orders": sum(1 for _, name, _ in today if name == mine),
        }

    def _backlog(self, now: int, rate: float | str, strategy_id: str | None) -> int:
        """Run water through the bucket from the first order on."""
        level, at = 0, 0
        for ts, name, _ in self.sent:
            if strategy_id in (None, name):
                level = max(level - (ts - at), 0) + interval_of(rate)
                at = ts
        return max(level - (now - at), 0)

    def _sizes(
        self, order: Order, px: int, exempt: int, less: str | None, equity: int
    ) -> dict[str, int]:
        key, buys = (order.strategy_id, order.symbol), order.side is Side.BUY
        own_px = at_stake(order, px)
        keys = self.keys() | {key}
        before, more, short = self.worst(key, less=less), Fraction(0), 0
        if not exempt:
            after = self.worst(key, order.side.sign * order.order_qty, less=less)
            if after > before:
                at = self.worth(order.symbol, after, max(own_px, px))
                more = at - self.worth(order.symbol, before)
            if not buys:
                short = self._short(key, order.order_qty, less)
        sector = self._instruments[order.symbol].sector
        peers = {k for k in keys if sector and self._instruments[k[1]].sector == sector}
        of_symbol = self._exposure({k for k in keys if k[1] == order.symbol}, less)
        value = round(self.worth(order.symbol, order.order_qty, own_px))
        bought, sold = self.reserved(Side.BUY, less), self.reserved(Side.SELL, less)
        if not exempt:
            bought, sold = bought + value * buys, sold + value * (not buys)
        held = equity - self.cash
        return {
            "buys": int(buys),
            "order_value": value,
            "short_after": short,
            "position_before": round(of_symbol),
            "position_after": round(of_symbol + more),
            "exposure_after": round(self._exposure(keys, less) + more),
            "net_after": max(held + bought, sold - held),
            "sector_after": round(self._exposure(peers, less) + more) if sector else 0,
            "cash_after": self.cash - bought,
            "strategy_exposure": round(
                self._exposure({k for k in keys if k[0] == key[0]}, less) + more
            ),
        }

    def _short(self, key: Key, quantity: int, less: str | None) -> int:
        """Give the worst-case short of a symbol once a sell has filled; 0 when its own is none."""

        def short(one: Key) -> int:
            sells = sum(
                w.leaves for k, w in self.working.items()
                if (w.order.strategy_id, w.order.symbol) == one and k != less
                and w.order.side is Side.SELL and not w.order.reduce_only
            )  # fmt: skip
            return sells - self.held.get(one, 0)

        own = short(key) + quantity
        others = sum(max(short(k), 0) for k in self.keys() if k[1] == key[1] and k != key)
        return own + others if own > 0 else 0

    def _met(self, order: Order, px: int) -> int:
        """Give the best price of an own working limit order on the other side, if it is reached."""
        prices = [
            at for w in self.working.values()
            if w.order.order_type is OrderType.LIMIT and w.order.symbol == order.symbol
            and w.order.side is order.side.opposite and w.order.parent_id is None
            for at in (w.px, *(p for _, p in w.asked))
        ]  # fmt: skip
        if order.order_type not in (OrderType.MARKET, OrderType.LIMIT) or not prices:
            return 0
        reach = order.limit_px or px
        buys = order.side is Side.BUY
        best = min(prices) if buys else max(prices)
        return best if (best <= reach if buys else best >= reach) else 0


def at_stake(order: Order, px: int) -> int:
    """Give the price that an order is valued at; a buy stop that triggers at once: the market's."""
    if order.limit_px is not None:
        return order.limit_px
    if order.stop_px is None:
        return px
    return max(order.stop_px, px) if order.side is Side.BUY else order.stop_px


def _through(order: Order, px: int) -> int:
    if order.limit_px is None:
        return 0
    reference = order.stop_px or px
    distance = Fraction((order.limit_px - reference) * order.side.sign * PPM, reference)
    return -((-distance).__floor__())


def _same(order: Order) -> tuple[Any, ...]:
    return (
        order.strategy_id, order.symbol, order.side, order.order_type, order.order_qty,
        order.limit_px, order.stop_px,
    )  # fmt: skip
