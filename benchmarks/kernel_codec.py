"""Events per second through the wire codec, against fastavro on the same records.

python -m benchmarks.kernel_codec [runs]
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date

import fastavro
import numpy as np

from tickloom.codec import SCHEMA, TickBatch, decode, encode
from tickloom.events import TRADE_DTYPE, EventBlock, SymbolTable, make_seq

EVENTS = 1_000  # a full batch
BATCHES = 200


def batch() -> TickBatch:
    """A batch of trades of eight symbols."""
    rng = np.random.default_rng(1)
    trades = np.zeros(EVENTS, TRADE_DTYPE)
    trades["symbol"] = rng.integers(1, 9, EVENTS)
    trades["ts_event"] = 1_795_132_800_000_000_000 + np.cumsum(rng.integers(0, 10**6, EVENTS))
    trades["ts_recv"] = trades["ts_event"] + rng.integers(10**5, 10**7, EVENTS)
    trades["seq"] = make_seq(date(2026, 11, 21), 1) + np.arange(EVENTS)
    trades["price"] = rng.integers(1_000, 50_000, EVENTS) * 10**7
    trades["size"] = rng.integers(1, 1_000, EVENTS) * 10**9
    trades["side"] = rng.integers(1, 3, EVENTS)
    block = EventBlock("XNAS", "20261121.B", SymbolTable([f"SYM{i}" for i in range(8)]), trades)
    return TickBatch(0, int(trades["seq"][0]), int(trades["seq"][-1]), int(trades["ts_event"][-1]), block)


def rate(work: Callable[[], object], batches: int) -> tuple[float, float]:
    """Events per second of CPU-bound ``work`` on one batch, and the CPU seconds spent."""
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        work()
    return batches * EVENTS / (time.perf_counter() - began), time.process_time() - cpu


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    one = batch()
    raw = encode(one)
    record = fastavro.schemaless_reader(io.BytesIO(raw), SCHEMA, None)
    schema = fastavro.parse_schema(SCHEMA)
    symbols = SymbolTable()

    def write_fastavro() -> None:
        fastavro.schemaless_writer(io.BytesIO(), schema, record)

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "encode": (lambda: encode(one), write_fastavro),
        "decode": (
            lambda: decode(raw, symbols),
            lambda: fastavro.schemaless_reader(io.BytesIO(raw), schema, None),
        ),
    }
    for name, (ours, theirs) in pairs.items():
        ours()
        theirs()
        mine, other, cpu_s = [], [], 0.0
        for _ in range(runs):  # in turns, so that both see the machine as it is
            events_per_s, spent_s = rate(ours, BATCHES)
            mine.append(events_per_s)
            cpu_s += spent_s
            other.append(rate(theirs, BATCHES // 10)[0])
        ratio = statistics.median(a / b for a, b in zip(mine, other, strict=True))
        line = {
            "metric": f"kernel.codec.{name}",
            "value": round(statistics.median(mine)),
            "unit": "events/s",
            "cpu_s": round(cpu_s, 3),
            "runs": runs,
            "baseline": "fastavro",
            "ratio": round(ratio, 2),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
