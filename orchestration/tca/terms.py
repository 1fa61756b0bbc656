"""The words of cost analysis as values. Prices, quantities, fees: int64 nanos; money: units of 1e-18; times:
ns.

A cost is above 0 when it was paid, below when it was gained, whatever the side.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: How long after a fill the mid is looked at.
HORIZONS_S = (1, 10, 60, 300)
#: Of the realised spread: five minutes, as in SEC Rule 605 (17 CFR 242.600, "average realized spread").
REALISED_S = 300
BPS = 10_000
ADDED = "added"  # LastLiquidityInd (FIX 851) 1, in words; "removed" is 2


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution as it stands. ts: the venue's clock; ts_recv: ours. liquidity: ADDED, REMOVED or
    empty."""

    execution_id: str
    order_id: str
    destination: str
    price: int
    quantity: int
    fee: int
    liquidity: str
    ts: int
    ts_recv: int


@dataclass(frozen=True, slots=True)
class Parent:
    """What was decided as one. ts_signal: event time of the match, 0 without a signal; ts_sent, ts_ended: our
    clock, ts_ended 0 while it is open."""

    order_id: str
    signal_id: str
    rule: str
    venue: str
    symbol: str
    side: str
    quantity: int
    ts_signal: int
    ts_sent: int
    ts_ended: int
    state: str
    fills: tuple[Fill, ...] = ()

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def filled(self) -> int:
        return sum(fill.quantity for fill in self.fills)

    @property
    def filled_value(self) -> int:
        """Sum of quantity times price."""
        return sum(fill.quantity * fill.price for fill in self.fills)


@dataclass(frozen=True, slots=True)
class Touch:
    """Best bid and offer at a moment, both there and not crossed. ts: of the quote, event time."""

    bid: int
    ask: int
    ts: int

    @property
    def mid(self) -> int:
        """Half a nano rounded down, as the agent marks."""
        return (self.bid + self.ask) // 2

    @property
    def spread(self) -> int:
        return self.ask - self.bid


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Implementation shortfall and what it is made of, exactly.

    Attributes
    ----------
    delay : int
        Between the signal and the sending, on the whole quantity.
    market : int
        Between the sending and each fill: the market's move, and our impact on it.
    spread : int
        From the mid at each fill to its price.
    opportunity : int
        On what was not filled, between the sending and the order's end.
    fees : int
        Less rebates.
    """

    delay: int
    market: int
    spread: int
    opportunity: int
    fees: int

    @property
    def total(self) -> int:
        return self.delay + self.market + self.spread + self.opportunity + self.fees

    @property
    def execution(self) -> int:
        """Perold's execution cost: what fills cost against the mid at the sending."""
        return self.market + self.spread


#: The components in the order in which they are shown.
COMPONENTS = ("delay", "market", "spread", "opportunity", "fees")


@dataclass(frozen=True, slots=True)
class FillCost:
    """A fill beside the market. All in basis points; None where the market of that moment is not known.

    Attributes
    ----------
    effective_bps : float
        Effective spread: twice the distance from the mid.
    quoted_bps : float
        The spread that was quoted.
    capture : float or None
        Share of the quoted spread that was earned: 0 at the far touch, 1 at the near one, below 0 beyond.
    realised_bps : float or None
        Twice the distance to the mid after REALISED_S.
    markouts_bps : dict
        Horizon to how far the mid went our way from the price by then.
    early : bool
        The venue's time of the fill is before the order was sent: its clock, or its feed, is behind.
    """

    fill: Fill
    touch: Touch
    effective_bps: float
    quoted_bps: float
    capture: float | None
    realised_bps: float | None
    markouts_bps: dict[int, float | None]
    early: bool


@dataclass(frozen=True, slots=True)
class OrderCost:
    """A parent order's costs.

    Attributes
    ----------
    decision, arrival, end : Touch
        The market at the signal, at the sending, and when the order had ended.
    sent_ns, end_ns : int
        When it was sent and had ended, by the venue's clock.
    shortfall : Shortfall
    vwap, day_vwap, close : int or None
        Volume-weighted price between sending and end, that of the day, and the day's last price: nanos.
    interval_volume : int
        Traded between sending and end, nanos.
    impact_bps, model_bps : float or None
        What the fills paid beyond half the spread, and what the model says of such a quantity; None without
        fills.
    """

    parent: Parent
    decision: Touch
    arrival: Touch
    end: Touch
    sent_ns: int
    end_ns: int
    shortfall: Shortfall
    vwap: int | None
    day_vwap: int | None
    close: int | None
    interval_volume: int
    impact_bps: float | None
    model_bps: float | None
    fills: tuple[FillCost, ...] = ()

    @property
    def notional(self) -> int:
        """What was decided on: quantity at the decision's mid, in units of 1e-18."""
        return self.parent.quantity * self.decision.mid

    def bps(self, cost: int) -> float:
        """Money (1e-18) in basis points of the notional."""
        return cost * BPS / self.notional if self.notional else 0.0

    def against(self, benchmark: int | None) -> float | None:
        """The average fill price against a benchmark price (nanos), basis points; None without either."""
        filled = self.parent.filled
        if not filled or not benchmark:
            return None
        over = self.parent.filled_value - filled * benchmark
        return self.parent.sign * over * BPS / (filled * benchmark)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An order that could not be costed, and why."""

    order_id: str
    symbol: str
    why: str


@dataclass(slots=True)
class DayCosts:
    """A venue's day."""

    day: str
    venue: str
    currency: str
    orders: list[OrderCost] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
