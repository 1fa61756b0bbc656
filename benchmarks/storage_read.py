"""Rows per second out of QuestDB: Arrow by Parquet and whole event blocks, against fetching with psycopg.

python benchmarks/storage_read.py [rows] [runs]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import psycopg

from benchmarks.storage_write import blocks_of, server, write_by_sink
from storage import QuestDbReader, wait_applied
from tickloom.settings import QuestDbSettings

SQL = "SELECT ts, ts_recv, symbol, seq, price, size, side FROM trades WHERE venue = 'XNAS'"


def by_arrow(settings: QuestDbSettings) -> int:
    """The statement's result as an Arrow table."""
    with QuestDbReader(settings) as reader:
        return int(reader.query(SQL).num_rows)


def by_csv(settings: QuestDbSettings) -> int:
    """The same by the way that results with VARCHAR columns take."""
    with QuestDbReader(settings) as reader:
        return int(reader.query(SQL, limit=2**31).num_rows)


def by_events(settings: QuestDbSettings) -> int:
    """Trades as event blocks in (ts_event, seq) order, prices in nanos."""
    with QuestDbReader(settings) as reader:
        return sum(len(block) for block in reader.read_events("XNAS", 0, 2**62, kinds=["trades"]))


def by_psycopg(settings: QuestDbSettings) -> int:
    """Rows as tuples, binary, times as LONG because this wire cuts them to microseconds."""
    sql = SQL.replace("ts,", "ts::long,", 1).replace("ts_recv", "ts_recv::long", 1)
    with (
        psycopg.connect(settings.dsn, autocommit=True) as connection,
        connection.cursor(binary=True) as cursor,
    ):
        return len(cursor.execute(sql).fetchall())


def main() -> None:
    """Print one JSON line a metric."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ways: dict[str, Callable[[QuestDbSettings], int]] = {
        "storage.read.arrow": by_arrow,
        "storage.read.arrow_csv": by_csv,
        "storage.read.events": by_events,
        "": by_psycopg,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    with server() as settings:
        write_by_sink(settings, blocks_of("trades", "S", rows))
        wait_applied(settings, ["trades"], timeout_s=300)
        for run in range(runs + 1):
            for name, read in ways.items():
                cpu, began = time.process_time(), time.perf_counter()
                count = read(settings)
                seconds = time.perf_counter() - began
                assert count == rows, (name, count)
                if run:  # the first warms caches
                    rates[name].append(rows / seconds)
                    cpus[name].append(time.process_time() - cpu)
    baseline = statistics.median(rates[""])
    for name in ways:
        if name:
            value = statistics.median(rates[name])
            print(
                json.dumps(
                    {
                        "metric": name,
                        "value": round(value),
                        "unit": "rows/s",
                        "cpu_s": round(statistics.median(cpus[name]), 3),
                        "runs": runs,
                        "baseline": "psycopg 3 fetchall, binary",
                        "ratio": round(value / baseline, 2),
                    }
                )
            )


if __name__ == "__main__":
    main()
