"""Exposure of an account: what is held and what could still be, valued at the latest prices.

Worst case means: all that is held and working on the side that hurts, of each strategy by itself
and then added up. Strategies that hold opposite positions in a symbol do not cancel out: either
may close its own at any time, and that must not break a limit.

Totals are kept running. A price that moves by n moves each of them by n times what one price unit
is worth there, so marking a symbol is a few multiplications whatever else is held.

Most prices need not even that. Each symbol has a *band* of prices within which no alarm of the
account can go off, whatever the other symbols do within theirs; a price inside it is one
comparison, and the symbol is marked when the next order is judged. The bands are shares of the
distance to the nearest alarm: their sum never exceeds it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.domain.money import div_half_even
from engine.domain.orders import Order, Side, price_at_stake
from engine.domain.risk import NO_LIMIT, PPM, SymbolBounds

__all__ = ["Exposure", "ExposureBook", "LatestEvent", "Market", "Measured", "Total"]

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_BUY = Side.BUY


FAR = 2**100
"""Beyond any price."""
GRANTS_MIN = 16
"""The nearest alarm's distance is cut in at least twice as many shares: few symbols come and go."""


class LatestEvent(Protocol):
    """Something whose ``last`` is always a symbol's latest market event."""

    @property
    def last(self) -> Any:
        """The latest market event, None before the first."""


class Total:
    """Sums over exposures: of the account, of a strategy or of a sector.

    Amounts are in *fine units*, cash units times the book's ``grain``, so that every symbol's
    price times quantity is a whole number of them and nothing is rounded before it is read.

    Attributes:
        equity: cash plus the signed value of what is held (of a strategy: what it has earned or
            lost since it began; of a sector: only the value).
        worst: unsigned worst-case value.
        gross: unsigned value of what is held.
        alarm: equity at or below which somebody wants to know.
        rearm: equity above which an alarm that has rung is to be set again.
        maintenance_ppm: equity below this share of ``gross`` is told too.
    """

    __slots__ = ("alarm", "equity", "gross", "maintenance_ppm", "name", "rearm", "worst")

    def __init__(self, name: str, equity: int = 0, maintenance_ppm: int = 0) -> None:
        self.name = name
        self.equity = equity
        self.worst = 0
        self.gross = 0
        self.alarm = -NO_LIMIT
        self.rearm = NO_LIMIT
        self.maintenance_ppm = maintenance_ppm


class Exposure:
    """What one strategy holds and works in one symbol.

    Attributes:
        market: the symbol.
        totals: the sums it is part of.
        quantity: signed quantity held, in quantity units.
        buys: unsigned quantity of working buys that are not reduce-only.
        sells: likewise of sells.
        worst_qty: unsigned worst-case quantity.
        held_per_px: what a price unit is worth on what is held, in fine units, signed.
        worst_per_px: the same of the worst case, unsigned.
        gross_per_px: the same of what is held, unsigned.
    """

    __slots__ = (
        "buys", "gross_per_px", "held_per_px", "market", "quantity", "sells", "totals",
        "worst_per_px", "worst_qty",
    )  # fmt: skip

    def __init__(self, market: Market, totals: tuple[Total, ...]) -> None:
        self.market = market
        self.totals = totals
        self.quantity = self.buys = self.sells = self.worst_qty = 0
        self.held_per_px = self.worst_per_px = self.gross_per_px = 0


