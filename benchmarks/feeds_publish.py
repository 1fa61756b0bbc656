"""Decoded columns into QuestDB and Kafka at once, confirmed by both, in events per second.

python -m benchmarks.feeds_publish [--messages N] [--runs N]

A generated ITCH file is decoded before the clock starts, into the blocks that a bulk load hands on: book
deltas mostly, quotes, trades. Then each sink takes them in a thread of its own, as an ingester's do, into
fresh servers on this machine; each time as the session of a later day, as history comes. The clock stops
when the broker has acknowledged every record (``acks=all``, idempotent) and QuestDB every row, and the run
counts only if QuestDB then shows just so many rows and the records on Kafka hold just so many events.
``value`` is events over the median of the runs' wall time, with both servers on the same cores;
``value_cpu`` over the CPU time of this process, which is what the sinks take. ``kafka_cpu_s`` and
``questdb_cpu_s`` are those of a sink alone. The baseline, on the first events of the same blocks, is the
usual way: ``Sender.row`` and a JSON record an event.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from questdb import Protocol, Sender, TimestampNanos

from benchmarks._itch_file import itch_file
from ingest.bulk.load import Options, load, open_source
from ingest.bulk.tables import TableOptions
from ingest.kafka_sink import KafkaSink
from storage import QuestDbSink, schema, wait_applied
from storage.connection import Connection
from tickloom import codec, topics
from tickloom.clock import NS_PER_DAY
from tickloom.events import TRUST_DTYPE, EventBlock, empty, seq_base
from tickloom.settings import ItchSettings
from tickloom.sinks import EventSink
from tickloom.stack import kafka as kafka_server
from tickloom.stack import questdb as questdb_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

MESSAGES = 1_000_000
BASELINE_EVENTS = 40_000
VENUE, DAY = "XNAS", date(2026, 11, 20)
NANOS = 1_000_000_000
TRUST_NONE = empty(TRUST_DTYPE)
Blocks = list[tuple[EventBlock, int, int]]


@contextmanager
def servers() -> Iterator[StackConfiguration]:
    """A fresh QuestDB with the schema, and a fresh broker, in a directory that is removed."""
    with tempfile.TemporaryDirectory(prefix="tickloom-bench-") as directory:
        data = Path(directory)
        configuration = StackConfiguration.load(stack={"data_dir": data}).with_free_ports()
        services = [
            questdb_server.service(configuration.questdb, data / "questdb"),
            kafka_server.service(configuration.kafka, data / "kafka"),
        ]
        with Stack(services, configuration.stack):
            schema.apply(configuration.questdb)
            yield configuration


class _Kept:
    """A sink that keeps the blocks."""

    name = "kept"

    def __init__(self) -> None:
        self.blocks: Blocks = []

    def resume_after(self, _venue: str, _session: str) -> dict[str, int]:
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        block.trust = TRUST_NONE  # what an ingester makes of the events is not counted
        self.blocks.append((block, watermark_ns, last_seq))

    def flush(self) -> None: ...

    def close(self) -> None: ...


def decoded(messages: int) -> Blocks:
    """What a bulk load of a generated file hands to its sinks."""
    kept = _Kept()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "itch"
        itch_file(messages).tofile(path)
        options = Options(path.parent, VENUE, table=TableOptions(day=DAY))
        load(open_source(path, options), [kept])
    return kept.blocks


def days_later(blocks: Blocks, days: int, venue: str) -> Blocks:
    """The same events as another day's session, of another venue."""
    later_ns, session = days * NS_PER_DAY, f"{DAY + timedelta(days):%Y%m%d}.B"
    base = seq_base(DAY + timedelta(days)) - seq_base(DAY)
    out = []
    for block, watermark, last_seq in blocks:
        kinds = [records.copy() for records in block.kinds().values()]
        for records in kinds:
            records["ts_event"] += later_ns
            records["ts_recv"] += later_ns
            records["seq"] += base
        moved = EventBlock(venue, session, block.symbols, *kinds)
        out.append((moved, watermark + later_ns, last_seq + base))
    return out


def drive(sink: EventSink, blocks: Blocks) -> None:
    """A sink's thread: all blocks, until they are confirmed."""
    for block, watermark, last_seq in blocks:
        sink.write(block, watermark, last_seq)
    sink.flush()


def publish(sinks: list[Any], blocks: Blocks) -> tuple[float, float]:
    """Wall and CPU seconds of this process until every sink has had all confirmed."""
    failures: list[BaseException] = []

    def run(sink: Any) -> None:
        try:
            drive(sink, blocks)
        except BaseException as error:
            failures.append(error)

    block = blocks[0][0]
    for sink in sinks:
        sink.resume_after(block.venue, block.session)
    threads = [threading.Thread(target=run, args=(sink,)) for sink in sinks]
    wall, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - wall, time.process_time() - cpu
    if failures:
        raise failures[0]
    for sink in sinks:
        sink.close()
    return took


def stored(configuration: StackConfiguration, venue: str) -> int:
    """Rows of a venue that QuestDB shows."""
    tables = ["trades", "quotes", "book_deltas", "statuses", "gaps"]
    wait_applied(configuration.questdb, tables, timeout_s=600)
    with Connection(configuration.questdb) as connection:
        counts = [connection.fetch(f"SELECT count() FROM {t} WHERE venue = %s", (venue,)) for t in tables]
    return sum(int(rows[0][0]) for rows in counts)


