"""DBN the slow way: ``databento_dbn`` decodes each record to an object, dictionaries hold the books.

The other reading that the decoder is held to: no byte is read here, and no code of ours is used.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import databento_dbn as dbn

NANOS = 10**9
NO_PRICE = -(2**63)
LAST, SNAPSHOT, BAD = 0x80, 0x20, 0x04
Mapping = Iterable[tuple[str, list[tuple[Any, Any, int]]]]


def encoded(records: Iterable[Any], schema: str = "mbo", mappings: Mapping = (), start: int = 1) -> bytes:
    """A DBN stream of the package's own records."""
    metadata = dbn.Metadata(
        "XNAS.ITCH",
        start,
        dbn.SType.RAW_SYMBOL,
        dbn.SType.INSTRUMENT_ID,
        dbn.Schema.from_str(schema) if schema else None,
        mappings=[
            SimpleNamespace(
                raw_symbol=name,
                intervals=[
                    SimpleNamespace(start_date=begin, end_date=end, symbol=str(number))
                    for begin, end, number in spans
                ],
            )
            for name, spans in mappings
        ],
    )
    return bytes(metadata.encode()) + b"".join(bytes(record) for record in records)


@dataclass
class Events:
    """Rows as tuples: ts_event, ts_recv, number, symbol, and the rest in the order of the dtypes."""

    trades: list[tuple[Any, ...]] = field(default_factory=list)
    quotes: list[tuple[Any, ...]] = field(default_factory=list)
    deltas: list[tuple[Any, ...]] = field(default_factory=list)
    statuses: list[tuple[Any, ...]] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)


class Reference:
    """Events of a stream of sound records of one publisher."""

    def __init__(self, plain: bytes) -> None:
        decoder = dbn.DBNDecoder(upgrade_policy=dbn.VersionUpgradePolicy.AS_IS)
        decoder.write(plain)
        self.metadata, *self.records = decoder.decode()
        self.events = Events()
        self.orders: dict[str, dict[int, list[Any]]] = defaultdict(dict)
        self._book: dict[str, str] = {}
        self._quotes: dict[str, tuple[int, ...]] = {}
        self._tens: dict[str, dict[tuple[int, int], int]] = {}
        for number, record in enumerate(self.records, 1):
            self._take(number, record)

    def levels(self, name: str, side: str) -> dict[int, int]:
        totals: Counter[int] = Counter()
        for kind, price, size in self.orders[name].values():
            if kind == side:
                totals[price] += size
        return dict(totals)

    def _name(self, record: Any) -> str:
        day = datetime.fromtimestamp(record.ts_recv / NANOS, UTC).date()
        for symbol, spans in self.metadata.mappings.items():
            for span in spans:
                if (
                    span["symbol"] == str(record.instrument_id)
                    and span["start_date"] <= day < span["end_date"]
                ):
                    return str(symbol)
        return str(record.instrument_id)

    def _take(self, number: int, record: Any) -> None:
        self.events.types[type(record).__name__] += 1
        if isinstance(record, dbn.StatusMsg):
            head = self._head(number, record)
            reason = f"{int(record.action)}/{int(record.reason)}/{int(record.trading_event)}"
            self.events.statuses.append((*head, "status", reason))
        elif isinstance(record, dbn.MBOMsg):
            self._mbo(number, record)
        elif isinstance(record, dbn.TradeMsg | dbn.MBP1Msg | dbn.MBP10Msg):
            self._mbp(number, record)

    def _head(self, number: int, record: Any) -> tuple[Any, ...]:
        return record.ts_event, record.ts_recv, number, self._name(record)

    def _trade(self, number: int, record: Any) -> None:
        side = {"A": 2, "B": 1, "N": 0}[str(record.side)]
        row = (*self._head(number, record), record.price, record.size * NANOS, 0, side, 0)
        self.events.trades.append(row)

    def _quote(self, number: int, record: Any, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        sides = []
        for price, size in (bid, ask):
            sides += [price, size * NANOS] if size and price != dbn.UNDEF_PRICE else [NO_PRICE, 0]
        head = self._head(number, record)
        if self._quotes.get(head[3]) != tuple(sides):
            self._quotes[head[3]] = tuple(sides)
            self.events.quotes.append((*head, *sides, record.sequence))

    def _mbp(self, number: int, record: Any) -> None:
        if str(record.action) == "T":
            self._trade(number, record)
        if isinstance(record, dbn.TradeMsg):
            return
        name = self._name(record)
        if record.flags & BAD:
            if self._book.get(name) != "lost":
                self.events.statuses.append((*self._head(number, record), "lost", ""))
            self._book[name] = "lost"
            return
        if self._book.get(name) == "lost" or (name not in self._book and len(record.levels) > 1):
            self.events.statuses.append((*self._head(number, record), "synced", ""))
            self._book[name] = "synced"
        top = record.levels[0]
        if len(record.levels) > 1:
            new = {}
            for level in record.levels:
                for side, price, size in ((1, level.bid_px, level.bid_sz), (2, level.ask_px, level.ask_sz)):
                    if price != dbn.UNDEF_PRICE and size:
                        new[side, price] = size
            old = self._tens.get(name, {})
            for key in old.keys() | new.keys():
                if old.get(key, 0) != new.get(key, 0):
                    row = (key[1], new.get(key, 0) * NANOS, record.sequence, key[0])
                    self.events.deltas.append((*self._head(number, record), *row))
            self._tens[name] = new
        self._quote(number, record, (top.bid_px, top.bid_sz), (top.ask_px, top.ask_sz))

    def _mbo(self, number: int, record: Any) -> None:
        name, action, side = self._name(record), str(record.action), str(record.side)
        head = self._head(number, record)
        if action == "T":
            self._trade(number, record)
        if record.flags & BAD:
            if self._book.get(name) == "synced":
                self.events.statuses.append((*head, "lost", ""))
            self._book[name] = "lost"
            return
        if action != "R" and self._book.get(name) not in ("building", "synced"):
            return
        before = {kind: self.levels(name, kind) for kind in "BA"}
        reference = 0
        if action == "R":
            self.orders[name] = {}
            self._book[name] = "building"
        elif action in "ACM":
            reference = record.order_id
            self._order(name, action, side, record)
        for kind in "BA":
            after = self.levels(name, kind)
            for price in before[kind].keys() | after.keys():
                total = after.get(price, 0)
                if total != before[kind].get(price, 0):
                    code = 1 if kind == "B" else 2
                    self.events.deltas.append((*head, price, total * NANOS, reference, code))
        last = record.flags & LAST
        if self._book[name] == "building" and (last or not record.flags & SNAPSHOT):
            self._book[name] = "synced"
            self.events.statuses.append((*head, "synced", ""))
        if last and self._book[name] == "synced":
            bids, asks = self.levels(name, "B"), self.levels(name, "A")
            bid = max(bids) if bids else 0
            ask = min(asks) if asks else 0
            self._quote(number, record, (bid, bids.get(bid, 0)), (ask, asks.get(ask, 0)))

    def _order(self, name: str, action: str, side: str, record: Any) -> None:
        orders = self.orders[name]
        order = orders.get(record.order_id)
        if action == "C":
            if order is not None:
                order[2] -= min(record.size, order[2])
                if not order[2]:
                    del orders[record.order_id]
        elif order is None:
            if record.size:
                orders[record.order_id] = [side, record.price, record.size]
        elif action == "M" and order[0] == side:
            orders[record.order_id] = [side, record.price, record.size]
            if not record.size:
                del orders[record.order_id]
