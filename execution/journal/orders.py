"""Orders: the current revision of each, every change of state, and what the gate measured of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from execution.journal.outbox import OutboxTables
from execution.orders import TERMINAL, OrderRecord
from tickloom.events import OrderState

_ORDER_COLUMNS = (
    "order_id, signal_id, leg, rule, venue, symbol, side, quantity, limit_price, time_in_force, state, "
    "ts_created, ts, filled_quantity, filled_value, venue_order_id, reason, revision, parent_id, "
    "destination, order_type, min_quantity, post_only, original_order_id, busted_quantity"
)
_COLUMN_COUNT = _ORDER_COLUMNS.count(",") + 1
_INSERT = (
    f"INSERT INTO orders ({_ORDER_COLUMNS}, sent, child_number) "
    f"VALUES ({', '.join('?' * (_COLUMN_COUNT + 2))})"
)
_UPDATE = (
    "UPDATE orders SET state = ?, ts = ?, filled_quantity = ?, filled_value = ?, venue_order_id = ?, "
    "reason = ?, revision = ?, quantity = ?, limit_price = ?, busted_quantity = ? WHERE order_id = ?"
)
_OLDEST_FIRST = "ORDER BY ts_created, signal_id, leg, order_id"


class OrderTables(OutboxTables):
    """Tables ``orders``, ``order_revisions`` and ``verdicts``."""

    def add_order(self, order: OrderRecord, sent: bool) -> None:
        """A new order. ``sent`` is true if it leaves as soon as this is committed; a parent never does."""
        number = 0
        if order.parent_id:
            self._write_now()
            row = self._one("SELECT count(*) FROM orders WHERE parent_id = ?", order.parent_id)
            number = int(row[0]) if row else 0
        if _UPDATE in self._later:  # statements run in the order of their first rows: this one is to be there
            self._write_now()
        self._absent.discard(("orders", order.order_id))
        self._write_later(_INSERT, (*_order_row(order), int(sent), number))
        self._note_revision(order)

    def set_verdict(self, order_id: str, ts: int, verdict: bytes) -> None:
        """Keep what the gate measured; of an order that is sent again, the last."""
        self._write_later(
            "INSERT INTO verdicts VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET ts = excluded.ts, verdict = excluded.verdict",
            (order_id, ts, verdict.decode()),
        )

    def verdict(self, order_id: str) -> tuple[int, str] | None:
        """(when, JSON) of what the gate measured of an order."""
        self._write_now()
        row = self._one("SELECT ts, verdict FROM verdicts WHERE order_id = ?", order_id)
        return (int(row[0]), str(row[1])) if row else None

    def update_order(self, order: OrderRecord) -> None:
        """The next revision of a known order."""
        self._write_later(
            _UPDATE,
            (
                *(order.state.value, order.ts, order.filled_quantity, str(order.filled_value)),
                *(order.venue_order_id, order.reason, order.revision),
                *(order.quantity, order.limit_price, order.busted_quantity, order.order_id),
            ),
            key=order.order_id,
        )
        self._note_revision(order)

    def set_venue_order_id(self, order: OrderRecord) -> None:
        """Note the venue's own number; that is no change of state."""
        self._write_now()
        self._db.execute(
            "UPDATE orders SET venue_order_id = ? WHERE order_id = ?", (order.venue_order_id, order.order_id)
        )

    def _note_revision(self, order: OrderRecord) -> None:
        self._write_later(
            "INSERT INTO order_revisions VALUES (?, ?, ?, ?, ?, ?)",
            (
                order.order_id,
                order.revision,
                order.state.value,
                order.filled_quantity,
                order.reason,
                order.ts,
            ),
        )
        self.add_fact(order.fact())

    def look_up_orders(self, order_ids: Iterable[str]) -> None:
        """Ask about several at once what :meth:`has_order` is going to ask in this transaction."""
        self._look_up("orders", ("order_id",), ((order_id,) for order_id in order_ids))

    def has_order(self, order_id: str) -> bool:
        if ("orders", order_id) in self._absent:
            return False
        self._write_now()
        return self._one("SELECT 1 FROM orders WHERE order_id = ?", order_id) is not None

    def order(self, order_id: str) -> OrderRecord | None:
        self._write_now()
        row = self._one(f"SELECT {_ORDER_COLUMNS} FROM orders WHERE order_id = ?", order_id)
        return _order(row) if row else None

    def orders(self, venue: str | None = None, sent_only: bool = False) -> list[OrderRecord]:
        """All orders, in the order of their creation. ``venue``: whose instruments they are of."""
        self._write_now()
        where = " WHERE (? IS NULL OR venue = ?)" + (" AND sent" if sent_only else "")
        rows = self._db.execute(f"SELECT {_ORDER_COLUMNS} FROM orders{where} {_OLDEST_FIRST}", (venue, venue))
        return [_order(row) for row in rows]

    def open_orders(self) -> list[OrderRecord]:
        """Orders that may still be filled."""
        self._write_now()
        names = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
        rows = self._db.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders WHERE state NOT IN ({names}) {_OLDEST_FIRST}"
        )
        return [_order(row) for row in rows]

    def open_parents(self) -> list[OrderRecord]:
        """Orders that are worked through children: open, though they never leave themselves."""
        self._write_now()
        names = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
        rows = self._db.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders WHERE state NOT IN ({names}) AND NOT sent {_OLDEST_FIRST}"
        )
        return [_order(row) for row in rows]

    def orders_sent_to(self, destination: str) -> list[OrderRecord]:
        """Orders that may have left for a destination, in the order of their creation."""
        self._write_now()
        rows = self._db.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders "
            f"WHERE sent AND iif(destination = '', venue, destination) = ? {_OLDEST_FIRST}",
            (destination,),
        )
        return [_order(row) for row in rows]

    def children(self, parent_id: str) -> list[OrderRecord]:
        """The parts of a parent order, in the order in which they were made."""
        self._write_now()
        rows = self._db.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders WHERE parent_id = ? AND parent_id != '' "
            "ORDER BY child_number",
            (parent_id,),
        )
        return [_order(row) for row in rows]

    def replacement_count(self, order_id: str) -> int:
        """How often it was tried to put another order in the place of this one."""
        self._write_now()
        row = self._one(
            "SELECT count(*) FROM orders WHERE original_order_id = ? AND original_order_id != ''", order_id
        )
        return int(row[0]) if row else 0

    def revisions(self, order_id: str) -> list[OrderState]:
        """The states an order went through."""
        self._write_now()
        rows = self._db.execute(
            "SELECT state FROM order_revisions WHERE order_id = ? ORDER BY revision", (order_id,)
        )
        return [OrderState(row[0]) for row in rows]


def _order_row(order: OrderRecord) -> tuple[Any, ...]:
    return (
        *(order.order_id, order.signal_id, order.leg, order.rule, order.venue, order.symbol, order.side),
        *(order.quantity, order.limit_price, order.time_in_force, order.state.value, order.ts_created),
        *(order.ts, order.filled_quantity, str(order.filled_value), order.venue_order_id, order.reason),
        *(order.revision, order.parent_id, order.destination, order.order_type, order.min_quantity),
        *(int(order.post_only), order.original_order_id, order.busted_quantity),
    )


def _order(row: tuple[Any, ...]) -> OrderRecord:
    values = list(row)
    values[10] = OrderState(values[10])
    values[14] = int(values[14])
    values[22] = bool(values[22])
    return OrderRecord(*values)
