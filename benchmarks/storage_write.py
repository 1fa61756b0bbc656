"""Rows per second into QuestDB: the sink, from an EventBlock to acknowledged, against ``Sender.row``.

    python -m benchmarks.storage_write [rows] [runs]

Runs take turns, each into a session of its own in a fresh server. ``cpu_s`` is of this process, the
server's comes on top.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
from questdb import Protocol, Sender, TimestampNanos

from storage import QuestDbSink, schema, wait_applied
from tickloom.events import (
    CONDITION_TEXTS,
    QUOTE_DTYPE,
    SIDE_TEXTS,
    TRADE_DTYPE,
    EventBlock,
    SymbolTable,
    make_seq,
)
from tickloom.settings import QuestDbSettings
from tickloom.stack import questdb
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

BLOCK_ROWS = 5_000
START_NS = 1_795_132_800_000_000_000
NANOS = 1_000_000_000


@contextmanager
def server() -> Iterator[QuestDbSettings]:
    """A fresh QuestDB with the schema, in a directory that is removed."""
    with tempfile.TemporaryDirectory(prefix="tickloom-bench-") as directory:
        configuration = StackConfiguration.load(stack={"data_dir": Path(directory)}).with_free_ports()
        service = questdb.service(configuration.questdb, Path(directory))
        with Stack([service], configuration.stack):
            schema.apply(configuration.questdb)
            yield configuration.questdb


def blocks_of(kind: str, session: str, rows: int) -> list[EventBlock]:
    """Trades or quotes of 24 symbols, a message every 10 us, in blocks as an ingester writes them."""
    rng = np.random.default_rng(1)
    symbols = SymbolTable([f"S{number:03d}" for number in range(24)])
    blocks = []
    for start in range(0, rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, rows - start)
        number = start + np.arange(count)
        records = np.zeros(count, dtype=TRADE_DTYPE if kind == "trades" else QUOTE_DTYPE)
        records["seq"] = make_seq(date(2026, 11, 20), 1) + number
        records["ts_event"] = START_NS + number * 10_000
        records["ts_recv"] = records["ts_event"] + 30_000
        records["symbol"] = rng.integers(1, len(symbols), count)
        records["venue_id"] = number
        for name in records.dtype.names or ():
            if name.endswith("price"):
                records[name] = rng.integers(10_000, 500_000, count) * (NANOS // 100)
            elif name.endswith("size"):
                records[name] = rng.integers(1, 1_000, count) * NANOS
        block = EventBlock("XNAS", session, symbols)
        if kind == "trades":
            records["side"] = rng.integers(0, 3, count)
            block.trades = records
        else:
            block.quotes = records
        blocks.append(block)
    return blocks


def write_by_sink(settings: QuestDbSettings, blocks: list[EventBlock]) -> None:
    """Ours: queue, check, frame, ILP; returns when all is acknowledged."""
    sink = QuestDbSink(settings)
    for block in blocks:
        sink.write(block, 0, 0)
    sink.close()


def write_by_rows(settings: QuestDbSettings, blocks: list[EventBlock]) -> None:
    """What QuestDB's documentation shows first: a row at a time, the client flushes by itself."""
    with Sender(Protocol.Http, settings.host, settings.http_port) as sender:
        for block in blocks:
            for row in block.trades.tolist():
                ts_event, ts_recv, seq, symbol, price, size, venue_id, side, condition = row
                sender.row(
                    "trades",
                    symbols={
                        "venue": block.venue,
                        "session": block.session,
                        "symbol": block.symbols.names[symbol],
                        "side": SIDE_TEXTS[side],
                        "condition": CONDITION_TEXTS[condition],
                    },
                    columns={
                        "ts_recv": TimestampNanos(ts_recv),
                        "seq": seq,
                        "price": price / NANOS,
                        "size": size / NANOS,
                        "venue_id": venue_id,
                    },
                    at=TimestampNanos(ts_event),
                )
            sender.flush()


Write = Callable[[QuestDbSettings, list[EventBlock]], None]


def measure(settings: QuestDbSettings, write: Write, blocks: list[EventBlock]) -> tuple[float, float]:
    """Rows per second, and CPU seconds of this process."""
    rows = sum(len(block) for block in blocks)
    cpu, began = time.process_time(), time.perf_counter()
    write(settings, blocks)
    seconds = time.perf_counter() - began
    return rows / seconds, time.process_time() - cpu


def main() -> None:
    """Print one JSON line a metric."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    found: dict[str, list[tuple[float, float]]] = {"trades": [], "quotes": [], "row": []}
    with server() as settings:
        write_by_sink(settings, blocks_of("trades", "WARM", 50_000))
        for run in range(runs):
            for kind in ("trades", "quotes"):
                found[kind].append(measure(settings, write_by_sink, blocks_of(kind, f"{kind}{run}", rows)))
                wait_applied(settings, [kind], timeout_s=300)  # the next run does not pay for this one
            found["row"].append(measure(settings, write_by_rows, blocks_of("trades", f"row{run}", rows // 5)))
            wait_applied(settings, ["trades"], timeout_s=300)
    baseline = statistics.median(rate for rate, _ in found["row"])
    for kind in ("trades", "quotes"):
        value = statistics.median(rate for rate, _ in found[kind])
        line: dict[str, object] = {
            "metric": f"storage.write.{kind}",
            "value": round(value),
            "unit": "rows/s",
            "cpu_s": round(statistics.median(cpu for _, cpu in found[kind]), 3),
            "runs": runs,
        }
        if kind == "trades":
            line |= {"baseline": "questdb Sender.row loop", "ratio": round(value / baseline, 2)}
        print(json.dumps(line))


if __name__ == "__main__":
    main()
