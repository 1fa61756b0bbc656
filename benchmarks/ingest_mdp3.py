"""Messages per second from captured MDP 3.0 datagrams to columns, and to events, against struct.unpack.

python benchmarks/ingest_mdp3.py [runs]

Plays a generated channel (the lines say ``"input": "synthetic"``): books of ten levels, one to four entries
a message, one to six messages a packet, a trade in eight. The baselines do the same work the usual way: a
struct a template and a tuple an entry; and on top a list of levels a side, and a tuple an event.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from ingest.capture import CaptureBatch, RecordKind
from ingest.sbe import ColumnDecoder
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.sbe.mdp3.packets import frames_of, pack
from ingest.sbe.mdp3.schema import mdp3_schema

SESSION = "20231114.310"
START_NS = 1_700_000_000_000_000_000
INSTRUMENTS, DEPTH, TICK = 40, 10, 250_000_000
PACKETS = 60_000
BATCH_RECORDS = 1_000
END_OF_EVENT = 0x80
HEADER, ROOT = struct.Struct("<HHHH"), struct.Struct("<QB2x")
BOOK_ENTRY, TRADE_ENTRY = struct.Struct("<qiiIiBBcix"), struct.Struct("<qiiIiBBI2x")
NO_SIZE = 2**31 - 1

Batches = list[CaptureBatch]


class Channel:
    """Books that move: each event changes the top of one of them, as most events do."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._rpt = [0] * INSTRUMENTS
        self._books: list[list[list[list[int]]]] = [[[], []] for _ in range(INSTRUMENTS)]
        self.messages = 0

    def packet(self, sequence: int) -> bytes:
        now = START_NS + sequence * 20_000
        count = self._random.choice([1, 1, 2, 2, 3, 6])
        messages = [self._message(now, number == count - 1) for number in range(count)]
        self.messages += count
        return pack(sequence, now + 1_000, messages)

    def _message(self, now: int, last: bool) -> bytes:
        security = self._random.randrange(INSTRUMENTS)
        indicator = END_OF_EVENT if last else 0
        if self._random.random() < 0.125:
            self._rpt[security] += 1
            entry = TRADE_ENTRY.pack(1_000 * TICK, 2, security, self._rpt[security], 2, 1, 0, 7)
            body = struct.pack("<HB", 32, 1) + entry + struct.pack("<H5xB", 16, 0)
            return HEADER.pack(11, 48, 1, 13) + ROOT.pack(now, indicator) + body
        entries = [self._entry(security) for _ in range(self._random.choice([1, 1, 2, 4]))]
        body = struct.pack("<HB", 32, len(entries)) + b"".join(entries) + struct.pack("<H5xB", 24, 0)
        return HEADER.pack(11, 46, 1, 13) + ROOT.pack(now, indicator) + body

    def _entry(self, security: int) -> bytes:
        side = self._random.randrange(2)
        levels, sign = self._books[security][side], 1 - 2 * side
        self._rpt[security] += 1
        dice, room = self._random.random(), len(levels)
        level = min(int(self._random.expovariate(0.6)), max(0, room - 1))
        action, size = 1, self._random.randrange(1, 500)
        if room < 3 or (dice < 0.2 and (level == 0 or levels[level - 1][0] - sign != levels[level][0])):
            action = 0
            level = room if room < 3 else level
            before = (
                levels[level - 1][0] if level else (levels[0][0] + 2 * sign if levels else 4_000 - sign * 9)
            )
            levels.insert(level, [before - sign if level else before, size])
            del levels[DEPTH:]
        elif dice < 0.4:
            action, size = 2, NO_SIZE
        price = levels[level][0]
        if action == 1:
            levels[level][1] = size
        elif action == 2:
            del levels[level]
        return BOOK_ENTRY.pack(
            price * TICK, size, security, self._rpt[security], 1, level + 1, action, b"01"[side : side + 1], 0
        )


