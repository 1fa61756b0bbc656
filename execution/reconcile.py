"""The agent's journal against the exchange's own record; every difference, out. Reads, changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from execution.destinations import SIMULATED, Connectivity
from execution.exchange.matching import VenueOrder
from execution.exchange.record import ExchangeRecord
from execution.journal import Journal
from execution.orders import TERMINAL, OrderRecord
from execution.ouch.values import CLIENT_ORDER_ID_LENGTH
from execution.positions import PositionBook
from tickloom.events import Execution, OrderState
from tickloom.prices import format_nanos
from tickloom.records import replace


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the two sides do not agree on. agent, exchange: what each says, as text."""

    venue: str
    symbol: str
    what: str
    agent: str
    exchange: str

    def as_row(self) -> dict[str, str]:
        """The difference for a table or a check's metadata."""
        return {
            "venue": self.venue,
            "symbol": self.symbol,
            "what": self.what,
            "agent": self.agent,
            "exchange": self.exchange,
        }


@dataclass(slots=True)
class Comparison:
    """What was compared (counts on the agent's side) and what differs."""

    differences: list[Difference] = field(default_factory=list)
    orders: int = 0
    executions: int = 0
    positions: int = 0


def compare_market(data_dir: Path, market: str, connectivity: Connectivity) -> Comparison:
    """Compare the agent's journal with the records of all the exchanges where a market's orders may go.

    Destinations behind a gateway that is no simulated exchange of this machine keep no record here, and are
    left out.

    Raises
    ------
    JournalError
        The journal or one of the records is not there or cannot be read.
    """
    total = Comparison()
    for destination in connectivity.destinations.of(market):
        gateway = connectivity.gateways[destination.gateway]
        if not gateway.exchange and gateway.kind != SIMULATED:
            continue
        record = data_dir / "exchange" / f"{gateway.exchange or 'exchange'}.db"
        found = compare(data_dir / "execution" / "journal.db", record, destination.name)
        total.differences += found.differences
        total.orders += found.orders
        total.executions += found.executions
        total.positions += found.positions
    return total


def compare(journal: Path, exchange: Path, venue: str) -> Comparison:
    """Compare the orders sent to one venue, what they executed there, and the positions that made.

    Parameters
    ----------
    venue : str
        The destination of the orders, which is the venue's own name in its record.
    journal : Path
        The agent's journal, ``<data_dir>/execution/journal.db``.
    exchange : Path
        The exchange's record, ``<data_dir>/exchange/exchange.db``.

    Raises
    ------
    JournalError
        One of the two is not there or cannot be read.
    """
    ours, theirs = Journal(journal, read_only=True), ExchangeRecord(exchange, read_only=True)
    try:
        return compare_records(
            venue,
            ours.orders_sent_to(venue),
            [execution for _, execution in ours.executions(destination=venue)],
            theirs.orders(venue),
            theirs.executions(venue),
        )
    finally:
        ours.close()
        theirs.close()


def compare_records(
    venue: str,
    orders: list[OrderRecord],
    executions: list[Execution],
    venue_orders: list[VenueOrder],
    venue_executions: list[Execution],
) -> Comparison:
    """The comparison itself, over what was read. Pure."""
    whole = _whole_ids(orders, venue_orders)
    venue_orders = [replace(one, order_id=whole.get(one.order_id, one.order_id)) for one in venue_orders]
    venue_executions = [
        replace(one, order_id=whole.get(one.order_id, one.order_id)) for one in venue_executions
    ]
    ours, theirs = _positions(executions), _positions(venue_executions)
    result = Comparison(orders=len(orders), executions=len(executions))
    result.positions = sum(1 for quantity in ours.values() if quantity)
    _orders(result, venue, orders, venue_orders)
    _executions(result, venue, executions, venue_executions)
    for symbol in sorted(ours.keys() | theirs.keys()):
        if ours.get(symbol, 0) != theirs.get(symbol, 0):
            mine, other = format_nanos(ours.get(symbol, 0)), format_nanos(theirs.get(symbol, 0))
            result.differences.append(Difference(venue, symbol, "position", mine, other))
    return result


