"""Messages per second from captured MoldUDP64 datagrams to events, against a decoder on struct.unpack.

python benchmarks/ingest_itch.py [runs]

Plays a synthetic session (the lines say ``"input": "synthetic"``), and the public file of
../shared/data/itch where it is there. The baseline does the same work the usual way: struct.unpack, a dict
of orders, a dict a book side, a tuple an event.
"""

from __future__ import annotations

import gc
import itertools
import json
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from ingest.capture import CaptureBatch, CaptureReader, CaptureWriter, RecordKind
from ingest.itch.decoder import ItchDecoder
from ingest.itch.files import read_itch
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import pack
from ingest.synthetic.datagrams import Datagrams
from ingest.synthetic.datagrams import pack as packing_of
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.parameters import MarketParameters

PUBLIC_FILE = (
    Path(__file__).parent.parent.parent / "shared" / "data" / "itch" / "ritch_ex20101224.TEST_ITCH_50"
)
SESSION = "20240808.TLSYN00001"
BATCH_RECORDS = 1_000
SLICE_NS = 8_000_000  # of market time a datagram: the demo's packing, about a dozen messages each

Batches = list[CaptureBatch]


class StructDecoder:
    """The usual way: one struct a type, one tuple an event."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._orders: dict[int, list[Any]] = {}
        self._books: dict[tuple[int, bytes], dict[int, int]] = {}
        codes = {1: "B", 2: "H", 4: "I", 6: "6s", 8: "Q"}
        self._structs = {
            ord(letter): struct.Struct(
                ">" + "".join(f"{f.size}s" if f.kind == "a" else codes[f.size] for f in layout.fields)
            )
            for letter, layout in LAYOUTS.items()
        }

    def decode(self, packet: bytes) -> None:
        _, sequence, count = struct.unpack_from(">10sQH", packet)
        at = 20
        for number in range(sequence, sequence + count):
            size = int.from_bytes(packet[at : at + 2], "big")
            at += 2
            kind = packet[at]
            fields = self._structs[kind].unpack_from(packet, at)
            at += size
            self._apply(number, chr(kind), fields[1], int.from_bytes(fields[3], "big"), fields[4:])

    def _apply(self, number: int, kind: str, locate: int, time_ns: int, values: tuple[Any, ...]) -> None:
        if kind in "AF":
            reference, side, shares, _, price = values[:5]
            self._change(number, locate, time_ns, side, price, shares)
            self._orders[reference] = [side, price, shares]
        elif kind in "ECXDU":
            order = self._orders.get(values[0])
            if order is None:
                return
            side, price, resting = order
            shares = resting if kind in "DU" else min(values[1], resting)
            if kind == "E" or (kind == "C" and values[3] != b"N"):
                paid = price if kind == "E" else values[4]
                self.events.append((number, time_ns, locate, "trade", paid, values[1], values[2]))
            self._change(number, locate, time_ns, side, price, -shares)
            order[2] -= shares
            if not order[2]:
                del self._orders[values[0]]
            if kind == "U":
                self._change(number, locate, time_ns, side, values[3], values[2])
                self._orders[values[1]] = [side, values[3], values[2]]
        elif kind == "P":
            self.events.append((number, time_ns, locate, "trade", values[4], values[2], values[5]))
        else:
            self.events.append((number, time_ns, locate, kind))

    def _change(self, number: int, locate: int, time_ns: int, side: bytes, price: int, change: int) -> None:
        book = self._books.setdefault((locate, side), {})
        best = max if side == b"B" else min
        before = (best(book), book[best(book)]) if book else None
        total = book.get(price, 0) + change
        if total > 0:
            book[price] = total
        else:
            book.pop(price, None)
        self.events.append((number, time_ns, locate, "level", side, price, total))
        after = (best(book), book[best(book)]) if book else None
        if after != before:
            self.events.append((number, time_ns, locate, "quote", side, after))


def synthetic_packets() -> list[bytes]:
    """Three market minutes of 24 stocks, about 300,000 messages."""
    stream = itch_stream(make_session(MarketParameters(duration_s=180.0, session_date=date(2024, 8, 8))))
    datagrams, packing = Datagrams(stream), packing_of(stream, SLICE_NS)
    return [datagrams.build(a, b) for a, b in itertools.pairwise(packing.first.tolist())]


def public_packets() -> list[bytes]:
    """The public file's 12,012 messages, thirty a datagram."""
    messages = list(read_itch(PUBLIC_FILE))
    return [pack(b"TLSYN00001", 1 + at, messages[at : at + 30]) for at in range(0, len(messages), 30)]


def batches_of(packets: list[bytes]) -> Batches:
    records = [(int(RecordKind.DATA), 0, packet) for packet in packets]
    return [CaptureBatch.of(records[at : at + BATCH_RECORDS]) for at in range(0, len(records), BATCH_RECORDS)]


def by_tickloom(batches: Batches, times: int) -> None:
    for _ in range(times):
        decoder = ItchDecoder("XNAS", SESSION)
        for batch in batches:
            decoder.decode(batch)


def by_struct(packets: list[bytes], times: int) -> None:
    for _ in range(times):
        decoder = StructDecoder()
        for packet in packets:
            decoder.decode(packet)


def append_all(packets: list[bytes], path: Path) -> None:
    """As the session does it: a write for what a poll brought; here one to eight datagrams."""
    with CaptureWriter(path) as writer:
        for at in range(0, len(packets), 8):
            some = packets[at : at + 8]
            writer.append_many(RecordKind.DATA, [0] * len(some), some)


def read_all(path: Path) -> None:
    with CaptureReader(path) as reader:
        for _ in reader.batches():
            pass


def timed(runs: int, work: Callable[[int], None]) -> tuple[float, float]:
    """Median seconds of wall and CPU time; the work is given the number of the run."""
    walls, cpus = [], []
    for run in range(runs):
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        work(run)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def line(metric: str, amount: float, unit: str, took: tuple[float, float], runs: int, **more: Any) -> None:
    value = round(amount / took[0], 1)
    print(
        json.dumps(
            {"metric": metric, "value": value, "unit": unit, "cpu_s": round(took[1], 4), "runs": runs, **more}
        )
    )


def decode_lines(suffix: str, packets: list[bytes], runs: int, label: str, times: int) -> None:
    batches = batches_of(packets)
    count = times * sum(int.from_bytes(packet[18:20], "big") for packet in packets)
    by_tickloom(batches[:1], 1)  # compile
    ours = timed(runs, lambda _: by_tickloom(batches, times))
    theirs = timed(max(1, runs // 3), lambda _: by_struct(packets, times))
    line(
        f"ingest.itch.decode.{suffix}",
        count,
        "messages/s",
        ours,
        runs,
        input=label,
        messages=count,
        baseline="struct.unpack, a dict of orders, a dict a book side",
        ratio=round(theirs[0] / ours[0], 1),
    )


def main(runs: int) -> None:
    packets = synthetic_packets()
    decode_lines("synthetic", packets, runs, "synthetic", 1)
    if PUBLIC_FILE.exists():
        decode_lines("public", public_packets(), runs, "ritch_ex20101224, by 20 decoders", 20)
    megabytes = sum(map(len, packets)) / 1e6
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / str(run) for run in range(runs)]
        took = timed(runs, lambda run: append_all(packets, paths[run]))
        line("ingest.capture.append", len(packets), "records/s", took, runs, input="synthetic")
        read_all(paths[0])
        took = timed(runs, lambda run: read_all(paths[run]))
        line("ingest.capture.read", megabytes, "MB/s", took, runs, input="synthetic")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
