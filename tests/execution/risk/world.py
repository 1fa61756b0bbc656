"""A small book for tests of the gate: ALFA and BRVO at a mid of 100, lots of one nano, two rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from execution.limits import Limits, parse
from execution.orders import OrderRecord
from execution.risk import Check, Level, RiskBook, RiskGate, Verdict
from execution.sizing import OrderIntent
from tickloom.events import Execution, OrderState
from tickloom.instruments import Instrument, Registry, Venue
from tickloom.prices import NANOS
from tickloom.records import replace

MS = 1_000_000
NOW = 1_800_000_000 * NANOS
BID, ASK = 99 * NANOS, 101 * NANOS
INTENT = OrderIntent("ID", "signal", 0, "rule", "XNAS", "ALFA", "buy", 100 * NANOS, 101 * NANOS, "ioc")
TABLES = {Level.FIRM: "firm", Level.STRATEGY: "rules.rule", Level.INSTRUMENT: 'instruments."XNAS.ALFA"'}
SCOPES = {Level.FIRM: "firm", Level.STRATEGY: "rule", Level.INSTRUMENT: "XNAS ALFA"}
#: So wide that nothing is refused for them.
WIDE: dict[str, dict[str, str]] = {
    "firm": {"daily_loss_max": '"1000000"'},
    "rules.rule": {
        "notional": '"10000"',
        "signal_age_ms_max": "3600000",
        "event_age_ms_max": "3600000",
        "daily_loss_max": '"1000000"',
    },
    "rules.other": {
        "notional": '"10000"',
        "signal_age_ms_max": "3600000",
        "event_age_ms_max": "3600000",
        "daily_loss_max": '"1000000"',
    },
    "instruments.default": {
        "position_notional_max": '"100000000"',
        "order_notional_max": '"100000000"',
        "collar_bps": "10000",
        "quote_age_ms_max": "3600000",
        "feed_age_ms_max": "3600000",
    },
    'instruments."XNAS.ALFA"': {},
}


def registry(lot: int = 1) -> Registry:
    venues = {code: Venue(code, "", "itch", "UTC", "USD") for code in ("XNAS", "XBOS")}
    names = [("XNAS", "ALFA"), ("XNAS", "BRVO"), ("XBOS", "ALFA")]
    return Registry(venues, [Instrument(venue, name, name, "equity", 1, lot, 0) for venue, name in names])


def limits(tables: dict[str, dict[str, str]] | None = None, revision: int = 1) -> Limits:
    """The wide limits, with some keys of some tables otherwise."""
    lines = ["version = 1", f"revision = {revision}"]
    for name in dict.fromkeys([*WIDE, *(tables or {})]):
        lines.append(f"[{name}]")
        entries = {**WIDE.get(name, {}), **(tables or {}).get(name, {})}
        lines += [f"{key} = {value}" for key, value in entries.items()]
    return parse("\n".join(lines).encode(), "limits", registry())


@dataclass
class World:
    """A book and its gate, quoted and quiet."""

    book: RiskBook
    gate: RiskGate
    now_ns: int = NOW
    orders: int = 0
    seq: int = 0

    def quote(
        self, symbol: str = "ALFA", bid: int = BID, ask: int = ASK, ts: int = NOW, venue: str = "XNAS"
    ) -> None:
        self.seq += 1
        self.book.market.quote(venue, symbol, (bid, NANOS, ask, NANOS, ts, ts, self.seq), 0)
        self.book.market.touch(venue, 0, ts, ts, 0, False)

    def order(self, leaves: int = NANOS, **changes: Any) -> OrderRecord:
        """Have an order of BRVO open that stands far from the market, unless ``changes`` say otherwise."""
        self.orders += 1
        base: dict[str, Any] = {
            "order_id": f"O{self.orders}", "signal_id": "", "leg": 0, "rule": "rule", "venue": "XNAS",
            "symbol": "BRVO", "side": "buy", "quantity": leaves, "limit_price": NANOS, "time_in_force": "day",
            "state": OrderState.NEW, "ts_created": 0, "ts": 0,
        }  # fmt: skip
        order = OrderRecord(**{**base, **changes})
        self.book.on_order(order)
        return order

    def fill(
        self, side: str, quantity: int, price: int, symbol: str = "ALFA", rule: str = "rule", fee: int = 0
    ) -> None:
        execution = Execution("E", "O", "XNAS", symbol, side, price, quantity, 0, 0)
        self.book.on_fill(rule, execution, fee)

    def message(self, symbol: str = "ALFA", rule: str = "rule", ts: int = NOW) -> None:
        self.book.on_message(rule, "XNAS", symbol, ts)

    def check(self, intent: OrderIntent = INTENT, **context: Any) -> Verdict:
        times = {"now_ns": self.now_ns, "ts_signal": NOW, "ts_event": NOW, **context}
        return self.gate.check(intent, **times)


def world(tables: dict[str, dict[str, str]] | None = None) -> World:
    book = RiskBook(registry(), limits(tables))
    found = World(book, RiskGate(book))
    for symbol in ("ALFA", "BRVO"):
        found.quote(symbol)
    found.book.mark()
    return found


def intent(
    quantity: int = 100 * NANOS, price: int = 101 * NANOS, side: str = "buy", rule: str = "rule"
) -> OrderIntent:
    return replace(INTENT, quantity=quantity, limit_price=price, side=side, rule=rule)


def refused(verdict: Verdict) -> tuple[Check, Level] | None:
    return (verdict.check, verdict.level) if verdict.check and verdict.level is not None else None