class StructDecoder:
    """The usual way: a struct a template, a tuple an entry; ``books``: levels and a tuple an event too."""

    def __init__(self, books: bool) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._with_books = books
        self._books: dict[tuple[int, bytes], list[list[int]]] = {}
        self._tops: dict[int, tuple[Any, ...]] = {}
        self._dirty: set[int] = set()

    def decode(self, packet: bytes) -> None:
        sequence, _ = struct.unpack_from("<IQ", packet)
        at = 12
        while at < len(packet):
            size, block, template, _, _ = struct.unpack_from("<HHHHH", packet, at)
            now, indicator = struct.unpack_from("<QB", packet, at + 10)
            group = at + 10 + block
            stride, count = struct.unpack_from("<HB", packet, group)
            layout = BOOK_ENTRY if template == 46 else TRADE_ENTRY
            for number in range(count):
                entry = layout.unpack_from(packet, group + 3 + number * stride)
                if not self._with_books:
                    self.events.append(entry)
                elif template == 46:
                    self._change(sequence, now, entry)
                else:
                    self.events.append((sequence, now, entry[2], "trade", entry[0], entry[1], entry[5]))
            if indicator & END_OF_EVENT and self._with_books:
                self._publish(sequence, now)
            at += size

    def _change(self, sequence: int, now: int, entry: tuple[Any, ...]) -> None:
        price, size, security, _, _, level, action, side, _ = entry
        levels = self._books.setdefault((security, side), [])
        if action == 0:
            levels.insert(level - 1, [price, size])
            for old, _ in levels[DEPTH:]:
                self.events.append((sequence, now, security, "level", side, old, 0))
            del levels[DEPTH:]
        elif action == 1:
            levels[level - 1][1] = size
        else:
            del levels[level - 1]
            size = 0
        self.events.append((sequence, now, security, "level", side, price, size))
        self._dirty.add(security)

    def _publish(self, sequence: int, now: int) -> None:
        for security in self._dirty:
            bids, asks = self._books.get((security, b"0")), self._books.get((security, b"1"))
            top = (tuple(bids[0]) if bids else None, tuple(asks[0]) if asks else None)
            if top != self._tops.get(security):
                self._tops[security] = top
                self.events.append((sequence, now, security, "quote", *top))
        self._dirty.clear()


def batches_of(packets: list[bytes]) -> Batches:
    records = [(int(RecordKind.DATA), 0, packet) for packet in packets]
    return [CaptureBatch.of(records[at : at + BATCH_RECORDS]) for at in range(0, len(records), BATCH_RECORDS)]


def to_columns(batches: Batches) -> int:
    decoder, decoded = ColumnDecoder(mdp3_schema()), 0
    for batch in batches:
        starts, stops, _ = frames_of(batch.data, batch.offsets)
        decoded += decoder.decode(batch.data, starts, stops).counters["decoded"]
    return decoded


def to_events(batches: Batches) -> Mdp3Decoder:
    decoder = Mdp3Decoder("XCME", SESSION)
    for batch in batches:
        decoder.decode(batch)
    return decoder


def by_struct(packets: list[bytes], books: bool) -> StructDecoder:
    decoder = StructDecoder(books)
    for packet in packets:
        decoder.decode(packet)
    return decoder


def cpu_s(runs: int, work: Callable[[], object]) -> float:
    """Median CPU seconds of a run."""
    took = []
    for _ in range(runs):
        gc.collect()
        before = time.process_time()
        work()
        took.append(time.process_time() - before)
    return statistics.median(took)


def line(metric: str, messages: int, ours: float, theirs: float, runs: int, baseline: str) -> None:
    value = {
        "metric": metric,
        "value": round(messages / ours),
        "unit": "messages/s",
        "cpu_s": round(ours, 4),
        "runs": runs,
        "input": "synthetic",
        "messages": messages,
        "baseline": baseline,
        "baseline_value": round(messages / theirs),
        "ratio": round(theirs / ours, 1),
    }
    print(json.dumps(value))


def main(runs: int) -> None:
    channel = Channel(1)
    packets = [channel.packet(number) for number in range(1, PACKETS + 1)]
    batches = batches_of(packets)
    before = time.process_time()
    to_columns(batches[:1])
    to_events(batches[:1])
    compile_s = round(time.process_time() - before, 2)
    assert to_columns(batches) == channel.messages
    decoder = to_events(batches)
    assert decoder.counters["decoded"] == channel.messages
    assert not decoder.counters["contradicted"], "the generator and the decoder do not agree"
    slow = max(1, runs // 3)
    line(
        "ingest.mdp3.columns",
        channel.messages,
        cpu_s(runs, lambda: to_columns(batches)),
        cpu_s(slow, lambda: by_struct(packets, books=False)),
        runs,
        "struct.unpack, a tuple an entry",
    )
    line(
        "ingest.mdp3.events",
        channel.messages,
        cpu_s(runs, lambda: to_events(batches)),
        cpu_s(slow, lambda: by_struct(packets, books=True)),
        runs,
        "struct.unpack, a list of levels a side, a tuple an event",
    )
    print(json.dumps({"metric": "ingest.mdp3.compile", "value": compile_s, "unit": "s"}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