def _whole_ids(orders: list[OrderRecord], venue_orders: list[VenueOrder]) -> dict[str, str]:
    """Our ids of the orders that a venue was told in fewer characters (OUCH)."""
    short = {order.order_id[:CLIENT_ORDER_ID_LENGTH]: order.order_id for order in orders}
    cut = [one.order_id for one in venue_orders if one.client.startswith("ouch:")]
    return {order_id: short[order_id] for order_id in cut if order_id in short}


def _orders(
    result: Comparison, venue: str, orders: list[OrderRecord], venue_orders: list[VenueOrder]
) -> None:
    known = {order.order_id: order for order in venue_orders}
    for order in orders:
        other = known.pop(order.order_id, None)
        if other is None:
            if order.state is OrderState.REJECTED and not order.venue_order_id and not order.filled_quantity:
                continue  # it never reached the venue, and both know it
            gone = Difference(venue, order.symbol, f"order {order.order_id}", order.state, "absent")
            result.differences.append(gone)
            continue
        ours = (order.state, order.side, order.quantity, order.limit_price, order.filled_quantity)
        theirs = (other.state, other.side, other.quantity, other.price, other.filled_quantity)
        if ours != theirs and not _cancelling(order, other):
            result.differences.append(
                Difference(venue, order.symbol, f"order {order.order_id}", _text(*ours), _text(*theirs))
            )
    for other in known.values():
        found = Difference(venue, other.symbol, f"order {other.order_id}", "absent", other.state)
        result.differences.append(found)


def _cancelling(order: OrderRecord, other: VenueOrder) -> bool:
    """A cancel that is under way is our state alone, and no difference while the rest agrees."""
    agree = order.filled_quantity == other.filled_quantity and order.quantity == other.quantity
    return order.state is OrderState.PENDING_CANCEL and other.state not in TERMINAL and agree


def _executions(
    result: Comparison, venue: str, executions: list[Execution], venue_executions: list[Execution]
) -> None:
    ours = {execution.execution_id: _fill(execution) for execution in executions}
    theirs = {execution.execution_id: _fill(execution) for execution in venue_executions}
    missing = Counter(theirs[number][1] for number in theirs.keys() - ours.keys())
    extra = Counter(ours[number][1] for number in ours.keys() - theirs.keys())
    counts_ours = Counter(fill[1] for fill in ours.values())
    counts_theirs = Counter(fill[1] for fill in theirs.values())
    for symbol in sorted(missing.keys() | extra.keys()):
        what = f"executions ({missing[symbol]} missing, {extra[symbol]} extra in the journal)"
        result.differences.append(
            Difference(venue, symbol, what, str(counts_ours[symbol]), str(counts_theirs[symbol]))
        )
    for number in sorted(ours.keys() & theirs.keys()):
        if ours[number] != theirs[number]:
            mine, other = _fill_text(ours[number]), _fill_text(theirs[number])
            what = f"execution {number}"
            result.differences.append(Difference(venue, ours[number][1], what, mine, other))


_Fill = tuple[str, str, str, int, int]


def _fill(execution: Execution) -> _Fill:
    return execution.order_id, execution.symbol, execution.side, execution.quantity, execution.price


def _fill_text(fill: _Fill) -> str:
    return f"{fill[2]} {format_nanos(fill[3])} at {format_nanos(fill[4])} of order {fill[0]}"


def _text(state: str, side: str, quantity: int, price: int, filled: int) -> str:
    at = f"{side} {format_nanos(quantity)} at {format_nanos(price)}"
    return f"{state} {at}, {format_nanos(filled)} filled"


def _positions(executions: list[Execution]) -> dict[str, int]:
    book = PositionBook()
    for execution in executions:
        book.book(execution)
    return {symbol: holding.quantity for (_, symbol), holding in book.holdings.items()}
