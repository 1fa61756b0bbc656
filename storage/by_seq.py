"""A range of ``seq`` in, the stored events of some symbols out: their number, and those at its two ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.connection import Connection
from tickloom.events import SEQ_PER_DAY
from tickloom.prices import format_nanos, nanos_of
from tickloom.settings import QuestDbSettings

#: Columns of each table beside those that all have: prices and sizes, shown as exact decimals; and the rest.
_EXACT = {
    "trades": ("price", "size"),
    "quotes": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "statuses": (),
    "gaps": (),
    "spreads": (),
}
_PLAIN = {
    "trades": ("side", "condition", "venue_id"),
    "quotes": (),
    "statuses": ("status", "reason"),
    "gaps": ("first_missing", "last_missing", "reason"),
    "spreads": ("spread", "z", "z_rolling", "mid_a", "mid_b", "age_ns", "calibration", "state"),
}
TABLES = tuple(_EXACT)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row. values: of its table's own columns, as text; NULL is the empty text."""

    table: str
    session: str
    symbol: str
    seq: int
    ts_event: int
    ts_recv: int
    values: dict[str, str]


@dataclass(slots=True)
class StoredRange:
    """counts: rows of each table; events: those at the two ends, in order of seq."""

    counts: dict[str, int] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)


def read_range(
    settings: QuestDbSettings,
    venue: str,
    symbols: Sequence[str],
    tables: Sequence[str],
    first_seq: int,
    last_seq: int,
    ends: int,
) -> StoredRange:
    """Events with first_seq <= seq <= last_seq: all are counted, ``ends`` of each table from either end come.

    Raises
    ------
    ServiceError
        QuestDB is away.
    StorageError
        It refuses a statement.
    """
    found = StoredRange()
    with Connection(settings) as connection:
        for table in tables:
            where, values = _where(venue, symbols, first_seq, last_seq)
            counted = connection.fetch(f"SELECT count() FROM {table} WHERE {where}", values)
            count = int(counted[0][0])
            if not count:
                continue
            found.counts[table] = count
            names = ("ts::long", "ts_recv::long", "session", "symbol", "seq", *_EXACT[table], *_PLAIN[table])
            select = f"SELECT {', '.join(names)} FROM {table} WHERE {where} ORDER BY seq"
            rows = connection.fetch(f"{select} LIMIT {ends}", values)
            rows += connection.fetch(f"{select} LIMIT -{ends}", values) if count > ends else []
            events = [_event(table, row) for row in rows]
            found.events += {(one.seq, one.symbol): one for one in events}.values()
    found.events.sort(key=lambda one: (one.seq, TABLES.index(one.table), one.symbol))
    return found


def _where(
    venue: str, symbols: Sequence[str], first_seq: int, last_seq: int
) -> tuple[str, tuple[str | int, ...]]:
    """The condition, with bounds on ts by which partitions are left out: a session lasts no three days."""
    day = f"20{first_seq // SEQ_PER_DAY:06d}"
    midnight = f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00Z"
    low = f"dateadd('d', -1, '{midnight}'::timestamp_ns)"
    high = f"dateadd('d', 2, '{midnight}'::timestamp_ns)"
    marks = ", ".join(["%s"] * len(symbols))
    where = f"venue = %s AND symbol IN ({marks}) AND ts >= {low} AND ts < {high} AND seq >= %s AND seq <= %s"
    return where, (venue, *symbols, first_seq, last_seq)


def _event(table: str, row: tuple[Any, ...]) -> StoredEvent:
    ts, ts_recv, session, symbol, seq, *rest = row
    names = (*_EXACT[table], *_PLAIN[table])
    exact = set(_EXACT[table])
    values = {
        name: "" if value is None else format_nanos(nanos_of(value)) if name in exact else str(value)
        for name, value in zip(names, rest, strict=True)
    }
    return StoredEvent(table, session or "", symbol or "", int(seq), int(ts), int(ts_recv), values)
