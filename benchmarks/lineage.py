"""Seconds from a seq to its captured bytes at the worst place, against reading the capture from its start.

python -m benchmarks.lineage [messages] [runs]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from ingest.capture import CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.itch.moldudp64 import messages, pack, parse
from ingest.trace import find
from tickloom.events import make_seq, source_seq

DAY, VENUE, SESSION = date(2026, 11, 20), "XNAS", "20261120.BENCHMARK1"
MESSAGE = b"A" + bytes(35)  # an AddOrder's length, and most messages are one
EACH = 10  # of a datagram
BURST = 10_000


def make(data_dir: Path, count: int) -> None:
    """A capture of ``count`` messages; 9 million fill more than one segment."""
    with CaptureWriter(session_path(data_dir, VENUE, SESSION)) as writer:
        for first in range(1, count, BURST):
            payloads = [pack(b"BENCHMARK1", first + at, [MESSAGE] * EACH) for at in range(0, BURST, EACH)]
            writer.append_many(RecordKind.DATA, [first] * len(payloads), payloads)


def read_all(data_dir: Path, seq: int) -> bytes:
    """The message by every record in turn."""
    wanted = source_seq(seq)
    with CaptureReader(session_path(data_dir, VENUE, SESSION)) as reader:
        for batch in reader.batches():
            for record in batch:
                head = parse(record.payload)
                if head is not None and head.sequence <= wanted < head.next_sequence:
                    return messages(record.payload)[wanted - head.sequence]
    raise AssertionError(f"{seq} is not there")


def main() -> None:
    """Print one JSON line."""
    count = (
        int(sys.argv[1]) if len(sys.argv) > 1 else 6_300_000
    )  # just below a segment, all of which is walked
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    seq = make_seq(DAY, count - 5)
    ours, cpu, whole = [], [], []
    with tempfile.TemporaryDirectory(prefix="tickloom-") as directory:
        data_dir = Path(directory)
        make(data_dir, count)
        for _ in range(runs):
            began, cpu_began = time.perf_counter(), time.process_time()
            (found,) = find(data_dir, VENUE, SESSION, [seq])
            ours.append(time.perf_counter() - began)
            cpu.append(time.process_time() - cpu_began)
            began = time.perf_counter()
            assert read_all(data_dir, seq) == found.message
            whole.append(time.perf_counter() - began)
    value = statistics.median(ours)
    line = {
        "metric": "lineage.packet_s",
        "value": round(value, 3),
        "unit": "s",
        "cpu_s": round(statistics.median(cpu), 3),
        "runs": runs,
        "baseline": "each record read and parsed, from the first",
        "ratio": round(statistics.median(whole) / value, 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
