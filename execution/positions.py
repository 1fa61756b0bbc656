"""Executions in, positions and P&L out. Pure, and exact: nothing here is a float.

Quantities and prices are nanos (1e-9); their products are Python integers in units of 1e-18, which
have no upper bound. Realised P&L goes by average price. The one rounding is the average cost of a
part of a position (floor, at 1e-18); when a position is flat again its realised P&L is exact, because
the last part closes with whatever cost is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tickloom.events import Execution
from tickloom.prices import NANOS


def value_to_nanos(value: int) -> int:
    """A product of two nanos (1e-18) in nanos (1e-9), to the nearest, halves up."""
    return (2 * value + NANOS) // (2 * NANOS)


@dataclass(slots=True)
class Holding:
    """What is held of one instrument.

    quantity: nanos, signed. cost: what the open quantity cost, never negative, units of 1e-18.
    realised: units of 1e-18.
    """

    quantity: int = 0
    cost: int = 0
    realised: int = 0

    def book(self, side: str, quantity: int, price: int) -> None:
        """Take one fill; quantity and price above 0, in nanos."""
        sign = 1 if side == "buy" else -1
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

    @property
    def average_price(self) -> int:
        """Nanos, to the nearest; 0 when flat."""
        held = abs(self.quantity)
        return (2 * self.cost + held) // (2 * held) if held else 0

    def unrealised(self, mid: int) -> int:
        """P&L of the open quantity at ``mid`` (nanos), in units of 1e-18."""
        return self.quantity * mid - (self.cost if self.quantity > 0 else -self.cost)


@dataclass(slots=True)
class PositionBook:
    """Holdings by (venue, symbol)."""

    holdings: dict[tuple[str, str], Holding] = field(default_factory=dict)

    def book(self, execution: Execution) -> Holding:
        """Take one execution; the holding it changed."""
        holding = self.holdings.setdefault((execution.venue, execution.symbol), Holding())
        holding.book(execution.side, execution.quantity, execution.price)
        return holding

    def quantity(self, venue: str, symbol: str) -> int:
        """Nanos, signed."""
        holding = self.holdings.get((venue, symbol))
        return holding.quantity if holding else 0

    def pnl(self, mids: dict[tuple[str, str], int]) -> int:
        """Realised and unrealised P&L of all holdings, units of 1e-18.

        ``mids``: nanos; a holding without one counts at its average price (unrealised 0). Currencies
        are added as they are: a venue's quote currency counts as one unit of account (USDT as USD).
        """
        total = 0
        for key, holding in self.holdings.items():
            total += holding.realised
            mid = mids.get(key)
            if mid is not None and holding.quantity:
                total += holding.unrealised(mid)
        return total
