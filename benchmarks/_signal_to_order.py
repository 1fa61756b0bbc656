"""Signal-to-order latency under load: from a signal's birth, by Kafka, gate and journal, to the exchange.

python -m benchmarks._signal_to_order

A signal's birth is when it is put on the topic; its order has left when the exchange's port has read it: both
by one clock. The agent is the real one, a process of its own behind a real broker; exchange (matching core,
record, port) and the signals are in this process. The baseline, in the same run and at the same rate, is the
least that could be done: a row of 1.6 KB committed by SQLite (WAL, synchronous FULL), a line to a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Producer

from execution.exchange.matching import MatchingEngine
from execution.exchange.ports import ClientSession, Request
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import NewOrder
from execution.exchange.server import ExchangeServer
from execution.journal import Journal
from execution.orders import client_order_id
from execution.service import journal_path
from tests.execution.rig import LIMITS, VENUE, make_signal, standing_market
from tickloom import codec, topics
from tickloom.clock import SystemClock
from tickloom.instruments import Registry
from tickloom.stack import applications
from tickloom.stack import kafka as kafka_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

RATE = 1_000
WARM = 500  # signals that are not counted: of a process that has just begun
SIGNALS = 5_000
LINE = b"x" * 200 + b"\n"
WAIT_S = 90.0


class _Exchange(ExchangeServer):
    """Notes when each order was read."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.read_ns: dict[str, int] = {}

    def arrive(self, session: ClientSession, request: Request) -> None:
        if isinstance(request, NewOrder):
            self.read_ns.setdefault(request.order_id, time.time_ns())
        super().arrive(session, request)


def measure() -> tuple[list[float], list[float], float]:
    """(latencies of the agent, of the baseline, ms; CPU seconds of the agent)."""
    with tempfile.TemporaryDirectory() as name:
        bare = _baseline(Path(name))
        latencies, cpu_s = asyncio.run(_agent(Path(name)))
    return latencies, bare, cpu_s


async def _agent(directory: Path) -> tuple[list[float], float]:
    limits_file = directory / "limits.toml"
    limits_file.write_text(LIMITS)
    configuration = StackConfiguration.load(
        stack={"data_dir": directory, "start_timeout_s": 180.0},
        kafka={"tick_partitions": 2},
        exchange={"venues": (VENUE,)},
        execution={"venues": (VENUE,), "limits_file": limits_file, "enabled": True},
    ).with_free_ports()
    broker = [kafka_server.service(configuration.kafka, directory / "broker")]
    broker_settings = configuration.stack.model_copy(update={"data_dir": directory / "broker"})
    registry, clock = Registry.load(), SystemClock()
    record = ExchangeRecord(directory / "exchange.db")
    matching = MatchingEngine(registry, record.orders(), record.execution_count())
    with Stack(broker, broker_settings):
        producer = _market(configuration, registry, matching)
        server = _Exchange(matching, record, clock)
        server.go_live()
        await server.start(configuration.exchange.host, configuration.exchange.port)
        environment = {**configuration.environment(), "PYTHONPATH": str(Path.cwd())}
        stack = Stack([applications.agent(configuration)], configuration.stack, environment=environment)
        try:
            await asyncio.to_thread(stack.start)
            began_ns = await _signals(producer, registry, configuration.kafka.tick_partitions)
            await _settled(directory, len(began_ns))
            cpu_s = _cpu_s(stack.pid("agent"))
        finally:
            await asyncio.to_thread(stack.stop)
            await server.close()
    counted = list(began_ns.items())[WARM:]
    return [(server.read_ns[order_id] - ns) / 1e6 for order_id, ns in counted], cpu_s


def _market(configuration: StackConfiguration, registry: Registry, matching: MatchingEngine) -> Producer:
    """A market that stands still, for the agent by Kafka, for the exchange here."""
    topics.ensure_topics([topics.ticks(VENUE), topics.SIGNALS], configuration.kafka)
    producer = Producer({"bootstrap.servers": configuration.kafka.bootstrap, "linger.ms": 0, "log_level": 0})
    for topic, batch in standing_market(registry, configuration.kafka.tick_partitions):
        matching.apply(batch.block, 0)
        if topic.startswith("ticks"):
            producer.produce(topic, codec.encode(batch), partition=batch.shard)
    producer.flush(WAIT_S)
    return producer


async def _signals(producer: Producer, registry: Registry, partitions: int) -> dict[str, int]:
    """Client order id to when its signal was born."""
    symbols = [one.symbol for one in registry.of_venue(VENUE)]
    began_ns: dict[str, int] = {}
    start = time.perf_counter()
    for number in range(WARM + SIGNALS):
        symbol = symbols[number // 2 % len(symbols)]
        signal = make_signal(number + 1, symbol, "sell" if number % 2 else "buy")
        now_ns = time.time_ns()
        signal = msgspec.structs.replace(signal, ts_signal=now_ns, ts_event=now_ns)
        began_ns[client_order_id(signal.signal_id, 0)] = now_ns
        value = msgspec.json.encode(signal)
        producer.produce(topics.SIGNALS, value, symbol.encode(), partition=topics.shard(symbol, partitions))
        producer.poll(0)
        while time.perf_counter() < start + number / RATE:
            await asyncio.sleep(0.000_5)
    await asyncio.to_thread(producer.flush, WAIT_S)
    return began_ns


async def _settled(directory: Path, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        journal = Journal(journal_path(directory), read_only=True)
        done = len(journal.signals()) >= count and not journal.open_orders()
        journal.close()
        if done:
            return
        await asyncio.sleep(0.5)
    raise SystemExit(f"{count} signals were not dealt with in {WAIT_S} s")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _baseline(directory: Path) -> list[float]:
    """A commit and a line over a socket, for each signal, at the same rate: ms."""
    ours, theirs = socket.socketpair()
    arrived_ns: list[int] = []

    def read() -> None:
        with theirs.makefile("rb") as lines:
            for _ in lines:
                arrived_ns.append(time.time_ns())

    reader = threading.Thread(target=read)
    reader.start()
    began_ns: list[int] = []
    with contextlib.closing(sqlite3.connect(directory / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE bare (payload BLOB)")
        start = time.perf_counter()
        for number in range(SIGNALS):
            time.sleep(max(0.0, start + number / RATE - time.perf_counter()))
            # born when it was due: what waits for the one before it waits, as behind Kafka
            late_ns = round((time.perf_counter() - start - number / RATE) * 1e9)
            began_ns.append(time.time_ns() - late_ns)
            db.execute("INSERT INTO bare VALUES (?)", (LINE * 8,))
            ours.sendall(LINE)
    ours.close()
    reader.join()
    return [(end - begin) / 1e6 for begin, end in zip(began_ns, arrived_ns, strict=True)]


def lines() -> list[str]:
    """What is printed: median and 99th percentile, and the baseline's by ours."""
    latencies, bare, cpu_s = measure()
    about = {
        "unit": "ms",
        "cpu_s": round(cpu_s, 1),
        "runs": 1,
        "signals_per_s": RATE,
        "baseline": "one SQLite commit and one line over a socket a signal, at the same rate",
    }
    found = []
    for name, percent in (("p50_ms", 50), ("p99_ms", 99)):
        ours, theirs = (float(np.percentile(values, percent)) for values in (latencies, bare))
        value = {"metric": f"execution.signal_to_order.{name}", "value": round(ours, 2), **about}
        found.append(json.dumps({**value, "ratio": round(theirs / ours, 4)}))
    return found


if __name__ == "__main__":
    print("\n".join(lines()), flush=True)