def on_kafka(configuration: StackConfiguration, venue: str) -> int:
    """Events in the records of a venue's topics."""
    settings = {
        "bootstrap.servers": configuration.kafka.bootstrap,
        "group.id": "bench",
        "enable.partition.eof": True,
    }
    consumer = Consumer(settings)
    names = (topics.ticks(venue), topics.book(venue))
    partitions = [(n, p) for n in names for p in range(configuration.kafka.tick_partitions)]
    consumer.assign([TopicPartition(name, partition, 0) for name, partition in partitions])
    left, events = len(partitions), 0
    while left:
        for message in consumer.consume(1_000, 1.0):
            if message.error() is not None:
                left -= 1
            else:
                events += len(codec.decode(message.value()).block)
    consumer.close()
    return events


def by_rows(configuration: StackConfiguration, blocks: Blocks) -> tuple[int, float, float]:
    """The usual way: events, wall and CPU seconds."""
    topics.ensure_topics(["rows"], configuration.kafka)
    producer = Producer({"bootstrap.servers": configuration.kafka.bootstrap, "acks": "all"})
    settings = configuration.questdb
    wall, cpu, events = time.perf_counter(), time.process_time(), 0
    with Sender(Protocol.Http, settings.host, settings.http_port) as sender:
        for block, _, _ in blocks:
            for row in block.deltas.tolist():
                ts_event, ts_recv, seq, symbol, price, size, venue_id, side = row
                name, text = block.symbols.names[symbol], ("none", "buy", "sell")[side]
                columns = {"seq": seq, "price": price / NANOS, "size": size / NANOS, "venue_id": venue_id}
                sender.row(
                    "book_deltas",
                    symbols={"venue": "ROWS", "session": "B", "symbol": name, "side": text},
                    columns={"ts_recv": TimestampNanos(ts_recv), **columns},
                    at=TimestampNanos(ts_event),
                )
                event = {"symbol": name, "side": text, "ts_event": ts_event, "ts_recv": ts_recv, **columns}
                producer.produce("rows", json.dumps(event).encode(), key=name)
                producer.poll(0)
                events += 1
            if events >= BASELINE_EVENTS:
                break
        sender.flush()
    producer.flush()
    return events, time.perf_counter() - wall, time.process_time() - cpu


def measured(configuration: StackConfiguration, blocks: Blocks, runs: int) -> dict[str, Any]:
    """Median wall and CPU seconds of both sinks at once, and of each alone."""
    flow = ItchSettings.load()
    events = sum(len(block) for block, _, _ in blocks)

    def sinks(venue: str, which: tuple[str, ...]) -> list[Any]:
        rows_max = flow.questdb_flush_rows_max
        make: dict[str, Callable[[], Any]] = {
            "kafka": lambda: KafkaSink(configuration.kafka, flow, venue),
            "questdb": lambda: QuestDbSink(configuration.questdb, flow.questdb_flush_ms, rows_max),
        }
        return [make[name]() for name in which]

    took: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    days = 0
    for run in range(runs + 1):
        for which in (("kafka", "questdb"), ("kafka",), ("questdb",)):
            days += 1
            venue = f"V{run}{''.join(name[0] for name in which)}".upper()
            own = days_later(blocks, days, venue)
            found = publish(sinks(venue, which), own)
            if "questdb" in which and stored(configuration, venue) != events:
                raise SystemExit(f"QuestDB shows {stored(configuration, venue)} rows, not {events}")
            if "kafka" in which and on_kafka(configuration, venue) != events:
                raise SystemExit(f"Kafka holds {on_kafka(configuration, venue)} events, not {events}")
            if run:  # the first warms up compilers and servers
                took.setdefault(which, []).append(found)
    both = took["kafka", "questdb"]
    return {
        "events": events,
        "wall_s": statistics.median(wall for wall, _ in both),
        "cpu_s": statistics.median(cpu for _, cpu in both),
        "kafka_cpu_s": round(statistics.median(cpu for _, cpu in took[("kafka",)]), 3),
        "questdb_cpu_s": round(statistics.median(cpu for _, cpu in took[("questdb",)]), 3),
        "kafka_wall_s": round(statistics.median(wall for wall, _ in took[("kafka",)]), 3),
        "questdb_wall_s": round(statistics.median(wall for wall, _ in took[("questdb",)]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of the generated ITCH file")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    blocks = decoded(arguments.messages)
    with servers() as configuration:
        events, wall, cpu = by_rows(configuration, blocks)
        found = measured(configuration, blocks, arguments.runs)
    rate = found["events"] / found["cpu_s"]
    line = {
        "metric": "feeds.publish",
        "value": round(found["events"] / found["wall_s"]),
        "unit": "events/s",
        "value_cpu": round(rate),
        "runs": arguments.runs,
        **{name: round(value, 3) for name, value in found.items()},
        "baseline": "questdb Sender.row, a JSON record an event on Kafka",
        "baseline_value": round(events / wall),
        "ratio": round(rate * cpu / events, 1),
        "kinds": {
            kind: int(np.sum([len(block.kinds()[kind]) for block, _, _ in blocks]))
            for kind in blocks[0][0].kinds()
        },
        "load": os.getloadavg()[0],
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
