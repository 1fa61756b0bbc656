"""A feed for tests of what feeds share: a record is a list of events, in JSON; its number is their seq."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import session_date
from tickloom.clock import NS_PER_DAY
from tickloom.events import (
    DELTA_DTYPE,
    GAP_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    GapReason,
    StatusCode,
    SymbolTable,
    make_seq,
)

SESSION = "20261121"
NAMES = ("A", "B", "C")


def seq_of(number: int) -> int:
    return make_seq(session_date(SESSION), number)


class ToyDecoder:
    """``[["quote", "A"], ["gap", "", 3, 5, "sequence"], ["lost", "A"], ["synced", "A"], ["trade", "B"]]``."""

    venue, session, end_ns, ended = "TOY", SESSION, NS_PER_DAY, False

    def __init__(self, tells_books: bool = False, builds_books: bool = False) -> None:
        self.tells_books, self.builds_books = tells_books, builds_books
        self.watermark_ns = self.last_seq = 0
        self.counters: Counter[str] = Counter()
        self.symbols = SymbolTable(list(NAMES[:2]))

    def decode(self, batch: CaptureBatch) -> EventBlock:
        rows: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in ("trade", "quote", "delta", "status", "gap")
        }
        for record in batch:
            assert record.kind != RecordKind.CLOCK, "a record of ours came to the feed's own decoder"
            self.last_seq = seq_of(record.number)
            for kind, symbol, *rest in json.loads(record.payload or b"[]"):
                head = (record.ts_recv, record.ts_recv, self.last_seq, self.symbols.index(symbol))
                if kind == "gap":
                    rows["gap"].append((*head, rest[0], rest[1], GapReason[rest[2].upper()]))
                elif kind in ("lost", "synced", "halted"):
                    code = {"lost": "BOOK_LOST", "synced": "BOOK_SYNCED", "halted": "HALTED"}[kind]
                    rows["status"].append((*head, StatusCode[code], b""))
                elif kind == "quote":
                    rows["quote"].append((*head, 1, 1, 2, 1, 0))
                elif kind == "trade":
                    rows["trade"].append((*head, 1, 1, 0, 0, 0))
                else:
                    rows["delta"].append((*head, 1, 1, 0, 1))
        dtypes = (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE, STATUS_DTYPE, GAP_DTYPE)
        arrays = [np.array(found, dtype=dtype) for found, dtype in zip(rows.values(), dtypes, strict=True)]
        return EventBlock(self.venue, self.session, self.symbols, *arrays)
