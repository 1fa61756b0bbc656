"""Executions in, positions and P&L out. Pure, and exact: nothing here is a float.

Quantities and prices are nanos (1e-9); their products are Python integers in units of 1e-18, which
have no upper bound. Realised P&L is kept twice, by average price and first in, first out. They split the
same total: realised and unrealised together are cash plus value at the mid, whichever way, so that when a
position is flat the two agree to the unit. The one rounding is the average cost of a part of a position
(floor, at 1e-18); the last part closes with whatever cost is left. Fees are apart, in neither.

A bust takes an execution back and a correction changes one, as if it had never been otherwise: the
instrument's executions are booked anew in their order, so the result is exact, at a cost that only
a bust pays.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tickloom.errors import ExecutionError
from tickloom.events import Execution
from tickloom.prices import NANOS
from tickloom.records import replace

Key = tuple[str, str]


def value_to_nanos(value: int) -> int:
    """A product of two nanos (1e-18) in nanos (1e-9), to the nearest, halves up."""
    return (2 * value + NANOS) // (2 * NANOS)


@dataclass(slots=True)
class Holding:
    """What is held of one instrument.

    quantity: nanos, signed. cost: what the open quantity cost by average price, never negative, units of
    1e-18. realised, fifo_realised: units of 1e-18. lots: (nanos, price) of what is open, oldest first, all on
    the position's side. fees: nanos, paid less rebates got.
    """

    quantity: int = 0
    cost: int = 0
    realised: int = 0
    fifo_realised: int = 0
    fees: int = 0
    lots: deque[tuple[int, int]] = field(default_factory=deque)

    def book(self, side: str, quantity: int, price: int, fee: int = 0) -> None:
        """Take one fill; quantity and price above 0, fee of either sign, in nanos."""
        sign = 1 if side == "buy" else -1
        self.fees += fee
        self._match_lots(sign, quantity, price)
        if self.quantity * sign >= 0:
            self.quantity += sign * quantity
            self.cost += quantity * price
            return
        held = abs(self.quantity)
        closing = min(quantity, held)
        closed_cost = self.cost if closing == held else self.cost * closing // held
        # a long position closes by selling: proceeds less cost; a short one the other way round
        self.realised += (closed_cost - closing * price) * sign
        self.cost -= closed_cost
        self.quantity += sign * closing
        rest = quantity - closing
        if rest:
            self.quantity = sign * rest
            self.cost = rest * price

    def _match_lots(self, sign: int, quantity: int, price: int) -> None:
        """Close the oldest lots of the other side, and open one with what is left."""
        while quantity and self.lots and self.quantity * sign < 0:
            held, paid = self.lots[0]
            closing = min(held, quantity)
            self.fifo_realised += (paid - price) * closing * sign
            quantity -= closing
            if closing == held:
                self.lots.popleft()
            else:
                self.lots[0] = (held - closing, paid)
        if quantity:
            self.lots.append((quantity, price))

    @property
    def average_price(self) -> int:
        """Nanos, to the nearest; 0 when flat."""
        held = abs(self.quantity)
        return (2 * self.cost + held) // (2 * held) if held else 0

    def unrealised(self, mid: int) -> int:
        """P&L of the open quantity at ``mid`` (nanos) against its average cost, in units of 1e-18."""
        return self.quantity * mid - (self.cost if self.quantity > 0 else -self.cost)

    def fifo_unrealised(self, mid: int) -> int:
        """The same against the lots that are open."""
        paid = sum(held * price for held, price in self.lots)
        return self.quantity * mid - (paid if self.quantity > 0 else -paid)


@dataclass(frozen=True, slots=True)
class Pnl:
    """P&L in units of 1e-18. realised + unrealised - fees is the total, by average price as by FIFO."""

    realised: int = 0
    fifo_realised: int = 0
    unrealised: int = 0
    fifo_unrealised: int = 0
    fees: int = 0

    @property
    def total(self) -> int:
        return self.realised + self.unrealised - self.fees

    def __add__(self, other: Pnl) -> Pnl:
        return Pnl(
            self.realised + other.realised,
            self.fifo_realised + other.fifo_realised,
            self.unrealised + other.unrealised,
            self.fifo_unrealised + other.fifo_unrealised,
            self.fees + other.fees,
        )


@dataclass(slots=True)
class PositionBook:
    """Holdings by (venue, symbol), and the executions they are made of, in the order in which they came."""

    holdings: dict[Key, Holding] = field(default_factory=dict)
    executions: dict[Key, list[tuple[Execution, int]]] = field(default_factory=dict)

    def book(self, execution: Execution, fee: int | None = None) -> Holding:
        """Take one execution; the holding it changed.

        ``fee``: nanos, below 0 a rebate; None: as the execution says.
        """
        fee = execution.fee if fee is None else fee
        key = (execution.venue, execution.symbol)
        holding = self.holdings.setdefault(key, Holding())
        holding.book(execution.side, execution.quantity, execution.price, fee)
        self.executions.setdefault(key, []).append((execution, fee))
        return holding

    def bust(self, venue: str, symbol: str, execution_id: str, destination: str | None = None) -> Execution:
        """Take an execution back (ExecType Trade Cancel, FIX 4.4 tag 150=H); what it was.

        Parameters
        ----------
        destination : str or None
            Who reported it: ids are unique by that. None: there is only one.

        Raises
        ------
        ExecutionError
            There is none of that id; nothing changed.
        """
        booked, place = self._find(venue, symbol, execution_id, destination)
        execution, _ = booked.pop(place)
        self._again((venue, symbol))
        return execution

    def correct(
        self,
        venue: str,
        symbol: str,
        execution_id: str,
        quantity: int,
        price: int,
        fee: int | None = None,
        destination: str | None = None,
    ) -> Execution:
        """Change an execution (Trade Correct, 150=G), in its place; what it was.

        Parameters
        ----------
        quantity, price : int
            What it is now: nanos, above 0.
        fee : int or None
            Its fee now, nanos; None: as before.
        destination : str or None
            As in :meth:`bust`.

        Raises
        ------
        ExecutionError
            There is none of that id, or it would be no execution any more; nothing changed.
        """
        booked, place = self._find(venue, symbol, execution_id, destination)
        if quantity <= 0 or price <= 0:
            raise ExecutionError(
                f"execution {execution_id} corrected to nothing: that is a bust, ask the venue"
            )
        execution, paid = booked[place]
        booked[place] = (replace(execution, quantity=quantity, price=price), paid if fee is None else fee)
        self._again((venue, symbol))
        return execution

    def _find(
        self, venue: str, symbol: str, execution_id: str, destination: str | None
    ) -> tuple[list[tuple[Execution, int]], int]:
        booked = self.executions.get((venue, symbol), [])
        for place in range(len(booked) - 1, -1, -1):
            found = booked[place][0]
            if found.execution_id == execution_id and destination in (None, found.reported_by):
                return booked, place
        raise ExecutionError(
            f"{venue} {symbol} has no execution {execution_id} to bust or correct; ask the venue"
        )

    def _again(self, key: Key) -> None:
        holding = self.holdings[key] = Holding()
        for execution, fee in self.executions[key]:
            holding.book(execution.side, execution.quantity, execution.price, fee)

    def quantity(self, venue: str, symbol: str) -> int:
        """Nanos, signed."""
        holding = self.holdings.get((venue, symbol))
        return holding.quantity if holding else 0

    def pnl_of(self, key: Key, mid: int | None) -> Pnl:
        """P&L of one instrument; without a mid (nanos) what is open counts as what it cost."""
        holding = self.holdings.get(key)
        if holding is None:
            return Pnl()
        open_pnl = fifo_open = 0
        if mid is not None and holding.quantity:
            open_pnl, fifo_open = holding.unrealised(mid), holding.fifo_unrealised(mid)
        elif holding.quantity:  # worth what it cost on average; by FIFO the same total is split otherwise
            fifo_open = holding.realised - holding.fifo_realised
        return Pnl(holding.realised, holding.fifo_realised, open_pnl, fifo_open, holding.fees * NANOS)

    def figures(self, mids: dict[Key, int]) -> Pnl:
        """P&L of all holdings. Currencies are added as they are: a venue's quote currency counts as one unit
        of account (USDT as USD)."""
        return sum((self.pnl_of(key, mids.get(key)) for key in self.holdings), Pnl())

    def pnl(self, mids: dict[Key, int]) -> int:
        """Realised and unrealised P&L of all holdings less fees, units of 1e-18; see :meth:`pnl_of`."""
        return self.figures(mids).total