class Market:
    """One symbol: its price and everybody's exposure in it.

    Attributes:
        instrument: its scales.
        bounds: its limits.
        lane: its latest market event.
        px: the price that the totals are valued at, in price units.
        seen: the market event that gave it.
        fine: fine units of one price unit times one quantity unit.
        exposures: by strategy; those that are not idle. ``all`` has the idle ones too.
        worst_qty: unsigned worst-case quantity, all strategies.
        low: prices above it and below ``high`` can set off no alarm.
        high: the other end.
        grant: the loss that this band allows for, in fine units.
        is_stale: whether it waits to be marked, for a price inside the band.
        bids: prices of own working buy limit orders, ascending (``asks`` likewise of sells).
        is_halted: whether trading in it is halted.
        is_fed: whether its prices come; when not, the latest is too old for any order.
        is_watched: whether its market events are heard.
        warned: whether the size of the position has been warned about.
    """

    __slots__ = (
        "_resting", "all", "asks", "bids", "bounds", "exposures", "fine", "grant", "high",
        "instrument", "is_fed", "is_halted", "is_stale", "is_watched", "lane", "low", "px",
        "sector", "seen", "warned", "worst_qty",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, bounds: SymbolBounds, fine: int) -> None:
        self.instrument = instrument
        self.bounds = bounds
        self.fine = fine
        self.sector: Total | None = None
        self.lane: LatestEvent | None = None
        self.px = 0
        self.seen: Any = None
        self.exposures: dict[str, Exposure] = {}
        self.all: dict[str, Exposure] = {}
        self.worst_qty = 0
        self.low, self.high = FAR, -FAR  # nothing is inside
        self.grant = 0
        self.is_stale = False
        self.bids: list[int] = []
        self.asks: list[int] = []
        self._resting: dict[str, tuple[list[int], list[int]]] = {}
        self.is_halted = False
        self.is_fed = True
        self.is_watched = False
        self.warned = False

    def rest(self, order_id: str, side: Side, px: int) -> None:
        """Note a price at which an own order works, or may come to."""
        ladder = self.bids if side is _BUY else self.asks
        insort(ladder, px)
        self._resting.setdefault(order_id, (ladder, []))[1].append(px)

    def unrest(self, order_id: str) -> None:
        """Forget the prices of an order; one that has none is ignored."""
        ladder, prices = self._resting.pop(order_id, _NOWHERE)
        for px in prices:
            del ladder[bisect_left(ladder, px)]


_NOWHERE: tuple[list[int], list[int]] = ([], [])


