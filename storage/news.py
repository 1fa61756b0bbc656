"""Stories in, durable rows of the table ``news`` out, and back again as blocks for rules.

``feed`` is whose capture a row is of, ``venue`` and ``symbol`` whose instrument it is about.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from questdb import TimestampNanos

from storage.connection import Connection
from storage.ilp import IlpSender
from storage.reader import QuestDbReader
from storage.writer import ROWS
from tickloom.errors import StorageError
from tickloom.events import NEWS_DTYPE, EventBlock, Records, SymbolTable
from tickloom.settings import QuestDbSettings

TABLE = "news"
ROWS_MAX = 1_000  # a request
STORIES_MAX = 1_000_000  # of a range of time; some 1 GB

_TEXTS = ("venue", "source", "story", "headline", "link", "model")


class QuestDbNews:
    """An EventSink (:mod:`tickloom.sinks`) for the blocks of a news feed. One thread uses it.

    Parameters
    ----------
    flush_ms : int
        The least time between two writes.
    """

    name = "questdb"

    def __init__(self, settings: QuestDbSettings, flush_ms: int, stop: threading.Event | None = None) -> None:
        self.interval_ms = flush_ms
        self._settings = settings
        self._sender = IlpSender(settings, stop)
        self._after = 0

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        """The last seq that the table has of the session.

        Raises
        ------
        ServiceError
            QuestDB is away.
        StorageError
            It has no such table: the schema is not applied.
        """
        sql = f"SELECT max(seq) FROM {TABLE} WHERE feed = %s AND session = %s"
        with Connection(self._settings) as connection:
            (last,) = connection.fetch(sql, (venue, session))[0]
        self._after = int(last or 0)
        return {TABLE: self._after} if self._after else {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        """Return when QuestDB has acknowledged the block; waits while it is away.

        Rows of the last seq that was there are written again, since one story may be several: DEDUP makes
        that harmless.
        """
        news = block.news[block.news["seq"] >= self._after]
        for start in range(0, len(news), ROWS_MAX):
            rows = [_row(block, record) for record in news[start : start + ROWS_MAX]]

            def fill(buffer: Any, rows: list[tuple[dict[str, str], dict[str, Any], int]] = rows) -> None:
                for symbols, columns, ts_ns in rows:
                    buffer.row(TABLE, symbols=symbols, columns=columns, at=TimestampNanos(ts_ns))

            self._sender.send(TABLE, fill, len(rows))
            ROWS.labels(TABLE).inc(len(rows))

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Let go of the connection."""
        self._sender.close()


def _row(block: EventBlock, record: Any) -> tuple[dict[str, str], dict[str, Any], int]:
    """SYMBOL columns, the other columns, ts (ns)."""
    columns: dict[str, Any] = {
        "ts_recv": TimestampNanos(int(record["ts_recv"])),
        "seq": int(record["seq"]),
        "words": int(record["words"]),
        **{name: record[name].decode() for name in ("story", "headline", "link")},
    }
    if record["published"] > 0:
        columns["published"] = TimestampNanos(int(record["published"]))
    if not math.isnan(record["score"]):
        columns["score"] = float(record["score"])
    symbols = {
        "feed": block.venue,
        "session": block.session,
        "venue": record["venue"].decode(),
        "symbol": block.symbols.names[record["symbol"]],
        "source": record["source"].decode(),
        "model": record["model"].decode(),
    }
    return symbols, columns, int(record["ts_event"])


def with_news(
    blocks: Iterable[EventBlock], reader: QuestDbReader, venue: str, from_ns: int, to_ns: int
) -> Iterator[EventBlock]:
    """Stored events of a venue with the stories about its instruments among them, for a rule that reads both.

    Parameters
    ----------
    blocks : iterable of EventBlock
        What the venue sent with from_ns <= ts_event < to_ns, no event older than those of an earlier block.

    Raises
    ------
    StorageError
        More than :data:`STORIES_MAX` stories: take a shorter time.
    """
    stories = _stories(reader, venue, from_ns, to_ns)
    symbols, session, begin = SymbolTable(), "", 0
    for block in blocks:
        symbols, session = block.symbols, block.session
        times = [int(records["ts_event"][-1]) for records in block.every_kind().values() if len(records)]
        end = begin
        while end < len(stories) and times and stories[end][1] <= max(times):
            end += 1
        block.news = _records(stories[begin:end], symbols)
        begin = end
        yield block
    if begin < len(stories):
        yield EventBlock(venue, session, symbols, news=_records(stories[begin:], symbols))


def _stories(reader: QuestDbReader, venue: str, from_ns: int, to_ns: int) -> list[tuple[Any, ...]]:
    """Symbol, then the fields of :data:`NEWS_DTYPE` but the symbol, in order of time."""
    columns = ", ".join(_TEXTS)
    rows = reader.fetch(
        f"SELECT symbol, ts::long, ts_recv::long, seq, {columns}, published::long, words, score FROM {TABLE} "
        f"WHERE venue = %s AND ts >= {from_ns} AND ts < {to_ns} ORDER BY ts, seq LIMIT {STORIES_MAX + 1}",
        (venue,),
    )
    if len(rows) > STORIES_MAX:
        raise StorageError(f"{venue} has more than {STORIES_MAX:,} stories in that time; take a shorter one")
    return rows


def _records(rows: list[tuple[Any, ...]], symbols: SymbolTable) -> Records:
    found = [
        (
            *row[1:4],
            symbols.index(row[0]),
            *(str(text or "").encode() for text in row[4:10]),
            row[10] or 0,
            row[11],
            math.nan if row[12] is None else row[12],
        )
        for row in rows
    ]
    return np.array(found, dtype=NEWS_DTYPE)
