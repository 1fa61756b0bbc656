"""Messages per second from captured IEX-TP segments to events, against a loop over struct.unpack.

python benchmarks/ingest_iex.py [runs]

Plays a generated DEEP stream with books (its ``input`` says synthetic), and the exchange's samples of
../shared/data/iex where they are there. The baseline is the usual way in Python: struct.unpack, a dict a book
side, a tuple an event. Rates are per second of CPU time, of one core.
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
from pathlib import Path
from typing import Any

from ingest.capture import CaptureBatch, RecordKind
from ingest.iex.decoder import IexDecoder
from ingest.iex.iextp import pack
from ingest.iex.messages import LAYOUTS
from ingest.pcap import read_pcap
from tickloom.errors import DecodeError

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "iex"
SAMPLES = (("TOPS16.pcapng.gz", "20170710", 20), ("DEEP10.pcap.gz", "20170425", 3))
SESSION = "20170425"
OPEN_NS = 1_493_127_000 * 10**9  # half past nine in New York on that day
MESSAGES = 1_000_000
SYMBOLS = 400
BATCH_RECORDS = 1_000


class StructDecoder:
    """The usual way: unpack, dicts, one tuple an event."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._books: dict[tuple[bytes, int], dict[int, int]] = {}
        self._tops: dict[bytes, tuple[Any, ...]] = {}
        codes = {("u", 1): "B", ("u", 4): "I", ("i", 8): "q"}
        self._structs = {
            ord(letter): struct.Struct(
                "<" + "".join(codes.get((f.kind, f.size), f"{f.size}s") for f in layout.fields)
            )
            for letter, layout in LAYOUTS.items()
        }

    def decode(self, raw: bytes) -> None:
        count, sequence = struct.unpack_from("<H8xq", raw, 14)
        at = 40
        for number in range(sequence, sequence + count):
            size = int.from_bytes(raw[at : at + 2], "little")
            kind = raw[at + 2]
            values = self._structs[kind].unpack_from(raw, at + 2)
            at += 2 + size
            if kind in b"85":
                self._level(number, kind, *values[1:])
            else:
                self.events.append((number, kind, *values[1:]))

    def _level(
        self, number: int, kind: int, flags: int, time_ns: int, symbol: bytes, size: int, price: int
    ) -> None:
        levels = self._books.setdefault((symbol, kind), {})
        if size:
            levels[price] = size
        else:
            levels.pop(price, None)
        self.events.append((number, time_ns, symbol, kind, price, size))
        if flags & 1:
            bids, asks = self._books.get((symbol, 0x38)), self._books.get((symbol, 0x35))
            bid = max(bids) if bids else None
            ask = min(asks) if asks else None
            top = (bid, bids and bid and bids[bid], ask, asks and ask and asks[ask])
            if self._tops.get(symbol) != top:
                self._tops[symbol] = top
                self.events.append((number, time_ns, symbol, *top))


def synthetic_segments(count: int = MESSAGES) -> list[bytes]:
    """Levels near a walking middle, and trades: one in ten; a dozen messages a segment."""
    rng = random.Random(20170425)
    names = [f"S{number}" for number in range(SYMBOLS)]
    middle = [rng.randrange(100_000, 2_000_000) for _ in names]
    segments, held, now, number, offset = [], [], OPEN_NS, 1, 0
    for _ in range(count):
        which = min(int(rng.expovariate(8 / SYMBOLS)), SYMBOLS - 1)
        now += 20_000
        head = {"timestamp": now, "symbol": names[which]}
        if rng.random() < 0.1:
            middle[which] += rng.choice((-100, 0, 100))
            held.append(LAYOUTS["T"].pack(**head, price=middle[which], size=100, trade_id=now))
        else:
            letter = rng.choice("85")
            away = 100 * (1 + int(rng.expovariate(0.3)))
            price = middle[which] + (away if letter == "5" else -away)
            size = rng.choice((0, 0, 100, 200, 500))
            held.append(LAYOUTS[letter].pack(**head, price=price, size=size, flags=rng.random() < 0.9))
        if len(held) == 12:
            segments.append(pack(held, number, now, offset))
            number += len(held)
            offset += len(segments[-1]) - 40
            held = []
    return segments


def sample_segments(path: Path) -> list[bytes]:
    """The UDP payloads of a sample, up to where it is cut off."""
    found = []
    try:
        for _, payload in read_pcap(path):
            if payload is not None:
                found.append(payload)
    except DecodeError as error:
        print(f"# {error}")
    return found


def batches_of(segments: list[bytes]) -> list[CaptureBatch]:
    records = [(int(RecordKind.DATA), 0, raw) for raw in segments]
    return [CaptureBatch.of(records[at : at + BATCH_RECORDS]) for at in range(0, len(records), BATCH_RECORDS)]


def by_tickloom(batches: list[CaptureBatch], session: str, times: int) -> None:
    for _ in range(times):
        decoder = IexDecoder("IEXG", session)
        for batch in batches:
            decoder.decode(batch)


def by_struct(segments: list[bytes]) -> None:
    decoder = StructDecoder()
    for raw in segments:
        decoder.decode(raw)


def timed(runs: int, work: Callable[[], None]) -> float:
    """Median CPU seconds."""
    taken = []
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def measure(suffix: str, segments: list[bytes], session: str, runs: int, times: int, label: str) -> None:
    batches = batches_of(segments)
    count = sum(int.from_bytes(raw[14:16], "little") for raw in segments)
    start = time.perf_counter()
    by_tickloom(batches[:1], session, 1)
    compile_s = time.perf_counter() - start
    ours = timed(runs, lambda: by_tickloom(batches, session, times)) / times
    theirs = timed(max(1, runs // 3), lambda: by_struct(segments))
    line = {
        "metric": f"ingest.iex.decode.{suffix}",
        "value": round(count / ours, 1),
        "unit": "messages/s",
        "cpu_s": round(ours * times, 4),
        "runs": runs,
        "input": label,
        "messages": count * times,
        "compile_s": round(compile_s, 2),
        "baseline": "struct.unpack, a dict a book side, a tuple an event",
        "baseline_value": round(count / theirs, 1),
        "ratio": round(theirs / ours, 1),
    }
    print(json.dumps(line))


def main(runs: int) -> None:
    measure("synthetic", synthetic_segments(), SESSION, runs, 1, "synthetic DEEP: levels, books, trades")
    for name, session, times in SAMPLES:
        if (SHARED / name).exists():
            feed = name[:4].lower()
            measure(
                feed, sample_segments(SHARED / name), session, runs, times, f"{name}, by {times} decoders"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
