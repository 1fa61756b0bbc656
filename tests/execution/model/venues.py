"""The exchanges of the model, the wires to them, and the market that all of them follow."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from execution.exchange.matching import MatchingEngine, Outcome
from execution.exchange.profile import DarkModel, FeeTable, VenueProfile
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import CancelRequest, NewOrder, ReplaceOrder, StatusRequest
from execution.market import MarketState
from execution.venues import Report, ReportType
from tickloom import topics
from tickloom.clock import ReplayClock
from tickloom.codec import TickBatch
from tickloom.events import (
    DELTA_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    Side,
    StatusCode,
    SymbolTable,
)
from tickloom.instruments import Registry
from tickloom.prices import NANOS

CLIENT, VENUE = "TICKLOOM", "XNAS"
START_NS = 1_795_262_400_000_000_000  # 2026-11-21 12:00 UTC
SYMBOLS = ("ALFA", "BRVO")
GATEWAYS = {"one": ("XNAS",), "two": ("XTWO", "DARK")}
GATEWAY_OF = {destination: name for name, venues in GATEWAYS.items() for destination in venues}
PROFILES = {
    "XNAS": VenueProfile("XNAS", fees=FeeTable(maker=-2_000_000, taker=3_000_000)),
    "XTWO": VenueProfile("XTWO", feed="XNAS", displayed_share=0.5, reject_share=0.02),
    "DARK": VenueProfile("DARK", feed="XNAS", kind="dark", dark=DarkModel(probability=0.5)),
}
CENT = NANOS // 100
REGISTRY = Registry.load()
Request = NewOrder | CancelRequest | ReplaceOrder | StatusRequest


@dataclass
class Wire:
    """A session between the agent and an exchange; messages keep their order, or are gone with it."""

    name: str
    matching: MatchingEngine
    record: ExchangeRecord
    up: bool = False
    to_venue: deque[Request] = field(default_factory=deque)
    to_agent: deque[Report] = field(default_factory=deque)
    told: list[Report] = field(default_factory=list)

    def cut(self) -> None:
        self.up = False
        self.to_venue.clear()
        self.to_agent.clear()


class Exchanges:
    """Both exchanges behind their wires, and all that they have traded.

    Attributes
    ----------
    traded : dict of (venue, execution id) to (symbol, int)
        As it was traded first: signed nanos.
    """

    def __init__(self, directory: Path, rng: random.Random, clock: ReplayClock, market: MarketState) -> None:
        self.rng, self.clock, self.market = rng, clock, market
        self.seq = 0
        self.wires = {name: _exchange(directory, name) for name in GATEWAYS}
        self.traded: dict[tuple[str, str], tuple[str, int]] = {}
        self._order_of: dict[tuple[str, str], str] = {}
        self.bids = {symbol: REGISTRY.instruments[(VENUE, symbol)].reference - CENT for symbol in SYMBOLS}
        for symbol in SYMBOLS:
            self._display(symbol, self.bids[symbol], opening=True)
        for wire in self.wires.values():
            wire.matching.go_live(START_NS)

    def wire(self) -> Wire:
        """Any."""
        return self.wires[self.rng.choice(tuple(GATEWAYS))]

    def arrive(self, wire: Wire) -> None:
        if not wire.to_venue:
            return
        request, matching, now_ns = wire.to_venue.popleft(), wire.matching, self.clock.now_ns()
        match request:
            case NewOrder():
                assert request.order_id not in matching.orders, f"{request.order_id} came twice"
                self.settle(wire, matching.submit(CLIENT, request, now_ns))
            case ReplaceOrder():
                assert request.order_id not in matching.orders, f"{request.order_id} came twice"
                self.settle(wire, matching.replace(request, now_ns))
            case CancelRequest():
                self.settle(wire, matching.cancel(request, now_ns))
            case StatusRequest():
                self.settle(wire, matching.status(request, now_ns))

    def settle(self, wire: Wire, outcome: Outcome) -> None:
        told = [report for _, report in wire.record.write(outcome)]
        for report in told:
            if report.report_type is ReportType.TRADE:
                signed = report.last_quantity * (1 if report.side == "buy" else -1)
                self.traded[(report.venue, report.execution_id)] = (report.symbol, signed)
                self._order_of[(report.venue, report.execution_id)] = report.order_id
        if outcome.answer is not None:
            told.append(outcome.answer)
        if wire.up:
            wire.to_agent.extend(told)

    def bust(self) -> None:
        wire = self.wire()
        found = [key for key in self.traded if GATEWAY_OF[key[0]] == wire.name]
        orders = wire.matching.orders
        of_live = [key for key in found if orders[self._order_of[key]].leaves]
        if of_live and self.rng.random() < 0.7:  # those that still change are the harder ones
            found = of_live
        if not found:
            return
        _, execution_id = self.rng.choice(found)
        if self.rng.random() < 0.5:
            outcome = wire.matching.bust(execution_id, self.clock.now_ns())
        else:
            quantity, price = self.rng.randint(1, 50) * NANOS, self.rng.randint(100, 200) * NANOS
            outcome = wire.matching.correct(execution_id, quantity, price, self.clock.now_ns())
        self.settle(wire, outcome)

    def unsolicited(self) -> None:
        wire = self.wire()
        live = [order.order_id for order in wire.matching.orders.values() if order.leaves]
        if live:
            order_id = self.rng.choice(live)
            self.settle(wire, wire.matching.cancel_unsolicited(order_id, "supervisory", self.clock.now_ns()))

    def reject(self) -> None:
        self.wire().matching.reject_next(self.rng.choice(tuple(GATEWAY_OF)), 1)

    def move(self) -> None:
        symbol = self.rng.choice(SYMBOLS)
        self._display(symbol, self.bids[symbol] + self.rng.randint(-10, 10) * CENT)

    def trade(self) -> None:
        symbol, side = self.rng.choice(SYMBOLS), self.rng.choice((Side.BUY, Side.SELL))
        price = self.bids[symbol] + self.rng.randint(-20, 20) * CENT
        self.trade_at(symbol, price, self.rng.randint(1, 60), side)

    def trade_at(self, symbol: str, price: int, shares: int, side: Side) -> None:
        """The market trades: price in nanos, side of who took."""
        row = (*self._head(), price, shares * NANOS, 0, side, 0)
        self._feed(EventBlock(VENUE, "S", SymbolTable([symbol]), trades=np.array([row], dtype=TRADE_DTYPE)))

    def _head(self) -> tuple[int, int, int, int]:
        self.seq += 1
        return self.clock.now_ns(), self.clock.now_ns(), self.seq, 1

    def _display(self, symbol: str, bid: int, opening: bool = False) -> None:
        """Two levels of 40 shares on each side, two cents wide."""
        table, deltas = SymbolTable([symbol]), []
        for base, size in ((self.bids[symbol], 0), (bid, 40 * NANOS)):
            for depth in (0, 1):
                deltas.append((*self._head(), base - depth * CENT, size, 0, Side.BUY))
                deltas.append((*self._head(), base + (2 + depth) * CENT, size, 0, Side.SELL))
        self.bids[symbol] = bid
        quote = (*self._head(), bid, 40 * NANOS, bid + 2 * CENT, 40 * NANOS, 0)
        kinds = {
            "deltas": np.array(deltas, dtype=DELTA_DTYPE),
            "quotes": np.array([quote], dtype=QUOTE_DTYPE),
        }
        if opening:
            status = (*self._head(), StatusCode.TRADING, b"T")
            kinds["statuses"] = np.array([status], dtype=STATUS_DTYPE)
        self._feed(EventBlock(VENUE, "S", table, **kinds))  # type: ignore[arg-type]

    def _feed(self, block: EventBlock) -> None:
        now_ns = self.clock.now_ns()
        shard = topics.shard(block.symbols.names[1], 2)
        self.market.apply(TickBatch(shard, self.seq, self.seq, now_ns, block), now_ns)
        for wire in self.wires.values():
            self.settle(wire, wire.matching.apply(block, now_ns))


def _exchange(directory: Path, name: str) -> Wire:
    profiles = {venue: PROFILES[venue] for venue in GATEWAYS[name]}
    return Wire(name, MatchingEngine(REGISTRY, [], 0, profiles), ExchangeRecord(directory / f"{name}.db"))
