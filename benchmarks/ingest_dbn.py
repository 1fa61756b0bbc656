"""DBN records to events, in records per second of one core, beside ``databento_dbn`` making objects of them.

python -m benchmarks.ingest_dbn [--records N] [--runs N]

Generated records of a hundred instruments in memory, in pieces as a capture has them: trades, mbp-1 (each
with a new best), mbp-10 (one level of ten changes), and mbo (a full book: 45 % adds, 45 % cancels, 10 %
modifies). ``value`` is records over the median of the runs' CPU time. The baseline decodes the first records
of the same bytes, and makes no events of them. ``events`` says how many came of the records.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time

import databento_dbn as dbn
import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.dbn import records as r
from ingest.dbn.decoder import DbnDecoder
from ingest.dbn.kernel import whole_records

RECORDS, BASELINE_RECORDS = 1_000_000, 100_000
INSTRUMENTS = 100
START_NS = 1_795_132_800_000_000_000
TICK = 10_000_000
PIECE_BYTES = 1 << 16
PIECES_AT_ONCE = 64


def records_of(schema: str, count: int) -> np.ndarray:
    """Records of a schema; the mbo ones begin with a clear of each book."""
    rng = np.random.default_rng(3)
    dtype, rtype = {
        "trades": (r.MBP_0, r.RType.MBP_0),
        "mbp-1": (r.MBP_1, r.RType.MBP_1),
        "mbp-10": (r.MBP_10, r.RType.MBP_10),
        "mbo": (r.MBO, r.RType.MBO),
    }[schema]
    rows = np.zeros(count, dtype=dtype)
    number = np.arange(count)
    rows["length"], rows["rtype"], rows["publisher_id"] = dtype.itemsize // 4, rtype, 1
    rows["instrument_id"] = rng.integers(1, INSTRUMENTS + 1, count)
    rows["ts_event"] = START_NS + number * 1_000
    rows["ts_recv"] = rows["ts_event"] + 20_000
    rows["sequence"], rows["flags"], rows["size"] = number % 2**32, r.FLAG_LAST, 5
    rows["side"] = rng.choice([b"A", b"B"], count)
    rows["price"] = (10_000 + rng.integers(-50, 50, count)) * TICK
    rows["action"] = b"T" if schema == "trades" else b"A"
    for level in range({"mbp-1": 1, "mbp-10": 10}.get(schema, 0)):
        rows[f"bid_px_{level:02d}"] = (10_000 - level) * TICK
        rows[f"ask_px_{level:02d}"] = (10_001 + level) * TICK
        changes = level == 0 or schema == "mbp-1"
        rows[f"bid_sz_{level:02d}"] = rng.integers(1, 100, count) if changes else 7
        rows[f"ask_sz_{level:02d}"] = 9
    if schema == "mbo":
        _orders(rows, rng)
    return rows


def _orders(rows: np.ndarray, rng: np.random.Generator) -> None:
    """Orders that come, change and go; bids below asks."""
    rows["instrument_id"][:INSTRUMENTS] = np.arange(1, INSTRUMENTS + 1)
    rows["action"][:INSTRUMENTS] = b"R"
    live: list[int] = []
    draws, picks = rng.random(len(rows)), rng.random(len(rows))
    side, instrument, price = rows["side"], rows["instrument_id"], rows["price"]
    order_id, action = rows["order_id"], rows["action"]
    offsets = rng.integers(1, 60, len(rows))
    for at in range(INSTRUMENTS, len(rows)):
        if draws[at] < 0.45 or len(live) < 2_000:
            order_id[at] = at
            live.append(at)
        else:
            pick = int(picks[at] * len(live))
            of = live[pick]
            order_id[at], instrument[at], side[at] = of, instrument[of], side[of]
            if draws[at] < 0.9:
                action[at], price[at] = b"C", price[of]
                live[pick] = live[-1]
                live.pop()
            else:
                action[at] = b"M"
        if action[at] != b"C":
            price[at] = (10_000 + (offsets[at] if side[at] == b"A" else -offsets[at])) * TICK


def batches(raw: bytes) -> list[CaptureBatch]:
    """Pieces of whole records, as a capture's reader gives them."""
    cuts = np.zeros(len(raw) // PIECE_BYTES + 2, dtype=np.int64)
    count, _, _ = whole_records(np.frombuffer(raw, dtype=np.uint8), PIECE_BYTES, cuts)
    bounds = [0, *cuts[:count].tolist()]
    pieces = [(RecordKind.DATA, START_NS, raw[bounds[i] : bounds[i + 1]]) for i in range(count)]
    return [CaptureBatch.of(pieces[at : at + PIECES_AT_ONCE]) for at in range(0, count, PIECES_AT_ONCE)]


def decode(given: list[CaptureBatch]) -> tuple[int, float]:
    """Events, and CPU seconds."""
    decoder = DbnDecoder("XCME", "20261120.DBN.X.1", lateness_ns=10**10)
    began = time.process_time()
    events = sum(len(decoder.decode(batch)) for batch in given)
    return events, time.process_time() - began


def by_objects(raw: bytes) -> float:
    """CPU seconds of the package."""
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    began = time.process_time()
    decoder.write(raw)
    decoder.decode()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    for schema in ("trades", "mbp-1", "mbp-10", "mbo"):
        rows = records_of(schema, arguments.records)
        given = batches(rows.tobytes())
        decode(given[:1])  # compiled
        took = [decode(given) for _ in range(arguments.runs)]
        cpu = statistics.median(seconds for _, seconds in took)
        part = rows[:BASELINE_RECORDS]
        plain = by_objects(part.tobytes())
        line = {
            "metric": f"ingest.dbn.{schema}",
            "value": round(len(rows) / cpu),
            "unit": "records/s",
            "cpu_s": round(cpu, 4),
            "runs": arguments.runs,
            "events": took[0][0],
            "baseline": "databento_dbn.DBNDecoder, objects",
            "baseline_value": round(len(part) / plain),
            "ratio": round(len(rows) / cpu * plain / len(part), 1),
            "load": os.getloadavg()[0],
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
