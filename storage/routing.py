"""Moments in, the books of those moments out, by QuestDB's time-series joins; regrets of executions in.

ASOF JOIN finds the newest quote at or before a moment. HORIZON JOIN does so at several offsets behind it in
one pass: markouts. It takes a table on its right side, no subquery (QuestDB 9.3.4), so both match symbol and
book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from questdb import TimestampNanos

from storage.applied import wait_applied
from storage.ilp import IlpSender
from storage.reader import QuestDbReader
from tickloom.events import EventBlock
from tickloom.prices import to_double
from tickloom.settings import QuestDbSettings

MOMENTS, REGRETS = "routing_moments", "routing_regret"
ROWS_MAX = 50_000  # in one request
HORIZONS_S = (0, 1, 10, 60, 300)

_SYMBOLS = ("destination", "venue", "symbol", "rule", "side", "style")


@dataclass(frozen=True, slots=True)
class Moment:
    """When the book of ``book`` is asked for. kind: "decision", "arrival" or "execution"; id: what of."""

    ts: int
    kind: str
    id: str
    symbol: str
    book: str


@dataclass(frozen=True, slots=True)
class Touch:
    """The best prices of a book; None on an empty side."""

    bid_price: float | None
    bid_size: float | None
    ask_price: float | None
    ask_size: float | None


def write_quotes(settings: QuestDbSettings, block: EventBlock) -> None:
    """Return when a block's quotes are acknowledged; those that are stored already change nothing.

    In any order: for what is loaded after the event, beside :class:`storage.QuestDbSink`, which is for a
    session as it goes on.

    Raises
    ------
    ServiceError, StorageError
        As :func:`write_moments`.
    """
    names = ("bid_price", "bid_size", "ask_price", "ask_size")
    for start in range(0, len(block.quotes), ROWS_MAX):
        part = block.quotes[start : start + ROWS_MAX]
        times = zip(part["ts_event"].tolist(), part["ts_recv"].tolist(), strict=True)
        doubles = [to_double(part[name]).tolist() for name in names]
        rest = zip(part["symbol"].tolist(), part["seq"].tolist(), *doubles, strict=True)
        rows = list(zip(times, rest, strict=True))

        def fill(buffer: Any, rows: list[Any] = rows) -> None:
            for (ts, ts_recv), (symbol, seq, *values) in rows:
                columns = {"ts_recv": TimestampNanos(ts_recv), "seq": seq}
                columns |= {name: value for name, value in zip(names, values, strict=True) if value == value}
                symbols = {"venue": block.venue, "session": block.session}
                symbols["symbol"] = block.symbols.names[symbol]
                buffer.row("quotes", symbols=symbols, columns=columns, at=TimestampNanos(ts))

        _send(settings, "quotes", fill, len(rows))


def write_moments(settings: QuestDbSettings, moments: Sequence[Moment]) -> None:
    """Return when they can be asked about.

    Raises
    ------
    ServiceError
        QuestDB is away.
    StorageError
        It refuses a row.
    """

    def fill(buffer: Any) -> None:
        for one in moments:
            symbols = {"kind": one.kind, "symbol": one.symbol, "book": one.book}
            buffer.row(MOMENTS, symbols=symbols, columns={"id": one.id}, at=TimestampNanos(one.ts))

    _send(settings, MOMENTS, fill, len(moments))
    wait_applied(settings, [MOMENTS])


def read_touches(reader: QuestDbReader, kind: str, from_ns: int, to_ns: int) -> dict[tuple[str, str], Touch]:
    """(id, book) to the best prices at each moment of a kind with from_ns <= ts < to_ns."""
    sql = (
        "SELECT m.id id, m.book book, q.bid_price bid_price, q.bid_size bid_size, "
        "q.ask_price ask_price, q.ask_size ask_size "
        f"FROM (SELECT * FROM {MOMENTS} WHERE kind = %s AND ts >= {from_ns} AND ts < {to_ns}) m "
        "ASOF JOIN quotes q ON m.symbol = q.symbol AND m.book = q.venue"
    )
    return {
        (row["id"], row["book"]): Touch(row["bid_price"], row["bid_size"], row["ask_price"], row["ask_size"])
        for row in reader.query(sql, (kind,)).to_pylist()
    }


def read_mids(reader: QuestDbReader, from_ns: int, to_ns: int) -> dict[tuple[str, int], float]:
    """(id, seconds) to the mid so long after each moment of kind "execution"; a one-sided book has none."""
    offsets = ", ".join(f"{seconds}s" for seconds in HORIZONS_S)
    sql = (
        "SELECT h.offset offset, m.id id, last((q.bid_price + q.ask_price) / 2) mid "
        f"FROM (SELECT * FROM {MOMENTS} WHERE kind = 'execution' AND ts >= {from_ns} AND ts < {to_ns}) AS m "
        "HORIZON JOIN quotes AS q ON (m.symbol = q.symbol AND m.book = q.venue) "
        f"LIST ({offsets}) AS h"
    )
    return {
        (row["id"], row["offset"] // 1_000_000_000): row["mid"]
        for row in reader.query(sql).to_pylist()
        if row["mid"] is not None
    }


def write_regrets(settings: QuestDbSettings, rows: Sequence[dict[str, Any]]) -> None:
    """Rows with the columns of ``routing_regret``; None is NULL. The same execution again takes the place of
    the one before.

    Raises
    ------
    ServiceError, StorageError
        As :func:`write_moments`.
    """

    def fill(buffer: Any) -> None:
        for row in rows:
            columns = {name: value for name, value in row.items() if value is not None}
            symbols = {name: columns.pop(name) for name in _SYMBOLS}
            at = TimestampNanos(columns.pop("ts"))
            columns["decision_ts"] = TimestampNanos(columns["decision_ts"])
            buffer.row(REGRETS, symbols=symbols, columns=columns, at=at)

    _send(settings, REGRETS, fill, len(rows))


def _send(settings: QuestDbSettings, table: str, fill: Any, rows: int) -> None:
    if not rows:
        return
    sender = IlpSender(settings)
    try:
        sender.send(table, fill, rows, retry=False)
    finally:
        sender.close()