Measured = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""The exposure of an order: ``buys`` to ``equity`` of CheckInputs."""


class ExposureBook:
    """Exposure of one account.

    Args:
        instruments: scales by symbol.
        bounds_of: limits of each symbol.
        cash: opening cash, in cash units.
        maintenance_ppm: maintenance margin of the account.

    Attributes:
        latest: gives the view of a symbol's latest market event; set before the first use.
        grain: fine units of a cash unit.
        cash: cash of the account, in cash units.
        account: its totals.
        strategies: totals of each strategy.
        active: the symbols that have exposure.
        stale: those of them that wait to be marked.
    """

    latest: Callable[[str], LatestEvent]

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        bounds_of: Callable[[Instrument], SymbolBounds],
        cash: int,
        maintenance_ppm: int,
    ) -> None:
        self.grain = max((i.cash_scale()[1] for i in instruments.values()), default=1)
        self.cash = cash
        self.account = Total("", cash * self.grain, maintenance_ppm)
        self.strategies: dict[str, Total] = {}
        self.active: dict[str, Market] = {}
        self.stale: list[Market] = []
        self._granted = 0
        self._is_alert = False
        self._sectors: dict[str, Total] = {}
        self.markets = {s: self._market(i, bounds_of(i)) for s, i in instruments.items()}

    def _market(self, instrument: Instrument, bounds: SymbolBounds) -> Market:
        factor, divisor = instrument.cash_scale()
        market = Market(instrument, bounds, factor * (self.grain // divisor))
        if instrument.sector is not None:
            market.sector = self._sectors.setdefault(instrument.sector, Total(instrument.sector))
        return market

    def strategy(self, strategy_id: str) -> Total:
        """Give a strategy's totals."""
        total = self.strategies.get(strategy_id)
        if total is None:
            total = self.strategies[strategy_id] = Total(strategy_id)
        return total

    def exposure(self, market: Market, strategy_id: str) -> Exposure:
        """Give a strategy's exposure in a symbol; an idle one is in no total yet."""
        found = market.all.get(strategy_id)
        if found is None:
            totals = [self.account, self.strategy(strategy_id)]
            if market.sector is not None:
                totals.append(market.sector)
            found = market.all[strategy_id] = Exposure(market, tuple(totals))
        return found

    def cash_units(self, fine: int) -> int:
        """Turn fine units into cash units, rounded half to even."""
        return fine if self.grain == 1 else div_half_even(fine, self.grain)

    # What is held and works.

    def resize(self, strategy_id: str, exposure: Exposure) -> None:
        """Carry changed quantities of an exposure into the totals."""
        market, quantity = exposure.market, exposure.quantity
        longest, shortest = quantity + exposure.buys, exposure.sells - quantity
        worst = longest if longest > shortest else shortest
        market.worst_qty += worst - exposure.worst_qty
        exposure.worst_qty = worst
        fine, px = market.fine, market.px
        held_per_px, worst_per_px = quantity * fine, worst * fine
        gross_per_px = held_per_px if quantity >= 0 else -held_per_px
        held = (held_per_px - exposure.held_per_px) * px
        more = (worst_per_px - exposure.worst_per_px) * px
        gross = (gross_per_px - exposure.gross_per_px) * px
        exposure.held_per_px = held_per_px
        exposure.worst_per_px = worst_per_px
        exposure.gross_per_px = gross_per_px
        for total in exposure.totals:
            total.equity += held
            total.worst += more
            total.gross += gross
        if quantity or exposure.buys or exposure.sells:
            market.exposures[strategy_id] = exposure
            self.active[market.instrument.symbol] = market
        elif market.exposures.pop(strategy_id, None) is not None and not market.exposures:
            del self.active[market.instrument.symbol]

    def pay(self, exposure: Exposure, cash: int) -> None:
        """Take in the account's cash after a fill of an exposure, in cash units."""
        change = (cash - self.cash) * self.grain
        self.cash = cash
        account, strategy = exposure.totals[0], exposure.totals[1]
        account.equity += change
        strategy.equity += change

    # What it is worth.

    def mark(self, market: Market, event: Any) -> bool:
        """Value a symbol at a market event; say whether an alarm went off."""
        px = event.close_px if type(event) is Bar else event.last_px
        market.seen = event
        move = px - market.px
        if not move:
            return False
        market.px = px
        rings = False
        for exposure in market.exposures.values():
            gain = exposure.held_per_px * move
            worst = exposure.worst_per_px * move
            gross = exposure.gross_per_px * move
            for total in exposure.totals:
                total.equity += gain
                total.worst += worst
                total.gross += gross
            if gain < 0:
                rings = rings or self._rings(exposure.totals)
            elif self._is_alert and gain > 0:
                rings = rings or any(t.equity > t.rearm for t in exposure.totals)
        return rings

    def _rings(self, totals: tuple[Total, ...]) -> bool:
        account, strategy = totals[0], totals[1]
        return (
            account.equity <= account.alarm
            or strategy.equity <= strategy.alarm
            or account.equity * PPM < account.gross * account.maintenance_ppm
        )

    def sync(self) -> bool:
        """Mark every symbol that waits for it; say whether an alarm went off."""
        rings = False
        for market in self.stale:
            market.is_stale = False
            event = None if market.lane is None else market.lane.last
            if event is not None and event is not market.seen and self.mark(market, event):
                rings = True
        self.stale.clear()
        return rings

    # How far prices may go before somebody must look.

    def grant(self, market: Market) -> bool:
        """Work out a symbol's band anew; say whether an alarm went off.

        Call it after a price has left the band, and after a quantity or the cash has changed.
        """
        if self._is_alert:
            market.low, market.high = FAR, -FAR
            return self._ring_any()
        self._granted -= market.grant
        market.grant = 0
        slack, count = self._slack(), len(self.active)
        share = slack // (2 * (count if count > GRANTS_MIN else GRANTS_MIN))
        if share > 0 and self._granted + share <= slack:
            self._give(market, share)
            return False
        return self.grant_all()

    def grant_all(self) -> bool:
        """Mark everything and work out every band anew; say whether an alarm went off."""
        rings = self.sync()
        totals = (self.account, *self.strategies.values())
        # While an alarm that has rung may have to be set again, every price is looked at.
        self._is_alert = any(total.rearm < NO_LIMIT for total in totals)
        self._granted = 0
        slack = max(self._slack(), 0)
        share = slack // (2 * max(len(self.active), GRANTS_MIN))
        for market in self.active.values():
            market.grant = 0
            if self._is_alert:
                market.low, market.high = FAR, -FAR
            else:
                self._give(market, share)
        return rings or self._ring_any()

    def _ring_any(self) -> bool:
        account = self.account
        totals = (account, *self.strategies.values())
        return any(self._rings((account, t)) or t.equity > t.rearm for t in totals)

    def _give(self, market: Market, share: int) -> None:
        long = short = 0
        for exposure in market.exposures.values():
            if exposure.quantity > 0:
                long += exposure.gross_per_px
            else:
                short += exposure.gross_per_px
        px = market.px
        width = share // (long + short) if long or short else 0
        # A price that goes our way can set off nothing.
        market.low = px - width if long else -FAR
        market.high = px + width if short else FAR
        if long or short:
            market.grant = share
            self._granted += share

    def _slack(self) -> int:
        """Give the loss, in fine units, that sets off the nearest alarm of all."""
        account = self.account
        slack = account.equity - account.alarm
        for total in self.strategies.values():
            distance = total.equity - total.alarm
            if distance < slack:
                slack = distance
        ppm = account.maintenance_ppm
        if ppm:
            # A loss takes from equity, and of a short adds to what must be covered too.
            covered = (account.equity * PPM - account.gross * ppm) // (PPM + ppm)
            if covered < slack:
                slack = covered
        return slack

    def measure(
        self, order: Order, exposure: Exposure, exempt: int, reserved: tuple[int, int]
    ) -> Measured:
        """Look at what an order would make of the exposure.

        Args:
            order: the order, not yet counted in the book; its symbol is marked.
            exposure: of its strategy in its symbol.
            exempt: above zero for an order that can only reduce: it changes nothing.
            reserved: value of working buys and of working sells, in cash units.
        """
        market, account = exposure.market, exposure.totals[0]
        quantity, px, fine = order.order_qty, market.px, market.fine
        own_px = price_at_stake(order, px)
        value = quantity * own_px * fine
        buys = order.side is _BUY
        short_after = more = 0
        if not exempt:
            if buys:
                after = exposure.quantity + exposure.buys + quantity
            else:
                after = exposure.sells - exposure.quantity + quantity
                if after > 0:
                    short_after = after + self._other_shorts(exposure)
            worst_qty = exposure.worst_qty
            if after > worst_qty:
                # A limit above the market can fill there: the worst price counts.
                more = after * (own_px if own_px > px else px) * fine - worst_qty * px * fine
        before = market.worst_qty * px * fine
        sector = 0 if market.sector is None else market.sector.worst + more
        amounts: tuple[int, ...] = (
            value, before, before + more, account.worst + more, sector,
            exposure.totals[1].worst + more, account.equity,
        )  # fmt: skip
        if self.grain != 1:
            amounts = tuple([div_half_even(amount, self.grain) for amount in amounts])
        value, before, position, worst, sector, strategy, equity = amounts
        held, reserving = equity - self.cash, 0 if exempt else value
        bought, sold = reserved
        if buys:
            bought += reserving
        else:
            sold += reserving
        long, short = held + bought, sold - held
        return (
            1 if buys else 0,
            value,
            short_after,
            before,
            position,
            worst,
            long if long > short else short,
            sector,
            self.cash - bought,
            strategy,
            equity,
        )

    def _other_shorts(self, exposure: Exposure) -> int:
        others = 0
        for other in exposure.market.exposures.values():
            if other is not exposure:
                others += max(other.sells - other.quantity, 0)
        return others
