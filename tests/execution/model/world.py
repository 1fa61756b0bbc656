"""A world for random tests: the engine with journal and gate, two exchanges of three venues, and the wires.

Everything may happen at any time: signals, fills, lost and repeated messages, dropped sessions, busts, and a
crash of the agent before or after any commit. After each step what must always hold is looked at against the
exchanges' own truth; at the end everything is settled, and the two records must agree.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from execution.engine import Due, OrderEngine
from execution.exchange.requests import CancelRequest, NewOrder, OrderType, ReplaceOrder, StatusRequest
from execution.killswitch import KillSwitch
from execution.limits import parse
from execution.market import MarketState
from execution.orders import OrderRecord
from execution.reconcile import compare
from execution.router import Router
from execution.venues import Report, ReportType
from execution.venues.simulated.protocol import decode
from tests.execution.model.agent import LIMITS, RULE, Crash, CrashingJournal, RandomRouter, smart_router
from tests.execution.model.venues import (
    CENT,
    CLIENT,
    GATEWAY_OF,
    GATEWAYS,
    REGISTRY,
    START_NS,
    SYMBOLS,
    VENUE,
    Exchanges,
    Request,
    Wire,
)
from tickloom.clock import NS_PER_MS, ReplayClock
from tickloom.errors import OrderStateError
from tickloom.events import OrderState, Signal, signal_id
from tickloom.prices import NANOS

#: Steps and how often each is taken.
WEIGHTS = {
    **{"signal": 14, "request": 26, "report": 34, "timer": 16, "replace": 9, "move": 5, "trade": 8},
    **{
        "lose_request": 2,
        "lose_answer": 2,
        "repeat": 3,
        "drop": 2,
        "log_on": 12,
        "bust": 3,
        "unsolicited": 2,
    },
    **{"reject": 1, "limits": 1, "halt": 1, "resume": 8, "crash": 3, "restart": 1},
}
#: Worlds in which what rests is changed and taken back again and again, and little else goes wrong.
RESTLESS = WEIGHTS | {
    **{"replace": 40, "bust": 14, "trade": 24, "report": 24, "log_on": 6, "halt": 0, "drop": 1, "crash": 1},
    **{"unsolicited": 0, "reject": 0, "restart": 0, "lose_request": 1},
}


class World:
    """See the module. Each method named ``do_...`` is one step."""

    def __init__(self, directory: Path, seed: int, router: Router | None = None) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.clock = ReplayClock(START_NS)
        self.market = MarketState()
        self.kill_switch = KillSwitch(directory)
        self.router: Router = router or self._router(self.rng.random())
        self.patience = self.rng.random()
        self.limit, self.revision = 150, 1  # two orders, and a little
        self.number = self.crashes = 0
        self.counts: Counter[str] = Counter()
        self.exchanges = Exchanges(directory, self.rng, self.clock, self.market)
        self.wires, self.traded = self.exchanges.wires, self.exchanges.traded
        self.amended: dict[tuple[str, str], int] = {}  # what the agent has booked of it since: nanos
        self.changed: set[str] = set()  # orders of which an execution was busted or corrected
        sides = ((symbol, sign) for symbol in SYMBOLS for sign in (1, -1))
        self.bounds = dict.fromkeys(sides, self._limit())
        self._start()

    def _router(self, chance: float) -> Router:
        """In half of the worlds one that splits anyhow, in some the agent's own, in the others none."""
        if chance < 0.3:
            return smart_router(self.market, self._connected, self._order)
        return RandomRouter(self.rng, on=chance < 0.75)

    def _order(self, order_id: str) -> OrderRecord | None:
        return self.engine.ledger.parents.get(order_id) or self.journal.order(order_id)

    def _limit(self) -> int:
        return self.limit * NANOS

    def _limits(self) -> str:
        tif = "ioc" if self.patience < 0.5 and self.router.routes(VENUE) else "day"
        return LIMITS.format(revision=self.revision, position=self.limit, time_in_force=tif)

    # --- the agent's life ----------------------------------------------------------------------

    def _start(self) -> None:
        self.journal = CrashingJournal(self.directory / "journal.db")
        self.engine = OrderEngine(
            journal=self.journal,
            registry=REGISTRY,
            limits=parse(self._limits().encode(), "limits", REGISTRY),
            market=self.market,
            clock=self.clock,
            kill_switch=self.kill_switch,
            enabled=True,
            connected=self._connected,
            gateways=tuple(GATEWAYS),
            gateway_of=lambda destination: GATEWAY_OF.get(destination, ""),
            router=self.router,
        )
        self.engine.recover()
        self._note_amended()
        for wire in self.wires.values():
            if self.rng.random() < 0.8:
                self._log_on(wire)

    def _connected(self, destination: str) -> bool:
        wire = self.wires.get(GATEWAY_OF.get(destination, ""))
        return wire is not None and wire.up

    def restart(self) -> None:
        """The agent dies and starts again; what was on the wires may have arrived, or not."""
        self.journal.close()
        for wire in self.wires.values():
            for _ in range(self.rng.randint(0, len(wire.to_venue))):
                self.exchanges.arrive(wire)
            wire.cut()
        self._start()

    def step(self, name: str) -> None:
        """One step, and what must hold after it."""
        self.counts[name] += 1
        try:
            step = getattr(self, f"do_{name}", None) or getattr(self.exchanges, name)
            step()
        except Crash:
            self.crashes += 1
            self.restart()
        self.check()

    # --- steps of the agent ----------------------------------------------------------------------

    def signal(self, symbol: str, side: str) -> Signal:
        """The next one, of now."""
        self.number += 1
        identity, now_ns = signal_id(RULE, "1", symbol, self.number, self.number), self.clock.now_ns()
        return Signal(
            *(identity, RULE, "1", symbol, side, 1.0, 1.0, self.number, self.number, VENUE, now_ns, now_ns)
        )

    def take(self, signal: Signal) -> None:
        """The agent takes a signal, and what leaves is on its way."""
        self._send(self.engine.on_signal(signal))

    def do_signal(self) -> None:
        one = self.signal(self.rng.choice((*SYMBOLS, "ALFA~BRVO")), self.rng.choice(("buy", "sell")))
        for _ in range(self.rng.choice((1, 1, 1, 2))):  # Kafka delivers at least once
            self.take(one)

    def do_timer(self) -> None:
        self.tick(self.rng.choice((100, 100, 500, 2_100)))

    def tick(self, ms: int) -> None:
        """So much time goes by."""
        self.clock.advance_by(ms * NS_PER_MS)
        self._due(self.engine.on_timer())

    def do_replace(self) -> None:
        working = [order for order in self.engine.open.values() if order.order_type == "limit"]
        if self.rng.random() < 0.9:  # mostly those that can be
            can = (OrderState.NEW, OrderState.PARTIALLY_FILLED)
            working = [order for order in working if order.state in can]
        if not working:
            return
        order = self.rng.choice(working)
        shares, cents = self.rng.randint(1, 100), self.rng.randint(-20, 20)
        try:
            price = order.limit_price + cents * CENT
            self.replace(order.order_id, shares * NANOS, price)
        except OrderStateError:
            self.counts["replace refused"] += 1

    def replace(self, order_id: str, quantity: int, price: int) -> None:
        """Somebody wants another order in the place of this one."""
        self._due(self.engine.replace(order_id, quantity, price, "model"))

    def do_limits(self) -> None:
        self.set_limit(self.rng.randint(60, 180))

    def set_limit(self, shares: int) -> None:
        """Another position limit of every instrument, while the agent trades."""
        self.revision, self.limit = self.revision + 1, shares
        self._bound()
        self.engine.on_limits(parse(self._limits().encode(), "limits", REGISTRY), "model", "random")

    def do_halt(self) -> None:
        self.kill_switch.halt("model", "random")

    def do_resume(self) -> None:
        self.kill_switch.resume()

    def do_crash(self) -> None:
        """One of the next commits is the last."""
        self.journal.left, self.journal.after = self.rng.randint(1, 6), self.rng.random() < 0.5

    def do_restart(self) -> None:
        raise Crash

    def _due(self, due: Due) -> None:
        self._send(due.send)
        for order in due.cancel:
            self._put(order, CancelRequest(order.order_id, order.sent_to, order.symbol, order.side))
        for order, original in due.replace:
            self._put(
                order,
                ReplaceOrder(
                    *(original.order_id, order.order_id, order.sent_to, order.symbol, order.side),
                    *(order.quantity, order.limit_price),
                ),
            )
        for order in due.ask:
            self._ask(order)

    def _send(self, orders: Sequence[OrderRecord]) -> None:
        for order in orders:
            self._put(
                order,
                NewOrder(
                    *(order.order_id, order.sent_to, order.symbol, order.side, order.quantity),
                    *(order.limit_price, order.time_in_force, OrderType(order.order_type)),
                    *(order.min_quantity, order.post_only),
                ),
            )

    def _ask(self, order: OrderRecord) -> None:
        self._put(order, StatusRequest(order.order_id, order.sent_to, order.symbol, order.side))

    def _put(self, order: OrderRecord, request: Request) -> None:
        wire = self.wires[GATEWAY_OF[order.sent_to]]
        if wire.up:
            wire.to_venue.append(request)

    # --- steps of the wires ----------------------------------------------------------------------

    def do_request(self) -> None:
        wire = self.exchanges.wire()
        for _ in range(self.rng.randint(1, 3)):
            self.exchanges.arrive(wire)

    def do_report(self) -> None:
        wire = self.exchanges.wire()
        count = min(self.rng.randint(1, 4), len(wire.to_agent))
        reports = [wire.to_agent.popleft() for _ in range(count)]
        if self.rng.random() < 0.5:
            self._tell(wire, reports)
            return
        for report in reports:
            self._tell(wire, [report])

    def do_lose_request(self) -> None:
        """It never arrives, and nobody is told."""
        wire = self.exchanges.wire()
        if wire.to_venue:
            del wire.to_venue[self.rng.randrange(len(wire.to_venue))]

    def do_lose_answer(self) -> None:
        """An answer without a number; those with one are told again at the next logon."""
        wire = self.exchanges.wire()
        if wire.to_agent and not wire.to_agent[0].report_seq:
            wire.to_agent.popleft()

    def do_repeat(self) -> None:
        """A numbered report once more."""
        wire = self.exchanges.wire()
        if wire.up and wire.told:
            self._tell(wire, [self.rng.choice(wire.told[-20:])])

    def do_drop(self) -> None:
        wire = self.exchanges.wire()
        if wire.up:
            wire.cut()
            self.engine.on_lost(wire.name, "dropped")

    def do_log_on(self) -> None:
        wire = self.exchanges.wire()
        if not wire.up:
            self._log_on(wire)

    def _log_on(self, wire: Wire) -> None:
        session, last = self.engine.last_report(wire.name)
        wire.up = True
        last = last if session == wire.record.session else 0
        for line in wire.record.reports_after(CLIENT, last):
            report = decode(line)
            assert isinstance(report, Report)
            wire.to_agent.append(report)
        for order in self.engine.on_session(wire.name, wire.record.session):
            self._ask(order)

    def _tell(self, wire: Wire, reports: Sequence[Report]) -> None:
        """Reports that came together are one transaction."""
        with self.journal.transaction():
            orders = [order for report in reports for order in self.engine.on_report(report, wire.name)]
        # only now: what a crash undid comes again in its order, and not one of it ahead of the others
        wire.told.extend(report for report in reports if report.report_seq)
        self._send(orders)
        amendments = (ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED)
        if any(report.report_type in amendments for report in reports):
            self._note_amended()

    def _note_amended(self) -> None:
        """A venue's own change of what was traded is in no limit's power."""
        for change in self.journal.execution_changes():
            self.amended[(change.destination, change.execution_id)] = change.quantity
            found = self.journal.execution(change.destination, change.execution_id)
            self.changed |= {found[1].order_id} if found else set()
        self._bound()

    # --- what must hold --------------------------------------------------------------------------

    def exposure(self) -> dict[tuple[str, int], int]:
        """(symbol, +1 or -1) to the worst case on that side, from the exchanges and the wires: nanos."""
        found = dict.fromkeys(self.bounds, 0)
        for key, (symbol, signed) in self.traded.items():
            now = self.amended.get(key, abs(signed)) * (1 if signed > 0 else -1)
            found[(symbol, 1)] += now
            found[(symbol, -1)] -= now
        for wire in self.wires.values():
            for order in wire.matching.orders.values():
                if order.leaves:
                    found[(order.symbol, 1 if order.side == "buy" else -1)] += order.leaves
            for request in wire.to_venue:
                side = 1 if request.side == "buy" else -1
                if isinstance(request, NewOrder):
                    found[(request.symbol, side)] += request.quantity
                elif isinstance(request, ReplaceOrder):
                    old = wire.matching.orders.get(request.original_order_id)
                    if old is not None and old.leaves:
                        found[(request.symbol, side)] += max(0, request.quantity - old.quantity)
        return found

    def _bound(self) -> None:
        """What is there already stays there when a limit shrinks, or the venue changes what was traded."""
        for key, worst in self.exposure().items():
            self.bounds[key] = max(self._limit(), worst)

    def check(self) -> None:
        """After every step."""
        for (symbol, sign), worst in self.exposure().items():
            bound = self.bounds[(symbol, sign)]
            assert worst <= bound, f"{symbol} {sign}: {worst / NANOS} past {bound / NANOS}"
            self.bounds[(symbol, sign)] = max(self._limit(), min(bound, worst))
        engine, held = self.engine, Counter[tuple[str, str]]()
        for order in engine.ledger.held_orders():
            held[(order.symbol, order.side)] += order.leaves
        for symbol in SYMBOLS:
            position, buys, sells = engine.risk.position(VENUE, symbol)
            assert position == engine.portfolio.firm.quantity(VENUE, symbol)
            assert (buys, sells) == (held[(symbol, "buy")], held[(symbol, "sell")]), symbol
        for parent in engine.ledger.parents.values():
            self._check_parent(parent)

    def _check_parent(self, parent: OrderRecord) -> None:
        children = self.engine.ledger.children(parent.order_id)
        replaced = {child.order_id for child in children if child.state is OrderState.REPLACED}
        filled = sum(  # what replaced another order has filled what that had; until it has, that counts
            child.filled_quantity
            for child in children
            if child.order_id not in replaced
            and (not child.original_order_id or child.original_order_id in replaced)
        )
        assert parent.filled_quantity == filled, (parent, children)
        held = sum(self.engine.ledger.held(child).leaves for child in children)
        assert parent.filled_quantity + held + self.engine.ledger.unrouted(parent) >= parent.quantity
        if not self.changed & {child.order_id for child in children}:  # else it is the venue's doing
            assert parent.filled_quantity + held <= parent.quantity, (parent, children)

    def check_journal(self) -> None:
        """Positions are the sum of the executions that stand, each order's fills those of its own."""
        sums: Counter[str] = Counter()
        for _, execution in self.journal.executions():
            sums[execution.symbol] += execution.quantity * (1 if execution.side == "buy" else -1)
        for symbol in SYMBOLS:
            assert sums[symbol] == self.engine.portfolio.firm.quantity(VENUE, symbol)
        known = {order.order_id for order in self.journal.orders()}
        for wire in self.wires.values():
            assert set(wire.matching.orders) <= known

    def settle(self) -> None:
        """Everything answers, nothing crashes, the kill switch is on: then all is known, and all agrees."""
        self.journal.left = 0
        self.kill_switch.halt("model", "the end")
        for _ in range(30):
            self.pump()
            if not self.engine.open and not self.engine.ledger.parents:
                break
            self.tick(2_100)
        self.check()
        self.check_journal()
        left = [(order.order_id, order.state, order.reason) for order in self.engine.open.values()]
        assert not left, left
        assert not self.engine.ledger.parents
        for wire in self.wires.values():
            for destination in GATEWAYS[wire.name]:
                found = compare(
                    self.directory / "journal.db", self.directory / f"{wire.name}.db", destination
                )
                assert found.differences == [], found.differences

    def pump(self) -> None:
        """All sessions are up, and everything that is on the wires arrives."""
        for wire in self.wires.values():
            if not wire.up:
                self._log_on(wire)
        while any(wire.to_venue or wire.to_agent for wire in self.wires.values()):
            for wire in self.wires.values():
                self.exchanges.arrive(wire)
                while wire.to_agent:
                    self._tell(wire, [wire.to_agent.popleft()])

    def close(self) -> None:
        self.journal.close()
        for wire in self.wires.values():
            wire.record.close()
