"""Executions and mids in, positions and P&L of firm and rules out; marks and day starts journaled."""

from __future__ import annotations

from datetime import UTC, datetime

from execution import metrics
from execution.journal import Journal
from execution.market import MarketState
from execution.positions import Holding, Pnl, PositionBook, value_to_nanos
from tickloom.clock import NS_PER_S, Clock
from tickloom.events import Execution, Position
from tickloom.prices import NANOS

FIRM = "firm"
#: Beyond that many waiting facts positions are not sampled; nothing else is left out.
OUTBOX_MARKS_MAX = 50_000


class Portfolio:
    """Everything that is held, as a whole and by rule."""

    def __init__(self, journal: Journal, market: MarketState, clock: Clock) -> None:
        self._journal, self._market, self._clock = journal, market, clock
        self.firm = PositionBook()
        self.by_rule: dict[str, PositionBook] = {}
        self._marks: dict[tuple[str, str], int] = {}
        self._day_starts: dict[tuple[str, str], int] = {}

    def recover(self) -> None:
        """Rebuild from the journal's executions, in the order in which they were booked."""
        for rule, execution in self._journal.executions():
            self.book(rule, execution)
        self._marks = self._journal.marks()

    def book(self, rule: str, execution: Execution) -> Position:
        """Take an execution with its fee; the position it made."""
        self.by_rule.setdefault(rule, PositionBook()).book(execution)
        self.firm.book(execution)
        return self._changed(execution.venue, execution.symbol)

    def bust(
        self, rule: str, venue: str, symbol: str, execution_id: str, destination: str | None = None
    ) -> tuple[Execution, Position]:
        """Take an execution back; what it was, and the position without it.

        Raises
        ------
        ExecutionError
            It is not known; nothing changed.
        """
        busted = self.by_rule.setdefault(rule, PositionBook()).bust(venue, symbol, execution_id, destination)
        self.firm.bust(venue, symbol, execution_id, destination)
        return busted, self._changed(venue, symbol)

    def correct(
        self,
        rule: str,
        venue: str,
        symbol: str,
        execution_id: str,
        quantity: int,
        price: int,
        destination: str | None = None,
    ) -> tuple[Execution, Position]:
        """Change quantity and price (nanos) of an execution; what it was, and the position it makes now.

        Raises
        ------
        ExecutionError
            It is not known, or would be nothing; nothing changed.
        """
        book = self.by_rule.setdefault(rule, PositionBook())
        was = book.correct(venue, symbol, execution_id, quantity, price, destination=destination)
        self.firm.correct(venue, symbol, execution_id, quantity, price, destination=destination)
        return was, self._changed(venue, symbol)

    def figures(self, rule: str | None = None) -> Pnl:
        """P&L since ever of the firm, or of a rule, at the current mids: units of 1e-18."""
        book = self.firm if rule is None else self.by_rule.get(rule, PositionBook())
        return book.figures({key: mid for key in book.holdings if (mid := self._mid(*key)) is not None})

    def figures_of(self, venue: str, symbol: str) -> Pnl:
        """P&L since ever of one instrument."""
        return self.firm.pnl_of((venue, symbol), self._mid(venue, symbol))

    def positions(self) -> list[Position]:
        """All holdings, flat ones too, marked at the current mid."""
        return [self._position(*key, holding) for key, holding in sorted(self.firm.holdings.items())]

    def day_pnl_firm(self) -> int:
        """P&L of the UTC day, realised and unrealised, units of 1e-18."""
        return self._day_pnl(FIRM, self.firm)

    def day_pnl_rule(self, rule: str) -> int:
        """The same of what one rule traded."""
        return self._day_pnl(f"rule {rule}", self.by_rule.get(rule, PositionBook()))

    def sample(self) -> None:
        """Note every open position whose mid moved, for whoever watches P&L."""
        metrics.PNL.labels(FIRM).set(self.day_pnl_firm() / NANOS**2)
        for rule in self.by_rule:
            metrics.PNL.labels(f"rule {rule}").set(self.day_pnl_rule(rule) / NANOS**2)
        mids = self._market.mids()
        moved = [
            (key, holding)
            for key, holding in self.firm.holdings.items()
            if holding.quantity and key in mids and mids[key] != self._marks.get(key)
        ]
        if not moved or self._journal.outbox_size() > OUTBOX_MARKS_MAX:
            return
        with self._journal.transaction():
            for (venue, symbol), holding in moved:
                self._marks[(venue, symbol)] = mids[(venue, symbol)]
                self._journal.set_mark(venue, symbol, mids[(venue, symbol)], self._clock.now_ns())
                self._journal.add_fact(self._position(venue, symbol, holding))

    def _day_pnl(self, scope: str, book: PositionBook) -> int:
        total = book.pnl({key: mid for key in book.holdings if (mid := self._mid(*key)) is not None})
        day = datetime.fromtimestamp(self._clock.now_ns() // NS_PER_S, UTC).date().isoformat()
        start = self._day_starts.get((day, scope))
        if start is None:
            start = self._journal.day_start(day, scope)
            if start is None:
                start = total
                with self._journal.transaction():
                    self._journal.set_day_start(day, scope, total)
            self._day_starts[(day, scope)] = start
        return total - start

    def _mid(self, venue: str, symbol: str) -> int | None:
        """The current mid, or the one at the last mark."""
        view = self._market.view(venue, symbol)
        mid = view.mid if view else None
        return mid if mid is not None else self._marks.get((venue, symbol))

    def _changed(self, venue: str, symbol: str) -> Position:
        holding = self.firm.holdings[(venue, symbol)]
        metrics.of(metrics.POSITION, venue, symbol).set(holding.quantity / NANOS)
        return self._position(venue, symbol, holding)

    def _position(self, venue: str, symbol: str, holding: Holding) -> Position:
        mid = self._mid(venue, symbol)
        marked = mid is not None and holding.quantity != 0
        return Position(
            venue=venue,
            symbol=symbol,
            quantity=holding.quantity,
            average_price=holding.average_price,
            realised_pnl=value_to_nanos(holding.realised),
            unrealised_pnl=value_to_nanos(holding.unrealised(mid)) if marked and mid is not None else 0,
            mid=mid if mid is not None else holding.average_price,
            ts=self._clock.now_ns(),
        )
