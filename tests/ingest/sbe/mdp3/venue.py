"""A channel of MDP 3.0 as its venue would send it, with struct and plain dicts only: the tests' other side.

:class:`Venue` keeps the true books (a dict of price to size a side), makes messages of changes by comparing
level by level, and knows every number on the wire. It shares nothing with the decoder.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

NOW = 1_700_000_000_000_000_000  # 2023-11-14 22:13:20 UTC
SESSION = "20231114.310"
NULL_PRICE, NULL_I4, NULL_U4 = 2**63 - 1, 2**31 - 1, 2**32 - 1
END = 0x80
NANOS = 10**9


def message(template: int, root: bytes, body: bytes = b"", version: int = 13, schema: int = 1) -> bytes:
    return struct.pack("<HHHH", len(root), template, schema, version) + root + body


def root(time: int, indicator: int) -> bytes:
    return struct.pack("<QB2x", time, indicator)


def group(size: int, entries: list[bytes]) -> bytes:
    return struct.pack("<HB", size, len(entries)) + b"".join(entries)


def book_entry(
    security: int, rpt: int, side: str, action: int, level: int, price: int, size: int | None, orders: int = 1
) -> bytes:
    """price: nanos; size: units. 32 bytes: the last ones are TradeableSize (null) and padding."""
    lots = NULL_I4 if size is None else size
    return struct.pack(
        "<qiiIiBBcix", price, lots, security, rpt, orders, level, action, side.encode(), NULL_I4
    )


def book(time: int, entries: list[bytes], indicator: int = END, version: int = 13) -> bytes:
    orders = struct.pack("<H5xB", 24, 0)
    return message(46, root(time, indicator), group(32, entries) + orders, version)


def trade_entry(
    security: int, rpt: int, price: int, size: int, aggressor: int = 1, action: int = 0, trade: int = 9
) -> bytes:
    return struct.pack("<qiiIiBBI2x", price, size, security, rpt, 2, aggressor, action, trade)


def trades(time: int, entries: list[bytes], indicator: int = END) -> bytes:
    orders = struct.pack("<H5xB", 16, 1) + struct.pack("<Qi4x", 77, 1)
    return message(48, root(time, indicator), group(32, entries) + orders)


def volume(time: int, security: int, rpt: int, indicator: int = END) -> bytes:
    return message(37, root(time, indicator), group(16, [struct.pack("<iiIB3x", 5, security, rpt, 0)]))


def status(
    time: int,
    state: int,
    security: int | None = None,
    security_group: str = "",
    reason: int = 0,
    event: int = 0,
) -> bytes:
    number = NULL_I4 if security is None else security
    body = struct.pack(
        "<Q6s6siHBBBB", time, security_group.encode(), b"", number, 19_675, END, state, reason, event
    )
    return message(30, body)


def channel_reset(time: int) -> bytes:
    return message(4, struct.pack("<QB", time, END), group(2, [struct.pack("<h", 310)]))


def future(security: int, symbol: str, depth: int, security_group: str = "ES", loop: int = 0) -> bytes:
    """224 bytes of root: only what the decoder looks at is not zero. ``loop``: definitions in a loop."""
    raw = bytearray(224)
    raw[0], raw[5] = END, ord("A")
    raw[1:5] = struct.pack("<I", loop)
    raw[23:29], raw[35:55] = security_group.encode().ljust(6, b"\0"), symbol.encode().ljust(20, b"\0")
    raw[55:59] = struct.pack("<i", security)
    raw[91:99], raw[99:107] = struct.pack("<q", 250_000_000), struct.pack("<q", NANOS)
    feeds = group(4, [struct.pack("<3sb", b"GBX", depth), struct.pack("<3sb", b"GBI", 2)])
    return message(54, bytes(raw), group(9, []) + feeds + group(4, []) + group(5, []))


def packet(sequence: int, sent: int, messages: list[bytes]) -> bytes:
    framed = b"".join(struct.pack("<H", len(item) + 2) + item for item in messages)
    return struct.pack("<IQ", sequence, sent) + framed


@dataclass
class Book:
    """The truth: price to size, each side; nanos and units."""

    depth: int
    sides: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    rpt: int = 0

    def top(self, side: int) -> list[tuple[int, int]]:
        """What the venue shows of a side: the best levels, best first."""
        best = sorted(self.sides[side].items(), reverse=side == 0)
        return best[: self.depth]


class Venue:
    """Sends one message an event. All random numbers come from the seed."""

    def __init__(self, seed: int, securities: dict[int, int]) -> None:
        self.random = random.Random(seed)
        self.books = {security: Book(depth) for security, depth in securities.items()}
        self.sequence, self.time = 0, NOW

    def packet(self, messages: list[bytes]) -> bytes:
        self.sequence += 1
        return packet(self.sequence, self.time + 1_000, messages)

    def event(self) -> list[bytes]:
        """Messages of one event: one or two books change, or a trade happens; the last one ends it."""
        self.time += self.random.randrange(1_000, 1_000_000)
        out: list[bytes] = []
        for security in self.random.sample(sorted(self.books), self.random.choice([1, 1, 2])):
            kind = self.random.random()
            if kind < 0.1:
                self.books[security].rpt += 1
                out.append(volume(self.time, security, self.books[security].rpt, 0))
            elif kind < 0.25:
                self.books[security].rpt += 1
                entry = trade_entry(security, self.books[security].rpt, 100 * NANOS, 3)
                out.append(trades(self.time, [entry], 0))
            else:
                out.append(book(self.time, self.change(security), 0))
        out.append(book(self.time, []))
        return out

    def change(self, security: int) -> list[bytes]:
        """A random change of a side, as the entries that bring the shown levels from old to new."""
        truth, side = self.books[security], self.random.choice([0, 1])
        before, prices = truth.top(side), truth.sides[side]
        middle = 100 * 4
        for _ in range(self.random.choice([1, 1, 1, 3])):
            if prices and self.random.random() < 0.5:
                chosen = self.random.choice(sorted(prices))
                if self.random.random() < 0.5:
                    del prices[chosen]
                else:
                    prices[chosen] = self.random.randrange(1, 90)
            else:
                tick = self.random.randrange(1, 25)
                price = (middle - tick if side == 0 else middle + tick) * NANOS // 4
                prices[price] = self.random.randrange(1, 90)
        if self.random.random() < 0.02:
            prices.clear()
        return self.entries(security, side, before, truth.top(side))

    def entries(
        self, security: int, side: int, old: list[tuple[int, int]], new: list[tuple[int, int]]
    ) -> list[bytes]:
        """Entries that turn one shown side into another, by each of the six actions."""
        out: list[bytes] = []
        truth, letter = self.books[security], "01"[side]
        working = list(old)

        def say(action: int, level: int, price: int, size: int | None) -> None:
            truth.rpt += 1
            out.append(book_entry(security, truth.rpt, letter, action, level, price, size))

        gone = [row for row, (price, _) in enumerate(working) if price not in truth.sides[side]]
        if gone and gone == list(range(len(gone))) and self.random.random() < 0.5:
            say(3, len(gone), working[gone[-1]][0], None)
            del working[: len(gone)]
        elif gone and gone == list(range(gone[0], len(working))) and self.random.random() < 0.5:
            say(4, gone[0] + 1, working[gone[0]][0], None)
            del working[gone[0] :]
        elif len(gone) == 1 and gone[0] < len(new) and self.replaces(side, gone[0], working, new):
            say(5, gone[0] + 1, *new[gone[0]])
            working[gone[0]] = new[gone[0]]
        else:
            for row in reversed(gone):
                say(2, row + 1, working[row][0], self.random.choice([None, working[row][1]]))
                del working[row]
        for row, (price, size) in enumerate(new):
            if row < len(working) and working[row][0] == price:
                if working[row][1] != size:
                    say(1, row + 1, price, size)
            else:
                say(0, row + 1, price, size)
                working = [*working[:row], (price, size), *working[row:]][: truth.depth]
            working[row] = (price, size)
        assert [price for price, _ in working] == [price for price, _ in new]
        return out

    @staticmethod
    def replaces(side: int, row: int, old: list[tuple[int, int]], new: list[tuple[int, int]]) -> bool:
        """Whether one level's price is the only thing that changes above the levels behind it."""
        if [price for price, _ in old[:row]] != [price for price, _ in new[:row]]:
            return False
        if new[row][0] in {price for price, _ in old}:
            return False
        behind = old[row + 1][0] if row + 1 < len(old) else None
        return behind is None or (new[row][0] > behind if side == 0 else new[row][0] < behind)

    def snapshot(self, security: int, loop: int = 1) -> bytes:
        """A packet of the market recovery feed, as of the last packet sent; ``loop``: snapshots in a loop."""
        truth = self.books[security]
        entries = [
            struct.pack("<qiibHBBc", price, size, 1, level, 65_535, 255, 0, letter)
            for side, letter in ((0, b"0"), (1, b"1"))
            for level, (price, size) in enumerate(truth.top(side), 1)
        ]
        entries.append(struct.pack("<qiibHBBc", 1, 1, 1, 127, 65_535, 255, 0, b"2"))  # the last trade
        limits = (NULL_PRICE, NULL_PRICE, NULL_PRICE)
        body = struct.pack(
            "<IIiIQQHBqqq",
            self.sequence,
            loop,
            security,
            truth.rpt,
            self.time,
            self.time,
            19_675,
            255,
            *limits,
        )  # fmt: skip
        return packet(1, self.time + 2_000, [message(52, body, group(22, entries))])
